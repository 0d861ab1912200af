/* Counters, turns and the memory of right passwords, all in this process. */
#include "login_guard.h"
#include "address.h"
#include "auto.h"
#include "clock.h"
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#define DIGEST_SIZE 32
#define MEMORY_SLOTS 2048
#define COUNTER_SETS 1024
#define COUNTER_WAYS 4
#define MINUTE_MS 60000

struct remembered {
    uint8_t digest[DIGEST_SIZE];
    int64_t until; /* clock_ticks */
};

struct counter {
    uint64_t key;
    int64_t minute;
    int count;
};

struct login_guard {
    pthread_mutex_t lock; /* over all below */
    pthread_cond_t turn;  /* on the monotonic clock */
    int running, waiting, elsewhere;
    uint8_t key[DIGEST_SIZE];
    struct remembered memory[MEMORY_SLOTS];
    struct counter counters[COUNTER_SETS][COUNTER_WAYS];
};

struct login_guard *
login_guard_new(void)
{
    struct login_guard *guard = calloc(1, sizeof *guard);
    if (!guard)
        return NULL;
    if (random_bytes(guard->key, sizeof guard->key) != CA_OK) {
        free(guard);
        return NULL;
    }
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&guard->turn, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&guard->lock, NULL);
    return guard;
}

void
login_guard_free(struct login_guard *guard)
{
    if (!guard)
        return;
    pthread_cond_destroy(&guard->turn);
    pthread_mutex_destroy(&guard->lock);
    OPENSSL_cleanse(guard, sizeof *guard);
    free(guard);
}

/* HMAC over texts with the NUL that ends each, so that no two lists are alike. */
static bool
digest(const struct login_guard *guard, const char *const *texts, size_t count,
       uint8_t ret_digest[DIGEST_SIZE])
{
    uint8_t all[2048];
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(texts[i]) + 1;
        if (length > sizeof all - size) {
            OPENSSL_cleanse(all, size);
            return false;
        }
        memcpy(all + size, texts[i], length);
        size += length;
    }
    bool is_made = HMAC(EVP_sha256(), guard->key, DIGEST_SIZE, all, size, ret_digest,
                        NULL) != NULL;
    OPENSSL_cleanse(all, size);
    return is_made;
}

static bool
attempt_digest(const struct login_guard *guard, const struct login_attempt *attempt,
               uint8_t ret_digest[DIGEST_SIZE])
{
    const char *const texts[] = { attempt->user, attempt->verifier, attempt->secret };
    return attempt->verifier && !attempt->is_elsewhere &&
           strlen(attempt->secret) == attempt->secret_size &&
           digest(guard, texts, sizeof texts / sizeof texts[0], ret_digest);
}

static struct remembered *
slot_of(struct login_guard *guard, const uint8_t digest[DIGEST_SIZE])
{
    return &guard->memory[(digest[0] | (size_t)digest[1] << 8) % MEMORY_SLOTS];
}

bool
login_guard_knows(struct login_guard *guard, const struct login_attempt *attempt)
{
    uint8_t wanted[DIGEST_SIZE];
    if (!attempt_digest(guard, attempt, wanted))
        return false;
    pthread_mutex_lock(&guard->lock);
    const struct remembered *slot = slot_of(guard, wanted);
    bool knows = slot->until > clock_ticks() &&
                 CRYPTO_memcmp(slot->digest, wanted, sizeof wanted) == 0;
    pthread_mutex_unlock(&guard->lock);
    return knows;
}

static void
remember(struct login_guard *guard, const struct login_attempt *attempt)
{
    uint8_t found[DIGEST_SIZE];
    if (!attempt_digest(guard, attempt, found))
        return;
    struct remembered *slot = slot_of(guard, found);
    memcpy(slot->digest, found, sizeof found);
    slot->until = clock_ticks() + LOGIN_REMEMBER_SECONDS * (int64_t)1000;
}

/* The counter of a name in this minute. A set that is full gives its smallest one away:
 * who floods it with names loses count of few of his own tries. */
static struct counter *
counter_of(struct login_guard *guard, const char *kind, const char *name)
{
    const char *const texts[] = { kind, name };
    uint8_t hash[DIGEST_SIZE] = { 0 };
    uint64_t key;
    digest(guard, texts, 2, hash);
    memcpy(&key, hash, sizeof key);
    int64_t minute = clock_ticks() / MINUTE_MS;
    struct counter *set = guard->counters[hash[8] | (hash[9] & 3) << 8], *least = set;
    for (size_t i = 0; i < COUNTER_WAYS; i++) {
        if (set[i].minute != minute)
            set[i] = (struct counter){ .minute = minute };
        if (set[i].key == key)
            return &set[i];
        if (set[i].count < least->count)
            least = &set[i];
    }
    *least = (struct counter){ key, minute, 0 };
    return least;
}

static struct counter *
source_counter(struct login_guard *guard, const struct login_attempt *attempt)
{
    char source[ADDRESS_SOURCE_SIZE];
    address_source_format(attempt->source, source);
    return counter_of(guard, "source", source);
}

static enum ca_status
count(struct login_guard *guard, const struct login_attempt *attempt)
{
    struct counter *source = source_counter(guard, attempt);
    if (source->count >= LOGIN_SOURCE_PER_MINUTE)
        return ca_fail(CA_LIMIT, "too many wrong passwords from this source");
    source->count++;
    struct counter *user = counter_of(guard, "user", attempt->user);
    if (user->count >= LOGIN_USER_PER_MINUTE)
        return ca_fail(CA_LIMIT, "too many wrong passwords for this user");
    user->count++;
    return CA_OK;
}

static void
count_back(struct login_guard *guard, const struct login_attempt *attempt)
{
    struct counter *source = source_counter(guard, attempt);
    if (source->count > 0)
        source->count--;
    struct counter *user = counter_of(guard, "user", attempt->user);
    if (user->count > 0)
        user->count--;
}

static struct timespec
turn_deadline(void)
{
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += LOGIN_WAIT_MS / 1000;
    return deadline;
}

static enum ca_status
wait_for_turn(struct login_guard *guard)
{
    if (guard->waiting >= LOGIN_WAIT_MOST)
        return ca_fail(CA_UNAVAILABLE, "%d passwords wait to be verified already",
                       guard->waiting);
    struct timespec deadline = turn_deadline();
    int result = 0;
    guard->waiting++;
    while (guard->running >= LOGIN_VERIFY_MOST && result == 0)
        result = pthread_cond_timedwait(&guard->turn, &guard->lock, &deadline);
    guard->waiting--;
    if (guard->running >= LOGIN_VERIFY_MOST)
        return ca_fail(CA_UNAVAILABLE, "no turn to verify a password");
    guard->running++;
    return CA_OK;
}

static enum ca_status
take_elsewhere(struct login_guard *guard)
{
    if (guard->elsewhere >= LOGIN_ELSEWHERE_MOST)
        return ca_fail(CA_UNAVAILABLE, "%d passwords are with the directory already",
                       guard->elsewhere);
    guard->elsewhere++;
    return CA_OK;
}

enum ca_status
login_guard_enter(struct login_guard *guard, const struct login_attempt *attempt)
{
    pthread_mutex_lock(&guard->lock);
    enum ca_status status = count(guard, attempt);
    if (status == CA_OK) {
        status = attempt->is_elsewhere ? take_elsewhere(guard) : wait_for_turn(guard);
        if (status != CA_OK) { /* nothing was tried */
            count_back(guard, attempt);
        }
    }
    pthread_mutex_unlock(&guard->lock);
    return status;
}

enum ca_status
login_guard_return(struct login_guard *guard, struct login_attempt *attempt)
{
    if (!attempt->is_elsewhere)
        return CA_OK;
    pthread_mutex_lock(&guard->lock);
    enum ca_status status = wait_for_turn(guard);
    if (status == CA_OK) {
        guard->elsewhere--;
        attempt->is_elsewhere = false;
    }
    pthread_mutex_unlock(&guard->lock);
    return status;
}

static void
turn_end(struct login_guard *guard, const struct login_attempt *attempt)
{
    if (attempt->is_elsewhere)
        guard->elsewhere--;
    else
        guard->running--;
    pthread_cond_signal(&guard->turn);
}

void
login_guard_leave(struct login_guard *guard, const struct login_attempt *attempt,
                  bool is_right)
{
    pthread_mutex_lock(&guard->lock);
    turn_end(guard, attempt);
    if (is_right) {
        count_back(guard, attempt);
        remember(guard, attempt);
    }
    pthread_mutex_unlock(&guard->lock);
}

void
login_guard_leave_untried(struct login_guard *guard,
                          const struct login_attempt *attempt)
{
    pthread_mutex_lock(&guard->lock);
    turn_end(guard, attempt);
    count_back(guard, attempt);
    pthread_mutex_unlock(&guard->lock);
}
