/* SCEP: what clients ask and what they get. */
#include "auto.h"
#include "leak.h"
#include "scep.h"
#include "scep_case.h"
#include <openssl/ec.h>

TestSuite(scep, .init = case_open, .fini = case_close);

static void
set(const char *member, bool value)
{
    json_object_set_new(core.settings, member, json_boolean(value));
}

Test(scep, enrols_with_a_challenge)
{
    static const uint8_t nonce[16] = "0123456789abcde";
    struct scep_client_request request = good_request();
    request.nonce = nonce;
    cr_assert_eq(send_request(&request), CA_OK);
    cr_expect_eq(core.decrypts, 1);
    cr_expect_eq(core.polls, 1);
    cr_expect(core.poll_had_request);
    cr_expect_eq(core.enrolls, 1);
    cr_expect_eq(core.refusals, 0);
    cr_expect_eq(core.kind, CA_CREDENTIAL_CHALLENGE);
    cr_expect_str_eq(core.message, "19");
    cr_expect_str_eq(core.endpoint, "default");
    cr_expect_str_eq(core.secret, core.challenge);
    cr_expect_str_eq(core.cache_control, "no-store");
    struct scep_reply reply = read_reply(&request, 0);
    cr_expect_str_eq(reply.status, "0");
    cr_expect_str_eq(reply.fail, "");
    cr_expect_str_eq(reply.transaction, "transaction-1");
    cr_expect_arr_eq(reply.recipient_nonce, nonce, 16);
    cr_expect_arr_neq(reply.sender_nonce, nonce, 16);
    cr_expect_eq(reply.certificate_count, 1);
    cr_expect_eq(reply.recipients, 1);
    cr_expect_eq(reply.digest, NID_sha256);
    cr_expect_eq(reply.cipher, NID_aes_128_cbc);
    cr_expect_eq(X509_cmp(reply.certificate, core.certificate), 0);
    scep_reply_clear(&reply);
    memset(&request, 0, sizeof request);
    case_close();
    LEAK_CHECK();
    case_open();
}

/* Every pair of what both sides may use is answered in kind. */
Test(scep, answers_in_the_algorithms_of_the_request)
{
    const EVP_CIPHER *ciphers[] = { EVP_aes_128_cbc(), EVP_aes_192_cbc(),
                                    EVP_aes_256_cbc(), EVP_des_ede3_cbc() };
    const EVP_MD *digests[] = { EVP_sha256(), EVP_sha384(), EVP_sha512(), EVP_sha1() };
    set("sha1", true);
    for (size_t i = 0; i < COUNT(ciphers); i++) {
        struct scep_client_request request = good_request();
        request.cipher = ciphers[i];
        request.digest = digests[i];
        request.oaep = i % 2;
        cr_assert_eq(send_request(&request), CA_OK);
        struct scep_reply reply = read_reply(&request, 0);
        cr_expect_str_eq(reply.status, "0");
        cr_expect_eq(reply.cipher, EVP_CIPHER_get_type(ciphers[i]));
        cr_expect_eq(reply.digest, EVP_MD_get_type(digests[i]));
        scep_reply_clear(&reply);
    }
}

static int
transport_of(const uint8_t *der, size_t size)
{
    PKCS7 *outer = d2i_PKCS7(NULL, &der, (long)size);
    const ASN1_OCTET_STRING *content = outer->d.sign->contents->d.data;
    const uint8_t *at = ASN1_STRING_get0_data(content);
    PKCS7 *inner = d2i_PKCS7(NULL, &at, ASN1_STRING_length(content));
    PKCS7_RECIP_INFO *info =
        sk_PKCS7_RECIP_INFO_value(inner->d.enveloped->recipientinfo, 0);
    int nid = OBJ_obj2nid(info->key_enc_algor->algorithm);
    PKCS7_free(inner);
    PKCS7_free(outer);
    return nid;
}

Test(scep, oaep_only_when_the_request_used_it)
{
    struct scep_client_request request = good_request();
    send_request(&request);
    cr_assert_eq(transport_of(core.body, core.size), NID_rsaEncryption);
    request.oaep = true;
    send_request(&request);
    cr_assert_eq(transport_of(core.body, core.size), NID_rsaesOaep);
}

Test(scep, get_and_post_without_operation_work_too)
{
    struct scep_client_request request = good_request();
    size_t size;
    CA_AUTO(free) uint8_t *der = scep_client_build(&request, &size);
    cr_assert_eq(plugin_call("POST", "/default/pkiclient.exe", "", der, size), CA_OK);
    cr_assert_eq(core.http_status, 200);
    char *query = malloc(size * 2 + 100);
    int start = sprintf(query, "operation=PKIOperation&message=");
    EVP_EncodeBlock((unsigned char *)query + start, der, (int)size);
    cr_assert_eq(plugin_call("GET", "/default", query, NULL, 0), CA_OK);
    struct scep_reply reply = read_reply(&request, 0);
    cr_expect_str_eq(reply.status, "0");
    scep_reply_clear(&reply);
    free(query);
}

Test(scep, bad_operations_are_malformed)
{
    static const struct {
        const char *method, *rest, *query;
        enum ca_status status;
    } cases[] = {
        { "GET", "/default", "", CA_MALFORMED },
        { "GET", "/default", "operation=", CA_MALFORMED },
        { "GET", "/default", "operation=GetCACaps&operation=GetCACaps", CA_MALFORMED },
        { "GET", "/default", "operation=GetCACaps%00", CA_MALFORMED },
        { "GET", "/default", "operation=PKIOperation", CA_MALFORMED },
        { "GET", "/default", "operation=PKIOperation&message=", CA_MALFORMED },
        { "GET", "/default", "operation=PKIOperation&message=%", CA_MALFORMED },
        { "GET", "/default", "operation=PKIOperation&message=!!!!", CA_MALFORMED },
        { "GET", "/default", "operation=PKIOperation&message=AAAA", CA_MALFORMED },
        { "POST", "/default", "operation=GetCACert", CA_MALFORMED },
        { "POST", "/default", "operation=PKIOperation", CA_MALFORMED },
        { "GET", "/other", "operation=GetCACaps", CA_NOT_FOUND },
        { "GET", "", "operation=GetCACaps", CA_NOT_FOUND },
        { "GET", "//", "operation=GetCACaps", CA_NOT_FOUND },
        { "GET",
          "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
          "operation=GetCACaps", CA_NOT_FOUND },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        cr_expect_eq(plugin_call(cases[i].method, cases[i].rest, cases[i].query, "", 0),
                     cases[i].status, "case %zu", i);
        cr_expect_eq(core.http_status, 0, "case %zu", i);
        cr_expect_eq(core.decrypts, 0);
    }
}

Test(scep, a_good_message_under_another_operation_is_not_looked_at)
{
    struct scep_client_request request = good_request();
    size_t size;
    CA_AUTO(free) uint8_t *der = scep_client_build(&request, &size);
    static const char *const others[] = { "operation=GetCACert",
                                          "operation=", "operation=pkioperation" };
    for (size_t i = 0; i < COUNT(others); i++)
        cr_expect_eq(plugin_call("POST", "/default", others[i], der, size),
                     CA_MALFORMED, "%s", others[i]);
    cr_expect_eq(core.decrypts + core.polls, 0);
    cr_expect_eq(plugin_call("POST", "/default", "operation=PKIOperation", der, size),
                 CA_OK);
}

/* A renewal: a certificate of ours signs, as 17 or, before the RFC, as 19. */
Test(scep, A4_renewal_by_our_certificate_needs_no_challenge)
{
    CA_AUTO(X509_free) X509 *ours = fake_core_certify(&core, device_key, "device");
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *fresh = EVP_RSA_gen(2048);
    const struct scep_csr wanted = { .key = fresh, .cn = "device" };
    size_t size;
    CA_AUTO(free) uint8_t *content = scep_csr_build(&wanted, &size);
    static const char *const types[] = { "17", "19" };
    for (size_t i = 0; i < COUNT(types); i++) {
        struct scep_client_request request = good_request();
        request.type = types[i];
        request.certificate = ours;
        request.content = i == 0 ? content : csr; /* the latter repeats the challenge */
        request.content_size = i == 0 ? size : csr_size;
        cr_assert_eq(send_request(&request), CA_OK, "%s", types[i]);
        cr_expect_eq(core.kind, CA_CREDENTIAL_CERTIFICATE);
        cr_expect_eq(core.secret_size, 0);
        struct scep_reply reply = read_reply(&request, 0);
        cr_expect_str_eq(reply.status, "0");
        scep_reply_clear(&reply);
    }
}

Test(scep, ec_key_signed_by_a_throw_away_rsa_key)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *ec = EVP_EC_gen("P-256");
    const struct scep_csr wanted = { .key = ec,
                                     .cn = "device",
                                     .challenge = core.challenge };
    size_t size;
    CA_AUTO(free) uint8_t *content = scep_csr_build(&wanted, &size);
    struct scep_client_request request = good_request();
    request.content = content;
    request.content_size = size;
    cr_assert_eq(send_request(&request), CA_OK);
    struct scep_reply reply = read_reply(&request, 0);
    cr_expect_eq(EVP_PKEY_eq(X509_get0_pubkey(reply.certificate), ec), 1);
    scep_reply_clear(&reply);
}

Test(scep, challenge_of_every_string_type)
{
    static const int types[] = { V_ASN1_PRINTABLESTRING, V_ASN1_UTF8STRING,
                                 V_ASN1_T61STRING, V_ASN1_IA5STRING };
    for (size_t i = 0; i < COUNT(types); i++) {
        const struct scep_csr wanted = { .key = device_key,
                                         .cn = "device",
                                         .challenge = core.challenge,
                                         .challenge_type = types[i] };
        size_t size;
        CA_AUTO(free) uint8_t *content = scep_csr_build(&wanted, &size);
        struct scep_client_request request = good_request();
        request.content = content;
        request.content_size = size;
        cr_expect_eq(send_request(&request), CA_OK, "type %d", types[i]);
    }
}

static void
bmp_add(X509_REQ *request)
{
    static const unsigned char text[] = { 0, '5', 0, 'A', 0, '1', 0, 'E' };
    X509_REQ_add1_attr_by_NID(request, NID_pkcs9_challengePassword, V_ASN1_BMPSTRING,
                              text, sizeof text);
}

Test(scep, challenge_as_bmp_string)
{
    const struct scep_csr wanted = { .key = device_key, .cn = "d", .bend = bmp_add };
    size_t size;
    CA_AUTO(free) uint8_t *content = scep_csr_build(&wanted, &size);
    struct scep_client_request request = good_request();
    request.content = content;
    request.content_size = size;
    cr_assert_eq(send_request(&request), CA_OK);
    cr_assert_str_eq(core.secret, "5A1E");
}

Test(scep, pending_has_no_envelope)
{
    struct scep_client_request request = good_request();
    core.enroll = CA_PENDING;
    cr_assert_eq(send_request(&request), CA_PENDING);
    struct scep_reply reply = read_reply(&request, 0);
    cr_expect_str_eq(reply.status, "3");
    cr_expect_str_eq(reply.fail, "");
    cr_expect(!reply.has_content);
    cr_expect_eq(core.refusals, 0);
    scep_reply_clear(&reply);
}

Test(scep, retry_is_asked_for_before_the_challenge)
{
    struct scep_client_request request = good_request();
    CA_AUTO(X509_free) X509 *issued = fake_core_certify(&core, device_key, "first");
    core.poll = CA_OK;
    core.issued = issued;
    cr_assert_eq(send_request(&request), CA_OK);
    cr_expect_eq(core.authenticates + core.enrolls, 0);
    struct scep_reply reply = read_reply(&request, 0);
    cr_expect_eq(X509_cmp(reply.certificate, issued), 0);
    scep_reply_clear(&reply);
    core.poll = CA_FORBIDDEN;
    cr_assert_eq(send_request(&request), CA_FORBIDDEN);
    cr_expect(has_fail(&request, "2"));
    cr_expect_eq(core.authenticates + core.enrolls, 0);
}

/* Between our question for an earlier answer and the challenge's check another thread
 * claimed the challenge for the very same message. */
Test(scep, S4_a_repeat_that_lost_the_race_gets_the_answer_of_the_first)
{
    static const enum ca_status answers[] = { CA_OK, CA_PENDING, CA_UNAVAILABLE,
                                              CA_NOT_FOUND, CA_FORBIDDEN };
    struct scep_client_request request = good_request();
    CA_AUTO(X509_free) X509 *issued = fake_core_certify(&core, device_key, "first");
    core.challenge = "claimed";
    core.poll_late = 1;
    core.issued = issued;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        bool is_told = i < 3;
        core.poll = answers[i];
        core.polls = core.enrolls = 0;
        cr_expect_eq(send_request(&request), is_told ? answers[i] : CA_UNAUTHENTICATED,
                     "%zu", i);
        cr_expect_eq(core.polls, 2);
        cr_expect_eq(core.enrolls, 0);
        cr_expect(is_told || has_fail(&request, "2"));
        if (answers[i] != CA_OK)
            continue;
        struct scep_reply reply = read_reply(&request, 0);
        cr_expect_eq(X509_cmp(reply.certificate, issued), 0);
        scep_reply_clear(&reply);
    }
}

Test(scep, poll_needs_no_decryption)
{
    size_t size;
    CA_AUTO(free)
    uint8_t *content = scep_issuer_and_subject(X509_get_subject_name(core.issuer),
                                               X509_get_subject_name(device), &size);
    CA_AUTO(X509_free) X509 *issued = fake_core_certify(&core, device_key, "device");
    struct scep_client_request request = good_request();
    request.type = "20";
    request.content = content;
    request.content_size = size;
    request.cipher = EVP_aes_256_cbc();
    cr_assert_eq(send_request(&request), CA_NOT_FOUND);
    cr_expect(has_fail(&request, "4"));
    cr_expect_eq(core.decrypts, 0);
    cr_expect_eq(core.kind, CA_CREDENTIAL_KEY);
    cr_expect(!core.poll_had_request);
    core.poll = CA_PENDING;
    cr_assert_eq(send_request(&request), CA_PENDING);
    core.poll = CA_OK;
    core.issued = issued;
    cr_assert_eq(send_request(&request), CA_OK);
    struct scep_reply reply = read_reply(&request, 0);
    cr_expect_eq(X509_cmp(reply.certificate, issued), 0);
    cr_expect_eq(reply.cipher, NID_aes_256_cbc);
    cr_expect_eq(core.decrypts, 0);
    scep_reply_clear(&reply);
}

Test(scep, get_certificate_of_the_same_device)
{
    CA_AUTO(X509_free) X509 *ours = fake_core_certify(&core, device_key, "device");
    size_t size;
    CA_AUTO(free)
    uint8_t *content = scep_issuer_and_serial(X509_get_issuer_name(ours),
                                              X509_get0_serialNumber(ours), &size);
    struct scep_client_request request = good_request();
    request.type = "21";
    request.content = content;
    request.content_size = size;
    cr_assert_eq(send_request(&request), CA_FORBIDDEN, "a self-signed signer");
    cr_expect(has_fail(&request, "4"));
    cr_expect_eq(core.lookups, 0);
    request.certificate = ours;
    cr_assert_eq(send_request(&request), CA_NOT_FOUND);
    cr_expect(has_fail(&request, "4"));
    core.issued = ours;
    cr_assert_eq(send_request(&request), CA_OK);
    struct scep_reply reply = read_reply(&request, 0);
    cr_expect_eq(X509_cmp(reply.certificate, ours), 0);
    scep_reply_clear(&reply);
    CA_AUTO(BN_free)
    BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(ours), NULL);
    char *hex = BN_bn2hex(number);
    cr_expect_eq(strcasecmp(core.serial, hex), 0, "%s", core.serial);
    OPENSSL_free(hex);
    request.content = csr;
    request.content_size = csr_size;
    cr_assert_eq(send_request(&request), CA_MALFORMED, "a PKCS#10 is no query");
    cr_expect(has_fail(&request, "4"));
}

Test(scep, get_crl_only_where_the_profile_says_so)
{
    CA_AUTO(X509_CRL_free) X509_CRL *crl = X509_CRL_new();
    X509_CRL_set_version(crl, 1);
    X509_CRL_set_issuer_name(crl, X509_get_subject_name(core.issuer));
    CA_AUTO(ASN1_INTEGER_free) ASN1_TIME *now = X509_gmtime_adj(NULL, 0);
    X509_CRL_set1_lastUpdate(crl, now);
    X509_CRL_sign(crl, core.issuer_key, EVP_sha256());
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    int der_size = i2d_X509_CRL(crl, &der);
    core.crl = (struct ca_bytes){ der, (size_t)der_size };
    size_t size;
    CA_AUTO(free)
    uint8_t *content = scep_issuer_and_serial(X509_get_subject_name(core.issuer),
                                              X509_get0_serialNumber(device), &size);
    struct scep_client_request request = good_request();
    request.type = "22";
    request.content = content;
    request.content_size = size;
    cr_assert_eq(send_request(&request), CA_FORBIDDEN);
    cr_expect(has_fail(&request, "4"));
    cr_expect_eq(core.decrypts, 0);
    set("get_crl", true);
    cr_assert_eq(send_request(&request), CA_OK);
    struct scep_reply reply = read_reply(&request, 0);
    cr_expect(reply.crl && X509_CRL_cmp(reply.crl, crl) == 0);
    cr_expect_eq(reply.certificate_count, 0);
    scep_reply_clear(&reply);
    CA_AUTO(free)
    uint8_t *other = scep_issuer_and_serial(X509_get_subject_name(device),
                                            X509_get0_serialNumber(device), &size);
    request.content = other;
    request.content_size = size;
    cr_assert_eq(send_request(&request), CA_NOT_FOUND);
    cr_expect(has_fail(&request, "4"));
}

Test(scep, issuer_beside_the_certificate_on_demand)
{
    struct scep_client_request request = good_request();
    set("include_issuer", true);
    cr_assert_eq(send_request(&request), CA_OK);
    struct scep_reply reply = read_reply(&request, 0);
    cr_expect_eq(reply.certificate_count, 2);
    cr_expect_eq(X509_cmp(reply.certificate, core.certificate), 0);
    scep_reply_clear(&reply);
}

Test(scep, previous_ra_key_still_serves)
{
    fake_core_add_ra(&core, "RA 0", 0);
    struct scep_client_request request = good_request();
    request.recipient = core.ra[1].certificate;
    cr_assert_eq(send_request(&request), CA_OK);
    struct scep_reply reply = read_reply(&request, 1);
    cr_expect_str_eq(reply.status, "0");
    scep_reply_clear(&reply);
}

static STACK_OF(X509) *
certs_only_read(const uint8_t *der, size_t size)
{
    CA_AUTO(CMS_ContentInfo_free)
    CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &der, (long)size);
    cr_assert_not_null(cms);
    cr_assert(sk_CMS_SignerInfo_num(CMS_get0_SignerInfos(cms)) <= 0);
    return CMS_get1_certs(cms);
}

Test(scep, two_ra_certificates_sign_and_decrypt)
{
    EVP_PKEY_free(core.ra[0].pkey);
    X509_free(core.ra[0].certificate);
    core.ra_count = 0;
    fake_core_add_ra(&core, "RA signature", KU_DIGITAL_SIGNATURE);
    fake_core_add_ra(&core, "RA encryption", KU_KEY_ENCIPHERMENT);
    struct scep_client_request request = good_request();
    cr_assert_eq(send_request(&request), CA_NOT_FOUND,
                 "the signature key decrypts not");
    request.recipient = core.ra[1].certificate;
    cr_assert_eq(send_request(&request), CA_OK);
    struct scep_reply reply = read_reply(&request, 0);
    cr_expect_str_eq(reply.status, "0");
    scep_reply_clear(&reply);
    plugin_call("GET", "/default", "operation=GetCACert", NULL, 0);
    CA_AUTO(x509_stack_free)
    STACK_OF(X509) *all = certs_only_read(core.body, core.size);
    cr_assert_eq(sk_X509_num(all), 3);
}

Test(scep, I7_token_or_store_away_is_503_with_retry_after)
{
    struct scep_client_request request = good_request();
    core.token = CA_UNAVAILABLE;
    cr_assert_eq(send_request(&request), CA_UNAVAILABLE);
    cr_expect_eq(core.http_status, 503);
    cr_expect_str_eq(core.retry_after, "10");
    core.token = CA_OK;
    core.enroll = CA_UNAVAILABLE;
    cr_assert_eq(send_request(&request), CA_UNAVAILABLE);
    cr_expect_eq(core.http_status, 503);
    core.enroll = CA_OK;
    core.store = CA_UNAVAILABLE;
    cr_assert_eq(send_request(&request), CA_UNAVAILABLE);
    core.store = CA_OK;
    cr_assert_eq(send_request(&request), CA_OK);
}

/* Rewrites definite DER as BER: indefinite lengths, OCTET STRINGs in two parts. */
static uint8_t *
to_ber(const uint8_t *der, long size, uint8_t *out, int depth)
{
    while (size > 0) {
        const uint8_t *start = der;
        long length;
        int tag, class;
        int form = ASN1_get_object(&der, &length, &tag, &class, size);
        size -= der - start + length;
        if (form & V_ASN1_CONSTRUCTED && depth < 4) {
            *out++ = *start;
            *out++ = 0x80;
            out = to_ber(der, length, out, depth + 1);
            *out++ = 0;
            *out++ = 0;
        } else if (*start == V_ASN1_OCTET_STRING && length > 300) {
            *out++ = V_ASN1_OCTET_STRING | V_ASN1_CONSTRUCTED;
            *out++ = 0x80;
            for (long done = 0; done < length; done += 100) {
                long part = length - done < 100 ? length - done : 100;
                *out++ = V_ASN1_OCTET_STRING;
                *out++ = (uint8_t)part;
                memcpy(out, der + done, (size_t)part);
                out += part;
            }
            *out++ = 0;
            *out++ = 0;
        } else {
            memcpy(out, start, (size_t)(der - start + length));
            out += der - start + length;
        }
        der += length;
    }
    return out;
}

Test(scep, ber_is_taken)
{
    struct scep_client_request request = good_request();
    size_t size;
    CA_AUTO(free) uint8_t *der = scep_client_build(&request, &size);
    CA_AUTO(free) uint8_t *ber = malloc(size * 2);
    size_t ber_size = (size_t)(to_ber(der, (long)size, ber, 0) - ber);
    cr_assert_neq(ber_size, size);
    cr_assert_eq(post(ber, ber_size), CA_OK);
    struct scep_reply reply = read_reply(&request, 0);
    cr_expect_str_eq(reply.status, "0");
    scep_reply_clear(&reply);
}

/* The envelope itself in BER, its content in parts under the implicit tag. */
Test(scep, ber_envelope_is_taken)
{
    struct scep_client_request request = good_request();
    STACK_OF(X509) *to = sk_X509_new_null();
    sk_X509_push(to, core.ra[0].certificate);
    CA_AUTO(BIO_free_all) BIO *in = BIO_new_mem_buf(csr, (int)csr_size);
    CA_AUTO(BIO_free_all) BIO *out = BIO_new(BIO_s_mem());
    CA_AUTO(CMS_ContentInfo_free)
    CMS_ContentInfo *cms =
        CMS_encrypt(to, in, EVP_aes_128_cbc(), CMS_BINARY | CMS_STREAM);
    cr_assert_eq(i2d_CMS_bio_stream(out, cms, in, CMS_BINARY | CMS_STREAM), 1);
    sk_X509_free(to);
    uint8_t *data;
    request.envelope_size = (size_t)BIO_get_mem_data(out, &data);
    request.envelope = data;
    cr_assert_eq(data[1], 0x80, "indefinite length");
    cr_assert_eq(send_request(&request), CA_OK);
    struct scep_reply reply = read_reply(&request, 0);
    cr_expect_str_eq(reply.status, "0");
    scep_reply_clear(&reply);
}

Test(scep, der_out)
{
    struct scep_client_request request = good_request();
    cr_assert_eq(send_request(&request), CA_OK);
    const uint8_t *at = core.body;
    PKCS7 *answer = d2i_PKCS7(NULL, &at, (long)core.size);
    cr_assert(answer && at == core.body + core.size);
    CA_AUTO(openssl_free) uint8_t *again = NULL;
    int size = i2d_PKCS7(answer, &again);
    cr_assert_eq((size_t)size, core.size);
    cr_assert_arr_eq(again, core.body, core.size);
    PKCS7_free(answer);
}

Test(scep, zeros_behind_the_message_do_no_harm)
{
    struct scep_client_request request = good_request();
    size_t size;
    CA_AUTO(free) uint8_t *der = scep_client_build(&request, &size);
    der = realloc(der, size + 10);
    memset(der + size, 0, 10);
    cr_assert_eq(post(der, size + 10), CA_OK);
    der[size + 9] = 1;
    cr_assert_eq(post(der, size + 10), CA_MALFORMED);
}

Test(scep, configuration_has_no_members)
{
    void *state = &core;
    CA_AUTO(json_decref)
    json_t *none = json_object(), *some = json_pack("{s:i}", "a", 1);
    cr_expect_eq(ca_plugin.init(none, &state), CA_OK);
    cr_expect_eq(ca_plugin.init(NULL, &state), CA_OK);
    cr_expect_eq(ca_plugin.init(some, &state), CA_MALFORMED);
}
