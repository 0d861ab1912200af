/* The queue of management commands: order, one taker, one answer. */
#include "device_command.h"
#include "leak.h"
#include "pc_records.h"

TestSuite(device_command, .init = set_up, .fini = scratch_store_close);

static enum ca_status
queue(struct store_tx *tx, const char *device, const char *body, char ret_id[37])
{
    struct device_command command = { 0 };
    record_from(device_command_fields, body, &command);
    CR_OK(device_command_check(&command, NULL));
    command.device = strdup(device);
    enum ca_status status = device_command_insert(tx, &command);
    if (status == CA_OK && ret_id)
        snprintf(ret_id, 37, "%s", command.id);
    device_command_clear(&command);
    return status;
}

struct taken {
    char ids[8][37];
    int64_t numbers[8];
    size_t count;
};

static enum ca_status
take(const void *record, void *arg)
{
    const struct device_command *command = record;
    struct taken *taken = arg;
    cr_assert_lt(taken->count, 8);
    snprintf(taken->ids[taken->count], 37, "%s", command->id);
    taken->numbers[taken->count++] = command->number;
    return CA_OK;
}

static const char get_body[] = "{\"kind\": \"get\", \"target\": \"./DevDetail/SwV\"}";

static int
state_of(struct store_tx *tx, const char *id)
{
    struct device_command command = { 0 };
    CR_OK(device_command_load(tx, DEVICE, id, &command));
    int state = command.state;
    device_command_clear(&command);
    return state;
}

Test(device_command, keeps_what_was_asked_for)
{
    struct store_tx *tx = scratch_begin();
    char id[37];
    CR_OK(queue(tx, DEVICE,
                "{\"kind\": \"atomic\", \"members\": [{\"kind\": \"add\", \"target\": "
                "\"./a\", \"format\": \"node\"}, {\"kind\": \"exec\", \"target\": "
                "\"./a/b\", \"data\": \"<x>\\n</x>\", \"format\": \"xml\", \"type\": "
                "\"text/plain\"}]}",
                id));
    struct device_command command = { 0 };
    CR_OK(device_command_load(tx, DEVICE, id, &command));
    cr_assert_eq(command.kind, COMMAND_ATOMIC);
    cr_assert_eq(command.number, 1);
    cr_assert_eq(command.stamp.version, 1);
    cr_assert_eq(command.members.count, 2);
    const struct command_member *members = command.members.items;
    cr_assert_str_eq(members[1].data, "<x>\n</x>");
    cr_assert_eq(members[1].format, OMADM_XML);
    cr_assert_eq(members[0].format, OMADM_NODE);
    device_command_clear(&command);
    CR_STATUS(device_command_load(tx, OTHER, id, &command), CA_NOT_FOUND);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(device_command, refuses_what_no_device_can_do)
{
    static const struct {
        const char *body, *pointer;
    } cases[] = {
        { "{\"kind\": \"get\"}", "/target" },
        { "{\"kind\": \"get\", \"target\": \"/a\"}", "/target" },
        { "{\"kind\": \"get\", \"target\": \"./a/\"}", "/target" },
        { "{\"kind\": \"get\", \"target\": \"./a b\"}", "/target" },
        { "{\"kind\": \"get\", \"target\": \"./a\", \"data\": \"x\"}", "/data" },
        { "{\"kind\": \"add\", \"target\": \"./a\"}", "/data" },
        { "{\"kind\": \"add\", \"target\": \"./a\", \"format\": \"node\", \"data\": "
          "\"x\"}",
          "/data" },
        { "{\"kind\": \"atomic\"}", "/members" },
        { "{\"kind\": \"atomic\", \"target\": \"./a\", \"members\": [{\"kind\": "
          "\"delete\", \"target\": \"./a\"}]}",
          "/target" },
        { "{\"kind\": \"get\", \"target\": \"./a\", \"members\": [{\"kind\": "
          "\"delete\", \"target\": \"./a\"}]}",
          "/members" },
        { "{\"kind\": \"atomic\", \"members\": [{\"kind\": \"get\", \"target\": "
          "\"./a\"}]}",
          "/members/0/kind" },
        { "{\"kind\": \"sequence\", \"members\": [{\"kind\": \"atomic\", \"target\": "
          "\"./a\"}]}",
          "/members/0/kind" },
        { "{\"kind\": \"atomic\", \"members\": [{\"kind\": \"add\", \"target\": "
          "\"./a\", \"data\": \"1\"}, {\"kind\": \"replace\", \"target\": \"./a\", "
          "\"data\": \"2\"}]}",
          "/members/1/target" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct device_command command = { 0 };
        struct field_errors errors = { 0 };
        record_from(device_command_fields, cases[i].body, &command);
        CR_STATUS(device_command_check(&command, &errors), CA_MALFORMED);
        cr_assert_str_eq(errors.items[0].pointer, cases[i].pointer, "%s: %s",
                         cases[i].body, errors.items[0].pointer);
        device_command_clear(&command);
    }
    struct device_command command = { 0 };
    record_from(device_command_fields,
                "{\"kind\": \"sequence\", \"members\": [{\"kind\": \"get\", "
                "\"target\": \"./a\"}]}",
                &command);
    CR_OK(device_command_check(&command, NULL));
    device_command_clear(&command);
    LEAK_CHECK();
}

Test(device_command, one_session_takes_each_in_order)
{
    struct store_tx *tx = scratch_begin();
    char ids[5][37];
    for (size_t i = 0; i < 5; i++)
        CR_OK(queue(tx, DEVICE, get_body, ids[i]));
    CR_OK(queue(tx, OTHER, get_body, NULL));
    struct taken one = { 0 }, two = { 0 }, none = { 0 };
    CR_OK(device_command_claim(tx, DEVICE, "s1", 2, take, &one));
    CR_OK(device_command_claim(tx, DEVICE, "s2", 8, take, &two));
    CR_OK(device_command_claim(tx, DEVICE, "s1", 8, take, &none));
    cr_assert_eq(one.count, 2);
    cr_assert_eq(two.count, 3);
    cr_assert_eq(none.count, 0);
    cr_assert_str_eq(one.ids[0], ids[0]);
    cr_assert_str_eq(one.ids[1], ids[1]);
    for (size_t i = 0; i < 3; i++)
        cr_assert_str_eq(two.ids[i], ids[i + 2]);
    /* Only its own session answers, and once. */
    CA_AUTO(json_decref) json_t *result = json_pack("{s:i}", "status", 200);
    CR_STATUS(device_command_finish(tx, DEVICE, ids[0], "s2", false, result),
              CA_CONFLICT);
    CR_STATUS(device_command_finish(tx, OTHER, ids[0], "s1", false, result),
              CA_CONFLICT);
    CR_OK(device_command_finish(tx, DEVICE, ids[0], "s1", false, result));
    CR_STATUS(device_command_finish(tx, DEVICE, ids[0], "s1", true, result),
              CA_CONFLICT);
    CR_OK(device_command_finish(tx, DEVICE, ids[1], "s1", true, result));
    cr_assert_eq(state_of(tx, ids[0]), COMMAND_DONE);
    cr_assert_eq(state_of(tx, ids[1]), COMMAND_FAILED);
    struct taken listed = { 0 };
    CR_OK(device_command_list(tx, DEVICE, "sent", &(struct record_page){ .limit = 2 },
                              take, &listed));
    cr_assert_eq(listed.count, 2);
    cr_assert_eq(listed.numbers[0], 3);
    CR_OK(device_command_list(tx, DEVICE, "sent",
                              &(struct record_page){ .after = "4", .limit = 2 }, take,
                              &listed));
    cr_assert_eq(listed.count, 3);
    cr_assert_eq(listed.numbers[2], 5);
    CR_STATUS(device_command_list(tx, DEVICE, NULL,
                                  &(struct record_page){ .after = "x" }, take, &listed),
              CA_MALFORMED);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(device_command, what_a_lost_session_had_is_sent_again_three_times_at_most)
{
    struct store_tx *tx = scratch_begin();
    char id[37];
    CR_OK(queue(tx, DEVICE, get_body, id));
    for (int i = 0; i < COMMAND_ATTEMPTS_MAX; i++) {
        struct taken taken = { 0 }, early = { 0 };
        CR_OK(device_command_claim(tx, DEVICE, "lost", 8, take, &taken));
        cr_assert_eq(taken.count, 1, "attempt %d", i);
        clock_set(NOW + i * COMMAND_LEASE_SECONDS + COMMAND_LEASE_SECONDS - 1);
        CR_OK(device_command_claim(tx, DEVICE, "next", 8, take, &early));
        cr_assert_eq(early.count, 0);
        clock_set(NOW + (i + 1) * COMMAND_LEASE_SECONDS);
    }
    struct taken taken = { 0 };
    CR_OK(device_command_claim(tx, DEVICE, "next", 8, take, &taken));
    cr_assert_eq(taken.count, 0);
    cr_assert_eq(state_of(tx, id), COMMAND_FAILED);
    /* A session that ended in order gives back at once. */
    CR_OK(queue(tx, DEVICE, get_body, id));
    CR_OK(device_command_claim(tx, DEVICE, "s1", 8, take, &taken));
    CR_OK(device_command_release(tx, DEVICE, "s1"));
    cr_assert_eq(state_of(tx, id), COMMAND_QUEUED);
    CR_OK(device_command_claim(tx, DEVICE, "s2", 8, take, &taken));
    cr_assert_eq(taken.count, 2);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(device_command, is_withdrawn_only_before_it_is_sent)
{
    struct store_tx *tx = scratch_begin();
    char first[37], second[37];
    struct taken taken = { 0 };
    CR_OK(queue(tx, DEVICE, get_body, first));
    CR_OK(device_command_claim(tx, DEVICE, "s1", 8, take, &taken));
    CR_OK(queue(tx, DEVICE, get_body, second));
    CR_STATUS(device_command_withdraw(tx, DEVICE, first), CA_CONFLICT);
    CR_STATUS(device_command_withdraw(tx, OTHER, second), CA_NOT_FOUND);
    CR_OK(device_command_withdraw(tx, DEVICE, second));
    CR_STATUS(device_command_withdraw(tx, DEVICE, second), CA_NOT_FOUND);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(device_command, A5_is_for_no_device_that_is_over)
{
    struct store_tx *tx = scratch_begin();
    CR_STATUS(queue(tx, "2b9b6c1e-8d4f-4e0c-9a53-6f1f0a4f2c11", get_body, NULL),
              CA_NOT_FOUND);
    CR_OK(store_run(tx, "UPDATE device SET state = 3 WHERE id = $1",
                    STORE_VALUES(store_text(OTHER)), NULL, NULL, NULL));
    CR_STATUS(queue(tx, OTHER, get_body, NULL), CA_FORBIDDEN);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(device_command, the_queue_has_an_end)
{
    struct store_tx *tx = scratch_begin();
    CR_OK(
        store_run(tx,
                  "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
                  "WHERE i < $2) INSERT INTO device_command (id, device_id, number, "
                  "content, state, attempts, sent, finished, created, updated, "
                  "version, lease) SELECT 'c' || i, $1, i, '{}', 0, 0, 0, 0, 0, 0, 1, "
                  "0 FROM n",
                  STORE_VALUES(store_text(DEVICE), store_integer(COMMAND_QUEUE_MAX)),
                  NULL, NULL, NULL));
    CR_STATUS(queue(tx, DEVICE, get_body, NULL), CA_LIMIT);
    CR_OK(queue(tx, OTHER, get_body, NULL));
    CR_OK(scratch_end(CA_OK));
}

Test(device_command, goes_with_its_device_or_by_age)
{
    struct store_tx *tx = scratch_begin();
    char id[37];
    struct taken taken = { 0 };
    CA_AUTO(json_decref) json_t *result = json_pack("{s:i}", "status", 200);
    CR_OK(queue(tx, DEVICE, get_body, id));
    CR_OK(device_command_claim(tx, DEVICE, "s", 8, take, &taken));
    CR_OK(device_command_finish(tx, DEVICE, id, "s", false, result));
    CR_OK(device_command_expire(tx, NOW, 8));
    cr_assert_eq(state_of(tx, id), COMMAND_DONE);
    CR_OK(device_command_expire(tx, NOW + 1, 8));
    struct device_command command = { 0 };
    CR_STATUS(device_command_load(tx, DEVICE, id, &command), CA_NOT_FOUND);
    CR_OK(queue(tx, DEVICE, get_body, id));
    CR_OK(device_delete(tx, DEVICE, 1));
    CR_STATUS(device_command_load(tx, DEVICE, id, &command), CA_NOT_FOUND);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(device_command, a_report_changes_member_by_member)
{
    struct store_tx *tx = scratch_begin();
    struct device device = { 0 };
    CA_AUTO(json_decref) json_t *info = json_pack("{s:s}", "Man", "VMware, Inc.");
    CA_AUTO(json_decref) json_t *detail = json_pack("{s:s}", "SwV", "10.0");
    CR_OK(device_report(tx, DEVICE, "dev_info", info));
    CR_OK(device_report(tx, DEVICE, "dev_detail", detail));
    CR_OK(device_report(tx, DEVICE, "dev_info", info));
    CR_STATUS(device_report(tx, "none", "dev_info", info), CA_NOT_FOUND);
    CR_OK(device_load(tx, DEVICE, &device));
    cr_assert(json_equal(json_object_get(device.report, "dev_info"), info));
    cr_assert(json_equal(json_object_get(device.report, "dev_detail"), detail));
    cr_assert_eq(device.stamp.version, 1);
    device_clear(&device);
    char *large = malloc(DEVICE_REPORT_MAX);
    memset(large, 'x', DEVICE_REPORT_MAX - 1);
    large[DEVICE_REPORT_MAX - 1] = '\0';
    CA_AUTO(json_decref) json_t *much = json_pack("{s:s}", "x", large);
    CR_STATUS(device_report(tx, DEVICE, "much", much), CA_LIMIT);
    free(large);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}
