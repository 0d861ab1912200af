/* A PIN that is refused is tried once and latched, whatever the maker calls it. */
#include "leak.h"
#include "recovery_rig.h"

TestSuite(recovery_pin, .init = hsm_make, .fini = hsm_remove);

Test(recovery_pin, I7_a_PIN_refused_in_a_rebuild_is_tried_once_and_latched)
{
    char latch[96];
    snprintf(latch, sizeof latch, "%s/latch", hsm.folder);
    hsm.config.latch_file = latch;
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *key = softhsm_key(set, "k", "p-256", TOKEN_USE_SIGN);
    int64_t hits = fault_hits();
    command("C_Login:0xa0:0:-1");
    command("closeall");
    int64_t start = clock_ticks();
    cr_expect_eq(sign(key), CA_UNAVAILABLE);
    cr_expect_lt(clock_ticks() - start, 2000, "latched: nobody waits");
    cr_expect_eq(health(set).state, TOKEN_LATCHED);
    cr_expect_eq(fault_hits() - hits, 1, "one C_Login, not %lld",
                 (long long)(fault_hits() - hits));
    for (int i = 0; i < 5; i++)
        cr_expect_eq(sign(key), CA_UNAVAILABLE);
    usleep(300000);
    cr_expect_eq(fault_hits() - hits, 1, "no further C_Login");
    cr_expect_eq(access(latch, F_OK), 0);

    command("clear");
    int64_t logins = fault_calls("C_Login");
    cr_expect_eq(sign(key), CA_UNAVAILABLE, "still latched");
    cr_expect_eq(fault_calls("C_Login"), logins);
    cr_expect_eq(token_unlock(set, "hsm"), CA_OK, "%s", status_message());
    cr_expect_eq(health(set).state, TOKEN_UP);
    cr_expect_eq(sign(key), CA_OK);
    cr_expect_neq(access(latch, F_OK), 0);
    cr_expect_eq(token_unlock(set, "other"), CA_NOT_FOUND);
    token_set_free(set);
    LEAK_CHECK();
}

Test(recovery_pin, I7_a_latch_holds_over_a_restart_without_a_login)
{
    char latch[96];
    snprintf(latch, sizeof latch, "%s/latch", hsm.folder);
    hsm.config.latch_file = latch;
    struct token_set *set = NULL;
    command("C_Login:0xa0:0:-1");
    cr_assert_eq(token_set_open(&hsm.config, 1, &set), CA_FORBIDDEN);
    cr_assert_eq(fault_hits(), 1);
    command("clear");
    cr_assert_eq(token_set_open(&hsm.config, 1, &set), CA_FORBIDDEN);
    cr_assert_eq(fault_calls("C_Login"), 0);
    unlink(latch);
    cr_assert_eq(token_set_open(&hsm.config, 1, &set), CA_OK);
    token_set_free(set);
    LEAK_CHECK();
}

Test(recovery_pin, I7_a_PIN_at_its_last_try_or_locked_is_not_tried)
{
    static const char *const flags[] = { "tokflags:0x20000", "tokflags:0x40000" };
    for (size_t i = 0; i < 2; i++) {
        struct token_set *set = NULL;
        command(flags[i]);
        cr_assert_eq(token_set_open(&hsm.config, 1, &set), CA_FORBIDDEN);
        cr_assert_eq(fault_calls("C_Login"), 0);
        command("clear");
    }
    LEAK_CHECK();
}

/* What devices say of a PIN, each in its own way: none is asked twice. */
Test(recovery_pin, pitfall_vendors_words_for_a_PIN_that_is_not_taken)
{
    static const struct {
        const char *command;
        bool latches;
    } words[] = {
        { "C_Login:0xa0:0:-1", true },        /* incorrect */
        { "C_Login:0xa1:0:-1", true },        /* invalid */
        { "C_Login:0xa2:0:-1", true },        /* of another length */
        { "C_Login:0xa3:0:-1", true },        /* expired */
        { "C_Login:0xa4:0:-1", true },        /* locked */
        { "C_Login:0x30:0:-1", false },       /* the device, not the PIN */
        { "C_Login:0x80000013:0:-1", false }, /* nobody knows */
    };
    hsm.config.wait_ms = 300;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        struct token_set *set = softhsm_open(&hsm);
        struct token_key *key = NULL;
        if (i == 0)
            key = softhsm_key(set, "k", "p-256", TOKEN_USE_SIGN);
        else
            cr_assert_eq(token_key_find(set, "pkcs11:token=ca;object=k", TOKEN_USE_SIGN,
                                        NULL, &key),
                         CA_OK);
        int64_t hits = fault_hits();
        command(words[i].command);
        command("closeall");
        cr_expect_eq(sign(key), CA_UNAVAILABLE, "%s", words[i].command);
        usleep(200000);
        if (words[i].latches) {
            cr_expect_eq(fault_hits() - hits, 1, "%s", words[i].command);
            cr_expect_eq(health(set).state, TOKEN_LATCHED, "%s", words[i].command);
        } else {
            cr_expect_geq(fault_hits() - hits, 2, "%s", words[i].command);
            cr_expect_eq(health(set).state, TOKEN_REBUILDING, "%s", words[i].command);
            command("clear");
            state_await(set, TOKEN_UP, 5000);
        }
        command("clear");
        token_set_free(set);
    }
    LEAK_CHECK();
}

/* The second list of slots logs in to a token where the first one did already. */
Test(recovery_pin, pitfall_a_login_of_somebody_who_is_logged_in_is_none)
{
    hsm.config.permits = 40;
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *key = softhsm_key(set, "k", "p-256", TOKEN_USE_SIGN);
    cr_expect_eq(fault_calls("C_Login"), 3, "three lanes");
    for (int i = 0; i < 3; i++) {
        command("closeall");
        cr_expect_eq(sign(key), CA_OK, "%s", status_message());
        command("finalize");
        cr_expect_eq(sign(key), CA_OK, "%s", status_message());
    }
    cr_expect_eq(health(set).state, TOKEN_UP);
    token_set_free(set);
    LEAK_CHECK();
}
