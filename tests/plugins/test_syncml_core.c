/* Management sessions through the real core: queue, order, repeats, refusals. */
#include "clock.h"
#include "device_command.h"
#include "pc.h"

TestSuite(syncml_core, .init = pc_setup, .fini = pc_teardown, .timeout = 120);

Test(syncml_core, first_contact_reads_and_keeps_what_the_device_is)
{
    struct pc pc;
    pc_open(&pc, "0"); /* legal, after a boot */
    pc_session(&pc);
    cr_assert_gt(pc.gets, 10);
    cr_assert_eq(
        house_integer(&pc_house,
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
    cr_assert_str_eq(syncml_text(pc.root, "SyncHdr/Target/LocURI"), PC_PEER_ID);
    cr_assert_str_eq(syncml_text(pc.root, "SyncHdr/Source/LocURI"), PC_ADDRESS);
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
    pc_queue(1000);
    pc_session(&pc);
    cr_assert_eq(house_integer(&pc_house, "SELECT count(*) FROM device_command "
                                          "WHERE state = 2"),
                 1000);
    cr_assert_eq(house_integer(&pc_house,
                               "SELECT count(*) FROM device_command WHERE "
                               "number % 2 = 0 AND result LIKE '%\"data\":\"<v>&\"%'"),
                 500);
    cr_assert_eq(house_integer(&pc_house, "SELECT max(attempts) FROM device_command"),
                 1);
    pc_close(&pc);
}

Test(syncml_core, a_restart_in_the_middle_changes_nothing)
{
    struct pc pc;
    pc_open(&pc, "3");
    pc_queue(120);
    pc_begin(&pc);
    while (pc_obey(&pc)) {
        CA_AUTO(free) char *text = pc_message(&pc, ++pc.message, true);
        exchange_clear(&pc.exchange);
        pc.exchange.service = NULL;
        house_reopen(&pc_house);
        pc_send_raw(&pc, text, strlen(text), SYNCML_TYPE);
        text_buffer_clear(&pc.body);
        cr_assert_eq(pc_header_code(&pc), 200);
    }
    cr_assert_eq(house_integer(&pc_house, "SELECT count(*) FROM device_command "
                                          "WHERE state = 2 AND attempts = 1"),
                 120);
    pc_close(&pc);
}

Test(syncml_core, two_sessions_of_a_device_share_its_queue)
{
    struct pc one, two;
    pc_open(&one, "4");
    pc_open(&two, "5");
    pc_queue(200);
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
    cr_assert_eq(house_integer(&pc_house, "SELECT count(*) FROM device_command "
                                          "WHERE state > 1 AND attempts = 1"),
                 200);
    cr_assert_gt(one.seen, 50);
    cr_assert_gt(two.seen, 50);
    pc_close(&one);
    pc_close(&two);
}

/* The other message's answer is saved between this one's claim and its own saving. */
Test(syncml_core, of_two_messages_at_once_the_loser_gives_its_commands_back)
{
    static const char sent[] = "SELECT count(*) FROM device_command WHERE state = 1";
    static const char done[] = "SELECT count(*) FROM device_command WHERE state = 2";
    static const char waiting[] = "SELECT count(*) FROM device_command WHERE state = 0 "
                                  "AND session IS NULL AND lease = 0";
    struct pc pc;
    pc_open(&pc, "6");
    pc_queue(200);
    pc_begin(&pc);
    cr_assert(pc_obey(&pc));
    int64_t first = house_integer(&pc_house, sent);
    cr_assert(first > 0 && first < 190, "%ld", (long)first);
    house_run(&pc_house, "CREATE TRIGGER other AFTER UPDATE ON device_command "
                         "WHEN NEW.state = 1 AND OLD.state = 0 BEGIN "
                         "UPDATE state SET version = version + 1 "
                         "WHERE space = 'syncml/session'; END");
    /* What the other has claimed and sent. */
    house_run(&pc_house, "UPDATE device_command SET state = 1, lease = 9999999999, "
                         "session = 'the other' WHERE number = "
                         "(SELECT max(number) FROM device_command)");
    CA_AUTO(free) char *again = pc_message(&pc, 2, true);
    pc_send_raw(&pc, again, strlen(again), SYNCML_TYPE);
    cr_assert_eq(pc_header_code(&pc), 400);
    cr_assert_null(syncml_node(pc.root, "SyncBody/Add"));
    cr_assert_eq(house_integer(&pc_house, done), first);
    cr_assert_eq(house_integer(&pc_house, waiting), 200 - first - 1);
    cr_assert_eq(house_integer(&pc_house, sent), 1, "the other's own stay");
    /* They go with the next message that counts. */
    house_run(&pc_house, "DROP TRIGGER other");
    pc_send_raw(&pc, again, strlen(again), SYNCML_TYPE);
    cr_assert_eq(pc_header_code(&pc), 200);
    for (pc.message = 2; pc_obey(&pc);)
        pc_send(&pc);
    cr_assert_eq(house_integer(&pc_house, done), 199);
    pc_close(&pc);
}

Test(syncml_core, A5_unenrolment_by_the_user_revokes_and_ends)
{
    struct pc pc;
    pc_open(&pc, "9");
    text_print(&pc.body, PC_UNENROL);
    pc_begin(&pc);
    cr_assert_eq(pc_header_code(&pc), 200);
    cr_assert_not(pc_obey(&pc));
    cr_assert_eq(house_integer(&pc_house, "SELECT state FROM device"), 3);
    cr_assert_eq(house_integer(&pc_house,
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
    pc.source = PC_PEER_ID;
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
    pc_queue(200);
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
    pc_queue(4);
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
    cr_assert_eq(house_integer(&pc_house, "SELECT count(*) FROM device_command WHERE "
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
    cr_assert_eq(house_integer(&pc_house,
                               "SELECT count(*) FROM device WHERE report LIKE "
                               "'%\"Mod\":\"VMware\"%'"),
                 1);
    pc_close(&pc);
}

Test(syncml_core, items_that_fare_differently_have_a_status_each)
{
    static const char *const wanted[][2] = { { "./DevInfo/Man", "200" },
                                             { "./DevDetail/SwV", "404" },
                                             { "./DevInfo/Mod", "213" } };
    struct pc pc;
    pc_open(&pc, "1");
    text_print(&pc.body, "<Replace><CmdID>1</CmdID>"
                         "<Item><Source><LocURI>./DevInfo/Man</LocURI></Source>"
                         "<Data>Maker</Data></Item>"
                         "<Item><Source><LocURI>./DevDetail/SwV</LocURI></Source>"
                         "<Data>1</Data></Item>"
                         "<Item><Source><LocURI>./DevInfo/Mod</LocURI></Source>"
                         "<Data>VMw</Data><MoreData/></Item></Replace>");
    CA_AUTO(free) char *text = pc_message(&pc, 1, false);
    pc_send_raw(&pc, text, strlen(text), SYNCML_TYPE);
    const struct xml_node *status = syncml_node(pc.root, "SyncBody")->first;
    for (size_t i = 0; i < 3; i++) {
        status = status->next;
        cr_expect_str_eq(syncml_text(status, "CmdRef"), "1");
        cr_expect_str_eq(syncml_text(status, "SourceRef"), wanted[i][0]);
        cr_expect_str_eq(syncml_text(status, "Data"), wanted[i][1], "%s", wanted[i][0]);
    }
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
    cr_assert_eq(house_integer(&pc_house,
                               "SELECT count(*) FROM device WHERE report LIKE "
                               "'%\"Mod\":\" VM \\n ware  x \"%'"),
                 1);
    pc_close(&pc);
}

Test(syncml_core, another_type_is_refused_in_words)
{
    struct pc pc;
    pc_open(&pc, "1");
    pc_send_raw(&pc, "<a/>", 4, "application/vnd.wap.wmlc");
    cr_assert_eq(pc.http, 415);
    cr_assert_not_null(
        memmem(pc.exchange.answer.body, pc.exchange.answer.size, "wbxml", 5));
    const struct exchange_header *accept = &pc.exchange.answer.headers[0];
    cr_assert_str_eq(accept->name, "Accept");
    cr_assert_str_eq(accept->value, SYNCML_TYPE ", " SYNCML_TYPE_WBXML);
    pc_send_raw(&pc, "<a/>", 4, "application/vnd.syncml+xml; charset=utf-8");
    cr_assert_eq(pc.http, 400); /* read, then refused for what it is */
    pc_send_raw(&pc, "<a/>", 4, "application/vnd.syncml+wbxml");
    cr_assert_eq(pc.http, 400);
    pc_close(&pc);
}

Test(syncml_core, what_is_no_syncml_gets_http)
{
    static const struct {
        const char *type, *body;
        int http;
    } cases[] = {
        { SYNCML_TYPE_WBXML, "\x02\xa4\x01\x6a", 400 },
        { SYNCML_TYPE_WBXML, "<SyncML xmlns='SYNCML:SYNCML1.2'/>", 400 },
        { SYNCML_TYPE, "\x02\xa4\x01\x6a", 400 },
        { "application/vnd.syncml.dm+wbxmls", "", 415 },
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
    cr_assert_eq(house_integer(&pc_house,
                               "SELECT count(*) FROM device WHERE report LIKE "
                               "'%\"Mod\":\"VMware7,1\"%'"),
                 1);
    pc_send_raw(&pc, last, strlen(last), SYNCML_TYPE);
    cr_assert_eq(pc_header_code(&pc), 200);
    cr_assert_eq(house_integer(&pc_house, "SELECT state FROM device"), 3);
    pc_close(&pc);
}
