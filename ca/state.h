/* Short-lived protocol state with expiry, shared by all instances through the store. */
#pragma once

#include "record.h"

#define STATE_KEY_MAX 255
#define STATE_VALUE_MAX (1024 * 1024)

/* Replaces what is there. */
enum ca_status state_put(struct store_tx *tx, const char *space, const char *key,
                         const void *value, size_t size, int64_t expires);
/* Inserts only: CA_CONFLICT when a live one exists (nonces). */
enum ca_status state_add(struct store_tx *tx, const char *space, const char *key,
                         const void *value, size_t size, int64_t expires);
/* Live values only, else CA_NOT_FOUND; free() the value. */
enum ca_status state_get(struct store_tx *tx, const char *space, const char *key,
                         void **ret_value, size_t *ret_size, int64_t *ret_version);
/* Get and remove in one statement. */
enum ca_status state_take(struct store_tx *tx, const char *space, const char *key,
                          void **ret_value, size_t *ret_size);
/* Removes a live one, else CA_NOT_FOUND. */
enum ca_status state_remove(struct store_tx *tx, const char *space, const char *key);
/* Replaces only over `version`, else CA_CONFLICT. */
enum ca_status state_swap(struct store_tx *tx, const char *space, const char *key,
                          int64_t version, const void *value, size_t size,
                          int64_t expires);
/* Removes what has expired, the oldest first and at most `limit`. */
enum ca_status state_expire(struct store_tx *tx, int64_t now, int64_t limit,
                            int64_t *ret_count);

/* A periodic job's lease: true for one instance until `until`. */
enum ca_status state_lease(struct store_tx *tx, const char *job, const char *instance,
                           int64_t now, int64_t until, bool *ret_mine);
