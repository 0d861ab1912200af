/* Strict DER in slices, BER made DER, and a writer: for protocol plugins, which see
 * hostile bytes and answer with small fixed structures. */
#pragma once

#include "plugin.h"

#define DER_BOOLEAN 0x01
#define DER_INTEGER 0x02
#define DER_BIT_STRING 0x03
#define DER_OCTET_STRING 0x04
#define DER_NULL 0x05
#define DER_OID 0x06
#define DER_UTF8_STRING 0x0c
#define DER_PRINTABLE_STRING 0x13
#define DER_T61_STRING 0x14
#define DER_IA5_STRING 0x16
#define DER_BMP_STRING 0x1e
#define DER_SEQUENCE 0x30
#define DER_SET 0x31
/* [n] IMPLICIT of a primitive type; of a constructed one, or EXPLICIT. */
#define DER_CONTEXT(n) (0x80 | (n))
#define DER_CONTEXT_CONSTRUCTED(n) (0xa0 | (n))

/* An OID's content octets as a slice. */
#define DER_OID_BYTES(...)                                                             \
    {                                                                                  \
        .data = (const uint8_t[]){ __VA_ARGS__ },                                      \
        .size = sizeof((const uint8_t[]){ __VA_ARGS__ })                               \
    }

bool asn1_equal(struct ca_bytes a, struct ca_bytes b);

/* Takes the next element off `from`: its tag, its content, and the whole of it (each
 * may be NULL). False, nothing taken: not DER (long tag, indefinite or longer than
 * needed length) or cut short. */
bool asn1_take_any(struct ca_bytes *from, uint8_t *ret_tag,
                   struct ca_bytes *ret_content, struct ca_bytes *ret_whole);
/* The same for one expected tag. */
bool asn1_take(struct ca_bytes *from, uint8_t tag, struct ca_bytes *ret_content);
bool asn1_take_whole(struct ca_bytes *from, uint8_t tag, struct ca_bytes *ret_whole);
bool asn1_next_is(struct ca_bytes from, uint8_t tag);
/* AlgorithmIdentifier: its OID and what follows it (whole; empty when absent). */
bool asn1_take_algorithm(struct ca_bytes *from, struct ca_bytes *ret_oid,
                         struct ca_bytes *ret_parameters);
/* A non-negative INTEGER in its shortest form, without the sign octet. */
bool asn1_take_unsigned(struct ca_bytes *from, struct ca_bytes *ret_octets);
/* Is it the INTEGER `value` (0-127)? */
bool asn1_take_small(struct ca_bytes *from, uint8_t value);

/* A growing buffer; any failure makes it `failed` for good, checked once at the end.
 * What it held is wiped when it moves or goes. */
struct asn1_writer {
    uint8_t *data;
    size_t size, room;
    bool failed;
};

void asn1_put(struct asn1_writer *writer, uint8_t tag, const void *content,
              size_t size);
void asn1_put_bytes(struct asn1_writer *writer, uint8_t tag, struct ca_bytes content);
void asn1_put_small(struct asn1_writer *writer, uint8_t value);
/* Octets that are DER already. */
void asn1_put_raw(struct asn1_writer *writer, struct ca_bytes octets);
/* A constructed element: what is put between open and close is its content. */
size_t asn1_open(struct asn1_writer *writer, uint8_t tag);
void asn1_close(struct asn1_writer *writer, size_t mark);
/* AlgorithmIdentifier with NULL parameters. */
void asn1_put_algorithm(struct asn1_writer *writer, struct ca_bytes oid);
struct ca_bytes asn1_written(const struct asn1_writer *writer);
void asn1_writer_clear(struct asn1_writer *writer);
static inline void __attribute__((unused))
asn1_writer_clear_auto(struct asn1_writer *writer)
{
    asn1_writer_clear(writer);
}

#define DER_DEPTH_MAX 32

/* Writes one BER element as DER as far as lengths and universal constructed OCTET
 * STRINGs go (the order of a SET stays: signatures are over what was sent). An
 * implicitly tagged constructed string stays constructed, with primitive parts. Takes
 * the element off `from`. False: malformed, or nested deeper than DER_DEPTH_MAX. */
bool asn1_from_ber(struct ca_bytes *from, struct asn1_writer *writer);
/* Octets of the first element where it is already what asn1_from_ber makes of it; else
 * 0. */
size_t asn1_der_size(struct ca_bytes from);
