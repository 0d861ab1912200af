/* The linter: what the builder makes passes, and each broken rule is found in bytes
 * that are put together by hand. */
#include "leak.h"
#include "lint.h"
#include "pki_ca.h"
#include "tbs_extension.h"

static struct pki_ca ca;
static EVP_PKEY *key;

static void
set_up(void)
{
    pki_ca_init(&ca);
    key = pki_ec("P-256");
}

static void
tear_down(void)
{
    EVP_PKEY_free(key);
    pki_ca_clear(&ca);
}

TestSuite(lint, .init = set_up, .fini = tear_down);

#define OCTETS(text) text, sizeof text - 1
#define BUFFER CA_AUTO(text_buffer_clear) struct text_buffer

/* A TBS in parts; what is NULL or 0 is as it should be. */
struct draft {
    const char *name;
    const char *version; /* content of [0] */
    size_t version_size;
    const char *serial; /* content of the INTEGER */
    size_t serial_size;
    const EVP_PKEY *algorithm_key;
    const X509_NAME *issuer;
    int64_t from, to;  /* relative to PKI_NOW */
    const char *times; /* content of validity instead */
    size_t times_size;
    const char *subject; /* DER */
    size_t subject_size;
    const char *extensions; /* content of the list */
    size_t extensions_size;
    const char *tail; /* after the extensions */
    size_t tail_size;
};

static void
append_name(struct text_buffer *content, const X509_NAME *name)
{
    const unsigned char *der;
    size_t size;
    cr_assert(X509_NAME_get0_der(name, &der, &size));
    text_append(content, der, size);
}

static enum ca_status
lint(const struct draft *draft)
{
    static const char subject[] = "\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01"
                                  "a";
    static const char leaf[] =
        "\x30\x0c\x06\x03\x55\x1d\x13\x01\x01\xff\x04\x02\x30\x00";
    BUFFER content = { 0 };
    BUFFER inner = { 0 };
    BUFFER whole = { 0 };
    der_append(&content, DER_CONTEXT_SET(0),
               draft->version ? draft->version : "\x02\x01\x02",
               draft->version ? draft->version_size : 3);
    der_append(&content, DER_INTEGER, draft->serial ? draft->serial : "\x11",
               draft->serial ? draft->serial_size : 1);
    cr_assert_eq(tbs_append_algorithm(
                     &content, draft->algorithm_key ? draft->algorithm_key : ca.key),
                 CA_OK);
    append_name(&content,
                draft->issuer ? draft->issuer : X509_get_subject_name(ca.certificate));
    if (draft->times) {
        der_append(&content, DER_SEQUENCE, draft->times, draft->times_size);
    } else {
        der_time(&inner, PKI_NOW + draft->from);
        der_time(&inner, PKI_NOW + (draft->to ? draft->to : 86400));
        der_wrap(&content, DER_SEQUENCE, &inner);
    }
    text_append(&content, draft->subject ? draft->subject : subject,
                draft->subject ? draft->subject_size : sizeof subject - 1);
    CA_AUTO(openssl_free) uint8_t *spki = NULL;
    int size = i2d_PUBKEY(key, &spki);
    text_append(&content, spki, (size_t)size);
    der_append(&inner, DER_SEQUENCE, draft->extensions ? draft->extensions : leaf,
               draft->extensions ? draft->extensions_size : sizeof leaf - 1);
    der_wrap(&content, DER_CONTEXT_SET(3), &inner);
    text_append(&content, draft->tail, draft->tail_size);
    der_wrap(&whole, DER_SEQUENCE, &content);
    return lint_tbs((const uint8_t *)whole.data, whole.size, ca.certificate);
}

static void
expect(const struct draft *draft, enum ca_status expected)
{
    cr_expect_eq(lint(draft), expected, "%s: %s", draft->name, status_message());
}

Test(lint, the_draft_itself_passes)
{
    expect(&(struct draft){ .name = "plain" }, CA_OK);
    expect(&(struct draft){ .name = "widest validity",
                            .from = -300,
                            .to = 5 * 365 * 86400 - 1 },
           CA_OK);
}

Test(lint, S1_serials)
{
    static const struct draft drafts[] = {
        { .name = "zero", .serial = OCTETS("\0") },
        { .name = "negative", .serial = OCTETS("\x80") },
        { .name = "empty", .serial = OCTETS("") },
        { .name = "21 octets",
          .serial = OCTETS("\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01"
                           "\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01") },
        { .name = "a zero before", .serial = OCTETS("\0\x11") },
        { .name = "version 1", .version = OCTETS("\x02\x01\x00") },
        { .name = "version 4", .version = OCTETS("\x02\x01\x03") },
        { .name = "two versions", .version = OCTETS("\x02\x01\x02\x02\x01\x02") },
    };
    for (size_t i = 0; i < COUNT(drafts); i++)
        expect(&drafts[i], CA_INTERNAL);
    expect(
        &(struct draft){ .name = "20 octets",
                         .serial = OCTETS("\x7f\x01\x01\x01\x01\x01\x01\x01\x01\x01"
                                          "\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01") },
        CA_OK);
}

Test(lint, S2_validity)
{
    static const struct draft drafts[] = {
        { .name = "before the issuer", .from = -301 },
        { .name = "after the issuer", .to = 5 * 365 * 86400 },
        { .name = "ends before it starts", .from = 100, .to = 99 },
        { .name = "GeneralizedTime before 2050",
          .times = OCTETS("\x18\x0f"
                          "20280101000000Z\x18\x0f"
                          "20290101000000Z") },
        { .name = "without seconds",
          .times = OCTETS("\x17\x0b"
                          "2801010000Z\x17\x0d"
                          "290101000000Z") },
        { .name = "one time",
          .times = OCTETS("\x17\x0d"
                          "280101000000Z") },
        { .name = "three times",
          .times = OCTETS("\x17\x0d"
                          "280101000000Z\x17\x0d"
                          "290101000000Z\x17\x0d"
                          "290101000000Z") },
        { .name = "no such day",
          .times = OCTETS("\x17\x0d"
                          "280230000000Z\x17\x0d"
                          "290101000000Z") },
    };
    for (size_t i = 0; i < COUNT(drafts); i++)
        expect(&drafts[i], CA_INTERNAL);
}

Test(lint, S3_names_and_algorithm)
{
    CA_AUTO(X509_NAME_free) X509_NAME *other = pki_name("Test Issuing CA");
    expect(&(struct draft){ .name = "another issuer", .issuer = other }, CA_INTERNAL);
    expect(&(struct draft){ .name = "another algorithm", .algorithm_key = ca.root_key },
           CA_INTERNAL);
    static const struct draft drafts[] = {
        { .name = "empty subject without a SAN", .subject = OCTETS("\x30\x00") },
        { .name = "empty value",
          .subject = OCTETS("\x30\x0b\x31\x09\x30\x07\x06\x03\x55\x04\x03\x0c\x00") },
        { .name = "line break",
          .subject =
              OCTETS("\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01\x0a") },
        { .name = "NUL",
          .subject = OCTETS("\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01\0") },
        { .name = "unknown type",
          .subject = OCTETS("\x30\x0c\x31\x0a\x30\x08\x06\x03\x2a\x03\x04\x0c\x01"
                            "a") },
        { .name = "country of three",
          .subject = OCTETS("\x30\x0e\x31\x0c\x30\x0a\x06\x03\x55\x04\x06\x13\x03"
                            "DEU") },
        { .name = "something behind", .tail = OCTETS("\x05\x00") },
        { .name = "unique id behind", .tail = OCTETS("\x82\x02\x00\x01") },
    };
    for (size_t i = 0; i < COUNT(drafts); i++)
        expect(&drafts[i], CA_INTERNAL);
    char long_name[128] = "\x30\x4c\x31\x4a\x30\x48\x06\x03\x55\x04\x03\x0c\x41";
    memset(long_name + 13, 'a', 65);
    expect(&(struct draft){ .name = "65 characters",
                            .subject = long_name,
                            .subject_size = 78 },
           CA_INTERNAL);
}

#define BASIC "\x06\x03\x55\x1d\x13"
#define USAGE "\x06\x03\x55\x1d\x0f"
#define SAN "\x06\x03\x55\x1d\x11"
#define EKU "\x06\x03\x55\x1d\x25"

Test(lint, S3_subject_is_not_the_issuers)
{
    BUFFER name = { 0 };
    append_name(&name, X509_get_subject_name(ca.certificate));
    expect(&(struct draft){ .name = "issuer's name",
                            .subject = name.data,
                            .subject_size = name.size },
           CA_FORBIDDEN);
    LEAK_CHECK();
}

Test(lint, S3_extensions)
{
    static const struct draft drafts[] = {
        { .name = "none", .extensions = OCTETS("") },
        { .name = "CA:TRUE",
          .extensions = OCTETS("\x30\x0c" BASIC "\x04\x05\x30\x03\x01\x01\xff") },
        { .name = "CA:FALSE written out",
          .extensions = OCTETS("\x30\x0c" BASIC "\x04\x05\x30\x03\x01\x01\x00") },
        { .name = "keyCertSign",
          .extensions = OCTETS("\x30\x0b" USAGE "\x04\x04\x03\x02\x02\x84") },
        { .name = "cRLSign",
          .extensions = OCTETS("\x30\x0b" USAGE "\x04\x04\x03\x02\x01\x02") },
        { .name = "empty usage",
          .extensions = OCTETS("\x30\x0a" USAGE "\x04\x03\x03\x01\x00") },
        { .name = "doubled",
          .extensions = OCTETS("\x30\x09" BASIC "\x04\x02\x30\x00\x30\x09" BASIC
                               "\x04\x02\x30\x00") },
        { .name = "critical FALSE written out",
          .extensions = OCTETS("\x30\x0c" BASIC "\x01\x01\x00\x04\x02\x30\x00") },
        { .name = "critical 1",
          .extensions = OCTETS("\x30\x0c" BASIC "\x01\x01\x01\x04\x02\x30\x00") },
        { .name = "value not DER",
          .extensions = OCTETS("\x30\x0b"
                               "\x06\x03\x2a\x03\x04"
                               "\x04\x04\x30\x80\x00\x00") },
        { .name = "value with a tail",
          .extensions = OCTETS("\x30\x0b"
                               "\x06\x03\x2a\x03\x04"
                               "\x04\x04\x05\x00\x05\x00") },
        { .name = "any EKU",
          .extensions =
              OCTETS("\x30\x0f" EKU "\x04\x08\x30\x06\x06\x04\x55\x1d\x25\x00") },
        { .name = "OCSP signing",
          .extensions =
              OCTETS("\x30\x13" EKU
                     "\x04\x0c\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x09") },
        { .name = "empty EKU",
          .extensions = OCTETS("\x30\x09" EKU "\x04\x02\x30\x00") },
        { .name = "empty SAN",
          .extensions = OCTETS("\x30\x09" SAN "\x04\x02\x30\x00") },
        { .name = "SAN with a NUL",
          .extensions = OCTETS("\x30\x0e" SAN "\x04\x07\x30\x05\x82\x03"
                               "a\0b") },
        { .name = "SAN of five octets",
          .extensions =
              OCTETS("\x30\x10" SAN "\x04\x09\x30\x07\x87\x05\x01\x02\x03\x04\x05") },
        { .name = "SAN not critical over an empty subject",
          .subject = OCTETS("\x30\x00"),
          .extensions = OCTETS("\x30\x0c" SAN "\x04\x05\x30\x03\x82\x01"
                               "a") },
    };
    for (size_t i = 0; i < COUNT(drafts); i++)
        expect(&drafts[i], CA_INTERNAL);
    static const struct draft good[] = {
        { .name = "SAN",
          .extensions = OCTETS("\x30\x0c" SAN "\x04\x05\x30\x03\x82\x01"
                               "a") },
        { .name = "critical SAN over an empty subject",
          .subject = OCTETS("\x30\x00"),
          .extensions = OCTETS("\x30\x0f" SAN "\x01\x01\xff\x04\x05\x30\x03\x82\x01"
                               "a") },
        { .name = "usage",
          .extensions = OCTETS("\x30\x0b" USAGE "\x04\x04\x03\x02\x05\xa0") },
        { .name = "client auth",
          .extensions =
              OCTETS("\x30\x13" EKU
                     "\x04\x0c\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x02") },
    };
    for (size_t i = 0; i < COUNT(good); i++)
        expect(&good[i], CA_OK);
}

Test(lint, S3_bytes)
{
    static const struct {
        const char *octets;
        size_t size;
    } cases[] = { { OCTETS("") },
                  { OCTETS("\x30\x00") },
                  { OCTETS("\x30\x80\x00\x00") },
                  { OCTETS("\x05\x00") },
                  { OCTETS("\x30\x02\x05\x00\x00") } };
    for (size_t i = 0; i < COUNT(cases); i++)
        cr_expect_eq(
            lint_tbs((const uint8_t *)cases[i].octets, cases[i].size, ca.certificate),
            CA_INTERNAL);
}

/* An issuer with nameConstraints, as an imported intermediate may have. */
static X509 *
constrained_issuer(const char *constraints)
{
    X509 *issuer = X509_dup(ca.certificate);
    X509_EXTENSION *extension =
        X509V3_EXT_conf_nid(NULL, NULL, NID_name_constraints, constraints);
    cr_assert(extension && X509_add_ext(issuer, extension, -1));
    X509_EXTENSION_free(extension);
    cr_assert(X509_sign(issuer, ca.root_key, EVP_sha384()) > 0);
    return issuer;
}

Test(lint, H1_name_constraints_of_the_issuer_hold)
{
    static const struct {
        const char *constraints, *san;
        enum ca_status expected;
    } cases[] = {
        { "permitted;DNS:devices.example", "d1.devices.example", CA_OK },
        { "permitted;DNS:devices.example", "d1.other.example", CA_FORBIDDEN },
        { "excluded;DNS:secret.example", "d1.devices.example", CA_OK },
        { "excluded;DNS:secret.example", "a.secret.example", CA_FORBIDDEN },
    };
    struct certificate_profile profile;
    pki_profile(&profile);
    CA_AUTO(X509_PUBKEY_free) X509_PUBKEY *spki = pki_spki(key);
    for (size_t i = 0; i < COUNT(cases); i++) {
        CA_AUTO(X509_free) X509 *issuer = constrained_issuer(cases[i].constraints);
        struct names names = { pki_name("device one"), sk_GENERAL_NAME_new_null() };
        GENERAL_NAME *name = GENERAL_NAME_new();
        ASN1_IA5STRING *string = ASN1_IA5STRING_new();
        ASN1_STRING_set(string, cases[i].san, -1);
        GENERAL_NAME_set0_value(name, GEN_DNS, string);
        sk_GENERAL_NAME_push(names.san, name);
        struct tbs_input input = { .profile = &profile,
                                   .issuer = issuer,
                                   .names = &names,
                                   .key = spki,
                                   .serial = (const uint8_t *)"\x11",
                                   .serial_size = 1,
                                   .now = PKI_NOW };
        CA_AUTO(openssl_free) uint8_t *tbs = NULL;
        size_t size;
        int64_t from, to;
        cr_assert_eq(tbs_build(&input, &tbs, &size, &from, &to), CA_OK, "%s",
                     status_message());
        cr_expect_eq(lint_tbs(tbs, size, issuer), cases[i].expected,
                     "%s against %s: %s", cases[i].san, cases[i].constraints,
                     status_message());
        names_clear(&names);
    }
}

Test(lint, H1_the_issuer_must_be_one)
{
    CA_AUTO(X509_free)
    X509 *ra = pki_authority(
        (struct tbs_authority){ .kind = TBS_RA, .issuer = ca.certificate }, "CN=RA",
        key, ca.key);
    cr_expect_eq(lint_tbs((const uint8_t *)"\x30\x00", 2, ra), CA_FORBIDDEN);
    tear_down();
    key = NULL;
    ra = (X509_free(ra), NULL);
    LEAK_CHECK();
}
