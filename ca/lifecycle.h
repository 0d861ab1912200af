/* What ends a certificate's, device's or user's life: each a step of the caller's
 * transaction with its audit entries and stale CRLs, so that API, protocols and jobs do
 * it alike (SECURITY A5). */
#pragma once

#include "audit.h"
#include "store.h"

struct lifecycle_cause {
    const char *actor, *protocol, *request; /* for the audit */
};

/* Revokes one certificate; a key_compromise blocks its key (R4). */
enum ca_status lifecycle_revoke(struct store_tx *tx, const char *serial, int reason,
                                int64_t invalidity_date,
                                const struct lifecycle_cause *cause);
/* The user was disabled: certificates revoked (cessation of operation is the reason of
 * a leaver), open challenges withdrawn, requests that wait refused. */
enum ca_status lifecycle_disable_user(struct store_tx *tx, const char *user,
                                      const struct lifecycle_cause *cause);
enum ca_status lifecycle_disable_device(struct store_tx *tx, const char *device,
                                        const struct lifecycle_cause *cause);
/* A newer certificate took the place of what the device still holds of this profile
 * (all but `keep`): revoked as superseded. `ret_any`: there was something. */
enum ca_status lifecycle_supersede(struct store_tx *tx, const char *device,
                                   const char *profile, const char *keep,
                                   const struct lifecycle_cause *cause, bool *ret_any);
