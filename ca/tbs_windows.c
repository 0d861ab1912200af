/* What Windows looks for in certificates of the domain kind: which template they are
 * of, and which account they are for. Pure. */
#include "auto.h"
#include "der.h"
#include "plugin.h"
#include "tbs_extension.h"
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CA_BUFFER CA_AUTO(text_buffer_clear) struct text_buffer

#define OID_TEMPLATE "1.3.6.1.4.1.311.21.7"
#define OID_SID "1.3.6.1.4.1.311.25.2"
#define OID_SID_NAME "1.3.6.1.4.1.311.25.2.1"
#define SID_SIZE_MAX 184 /* characters: 15 numbers of ten digits and what is before */
#define SID_NUMBERS_MAX 15

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
ca_template_oid(const char *base_url, const char *profile,
                char ret_oid[CA_TEMPLATE_OID_SIZE])
{
    uint8_t ours[SHA256_DIGEST_LENGTH], its[SHA256_DIGEST_LENGTH];
    digest("organisation", base_url, ours);
    digest("template", profile, its);
    snprintf(ret_oid, CA_TEMPLATE_OID_SIZE, "1.3.6.1.4.1.311.21.8.%u.%u.%u.%u.1.%u.%u",
             arc(ours), arc(ours + 4), arc(ours + 8), arc(ours + 12), arc(its),
             arc(its + 4));
}

/* A decimal number up to `max`, in its shortest form; moves `at` behind it. */
static bool
take_number(const char **at, uint64_t max)
{
    const char *start = *at;
    size_t digits = strspn(start, "0123456789");
    if (digits == 0 || digits > 15 || (digits > 1 && *start == '0'))
        return false;
    *at = start + digits;
    return strtoull(start, NULL, 10) <= max;
}

/* [MS-DTYP] 2.4.2.1: S-1-authority, then one to fifteen numbers of 32 bits. */
static bool
is_sid(const char *text)
{
    const uint64_t authority_max = (UINT64_C(1) << 48) - 1;
    if (strnlen(text, SID_SIZE_MAX + 1) > SID_SIZE_MAX || strncmp(text, "S-1-", 4) != 0)
        return false;
    const char *at = text + 4;
    int count = 0;
    if (!take_number(&at, authority_max))
        return false;
    for (; *at == '-' && count <= SID_NUMBERS_MAX; count++) {
        at++;
        if (!take_number(&at, UINT32_MAX))
            return false;
    }
    return *at == '\0' && count >= 1 && count <= SID_NUMBERS_MAX;
}

/* CertificateTemplateOID ::= SEQUENCE { templateID, templateMajorVersion, ... }. */
enum ca_status
extension_template(struct text_buffer *list, const char *oid)
{
    CA_BUFFER content = { 0 };
    CA_BUFFER value = { 0 };
    if (!der_oid(&content, oid))
        return ca_fail(CA_INTERNAL, "template '%s' is no OID", oid);
    der_number(&content, DER_INTEGER, CA_TEMPLATE_REVISION);
    der_wrap(&value, DER_SEQUENCE, &content);
    extension_wrap(list, OID_TEMPLATE, false, &value);
    return CA_OK;
}

/* szOID_NTDS_CA_SECURITY_EXT: GeneralNames of one otherName whose value is the SID as
 * text in an OCTET STRING. */
enum ca_status
extension_sid(struct text_buffer *list, const char *sid)
{
    CA_BUFFER inner = { 0 };
    CA_BUFFER name = { 0 };
    CA_BUFFER value = { 0 };
    if (!is_sid(sid))
        return ca_fail(CA_FORBIDDEN, "the user's attribute 'sid' is no SID");
    der_append(&inner, DER_OCTET_STRING, sid, strlen(sid));
    if (!der_oid(&name, OID_SID_NAME))
        return ca_fail(CA_INTERNAL, "the name of a SID is no OID");
    der_wrap(&name, DER_CONTEXT_SET(0), &inner);
    der_wrap(&inner, DER_CONTEXT_SET(0), &name);
    der_wrap(&value, DER_SEQUENCE, &inner);
    extension_wrap(list, OID_SID, false, &value);
    return CA_OK;
}
