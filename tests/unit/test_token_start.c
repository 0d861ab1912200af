/* Tokens that are not there, or latched, when their set is opened: the rest works, and
 * they come up by themselves. */
#include "auto.h"
#include "clock.h"
#include "fault.h"
#include "leak.h"
#include "softhsm.h"
#include "token.h"
#include <criterion/criterion.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY "pkcs11:token=ca;object=k"

static struct softhsm hsm;
static char latch[96];
static const uint8_t message[] = "to be signed";

static void
hsm_make(void)
{
    softhsm_make(&hsm, "ca");
    struct token_set *set = softhsm_open(&hsm);
    softhsm_key(set, "k", "p-256", TOKEN_USE_SIGN);
    token_set_free(set);
    hsm.config.module = fault_path();
    hsm.config.may_be_missing = true;
    snprintf(latch, sizeof latch, "%s/latch", hsm.folder);
    hsm.config.latch_file = latch;
}

static void
hsm_remove(void)
{
    softhsm_remove(&hsm);
}

TestSuite(token_start, .init = hsm_make, .fini = hsm_remove);

static void
command(const char *text)
{
    cr_assert(fault_command(text), "%s", text);
}

static enum ca_status
find(struct token_set *set, struct token_key **ret_key)
{
    return token_key_find(set, KEY, TOKEN_USE_SIGN, NULL, ret_key);
}

static enum ca_status
sign(struct token_key *key)
{
    uint8_t signature[128];
    size_t size = 0;
    return token_sign(key, EVP_sha256(), message, sizeof message, signature,
                      sizeof signature, &size);
}

static enum token_state
state_of(struct token_set *set, size_t index)
{
    struct token_health health;
    token_health(set, index, &health);
    return health.state;
}

static void
state_await(struct token_set *set, size_t index, enum token_state state)
{
    int64_t until = clock_ticks() + 8000;
    while (state_of(set, index) != state && clock_ticks() < until)
        usleep(5000);
    cr_assert_eq(state_of(set, index), state);
}

/* What each test ends with: the key is found and signs. */
static void
key_works(struct token_set *set)
{
    struct token_key *key = NULL;
    cr_assert_eq(find(set, &key), CA_OK, "%s", status_message());
    cr_expect(token_key_is_up(key));
    cr_expect_eq(sign(key), CA_OK, "%s", status_message());
}

Test(token_start, goes_on_without_the_token_and_finds_it_when_it_comes)
{
    static const char *const outages[] = { "removed", "C_Initialize:0x30:0:-1",
                                           "C_GetSlotList:0x30:0:-1",
                                           "C_GetTokenInfo:0xe0:0:-1",
                                           "C_Login:0x30:0:-1" };
    for (size_t i = 0; i < sizeof outages / sizeof outages[0]; i++) {
        struct token_set *set = NULL;
        struct token_key *key = NULL;
        command(outages[i]);
        cr_assert_eq(token_set_open(&hsm.config, 1, &set), CA_OK, "%s: %s", outages[i],
                     status_message());
        cr_expect_eq(state_of(set, 0), TOKEN_REBUILDING, "%s", outages[i]);
        cr_expect_eq(find(set, &key), CA_UNAVAILABLE, "%s", outages[i]);
        command("clear");
        state_await(set, 0, TOKEN_UP);
        key_works(set);
        token_set_free(set);
        cr_expect_eq(fault_sessions(), 0);
    }
    LEAK_CHECK();
}

Test(token_start, needs_the_token_unless_it_may_be_missing)
{
    struct token_set *set = NULL;
    hsm.config.may_be_missing = false;
    command("removed");
    cr_expect_eq(token_set_open(&hsm.config, 1, &set), CA_UNAVAILABLE);
    command("clear");
    LEAK_CHECK();
}

/* What no waiting will mend. */
Test(token_start, never_goes_on_with_a_wrong_configuration)
{
    struct token_set *set = NULL;
    struct token_config wrong = hsm.config;
    wrong.waivers = NULL;
    cr_expect_eq(token_set_open(&wrong, 1, &set), CA_FORBIDDEN, "software");
    wrong = hsm.config;
    wrong.module = hsm.pin_file;
    cr_expect_eq(token_set_open(&wrong, 1, &set), CA_UNAVAILABLE, "no library");
    wrong.module = "/nowhere/hsm.so";
    cr_expect_eq(token_set_open(&wrong, 1, &set), CA_UNAVAILABLE, "no file");
    wrong = hsm.config;
    wrong.pin_source = "file:/nowhere/pin";
    cr_expect_eq(token_set_open(&wrong, 1, &set), CA_UNAVAILABLE, "no PIN");
    LEAK_CHECK();
}

Test(token_start, I7_a_wrong_PIN_is_tried_once_and_not_after_a_restart)
{
    struct token_set *set = NULL;
    struct token_key *key = NULL;
    command("C_Login:0xa0:0:-1");
    for (int restart = 0; restart < 3; restart++) {
        cr_assert_eq(token_set_open(&hsm.config, 1, &set), CA_OK, "%s",
                     status_message());
        cr_expect_eq(state_of(set, 0), TOKEN_LATCHED);
        cr_expect_eq(access(latch, F_OK), 0);
        usleep(200000);
        int64_t start = clock_ticks();
        cr_expect_eq(find(set, &key), CA_UNAVAILABLE);
        cr_expect_lt(clock_ticks() - start, 500, "latched: nobody waits");
        cr_expect_eq(token_check(set, 0), CA_UNAVAILABLE);
        cr_expect_eq(fault_hits(), 1, "%lld tries", (long long)fault_hits());
        if (restart < 2)
            token_set_free(set);
    }
    cr_expect_eq(token_unlock(set, "hsm"), CA_FORBIDDEN, "still wrong: one more");
    cr_expect_eq(fault_hits(), 2);
    cr_expect_eq(access(latch, F_OK), 0);
    command("clear");
    cr_expect_eq(token_unlock(set, "hsm"), CA_OK, "%s", status_message());
    cr_expect_neq(access(latch, F_OK), 0);
    key_works(set);
    token_set_free(set);
    LEAK_CHECK();
}

Test(token_start, I7_a_latched_token_is_unlocked_with_the_PIN_of_that_moment)
{
    struct token_set *set = NULL;
    char away[96];
    CA_AUTO(fclose) FILE *file = fopen(latch, "we");
    cr_assert_not_null(file);
    snprintf(away, sizeof away, "%s/pin-away", hsm.folder);
    cr_assert_eq(rename(hsm.pin_file, away), 0);
    cr_assert_eq(token_set_open(&hsm.config, 1, &set), CA_OK, "%s", status_message());
    cr_expect_eq(state_of(set, 0), TOKEN_LATCHED);
    cr_expect_eq(fault_calls("C_Login"), 0);
    cr_expect_eq(token_unlock(set, "hsm"), CA_UNAVAILABLE, "there is no PIN");
    cr_expect_eq(state_of(set, 0), TOKEN_LATCHED);
    cr_assert_eq(rename(away, hsm.pin_file), 0);
    cr_expect_eq(token_unlock(set, "hsm"), CA_OK, "%s", status_message());
    key_works(set);
    token_set_free(set);
    LEAK_CHECK();
}

Test(token_start, one_token_of_a_library_does_not_wait_for_another)
{
    struct token_config configs[2] = { hsm.config, hsm.config };
    struct token_set *set = NULL;
    configs[1].name = "later";
    configs[1].uri = "pkcs11:token=later";
    configs[1].latch_file = NULL;
    cr_assert_eq(token_set_open(configs, 2, &set), CA_OK, "%s", status_message());
    cr_expect_eq(state_of(set, 1), TOKEN_REBUILDING);
    state_await(set, 0, TOKEN_UP);
    key_works(set);
    struct token_key *key = NULL;
    cr_expect_eq(
        token_key_find(set, "pkcs11:token=later;object=k", TOKEN_USE_SIGN, NULL, &key),
        CA_UNAVAILABLE);
    cr_expect_eq(
        token_key_find(set, "pkcs11:token=never;object=k", TOKEN_USE_SIGN, NULL, &key),
        CA_NOT_FOUND);
    softhsm_add(&hsm, "later", NULL);
    state_await(set, 1, TOKEN_UP);
    cr_expect_eq(
        token_key_find(set, "pkcs11:token=later;object=k", TOKEN_USE_SIGN, NULL, &key),
        CA_NOT_FOUND);
    key_works(set);
    token_set_free(set);
    LEAK_CHECK();
}
