/* SignedData (RFC 5652 5) as requests carry it: in slices, with its signatures verified
 * by keys that the caller finds. */
#pragma once

#include "cms.h"

#define SIGNED_CERTIFICATES_MAX 8
#define SIGNED_SIGNERS_MAX 2
#define SIGNED_ATTRIBUTES_MAX 32
#define SIGNED_RSA_BITS_MIN 2048
#define SIGNED_RSA_BITS_MAX 4096

/* One SignerInfo; named by `issuer` and `serial`, or by `key_id` (the others empty). */
struct signed_signer {
    struct ca_bytes issuer, serial, key_id;
    struct ca_bytes digest, signature_algorithm, signature;
    struct ca_bytes attributes; /* [0] IMPLICIT, whole; empty: none */
};

struct signed_data {
    struct ca_bytes type; /* eContentType, an OID's content */
    struct ca_bytes content;
    struct cms_certificate certificates[SIGNED_CERTIFICATES_MAX];
    size_t certificate_count;
    struct signed_signer signers[SIGNED_SIGNERS_MAX];
    size_t signer_count;
};

/* BER as DER in the request's memory. CA_MALFORMED (also for octets behind it),
 * CA_LIMIT above `max` octets. */
enum ca_status signed_normalise(struct ca_request *req, struct ca_bytes ber, size_t max,
                                struct ca_bytes *ret_der);
/* Is it a ContentInfo of id-signedData at all? */
bool signed_is(struct ca_bytes der);
/* One ContentInfo of DER with content and one to SIGNED_SIGNERS_MAX signers.
 * CA_MALFORMED, CA_LIMIT. Nothing is verified. */
enum ca_status signed_decode(struct ca_bytes der, struct signed_data *ret_data);

/* Is the signer's digest SHA-1? */
bool signed_is_sha1(const struct signed_signer *signer);
/* The certificate of the message that the signer names by issuer and serial number;
 * NULL when there is none, or two that differ. */
const struct cms_certificate *signed_certificate(const struct signed_data *data,
                                                 const struct signed_signer *signer);
/* Does the signer name this one? */
bool signed_is_by(const struct signed_signer *signer,
                  const struct cms_certificate *parts);

/* Does the signature hold by this key: over the content itself, or over attributes that
 * bind it (5.4)? SHA-2, or SHA-1 where `takes_sha1`; RSA (PKCS#1) and ECDSA.
 * CA_UNAUTHENTICATED: it does not; CA_UNSUPPORTED, CA_MALFORMED. */
enum ca_status signed_verify(const struct signed_data *data,
                             const struct signed_signer *signer, EVP_PKEY *key,
                             bool takes_sha1);
