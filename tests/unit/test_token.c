/* Tokens: opening, keys, signing, decryption, and what is refused. */
#include "auto.h"
#include "keygen.h"
#include "leak.h"
#include "softhsm_rig.h"
#include "token.h"
#include <criterion/criterion.h>
#include <openssl/cms.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

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

Test(token, I7_wrong_PIN_is_tried_once_and_latched)
{
    struct token_set *set = NULL;
    cr_assert_eq(chmod(hsm.pin_file, 0600), 0);
    FILE *file = fopen(hsm.pin_file, "w");
    cr_assert_not_null(file);
    fputs("9999\n", file);
    fclose(file);
    cr_assert_eq(token_set_open(&hsm.config, 1, &set), CA_FORBIDDEN);
    cr_expect(strstr(status_message(), "CKR_PIN_INCORRECT"), "%s", status_message());
    cr_expect_null(strstr(status_message(), "9999"));
    cr_assert_null(set);
    LEAK_CHECK();
}

Test(token, configuration_is_checked_before_the_module_loads)
{
    static const char *const bad_waivers[] = { "software", "everything", NULL };
    static const char *const bad_environment[] = { "=x", NULL };
    static const struct {
        const char *name;
        struct token_config config;
        enum ca_status status;
    } cases[] = {
        { "no URI", { .uri = "token" }, CA_MALFORMED },
        { "URI names no token", { .uri = "pkcs11:model=x" }, CA_MALFORMED },
        { "URI names a key", { .uri = "pkcs11:token=ca;object=a" }, CA_MALFORMED },
        { "PIN in the URI", { .uri = "pkcs11:token=ca?pin-value=1234" }, CA_MALFORMED },
        { "PIN itself", { .pin_source = "1234" }, CA_MALFORMED },
        { "no PIN file", { .pin_source = "file:/nonexistent" }, CA_UNAVAILABLE },
        { "unknown waiver", { .waivers = bad_waivers }, CA_MALFORMED },
        { "bad environment", { .environment = bad_environment }, CA_MALFORMED },
        { "too many permits", { .permits = 1000 }, CA_MALFORMED },
        { "negative wait", { .wait_ms = -1 }, CA_MALFORMED },
        { "relative module", { .module = "libsofthsm2.so" }, CA_MALFORMED },
        { "no module", { .module = "/nonexistent.so" }, CA_UNAVAILABLE },
        { "no library", { .module = "/etc/passwd" }, CA_UNAVAILABLE },
        { "no PKCS#11 library",
          { .module = "/lib/x86_64-linux-gnu/libm.so.6" },
          CA_UNAVAILABLE },
        { "another token", { .uri = "pkcs11:token=other" }, CA_UNAVAILABLE },
        { "another serial", { .uri = "pkcs11:token=ca;serial=00" }, CA_UNAVAILABLE },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct token_config config = hsm.config;
        struct token_set *set = NULL;
        const struct token_config *wrong = &cases[i].config;
        config.uri = wrong->uri ? wrong->uri : config.uri;
        config.pin_source = wrong->pin_source ? wrong->pin_source : config.pin_source;
        config.waivers = wrong->waivers ? wrong->waivers : config.waivers;
        config.environment = wrong->environment;
        config.permits = wrong->permits;
        config.wait_ms = wrong->wait_ms;
        config.module = wrong->module ? wrong->module : config.module;
        cr_expect_eq(token_set_open(&config, 1, &set), cases[i].status, "%s: %s",
                     cases[i].name, status_message());
        cr_expect_null(set, "%s", cases[i].name);
    }
    LEAK_CHECK();
}

Test(token, environment_is_set_before_the_module_loads)
{
    char conf[128];
    snprintf(conf, sizeof conf, "SOFTHSM2_CONF=%s/softhsm2.conf", hsm.folder);
    const char *const environment[] = { conf, "SEALWRIGHT_TEST=a=b", NULL };
    cr_assert_eq(unsetenv("SOFTHSM2_CONF"), 0);
    hsm.config.environment = environment;
    struct token_set *set = softhsm_open(&hsm);
    cr_expect_str_eq(getenv("SEALWRIGHT_TEST"), "a=b");
    token_set_free(set);
    LEAK_CHECK();
}

Test(token, software_needs_its_waiver_and_shows_in_health)
{
    struct token_set *set = NULL;
    struct token_config config = hsm.config;
    config.waivers = NULL;
    cr_assert_eq(token_set_open(&config, 1, &set), CA_FORBIDDEN);
    cr_expect(strstr(status_message(), "software"), "%s", status_message());
    set = softhsm_open(&hsm);
    struct token_health health;
    cr_assert_eq(token_set_count(set), 1);
    token_health(set, 0, &health);
    cr_expect_str_eq(health.name, "hsm");
    cr_expect_str_eq(health.label, "ca");
    cr_expect_str_eq(health.serial, hsm.serial);
    cr_expect_str_eq(health.manufacturer, "SoftHSM project");
    cr_expect_str_eq(health.model, "SoftHSM v2");
    cr_expect_eq(health.state, TOKEN_UP);
    cr_expect(health.is_software);
    cr_expect_eq(health.busy, 0);
    token_set_free(set);
    LEAK_CHECK();
}

Test(token, exactly_one_token_or_none)
{
    struct token_set *set = NULL;
    char serial[17], uri[64];
    softhsm_add(&hsm, "ca", serial);
    cr_assert_eq(token_set_open(&hsm.config, 1, &set), CA_CONFLICT);
    snprintf(uri, sizeof uri, "pkcs11:token=ca;serial=%s", serial);
    hsm.config.uri = uri;
    set = softhsm_open(&hsm);
    struct token_health health;
    token_health(set, 0, &health);
    cr_expect_str_eq(health.serial, serial);
    token_set_free(set);
    LEAK_CHECK();
}

Test(token, several_tokens_of_one_module)
{
    softhsm_add(&hsm, "ra", NULL);
    struct token_config configs[] = { hsm.config, hsm.config };
    configs[1].name = "ra";
    configs[1].uri = "pkcs11:token=ra";
    struct token_set *set = NULL;
    cr_assert_eq(token_set_open(configs, 2, &set), CA_OK, "%s", status_message());
    cr_assert_eq(token_set_count(set), 2);
    const struct keygen wanted = { "k", "p-256", TOKEN_USE_SIGN };
    CA_AUTO(free) char *first_uri = NULL, *second_uri = NULL;
    cr_assert_eq(keygen_generate(set, "hsm", &wanted, &first_uri), CA_OK);
    cr_assert_eq(keygen_generate(set, "ra", &wanted, &second_uri), CA_OK);
    struct token_key *first = NULL, *second = NULL;
    cr_assert_eq(token_key_find(set, first_uri, TOKEN_USE_SIGN, NULL, &first), CA_OK);
    cr_assert_eq(token_key_find(set, second_uri, TOKEN_USE_SIGN, NULL, &second), CA_OK);
    cr_assert_neq(first, second);
    uint8_t signature[128];
    size_t size = 0;
    cr_assert_eq(token_sign(second, EVP_sha256(), message, sizeof message, signature,
                            sizeof signature, &size),
                 CA_OK);
    token_set_free(set);
    set = NULL;
    configs[1].uri = hsm.config.uri;
    cr_assert_eq(token_set_open(configs, 2, &set), CA_CONFLICT, "same token twice");
    configs[1].name = "hsm";
    cr_assert_eq(token_set_open(configs, 2, &set), CA_MALFORMED, "same name twice");
    LEAK_CHECK();
}

Test(token, pitfall_one_context_a_module)
{
    struct token_set *set = softhsm_open(&hsm), *second = NULL;
    cr_assert_eq(token_set_open(&hsm.config, 1, &second), CA_CONFLICT);
    struct token_key *key = softhsm_key(set, "k", "p-256", TOKEN_USE_SIGN);
    uint8_t signature[128];
    size_t size = 0;
    cr_assert_eq(token_sign(key, EVP_sha256(), message, sizeof message, signature,
                            sizeof signature, &size),
                 CA_OK, "the first set still signs");
    token_set_free(set);
    set = softhsm_open(&hsm);
    token_set_free(set);
    LEAK_CHECK();
}

Test(token, a_key_is_found_by_label_or_id_and_stays_the_same)
{
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *key = softhsm_key(set, "signer", "p-256", TOKEN_USE_SIGN);
    struct token_key *again = NULL;
    cr_assert_eq(token_key_find(set, "pkcs11:token=ca;object=signer", TOKEN_USE_SIGN,
                                NULL, &again),
                 CA_OK);
    cr_expect_eq(again, key);
    static const struct {
        const char *uri;
        unsigned uses;
        enum ca_status status;
    } cases[] = {
        { "pkcs11:token=ca;object=other", TOKEN_USE_SIGN, CA_NOT_FOUND },
        { "pkcs11:token=other;object=signer", TOKEN_USE_SIGN, CA_NOT_FOUND },
        { "pkcs11:object=signer", TOKEN_USE_SIGN, CA_MALFORMED },
        { "pkcs11:token=ca", TOKEN_USE_SIGN, CA_MALFORMED },
        { "signer", TOKEN_USE_SIGN, CA_MALFORMED },
        { "pkcs11:token=ca;object=signer", TOKEN_USE_DECRYPT, CA_FORBIDDEN },
        { "pkcs11:token=ca;object=signer", TOKEN_USE_DECRYPT | TOKEN_USE_SIGN,
          CA_FORBIDDEN },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_expect_eq(token_key_find(set, cases[i].uri, cases[i].uses, NULL, &again),
                     cases[i].status, "%s: %s", cases[i].uri, status_message());
    token_set_free(set);
    LEAK_CHECK();
}

/* A self-signed certificate of the key, made by OpenSSL through the proxy. */
static X509 *
certificate_make(EVP_PKEY *pkey)
{
    X509 *certificate = X509_new();
    X509_NAME *name = X509_get_subject_name(certificate);
    cr_assert_eq(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                            (const unsigned char *)"test", -1, -1, 0),
                 1);
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 7);
    X509_set_issuer_name(certificate, name);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    cr_assert_eq(X509_set_pubkey(certificate, pkey), 1);
    cr_assert_gt(X509_sign(certificate, pkey, EVP_sha256()), 0);
    cr_assert_eq(X509_verify(certificate, pkey), 1);
    return certificate;
}

Test(token, H2_a_certificate_of_another_key_is_refused)
{
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *a = softhsm_key(set, "a", "p-256", TOKEN_USE_SIGN), *found = NULL;
    softhsm_key(set, "b", "p-256", TOKEN_USE_SIGN);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *pkey = token_key_pkey(a);
    CA_AUTO(X509_free) X509 *certificate = certificate_make(pkey);
    cr_expect_eq(token_key_find(set, "pkcs11:token=ca;object=a", TOKEN_USE_SIGN,
                                certificate, &found),
                 CA_OK);
    cr_expect_eq(found, a);
    cr_expect_eq(token_key_find(set, "pkcs11:token=ca;object=b", TOKEN_USE_SIGN,
                                certificate, &found),
                 CA_CONFLICT);
    token_set_free(set);
    LEAK_CHECK();
}

static void
pss_check(EVP_PKEY *pkey)
{
    uint8_t signature[512];
    size_t size = sizeof signature;
    EVP_PKEY_CTX *pss = NULL;
    CA_AUTO(EVP_MD_CTX_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
    cr_assert_eq(EVP_DigestSignInit(context, &pss, EVP_sha256(), NULL, pkey), 1);
    cr_assert_gt(EVP_PKEY_CTX_set_rsa_padding(pss, RSA_PKCS1_PSS_PADDING), 0);
    cr_assert_eq(EVP_DigestSign(context, signature, &size, message, sizeof message), 1,
                 "%s", status_message());
    CA_AUTO(EVP_MD_CTX_free) EVP_MD_CTX *verify = EVP_MD_CTX_new();
    cr_assert_eq(EVP_DigestVerifyInit(verify, &pss, EVP_sha256(), NULL, pkey), 1);
    cr_assert_gt(EVP_PKEY_CTX_set_rsa_padding(pss, RSA_PKCS1_PSS_PADDING), 0);
    cr_assert_eq(EVP_DigestVerify(verify, signature, size, message, sizeof message), 1);
}

static void
cms_check(X509 *certificate, EVP_PKEY *pkey)
{
    CA_AUTO(BIO_free_all) BIO *data = BIO_new_mem_buf(message, sizeof message);
    CA_AUTO(CMS_ContentInfo_free)
    CMS_ContentInfo *cms = CMS_sign(certificate, pkey, NULL, data, CMS_BINARY);
    cr_assert_not_null(cms);
    cr_assert_eq(CMS_verify(cms, NULL, NULL, NULL, NULL, CMS_NO_SIGNER_CERT_VERIFY), 1);
}

static void
cms_decrypt_check(X509 *certificate, EVP_PKEY *pkey)
{
    CA_AUTO(x509_stack_free) STACK_OF(X509) *recipients = sk_X509_new_null();
    X509_up_ref(certificate);
    sk_X509_push(recipients, certificate);
    CA_AUTO(BIO_free_all) BIO *data = BIO_new_mem_buf(message, sizeof message);
    CA_AUTO(BIO_free_all) BIO *out = BIO_new(BIO_s_mem());
    CA_AUTO(CMS_ContentInfo_free)
    CMS_ContentInfo *cms = CMS_encrypt(recipients, data, EVP_aes_128_cbc(), CMS_BINARY);
    char text[64];
    cr_assert_not_null(cms);
    cr_assert_eq(CMS_decrypt(cms, pkey, certificate, NULL, out, 0), 1);
    cr_assert_eq(BIO_read(out, text, sizeof text), (int)sizeof message);
    cr_assert_arr_eq(text, message, sizeof message);
}

Test(token, proxies_serve_every_OpenSSL_call)
{
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *rsa =
        softhsm_key(set, "ra", "rsa-2048", TOKEN_USE_SIGN | TOKEN_USE_DECRYPT);
    struct token_key *ec = softhsm_key(set, "ec", "p-384", TOKEN_USE_SIGN);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *rsa_pkey = token_key_pkey(rsa);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *ec_pkey = token_key_pkey(ec);
    CA_AUTO(X509_free) X509 *rsa_certificate = certificate_make(rsa_pkey);
    CA_AUTO(X509_free) X509 *ec_certificate = certificate_make(ec_pkey);
    cms_check(rsa_certificate, rsa_pkey);
    cms_check(ec_certificate, ec_pkey);
    cms_decrypt_check(rsa_certificate, rsa_pkey);
    pss_check(rsa_pkey);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *copy = EVP_PKEY_dup(ec_pkey);
    if (copy) /* a copy is one more holder, or there is none */
        cms_check(ec_certificate, copy);
    struct token_health health;
    token_health(set, 0, &health);
    cr_expect_eq(health.failures, 0);
    cr_expect_geq(health.operations, 6);
    token_set_free(set);
    LEAK_CHECK();
}

Test(token, pitfall_a_stray_proxy_outlives_its_set_and_only_refuses)
{
    struct token_set *set = softhsm_open(&hsm);
    CA_AUTO(EVP_PKEY_free)
    EVP_PKEY *pkey = token_key_pkey(softhsm_key(set, "k", "p-256", TOKEN_USE_SIGN));
    CA_AUTO(EVP_PKEY_free)
    EVP_PKEY *rsa = token_key_pkey(
        softhsm_key(set, "d", "rsa-2048", TOKEN_USE_SIGN | TOKEN_USE_DECRYPT));
    token_set_free(set);
    uint8_t signature[512];
    size_t size = sizeof signature;
    CA_AUTO(EVP_MD_CTX_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
    cr_assert_eq(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, pkey), 1);
    cr_assert_neq(EVP_DigestSign(context, signature, &size, message, sizeof message),
                  1);
    CA_AUTO(EVP_PKEY_CTX_free) EVP_PKEY_CTX *decrypt = EVP_PKEY_CTX_new(rsa, NULL);
    uint8_t block[256] = { 0 };
    size = sizeof signature;
    cr_assert_eq(EVP_PKEY_decrypt_init(decrypt), 1);
    cr_assert_leq(EVP_PKEY_decrypt(decrypt, signature, &size, block, sizeof block), 0);
    struct token_set *again = NULL;
    cr_assert_eq(token_set_open(&hsm.config, 1, &again), CA_CONFLICT,
                 "the module is held until the last proxy goes");
}

static size_t
encrypt(EVP_PKEY *pkey, int padding, const void *text, size_t size, uint8_t *ret_text)
{
    size_t room = 512;
    CA_AUTO(EVP_PKEY_CTX_free) EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(pkey, NULL);
    cr_assert_eq(EVP_PKEY_encrypt_init(context), 1);
    cr_assert_gt(EVP_PKEY_CTX_set_rsa_padding(context, padding), 0);
    cr_assert_eq(EVP_PKEY_encrypt(context, ret_text, &room, text, size), 1);
    return room;
}

Test(token, decrypts_a_content_key)
{
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *key = softhsm_key(set, "d", "rsa-2048", TOKEN_USE_DECRYPT);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *pkey = token_key_pkey(key);
    const uint8_t content[16] = "0123456789abcde";
    uint8_t encrypted[512], decrypted[16];
    for (int oaep = 0; oaep <= 1; oaep++) {
        size_t size = encrypt(pkey, oaep ? RSA_PKCS1_OAEP_PADDING : RSA_PKCS1_PADDING,
                              content, sizeof content, encrypted);
        memset(decrypted, 0, sizeof decrypted);
        cr_assert_eq(token_decrypt_key(key, oaep, encrypted, size, decrypted, 16),
                     CA_OK, "%s", status_message());
        cr_expect_arr_eq(decrypted, content, 16, "oaep %d", oaep);
    }
    uint8_t signature[256];
    size_t size = 0;
    cr_expect_eq(token_sign(key, EVP_sha256(), message, sizeof message, signature,
                            sizeof signature, &size),
                 CA_FORBIDDEN);
    token_set_free(set);
    LEAK_CHECK();
}

/* Every bad ciphertext: CA_OK and a key that is random, new each time. */
Test(token, a_bad_ciphertext_is_a_random_key_and_no_outage)
{
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *key = softhsm_key(set, "d", "rsa-2048", TOKEN_USE_DECRYPT);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *pkey = token_key_pkey(key);
    const uint8_t content[24] = "a key of another length";
    uint8_t cases[6][512] = { { 0 } };
    size_t sizes[6] = { 256, 256, 256, 0, 255, 257 };
    encrypt(pkey, RSA_PKCS1_PADDING, content, 24, cases[0]); /* other length */
    encrypt(pkey, RSA_PKCS1_PADDING, content, 16, cases[1]);
    cases[1][100] ^= 1;          /* bad padding */
    memset(cases[2], 0xff, 256); /* above the modulus */
    encrypt(pkey, RSA_PKCS1_PADDING, content, 16, cases[4]);
    for (size_t i = 0; i < 6; i++) {
        uint8_t first[16] = { 0 }, second[16] = { 0 };
        cr_expect_eq(token_decrypt_key(key, false, cases[i], sizes[i], first, 16),
                     CA_OK, "case %zu: %s", i, status_message());
        cr_expect_eq(token_decrypt_key(key, false, cases[i], sizes[i], second, 16),
                     CA_OK);
        cr_expect_neq(memcmp(first, second, 16), 0, "case %zu is not random", i);
        cr_expect_neq(memcmp(first, content, 16), 0);
    }
    struct token_health health;
    token_health(set, 0, &health);
    cr_expect_eq(health.failures, 0);
    cr_expect_eq(health.rebuilds, 0);
    cr_expect_eq(health.state, TOKEN_UP);
    uint8_t good[512], decrypted[16];
    size_t size = encrypt(pkey, RSA_PKCS1_PADDING, content, 16, good);
    cr_assert_eq(token_decrypt_key(key, false, good, size, decrypted, 16), CA_OK);
    cr_assert_arr_eq(decrypted, content, 16);
    token_set_free(set);
    LEAK_CHECK();
}

struct signer {
    pthread_t thread;
    struct token_key *key;
    int signatures, failures;
};

static void *
signer_run(void *argument)
{
    struct signer *signer = argument;
    EVP_PKEY *pkey = token_key_pkey(signer->key);
    for (int i = 0; i < 50; i++) {
        uint8_t signature[512];
        size_t size = 0;
        bool good = token_sign(signer->key, EVP_sha256(), message, sizeof message,
                               signature, sizeof signature, &size) == CA_OK &&
                    verifies(pkey, EVP_sha256(), signature, size);
        signer->signatures += good;
        signer->failures += !good;
    }
    EVP_PKEY_free(pkey);
    return NULL;
}

static void
signers_check(struct token_set *set, struct token_key *const *keys, size_t key_count)
{
    struct signer signers[16] = { 0 };
    for (size_t i = 0; i < 16; i++) {
        signers[i].key = keys[i % key_count];
        cr_assert_eq(pthread_create(&signers[i].thread, NULL, signer_run, &signers[i]),
                     0);
    }
    for (size_t i = 0; i < 16; i++) {
        pthread_join(signers[i].thread, NULL);
        cr_expect_eq(signers[i].signatures, 50);
        cr_expect_eq(signers[i].failures, 0);
    }
    struct token_health health;
    token_health(set, 0, &health);
    cr_expect_eq(health.busy, 0);
    cr_expect_eq(health.operations, 800);
}

Test(token, signs_from_many_threads_at_once)
{
    hsm.config.permits = 4;
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *keys[] = { softhsm_key(set, "a", "p-256", TOKEN_USE_SIGN),
                                 softhsm_key(set, "b", "rsa-2048", TOKEN_USE_SIGN) };
    signers_check(set, keys, 2);
    token_set_free(set);
    LEAK_CHECK();
}

Test(token, pitfall_more_permits_than_libp11_has_sessions)
{
    hsm.config.permits = 40;
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *key = softhsm_key(set, "a", "p-256", TOKEN_USE_SIGN);
    signers_check(set, &key, 1);
    token_set_free(set);
    LEAK_CHECK();
}

Test(token, keys_are_generated_while_others_sign)
{
    struct token_set *set = softhsm_open(&hsm);
    struct signer signers[4] = { 0 };
    struct token_key *key = softhsm_key(set, "a", "p-256", TOKEN_USE_SIGN);
    for (size_t i = 0; i < 4; i++) {
        signers[i].key = key;
        pthread_create(&signers[i].thread, NULL, signer_run, &signers[i]);
    }
    for (int i = 0; i < 5; i++) {
        char label[8];
        snprintf(label, sizeof label, "g%d", i);
        softhsm_key(set, label, "p-256", TOKEN_USE_SIGN);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(signers[i].thread, NULL);
        cr_expect_eq(signers[i].failures, 0);
    }
    token_set_free(set);
    LEAK_CHECK();
}
