/* The guard before passwords: throttled by user and network, remembered for a while,
 * two verified at once. */
#include "auto.h"
#include "clock.h"
#include "leak.h"
#include "login_guard.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#define SECRET "k7dp-93mt-qxwe"
#define MINUTE INT64_C(60)

static const struct login_attempt right = {
    "192.0.2.1", "alice", "v", SECRET, 14, false
};

Test(login_guard, A0_a_right_password_is_remembered_by_user_verifier_and_itself)
{
    struct login_guard *guard = login_guard_new();
    struct login_attempt other = right;
    cr_expect_not(login_guard_knows(guard, &right));
    cr_assert_eq(login_guard_enter(guard, &right), CA_OK);
    cr_expect_not(login_guard_knows(guard, &right));
    login_guard_leave(guard, &right, true);
    cr_expect(login_guard_knows(guard, &right));
    other.secret = "k7dp-93mt-qxwf";
    cr_expect_not(login_guard_knows(guard, &other));
    other = right;
    other.user = "bob";
    cr_expect_not(login_guard_knows(guard, &other));
    other = right;
    other.verifier = "w"; /* the password was set anew */
    cr_expect_not(login_guard_knows(guard, &other));
    other.verifier = NULL;
    cr_expect_not(login_guard_knows(guard, &other));
    other = right;
    other.source = "192.0.2.2";
    cr_expect(login_guard_knows(guard, &other));
    login_guard_free(guard);
    LEAK_CHECK();
}

Test(login_guard, A7_wrong_passwords_are_throttled_by_user_and_by_source)
{
    struct login_guard *guard = login_guard_new();
    char user[16];
    for (int i = 0; i < LOGIN_USER_PER_MINUTE; i++) {
        cr_assert_eq(login_guard_enter(guard, &right), CA_OK);
        login_guard_leave(guard, &right, false);
    }
    cr_expect_eq(login_guard_enter(guard, &right), CA_LIMIT);
    struct login_attempt elsewhere = right;
    elsewhere.source = "198.51.100.7";
    cr_expect_eq(login_guard_enter(guard, &elsewhere), CA_LIMIT, "the user's count");
    struct login_attempt other = right;
    int passed = 0;
    for (int i = 0; i < 2 * LOGIN_SOURCE_PER_MINUTE; i++) {
        snprintf(user, sizeof user, "u%d", i);
        other.user = user;
        if (login_guard_enter(guard, &other) != CA_OK)
            break;
        login_guard_leave(guard, &other, false);
        passed++;
    }
    cr_expect_lt(passed, LOGIN_SOURCE_PER_MINUTE, "the source's count");
    cr_expect_geq(passed, LOGIN_SOURCE_PER_MINUTE - LOGIN_USER_PER_MINUTE - 2);
    login_guard_free(guard);
    LEAK_CHECK();
}

/* Whoever has one address of a /64 has all of them. */
Test(login_guard, A7_addresses_of_one_network_are_one_source)
{
    struct login_guard *guard = login_guard_new();
    struct login_attempt attempt = right;
    char user[16], source[64];
    for (int i = 0; i < LOGIN_SOURCE_PER_MINUTE; i++) {
        snprintf(user, sizeof user, "u%d", i);
        snprintf(source, sizeof source, "2001:db8:0:1:%x::%x", i + 1, i);
        attempt.user = user;
        attempt.source = source;
        cr_assert_eq(login_guard_enter(guard, &attempt), CA_OK);
        login_guard_leave(guard, &attempt, false);
    }
    attempt.user = "another";
    attempt.source = "2001:db8:0:1:ffff::1";
    cr_expect_eq(login_guard_enter(guard, &attempt), CA_LIMIT);
    attempt.source = "2001:db8:0:2::1";
    cr_expect_eq(login_guard_enter(guard, &attempt), CA_OK, "the next network");
    login_guard_leave_untried(guard, &attempt);
    login_guard_free(guard);
    LEAK_CHECK();
}

Test(login_guard, right_passwords_are_not_counted)
{
    struct login_guard *guard = login_guard_new();
    for (int i = 0; i < 5 * LOGIN_SOURCE_PER_MINUTE; i++) {
        cr_assert_eq(login_guard_enter(guard, &right), CA_OK);
        login_guard_leave(guard, &right, true);
    }
    login_guard_free(guard);
}

/* The third of three waits for a turn, and gets one when the first leaves. */
static void *
third(void *arg)
{
    struct login_guard *guard = arg;
    enum ca_status status = login_guard_enter(guard, &right);
    if (status == CA_OK)
        login_guard_leave(guard, &right, true);
    return status == CA_OK ? guard : NULL;
}

Test(login_guard, A0_two_verifications_at_once_and_no_more)
{
    struct login_guard *guard = login_guard_new();
    pthread_t thread;
    void *result = NULL;
    struct timespec soon = { 0 };
    cr_assert_eq(login_guard_enter(guard, &right), CA_OK);
    cr_assert_eq(login_guard_enter(guard, &right), CA_OK);
    cr_assert_eq(pthread_create(&thread, NULL, third, guard), 0);
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_nsec += 200 * 1000000;
    soon.tv_sec += soon.tv_nsec / 1000000000;
    soon.tv_nsec %= 1000000000;
    cr_expect_eq(pthread_timedjoin_np(thread, &result, &soon), ETIMEDOUT);
    login_guard_leave(guard, &right, true);
    cr_assert_eq(pthread_join(thread, &result), 0);
    cr_expect_not_null(result);
    login_guard_leave(guard, &right, true);
    login_guard_free(guard);
}

/* What the directory refused waits like any other for a turn of ours. */
Test(login_guard, A0_a_try_that_comes_back_from_the_directory_takes_a_turn)
{
    struct login_guard *guard = login_guard_new();
    struct login_attempt back = right;
    back.is_elsewhere = true;
    static const char *const users[] = { "alice", "bob" };
    for (int i = 0; i < LOGIN_ELSEWHERE_MOST; i++) {
        back.user = users[i % 2];
        cr_assert_eq(login_guard_enter(guard, &back), CA_OK);
    }
    cr_expect_eq(login_guard_enter(guard, &back), CA_UNAVAILABLE);
    cr_assert_eq(login_guard_return(guard, &back), CA_OK);
    cr_expect_not(back.is_elsewhere);
    cr_expect_eq(login_guard_return(guard, &back), CA_OK, "once");
    login_guard_leave(guard, &back, true);
    cr_expect(login_guard_knows(guard, &back));
    back.is_elsewhere = true;
    login_guard_leave(guard, &back, false);
    login_guard_free(guard);
}
