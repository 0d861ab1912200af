/* The write side of a store: a bounded queue of closures and the threads that run them
 * in groups, one durable commit a group. Seen by store.c alone. */
#pragma once

#include "store_driver.h"

#define STORE_QUEUE_MAX 256 /* closures that wait, beyond those being run */
#define STORE_GROUP_MAX 64  /* closures that share a commit */

struct store_tx {
    const struct store_driver *driver;
    struct store_connection *connection;
    enum ca_status failed; /* of the statement that failed, else CA_OK */
};

struct store_group;

/* True in a thread that is inside a closure: it must not wait for another one. */
extern _Thread_local bool store_is_inside;

/* Runs fn and holds it to its statements: CA_INTERNAL when it passes over a failed
 * one. */
enum ca_status store_tx_run(struct store_tx *tx, store_fn fn, void *arg);

/* Starts a thread for each of the `count` write connections, which stay the caller's.
 */
enum ca_status store_group_start(const struct store_driver *driver,
                                 struct store_connection *const *connections,
                                 size_t count, struct store_group **ret_group);
/* Finishes what is queued. NULL is nothing. */
void store_group_stop(struct store_group *group);

enum ca_status store_group_write(struct store_group *group, store_fn fn, void *arg);
/* store_expect, store_expect_end. */
void store_group_expect(struct store_group *group, bool begins);
void store_group_figures(struct store_group *group, struct store_figures *ret_figures);
