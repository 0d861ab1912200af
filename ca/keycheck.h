/* Is a public key fit to be certified? SECURITY R2, R3. Pure. */
#pragma once

#include "profile.h"
#include <openssl/x509.h>

/* Checks the key of an SPKI against the profile's `keys` and against the known
 * weaknesses: RSA e = 65537, odd modulus, no factor below 752, ROCA fingerprint, 100
 * Fermat rounds; EC named curve, point on it and not infinity. CA_FORBIDDEN says why;
 * CA_UNSUPPORTED for a kind of key nobody takes. */
enum ca_status keycheck_public(const struct certificate_profile *profile,
                               const X509_PUBKEY *spki);

/* SHA-256 of the DER SubjectPublicKeyInfo. */
enum ca_status keycheck_digest(const X509_PUBKEY *spki, uint8_t ret_sha256[32]);

/* SHA-256 list of blocked SPKIs, one hex digest a line ('#' comments), sorted at load;
 * kept for the process. CA_MALFORMED, CA_NOT_FOUND. */
enum ca_status keycheck_load_blocklist(const char *path);
