/* DER values written into a growing buffer, and read with every length checked. */
#include "der.h"
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define UTC_TIME_SIZE 13
#define GENERALIZED_TIME_SIZE 15
#define CONSTRUCTED 0x20
#define HIGH_TAG 0x1f
#define OID_ARCS_MAX 32

void
der_header(struct text_buffer *buffer, uint8_t tag, size_t size)
{
    uint8_t octets[2 + sizeof size];
    size_t used = 0;
    octets[used++] = tag;
    if (size < 0x80) {
        octets[used++] = (uint8_t)size;
    } else {
        unsigned count = 1;
        while (count < sizeof size && size >> (8 * count))
            count++;
        octets[used++] = (uint8_t)(0x80 | count);
        for (unsigned i = count; i > 0; i--)
            octets[used++] = (uint8_t)(size >> (8 * (i - 1)));
    }
    text_append(buffer, octets, used);
}

void
der_append(struct text_buffer *buffer, uint8_t tag, const void *content, size_t size)
{
    der_header(buffer, tag, size);
    text_append(buffer, content, size);
}

void
der_wrap(struct text_buffer *buffer, uint8_t tag, struct text_buffer *content)
{
    if (content->failed)
        buffer->failed = true;
    der_append(buffer, tag, content->data, content->size);
    text_buffer_clear(content);
}

static void
append_integer(struct text_buffer *buffer, uint8_t tag, const uint8_t *octets,
               size_t size)
{
    while (size > 1 && octets[0] == 0) {
        octets++;
        size--;
    }
    bool needs_zero = size == 0 || (octets[0] & 0x80) != 0;
    der_header(buffer, tag, size + needs_zero);
    if (needs_zero)
        text_append(buffer, "", 1);
    text_append(buffer, octets, size);
}

void
der_integer(struct text_buffer *buffer, const uint8_t *octets, size_t size)
{
    append_integer(buffer, DER_INTEGER, octets, size);
}

void
der_number(struct text_buffer *buffer, uint8_t tag, uint64_t number)
{
    uint8_t octets[sizeof number];
    for (size_t i = 0; i < sizeof octets; i++)
        octets[i] = (uint8_t)(number >> (8 * (sizeof octets - 1 - i)));
    append_integer(buffer, tag, octets, sizeof octets);
}

/* An arc: those below 2.25 are UUIDs of 128 bits (X.667). */
__extension__ typedef unsigned __int128 oid_arc;
#define OID_ARC_MAX (~(oid_arc)0 - 80) /* room for the first arc */
#define OID_ARC_OCTETS 19

/* Decimal without leading zeros; false: no arc. */
static bool
oid_arc_parse(const char *text, size_t digits, oid_arc *ret_arc)
{
    oid_arc arc = 0;
    if (digits == 0 || (digits > 1 && text[0] == '0'))
        return false;
    for (size_t i = 0; i < digits; i++) {
        unsigned digit = (unsigned)(text[i] - '0');
        if (arc > (OID_ARC_MAX - digit) / 10)
            return false;
        arc = arc * 10 + digit;
    }
    *ret_arc = arc;
    return true;
}

/* The arcs of dotted text; 0: it is no OID. */
static size_t
oid_arcs(const char *text, oid_arc arcs[OID_ARCS_MAX])
{
    size_t count = 0;
    for (;;) {
        size_t digits = strspn(text, "0123456789");
        if (count == OID_ARCS_MAX || !oid_arc_parse(text, digits, &arcs[count]))
            return 0;
        count++;
        text += digits;
        if (*text == '\0')
            return count;
        if (*text++ != '.')
            return 0;
    }
}

bool
der_oid(struct text_buffer *buffer, const char *dotted)
{
    oid_arc arcs[OID_ARCS_MAX];
    size_t count = oid_arcs(dotted, arcs);
    if (count < 2 || arcs[0] > 2 || (arcs[0] < 2 && arcs[1] > 39))
        return false;
    uint8_t content[OID_ARCS_MAX * OID_ARC_OCTETS];
    size_t used = 0;
    arcs[1] += arcs[0] * 40;
    for (size_t i = 1; i < count; i++) {
        unsigned groups = 1;
        while (groups < OID_ARC_OCTETS && arcs[i] >> (7 * groups))
            groups++;
        for (unsigned g = groups; g > 0; g--)
            content[used++] =
                (uint8_t)((arcs[i] >> (7 * (g - 1)) & 0x7f) | (g > 1 ? 0x80 : 0));
    }
    der_append(buffer, DER_OID, content, used);
    return true;
}

void
der_time(struct text_buffer *buffer, int64_t seconds)
{
    time_t time = (time_t)seconds;
    struct tm tm;
    if (!gmtime_r(&time, &tm) || tm.tm_year < 50 || tm.tm_year > 9999 - 1900) {
        buffer->failed = true;
        return;
    }
    char text[32];
    int year = tm.tm_year + 1900;
    bool is_utc_time = year < 2050;
    snprintf(text, sizeof text, "%0*d%02d%02d%02d%02d%02dZ", is_utc_time ? 2 : 4,
             is_utc_time ? year % 100 : year, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
             tm.tm_min, tm.tm_sec);
    der_append(buffer, is_utc_time ? DER_UTC_TIME : DER_GENERALIZED_TIME, text,
               strlen(text));
}

/* The length at `at`, and how many octets it takes; 0 when it is not DER. */
static size_t
length_decode(const uint8_t *at, size_t size, size_t *ret_length)
{
    if (size == 0)
        return 0;
    if (at[0] < 0x80) {
        *ret_length = at[0];
        return 1;
    }
    size_t count = at[0] & 0x7f;
    if (count == 0 || count > 4 || count >= size || at[1] == 0)
        return 0;
    size_t length = 0;
    for (size_t i = 1; i <= count; i++)
        length = length << 8 | at[i];
    if (length < 0x80)
        return 0;
    *ret_length = length;
    return count + 1;
}

bool
der_take_any(struct der *in, uint8_t *ret_tag, struct der *ret_content,
             struct der *ret_whole)
{
    if (in->size < 2 || (in->at[0] & HIGH_TAG) == HIGH_TAG)
        return false;
    size_t length;
    size_t used = length_decode(in->at + 1, in->size - 1, &length);
    if (used == 0 || length > in->size - 1 - used)
        return false;
    struct der whole = { in->at, 1 + used + length };
    *ret_tag = in->at[0];
    in->at += whole.size;
    in->size -= whole.size;
    if (ret_content)
        *ret_content = (struct der){ whole.at + 1 + used, length };
    if (ret_whole)
        *ret_whole = whole;
    return true;
}

bool
der_take(struct der *in, uint8_t tag, struct der *ret_content)
{
    uint8_t found;
    return in->size > 0 && in->at[0] == tag &&
           der_take_any(in, &found, ret_content, NULL);
}

static int
two_digits(const uint8_t *at)
{
    return (at[0] - '0') * 10 + (at[1] - '0');
}

/* "YYMMDDHHMMSSZ" or "YYYYMMDDHHMMSSZ" -> seconds; the date must exist. */
static bool
time_decode(const struct der *text, bool is_utc_time, int64_t *ret_seconds)
{
    if (text->size != (is_utc_time ? UTC_TIME_SIZE : GENERALIZED_TIME_SIZE))
        return false;
    for (size_t i = 0; i + 1 < text->size; i++) {
        if (text->at[i] < '0' || text->at[i] > '9')
            return false;
    }
    const uint8_t *at = text->at;
    int year = two_digits(at);
    if (is_utc_time) {
        year += year < 50 ? 2000 : 1900;
    } else {
        at += 2;
        year = year * 100 + two_digits(at);
    }
    struct tm tm = { .tm_year = year - 1900,
                     .tm_mon = two_digits(at + 2) - 1,
                     .tm_mday = two_digits(at + 4),
                     .tm_hour = two_digits(at + 6),
                     .tm_min = two_digits(at + 8),
                     .tm_sec = two_digits(at + 10) };
    struct tm normal = tm;
    time_t seconds = timegm(&normal);
    if (text->at[text->size - 1] != 'Z' || (!is_utc_time && year < 2050) ||
        normal.tm_mon != tm.tm_mon || normal.tm_mday != tm.tm_mday ||
        normal.tm_hour != tm.tm_hour || normal.tm_min != tm.tm_min ||
        normal.tm_sec != tm.tm_sec)
        return false;
    *ret_seconds = seconds;
    return true;
}

bool
der_take_time(struct der *in, int64_t *ret_seconds)
{
    struct der rest = *in, content;
    uint8_t tag;
    if (!der_take_any(&rest, &tag, &content, NULL) ||
        (tag != DER_UTC_TIME && tag != DER_GENERALIZED_TIME) ||
        !time_decode(&content, tag == DER_UTC_TIME, ret_seconds))
        return false;
    *in = rest;
    return true;
}

/* Only SEQUENCE, SET and context tags may be constructed (X.690 section 10.2). */
static bool
may_be_constructed(uint8_t tag)
{
    return (tag & 0xc0) != 0 || tag == DER_SEQUENCE || tag == 0x31;
}

static bool
is_strict_at(struct der in, unsigned depth)
{
    while (in.size > 0) {
        uint8_t tag;
        struct der content;
        if (!der_take_any(&in, &tag, &content, NULL))
            return false;
        if (!(tag & CONSTRUCTED))
            continue;
        if (!may_be_constructed(tag) || depth >= DER_DEPTH_MAX ||
            !is_strict_at(content, depth + 1))
            return false;
    }
    return true;
}

bool
der_is_strict(const uint8_t *der, size_t size)
{
    struct der in = { der, size }, value = in;
    uint8_t tag;
    return der_take_any(&in, &tag, NULL, NULL) && in.size == 0 &&
           is_strict_at(value, 0);
}
