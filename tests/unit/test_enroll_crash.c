/* Enrolments that are killed, disabled or cannot be recorded half-way. */
#include "enroll.h"
#include "enroll_rig.h"
#include <criterion/criterion.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

TestSuite(enroll_crash, .init = build, .fini = leave);

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

Test(enroll_crash, I1_killed_after_reserve_or_signature_the_retry_signs_the_same_serial)
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

Test(enroll_crash, I1_killed_before_the_answer_the_retry_gets_what_is_recorded)
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

Test(enroll_crash, I1_abandoned_intent_opens_the_secret_and_is_never_completed)
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

Test(enroll_crash,
     A5_disabled_while_the_token_signs_gets_nothing_and_the_record_is_revoked)
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

Test(enroll_crash, I2_no_certificate_leaves_when_the_record_cannot_be_written)
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
