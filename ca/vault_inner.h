/* What vault.c and vault_create.c share. */
#pragma once

#include "stretch.h"
#include "vault_wrap.h"
#include <pthread.h>
#include <stdatomic.h>

#define VAULT_KEYS_MAX 32 /* sealing keys at the same time */

enum { SERVER_SALT, SERVER_DECOY, SERVER_STATE, SERVER_COUNT };
extern const char *const vault_server_names[SERVER_COUNT]; /* "salt", ... */

/* Locked, and left out of core dumps. */
struct vault_memory {
    uint8_t server[SERVER_COUNT][STRETCH_KEY_SIZE];
    uint8_t data[VAULT_KEYS_MAX][VAULT_KEY_SIZE];
};

struct vault_key {
    char kid[SEALING_KID_MAX + 1];
    struct token_secret *secret; /* NULL: the data key of the same index */
};

struct vault {
    struct token_set *tokens;
    enum vault_mode mode;
    struct vault_memory *memory;
    pthread_rwlock_t lock; /* over keys, count and current */
    struct vault_key keys[VAULT_KEYS_MAX];
    size_t count, current;
    uint8_t decoy[STRETCH_PRS_SIZE + SEAL_OVERHEAD];
    char decoy_kid[SEALING_KID_MAX + 1];
    atomic_int_fast64_t operations;
};

/* Empty, with locked memory once vault_lock was called. */
struct vault *vault_new(struct token_set *tokens, enum vault_mode mode);
enum ca_status vault_lock(struct vault *vault);
/* Takes a key up after a try: the token's, or the data key unwrapped. */
enum ca_status vault_add(struct vault *vault, const struct sealing_key *record);

static inline void __attribute__((unused)) vault_free_auto(struct vault **vault)
{
    vault_free(*vault);
}
