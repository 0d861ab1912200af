/* RSA-2048 keys at the price of an inversion: pairs of a pool's primes. Such keys are
 * worth nothing outside a benchmark, for any two that share a prime give it away. */
#include "load.h"
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <stdio.h>
#include <string.h>

#define EXPONENT 65537

/* OpenSSL sets the two top bits, so that each product has 2048. */
static void
prime_make(uint8_t ret_prime[LOAD_PRIME_SIZE])
{
    BIGNUM *prime = BN_new();
    do
        load_must(prime && BN_generate_prime_ex(prime, LOAD_PRIME_SIZE * 8, 0, NULL,
                                                NULL, NULL) == 1,
                  "no prime");
    while (BN_mod_word(prime, EXPONENT) == 1);
    load_must(BN_bn2binpad(prime, ret_prime, LOAD_PRIME_SIZE) == LOAD_PRIME_SIZE,
              "a prime of another size");
    BN_free(prime);
}

void
load_pool_open(const char *path, struct load_pool *ret_pool)
{
    FILE *file = fopen(path, "re");
    size_t size = file ? fread(ret_pool, 1, sizeof *ret_pool, file) : 0;
    if (file)
        fclose(file);
    if (size == sizeof *ret_pool)
        return;
    for (size_t i = 0; i < LOAD_PRIMES; i++)
        prime_make(ret_pool->primes[i]);
    file = fopen(path, "we");
    load_must(file && fwrite(ret_pool, 1, sizeof *ret_pool, file) == sizeof *ret_pool &&
                  fclose(file) == 0,
              "the pool of primes cannot be stored");
}

struct numbers {
    BIGNUM *n, *e, *d, *p, *q, *dp, *dq, *qinv;
};

static void
numbers_compute(struct numbers *k, BN_CTX *context)
{
    BIGNUM *p1 = BN_dup(k->p), *q1 = BN_dup(k->q), *phi = BN_new();
    bool done = p1 && q1 && phi && BN_sub_word(p1, 1) && BN_sub_word(q1, 1) &&
                BN_mul(k->n, k->p, k->q, context) && BN_mul(phi, p1, q1, context) &&
                BN_mod_inverse(k->d, k->e, phi, context) &&
                BN_mod(k->dp, k->d, p1, context) && BN_mod(k->dq, k->d, q1, context) &&
                BN_mod_inverse(k->qinv, k->q, k->p, context);
    load_must(done, "a key cannot be computed");
    BN_free(p1);
    BN_free(q1);
    BN_free(phi);
}

static EVP_PKEY *
key_make(const struct numbers *k)
{
    const struct {
        const char *name;
        const BIGNUM *number;
    } members[] = {
        { OSSL_PKEY_PARAM_RSA_N, k->n },
        { OSSL_PKEY_PARAM_RSA_E, k->e },
        { OSSL_PKEY_PARAM_RSA_D, k->d },
        { OSSL_PKEY_PARAM_RSA_FACTOR1, k->p },
        { OSSL_PKEY_PARAM_RSA_FACTOR2, k->q },
        { OSSL_PKEY_PARAM_RSA_EXPONENT1, k->dp },
        { OSSL_PKEY_PARAM_RSA_EXPONENT2, k->dq },
        { OSSL_PKEY_PARAM_RSA_COEFFICIENT1, k->qinv },
    };
    EVP_PKEY *key = NULL;
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        load_must(builder && OSSL_PARAM_BLD_push_BN(builder, members[i].name,
                                                    members[i].number) == 1,
                  "no memory for a key");
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    load_must(params && context && EVP_PKEY_fromdata_init(context) == 1 &&
                  EVP_PKEY_fromdata(context, &key, EVP_PKEY_KEYPAIR, params) == 1,
              "a key does not load");
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(builder);
    return key;
}

EVP_PKEY *
load_key(const struct load_pool *pool, size_t index)
{
    size_t second = 1; /* pair `index` of the triangle: (first < second) */
    load_must(index < LOAD_KEYS_MAX, "the pool of primes has no more pairs");
    while (second * (second + 1) / 2 <= index)
        second++;
    size_t first = index - second * (second - 1) / 2;
    BN_CTX *context = BN_CTX_secure_new();
    BN_CTX_start(context);
    struct numbers k = {
        .n = BN_CTX_get(context),
        .e = BN_CTX_get(context),
        .d = BN_CTX_get(context),
        .p = BN_CTX_get(context),
        .q = BN_CTX_get(context),
        .dp = BN_CTX_get(context),
        .dq = BN_CTX_get(context),
        .qinv = BN_CTX_get(context),
    };
    load_must(k.qinv && BN_set_word(k.e, EXPONENT) &&
                  BN_bin2bn(pool->primes[first], LOAD_PRIME_SIZE, k.p) &&
                  BN_bin2bn(pool->primes[second], LOAD_PRIME_SIZE, k.q),
              "no memory for a key");
    numbers_compute(&k, context);
    EVP_PKEY *key = key_make(&k);
    BN_CTX_end(context);
    BN_CTX_free(context);
    return key;
}
