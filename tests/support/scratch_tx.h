/* A write of the scratch store that is open while a test goes on line by line: the
 * writer waits inside its closure, the test uses its transaction. */
#pragma once

#include "scratch_store.h"
#include <pthread.h>

static struct {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct store_tx *tx;
    bool is_over;
    enum ca_status wanted, ended;
} scratch_write = { .lock = PTHREAD_MUTEX_INITIALIZER,
                    .changed = PTHREAD_COND_INITIALIZER };

static inline enum ca_status
scratch_write_closure(struct store_tx *tx, void *arg)
{
    (void)arg;
    pthread_mutex_lock(&scratch_write.lock);
    scratch_write.tx = tx;
    pthread_cond_broadcast(&scratch_write.changed);
    while (!scratch_write.is_over)
        pthread_cond_wait(&scratch_write.changed, &scratch_write.lock);
    enum ca_status wanted = scratch_write.wanted;
    pthread_mutex_unlock(&scratch_write.lock);
    return wanted;
}

static inline void *
scratch_write_thread(void *arg)
{
    scratch_write.ended = store_write(scratch_store, scratch_write_closure, NULL);
    return arg;
}

static inline struct store_tx *
scratch_begin(void)
{
    scratch_write.tx = NULL;
    scratch_write.is_over = false;
    cr_assert_eq(
        pthread_create(&scratch_write.thread, NULL, scratch_write_thread, NULL), 0);
    pthread_mutex_lock(&scratch_write.lock);
    while (!scratch_write.tx)
        pthread_cond_wait(&scratch_write.changed, &scratch_write.lock);
    pthread_mutex_unlock(&scratch_write.lock);
    return scratch_write.tx;
}

/* Ends the write: CA_OK commits, anything else undoes it. */
static inline enum ca_status
scratch_end(enum ca_status wanted)
{
    pthread_mutex_lock(&scratch_write.lock);
    scratch_write.wanted = wanted;
    scratch_write.is_over = true;
    pthread_cond_broadcast(&scratch_write.changed);
    pthread_mutex_unlock(&scratch_write.lock);
    pthread_join(scratch_write.thread, NULL);
    return scratch_write.ended;
}
