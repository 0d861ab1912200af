/* Percent-encoding (RFC 3986 section 2.1). */
#pragma once

#include <stddef.h>

static inline int
escape_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The octet that the two digits behind a '%' stand for, of `left` characters there;
 * -1: they are not two. */
static inline int
escape_octet(const char *text, size_t left)
{
    int high = left >= 2 ? escape_digit(text[0]) : -1;
    int low = high >= 0 ? escape_digit(text[1]) : -1;
    return low >= 0 ? high << 4 | low : -1;
}
