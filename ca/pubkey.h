/* Public keys, and certificates and requests without theirs. OpenSSL 3.0 looks for a
 * decoder anew at each key, which costs more than to verify a signature with it; it
 * does so for every certificate it decodes, whether the key is used or not. */
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>

/* The key of a SubjectPublicKeyInfo (DER); EVP_PKEY_free it. NULL, with OpenSSL's
 * reason: no key that OpenSSL takes. */
EVP_PKEY *pubkey_decode(const uint8_t *spki, size_t size);
EVP_PKEY *pubkey_of(const X509_PUBKEY *spki);

/* All but the key: X509_get0_pubkey and X509_REQ_get0_pubkey give NULL, the
 * X509_PUBKEY's octets are there. For reading: such a certificate takes no part in
 * X509_verify or a chain. NULL: not one value that OpenSSL decodes, or more than it. */
X509 *pubkey_certificate_decode(const uint8_t *der, size_t size);
X509_REQ *pubkey_request_decode(const uint8_t *der, size_t size);
