/* The hierarchy's own certificates: roots, issuing CAs, RA and OCSP helpers. */
#include "leak.h"
#include "pki_ca.h"

static struct pki_ca ca;

static void
set_up(void)
{
    pki_ca_init(&ca);
}

static void
tear_down(void)
{
    pki_ca_clear(&ca);
}

TestSuite(tbs_authority, .init = set_up, .fini = tear_down);

static const uint8_t serial[16] = { 0x7f };

Test(tbs_authority, issuers_sign_with_the_digest_of_their_key)
{
    static const struct {
        const char *kind;
        int nid; /* 0: refused */
        int signature;
    } cases[] = {
        { "P-256", NID_sha256, NID_ecdsa_with_SHA256 },
        { "P-384", NID_sha384, NID_ecdsa_with_SHA384 },
        { "P-521", NID_sha512, NID_ecdsa_with_SHA512 },
        { "P-224", 0, 0 },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = pki_ec(cases[i].kind);
        const EVP_MD *digest = tbs_digest(key);
        cr_expect_eq(digest ? EVP_MD_get_type(digest) : 0, cases[i].nid);
        if (!digest)
            continue;
        CA_AUTO(X509_free)
        X509 *root =
            pki_authority((struct tbs_authority){ .kind = TBS_ROOT, .path_length = -1 },
                          "CN=R", key, key);
        cr_expect_eq(X509_get_signature_nid(root), cases[i].signature);
        cr_expect_eq(X509_verify(root, key), 1);
    }
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *rsa = pki_rsa(2048);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *small = pki_rsa(1024);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *ed25519 = pki_ed25519();
    cr_expect_null(tbs_digest(small));
    cr_expect_null(tbs_digest(ed25519));
    CA_AUTO(X509_free)
    X509 *root =
        pki_authority((struct tbs_authority){ .kind = TBS_ROOT, .path_length = -1 },
                      "CN=R", rsa, rsa);
    cr_expect_eq(X509_get_signature_nid(root), NID_sha256WithRSAEncryption);
    cr_expect_eq(X509_verify(root, rsa), 1);
}

Test(tbs_authority, the_hierarchy_verifies_strictly)
{
    expect_extension(ca.root, NID_basic_constraints, true, "CA:TRUE");
    expect_extension(ca.root, NID_key_usage, true, "Certificate Sign, CRL Sign");
    cr_expect_lt(X509_get_ext_by_NID(ca.root, NID_crl_distribution_points, -1), 0);
    expect_extension(ca.certificate, NID_basic_constraints, true, "CA:TRUE, pathlen:0");
    expect_extension(ca.certificate, NID_key_usage, true, "Certificate Sign, CRL Sign");
    expect_extension(ca.certificate, NID_crl_distribution_points, false,
                     "http://ca.example/crl/root.crl");
    cr_expect_eq(pki_verify(&ca, ca.certificate), X509_V_OK);
    cr_expect_eq(pki_verify(&ca, ca.root), X509_V_OK);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *rsa = pki_rsa(2048);
    CA_AUTO(X509_free)
    X509 *ra = pki_authority(
        (struct tbs_authority){ .kind = TBS_RA,
                                .issuer = ca.certificate,
                                .crl_url = "http://ca.example/crl/issuing.crl" },
        "CN=RA", rsa, ca.key);
    expect_extension(ra, NID_key_usage, true, "Digital Signature, Key Encipherment");
    expect_extension(ra, NID_basic_constraints, true, "CA:FALSE");
    cr_expect_eq(pki_verify(&ca, ra), X509_V_OK);
    CA_AUTO(X509_free)
    X509 *ocsp = pki_authority(
        (struct tbs_authority){ .kind = TBS_OCSP, .issuer = ca.certificate }, "CN=OCSP",
        rsa, ca.key);
    expect_extension(ocsp, NID_ext_key_usage, false, "OCSP Signing");
    cr_expect_geq(X509_get_ext_by_NID(ocsp, NID_id_pkix_OCSP_noCheck, -1), 0);
    cr_expect_eq(pki_verify(&ca, ocsp), X509_V_OK);
    cr_expect_eq(X509_check_purpose(ocsp, X509_PURPOSE_OCSP_HELPER, 0), 1);
}

Test(tbs_authority, H1_path_length_leaves_no_room)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = pki_ec("P-256");
    CA_AUTO(X509_PUBKEY_free) X509_PUBKEY *spki = pki_spki(key);
    CA_AUTO(X509_NAME_free) X509_NAME *name = pki_name("Sub");
    CA_AUTO(X509_free)
    X509 *one = pki_authority((struct tbs_authority){ .kind = TBS_ISSUING,
                                                      .issuer = ca.root,
                                                      .path_length = 1 },
                              "CN=One", ca.key, ca.root_key);
    const struct {
        const char *name;
        int kind;
        const X509 *issuer;
        int path_length;
        enum ca_status expected;
    } cases[] = {
        { "below the root", TBS_ISSUING, ca.root, -1, CA_OK },
        { "below pathlen 0", TBS_ISSUING, ca.certificate, 0, CA_FORBIDDEN },
        { "below pathlen 0, unlimited", TBS_ISSUING, ca.certificate, -1, CA_FORBIDDEN },
        { "below pathlen 1", TBS_ISSUING, one, 0, CA_OK },
        { "below pathlen 1, as much", TBS_ISSUING, one, 1, CA_FORBIDDEN },
        { "below pathlen 1, unlimited", TBS_ISSUING, one, -1, CA_FORBIDDEN },
        { "a helper below pathlen 0", TBS_RA, ca.certificate, -1, CA_OK },
        { "a root with an issuer", TBS_ROOT, ca.root, -1, CA_INTERNAL },
        { "an issuing CA without one", TBS_ISSUING, NULL, -1, CA_INTERNAL },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct tbs_authority wanted = { .kind = cases[i].kind,
                                        .subject = name,
                                        .key = spki,
                                        .issuer = cases[i].issuer,
                                        .serial = serial,
                                        .serial_size = sizeof serial,
                                        .now = PKI_NOW,
                                        .validity = 86400,
                                        .path_length = cases[i].path_length };
        CA_AUTO(openssl_free) uint8_t *tbs = NULL;
        size_t size;
        cr_expect_eq(tbs_build_authority(&wanted, &tbs, &size), cases[i].expected,
                     "%s: %s", cases[i].name, status_message());
    }
}

Test(tbs_authority, assembling_needs_a_tbs)
{
    static const char *const cases[] = { "\x05\x00", "\x30\x00", "\x30\x02\x05\x00",
                                         "" };
    uint8_t *der = NULL;
    size_t size;
    for (size_t i = 0; i < COUNT(cases); i++)
        cr_expect_eq(tbs_assemble((const uint8_t *)cases[i],
                                  cases[i][0] == 0x30 ? (size_t)cases[i][1] + 2
                                                      : strlen(cases[i]),
                                  (const uint8_t *)"x", 1, &der, &size),
                     CA_INTERNAL);
    cr_expect_null(der);
}
