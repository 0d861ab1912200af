/* The floor of one activation by password beside TLS and the store: the curve, the
 * symmetric steps, and the unsealing by a bare PKCS#11 call. Prints CPU microseconds of
 * each as JSON. */
#include "floor_parts.h"
#include "speke.h"
#include <getopt.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/rand.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARE_SIZE 133
#define NONCE_SIZE 12
#define TAG_SIZE 16
#define SEALED_SIZE (32 + TAG_SIZE) /* a verifier */
#define SCALAR_SIZE 66
#define TRANSCRIPT_SIZE 512 /* what ISK and th are hashed of, about */
#define REQUEST_SIZE 224    /* a P-256 request, padded */
#define GRANT_SIZE 2304     /* certificate and chain in base64url, in JSON */
#define SHORT_SIZE 96       /* what is authenticated of names and labels */
#define WARM_ROUNDS 20

enum part { MAP, SCALARS, SYMMETRIC, UNSEAL, PART_COUNT };
static const char *const part_names[PART_COUNT] = { "hash_to_curve", "scalars_p521",
                                                    "symmetric", "unseal_gcm" };

struct floor {
    struct floor_token token;
    CK_OBJECT_HANDLE key; /* AES-256, of the token */
    uint8_t nonce[NONCE_SIZE], sealed[SEALED_SIZE];
    EC_GROUP *group;
    EC_POINT *point;
    BIGNUM *scalar;
    BN_CTX *numbers;
    uint8_t generator[SHARE_SIZE];
    EVP_MD *sha512;
    EVP_CIPHER *cbc, *gcm;
    EVP_MD_CTX *digest;
    EVP_CIPHER_CTX *cipher;
    EVP_MAC_CTX *mac256, *mac512;
    double parts[PART_COUNT];
};

/* ---- What is ready before the first round ---- */

static EVP_MAC_CTX *
mac_make(const char *digest)
{
    char name[16];
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *context = hmac ? EVP_MAC_CTX_new(hmac) : NULL;
    snprintf(name, sizeof name, "%s", digest);
    const OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(
                                      OSSL_MAC_PARAM_DIGEST, name, 0),
                                  OSSL_PARAM_construct_end() };
    must(context && EVP_MAC_CTX_set_params(context, params) == 1, "no HMAC");
    EVP_MAC_free(hmac);
    return context;
}

static void
curve_make(struct floor *state)
{
    state->group = EC_GROUP_new_by_curve_name(NID_secp521r1);
    state->point = state->group ? EC_POINT_new(state->group) : NULL;
    state->scalar = BN_secure_new();
    state->numbers = BN_CTX_secure_new();
    must(state->point && state->scalar && state->numbers, "no curve");
    BN_set_flags(state->scalar, BN_FLG_CONSTTIME);
    must(BN_priv_rand_range(state->scalar, EC_GROUP_get0_order(state->group)) == 1 &&
             EC_POINT_copy(state->point, EC_GROUP_get0_generator(state->group)) == 1 &&
             EC_POINT_point2oct(state->group, state->point,
                                POINT_CONVERSION_UNCOMPRESSED, state->generator,
                                SHARE_SIZE, state->numbers) == SHARE_SIZE,
         "no generator");
}

static CK_MECHANISM
gcm_mechanism(struct floor *state, CK_GCM_PARAMS *params)
{
    *params = (CK_GCM_PARAMS){ .pIv = state->nonce,
                               .ulIvLen = NONCE_SIZE,
                               .ulIvBits = NONCE_SIZE * 8,
                               .ulTagBits = TAG_SIZE * 8 };
    return (CK_MECHANISM){ CKM_AES_GCM, params, sizeof *params };
}

/* The daemon's own sealing key, of the token's objects: the token looks after their
 * files at each use, and not after a session's keys. */
static void
token_key_find(struct floor *state)
{
    CK_BBOOL yes = CK_TRUE;
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_ULONG count = 0, size = sizeof state->sealed;
    CK_GCM_PARAMS params;
    CK_MECHANISM gcm = gcm_mechanism(state, &params);
    uint8_t verifier[SEALED_SIZE - TAG_SIZE] = { 1 };
    CK_FUNCTION_LIST *module = state->token.module;
    CK_ATTRIBUTE template[] = { { CKA_TOKEN, &yes, sizeof yes },
                                { CKA_CLASS, &class, sizeof class },
                                { CKA_KEY_TYPE, &type, sizeof type },
                                { CKA_ENCRYPT, &yes, sizeof yes },
                                { CKA_DECRYPT, &yes, sizeof yes } };
    must(module->C_FindObjectsInit(state->token.session, template,
                                   sizeof template / sizeof *template) == CKR_OK &&
             module->C_FindObjects(state->token.session, &state->key, 1, &count) ==
                 CKR_OK &&
             module->C_FindObjectsFinal(state->token.session) == CKR_OK && count == 1,
         "no sealing key in the token");
    must(module->C_EncryptInit(state->token.session, &gcm, state->key) == CKR_OK &&
             module->C_Encrypt(state->token.session, verifier, sizeof verifier,
                               state->sealed, &size) == CKR_OK &&
             size == SEALED_SIZE,
         "C_Encrypt");
}

static void
symmetric_make(struct floor *state)
{
    state->sha512 = EVP_MD_fetch(NULL, "SHA512", NULL);
    state->cbc = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    state->gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    state->digest = EVP_MD_CTX_new();
    state->cipher = EVP_CIPHER_CTX_new();
    state->mac256 = mac_make("SHA256");
    state->mac512 = mac_make("SHA512");
    must(state->sha512 && state->cbc && state->gcm && state->digest && state->cipher,
         "no memory for contexts");
}

/* ---- One round ---- */

/* The project's own field code: no library of the system has the map. */
static void
map(struct floor *state)
{
    static const uint8_t octets[SHORT_SIZE] = { 1 };
    struct speke_point generator;
    (void)state;
    must(speke_generator(&speke_p521, (struct ca_bytes){ octets, 32 },
                         (struct ca_bytes){ octets, SHORT_SIZE },
                         (struct ca_bytes){ octets, 32 }, &generator) == CA_OK,
         "no generator");
}

/* Ys and K: each from octets and to octets. */
static void
scalars(struct floor *state)
{
    uint8_t share[SHARE_SIZE];
    for (int i = 0; i < 2; i++)
        must(EC_POINT_oct2point(state->group, state->point, state->generator,
                                SHARE_SIZE, state->numbers) == 1 &&
                 EC_POINT_mul(state->group, state->point, NULL, state->point,
                              state->scalar, state->numbers) == 1 &&
                 EC_POINT_point2oct(state->group, state->point,
                                    POINT_CONVERSION_UNCOMPRESSED, share, SHARE_SIZE,
                                    state->numbers) == SHARE_SIZE,
             "no product");
}

static void
mac(EVP_MAC_CTX *context, const uint8_t *octets, size_t size)
{
    uint8_t key[64] = { 1 }, tag[64];
    size_t tag_size = 0;
    must(EVP_MAC_init(context, key, sizeof key, NULL) == 1 &&
             EVP_MAC_update(context, octets, size) == 1 &&
             EVP_MAC_final(context, tag, &tag_size, sizeof tag) == 1,
         "no HMAC");
}

static void
cipher(struct floor *state, const EVP_CIPHER *kind, const uint8_t *octets, size_t size)
{
    static uint8_t sealed[GRANT_SIZE + TAG_SIZE];
    uint8_t key[32] = { 2 }, iv[16] = { 3 };
    int written = 0, last = 0;
    must(EVP_EncryptInit_ex2(state->cipher, kind, key, iv, NULL) == 1 &&
             EVP_EncryptUpdate(state->cipher, sealed, &written, octets, (int)size) ==
                 1 &&
             EVP_EncryptFinal_ex(state->cipher, sealed + written, &last) == 1,
         "no cipher");
}

/* Salt and decoy; the scalar sealed and opened; ISK, th, extraction, six keys, two
 * tags; the request's box opened, the grant's made. */
static void
symmetric(struct floor *state)
{
    static const uint8_t octets[GRANT_SIZE] = { 1 };
    uint8_t hash[64];
    for (int i = 0; i < 2; i++)
        mac(state->mac256, octets, SHORT_SIZE);
    for (int i = 0; i < 2; i++)
        cipher(state, state->gcm, octets, SCALAR_SIZE);
    for (int i = 0; i < 2; i++)
        must(EVP_DigestInit_ex2(state->digest, state->sha512, NULL) == 1 &&
                 EVP_DigestUpdate(state->digest, octets, TRANSCRIPT_SIZE) == 1 &&
                 EVP_DigestFinal_ex(state->digest, hash, NULL) == 1,
             "no SHA-512");
    for (int i = 0; i < 7; i++)
        mac(state->mac512, octets, SHORT_SIZE);
    for (int i = 0; i < 2; i++)
        mac(state->mac256, octets, SHORT_SIZE);
    mac(state->mac256, octets, SHORT_SIZE + REQUEST_SIZE);
    cipher(state, state->cbc, octets, REQUEST_SIZE);
    cipher(state, state->cbc, octets, GRANT_SIZE - TAG_SIZE);
    mac(state->mac256, octets, GRANT_SIZE);
}

static void
unseal(struct floor *state)
{
    uint8_t verifier[SEALED_SIZE];
    CK_ULONG size = sizeof verifier;
    CK_GCM_PARAMS params;
    CK_MECHANISM gcm = gcm_mechanism(state, &params);
    CK_FUNCTION_LIST *module = state->token.module;
    must(module->C_DecryptInit(state->token.session, &gcm, state->key) == CKR_OK &&
             module->C_Decrypt(state->token.session, state->sealed, SEALED_SIZE,
                               verifier, &size) == CKR_OK &&
             size == SEALED_SIZE - TAG_SIZE,
         "C_Decrypt");
}

static void (*const parts[PART_COUNT])(struct floor *) = { map, scalars, symmetric,
                                                           unseal };

static void
round_run(struct floor *state)
{
    double since = floor_seconds();
    for (int i = 0; i < PART_COUNT; i++) {
        parts[i](state);
        double now = floor_seconds();
        state->parts[i] += now - since;
        since = now;
    }
}

/* Rows of each commit: the session; session, failures, password; serial and intent,
 * password, audit; certificate, device, password, audit; session with the answer,
 * failures. */
static const int rows_of_commits[] = { 1, 3, 4, 4, 2, 0 };

/* So many share each commit in the second measurement: the price of a commit and that
 * of a row follow from both. */

static void
measure(struct floor *state, const char *folder, long rounds)
{
    for (int i = 0; i < WARM_ROUNDS; i++)
        round_run(state);
    memset(state->parts, 0, sizeof state->parts);
    for (long i = 0; i < rounds; i++)
        round_run(state);
    for (int i = 0; i < PART_COUNT; i++)
        printf("%s\"%s\": %.1f", i > 0 ? ", " : "{", part_names[i],
               state->parts[i] * 1e6 / (double)rounds);
    struct floor_commits commits;
    floor_commits(folder, rows_of_commits, rounds, &commits);
    printf(", \"commit\": %.1f, \"rows\": %.1f}\n", commits.commit * 1e6,
           commits.rows * 1e6);
}

static void
floor_clear(struct floor *state)
{
    state->token.module->C_Finalize(NULL);
    EC_GROUP_free(state->group);
    EC_POINT_free(state->point);
    BN_clear_free(state->scalar);
    BN_CTX_free(state->numbers);
    EVP_MD_free(state->sha512);
    EVP_CIPHER_free(state->cbc);
    EVP_CIPHER_free(state->gcm);
    EVP_MD_CTX_free(state->digest);
    EVP_CIPHER_CTX_free(state->cipher);
    EVP_MAC_CTX_free(state->mac256);
    EVP_MAC_CTX_free(state->mac512);
}

int
main(int argc, char **argv)
{
    static const struct option options[] = {
        { "module", required_argument, NULL, 'm' },
        { "token", required_argument, NULL, 't' },
        { "pin", required_argument, NULL, 'p' },
        { "folder", required_argument, NULL, 'f' },
        { "rounds", required_argument, NULL, 'r' },
        { NULL, 0, NULL, 0 },
    };
    const char *module = NULL, *label = NULL, *pin = NULL, *folder = NULL;
    long rounds = 300;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'm': module = optarg; break;
        case 't': label = optarg; break;
        case 'p': pin = optarg; break;
        case 'f': folder = optarg; break;
        case 'r': rounds = strtol(optarg, NULL, 10); break;
        default: return 2;
        }
    }
    must(module && label && pin && folder && rounds > 0 && optind == argc,
         "usage: activation_floor --module FILE --token LABEL --pin FILE --folder DIR"
         " [--rounds N]");
    struct floor state = { 0 };
    floor_token_open(&state.token, module, label, pin);
    must(RAND_bytes(state.nonce, sizeof state.nonce) == 1, "no nonce");
    token_key_find(&state);
    curve_make(&state);
    symmetric_make(&state);
    measure(&state, folder, rounds);
    floor_clear(&state);
    return 0;
}
