/* The store: picks the driver, brings the schema up to date, keeps the read connections
 * and hands writes to the group. */
#include "auto.h"
#include "clock.h"
#include "schema.h"
#include "store_group.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#define WRITERS_MAX 16
#define READERS_MAX 8 /* read connections, opened as they are needed */
#define READER_WAIT_SECONDS 5
#define PROBE_SIZE 8192 /* more than a page: a full store has no room for it */
#define PROBE_KEEP_SECONDS 60

static const struct store_driver *const drivers[] = { &store_sqlite };

struct store {
    const struct store_driver *driver;
    char *path;
    struct store_connection *writers[WRITERS_MAX];
    size_t writer_count;
    struct store_group *group;
    pthread_mutex_t lock; /* over what follows */
    pthread_cond_t returned;
    struct store_connection *idle[READERS_MAX]; /* a stack: few stay warm */
    size_t idle_count, reader_count;
};

struct store_value
store_integer(int64_t value)
{
    return (struct store_value){ .type = STORE_INTEGER, .integer = value };
}

struct store_value
store_text(const char *text)
{
    if (!text)
        return store_null();
    return (struct store_value){ STORE_TEXT, 0, text, strlen(text) };
}

struct store_value
store_blob(const void *data, size_t size)
{
    if (!data)
        return store_null();
    return (struct store_value){ STORE_BLOB, 0, data, size };
}

struct store_value
store_null(void)
{
    return (struct store_value){ .type = STORE_NULL };
}

const char *
store_row_text(const struct store_row *row, int column)
{
    return row->driver->row_text(row, column);
}

int64_t
store_row_integer(const struct store_row *row, int column)
{
    return row->driver->row_integer(row, column);
}

const void *
store_row_blob(const struct store_row *row, int column, size_t *ret_size)
{
    return row->driver->row_blob(row, column, ret_size);
}

/* Tells a visitor that stops from a statement that fails. */
struct row_call {
    store_row_fn row;
    void *arg;
    bool has_stopped;
};

static enum ca_status
row_pass(const struct store_row *row, void *arg)
{
    struct row_call *call = arg;
    enum ca_status status = call->row(row, call->arg);
    call->has_stopped = status != CA_OK;
    return status;
}

enum ca_status
store_run(struct store_tx *tx, const char *sql, const struct store_value *values,
          size_t n, store_row_fn row, void *arg, int64_t *ret_rows)
{
    if (tx->failed != CA_OK)
        return ca_fail(tx->failed, "store: a statement of this closure failed before");
    struct row_call call = { .row = row, .arg = arg };
    enum ca_status status = tx->driver->run(tx->connection, sql, values, n,
                                            row ? row_pass : NULL, &call, ret_rows);
    if (status != CA_OK && !call.has_stopped)
        tx->failed = status;
    return status;
}

/* "scheme:path" of a known driver, or a bare path for SQLite. */
static enum ca_status
url_parse(const char *url, const struct store_driver **ret_driver,
          const char **ret_path)
{
    size_t length = strspn(url, "abcdefghijklmnopqrstuvwxyz0123456789+");
    if (length == 0 || url[length] != ':') {
        *ret_driver = &store_sqlite;
        *ret_path = url;
        return CA_OK;
    }
    for (size_t i = 0; i < sizeof drivers / sizeof drivers[0]; i++) {
        if (strlen(drivers[i]->name) == length &&
            memcmp(drivers[i]->name, url, length) == 0) {
            *ret_driver = drivers[i];
            *ret_path = url + length + 1;
            return CA_OK;
        }
    }
    return ca_fail(CA_UNSUPPORTED, "no store driver '%.*s'", (int)length, url);
}

static enum ca_status
version_read(const struct store_row *row, void *arg)
{
    *(int64_t *)arg = store_row_integer(row, 0);
    return CA_OK;
}

static enum ca_status
step_apply(struct store_tx *tx, const struct schema_step *step)
{
    for (const char *const *sql = step->statements; *sql; sql++) {
        enum ca_status status = store_run(tx, *sql, STORE_NO_VALUES, NULL, NULL, NULL);
        if (status != CA_OK)
            return status;
    }
    return store_run(tx,
                     "INSERT INTO store_schema (id, version) VALUES (1, $1)"
                     " ON CONFLICT (id) DO UPDATE SET version = excluded.version",
                     STORE_VALUES(store_integer(step->version)), NULL, NULL, NULL);
}

static enum ca_status
schema_upgrade(struct store_tx *tx, void *arg)
{
    (void)arg;
    enum ca_status status =
        store_run(tx,
                  "CREATE TABLE IF NOT EXISTS store_schema"
                  " (id BIGINT NOT NULL PRIMARY KEY, version BIGINT NOT NULL)",
                  STORE_NO_VALUES, NULL, NULL, NULL);
    int64_t version = 0;
    if (status == CA_OK)
        status = store_run(tx, "SELECT version FROM store_schema", STORE_NO_VALUES,
                           version_read, &version, NULL);
    if (status != CA_OK)
        return status;
    int64_t newest = schema_steps[schema_step_count - 1].version;
    if (version > newest)
        return ca_fail(CA_UNSUPPORTED,
                       "the store's schema %lld is newer than this program's, %lld",
                       (long long)version, (long long)newest);
    for (size_t i = 0; status == CA_OK && i < schema_step_count; i++) {
        if (schema_steps[i].version > version)
            status = step_apply(tx, &schema_steps[i]);
    }
    return status;
}

/* In one transaction: a crash leaves the old schema, two starts do not cross. */
static enum ca_status
schema_open(struct store *store)
{
    struct store_connection *connection = store->writers[0];
    enum ca_status status = store->driver->begin(connection, true);
    if (status != CA_OK)
        return status;
    struct store_tx tx = { .driver = store->driver, .connection = connection };
    status = store_tx_run(&tx, schema_upgrade, NULL);
    if (status == CA_OK)
        status = store->driver->commit(connection);
    if (status == CA_OK)
        return CA_OK;
    CA_AUTO(free) char *message = strdup(status_message());
    store->driver->rollback(connection);
    return ca_fail(status, "%s", message ? message : "no memory");
}

static enum ca_status
writers_open(struct store *store)
{
    size_t count = (size_t)store->driver->write_connections;
    enum ca_status status = CA_OK;
    for (; status == CA_OK && store->writer_count < count;) {
        status = store->driver->open(store->path, true,
                                     &store->writers[store->writer_count]);
        store->writer_count += status == CA_OK;
    }
    if (status == CA_OK)
        status = schema_open(store);
    if (status != CA_OK)
        return status;
    return store_group_start(store->driver, store->writers, count, &store->group);
}

void
store_close(struct store *store)
{
    if (!store)
        return;
    store_group_stop(store->group);
    for (size_t i = 0; i < store->idle_count; i++)
        store->driver->close(store->idle[i]);
    for (size_t i = 0; i < store->writer_count; i++)
        store->driver->close(store->writers[i]);
    pthread_cond_destroy(&store->returned);
    pthread_mutex_destroy(&store->lock);
    free(store->path);
    free(store);
}

CA_AUTO_RELEASE(struct store, store_close)

enum ca_status
store_open(const char *url, struct store **ret_store)
{
    const struct store_driver *driver = NULL;
    const char *path = NULL;
    enum ca_status status = url_parse(url, &driver, &path);
    if (status != CA_OK)
        return status;
    CA_AUTO(store_close) struct store *store = calloc(1, sizeof *store);
    if (!store)
        return ca_fail(CA_INTERNAL, "no memory for the store");
    store->driver = driver;
    pthread_mutex_init(&store->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&store->returned, &monotonic);
    pthread_condattr_destroy(&monotonic);
    store->path = strdup(path);
    if (!store->path)
        return ca_fail(CA_INTERNAL, "no memory for the store");
    status = writers_open(store);
    if (status != CA_OK)
        return status;
    *ret_store = CA_STEAL(store);
    return CA_OK;
}

/* An idle connection, or the right to open one (NULL); false when neither comes in
 * time. */
static bool
reader_wait(struct store *store, struct store_connection **ret_connection)
{
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += READER_WAIT_SECONDS;
    pthread_mutex_lock(&store->lock);
    int error = 0;
    while (store->idle_count == 0 && store->reader_count == READERS_MAX && error == 0)
        error = pthread_cond_timedwait(&store->returned, &store->lock, &deadline);
    bool is_idle = store->idle_count > 0, may_open = store->reader_count < READERS_MAX;
    if (is_idle)
        *ret_connection = store->idle[--store->idle_count];
    else if (may_open)
        store->reader_count++;
    pthread_mutex_unlock(&store->lock);
    return is_idle || may_open;
}

/* Gives the connection back; NULL gives back the right to open one. */
static void
reader_return(struct store *store, struct store_connection *connection)
{
    pthread_mutex_lock(&store->lock);
    if (connection)
        store->idle[store->idle_count++] = connection;
    else
        store->reader_count--;
    pthread_cond_signal(&store->returned);
    pthread_mutex_unlock(&store->lock);
}

static enum ca_status
reader_take(struct store *store, struct store_connection **ret_connection)
{
    struct store_connection *connection = NULL;
    if (!reader_wait(store, &connection))
        return ca_fail(CA_UNAVAILABLE, "store: all %d readers are busy", READERS_MAX);
    enum ca_status status = CA_OK;
    if (!connection)
        status = store->driver->open(store->path, false, &connection);
    if (status == CA_OK)
        status = store->driver->begin(connection, false);
    if (status == CA_OK) {
        *ret_connection = connection;
        return CA_OK;
    }
    store->driver->close(connection);
    reader_return(store, NULL);
    return status;
}

enum ca_status
store_read(struct store *store, store_fn fn, void *arg)
{
    if (store_is_inside)
        return ca_fail(CA_INTERNAL, "store_read inside a closure");
    struct store_connection *connection = NULL;
    enum ca_status status = reader_take(store, &connection);
    if (status != CA_OK)
        return status;
    struct store_tx tx = { .driver = store->driver, .connection = connection };
    status = store_tx_run(&tx, fn, arg);
    /* Nothing to keep, and no way to fail that would matter to who has read. */
    if (store->driver->rollback(connection) != CA_OK) {
        store->driver->close(connection);
        connection = NULL;
    }
    reader_return(store, connection);
    return status;
}

enum ca_status
store_write(struct store *store, store_fn fn, void *arg)
{
    if (store_is_inside)
        return ca_fail(CA_INTERNAL, "store_write inside a closure");
    return store_group_write(store->group, fn, arg);
}

void
store_expect(struct store *store)
{
    store_group_expect(store->group, true);
}

void
store_expect_end(struct store *store)
{
    store_group_expect(store->group, false);
}

struct probe {
    char id[37];
    int64_t now;
};

static enum ca_status
probe_insert(struct store_tx *tx, void *arg)
{
    static const char filler[PROBE_SIZE];
    const struct probe *probe = arg;
    enum ca_status status = store_run(
        tx, "DELETE FROM store_probe WHERE written < $1",
        STORE_VALUES(store_integer(probe->now - PROBE_KEEP_SECONDS)), NULL, NULL, NULL);
    if (status != CA_OK)
        return status;
    return store_run(
        tx, "INSERT INTO store_probe (id, written, filler) VALUES ($1, $2, $3)",
        STORE_VALUES(store_text(probe->id), store_integer(probe->now),
                     store_blob(filler, sizeof filler)),
        NULL, NULL, NULL);
}

static enum ca_status
probe_delete(struct store_tx *tx, void *arg)
{
    const struct probe *probe = arg;
    return store_run(tx, "DELETE FROM store_probe WHERE id = $1",
                     STORE_VALUES(store_text(probe->id)), NULL, NULL, NULL);
}

enum ca_status
store_probe(struct store *store)
{
    struct probe probe = { .now = clock_now() };
    enum ca_status status = random_uuid(probe.id);
    if (status == CA_OK)
        status = store_write(store, probe_insert, &probe);
    return status == CA_OK ? store_write(store, probe_delete, &probe) : status;
}

void
store_figures(struct store *store, struct store_figures *ret_figures)
{
    store_group_figures(store->group, ret_figures);
}
