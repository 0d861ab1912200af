/* The reader: libxml2's SAX interface with every door shut, into a small tree. */
#include "xml.h"
#include "auto.h"
#include <libxml/parser.h>
#include <pthread.h>
#include <string.h>

#define ARENA_BLOCK 4096 /* octets taken from the request at a time */

const struct xml_limits xml_limits_soap = { .size = 128 * 1024,
                                            .depth = 32,
                                            .elements = 10000,
                                            .attributes = 64,
                                            .text = 128 * 1024 };

/* An open element: its children's end, and its text as it grows. */
struct open_element {
    struct xml_node *node, *last;
    char *text;
    size_t size, room;
};

struct reader {
    struct ca_request *req;
    const struct xml_limits *limits;
    xmlParserCtxt *parser;
    struct xml_node *root;
    struct open_element open[XML_NESTING_MAX];
    size_t depth, elements, text;
    char *block;
    size_t left;
    enum ca_status status; /* the first reason to stop */
};

static void
refuse(struct reader *reader, enum ca_status status, const char *reason)
{
    if (reader->status == CA_OK)
        reader->status = ca_fail(status, "XML: %s", reason);
    xmlStopParser(reader->parser);
}

/* Memory of the request, cut from larger blocks. */
static void *
take(struct reader *reader, size_t size)
{
    size_t wanted = (size + 15) & ~(size_t)15;
    if (wanted > ARENA_BLOCK / 4)
        return ca_request_alloc(reader->req, wanted);
    if (wanted > reader->left) {
        reader->block = ca_request_alloc(reader->req, ARENA_BLOCK);
        reader->left = reader->block ? ARENA_BLOCK : 0;
        if (!reader->block)
            return NULL;
    }
    void *taken = reader->block;
    reader->block += wanted;
    reader->left -= wanted;
    return taken;
}

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Without white space at both ends; the specifications print values with line breaks
 * round them, and clients send some. */
static const char *
trim(const char *text, size_t *size)
{
    while (*size > 0 && is_space(text[0])) {
        text++;
        (*size)--;
    }
    while (*size > 0 && is_space(text[*size - 1]))
        (*size)--;
    return text;
}

static const char *
copy(struct reader *reader, const void *text, size_t size)
{
    char *copied = take(reader, size + 1);
    if (!copied) {
        refuse(reader, CA_INTERNAL, "no memory");
        return "";
    }
    memcpy(copied, text, size);
    copied[size] = '\0';
    return copied;
}

static const char *
copy_name(struct reader *reader, const xmlChar *text)
{
    if (!text)
        return "";
    size_t size = strlen((const char *)text);
    const char *trimmed = trim((const char *)text, &size);
    return copy(reader, trimmed, size);
}

/* All texts together have one limit. */
static bool
count_text(struct reader *reader, size_t size)
{
    if (size <= reader->limits->text - reader->text) {
        reader->text += size;
        return true;
    }
    refuse(reader, CA_LIMIT, "too much text");
    return false;
}

/* A value as libxml2 gives it: an ampersand still stands as "&#38;", and nothing else
 * begins with one. */
static const char *
copy_value(struct reader *reader, const char *value, size_t size)
{
    static const char ampersand[] = "&#38;";
    char *copied = take(reader, size + 1), *to = copied;
    if (!copied) {
        refuse(reader, CA_INTERNAL, "no memory");
        return "";
    }
    for (size_t i = 0; i < size; i++) {
        *to++ = value[i];
        if (size - i >= sizeof ampersand - 1 &&
            memcmp(value + i, ampersand, sizeof ampersand - 1) == 0)
            i += sizeof ampersand - 2;
    }
    *to = '\0';
    return copied;
}

/* libxml2 gives five pointers an attribute: name, prefix, namespace, value, its end. */
static void
attributes_take(struct reader *reader, struct xml_node *node, int count,
                const xmlChar **from)
{
    size_t number = (size_t)count;
    struct xml_attribute *attributes = take(reader, number * sizeof *attributes);
    if (!attributes) {
        refuse(reader, CA_INTERNAL, "no memory");
        return;
    }
    for (size_t i = 0; i < number; i++, from += 5) {
        size_t size = (size_t)(from[4] - from[3]);
        if (!count_text(reader, size))
            return;
        const char *value = trim((const char *)from[3], &size);
        attributes[i] = (struct xml_attribute){ copy_name(reader, from[2]),
                                                copy_name(reader, from[0]),
                                                copy_value(reader, value, size) };
    }
    node->attributes = attributes;
    node->attribute_count = number;
}

static void
on_start(void *arg, const xmlChar *name, const xmlChar *prefix, const xmlChar *space,
         int declared, const xmlChar **declarations, int count, int defaulted,
         const xmlChar **attributes)
{
    struct reader *reader = arg;
    const struct xml_limits *limits = reader->limits;
    (void)prefix;
    (void)declarations;
    (void)defaulted;
    if (reader->status != CA_OK)
        return;
    if (reader->depth >= limits->depth || reader->depth >= XML_NESTING_MAX) {
        refuse(reader, CA_LIMIT, "nested too deep");
        return;
    }
    if (++reader->elements > limits->elements) {
        refuse(reader, CA_LIMIT, "too many elements");
        return;
    }
    if ((size_t)declared + (size_t)count > limits->attributes) {
        refuse(reader, CA_LIMIT, "too many attributes");
        return;
    }
    struct xml_node *node = take(reader, sizeof *node);
    if (!node) {
        refuse(reader, CA_INTERNAL, "no memory");
        return;
    }
    *node = (struct xml_node){ .space = copy_name(reader, space),
                               .name = copy_name(reader, name),
                               .text = "",
                               .raw = "" };
    if (count > 0)
        attributes_take(reader, node, count, attributes);
    struct open_element *parent =
        reader->depth > 0 ? &reader->open[reader->depth - 1] : NULL;
    if (!parent)
        reader->root = node;
    else if (parent->last)
        parent->last->next = node;
    else
        parent->node->first = node;
    if (parent) {
        node->parent = parent->node;
        parent->last = node;
    }
    reader->open[reader->depth++] = (struct open_element){ .node = node };
}

static void
on_end(void *arg, const xmlChar *name, const xmlChar *prefix, const xmlChar *space)
{
    struct reader *reader = arg;
    (void)name;
    (void)prefix;
    (void)space;
    if (reader->status != CA_OK || reader->depth == 0)
        return;
    struct open_element *ended = &reader->open[--reader->depth];
    size_t size = ended->size;
    if (size == 0)
        return;
    ended->text[size] = '\0';
    const char *text = trim(ended->text, &size);
    ended->node->raw = ended->text;
    ended->node->text = text[size] == '\0' ? text : copy(reader, text, size);
    ended->node->text_size = size;
}

static void
on_text(void *arg, const xmlChar *text, int length)
{
    struct reader *reader = arg;
    size_t size = (size_t)length;
    if (reader->status != CA_OK || reader->depth == 0 || !count_text(reader, size))
        return;
    struct open_element *open = &reader->open[reader->depth - 1];
    if (size + 1 > open->room - open->size) {
        size_t room = 2 * (open->size + size) + 64;
        char *larger = take(reader, room);
        if (!larger) {
            refuse(reader, CA_INTERNAL, "no memory");
            return;
        }
        if (open->size > 0)
            memcpy(larger, open->text, open->size);
        open->text = larger;
        open->room = room;
    }
    memcpy(open->text + open->size, text, size);
    open->size += size;
}

static void
on_doctype(void *arg, const xmlChar *name, const xmlChar *external,
           const xmlChar *system)
{
    (void)name;
    (void)external;
    (void)system;
    refuse(arg, CA_MALFORMED, "a DOCTYPE");
}

/* SOAP 1.2 part 1 section 5: none may be in a message. */
static void
on_instruction(void *arg, const xmlChar *target, const xmlChar *data)
{
    (void)target;
    (void)data;
    refuse(arg, CA_MALFORMED, "a processing instruction");
}

static void
library_start(void)
{
    xmlInitParser();
}

static void
parser_free_auto(xmlParserCtxt **parser)
{
    if (!*parser)
        return;
    /* Its own copy of the message, which may hold a password. */
    const xmlParserInput *input = (*parser)->input;
    if (input && input->base && input->end > input->base)
        OPENSSL_cleanse((void *)(uintptr_t)input->base,
                        (size_t)(input->end - input->base));
    xmlFreeParserCtxt(*parser);
}

/* The document's own word on its encoding counts for nothing: UTF-8 or refused. No
 * entity but the five of XML exists, for nothing can declare one. */
static enum ca_status
parse(struct reader *reader, struct ca_bytes octets)
{
    static const char mark[] = "\xef\xbb\xbf";
    __attribute__((cleanup(parser_free_auto))) xmlParserCtxt *parser =
        xmlNewParserCtxt();
    if (!parser)
        return ca_fail(CA_INTERNAL, "no memory for an XML parser");
    *parser->sax = (xmlSAXHandler){ .initialized = XML_SAX2_MAGIC,
                                    .startElementNs = on_start,
                                    .endElementNs = on_end,
                                    .characters = on_text,
                                    .ignorableWhitespace = on_text,
                                    .internalSubset = on_doctype,
                                    .processingInstruction = on_instruction };
    parser->userData = reader;
    reader->parser = parser;
    if (octets.size >= 3 && memcmp(octets.data, mark, 3) == 0) {
        octets.data += 3;
        octets.size -= 3;
    }
    xmlDoc *none = xmlCtxtReadMemory(
        parser, (const char *)octets.data, (int)octets.size, NULL, "UTF-8",
        XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_NOCDATA |
            XML_PARSE_IGNORE_ENC);
    xmlFreeDoc(none);
    if (reader->status != CA_OK)
        return reader->status;
    if (!parser->wellFormed || !parser->nsWellFormed || !reader->root)
        return ca_fail(CA_MALFORMED, "XML that is not well-formed (libxml2 error %d)",
                       parser->errNo);
    return CA_OK;
}

enum ca_status
xml_read(struct ca_request *req, struct ca_bytes octets,
         const struct xml_limits *limits, const struct xml_node **ret_root)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (octets.size == 0)
        return ca_fail(CA_MALFORMED, "XML: an empty document");
    if (octets.size > limits->size)
        return ca_fail(CA_LIMIT, "XML: %zu octets, at most %zu", octets.size,
                       limits->size);
    /* To libxml2 one is the end, whatever follows. */
    if (memchr(octets.data, '\0', octets.size))
        return ca_fail(CA_MALFORMED, "XML: a NUL");
    pthread_once(&once, library_start);
    struct reader reader = { .req = req, .limits = limits };
    enum ca_status status = parse(&reader, octets);
    if (status == CA_OK)
        *ret_root = reader.root;
    return status;
}

bool
xml_is(const struct xml_node *node, const char *space, const char *name)
{
    return strcmp(node->name, name) == 0 && (!space || strcmp(node->space, space) == 0);
}

static const struct xml_node *
find(const struct xml_node *node, const char *space, const char *name)
{
    while (node && !xml_is(node, space, name))
        node = node->next;
    return node;
}

const struct xml_node *
xml_child(const struct xml_node *node, const char *space, const char *name)
{
    return find(node->first, space, name);
}

const struct xml_node *
xml_next(const struct xml_node *node, const char *space, const char *name)
{
    return find(node->next, space, name);
}

size_t
xml_count(const struct xml_node *node, const char *space, const char *name)
{
    size_t count = 0;
    for (node = xml_child(node, space, name); node; node = xml_next(node, space, name))
        count++;
    return count;
}

enum ca_status
xml_only(const struct xml_node *node, const char *space, const char *name,
         const struct xml_node **ret_child)
{
    const struct xml_node *child = xml_child(node, space, name);
    if (child && xml_next(child, space, name))
        return ca_fail(CA_MALFORMED, "element %s more than once in %s", name,
                       node->name);
    *ret_child = child;
    return CA_OK;
}

enum ca_status
xml_must(const struct xml_node *node, const char *space, const char *name,
         const struct xml_node **ret_child)
{
    const struct xml_node *child = NULL;
    enum ca_status status = xml_only(node, space, name, &child);
    if (status == CA_OK && !child)
        return ca_fail(CA_MALFORMED, "no element %s in %s", name, node->name);
    if (status == CA_OK)
        *ret_child = child;
    return status;
}

/* The node behind this one in document order, within `top`. */
static const struct xml_node *
following(const struct xml_node *node, const struct xml_node *top)
{
    if (node->first)
        return node->first;
    while (node != top && !node->next)
        node = node->parent;
    return node == top ? NULL : node->next;
}

size_t
xml_count_all(const struct xml_node *top, const char *space, const char *name)
{
    size_t count = 0;
    for (const struct xml_node *node = top; node; node = following(node, top))
        count += xml_is(node, space, name);
    return count;
}

const char *
xml_attribute(const struct xml_node *node, const char *name)
{
    for (size_t i = 0; i < node->attribute_count; i++) {
        if (strcmp(node->attributes[i].name, name) == 0)
            return node->attributes[i].value;
    }
    return NULL;
}

bool
xml_is_nil(const struct xml_node *node)
{
    for (size_t i = 0; i < node->attribute_count; i++) {
        const struct xml_attribute *attribute = &node->attributes[i];
        if (strcmp(attribute->name, "nil") == 0 &&
            strcmp(attribute->space, XML_SPACE_XSI) == 0)
            return strcmp(attribute->value, "true") == 0 ||
                   strcmp(attribute->value, "1") == 0;
    }
    return false;
}
