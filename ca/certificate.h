/* The inventory: every serial that was ever drawn for a signature, from intent to
 * end. */
#pragma once

#include "record.h"

enum certificate_state {
    CERTIFICATE_INTENT,
    CERTIFICATE_ISSUED,
    CERTIFICATE_REVOKED,
    CERTIFICATE_EXPIRED,
    CERTIFICATE_ABANDONED
};

/* Why one was revoked: RFC 5280 section 5.3.1. */
enum certificate_reason {
    CERTIFICATE_UNSPECIFIED = 0,
    CERTIFICATE_KEY_COMPROMISE = 1,
    CERTIFICATE_CA_COMPROMISE = 2,
    CERTIFICATE_SUPERSEDED = 4,
    CERTIFICATE_CESSATION_OF_OPERATION = 5,
    CERTIFICATE_REMOVE_FROM_CRL = 8,
    CERTIFICATE_AA_COMPROMISE = 10
};

struct certificate {
    char *serial; /* lower-case hex, 32 characters for our own */
    char *issuer, *subject;
    struct field_list san; /* char *: "dns:a.example", "email:..." */
    int64_t not_before, not_after;
    int state; /* EXPIRED is computed: issued and past not_after */
    char *profile, *user, *device, *protocol;
    char *spki_sha256; /* hex */
    char *reason;      /* revocation reason word, NULL while not revoked */
    int64_t revoked_at, invalidity_date;
    struct record_stamp stamp;
    /* not in the API's JSON */
    void *der; /* TBS while INTENT, certificate afterwards */
    size_t der_size;
};

extern const struct field certificate_fields[];
/* RFC 5280 reason words in snake_case by code; NULL at unassigned 7. */
extern const char *const certificate_reason_words[11];
bool certificate_reason_parse(const char *word, int *ret_code);

/* One intent (SECURITY I1): the serial, the TBS and the transaction it answers.
 * Endpoint, transaction, signer and request are together unique among intents and fresh
 * answers. */
struct certificate_intent {
    const struct certificate *certificate; /* der = TBS */
    const char *challenge;                 /* claimed challenge id or NULL */
    const char *pending;                   /* approved request id or NULL */
    const char *endpoint;    /* "scep/default": whose transaction ids these are */
    const char *transaction; /* protocol's transaction id, or NULL */
    const uint8_t *signer_spki_sha256; /* 32, or NULL */
    const uint8_t *request_sha256;     /* 32: of the inner request, or NULL */
    int64_t fresh_since;  /* an answer completed before it is no longer fresh:
                             now - retry window; 0: every answer stays fresh */
    const char *run;      /* this process's run id: who is signing */
    const char *replaces; /* serial it renews, or NULL */
    json_t *granted;      /* names granted beyond the profile, for renewals; or NULL */
    int64_t held_until;   /* the device must hold no other of this key and profile
                             that ends after it; 0: it may */
    bool is_first;        /* the device must hold no other of this profile */
};
/* CA_CONFLICT: serial or transaction exists. CA_FORBIDDEN: held_until, is_first. */
enum ca_status certificate_reserve(struct store_tx *tx,
                                   const struct certificate_intent *intent);
/* INTENT of this run -> ISSUED with its DER; CA_CONFLICT when it is not. */
enum ca_status certificate_complete(struct store_tx *tx, const char *serial,
                                    const char *run, const void *der, size_t size);
/* Intent that nobody signs any more: takes it over for `run` when its run differs and
 * nobody reserved it or took it over at or after `older_than` (seconds since 1970),
 * else CA_CONFLICT. */
enum ca_status certificate_take_over(struct store_tx *tx, const char *serial,
                                     const char *run, int64_t older_than);
/* Intents created before `before`: -> ABANDONED, at most `limit`; visits struct
 * certificate_transaction of each. */
enum ca_status certificate_abandon(struct store_tx *tx, int64_t before, int64_t limit,
                                   record_visit visit, void *arg);

/* The same of a run that has ended, for intents that no repeated request nor approval
 * leads back to. */
enum ca_status certificate_abandon_run(struct store_tx *tx, const char *run,
                                       int64_t limit, record_visit visit, void *arg);

/* INTENT of this run -> ABANDONED; false when it is none. */
enum ca_status certificate_give_up(struct store_tx *tx, const char *serial,
                                   const char *run, bool *ret_took_place);

struct certificate_transaction {
    char *serial, *run, *challenge, *pending;
    char *replaces; /* as in the intent */
    int state;      /* enum certificate_state */
    int64_t created, completed;
};
/* The latest certificate of (endpoint, transaction, signer key[, request]); request
 * NULL matches any. CA_NOT_FOUND. */
enum ca_status certificate_of_transaction(struct store_tx *tx, const char *endpoint,
                                          const char *transaction,
                                          const uint8_t signer_spki_sha256[32],
                                          const uint8_t *request_sha256,
                                          struct certificate_transaction *ret_found);
void certificate_transaction_clear(struct certificate_transaction *transaction);

enum ca_status certificate_load(struct store_tx *tx, const char *issuer, /* NULL: any */
                                const char *serial,
                                struct certificate *ret_certificate);
/* CA_FORBIDDEN when the device has one of this profile that is issued and not over at
 * `now`, or about to be issued; `serial` (or "") does not count. */
enum ca_status certificate_check_first(struct store_tx *tx, const char *device,
                                       const char *profile, const char *serial,
                                       int64_t now);
/* The granted names kept with an intent (new reference; NULL when none). */
enum ca_status certificate_granted(struct store_tx *tx, const char *serial,
                                   json_t **ret_granted);
/* ISSUED -> REVOKED. Reason code 6 (hold) may later change to another reason, or be
 * released with code 8; every other may change to code 1 (key compromise) alone.
 * CA_CONFLICT when already revoked, CA_NOT_FOUND; CA_MALFORMED: no reason for a
 * device's certificate, or a date in the future. */
enum ca_status certificate_revoke(struct store_tx *tx, const char *serial, int reason,
                                  int64_t invalidity_date);
/* Revokes what the device still holds (of `profile` or NULL: all) except `keep` (or
 * NULL); visits each serial (const char *). Without `profile` and `keep`, and for a
 * user, intents are abandoned too: what is being signed then is never completed. */
enum ca_status certificate_revoke_device(struct store_tx *tx, const char *device,
                                         const char *profile, const char *keep,
                                         int reason, record_visit visit, void *arg);
enum ca_status certificate_revoke_user(struct store_tx *tx, const char *user,
                                       int reason, record_visit visit, void *arg);

struct certificate_filter {
    const char *user, *device, *profile, *issuer, *state, *protocol, *spki_sha256;
    int64_t expires_before; /* 0: any */
    const char *q;          /* prefix of serial, or substring of subject */
};
enum ca_status certificate_list(struct store_tx *tx,
                                const struct certificate_filter *filter,
                                const struct record_page *page, record_visit visit,
                                void *arg);
/* Rows of the CRL of an issuer: revoked, and not_after at or after `since`, in serial
 * order; visits struct certificate with serial, reason, revoked_at, invalidity_date. */
enum ca_status certificate_revoked(struct store_tx *tx, const char *issuer,
                                   int64_t since, record_visit visit, void *arg);
void certificate_clear(struct certificate *certificate);
