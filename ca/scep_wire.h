/* SCEP (RFC 8894) from the client's side: messages built, answers opened. Pure; for an
 * upstream CA and the reference client alike. */
#pragma once

#include "auto.h"
#include "status.h"
#include <stdbool.h>
#include <stdint.h>

#define SCEP_WIRE_NONCE 16
#define SCEP_WIRE_MOST (64 << 10) /* octets of a message */
#define SCEP_WIRE_CERTIFICATES_MAX 16

/* malloc'd octets. */
struct scep_octets {
    uint8_t *data;
    size_t size;
};
void scep_octets_clear(struct scep_octets *octets);
static inline void __attribute__((unused))
scep_octets_clear_auto(struct scep_octets *octets)
{
    scep_octets_clear(octets);
}

/* A ContentInfo with EnvelopedData to one RSA certificate; `cipher` is "aes128" or
 * "aes256". CA_UNSUPPORTED for another. */
enum ca_status scep_wire_envelope(X509 *recipient, const char *cipher,
                                  const void *content, size_t size,
                                  struct scep_octets *ret_der);

/* pkiMessage around an envelope. */
struct scep_wire {
    const char *type; /* "19", "17", "20" */
    const char *transaction;
    uint8_t nonce[SCEP_WIRE_NONCE]; /* fresh; the answer repeats it */
    EVP_PKEY *key;
    X509 *certificate; /* of this key; self-signed at first */
    const EVP_MD *digest;
};
enum ca_status scep_wire_sign(const struct scep_wire *wire, const void *envelope,
                              size_t size, struct scep_octets *ret_der);

/* Content of CertPoll, IssuerAndSubject (RFC 8894 section 3.3.3). */
enum ca_status scep_wire_poll(const X509_NAME *issuer, const X509_NAME *subject,
                              struct scep_octets *ret_der);
/* "URL?operation=GetCACert&message=IDENT", or without message; free() it. */
char *scep_wire_url(const char *url, const char *operation, const char *message);

enum scep_wire_status {
    SCEP_WIRE_SUCCESS = 0,
    SCEP_WIRE_FAILURE = 2,
    SCEP_WIRE_PENDING = 3
};
struct scep_wire_reply {
    int status;                   /* enum scep_wire_status */
    int fail;                     /* failInfo, with FAILURE */
    STACK_OF(X509) *certificates; /* with SUCCESS */
};
void scep_wire_reply_clear(struct scep_wire_reply *reply);
static inline void __attribute__((unused))
scep_wire_reply_clear_auto(struct scep_wire_reply *reply)
{
    scep_wire_reply_clear(reply);
}
/* CertRep to what was sent: signed by one of `signers` alone, for the transaction and
 * nonce, enveloped to our key. CA_FORBIDDEN: not the answer of that CA to this message;
 * CA_MALFORMED. */
enum ca_status scep_wire_open(const struct scep_wire *sent, STACK_OF(X509) *signers,
                              const void *der, size_t size,
                              struct scep_wire_reply *ret_reply);
/* The certificate of this key among them; borrowed. NULL: none. */
X509 *scep_wire_own(const struct scep_wire_reply *reply, EVP_PKEY *key);

/* What GetCACert gave: one certificate, or a degenerate SignedData. CA_MALFORMED. */
enum ca_status scep_wire_certificates(const void *der, size_t size,
                                      STACK_OF(X509) **ret_certificates);

/* Whom to trust among them, by SHA-256. A CA signs many a key: which of them speaks for
 * it must be told, or be said by its certificate. */
#define SCEP_WIRE_RA_MAX 8
struct scep_wire_pins {
    uint8_t ca[32];
    uint8_t ra[SCEP_WIRE_RA_MAX][32];
    size_t ra_count;     /* 0: who has the purpose Certificate Request Agent */
    bool is_from_server; /* of our own, under its pin: an RA without purposes, too */
};
struct scep_wire_authority {
    X509 *issuer;          /* owned by `chain`, like the next */
    X509 *recipient;       /* what is enveloped to and signs: an RA of it, or itself */
    STACK_OF(X509) *chain; /* recipient first if it is not the issuer; issuer; above */
    STACK_OF(X509) *signers; /* of answers: the issuer and all of its RAs */
};
void scep_wire_authority_clear(struct scep_wire_authority *authority);
static inline void __attribute__((unused))
scep_wire_authority_clear_auto(struct scep_wire_authority *authority)
{
    scep_wire_authority_clear(authority);
}
/* The RA's certificate must be signed by the issuer and valid now. CA_FORBIDDEN: the
 * pinned certificate is not among them, or nobody's key decrypts. */
enum ca_status scep_wire_trust(STACK_OF(X509) *certificates,
                               const struct scep_wire_pins *pins, int64_t now,
                               struct scep_wire_authority *ret_authority);
/* Its certificates as GetCACert gives them; one alone is itself. */
enum ca_status scep_wire_authority_encode(const struct scep_wire_authority *authority,
                                          struct scep_octets *ret_der,
                                          const char **ret_type);

/* A certificate for the first message: subject as requested, the key's own, a day. */
enum ca_status scep_wire_self_sign(EVP_PKEY *key, const X509_NAME *subject, int64_t now,
                                   X509 **ret_certificate);
