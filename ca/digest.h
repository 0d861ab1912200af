/* SHA-256, found once. */
#pragma once

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

/* What EVP_sha256() says to OpenSSL is only the name: with this one each use is spared
 * a search for the implementation. */
const EVP_MD *digest_sha256_method(void);
/* As SHA256(), which searches at each call. */
void digest_sha256(const void *octets, size_t size, uint8_t ret_digest[32]);
