/* The issuers in memory: certificate, chain and token key, loaded from the store, with
 * the one place where an issuer's key signs. */
#pragma once

#include "authority.h"
#include "auto.h"
#include "token.h"

struct issuers; /* all of them, swapped whole on reload; NULL: not loaded yet, none */

struct issuer {
    char *name;
    int state;  /* enum authority_state */
    char *next; /* name of the standby, or NULL */
    X509 *certificate;
    STACK_OF(X509) *chain;     /* without itself, up to and with the root */
    struct token_key *key;     /* NULL: not in a token here (offline) */
    struct token_key *standby; /* the same key in another token, or NULL */
    int64_t crl_lifetime, crl_overlap;
};

struct issuer_helper {
    char *name;
    int role; /* enum helper_role */
    char *issuer;
    bool current;
    X509 *certificate; /* NULL for audit and sealing keys */
    struct token_key *key;
};

/* Loads issuers and helpers and finds their keys. An issuer whose key is missing is
 * loaded without it, the reason logged: readiness says so. */
enum ca_status issuers_load(struct store *store, struct token_set *tokens,
                            struct issuers **ret_issuers);
struct issuers *issuers_hold(struct issuers *issuers); /* one more reference */
void issuers_release(struct issuers *issuers);

const struct issuer *issuers_find(const struct issuers *issuers, const char *name);
/* The issuer whose certificate has this subject and key id; NULL. */
const struct issuer *issuers_of_certificate(const struct issuers *issuers,
                                            const X509 *certificate);
size_t issuers_count(const struct issuers *issuers);
const struct issuer *issuers_at(const struct issuers *issuers, size_t index);
/* The helper of a role for an issuer (NULL: any); `index` 0 current, then previous. */
const struct issuer_helper *issuers_helper(const struct issuers *issuers, int role,
                                           const char *issuer, size_t index);

/* Can it sign right now, by either key? Without touching a token. */
bool issuer_is_up(const struct issuer *issuer);

/* Signs a TBSCertificate or TBSCertList that carries the algorithm of this issuer's
 * key; gives the whole signed object (OPENSSL_free). The signature is verified with the
 * issuer's certificate before it is returned. While the token of its key is down the
 * standby key signs, if it has one: the same bytes, so never a second serial. */
enum ca_status issuer_sign(const struct issuer *issuer, const uint8_t *tbs, size_t size,
                           uint8_t **ret_der, size_t *ret_size);

/* PEM, own certificate first: the first one and the rest (no copy of it). CA_MALFORMED.
 */
enum ca_status issuer_chain_decode(const char *pem, X509 **ret_certificate,
                                   STACK_OF(X509) **ret_chain);

/* May it issue (SECURITY H2)? CA with keyCertSign and cRLSign, a key we sign with, no
 * SHA-1 or MD5 below the root, and its chain verifies strictly up to a self-signed end
 * at `now` (negative: the time is not looked at). CA_FORBIDDEN, CA_UNSUPPORTED. */
enum ca_status issuer_check(X509 *certificate, STACK_OF(X509) *chain, int64_t now);
