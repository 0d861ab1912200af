/* The key ceremony: keys made in the token, the certificates of the hierarchy, and the
 * record of both. For short-lived commands; the daemon makes no issuer keys. */
#pragma once

#include "authority.h"
#include "store.h"
#include "tbs.h"
#include "token.h"

/* Where and for whom; strings are borrowed. */
struct ceremony {
    struct store *store;
    struct token_set *tokens;
    const char *token;     /* name of the configuration's token for new keys */
    const char *plain_url; /* base of CDP and AIA; NULL: none */
    const char *run;       /* uuid of this process's life */
    const char *actor;     /* of the audit entries; NULL: "system" */
};
const char *ceremony_actor(const struct ceremony *ceremony);
/* Appends what the actor did over "command". `detail` is taken over; the object is made
 * of format and arguments ("issuer:%s"). */
enum ca_status ceremony_audit(const struct ceremony *ceremony, struct store_tx *tx,
                              const char *action, json_t *detail, const char *object,
                              ...) __attribute__((format(printf, 5, 6)));

/* What an act made; zero-initialised, ceremony_made_clear it. */
struct ceremony_made {
    char *key;    /* URI of the key, or NULL */
    uint8_t *der; /* certificate, request or CRL, or NULL */
    size_t size;
};
void ceremony_made_clear(struct ceremony_made *made);
static inline void __attribute__((unused))
ceremony_made_clear_auto(struct ceremony_made *made)
{
    ceremony_made_clear(made);
}
/* Lower-case hex of the SHA-256. */
enum ca_status ceremony_sha256(const void *octets, size_t size, char ret_hex[65]);

#define CEREMONY_CRL_LIFETIME (7 * 86400)
#define CEREMONY_CRL_OVERLAP 86400

struct ceremony_issuer {
    const char *name;      /* resource name */
    const char *subject;   /* RFC 4514 text */
    const char *algorithm; /* as keygen.h */
    const char *parent;    /* issuer that certifies it; NULL: self-signed root */
    int64_t validity;      /* seconds */
    int path_length;       /* CAs that may follow below it; negative: no limit */
    int state;             /* enum authority_state */
};

/* Generates the key, builds, signs and verifies the certificate, and records the issuer
 * with its audit entries. CA_CONFLICT when the name exists; CA_FORBIDDEN when the
 * chain's path lengths leave no room (H1); what tbs_build_authority and the token say
 * otherwise. */
enum ca_status ceremony_create_issuer(const struct ceremony *ceremony,
                                      const struct ceremony_issuer *wanted);
/* The same, and what it made (NULL: not wanted). */
enum ca_status ceremony_make_issuer(const struct ceremony *ceremony,
                                    const struct ceremony_issuer *wanted,
                                    struct ceremony_made *ret_made);

struct ceremony_helper {
    int role;              /* enum helper_role */
    const char *issuer;    /* whom it serves; NULL for audit and sealing keys */
    const char *subject;   /* of its certificate; NULL without one */
    const char *algorithm; /* as keygen.h */
    int64_t validity;
};
/* Generates a helper key, for RA and OCSP its certificate by the issuer, and makes it
 * the current one of its role; the previous one stays for an overlap. */
enum ca_status ceremony_create_helper(const struct ceremony *ceremony,
                                      const struct ceremony_helper *wanted);
enum ca_status ceremony_make_helper(const struct ceremony *ceremony,
                                    const struct ceremony_helper *wanted,
                                    struct ceremony_made *ret_made);

/* New RA and OCSP keys and certificates for `issuer` where the present ones end within
 * `window` seconds or are missing; all of them with `window` negative. Subject,
 * algorithm and length of life stay as they were. */
struct ceremony_renewal {
    const char *issuer;
    bool roles[HELPER_ROLE_COUNT]; /* which to look at: RA, OCSP */
    int64_t window;
};
enum ca_status ceremony_renew_helpers(const struct ceremony *ceremony,
                                      const struct ceremony_renewal *wanted,
                                      size_t *ret_made);

/* ---- Issuers that another CA certifies ---- */

struct ceremony_request {
    const char *name;    /* of the issuer to be; or of one, to renew its certificate */
    const char *subject; /* RFC 4514 text */
    const char *algorithm; /* of a new key, as keygen.h */
};
/* A PKCS#10 request with a new key, or with that of the issuer of this name. */
enum ca_status ceremony_request(const struct ceremony *ceremony,
                                const struct ceremony_request *wanted,
                                struct ceremony_made *ret_made);

struct ceremony_import {
    const char *name;        /* of the issuer */
    const char *certificate; /* PEM, one */
    const char *chain;       /* PEM, in any order, the root included; or NULL */
    const char *key;         /* URI; NULL: the token's key with this public half */
    int state;               /* enum authority_state, of a new issuer */
    bool only_check;         /* nothing is recorded */
};
/* SECURITY H2: refuses a certificate whose key is not in a token here (CA_NOT_FOUND,
 * CA_CONFLICT), that is no CA with keyCertSign and cRLSign, expired, with a weak
 * signature in its chain or without a chain to a self-signed end, and a chain whose
 * path lengths leave no room (CA_FORBIDDEN). A new issuer, or the renewed certificate
 * of one with the same key and subject (else CA_CONFLICT). */
enum ca_status ceremony_import(const struct ceremony *ceremony,
                               const struct ceremony_import *wanted,
                               struct ceremony_made *ret_made);

/* Makes `standby` the next of issuer `name` (GetNextCACert). */
enum ca_status ceremony_set_next(const struct ceremony *ceremony, const char *name,
                                 const char *standby);

/* A certificate for the key and subject of issuer `name` by issuer `by`, so that who
 * trusts the one follows the other (RFC 4210 section 4.4). Recorded in the inventory.
 */
struct ceremony_cross {
    const char *name, *by;
    int64_t validity;
};
enum ca_status ceremony_cross(const struct ceremony *ceremony,
                              const struct ceremony_cross *wanted,
                              struct ceremony_made *ret_made);

/* The standby of issuer `name` becomes active and every certificate profile of `name`
 * its own, in one transaction; `name` is retired: it signs CRLs until its last
 * certificate ends. The standby's name to free(). CA_CONFLICT without a standby. */
enum ca_status ceremony_activate(const struct ceremony *ceremony, const char *name,
                                 char **ret_standby);

/* The end of a retired issuer: its key is forgotten, so that it may be destroyed.
 * CA_CONFLICT while it is not retired, a profile names it, or a certificate of it is
 * valid (its own, RA's and OCSP's do not count); the message says until when. */
enum ca_status ceremony_retire(const struct ceremony *ceremony, const char *name);

/* A certificate by an issuer for a key that is not in a token: TLS server certificates
 * of this daemon. By `profile`, recorded like every other; OPENSSL_free the DER. */
struct ceremony_leaf {
    const char *issuer;
    const struct certificate_profile *profile;
    const struct names *names;
    X509_PUBKEY *key;
};
enum ca_status ceremony_issue_leaf(const struct ceremony *ceremony,
                                   const struct ceremony_leaf *wanted,
                                   uint8_t **ret_der, size_t *ret_size);

/* The chain of an issuer, PEM, itself first; free() it. */
enum ca_status ceremony_chain(const struct ceremony *ceremony, const char *issuer,
                              char **ret_pem);
