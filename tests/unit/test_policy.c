/* A device's policy: its tag, and waiting for the next one. */
#include "activation_rig.h"
#include "calls_manage.h"
#include "leak.h"
#include "plugin_activation.h"
#include <pthread.h>
#include <unistd.h>

#define SECONDS 1000 /* of clock_ticks */

static char device_id[40];

static void
build(void)
{
    char id[ACTIVATION_ID_SIZE];
    struct house_device device;
    rig_build();
    rig_password(NULL, id);
    house_device_make(&device, "alice", NULL);
    struct rig_enroll enroll = rig_activate("alice", &device);
    cr_assert_eq(enroll.proved, CA_OK, "%s", status_message());
    snprintf(device_id, sizeof device_id, "%s", enroll.device);
    X509_free(enroll.certificate);
    house_device_clear(&device);
}

static void
leave(void)
{
    rig_leave();
    LEAK_CHECK();
}

TestSuite(policy, .init = build, .fini = leave, .timeout = 120);

static const char first[] = "{\"name\": \"default\", \"settings\": {\"items\": "
                            "[{\"uri\": \"./Device/A\", \"data\": \"1\"}]}}";
static const char second[] = "{\"name\": \"default\", \"settings\": {\"items\": "
                             "[{\"uri\": \"./Device/A\", \"data\": \"2\"}]}}";

/* One look of alice's device: how long it took, and the tag. */
struct look {
    const char *known;
    int64_t seconds, took;
    enum ca_status status;
    char tag[CA_ACTIVATION_TAG + 1], name[32];
    int items;
};

static void
look(struct look *look)
{
    struct exchange exchange;
    struct ca_activation_policy policy = { .policy = NULL };
    int64_t start = clock_ticks();
    house_exchange(&house, &exchange);
    exchange.deadline = start + 30 * SECONDS;
    exchange.identity.kind = IDENTITY_DEVICE;
    exchange.identity.user = strdup("alice");
    exchange.identity.device = strdup(device_id);
    look->status =
        ca_activation_policy(&exchange.request, look->known, look->seconds, &policy);
    look->took = clock_ticks() - start;
    if (look->status == CA_OK) {
        snprintf(look->tag, sizeof look->tag, "%s", policy.tag);
        snprintf(look->name, sizeof look->name, "%s",
                 json_string_value(json_object_get(policy.policy, "name")));
        look->items = (int)json_array_size(json_object_get(policy.policy, "items"));
        cr_expect_null(json_object_get(policy.policy, "kept"), "OMA-DM's own");
    }
    exchange_clear(&exchange);
}

static void *
look_in_thread(void *arg)
{
    look(arg);
    return NULL;
}

Test(policy, a_tag_stands_for_what_the_device_gets)
{
    struct look none = { 0 }, one = { 0 }, same = { 0 }, other = { 0 };
    struct exchange stranger;
    struct ca_activation_policy policy;
    look(&none);
    cr_assert_eq(none.status, CA_OK, "%s", status_message());
    cr_expect_str_eq(none.name, "", "no profile is an empty policy");
    house_profile(&house, PROFILE_POLICY, first);
    look(&one);
    cr_expect_str_eq(one.name, "default");
    cr_expect_eq(one.items, 1);
    cr_expect_str_neq(one.tag, none.tag);
    look(&same);
    cr_expect_str_eq(same.tag, one.tag);
    house_profile(&house, PROFILE_POLICY, second);
    look(&other);
    cr_expect_str_neq(other.tag, one.tag);
    house_exchange(&house, &stranger);
    cr_expect_eq(ca_activation_policy(&stranger.request, NULL, 0, &policy),
                 CA_UNAUTHENTICATED);
    exchange_clear(&stranger);
}

Test(policy, a_wait_ends_with_its_time_or_the_next_policy)
{
    struct look now = { 0 };
    pthread_t thread;
    house_profile(&house, PROFILE_POLICY, first);
    look(&now);
    struct look held = { .known = now.tag, .seconds = 2 };
    look(&held);
    cr_expect_eq(held.status, CA_OK);
    cr_expect_str_eq(held.tag, now.tag);
    cr_expect(held.took >= 2 * SECONDS - 200, "%d ms", (int)held.took);
    struct look unlike = { .known = "of another policy", .seconds = 20 };
    look(&unlike);
    cr_expect(unlike.took < 10 * SECONDS, "there is nothing to wait for");
    struct look changed = { .known = now.tag, .seconds = 25 };
    cr_assert_eq(pthread_create(&thread, NULL, look_in_thread, &changed), 0);
    usleep(300000);
    house_profile(&house, PROFILE_POLICY, second);
    pthread_join(thread, NULL);
    cr_expect_eq(changed.status, CA_OK);
    cr_expect_str_neq(changed.tag, now.tag);
    cr_expect(changed.took < 15 * SECONDS, "%d ms", (int)changed.took);
}

/* A fourth of those who may wait for anything; the others are answered at once. */
Test(policy, so_many_are_held_and_no_more)
{
    struct look now = { 0 };
    pthread_t threads[2];
    house.service->config.limits.waiting = 8;
    house_profile(&house, PROFILE_POLICY, first);
    look(&now);
    struct look held[2] = { { .known = now.tag, .seconds = 4 },
                            { .known = now.tag, .seconds = 4 } };
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, look_in_thread, &held[i]), 0);
    while (atomic_load(&house.service->held) < 2)
        usleep(10000);
    struct look third = { .known = now.tag, .seconds = 25 };
    look(&third);
    cr_expect_eq(third.status, CA_OK);
    cr_expect_str_eq(third.tag, now.tag);
    cr_expect(third.took < 10 * SECONDS, "%d ms", (int)third.took);
    for (size_t i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        cr_expect(held[i].took >= 4 * SECONDS - 200, "%d ms", (int)held[i].took);
    }
    cr_expect_eq(atomic_load(&house.service->held), 0);
    cr_expect_eq(atomic_load(&house.service->waiting), 0);
}

Test(policy, nobody_waits_for_a_daemon_that_stops)
{
    struct look now = { 0 };
    pthread_t thread;
    house_profile(&house, PROFILE_POLICY, first);
    look(&now);
    struct look held = { .known = now.tag, .seconds = 25 };
    cr_assert_eq(pthread_create(&thread, NULL, look_in_thread, &held), 0);
    while (atomic_load(&house.service->held) < 1)
        usleep(10000);
    atomic_store(&house.service->draining, true);
    pthread_join(thread, NULL);
    cr_expect_eq(held.status, CA_OK);
    cr_expect(held.took < 10 * SECONDS, "%d ms", (int)held.took);
}

Test(policy, A5_a_device_that_is_disabled_while_it_waits_hears_so)
{
    struct look now = { 0 };
    pthread_t thread;
    house_profile(&house, PROFILE_POLICY, first);
    look(&now);
    struct look held = { .known = now.tag, .seconds = 25 };
    cr_assert_eq(pthread_create(&thread, NULL, look_in_thread, &held), 0);
    while (atomic_load(&house.service->held) < 1)
        usleep(10000);
    house_run(&house, "UPDATE users SET state = 1 WHERE name = 'alice'");
    house_profile(&house, PROFILE_POLICY, second);
    pthread_join(thread, NULL);
    cr_expect_eq(held.status, CA_FORBIDDEN);
    cr_expect_eq(atomic_load(&house.service->held), 0);
}
