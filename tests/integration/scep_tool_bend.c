/* Named hooks that spoil a SCEP message or its PKCS#10 in one way each. */
#include "scep_client.h"
#include "scep_tool.h"
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- PKCS#10 ---- */

static void
extensions_add(X509_REQ *request, const char *const (*wanted)[2], size_t count)
{
    STACK_OF(X509_EXTENSION) *all = sk_X509_EXTENSION_new_null();
    X509V3_CTX context;
    X509V3_set_ctx(&context, NULL, NULL, request, NULL, 0);
    X509V3_set_ctx_nodb(&context);
    for (size_t i = 0; i < count; i++) {
        X509_EXTENSION *extension =
            X509V3_EXT_conf(NULL, &context, wanted[i][0], wanted[i][1]);
        if (!extension || sk_X509_EXTENSION_push(all, extension) < 1) {
            fprintf(stderr, "no extension %s=%s\n", wanted[i][0], wanted[i][1]);
            exit(2);
        }
    }
    if (X509_REQ_add_extensions(request, all) != 1)
        abort();
    sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free);
}

#define EXTENSIONS(name, ...)                                                          \
    static void name(X509_REQ *request)                                                \
    {                                                                                  \
        static const char *const wanted[][2] = { __VA_ARGS__ };                        \
        extensions_add(request, wanted, sizeof wanted / sizeof *wanted);               \
    }

EXTENSIONS(csr_ca, { "basicConstraints", "critical,CA:TRUE" })
EXTENSIONS(csr_cert_sign, { "keyUsage", "critical,keyCertSign,cRLSign" })
EXTENSIONS(csr_strange, { "extendedKeyUsage", "OCSPSigning,emailProtection" },
           { "certificatePolicies", "DER:3007300506032A0304" },
           { "nameConstraints", "permitted;DNS:evil.example" },
           { "crlDistributionPoints", "URI:http://evil.example/x.crl" },
           { "authorityInfoAccess", "caIssuers;URI:http://evil.example/x.cer" },
           { "1.3.6.1.4.1.311.25.2", "ASN1:UTF8:S-1-5-21-500" },
           { "1.3.6.1.4.1.311.21.10", "ASN1:NULL" })

static void
csr_second_value(X509_REQ *request)
{
    int at = X509_REQ_get_attr_by_NID(request, NID_pkcs9_challengePassword, -1);
    X509_ATTRIBUTE *attribute = X509_REQ_get_attr(request, at);
    if (X509_ATTRIBUTE_set1_data(attribute, V_ASN1_UTF8STRING, "another", 7) != 1)
        abort();
}

/* OpenSSL adds no attribute that is there already, but renames one. */
static void
csr_second_challenge(X509_REQ *request)
{
    if (X509_REQ_add1_attr_by_NID(request, NID_pkcs9_unstructuredName,
                                  V_ASN1_UTF8STRING, (const uint8_t *)"another",
                                  7) != 1)
        abort();
    X509_ATTRIBUTE *attribute =
        X509_REQ_get_attr(request, X509_REQ_get_attr_count(request) - 1);
    if (X509_ATTRIBUTE_set1_object(attribute,
                                   OBJ_nid2obj(NID_pkcs9_challengePassword)) != 1)
        abort();
}

static const struct {
    const char *name;
    void (*bend)(X509_REQ *request);
} csr_bends[] = {
    { "ca", csr_ca },
    { "cert_sign", csr_cert_sign },
    { "strange", csr_strange },
    { "second_value", csr_second_value },
    { "second_challenge", csr_second_challenge },
};

void (*scep_tool_csr_bend(const char *name))(X509_REQ *request)
{
    if (!name)
        return NULL;
    for (size_t i = 0; i < sizeof csr_bends / sizeof *csr_bends; i++) {
        if (strcmp(csr_bends[i].name, name) == 0)
            return csr_bends[i].bend;
    }
    fprintf(stderr, "no bend '%s'\n", name);
    exit(2);
}

/* ---- Envelope ---- */

static PKCS7_RECIP_INFO *
recipient_of(PKCS7 *envelope)
{
    return sk_PKCS7_RECIP_INFO_value(envelope->d.enveloped->recipientinfo, 0);
}

static void
recipient_other(PKCS7 *envelope, void *arg)
{
    (void)arg;
    ASN1_INTEGER_set(recipient_of(envelope)->issuer_and_serial->serial, 4711);
}

static void
recipient_none(PKCS7 *envelope, void *arg)
{
    (void)arg;
    PKCS7_RECIP_INFO_free(
        sk_PKCS7_RECIP_INFO_pop(envelope->d.enveloped->recipientinfo));
}

static void
recipients_many(PKCS7 *envelope, void *arg)
{
    (void)arg;
    for (int i = 0; i < 60; i++) {
        PKCS7_RECIP_INFO *copy =
            ASN1_item_dup(ASN1_ITEM_rptr(PKCS7_RECIP_INFO), recipient_of(envelope));
        if (!copy ||
            sk_PKCS7_RECIP_INFO_push(envelope->d.enveloped->recipientinfo, copy) < 1)
            abort();
    }
}

static void
key_empty(PKCS7 *envelope, void *arg)
{
    (void)arg;
    ASN1_OCTET_STRING_set(recipient_of(envelope)->enc_key, (const uint8_t *)"", 0);
}

static void
key_above(PKCS7 *envelope, void *arg)
{
    (void)arg;
    ASN1_OCTET_STRING *key = recipient_of(envelope)->enc_key;
    memset(key->data, 0xff, (size_t)key->length);
}

static void
content_cut(PKCS7 *envelope, void *arg)
{
    (void)arg;
    envelope->d.enveloped->enc_data->enc_data->length -= 3;
}

static void
content_empty(PKCS7 *envelope, void *arg)
{
    (void)arg;
    envelope->d.enveloped->enc_data->enc_data->length = 0;
}

/* ---- Attributes ---- */

static void
type_missing(STACK_OF(X509_ATTRIBUTE) *attributes, void *arg)
{
    (void)arg;
    scep_attribute_remove(attributes, SCEP_MESSAGE_TYPE);
}

static void
type_doubled(STACK_OF(X509_ATTRIBUTE) *attributes, void *arg)
{
    (void)arg;
    scep_attribute_add(attributes, SCEP_MESSAGE_TYPE, V_ASN1_PRINTABLESTRING, "17", 2);
}

static void
type_integer(STACK_OF(X509_ATTRIBUTE) *attributes, void *arg)
{
    type_missing(attributes, arg);
    scep_attribute_add(attributes, SCEP_MESSAGE_TYPE, V_ASN1_INTEGER, "\x13", 1);
}

static void
transaction_missing(STACK_OF(X509_ATTRIBUTE) *attributes, void *arg)
{
    (void)arg;
    scep_attribute_remove(attributes, SCEP_TRANSACTION);
}

static void
transaction_control(STACK_OF(X509_ATTRIBUTE) *attributes, void *arg)
{
    transaction_missing(attributes, arg);
    scep_attribute_add(attributes, SCEP_TRANSACTION, V_ASN1_PRINTABLESTRING, "a\nb", 3);
}

static void
nonce_missing(STACK_OF(X509_ATTRIBUTE) *attributes, void *arg)
{
    (void)arg;
    scep_attribute_remove(attributes, SCEP_SENDER_NONCE);
}

static void
nonce_short(STACK_OF(X509_ATTRIBUTE) *attributes, void *arg)
{
    nonce_missing(attributes, arg);
    scep_attribute_add(attributes, SCEP_SENDER_NONCE, V_ASN1_OCTET_STRING, "12345678",
                       8);
}

/* ---- SignedData ---- */

static PKCS7_SIGNER_INFO *
info_of(PKCS7 *message)
{
    return sk_PKCS7_SIGNER_INFO_value(message->d.sign->signer_info, 0);
}

static void
signature_broken(PKCS7 *message, void *arg)
{
    (void)arg;
    info_of(message)->enc_digest->data[7] ^= 1;
}

static void
content_changed(PKCS7 *message, void *arg)
{
    (void)arg;
    ASN1_OCTET_STRING *content = message->d.sign->contents->d.data;
    content->data[content->length - 1] ^= 1;
}

static void
signer_twice(PKCS7 *message, void *arg)
{
    (void)arg;
    PKCS7_SIGNER_INFO *copy =
        ASN1_item_dup(ASN1_ITEM_rptr(PKCS7_SIGNER_INFO), info_of(message));
    if (!copy || sk_PKCS7_SIGNER_INFO_push(message->d.sign->signer_info, copy) < 1)
        abort();
}

static void
signer_none(PKCS7 *message, void *arg)
{
    (void)arg;
    PKCS7_SIGNER_INFO_free(sk_PKCS7_SIGNER_INFO_pop(message->d.sign->signer_info));
}

static void
certificate_missing(PKCS7 *message, void *arg)
{
    (void)arg;
    sk_X509_pop_free(message->d.sign->cert, X509_free);
    message->d.sign->cert = NULL;
}

static void
attributes_missing(PKCS7 *message, void *arg)
{
    (void)arg;
    sk_X509_ATTRIBUTE_pop_free(info_of(message)->auth_attr, X509_ATTRIBUTE_free);
    info_of(message)->auth_attr = NULL;
}

static void
attributes_unsigned(PKCS7 *message, void *arg)
{
    (void)arg;
    info_of(message)->unauth_attr = info_of(message)->auth_attr;
    info_of(message)->auth_attr = NULL;
}

static void
bystanders(PKCS7 *message, void *arg)
{
    (void)arg;
    static const char *const kinds[] = { "P-256", "P-384" };
    for (size_t i = 0; i < 2; i++) {
        EVP_PKEY *key = EVP_EC_gen(kinds[i]);
        X509 *certificate = scep_self_signed(key, "bystander", NULL);
        if (!certificate || PKCS7_add_certificate(message, certificate) != 1)
            abort();
        X509_free(certificate);
        EVP_PKEY_free(key);
    }
}

static const struct scep_tool_bend bends[] = {
    { "recipient_other", .envelope = recipient_other },
    { "recipient_none", .envelope = recipient_none },
    { "recipients_many", .envelope = recipients_many },
    { "key_empty", .envelope = key_empty },
    { "key_above", .envelope = key_above },
    { "content_cut", .envelope = content_cut },
    { "content_empty", .envelope = content_empty },
    { "type_missing", .attributes = type_missing },
    { "type_doubled", .attributes = type_doubled },
    { "type_integer", .attributes = type_integer },
    { "transaction_missing", .attributes = transaction_missing },
    { "transaction_control", .attributes = transaction_control },
    { "nonce_missing", .attributes = nonce_missing },
    { "nonce_short", .attributes = nonce_short },
    { "signature_broken", .message = signature_broken },
    { "content_changed", .message = content_changed },
    { "signer_twice", .message = signer_twice },
    { "signer_none", .message = signer_none },
    { "certificate_missing", .message = certificate_missing },
    { "attributes_missing", .message = attributes_missing },
    { "attributes_unsigned", .message = attributes_unsigned },
    { "bystanders", .message = bystanders },
};

struct scep_tool_bend
scep_tool_bend_find(const char *name)
{
    if (!name)
        return (struct scep_tool_bend){ 0 };
    for (size_t i = 0; i < sizeof bends / sizeof *bends; i++) {
        if (strcmp(bends[i].name, name) == 0)
            return bends[i];
    }
    fprintf(stderr, "no bend '%s'\n", name);
    exit(2);
}
