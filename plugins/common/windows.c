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

/* 28 bits: certenroll.dll stops at an arc of more than 32. */
static unsigned
arc(const uint8_t *octets)
{
    return (unsigned)(octets[0] & 0x0f) << 24 | (unsigned)octets[1] << 16 |
           (unsigned)octets[2] << 8 | octets[3];
}

void
windows_template_oid(const struct ca_organisation *organisation, const char *profile,
                     char ret_oid[WINDOWS_OID_SIZE])
{
    uint8_t ours[SHA256_DIGEST_LENGTH], its[SHA256_DIGEST_LENGTH];
    digest("organisation", organisation->base_url, ours);
    digest("template", profile, its);
    snprintf(ret_oid, WINDOWS_OID_SIZE, "1.3.6.1.4.1.311.21.8.%u.%u.%u.%u.1.%u.%u",
             arc(ours), arc(ours + 4), arc(ours + 8), arc(ours + 12), arc(its),
             arc(its + 4));
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
