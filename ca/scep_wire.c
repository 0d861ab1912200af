/* SCEP messages as a client builds and opens them, by OpenSSL's CMS. */
#include "scep_wire.h"
#include "clock.h"
#include "der.h"
#include <ctype.h>
#include <openssl/err.h>
#include <openssl/pkcs7.h>
#include <openssl/x509v3.h>
#include <string.h>

#define SELF_SIGNED_SECONDS 86400
#define REQUEST_AGENT "1.3.6.1.4.1.311.20.2.1" /* Certificate Request Agent */

/* Attributes of RFC 8894 section 3.2.1. */
#define ATTRIBUTE(arc) "2.16.840.1.113733.1.9." #arc
#define MESSAGE_TYPE ATTRIBUTE(2)
#define PKI_STATUS ATTRIBUTE(3)
#define FAIL_INFO ATTRIBUTE(4)
#define SENDER_NONCE ATTRIBUTE(5)
#define RECIPIENT_NONCE ATTRIBUTE(6)
#define TRANSACTION_ID ATTRIBUTE(7)

void
scep_octets_clear(struct scep_octets *octets)
{
    if (octets->data)
        OPENSSL_cleanse(octets->data, octets->size);
    free(octets->data);
    *octets = (struct scep_octets){ 0 };
}

static enum ca_status
octets_of(BIO *memory, struct scep_octets *ret_octets)
{
    char *data = NULL;
    long size = BIO_get_mem_data(memory, &data);
    uint8_t *copy = malloc(size > 0 ? (size_t)size : 1);
    if (!copy)
        return ca_fail(CA_INTERNAL, "no memory for a SCEP message");
    if (size > 0)
        memcpy(copy, data, (size_t)size);
    *ret_octets = (struct scep_octets){ copy, size > 0 ? (size_t)size : 0 };
    return CA_OK;
}

static enum ca_status
encode(CMS_ContentInfo *cms, struct scep_octets *ret_der)
{
    CA_AUTO(BIO_free_all) BIO *out = BIO_new(BIO_s_mem());
    if (!out || i2d_CMS_bio(out, cms) != 1)
        return ca_fail_openssl(CA_INTERNAL, "cannot encode a SCEP message");
    return octets_of(out, ret_der);
}

static const EVP_CIPHER *
cipher_of(const char *word)
{
    if (strcmp(word, "aes128") == 0)
        return EVP_aes_128_cbc();
    return strcmp(word, "aes256") == 0 ? EVP_aes_256_cbc() : NULL;
}

enum ca_status
scep_wire_envelope(X509 *recipient, const char *cipher, const void *content,
                   size_t size, struct scep_octets *ret_der)
{
    const EVP_CIPHER *evp = cipher_of(cipher);
    if (!evp)
        return ca_fail(CA_UNSUPPORTED, "cipher '%.16s'", cipher);
    CA_AUTO(BIO_free_all) BIO *in = BIO_new_mem_buf(content, (int)size);
    STACK_OF(X509) *recipients = sk_X509_new_null();
    if (!in || !recipients || !sk_X509_push(recipients, recipient)) {
        sk_X509_free(recipients);
        return ca_fail(CA_INTERNAL, "no memory for an envelope");
    }
    CA_AUTO(CMS_ContentInfo_free)
    CMS_ContentInfo *cms = CMS_encrypt(recipients, in, evp, CMS_BINARY);
    sk_X509_free(recipients);
    if (!cms)
        return ca_fail_openssl(CA_INTERNAL, "cannot envelope a request");
    return encode(cms, ret_der);
}

static bool
attribute_add(CMS_SignerInfo *signer, const char *oid, int type, const void *value,
              size_t size)
{
    CA_AUTO(ASN1_OBJECT_free) ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
    return object &&
           CMS_signed_add1_attr_by_OBJ(signer, object, type, value, (int)size) == 1;
}

enum ca_status
scep_wire_sign(const struct scep_wire *wire, const void *envelope, size_t size,
               struct scep_octets *ret_der)
{
    const unsigned flags = CMS_BINARY | CMS_PARTIAL | CMS_NOSMIMECAP;
    CA_AUTO(BIO_free_all) BIO *in = BIO_new_mem_buf(envelope, (int)size);
    if (!in)
        return ca_fail(CA_INTERNAL, "no memory for a message");
    CA_AUTO(CMS_ContentInfo_free)
    CMS_ContentInfo *cms = CMS_sign(NULL, NULL, NULL, in, flags);
    CMS_SignerInfo *signer =
        cms ? CMS_add1_signer(cms, wire->certificate, wire->key, wire->digest, flags)
            : NULL;
    if (!signer ||
        !attribute_add(signer, MESSAGE_TYPE, V_ASN1_PRINTABLESTRING, wire->type,
                       strlen(wire->type)) ||
        !attribute_add(signer, TRANSACTION_ID, V_ASN1_PRINTABLESTRING,
                       wire->transaction, strlen(wire->transaction)) ||
        !attribute_add(signer, SENDER_NONCE, V_ASN1_OCTET_STRING, wire->nonce,
                       sizeof wire->nonce) ||
        CMS_final(cms, in, NULL, CMS_BINARY) != 1)
        return ca_fail_openssl(CA_INTERNAL, "cannot sign a SCEP message");
    return encode(cms, ret_der);
}

enum ca_status
scep_wire_poll(const X509_NAME *issuer, const X509_NAME *subject,
               struct scep_octets *ret_der)
{
    CA_AUTO(openssl_free) uint8_t *first = NULL;
    CA_AUTO(openssl_free) uint8_t *second = NULL;
    struct text_buffer body = { 0 }, both = { 0 };
    int one = i2d_X509_NAME(issuer, &first), two = i2d_X509_NAME(subject, &second);
    if (one <= 0 || two <= 0)
        return ca_fail_openssl(CA_INTERNAL, "cannot encode a name");
    text_append(&body, first, (size_t)one);
    text_append(&body, second, (size_t)two);
    der_wrap(&both, DER_SEQUENCE, &body);
    if (both.failed) {
        text_buffer_clear(&both);
        return ca_fail(CA_INTERNAL, "no memory for a poll");
    }
    *ret_der = (struct scep_octets){ (uint8_t *)both.data, both.size };
    return CA_OK;
}

static void
append_escaped(struct text_buffer *text, const char *value)
{
    for (; *value; value++) {
        if (isalnum((unsigned char)*value) || strchr("-._~", *value))
            text_append(text, value, 1);
        else
            text_print(text, "%%%02X", (unsigned char)*value);
    }
}

char *
scep_wire_url(const char *url, const char *operation, const char *message)
{
    struct text_buffer text = { 0 };
    text_print(&text, "%s?operation=", url);
    append_escaped(&text, operation);
    if (message) {
        text_print(&text, "&message=");
        append_escaped(&text, message);
    }
    if (text.failed)
        text_buffer_clear(&text);
    return text.data;
}

/* The one value of a signed attribute; NULL: none, or not one. */
static const ASN1_STRING *
attribute_get(CMS_SignerInfo *signer, const char *oid)
{
    CA_AUTO(ASN1_OBJECT_free) ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
    int at = object ? CMS_signed_get_attr_by_OBJ(signer, object, -1) : -1;
    X509_ATTRIBUTE *attribute = at >= 0 ? CMS_signed_get_attr(signer, at) : NULL;
    ASN1_TYPE *value = attribute && X509_ATTRIBUTE_count(attribute) == 1
                           ? X509_ATTRIBUTE_get0_type(attribute, 0)
                           : NULL;
    bool is_string = value && (value->type == V_ASN1_PRINTABLESTRING ||
                               value->type == V_ASN1_OCTET_STRING);
    return is_string ? value->value.asn1_string : NULL;
}

static bool
is_octets(const ASN1_STRING *string, const void *octets, size_t size)
{
    return string && ASN1_STRING_length(string) == (int)size &&
           memcmp(ASN1_STRING_get0_data(string), octets, size) == 0;
}

/* "0", "2", ... of one or two digits; -1 for anything else. */
static int
number_of(const ASN1_STRING *string)
{
    int size = string ? ASN1_STRING_length(string) : 0;
    const uint8_t *text = string ? ASN1_STRING_get0_data(string) : NULL;
    int number = 0;
    if (size < 1 || size > 2)
        return -1;
    for (int i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        number = number * 10 + (text[i] - '0');
    }
    return number;
}

static CMS_ContentInfo *
cms_decode(const void *der, size_t size, int kind)
{
    const uint8_t *at = der;
    CA_AUTO(CMS_ContentInfo_free)
    CMS_ContentInfo *cms = size > 0 && size <= SCEP_WIRE_MOST
                               ? d2i_CMS_ContentInfo(NULL, &at, (long)size)
                               : NULL;
    if (!cms || (size_t)(at - (const uint8_t *)der) != size ||
        OBJ_obj2nid(CMS_get0_type(cms)) != kind)
        return NULL;
    return CA_STEAL(cms);
}

static enum ca_status
certificates_of(const void *der, size_t size, STACK_OF(X509) **ret_certificates)
{
    CA_AUTO(CMS_ContentInfo_free)
    CMS_ContentInfo *cms = cms_decode(der, size, NID_pkcs7_signed);
    CA_AUTO(x509_stack_free)
    STACK_OF(X509) *certificates = cms ? CMS_get1_certs(cms) : NULL;
    int count = certificates ? sk_X509_num(certificates) : 0;
    if (count < 1 || count > SCEP_WIRE_CERTIFICATES_MAX)
        return ca_fail_openssl(CA_MALFORMED, "the answer holds no certificates");
    *ret_certificates = CA_STEAL(certificates);
    return CA_OK;
}

static enum ca_status
open_content(const struct scep_wire *sent, BIO *content, struct scep_wire_reply *reply)
{
    char *data = NULL;
    long size = BIO_get_mem_data(content, &data);
    CA_AUTO(CMS_ContentInfo_free)
    CMS_ContentInfo *cms =
        size > 0 ? cms_decode(data, (size_t)size, NID_pkcs7_enveloped) : NULL;
    CA_AUTO(BIO_free_all) BIO *out = BIO_new(BIO_s_mem());
    if (!cms || !out ||
        CMS_decrypt(cms, sent->key, sent->certificate, NULL, out, CMS_BINARY) != 1)
        return ca_fail_openssl(CA_MALFORMED, "the answer is not enveloped to our key");
    size = BIO_get_mem_data(out, &data);
    return certificates_of(data, size > 0 ? (size_t)size : 0, &reply->certificates);
}

void
scep_wire_reply_clear(struct scep_wire_reply *reply)
{
    sk_X509_pop_free(reply->certificates, X509_free);
    *reply = (struct scep_wire_reply){ 0 };
}

static bool
is_by_md5(CMS_SignerInfo *signer)
{
    X509_ALGOR *digest = NULL, *signature = NULL;
    CMS_SignerInfo_get0_algs(signer, NULL, NULL, &digest, &signature);
    return !digest || !signature || OBJ_obj2nid(digest->algorithm) == NID_md5 ||
           OBJ_obj2nid(signature->algorithm) == NID_md5WithRSAEncryption;
}

enum ca_status
scep_wire_open(const struct scep_wire *sent, STACK_OF(X509) *signers, const void *der,
               size_t size, struct scep_wire_reply *ret_reply)
{
    CA_AUTO(CMS_ContentInfo_free)
    CMS_ContentInfo *cms = cms_decode(der, size, NID_pkcs7_signed);
    CA_AUTO(BIO_free_all) BIO *content = BIO_new(BIO_s_mem());
    CA_AUTO(scep_wire_reply_clear) struct scep_wire_reply reply = { 0 };
    if (!cms || !content)
        return ca_fail_openssl(CA_MALFORMED, "the answer is no SCEP message");
    /* FAILURE and PENDING have no content (RFC 8894 section 3.2.2): it is empty. */
    ASN1_OCTET_STRING **inside = CMS_get0_content(cms);
    CA_AUTO(BIO_free_all) BIO *nothing = BIO_new_mem_buf("", 0);
    BIO *beside = inside && *inside ? NULL : nothing;
    STACK_OF(CMS_SignerInfo) *infos = CMS_get0_SignerInfos(cms);
    if (sk_CMS_SignerInfo_num(infos) != 1 ||
        CMS_verify(cms, signers, NULL, beside, content,
                   CMS_NOINTERN | CMS_NO_SIGNER_CERT_VERIFY | CMS_BINARY) != 1)
        return ca_fail_openssl(CA_FORBIDDEN, "the answer is not signed by that CA");
    CMS_SignerInfo *signer = sk_CMS_SignerInfo_value(infos, 0);
    if (is_by_md5(signer))
        return ca_fail(CA_FORBIDDEN, "the answer is signed over MD5");
    if (!is_octets(attribute_get(signer, MESSAGE_TYPE), "3", 1) ||
        !is_octets(attribute_get(signer, TRANSACTION_ID), sent->transaction,
                   strlen(sent->transaction)) ||
        !is_octets(attribute_get(signer, RECIPIENT_NONCE), sent->nonce,
                   sizeof sent->nonce))
        return ca_fail(CA_FORBIDDEN, "the answer is to another message");
    reply.status = number_of(attribute_get(signer, PKI_STATUS));
    reply.fail = number_of(attribute_get(signer, FAIL_INFO));
    enum ca_status status = CA_OK;
    if (reply.status == SCEP_WIRE_SUCCESS)
        status = open_content(sent, content, &reply);
    else if (reply.status != SCEP_WIRE_FAILURE && reply.status != SCEP_WIRE_PENDING)
        status = ca_fail(CA_MALFORMED, "the answer has no status");
    if (status != CA_OK)
        return status;
    *ret_reply = reply;
    reply = (struct scep_wire_reply){ 0 };
    return CA_OK;
}

X509 *
scep_wire_own(const struct scep_wire_reply *reply, EVP_PKEY *key)
{
    for (int i = 0; i < sk_X509_num(reply->certificates); i++) {
        X509 *one = sk_X509_value(reply->certificates, i);
        EVP_PKEY *its = X509_get0_pubkey(one);
        if (its && EVP_PKEY_eq(its, key) == 1)
            return one;
    }
    return NULL;
}

enum ca_status
scep_wire_certificates(const void *der, size_t size, STACK_OF(X509) **ret_certificates)
{
    const uint8_t *at = der, *end = at + size;
    if (size == 0 || size > SCEP_WIRE_MOST)
        return ca_fail(CA_MALFORMED, "CA certificates of %zu octets", size);
    CA_AUTO(X509_free) X509 *single = d2i_X509(NULL, &at, (long)size);
    if (!single || at != end) {
        ERR_clear_error();
        return certificates_of(der, size, ret_certificates);
    }
    CA_AUTO(x509_stack_free) STACK_OF(X509) *certificates = sk_X509_new_null();
    if (!certificates || !sk_X509_push(certificates, single))
        return ca_fail(CA_INTERNAL, "no memory for certificates");
    (void)CA_STEAL(single);
    *ret_certificates = CA_STEAL(certificates);
    return CA_OK;
}

void
scep_wire_authority_clear(struct scep_wire_authority *authority)
{
    sk_X509_pop_free(authority->chain, X509_free);
    sk_X509_pop_free(authority->signers, X509_free);
    *authority = (struct scep_wire_authority){ 0 };
}

static bool
is_of_digest(X509 *certificate, const uint8_t sha256[32])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    return X509_digest(certificate, EVP_sha256(), digest, NULL) == 1 &&
           memcmp(digest, sha256, 32) == 0;
}

static X509 *
find_pinned(STACK_OF(X509) *certificates, const uint8_t sha256[32])
{
    for (int i = 0; i < sk_X509_num(certificates); i++) {
        X509 *one = sk_X509_value(certificates, i);
        if (is_of_digest(one, sha256))
            return one;
    }
    return NULL;
}

/* A device's certificate is by the same CA: what makes an RA of one is its purpose. */
static bool
is_agent(X509 *certificate, bool takes_none)
{
    int critical = 0;
    EXTENDED_KEY_USAGE *purposes =
        X509_get_ext_d2i(certificate, NID_ext_key_usage, &critical, NULL);
    if (!purposes)
        return takes_none && critical == -1; /* -1: there is no such extension */
    CA_AUTO(ASN1_OBJECT_free) ASN1_OBJECT *agent = OBJ_txt2obj(REQUEST_AGENT, 1);
    bool is_one = false;
    for (int i = 0; agent && i < sk_ASN1_OBJECT_num(purposes); i++) {
        if (OBJ_cmp(sk_ASN1_OBJECT_value(purposes, i), agent) == 0)
            is_one = true;
    }
    EXTENDED_KEY_USAGE_free(purposes);
    return is_one;
}

static bool
is_named(X509 *certificate, const struct scep_wire_pins *pins)
{
    if (pins->ra_count == 0)
        return is_agent(certificate, pins->is_from_server);
    for (size_t i = 0; i < pins->ra_count; i++) {
        if (is_of_digest(certificate, pins->ra[i]))
            return true;
    }
    return false;
}

/* An RA of the issuer; a name alone is no proof. */
static bool
is_ra(X509 *certificate, X509 *issuer, const struct scep_wire_pins *pins, int64_t now)
{
    time_t at = (time_t)now;
    EVP_PKEY *signer = X509_get0_pubkey(issuer);
    return certificate != issuer && signer && X509_check_ca(certificate) == 0 &&
           X509_cmp_time(X509_get0_notBefore(certificate), &at) < 0 &&
           X509_cmp_time(X509_get0_notAfter(certificate), &at) > 0 &&
           X509_check_issued(issuer, certificate) == X509_V_OK &&
           X509_verify(certificate, signer) == 1 && is_named(certificate, pins);
}

/* Its key takes a content key; without keyUsage nothing says so. */
static bool
is_recipient(X509 *certificate)
{
    EVP_PKEY *key = X509_get0_pubkey(certificate);
    uint32_t usage = X509_get_key_usage(certificate);
    return key && EVP_PKEY_is_a(key, "RSA") && usage != UINT32_MAX &&
           (usage & KU_KEY_ENCIPHERMENT) != 0;
}

static bool
push(STACK_OF(X509) *chain, X509 *certificate)
{
    if (!X509_up_ref(certificate))
        return false;
    if (sk_X509_push(chain, certificate))
        return true;
    X509_free(certificate);
    return false;
}

/* The issuer, and its RAs among the certificates. NULL without memory. */
static STACK_OF(X509) *
signers_of(STACK_OF(X509) *certificates, X509 *issuer,
           const struct scep_wire_pins *pins, int64_t now)
{
    CA_AUTO(x509_stack_free) STACK_OF(X509) *signers = sk_X509_new_null();
    bool is_good = signers && push(signers, issuer);
    for (int i = 0; is_good && i < sk_X509_num(certificates); i++) {
        X509 *one = sk_X509_value(certificates, i);
        if (is_ra(one, issuer, pins, now))
            is_good = push(signers, one);
    }
    ERR_clear_error();
    return is_good ? CA_STEAL(signers) : NULL;
}

static X509 *
find_recipient(STACK_OF(X509) *signers, X509 *issuer)
{
    for (int i = 0; i < sk_X509_num(signers); i++) {
        X509 *one = sk_X509_value(signers, i);
        if (one != issuer && is_recipient(one))
            return one;
    }
    EVP_PKEY *key = X509_get0_pubkey(issuer);
    return key && EVP_PKEY_is_a(key, "RSA") ? issuer : NULL;
}

static X509 *
find_above(STACK_OF(X509) *certificates, X509 *below)
{
    for (int i = 0; i < sk_X509_num(certificates); i++) {
        X509 *one = sk_X509_value(certificates, i);
        EVP_PKEY *key = X509_get0_pubkey(one);
        if (one != below && key && X509_check_issued(one, below) == X509_V_OK &&
            X509_verify(below, key) == 1)
            return one;
    }
    ERR_clear_error();
    return NULL;
}

enum ca_status
scep_wire_trust(STACK_OF(X509) *certificates, const struct scep_wire_pins *pins,
                int64_t now, struct scep_wire_authority *ret_authority)
{
    X509 *issuer = find_pinned(certificates, pins->ca);
    if (!issuer)
        return ca_fail(CA_FORBIDDEN, "the pinned CA is not among the certificates");
    CA_AUTO(x509_stack_free)
    STACK_OF(X509) *signers = signers_of(certificates, issuer, pins, now);
    CA_AUTO(x509_stack_free) STACK_OF(X509) *chain = sk_X509_new_null();
    if (!signers || !chain)
        return ca_fail(CA_INTERNAL, "no memory for a chain");
    X509 *recipient = find_recipient(signers, issuer);
    if (!recipient)
        return ca_fail(CA_FORBIDDEN, "nobody of the CA takes an envelope");
    bool is_good = recipient == issuer || push(chain, recipient);
    int count = 0;
    for (X509 *at = issuer; is_good && at && count < SCEP_WIRE_CERTIFICATES_MAX;
         at = find_above(certificates, at), count++)
        is_good = push(chain, at);
    if (!is_good)
        return ca_fail(CA_INTERNAL, "no memory for a chain");
    *ret_authority = (struct scep_wire_authority){ issuer, recipient, CA_STEAL(chain),
                                                   CA_STEAL(signers) };
    return CA_OK;
}

static bool
add_once(PKCS7 *all, STACK_OF(X509) *certificates, STACK_OF(X509) *but)
{
    for (int i = 0; i < sk_X509_num(certificates); i++) {
        X509 *one = sk_X509_value(certificates, i);
        if (but && sk_X509_find(but, one) >= 0)
            continue;
        if (PKCS7_add_certificate(all, one) != 1)
            return false;
    }
    return true;
}

enum ca_status
scep_wire_authority_encode(const struct scep_wire_authority *authority,
                           struct scep_octets *ret_der, const char **ret_type)
{
    CA_AUTO(BIO_free_all) BIO *out = BIO_new(BIO_s_mem());
    bool is_alone =
        sk_X509_num(authority->chain) == 1 && sk_X509_num(authority->signers) == 1;
    PKCS7 *all = is_alone ? NULL : PKCS7_new();
    bool is_good = out != NULL;
    if (is_alone)
        is_good = is_good && i2d_X509_bio(out, authority->issuer) == 1;
    else
        is_good = is_good && all && PKCS7_set_type(all, NID_pkcs7_signed) == 1 &&
                  PKCS7_content_new(all, NID_pkcs7_data) == 1 &&
                  PKCS7_set_detached(all, 1) == 1 &&
                  add_once(all, authority->chain, NULL) &&
                  add_once(all, authority->signers, authority->chain) &&
                  i2d_PKCS7_bio(out, all) == 1;
    PKCS7_free(all);
    if (!is_good)
        return ca_fail_openssl(CA_INTERNAL, "cannot encode certificates");
    *ret_type =
        is_alone ? "application/x-x509-ca-cert" : "application/x-x509-ca-ra-cert";
    return octets_of(out, ret_der);
}

enum ca_status
scep_wire_self_sign(EVP_PKEY *key, const X509_NAME *subject, int64_t now,
                    X509 **ret_certificate)
{
    CA_AUTO(X509_free) X509 *made = X509_new();
    uint8_t serial[16];
    enum ca_status status = random_bytes(serial, sizeof serial);
    if (status != CA_OK)
        return status;
    serial[0] &= 0x7f;
    CA_AUTO(BN_free) BIGNUM *number = BN_bin2bn(serial, sizeof serial, NULL);
    if (!made || !number || !X509_set_version(made, X509_VERSION_3) ||
        !BN_to_ASN1_INTEGER(number, X509_get_serialNumber(made)) ||
        !X509_set_subject_name(made, subject) || !X509_set_issuer_name(made, subject) ||
        !ASN1_TIME_set(X509_getm_notBefore(made), (time_t)now - 300) ||
        !ASN1_TIME_set(X509_getm_notAfter(made), (time_t)now + SELF_SIGNED_SECONDS) ||
        !X509_set_pubkey(made, key) || X509_sign(made, key, EVP_sha256()) <= 0)
        return ca_fail_openssl(CA_INTERNAL, "cannot make a self-signed certificate");
    *ret_certificate = CA_STEAL(made);
    return CA_OK;
}
