/* A SCEP client for tests and load: builds every message of RFC 8894, right or as wrong
 * as a case wants it, and reads the answers with OpenSSL's CMS, independently of the
 * server's code. */
#pragma once

#include <openssl/cms.h>
#include <openssl/pkcs7.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct scep_csr {
    EVP_PKEY *key;
    const char *cn;        /* NULL: empty subject */
    const char *challenge; /* NULL: none */
    int challenge_type;    /* 0: PrintableString, else V_ASN1_... */
    const char *san;       /* "DNS:a.example,..." or NULL */
    const EVP_MD *digest;  /* NULL: SHA-256 (none for Ed25519) */
    /* Changes it before it is signed. */
    void (*bend)(X509_REQ *request);
};
/* DER; free() it. NULL on failure. */
uint8_t *scep_csr_build(const struct scep_csr *csr, size_t *ret_size);
/* One more challengePassword attribute, or value in it. */
void scep_csr_add_challenge(X509_REQ *request, const char *text, int length);

/* Valid now for a day. X509_free it. */
X509 *scep_self_signed(EVP_PKEY *key, const char *cn, const EVP_MD *digest);

/* Zero members take the well-formed default. */
struct scep_client_request {
    EVP_PKEY *key; /* signs */
    X509 *certificate;
    X509 *recipient;         /* RA certificate */
    const char *type;        /* "19" */
    const char *transaction; /* "1" */
    const uint8_t *nonce;    /* 16 octets; NULL: random */
    const void *content;     /* messageData */
    size_t content_size;
    const EVP_CIPHER *cipher; /* AES-128-CBC */
    const EVP_MD *digest;     /* SHA-256 */
    bool oaep;
    /* For the oracle's cases: the octets that RSA is given (as long as the modulus)
     * instead of a padded content key; the key the content is really encrypted with;
     * the content's padding left to `content`. */
    const uint8_t *block;
    const uint8_t *content_key;
    bool content_is_padded;
    const uint8_t *envelope; /* instead of the envelope built */
    size_t envelope_size;
    /* Hooks: the envelope before it is encoded, the attributes before they are signed,
     * the SignedData afterwards. `arg` is theirs. */
    void (*bend_envelope)(PKCS7 *envelope, void *arg);
    void (*bend_attributes)(STACK_OF(X509_ATTRIBUTE) *attributes, void *arg);
    void (*bend_signed)(PKCS7 *message, void *arg);
    void *arg;
};
/* DER; free() it. NULL on failure. */
uint8_t *scep_client_build(const struct scep_client_request *request, size_t *ret_size);

/* messageData of CertPoll (issuer and subject) and of GetCert and GetCRL. */
uint8_t *scep_issuer_and_subject(const X509_NAME *issuer, const X509_NAME *subject,
                                 size_t *ret_size);
uint8_t *scep_issuer_and_serial(const X509_NAME *issuer, const ASN1_INTEGER *serial,
                                size_t *ret_size);

/* Attributes by the last arc of 2.16.840.1.113733.1.9, for hooks. */
enum {
    SCEP_MESSAGE_TYPE = 2,
    SCEP_PKI_STATUS,
    SCEP_FAIL_INFO,
    SCEP_SENDER_NONCE,
    SCEP_RECIPIENT_NONCE,
    SCEP_TRANSACTION
};
void scep_attribute_add(STACK_OF(X509_ATTRIBUTE) *attributes, int arc, int type,
                        const void *value, int size);
void scep_attribute_remove(STACK_OF(X509_ATTRIBUTE) *attributes, int arc);

struct scep_reply {
    char type[8], status[8], fail[8]; /* "" when absent */
    char *transaction;
    uint8_t sender_nonce[16], recipient_nonce[16];
    bool has_content, has_fail_text;
    int digest, cipher; /* NIDs; cipher NID_undef without envelope */
    int recipients, certificate_count;
    X509 *certificate; /* first one */
    X509_CRL *crl;
};
/* Verifies the answer with the RA certificate and decrypts it with key and certificate.
 * NULL: read; else what is wrong with it. Clear it in both cases. */
const char *scep_reply_read(const uint8_t *der, size_t size, X509 *ra, EVP_PKEY *key,
                            X509 *certificate, struct scep_reply *ret_reply);
void scep_reply_clear(struct scep_reply *reply);
