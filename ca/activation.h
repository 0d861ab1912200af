/* Activation passwords: short-lived, counted, one live one for each user and reference.
 * Only what a sealed verifier needs is stored; stretching and sealing take place
 * before, never inside a store closure (ECSPEKE-ACT-1 sections 7, 9 and 11). */
#pragma once

#include "record.h"

#define ACTIVATION_TRIES 5
#define ACTIVATION_REFUSALS 10 /* CSRs refused in a password's life */
#define ACTIVATION_ID_SIZE 17  /* 16 hex digits and NUL; also of a verifier's row */
#define ACTIVATION_BLOB_SIZE 61
#define ACTIVATION_LOGINS_MAX 4 /* login names of one user */

enum activation_state {
    ACTIVATION_OPEN,
    ACTIVATION_USED,
    ACTIVATION_WITHDRAWN,
    ACTIVATION_REFUSED,
    ACTIVATION_LOCKED,
    ACTIVATION_EXPIRED /* the last two are computed */
};
/* What wrong passwords lead to: the password's death, or a delay that doubles. */
enum activation_lockout { ACTIVATION_HARD, ACTIVATION_SOFT };

struct activation {
    char *id;
    char *user, *ref; /* `ref` "" when there is none */
    char *profile;    /* of kind activation; NULL: the user's effective one */
    int64_t expires;
    int64_t expires_in; /* input only: seconds from now */
    int64_t devices;    /* that it may still activate */
    int64_t taken;      /* of them, certificates in the making */
    int lockout;
    int64_t tries, failures, refusals;
    int64_t next_try; /* soft: not before */
    int state;
    int64_t used; /* last time a device was activated; 0: never */
    char *created_by;
    struct record_stamp stamp;
};

extern const struct field activation_fields[];

/* One login name's sealed verifier. `id` names its row and is bound into the blob, so
 * it is drawn before. */
struct activation_verifier {
    char *id;
    char *activation;
    char *login; /* canonical */
    char *ref;
    char *kid;
    uint8_t blob[ACTIVATION_BLOB_SIZE];
};

/* An id for an activation or a verifier, from the CSPRNG. CA_INTERNAL. */
enum ca_status activation_id_draw(char ret_id[ACTIVATION_ID_SIZE]);

/* Stores a password and its verifiers (1 to ACTIVATION_LOGINS_MAX) under its drawn id
 * and kills the user's previous one with this ref. `expires` 0: now + expires_in.
 * CA_NOT_FOUND for an unknown user or profile, CA_FORBIDDEN for a disabled user,
 * CA_CONFLICT when a login name has another user's live password with this ref. */
enum ca_status activation_insert(struct store_tx *tx, struct activation *activation,
                                 const struct activation_verifier *verifiers,
                                 size_t count);
enum ca_status activation_load(struct store_tx *tx, const char *id,
                               struct activation *ret_activation);
enum ca_status activation_list(struct store_tx *tx, const char *user, const char *state,
                               const struct record_page *page, record_visit visit,
                               void *arg);
/* Ends a password by hand, wiping its verifiers; CA_CONFLICT when it has ended. */
enum ca_status activation_withdraw(struct store_tx *tx, const char *id);

/* hello: the verifier of a live password (tries left, devices left, not expired, user
 * enabled, no delay running). CA_NOT_FOUND: treat it as a name without one. */
enum ca_status activation_find(struct store_tx *tx, const char *login, const char *ref,
                               struct activation_verifier *ret_verifier);

/* A log-in that names no reference: what may be meant. */
struct activation_live {
    char *id;
    char *profile; /* NULL: the user's effective one */
    int64_t failures;
};
#define ACTIVATION_LIVE_MOST 8
/* Visits struct activation_live: the user's live passwords under this login name, the
 * newest first, at most ACTIVATION_LIVE_MOST. */
enum ca_status activation_live_list(struct store_tx *tx, const char *user,
                                    const char *login, record_visit visit, void *arg);
/* One login name's verifier of a live password. CA_NOT_FOUND. */
enum ca_status activation_live_load(struct store_tx *tx, const char *id,
                                    const char *login,
                                    struct activation_verifier *ret_verifier);

/* enroll, step 3: takes one try, or tells that the password is not live any more. The
 * same statement runs for an id of nothing (""), so that both cost the same. */
enum ca_status activation_attempt(struct store_tx *tx, const char *id,
                                  bool *ret_is_live);
/* Tries left; 0 for an id of nothing. */
enum ca_status activation_tries(struct store_tx *tx, const char *id,
                                int64_t *ret_tries);
/* The try of an attempt that came to nothing by our own fault comes back. */
enum ca_status activation_give_back(struct store_tx *tx, const char *id);
/* The password was proven at a log-in, which uses nothing up: tries are full again.
 * CA_CONFLICT when it has ended. */
enum ca_status activation_prove(struct store_tx *tx, const char *id);
/* The password was proven but the request refused: tries are full again; the tenth
 * refusal ends the password. CA_CONFLICT when it has ended already. */
enum ca_status activation_refuse(struct store_tx *tx, const char *id);
/* With the reservation: takes one device. CA_CONFLICT: none is left. */
enum ca_status activation_take(struct store_tx *tx, const char *id);
/* With the certificate's record: tries are full again; the last device ends it.
 * CA_CONFLICT when none was taken; likewise below. */
enum ca_status activation_finish(struct store_tx *tx, const char *id);
/* The reservation was given up: device and try come back, also to one that has expired
 * meanwhile. */
enum ca_status activation_release(struct store_tx *tx, const char *id);

/* Removes the verifiers of what has expired; a periodic job's. */
enum ca_status activation_purge(struct store_tx *tx, int64_t *ret_count);

void activation_clear(struct activation *activation);
void activation_verifier_clear(struct activation_verifier *verifier);
