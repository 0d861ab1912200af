/* Requests that wait for approval. */
#pragma once

#include "record.h"

enum pending_state {
    PENDING_WAITING,
    PENDING_APPROVED,
    PENDING_REFUSED,
    PENDING_ISSUED,
    PENDING_EXPIRED
};

struct pending {
    char *id; /* uuid */
    char *protocol, *profile, *user, *device, *subject;
    char *endpoint, *transaction;
    int state;
    int64_t approvals_needed;
    struct field_list approvals; /* admin names */
    char *refused_by, *reason, *serial;
    int64_t expires;
    struct record_stamp stamp;
    /* not in the API's JSON */
    void *request; /* PKCS#10 DER */
    size_t request_size;
    uint8_t signer_spki_sha256[32];
    uint8_t request_sha256[32];
    char *challenge; /* claimed for it */
    char *replaces;  /* serial that a renewal renews, or NULL */
    json_t *granted; /* names granted by the challenge */
    int64_t flags;   /* CA_ENROL_... of the request */
};

extern const struct field pending_fields[];

/* Draws the id if NULL. CA_CONFLICT when the transaction has one that lives; CA_LIMIT
 * above `most` waiting entries. */
enum ca_status pending_insert(struct store_tx *tx, struct pending *pending,
                              int64_t most);
enum ca_status pending_load(struct store_tx *tx, const char *id,
                            struct pending *ret_pending);
enum ca_status pending_of_transaction(struct store_tx *tx, const char *endpoint,
                                      const char *transaction,
                                      const uint8_t signer_spki_sha256[32],
                                      struct pending *ret_pending);
enum ca_status pending_list(struct store_tx *tx, const char *state,
                            const struct record_page *page, record_visit visit,
                            void *arg);
/* Adds an approver (CA_CONFLICT: has approved already, or not waiting); APPROVED once
 * enough did. CA_FORBIDDEN for the user whose request it is (SECURITY A6). */
enum ca_status pending_approve(struct store_tx *tx, const char *id, const char *admin,
                               enum pending_state *ret_state);
enum ca_status pending_refuse(struct store_tx *tx, const char *id, const char *admin,
                              const char *reason);
/* Refuses all that wait or are approved: those of the user and those of
 * the device, each of which may be NULL for none. */
enum ca_status pending_refuse_all(struct store_tx *tx, const char *user,
                                  const char *device, const char *reason);
/* APPROVED -> ISSUED with the serial (in the reserve transaction of the intent). */
enum ca_status pending_finish(struct store_tx *tx, const char *id, const char *serial);
enum ca_status pending_reopen(struct store_tx *tx, const char *id, const char *serial);
/* WAITING or APPROVED past `now` -> EXPIRED; visits struct pending. */
enum ca_status pending_expire(struct store_tx *tx, int64_t now, record_visit visit,
                              void *arg);
void pending_clear(struct pending *pending);
