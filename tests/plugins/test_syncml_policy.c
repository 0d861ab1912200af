/* What management brings by itself through the real core: policy and SCEP profile, in
 * messages as large as the device takes. */
#include "clock.h"
#include "pc.h"

TestSuite(syncml_policy, .init = pc_setup, .fini = pc_teardown, .timeout = 120);

Test(syncml_policy, the_policy_is_brought_and_drift_is_mended)
{
    struct pc pc;
    house_profile(
        &pc_house, PROFILE_POLICY,
        "{\"name\": \"default\", \"settings\": {\"items\": ["
        "{\"uri\": \"./Device/A\", \"data\": \"1\", \"format\": \"int\"},"
        "{\"uri\": \"./Device/B\", \"data\": \"<b/>\", \"format\": \"xml\", "
        "\"verb\": \"add\"},"
        "{\"uri\": \"./Device/C\", \"verb\": \"delete\"},"
        "{\"uri\": \"./Device/D\", \"data\": \"true\", \"format\": \"bool\"}]}}");
    pc_open(&pc, "6");
    json_object_set_new(pc.tree, "./Device/C", json_string("stale"));
    json_object_set_new(pc.tree, "./Device/D", json_string("True"));
    pc_session(&pc);
    cr_assert_str_eq(json_string_value(json_object_get(pc.tree, "./Device/A")), "1");
    cr_assert_str_eq(json_string_value(json_object_get(pc.tree, "./Device/B")), "<b/>");
    cr_assert_null(json_object_get(pc.tree, "./Device/C"));
    cr_assert_str_eq(json_string_value(json_object_get(pc.tree, "./Device/D")), "True");
    cr_assert_eq(house_integer(&pc_house,
                               "SELECT count(*) FROM audit_entry WHERE action = "
                               "'device.policy'"),
                 1);
    json_object_set_new(pc.tree, "./Device/A", json_string("2")); /* drift */
    pc.session = "7";
    pc_session(&pc);
    cr_assert_str_eq(json_string_value(json_object_get(pc.tree, "./Device/A")), "1");
    cr_assert_eq(house_integer(&pc_house,
                               "SELECT count(*) FROM audit_entry WHERE action = "
                               "'device.policy'"),
                 2);
    pc.session = "8";
    pc_session(&pc); /* nothing to mend: nothing to tell */
    cr_assert_eq(house_integer(&pc_house,
                               "SELECT count(*) FROM audit_entry WHERE action = "
                               "'device.policy'"),
                 2);
    pc_close(&pc);
}

/* OMA-TS-DM_Protocol-V1_2 section 7; pc_send_raw holds each answer to it. */
Test(syncml_policy, R8_no_answer_is_larger_than_the_device_takes)
{
    static const size_t sizes[] = { SYNCML_SIZE_MIN, 4096, 16384 };
    struct pc pc;
    char items[4096] = "", sql[9000], data[8193];
    for (int i = 0; i < 30; i++)
        snprintf(items + strlen(items), sizeof items - strlen(items),
                 "%s{\"uri\": \"./Device/%d\", \"data\": \"%d<&>\"}", i ? "," : "", i,
                 i);
    CA_AUTO(free) char *profile = NULL;
    cr_assert(asprintf(&profile,
                       "{\"name\": \"default\", \"settings\": {\"items\": [%s]}}",
                       items) > 0);
    house_profile(&pc_house, PROFILE_POLICY, profile);
    for (size_t i = 0; i < 3; i++) {
        house_run(&pc_house, "DELETE FROM device_command");
        house_run(&pc_house, "UPDATE device SET report = '{}'");
        pc_queue(100);
        memset(data, '&', sizeof data - 1);
        data[sizeof data - 1] = '\0';
        snprintf(sql, sizeof sql,
                 "UPDATE device_command SET content = '{\"kind\":\"add\",\"target\":"
                 "\"./Large\",\"data\":\"%s\"}' WHERE number = 50",
                 data);
        house_run(&pc_house, sql);
        pc_open(&pc, "1");
        pc.max_size = sizes[i];
        pc_session(&pc);
        cr_assert_str_eq(syncml_text(pc.root, "SyncHdr/Meta/MaxMsgSize"), "524288");
        cr_assert_str_eq(json_string_value(json_object_get(pc.tree, "./Device/29")),
                         "29<&>");
        cr_assert_eq(house_integer(&pc_house,
                                   "SELECT count(*) FROM device_command WHERE "
                                   "state = 2 AND attempts = 1"),
                     99);
        cr_assert_eq(house_integer(&pc_house,
                                   "SELECT count(*) FROM device_command WHERE "
                                   "state = 3 AND result LIKE '%MaxMsgSize%'"),
                     1);
        cr_assert_eq(house_integer(&pc_house,
                                   "SELECT count(*) FROM device WHERE report "
                                   "LIKE '%\"HwV\":\"V<1>&2\"%'"),
                     1);
        pc_close(&pc);
    }
    pc_open(&pc, "2");
    pc.max_size = SYNCML_SIZE_MIN - 1;
    CA_AUTO(free) char *text = pc_message(&pc, 1, true);
    pc.max_size = 0;
    pc_send_raw(&pc, text, strlen(text), SYNCML_TYPE);
    cr_assert_eq(pc.http, 400);
    pc_close(&pc);
}

/* Package 1 with so many nodes of DevInfo. */
static void
begin_with_nodes(struct pc *pc, int count)
{
    for (int i = 0; i < count; i++)
        text_print(&pc->body,
                   "<Replace><CmdID>%d</CmdID><Item><Source><LocURI>./DevInfo/N%d"
                   "</LocURI></Source><Data>%d</Data></Item></Replace>",
                   i + 1, i, i);
    pc_send(pc);
    cr_assert_eq(pc->http, 200);
}

/* Statuses of the answer behind that of SyncHdr for commands of message 1, which must
 * come in order. */
static int
statuses_follow(const struct pc *pc, int after)
{
    const struct xml_node *body = syncml_node(pc->root, "SyncBody");
    for (const struct xml_node *node = body->first; node; node = node->next) {
        if (strcmp(node->name, "Status") != 0 ||
            strcmp(syncml_text(node, "MsgRef"), "1") != 0 ||
            strcmp(syncml_text(node, "CmdRef"), "0") == 0)
            continue;
        cr_assert_eq(atoi(syncml_text(node, "CmdRef")), ++after);
        cr_assert_str_eq(syncml_text(node, "Cmd"), "Replace");
        cr_assert_str_eq(syncml_text(node, "Data"),
                         after <= SYNCML_INFO_MAX ? "200" : "404");
    }
    return after;
}

/* OMA-TS-DM_Protocol-V1_2 section 7: a package in several messages, each but the last
 * without Final, each asked for by Alert 1222. */
Test(syncml_policy, statuses_spread_over_messages_before_any_command)
{
    for (int is_final = 0; is_final <= 1; is_final++) {
        struct pc pc;
        int heard, messages = 0;
        pc_open(&pc, is_final ? "1" : "2");
        house_run(&pc_house, "UPDATE device SET report = '{}'");
        pc.max_size = SYNCML_SIZE_MIN;
        begin_with_nodes(&pc, 60);
        heard = statuses_follow(&pc, 0);
        while (!syncml_node(pc.root, "SyncBody/Final")) {
            cr_assert_eq(pc_header_code(&pc), 200);
            cr_assert_null(syncml_node(pc.root, "SyncBody/Get"));
            cr_assert_lt(++messages, 60);
            text_print(&pc.body, "<Alert><CmdID>1</CmdID><Data>1222</Data></Alert>");
            CA_AUTO(free) char *text = pc_message(&pc, ++pc.message, is_final == 1);
            pc_send_raw(&pc, text, strlen(text), SYNCML_TYPE);
            text_buffer_clear(&pc.body);
            cr_assert_eq(pc.http, 200);
            heard = statuses_follow(&pc, heard);
        }
        cr_assert_eq(heard, 60);
        cr_assert_gt(messages, 5);
        cr_assert(pc_obey(&pc), "what first contact reads follows");
        cr_assert_gt(pc.gets, 0);
        cr_assert_eq(house_integer(&pc_house, "SELECT count(*) FROM device WHERE "
                                              "report LIKE '%\"N31\":\"31\"%'"),
                     1);
        pc_close(&pc);
    }
}

Test(syncml_policy, R8_statuses_that_would_wait_have_a_limit)
{
    struct pc pc;
    pc_open(&pc, "1");
    pc.max_size = SYNCML_SIZE_MIN;
    begin_with_nodes(&pc, SYNCML_LEFT_MAX + 20);
    cr_assert_eq(pc_header_code(&pc), 413);
    cr_assert_eq(house_integer(&pc_house, "SELECT count(*) FROM device WHERE report "
                                          "LIKE '%\"N5\"%'"),
                 0);
    pc_close(&pc);
}

static void
policy_set(const char *items)
{
    char sql[512];
    snprintf(sql, sizeof sql,
             "UPDATE profile SET version = version + 1, settings = '{\"items\": [%s]}' "
             "WHERE kind = 'policy'",
             items);
    house_run(&pc_house, sql);
}

static bool
has_node(const struct pc *pc, const char *uri)
{
    return json_object_get(pc->tree, uri) != NULL;
}

Test(syncml_policy, what_a_policy_names_no_longer_is_taken_away)
{
    struct pc pc;
    house_profile(&pc_house, PROFILE_POLICY,
                  "{\"name\": \"default\", \"settings\": {\"items\": ["
                  "{\"uri\": \"./Device/A\", \"data\": \"1\"},"
                  "{\"uri\": \"./Device/B\", \"data\": \"2\"},"
                  "{\"uri\": \"./Device/C\", \"data\": \"3\"},"
                  "{\"uri\": \"./Device/D\", \"verb\": \"delete\"}]}}");
    pc_open(&pc, "1");
    json_object_set_new(pc.tree, "./Device/Own", json_string("the user's"));
    pc_session(&pc);
    cr_assert(has_node(&pc, "./Device/A") && has_node(&pc, "./Device/B"));
    /* B goes; C goes as a node, but what is under it is wanted. */
    policy_set("{\"uri\": \"./Device/A\", \"data\": \"1\"},"
               "{\"uri\": \"./Device/C/x\", \"data\": \"4\"}");
    json_object_set_new(pc.tree, "./Device/D", json_string("somebody's"));
    pc.session = "2";
    pc_session(&pc);
    cr_assert(has_node(&pc, "./Device/A") && !has_node(&pc, "./Device/B"));
    cr_assert(has_node(&pc, "./Device/C") && has_node(&pc, "./Device/C/x"));
    cr_assert(has_node(&pc, "./Device/D")); /* never ours */
    cr_assert(has_node(&pc, "./Device/Own"));
    /* Without any policy, all of it. */
    house_run(&pc_house, "DELETE FROM profile WHERE kind = 'policy'");
    pc.session = "3";
    pc_session(&pc);
    cr_assert(!has_node(&pc, "./Device/A") && !has_node(&pc, "./Device/C/x"));
    cr_assert(has_node(&pc, "./Device/Own") && has_node(&pc, "./Device/D"));
    cr_assert_eq(house_integer(&pc_house,
                               "SELECT count(*) FROM device_management WHERE "
                               "nodes = '[]'"),
                 1);
    pc.gets = 0;
    pc.session = "4";
    pc_session(&pc); /* nothing is left to look for */
    cr_assert_eq(pc.gets, 0);
    pc_close(&pc);
}

/* A session that breaks off has told the core first what it puts on the pc_device. */
Test(syncml_policy, a_node_of_a_broken_session_is_taken_away_too)
{
    struct pc pc;
    house_profile(&pc_house, PROFILE_POLICY,
                  "{\"name\": \"default\", \"settings\": {\"items\": ["
                  "{\"uri\": \"./Device/A\", \"data\": \"1\"}]}}");
    pc_open(&pc, "1");
    pc_begin(&pc);
    while (!has_node(&pc, "./Device/A")) {
        cr_assert(pc_obey(&pc));
        if (!has_node(&pc, "./Device/A"))
            pc_send(&pc);
    }
    text_buffer_clear(&pc.body); /* it never hears of the node */
    policy_set("{\"uri\": \"./Device/B\", \"data\": \"1\"}");
    pc.session = "2";
    pc.id = 0;
    pc_session(&pc);
    cr_assert(!has_node(&pc, "./Device/A") && has_node(&pc, "./Device/B"));
    pc_close(&pc);
}

static int64_t
count_reports(const char *pattern)
{
    char sql[256];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM device WHERE report LIKE '%s'",
             pattern);
    return house_integer(&pc_house, sql);
}

/* [MS-MDM]: the user's part of the tree is there when the user is. */
Test(syncml_policy, nodes_of_the_user_wait_for_the_user)
{
    static const char *const others[] = { "none", "others" };
    struct pc pc;
    house_profile(&pc_house, PROFILE_POLICY,
                  "{\"name\": \"default\", \"settings\": {\"items\": ["
                  "{\"uri\": \"./User/A\", \"data\": \"1\"},"
                  "{\"uri\": \"./Device/B\", \"data\": \"1\"}]}}");
    pc_open(&pc, "1");
    pc.opaque = "./User/A"; /* not even to be read is a reason to think it is there */
    for (size_t i = 0; i < 2; i++) {
        pc.login = others[i];
        pc.session = others[i];
        pc_session(&pc);
        cr_assert(!has_node(&pc, "./User/A") && has_node(&pc, "./Device/B"));
        cr_assert_eq(count_reports("%\"failed\":{}%\"without_user\":true%"), 1);
    }
    pc.login = NULL;
    pc.session = "2";
    json_object_set_new(pc.tree, "./User/A", json_string("0")); /* takes Replace */
    pc_session(&pc);
    cr_assert_str_eq(json_string_value(json_object_get(pc.tree, "./User/A")), "1");
    cr_assert_eq(count_reports("%without_user%"), 0);
    /* What the policy names no longer waits in the same way. */
    policy_set("{\"uri\": \"./Device/B\", \"data\": \"1\"}");
    pc.opaque = NULL;
    for (size_t i = 0; i < 2; i++) {
        pc.login = others[i];
        pc.session = others[i];
        pc_session(&pc);
        cr_assert(has_node(&pc, "./User/A"));
    }
    pc.login = "user";
    pc.session = "3";
    pc_session(&pc);
    cr_assert(!has_node(&pc, "./User/A"));
    pc_close(&pc);
}

Test(syncml_policy, what_cannot_be_read_is_tried_again_until_it_was_set)
{
    struct pc pc;
    house_profile(&pc_house, PROFILE_POLICY,
                  "{\"name\": \"default\", \"settings\": {\"items\": ["
                  "{\"uri\": \"./Device/A\", \"data\": \"1\"}]}}");
    pc_open(&pc, "0");
    json_object_set_new(pc.tree, "./Device/A", json_string("0"));
    pc.opaque = pc.broken = "./Device/A";
    static const char *const sessions[] = { "1", "2", "3" };
    for (size_t i = 0; i < 3; i++) {
        pc.session = sessions[i];
        pc_session(&pc);
        cr_assert_eq(count_reports("%\"failed\":{\"./Device/A\":500}%"), 1, "%zu", i);
    }
    pc.broken = NULL;
    pc.session = "4";
    pc_session(&pc);
    cr_assert_str_eq(json_string_value(json_object_get(pc.tree, "./Device/A")), "1");
    cr_assert_eq(count_reports("%\"failed\":{}%"), 1);
    /* Once: nobody can tell whether it is there. */
    json_object_set_new(pc.tree, "./Device/A", json_string("0"));
    pc.session = "5";
    pc_session(&pc);
    cr_assert_str_eq(json_string_value(json_object_get(pc.tree, "./Device/A")), "0");
    pc_close(&pc);
}

Test(syncml_policy, the_scep_profile_goes_out_once_and_our_record_judges)
{
    struct pc pc;
    char uri[128];
    house_profile(&pc_house, PROFILE_CERTIFICATE,
                  "{\"name\": \"wifi\", \"settings\": {\"issuer\": \"issuing\", "
                  "\"subject\": \"CN={{user.name}},O={{organisation.name}}\", "
                  "\"extended_key_usage\": [\"client_auth\", \"1.2.3.4\"]}}");
    house_profile(&pc_house, PROFILE_SCEP,
                  "{\"name\": \"default\", \"settings\": {\"certificate\": \"wifi\"}}");
    house_run(&pc_house, "UPDATE challenge SET created = created - 7200");
    pc_open(&pc, "1");
    pc_session(&pc);
    cr_assert_eq(pc.atomics, 1);
    const char *id = NULL, *node;
    json_t *value;
    json_object_foreach (pc.tree, node, value) {
        const char *at = strstr(node, "/SCEP/");
        if (at && strstr(node, "/Install/Challenge"))
            id = at + 6;
    }
    cr_assert_not_null(id);
    snprintf(uri, sizeof uri,
             "./Device/Vendor/MSFT/ClientCertificateInstall/SCEP/%.16s/Install/", id);
    static const struct {
        const char *node, *value;
    } nodes[] = { { "KeyUsage", "160" },
                  { "KeyLength", "2048" },
                  { "EKUMapping", "1.3.6.1.5.5.7.3.2+1.2.3.4" },
                  { "Enroll", "executed" } };
    for (size_t i = 0; i < sizeof nodes / sizeof nodes[0]; i++) {
        char path[192];
        snprintf(path, sizeof path, "%s%s", uri, nodes[i].node);
        cr_assert_str_eq(json_string_value(json_object_get(pc.tree, path)),
                         nodes[i].value);
    }
    char path[192];
    snprintf(path, sizeof path, "%sChallenge", uri);
    const char *challenge = json_string_value(json_object_get(pc.tree, path));
    cr_assert_eq(strspn(challenge, "0123456789ABCDEF"), 48); /* Windows refuses '_' */
    snprintf(path, sizeof path, "%sCAThumbprint", uri);
    cr_assert_eq(strlen(json_string_value(json_object_get(pc.tree, path))), 40);
    /* Under way: not offered again, whatever the device says. */
    pc.session = "2";
    pc_session(&pc);
    cr_assert_eq(pc.atomics, 1);
    /* The device enrols by the challenge; from then on it has what it needs. */
    struct house_device enrolled = { 0 };
    house_device_make(&enrolled, "alice", NULL);
    cr_assert_eq(house_enroll(&pc_house, &enrolled, challenge, "scep"), CA_OK, "%s",
                 status_message());
    house_device_clear(&enrolled);
    cr_assert_eq(house_integer(&pc_house, "SELECT count(DISTINCT device_id) FROM "
                                          "certificate WHERE device_id IS NOT NULL"),
                 1);
    house_run(&pc_house, "UPDATE challenge SET created = created - 7200");
    pc.session = "3";
    pc_session(&pc);
    cr_assert_eq(pc.atomics, 1);
    /* Revoked: our record says so, and it is offered anew. */
    house_run(&pc_house, "UPDATE certificate SET state = 2 WHERE profile = 'wifi'");
    pc.session = "4";
    pc_session(&pc);
    cr_assert_eq(pc.atomics, 2);
    pc_close(&pc);
}
