/* Signed tokens: what holds, and every way of not holding (RFC 8725, RFC 7518). */
#include "auto.h"
#include "jws.h"
#include "leak.h"
#include "text.h"
#include <criterion/criterion.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>
#include <string.h>

CA_AUTO_RELEASE(ECDSA_SIG, ECDSA_SIG_free)

#define CLAIMS "{\"iss\":\"https://id.example.com\",\"sub\":\"1\"}"

static char *
coded(const void *octets, size_t size)
{
    char *text = base64url_format(octets, size);
    cr_assert_not_null(text);
    return text;
}

static json_t *
number(const EVP_PKEY *key, const char *name, int size)
{
    BIGNUM *value = NULL;
    uint8_t octets[512];
    cr_assert_eq(EVP_PKEY_get_bn_param(key, name, &value), 1);
    int length = size ? size : BN_num_bytes(value);
    cr_assert_eq(BN_bn2binpad(value, octets, length), length);
    BN_free(value);
    CA_AUTO(free) char *text = coded(octets, (size_t)length);
    return json_string(text);
}

/* The public key as a member of a set. */
static json_t *
jwk(const EVP_PKEY *key, const char *kid)
{
    json_t *json;
    if (EVP_PKEY_is_a(key, "RSA"))
        json = json_pack("{s:s, s:o, s:o}", "kty", "RSA", "n",
                         number(key, OSSL_PKEY_PARAM_RSA_N, 0), "e",
                         number(key, OSSL_PKEY_PARAM_RSA_E, 0));
    else
        json = json_pack("{s:s, s:s, s:o, s:o}", "kty", "EC", "crv", "P-256", "x",
                         number(key, OSSL_PKEY_PARAM_EC_PUB_X, 32), "y",
                         number(key, OSSL_PKEY_PARAM_EC_PUB_Y, 32));
    json_object_set_new(json, "use", json_string("sig"));
    if (kid)
        json_object_set_new(json, "kid", json_string(kid));
    return json;
}

static size_t
sign(EVP_PKEY *key, const char *text, uint8_t *ret_signature, size_t room)
{
    uint8_t der[1024];
    size_t size = sizeof der;
    CA_AUTO(EVP_MD_CTX_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
    cr_assert_eq(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key), 1);
    cr_assert_eq(
        EVP_DigestSign(context, der, &size, (const uint8_t *)text, strlen(text)), 1);
    if (EVP_PKEY_is_a(key, "RSA")) {
        cr_assert_leq(size, room);
        memcpy(ret_signature, der, size);
        return size;
    }
    const uint8_t *at = der;
    CA_AUTO(ECDSA_SIG_free) ECDSA_SIG *parts = d2i_ECDSA_SIG(NULL, &at, (long)size);
    BN_bn2binpad(ECDSA_SIG_get0_r(parts), ret_signature, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(parts), ret_signature + 32, 32);
    return 64;
}

static char *
token_make(EVP_PKEY *key, const char *header, const char *claims)
{
    uint8_t signature[1024];
    char *text = NULL, *token = NULL;
    CA_AUTO(free) char *first = coded(header, strlen(header));
    CA_AUTO(free) char *second = coded(claims, strlen(claims));
    cr_assert_gt(asprintf(&text, "%s.%s", first, second), 0);
    size_t size = sign(key, text, signature, sizeof signature);
    CA_AUTO(free) char *third = coded(signature, size);
    cr_assert_gt(asprintf(&token, "%s.%s", text, third), 0);
    free(text);
    return token;
}

/* Parsed, looked up in the set, verified. */
static enum ca_status
judge(const char *token, const json_t *keys)
{
    struct jws jws = { .header = NULL };
    const json_t *key = NULL;
    enum ca_status status = jws_parse(token, &jws);
    if (status != CA_OK) {
        cr_expect_null(jws.header);
        return status;
    }
    status = jws_find_key(&jws, keys, &key);
    if (status == CA_OK)
        status = jws_verify(&jws, key);
    jws_clear(&jws);
    return status;
}

Test(jws, tokens_by_RSA_and_P256_hold)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *rsa = EVP_RSA_gen(2048);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *ec = EVP_EC_gen("P-256");
    CA_AUTO(json_decref)
    json_t *keys = json_pack("{s:[o, o]}", "keys", jwk(rsa, "r"), jwk(ec, "e"));
    CA_AUTO(free)
    char *one = token_make(rsa, "{\"alg\":\"RS256\",\"kid\":\"r\"}", CLAIMS);
    CA_AUTO(free)
    char *two = token_make(ec, "{\"alg\":\"ES256\",\"kid\":\"e\"}", CLAIMS);
    CA_AUTO(free) char *bare = token_make(ec, "{\"alg\":\"ES256\"}", CLAIMS);
    cr_expect_eq(judge(one, keys), CA_OK, "%s", status_message());
    cr_expect_eq(judge(two, keys), CA_OK, "%s", status_message());
    cr_expect_eq(judge(bare, keys), CA_OK, "the only one of its kind");
    LEAK_CHECK();
}

Test(jws, R1_any_altered_character_breaks_a_token)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *ec = EVP_EC_gen("P-256");
    CA_AUTO(json_decref) json_t *keys = json_pack("{s:[o]}", "keys", jwk(ec, NULL));
    CA_AUTO(free) char *token = token_make(ec, "{\"alg\":\"ES256\"}", CLAIMS);
    for (size_t i = 0; i < strlen(token); i += 3) {
        CA_AUTO(free) char *changed = strdup(token);
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        cr_expect_neq(judge(changed, keys), CA_OK, "%zu", i);
    }
}

Test(jws, only_RS256_and_ES256_are_signatures)
{
    static const char *const headers[] = {
        "{\"alg\":\"none\"}",
        "{\"alg\":\"None\"}",
        "{\"alg\":\"HS256\"}",
        "{\"alg\":\"RS384\"}",
        "{\"alg\":\"PS256\"}",
        "{\"alg\":\"RS1\"}",
        "{\"alg\":\"EdDSA\"}",
        "{\"alg\":256}",
        "{}",
        "{\"alg\":\"RS256\",\"alg\":\"none\"}",
        "{\"alg\":\"RS256\",\"crit\":[\"exp\"]}",
        "[\"RS256\"]",
    };
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *rsa = EVP_RSA_gen(2048);
    CA_AUTO(json_decref) json_t *keys = json_pack("{s:[o]}", "keys", jwk(rsa, NULL));
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        CA_AUTO(free) char *token = token_make(rsa, headers[i], CLAIMS);
        cr_expect_eq(judge(token, keys), CA_UNAUTHENTICATED, "%s", headers[i]);
    }
}

/* RFC 8725 section 2.1: the public key as the secret of an HMAC. */
Test(jws, an_HMAC_by_the_public_key_is_no_signature)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *rsa = EVP_RSA_gen(2048);
    CA_AUTO(json_decref) json_t *key = jwk(rsa, NULL);
    CA_AUTO(json_decref) json_t *keys = json_pack("{s:[O]}", "keys", key);
    const char *secret = json_string_value(json_object_get(key, "n"));
    static const char *const names[] = { "HS256", "RS256" };
    for (size_t i = 0; i < 2; i++) {
        char header[32], *text = NULL, *token = NULL;
        uint8_t mac[32];
        snprintf(header, sizeof header, "{\"alg\":\"%s\"}", names[i]);
        CA_AUTO(free) char *first = coded(header, strlen(header));
        CA_AUTO(free) char *second = coded(CLAIMS, strlen(CLAIMS));
        cr_assert_gt(asprintf(&text, "%s.%s", first, second), 0);
        HMAC(EVP_sha256(), secret, (int)strlen(secret), (const uint8_t *)text,
             strlen(text), mac, NULL);
        CA_AUTO(free) char *third = coded(mac, sizeof mac);
        cr_assert_gt(asprintf(&token, "%s.%s", text, third), 0);
        cr_expect_eq(judge(token, keys), CA_UNAUTHENTICATED, "%s", names[i]);
        free(text);
        free(token);
    }
}

Test(jws, tokens_of_no_form_are_refused)
{
    static const char *const tokens[] = { "",
                                          ".",
                                          "..",
                                          "a.b",
                                          "a.b.c.d",
                                          "e30.e30.",
                                          "eyJhbGciOiJFUzI1NiJ9.e30.AA==",
                                          "eyJhbGciOiJFUzI1NiJ9.e3 0.AAAA",
                                          "eyJhbGciOiJFUzI1NiJ9.W10.AAAA",
                                          "eyJhbGciOiJFUzI1NiJ9.e30.AAAA" };
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *ec = EVP_EC_gen("P-256");
    CA_AUTO(json_decref) json_t *keys = json_pack("{s:[o]}", "keys", jwk(ec, NULL));
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++)
        cr_expect_eq(judge(tokens[i], keys), CA_UNAUTHENTICATED, "%s", tokens[i]);
    CA_AUTO(free) char *big = malloc(JWS_SIZE_MAX + 3);
    memset(big, 'A', JWS_SIZE_MAX + 2);
    memcpy(big, "e30.e30.", 8);
    big[JWS_SIZE_MAX + 2] = '\0';
    cr_expect_eq(judge(big, keys), CA_UNAUTHENTICATED);
    LEAK_CHECK();
}

Test(jws, keys_are_chosen_by_name_kind_and_use)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *one = EVP_EC_gen("P-256");
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *two = EVP_EC_gen("P-256");
    CA_AUTO(json_decref)
    json_t *keys = json_pack("{s:[o, o]}", "keys", jwk(one, "1"), jwk(two, "2"));
    CA_AUTO(free) char *bare = token_make(one, "{\"alg\":\"ES256\"}", CLAIMS);
    CA_AUTO(free)
    char *other = token_make(one, "{\"alg\":\"ES256\",\"kid\":\"2\"}", CLAIMS);
    CA_AUTO(free)
    char *unknown = token_make(one, "{\"alg\":\"ES256\",\"kid\":\"3\"}", CLAIMS);
    CA_AUTO(free)
    char *nameless = token_make(one, "{\"alg\":\"ES256\",\"kid\":1}", CLAIMS);
    cr_expect_eq(judge(bare, keys), CA_NOT_FOUND, "either may have signed it");
    cr_expect_eq(judge(other, keys), CA_UNAUTHENTICATED);
    cr_expect_eq(judge(unknown, keys), CA_NOT_FOUND);
    cr_expect_eq(judge(nameless, keys), CA_NOT_FOUND);
    CA_AUTO(json_decref) json_t *wrong = jwk(one, "1");
    CA_AUTO(json_decref) json_t *set = json_pack("{s:[O]}", "keys", wrong);
    CA_AUTO(free)
    char *good = token_make(one, "{\"alg\":\"ES256\",\"kid\":\"1\"}", CLAIMS);
    cr_expect_eq(judge(good, set), CA_OK);
    json_object_set_new(wrong, "use", json_string("enc"));
    cr_expect_eq(judge(good, set), CA_NOT_FOUND, "a key that encrypts");
    json_object_set_new(wrong, "use", json_string("sig"));
    json_object_set_new(wrong, "alg", json_string("RS256"));
    cr_expect_eq(judge(good, set), CA_NOT_FOUND, "a key of another algorithm");
}

Test(jws, R2_R3_weak_and_broken_keys_verify_nothing)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *small = EVP_RSA_gen(1024);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *ec = EVP_EC_gen("P-256");
    CA_AUTO(json_decref) json_t *keys = json_pack("{s:[o]}", "keys", jwk(small, NULL));
    CA_AUTO(free) char *token = token_make(small, "{\"alg\":\"RS256\"}", CLAIMS);
    cr_expect_eq(judge(token, keys), CA_UNAUTHENTICATED, "RSA of 1024 bits");
    CA_AUTO(json_decref) json_t *key = jwk(ec, NULL);
    CA_AUTO(json_decref) json_t *set = json_pack("{s:[O]}", "keys", key);
    CA_AUTO(free) char *good = token_make(ec, "{\"alg\":\"ES256\"}", CLAIMS);
    json_object_set(key, "x", json_object_get(key, "y"));
    cr_expect_eq(judge(good, set), CA_UNAUTHENTICATED, "a point off the curve");
    json_object_set_new(key, "crv", json_string("P-384"));
    cr_expect_eq(judge(good, set), CA_UNAUTHENTICATED);
    json_object_set_new(key, "crv", json_string("P-256"));
    json_object_set_new(key, "x", json_string("!"));
    cr_expect_eq(judge(good, set), CA_UNAUTHENTICATED);
    json_object_del(key, "x");
    cr_expect_eq(judge(good, set), CA_UNAUTHENTICATED);
    LEAK_CHECK();
}
