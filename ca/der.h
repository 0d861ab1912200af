/* DER (X.690): written into a text_buffer, read strictly. */
#pragma once

#include "text.h"

#define DER_BOOLEAN 0x01
#define DER_INTEGER 0x02
#define DER_BIT_STRING 0x03
#define DER_OCTET_STRING 0x04
#define DER_NULL 0x05
#define DER_OID 0x06
#define DER_ENUMERATED 0x0a
#define DER_UTC_TIME 0x17
#define DER_GENERALIZED_TIME 0x18
#define DER_SEQUENCE 0x30
#define DER_CONTEXT(n) (0x80 | (n))     /* [n] IMPLICIT, primitive */
#define DER_CONTEXT_SET(n) (0xa0 | (n)) /* [n] constructed */

#define DER_DEPTH_MAX 32

/* Tag and length of a value whose `size` octets of content follow. */
void der_header(struct text_buffer *buffer, uint8_t tag, size_t size);
/* The whole value. */
void der_append(struct text_buffer *buffer, uint8_t tag, const void *content,
                size_t size);
/* A value whose content is another buffer's; that one is then emptied. */
void der_wrap(struct text_buffer *buffer, uint8_t tag, struct text_buffer *content);
/* INTEGER of a positive number in big-endian octets. */
void der_integer(struct text_buffer *buffer, const uint8_t *octets, size_t size);
void der_number(struct text_buffer *buffer, uint8_t tag, uint64_t number);
/* OBJECT IDENTIFIER of dotted text; false (nothing written) when it is none. */
bool der_oid(struct text_buffer *buffer, const char *dotted);
/* RFC 5280 section 4.1.2.5: UTCTime to 2049, GeneralizedTime from 2050. */
void der_time(struct text_buffer *buffer, int64_t seconds);

/* What is left to read. */
struct der {
    const uint8_t *at;
    size_t size;
};
/* Takes the next value, which must carry `tag`; its content in `ret_content` (may be
 * NULL). False leaves `in` as it was: another tag, a length that is indefinite, not
 * the shortest or beyond the end. */
bool der_take(struct der *in, uint8_t tag, struct der *ret_content);
/* Any tag (low form); `ret_whole` (may be NULL) covers tag and length too. */
bool der_take_any(struct der *in, uint8_t *ret_tag, struct der *ret_content,
                  struct der *ret_whole);
/* Time ::= CHOICE as der_time writes it, nothing else. */
bool der_take_time(struct der *in, int64_t *ret_seconds);

/* One value and nothing after it, every length definite and shortest, constructed
 * values nested at most DER_DEPTH_MAX, no universal string type in pieces. */
bool der_is_strict(const uint8_t *der, size_t size);
