/* Readiness gives each reason by name, and an outage never blinds it. */
#include "auto.h"
#include "clock.h"
#include "house_rig.h"
#include "jobs.h"
#include "leak.h"
#include <criterion/criterion.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#define DAY INT64_C(86400)

TestSuite(readiness, .init = house_begin, .fini = house_end);

/* 1 or 0: the check's answer; -1: there is no such check. */
static int
check_of(const struct readiness *readiness, const char *name)
{
    size_t i;
    json_t *reason;
    json_array_foreach (readiness->reasons, i, reason) {
        const char *check = json_string_value(json_object_get(reason, "check"));
        if (strcmp(check, name) == 0)
            return json_is_true(json_object_get(reason, "ok"));
    }
    return -1;
}

/* Is exactly this check red, and with it the whole? NULL: all are green. */
static bool
is_red_alone(const char *name)
{
    struct readiness readiness;
    bool holds = true;
    service_readiness(house.service, &readiness);
    size_t i;
    json_t *reason;
    json_array_foreach (readiness.reasons, i, reason) {
        const char *check = json_string_value(json_object_get(reason, "check"));
        bool ok = json_is_true(json_object_get(reason, "ok"));
        cr_assert_not_null(json_string_value(json_object_get(reason, "detail")));
        if (ok == (name && strcmp(check, name) == 0)) {
            cr_log_error("%s: %s", check,
                         json_string_value(json_object_get(reason, "detail")));
            holds = false;
        }
    }
    if (name && check_of(&readiness, name) < 0)
        holds = false;
    if (readiness.ready != (name == NULL))
        holds = false;
    json_decref(readiness.reasons);
    return holds;
}

static void
crls_build(void)
{
    cr_assert_eq(jobs_build_crls(house.service), CA_OK, "%s", status_message());
}

Test(readiness, whole_house_is_ready_and_says_so_of_each_part)
{
    struct readiness readiness;
    crls_build();
    cr_expect(is_red_alone(NULL));
    service_readiness(house.service, &readiness);
    static const char *const checks[] = { "token:hsm",      "store",
                                          "disk",           "issuer:root",
                                          "issuer:issuing", "crl:issuing",
                                          "ra:issuing" };
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++)
        cr_expect_eq(check_of(&readiness, checks[i]), 1, "%s", checks[i]);
    json_decref(readiness.reasons);
    house_end();
    LEAK_CHECK();
    house_begin();
}

Test(readiness, missing_and_overdue_crl_is_red)
{
    crls_build();
    house_run(&house, "DELETE FROM authority_crl WHERE issuer = 'issuing'");
    cr_expect(is_red_alone("crl:issuing"));
    crls_build();
    cr_expect(is_red_alone(NULL));
    house_run(&house, "UPDATE authority_crl SET next_update = 1 "
                      "WHERE issuer = 'issuing'");
    cr_expect(is_red_alone("crl:issuing"));
}

Test(readiness, missing_ra_is_red_where_scep_needs_it)
{
    crls_build();
    house_run(&house, "DELETE FROM helper");
    cr_assert_eq(service_reload(house.service), CA_OK, "%s", status_message());
    cr_expect(is_red_alone("ra:issuing"));
    house_run(&house, "DELETE FROM profile WHERE kind = 'scep'");
    cr_expect(is_red_alone(NULL), "nobody asks for an RA");
}

Test(readiness, issuer_without_its_key_is_red)
{
    crls_build();
    house_run(&house, "UPDATE authority SET key = 'pkcs11:token=house;object=gone' "
                      "WHERE name = 'issuing'");
    cr_assert_eq(service_reload(house.service), CA_OK, "%s", status_message());
    cr_expect(is_red_alone("issuer:issuing"));
}

Test(readiness, draining_instance_is_red)
{
    crls_build();
    atomic_store(&house.service->draining, true);
    cr_expect(is_red_alone("draining"));
}

Test(readiness, I2_store_that_cannot_be_written_is_red_and_green_again)
{
    struct rlimit none = { 0, RLIM_INFINITY }, all = { RLIM_INFINITY, RLIM_INFINITY };
    signal(SIGXFSZ, SIG_IGN);
    crls_build();
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
    bool is_red = is_red_alone("store");
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &all), 0);
    cr_expect(is_red);
    usleep(1100 * 1000); /* the answer counts for a second */
    cr_expect(is_red_alone(NULL));
}

Test(readiness, store_is_asked_once_a_second_however_many_ask)
{
    struct store_figures before, after;
    crls_build();
    cr_expect(is_red_alone(NULL));
    store_figures(house.service->store, &before);
    int64_t began = clock_ticks();
    for (int i = 0; i < 50; i++)
        cr_expect(is_red_alone(NULL));
    int64_t seconds = (clock_ticks() - began) / 1000 + 1;
    store_figures(house.service->store, &after);
    cr_expect_leq(after.commits - before.commits, seconds);
}

Test(readiness, question_in_progress_holds_nobody_up)
{
    crls_build();
    cr_expect(is_red_alone(NULL));
    usleep(1100 * 1000);
    pthread_mutex_lock(
        &house.service->probe.running); /* somebody waits for the store */
    int64_t began = clock_ticks();
    cr_expect(is_red_alone(NULL));
    cr_expect_lt(clock_ticks() - began, 500);
    house.service->probe.answered = clock_ticks() - 60000;
    cr_expect(is_red_alone("store"));
    pthread_mutex_unlock(&house.service->probe.running);
}

/* ---- The periodic work ---- */

static int64_t
wait_for(const char *sql, int64_t wanted)
{
    int64_t value = -1;
    for (int i = 0; i < 100 && value != wanted; i++) {
        value = house_integer(&house, sql);
        if (value != wanted)
            usleep(50 * 1000);
    }
    return value;
}

Test(readiness, V1_jobs_build_the_crls_and_a_wake_builds_a_newer_one)
{
    static const char number[] =
        "SELECT COALESCE(MAX(number), 0) FROM authority_crl WHERE issuer = 'issuing'";
    struct jobs *jobs = NULL;
    cr_assert_eq(jobs_start(house.service, &jobs), CA_OK, "%s", status_message());
    cr_expect_eq(wait_for(number, 1), 1);
    house_run(&house, "UPDATE authority_crl SET revision = revision + 1 "
                      "WHERE issuer = 'issuing'");
    jobs_wake(house.service);
    cr_expect_eq(wait_for(number, 2), 2);
    jobs_wake(house.service); /* nothing is due */
    usleep(200 * 1000);
    cr_expect_eq(house_integer(&house, number), 2);
    jobs_stop(jobs);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM audit_entry WHERE "
                                       "action IN ('service.start', 'service.stop')"),
                 2);
    cr_expect_geq(house_integer(&house, "SELECT COUNT(*) FROM audit_entry WHERE "
                                        "action = 'crl.issue'"),
                  2);
}

Test(readiness, V1_crl_job_of_another_instance_is_left_alone)
{
    house_run(&house, "INSERT INTO lease (job, instance, expires) VALUES "
                      "('crl/issuing', 'other', 99999999999)");
    crls_build();
    cr_expect_eq(house_integer(&house, "SELECT COALESCE(MAX(number), 0) FROM "
                                       "authority_crl WHERE issuer = 'issuing'"),
                 0);
}
