/* The writer: into one buffer, with every text made sayable and every failure kept. */
#include "auto.h"
#include "xml.h"
#include <inttypes.h>
#include <openssl/evp.h>
#include <string.h>

#define ROOM_FIRST 4096      /* octets */
#define BASE64_MAX 0x1000000 /* octets to write as base64, 16 MiB */

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

/* Room for so many octets more; what was said may be secret, so the smaller buffer is
 * wiped. */
static bool
has_room(struct xml_writer *writer, size_t size)
{
    if (writer->failed)
        return false;
    if (size <= writer->room - writer->size)
        return true;
    size_t room = 2 * (writer->size + size) + ROOM_FIRST;
    char *larger = malloc(room);
    if (!larger) {
        writer->failed = true;
        return false;
    }
    if (writer->data) {
        memcpy(larger, writer->data, writer->size);
        OPENSSL_cleanse(writer->data, writer->size);
        free(writer->data);
    }
    writer->data = larger;
    writer->room = room;
    return true;
}

static void
put(struct xml_writer *writer, const char *octets, size_t size)
{
    if (!has_room(writer, size))
        return;
    memcpy(writer->data + writer->size, octets, size);
    writer->size += size;
}

static void
put_text(struct xml_writer *writer, const char *text)
{
    put(writer, text, strlen(text));
}

void
xml_begin(struct xml_writer *writer, bool declare)
{
    *writer = (struct xml_writer){ 0 };
    if (declare)
        put_text(writer, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
}

/* The start tag ends where the element's content begins. */
static void
end_tag(struct xml_writer *writer)
{
    if (writer->in_tag)
        put(writer, ">", 1);
    writer->in_tag = false;
}

void
xml_open(struct xml_writer *writer, const char *name)
{
    size_t size = strlen(name);
    end_tag(writer);
    if (writer->depth == XML_NESTING_MAX)
        writer->failed = true;
    if (writer->failed)
        return;
    put(writer, "<", 1);
    writer->open[writer->depth].at = writer->size;
    writer->open[writer->depth++].size = size;
    put(writer, name, size);
    writer->in_tag = true;
}

size_t
xml_character_size(const char *text)
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

/* How a character stands in a text, or NULL: as it is. Line ends and tabs would come
 * out of an attribute as spaces (XML 1.0 section 3.3.3). */
static const char *
reference_of(char c, bool in_attribute)
{
    switch (c) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '"': return "&quot;";
    case '\r': return "&#13;";
    case '\n': return in_attribute ? "&#10;" : NULL;
    case '\t': return in_attribute ? "&#9;" : NULL;
    default: return NULL;
    }
}

/* Characters that stand in every text as they are; NUL is not among them. */
static const bool plain_octets[256] = {
    [' '] = true, ['!'] = true,         ['#' ... '%'] = true, ['\'' ... ';'] = true,
    ['='] = true, ['?' ... '~'] = true, [0x7f] = true,
};

static size_t
plain_size(const char *text)
{
    const uint8_t *at = (const uint8_t *)text;
    while (plain_octets[*at])
        at++;
    return (size_t)(at - (const uint8_t *)text);
}

static void
put_escaped(struct xml_writer *writer, const char *text, bool in_attribute)
{
    while (*text) {
        size_t plain = plain_size(text);
        put(writer, text, plain);
        text += plain;
        if (!*text)
            return;
        const char *reference = reference_of(*text, in_attribute);
        size_t size = xml_character_size(text);
        if (reference)
            put_text(writer, reference);
        else if (size > 0)
            put(writer, text, size);
        else
            put(writer, replacement, sizeof replacement - 1);
        text += size > 0 ? size : 1;
    }
}

void
xml_set(struct xml_writer *writer, const char *name, const char *value)
{
    if (!writer->in_tag)
        writer->failed = true;
    put(writer, " ", 1);
    put_text(writer, name);
    put(writer, "=\"", 2);
    put_escaped(writer, value, true);
    put(writer, "\"", 1);
}

void
xml_text(struct xml_writer *writer, const char *text)
{
    if (!*text)
        return;
    if (writer->depth == 0)
        writer->failed = true;
    end_tag(writer);
    put_escaped(writer, text, false);
}

void
xml_base64(struct xml_writer *writer, struct ca_bytes octets)
{
    size_t size = (octets.size + 2) / 3 * 4;
    if (octets.size == 0)
        return;
    if (writer->depth == 0 || octets.size > BASE64_MAX)
        writer->failed = true;
    end_tag(writer);
    if (!has_room(writer, size + 1)) /* and a NUL, which goes again */
        return;
    EVP_EncodeBlock((unsigned char *)writer->data + writer->size, octets.data,
                    (int)octets.size);
    writer->size += size;
}

void
xml_close(struct xml_writer *writer)
{
    if (writer->depth == 0)
        writer->failed = true;
    if (writer->failed)
        return;
    writer->depth--;
    if (writer->in_tag) {
        put(writer, "/>", 2);
        writer->in_tag = false;
        return;
    }
    size_t at = writer->open[writer->depth].at, size = writer->open[writer->depth].size;
    if (!has_room(writer, size + 3))
        return;
    put(writer, "</", 2);
    put(writer, writer->data + at, size);
    put(writer, ">", 1);
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

enum ca_status
xml_finish(struct xml_writer *writer, struct ca_request *req,
           struct ca_bytes *ret_octets)
{
    /* An element left open is a bug of the caller. */
    bool is_good = !writer->failed && writer->depth == 0;
    size_t size = writer->size;
    uint8_t *copy = is_good ? ca_request_alloc(req, size + 1) : NULL;
    if (copy && size > 0)
        memcpy(copy, writer->data, size);
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
    if (writer->data)
        OPENSSL_cleanse(writer->data, writer->size);
    free(writer->data);
    *writer = (struct xml_writer){ 0 };
}
