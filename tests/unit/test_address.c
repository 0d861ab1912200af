/* Addresses, prefixes, and what counts as one source. */
#include "address.h"
#include "auto.h"
#include "leak.h"
#include <criterion/criterion.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

Test(address, is_read_with_or_without_port_and_written_in_one_form)
{
    static const struct {
        const char *text, *formatted; /* NULL: none */
    } cases[] = {
        { "192.0.2.1", "192.0.2.1" },
        { "192.0.2.1:80", "192.0.2.1" },
        { "2001:DB8::1", "2001:db8::1" },
        { "[2001:db8::1]", "2001:db8::1" },
        { "[2001:db8::1]:8", "2001:db8::1" },
        { "::ffff:192.0.2.1", "192.0.2.1" },
        { "::", "::" },
        { "", NULL },
        { "192.0.2", NULL },
        { "192.0.2.256", NULL },
        { "localhost", NULL },
        { "[2001:db8::1", NULL },
        { "[2001:db8::1]x", NULL },
        { "[]", NULL },
        { ":80", NULL },
        { "192.0.2.1 ", NULL },
        { "fe80::1%eth0", NULL },
        { "_hidden", NULL },
        { "0123456789012345678901234567890123456789012345678", NULL },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct address address;
        char formatted[ADDRESS_TEXT_SIZE];
        bool is_one = address_parse(cases[i].text, strlen(cases[i].text), &address);
        cr_expect_eq(is_one, cases[i].formatted != NULL, "%s", cases[i].text);
        if (!is_one)
            continue;
        address_format(&address, formatted);
        cr_expect_str_eq(formatted, cases[i].formatted);
    }
}

Test(address, W2_trust_ends_at_the_prefix)
{
    static const struct {
        const char *network, *address;
        int has; /* -1: no network */
    } cases[] = {
        { "10.1.2.3", "10.1.2.3", 1 },
        { "10.1.2.3", "10.1.2.4", 0 },
        { "10.0.0.0/8", "10.255.0.1", 1 },
        { "10.0.0.0/8", "11.0.0.1", 0 },
        { "10.1.2.128/25", "10.1.2.200", 1 },
        { "10.1.2.128/25", "10.1.2.100", 0 },
        { "10.1.2.0/31", "10.1.2.1", 1 },
        { "10.1.2.0/31", "10.1.2.2", 0 },
        { "0.0.0.0/0", "203.0.113.9", 1 },
        { "0.0.0.0/0", "2001:db8::1", 0 },
        { "2001:db8::/32", "2001:db8:f::1", 1 },
        { "2001:db8::/32", "2001:db9::1", 0 },
        { "::/0", "2001:db8::1", 1 },
        { "::1", "::1", 1 },
        { "10.0.0.0/33", "10.0.0.1", -1 },
        { "10.0.0.0/", "10.0.0.1", -1 },
        { "10.0.0.0/-1", "10.0.0.1", -1 },
        { "10.0.0.0/8x", "10.0.0.1", -1 },
        { "::/129", "::1", -1 },
        { "proxy.example", "10.0.0.1", -1 },
        { "", "10.0.0.1", -1 },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CA_AUTO(free) char *text = strdup(cases[i].network);
        struct field_list texts = { &text, 1 };
        struct network_list list = { 0 };
        struct address address;
        enum ca_status status = network_list_parse(&texts, &list);
        cr_expect_eq(status, cases[i].has < 0 ? CA_MALFORMED : CA_OK, "%s", text);
        cr_assert(address_parse(cases[i].address, strlen(cases[i].address), &address));
        if (status == CA_OK)
            cr_expect_eq(network_list_has(&list, &address), cases[i].has == 1,
                         "%s has %s", text, cases[i].address);
        network_list_clear(&list);
    }
    LEAK_CHECK();
}

Test(address, A7_source_is_an_ipv4_address_or_the_64_bits_of_an_ipv6_host)
{
    static const struct {
        const char *text, *source;
    } cases[] = {
        { "192.0.2.1", "192.0.2.1" },
        { "::ffff:192.0.2.1", "192.0.2.1" },
        { "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::" },
        { "2001:db8:1:2::", "2001:db8:1:2::" },
        { "2001:db8:1:3::1", "2001:db8:1:3::" },
        { "::1", "::" },
        { "unix", "unix" },
        { "", "" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[ADDRESS_SOURCE_SIZE];
        address_source_format(cases[i].text, text);
        cr_expect_str_eq(text, cases[i].source);
    }
}
