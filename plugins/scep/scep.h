/* One SCEP request (RFC 8894) between the files of this plugin. */
#pragma once

#include "cms.h"

#define SCEP_BODY_MAX (64 * 1024)
#define SCEP_CERTIFICATES_MAX 8
#define SCEP_RECIPIENTS_MAX 4
#define SCEP_ATTRIBUTES_MAX 32
#define SCEP_TRANSACTION_MAX 255
#define SCEP_NONCE_SIZE 16
#define SCEP_RSA_BITS_MIN 1024 /* below it no signature is looked at */
#define SCEP_SIGNER_BITS_MIN 2048
#define SCEP_RSA_BITS_MAX 4096
#define SCEP_EXPONENT_BITS_MAX 33
#define SCEP_KEYS_MAX 8 /* RA keys of an endpoint that are alive at a time */
#define SCEP_RETRY_SECONDS "10"

/* failInfo (3.2.1.4.5) */
enum scep_fail { SCEP_BAD_ALG = 0, SCEP_BAD_REQUEST = 2, SCEP_BAD_CERT_ID = 4 };

/* The members of a scep profile that this plugin looks at. */
struct scep_settings {
    bool sha1, des3, get_crl, include_issuer, include_root;
};

enum scep_digest_use { SCEP_DIGEST_REFUSED, SCEP_DIGEST_SHA1, SCEP_DIGEST_TAKEN };

struct scep_digest {
    struct ca_bytes oid, rsa_oid; /* alone, and as a signature algorithm with RSA */
    const EVP_MD *(*evp)(void);
    enum scep_digest_use use;
};

struct scep_cipher {
    struct ca_bytes oid;
    const EVP_CIPHER *(*evp)(void);
    size_t key_size, block_size;
    bool is_des3;
};

/* The outer SignedData after its signature held. Slices and texts live as long as the
 * request; only certificate and context are owned. */
struct scep_message {
    struct ca_bytes envelope;            /* eContent: pkcsPKIEnvelope */
    struct cms_certificate signer_parts; /* slices of the signer's certificate */
    size_t signer_bits;
    X509 *signer;          /* by scep_message_certificate */
    EVP_PKEY *key;         /* the signer's; belongs to the request */
    EVP_PKEY_CTX *context; /* its one context, for each operation anew: OpenSSL walks
                              over all names that it knows to make one */
    const struct scep_digest *digest;
    const char *type;        /* messageType as text */
    const char *transaction; /* transactionID as text, 1-255 characters */
    uint8_t nonce[SCEP_NONCE_SIZE];
};

/* BER as DER, as it is or in the request's memory: what clients send is of both kinds,
 * outside and inside. Zero octets behind it do no harm. CA_MALFORMED, CA_LIMIT. */
enum ca_status scep_normalise(struct ca_request *req, struct ca_bytes ber,
                              struct ca_bytes *ret_der);

/* 3.1 and 3.2: outer SignedData of BER or DER, exactly one signer, signature, digest,
 * attributes. CA_MALFORMED, CA_UNSUPPORTED, CA_UNAUTHENTICATED (signature), CA_LIMIT;
 * nothing is left to clear then. No token is asked. */
enum ca_status scep_message_decode(struct ca_request *req, struct ca_bytes body,
                                   struct scep_message *ret_message);
/* Decodes the signer's certificate, without its key. Few requests need more of it than
 * its parts: it is dear. CA_MALFORMED. */
enum ca_status scep_message_certificate(struct scep_message *message);
void scep_message_clear(struct scep_message *message);
static inline void __attribute__((unused))
scep_message_clear_auto(struct scep_message *message)
{
    scep_message_clear(message);
}

struct scep_recipient {
    struct ca_bytes issuer, serial; /* empty: not named by issuer and serial */
    struct ca_bytes algorithm, parameters;
    struct ca_bytes key; /* encrypted content key */
};

/* pkcsPKIEnvelope: all that everyone can see of it. */
struct scep_envelope {
    struct scep_recipient recipients[SCEP_RECIPIENTS_MAX];
    size_t count;
    const struct scep_recipient *recipient; /* the one that names a live RA key */
    bool oaep;
    const struct scep_cipher *cipher; /* NULL: one we do not know */
    struct ca_bytes iv;
    struct ca_bytes content;
};

/* Structure only (RFC 5652 6.1). CA_MALFORMED, CA_LIMIT. */
enum ca_status scep_envelope_decode(struct ca_request *req, struct ca_bytes envelope,
                                    struct scep_envelope *ret_envelope);
/* Are content cipher and key transport ours? CA_UNSUPPORTED. */
enum ca_status scep_envelope_check_algorithms(struct scep_envelope *envelope,
                                              const struct scep_settings *settings);
/* The RA key of the endpoint that exactly one recipient names; its encrypted key must
 * have the modulus' size and lie below it. CA_NOT_FOUND, CA_MALFORMED. */
enum ca_status scep_envelope_find_key(struct ca_request *req, const char *endpoint,
                                      struct scep_envelope *envelope,
                                      struct ca_key **ret_key);
/* Decrypts with the token, silently ("No oracle" in
 * docs/protocols/scep.md): whatever is wrong with key or padding, CA_OK comes with
 * octets, and only `ret_is_padded` (for the one verdict at the end) says whether the
 * content's padding held. CA_UNAVAILABLE. */
enum ca_status scep_envelope_decrypt(struct ca_request *req, struct ca_key *key,
                                     const struct scep_envelope *envelope,
                                     struct ca_bytes *ret_content, bool *ret_is_padded);
/* Envelopes `content` to the signer's certificate alone, as the request was. */
enum ca_status scep_envelope_put(struct asn1_writer *writer,
                                 const struct scep_message *message,
                                 const struct scep_envelope *envelope,
                                 struct ca_bytes content);

/* One PKIOperation. */
struct scep_operation {
    struct ca_request *req;
    const char *name;     /* of the scep profile */
    const char *endpoint; /* "scep/<name>" */
    const char *token;    /* the path's next segment, or "" */
    bool is_upstream;     /* the CA is another's: messages are passed on unread */
    struct scep_settings settings;
    struct ca_chain chain;
    struct scep_message message;
    struct scep_envelope envelope;
    struct ca_key *decrypting; /* that the request was enveloped to */
    struct ca_key *signing;    /* signs the answer */
    bool is_signer_ours;       /* issued by the endpoint's CA, as far as a name says */
};

/* What a CertRep says. */
struct scep_answer {
    enum scep_fail fail;              /* FAILURE */
    bool is_audited;                  /* by the core, with its refusal */
    struct ca_bytes certificate, crl; /* SUCCESS */
};

/* Sections 3 and 4 by messageType, default deny. CA_OK: SUCCESS; CA_PENDING: PENDING;
 * CA_UNAVAILABLE: no answer, the client comes again; anything else: FAILURE. */
enum ca_status scep_request_decide(struct scep_operation *operation,
                                   struct scep_answer *ret_answer);

/* CertRep (3.3.2) for what the request came to, as the HTTP answer. CA_UNAVAILABLE when
 * it cannot be signed. */
enum ca_status scep_answer_send(struct scep_operation *operation,
                                enum ca_status outcome,
                                const struct scep_answer *answer);
/* SignedData over `content` by a helper key, with no SCEP attributes (4.7). */
enum ca_status scep_answer_sign_plain(struct asn1_writer *writer, struct ca_key *key,
                                      struct ca_bytes content);

/* PKCS#10 as far as SCEP needs it; slices of it. */
struct scep_pkcs10 {
    struct ca_bytes spki;
    struct ca_bytes challenge; /* octets as UTF-8, no NUL inside; empty: none */
};
/* CA_MALFORMED: not a CertificationRequest of version 0, or its challengePassword not
 * one attribute with one value. */
enum ca_status scep_pkcs10_decode(struct ca_request *req, struct ca_bytes der,
                                  struct scep_pkcs10 *ret_pkcs10);

/* base64 of a GET in all the forms of the field. CA_MALFORMED, CA_LIMIT. */
enum ca_status scep_query_decode(struct ca_request *req, const char *text,
                                 size_t length, struct ca_bytes *ret_octets);

/* 3.5 and 4.2, 4.7. */
enum ca_status scep_caps_answer(struct ca_request *req, const char *endpoint,
                                const struct scep_settings *settings);
enum ca_status scep_certificates_answer(struct ca_request *req, const char *endpoint,
                                        const struct scep_settings *settings);
enum ca_status scep_next_answer(struct ca_request *req, const char *endpoint);

/* The first RA key of an endpoint whose certificate has this key usage (KU_...). */
enum ca_status scep_key_find(struct ca_request *req, const char *endpoint, bool next,
                             uint32_t usage, struct ca_key **ret_key);
bool scep_key_may(struct ca_key *key, uint32_t usage);
/* A certificate as DER, of the request's memory. */
enum ca_status scep_certificate_encode(struct ca_request *req, X509 *certificate,
                                       struct ca_bytes *ret_der);
