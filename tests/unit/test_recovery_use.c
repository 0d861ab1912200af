/* Sessions, operations and threads of a token in use: pitfalls of PKCS#11 libraries. */
#include "leak.h"
#include "recovery_rig.h"
#include <dirent.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/wait.h>

CA_AUTO_RELEASE(DIR, closedir)

TestSuite(recovery_use, .init = hsm_make, .fini = hsm_remove);

/* How many lines of the folder's C files have the word. */
static size_t
words_count(const char *folder, const char *word)
{
    char path[512], line[512];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/%s", TEST_SOURCE, folder);
    CA_AUTO(closedir) DIR *entries = opendir(path);
    cr_assert_not_null(entries);
    for (struct dirent *entry; (entry = readdir(entries));) {
        size_t length = strlen(entry->d_name);
        if (length < 3 || strcmp(entry->d_name + length - 2, ".c") != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s/%s", TEST_SOURCE, folder, entry->d_name);
        CA_AUTO(fclose) FILE *file = fopen(path, "re");
        cr_assert_not_null(file);
        while (fgets(line, sizeof line, file))
            count += strstr(line, word) != NULL;
    }
    return count;
}

Test(recovery_use, a_token_with_few_sessions_is_not_asked_for_more)
{
    command("sessions:6");
    struct token_set *set = softhsm_open(&hsm);
    struct waiter waiters[16];
    struct token_key *key = softhsm_key(set, "k", "rsa-2048", TOKEN_USE_SIGN);
    for (size_t i = 0; i < 16; i++) {
        waiters[i].key = key;
        cr_assert_eq(pthread_create(&waiters[i].thread, NULL, waiter_run, &waiters[i]),
                     0);
    }
    for (size_t i = 0; i < 16; i++) {
        pthread_join(waiters[i].thread, NULL);
        cr_expect_eq(waiters[i].status, CA_OK);
    }
    cr_expect_eq(health(set).rebuilds, 0);
    cr_expect_leq(fault_sessions(), 6);
    token_set_free(set);
    LEAK_CHECK();
}

struct mixed {
    pthread_t thread;
    struct token_key *sign, *decrypt;
    const uint8_t *encrypted;
    size_t size;
    int good;
};

static void *
mixed_run(void *argument)
{
    struct mixed *mixed = argument;
    for (int i = 0; i < 6; i++) {
        mixed->good += sign(mixed->sign) == CA_OK;
        mixed->good += decrypts(mixed->decrypt, mixed->encrypted, mixed->size);
        mixed->good += sign(mixed->sign) == CA_OK;
    }
    return NULL;
}

/* A network HSM: what counts is how many operations are under way. */
Test(recovery_use, nearly_all_sessions_of_a_slow_token_are_used_and_none_too_many)
{
    enum { THREADS = 48, SESSIONS = 32, MS = 20, EACH = 18 };
    static struct mixed threads[THREADS];
    uint8_t encrypted[512];
    hsm.config.permits = 32;
    command("sessions:32");
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *ec = softhsm_key(set, "s", "p-256", TOKEN_USE_SIGN);
    struct token_key *rsa = softhsm_key(set, "d", "rsa-2048", TOKEN_USE_DECRYPT);
    size_t size = encrypt(rsa, content, 16, encrypted);
    command("C_Sign:sleep:20");
    command("C_Decrypt:sleep:20");
    int64_t start = clock_ticks(), busy = 0;
    for (size_t i = 0; i < THREADS; i++) {
        threads[i] = (struct mixed){
            .sign = ec, .decrypt = rsa, .encrypted = encrypted, .size = size
        };
        cr_assert_eq(pthread_create(&threads[i].thread, NULL, mixed_run, &threads[i]),
                     0);
    }
    for (int i = 0; i < 20; i++) {
        usleep(10000);
        busy = health(set).busy > busy ? health(set).busy : busy;
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i].thread, NULL);
        cr_expect_eq(threads[i].good, EACH, "%s", status_message());
    }
    cr_log_info("%lld ms", (long long)(clock_ticks() - start));
    cr_expect_geq(busy, SESSIONS * 9 / 10, "%lld under way", (long long)busy);
    cr_expect_leq(fault_sessions(), SESSIONS);
    cr_expect_eq(health(set).rebuilds, 0);
    token_set_free(set);
    LEAK_CHECK();
}

Test(recovery_use, calls_are_counted_and_timed)
{
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *key = softhsm_key(set, "k", "p-256", TOKEN_USE_SIGN);
    command("C_Sign:sleep:15");
    for (int i = 0; i < 3; i++)
        cr_assert_eq(sign(key), CA_OK);
    struct token_calls calls;
    bool has_sign = false;
    for (size_t at = 0; token_calls_next(set, 0, &at, &calls);) {
        if (strcmp(calls.function, "C_Sign") != 0)
            continue;
        has_sign = true;
        cr_expect_eq(calls.calls, 4, "one test at the start, three of ours");
        cr_expect_eq(calls.failures, 0);
        cr_expect_geq(calls.total_us, 45000);
        cr_expect_eq(calls.buckets[3], 1, "up to 10 ms");
        cr_expect_eq(calls.buckets[TOKEN_BUCKETS - 1], 4);
    }
    cr_expect(has_sign);
    token_set_free(set);
    LEAK_CHECK();
}

Test(recovery_use, pitfall_a_lost_login_comes_back)
{
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *key = softhsm_key(set, "k", "p-256", TOKEN_USE_SIGN);
    int64_t logins = fault_calls("C_Login");
    command("closeall"); /* which logs out, behind libp11's back */
    cr_expect_eq(sign(key), CA_OK, "%s", status_message());
    cr_expect_eq(fault_calls("C_Login") - logins, 1);
    token_set_free(set);
    LEAK_CHECK();
}

Test(recovery_use, pitfall_an_operation_left_active_does_not_stay)
{
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *key = softhsm_key(set, "k", "p-256", TOKEN_USE_SIGN);
    struct token_key *decrypt = softhsm_key(set, "d", "rsa-2048", TOKEN_USE_DECRYPT);
    uint8_t encrypted[512];
    size_t size = encrypt(decrypt, content, 16, encrypted);
    for (int i = 0; i < 3; i++) {
        command("C_Sign:leave:0:1");
        command("C_Decrypt:leave:0:1");
        for (int j = 0; j < 5; j++) {
            cr_expect_eq(sign(key), CA_OK, "%s", status_message());
            cr_expect(decrypts(decrypt, encrypted, size));
        }
        command("clear");
    }
    token_set_free(set);
    LEAK_CHECK();
}

Test(recovery_use, pitfall_a_vendors_own_code_is_kept)
{
    hsm.config.wait_ms = 500;
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *key = softhsm_key(set, "k", "p-256", TOKEN_USE_SIGN);
    command("C_Sign:0x80000042:0:-1");
    cr_expect_eq(sign(key), CA_UNAVAILABLE);
    cr_expect(strstr(status_message(), "C_Sign gave 0x80000042"), "%s",
              status_message());
    command("clear");
    state_await(set, TOKEN_UP, 5000);
    token_set_free(set);
    LEAK_CHECK();
}

Test(recovery_use, pitfall_a_slot_that_fails_is_waited_for_and_leaks_nothing)
{
    hsm.config.wait_ms = 400;
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *key = softhsm_key(set, "k", "p-256", TOKEN_USE_SIGN);
    command("C_GetTokenInfo:0x30:0:-1");
    command("closeall");
    cr_expect_eq(sign(key), CA_UNAVAILABLE);
    command("clear");
    state_await(set, TOKEN_UP, 5000);
    cr_expect_eq(sign(key), CA_OK);
    token_set_free(set);
    LEAK_CHECK();
}

Test(recovery_use, pitfall_nothing_is_finalised_under_a_signature)
{
    struct token_set *set = softhsm_open(&hsm);
    struct waiter waiters[6];
    struct token_key *key = softhsm_key(set, "k", "p-256", TOKEN_USE_SIGN);
    command("C_Sign:sleep:20");
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < 6; i++) {
            waiters[i].key = key;
            cr_assert_eq(
                pthread_create(&waiters[i].thread, NULL, waiter_run, &waiters[i]), 0);
        }
        usleep(5000);
        command(round % 2 ? "C_SignInit:0x82:0:1" : "C_Sign:0x32:0:1");
        for (size_t i = 0; i < 6; i++) {
            pthread_join(waiters[i].thread, NULL);
            cr_expect_eq(waiters[i].status, CA_OK);
        }
        cr_expect_eq(sign(key), CA_OK);
    }
    cr_expect_geq(health(set).rebuilds, 2);
    cr_expect_eq(fault_overlaps(), 0);
    token_set_free(set);
    LEAK_CHECK();
}

Test(recovery_use, pitfall_the_end_leaves_a_call_that_does_not_return_alone)
{
    hsm.config.stuck_ms = 200;
    struct token_set *set = softhsm_open(&hsm);
    static struct waiter hung;
    hung.key = softhsm_key(set, "k", "p-256", TOKEN_USE_SIGN);
    command("C_Sign:hang");
    cr_assert_eq(pthread_create(&hung.thread, NULL, waiter_run, &hung), 0);
    state_await(set, TOKEN_STUCK, 3000);
    int64_t start = clock_ticks(), finalised = fault_calls("C_Finalize");
    token_set_free(set);
    cr_expect_lt(clock_ticks() - start, 2000);
    cr_expect_eq(fault_calls("C_Finalize"), finalised, "not under the call");
    cr_expect_eq(fault_overlaps(), 0);
    command("clear");
    pthread_join(hung.thread, NULL);
    cr_expect_eq(hung.status, CA_OK);
}

/* Forked children of a process with a module hang or crash: nothing here forks after a
 * load. What starts other programs may, by posix_spawn. */
Test(recovery_use, pitfall_no_fork_while_threads_sign_but_a_spawn)
{
    extern char **environ;
    static const char *const folders[] = { "pkcs11", "ca", "api" };
    struct token_set *set = softhsm_open(&hsm);
    struct waiter waiters[4];
    struct token_key *key = softhsm_key(set, "k", "p-256", TOKEN_USE_SIGN);
    command("C_Sign:sleep:30");
    for (size_t i = 0; i < 4; i++) {
        waiters[i].key = key;
        cr_assert_eq(pthread_create(&waiters[i].thread, NULL, waiter_run, &waiters[i]),
                     0);
    }
    for (int i = 0; i < 5; i++) {
        char name[] = "/bin/true", *const words[] = { name, NULL };
        pid_t child = 0;
        int state = 0;
        cr_assert_eq(posix_spawn(&child, name, NULL, NULL, words, environ), 0);
        cr_assert_eq(waitpid(child, &state, 0), child);
        cr_expect(WIFEXITED(state) && WEXITSTATUS(state) == 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(waiters[i].thread, NULL);
        cr_expect_eq(waiters[i].status, CA_OK);
    }
    cr_expect_eq(health(set).rebuilds, 0);
    token_set_free(set);
    size_t forks = 0;
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
        forks += words_count(folders[i], " fork()");
    cr_expect_eq(forks, 1, "serve --daemon, before anything is opened");
    LEAK_CHECK();
}

/* Calls of libp11 that crash, log out silently or make the wrong keys. */
Test(recovery_use, pitfall_calls_that_are_never_used)
{
    static const char *const never[] = { "PKCS11_update_slots",  "PKCS11_open_session",
                                         "PKCS11_generate_key",  "PKCS11_logout",
                                         "PKCS11_find_token",    "PKCS11_store_",
                                         "PKCS11_get_public_key" };
    CA_AUTO(closedir) DIR *folder = opendir(TEST_SOURCE "/pkcs11");
    int files = 0;
    cr_assert_not_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        char path[512];
        static char text[65536];
        if (!strstr(entry->d_name, ".c"))
            continue;
        snprintf(path, sizeof path, "%s/pkcs11/%s", TEST_SOURCE, entry->d_name);
        CA_AUTO(fclose) FILE *file = fopen(path, "re");
        cr_assert_not_null(file);
        text[fread(text, 1, sizeof text - 1, file)] = '\0';
        for (size_t i = 0; i < sizeof never / sizeof never[0]; i++)
            cr_expect_null(strstr(text, never[i]), "%s in %s", never[i], entry->d_name);
        files++;
    }
    cr_expect_geq(files, 10);
}
