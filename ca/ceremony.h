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
};

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
 * with its audit entries. CA_CONFLICT when the name exists; what tbs_build_authority
 * and the token say otherwise. */
enum ca_status ceremony_create_issuer(const struct ceremony *ceremony,
                                      const struct ceremony_issuer *wanted);

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

/* Makes `standby` the next of issuer `name` (GetNextCACert). */
enum ca_status ceremony_set_next(const struct ceremony *ceremony, const char *name,
                                 const char *standby);

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
