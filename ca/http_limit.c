/* Token buckets by source (SECURITY A7). The table's size is fixed, so that a flood of
 * sources costs no memory: the bucket that was idle longest makes room. */
#include "http_limit.h"
#include "auto.h"
#include "clock.h"
#include <pthread.h>
#include <string.h>

#define WAYS 8
#define SETS 1024
#define THOUSANDTHS 1000 /* of a token */

struct bucket {
    struct address source;
    int64_t tokens;  /* thousandths */
    int64_t touched; /* clock_ticks; 0: never used */
};

struct limit {
    pthread_mutex_t lock;
    int64_t rate, burst; /* tokens a second, tokens */
    uint64_t seed;       /* so that nobody can choose who shares a set */
    struct bucket buckets[SETS][WAYS];
};

struct limit *
limit_new(int64_t rate, int64_t burst)
{
    struct limit *limit = calloc(1, sizeof *limit);
    if (!limit)
        return NULL;
    if (random_bytes(&limit->seed, sizeof limit->seed) != CA_OK) {
        free(limit);
        return NULL;
    }
    pthread_mutex_init(&limit->lock, NULL);
    limit->rate = rate;
    limit->burst = burst > 0 ? burst : 1;
    return limit;
}

void
limit_free(struct limit *limit)
{
    if (!limit)
        return;
    pthread_mutex_destroy(&limit->lock);
    free(limit);
}

static size_t
set_of(const struct limit *limit, const struct address *source)
{
    uint64_t halves[2];
    memcpy(halves, source->octets, sizeof halves);
    uint64_t hash = limit->seed;
    for (size_t i = 0; i < 2; i++) {
        hash ^= halves[i];
        hash *= 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
        hash *= 0xbf58476d1ce4e5b9u;
        hash ^= hash >> 32;
    }
    return hash % SETS;
}

/* The source's bucket, filled up to `now`; NULL: it has none. */
static struct bucket *
bucket_find(struct limit *limit, const struct address *source, int64_t now)
{
    struct bucket *set = limit->buckets[set_of(limit, source)];
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].touched == 0 || memcmp(&set[i].source, source, sizeof *source) != 0)
            continue;
        int64_t passed = now > set[i].touched ? now - set[i].touched : 0;
        int64_t room = limit->burst * THOUSANDTHS - set[i].tokens;
        bool is_full = passed > room / limit->rate;
        set[i].tokens += is_full ? room : passed * limit->rate;
        set[i].touched = now;
        return &set[i];
    }
    return NULL;
}

/* Its bucket, or a full one in the place of the one that was idle longest. */
static struct bucket *
bucket_get(struct limit *limit, const struct address *source, int64_t now)
{
    struct bucket *found = bucket_find(limit, source, now);
    struct bucket *set = limit->buckets[set_of(limit, source)];
    struct bucket *oldest = &set[0];
    if (found)
        return found;
    for (size_t i = 1; i < WAYS; i++) {
        if (set[i].touched < oldest->touched)
            oldest = &set[i];
    }
    oldest->source = *source;
    oldest->tokens = limit->burst * THOUSANDTHS;
    oldest->touched = now;
    return oldest;
}

bool
limit_take(struct limit *limit, const struct address *source, int64_t now)
{
    if (limit->rate <= 0)
        return true;
    struct address key = address_source(source);
    pthread_mutex_lock(&limit->lock);
    struct bucket *bucket = bucket_get(limit, &key, now);
    bool is_taken = bucket->tokens >= THOUSANDTHS;
    if (is_taken)
        bucket->tokens -= THOUSANDTHS;
    pthread_mutex_unlock(&limit->lock);
    return is_taken;
}

bool
limit_has(struct limit *limit, const struct address *source, int64_t now)
{
    if (limit->rate <= 0)
        return true;
    struct address key = address_source(source);
    pthread_mutex_lock(&limit->lock);
    const struct bucket *bucket = bucket_find(limit, &key, now);
    bool has = !bucket || bucket->tokens >= THOUSANDTHS;
    pthread_mutex_unlock(&limit->lock);
    return has;
}

void
limit_return(struct limit *limit, const struct address *source, int64_t now)
{
    if (limit->rate <= 0)
        return;
    struct address key = address_source(source);
    pthread_mutex_lock(&limit->lock);
    struct bucket *bucket = bucket_get(limit, &key, now);
    bucket->tokens += THOUSANDTHS;
    if (bucket->tokens > limit->burst * THOUSANDTHS)
        bucket->tokens = limit->burst * THOUSANDTHS;
    pthread_mutex_unlock(&limit->lock);
}
