/* Parsed profiles by kind, name and version: every look-up asks the caller's snapshot
 * for the version, so a change counts from the next request on, on all instances. */
#include "profile_cache.h"
#include "auto.h"
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define PROFILE_CACHE_SLOTS 64

struct entry {
    struct profile_cached cached; /* first member: what callers hold */
    atomic_int holders;
};

struct profile_cache {
    pthread_mutex_t lock;
    struct entry *slots[PROFILE_CACHE_SLOTS];
    size_t next; /* the slot that a new profile takes when all are full */
};

struct profile_cache *
profile_cache_new(void)
{
    struct profile_cache *cache = calloc(1, sizeof *cache);
    if (cache)
        pthread_mutex_init(&cache->lock, NULL);
    return cache;
}

static void
entry_release(struct entry *entry)
{
    if (!entry || atomic_fetch_sub(&entry->holders, 1) > 1)
        return;
    profile_clear(&entry->cached.profile);
    json_decref(entry->cached.settings);
    free(entry);
}

void
profile_cache_free(struct profile_cache *cache)
{
    if (!cache)
        return;
    for (size_t i = 0; i < PROFILE_CACHE_SLOTS; i++)
        entry_release(cache->slots[i]);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

void
profile_cached_release(const struct profile_cached *cached)
{
    /* The const is the caller's view; the count behind it is ours. */
    union {
        const struct profile_cached *lent;
        struct entry *own;
    } view = { .lent = cached };
    entry_release(view.own);
}

static enum ca_status
version_row(const struct store_row *row, void *arg)
{
    *(int64_t *)arg = store_row_integer(row, 0);
    return CA_OK;
}

static enum ca_status
version_of(struct store_tx *tx, enum profile_kind kind, const char *name,
           int64_t *ret_version)
{
    int64_t rows = 0;
    enum ca_status status =
        store_run(tx, "SELECT version FROM profile WHERE kind = $1 AND name = $2",
                  STORE_VALUES(store_text(profile_kind_words[kind]), store_text(name)),
                  version_row, ret_version, &rows);
    if (status != CA_OK)
        return status;
    if (rows == 0)
        return ca_fail(CA_NOT_FOUND, "no %s profile '%s'", profile_kind_words[kind],
                       name);
    return CA_OK;
}

static bool
is_of(const struct entry *entry, enum profile_kind kind, const char *name)
{
    return entry && entry->cached.profile.kind == (int)kind &&
           strcmp(entry->cached.profile.name, name) == 0;
}

/* One more reference to the profile in this version; NULL when it is not here. */
static struct entry *
cache_find(struct profile_cache *cache, enum profile_kind kind, const char *name,
           int64_t version)
{
    struct entry *found = NULL;
    pthread_mutex_lock(&cache->lock);
    for (size_t i = 0; i < PROFILE_CACHE_SLOTS && !found; i++) {
        struct entry *entry = cache->slots[i];
        if (is_of(entry, kind, name) && entry->cached.profile.stamp.version == version)
            found = entry;
    }
    if (found)
        atomic_fetch_add(&found->holders, 1);
    pthread_mutex_unlock(&cache->lock);
    return found;
}

/* Puts the entry in the place of an older version, in a free one, or in the next. */
static void
cache_keep(struct profile_cache *cache, struct entry *entry)
{
    const struct profile *profile = &entry->cached.profile;
    atomic_fetch_add(&entry->holders, 1);
    pthread_mutex_lock(&cache->lock);
    size_t place = PROFILE_CACHE_SLOTS;
    for (size_t i = 0; i < PROFILE_CACHE_SLOTS; i++) {
        if (is_of(cache->slots[i], (enum profile_kind)profile->kind, profile->name)) {
            place = i;
            break;
        }
        if (!cache->slots[i] && place == PROFILE_CACHE_SLOTS)
            place = i;
    }
    if (place == PROFILE_CACHE_SLOTS)
        place = cache->next++ % PROFILE_CACHE_SLOTS;
    struct entry *previous = cache->slots[place];
    cache->slots[place] = entry;
    pthread_mutex_unlock(&cache->lock);
    entry_release(previous);
}

static enum ca_status
entry_load(struct store_tx *tx, enum profile_kind kind, const char *name,
           struct entry **ret_entry)
{
    struct entry *entry = calloc(1, sizeof *entry);
    if (!entry)
        return ca_fail(CA_INTERNAL, "no memory for a profile");
    enum ca_status status = profile_load(tx, kind, name, &entry->cached.profile);
    if (status != CA_OK) {
        free(entry);
        return status;
    }
    atomic_init(&entry->holders, 1);
    CA_AUTO(json_decref)
    json_t *record = field_encode(profile_fields(kind), &entry->cached.profile);
    entry->cached.settings = json_incref(json_object_get(record, "settings"));
    if (!entry->cached.settings) {
        entry_release(entry);
        return ca_fail(CA_INTERNAL, "cannot write profile '%s' as JSON", name);
    }
    *ret_entry = entry;
    return CA_OK;
}

enum ca_status
profile_cache_get(struct profile_cache *cache, struct store_tx *tx,
                  enum profile_kind kind, const char *name,
                  const struct profile_cached **ret_cached)
{
    int64_t version = 0;
    enum ca_status status = version_of(tx, kind, name, &version);
    if (status != CA_OK)
        return status;
    struct entry *entry = cache_find(cache, kind, name, version);
    if (!entry) {
        status = entry_load(tx, kind, name, &entry);
        if (status != CA_OK)
            return status;
        cache_keep(cache, entry);
    }
    *ret_cached = &entry->cached;
    return CA_OK;
}
