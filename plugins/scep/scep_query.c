/* The message of a GET: base64 in all the forms that clients send (RFC 8894 4.1). */
#include "base64.h"
#include "escape.h"
#include "scep.h"
#include <string.h>

/* Longest raw text: three characters for each of the base64, escaped twice at worst. */
#define QUERY_TEXT_MAX (SCEP_BODY_MAX * 4)
#define ESCAPE_ROUNDS 2

/* Undoes one round of percent-encoding in place (RFC 3986 2.1). */
static bool
escapes_decode(char *text, size_t *length)
{
    size_t written = 0;
    for (size_t i = 0; i < *length; i++) {
        char c = text[i];
        if (c == '%') {
            int octet = escape_octet(text + i + 1, *length - i - 1);
            if (octet < 0)
                return false;
            c = (char)octet;
            i += 2;
        }
        text[written++] = c;
    }
    *length = written;
    return true;
}

/* Decodes either alphabet in place; padding may be absent, nothing but line ends
 * follows it. A space is a '+' that a form decoder met. */
static bool
text_decode(char *text, size_t length, size_t *ret_size)
{
    uint32_t bits = 0;
    size_t digits = 0, padding = 0, written = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\r' || text[i] == '\n')
            continue;
        if (text[i] == '=') {
            padding++;
            continue;
        }
        int value = text[i] == ' ' ? 62 : base64_digit(text[i]);
        if (value < 0 || padding > 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        if (digits++ % 4 != 0)
            text[written++] = (char)(bits >> (6 - 2 * ((digits - 1) % 4)));
    }
    size_t rest = digits % 4, wanted = rest == 0 ? 0 : 4 - rest;
    if (rest == 1 || (padding != 0 && padding != wanted))
        return false;
    *ret_size = written;
    return true;
}

enum ca_status
scep_query_decode(struct ca_request *req, const char *text, size_t length,
                  struct ca_bytes *ret_octets)
{
    if (length > QUERY_TEXT_MAX)
        return ca_fail(CA_LIMIT, "message of %zu characters, at most %d", length,
                       QUERY_TEXT_MAX);
    char *copy = ca_request_alloc(req, length + 1);
    if (!copy)
        return ca_fail(CA_INTERNAL, "no memory for the message");
    memcpy(copy, text, length);
    for (int round = 0; round < ESCAPE_ROUNDS && memchr(copy, '%', length); round++) {
        if (!escapes_decode(copy, &length))
            return ca_fail(CA_MALFORMED, "bad percent-encoding in the message");
    }
    size_t size;
    if (!text_decode(copy, length, &size))
        return ca_fail(CA_MALFORMED, "the message is not base64");
    if (size == 0 || size > SCEP_BODY_MAX)
        return ca_fail(size == 0 ? CA_MALFORMED : CA_LIMIT,
                       "message of %zu octets, at most %d", size, SCEP_BODY_MAX);
    *ret_octets = (struct ca_bytes){ (const uint8_t *)copy, size };
    return CA_OK;
}
