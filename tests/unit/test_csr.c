/* PKCS#10: strict decoding, proof of possession (R1), requested extensions (R5),
 * challenges. */
#include "csr.h"
#include "leak.h"
#include "pki.h"
#include <openssl/bn.h>

#define PROFILE_FLAGS_SHA1 1u
#define PROFILE_FLAGS_ED25519 2u

static void
profile_of(struct certificate_profile *profile, unsigned flags)
{
    static struct profile_key keys[] = { { .algorithm = KEY_RSA, .min_bits = 2048 },
                                         { .algorithm = KEY_ED25519 } };
    pki_profile(profile);
    profile->allow_sha1_request = flags & PROFILE_FLAGS_SHA1;
    if (flags & PROFILE_FLAGS_ED25519)
        profile->keys = (struct field_list){ keys, COUNT(keys) };
}

static int
encode(X509_REQ *request, uint8_t **ret_der)
{
    int size = i2d_X509_REQ(request, ret_der);
    cr_assert_gt(size, 0);
    return size;
}

/* As it comes over the wire, so that nothing cached helps. */
static X509_REQ *
decoded(X509_REQ *request)
{
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    int size = encode(request, &der);
    X509_REQ *again = NULL;
    cr_assert_eq(csr_decode(der, (size_t)size, &again), CA_OK, "%s", status_message());
    return again;
}

static enum ca_status
verify(X509_REQ *request, unsigned flags)
{
    struct certificate_profile profile;
    profile_of(&profile, flags);
    CA_AUTO(X509_REQ_free) X509_REQ *again = decoded(request);
    return csr_verify(&profile, again);
}

/* What Windows 10 writes: SHA-1 with RSA under OIW's old name for it. */
static void
sign_as_oiw(X509_REQ *request, EVP_PKEY *key)
{
    CA_AUTO(openssl_free) uint8_t *tbs = NULL;
    uint8_t signature[512];
    size_t size = sizeof signature;
    CA_AUTO(EVP_MD_CTX_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
    X509_ALGOR *algorithm = X509_ALGOR_new();
    ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();
    int tbs_size = i2d_re_X509_REQ_tbs(request, &tbs);
    cr_assert_gt(tbs_size, 0);
    cr_assert_eq(EVP_DigestSignInit(context, NULL, EVP_sha1(), NULL, key), 1);
    cr_assert_eq(EVP_DigestSign(context, signature, &size, tbs, (size_t)tbs_size), 1);
    cr_assert(
        X509_ALGOR_set0(algorithm, OBJ_nid2obj(NID_sha1WithRSA), V_ASN1_NULL, NULL));
    cr_assert(X509_REQ_set1_signature_algo(request, algorithm));
    cr_assert(ASN1_BIT_STRING_set(bits, signature, (int)size));
    bits->flags |= ASN1_STRING_FLAG_BITS_LEFT; /* none, whatever its last octet is */
    X509_REQ_set0_signature(request, bits);
    X509_ALGOR_free(algorithm);
}

Test(csr, R1_sha1_under_its_old_name_is_sha1)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = pki_rsa(2048);
    CA_AUTO(X509_REQ_free) X509_REQ *request = pki_request(key, "a", EVP_sha1());
    sign_as_oiw(request, key);
    cr_expect_eq(verify(request, PROFILE_FLAGS_SHA1), CA_OK, "%s", status_message());
    cr_expect_eq(verify(request, 0), CA_FORBIDDEN);
    LEAK_CHECK();
}

Test(csr, R1_accepted_algorithms_prove_possession)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *rsa = pki_rsa(2048);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *p256 = pki_ec("P-256");
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *p384 = pki_ec("P-384");
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *ed25519 = pki_ed25519();
    const struct {
        const char *name;
        EVP_PKEY *key;
        const EVP_MD *digest;
        unsigned flags;
        enum ca_status expected;
    } cases[] = {
        { "RSA SHA-256", rsa, EVP_sha256(), 0, CA_OK },
        { "RSA SHA-384", rsa, EVP_sha384(), 0, CA_OK },
        { "RSA SHA-512", rsa, EVP_sha512(), 0, CA_OK },
        { "RSA SHA-1", rsa, EVP_sha1(), 0, CA_FORBIDDEN },
        { "RSA SHA-1 by profile", rsa, EVP_sha1(), PROFILE_FLAGS_SHA1, CA_OK },
        { "RSA MD5", rsa, EVP_md5(), PROFILE_FLAGS_SHA1, CA_FORBIDDEN },
        { "RSA SHA-224", rsa, EVP_sha224(), 0, CA_UNSUPPORTED },
        { "P-256 SHA-256", p256, EVP_sha256(), 0, CA_OK },
        { "P-256 SHA-512", p256, EVP_sha512(), 0, CA_OK },
        { "P-384 SHA-384", p384, EVP_sha384(), 0, CA_OK },
        { "P-256 SHA-1", p256, EVP_sha1(), 0, CA_FORBIDDEN },
        { "P-256 SHA-1 by profile", p256, EVP_sha1(), PROFILE_FLAGS_SHA1, CA_OK },
        { "P-256 SHA-224", p256, EVP_sha224(), PROFILE_FLAGS_SHA1, CA_UNSUPPORTED },
        { "P-256 SHA3-256", p256, EVP_sha3_256(), 0, CA_UNSUPPORTED },
        { "Ed25519", ed25519, NULL, 0, CA_FORBIDDEN },
        { "Ed25519 by profile", ed25519, NULL, PROFILE_FLAGS_ED25519, CA_OK },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CA_AUTO(X509_REQ_free)
        X509_REQ *request = pki_request(cases[i].key, "dev1", cases[i].digest);
        cr_expect_eq(verify(request, cases[i].flags), cases[i].expected, "%s: %s",
                     cases[i].name, status_message());
    }
    LEAK_CHECK();
}

Test(csr, R1_pss_parameters_are_checked)
{
    static const struct {
        const char *name;
        const char *digest, *mask;
        int salt;
        enum ca_status expected;
    } cases[] = {
        { "SHA-256", "SHA256", "SHA256", 32, CA_OK },
        { "SHA-384", "SHA384", "SHA384", 48, CA_OK },
        { "longest salt", "SHA256", "SHA256", 222, CA_OK },
        { "short salt", "SHA256", "SHA256", 8, CA_UNSUPPORTED },
        { "no salt", "SHA256", "SHA256", 0, CA_UNSUPPORTED },
        { "SHA-1", "SHA1", "SHA1", 20, CA_UNSUPPORTED },
        { "mask over SHA-1", "SHA256", "SHA1", 32, CA_UNSUPPORTED },
        { "mask over another", "SHA256", "SHA512", 32, CA_UNSUPPORTED },
    };
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = pki_rsa(2048);
    for (size_t i = 0; i < COUNT(cases); i++) {
        CA_AUTO(X509_REQ_free) X509_REQ *request = pki_request_start(key, "dev1", NULL);
        CA_AUTO(EVP_MD_CTX_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
        EVP_PKEY_CTX *inner = NULL;
        cr_assert(EVP_DigestSignInit(context, &inner,
                                     EVP_get_digestbyname(cases[i].digest), NULL, key));
        cr_assert(EVP_PKEY_CTX_set_rsa_padding(inner, RSA_PKCS1_PSS_PADDING) > 0);
        cr_assert(EVP_PKEY_CTX_set_rsa_mgf1_md(
                      inner, EVP_get_digestbyname(cases[i].mask)) > 0);
        cr_assert(EVP_PKEY_CTX_set_rsa_pss_saltlen(inner, cases[i].salt) > 0);
        cr_assert(X509_REQ_sign_ctx(request, context) > 0, "%s", cases[i].name);
        cr_expect_eq(verify(request, PROFILE_FLAGS_SHA1), cases[i].expected, "%s: %s",
                     cases[i].name, status_message());
    }
    LEAK_CHECK();
}

Test(csr, R1_an_altered_bit_is_refused)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = pki_ec("P-256");
    CA_AUTO(X509_REQ_free) X509_REQ *request = pki_request(key, "dev1", EVP_sha256());
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    int size = encode(request, &der);
    struct certificate_profile profile;
    profile_of(&profile, 0);
    for (int bit = 0; bit < size * 8; bit++) {
        der[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CA_AUTO(X509_REQ_free) X509_REQ *altered = NULL;
        bool passes = csr_decode(der, (size_t)size, &altered) == CA_OK &&
                      csr_verify(&profile, altered) == CA_OK;
        cr_assert(!passes, "bit %d", bit);
        der[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    LEAK_CHECK();
}

Test(csr, R1_another_keys_signature_is_refused)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *claimed = pki_ec("P-256");
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *own = pki_ec("P-256");
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *rsa = pki_rsa(2048);
    CA_AUTO(X509_REQ_free) X509_REQ *request = pki_request_start(claimed, "dev1", NULL);
    cr_assert(X509_REQ_sign(request, own, EVP_sha256()) > 0);
    cr_expect_eq(verify(request, 0), CA_FORBIDDEN, "%s", status_message());
    cr_assert(X509_REQ_sign(request, rsa, EVP_sha256()) > 0);
    cr_expect_eq(verify(request, 0), CA_FORBIDDEN, "%s", status_message());
    cr_expect(strstr(status_message(), "kind"), "%s", status_message());
    LEAK_CHECK();
}

Test(csr, R1_a_huge_key_is_refused_before_its_signature)
{
    /* A modulus of 16384 bits in an otherwise good request. */
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *signer = pki_rsa(2048);
    CA_AUTO(BN_free) BIGNUM *n = BN_new();
    BN_rand(n, 16384, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD);
    CA_AUTO(text_buffer_clear) struct text_buffer numbers = { 0 };
    CA_AUTO(text_buffer_clear) struct text_buffer bits = { 0 };
    uint8_t octets[2048];
    BN_bn2bin(n, octets);
    der_integer(&numbers, octets, sizeof octets);
    der_number(&numbers, DER_INTEGER, 65537);
    der_wrap(&bits, DER_SEQUENCE, &numbers);
    CA_AUTO(X509_REQ_free) X509_REQ *request = pki_request_start(signer, "dev1", NULL);
    cr_assert(X509_PUBKEY_set0_param(
        X509_REQ_get_X509_PUBKEY(request), OBJ_nid2obj(NID_rsaEncryption), V_ASN1_NULL,
        NULL, OPENSSL_memdup(bits.data, bits.size), (int)bits.size));
    cr_assert(X509_REQ_sign(request, signer, EVP_sha256()) > 0);
    cr_expect_eq(verify(request, 0), CA_FORBIDDEN);
    cr_expect(strstr(status_message(), "16384 bits"), "%s", status_message());
    LEAK_CHECK();
}

Test(csr, R1_a_point_off_the_curve_is_refused)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = pki_ec("P-256");
    CA_AUTO(X509_REQ_free) X509_REQ *request = pki_request(key, "dev1", EVP_sha256());
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    int size = encode(request, &der);
    uint8_t point[65];
    size_t length;
    cr_assert(
        EVP_PKEY_get_octet_string_param(key, "pub", point, sizeof point, &length));
    uint8_t *at = memmem(der, (size_t)size, point, sizeof point);
    cr_assert_not_null(at);
    at[64] ^= 1;
    struct certificate_profile profile;
    profile_of(&profile, 0);
    CA_AUTO(X509_REQ_free) X509_REQ *altered = NULL;
    cr_assert_eq(csr_decode(der, (size_t)size, &altered), CA_OK);
    cr_expect_eq(csr_verify(&profile, altered), CA_FORBIDDEN);
    LEAK_CHECK();
}

Test(csr, S3_only_strict_requests_decode)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = pki_ec("P-256");
    CA_AUTO(X509_REQ_free) X509_REQ *request = pki_request(key, "dev1", EVP_sha256());
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    int size = encode(request, &der);
    uint8_t longer[4096] = { 0 };
    memcpy(longer, der, (size_t)size);
    X509_REQ *none = NULL;
    for (int cut = 0; cut < size; cut++)
        cr_expect_eq(csr_decode(der, (size_t)cut, &none), CA_MALFORMED, "cut %d", cut);
    for (int more = 1; more <= 10; more++)
        cr_expect_eq(csr_decode(longer, (size_t)(size + more), &none), CA_MALFORMED,
                     "%d after it", more);
    cr_assert(X509_REQ_set_version(request, 1));
    cr_assert(X509_REQ_sign(request, key, EVP_sha256()) > 0);
    CA_AUTO(openssl_free) uint8_t *other = NULL;
    int other_size = encode(request, &other);
    cr_expect_eq(csr_decode(other, (size_t)other_size, &none), CA_MALFORMED);
    cr_expect_null(none);
    LEAK_CHECK();
}

static enum ca_status
decode_with_attributes(int count, bool is_doubled)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = pki_ec("P-256");
    CA_AUTO(X509_REQ_free) X509_REQ *request = pki_request_start(key, "dev1", NULL);
    for (int i = 0; i < count; i++) {
        char oid[64];
        snprintf(oid, sizeof oid, "1.3.6.1.4.1.99999.%d", is_doubled ? 1 : i);
        cr_assert(X509_REQ_add1_attr_by_txt(request, oid, V_ASN1_UTF8STRING,
                                            (const uint8_t *)"x", 1) ||
                  is_doubled);
    }
    cr_assert(X509_REQ_sign(request, key, EVP_sha256()) > 0);
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    int size = encode(request, &der);
    CA_AUTO(X509_REQ_free) X509_REQ *again = NULL;
    return csr_decode(der, (size_t)size, &again);
}

Test(csr, R8_attributes_are_counted)
{
    cr_expect_eq(decode_with_attributes(16, false), CA_OK);
    cr_expect_eq(decode_with_attributes(17, false), CA_MALFORMED);
    cr_expect_eq(decode_with_attributes(300, false), CA_MALFORMED);
    CA_AUTO(free) uint8_t *big = calloc(1, CSR_SIZE_MAX + 1);
    X509_REQ *none = NULL;
    cr_expect_eq(csr_decode(big, CSR_SIZE_MAX + 1, &none), CA_MALFORMED);
    LEAK_CHECK();
}

/* A request whose attributes are these raw values: type, SET content. */
struct raw_attribute {
    const char *oid;
    const void *set;
    size_t size;
};

static X509_REQ *
request_with(const struct raw_attribute *attributes, size_t count)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = pki_ec("P-256");
    CA_AUTO(text_buffer_clear) struct text_buffer list = { 0 };
    CA_AUTO(text_buffer_clear) struct text_buffer info = { 0 };
    CA_AUTO(text_buffer_clear) struct text_buffer whole = { 0 };
    CA_AUTO(X509_PUBKEY_free) X509_PUBKEY *spki = pki_spki(key);
    CA_AUTO(openssl_free) uint8_t *spki_der = NULL;
    int size = i2d_X509_PUBKEY(spki, &spki_der);
    der_number(&info, DER_INTEGER, 0);
    der_append(&info, DER_SEQUENCE, NULL, 0);
    text_append(&info, spki_der, (size_t)size);
    for (size_t i = 0; i < count; i++) {
        CA_AUTO(text_buffer_clear) struct text_buffer one = { 0 };
        cr_assert(der_oid(&one, attributes[i].oid));
        der_append(&one, 0x31, attributes[i].set, attributes[i].size);
        der_wrap(&list, DER_SEQUENCE, &one);
    }
    der_wrap(&info, DER_CONTEXT_SET(0), &list);
    der_wrap(&whole, DER_SEQUENCE, &info);
    text_append(&whole, "\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02\x03\x02\0\0",
                16);
    der_wrap(&info, DER_SEQUENCE, &whole);
    X509_REQ *request = NULL;
    csr_decode((const uint8_t *)info.data, info.size, &request);
    return request;
}

#define CHALLENGE "1.2.840.113549.1.9.7"
#define EXTENSIONS "1.2.840.113549.1.9.14"
#define MICROSOFT "1.3.6.1.4.1.311.2.1.14"

Test(csr, challenge_is_one_value_of_one_string)
{
    static const struct {
        const char *name, *set;
        size_t size;
        enum ca_status expected;
        const char *text;
    } cases[] = {
        { "printable",
          "\x13\x03"
          "abc",
          5, CA_OK, "abc" },
        { "UTF-8",
          "\x0c\x04"
          "a\xc3\xbc"
          "c",
          6, CA_OK,
          "a\xc3\xbc"
          "c" },
        { "T61",
          "\x14\x03"
          "abc",
          5, CA_OK, "abc" },
        { "IA5",
          "\x16\x03"
          "abc",
          5, CA_OK, "abc" },
        { "BMP", "\x1e\x06\0a\0b\0c", 8, CA_OK, "abc" },
        { "empty", "\x13\x00", 2, CA_OK, "" },
        { "empty BMP", "\x1e\x00", 2, CA_OK, "" },
        { "NUL inside",
          "\x0c\x04"
          "ab\0c",
          6, CA_MALFORMED, NULL },
        { "NUL at the end",
          "\x13\x04"
          "abc\0",
          6, CA_MALFORMED, NULL },
        { "NUL in BMP", "\x1e\x06\0a\0\0\0c", 8, CA_MALFORMED, NULL },
        { "odd BMP", "\x1e\x03\0a\0", 5, CA_MALFORMED, NULL },
        { "octets",
          "\x04\x03"
          "abc",
          5, CA_MALFORMED, NULL },
        { "integer", "\x02\x01\x05", 3, CA_MALFORMED, NULL },
        { "two values",
          "\x13\x03"
          "abc\x13\x03"
          "abd",
          10, CA_MALFORMED, NULL },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct raw_attribute attribute = { CHALLENGE, cases[i].set, cases[i].size };
        CA_AUTO(X509_REQ_free) X509_REQ *request = request_with(&attribute, 1);
        char *text = NULL;
        size_t size = 42;
        enum ca_status status =
            request ? csr_challenge(request, &text, &size) : CA_MALFORMED;
        cr_expect_eq(status, cases[i].expected, "%s: %s", cases[i].name,
                     status_message());
        if (cases[i].text && text) {
            cr_expect_str_eq(text, cases[i].text, "%s", cases[i].name);
            cr_expect_eq(size, strlen(cases[i].text));
        }
        secret_free(text);
    }
    LEAK_CHECK();
}

Test(csr, challenge_of_several_kilobytes_and_none)
{
    CA_AUTO(free) char *set = malloc(8004);
    memset(set, 'x', 8004);
    memcpy(set, "\x13\x82\x1f\x40", 4);
    struct raw_attribute attribute = { CHALLENGE, set, 8004 };
    CA_AUTO(X509_REQ_free) X509_REQ *request = request_with(&attribute, 1);
    char *text = NULL;
    size_t size = 0;
    cr_assert_eq(csr_challenge(request, &text, &size), CA_OK);
    cr_assert_eq(size, 8000);
    secret_free(text);
    CA_AUTO(X509_REQ_free) X509_REQ *none = request_with(NULL, 0);
    cr_expect_eq(csr_challenge(none, &text, &size), CA_NOT_FOUND);
    LEAK_CHECK();
}

Test(csr, doubled_attributes_are_refused)
{
    struct raw_attribute twice[] = { { CHALLENGE,
                                       "\x13\x01"
                                       "a",
                                       3 },
                                     { CHALLENGE,
                                       "\x13\x01"
                                       "b",
                                       3 } };
    struct raw_attribute apart[] = { { CHALLENGE,
                                       "\x13\x01"
                                       "a",
                                       3 },
                                     { "1.2.3.4",
                                       "\x13\x01"
                                       "a",
                                       3 },
                                     { CHALLENGE,
                                       "\x13\x01"
                                       "a",
                                       3 } };
    struct raw_attribute empty = { CHALLENGE, "", 0 };
    cr_expect_null(request_with(twice, 2));
    cr_expect_null(request_with(apart, 3));
    cr_expect_null(request_with(&empty, 1));
    LEAK_CHECK();
}

Test(csr, R5_requests_to_be_a_ca_are_refused)
{
    static const struct {
        const char *name;
        int nid;
        const char *value;
        size_t size;
        enum ca_status expected;
    } cases[] = {
        { "CA:FALSE", NID_basic_constraints, "\x30\x00", 2, CA_OK },
        { "CA:FALSE written out", NID_basic_constraints, "\x30\x03\x01\x01\x00", 5,
          CA_OK },
        { "CA:TRUE", NID_basic_constraints, "\x30\x03\x01\x01\xff", 5, CA_FORBIDDEN },
        { "CA:TRUE as 1", NID_basic_constraints, "\x30\x03\x01\x01\x01", 5,
          CA_FORBIDDEN },
        { "pathLen", NID_basic_constraints, "\x30\x06\x01\x01\xff\x02\x01\x00", 8,
          CA_FORBIDDEN },
        { "pathLen alone", NID_basic_constraints, "\x30\x03\x02\x01\x00", 5,
          CA_FORBIDDEN },
        { "no sequence", NID_basic_constraints, "\x01\x01\xff", 3, CA_MALFORMED },
        { "empty value", NID_basic_constraints, "", 0, CA_MALFORMED },
        { "digitalSignature", NID_key_usage, "\x03\x02\x07\x80", 4, CA_OK },
        { "keyEncipherment", NID_key_usage, "\x03\x02\x05\xa0", 4, CA_OK },
        { "keyCertSign", NID_key_usage, "\x03\x02\x02\x04", 4, CA_FORBIDDEN },
        { "cRLSign", NID_key_usage, "\x03\x02\x01\x02", 4, CA_FORBIDDEN },
        { "both among others", NID_key_usage, "\x03\x02\x01\x86", 4, CA_FORBIDDEN },
        { "decipherOnly", NID_key_usage, "\x03\x03\x07\x08\x80", 5, CA_OK },
        { "no bit string", NID_key_usage, "\x04\x02\x07\x80", 4, CA_MALFORMED },
        { "9 unused bits", NID_key_usage, "\x03\x02\x09\x80", 4, CA_MALFORMED },
        { "EKU", NID_ext_key_usage, "\x30\x06\x06\x04\x55\x1d\x25\x00", 8, CA_OK },
    };
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = pki_ec("P-256");
    for (size_t i = 0; i < COUNT(cases); i++) {
        CA_AUTO(x509_extensions_free) STACK_OF(X509_EXTENSION) *list = NULL;
        pki_extension(&list, cases[i].nid, true, cases[i].value, cases[i].size);
        CA_AUTO(X509_REQ_free) X509_REQ *request = pki_request_start(key, "dev1", list);
        cr_assert(X509_REQ_sign(request, key, EVP_sha256()) > 0);
        CA_AUTO(X509_REQ_free) X509_REQ *again = decoded(request);
        cr_expect_eq(csr_check_extensions(again), cases[i].expected, "%s: %s",
                     cases[i].name, status_message());
    }
    LEAK_CHECK();
}

Test(csr, S3_doubled_and_broken_extension_requests_are_refused)
{
    /* SEQUENCE of two basicConstraints, the first harmless. */
    static const char twice[] =
        "\x30\x18\x30\x09\x06\x03\x55\x1d\x13\x04\x02\x30\x00\x30\x0b"
        "\x06\x03\x55\x1d\x13\x04\x04\x30\x02\x05\x00";
    static const char one[] = "\x30\x0b\x30\x09\x06\x03\x55\x1d\x13\x04\x02\x30\x00";
    struct raw_attribute doubled = { EXTENSIONS, twice, sizeof twice - 1 };
    struct raw_attribute garbage = { EXTENSIONS, "\x30\x03\x02\x01\x05", 5 };
    struct raw_attribute no_list = { EXTENSIONS, "\x04\x00", 2 };
    struct raw_attribute both[] = { { EXTENSIONS, one, sizeof one - 1 },
                                    { MICROSOFT, one, sizeof one - 1 } };
    struct raw_attribute microsoft = { MICROSOFT, one, sizeof one - 1 };
    const struct {
        const char *name;
        const struct raw_attribute *attributes;
        size_t count;
        enum ca_status expected;
    } cases[] = {
        { "doubled", &doubled, 1, CA_MALFORMED },
        { "garbage", &garbage, 1, CA_MALFORMED },
        { "no list", &no_list, 1, CA_MALFORMED },
        { "both attributes", both, 2, CA_MALFORMED },
        { "one", both, 1, CA_OK },
        { "Microsoft's", &microsoft, 1, CA_OK },
        { "none", NULL, 0, CA_OK },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CA_AUTO(X509_REQ_free)
        X509_REQ *request = request_with(cases[i].attributes, cases[i].count);
        cr_assert_not_null(request, "%s: %s", cases[i].name, status_message());
        cr_expect_eq(csr_check_extensions(request), cases[i].expected, "%s: %s",
                     cases[i].name, status_message());
    }
    LEAK_CHECK();
}

Test(csr, R8_extensions_are_counted)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = pki_ec("P-256");
    for (int count = CSR_EXTENSIONS_MAX; count <= CSR_EXTENSIONS_MAX + 1; count++) {
        CA_AUTO(x509_extensions_free) STACK_OF(X509_EXTENSION) *list = NULL;
        for (int i = 0; i < count; i++) {
            char oid[64];
            snprintf(oid, sizeof oid, "1.3.6.1.4.1.99999.%d", i);
            CA_AUTO(ASN1_OBJECT_free) ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
            CA_AUTO(ASN1_OCTET_STRING_free)
            ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
            cr_assert(ASN1_OCTET_STRING_set(value, (const uint8_t *)"\x05\x00", 2));
            if (!list)
                list = sk_X509_EXTENSION_new_null();
            sk_X509_EXTENSION_push(
                list, X509_EXTENSION_create_by_OBJ(NULL, object, 0, value));
        }
        CA_AUTO(X509_REQ_free) X509_REQ *request = pki_request_start(key, "dev1", list);
        cr_assert(X509_REQ_sign(request, key, EVP_sha256()) > 0);
        CA_AUTO(X509_REQ_free) X509_REQ *again = decoded(request);
        cr_expect_eq(csr_check_extensions(again),
                     count <= CSR_EXTENSIONS_MAX ? CA_OK : CA_MALFORMED);
    }
    LEAK_CHECK();
}
