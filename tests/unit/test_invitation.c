/* Invitations: one code, once, for one user, and five tries. */
#include "clock.h"
#include "invitation.h"
#include "leak.h"
#include "password.h"
#include "scratch_records.h"
#include "user.h"

#define NOW 1795341600

static void
set_up(void)
{
    clock_set(NOW);
    scratch_store_open();
    struct store_tx *tx = scratch_begin();
    user_make(tx, "alice");
    user_make(tx, "bob");
    CR_OK(scratch_end(CA_OK));
}

static void
leave(void)
{
    scratch_store_close();
    clock_set(-1);
}

TestSuite(invitation, .init = set_up, .fini = leave);

static void
invite(struct store_tx *tx, const char *user, char code[INVITATION_CODE_SIZE])
{
    CR_OK(invitation_draw(code));
    cr_assert_eq(strlen(code), INVITATION_CODE_SIZE - 1);
    CR_OK(invitation_save(tx, user, code, NOW + 100));
}

/* "alice", or "" for none. */
static void
expect_user(struct store_tx *tx, const char *code, const char *user)
{
    char *found = NULL;
    CR_OK(invitation_try(tx, code, &found));
    cr_expect_str_eq(found ? found : "", user, "'%s'", code);
    free(found);
}

Test(invitation, A3_a_code_works_once)
{
    char code[INVITATION_CODE_SIZE], *user = NULL;
    struct store_tx *tx = scratch_begin();
    invite(tx, "alice", code);
    expect_user(tx, code, "alice");
    expect_user(tx, code, "alice");
    CR_OK(invitation_take(tx, code, &user));
    cr_expect_str_eq(user, "alice");
    free(user);
    user = NULL;
    expect_user(tx, code, "");
    CR_OK(invitation_take(tx, code, &user));
    cr_expect_null(user);
    CR_STATUS(invitation_withdraw(tx, "alice"), CA_NOT_FOUND);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(invitation, A3_five_wrong_secrets_end_it)
{
    char code[INVITATION_CODE_SIZE], wrong[INVITATION_CODE_SIZE];
    struct store_tx *tx = scratch_begin();
    invite(tx, "alice", code);
    memcpy(wrong, code, sizeof wrong);
    wrong[20] = wrong[20] == 'A' ? 'B' : 'A';
    for (int i = 0; i < INVITATION_TRIES - 1; i++)
        expect_user(tx, wrong, "");
    expect_user(tx, code, "alice");
    expect_user(tx, wrong, "");
    expect_user(tx, code, "");
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(invitation, A3_what_is_no_code_finds_nobody)
{
    static const char *const texts[] = {
        "",
        "x",
        "0123456789abcdef",
        "0123456789abcdefAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "0123456789ABCDEFAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s",
    };
    struct store_tx *tx = scratch_begin();
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        expect_user(tx, texts[i], "");
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(invitation, a_newer_one_ends_the_older_one)
{
    char first[INVITATION_CODE_SIZE], second[INVITATION_CODE_SIZE];
    char bobs[INVITATION_CODE_SIZE];
    struct store_tx *tx = scratch_begin();
    invite(tx, "alice", first);
    invite(tx, "bob", bobs);
    invite(tx, "alice", second);
    expect_user(tx, first, "");
    expect_user(tx, second, "alice");
    expect_user(tx, bobs, "bob");
    CR_OK(invitation_withdraw(tx, "alice"));
    expect_user(tx, second, "");
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(invitation, time_and_users_bound_it)
{
    char code[INVITATION_CODE_SIZE];
    struct store_tx *tx = scratch_begin();
    CR_OK(invitation_draw(code));
    CR_STATUS(invitation_save(tx, "carol", code, NOW + 100), CA_NOT_FOUND);
    CR_STATUS(invitation_save(tx, "alice", code, NOW), CA_LIMIT);
    CR_STATUS(invitation_save(tx, "alice", code, NOW + INVITATION_SECONDS_MAX + 1),
              CA_LIMIT);
    invite(tx, "alice", code);
    struct user user = { 0 };
    CR_OK(user_load(tx, "alice", &user));
    user.state = USER_DISABLED;
    CR_OK(user_update(tx, &user));
    expect_user(tx, code, "");
    CR_STATUS(invitation_save(tx, "alice", code, NOW + 100), CA_FORBIDDEN);
    user.state = USER_ACTIVE;
    CR_OK(user_update(tx, &user));
    user_clear(&user);
    expect_user(tx, code, "alice");
    clock_set(NOW + 100);
    expect_user(tx, code, "");
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

/* The names of users come back; codes of those who had them before do not. */
Test(invitation, A3_a_code_is_not_of_a_later_user_of_the_name)
{
    char code[INVITATION_CODE_SIZE], *user = NULL;
    struct store_tx *tx = scratch_begin();
    invite(tx, "alice", code);
    CR_OK(user_delete(tx, "alice", 1));
    expect_user(tx, code, "");
    clock_set(NOW + 1);
    user_make(tx, "alice");
    expect_user(tx, code, "");
    CR_OK(invitation_take(tx, code, &user));
    cr_expect_null(user);
    invite(tx, "alice", code);
    expect_user(tx, code, "alice");
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(invitation, A3_another_mailbox_ends_it)
{
    char code[INVITATION_CODE_SIZE];
    struct user user = { 0 };
    struct store_tx *tx = scratch_begin();
    invite(tx, "alice", code);
    CR_OK(user_load(tx, "alice", &user));
    free(user.display_name);
    user.display_name = strdup("Alice Example");
    CR_OK(user_update(tx, &user));
    expect_user(tx, code, "alice");
    free(user.email);
    user.email = strdup("alice@example.com");
    CR_OK(user_update(tx, &user));
    user_clear(&user);
    expect_user(tx, code, "");
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(invitation, A3_a_password_that_was_set_meanwhile_ends_it)
{
    char code[INVITATION_CODE_SIZE];
    struct store_tx *tx = scratch_begin();
    invite(tx, "alice", code);
    CR_OK(password_save(tx, "alice", "one verifier"));
    expect_user(tx, code, "");
    invite(tx, "alice", code);
    expect_user(tx, code, "alice");
    CR_OK(password_count_try(tx, "alice"));
    expect_user(tx, code, "alice");
    CR_OK(password_save(tx, "alice", "another verifier"));
    expect_user(tx, code, "");
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}
