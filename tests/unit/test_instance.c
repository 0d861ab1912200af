/* Instances: heartbeats, and devices that stay with theirs while it lives. */
#include "clock.h"
#include "device.h"
#include "instance.h"
#include "leak.h"
#include "scratch_records.h"

#define NOW INT64_C(1800000000)

static void
setup(void)
{
    clock_set(NOW);
    scratch_store_open();
}

static void
teardown(void)
{
    scratch_store_close();
    clock_set(-1);
}

TestSuite(instance, .init = setup, .fini = teardown);

static void
beat(struct store_tx *tx, const char *name, const char *url, int64_t capacity)
{
    struct instance instance = { .name = (char *)(uintptr_t)name,
                                 .url = (char *)(uintptr_t)url,
                                 .capacity = capacity,
                                 .release = (char *)(uintptr_t) "1.0" };
    CR_OK(instance_beat(tx, &instance));
}

static void
device_make(struct store_tx *tx, char ret_id[37])
{
    struct device device = { 0 };
    record_from(device_fields, "{}", &device);
    CR_OK(device_insert(tx, &device));
    snprintf(ret_id, 37, "%s", device.id);
    device_clear(&device);
}

/* Where the device belongs now; "" when nowhere. */
static void
expect_at(struct store_tx *tx, const char *device, const char *name)
{
    struct instance instance = { 0 };
    CR_OK(instance_of_device(tx, device, &instance));
    cr_expect_str_eq(instance.name, name);
    instance_clear(&instance);
    struct device record = { 0 };
    CR_OK(device_load(tx, device, &record));
    cr_expect_str_eq(record.instance, name);
    device_clear(&record);
}

Test(instance, a_beat_registers_and_later_changes_the_heartbeat_alone)
{
    struct store_tx *tx = scratch_begin();
    struct instance instance = { 0 };
    beat(tx, "main", "https://main.example.com", 100);
    clock_set(NOW + 10);
    beat(tx, "main", "https://main.example.com", 100);
    CR_OK(instance_load(tx, "main", &instance));
    cr_expect_eq(instance.heartbeat, NOW + 10);
    cr_expect_eq(instance.stamp.version, 1);
    cr_expect_eq(instance.stamp.updated, NOW);
    cr_expect(instance.healthy);
    instance_clear(&instance);
    beat(tx, "main", NULL, 50);
    CR_OK(instance_load(tx, "main", &instance));
    cr_expect_eq(instance.stamp.version, 2);
    cr_expect_null(instance.url);
    cr_expect_eq(instance.capacity, 50);
    instance_clear(&instance);
    clock_set(NOW + 10 + INSTANCE_HEALTHY_SECONDS);
    CR_OK(instance_load(tx, "main", &instance));
    cr_expect_not(instance.healthy);
    instance_clear(&instance);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(instance, a_device_stays_while_its_instance_lives)
{
    struct store_tx *tx = scratch_begin();
    char id[37];
    device_make(tx, id);
    beat(tx, "one", NULL, 100);
    expect_at(tx, id, "one");
    beat(tx, "two", NULL, INSTANCE_CAPACITY_MAX);
    expect_at(tx, id, "one");
    clock_set(NOW + INSTANCE_LOST_SECONDS - 1); /* perhaps it comes back */
    beat(tx, "two", NULL, INSTANCE_CAPACITY_MAX);
    expect_at(tx, id, "one");
    clock_set(NOW + INSTANCE_LOST_SECONDS);
    expect_at(tx, id, "two");
    beat(tx, "one", NULL, 100);
    expect_at(tx, id, "two");
    beat(tx, "two", NULL, 0); /* is to be emptied */
    expect_at(tx, id, "one");
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(instance, devices_are_shared_and_refused_where_nobody_is_healthy)
{
    struct store_tx *tx = scratch_begin();
    struct instance instance = { 0 };
    char id[37];
    int counts[2] = { 0 };
    device_make(tx, id);
    CR_STATUS(instance_of_device(tx, id, &instance), CA_UNAVAILABLE);
    CR_STATUS(instance_of_device(tx, "none", &instance), CA_NOT_FOUND);
    beat(tx, "a", NULL, 100);
    beat(tx, "b", NULL, 100);
    for (int i = 0; i < 64; i++) {
        device_make(tx, id);
        CR_OK(instance_of_device(tx, id, &instance));
        counts[*instance.name - 'a']++;
        instance_clear(&instance);
    }
    cr_expect_gt(counts[0], 10);
    cr_expect_gt(counts[1], 10);
    clock_set(NOW + INSTANCE_HEALTHY_SECONDS);
    device_make(tx, id);
    CR_STATUS(instance_of_device(tx, id, &instance), CA_UNAVAILABLE);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(instance, only_one_that_no_longer_runs_is_removed)
{
    struct store_tx *tx = scratch_begin();
    struct instance instance = { 0 };
    char id[37];
    beat(tx, "one", NULL, 100);
    beat(tx, "two", NULL, 0);
    device_make(tx, id);
    expect_at(tx, id, "one");
    CR_STATUS(instance_remove(tx, "one"), CA_CONFLICT);
    CR_STATUS(instance_remove(tx, "three"), CA_NOT_FOUND);
    clock_set(NOW + INSTANCE_HEALTHY_SECONDS);
    CR_OK(instance_remove(tx, "one"));
    CR_STATUS(instance_load(tx, "one", &instance), CA_NOT_FOUND);
    beat(tx, "two", NULL, 1);
    expect_at(tx, id, "two");
    struct gathered names = { 0 };
    CR_OK(instance_list(tx, &(struct record_page){ .limit = 9 }, gather_key, &names));
    cr_expect_str_eq(names.text, "two ");
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(instance, R8_a_domain_has_so_many_at_most)
{
    struct store_tx *tx = scratch_begin();
    char name[16];
    for (int i = 0; i < INSTANCES_MAX; i++) {
        snprintf(name, sizeof name, "i%d", i);
        beat(tx, name, NULL, 1);
    }
    struct instance more = { .name = (char *)(uintptr_t) "more",
                             .capacity = 1,
                             .release = (char *)(uintptr_t) "1.0" };
    CR_STATUS(instance_beat(tx, &more), CA_LIMIT);
    beat(tx, "i0", NULL, 2);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}
