/* One thread a token: a call that does not return holds up the care of no other. */
#include "keeper.h"
#include "clock.h"
#include "log.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STOP_MS 2000 /* a check that takes longer is left behind */

struct keeper_thread {
    struct keeper *keeper;
    size_t index;
    pthread_t thread;
};

struct keeper {
    struct token_set *set;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool stop;
    size_t count; /* of the threads that run */
    struct keeper_thread threads[];
};

static struct timespec
ticks_timespec(int64_t ticks)
{
    return (struct timespec){ .tv_sec = ticks / 1000,
                              .tv_nsec = ticks % 1000 * 1000000 };
}

/* Waits for the next check; false when it is time to stop. */
static bool
keeper_wait(struct keeper *keeper)
{
    struct timespec until = ticks_timespec(clock_ticks() + KEEPER_SECONDS * 1000);
    int waited = 0;
    pthread_mutex_lock(&keeper->lock);
    while (waited == 0 && !keeper->stop)
        waited = pthread_cond_clockwait(&keeper->cond, &keeper->lock, CLOCK_MONOTONIC,
                                        &until);
    bool goes_on = !keeper->stop;
    pthread_mutex_unlock(&keeper->lock);
    return goes_on;
}

static void *
keeper_run(void *arg)
{
    struct keeper_thread *self = arg;
    struct keeper *keeper = self->keeper;
    while (keeper_wait(keeper)) {
        struct token_health health;
        token_health(keeper->set, self->index, &health);
        if (health.state != TOKEN_UP) /* known, and seen to */
            continue;
        status_forget();
        if (token_check(keeper->set, self->index) != CA_OK)
            log_write(LOG_LEVEL_WARNING, json_pack("{s:s}", "token", health.name),
                      "a check of the token failed: %s", status_message());
    }
    return NULL;
}

enum ca_status
keeper_start(struct token_set *set, struct keeper **ret_keeper)
{
    size_t count = set ? token_set_count(set) : 0;
    struct keeper *keeper =
        calloc(1, sizeof *keeper + count * sizeof keeper->threads[0]);
    if (!keeper)
        return ca_fail(CA_INTERNAL, "no memory for the tokens' keeper");
    keeper->set = set;
    pthread_mutex_init(&keeper->lock, NULL);
    pthread_cond_init(&keeper->cond, NULL);
    for (size_t i = 0; i < count; i++) {
        struct keeper_thread *thread = &keeper->threads[i];
        *thread = (struct keeper_thread){ .keeper = keeper, .index = i };
        if (pthread_create(&thread->thread, NULL, keeper_run, thread) != 0) {
            keeper_stop(keeper);
            return ca_fail(CA_UNAVAILABLE, "no thread for the tokens' keeper");
        }
        keeper->count++;
    }
    *ret_keeper = keeper;
    return CA_OK;
}

void
keeper_stop(struct keeper *keeper)
{
    bool all = true;
    if (!keeper)
        return;
    pthread_mutex_lock(&keeper->lock);
    keeper->stop = true;
    pthread_cond_broadcast(&keeper->cond);
    pthread_mutex_unlock(&keeper->lock);
    if (keeper->set)
        token_set_quit(keeper->set); /* a check may wait for its token */
    struct timespec until = ticks_timespec(clock_ticks() + STOP_MS);
    for (size_t i = 0; i < keeper->count; i++) {
        pthread_t thread = keeper->threads[i].thread;
        if (pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &until) == 0)
            continue;
        pthread_detach(thread); /* what it uses stays until the process ends */
        all = false;
    }
    if (!all)
        return;
    pthread_cond_destroy(&keeper->cond);
    pthread_mutex_destroy(&keeper->lock);
    free(keeper);
}
