/* The store: opening, statements, values, closures and a disk that fills. */
#include "leak.h"
#include "schema.h"
#include "scratch_table.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(store, .init = table_make, .fini = scratch_store_close);

Test(store, file_is_its_owners_alone)
{
    static const char *const ends[] = { "", "-wal", "-shm" };
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        char path[128];
        struct stat found;
        snprintf(path, sizeof path, "%s%s", scratch_path, ends[i]);
        cr_assert_eq(stat(path, &found), 0, "%s", path);
        cr_expect_eq(found.st_mode & 07777, 0600, "%s", path);
    }
    LEAK_CHECK();
}

Test(store, file_of_others_is_closed_to_them_at_start)
{
    store_close(scratch_store);
    cr_assert_eq(chmod(scratch_path, 0644), 0);
    cr_assert_eq(store_open(scratch_path, &scratch_store), CA_OK);
    struct stat found;
    cr_assert_eq(stat(scratch_path, &found), 0);
    cr_assert_eq(found.st_mode & 07777, 0600);
}

Test(store, files_that_others_could_write_stop_the_start)
{
    static const struct {
        const char *end;
        mode_t mode;
        const char *who;
    } cases[] = { { "", 0660, "its group" },     { "", 0606, "others" },
                  { "-wal", 0620, "its group" }, { "-wal", 0602, "others" },
                  { "-shm", 0660, "its group" }, { "-shm", 0666, "others" } };
    store_close(scratch_store);
    scratch_store = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[128];
        struct stat found;
        struct store *store = NULL;
        snprintf(path, sizeof path, "%s%s", scratch_path, cases[i].end);
        int file = open(path, O_RDWR | O_CREAT, 0600);
        cr_assert(file >= 0);
        close(file);
        cr_assert_eq(chmod(path, cases[i].mode), 0);
        cr_expect_eq(store_open(scratch_path, &store), CA_FORBIDDEN, "%zu", i);
        cr_expect(strstr(status_message(), path) &&
                      strstr(status_message(), cases[i].who),
                  "%s", status_message());
        store_close(store);
        cr_assert_eq(stat(path, &found), 0);
        cr_expect_eq(found.st_mode & 07777, cases[i].mode, "it is evidence: untouched");
        if (*cases[i].end)
            unlink(path);
        else
            chmod(path, 0600);
    }
    if (geteuid() == 0) { /* only root can give a file away */
        cr_assert_eq(chown(scratch_path, 12345, -1), 0);
        cr_expect_eq(store_open(scratch_path, &scratch_store), CA_FORBIDDEN);
        cr_expect(strstr(status_message(), "user 12345"), "%s", status_message());
        cr_assert_eq(chown(scratch_path, 0, -1), 0);
    }
    cr_expect_eq(store_open(scratch_path, &scratch_store), CA_OK);
    LEAK_CHECK();
}

static enum ca_status
settings_closure(struct store_tx *tx, void *arg)
{
    static const struct {
        const char *sql;
        int64_t value;
    } cases[] = { { "PRAGMA synchronous", 2 }, { "PRAGMA foreign_keys", 1 } };
    (void)arg;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t value = -1;
        cr_expect_eq(store_run(tx, cases[i].sql, STORE_NO_VALUES, scratch_integer_row,
                               &value, NULL),
                     CA_OK);
        cr_expect_eq(value, cases[i].value, "%s", cases[i].sql);
    }
    return CA_OK;
}

Test(store, I1_writer_syncs_every_commit)
{
    cr_assert_eq(store_write(scratch_store, settings_closure, NULL), CA_OK, "%s",
                 status_message());
}

Test(store, url_names_a_driver_that_there_is)
{
    static const struct {
        const char *url;
        enum ca_status status;
    } cases[] = {
        { "oracle:host/name", CA_UNSUPPORTED },
        { "", CA_UNSUPPORTED },
        { "sqlite:", CA_UNSUPPORTED },
        { "sqlite::memory:", CA_UNSUPPORTED },
        { ":memory:", CA_UNSUPPORTED },
        { "/nonexistent/store", CA_UNAVAILABLE },
        { "/tmp", CA_UNAVAILABLE },
        { "sqlite:/dev/null", CA_UNAVAILABLE },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct store *store = NULL;
        cr_expect_eq(store_open(cases[i].url, &store), cases[i].status, "%s",
                     cases[i].url);
        cr_expect_null(store);
        cr_expect_neq(status_message()[0], '\0');
    }
    char url[128];
    snprintf(url, sizeof url, "sqlite:%s", scratch_path);
    struct store *second = NULL;
    cr_assert_eq(insert(1), CA_OK);
    cr_assert_eq(store_open(url, &second), CA_OK, "%s", status_message());
    store_close(second);
    store_close(NULL);
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM t"), 1);
    LEAK_CHECK();
}

Test(store, file_that_is_no_store_is_refused_and_kept)
{
    char path[128], line[64] = { 0 };
    snprintf(path, sizeof path, "%s/other", scratch_folder);
    FILE *stream = fopen(path, "w");
    for (int i = 0; i < 100; i++)
        fputs("this is somebody's letter, not a database\n", stream);
    fclose(stream);
    struct store *store = NULL;
    cr_assert_eq(store_open(path, &store), CA_UNAVAILABLE);
    stream = fopen(path, "r");
    cr_assert_not_null(fgets(line, sizeof line, stream));
    fclose(stream);
    cr_assert_str_eq(line, "this is somebody's letter, not a database\n");
    unlink(path);
    LEAK_CHECK();
}

Test(store, newer_schema_is_refused)
{
    int64_t newest = schema_steps[schema_step_count - 1].version;
    cr_assert_eq(scratch_integer("SELECT version FROM store_schema"), newest);
    cr_assert_eq(scratch_run("UPDATE store_schema SET version = version + 1"), CA_OK);
    struct store *store = NULL;
    cr_assert_eq(store_open(scratch_path, &store), CA_UNSUPPORTED);
    cr_assert_not_null(strstr(status_message(), "newer"), "%s", status_message());
    cr_assert_null(store);
    LEAK_CHECK();
}

Test(store, second_start_keeps_what_is_there)
{
    cr_assert_eq(insert(5), CA_OK);
    store_close(scratch_store);
    cr_assert_eq(store_open(scratch_path, &scratch_store), CA_OK);
    cr_assert_eq(scratch_integer("SELECT a FROM t"), 5);
}

static enum ca_status
values_closure(struct store_tx *tx, void *arg)
{
    (void)arg;
    return store_run(tx, "INSERT INTO t (c, b, a) VALUES ($3, $2, $1)",
                     STORE_VALUES(store_integer(INT64_MIN),
                                  store_text("'; DROP TABLE t; --\xc3\xa9"),
                                  store_blob("\0\1\0", 3)),
                     NULL, NULL, NULL);
}

static enum ca_status
values_row(const struct store_row *row, void *arg)
{
    size_t size = 0;
    const char *blob = store_row_blob(row, 2, &size);
    cr_assert_eq(store_row_integer(row, 0), INT64_MIN);
    cr_assert_str_eq(store_row_text(row, 1), "'; DROP TABLE t; --\xc3\xa9");
    cr_assert(size == 3 && memcmp(blob, "\0\1\0", 3) == 0);
    (*(int *)arg)++;
    return CA_OK;
}

static enum ca_status
values_read_closure(struct store_tx *tx, void *arg)
{
    return store_run(tx, "SELECT a, b, c FROM t", STORE_NO_VALUES, values_row, arg,
                     NULL);
}

Test(store, W3_values_are_bound_by_name_and_never_run)
{
    int rows = 0;
    cr_assert_eq(store_write(scratch_store, values_closure, NULL), CA_OK, "%s",
                 status_message());
    cr_assert_eq(store_read(scratch_store, values_read_closure, &rows), CA_OK);
    cr_assert_eq(rows, 1);
    LEAK_CHECK();
}

static enum ca_status
null_row(const struct store_row *row, void *arg)
{
    size_t size = 9;
    (void)arg;
    cr_assert_null(store_row_text(row, 0));
    cr_assert_null(store_row_blob(row, 1, &size));
    cr_assert_eq(size, 0);
    cr_assert_eq(store_row_integer(row, 0), 0);
    cr_assert_not_null(store_row_blob(row, 2, &size));
    cr_assert_eq(size, 0);
    return CA_OK;
}

static enum ca_status
null_closure(struct store_tx *tx, void *arg)
{
    int64_t rows = 0;
    enum ca_status status = store_run(
        tx, "SELECT $1, $2, $3",
        STORE_VALUES(store_text(NULL), store_blob(NULL, 0), store_blob("", 0)),
        null_row, arg, &rows);
    cr_assert_eq(rows, 1);
    return status;
}

Test(store, null_stays_null_and_empty_stays_empty)
{
    cr_assert_eq(store_read(scratch_store, null_closure, NULL), CA_OK, "%s",
                 status_message());
}

static enum ca_status
wrong_closure(struct store_tx *tx, void *arg)
{
    return store_run(tx, arg, STORE_VALUES(store_integer(1)), NULL, NULL, NULL);
}

Test(store, W3_statement_that_is_not_one_with_its_values_is_refused)
{
    static const char *const cases[] = {
        "SELECT 1",
        "SELECT $1, $2",
        "SELECT $2",
        "SELECT ?",
        "SELECT $01",
        "SELECT :1",
        "SELECT $1; DELETE FROM t",
        "",
        "-- nothing",
        "SELECT \"$1\"",
        "SELECT nothing FROM nowhere WHERE a = $1",
        "ATTACH $1 AS other",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *sql = strdup(cases[i]);
        cr_expect_eq(store_write(scratch_store, wrong_closure, sql), CA_INTERNAL,
                     "%s: %s", sql, status_message());
        free(sql);
    }
    cr_assert_eq(insert(1), CA_OK, "%s", status_message());
}

Test(store, reader_cannot_write)
{
    int64_t a = 1;
    cr_assert_eq(store_read(scratch_store, insert_closure, &a), CA_INTERNAL);
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM t"), 0);
}

static enum ca_status
nested_closure(struct store_tx *tx, void *arg)
{
    (void)tx;
    int64_t a = 1;
    return arg ? store_write(scratch_store, insert_closure, &a)
               : store_read(scratch_store, insert_closure, &a);
}

Test(store, closure_inside_a_closure_is_refused)
{
    cr_expect_eq(store_write(scratch_store, nested_closure, &scratch_store),
                 CA_INTERNAL);
    cr_expect_eq(store_write(scratch_store, nested_closure, NULL), CA_INTERNAL);
    cr_expect_eq(store_read(scratch_store, nested_closure, &scratch_store),
                 CA_INTERNAL);
    cr_expect_eq(store_read(scratch_store, nested_closure, NULL), CA_INTERNAL);
    cr_expect_eq(insert(1), CA_OK);
}

/* The same text again from its own row callback. */
struct walk {
    struct store_tx *tx;
    int visits, depth;
};

static enum ca_status depth_row(const struct store_row *row, void *arg);

static enum ca_status
depth_closure(struct store_tx *tx, void *arg)
{
    struct walk *walk = arg;
    walk->tx = tx;
    return store_run(tx, "SELECT a FROM t ORDER BY a", STORE_NO_VALUES, depth_row, arg,
                     NULL);
}

static enum ca_status
depth_row(const struct store_row *row, void *arg)
{
    struct walk *walk = arg;
    int64_t a = store_row_integer(row, 0);
    walk->visits++;
    if (walk->depth == 2)
        return CA_OK;
    walk->depth++;
    enum ca_status status = depth_closure(walk->tx, arg);
    walk->depth--;
    cr_assert_eq(store_row_integer(row, 0), a, "the row moved");
    return status;
}

Test(store, statement_may_run_again_inside_its_rows)
{
    for (int64_t a = 1; a <= 3; a++)
        cr_assert_eq(insert(a), CA_OK);
    struct walk walk = { 0 };
    cr_assert_eq(store_read(scratch_store, depth_closure, &walk), CA_OK);
    cr_assert_eq(walk.visits, 3 + 9 + 27);
    LEAK_CHECK();
}

static enum ca_status
many_closure(struct store_tx *tx, void *arg)
{
    (void)arg;
    for (int i = 0; i < 1000; i++) {
        char sql[64];
        snprintf(sql, sizeof sql, "SELECT %d WHERE $1 = %d", i % 300, i % 300);
        int64_t rows = 0;
        enum ca_status status =
            store_run(tx, sql, STORE_VALUES(store_integer(i % 300)), NULL, NULL, &rows);
        if (status != CA_OK)
            return status;
        cr_assert_eq(rows, 1, "%s", sql);
    }
    return CA_OK;
}

Test(store, more_statements_than_are_kept)
{
    cr_assert_eq(store_read(scratch_store, many_closure, NULL), CA_OK, "%s",
                 status_message());
    cr_assert_eq(store_write(scratch_store, many_closure, NULL), CA_OK);
    LEAK_CHECK();
}

static enum ca_status
stop_row(const struct store_row *row, void *arg)
{
    (void)row;
    (*(int *)arg)++;
    return ca_fail(CA_LIMIT, "enough");
}

static enum ca_status
stop_closure(struct store_tx *tx, void *arg)
{
    int64_t rows = 77;
    enum ca_status status =
        store_run(tx, "SELECT a FROM t", STORE_NO_VALUES, stop_row, arg, &rows);
    cr_assert_eq(status, CA_LIMIT);
    cr_assert_eq(rows, 77, "an output is written on success only");
    cr_assert_eq(row_insert(tx, 3), CA_OK,
                 "a visitor that stops is no failed statement");
    return CA_OK;
}

Test(store, row_callback_stops_the_rows)
{
    cr_assert_eq(insert(1), CA_OK);
    cr_assert_eq(insert(2), CA_OK);
    int visits = 0;
    cr_assert_eq(store_write(scratch_store, stop_closure, &visits), CA_OK);
    cr_assert_eq(visits, 1);
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM t"), 3);
}

static enum ca_status
pass_over_closure(struct store_tx *tx, void *arg)
{
    enum ca_status first = row_insert(tx, *(int64_t *)arg);
    enum ca_status conflict = row_insert(tx, *(int64_t *)arg);
    enum ca_status later = row_insert(tx, *(int64_t *)arg + 1);
    cr_expect_eq(first, CA_OK);
    cr_expect_eq(conflict, CA_CONFLICT);
    cr_expect_eq(later, CA_CONFLICT, "a failed statement fails its closure");
    return CA_OK;
}

Test(store, closure_cannot_pass_over_a_failed_statement)
{
    int64_t a = 1;
    cr_assert_eq(store_write(scratch_store, pass_over_closure, &a), CA_INTERNAL);
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM t"), 0);
}

static enum ca_status
pending_closure(struct store_tx *tx, void *arg)
{
    enum ca_status status = row_insert(tx, *(int64_t *)arg);
    return status == CA_OK ? CA_PENDING : status;
}

Test(store, pending_is_an_answer_and_kept)
{
    int64_t a = 1;
    cr_assert_eq(store_write(scratch_store, pending_closure, &a), CA_PENDING);
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM t"), 1);
}

static enum ca_status
big_closure(struct store_tx *tx, void *arg)
{
    static char filler[16 * 1024 * 1024];
    return store_run(
        tx, "INSERT INTO t (a, c) VALUES ($1, $2)",
        STORE_VALUES(store_integer(*(int64_t *)arg), store_blob(filler, sizeof filler)),
        NULL, NULL, NULL);
}

/* More than the page cache: the disk is full in the middle of a statement, and SQLite
 * may undo the transaction by itself. */
Test(store, I2_disk_that_fills_inside_a_statement_leaves_nothing)
{
    int64_t a = 1;
    cr_assert_eq(insert(7), CA_OK);
    disk_limit(wal_size() + 64 * 1024);
    cr_expect_eq(store_write(scratch_store, big_closure, &a), CA_UNAVAILABLE);
    disk_limit(RLIM_INFINITY);
    cr_expect_eq(insert(8), CA_OK, "%s", status_message());
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM t"), 2);
    cr_expect_eq(store_write(scratch_store, big_closure, &a), CA_OK);
    store_close(scratch_store);
    cr_assert_eq(store_open(scratch_path, &scratch_store), CA_OK);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM t"), 3);
}

Test(store, wal_is_copied_back_while_it_is_written)
{
    char sql[128];
    for (int i = 0; i < 120; i++) {
        snprintf(sql, sizeof sql, "INSERT INTO t (a, c) VALUES (%d, zeroblob(262144))",
                 i);
        cr_assert_eq(scratch_run(sql), CA_OK, "%s", status_message());
    }
    cr_assert_lt(wal_size(), 16 * 1024 * 1024, "30 MiB were written");
}

Test(store, probe_leaves_nothing_behind)
{
    cr_assert_eq(store_probe(scratch_store), CA_OK, "%s", status_message());
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM store_probe"), 0);
    LEAK_CHECK();
}

Test(store, schema_speaks_the_common_dialect)
{
    static const char *const foreign[] = {
        "AUTOINCREMENT", "INTEGER", "BLOB", "WITHOUT ROWID", "STRICT", "VARCHAR", "\""
    };
    for (size_t i = 0; i < schema_step_count; i++) {
        for (const char *const *sql = schema_steps[i].statements; *sql; sql++) {
            for (size_t j = 0; j < sizeof foreign / sizeof foreign[0]; j++)
                cr_expect_null(strstr(*sql, foreign[j]), "%s: %s", foreign[j], *sql);
        }
        cr_expect_eq(schema_steps[i].version, (int)i + 1);
    }
}
