/* Keys of a token: found, checked, attached to libp11's objects. */
#pragma once

#include "token_inner.h"

/* All of this with the write lock held.
 *
 * Lists the token's keys, each lane once, after dropping every live half: when a
 * listing fails, libp11 0.4.12 frees what it listed before, whoever holds it. */
enum ca_status token_keys_list(struct token *token);
void token_keys_detach(struct token *token);

/* From that listing, fetches the key's live halves, one a lane, checks its attributes
 * and its public half, and signs or decrypts something to see that the pair is one. A
 * key that has its public half already must come back with it. */
enum ca_status token_key_attach(struct token_key *key);

/* The token that a key's URI fits: CA_NOT_FOUND, CA_CONFLICT, CA_UNAVAILABLE. */
enum ca_status token_of(struct token_set *set, const struct uri *uri,
                        struct token **ret_token);
/* By the configuration's name; NULL. */
struct token *token_named(struct token_set *set, const char *name);
