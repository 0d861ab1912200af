/* TBSCertificates by profile, and the hierarchy's own certificates: what is in them,
 * what is refused, and that OpenSSL's strict verification takes them. */
#include "clock.h"
#include "leak.h"
#include "lint.h"
#include "pki_ca.h"
#include "plugin.h"
#include "tbs.h"
#include "tbs_extension.h"

static struct pki_ca ca;
static struct certificate_profile profile;

static void
set_up(void)
{
    pki_ca_init(&ca);
    pki_profile(&profile);
}

static void
tear_down(void)
{
    pki_ca_clear(&ca);
}

TestSuite(tbs, .init = set_up, .fini = tear_down);

static const uint8_t serial[16] = { 0x7f, 1, 2,  3,  4,  5,  6,  7,
                                    8,    9, 10, 11, 12, 13, 14, 15 };

/* Builds for a subject and SANs ("dns:..."), lints and signs; NULL: refused. */
struct wanted {
    const char *subject;
    const char *san; /* one, or NULL */
    EVP_PKEY *key;   /* NULL: a fresh P-256 key */
    X509_REQ *request;
    const X509 *issuer;
    int64_t now;
    bool has_no_urls;
    const char *template_oid, *sid;
};

static X509 *
build(const struct wanted *wanted, enum ca_status *ret_status)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *fresh = wanted->key ? NULL : pki_ec("P-256");
    CA_AUTO(X509_PUBKEY_free)
    X509_PUBKEY *spki = pki_spki(wanted->key ? wanted->key : fresh);
    struct names names = { NULL, NULL };
    cr_assert_eq(names_parse_subject(wanted->subject, &names.subject), CA_OK);
    if (wanted->san) {
        const char *value;
        enum san_type type = SAN_DNS;
        names.san = sk_GENERAL_NAME_new_null();
        value = strchr(wanted->san, ':') + 1;
        type = strncmp(wanted->san, "email", 5) == 0 ? SAN_EMAIL : SAN_DNS;
        GENERAL_NAME *name = GENERAL_NAME_new();
        ASN1_IA5STRING *string = ASN1_IA5STRING_new();
        ASN1_STRING_set(string, value, -1);
        GENERAL_NAME_set0_value(name, type == SAN_DNS ? GEN_DNS : GEN_EMAIL, string);
        sk_GENERAL_NAME_push(names.san, name);
    }
    struct tbs_input input = { .profile = &profile,
                               .issuer =
                                   wanted->issuer ? wanted->issuer : ca.certificate,
                               .names = &names,
                               .key = spki,
                               .request = wanted->request,
                               .serial = serial,
                               .serial_size = sizeof serial,
                               .now = wanted->now ? wanted->now : PKI_NOW,
                               .template_oid = wanted->template_oid,
                               .sid = wanted->sid };
    if (!wanted->has_no_urls) {
        input.crl_url = "http://ca.example/crl/issuing.crl";
        input.issuer_url = "http://ca.example/issuer/issuing.cer";
        input.ocsp_url = "http://ca.example/ocsp";
    }
    CA_AUTO(openssl_free) uint8_t *tbs = NULL;
    size_t size;
    int64_t from, to;
    *ret_status = tbs_build(&input, &tbs, &size, &from, &to);
    names_clear(&names);
    if (*ret_status != CA_OK)
        return NULL;
    cr_expect_eq(lint_tbs(tbs, size, input.issuer), CA_OK, "%s", status_message());
    X509 *certificate = pki_sign(tbs, size, ca.key);
    int64_t seconds;
    cr_expect(tbs_time_of(X509_get0_notBefore(certificate), &seconds) == CA_OK &&
              seconds == from);
    cr_expect(tbs_time_of(X509_get0_notAfter(certificate), &seconds) == CA_OK &&
              seconds == to);
    return certificate;
}

static void
expect(const char *name, const struct wanted *wanted, enum ca_status expected)
{
    enum ca_status status;
    CA_AUTO(X509_free) X509 *certificate = build(wanted, &status);
    cr_expect_eq(status, expected, "%s: %s", name, status_message());
    if (certificate)
        cr_expect_eq(pki_verify(&ca, certificate), X509_V_OK, "%s: %s", name,
                     X509_verify_cert_error_string(pki_verify(&ca, certificate)));
}

static char client_auth[] = "client_auth", server_auth[] = "server_auth",
            email_protection[] = "email_protection", logon[] = "smartcard_logon",
            dotted_eku[] = "1.3.6.1.5.5.7.3.17", policy_a[] = "1.3.6.1.4.1.99999.1",
            policy_b[] = "2.23.140.1.2.1";

Test(tbs, a_profile_becomes_a_certificate)
{
    char *ekus[] = { client_auth, server_auth, email_protection, logon, dotted_eku };
    char *policies[] = { policy_a, policy_b };
    profile.extended_key_usage = (struct field_list){ ekus, COUNT(ekus) };
    profile.policies = (struct field_list){ policies, COUNT(policies) };
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = pki_rsa(2048);
    struct wanted wanted = { .subject = "CN=alice,O=Example",
                             .san = "email:alice@example.com",
                             .key = key };
    enum ca_status status;
    CA_AUTO(X509_free) X509 *certificate = build(&wanted, &status);
    cr_assert_not_null(certificate, "%s", status_message());
    cr_expect_eq(pki_verify(&ca, certificate), X509_V_OK);
    cr_expect_eq(X509_get_version(certificate), X509_VERSION_3);
    cr_expect_eq(X509_get_signature_nid(certificate), NID_ecdsa_with_SHA256);
    cr_expect_eq(X509_NAME_cmp(X509_get_issuer_name(certificate),
                               X509_get_subject_name(ca.certificate)),
                 0);
    CA_AUTO(X509_PUBKEY_free) X509_PUBKEY *spki = pki_spki(key);
    cr_expect_eq(EVP_PKEY_eq(X509_get0_pubkey(certificate), key), 1);
    expect_extension(certificate, NID_basic_constraints, true, "CA:FALSE");
    expect_extension(certificate, NID_key_usage, true,
                     "Digital Signature, Key Encipherment");
    expect_extension(
        certificate, NID_ext_key_usage, false,
        "TLS Web Client Authentication, TLS Web Server Authentication, E-mail "
        "Protection, Microsoft Smartcard Login, ipsec Internet Key Exchange");
    expect_extension(certificate, NID_subject_alt_name, false,
                     "email:alice@example.com");
    expect_extension(certificate, NID_certificate_policies, false,
                     "1.3.6.1.4.1.99999.1");
    expect_extension(certificate, NID_crl_distribution_points, false,
                     "http://ca.example/crl/issuing.crl");
    expect_extension(certificate, NID_info_access, false,
                     "OCSP - URI:http://ca.example/ocsp");
    expect_extension(certificate, NID_info_access, false,
                     "CA Issuers - URI:http://ca.example/issuer/issuing.cer");
    const ASN1_OCTET_STRING *ski = X509_get0_subject_key_id(ca.certificate);
    const ASN1_OCTET_STRING *aki = X509_get0_authority_key_id(certificate);
    cr_assert(ski && aki);
    cr_expect_eq(ASN1_OCTET_STRING_cmp(ski, aki), 0);
    uint8_t id[TBS_KEY_ID_SIZE];
    cr_assert_eq(extension_key_id(spki, id), CA_OK);
    const ASN1_OCTET_STRING *own = X509_get0_subject_key_id(certificate);
    cr_expect(ASN1_STRING_length(own) == 20 &&
              memcmp(ASN1_STRING_get0_data(own), id, 20) == 0);
    cr_expect_eq(X509_check_purpose(certificate, X509_PURPOSE_SSL_CLIENT, 0), 1);
    cr_expect_eq(X509_check_ca(certificate), 0);
    certificate = (X509_free(certificate), NULL);
    tear_down();
    LEAK_CHECK();
}

Test(tbs, urls_are_left_out_when_there_are_none)
{
    struct wanted wanted = { .subject = "CN=a", .has_no_urls = true };
    enum ca_status status;
    CA_AUTO(X509_free) X509 *certificate = build(&wanted, &status);
    cr_assert_not_null(certificate);
    cr_expect_lt(X509_get_ext_by_NID(certificate, NID_info_access, -1), 0);
    cr_expect_lt(X509_get_ext_by_NID(certificate, NID_crl_distribution_points, -1), 0);
    cr_expect_lt(X509_get_ext_by_NID(certificate, NID_subject_alt_name, -1), 0);
    cr_expect_lt(X509_get_ext_by_NID(certificate, NID_ext_key_usage, -1), 0);
    cr_expect_eq(pki_verify(&ca, certificate), X509_V_OK);
}

Test(tbs, S3_an_empty_subject_makes_the_san_critical)
{
    struct wanted wanted = { .subject = "", .san = "dns:dev1.example" };
    enum ca_status status;
    CA_AUTO(X509_free) X509 *certificate = build(&wanted, &status);
    cr_assert_not_null(certificate, "%s", status_message());
    expect_extension(certificate, NID_subject_alt_name, true, "DNS:dev1.example");
    cr_expect_eq(pki_verify(&ca, certificate), X509_V_OK);
    struct wanted none = { .subject = "" };
    expect("no name", &none, CA_FORBIDDEN);
}

static void
expect_times(const struct wanted *wanted, int64_t from, int64_t to)
{
    enum ca_status status;
    int64_t seconds = 0;
    CA_AUTO(X509_free) X509 *certificate = build(wanted, &status);
    cr_assert_not_null(certificate, "%s", status_message());
    cr_expect_eq(tbs_time_of(X509_get0_notBefore(certificate), &seconds), CA_OK);
    cr_expect_eq(seconds, from);
    cr_expect_eq(tbs_time_of(X509_get0_notAfter(certificate), &seconds), CA_OK);
    cr_expect_eq(seconds, to);
}

Test(tbs, S2_validity_is_bounded_by_profile_and_issuer)
{
    const int64_t issuer_from = PKI_NOW - 300,
                  issuer_to = PKI_NOW + 5 * 365 * 86400 - 1;
    struct wanted wanted = { .subject = "CN=a" };
    profile.validity = 3600;
    profile.backdate = 60;
    expect_times(&wanted, PKI_NOW - 60, PKI_NOW + 3599);
    profile.backdate = 86400;
    expect_times(&wanted, issuer_from, PKI_NOW + 3599);
    profile.validity = 100LL * 365 * 86400;
    expect_times(&wanted, issuer_from, issuer_to);
    wanted.now = issuer_to;
    profile.backdate = 0;
    expect_times(&wanted, issuer_to, issuer_to);
    wanted.now = issuer_to + 1;
    expect("issuer expired", &wanted, CA_FORBIDDEN);
    wanted.now = issuer_from - 1;
    expect("issuer not valid yet", &wanted, CA_FORBIDDEN);
    wanted.now = PKI_NOW;
    profile.validity = 0;
    expect("no validity", &wanted, CA_FORBIDDEN);
}

Test(tbs, S1_serials_are_random_positive_and_of_one_length)
{
    uint8_t one[16];
    char hex[33], last[33] = "";
    unsigned ones[128] = { 0 };
    for (int i = 0; i < 2000; i++) {
        cr_assert_eq(tbs_draw_serial(one, hex), CA_OK);
        cr_assert(one[0] > 0 && one[0] < 0x80);
        cr_assert_eq(strlen(hex), 32);
        cr_assert_str_neq(hex, last);
        memcpy(last, hex, sizeof last);
        for (int bit = 0; bit < 128; bit++)
            ones[bit] += one[bit / 8] >> (7 - bit % 8) & 1;
    }
    cr_expect_eq(ones[0], 0);
    for (int bit = 1; bit < 128; bit++)
        cr_expect(ones[bit] > 800 && ones[bit] < 1200, "bit %d: %u", bit, ones[bit]);
}

static enum ca_status
broken_source(void *octets, size_t size)
{
    (void)octets;
    (void)size;
    return ca_fail(CA_INTERNAL, "no entropy");
}

static enum ca_status
zero_source(void *octets, size_t size)
{
    memset(octets, 0, size);
    return CA_OK;
}

Test(tbs, S1_a_failing_random_source_refuses)
{
    uint8_t one[16] = { 42 };
    char hex[33] = "untouched";
    random_set(broken_source);
    cr_expect_eq(tbs_draw_serial(one, hex), CA_INTERNAL);
    random_set(zero_source);
    cr_expect_eq(tbs_draw_serial(one, hex), CA_INTERNAL);
    random_set(NULL);
    cr_expect(one[0] == 42 && strcmp(hex, "untouched") == 0);
}

Test(tbs, S1_serials_that_are_none_are_refused)
{
    static const uint8_t zeros[16] = { 0 }, ones[21] = { 1 }, negative[20] = { 0x80 };
    const struct {
        const uint8_t *octets;
        size_t size;
    } cases[] = { { zeros, 0 }, { zeros, 16 }, { ones, 21 }, { negative, 20 } };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = pki_ec("P-256");
        CA_AUTO(X509_PUBKEY_free) X509_PUBKEY *spki = pki_spki(key);
        struct names names = { pki_name("a"), NULL };
        struct tbs_input input = { .profile = &profile,
                                   .issuer = ca.certificate,
                                   .names = &names,
                                   .key = spki,
                                   .serial = cases[i].octets,
                                   .serial_size = cases[i].size,
                                   .now = PKI_NOW };
        uint8_t *tbs = NULL;
        size_t size;
        int64_t from, to;
        cr_expect_eq(tbs_build(&input, &tbs, &size, &from, &to), CA_INTERNAL);
        names_clear(&names);
    }
}

Test(tbs, key_usage_fits_the_kind_of_key)
{
    static const struct {
        const char *kind;
        unsigned wanted;
        const char *text; /* NULL: refused */
    } cases[] = {
        { "rsa", 0x05, "Digital Signature, Key Encipherment" },
        { "rsa", 0x10, NULL },
        { "P-256", 0x05, "Digital Signature" },
        { "P-256", 0x11, "Digital Signature, Key Agreement" },
        { "P-256", 0x90, "Key Agreement, Encipher Only" },
        { "P-256", 0x110, "Key Agreement, Decipher Only" },
        { "P-256", 0x81, "Digital Signature" },
        { "P-256", 0x04, NULL },
        { "ed25519", 0x17, "Digital Signature, Non Repudiation" },
        { "ed25519", 0x10, NULL },
        { "rsa", 0x21, NULL },
        { "rsa", 0x41, NULL },
    };
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *rsa = pki_rsa(2048);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *ec = pki_ec("P-256");
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *ed25519 = pki_ed25519();
    for (size_t i = 0; i < COUNT(cases); i++) {
        profile.key_usage = cases[i].wanted;
        struct wanted wanted = { .subject = "CN=a",
                                 .key = cases[i].kind[0] == 'r'   ? rsa
                                        : cases[i].kind[0] == 'P' ? ec
                                                                  : ed25519 };
        enum ca_status status;
        CA_AUTO(X509_free) X509 *certificate = build(&wanted, &status);
        cr_expect_eq(status, cases[i].text ? CA_OK : CA_FORBIDDEN, "%s %x: %s",
                     cases[i].kind, cases[i].wanted, status_message());
        if (certificate && cases[i].text)
            expect_extension(certificate, NID_key_usage, true, cases[i].text);
    }
}

Test(tbs, R5_a_profile_cannot_ask_for_what_no_leaf_has)
{
    static const char *const ekus[] = { "any",
                                        "2.5.29.37.0",
                                        "ocsp_signing",
                                        "1.3.6.1.5.5.7.3.9",
                                        "enrolment_agent",
                                        "1.3.6.1.4.1.311.20.2.1",

                                        "clientAuth",
                                        "" };
    static const char *const oids[] = { "2.5.29.19",
                                        "2.5.29.15",
                                        "2.5.29.17",
                                        "2.5.29.30",
                                        "2.5.29.31",
                                        "2.5.29.37",
                                        "1.3.6.1.5.5.7.1.1",
                                        "1.3.6.1.4.1.311.21.10",
                                        "1.3.6.1.4.1.311.25.2",
                                        "nonsense" };
    struct wanted wanted = { .subject = "CN=a" };
    for (size_t i = 0; i < COUNT(ekus); i++) {
        char word[64], *words[] = { word };
        snprintf(word, sizeof word, "%s", ekus[i]);
        profile.extended_key_usage = (struct field_list){ words, 1 };
        expect(ekus[i], &wanted, CA_FORBIDDEN);
    }
    profile.extended_key_usage = (struct field_list){ NULL, 0 };
    char value[] = "BQA=", broken[] = "MIA=", no_base64[] = "%";
    for (size_t i = 0; i < COUNT(oids); i++) {
        char oid[64];
        snprintf(oid, sizeof oid, "%s", oids[i]);
        struct profile_extension extension = { .oid = oid, .value = value };
        profile.extensions = (struct field_list){ &extension, 1 };
        enum ca_status status;
        CA_AUTO(X509_free) X509 *certificate = build(&wanted, &status);
        cr_expect_neq(status, CA_OK, "%s", oids[i]);
        cr_expect_null(certificate, "%s", oids[i]);
    }
    struct profile_extension bad[] = { { .oid = policy_a, .value = broken },
                                       { .oid = policy_a, .value = no_base64 } };
    for (size_t i = 0; i < COUNT(bad); i++) {
        profile.extensions = (struct field_list){ &bad[i], 1 };
        expect("not DER", &wanted, CA_FORBIDDEN);
    }
}

Test(tbs, a_profiles_own_extensions_are_written)
{
    char value[] = "DARhYmNk" /* UTF8String "abcd" */;
    struct profile_extension own[] = { { policy_a, true, value },
                                       { policy_b, false, value } };
    profile.extensions = (struct field_list){ own, COUNT(own) };
    struct wanted wanted = { .subject = "CN=a" };
    enum ca_status status;
    CA_AUTO(X509_free) X509 *certificate = build(&wanted, &status);
    cr_assert_not_null(certificate, "%s", status_message());
    CA_AUTO(ASN1_OBJECT_free) ASN1_OBJECT *oid = OBJ_txt2obj(policy_a, 1);
    X509_EXTENSION *extension =
        X509_get_ext(certificate, X509_get_ext_by_OBJ(certificate, oid, -1));
    cr_assert_not_null(extension);
    cr_expect_eq(X509_EXTENSION_get_critical(extension), 1);
    const ASN1_OCTET_STRING *data = X509_EXTENSION_get_data(extension);
    cr_expect(ASN1_STRING_length(data) == 6 && memcmp(ASN1_STRING_get0_data(data),
                                                      "\x0c\x04"
                                                      "abcd",
                                                      6) == 0);
}

/* A request for everything that must not come through. */
static X509_REQ *
greedy_request(EVP_PKEY *key)
{
    static const struct {
        const char *oid, *value;
        size_t size;
    } asked[] = {
        { "2.5.29.37", "\x30\x06\x06\x04\x55\x1d\x25\x00", 8 },
        { "2.5.29.32", "\x30\x07\x30\x05\x06\x03\x2a\x03\x04", 9 },
        { "2.5.29.30", "\x30\x00", 2 },
        { "2.5.29.31", "\x30\x00", 2 },
        { "2.5.29.15", "\x03\x02\x00\xf9", 4 },
        { "1.3.6.1.5.5.7.1.1", "\x30\x00", 2 },
        { "1.3.6.1.4.1.311.21.10", "\x30\x00", 2 },
        { "1.3.6.1.4.1.311.25.2", "\x30\x00", 2 },
        { "1.3.6.1.4.1.311.20.2", "\x1e\x04\0U\0s", 6 },
        { "1.3.6.1.5.5.7.1.24", "\x30\x03\x02\x01\x05", 5 },
        { "1.2.3.4.5", "\x05\x00", 2 },
    };
    CA_AUTO(x509_extensions_free)
    STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
    for (size_t i = 0; i < COUNT(asked); i++) {
        CA_AUTO(ASN1_OBJECT_free) ASN1_OBJECT *oid = OBJ_txt2obj(asked[i].oid, 1);
        CA_AUTO(ASN1_OCTET_STRING_free)
        ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
        ASN1_OCTET_STRING_set(value, (const uint8_t *)asked[i].value,
                              (int)asked[i].size);
        sk_X509_EXTENSION_push(list, X509_EXTENSION_create_by_OBJ(NULL, oid, 1, value));
    }
    X509_REQ *request = pki_request_start(key, "a", list);
    cr_assert(X509_REQ_sign(request, key, EVP_sha256()) > 0);
    return request;
}

Test(tbs, R5_requested_extensions_come_through_by_name_only)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = pki_ec("P-256");
    CA_AUTO(X509_REQ_free) X509_REQ *request = greedy_request(key);
    struct wanted wanted = { .subject = "CN=a", .key = key, .request = request };
    struct wanted plain = { .subject = "CN=a", .key = key };
    enum ca_status status;
    CA_AUTO(X509_free) X509 *without = build(&plain, &status);
    CA_AUTO(X509_free) X509 *none = build(&wanted, &status);
    cr_assert(none && without);
    cr_expect_eq(X509_get_ext_count(none), X509_get_ext_count(without));
    /* Even a profile that names them all gets only those that are nobody's. */
    char oids[][32] = { "2.5.29.37",
                        "2.5.29.32",
                        "2.5.29.30",
                        "2.5.29.31",
                        "2.5.29.15",
                        "1.3.6.1.5.5.7.1.1",
                        "1.3.6.1.4.1.311.21.10",
                        "1.3.6.1.4.1.311.25.2",
                        "1.3.6.1.5.5.7.1.24" };
    char *taken[COUNT(oids)];
    for (size_t i = 0; i < COUNT(oids); i++)
        taken[i] = oids[i];
    profile.from_request.extensions = (struct field_list){ taken, COUNT(oids) };
    CA_AUTO(X509_free) X509 *one = build(&wanted, &status);
    cr_assert_not_null(one, "%s", status_message());
    cr_expect_eq(X509_get_ext_count(one), X509_get_ext_count(without) + 1);
    expect_extension(one, NID_tlsfeature, false, "status_request");
    expect_extension(one, NID_key_usage, true, "Digital Signature");
    cr_expect_lt(X509_get_ext_by_NID(one, NID_ext_key_usage, -1), 0);
}

Test(tbs, H1_a_leaf_never_signs)
{
    struct wanted wanted = { .subject = "CN=a" };
    enum ca_status status;
    CA_AUTO(X509_free) X509 *leaf = build(&wanted, &status);
    struct wanted below = { .subject = "CN=b", .issuer = leaf };
    expect("below a leaf", &below, CA_FORBIDDEN);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = pki_rsa(2048);
    CA_AUTO(X509_free)
    X509 *ra = pki_authority(
        (struct tbs_authority){ .kind = TBS_RA, .issuer = ca.certificate }, "CN=RA",
        key, ca.key);
    below.issuer = ra;
    expect("below an RA", &below, CA_FORBIDDEN);
}

Test(tbs, a_time_stampers_purpose_is_critical)
{
    char time_stamping[] = "time_stamping", *alone[] = { time_stamping },
         *both[] = { time_stamping, client_auth };
    struct wanted wanted = { .subject = "CN=a" };
    enum ca_status status;
    profile.extended_key_usage = (struct field_list){ alone, 1 };
    CA_AUTO(X509_free) X509 *stamper = build(&wanted, &status);
    cr_assert_not_null(stamper, "%s", status_message());
    expect_extension(stamper, NID_ext_key_usage, true, "Time Stamping");
    profile.extended_key_usage = (struct field_list){ both, 2 };
    CA_AUTO(X509_free) X509 *other = build(&wanted, &status);
    cr_assert_not_null(other, "%s", status_message());
    expect_extension(other, NID_ext_key_usage, false, "Time Stamping");
}

/* The DER of an extension's value; size 0: it is not there. */
static struct ca_bytes
value_of(const X509 *certificate, const char *oid)
{
    CA_AUTO(ASN1_OBJECT_free) ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
    int at = X509_get_ext_by_OBJ(certificate, object, -1);
    if (at < 0)
        return (struct ca_bytes){ NULL, 0 };
    cr_expect_lt(X509_get_ext_by_OBJ(certificate, object, at), 0, "%s twice", oid);
    X509_EXTENSION *extension = X509_get_ext(certificate, at);
    cr_expect_not(X509_EXTENSION_get_critical(extension));
    const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(extension);
    return (struct ca_bytes){ ASN1_STRING_get0_data(value),
                              (size_t)ASN1_STRING_length(value) };
}

Test(tbs, R6_template_and_SID_are_written_when_they_are_given)
{
    /* 1.3.6.1.4.1.311.21.8.7 in version 100; S-1-5-21-7 as an otherName. */
    static const uint8_t template[] = { 0x30, 0x0f, 0x06, 0x0a, 0x2b, 0x06,
                                        0x01, 0x04, 0x01, 0x82, 0x37, 0x15,
                                        0x08, 0x07, 0x02, 0x01, 0x64 };
    static const uint8_t sid[] = { 0x30, 0x1c, 0xa0, 0x1a, 0x06, 0x0a, 0x2b, 0x06,
                                   0x01, 0x04, 0x01, 0x82, 0x37, 0x19, 0x02, 0x01,
                                   0xa0, 0x0c, 0x04, 0x0a, 'S',  '-',  '1',  '-',
                                   '5',  '-',  '2',  '1',  '-',  '7' };
    struct wanted wanted = { .subject = "CN=alice" };
    enum ca_status status;
    CA_AUTO(X509_free) X509 *plain = build(&wanted, &status);
    cr_expect_eq(value_of(plain, "1.3.6.1.4.1.311.21.7").size, 0);
    cr_expect_eq(value_of(plain, "1.3.6.1.4.1.311.25.2").size, 0);
    wanted.template_oid = "1.3.6.1.4.1.311.21.8.7";
    wanted.sid = "S-1-5-21-7";
    CA_AUTO(X509_free) X509 *made = build(&wanted, &status);
    cr_assert_eq(status, CA_OK);
    struct ca_bytes value = value_of(made, "1.3.6.1.4.1.311.21.7");
    cr_expect_arr_eq(value.data, template, sizeof template);
    cr_expect_eq(value.size, sizeof template);
    value = value_of(made, "1.3.6.1.4.1.311.25.2");
    cr_expect_arr_eq(value.data, sid, sizeof sid);
    cr_expect_eq(value.size, sizeof sid);
}

Test(tbs, R6_a_text_that_is_no_SID_refuses)
{
    static const char *const bad[] = {
        "",
        "S-1-",
        "S-1-5",
        "S-1-5-",
        "S-2-5-21",
        "s-1-5-21",
        "S-1-5-021",
        "S-1-5-x",
        "S-1-5-21 ",
        "S-1-5--21",
        "S-1-5-4294967296",
        "S-1-281474976710656-1",
        "S-1-5-1-2-3-4-5-6-7-8-9-10-11-12-13-14-15-16",
    };
    static const char *const good[] = {
        "S-1-5-18",
        "S-1-0-0",
        "S-1-5-4294967295",
        "S-1-5-1-2-3-4-5-6-7-8-9-10-11-12-13-14-15",
        "S-1-5-21-3623811015-3361044348-30300820-1013",
    };
    for (size_t i = 0; i < COUNT(bad); i++)
        expect(bad[i], &(struct wanted){ .subject = "CN=a", .sid = bad[i] },
               CA_FORBIDDEN);
    for (size_t i = 0; i < COUNT(good); i++)
        expect(good[i], &(struct wanted){ .subject = "CN=a", .sid = good[i] }, CA_OK);
    LEAK_CHECK();
}
