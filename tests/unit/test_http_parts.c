/* The parts of the web server that need no socket: paths, heads, proxies, rates
 * and answers. */
#include "auto.h"
#include "http_answer.h"
#include "http_limit.h"
#include "http_path.h"
#include "http_proxy.h"
#include "leak.h"
#include <criterion/criterion.h>
#include <ctype.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

Test(http_parts, W2_path_comes_out_in_one_form_or_not_at_all)
{
    static const struct {
        const char *raw, *path; /* NULL: refused */
    } cases[] = {
        { "/", "/" },
        { "/a", "/a" },
        { "///a//b/", "/a//b/" },
        { "//%2f/a", "/a" },
        { "/a%2Fb%2fc", "/a/b/c" },
        { "/%41%5a%7e", "/AZ~" },
        { "/a+b", "/a+b" },
        { "/a%252e", "/a%2e" },
        { "/...", "/..." },
        { "/a..b", "/a..b" },
        { "/%c3%a9", "/\xc3\xa9" },
        { "", NULL },
        { "a", NULL },
        { "%2fa", NULL },
        { "*", NULL },
        { "/.", NULL },
        { "/..", NULL },
        { "/a/../b", NULL },
        { "/a/%2e%2E/b", NULL },
        { "/a%2f..%2fb", NULL },
        { "//..", NULL },
        { "/a/.", NULL },
        { "/%", NULL },
        { "/%4", NULL },
        { "/%4g", NULL },
        { "/%g4", NULL },
        { "/%00", NULL },
        { "/a%0a", NULL },
        { "/%7f", NULL },
        { "/\x01", NULL },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char path[64] = "untouched";
        enum ca_status status = path_normalise(cases[i].raw, path);
        cr_expect_eq(status, cases[i].path ? CA_OK : CA_MALFORMED, "%s", cases[i].raw);
        if (cases[i].path)
            cr_expect_str_eq(path, cases[i].path, "%s", cases[i].raw);
    }
}

Test(http_parts, W2_head_tells_one_length)
{
    static const struct {
        const char *name, *value;
        int64_t length;
        bool is_chunked;
        enum ca_status status;
    } cases[] = {
        { "X", "y", -1, false, CA_OK },
        { "content-length", "0", 0, false, CA_OK },
        { "Content-Length", "42", 42, false, CA_OK },
        { "Content-Length", "42 \t", 42, false, CA_OK },
        { "Content-Length", "00042", 42, false, CA_OK },
        { "Content-Length", "999999999999999", 999999999999999, false, CA_OK },
        { "Content-Length", "1000000000000000", -1, false, CA_LIMIT },
        { "Content-Length", "4 2", -1, false, CA_MALFORMED },
        { "Content-Length", "", -1, false, CA_MALFORMED },
        { "Content-Length", "0x1", -1, false, CA_MALFORMED },
        { "Content-Length", "1e3", -1, false, CA_MALFORMED },
        { "Transfer-Encoding", "chunked", -1, true, CA_OK },
        { "Transfer-Encoding", "Chunked", -1, true, CA_OK },
        { "Transfer-Encoding", "chunked ", -1, false, CA_MALFORMED },
        { "Transfer-Encoding", "xchunked", -1, false, CA_MALFORMED },
        { "Transfer-Encoding", "", -1, false, CA_MALFORMED },
        { "Bad Name", "x", -1, false, CA_MALFORMED },
        { "Bad:Name", "x", -1, false, CA_MALFORMED },
        { "", "x", -1, false, CA_MALFORMED },
        { "X", "a\rb", -1, false, CA_MALFORMED },
        { "X", "a\x01", -1, false, CA_MALFORMED },
        { "Host", "second", -1, false, CA_MALFORMED },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct http_field fields[] = { { "Host", "h" },
                                             { cases[i].name, cases[i].value } };
        struct http_framing framing = { 77, true };
        enum ca_status status = head_check(fields, 2, true, &framing);
        cr_expect_eq(status, cases[i].status, "%s: %s", cases[i].name, cases[i].value);
        int64_t length = status == CA_OK ? cases[i].length : 77;
        cr_expect_eq(framing.content_length, length, "%s", cases[i].value);
        cr_expect_eq(framing.is_chunked, status == CA_OK ? cases[i].is_chunked : true);
    }
    struct http_framing framing;
    cr_expect_eq(head_check(NULL, 0, true, &framing), CA_MALFORMED, "no Host");
    cr_expect_eq(head_check(NULL, 0, false, &framing), CA_OK, "HTTP/1.0 wants none");
}

Test(http_parts, W2_what_is_read_of_one_line_comes_in_one)
{
    static const char *const names[] = {
        "Content-Type", "Authorization",   "Cookie",
        "If-Match",     "Idempotency-Key", "Sec-Fetch-Site",
    };
    for (size_t i = 0; i < COUNT(names); i++) {
        char lower[32] = "";
        for (size_t j = 0; names[i][j]; j++)
            lower[j] = (char)tolower((unsigned char)names[i][j]);
        const struct http_field fields[] = { { "Host", "h" },
                                             { names[i], "same-origin" },
                                             { lower, "same-origin" } };
        struct http_framing framing;
        cr_expect_eq(head_check(fields, 2, true, &framing), CA_OK, "%s", names[i]);
        cr_expect_eq(head_check(fields, 3, true, &framing), CA_MALFORMED, "%s",
                     names[i]);
        cr_expect(strstr(status_message(), names[i]), "%s", status_message());
    }
    const struct http_field lists[] = { { "Host", "h" },
                                        { "Accept", "a" },
                                        { "Accept", "b" } };
    struct http_framing framing;
    cr_expect_eq(head_check(lists, 3, true, &framing), CA_OK, "a list may be parted");
}

static struct address
source(const char *text)
{
    struct address address;
    cr_assert(address_parse(text, strlen(text), &address));
    return address;
}

static int
take_many(struct limit *limit, const char *text, int count, int64_t now)
{
    struct address address = source(text);
    int taken = 0;
    for (int i = 0; i < count; i++)
        taken += limit_take(limit, &address, now);
    return taken;
}

Test(http_parts, A7_rate_of_a_source_is_a_burst_and_then_so_many_a_second)
{
    struct limit *limit = limit_new(10, 5);
    cr_expect_eq(take_many(limit, "192.0.2.1", 20, 1000), 5);
    cr_expect_eq(take_many(limit, "192.0.2.1", 20, 1000), 0);
    cr_expect_eq(take_many(limit, "192.0.2.2", 20, 1000), 5, "another source");
    cr_expect_eq(take_many(limit, "192.0.2.1", 20, 1099), 0);
    cr_expect_eq(take_many(limit, "192.0.2.1", 20, 1100), 1);
    cr_expect_eq(take_many(limit, "192.0.2.1", 20, 1300), 2);
    cr_expect_eq(take_many(limit, "192.0.2.1", 20, 900), 0,
                 "time never runs backwards");
    cr_expect_eq(take_many(limit, "192.0.2.1", 20, INT64_MAX / 2), 5,
                 "never over burst");
    struct address address = source("192.0.2.3");
    for (int i = 0; i < 50; i++) {
        cr_expect(limit_take(limit, &address, 1000));
        limit_return(limit, &address, 1000);
    }
    limit_return(limit, &address, 1000);
    cr_expect(limit_has(limit, &address, 1000));
    cr_expect_eq(take_many(limit, "192.0.2.3", 20, 1000), 5, "a return gives no more");
    cr_expect_not(limit_has(limit, &address, 1000));
    cr_expect_not(limit_has(limit, &address, 1099));
    cr_expect(limit_has(limit, &address, 1100));
    cr_expect(limit_has(limit, &address, 1100), "asking takes nothing");
    cr_expect_eq(take_many(limit, "192.0.2.3", 20, 1100), 1);
    address = source("192.0.2.4");
    cr_expect(limit_has(limit, &address, 1000), "nobody yet");
    cr_expect_eq(take_many(limit, "2001:db8::1", 20, 1000), 5);
    cr_expect_eq(take_many(limit, "2001:db8::ffff:2", 20, 1000), 0, "the same /64");
    cr_expect_eq(take_many(limit, "2001:db8:0:1::1", 20, 1000), 5);
    limit_free(limit);
    limit = limit_new(0, 0);
    cr_expect_eq(take_many(limit, "192.0.2.1", 1000, 1000), 1000, "0 is no limit");
    limit_free(limit);
    LEAK_CHECK();
}

Test(http_parts, A7_flood_of_sources_costs_no_memory_and_pushes_out_the_idle)
{
    struct limit *limit = limit_new(1, 1);
    for (uint32_t i = 0; i < 100000; i++) {
        struct address address = { { [10] = 0xff, [11] = 0xff } };
        memcpy(address.octets + 12, &i, 4);
        cr_assert(limit_take(limit, &address, 1000 + i));
    }
    cr_expect_eq(take_many(limit, "192.0.2.1", 9, 200000), 1);
    limit_free(limit);
    LEAK_CHECK();
}

/* The answer as text; free() it. */
static char *
answer_text(struct exchange *exchange, bool is_head, bool keep_alive)
{
    struct answer_octets octets = { 0 };
    cr_assert(answer_format(exchange, is_head, keep_alive, &octets));
    char *text = strndup(octets.data, octets.size);
    answer_clear(&octets);
    return text;
}

Test(http_parts, answer_is_delimited_by_the_host_alone)
{
    struct exchange exchange = { 0 };
    struct ca_request *req = &exchange.request;
    cr_assert_eq(ca_respond(req, 200, "text/x", "body", 4), CA_OK);
    cr_assert_eq(ca_respond_header(req, "X-One", "1"), CA_OK);
    CA_AUTO(free) char *whole = answer_text(&exchange, false, true);
    cr_expect_eq(strncmp(whole, "HTTP/1.1 200 OK\r\nDate: ", 23), 0);
    cr_expect_not_null(strstr(whole, " GMT\r\nConnection: keep-alive\r\n"
                                     "Content-Length: 4\r\nContent-Type: text/x\r\n"
                                     "X-One: 1\r\n\r\nbody"));
    CA_AUTO(free) char *head = answer_text(&exchange, true, false);
    cr_expect_not_null(strstr(head, "Connection: close\r\nContent-Length: 4\r\n"));
    cr_expect_str_eq(head + strlen(head) - 4, "\r\n\r\n");
    static const int bare[] = { 204, 304 };
    for (size_t i = 0; i < COUNT(bare); i++) {
        cr_assert_eq(ca_respond(req, bare[i], NULL, "body", 4), CA_OK);
        CA_AUTO(free) char *text = answer_text(&exchange, false, true);
        cr_expect_null(strstr(text, "Content-Length"));
        cr_expect_null(strstr(text, "body"));
    }
    exchange_clear(&exchange);
    LEAK_CHECK();
}

Test(http_parts, hosts_own_answer_keeps_the_handlers_headers)
{
    struct exchange exchange = { .request = { .id = "0123456789abcdef", .path = "" } };
    cr_assert_eq(ca_respond_header(&exchange.request, "retry-after", "77"), CA_OK);
    answer_refuse(&exchange, 503, NULL);
    CA_AUTO(free) char *text = answer_text(&exchange, false, false);
    cr_expect_not_null(strstr(text, "retry-after: 77\r\n"));
    cr_expect_null(strstr(text, "Retry-After: "));
    cr_expect_not_null(strstr(text, "\r\n\r\nService Unavailable\n"
                                    "Request 0123456789abcdef\n"));
    exchange_clear(&exchange);
    struct exchange other = { .request = { .id = "0123456789abcdef", .path = "" } };
    answer_refuse(&other, 401, NULL);
    CA_AUTO(free) char *refused = answer_text(&other, false, false);
    cr_expect_not_null(strstr(refused, "WWW-Authenticate: Bearer\r\n"));
    cr_expect_not_null(strstr(refused, "Cache-Control: no-store\r\n"));
    exchange_clear(&other);
    LEAK_CHECK();
}
