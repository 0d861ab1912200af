/* Activation in the core: passwords, tries, sessions, grants, refusals, failures. */
#include "activation_rig.h"
#include "auto.h"
#include "enroll.h"
#include "leak.h"
#include "names.h"
#include "refusal.h"

TestSuite(activate, .init = rig_build, .fini = rig_leave);

static int64_t
tries(void)
{
    return house_integer(&house, "SELECT tries FROM activation");
}

Test(activate, a_proven_password_gives_a_certificate_of_our_own_names)
{
    char id[ACTIVATION_ID_SIZE];
    struct house_device device;
    rig_password(NULL, id);
    house_device_make(&device, "eve", "DNS:bank.example.com");
    struct rig_enroll enroll = rig_activate("alice", &device);
    cr_assert_eq(enroll.proved, CA_OK, "%s", status_message());
    CA_AUTO(free)
    char *subject = names_format_subject(X509_get_subject_name(enroll.certificate));
    cr_expect_str_eq(subject, "O=Example,OU=work,CN=alice");
    cr_expect_str_eq(enroll.workspace, "work");
    cr_expect_eq(X509_check_host(enroll.certificate, "bank.example.com", 0, 0, NULL),
                 0);
    CA_AUTO(GENERAL_NAMES_free)
    GENERAL_NAMES *san =
        X509_get_ext_d2i(enroll.certificate, NID_subject_alt_name, NULL, NULL);
    cr_assert_eq(sk_GENERAL_NAME_num(san), 1);
    CA_AUTO(free) char *name = names_format(sk_GENERAL_NAME_value(san, 0));
    char wanted[64];
    snprintf(wanted, sizeof wanted, "uri:urn:uuid:%s", enroll.device);
    cr_expect_str_eq(name, wanted);
    cr_expect_eq(X509_get_key_usage(enroll.certificate), KU_DIGITAL_SIGNATURE);
    cr_expect_neq(X509_get_ext_by_NID(enroll.certificate, NID_certificate_policies, -1),
                  -1);
    cr_expect_eq(EVP_PKEY_eq(X509_get0_pubkey(enroll.certificate), device.key), 1);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM certificate WHERE "
                                       "protocol = 'activation' AND state = 1"),
                 1);
    cr_expect_eq(house_integer(&house, "SELECT state FROM activation"),
                 ACTIVATION_USED);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM activation_verifier"), 0);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM device WHERE state = 1"),
                 1);
    cr_expect_eq(house_integer(&house, "SELECT count FROM activation_failure"), 0,
                 "a proof is no failure");
    X509_free(enroll.certificate);
    /* Single use: the next hello finds nobody. */
    enroll = rig_activate("alice", &device);
    cr_expect_eq(enroll.proved, CA_UNAUTHENTICATED);
    house_device_clear(&device);
    rig_leave();
    LEAK_CHECK();
    rig_build();
}

Test(activate, a_work_space_is_drawn_for_a_user_without_one)
{
    char id[ACTIVATION_ID_SIZE];
    struct house_device device;
    house_run(&house, "UPDATE users SET work_space = NULL");
    rig_password(NULL, id);
    house_device_make(&device, "alice", NULL);
    struct rig_enroll enroll = rig_activate("alice", &device);
    cr_assert_eq(enroll.proved, CA_OK, "%s", status_message());
    cr_expect_eq(strncmp(enroll.workspace, "ws-", 3), 0);
    cr_expect_eq(strlen(enroll.workspace), 11);
    CA_AUTO(free)
    char *subject = names_format_subject(X509_get_subject_name(enroll.certificate));
    cr_expect(strstr(subject, enroll.workspace), "%s", subject);
    X509_free(enroll.certificate);
    house_device_clear(&device);
}

Test(activate, the_mail_address_is_a_name_of_the_same_password)
{
    char id[ACTIVATION_ID_SIZE];
    uint8_t sn[16];
    struct ca_activation_offer by_name, by_mail, again, nobody;
    struct house_device device;
    rig_password(&(struct activate_wanted){ .user = "alice",
                                            .lockout = -1,
                                            .password = "Correct-Horse-9" },
                 id);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM activation_verifier"), 2);
    cr_assert_eq(rig_hello(" ALICE ", sn, &by_name), CA_OK, "%s", status_message());
    cr_assert_eq(rig_hello("user@example.com", sn, &by_mail), CA_OK);
    cr_assert_eq(rig_hello("alice", sn, &again), CA_OK);
    cr_assert_eq(rig_hello("nobody", sn, &nobody), CA_OK);
    cr_expect_arr_eq(by_name.prs, again.prs, 32);
    cr_expect_arr_eq(by_name.salt, again.salt, 16);
    cr_expect_arr_neq(by_name.salt, by_mail.salt, 16);
    cr_expect_arr_neq(by_name.prs, by_mail.prs, 32);
    cr_expect_arr_neq(by_name.salt, nobody.salt, 16);
    cr_expect_eq(by_name.ttl, 120);
    uint8_t prs[STRETCH_PRS_SIZE];
    cr_assert_eq(
        stretch_make("Correct-Horse-9", by_mail.salt, stretch_cost_default, prs),
        CA_OK);
    cr_expect_arr_eq(by_mail.prs, prs, sizeof prs);
    /* Tries are shared. */
    for (int i = 0; i < 5; i++) {
        const char *name = i % 2 ? "alice" : "user@example.com";
        cr_assert_eq(rig_hello(name, sn, &again), CA_OK);
        rig_enroll(sn, "body", "auth_failed", NULL);
    }
    cr_expect_eq(tries(), 0);
    house_device_make(&device, "alice", NULL);
    cr_expect_eq(rig_activate("alice", &device).proved, CA_UNAUTHENTICATED);
    house_device_clear(&device);
}

Test(activate, A3_five_wrong_passwords_lock_it)
{
    char id[ACTIVATION_ID_SIZE];
    struct house_device device;
    uint8_t sn[16];
    struct ca_activation_offer offer, before;
    rig_password(NULL, id);
    cr_assert_eq(rig_hello("alice", sn, &before), CA_OK);
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(rig_hello("alice", sn, &offer), CA_OK);
        cr_expect_arr_eq(offer.prs, before.prs, 32);
        cr_expect_eq(
            rig_enroll(sn, "body", i % 2 ? "invalid_share" : "auth_failed", NULL)
                .attempt,
            CA_OK);
        cr_expect_eq(tries(), 4 - i);
    }
    cr_assert_eq(rig_hello("alice", sn, &offer), CA_OK, "as if there were nobody");
    cr_expect_arr_neq(offer.prs, before.prs, 32);
    house_device_make(&device, "alice", NULL);
    cr_expect_eq(rig_activate("alice", &device).proved, CA_UNAUTHENTICATED);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM certificate WHERE "
                                       "protocol = 'activation'"),
                 0);
    cr_assert_eq(refusals_flush(house.service->refusals, house.service->store), CA_OK);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM audit_refusal WHERE "
                                       "protocol = 'activation' AND reason = 'locked'"),
                 1);
    cr_expect_geq(house_integer(&house,
                                "SELECT SUM(count) FROM audit_refusal WHERE "
                                "protocol = 'activation' AND reason = 'auth_failed'"),
                  3);
    house_device_clear(&device);
}

Test(activate, a_session_is_spent_once_and_repeats_its_answer)
{
    char id[ACTIVATION_ID_SIZE];
    struct house_device device;
    uint8_t sn[16], other[16] = "never said hello";
    struct ca_activation_offer offer;
    rig_password(
        &(struct activate_wanted){ .user = "alice", .lockout = -1, .devices = 3 }, id);
    house_device_make(&device, "alice", NULL);
    cr_assert_eq(rig_hello("alice", sn, &offer), CA_OK);
    struct rig_enroll enroll = rig_enroll(sn, "body", NULL, &device);
    cr_assert_eq(enroll.proved, CA_OK, "%s", status_message());
    X509_free(enroll.certificate);
    enroll = rig_enroll(sn, "body", NULL, &device);
    cr_expect_eq(enroll.attempt, CA_CONFLICT);
    cr_expect_eq(enroll.answer_status, 200);
    cr_expect_str_eq(enroll.answer, "the answer");
    cr_expect_eq(rig_enroll(sn, "another body", NULL, &device).attempt, CA_NOT_FOUND);
    cr_expect_eq(rig_enroll(other, "body", NULL, &device).attempt, CA_NOT_FOUND);
    cr_expect_eq(house_integer(&house, "SELECT devices FROM activation"), 2);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM activation_session WHERE "
                                       "scalar IS NOT NULL OR content IS NOT NULL"),
                 0, "wiped at use");
    clock_set(clock_now() + ACTIVATE_TTL + 1);
    cr_expect_eq(rig_enroll(sn, "body", NULL, &device).attempt, CA_NOT_FOUND,
                 "expired");
    /* One that nobody answered is still being worked on. */
    cr_assert_eq(rig_hello("alice", sn, &offer), CA_OK);
    cr_expect_eq(rig_attempt(sn, "body"), CA_OK);
    cr_expect_eq(rig_enroll(sn, "body", NULL, &device).attempt, CA_PENDING);
    cr_expect_eq(rig_enroll(sn, "other", NULL, &device).attempt, CA_NOT_FOUND);
    house_device_clear(&device);
}

/* ECSPEKE-ACT-1 section 7.2, step 2: only answers with 200 and 422 are given again. */
Test(activate, a_session_that_was_refused_is_gone)
{
    char id[ACTIVATION_ID_SIZE];
    uint8_t sn[16];
    struct ca_activation_offer offer;
    struct house_device device;
    static const char *const users[] = { "alice", "nobody" };
    static const char *const reasons[] = { "auth_failed", "invalid_share" };
    rig_password(NULL, id);
    house_device_make(&device, "alice", NULL);
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(rig_hello(users[i / 2], sn, &offer), CA_OK);
        cr_expect_eq(rig_enroll(sn, "body", reasons[i % 2], NULL).attempt, CA_OK);
        cr_expect_eq(rig_enroll(sn, "body", NULL, &device).attempt, CA_NOT_FOUND,
                     "%s, %s", users[i / 2], reasons[i % 2]);
    }
    cr_expect_eq(tries(), 3, "the repetition costs nothing");
    /* Nobody has a password left, whatever was proven. */
    cr_assert_eq(rig_hello("nobody", sn, &offer), CA_OK);
    cr_expect_eq(rig_enroll(sn, "body", NULL, &device).proved, CA_UNAUTHENTICATED);
    cr_expect_eq(rig_enroll(sn, "body", NULL, &device).attempt, CA_NOT_FOUND);
    house_device_clear(&device);
}

Test(activate, a_session_ends_with_its_time_and_takes_no_try)
{
    char id[ACTIVATION_ID_SIZE];
    uint8_t sn[16];
    struct ca_activation_offer offer;
    struct house_device device;
    int64_t now = clock_now();
    rig_password(NULL, id);
    house_device_make(&device, "alice", NULL);
    clock_set(now);
    cr_assert_eq(rig_hello("alice", sn, &offer), CA_OK, "%s", status_message());
    clock_set(now + offer.ttl);
    cr_expect_eq(rig_enroll(sn, "body", NULL, &device).attempt, CA_NOT_FOUND);
    cr_expect_eq(house_integer(&house, "SELECT tries FROM activation"),
                 ACTIVATION_TRIES);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM activation_failure"), 0);
    clock_set(now);
    cr_assert_eq(rig_hello("alice", sn, &offer), CA_OK, "%s", status_message());
    clock_set(now + offer.ttl - 1);
    struct rig_enroll enroll = rig_enroll(sn, "body", NULL, &device);
    cr_expect_eq(enroll.proved, CA_OK, "%s", status_message());
    X509_free(enroll.certificate);
    /* Neither is the answer kept for longer. */
    clock_set(now + offer.ttl);
    cr_expect_eq(rig_enroll(sn, "body", NULL, &device).attempt, CA_NOT_FOUND);
    house_device_clear(&device);
}

Test(activate, A5_a_user_disabled_between_hello_and_enroll_gets_nothing)
{
    char id[ACTIVATION_ID_SIZE];
    struct house_device device;
    uint8_t sn[16];
    struct ca_activation_offer offer;
    rig_password(NULL, id);
    house_device_make(&device, "alice", NULL);
    cr_assert_eq(rig_hello("alice", sn, &offer), CA_OK);
    house_run(&house, "UPDATE users SET state = 1 WHERE name = 'alice'");
    cr_expect_eq(rig_enroll(sn, "body", NULL, &device).proved, CA_UNAUTHENTICATED);
    cr_expect_eq(tries(), 5);
    struct activate_made made;
    cr_expect_eq(
        activate_make(house.service,
                      &(struct activate_wanted){ .user = "alice", .lockout = -1 },
                      &made),
        CA_FORBIDDEN);
    house_device_clear(&device);
}

Test(activate, refused_requests_give_the_tries_back_and_the_tenth_ends_it)
{
    char id[ACTIVATION_ID_SIZE];
    struct house_device device, good;
    rig_password(NULL, id);
    house_device_make(&device, "alice", NULL);
    house_device_make(&good, "alice", NULL);
    device.request[device.request_size - 1] ^= 1; /* the signature */
    uint8_t sn[16];
    struct ca_activation_offer offer;
    cr_assert_eq(rig_hello("alice", sn, &offer), CA_OK);
    rig_enroll(sn, "body", "auth_failed", NULL);
    for (int i = 0; i < 10; i++) {
        struct rig_enroll enroll = rig_activate("alice", &device);
        cr_expect_eq(enroll.proved, CA_FORBIDDEN, "%d: %s", i, status_message());
        cr_expect_str_eq(enroll.error, "csr_rejected");
        cr_expect_eq(tries(), 5);
    }
    cr_expect_eq(house_integer(&house, "SELECT state FROM activation"),
                 ACTIVATION_REFUSED);
    cr_expect_eq(rig_activate("alice", &good).proved, CA_UNAUTHENTICATED);
    cr_expect_geq(house_integer(&house, "SELECT COUNT(*) FROM audit_entry WHERE "
                                        "action = 'enrol.refuse'"),
                  10);
    house_device_clear(&device);
    house_device_clear(&good);
}

Test(activate, what_policy_and_quota_refuse_is_told_to_who_knows_the_password)
{
    char id[ACTIVATION_ID_SIZE];
    struct house_device device, other;
    rig_password(
        &(struct activate_wanted){ .user = "alice", .lockout = -1, .devices = 5 }, id);
    house_device_make(&device, "alice", NULL);
    house_device_make(&other, "alice", NULL);
    house_profile(&house, PROFILE_ACTIVATION,
                  "{\"name\": \"default\", \"settings\": {\"certificate\": "
                  "\"activation\", \"protocols\": []}}");
    struct rig_enroll enroll = rig_activate("alice", &device);
    cr_expect_eq(enroll.proved, CA_FORBIDDEN);
    cr_expect_str_eq(enroll.error, "policy");
    house_profile(&house, PROFILE_ACTIVATION,
                  "{\"name\": \"default\", \"settings\": {\"certificate\": "
                  "\"activation\", \"devices_per_user\": 1}}");
    enroll = rig_activate("alice", &device);
    cr_expect_eq(enroll.proved, CA_OK, "%s", status_message());
    X509_free(enroll.certificate);
    enroll = rig_activate("alice", &other);
    cr_expect_eq(enroll.proved, CA_FORBIDDEN);
    cr_expect_str_eq(enroll.error, "quota");
    /* The device that is there may activate anew. */
    enroll = rig_activate("alice", &device);
    cr_expect_eq(enroll.proved, CA_OK, "%s", status_message());
    X509_free(enroll.certificate);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM device"), 1);
    uint8_t big[ACTIVATE_CSR_MAX + 1] = { 0x30 };
    struct house_device large = { .request = big, .request_size = sizeof big };
    enroll = rig_activate("alice", &large);
    cr_expect_str_eq(enroll.error, "csr_rejected");
    house_device_clear(&device);
    house_device_clear(&other);
}

Test(activate, R4_a_key_of_another_users_device_is_not_taken)
{
    char id[ACTIVATION_ID_SIZE];
    struct house_device device;
    struct activate_made made;
    const struct activate_wanted wanted = { .user = "bob",
                                            .lockout = -1,
                                            .cause = { "admin:a", "api", "" } };
    rig_password(NULL, id);
    house_device_make(&device, "alice", NULL);
    struct rig_enroll enroll = rig_activate("alice", &device);
    cr_assert_eq(enroll.proved, CA_OK, "%s", status_message());
    X509_free(enroll.certificate);
    house_user(&house, "bob");
    cr_assert_eq(activate_make(house.service, &wanted, &made), CA_OK);
    activate_made_clear(&made);
    enroll = rig_activate("bob", &device);
    cr_expect_eq(enroll.proved, CA_FORBIDDEN);
    cr_expect_str_eq(enroll.error, "csr_rejected");
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM certificate WHERE "
                                       "protocol = 'activation'"),
                 1);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM device WHERE owner = "
                                       "'alice'"),
                 1);
    cr_expect_eq(house_integer(&house, "SELECT refusals FROM activation WHERE "
                                       "user_name = 'bob'"),
                 1, "the password stays");
    house_device_clear(&device);
}

/* Two passwords at the same moment: the device of the first counts from its intent on,
 * and no more when that was given up. */
Test(activate, S4_the_quota_counts_devices_in_the_making)
{
    char id[ACTIVATION_ID_SIZE];
    struct house_device first, second;
    rig_password(
        &(struct activate_wanted){ .user = "alice", .lockout = -1, .devices = 5 }, id);
    house_profile(&house, PROFILE_ACTIVATION,
                  "{\"name\": \"default\", \"settings\": {\"certificate\": "
                  "\"activation\", \"devices_per_user\": 1}}");
    house_device_make(&first, "alice", NULL);
    house_device_make(&second, "alice", NULL);
    struct rig_enroll enroll = rig_activate("alice", &first);
    cr_assert_eq(enroll.proved, CA_OK, "%s", status_message());
    X509_free(enroll.certificate);
    house_run(&house, "UPDATE device SET state = 0");
    house_run(&house, "UPDATE certificate SET state = 0 WHERE protocol = 'activation'");
    enroll = rig_activate("alice", &second);
    cr_expect_eq(enroll.proved, CA_FORBIDDEN);
    cr_expect_str_eq(enroll.error, "quota");
    cr_expect_eq(house_integer(&house, "SELECT devices FROM activation"), 4);
    house_run(&house, "UPDATE certificate SET state = 4 WHERE protocol = 'activation'");
    enroll = rig_activate("alice", &second);
    cr_expect_eq(enroll.proved, CA_OK, "%s", status_message());
    X509_free(enroll.certificate);
    house_device_clear(&first);
    house_device_clear(&second);
}

Test(activate, A7_a_user_sets_so_many_passwords_an_hour)
{
    char id[ACTIVATION_ID_SIZE];
    struct activate_made made;
    const struct activate_wanted wanted = { .user = "alice",
                                            .lockout = -1,
                                            .self_service = true };
    house_profile(&house, PROFILE_ACTIVATION,
                  "{\"name\": \"default\", \"settings\": {\"certificate\": "
                  "\"activation\", \"self_service\": true}}");
    for (int i = 0; i < ACTIVATE_SELF_HOURLY; i++)
        rig_password(&wanted, id);
    cr_expect_eq(activate_make(house.service, &wanted, &made), CA_LIMIT);
    rig_password(&(struct activate_wanted){ .user = "alice",
                                            .lockout = -1,
                                            .created_by = "admin" },
                 id);
    clock_set(clock_now() + 3600);
    rig_password(&wanted, id);
}

Test(activate, S4_two_enrolments_at_once_give_one_certificate)
{
    char id[ACTIVATION_ID_SIZE];
    struct house_device device, other;
    uint8_t first[16], second[16];
    struct ca_activation_offer offer;
    rig_password(NULL, id);
    house_device_make(&device, "alice", NULL);
    house_device_make(&other, "alice", NULL);
    cr_assert_eq(rig_hello("alice", first, &offer), CA_OK);
    cr_assert_eq(rig_hello("alice", second, &offer), CA_OK);
    struct rig_enroll enroll = rig_enroll(first, "one", NULL, &device);
    cr_expect_eq(enroll.proved, CA_OK, "%s", status_message());
    X509_free(enroll.certificate);
    cr_expect_eq(rig_enroll(second, "two", NULL, &other).proved, CA_UNAUTHENTICATED);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM certificate WHERE "
                                       "protocol = 'activation'"),
                 1);
    house_device_clear(&device);
    house_device_clear(&other);
}

/* The same questions to store and token, whether the name is somebody's or not. */
Test(activate, A3_unknown_names_cost_what_known_ones_cost)
{
    char id[ACTIVATION_ID_SIZE];
    static const char *const names[] = { "alice", "nobody", "user@example.com",
                                         "no@example.com" };
    struct vault *vault = atomic_load(&house.service->vault);
    int64_t operations[4], writes[4];
    struct store_figures before, after;
    rig_password(&(struct activate_wanted){ .user = "alice", .lockout = -1 }, id);
    for (size_t i = 0; i < 4; i++) {
        uint8_t sn[16];
        struct ca_activation_offer offer;
        int64_t start = vault_operations(vault);
        store_figures(house.service->store, &before);
        cr_assert_eq(rig_hello(names[i], sn, &offer), CA_OK);
        cr_expect_eq(rig_enroll(sn, "body", "auth_failed", NULL).attempt, CA_OK);
        store_figures(house.service->store, &after);
        operations[i] = vault_operations(vault) - start;
        writes[i] = after.writes - before.writes;
        cr_expect_eq(operations[i], operations[0], "%s", names[i]);
        cr_expect_eq(writes[i], writes[0], "%s", names[i]);
    }
    cr_expect_eq(operations[0], 1, "one unsealing each");
    cr_expect_eq(writes[0], 3, "one row kept, one try taken, the session over");
}

Test(activate, a_damaged_row_is_as_good_as_none)
{
    char id[ACTIVATION_ID_SIZE];
    uint8_t sn[16];
    struct ca_activation_offer good, damaged;
    struct house_device device;
    rig_password(NULL, id);
    cr_assert_eq(rig_hello("alice", sn, &good), CA_OK);
    house_run(&house, "UPDATE activation_verifier SET blob = "
                      "CAST(zeroblob(61) AS BLOB)");
    cr_assert_eq(rig_hello("alice", sn, &damaged), CA_OK, "%s", status_message());
    cr_expect_arr_neq(damaged.prs, good.prs, 32);
    cr_expect_arr_eq(damaged.salt, good.salt, 16);
    house_device_make(&device, "alice", NULL);
    cr_expect_eq(rig_enroll(sn, "body", NULL, &device).proved, CA_UNAUTHENTICATED);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM audit_entry WHERE "
                                       "action = 'activation.damaged'"),
                 1);
    house_device_clear(&device);
}

/* ---- Making passwords ---- */

Test(activate, generated_passwords_are_of_the_profile_and_set_ones_keep_its_rules)
{
    struct activate_made made;
    struct activate_wanted wanted = { .user = "alice",
                                      .lockout = -1,
                                      .cause = { "user:alice", "self", "" } };
    cr_assert_eq(activate_make(house.service, &wanted, &made), CA_OK, "%s",
                 status_message());
    cr_expect_eq(strlen(made.password), 14, "%s", made.password);
    cr_expect_eq(made.activation.devices, 1);
    cr_expect(llabs(made.activation.expires - clock_now() - 172800) <= 2);
    activate_made_clear(&made);
    static const struct {
        const char *password;
        bool self_service;
        enum ca_status status;
    } cases[] = {
        { "short", false, CA_MALFORMED },
        { "longenough", false, CA_OK },
        { "longenough", true, CA_FORBIDDEN },
        { "Long3nough", true, CA_OK },
        { "Sh0rt-er9", true, CA_FORBIDDEN },
        { "umlaut-\303\244-is-none", false, CA_MALFORMED },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wanted.password = cases[i].password;
        wanted.self_service = cases[i].self_service;
        enum ca_status status = activate_make(house.service, &wanted, &made);
        cr_expect_eq(status, cases[i].status, "%s: %s", cases[i].password,
                     status_message());
        if (status == CA_OK)
            activate_made_clear(&made);
    }
    wanted.password = NULL;
    wanted.self_service = false;
    wanted.user = "nobody";
    cr_expect_eq(activate_make(house.service, &wanted, &made), CA_NOT_FOUND);
    wanted.user = "alice";
    wanted.profile = "none";
    cr_expect_eq(activate_make(house.service, &wanted, &made), CA_NOT_FOUND);
    wanted.profile = NULL;
    wanted.ref = "no ref!";
    cr_expect_eq(activate_make(house.service, &wanted, &made), CA_MALFORMED);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM activation WHERE "
                                       "state = 0"),
                 1, "a new one ends the one before");
}

Test(activate, A3_no_password_is_in_store_or_audit)
{
    char id[ACTIVATION_ID_SIZE];
    rig_password(&(struct activate_wanted){ .user = "alice",
                                            .lockout = -1,
                                            .password = "Xyzzy-Plugh-42" },
                 id);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM audit_entry WHERE "
                                       "entry LIKE '%Plugh%'"),
                 0);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM audit_entry WHERE "
                                       "action = 'activation.create'"),
                 1);
}
