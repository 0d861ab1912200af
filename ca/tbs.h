/* The to-be-signed certificate: profile + names + key -> TBSCertificate DER. Pure: no
 * store, no token, no clock. RFC 5280 section 4. */
#pragma once

#include "names.h"
#include "profile.h"

struct tbs_input {
    const struct certificate_profile *profile;
    const X509 *issuer;
    const struct names *names;
    X509_PUBKEY *key;
    X509_REQ *request;     /* for extensions the profile takes; may be NULL */
    const uint8_t *serial; /* big-endian, positive */
    size_t serial_size;    /* 1..20 */
    int64_t now;
    const char *crl_url;      /* NULL: none */
    const char *issuer_url;   /* caIssuers; NULL: none */
    const char *ocsp_url;     /* NULL: none */
    const char *template_oid; /* Microsoft's certificate template; NULL: none */
    const char *sid;          /* of the user's account; NULL: none */
};

/* Validity: notBefore = now - backdate (never before the issuer's), notAfter = at most
 * min(now + validity - 1 s, issuer's notAfter) (S2). CA_FORBIDDEN for an issuer that is
 * not valid now; CA_INTERNAL. OPENSSL_free the DER. */
enum ca_status tbs_build(const struct tbs_input *input, uint8_t **ret_tbs,
                         size_t *ret_size, int64_t *ret_not_before,
                         int64_t *ret_not_after);

/* The signature algorithm our issuers use for their key: digest by key size (P-256 and
 * RSA SHA-256, P-384 SHA-384). NULL for a key we do not sign with. */
const EVP_MD *tbs_digest(const EVP_PKEY *issuer_key);

/* Certificate ::= SEQUENCE { tbs, algorithm of the TBS, signature }; OPENSSL_free
 * it. */
enum ca_status tbs_assemble(const uint8_t *tbs, size_t tbs_size,
                            const uint8_t *signature, size_t signature_size,
                            uint8_t **ret_der, size_t *ret_size);

/* 16 random octets made positive with 127 random bits after the sign (S1); hex too. */
enum ca_status tbs_draw_serial(uint8_t ret_serial[16], char ret_hex[33]);

/* The certificates of the hierarchy itself, for the key ceremony. */
enum tbs_authority_kind {
    TBS_ROOT,    /* self-issued CA */
    TBS_ISSUING, /* CA below `issuer` */
    TBS_RA,      /* digitalSignature + keyEncipherment (RFC 8894 section 2.1.2) */
    TBS_OCSP     /* OCSPSigning + id-pkix-ocsp-nocheck (RFC 6960 section 4.2.2.2) */
};

struct tbs_authority {
    int kind;                 /* enum tbs_authority_kind */
    const X509_NAME *subject; /* not empty */
    const X509_PUBKEY *key;   /* to be certified */
    const X509 *issuer;       /* NULL for TBS_ROOT and for nothing else */
    const uint8_t *serial;
    size_t serial_size;
    int64_t now, backdate, validity; /* seconds */
    int path_length;     /* CAs: how many CAs may follow below; negative: no limit */
    const char *crl_url; /* issuer's CRL; NULL: none. Roots carry no URLs. */
    const char *issuer_url, *ocsp_url;
};

/* As tbs_build, validity bounded by the issuer's, signed by tbs_digest of the issuer's
 * key (the root's own). CA_FORBIDDEN when the issuer is no CA, not valid now, or its
 * pathLenConstraint leaves no room (H1). */
enum ca_status tbs_build_authority(const struct tbs_authority *authority,
                                   uint8_t **ret_tbs, size_t *ret_size);

/* Parts that CRL, linter and import share. */

/* Appends the AlgorithmIdentifier of the signatures of this key; CA_UNSUPPORTED. */
enum ca_status tbs_append_algorithm(struct text_buffer *buffer,
                                    const EVP_PKEY *issuer_key);
/* A certificate's time in seconds; CA_INTERNAL. */
enum ca_status tbs_time_of(const ASN1_TIME *time, int64_t *ret_seconds);
/* Is it a CA's with keyCertSign (H1)? CA_FORBIDDEN. `ret_path_length` (may be NULL) is
 * -1 without a limit. */
enum ca_status tbs_check_issuer(const X509 *issuer, int *ret_path_length);
/* Appends what the profile has: key ids, usages, policies, SAN, URLs, its own and taken
 * extensions. CA_FORBIDDEN for a profile that asks for what no leaf may have. */
enum ca_status tbs_profile_extensions(const struct tbs_input *input,
                                      struct text_buffer *list);
