/* The SQLite driver: WAL, synchronous=FULL, kept statements, checkpoints by the writer
 * between groups. */
#include "auto.h"
#include "owned.h"
#include "store_driver.h"
#include "store_sqlite_wal.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUSY_MS 5000            /* another process writes */
#define CHECKPOINT_PAGES 1000   /* WAL pages that the writer copies back, 4 MiB */
#define CHECKPOINT_HARD 16000   /* from here it waits for readers to let go, 64 MiB */
#define CHECKPOINT_HARD_MS 1000 /* but no longer than this */
#define STATEMENTS_MAX 96       /* kept a connection */
#define PARAMETERS_MAX 32       /* of one statement */

struct statement {
    sqlite3_stmt *handle;
    uint64_t used; /* `uses` at the last use; the smallest goes first */
    bool is_busy;
    bool is_kept;                    /* false: not in the table, finalized after use */
    int count;                       /* of its parameters */
    uint8_t numbers[PARAMETERS_MAX]; /* the n of each "$n", by SQLite's index - 1 */
};

struct store_connection {
    sqlite3 *db;
    bool is_writer;
    bool is_begun;     /* between begin and commit or rollback */
    int wal_pages;     /* after the last commit */
    int checkpoint_at; /* pages of the next checkpoint */
    uint64_t uses;
    struct statement statements[STATEMENTS_MAX];
    const char *texts[STATEMENTS_MAX]; /* where the text of each was at its last use */
};

struct sqlite_row {
    struct store_row base;
    sqlite3_stmt *handle;
};

/* A failed call's status and message. Full and failing disks, and locks, pass. */
static enum ca_status
sqlite_fail(struct store_connection *connection, int code, const char *what)
{
    enum ca_status status = CA_UNAVAILABLE;
    switch (code & 0xff) {
    case SQLITE_CONSTRAINT: status = CA_CONFLICT; break;
    case SQLITE_TOOBIG: status = CA_LIMIT; break;
    case SQLITE_ERROR:
    case SQLITE_INTERNAL:
    case SQLITE_MISMATCH:
    case SQLITE_MISUSE:
    case SQLITE_RANGE: status = CA_INTERNAL; break;
    default: break;
    }
    int error = sqlite3_system_errno(connection->db);
    bool has_errno = error != 0 && status == CA_UNAVAILABLE;
    return ca_fail(status, "store: %s: %s%s%s", what, sqlite3_errmsg(connection->db),
                   has_errno ? ": " : "", has_errno ? strerror(error) : "");
}

/* One statement, nothing behind it, and from a reader only what reads. */
static enum ca_status
statement_prepare(struct store_connection *connection, const char *sql, unsigned flags,
                  sqlite3_stmt **ret_handle)
{
    sqlite3_stmt *handle = NULL;
    const char *tail = NULL;
    int code = sqlite3_prepare_v3(connection->db, sql, -1, flags, &handle, &tail);
    if (code != SQLITE_OK)
        return sqlite_fail(connection, code, "prepare");
    if (!handle || *tail != '\0') {
        sqlite3_finalize(handle);
        return ca_fail(CA_INTERNAL, "store: not one statement: %s", sql);
    }
    if (!connection->is_writer && !sqlite3_stmt_readonly(handle)) {
        sqlite3_finalize(handle);
        return ca_fail(CA_INTERNAL, "store: a reader writes: %s", sql);
    }
    *ret_handle = handle;
    return CA_OK;
}

/* "$12" -> 12, anything else 0. */
static size_t
parameter_number(const char *name)
{
    if (!name || name[0] != '$' || name[1] < '1' || name[1] > '9')
        return 0;
    char *end = NULL;
    unsigned long number = strtoul(name + 1, &end, 10);
    return *end == '\0' ? number : 0;
}

/* By name: SQLite numbers parameters by appearance, so "$2, $1" would swap them. */
static enum ca_status
parameters_read(struct statement *statement)
{
    const char *sql = sqlite3_sql(statement->handle);
    statement->count = sqlite3_bind_parameter_count(statement->handle);
    if (statement->count > PARAMETERS_MAX)
        return ca_fail(CA_INTERNAL, "store: more than %d parameters: %s",
                       PARAMETERS_MAX, sql);
    for (int i = 1; i <= statement->count; i++) {
        size_t number =
            parameter_number(sqlite3_bind_parameter_name(statement->handle, i));
        if (number < 1 || number > (size_t)statement->count)
            return ca_fail(CA_INTERNAL, "store: parameters are not $1 to $%d: %s",
                           statement->count, sql);
        statement->numbers[i - 1] = (uint8_t)number;
    }
    return CA_OK;
}

static bool
is_text_of(const struct statement *statement, const char *sql)
{
    return statement->handle && !statement->is_busy &&
           strcmp(sqlite3_sql(statement->handle), sql) == 0;
}

/* The kept statement of this text. Nearly always it is where it was the last time, for
 * most texts are literals; but another may be there by now, so that the address only
 * says which to compare first. */
static struct statement *
statement_find(struct store_connection *connection, const char *sql)
{
    struct statement *statements = connection->statements;
    for (size_t i = 0; i < STATEMENTS_MAX; i++) {
        if (connection->texts[i] == sql && is_text_of(&statements[i], sql))
            return &statements[i];
    }
    for (size_t i = 0; i < STATEMENTS_MAX; i++) {
        if (is_text_of(&statements[i], sql))
            return &statements[i];
    }
    return NULL;
}

/* The place of the statement that was used least recently; NULL when all are busy. */
static struct statement *
statement_oldest(struct store_connection *connection)
{
    struct statement *oldest = NULL;
    for (size_t i = 0; i < STATEMENTS_MAX; i++) {
        struct statement *kept = &connection->statements[i];
        if (!kept->is_busy && (!oldest || kept->used < oldest->used))
            oldest = kept;
    }
    return oldest;
}

static enum ca_status
statement_make(struct store_connection *connection, const char *sql,
               struct statement *statement)
{
    struct statement new = { 0 };
    unsigned flags = statement->is_kept ? SQLITE_PREPARE_PERSISTENT : 0;
    enum ca_status status = statement_prepare(connection, sql, flags, &new.handle);
    if (status == CA_OK)
        status = parameters_read(&new);
    if (status != CA_OK) {
        sqlite3_finalize(new.handle);
        return status;
    }
    new.is_kept = statement->is_kept;
    sqlite3_finalize(statement->handle);
    *statement = new;
    return CA_OK;
}

/* The kept statement of this text; else a new one in the place of the least recently
 * used; else (a row callback runs the same text again) one in `temporary`. */
static enum ca_status
statement_take(struct store_connection *connection, const char *sql,
               struct statement *temporary, struct statement **ret_statement)
{
    struct statement *statement = statement_find(connection, sql);
    if (!statement) {
        struct statement *place = statement_oldest(connection);
        statement = place ? place : temporary;
        statement->is_kept = place != NULL;
        enum ca_status status = statement_make(connection, sql, statement);
        if (status != CA_OK)
            return status;
    }
    if (statement->is_kept)
        connection->texts[statement - connection->statements] = sql;
    statement->used = ++connection->uses;
    statement->is_busy = true;
    *ret_statement = statement;
    return CA_OK;
}

static void
statement_return(struct statement *statement)
{
    sqlite3_reset(statement->handle);
    sqlite3_clear_bindings(statement->handle);
    statement->is_busy = false;
    if (!statement->is_kept)
        sqlite3_finalize(statement->handle);
}

static int
value_bind(sqlite3_stmt *handle, int index, const struct store_value *value)
{
    switch (value->type) {
    case STORE_INTEGER: return sqlite3_bind_int64(handle, index, value->integer);
    case STORE_TEXT:
        return sqlite3_bind_text64(handle, index, value->data, value->size,
                                   SQLITE_STATIC, SQLITE_UTF8);
    case STORE_BLOB:
        return sqlite3_bind_blob64(handle, index, value->data, value->size,
                                   SQLITE_STATIC);
    case STORE_NULL: break;
    }
    return sqlite3_bind_null(handle, index);
}

static enum ca_status
values_bind(struct store_connection *connection, const struct statement *statement,
            const struct store_value *values, size_t n)
{
    if ((size_t)statement->count != n)
        return ca_fail(CA_INTERNAL, "store: %zu values for %d parameters: %s", n,
                       statement->count, sqlite3_sql(statement->handle));
    for (int i = 0; i < statement->count; i++) {
        const struct store_value *value = &values[statement->numbers[i] - 1];
        int code = value_bind(statement->handle, i + 1, value);
        if (code != SQLITE_OK)
            return sqlite_fail(connection, code, "bind");
    }
    return CA_OK;
}

static enum ca_status
rows_step(struct store_connection *connection, sqlite3_stmt *handle, store_row_fn row,
          void *arg, int64_t *ret_rows)
{
    struct sqlite_row current = { { &store_sqlite }, handle };
    int64_t rows = 0;
    int code = SQLITE_ROW;
    while ((code = sqlite3_step(handle)) == SQLITE_ROW) {
        rows++;
        enum ca_status status = row ? row(&current.base, arg) : CA_OK;
        if (status != CA_OK)
            return status;
    }
    if (code != SQLITE_DONE)
        return sqlite_fail(connection, code, "run");
    if (sqlite3_column_count(handle) == 0)
        rows = sqlite3_changes64(connection->db);
    if (ret_rows)
        *ret_rows = rows;
    return CA_OK;
}

static enum ca_status
sqlite_run(struct store_connection *connection, const char *sql,
           const struct store_value *values, size_t n, store_row_fn row, void *arg,
           int64_t *ret_rows)
{
    /* A full disk may have undone the transaction by itself: the next statement would
     * then commit alone. */
    if (connection->is_begun && sqlite3_get_autocommit(connection->db))
        return ca_fail(CA_UNAVAILABLE, "store: the transaction was undone");
    struct statement temporary = { 0 }, *statement = NULL;
    enum ca_status status = statement_take(connection, sql, &temporary, &statement);
    if (status != CA_OK)
        return status;
    status = values_bind(connection, statement, values, n);
    if (status == CA_OK)
        status = rows_step(connection, statement->handle, row, arg, ret_rows);
    statement_return(statement);
    return status;
}

static enum ca_status
run_plain(struct store_connection *connection, const char *sql)
{
    return sqlite_run(connection, sql, STORE_NO_VALUES, NULL, NULL, NULL);
}

static enum ca_status
sqlite_begin(struct store_connection *connection, bool writer)
{
    enum ca_status status = run_plain(connection, writer ? "BEGIN IMMEDIATE" : "BEGIN");
    connection->is_begun = status == CA_OK;
    return status;
}

static enum ca_status
sqlite_commit(struct store_connection *connection)
{
    enum ca_status status = run_plain(connection, "COMMIT");
    if (status == CA_OK)
        connection->is_begun = false;
    return status;
}

static enum ca_status
sqlite_rollback(struct store_connection *connection)
{
    connection->is_begun = false;
    if (sqlite3_get_autocommit(connection->db))
        return CA_OK;
    return run_plain(connection, "ROLLBACK");
}

static int
wal_grew(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct store_connection *connection = arg;
    (void)db;
    (void)name;
    if (pages < connection->wal_pages)
        connection->checkpoint_at = CHECKPOINT_PAGES; /* it began anew */
    connection->wal_pages = pages;
    return SQLITE_OK;
}

/* Only the writer can catch up with itself, so checkpoints are its work; PASSIVE never
 * waits. Readers that follow each other without a gap would keep the WAL growing: past
 * the hard limit they are waited for. A failure is the next commit's to report. */
static void
sqlite_tend(struct store_connection *connection)
{
    if (connection->wal_pages < connection->checkpoint_at)
        return;
    bool is_hard = connection->wal_pages >= CHECKPOINT_HARD;
    if (is_hard)
        sqlite3_busy_timeout(connection->db, CHECKPOINT_HARD_MS);
    sqlite3_wal_checkpoint_v2(
        connection->db, NULL,
        is_hard ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (is_hard)
        sqlite3_busy_timeout(connection->db, BUSY_MS);
    connection->checkpoint_at = connection->wal_pages + CHECKPOINT_PAGES;
}

static bool
sqlite_should_repeat(struct store_connection *connection)
{
    (void)connection; /* BEGIN IMMEDIATE: nobody else's write comes in between */
    return false;
}

static void
sqlite_close(struct store_connection *connection)
{
    if (!connection)
        return;
    for (size_t i = 0; i < STATEMENTS_MAX; i++)
        sqlite3_finalize(connection->statements[i].handle);
    sqlite3_close(connection->db);
    free(connection);
}

/* What others could write they may have written: that is not mended but told. */
static enum ca_status
files_check(const char *path)
{
    static const char *const ends[] = { "", "-wal", "-shm" };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        CA_AUTO(free) char *file = NULL;
        if (asprintf(&file, "%s%s", path, ends[i]) < 0)
            return ca_fail(CA_INTERNAL, "no memory for a path");
        enum ca_status status = owned_check_path(file);
        if (status != CA_OK && status != CA_NOT_FOUND)
            return status;
    }
    return CA_OK;
}

/* The file is there and its owner's alone; WAL and index inherit its mode. By path, not
 * by descriptor: closing one would drop the locks that this process holds on it. */
static enum ca_status
file_make(const char *path)
{
    int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0600);
    if (file >= 0) {
        close(file);
        return CA_OK;
    }
    struct stat found;
    if (errno != EEXIST || stat(path, &found) != 0)
        return ca_fail(CA_UNAVAILABLE, "store %s: %s", path, strerror(errno));
    if (!S_ISREG(found.st_mode))
        return ca_fail(CA_UNAVAILABLE, "store %s: not a file", path);
    enum ca_status status = files_check(path);
    if (status != CA_OK)
        return status;
    if ((found.st_mode & 0177) != 0 && chmod(path, 0600) != 0)
        return ca_fail(CA_UNAVAILABLE, "store %s is open to others: %s", path,
                       strerror(errno));
    return CA_OK;
}

static const char *
row_text(const struct store_row *row, int column)
{
    sqlite3_stmt *handle = ((const struct sqlite_row *)row)->handle;
    return (const char *)sqlite3_column_text(handle, column);
}

static int64_t
row_integer(const struct store_row *row, int column)
{
    return sqlite3_column_int64(((const struct sqlite_row *)row)->handle, column);
}

static const void *
row_blob(const struct store_row *row, int column, size_t *ret_size)
{
    sqlite3_stmt *handle = ((const struct sqlite_row *)row)->handle;
    const void *data = sqlite3_column_blob(handle, column);
    *ret_size = (size_t)sqlite3_column_bytes(handle, column);
    bool is_empty = !data && sqlite3_column_type(handle, column) != SQLITE_NULL;
    return is_empty ? "" : data;
}

/* WAL and the writer's page cache (1 MiB, and 16 for one large transaction); readers
 * have 256 KiB each, so that all connections together stay small beside the inventory.
 * The WAL file is cut back to 8 MiB when a burst is over. */
static const char settings_writer[] = "PRAGMA synchronous = FULL;"
                                      "PRAGMA foreign_keys = ON;"
                                      "PRAGMA cache_size = -1024;"
                                      "PRAGMA cache_spill = 4096;"
                                      "PRAGMA journal_size_limit = 8388608";
static const char settings_reader[] = "PRAGMA query_only = ON;"
                                      "PRAGMA cache_size = -256";

static enum ca_status
mode_read(const struct store_row *row, void *arg)
{
    const char *mode = row_text(row, 0);
    *(bool *)arg = mode && strcmp(mode, "wal") == 0;
    return CA_OK;
}

static enum ca_status
wal_start(struct store_connection *connection, const char *path)
{
    bool is_wal = false;
    enum ca_status status = sqlite_run(connection, "PRAGMA journal_mode = WAL",
                                       STORE_NO_VALUES, mode_read, &is_wal, NULL);
    if (status != CA_OK)
        return status;
    if (!is_wal)
        return ca_fail(CA_UNAVAILABLE, "store %s: its file system carries no WAL",
                       path);
    connection->checkpoint_at = CHECKPOINT_PAGES;
    sqlite3_wal_hook(connection->db, wal_grew, connection);
    return CA_OK;
}

static enum ca_status
connection_prepare(struct store_connection *connection, const char *path)
{
    sqlite3 *db = connection->db;
    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, BUSY_MS);
    /* A double-quoted word is a name, as the standard and PostgreSQL have it. */
    sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
    const char *settings = connection->is_writer ? settings_writer : settings_reader;
    int code = sqlite3_exec(db, settings, NULL, NULL, NULL);
    if (code != SQLITE_OK)
        return sqlite_fail(connection, code, path);
    return connection->is_writer ? wal_start(connection, path) : CA_OK;
}

CA_AUTO_RELEASE(struct store_connection, sqlite_close)

/* For the process, before SQLite's first use. What a group's savepoints keep of changed
 * pages stays in memory instead of a file each time (a limit would be allocated at
 * once); nobody asks for the statistics of allocations, which take one lock for all
 * threads; and no cache starts with twenty pages, for each temporary table of a
 * statement (ORDER BY, RETURNING) has a cache of its own. */
static void
sqlite_configure(void)
{
    sqlite3_config(SQLITE_CONFIG_STMTJRNL_SPILL, -1);
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, 0);
}

static pthread_once_t configured = PTHREAD_ONCE_INIT;

static enum ca_status
sqlite_open(const char *path, bool writer, struct store_connection **ret_connection)
{
    if (path[0] == '\0' || path[0] == ':')
        return ca_fail(CA_UNSUPPORTED, "store '%s' is not the path of a file", path);
    pthread_once(&configured, sqlite_configure);
    enum ca_status status = writer ? file_make(path) : CA_OK;
    if (status != CA_OK)
        return status;
    CA_AUTO(sqlite_close)
    struct store_connection *connection = calloc(1, sizeof *connection);
    if (!connection)
        return ca_fail(CA_INTERNAL, "no memory for a store connection");
    connection->is_writer = writer;
    int code = sqlite3_open_v2(path, &connection->db,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                               writer ? store_sqlite_wal() : NULL);
    if (code != SQLITE_OK)
        return sqlite_fail(connection, code, path);
    status = connection_prepare(connection, path);
    if (status != CA_OK)
        return status;
    *ret_connection = CA_STEAL(connection);
    return CA_OK;
}

const struct store_driver store_sqlite = {
    .name = "sqlite",
    .write_connections = 1,
    .open = sqlite_open,
    .close = sqlite_close,
    .run = sqlite_run,
    .begin = sqlite_begin,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .row_text = row_text,
    .row_integer = row_integer,
    .row_blob = row_blob,
    .should_repeat = sqlite_should_repeat,
    .tend = sqlite_tend,
};
