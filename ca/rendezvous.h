/* Rendezvous hashing: which of several nodes a key belongs to, the same everywhere and
 * without a table; a node that comes or goes moves its own share of keys alone. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rendezvous_node {
    const char *name;
    int64_t weight; /* its share of the keys; 0 or less: none */
};

/* The node of the key by weighted rendezvous hashing: of each node the score
 * -weight / ln(u), u in (0, 1) from SHA-256 over both; the highest wins, of
 * equal ones the first by name, whatever their order. False: no node has weight. */
bool rendezvous_pick(const char *key, const struct rendezvous_node *nodes, size_t count,
                     size_t *ret_index);
