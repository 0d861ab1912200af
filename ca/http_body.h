/* Request bodies: read under a cap and a deadline. */
#pragma once

#include "http_path.h"
#include "plugin.h"

struct mg_connection;

/* Reads the body into malloc'd memory (with a NUL behind it). `deadline` in
 * clock_ticks. Returns 0, or the HTTP status of the refusal with the operator's message
 * recorded: 413 more than `max`, 408 too slow, 400 cut off or badly chunked. */
int body_read(struct mg_connection *connection, const struct http_framing *framing,
              size_t max, int64_t deadline, struct ca_bytes *ret_body);
/* Takes in a little of a body that nobody wants, so that its sender sees the answer and
 * no reset. */
void body_skip(struct mg_connection *connection);
