/* Secrets at rest: AES-256-GCM under a key that the caller holds. The blob of an
 * activation verifier, of a server key and of a waiting mail alike. */
#pragma once

#include "status.h"
#include <stddef.h>
#include <stdint.h>

#define SEAL_KEY_SIZE 32
#define SEAL_NONCE_SIZE 12
#define SEAL_OVERHEAD 29 /* 01 || nonce(12) || ... || tag(16) */
#define SEAL_PLAIN_MAX (64 << 10)

/* What is sealed, and what it is bound to but does not hold. */
struct seal_text {
    const void *data;
    size_t size;
    const void *aad;
    size_t aad_size;
};

/* Writes text.size + SEAL_OVERHEAD octets with a fresh nonce. CA_LIMIT, CA_INTERNAL. */
enum ca_status seal_make(const uint8_t key[SEAL_KEY_SIZE], struct seal_text text,
                         uint8_t *ret_blob);
/* The same with a nonce of the caller's, who never uses one twice: for vectors. */
enum ca_status seal_make_with(const uint8_t key[SEAL_KEY_SIZE], struct seal_text text,
                              const uint8_t nonce[SEAL_NONCE_SIZE], uint8_t *ret_blob);

/* Opens a blob (`data`, `size`) with its aad into size - SEAL_OVERHEAD octets, which
 * stay untouched unless CA_OK. CA_FORBIDDEN: altered, of another key or aad;
 * CA_INTERNAL. */
enum ca_status seal_open(const uint8_t key[SEAL_KEY_SIZE], struct seal_text blob,
                         void *ret_text);
