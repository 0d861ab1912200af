/* The issuers as the store keeps them: certificate, key reference, state and CRL, and
 * the helper keys (RA, OCSP, audit, sealing) with their certificates. */
#pragma once

#include "record.h"

enum authority_state { AUTHORITY_ACTIVE, AUTHORITY_STANDBY, AUTHORITY_RETIRED };

struct authority {
    char *name;
    char *subject;     /* read-only, RFC 4514 text */
    char *key;         /* pkcs11 URI without PIN; NULL: key not here (offline root) */
    char *standby_key; /* the same key in another token, for when the first is down */
    int state;
    char *parent; /* issuer that certified it; NULL: itself or outside */
    char *next;   /* standby that takes over (GetNextCACert), or NULL */
    char *chain;  /* PEM: own certificate first, up to the root */
    struct {
        int64_t lifetime_seconds, overlap_seconds;
    } crl;
    struct record_stamp stamp;
};

extern const struct field authority_fields[];

enum ca_status authority_load(struct store_tx *tx, const char *name,
                              struct authority *ret_authority);
/* The same outside a transaction. */
enum ca_status authority_read(struct store *store, const char *name,
                              struct authority *ret_authority);
enum ca_status authority_insert(struct store_tx *tx, struct authority *authority);
enum ca_status authority_update(struct store_tx *tx, struct authority *authority);
enum ca_status authority_list(struct store_tx *tx, const struct record_page *page,
                              record_visit visit, void *arg);
void authority_clear(struct authority *authority);

/* The latest CRL of an issuer. */
struct authority_crl {
    int64_t number, this_update, next_update;
    int64_t revision; /* counts revocations; a CRL of an older revision is stale */
    int64_t built_revision;
    void *der;
    size_t der_size;
};
/* CA_NOT_FOUND before the first one. `with_der` false leaves der NULL. */
enum ca_status authority_crl_load(struct store_tx *tx, const char *issuer,
                                  bool with_der, struct authority_crl *ret_crl);
/* A revocation took place: the CRL is stale. */
enum ca_status authority_crl_touch(struct store_tx *tx, const char *issuer);
/* Draws the next CRLNumber (strictly rising, also for builds that fail: V1) together
 * with the revision it will cover. */
enum ca_status authority_crl_draw(struct store_tx *tx, const char *issuer,
                                  int64_t *ret_number, int64_t *ret_revision);
/* Keeps the CRL unless a higher number is there already (CA_CONFLICT). */
enum ca_status authority_crl_save(struct store_tx *tx, const char *issuer,
                                  const struct authority_crl *crl);
void authority_crl_clear(struct authority_crl *crl);

enum helper_role {
    HELPER_RA,
    HELPER_OCSP,
    HELPER_AUDIT,
    HELPER_SEALING,
    HELPER_ROLE_COUNT
};
extern const char *const helper_role_words[];

struct helper {
    char *name;        /* "ra-issuing-202611" */
    int role;          /* enum helper_role */
    char *issuer;      /* whom it serves; NULL for audit and sealing */
    char *key;         /* pkcs11 URI */
    bool current;      /* false: previous, kept for an overlap */
    void *certificate; /* DER or NULL */
    size_t certificate_size;
};
enum ca_status helper_insert(struct store_tx *tx, const struct helper *helper);
/* Visits struct helper, current first. */
enum ca_status helper_list(struct store_tx *tx, record_visit visit, void *arg);
void helper_clear(struct helper *helper);
