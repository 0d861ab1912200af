/* DER in slices, BER made DER, the writer, and the pieces of CMS. */
#include "auto.h"
#include "cms.h"
#include "leak.h"
#include <criterion/criterion.h>
#include <openssl/rsa.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])
#define BYTES(text) ((struct ca_bytes){ (const uint8_t *)(text), sizeof(text) - 1 })

Test(asn1, elements_are_taken_one_by_one)
{
    struct ca_bytes from = BYTES("\x02\x01\x05\x04\x02"
                                 "ab\x30\x00");
    struct ca_bytes content, whole;
    cr_assert(!asn1_take(&from, DER_OCTET_STRING, &content));
    cr_assert(asn1_take_small(&from, 5));
    cr_assert(asn1_take(&from, DER_OCTET_STRING, &content));
    cr_assert(asn1_equal(content, BYTES("ab")));
    cr_assert(asn1_next_is(from, DER_SEQUENCE));
    cr_assert(asn1_take_whole(&from, DER_SEQUENCE, &whole));
    cr_assert(asn1_equal(whole, BYTES("\x30\x00")));
    cr_assert_eq(from.size, 0);
    cr_assert(!asn1_take_any(&from, NULL, NULL, NULL));
}

Test(asn1, S3_what_is_not_der_is_refused)
{
    static const struct {
        const char *name;
        struct ca_bytes octets;
    } cases[] = {
        { "tag alone", { (const uint8_t *)"\x30", 1 } },
        { "cut content", { (const uint8_t *)"\x30\x02\x00", 3 } },
        { "indefinite", { (const uint8_t *)"\x30\x80\x00\x00", 4 } },
        { "long form of a short length", { (const uint8_t *)"\x04\x81\x01\x00", 4 } },
        { "leading zero length", { (const uint8_t *)"\x04\x82\x00\x81", 4 } },
        { "length cut", { (const uint8_t *)"\x04\x82\x01", 3 } },
        { "length of five octets",
          { (const uint8_t *)"\x04\x85\x01\x00\x00\x00\x00", 7 } },
        { "length 2^32-1", { (const uint8_t *)"\x04\x84\xff\xff\xff\xff", 6 } },
        { "long tag", { (const uint8_t *)"\x1f\x01\x00", 3 } },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ca_bytes from = cases[i].octets;
        cr_expect(!asn1_take_any(&from, NULL, NULL, NULL), "%s", cases[i].name);
        cr_expect(asn1_equal(from, cases[i].octets), "%s takes nothing", cases[i].name);
    }
}

Test(asn1, integers)
{
    struct ca_bytes octets, from = BYTES("\x02\x02\x00\x80");
    cr_assert(asn1_take_unsigned(&from, &octets) && octets.size == 1);
    from = BYTES("\x02\x01\x00");
    cr_assert(asn1_take_unsigned(&from, &octets) && octets.size == 1);
    static const struct ca_bytes bad[] = { { (const uint8_t *)"\x02\x00", 2 },
                                           { (const uint8_t *)"\x02\x01\x80", 3 },
                                           { (const uint8_t *)"\x02\x02\x00\x7f", 4 },
                                           { (const uint8_t *)"\x04\x01\x01", 3 } };
    for (size_t i = 0; i < COUNT(bad); i++) {
        from = bad[i];
        cr_expect(!asn1_take_unsigned(&from, &octets), "%zu", i);
    }
    from = BYTES("\x02\x01\x01");
    cr_expect(!asn1_take_small(&from, 2));
    cr_expect_eq(from.size, 3);
}

Test(asn1, algorithms)
{
    struct ca_bytes oid, parameters, from = BYTES("\x30\x05\x06\x01\x2a\x05\x00");
    cr_assert(asn1_take_algorithm(&from, &oid, &parameters));
    cr_assert(asn1_equal(oid, BYTES("\x2a")) && parameters.size == 2);
    from = BYTES("\x30\x03\x06\x01\x2a");
    cr_assert(asn1_take_algorithm(&from, &oid, &parameters) && parameters.size == 0);
    from = BYTES("\x30\x07\x06\x01\x2a\x05\x00\x05\x00");
    cr_assert(!asn1_take_algorithm(&from, &oid, &parameters), "two parameters");
}

Test(asn1, writer_writes_every_length)
{
    static const size_t sizes[] = { 0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x10000 };
    uint8_t *content = calloc(1, 0x10000);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        CA_AUTO(asn1_writer_clear) struct asn1_writer writer = { 0 };
        size_t outer = asn1_open(&writer, DER_SEQUENCE);
        asn1_put(&writer, DER_OCTET_STRING, content, sizes[i]);
        asn1_close(&writer, outer);
        struct ca_bytes from = asn1_written(&writer), inside, back;
        cr_assert(asn1_take(&from, DER_SEQUENCE, &inside) && from.size == 0);
        cr_assert(asn1_take(&inside, DER_OCTET_STRING, &back) && inside.size == 0);
        cr_assert_eq(back.size, sizes[i]);
    }
    free(content);
    struct asn1_writer failed = { .failed = true };
    asn1_put(&failed, DER_OCTET_STRING, "a", 1);
    cr_assert(asn1_written(&failed).data == NULL && failed.size == 0);
    LEAK_CHECK();
}

Test(asn1, ber_becomes_der)
{
    static const struct {
        const char *name;
        struct ca_bytes ber, der;
    } cases[] = {
        { "der",
          { (const uint8_t *)"\x30\x03\x02\x01\x05", 5 },
          { (const uint8_t *)"\x30\x03\x02\x01\x05", 5 } },
        { "indefinite",
          { (const uint8_t *)"\x30\x80\x02\x01\x05\x00\x00", 7 },
          { (const uint8_t *)"\x30\x03\x02\x01\x05", 5 } },
        { "long length",
          { (const uint8_t *)"\x30\x84\x00\x00\x00\x03\x02\x01\x05", 9 },
          { (const uint8_t *)"\x30\x03\x02\x01\x05", 5 } },
        { "string in parts",
          { (const uint8_t *)"\x24\x80\x04\x01"
                             "a\x24\x80\x04\x02"
                             "bc\x00\x00\x04\x00\x00\x00",
            17 },
          { (const uint8_t *)"\x04\x03"
                             "abc",
            5 } },
        { "implicit string in parts",
          { (const uint8_t *)"\xa0\x80\x04\x01"
                             "a\x24\x80\x04\x01"
                             "b\x00\x00\x00\x00",
            14 },
          { (const uint8_t *)"\xa0\x06\x04\x01"
                             "a\x04\x01"
                             "b",
            8 } },
        { "long tag",
          { (const uint8_t *)"\xbf\x81\x01\x80\x05\x00\x00\x00", 8 },
          { (const uint8_t *)"\xbf\x81\x01\x02\x05\x00", 6 } },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CA_AUTO(asn1_writer_clear) struct asn1_writer writer = { 0 };
        struct ca_bytes from = cases[i].ber;
        cr_expect(asn1_from_ber(&from, &writer), "%s", cases[i].name);
        cr_expect_eq(from.size, 0, "%s", cases[i].name);
        cr_expect(asn1_equal(asn1_written(&writer), cases[i].der), "%s", cases[i].name);
        bool was_der = asn1_equal(cases[i].ber, cases[i].der);
        cr_expect_eq(asn1_der_size(cases[i].ber), was_der ? cases[i].ber.size : 0, "%s",
                     cases[i].name);
        cr_expect_eq(asn1_der_size(cases[i].der), cases[i].der.size, "%s",
                     cases[i].name);
    }
    LEAK_CHECK();
}

Test(asn1, R8_bad_ber_is_refused)
{
    static const struct {
        const char *name;
        struct ca_bytes ber;
    } cases[] = {
        { "nothing", { (const uint8_t *)"", 0 } },
        { "no end", { (const uint8_t *)"\x30\x80\x02\x01\x05", 5 } },
        { "end cut", { (const uint8_t *)"\x30\x80\x02\x01\x05\x00", 6 } },
        { "end alone", { (const uint8_t *)"\x00\x00", 2 } },
        { "primitive without end", { (const uint8_t *)"\x04\x80\x00\x00", 4 } },
        { "reserved length", { (const uint8_t *)"\x04\xff\x00", 3 } },
        { "2^31", { (const uint8_t *)"\x30\x84\x80\x00\x00\x00", 6 } },
        { "2^32", { (const uint8_t *)"\x30\x85\x01\x00\x00\x00\x00", 7 } },
        { "2^63", { (const uint8_t *)"\x30\x88\x80\x00\x00\x00\x00\x00\x00\x00", 10 } },
        { "part of another type",
          { (const uint8_t *)"\x24\x80\x02\x01\x05\x00\x00", 7 } },
        { "endless tag", { (const uint8_t *)"\x3f\xff\xff\xff\xff\xff\x01\x00", 8 } },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CA_AUTO(asn1_writer_clear) struct asn1_writer writer = { 0 };
        struct ca_bytes from = cases[i].ber;
        cr_expect(!asn1_from_ber(&from, &writer), "%s", cases[i].name);
        cr_expect_eq(asn1_der_size(cases[i].ber), 0, "%s", cases[i].name);
    }
}

Test(asn1, R8_nesting_is_bounded)
{
    static const uint8_t tags[] = { 0x30, 0x24 };
    size_t size = 200000;
    uint8_t *deep = malloc(size);
    for (size_t t = 0; t < COUNT(tags); t++) {
        for (size_t i = 0; i < size; i += 2) {
            deep[i] = tags[t];
            deep[i + 1] = 0x80;
        }
        CA_AUTO(asn1_writer_clear) struct asn1_writer writer = { 0 };
        struct ca_bytes from = { deep, size };
        cr_expect(!asn1_from_ber(&from, &writer));
    }
    free(deep);
}

Test(asn1, certificates_in_slices)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_RSA_gen(2048);
    CA_AUTO(X509_free) X509 *certificate = X509_new();
    X509_NAME *name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)"a",
                               -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 77);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 100);
    X509_set_pubkey(certificate, key);
    X509_sign(certificate, key, EVP_sha256());
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    int size = i2d_X509(certificate, &der);
    struct ca_bytes from = { der, (size_t)size }, modulus, exponent, oid;
    struct cms_certificate parts;
    cr_assert(cms_take_certificate(&from, &parts) && from.size == 0);
    cr_expect(asn1_equal(parts.issuer, parts.subject));
    cr_expect(asn1_equal(parts.serial, BYTES("\x4d")));
    cr_assert(cms_spki_rsa(parts.spki, &modulus, &exponent));
    cr_expect_eq(cms_bits(modulus), 2048);
    cr_expect(asn1_equal(exponent, BYTES("\x01\x00\x01")));
    cr_expect_eq(cms_bits(exponent), 17);
    cr_expect(cms_spki_algorithm(parts.spki, &oid));
    for (int cut = 0; cut < size; cut++) {
        from = (struct ca_bytes){ der, (size_t)cut };
        cr_expect(!cms_take_certificate(&from, &parts), "cut at %d", cut);
    }
}

Test(asn1, names_compare_as_names)
{
    CA_AUTO(X509_NAME_free) X509_NAME *a = X509_NAME_new(), *b = X509_NAME_new();
    X509_NAME_add_entry_by_txt(a, "CN", V_ASN1_PRINTABLESTRING,
                               (const unsigned char *)"Issuing CA", -1, -1, 0);
    X509_NAME_add_entry_by_txt(b, "CN", V_ASN1_UTF8STRING,
                               (const unsigned char *)"issuing  ca", -1, -1, 0);
    const uint8_t *first, *second;
    size_t first_size, second_size;
    X509_NAME_get0_der(a, &first, &first_size);
    X509_NAME_get0_der(b, &second, &second_size);
    struct ca_bytes one = { first, first_size }, two = { second, second_size };
    cr_expect(cms_names_equal(one, one));
    cr_expect(cms_names_equal(one, two));
    cr_expect(!cms_names_equal(one, BYTES("\x30\x00")));
    cr_expect(!cms_names_equal(one, BYTES("junk")));
}
