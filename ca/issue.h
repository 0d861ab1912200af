/* The second half of SECURITY I1: an intent that is durable is signed in the token,
 * verified, recorded, and only then leaves. */
#pragma once

#include "issuer.h"
#include "lifecycle.h"
#include "service.h"

/* Where a test may stop the process; NULL outside of tests. */
enum issue_step { ISSUE_RESERVED, ISSUE_SIGNED, ISSUE_COMPLETED };
extern void (*issue_pause)(enum issue_step step);

/* What is recorded along with the certificate, so that a kill cannot part them. */
struct issue_along {
    /* From the signed certificate, before it is recorded: a failure leaves the intent.
     * NULL: nothing to make. */
    enum ca_status (*make)(void *arg, const uint8_t *der, size_t size);
    /* In the transaction that records it, and only when it may leave. */
    enum ca_status (*keep)(struct store_tx *tx, void *arg);
    void *arg;
};

/* One durable intent. Everything is borrowed. */
struct issue {
    const struct issuer *issuer;
    const char *serial;
    const uint8_t *tbs;
    size_t tbs_size;
    const char *user, *device, *profile; /* who gets it, by which certificate profile */
    const char *challenge;               /* claimed by this serial, or NULL */
    const char *replaces;                /* serial it renews, or NULL */
    const char *subject;                 /* for the audit */
    bool one_active, revoke_replaced;    /* as the profile says */
    struct lifecycle_cause cause;
    const struct issue_along *along; /* or NULL */
};

/* Signs, verifies, completes. The caller holds the serial's flight. `ret_der`:
 * OPENSSL_free it. CA_UNAVAILABLE: the intent stays and may be signed again;
 * CA_FORBIDDEN: user or device were disabled meanwhile, the certificate is recorded as
 * revoked; CA_CONFLICT: somebody else took the intent over. */
enum ca_status issue_sign(struct service *service, const struct issue *issue,
                          uint8_t **ret_der, size_t *ret_size);
