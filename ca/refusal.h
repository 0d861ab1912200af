/* Refusals before any verified credential: counted in memory by protocol, source and
 * reason, written in one transaction a second, so that a refused peer costs no write of
 * its own (DESIGN section 3, SECURITY A7). */
#pragma once

#include "store.h"

struct refusals;

struct refusals *refusals_new(void); /* NULL: no memory */
void refusals_free(struct refusals *refusals);

/* `reason` is a word, never text of the peer. */
void refusals_count(struct refusals *refusals, const char *protocol, const char *source,
                    const char *reason);

/* Writes what was counted; a failure keeps it for the next time. */
enum ca_status refusals_flush(struct refusals *refusals, struct store *store);
