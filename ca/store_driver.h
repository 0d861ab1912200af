/* What a database must offer to carry the store: one file and one entry in drivers[] of
 * store.c. A connection is used by one thread at a time. */
#pragma once

#include "store.h"

struct store_connection; /* the driver's own */

/* First member of each driver's row. */
struct store_row {
    const struct store_driver *driver;
};

struct store_driver {
    const char *name; /* the URL's scheme */
    int write_connections; /* SQLite: 1 */
    enum ca_status (*open)(const char *path, bool writer,
                           struct store_connection **ret_connection);
    void (*close)(struct store_connection *connection);
    enum ca_status (*run)(struct store_connection *connection, const char *sql,
                          const struct store_value *values, size_t n, store_row_fn row,
                          void *arg, int64_t *ret_rows);
    enum ca_status (*begin)(struct store_connection *connection, bool writer);
    enum ca_status (*commit)(struct store_connection *connection);
    enum ca_status (*rollback)(struct store_connection *connection);
    const char *(*row_text)(const struct store_row *row, int column);
    int64_t (*row_integer)(const struct store_row *row, int column);
    const void *(*row_blob)(const struct store_row *row, int column, size_t *ret_size);
    /* True when this failure of `run` or `commit` means "run the group again". */
    bool (*should_repeat)(struct store_connection *connection);
    /* Housekeeping of a write connection, outside a transaction and after the group's
     * callers were answered; or NULL. */
    void (*tend)(struct store_connection *connection);
};

extern const struct store_driver store_sqlite;
