/* Rendezvous hashing with weights. */
#include "rendezvous.h"
#include <math.h>
#include <openssl/sha.h>
#include <string.h>

/* 53 bits of SHA-256(SHA-256(key) SHA-256(name)), moved off both ends: a number in
 * (0, 1). */
static double
unit(const char *key, const char *name)
{
    uint8_t parts[2 * SHA256_DIGEST_LENGTH], digest[SHA256_DIGEST_LENGTH];
    uint64_t bits = 0;
    SHA256((const uint8_t *)key, strlen(key), parts);
    SHA256((const uint8_t *)name, strlen(name), parts + SHA256_DIGEST_LENGTH);
    SHA256(parts, sizeof parts, digest);
    for (size_t i = 0; i < sizeof bits; i++)
        bits = bits << 8 | digest[i];
    return ((double)(bits >> 11) + 0.5) / 9007199254740992.0; /* 2^53 */
}

bool
rendezvous_pick(const char *key, const struct rendezvous_node *nodes, size_t count,
                size_t *ret_index)
{
    bool is_found = false;
    double best = 0;
    for (size_t i = 0; i < count; i++) {
        if (nodes[i].weight <= 0)
            continue;
        double score = -(double)nodes[i].weight / log(unit(key, nodes[i].name));
        bool is_better = !is_found || score > best;
        if (is_found && score >= best && score <= best)
            is_better = strcmp(nodes[i].name, nodes[*ret_index].name) < 0;
        if (!is_better)
            continue;
        is_found = true;
        best = score;
        *ret_index = i;
    }
    return is_found;
}
