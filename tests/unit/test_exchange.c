/* A request's own memory, query and answer, as a plugin uses them. */
#include "auto.h"
#include "exchange.h"
#include "leak.h"
#include "log.h"
#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

static struct exchange exchange;
static struct ca_request *const req = &exchange.request;

static int released;

static void
count_release(void *pointer)
{
    released += *(int *)pointer;
}

Test(exchange, memory_is_zeroed_aligned_and_lives_as_long_as_the_request)
{
    for (size_t size = 0; size < 100; size++) {
        uint8_t *octets = ca_request_alloc(req, size);
        cr_assert_not_null(octets);
        cr_expect_eq((uintptr_t)octets % _Alignof(max_align_t), 0);
        for (size_t i = 0; i < size; i++)
            cr_expect_eq(octets[i], 0);
        memset(octets, 0xee, size);
    }
    cr_expect_null(ca_request_alloc(req, SIZE_MAX));
    exchange_clear(&exchange);
    cr_expect_null(exchange.memory);
    LEAK_CHECK();
}

Test(exchange, kept_things_are_released_once_in_reverse)
{
    int one = 1, ten = 10;
    cr_assert_eq(exchange_keep(&exchange, &one, count_release), CA_OK);
    cr_assert_eq(exchange_keep(&exchange, &ten, count_release), CA_OK);
    cr_expect_eq(released, 0);
    exchange_clear(&exchange);
    exchange_clear(&exchange);
    cr_expect_eq(released, 11);
    LEAK_CHECK();
}

Test(exchange, query_parameters_are_decoded)
{
    static const struct {
        const char *query, *value; /* of "a"; NULL: absent */
        enum ca_status status;
    } cases[] = {
        { "", NULL, CA_OK },
        { "a", "", CA_OK },
        { "a=", "", CA_OK },
        { "a=x", "x", CA_OK },
        { "b=1&a=x&c=2", "x", CA_OK },
        { "&&a=x&&", "x", CA_OK },
        { "a=x=y==", "x=y==", CA_OK },
        { "a=1+2%2B3", "1 2+3", CA_OK },
        { "%61=x", "x", CA_OK },
        { "a=%c3%A9", "\xc3\xa9", CA_OK },
        { "aa=x", NULL, CA_OK },
        { "A=x", NULL, CA_OK },
        { "b=%zz&a=x", "x", CA_OK },
        { "%zz=1&a=x", "x", CA_OK },
        { "a=%", NULL, CA_MALFORMED },
        { "a=%4", NULL, CA_MALFORMED },
        { "a=%4&b=1", NULL, CA_MALFORMED },
        { "a=%gg", NULL, CA_MALFORMED },
        { "a=%00", NULL, CA_MALFORMED },
        { "a=x%00y", NULL, CA_MALFORMED },
        { "a=x&a=x", NULL, CA_MALFORMED },
        { "a=x&%61=y", NULL, CA_MALFORMED },
        { "a&a", NULL, CA_MALFORMED },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *value = "untouched";
        req->query = cases[i].query;
        cr_expect_eq(ca_request_query(req, "a", &value), cases[i].status, "%s",
                     cases[i].query);
        if (cases[i].status != CA_OK)
            cr_expect_str_eq(value, "untouched", "%s", cases[i].query);
        else if (cases[i].value)
            cr_expect_str_eq(value, cases[i].value, "%s", cases[i].query);
        else
            cr_expect_null(value, "%s", cases[i].query);
    }
    exchange_clear(&exchange);
    LEAK_CHECK();
}

Test(exchange, raw_parameter_is_what_was_sent)
{
    const char *value = NULL;
    size_t size = 99;
    req->query = "operation=PKIOperation&message=MII+/%2B%0A==&x";
    cr_assert_eq(ca_request_query_raw(req, "message", &value, &size), CA_OK);
    cr_expect_eq(size, 13);
    cr_expect_eq(strncmp(value, "MII+/%2B%0A==", 13), 0);
    cr_assert_eq(ca_request_query_raw(req, "absent", &value, &size), CA_OK);
    cr_expect_null(value);
    cr_expect_eq(size, 0);
}

Test(exchange, R8_decoded_parameter_is_bounded)
{
    static char query[40000] = "a=";
    const char *value;
    memset(query + 2, 'x', 32768);
    req->query = query;
    cr_expect_eq(ca_request_query(req, "a", &value), CA_OK);
    memset(query + 2, 'x', 32769);
    cr_expect_eq(ca_request_query(req, "a", &value), CA_LIMIT);
    exchange_clear(&exchange);
}

Test(exchange, last_answer_counts_and_is_a_copy)
{
    char body[] = "first";
    cr_assert_eq(ca_respond(req, 200, "text/plain", body, 5), CA_OK);
    cr_assert_eq(ca_respond(req, 403, "text/html", "second!", 7), CA_OK);
    memset(body, 'x', 5);
    cr_expect_eq(exchange.answer.status, 403);
    cr_expect_str_eq(exchange.answer.content_type, "text/html");
    cr_expect_eq(exchange.answer.size, 7);
    cr_expect_eq(memcmp(exchange.answer.body, "second!", 7), 0);
    cr_assert_eq(ca_respond(req, 204, NULL, NULL, 0), CA_OK);
    cr_expect_eq(exchange.answer.size, 0);
    cr_expect_null(exchange.answer.content_type);
    exchange_clear(&exchange);
    cr_expect_eq(exchange.answer.status, 0);
    LEAK_CHECK();
}

Test(exchange, refused_answer_leaves_the_earlier_one)
{
    static const struct {
        int status;
        const char *type;
    } cases[] = { { 0, "a/b" },   { 100, "a/b" },         { 199, "a/b" },
                  { 600, "a/b" }, { 200, "a/b\r\nX: y" }, { -1, "a/b" } };
    cr_assert_eq(ca_respond(req, 200, "text/plain", "kept", 4), CA_OK);
    for (size_t i = 0; i < COUNT(cases); i++)
        cr_expect_eq(ca_respond(req, cases[i].status, cases[i].type, "x", 1),
                     CA_INTERNAL);
    cr_expect_eq(exchange.answer.status, 200);
    cr_expect_eq(memcmp(exchange.answer.body, "kept", 4), 0);
    exchange_clear(&exchange);
}

Test(exchange, W2_header_can_neither_split_nor_delimit_an_answer)
{
    static const struct {
        const char *name, *value;
        enum ca_status status;
    } cases[] = {
        { "ETag", "\"1\"", CA_OK },
        { "Set-Cookie", "a=b; HttpOnly", CA_OK },
        { "Set-Cookie", "c=d", CA_OK },
        { "X-Text", "tab\there", CA_OK },
        { "Content-Length", "5", CA_INTERNAL },
        { "content-length", "5", CA_INTERNAL },
        { "Connection", "close", CA_INTERNAL },
        { "Transfer-Encoding", "chunked", CA_INTERNAL },
        { "Content-Type", "a/b", CA_INTERNAL },
        { "Date", "now", CA_INTERNAL },
        { "X", "a\r\nSet-Cookie: x", CA_INTERNAL },
        { "X", "a\nb", CA_INTERNAL },
        { "X", "a\x7f", CA_INTERNAL },
        { "X\r\nY", "a", CA_INTERNAL },
        { "X Y", "a", CA_INTERNAL },
        { "X:", "a", CA_INTERNAL },
        { "", "a", CA_INTERNAL },
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        cr_expect_eq(ca_respond_header(req, cases[i].name, cases[i].value),
                     cases[i].status, "%s", cases[i].name);
    cr_expect_eq(exchange.answer.header_count, 4);
    for (int i = 4; i < 16; i++)
        cr_expect_eq(ca_respond_header(req, "X-More", "y"), CA_OK);
    cr_expect_eq(ca_respond_header(req, "X-More", "y"), CA_LIMIT);
    exchange_clear(&exchange);
    LEAK_CHECK();
}

static const char *
header_of(const struct exchange *of, const char *name)
{
    cr_assert_eq(of, &exchange);
    return strcmp(name, "X-Here") == 0 ? "yes" : NULL;
}

Test(exchange, headers_come_from_the_host)
{
    cr_expect_null(ca_request_header(req, "X-Here"));
    exchange.header = header_of;
    cr_expect_str_eq(ca_request_header(req, "X-Here"), "yes");
    cr_expect_null(ca_request_header(req, "X-Away"));
}

Test(exchange, actor_is_the_best_known_name)
{
    req->peer = "192.0.2.1";
    cr_expect_str_eq(exchange_actor(&exchange), "peer:192.0.2.1");
    exchange.identity.kind = IDENTITY_CHALLENGE;
    exchange.identity.user = strdup("bob");
    exchange.identity.device = strdup("d-1");
    cr_expect_str_eq(exchange_actor(&exchange), "user:bob");
    exchange.identity.kind = IDENTITY_RENEWAL;
    cr_expect_str_eq(exchange_actor(&exchange), "device:d-1");
    exchange.identity.kind = IDENTITY_DEVICE;
    cr_expect_str_eq(exchange_actor(&exchange), "device:d-1");
    exchange.identity.kind = IDENTITY_ADMIN;
    exchange.identity.admin.name = strdup("alice");
    cr_expect_str_eq(exchange_actor(&exchange), "admin:alice");
    exchange.identity.kind = IDENTITY_NONE;
    cr_expect_str_eq(exchange_actor(&exchange), "peer:192.0.2.1", "no kind, no name");
    exchange_clear(&exchange);
    cr_expect_eq(exchange.identity.kind, IDENTITY_NONE);
    LEAK_CHECK();
}

Test(exchange, operation_is_cut_and_replaced)
{
    char long_one[200];
    memset(long_one, 'x', sizeof long_one);
    long_one[199] = '\0';
    exchange_set_operation(&exchange, "GetCACert");
    cr_expect_str_eq(exchange.operation, "GetCACert");
    exchange_set_operation(&exchange, long_one);
    cr_expect_eq(strlen(exchange.operation), 64);
    exchange_clear(&exchange);
    cr_expect_null(exchange.operation);
    LEAK_CHECK();
}
