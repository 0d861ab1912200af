/* What devices say of themselves: kept, merged, and never a way to another's device. */
#include "device_facts.h"
#include "leak.h"
#include "scratch_records.h"

TestSuite(device_facts, .init = scratch_store_open, .fini = scratch_store_close);

static struct device_facts
facts_of(const char *alias, const char *hardware, const char *report)
{
    struct device_facts facts = { .kind = strdup("windows"),
                                  .alias = alias ? strdup(alias) : NULL,
                                  .hardware = json_loads(hardware, 0, NULL),
                                  .report = json_loads(report, 0, NULL) };
    cr_assert(facts.hardware && facts.report);
    return facts;
}

static void
device_of(struct store_tx *tx, const char *owner, struct device *ret_device)
{
    char body[64];
    snprintf(body, sizeof body, "{\"owner\": \"%s\", \"kind\": \"windows\"}", owner);
    record_from(device_fields, body, ret_device);
    CR_OK(device_insert(tx, ret_device));
}

Test(device_facts, checks_what_a_device_says)
{
    const struct {
        const char *alias, *hardware, *report;
        enum ca_status expected;
    } cases[] = {
        { "B5B954E81FBC", "{\"imei\": \"1\"}", "{\"mac\": [\"a\"]}", CA_OK },
        { NULL, "{}", "{}", CA_OK },
        { "", "{}", "{}", CA_LIMIT },
        { "a\nb", "{}", "{}", CA_MALFORMED },
        { "a", "{\"imei\": 1}", "{}", CA_MALFORMED },
        { "a", "{\"imei\": \"1\\n2\"}", "{}", CA_MALFORMED },
        { "a", "[]", "{}", CA_MALFORMED },
        { "a", "{}", "[]", CA_MALFORMED },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct device_facts facts =
            facts_of(cases[i].alias, cases[i].hardware, cases[i].report);
        cr_expect_eq(device_facts_check(&facts), cases[i].expected, "case %zu", i);
        device_facts_clear(&facts);
    }
    struct device_facts many = facts_of(NULL, "{}", "{}");
    for (int i = 0; i <= DEVICE_MEMBERS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        json_object_set_new(many.report, name, json_true());
    }
    CR_STATUS(device_facts_check(&many), CA_LIMIT);
    device_facts_clear(&many);
    LEAK_CHECK();
}

Test(device_facts, news_replace_what_has_the_same_name)
{
    struct store_tx *tx = scratch_begin();
    struct device device = { 0 }, loaded = { 0 };
    user_make(tx, "alice");
    device_of(tx, "alice", &device);
    struct device_facts first = facts_of("A", "{\"imei\": \"1\", \"hw\": \"x\"}",
                                         "{\"os\": \"10\", \"mac\": [\"a\", \"b\"]}");
    struct device_facts then = facts_of("B", "{\"imei\": \"2\"}", "{\"os\": \"11\"}");
    CR_OK(device_note(tx, device.id, &first));
    CR_OK(device_note(tx, device.id, &then));
    CR_OK(device_load(tx, device.id, &loaded));
    CA_AUTO(json_decref)
    json_t *hardware = json_loads("{\"imei\": \"2\", \"hw\": \"x\"}", 0, NULL);
    CA_AUTO(json_decref)
    json_t *report = json_loads("{\"os\": \"11\", \"mac\": [\"a\", \"b\"]}", 0, NULL);
    cr_expect(json_equal(loaded.hardware, hardware));
    cr_expect(json_equal(loaded.report, report));
    CR_STATUS(device_note(tx, "none", &then), CA_NOT_FOUND);
    device_facts_clear(&first);
    device_facts_clear(&then);
    device_clear(&device);
    device_clear(&loaded);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(device_facts, a_device_grows_no_further_than_a_record_holds)
{
    struct store_tx *tx = scratch_begin();
    struct device device = { 0 };
    user_make(tx, "alice");
    device_of(tx, "alice", &device);
    struct device_facts facts = facts_of(NULL, "{}", "{}");
    for (int i = 0; i < DEVICE_MEMBERS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        json_object_set_new(facts.report, name, json_true());
    }
    struct device_facts one = facts_of(NULL, "{}", "{\"more\": true}");
    CR_OK(device_note(tx, device.id, &facts));
    CR_STATUS(device_note(tx, device.id, &one), CA_LIMIT);
    device_facts_clear(&facts);
    device_facts_clear(&one);
    device_clear(&device);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(device_facts, a_new_key_is_one_that_nobody_held)
{
    struct store_tx *tx = scratch_begin();
    struct device device = { 0 };
    uint8_t key[32], blocked[32];
    memset(key, 1, sizeof key);
    memset(blocked, 2, sizeof blocked);
    user_make(tx, "alice");
    device_of(tx, "alice", &device);
    CR_OK(device_claim_new_key(tx, device.id, key));
    CR_STATUS(device_claim_new_key(tx, device.id, key), CA_FORBIDDEN);
    CR_OK(device_claim_key(tx, device.id, key, false));
    CR_OK(device_block_key(tx, blocked, "weak"));
    CR_STATUS(device_claim_new_key(tx, device.id, blocked), CA_FORBIDDEN);
    device_clear(&device);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}
