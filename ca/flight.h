/* The serials that a thread of this process is signing right now, so that a retry waits
 * for its first request instead of signing a second time. */
#pragma once

#include "status.h"
#include <stdbool.h>
#include <stdint.h>

struct flights;

struct flights *flights_new(void); /* NULL: no memory */
void flights_free(struct flights *flights);

/* False when another thread is at it, or without memory. Begun before the intent can be
 * seen by others, ended when it is signed or given up. */
bool flight_begin(struct flights *flights, const char *serial);
void flight_end(struct flights *flights, const char *serial);

/* Waits until nobody signs this serial, at most `milliseconds`. */
bool flight_wait(struct flights *flights, const char *serial, int64_t milliseconds);
