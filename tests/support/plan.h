/* How the database would run each statement that the code under test really sent: every
 * connection of the process is traced, and the plans are asked for afterwards. */
#pragma once

#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLAN_STATEMENTS_MAX 64

static struct {
    bool is_on;
    char *statements[PLAN_STATEMENTS_MAX];
    size_t count;
} plan;

static inline int
plan_trace(unsigned type, void *context, void *statement, void *sql)
{
    (void)context;
    (void)sql;
    const char *text = type == SQLITE_TRACE_STMT ? sqlite3_sql(statement) : NULL;
    static const char *const verbs[] = { "SELECT", "INSERT", "UPDATE", "DELETE" };
    bool is_ours = false;
    for (size_t i = 0; text && i < sizeof verbs / sizeof verbs[0]; i++)
        is_ours = is_ours || strncmp(text, verbs[i], 6) == 0;
    if (plan.is_on && is_ours && plan.count < PLAN_STATEMENTS_MAX)
        plan.statements[plan.count++] = strdup(text);
    return 0;
}

static inline int
plan_connection(sqlite3 *connection, char **error, const void *routines)
{
    (void)error;
    (void)routines;
    return sqlite3_trace_v2(connection, SQLITE_TRACE_STMT, plan_trace, NULL);
}

/* Before the store is opened. */
static inline void
plan_watch(void)
{
    cr_assert_eq(sqlite3_auto_extension((void (*)(void))plan_connection), SQLITE_OK);
}

/* From here on statements are gathered. */
static inline void
plan_begin(void)
{
    plan.count = 0;
    plan.is_on = true;
}

static inline void
plan_expect(sqlite3 *connection, const char *statement)
{
    char sql[4096];
    sqlite3_stmt *explain = NULL;
    snprintf(sql, sizeof sql, "EXPLAIN QUERY PLAN %s", statement);
    cr_assert_eq(sqlite3_prepare_v2(connection, sql, -1, &explain, NULL), SQLITE_OK,
                 "%s", sqlite3_errmsg(connection));
    while (sqlite3_step(explain) == SQLITE_ROW) {
        const char *detail = (const char *)sqlite3_column_text(explain, 3);
        bool is_constant = strcmp(detail, "SCAN CONSTANT ROW") == 0;
        cr_expect(is_constant || !strstr(detail, "SCAN"), "%s: %s", detail, statement);
        cr_expect(!strstr(detail, "AUTOMATIC"), "%s: %s", detail, statement);
    }
    sqlite3_finalize(explain);
}

/* True when the database says this of the only statement gathered since plan_begin. */
static inline bool
plan_says(const char *path, const char *words)
{
    char sql[4096];
    bool is_said = false;
    sqlite3 *connection = NULL;
    sqlite3_stmt *explain = NULL;
    plan.is_on = false;
    cr_assert_eq(plan.count, 1);
    snprintf(sql, sizeof sql, "EXPLAIN QUERY PLAN %s", plan.statements[0]);
    cr_assert_eq(sqlite3_open(path, &connection), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(connection, sql, -1, &explain, NULL), SQLITE_OK);
    while (sqlite3_step(explain) == SQLITE_ROW)
        is_said =
            is_said || strstr((const char *)sqlite3_column_text(explain, 3), words);
    sqlite3_finalize(explain);
    sqlite3_close(connection);
    free(plan.statements[0]);
    plan.count = 0;
    return is_said;
}

/* At least `least` different statements were sent since plan_begin, and none reads a
 * whole table. */
static inline void
plan_end(const char *path, size_t least)
{
    sqlite3 *connection = NULL;
    size_t different = 0;
    plan.is_on = false;
    cr_assert_eq(sqlite3_open(path, &connection), SQLITE_OK);
    for (size_t i = 0; i < plan.count; i++) {
        bool is_new = true;
        for (size_t k = 0; k < i; k++)
            is_new = is_new && strcmp(plan.statements[k], plan.statements[i]) != 0;
        different += is_new;
        if (is_new)
            plan_expect(connection, plan.statements[i]);
    }
    sqlite3_close(connection);
    for (size_t i = 0; i < plan.count; i++)
        free(plan.statements[i]);
    plan.count = 0;
    cr_assert_geq(different, least, "%zu different statements", different);
}
