/* What an activated device was told to enrol by: names, key, a one-time secret and a
 * path of its own, good for one certificate (ECSPEKE-ACT-1 sections 13.3 to 13.5). Of
 * secret and path only SHA-256 is stored. */
#pragma once

#include "record.h"

#define OFFER_ID_SIZE 23    /* with NUL */
#define OFFER_TOKEN_SIZE 44 /* 43 characters of base64url and NUL: the secret */
#define OFFER_PATH_SIZE 23  /* 22 and NUL */
#define OFFER_MISMATCHES 3  /* the third kills it */
#define OFFER_FORWARDS 30   /* requests that are passed on, each minute */
#define OFFER_HOURLY 60     /* offers to one device */

enum offer_state {
    OFFER_OPEN,
    OFFER_CLAIMED,
    OFFER_USED,
    OFFER_REPLACED,
    OFFER_KILLED
};

struct offer {
    char *id; /* "offer:" and 16 hex digits */
    char *device, *user, *profile;
    int64_t profile_version;
    void *subject; /* DER */
    size_t subject_size;
    struct field_list san; /* "dns:a.example", sorted */
    json_t *key;           /* {"alg", "bits" or "curve"} */
    void *spki;            /* SHA-256 of the key it is bound to, or NULL */
    size_t spki_size;
    void *request; /* SHA-256 of the request that claimed it, or NULL */
    size_t request_size;
    char *serial;
    int state;
    int64_t mismatches, expires;
};

/* Is it the id of an offer, among one-time secrets? */
bool offer_is_id(const char *id);

/* The texts that the device gets, this once. */
struct offer_secrets {
    char secret[OFFER_TOKEN_SIZE], path[OFFER_PATH_SIZE];
};
/* Takes the place of what the device has open of this profile; draws id and secrets.
 * CA_FORBIDDEN: device or user are not active; CA_LIMIT: it had OFFER_HOURLY within the
 * hour (SECURITY A7). */
enum ca_status offer_insert(struct store_tx *tx, struct offer *offer,
                            struct offer_secrets *ret_secrets);
/* Another secret in place of the first one, while the offer is open. CA_CONFLICT. */
enum ca_status offer_renew_secret(struct store_tx *tx, const char *id,
                                  char ret_secret[OFFER_TOKEN_SIZE]);

/* CA_NOT_FOUND alike for what never was and what has ended. */
enum ca_status offer_load(struct store_tx *tx, const char *id, struct offer *ret_offer);
/* By its secret: open and not expired. */
enum ca_status offer_of_secret(struct store_tx *tx, const char *text, size_t size,
                               struct offer *ret_offer);
/* By its path: not expired, not replaced unused, not killed, of an active device. */
enum ca_status offer_of_path(struct store_tx *tx, const char *profile, const char *text,
                             struct offer *ret_offer);
/* The device's for this request: the one that the same request claimed, else the open
 * one; not expired. */
enum ca_status offer_of_device(struct store_tx *tx, const char *device,
                               const char *profile, const uint8_t request_sha256[32],
                               struct offer *ret_offer);

/* To the key that is to claim it, while it is open. CA_CONFLICT: to another. */
enum ca_status offer_bind(struct store_tx *tx, const char *id, const uint8_t spki[32]);

/* One-time use, as of challenges (challenge.h); a claim binds the key for good. */
enum ca_status offer_claim(struct store_tx *tx, const char *id, const char *serial,
                           const uint8_t spki[32], const uint8_t request[32]);
enum ca_status offer_finish(struct store_tx *tx, const char *id, const char *serial);
enum ca_status offer_release(struct store_tx *tx, const char *id, const char *serial);
enum ca_status offer_hand_over(struct store_tx *tx, const char *id, const char *from,
                               const char *to);
/* A request that does not fit: `ret_killed` when that was the last one it takes. */
enum ca_status offer_mismatch(struct store_tx *tx, const char *id, bool *ret_killed);
/* One more request to pass on. CA_LIMIT: too many in this minute. */
enum ca_status offer_forward(struct store_tx *tx, const char *id);
/* Removes what expired a while ago; a periodic job's. */
enum ca_status offer_expire(struct store_tx *tx, int64_t limit);

void offer_clear(struct offer *offer);
static inline void __attribute__((unused)) offer_clear_auto(struct offer *offer)
{
    offer_clear(offer);
}
