/* People who log in: passwords throttled and remembered, tokens for one enrolment, and
 * what the identity may ask for, before the whole core. */
#include "auth.h"
#include "auto.h"
#include "clock.h"
#include "grant.h"
#include "house_rig.h"
#include "leak.h"
#include "login.h"
#include "login_guard.h"
#include "login_rig.h"
#include "onetime.h"
#include "password.h"
#include "refusal.h"
#include <criterion/criterion.h>
#include <time.h>

#define SECRET "k7dp-93mt-qxwe"
#define MINUTE INT64_C(60)

/* ---- The table ---- */

Test(login, A1_only_these_messages_take_a_password_or_a_token)
{
    static const char *const protocols[] = { "scep", "discovery", "xcep", "wstep",
                                             "api",  "syncml",    "self" };
    static const char *const messages[] = { "login", "GetPolicies",      "Issue",
                                            "Renew", "QueryTokenStatus", "19" };
    static const struct {
        const char *protocol, *message;
        enum ca_credential_kind kind;
        enum auth_rule rule;
    } allowed[] = {
        { "discovery", "login", CA_CREDENTIAL_PASSWORD, AUTH_PERSON },
        { "self", "login", CA_CREDENTIAL_PASSWORD, AUTH_PERSON },
        { "xcep", "GetPolicies", CA_CREDENTIAL_PASSWORD, AUTH_PERSON },
        { "xcep", "GetPolicies", CA_CREDENTIAL_LOGIN_TOKEN, AUTH_PERSON },
        { "wstep", "Issue", CA_CREDENTIAL_PASSWORD, AUTH_ENROLL },
        { "wstep", "Issue", CA_CREDENTIAL_LOGIN_TOKEN, AUTH_ENROLL },
        { "wstep", "QueryTokenStatus", CA_CREDENTIAL_PASSWORD, AUTH_PERSON },
    };
    for (size_t i = 0; i < sizeof protocols / sizeof protocols[0]; i++) {
        for (size_t j = 0; j < sizeof messages / sizeof messages[0]; j++) {
            for (int kind = CA_CREDENTIAL_PASSWORD; kind <= CA_CREDENTIAL_LOGIN_TOKEN;
                 kind++) {
                struct ca_credential credential = {
                    .kind = (enum ca_credential_kind)kind,
                    .protocol = protocols[i],
                    .message = messages[j],
                    .endpoint = "",
                };
                enum auth_rule rule = AUTH_REFUSED;
                for (size_t k = 0; k < sizeof allowed / sizeof allowed[0]; k++) {
                    if (strcmp(allowed[k].protocol, protocols[i]) == 0 &&
                        strcmp(allowed[k].message, messages[j]) == 0 &&
                        (int)allowed[k].kind == kind)
                        rule = allowed[k].rule;
                }
                cr_expect_eq(auth_rule_of(&credential), rule, "%s %s %d", protocols[i],
                             messages[j], kind);
            }
        }
    }
}

/* ---- With a whole house ---- */

static enum ca_status
password_write(struct store_tx *tx, void *verifier)
{
    return password_save(tx, "alice", verifier);
}

static void
build(void)
{
    char verifier[PASSWORD_VERIFIER_SIZE];
    house_build(&house);
    house_set(&house, "protocols", "[\"scep\", \"wstep\"]");
    cr_assert_eq(password_derive(SECRET, strlen(SECRET), verifier), CA_OK);
    house_write(&house, password_write, verifier);
}

TestSuite(login_house, .init = build, .fini = house_end);

static enum ca_status
log_in(const char *user, const char *secret)
{
    struct exchange exchange;
    house_exchange(&house, &exchange);
    enum ca_status status =
        login_by(&exchange, "discovery", "login", CA_CREDENTIAL_PASSWORD, user, secret);
    cr_expect_eq(exchange.identity.kind,
                 status == CA_OK ? IDENTITY_USER : IDENTITY_NONE);
    if (status == CA_OK)
        cr_expect_str_eq(exchange.identity.user, "alice");
    exchange_clear(&exchange);
    return status;
}

Test(login_house, people_log_in_by_what_they_type)
{
    static const char *const names[] = { "alice",
                                         "Alice",
                                         " ALICE ",
                                         "EXAMPLE\\alice",
                                         "alice@example.com",
                                         "Alice@Example.COM" };
    house_run(&house, "UPDATE users SET email = 'Alice@Example.com'");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        cr_expect_eq(log_in(names[i], SECRET), CA_OK, "'%s': %s", names[i],
                     status_message());
    house_user(&house, "bob");
    house_run(&house, "UPDATE users SET email = 'Alice@Example.com'");
    cr_expect_eq(log_in("alice@example.com", SECRET), CA_UNAUTHENTICATED,
                 "a mailbox of two is nobody's");
    house_end();
    LEAK_CHECK();
    build();
}

Test(login_house, A0_unknown_wrong_missing_and_locked_are_refused_alike)
{
    house_user(&house, "carol"); /* has none */
    cr_expect_eq(log_in("alice", "k7dp-93mt-qxwf"), CA_UNAUTHENTICATED);
    cr_expect_eq(log_in("alice", ""), CA_UNAUTHENTICATED);
    cr_expect_eq(log_in("alice", NULL), CA_UNAUTHENTICATED);
    cr_expect_eq(log_in(NULL, SECRET), CA_UNAUTHENTICATED);
    cr_expect_eq(log_in("carol", SECRET), CA_UNAUTHENTICATED);
    cr_expect_eq(log_in("nobody", SECRET), CA_UNAUTHENTICATED);
    cr_expect_eq(log_in("", SECRET), CA_UNAUTHENTICATED);
    cr_expect_eq(log_in("a' OR '1'='1", SECRET), CA_UNAUTHENTICATED);
    cr_expect_eq(house_integer(&house, "SELECT tries FROM user_password"), 1);
    for (int i = 1; i < PASSWORD_TRIES; i++)
        cr_expect_eq(log_in("alice", "k7dp-93mt-qxwf"), CA_UNAUTHENTICATED);
    cr_expect_gt(house_integer(&house, "SELECT locked_until FROM user_password"), 0);
    cr_expect_eq(log_in("alice", SECRET), CA_UNAUTHENTICATED, "locked");
    cr_expect_eq(house_integer(&house, "SELECT tries FROM user_password"),
                 PASSWORD_TRIES, "a try while locked is none");
    clock_set(clock_now() + PASSWORD_LOCK_SECONDS + 1);
    cr_expect_eq(log_in("alice", SECRET), CA_OK, "%s", status_message());
    cr_expect_eq(house_integer(&house, "SELECT tries FROM user_password"), 0);
}

/* A right one is a right one, whether it was looked at or remembered. */
Test(login_house, A0_a_remembered_password_starts_the_count_anew)
{
    cr_assert_eq(log_in("alice", SECRET), CA_OK);
    for (int i = 0; i < PASSWORD_TRIES - 1; i++)
        cr_expect_eq(log_in("alice", "k7dp-93mt-qxwf"), CA_UNAUTHENTICATED);
    cr_expect_eq(house_integer(&house, "SELECT tries FROM user_password"),
                 PASSWORD_TRIES - 1);
    cr_expect_eq(log_in("alice", SECRET), CA_OK, "remembered");
    cr_expect_eq(house_integer(&house, "SELECT tries FROM user_password"), 0);
    cr_expect_eq(log_in("alice", "k7dp-93mt-qxwf"), CA_UNAUTHENTICATED);
    cr_expect_eq(log_in("alice", SECRET), CA_OK, "not locked by wrong ones of before");
}

/* The memory does not outlive the lock, the account or the password. */
Test(login_house, A0_what_is_remembered_does_not_pass_a_lock_or_a_disabled_user)
{
    cr_assert_eq(log_in("alice", SECRET), CA_OK);
    for (int i = 0; i < PASSWORD_TRIES; i++)
        log_in("alice", "k7dp-93mt-qxwf");
    cr_expect_eq(log_in("alice", SECRET), CA_UNAUTHENTICATED);
    house_run(&house, "UPDATE user_password SET tries = 0, locked_until = 0");
    cr_expect_eq(log_in("alice", SECRET), CA_OK);
    house_run(&house, "UPDATE users SET state = 1");
    cr_expect_eq(log_in("alice", SECRET), CA_FORBIDDEN);
}

Test(login_house, A0_a_user_is_throttled_before_any_work)
{
    char name[16];
    int64_t minute = 0;
    int limited = 0;
    do { /* again by another name, should the throttle's minute end meanwhile */
        limited = 0;
        minute = clock_ticks() / (1000 * MINUTE);
        snprintf(name, sizeof name, "nobody%u", (unsigned)minute % 1000);
        for (int i = 0; i < LOGIN_USER_PER_MINUTE + 3; i++)
            limited += log_in(name, SECRET) == CA_LIMIT;
    } while (clock_ticks() / (1000 * MINUTE) != minute);
    cr_expect_geq(limited, 2);
    cr_assert_eq(refusals_flush(house.service->refusals, house.service->store), CA_OK);
    cr_expect_gt(house_integer(&house, "SELECT COUNT(*) FROM audit_refusal WHERE "
                                       "protocol = 'discovery'"),
                 0);
}

static enum ca_status
ask_policies(const char *token)
{
    struct exchange exchange;
    house_exchange(&house, &exchange);
    enum ca_status status = login_by(&exchange, "xcep", "GetPolicies",
                                     CA_CREDENTIAL_LOGIN_TOKEN, NULL, token);
    exchange_clear(&exchange);
    return status;
}

Test(login_house, A3_a_token_asks_often_and_enrols_once)
{
    char token[LOGIN_TEXT_SIZE];
    login_token_get(&house, SECRET, 600, token);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM state WHERE instr("
                                       "CAST(value AS TEXT), 'alice') > 0"),
                 1);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(ask_policies(token), CA_OK, "%s", status_message());
    cr_expect_eq(login_enroll(&house, CA_CREDENTIAL_LOGIN_TOKEN, token), CA_OK, "%s",
                 status_message());
    cr_expect_eq(login_enroll(&house, CA_CREDENTIAL_LOGIN_TOKEN, token),
                 CA_UNAUTHENTICATED);
    cr_expect_eq(ask_policies(token), CA_UNAUTHENTICATED);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM state WHERE space LIKE "
                                       "'core/login%'"),
                 0, "finished");
    house_end();
    LEAK_CHECK();
    build();
}

Test(login_house, a_refused_enrolment_uses_no_token_up)
{
    char token[LOGIN_TEXT_SIZE];
    login_token_get(&house, SECRET, 600, token);
    house_set(&house, "keys", "[{\"algorithm\": \"ed25519\"}]");
    cr_expect_neq(login_enroll(&house, CA_CREDENTIAL_LOGIN_TOKEN, token), CA_OK);
    house_set(&house, "keys", "[{\"algorithm\": \"rsa\"}, {\"algorithm\": \"ec\"}]");
    cr_expect_eq(login_enroll(&house, CA_CREDENTIAL_LOGIN_TOKEN, token), CA_OK, "%s",
                 status_message());
}

Test(login_house, A3_tokens_that_are_not_ours_are_refused_alike)
{
    char token[LOGIN_TEXT_SIZE], changed[LOGIN_TEXT_SIZE + 1];
    login_token_get(&house, SECRET, 60, token);
    for (size_t i = 0; i < LOGIN_TEXT_SIZE - 1; i += 7) {
        snprintf(changed, sizeof changed, "%s", token);
        changed[i] = changed[i] == 'a' ? 'b' : 'a';
        cr_expect_eq(ask_policies(changed), CA_UNAUTHENTICATED, "%zu", i);
    }
    snprintf(changed, sizeof changed, "%.*s", LOGIN_TEXT_SIZE - 2, token);
    cr_expect_eq(ask_policies(changed), CA_UNAUTHENTICATED);
    snprintf(changed, sizeof changed, "%sA", token);
    cr_expect_eq(ask_policies(changed), CA_UNAUTHENTICATED);
    cr_expect_eq(ask_policies(""), CA_UNAUTHENTICATED);
    cr_expect_eq(ask_policies(NULL), CA_UNAUTHENTICATED);
    cr_expect_eq(ask_policies(token), CA_OK);
    clock_set(clock_now() + 61);
    cr_expect_eq(ask_policies(token), CA_UNAUTHENTICATED, "expired");
}

Test(login_house, A2_a_token_is_not_for_a_later_user_of_its_name)
{
    char token[LOGIN_TEXT_SIZE];
    login_token_get(&house, SECRET, 600, token);
    cr_expect_eq(ask_policies(token), CA_OK, "%s", status_message());
    house_run(&house, "UPDATE users SET created = created + 1 WHERE name = 'alice'");
    cr_expect_eq(ask_policies(token), CA_UNAUTHENTICATED, "made anew");
    cr_expect_eq(login_enroll(&house, CA_CREDENTIAL_LOGIN_TOKEN, token),
                 CA_UNAUTHENTICATED);
    house_run(&house, "UPDATE users SET created = created - 1 WHERE name = 'alice'");
    cr_expect_eq(login_enroll(&house, CA_CREDENTIAL_LOGIN_TOKEN, token), CA_OK, "%s",
                 status_message());
}

Test(login_house, A2_a_token_begets_no_token_and_nobody_gets_one)
{
    char token[LOGIN_TEXT_SIZE];
    const char *text = NULL;
    struct exchange exchange;
    login_token_get(&house, SECRET, 600, token);
    house_exchange(&house, &exchange);
    cr_expect_eq(ca_login_token_issue(&exchange.request, 600, &text),
                 CA_UNAUTHENTICATED);
    cr_assert_eq(login_by(&exchange, "xcep", "GetPolicies", CA_CREDENTIAL_LOGIN_TOKEN,
                          NULL, token),
                 CA_OK);
    cr_expect_eq(ca_login_token_issue(&exchange.request, 600, &text),
                 CA_UNAUTHENTICATED);
    cr_assert_eq(login_by(&exchange, "discovery", "login", CA_CREDENTIAL_PASSWORD,
                          "alice", SECRET),
                 CA_OK);
    cr_expect_eq(ca_login_token_issue(&exchange.request, LOGIN_SECONDS_MAX + 1, &text),
                 CA_LIMIT);
    cr_expect_null(text);
    exchange_clear(&exchange);
}

Test(login_house, A1_a_person_enrols_by_assigned_profiles_of_the_protocol_alone)
{
    cr_expect_eq(login_enroll(&house, CA_CREDENTIAL_PASSWORD, SECRET), CA_OK, "%s",
                 status_message());
    house_set(&house, "protocols", "[\"scep\"]");
    cr_expect_eq(login_enroll(&house, CA_CREDENTIAL_PASSWORD, SECRET), CA_FORBIDDEN);
}

struct seen {
    char names[256];
    size_t count, own;
    enum ca_status answer;
};

static enum ca_status
see(void *arg, const struct ca_profile *profile)
{
    struct seen *seen = arg;
    size_t length = strlen(seen->names);
    snprintf(seen->names + length, sizeof seen->names - length, "%s ", profile->name);
    seen->count++;
    seen->own += profile->is_own;
    cr_expect_gt(profile->changed, 0);
    cr_expect_not_null(json_object_get(profile->settings, "validity"));
    return seen->answer;
}

Test(login_house, profiles_are_the_users_own_first_then_by_name)
{
    static const char body[] = "{\"name\": \"%s\", \"settings\": {\"issuer\": "
                               "\"issuing\", \"protocols\": [\"%s\"]}}";
    static const char *const names[] = { "zoo", "ant", "scep-only" };
    for (size_t i = 0; i < 3; i++) {
        char text[256], sql[256];
        snprintf(text, sizeof text, body, names[i], i == 2 ? "scep" : "wstep");
        house_profile(&house, PROFILE_CERTIFICATE, text);
        snprintf(sql, sizeof sql,
                 "INSERT INTO assignment (to_group, target, kind, profile, created) "
                 "VALUES (0, 'alice', 'certificate', '%s', 1)",
                 names[i]);
        house_run(&house, sql);
    }
    struct exchange exchange;
    struct seen seen = { 0 };
    house_exchange(&house, &exchange);
    cr_expect_eq(ca_profiles(&exchange.request, "wstep", see, &seen),
                 CA_UNAUTHENTICATED);
    cr_assert_eq(login_by(&exchange, "xcep", "GetPolicies", CA_CREDENTIAL_PASSWORD,
                          "alice", SECRET),
                 CA_OK);
    cr_expect_eq(ca_profiles(&exchange.request, "wstep", see, &seen), CA_OK, "%s",
                 status_message());
    cr_expect_str_eq(seen.names, "ant zoo ");
    cr_expect_eq(seen.own, 1);
    seen = (struct seen){ .answer = CA_CONFLICT };
    cr_expect_eq(ca_profiles(&exchange.request, "wstep", see, &seen), CA_CONFLICT);
    cr_expect_eq(seen.count, 1, "a visit ends it");
    struct ca_organisation organisation;
    cr_assert_eq(ca_organisation(&exchange.request, &organisation), CA_OK);
    cr_expect_gt(strlen(organisation.name), 0);
    cr_expect_eq(strncmp(organisation.base_url, "https://", 8), 0);
    cr_expect_gt(ca_now(&exchange.request), 0);
    exchange_clear(&exchange);
    house_end();
    LEAK_CHECK();
    build();
}

/* ---- A token whose enrolment fails half way ---- */

struct step {
    enum ca_status (*run)(struct store_tx *tx, const char *id, const char *serial);
    const char *id, *serial;
    enum ca_status status;
};

static enum ca_status
step_write(struct store_tx *tx, void *arg)
{
    struct step *step = arg;
    step->status = step->run(tx, step->id, step->serial);
    return CA_OK;
}

static enum ca_status
step(enum ca_status (*run)(struct store_tx *, const char *, const char *),
     const char *id, const char *serial)
{
    struct step one = { run, id, serial, CA_INTERNAL };
    house_write(&house, step_write, &one);
    return one.status;
}

static enum ca_status
claim(struct store_tx *tx, const char *id, const char *serial)
{
    static const uint8_t none[32];
    return onetime_claim(tx, id, serial, none, none);
}

Test(login_house, S4_a_token_is_claimed_once_and_open_again_when_released)
{
    char token[LOGIN_TEXT_SIZE], id[LOGIN_ID_SIZE];
    login_token_get(&house, SECRET, 600, token);
    snprintf(id, sizeof id, "login:%.16s", token);
    cr_expect(login_is_id(id));
    cr_expect_not(login_is_id("0123456789abcdef"));
    cr_expect_eq(step(claim, id, "01"), CA_OK);
    cr_expect_eq(step(claim, id, "02"), CA_CONFLICT);
    cr_expect_eq(ask_policies(token), CA_UNAUTHENTICATED);
    cr_expect_eq(step(onetime_release, id, "02"), CA_CONFLICT);
    cr_expect_eq(step(onetime_finish, id, "02"), CA_CONFLICT);
    cr_expect_eq(step(onetime_finish, id, "01"), CA_OK);
    cr_expect_eq(step(onetime_finish, id, "01"), CA_CONFLICT);
    cr_expect_eq(ask_policies(token), CA_UNAUTHENTICATED);
    cr_expect_eq(step(claim, id, "01"), CA_CONFLICT);
}

Test(login_house, a_released_token_is_open_again_within_its_time)
{
    char token[LOGIN_TEXT_SIZE], id[LOGIN_ID_SIZE];
    login_token_get(&house, SECRET, 600, token);
    snprintf(id, sizeof id, "login:%.16s", token);
    cr_expect_eq(step(claim, id, "01"), CA_OK);
    cr_expect_eq(step(onetime_release, id, "01"), CA_OK);
    cr_expect_eq(ask_policies(token), CA_OK);
    cr_expect_eq(step(claim, id, "02"), CA_OK);
    clock_set(clock_now() + 601);
    cr_expect_eq(step(onetime_release, id, "02"), CA_OK);
    cr_expect_eq(ask_policies(token), CA_UNAUTHENTICATED);
}
