/* Sessions in WBXML with the real core: the device speaks by libwbxml alone. */
#include "pc.h"

TestSuite(syncml_forms, .init = pc_setup, .fini = pc_teardown, .timeout = 120);

static void
assert_queue_is_done(int count)
{
    cr_assert_eq(house_integer(&pc_house, "SELECT count(*) FROM device_command WHERE "
                                          "state = 2 AND attempts = 1"),
                 count);
}

Test(syncml_forms, a_session_in_wbxml_is_one_like_any_other)
{
    struct pc pc;
    pc_open(&pc, "1");
    pc.is_wbxml = true;
    pc_queue(120);
    pc_session(&pc);
    assert_queue_is_done(120);
    cr_assert_str_eq(json_string_value(json_object_get(pc.tree, "./Vendor/X/59")),
                     "<v>&");
    cr_assert_eq(house_integer(&pc_house, "SELECT count(*) FROM device WHERE report "
                                          "LIKE '%\"HwV\":\"V<1>&2\"%' AND report "
                                          "LIKE '%\"Man\":\"VMware, Inc.\"%'"),
                 1);
    pc_close(&pc);
}

/* libwbxml would give a line end of Add another octet. */
Test(syncml_forms, a_value_arrives_as_it_is_kept)
{
    static const char said[] = "a\nb\r\n<x y=\"z\">&+</x>";
    struct pc pc;
    char sql[1024];
    CA_AUTO(json_decref)
    json_t *command = json_pack("{s:s, s:s, s:s, s:s}", "kind", "add", "target",
                                "./Vendor/X/0", "data", said, "format", "bin");
    CA_AUTO(free) char *content = json_dumps(command, JSON_COMPACT);
    pc_queue(1);
    snprintf(sql, sizeof sql, "UPDATE device_command SET content = '%s'", content);
    house_run(&pc_house, sql);
    pc_open(&pc, "1");
    pc.is_wbxml = true;
    pc_begin(&pc);
    while (!syncml_node(pc.root, "SyncBody/Add")) {
        cr_assert(pc_obey(&pc));
        pc_send(&pc);
    }
    /* The octets: XML, as the double of a device reads it, knows one kind of line end.
     */
    cr_assert_not_null(
        memmem(pc.exchange.answer.body, pc.exchange.answer.size, said, sizeof said));
    /* In WBXML "bin" would be octets as they are. */
    cr_assert_str_eq(syncml_text(pc.root, "SyncBody/Add/Item/Meta/Format"), "b64");
    pc_close(&pc);
}

Test(syncml_forms, the_form_may_change_with_every_message)
{
    struct pc pc;
    pc_open(&pc, "1");
    pc_queue(120);
    pc_begin(&pc);
    while (pc_obey(&pc)) {
        pc.is_wbxml = !pc.is_wbxml;
        pc_send(&pc);
        cr_assert_eq(pc_header_code(&pc), 200);
    }
    assert_queue_is_done(120);
    pc_close(&pc);
}

/* What was sent is kept as it was: its octets, and the type beside them. */
Test(syncml_forms, a_repeat_gets_the_same_octets_of_the_same_type)
{
    static const char *const types[] = { SYNCML_TYPE_WBXML, SYNCML_TYPE_WBXML_SHORT };
    for (size_t i = 0; i < 2; i++) {
        struct pc pc;
        size_t size;
        pc_open(&pc, i ? "2" : "1");
        CA_AUTO(free) char *text = pc_message(&pc, 1, true);
        CA_AUTO(free) uint8_t *octets = pc_wbxml(text, &size);
        pc_send_raw(&pc, octets, size, types[i]);
        cr_assert_eq(pc_header_code(&pc), 200);
        size_t first_size = pc.exchange.answer.size;
        CA_AUTO(free) uint8_t *first = malloc(first_size);
        memcpy(first, pc.exchange.answer.body, first_size);
        pc_send_raw(&pc, octets, size, types[i]);
        cr_assert_str_eq(pc.exchange.answer.content_type, types[i]);
        cr_assert_eq(pc.exchange.answer.size, first_size);
        cr_assert_eq(memcmp(pc.exchange.answer.body, first, first_size), 0);
        /* The same said in XML is another message, and out of order. */
        pc_send_raw(&pc, text, strlen(text), SYNCML_TYPE);
        cr_assert_eq(pc_header_code(&pc), 200); /* MsgID 1: afresh */
        pc_close(&pc);
    }
}

Test(syncml_forms, R8_no_answer_in_wbxml_is_larger_than_the_device_takes)
{
    static const size_t sizes[] = { SYNCML_SIZE_MIN, 4096, 16384 };
    for (size_t i = 0; i < 3; i++) {
        struct pc pc;
        house_run(&pc_house, "DELETE FROM device_command");
        pc_queue(100);
        pc_open(&pc, "1");
        pc.is_wbxml = true;
        pc.max_size = sizes[i]; /* which pc_send holds every answer to */
        pc_session(&pc);
        cr_assert_str_eq(syncml_text(pc.root, "SyncHdr/Meta/MaxMsgSize"), "524288");
        assert_queue_is_done(100);
        pc_close(&pc);
    }
}

/* The octets of a literal. */
#define put(buffer, literal) text_append(buffer, literal, sizeof(literal) - 1)

/* A chunk is opaque, and has a line end as the device counted it. */
Test(syncml_forms, large_objects_come_in_chunks)
{
    static const char *const chunks[] = { " VM\r", "\nware", " x " };
    struct pc pc;
    pc_open(&pc, "1");
    for (int i = 0; i < 3; i++) {
        struct text_buffer octets = { 0 };
        put(&octets, "\x02\xa4\x01\x6a\x00\x6d\x6c\x71\x03"
                     "1.2\0\x01\x65\x03"
                     "1\0"
                     "\x01\x5b\x03");
        text_print(&octets, "%d", i + 1);
        put(&octets, "\0\x01\x6e\x57\x03"
                     "a\0\x01\x01\x67\x57\x03");
        text_print(&octets, "%s", pc.source);
        put(&octets, "\0\x01\x01\x01\x6b\x60\x4b\x03"
                     "1\0\x01\x54\x67\x57\x03"
                     "./DevInfo/Mod\0\x01\x01");
        if (i == 0) /* Size, of all three */
            put(&octets, "\x5a\x00\x01\x52\x03"
                         "12\0\x01\x01\x00\x00");
        put(&octets, "\x4f\xc3");
        text_print(&octets, "%c%s\x01", (int)strlen(chunks[i]), chunks[i]);
        if (i < 2)
            put(&octets, "\x34\x01\x01\x01\x01");
        else
            put(&octets, "\x01\x01\x12\x01\x01");
        pc_send_raw(&pc, octets.data, octets.size, SYNCML_TYPE_WBXML_SHORT);
        cr_assert_eq(pc.http, 200, "%d", i);
        const struct xml_node *status = syncml_node(pc.root, "SyncBody")->first->next;
        cr_assert_str_eq(syncml_text(status, "Data"), i < 2 ? "213" : "200");
        text_buffer_clear(&octets);
    }
    cr_assert_eq(house_integer(&pc_house,
                               "SELECT count(*) FROM device WHERE report LIKE "
                               "'%\"Mod\":\" VM\\r\\nware x \"%'"),
                 1);
    pc_close(&pc);
}

Test(syncml_forms, A5_unenrolment_by_the_user_revokes_and_ends)
{
    struct pc pc;
    pc_open(&pc, "9");
    pc.is_wbxml = true;
    text_print(&pc.body, PC_UNENROL);
    pc_begin(&pc);
    cr_assert_eq(pc_header_code(&pc), 200);
    cr_assert_not(pc_obey(&pc));
    cr_assert_eq(house_integer(&pc_house, "SELECT state FROM device"), 3);
    pc.session = "10";
    pc_begin(&pc);
    cr_assert_eq(pc_header_code(&pc), 403);
    pc_close(&pc);
}
