/* Answers as octets, and the host's own words where a handler gave none. */
#pragma once

#include "exchange.h"

#define HTTP_RETRY_SECONDS "10" /* Retry-After of the host's own 429 and 503 */

/* The HTTP status that says `status` to a peer. */
int answer_status(enum ca_status status);

/* Sets an answer in words that tell nothing but the request's id: plain text, under /api/
 * a problem (RFC 9457; `text` has nothing that JSON escapes). Retry-After comes with 429
 * and 503, WWW-Authenticate with 401. */
void answer_refuse(struct exchange *exchange, int http_status, const char *text);

struct answer_octets {
    char *data;
    size_t size;
};

/* The whole answer, to be written at once. False: no memory. */
bool answer_format(const struct exchange *exchange, bool is_head, bool keep_alive,
                   struct answer_octets *ret_octets);
void answer_clear(struct answer_octets *octets);
