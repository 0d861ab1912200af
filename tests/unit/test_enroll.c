/* Enrolment and renewal through the whole core: order, binding, one secret one
 * certificate. */
#include "auto.h"
#include "clock.h"
#include "enroll.h"
#include "grant.h"
#include "house.h"
#include "issue.h"
#include "leak.h"
#include "names.h"
#include "pending.h"
#include "text.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define DAY INT64_C(86400)

static struct house house;

static void
build(void)
{
    house_build(&house);
}

static void
leave(void)
{
    issue_pause = NULL;
    house_remove(&house);
    clock_set(-1);
}

TestSuite(enroll, .init = build, .fini = leave);

/* Certificates of devices, whatever the ceremony recorded beside them. */
static int64_t
count_devices_certificates(const char *condition)
{
    char sql[256];
    snprintf(sql, sizeof sql,
             "SELECT COUNT(*) FROM certificate WHERE protocol = 'scep' AND %s",
             condition);
    return house_integer(&house, sql);
}

static int64_t
count_issued(void)
{
    return count_devices_certificates("state = 1");
}

static void
secret(char text[CHALLENGE_TEXT_SIZE])
{
    house_challenge(&house, NULL, text);
}

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

static void
device_enroll(struct house_device *device)
{
    char text[CHALLENGE_TEXT_SIZE];
    secret(text);
    house_device_make(device, "alice", NULL);
    cr_assert_eq(house_enroll(&house, device, text, NULL), CA_OK, "%s",
                 status_message());
}

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

/* ---- I1: killed between the steps ---- */

static enum issue_step killed_at;

static void
kill_self(enum issue_step step)
{
    if (step == killed_at)
        kill(getpid(), SIGKILL);
}

/* A child that opens the service anew enrols and is killed at the step. */
static void
enroll_killed(struct house_device *device, const char *text, enum issue_step step)
{
    house_close(&house);
    pid_t child = fork();
    cr_assert(child >= 0);
    if (child == 0) {
        if (service_open(house.config, &house.service) != CA_OK)
            _exit(3);
        killed_at = step;
        issue_pause = kill_self;
        _exit(house_enroll(&house, device, text, "t1") == CA_OK ? 0 : 2);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %x", status);
    house_reopen(&house);
}

Test(enroll, I1_killed_after_reserve_or_signature_the_retry_signs_the_same_serial)
{
    static const enum issue_step steps[] = { ISSUE_RESERVED, ISSUE_SIGNED };
    for (size_t i = 0; i < 2; i++) {
        char text[CHALLENGE_TEXT_SIZE];
        struct house_device device, other;
        secret(text);
        house_device_make(&device, "alice", NULL);
        house_device_make(&other, "alice", NULL);
        int64_t before = count_devices_certificates("1 = 1");
        enroll_killed(&device, text, steps[i]);
        cr_expect_eq(count_devices_certificates("state = 0"), 1);
        cr_expect_eq(count_devices_certificates("1 = 1"), before + 1);
        cr_expect_eq(house_enroll(&house, &other, text, "t2"), CA_UNAUTHENTICATED,
                     "the secret is claimed");
        cr_expect_eq(house_enroll(&house, &device, text, "t1"), CA_UNAVAILABLE,
                     "whoever began it may still be at it");
        clock_set(clock_now() + 10);
        cr_expect_eq(house_enroll(&house, &device, text, "t1"), CA_OK, "%s",
                     status_message());
        cr_expect_eq(count_devices_certificates("1 = 1"), before + 1);
        cr_expect_eq(count_devices_certificates("state = 0"), 0);
        cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM challenge WHERE "
                                           "state = 2"),
                     (int64_t)i + 1);
        house_device_clear(&device);
        house_device_clear(&other);
    }
}

Test(enroll, I1_killed_before_the_answer_the_retry_gets_what_is_recorded)
{
    char text[CHALLENGE_TEXT_SIZE];
    struct house_device device;
    secret(text);
    house_device_make(&device, "alice", NULL);
    enroll_killed(&device, text, ISSUE_COMPLETED);
    cr_expect_eq(count_issued(), 1);
    cr_expect_eq(house_enroll(&house, &device, text, "t1"), CA_OK, "%s",
                 status_message());
    cr_expect_eq(count_devices_certificates("1 = 1"), 1);
    house_device_clear(&device);
}

Test(enroll, I1_abandoned_intent_opens_the_secret_and_is_never_completed)
{
    char text[CHALLENGE_TEXT_SIZE];
    struct house_device device;
    secret(text);
    house_device_make(&device, "alice", NULL);
    enroll_killed(&device, text, ISSUE_RESERVED);
    cr_assert_eq(enroll_tidy(house.service), CA_OK, "%s", status_message());
    cr_expect_eq(count_devices_certificates("state = 0"), 1, "it is not time yet");
    clock_set(clock_now() + house.service->config.intent_abandon_seconds + 1);
    cr_assert_eq(enroll_tidy(house.service), CA_OK, "%s", status_message());
    cr_expect_eq(count_devices_certificates("state = 4"), 1);
    cr_expect_eq(house_integer(&house, "SELECT state FROM challenge"), CHALLENGE_OPEN);
    cr_expect_eq(house_enroll(&house, &device, text, "t1"), CA_OK, "%s",
                 status_message());
    cr_expect_eq(count_devices_certificates("state = 4"), 1);
    cr_expect_eq(count_issued(), 1);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM device"), 1);
    house_device_clear(&device);
}

/* ---- A5: disabled while the token signs ---- */

static void
disable_alice(enum issue_step step)
{
    if (step == ISSUE_SIGNED)
        house_run(&house, "UPDATE users SET state = 1");
}

Test(enroll, A5_disabled_while_the_token_signs_gets_nothing_and_the_record_is_revoked)
{
    char text[CHALLENGE_TEXT_SIZE];
    struct house_device device;
    secret(text);
    house_device_make(&device, "alice", NULL);
    issue_pause = disable_alice;
    cr_expect_eq(house_enroll(&house, &device, text, "t1"), CA_FORBIDDEN);
    issue_pause = NULL;
    cr_expect_null(device.certificate);
    cr_expect_eq(count_devices_certificates("state = 2"), 1);
    house_run(&house, "UPDATE users SET state = 0");
    cr_expect_eq(house_enroll(&house, &device, text, "t1"), CA_FORBIDDEN,
                 "the retry does not give it out either");
    house_device_clear(&device);
}

/* ---- I2: the record cannot be written ---- */

static void
fill_disk(enum issue_step step)
{
    struct rlimit none = { 0, RLIM_INFINITY };
    if (step == ISSUE_SIGNED)
        setrlimit(RLIMIT_FSIZE, &none);
}

Test(enroll, I2_no_certificate_leaves_when_the_record_cannot_be_written)
{
    char text[CHALLENGE_TEXT_SIZE];
    struct house_device device;
    struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
    signal(SIGXFSZ, SIG_IGN);
    secret(text);
    house_device_make(&device, "alice", NULL);
    issue_pause = fill_disk;
    enum ca_status status = house_enroll(&house, &device, text, "t1");
    setrlimit(RLIMIT_FSIZE, &all);
    issue_pause = NULL;
    cr_expect_eq(status, CA_UNAVAILABLE, "%s", ca_status_name(status));
    cr_expect_null(device.certificate);
    cr_expect_eq(count_devices_certificates("state = 0"), 1);
    cr_expect_eq(house_enroll(&house, &device, text, "t1"), CA_OK, "%s",
                 status_message());
    cr_expect_eq(count_devices_certificates("1 = 1"), 1);
    house_device_clear(&device);
}

/* ---- Approvals ---- */

static enum ca_status
approve_step(struct store_tx *tx, void *arg)
{
    enum pending_state state;
    const char *const *names = arg;
    return pending_approve(tx, names[0], names[1], &state);
}

struct ids {
    char id[48];
};

static enum ca_status
visit_id(const void *record, void *arg)
{
    const struct pending *pending = record;
    snprintf(((struct ids *)arg)->id, 48, "%s", pending->id);
    return CA_OK;
}

static enum ca_status
read_id(struct store_tx *tx, void *arg)
{
    return pending_list(tx, NULL, &(struct record_page){ .limit = 1 }, visit_id, arg);
}

static enum ca_status
approve(const char *admin)
{
    struct ids ids = { "" };
    cr_assert_eq(store_read(house.service->store, read_id, &ids), CA_OK);
    const char *names[] = { ids.id, admin };
    enum ca_status status = store_write(house.service->store, approve_step, names);
    return status == CA_OK ? enroll_approved(house.service, ids.id) : status;
}

Test(enroll, approvals_are_waited_for_and_polled)
{
    char text[CHALLENGE_TEXT_SIZE];
    struct house_device device, other;
    house_set(&house, "approvals", "2");
    secret(text);
    house_device_make(&device, "alice", NULL);
    house_device_make(&other, "alice", NULL);
    cr_assert_eq(house_enroll(&house, &device, text, "t1"), CA_PENDING, "%s",
                 status_message());
    cr_expect_eq(house_enroll(&house, &device, text, "t1"), CA_PENDING, "the retry");
    cr_expect_eq(house_enroll(&house, &other, text, "t2"), CA_UNAUTHENTICATED,
                 "the secret is claimed");
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM pending"), 1);
    cr_expect_eq(house_poll(&house, &device, "t1"), CA_PENDING);
    cr_expect_eq(house_poll(&house, &other, "t1"), CA_NOT_FOUND);
    cr_expect_eq(approve("alice"), CA_FORBIDDEN, "A6: an own request");
    cr_expect_eq(approve("carol"), CA_OK, "%s", status_message());
    cr_expect_eq(approve("carol"), CA_CONFLICT);
    cr_expect_eq(house_poll(&house, &device, "t1"), CA_PENDING);
    cr_expect_eq(count_devices_certificates("1 = 1"), 0);
    cr_expect_eq(approve("dave"), CA_OK, "%s", status_message());
    cr_expect_eq(count_issued(), 1);
    cr_expect_eq(house_poll(&house, &device, "t1"), CA_OK, "%s", status_message());
    cr_expect_eq(house_integer(&house, "SELECT state FROM challenge"), CHALLENGE_USED);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM challenge c JOIN "
                                       "certificate x ON c.serial = x.serial"),
                 1);
    cr_expect_eq(house_poll(&house, &other, "t1"), CA_NOT_FOUND);
    house_device_clear(&device);
    house_device_clear(&other);
}

Test(enroll, A6_approvals_of_the_requester_do_not_count_whoever_recorded_them)
{
    char text[CHALLENGE_TEXT_SIZE];
    struct house_device device;
    struct ids ids = { "" };
    house_set(&house, "approvals", "1");
    secret(text);
    house_device_make(&device, "alice", NULL);
    cr_assert_eq(house_enroll(&house, &device, text, "t1"), CA_PENDING);
    house_run(&house, "UPDATE pending SET state = 1, approval_count = 1, "
                      "approvals = '\"alice\"'");
    cr_assert_eq(store_read(house.service->store, read_id, &ids), CA_OK);
    cr_expect_eq(enroll_approved(house.service, ids.id), CA_FORBIDDEN);
    cr_expect_eq(house_poll(&house, &device, "t1"), CA_FORBIDDEN);
    cr_expect_eq(count_devices_certificates("1 = 1"), 0);
    house_device_clear(&device);
}

Test(enroll, refused_and_expired_requests_give_nothing)
{
    char text[CHALLENGE_TEXT_SIZE];
    struct house_device device;
    house_set(&house, "approvals", "1");
    secret(text);
    house_device_make(&device, "alice", NULL);
    cr_assert_eq(house_enroll(&house, &device, text, "t1"), CA_PENDING);
    house_run(&house, "UPDATE pending SET state = 2, refused_by = 'carol'");
    cr_expect_eq(house_poll(&house, &device, "t1"), CA_FORBIDDEN);
    house_run(&house, "UPDATE pending SET state = 0");
    clock_set(clock_now() + house.service->config.pending_expire_seconds + 1);
    cr_assert_eq(enroll_tidy(house.service), CA_OK, "%s", status_message());
    cr_expect_eq(house_poll(&house, &device, "t1"), CA_NOT_FOUND);
    cr_expect_eq(approve("carol"), CA_CONFLICT);
    cr_expect_eq(house_integer(&house, "SELECT state FROM challenge"), CHALLENGE_OPEN);
    house_device_clear(&device);
}

Test(enroll, approval_that_was_not_signed_at_once_is_signed_by_poll_or_job)
{
    for (int by_job = 0; by_job < 2; by_job++) {
        char text[CHALLENGE_TEXT_SIZE];
        struct house_device device;
        house_set(&house, "approvals", "1");
        secret(text);
        house_device_make(&device, "alice", NULL);
        cr_assert_eq(house_enroll(&house, &device, text, "t1"), CA_PENDING);
        house_run(&house, "UPDATE pending SET state = 1, approval_count = 1, "
                          "approvals = '\"carol\"' WHERE state = 0");
        if (by_job)
            cr_assert_eq(enroll_tidy(house.service), CA_OK, "%s", status_message());
        cr_expect_eq(house_poll(&house, &device, "t1"), CA_OK, "%s", status_message());
        cr_expect_eq(count_issued(), by_job + 1);
        house_device_clear(&device);
    }
}

/* ---- S4 and many at once ---- */

#define THREADS 8

struct racer {
    struct house_device device;
    const char *text, *transaction;
    pthread_barrier_t *start;
    enum ca_status status;
};

static void *
race(void *arg)
{
    struct racer *racer = arg;
    pthread_barrier_wait(racer->start);
    racer->status =
        house_enroll(&house, &racer->device, racer->text, racer->transaction);
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
    for (size_t i = 0; i < THREADS; i++) {
        cr_expect(racers[i].status == CA_OK || racers[i].status == CA_UNAVAILABLE, "%s",
                  ca_status_name(racers[i].status));
        if (racers[i].status == CA_OK)
            cr_expect_str_eq(racers[i].device.serial, racers[0].device.serial);
        if (i > 0)
            X509_free(racers[i].device.certificate);
    }
    cr_expect_eq(racers[0].status, CA_OK);
    cr_expect_eq(count_devices_certificates("1 = 1"), 1);
    house_device_clear(&racers[0].device);
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
