/* The XML reader's limits and refusals, and what the writer makes of any text. */
#include "fake_core.h"
#include "leak.h"
#include "xml.h"
#include <criterion/criterion.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static struct fake_core core;

static void
begin(void)
{
    fake_core_open(&core);
}

static void
end(void)
{
    fake_core_close(&core);
    LEAK_CHECK();
}

TestSuite(xml, .init = begin, .fini = end);

static enum ca_status
read_octets(const void *text, size_t size, const struct xml_limits *limits,
            const struct xml_node **ret_root)
{
    return xml_read(&core.request, (struct ca_bytes){ text, size }, limits, ret_root);
}

static enum ca_status
read_text(const char *text, const struct xml_node **ret_root)
{
    return read_octets(text, strlen(text), &xml_limits_soap, ret_root);
}

Test(xml, gives_names_by_namespace_and_texts_without_white_space_around)
{
    const struct xml_node *root = NULL, *child = NULL;
    cr_assert_eq(read_text("\xef\xbb\xbf<?xml version='1.0' encoding='ISO-8859-1'?>"
                           "<p:a xmlns:p='urn:x' xmlns='urn:y' p:q=' v '>\r\n"
                           "<b>\n one &amp; <![CDATA[<two>]]> &#x263a;\t</b>"
                           "<p:b r='&quot;'/></p:a>",
                           &root),
                 CA_OK);
    cr_assert(xml_is(root, "urn:x", "a"));
    cr_assert_str_eq(xml_attribute(root, "q"), "v");
    cr_assert_str_eq(root->text, "");
    cr_assert_eq(xml_must(root, "urn:y", "b", &child), CA_OK);
    cr_assert_str_eq(child->text, "one & <two> \xe2\x98\xba");
    cr_assert_eq(child->text_size, strlen(child->text));
    cr_assert_str_eq(child->raw, "\n one & <two> \xe2\x98\xba\t");
    cr_assert_eq(child->parent, root);
    cr_assert_eq(xml_must(root, "urn:x", "b", &child), CA_OK);
    cr_assert_str_eq(xml_attribute(child, "r"), "\"");
    cr_assert_null(xml_attribute(child, "s"));
    cr_assert_eq(xml_must(root, NULL, "b", &child), CA_MALFORMED,
                 "two of any namespace");
    cr_assert_eq(xml_count(root, NULL, "b"), 2);
    cr_assert_eq(xml_count_all(root, NULL, "a"), 1);
}

Test(xml, takes_nil_by_its_namespace_alone)
{
    static const struct {
        const char *text;
        bool is_nil;
    } cases[] = {
        { "<a xmlns:i='" XML_SPACE_XSI "' i:nil='true'/>", true },
        { "<a xmlns:i='" XML_SPACE_XSI "' i:nil=' 1 '/>", true },
        { "<a xmlns:i='" XML_SPACE_XSI "' i:nil='false'/>", false },
        { "<a nil='true'/>", false },
        { "<a xmlns:i='urn:x' i:nil='true'/>", false },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct xml_node *root = NULL;
        cr_assert_eq(read_text(cases[i].text, &root), CA_OK, "%s", cases[i].text);
        cr_expect_eq(xml_is_nil(root), cases[i].is_nil, "%s", cases[i].text);
    }
}

/* A comment does not cut a text in two of which one is lost. */
Test(xml, joins_text_over_comments_and_children)
{
    const struct xml_node *root = NULL;
    cr_assert_eq(read_text("<a>ad<!-- x -->min<b>no</b>@x</a>", &root), CA_OK);
    cr_assert_str_eq(root->text, "admin@x");
}

Test(xml, W1_refuses_every_doctype_and_entity)
{
    static const char laughs[] =
        "<!DOCTYPE l [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;'>"
        "<!ENTITY c '&b;&b;&b;&b;&b;&b;'>]><l>&c;&c;&c;</l>";
    static const char *const cases[] = {
        "<!DOCTYPE a><a/>",
        "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>",
        "<!DOCTYPE a PUBLIC '-//x' 'http://127.0.0.1:1/x'><a/>",
        "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>",
        "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>",
        "<!DOCTYPE a [<!ENTITY % p SYSTEM 'http://127.0.0.1:1/'> %p;]><a/>",
        "<!DOCTYPE a [<!ATTLIST a b CDATA 'c'>]><a/>",
        laughs,
        "<a>&x;</a>",
        "<a b='&x;'/>",
        "<a>&#0;</a>",
        "<a>&#xd800;</a>",
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct xml_node *root = NULL;
        cr_expect_eq(read_text(cases[i], &root), CA_MALFORMED, "%s", cases[i]);
        cr_expect_null(root);
    }
}

Test(xml, W1_refuses_what_is_not_well_formed)
{
    static const char *const cases[] = {
        "",
        " ",
        "x",
        "<a",
        "<a>",
        "<a></b>",
        "<a/><b/>",
        "<a/>x",
        "<a b=c/>",
        "<a b='1' b='2'/>",
        "<p:a/>",
        "<a p:b=''/>",
        "<a>&</a>",
        "<a>\x01</a>",
        "<a>\xff</a>",
        "<a>\xed\xa0\x80</a>",
        "<a xmlns:p=''/>",
        "<?x y?><a/>",
        "<a><?x y?></a>",
        "<a xmlns:p='u' xmlns:q='u' p:b='' q:b=''/>",
        "\xff\xfe<\0a\0/\0>\0",
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct xml_node *root = NULL;
        cr_expect_eq(read_text(cases[i], &root), CA_MALFORMED, "%zu: %s", i, cases[i]);
    }
    const struct xml_node *root = NULL;
    cr_expect_eq(read_octets("<a>\0</a>", 8, &xml_limits_soap, &root), CA_MALFORMED);
    cr_expect_eq(read_octets("<a/>\0", 5, &xml_limits_soap, &root), CA_MALFORMED);
    cr_expect_eq(read_octets("<a/>\0<b/>", 9, &xml_limits_soap, &root), CA_MALFORMED);
    static const char wide[] = "\xff\xfe<\0a\0/\0>\0";
    cr_expect_eq(read_octets(wide, sizeof wide - 1, &xml_limits_soap, &root),
                 CA_MALFORMED, "UTF-16");
}

/* One document a limit: exactly at it passes, one more is refused. */
static char *
repeat(const char *before, const char *text, size_t count, const char *after)
{
    size_t size = strlen(before) + strlen(text) * count + strlen(after);
    char *made = malloc(size + 1), *at = made;
    at = stpcpy(at, before);
    for (size_t i = 0; i < count; i++)
        at = stpcpy(at, text);
    strcpy(at, after);
    return made;
}

static void
expect_limit(const char *what, const struct xml_limits *limits, char *at, char *beyond)
{
    const struct xml_node *root = NULL;
    cr_expect_eq(read_octets(at, strlen(at), limits, &root), CA_OK, "at %s", what);
    root = NULL;
    cr_expect_eq(read_octets(beyond, strlen(beyond), limits, &root), CA_LIMIT,
                 "beyond %s", what);
    cr_expect_null(root);
    free(at);
    free(beyond);
}

Test(xml, W1_holds_every_limit)
{
    struct xml_limits few = {
        .size = 4096, .depth = 4, .elements = 10, .attributes = 3, .text = 100
    };
    expect_limit("size", &few, repeat("<a>", " ", 0, "</a>"),
                 repeat("<a/>", " ", 4096, ""));
    expect_limit("elements", &few, repeat("<a>", "<b/>", 9, "</a>"),
                 repeat("<a>", "<b/>", 10, "</a>"));
    expect_limit("text", &few, repeat("<a>", "x", 100, "</a>"),
                 repeat("<a>", "x", 101, "</a>"));
    expect_limit("text of attributes", &few, repeat("<a b='", "x", 100, "'/>"),
                 repeat("<a b='", "x", 101, "'/>"));
    expect_limit("attributes", &few, strdup("<a xmlns:x='u' b='1' c='2'/>"),
                 strdup("<a xmlns:x='u' b='1' c='2' d='3'/>"));
    expect_limit("depth", &few, strdup("<a><a><a><a/></a></a></a>"),
                 strdup("<a><a><a><a><a/></a></a></a></a>"));
}

Test(xml, W1_a_megabyte_of_nesting_costs_nothing)
{
    char *deep = repeat("", "<a>", 350000, "");
    struct xml_limits large = xml_limits_soap;
    const struct xml_node *root = NULL;
    cr_expect_eq(read_octets(deep, strlen(deep), &xml_limits_soap, &root), CA_LIMIT);
    large.size = 2 * 1024 * 1024;
    cr_expect_eq(read_octets(deep, strlen(deep), &large, &root), CA_LIMIT);
    free(deep);
}

/* ---- The writer ---- */

static const char *
finish(struct xml_writer *writer)
{
    struct ca_bytes octets;
    if (xml_finish(writer, &core.request, &octets) != CA_OK)
        return NULL;
    cr_assert_eq(octets.data[octets.size], '\0');
    return (const char *)octets.data;
}

Test(xml, writes_what_the_reader_reads_back)
{
    static const char *const texts[] = {
        "plain",   "<>&\"'", "]]>", "\xe2\x98\xba \xf0\x9f\x98\x80",
        "a\nb\tc", "a\rb",   " x ",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct xml_writer writer;
        const struct xml_node *root = NULL, *leaf = NULL;
        xml_begin(&writer, true);
        xml_open(&writer, "s:a");
        xml_set(&writer, "xmlns:s", "urn:x");
        xml_set(&writer, "b", texts[i]);
        xml_leaf(&writer, "s:c", texts[i]);
        xml_leaf_integer(&writer, "s:d", INT64_MIN);
        xml_close(&writer);
        const char *text = finish(&writer);
        cr_assert_not_null(text);
        cr_assert_eq(read_text(text, &root), CA_OK, "%s", text);
        cr_assert_eq(xml_must(root, "urn:x", "c", &leaf), CA_OK);
        const char *wanted = strcmp(texts[i], " x ") == 0 ? "x" : texts[i];
        cr_expect_str_eq(leaf->text, wanted);
        if (!strpbrk(texts[i], "\n\t\r"))
            cr_expect_str_eq(xml_attribute(root, "b"), wanted);
        cr_assert_eq(xml_must(root, "urn:x", "d", &leaf), CA_OK);
        cr_expect_str_eq(leaf->text, "-9223372036854775808");
    }
}

Test(xml, writes_what_xml_cannot_say_as_replacement_characters)
{
    static const struct {
        const char *text, *wanted;
    } cases[] = {
        { "a\x01z", "a\xef\xbf\xbdz" },
        { "a\xffz", "a\xef\xbf\xbdz" },
        { "\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd" },
        { "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
        { "\xef\xbf\xbf", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
        { "a\xe2\x98", "a\xef\xbf\xbd\xef\xbf\xbd" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct xml_writer writer;
        const struct xml_node *root = NULL;
        xml_begin(&writer, false);
        xml_leaf(&writer, "a", cases[i].text);
        const char *text = finish(&writer);
        cr_assert_not_null(text);
        cr_assert_eq(read_text(text, &root), CA_OK, "%zu", i);
        cr_expect_str_eq(root->text, cases[i].wanted, "%zu", i);
    }
}

Test(xml, writes_octets_as_base64_of_any_length)
{
    static const char *const wanted[] = { "<a/>", "<a>AAE=</a>", "<a>AA==</a>",
                                          "<a>AAEC</a>", "<a>AAECAw==</a>" };
    static const size_t sizes[] = { 0, 2, 1, 3, 4 };
    const uint8_t octets[] = { 0, 1, 2, 3 };
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct xml_writer writer;
        xml_begin(&writer, false);
        xml_open(&writer, "a");
        xml_base64(&writer, (struct ca_bytes){ octets, sizes[i] });
        xml_close(&writer);
        const char *text = finish(&writer);
        cr_assert_not_null(text);
        cr_expect_str_eq(text, wanted[i]);
    }
    struct xml_writer writer;
    xml_begin(&writer, false);
    xml_base64(&writer, (struct ca_bytes){ octets, sizeof octets });
    cr_expect_null(finish(&writer), "outside of every element");
}

Test(xml, tells_an_element_that_was_left_open)
{
    struct xml_writer writer;
    xml_begin(&writer, false);
    xml_open(&writer, "a");
    cr_expect_null(finish(&writer));
    xml_begin(&writer, false);
    xml_open(&writer, "a");
    xml_close(&writer);
    cr_expect_str_eq(finish(&writer), "<a/>");
    xml_begin(&writer, false);
    xml_open(&writer, "a");
    xml_set(&writer, "xmlns:xsi", XML_SPACE_XSI);
    xml_nil(&writer, "b");
    xml_clear(&writer);
}

Test(xml, tells_a_writer_that_is_misused)
{
    struct xml_writer writer;
    xml_begin(&writer, false);
    xml_leaf(&writer, "a", "");
    xml_close(&writer);
    cr_expect_null(finish(&writer), "one close too many");
    xml_begin(&writer, false);
    xml_open(&writer, "a");
    xml_text(&writer, "b");
    xml_set(&writer, "c", "d");
    xml_close(&writer);
    cr_expect_null(finish(&writer), "an attribute behind a text");
    xml_begin(&writer, false);
    xml_text(&writer, "a");
    cr_expect_null(finish(&writer), "a text outside of every element");
    for (int depth = XML_NESTING_MAX; depth <= XML_NESTING_MAX + 1; depth++) {
        xml_begin(&writer, false);
        for (int i = 0; i < depth; i++)
            xml_open(&writer, "a");
        for (int i = 0; i < depth; i++)
            xml_close(&writer);
        cr_expect_eq(finish(&writer) != NULL, depth == XML_NESTING_MAX);
    }
}

/* Far beyond the room it begins with, in one text and in many. */
Test(xml, writes_long_documents)
{
    struct xml_writer writer;
    const struct xml_node *root = NULL;
    char *text = malloc(100001);
    memset(text, '&', 100000);
    text[100000] = '\0';
    xml_begin(&writer, false);
    xml_open(&writer, "a");
    xml_set(&writer, "b", text + 99000);
    for (int i = 0; i < 100; i++)
        xml_leaf(&writer, "c", text + 99999);
    xml_text(&writer, text + 50000);
    xml_close(&writer);
    const char *made = finish(&writer);
    cr_assert_not_null(made);
    cr_assert_eq(read_text(made, &root), CA_LIMIT, "128 KiB are the reader's limit");
    cr_expect_eq(strlen(made),
                 strlen("<a b=\"\"></a>") + 5 * 51000 + 100 * strlen("<c>&amp;</c>"));
    free(text);
}
