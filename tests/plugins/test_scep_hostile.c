/* SCEP under attack from outside the envelope: nothing is issued, the answer is the
 * agreed one, and a good request still passes afterwards. */
#include "auto.h"
#include "scep.h"
#include "scep_case.h"
#include <openssl/rand.h>

TestSuite(scep_hostile, .init = case_open, .fini = hostile_close);

/* ---- messageType: SECURITY A1 ---- */

Test(scep_hostile, A1_every_other_message_type_is_refused)
{
    struct scep_client_request request = good_request();
    for (int type = 0; type < 256; type++) {
        char text[8];
        snprintf(text, sizeof text, "%d", type);
        if (type == 17 || (type >= 19 && type <= 22))
            continue;
        request.type = text;
        expect_refused(&request, "2", text);
        cr_expect_eq(core.decrypts, 0);
    }
}

Test(scep_hostile, A1_numbers_are_compared_as_text)
{
    static const char *const types[] = { "019",  "+19", "19 ",
                                         " 19",  "",    "19.0",
                                         "0x13", "1",   "99999999999999999999",
                                         "%s%n", "-1",  "PKCSReq" };
    struct scep_client_request request = good_request();
    for (size_t i = 0; i < COUNT(types); i++) {
        request.type = types[i];
        expect_refused(&request, "2", types[i]);
        cr_expect_eq(core.decrypts, 0);
    }
}

Test(scep_hostile, A1_renewal_by_a_self_signed_certificate_is_refused)
{
    struct scep_client_request request = good_request();
    request.type = "17";
    cr_assert_eq(send_request(&request), CA_UNAUTHENTICATED);
    cr_expect(has_fail(&request, "2"));
    cr_expect_eq(core.kind, CA_CREDENTIAL_CERTIFICATE);
    cr_expect_eq(core.enrolls, 0);
}

Test(scep_hostile, A1_queries_that_carry_a_request_issue_nothing)
{
    static const char *const types[] = { "20", "21", "22" };
    struct scep_client_request request = good_request();
    json_object_set_new(core.settings, "get_crl", json_true());
    for (size_t i = 0; i < COUNT(types); i++) {
        request.type = types[i];
        expect_refused(&request, "4", types[i]);
    }
}

/* ---- attributes ---- */

static void
swap(STACK_OF(X509_ATTRIBUTE) *attributes, int arc, int type, const void *value,
     int size)
{
    scep_attribute_remove(attributes, arc);
    scep_attribute_add(attributes, arc, type, value, size);
}

#define BEND(name, ...)                                                                \
    static void name(STACK_OF(X509_ATTRIBUTE) *attributes, void *arg)                  \
    {                                                                                  \
        (void)arg;                                                                     \
        __VA_ARGS__;                                                                   \
    }

static char many[100000];

static void
second_value(STACK_OF(X509_ATTRIBUTE) *attributes, int arc, int type, const char *value)
{
    scep_attribute_add(attributes, arc, type, value, -1);
    X509_ATTRIBUTE *extra = sk_X509_ATTRIBUTE_pop(attributes);
    for (int i = 0; i < sk_X509_ATTRIBUTE_num(attributes); i++) {
        X509_ATTRIBUTE *attribute = sk_X509_ATTRIBUTE_value(attributes, i);
        if (OBJ_cmp(X509_ATTRIBUTE_get0_object(attribute),
                    X509_ATTRIBUTE_get0_object(extra)) == 0)
            X509_ATTRIBUTE_set1_data(attribute, type, value, -1);
    }
    X509_ATTRIBUTE_free(extra);
}

BEND(type_missing, scep_attribute_remove(attributes, SCEP_MESSAGE_TYPE))
BEND(type_doubled,
     scep_attribute_add(attributes, SCEP_MESSAGE_TYPE, V_ASN1_PRINTABLESTRING, "19", 2))
BEND(type_integer, swap(attributes, SCEP_MESSAGE_TYPE, V_ASN1_INTEGER, "\x13", 1))
BEND(type_utf8, swap(attributes, SCEP_MESSAGE_TYPE, V_ASN1_UTF8STRING, "19", 2))
BEND(type_two_values,
     second_value(attributes, SCEP_MESSAGE_TYPE, V_ASN1_PRINTABLESTRING, "17"))
BEND(transaction_missing, scep_attribute_remove(attributes, SCEP_TRANSACTION))
BEND(transaction_empty,
     swap(attributes, SCEP_TRANSACTION, V_ASN1_PRINTABLESTRING, "", 0))
BEND(transaction_256,
     swap(attributes, SCEP_TRANSACTION, V_ASN1_PRINTABLESTRING, many, 256))
BEND(transaction_long,
     swap(attributes, SCEP_TRANSACTION, V_ASN1_PRINTABLESTRING, many, 50000))
BEND(transaction_control,
     swap(attributes, SCEP_TRANSACTION, V_ASN1_PRINTABLESTRING, "a\nb", 3))
BEND(transaction_nul,
     swap(attributes, SCEP_TRANSACTION, V_ASN1_PRINTABLESTRING, "a\0b", 3))
BEND(transaction_high,
     swap(attributes, SCEP_TRANSACTION, V_ASN1_PRINTABLESTRING, "a\xff", 2))
BEND(transaction_octets,
     swap(attributes, SCEP_TRANSACTION, V_ASN1_OCTET_STRING, "a", 1))
BEND(transaction_two_values,
     second_value(attributes, SCEP_TRANSACTION, V_ASN1_PRINTABLESTRING, "b"))
BEND(nonce_missing, scep_attribute_remove(attributes, SCEP_SENDER_NONCE))
BEND(nonce_empty, swap(attributes, SCEP_SENDER_NONCE, V_ASN1_OCTET_STRING, "", 0))
BEND(nonce_8, swap(attributes, SCEP_SENDER_NONCE, V_ASN1_OCTET_STRING, many, 8))
BEND(nonce_17, swap(attributes, SCEP_SENDER_NONCE, V_ASN1_OCTET_STRING, many, 17))
BEND(nonce_4096, swap(attributes, SCEP_SENDER_NONCE, V_ASN1_OCTET_STRING, many, 4096))
BEND(nonce_doubled,
     scep_attribute_add(attributes, SCEP_SENDER_NONCE, V_ASN1_OCTET_STRING, many, 16))
BEND(too_many, for (int i = 20; i < 60; i++)
                   scep_attribute_add(attributes, i, V_ASN1_OCTET_STRING, "x", 1))
BEND(content_type_missing, X509_ATTRIBUTE_free(sk_X509_ATTRIBUTE_delete(attributes, 0)))
BEND(digest_missing, X509_ATTRIBUTE_free(sk_X509_ATTRIBUTE_delete(attributes, 1)))

Test(scep_hostile, attributes_are_there_once_and_of_their_type)
{
    static const struct {
        const char *name;
        void (*bend)(STACK_OF(X509_ATTRIBUTE) *, void *);
    } cases[] = {
        { "messageType missing", type_missing },
        { "messageType twice", type_doubled },
        { "messageType as INTEGER", type_integer },
        { "messageType as UTF8String", type_utf8 },
        { "messageType with two values", type_two_values },
        { "transactionID missing", transaction_missing },
        { "transactionID empty", transaction_empty },
        { "transactionID of 256", transaction_256 },
        { "transactionID of 50,000", transaction_long },
        { "transactionID with a line break", transaction_control },
        { "transactionID with NUL", transaction_nul },
        { "transactionID beyond ASCII", transaction_high },
        { "transactionID as OCTET STRING", transaction_octets },
        { "transactionID with two values", transaction_two_values },
        { "senderNonce missing", nonce_missing },
        { "senderNonce empty", nonce_empty },
        { "senderNonce of 8", nonce_8 },
        { "senderNonce of 17", nonce_17 },
        { "senderNonce of 4096", nonce_4096 },
        { "senderNonce twice", nonce_doubled },
        { "45 attributes", too_many },
        { "contentType missing", content_type_missing },
        { "messageDigest missing", digest_missing },
    };
    memset(many, 'a', sizeof many);
    struct scep_client_request request = good_request();
    for (size_t i = 0; i < COUNT(cases); i++) {
        request.bend_attributes = cases[i].bend;
        expect_refused(&request, "400", cases[i].name);
    }
}

Test(scep_hostile, R7_transaction_is_returned_exactly)
{
    static const char sql[] = "'; DROP TABLE certificates; --%s%n<b>\\";
    char longest[256];
    memset(longest, 'x', 255);
    longest[255] = '\0';
    const char *const cases[] = { sql, longest, "0" };
    struct scep_client_request request = good_request();
    for (size_t i = 0; i < COUNT(cases); i++) {
        request.transaction = cases[i];
        cr_assert_eq(send_request(&request), CA_OK);
        struct scep_reply reply = read_reply(&request, 0);
        cr_expect_str_eq(reply.transaction, cases[i]);
        scep_reply_clear(&reply);
    }
}

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

/* ---- the outer SignedData ---- */

static PKCS7_SIGNER_INFO *
info_of(PKCS7_SIGNED *data)
{
    return sk_PKCS7_SIGNER_INFO_value(data->signer_info, 0);
}

static void
flip(ASN1_OCTET_STRING *string, int at)
{
    int size = ASN1_STRING_length(string);
    uint8_t *copy = malloc((size_t)size);
    memcpy(copy, ASN1_STRING_get0_data(string), (size_t)size);
    copy[at < 0 ? size + at : at] ^= 1;
    ASN1_OCTET_STRING_set(string, copy, size);
    free(copy);
}

static void
signer_twice(PKCS7 *message)
{
    PKCS7_SIGNER_INFO *info = info_of(message->d.sign);
    uint8_t *der = NULL;
    int size = i2d_PKCS7_SIGNER_INFO(info, &der);
    const uint8_t *at = der;
    sk_PKCS7_SIGNER_INFO_push(message->d.sign->signer_info,
                              d2i_PKCS7_SIGNER_INFO(NULL, &at, size));
    OPENSSL_free(der);
}

static void
attributes_drop(PKCS7_SIGNER_INFO *info, bool keep_unsigned)
{
    if (keep_unsigned)
        info->unauth_attr = info->auth_attr;
    else
        sk_X509_ATTRIBUTE_pop_free(info->auth_attr, X509_ATTRIBUTE_free);
    info->auth_attr = NULL;
}

static void
content_drop(PKCS7_SIGNED *data)
{
    ASN1_OCTET_STRING_free(data->contents->d.data);
    data->contents->d.data = NULL;
}

static void
digest_rename(PKCS7_SIGNED *data, int nid)
{
    ASN1_OBJECT_free(info_of(data)->digest_alg->algorithm);
    info_of(data)->digest_alg->algorithm = OBJ_nid2obj(nid);
}

static void
signature_rename(PKCS7_SIGNED *data, int nid)
{
    ASN1_OBJECT_free(info_of(data)->digest_enc_alg->algorithm);
    info_of(data)->digest_enc_alg->algorithm = OBJ_nid2obj(nid);
}

static X509 *other;

/* Another key under the signer's name and serial number. */
static void
bag_confuse(PKCS7 *message)
{
    X509 *twin = X509_dup(device);
    X509_set_pubkey(twin, other_key);
    X509_sign(twin, other_key, EVP_sha256());
    PKCS7_add_certificate(message, twin);
    X509_free(twin);
}

BEND_SIGNED(signature_broken, flip(info_of(data)->enc_digest, 7))
BEND_SIGNED(signature_short,
            ASN1_OCTET_STRING_set(info_of(data)->enc_digest, (const uint8_t *)"abc", 3))
BEND_SIGNED(content_changed, flip(data->contents->d.data, -1))
BEND_SIGNED(certificate_missing, X509_free(sk_X509_pop(data->cert)))
BEND_SIGNED(certificate_other, X509_free(sk_X509_pop(data->cert));
            PKCS7_add_certificate(message, other))
BEND_SIGNED(two_signers, signer_twice(message))
BEND_SIGNED(no_signer,
            PKCS7_SIGNER_INFO_free(sk_PKCS7_SIGNER_INFO_pop(data->signer_info)))
BEND_SIGNED(no_attributes, attributes_drop(info_of(data), false))
BEND_SIGNED(unsigned_attributes, attributes_drop(info_of(data), true))
BEND_SIGNED(detached, content_drop(data))
BEND_SIGNED(digest_unknown, digest_rename(data, NID_sha3_256))
BEND_SIGNED(digest_other, digest_rename(data, NID_sha512))
BEND_SIGNED(signature_ecdsa, signature_rename(data, NID_ecdsa_with_SHA256))
BEND_SIGNED(signature_other_hash, signature_rename(data, NID_sha1WithRSAEncryption))
BEND_SIGNED(signer_version_3, ASN1_INTEGER_set(info_of(data)->version, 3))
BEND_SIGNED(nine_certificates, bag_fill(message, 8))
BEND_SIGNED(twin_certificate, bag_confuse(message))

Test(scep_hostile, what_nobody_signed_is_400_without_a_token_operation)
{
    static const struct {
        const char *name;
        void (*bend)(PKCS7 *, void *);
    } cases[] = {
        { "signature broken", signature_broken },
        { "signature of three octets", signature_short },
        { "content changed", content_changed },
        { "signer certificate missing", certificate_missing },
        { "another's certificate", certificate_other },
        { "two SignerInfos", two_signers },
        { "no SignerInfo", no_signer },
        { "no signed attributes", no_attributes },
        { "attributes unsigned", unsigned_attributes },
        { "detached content", detached },
        { "unknown digest", digest_unknown },
        { "another digest than signed", digest_other },
        { "ECDSA as signature algorithm", signature_ecdsa },
        { "another hash in the signature algorithm", signature_other_hash },
        { "SignerInfo of version 3", signer_version_3 },
        { "nine certificates", nine_certificates },
        { "two certificates that fit the signer", twin_certificate },
    };
    other_key = EVP_RSA_gen(2048);
    other = scep_self_signed(other_key, "other", NULL);
    struct scep_client_request request = good_request();
    for (size_t i = 0; i < COUNT(cases); i++) {
        request.bend_signed = cases[i].bend;
        expect_refused(&request, "400", cases[i].name);
    }
    X509_free(other);
    EVP_PKEY_free(other_key);
}

BEND_SIGNED(signature_full_name, signature_rename(data, NID_sha256WithRSAEncryption))

Test(scep_hostile, both_names_of_the_rsa_signature_are_taken)
{
    struct scep_client_request request = good_request();
    request.bend_signed = signature_full_name;
    cr_assert_eq(send_request(&request), CA_OK);
}

Test(scep_hostile, other_kinds_of_cms_are_400)
{
    struct scep_client_request request = good_request();
    size_t size;
    CA_AUTO(free) uint8_t *der = scep_client_build(&request, &size);
    const uint8_t *at = der;
    PKCS7 *message = d2i_PKCS7(NULL, &at, (long)size);
    const ASN1_OCTET_STRING *envelope = message->d.sign->contents->d.data;
    cr_expect_eq(
        post(ASN1_STRING_get0_data(envelope), (size_t)ASN1_STRING_length(envelope)),
        CA_MALFORMED, "the envelope alone");
    cr_expect_eq(core.decrypts, 0);
    PKCS7_free(message);
    cr_expect_eq(post(csr, csr_size), CA_MALFORMED, "a PKCS#10");
    plugin_call("GET", "/default", "operation=GetCACert", NULL, 0);
    size_t bag_size = core.size;
    CA_AUTO(free) uint8_t *bag = malloc(bag_size);
    memcpy(bag, core.body, bag_size);
    cr_expect_eq(post(bag, bag_size), CA_MALFORMED, "certs-only");
    cr_expect_eq(post("", 0), CA_MALFORMED, "nothing");
}

static EVP_PKEY *bystander_key;

BEND_SIGNED(bystanders, X509 *rsa = scep_self_signed(other_key, "rsa", NULL);
            X509 *ec = scep_self_signed(bystander_key, "ec", NULL);
            sk_X509_unshift(data->cert, rsa); PKCS7_add_certificate(message, ec);
            X509_free(ec))

Test(scep_hostile, bystanders_in_the_bag_cannot_read_the_answer)
{
    other_key = EVP_RSA_gen(2048);
    bystander_key = EVP_EC_gen("P-256");
    struct scep_client_request request = good_request();
    request.bend_signed = bystanders;
    cr_assert_eq(send_request(&request), CA_OK);
    struct scep_reply reply = read_reply(&request, 0);
    cr_expect_eq(reply.recipients, 1);
    scep_reply_clear(&reply);
    EVP_PKEY_free(other_key);
    EVP_PKEY_free(bystander_key);
}

Test(scep_hostile, R1_digests_that_are_not_allowed_are_badAlg)
{
    const EVP_MD *digests[] = { EVP_md5(), EVP_sha1(), EVP_sha224() };
    struct scep_client_request request = good_request();
    for (size_t i = 0; i < COUNT(digests); i++) {
        request.digest = digests[i];
        expect_refused(&request, "0", EVP_MD_get0_name(digests[i]));
        struct scep_reply reply = read_reply(&request, 0);
        cr_expect_eq(reply.digest, NID_sha256);
        scep_reply_clear(&reply);
        cr_expect_eq(core.decrypts, 0);
    }
    request.bend_signed = signature_broken;
    request.digest = EVP_md5();
    expect_refused(&request, "400", "MD5 with a broken signature");
}
