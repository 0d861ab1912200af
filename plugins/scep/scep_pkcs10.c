/* PKCS#10 (RFC 2986) as far as SCEP needs it: key and challengePassword, in slices. The
 * core decodes the request for good and verifies its self-signature. */
#include "scep.h"
#include <openssl/asn1.h>
#include <openssl/crypto.h>
#include <string.h>

static const struct ca_bytes challenge_password =
    DER_OID_BYTES(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x07);

/* BMPString as UTF-8, in the request's memory. */
static enum ca_status
bmp_convert(struct ca_request *req, struct ca_bytes from, struct ca_bytes *ret_text)
{
    if (from.size % 2 != 0)
        return ca_fail(CA_MALFORMED, "BMPString of %zu octets", from.size);
    uint8_t *text = ca_request_alloc(req, from.size / 2 * 3 + 1);
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for the challenge");
    size_t size = 0;
    for (size_t i = 0; i < from.size; i += 2) {
        unsigned c = (unsigned)from.data[i] << 8 | from.data[i + 1];
        if (c < 0x80) {
            text[size++] = (uint8_t)c;
        } else if (c < 0x800) {
            text[size++] = (uint8_t)(0xc0 | c >> 6);
            text[size++] = (uint8_t)(0x80 | (c & 0x3f));
        } else {
            text[size++] = (uint8_t)(0xe0 | c >> 12);
            text[size++] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
            text[size++] = (uint8_t)(0x80 | (c & 0x3f));
        }
    }
    *ret_text = (struct ca_bytes){ text, size };
    return CA_OK;
}

/* The one value of challengePassword (RFC 2985 5.4.1, and IA5String of old clients). */
static enum ca_status
challenge_decode(struct ca_request *req, struct ca_bytes values,
                 struct ca_bytes *ret_text)
{
    uint8_t tag;
    struct ca_bytes value;
    if (!asn1_take_any(&values, &tag, &value, NULL) || values.size > 0)
        return ca_fail(CA_MALFORMED, "challengePassword has not one value");
    if (tag == DER_BMP_STRING) {
        enum ca_status status = bmp_convert(req, value, &value);
        if (status != CA_OK)
            return status;
    } else if (tag != DER_PRINTABLE_STRING && tag != DER_UTF8_STRING &&
               tag != DER_T61_STRING && tag != DER_IA5_STRING) {
        return ca_fail(CA_MALFORMED, "challengePassword is no string");
    }
    if (value.size > 0 && memchr(value.data, 0, value.size))
        return ca_fail(CA_MALFORMED, "challengePassword with a NUL");
    *ret_text = value;
    return CA_OK;
}

enum ca_status
scep_pkcs10_decode(struct ca_request *req, struct ca_bytes der,
                   struct scep_pkcs10 *ret_pkcs10)
{
    struct scep_pkcs10 pkcs10 = { 0 };
    struct ca_bytes request, info, attributes = { 0 }, attribute, oid, values;
    if (!asn1_take(&der, DER_SEQUENCE, &request) || der.size > 0 ||
        !asn1_take(&request, DER_SEQUENCE, &info) || !asn1_take_small(&info, 0) ||
        !asn1_take(&info, DER_SEQUENCE, NULL) ||
        !asn1_take_whole(&info, DER_SEQUENCE, &pkcs10.spki))
        return ca_fail(CA_MALFORMED, "the content is no PKCS#10");
    asn1_take(&info, DER_CONTEXT_CONSTRUCTED(0), &attributes);
    if (info.size > 0)
        return ca_fail(CA_MALFORMED, "PKCS#10 with a tail");
    bool has_challenge = false;
    while (attributes.size > 0) {
        if (!asn1_take(&attributes, DER_SEQUENCE, &attribute) ||
            !asn1_take(&attribute, DER_OID, &oid) ||
            !asn1_take(&attribute, DER_SET, &values) || attribute.size > 0)
            return ca_fail(CA_MALFORMED, "PKCS#10 attribute is none");
        if (!asn1_equal(oid, challenge_password))
            continue;
        if (has_challenge)
            return ca_fail(CA_MALFORMED, "two challengePasswords");
        has_challenge = true;
        enum ca_status status = challenge_decode(req, values, &pkcs10.challenge);
        if (status != CA_OK)
            return status;
    }
    *ret_pkcs10 = pkcs10;
    return CA_OK;
}
