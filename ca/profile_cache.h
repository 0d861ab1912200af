/* Parsed profiles, kept between requests: an enrolment asks the store for a version and
 * parses only what changed. */
#pragma once

#include "profile.h"

struct profile_cache;

struct profile_cached {
    struct profile profile;
    json_t *settings; /* as the API shows them; never changed */
};

struct profile_cache *profile_cache_new(void); /* NULL: no memory */
void profile_cache_free(struct profile_cache *cache);

/* The profile as `tx` sees it; profile_cached_release it. CA_NOT_FOUND. */
enum ca_status profile_cache_get(struct profile_cache *cache, struct store_tx *tx,
                                 enum profile_kind kind, const char *name,
                                 const struct profile_cached **ret_cached);
void profile_cached_release(const struct profile_cached *cached);
