/* The checker before libwbxml: what it refuses, and what comes through unchanged. */
#include "fake_core.h"
#include "leak.h"
#include "syncml_wbxml.h"
#include <criterion/criterion.h>
#include <string.h>
#include <wbxml/wbxml.h>
#include <wbxml/wbxml_conv.h>
#include <wbxml/wbxml_errors.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define START "\x03\xa4\x01\x6a\x00" /* 1.3, 0x1201, UTF-8, no string table */
#define TEXT_ID "-//SYNCML//DTD SyncML 1.2//EN"
/* Octets with their size, without the literal's own NUL. */
#define OCTETS(literal) literal, sizeof(literal) - 1

static struct fake_core core;

static void
begin(void)
{
    fake_core_request(&core, "POST", "", "", NULL, 0);
}

static void
end(void)
{
    fake_core_request(&core, "POST", "", "", NULL, 0);
    fake_core_forget(&core);
    LEAK_CHECK();
}

TestSuite(syncml_wbxml, .init = begin, .fini = end, .timeout = 60);

static enum ca_status
read_octets(const void *octets, size_t size, const struct xml_node **ret_root)
{
    return syncml_wbxml_read(&core.request, (struct ca_bytes){ octets, size },
                             ret_root);
}

/* A document of one Data in Results: so many octets are its content. */
static size_t
data_make(char *to, const void *content, size_t size)
{
    static const char before[] = START "\x6d\x6b\x62\x54\x4f";
    memcpy(to, before, sizeof before - 1);
    memcpy(to + sizeof before - 1, content, size);
    memcpy(to + sizeof before - 1 + size, "\1\1\1\1\1", 5);
    return sizeof before - 1 + size + 5;
}

static const struct xml_node *
data_of(const struct xml_node *root)
{
    return syncml_node(root, "SyncBody/Results/Item/Data");
}

Test(syncml_wbxml, R8_what_is_no_syncml_never_reaches_the_library)
{
    static const struct {
        const char *name, *octets;
        size_t size;
    } cases[] = {
        { "nothing", OCTETS("") },
        { "version 1.0", OCTETS("\x00\xa4\x01\x6a\x00\x2d") },
        { "version 1.4", OCTETS("\x04\xa4\x01\x6a\x00\x2d") },
        { "no identifier", OCTETS("\x03") },
        { "unknown identifier", OCTETS("\x03\x01\x6a\x00\x2d") },
        { "identifier of WML 1.3", OCTETS("\x03\x0a\x6a\x00\x2d") },
        { "identifier of DevInf 1.2", OCTETS("\x03\xa4\x02\x6a\x00\x2d") },
        { "identifier beyond 32 bits", OCTETS("\x03\x90\x80\x80\xa4\x01\x6a\x00\x2d") },
        { "identifier without end", OCTETS("\x03\x80\x80\x80\x80\x80\x80\x80\x80") },
        { "identifier in no table", OCTETS("\x03\x00\x00\x6a\x00\x2d") },
        { "identifier of SyncML 1.1 in the table",
          OCTETS("\x03\x00\x00\x6a\x1d-//SYNCML//DTD SyncML 1.1//EN\x2d") },
        { "identifier behind the table",
          OCTETS("\x03\x00\x1e\x6a\x1e" TEXT_ID "\0\x2d") },
        { "charset ISO 8859-1", OCTETS("\x03\xa4\x01\x04\x00\x2d") },
        { "charset UTF-16", OCTETS("\x03\xa4\x01\x87\x77\x00\x2d") },
        { "table beyond the end", OCTETS("\x03\xa4\x01\x6a\x05\x61\x62\x2d") },
        { "table of 4 GiB", OCTETS("\x03\xa4\x01\x6a\x8f\xff\xff\xff\x7f\x2d") },
        { "no body", OCTETS(START) },
        { "text for a root", OCTETS(START "\x03x\0") },
        { "END for a root", OCTETS(START "\x01") },
        { "another root", OCTETS(START "\x2b") },
        { "a root of MetInf", OCTETS(START "\x00\x01\x2d") },
        { "two roots", OCTETS(START "\x2d\x2d") },
        { "octets behind the root", OCTETS(START "\x2d\x00") },
        { "END too many", OCTETS(START "\x6d\x01\x01") },
        { "END too few", OCTETS(START "\x6d\x6b\x01") },
        { "page without a number", OCTETS(START "\x6d\x00") },
        { "code page 2", OCTETS(START "\x6d\x00\x02\x05\x01") },
        { "code page 255", OCTETS(START "\x6d\x00\xff\x05\x01") },
        { "token of no element", OCTETS(START "\x6d\x3d\x01") },
        { "reserved token", OCTETS(START "\x6d\x30\x01") },
        { "token of no MetInf", OCTETS(START "\x6d\x00\x01\x17\x01") },
        { "attributes", OCTETS(START "\xed\x05\x01\x01") },
        { "attributes of an empty one", OCTETS(START "\x6d\x85\x05\x01\x01") },
        { "LITERAL", OCTETS("\x03\xa4\x01\x6a\x02x\0\x6d\x04\x00\x01") },
        { "LITERAL_A", OCTETS("\x03\xa4\x01\x6a\x02x\0\x6d\x84\x00\x01\x01") },
        { "LITERAL_C", OCTETS("\x03\xa4\x01\x6a\x02x\0\x6d\x44\x00\x01\x01") },
        { "LITERAL_AC", OCTETS("\x03\xa4\x01\x6a\x02x\0\x6d\xc4\x00\x01\x01\x01") },
        { "PI", OCTETS(START "\x43\x05\x01\x2d") },
        { "PI inside", OCTETS(START "\x6d\x43\x05\x01\x01") },
        { "EXT_I_0", OCTETS(START "\x6d\x40x\0\x01") },
        { "EXT_I_2", OCTETS(START "\x6d\x42x\0\x01") },
        { "EXT_T_0", OCTETS("\x03\xa4\x01\x6a\x02x\0\x6d\x80\x00\x01") },
        { "EXT_T_1", OCTETS("\x03\xa4\x01\x6a\x02x\0\x6d\x81\x00\x01") },
        { "EXT_0", OCTETS(START "\x6d\xc0\x01") },
        { "EXT_2", OCTETS(START "\x6d\xc2\x01") },
        { "STR_I without NUL", OCTETS(START "\x6d\x4f\x03xyz\x01\x01") },
        { "STR_T without a table", OCTETS(START "\x6d\x4f\x83\x00\x01\x01") },
        { "STR_T beyond", OCTETS("\x03\xa4\x01\x6a\x02x\0\x6d\x4f\x83\x02\x01\x01") },
        { "STR_T beyond 32 bits",
          OCTETS("\x03\xa4\x01\x6a\x02x\0\x6d\x4f\x83\x90\x80\x80\x80\x00\x01\x01") },
        { "OPAQUE beyond", OCTETS(START "\x6d\x4f\xc3\x04x\x01\x01") },
        { "OPAQUE of 4 GiB",
          OCTETS(START "\x6d\x4f\xc3\x8f\xff\xff\xff\x7fx\x01\x01") },
        { "OPAQUE beyond 32 bits",
          OCTETS(START "\x6d\x4f\xc3\x90\x80\x80\x80\x01x\x01\x01") },
        { "ENTITY NUL", OCTETS(START "\x6d\x4f\x02\x00\x01\x01") },
        { "ENTITY of a surrogate", OCTETS(START "\x6d\x4f\x02\x83\xb0\x00\x01\x01") },
        { "ENTITY beyond Unicode", OCTETS(START "\x6d\x4f\x02\xc4\x80\x00\x01\x01") },
        { "ENTITY beyond 31 bits",
          OCTETS(START "\x6d\x4f\x02\x8f\xff\xff\xff\x7f\x01\x01") },
        { "ENTITY of a control", OCTETS(START "\x6d\x4f\x02\x01\x01\x01") },
        { "text of Latin-1", OCTETS(START "\x6d\x4f\x03\xe4\0\x01\x01") },
        { "text of a control", OCTETS(START "\x6d\x4f\x03\x08\0\x01\x01") },
        { "text cut in a character", OCTETS(START "\x6d\x4f\x03\xc3\0\x01\x01") },
        { "overlong character", OCTETS(START "\x6d\x4f\x03\xc0\xaf\0\x01\x01") },
        { "octets beside a text",
          OCTETS(START "\x6d\x54\x4f\x03x\0\xc3\x01\x00\x01\x01\x01") },
        { "octets of the root", OCTETS(START "\x6d\xc3\x01\x00\x01") },
        { "text before an element", OCTETS(START "\x6d\x6b\x03x\0\x12\x01\x01") },
        { "text behind an element", OCTETS(START "\x6d\x6b\x12\x03x\0\x01\x01") },
        { "octets in chunks",
          OCTETS(START
                 "\x6d\x6b\x62\x54\x4f\xc3\x02\x00\xff\x01\x34\x01\x01\x01\x01") },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct xml_node *root = NULL;
        char *exact = malloc(cases[i].size + 1); /* ASan sees a step beyond */
        memcpy(exact, cases[i].octets, cases[i].size);
        cr_assert_eq(read_octets(exact, cases[i].size, &root), CA_MALFORMED, "%s",
                     cases[i].name);
        cr_assert_null(strstr(status_message(), "libwbxml"), "%s", cases[i].name);
        free(exact);
    }
}

Test(syncml_wbxml, R8_no_beginning_of_a_message_is_one)
{
    static const char whole[] =
        "\x02\x00\x00\x6a\x1e" TEXT_ID "\0\x6d\x6c\x71\x03"
        "1.2\0\x01\x5a\x00\x01\x4c"
        "\xc3\x04"
        "5000\x01\x00\x00\x01\x01\x6b\x62\x54\x4f\x83\x0c\x02\x83\x2c"
        "\x01\x01\x01\x12\x01\x01";
    const struct xml_node *root;
    cr_assert_eq(read_octets(whole, sizeof whole - 1, &root), CA_OK, "%s",
                 status_message());
    cr_assert_str_eq(syncml_text(root, "SyncHdr/Meta/MaxMsgSize"), "5000");
    cr_assert_str_eq(data_of(root)->text, "TD SyncML 1.2//EN\xc6\xac");
    for (size_t size = 0; size < sizeof whole - 1; size++) {
        char *exact = malloc(size + 1);
        memcpy(exact, whole, size);
        cr_assert_eq(read_octets(exact, size, &root), CA_MALFORMED, "%zu", size);
        free(exact);
    }
}

/* Through libwbxml alone: 450 MB of XML in 1.3 GB of memory. */
Test(syncml_wbxml, R8_references_to_the_string_table_are_not_multiplied)
{
    size_t size = 0, table = 15000;
    char *octets = malloc(70000);
    const struct xml_node *root;
    size += (size_t)sprintf(octets, "\x03\xa4\x01\x6a");
    octets[size++] = (char)(0x80 | table >> 7);
    octets[size++] = (char)(table & 0x7f);
    memset(octets + size, 'x', table);
    octets[size + table - 1] = '\0';
    size += table;
    memcpy(octets + size, "\x6d\x6b\x62\x54\x4f", 5);
    size += 5;
    while (size < 60000) {
        octets[size++] = '\x83';
        octets[size++] = '\0';
    }
    memset(octets + size, 1, 5);
    cr_assert_eq(read_octets(octets, size + 5, &root), CA_LIMIT, "%s",
                 status_message());
    free(octets);
}

/* Through libwbxml alone: the end of the stack. */
Test(syncml_wbxml, R8_a_quarter_million_nested_elements_are_refused)
{
    enum { DEPTH = 250000 };
    char *octets = malloc(5 + 2 * DEPTH);
    const struct xml_node *root;
    memcpy(octets, START, 5);
    for (size_t depth = XML_NESTING_MAX; depth <= DEPTH; depth *= 8) {
        memset(octets + 5, '\x6d', depth);
        memset(octets + 5 + depth, 1, depth);
        cr_assert_eq(read_octets(octets, 5 + 2 * depth, &root),
                     depth <= XML_NESTING_MAX ? CA_OK : CA_LIMIT, "%zu", depth);
    }
    memset(octets + 5, '\x6d', DEPTH);
    cr_assert_eq(read_octets(octets, 5 + DEPTH, &root), CA_LIMIT);
    free(octets);
}

/* Through libwbxml alone each of these is read as a document of its own. */
Test(syncml_wbxml, R8_a_document_inside_a_value_stays_a_value)
{
    static const struct {
        const char *type, *value;
        size_t size;
        const char *text;
    } cases[] = {
        { "application/vnd.syncml-devinf+wbxml",
          OCTETS("\xc3\x07\x03\xa4\x02\x6a\x00\x4a\x01"), "A6QCagBKAQ==" },
        { "application/vnd.syncml.dmtnds+wbxml",
          OCTETS("\xc3\x06\x03\xa4\x01\x6a\x00\x2d"), "A6QBagAt" },
        /* WML 1.2 in an inline string, of characters alone */
        { "application/vnd.syncml-devinf+wbxml",
          OCTETS("\x03 \tj!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!! \0"),
          "j!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!" },
        { "text/x-vcard", OCTETS("\x03]]><Evil/>\0"), "]]><Evil/>" },
        { "text/clear", OCTETS("\xc3\x06]]><x>"), "]]><x>" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char octets[256];
        const struct xml_node *root;
        static const char before[] = START "\x6d\x6b\x62\x54\x5a\x00\x01\x53\x03";
        size_t size = sizeof before - 1;
        memcpy(octets, before, size);
        size += (size_t)sprintf(octets + size, "%s", cases[i].type) + 1;
        memcpy(octets + size, OCTETS("\1\1\0\0\x4f"));
        size += 5;
        memcpy(octets + size, cases[i].value, cases[i].size);
        size += cases[i].size;
        memset(octets + size, 1, 5);
        cr_assert_eq(read_octets(octets, size + 5, &root), CA_OK, "%s",
                     status_message());
        cr_assert_str_eq(syncml_text(root, "SyncBody/Results/Item/Meta/Type"),
                         cases[i].type);
        const struct xml_node *data = data_of(root);
        cr_assert_str_eq(data->text, cases[i].text, "%zu: %s", i, data->text);
        cr_assert_null(data->first);
        cr_assert_null(data->next);
    }
}

Test(syncml_wbxml, R8_elements_are_counted)
{
    char octets[16384];
    const struct xml_node *root;
    size_t size = 6 + SYNCML_SIBLINGS_MAX;
    memcpy(octets, START "\x6d", 6);
    memset(octets + 6, '\x12', SYNCML_SIBLINGS_MAX + 1);
    octets[size] = 1;
    cr_assert_eq(read_octets(octets, size + 1, &root), CA_OK);
    octets[size] = '\x12';
    octets[size + 1] = 1;
    cr_assert_eq(read_octets(octets, size + 2, &root), CA_LIMIT); /* side by side */
    /* In all: the root, twenty elements with so many each, and some more. */
    for (size_t more = 479; more < 481; more++) {
        size = 6;
        for (size_t i = 0; i < 20; i++) {
            size_t count = i < 19 ? 500 : more;
            octets[size++] = '\x54';
            memset(octets + size, '\x12', count);
            size += count;
            octets[size++] = 1;
        }
        octets[size++] = 1;
        cr_assert_eq(read_octets(octets, size, &root), more == 479 ? CA_OK : CA_LIMIT);
    }
}

/* 512 KiB as octets, and again as XML. */
Test(syncml_wbxml, R8_a_message_has_the_size_of_a_message)
{
    const size_t room = SYNCML_BODY_MAX + 100;
    char *octets = malloc(room), *content = malloc(room);
    const struct xml_node *root;
    memset(content, 'x', room);
    content[0] = 3;
    content[400001] = '\0';
    size_t size = data_make(octets, content, 400002);
    cr_assert_eq(read_octets(octets, size, &root), CA_OK, "%s", status_message());
    cr_assert_eq(data_of(root)->text_size, 400000);
    memset(content + 1, '<', 400000);
    size = data_make(octets, content, 400002);
    cr_assert_eq(read_octets(octets, size, &root), CA_LIMIT);
    content[200001] = '\0';
    size = data_make(octets, content, 200002);
    cr_assert_eq(read_octets(octets, size, &root), CA_OK, "%s", status_message());
    cr_assert_eq(data_of(root)->text_size, 200000);
    memset(octets, 0, room);
    cr_assert_eq(read_octets(octets, SYNCML_BODY_MAX + 1, &root), CA_LIMIT);
    free(content);
    free(octets);
}

/* Each way of writing a text gives it, in any mixture. */
Test(syncml_wbxml, texts_come_in_every_way)
{
    static const struct {
        const char *content;
        size_t size;
        const char *raw;
    } cases[] = {
        { OCTETS("\x03"
                 "abc\0"),
          "abc" },
        { OCTETS("\xc3\x03"
                 "abc"),
          "abc" },
        { OCTETS("\xc3\x80\x80\x03"
                 "abc"),
          "abc" }, /* a long number */
        { OCTETS("\x02\x41"), "A" },
        { OCTETS("\x02\x87\xec\x00"), "\xf0\x9f\x98\x80" },
        { OCTETS("\x03"
                 "a\0\x02\x42\xc3\x01"
                 "c\x03"
                 "d\0"),
          "aBcd" },
        { OCTETS("\x03\xc3\0\xc3\x01\xa4"), "\xc3\xa4" }, /* a character in parts */
        { OCTETS("\x03  \0"), "  " },
        { OCTETS("\x03 a\r\n\tb \0"), " a\r\n\tb " },
        { OCTETS("\x03\x7f\x7fn+&amp;<>\"']]>\0"), "\x7f\x7fn+&amp;<>\"']]>" },
        { OCTETS("\xc3\x00"), "" },
        { OCTETS("\x03\0"), "" },
        { OCTETS("\xc3\x01\x00"), "AA==" },
        { OCTETS("\xc3\x04\xff\xfe\xfd\xfc"), "//79/A==" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char octets[256];
        const struct xml_node *root;
        size_t size = data_make(octets, cases[i].content, cases[i].size);
        cr_assert_eq(read_octets(octets, size, &root), CA_OK, "%zu: %s", i,
                     status_message());
        cr_assert_str_eq(data_of(root)->raw, cases[i].raw, "%zu", i);
    }
}

static const struct {
    const char *type, *format;
} kinds[] = {
    { NULL, NULL },
    { "text/plain", "chr" },
    { "text/clear", "chr" },
    { "text/x-vcard", "chr" },
    { "text/x-vcalendar", NULL },
    { "text/directory;profile=vCard", NULL },
    { "application/vnd.syncml-devinf+xml", "xml" },
    { "application/vnd.syncml-devinf+wbxml", "bin" },
    { "application/vnd.syncml.dmtnds+xml", "xml" },
    { "application/vnd.syncml.dmtnds+wbxml", "xml" },
};

static void
write_item(struct xml_writer *writer, const char *command, size_t kind,
           const char *data)
{
    xml_open(writer, command);
    xml_leaf(writer, "CmdID", "1");
    xml_open(writer, "Item");
    if (kinds[kind].type) {
        xml_open(writer, "Meta");
        xml_open(writer, "Type");
        xml_set(writer, "xmlns", SYNCML_METINF);
        xml_text(writer, kinds[kind].type);
        xml_close(writer);
        xml_close(writer);
    }
    xml_leaf(writer, "Data", data);
    xml_close(writer);
    xml_close(writer);
}

static void
assert_same(const struct xml_node *a, const struct xml_node *b)
{
    cr_assert_str_eq(a->name, b->name);
    cr_assert_str_eq(a->space, b->space);
    if (!a->first)
        cr_assert_str_eq(a->raw, b->raw);
    cr_assert_str_eq(a->text, b->text);
    cr_assert_eq(a->text_size, b->text_size);
    cr_assert_eq(a->first != NULL, b->first != NULL);
    cr_assert_eq(a->next != NULL, b->next != NULL);
    if (a->first)
        assert_same(a->first, b->first);
    if (a->next)
        assert_same(a->next, b->next);
}

/* libwbxml would mend line ends, rename types and open documents. */
Test(syncml_wbxml, an_answer_says_in_wbxml_what_it_says_in_xml)
{
    static const char *const commands[] = { "Add", "Replace", "Exec", "Results" };
    static const char *const values[] = {
        "plain",
        "line\nline\r\nline\r\r\n\n",
        "\n",
        " \t ",
        "<a b=\"c\">&amp;'x'</a>]]>",
        "application/vnd.syncml-devinf+xml",
        "\x7f \x7fn \x7f\x7f",
        "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
        "AAEC+/8=",
        "",
    };
    for (size_t kind = 0; kind < COUNT(kinds); kind++) {
        struct xml_writer writer;
        struct ca_bytes xml, octets;
        const struct xml_node *said, *heard;
        xml_begin(&writer, false);
        xml_open(&writer, "SyncML");
        xml_set(&writer, "xmlns", SYNCML_SPACE);
        xml_open(&writer, "SyncBody");
        for (size_t i = 0; i < COUNT(commands); i++)
            for (size_t k = 0; k < COUNT(values); k++)
                write_item(&writer, commands[i], kind, values[k]);
        xml_leaf(&writer, "Final", "");
        xml_close(&writer);
        xml_close(&writer);
        cr_assert_eq(xml_finish(&writer, &core.request, &xml), CA_OK);
        cr_assert_eq(xml_read(&core.request, xml, &syncml_limits, &said), CA_OK);
        cr_assert_eq(syncml_wbxml_write(&core.request, xml, &octets), CA_OK, "%s",
                     status_message());
        cr_assert_leq(octets.size, xml.size);
        cr_assert_eq(memcmp(octets.data, OCTETS(START)), 0);
        cr_assert_eq(read_octets(octets.data, octets.size, &heard), CA_OK, "%s",
                     status_message());
        assert_same(said, heard);
    }
}

/* A device may be answered more than it may say. */
Test(syncml_wbxml, an_answer_has_no_limits_of_its_own)
{
    struct xml_writer writer;
    struct ca_bytes xml, octets;
    xml_begin(&writer, false);
    xml_open(&writer, "SyncML");
    xml_set(&writer, "xmlns", SYNCML_SPACE);
    xml_open(&writer, "SyncBody");
    for (int i = 0; i < 5000; i++)
        write_item(&writer, "Status", 1, "200");
    xml_close(&writer);
    xml_close(&writer);
    cr_assert_eq(xml_finish(&writer, &core.request, &xml), CA_OK);
    cr_assert_gt(xml.size, SYNCML_BODY_MAX);
    cr_assert_eq(syncml_wbxml_write(&core.request, xml, &octets), CA_OK, "%s",
                 status_message());
    cr_assert_leq(octets.size, xml.size);
}

/* libwbxml's own tables know the same elements by the same tokens. */
Test(syncml_wbxml, the_tokens_are_those_of_the_library)
{
    size_t found = 0;
    for (int page = 0; page < 3; page++)
        for (int token = 5; token < 64; token++) {
            const uint8_t octets[] = {
                3, 0xa4, 1, 0x6a, 0, 0x6d, 0, (uint8_t)page, (uint8_t)token, 1
            };
            WBXMLConvWBXML2XML *converter;
            WB_UTINY *xml = NULL;
            WB_ULONG size;
            const struct xml_node *root = NULL;
            cr_assert_eq(wbxml_conv_wbxml2xml_create(&converter), WBXML_OK);
            wbxml_conv_wbxml2xml_set_gen_type(converter, WBXML_GEN_XML_COMPACT);
            cr_assert_eq(wbxml_conv_wbxml2xml_run(converter,
                                                  (WB_UTINY *)(uintptr_t)octets,
                                                  sizeof octets, &xml, &size),
                         WBXML_OK);
            wbxml_conv_wbxml2xml_destroy(converter);
            bool is_element =
                !strstr((char *)xml, "<unknown") && !strstr((char *)xml, "<Reserved");
            cr_assert_eq(read_octets(octets, sizeof octets, &root) == CA_OK, is_element,
                         "page %d token %02x: %s", page, token, (char *)xml);
            if (is_element) {
                char tag[64];
                snprintf(tag, sizeof tag, "<%s", root->first->name);
                cr_assert_not_null(strstr((char *)xml, tag));
                cr_assert_str_eq(root->first->space,
                                 page == 0 ? SYNCML_SPACE : SYNCML_METINF);
                found++;
            }
            free(xml);
        }
    cr_assert_eq(found, 55 + 18);
}

/* Some phones switch the page before an END, and leave the NUL out of the table. */
Test(syncml_wbxml, phones_have_their_ways)
{
    static const char phone[] =
        "\x02\x00\x00\x6a\x1d" TEXT_ID "\x6d\x6c\x5a\x00\x01\x4c\xc3\x05"
        "10000\x01\x00"
        "\x00\x01\x01\x6b\x03\r\n\0\x12\x03 \0\x01\x01";
    static const char charset_0[] = "\x01\xa4\x01\x00\x00\x6d\x01";
    const struct xml_node *root;
    cr_assert_eq(read_octets(phone, sizeof phone - 1, &root), CA_OK, "%s",
                 status_message());
    cr_assert_str_eq(syncml_text(root, "SyncHdr/Meta/MaxMsgSize"), "10000");
    cr_assert_not_null(syncml_node(root, "SyncBody/Final"));
    cr_assert_eq(read_octets(charset_0, sizeof charset_0 - 1, &root), CA_OK);
}
