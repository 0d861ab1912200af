/* Identifiers derived from names, so that all instances give the same ones. */
#include "windows.h"
#include <openssl/sha.h>
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
