/* The one source of time and randomness, so that tests can set both. */
#pragma once

#include "status.h"
#include <stddef.h>
#include <stdint.h>

/* Seconds since 1970 (UTC). */
int64_t clock_now(void);

/* Milliseconds on the monotonic clock, for deadlines. */
int64_t clock_ticks(void);

/* Tests: clock_now gives `seconds` from now on; a negative value gives real time. */
void clock_set(int64_t seconds);

/* `size` octets of the CSPRNG; CA_INTERNAL (nothing written) when it fails. */
enum ca_status random_bytes(void *ret_octets, size_t size);

/* A random UUID (RFC 9562 version 4), 36 characters and NUL. */
enum ca_status random_uuid(char ret_uuid[37]);

/* Tests: random_bytes draws from `source` (NULL: the CSPRNG). */
void random_set(enum ca_status (*source)(void *octets, size_t size));
