/* SCEP under attack through the envelope: recipients, ciphers, the oracle, possession.
 */
#include "auto.h"
#include "scep.h"
#include "scep_case.h"
#include <openssl/rand.h>

TestSuite(scep_content, .init = case_open, .fini = hostile_close);

static const uint8_t zeros[600];

/* ---- the envelope ---- */

static void
recipient_add(PKCS7 *envelope, int count)
{
    PKCS7_RECIP_INFO *first =
        sk_PKCS7_RECIP_INFO_value(envelope->d.enveloped->recipientinfo, 0);
    for (int i = 0; i < count; i++) {
        uint8_t *der = NULL;
        int size = i2d_PKCS7_RECIP_INFO(first, &der);
        const uint8_t *at = der;
        PKCS7_RECIP_INFO *info = d2i_PKCS7_RECIP_INFO(NULL, &at, size);
        ASN1_INTEGER_set(info->issuer_and_serial->serial, i + 1);
        sk_PKCS7_RECIP_INFO_push(envelope->d.enveloped->recipientinfo, info);
        OPENSSL_free(der);
    }
}

static void
recipient_double(PKCS7 *envelope)
{
    PKCS7_RECIP_INFO *first =
        sk_PKCS7_RECIP_INFO_value(envelope->d.enveloped->recipientinfo, 0);
    uint8_t *der = NULL;
    int size = i2d_PKCS7_RECIP_INFO(first, &der);
    const uint8_t *at = der;
    sk_PKCS7_RECIP_INFO_push(envelope->d.enveloped->recipientinfo,
                             d2i_PKCS7_RECIP_INFO(NULL, &at, size));
    OPENSSL_free(der);
}

static void
cipher_rename(PKCS7_ENC_CONTENT *content, int nid)
{
    ASN1_OBJECT_free(content->algorithm->algorithm);
    content->algorithm->algorithm = OBJ_nid2obj(nid);
}

static void
transport_rename(PKCS7_RECIP_INFO *info, int nid)
{
    ASN1_OBJECT_free(info->key_enc_algor->algorithm);
    info->key_enc_algor->algorithm = OBJ_nid2obj(nid);
}

#define BEND_ENVELOPE(name, ...)                                                       \
    static void name(PKCS7 *envelope, void *arg)                                       \
    {                                                                                  \
        (void)arg;                                                                     \
        PKCS7_ENVELOPE *data = envelope->d.enveloped;                                  \
        PKCS7_RECIP_INFO *info = sk_PKCS7_RECIP_INFO_value(data->recipientinfo, 0);    \
        (void)info;                                                                    \
        __VA_ARGS__;                                                                   \
    }

static const uint8_t ones[256] = { [0 ... 255] = 0xff };

BEND_ENVELOPE(recipient_other, ASN1_INTEGER_set(info->issuer_and_serial->serial, 12345))
BEND_ENVELOPE(recipient_other_issuer, X509_NAME_set(&info->issuer_and_serial->issuer,
                                                    X509_get_subject_name(device)))
BEND_ENVELOPE(recipient_none,
              PKCS7_RECIP_INFO_free(sk_PKCS7_RECIP_INFO_pop(data->recipientinfo)))
BEND_ENVELOPE(recipient_five, recipient_add(envelope, 4))
BEND_ENVELOPE(recipient_fifty, recipient_add(envelope, 49))
BEND_ENVELOPE(recipient_twice, recipient_double(envelope))
BEND_ENVELOPE(version_2, ASN1_INTEGER_set(data->version, 2))
BEND_ENVELOPE(key_above, ASN1_OCTET_STRING_set(info->enc_key, ones, 256))
BEND_ENVELOPE(key_short, ASN1_OCTET_STRING_set(info->enc_key, ones, 255))
BEND_ENVELOPE(key_long, ASN1_OCTET_STRING_set(info->enc_key, zeros, 257))
BEND_ENVELOPE(key_empty, ASN1_OCTET_STRING_set(info->enc_key, zeros, 0))
BEND_ENVELOPE(content_empty, ASN1_OCTET_STRING_set(data->enc_data->enc_data, zeros, 0))
BEND_ENVELOPE(content_odd, ASN1_OCTET_STRING_set(data->enc_data->enc_data, zeros, 599))
BEND_ENVELOPE(iv_8, ASN1_TYPE_set_octetstring(data->enc_data->algorithm->parameter,
                                              (unsigned char *)(uintptr_t)zeros, 8))
BEND_ENVELOPE(iv_missing, ASN1_TYPE_free(data->enc_data->algorithm->parameter);
              data->enc_data->algorithm->parameter = NULL)
BEND_ENVELOPE(cipher_des, cipher_rename(data->enc_data, NID_des_cbc))
BEND_ENVELOPE(cipher_rc2, cipher_rename(data->enc_data, NID_rc2_cbc))
BEND_ENVELOPE(cipher_gcm, cipher_rename(data->enc_data, NID_aes_128_gcm))
BEND_ENVELOPE(cipher_unknown, cipher_rename(data->enc_data, NID_commonName))
BEND_ENVELOPE(transport_unknown, transport_rename(info, NID_rsassaPss))

Test(scep_content, envelopes_are_judged_before_decryption)
{
    static const struct {
        const char *name, *fail;
        void (*bend)(PKCS7 *, void *);
    } cases[] = {
        { "another serial", "2", recipient_other },
        { "another issuer", "2", recipient_other_issuer },
        { "no recipient", "2", recipient_none },
        { "five recipients", "2", recipient_five },
        { "fifty recipients", "2", recipient_fifty },
        { "the RA twice", "2", recipient_twice },
        { "version 2", "2", version_2 },
        { "key above the modulus", "2", key_above },
        { "key a byte short", "2", key_short },
        { "key a byte long", "2", key_long },
        { "key empty", "2", key_empty },
        { "content empty", "2", content_empty },
        { "content of odd size", "2", content_odd },
        { "IV of 8 octets", "2", iv_8 },
        { "IV missing", "2", iv_missing },
        { "single DES", "0", cipher_des },
        { "RC2", "0", cipher_rc2 },
        { "AES-GCM", "0", cipher_gcm },
        { "no cipher", "0", cipher_unknown },
        { "RSASSA-PSS as transport", "0", transport_unknown },
    };
    struct scep_client_request request = good_request();
    for (size_t i = 0; i < COUNT(cases); i++) {
        request.bend_envelope = cases[i].bend;
        double start = seconds();
        expect_refused(&request, cases[i].fail, cases[i].name);
        cr_expect_eq(core.decrypts, 0, "%s", cases[i].name);
        cr_expect_lt(seconds() - start, 2.0);
    }
    request.bend_envelope = NULL;
    request.cipher = EVP_des_ede3_cbc();
    json_object_set_new(core.settings, "des3", json_false());
    expect_refused(&request, "0", "3DES where the profile takes none");
}

BEND_ENVELOPE(recipients_among_strangers, recipient_add(envelope, 3))

Test(scep_content, four_recipients_are_taken)
{
    struct scep_client_request request = good_request();
    request.bend_envelope = recipients_among_strangers;
    cr_assert_eq(send_request(&request), CA_OK);
}

/* OAEP parameters: SHA-1 written out is the default, SHA-256 is not ours. */
static void
oaep_set(PKCS7_RECIP_INFO *info, int nid)
{
    X509_ALGOR *hash = X509_ALGOR_new();
    X509_ALGOR_set0(hash, OBJ_nid2obj(nid), V_ASN1_NULL, NULL);
    uint8_t inner[64], *at = inner;
    int size = i2d_X509_ALGOR(hash, &at);
    X509_ALGOR_free(hash);
    ASN1_STRING *sequence = ASN1_STRING_new();
    uint8_t all[80] = { 0x30, (uint8_t)(size + 2), 0xa0, (uint8_t)size };
    memcpy(all + 4, inner, (size_t)size);
    ASN1_STRING_set(sequence, all, size + 4);
    X509_ALGOR_set0(info->key_enc_algor, OBJ_nid2obj(NID_rsaesOaep), V_ASN1_SEQUENCE,
                    sequence);
}
BEND_ENVELOPE(oaep_sha1, oaep_set(info, NID_sha1))
BEND_ENVELOPE(oaep_sha256, oaep_set(info, NID_sha256))

Test(scep_content, oaep_with_another_hash_is_badAlg)
{
    struct scep_client_request request = good_request();
    request.oaep = true;
    request.bend_envelope = oaep_sha1;
    cr_assert_eq(send_request(&request), CA_OK);
    request.bend_envelope = oaep_sha256;
    expect_refused(&request, "0", "OAEP with SHA-256");
}

/* ---- the oracle: one answer for all that is found out after decrypting ---- */

struct oracle {
    uint8_t block[256], key[16];
    const uint8_t *content;
    size_t content_size;
    bool is_padded;
};

/* 00 02 PS 00 M as a case bends it. */
static void
block_make(struct oracle *oracle, size_t message_size)
{
    RAND_bytes(oracle->block, 256);
    for (size_t i = 0; i < 256; i++)
        oracle->block[i] |= 1;
    oracle->block[0] = 0;
    oracle->block[1] = 2;
    oracle->block[255 - message_size] = 0;
    if (message_size == 16)
        memcpy(oracle->block + 240, oracle->key, 16);
}

static void
oracle_send(struct scep_client_request *request, const struct oracle *oracle,
            const char *name, size_t *size)
{
    request->block = oracle->block;
    request->content_key = oracle->key;
    request->content = oracle->content;
    request->content_size = oracle->content_size;
    request->content_is_padded = oracle->is_padded;
    enum ca_status status = send_request(request);
    cr_expect(status != CA_OK && status != CA_UNAVAILABLE, "%s", name);
    cr_expect(has_fail(request, "2"), "%s", name);
    cr_expect_eq(core.decrypts, 1, "%s", name);
    cr_expect(core.certificate == NULL, "%s", name);
    if (*size == 0)
        *size = core.size;
    cr_expect_eq(core.size, *size, "%s: %zu octets", name, core.size);
}

Test(scep_content, oracle_one_identical_answer)
{
    struct scep_client_request request = good_request();
    struct oracle good = { .content = csr, .content_size = csr_size };
    size_t size = 0;
    RAND_bytes(good.key, sizeof good.key);
    block_make(&good, 16);
    request.block = good.block;
    request.content_key = good.key;
    cr_assert_eq(send_request(&request), CA_OK, "the block is right before it is bent");
    struct oracle bent = good;
    RAND_bytes(bent.block + 1, 255);
    bent.block[0] = 0x20;
    oracle_send(&request, &bent, "encrypted key random", &size);
    static const size_t sizes[] = { 0, 7, 15, 17, 24, 32, 200 };
    for (size_t i = 0; i < COUNT(sizes); i++) {
        bent = good;
        block_make(&bent, sizes[i]);
        oracle_send(&request, &bent, "good padding, another length", &size);
    }
    bent = good;
    bent.block[245] ^= 0x55;
    oracle_send(&request, &bent, "good padding, wrong key", &size);
    bent = good;
    bent.block[239] = 1;
    bent.block[240] |= 1;
    for (size_t i = 2; i < 256; i++)
        bent.block[i] |= 1;
    oracle_send(&request, &bent, "no separator", &size);
    bent = good;
    bent.block[1] = 1;
    oracle_send(&request, &bent, "block type 1", &size);
    bent = good;
    bent.block[6] = 0;
    oracle_send(&request, &bent, "padding of 4 octets", &size);
    bent = good;
    bent.block[0] = 1;
    oracle_send(&request, &bent, "first octet not 0", &size);
    memset(bent.block, 0, 256);
    oracle_send(&request, &bent, "encrypted key 0", &size);

    size_t whole = (csr_size / 16 + 1) * 16;
    CA_AUTO(free) uint8_t *padded = malloc(whole);
    static const int last[] = { 0, 17, 255, -1 };
    for (size_t i = 0; i < COUNT(last); i++) {
        memset(padded, (int)(whole - csr_size), whole);
        memcpy(padded, csr, csr_size);
        if (last[i] >= 0)
            padded[whole - 1] = (uint8_t)last[i];
        else
            padded[whole - 2] ^= 1;
        bent = good;
        bent.content = padded;
        bent.content_size = whole;
        bent.is_padded = true;
        /* A last padding of one octet has none beside it to differ. */
        if (last[i] < 0 && whole - csr_size < 2)
            continue;
        oracle_send(&request, &bent, "padding octets of the content", &size);
    }
    CA_AUTO(free) uint8_t *copy = malloc(csr_size + 2);
    memcpy(copy, csr, csr_size);
    bent = good;
    bent.content = copy;
    copy[csr_size - 3] ^= 1;
    bent.content_size = csr_size;
    oracle_send(&request, &bent, "PKCS#10 with a broken signature", &size);
    copy[csr_size - 3] ^= 1;
    bent.content_size = csr_size / 2;
    oracle_send(&request, &bent, "PKCS#10 cut in half", &size);
    copy[csr_size] = copy[csr_size + 1] = 0;
    bent.content_size = csr_size + 2;
    oracle_send(&request, &bent, "octets behind the PKCS#10", &size);
    bent.content = zeros;
    bent.content_size = 512;
    oracle_send(&request, &bent, "no PKCS#10", &size);
    bent.content_size = 0;
    oracle_send(&request, &bent, "nothing", &size);
    bent = good;
    core.challenge = "another";
    oracle_send(&request, &bent, "wrong challenge", &size);
    core.challenge = "5A1E";
    core.enroll = CA_FORBIDDEN;
    oracle_send(&request, &bent, "refused by policy", &size);
    core.enroll = CA_LIMIT;
    oracle_send(&request, &bent, "too many", &size);
    core.enroll = CA_OK;
}

/* ---- possession and challenge ---- */

static void
csr_case(const struct scep_csr *wanted, const char *name)
{
    size_t size;
    CA_AUTO(free) uint8_t *content = scep_csr_build(wanted, &size);
    cr_assert_not_null(content, "%s", name);
    struct scep_client_request request = good_request();
    request.content = content;
    request.content_size = size;
    enum ca_status status = send_request(&request);
    cr_expect(status != CA_OK && status != CA_PENDING, "%s passes", name);
    cr_expect(has_fail(&request, "2"), "%s", name);
    cr_expect(core.certificate == NULL, "%s", name);
    cr_expect_eq(core.enrolls, 0, "%s", name);
}

static void
challenge_again(X509_REQ *request)
{
    X509_ATTRIBUTE *extra = X509_ATTRIBUTE_create_by_NID(
        NULL, NID_pkcs9_challengePassword, V_ASN1_PRINTABLESTRING, "5A1E", 4);
    int at = X509_REQ_get_attr_by_NID(request, NID_pkcs9_challengePassword, -1);
    X509_ATTRIBUTE_set1_data(X509_REQ_get_attr(request, at), V_ASN1_PRINTABLESTRING,
                             "5A1E", 4);
    X509_ATTRIBUTE_free(extra);
}

static void
challenge_nul(X509_REQ *request)
{
    X509_REQ_add1_attr_by_NID(request, NID_pkcs9_challengePassword,
                              V_ASN1_PRINTABLESTRING, (const unsigned char *)"5A1E\0x",
                              6);
}

static void
challenge_octets(X509_REQ *request)
{
    X509_REQ_add1_attr_by_NID(request, NID_pkcs9_challengePassword, V_ASN1_OCTET_STRING,
                              (const unsigned char *)"5A1E", 4);
}

static void
challenge_odd_bmp(X509_REQ *request)
{
    X509_REQ_add1_attr_by_NID(request, NID_pkcs9_challengePassword, V_ASN1_BMPSTRING,
                              (const unsigned char *)"\0005\0A\0001\0E!", 9);
}

Test(scep_content, A3_challenges_that_are_not_the_one)
{
    const struct scep_csr cases[] = {
        { .key = device_key, .cn = "wrong", .challenge = "5A1F" },
        { .key = device_key, .cn = "none" },
        { .key = device_key, .cn = "empty", .challenge = "" },
        { .key = device_key, .cn = "last character missing", .challenge = "5A1" },
        { .key = device_key, .cn = "one more", .challenge = "5A1E5" },
        { .key = device_key, .cn = "NUL and a tail", .bend = challenge_nul },
        { .key = device_key, .cn = "OCTET STRING", .bend = challenge_octets },
        { .key = device_key, .cn = "odd BMPString", .bend = challenge_odd_bmp },
        { .key = device_key,
          .cn = "two values",
          .challenge = "wrong",
          .bend = challenge_again },
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        csr_case(&cases[i], cases[i].cn);
}

/* Two attributes: OpenSSL merges them, so the second is spliced into the DER. */
Test(scep_content, A3_two_challenge_attributes)
{
    static const uint8_t attribute[] = { 0x30, 0x13, 0x06, 0x09, 0x2a, 0x86, 0x48,
                                         0x86, 0xf7, 0x0d, 0x01, 0x09, 0x07, 0x31,
                                         0x06, 0x13, 0x04, '5',  'A',  '1',  'E' };
    CA_AUTO(asn1_writer_clear) struct asn1_writer writer = { 0 };
    struct ca_bytes from = { csr, csr_size }, request, info, part, tail;
    cr_assert(asn1_take(&from, DER_SEQUENCE, &request));
    cr_assert(asn1_take(&request, DER_SEQUENCE, &info));
    tail = request;
    size_t outer = asn1_open(&writer, DER_SEQUENCE),
           inner = asn1_open(&writer, DER_SEQUENCE);
    for (int i = 0; i < 3; i++) {
        cr_assert(asn1_take_any(&info, NULL, NULL, &part));
        asn1_put_raw(&writer, part);
    }
    cr_assert(asn1_take(&info, DER_CONTEXT_CONSTRUCTED(0), &part));
    size_t attributes = asn1_open(&writer, DER_CONTEXT_CONSTRUCTED(0));
    asn1_put_raw(&writer, part);
    asn1_put_raw(&writer, (struct ca_bytes){ attribute, sizeof attribute });
    asn1_close(&writer, attributes);
    asn1_close(&writer, inner);
    asn1_put_raw(&writer, tail);
    asn1_close(&writer, outer);
    struct scep_client_request sent = good_request();
    sent.content = writer.data;
    sent.content_size = writer.size;
    cr_assert_eq(send_request(&sent), CA_MALFORMED);
    cr_expect(has_fail(&sent, "2"));
    cr_expect_eq(core.authenticates, 0);
}

Test(scep_content, R1_the_key_of_the_request_is_the_signers)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_RSA_gen(2048);
    const struct scep_csr wanted = { .key = key,
                                     .cn = "d",
                                     .challenge = core.challenge };
    csr_case(&wanted, "CSR key not the signer's");
    cr_expect_eq(core.authenticates, 0, "the challenge is not even looked at");
    cr_expect_eq(core.refusals, 1);
}
