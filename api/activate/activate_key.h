/* The device's keys: made in software or in a token, requested, and put away. */
#pragma once

#include "plugin.h"

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
};
/* A key pair; EVP_PKEY_free it. `ret_uri` is the key's in the token, or NULL in
 * software; free() it. CA_UNSUPPORTED. */
enum ca_status key_make(struct key_place *place, const struct key_kind *kind,
                        EVP_PKEY **ret_key, char **ret_uri);

/* What is asked for: the server takes the key alone unless a profile says otherwise. */
struct key_names {
    X509_NAME *subject;                   /* NULL: empty */
    STACK_OF(X509_EXTENSION) *extensions; /* NULL: none */
    const EVP_MD *digest;
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

/* Reads `cert` and `chain` of a grant or an answer and checks them (section 6, M4): the
 * certificate holds `key`, the chain verifies up to its last certificate, which is
 * self-signed. CA_UNAUTHENTICATED; a reference to the key is taken. */
enum ca_status key_issued_read(const json_t *answer, EVP_PKEY *key,
                               struct key_issued *ret_issued);
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
