/* The device's keys: made in software or in a token, requested, and put away. */
#pragma once

#include "plugin.h"
#include <openssl/x509v3.h>

struct token_set;

/* Where keys are made. Texts are borrowed. */
struct key_place {
    const char *uri;          /* RFC 7512, names the token; NULL: in software */
    const char *module;       /* path of the PKCS#11 library */
    const char *pin;          /* path of the PIN's file */
    struct token_set *tokens; /* opened when the first key is made */
};
void key_place_close(struct key_place *place);

/* What is made, and under which label it begins in a token. */
struct key_kind {
    const char *label;
    const char *algorithm; /* "p-256", "p-384", "p-521", "rsa-2048" ... "rsa-4096" */
    bool decrypts;         /* RSA: answers are enveloped to it */
};
/* A key pair; EVP_PKEY_free it. `ret_uri` is the key's in the token, or NULL in
 * software; free() it. CA_UNSUPPORTED. */
enum ca_status key_make(struct key_place *place, const struct key_kind *kind,
                        EVP_PKEY **ret_key, char **ret_uri);

/* What is asked for: the server takes the key alone unless a profile says otherwise. */
struct key_names {
    X509_NAME *subject;    /* NULL: empty */
    GENERAL_NAMES *san;    /* NULL: none */
    const char *challenge; /* NULL: none */
    const EVP_MD *digest;  /* NULL: the CertificationRequestInfo alone */
};
/* A PKCS#10 request signed with the key: DER, OPENSSL_free it. */
enum ca_status key_request(EVP_PKEY *key, const struct key_names *names,
                           uint8_t **ret_der, size_t *ret_size);

/* A key with what was issued for it. */
struct key_issued {
    EVP_PKEY *key;
    X509 *certificate;
    STACK_OF(X509) *chain; /* issuer first, root last */
};
void key_issued_clear(struct key_issued *issued);

/* A text that is base64url of one certificate; X509_free it. CA_MALFORMED. */
enum ca_status key_certificate_read(const json_t *text, X509 **ret_certificate);
/* Does the certificate hold the key, and verify up to the end of the chain? `anchor` is
 * SHA-256 of the chain's first, which is trusted; NULL: its last is, and must be
 * self-signed (section 6, M4). CA_UNAUTHENTICATED. */
enum ca_status key_issued_check(const struct key_issued *issued, const uint8_t *anchor);
/* Reads `cert` and `chain` of a grant or an answer and checks them; a reference to the
 * key is taken. */
enum ca_status key_issued_read(const json_t *answer, EVP_PKEY *key,
                               const uint8_t *anchor, struct key_issued *ret_issued);
/* Does it verify up to the root of `grant`? */
bool key_issued_is_under(const struct key_issued *issued,
                         const struct key_issued *grant);
/* The last of the chain; borrowed. */
X509 *key_issued_root(const struct key_issued *issued);

/* May DIRECTORY/NAME be made? Makes the directory (0700). CA_CONFLICT: it is there. */
enum ca_status key_file_check(const char *directory, const char *name);
/* Writes DIRECTORY/NAME whole or not at all, readable by its owner alone. */
enum ca_status key_file_write(const char *directory, const char *name,
                              struct ca_bytes octets);
/* Key, certificate and chain as PKCS#12 under a password; without the key, which stays
 * in its token, as PEM if `password` is NULL. */
enum ca_status key_issued_write(const struct key_issued *issued, const char *directory,
                                const char *name, const char *password);
