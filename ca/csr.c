/* PKCS#10 requests: decoded strictly, possession proved, challenge and requested
 * extensions taken out. */
#include "csr.h"
#include "auto.h"
#include "der.h"
#include "pubkey.h"
#include <openssl/rsa.h>
#include <string.h>

#define PSS_SALT_MIN 32

enum key_family { FAMILY_RSA, FAMILY_EC, FAMILY_ED25519 };

static const struct {
    int nid;
    enum key_family family;
    bool is_sha1;
} algorithms[] = {
    { NID_sha256WithRSAEncryption, FAMILY_RSA, false },
    { NID_sha384WithRSAEncryption, FAMILY_RSA, false },
    { NID_sha512WithRSAEncryption, FAMILY_RSA, false },
    { NID_sha1WithRSAEncryption, FAMILY_RSA, true },
    { NID_sha1WithRSA, FAMILY_RSA, true }, /* 1.3.14.3.2.29: Windows 10 MDM */
    { NID_rsassaPss, FAMILY_RSA, false },
    { NID_ecdsa_with_SHA256, FAMILY_EC, false },
    { NID_ecdsa_with_SHA384, FAMILY_EC, false },
    { NID_ecdsa_with_SHA512, FAMILY_EC, false },
    { NID_ecdsa_with_SHA1, FAMILY_EC, true },
    { NID_ED25519, FAMILY_ED25519, false },
};

/* RFC 2986 section 4.1: each attribute once, with at least one value. */
static enum ca_status
check_attributes(const X509_REQ *request)
{
    int count = X509_REQ_get_attr_count(request);
    if (count > CSR_ATTRIBUTES_MAX)
        return ca_fail(CA_MALFORMED, "PKCS#10 has %d attributes", count);
    for (int i = 0; i < count; i++) {
        X509_ATTRIBUTE *attribute = X509_REQ_get_attr(request, i);
        const ASN1_OBJECT *type = X509_ATTRIBUTE_get0_object(attribute);
        if (X509_ATTRIBUTE_count(attribute) < 1)
            return ca_fail(CA_MALFORMED, "PKCS#10 attribute has no value");
        if (X509_REQ_get_attr_by_OBJ(request, type, i) >= 0)
            return ca_fail(CA_MALFORMED, "PKCS#10 attribute is doubled");
    }
    return CA_OK;
}

enum ca_status
csr_decode(const uint8_t *der, size_t size, X509_REQ **ret_request)
{
    if (size == 0 || size > CSR_SIZE_MAX)
        return ca_fail(CA_MALFORMED, "PKCS#10 of %zu octets", size);
    if (!der_is_strict(der, size))
        return ca_fail(CA_MALFORMED, "PKCS#10 is not DER, or something follows it");
    CA_AUTO(X509_REQ_free) X509_REQ *request = pubkey_request_decode(der, size);
    if (!request)
        return ca_fail_openssl(CA_MALFORMED, "PKCS#10 cannot be decoded");
    if (X509_REQ_get_version(request) != X509_REQ_VERSION_1)
        return ca_fail(CA_MALFORMED, "PKCS#10 has another version than 0");
    enum ca_status status = check_attributes(request);
    if (status != CA_OK)
        return status;
    *ret_request = CA_STEAL(request);
    return CA_OK;
}

/* RSASSA-PSS-params (RFC 4055 section 3.1): SHA-2 with MGF1 over the same hash, and a
 * salt that hides; SHA-1, the default of every field, is thereby refused. */
static enum ca_status
check_pss(const X509_ALGOR *algorithm)
{
    int type;
    const void *parameter;
    X509_ALGOR_get0(NULL, &type, &parameter, algorithm);
    if (type != V_ASN1_SEQUENCE)
        return ca_fail(CA_MALFORMED, "PKCS#10 RSA-PSS signature has no parameters");
    const ASN1_STRING *sequence = parameter;
    const uint8_t *at = ASN1_STRING_get0_data(sequence);
    const uint8_t *end = at + ASN1_STRING_length(sequence);
    RSA_PSS_PARAMS *params = d2i_RSA_PSS_PARAMS(NULL, &at, end - at);
    if (!params || at != end || !params->hashAlgorithm || !params->maskGenAlgorithm ||
        !params->saltLength) {
        RSA_PSS_PARAMS_free(params);
        return ca_fail_openssl(CA_UNSUPPORTED,
                               "PKCS#10 RSA-PSS parameters are not SHA-2 throughout");
    }
    const ASN1_OBJECT *hash, *mask, *mask_hash = NULL;
    X509_ALGOR_get0(&hash, NULL, NULL, params->hashAlgorithm);
    X509_ALGOR_get0(&mask, &type, &parameter, params->maskGenAlgorithm);
    X509_ALGOR *inner = NULL;
    if (type == V_ASN1_SEQUENCE) {
        sequence = parameter;
        at = ASN1_STRING_get0_data(sequence);
        inner = d2i_X509_ALGOR(NULL, &at, ASN1_STRING_length(sequence));
        if (inner)
            X509_ALGOR_get0(&mask_hash, NULL, NULL, inner);
    }
    int nid = OBJ_obj2nid(hash);
    bool is_good =
        (nid == NID_sha256 || nid == NID_sha384 || nid == NID_sha512) &&
        OBJ_obj2nid(mask) == NID_mgf1 && mask_hash && OBJ_obj2nid(mask_hash) == nid &&
        ASN1_INTEGER_get(params->saltLength) >= PSS_SALT_MIN &&
        (!params->trailerField || ASN1_INTEGER_get(params->trailerField) == 1);
    X509_ALGOR_free(inner);
    RSA_PSS_PARAMS_free(params);
    if (!is_good)
        return ca_fail_openssl(CA_UNSUPPORTED,
                               "PKCS#10 RSA-PSS parameters are not SHA-2 throughout");
    return CA_OK;
}

/* PKCS#1: NULL or absent (RFC 4055 section 5); ECDSA and EdDSA: absent. */
static enum ca_status
check_parameters(const X509_ALGOR *algorithm, int nid, enum key_family family)
{
    if (nid == NID_rsassaPss)
        return check_pss(algorithm);
    int type;
    X509_ALGOR_get0(NULL, &type, NULL, algorithm);
    if (type != V_ASN1_UNDEF && !(family == FAMILY_RSA && type == V_ASN1_NULL))
        return ca_fail(CA_MALFORMED, "PKCS#10 signature algorithm has parameters");
    return CA_OK;
}

static bool
allows_ed25519(const struct certificate_profile *profile)
{
    const struct profile_key *keys = profile->keys.items;
    for (size_t i = 0; i < profile->keys.count; i++) {
        if (keys[i].algorithm == KEY_ED25519)
            return true;
    }
    return false;
}

static enum ca_status
check_algorithm(const struct certificate_profile *profile, const X509_REQ *request,
                enum key_family *ret_family)
{
    const X509_ALGOR *algorithm;
    const ASN1_OBJECT *object;
    X509_REQ_get0_signature(request, NULL, &algorithm);
    X509_ALGOR_get0(&object, NULL, NULL, algorithm);
    int nid = OBJ_obj2nid(object);
    if (nid == NID_md5WithRSAEncryption || nid == NID_md5WithRSA ||
        nid == NID_md2WithRSAEncryption || nid == NID_md4WithRSAEncryption)
        return ca_fail(CA_FORBIDDEN, "PKCS#10 is signed with %s", OBJ_nid2sn(nid));
    size_t i = 0, count = sizeof algorithms / sizeof algorithms[0];
    while (i < count && algorithms[i].nid != nid)
        i++;
    if (i == count)
        return ca_fail(CA_UNSUPPORTED, "PKCS#10 is signed with %s",
                       nid != NID_undef ? OBJ_nid2sn(nid) : "an unknown algorithm");
    if (algorithms[i].is_sha1 && !profile->allow_sha1_request)
        return ca_fail(CA_FORBIDDEN, "PKCS#10 is signed with SHA-1");
    if (algorithms[i].family == FAMILY_ED25519 && !allows_ed25519(profile))
        return ca_fail(CA_FORBIDDEN, "PKCS#10 is signed with Ed25519");
    *ret_family = algorithms[i].family;
    return check_parameters(algorithm, nid, algorithms[i].family);
}

static bool
is_of_family(const EVP_PKEY *key, enum key_family family)
{
    int id = EVP_PKEY_get_base_id(key);
    return family == FAMILY_RSA  ? id == EVP_PKEY_RSA
           : family == FAMILY_EC ? id == EVP_PKEY_EC
                                 : id == EVP_PKEY_ED25519;
}

enum ca_status
csr_verify_by(const struct certificate_profile *profile, X509_REQ *request,
              EVP_PKEY *key)
{
    enum key_family family = FAMILY_RSA;
    enum ca_status status = check_algorithm(profile, request, &family);
    if (status != CA_OK)
        return status;
    CA_AUTO(EVP_PKEY_free)
    EVP_PKEY *own = key ? NULL : pubkey_of(X509_REQ_get_X509_PUBKEY(request));
    if (!key)
        key = own;
    if (!key)
        return ca_fail_openssl(CA_FORBIDDEN, "PKCS#10 public key cannot be used");
    if (!is_of_family(key, family))
        return ca_fail(CA_FORBIDDEN, "PKCS#10 signature is not one of its key's kind");
    if (family == FAMILY_RSA && EVP_PKEY_get_bits(key) > CSR_RSA_BITS_MAX)
        return ca_fail(CA_FORBIDDEN, "PKCS#10 RSA key has %d bits",
                       EVP_PKEY_get_bits(key));
    if (X509_REQ_verify(request, key) != 1)
        return ca_fail_openssl(CA_FORBIDDEN, "PKCS#10 signature does not verify");
    return CA_OK;
}

enum ca_status
csr_verify(const struct certificate_profile *profile, X509_REQ *request)
{
    return csr_verify_by(profile, request, NULL);
}

/* The one value of an attribute: -1 index when it is not there. */
static enum ca_status
single_value(X509_REQ *request, int nid, ASN1_TYPE **ret_value)
{
    *ret_value = NULL;
    int index = X509_REQ_get_attr_by_NID(request, nid, -1);
    if (index < 0)
        return CA_OK;
    X509_ATTRIBUTE *attribute = X509_REQ_get_attr(request, index);
    if (X509_REQ_get_attr_by_NID(request, nid, index) >= 0 ||
        X509_ATTRIBUTE_count(attribute) != 1)
        return ca_fail(CA_MALFORMED, "PKCS#10 has several values of %s",
                       OBJ_nid2sn(nid));
    *ret_value = X509_ATTRIBUTE_get0_type(attribute, 0);
    return CA_OK;
}

static enum ca_status
check_extension_list(const STACK_OF(X509_EXTENSION) *extensions)
{
    int count = sk_X509_EXTENSION_num(extensions);
    if (count > CSR_EXTENSIONS_MAX)
        return ca_fail(CA_MALFORMED, "PKCS#10 requests %d extensions", count);
    for (int i = 0; i < count; i++) {
        X509_EXTENSION *one = sk_X509_EXTENSION_value(extensions, i);
        if (X509v3_get_ext_by_OBJ(extensions, X509_EXTENSION_get_object(one), i) >= 0)
            return ca_fail(CA_MALFORMED, "PKCS#10 requests an extension twice");
    }
    return CA_OK;
}

enum ca_status
csr_extensions(X509_REQ *request, STACK_OF(X509_EXTENSION) **ret_extensions)
{
    ASN1_TYPE *standard, *microsoft;
    enum ca_status status = single_value(request, NID_ext_req, &standard);
    if (status == CA_OK)
        status = single_value(request, NID_ms_ext_req, &microsoft);
    if (status != CA_OK)
        return status;
    if (standard && microsoft)
        return ca_fail(CA_MALFORMED, "PKCS#10 requests extensions in two attributes");
    const ASN1_TYPE *value = standard ? standard : microsoft;
    if (!value) {
        *ret_extensions = NULL;
        return CA_OK;
    }
    if (value->type != V_ASN1_SEQUENCE)
        return ca_fail(CA_MALFORMED, "PKCS#10 extensionRequest is no SEQUENCE");
    const uint8_t *at = ASN1_STRING_get0_data(value->value.sequence);
    const uint8_t *end = at + ASN1_STRING_length(value->value.sequence);
    CA_AUTO(x509_extensions_free)
    STACK_OF(X509_EXTENSION) *extensions = d2i_X509_EXTENSIONS(NULL, &at, end - at);
    if (!extensions || at != end)
        return ca_fail_openssl(CA_MALFORMED, "PKCS#10 extensionRequest is malformed");
    status = check_extension_list(extensions);
    if (status == CA_OK)
        *ret_extensions = CA_STEAL(extensions);
    return status;
}

/* BasicConstraints ::= SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLen INTEGER OPTIONAL }
 */
static enum ca_status
check_basic_constraints(const ASN1_OCTET_STRING *value)
{
    struct der in = { ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value) };
    struct der content, flag = { NULL, 0 };
    if (!der_take(&in, DER_SEQUENCE, &content) || in.size > 0)
        return ca_fail(CA_MALFORMED, "PKCS#10 basicConstraints is malformed");
    if (der_take(&content, DER_BOOLEAN, &flag) && flag.size == 1 && flag.at[0] == 0)
        return CA_OK;
    if (flag.at || content.size > 0)
        return ca_fail(CA_FORBIDDEN, "PKCS#10 asks to be a CA");
    return CA_OK;
}

/* KeyUsage ::= BIT STRING: keyCertSign is bit 5, cRLSign bit 6 (RFC 5280 4.2.1.3). */
static enum ca_status
check_key_usage(const ASN1_OCTET_STRING *value)
{
    struct der in = { ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value) };
    struct der bits;
    if (!der_take(&in, DER_BIT_STRING, &bits) || in.size > 0 || bits.size < 1 ||
        bits.size > 3 || bits.at[0] > 7)
        return ca_fail(CA_MALFORMED, "PKCS#10 keyUsage is malformed");
    if (bits.size > 1 && (bits.at[1] & (0x80 >> 5 | 0x80 >> 6)))
        return ca_fail(CA_FORBIDDEN, "PKCS#10 asks for keyCertSign or cRLSign");
    return CA_OK;
}

enum ca_status
csr_check_extensions(X509_REQ *request)
{
    CA_AUTO(x509_extensions_free) STACK_OF(X509_EXTENSION) *extensions = NULL;
    enum ca_status status = csr_extensions(request, &extensions);
    for (int i = 0; status == CA_OK && i < sk_X509_EXTENSION_num(extensions); i++) {
        X509_EXTENSION *one = sk_X509_EXTENSION_value(extensions, i);
        const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(one);
        int nid = OBJ_obj2nid(X509_EXTENSION_get_object(one));
        if (nid == NID_basic_constraints)
            status = check_basic_constraints(value);
        else if (nid == NID_key_usage)
            status = check_key_usage(value);
    }
    return status;
}

/* A copy with a NUL behind it; CA_MALFORMED for a NUL inside. */
static enum ca_status
copy_text(const uint8_t *octets, int size, char **ret_text, size_t *ret_size)
{
    if (size > 0 && memchr(octets, '\0', (size_t)size))
        return ca_fail(CA_MALFORMED, "challengePassword has a NUL in it");
    char *text = malloc((size_t)size + 1);
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for a challenge");
    if (size > 0)
        memcpy(text, octets, (size_t)size);
    text[size] = '\0';
    *ret_text = text;
    *ret_size = (size_t)size;
    return CA_OK;
}

/* The octets as the client wrote them; only BMPString is turned into UTF-8. */
enum ca_status
csr_challenge(X509_REQ *request, char **ret_text, size_t *ret_size)
{
    ASN1_TYPE *value;
    enum ca_status status = single_value(request, NID_pkcs9_challengePassword, &value);
    if (status != CA_OK)
        return status;
    if (!value)
        return ca_fail(CA_NOT_FOUND, "PKCS#10 has no challengePassword");
    if (value->type != V_ASN1_PRINTABLESTRING && value->type != V_ASN1_UTF8STRING &&
        value->type != V_ASN1_T61STRING && value->type != V_ASN1_BMPSTRING &&
        value->type != V_ASN1_IA5STRING)
        return ca_fail(CA_MALFORMED, "challengePassword is no string");
    const ASN1_STRING *string = value->value.asn1_string;
    if (value->type != V_ASN1_BMPSTRING)
        return copy_text(ASN1_STRING_get0_data(string), ASN1_STRING_length(string),
                         ret_text, ret_size);
    uint8_t *octets = NULL;
    int size = ASN1_STRING_to_UTF8(&octets, string);
    if (size < 0)
        return ca_fail_openssl(CA_MALFORMED, "challengePassword is no BMPString");
    status = copy_text(octets, size, ret_text, ret_size);
    OPENSSL_clear_free(octets, (size_t)size);
    return status;
}
