/* Enrolments that wait for an approval. */
#include "enroll.h"
#include "enroll_rig.h"
#include "pending.h"
#include <criterion/criterion.h>

TestSuite(enroll_approval, .init = build, .fini = leave);

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

Test(enroll_approval, R8_10000_requests_wait_at_most)
{
    char text[CHALLENGE_TEXT_SIZE];
    struct house_device device;
    house_set(&house, "approvals", "1");
    house_run(&house,
              "INSERT INTO pending (id, state, approvals_needed, approval_count,"
              " approvals, expires, request, signer_spki_sha256, request_sha256,"
              " flags, created, updated, version)"
              " WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
              " WHERE i < 9999) SELECT 'n' || i, 0, 1, 0, '', 9999999999, x'00',"
              " x'00', x'00', 0, 1, 1, 1 FROM n");
    secret(text);
    house_device_make(&device, "alice", NULL);
    cr_expect_eq(house_enroll(&house, &device, text, "t1"), CA_PENDING, "%s",
                 status_message());
    house_device_clear(&device);
    secret(text);
    house_device_make(&device, "alice", NULL);
    cr_expect_eq(house_enroll(&house, &device, text, "t2"), CA_LIMIT, "%s",
                 status_message());
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM pending"), 10000);
    house_run(&house, "UPDATE pending SET state = 4 WHERE id = 'n1'");
    cr_expect_eq(house_enroll(&house, &device, text, "t2"), CA_PENDING, "%s",
                 status_message());
    house_device_clear(&device);
}

Test(enroll_approval, approvals_are_waited_for_and_polled)
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

Test(enroll_approval, A6_approvals_of_the_requester_do_not_count_whoever_recorded_them)
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

Test(enroll_approval, refused_and_expired_requests_give_nothing)
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

Test(enroll_approval, approval_that_was_not_signed_at_once_is_signed_by_poll_or_job)
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
