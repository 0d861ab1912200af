/* Grouped commits: writers that take what is waiting and make it durable together. */
#include "store_group.h"
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ATTEMPTS_MAX 8   /* of a group that the database wants repeated */
#define MESSAGE_SIZE 512 /* of status.h */
/* How long a group waits for closures that store_expect has announced. */
#define GATHER_NS 4000000

/* One caller's closure; lives on the caller's stack until `done` is posted. */
struct write {
    store_fn fn;
    void *arg;
    enum ca_status status;
    char message[MESSAGE_SIZE];
    sem_t done;
    struct write *next;
};

struct writer {
    struct store_group *group;
    struct store_connection *connection;
    pthread_t thread;
};

struct store_group {
    const struct store_driver *driver;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct write *first, *last; /* the queue, under lock like all that follows */
    int64_t expected;  /* threads that are about to write, or wait for that already */
    bool is_gathering; /* the writer gives them a moment to come */
    bool is_stopping;
    struct store_figures figures;
    size_t count;
    struct writer writers[];
};

_Thread_local bool store_is_inside;

static bool
is_kept(enum ca_status status)
{
    return status == CA_OK || status == CA_PENDING;
}

enum ca_status
store_tx_run(struct store_tx *tx, store_fn fn, void *arg)
{
    store_is_inside = true;
    enum ca_status status = fn(tx, arg);
    store_is_inside = false;
    if (is_kept(status) && tx->failed != CA_OK)
        return ca_fail(CA_INTERNAL, "a closure passed over a failed statement");
    return status;
}

static enum ca_status
run_plain(struct writer *writer, const char *sql)
{
    const struct store_driver *driver = writer->group->driver;
    return driver->run(writer->connection, sql, STORE_NO_VALUES, NULL, NULL, NULL);
}

/* Runs one closure; what it says stays with it. */
static struct store_tx
closure_run(struct writer *writer, struct write *write)
{
    struct store_tx tx = { .driver = writer->group->driver,
                           .connection = writer->connection };
    status_forget();
    write->status = store_tx_run(&tx, write->fn, write->arg);
    memcpy(write->message, status_message(), strlen(status_message()) + 1);
    return tx;
}

/* The same under its savepoint. Fails only when the whole group has to. */
static enum ca_status
write_run(struct writer *writer, struct write *write)
{
    const struct store_driver *driver = writer->group->driver;
    enum ca_status status = run_plain(writer, "SAVEPOINT closure");
    if (status != CA_OK)
        return status;
    struct store_tx tx = closure_run(writer, write);
    if (is_kept(write->status))
        return run_plain(writer, "RELEASE SAVEPOINT closure");
    if (tx.failed != CA_OK && driver->should_repeat(writer->connection))
        return tx.failed;
    status = run_plain(writer, "ROLLBACK TO SAVEPOINT closure");
    return status == CA_OK ? run_plain(writer, "RELEASE SAVEPOINT closure") : status;
}

/* All closures up to the first that fails are kept with it or undone with it: true when
 * none failed. Savepoints cost a copy of each page that changes; hardly any closure
 * fails. */
static bool
group_runs_plain(struct writer *writer, struct write *first)
{
    for (struct write *write = first; write; write = write->next) {
        closure_run(writer, write);
        if (!is_kept(write->status))
            return false;
    }
    return true;
}

static enum ca_status
group_attempt(struct writer *writer, struct write *first, bool has_savepoints)
{
    const struct store_driver *driver = writer->group->driver;
    enum ca_status status = driver->begin(writer->connection, true);
    if (status == CA_OK && !has_savepoints && !group_runs_plain(writer, first)) {
        status = driver->rollback(writer->connection);
        return status == CA_OK ? group_attempt(writer, first, true) : status;
    }
    for (struct write *write = first; has_savepoints && status == CA_OK && write;
         write = write->next)
        status = write_run(writer, write);
    return status == CA_OK ? driver->commit(writer->connection) : status;
}

/* Runs and commits the list. When that fails nothing of it is in the store, and even
 * closures that failed by themselves say so: what they saw may be gone. */
static bool
group_run(struct writer *writer, struct write *first)
{
    const struct store_driver *driver = writer->group->driver;
    for (int attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
        if (group_attempt(writer, first, false) == CA_OK)
            return true;
        bool is_last = !driver->should_repeat(writer->connection);
        char message[MESSAGE_SIZE];
        memcpy(message, status_message(), strlen(status_message()) + 1);
        driver->rollback(writer->connection);
        ca_fail(CA_UNAVAILABLE, "%s", message);
        if (is_last)
            break;
    }
    for (struct write *write = first; write; write = write->next) {
        write->status = CA_UNAVAILABLE;
        memcpy(write->message, status_message(), strlen(status_message()) + 1);
    }
    return false;
}

/* Takes at most STORE_GROUP_MAX closures from the queue. */
static struct write *
queue_take(struct store_group *group)
{
    struct write *first = group->first, *last = first;
    size_t count = 1;
    while (last->next && count < STORE_GROUP_MAX) {
        last = last->next;
        count++;
    }
    group->first = last->next;
    if (!group->first)
        group->last = NULL;
    last->next = NULL;
    group->figures.waiting -= (int64_t)count;
    return first;
}

/* Counts what was done, before the closures' callers have them back. */
static void
queue_count(struct store_group *group, struct write *first, bool is_committed)
{
    group->figures.commits += is_committed;
    for (const struct write *write = first; write; write = write->next) {
        if (is_kept(write->status))
            group->figures.writes++;
        else
            group->figures.failures++;
    }
}

/* Without the lock: who wakes up would only have to wait for it. */
static void
queue_answer(struct write *first)
{
    for (struct write *write = first, *next; write; write = next) {
        next = write->next; /* afterwards it is gone with its caller's stack */
        sem_post(&write->done);
    }
}

static bool
is_complete(const struct store_group *group)
{
    return group->figures.waiting >= group->expected ||
           group->figures.waiting >= STORE_GROUP_MAX || group->is_stopping;
}

/* Who is about to write shares this group's commit, if it comes soon. A database that
 * takes several writers groups their commits itself. */
static void
queue_gather(struct store_group *group)
{
    struct timespec until;
    if (group->count > 1 || is_complete(group))
        return;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += GATHER_NS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    group->is_gathering = true;
    while (!is_complete(group) && pthread_cond_clockwait(&group->work, &group->lock,
                                                         CLOCK_MONOTONIC, &until) == 0)
        continue;
    group->is_gathering = false;
}

static void *
writer_main(void *arg)
{
    struct writer *writer = arg;
    struct store_group *group = writer->group;
    pthread_mutex_lock(&group->lock);
    while (true) {
        while (!group->first && !group->is_stopping)
            pthread_cond_wait(&group->work, &group->lock);
        if (!group->first)
            break;
        queue_gather(group);
        struct write *first = queue_take(group);
        pthread_mutex_unlock(&group->lock);
        bool is_committed = group_run(writer, first);
        pthread_mutex_lock(&group->lock);
        queue_count(group, first, is_committed);
        pthread_mutex_unlock(&group->lock);
        queue_answer(first);
        if (group->driver->tend)
            group->driver->tend(writer->connection);
        pthread_mutex_lock(&group->lock);
    }
    pthread_mutex_unlock(&group->lock);
    return NULL;
}

/* Signals are the main thread's: a writer starts with all of them blocked. */
static bool
writer_start(struct writer *writer)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&writer->thread, NULL, writer_main, writer);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error == 0;
}

enum ca_status
store_group_start(const struct store_driver *driver,
                  struct store_connection *const *connections, size_t count,
                  struct store_group **ret_group)
{
    struct store_group *group =
        calloc(1, sizeof *group + count * sizeof group->writers[0]);
    if (!group)
        return ca_fail(CA_INTERNAL, "no memory for the store's writers");
    group->driver = driver;
    pthread_mutex_init(&group->lock, NULL);
    pthread_cond_init(&group->work, NULL);
    for (; group->count < count; group->count++) {
        struct writer *writer = &group->writers[group->count];
        writer->group = group;
        writer->connection = connections[group->count];
        if (!writer_start(writer)) {
            store_group_stop(group);
            return ca_fail(CA_INTERNAL, "the store's writer thread cannot start");
        }
    }
    *ret_group = group;
    return CA_OK;
}

void
store_group_stop(struct store_group *group)
{
    if (!group)
        return;
    pthread_mutex_lock(&group->lock);
    group->is_stopping = true;
    pthread_cond_broadcast(&group->work);
    pthread_mutex_unlock(&group->lock);
    for (size_t i = 0; i < group->count; i++)
        pthread_join(group->writers[i].thread, NULL);
    pthread_cond_destroy(&group->work);
    pthread_mutex_destroy(&group->lock);
    free(group);
}

/* False when the queue is full or nobody serves it any more. Whether a writer has to
 * wake up is said, not done: with the lock held it would wake up to wait for it. */
static bool
queue_add(struct store_group *group, struct write *write, bool *ret_wakes)
{
    if (group->is_stopping || group->figures.waiting >= STORE_QUEUE_MAX) {
        group->figures.failures++;
        return false;
    }
    if (group->last)
        group->last->next = write;
    else
        group->first = write;
    group->last = write;
    group->figures.waiting++;
    *ret_wakes = !group->is_gathering || is_complete(group);
    return true;
}

void
store_group_expect(struct store_group *group, bool begins)
{
    pthread_mutex_lock(&group->lock);
    group->expected += begins ? 1 : -1;
    bool wakes = group->is_gathering && is_complete(group);
    pthread_mutex_unlock(&group->lock);
    if (wakes)
        pthread_cond_signal(&group->work);
}

enum ca_status
store_group_write(struct store_group *group, store_fn fn, void *arg)
{
    struct write write = { .fn = fn, .arg = arg };
    bool wakes = false;
    sem_init(&write.done, 0, 0);
    pthread_mutex_lock(&group->lock);
    bool is_queued = queue_add(group, &write, &wakes);
    pthread_mutex_unlock(&group->lock);
    if (wakes)
        pthread_cond_signal(&group->work);
    while (is_queued && sem_wait(&write.done) != 0)
        continue; /* a signal's handler ran */
    sem_destroy(&write.done);
    if (!is_queued)
        return ca_fail(CA_UNAVAILABLE, "%d writes wait for the store already",
                       STORE_QUEUE_MAX);
    if (is_kept(write.status))
        return write.status;
    return ca_fail(write.status, "%s", write.message);
}

void
store_group_figures(struct store_group *group, struct store_figures *ret_figures)
{
    pthread_mutex_lock(&group->lock);
    *ret_figures = group->figures;
    pthread_mutex_unlock(&group->lock);
}
