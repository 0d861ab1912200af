/* Base64url without padding (RFC 4648 section 5), as JSON messages carry octets. */
#pragma once

#include "plugin.h"

/* Exactly the alphabet: no padding, no white space, no stray bits. "" is no octets. The
 * octets are the request's. CA_MALFORMED, CA_LIMIT above `max` octets. */
enum ca_status base64url_decode(struct ca_request *req, const char *text, size_t size,
                                size_t max, struct ca_bytes *ret_octets);
/* The text is the request's. NULL: no memory. */
const char *base64url_encode(struct ca_request *req, struct ca_bytes octets);
