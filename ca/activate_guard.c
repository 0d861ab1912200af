/* Throttles of hello: sliding minutes in a table of fixed size, and one bucket for all.
 */
#include "activate.h"
#include "activation_session.h"
#include "address.h"
#include "auto.h"
#include "clock.h"
#include "digest.h"
#include <pthread.h>
#include <string.h>

#define GUARD_SETS 2048
#define GUARD_WAYS 8
#define MINUTE_MS 60000
#define COUNT_MS 1000 /* between two looks at the table's size */
#define BURST_SECONDS 10
#define THOUSANDTHS 1000 /* of a turn */

/* One source or name. A hello counts whole in its minute and in part, as the next one
 * goes on, in that. */
struct guarded {
    uint64_t key; /* 0: free */
    int64_t minute, seen;
    int64_t now, before; /* hellos of this minute and of the one before it */
    int64_t window;      /* of the session's life */
    int64_t open, open_before;
};

struct activate_guard {
    pthread_mutex_t lock;
    uint8_t secret[32]; /* whose keys nobody else can aim at one set */
    struct guarded sets[GUARD_SETS][GUARD_WAYS];
    int64_t sessions, counted; /* in the store, and when; clock_ticks */
    int64_t turns, filled;     /* of hellos, thousandths; clock_ticks */
};

struct activate_guard *
activate_guard_new(void)
{
    struct activate_guard *guard = calloc(1, sizeof *guard);
    if (!guard)
        return NULL;
    if (random_bytes(guard->secret, sizeof guard->secret) != CA_OK) {
        free(guard);
        return NULL;
    }
    pthread_mutex_init(&guard->lock, NULL);
    return guard;
}

void
activate_guard_free(struct activate_guard *guard)
{
    if (!guard)
        return;
    pthread_mutex_destroy(&guard->lock);
    free(guard);
}

/* The secret in front keys the hash, which nobody else sees. */
static uint64_t
key_of(const struct activate_guard *guard, char kind, const char *text)
{
    uint8_t hash[32];
    char whole[sizeof guard->secret + 80];
    uint64_t key = 0;
    memcpy(whole, guard->secret, sizeof guard->secret);
    int size = snprintf(whole + sizeof guard->secret,
                        sizeof whole - sizeof guard->secret, "%c%s", kind, text);
    digest_sha256(whole, sizeof guard->secret + (size_t)size, hash);
    memcpy(&key, hash, sizeof key);
    return key | 1;
}

/* Its entry, or a new one in the place of the one not seen for longest. */
static struct guarded *
entry_of(struct activate_guard *guard, uint64_t key, int64_t ticks)
{
    struct guarded *set = guard->sets[key / 2 % GUARD_SETS];
    struct guarded *oldest = &set[0];
    for (size_t i = 0; i < GUARD_WAYS; i++) {
        if (set[i].key == key) {
            set[i].seen = ticks;
            return &set[i];
        }
        if (set[i].key == 0 || (oldest->key != 0 && set[i].seen < oldest->seen))
            oldest = &set[i];
    }
    *oldest = (struct guarded){ .key = key, .seen = ticks };
    return oldest;
}

static void
turn(struct guarded *entry, int64_t ticks)
{
    int64_t minute = ticks / MINUTE_MS, window = ticks / (ACTIVATE_TTL * 1000);
    if (entry->minute != minute) {
        entry->before = entry->minute == minute - 1 ? entry->now : 0;
        entry->now = 0;
        entry->minute = minute;
    }
    if (entry->window != window) {
        entry->open_before = entry->window == window - 1 ? entry->open : 0;
        entry->open = 0;
        entry->window = window;
    }
}

/* Hellos of the last sixty seconds, as far as two numbers tell. */
static int64_t
recent(const struct guarded *entry, int64_t ticks)
{
    int64_t left = MINUTE_MS - ticks % MINUTE_MS;
    return entry->now + entry->before * left / MINUTE_MS;
}

static int64_t
seconds_left(int64_t ticks, int64_t span)
{
    return (span - ticks % span + 999) / 1000;
}

/* One hello of all that are worked on in a second. */
static bool
take_turn(struct activate_guard *guard, int64_t rate, int64_t ticks)
{
    int64_t most = rate * BURST_SECONDS * THOUSANDTHS;
    int64_t filled = guard->turns + (ticks - guard->filled) * rate;
    guard->turns = filled < most ? filled : most;
    guard->filled = ticks;
    if (guard->turns < THOUSANDTHS)
        return false;
    guard->turns -= THOUSANDTHS;
    return true;
}

/* More come than are worked on: each source then gets its first one of the minute, so
 * that a flood takes as many turns as it has addresses. */
static bool
is_pressed(const struct activate_guard *guard, int64_t rate, int64_t ticks)
{
    int64_t filled = guard->turns + (ticks - guard->filled) * rate;
    return filled < rate * BURST_SECONDS * THOUSANDTHS / 2;
}

/* What keeps a hello from being worked on; NULL: it is counted. A source that is over
 * its own limits touches nobody else's entry. */
static const char *
hello_judge(struct activate_guard *guard, const struct config_activation *limits,
            const struct activate_hello *hello, int64_t *ret_wait)
{
    char text[ADDRESS_SOURCE_SIZE];
    int64_t ticks = clock_ticks();
    address_source_format(hello->source, text);
    struct guarded *source = entry_of(guard, key_of(guard, 's', text), ticks);
    turn(source, ticks);
    *ret_wait = seconds_left(ticks, MINUTE_MS);
    bool is_first_only = is_pressed(guard, limits->hellos_per_second, ticks);
    if (recent(source, ticks) >= (is_first_only ? 1 : limits->hellos_per_source))
        return "too many hellos of this address";
    if (source->open + source->open_before >= limits->open_per_source) {
        *ret_wait = seconds_left(ticks, (int64_t)ACTIVATE_TTL * 1000);
        return "too many open sessions of this address";
    }
    struct guarded *name = entry_of(guard, key_of(guard, 'n', hello->name), ticks);
    turn(name, ticks);
    if (recent(name, ticks) >= limits->hellos_per_name)
        return "too many hellos for this name";
    if (!take_turn(guard, limits->hellos_per_second, ticks)) {
        *ret_wait = 1;
        return "too many hellos";
    }
    source->now++;
    name->now++;
    return NULL;
}

enum ca_status
activate_guard_hello(struct activate_guard *guard,
                     const struct config_activation *limits,
                     const struct activate_hello *hello, int64_t *ret_retry_after)
{
    int64_t wait = 0;
    pthread_mutex_lock(&guard->lock);
    const char *reason = hello_judge(guard, limits, hello, &wait);
    pthread_mutex_unlock(&guard->lock);
    if (!reason)
        return CA_OK;
    *ret_retry_after = wait;
    return ca_fail(CA_LIMIT, "%s", reason);
}

void
activate_guard_opened(struct activate_guard *guard, const char *source)
{
    char text[ADDRESS_SOURCE_SIZE];
    int64_t ticks = clock_ticks();
    address_source_format(source, text);
    pthread_mutex_lock(&guard->lock);
    struct guarded *entry = entry_of(guard, key_of(guard, 's', text), ticks);
    turn(entry, ticks);
    entry->open++;
    guard->sessions++;
    pthread_mutex_unlock(&guard->lock);
}

void
activate_guard_spent(struct activate_guard *guard, const char *source)
{
    char text[ADDRESS_SOURCE_SIZE];
    int64_t ticks = clock_ticks();
    address_source_format(source, text);
    pthread_mutex_lock(&guard->lock);
    struct guarded *entry = entry_of(guard, key_of(guard, 's', text), ticks);
    turn(entry, ticks);
    if (entry->open > 0)
        entry->open--;
    else if (entry->open_before > 0)
        entry->open_before--;
    pthread_mutex_unlock(&guard->lock);
}

static enum ca_status
sessions_read(struct store_tx *tx, void *arg)
{
    return activation_session_count(tx, arg);
}

enum ca_status
activate_guard_room(struct activate_guard *guard, struct store *store, int64_t sessions)
{
    int64_t ticks = clock_ticks(), count = 0;
    pthread_mutex_lock(&guard->lock);
    bool asks = guard->counted == 0 || ticks - guard->counted >= COUNT_MS;
    if (asks)
        guard->counted = ticks;
    pthread_mutex_unlock(&guard->lock);
    if (asks) {
        enum ca_status status = store_read(store, sessions_read, &count);
        if (status != CA_OK)
            return status;
    }
    pthread_mutex_lock(&guard->lock);
    if (asks)
        guard->sessions = count;
    bool has_room = guard->sessions < sessions;
    pthread_mutex_unlock(&guard->lock);
    return has_room ? CA_OK
                    : ca_fail(CA_UNAVAILABLE, "%lld activation sessions are open",
                              (long long)sessions);
}
