/* Randomness by script: libcrypto's old hook, which no provider replaces. */
#pragma once

#include <openssl/rand.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FAKE_RANDOM_MAX 8
#define FAKE_RANDOM_MUST(holds)                                                        \
    do {                                                                               \
        if (!(holds))                                                                  \
            abort();                                                                   \
    } while (0)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

static struct {
    struct {
        uint8_t octets[128];
        size_t size;
    } items[FAKE_RANDOM_MAX];
    size_t queued, taken;
} fake_random;

static int
fake_random_bytes(unsigned char *octets, int size)
{
    if (fake_random.taken == fake_random.queued)
        return getrandom(octets, (size_t)size, 0) == size;
    FAKE_RANDOM_MUST(fake_random.items[fake_random.taken].size == (size_t)size);
    memcpy(octets, fake_random.items[fake_random.taken++].octets, (size_t)size);
    return 1;
}

static int
fake_random_status(void)
{
    return 1;
}

/* Octets that libcrypto draws next, in this order; behind them real ones again. */
static inline void
fake_random_add(const void *octets, size_t size)
{
    static const RAND_METHOD method = { .bytes = fake_random_bytes,
                                        .pseudorand = fake_random_bytes,
                                        .status = fake_random_status };
    FAKE_RANDOM_MUST(fake_random.queued < FAKE_RANDOM_MAX &&
                     size <= sizeof fake_random.items[0].octets);
    memcpy(fake_random.items[fake_random.queued].octets, octets, size);
    fake_random.items[fake_random.queued++].size = size;
    FAKE_RANDOM_MUST(RAND_set_rand_method(&method) == 1);
}

static inline void
fake_random_end(void)
{
    fake_random.queued = fake_random.taken = 0;
    FAKE_RANDOM_MUST(RAND_set_rand_method(NULL) == 1);
}
#pragma GCC diagnostic pop
