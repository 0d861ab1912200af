/* Devices and the keys they hold. */
#include "clock.h"
#include "device.h"
#include "leak.h"
#include "scratch_records.h"

TestSuite(device, .init = scratch_store_open, .fini = scratch_store_close);

static char *
device_make(struct store_tx *tx, const char *body)
{
    struct device device = { 0 };
    record_from(device_fields, body, &device);
    CR_OK(device_insert(tx, &device));
    char *id = CA_STEAL(device.id);
    device_clear(&device);
    return id;
}

static void
key_fill(uint8_t key[32], int value)
{
    memset(key, value, 32);
}

Test(device, draws_its_id_and_comes_back)
{
    struct store_tx *tx = scratch_begin();
    struct device device = { 0 }, loaded = { 0 };
    user_make(tx, "alice");
    record_from(device_fields,
                "{\"owner\": \"alice\", \"kind\": \"router\", "
                "\"hardware\": {\"serial\": \"X1\"}, \"report\": {\"os\": {\"v\": 1}}}",
                &device);
    CR_OK(device_insert(tx, &device));
    cr_assert_eq(strlen(device.id), 36);
    CR_OK(device_load(tx, device.id, &loaded));
    cr_assert_eq(loaded.state, DEVICE_PENDING);
    CA_AUTO(json_decref) json_t *before = field_encode(device_fields, &device);
    CA_AUTO(json_decref) json_t *after = field_encode(device_fields, &loaded);
    cr_assert(json_equal(before, after));
    CR_STATUS(device_insert(tx, &device), CA_CONFLICT);
    device_clear(&device);
    device_clear(&loaded);
    CR_STATUS(device_load(tx, "none", &loaded), CA_NOT_FOUND);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(device, owner_must_exist)
{
    struct store_tx *tx = scratch_begin();
    struct device device = { 0 };
    record_from(device_fields, "{\"owner\": \"alice\"}", &device);
    CR_STATUS(device_insert(tx, &device), CA_CONFLICT);
    user_make(tx, "alice");
    CR_OK(device_insert(tx, &device));
    free(device.owner);
    device.owner = strdup("bob");
    CR_STATUS(device_update(tx, &device), CA_CONFLICT);
    free(device.owner);
    device.owner = NULL;
    CR_OK(device_update(tx, &device));
    cr_assert_eq(device.stamp.version, 2);
    device.stamp.version = 1;
    CR_STATUS(device_update(tx, &device), CA_CONFLICT);
    CR_STATUS(device_delete(tx, device.id, 1), CA_CONFLICT);
    CR_OK(device_delete(tx, device.id, 2));
    CR_STATUS(device_delete(tx, device.id, 2), CA_NOT_FOUND);
    device_clear(&device);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(device, R7_hardware_for_templates_is_clean_text)
{
    static const char *const bodies[] = {
        "{\"hardware\": {\"serial\": 1}}",
        "{\"hardware\": {\"serial\": \"a\\nb\"}}",
        "{\"hardware\": [\"a\"]}",
        "{\"report\": \"text\"}",
        "{\"id\": \"0\"}",
        "{\"last_seen\": \"2026-11-22T10:00:00Z\"}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct device device = { 0 };
        CA_AUTO(json_decref) json_t *body = json_loads(bodies[i], 0, NULL);
        cr_expect_eq(field_decode(device_fields, body, &device, NULL), CA_MALFORMED,
                     "%s", bodies[i]);
    }
    LEAK_CHECK();
}

Test(device, list_takes_every_filter)
{
    static const struct {
        struct device_filter filter;
        int count;
    } cases[] = {
        { { 0 }, 3 },
        { { .owner = "alice" }, 2 },
        { { .kind = "router" }, 2 },
        { { .state = "active" }, 1 },
        { { .owner = "alice", .kind = "router", .state = "pending" }, 1 },
        { { .owner = "alice", .is_enrolled = true }, 2 },
        { { .owner = "carol" }, 0 },
    };
    struct store_tx *tx = scratch_begin();
    user_make(tx, "alice");
    user_make(tx, "bob");
    free(device_make(tx, "{\"owner\": \"alice\", \"kind\": \"router\"}"));
    free(device_make(tx, "{\"owner\": \"alice\", \"kind\": \"phone\"}"));
    free(device_make(
        tx, "{\"owner\": \"bob\", \"kind\": \"router\", \"state\": \"active\"}"));
    struct record_page page = { NULL, 100 };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gathered gathered = { 0 };
        CR_OK(device_list(tx, &cases[i].filter, &page, gather_key, &gathered));
        cr_expect_eq(gathered.size, (size_t)cases[i].count * 37, "case %zu", i);
    }
    struct device_filter unknown = { .state = "gone" };
    CR_STATUS(device_list(tx, &unknown, &page, gather_key, &(struct gathered){ 0 }),
              CA_MALFORMED);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(device, A5_touch_activates_and_refuses_a_disabled_one)
{
    struct store_tx *tx = scratch_begin();
    struct device device = { 0 };
    CA_AUTO(free) char *id = device_make(tx, "{}");
    clock_set(5000);
    CR_OK(device_touch(tx, id, false));
    CR_OK(device_load(tx, id, &device));
    cr_assert_eq(device.state, DEVICE_PENDING);
    cr_assert_eq(device.last_seen, 5000);
    cr_assert_eq(device.stamp.version, 1);
    device_clear(&device);
    CR_OK(device_touch(tx, id, true));
    CR_OK(device_touch(tx, id, true));
    CR_OK(device_load(tx, id, &device));
    cr_assert_eq(device.state, DEVICE_ACTIVE);
    cr_assert_eq(device.stamp.version, 2);
    static const int ends[] = { DEVICE_DISABLED, DEVICE_UNENROLLED };
    for (size_t i = 0; i < 2; i++) {
        device.state = ends[i];
        CR_OK(device_update(tx, &device));
        CR_STATUS(device_touch(tx, id, true), CA_FORBIDDEN);
    }
    CR_STATUS(device_touch(tx, "none", true), CA_NOT_FOUND);
    device_clear(&device);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(device, R4_key_of_another_device_is_refused)
{
    struct store_tx *tx = scratch_begin();
    CA_AUTO(free) char *a = device_make(tx, "{}"), *b = device_make(tx, "{}");
    CA_AUTO(free) char *holder = NULL;
    uint8_t key[32], other[32];
    key_fill(key, 1);
    key_fill(other, 2);
    CR_STATUS(device_of_key(tx, key, &holder), CA_NOT_FOUND);
    CR_OK(device_claim_key(tx, a, key, false));
    CR_OK(device_claim_key(tx, a, key, false)); /* a renewal with the same key */
    CR_OK(device_claim_key(tx, a, other, false));
    CR_STATUS(device_claim_key(tx, b, key, false), CA_FORBIDDEN);
    CR_OK(device_of_key(tx, key, &holder));
    cr_assert_str_eq(holder, a);
    /* Where the profile shares keys, both hold it; elsewhere neither may go on. */
    CR_OK(device_claim_key(tx, b, key, true));
    CR_OK(device_claim_key(tx, b, key, true));
    CR_STATUS(device_claim_key(tx, a, key, false), CA_FORBIDDEN);
    CR_OK(device_claim_key(tx, a, key, true));
    /* A device that is gone holds nothing. */
    CR_OK(device_delete(tx, a, 1));
    CR_OK(device_claim_key(tx, b, other, false));
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(device, R4_blocked_key_is_refused_for_good)
{
    struct store_tx *tx = scratch_begin();
    CA_AUTO(free) char *a = device_make(tx, "{}");
    uint8_t held[32], fresh[32];
    key_fill(held, 1);
    key_fill(fresh, 2);
    CR_OK(device_claim_key(tx, a, held, false));
    CR_OK(device_block_key(tx, held, "key_compromise"));
    CR_OK(device_block_key(tx, held, "weak"));
    CR_OK(device_block_key(tx, fresh, "ca_key"));
    for (int shared = 0; shared < 2; shared++) {
        CR_STATUS(device_claim_key(tx, a, held, shared), CA_FORBIDDEN);
        cr_assert_not_null(strstr(status_message(), "key_compromise"), "%s",
                           status_message());
        CR_STATUS(device_claim_key(tx, a, fresh, shared), CA_FORBIDDEN);
    }
    CR_OK(scratch_end(CA_OK));
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM device_key"), 1);
    LEAK_CHECK();
}

struct claim {
    char device[37];
    pthread_t thread;
    enum ca_status status;
};

static enum ca_status
claim_closure(struct store_tx *tx, void *arg)
{
    static const uint8_t key[32] = { 7 };
    return device_claim_key(tx, ((struct claim *)arg)->device, key, false);
}

static void *
claim_thread(void *arg)
{
    struct claim *claim = arg;
    claim->status = store_write(scratch_store, claim_closure, claim);
    return NULL;
}

Test(device, R4_of_parallel_claims_of_one_key_one_passes)
{
    struct claim claims[8];
    struct store_tx *tx = scratch_begin();
    for (size_t i = 0; i < 8; i++) {
        CA_AUTO(free) char *id = device_make(tx, "{}");
        snprintf(claims[i].device, sizeof claims[i].device, "%s", id);
    }
    CR_OK(scratch_end(CA_OK));
    for (size_t i = 0; i < 8; i++)
        cr_assert_eq(pthread_create(&claims[i].thread, NULL, claim_thread, &claims[i]),
                     0);
    int passed = 0;
    for (size_t i = 0; i < 8; i++) {
        pthread_join(claims[i].thread, NULL);
        passed += claims[i].status == CA_OK;
        cr_expect(claims[i].status == CA_OK || claims[i].status == CA_FORBIDDEN);
    }
    cr_assert_eq(passed, 1);
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM device_key"), 1);
    LEAK_CHECK();
}
