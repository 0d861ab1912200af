/* Tokens that fail and come back: what is rebuilt, what waits, what is stuck. Names
 * that begin with "pitfall" stand for those of docs/architecture.md. */
#include "leak.h"
#include "recovery_rig.h"
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>

TestSuite(recovery, .init = hsm_make, .fini = hsm_remove);

Test(recovery, any_failed_signature_is_signed_again_after_a_rebuild)
{
    static const char *const faults[] = {
        "closeall",
        "finalize",
        "C_Sign:0x30:0:1",
        "C_Sign:0xb3:0:1",
        "C_Sign:0x5:0:1",
        "C_Sign:0x32:0:1",
        "C_Sign:0x80000001:0:1",
        "C_SignInit:0x101:0:3",
        "C_SignInit:0x82:0:1",
        "C_SignInit:0x90:0:1",
        "C_Sign:flip:0:1",
    };
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *ec = softhsm_key(set, "ec", "p-256", TOKEN_USE_SIGN);
    struct token_key *rsa = softhsm_key(set, "rsa", "rsa-2048", TOKEN_USE_SIGN);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        for (int j = 0; j < 2; j++) {
            int64_t rebuilds = health(set).rebuilds;
            command(faults[i]);
            cr_expect_eq(sign(j ? rsa : ec), CA_OK, "%s: %s", faults[i],
                         status_message());
            cr_expect_geq(health(set).rebuilds, rebuilds + 1, "%s", faults[i]);
            cr_expect_eq(health(set).state, TOKEN_UP, "%s", faults[i]);
            command("clear");
        }
    }
    cr_expect_eq(fault_overlaps(), 0);
    token_set_free(set);
    cr_expect_eq(fault_sessions(), 0);
    LEAK_CHECK();
}

Test(recovery, pitfall_no_endless_wait_when_no_session_can_be_opened)
{
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *key = softhsm_key(set, "k", "p-256", TOKEN_USE_SIGN);
    command("closeall");
    command("C_OpenSession:0x30:0:4");
    int64_t start = clock_ticks();
    cr_expect_eq(sign(key), CA_OK, "%s", status_message());
    cr_expect_lt(clock_ticks() - start, 5000);
    command("C_OpenSession:0x30:0:-1");
    command("closeall");
    token_set_free(set);
    command("clear");
    hsm.config.wait_ms = 300;
    set = softhsm_open(&hsm);
    cr_assert_eq(
        token_key_find(set, "pkcs11:token=ca;object=k", TOKEN_USE_SIGN, NULL, &key),
        CA_OK);
    command("C_OpenSession:0x30:0:-1");
    command("closeall");
    start = clock_ticks();
    cr_expect_eq(sign(key), CA_UNAVAILABLE);
    cr_expect_lt(clock_ticks() - start, 3000);
    cr_expect_eq(health(set).state, TOKEN_REBUILDING);
    cr_expect(!token_key_is_up(key));
    command("clear");
    state_await(set, TOKEN_UP, 5000);
    cr_expect(token_key_is_up(key));
    cr_expect_eq(sign(key), CA_OK);
    token_set_free(set);
    LEAK_CHECK();
}

Test(recovery, a_removed_token_is_waited_for)
{
    struct token_set *set = softhsm_open(&hsm);
    struct waiter waiter = { .key = softhsm_key(set, "k", "p-256", TOKEN_USE_SIGN) };
    command("removed");
    cr_assert_eq(pthread_create(&waiter.thread, NULL, waiter_run, &waiter), 0);
    usleep(300000);
    cr_expect_eq(health(set).state, TOKEN_REBUILDING);
    command("present");
    pthread_join(waiter.thread, NULL);
    cr_expect_eq(waiter.status, CA_OK);
    cr_expect_geq(waiter.took, 290);
    cr_expect_lt(waiter.took, 3000, "%lld ms", (long long)waiter.took);
    token_set_free(set);
    LEAK_CHECK();
}

static void
tokens_move(bool away)
{
    char tokens[96], other[96];
    snprintf(tokens, sizeof tokens, "%s/tokens", hsm.folder);
    snprintf(other, sizeof other, "%s/away", hsm.folder);
    cr_assert_eq(away ? rename(tokens, other) : rename(other, tokens), 0);
}

Test(recovery, pitfall_a_moved_token_folder_needs_the_second_level)
{
    hsm.config.wait_ms = 200;
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *key = softhsm_key(set, "k", "p-256", TOKEN_USE_SIGN);
    tokens_move(true);
    command("closeall");
    cr_expect_eq(sign(key), CA_UNAVAILABLE);
    cr_expect_neq(health(set).state, TOKEN_UP);
    tokens_move(false);
    state_await(set, TOKEN_UP, 5000);
    cr_expect_eq(sign(key), CA_OK, "%s", status_message());
    token_set_free(set);
    LEAK_CHECK();
}

Test(recovery, waiting_is_bounded_in_number)
{
    enum { WAITERS = 150, LIMIT = 128 };
    static struct waiter waiters[WAITERS];
    hsm.config.wait_ms = 1500;
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *key = softhsm_key(set, "k", "p-256", TOKEN_USE_SIGN);
    command("removed");
    int refused = 0, waited = 0;
    for (size_t i = 0; i < WAITERS; i++) {
        waiters[i].key = key;
        cr_assert_eq(pthread_create(&waiters[i].thread, NULL, waiter_run, &waiters[i]),
                     0);
    }
    for (size_t i = 0; i < WAITERS; i++) {
        pthread_join(waiters[i].thread, NULL);
        cr_expect_eq(waiters[i].status, CA_UNAVAILABLE);
        refused += waiters[i].took < 1000;
        waited += waiters[i].took >= 1000;
    }
    cr_expect_geq(refused, WAITERS - LIMIT, "%d", refused);
    cr_expect_geq(waited, 1);
    command("clear");
    state_await(set, TOKEN_UP, 5000);
    cr_expect_eq(sign(key), CA_OK);
    token_set_free(set);
    LEAK_CHECK();
}

Test(recovery, a_call_that_does_not_return_is_stuck_and_refused_at_once)
{
    hsm.config.stuck_ms = 300;
    struct token_set *set = softhsm_open(&hsm);
    struct waiter hung = { .key = softhsm_key(set, "k", "p-256", TOKEN_USE_SIGN) };
    command("C_Sign:hang");
    cr_assert_eq(pthread_create(&hung.thread, NULL, waiter_run, &hung), 0);
    state_await(set, TOKEN_STUCK, 3000);
    int64_t start = clock_ticks();
    cr_expect_eq(sign(hung.key), CA_UNAVAILABLE);
    cr_expect_lt(clock_ticks() - start, 200);
    cr_expect(!token_key_is_up(hung.key));
    command("clear");
    pthread_join(hung.thread, NULL);
    cr_expect_eq(hung.status, CA_OK, "what returned is a signature");
    state_await(set, TOKEN_UP, 3000);
    cr_expect_eq(sign(hung.key), CA_OK);
    token_set_free(set);
    LEAK_CHECK();
}

Test(recovery, a_hang_inside_a_rebuild_is_stuck_too)
{
    hsm.config.stuck_ms = 300;
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *key = softhsm_key(set, "k", "p-256", TOKEN_USE_SIGN);
    command("C_Login:hang");
    command("closeall");
    cr_expect_eq(sign(key), CA_UNAVAILABLE);
    cr_expect_eq(health(set).state, TOKEN_STUCK);
    command("clear");
    state_await(set, TOKEN_UP, 3000);
    cr_expect_eq(sign(key), CA_OK);
    token_set_free(set);
    LEAK_CHECK();
}

Test(recovery, stuck_ends_the_process_when_configured, .exit_code = 75)
{
    hsm.config.stuck_ms = 200;
    hsm.config.exits_when_stuck = true;
    struct token_set *set = softhsm_open(&hsm);
    static struct waiter hung;
    hung.key = softhsm_key(set, "k", "p-256", TOKEN_USE_SIGN);
    command("C_SignInit:hang");
    cr_assert_eq(pthread_create(&hung.thread, NULL, waiter_run, &hung), 0);
    usleep(50000);
    softhsm_remove(&hsm);
    sleep(10);
    _exit(1);
}

Test(recovery, a_request_signs_again_three_times_and_no_more)
{
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *key = softhsm_key(set, "k", "p-256", TOKEN_USE_SIGN);
    /* Every other signature is the rebuild's own test, which passes. */
    command("C_Sign:0x30:0:1");
    command("C_Sign:0x30:2:1");
    command("C_Sign:0x30:4:1");
    command("C_Sign:0x30:6:1");
    int64_t failures = health(set).failures;
    cr_expect_eq(sign(key), CA_UNAVAILABLE);
    cr_expect_eq(health(set).failures - failures, 4);
    state_await(set, TOKEN_UP, 3000);
    cr_expect_eq(sign(key), CA_OK);
    token_set_free(set);
    LEAK_CHECK();
}

/* Behind the program's back, as another process would. */
static void
key_destroy(const char *name)
{
    CK_FUNCTION_LIST *functions = NULL;
    CK_C_GetFunctionList get = NULL;
    CK_SLOT_ID slots[8];
    CK_ULONG count = 8, found = 0;
    CK_SESSION_HANDLE session = 0;
    CK_OBJECT_HANDLE objects[2];
    char label[32];
    snprintf(label, sizeof label, "%s", name);
    CK_ATTRIBUTE template[] = { { CKA_LABEL, label, strlen(label) } };
    void *library = dlopen(SOFTHSM_MODULE, RTLD_NOW);
    cr_assert_not_null(library);
    *(void **)&get = dlsym(library, "C_GetFunctionList");
    cr_assert_eq(get(&functions), CKR_OK);
    cr_assert_eq(functions->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
    cr_assert_eq(functions->C_OpenSession(slots[0], CKF_SERIAL_SESSION | CKF_RW_SESSION,
                                          NULL, NULL, &session),
                 CKR_OK);
    cr_assert_eq(functions->C_FindObjectsInit(session, template, 1), CKR_OK);
    cr_assert_eq(functions->C_FindObjects(session, objects, 2, &found), CKR_OK);
    cr_assert_eq(functions->C_FindObjectsFinal(session), CKR_OK);
    cr_assert_eq(found, 2);
    for (CK_ULONG i = 0; i < found; i++)
        cr_assert_eq(functions->C_DestroyObject(session, objects[i]), CKR_OK);
    functions->C_CloseSession(session);
    dlclose(library);
}

Test(recovery, a_key_that_is_gone_refuses_alone)
{
    hsm.config.wait_ms = 2000;
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *stays = softhsm_key(set, "stays", "p-256", TOKEN_USE_SIGN);
    struct token_key *goes = softhsm_key(set, "goes", "p-256", TOKEN_USE_SIGN);
    key_destroy("goes");
    command("finalize");
    cr_expect_eq(sign(stays), CA_OK, "%s", status_message());
    cr_expect(token_key_is_up(stays));
    cr_expect(!token_key_is_up(goes));
    int64_t start = clock_ticks();
    cr_expect_eq(sign(goes), CA_UNAVAILABLE);
    cr_expect_lt(clock_ticks() - start, 500);
    cr_expect_eq(health(set).state, TOKEN_UP);
    token_set_free(set);
    LEAK_CHECK();
}

Test(recovery, token_check_finds_an_outage_before_a_request_does)
{
    struct token_set *set = softhsm_open(&hsm);
    cr_expect_eq(token_check(set, 0), CA_OK, "%s", status_message());
    command("closeall");
    cr_expect_eq(token_check(set, 0), CA_UNAVAILABLE, "no key: the session is queried");
    state_await(set, TOKEN_UP, 3000);
    struct token_key *key = softhsm_key(set, "k", "p-256", TOKEN_USE_SIGN);
    command("finalize");
    cr_expect_eq(token_check(set, 0), CA_OK, "%s", status_message());
    cr_expect_eq(health(set).state, TOKEN_UP);
    cr_expect_eq(sign(key), CA_OK);
    token_set_free(set);
    LEAK_CHECK();
}
