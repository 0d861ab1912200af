/* Public keys from their octets, by hand for RSA and the NIST curves, by OpenSSL's
 * decoders for the rest. */
#include "pubkey.h"
#include "auto.h"
#include "der.h"
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <string.h>

#define MODULUS_SIZE_MAX 1024 /* octets: RSA-8192 */

/* AlgorithmIdentifier of rsaEncryption with NULL (RFC 3279 section 2.3.1) */
static const uint8_t rsa_algorithm[] = { 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7,
                                         0x0d, 0x01, 0x01, 0x01, 0x05, 0x00 };

/* An INTEGER's magnitude: positive, shortest. */
static bool
take_magnitude(struct der *in, struct der *ret_octets)
{
    struct der octets;
    if (!der_take(in, DER_INTEGER, &octets) || octets.size == 0 ||
        (octets.at[0] & 0x80))
        return false;
    if (octets.at[0] == 0) {
        if (octets.size < 2 || !(octets.at[1] & 0x80))
            return false;
        octets.at++;
        octets.size--;
    }
    *ret_octets = octets;
    return true;
}

/* RSAPublicKey (RFC 8017 appendix A.1.1) inside of a SubjectPublicKeyInfo. */
static bool
rsa_take(const uint8_t *spki, size_t size, struct der *ret_modulus,
         struct der *ret_exponent)
{
    struct der in = { spki, size }, info, algorithm, bits, key;
    if (!der_take(&in, DER_SEQUENCE, &info) || in.size > 0 ||
        !der_take(&info, DER_SEQUENCE, &algorithm) ||
        algorithm.size != sizeof rsa_algorithm ||
        memcmp(algorithm.at, rsa_algorithm, sizeof rsa_algorithm) != 0 ||
        !der_take(&info, DER_BIT_STRING, &bits) || info.size > 0 || bits.size < 1 ||
        bits.at[0] != 0)
        return false;
    struct der whole = { bits.at + 1, bits.size - 1 };
    return der_take(&whole, DER_SEQUENCE, &key) && whole.size == 0 &&
           take_magnitude(&key, ret_modulus) && take_magnitude(&key, ret_exponent) &&
           key.size == 0 && ret_modulus->size <= MODULUS_SIZE_MAX &&
           ret_exponent->size <= sizeof(uint64_t);
}

/* OSSL_PARAM takes numbers in the machine's own order. */
static bool
to_native(const struct der *octets, uint8_t *ret_native)
{
    CA_AUTO(BN_free) BIGNUM *number = BN_bin2bn(octets->at, (int)octets->size, NULL);
    int size = (int)octets->size;
    return number && BN_bn2nativepad(number, ret_native, size) == size;
}

static pthread_key_t maker;
static bool has_maker;
static pthread_once_t maker_once = PTHREAD_ONCE_INIT;

static void
maker_free(void *context)
{
    EVP_PKEY_CTX_free(context);
}

static void
maker_prepare(void)
{
    has_maker = pthread_key_create(&maker, maker_free) == 0;
}

/* This thread's context for RSA keys: a new one costs OpenSSL a walk over all names
 * that it knows. */
static EVP_PKEY_CTX *
maker_get(void)
{
    pthread_once(&maker_once, maker_prepare);
    EVP_PKEY_CTX *context = has_maker ? pthread_getspecific(maker) : NULL;
    if (context || !has_maker)
        return context;
    context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    if (context && pthread_setspecific(maker, context) == 0)
        return context;
    EVP_PKEY_CTX_free(context);
    return NULL;
}

static EVP_PKEY *
rsa_make(const struct der *modulus, const struct der *exponent)
{
    uint8_t n[MODULUS_SIZE_MAX], e[sizeof(uint64_t)];
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *context = maker_get();
    if (!context || !to_native(modulus, n) || !to_native(exponent, e))
        return NULL;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_N, n, modulus->size),
        OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_E, e, exponent->size),
        OSSL_PARAM_construct_end(),
    };
    if (EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        return NULL;
    return key;
}

/* ---- Elliptic curves ---- */

/* AlgorithmIdentifiers of id-ecPublicKey with a namedCurve (RFC 5480 section 2.1.1). A
 * key of one of them is a copy of the curve's parameters, made once, with a point. */
#define EC_PUBLIC_KEY 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01
static const uint8_t p256_algorithm[] = { EC_PUBLIC_KEY, 0x06, 0x08, 0x2a, 0x86, 0x48,
                                          0xce,          0x3d, 0x03, 0x01, 0x07 };
static const uint8_t p384_algorithm[] = { EC_PUBLIC_KEY, 0x06, 0x05, 0x2b,
                                          0x81,          0x04, 0x00, 0x22 };
static const uint8_t p521_algorithm[] = { EC_PUBLIC_KEY, 0x06, 0x05, 0x2b,
                                          0x81,          0x04, 0x00, 0x23 };

static struct curve {
    const char *name;
    const uint8_t *algorithm;
    size_t algorithm_size, point_size; /* uncompressed */
    EVP_PKEY *parameters;              /* kept for the process; NULL: not to be had */
} curves[] = {
    { "P-256", p256_algorithm, sizeof p256_algorithm, 65, NULL },
    { "P-384", p384_algorithm, sizeof p384_algorithm, 97, NULL },
    { "P-521", p521_algorithm, sizeof p521_algorithm, 133, NULL },
};
static pthread_once_t curves_once = PTHREAD_ONCE_INIT;

static void
curves_make(void)
{
    for (size_t i = 0; i < sizeof curves / sizeof curves[0]; i++) {
        CA_AUTO(EVP_PKEY_CTX_free)
        EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
        EVP_PKEY *parameters = NULL;
        if (context && EVP_PKEY_paramgen_init(context) == 1 &&
            EVP_PKEY_CTX_set_group_name(context, curves[i].name) == 1 &&
            EVP_PKEY_paramgen(context, &parameters) == 1)
            curves[i].parameters = parameters;
    }
}

/* The curve of a SubjectPublicKeyInfo whose point is uncompressed; NULL: it is for
 * OpenSSL to say what it is. */
static const struct curve *
ec_take(const uint8_t *spki, size_t size, struct der *ret_point)
{
    struct der in = { spki, size }, info, algorithm, bits;
    if (!der_take(&in, DER_SEQUENCE, &info) || in.size > 0 ||
        !der_take(&info, DER_SEQUENCE, &algorithm) ||
        !der_take(&info, DER_BIT_STRING, &bits) || info.size > 0 || bits.size < 2 ||
        bits.at[0] != 0 || bits.at[1] != POINT_CONVERSION_UNCOMPRESSED)
        return NULL;
    pthread_once(&curves_once, curves_make);
    *ret_point = (struct der){ bits.at + 1, bits.size - 1 };
    for (size_t i = 0; i < sizeof curves / sizeof curves[0]; i++) {
        const struct curve *curve = &curves[i];
        if (algorithm.size == curve->algorithm_size &&
            memcmp(algorithm.at, curve->algorithm, algorithm.size) == 0 &&
            ret_point->size == curve->point_size && curve->parameters)
            return curve;
    }
    return NULL;
}

/* Fails for a point that is not on the curve. */
static EVP_PKEY *
ec_make(const struct curve *curve, const struct der *point)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_PKEY_new();
    if (!key || EVP_PKEY_copy_parameters(key, curve->parameters) != 1 ||
        EVP_PKEY_set1_encoded_public_key(key, point->at, point->size) != 1)
        return NULL;
    return CA_STEAL(key);
}

EVP_PKEY *
pubkey_decode(const uint8_t *spki, size_t size)
{
    struct der modulus, exponent, point;
    if (rsa_take(spki, size, &modulus, &exponent))
        return rsa_make(&modulus, &exponent);
    const struct curve *curve = ec_take(spki, size, &point);
    if (curve)
        return ec_make(curve, &point);
    const uint8_t *at = spki;
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)size);
    return key && at == spki + size ? CA_STEAL(key) : NULL;
}

EVP_PKEY *
pubkey_of(const X509_PUBKEY *spki)
{
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    int size = i2d_X509_PUBKEY(spki, &der);
    return size > 0 ? pubkey_decode(der, (size_t)size) : NULL;
}

/* A library context in which there are no decoders to look for. Kept for the process:
 * decoded certificates refer to it. */
static OSSL_LIB_CTX *empty;
static pthread_once_t empty_once = PTHREAD_ONCE_INIT;

static void
empty_make(void)
{
    empty = OSSL_LIB_CTX_new();
    /* Without any provider the default one would be loaded. */
    if (empty && !OSSL_PROVIDER_load(empty, "null")) {
        OSSL_LIB_CTX_free(empty);
        empty = NULL;
    }
}

static void *
decode(const ASN1_ITEM *item, const uint8_t *der, size_t size)
{
    pthread_once(&empty_once, empty_make);
    const uint8_t *at = der;
    void *value =
        empty ? ASN1_item_d2i_ex(NULL, &at, (long)size, item, empty, NULL) : NULL;
    if (value && at == der + size)
        return value;
    ASN1_item_free(value, item);
    return NULL;
}

X509 *
pubkey_certificate_decode(const uint8_t *der, size_t size)
{
    return decode(ASN1_ITEM_rptr(X509), der, size);
}

X509_REQ *
pubkey_request_decode(const uint8_t *der, size_t size)
{
    return decode(ASN1_ITEM_rptr(X509_REQ), der, size);
}
