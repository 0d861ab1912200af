/* Issuers: loaded with their keys, found again, checked at import (SECURITY H1, H2),
 * and signing nothing that does not verify. */
#include "clock.h"
#include "house.h"
#include "issuer.h"
#include "leak.h"
#include "pki_ca.h"
#include <openssl/pem.h>
#include <pthread.h>

static struct house house;
static struct issuers *issuers;

static void
set_up(void)
{
    house_build(&house);
    issuers = service_issuers(house.service);
}

static void
tear_down(void)
{
    issuers_release(issuers);
    issuers = NULL;
    house_remove(&house);
}

TestSuite(issuer, .init = set_up, .fini = tear_down);

Test(issuer, issuers_come_with_chain_and_key)
{
    cr_assert_eq(issuers_count(issuers), 2);
    const struct issuer *issuing = issuers_find(issuers, "issuing");
    const struct issuer *root = issuers_find(issuers, "root");
    cr_assert(issuing && root && issuing->key && root->key);
    cr_expect_null(issuers_find(issuers, "other"));
    cr_expect_null(issuers_at(issuers, 2));
    cr_expect_eq(sk_X509_num(issuing->chain), 1);
    cr_expect_eq(sk_X509_num(root->chain), 0);
    cr_expect_eq(X509_cmp(sk_X509_value(issuing->chain, 0), root->certificate), 0);
    cr_expect_gt(issuing->crl_lifetime, issuing->crl_overlap);
    cr_expect_eq(issuing->state, AUTHORITY_ACTIVE);
}

Test(issuer, the_issuer_of_a_certificate_is_found_by_name_and_key)
{
    struct house_device device;
    char challenge[CHALLENGE_TEXT_SIZE];
    house_device_make(&device, "alice", NULL);
    house_challenge(&house, &(struct challenge){ 0 }, challenge);
    cr_assert_eq(house_enroll(&house, &device, challenge, NULL), CA_OK, "%s",
                 status_message());
    const struct issuer *issuing = issuers_find(issuers, "issuing");
    const struct issuer *root = issuers_find(issuers, "root");
    cr_expect_eq(issuers_of_certificate(issuers, device.certificate), issuing);
    cr_expect_eq(issuers_of_certificate(issuers, issuing->certificate), root);
    cr_expect_eq(issuers_of_certificate(issuers, root->certificate), root);
    cr_expect_null(issuers_of_certificate(issuers, device.self));
    /* A stranger's CA of the same name has another key id. */
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = pki_ec("P-256");
    CA_AUTO(free)
    char *name = names_format_subject(X509_get_subject_name(root->certificate));
    CA_AUTO(X509_free)
    X509 *stranger = pki_authority(
        (struct tbs_authority){ .kind = TBS_ROOT, .path_length = -1 }, name, key, key);
    cr_expect_eq(X509_NAME_cmp(X509_get_subject_name(stranger),
                               X509_get_subject_name(root->certificate)),
                 0);
    cr_expect_null(issuers_of_certificate(issuers, stranger));
    house_device_clear(&device);
}

Test(issuer, helpers_are_found_by_role_and_issuer)
{
    const struct issuer_helper *ra = issuers_helper(issuers, HELPER_RA, "issuing", 0);
    cr_assert(ra && ra->key && ra->certificate && ra->current);
    cr_expect_eq(issuers_helper(issuers, HELPER_RA, NULL, 0), ra);
    cr_expect_null(issuers_helper(issuers, HELPER_RA, "issuing", 1));
    cr_expect_null(issuers_helper(issuers, HELPER_RA, "root", 0));
    cr_expect_null(issuers_helper(issuers, HELPER_OCSP, "issuing", 0));
    cr_expect_eq(issuers_of_certificate(issuers, ra->certificate),
                 issuers_find(issuers, "issuing"));
}

Test(issuer, a_reload_leaves_what_is_held)
{
    struct issuers *held = issuers_hold(issuers);
    cr_assert_eq(service_reload(house.service), CA_OK, "%s", status_message());
    struct issuers *fresh = service_issuers(house.service);
    cr_expect_neq(fresh, held);
    cr_expect_str_eq(issuers_find(held, "issuing")->name, "issuing");
    issuers_release(fresh);
    issuers_release(held);
}

static void
expect_no_key(const char *name, const char *sql)
{
    house_run(&house, sql);
    struct issuers *loaded = NULL;
    cr_assert_eq(issuers_load(house.service->store, house.service->tokens, &loaded),
                 CA_OK, "%s: %s", name, status_message());
    const struct issuer *issuing = issuers_find(loaded, "issuing");
    cr_expect(issuing && issuing->certificate && !issuing->key, "%s", name);
    uint8_t *der = NULL;
    size_t size;
    cr_expect_eq(issuer_sign(issuing, (const uint8_t *)"\x30\x00", 2, &der, &size),
                 CA_UNAVAILABLE);
    issuers_release(loaded);
}

Test(issuer, H2_a_missing_or_wrong_key_leaves_the_issuer_without_one)
{
    expect_no_key("no key", "UPDATE authority SET key = NULL WHERE name = 'issuing'");
    expect_no_key("another's key",
                  "UPDATE authority SET key = (SELECT key FROM authority WHERE name ="
                  " 'root') WHERE name = 'issuing'");
    expect_no_key("unknown key", "UPDATE authority SET key ="
                                 " 'pkcs11:token=house;object=nothing' WHERE name ="
                                 " 'issuing'");
}

Test(issuer, H2_a_broken_chain_is_refused)
{
    static const char no_certificate[] = "'-----BEGIN CERTIFICATE-----\nMAA=\n"
                                         "-----END CERTIFICATE-----\n'";
    const char *const cases[] = { "''", "'no PEM'", no_certificate };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char sql[256];
        snprintf(sql, sizeof sql,
                 "UPDATE authority SET chain = %s WHERE name = 'issuing'", cases[i]);
        house_run(&house, sql);
        struct issuers *loaded = NULL;
        cr_expect_eq(issuers_load(house.service->store, house.service->tokens, &loaded),
                     CA_MALFORMED, "%s", cases[i]);
        cr_expect_null(loaded);
    }
}

/* A CA certificate by hand, with what the import must refuse. */
struct import {
    const char *name;
    const char *usage, *constraints;
    const EVP_MD *digest;
    int64_t from, to;
    bool has_strange_signature;
    enum ca_status expected;
};

static void
add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *one =
        value ? X509V3_EXT_conf_nid(NULL, &context, nid, value) : NULL;
    cr_assert(!value || (one && X509_add_ext(certificate, one, -1)), "%s", value);
    X509_EXTENSION_free(one);
}

static X509 *
import_certificate(const struct import *import, const struct pki_ca *ca)
{
    X509 *certificate = X509_new();
    CA_AUTO(X509_NAME_free) X509_NAME *name = pki_name("Imported");
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 77);
    X509_set_subject_name(certificate, name);
    X509_set_issuer_name(certificate, X509_get_subject_name(ca->root));
    X509_set_pubkey(certificate, ca->key);
    ASN1_TIME_set(X509_getm_notBefore(certificate), PKI_NOW + import->from);
    ASN1_TIME_set(X509_getm_notAfter(certificate), PKI_NOW + import->to);
    add_extension(certificate, ca->root, NID_subject_key_identifier, "hash");
    add_extension(certificate, ca->root, NID_authority_key_identifier, "keyid");
    add_extension(certificate, ca->root, NID_basic_constraints, import->constraints);
    add_extension(certificate, ca->root, NID_key_usage, import->usage);
    EVP_PKEY *signer = import->has_strange_signature ? ca->key : ca->root_key;
    cr_assert(X509_sign(certificate, signer,
                        import->digest ? import->digest : EVP_sha384()) > 0);
    return certificate;
}

Test(issuer, H2_what_cannot_be_imported, .init = NULL, .fini = NULL)
{
#define GOOD "critical,keyCertSign,cRLSign", "critical,CA:TRUE"
    const struct import cases[] = {
        { "good", GOOD, NULL, -60, 60, false, CA_OK },
        { "no keyCertSign", "critical,cRLSign", "critical,CA:TRUE", NULL, -60, 60,
          false, CA_FORBIDDEN },
        { "no cRLSign", "critical,keyCertSign", "critical,CA:TRUE", NULL, -60, 60,
          false, CA_FORBIDDEN },
        { "no keyUsage", NULL, "critical,CA:TRUE", NULL, -60, 60, false, CA_FORBIDDEN },
        { "no CA", "critical,keyCertSign,cRLSign", "critical,CA:FALSE", NULL, -60, 60,
          false, CA_FORBIDDEN },
        { "no basicConstraints", "critical,keyCertSign,cRLSign", NULL, NULL, -60, 60,
          false, CA_FORBIDDEN },
        { "not critical", "critical,keyCertSign,cRLSign", "CA:TRUE", NULL, -60, 60,
          false, CA_FORBIDDEN },
        { "SHA-1", GOOD, EVP_sha1(), -60, 60, false, CA_FORBIDDEN },
        { "expired", GOOD, NULL, -60, -1, false, CA_FORBIDDEN },
        { "not yet", GOOD, NULL, 1, 60, false, CA_FORBIDDEN },
        { "signed by another", GOOD, NULL, -60, 60, true, CA_FORBIDDEN },
    };
    struct pki_ca ca;
    pki_ca_init(&ca);
    for (size_t i = 0; i < COUNT(cases); i++) {
        CA_AUTO(X509_free) X509 *certificate = import_certificate(&cases[i], &ca);
        STACK_OF(X509) *chain = sk_X509_new_null();
        cr_expect_eq(issuer_check(certificate, chain, PKI_NOW), CA_FORBIDDEN,
                     "%s without a chain", cases[i].name);
        sk_X509_push(chain, ca.root);
        cr_expect_eq(issuer_check(certificate, chain, PKI_NOW), cases[i].expected,
                     "%s: %s", cases[i].name, status_message());
        sk_X509_free(chain);
    }
    pki_ca_clear(&ca);
    LEAK_CHECK();
}

Test(issuer, H1_a_path_length_of_the_chain_holds, .init = NULL, .fini = NULL)
{
    struct pki_ca ca;
    pki_ca_init(&ca); /* the issuing CA has pathLenConstraint 0 */
    const struct import below = { "below", GOOD, NULL, -60, 60, false, CA_OK };
    struct pki_ca lower = { ca.key, ca.root_key, ca.certificate, NULL };
    CA_AUTO(X509_free) X509 *certificate = import_certificate(&below, &lower);
    STACK_OF(X509) *chain = sk_X509_new_null();
    sk_X509_push(chain, ca.certificate);
    sk_X509_push(chain, ca.root);
    cr_expect_eq(issuer_check(certificate, chain, PKI_NOW), CA_FORBIDDEN);
    cr_expect(strstr(status_message(), "path length"), "%s", status_message());
    sk_X509_free(chain);
    pki_ca_clear(&ca);
    LEAK_CHECK();
}

Test(issuer, I1_a_signature_that_does_not_verify_never_leaves)
{
    const struct issuer *issuing = issuers_find(issuers, "issuing");
    const struct issuer *root = issuers_find(issuers, "root");
    struct issuer mixed = *issuing;
    mixed.key = root->key; /* as if the token gave another key's signature */
    uint8_t tbs[] = { 0x30, 0x02, 0x30, 0x00 };
    uint8_t *der = NULL;
    size_t size = 0;
    cr_expect_eq(issuer_sign(&mixed, tbs, sizeof tbs, &der, &size), CA_INTERNAL);
    cr_expect(!der && size == 0);
    cr_expect_eq(issuer_sign(issuing, tbs, sizeof tbs, &der, &size), CA_OK, "%s",
                 status_message());
    OPENSSL_free(der);
}
