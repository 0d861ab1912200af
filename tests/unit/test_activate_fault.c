/* Activation under load and with faults of our own: throttles, a token or a sealing key
 * that is lost, kill -9 at any point. */
#include "activation_rig.h"
#include "auto.h"
#include "enroll.h"
#include "fault.h"
#include "leak.h"
#include "names.h"
#include "refusal.h"
#include <signal.h>
#include <sys/wait.h>

TestSuite(activate_fault, .init = rig_build, .fini = rig_leave);

static int64_t
tries(void)
{
    return house_integer(&house, "SELECT tries FROM activation");
}

/* ---- Throttles ---- */

Test(activate_fault, A7_hellos_are_throttled_by_source_and_by_name)
{
    uint8_t sn[16];
    struct ca_activation_offer offer;
    house.service->config.activation.hellos_per_source = 4;
    for (int i = 0; i < 4; i++)
        cr_assert_eq(rig_hello("alice", sn, &offer), CA_OK);
    cr_expect_eq(rig_hello("bob", sn, &offer), CA_LIMIT);
    cr_expect(offer.retry_after >= 1 && offer.retry_after <= 60);
    house.service->config.activation.hellos_per_source = 1000;
    house.service->config.activation.hellos_per_name = 4;
    cr_expect_eq(rig_hello("alice", sn, &offer), CA_LIMIT, "known or not");
    cr_expect_eq(rig_hello("bob", sn, &offer), CA_OK);
    house.service->config.activation.hellos_per_name = 1000;
    house.service->config.activation.open_per_source = 5;
    cr_expect_eq(rig_hello("carol", sn, &offer), CA_LIMIT);
    cr_expect_eq(rig_enroll(sn, "x", "auth_failed", NULL).attempt, CA_NOT_FOUND);
    house.service->config.activation.open_per_source = 6;
    cr_expect_eq(rig_hello("carol", sn, &offer), CA_OK);
    cr_expect_eq(rig_hello("dave", sn, &offer), CA_LIMIT);
    uint8_t spent[16];
    memcpy(spent, sn, sizeof spent);
    house.service->config.activation.open_per_source = 1000;
    house.service->config.activation.sessions = 5;
    clock_set(-1);
    usleep(1100000);
    cr_expect_eq(rig_hello("erin", sn, &offer), CA_UNAVAILABLE, "the table is full");
}

static enum ca_status
guard_hello(struct activate_guard *guard, int source, int name, int64_t *ret_wait)
{
    static const struct config_activation limits = { .hellos_per_source = 10,
                                                     .hellos_per_name = 10,
                                                     .hellos_per_second = 2,
                                                     .open_per_source = 10 };
    char address[32], digest[16];
    snprintf(address, sizeof address, "192.0.2.%d", source);
    snprintf(digest, sizeof digest, "name%d", name);
    return activate_guard_hello(guard, &limits,
                                &(struct activate_hello){ address, digest }, ret_wait);
}

/* Twenty at once by these limits; from the eleventh on one of an address, so that those
 * who come once get in beside those who come again and again. */
Test(activate_fault, A7_a_flood_from_many_addresses_is_bounded_in_all)
{
    struct activate_guard *guard = activate_guard_new();
    int64_t wait = 0, start = clock_ticks();
    int taken = 0, of_first = 0;
    for (int i = 0; i < 100; i++) /* four addresses, as often as they like */
        of_first += guard_hello(guard, i % 4, i, &wait) == CA_OK;
    int most = (int)((clock_ticks() - start) / 500) + 1;
    cr_expect(of_first >= 10 && of_first <= 10 + most, "%d", of_first);
    cr_expect(wait >= 1 && wait <= 60);
    for (int i = 0; i < 40; i++)
        taken += guard_hello(guard, 10 + i, 1000 + i, &wait) == CA_OK;
    most = (int)((clock_ticks() - start) / 500) + 1;
    cr_expect(of_first + taken >= 20 && of_first + taken <= 20 + most, "%d", taken);
    cr_expect_eq(wait, 1);
    usleep(600000);
    cr_expect_eq(guard_hello(guard, 100, 5000, &wait), CA_OK);
    activate_guard_free(guard);
}

Test(activate_fault, A7_failures_of_a_name_are_counted_across_passwords)
{
    char id[ACTIVATION_ID_SIZE];
    uint8_t sn[16];
    struct ca_activation_offer offer;
    house.service->config.activation.failures_per_name = 3;
    for (int i = 0; i < 3; i++) {
        rig_password(NULL, id);
        cr_assert_eq(rig_hello("alice", sn, &offer), CA_OK);
        rig_enroll(sn, "body", "auth_failed", NULL);
    }
    rig_password(NULL, id);
    cr_expect_eq(rig_hello("alice", sn, &offer), CA_LIMIT);
    cr_expect(offer.retry_after > 80000);
    clock_set(clock_now() + 86401);
    cr_expect_eq(rig_hello("alice", sn, &offer), CA_OK, "%s", status_message());
}

/* Sessions that were opened before the day's last failure do not get around it. */
Test(activate_fault, A7_failures_of_a_name_count_at_enroll_too)
{
    char id[ACTIVATION_ID_SIZE];
    uint8_t wrong[2][16], right[16];
    struct ca_activation_offer offer;
    struct house_device device;
    rig_password(NULL, id);
    house_device_make(&device, "alice", NULL);
    cr_assert_eq(rig_hello("alice", wrong[0], &offer), CA_OK);
    cr_assert_eq(rig_hello("alice", wrong[1], &offer), CA_OK);
    cr_assert_eq(rig_hello("alice", right, &offer), CA_OK);
    house.service->config.activation.failures_per_name = 2;
    rig_enroll(wrong[0], "body", "auth_failed", NULL);
    rig_enroll(wrong[1], "body", "auth_failed", NULL);
    cr_expect_eq(tries(), 3);
    cr_expect_eq(rig_enroll(right, "body", NULL, &device).proved, CA_UNAUTHENTICATED,
                 "the password is as good as none");
    cr_expect_eq(tries(), 3, "nor does that cost it a try");
    house_device_clear(&device);
}

/* ---- Discovery ---- */

static enum ca_status
look_up(const char *user, struct ca_activation_place *place)
{
    struct exchange exchange;
    house_exchange(&house, &exchange);
    enum ca_status status =
        ca_activation_lookup(&exchange.request, user, strlen(user), place);
    if (status == CA_OK)
        cr_expect_str_eq(place->server, "ca.example.com");
    exchange_clear(&exchange);
    return status;
}

Test(activate_fault, A3_discovery_tells_of_unknown_users_where_it_is_configured_alone)
{
    struct ca_activation_place place = { .retry_after = 0 };
    struct config_activation *config = &house.service->config.activation;
    cr_expect_eq(look_up("alice", &place), CA_OK, "%s", status_message());
    cr_expect_eq(look_up("nobody", &place), CA_OK);
    cr_expect_eq(look_up("nobody@other.example", &place), CA_NOT_FOUND);
    config->reveal_unknown = true;
    cr_expect_eq(look_up(" ALICE ", &place), CA_OK);
    cr_expect_eq(look_up("nobody", &place), CA_NOT_FOUND);
    config->hellos_per_name = 1;
    cr_expect_eq(look_up("alice", &place), CA_LIMIT);
    cr_expect(place.retry_after > 0 && place.retry_after <= 60, "%lld",
              (long long)place.retry_after);
}

/* ---- Failures of our own ---- */

static enum ca_status
through_faults(void)
{
    CA_AUTO(fclose) FILE *file = NULL;
    house_close(&house);
    file = fopen(house.config, "w");
    if (!file)
        return CA_INTERNAL;
    fprintf(
        file,
        "{\"instance\": \"house\", \"store\": \"sqlite:store.db\","
        " \"log_level\": \"error\","
        " \"listeners\": [{\"path\": \"api.sock\", \"api\": true}],"
        " \"tokens\": [{\"name\": \"hsm\", \"module\": \"%s\", \"uri\": \"%s\","
        "   \"pin_source\": \"%s\", \"waive\": [\"software\"], \"wait_ms\": 400}]}\n",
        fault_path(), house.hsm.uri, house.hsm.pin_source);
    fclose(file);
    file = NULL;
    house_reopen(&house);
    rig_open_vault();
    return CA_OK;
}

static void
fail_signatures(enum issue_step step)
{
    if (step == ISSUE_RESERVED)
        fault_command("C_SignInit:0x30:0:-1");
}

Test(activate_fault, a_token_that_is_lost_gives_device_and_try_back)
{
    char id[ACTIVATION_ID_SIZE];
    struct house_device device;
    cr_assert_eq(through_faults(), CA_OK);
    rig_password(NULL, id);
    house_device_make(&device, "alice", NULL);
    issue_pause = fail_signatures;
    struct rig_enroll enroll = rig_activate("alice", &device);
    cr_expect_eq(enroll.proved, CA_UNAVAILABLE, "%s", status_message());
    issue_pause = NULL;
    fault_command("clear");
    cr_expect_eq(tries(), 5);
    cr_expect_eq(house_integer(&house, "SELECT devices FROM activation"), 1);
    cr_expect_eq(house_integer(&house, "SELECT taken FROM activation"), 0);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM certificate WHERE "
                                       "protocol = 'activation' AND state <> 4"),
                 0);
    cr_expect_eq(house_integer(&house, "SELECT state FROM activation_session"),
                 SESSION_OVER, "a repetition finds it gone");
    usleep(1500000); /* it comes back */
    enroll = rig_activate("alice", &device);
    cr_expect_eq(enroll.proved, CA_OK, "%s", status_message());
    X509_free(enroll.certificate);
    house_device_clear(&device);
}

Test(activate_fault, a_sealing_key_that_is_lost_makes_hello_unavailable)
{
    char id[ACTIVATION_ID_SIZE];
    uint8_t sn[16];
    struct ca_activation_offer offer;
    cr_assert_eq(through_faults(), CA_OK);
    rig_password(NULL, id);
    fault_command("C_DecryptInit:0x30:0:-1");
    cr_expect_eq(rig_hello("alice", sn, &offer), CA_UNAVAILABLE);
    cr_expect_eq(rig_hello("nobody", sn, &offer), CA_UNAVAILABLE);
    fault_command("clear");
    usleep(1500000);
    cr_expect_eq(rig_hello("alice", sn, &offer), CA_OK, "%s", status_message());
}

static enum issue_step killed_at;

static void
kill_self(enum issue_step step)
{
    if (step == killed_at)
        kill(getpid(), SIGKILL);
}

/* A daemon's life until it is killed at this step of alice's activation, which begins
 * with hello or, where that was before (`sn`), with enroll. */
static void
live_and_die(enum issue_step step, bool says_its_run, const uint8_t *sn,
             const struct house_device *device)
{
    house_close(&house);
    pid_t child = fork();
    if (child == 0) {
        if (service_open(house.config, &house.service) != CA_OK ||
            (says_its_run && enroll_recover(house.service) != CA_OK))
            _exit(3);
        rig_open_vault();
        killed_at = step;
        issue_pause = kill_self;
        if (sn)
            rig_enroll(sn, "body", NULL, device);
        else
            rig_activate("alice", device);
        _exit(2);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%x", status);
    house_reopen(&house);
    rig_open_vault();
    cr_expect_eq(house_integer(&house, "SELECT taken FROM activation"),
                 step == ISSUE_COMPLETED ? 0 : 1);
}

Test(activate_fault, I1_killed_at_any_point_device_and_try_come_back_with_the_start)
{
    static const enum issue_step steps[] = { ISSUE_RESERVED, ISSUE_SIGNED };
    char id[ACTIVATION_ID_SIZE];
    struct house_device device;
    rig_password(NULL, id);
    house_device_make(&device, "alice", NULL);
    for (size_t i = 0; i < 2; i++) {
        live_and_die(steps[i], true, NULL, &device);
        cr_assert_eq(enroll_recover(house.service), CA_OK, "%s", status_message());
        cr_expect_eq(house_integer(&house, "SELECT taken FROM activation"), 0);
        cr_expect_eq(house_integer(&house, "SELECT devices FROM activation"), 1);
        cr_expect_eq(tries(), 5);
        cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM certificate "
                                           "WHERE protocol = 'activation' AND state = "
                                           "4"),
                     (int64_t)i + 1, "what may have been signed stays recorded");
        cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM audit_entry "
                                           "WHERE action = 'certificate.abandon'"),
                     (int64_t)i + 1);
    }
    struct rig_enroll enroll = rig_activate("alice", &device);
    cr_expect_eq(enroll.proved, CA_OK, "%s", status_message());
    X509_free(enroll.certificate);
    house_device_clear(&device);
}

/* Section 7.2 step 2: nobody works on it any more, and it has no answer. */
Test(activate_fault, a_start_ends_the_sessions_that_its_last_run_was_at_work_on)
{
    static const enum issue_step steps[] = { ISSUE_RESERVED, ISSUE_SIGNED };
    char id[ACTIVATION_ID_SIZE];
    uint8_t sn[16], open[16], elsewhere[16];
    struct ca_activation_offer offer;
    struct house_device device;
    rig_password(NULL, id);
    house_device_make(&device, "alice", NULL);
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(rig_hello("alice", sn, &offer), CA_OK, "%s", status_message());
        cr_assert_eq(rig_hello("alice", open, &offer), CA_OK, "%s", status_message());
        cr_assert_eq(rig_hello("nobody", elsewhere, &offer), CA_OK);
        cr_assert_eq(rig_attempt(elsewhere, "body"), CA_OK);
        house_run(&house, "UPDATE activation_session SET run = 'another instance''s' "
                          "WHERE state = 1");
        live_and_die(steps[i], true, sn, &device);
        cr_expect_eq(rig_attempt(sn, "body"), CA_PENDING, "it may be another's work");
        cr_assert_eq(enroll_recover(house.service), CA_OK, "%s", status_message());
        cr_expect_eq(rig_attempt(sn, "body"), CA_NOT_FOUND, "%s", status_message());
        cr_expect_eq(rig_attempt(sn, "another"), CA_NOT_FOUND);
        cr_expect_eq(rig_attempt(elsewhere, "body"), CA_PENDING, "of another run");
        cr_expect_eq(rig_attempt(open, "body"), CA_OK, "%s", status_message());
    }
    house_device_clear(&device);
}

Test(activate_fault, I1_a_start_gives_up_no_intent_of_another_run_or_with_a_transaction)
{
    char id[ACTIVATION_ID_SIZE];
    struct house_device device;
    rig_password(NULL, id);
    house_device_make(&device, "alice", NULL);
    live_and_die(ISSUE_SIGNED, true, NULL, &device);
    house_run(&house, "UPDATE certificate SET transaction_key = "
                      "CAST(zeroblob(32) AS BLOB), request_sha256 = "
                      "CAST(zeroblob(32) AS BLOB) WHERE state = 0");
    cr_assert_eq(enroll_recover(house.service), CA_OK, "%s", status_message());
    cr_expect_eq(house_integer(&house, "SELECT taken FROM activation"), 1,
                 "a retry finishes it");
    house_run(&house, "UPDATE certificate SET transaction_key = NULL, "
                      "request_sha256 = NULL WHERE state = 0");
    cr_assert_eq(enroll_recover(house.service), CA_OK, "%s", status_message());
    cr_expect_eq(house_integer(&house, "SELECT taken FROM activation"), 1,
                 "the last run is our own by now");
    house_device_clear(&device);
}

Test(activate_fault, I1_killed_at_any_point_device_and_try_come_back)
{
    static const enum issue_step steps[] = { ISSUE_RESERVED, ISSUE_SIGNED };
    char id[ACTIVATION_ID_SIZE];
    struct house_device device;
    rig_password(NULL, id);
    house_device_make(&device, "alice", NULL);
    for (size_t i = 0; i < 2; i++) {
        live_and_die(steps[i], false, NULL, &device);
        cr_expect_eq(rig_activate("alice", &device).proved, CA_UNAUTHENTICATED,
                     "its only device is taken");
        clock_set(clock_now() + house.service->config.intent_abandon_seconds + 1);
        cr_assert_eq(enroll_tidy(house.service), CA_OK, "%s", status_message());
        cr_expect_eq(house_integer(&house, "SELECT taken FROM activation"), 0);
        cr_expect_eq(house_integer(&house, "SELECT devices FROM activation"), 1);
        cr_expect_eq(tries(), 5);
    }
    struct rig_enroll enroll = rig_activate("alice", &device);
    cr_expect_eq(enroll.proved, CA_OK, "%s", status_message());
    X509_free(enroll.certificate);
    house_device_clear(&device);
}

/* The answer is recorded with the certificate: there is no moment in which the password
 * is used and the same message gets nothing. */
Test(activate_fault, I1_killed_after_the_record_the_same_message_gets_the_answer)
{
    char id[ACTIVATION_ID_SIZE];
    uint8_t sn[16];
    struct ca_activation_offer offer;
    struct house_device device;
    rig_password(NULL, id);
    house_device_make(&device, "alice", NULL);
    cr_assert_eq(rig_hello("alice", sn, &offer), CA_OK, "%s", status_message());
    live_and_die(ISSUE_COMPLETED, false, sn, &device);
    cr_expect_eq(house_integer(&house, "SELECT devices FROM activation"), 0);
    struct rig_enroll enroll = rig_enroll(sn, "body", NULL, &device);
    cr_expect_eq(enroll.attempt, CA_CONFLICT, "%s", status_message());
    cr_expect_eq(enroll.answer_status, 200);
    cr_expect_str_eq(enroll.answer, "the answer");
    house_device_clear(&device);
}
