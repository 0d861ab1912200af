/* Signed tokens: parsed strictly, verified by libcrypto. */
#include "jws.h"
#include "auto.h"
#include "text.h"
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <string.h>

#define P256_OCTETS 32

CA_AUTO_RELEASE(OSSL_PARAM_BLD, OSSL_PARAM_BLD_free)
CA_AUTO_RELEASE(OSSL_PARAM, OSSL_PARAM_free)
CA_AUTO_RELEASE(ECDSA_SIG, ECDSA_SIG_free)

/* In the order of enum jws_algorithm. */
static const struct {
    const char *name, *type;
} algorithms[] = { { "RS256", "RSA" }, { "ES256", "EC" } };

void
jws_clear(struct jws *jws)
{
    json_decref(jws->header);
    json_decref(jws->claims);
    free(jws->text);
    *jws = (struct jws){ .header = NULL };
}

static enum ca_status
part_decode(const char *text, size_t length, json_t **ret_object)
{
    size_t size = 0;
    CA_AUTO(free) char *octets = malloc(length + 1);
    if (!octets)
        return ca_fail(CA_INTERNAL, "no memory for a token");
    if (base64_parse(text, length, BASE64_URL, octets, length + 1, &size) != CA_OK)
        return ca_fail(CA_UNAUTHENTICATED, "a token that is no base64url");
    json_error_t error;
    json_t *object = json_loadb(octets, size, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(object)) {
        json_decref(object);
        return ca_fail(CA_UNAUTHENTICATED, "a token that holds no JSON object");
    }
    *ret_object = object;
    return CA_OK;
}

static enum ca_status
header_check(struct jws *jws)
{
    const char *name = json_string_value(json_object_get(jws->header, "alg"));
    if (json_object_get(jws->header, "crit"))
        return ca_fail(CA_UNAUTHENTICATED, "a token with critical extensions");
    for (size_t i = 0; name && i < sizeof algorithms / sizeof algorithms[0]; i++) {
        if (strcmp(algorithms[i].name, name) == 0) {
            jws->algorithm = (enum jws_algorithm)i;
            return CA_OK;
        }
    }
    return ca_fail(CA_UNAUTHENTICATED, "a token signed by '%.16s'", name ? name : "");
}

enum ca_status
jws_parse(const char *text, struct jws *ret_jws)
{
    struct jws jws = { .header = NULL };
    const char *first = strchr(text, '.');
    const char *second = first ? strchr(first + 1, '.') : NULL;
    if (strnlen(text, JWS_SIZE_MAX + 1) > JWS_SIZE_MAX)
        return ca_fail(CA_UNAUTHENTICATED, "a token of more than %d characters",
                       JWS_SIZE_MAX);
    if (!second || strchr(second + 1, '.'))
        return ca_fail(CA_UNAUTHENTICATED, "a token that is not of three parts");
    enum ca_status status = part_decode(text, (size_t)(first - text), &jws.header);
    if (status == CA_OK)
        status = header_check(&jws);
    if (status == CA_OK)
        status = part_decode(first + 1, (size_t)(second - first - 1), &jws.claims);
    if (status == CA_OK &&
        base64_parse(second + 1, strlen(second + 1), BASE64_URL, jws.signature,
                     sizeof jws.signature, &jws.signature_size) != CA_OK)
        status = ca_fail(CA_UNAUTHENTICATED, "a token whose signature is none");
    if (status == CA_OK && !(jws.text = strndup(text, (size_t)(second - text))))
        status = ca_fail(CA_INTERNAL, "no memory for a token");
    if (status != CA_OK) {
        jws_clear(&jws);
        return status;
    }
    *ret_jws = jws;
    return CA_OK;
}

/* A member that is absent says nothing. */
static bool
is_or_absent(const json_t *object, const char *member, const char *wanted)
{
    const json_t *value = json_object_get(object, member);
    const char *text = json_string_value(value);
    return !value || (text && strcmp(text, wanted) == 0);
}

static bool
key_fits(const struct jws *jws, const json_t *key)
{
    const char *type = json_string_value(json_object_get(key, "kty"));
    return type && strcmp(type, algorithms[jws->algorithm].type) == 0 &&
           is_or_absent(key, "use", "sig") &&
           is_or_absent(key, "alg", algorithms[jws->algorithm].name);
}

enum ca_status
jws_find_key(const struct jws *jws, const json_t *keys, const json_t **ret_key)
{
    const json_t *kid = json_object_get(jws->header, "kid"), *key, *found = NULL;
    size_t i;
    if (kid && !json_is_string(kid))
        return ca_fail(CA_NOT_FOUND, "a token whose key has no name");
    json_array_foreach (json_object_get(keys, "keys"), i, key) {
        if (!key_fits(jws, key) ||
            (kid && !json_equal(json_object_get(key, "kid"), kid)))
            continue;
        if (found)
            return ca_fail(CA_NOT_FOUND, "a token that several keys may have signed");
        found = key;
    }
    if (!found)
        return ca_fail(CA_NOT_FOUND,
                       "a token by a key that the provider does not have");
    *ret_key = found;
    return CA_OK;
}

/* ---- Keys ---- */

static bool
number_get(const json_t *key, const char *member, BIGNUM **ret_number)
{
    const char *text = json_string_value(json_object_get(key, member));
    uint8_t octets[JWS_RSA_BITS_MAX / 8];
    size_t size = 0;
    if (!text || base64_parse(text, strlen(text), BASE64_URL, octets, sizeof octets,
                              &size) != CA_OK)
        return false;
    *ret_number = BN_bin2bn(octets, (int)size, NULL);
    return *ret_number != NULL;
}

static EVP_PKEY *
key_from(const char *type, OSSL_PARAM_BLD *builder)
{
    EVP_PKEY *key = NULL;
    CA_AUTO(OSSL_PARAM_free) OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
    CA_AUTO(EVP_PKEY_CTX_free)
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (!params || !context || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        return NULL;
    return key;
}

static EVP_PKEY *
rsa_key(const json_t *jwk)
{
    CA_AUTO(BN_free) BIGNUM *n = NULL;
    CA_AUTO(BN_free) BIGNUM *e = NULL;
    CA_AUTO(OSSL_PARAM_BLD_free) OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    if (!builder || !number_get(jwk, "n", &n) || !number_get(jwk, "e", &e) ||
        BN_num_bits(n) < JWS_RSA_BITS_MIN || !BN_is_odd(e) || BN_is_one(e) ||
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) != 1 ||
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e) != 1)
        return NULL;
    return key_from("RSA", builder);
}

static EVP_PKEY *
ec_key(const json_t *jwk)
{
    CA_AUTO(BN_free) BIGNUM *x = NULL;
    CA_AUTO(BN_free) BIGNUM *y = NULL;
    CA_AUTO(OSSL_PARAM_BLD_free) OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    uint8_t point[1 + 2 * P256_OCTETS] = { POINT_CONVERSION_UNCOMPRESSED };
    const char *curve = json_string_value(json_object_get(jwk, "crv"));
    if (!builder || !curve || strcmp(curve, "P-256") != 0 ||
        !number_get(jwk, "x", &x) || !number_get(jwk, "y", &y) ||
        BN_bn2binpad(x, point + 1, P256_OCTETS) < 0 ||
        BN_bn2binpad(y, point + 1 + P256_OCTETS, P256_OCTETS) < 0 ||
        OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "P-256",
                                        0) != 1 ||
        OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point,
                                         sizeof point) != 1)
        return NULL;
    return key_from("EC", builder);
}

/* RFC 7518 section 3.4: r and s of fixed length, which libcrypto takes as DER. */
static int
ec_signature(const struct jws *jws, uint8_t **ret_der)
{
    CA_AUTO(ECDSA_SIG_free) ECDSA_SIG *signature = ECDSA_SIG_new();
    if (jws->signature_size != 2 * P256_OCTETS || !signature)
        return -1;
    BIGNUM *r = BN_bin2bn(jws->signature, P256_OCTETS, NULL);
    BIGNUM *s = BN_bin2bn(jws->signature + P256_OCTETS, P256_OCTETS, NULL);
    if (!r || !s || ECDSA_SIG_set0(signature, r, s) != 1) {
        BN_free(r);
        BN_free(s);
        return -1;
    }
    return i2d_ECDSA_SIG(signature, ret_der);
}

static bool
holds(EVP_PKEY *key, const struct jws *jws, const uint8_t *signature, size_t size)
{
    CA_AUTO(EVP_MD_CTX_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
    return context &&
           EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
           EVP_DigestVerify(context, signature, size, (const uint8_t *)jws->text,
                            strlen(jws->text)) == 1;
}

enum ca_status
jws_verify(const struct jws *jws, const json_t *jwk)
{
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    bool is_ec = jws->algorithm == JWS_ES256;
    CA_AUTO(EVP_PKEY_free)
    EVP_PKEY *key = !key_fits(jws, jwk) ? NULL : is_ec ? ec_key(jwk) : rsa_key(jwk);
    if (!key)
        return ca_fail_openssl(CA_UNAUTHENTICATED, "the provider's key is none to use");
    const uint8_t *signature = jws->signature;
    int size = is_ec ? ec_signature(jws, &der) : (int)jws->signature_size;
    if (is_ec)
        signature = der;
    if (size <= 0 || !holds(key, jws, signature, (size_t)size))
        return ca_fail_openssl(CA_UNAUTHENTICATED, "a token whose signature is wrong");
    return CA_OK;
}
