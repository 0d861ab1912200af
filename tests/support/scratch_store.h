/* A store in a folder of its own for the tests of records. */
#pragma once

#include "store.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char scratch_folder[64];
static char scratch_path[96];
static struct store *scratch_store;

static inline void
scratch_store_open(void)
{
    snprintf(scratch_folder, sizeof scratch_folder, "/tmp/sealwright-store-XXXXXX");
    cr_assert_not_null(mkdtemp(scratch_folder));
    snprintf(scratch_path, sizeof scratch_path, "%s/store", scratch_folder);
    cr_assert_eq(store_open(scratch_path, &scratch_store), CA_OK, "%s",
                 status_message());
}

static inline void
scratch_store_close(void)
{
    store_close(scratch_store);
    scratch_store = NULL;
    static const char *const ends[] = { "", "-wal", "-shm" };
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s%s", scratch_path, ends[i]);
        unlink(path);
    }
    rmdir(scratch_folder);
}

/* One statement without values in a write of its own. */
static inline enum ca_status
scratch_run_closure(struct store_tx *tx, void *arg)
{
    return store_run(tx, arg, NULL, 0, NULL, NULL, NULL);
}

static inline enum ca_status
scratch_run(const char *sql)
{
    char *copy = strdup(sql);
    enum ca_status status = store_write(scratch_store, scratch_run_closure, copy);
    free(copy);
    return status;
}

static inline enum ca_status
scratch_integer_row(const struct store_row *row, void *arg)
{
    *(int64_t *)arg = store_row_integer(row, 0);
    return CA_OK;
}

struct scratch_question {
    const char *sql;
    int64_t answer;
};

static inline enum ca_status
scratch_integer_closure(struct store_tx *tx, void *arg)
{
    struct scratch_question *question = arg;
    return store_run(tx, question->sql, NULL, 0, scratch_integer_row, &question->answer,
                     NULL);
}

/* The integer that a SELECT of one row and column gives. */
static inline int64_t
scratch_integer(const char *sql)
{
    struct scratch_question question = { sql, -1 };
    enum ca_status status =
        store_read(scratch_store, scratch_integer_closure, &question);
    cr_assert_eq(status, CA_OK, "%s", status_message());
    return question.answer;
}
