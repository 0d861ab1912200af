/* The skeleton protocol before the core's own requests and a double of ca_authenticate:
 * how the test of a plugin may begin. */
#include "auto.h"
#include "exchange.h"
#include "leak.h"
#include <criterion/criterion.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

extern const struct ca_plugin ca_plugin;

static struct exchange exchange;
static void *state;

/* What the double was asked, and what it answers. */
static int authenticates;
static char message[16], endpoint[16], secret[32];
static enum ca_status verdict;

enum ca_status
ca_authenticate(struct ca_request *req, const struct ca_credential *credential)
{
    cr_assert_eq(req, &exchange.request);
    cr_assert_eq(credential->kind, CA_CREDENTIAL_CHALLENGE);
    cr_assert_str_eq(credential->protocol, "skeleton");
    authenticates++;
    snprintf(message, sizeof message, "%s", credential->message);
    snprintf(endpoint, sizeof endpoint, "%s", credential->endpoint);
    snprintf(secret, sizeof secret, "%.*s", (int)credential->secret_size,
             credential->secret);
    return verdict;
}

static enum ca_status
init_with(const char *settings)
{
    CA_AUTO(json_decref) json_t *object = json_loads(settings, 0, NULL);
    cr_assert_not_null(object);
    return ca_plugin.init(object, &state);
}

static enum ca_status
ask(const char *path, const char *query, const char *authorization)
{
    exchange_clear(&exchange);
    exchange.request = (struct ca_request){ .method = "GET",
                                            .path = path,
                                            .rest = "",
                                            .query = query,
                                            .content_type = "",
                                            .authorization = authorization,
                                            .peer = "192.0.2.1" };
    const struct ca_route *route = ca_plugin.routes;
    while (route->method && strcmp(route->path, path) != 0)
        route++;
    cr_assert_not_null(route->method, "no route %s", path);
    return route->handle(state, &exchange.request);
}

static void
finish(void)
{
    ca_plugin.fini(state);
    exchange_clear(&exchange);
    LEAK_CHECK();
}

static bool
body_is(const char *text)
{
    return exchange.answer.size == strlen(text) &&
           memcmp(exchange.answer.body, text, exchange.answer.size) == 0;
}

Test(skeleton, greets_the_world_or_a_guest_as_configured)
{
    cr_assert_eq(init_with("{}"), CA_OK);
    cr_assert_eq(ask("/skeleton/hello", "", ""), CA_OK);
    cr_expect_eq(exchange.answer.status, 200);
    cr_expect_str_eq(exchange.answer.content_type, "text/plain; charset=utf-8");
    cr_expect(body_is("Hello, world!\n"));
    ca_plugin.fini(state);
    cr_assert_eq(init_with("{\"greeting\": \"Ahoy\"}"), CA_OK);
    cr_assert_eq(ask("/skeleton/hello", "x=1&guest=%41da", ""), CA_OK);
    cr_expect(body_is("Ahoy, Ada!\n"));
    finish();
}

Test(skeleton, R7_guest_is_letters_and_short)
{
    static const char *const cases[] = {
        "guest=",          "guest=a+b",
        "guest=<b>",       "guest=%0d%0aSet-Cookie",
        "guest=%00",       "guest=%",
        "guest=a&guest=b", "guest=abcdefghijklmnopqrstuvwxyzabcdefg",
        "guest=%c3%a9",
    };
    cr_assert_eq(init_with("{}"), CA_OK);
    for (size_t i = 0; i < COUNT(cases); i++) {
        cr_expect_eq(ask("/skeleton/hello", cases[i], ""), CA_MALFORMED, "%s",
                     cases[i]);
        cr_expect_eq(exchange.answer.status, 0, "%s was answered", cases[i]);
    }
    finish();
}

Test(skeleton, A1_only_the_core_decides_who_somebody_is)
{
    static char long_one[300] = "Bearer ";
    memset(long_one + 7, 'a', 280);
    const char *const without[] = { "", "Basic YTpi", "Bearer", "Bearer ", long_one };
    cr_assert_eq(init_with("{}"), CA_OK);
    for (size_t i = 0; i < COUNT(without); i++) {
        cr_expect_eq(ask("/skeleton/whoami", "", without[i]), CA_UNAUTHENTICATED, "%s",
                     without[i]);
        cr_expect_eq(authenticates, 0, "%s", without[i]);
    }
    for (verdict = CA_UNAUTHENTICATED; verdict < CA_STATUS_COUNT; verdict++) {
        cr_expect_eq(ask("/skeleton/whoami", "", "bearer 5A1E"), verdict);
        cr_expect_eq(exchange.answer.status, 0, "a refusal is its status, no more");
    }
    verdict = CA_OK;
    cr_expect_eq(ask("/skeleton/whoami", "", "Bearer 5A1E"), CA_OK);
    cr_expect(body_is("Hello, friend!\n"));
    cr_expect_str_eq(message, "whoami");
    cr_expect_str_eq(endpoint, "default");
    cr_expect_str_eq(secret, "5A1E");
    finish();
}

Test(skeleton, A1_secrets_come_over_tls_only)
{
    for (const struct ca_route *route = ca_plugin.routes; route->method; route++) {
        bool is_secret = strcmp(route->path, "/skeleton/whoami") == 0;
        cr_expect_eq((route->flags & CA_ROUTE_TLS_ONLY) != 0, is_secret, "%s",
                     route->path);
        cr_expect_eq(route->max_body, 0);
    }
}

Test(skeleton, W4_settings_that_are_not_known_stop_the_start)
{
    static const struct {
        const char *settings, *named;
    } cases[] = {
        { "{\"greting\": \"x\"}", "settings/greting" },
        { "{\"greeting\": 7}", "settings/greeting" },
        { "{\"greeting\": \"x\", \"y\": 1}", "settings/y" },
        { "{\"greeting\": \"0123456789012345678901234567890123456789"
          "0123456789012345678901234\"}",
          "settings/greeting" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        cr_expect_eq(init_with(cases[i].settings), CA_MALFORMED, "%s",
                     cases[i].settings);
        cr_expect_not_null(strstr(status_message(), cases[i].named), "%s",
                           status_message());
        cr_expect_null(state);
    }
    LEAK_CHECK();
}
