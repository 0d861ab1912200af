/* SignedData as requests carry it. */
#include "signed.h"
#include "auto.h"
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <string.h>

#define OID_NIST_DIGEST(n) 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, n
#define OID_PKCS1(n) 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, n
#define OID_PKCS9(n) 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, n
#define OID_ECDSA_SHA2(n) 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, n

/* A digest, alone and as a signature algorithm with either kind of key. */
struct digest {
    struct ca_bytes oid, rsa, ecdsa;
    const EVP_MD *(*evp)(void);
    bool is_sha1;
};

static const struct digest digests[] = {
    { DER_OID_BYTES(OID_NIST_DIGEST(1)), DER_OID_BYTES(OID_PKCS1(11)),
      DER_OID_BYTES(OID_ECDSA_SHA2(2)), EVP_sha256, false },
    { DER_OID_BYTES(OID_NIST_DIGEST(2)), DER_OID_BYTES(OID_PKCS1(12)),
      DER_OID_BYTES(OID_ECDSA_SHA2(3)), EVP_sha384, false },
    { DER_OID_BYTES(OID_NIST_DIGEST(3)), DER_OID_BYTES(OID_PKCS1(13)),
      DER_OID_BYTES(OID_ECDSA_SHA2(4)), EVP_sha512, false },
    { DER_OID_BYTES(0x2b, 0x0e, 0x03, 0x02, 0x1a), DER_OID_BYTES(OID_PKCS1(5)),
      DER_OID_BYTES(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01), EVP_sha1, true },
};

static const struct ca_bytes rsa_encryption = DER_OID_BYTES(OID_PKCS1(1));
static const struct ca_bytes content_type = DER_OID_BYTES(OID_PKCS9(3));
static const struct ca_bytes message_digest = DER_OID_BYTES(OID_PKCS9(4));

enum ca_status
signed_normalise(struct ca_request *req, struct ca_bytes ber, size_t max,
                 struct ca_bytes *ret_der)
{
    if (ber.size == 0 || ber.size > max)
        return ca_fail(ber.size == 0 ? CA_MALFORMED : CA_LIMIT,
                       "a message of %zu octets, at most %zu", ber.size, max);
    CA_AUTO(asn1_writer_clear) struct asn1_writer writer = { 0 };
    if (!asn1_from_ber(&ber, &writer))
        return ca_fail(CA_MALFORMED, "the message is not BER");
    if (ber.size > 0)
        return ca_fail(CA_MALFORMED, "%zu octets behind the message", ber.size);
    uint8_t *copy = ca_request_alloc(req, writer.size);
    if (!copy)
        return ca_fail(CA_INTERNAL, "no memory for a message");
    memcpy(copy, writer.data, writer.size);
    *ret_der = (struct ca_bytes){ copy, writer.size };
    return CA_OK;
}

bool
signed_is(struct ca_bytes der)
{
    struct ca_bytes inside;
    return cms_take(&der, cms_signed_data, &inside) && der.size == 0;
}

bool
signed_is_sha1(const struct signed_signer *signer)
{
    for (size_t i = 0; i < sizeof digests / sizeof digests[0]; i++) {
        if (asn1_equal(digests[i].oid, signer->digest))
            return digests[i].is_sha1;
    }
    return false;
}

static enum ca_status
certificates_decode(struct ca_bytes set, struct signed_data *data)
{
    for (; set.size > 0; data->certificate_count++) {
        if (data->certificate_count == SIGNED_CERTIFICATES_MAX)
            return ca_fail(CA_LIMIT, "more than %d certificates",
                           SIGNED_CERTIFICATES_MAX);
        if (!cms_take_certificate(&set, &data->certificates[data->certificate_count]))
            return ca_fail(CA_MALFORMED, "certificate %zu is none",
                           data->certificate_count);
    }
    return CA_OK;
}

/* 5.3: version 1 names the signer by issuer and serial number, 3 by its key. */
static bool
signer_id_decode(struct ca_bytes *info, struct signed_signer *signer)
{
    struct ca_bytes id;
    if (asn1_take_small(info, 3))
        return asn1_take(info, DER_CONTEXT(0), &signer->key_id) &&
               signer->key_id.size > 0;
    return asn1_take_small(info, 1) && asn1_take(info, DER_SEQUENCE, &id) &&
           asn1_take_whole(&id, DER_SEQUENCE, &signer->issuer) &&
           asn1_take(&id, DER_INTEGER, &signer->serial) && id.size == 0;
}

static enum ca_status
signer_decode(struct ca_bytes info, struct signed_signer *signer)
{
    struct ca_bytes parameters;
    if (!signer_id_decode(&info, signer))
        return ca_fail(CA_MALFORMED, "SignerInfo names no signer");
    if (!asn1_take_algorithm(&info, &signer->digest, &parameters))
        return ca_fail(CA_MALFORMED, "SignerInfo without digestAlgorithm");
    if (asn1_next_is(info, DER_CONTEXT_CONSTRUCTED(0)) &&
        !asn1_take_any(&info, NULL, NULL, &signer->attributes))
        return ca_fail(CA_MALFORMED, "signed attributes are cut short");
    if (!asn1_take_algorithm(&info, &signer->signature_algorithm, &parameters) ||
        !asn1_take(&info, DER_OCTET_STRING, &signer->signature))
        return ca_fail(CA_MALFORMED, "SignerInfo without signature");
    /* Unsigned attributes are nobody's word. */
    if (asn1_next_is(info, DER_CONTEXT_CONSTRUCTED(1)) &&
        !asn1_take_any(&info, NULL, NULL, NULL))
        return ca_fail(CA_MALFORMED, "unsigned attributes are cut short");
    return info.size == 0 ? CA_OK : ca_fail(CA_MALFORMED, "SignerInfo with a tail");
}

static enum ca_status
signers_decode(struct ca_bytes set, struct signed_data *data)
{
    struct ca_bytes info;
    for (; set.size > 0; data->signer_count++) {
        if (data->signer_count == SIGNED_SIGNERS_MAX)
            return ca_fail(CA_LIMIT, "more than %d SignerInfos", SIGNED_SIGNERS_MAX);
        if (!asn1_take(&set, DER_SEQUENCE, &info))
            return ca_fail(CA_MALFORMED, "SignerInfo is none");
        enum ca_status status = signer_decode(info, &data->signers[data->signer_count]);
        if (status != CA_OK)
            return status;
    }
    return data->signer_count > 0 ? CA_OK : ca_fail(CA_MALFORMED, "nobody signed");
}

enum ca_status
signed_decode(struct ca_bytes der, struct signed_data *ret_data)
{
    struct signed_data data = { 0 };
    struct ca_bytes inside, info, explicit, set;
    enum ca_status status = CA_OK;
    if (!cms_take(&der, cms_signed_data, &inside) || der.size > 0)
        return ca_fail(CA_MALFORMED, "not a SignedData");
    if (!asn1_take(&inside, DER_INTEGER, NULL) || !asn1_take(&inside, DER_SET, NULL) ||
        !asn1_take(&inside, DER_SEQUENCE, &info) ||
        !asn1_take(&info, DER_OID, &data.type))
        return ca_fail(CA_MALFORMED, "SignedData without encapContentInfo");
    if (!asn1_take(&info, DER_CONTEXT_CONSTRUCTED(0), &explicit) || info.size > 0 ||
        !asn1_take(&explicit, DER_OCTET_STRING, &data.content) || explicit.size > 0)
        return ca_fail(CA_MALFORMED, "SignedData without content");
    if (asn1_take(&inside, DER_CONTEXT_CONSTRUCTED(0), &set))
        status = certificates_decode(set, &data);
    if (status != CA_OK)
        return status;
    asn1_take(&inside, DER_CONTEXT_CONSTRUCTED(1), NULL); /* CRLs: not looked at */
    if (!asn1_take(&inside, DER_SET, &set) || inside.size > 0)
        return ca_fail(CA_MALFORMED, "SignedData without signerInfos");
    status = signers_decode(set, &data);
    if (status == CA_OK)
        *ret_data = data;
    return status;
}

bool
signed_is_by(const struct signed_signer *signer, const struct cms_certificate *parts)
{
    return signer->issuer.size > 0 && asn1_equal(parts->serial, signer->serial) &&
           cms_names_equal(parts->issuer, signer->issuer);
}

const struct cms_certificate *
signed_certificate(const struct signed_data *data, const struct signed_signer *signer)
{
    const struct cms_certificate *found = NULL;
    for (size_t i = 0; i < data->certificate_count; i++) {
        const struct cms_certificate *parts = &data->certificates[i];
        if (!signed_is_by(signer, parts))
            continue;
        if (found && !asn1_equal(found->whole, parts->whole))
            return NULL;
        found = parts;
    }
    return found;
}

/* The digest of a signer whose signature algorithm is of the same digest and of the
 * key's kind. */
static enum ca_status
digest_find(const struct signed_signer *signer, EVP_PKEY *key,
            const struct digest **ret_digest)
{
    int kind = EVP_PKEY_get_base_id(key);
    if (kind != EVP_PKEY_RSA && kind != EVP_PKEY_EC)
        return ca_fail(CA_UNSUPPORTED, "the signer's key is of another kind");
    int bits = EVP_PKEY_get_bits(key);
    if (kind == EVP_PKEY_RSA &&
        (bits < SIGNED_RSA_BITS_MIN || bits > SIGNED_RSA_BITS_MAX))
        return ca_fail(CA_UNSUPPORTED, "the signer's RSA key has %d bits", bits);
    for (size_t i = 0; i < sizeof digests / sizeof digests[0]; i++) {
        const struct digest *digest = &digests[i];
        if (!asn1_equal(digest->oid, signer->digest))
            continue;
        struct ca_bytes algorithm = signer->signature_algorithm;
        bool is_good = kind == EVP_PKEY_RSA ? asn1_equal(algorithm, rsa_encryption) ||
                                                  asn1_equal(algorithm, digest->rsa)
                                            : asn1_equal(algorithm, digest->ecdsa);
        if (!is_good)
            return ca_fail(CA_UNSUPPORTED, "signature algorithm of another kind");
        *ret_digest = digest;
        return CA_OK;
    }
    return ca_fail(CA_UNSUPPORTED, "unknown digest algorithm");
}

/* The one value of one attribute; what is twice there is nothing. */
static enum ca_status
attribute_take(struct ca_bytes set, struct ca_bytes wanted, uint8_t tag,
               struct ca_bytes *ret_value)
{
    struct ca_bytes attribute, oid, values, value, found = { 0 };
    for (int count = 0; set.size > 0; count++) {
        if (count == SIGNED_ATTRIBUTES_MAX)
            return ca_fail(CA_LIMIT, "more than %d signed attributes", count);
        if (!asn1_take(&set, DER_SEQUENCE, &attribute) ||
            !asn1_take(&attribute, DER_OID, &oid) ||
            !asn1_take(&attribute, DER_SET, &values) || attribute.size > 0)
            return ca_fail(CA_MALFORMED, "signed attribute %d is none", count);
        if (!asn1_equal(oid, wanted))
            continue;
        if (found.data || !asn1_take(&values, tag, &value) || values.size > 0)
            return ca_fail(CA_MALFORMED, "signed attribute %d has not one value",
                           count);
        found = value;
    }
    if (!found.data)
        return ca_fail(CA_MALFORMED, "a signed attribute is missing");
    *ret_value = found;
    return CA_OK;
}

/* 11.1 and 11.2: the attributes speak of this content and no other. */
static enum ca_status
attributes_check(const struct signed_data *data, const struct signed_signer *signer,
                 const struct digest *digest)
{
    uint8_t octets[EVP_MAX_MD_SIZE];
    unsigned size;
    struct ca_bytes whole = signer->attributes, set, value;
    if (!asn1_take_any(&whole, NULL, &set, NULL))
        return ca_fail(CA_MALFORMED, "signed attributes are no SET");
    enum ca_status status = attribute_take(set, content_type, DER_OID, &value);
    if (status == CA_OK && !asn1_equal(value, data->type))
        status = ca_fail(CA_UNAUTHENTICATED, "contentType is of another content");
    if (status == CA_OK)
        status = attribute_take(set, message_digest, DER_OCTET_STRING, &value);
    if (status != CA_OK)
        return status;
    if (EVP_Digest(data->content.data, data->content.size, octets, &size, digest->evp(),
                   NULL) != 1)
        return ca_fail_openssl(CA_INTERNAL, "cannot digest the content");
    if (value.size != size || CRYPTO_memcmp(value.data, octets, size) != 0)
        return ca_fail(CA_UNAUTHENTICATED, "messageDigest is of another content");
    return CA_OK;
}

/* 5.4: the attributes are signed as a SET, whatever their tag in the message. */
static bool
signature_holds(const struct signed_data *data, const struct signed_signer *signer,
                const struct digest *digest, EVP_PKEY *key)
{
    static const uint8_t set = DER_SET;
    CA_AUTO(EVP_MD_CTX_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (!context || EVP_DigestVerifyInit(context, NULL, digest->evp(), NULL, key) != 1)
        return false;
    bool is_fed = signer->attributes.size > 0
                      ? EVP_DigestVerifyUpdate(context, &set, 1) == 1 &&
                            EVP_DigestVerifyUpdate(context, signer->attributes.data + 1,
                                                   signer->attributes.size - 1) == 1
                      : EVP_DigestVerifyUpdate(context, data->content.data,
                                               data->content.size) == 1;
    return is_fed && EVP_DigestVerifyFinal(context, signer->signature.data,
                                           signer->signature.size) == 1;
}

enum ca_status
signed_verify(const struct signed_data *data, const struct signed_signer *signer,
              EVP_PKEY *key, bool takes_sha1)
{
    const struct digest *digest = NULL;
    enum ca_status status = digest_find(signer, key, &digest);
    if (!digest)
        return status;
    if (digest->is_sha1 && !takes_sha1)
        return ca_fail(CA_UNSUPPORTED, "the message is signed over SHA-1");
    if (!signature_holds(data, signer, digest, key))
        return ca_fail_openssl(CA_UNAUTHENTICATED, "the signature does not hold");
    return signer->attributes.size > 0 ? attributes_check(data, signer, digest) : CA_OK;
}
