/* The ends of certificates, users and devices: what follows from each, in one step. */
#include "authority.h"
#include "auto.h"
#include "certificate.h"
#include "challenge.h"
#include "clock.h"
#include "device.h"
#include "leak.h"
#include "lifecycle.h"
#include "profile.h"
#include "scratch_store.h"
#include "text.h"
#include "user.h"
#include <criterion/criterion.h>

#define NOW INT64_C(1800000000)
#define DEVICE_A "aaaaaaaa-0000-4000-8000-000000000001"
#define DEVICE_B "bbbbbbbb-0000-4000-8000-000000000002"

static const struct lifecycle_cause cause = { .actor = "admin:root",
                                              .protocol = "api",
                                              .request = "r1" };

static enum ca_status
fill(struct store_tx *tx, void *arg)
{
    (void)arg;
    static const char *const statements[] = {
        "INSERT INTO profile (kind, name, description, settings, created, updated, "
        "version) VALUES ('scep', 'default', '', '{}', 1, 1, 1)",
        NULL,
    };
    enum ca_status status = CA_OK;
    for (size_t i = 0; status == CA_OK && statements[i]; i++)
        status = store_run(tx, statements[i], STORE_NO_VALUES, NULL, NULL, NULL);
    static const char *const users[] = { "alice", "bob" };
    for (size_t i = 0; status == CA_OK && i < 2; i++) {
        struct user user = { .name = strdup(users[i]), .attributes = json_object() };
        status = user_insert(tx, &user);
        user_clear(&user);
    }
    static const char *const devices[][2] = { { DEVICE_A, "alice" },
                                              { DEVICE_B, "bob" } };
    for (size_t i = 0; status == CA_OK && i < 2; i++) {
        struct device device = { .id = strdup(devices[i][0]),
                                 .owner = strdup(devices[i][1]),
                                 .kind = strdup("scep"),
                                 .hardware = json_object(),
                                 .report = json_object(),
                                 .state = DEVICE_ACTIVE };
        status = device_insert(tx, &device);
        device_clear(&device);
    }
    return status;
}

struct wanted {
    const char *serial, *user, *device, *profile;
    char spki; /* the digest is 32 of these */
};

static enum ca_status
issue_step(struct store_tx *tx, void *arg)
{
    const struct wanted *wanted = arg;
    uint8_t octets[32];
    char spki[65], profile[65], issuer[] = "issuing", subject[] = "CN=x";
    char protocol[] = "scep", serial[65], user[65], device[65], tbs[] = "tbs";
    memset(octets, wanted->spki, sizeof octets);
    hex_format(octets, sizeof octets, spki);
    snprintf(profile, sizeof profile, "%s", wanted->profile);
    snprintf(serial, sizeof serial, "%s", wanted->serial);
    snprintf(user, sizeof user, "%s", wanted->user);
    snprintf(device, sizeof device, "%s", wanted->device);
    struct certificate certificate = { .serial = serial,
                                       .issuer = issuer,
                                       .subject = subject,
                                       .profile = profile,
                                       .user = user,
                                       .device = device,
                                       .protocol = protocol,
                                       .spki_sha256 = spki,
                                       .not_before = NOW - 300,
                                       .not_after = NOW + 86400,
                                       .der = tbs,
                                       .der_size = 3 };
    struct certificate_intent intent = { .certificate = &certificate, .run = "run" };
    enum ca_status status = device_claim_key(tx, device, octets, false);
    if (status == CA_OK)
        status = certificate_reserve(tx, &intent);
    return status == CA_OK ? certificate_complete(tx, serial, "run", "cert", 4)
                           : status;
}

static void
issue(const char *serial, const char *user, const char *device, const char *profile,
      char spki)
{
    struct wanted wanted = { serial, user, device, profile, spki };
    cr_assert_eq(store_write(scratch_store, issue_step, &wanted), CA_OK, "%s",
                 status_message());
}

static void
open_house(void)
{
    clock_set(NOW);
    audit_set_instance("test");
    scratch_store_open();
    cr_assert_eq(store_write(scratch_store, fill, NULL), CA_OK, "%s", status_message());
    issue("01", "alice", DEVICE_A, "default", 1);
    issue("02", "alice", DEVICE_A, "vpn", 2);
    issue("03", "bob", DEVICE_B, "default", 3);
}

static void
close_house(void)
{
    scratch_store_close();
    clock_set(-1);
}

TestSuite(lifecycle, .init = open_house, .fini = close_house);

struct revocation {
    const char *serial;
    int reason;
};

static enum ca_status
revoke_step(struct store_tx *tx, void *arg)
{
    const struct revocation *wanted = arg;
    return lifecycle_revoke(tx, wanted->serial, wanted->reason, 0, &cause);
}

static enum ca_status
revoke_one(const char *serial, int reason)
{
    struct revocation wanted = { serial, reason };
    return store_write(scratch_store, revoke_step, &wanted);
}

static int64_t
crl_revision(void)
{
    return scratch_integer("SELECT COALESCE(MAX(revision), 0) FROM authority_crl");
}

Test(lifecycle, revocation_is_recorded_audited_and_makes_the_crl_stale)
{
    int64_t before = crl_revision();
    cr_assert_eq(revoke_one("01", 4), CA_OK, "%s", status_message());
    cr_expect_eq(scratch_integer("SELECT state FROM certificate WHERE serial = '01'"),
                 CERTIFICATE_REVOKED);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM audit_entry WHERE "
                                 "action = 'certificate.revoke' AND "
                                 "actor = 'admin:root'"),
                 1);
    cr_expect_gt(crl_revision(), before);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM blocked_key"), 0);
    LEAK_CHECK();
}

Test(lifecycle, revoked_twice_or_unknown_changes_nothing)
{
    cr_assert_eq(revoke_one("01", 4), CA_OK);
    int64_t revision = crl_revision();
    int64_t entries = scratch_integer("SELECT COUNT(*) FROM audit_entry");
    cr_expect_eq(revoke_one("01", 5), CA_CONFLICT);
    cr_expect_eq(revoke_one("0f", 1), CA_NOT_FOUND);
    cr_expect_eq(revoke_one("03", 7), CA_MALFORMED);
    cr_expect_eq(crl_revision(), revision);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM audit_entry"), entries);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM blocked_key"), 0);
    LEAK_CHECK();
}

static enum ca_status
claim_step(struct store_tx *tx, void *arg)
{
    uint8_t spki[32];
    memset(spki, *(const char *)arg, sizeof spki);
    return device_claim_key(tx, DEVICE_A, spki, false);
}

Test(lifecycle, R4_compromise_blocks_the_key_for_good)
{
    char own = 1;
    cr_assert_eq(store_write(scratch_store, claim_step, &own), CA_OK);
    cr_assert_eq(revoke_one("01", 1), CA_OK, "%s", status_message());
    cr_expect_eq(store_write(scratch_store, claim_step, &own), CA_FORBIDDEN);
    cr_expect_not_null(strstr(status_message(), "key_compromise"), "%s",
                       status_message());
    LEAK_CHECK();
}

Test(lifecycle, R4_compromise_of_a_replaced_certificate_blocks_the_key)
{
    char own = 1;
    cr_assert_eq(store_write(scratch_store, claim_step, &own), CA_OK);
    cr_assert_eq(revoke_one("01", 4), CA_OK, "%s", status_message());
    cr_expect_eq(store_write(scratch_store, claim_step, &own), CA_OK);
    int64_t revision = crl_revision();
    cr_assert_eq(revoke_one("01", 1), CA_OK, "%s", status_message());
    cr_expect_eq(store_write(scratch_store, claim_step, &own), CA_FORBIDDEN);
    cr_expect_gt(crl_revision(), revision);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM audit_entry WHERE "
                                 "action = 'certificate.revoke'"),
                 2);
    LEAK_CHECK();
}

Test(lifecycle, hold_is_released_and_said_so)
{
    cr_assert_eq(revoke_one("01", 6), CA_OK);
    cr_assert_eq(revoke_one("01", 8), CA_OK, "%s", status_message());
    cr_expect_eq(scratch_integer("SELECT state FROM certificate WHERE serial = '01'"),
                 CERTIFICATE_ISSUED);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM audit_entry WHERE "
                                 "action = 'certificate.release'"),
                 1);
    LEAK_CHECK();
}

static enum ca_status
challenge_step(struct store_tx *tx, void *arg)
{
    const char *const *names = arg;
    char text[CHALLENGE_TEXT_SIZE];
    struct challenge challenge = { .user = strdup(names[0]),
                                   .profile = strdup("default"),
                                   .device = names[1] ? strdup(names[1]) : NULL,
                                   .expires_in = 3600 };
    enum ca_status status = challenge_insert(tx, &challenge, text);
    challenge_clear(&challenge);
    return status;
}

static void
challenge(const char *user, const char *device)
{
    const char *names[] = { user, device };
    cr_assert_eq(store_write(scratch_store, challenge_step, names), CA_OK, "%s",
                 status_message());
}

static enum ca_status
wait_step(struct store_tx *tx, void *arg)
{
    (void)arg;
    return store_run(tx,
                     "INSERT INTO pending (id, user_name, device_id, state, "
                     "approvals_needed, approval_count, approvals, expires, request, "
                     "signer_spki_sha256, request_sha256, created, updated, version) "
                     "SELECT serial, user_name, device_id, 0, 1, 0, '[]', 9, $1, $1, "
                     "$1, 1, 1, 1 FROM certificate",
                     STORE_VALUES(store_blob("x", 1)), NULL, NULL, NULL);
}

/* A request that waits for each certificate, with its serial as id. */
static void
requests_wait(void)
{
    cr_assert_eq(store_write(scratch_store, wait_step, NULL), CA_OK, "%s",
                 status_message());
}

static enum ca_status
disable_user_step(struct store_tx *tx, void *arg)
{
    return lifecycle_disable_user(tx, arg, &cause);
}

Test(lifecycle, A5_disabled_user_loses_certificates_and_open_challenges)
{
    char alice[] = "alice";
    for (int i = 0; i < 205; i++) /* more than two pages of a list */
        challenge("alice", i % 2 ? DEVICE_A : NULL);
    challenge("bob", NULL);
    requests_wait();
    cr_assert_eq(store_write(scratch_store, disable_user_step, alice), CA_OK, "%s",
                 status_message());
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM certificate WHERE state = 2 "
                                 "AND reason = 'cessation_of_operation'"),
                 2);
    cr_expect_eq(scratch_integer("SELECT state FROM certificate WHERE serial = '03'"),
                 CERTIFICATE_ISSUED);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM challenge WHERE state = 3 "
                                 "AND user_name = 'alice'"),
                 205);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM challenge WHERE state = 0"), 1);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM pending WHERE state = 2"), 2);
    cr_expect_eq(scratch_integer("SELECT state FROM pending WHERE id = '03'"), 0);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM audit_entry WHERE "
                                 "action = 'certificate.revoke'"),
                 2);
    LEAK_CHECK();
}

static enum ca_status
disable_device_step(struct store_tx *tx, void *arg)
{
    return lifecycle_disable_device(tx, arg, &cause);
}

Test(lifecycle, A5_disabled_device_loses_its_certificates_and_challenges_alone)
{
    char device[] = DEVICE_A, unknown[] = "cccccccc-0000-4000-8000-000000000003";
    challenge("alice", DEVICE_A);
    challenge("alice", NULL);
    requests_wait();
    cr_expect_eq(store_write(scratch_store, disable_device_step, unknown),
                 CA_NOT_FOUND);
    cr_assert_eq(store_write(scratch_store, disable_device_step, device), CA_OK, "%s",
                 status_message());
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM certificate WHERE state = 2"),
                 2);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM challenge WHERE state = 3 "
                                 "AND device_id IS NOT NULL"),
                 1);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM challenge WHERE state = 0"), 1);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM pending WHERE state = 2"), 2);
    cr_expect_eq(scratch_integer("SELECT state FROM pending WHERE id = '03'"), 0);
    LEAK_CHECK();
}

struct supersession {
    bool any;
};

static enum ca_status
supersede_step(struct store_tx *tx, void *arg)
{
    struct supersession *wanted = arg;
    return lifecycle_supersede(tx, DEVICE_A, "default", "04", &cause, &wanted->any);
}

Test(lifecycle, newer_certificate_supersedes_the_device_s_others_of_its_profile)
{
    struct supersession wanted = { false };
    issue("04", "alice", DEVICE_A, "default", 4);
    cr_assert_eq(store_write(scratch_store, supersede_step, &wanted), CA_OK, "%s",
                 status_message());
    cr_expect(wanted.any);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM certificate WHERE state = 2 AND "
                                 "serial = '01' AND reason = 'superseded'"),
                 1);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM certificate WHERE state = 2"),
                 1);
    cr_assert_eq(store_write(scratch_store, supersede_step, &wanted), CA_OK);
    cr_expect(!wanted.any);
    LEAK_CHECK();
}

static enum ca_status
failing_step(struct store_tx *tx, void *arg)
{
    char *serial = arg;
    enum ca_status status = lifecycle_revoke(tx, serial, 4, 0, &cause);
    return status == CA_OK ? ca_fail(CA_INTERNAL, "the caller fails afterwards")
                           : status;
}

Test(lifecycle, revocation_is_a_step_of_the_caller_s_transaction)
{
    char serial[] = "01";
    cr_assert_eq(store_write(scratch_store, failing_step, serial), CA_INTERNAL);
    cr_expect_eq(scratch_integer("SELECT state FROM certificate WHERE serial = '01'"),
                 CERTIFICATE_ISSUED);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM audit_entry"), 0);
    LEAK_CHECK();
}
