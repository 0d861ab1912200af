/* Activation passwords at the log-in of Windows' enrolment: the tries of the protocol,
 * one device, and nothing that tells a name without one. */
#include "activation_rig.h"
#include "grant.h"
#include "leak.h"
#include "login.h"
#include "login_guard.h"
#include "login_rig.h"
#include "onetime.h"
#include "password.h"
#include <pthread.h>

#define OWN "k7dp-93mt-qxwe"
#define TYPED "Typed-One-12"
#define WRONG "Typed-One-13"

static char id[ACTIVATION_ID_SIZE];

static void
make(const char *ref, const char *profile, const char *password)
{
    rig_password(&(struct activate_wanted){ .user = "alice",
                                            .ref = ref,
                                            .profile = profile,
                                            .password = password,
                                            .lockout = -1 },
                 id);
}

/* Each try from a source of its own, so that the throttle of wrong ones by user is all
 * that is in the way; it is set aside, too. */
static void
forget_throttle(void)
{
    login_guard_free(house.service->logins);
    house.service->logins = login_guard_new();
}

static void
build(void)
{
    rig_build();
    house_set(&house, "protocols", "[\"scep\", \"wstep\"]");
    make(NULL, NULL, TYPED);
}

TestSuite(login_activation, .init = build, .fini = rig_leave, .timeout = 120);

static enum ca_status
ask(const char *protocol, const char *message, enum ca_credential_kind kind,
    const char *user, const char *secret)
{
    struct exchange exchange;
    house_exchange(&house, &exchange);
    enum ca_status status = login_by(&exchange, protocol, message, kind, user, secret);
    exchange_clear(&exchange);
    return status;
}

static enum ca_status
log_in(const char *user, const char *secret)
{
    return ask("discovery", "login", CA_CREDENTIAL_PASSWORD, user, secret);
}

/* A member of the password that was made last. */
static int64_t
member(const char *name)
{
    char sql[128];
    snprintf(sql, sizeof sql, "SELECT %s FROM activation WHERE id = '%s'", name, id);
    return house_integer(&house, sql);
}

static int64_t
certificates(void)
{
    return house_integer(&house, "SELECT COUNT(*) FROM certificate WHERE state = 1");
}

Test(login_activation, A3_a_token_of_an_activation_password_uses_it_up)
{
    char token[LOGIN_TEXT_SIZE], other[LOGIN_TEXT_SIZE];
    int64_t before = certificates();
    login_token_get(&house, TYPED, 600, token);
    cr_expect_eq(member("devices"), 1, "a log-in uses nothing up");
    cr_expect_eq(member("tries"), ACTIVATION_TRIES);
    cr_expect_eq(member("failures"), 0);
    login_token_get(&house, TYPED, 600, other);
    cr_expect_eq(ask("xcep", "GetPolicies", CA_CREDENTIAL_LOGIN_TOKEN, NULL, token),
                 CA_OK, "%s", status_message());
    cr_expect_eq(login_enroll(&house, CA_CREDENTIAL_LOGIN_TOKEN, token), CA_OK, "%s",
                 status_message());
    cr_expect_eq(member("state"), ACTIVATION_USED);
    cr_expect_eq(member("taken"), 0);
    cr_expect_eq(certificates(), before + 1);
    cr_expect_eq(login_enroll(&house, CA_CREDENTIAL_LOGIN_TOKEN, token),
                 CA_UNAUTHENTICATED);
    cr_expect_eq(login_enroll(&house, CA_CREDENTIAL_LOGIN_TOKEN, other),
                 CA_UNAUTHENTICATED, "another token of the same password");
    cr_expect_eq(log_in("alice", TYPED), CA_UNAUTHENTICATED);
    cr_expect_eq(certificates(), before + 1);
    rig_leave();
    LEAK_CHECK();
    build();
}

/* windows.md 1.4: sent with the policies' question and again with the enrolment. */
Test(login_activation, typed_twice_it_enrols_once)
{
    cr_expect_eq(ask("xcep", "GetPolicies", CA_CREDENTIAL_PASSWORD, "Alice", TYPED),
                 CA_OK, "%s", status_message());
    cr_expect_eq(login_enroll(&house, CA_CREDENTIAL_PASSWORD, TYPED), CA_OK, "%s",
                 status_message());
    cr_expect_eq(member("state"), ACTIVATION_USED);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM certificate WHERE state = "
                                       "1 AND challenge LIKE 'activation:%'"),
                 1, "the record says by what");
    cr_expect_eq(login_enroll(&house, CA_CREDENTIAL_PASSWORD, TYPED),
                 CA_UNAUTHENTICATED);
}

Test(login_activation, a_refused_enrolment_uses_nothing_up)
{
    house_set(&house, "keys", "[{\"algorithm\": \"ed25519\"}]");
    cr_expect_neq(login_enroll(&house, CA_CREDENTIAL_PASSWORD, TYPED), CA_OK);
    cr_expect_eq(member("devices"), 1);
    house_set(&house, "keys", "[{\"algorithm\": \"rsa\"}, {\"algorithm\": \"ec\"}]");
    cr_expect_eq(login_enroll(&house, CA_CREDENTIAL_PASSWORD, TYPED), CA_OK, "%s",
                 status_message());
}

Test(login_activation, A3_five_wrong_ones_lock_it)
{
    char token[LOGIN_TEXT_SIZE];
    login_token_get(&house, TYPED, 600, token);
    for (int i = 0; i < ACTIVATION_TRIES; i++)
        cr_expect_eq(log_in("alice", WRONG), CA_UNAUTHENTICATED);
    cr_expect_eq(member("tries"), 0);
    cr_expect_eq(log_in("alice", TYPED), CA_UNAUTHENTICATED, "remembered or not");
    cr_expect_eq(ask("xcep", "GetPolicies", CA_CREDENTIAL_LOGIN_TOKEN, NULL, token),
                 CA_UNAUTHENTICATED, "nor by a token of it");
    cr_expect_eq(login_enroll(&house, CA_CREDENTIAL_LOGIN_TOKEN, token),
                 CA_UNAUTHENTICATED);
}

Test(login_activation, A3_tries_are_shared_with_the_protocol)
{
    uint8_t sn[16];
    struct ca_activation_offer offer;
    for (int i = 0; i < 3; i++)
        cr_expect_eq(log_in("alice", WRONG), CA_UNAUTHENTICATED);
    cr_assert_eq(rig_hello("alice", sn, &offer), CA_OK);
    rig_enroll(sn, "body", "auth_failed", NULL);
    cr_expect_eq(member("tries"), 1);
    cr_expect_eq(log_in("alice", TYPED), CA_OK, "%s", status_message());
    cr_expect_eq(member("tries"), ACTIVATION_TRIES, "full again");
    cr_expect_eq(log_in("alice", WRONG), CA_UNAUTHENTICATED);
    cr_expect_eq(member("tries"), ACTIVATION_TRIES - 1);
    cr_expect_eq(log_in("alice", TYPED), CA_OK, "remembered");
    cr_expect_eq(member("tries"), ACTIVATION_TRIES, "full again all the same");
    house.service->config.activation.failures_per_name = 4;
    forget_throttle();
    for (int i = 0; i < 2; i++)
        log_in("alice", WRONG);
    make(NULL, NULL, TYPED);
    cr_expect_eq(log_in("alice", TYPED), CA_UNAUTHENTICATED,
                 "a day's failures of the name count across passwords");
    clock_set(clock_now() + ACTIVATION_FAILURE_SECONDS + 1);
    cr_expect_eq(log_in("alice", TYPED), CA_OK, "%s", status_message());
}

Test(login_activation, A3_what_has_ended_is_nothing)
{
    char token[LOGIN_TEXT_SIZE], sql[128];
    login_token_get(&house, TYPED, 600, token);
    clock_set(clock_now() + 2 * 86400 + 1);
    cr_expect_eq(log_in("alice", TYPED), CA_UNAUTHENTICATED, "expired");
    make(NULL, NULL, TYPED);
    login_token_get(&house, TYPED, 600, token);
    snprintf(sql, sizeof sql, "UPDATE activation SET state = 2 WHERE id = '%s'", id);
    house_run(&house, sql);
    cr_expect_eq(log_in("alice", TYPED), CA_UNAUTHENTICATED, "withdrawn");
    cr_expect_eq(login_enroll(&house, CA_CREDENTIAL_LOGIN_TOKEN, token),
                 CA_UNAUTHENTICATED);
    make(NULL, NULL, TYPED);
    house_run(&house, "UPDATE users SET state = 1");
    cr_expect_eq(log_in("alice", TYPED), CA_UNAUTHENTICATED, "a disabled user's");
}

Test(login_activation, soft_lockout_waits)
{
    rig_password(&(struct activate_wanted){ .user = "alice",
                                            .password = TYPED,
                                            .lockout = ACTIVATION_SOFT },
                 id);
    int64_t now = clock_now();
    clock_set(now);
    cr_expect_eq(log_in("alice", WRONG), CA_UNAUTHENTICATED);
    cr_expect_eq(log_in("alice", TYPED), CA_UNAUTHENTICATED, "too early");
    clock_set(now + 3);
    cr_expect_eq(log_in("alice", TYPED), CA_OK, "%s", status_message());
    cr_expect_eq(member("next_try"), 0);
}

/* The self-service page sets such passwords: it takes none. */
Test(login_activation, A2_it_serves_at_enrolments_of_windows_alone)
{
    cr_expect_eq(ask("self", "login", CA_CREDENTIAL_PASSWORD, "alice", TYPED),
                 CA_UNAUTHENTICATED);
    cr_expect_eq(
        ask("wstep", "QueryTokenStatus", CA_CREDENTIAL_PASSWORD, "alice", TYPED),
        CA_UNAUTHENTICATED);
    cr_expect_eq(member("tries"), ACTIVATION_TRIES, "not even tried");
    cr_expect_eq(log_in("alice", TYPED), CA_OK);
    cr_expect_eq(ask("self", "login", CA_CREDENTIAL_PASSWORD, "alice", TYPED),
                 CA_UNAUTHENTICATED, "nor is it remembered there");
    house_user(&house, "bob");
    cr_expect_eq(log_in("bob", TYPED), CA_UNAUTHENTICATED, "another user's");
}

Test(login_activation, profiles_decide_which_passwords_serve)
{
    house_profile(&house, PROFILE_ACTIVATION,
                  "{\"name\": \"phones\", \"settings\": {\"certificate\": "
                  "\"activation\", \"protocols\": [\"password\"]}}");
    house_profile(&house, PROFILE_ACTIVATION,
                  "{\"name\": \"computers\", \"settings\": {\"certificate\": "
                  "\"activation\", \"protocols\": [\"windows\"]}}");
    make("phone", "phones", "Typed-Phone-1");
    cr_expect_eq(log_in("alice", "Typed-Phone-1"), CA_UNAUTHENTICATED);
    cr_expect_eq(log_in("alice", TYPED), CA_OK, "%s", status_message());
    clock_set(clock_now() + 1);
    make("pc", "computers", "Typed-Computer-1");
    cr_expect_eq(log_in("alice", "Typed-Computer-1"), CA_OK, "%s", status_message());
    cr_expect_eq(log_in("alice", TYPED), CA_UNAUTHENTICATED, "the newest alone");
    cr_expect_eq(member("tries"), ACTIVATION_TRIES - 1);
}

static enum ca_status
password_write(struct store_tx *tx, void *verifier)
{
    return password_save(tx, "alice", verifier);
}

Test(login_activation, the_users_own_password_leaves_it_alone)
{
    char verifier[PASSWORD_VERIFIER_SIZE];
    cr_assert_eq(password_derive(OWN, strlen(OWN), verifier), CA_OK);
    house_write(&house, password_write, verifier);
    cr_expect_eq(log_in("alice", OWN), CA_OK);
    cr_expect_eq(member("tries"), ACTIVATION_TRIES);
    cr_expect_eq(member("version"), 1, "not looked at");
    cr_expect_eq(log_in("alice", TYPED), CA_OK);
    cr_expect_eq(house_integer(&house, "SELECT tries FROM user_password"), 0,
                 "right, if not the user's own");
    cr_expect_eq(log_in("alice", WRONG), CA_UNAUTHENTICATED);
    cr_expect_eq(house_integer(&house, "SELECT tries FROM user_password"), 1);
    house_run(&house, "UPDATE user_password SET locked_until = 9999999999");
    cr_expect_eq(log_in("alice", OWN), CA_UNAUTHENTICATED, "locked");
    cr_expect_eq(log_in("alice", TYPED), CA_OK, "which has its own tries");
}

struct racer {
    pthread_t thread;
    char token[LOGIN_TEXT_SIZE];
    enum ca_status status;
};

static void *
race(void *arg)
{
    struct racer *racer = arg;
    racer->status = login_enroll(&house, CA_CREDENTIAL_LOGIN_TOKEN, racer->token);
    return NULL;
}

Test(login_activation, S4_tokens_of_one_password_at_once_give_one_certificate)
{
    struct racer racers[4];
    int64_t before = certificates();
    int enrolled = 0;
    for (size_t i = 0; i < 4; i++)
        login_token_get(&house, TYPED, 600, racers[i].token);
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    for (size_t i = 0; i < 4; i++) {
        pthread_join(racers[i].thread, NULL);
        enrolled += racers[i].status == CA_OK;
    }
    cr_expect_eq(enrolled, 1);
    cr_expect_eq(certificates(), before + 1);
    cr_expect_eq(member("state"), ACTIVATION_USED);
}

/* The same questions to store and token, and the same stretching, whoever is asked for:
 * what differs is the try of the user's own password, which is counted. */
Test(login_activation, A3_unknown_names_cost_what_known_ones_cost)
{
    static const char *const names[] = { "alice", "nobody", "bob", "no@example.com" };
    struct vault *vault = atomic_load(&house.service->vault);
    struct store_figures before, after;
    house_user(&house, "bob");
    for (size_t i = 0; i < 4; i++) {
        int64_t operations = vault_operations(vault);
        store_figures(house.service->store, &before);
        cr_expect_eq(log_in(names[i], WRONG), CA_UNAUTHENTICATED);
        store_figures(house.service->store, &after);
        cr_expect_eq(vault_operations(vault) - operations, 1, "%s", names[i]);
        cr_expect_eq(after.writes - before.writes, 2, "%s: %lld", names[i],
                     (long long)(after.writes - before.writes));
    }
}

Test(login_activation, a_damaged_row_is_as_good_as_none)
{
    house_run(&house, "UPDATE activation_verifier SET kid = 'nobodys'");
    cr_expect_eq(log_in("alice", TYPED), CA_UNAUTHENTICATED);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM audit_entry WHERE "
                                       "action = 'activation.damaged'"),
                 1);
}

Test(login_activation, what_is_no_such_password_costs_no_try)
{
    cr_expect_eq(log_in("alice", "short"), CA_UNAUTHENTICATED);
    cr_expect_eq(log_in("alice", "Caf\xc3\xa9-au-lait"), CA_UNAUTHENTICATED);
    cr_expect_eq(member("tries"), ACTIVATION_TRIES);
    cr_expect_eq(log_in("alice", "  " TYPED " "), CA_OK, "outer spaces are nothing");
}
