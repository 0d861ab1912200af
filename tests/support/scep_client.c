/* A SCEP client for tests and load. */
#include "scep_client.h"
#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

static uint8_t *
der_copy(uint8_t *der, int size, size_t *ret_size)
{
    uint8_t *copy = size > 0 ? malloc((size_t)size) : NULL;
    if (copy) {
        memcpy(copy, der, (size_t)size);
        *ret_size = (size_t)size;
    }
    OPENSSL_free(der);
    return copy;
}

/* ---- PKCS#10 ---- */

void
scep_csr_add_challenge(X509_REQ *request, const char *text, int length)
{
    X509_REQ_add1_attr_by_NID(request, NID_pkcs9_challengePassword, MBSTRING_ASC,
                              (const unsigned char *)text, length);
}

static bool
san_add(X509_REQ *request, const char *san)
{
    X509_EXTENSION *extension =
        X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
    STACK_OF(X509_EXTENSION) *all = sk_X509_EXTENSION_new_null();
    bool is_added = extension && all && sk_X509_EXTENSION_push(all, extension) > 0 &&
                    X509_REQ_add_extensions(request, all) == 1;
    X509_EXTENSION_free(extension);
    sk_X509_EXTENSION_free(all);
    return is_added;
}

static bool
csr_fill(X509_REQ *request, const struct scep_csr *csr)
{
    X509_NAME *subject = X509_REQ_get_subject_name(request);
    if (csr->cn &&
        X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
                                   (const unsigned char *)csr->cn, -1, -1, 0) != 1)
        return false;
    if (csr->challenge) {
        int type = csr->challenge_type ? csr->challenge_type : V_ASN1_PRINTABLESTRING;
        if (X509_REQ_add1_attr_by_NID(request, NID_pkcs9_challengePassword, type,
                                      (const unsigned char *)csr->challenge,
                                      (int)strlen(csr->challenge)) != 1)
            return false;
    }
    if (csr->san && !san_add(request, csr->san))
        return false;
    return X509_REQ_set_pubkey(request, csr->key) == 1;
}

uint8_t *
scep_csr_build(const struct scep_csr *csr, size_t *ret_size)
{
    uint8_t *der = NULL;
    int size = 0;
    X509_REQ *request = X509_REQ_new();
    const EVP_MD *digest = csr->digest ? csr->digest : EVP_sha256();
    if (EVP_PKEY_get_base_id(csr->key) == EVP_PKEY_ED25519)
        digest = NULL;
    if (request && csr_fill(request, csr)) {
        if (csr->bend)
            csr->bend(request);
        if (X509_REQ_sign(request, csr->key, digest) > 0)
            size = i2d_X509_REQ(request, &der);
    }
    X509_REQ_free(request);
    return der_copy(der, size, ret_size);
}

X509 *
scep_self_signed(EVP_PKEY *key, const char *cn, const EVP_MD *digest)
{
    uint64_t serial = 0;
    X509 *certificate = X509_new();
    X509_NAME *name = certificate ? X509_get_subject_name(certificate) : NULL;
    if (RAND_bytes((unsigned char *)&serial, sizeof serial) == 1 && name &&
        X509_set_version(certificate, X509_VERSION_3) == 1 &&
        ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1 | 1) ==
            1 &&
        X509_gmtime_adj(X509_getm_notBefore(certificate), -3600) &&
        X509_gmtime_adj(X509_getm_notAfter(certificate), 86400) &&
        X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
                                   (const unsigned char *)cn, -1, -1, 0) == 1 &&
        X509_set_issuer_name(certificate, name) == 1 &&
        X509_set_pubkey(certificate, key) == 1 &&
        X509_sign(certificate, key, digest ? digest : EVP_sha256()) > 0)
        return certificate;
    X509_free(certificate);
    return NULL;
}

/* ---- The envelope ---- */

static ASN1_OBJECT *
scep_object(int arc)
{
    char oid[40];
    snprintf(oid, sizeof oid, "2.16.840.1.113733.1.9.%d", arc);
    return OBJ_txt2obj(oid, 1);
}

static bool
id_set(PKCS7_ISSUER_AND_SERIAL *id, const X509 *certificate)
{
    ASN1_INTEGER_free(id->serial);
    id->serial = ASN1_INTEGER_dup(X509_get0_serialNumber(certificate));
    return id->serial &&
           X509_NAME_set(&id->issuer, X509_get_issuer_name(certificate)) == 1;
}

/* The content key, as RSA makes it: padded by OpenSSL, or the raw block of a case. */
static bool
key_encrypt(const struct scep_client_request *request, const uint8_t *key, size_t size,
            ASN1_OCTET_STRING *ret_encrypted)
{
    uint8_t encrypted[2048];
    size_t length = sizeof encrypted;
    EVP_PKEY *recipient = X509_get0_pubkey(request->recipient);
    EVP_PKEY_CTX *context = recipient ? EVP_PKEY_CTX_new(recipient, NULL) : NULL;
    int padding = request->block  ? RSA_NO_PADDING
                  : request->oaep ? RSA_PKCS1_OAEP_PADDING
                                  : RSA_PKCS1_PADDING;
    const uint8_t *from = request->block ? request->block : key;
    if (request->block)
        size = (size_t)EVP_PKEY_get_size(recipient);
    bool done = context && EVP_PKEY_encrypt_init(context) == 1 &&
                EVP_PKEY_CTX_set_rsa_padding(context, padding) == 1 &&
                EVP_PKEY_encrypt(context, encrypted, &length, from, size) == 1 &&
                ASN1_OCTET_STRING_set(ret_encrypted, encrypted, (int)length) == 1;
    EVP_PKEY_CTX_free(context);
    return done;
}

static bool
content_encrypt(const struct scep_client_request *request, const EVP_CIPHER *cipher,
                const uint8_t *key, PKCS7_ENC_CONTENT *ret_content)
{
    uint8_t iv[EVP_MAX_IV_LENGTH];
    int size = 0, rest = 0;
    uint8_t *encrypted = malloc(request->content_size + EVP_MAX_BLOCK_LENGTH);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    ASN1_TYPE *parameter = ASN1_TYPE_new();
    bool done =
        encrypted && context && parameter && RAND_bytes(iv, sizeof iv) == 1 &&
        EVP_EncryptInit_ex(context, cipher, NULL, key, iv) == 1 &&
        EVP_CIPHER_CTX_set_padding(context, !request->content_is_padded) == 1 &&
        EVP_EncryptUpdate(context, encrypted, &size, request->content,
                          (int)request->content_size) == 1 &&
        EVP_EncryptFinal_ex(context, encrypted + size, &rest) == 1 &&
        ASN1_TYPE_set_octetstring(parameter, iv, EVP_CIPHER_get_iv_length(cipher)) == 1;
    ASN1_OCTET_STRING *data = ASN1_OCTET_STRING_new();
    done = done && data && ASN1_OCTET_STRING_set(data, encrypted, size + rest) == 1;
    if (done) {
        ASN1_OBJECT_free(ret_content->algorithm->algorithm);
        ASN1_TYPE_free(ret_content->algorithm->parameter);
        ret_content->algorithm->algorithm = OBJ_nid2obj(EVP_CIPHER_get_type(cipher));
        ret_content->algorithm->parameter = parameter;
        ret_content->content_type = OBJ_nid2obj(NID_pkcs7_data);
        ret_content->enc_data = data;
    } else {
        ASN1_TYPE_free(parameter);
        ASN1_OCTET_STRING_free(data);
    }
    EVP_CIPHER_CTX_free(context);
    free(encrypted);
    return done;
}

static PKCS7 *
envelope_make(const struct scep_client_request *request)
{
    uint8_t key[EVP_MAX_KEY_LENGTH];
    const EVP_CIPHER *cipher = request->cipher ? request->cipher : EVP_aes_128_cbc();
    size_t key_size = (size_t)EVP_CIPHER_get_key_length(cipher);
    PKCS7 *envelope = PKCS7_new();
    PKCS7_RECIP_INFO *info = PKCS7_RECIP_INFO_new();
    if (!envelope || !info || RAND_bytes(key, sizeof key) != 1 ||
        PKCS7_set_type(envelope, NID_pkcs7_enveloped) != 1 ||
        sk_PKCS7_RECIP_INFO_push(envelope->d.enveloped->recipientinfo, info) < 1) {
        PKCS7_RECIP_INFO_free(info);
        PKCS7_free(envelope);
        return NULL;
    }
    int nid = request->oaep ? NID_rsaesOaep : NID_rsaEncryption;
    bool done =
        id_set(info->issuer_and_serial, request->recipient) &&
        ASN1_INTEGER_set(info->version, 0) == 1 &&
        X509_ALGOR_set0(info->key_enc_algor, OBJ_nid2obj(nid),
                        request->oaep ? V_ASN1_UNDEF : V_ASN1_NULL, NULL) == 1 &&
        key_encrypt(request, key, key_size, info->enc_key) &&
        content_encrypt(request, cipher,
                        request->content_key ? request->content_key : key,
                        envelope->d.enveloped->enc_data);
    if (done)
        return envelope;
    PKCS7_free(envelope);
    return NULL;
}

static uint8_t *
envelope_build(const struct scep_client_request *request, size_t *ret_size)
{
    uint8_t *der = NULL;
    if (request->envelope) {
        der = malloc(request->envelope_size + 1);
        if (der)
            memcpy(der, request->envelope, request->envelope_size);
        *ret_size = request->envelope_size;
        return der;
    }
    PKCS7 *envelope = envelope_make(request);
    if (!envelope)
        return NULL;
    if (request->bend_envelope)
        request->bend_envelope(envelope, request->arg);
    int size = i2d_PKCS7(envelope, &der);
    PKCS7_free(envelope);
    return der_copy(der, size, ret_size);
}

/* ---- The signature ---- */

void
scep_attribute_add(STACK_OF(X509_ATTRIBUTE) *attributes, int arc, int type,
                   const void *value, int size)
{
    ASN1_OBJECT *object = scep_object(arc);
    X509_ATTRIBUTE *attribute =
        X509_ATTRIBUTE_create_by_OBJ(NULL, object, type, value, size);
    if (!attribute || sk_X509_ATTRIBUTE_push(attributes, attribute) < 1)
        abort();
    ASN1_OBJECT_free(object);
}

void
scep_attribute_remove(STACK_OF(X509_ATTRIBUTE) *attributes, int arc)
{
    ASN1_OBJECT *object = scep_object(arc);
    for (int i = sk_X509_ATTRIBUTE_num(attributes) - 1; i >= 0; i--) {
        X509_ATTRIBUTE *attribute = sk_X509_ATTRIBUTE_value(attributes, i);
        if (OBJ_cmp(X509_ATTRIBUTE_get0_object(attribute), object) == 0)
            X509_ATTRIBUTE_free(sk_X509_ATTRIBUTE_delete(attributes, i));
    }
    ASN1_OBJECT_free(object);
}

static void
known_add(STACK_OF(X509_ATTRIBUTE) *attributes, int nid, int type, const void *value,
          int size)
{
    X509_ATTRIBUTE *attribute =
        X509_ATTRIBUTE_create_by_NID(NULL, nid, type, value, size);
    if (!attribute || sk_X509_ATTRIBUTE_push(attributes, attribute) < 1)
        abort();
}

static bool
attributes_fill(const struct scep_client_request *request, const uint8_t *content,
                size_t content_size, STACK_OF(X509_ATTRIBUTE) *attributes)
{
    uint8_t digest[EVP_MAX_MD_SIZE], nonce[16];
    unsigned digest_size;
    const EVP_MD *md = request->digest ? request->digest : EVP_sha256();
    const char *type = request->type ? request->type : "19";
    const char *transaction = request->transaction ? request->transaction : "1";
    if (EVP_Digest(content, content_size, digest, &digest_size, md, NULL) != 1 ||
        RAND_bytes(nonce, sizeof nonce) != 1)
        return false;
    X509_ATTRIBUTE *content_type = X509_ATTRIBUTE_create(
        NID_pkcs9_contentType, V_ASN1_OBJECT, OBJ_nid2obj(NID_pkcs7_data));
    if (!content_type || sk_X509_ATTRIBUTE_push(attributes, content_type) < 1)
        return false;
    known_add(attributes, NID_pkcs9_messageDigest, V_ASN1_OCTET_STRING, digest,
              (int)digest_size);
    scep_attribute_add(attributes, SCEP_MESSAGE_TYPE, V_ASN1_PRINTABLESTRING, type,
                       (int)strlen(type));
    scep_attribute_add(attributes, SCEP_SENDER_NONCE, V_ASN1_OCTET_STRING,
                       request->nonce ? request->nonce : nonce, 16);
    scep_attribute_add(attributes, SCEP_TRANSACTION, V_ASN1_PRINTABLESTRING,
                       transaction, (int)strlen(transaction));
    if (request->bend_attributes)
        request->bend_attributes(attributes, request->arg);
    return true;
}

/* Signs the attributes as they are: DER SET in ascending order. */
static bool
signer_sign(const struct scep_client_request *request, PKCS7_SIGNER_INFO *info)
{
    const EVP_MD *md = request->digest ? request->digest : EVP_sha256();
    uint8_t *set = NULL, signature[2048];
    size_t size = sizeof signature;
    int set_size = ASN1_item_i2d((ASN1_VALUE *)info->auth_attr, &set,
                                 ASN1_ITEM_rptr(PKCS7_ATTR_SIGN));
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done = set_size > 0 && context &&
                EVP_DigestSignInit(context, NULL, md, NULL, request->key) == 1 &&
                EVP_DigestSign(context, signature, &size, set, (size_t)set_size) == 1 &&
                ASN1_OCTET_STRING_set(info->enc_digest, signature, (int)size) == 1;
    EVP_MD_CTX_free(context);
    OPENSSL_free(set);
    return done;
}

static bool
signed_fill(const struct scep_client_request *request, const uint8_t *content,
            size_t content_size, PKCS7 *message)
{
    const EVP_MD *md = request->digest ? request->digest : EVP_sha256();
    PKCS7_SIGNER_INFO *info = PKCS7_SIGNER_INFO_new();
    X509_ALGOR *algorithm = X509_ALGOR_new();
    if (!info || !algorithm || PKCS7_set_type(message, NID_pkcs7_signed) != 1 ||
        PKCS7_content_new(message, NID_pkcs7_data) != 1 ||
        ASN1_OCTET_STRING_set(message->d.sign->contents->d.data, content,
                              (int)content_size) != 1 ||
        PKCS7_add_certificate(message, request->certificate) != 1 ||
        sk_PKCS7_SIGNER_INFO_push(message->d.sign->signer_info, info) < 1 ||
        sk_X509_ALGOR_push(message->d.sign->md_algs, algorithm) < 1)
        return false;
    info->auth_attr = sk_X509_ATTRIBUTE_new_null();
    X509_ALGOR_set_md(algorithm, md);
    X509_ALGOR_set_md(info->digest_alg, md);
    X509_ALGOR_set0(info->digest_enc_alg, OBJ_nid2obj(NID_rsaEncryption), V_ASN1_NULL,
                    NULL);
    return ASN1_INTEGER_set(info->version, 1) == 1 &&
           id_set(info->issuer_and_serial, request->certificate) &&
           attributes_fill(request, content, content_size, info->auth_attr) &&
           signer_sign(request, info);
}

uint8_t *
scep_client_build(const struct scep_client_request *request, size_t *ret_size)
{
    size_t content_size = 0;
    uint8_t *der = NULL, *content = envelope_build(request, &content_size);
    int size = 0;
    PKCS7 *message = PKCS7_new();
    if (content && message && signed_fill(request, content, content_size, message)) {
        if (request->bend_signed)
            request->bend_signed(message, request->arg);
        size = i2d_PKCS7(message, &der);
    }
    PKCS7_free(message);
    free(content);
    return der_copy(der, size, ret_size);
}

/* ---- Small messageData ---- */

/* SEQUENCE of two encodings. */
static uint8_t *
pair_build(uint8_t *first, int first_size, uint8_t *second, int second_size,
           size_t *ret_size)
{
    int inner = first_size + second_size;
    uint8_t *pair = NULL;
    if (first_size > 0 && second_size > 0) {
        int size = ASN1_object_size(1, inner, V_ASN1_SEQUENCE);
        uint8_t *at = pair = malloc((size_t)size);
        if (pair) {
            ASN1_put_object(&at, 1, inner, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
            memcpy(at, first, (size_t)first_size);
            memcpy(at + first_size, second, (size_t)second_size);
            *ret_size = (size_t)size;
        }
    }
    OPENSSL_free(first);
    OPENSSL_free(second);
    return pair;
}

uint8_t *
scep_issuer_and_subject(const X509_NAME *issuer, const X509_NAME *subject,
                        size_t *ret_size)
{
    uint8_t *first = NULL, *second = NULL;
    int first_size = i2d_X509_NAME(issuer, &first);
    int second_size = i2d_X509_NAME(subject, &second);
    return pair_build(first, first_size, second, second_size, ret_size);
}

uint8_t *
scep_issuer_and_serial(const X509_NAME *issuer, const ASN1_INTEGER *serial,
                       size_t *ret_size)
{
    uint8_t *first = NULL, *second = NULL;
    int first_size = i2d_X509_NAME(issuer, &first);
    int second_size = i2d_ASN1_INTEGER(serial, &second);
    return pair_build(first, first_size, second, second_size, ret_size);
}

/* ---- The answer ---- */

/* The one value of an attribute that must be there at most once; NULL: absent. */
static const ASN1_STRING *
attribute_get(CMS_SignerInfo *info, int arc, int type, bool *ret_bad)
{
    ASN1_OBJECT *object = scep_object(arc);
    int at = CMS_signed_get_attr_by_OBJ(info, object, -1);
    int again = at >= 0 ? CMS_signed_get_attr_by_OBJ(info, object, at) : -1;
    ASN1_OBJECT_free(object);
    if (at < 0)
        return NULL;
    X509_ATTRIBUTE *attribute = CMS_signed_get_attr(info, at);
    ASN1_TYPE *value = X509_ATTRIBUTE_get0_type(attribute, 0);
    if (again >= 0 || X509_ATTRIBUTE_count(attribute) != 1 || !value ||
        value->type != type) {
        *ret_bad = true;
        return NULL;
    }
    return value->value.asn1_string;
}

static void
word_get(CMS_SignerInfo *info, int arc, char ret_word[8], bool *ret_bad)
{
    const ASN1_STRING *value =
        attribute_get(info, arc, V_ASN1_PRINTABLESTRING, ret_bad);
    int size = value ? ASN1_STRING_length(value) : 0;
    if (size > 7)
        *ret_bad = true;
    else if (value)
        memcpy(ret_word, ASN1_STRING_get0_data(value), (size_t)size);
}

static void
nonce_get(CMS_SignerInfo *info, int arc, uint8_t ret_nonce[16], bool *ret_bad)
{
    const ASN1_STRING *value = attribute_get(info, arc, V_ASN1_OCTET_STRING, ret_bad);
    if (!value || ASN1_STRING_length(value) != 16)
        *ret_bad = true;
    else
        memcpy(ret_nonce, ASN1_STRING_get0_data(value), 16);
}

static const char *
attributes_read(CMS_SignerInfo *info, struct scep_reply *reply)
{
    bool is_bad = false;
    word_get(info, SCEP_MESSAGE_TYPE, reply->type, &is_bad);
    word_get(info, SCEP_PKI_STATUS, reply->status, &is_bad);
    word_get(info, SCEP_FAIL_INFO, reply->fail, &is_bad);
    nonce_get(info, SCEP_SENDER_NONCE, reply->sender_nonce, &is_bad);
    nonce_get(info, SCEP_RECIPIENT_NONCE, reply->recipient_nonce, &is_bad);
    const ASN1_STRING *transaction =
        attribute_get(info, SCEP_TRANSACTION, V_ASN1_PRINTABLESTRING, &is_bad);
    if (is_bad || !transaction)
        return "an attribute is missing, doubled or of another type";
    reply->transaction = strndup((const char *)ASN1_STRING_get0_data(transaction),
                                 (size_t)ASN1_STRING_length(transaction));
    ASN1_OBJECT *text = OBJ_txt2obj("1.3.6.1.5.5.7.24.1", 1);
    reply->has_fail_text = CMS_signed_get_attr_by_OBJ(info, text, -1) >= 0;
    ASN1_OBJECT_free(text);
    return NULL;
}

static const char *
certificates_read(BIO *content, struct scep_reply *reply)
{
    CMS_ContentInfo *cms = d2i_CMS_bio(content, NULL);
    if (!cms || OBJ_obj2nid(CMS_get0_type(cms)) != NID_pkcs7_signed) {
        CMS_ContentInfo_free(cms);
        return "the enveloped content is no SignedData";
    }
    ASN1_OCTET_STRING **inner = CMS_get0_content(cms);
    bool is_certs_only =
        sk_CMS_SignerInfo_num(CMS_get0_SignerInfos(cms)) <= 0 && inner && !*inner;
    STACK_OF(X509) *certificates = CMS_get1_certs(cms);
    STACK_OF(X509_CRL) *crls = CMS_get1_crls(cms);
    reply->certificate_count = certificates ? sk_X509_num(certificates) : 0;
    if (reply->certificate_count > 0)
        reply->certificate = sk_X509_shift(certificates);
    if (crls && sk_X509_CRL_num(crls) > 0)
        reply->crl = sk_X509_CRL_shift(crls);
    sk_X509_pop_free(certificates, X509_free);
    sk_X509_CRL_pop_free(crls, X509_CRL_free);
    CMS_ContentInfo_free(cms);
    return is_certs_only ? NULL : "the enveloped content is not certs-only";
}

/* The cipher of an EnvelopedData, which CMS keeps to itself. */
static int
cipher_of(const uint8_t *der, long size)
{
    PKCS7 *envelope = d2i_PKCS7(NULL, &der, size);
    int nid = NID_undef;
    if (envelope && PKCS7_type_is_enveloped(envelope))
        nid = OBJ_obj2nid(envelope->d.enveloped->enc_data->algorithm->algorithm);
    PKCS7_free(envelope);
    return nid;
}

static const char *
content_read(BIO *content, EVP_PKEY *key, X509 *certificate, struct scep_reply *reply)
{
    char *data;
    long size = BIO_get_mem_data(content, &data);
    reply->has_content = size > 0;
    if (size <= 0)
        return NULL;
    reply->cipher = cipher_of((const uint8_t *)data, size);
    CMS_ContentInfo *cms = d2i_CMS_bio(content, NULL);
    BIO *plain = BIO_new(BIO_s_mem());
    const char *wrong = "the content is no EnvelopedData";
    if (cms && plain && OBJ_obj2nid(CMS_get0_type(cms)) == NID_pkcs7_enveloped) {
        reply->recipients = sk_CMS_RecipientInfo_num(CMS_get0_RecipientInfos(cms));
        wrong = "the envelope is not for this key";
        if (CMS_decrypt(cms, key, certificate, NULL, plain, 0) == 1)
            wrong = certificates_read(plain, reply);
    }
    BIO_free(plain);
    CMS_ContentInfo_free(cms);
    return wrong;
}

static const char *
signed_read(CMS_ContentInfo *cms, X509 *ra, EVP_PKEY *key, X509 *certificate,
            struct scep_reply *reply)
{
    STACK_OF(CMS_SignerInfo) *infos = CMS_get0_SignerInfos(cms);
    ASN1_OCTET_STRING **encoded = CMS_get0_content(cms);
    if (sk_CMS_SignerInfo_num(infos) != 1)
        return "not one SignerInfo";
    CMS_SignerInfo *info = sk_CMS_SignerInfo_value(infos, 0);
    X509_ALGOR *digest, *signature;
    CMS_SignerInfo_get0_algs(info, NULL, NULL, &digest, &signature);
    reply->digest = OBJ_obj2nid(digest->algorithm);
    if (OBJ_obj2nid(signature->algorithm) != NID_rsaEncryption)
        return "the signature algorithm is not rsaEncryption";
    STACK_OF(X509) *signers = sk_X509_new_null();
    BIO *empty = BIO_new_mem_buf("", 0), *content = BIO_new(BIO_s_mem());
    bool is_detached = !encoded || !*encoded;
    const char *wrong = "the signature does not hold";
    if (signers && sk_X509_push(signers, ra) > 0 &&
        CMS_verify(cms, signers, NULL, is_detached ? empty : NULL, content,
                   CMS_NO_SIGNER_CERT_VERIFY | CMS_NOINTERN | CMS_BINARY) == 1)
        wrong = attributes_read(info, reply);
    if (!wrong && !is_detached)
        wrong = content_read(content, key, certificate, reply);
    BIO_free(empty);
    BIO_free(content);
    sk_X509_free(signers);
    return wrong;
}

const char *
scep_reply_read(const uint8_t *der, size_t size, X509 *ra, EVP_PKEY *key,
                X509 *certificate, struct scep_reply *ret_reply)
{
    *ret_reply = (struct scep_reply){ 0 };
    const uint8_t *at = der;
    CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &at, (long)size);
    const char *wrong = "the answer is no SignedData";
    if (cms && at == der + size && OBJ_obj2nid(CMS_get0_type(cms)) == NID_pkcs7_signed)
        wrong = signed_read(cms, ra, key, certificate, ret_reply);
    CMS_ContentInfo_free(cms);
    return wrong;
}

void
scep_reply_clear(struct scep_reply *reply)
{
    free(reply->transaction);
    X509_free(reply->certificate);
    X509_CRL_free(reply->crl);
    *reply = (struct scep_reply){ 0 };
}
