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
    X509_REQ *request;        /* for extensions the profile takes; may be NULL */
    const uint8_t *serial;    /* big-endian, positive */
    size_t serial_size;       /* 1..20 */
    int64_t now;
    const char *crl_url;      /* NULL: none */
    const char *issuer_url;   /* caIssuers; NULL: none */
    const char *ocsp_url;     /* NULL: none */
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

/* Certificate ::= SEQUENCE { tbs, algorithm of the TBS, signature }; OPENSSL_free it. */
enum ca_status tbs_assemble(const uint8_t *tbs, size_t tbs_size,
                            const uint8_t *signature, size_t signature_size,
                            uint8_t **ret_der, size_t *ret_size);

/* 16 random octets made positive with 127 random bits after the sign (S1); hex too. */
enum ca_status tbs_draw_serial(uint8_t ret_serial[16], char ret_hex[33]);
