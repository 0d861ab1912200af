/* What the ceremony's acts share: who signs, new keys, and signatures on record. */
#pragma once

#include "ceremony.h"

/* An issuer of the store, or (certificate NULL) the key that certifies itself. */
struct ceremony_signer {
    char *name;
    X509 *certificate;
    struct token_key *key;
    char *chain; /* PEM */
};

enum ca_status ceremony_signer_load(const struct ceremony *ceremony, const char *issuer,
                                    struct ceremony_signer *ret_signer);
void ceremony_signer_clear(struct ceremony_signer *signer);
static inline void __attribute__((unused))
ceremony_signer_clear_auto(struct ceremony_signer *signer)
{
    ceremony_signer_clear(signer);
}

/* A key with the label "<owner>-<role>-<yyyymm>-<n>", which no key has had; its URI. */
enum ca_status ceremony_key_generate(const struct ceremony *ceremony, const char *owner,
                                     const char *role, const char *algorithm,
                                     unsigned uses, char **ret_uri);
/* A copy of the public half, so that nothing of the proxy stays in what is built. */
enum ca_status ceremony_key_public(struct token_key *key, X509_PUBKEY **ret_spki);

/* Intent, signature, verification, record and audit; OPENSSL_free the certificate. */
enum ca_status ceremony_sign(const struct ceremony *ceremony,
                             const struct ceremony_signer *signer, const uint8_t *tbs,
                             size_t size, const char *serial, uint8_t **ret_der,
                             size_t *ret_size);

/* The certificate of the hierarchy for a key in a token. */
struct hierarchy {
    int kind; /* enum tbs_authority_kind */
    const char *subject;
    int64_t validity;
    int path_length;
    const X509_PUBKEY *key; /* to be certified */
};
/* What is to be signed by the signer (without certificate: a root), and its serial;
 * ceremony_made_clear the DER. The signer's key is not needed. */
enum ca_status ceremony_hierarchy_tbs(const struct ceremony *ceremony,
                                      const struct ceremony_signer *signer,
                                      const struct hierarchy *wanted,
                                      struct ceremony_made *ret_tbs,
                                      char ret_serial[33]);
/* The same, signed and recorded. */
enum ca_status ceremony_hierarchy_make(const struct ceremony *ceremony,
                                       const struct ceremony_signer *signer,
                                       const struct hierarchy *wanted,
                                       struct ceremony_made *ret_made);
/* H1 over the whole chain (PEM, the issuer itself first): may a CA with `path_length`
 * follow? CA_FORBIDDEN. */
enum ca_status ceremony_check_room(const char *chain, int path_length);
/* Whether a helper of the role signs, decrypts, or both: enum token_use. */
unsigned ceremony_helper_uses(int role);
