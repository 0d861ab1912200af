/* Tokens: opening, keys, signing, decryption, and what is refused. */
#include "auto.h"
#include "keygen.h"
#include "leak.h"
#include "softhsm.h"
#include "token.h"
#include <criterion/criterion.h>
#include <openssl/cms.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <string.h>

static struct softhsm hsm;

static void
hsm_make(void)
{
    softhsm_make(&hsm, "ca");
}

static void
hsm_remove(void)
{
    softhsm_remove(&hsm);
}

TestSuite(token, .init = hsm_make, .fini = hsm_remove);

static const uint8_t message[] = "to be signed";

static bool
verifies(EVP_PKEY *pkey, const EVP_MD *digest, const uint8_t *signature, size_t size)
{
    CA_AUTO(EVP_MD_CTX_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
    return EVP_DigestVerifyInit(context, NULL, digest, NULL, pkey) == 1 &&
           EVP_DigestVerify(context, signature, size, message, sizeof message) == 1;
}

Test(token, signs_with_each_kind_of_key)
{
    static const struct {
        const char *algorithm, *kind;
        int bits;
    } cases[] = {
        { "rsa-2048", "rsa", 2048 },
        { "rsa-3072", "rsa", 3072 },
        { "p-256", "ec", 256 },
        { "p-384", "ec", 384 },
    };
    struct token_set *set = softhsm_open(&hsm);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct token_key *key =
            softhsm_key(set, cases[i].algorithm, cases[i].algorithm, TOKEN_USE_SIGN);
        CA_AUTO(EVP_PKEY_free) EVP_PKEY *pkey = token_key_pkey(key);
        uint8_t signature[512];
        size_t size = 0;
        int bits = 0;
        cr_assert_eq(token_sign(key, EVP_sha256(), message, sizeof message, signature,
                                sizeof signature, &size),
                     CA_OK, "%s: %s", cases[i].algorithm, status_message());
        cr_expect(verifies(pkey, EVP_sha256(), signature, size), "%s",
                  cases[i].algorithm);
        cr_expect_str_eq(token_key_kind(key, &bits), cases[i].kind);
        cr_expect_eq(bits, cases[i].bits);
        cr_expect_leq(size, (size_t)EVP_PKEY_get_size(pkey));
    }
    token_set_free(set);
    LEAK_CHECK();
}
