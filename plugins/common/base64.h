/* Base64 (RFC 4648 section 4) for texts inside messages, and base64url (section 5)
 * without padding, as JSON messages carry octets. */
#pragma once

#include "plugin.h"

/* The value of a digit of either alphabet; -1: none. */
static inline int
base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

/* White space anywhere is skipped, padding may be absent; the rest is strict. The
 * octets are the request's. CA_MALFORMED, CA_LIMIT above `max` octets. */
enum ca_status base64_decode(struct ca_request *req, const char *text, size_t size,
                             size_t max, struct ca_bytes *ret_octets);
/* Without line breaks; the text is the request's. NULL: no memory. */
const char *base64_encode(struct ca_request *req, struct ca_bytes octets);

/* Exactly the alphabet: no padding, no white space, no stray bits. "" is no octets. The
 * octets are the request's. CA_MALFORMED, CA_LIMIT above `max` octets. */
enum ca_status base64url_decode(struct ca_request *req, const char *text, size_t size,
                                size_t max, struct ca_bytes *ret_octets);
/* The text is the request's. NULL: no memory. */
const char *base64url_encode(struct ca_request *req, struct ca_bytes octets);
