/* The last look at a TBSCertificate before it may be signed: RFC 5280 and SECURITY S2,
 * S3, H1, judged over the very bytes. Pure. */
#pragma once

#include "profile.h"
#include <openssl/x509.h>

/* Strict DER without a remainder, version 3, serial of 1..20 octets and positive, no
 * doubled extension, issuer name byte-identical, validity inside the issuer's, leaf
 * without CA:TRUE or keyCertSign, SAN critical when the subject is empty, upper bounds,
 * signature algorithm that of the issuer's key. CA_INTERNAL: our builder erred;
 * CA_FORBIDDEN: the issuer is no CA, the subject is its name, or its nameConstraints
 * exclude a name (H1). */
enum ca_status lint_tbs(const uint8_t *tbs, size_t size, const X509 *issuer);
/* The same with the CAs above the issuer: a name that any of them excludes is refused,
 * also where the issuer has no nameConstraints of its own (H1). */
enum ca_status lint_chain(const uint8_t *tbs, size_t size, const X509 *issuer,
                          const STACK_OF(X509) *chain);
