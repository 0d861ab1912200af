/* The writer: libxml2's, with every text made sayable and every failure kept. */
#include "auto.h"
#include "xml.h"
#include <inttypes.h>
#include <libxml/xmlwriter.h>
#include <string.h>

static const xmlChar *
octets(const char *text)
{
    return (const xmlChar *)text;
}

static bool
works(const struct xml_writer *writer)
{
    return !writer->failed && writer->writer;
}

static void
note(struct xml_writer *writer, int result)
{
    writer->failed = writer->failed || result < 0;
}

void
xml_begin(struct xml_writer *writer, bool declare)
{
    *writer = (struct xml_writer){ .buffer = xmlBufferCreate() };
    writer->writer = writer->buffer ? xmlNewTextWriterMemory(writer->buffer, 0) : NULL;
    writer->failed = !writer->writer;
    if (works(writer) && declare)
        note(writer, xmlTextWriterWriteRaw(
                         writer->writer,
                         octets("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n")));
}

void
xml_open(struct xml_writer *writer, const char *name)
{
    if (works(writer))
        note(writer, xmlTextWriterStartElement(writer->writer, octets(name)));
}

/* Octets of a character in UTF-8's shortest form that XML 1.0 section 2.2 allows; 0
 * when there is none. */
static size_t
character_size(const char *text)
{
    static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
    uint8_t first = (uint8_t)text[0];
    size_t size = first < 0x80             ? 1
                  : (first & 0xe0) == 0xc0 ? 2
                  : (first & 0xf0) == 0xe0 ? 3
                  : (first & 0xf8) == 0xf0 ? 4
                                           : 0;
    if (size < 2)
        return first >= 0x20 || strchr("\t\n\r", first) ? size : 0;
    uint32_t code = first & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        uint8_t octet = (uint8_t)text[i];
        if ((octet & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (octet & 0x3f);
    }
    bool is_character = code >= smallest[size] && code <= 0x10ffff &&
                        (code < 0xd800 || code > 0xdfff) && (code | 1) != 0xffff;
    return is_character ? size : 0;
}

/* The text itself, or a copy in which U+FFFD stands for what XML cannot say; free the
 * copy. */
static const char *
sayable(struct xml_writer *writer, const char *text, char **ret_copy)
{
    const char *at = text;
    size_t size;
    while (*at && (size = character_size(at)) > 0)
        at += size;
    if (!*at)
        return text;
    char *copy = malloc(3 * strlen(text) + 1), *to = copy;
    if (!copy) {
        writer->failed = true;
        return "";
    }
    for (at = text; *at; at += size > 0 ? size : 1) {
        size = character_size(at);
        memcpy(to, size > 0 ? at : "\xef\xbf\xbd", size > 0 ? size : 3);
        to += size > 0 ? size : 3;
    }
    *to = '\0';
    *ret_copy = copy;
    return copy;
}

void
xml_set(struct xml_writer *writer, const char *name, const char *value)
{
    CA_AUTO(free) char *copy = NULL;
    if (works(writer))
        note(writer,
             xmlTextWriterWriteAttribute(writer->writer, octets(name),
                                         octets(sayable(writer, value, &copy))));
}

void
xml_text(struct xml_writer *writer, const char *text)
{
    CA_AUTO(free) char *copy = NULL;
    if (works(writer) && *text)
        note(writer, xmlTextWriterWriteString(writer->writer,
                                              octets(sayable(writer, text, &copy))));
}

void
xml_close(struct xml_writer *writer)
{
    if (works(writer))
        note(writer, xmlTextWriterEndElement(writer->writer));
}

void
xml_leaf(struct xml_writer *writer, const char *name, const char *text)
{
    xml_open(writer, name);
    xml_text(writer, text);
    xml_close(writer);
}

void
xml_leaf_integer(struct xml_writer *writer, const char *name, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, value);
    xml_leaf(writer, name, text);
}

void
xml_nil(struct xml_writer *writer, const char *name)
{
    xml_open(writer, name);
    xml_set(writer, "xsi:nil", "true");
    xml_close(writer);
}

/* An element left open is a bug of the caller: one more close must fail. */
static bool
is_complete(struct xml_writer *writer)
{
    return works(writer) && xmlTextWriterEndElement(writer->writer) < 0 &&
           xmlTextWriterFlush(writer->writer) >= 0;
}

enum ca_status
xml_finish(struct xml_writer *writer, struct ca_request *req,
           struct ca_bytes *ret_octets)
{
    uint8_t *copy = NULL;
    size_t size = 0;
    bool is_good = is_complete(writer);
    if (is_good) {
        size = (size_t)xmlBufferLength(writer->buffer);
        copy = ca_request_alloc(req, size + 1);
    }
    if (copy)
        memcpy(copy, xmlBufferContent(writer->buffer), size);
    xml_clear(writer);
    if (!copy)
        return ca_fail(CA_INTERNAL, is_good ? "no memory for XML"
                                            : "XML was not written to its end");
    *ret_octets = (struct ca_bytes){ copy, size };
    return CA_OK;
}

void
xml_clear(struct xml_writer *writer)
{
    if (writer->writer)
        xmlFreeTextWriter(writer->writer);
    if (writer->buffer) {
        OPENSSL_cleanse((void *)(uintptr_t)xmlBufferContent(writer->buffer),
                        (size_t)xmlBufferLength(writer->buffer));
        xmlBufferFree(writer->buffer);
    }
    *writer = (struct xml_writer){ 0 };
}
