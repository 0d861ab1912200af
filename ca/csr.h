/* PKCS#10 (RFC 2986): parsed strictly, possession proved, forbidden content refused. */
#pragma once

#include "profile.h"
#include <openssl/x509.h>

#define CSR_SIZE_MAX (32 * 1024)
#define CSR_ATTRIBUTES_MAX 16
#define CSR_EXTENSIONS_MAX 32
#define CSR_RSA_BITS_MAX 8192 /* above it not even the signature is looked at */

/* Version 0, nothing after it, at most 16 attributes each once; its key is decoded only
 * when it is needed (pubkey.h). CA_MALFORMED. */
enum ca_status csr_decode(const uint8_t *der, size_t size, X509_REQ **ret_request);

/* The self-signature, by an algorithm we take (RSA PKCS#1 and PSS, ECDSA with SHA-2,
 * Ed25519 where the profile allows it; SHA-1 only if the profile allows it; never MD5):
 * SECURITY R1. CA_FORBIDDEN, CA_UNSUPPORTED. */
enum ca_status csr_verify(const struct certificate_profile *profile, X509_REQ *request);
/* The same with the request's key, where the caller has it decoded already; or NULL. */
enum ca_status csr_verify_by(const struct certificate_profile *profile,
                             X509_REQ *request, EVP_PKEY *key);

/* The requested extensions (PKCS#9 extensionRequest or Microsoft's), each once, at most
 * CSR_EXTENSIONS_MAX; the caller frees the stack and its members, NULL when none are
 * asked for. CA_MALFORMED. */
enum ca_status csr_extensions(X509_REQ *request,
                              STACK_OF(X509_EXTENSION) **ret_extensions);

/* Refuses requested extensions that would make it a CA: basicConstraints CA:TRUE,
 * keyCertSign or cRLSign. CA_FORBIDDEN. */
enum ca_status csr_check_extensions(X509_REQ *request);

/* The one value of challengePassword as octets (free() with secret_free;
 * NUL-terminated, NULs inside refused): Printable, UTF8, T61, BMP, IA5. CA_NOT_FOUND
 * without one, CA_MALFORMED for two attributes or values. */
enum ca_status csr_challenge(X509_REQ *request, char **ret_text, size_t *ret_size);
