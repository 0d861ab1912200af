/* BER made DER: definite lengths, strings in one piece (X.690 8.1.3, 8.7, 10). */
#include "asn1.h"

#define CONSTRUCTED 0x20
#define BER_INDEFINITE SIZE_MAX
#define OCTET_STRING_CONSTRUCTED (DER_OCTET_STRING | CONSTRUCTED)

/* The identifier octets: X.690 8.1.2, long tags opaque and at most five octets. */
static bool
tag_take(struct ca_bytes *from, struct ca_bytes *ret_tag)
{
    size_t size = 1;
    if (from->size < 1)
        return false;
    if ((from->data[0] & 0x1f) == 0x1f) {
        while (size < 5 && size < from->size && (from->data[size] & 0x80))
            size++;
        size++;
    }
    if (size > 5 || size > from->size)
        return false;
    *ret_tag = (struct ca_bytes){ from->data, size };
    from->data += size;
    from->size -= size;
    return true;
}

/* The length octets, of any form that fits into 32 bits. */
static bool
length_take(struct ca_bytes *from, size_t *ret_length)
{
    if (from->size < 1)
        return false;
    uint8_t first = from->data[0];
    size_t count = first & 0x80 ? first & 0x7f : 0, length = first;
    if (first == 0x80)
        length = BER_INDEFINITE;
    if (count > 8 || from->size < 1 + count)
        return false;
    for (size_t i = 0; i < count; i++) {
        length = (i == 0 ? 0 : length << 8) | from->data[1 + i];
        if (length > UINT32_MAX)
            return false;
    }
    *ret_length = length;
    from->data += 1 + count;
    from->size -= 1 + count;
    return true;
}

static bool
end_take(struct ca_bytes *from)
{
    if (from->size < 2 || from->data[0] != 0 || from->data[1] != 0)
        return false;
    from->data += 2;
    from->size -= 2;
    return true;
}

static bool element_convert(struct ca_bytes *from, struct asn1_writer *writer,
                            int depth, bool is_part);

/* The elements of a constructed one, up to its end. */
static bool
elements_convert(struct ca_bytes *from, size_t length, struct asn1_writer *writer,
                 int depth, bool is_part)
{
    if (length == BER_INDEFINITE) {
        while (!end_take(from)) {
            if (!element_convert(from, writer, depth, is_part))
                return false;
        }
        return true;
    }
    if (length > from->size)
        return false;
    struct ca_bytes inside = { from->data, length };
    from->data += length;
    from->size -= length;
    while (inside.size > 0) {
        if (!element_convert(&inside, writer, depth, is_part))
            return false;
    }
    return true;
}

/* One element; a part of a constructed OCTET STRING gives its content alone. */
static bool
element_convert(struct ca_bytes *from, struct asn1_writer *writer, int depth,
                bool is_part)
{
    struct ca_bytes tag;
    size_t length;
    if (depth > DER_DEPTH_MAX || !tag_take(from, &tag) || !length_take(from, &length))
        return false;
    bool is_constructed = tag.data[0] & CONSTRUCTED;
    bool is_string = tag.data[0] == OCTET_STRING_CONSTRUCTED;
    if (tag.data[0] == 0 || (is_part && !is_string && tag.data[0] != DER_OCTET_STRING))
        return false;
    uint8_t string = DER_OCTET_STRING;
    if (!is_part)
        asn1_put_raw(writer, is_string ? (struct ca_bytes){ &string, 1 } : tag);
    size_t mark = writer->size;
    if (is_constructed) {
        if (!elements_convert(from, length, writer, depth + 1, is_string))
            return false;
    } else {
        if (length > from->size)
            return false;
        asn1_put_raw(writer, (struct ca_bytes){ from->data, length });
        from->data += length;
        from->size -= length;
    }
    if (!is_part)
        asn1_close(writer, mark);
    return !writer->failed;
}

bool
asn1_from_ber(struct ca_bytes *from, struct asn1_writer *writer)
{
    return element_convert(from, writer, 0, false);
}

/* Is the element of definite lengths in their shortest form, its strings in one piece?
 */
static bool
element_is_der(struct ca_bytes *from, int depth)
{
    struct ca_bytes tag, whole = *from;
    size_t length;
    if (depth > DER_DEPTH_MAX || !tag_take(from, &tag) || !length_take(from, &length))
        return false;
    size_t head = whole.size - from->size - tag.size;
    size_t shortest = 1;
    for (size_t rest = length < 0x80 ? 0 : length; rest > 0; rest >>= 8)
        shortest++;
    if (tag.data[0] == 0 || tag.data[0] == OCTET_STRING_CONSTRUCTED ||
        length > from->size || head != shortest)
        return false;
    struct ca_bytes inside = { from->data, length };
    from->data += length;
    from->size -= length;
    while ((tag.data[0] & CONSTRUCTED) && inside.size > 0) {
        if (!element_is_der(&inside, depth + 1))
            return false;
    }
    return true;
}

size_t
asn1_der_size(struct ca_bytes from)
{
    struct ca_bytes rest = from;
    return element_is_der(&rest, 0) ? from.size - rest.size : 0;
}
