/* Base64 (RFC 4648 section 4) for texts inside messages. */
#pragma once

#include "plugin.h"

/* White space anywhere is skipped, padding may be absent; the rest is strict. The octets
 * are the request's. CA_MALFORMED, CA_LIMIT above `max` octets. */
enum ca_status base64_decode(struct ca_request *req, const char *text, size_t size,
                             size_t max, struct ca_bytes *ret_octets);
/* Without line breaks; the text is the request's. NULL: no memory. */
const char *base64_encode(struct ca_request *req, struct ca_bytes octets);
