/* The message of a GET in all its forms. */
#include "leak.h"
#include "scep.h"
#include "scep_case.h"

static const uint8_t wanted[] = { 0x30, 0xfb, 0xff, 0xbf, 0x00, 0x01, 0x02 };
/* MPv/vwABAg== */

static enum ca_status
decode(const char *text, size_t length, struct ca_bytes *ret_octets)
{
    fake_core_request(&core, "GET", "/default", "", NULL, 0);
    return scep_query_decode(&core.request, text, length, ret_octets);
}

static void
end(void)
{
    fake_core_request(&core, "GET", "/default", "", NULL, 0);
}

TestSuite(scep_query, .fini = end);

Test(scep_query, every_form_of_the_field_is_taken)
{
    static const char *const cases[] = {
        "MPv/vwABAg==",
        "MPv/vwABAg",
        "MPv_vwABAg",
        "MPv_vwABAg==",
        "MPv%2FvwABAg%3D%3D",
        "MPv%2fvwABAg%3d%3d",
        "MPv%252FvwABAg%253D%253D",
        "MPv/vwABAg==\n",
        "MPv/%0AvwAB%0D%0AAg==%0A",
        "MPv/%250AvwABAg==%250A",
        "MPv/\r\nvwAB\r\nAg==\r\n",
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ca_bytes octets = { 0 };
        cr_assert_eq(decode(cases[i], strlen(cases[i]), &octets), CA_OK, "%s",
                     cases[i]);
        cr_assert_eq(octets.size, sizeof wanted, "%s", cases[i]);
        cr_assert_arr_eq(octets.data, wanted, sizeof wanted);
    }
}

Test(scep_query, plus_survives_whatever_became_of_it)
{
    static const char *const cases[] = { "++++",         "%2B%2b++",   "    ",
                                         "%20%20%20%20", "%252B+-%2B", "----" };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ca_bytes octets = { 0 };
        cr_assert_eq(decode(cases[i], strlen(cases[i]), &octets), CA_OK, "%s",
                     cases[i]);
        cr_assert_eq(octets.size, 3);
        cr_assert_arr_eq(octets.data, "\xfb\xef\xbe", 3);
    }
}

Test(scep_query, what_is_not_base64_is_refused)
{
    static const char *const cases[] = {
        "",        "=",       "====",         "A",       "AAAAA",
        "AA=",     "AAA==",   "AA==A",        "A=AA",    "AAAA=",
        "AA*A",    "AAAA%",   "AAAA%4",       "AAAA%4g", "AAAA%g4",
        "%25252B", "AAAA%00", "AAAA\x80\x80", "AA\tAA",  "%2525AAAA",
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ca_bytes octets = { wanted, 77 };
        cr_expect_eq(decode(cases[i], strlen(cases[i]), &octets), CA_MALFORMED, "%s",
                     cases[i]);
        cr_expect(octets.data == wanted && octets.size == 77);
    }
    struct ca_bytes octets;
    cr_expect_eq(decode("AAAA\0AAA", 8, &octets), CA_MALFORMED);
}

Test(scep_query, R8_size_is_limited_before_and_after_decoding)
{
    size_t length = 4u * SCEP_BODY_MAX + 1;
    char *text = malloc(length);
    memset(text, 'A', length);
    struct ca_bytes octets;
    cr_expect_eq(decode(text, length, &octets), CA_LIMIT);
    cr_expect_eq(decode(text, SCEP_BODY_MAX / 3 * 4 + 8, &octets), CA_LIMIT);
    cr_expect_eq(decode(text, SCEP_BODY_MAX / 3 * 4, &octets), CA_OK);
    free(text);
    end();
    LEAK_CHECK();
}
