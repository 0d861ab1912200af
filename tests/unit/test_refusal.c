/* Counted refusals: bounded in memory, whole in the audit. */
#include "audit.h"
#include "leak.h"
#include "refusal.h"
#include "scratch_store.h"
#include <criterion/criterion.h>
#include <pthread.h>

static struct refusals *refusals;

static void
begin(void)
{
    scratch_store_open();
    audit_set_instance("test");
    refusals = refusals_new();
    cr_assert_not_null(refusals);
}

static void
end(void)
{
    refusals_free(refusals);
    scratch_store_close();
}

TestSuite(refusal, .init = begin, .fini = end);

static void
flush(void)
{
    cr_assert_eq(refusals_flush(refusals, scratch_store), CA_OK, "%s",
                 status_message());
}

Test(refusal, nothing_counted_writes_nothing)
{
    struct store_figures before, after;
    store_figures(scratch_store, &before);
    flush();
    store_figures(scratch_store, &after);
    cr_expect_eq(after.commits, before.commits);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM audit_refusal"), 0);
}

Test(refusal, A7_ten_thousand_refusals_are_one_write)
{
    struct store_figures before, after;
    for (int i = 0; i < 10000; i++)
        refusals_count(refusals, "scep", "192.0.2.1", "malformed");
    refusals_count(refusals, "scep", "192.0.2.2", "malformed");
    store_figures(scratch_store, &before);
    flush();
    store_figures(scratch_store, &after);
    cr_expect_eq(after.writes - before.writes, 1);
    cr_expect_eq(scratch_integer("SELECT SUM(count) FROM audit_refusal WHERE "
                                 "source = '192.0.2.1'"),
                 10000);
    cr_expect_eq(scratch_integer("SELECT SUM(count) FROM audit_refusal"), 10001);
    flush();
    cr_expect_eq(scratch_integer("SELECT SUM(count) FROM audit_refusal"), 10001);
    end();
    LEAK_CHECK();
    begin();
}

Test(refusal, many_sources_are_summed_up_and_none_is_lost)
{
    char source[32];
    for (int i = 0; i < 5000; i++) {
        snprintf(source, sizeof source, "2001:db8::%x", (unsigned)i);
        refusals_count(refusals, "scep", source, i % 2 ? "malformed" : "forbidden");
    }
    flush();
    cr_expect_eq(scratch_integer("SELECT SUM(count) FROM audit_refusal"), 5000);
    cr_expect_leq(scratch_integer("SELECT COUNT(*) FROM audit_refusal"), 1024);
    cr_expect_gt(scratch_integer("SELECT SUM(count) FROM audit_refusal WHERE "
                                 "source = 'others'"),
                 4000);
}

Test(refusal, count_stays_when_it_cannot_be_written)
{
    for (int i = 0; i < 7; i++)
        refusals_count(refusals, "scep", "192.0.2.1", "malformed");
    cr_assert_eq(scratch_run("ALTER TABLE audit_refusal RENAME TO hidden"), CA_OK);
    cr_expect_neq(refusals_flush(refusals, scratch_store), CA_OK);
    refusals_count(refusals, "scep", "192.0.2.1", "malformed");
    cr_assert_eq(scratch_run("ALTER TABLE hidden RENAME TO audit_refusal"), CA_OK);
    flush();
    cr_expect_eq(scratch_integer("SELECT SUM(count) FROM audit_refusal"), 8);
}

static void *
count_many(void *arg)
{
    for (int i = 0; i < 2000; i++) {
        refusals_count(refusals, "scep", arg, "malformed");
        if (i % 500 == 0)
            refusals_flush(refusals, scratch_store);
    }
    return NULL;
}

Test(refusal, threads_lose_no_count)
{
    pthread_t threads[4];
    char source[] = "192.0.2.1";
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, count_many, source), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    flush();
    cr_expect_eq(scratch_integer("SELECT SUM(count) FROM audit_refusal"), 8000);
}
