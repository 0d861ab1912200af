/* Safe repeats: the answer to an Idempotency-Key, kept for a day in the transaction of
 * the change it answers.
 *
 * The store holds a hash of the key and the answer encrypted under the key, so that who
 * reads the store learns no secret that was shown once. */
#include "api.h"
#include "clock.h"
#include "state.h"
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/sha.h>
#include <string.h>

#define REPEAT_SPACE "api.repeat"
#define REPEAT_SECONDS (24 * 3600)
#define NONCE_SIZE 12
#define TAG_SIZE 16
#define KEY_SIZE 32

/* SHA-256 over texts, each with its NUL so that they cannot run together. */
static bool
digest_texts(const char *const *texts, uint8_t ret_digest[SHA256_DIGEST_LENGTH])
{
    CA_AUTO(EVP_MD_CTX_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool holds = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;
    for (; holds && *texts; texts++)
        holds = EVP_DigestUpdate(context, *texts, strlen(*texts) + 1) == 1;
    return holds && EVP_DigestFinal_ex(context, ret_digest, NULL) == 1;
}

/* Where the answer lies: one place a caller, call and key. */
static enum ca_status
place_format(const struct api_call *call, char ret_place[65])
{
    const struct ca_request *req = &call->exchange->request;
    uint8_t digest[SHA256_DIGEST_LENGTH];
    if (!digest_texts((const char *const[]){ call->exchange->identity.admin.name,
                                             req->method, req->path, call->repeat_key,
                                             NULL },
                      digest))
        return ca_fail_openssl(CA_INTERNAL, "no digest of an Idempotency-Key");
    hex_format(digest, sizeof digest, ret_place);
    return CA_OK;
}

/* What "the same request" means: query and body, octet by octet. */
static enum ca_status
request_digest(const struct api_call *call, char ret_hex[65])
{
    const struct ca_request *req = &call->exchange->request;
    uint8_t digest[SHA256_DIGEST_LENGTH];
    CA_AUTO(EVP_MD_CTX_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1 ||
        EVP_DigestUpdate(context, req->query, strlen(req->query) + 1) != 1 ||
        EVP_DigestUpdate(context, req->body.data, req->body.size) != 1 ||
        EVP_DigestFinal_ex(context, digest, NULL) != 1)
        return ca_fail_openssl(CA_INTERNAL, "no digest of a request");
    hex_format(digest, sizeof digest, ret_hex);
    return CA_OK;
}

/* HKDF-SHA-256 (RFC 5869) of the key, salted with its place. */
static bool
key_derive(const struct api_call *call, const char *place, uint8_t ret_key[KEY_SIZE])
{
    static const unsigned char info[] = "sealwright api.repeat";
    size_t size = KEY_SIZE;
    CA_AUTO(EVP_PKEY_CTX_free)
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
    return context && EVP_PKEY_derive_init(context) == 1 &&
           EVP_PKEY_CTX_set_hkdf_md(context, EVP_sha256()) == 1 &&
           EVP_PKEY_CTX_set1_hkdf_salt(context, (const unsigned char *)place,
                                       (int)strlen(place)) == 1 &&
           EVP_PKEY_CTX_set1_hkdf_key(context, (const unsigned char *)call->repeat_key,
                                      (int)strlen(call->repeat_key)) == 1 &&
           EVP_PKEY_CTX_add1_hkdf_info(context, info, (int)sizeof info - 1) == 1 &&
           EVP_PKEY_derive(context, ret_key, &size) == 1;
}

/* nonce || ciphertext || tag, AES-256-GCM; free() it. */
static enum ca_status
text_seal(const uint8_t key[KEY_SIZE], const char *text, uint8_t **ret_sealed,
          size_t *ret_size)
{
    size_t length = strlen(text), size = NONCE_SIZE + length + TAG_SIZE;
    CA_AUTO(free) uint8_t *sealed = malloc(size);
    CA_AUTO(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int written = 0, last = 0;
    if (size > STATE_VALUE_MAX)
        return ca_fail(CA_INTERNAL, "an answer of %zu octets cannot be kept", length);
    if (!sealed || !context)
        return ca_fail(CA_INTERNAL, "no memory for a kept answer");
    enum ca_status status = random_bytes(sealed, NONCE_SIZE);
    if (status != CA_OK)
        return status;
    if (EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, sealed) != 1 ||
        EVP_EncryptUpdate(context, sealed + NONCE_SIZE, &written, (const uint8_t *)text,
                          (int)length) != 1 ||
        EVP_EncryptFinal_ex(context, sealed + NONCE_SIZE + written, &last) != 1 ||
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, TAG_SIZE,
                            sealed + NONCE_SIZE + length) != 1)
        return ca_fail_openssl(CA_INTERNAL, "an answer could not be encrypted");
    *ret_sealed = CA_STEAL(sealed);
    *ret_size = size;
    return CA_OK;
}

/* The text in fresh memory, secret_free it; NULL when it does not open. */
static char *
text_unseal(const uint8_t key[KEY_SIZE], uint8_t *sealed, size_t size)
{
    if (size < NONCE_SIZE + TAG_SIZE || size > STATE_VALUE_MAX)
        return NULL;
    size_t length = size - NONCE_SIZE - TAG_SIZE;
    CA_AUTO(secret_free) char *text = calloc(1, length + 1);
    CA_AUTO(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int written = 0, last = 0;
    if (!text || !context ||
        EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, sealed) != 1 ||
        EVP_DecryptUpdate(context, (uint8_t *)text, &written, sealed + NONCE_SIZE,
                          (int)length) != 1 ||
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, TAG_SIZE,
                            sealed + NONCE_SIZE + length) != 1 ||
        EVP_DecryptFinal_ex(context, (uint8_t *)text + written, &last) != 1)
        return NULL;
    return CA_STEAL(text);
}

enum ca_status
api_repeat_save(struct store_tx *tx, struct api_call *call)
{
    char place[65], digest[65];
    enum ca_status status = place_format(call, place);
    if (status == CA_OK)
        status = request_digest(call, digest);
    if (status != CA_OK)
        return status;
    int http_status = call->answer.status ? call->answer.status : call->route->success;
    CA_AUTO(json_decref)
    json_t *kept =
        json_pack("{s:s, s:i, s:I, s:s?, s:O?}", "digest", digest, "status",
                  http_status, "version", (json_int_t)call->answer.version, "location",
                  call->answer.location, "body", call->answer.body);
    CA_AUTO(secret_free) char *text = kept ? json_dumps(kept, JSON_COMPACT) : NULL;
    uint8_t key[KEY_SIZE];
    if (!text || !key_derive(call, place, key))
        return ca_fail_openssl(CA_INTERNAL, "an answer could not be kept");
    CA_AUTO(free) uint8_t *sealed = NULL;
    size_t size = 0;
    status = text_seal(key, text, &sealed, &size);
    OPENSSL_cleanse(key, sizeof key);
    if (status != CA_OK)
        return status;
    return state_add(tx, REPEAT_SPACE, place, sealed, size,
                     clock_now() + REPEAT_SECONDS);
}

static enum ca_status
kept_replay(struct api_call *call, const json_t *kept, bool *ret_found)
{
    char digest[65];
    enum ca_status status = request_digest(call, digest);
    if (status != CA_OK)
        return status;
    const char *first = json_string_value(json_object_get(kept, "digest"));
    if (!first || strcmp(first, digest) != 0) {
        call->answer.status = 422;
        return ca_fail(CA_CONFLICT, "this Idempotency-Key came with another request");
    }
    const char *location = json_string_value(json_object_get(kept, "location"));
    call->answer.status = (int)json_integer_value(json_object_get(kept, "status"));
    call->answer.version = json_integer_value(json_object_get(kept, "version"));
    call->answer.location = location ? strdup(location) : NULL;
    json_t *body = json_object_get(kept, "body");
    call->answer.body = json_is_object(body) ? json_incref(body) : NULL;
    ca_respond_header(&call->exchange->request, "Idempotent-Replayed", "true");
    *ret_found = true;
    return CA_OK;
}

struct kept_place {
    const char *place;
    void *sealed;
    size_t size;
};

static enum ca_status
kept_load(struct store_tx *tx, void *arg)
{
    struct kept_place *kept = arg;
    int64_t version;
    free(CA_STEAL(kept->sealed));
    return state_get(tx, REPEAT_SPACE, kept->place, &kept->sealed, &kept->size,
                     &version);
}

enum ca_status
api_repeat_check(struct store_tx *tx, const struct api_call *call)
{
    char place[65];
    enum ca_status status = place_format(call, place);
    if (status != CA_OK)
        return status;
    struct kept_place kept = { .place = place };
    status = kept_load(tx, &kept);
    free(kept.sealed);
    if (status == CA_NOT_FOUND)
        return CA_OK;
    return status == CA_OK
               ? ca_fail(CA_CONFLICT, "a request with this Idempotency-Key was first")
               : status;
}

enum ca_status
api_repeat_find(struct api_call *call, bool *ret_found)
{
    char place[65];
    enum ca_status status = place_format(call, place);
    if (status != CA_OK)
        return status;
    struct kept_place found = { .place = place };
    status = store_read(api_store(call), kept_load, &found);
    CA_AUTO(free) void *sealed = found.sealed;
    if (status == CA_NOT_FOUND) {
        *ret_found = false;
        return CA_OK;
    }
    if (status != CA_OK)
        return status;
    uint8_t key[KEY_SIZE];
    bool has_key = key_derive(call, place, key);
    CA_AUTO(secret_free)
    char *text = has_key ? text_unseal(key, sealed, found.size) : NULL;
    OPENSSL_cleanse(key, sizeof key);
    CA_AUTO(json_decref) json_t *kept = text ? json_loads(text, 0, NULL) : NULL;
    if (!kept)
        return ca_fail(CA_INTERNAL, "a kept answer does not open");
    return kept_replay(call, kept, ret_found);
}
