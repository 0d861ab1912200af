/* One-time SCEP secrets: 16 hex digits that name the record and 32 that are secret
 * (128 bits), upper case; only the secret's SHA-256 is stored. */
#pragma once

#include "record.h"

#define CHALLENGE_TEXT_SIZE 49 /* 48 characters and NUL */
#define CHALLENGE_TRIES 5

enum challenge_state {
    CHALLENGE_OPEN,
    CHALLENGE_CLAIMED,
    CHALLENGE_USED,
    CHALLENGE_WITHDRAWN,
    CHALLENGE_LOCKED,
    CHALLENGE_EXPIRED /* computed */
};

struct challenge {
    char *id;              /* 16 hex digits, lower case */
    char *user, *profile;  /* profile of kind scep */
    char *device;          /* uuid or NULL */
    char *subject;         /* "CN=..." the request must carry, or NULL */
    struct field_list san; /* "dns:a.example": all that the request may carry */
    int64_t expires;
    int64_t expires_in; /* input only: seconds from now */
    int state;
    char *serial; /* certificate it was used for */
    int64_t tries;
    char *created_by; /* administrator who made it, or NULL: may not approve (A6) */
    struct record_stamp stamp;
};

extern const struct field challenge_fields[];

/* Draws id and secret, stores the record, gives the text once. CA_NOT_FOUND for an
 * unknown user, profile or device; CA_FORBIDDEN for a disabled user, or a device that
 * is disabled, unenrolled or another user's. `expires` 0: now + expires_in. */
enum ca_status challenge_insert(struct store_tx *tx, struct challenge *challenge,
                                char ret_text[CHALLENGE_TEXT_SIZE]);
enum ca_status challenge_load(struct store_tx *tx, const char *id,
                              struct challenge *ret_challenge);
enum ca_status challenge_list(struct store_tx *tx, const char *user, const char *state,
                              const struct record_page *page, record_visit visit,
                              void *arg);
/* OPEN -> WITHDRAWN; CA_CONFLICT otherwise. */
enum ca_status challenge_withdraw(struct store_tx *tx, const char *id);

/* Is this text the secret of an open, unexpired challenge of this scep profile? Fills
 * the record; otherwise CA_UNAUTHENTICATED with the true reason in the message only.
 * `ret_wrong_id` (17 octets, may be NULL): the id whose secret was wrong, else "". */
enum ca_status challenge_verify(struct store_tx *tx, const char *text, size_t length,
                                const char *profile, struct challenge *ret_challenge,
                                char ret_wrong_id[17]);
/* Counts a wrong try of an open challenge; LOCKED at CHALLENGE_TRIES. */
enum ca_status challenge_count_try(struct store_tx *tx, const char *id);
/* OPEN and unexpired -> CLAIMED for this serial, else CA_CONFLICT: of two one
 * passes. */
enum ca_status challenge_claim(struct store_tx *tx, const char *id, const char *serial);
/* CLAIMED by this serial -> USED; and back to OPEN when its intent is abandoned. */
enum ca_status challenge_finish(struct store_tx *tx, const char *id,
                                const char *serial);
enum ca_status challenge_release(struct store_tx *tx, const char *id,
                                 const char *serial);
/* CLAIMED by `from` -> CLAIMED by `to`, also past its expiry: from a request that
 * waited (claimed under its id) to the intent of its certificate, and back. */
enum ca_status challenge_hand_over(struct store_tx *tx, const char *id,
                                   const char *from, const char *to);
void challenge_clear(struct challenge *challenge);
