/* Pieces of CMS that several protocols need. */
#include "cms.h"
#include "auto.h"

#define OID_RSA_ENCRYPTION 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01
#define OID_PKCS7(n) 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, n

static const struct ca_bytes rsa_encryption = DER_OID_BYTES(OID_RSA_ENCRYPTION);
const struct ca_bytes cms_data = DER_OID_BYTES(OID_PKCS7(1));
const struct ca_bytes cms_signed_data = DER_OID_BYTES(OID_PKCS7(2));
const struct ca_bytes cms_enveloped_data = DER_OID_BYTES(OID_PKCS7(3));

bool
cms_take_certificate(struct ca_bytes *from, struct cms_certificate *ret_parts)
{
    struct cms_certificate parts = { 0 };
    struct ca_bytes certificate, tbs;
    if (!asn1_take_whole(from, DER_SEQUENCE, &parts.whole))
        return false;
    struct ca_bytes at = parts.whole;
    if (!asn1_take(&at, DER_SEQUENCE, &certificate) ||
        !asn1_take(&certificate, DER_SEQUENCE, &tbs))
        return false;
    if (asn1_next_is(tbs, DER_CONTEXT_CONSTRUCTED(0)) &&
        !asn1_take_any(&tbs, NULL, NULL, NULL))
        return false;
    if (!asn1_take(&tbs, DER_INTEGER, &parts.serial) ||
        !asn1_take(&tbs, DER_SEQUENCE, NULL) ||
        !asn1_take_whole(&tbs, DER_SEQUENCE, &parts.issuer) ||
        !asn1_take(&tbs, DER_SEQUENCE, NULL) ||
        !asn1_take_whole(&tbs, DER_SEQUENCE, &parts.subject) ||
        !asn1_take_whole(&tbs, DER_SEQUENCE, &parts.spki))
        return false;
    *ret_parts = parts;
    return true;
}

static X509_NAME *
name_decode(struct ca_bytes name)
{
    const uint8_t *at = name.data;
    X509_NAME *decoded = d2i_X509_NAME(NULL, &at, (long)name.size);
    if (decoded && at == name.data + name.size)
        return decoded;
    X509_NAME_free(decoded);
    return NULL;
}

bool
cms_names_equal(struct ca_bytes a, struct ca_bytes b)
{
    if (asn1_equal(a, b))
        return true;
    CA_AUTO(X509_NAME_free) X509_NAME *first = name_decode(a);
    CA_AUTO(X509_NAME_free) X509_NAME *second = name_decode(b);
    return first && second && X509_NAME_cmp(first, second) == 0;
}

bool
cms_name_is(struct ca_bytes name, const X509_NAME *known)
{
    const uint8_t *octets;
    size_t size;
    if (X509_NAME_get0_der(known, &octets, &size) != 1)
        return false;
    if (asn1_equal(name, (struct ca_bytes){ octets, size }))
        return true;
    CA_AUTO(X509_NAME_free) X509_NAME *decoded = name_decode(name);
    return decoded && X509_NAME_cmp(decoded, known) == 0;
}

bool
cms_spki_algorithm(struct ca_bytes spki, struct ca_bytes *ret_oid)
{
    struct ca_bytes inside, parameters;
    return asn1_take(&spki, DER_SEQUENCE, &inside) &&
           asn1_take_algorithm(&inside, ret_oid, &parameters);
}

/* RSAPublicKey (RFC 8017 A.1.1) */
static bool
rsa_key_decode(struct ca_bytes octets, struct ca_bytes *ret_modulus,
               struct ca_bytes *ret_exponent)
{
    struct ca_bytes key, modulus, exponent;
    if (!asn1_take(&octets, DER_SEQUENCE, &key) || octets.size > 0 ||
        !asn1_take_unsigned(&key, &modulus) || !asn1_take_unsigned(&key, &exponent) ||
        key.size > 0)
        return false;
    *ret_modulus = modulus;
    *ret_exponent = exponent;
    return true;
}

bool
cms_certificate_modulus(const X509 *certificate, struct ca_bytes *ret_modulus)
{
    ASN1_OBJECT *kind = NULL;
    const uint8_t *octets = NULL;
    int size = 0;
    struct ca_bytes exponent;
    X509_PUBKEY *key = X509_get_X509_PUBKEY(certificate);
    return key && X509_PUBKEY_get0_param(&kind, &octets, &size, NULL, key) == 1 &&
           OBJ_obj2nid(kind) == NID_rsaEncryption && size > 0 &&
           rsa_key_decode((struct ca_bytes){ octets, (size_t)size }, ret_modulus,
                          &exponent);
}

bool
cms_spki_rsa(struct ca_bytes spki, struct ca_bytes *ret_modulus,
             struct ca_bytes *ret_exponent)
{
    struct ca_bytes inside, oid, parameters, bits;
    if (!asn1_take(&spki, DER_SEQUENCE, &inside) ||
        !asn1_take_algorithm(&inside, &oid, &parameters) ||
        !asn1_equal(oid, rsa_encryption) ||
        !asn1_take(&inside, DER_BIT_STRING, &bits) || inside.size > 0 ||
        bits.size < 1 || bits.data[0] != 0)
        return false;
    bits.data++;
    bits.size--;
    return rsa_key_decode(bits, ret_modulus, ret_exponent);
}

size_t
cms_bits(struct ca_bytes number)
{
    if (number.size == 0)
        return 0;
    size_t bits = 8 * (number.size - 1);
    for (uint8_t first = number.data[0]; first > 0; first = (uint8_t)(first >> 1))
        bits++;
    return bits;
}

struct cms_marks
cms_open(struct asn1_writer *writer, struct ca_bytes type)
{
    struct cms_marks marks;
    marks.content_info = asn1_open(writer, DER_SEQUENCE);
    asn1_put_bytes(writer, DER_OID, type);
    marks.explicit = asn1_open(writer, DER_CONTEXT_CONSTRUCTED(0));
    marks.content = asn1_open(writer, DER_SEQUENCE);
    return marks;
}

void
cms_close(struct asn1_writer *writer, struct cms_marks marks)
{
    asn1_close(writer, marks.content);
    asn1_close(writer, marks.explicit);
    asn1_close(writer, marks.content_info);
}

bool
cms_take(struct ca_bytes *from, struct ca_bytes type, struct ca_bytes *ret_content)
{
    struct ca_bytes info, oid, explicit, content;
    if (!asn1_take(from, DER_SEQUENCE, &info) || !asn1_take(&info, DER_OID, &oid) ||
        !asn1_equal(oid, type) ||
        !asn1_take(&info, DER_CONTEXT_CONSTRUCTED(0), &explicit) || info.size > 0 ||
        !asn1_take(&explicit, DER_SEQUENCE, &content) || explicit.size > 0)
        return false;
    *ret_content = content;
    return true;
}

void
cms_put_certs_only(struct asn1_writer *writer, const struct ca_bytes *certificates,
                   size_t count, struct ca_bytes crl)
{
    struct cms_marks marks = cms_open(writer, cms_signed_data);
    asn1_put_small(writer, 1);
    asn1_put(writer, DER_SET, NULL, 0);
    size_t content = asn1_open(writer, DER_SEQUENCE);
    asn1_put_bytes(writer, DER_OID, cms_data);
    asn1_close(writer, content);
    if (count > 0) {
        size_t set = asn1_open(writer, DER_CONTEXT_CONSTRUCTED(0));
        for (size_t i = 0; i < count; i++)
            asn1_put_raw(writer, certificates[i]);
        asn1_close(writer, set);
    }
    if (crl.size > 0) {
        size_t set = asn1_open(writer, DER_CONTEXT_CONSTRUCTED(1));
        asn1_put_raw(writer, crl);
        asn1_close(writer, set);
    }
    asn1_put(writer, DER_SET, NULL, 0);
    cms_close(writer, marks);
}
