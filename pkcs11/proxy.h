/* Proxy keys: EVP_PKEYs of our own whose private operations go through the token layer.
 */
#pragma once

#include "token_inner.h"

/* A new proxy of the key; it holds the key's set until it is freed. CA_INTERNAL. */
enum ca_status proxy_new(struct token_key *key, EVP_PKEY **ret_proxy);
