/* WBXML to the tree that the XML reader makes, and answers the other way, by libwbxml:
 * it converts what the checker wrote, and what it writes is checked again. It keeps
 * nothing between calls, so any thread may use it. */
#include "syncml_wbxml.h"
#include "auto.h"
#include <string.h>
#include <wbxml/wbxml.h>
#include <wbxml/wbxml_conv.h>
#include <wbxml/wbxml_errors.h>

CA_AUTO_RELEASE(WBXMLConvWBXML2XML, wbxml_conv_wbxml2xml_destroy)
CA_AUTO_RELEASE(WBXMLConvXML2WBXML, wbxml_conv_xml2wbxml_destroy)

#define PROLOGUE_MAX 512 /* declaration and DOCTYPE, both libwbxml's own */

static const char marked[] = "\n\r\x7f+&<>\"'";
static const char letters[] = "nrdpalgqo";

char
syncml_mark_of(char c)
{
    const char *found = c ? strchr(marked, c) : NULL;
    return found ? letters[found - marked] : '\0';
}

bool
syncml_unmark(char *text, size_t *size)
{
    size_t to = 0;
    for (size_t from = 0; from < *size; from++) {
        char c = text[from];
        if (c == SYNCML_MARK_OCTET) {
            char letter = ++from < *size ? text[from] : '\0';
            const char *found = letter ? strchr(letters, letter) : NULL;
            if (!found)
                return false;
            c = marked[found - letters];
        }
        text[to++] = c;
    }
    *size = to;
    return true;
}

/* What libwbxml gave, which may be secret. */
struct converted {
    WB_UTINY *data;
    WB_ULONG size;
};

static void
converted_clear_auto(struct converted *converted)
{
    if (converted->data)
        OPENSSL_cleanse(converted->data, converted->size);
    free(converted->data);
}

static enum ca_status
failure(enum ca_status status, WBXMLError error)
{
    return ca_fail(status, "libwbxml: %s", (const char *)wbxml_errors_string(error));
}

static enum ca_status
to_xml(struct ca_bytes plain, struct converted *ret)
{
    CA_AUTO(wbxml_conv_wbxml2xml_destroy) WBXMLConvWBXML2XML *converter = NULL;
    WBXMLError error = wbxml_conv_wbxml2xml_create(&converter);
    if (error != WBXML_OK)
        return failure(CA_INTERNAL, error);
    wbxml_conv_wbxml2xml_set_gen_type(converter, WBXML_GEN_XML_COMPACT);
    wbxml_conv_wbxml2xml_set_language(converter, WBXML_LANG_SYNCML_SYNCML12);
    wbxml_conv_wbxml2xml_set_charset(converter, WBXML_CHARSET_UTF_8);
    wbxml_conv_wbxml2xml_enable_preserve_whitespaces(converter);
    error = wbxml_conv_wbxml2xml_run(converter, (WB_UTINY *)(uintptr_t)plain.data,
                                     (WB_ULONG)plain.size, &ret->data, &ret->size);
    return error == WBXML_OK && ret->data ? CA_OK : failure(CA_MALFORMED, error);
}

static enum ca_status
to_wbxml(struct ca_bytes xml, struct converted *ret)
{
    CA_AUTO(wbxml_conv_xml2wbxml_destroy) WBXMLConvXML2WBXML *converter = NULL;
    WBXMLError error = wbxml_conv_xml2wbxml_create(&converter);
    if (error != WBXML_OK)
        return failure(CA_INTERNAL, error);
    wbxml_conv_xml2wbxml_set_version(converter, WBXML_VERSION_13);
    wbxml_conv_xml2wbxml_disable_string_table(converter);
    wbxml_conv_xml2wbxml_enable_preserve_whitespaces(converter);
    error = wbxml_conv_xml2wbxml_run(converter, (WB_UTINY *)(uintptr_t)xml.data,
                                     (WB_ULONG)xml.size, &ret->data, &ret->size);
    return error == WBXML_OK && ret->data ? CA_OK : failure(CA_INTERNAL, error);
}

/* ---- Reading ---- */

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The element's text without marks, and again without white space at its ends: a line
 * end that was marked is such. */
static enum ca_status
unmark_node(struct ca_request *req, struct xml_node *node)
{
    if (!strchr(node->raw, SYNCML_MARK_OCTET))
        return CA_OK;
    size_t size = strlen(node->raw);
    char *raw = ca_request_alloc(req, size + 1),
         *text = ca_request_alloc(req, size + 1);
    if (!raw || !text)
        return ca_fail(CA_INTERNAL, "no memory for a text");
    memcpy(raw, node->raw, size + 1);
    if (!syncml_unmark(raw, &size))
        return ca_fail(CA_MALFORMED, "WBXML: a mark that is none");
    raw[size] = '\0';
    const char *from = raw;
    for (; size > 0 && is_space(*from); size--)
        from++;
    while (size > 0 && is_space(from[size - 1]))
        size--;
    memcpy(text, from, size);
    text[size] = '\0';
    node->raw = raw;
    node->text = text;
    node->text_size = size;
    return CA_OK;
}

static enum ca_status
unmark_tree(struct ca_request *req, struct xml_node *root)
{
    struct xml_node *node = root;
    while (node) {
        enum ca_status status = unmark_node(req, node);
        if (status != CA_OK)
            return status;
        if (node->first) {
            node = node->first;
            continue;
        }
        while (node && node != root && !node->next)
            node = node->parent;
        node = !node || node == root ? NULL : node->next;
    }
    return CA_OK;
}

enum ca_status
syncml_wbxml_read(struct ca_request *req, struct ca_bytes octets,
                  const struct xml_node **ret_root)
{
    static const char root[] = "<SyncML";
    __attribute__((cleanup(converted_clear_auto))) struct converted xml = { 0 };
    struct ca_bytes plain;
    enum ca_status status = syncml_wbxml_plain(req, octets, SYNCML_MARK, &plain);
    if (status == CA_OK)
        status = to_xml(plain, &xml);
    if (status != CA_OK)
        return status;
    size_t head = xml.size < PROLOGUE_MAX ? xml.size : PROLOGUE_MAX;
    const uint8_t *begin = memmem(xml.data, head, root, sizeof root - 1);
    if (!begin)
        return ca_fail(CA_INTERNAL, "libwbxml: no SyncML");
    const struct ca_bytes document = { begin, xml.size - (size_t)(begin - xml.data) };
    status = xml_read(req, document, &syncml_limits, ret_root);
    return status == CA_OK ? unmark_tree(req, (struct xml_node *)(uintptr_t)*ret_root)
                           : status;
}

/* ---- Writing ---- */

/* The reference at the beginning of a text of xml_writer; its character, or 0. */
static char
reference_take(const char *at, size_t left, size_t *ret_size)
{
    static const struct {
        const char *reference;
        char c;
    } references[] = {
        { "&amp;", '&' },  { "&lt;", '<' },   { "&gt;", '>' },
        { "&quot;", '"' }, { "&#13;", '\r' },
    };
    for (size_t i = 0; i < sizeof references / sizeof references[0]; i++) {
        size_t size = strlen(references[i].reference);
        if (size <= left && memcmp(at, references[i].reference, size) == 0) {
            *ret_size = size;
            return references[i].c;
        }
    }
    return '\0';
}

/* The same document with marks in its texts: nothing else of it has a line end, an
 * ampersand, an apostrophe or a plus. It grows by a mark where a character stood. */
static enum ca_status
mark_xml(struct ca_request *req, struct ca_bytes xml, struct ca_bytes *ret)
{
    char *marks = ca_request_alloc(req, 2 * xml.size), *to = marks;
    const char *at = (const char *)xml.data, *end = at + xml.size;
    if (!marks)
        return ca_fail(CA_INTERNAL, "no memory for an answer");
    for (size_t size; at < end; at += size) {
        bool is_markup = strchr("<>\"", *at) != NULL;
        char c = *at;
        size = 1;
        if (c == '&' && !(c = reference_take(at, (size_t)(end - at), &size)))
            return ca_fail(CA_INTERNAL, "a reference that is not written");
        char letter = is_markup ? '\0' : syncml_mark_of(c);
        if (letter)
            *to++ = SYNCML_MARK_OCTET;
        *to++ = letter ? letter : c;
    }
    *ret = (struct ca_bytes){ (const uint8_t *)marks, (size_t)(to - marks) };
    return CA_OK;
}

enum ca_status
syncml_wbxml_write(struct ca_request *req, struct ca_bytes xml,
                   struct ca_bytes *ret_octets)
{
    __attribute__((cleanup(converted_clear_auto))) struct converted wbxml = { 0 };
    struct ca_bytes with_marks = { 0 }, octets = { 0 };
    enum ca_status status = mark_xml(req, xml, &with_marks);
    if (status == CA_OK)
        status = to_wbxml(with_marks, &wbxml);
    if (status == CA_OK)
        status = syncml_wbxml_plain(req, (struct ca_bytes){ wbxml.data, wbxml.size },
                                    SYNCML_UNMARK, &octets);
    if (status != CA_OK)
        return status == CA_INTERNAL
                   ? status
                   : ca_fail(CA_INTERNAL, "an answer has no form in WBXML");
    /* A device's MaxMsgSize is held to by the size as XML. */
    if (octets.size > xml.size)
        return ca_fail(CA_INTERNAL, "an answer is larger in WBXML than in XML");
    *ret_octets = octets;
    return CA_OK;
}
