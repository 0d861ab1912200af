/* Secrets at rest under a key of a token: in the token's own mode (`kek = token`) each
 * sealing is an operation of the token, in memory mode a data key is unwrapped by the
 * token once and kept in locked memory (ECSPEKE-ACT-1 section 11). One blob format. */
#pragma once

#include "seal.h"
#include "sealing.h"
#include "token.h"

enum vault_mode { VAULT_TOKEN, VAULT_MEMORY };
/* How data keys are wrapped; the first that the token offers, unless one is chosen. */
enum vault_method {
    VAULT_METHOD_ANY,
    VAULT_METHOD_GCM,
    VAULT_METHOD_KW,
    VAULT_METHOD_CBC,
    VAULT_METHOD_OAEP,
    VAULT_METHOD_COUNT
};

struct vault;

/* Makes a new current sealing key in a token, and the server keys if there are none;
 * those that are there are sealed anew. For short-lived commands. CA_UNSUPPORTED: the
 * token lacks what the mode needs; the message names `kek = memory`. */
struct vault_wanted {
    const char *token; /* the configuration's name */
    enum vault_mode mode;
    enum vault_method method; /* of memory mode */
};
enum ca_status vault_create(struct store *store, struct token_set *tokens,
                            const struct vault_wanted *wanted);

/* Opens the keys that the store has, seals and opens a test value with the current one,
 * and unseals the server keys. CA_NOT_FOUND: no sealing key was made; CA_CONFLICT: the
 * current one is of another mode than `mode`; CA_UNSUPPORTED: the token cannot do it;
 * CA_UNAVAILABLE: the token is away. */
enum ca_status vault_open(struct store *store, struct token_set *tokens,
                          enum vault_mode mode, struct vault **ret_vault);
/* Takes up what was made meanwhile. */
enum ca_status vault_refresh(struct vault *vault, struct store *store);
void vault_free(struct vault *vault); /* wipes; NULL is nothing */

/* Seals under the current key: text.size + SEAL_OVERHEAD octets, and the kid to keep
 * beside them. Never inside a store closure. CA_UNAVAILABLE, CA_LIMIT. */
enum ca_status vault_seal(struct vault *vault, struct seal_text text, uint8_t *ret_blob,
                          char ret_kid[SEALING_KID_MAX + 1]);
/* Opens a blob of this kid into size - SEAL_OVERHEAD octets. CA_FORBIDDEN: damaged, of
 * another aad or of a key that is not there any more; CA_UNAVAILABLE: the token does
 * not answer, or fails (the decoy does not open either). Never inside a store closure.
 */
enum ca_status vault_unseal(struct vault *vault, const char *kid, struct seal_text blob,
                            void *ret_text);

/* The same work for a name that has nothing to unseal. CA_UNAVAILABLE. */
enum ca_status vault_unseal_decoy(struct vault *vault);

/* Server keys, 32 octets each. */
const uint8_t *vault_salt_key(const struct vault *vault);
const uint8_t *vault_decoy_key(const struct vault *vault);
const uint8_t *vault_state_key(const struct vault *vault);

/* Operations so far, for the proof that known and unknown names cost the same. */
int64_t vault_operations(const struct vault *vault);
