/* ROBO, the renewal of [MS-MDE2] 3.6, through the real core. */
#include "clock.h"
#include "talk.h"

TestSuite(wstep_renewal, .init = talk_setup, .fini = talk_teardown, .timeout = 120);

Test(wstep_renewal, A4_a_renewal_is_signed_by_the_older_key_in_each_published_form)
{
    static const struct {
        bool has_attributes, is_without_certificate, is_base64, is_sha1, has_peer;
    } forms[] = {
        { false, false, false, false, true }, { true, false, true, false, true },
        { true, true, false, false, true },   { false, false, true, true, true },
        { true, false, false, false, false },
    };
    EVP_PKEY *key = EVP_RSA_gen(2048);
    X509 *certificate = talk_enrol(key);
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct talk talk;
        EVP_PKEY *next = EVP_RSA_gen(2048);
        const struct windows_pkcs7 how = {
            .signer = certificate,
            .key = key,
            .digest = forms[i].is_sha1 ? EVP_sha1() : NULL,
            .has_attributes = forms[i].has_attributes,
            .is_without_certificate = forms[i].is_without_certificate,
            .is_base64 = forms[i].is_base64,
        };
        clock_set(clock_now() + 340 * TALK_DAY);
        CA_AUTO(free) char *message = talk_message_renew(&how, next);
        talk_post(&talk, message, forms[i].has_peer ? certificate : NULL);
        struct windows_walk document = talk_document(&talk, TALK_MESSAGE_RENEW);
        X509 *renewed = talk_certificate(document, "User", true);
        walk_into(&document, "CertificateStore");
        struct windows_walk part = walk_into(&document, "APPLICATION");
        walk_parm_is(&part, "PROVIDER-ID", NULL, "Sealwright");
        walk_end(&part);
        walk_end(&document);
        cr_expect_eq(EVP_PKEY_eq(X509_get0_pubkey(renewed), next), 1);
        cr_expect_eq(X509_NAME_cmp(X509_get_subject_name(renewed),
                                   X509_get_subject_name(certificate)),
                     0);
        talk_clear(&talk);
        X509_free(certificate);
        EVP_PKEY_free(key);
        certificate = renewed;
        key = next;
    }
    X509_free(certificate);
    EVP_PKEY_free(key);
    cr_expect_eq(house_integer(&talk_house, "SELECT COUNT(*) FROM device"), 1);
    /* No session has shown the last one yet: the one that it renews is good as well. */
    cr_expect_eq(house_integer(&talk_house, "SELECT COUNT(*) FROM certificate WHERE "
                                            "state = 1 AND protocol = 'wstep'"),
                 2);
}

Test(wstep_renewal, A4_a_renewal_too_early_or_too_late_is_not_eligible)
{
    struct talk talk;
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_RSA_gen(2048);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *next = EVP_RSA_gen(2048);
    CA_AUTO(X509_free) X509 *certificate = talk_enrol(key);
    const struct windows_pkcs7 how = { .signer = certificate, .key = key };
    CA_AUTO(free) char *message = talk_message_renew(&how, next);
    talk_post(&talk, message, certificate);
    talk_assert_fault(&talk, "s:Authorization", "NotEligibleToRenew");
    talk_clear(&talk);
    clock_set(clock_now() + 366 * TALK_DAY);
    talk_post(&talk, message, NULL);
    talk_assert_fault(&talk, "s:Authorization", "NotEligibleToRenew");
    talk_clear(&talk);
    cr_expect_eq(talk_issued(), 1);
}

Test(wstep_renewal, A4_a_renewal_by_any_other_key_is_refused)
{
    struct talk talk;
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_RSA_gen(2048);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *next = EVP_RSA_gen(2048);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *thief = EVP_RSA_gen(2048);
    CA_AUTO(X509_free) X509 *certificate = talk_enrol(key);
    CA_AUTO(X509_free) X509 *other = talk_enrol(thief);
    struct house_device stranger;
    house_device_make(&stranger, "alice", NULL);
    clock_set(clock_now() + 340 * TALK_DAY);
    /* Signed over SHA-1 by who shows no certificate; by another than TLS has shown; by
     * a certificate that is none of ours; by one that was replaced. */
    const struct {
        struct windows_pkcs7 how;
        X509 *peer;
        const char *subcode, *error_type;
    } cases[] = {
        { { .signer = other, .key = thief, .digest = EVP_sha1() },
          NULL,
          "s:CertificateRequest",
          NULL },
        { { .signer = other, .key = thief }, certificate, "s:Authentication", NULL },
        { { .signer = stranger.self, .key = stranger.key },
          NULL,
          "s:Authentication",
          NULL },
        { { .signer = certificate, .key = key },
          NULL,
          "s:Authorization",
          "NotEligibleToRenew" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CA_AUTO(free) char *message = talk_message_renew(&cases[i].how, next);
        talk_post(&talk, message, cases[i].peer);
        talk_assert_fault(&talk, cases[i].subcode, cases[i].error_type);
        talk_clear(&talk);
    }
    /* One octet of the signature. */
    size_t csr_size, size;
    const struct windows_pkcs7 how = { .signer = other, .key = thief };
    CA_AUTO(openssl_free) uint8_t *csr = windows_csr(next, false, &csr_size);
    CA_AUTO(openssl_free) uint8_t *der = windows_renewal(&how, csr, csr_size, &size);
    der[size - 1] ^= 1;
    CA_AUTO(free) char *request = base64_format(der, size);
    CA_AUTO(free)
    char *message =
        windows_fill(windows_template("rst-renew.xml"), "@REQUEST@", request);
    talk_post(&talk, message, NULL);
    talk_assert_fault(&talk, "s:Authentication", NULL);
    talk_clear(&talk);
    house_device_clear(&stranger);
    cr_expect_eq(talk_issued(), 2);
}
