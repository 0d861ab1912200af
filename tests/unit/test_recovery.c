/* Tokens that fail and come back: what is rebuilt, what is refused, what is never tried
 * twice. Names that begin with "pitfall" stand for those of docs/architecture.md. */
#include "auto.h"
#include "clock.h"
#include "fault.h"
#include "leak.h"
#include "softhsm.h"
#include "token.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <dlfcn.h>
#include <openssl/rsa.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

CA_AUTO_RELEASE(DIR, closedir)

static struct softhsm hsm;
static const uint8_t message[] = "to be signed";

static void
hsm_make(void)
{
    softhsm_make(&hsm, "ca");
    hsm.config.module = fault_path();
}

static void
hsm_remove(void)
{
    softhsm_remove(&hsm);
}

TestSuite(recovery, .init = hsm_make, .fini = hsm_remove);

static void
command(const char *text)
{
    cr_assert(fault_command(text), "%s", text);
}

static enum ca_status
sign(struct token_key *key)
{
    uint8_t signature[512];
    size_t size = 0;
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *pkey = token_key_pkey(key);
    enum ca_status status = token_sign(key, EVP_sha256(), message, sizeof message,
                                       signature, sizeof signature, &size);
    if (status == CA_OK) {
        CA_AUTO(EVP_MD_CTX_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
        cr_assert_eq(EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, pkey), 1);
        cr_assert_eq(
            EVP_DigestVerify(context, signature, size, message, sizeof message), 1,
            "a signature that does not verify came out");
    }
    return status;
}

static struct token_health
health(struct token_set *set)
{
    struct token_health health;
    token_health(set, 0, &health);
    return health;
}

static void
state_await(struct token_set *set, enum token_state state, int64_t within_ms)
{
    int64_t until = clock_ticks() + within_ms;
    while (health(set).state != state && clock_ticks() < until)
        usleep(5000);
    cr_assert_eq(health(set).state, state, "%s", status_message());
}

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

struct waiter {
    pthread_t thread;
    struct token_key *key;
    enum ca_status status;
    int64_t took;
};

static void *
waiter_run(void *argument)
{
    struct waiter *waiter = argument;
    int64_t start = clock_ticks();
    waiter->status = sign(waiter->key);
    waiter->took = clock_ticks() - start;
    return NULL;
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

Test(recovery, I7_a_PIN_refused_in_a_rebuild_is_tried_once_and_latched)
{
    char latch[96];
    snprintf(latch, sizeof latch, "%s/latch", hsm.folder);
    hsm.config.latch_file = latch;
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *key = softhsm_key(set, "k", "p-256", TOKEN_USE_SIGN);
    int64_t hits = fault_hits();
    command("C_Login:0xa0:0:-1");
    command("closeall");
    int64_t start = clock_ticks();
    cr_expect_eq(sign(key), CA_UNAVAILABLE);
    cr_expect_lt(clock_ticks() - start, 2000, "latched: nobody waits");
    cr_expect_eq(health(set).state, TOKEN_LATCHED);
    cr_expect_eq(fault_hits() - hits, 1, "one C_Login, not %lld",
                 (long long)(fault_hits() - hits));
    for (int i = 0; i < 5; i++)
        cr_expect_eq(sign(key), CA_UNAVAILABLE);
    usleep(300000);
    cr_expect_eq(fault_hits() - hits, 1, "no further C_Login");
    cr_expect_eq(access(latch, F_OK), 0);

    command("clear");
    int64_t logins = fault_calls("C_Login");
    cr_expect_eq(sign(key), CA_UNAVAILABLE, "still latched");
    cr_expect_eq(fault_calls("C_Login"), logins);
    cr_expect_eq(token_unlock(set, "hsm"), CA_OK, "%s", status_message());
    cr_expect_eq(health(set).state, TOKEN_UP);
    cr_expect_eq(sign(key), CA_OK);
    cr_expect_neq(access(latch, F_OK), 0);
    cr_expect_eq(token_unlock(set, "other"), CA_NOT_FOUND);
    token_set_free(set);
    LEAK_CHECK();
}

Test(recovery, I7_a_latch_holds_over_a_restart_without_a_login)
{
    char latch[96];
    snprintf(latch, sizeof latch, "%s/latch", hsm.folder);
    hsm.config.latch_file = latch;
    struct token_set *set = NULL;
    command("C_Login:0xa0:0:-1");
    cr_assert_eq(token_set_open(&hsm.config, 1, &set), CA_FORBIDDEN);
    cr_assert_eq(fault_hits(), 1);
    command("clear");
    cr_assert_eq(token_set_open(&hsm.config, 1, &set), CA_FORBIDDEN);
    cr_assert_eq(fault_calls("C_Login"), 0);
    unlink(latch);
    cr_assert_eq(token_set_open(&hsm.config, 1, &set), CA_OK);
    token_set_free(set);
    LEAK_CHECK();
}

Test(recovery, I7_a_PIN_at_its_last_try_or_locked_is_not_tried)
{
    static const char *const flags[] = { "tokflags:0x20000", "tokflags:0x40000" };
    for (size_t i = 0; i < 2; i++) {
        struct token_set *set = NULL;
        command(flags[i]);
        cr_assert_eq(token_set_open(&hsm.config, 1, &set), CA_FORBIDDEN);
        cr_assert_eq(fault_calls("C_Login"), 0);
        command("clear");
    }
    LEAK_CHECK();
}

/* What devices say of a PIN, each in its own way: none is asked twice. */
Test(recovery, pitfall_vendors_words_for_a_PIN_that_is_not_taken)
{
    static const struct {
        const char *command;
        bool latches;
    } words[] = {
        { "C_Login:0xa0:0:-1", true },        /* incorrect */
        { "C_Login:0xa1:0:-1", true },        /* invalid */
        { "C_Login:0xa2:0:-1", true },        /* of another length */
        { "C_Login:0xa3:0:-1", true },        /* expired */
        { "C_Login:0xa4:0:-1", true },        /* locked */
        { "C_Login:0x30:0:-1", false },       /* the device, not the PIN */
        { "C_Login:0x80000013:0:-1", false }, /* nobody knows */
    };
    hsm.config.wait_ms = 300;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        struct token_set *set = softhsm_open(&hsm);
        struct token_key *key = NULL;
        if (i == 0)
            key = softhsm_key(set, "k", "p-256", TOKEN_USE_SIGN);
        else
            cr_assert_eq(token_key_find(set, "pkcs11:token=ca;object=k", TOKEN_USE_SIGN,
                                        NULL, &key),
                         CA_OK);
        int64_t hits = fault_hits();
        command(words[i].command);
        command("closeall");
        cr_expect_eq(sign(key), CA_UNAVAILABLE, "%s", words[i].command);
        usleep(200000);
        if (words[i].latches) {
            cr_expect_eq(fault_hits() - hits, 1, "%s", words[i].command);
            cr_expect_eq(health(set).state, TOKEN_LATCHED, "%s", words[i].command);
        } else {
            cr_expect_geq(fault_hits() - hits, 2, "%s", words[i].command);
            cr_expect_eq(health(set).state, TOKEN_REBUILDING, "%s", words[i].command);
            command("clear");
            state_await(set, TOKEN_UP, 5000);
        }
        command("clear");
        token_set_free(set);
    }
    LEAK_CHECK();
}

/* The second list of slots logs in to a token where the first one did already. */
Test(recovery, pitfall_a_login_of_somebody_who_is_logged_in_is_none)
{
    hsm.config.permits = 40;
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *key = softhsm_key(set, "k", "p-256", TOKEN_USE_SIGN);
    cr_expect_eq(fault_calls("C_Login"), 3, "three lanes");
    for (int i = 0; i < 3; i++) {
        command("closeall");
        cr_expect_eq(sign(key), CA_OK, "%s", status_message());
        command("finalize");
        cr_expect_eq(sign(key), CA_OK, "%s", status_message());
    }
    cr_expect_eq(health(set).state, TOKEN_UP);
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

static size_t
encrypt(struct token_key *key, const void *text, size_t size, uint8_t *ret_text)
{
    size_t room = 512;
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *pkey = token_key_pkey(key);
    CA_AUTO(EVP_PKEY_CTX_free) EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(pkey, NULL);
    cr_assert_eq(EVP_PKEY_encrypt_init(context), 1);
    cr_assert_gt(EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING), 0);
    cr_assert_eq(EVP_PKEY_encrypt(context, ret_text, &room, text, size), 1);
    return room;
}

static const uint8_t content[16] = "a content key..";

static bool
decrypts(struct token_key *key, const uint8_t *encrypted, size_t size)
{
    uint8_t text[16];
    cr_expect_eq(token_decrypt_key(key, false, encrypted, size, text, 16), CA_OK, "%s",
                 status_message());
    return memcmp(text, content, 16) == 0;
}

Test(recovery, decryption_survives_what_signatures_survive)
{
    static const char *const faults[] = { "closeall",
                                          "finalize",
                                          "C_Decrypt:0xb3:0:1",
                                          "C_Decrypt:0x30:0:3",
                                          "C_DecryptInit:0x101:0:3",
                                          "C_DecryptInit:0x90:0:1" };
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *key = softhsm_key(set, "d", "rsa-2048", TOKEN_USE_DECRYPT);
    uint8_t encrypted[512];
    size_t size = encrypt(key, content, 16, encrypted);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        cr_expect(decrypts(key, encrypted, size), "before %s", faults[i]);
        command(faults[i]);
        cr_expect(decrypts(key, encrypted, size), "%s", faults[i]);
        command("clear");
    }
    token_set_free(set);
    cr_expect_eq(fault_sessions(), 0);
    LEAK_CHECK();
}

Test(recovery, pitfall_a_bad_ciphertext_never_starts_a_rebuild)
{
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *key = softhsm_key(set, "d", "rsa-2048", TOKEN_USE_DECRYPT);
    uint8_t encrypted[512];
    size_t size = encrypt(key, content, 16, encrypted);
    uint8_t bad[512];
    memcpy(bad, encrypted, sizeof bad);
    bad[60] ^= 1;
    int64_t calls = fault_calls("C_Decrypt");
    for (int i = 0; i < 20; i++)
        cr_expect(!decrypts(key, bad, size));
    cr_expect_eq(fault_calls("C_Decrypt") - calls, 20, "none is repeated");
    cr_expect_eq(health(set).rebuilds, 0);

    /* A ciphertext that makes the device look ill at each try: health operations of our
     * own pass in between, and nothing is rebuilt, however often it comes. */
    for (int i = 0; i < 10; i++) {
        command("clear");
        command("C_Decrypt:0x30:0:2");
        command("C_Decrypt:0x30:3:2");
        calls = fault_calls("C_Decrypt");
        cr_expect(!decrypts(key, bad, size));
        cr_expect_eq(fault_calls("C_Decrypt") - calls, 6);
    }
    cr_expect_eq(health(set).rebuilds, 0);
    cr_expect_eq(health(set).state, TOKEN_UP);
    command("clear");
    cr_expect(decrypts(key, encrypted, size));
    token_set_free(set);
    LEAK_CHECK();
}

struct stranger {
    pthread_t thread;
    struct token_key *key;
    const uint8_t *encrypted;
    int answered;
};

static void *
stranger_run(void *argument)
{
    struct stranger *stranger = argument;
    uint8_t text[16];
    for (int i = 0; i < 4; i++)
        stranger->answered +=
            token_decrypt_key(stranger->key, false, stranger->encrypted, 256, text,
                              sizeof text) == CA_OK;
    return NULL;
}

/* Ciphertexts that make the device look ill each time, from many at once. */
Test(recovery, pitfall_a_flood_of_bad_ciphertexts_has_few_health_operations)
{
    enum { STRANGERS = 8, HEALTH_MS = 250 };
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *key = softhsm_key(set, "d", "rsa-2048", TOKEN_USE_DECRYPT);
    struct token_key *signer = softhsm_key(set, "s", "p-256", TOKEN_USE_SIGN);
    struct stranger strangers[STRANGERS];
    uint8_t encrypted[512], bad[256];
    size_t size = encrypt(key, content, 16, encrypted);
    memset(bad, 0xff, sizeof bad);
    bad[0] = 0; /* below the modulus */
    command("poison:0x30");
    int64_t start = clock_ticks(), before = fault_calls("C_Decrypt") - fault_hits();
    for (size_t i = 0; i < STRANGERS; i++) {
        strangers[i] = (struct stranger){ .key = key, .encrypted = bad };
        cr_assert_eq(
            pthread_create(&strangers[i].thread, NULL, stranger_run, &strangers[i]), 0);
    }
    for (int i = 0; i < 20; i++)
        cr_expect_eq(sign(signer), CA_OK, "signatures go on: %s", status_message());
    for (size_t i = 0; i < STRANGERS; i++) {
        pthread_join(strangers[i].thread, NULL);
        cr_expect_eq(strangers[i].answered, 4, "like any other bad ciphertext");
    }
    int64_t asked = fault_calls("C_Decrypt") - fault_hits() - before;
    int64_t allowed = (clock_ticks() - start) / HEALTH_MS + 1;
    cr_expect_geq(asked, 2);
    cr_expect_leq(asked, allowed, "%lld health operations, allowed %lld",
                  (long long)asked, (long long)allowed);
    cr_expect_eq(health(set).rebuilds, 0);
    /* An outage is found all the same, and soon. */
    start = clock_ticks();
    command("closeall");
    cr_expect(decrypts(key, encrypted, size));
    cr_expect_lt(clock_ticks() - start, 3000);
    cr_expect_geq(health(set).rebuilds, 1);
    token_set_free(set);
    LEAK_CHECK();
}

Test(recovery, what_the_token_cannot_do_is_refused_without_a_rebuild)
{
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *key = softhsm_key(set, "k", "rsa-2048", TOKEN_USE_SIGN);
    command("C_SignInit:0x70:0:-1");
    for (int i = 0; i < 5; i++)
        cr_expect_eq(sign(key), CA_UNSUPPORTED);
    cr_expect_eq(health(set).rebuilds, 0);
    command("clear");
    cr_expect_eq(sign(key), CA_OK);
    token_set_free(set);
    LEAK_CHECK();
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

Test(recovery, a_token_with_few_sessions_is_not_asked_for_more)
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
Test(recovery, nearly_all_sessions_of_a_slow_token_are_used_and_none_too_many)
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

Test(recovery, calls_are_counted_and_timed)
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

Test(recovery, pitfall_a_lost_login_comes_back)
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

Test(recovery, pitfall_an_operation_left_active_does_not_stay)
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

Test(recovery, pitfall_a_vendors_own_code_is_kept)
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

Test(recovery, pitfall_a_slot_that_fails_is_waited_for_and_leaks_nothing)
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

Test(recovery, pitfall_nothing_is_finalised_under_a_signature)
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

Test(recovery, pitfall_the_end_leaves_a_call_that_does_not_return_alone)
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
Test(recovery, pitfall_no_fork_while_threads_sign_but_a_spawn)
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
Test(recovery, pitfall_calls_that_are_never_used)
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
