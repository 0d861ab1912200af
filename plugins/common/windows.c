/* Identifiers derived from names, so that all instances give the same ones. */
#include "windows.h"
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

static void
digest(const char *purpose, const char *name, uint8_t ret_digest[SHA256_DIGEST_LENGTH])
{
    char text[1024];
    int size = snprintf(text, sizeof text, "sealwright %s %s", purpose, name);
    size_t length = size < 0 ? 0 : (size_t)size;
    if (length >= sizeof text)
        length = sizeof text - 1;
    SHA256((const uint8_t *)text, length, ret_digest);
}

void
windows_policy_id(const struct ca_organisation *organisation,
                  char ret_id[WINDOWS_GUID_SIZE])
{
    uint8_t d[SHA256_DIGEST_LENGTH];
    digest("policy", organisation->base_url, d);
    snprintf(ret_id, WINDOWS_GUID_SIZE,
             "{%02X%02X%02X%02X-%02X%02X-8%X%02X-A%X%02X-%02X%02X%02X%02X%02X%02X}",
             d[0], d[1], d[2], d[3], d[4], d[5], d[6] & 15, d[7], d[8] & 15, d[9],
             d[10], d[11], d[12], d[13], d[14], d[15]);
}

static int64_t
unit_seconds(char unit, bool is_time)
{
    switch (unit) {
    case 'D': return is_time ? 0 : 86400;
    case 'H': return is_time ? 3600 : 0;
    case 'M': return is_time ? 60 : 0;
    case 'S': return is_time ? 1 : 0;
    default: return 0;
    }
}

int64_t
windows_seconds(const json_t *duration)
{
    const char *text = json_string_value(duration);
    int64_t seconds = 0;
    bool is_time = false;
    if (!text || *text++ != 'P')
        return 0;
    while (*text) {
        if (*text == 'T' && !is_time) {
            is_time = true;
            text++;
        }
        char *end;
        long count = strtol(text, &end, 10);
        int64_t unit = end > text ? unit_seconds(*end, is_time) : 0;
        if (unit == 0 || count < 0 || count > INT32_MAX)
            return 0;
        seconds += count * unit;
        text = end + 1;
    }
    return seconds;
}
