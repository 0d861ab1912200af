/* Threads on one store, as a plain program because ThreadSanitizer does not work inside
 * Criterion: `stress_store [WRITERS READERS WRITES]`. Each write is a balanced pair
 * with its audit entry; readers look for halves. Says how many writes shared a commit.
 */
#include "audit.h"
#include "auto.h"
#include "clock.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS_MAX 128

struct worker {
    pthread_t thread;
    struct store *store;
    int first, count;
    int wrong;
};

static atomic_bool is_over;

static enum ca_status
table_closure(struct store_tx *tx, void *arg)
{
    (void)arg;
    return store_run(tx, "CREATE TABLE pair (a BIGINT NOT NULL PRIMARY KEY)",
                     STORE_NO_VALUES, NULL, NULL, NULL);
}

static enum ca_status
pair_closure(struct store_tx *tx, void *arg)
{
    int64_t a = *(const int64_t *)arg;
    static const char sql[] = "INSERT INTO pair (a) VALUES ($1)";
    const struct audit_entry entry = { .action = "pair", .actor = "system" };
    enum ca_status status =
        store_run(tx, sql, STORE_VALUES(store_integer(a)), NULL, NULL, NULL);
    if (status == CA_OK)
        status = store_run(tx, sql, STORE_VALUES(store_integer(-a)), NULL, NULL, NULL);
    if (status == CA_OK)
        status = audit_append(tx, &entry);
    if (status == CA_OK && a % 10 == 0)
        return ca_fail(CA_FORBIDDEN, "pair %lld", (long long)a);
    return status;
}

static enum ca_status
sum_row(const struct store_row *row, void *arg)
{
    *(int64_t *)arg += store_row_integer(row, 0);
    return CA_OK;
}

/* 0 in every snapshot: pairs are whole and each has its entry. */
static enum ca_status
balance_closure(struct store_tx *tx, void *arg)
{
    static const char *const parts[] = { "SELECT COUNT(*) FROM pair WHERE a > 0",
                                         "SELECT COUNT(*) FROM pair WHERE a < 0",
                                         "SELECT -2 * COUNT(*) FROM audit_entry" };
    int64_t sum = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        enum ca_status status =
            store_run(tx, parts[i], STORE_NO_VALUES, sum_row, &sum, NULL);
        if (status != CA_OK)
            return status;
    }
    *(int64_t *)arg = sum;
    return CA_OK;
}

static void *
writer_main(void *arg)
{
    struct worker *worker = arg;
    for (int i = 0; i < worker->count; i++) {
        int64_t a = worker->first + i;
        char expected[64] = "";
        if (a % 10 == 0)
            snprintf(expected, sizeof expected, "pair %lld", (long long)a);
        status_forget();
        enum ca_status status = store_write(worker->store, pair_closure, &a);
        worker->wrong += status != (a % 10 == 0 ? CA_FORBIDDEN : CA_OK);
        worker->wrong += strcmp(status_message(), expected) != 0;
    }
    return NULL;
}

static void *
reader_main(void *arg)
{
    struct worker *worker = arg;
    while (!atomic_load(&is_over)) {
        int64_t sum = 0;
        worker->wrong += store_read(worker->store, balance_closure, &sum) != CA_OK;
        worker->wrong += sum != 0;
        worker->count++;
    }
    return NULL;
}

static int
run(struct store *store, int writers, int readers, int writes)
{
    static struct worker workers[2 * THREADS_MAX];
    int wrong = 0, reads = 0;
    int64_t start = clock_ticks();
    for (int i = 0; i < writers + readers; i++) {
        bool is_writer = i < writers;
        workers[i] = (struct worker){ .store = store, .first = 1 + i * writes };
        workers[i].count = is_writer ? writes : 0;
        if (pthread_create(&workers[i].thread, NULL,
                           is_writer ? writer_main : reader_main, &workers[i]) != 0)
            abort();
    }
    for (int i = 0; i < writers + readers; i++) {
        if (i == writers)
            atomic_store(&is_over, true);
        pthread_join(workers[i].thread, NULL);
        wrong += workers[i].wrong;
        reads += i < writers ? 0 : workers[i].count;
    }
    struct store_figures figures;
    store_figures(store, &figures);
    printf("%lld writes in %lld commits, %lld refused, %d reads, %lld ms, %d wrong\n",
           (long long)figures.writes, (long long)figures.commits,
           (long long)figures.failures, reads, (long long)(clock_ticks() - start),
           wrong);
    return wrong;
}

static int
argument(int argc, char **argv, int index, int initial, int most)
{
    int number = argc > index ? atoi(argv[index]) : initial;
    return number < 1 ? 1 : number > most ? most : number;
}

int
main(int argc, char **argv)
{
    char folder[] = "/tmp/sealwright-stress-XXXXXX", path[64];
    struct store *store = NULL;
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof path, "%s/store", folder);
    audit_set_instance("stress");
    int wrong = 1;
    if (store_open(path, &store) == CA_OK &&
        store_write(store, table_closure, NULL) == CA_OK)
        wrong = run(store, argument(argc, argv, 1, 16, THREADS_MAX),
                    argument(argc, argv, 2, 12, THREADS_MAX),
                    argument(argc, argv, 3, 100, 1000000));
    else
        fprintf(stderr, "%s\n", status_message());
    store_close(store);
    unlink(path);
    if (rmdir(folder) != 0) {
        perror(folder); /* closing the store removes WAL and index */
        wrong = 1;
    }
    return wrong == 0 ? 0 : 1;
}
