/* RSA moduli: the known ways to be weak (SECURITY R2). Pure. */
#pragma once

#include "status.h"
#include <openssl/bn.h>

/* Judges modulus and exponent of a size that is already known to be allowed: odd, e =
 * 65537, no factor below 752, not from the ROCA generator, primes not neighbours (100
 * Fermat rounds). CA_FORBIDDEN says which; CA_INTERNAL. */
enum ca_status keycheck_rsa(const BIGNUM *modulus, const BIGNUM *exponent);
