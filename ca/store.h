/* The store: one SQL text over one of several drivers, reads in parallel, writes in
 * groups that share one durable commit.
 *
 * Dialect (SQLite 3.40 and PostgreSQL 15): $1..$n, TEXT / BIGINT / BYTEA, ON CONFLICT,
 * RETURNING. SQL lives with the record that owns the table. */
#pragma once

#include "status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;    /* opened store, shared by all threads */
struct store_tx; /* one read snapshot or one write's savepoint; for its closure only */
struct store_row;

enum store_type { STORE_NULL, STORE_INTEGER, STORE_TEXT, STORE_BLOB };

struct store_value {
    enum store_type type;
    int64_t integer;
    const void *data; /* borrowed until store_run returns */
    size_t size;
};

/* Value makers for the argument array of store_run; NULL text or blob is SQL NULL. */
struct store_value store_integer(int64_t value);
struct store_value store_text(const char *text);
struct store_value store_blob(const void *data, size_t size);
struct store_value store_null(void);
#define STORE_VALUES(...)                                                              \
    (const struct store_value[]){ __VA_ARGS__ },                                       \
        sizeof((const struct store_value[]){ __VA_ARGS__ }) / sizeof(struct store_value)
#define STORE_NO_VALUES NULL, 0

/* Called for each row. Anything but CA_OK stops and becomes store_run's status. */
typedef enum ca_status (*store_row_fn)(const struct store_row *row, void *arg);

/* Columns of the current row, from 0; text and blobs live until the callback returns.
 * NULL text comes as NULL, NULL integers as 0. */
const char *store_row_text(const struct store_row *row, int column);
int64_t store_row_integer(const struct store_row *row, int column);
const void *store_row_blob(const struct store_row *row, int column, size_t *ret_size);

/* Runs one statement with n values for $1..$n. `row` may be NULL. `ret_rows` (may be
 * NULL) counts result rows or, for a change without RETURNING, changed rows, which is how
 * a conditional update tells that it took place. SQLite gathers what RETURNING gives in a
 * table of its own: say it only where the values are wanted. CA_OK also for no rows; CA_CONFLICT for a violated unique index or
 * constraint; CA_UNAVAILABLE for a busy, full or failing store. A statement that failed
 * fails its closure, as in PostgreSQL: what may conflict and go on says ON CONFLICT. */
enum ca_status store_run(struct store_tx *tx, const char *sql,
                         const struct store_value *values, size_t n, store_row_fn row,
                         void *arg, int64_t *ret_rows);

/* A closure over the store. It may run twice (serialisation failure), so it has no
 * effect but on the store and on `arg`, which it fills afresh each time. */
typedef enum ca_status (*store_fn)(struct store_tx *tx, void *arg);

/* `url`: "sqlite:PATH" (a bare path means the same). Creates and upgrades the schema.
 * CA_UNAVAILABLE, CA_FORBIDDEN for files that others can write, or CA_UNSUPPORTED for a
 * newer schema or an unknown driver. */
enum ca_status store_open(const char *url, struct store **ret_store);
/* Finishes queued writes, then closes. NULL is nothing. */
void store_close(struct store *store);

/* Runs fn over one consistent snapshot on a pooled read connection, in this thread.
 * CA_UNAVAILABLE when no connection becomes free. Never called from inside a closure. */
enum ca_status store_read(struct store *store, store_fn fn, void *arg);

/* This thread is about to write, once or several times, until store_expect_end: groups
 * wait for its closures a moment, so that they share a commit. */
void store_expect(struct store *store);
void store_expect_end(struct store *store);

/* Runs fn on the writer, as if under its own savepoint, and waits until the group's commit is
 * durable. A failing fn is undone alone; its status and message come back here. CA_OK and
 * CA_PENDING (an answer, not an error) are kept, everything else is a failure.
 * CA_UNAVAILABLE when the commit fails (disk full) or the queue is full: nothing of the
 * group is then in the store. Never called from inside a closure. */
enum ca_status store_write(struct store *store, store_fn fn, void *arg);

/* Writes and undoes one row durably: the readiness question "could audit be written?".
 * The message says why not. */
enum ca_status store_probe(struct store *store);

struct store_figures {
    int64_t commits, writes, failures, waiting;
};
void store_figures(struct store *store, struct store_figures *ret_figures);
