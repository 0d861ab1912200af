/* XML as the protocols need it: a reader that refuses what no client sends, into a
 * small tree of the request's own memory, and a writer. */
#pragma once

#include "plugin.h"

#define XML_NESTING_MAX 32 /* of any document; the reader keeps no more */

/* Named limits of a document (SECURITY W1). */
struct xml_limits {
    size_t size;  /* octets, looked at before anything is parsed */
    size_t depth; /* at most XML_NESTING_MAX */
    size_t elements;
    size_t attributes; /* of one element, with the namespaces it declares */
    size_t text;       /* octets of all texts and attribute values together */
};

/* SOAP: 128 KiB, 32 deep, 10,000 elements. */
extern const struct xml_limits xml_limits_soap;

struct xml_attribute {
    const char *space; /* "" when it has none */
    const char *name;
    const char *value; /* without white space at both ends */
};

/* An element. Text is all of its own character data, without white space at both ends:
 * comments and children inside it leave no trace. */
struct xml_node {
    const char *space; /* namespace, "" when it has none */
    const char *name;
    const char *text; /* never NULL; no NUL inside, as XML has none */
    size_t text_size;
    const char *raw; /* the same with its white space at both ends; never NULL */
    const struct xml_attribute *attributes;
    size_t attribute_count;
    struct xml_node *parent, *first, *next;
};

/* Reads a document of UTF-8 (with or without a byte order mark) whatever its
 * declaration says. CA_MALFORMED: not well-formed, also by its namespaces; any DOCTYPE;
 * any processing instruction. CA_LIMIT. The tree belongs to the request. */
enum ca_status xml_read(struct ca_request *req, struct ca_bytes octets,
                        const struct xml_limits *limits,
                        const struct xml_node **ret_root);

/* Is it this element? */
bool xml_is(const struct xml_node *node, const char *space, const char *name);
/* The first such child; NULL when there is none. `space` NULL: any. */
const struct xml_node *xml_child(const struct xml_node *node, const char *space,
                                 const char *name);
/* The next such sibling. */
const struct xml_node *xml_next(const struct xml_node *node, const char *space,
                                const char *name);
size_t xml_count(const struct xml_node *node, const char *space, const char *name);
/* The one such child, or NULL when there is none. CA_MALFORMED: there are several. */
enum ca_status xml_only(const struct xml_node *node, const char *space,
                        const char *name, const struct xml_node **ret_child);
/* The same, where its absence is CA_MALFORMED too. */
enum ca_status xml_must(const struct xml_node *node, const char *space,
                        const char *name, const struct xml_node **ret_child);
/* How many elements of this name the tree below has, itself included. */
size_t xml_count_all(const struct xml_node *node, const char *space, const char *name);
/* An attribute's value by its name alone, with or without a namespace ("wsse:Type" and
 * "Type"); NULL when there is none. */
const char *xml_attribute(const struct xml_node *node, const char *name);
/* xsi:nil, as "true" or "1". */
bool xml_is_nil(const struct xml_node *node);

/* Octets of the first character of a text that ends with a NUL, where it is one that
 * XML 1.0 section 2.2 allows, in UTF-8's shortest form; 0 otherwise. */
size_t xml_character_size(const char *text);

#define XML_SPACE_XSI "http://www.w3.org/2001/XMLSchema-instance"

/* ---- The writer. Every failure is kept and told once, by xml_finish. ---- */

struct xml_writer {
    char *data; /* wiped with the writer */
    size_t size, room;
    struct {
        size_t at, size; /* of the name, in `data` */
    } open[XML_NESTING_MAX];
    size_t depth;
    bool in_tag; /* attributes may follow */
    bool failed;
};

/* `declare`: begin with <?xml version="1.0" encoding="UTF-8"?>. */
void xml_begin(struct xml_writer *writer, bool declare);
/* Names are written as given, prefix and all; at most XML_NESTING_MAX are open. */
void xml_open(struct xml_writer *writer, const char *name);
/* Attributes and namespaces ("xmlns:s") of the element opened last. */
void xml_set(struct xml_writer *writer, const char *name, const char *value);
/* Text, escaped; what XML cannot say becomes U+FFFD. */
void xml_text(struct xml_writer *writer, const char *text);
/* Text that is the base64 of these octets. */
void xml_base64(struct xml_writer *writer, struct ca_bytes octets);
void xml_close(struct xml_writer *writer);
/* <name>text</name> */
void xml_leaf(struct xml_writer *writer, const char *name, const char *text);
void xml_leaf_integer(struct xml_writer *writer, const char *name, int64_t value);
/* <name xsi:nil="true"/>; the prefix must have been declared. */
void xml_nil(struct xml_writer *writer, const char *name);
/* The octets in the request's memory; the writer is cleared in any case. CA_INTERNAL:
 * no memory, or an element left open. */
enum ca_status xml_finish(struct xml_writer *writer, struct ca_request *req,
                          struct ca_bytes *ret_octets);
void xml_clear(struct xml_writer *writer);
static inline void __attribute__((unused)) xml_clear_auto(struct xml_writer *writer)
{
    xml_clear(writer);
}
