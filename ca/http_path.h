/* What a request's head may look like, before anything acts on it: pure functions. */
#pragma once

#include "status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_URI_MAX 16384     /* octets of path and query: SCEP GET with RSA-4096 */
#define HTTP_HEADERS_MAX 16384 /* octets of all header names and values */
#define HTTP_HEADER_COUNT_MAX 64

struct http_field {
    const char *name, *value;
};

/* How the body is delimited (RFC 9112 section 6). */
struct http_framing {
    int64_t content_length; /* -1: no body is announced */
    bool is_chunked;
};

/* Decodes a raw path once. `ret_path` has room for strlen(raw) + 1. Slashes at the
 * start become one; CA_MALFORMED for a bad escape, a control character, NUL or a
 * segment "." or "..", encoded or not. */
enum ca_status path_normalise(const char *raw, char *ret_path);

/* Refuses heads that two readers could take for different requests (RFC 9112 section
 * 11.2): two lengths, a length that is no number, a length beside chunks, another
 * transfer coding, a doubled singleton. CA_LIMIT: too many or too large. */
enum ca_status head_check(const struct http_field *fields, size_t count, bool is_1_1,
                          struct http_framing *ret_framing);

/* The value of the first field of this name, without case; NULL. */
const char *head_find(const struct http_field *fields, size_t count, const char *name);
