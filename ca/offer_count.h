/* Requests that do not fit what a device was told: counted and audited. */
#pragma once

#include "exchange.h"

/* One more mismatch of the offer, `word` says of what, and the last one kills it. Gives
 * `status` back with the thread's message unharmed; CA_UNAVAILABLE, CA_INTERNAL when it
 * could not be counted. */
enum ca_status offer_count(struct exchange *exchange, const char *id, const char *word,
                           enum ca_status status);
