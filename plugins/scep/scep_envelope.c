/* pkcsPKIEnvelope (RFC 8894 3.2.2; RFC 5652 6): recipients, silent decryption with the
 * RA key, and enveloping the answer. */
#include "auto.h"
#include "scep.h"
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <string.h>

#define OID_NIST_AES(n) 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, n
#define OID_PKCS1(n) 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, n
#define KEY_SIZE_MAX 32
#define BLOCK_SIZE_MAX 16

static const struct scep_cipher ciphers[] = {
    { DER_OID_BYTES(OID_NIST_AES(2)), EVP_aes_128_cbc, 16, 16, false },
    { DER_OID_BYTES(OID_NIST_AES(22)), EVP_aes_192_cbc, 24, 16, false },
    { DER_OID_BYTES(OID_NIST_AES(42)), EVP_aes_256_cbc, 32, 16, false },
    { DER_OID_BYTES(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x03, 0x07), EVP_des_ede3_cbc,
      24, 8, true },
};

static const struct ca_bytes rsa_encryption = DER_OID_BYTES(OID_PKCS1(1));
static const struct ca_bytes rsa_oaep = DER_OID_BYTES(OID_PKCS1(7));
static const struct ca_bytes mgf1 = DER_OID_BYTES(OID_PKCS1(8));
static const struct ca_bytes sha1 = DER_OID_BYTES(0x2b, 0x0e, 0x03, 0x02, 0x1a);

/* KeyTransRecipientInfo. One that names its certificate by key identifier is counted
 * and can be nobody we know. */
static bool
recipient_decode(struct ca_bytes *set, struct scep_recipient *recipient)
{
    struct ca_bytes info, id;
    if (!asn1_next_is(*set, DER_SEQUENCE))
        return asn1_take_any(set, NULL, NULL, NULL);
    if (!asn1_take(set, DER_SEQUENCE, &info))
        return false;
    if (!asn1_take_small(&info, 0))
        return true;
    return asn1_take(&info, DER_SEQUENCE, &id) &&
           asn1_take_whole(&id, DER_SEQUENCE, &recipient->issuer) &&
           asn1_take(&id, DER_INTEGER, &recipient->serial) && id.size == 0 &&
           asn1_take_algorithm(&info, &recipient->algorithm, &recipient->parameters) &&
           asn1_take(&info, DER_OCTET_STRING, &recipient->key) && info.size == 0;
}

/* encryptedContent, [0] IMPLICIT OCTET STRING: in one piece, or in parts. */
static enum ca_status
content_decode(struct ca_request *req, struct ca_bytes *info,
               struct ca_bytes *ret_content)
{
    struct ca_bytes parts, part;
    if (asn1_take(info, DER_CONTEXT(0), ret_content))
        return CA_OK;
    if (!asn1_take(info, DER_CONTEXT_CONSTRUCTED(0), &parts))
        return ca_fail(CA_MALFORMED, "envelope without content");
    uint8_t *content = ca_request_alloc(req, parts.size + 1);
    if (!content)
        return ca_fail(CA_INTERNAL, "no memory for the content");
    size_t size = 0;
    while (parts.size > 0) {
        if (!asn1_take(&parts, DER_OCTET_STRING, &part))
            return ca_fail(CA_MALFORMED, "a part of the content is no OCTET STRING");
        if (part.size > 0)
            memcpy(content + size, part.data, part.size);
        size += part.size;
    }
    *ret_content = (struct ca_bytes){ content, size };
    return CA_OK;
}

static void
cipher_find(struct ca_bytes oid, struct ca_bytes parameters,
            struct scep_envelope *envelope)
{
    for (size_t i = 0; i < sizeof ciphers / sizeof ciphers[0]; i++) {
        if (asn1_equal(ciphers[i].oid, oid))
            envelope->cipher = &ciphers[i];
    }
    asn1_take(&parameters, DER_OCTET_STRING, &envelope->iv);
}

enum ca_status
scep_envelope_decode(struct ca_request *req, struct ca_bytes octets,
                     struct scep_envelope *ret_envelope)
{
    struct scep_envelope envelope = { 0 };
    struct ca_bytes data, set, info, type, cipher, parameters;
    enum ca_status status = scep_normalise(req, octets, &octets);
    if (status != CA_OK)
        return status;
    if (!cms_take(&octets, cms_enveloped_data, &data) || octets.size > 0)
        return ca_fail(CA_MALFORMED, "the content is no EnvelopedData");
    if (!asn1_take_small(&data, 0) || !asn1_take(&data, DER_SET, &set))
        return ca_fail(CA_MALFORMED, "EnvelopedData is not of version 0");
    for (; set.size > 0; envelope.count++) {
        if (envelope.count == SCEP_RECIPIENTS_MAX)
            return ca_fail(CA_LIMIT, "more than %d recipients", SCEP_RECIPIENTS_MAX);
        if (!recipient_decode(&set, &envelope.recipients[envelope.count]))
            return ca_fail(CA_MALFORMED, "recipient %zu is none", envelope.count);
    }
    if (!asn1_take(&data, DER_SEQUENCE, &info) || data.size > 0 ||
        !asn1_take(&info, DER_OID, &type) || !asn1_equal(type, cms_data) ||
        !asn1_take_algorithm(&info, &cipher, &parameters))
        return ca_fail(CA_MALFORMED, "EnvelopedData without id-data");
    status = content_decode(req, &info, &envelope.content);
    if (status != CA_OK)
        return status;
    if (info.size > 0)
        return ca_fail(CA_MALFORMED, "octets behind the content");
    cipher_find(cipher, parameters, &envelope);
    *ret_envelope = envelope;
    return CA_OK;
}

static bool
is_sha1(struct ca_bytes algorithm)
{
    struct ca_bytes oid, parameters;
    return asn1_take_algorithm(&algorithm, &oid, &parameters) && algorithm.size == 0 &&
           asn1_equal(oid, sha1);
}

/* RSAES-OAEP-params (RFC 8017 A.2.1): SHA-1, MGF1 with SHA-1 and no label are all that
 * common tokens can do, and what clients send. */
static bool
oaep_is_ours(struct ca_bytes parameters)
{
    struct ca_bytes inside, part, oid;
    if (parameters.size == 0)
        return true;
    if (!asn1_take(&parameters, DER_SEQUENCE, &inside))
        return false;
    if (asn1_take(&inside, DER_CONTEXT_CONSTRUCTED(0), &part) && !is_sha1(part))
        return false;
    if (asn1_take(&inside, DER_CONTEXT_CONSTRUCTED(1), &part)) {
        struct ca_bytes hash;
        if (!asn1_take_algorithm(&part, &oid, &hash) || part.size > 0 ||
            !asn1_equal(oid, mgf1) || !is_sha1(hash))
            return false;
    }
    return inside.size == 0;
}

enum ca_status
scep_envelope_check_algorithms(struct scep_envelope *envelope,
                               const struct scep_settings *settings)
{
    const struct scep_recipient *recipient = envelope->recipient;
    if (!envelope->cipher || (envelope->cipher->is_des3 && !settings->des3))
        return ca_fail(CA_UNSUPPORTED, "content cipher is not allowed");
    envelope->oaep = asn1_equal(recipient->algorithm, rsa_oaep);
    if (!envelope->oaep && !asn1_equal(recipient->algorithm, rsa_encryption))
        return ca_fail(CA_UNSUPPORTED, "key transport is not allowed");
    if (envelope->oaep && !oaep_is_ours(recipient->parameters))
        return ca_fail(CA_UNSUPPORTED, "OAEP is taken with SHA-1 and no label only");
    return CA_OK;
}

/* issuerAndSerialNumber of a certificate of ours against a recipient's. */
static bool
recipient_is(const struct scep_recipient *recipient, X509 *certificate)
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(certificate);
    struct ca_bytes octets = recipient->serial;
    if (octets.size > 1 && octets.data[0] == 0)
        octets = (struct ca_bytes){ octets.data + 1, octets.size - 1 };
    struct ca_bytes ours = { ASN1_STRING_get0_data(serial),
                             (size_t)ASN1_STRING_length(serial) };
    return recipient->issuer.data && asn1_equal(octets, ours) &&
           cms_name_is(recipient->issuer, X509_get_issuer_name(certificate));
}

/* RFC 8017 7.2.2: as long as the modulus and, as a number, below it. */
static enum ca_status
encrypted_key_check(struct ca_bytes encrypted, X509 *certificate)
{
    struct ca_bytes modulus;
    if (!cms_certificate_modulus(certificate, &modulus))
        return ca_fail(CA_INTERNAL, "the RA certificate has no RSA key");
    if (encrypted.size != modulus.size)
        return ca_fail(CA_MALFORMED, "encrypted key of %zu octets", encrypted.size);
    if (memcmp(encrypted.data, modulus.data, modulus.size) >= 0)
        return ca_fail(CA_MALFORMED, "encrypted key is not below the modulus");
    return CA_OK;
}

/* IV and content have the cipher's form: everyone can see that, so saying so tells
 * nothing. */
static enum ca_status
content_check(const struct scep_envelope *envelope)
{
    size_t block = envelope->cipher ? envelope->cipher->block_size : 1;
    if (envelope->cipher && envelope->iv.size != block)
        return ca_fail(CA_MALFORMED, "IV of %zu octets", envelope->iv.size);
    if (envelope->content.size == 0 || envelope->content.size % block != 0)
        return ca_fail(CA_MALFORMED, "content of %zu octets", envelope->content.size);
    return CA_OK;
}

enum ca_status
scep_envelope_find_key(struct ca_request *req, const char *endpoint,
                       struct scep_envelope *envelope, struct ca_key **ret_key)
{
    for (size_t index = 0; index < SCEP_KEYS_MAX; index++) {
        struct ca_key *key;
        enum ca_status status =
            ca_key_get(req, endpoint, CA_KEY_RA, false, index, &key);
        if (status == CA_NOT_FOUND)
            break;
        if (status != CA_OK)
            return status;
        if (!scep_key_may(key, KU_KEY_ENCIPHERMENT))
            continue;
        X509 *certificate = ca_key_certificate(key);
        const struct scep_recipient *found = NULL;
        for (size_t i = 0; i < envelope->count; i++) {
            if (!recipient_is(&envelope->recipients[i], certificate))
                continue;
            if (found)
                return ca_fail(CA_MALFORMED, "two recipients name the RA certificate");
            found = &envelope->recipients[i];
        }
        if (!found)
            continue;
        envelope->recipient = found;
        status = encrypted_key_check(found->key, certificate);
        if (status == CA_OK)
            status = content_check(envelope);
        if (status == CA_OK)
            *ret_key = key;
        return status;
    }
    return ca_fail(CA_NOT_FOUND, "not enveloped to an RA certificate of '%s'",
                   endpoint);
}

/* All ones when a < b, else 0, for values below 2^31. */
static uint32_t
mask_below(uint32_t a, uint32_t b)
{
    return 0u - ((a - b) >> 31);
}

/* PKCS#7 padding (RFC 5652 6.3) without a branch on what the octets are: gives the size
 * without padding, and all ones when the padding holds. */
static uint32_t
padding_check(const uint8_t *content, size_t size, size_t block, size_t *ret_size)
{
    uint32_t padding = content[size - 1];
    uint32_t good = ~mask_below(padding, 1) & mask_below(padding, (uint32_t)block + 1);
    for (uint32_t i = 0; i < block; i++) {
        uint32_t differs = content[size - 1 - i] ^ padding;
        uint32_t is_equal = mask_below(differs, 1);
        good &= is_equal | ~mask_below(i, padding);
    }
    *ret_size = size - (padding & good);
    return good;
}

enum ca_status
scep_envelope_decrypt(struct ca_request *req, struct ca_key *key,
                      const struct scep_envelope *envelope,
                      struct ca_bytes *ret_content, bool *ret_is_padded)
{
    const struct scep_cipher *cipher = envelope->cipher;
    uint8_t content_key[KEY_SIZE_MAX];
    uint8_t *content = ca_request_alloc(req, envelope->content.size);
    CA_AUTO(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    if (!content || !context)
        return ca_fail(CA_INTERNAL, "no memory to decrypt");
    enum ca_status status =
        ca_key_decrypt(req, key, envelope->oaep, envelope->recipient->key, content_key,
                       cipher->key_size);
    if (status != CA_OK)
        return status;
    int size = 0;
    bool done = EVP_DecryptInit_ex(context, cipher->evp(), NULL, content_key,
                                   envelope->iv.data) == 1 &&
                EVP_CIPHER_CTX_set_padding(context, 0) == 1 &&
                EVP_DecryptUpdate(context, content, &size, envelope->content.data,
                                  (int)envelope->content.size) == 1 &&
                (size_t)size == envelope->content.size;
    OPENSSL_cleanse(content_key, sizeof content_key);
    if (!done)
        return ca_fail_openssl(CA_INTERNAL, "cannot decrypt the content");
    size_t length;
    uint32_t good =
        padding_check(content, envelope->content.size, cipher->block_size, &length);
    *ret_content = (struct ca_bytes){ content, length };
    *ret_is_padded = good & 1;
    return CA_OK;
}

/* The content key for the signer, as its request's was transported. */
static enum ca_status
key_transport_put(struct asn1_writer *writer, const struct scep_message *message,
                  bool oaep, const uint8_t *content_key, size_t key_size)
{
    uint8_t encrypted[SCEP_RSA_BITS_MAX / 8];
    size_t size = sizeof encrypted;
    EVP_PKEY_CTX *context = message->context;
    if (EVP_PKEY_encrypt_init(context) != 1 ||
        EVP_PKEY_CTX_set_rsa_padding(context, oaep ? RSA_PKCS1_OAEP_PADDING
                                                   : RSA_PKCS1_PADDING) != 1 ||
        EVP_PKEY_encrypt(context, encrypted, &size, content_key, key_size) != 1)
        return ca_fail_openssl(CA_INTERNAL, "cannot encrypt to the signer's key");
    size_t info = asn1_open(writer, DER_SEQUENCE);
    asn1_put_small(writer, 0);
    size_t id = asn1_open(writer, DER_SEQUENCE);
    asn1_put_raw(writer, message->signer_parts.issuer);
    asn1_put_bytes(writer, DER_INTEGER, message->signer_parts.serial);
    asn1_close(writer, id);
    if (oaep) {
        /* Defaults are left out (X.690 11.5): SHA-1, MGF1 with SHA-1. */
        size_t algorithm = asn1_open(writer, DER_SEQUENCE);
        asn1_put_bytes(writer, DER_OID, rsa_oaep);
        asn1_put(writer, DER_SEQUENCE, NULL, 0);
        asn1_close(writer, algorithm);
    } else {
        asn1_put_algorithm(writer, rsa_encryption);
    }
    asn1_put(writer, DER_OCTET_STRING, encrypted, size);
    asn1_close(writer, info);
    return CA_OK;
}

static enum ca_status
content_put(struct asn1_writer *writer, const struct scep_cipher *cipher,
            const uint8_t *content_key, struct ca_bytes content)
{
    uint8_t iv[BLOCK_SIZE_MAX];
    int size = 0, rest = 0;
    CA_AUTO(free) uint8_t *encrypted = malloc(content.size + BLOCK_SIZE_MAX);
    CA_AUTO(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    if (!encrypted || !context || RAND_bytes(iv, sizeof iv) != 1 ||
        EVP_EncryptInit_ex(context, cipher->evp(), NULL, content_key, iv) != 1 ||
        EVP_EncryptUpdate(context, encrypted, &size, content.data, (int)content.size) !=
            1 ||
        EVP_EncryptFinal_ex(context, encrypted + size, &rest) != 1)
        return ca_fail_openssl(CA_INTERNAL, "cannot encrypt the answer");
    size_t info = asn1_open(writer, DER_SEQUENCE);
    asn1_put_bytes(writer, DER_OID, cms_data);
    size_t algorithm = asn1_open(writer, DER_SEQUENCE);
    asn1_put_bytes(writer, DER_OID, cipher->oid);
    asn1_put(writer, DER_OCTET_STRING, iv, cipher->block_size);
    asn1_close(writer, algorithm);
    asn1_put(writer, DER_CONTEXT(0), encrypted, (size_t)(size + rest));
    asn1_close(writer, info);
    return CA_OK;
}

enum ca_status
scep_envelope_put(struct asn1_writer *writer, const struct scep_message *message,
                  const struct scep_envelope *envelope, struct ca_bytes content)
{
    uint8_t content_key[KEY_SIZE_MAX];
    const struct scep_cipher *cipher = envelope->cipher;
    if (RAND_priv_bytes(content_key, sizeof content_key) != 1)
        return ca_fail_openssl(CA_INTERNAL, "no random content key");
    struct cms_marks marks = cms_open(writer, cms_enveloped_data);
    asn1_put_small(writer, 0);
    size_t set = asn1_open(writer, DER_SET);
    enum ca_status status = key_transport_put(writer, message, envelope->oaep,
                                              content_key, cipher->key_size);
    asn1_close(writer, set);
    if (status == CA_OK)
        status = content_put(writer, cipher, content_key, content);
    cms_close(writer, marks);
    OPENSSL_cleanse(content_key, sizeof content_key);
    return status;
}
