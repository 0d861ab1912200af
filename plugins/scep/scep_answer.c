/* CertRep as DER (RFC 8894 3.2, 3.3.2): signed by an RA key, enveloped to the signer of
 * the request and nobody else. */
#include "auto.h"
#include "scep.h"
#include <openssl/err.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#define OID_PKCS9(n) 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, n
#define OID_VERISIGN(n) 0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x45, 0x01, 0x09, n
#define ATTRIBUTES_MAX 8
#define SIGNATURE_MAX 1024

static const struct ca_bytes rsa_encryption =
    DER_OID_BYTES(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01);
static const struct ca_bytes sha256 =
    DER_OID_BYTES(0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01);
static const struct ca_bytes ecdsa_sha256 =
    DER_OID_BYTES(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02);

/* One signed attribute, its content lent until it is written. */
struct attribute {
    struct ca_bytes oid;
    uint8_t tag;
    struct ca_bytes value;
};

struct signed_data {
    struct ca_key *key;
    struct ca_bytes digest; /* OID */
    const EVP_MD *evp;
    struct ca_bytes content; /* data NULL: eContent absent */
    struct attribute attributes[ATTRIBUTES_MAX];
    size_t count;
};

static void
attribute_put(struct asn1_writer *writer, const struct attribute *attribute)
{
    size_t sequence = asn1_open(writer, DER_SEQUENCE);
    asn1_put_bytes(writer, DER_OID, attribute->oid);
    size_t set = asn1_open(writer, DER_SET);
    asn1_put_bytes(writer, attribute->tag, attribute->value);
    asn1_close(writer, set);
    asn1_close(writer, sequence);
}

/* X.690 11.6: the elements of a SET OF in ascending order of their encodings. */
static int
bytes_compare(const void *a, const void *b)
{
    const struct ca_bytes *first = a, *second = b;
    size_t common = first->size < second->size ? first->size : second->size;
    int order = memcmp(first->data, second->data, common);
    return order != 0 ? order
                      : (first->size > second->size) - (first->size < second->size);
}

/* All attributes as the content of the SET that is signed. */
static void
attributes_put(struct asn1_writer *writer, const struct signed_data *data)
{
    CA_AUTO(asn1_writer_clear) struct asn1_writer scratch = { 0 };
    struct ca_bytes encodings[ATTRIBUTES_MAX];
    size_t ends[ATTRIBUTES_MAX];
    for (size_t i = 0; i < data->count; i++) {
        attribute_put(&scratch, &data->attributes[i]);
        ends[i] = scratch.size;
    }
    if (scratch.failed) {
        writer->failed = true;
        return;
    }
    for (size_t i = 0; i < data->count; i++) {
        size_t start = i == 0 ? 0 : ends[i - 1];
        encodings[i] = (struct ca_bytes){ scratch.data + start, ends[i] - start };
    }
    qsort(encodings, data->count, sizeof encodings[0], bytes_compare);
    for (size_t i = 0; i < data->count; i++)
        asn1_put_raw(writer, encodings[i]);
}

static bool
key_is_rsa(struct ca_key *key)
{
    EVP_PKEY *public = X509_get0_pubkey(ca_key_certificate(key));
    return public && EVP_PKEY_get_base_id(public) == EVP_PKEY_RSA;
}

static enum ca_status
attributes_sign(struct signed_data *data, struct ca_bytes set, uint8_t *ret_signature,
                size_t *ret_size)
{
    CA_AUTO(EVP_MD_CTX_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY *key = ca_key_pkey(data->key);
    size_t size = SIGNATURE_MAX;
    if (!context || !key ||
        EVP_DigestSignInit(context, NULL, data->evp, NULL, key) != 1 ||
        EVP_DigestSign(context, ret_signature, &size, set.data, set.size) != 1)
        return ca_fail_openssl(CA_UNAVAILABLE, "the RA key does not sign");
    *ret_size = size;
    return CA_OK;
}

/* SignerInfo (RFC 5652 5.3). rsaEncryption and not the digest's own identifier stands
 * as signature algorithm: strongSwan before 6 takes nothing else. */
static enum ca_status
signer_info_put(struct asn1_writer *writer, struct signed_data *data,
                const struct cms_certificate *signer)
{
    CA_AUTO(asn1_writer_clear) struct asn1_writer set = { 0 };
    size_t mark = asn1_open(&set, DER_SET);
    attributes_put(&set, data);
    asn1_close(&set, mark);
    if (set.failed)
        return ca_fail(CA_INTERNAL, "no memory for the answer");
    uint8_t signature[SIGNATURE_MAX];
    size_t size;
    enum ca_status status = attributes_sign(data, asn1_written(&set), signature, &size);
    if (status != CA_OK)
        return status;
    set.data[0] = DER_CONTEXT_CONSTRUCTED(0);
    size_t info = asn1_open(writer, DER_SEQUENCE);
    asn1_put_small(writer, 1);
    size_t id = asn1_open(writer, DER_SEQUENCE);
    asn1_put_raw(writer, signer->issuer);
    asn1_put_bytes(writer, DER_INTEGER, signer->serial);
    asn1_close(writer, id);
    asn1_put_algorithm(writer, data->digest);
    asn1_put_raw(writer, asn1_written(&set));
    if (key_is_rsa(data->key)) {
        asn1_put_algorithm(writer, rsa_encryption);
    } else {
        size_t algorithm = asn1_open(writer, DER_SEQUENCE);
        asn1_put_bytes(writer, DER_OID, ecdsa_sha256);
        asn1_close(writer, algorithm);
    }
    asn1_put(writer, DER_OCTET_STRING, signature, size);
    asn1_close(writer, info);
    return CA_OK;
}

static enum ca_status
signed_data_put(struct asn1_writer *writer, struct signed_data *data)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned digest_size;
    CA_AUTO(openssl_free) uint8_t *certificate = NULL;
    int size = i2d_X509(ca_key_certificate(data->key), &certificate);
    struct ca_bytes der = { certificate, size > 0 ? (size_t)size : 0 };
    struct cms_certificate signer;
    if (size <= 0 || !cms_take_certificate(&der, &signer) ||
        EVP_Digest(data->content.data, data->content.size, digest, &digest_size,
                   data->evp, NULL) != 1)
        return ca_fail_openssl(CA_INTERNAL, "cannot prepare the answer");
    const struct attribute type = { DER_OID_BYTES(OID_PKCS9(3)), DER_OID, cms_data };
    const struct attribute message_digest = { DER_OID_BYTES(OID_PKCS9(4)),
                                              DER_OCTET_STRING,
                                              { digest, digest_size } };
    data->attributes[data->count++] = type;
    data->attributes[data->count++] = message_digest;
    struct cms_marks marks = cms_open(writer, cms_signed_data);
    asn1_put_small(writer, 1);
    size_t set = asn1_open(writer, DER_SET);
    asn1_put_algorithm(writer, data->digest);
    asn1_close(writer, set);
    size_t content = asn1_open(writer, DER_SEQUENCE);
    asn1_put_bytes(writer, DER_OID, cms_data);
    if (data->content.data) {
        size_t explicit = asn1_open(writer, DER_CONTEXT_CONSTRUCTED(0));
        asn1_put_bytes(writer, DER_OCTET_STRING, data->content);
        asn1_close(writer, explicit);
    }
    asn1_close(writer, content);
    asn1_put_bytes(writer, DER_CONTEXT_CONSTRUCTED(0), signer.whole);
    size_t signers = asn1_open(writer, DER_SET);
    enum ca_status status = signer_info_put(writer, data, &signer);
    asn1_close(writer, signers);
    cms_close(writer, marks);
    if (status == CA_OK && writer->failed)
        return ca_fail(CA_INTERNAL, "no memory for the answer");
    return status;
}

/* certs-only with what was issued, in an envelope to the signer (3.4). */
static enum ca_status
envelope_build(struct scep_operation *operation, const struct scep_answer *answer,
               struct asn1_writer *writer)
{
    CA_AUTO(asn1_writer_clear) struct asn1_writer inner = { 0 };
    struct ca_bytes certificates[2];
    size_t count = 0;
    if (answer->certificate.size > 0)
        certificates[count++] = answer->certificate;
    if (count > 0 && operation->settings.include_issuer) {
        enum ca_status status = scep_certificate_encode(
            operation->req, operation->chain.issuer, &certificates[count]);
        if (status != CA_OK)
            return status;
        count++;
    }
    cms_put_certs_only(&inner, certificates, count, answer->crl);
    if (inner.failed)
        return ca_fail(CA_INTERNAL, "no memory for the answer");
    return scep_envelope_put(writer, &operation->message, &operation->envelope,
                             asn1_written(&inner));
}

/* By the last arc of 2.16.840.1.113733.1.9. */
static const struct ca_bytes attribute_oids[] = {
    [2] = DER_OID_BYTES(OID_VERISIGN(2)), [3] = DER_OID_BYTES(OID_VERISIGN(3)),
    [4] = DER_OID_BYTES(OID_VERISIGN(4)), [5] = DER_OID_BYTES(OID_VERISIGN(5)),
    [6] = DER_OID_BYTES(OID_VERISIGN(6)), [7] = DER_OID_BYTES(OID_VERISIGN(7)),
};

static void
attribute_add(struct signed_data *data, uint8_t number, uint8_t tag,
              struct ca_bytes value)
{
    data->attributes[data->count++] =
        (struct attribute){ .oid = attribute_oids[number], .tag = tag, .value = value };
}

static struct ca_bytes
text_bytes(const char *text)
{
    return (struct ca_bytes){ (const uint8_t *)text, strlen(text) };
}

/* The request's digest, at least SHA-256 unless the client itself uses SHA-1 and may
 * (section 6: the answer to a refused digest is readable to every client). */
static void
digest_choose(const struct scep_operation *operation, struct signed_data *data)
{
    const struct scep_digest *digest = operation->message.digest;
    bool is_theirs = digest->use == SCEP_DIGEST_TAKEN ||
                     (digest->use == SCEP_DIGEST_SHA1 && operation->settings.sha1);
    data->digest = is_theirs ? digest->oid : sha256;
    data->evp = is_theirs ? digest->evp() : EVP_sha256();
    /* One signature algorithm is written for EC keys. */
    if (!key_is_rsa(data->key)) {
        data->digest = sha256;
        data->evp = EVP_sha256();
    }
}

enum ca_status
scep_answer_send(struct scep_operation *operation, enum ca_status outcome,
                 const struct scep_answer *answer)
{
    CA_AUTO(asn1_writer_clear) struct asn1_writer envelope = { 0 }, writer = { 0 };
    struct signed_data data = { .key = operation->signing };
    uint8_t nonce[SCEP_NONCE_SIZE];
    char fail[2] = { (char)('0' + answer->fail), '\0' };
    if (RAND_bytes(nonce, sizeof nonce) != 1)
        return ca_fail_openssl(CA_INTERNAL, "no random nonce");
    digest_choose(operation, &data);
    attribute_add(&data, 2, DER_PRINTABLE_STRING, text_bytes("3"));
    const char *pki_status = outcome == CA_OK ? "0" : outcome == CA_PENDING ? "3" : "2";
    attribute_add(&data, 3, DER_PRINTABLE_STRING, text_bytes(pki_status));
    if (outcome != CA_OK && outcome != CA_PENDING)
        attribute_add(&data, 4, DER_PRINTABLE_STRING, text_bytes(fail));
    attribute_add(&data, 5, DER_OCTET_STRING, (struct ca_bytes){ nonce, sizeof nonce });
    attribute_add(&data, 6, DER_OCTET_STRING,
                  (struct ca_bytes){ operation->message.nonce, SCEP_NONCE_SIZE });
    attribute_add(&data, 7, DER_PRINTABLE_STRING,
                  text_bytes(operation->message.transaction));
    if (outcome == CA_OK) {
        enum ca_status status = envelope_build(operation, answer, &envelope);
        if (status != CA_OK)
            return status;
        data.content = asn1_written(&envelope);
    }
    enum ca_status status = signed_data_put(&writer, &data);
    if (status != CA_OK)
        return status;
    status = ca_respond_header(operation->req, "Cache-Control", "no-store");
    if (status != CA_OK)
        return status;
    return ca_respond(operation->req, 200, "application/x-pki-message", writer.data,
                      writer.size);
}

enum ca_status
scep_answer_sign_plain(struct asn1_writer *writer, struct ca_key *key,
                       struct ca_bytes content)
{
    struct signed_data data = {
        .key = key, .digest = sha256, .evp = EVP_sha256(), .content = content
    };
    return signed_data_put(writer, &data);
}
