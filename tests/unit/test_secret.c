/* Secret keys in a token: custody, sealing, wrapping, tags, and the token's absence. */
#include "auto.h"
#include "leak.h"
#include "secret.h"
#include "softhsm_rig.h"
#include "status.h"
#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

TestSuite(secret, .init = hsm_make, .fini = hsm_remove);

static struct token_secret *
make(struct token_set *set, const char *label, enum secret_use use)
{
    CA_AUTO(free) char *uri = NULL;
    struct token_secret *secret = NULL;
    cr_assert_eq(token_secret_generate(set, "hsm", label, use, &uri), CA_OK, "%s",
                 status_message());
    cr_assert_eq(token_secret_find(set, uri, use, &secret), CA_OK, "%s: %s", uri,
                 status_message());
    return secret;
}

static struct secret_gcm
gcm_of(uint8_t *nonce, const char *aad, const void *input, size_t size, uint8_t *output)
{
    return (struct secret_gcm){ nonce, aad, strlen(aad), input, size, output };
}

Test(secret, seals_and_opens_with_its_aad)
{
    struct token_set *set = softhsm_open(&hsm);
    struct token_secret *secret = make(set, "kek", SECRET_SEAL);
    uint8_t nonce[SECRET_NONCE_SIZE] = "twelve octet", sealed[64] = { 0 },
            text[64] = { 0 };
    struct secret_gcm seal = gcm_of(nonce, "aad", "a text of 21 octets..", 21, sealed);
    cr_assert_eq(token_secret_seal(secret, &seal), CA_OK, "%s", status_message());
    struct secret_gcm open = gcm_of(nonce, "aad", sealed, 37, text);
    cr_assert_eq(token_secret_open(secret, &open), CA_OK, "%s", status_message());
    cr_assert_arr_eq(text, "a text of 21 octets..", 21);

    memset(text, 0, sizeof text);
    struct secret_gcm other = gcm_of(nonce, "aae", sealed, 37, text);
    cr_assert_eq(token_secret_open(secret, &other), CA_FORBIDDEN);
    for (size_t i = 0; i < 37; i++) {
        sealed[i] ^= 1;
        cr_assert_eq(token_secret_open(secret, &open), CA_FORBIDDEN, "octet %zu", i);
        sealed[i] ^= 1;
    }
    for (size_t i = 0; i < sizeof text; i++)
        cr_assert_eq(text[i], 0, "something was written");
    struct secret_gcm small = gcm_of(nonce, "aad", sealed, 15, text);
    cr_assert_eq(token_secret_open(secret, &small), CA_LIMIT);
    token_set_free(set);
    LEAK_CHECK();
}

Test(secret, I6_a_key_serves_one_purpose)
{
    struct token_set *set = softhsm_open(&hsm);
    CA_AUTO(free) char *uri = NULL;
    struct token_secret *secret = NULL;
    cr_assert_eq(token_secret_generate(set, "hsm", "kek", SECRET_SEAL, &uri), CA_OK);
    cr_assert_eq(token_secret_find(set, uri, SECRET_WRAP, &secret), CA_FORBIDDEN,
                 "a sealing key does not wrap");
    cr_assert_eq(token_secret_find(set, uri, SECRET_TAG, &secret), CA_FORBIDDEN);
    cr_assert_eq(token_secret_find(set, uri, SECRET_SEAL, &secret), CA_OK, "%s",
                 status_message());
    struct token_secret *again = NULL;
    cr_assert_eq(token_secret_find(set, uri, SECRET_SEAL, &again), CA_OK);
    cr_assert_eq(secret, again);
    cr_assert_eq(token_secret_find(set, uri, SECRET_WRAP, &again), CA_FORBIDDEN);
    cr_assert_str_eq(token_secret_token(secret), "hsm");
    CA_AUTO(free) char *twice = NULL;
    cr_assert_eq(token_secret_generate(set, "hsm", "kek", SECRET_TAG, &twice),
                 CA_CONFLICT);
    cr_assert_eq(token_secret_generate(set, "none", "x", SECRET_TAG, &twice),
                 CA_NOT_FOUND);
    char absent[128];
    snprintf(absent, sizeof absent, "%s;object=nobody", hsm.uri);
    cr_assert_eq(token_secret_find(set, absent, SECRET_SEAL, &again), CA_NOT_FOUND);
    token_set_free(set);
    LEAK_CHECK();
}

Test(secret, data_keys_come_back_from_each_method)
{
    struct token_set *set = softhsm_open(&hsm);
    struct token_secret *wrap = make(set, "w", SECRET_WRAP);
    struct token_secret *seal = make(set, "s", SECRET_SEAL);
    const uint8_t key[SECRET_KEY_SIZE] = "thirty-two octets are a data key";
    const uint8_t iv[SECRET_IV_SIZE] = "sixteen octets.";
    uint8_t wrapped[SECRET_WRAPPED_SIZE], encrypted[SECRET_CBC_SIZE];
    uint8_t back[SECRET_KEY_SIZE] = { 0 };
    cr_assert_eq(token_secret_wrap(wrap, key, wrapped), CA_OK, "%s", status_message());
    cr_assert_eq(token_secret_unwrap(wrap, wrapped, back), CA_OK, "%s",
                 status_message());
    cr_assert_arr_eq(back, key, sizeof back);
    wrapped[3] ^= 1;
    cr_assert_neq(token_secret_unwrap(wrap, wrapped, back), CA_OK);

    memset(back, 0, sizeof back);
    cr_assert_eq(token_secret_encrypt(seal, iv, key, encrypted), CA_OK, "%s",
                 status_message());
    cr_assert_eq(token_secret_decrypt(seal, iv, encrypted, back), CA_OK, "%s",
                 status_message());
    cr_assert_arr_eq(back, key, sizeof back);
    encrypted[SECRET_CBC_SIZE - 1] ^= 1;
    cr_assert_eq(token_secret_decrypt(seal, iv, encrypted, back), CA_FORBIDDEN);
    token_set_free(set);
    LEAK_CHECK();
}

Test(secret, oaep_takes_the_parameters_that_the_token_has)
{
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *key = softhsm_key(set, "rsa", "rsa-2048", TOKEN_USE_DECRYPT);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *public = token_key_pkey(key);
    const uint8_t text[SECRET_KEY_SIZE] = "thirty-two octets are a data key";
    uint8_t encrypted[256], back[SECRET_KEY_SIZE];
    size_t size = sizeof encrypted;
    CA_AUTO(EVP_PKEY_CTX_free) EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(public, NULL);
    cr_assert(EVP_PKEY_encrypt_init(context) > 0 &&
              EVP_PKEY_CTX_set_rsa_padding(context, 4) > 0 &&
              EVP_PKEY_encrypt(context, encrypted, &size, text, sizeof text) > 0);
    cr_assert_eq(token_decrypt_oaep(key, false, encrypted, size, back), CA_OK, "%s",
                 status_message());
    cr_assert_arr_eq(back, text, sizeof back);
    /* SoftHSM has no other digest there, and is not rebuilt for saying so. */
    struct token_health health;
    cr_assert_eq(token_decrypt_oaep(key, true, encrypted, size, back), CA_FORBIDDEN);
    token_health(set, 0, &health);
    cr_assert_eq(health.state, TOKEN_UP);
    encrypted[9] ^= 1;
    cr_assert_eq(token_decrypt_oaep(key, false, encrypted, size, back), CA_FORBIDDEN);
    token_set_free(set);
}

Test(secret, tags_are_those_of_hmac)
{
    struct token_set *set = softhsm_open(&hsm);
    struct token_secret *secret = make(set, "m", SECRET_TAG);
    uint8_t tag[SECRET_TAG_SIZE], again[SECRET_TAG_SIZE], other[SECRET_TAG_SIZE];
    cr_assert_eq(token_secret_tag(secret, "data", 4, tag), CA_OK, "%s",
                 status_message());
    cr_assert_eq(token_secret_tag(secret, "data", 4, again), CA_OK);
    cr_assert_eq(token_secret_tag(secret, "date", 4, other), CA_OK);
    cr_assert_arr_eq(tag, again, sizeof tag);
    cr_assert_arr_neq(tag, other, sizeof tag);
    struct secret_gcm gcm = gcm_of(tag, "", "x", 1, again);
    cr_assert_eq(token_secret_seal(secret, &gcm), CA_INTERNAL);
    token_set_free(set);
    LEAK_CHECK();
}

Test(secret, softhsm_offers_what_the_specification_says)
{
    struct token_set *set = softhsm_open(&hsm);
    for (int i = 0; i < TOKEN_METHOD_COUNT; i++) {
        bool offers = false;
        cr_assert_eq(token_offers(set, "hsm", (enum token_method)i, &offers), CA_OK,
                     "%s", status_message());
        cr_assert(offers, "method %d", i);
    }
    bool offers = false;
    cr_assert_eq(token_offers(set, "none", TOKEN_METHOD_GCM, &offers), CA_NOT_FOUND);
    token_set_free(set);
    LEAK_CHECK();
}
