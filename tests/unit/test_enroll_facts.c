/* Enrolments as device management makes them: the key alone counts, the key is new, the
 * client cannot wait, and the device says what it is. */
#include "auto.h"
#include "house_rig.h"
#include "leak.h"
#include "names.h"
#include <criterion/criterion.h>
#include <openssl/x509v3.h>
#include <string.h>

static void
leave(void)
{
    house_end();
    LEAK_CHECK();
}

TestSuite(enroll_facts, .init = house_begin, .fini = leave);

/* One enrolment by challenge, and what came of it. */
struct attempt {
    const char *user, *alias, *transaction;
    unsigned flags;
    enum ca_status reported, enrolled;
    char device[40], certificate_user[40], profile[40], serial[48];
    X509 *certificate;
};

static void
text_copy(char ret_text[40], const char *text)
{
    snprintf(ret_text, 40, "%s", text ? text : "");
}

static void
attempt_take(struct attempt *attempt, const struct ca_issued *issued)
{
    const uint8_t *at = issued->der.data;
    text_copy(attempt->device, issued->device);
    text_copy(attempt->certificate_user, issued->user);
    text_copy(attempt->profile, issued->profile);
    snprintf(attempt->serial, sizeof attempt->serial, "%s", issued->serial);
    attempt->certificate = d2i_X509(NULL, &at, (long)issued->der.size);
    cr_assert_not_null(attempt->certificate);
}

static void
attempt_run(struct attempt *attempt, const struct house_device *device)
{
    char text[CHALLENGE_TEXT_SIZE];
    struct exchange exchange;
    struct ca_issued issued = { 0 };
    const struct challenge wanted = { .user = (char *)(uintptr_t)attempt->user };
    house_challenge(&house, &wanted, text);
    house_exchange(&house, &exchange);
    struct ca_credential secret = { .kind = CA_CREDENTIAL_CHALLENGE,
                                    .protocol = "scep",
                                    .message = "19",
                                    .endpoint = "default",
                                    .secret = text,
                                    .secret_size = strlen(text) };
    CA_AUTO(openssl_free) uint8_t *key = NULL;
    int key_size = i2d_PUBKEY(device->key, &key);
    cr_assert_gt(key_size, 0);
    CA_AUTO(json_decref) json_t *hardware = json_pack("{s:s}", "HWDevID", "3B3E");
    CA_AUTO(json_decref)
    json_t *report = json_pack("{s:s, s:[s,s]}", "OSVersion", "10.0", "MAC", "a", "b");
    const struct ca_device_facts facts = { .kind = "windows",
                                           .alias = attempt->alias,
                                           .hardware = hardware,
                                           .report = report };
    const struct ca_enrolment enrolment = {
        .pkcs10 = { device->request, device->request_size },
        .transaction = attempt->transaction,
        .signer_key = { key, (size_t)key_size },
        .flags = attempt->flags,
    };
    attempt->reported = attempt->enrolled = CA_INTERNAL;
    cr_assert_eq(ca_authenticate(&exchange.request, &secret), CA_OK);
    attempt->reported = ca_device_report(&exchange.request, &facts);
    if (attempt->reported == CA_OK)
        attempt->enrolled = ca_enroll(&exchange.request, &enrolment, &issued);
    if (attempt->enrolled == CA_OK)
        attempt_take(attempt, &issued);
    exchange_clear(&exchange);
}

static void
attempt_clear(struct attempt *attempt)
{
    X509_free(attempt->certificate);
}

#define MDM (CA_ENROL_KEY_ALONE | CA_ENROL_NEW_KEY | CA_ENROL_AT_ONCE)

Test(enroll_facts, the_device_is_what_it_says_and_the_answer_says_whose)
{
    struct house_device device;
    house_device_make(&device, "alice", NULL);
    struct attempt attempt = { .user = "alice", .alias = "B5B9", .flags = MDM };
    attempt_run(&attempt, &device);
    cr_assert_eq(attempt.enrolled, CA_OK);
    cr_expect_str_eq(attempt.certificate_user, "alice");
    cr_expect_str_eq(attempt.profile, "default");
    char sql[320];
    snprintf(sql, sizeof sql,
             "SELECT COUNT(*) FROM device WHERE id = '%s' AND kind = 'windows' AND "
             "hardware = '{\"HWDevID\":\"3B3E\"}' AND report LIKE '%%[\"a\",\"b\"]%%'",
             attempt.device);
    cr_expect_eq(house_integer(&house, sql), 1);
    attempt_clear(&attempt);
    house_device_clear(&device);
}

Test(enroll_facts, with_the_key_alone_neither_names_nor_extensions_count)
{
    struct house_device device;
    house_device_make(&device, "somebody else!", "DNS:evil.example.org");
    struct attempt strict = { .user = "alice", .flags = CA_ENROL_NEW_KEY };
    attempt_run(&strict, &device);
    cr_expect_eq(strict.enrolled, CA_FORBIDDEN);
    struct attempt attempt = { .user = "alice", .flags = MDM };
    attempt_run(&attempt, &device);
    cr_assert_eq(attempt.enrolled, CA_OK);
    CA_AUTO(free)
    char *subject = names_format_subject(X509_get_subject_name(attempt.certificate));
    cr_expect_str_eq(subject, "CN=alice,O=Example");
    cr_expect_eq(X509_check_host(attempt.certificate, "evil.example.org", 0, 0, NULL),
                 0);
    attempt_clear(&attempt);
    house_device_clear(&device);
}

Test(enroll_facts, a_key_that_was_certified_is_refused_where_it_must_be_new)
{
    struct house_device device;
    house_device_make(&device, "alice", NULL);
    struct attempt first = { .user = "alice", .alias = "A", .flags = MDM };
    struct attempt again = { .user = "alice", .alias = "A", .flags = MDM };
    struct attempt old = { .user = "alice", .alias = "A" };
    attempt_run(&first, &device);
    attempt_run(&again, &device);
    attempt_run(&old, &device);
    cr_expect_eq(first.enrolled, CA_OK);
    cr_expect_eq(again.enrolled, CA_FORBIDDEN);
    cr_expect_eq(old.enrolled, CA_OK);
    cr_expect_str_eq(old.device, first.device);
    attempt_clear(&first);
    attempt_clear(&old);
    house_device_clear(&device);
}

Test(enroll_facts, a_device_comes_back_to_its_user_and_to_nobody_else)
{
    struct house_device devices[3];
    struct attempt attempts[3] = {
        { .user = "alice", .alias = "Abc", .flags = MDM },
        { .user = "alice", .alias = "aBC", .flags = MDM },
        { .user = "bob", .alias = "abc", .flags = MDM },
    };
    house_user(&house, "bob");
    for (size_t i = 0; i < 3; i++) {
        house_device_make(&devices[i], "x", NULL);
        attempt_run(&attempts[i], &devices[i]);
    }
    cr_expect_eq(attempts[0].enrolled, CA_OK);
    cr_expect_eq(attempts[1].enrolled, CA_OK);
    cr_expect_eq(attempts[2].reported, CA_FORBIDDEN);
    cr_expect_str_eq(attempts[1].device, attempts[0].device);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM device"), 1);
    /* The first certificate gave way to the second. */
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM certificate WHERE "
                                       "protocol = 'scep' AND state = 1"),
                 1);
    /* What is over has left its id free. */
    house_run(&house, "UPDATE device SET state = 3");
    attempt_run(&attempts[2], &devices[2]);
    cr_assert_eq(attempts[2].enrolled, CA_OK);
    cr_expect_str_neq(attempts[2].device, attempts[0].device);
    for (size_t i = 0; i < 3; i++) {
        attempt_clear(&attempts[i]);
        house_device_clear(&devices[i]);
    }
}

Test(enroll_facts, A5_a_disabled_device_is_no_new_one_by_its_alias)
{
    struct house_device device, other;
    house_device_make(&device, "x", NULL);
    house_device_make(&other, "x", NULL);
    struct attempt first = { .user = "alice", .alias = "A", .flags = MDM };
    struct attempt again = { .user = "alice", .alias = "A", .flags = MDM };
    attempt_run(&first, &device);
    house_run(&house, "UPDATE device SET state = 2");
    attempt_run(&again, &other);
    cr_expect_eq(again.reported, CA_FORBIDDEN);
    /* Unenrolled is over: the same hardware starts anew. */
    house_run(&house, "UPDATE device SET state = 3");
    attempt_run(&again, &other);
    cr_assert_eq(again.enrolled, CA_OK);
    cr_expect_str_neq(again.device, first.device);
    attempt_clear(&first);
    attempt_clear(&again);
    house_device_clear(&device);
    house_device_clear(&other);
}

Test(enroll_facts, who_cannot_wait_is_told_at_once)
{
    struct house_device device;
    house_device_make(&device, "x", NULL);
    house_set(&house, "approvals", "1");
    struct attempt attempt = { .user = "alice", .flags = MDM, .transaction = "digest" };
    attempt_run(&attempt, &device);
    cr_expect_eq(attempt.enrolled, CA_CONFLICT);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM pending"), 0);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM device"), 0);
    house_device_clear(&device);
}

Test(enroll_facts, nobodys_device_reports_nothing)
{
    struct exchange exchange;
    const struct ca_device_facts facts = { .kind = "windows", .alias = "A" };
    house_exchange(&house, &exchange);
    cr_expect_eq(ca_device_report(&exchange.request, &facts), CA_UNAUTHENTICATED);
    exchange_clear(&exchange);
}
