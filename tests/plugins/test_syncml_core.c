/* Management sessions through the real core, with a device that keeps a tree as Windows
 * does. */
#include "auto.h"
#include "clock.h"
#include "device_command.h"
#include "exchange.h"
#include "house.h"
#include "leak.h"
#include "management.h"
#include "syncml.h"
#include <criterion/criterion.h>
#include <string.h>

#define PEER_ID "B5B954E81FBCB94EB79BD08BE625F4EE"
#define ADDRESS "https://ca.example.com/syncml/initialquery"

extern const struct ca_plugin ca_plugin;

static struct house house;
static struct house_device device;
static char device_id[37];

static enum ca_status
row_id(const struct store_row *row, void *arg)
{
    snprintf(arg, 37, "%s", store_row_text(row, 0));
    return CA_OK;
}

static enum ca_status
read_id(struct store_tx *tx, void *arg)
{
    return store_run(tx, "SELECT id FROM device LIMIT 1", STORE_NO_VALUES, row_id, arg,
                     NULL);
}

static void
begin(void)
{
    char challenge[CHALLENGE_TEXT_SIZE];
    house_build(&house);
    house_device_make(&device, "alice", NULL);
    house_challenge(&house, &(struct challenge){ 0 }, challenge);
    cr_assert_eq(house_enroll(&house, &device, challenge, NULL), CA_OK, "%s",
                 status_message());
    cr_assert_eq(store_read(house.service->store, read_id, device_id), CA_OK);
}

static void
end(void)
{
    house_device_clear(&device);
    house_remove(&house);
    LEAK_CHECK();
}

TestSuite(syncml_core, .init = begin, .fini = end, .timeout = 120);

/* ---- The device ---- */

struct pc {
    const char *session, *source;
    X509 *certificate;
    const char *cred; /* inside of Cred, or NULL */
    size_t max_size;  /* MaxMsgSize that it says, 0: none */
    json_t *tree;     /* node -> value */
    int message, id;
    struct text_buffer body; /* what it says next */
    struct exchange exchange;
    const struct xml_node *root; /* of the last answer, or NULL */
    int http;
    int gets, atomics, seen; /* commands of the server */
    bool more;               /* the server gave something to do */
};

static void
pc_open(struct pc *pc, const char *session)
{
    *pc = (struct pc){ .session = session,
                       .source = PEER_ID,
                       .certificate = device.certificate,
                       .tree = json_pack("{s:s, s:s}", "./DevDetail/SwV",
                                         "10.0.19043.1", "./DevDetail/HwV", "V<1>&2") };
}

static void
pc_close(struct pc *pc)
{
    if (pc->exchange.service)
        exchange_clear(&pc->exchange);
    text_buffer_clear(&pc->body);
    json_decref(pc->tree);
}

static void
pc_send_raw(struct pc *pc, const void *body, size_t size, const char *type)
{
    if (pc->exchange.service)
        exchange_clear(&pc->exchange);
    house_exchange(&house, &pc->exchange);
    struct ca_request *req = &pc->exchange.request;
    pc->exchange.plugin = "syncml";
    req->method = "POST";
    req->content_type = type;
    req->secure = true;
    req->peer_certificate = pc->certificate;
    req->body = (struct ca_bytes){ body, size };
    enum ca_status status = ca_plugin.routes[0].handle(NULL, req);
    pc->http = pc->exchange.answer.status;
    if (pc->http == 0)
        pc->http = status == CA_MALFORMED ? 400 : 500;
    if (pc->http == 500)
        cr_log_error("%s: %s", ca_status_name(status), status_message());
    pc->root = NULL;
    static const struct xml_limits limits = { 1 << 20, 32, 10000, 16, 1 << 20 };
    struct ca_bytes answer = { pc->exchange.answer.body, pc->exchange.answer.size };
    if (pc->max_size > 0)
        cr_assert_leq(answer.size, pc->max_size);
    if (pc->http == 200)
        cr_assert_eq(xml_read(req, answer, &limits, &pc->root), CA_OK, "%.*s",
                     (int)answer.size, (const char *)answer.data);
}

/* Header and what was gathered, as message `number`. */
static char *
pc_message(const struct pc *pc, int number, bool final)
{
    char *text, meta[96] = "";
    if (pc->max_size > 0)
        snprintf(meta, sizeof meta,
                 "<Meta><MaxMsgSize xmlns=\"syncml:metinf\">%zu</MaxMsgSize></Meta>",
                 pc->max_size);
    cr_assert(
        asprintf(&text,
                 "<SyncML xmlns=\"SYNCML:SYNCML1.2\"><SyncHdr><VerDTD>1.2</VerDTD>"
                 "<VerProto>DM/1.2</VerProto><SessionID>%s</SessionID>"
                 "<MsgID>%d</MsgID><Target><LocURI>" ADDRESS
                 "?mode=Maintenance</LocURI></Target><Source><LocURI>%s</LocURI>"
                 "</Source>%s%s%s%s</SyncHdr><SyncBody>%s%s</SyncBody></SyncML>",
                 pc->session, number, pc->source, pc->cred ? "<Cred>" : "",
                 pc->cred ? pc->cred : "", pc->cred ? "</Cred>" : "", meta,
                 pc->body.data ? pc->body.data : "", final ? "<Final/>" : "") > 0);
    return text;
}

static void
pc_send(struct pc *pc)
{
    CA_AUTO(free) char *text = pc_message(pc, ++pc->message, true);
    pc_send_raw(pc, text, strlen(text), SYNCML_TYPE);
    text_buffer_clear(&pc->body);
    pc->id = 0;
}

/* Package 1 of [C]: Alerts and DevInfo. */
static void
pc_begin(struct pc *pc)
{
    pc->message = 0;
    text_print(&pc->body,
               "<Alert><CmdID>2</CmdID><Data>1201</Data></Alert>"
               "<Alert><CmdID>3</CmdID><Data>1224</Data><Item><Meta><Type "
               "xmlns=\"syncml:metinf\">com.microsoft/MDM/LoginStatus</Type></Meta>"
               "<Data>user</Data></Item></Alert>"
               "<Replace><CmdID>4</CmdID><Item><Source><LocURI>./DevInfo/Man</LocURI>"
               "</Source><Data>VMware, Inc.</Data></Item></Replace>");
    pc_send(pc);
}

static int
pc_header_code(const struct pc *pc)
{
    const struct xml_node *status = syncml_node(pc->root, "SyncBody/Status");
    cr_assert_str_eq(syncml_text(status, "Cmd"), "SyncHdr"); /* first */
    cr_assert_str_eq(syncml_text(status, "CmdRef"), "0");
    return atoi(syncml_text(status, "Data"));
}

static const char *
escaped(const char *text, char ret[256])
{
    size_t used = 0;
    for (; *text; text++)
        used += (size_t)snprintf(ret + used, 256 - used, "%s",
                                 *text == '<'   ? "&lt;"
                                 : *text == '&' ? "&amp;"
                                                : (char[]){ *text, 0 });
    return ret;
}

static void
pc_status(struct pc *pc, const struct xml_node *command, int code)
{
    text_print(&pc->body,
               "<Status><CmdID>%d</CmdID><MsgRef>%s</MsgRef><CmdRef>%s</CmdRef><Cmd>%s"
               "</Cmd><Data>%d</Data></Status>",
               ++pc->id, syncml_text(pc->root, "SyncHdr/MsgID"),
               syncml_text(command, "CmdID"), command->name, code);
}

static void
pc_do(struct pc *pc, const struct xml_node *command)
{
    const char *uri = syncml_text(command, "Item/Target/LocURI"), *name = command->name;
    const char *data = syncml_text(command, "Item/Data");
    char text[256];
    json_t *node = uri ? json_object_get(pc->tree, uri) : NULL;
    pc->seen++;
    if (strcmp(name, "Atomic") == 0 || strcmp(name, "Sequence") == 0) {
        pc->atomics++;
        pc_status(pc, command, 200);
        for (const struct xml_node *member = command->first; member;
             member = member->next)
            if (strcmp(member->name, "CmdID") != 0)
                pc_do(pc, member);
    } else if (strcmp(name, "Get") == 0) {
        pc->gets++;
        pc_status(pc, command, node ? 200 : 404);
        if (node)
            text_print(
                &pc->body,
                "<Results><CmdID>%d</CmdID><MsgRef>%s</MsgRef><CmdRef>%s</CmdRef>"
                "<Item><Source><LocURI>%s</LocURI></Source><Data>%s</Data></Item>"
                "</Results>",
                ++pc->id, syncml_text(pc->root, "SyncHdr/MsgID"),
                syncml_text(command, "CmdID"), uri,
                escaped(json_string_value(node), text));
    } else if (strcmp(name, "Exec") == 0) {
        pc_status(pc, command, 200);
        json_object_set_new(pc->tree, uri, json_string("executed"));
    } else if (strcmp(name, "Delete") == 0) {
        pc_status(pc, command, node ? 200 : 404);
        json_object_del(pc->tree, uri);
    } else {
        bool add = strcmp(name, "Add") == 0;
        bool good = add ? !node : node != NULL;
        pc_status(pc, command, good ? 200 : add ? 418 : 404);
        if (good)
            json_object_set_new(pc->tree, uri, json_string(data ? data : ""));
    }
}

/* Does what the answer says; false: the session is over. */
static bool
pc_obey(struct pc *pc)
{
    const struct xml_node *body = syncml_node(pc->root, "SyncBody");
    pc->more = false;
    text_print(&pc->body,
               "<Status><CmdID>%d</CmdID><MsgRef>%s</MsgRef><CmdRef>0</CmdRef><Cmd>"
               "SyncHdr</Cmd><Data>200</Data></Status>",
               ++pc->id, syncml_text(pc->root, "SyncHdr/MsgID"));
    for (const struct xml_node *command = body->first; command;
         command = command->next) {
        if (strcmp(command->name, "Status") == 0 ||
            strcmp(command->name, "Final") == 0 || strcmp(command->name, "Alert") == 0)
            continue;
        pc->more = true;
        pc_do(pc, command);
    }
    if (!pc->more)
        text_buffer_clear(&pc->body);
    return pc->more;
}

/* A whole session. */
static void
pc_session(struct pc *pc)
{
    int rounds = 0;
    pc_begin(pc);
    cr_assert_eq(pc->http, 200);
    cr_assert_eq(pc_header_code(pc), 200);
    while (pc_obey(pc)) {
        cr_assert_lt(++rounds, 200);
        pc_send(pc);
        cr_assert_eq(pc->http, 200);
        cr_assert_eq(pc_header_code(pc), 200);
    }
}

static void
queue_many(int count)
{
    for (int i = 0; i < count; i++) {
        char sql[512];
        snprintf(
            sql, sizeof sql,
            "INSERT INTO device_command (id, device_id, number, content, state, "
            "attempts, sent, finished, created, updated, version, lease) VALUES "
            "('c%d', '%s', %d, '{\"kind\":\"%s\",\"target\":\"./Vendor/X/%d\"%s}', 0, "
            "0, 0, 0, 0, 0, 1, 0)",
            i, device_id, i + 1, i % 2 ? "get" : "add", i / 2,
            i % 2 ? "" : ",\"data\":\"<v>&\"");
        house_run(&house, sql);
    }
}

Test(syncml_core, first_contact_reads_and_keeps_what_the_device_is)
{
    struct pc pc;
    pc_open(&pc, "0"); /* legal, after a boot */
    pc_session(&pc);
    cr_assert_gt(pc.gets, 10);
    cr_assert_eq(
        house_integer(&house,
                      "SELECT count(*) FROM device WHERE report LIKE "
                      "'%\"SwV\":\"10.0.19043.1\"%' AND report LIKE "
                      "'%\"HwV\":\"V<1>&2\"%' AND report LIKE '%\"Man\":\"VMware, "
                      "Inc.\"%'"),
        1);
    pc.gets = 0;
    pc.session = "1";
    pc_session(&pc);
    cr_assert_eq(pc.gets, 0); /* nothing new to ask */
    pc_close(&pc);
}

Test(syncml_core, the_header_answers_as_windows_wants_it)
{
    struct pc pc;
    pc_open(&pc, "7f");
    pc_begin(&pc);
    cr_assert_str_eq(syncml_text(pc.root, "SyncHdr/SessionID"), "7f");
    cr_assert_str_eq(syncml_text(pc.root, "SyncHdr/MsgID"), "1");
    cr_assert_str_eq(syncml_text(pc.root, "SyncHdr/Target/LocURI"), PEER_ID);
    cr_assert_str_eq(syncml_text(pc.root, "SyncHdr/Source/LocURI"), ADDRESS);
    cr_assert_str_eq(pc.exchange.answer.content_type, SYNCML_TYPE);
    /* One Status a command, in order, ids unique and none "0". */
    static const char *const refs[] = { "0", "2", "3", "4" };
    const struct xml_node *body = syncml_node(pc.root, "SyncBody");
    const struct xml_node *node = body->first;
    for (size_t i = 0; i < 4; i++, node = node->next) {
        cr_assert_str_eq(node->name, "Status");
        cr_assert_str_eq(syncml_text(node, "CmdRef"), refs[i]);
        cr_assert_str_eq(syncml_text(node, "MsgRef"), "1");
    }
    for (node = body->first; node; node = node->next) {
        if (!node->next) {
            cr_assert_str_eq(node->name, "Final");
            break;
        }
        cr_assert_str_eq(node->first->name, "CmdID");
        cr_assert_str_neq(syncml_text(node, "CmdID"), "0");
        for (const struct xml_node *other = node->next; other; other = other->next)
            if (xml_child(other, NULL, "CmdID"))
                cr_assert_str_neq(syncml_text(other, "CmdID"),
                                  syncml_text(node, "CmdID"));
    }
    pc_close(&pc);
}

Test(syncml_core, a_thousand_commands_go_through_in_order)
{
    struct pc pc;
    pc_open(&pc, "2");
    queue_many(1000);
    pc_session(&pc);
    cr_assert_eq(house_integer(&house, "SELECT count(*) FROM device_command "
                                       "WHERE state = 2"),
                 1000);
    cr_assert_eq(house_integer(&house,
                               "SELECT count(*) FROM device_command WHERE "
                               "number % 2 = 0 AND result LIKE '%\"data\":\"<v>&\"%'"),
                 500);
    cr_assert_eq(house_integer(&house, "SELECT max(attempts) FROM device_command"), 1);
    pc_close(&pc);
}

Test(syncml_core, a_restart_in_the_middle_changes_nothing)
{
    struct pc pc;
    pc_open(&pc, "3");
    queue_many(120);
    pc_begin(&pc);
    while (pc_obey(&pc)) {
        CA_AUTO(free) char *text = pc_message(&pc, ++pc.message, true);
        exchange_clear(&pc.exchange);
        pc.exchange.service = NULL;
        house_reopen(&house);
        pc_send_raw(&pc, text, strlen(text), SYNCML_TYPE);
        text_buffer_clear(&pc.body);
        cr_assert_eq(pc_header_code(&pc), 200);
    }
    cr_assert_eq(house_integer(&house, "SELECT count(*) FROM device_command "
                                       "WHERE state = 2 AND attempts = 1"),
                 120);
    pc_close(&pc);
}

Test(syncml_core, two_sessions_of_a_device_share_its_queue)
{
    struct pc one, two;
    pc_open(&one, "4");
    pc_open(&two, "5");
    queue_many(200);
    pc_begin(&one);
    pc_begin(&two);
    for (bool a = true, b = true; a || b;) {
        a = a && pc_obey(&one);
        if (a)
            pc_send(&one);
        b = b && pc_obey(&two);
        if (b)
            pc_send(&two);
    }
    cr_assert_eq(house_integer(&house, "SELECT count(*) FROM device_command "
                                       "WHERE state > 1 AND attempts = 1"),
                 200);
    cr_assert_gt(one.seen, 50);
    cr_assert_gt(two.seen, 50);
    pc_close(&one);
    pc_close(&two);
}

Test(syncml_core, the_policy_is_brought_and_drift_is_mended)
{
    struct pc pc;
    house_profile(
        &house, PROFILE_POLICY,
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
    cr_assert_eq(house_integer(&house,
                               "SELECT count(*) FROM audit_entry WHERE action = "
                               "'device.policy'"),
                 1);
    json_object_set_new(pc.tree, "./Device/A", json_string("2")); /* drift */
    pc.session = "7";
    pc_session(&pc);
    cr_assert_str_eq(json_string_value(json_object_get(pc.tree, "./Device/A")), "1");
    cr_assert_eq(house_integer(&house,
                               "SELECT count(*) FROM audit_entry WHERE action = "
                               "'device.policy'"),
                 2);
    pc.session = "8";
    pc_session(&pc); /* nothing to mend: nothing to tell */
    cr_assert_eq(house_integer(&house,
                               "SELECT count(*) FROM audit_entry WHERE action = "
                               "'device.policy'"),
                 2);
    pc_close(&pc);
}

Test(syncml_core, A5_unenrolment_by_the_user_revokes_and_ends)
{
    struct pc pc;
    pc_open(&pc, "9");
    text_print(
        &pc.body,
        "<Alert><CmdID>4</CmdID><Data>1226</Data><Item><Meta><Type "
        "xmlns=\"syncml:metinf\">com.microsoft:mdm.unenrollment.userrequest</Type>"
        "<Format xmlns=\"syncml:metinf\">int</Format></Meta><Data>1</Data></Item>"
        "</Alert>");
    pc_begin(&pc);
    cr_assert_eq(pc_header_code(&pc), 200);
    cr_assert_not(pc_obey(&pc));
    cr_assert_eq(house_integer(&house, "SELECT state FROM device"), 3);
    cr_assert_eq(house_integer(&house,
                               "SELECT count(*) FROM certificate WHERE device_id "
                               "IS NOT NULL AND state = 1"),
                 0);
    pc.session = "10";
    pc_begin(&pc);
    cr_assert_eq(pc_header_code(&pc), 403);
    pc_close(&pc);
}

Test(syncml_core, A2_a_certificate_opens_its_own_devices_session_alone)
{
    struct pc pc;
    pc_open(&pc, "1");
    pc_session(&pc);
    pc.source = "00000000000000000000000000000000"; /* goes by another id already */
    pc_begin(&pc);
    cr_assert_eq(pc_header_code(&pc), 403);
    pc.source = PEER_ID;
    pc.certificate = NULL; /* the id alone proves nothing */
    pc_begin(&pc);
    cr_assert_eq(pc_header_code(&pc), 401);
    cr_assert_not_null(syncml_node(pc.root, "SyncBody/Status/Chal/Meta/NextNonce"));
    pc.source = "unknown"; /* and tells nothing of who is known */
    pc_begin(&pc);
    cr_assert_eq(pc_header_code(&pc), 401);
    cr_assert_not_null(syncml_node(pc.root, "SyncBody/Status/Chal/Meta/NextNonce"));
    pc_close(&pc);
}

Test(syncml_core, messages_out_of_order_change_nothing)
{
    struct pc pc;
    pc_open(&pc, "1");
    queue_many(200);
    pc.message = 1; /* 2 without a session */
    pc_send(&pc);
    cr_assert_eq(pc_header_code(&pc), 400);
    pc_begin(&pc);
    cr_assert(pc_obey(&pc));
    CA_AUTO(free) char *second = pc_message(&pc, 2, true);
    CA_AUTO(free) char *fourth = pc_message(&pc, 4, true);
    pc_send_raw(&pc, fourth, strlen(fourth), SYNCML_TYPE);
    cr_assert_eq(pc_header_code(&pc), 400);
    cr_assert_not(pc_obey(&pc));
    pc_send_raw(&pc, second, strlen(second), SYNCML_TYPE);
    cr_assert_eq(pc_header_code(&pc), 200);
    /* The same bytes again: the answer was lost, and comes again. */
    CA_AUTO(free)
    char *before = strndup((char *)pc.exchange.answer.body, pc.exchange.answer.size);
    pc_send_raw(&pc, second, strlen(second), SYNCML_TYPE);
    cr_assert_eq(strlen(before), pc.exchange.answer.size);
    cr_assert_arr_eq(before, pc.exchange.answer.body, pc.exchange.answer.size);
    pc_close(&pc);
}

Test(syncml_core, a_slow_device_is_waited_for)
{
    struct pc pc;
    pc_open(&pc, "1");
    queue_many(4);
    pc_begin(&pc);
    cr_assert(pc_obey(&pc));
    struct text_buffer held = pc.body;
    pc.body = (struct text_buffer){ 0 };
    text_print(&pc.body,
               "<Alert><CmdID>1</CmdID><Data>1224</Data><Item><Meta><Type "
               "xmlns=\"syncml:metinf\">Reversed-Domain-Name:com.microsoft.mdm."
               "requestpending</Type></Meta><Data>1</Data></Item></Alert>");
    pc_send(&pc);
    cr_assert_eq(pc_header_code(&pc), 200);
    cr_assert_not(pc_obey(&pc)); /* no command is sent again */
    pc.body = held;
    pc_send(&pc);
    while (pc_obey(&pc))
        pc_send(&pc);
    cr_assert_eq(house_integer(&house, "SELECT count(*) FROM device_command WHERE "
                                       "state = 2 AND attempts = 1"),
                 4);
    pc_close(&pc);
}

Test(syncml_core, large_objects_come_in_chunks)
{
    struct pc pc;
    pc_open(&pc, "1");
    text_print(&pc.body,
               "<Replace><CmdID>1</CmdID><Item><Source><LocURI>./DevInfo/Mod</LocURI>"
               "</Source><Meta><Size xmlns=\"syncml:metinf\">6</Size></Meta><Data>VMw"
               "</Data><MoreData/></Item></Replace>");
    CA_AUTO(free) char *first = pc_message(&pc, 1, false);
    pc_send_raw(&pc, first, strlen(first), SYNCML_TYPE);
    const struct xml_node *status = syncml_node(pc.root, "SyncBody")->first->next;
    cr_assert_str_eq(syncml_text(status, "Data"), "213");
    cr_assert_str_eq(syncml_text(pc.root, "SyncBody/Alert/Data"), "1222");
    text_buffer_clear(&pc.body);
    text_print(&pc.body,
               "<Replace><CmdID>1</CmdID><Item><Source><LocURI>./DevInfo/Mod</LocURI>"
               "</Source><Data>are</Data></Item></Replace>");
    pc.message = 1;
    pc_send(&pc);
    status = syncml_node(pc.root, "SyncBody")->first->next;
    cr_assert_str_eq(syncml_text(status, "Data"), "200");
    cr_assert_eq(house_integer(&house, "SELECT count(*) FROM device WHERE report LIKE "
                                       "'%\"Mod\":\"VMware\"%'"),
                 1);
    pc_close(&pc);
}

/* A blank at the edge of a chunk is of the object ([MS-MDM] says its size). */
Test(syncml_core, blanks_at_the_edges_of_chunks_are_kept)
{
    static const char *const chunks[] = { " VM ", "\n ware", "  x " };
    struct pc pc;
    pc_open(&pc, "1");
    for (int i = 0; i < 3; i++) {
        text_print(&pc.body,
                   "<Replace><CmdID>1</CmdID><Item><Source><LocURI>./DevInfo/Mod"
                   "</LocURI></Source>%s<Data>%s</Data>%s</Item></Replace>",
                   i == 0 ? "<Meta><Size xmlns=\"syncml:metinf\">14</Size></Meta>" : "",
                   chunks[i], i < 2 ? "<MoreData/>" : "");
        CA_AUTO(free) char *text = pc_message(&pc, i + 1, i == 2);
        pc_send_raw(&pc, text, strlen(text), SYNCML_TYPE);
        const struct xml_node *status = syncml_node(pc.root, "SyncBody")->first->next;
        cr_assert_str_eq(syncml_text(status, "Data"), i < 2 ? "213" : "200");
        text_buffer_clear(&pc.body);
    }
    cr_assert_eq(house_integer(&house, "SELECT count(*) FROM device WHERE report LIKE "
                                       "'%\"Mod\":\" VM \\n ware  x \"%'"),
                 1);
    pc_close(&pc);
}

/* OMA-TS-DM_Protocol-V1_2 section 7; pc_send_raw holds each answer to it. */
Test(syncml_core, R8_no_answer_is_larger_than_the_device_takes)
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
    house_profile(&house, PROFILE_POLICY, profile);
    for (size_t i = 0; i < 3; i++) {
        house_run(&house, "DELETE FROM device_command");
        house_run(&house, "UPDATE device SET report = '{}'");
        queue_many(100);
        memset(data, '&', sizeof data - 1);
        data[sizeof data - 1] = '\0';
        snprintf(sql, sizeof sql,
                 "UPDATE device_command SET content = '{\"kind\":\"add\",\"target\":"
                 "\"./Large\",\"data\":\"%s\"}' WHERE number = 50",
                 data);
        house_run(&house, sql);
        pc_open(&pc, "1");
        pc.max_size = sizes[i];
        pc_session(&pc);
        cr_assert_str_eq(syncml_text(pc.root, "SyncHdr/Meta/MaxMsgSize"), "524288");
        cr_assert_str_eq(json_string_value(json_object_get(pc.tree, "./Device/29")),
                         "29<&>");
        cr_assert_eq(house_integer(&house, "SELECT count(*) FROM device_command WHERE "
                                           "state = 2 AND attempts = 1"),
                     99);
        cr_assert_eq(house_integer(&house, "SELECT count(*) FROM device_command WHERE "
                                           "state = 3 AND result LIKE '%MaxMsgSize%'"),
                     1);
        cr_assert_eq(house_integer(&house, "SELECT count(*) FROM device WHERE report "
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

static void
policy_set(const char *items)
{
    char sql[512];
    snprintf(sql, sizeof sql,
             "UPDATE profile SET version = version + 1, settings = '{\"items\": [%s]}' "
             "WHERE kind = 'policy'",
             items);
    house_run(&house, sql);
}

static bool
has_node(const struct pc *pc, const char *uri)
{
    return json_object_get(pc->tree, uri) != NULL;
}

Test(syncml_core, what_a_policy_names_no_longer_is_taken_away)
{
    struct pc pc;
    house_profile(&house, PROFILE_POLICY,
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
    house_run(&house, "DELETE FROM profile WHERE kind = 'policy'");
    pc.session = "3";
    pc_session(&pc);
    cr_assert(!has_node(&pc, "./Device/A") && !has_node(&pc, "./Device/C/x"));
    cr_assert(has_node(&pc, "./Device/Own") && has_node(&pc, "./Device/D"));
    cr_assert_eq(house_integer(&house, "SELECT count(*) FROM device_management WHERE "
                                       "nodes = '[]'"),
                 1);
    pc.gets = 0;
    pc.session = "4";
    pc_session(&pc); /* nothing is left to look for */
    cr_assert_eq(pc.gets, 0);
    pc_close(&pc);
}

/* A session that breaks off has told the core first what it puts on the device. */
Test(syncml_core, a_node_of_a_broken_session_is_taken_away_too)
{
    struct pc pc;
    house_profile(&house, PROFILE_POLICY,
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

/* libwbxml 0.11 makes 450 MB of 60 KB and overruns its stack on nested elements, before
 * anybody has shown who it is. */
Test(syncml_core, wbxml_is_refused_in_words)
{
    struct pc pc;
    pc_open(&pc, "1");
    pc_send_raw(&pc, "\x02\xa4\x01\x6a", 4, "application/vnd.syncml.dm+wbxml");
    cr_assert_eq(pc.http, 415);
    cr_assert_not_null(
        memmem(pc.exchange.answer.body, pc.exchange.answer.size, "WBXML", 5));
    pc_send_raw(&pc, "<a/>", 4, "application/vnd.syncml+xml; charset=utf-8");
    cr_assert_eq(pc.http, 400); /* read, then refused for what it is */
    pc_close(&pc);
}

Test(syncml_core, what_is_no_syncml_gets_http)
{
    static const struct {
        const char *type, *body;
        int http;
    } cases[] = {
        { "application/vnd.syncml.dm+wbxml", "\x02\xa4\x01\x6a", 415 },
        { "text/xml", "<SyncML/>", 415 },
        { SYNCML_TYPE, "", 400 },
        { SYNCML_TYPE, "<SyncML xmlns='SYNCML:SYNCML1.2'/>", 400 },
        { SYNCML_TYPE,
          "<SyncML xmlns='SYNCML:SYNCML1.1'><SyncHdr/><SyncBody/></SyncML>", 400 },
        { SYNCML_TYPE,
          "<!DOCTYPE a [<!ENTITY x 'y'>]><SyncML xmlns='SYNCML:SYNCML1.2'/>", 400 },
        { SYNCML_TYPE,
          "<SyncML xmlns='SYNCML:SYNCML1.2'><SyncHdr><VerDTD>1.2</VerDTD><SessionID>1"
          "</SessionID><MsgID>0</MsgID><Target><LocURI>a</LocURI></Target><Source>"
          "<LocURI>b</LocURI></Source></SyncHdr><SyncBody/></SyncML>",
          400 },
    };
    struct pc pc;
    pc_open(&pc, "1");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pc_send_raw(&pc, cases[i].body, strlen(cases[i].body), cases[i].type);
        cr_assert_eq(pc.http, cases[i].http, "%s: %d", cases[i].body, pc.http);
    }
    struct text_buffer deep = { 0 }; /* 1 MB of nested elements */
    for (int i = 0; i < 1024 * 1024 / 3; i++)
        text_append(&deep, "<a>", 3);
    pc_send_raw(&pc, deep.data, deep.size, SYNCML_TYPE);
    cr_assert_eq(pc.http, 400);
    text_buffer_clear(&deep);
    pc_close(&pc);
}

/* ---- Without a TLS client certificate ---- */

static const struct {
    const char *name, *secret, *nonce;
} account = { device_id, "0123456789abcdef0123456789abcdef",
              "AAECAwQFBgcICQoLDA0ODw==" };

static enum ca_status
give_account(struct store_tx *tx, void *arg)
{
    (void)arg;
    enum ca_status status = management_bind(tx, device_id, PEER_ID);
    return status == CA_OK
               ? management_give(tx, device_id, account.secret, account.nonce)
               : status;
}

/* As an enrolment leaves it behind. */
static void
account_make(void)
{
    cr_assert_eq(store_write(house.service->store, give_account, NULL), CA_OK, "%s",
                 status_message());
}

/* B64(MD5(B64(MD5(name:secret)) ":" nonce)). */
static void
digest_of(const char *name, const char *secret, const char *nonce, char ret_digest[25])
{
    unsigned char md5[16], octets[32], text[160];
    char key[25];
    int size = snprintf((char *)text, sizeof text, "%s:%s", name, secret);
    cr_assert_eq(EVP_Digest(text, (size_t)size, md5, NULL, EVP_md5(), NULL), 1);
    EVP_EncodeBlock((unsigned char *)key, md5, 16);
    cr_assert_eq(EVP_DecodeBlock(octets, (const unsigned char *)nonce, 24), 18);
    size = snprintf((char *)text, sizeof text, "%s:", key);
    memcpy(text + size, octets, 16);
    cr_assert_eq(EVP_Digest(text, (size_t)size + 16, md5, NULL, EVP_md5(), NULL), 1);
    EVP_EncodeBlock((unsigned char *)ret_digest, md5, 16);
}

Test(syncml_core, A2_md5_opens_a_session_and_a_digest_is_used_once)
{
    struct pc pc;
    char digest[25], nonce[25], cred[256];
    pc_open(&pc, "1");
    account_make();
    pc.certificate = NULL;
    queue_many(60);
    pc_begin(&pc);
    cr_assert_eq(pc_header_code(&pc), 401);
    snprintf(nonce, sizeof nonce, "%s",
             syncml_text(pc.root, "SyncBody/Status/Chal/Meta/NextNonce"));
    digest_of(account.name, account.secret, nonce, digest);
    snprintf(cred, sizeof cred,
             "<Meta><Format xmlns=\"syncml:metinf\">b64</Format><Type "
             "xmlns=\"syncml:metinf\">syncml:auth-md5</Type></Meta><Data>%s</Data>",
             digest);
    pc.cred = cred;
    pc_send(&pc); /* the same session, a new MsgID */
    cr_assert_eq(pc_header_code(&pc), 212);
    cr_assert_str_neq(syncml_text(pc.root, "SyncBody/Status/Chal/Meta/NextNonce"),
                      nonce);
    pc.cred = NULL; /* accepted for the session */
    while (pc_obey(&pc)) {
        pc_send(&pc);
        cr_assert_eq(pc_header_code(&pc), 200);
    }
    cr_assert_eq(house_integer(&house, "SELECT count(*) FROM device_command "
                                       "WHERE state = 2 AND attempts = 1"),
                 60);
    /* The nonce before stays good once, for an answer that was lost; then no more. */
    pc.cred = cred;
    pc.session = "2";
    pc_begin(&pc);
    cr_assert_eq(pc_header_code(&pc), 212);
    pc.session = "3";
    pc_begin(&pc);
    cr_assert_eq(pc_header_code(&pc), 401);
    pc_close(&pc);
}

Test(syncml_core, A2_basic_wants_the_devices_own_secret)
{
    struct pc pc;
    char plain[128], data[192], cred[384];
    pc_open(&pc, "1");
    account_make();
    pc.certificate = NULL;
    for (int wrong = 1; wrong >= 0; wrong--) {
        int size = snprintf(plain, sizeof plain, "%s:%s%s", device_id, wrong ? "0" : "",
                            account.secret);
        EVP_EncodeBlock((unsigned char *)data, (const unsigned char *)plain, size);
        snprintf(cred, sizeof cred,
                 "<Meta><Type xmlns=\"syncml:metinf\">syncml:auth-basic</Type></Meta>"
                 "<Data>%s</Data>",
                 data);
        pc.cred = cred;
        pc_begin(&pc);
        cr_assert_eq(pc_header_code(&pc), wrong ? 401 : 212);
    }
    pc_close(&pc);
}

/* ---- The SCEP profile ---- */

Test(syncml_core, the_scep_profile_goes_out_once_and_our_record_judges)
{
    struct pc pc;
    char uri[128];
    house_profile(&house, PROFILE_CERTIFICATE,
                  "{\"name\": \"wifi\", \"settings\": {\"issuer\": \"issuing\", "
                  "\"subject\": \"CN={{user.name}},O={{organisation.name}}\", "
                  "\"extended_key_usage\": [\"client_auth\", \"1.2.3.4\"]}}");
    house_profile(&house, PROFILE_SCEP,
                  "{\"name\": \"default\", \"settings\": {\"certificate\": \"wifi\"}}");
    house_run(&house, "UPDATE challenge SET created = created - 7200");
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
    cr_assert_eq(house_enroll(&house, &enrolled, challenge, "scep"), CA_OK, "%s",
                 status_message());
    house_device_clear(&enrolled);
    cr_assert_eq(house_integer(&house, "SELECT count(DISTINCT device_id) FROM "
                                       "certificate WHERE device_id IS NOT NULL"),
                 1);
    house_run(&house, "UPDATE challenge SET created = created - 7200");
    pc.session = "3";
    pc_session(&pc);
    cr_assert_eq(pc.atomics, 1);
    /* Revoked: our record says so, and it is offered anew. */
    house_run(&house, "UPDATE certificate SET state = 2 WHERE profile = 'wifi'");
    pc.session = "4";
    pc_session(&pc);
    cr_assert_eq(pc.atomics, 2);
    pc_close(&pc);
}

/* ---- Messages of real devices, where their folder is named ---- */

static char *
sample_read(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/samples/windows/%s", getenv("SEALWRIGHT_SAMPLES"),
             name);
    CA_AUTO(fclose) FILE *file = fopen(path, "r");
    cr_assert_not_null(file, "%s", path);
    char *text = calloc(1, 65536);
    cr_assert_gt(fread(text, 1, 65535, file), 0);
    return text;
}

Test(syncml_core, package_1_of_a_real_device_is_served)
{
    struct pc pc;
    /* Without them, messages of the same shape have been played above. */
    if (!getenv("SEALWRIGHT_SAMPLES"))
        return;
    CA_AUTO(free) char *first = sample_read("capture-09-syncml-package1.xml");
    CA_AUTO(free) char *last = sample_read("capture-11-syncml-unenroll-1226.xml");
    pc_open(&pc, "1");
    pc_send_raw(&pc, first, strlen(first), SYNCML_TYPE);
    cr_assert_eq(pc.http, 200);
    cr_assert_eq(pc_header_code(&pc), 200);
    cr_assert_eq(house_integer(&house, "SELECT count(*) FROM device WHERE report LIKE "
                                       "'%\"Mod\":\"VMware7,1\"%'"),
                 1);
    pc_send_raw(&pc, last, strlen(last), SYNCML_TYPE);
    cr_assert_eq(pc_header_code(&pc), 200);
    cr_assert_eq(house_integer(&house, "SELECT state FROM device"), 3);
    pc_close(&pc);
}
