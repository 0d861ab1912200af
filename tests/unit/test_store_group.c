/* Groups of writes: what shares a commit, what is undone, what outlives a kill. */
#include "leak.h"
#include "scratch_table.h"
#include "store_group.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/wait.h>

TestSuite(store_group, .init = table_make, .fini = scratch_store_close);

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

static enum ca_status
refuse_closure(struct store_tx *tx, void *arg)
{
    enum ca_status status = row_insert(tx, *(int64_t *)arg);
    return status == CA_OK ? ca_fail(CA_FORBIDDEN, "row %lld is not wanted",
                                     (long long)*(int64_t *)arg)
                           : status;
}

Test(store_group, waiting_writes_share_one_commit_and_a_failing_one_is_undone_alone)
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

Test(store_group, announced_write_that_never_comes_holds_nobody_up)
{
    struct caller caller = { .fn = insert_closure, .a = 1 };
    for (int i = 0; i < 3; i++)
        store_expect(scratch_store);
    callers_start(&caller, 1);
    callers_join(&caller, 1);
    cr_expect_eq(caller.status, CA_OK, "%s", caller.message);
    for (int i = 0; i < 3; i++)
        store_expect_end(scratch_store);
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM t"), 1);
    LEAK_CHECK();
}

Test(store_group, of_two_in_one_group_the_second_sees_the_first)
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

Test(store_group, full_queue_refuses_at_once)
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

Test(store_group, close_finishes_what_is_queued)
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

Test(store_group, parallel_writers_and_snapshots_of_whole_pairs)
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

Test(store_group, snapshot_stays_while_others_commit)
{
    bool is_same = false;
    cr_assert_eq(store_read(scratch_store, snapshot_closure, &is_same), CA_OK);
    cr_assert(is_same);
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM t"), 1);
}

Test(store_group, I2_full_disk_fails_the_whole_group_and_the_probe_until_there_is_room)
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

Test(store_group,
     I1_kill_between_write_and_commit_leaves_the_answered_and_no_half_group)
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

/* As a power cut would leave them: what lies in the files, without this process. */
static int64_t
rows_in_a_copy(void)
{
    static const char *const ends[] = { "", "-wal" };
    char command[400], path[128];
    snprintf(path, sizeof path, "%s-copy", scratch_path);
    for (size_t i = 0; i < 2; i++) {
        snprintf(command, sizeof command, "cp %s%s %s%s", scratch_path, ends[i], path,
                 ends[i]);
        cr_assert_eq(system(command), 0);
    }
    struct store *own = scratch_store;
    cr_assert_eq(store_open(path, &scratch_store), CA_OK, "%s", status_message());
    int64_t rows = scratch_integer("SELECT COUNT(*) FROM t");
    store_close(scratch_store);
    scratch_store = own;
    snprintf(command, sizeof command, "rm %s*", path);
    cr_assert_eq(system(command), 0);
    return rows;
}

static enum ca_status
large_closure(struct store_tx *tx, void *arg)
{
    static const char filler[200000] = { 0 };
    return store_run(
        tx, "INSERT INTO t (a, c) VALUES ($1, $2)",
        STORE_VALUES(store_integer(*(int64_t *)arg), store_blob(filler, sizeof filler)),
        NULL, NULL, NULL);
}

/* Twice what the cache of the writer holds: pages go to the WAL, and are
 * read from there, before the commit. */
static enum ca_status
many_closure(struct store_tx *tx, void *arg)
{
    enum ca_status status = CA_OK;
    for (int64_t i = 0; status == CA_OK && i < 40; i++) {
        int64_t a = *(int64_t *)arg + i;
        status = large_closure(tx, &a);
    }
    return status == CA_OK ? store_run(tx, "UPDATE t SET b = 'x' WHERE c IS NOT NULL",
                                       STORE_NO_VALUES, NULL, NULL, NULL)
                           : status;
}

Test(store_group, I1_what_is_committed_lies_in_the_files_at_once)
{
    int64_t a = 100;
    cr_assert_eq(insert(1), CA_OK);
    cr_expect_eq(rows_in_a_copy(), 1);
    cr_assert_eq(store_write(scratch_store, large_closure, &a), CA_OK);
    cr_expect_eq(rows_in_a_copy(), 2);
    a = 200;
    cr_assert_eq(store_write(scratch_store, many_closure, &a), CA_OK, "%s",
                 status_message());
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM t WHERE b = 'x'"), 41);
    cr_expect_eq(rows_in_a_copy(), 42);
    cr_assert_eq(insert(2), CA_OK);
    cr_expect_eq(rows_in_a_copy(), 43);
    LEAK_CHECK();
}
