/* Generating keys inside a token, for `init` and key tools: used by short-lived
 * commands, never by the daemon. */
#pragma once

#include "token.h"

struct keygen {
    const char *label;
    const char *algorithm; /* "rsa-2048", "rsa-3072", "rsa-4096", "p-256", "p-384" */
    unsigned uses;         /* enum token_use */
};

/* Generates the pair with the template of docs/architecture.md ("Keys"), reads the
 * attributes back, and gives the RFC 7512 URI of the new key (free() it). CA_CONFLICT
 * when a key with this label exists. */
enum ca_status keygen_generate(struct token_set *set, const char *token,
                               const struct keygen *wanted, char **ret_uri);
