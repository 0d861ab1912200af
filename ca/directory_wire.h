/* What comes over the connection to the directory, bounded in time and size below TLS:
 * libldap's own timeouts leave a handshake that stands still to turn for ever. */
#pragma once

#include <ldap.h>
#include <stdbool.h>
#include <stdint.h>

#define DIRECTORY_OCTETS_MAX (64 * 1024 * 1024) /* of one answer, entries and all */

struct directory_wire {
    struct ldap_conncb callback; /* libldap's, by which it finds this */
    int64_t until;               /* clock_ticks */
    int64_t octets;              /* that have come */
    const char *failure;         /* what the bounds ended it by; NULL: nothing */
};

/* Watches the connection that this handle will make; `wire` must outlive the handle.
 * False without memory. */
bool directory_wire_attach(struct directory_wire *wire, LDAP *ldap);
/* The next operation has so long, and may bring DIRECTORY_OCTETS_MAX. */
void directory_wire_begin(struct directory_wire *wire, int64_t milliseconds);
