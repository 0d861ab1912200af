/* A data key wrapped by keys of a token: the blob of each method. */
#pragma once

#include "sealing.h"
#include "secret.h"
#include "vault.h"

#define VAULT_KEY_SIZE 32

/* Makes the token keys of a method and wraps the data key by them; fills method, key,
 * tag_key and blob of `ret_key`, whose kid is set. VAULT_METHOD_ANY: the first that the
 * token offers. CA_UNSUPPORTED: it offers none. */
enum ca_status vault_wrap(struct token_set *tokens, const struct vault_wanted *wanted,
                          const uint8_t data_key[VAULT_KEY_SIZE],
                          struct sealing_key *ret_key);

/* The data key back: the tag holds before anything is unwrapped. CA_FORBIDDEN: the blob
 * is not ours. */
enum ca_status vault_unwrap(struct token_set *tokens, const struct sealing_key *key,
                            uint8_t ret_data_key[VAULT_KEY_SIZE]);

/* "sealwright-sealing-KID" and what else is appended. */
#define VAULT_LABEL_SIZE 64
void vault_label(const char *kid, const char *suffix, char ret_label[VAULT_LABEL_SIZE]);
