/* Management sessions in the state: what is listed, and what gives way. */
#include "clock.h"
#include "device_session.h"
#include "leak.h"
#include "scratch_records.h"
#include "state.h"

#define NOW 1795341600
#define DEVICE "0b9b6c1e-8d4f-4e0c-9a53-6f1f0a4f2c11"
#define OTHER "0b9b6c1e-8d4f-4e0c-9a53-6f1f0a4f2c12"

static void
set_up(void)
{
    clock_set(NOW);
    scratch_store_open();
}

TestSuite(device_session, .init = set_up, .fini = scratch_store_close);

static void
put(struct store_tx *tx, const char *device, const char *id, int64_t expires)
{
    char key[64], value[256];
    snprintf(key, sizeof key, "%s %s", device, id);
    snprintf(value, sizeof value,
             "{\"next\": 4, \"shown\": {\"id\": \"%s\", \"over\": %s, \"started\": %d, "
             "\"updated\": %d, \"messages\": 3, \"waiting\": 2}}",
             id, id[0] == 'o' ? "true" : "false", NOW - 60, NOW - 30);
    CR_OK(state_put(tx, "syncml/session", key, value, strlen(value), expires));
}

struct found {
    char ids[64][17];
    size_t count;
};

static enum ca_status
visit(const void *record, void *arg)
{
    const struct device_session *session = record;
    struct found *found = arg;
    cr_assert_lt(found->count, 64);
    cr_expect_eq(session->state,
                 session->id[0] == 'o' ? DEVICE_SESSION_OVER : DEVICE_SESSION_RUNNING);
    cr_expect(session->started == NOW - 60 && session->updated == NOW - 30);
    cr_expect(session->messages == 3 && session->waiting == 2);
    snprintf(found->ids[found->count++], 17, "%s", session->id);
    return CA_OK;
}

static size_t
count(struct store_tx *tx, const char *device)
{
    struct found found = { .count = 0 };
    CR_OK(device_session_list(tx, device, &(struct record_page){ .limit = 60 }, visit,
                              &found));
    return found.count;
}

Test(device_session, lists_the_live_ones_of_a_device_page_by_page)
{
    struct store_tx *tx = scratch_begin();
    struct found found = { .count = 0 };
    put(tx, DEVICE, "0", NOW + 600);
    put(tx, DEVICE, "over", NOW + 600);
    put(tx, DEVICE, "7", NOW); /* has expired */
    put(tx, DEVICE, "F1", NOW + 600);
    put(tx, OTHER, "0", NOW + 600);
    struct record_page page = { .limit = 2 };
    CR_OK(device_session_list(tx, DEVICE, &page, visit, &found));
    cr_assert_eq(found.count, 2);
    page.after = found.ids[1];
    CR_OK(device_session_list(tx, DEVICE, &page, visit, &found));
    cr_assert_eq(found.count, 3);
    cr_expect_str_eq(found.ids[0], "0");
    cr_expect_str_eq(found.ids[1], "F1");
    cr_expect_str_eq(found.ids[2], "over");
    cr_expect_eq(count(tx, OTHER), 1);
    cr_expect_eq(count(tx, "nobody"), 0);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(device_session, R8_a_device_has_no_more_than_sixteen)
{
    struct store_tx *tx = scratch_begin();
    char id[17];
    put(tx, OTHER, "0", NOW + 1);
    for (int i = 0; i < 40; i++) {
        snprintf(id, sizeof id, "%d", 100 + i);
        CR_OK(device_session_trim(tx, DEVICE));
        put(tx, DEVICE, id, NOW + 300 + i);
    }
    cr_expect_eq(count(tx, DEVICE), DEVICE_SESSION_MAX);
    struct found found = { .count = 0 };
    CR_OK(device_session_list(tx, DEVICE, &(struct record_page){ .limit = 1 }, visit,
                              &found));
    cr_expect_str_eq(found.ids[0], "124", "the oldest give way");
    cr_expect_eq(count(tx, OTHER), 1);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}
