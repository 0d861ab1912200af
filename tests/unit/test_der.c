/* DER as it is written, and everything that is not DER refused. */
#include "auto.h"
#include "der.h"
#include "leak.h"
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define CA_BUFFER CA_AUTO(text_buffer_clear) struct text_buffer

static void
expect_hex(const struct text_buffer *buffer, const char *hex, const char *name)
{
    char text[256];
    cr_assert(!buffer->failed && buffer->size < sizeof text / 2, "%s", name);
    hex_format(buffer->data, buffer->size, text);
    cr_expect_str_eq(text, hex, "%s", name);
}

Test(der, lengths_are_shortest)
{
    static const struct {
        size_t size;
        const char *hex;
    } cases[] = {
        { 0, "0400" },           { 127, "047f" },
        { 128, "048180" },       { 255, "0481ff" },
        { 256, "04820100" },     { 65535, "0482ffff" },
        { 65536, "0483010000" }, { 16777216, "048401000000" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CA_BUFFER buffer = { 0 };
        der_header(&buffer, DER_OCTET_STRING, cases[i].size);
        expect_hex(&buffer, cases[i].hex, cases[i].hex);
    }
    LEAK_CHECK();
}

Test(der, numbers_are_positive_and_shortest)
{
    static const struct {
        uint64_t number;
        const char *hex;
    } cases[] = {
        { 0, "020100" },         { 127, "02017f" },
        { 128, "02020080" },     { 256, "02020100" },
        { 65537, "0203010001" }, { UINT64_MAX, "020900ffffffffffffffff" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CA_BUFFER buffer = { 0 };
        der_number(&buffer, DER_INTEGER, cases[i].number);
        expect_hex(&buffer, cases[i].hex, cases[i].hex);
    }
    CA_BUFFER buffer = { 0 };
    der_integer(&buffer, (const uint8_t *)"\0\0\x80\1", 4);
    expect_hex(&buffer, "0203008001", "zeros before");
}

Test(der, object_identifiers)
{
    static const struct {
        const char *text, *hex; /* NULL: refused */
    } cases[] = {
        { "2.5.29.37.0", "0604551d2500" },
        { "1.2.840.113549.1.1.11", "06092a864886f70d01010b" },
        { "1.3.6.1.4.1.311.25.2", "06092b0601040182371902" },
        { "2.999", "06028837" },
        { "0.0", "060100" },
        { "", NULL },
        { "1", NULL },
        { "3.1", NULL },
        { "1.40", NULL },
        { "1.2.", NULL },
        { ".1.2", NULL },
        { "1..2", NULL },
        { "1.02", NULL },
        { "1.2.x", NULL },
        { "1.2 ", NULL },
        { "1.-2", NULL },
        { "1.2.99999999999999999999", "060b2a8aebe3d7c5d698bfff7f" },
        { "2.25.139948762802330732592451106631406806371",
          "06146981d2c993aeeaf4b2bcddacbea6eddddccdca63" },
        { "1.2.340282366920938463463374607431768211456", NULL },
        { "1.2.999999999999999999999999999999999999999999", NULL },
        { "1.2.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1", NULL },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CA_BUFFER buffer = { 0 };
        bool is_written = der_oid(&buffer, cases[i].text);
        cr_expect_eq(is_written, cases[i].hex != NULL, "%s", cases[i].text);
        if (is_written && cases[i].hex)
            expect_hex(&buffer, cases[i].hex, cases[i].text);
        else
            cr_expect_eq(buffer.size, 0);
    }
}

Test(der, S2_times_change_their_form_in_2050)
{
    static const struct {
        int64_t seconds;
        const char *text; /* with tag and length before it */
    } cases[] = {
        { 0, "\x17\x0d"
             "700101000000Z" },
        { 2524607999, "\x17\x0d"
                      "491231235959Z" },
        { 2524608000, "\x18\x0f"
                      "20500101000000Z" },
        { 253402300799, "\x18\x0f"
                        "99991231235959Z" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CA_BUFFER buffer = { 0 };
        der_time(&buffer, cases[i].seconds);
        cr_assert_eq(buffer.size, strlen(cases[i].text));
        cr_expect(memcmp(buffer.data, cases[i].text, buffer.size) == 0);
        struct der in = { (const uint8_t *)buffer.data, buffer.size };
        int64_t seconds = -1;
        cr_expect(der_take_time(&in, &seconds) && in.size == 0);
        cr_expect_eq(seconds, cases[i].seconds);
    }
    CA_BUFFER buffer = { 0 };
    der_time(&buffer, 253402300800);
    cr_expect(buffer.failed);
}

Test(der, S2_bad_times_are_refused)
{
    static const char *const cases[] = {
        "\x17\x0b"
        "7001010000Z",
        "\x17\x0d"
        "701301000000Z",
        "\x17\x0d"
        "700230000000Z",
        "\x17\x0d"
        "700101240000Z",
        "\x17\x0d"
        "70010100000aZ",
        "\x17\x0d"
        "7001010000000",
        "\x18\x0f"
        "20491231235959Z",
        "\x18\x11"
        "20500101000000.5Z",
        "\x18\x13"
        "20500101000000+0100",
        "\x16\x0d"
        "700101000000Z",
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct der in = { (const uint8_t *)cases[i], strlen(cases[i]) };
        int64_t seconds = 42;
        cr_expect(!der_take_time(&in, &seconds), "%s", cases[i]);
        cr_expect_eq(seconds, 42);
        cr_expect_eq(in.size, strlen(cases[i]));
    }
}

Test(der, S3_only_strict_encodings_pass)
{
    static const struct {
        const char *name, *octets;
        size_t size;
        bool is_strict;
    } cases[] = {
        { "null", "\x05\x00", 2, true },
        { "sequence", "\x30\x03\x02\x01\x05", 5, true },
        { "empty", "", 0, false },
        { "tag alone", "\x30", 1, false },
        { "one octet after it", "\x30\x03\x02\x01\x05\x00", 6, false },
        { "indefinite length", "\x30\x80\x02\x01\x05\x00\x00", 7, false },
        { "length not the shortest", "\x30\x81\x03\x02\x01\x05", 6, false },
        { "length with a zero", "\x30\x82\x00\x03\x02\x01\x05", 7, false },
        { "beyond the end", "\x30\x04\x02\x01\x05", 5, false },
        { "2^32", "\x30\x85\x01\x00\x00\x00\x00", 7, false },
        { "2^31", "\x30\x84\x80\x00\x00\x00", 6, false },
        { "2^63", "\x30\x88\x80\x00\x00\x00\x00\x00\x00\x00", 10, false },
        { "inner beyond the outer", "\x30\x03\x02\x02\x05\x05", 6, false },
        { "string in pieces", "\x24\x03\x04\x01\x05", 5, false },
        { "context constructed", "\xa0\x03\x02\x01\x05", 5, true },
        { "high tag", "\x1f\x81\x01\x00", 4, false },
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        cr_expect_eq(der_is_strict((const uint8_t *)cases[i].octets, cases[i].size),
                     cases[i].is_strict, "%s", cases[i].name);
}

Test(der, R8_depth_is_bounded)
{
    for (size_t depth = 1; depth <= 100000;
         depth = depth < 40 ? depth + 1 : depth * 10) {
        CA_BUFFER buffer = { 0 };
        for (size_t left = depth; left > 0; left--) {
            /* Lengths from the inside: 2 octets a level while short. */
            if (depth <= 40)
                der_header(&buffer, DER_SEQUENCE, (left - 1) * 2);
            else
                text_append(&buffer, "\x30\x80", 2);
        }
        cr_expect_eq(der_is_strict((const uint8_t *)buffer.data, buffer.size),
                     depth <= DER_DEPTH_MAX, "depth %zu", depth);
    }
}

Test(der, values_are_taken_in_turn)
{
    CA_BUFFER inner = { 0 };
    CA_BUFFER outer = { 0 };
    der_number(&inner, DER_INTEGER, 7);
    der_append(&inner, DER_OCTET_STRING, "abc", 3);
    der_wrap(&outer, DER_SEQUENCE, &inner);
    cr_assert_null(inner.data);
    struct der in = { (const uint8_t *)outer.data, outer.size }, content, value;
    cr_assert(!der_take(&in, DER_INTEGER, &content));
    cr_assert(der_take(&in, DER_SEQUENCE, &content) && in.size == 0);
    cr_assert(der_take(&content, DER_INTEGER, &value));
    cr_assert(value.size == 1 && value.at[0] == 7);
    uint8_t tag;
    struct der whole;
    cr_assert(der_take_any(&content, &tag, &value, &whole));
    cr_assert(tag == DER_OCTET_STRING && value.size == 3 && whole.size == 5);
    cr_assert(!der_take_any(&content, &tag, &value, &whole));
    LEAK_CHECK();
}
