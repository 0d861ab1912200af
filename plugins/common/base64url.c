/* Base64url in the request's own memory, which is wiped. */
#include "base64url.h"

static const char digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static int
digit_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

enum ca_status
base64url_decode(struct ca_request *req, const char *text, size_t size, size_t max,
                 struct ca_bytes *ret_octets)
{
    size_t length = size / 4 * 3 + size % 4 * 3 / 4, written = 0;
    if (size % 4 == 1)
        return ca_fail(CA_MALFORMED, "base64url of %zu characters", size);
    if (length > max)
        return ca_fail(CA_LIMIT, "base64url of more than %zu octets", max);
    uint8_t *octets = ca_request_alloc(req, length + 1);
    if (!octets)
        return ca_fail(CA_INTERNAL, "no memory for base64url");
    uint32_t bits = 0;
    unsigned held = 0;
    for (size_t i = 0; i < size; i++) {
        int value = digit_value(text[i]);
        if (value < 0)
            return ca_fail(CA_MALFORMED, "text that is not base64url");
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            octets[written++] = (uint8_t)(bits >> held);
        }
    }
    if ((bits & ((1u << held) - 1)) != 0)
        return ca_fail(CA_MALFORMED, "base64url with stray bits at its end");
    *ret_octets = (struct ca_bytes){ octets, written };
    return CA_OK;
}

const char *
base64url_encode(struct ca_request *req, struct ca_bytes octets)
{
    char *text = ca_request_alloc(req, (octets.size + 2) / 3 * 4 + 1);
    uint32_t bits = 0;
    unsigned held = 0;
    char *at = text;
    for (size_t i = 0; text && i < octets.size; i++) {
        bits = bits << 8 | octets.data[i];
        for (held += 8; held >= 6; held -= 6)
            *at++ = digits[bits >> (held - 6) & 63];
    }
    if (text && held > 0)
        *at = digits[bits << (6 - held) & 63];
    return text;
}
