/* An upstream SCEP CA for one message, as a program: reads a PKIOperation, writes the
 * CertRep, right or as wrong as it is told. The CA's RSA key signs, decrypts and
 * certifies; only the RA whose certificate is named may ask. */
#include <openssl/cms.h>
#include <openssl/pem.h>
#include <openssl/pkcs7.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_MAX 65536
#define ATTRIBUTE(arc) "2.16.840.1.113733.1.9." arc
#define MUST(condition)                                                                \
    do {                                                                               \
        if (!(condition)) {                                                            \
            fprintf(stderr, "scep_upstream: %s\n", #condition);                        \
            exit(1);                                                                   \
        }                                                                              \
    } while (0)

static X509 *
certificate_read(const char *path)
{
    FILE *file = fopen(path, "r");
    MUST(file);
    X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    MUST(certificate);
    return certificate;
}

static EVP_PKEY *
key_read(const char *path)
{
    FILE *file = fopen(path, "r");
    MUST(file);
    EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    fclose(file);
    MUST(key);
    return key;
}

static ASN1_STRING *
attribute_get(CMS_SignerInfo *signer, const char *oid, int type)
{
    ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
    ASN1_STRING *value = CMS_signed_get0_data_by_OBJ(signer, object, -3, type);
    ASN1_OBJECT_free(object);
    MUST(value);
    return value;
}

static void
attribute_add(CMS_SignerInfo *signer, const char *oid, int type, const void *value,
              int size)
{
    ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
    MUST(object && CMS_signed_add1_attr_by_OBJ(signer, object, type, value, size) == 1);
    ASN1_OBJECT_free(object);
}

static bool
is_how(const char *how, const char *word)
{
    return strcmp(how, word) == 0;
}

/* With the CA's name, by its key or by somebody else's; for the key that asks, or not.
 */
static X509 *
certify(X509_REQ *request, X509 *ca, EVP_PKEY *key, const char *how)
{
    X509 *made = X509_new();
    EVP_PKEY *wanted = X509_REQ_get0_pubkey(request);
    MUST(made && wanted && X509_REQ_verify(request, wanted) == 1);
    EVP_PKEY *other = EVP_RSA_gen(2048);
    MUST(other);
    if (is_how(how, "other_key"))
        wanted = other;
    if (is_how(how, "other_issuer"))
        key = other;
    bool is_renamed = is_how(how, "other_name"), is_over = is_how(how, "expired");
    MUST(X509_set_version(made, X509_VERSION_3) &&
         ASN1_INTEGER_set(X509_get_serialNumber(made), 4711) &&
         X509_set_subject_name(made, X509_REQ_get_subject_name(request)) &&
         X509_set_issuer_name(made, is_renamed ? X509_REQ_get_subject_name(request)
                                               : X509_get_subject_name(ca)) &&
         X509_gmtime_adj(X509_getm_notBefore(made), -60) &&
         X509_gmtime_adj(X509_getm_notAfter(made), is_over ? -1 : 86400) &&
         X509_set_pubkey(made, wanted));
    STACK_OF(X509_EXTENSION) *asked = X509_REQ_get_extensions(request);
    for (int i = 0; i < sk_X509_EXTENSION_num(asked); i++)
        MUST(X509_add_ext(made, sk_X509_EXTENSION_value(asked, i), -1));
    sk_X509_EXTENSION_pop_free(asked, X509_EXTENSION_free);
    if (is_how(how, "ca_certificate")) {
        X509_EXTENSION *extension =
            X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
        MUST(extension && X509_add_ext(made, extension, -1));
        X509_EXTENSION_free(extension);
    }
    const EVP_MD *digest = is_how(how, "md5_certificate") ? EVP_md5() : EVP_sha256();
    MUST(X509_sign(made, key, digest) > 0);
    EVP_PKEY_free(other);
    return made;
}

/* Degenerate SignedData with the certificate, enveloped to the RA. */
static BIO *
content_make(X509 *certificate, X509 *ra)
{
    STACK_OF(X509) *recipients = sk_X509_new_null();
    BIO *inner = BIO_new(BIO_s_mem()), *outer = BIO_new(BIO_s_mem());
    MUST(sk_X509_push(recipients, ra));
    PKCS7 *alone = PKCS7_new();
    MUST(alone && PKCS7_set_type(alone, NID_pkcs7_signed) &&
         PKCS7_content_new(alone, NID_pkcs7_data) && PKCS7_set_detached(alone, 1) &&
         PKCS7_add_certificate(alone, certificate));
    MUST(i2d_PKCS7_bio(inner, alone) == 1);
    CMS_ContentInfo *envelope =
        CMS_encrypt(recipients, inner, EVP_aes_256_cbc(), CMS_BINARY);
    MUST(envelope && i2d_CMS_bio(outer, envelope) == 1);
    PKCS7_free(alone);
    CMS_ContentInfo_free(envelope);
    sk_X509_free(recipients);
    BIO_free(inner);
    return outer;
}

static int
answer_write(CMS_ContentInfo *answer)
{
    uint8_t *der = NULL;
    int size = i2d_CMS_ContentInfo(answer, &der);
    int written = size > 0 && fwrite(der, 1, (size_t)size, stdout) == (size_t)size;
    OPENSSL_free(der);
    return written;
}

/* A poll asks for what was asked before: requests are kept beside the CA. */
static X509_REQ *
request_find(BIO *content, const ASN1_STRING *type, const char *ca)
{
    char path[512];
    bool is_poll = ASN1_STRING_length(type) == 2 &&
                   memcmp(ASN1_STRING_get0_data(type), "20", 2) == 0;
    snprintf(path, sizeof path, "%s.request", ca);
    BIO *file = BIO_new_file(path, is_poll ? "r" : "w");
    MUST(file);
    X509_REQ *request = d2i_X509_REQ_bio(is_poll ? file : content, NULL);
    MUST(request && (is_poll || i2d_X509_REQ_bio(file, request) == 1));
    BIO_free(file);
    return request;
}

/* Somebody of the same name as the CA. */
static X509 *
stranger_make(X509 *ca, EVP_PKEY *key)
{
    X509 *made = X509_dup(ca);
    MUST(made && X509_set_pubkey(made, key) && X509_sign(made, key, EVP_sha256()) > 0);
    return made;
}

static const char *
status_of(const char *how)
{
    return is_how(how, "pending") ? "3" : is_how(how, "refuse") ? "2" : "0";
}

/* scep_upstream CA.pem CA.key RA.pem HOW: issue, pending, refuse, other_key,
 * other_issuer, other_signer, other_nonce, other_name, expired, ca_certificate,
 * md5_certificate, md5. The kind of message goes to stderr. */
int
main(int argc, char **argv)
{
    static uint8_t message[MESSAGE_MAX];
    MUST(argc == 5);
    const char *how = argv[4], *status = status_of(how);
    X509 *ca = certificate_read(argv[1]), *ra = certificate_read(argv[3]);
    EVP_PKEY *key = key_read(argv[2]);
    const uint8_t *at = message;
    size_t size = fread(message, 1, sizeof message, stdin);
    CMS_ContentInfo *asked = d2i_CMS_ContentInfo(NULL, &at, (long)size);
    STACK_OF(X509) *signers = sk_X509_new_null();
    BIO *envelope = BIO_new(BIO_s_mem()), *plain = BIO_new(BIO_s_mem());
    MUST(asked && sk_X509_push(signers, ra));
    MUST(CMS_verify(asked, signers, NULL, NULL, envelope,
                    CMS_NOINTERN | CMS_NO_SIGNER_CERT_VERIFY | CMS_BINARY) == 1);
    CMS_SignerInfo *signer = sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(asked), 0);
    CMS_ContentInfo *sealed = d2i_CMS_bio(envelope, NULL);
    MUST(sealed && CMS_decrypt(sealed, key, ca, NULL, plain, CMS_BINARY) == 1);
    ASN1_STRING *type = attribute_get(signer, ATTRIBUTE("2"), V_ASN1_PRINTABLESTRING);
    ASN1_STRING *nonce = attribute_get(signer, ATTRIBUTE("5"), V_ASN1_OCTET_STRING);
    ASN1_STRING *transaction =
        attribute_get(signer, ATTRIBUTE("7"), V_ASN1_PRINTABLESTRING);
    fwrite(ASN1_STRING_get0_data(type), 1, (size_t)ASN1_STRING_length(type), stderr);
    BIO *content = BIO_new_mem_buf("", 0);
    X509_REQ *request = request_find(plain, type, argv[1]);
    if (strcmp(status, "0") == 0) {
        X509 *made = certify(request, ca, key, how);
        BIO_free(content);
        content = content_make(made, ra);
        X509_free(made);
    }
    X509_REQ_free(request);
    const unsigned flags = CMS_BINARY | CMS_PARTIAL;
    CMS_ContentInfo *answer = CMS_sign(NULL, NULL, NULL, content, flags);
    EVP_PKEY *other = EVP_RSA_gen(2048);
    X509 *stranger = stranger_make(ca, other);
    bool is_stranger = is_how(how, "other_signer");
    CMS_SignerInfo *ours =
        CMS_add1_signer(answer, is_stranger ? stranger : ca, is_stranger ? other : key,
                        is_how(how, "md5") ? EVP_md5() : EVP_sha256(), flags);
    MUST(answer && ours);
    EVP_PKEY_free(other);
    X509_free(stranger);
    attribute_add(ours, ATTRIBUTE("2"), V_ASN1_PRINTABLESTRING, "3", 1);
    attribute_add(ours, ATTRIBUTE("3"), V_ASN1_PRINTABLESTRING, status, 1);
    if (strcmp(status, "2") == 0)
        attribute_add(ours, ATTRIBUTE("4"), V_ASN1_PRINTABLESTRING, "2", 1);
    attribute_add(ours, ATTRIBUTE("6"), V_ASN1_OCTET_STRING,
                  is_how(how, "other_nonce") ? (const uint8_t *)"another nonce..."
                                             : ASN1_STRING_get0_data(nonce),
                  ASN1_STRING_length(nonce));
    attribute_add(ours, ATTRIBUTE("7"), V_ASN1_PRINTABLESTRING,
                  ASN1_STRING_get0_data(transaction), ASN1_STRING_length(transaction));
    MUST(CMS_final(answer, content, NULL, CMS_BINARY) == 1);
    MUST(answer_write(answer) == 1);
    CMS_ContentInfo_free(asked);
    CMS_ContentInfo_free(sealed);
    CMS_ContentInfo_free(answer);
    sk_X509_free(signers);
    BIO_free(envelope);
    BIO_free(plain);
    BIO_free(content);
    X509_free(ca);
    X509_free(ra);
    EVP_PKEY_free(key);
    return 0;
}
