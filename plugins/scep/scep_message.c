/* The outer SignedData of a request: one signer, its signature, its attributes
 * (RFC 8894 3.1, 3.2; RFC 5652 5). */
#include "auto.h"
#include "scep.h"
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <string.h>

#define OID_DIGEST_NIST(n) 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, n
#define OID_PKCS1(n) 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, n
#define OID_PKCS9(n) 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, n
#define OID_VERISIGN(n) 0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x45, 0x01, 0x09, n

/* Those that are refused are verified all the same: only who signed hears why. */
static const struct scep_digest digests[] = {
    { DER_OID_BYTES(OID_DIGEST_NIST(1)), DER_OID_BYTES(OID_PKCS1(11)), EVP_sha256,
      SCEP_DIGEST_TAKEN },
    { DER_OID_BYTES(OID_DIGEST_NIST(3)), DER_OID_BYTES(OID_PKCS1(13)), EVP_sha512,
      SCEP_DIGEST_TAKEN },
    { DER_OID_BYTES(OID_DIGEST_NIST(2)), DER_OID_BYTES(OID_PKCS1(12)), EVP_sha384,
      SCEP_DIGEST_TAKEN },
    { DER_OID_BYTES(0x2b, 0x0e, 0x03, 0x02, 0x1a), DER_OID_BYTES(OID_PKCS1(5)),
      EVP_sha1, SCEP_DIGEST_SHA1 },
    { DER_OID_BYTES(OID_DIGEST_NIST(4)), DER_OID_BYTES(OID_PKCS1(14)), EVP_sha224,
      SCEP_DIGEST_REFUSED },
    { DER_OID_BYTES(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x05),
      DER_OID_BYTES(OID_PKCS1(4)), EVP_md5, SCEP_DIGEST_REFUSED },
};

static const struct ca_bytes rsa_encryption = DER_OID_BYTES(OID_PKCS1(1));

/* SignedData and its one SignerInfo in slices. */
struct outer {
    struct ca_bytes content;
    struct cms_certificate certificates[SCEP_CERTIFICATES_MAX];
    size_t count;
    struct ca_bytes issuer, serial; /* of the SignerInfo */
    struct ca_bytes digest, signature_algorithm, signature;
    struct ca_bytes attributes; /* [0] IMPLICIT, whole */
};

/* The signed attributes that SCEP looks at, each at most once with one value. */
struct attributes {
    struct ca_bytes content_type, message_digest, message_type, nonce, transaction;
};

static enum ca_status
ber_convert(struct ca_request *req, struct ca_bytes *from, struct ca_bytes *ret_der)
{
    CA_AUTO(asn1_writer_clear) struct asn1_writer writer = { 0 };
    if (!asn1_from_ber(from, &writer))
        return ca_fail(CA_MALFORMED, "the message is not BER");
    uint8_t *copy = ca_request_alloc(req, writer.size);
    if (!copy)
        return ca_fail(CA_INTERNAL, "no memory for the message");
    memcpy(copy, writer.data, writer.size);
    *ret_der = (struct ca_bytes){ copy, writer.size };
    return CA_OK;
}

enum ca_status
scep_normalise(struct ca_request *req, struct ca_bytes ber, struct ca_bytes *ret_der)
{
    if (ber.size == 0 || ber.size > SCEP_BODY_MAX)
        return ca_fail(ber.size == 0 ? CA_MALFORMED : CA_LIMIT,
                       "message of %zu octets, at most %d", ber.size, SCEP_BODY_MAX);
    struct ca_bytes der = { ber.data, asn1_der_size(ber) };
    enum ca_status status = CA_OK;
    if (der.size > 0)
        ber = (struct ca_bytes){ ber.data + der.size, ber.size - der.size };
    else
        status = ber_convert(req, &ber, &der);
    if (status != CA_OK)
        return status;
    for (; ber.size > 0; ber.data++, ber.size--) {
        if (ber.data[0] != 0)
            return ca_fail(CA_MALFORMED, "%zu octets behind the message", ber.size);
    }
    *ret_der = der;
    return CA_OK;
}

static enum ca_status
certificates_decode(struct ca_bytes set, struct outer *outer)
{
    for (; set.size > 0; outer->count++) {
        struct cms_certificate *parts = &outer->certificates[outer->count];
        struct ca_bytes modulus, exponent;
        if (outer->count == SCEP_CERTIFICATES_MAX)
            return ca_fail(CA_LIMIT, "more than %d certificates",
                           SCEP_CERTIFICATES_MAX);
        if (!cms_take_certificate(&set, parts))
            return ca_fail(CA_MALFORMED, "certificate %zu is none", outer->count);
        if (cms_spki_rsa(parts->spki, &modulus, &exponent) &&
            cms_bits(modulus) > SCEP_RSA_BITS_MAX)
            return ca_fail(CA_LIMIT, "certificate with an RSA key of %zu bits",
                           cms_bits(modulus));
    }
    return CA_OK;
}

/* SignerInfo (RFC 5652 5.3), version 1: named by issuer and serial number. */
static enum ca_status
signer_info_decode(struct ca_bytes set, struct outer *outer)
{
    struct ca_bytes info, sid, parameters;
    if (!asn1_take(&set, DER_SEQUENCE, &info))
        return ca_fail(CA_MALFORMED, "no SignerInfo");
    if (set.size > 0)
        return ca_fail(CA_MALFORMED, "more than one SignerInfo");
    if (!asn1_take_small(&info, 1) || !asn1_take(&info, DER_SEQUENCE, &sid) ||
        !asn1_take_whole(&sid, DER_SEQUENCE, &outer->issuer) ||
        !asn1_take(&sid, DER_INTEGER, &outer->serial) || sid.size > 0)
        return ca_fail(CA_MALFORMED, "SignerInfo without issuerAndSerialNumber");
    if (!asn1_take_algorithm(&info, &outer->digest, &parameters) ||
        !asn1_take_whole(&info, DER_CONTEXT_CONSTRUCTED(0), &outer->attributes))
        return ca_fail(CA_MALFORMED, "SignerInfo without signed attributes");
    if (!asn1_take_algorithm(&info, &outer->signature_algorithm, &parameters) ||
        !asn1_take(&info, DER_OCTET_STRING, &outer->signature))
        return ca_fail(CA_MALFORMED, "SignerInfo without signature");
    /* Unsigned attributes are nobody's word. */
    if (asn1_next_is(info, DER_CONTEXT_CONSTRUCTED(1)) &&
        !asn1_take_any(&info, NULL, NULL, NULL))
        return ca_fail(CA_MALFORMED, "unsigned attributes cut short");
    return info.size == 0 ? CA_OK : ca_fail(CA_MALFORMED, "SignerInfo with a tail");
}

static enum ca_status
outer_decode(struct ca_bytes der, struct outer *outer)
{
    struct ca_bytes data, info, type, explicit, set;
    if (!cms_take(&der, cms_signed_data, &data))
        return ca_fail(CA_MALFORMED, "not a SignedData");
    if (!asn1_take(&data, DER_INTEGER, NULL) || !asn1_take(&data, DER_SET, NULL) ||
        !asn1_take(&data, DER_SEQUENCE, &info) || !asn1_take(&info, DER_OID, &type) ||
        !asn1_equal(type, cms_data))
        return ca_fail(CA_MALFORMED, "SignedData without id-data");
    if (!asn1_take(&info, DER_CONTEXT_CONSTRUCTED(0), &explicit) || info.size > 0 ||
        !asn1_take(&explicit, DER_OCTET_STRING, &outer->content) || explicit.size > 0)
        return ca_fail(CA_MALFORMED, "SignedData without content");
    if (asn1_take(&data, DER_CONTEXT_CONSTRUCTED(0), &set)) {
        enum ca_status status = certificates_decode(set, outer);
        if (status != CA_OK)
            return status;
    }
    asn1_take(&data, DER_CONTEXT_CONSTRUCTED(1), NULL); /* CRLs: not looked at */
    if (!asn1_take(&data, DER_SET, &set) || data.size > 0)
        return ca_fail(CA_MALFORMED, "SignedData without signerInfos");
    return signer_info_decode(set, outer);
}

/* The signer's certificate: the one in the bag that the SignerInfo names, with a key
 * that we are ready to calculate with. */
static enum ca_status
signer_find(const struct outer *outer, struct scep_message *message)
{
    const struct cms_certificate *found = NULL;
    for (size_t i = 0; i < outer->count; i++) {
        const struct cms_certificate *parts = &outer->certificates[i];
        if (!asn1_equal(parts->serial, outer->serial) ||
            !cms_names_equal(parts->issuer, outer->issuer))
            continue;
        if (found && !asn1_equal(found->whole, parts->whole))
            return ca_fail(CA_MALFORMED, "two certificates fit the signer");
        found = parts;
    }
    struct ca_bytes modulus, exponent;
    if (!found)
        return ca_fail(CA_MALFORMED, "the signer's certificate is missing");
    if (!cms_spki_rsa(found->spki, &modulus, &exponent))
        return ca_fail(CA_MALFORMED, "the signer's key is no RSA key");
    size_t bits = cms_bits(modulus);
    if (bits < SCEP_RSA_BITS_MIN || cms_bits(exponent) > SCEP_EXPONENT_BITS_MAX)
        return ca_fail(CA_LIMIT, "signer's RSA key has %zu bits, its exponent %zu",
                       bits, cms_bits(exponent));
    message->signer_parts = *found;
    message->signer_bits = bits;
    return CA_OK;
}

static enum ca_status
key_load(struct ca_request *req, struct scep_message *message)
{
    EVP_PKEY *key = ca_public_key(req, message->signer_parts.spki);
    if (!key || EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA)
        return ca_fail_openssl(CA_MALFORMED, "the signer's key is none");
    message->key = key;
    message->context = EVP_PKEY_CTX_new(key, NULL);
    return message->context ? CA_OK : ca_fail_openssl(CA_INTERNAL, "no memory");
}

static enum ca_status
digest_find(const struct outer *outer, const struct scep_digest **ret_digest)
{
    for (size_t i = 0; i < sizeof digests / sizeof digests[0]; i++) {
        if (!asn1_equal(digests[i].oid, outer->digest))
            continue;
        if (!asn1_equal(outer->signature_algorithm, rsa_encryption) &&
            !asn1_equal(outer->signature_algorithm, digests[i].rsa_oid))
            return ca_fail(CA_UNSUPPORTED, "signature algorithm of another kind");
        *ret_digest = &digests[i];
        return CA_OK;
    }
    return ca_fail(CA_UNSUPPORTED, "unknown digest algorithm");
}

/* RFC 5652 5.4: over the attributes as a SET, whatever their tag in the message. */
static enum ca_status
signature_verify(const struct outer *outer, const struct scep_message *message)
{
    static const uint8_t set = DER_SET;
    CA_AUTO(EVP_MD_CTX_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (!context)
        return ca_fail(CA_INTERNAL, "no memory for a digest");
    EVP_MD_CTX_set_pkey_ctx(context, message->context); /* lent */
    if (EVP_DigestVerifyInit(context, NULL, message->digest->evp(), NULL,
                             message->key) != 1 ||
        EVP_DigestVerifyUpdate(context, &set, 1) != 1 ||
        EVP_DigestVerifyUpdate(context, outer->attributes.data + 1,
                               outer->attributes.size - 1) != 1 ||
        EVP_DigestVerifyFinal(context, outer->signature.data, outer->signature.size) !=
            1)
        return ca_fail_openssl(CA_UNAUTHENTICATED, "the signature does not hold");
    return CA_OK;
}

static struct ca_bytes *
attribute_slot(struct attributes *attributes, struct ca_bytes oid, uint8_t *ret_tag)
{
    const struct {
        struct ca_bytes oid;
        uint8_t tag;
        struct ca_bytes *slot;
    } known[] = {
        { DER_OID_BYTES(OID_PKCS9(3)), DER_OID, &attributes->content_type },
        { DER_OID_BYTES(OID_PKCS9(4)), DER_OCTET_STRING, &attributes->message_digest },
        { DER_OID_BYTES(OID_VERISIGN(2)), DER_PRINTABLE_STRING,
          &attributes->message_type },
        { DER_OID_BYTES(OID_VERISIGN(5)), DER_OCTET_STRING, &attributes->nonce },
        { DER_OID_BYTES(OID_VERISIGN(7)), DER_PRINTABLE_STRING,
          &attributes->transaction },
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (asn1_equal(known[i].oid, oid)) {
            *ret_tag = known[i].tag;
            return known[i].slot;
        }
    }
    return NULL;
}

/* Each attribute of the table once, with one value of its type (3.2.1). */
static enum ca_status
attributes_decode(struct ca_bytes whole, struct attributes *attributes)
{
    struct ca_bytes set, attribute, oid, values, value;
    if (!asn1_take_any(&whole, NULL, &set, NULL))
        return ca_fail(CA_MALFORMED, "signed attributes are no SET");
    for (int count = 0; set.size > 0; count++) {
        uint8_t wanted, tag;
        if (count == SCEP_ATTRIBUTES_MAX)
            return ca_fail(CA_LIMIT, "more than %d signed attributes", count);
        if (!asn1_take(&set, DER_SEQUENCE, &attribute) ||
            !asn1_take(&attribute, DER_OID, &oid) ||
            !asn1_take(&attribute, DER_SET, &values) || attribute.size > 0)
            return ca_fail(CA_MALFORMED, "signed attribute %d is none", count);
        struct ca_bytes *slot = attribute_slot(attributes, oid, &wanted);
        if (!slot)
            continue;
        if (slot->data)
            return ca_fail(CA_MALFORMED, "signed attribute %d is there twice", count);
        if (!asn1_take_any(&values, &tag, &value, NULL) || values.size > 0 ||
            tag != wanted)
            return ca_fail(CA_MALFORMED,
                           "signed attribute %d: not one value of its type", count);
        *slot = value;
    }
    return CA_OK;
}

static enum ca_status
digest_check(const struct scep_message *message, const struct attributes *attributes)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned size;
    if (EVP_Digest(message->envelope.data, message->envelope.size, digest, &size,
                   message->digest->evp(), NULL) != 1)
        return ca_fail_openssl(CA_INTERNAL, "cannot digest the content");
    if (!attributes->message_digest.data || attributes->message_digest.size != size ||
        CRYPTO_memcmp(attributes->message_digest.data, digest, size) != 0)
        return ca_fail(CA_UNAUTHENTICATED, "messageDigest is of another content");
    if (!attributes->content_type.data ||
        !asn1_equal(attributes->content_type, cms_data))
        return ca_fail(CA_MALFORMED, "contentType is not id-data");
    return CA_OK;
}

/* A PrintableString as text. Clients put more into it than its repertoire, so every
 * printable ASCII character is taken; the answer repeats it exactly. */
static enum ca_status
text_copy(struct ca_request *req, const char *name, struct ca_bytes value, size_t least,
          const char **ret_text)
{
    if (!value.data)
        return ca_fail(CA_MALFORMED, "no %s", name);
    if (value.size < least || value.size > SCEP_TRANSACTION_MAX)
        return ca_fail(CA_MALFORMED, "%s of %zu characters", name, value.size);
    char *copy = ca_request_alloc(req, value.size + 1);
    if (!copy)
        return ca_fail(CA_INTERNAL, "no memory for %s", name);
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] < 0x20 || value.data[i] > 0x7e)
            return ca_fail(CA_MALFORMED, "%s with control characters", name);
        copy[i] = (char)value.data[i];
    }
    *ret_text = copy;
    return CA_OK;
}

static enum ca_status
transaction_read(struct ca_request *req, const struct attributes *attributes,
                 struct scep_message *message)
{
    enum ca_status status =
        text_copy(req, "messageType", attributes->message_type, 0, &message->type);
    if (status == CA_OK)
        status = text_copy(req, "transactionID", attributes->transaction, 1,
                           &message->transaction);
    if (status != CA_OK)
        return status;
    if (!attributes->nonce.data || attributes->nonce.size != SCEP_NONCE_SIZE)
        return ca_fail(CA_MALFORMED, "no senderNonce of %d octets", SCEP_NONCE_SIZE);
    memcpy(message->nonce, attributes->nonce.data, SCEP_NONCE_SIZE);
    return CA_OK;
}

enum ca_status
scep_message_decode(struct ca_request *req, struct ca_bytes body,
                    struct scep_message *ret_message)
{
    CA_AUTO(scep_message_clear) struct scep_message message = { 0 };
    struct outer outer = { 0 };
    struct attributes attributes = { 0 };
    struct ca_bytes der;
    enum ca_status status = scep_normalise(req, body, &der);
    if (status == CA_OK)
        status = outer_decode(der, &outer);
    if (status == CA_OK)
        status = signer_find(&outer, &message);
    if (status == CA_OK)
        status = digest_find(&outer, &message.digest);
    if (status == CA_OK)
        status = key_load(req, &message);
    if (status == CA_OK)
        status = signature_verify(&outer, &message);
    if (status == CA_OK)
        status = attributes_decode(outer.attributes, &attributes);
    if (status != CA_OK)
        return status;
    message.envelope = outer.content;
    status = digest_check(&message, &attributes);
    if (status == CA_OK)
        status = transaction_read(req, &attributes, &message);
    if (status != CA_OK)
        return status;
    *ret_message = message;
    message = (struct scep_message){ 0 };
    return CA_OK;
}

enum ca_status
scep_message_certificate(struct scep_message *message)
{
    if (!message->signer)
        message->signer = ca_certificate_decode(message->signer_parts.whole);
    return message->signer
               ? CA_OK
               : ca_fail_openssl(CA_MALFORMED, "the signer's certificate is none");
}

void
scep_message_clear(struct scep_message *message)
{
    X509_free(message->signer);
    EVP_PKEY_CTX_free(message->context);
    *message = (struct scep_message){ 0 };
}
