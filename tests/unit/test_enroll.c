/* Enrolment and renewal through the whole core: order, binding, one secret one
 * certificate. */
#include "auto.h"
#include "enroll_rig.h"
#include "leak.h"
#include "names.h"
#include <criterion/criterion.h>
#include <pthread.h>

TestSuite(enroll, .init = build, .fini = leave);

Test(enroll, challenge_gives_a_certificate_by_profile_and_is_used_up)
{
    char text[CHALLENGE_TEXT_SIZE];
    struct house_device device, other;
    secret(text);
    house_device_make(&device, "alice", "DNS:a.devices.example.com");
    house_device_make(&other, "alice", NULL);
    cr_assert_eq(house_enroll(&house, &device, text, "t1"), CA_OK, "%s",
                 status_message());
    X509 *certificate = device.certificate;
    CA_AUTO(free)
    char *subject = names_format_subject(X509_get_subject_name(certificate));
    cr_expect_str_eq(subject, "CN=alice,O=Example");
    cr_expect_eq(EVP_PKEY_eq(X509_get0_pubkey(certificate), device.key), 1);
    struct issuers *issuers = service_issuers(house.service);
    X509 *issuer = issuers_find(issuers, "issuing")->certificate;
    cr_expect_eq(X509_verify(certificate, X509_get0_pubkey(issuer)), 1);
    cr_expect_eq(
        X509_NAME_cmp(X509_get_issuer_name(certificate), X509_get_subject_name(issuer)),
        0);
    issuers_release(issuers);
    cr_expect(!(X509_get_extension_flags(certificate) & EXFLAG_CA));
    cr_expect_eq(X509_check_host(certificate, "a.devices.example.com", 0, 0, NULL), 1);
    cr_expect_eq(count_issued(), 1);
    cr_expect_eq(house_integer(&house, "SELECT state FROM challenge"), CHALLENGE_USED);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM device WHERE state = 1 "
                                       "AND owner = 'alice' AND kind = 'scep'"),
                 1);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM audit_entry WHERE "
                                       "action = 'certificate.issue' AND "
                                       "actor = 'user:alice'"),
                 1);
    cr_expect_eq(house_enroll(&house, &other, text, "t2"), CA_UNAUTHENTICATED);
    cr_expect_eq(count_issued(), 1);
    house_device_clear(&device);
    house_device_clear(&other);
    leave();
    LEAK_CHECK();
    build();
}

Test(enroll, no_secret_is_in_the_audit)
{
    char text[CHALLENGE_TEXT_SIZE], sql[256];
    struct house_device device;
    secret(text);
    house_device_make(&device, "alice", NULL);
    cr_assert_eq(house_enroll(&house, &device, text, "t1"), CA_OK);
    /* The id may be there, the secret behind it not, in either case of letters. */
    snprintf(sql, sizeof sql,
             "SELECT COUNT(*) FROM audit_entry WHERE upper(entry) LIKE '%%%s%%'",
             text + 16);
    cr_expect_eq(house_integer(&house, sql), 0);
    house_device_clear(&device);
}

Test(enroll, the_same_message_gets_the_same_certificate_inside_the_window_alone)
{
    char text[CHALLENGE_TEXT_SIZE], first[48];
    struct house_device device;
    secret(text);
    house_device_make(&device, "alice", NULL);
    cr_assert_eq(house_enroll(&house, &device, text, "t1"), CA_OK);
    snprintf(first, sizeof first, "%s", device.serial);
    cr_expect_eq(house_enroll(&house, &device, text, "t1"), CA_OK, "%s",
                 status_message());
    cr_expect_str_eq(device.serial, first);
    cr_expect_eq(house_enroll(&house, &device, text, "t2"), CA_UNAUTHENTICATED,
                 "another transaction is another request");
    house_device_ask(&device, "alice", "DNS:b.devices.example.com");
    cr_expect_eq(house_enroll(&house, &device, text, "t1"), CA_UNAUTHENTICATED,
                 "another request under the same transaction");
    cr_expect_eq(count_devices_certificates("1 = 1"), 1);
    house_device_clear(&device);
}

Test(enroll, the_same_message_after_the_window_is_a_new_request)
{
    char text[CHALLENGE_TEXT_SIZE];
    struct house_device device;
    secret(text);
    house_device_make(&device, "alice", NULL);
    cr_assert_eq(house_enroll(&house, &device, text, "t1"), CA_OK);
    char first[48];
    snprintf(first, sizeof first, "%s", device.serial);
    clock_set(clock_now() + house.service->config.retry_window_seconds + 1);
    cr_expect_eq(house_enroll(&house, &device, text, "t1"), CA_UNAUTHENTICATED);
    secret(text);
    cr_expect_eq(house_enroll(&house, &device, text, "t1"), CA_OK, "%s",
                 status_message());
    cr_expect_str_neq(device.serial, first);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM device"), 1,
                 "the same key is the same device");
    cr_expect_eq(count_devices_certificates("reason = 'superseded'"), 1);
    house_device_clear(&device);
}

Test(enroll, another_s_transaction_id_gives_nothing)
{
    char text[CHALLENGE_TEXT_SIZE];
    struct house_device device, other;
    secret(text);
    house_device_make(&device, "alice", NULL);
    house_device_make(&other, "alice", NULL);
    cr_assert_eq(house_enroll(&house, &device, text, "t1"), CA_OK);
    cr_expect_eq(house_enroll(&house, &other, "", "t1"), CA_UNAUTHENTICATED);
    cr_expect_eq(house_poll(&house, &other, "t1"), CA_NOT_FOUND);
    cr_expect_eq(house_poll(&house, &device, "t9"), CA_NOT_FOUND);
    cr_expect_eq(house_poll(&house, &device, "t1"), CA_OK, "%s", status_message());
    house_device_clear(&device);
    house_device_clear(&other);
}

Test(enroll, A3_secret_is_bound_to_names)
{
    char text[CHALLENGE_TEXT_SIZE];
    char san_text[] = "dns:a.devices.example.com";
    char *san[] = { san_text };
    char subject[] = "CN=printer";
    struct house_device device;
    struct challenge bound = { .subject = subject, .san = { san, 1 } };
    house_challenge(&house, &bound, text);
    house_device_make(&device, "alice", NULL);
    cr_expect_eq(house_enroll(&house, &device, text, "t1"), CA_FORBIDDEN);
    house_device_ask(&device, "printer", "DNS:b.devices.example.com");
    cr_expect_eq(house_enroll(&house, &device, text, "t2"), CA_FORBIDDEN);
    cr_expect_eq(house_integer(&house, "SELECT state FROM challenge"), CHALLENGE_OPEN,
                 "a refused request uses nothing up");
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM audit_entry WHERE "
                                       "action = 'enrol.refuse'"),
                 2);
    house_device_ask(&device, "printer", "DNS:a.devices.example.com");
    cr_expect_eq(house_enroll(&house, &device, text, "t3"), CA_OK, "%s",
                 status_message());
    CA_AUTO(free)
    char *issued = names_format_subject(X509_get_subject_name(device.certificate));
    cr_expect_str_eq(issued, "CN=printer");
    house_device_clear(&device);
}

Test(enroll, R4_key_of_another_device_of_a_ca_or_compromised_is_refused)
{
    char text[CHALLENGE_TEXT_SIZE];
    char bob[] = "bob";
    struct house_device device;
    house_user(&house, "bob");
    secret(text);
    house_device_make(&device, NULL, NULL);
    cr_assert_eq(house_enroll(&house, &device, text, "t1"), CA_OK, "%s",
                 status_message());
    struct challenge of_bob = { .user = bob };
    house_challenge(&house, &of_bob, text);
    cr_expect_eq(house_enroll(&house, &device, text, "t2"), CA_FORBIDDEN, "%s",
                 status_message());
    house_run(&house, "INSERT INTO blocked_key (spki_sha256, reason, created) "
                      "SELECT spki_sha256, 'key_compromise', 1 FROM device_key");
    secret(text);
    cr_expect_eq(house_enroll(&house, &device, text, "t3"), CA_FORBIDDEN);
    cr_expect_geq(house_integer(&house, "SELECT COUNT(*) FROM blocked_key WHERE "
                                        "reason = 'ca_key'"),
                  3, "root, issuing and RA are blocked at start");
    cr_expect_eq(count_devices_certificates("1 = 1"), 1);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM device"), 1);
    house_device_clear(&device);
}

/* [MS-WCCE]'s template and KB5014754's account are for clients of Windows alone. */
Test(enroll, R6_over_SCEP_no_certificate_names_an_account)
{
    static const char *const oids[] = { "1.3.6.1.4.1.311.25.2",
                                        "1.3.6.1.4.1.311.21.7" };
    struct house_device device;
    house_run(&house, "UPDATE users SET attributes = "
                      "'{\"sid\": \"S-1-5-21-3623811015-3361044348-30300820-1013\"}'");
    device_enroll(&device);
    for (size_t i = 0; i < sizeof oids / sizeof oids[0]; i++) {
        ASN1_OBJECT *oid = OBJ_txt2obj(oids[i], 1);
        cr_expect_eq(X509_get_ext_by_OBJ(device.certificate, oid, -1), -1, "%s",
                     oids[i]);
        ASN1_OBJECT_free(oid);
    }
    house_device_clear(&device);
}

Test(enroll, R8_a_request_has_32768_octets_at_most)
{
    static const struct {
        size_t size;
        enum ca_status status;
    } cases[] = { { 32768, CA_MALFORMED }, { 32769, CA_LIMIT } };
    char text[CHALLENGE_TEXT_SIZE];
    struct house_device device;
    secret(text);
    house_device_make(&device, NULL, NULL);
    uint8_t *own = device.request, nothing[32769] = { 0 };
    size_t own_size = device.request_size;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        device.request = nothing;
        device.request_size = cases[i].size;
        cr_expect_eq(house_enroll(&house, &device, text, "t"), cases[i].status,
                     "%zu octets: %s", cases[i].size, status_message());
    }
    device.request = own;
    device.request_size = own_size;
    cr_expect_eq(house_enroll(&house, &device, text, "t"), CA_OK, "%s",
                 status_message());
    house_device_clear(&device);
}

Test(enroll, signer_must_hold_the_requested_key)
{
    char text[CHALLENGE_TEXT_SIZE];
    struct house_device device, stranger;
    secret(text);
    house_device_make(&device, "alice", NULL);
    house_device_make(&stranger, "alice", NULL);
    X509 *own = device.self;
    device.self = stranger.self;
    cr_expect_eq(house_enroll(&house, &device, text, "t1"), CA_FORBIDDEN);
    device.self = own;
    device.request[device.request_size - 1] ^= 1; /* its own signature */
    cr_expect_eq(house_enroll(&house, &device, text, "t2"), CA_FORBIDDEN, "%s",
                 status_message());
    cr_expect_eq(count_devices_certificates("1 = 1"), 0);
    house_device_clear(&device);
    house_device_clear(&stranger);
}

Test(enroll, one_credential_is_good_for_one_enrolment)
{
    char text[CHALLENGE_TEXT_SIZE];
    struct house_device device;
    struct exchange exchange;
    struct ca_issued issued = { 0 };
    secret(text);
    house_device_make(&device, "alice", NULL);
    house_exchange(&house, &exchange);
    struct ca_credential credential = { .kind = CA_CREDENTIAL_CHALLENGE,
                                        .protocol = "scep",
                                        .message = "19",
                                        .endpoint = "default",
                                        .secret = text,
                                        .secret_size = strlen(text) };
    struct ca_enrolment enrolment = { .pkcs10 = { device.request,
                                                  device.request_size } };
    cr_expect_eq(ca_enroll(&exchange.request, &enrolment, &issued), CA_UNAUTHENTICATED);
    cr_assert_eq(ca_authenticate(&exchange.request, &credential), CA_OK);
    cr_expect_eq(ca_enroll(&exchange.request, &enrolment, &issued), CA_OK, "%s",
                 status_message());
    cr_expect_eq(ca_enroll(&exchange.request, &enrolment, &issued), CA_UNAUTHENTICATED);
    exchange_clear(&exchange);
    cr_expect_eq(count_issued(), 1);
    house_device_clear(&device);
}

/* ---- Renewal ---- */

Test(enroll, renewal_keeps_device_and_names_and_supersedes)
{
    static const char *const messages[] = { "17", "19" };
    struct house_device device, new;
    device_enroll(&device);
    for (size_t i = 0; i < 2; i++) {
        clock_set(clock_now() + 340 * DAY);
        house_device_make(&new, i == 0 ? "alice" : NULL, NULL);
        cr_assert_eq(house_renew(&house, &device, &new, messages[i], "renew"), CA_OK,
                     "%s", status_message());
        cr_expect_eq(X509_NAME_cmp(X509_get_subject_name(new.certificate),
                                   X509_get_subject_name(device.certificate)),
                     0);
        cr_expect_eq(count_issued(), 1);
        cr_expect_eq(count_devices_certificates("reason = 'superseded'"),
                     (int64_t)i + 1);
        cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM device"), 1);
        cr_expect_eq(house_renew(&house, &device, &new, messages[i], "renew"), CA_OK,
                     "a retry of the renewal: %s", status_message());
        house_device_clear(&device);
        device = new;
    }
    house_device_clear(&device);
}

Test(enroll, A4_renewal_for_other_names_or_by_a_superseded_certificate_is_refused)
{
    struct house_device device, new;
    device_enroll(&device);
    clock_set(clock_now() + 340 * DAY);
    house_device_make(&new, "bob", NULL);
    cr_expect_eq(house_renew(&house, &device, &new, "17", "r1"), CA_FORBIDDEN);
    cr_expect_eq(house_renew(&house, &device, &new, "19", "r2"), CA_FORBIDDEN);
    house_device_ask(&new, "alice", "DNS:evil.example.com");
    cr_expect_eq(house_renew(&house, &device, &new, "17", "r3"), CA_FORBIDDEN);
    house_device_ask(&new, "alice", NULL);
    cr_expect_eq(house_renew(&house, &device, &new, "17", "r4"), CA_OK, "%s",
                 status_message());
    house_device_ask(&new, "alice", "DNS:c.devices.example.com");
    cr_expect_eq(house_renew(&house, &device, &new, "17", "r5"), CA_FORBIDDEN,
                 "the old certificate was superseded");
    cr_expect_eq(count_issued(), 1);
    house_device_clear(&device);
    house_device_clear(&new);
}

Test(enroll, renewal_has_the_names_that_the_challenge_granted)
{
    char text[CHALLENGE_TEXT_SIZE];
    char subject[] = "CN=printer";
    struct house_device device, new;
    struct challenge bound = { .subject = subject };
    house_challenge(&house, &bound, text);
    house_device_make(&device, "printer", NULL);
    cr_assert_eq(house_enroll(&house, &device, text, "t1"), CA_OK, "%s",
                 status_message());
    for (int i = 0; i < 2; i++) { /* the grant outlives more than one renewal */
        clock_set(clock_now() + 340 * DAY);
        house_device_make(&new, "printer", NULL);
        cr_assert_eq(house_renew(&house, &device, &new, "17", "r"), CA_OK, "%s",
                     status_message());
        CA_AUTO(free)
        char *issued = names_format_subject(X509_get_subject_name(new.certificate));
        cr_expect_str_eq(issued, "CN=printer");
        house_device_clear(&device);
        device = new;
    }
    house_device_clear(&device);
}

/* ---- S4 and many at once ---- */

#define THREADS 8

struct racer {
    struct house_device device;
    const char *text, *transaction;
    pthread_barrier_t *start;
    enum ca_status status;
    char message[256]; /* of a refusal */
};

static void *
race(void *arg)
{
    struct racer *racer = arg;
    pthread_barrier_wait(racer->start);
    racer->status =
        house_enroll(&house, &racer->device, racer->text, racer->transaction);
    if (racer->status != CA_OK)
        snprintf(racer->message, sizeof racer->message, "%s", status_message());
    return NULL;
}

static void
race_all(struct racer racers[THREADS])
{
    pthread_t threads[THREADS];
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, THREADS);
    for (size_t i = 0; i < THREADS; i++) {
        racers[i].start = &start;
        cr_assert_eq(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&start);
}

Test(enroll, S4_parallel_requests_with_one_secret_give_one_certificate)
{
    char text[CHALLENGE_TEXT_SIZE];
    struct racer racers[THREADS] = { 0 };
    int won = 0;
    secret(text);
    for (size_t i = 0; i < THREADS; i++) {
        house_device_make(&racers[i].device, "alice", NULL);
        racers[i].text = text;
    }
    race_all(racers);
    for (size_t i = 0; i < THREADS; i++) {
        won += racers[i].status == CA_OK;
        cr_expect(racers[i].status == CA_OK || racers[i].status == CA_UNAUTHENTICATED ||
                      racers[i].status == CA_FORBIDDEN,
                  "%s", ca_status_name(racers[i].status));
        house_device_clear(&racers[i].device);
    }
    cr_expect_eq(won, 1);
    cr_expect_eq(count_devices_certificates("1 = 1"), 1);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM device"), 1);
}

Test(enroll, S4_the_same_message_many_times_at_once_gives_one_certificate)
{
    char text[CHALLENGE_TEXT_SIZE];
    struct racer racers[THREADS] = { 0 };
    secret(text);
    house_device_make(&racers[0].device, "alice", NULL);
    for (size_t i = 0; i < THREADS; i++) {
        racers[i].text = text;
        racers[i].device = racers[0].device;
    }
    race_all(racers);
    /* A copy that waits too long for the one that is being signed may come again. */
    struct house_device again = racers[0].device;
    again.certificate = NULL;
    cr_assert_eq(house_enroll(&house, &again, text, NULL), CA_OK, "%s",
                 status_message());
    for (size_t i = 0; i < THREADS; i++) {
        cr_expect(racers[i].status == CA_OK || racers[i].status == CA_UNAVAILABLE,
                  "%s: %s", ca_status_name(racers[i].status), racers[i].message);
        if (racers[i].status == CA_OK)
            cr_expect_str_eq(racers[i].device.serial, again.serial);
        X509_free(racers[i].device.certificate);
    }
    cr_expect_eq(count_devices_certificates("1 = 1"), 1);
    house_device_clear(&again);
}

Test(enroll, cap_on_waiting_threads_answers_at_once)
{
    char text[CHALLENGE_TEXT_SIZE];
    struct house_device device;
    secret(text);
    house_device_make(&device, "alice", NULL);
    atomic_store(&house.service->waiting, (int)house.service->config.limits.waiting);
    cr_expect_eq(house_enroll(&house, &device, text, "t1"), CA_UNAVAILABLE);
    atomic_store(&house.service->waiting, 0);
    cr_expect_eq(house_enroll(&house, &device, text, "t1"), CA_OK, "%s",
                 status_message());
    cr_expect_eq(atomic_load(&house.service->waiting), 0);
    house_device_clear(&device);
}
