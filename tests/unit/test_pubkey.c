/* Public keys made by hand are the keys that OpenSSL's decoders make. */
#include "leak.h"
#include "pubkey.h"
#include <criterion/criterion.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

static EVP_PKEY *
key_make(const char *name)
{
    if (strcmp(name, "RSA") == 0)
        return EVP_RSA_gen(2048);
    if (strcmp(name, "ED25519") == 0)
        return EVP_PKEY_Q_keygen(NULL, NULL, name);
    return EVP_EC_gen(name);
}

static void
expect_same(const char *name, EVP_PKEY *made, const uint8_t *spki, int size)
{
    const uint8_t *at = spki;
    EVP_PKEY *other = d2i_PUBKEY(NULL, &at, size);
    uint8_t *again = NULL;
    cr_expect_eq(EVP_PKEY_eq(made, other), 1, "%s", name);
    cr_expect_eq(EVP_PKEY_get_base_id(made), EVP_PKEY_get_base_id(other), "%s", name);
    cr_expect_eq(EVP_PKEY_get_bits(made), EVP_PKEY_get_bits(other), "%s", name);
    cr_expect_eq(EVP_PKEY_get_size(made), EVP_PKEY_get_size(other), "%s", name);
    cr_expect_eq(EVP_PKEY_get_security_bits(made), EVP_PKEY_get_security_bits(other),
                 "%s", name);
    cr_expect_eq(i2d_PUBKEY(made, &again), size, "%s", name);
    cr_expect_arr_eq(again, spki, (size_t)size, "%s", name);
    OPENSSL_free(again);
    EVP_PKEY_free(other);
}

/* It verifies what the private key signed, and nothing else. */
static void
expect_verifies(const char *name, EVP_PKEY *made, EVP_PKEY *private)
{
    uint8_t message[] = "what a device signs", signature[512];
    size_t size = sizeof signature;
    const EVP_MD *digest = strcmp(name, "ED25519") == 0 ? NULL : EVP_sha256();
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    cr_assert_eq(EVP_DigestSignInit(context, NULL, digest, NULL, private), 1);
    cr_assert_eq(EVP_DigestSign(context, signature, &size, message, sizeof message), 1);
    for (int bent = 0; bent < 2; bent++) {
        message[0] ^= (uint8_t)bent;
        EVP_MD_CTX_reset(context);
        cr_assert_eq(EVP_DigestVerifyInit(context, NULL, digest, NULL, made), 1);
        cr_expect_eq(
            EVP_DigestVerify(context, signature, size, message, sizeof message) == 1,
            !bent, "%s", name);
    }
    EVP_MD_CTX_free(context);
}

Test(pubkey, keys_made_by_hand_are_openssls)
{
    static const char *const names[] = { "RSA",   "P-256",     "P-384",
                                         "P-521", "secp256k1", "ED25519" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        EVP_PKEY *key = key_make(names[i]);
        uint8_t *spki = NULL;
        int size = i2d_PUBKEY(key, &spki);
        cr_assert_gt(size, 0);
        for (int round = 0; round < 2; round++) { /* what is kept is not used up */
            EVP_PKEY *made = pubkey_decode(spki, (size_t)size);
            cr_assert_not_null(made, "%s", names[i]);
            expect_same(names[i], made, spki, size);
            expect_verifies(names[i], made, key);
            EVP_PKEY_free(made);
        }
        cr_expect_null(pubkey_decode(spki, (size_t)size - 1), "%s", names[i]);
        OPENSSL_free(spki);
        EVP_PKEY_free(key);
    }
    ERR_clear_error();
    LEAK_CHECK();
}

Test(pubkey, points_off_the_curve_are_no_keys)
{
    static const struct {
        const char *name;
        int point; /* octets */
    } cases[] = { { "P-256", 65 }, { "P-384", 97 }, { "P-521", 133 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        EVP_PKEY *key = EVP_EC_gen(cases[i].name);
        uint8_t *spki = NULL;
        int size = i2d_PUBKEY(key, &spki);
        uint8_t *point = spki + size - cases[i].point;
        point[cases[i].point - 1] ^= 1;
        cr_expect_null(pubkey_decode(spki, (size_t)size), "%s: off", cases[i].name);
        memset(point + 1, 0xff, (size_t)cases[i].point - 1);
        cr_expect_null(pubkey_decode(spki, (size_t)size), "%s: above p", cases[i].name);
        memset(point, 0, (size_t)cases[i].point);
        cr_expect_null(pubkey_decode(spki, (size_t)size), "%s: none", cases[i].name);
        OPENSSL_free(spki);
        EVP_PKEY_free(key);
    }
    ERR_clear_error();
    LEAK_CHECK();
}

/* OpenSSL's decoders take them; that another module refuses them is its own. */
Test(pubkey, other_forms_of_a_point_are_left_to_openssl)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    uint8_t *spki = NULL;
    cr_assert_eq(EVP_PKEY_set_utf8_string_param(
                     key, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, "compressed"),
                 1);
    int size = i2d_PUBKEY(key, &spki);
    cr_assert_eq(size, 59);
    EVP_PKEY *made = pubkey_decode(spki, (size_t)size);
    cr_assert_not_null(made);
    cr_expect_eq(EVP_PKEY_eq(made, key), 1);
    EVP_PKEY_free(made);
    OPENSSL_free(spki);
    EVP_PKEY_free(key);
    LEAK_CHECK();
}
