/* Short-lived state with expiry, and the leases of periodic jobs. */
#include "state.h"
#include "auto.h"
#include "clock.h"
#include <string.h>

struct value {
    void *data;
    size_t size;
    int64_t version;
};

static const struct record_column value_columns[] = {
    RECORD_COLUMN_BLOB(value, data, size),
    RECORD_COLUMN(value, INTEGER, version),
    { .type = RECORD_COLUMN_END },
};

static enum ca_status
key_check(const char *space, const char *key)
{
    size_t length = strnlen(key, STATE_KEY_MAX + 1);
    if (length == 0 || length > STATE_KEY_MAX)
        return ca_fail(CA_LIMIT, "a key of state '%s' has not 1 to %d octets", space,
                       STATE_KEY_MAX);
    return CA_OK;
}

/* Checks sizes and draws the version. It is random, so that a version read before the
 * value was taken never fits a later value of the same key. */
static enum ca_status
value_check(const char *space, const char *key, size_t size, int64_t *ret_version)
{
    enum ca_status status = key_check(space, key);
    if (status != CA_OK)
        return status;
    if (size > STATE_VALUE_MAX)
        return ca_fail(CA_LIMIT, "a value of state '%s' has %zu octets, more than %d",
                       space, size, STATE_VALUE_MAX);
    uint64_t drawn = 0;
    status = random_bytes(&drawn, sizeof drawn);
    if (status == CA_OK)
        *ret_version = (int64_t)(drawn >> 1);
    return status;
}

/* No octets at all are a value too. */
static struct store_value
value_blob(const void *value, size_t size)
{
    return store_blob(value ? value : "", size);
}

enum ca_status
state_put(struct store_tx *tx, const char *space, const char *key, const void *value,
          size_t size, int64_t expires)
{
    int64_t version = 0;
    enum ca_status status = value_check(space, key, size, &version);
    if (status != CA_OK)
        return status;
    return store_run(tx,
                     "INSERT INTO state (space, key, value, version, expires)"
                     " VALUES ($1, $2, $3, $4, $5)"
                     " ON CONFLICT (space, key) DO UPDATE SET value = excluded.value,"
                     " version = excluded.version, expires = excluded.expires",
                     STORE_VALUES(store_text(space), store_text(key),
                                  value_blob(value, size), store_integer(version),
                                  store_integer(expires)),
                     NULL, NULL, NULL);
}

enum ca_status
state_add(struct store_tx *tx, const char *space, const char *key, const void *value,
          size_t size, int64_t expires)
{
    int64_t version = 0, rows = 0;
    enum ca_status status = value_check(space, key, size, &version);
    if (status != CA_OK)
        return status;
    status = store_run(tx,
                       "INSERT INTO state (space, key, value, version, expires)"
                       " VALUES ($1, $2, $3, $4, $5)"
                       " ON CONFLICT (space, key) DO UPDATE SET value = excluded.value,"
                       " version = excluded.version, expires = excluded.expires"
                       " WHERE state.expires <= $6 RETURNING version",
                       STORE_VALUES(store_text(space), store_text(key),
                                    value_blob(value, size), store_integer(version),
                                    store_integer(expires), store_integer(clock_now())),
                       NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_CONFLICT, "state '%s' has this key already", space);
    return status;
}

static enum ca_status
value_load(struct store_tx *tx, const char *sql, const char *space, const char *key,
           struct value *ret_value)
{
    enum ca_status status = key_check(space, key);
    if (status != CA_OK)
        return status;
    const struct record_select select = { value_columns, sizeof *ret_value, sql };
    status = record_load(
        tx, &select,
        STORE_VALUES(store_text(space), store_text(key), store_integer(clock_now())),
        ret_value);
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_NOT_FOUND, "state '%s' has no such key", space);
    return status;
}

enum ca_status
state_get(struct store_tx *tx, const char *space, const char *key, void **ret_value,
          size_t *ret_size, int64_t *ret_version)
{
    struct value value = { 0 };
    enum ca_status status =
        value_load(tx,
                   "SELECT value, version FROM state"
                   " WHERE space = $1 AND key = $2 AND expires > $3",
                   space, key, &value);
    if (status != CA_OK)
        return status;
    *ret_value = value.data;
    *ret_size = value.size;
    if (ret_version)
        *ret_version = value.version;
    return CA_OK;
}

enum ca_status
state_take(struct store_tx *tx, const char *space, const char *key, void **ret_value,
           size_t *ret_size)
{
    struct value value = { 0 };
    enum ca_status status = value_load(tx,
                                       "DELETE FROM state WHERE space = $1 AND key = $2"
                                       " AND expires > $3 RETURNING value, version",
                                       space, key, &value);
    if (status != CA_OK)
        return status;
    *ret_value = value.data;
    *ret_size = value.size;
    return CA_OK;
}

enum ca_status
state_remove(struct store_tx *tx, const char *space, const char *key)
{
    int64_t rows = 0;
    enum ca_status status = key_check(space, key);
    if (status == CA_OK)
        status = store_run(
            tx, "DELETE FROM state WHERE space = $1 AND key = $2 AND expires > $3",
            STORE_VALUES(store_text(space), store_text(key),
                         store_integer(clock_now())),
            NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_NOT_FOUND, "state '%s' has no such key", space);
    return status;
}

enum ca_status
state_swap(struct store_tx *tx, const char *space, const char *key, int64_t version,
           const void *value, size_t size, int64_t expires)
{
    int64_t next = 0, rows = 0;
    enum ca_status status = value_check(space, key, size, &next);
    if (status != CA_OK)
        return status;
    status = store_run(
        tx,
        "UPDATE state SET value = $1, version = $2, expires = $3"
        " WHERE space = $4 AND key = $5 AND version = $6 AND expires > $7"
        " RETURNING version",
        STORE_VALUES(value_blob(value, size), store_integer(next),
                     store_integer(expires), store_text(space), store_text(key),
                     store_integer(version), store_integer(clock_now())),
        NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_CONFLICT, "state '%s' changed since it was read", space);
    return status;
}

enum ca_status
state_expire(struct store_tx *tx, int64_t now, int64_t limit, int64_t *ret_count)
{
    return store_run(tx,
                     "DELETE FROM state WHERE (space, key) IN"
                     " (SELECT space, key FROM state WHERE expires <= $1"
                     " ORDER BY expires LIMIT $2)",
                     STORE_VALUES(store_integer(now), store_integer(limit)), NULL, NULL,
                     ret_count);
}

enum ca_status
state_lease(struct store_tx *tx, const char *job, const char *instance, int64_t now,
            int64_t until, bool *ret_mine)
{
    int64_t rows = 0;
    enum ca_status status =
        store_run(tx,
                  "INSERT INTO lease (job, instance, expires) VALUES ($1, $2, $3)"
                  " ON CONFLICT (job) DO UPDATE SET instance = excluded.instance,"
                  " expires = excluded.expires"
                  " WHERE lease.expires <= $4 OR lease.instance = $2 RETURNING job",
                  STORE_VALUES(store_text(job), store_text(instance),
                               store_integer(until), store_integer(now)),
                  NULL, NULL, &rows);
    if (status == CA_OK)
        *ret_mine = rows > 0;
    return status;
}
