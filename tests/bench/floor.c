/* The floor of one enrolment: what cryptography alone costs on the data folder's own
 * token, by bare PKCS#11 calls. Prints CPU microseconds a round as JSON. */
#include "floor_parts.h"
#include <getopt.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define RSA_SIZE 256 /* RSA-2048 */
#define CONTENT_KEY_SIZE 16
#define DIGEST_SIZE 32
#define WARM_ROUNDS 20

/* DigestInfo of SHA-256 up to the digest (RFC 8017 section 9.2). */
static const uint8_t digest_info[] = { 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60,
                                       0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
                                       0x01, 0x05, 0x00, 0x04, 0x20 };
/* namedCurve prime256v1 */
static const uint8_t p256[] = { 0x06, 0x08, 0x2a, 0x86, 0x48,
                                0xce, 0x3d, 0x03, 0x01, 0x07 };

enum part { DECRYPT, SIGN_RSA, SIGN_EC, VERIFY_RSA, VERIFY_EC, ENCRYPT, PART_COUNT };
static const char *const part_names[PART_COUNT] = {
    "decrypt_rsa",      "sign_rsa",    "sign_p256",
    "verify_rsa_twice", "verify_p256", "encrypt_rsa",
};

struct floor {
    struct floor_token token;
    CK_OBJECT_HANDLE rsa, ec; /* the RA's and an issuer's private key */
    EVP_PKEY *rsa_public, *ec_public;
    EVP_PKEY_CTX *verify, *verify_ec, *encrypt; /* ready before the first round */
    uint8_t encrypted[RSA_SIZE];                /* a content key to the RA */
    uint8_t digest[DIGEST_SIZE];
    uint8_t signature[RSA_SIZE]; /* the device's */
    EVP_PKEY *device;
    double parts[PART_COUNT]; /* seconds of this thread's CPU */
};

/* ---- The token's keys ---- */

static CK_OBJECT_HANDLE
object_find(const struct floor *state, CK_ATTRIBUTE *template, CK_ULONG count)
{
    CK_OBJECT_HANDLE found = 0;
    CK_ULONG found_count = 0;
    CK_FUNCTION_LIST *token = state->token.module;
    must(token->C_FindObjectsInit(state->token.session, template, count) == CKR_OK &&
             token->C_FindObjects(state->token.session, &found, 1, &found_count) ==
                 CKR_OK &&
             token->C_FindObjectsFinal(state->token.session) == CKR_OK,
         "C_FindObjects");
    must(found_count >= 1, "a key is missing in the token"); /* P-256 keys are alike */
    return found;
}

static size_t
attribute_read(const struct floor *state, CK_OBJECT_HANDLE object,
               CK_ATTRIBUTE_TYPE type, uint8_t *ret_value, size_t room)
{
    CK_ATTRIBUTE wanted = { type, ret_value, room };
    must(state->token.module->C_GetAttributeValue(state->token.session, object, &wanted,
                                                  1) == CKR_OK,
         "C_GetAttributeValue");
    return wanted.ulValueLen;
}

/* The public object beside a private key. */
static CK_OBJECT_HANDLE
public_find(const struct floor *state, CK_OBJECT_HANDLE private)
{
    uint8_t id[64];
    CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
    size_t size = attribute_read(state, private, CKA_ID, id, sizeof id);
    CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof class },
                                { CKA_ID, id, size } };
    return object_find(state, template, 2);
}

static void
keys_find(struct floor *state)
{
    CK_BBOOL yes = CK_TRUE;
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_KEY_TYPE rsa = CKK_RSA, ec = CKK_EC;
    uint8_t curve[sizeof p256];
    memcpy(curve, p256, sizeof p256);
    CK_ATTRIBUTE ra[] = { { CKA_CLASS, &class, sizeof class },
                          { CKA_KEY_TYPE, &rsa, sizeof rsa },
                          { CKA_SIGN, &yes, sizeof yes },
                          { CKA_DECRYPT, &yes, sizeof yes } };
    CK_ATTRIBUTE issuer[] = { { CKA_CLASS, &class, sizeof class },
                              { CKA_KEY_TYPE, &ec, sizeof ec },
                              { CKA_SIGN, &yes, sizeof yes },
                              { CKA_EC_PARAMS, curve, sizeof curve } };
    state->rsa = object_find(state, ra, 4);
    state->ec = object_find(state, issuer, 4);
}

/* ---- Public keys ---- */

static EVP_PKEY *
key_make(const char *kind, OSSL_PARAM_BLD *builder)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, kind, NULL);
    must(params && context && EVP_PKEY_fromdata_init(context) == 1 &&
             EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params) == 1,
         "a public key does not load");
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(builder);
    return key;
}

static EVP_PKEY *
rsa_public(const struct floor *state)
{
    uint8_t modulus[RSA_SIZE + 8], exponent[8];
    CK_OBJECT_HANDLE object = public_find(state, state->rsa);
    size_t size = attribute_read(state, object, CKA_MODULUS, modulus, sizeof modulus);
    must(size == RSA_SIZE, "the RA's key is not RSA-2048");
    size_t exponent_size =
        attribute_read(state, object, CKA_PUBLIC_EXPONENT, exponent, sizeof exponent);
    BIGNUM *n = BN_bin2bn(modulus, (int)size, NULL);
    BIGNUM *e = BN_bin2bn(exponent, (int)exponent_size, NULL);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    must(builder && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
             OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e) == 1,
         "no memory for a key");
    EVP_PKEY *key = key_make("RSA", builder);
    BN_free(n);
    BN_free(e);
    return key;
}

static EVP_PKEY *
ec_public(const struct floor *state)
{
    uint8_t point[80]; /* OCTET STRING of the uncompressed point */
    CK_OBJECT_HANDLE object = public_find(state, state->ec);
    size_t size = attribute_read(state, object, CKA_EC_POINT, point, sizeof point);
    must(size == 67 && point[0] == 0x04 && point[1] == 65, "the point is no P-256 one");
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    must(builder &&
             OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME,
                                             "prime256v1", 0) == 1 &&
             OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY,
                                              point + 2, 65) == 1,
         "no memory for a key");
    return key_make("EC", builder);
}

static EVP_PKEY_CTX *
verifier_new(EVP_PKEY *key)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
    must(context && EVP_PKEY_verify_init(context) == 1, "no verification");
    must(EVP_PKEY_CTX_set_signature_md(context, EVP_sha256()) == 1, "no SHA-256");
    return context;
}

/* What a device brings: a key, a signature, and a content key for the RA. */
static void
device_make(struct floor *state)
{
    uint8_t content_key[CONTENT_KEY_SIZE];
    size_t size = RSA_SIZE;
    state->device = EVP_RSA_gen(2048);
    must(state->device && RAND_bytes(state->digest, DIGEST_SIZE) == 1 &&
             RAND_bytes(content_key, sizeof content_key) == 1,
         "no key for a device");
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(state->device, NULL);
    must(context && EVP_PKEY_sign_init(context) == 1 &&
             EVP_PKEY_CTX_set_signature_md(context, EVP_sha256()) == 1 &&
             EVP_PKEY_sign(context, state->signature, &size, state->digest,
                           DIGEST_SIZE) == 1,
         "the device does not sign");
    EVP_PKEY_CTX_free(context);
    context = EVP_PKEY_CTX_new(state->rsa_public, NULL);
    size = RSA_SIZE;
    must(context && EVP_PKEY_encrypt_init(context) == 1 &&
             EVP_PKEY_encrypt(context, state->encrypted, &size, content_key,
                              sizeof content_key) == 1,
         "the device does not encrypt");
    EVP_PKEY_CTX_free(context);
    state->verify = verifier_new(state->device);
    state->verify_ec = verifier_new(state->ec_public);
    state->encrypt = EVP_PKEY_CTX_new(state->device, NULL);
    must(state->encrypt && EVP_PKEY_encrypt_init(state->encrypt) == 1, "no encryption");
}

/* ---- One round ---- */

static void
decrypt(struct floor *state)
{
    uint8_t key[RSA_SIZE];
    CK_ULONG size = sizeof key;
    CK_MECHANISM mechanism = { .mechanism = CKM_RSA_PKCS };
    must(state->token.module->C_DecryptInit(state->token.session, &mechanism,
                                            state->rsa) == CKR_OK &&
             state->token.module->C_Decrypt(state->token.session, state->encrypted,
                                            RSA_SIZE, key, &size) == CKR_OK &&
             size == CONTENT_KEY_SIZE,
         "C_Decrypt");
}

static void
sign_rsa(struct floor *state)
{
    uint8_t input[sizeof digest_info + DIGEST_SIZE], signature[RSA_SIZE];
    CK_ULONG size = sizeof signature;
    CK_MECHANISM mechanism = { .mechanism = CKM_RSA_PKCS };
    memcpy(input, digest_info, sizeof digest_info);
    memcpy(input + sizeof digest_info, state->digest, DIGEST_SIZE);
    must(state->token.module->C_SignInit(state->token.session, &mechanism,
                                         state->rsa) == CKR_OK &&
             state->token.module->C_Sign(state->token.session, input, sizeof input,
                                         signature, &size) == CKR_OK,
         "C_Sign with RSA");
}

static void
sign_ec(struct floor *state, uint8_t ret_signature[64])
{
    CK_ULONG size = 64;
    CK_MECHANISM mechanism = { .mechanism = CKM_ECDSA };
    must(state->token.module->C_SignInit(state->token.session, &mechanism, state->ec) ==
                 CKR_OK &&
             state->token.module->C_Sign(state->token.session, state->digest,
                                         DIGEST_SIZE, ret_signature, &size) == CKR_OK &&
             size == 64,
         "C_Sign with P-256");
}

/* r and s as OpenSSL wants them. */
static int
signature_encode(const uint8_t raw[64], uint8_t ret_der[80])
{
    ECDSA_SIG *signature = ECDSA_SIG_new();
    must(signature && ECDSA_SIG_set0(signature, BN_bin2bn(raw, 32, NULL),
                                     BN_bin2bn(raw + 32, 32, NULL)) == 1,
         "no memory for a signature");
    int size = i2d_ECDSA_SIG(signature, &ret_der);
    ECDSA_SIG_free(signature);
    return size;
}

static void
part_end(struct floor *state, enum part part, double *since)
{
    double now = floor_seconds();
    state->parts[part] += now - *since;
    *since = now;
}

static void
round_run(struct floor *state)
{
    uint8_t raw[64], der[80], encrypted[RSA_SIZE], key[CONTENT_KEY_SIZE] = { 1 };
    size_t size = sizeof encrypted;
    double since = floor_seconds();
    decrypt(state);
    part_end(state, DECRYPT, &since);
    sign_rsa(state);
    part_end(state, SIGN_RSA, &since);
    sign_ec(state, raw);
    part_end(state, SIGN_EC, &since);
    for (int i = 0; i < 2; i++) /* the message's and the CSR's */
        must(EVP_PKEY_verify(state->verify, state->signature, RSA_SIZE, state->digest,
                             DIGEST_SIZE) == 1,
             "the device's signature does not verify");
    part_end(state, VERIFY_RSA, &since);
    int der_size = signature_encode(raw, der);
    must(EVP_PKEY_verify(state->verify_ec, der, (size_t)der_size, state->digest,
                         DIGEST_SIZE) == 1,
         "the token's signature does not verify");
    part_end(state, VERIFY_EC, &since);
    must(EVP_PKEY_encrypt(state->encrypt, encrypted, &size, key, sizeof key) == 1,
         "no encryption to the device");
    part_end(state, ENCRYPT, &since);
}

static double
process_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void
measure(struct floor *state, long rounds)
{
    for (int i = 0; i < WARM_ROUNDS; i++)
        round_run(state);
    memset(state->parts, 0, sizeof state->parts);
    double start = process_seconds();
    for (long i = 0; i < rounds; i++)
        round_run(state);
    double used = process_seconds() - start;
    printf("{\"rounds\": %ld, \"cpu_us\": %.1f", rounds, used * 1e6 / (double)rounds);
    for (int i = 0; i < PART_COUNT; i++)
        printf(", \"%s\": %.1f", part_names[i], state->parts[i] * 1e6 / (double)rounds);
    printf("}\n");
}

int
main(int argc, char **argv)
{
    static const struct option options[] = { { "module", required_argument, NULL, 'm' },
                                             { "token", required_argument, NULL, 't' },
                                             { "pin", required_argument, NULL, 'p' },
                                             { "rounds", required_argument, NULL, 'r' },
                                             { NULL, 0, NULL, 0 } };
    const char *module = NULL, *label = NULL, *pin_path = NULL;
    long rounds = 300;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'm': module = optarg; break;
        case 't': label = optarg; break;
        case 'p': pin_path = optarg; break;
        case 'r': rounds = strtol(optarg, NULL, 10); break;
        default: return 2;
        }
    }
    must(module && label && pin_path && rounds > 0 && optind == argc,
         "usage: floor --module FILE --token LABEL --pin FILE [--rounds N]");
    struct floor state = { 0 };
    floor_token_open(&state.token, module, label, pin_path);
    keys_find(&state);
    state.rsa_public = rsa_public(&state);
    state.ec_public = ec_public(&state);
    device_make(&state);
    measure(&state, rounds);
    state.token.module->C_Finalize(NULL);
    EVP_PKEY_CTX_free(state.verify);
    EVP_PKEY_CTX_free(state.verify_ec);
    EVP_PKEY_CTX_free(state.encrypt);
    EVP_PKEY_free(state.device);
    EVP_PKEY_free(state.rsa_public);
    EVP_PKEY_free(state.ec_public);
    return 0;
}
