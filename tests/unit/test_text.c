/* Text forms. */
#include "auto.h"
#include "leak.h"
#include "text.h"
#include <criterion/criterion.h>
#include <limits.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

Test(text, json_string_is_appended_where_it_takes_no_escapes)
{
    const struct {
        const char *text, *expected;
    } cases[] = {
        { "", "\"\"" },     { "alice ~!", "\"alice ~!\"" },
        { "a\"b", "" },     { "a\\b", "" },
        { "a\nb", "" },     { "\x7f", "" },
        { "\xc3\xa9", "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CA_AUTO(text_buffer_clear) struct text_buffer buffer = { 0 };
        bool is_plain = cases[i].expected[0] != '\0';
        cr_expect_eq(text_append_json(&buffer, cases[i].text), is_plain, "%zu", i);
        cr_expect_str_eq(buffer.data ? buffer.data : "", cases[i].expected, "%zu", i);
    }
    LEAK_CHECK();
}

Test(text, hex_goes_both_ways)
{
    const unsigned char octets[] = { 0x00, 0x7f, 0x80, 0xff, 0xa5 };
    char text[2 * sizeof octets + 1];
    unsigned char back[sizeof octets];
    hex_format(octets, sizeof octets, text);
    cr_assert_str_eq(text, "007f80ffa5");
    cr_assert(hex_parse("007F80ffA5", back, sizeof back));
    cr_assert_arr_eq(back, octets, sizeof octets);
    hex_format(octets, 0, text);
    cr_assert_str_eq(text, "");
}

Test(text, hex_of_another_size_or_alphabet_is_refused)
{
    static const char *const cases[] = { "",         "0",      "00",      "00112",
                                         "00112g",   "0011 2", "001122 ", "0x0011",
                                         "00112233", "+01122" };
    for (size_t i = 0; i < COUNT(cases); i++) {
        unsigned char octets[3] = { 9, 9, 9 };
        cr_expect(!hex_parse(cases[i], octets, 3), "%s", cases[i]);
        cr_expect(octets[0] == 9 && octets[2] == 9, "%s", cases[i]);
    }
}

Test(text, base64_vectors_of_rfc_4648)
{
    static const struct {
        const char *plain, *text, *url;
    } cases[] = {
        { "", "", "" },
        { "f", "Zg==", "Zg" },
        { "fo", "Zm8=", "Zm8" },
        { "foo", "Zm9v", "Zm9v" },
        { "foob", "Zm9vYg==", "Zm9vYg" },
        { "fooba", "Zm9vYmE=", "Zm9vYmE" },
        { "foobar", "Zm9vYmFy", "Zm9vYmFy" },
        { "\xfb\xff\xfe", "+//+", "-__-" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t length = strlen(cases[i].plain), size = 99;
        CA_AUTO(free) char *text = base64_format(cases[i].plain, length);
        CA_AUTO(free) char *url = base64url_format(cases[i].plain, length);
        cr_expect_str_eq(text, cases[i].text);
        cr_expect_str_eq(url, cases[i].url);
        char back[6];
        cr_expect_eq(base64_parse(text, strlen(text), BASE64_STRICT, back, 6, &size),
                     CA_OK);
        cr_expect(size == length && memcmp(back, cases[i].plain, length) == 0);
        cr_expect_eq(base64_parse(url, strlen(url), BASE64_URL, back, 6, &size), CA_OK);
        cr_expect(size == length && memcmp(back, cases[i].plain, length) == 0);
        cr_expect_eq(base64_parse(url, strlen(url), BASE64_LENIENT, back, 6, &size),
                     CA_OK);
        cr_expect(size == length && memcmp(back, cases[i].plain, length) == 0);
    }
    LEAK_CHECK();
}

Test(text, base64_forms_are_told_apart)
{
    static const struct {
        const char *name, *text;
        enum ca_status strict, lenient, url;
    } cases[] = {
        { "line breaks", "Zm9v\r\nYmFy\n", CA_MALFORMED, CA_OK, CA_MALFORMED },
        { "spaces for plus", "Zm 9v", CA_MALFORMED, CA_OK, CA_MALFORMED },
        { "no padding", "Zg", CA_MALFORMED, CA_OK, CA_OK },
        { "padding", "Zg==", CA_OK, CA_OK, CA_MALFORMED },
        { "half the padding", "Zg=", CA_MALFORMED, CA_MALFORMED, CA_MALFORMED },
        { "too much padding", "Zm8==", CA_MALFORMED, CA_MALFORMED, CA_MALFORMED },
        { "padding alone", "====", CA_MALFORMED, CA_MALFORMED, CA_MALFORMED },
        { "padding inside", "Zg==Zg==", CA_MALFORMED, CA_MALFORMED, CA_MALFORMED },
        { "one digit over", "Zm9vY", CA_MALFORMED, CA_MALFORMED, CA_MALFORMED },
        { "stray bits", "Zh==", CA_MALFORMED, CA_OK, CA_MALFORMED },
        { "stray bits of two", "Zm9=", CA_MALFORMED, CA_OK, CA_MALFORMED },
        { "stray bits without padding", "Zh", CA_MALFORMED, CA_OK, CA_MALFORMED },
        { "url alphabet", "-_-_", CA_MALFORMED, CA_OK, CA_OK },
        { "standard alphabet", "+/+/", CA_OK, CA_OK, CA_MALFORMED },
        { "another character", "Zm9*", CA_MALFORMED, CA_MALFORMED, CA_MALFORMED },
        { "percent escape", "Zg%3D%3D", CA_MALFORMED, CA_MALFORMED, CA_MALFORMED },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const enum ca_status wanted[] = { cases[i].strict, cases[i].lenient,
                                          cases[i].url };
        for (unsigned flags = 0; flags < 3; flags++) {
            unsigned char octets[16] = { 0xee };
            size_t size = 77, length = strlen(cases[i].text);
            enum ca_status status =
                base64_parse(cases[i].text, length, flags, octets, 16, &size);
            cr_expect_eq(status, wanted[flags], "%s, %u", cases[i].name, flags);
            if (status != CA_OK)
                cr_expect(size == 77 && octets[0] == 0xee, "%s", cases[i].name);
        }
    }
}

Test(text, R8_base64_over_the_room_is_a_limit)
{
    unsigned char octets[4] = { 0, 0, 0, 0xee };
    size_t size;
    cr_assert_eq(base64_parse("Zm9v", 4, BASE64_STRICT, octets, 3, &size), CA_OK);
    cr_assert_eq(octets[3], 0xee);
    cr_assert_eq(base64_parse("Zm9v", 4, BASE64_STRICT, octets, 2, &size), CA_LIMIT);
    cr_assert_eq(base64_parse("Zm9vYg==", 8, BASE64_LENIENT, octets, 3, &size),
                 CA_LIMIT);
    cr_assert_eq(base64_parse("Zm9vYg", 6, BASE64_URL, octets, 3, &size), CA_LIMIT);
    cr_assert_eq(
        base64_parse("********************", 20, BASE64_STRICT, octets, 3, &size),
        CA_LIMIT, "the size is checked before the content");
    cr_assert_eq(base64_parse("Zm9v\0Zm9v", 9, BASE64_LENIENT, octets, 4, &size),
                 CA_MALFORMED);
}

Test(text, times_are_read)
{
    static const struct {
        const char *text;
        int64_t seconds;
    } cases[] = {
        { "1970-01-01T00:00:00Z", 0 },
        { "2026-11-22T10:00:00Z", 1795341600 },
        { "2026-11-22t10:00:00.999z", 1795341600 },
        { "2026-11-22T12:30:00+02:30", 1795341600 },
        { "2026-11-22T05:00:00-05:00", 1795341600 },
        { "2024-02-29T00:00:00Z", 1709164800 },
        { "2000-02-29T00:00:00Z", 951782400 },
        { "9999-12-31T23:59:59Z", 253402300799 },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t seconds = -1;
        cr_expect(time_parse(cases[i].text, &seconds), "%s", cases[i].text);
        cr_expect_eq(seconds, cases[i].seconds, "%s", cases[i].text);
    }
}

Test(text, bad_times_are_refused)
{
    static const char *const cases[] = {
        "",
        "2026",
        "2026-11-22",
        "2026-11-22T10:00:00",
        "2026-11-22 10:00:00Z",
        "2026-11-22T10:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T10:60:00Z",
        "2026-11-22T10:00:60Z",
        "2026-11-22T10:00:00.Z",
        "2026-11-22T10:00:00+2:00",
        "2026-11-22T10:00:00+02:60",
        "2026-11-22T10:00:00+24:00",
        "2026-11-22T10:00:00Z ",
        "-026-11-22T10:00:00Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "02026-11-22T10:00:00Z",
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t seconds = 42;
        cr_expect(!time_parse(cases[i], &seconds), "%s", cases[i]);
        cr_expect_eq(seconds, 42);
    }
}

Test(text, times_are_written)
{
    char text[21];
    time_format(0, text);
    cr_expect_str_eq(text, "1970-01-01T00:00:00Z");
    time_format(1795341600, text);
    cr_expect_str_eq(text, "2026-11-22T10:00:00Z");
    time_format(INT64_MAX, text);
    cr_expect_str_eq(text, "9999-12-31T23:59:59Z");
    time_format(INT64_MIN, text);
    cr_expect_str_eq(text, "1970-01-01T00:00:00Z");
}

Test(text, durations_are_read)
{
    static const struct {
        const char *text;
        int64_t seconds;
    } cases[] = {
        { "P1Y", 31536000 },       { "P30D", 2592000 }, { "PT5M", 300 },
        { "P1DT12H", 129600 },     { "P1M", 2592000 },  { "PT1M", 60 },
        { "P2W", 1209600 },        { "PT0S", 0 },       { "P1Y1M1DT1H1M1S", 34218061 },
        { "P100Y", 3153600000 },   { "PT90S", 90 },     { "P1Y1D", 31622400 },
        { "P36500D", 3153600000 },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t seconds = -1;
        cr_expect(duration_parse(cases[i].text, &seconds), "%s", cases[i].text);
        cr_expect_eq(seconds, cases[i].seconds, "%s: %lld", cases[i].text,
                     (long long)seconds);
    }
}

Test(text, bad_durations_are_refused)
{
    static const char *const cases[] = {
        "",        "P",
        "PT",      "T5M",
        "5M",      "P5",
        "P1DT",    "P1H",
        "PT1D",    "PT1Y",
        "P1D1Y",   "P-1D",
        "-P1D",    "P1.5D",
        "P1,5D",   "P1W1D",
        "P1YW",    "p1d",
        "P1D ",    " P1D",
        "PTT5M",   "PT1S1M",
        "P1D1D",   "P101Y",
        "P100Y1D", "P99999999999999999999D",
        "P5215W",  "PT3153600001S",
        "P+1D",
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t seconds = 42;
        cr_expect(!duration_parse(cases[i], &seconds), "%s", cases[i]);
        cr_expect_eq(seconds, 42, "%s", cases[i]);
    }
}

Test(text, durations_are_written)
{
    static const struct {
        int64_t seconds;
        const char *text;
    } cases[] = {
        { 0, "PT0S" },         { 86400, "P1D" },
        { 31536000, "P365D" }, { 300, "PT5M" },
        { 90, "PT1M30S" },     { 129600, "P1DT12H" },
        { 3601, "PT1H1S" },    { 90061, "P1DT1H1M1S" },
        { -5, "PT0S" },        { INT64_MAX, "P106751991167300DT15H30M7S" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[32];
        duration_format(cases[i].seconds, text);
        cr_expect_str_eq(text, cases[i].text);
    }
}

Test(text, R7_clean_text)
{
    static const struct {
        const char *name, *text;
        bool clean;
    } cases[] = {
        { "empty", "", true },
        { "ascii", "CN=alice, O=Example", true },
        { "umlaut", "M\xc3\xbcller", true },
        { "highest", "\xf4\x8f\xbf\xbf", true },
        { "line feed", "a\nb", false },
        { "tab", "a\tb", false },
        { "delete", "a\x7f", false },
        { "U+0080", "\xc2\x80", false },
        { "U+009F", "\xc2\x9f", false },
        { "U+00A0", "\xc2\xa0", true },
        { "U+2027", "\xe2\x80\xa7", true },
        { "U+2028", "\xe2\x80\xa8", false },
        { "U+202E", "\xe2\x80\xae", false },
        { "U+202F", "\xe2\x80\xaf", true },
        { "U+2066", "\xe2\x81\xa6", false },
        { "U+2069", "\xe2\x81\xa9", false },
        { "long form", "\xc0\xaf", false },
        { "long form of three", "\xe0\x9f\xbf", false },
        { "long form of four", "\xf0\x8f\xbf\xbf", false },
        { "surrogate", "\xed\xa0\x80", false },
        { "above", "\xf4\x90\x80\x80", false },
        { "cut", "a\xe2\x82", false },
        { "lone", "\x80", false },
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        cr_expect_eq(text_is_clean(cases[i].text, strlen(cases[i].text)),
                     cases[i].clean, "%s", cases[i].name);
    cr_expect(!text_is_clean("a\0b", 3));
}

Test(text, comparison_folds_ascii_only)
{
    cr_expect(text_equal_ignoring_case("PKIOperation", "pkioperation"));
    cr_expect(!text_equal_ignoring_case("abc", "abcd"));
    cr_expect(!text_equal_ignoring_case("abcd", "abc"));
    cr_expect(!text_equal_ignoring_case("[", "{"));
    cr_expect(!text_equal_ignoring_case("\xc3\x9c", "\xc3\xbc"));
    cr_expect(text_equal_ignoring_case("", ""));
}

Test(text, R6_patterns_stay_within_a_label)
{
    static const struct {
        const char *pattern, *text;
        bool matches;
    } cases[] = {
        { "a.example.com", "a.example.com", true },
        { "*.example.com", "a.example.com", true },
        { "*.example.com", "a.b.example.com", false },
        { "*.example.com", "example.com", false },
        { "*.example.com", ".example.com", false },
        { "*.example.com", "a.example.com.evil.org", false },
        { "*.example.com", "a.example.comx", false },
        { "*.example.com", "aXexample.com", false },
        { "dev-*.example.com", "dev-7.example.com", true },
        { "dev-*.example.com", "dev-.example.com", false },
        { "*-dev.example.com", "x-dev.example.com", true },
        { "a*a.example.com", "a.example.com", false },
        { "a*a.example.com", "aba.example.com", true },
        { "**.example.com", "ab.example.com", false },
        { "*.*.com", "a.b.com", true },
        { "*", "a", true },
        { "*", "a.b", false },
        { "", "", true },
        { "*", "", false },
        { "a", "", false },
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        cr_expect_eq(text_matches(cases[i].pattern, cases[i].text), cases[i].matches,
                     "%s against %s", cases[i].pattern, cases[i].text);
}

Test(text, buffer_grows)
{
    CA_AUTO(text_buffer_clear) struct text_buffer buffer = { 0 };
    for (int i = 0; i < 1000; i++)
        text_print(&buffer, "%03d,", i);
    text_append(&buffer, "\0x", 2);
    cr_assert(!buffer.failed);
    cr_assert_eq(buffer.size, 4002);
    cr_assert(memcmp(buffer.data, "000,001,", 8) == 0);
    cr_assert(memcmp(buffer.data + 3996, "999,\0x", 7) == 0);
    char big[3000];
    memset(big, 'b', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    text_print(&buffer, "%s", big);
    cr_assert_eq(buffer.size, 4002 + 2999);
    text_buffer_clear(&buffer);
    cr_assert(buffer.data == NULL && buffer.size == 0);
    text_append(&buffer, NULL, 0);
    cr_assert_eq(buffer.size, 0);
    text_buffer_clear(&buffer);
    LEAK_CHECK();
}

Test(text, buffer_that_failed_stays_failed)
{
    struct text_buffer buffer = { 0 };
    text_append(&buffer, "abc", 3);
    text_append(&buffer, "abc", SIZE_MAX - 10);
    cr_assert(buffer.failed);
    text_append(&buffer, "d", 1);
    text_print(&buffer, "e");
    cr_assert(buffer.failed && buffer.size == 3);
    text_buffer_clear(&buffer);
    secret_free(strdup("secret"));
    secret_free(NULL);
    LEAK_CHECK();
}

Test(text, a_beginning_ends_with_a_whole_character)
{
    static const struct {
        const char *text;
        size_t most, length;
    } cases[] = {
        { "", 0, 0 },
        { "", 5, 0 },
        { "abc", 5, 3 },
        { "abc", 3, 3 },
        { "abc", 2, 2 },
        { "a\xc3\xbc", 2, 1 },
        { "a\xc3\xbc", 3, 3 },
        { "\xe2\x82\xac", 2, 0 },
        { "\xe2\x82\xac!", 3, 3 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_eq(text_whole_length(cases[i].text, cases[i].most), cases[i].length,
                     "%zu", i);
}
