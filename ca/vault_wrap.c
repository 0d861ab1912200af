/* Wraps a data key by AES-GCM, AES key wrap, AES-CBC or RSA-OAEP of a token. */
#include "vault_wrap.h"
#include "auto.h"
#include "clock.h"
#include "keygen.h"
#include "stretch.h"
#include <openssl/crypto.h>
#include <openssl/rsa.h>
#include <string.h>

#define OAEP_MODULUS_MIN 256 /* octets */
#define OAEP_MODULUS_MAX 1024
#define BLOB_MAX (1 + OAEP_MODULUS_MAX + SECRET_TAG_SIZE)
#define GCM_BLOB_SIZE (1 + SECRET_NONCE_SIZE + VAULT_KEY_SIZE + SECRET_GCM_TAG_SIZE)
#define KW_BLOB_SIZE (1 + SECRET_WRAPPED_SIZE + SECRET_TAG_SIZE)
#define CBC_BLOB_SIZE (1 + SECRET_IV_SIZE + SECRET_CBC_SIZE + SECRET_TAG_SIZE)
_Static_assert(GCM_BLOB_SIZE == 61 && KW_BLOB_SIZE == 73 && CBC_BLOB_SIZE == 97,
               "section 11.2");

static const uint8_t forms[SEALING_METHOD_COUNT] = {
    [SEALING_GCM] = 0x11,         [SEALING_KW] = 0x12,        [SEALING_CBC] = 0x13,
    [SEALING_OAEP_SHA256] = 0x14, [SEALING_OAEP_SHA1] = 0x14,
};

void
vault_label(const char *kid, const char *suffix, char ret_label[VAULT_LABEL_SIZE])
{
    snprintf(ret_label, VAULT_LABEL_SIZE, "sealwright-sealing-%s%s", kid, suffix);
}

/* The blob in the making, or one that is read. */
struct wrap {
    struct token_set *tokens;
    const char *kid;
    uint8_t blob[BLOB_MAX];
    size_t size; /* without the tag */
};

/* tag = HMAC(M, lv(waad) || what comes before it); waad = lv(LABEL || " data key",
 * kid).
 */
static enum ca_status
tag_make(struct token_secret *tagger, const struct wrap *wrap,
         uint8_t ret_tag[SECRET_TAG_SIZE])
{
    CA_AUTO(text_buffer_clear) struct text_buffer waad = { 0 };
    CA_AUTO(text_buffer_clear) struct text_buffer text = { 0 };
    stretch_data_key_aad(wrap->kid, &waad);
    if (!waad.failed)
        stretch_lv(waad.data, waad.size, &text);
    text_append(&text, wrap->blob, wrap->size);
    if (waad.failed || text.failed)
        return ca_fail(CA_INTERNAL, "no memory for a tag");
    return token_secret_tag(tagger, text.data, text.size, ret_tag);
}

static enum ca_status
gcm_wrap(struct token_secret *secret, struct wrap *wrap, const uint8_t *data_key)
{
    CA_AUTO(text_buffer_clear) struct text_buffer waad = { 0 };
    stretch_data_key_aad(wrap->kid, &waad);
    enum ca_status status = random_bytes(wrap->blob + 1, SECRET_NONCE_SIZE);
    if (status != CA_OK || waad.failed)
        return status != CA_OK ? status : ca_fail(CA_INTERNAL, "no memory for an aad");
    wrap->size = GCM_BLOB_SIZE;
    return token_secret_seal(
        secret,
        &(struct secret_gcm){ wrap->blob + 1, waad.data, waad.size, data_key,
                              VAULT_KEY_SIZE, wrap->blob + 1 + SECRET_NONCE_SIZE });
}

static enum ca_status
gcm_unwrap(struct token_secret *secret, struct wrap *wrap, uint8_t *ret_data_key)
{
    CA_AUTO(text_buffer_clear) struct text_buffer waad = { 0 };
    stretch_data_key_aad(wrap->kid, &waad);
    if (waad.failed)
        return ca_fail(CA_INTERNAL, "no memory for an aad");
    return token_secret_open(secret,
                             &(struct secret_gcm){ wrap->blob + 1, waad.data, waad.size,
                                                   wrap->blob + 1 + SECRET_NONCE_SIZE,
                                                   VAULT_KEY_SIZE + SECRET_GCM_TAG_SIZE,
                                                   ret_data_key });
}

/* With the public half, in software. */
static enum ca_status
oaep_encrypt(EVP_PKEY *key, bool sha256, const uint8_t *data_key, uint8_t *ret_octets,
             size_t *ret_size)
{
    const EVP_MD *digest = sha256 ? EVP_sha256() : EVP_sha1();
    CA_AUTO(EVP_PKEY_CTX_free) EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
    size_t size = OAEP_MODULUS_MAX;
    if (!context || EVP_PKEY_encrypt_init(context) <= 0 ||
        EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) <= 0 ||
        EVP_PKEY_CTX_set_rsa_oaep_md(context, digest) <= 0 ||
        EVP_PKEY_CTX_set_rsa_mgf1_md(context, digest) <= 0 ||
        EVP_PKEY_encrypt(context, ret_octets, &size, data_key, VAULT_KEY_SIZE) <= 0)
        return ca_fail_openssl(CA_INTERNAL, "cannot wrap a data key");
    *ret_size = size;
    return CA_OK;
}

static enum ca_status
oaep_check(struct token_key *key, bool sha256, const uint8_t *wrapped, size_t size,
           const uint8_t *data_key)
{
    uint8_t back[VAULT_KEY_SIZE];
    enum ca_status status = token_decrypt_oaep(key, sha256, wrapped, size, back);
    if (status == CA_OK && CRYPTO_memcmp(back, data_key, sizeof back) != 0)
        status = ca_fail(CA_FORBIDDEN, "the token unwraps another data key");
    OPENSSL_cleanse(back, sizeof back);
    return status;
}

/* SHA-256 first, SHA-1 where the token refuses that: nothing here rests on its
 * resistance to collisions. */
static enum ca_status
oaep_wrap(struct wrap *wrap, const char *uri, const uint8_t *data_key, int *ret_method)
{
    struct token_key *key = NULL;
    size_t size = 0;
    enum ca_status status =
        token_key_find(wrap->tokens, uri, TOKEN_USE_DECRYPT, NULL, &key);
    if (status != CA_OK)
        return status;
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *public = token_key_pkey(key);
    for (int sha1 = 0; sha1 < 2; sha1++) {
        status = oaep_encrypt(public, !sha1, data_key, wrap->blob + 1, &size);
        if (status == CA_OK)
            status = oaep_check(key, !sha1, wrap->blob + 1, size, data_key);
        *ret_method = sha1 ? SEALING_OAEP_SHA1 : SEALING_OAEP_SHA256;
        if (status != CA_FORBIDDEN)
            break;
    }
    wrap->size = 1 + size;
    return status;
}

static enum ca_status
oaep_unwrap(struct wrap *wrap, const struct sealing_key *key, uint8_t *ret_data_key)
{
    struct token_key *pair = NULL;
    enum ca_status status =
        token_key_find(wrap->tokens, key->key, TOKEN_USE_DECRYPT, NULL, &pair);
    if (status != CA_OK)
        return status;
    return token_decrypt_oaep(pair, key->method == SEALING_OAEP_SHA256, wrap->blob + 1,
                              wrap->size - 1, ret_data_key);
}

static enum secret_use
wrap_use(int method)
{
    return method == SEALING_KW ? SECRET_WRAP : SECRET_SEAL;
}

/* Wraps by the key W at `key->key`; the tag is not part of it yet. */
static enum ca_status
wrap_by(struct wrap *wrap, struct sealing_key *key, const uint8_t *data_key)
{
    struct token_secret *secret = NULL;
    wrap->blob[0] = forms[key->method];
    if (key->method == SEALING_OAEP_SHA256)
        return oaep_wrap(wrap, key->key, data_key, &key->method);
    enum ca_status status =
        token_secret_find(wrap->tokens, key->key, wrap_use(key->method), &secret);
    if (status != CA_OK)
        return status;
    switch (key->method) {
    case SEALING_GCM: return gcm_wrap(secret, wrap, data_key);
    case SEALING_KW:
        wrap->size = 1 + SECRET_WRAPPED_SIZE;
        return token_secret_wrap(secret, data_key, wrap->blob + 1);
    case SEALING_CBC:
        wrap->size = 1 + SECRET_IV_SIZE + SECRET_CBC_SIZE;
        status = random_bytes(wrap->blob + 1, SECRET_IV_SIZE);
        return status == CA_OK ? token_secret_encrypt(secret, wrap->blob + 1, data_key,
                                                      wrap->blob + 1 + SECRET_IV_SIZE)
                               : status;
    default: return ca_fail(CA_INTERNAL, "no method %d", key->method);
    }
}

static enum ca_status
unwrap_by(struct wrap *wrap, const struct sealing_key *key, uint8_t *ret_data_key)
{
    struct token_secret *secret = NULL;
    if (key->method == SEALING_OAEP_SHA256 || key->method == SEALING_OAEP_SHA1)
        return oaep_unwrap(wrap, key, ret_data_key);
    enum ca_status status =
        token_secret_find(wrap->tokens, key->key, wrap_use(key->method), &secret);
    if (status != CA_OK)
        return status;
    switch (key->method) {
    case SEALING_GCM: return gcm_unwrap(secret, wrap, ret_data_key);
    case SEALING_KW: return token_secret_unwrap(secret, wrap->blob + 1, ret_data_key);
    case SEALING_CBC:
        return token_secret_decrypt(secret, wrap->blob + 1,
                                    wrap->blob + 1 + SECRET_IV_SIZE, ret_data_key);
    default: return ca_fail(CA_INTERNAL, "no method %d", key->method);
    }
}

/* ---- The methods that a token offers ---- */

static const struct {
    enum vault_method method;
    int sealing; /* enum sealing_method */
    enum token_method needs;
    bool has_tag;
} methods[] = {
    { VAULT_METHOD_GCM, SEALING_GCM, TOKEN_METHOD_GCM, false },
    { VAULT_METHOD_KW, SEALING_KW, TOKEN_METHOD_KW, true },
    { VAULT_METHOD_CBC, SEALING_CBC, TOKEN_METHOD_CBC, true },
    { VAULT_METHOD_OAEP, SEALING_OAEP_SHA256, TOKEN_METHOD_OAEP, true },
};
#define METHODS (sizeof methods / sizeof methods[0])

static enum ca_status
method_offered(struct token_set *tokens, const char *token, size_t index,
               bool *ret_offered)
{
    bool has_method = false, has_tag = true;
    enum ca_status status =
        token_offers(tokens, token, methods[index].needs, &has_method);
    if (status == CA_OK && methods[index].has_tag)
        status = token_offers(tokens, token, TOKEN_METHOD_HMAC, &has_tag);
    if (status == CA_OK)
        *ret_offered = has_method && has_tag;
    return status;
}

static enum ca_status
keys_make(struct token_set *tokens, const char *token, bool has_tag,
          struct sealing_key *key)
{
    char label[VAULT_LABEL_SIZE], suffix[24];
    enum ca_status status = CA_OK;
    snprintf(suffix, sizeof suffix, "-%s", sealing_method_words[key->method]);
    vault_label(key->kid, suffix, label);
    if (key->method == SEALING_OAEP_SHA256)
        status = keygen_generate(
            tokens, token, &(struct keygen){ label, "rsa-3072", TOKEN_USE_DECRYPT },
            &key->key);
    else
        status = token_secret_generate(tokens, token, label, wrap_use(key->method),
                                       &key->key);
    if (status != CA_OK || !has_tag)
        return status;
    snprintf(suffix, sizeof suffix, "-%s-tag", sealing_method_words[key->method]);
    vault_label(key->kid, suffix, label);
    return token_secret_generate(tokens, token, label, SECRET_TAG, &key->tag_key);
}

/* With the tag at its end. */
static enum ca_status
blob_finish(struct wrap *wrap, struct sealing_key *key)
{
    struct token_secret *tagger = NULL;
    enum ca_status status = CA_OK;
    if (key->tag_key) {
        status = token_secret_find(wrap->tokens, key->tag_key, SECRET_TAG, &tagger);
        if (status == CA_OK)
            status = tag_make(tagger, wrap, wrap->blob + wrap->size);
        if (status != CA_OK)
            return status;
        wrap->size += SECRET_TAG_SIZE;
    }
    key->blob = malloc(wrap->size);
    if (!key->blob)
        return ca_fail(CA_INTERNAL, "no memory for a wrapped key");
    memcpy(key->blob, wrap->blob, wrap->size);
    key->blob_size = wrap->size;
    return CA_OK;
}

/* By one method; CA_UNSUPPORTED where the token turns out not to do it. What was
 * wrapped must come back. */
static enum ca_status
method_try(struct token_set *tokens, const struct vault_wanted *wanted, size_t index,
           const uint8_t *data_key, struct sealing_key *key)
{
    struct wrap wrap = { .tokens = tokens, .kid = key->kid };
    uint8_t back[VAULT_KEY_SIZE];
    key->method = methods[index].sealing;
    enum ca_status status =
        keys_make(tokens, wanted->token, methods[index].has_tag, key);
    if (status == CA_OK)
        status = wrap_by(&wrap, key, data_key);
    if (status == CA_OK)
        status = blob_finish(&wrap, key);
    if (status == CA_OK)
        status = vault_unwrap(tokens, key, back);
    if (status == CA_OK && CRYPTO_memcmp(back, data_key, sizeof back) != 0)
        status = ca_fail(CA_UNSUPPORTED,
                         "token '%s' unwraps another key than it "
                         "wrapped",
                         wanted->token);
    OPENSSL_cleanse(back, sizeof back);
    return status;
}

enum ca_status
vault_wrap(struct token_set *tokens, const struct vault_wanted *wanted,
           const uint8_t data_key[VAULT_KEY_SIZE], struct sealing_key *ret_key)
{
    for (size_t i = 0; i < METHODS; i++) {
        bool is_offered = false;
        if (wanted->method != VAULT_METHOD_ANY && wanted->method != methods[i].method)
            continue;
        enum ca_status status = method_offered(tokens, wanted->token, i, &is_offered);
        if (status != CA_OK)
            return status;
        if (!is_offered)
            continue;
        status = method_try(tokens, wanted, i, data_key, ret_key);
        if (status != CA_UNSUPPORTED || wanted->method != VAULT_METHOD_ANY)
            return status;
        /* As good as not offered; what was made for it stays unused in the token. */
        free(CA_STEAL(ret_key->key));
        free(CA_STEAL(ret_key->tag_key));
        free(CA_STEAL(ret_key->blob));
    }
    return ca_fail(CA_UNSUPPORTED,
                   "token '%s' offers no method to wrap a data key: it cannot host "
                   "activation",
                   wanted->token);
}

/* The length that the method gives. */
static bool
size_is_good(const struct sealing_key *key)
{
    size_t tag = SECRET_TAG_SIZE;
    switch (key->method) {
    case SEALING_GCM: return key->blob_size == GCM_BLOB_SIZE;
    case SEALING_KW: return key->blob_size == KW_BLOB_SIZE;
    case SEALING_CBC: return key->blob_size == CBC_BLOB_SIZE;
    case SEALING_OAEP_SHA256:
    case SEALING_OAEP_SHA1:
        return key->blob_size >= 1 + OAEP_MODULUS_MIN + tag &&
               key->blob_size <= BLOB_MAX;
    default: return false;
    }
}

enum ca_status
vault_unwrap(struct token_set *tokens, const struct sealing_key *key,
             uint8_t ret_data_key[VAULT_KEY_SIZE])
{
    struct wrap wrap = { .tokens = tokens, .kid = key->kid, .size = key->blob_size };
    bool has_tag = key->method != SEALING_GCM;
    const uint8_t *blob = key->blob;
    if (!size_is_good(key) || blob[0] != forms[key->method] ||
        has_tag != (key->tag_key != NULL))
        return ca_fail(CA_FORBIDDEN, "sealing key '%s' is no wrapped key", key->kid);
    memcpy(wrap.blob, blob, key->blob_size);
    if (has_tag) {
        struct token_secret *tagger = NULL;
        uint8_t tag[SECRET_TAG_SIZE];
        wrap.size -= SECRET_TAG_SIZE;
        enum ca_status status =
            token_secret_find(tokens, key->tag_key, SECRET_TAG, &tagger);
        if (status == CA_OK)
            status = tag_make(tagger, &wrap, tag);
        if (status != CA_OK)
            return status;
        if (CRYPTO_memcmp(tag, blob + wrap.size, sizeof tag) != 0)
            return ca_fail(CA_FORBIDDEN, "sealing key '%s' is not of this token",
                           key->kid);
    }
    return unwrap_by(&wrap, key, ret_data_key);
}
