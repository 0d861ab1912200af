/* How many requests a source may make: token buckets in a table of fixed size. */
#pragma once

#include "address.h"

struct limit;

/* `rate` requests a second after a burst of `burst`; rate 0: no limit. NULL: memory. */
struct limit *limit_new(int64_t rate, int64_t burst);
void limit_free(struct limit *limit);
/* Takes one token of the source at `now` (clock_ticks); IPv6 counts by its /64. False:
 * none is left. */
bool limit_take(struct limit *limit, const struct address *source, int64_t now);
/* Would the source get one? Takes nothing. */
bool limit_has(struct limit *limit, const struct address *source, int64_t now);
/* Gives it back: the request proved who it is, and was not refused. */
void limit_return(struct limit *limit, const struct address *source, int64_t now);
