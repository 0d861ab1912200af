/* A scratch store with a table t (a, b, c), and a disk that can be full. */
#pragma once

#include "scratch_store.h"
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static inline void
table_make(void)
{
    scratch_store_open();
    cr_assert_eq(scratch_run("CREATE TABLE t (a BIGINT NOT NULL PRIMARY KEY, b TEXT,"
                             " c BYTEA)"),
                 CA_OK, "%s", status_message());
}

static inline enum ca_status
row_insert(struct store_tx *tx, int64_t a)
{
    return store_run(tx, "INSERT INTO t (a) VALUES ($1)",
                     STORE_VALUES(store_integer(a)), NULL, NULL, NULL);
}

static inline enum ca_status
insert_closure(struct store_tx *tx, void *arg)
{
    return row_insert(tx, *(int64_t *)arg);
}

static inline enum ca_status
insert(int64_t a)
{
    return store_write(scratch_store, insert_closure, &a);
}

/* No file of this process grows beyond `size` octets: the disk is full. */
static inline void
disk_limit(rlim_t size)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static inline rlim_t
wal_size(void)
{
    char path[128];
    struct stat found;
    snprintf(path, sizeof path, "%s-wal", scratch_path);
    cr_assert_eq(stat(path, &found), 0);
    return (rlim_t)found.st_size;
}
