/* Requests held against an offer: subject, names, key, signature, each alone wrong. */
#include "leak.h"
#include "names.h"
#include "offer_judge.h"
#include "pki.h"
#include <openssl/sha.h>

static struct certificate_profile profile;
static EVP_PKEY *rsa, *ec;
static struct offer offer;

static void
describe(const char *subject, const char *san, int key, struct offer *ret_offer)
{
    struct names names = { 0 };
    cr_assert_eq(names_parse_subject(subject, &names.subject), CA_OK);
    if (san) {
        CA_AUTO(X509_EXTENSION_free)
        X509_EXTENSION *one =
            X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
        cr_assert_not_null(one);
        names.san = X509V3_EXT_d2i(one);
    }
    cr_assert_eq(offer_describe(ret_offer, &names, &profile, key), CA_OK);
    cr_assert_eq(offer_check_names(ret_offer, &names), CA_OK);
    names_clear(&names);
    ret_offer->id = strdup("offer:0123456789abcdef");
}

static void
begin(void)
{
    pki_profile(&profile);
    rsa = pki_rsa(2048);
    ec = pki_ec("P-256");
    describe("O=Example,CN=alice", "email:alice@example.com,DNS:A.example",
             SCEP_KEY_RSA_2048, &offer);
}

static void
end(void)
{
    offer_clear(&offer);
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ec);
    LEAK_CHECK();
}

TestSuite(offer_judge, .init = begin, .fini = end);

struct asked {
    const char *o, *cn;
    int type; /* of the strings */
    const char *san;
    bool reversed;
};

static X509_REQ *
request_of(EVP_PKEY *key, const struct asked *asked)
{
    CA_AUTO(x509_extensions_free) STACK_OF(X509_EXTENSION) *extensions = NULL;
    if (asked->san)
        pki_request_san(&extensions, asked->san);
    X509_REQ *request = pki_request_start(key, NULL, extensions);
    CA_AUTO(X509_NAME_free) X509_NAME *name = X509_NAME_new();
    const char *const labels[] = { "O", "CN" }, *const values[] = { asked->o,
                                                                    asked->cn };
    for (int i = 0; i < 2; i++) {
        int at = asked->reversed ? 1 - i : i;
        if (values[at])
            cr_assert(X509_NAME_add_entry_by_txt(
                name, labels[at], asked->type, (const uint8_t *)values[at], -1, -1, 0));
    }
    cr_assert(X509_REQ_set_subject_name(request, name));
    cr_assert(X509_REQ_sign(request, key, EVP_sha256()) > 0);
    return request;
}

static const char *
judge(EVP_PKEY *key, const struct asked *asked)
{
    CA_AUTO(X509_REQ_free) X509_REQ *request = request_of(key, asked);
    const char *word = "unset";
    enum ca_status status = offer_judge(&offer, &profile, request, &word);
    cr_assert_eq(status, word ? CA_FORBIDDEN : CA_OK, "%s", status_message());
    return word ? word : "";
}

#define SAN "email:alice@example.com,DNS:a.example"
static const struct asked good = { "Example", "alice", MBSTRING_UTF8, SAN, false };

Test(offer_judge, takes_what_it_asks_for_in_any_string_type_and_order_of_names)
{
    struct asked asked = good;
    cr_assert_str_eq(judge(rsa, &asked), "");
    asked.type = V_ASN1_PRINTABLESTRING;
    cr_assert_str_eq(judge(rsa, &asked), "");
    asked.type = V_ASN1_IA5STRING;
    cr_assert_str_eq(judge(rsa, &asked), "");
    asked.san = "DNS:a.EXAMPLE,email:alice@example.com";
    cr_assert_str_eq(judge(rsa, &asked), "");
    asked.san = "DNS:a.example,email:alice@example.com,DNS:a.example";
    cr_assert_str_eq(judge(rsa, &asked), "", "a set");
}

Test(offer_judge, refuses_another_subject)
{
    static const struct asked cases[] = {
        { "Example", "alicf", MBSTRING_UTF8, SAN, false },
        { "Example", "Alice", MBSTRING_UTF8, SAN, false },
        { "Example", "alice ", MBSTRING_UTF8, SAN, false },
        { "Example", NULL, MBSTRING_UTF8, SAN, false },
        { NULL, "alice", MBSTRING_UTF8, SAN, false },
        { NULL, NULL, MBSTRING_UTF8, SAN, false },
        { "Example", "alice", MBSTRING_UTF8, SAN, true },
        { "alice", "Example", MBSTRING_UTF8, SAN, false },
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        cr_assert_str_eq(judge(rsa, &cases[i]), "subject_mismatch", "case %zu", i);
}

Test(offer_judge, refuses_other_names)
{
    static const char *const cases[] = {
        NULL,
        "email:alice@example.com",
        "DNS:a.example",
        SAN ",DNS:b.example",
        "email:bob@example.com,DNS:a.example",
        SAN ",URI:urn:uuid:1",
        SAN ",IP:192.0.2.1",
        SAN ",otherName:1.2.3.4;UTF8:x",
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct asked asked = good;
        asked.san = cases[i];
        cr_assert_str_eq(judge(rsa, &asked), "san_mismatch", "case %zu", i);
    }
}

Test(offer_judge, refuses_every_other_key)
{
    EVP_PKEY *large = pki_rsa(3072), *p384 = pki_ec("P-384");
    cr_assert_str_eq(judge(large, &good), "key_rejected");
    cr_assert_str_eq(judge(ec, &good), "key_rejected");
    cr_assert_str_eq(judge(p384, &good), "key_rejected");
    struct offer curve = { 0 }, kept = offer;
    describe("O=Example,CN=alice", "email:alice@example.com,DNS:a.example",
             SCEP_KEY_P256, &curve);
    offer = curve;
    cr_assert_str_eq(judge(ec, &good), "");
    cr_assert_str_eq(judge(p384, &good), "key_rejected");
    cr_assert_str_eq(judge(rsa, &good), "key_rejected");
    offer_clear(&offer);
    offer = kept;
    EVP_PKEY_free(large);
    EVP_PKEY_free(p384);
}

Test(offer_judge, is_bound_to_the_first_key)
{
    EVP_PKEY *other = pki_rsa(2048);
    uint8_t *der = NULL;
    int size = i2d_PUBKEY(rsa, &der);
    offer.spki = malloc(32);
    offer.spki_size = 32;
    SHA256(der, (size_t)size, offer.spki);
    OPENSSL_free(der);
    cr_assert_str_eq(judge(rsa, &good), "");
    cr_assert_str_eq(judge(other, &good), "key_rejected");
    EVP_PKEY_free(other);
}

Test(offer_judge, refuses_a_signature_that_does_not_hold)
{
    CA_AUTO(X509_REQ_free) X509_REQ *request = request_of(rsa, &good);
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    const char *word = NULL;
    int size = i2d_X509_REQ(request, &der);
    der[size - 1] ^= 1;
    const uint8_t *at = der;
    CA_AUTO(X509_REQ_free) X509_REQ *broken = d2i_X509_REQ(NULL, &at, size);
    cr_assert_eq(offer_judge(&offer, &profile, broken, &word), CA_FORBIDDEN);
    cr_assert_str_eq(word, "bad_signature");
    cr_assert_eq(offer_judge_unsigned(&offer, &profile, broken, &word), CA_OK);
    cr_assert_null(word);
}

/* Extension and value as OpenSSL's text has them. */
static X509_REQ *
asking(const char *name, const char *value, int attribute)
{
    CA_AUTO(x509_extensions_free) STACK_OF(X509_EXTENSION) *extensions = NULL;
    X509V3_CTX context;
    X509V3_set_ctx(&context, NULL, NULL, NULL, NULL, 0);
    X509V3_set_ctx_nodb(&context);
    pki_request_san(&extensions, SAN);
    X509_EXTENSION *one = name ? X509V3_EXT_conf(NULL, &context, name, value) : NULL;
    cr_assert(!name || (one && sk_X509_EXTENSION_push(extensions, one)), "%s", name);
    X509_REQ *request = pki_request_start(rsa, NULL, NULL);
    cr_assert(X509_REQ_add_extensions_nid(request, extensions, attribute));
    return request;
}

static const char *
passing(X509_REQ *request, bool takes_challenge)
{
    const char *word = "unset";
    enum ca_status status =
        offer_judge_passing(&profile, request, takes_challenge, &word);
    cr_assert_eq(status, word ? CA_FORBIDDEN : CA_OK, "%s", status_message());
    return word ? word : "";
}

Test(offer_judge, R5_only_names_and_the_profiles_own_usages_are_passed_on)
{
    static char client[] = "client_auth", mail[] = "1.3.6.1.5.5.7.3.4";
    static char *purposes[] = { client, mail };
    static const struct {
        const char *name, *value;
        int attribute;
        bool passes;
    } cases[] = {
        { NULL, NULL, NID_ext_req, true },
        { "keyUsage", "critical,digitalSignature,keyEncipherment", NID_ext_req, true },
        { "keyUsage", "digitalSignature", NID_ext_req, true },
        { "extendedKeyUsage", "clientAuth", NID_ext_req, true },
        { "extendedKeyUsage", "clientAuth,emailProtection", NID_ext_req, true },
        { NULL, NULL, NID_ms_ext_req, false },
        { "keyUsage", "digitalSignature,keyAgreement", NID_ext_req, false },
        { "keyUsage", "keyCertSign", NID_ext_req, false },
        { "keyUsage", "DER:0304000000FF", NID_ext_req, false },
        { "keyUsage", "DER:030205A0FF", NID_ext_req, false },
        { "extendedKeyUsage", "1.3.6.1.4.1.311.20.2.2", NID_ext_req, false },
        { "extendedKeyUsage", "clientAuth,1.3.6.1.4.1.311.20.2.1", NID_ext_req, false },
        { "extendedKeyUsage", "anyExtendedKeyUsage", NID_ext_req, false },
        { "extendedKeyUsage", "DER:0500", NID_ext_req, false },
        { "basicConstraints", "CA:FALSE", NID_ext_req, false },
        { "basicConstraints", "CA:TRUE", NID_ext_req, false },
        { "certificatePolicies", "DER:3007300506032A0304", NID_ext_req, false },
        { "1.3.6.1.4.1.311.25.2", "ASN1:UTF8:S-1-5-21-500", NID_ext_req, false },
        { "1.3.6.1.4.1.311.20.2", "ASN1:BMP:User", NID_ext_req, false },
        { "1.3.6.1.4.1.311.21.7", "ASN1:NULL", NID_ext_req, false },
        { "1.3.6.1.4.1.311.21.10", "ASN1:NULL", NID_ext_req, false },
        { "1.2.3.4.5", "critical,ASN1:NULL", NID_ext_req, false },
    };
    profile.extended_key_usage = (struct field_list){ purposes, COUNT(purposes) };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CA_AUTO(X509_REQ_free)
        X509_REQ *request = asking(cases[i].name, cases[i].value, cases[i].attribute);
        cr_assert_str_eq(passing(request, false), cases[i].passes ? "" : "san_mismatch",
                         "case %zu", i);
    }
}

Test(offer_judge, A8_no_purpose_is_passed_on_where_the_profile_has_none)
{
    CA_AUTO(X509_REQ_free)
    X509_REQ *request = asking("extendedKeyUsage", "clientAuth", NID_ext_req);
    cr_assert_str_eq(passing(request, false), "san_mismatch");
}

Test(offer_judge, R5_attributes_are_passed_on_by_name)
{
    CA_AUTO(X509_REQ_free) X509_REQ *request = asking(NULL, NULL, NID_ext_req);
    cr_assert(X509_REQ_add1_attr_by_NID(request, NID_pkcs9_challengePassword,
                                        MBSTRING_ASC, (const uint8_t *)"x", -1));
    cr_assert_str_eq(passing(request, true), "");
    cr_assert_str_eq(passing(request, false), "san_mismatch");
    cr_assert(X509_REQ_add1_attr_by_txt(request, "1.3.6.1.4.1.311.13.2.1", MBSTRING_ASC,
                                        (const uint8_t *)"x", -1));
    cr_assert_str_eq(passing(request, true), "san_mismatch");
}

Test(offer_judge, does_not_offer_what_cannot_be_asked_for)
{
    struct names names = { 0 };
    struct offer made = { 0 };
    profile.keys.count = 1; /* RSA alone */
    cr_assert_eq(names_parse_subject("CN=alice", &names.subject), CA_OK);
    cr_assert_eq(offer_describe(&made, &names, &profile, SCEP_KEY_P256),
                 CA_UNSUPPORTED);
    CA_AUTO(X509_EXTENSION_free)
    X509_EXTENSION *one =
        X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:192.0.2.1");
    names.san = X509V3_EXT_d2i(one);
    cr_assert_eq(offer_describe(&made, &names, &profile, SCEP_KEY_RSA_2048),
                 CA_UNSUPPORTED);
    offer_clear(&made);
    cr_assert_eq(offer_check_names(&offer, &names), CA_CONFLICT);
    names_clear(&names);
}
