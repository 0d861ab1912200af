/* A root and an issuing CA with software keys, made by the core's own builder. */
#pragma once

#include "pki.h"
#include "tbs.h"

struct pki_ca {
    EVP_PKEY *root_key, *key;
    X509 *root, *certificate;
};

/* Signs as a token would and decodes. */
PKI X509 *
pki_sign(const uint8_t *tbs, size_t size, EVP_PKEY *key)
{
    CA_AUTO(EVP_MD_CTX_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
    uint8_t signature[1024];
    size_t length = sizeof signature;
    cr_assert(EVP_DigestSignInit(context, NULL, tbs_digest(key), NULL, key) == 1);
    cr_assert(EVP_DigestSign(context, signature, &length, tbs, size) == 1);
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    size_t der_size;
    cr_assert_eq(tbs_assemble(tbs, size, signature, length, &der, &der_size), CA_OK);
    const uint8_t *at = der;
    X509 *certificate = d2i_X509(NULL, &at, (long)der_size);
    cr_assert(certificate && at == der + der_size);
    return certificate;
}

/* The certificate of the hierarchy that `wanted` describes for `subject` and `key`;
 * serial and times are filled in where they are missing. */
PKI X509 *
pki_authority(struct tbs_authority wanted, const char *subject, EVP_PKEY *key,
              EVP_PKEY *issuer_key)
{
    static uint8_t serial[16] = { 1 };
    CA_AUTO(X509_NAME_free) X509_NAME *name = NULL;
    cr_assert_eq(names_parse_subject(subject, &name), CA_OK);
    CA_AUTO(X509_PUBKEY_free) X509_PUBKEY *spki = pki_spki(key);
    serial[15]++;
    wanted.subject = name;
    wanted.key = spki;
    wanted.serial = serial;
    wanted.serial_size = sizeof serial;
    wanted.now = wanted.now ? wanted.now : PKI_NOW;
    wanted.validity = wanted.validity ? wanted.validity : 10 * 365 * 86400;
    CA_AUTO(openssl_free) uint8_t *tbs = NULL;
    size_t size;
    cr_assert_eq(tbs_build_authority(&wanted, &tbs, &size), CA_OK, "%s",
                 status_message());
    return pki_sign(tbs, size, issuer_key);
}

PKI void
pki_ca_init(struct pki_ca *ca)
{
    ca->root_key = pki_ec("P-384");
    ca->key = pki_ec("P-256");
    ca->root = pki_authority(
        (struct tbs_authority){ .kind = TBS_ROOT, .backdate = 600, .path_length = -1 },
        "CN=Test Root,O=Example", ca->root_key, ca->root_key);
    ca->certificate = pki_authority(
        (struct tbs_authority){ .kind = TBS_ISSUING,
                                .issuer = ca->root,
                                .backdate = 300,
                                .validity = 5 * 365 * 86400,
                                .crl_url = "http://ca.example/crl/root.crl",
                                .issuer_url = "http://ca.example/issuer/root.cer" },
        "CN=Test Issuing CA,O=Example", ca->key, ca->root_key);
}

PKI void
pki_ca_clear(struct pki_ca *ca)
{
    X509_free(ca->certificate);
    X509_free(ca->root);
    EVP_PKEY_free(ca->key);
    EVP_PKEY_free(ca->root_key);
    memset(ca, 0, sizeof *ca);
}

/* openssl verify -x509_strict at PKI_NOW: X509_V_OK or the error. */
PKI int
pki_verify(const struct pki_ca *ca, X509 *certificate)
{
    CA_AUTO(X509_STORE_free) X509_STORE *store = X509_STORE_new();
    CA_AUTO(X509_STORE_CTX_free) X509_STORE_CTX *context = X509_STORE_CTX_new();
    STACK_OF(X509) *others = sk_X509_new_null();
    cr_assert(X509_STORE_add_cert(store, ca->root) == 1);
    cr_assert(sk_X509_push(others, ca->certificate) > 0);
    X509_STORE_set_flags(store, X509_V_FLAG_X509_STRICT |
                                    X509_V_FLAG_CHECK_SS_SIGNATURE |
                                    X509_V_FLAG_POLICY_CHECK);
    cr_assert(X509_STORE_CTX_init(context, store, certificate, others) == 1);
    X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(context), PKI_NOW);
    int error =
        X509_verify_cert(context) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(context);
    sk_X509_free(others);
    return error;
}

/* What `openssl x509 -text` would show of an extension. */
PKI void
expect_extension(X509 *certificate, int nid, bool critical, const char *text)
{
    int index = X509_get_ext_by_NID(certificate, nid, -1);
    cr_assert_geq(index, 0, "%s", OBJ_nid2sn(nid));
    cr_expect_lt(X509_get_ext_by_NID(certificate, nid, index), 0);
    X509_EXTENSION *extension = X509_get_ext(certificate, index);
    cr_expect_eq(X509_EXTENSION_get_critical(extension), critical, "%s",
                 OBJ_nid2sn(nid));
    CA_AUTO(BIO_free_all) BIO *bio = BIO_new(BIO_s_mem());
    cr_assert(X509V3_EXT_print(bio, extension, 0, 0));
    char *data;
    long size = BIO_get_mem_data(bio, &data);
    char shown[512];
    snprintf(shown, sizeof shown, "%.*s", (int)size, data);
    cr_expect(strstr(shown, text), "%s: %s", OBJ_nid2sn(nid), shown);
}
