/* Base64 and base64url in the request's own memory, which is wiped. */
#include "base64.h"
#include <string.h>

static int
digit_value(char c)
{
    return c == '-' || c == '_' ? -1 : base64_digit(c);
}

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Digits, then padding that fits them; *ret_digits of them. */
static bool
check_form(const char *text, size_t size, size_t *ret_digits)
{
    size_t digits = 0, padding = 0;
    int last = 0;
    for (size_t i = 0; i < size; i++) {
        if (is_space(text[i]))
            continue;
        int value = digit_value(text[i]);
        if (text[i] == '=')
            padding++;
        else if (value < 0 || padding > 0)
            return false;
        else
            digits++;
        last = value >= 0 ? value : last;
    }
    size_t rest = digits % 4;
    bool is_padded = padding == 0 || (rest > 1 && padding == 4 - rest);
    bool has_stray = (rest == 2 && (last & 15) != 0) || (rest == 3 && (last & 3) != 0);
    *ret_digits = digits;
    return rest != 1 && is_padded && !has_stray;
}

enum ca_status
base64_decode(struct ca_request *req, const char *text, size_t size, size_t max,
              struct ca_bytes *ret_octets)
{
    size_t digits = 0, written = 0;
    if (!check_form(text, size, &digits))
        return ca_fail(CA_MALFORMED, "text that is not base64");
    if (digits / 4 * 3 + digits % 4 * 3 / 4 > max)
        return ca_fail(CA_LIMIT, "base64 of more than %zu octets", max);
    uint8_t *octets = ca_request_alloc(req, digits / 4 * 3 + 4);
    if (!octets)
        return ca_fail(CA_INTERNAL, "no memory for base64");
    uint32_t bits = 0;
    unsigned held = 0;
    for (size_t i = 0; i < size; i++) {
        int value = digit_value(text[i]);
        if (value < 0)
            continue;
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            octets[written++] = (uint8_t)(bits >> held);
        }
    }
    *ret_octets = (struct ca_bytes){ octets, written };
    return CA_OK;
}

const char *
base64_encode(struct ca_request *req, struct ca_bytes octets)
{
    char *text = ca_request_alloc(req, (octets.size + 2) / 3 * 4 + 1);
    if (text && octets.size > 0)
        EVP_EncodeBlock((unsigned char *)text, octets.data, (int)octets.size);
    return text;
}

/* ---- Base64url ---- */

static const char url_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static int
url_digit(char c)
{
    return c == '+' || c == '/' ? -1 : base64_digit(c);
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
        int value = url_digit(text[i]);
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
            *at++ = url_digits[bits >> (held - 6) & 63];
    }
    if (text && held > 0)
        *at = url_digits[bits << (6 - held) & 63];
    return text;
}
