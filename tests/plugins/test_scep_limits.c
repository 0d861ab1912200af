/* SCEP under attack by sizes: huge keys, cut, changed and nested messages. */
#include "auto.h"
#include "scep.h"
#include "scep_case.h"
#include <openssl/rand.h>

TestSuite(scep_limits, .init = case_open, .fini = hostile_close);

static const uint8_t zeros[600];

static EVP_PKEY *other_key;

static void
bag_fill(PKCS7 *message, int count)
{
    for (int i = 0; i < count; i++) {
        X509 *certificate = scep_self_signed(other_key, "bystander", NULL);
        PKCS7_add_certificate(message, certificate);
        X509_free(certificate);
    }
}

/* ---- keys of the signer ---- */

static void
key_case(EVP_PKEY *key, const char *wanted, const char *name)
{
    CA_AUTO(X509_free) X509 *certificate = scep_self_signed(key, "device", NULL);
    struct scep_client_request request = good_request();
    request.key = key;
    request.certificate = certificate;
    expect_refused(&request, wanted, name);
    cr_expect_eq(core.decrypts, 0, "%s", name);
}

Test(scep_limits, R2_signer_keys_out_of_range_are_refused_early)
{
    static const struct {
        unsigned bits;
        const char *wanted;
    } cases[] = { { 512, "400" }, { 1024, "2" }, { 1536, "2" } };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_RSA_gen(cases[i].bits);
        char name[16];
        snprintf(name, sizeof name, "RSA-%u", cases[i].bits);
        if (cases[i].bits >= 1024)
            key_case(key, cases[i].wanted, name);
    }
}

static void
number_put(struct asn1_writer *writer, int bits)
{
    BIGNUM *number = BN_new();
    BN_rand(number, bits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD);
    uint8_t *der = NULL;
    ASN1_INTEGER *integer = BN_to_ASN1_INTEGER(number, NULL);
    int size = i2d_ASN1_INTEGER(integer, &der);
    asn1_put_raw(writer, (struct ca_bytes){ der, (size_t)size });
    OPENSSL_free(der);
    ASN1_INTEGER_free(integer);
    BN_free(number);
}

static void
spki_put(struct asn1_writer *writer, int modulus_bits, int exponent_bits)
{
    static const struct ca_bytes rsa = { (const uint8_t *)"\x2a\x86\x48\x86\xf7\x0d"
                                                          "\x01\x01\x01",
                                         9 };
    size_t spki = asn1_open(writer, DER_SEQUENCE);
    asn1_put_algorithm(writer, rsa);
    size_t bits = asn1_open(writer, DER_BIT_STRING);
    asn1_put_raw(writer, (struct ca_bytes){ zeros, 1 });
    size_t key = asn1_open(writer, DER_SEQUENCE);
    number_put(writer, modulus_bits);
    number_put(writer, exponent_bits);
    asn1_close(writer, key);
    asn1_close(writer, bits);
    asn1_close(writer, spki);
}

/* A certificate with a key that is only claimed: none such needs to exist. */
static X509 *
claimed_certificate(X509 *like, int modulus_bits, int exponent_bits)
{
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    CA_AUTO(asn1_writer_clear) struct asn1_writer writer = { 0 };
    int size = i2d_X509(like, &der);
    struct ca_bytes from = { der, (size_t)size }, certificate, tbs, part;
    cr_assert(asn1_take(&from, DER_SEQUENCE, &certificate));
    cr_assert(asn1_take(&certificate, DER_SEQUENCE, &tbs));
    size_t outer = asn1_open(&writer, DER_SEQUENCE);
    size_t inner = asn1_open(&writer, DER_SEQUENCE);
    for (int i = 0; i < 6; i++) {
        cr_assert(asn1_take_any(&tbs, NULL, NULL, &part));
        asn1_put_raw(&writer, part);
    }
    spki_put(&writer, modulus_bits, exponent_bits);
    asn1_close(&writer, inner);
    asn1_put_raw(&writer, certificate);
    asn1_close(&writer, outer);
    const uint8_t *at = writer.data;
    X509 *claim = d2i_X509(NULL, &at, (long)writer.size);
    cr_assert_not_null(claim);
    return claim;
}

static X509 *claimed;
BEND_SIGNED(claimed_signer, X509_free(sk_X509_pop(data->cert));
            PKCS7_add_certificate(message, claimed))
BEND_SIGNED(claimed_bystander, PKCS7_add_certificate(message, claimed))

Test(scep_limits, R8_huge_keys_cost_no_operation)
{
    static const struct {
        const char *name;
        int modulus, exponent;
    } cases[] = {
        { "RSA-16384", 16384, 17 },
        { "RSA-4104", 4104, 17 },
        { "huge exponent", 2048, 2048 },
        { "exponent of 64 bits", 2048, 64 },
    };
    struct scep_client_request request = good_request();
    for (size_t i = 0; i < COUNT(cases); i++) {
        claimed = claimed_certificate(device, cases[i].modulus, cases[i].exponent);
        double start = seconds();
        request.bend_signed = claimed_signer;
        expect_refused(&request, "400", cases[i].name);
        X509_free(claimed);
        /* Another's issuer and serial number: nobody takes it for the signer's. */
        claimed = claimed_certificate(core.issuer, cases[i].modulus, cases[i].exponent);
        request.bend_signed = claimed_bystander;
        if (cases[i].modulus > 4096)
            expect_refused(&request, "400", cases[i].name);
        cr_expect_lt(seconds() - start, 2.0, "%s", cases[i].name);
        X509_free(claimed);
    }
}

/* ---- bytes ---- */

Test(scep_limits, R8_cut_messages_are_400)
{
    struct scep_client_request request = good_request();
    size_t size;
    CA_AUTO(free) uint8_t *der = scep_client_build(&request, &size);
    for (size_t cut = 0; cut < size; cut += cut < 200 || cut > size - 200 ? 1 : 13) {
        CA_AUTO(free) uint8_t *part = malloc(cut + 1);
        memcpy(part, der, cut);
        cr_expect_eq(post(part, cut), CA_MALFORMED, "cut at %zu", cut);
        cr_expect_eq(core.decrypts, 0);
    }
}

Test(scep_limits, mutations_issue_at_most_what_was_asked_for)
{
    struct scep_client_request request = good_request();
    size_t size;
    CA_AUTO(free) uint8_t *der = scep_client_build(&request, &size);
    int issued = 0;
    for (size_t at = 0; at < size; at += 3) {
        CA_AUTO(free) uint8_t *copy = malloc(size);
        memcpy(copy, der, size);
        copy[at] ^= (uint8_t)(1 << at % 8);
        enum ca_status status = post(copy, size);
        cr_expect(status == CA_OK || status == CA_MALFORMED || status == CA_FORBIDDEN,
                  "octet %zu: %s", at, ca_status_name(status));
        issued += status == CA_OK;
    }
    /* Outside of what is signed lies the signer's certificate but for its key: a fifth
     * of the message, of which every third octet was changed. */
    cr_expect_lt(issued, (int)size / 3 / 4, "%d of %zu", issued, size / 3);
}

Test(scep_limits, R8_nested_and_oversized_elements)
{
    size_t size = SCEP_BODY_MAX;
    CA_AUTO(free) uint8_t *body = malloc(size + 1);
    static const uint8_t tags[] = { 0x30, 0x24, 0x31, 0xa0 };
    for (size_t t = 0; t < COUNT(tags); t++) {
        for (size_t i = 0; i < size; i += 2) {
            body[i] = tags[t];
            body[i + 1] = 0x80;
        }
        double start = seconds();
        cr_expect_eq(post(body, size), CA_MALFORMED);
        cr_expect_lt(seconds() - start, 2.0);
    }
    memset(body, 0, size + 1);
    cr_expect_eq(post(body, size), CA_MALFORMED, "zeros");
    cr_expect_eq(post(body, size + 1), CA_LIMIT, "one too many");
    static const char *const lengths[] = { "\x30\x84\x80\x00\x00\x00",
                                           "\x30\x85\x01\x00\x00\x00\x00",
                                           "\x30\x88\x80\x00\x00\x00\x00\x00\x00\x00" };
    static const size_t sizes[] = { 6, 7, 10 };
    for (size_t i = 0; i < COUNT(lengths); i++)
        cr_expect_eq(post(lengths[i], sizes[i]), CA_MALFORMED);
}

/* An accepted bag may be as large as the body allows. */
BEND_SIGNED(eight_certificates, bag_fill(message, 7))

Test(scep_limits, eight_certificates_are_taken)
{
    other_key = EVP_RSA_gen(2048);
    struct scep_client_request request = good_request();
    request.bend_signed = eight_certificates;
    cr_assert_eq(send_request(&request), CA_OK);
    EVP_PKEY_free(other_key);
}
