/* One thread and the monotonic clock. */
#include "ticker.h"
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define TICK_SECONDS 1

struct ticker {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t cond; /* on the monotonic clock */
    atomic_bool stop;
    ticker_tick tick;
    void *arg;
};

/* False: it is time to stop. */
static bool
wait_tick(struct ticker *ticker)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += TICK_SECONDS;
    pthread_mutex_lock(&ticker->lock);
    int waited = 0;
    while (waited == 0 && !atomic_load(&ticker->stop))
        waited = pthread_cond_timedwait(&ticker->cond, &ticker->lock, &until);
    pthread_mutex_unlock(&ticker->lock);
    return !atomic_load(&ticker->stop);
}

static void *
thread_run(void *arg)
{
    struct ticker *ticker = arg;
    do {
        status_forget();
        ticker->tick(ticker->arg, &ticker->stop);
    } while (wait_tick(ticker));
    return NULL;
}

static void
ticker_free(struct ticker *ticker)
{
    pthread_cond_destroy(&ticker->cond);
    pthread_mutex_destroy(&ticker->lock);
    free(ticker);
}

enum ca_status
ticker_start(const char *name, ticker_tick tick, void *arg, struct ticker **ret_ticker)
{
    pthread_condattr_t monotonic;
    struct ticker *ticker = calloc(1, sizeof *ticker);
    if (!ticker)
        return ca_fail(CA_INTERNAL, "no memory for the %s", name);
    ticker->tick = tick;
    ticker->arg = arg;
    pthread_mutex_init(&ticker->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&ticker->cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&ticker->thread, NULL, thread_run, ticker) != 0) {
        ticker_free(ticker);
        return ca_fail(CA_UNAVAILABLE, "no thread for the %s", name);
    }
    *ret_ticker = ticker;
    return CA_OK;
}

void
ticker_stop(struct ticker *ticker)
{
    if (!ticker)
        return;
    pthread_mutex_lock(&ticker->lock);
    atomic_store(&ticker->stop, true);
    pthread_cond_broadcast(&ticker->cond);
    pthread_mutex_unlock(&ticker->lock);
    pthread_join(ticker->thread, NULL);
    ticker_free(ticker);
}
