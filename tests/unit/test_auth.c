/* Who asks: the one table, credentials of each kind, peers and administrators. */
#include "admin.h"
#include "auth.h"
#include "auto.h"
#include "clock.h"
#include "grant.h"
#include "house_rig.h"
#include "leak.h"
#include "refusal.h"
#include <criterion/criterion.h>

#define DAY INT64_C(86400)

/* ---- The table: nothing to open ---- */

static const struct {
    int type;
    enum ca_credential_kind kind;
    enum auth_rule rule;
    bool retry, poll;
} allowed[] = {
    { 17, CA_CREDENTIAL_CERTIFICATE, AUTH_RENEWAL, true, false },
    { 19, CA_CREDENTIAL_CHALLENGE, AUTH_CHALLENGE, false, false },
    { 19, CA_CREDENTIAL_CERTIFICATE, AUTH_RENEWAL, true, false },
    { 19, CA_CREDENTIAL_KEY, AUTH_REFUSED, true, false },
    { 20, CA_CREDENTIAL_CERTIFICATE, AUTH_REFUSED, false, true },
    { 20, CA_CREDENTIAL_KEY, AUTH_REFUSED, false, true },
    { 21, CA_CREDENTIAL_CERTIFICATE, AUTH_DEVICE, false, false },
    { 22, CA_CREDENTIAL_CERTIFICATE, AUTH_DEVICE, false, false },
};

Test(auth, A1_every_message_type_with_every_credential_is_what_the_table_says)
{
    for (int type = 0; type <= 255; type++) {
        for (int kind = 0; kind < CA_CREDENTIAL_KIND_COUNT; kind++) {
            char message[8];
            snprintf(message, sizeof message, "%d", type);
            struct ca_credential credential = { .kind = (enum ca_credential_kind)kind,
                                                .protocol = "scep",
                                                .message = message,
                                                .endpoint = "default" };
            enum auth_rule rule = AUTH_REFUSED;
            bool retry = false, poll = false;
            for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++) {
                if (allowed[i].type == type && (int)allowed[i].kind == kind) {
                    rule = allowed[i].rule;
                    retry = allowed[i].retry;
                    poll = allowed[i].poll;
                }
            }
            cr_expect_eq(auth_rule_of(&credential), rule, "type %d, kind %d", type,
                         kind);
            cr_expect_eq(auth_may_poll(&credential, true), retry, "type %d, kind %d",
                         type, kind);
            cr_expect_eq(auth_may_poll(&credential, false), poll, "type %d, kind %d",
                         type, kind);
        }
    }
}

/* [MS-WSTEP], [MS-XCEP]: what else is refused. */
static const struct {
    const char *protocol, *message;
    enum ca_credential_kind kind;
    enum auth_rule rule;
    bool retry, poll, own;
} windows[] = {
    { "xcep", "GetPolicies", CA_CREDENTIAL_PASSWORD, AUTH_PERSON, false, false, false },
    { "xcep", "GetPolicies", CA_CREDENTIAL_LOGIN_TOKEN, AUTH_PERSON, false, false,
      false },
    { "xcep", "GetPolicies", CA_CREDENTIAL_CERTIFICATE, AUTH_DEVICE, false, false,
      false },
    { "wstep", "Issue", CA_CREDENTIAL_PASSWORD, AUTH_ENROLL, true, false, false },
    { "wstep", "Issue", CA_CREDENTIAL_LOGIN_TOKEN, AUTH_ENROLL, true, false, false },
    { "wstep", "Issue", CA_CREDENTIAL_CERTIFICATE, AUTH_ENROLL, true, false, false },
    { "wstep", "Renew", CA_CREDENTIAL_CERTIFICATE, AUTH_RENEWAL, true, false, false },
    { "wstep", "QueryTokenStatus", CA_CREDENTIAL_PASSWORD, AUTH_PERSON, false, true,
      true },
    { "wstep", "QueryTokenStatus", CA_CREDENTIAL_CERTIFICATE, AUTH_DEVICE, false, true,
      true },
};

Test(auth, A1_every_message_of_Windows_with_every_credential_is_what_the_table_says)
{
    static const char *const messages[] = { "GetPolicies",      "Issue", "Renew",
                                            "QueryTokenStatus", "KET",   "Recovery" };
    static const char *const protocols[] = { "xcep", "wstep", "WSTEP", "discovery" };
    for (size_t i = 0; i < sizeof messages / sizeof messages[0] * sizeof protocols /
                               sizeof protocols[0] * CA_CREDENTIAL_KIND_COUNT;
         i++) {
        size_t kind = i % CA_CREDENTIAL_KIND_COUNT, rest = i / CA_CREDENTIAL_KIND_COUNT;
        struct ca_credential credential = {
            .kind = (enum ca_credential_kind)kind,
            .protocol = protocols[rest % (sizeof protocols / sizeof protocols[0])],
            .message = messages[rest / (sizeof protocols / sizeof protocols[0])],
            .endpoint = "",
        };
        enum auth_rule rule = AUTH_REFUSED;
        bool retry = false, poll = false, own = false;
        for (size_t k = 0; k < sizeof windows / sizeof windows[0]; k++) {
            if (windows[k].kind != credential.kind ||
                strcmp(windows[k].protocol, credential.protocol) != 0 ||
                strcmp(windows[k].message, credential.message) != 0)
                continue;
            rule = windows[k].rule;
            retry = windows[k].retry;
            poll = windows[k].poll;
            own = windows[k].own;
        }
        cr_expect_eq(auth_rule_of(&credential), rule, "%s %s, kind %zu",
                     credential.protocol, credential.message, kind);
        cr_expect_eq(auth_may_poll(&credential, true), retry, "%s %s, kind %zu",
                     credential.protocol, credential.message, kind);
        cr_expect_eq(auth_may_poll(&credential, false), poll, "%s %s, kind %zu",
                     credential.protocol, credential.message, kind);
        cr_expect_eq(auth_polls_own(&credential), own, "%s %s, kind %zu",
                     credential.protocol, credential.message, kind);
    }
}

Test(auth, A1_words_that_only_resemble_a_message_are_refused)
{
    static const char *const messages[] = { "019", "+19", "19 ",  " 19",  "",
                                            "1",   "190", "0x13", "19\n", NULL };
    static const char *const protocols[] = {
        "SCEP", "scep ", "", "wstep", "est", NULL
    };
    struct ca_credential credential = { .kind = CA_CREDENTIAL_CHALLENGE,
                                        .protocol = "scep",
                                        .endpoint = "default" };
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        credential.message = messages[i];
        cr_expect_eq(auth_rule_of(&credential), AUTH_REFUSED, "'%s'",
                     messages[i] ? messages[i] : "(null)");
    }
    credential.message = "19";
    for (size_t i = 0; i < sizeof protocols / sizeof protocols[0]; i++) {
        credential.protocol = protocols[i];
        cr_expect_eq(auth_rule_of(&credential), AUTH_REFUSED, "'%s'",
                     protocols[i] ? protocols[i] : "(null)");
    }
    credential.protocol = "scep";
    credential.endpoint = NULL;
    cr_expect_eq(auth_rule_of(&credential), AUTH_REFUSED);
}

/* ---- With a whole house ---- */

TestSuite(auth_house, .init = house_begin, .fini = house_end);

static enum ca_status
by_challenge(struct exchange *exchange, const char *endpoint, const char *secret,
             size_t size)
{
    struct ca_credential credential = { .kind = CA_CREDENTIAL_CHALLENGE,
                                        .protocol = "scep",
                                        .message = "19",
                                        .endpoint = endpoint,
                                        .secret = secret,
                                        .secret_size = size };
    return ca_authenticate(&exchange->request, &credential);
}

static enum ca_status
try_challenge(const char *endpoint, const char *secret, size_t size)
{
    struct exchange exchange;
    house_exchange(&house, &exchange);
    enum ca_status status = by_challenge(&exchange, endpoint, secret, size);
    if (status != CA_OK)
        cr_expect_eq(exchange.identity.kind, IDENTITY_NONE);
    exchange_clear(&exchange);
    return status;
}

Test(auth_house, challenge_gives_the_identity_it_is_bound_to)
{
    struct exchange exchange;
    char text[CHALLENGE_TEXT_SIZE];
    house_challenge(&house, NULL, text);
    house_exchange(&house, &exchange);
    cr_assert_eq(by_challenge(&exchange, "default", text, strlen(text)), CA_OK, "%s",
                 status_message());
    cr_expect_eq(exchange.identity.kind, IDENTITY_CHALLENGE);
    cr_expect_str_eq(exchange.identity.user, "alice");
    cr_expect_str_eq(exchange.identity.endpoint, "scep/default");
    cr_expect_str_eq(exchange.identity.certificate_profile, "default");
    cr_expect_str_eq(exchange.identity.protocol, "scep");
    cr_expect_null(exchange.identity.device);
    cr_expect_str_eq(exchange_actor(&exchange), "user:alice");
    exchange_clear(&exchange);
    /* Asking used nothing up. */
    cr_expect_eq(try_challenge("default", text, strlen(text)), CA_OK);
    house_end();
    LEAK_CHECK();
    house_begin();
}

Test(auth_house, A3_secrets_that_are_not_whole_are_refused_alike)
{
    char text[CHALLENGE_TEXT_SIZE], changed[CHALLENGE_TEXT_SIZE + 2];
    house_challenge(&house, NULL, text);
    size_t length = strlen(text);
    cr_expect_eq(try_challenge("default", NULL, 0), CA_UNAUTHENTICATED);
    cr_expect_eq(try_challenge("default", "", 0), CA_UNAUTHENTICATED);
    cr_expect_eq(try_challenge("default", text, length - 1), CA_UNAUTHENTICATED);
    snprintf(changed, sizeof changed, "%sA", text);
    cr_expect_eq(try_challenge("default", changed, length + 1), CA_UNAUTHENTICATED);
    snprintf(changed, sizeof changed, "%s", text);
    changed[length] = '\0';
    cr_expect_eq(try_challenge("default", changed, length + 1), CA_UNAUTHENTICATED);
    changed[0] = changed[0] == 'A' ? 'B' : 'A'; /* unknown id */
    cr_expect_eq(try_challenge("default", changed, length), CA_UNAUTHENTICATED);
    cr_expect_eq(try_challenge("nowhere", text, length), CA_NOT_FOUND);
    cr_expect_eq(try_challenge("default", text, length), CA_OK, "%s", status_message());
}

Test(auth_house, A3_wrong_secrets_lock_the_challenge)
{
    char text[CHALLENGE_TEXT_SIZE], wrong[CHALLENGE_TEXT_SIZE];
    house_challenge(&house, NULL, text);
    memcpy(wrong, text, sizeof wrong);
    wrong[47] = wrong[47] == 'A' ? 'B' : 'A';
    for (int i = 0; i < CHALLENGE_TRIES; i++)
        cr_expect_eq(try_challenge("default", wrong, 48), CA_UNAUTHENTICATED);
    cr_expect_eq(house_integer(&house, "SELECT tries FROM challenge"), CHALLENGE_TRIES);
    cr_expect_eq(house_integer(&house, "SELECT state FROM challenge"),
                 CHALLENGE_LOCKED);
    cr_expect_eq(try_challenge("default", text, 48), CA_UNAUTHENTICATED);
    /* Its tries are over: more of them write nothing. */
    cr_expect_eq(try_challenge("default", wrong, 48), CA_UNAUTHENTICATED);
    cr_expect_eq(house_integer(&house, "SELECT tries FROM challenge"), CHALLENGE_TRIES);
}

Test(auth_house, A3_challenge_of_another_endpoint_or_past_its_time_is_nothing)
{
    char text[CHALLENGE_TEXT_SIZE];
    house_profile(
        &house, PROFILE_SCEP,
        "{\"name\": \"other\", \"settings\": {\"certificate\": \"default\"}}");
    house_challenge(&house, &(struct challenge){ .expires_in = 60 }, text);
    cr_expect_eq(try_challenge("other", text, 48), CA_UNAUTHENTICATED);
    clock_set(clock_now() + 61);
    cr_expect_eq(try_challenge("default", text, 48), CA_UNAUTHENTICATED);
}

Test(auth_house, A7_refusals_without_a_credential_are_counted_in_one_row)
{
    int64_t entries = house_integer(&house, "SELECT COUNT(*) FROM audit_entry");
    for (int i = 0; i < 100; i++)
        cr_expect_eq(try_challenge("default", "x", 1), CA_UNAUTHENTICATED);
    cr_assert_eq(refusals_flush(house.service->refusals, house.service->store), CA_OK,
                 "%s", status_message());
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM audit_entry "
                                       "WHERE action = 'enrol.refuse'"),
                 0);
    cr_expect_eq(house_integer(&house, "SELECT SUM(count) FROM audit_refusal WHERE "
                                       "source = '192.0.2.1' AND protocol = 'scep' AND "
                                       "reason = 'unauthenticated'"),
                 100);
    cr_expect_leq(house_integer(&house, "SELECT COUNT(*) FROM audit_refusal"), 2);
    cr_expect_leq(house_integer(&house, "SELECT COUNT(*) FROM audit_entry") - entries,
                  2);
}

Test(auth_house, A2_a_message_without_a_rule_gives_no_identity)
{
    char text[CHALLENGE_TEXT_SIZE];
    struct exchange exchange;
    house_challenge(&house, NULL, text);
    house_exchange(&house, &exchange);
    cr_assert_eq(by_challenge(&exchange, "default", text, 48), CA_OK);
    /* A second, failing question takes away what the first one gave. */
    struct ca_credential update = { .kind = CA_CREDENTIAL_CHALLENGE,
                                    .protocol = "scep",
                                    .message = "18",
                                    .endpoint = "default",
                                    .secret = text,
                                    .secret_size = 48 };
    cr_expect_eq(ca_authenticate(&exchange.request, &update), CA_FORBIDDEN);
    cr_expect_eq(exchange.identity.kind, IDENTITY_NONE);
    cr_expect_null(exchange.identity.user);
    struct ca_issued issued;
    cr_expect_eq(ca_enroll(&exchange.request, &(struct ca_enrolment){ 0 }, &issued),
                 CA_UNAUTHENTICATED);
    exchange_clear(&exchange);
}

Test(auth_house, A5_disabled_user_and_missing_assignment_are_refused_and_listed)
{
    char text[CHALLENGE_TEXT_SIZE];
    char other[] = "other";
    house_challenge(&house, NULL, text);
    house_run(&house, "UPDATE users SET state = 1");
    cr_expect_eq(try_challenge("default", text, 48), CA_FORBIDDEN);
    house_run(&house, "UPDATE users SET state = 0");
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM audit_entry WHERE "
                                       "action = 'enrol.refuse' AND "
                                       "actor = 'user:alice'"),
                 1);
    house_profile(
        &house, PROFILE_SCEP,
        "{\"name\": \"other\", \"settings\": {\"certificate\": \"default\"}}");
    house_challenge(&house, &(struct challenge){ .profile = other }, text);
    cr_expect_eq(try_challenge("other", text, 48), CA_FORBIDDEN);
    house_run(&house, "INSERT INTO assignment (to_group, target, kind, profile, "
                      "created) VALUES (0, 'alice', 'scep', 'other', 1)");
    cr_expect_eq(try_challenge("other", text, 48), CA_OK, "%s", status_message());
}

Test(auth_house, A1_a_profile_is_issued_over_its_own_protocols_alone)
{
    char text[CHALLENGE_TEXT_SIZE];
    house_challenge(&house, NULL, text);
    house_set(&house, "protocols", "[\"wstep\", \"activation\"]");
    cr_expect_eq(try_challenge("default", text, 48), CA_FORBIDDEN);
    house_set(&house, "protocols", "[\"wstep\", \"scep\"]");
    cr_expect_eq(try_challenge("default", text, 48), CA_OK, "%s", status_message());
}

/* ---- Certificates ---- */

static enum ca_status
by_certificate_at(const char *endpoint, const char *message, X509 *certificate,
                  enum identity_kind *ret_kind)
{
    struct exchange exchange;
    struct ca_credential credential = { .kind = CA_CREDENTIAL_CERTIFICATE,
                                        .protocol = "scep",
                                        .message = message,
                                        .endpoint = endpoint,
                                        .certificate = certificate };
    house_exchange(&house, &exchange);
    enum ca_status status = ca_authenticate(&exchange.request, &credential);
    *ret_kind = exchange.identity.kind;
    exchange_clear(&exchange);
    return status;
}

static enum ca_status
by_certificate(const char *message, X509 *certificate, enum identity_kind *ret_kind)
{
    return by_certificate_at("default", message, certificate, ret_kind);
}

static void
device_enroll(struct house_device *device)
{
    char text[CHALLENGE_TEXT_SIZE];
    house_challenge(&house, NULL, text);
    house_device_make(device, "alice", NULL);
    cr_assert_eq(house_enroll(&house, device, text, NULL), CA_OK, "%s",
                 status_message());
}

Test(auth_house, A4_renewal_needs_our_certificate_in_its_window)
{
    struct house_device device;
    enum identity_kind kind;
    device_enroll(&device);
    int64_t now = clock_now();
    const struct {
        const char *name;
        int64_t at;
        enum ca_status renewal, query;
    } cases[] = {
        { "fresh", now, CA_FORBIDDEN, CA_OK },
        { "a day before the window", now + 334 * DAY - 300, CA_FORBIDDEN, CA_OK },
        { "inside the window", now + 340 * DAY, CA_OK, CA_OK },
        { "after its end", now + 366 * DAY, CA_FORBIDDEN, CA_FORBIDDEN },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        clock_set(cases[i].at);
        cr_expect_eq(by_certificate("17", device.certificate, &kind), cases[i].renewal,
                     "%s: %s", cases[i].name, status_message());
        cr_expect_eq(kind,
                     cases[i].renewal == CA_OK ? IDENTITY_RENEWAL : IDENTITY_NONE);
        cr_expect_eq(by_certificate("19", device.certificate, &kind), cases[i].renewal,
                     "%s", cases[i].name);
        cr_expect_eq(by_certificate("21", device.certificate, &kind), cases[i].query,
                     "%s: %s", cases[i].name, status_message());
        cr_expect_eq(kind, cases[i].query == CA_OK ? IDENTITY_DEVICE : IDENTITY_NONE);
    }
    house_set(&house, "renewal_grace", "\"P7D\"");
    clock_set(now + 366 * DAY);
    cr_expect_eq(by_certificate("17", device.certificate, &kind), CA_OK, "%s",
                 status_message());
    clock_set(now + 373 * DAY);
    cr_expect_eq(by_certificate("17", device.certificate, &kind), CA_FORBIDDEN);
    house_device_clear(&device);
}

Test(auth_house, A4_certificates_that_are_not_a_device_s_are_nothing)
{
    struct house_device device;
    enum identity_kind kind;
    device_enroll(&device);
    clock_set(clock_now() + 340 * DAY);
    struct issuers *issuers = service_issuers(house.service);
    X509 *issuer = issuers_find(issuers, "issuing")->certificate;
    X509 *ra = issuers_helper(issuers, HELPER_RA, "issuing", 0)->certificate;
    cr_expect_eq(by_certificate("17", device.self, &kind), CA_UNAUTHENTICATED);
    cr_expect_eq(by_certificate("19", device.self, &kind), CA_UNAUTHENTICATED);
    cr_expect_neq(by_certificate("17", issuer, &kind), CA_OK);
    cr_expect_neq(by_certificate("17", ra, &kind), CA_OK);
    cr_expect_eq(kind, IDENTITY_NONE);
    /* Our issuer's name and a recorded serial, but a stranger's signature. */
    CA_AUTO(X509_free) X509 *forged = X509_dup(device.certificate);
    cr_assert(X509_sign(forged, device.key, EVP_sha256()) > 0);
    cr_expect_eq(by_certificate("17", forged, &kind), CA_UNAUTHENTICATED);
    cr_expect_eq(by_certificate("17", NULL, &kind), CA_UNAUTHENTICATED);
    cr_expect_eq(by_certificate("17", device.certificate, &kind), CA_OK, "%s",
                 status_message());
    issuers_release(issuers);
    house_device_clear(&device);
}

/* The user may enrol at all three: it is the certificate that is of another profile. */
Test(auth_house, A4_a_certificate_renews_by_its_own_profile_alone)
{
    struct house_device device;
    enum identity_kind kind;
    device_enroll(&device);
    house_profile(&house, PROFILE_CERTIFICATE,
                  "{\"name\": \"other\", \"settings\": {\"issuer\": \"issuing\","
                  " \"renewal_window\": \"P30D\", \"validity\": \"P1Y\","
                  " \"extended_key_usage\": [\"client_auth\"],"
                  " \"protocols\": [\"scep\"], \"subject\": \"CN={{user.name}}\"}}");
    house_profile(&house, PROFILE_SCEP,
                  "{\"name\": \"other\", \"settings\": {\"certificate\": \"other\"}}");
    house_profile(&house, PROFILE_SCEP,
                  "{\"name\": \"same\", \"settings\": {\"certificate\": \"default\"}}");
    house_run(&house,
              "INSERT INTO assignment (to_group, target, kind, profile, created)"
              " VALUES (0, 'alice', 'scep', 'other', 1),"
              " (0, 'alice', 'scep', 'same', 1)");
    clock_set(clock_now() + 340 * DAY);
    cr_expect_eq(by_certificate_at("same", "17", device.certificate, &kind), CA_OK,
                 "%s", status_message());
    cr_expect_eq(by_certificate_at("other", "17", device.certificate, &kind),
                 CA_FORBIDDEN);
    cr_expect_not_null(strstr(status_message(), "of another profile"), "%s",
                       status_message());
    cr_expect_eq(by_certificate_at("other", "19", device.certificate, &kind),
                 CA_FORBIDDEN);
    house_device_clear(&device);
}

Test(auth_house, A5_revoked_certificate_and_disabled_device_renew_nothing)
{
    struct house_device device;
    enum identity_kind kind;
    device_enroll(&device);
    clock_set(clock_now() + 340 * DAY);
    static const char *const ends[] = { "UPDATE device SET state = 2", /* disabled */
                                        "UPDATE device SET state = 3", /* unenrolled */
                                        "UPDATE device SET state = 1, owner = 'bob'" };
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        house_run(&house, ends[i]);
        cr_expect_eq(by_certificate("17", device.certificate, &kind), CA_FORBIDDEN,
                     "%s", ends[i]);
        cr_expect_eq(by_certificate("21", device.certificate, &kind), CA_FORBIDDEN,
                     "%s", ends[i]);
    }
    house_run(&house, "UPDATE device SET owner = 'alice'");
    house_run(&house, "UPDATE device SET state = 1");
    house_run(&house, "UPDATE users SET state = 1");
    cr_expect_eq(by_certificate("17", device.certificate, &kind), CA_FORBIDDEN);
    house_run(&house, "UPDATE users SET state = 0");
    cr_expect_eq(by_certificate("17", device.certificate, &kind), CA_OK, "%s",
                 status_message());
    house_run(&house, "UPDATE certificate SET state = 2, reason = 'superseded' "
                      "WHERE user_name = 'alice'");
    cr_expect_eq(by_certificate("17", device.certificate, &kind), CA_FORBIDDEN);
    cr_expect_eq(auth_check_peer(house.service, device.certificate),
                 CA_UNAUTHENTICATED);
    house_device_clear(&device);
}

Test(auth_house, peer_certificate_is_ours_recorded_and_in_its_validity)
{
    struct house_device device;
    device_enroll(&device);
    cr_expect_eq(auth_check_peer(house.service, device.certificate), CA_OK, "%s",
                 status_message());
    cr_expect_eq(auth_check_peer(house.service, device.self), CA_UNAUTHENTICATED);
    house_run(&house, "UPDATE certificate SET der = x'00' WHERE user_name = 'alice'");
    cr_expect_eq(auth_check_peer(house.service, device.certificate),
                 CA_UNAUTHENTICATED);
    house_device_clear(&device);
    device_enroll(&device);
    clock_set(clock_now() + 366 * DAY);
    cr_expect_eq(auth_check_peer(house.service, device.certificate),
                 CA_UNAUTHENTICATED);
    house_device_clear(&device);
}

/* ---- Administrators ---- */

static enum ca_status
admin_step(struct store_tx *tx, void *arg)
{
    char **secret = arg;
    struct admin admin = { .name = strdup("root"), .roles = 1u << ROLE_OPERATOR };
    struct admin_token token = { .admin = strdup("root"), .description = strdup("t") };
    enum ca_status status = admin_insert(tx, &admin);
    if (status == CA_OK)
        status = admin_token_insert(tx, &token, secret);
    admin_clear(&admin);
    admin_token_clear(&token);
    return status;
}

Test(auth_house, A6_administrators_need_a_token_or_certificate_on_the_socket_too)
{
    CA_AUTO(secret_free) char *secret = NULL;
    CA_AUTO(free) char *good = NULL;
    CA_AUTO(free) char *odd = NULL;
    house_write(&house, admin_step, &secret);
    cr_assert(asprintf(&good, "Bearer %s", secret) > 0);
    cr_assert(asprintf(&odd, "bEARER %s", secret) > 0);
    const struct {
        const char *authorization;
        enum ca_status status;
    } cases[] = {
        { good, CA_OK },
        { odd, CA_OK },
        { secret, CA_UNAUTHENTICATED },
        { "", CA_UNAUTHENTICATED },
        { "Bearer ", CA_UNAUTHENTICATED },
        { "Bearer x", CA_UNAUTHENTICATED },
        { "Basic cm9vdDpyb290", CA_UNAUTHENTICATED },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct exchange exchange;
        house_exchange(&house, &exchange);
        exchange.request.local = true;
        exchange.request.secure = true;
        exchange.request.authorization = cases[i].authorization;
        cr_expect_eq(auth_admin(&exchange), cases[i].status, "case %zu: %s", i,
                     status_message());
        if (cases[i].status == CA_OK) {
            cr_expect_eq(exchange.identity.kind, IDENTITY_ADMIN);
            cr_expect_str_eq(exchange.identity.admin.name, "root");
            cr_expect_str_eq(exchange_actor(&exchange), "admin:root");
        } else {
            cr_expect_eq(exchange.identity.kind, IDENTITY_NONE);
        }
        exchange_clear(&exchange);
    }
}
