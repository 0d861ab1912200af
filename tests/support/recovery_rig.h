/* What the tests of recovery share: a SoftHSM behind the fault module, a signature that
 * is verified, and waiting for a state. */
#pragma once

#include "auto.h"
#include "clock.h"
#include "fault.h"
#include "softhsm.h"
#include "token.h"
#include <criterion/criterion.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

static struct softhsm hsm;
static const uint8_t message[] = "to be signed";

static inline void
hsm_make(void)
{
    softhsm_make(&hsm, "ca");
    hsm.config.module = fault_path();
}

static inline void
hsm_remove(void)
{
    softhsm_remove(&hsm);
}

static inline void
command(const char *text)
{
    cr_assert(fault_command(text), "%s", text);
}

static inline enum ca_status
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

static inline struct token_health
health(struct token_set *set)
{
    struct token_health health;
    token_health(set, 0, &health);
    return health;
}

static inline void
state_await(struct token_set *set, enum token_state state, int64_t within_ms)
{
    int64_t until = clock_ticks() + within_ms;
    while (health(set).state != state && clock_ticks() < until)
        usleep(5000);
    cr_assert_eq(health(set).state, state, "%s", status_message());
}

struct waiter {
    pthread_t thread;
    struct token_key *key;
    enum ca_status status;
    int64_t took;
};

static inline void *
waiter_run(void *argument)
{
    struct waiter *waiter = argument;
    int64_t start = clock_ticks();
    waiter->status = sign(waiter->key);
    waiter->took = clock_ticks() - start;
    return NULL;
}

static inline size_t
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

static inline bool
decrypts(struct token_key *key, const uint8_t *encrypted, size_t size)
{
    uint8_t text[16];
    cr_expect_eq(token_decrypt_key(key, false, encrypted, size, text, 16), CA_OK, "%s",
                 status_message());
    return memcmp(text, content, 16) == 0;
}
