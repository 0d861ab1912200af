/* Keys of a token: found, checked, attached to libp11's objects. */
#pragma once

#include "token_inner.h"

/* With the write lock held and the token up: fetches the key's live halves, one a lane,
 * checks its attributes and its public half, and signs or decrypts something to see
 * that the pair is one. A key that has its public half already must come back with it.
 */
enum ca_status token_key_attach(struct token_key *key);
