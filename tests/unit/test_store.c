/* The store: what a commit promises, alone and in groups. */
#include "leak.h"
#include "schema.h"
#include "scratch_store.h"
#include "store_group.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void
table_make(void)
{
    scratch_store_open();
    cr_assert_eq(scratch_run("CREATE TABLE t (a BIGINT NOT NULL PRIMARY KEY, b TEXT,"
                             " c BYTEA)"),
                 CA_OK, "%s", status_message());
}

TestSuite(store, .init = table_make, .fini = scratch_store_close);

static enum ca_status
row_insert(struct store_tx *tx, int64_t a)
{
    return store_run(tx, "INSERT INTO t (a) VALUES ($1)",
                     STORE_VALUES(store_integer(a)), NULL, NULL, NULL);
}

static enum ca_status
insert_closure(struct store_tx *tx, void *arg)
{
    return row_insert(tx, *(int64_t *)arg);
}

static enum ca_status
insert(int64_t a)
{
    return store_write(scratch_store, insert_closure, &a);
}

static void
wait_for_waiting(int64_t count)
{
    struct store_figures figures = { 0 };
    for (int i = 0; i < 10000 && figures.waiting != count; i++) {
        usleep(1000);
        store_figures(scratch_store, &figures);
    }
    cr_assert_eq(figures.waiting, count, "%lld wait", (long long)figures.waiting);
}

/* A closure that holds the writer until it is let go. */
struct gate {
    sem_t entered, leave;
    pthread_t thread;
    enum ca_status status;
};

static enum ca_status
gate_closure(struct store_tx *tx, void *arg)
{
    (void)tx;
    struct gate *gate = arg;
    sem_post(&gate->entered);
    sem_wait(&gate->leave);
    return CA_OK;
}

static void *
gate_main(void *arg)
{
    struct gate *gate = arg;
    gate->status = store_write(scratch_store, gate_closure, gate);
    return NULL;
}

static void
gate_close(struct gate *gate)
{
    sem_init(&gate->entered, 0, 0);
    sem_init(&gate->leave, 0, 0);
    cr_assert_eq(pthread_create(&gate->thread, NULL, gate_main, gate), 0);
    sem_wait(&gate->entered);
}

static void
gate_open(struct gate *gate)
{
    sem_post(&gate->leave);
    pthread_join(gate->thread, NULL);
    cr_assert_eq(gate->status, CA_OK);
    sem_destroy(&gate->entered);
    sem_destroy(&gate->leave);
}

/* A caller in a thread of its own. */
struct caller {
    pthread_t thread;
    store_fn fn;
    int64_t a;
    enum ca_status status;
    char message[512];
};

static enum ca_status
caller_closure(struct store_tx *tx, void *arg)
{
    struct caller *caller = arg;
    return caller->fn(tx, &caller->a);
}

static void *
caller_main(void *arg)
{
    struct caller *caller = arg;
    status_forget();
    caller->status = store_write(scratch_store, caller_closure, caller);
    snprintf(caller->message, sizeof caller->message, "%s", status_message());
    return NULL;
}

static void
callers_start(struct caller *callers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(pthread_create(&callers[i].thread, NULL, caller_main, &callers[i]),
                     0);
}

static void
callers_join(struct caller *callers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        pthread_join(callers[i].thread, NULL);
}

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
    cr_assert_eq(chmod(scratch_path, 0664), 0);
    cr_assert_eq(store_open(scratch_path, &scratch_store), CA_OK);
    struct stat found;
    cr_assert_eq(stat(scratch_path, &found), 0);
    cr_assert_eq(found.st_mode & 07777, 0600);
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
refuse_closure(struct store_tx *tx, void *arg)
{
    enum ca_status status = row_insert(tx, *(int64_t *)arg);
    return status == CA_OK ? ca_fail(CA_FORBIDDEN, "row %lld is not wanted",
                                     (long long)*(int64_t *)arg)
                           : status;
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

Test(store, waiting_writes_share_one_commit_and_a_failing_one_is_undone_alone)
{
    enum { COUNT = 20, BAD = 7 };
    struct caller callers[COUNT];
    struct store_figures before, after;
    for (int i = 0; i < COUNT; i++)
        callers[i] = (struct caller){ .fn = i == BAD ? refuse_closure : insert_closure,
                                      .a = 100 + i };
    struct gate gate;
    gate_close(&gate);
    store_figures(scratch_store, &before);
    callers_start(callers, COUNT);
    wait_for_waiting(COUNT);
    gate_open(&gate);
    callers_join(callers, COUNT);
    store_figures(scratch_store, &after);
    cr_expect_eq(after.commits - before.commits, 2, "the gate's and the group's");
    cr_expect_eq(after.writes - before.writes, COUNT, "the gate and all but one");
    cr_expect_eq(after.failures - before.failures, 1);
    cr_expect_eq(after.waiting, 0);
    for (int i = 0; i < COUNT; i++) {
        cr_expect_eq(callers[i].status, i == BAD ? CA_FORBIDDEN : CA_OK, "%d: %s", i,
                     callers[i].message);
        cr_expect_str_eq(callers[i].message, i == BAD ? "row 107 is not wanted" : "");
    }
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM t"), COUNT - 1);
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM t WHERE a = 107"), 0);
    LEAK_CHECK();
}

Test(store, of_two_in_one_group_the_second_sees_the_first)
{
    enum { COUNT = 6 };
    struct caller callers[COUNT];
    struct gate gate;
    gate_close(&gate);
    for (int i = 0; i < COUNT; i++)
        callers[i] = (struct caller){ .fn = insert_closure, .a = 1 };
    callers_start(callers, COUNT);
    wait_for_waiting(COUNT);
    gate_open(&gate);
    callers_join(callers, COUNT);
    int passed = 0;
    for (int i = 0; i < COUNT; i++) {
        cr_expect(callers[i].status == CA_OK || callers[i].status == CA_CONFLICT);
        passed += callers[i].status == CA_OK;
    }
    cr_assert_eq(passed, 1);
}

Test(store, full_queue_refuses_at_once)
{
    static struct caller callers[STORE_QUEUE_MAX];
    struct gate gate;
    gate_close(&gate);
    for (int i = 0; i < STORE_QUEUE_MAX; i++)
        callers[i] = (struct caller){ .fn = insert_closure, .a = i };
    callers_start(callers, STORE_QUEUE_MAX);
    wait_for_waiting(STORE_QUEUE_MAX);
    cr_assert_eq(insert(10000), CA_UNAVAILABLE);
    cr_assert_not_null(strstr(status_message(), "wait"));
    gate_open(&gate);
    callers_join(callers, STORE_QUEUE_MAX);
    for (int i = 0; i < STORE_QUEUE_MAX; i++)
        cr_expect_eq(callers[i].status, CA_OK);
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM t"), STORE_QUEUE_MAX);
    cr_assert_eq(insert(10000), CA_OK);
}

Test(store, close_finishes_what_is_queued)
{
    enum { COUNT = 10 };
    struct caller callers[COUNT];
    struct gate gate;
    gate_close(&gate);
    for (int i = 0; i < COUNT; i++)
        callers[i] = (struct caller){ .fn = insert_closure, .a = i };
    callers_start(callers, COUNT);
    wait_for_waiting(COUNT);
    gate_open(&gate);
    callers_join(callers, COUNT);
    store_close(scratch_store);
    cr_assert_eq(store_open(scratch_path, &scratch_store), CA_OK);
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM t"), COUNT);
}

/* Pairs are always written together; readers must never see half of one. */
struct traffic {
    pthread_t thread;
    int first, count, halves;
    bool is_reader;
};

static enum ca_status
pair_closure(struct store_tx *tx, void *arg)
{
    int64_t a = *(int64_t *)arg;
    enum ca_status status = row_insert(tx, a);
    return status == CA_OK ? row_insert(tx, -a) : status;
}

static enum ca_status
balance_row(const struct store_row *row, void *arg)
{
    *(int64_t *)arg += store_row_integer(row, 0);
    return CA_OK;
}

/* Two statements of one snapshot: what the first leaves out the second must as well. */
static enum ca_status
balance_closure(struct store_tx *tx, void *arg)
{
    *(int64_t *)arg = 0;
    enum ca_status status = store_run(tx, "SELECT COUNT(*) FROM t WHERE a > 0",
                                      STORE_NO_VALUES, balance_row, arg, NULL);
    sched_yield();
    if (status == CA_OK)
        status = store_run(tx, "SELECT -COUNT(*) FROM t WHERE a < 0", STORE_NO_VALUES,
                           balance_row, arg, NULL);
    return status;
}

static void *
traffic_main(void *arg)
{
    struct traffic *traffic = arg;
    for (int i = 0; i < traffic->count; i++) {
        int64_t number = traffic->first + i;
        enum ca_status status =
            traffic->is_reader ? store_read(scratch_store, balance_closure, &number)
                               : store_write(scratch_store, pair_closure, &number);
        traffic->halves += status != CA_OK || (traffic->is_reader && number != 0);
    }
    return NULL;
}

Test(store, parallel_writers_and_snapshots_of_whole_pairs)
{
    enum { THREADS = 20, COUNT = 100 };
    struct traffic traffic[THREADS];
    struct store_figures before, after;
    store_figures(scratch_store, &before);
    for (int i = 0; i < THREADS; i++) {
        traffic[i] = (struct traffic){ .first = 1 + i * COUNT,
                                       .count = COUNT,
                                       .is_reader = i % 2 };
        cr_assert_eq(
            pthread_create(&traffic[i].thread, NULL, traffic_main, &traffic[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(traffic[i].thread, NULL);
        cr_expect_eq(traffic[i].halves, 0, "thread %d", i);
    }
    store_figures(scratch_store, &after);
    cr_expect_eq(after.writes - before.writes, THREADS / 2 * COUNT);
    cr_expect_lt(after.commits - before.commits, after.writes - before.writes);
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM t"), THREADS * COUNT);
    LEAK_CHECK();
}

static enum ca_status
snapshot_closure(struct store_tx *tx, void *arg)
{
    int64_t first = 0, second = 0;
    pthread_t thread;
    struct caller caller = { .fn = insert_closure, .a = 9 };
    enum ca_status status = store_run(tx, "SELECT COUNT(*) FROM t", STORE_NO_VALUES,
                                      scratch_integer_row, &first, NULL);
    pthread_create(&thread, NULL, caller_main, &caller);
    pthread_join(thread, NULL);
    cr_assert_eq(caller.status, CA_OK, "a reader does not hold up a writer");
    if (status == CA_OK)
        status = store_run(tx, "SELECT COUNT(*) FROM t", STORE_NO_VALUES,
                           scratch_integer_row, &second, NULL);
    *(bool *)arg = first == second;
    return status;
}

Test(store, snapshot_stays_while_others_commit)
{
    bool is_same = false;
    cr_assert_eq(store_read(scratch_store, snapshot_closure, &is_same), CA_OK);
    cr_assert(is_same);
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM t"), 1);
}

/* No file of this process grows beyond `size` octets: the disk is full. */
static void
disk_limit(rlim_t size)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static rlim_t
wal_size(void)
{
    char path[128];
    struct stat found;
    snprintf(path, sizeof path, "%s-wal", scratch_path);
    cr_assert_eq(stat(path, &found), 0);
    return (rlim_t)found.st_size;
}

Test(store, I2_full_disk_fails_the_whole_group_and_the_probe_until_there_is_room)
{
    enum { COUNT = 5 };
    struct caller callers[COUNT];
    struct gate gate;
    gate_close(&gate);
    for (int i = 0; i < COUNT; i++)
        callers[i] =
            (struct caller){ .fn = i == 2 ? refuse_closure : insert_closure, .a = i };
    callers_start(callers, COUNT);
    wait_for_waiting(COUNT);
    disk_limit(wal_size());
    gate_open(&gate);
    callers_join(callers, COUNT);
    for (int i = 0; i < COUNT; i++) {
        cr_expect_eq(callers[i].status, CA_UNAVAILABLE, "%d: %s", i,
                     callers[i].message);
        cr_expect_neq(callers[i].message[0], '\0');
    }
    cr_expect_eq(store_probe(scratch_store), CA_UNAVAILABLE);
    cr_expect_neq(status_message()[0], '\0');
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM t"), 0, "reading goes on");
    disk_limit(RLIM_INFINITY);
    cr_expect_eq(store_probe(scratch_store), CA_OK, "%s", status_message());
    cr_expect_eq(insert(50), CA_OK, "%s", status_message());
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM t"), 1);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM store_probe"), 0);
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

static enum ca_status
die_closure(struct store_tx *tx, void *arg)
{
    enum ca_status status = row_insert(tx, *(int64_t *)arg);
    kill(getpid(), SIGKILL);
    return status;
}

/* The child's life: rows 1 to 3 answered, then a group of which one is killed between
 * its write and the commit. */
static _Noreturn void
child_run(int answers)
{
    enum { COUNT = 4 };
    struct caller callers[COUNT];
    if (store_open(scratch_path, &scratch_store) != CA_OK)
        _exit(1);
    for (int64_t a = 1; a <= 3; a++) {
        if (insert(a) != CA_OK || write(answers, &a, sizeof a) != sizeof a)
            _exit(1);
    }
    struct gate gate;
    gate_close(&gate);
    for (int i = 0; i < COUNT; i++)
        callers[i] =
            (struct caller){ .fn = i == COUNT - 1 ? die_closure : insert_closure,
                             .a = 10 + i };
    callers_start(callers, COUNT);
    wait_for_waiting(COUNT);
    gate_open(&gate);
    callers_join(callers, COUNT);
    _exit(2);
}

Test(store, I1_kill_between_write_and_commit_leaves_the_answered_and_no_half_group)
{
    int answers[2], status = 0;
    store_close(scratch_store);
    scratch_store = NULL;
    cr_assert_eq(pipe(answers), 0);
    pid_t child = fork();
    if (child == 0)
        child_run(answers[1]);
    close(answers[1]);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %x", status);
    int64_t answered[4];
    cr_assert_eq(read(answers[0], answered, sizeof answered), 3 * sizeof answered[0]);
    close(answers[0]);
    cr_assert_eq(store_open(scratch_path, &scratch_store), CA_OK, "%s",
                 status_message());
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM t WHERE a <= 3"), 3);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM t WHERE a >= 10"), 0);
    cr_expect_eq(insert(10), CA_OK, "%s", status_message());
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
