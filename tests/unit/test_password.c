/* Passwords of local users: their rules, verifiers, tries and locks. */
#include "clock.h"
#include "leak.h"
#include "password.h"
#include "scratch_records.h"

#define NOW 1795341600

static void
set_up(void)
{
    clock_set(NOW);
    scratch_store_open();
    struct store_tx *tx = scratch_begin();
    user_make(tx, "alice");
    CR_OK(scratch_end(CA_OK));
}

static void
leave(void)
{
    scratch_store_close();
    clock_set(-1);
}

TestSuite(password_store, .init = set_up, .fini = leave);

Test(password, A0_length_characters_and_the_known_bad_are_checked)
{
    static const struct {
        const char *secret;
        bool is_good;
    } cases[] = {
        { "k7dp-93mt-qxwe", true },
        { "tulip grows 4 me", true },
        { "Zw9!fkQ2", true },
        { "~2345678~abcdef", true },
        { "", false },
        { "Zw9!fkQ", false },
        { "password", false },
        { "PASSWORD", false },
        { "Password123!", false },
        { "P@ssw0rd2026", false },
        { "Sommer2026!!", false },
        { "Willkommen1", false },
        { "qwertzuiop", false },
        { "correcthorsebatterystaple", false },
        { "12345678", false },
        { "123456789012", false },
        { "87654321", false },
        { "abcdefgh", false },
        { "aaaaaaaaaaaa", false },
        { "abababababab", false },
        { "xXalice-9Q2z", false },
        { "ALICE-93mt-qxwe", false },
        { " k7dp-93mt-qxwe", false },
        { "k7dp-93mt-qxwe ", false },
        { "k7dp\t93mt-qxwe", false },
        { "k7dp-93mt-\xc3\xa4xwe", false },
    };
    char reason[160];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        reason[0] = '\0';
        cr_expect_eq(password_is_good("alice@example.com", cases[i].secret, reason,
                                      sizeof reason),
                     cases[i].is_good, "'%s'", cases[i].secret);
        cr_expect_eq(reason[0] == '\0', cases[i].is_good, "'%s'", cases[i].secret);
    }
    char most[PASSWORD_SIZE_MAX + 2];
    for (int i = 0; i <= PASSWORD_SIZE_MAX; i++)
        most[i] = (char)('!' + i * 37 % 90);
    most[PASSWORD_SIZE_MAX + 1] = '\0';
    cr_expect_not(password_is_good("alice", most, reason, sizeof reason));
    most[PASSWORD_SIZE_MAX] = '\0';
    cr_expect(password_is_good("alice", most, reason, sizeof reason), "%s", reason);
}

Test(password, A0_a_verifier_is_scrypt_with_a_salt_of_its_own)
{
    char one[PASSWORD_VERIFIER_SIZE], two[PASSWORD_VERIFIER_SIZE];
    bool matches = false;
    CR_OK(password_derive("k7dp-93mt-qxwe", 14, one));
    CR_OK(password_derive("k7dp-93mt-qxwe", 14, two));
    cr_expect_eq(strncmp(one, "scrypt$14$8$5$", 14), 0);
    cr_expect_str_neq(one, two);
    cr_expect_null(strstr(one, "k7dp"));
    CR_OK(password_verify(one, "k7dp-93mt-qxwe", 14, &matches));
    cr_expect(matches);
    CR_OK(password_verify(one, "k7dp-93mt-qxwf", 14, &matches));
    cr_expect_not(matches);
    CR_OK(password_verify(NULL, "k7dp-93mt-qxwe", 14, &matches));
    cr_expect_not(matches, "nobody's");
    LEAK_CHECK();
}

/* The last one was made by another implementation of RFC 7914. */
Test(password, verifies_by_the_parameters_it_was_made_with)
{
    static const char *const broken[] = {
        "",
        "scrypt",
        "scrypt$14$8$5$",
        "bcrypt$14$8$5$AAAAAAAAAAAAAAAAAAAAAA==$"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "scrypt$99$8$5$AAAAAAAAAAAAAAAAAAAAAA==$"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "scrypt$14$0$5$AAAAAAAAAAAAAAAAAAAAAA==$"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "scrypt$14$8$5$AAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "scrypt$14$8$5$AAAAAAAAAAAAAAAAAAAAAA==$AAAA",
    };
    bool matches = false;
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
        cr_expect_eq(password_verify(broken[i], "x", 1, &matches), CA_INTERNAL, "%s",
                     broken[i]);
    CR_OK(password_verify("scrypt$4$1$1$MDEyMzQ1Njc4OWFiY2RlZg==$"
                          "Q0JNah/3bKH+P+ai9dCwxpRS9+JKyjQ+VYiXjXDtPK4=",
                          "k7dp-93mt-qxwe", 14, &matches));
    cr_expect(matches, "smaller parameters of an older record");
}

static struct password
loaded(struct store_tx *tx)
{
    struct password password = { 0 };
    CR_OK(password_load(tx, "alice", &password));
    return password;
}

Test(password_store, A0_wrong_tries_lock_and_a_new_password_unlocks)
{
    static const int64_t locks[] = { 0, 0, 0, 0, 300, 600, 1200, 2400, 4800 };
    struct store_tx *tx = scratch_begin();
    CR_OK(password_save(tx, "alice", "v1"));
    for (size_t i = 0; i < sizeof locks / sizeof locks[0]; i++) {
        CR_OK(password_count_try(tx, "alice"));
        struct password password = loaded(tx);
        cr_expect_eq(password.tries, (int64_t)i + 1);
        cr_expect_eq(password.locked_until, locks[i] ? NOW + locks[i] : 0, "try %zu",
                     i + 1);
        password_clear(&password);
    }
    for (int i = 0; i < 20; i++)
        CR_OK(password_count_try(tx, "alice"));
    struct password password = loaded(tx);
    cr_expect_eq(password.locked_until, NOW + PASSWORD_LOCK_SECONDS_MAX);
    password_clear(&password);
    CR_OK(password_save(tx, "alice", "v2"));
    password = loaded(tx);
    cr_expect_str_eq(password.verifier, "v2");
    cr_expect_eq(password.tries, 0);
    cr_expect_eq(password.locked_until, 0);
    cr_expect_eq(password.stamp.version, 2);
    password_clear(&password);
    CR_OK(password_count_try(tx, "alice"));
    CR_OK(password_count_right(tx, "alice"));
    password = loaded(tx);
    cr_expect_eq(password.tries, 0);
    password_clear(&password);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(password_store, only_users_have_passwords_and_take_them_along)
{
    struct password password = { 0 };
    struct store_tx *tx = scratch_begin();
    cr_expect_eq(password_save(tx, "bob", "v"), CA_NOT_FOUND);
    cr_expect_eq(password_load(tx, "alice", &password), CA_NOT_FOUND);
    cr_expect_eq(password_remove(tx, "alice"), CA_NOT_FOUND);
    CR_OK(password_save(tx, "alice", "v"));
    CR_OK(password_remove(tx, "alice"));
    cr_expect_eq(password_load(tx, "alice", &password), CA_NOT_FOUND);
    CR_OK(password_save(tx, "alice", "v"));
    CR_OK(user_delete(tx, "alice", 1));
    cr_expect_eq(password_load(tx, "alice", &password), CA_NOT_FOUND);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}
