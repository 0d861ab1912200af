/* Hex and base64. */
#include "text.h"
#include <stdlib.h>
#include <string.h>

void
hex_format(const void *octets, size_t size, char *ret_text)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *from = octets;
    for (size_t i = 0; i < size; i++) {
        ret_text[2 * i] = digits[from[i] >> 4];
        ret_text[2 * i + 1] = digits[from[i] & 15];
    }
    ret_text[2 * size] = '\0';
}

int
hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool
hex_parse(const char *text, void *ret_octets, size_t size)
{
    size_t length = strlen(text);
    if (length % 2 != 0 || length / 2 != size)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (hex_digit(text[i]) < 0)
            return false;
    }
    uint8_t *to = ret_octets;
    for (size_t i = 0; i < size; i++)
        to[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
    return true;
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64url_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static char *
encode(const void *octets, size_t size, const char *digits, bool is_padded)
{
    char *text = size <= SIZE_MAX / 2 ? malloc(size / 3 * 4 + 5) : NULL;
    if (!text)
        return NULL;
    const uint8_t *from = octets;
    char *to = text;
    for (size_t at = 0; at < size; at += 3) {
        size_t left = size - at;
        unsigned group = (unsigned)from[at] << 16;
        group |= left > 1 ? (unsigned)from[at + 1] << 8 : 0;
        group |= left > 2 ? (unsigned)from[at + 2] : 0;
        *to++ = digits[group >> 18];
        *to++ = digits[group >> 12 & 63];
        if (left > 1)
            *to++ = digits[group >> 6 & 63];
        else if (is_padded)
            *to++ = '=';
        if (left > 2)
            *to++ = digits[group & 63];
        else if (is_padded)
            *to++ = '=';
    }
    *to = '\0';
    return text;
}

char *
base64_format(const void *octets, size_t size)
{
    return encode(octets, size, base64_digits, true);
}

char *
base64url_format(const void *octets, size_t size)
{
    return encode(octets, size, base64url_digits, false);
}

static bool
is_skipped(char c, unsigned flags)
{
    return flags == BASE64_LENIENT && (c == ' ' || c == '\t' || c == '\r' || c == '\n');
}

static int
base64_value(char c, unsigned flags)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (flags != BASE64_URL && (c == '+' || c == '/'))
        return c == '+' ? 62 : 63;
    if (flags != BASE64_STRICT && (c == '-' || c == '_'))
        return c == '-' ? 62 : 63;
    return -1;
}

/* How many digits and padding characters the text has; false when one is neither or
 * stands behind the padding, or when the padding does not fit. */
static bool
base64_measure(const char *text, size_t length, unsigned flags, size_t *ret_digits)
{
    size_t digits = 0, padding = 0;
    int last = 0;
    for (size_t i = 0; i < length; i++) {
        if (is_skipped(text[i], flags))
            continue;
        if (text[i] == '=' && flags != BASE64_URL) {
            padding++;
            continue;
        }
        last = base64_value(text[i], flags);
        if (last < 0 || padding > 0)
            return false;
        digits++;
    }
    size_t rest = digits % 4, wanted = rest == 0 ? 0 : 4 - rest;
    bool may_lack = flags != BASE64_STRICT;
    if (rest == 1 || (padding != wanted && !(may_lack && padding == 0)))
        return false;
    int stray = rest == 2 ? last & 15 : rest == 3 ? last & 3 : 0;
    if (stray != 0 && flags != BASE64_LENIENT)
        return false;
    *ret_digits = digits;
    return true;
}

enum ca_status
base64_parse(const char *text, size_t length, unsigned flags, void *ret_octets,
             size_t size, size_t *ret_size)
{
    if (flags != BASE64_LENIENT && length / 4 > size / 3 + 1)
        return ca_fail(CA_LIMIT, "base64 of %zu characters, at most %zu octets", length,
                       size);
    size_t digits;
    if (!base64_measure(text, length, flags, &digits))
        return ca_fail(CA_MALFORMED, "not base64");
    size_t total = digits / 4 * 3 + (digits % 4 == 0 ? 0 : digits % 4 - 1);
    if (total > size)
        return ca_fail(CA_LIMIT, "base64 of %zu octets, at most %zu", total, size);
    uint8_t *to = ret_octets;
    uint32_t bits = 0;
    size_t seen = 0, written = 0;
    for (size_t i = 0; written < total; i++) {
        if (is_skipped(text[i], flags))
            continue;
        bits = bits << 6 | (uint32_t)base64_value(text[i], flags);
        /* The first digit of four completes no octet, each later one does. */
        if (seen++ % 4 != 0)
            to[written++] = (uint8_t)(bits >> (6 - 2 * ((seen - 1) % 4)));
    }
    *ret_size = total;
    return CA_OK;
}
