/* A thread that does something once a second until it is stopped. */
#pragma once

#include "status.h"
#include <stdatomic.h>
#include <stdbool.h>

struct ticker;
/* One look; gives up early when `stop` is set meanwhile. */
typedef void (*ticker_tick)(void *arg, const atomic_bool *stop);

/* The first look is at once. `name` is of what the thread is for, in messages.
 * CA_UNAVAILABLE: no thread. */
enum ca_status ticker_start(const char *name, ticker_tick tick, void *arg,
                            struct ticker **ret_ticker);
/* Waits for the look in hand to end. NULL is nothing. */
void ticker_stop(struct ticker *ticker);
