/* The cookie of a log-in at the OpenID provider: whose it is, how long, under which
 * key. The way back with a real provider is in test_oidc.py. */
#include "auth_provider.h"
#include "clock.h"
#include "house_rig.h"
#include "leak.h"
#include "state.h"
#include <criterion/criterion.h>

#define DAY INT64_C(86400)
#define MINUTE INT64_C(60)
#define MIDNIGHT (20800 * DAY)
#define KEYS "SELECT COUNT(*) FROM state WHERE space = 'core/provider-key'"

static char issuer[] = "https://id.example.com", name[] = "__Host-sealwright-provider";
static char line[64 + PROVIDER_COOKIE_SIZE];

static void
build(void)
{
    house_build(&house);
    house.service->config.oidc.issuer = strdup(issuer);
    cr_assert_eq(oidc_new(&house.service->config.oidc, &house.service->oidc), CA_OK);
}

TestSuite(login_provider, .init = build, .fini = house_end);

static const char *
header_of(const struct exchange *exchange, const char *wanted)
{
    (void)exchange;
    return strcmp(wanted, "Cookie") == 0 ? line : NULL;
}

static void
draw(char ret_cookie[PROVIDER_COOKIE_SIZE])
{
    struct exchange exchange;
    house_exchange(&house, &exchange);
    cr_assert_eq(provider_cookie_draw(&exchange, "self", "", ret_cookie), CA_OK, "%s",
                 status_message());
    exchange_clear(&exchange);
}

/* What is said of an answer with this cookie, which lacks all else. */
static const char *
judge(const char *cookie)
{
    struct exchange exchange;
    struct person person = { .user = NULL };
    house_exchange(&house, &exchange);
    exchange.header = header_of;
    exchange.request.query = "";
    snprintf(line, sizeof line, "%s=%s", name, cookie);
    cr_expect_eq(auth_provider(&exchange,
                               &(struct ca_credential){ .kind = CA_CREDENTIAL_PROVIDER,
                                                        .protocol = "self" },
                               &person),
                 CA_UNAUTHENTICATED);
    exchange_clear(&exchange);
    const char *message = status_message();
    return strstr(message, "another browser") ? "ours"
           : strstr(message, "is not ours")   ? "foreign"
           : strstr(message, "is too old")    ? "old"
                                              : message;
}

static enum ca_status
expire(struct store_tx *tx, void *arg)
{
    return state_expire(tx, clock_now(), 1000, arg);
}

Test(login_provider, A7_each_day_has_a_key_that_goes_with_its_cookies)
{
    char noon[PROVIDER_COOKIE_SIZE], late[PROVIDER_COOKIE_SIZE],
        early[PROVIDER_COOKIE_SIZE];
    int64_t count = 0;
    clock_set(MIDNIGHT - 12 * 60 * MINUTE);
    draw(noon);
    cr_expect_str_eq(judge(noon), "ours");
    clock_set(MIDNIGHT - 5 * MINUTE);
    draw(late);
    cr_expect_eq(house_integer(&house, KEYS), 1, "one a day");
    cr_expect_str_eq(judge(noon), "old");
    clock_set(MIDNIGHT + 3 * MINUTE);
    cr_expect_str_eq(judge(late), "ours", "across midnight");
    draw(early);
    cr_expect_eq(house_integer(&house, KEYS), 2);
    cr_expect_str_eq(judge(early), "ours");
    house_write(&house, expire, &count);
    cr_expect_eq(house_integer(&house, KEYS), 2, "the former is in use");
    cr_expect_str_eq(judge(late), "ours");
    clock_set(MIDNIGHT + 12 * MINUTE);
    house_write(&house, expire, &count);
    cr_expect_eq(house_integer(&house, KEYS), 1, "no cookie of yesterday counts");
    cr_expect_str_eq(judge(late), "old");
    cr_expect_str_eq(judge(early), "ours");
    house_end();
    LEAK_CHECK();
    build();
}

Test(login_provider, A7_a_cookie_is_of_the_key_of_its_own_time)
{
    char cookie[PROVIDER_COOKIE_SIZE], other[PROVIDER_COOKIE_SIZE];
    clock_set(MIDNIGHT - MINUTE);
    draw(other);
    clock_set(MIDNIGHT + MINUTE);
    draw(cookie);
    /* Yesterday's time on today's cookie. */
    memcpy(cookie + PROVIDER_TIME_AT, other + PROVIDER_TIME_AT, 12);
    cr_expect_str_eq(judge(cookie), "foreign");
    cr_expect_str_eq(judge(other), "ours");
    static const char *const times[] = { "999999999999", "-00000000001", "            ",
                                         "xxxxxxxxxxxx" };
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        memcpy(cookie + PROVIDER_TIME_AT, times[i], 12);
        cr_expect_str_eq(judge(cookie), "old", "%s", times[i]);
    }
    /* A key that is gone is not made anew for who brings a cookie. */
    house_run(&house, "DELETE FROM state WHERE space = 'core/provider-key'");
    cr_expect_str_eq(judge(other), "foreign");
    cr_expect_eq(house_integer(&house, KEYS), 0);
    house_end();
    LEAK_CHECK();
    build();
}
