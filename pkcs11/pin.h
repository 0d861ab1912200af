/* The user PIN of a token: read from a guarded file, kept in locked memory, wiped. */
#pragma once

#include "status.h"

struct pin; /* opaque: in a page of its own, locked and left out of core dumps */

/* Reads "file:PATH" or "file:///PATH" (RFC 7512 pin-source, absolute, taken literally):
 * a regular file, no symbolic link, owned by this user or root, no right for group or
 * others, 1 to TOKEN_PIN_MAX octets and at most one line end behind them. A credential
 * of systemd (root's, 0440, in $CREDENTIALS_DIRECTORY) is taken as well. CA_MALFORMED
 * for another form or content, CA_FORBIDDEN for a file that others could read or
 * replace, CA_UNAVAILABLE for one that is not there. */
enum ca_status pin_read(const char *source, struct pin **ret_pin);

/* The PIN, NUL-terminated; lives as long as `pin`. */
const char *pin_text(const struct pin *pin);

void pin_free(struct pin *pin);
