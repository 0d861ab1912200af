/* Strict DER in slices, and a writer. */
#include "asn1.h"
#include <openssl/crypto.h>
#include <string.h>

bool
asn1_equal(struct ca_bytes a, struct ca_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* The length octets at `from` (behind the tag): X.690 10.1, definite and shortest. */
static bool
length_decode(struct ca_bytes from, size_t *ret_header, size_t *ret_length)
{
    if (from.size < 1)
        return false;
    uint8_t first = from.data[0];
    if (first < 0x80) {
        *ret_header = 1;
        *ret_length = first;
        return true;
    }
    size_t count = first & 0x7f;
    if (count == 0 || count > 4 || from.size < 1 + count || from.data[1] == 0)
        return false;
    size_t length = 0;
    for (size_t i = 0; i < count; i++)
        length = length << 8 | from.data[1 + i];
    if (length < 0x80)
        return false;
    *ret_header = 1 + count;
    *ret_length = length;
    return true;
}

bool
asn1_take_any(struct ca_bytes *from, uint8_t *ret_tag, struct ca_bytes *ret_content,
              struct ca_bytes *ret_whole)
{
    if (from->size < 2 || (from->data[0] & 0x1f) == 0x1f)
        return false;
    const uint8_t *start = from->data;
    size_t header, length;
    if (!length_decode((struct ca_bytes){ start + 1, from->size - 1 }, &header,
                       &length) ||
        length > from->size - 1 - header)
        return false;
    if (ret_tag)
        *ret_tag = start[0];
    if (ret_content)
        *ret_content = (struct ca_bytes){ start + 1 + header, length };
    if (ret_whole)
        *ret_whole = (struct ca_bytes){ start, 1 + header + length };
    from->data = start + 1 + header + length;
    from->size -= 1 + header + length;
    return true;
}

bool
asn1_next_is(struct ca_bytes from, uint8_t tag)
{
    return from.size > 0 && from.data[0] == tag;
}

bool
asn1_take(struct ca_bytes *from, uint8_t tag, struct ca_bytes *ret_content)
{
    return asn1_next_is(*from, tag) && asn1_take_any(from, NULL, ret_content, NULL);
}

bool
asn1_take_whole(struct ca_bytes *from, uint8_t tag, struct ca_bytes *ret_whole)
{
    return asn1_next_is(*from, tag) && asn1_take_any(from, NULL, NULL, ret_whole);
}

bool
asn1_take_algorithm(struct ca_bytes *from, struct ca_bytes *ret_oid,
                    struct ca_bytes *ret_parameters)
{
    struct ca_bytes at = *from, algorithm, oid, parameters = { 0 };
    if (!asn1_take(&at, DER_SEQUENCE, &algorithm) ||
        !asn1_take(&algorithm, DER_OID, &oid))
        return false;
    if (algorithm.size > 0 && !asn1_take_any(&algorithm, NULL, NULL, &parameters))
        return false;
    if (algorithm.size > 0)
        return false;
    *ret_oid = oid;
    *ret_parameters = parameters;
    *from = at;
    return true;
}

bool
asn1_take_unsigned(struct ca_bytes *from, struct ca_bytes *ret_octets)
{
    struct ca_bytes at = *from, octets;
    if (!asn1_take(&at, DER_INTEGER, &octets) || octets.size < 1 ||
        octets.data[0] > 0x7f)
        return false;
    if (octets.size > 1 && octets.data[0] == 0) {
        if (octets.data[1] < 0x80)
            return false;
        octets.data++;
        octets.size--;
    }
    *ret_octets = octets;
    *from = at;
    return true;
}

bool
asn1_take_small(struct ca_bytes *from, uint8_t value)
{
    struct ca_bytes at = *from, octets;
    if (!asn1_take(&at, DER_INTEGER, &octets) || octets.size != 1 ||
        octets.data[0] != value)
        return false;
    *from = at;
    return true;
}

/* Room for `more` octets; what the buffer held moves without a trace. */
static bool
writer_grow(struct asn1_writer *writer, size_t more)
{
    if (writer->failed)
        return false;
    if (more <= writer->room - writer->size)
        return true;
    size_t room = writer->room > 0 ? writer->room : 4096;
    while (room <= SIZE_MAX / 2 && room - writer->size < more)
        room *= 2;
    uint8_t *data = room - writer->size >= more ? malloc(room) : NULL;
    if (!data) {
        writer->failed = true;
        return false;
    }
    if (writer->data) {
        memcpy(data, writer->data, writer->size);
        OPENSSL_cleanse(writer->data, writer->size);
        free(writer->data);
    }
    writer->data = data;
    writer->room = room;
    return true;
}

void
asn1_put_raw(struct asn1_writer *writer, struct ca_bytes octets)
{
    if (octets.size == 0 || !writer_grow(writer, octets.size))
        return;
    memcpy(writer->data + writer->size, octets.data, octets.size);
    writer->size += octets.size;
}

size_t
asn1_open(struct asn1_writer *writer, uint8_t tag)
{
    asn1_put_raw(writer, (struct ca_bytes){ &tag, 1 });
    return writer->size;
}

void
asn1_close(struct asn1_writer *writer, size_t mark)
{
    if (writer->failed)
        return;
    size_t length = writer->size - mark;
    uint8_t header[5];
    size_t size = 1;
    if (length < 0x80) {
        header[0] = (uint8_t)length;
    } else {
        size_t count = length > 0xffffff ? 4
                       : length > 0xffff ? 3
                       : length > 0xff   ? 2
                                         : 1;
        if (length > 0xffffffff) {
            writer->failed = true;
            return;
        }
        header[0] = (uint8_t)(0x80 | count);
        for (size_t i = 0; i < count; i++)
            header[1 + i] = (uint8_t)(length >> 8 * (count - 1 - i));
        size = 1 + count;
    }
    if (!writer_grow(writer, size))
        return;
    memmove(writer->data + mark + size, writer->data + mark, length);
    memcpy(writer->data + mark, header, size);
    writer->size += size;
}

void
asn1_put(struct asn1_writer *writer, uint8_t tag, const void *content, size_t size)
{
    size_t mark = asn1_open(writer, tag);
    asn1_put_raw(writer, (struct ca_bytes){ content, size });
    asn1_close(writer, mark);
}

void
asn1_put_bytes(struct asn1_writer *writer, uint8_t tag, struct ca_bytes content)
{
    asn1_put(writer, tag, content.data, content.size);
}

void
asn1_put_small(struct asn1_writer *writer, uint8_t value)
{
    asn1_put(writer, DER_INTEGER, &value, 1);
}

void
asn1_put_algorithm(struct asn1_writer *writer, struct ca_bytes oid)
{
    size_t mark = asn1_open(writer, DER_SEQUENCE);
    asn1_put_bytes(writer, DER_OID, oid);
    asn1_put(writer, DER_NULL, NULL, 0);
    asn1_close(writer, mark);
}

struct ca_bytes
asn1_written(const struct asn1_writer *writer)
{
    return writer->failed ? (struct ca_bytes){ 0 }
                          : (struct ca_bytes){ writer->data, writer->size };
}

void
asn1_writer_clear(struct asn1_writer *writer)
{
    if (writer->data)
        OPENSSL_cleanse(writer->data, writer->size);
    free(writer->data);
    *writer = (struct asn1_writer){ 0 };
}
