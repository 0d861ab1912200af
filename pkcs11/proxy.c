/* Proxy keys by RSA_METHOD and EC_KEY_METHOD. OpenSSL 3 calls this interface
 * deprecated, and has no other one by which a key without its private half signs in
 * this process; nothing else in the program uses it. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "proxy.h"
#include "auto.h"
#include "operation.h"
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#define ECDSA_DER_MAX 256

CA_AUTO_RELEASE(RSA, RSA_free)
CA_AUTO_RELEASE(EC_KEY, EC_KEY_free)

static pthread_once_t methods_once = PTHREAD_ONCE_INIT;
static RSA_METHOD *rsa_method;
static EC_KEY_METHOD *ec_method;
static int rsa_index = -1, ec_index = -1;

/* A copy of an EC_KEY is one more holder of the set. */
static int
key_dup(CRYPTO_EX_DATA *to, const CRYPTO_EX_DATA *from, void **from_d, int index,
        long argl, void *argp)
{
    (void)to, (void)from, (void)index, (void)argl, (void)argp;
    struct token_key *key = *from_d;
    if (key)
        token_set_hold(key->token->set);
    return 1;
}

static void
key_drop(void *parent, void *ptr, CRYPTO_EX_DATA *data, int index, long argl,
         void *argp)
{
    (void)parent, (void)data, (void)index, (void)argl, (void)argp;
    struct token_key *key = ptr;
    if (key)
        token_set_drop(key->token->set);
}

static int
rsa_private_encrypt(int size, const unsigned char *from, unsigned char *to, RSA *rsa,
                    int padding)
{
    struct token_key *key = RSA_get_ex_data(rsa, rsa_index);
    struct operation operation = { .padding = padding,
                                   .input = from,
                                   .input_size = (size_t)size };
    size_t signature_size = 0;
    if (key && (key->uses & TOKEN_USE_SIGN) && size > 0 &&
        (padding == RSA_PKCS1_PADDING || padding == RSA_NO_PADDING) &&
        operation_sign(key, &operation, to, (size_t)RSA_size(rsa), &signature_size) ==
            CA_OK)
        return (int)signature_size;
    ERR_raise(ERR_LIB_RSA, ERR_R_OPERATION_FAIL);
    return -1;
}

/* One error for every reason: the caller cannot become an oracle by it. */
static int
rsa_private_decrypt(int size, const unsigned char *from, unsigned char *to, RSA *rsa,
                    int padding)
{
    struct token_key *key = RSA_get_ex_data(rsa, rsa_index);
    const CK_MECHANISM mechanism = { padding == RSA_PKCS1_PADDING ? CKM_RSA_PKCS
                                                                  : CKM_RSA_X_509,
                                     NULL, 0 };
    size_t text_size = 0;
    unsigned refused = 1;
    if (key && (key->uses & TOKEN_USE_DECRYPT) && size == RSA_size(rsa) &&
        (padding == RSA_PKCS1_PADDING || padding == RSA_NO_PADDING) &&
        operation_decrypt(key, &mechanism, from, to, &text_size, &refused) == CA_OK &&
        !refused)
        return (int)text_size;
    ERR_raise(ERR_LIB_RSA, ERR_R_OPERATION_FAIL);
    return -1;
}

static ECDSA_SIG *
ec_sign(const unsigned char *digest, int size, const BIGNUM *kinv, const BIGNUM *r,
        EC_KEY *ec)
{
    (void)kinv, (void)r;
    struct token_key *key = EC_KEY_get_ex_data(ec, ec_index);
    struct operation operation = { .input = digest, .input_size = (size_t)size };
    uint8_t der[ECDSA_DER_MAX];
    const uint8_t *at = der;
    size_t der_size = 0;
    if (key && (key->uses & TOKEN_USE_SIGN) && size > 0 &&
        operation_sign(key, &operation, der, sizeof der, &der_size) == CA_OK) {
        ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &at, (long)der_size);
        if (signature)
            return signature;
    }
    ERR_raise(ERR_LIB_EC, ERR_R_OPERATION_FAIL);
    return NULL;
}

static void
methods_make(void)
{
    int (*sign)(int, const unsigned char *, int, unsigned char *, unsigned int *,
                const BIGNUM *, const BIGNUM *, EC_KEY *) = NULL;
    rsa_index = RSA_get_ex_new_index(0, NULL, NULL, key_dup, key_drop);
    ec_index = EC_KEY_get_ex_new_index(0, NULL, NULL, key_dup, key_drop);
    rsa_method = RSA_meth_dup(RSA_PKCS1_OpenSSL());
    ec_method = EC_KEY_METHOD_new(EC_KEY_OpenSSL());
    if (!rsa_method || !ec_method)
        return;
    RSA_meth_set1_name(rsa_method, "sealwright token proxy");
    RSA_meth_set_flags(rsa_method, RSA_FLAG_EXT_PKEY);
    RSA_meth_set_priv_enc(rsa_method, rsa_private_encrypt);
    RSA_meth_set_priv_dec(rsa_method, rsa_private_decrypt);
    EC_KEY_METHOD_get_sign(EC_KEY_OpenSSL(), &sign, NULL, NULL);
    EC_KEY_METHOD_set_sign(ec_method, sign, NULL, ec_sign);
}

static bool
rsa_proxy(struct token_key *key, EVP_PKEY *proxy)
{
    const RSA *public = EVP_PKEY_get0_RSA(key->public);
    CA_AUTO(RSA_free) RSA *rsa = RSA_new();
    CA_AUTO(BN_free) BIGNUM *n = public ? BN_dup(RSA_get0_n(public)) : NULL;
    CA_AUTO(BN_free) BIGNUM *e = public ? BN_dup(RSA_get0_e(public)) : NULL;
    if (!rsa || !n || !e || RSA_set0_key(rsa, n, e, NULL) != 1)
        return false;
    (void)CA_STEAL(n);
    (void)CA_STEAL(e);
    if (RSA_set_method(rsa, rsa_method) != 1 ||
        RSA_set_ex_data(rsa, rsa_index, key) != 1)
        return false;
    token_set_hold(key->token->set);
    return EVP_PKEY_set1_RSA(proxy, rsa) == 1;
}

static bool
ec_proxy(struct token_key *key, EVP_PKEY *proxy)
{
    const EC_KEY *public = EVP_PKEY_get0_EC_KEY(key->public);
    CA_AUTO(EC_KEY_free) EC_KEY *ec = public ? EC_KEY_dup(public) : NULL;
    if (!ec || EC_KEY_set_method(ec, ec_method) != 1 ||
        EC_KEY_set_ex_data(ec, ec_index, key) != 1)
        return false;
    token_set_hold(key->token->set);
    return EVP_PKEY_set1_EC_KEY(proxy, ec) == 1;
}

enum ca_status
proxy_new(struct token_key *key, EVP_PKEY **ret_proxy)
{
    pthread_once(&methods_once, methods_make);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *proxy = EVP_PKEY_new();
    if (!proxy || !rsa_method || !ec_method || rsa_index < 0 || ec_index < 0)
        return ca_fail(CA_INTERNAL, "out of memory");
    bool is_rsa = EVP_PKEY_get_base_id(key->public) == EVP_PKEY_RSA;
    if (!(is_rsa ? rsa_proxy(key, proxy) : ec_proxy(key, proxy)))
        return ca_fail_openssl(CA_INTERNAL, "proxy key");
    *ret_proxy = CA_STEAL(proxy);
    return CA_OK;
}
