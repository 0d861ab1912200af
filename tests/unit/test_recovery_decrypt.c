/* Decryption: survives what signatures survive, and no stranger rebuilds anything. */
#include "leak.h"
#include "recovery_rig.h"
#include <openssl/rsa.h>
#include <pthread.h>

TestSuite(recovery_decrypt, .init = hsm_make, .fini = hsm_remove);

Test(recovery_decrypt, decryption_survives_what_signatures_survive)
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

Test(recovery_decrypt, pitfall_a_bad_ciphertext_never_starts_a_rebuild)
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
Test(recovery_decrypt, pitfall_a_flood_of_bad_ciphertexts_has_few_health_operations)
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

Test(recovery_decrypt, what_the_token_cannot_do_is_refused_without_a_rebuild)
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
