/* AES-256-GCM blobs. */
#include "seal.h"
#include "auto.h"
#include "clock.h"
#include <openssl/crypto.h>
#include <stdbool.h>
#include <string.h>

#define SEAL_FORM 0x01
#define SEAL_TAG_SIZE 16
#define SEAL_HEAD_SIZE (1 + SEAL_NONCE_SIZE)

enum ca_status
seal_make_with(const uint8_t key[SEAL_KEY_SIZE], struct seal_text text,
               const uint8_t nonce[SEAL_NONCE_SIZE], uint8_t *ret_blob)
{
    CA_AUTO(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t *sealed = ret_blob + SEAL_HEAD_SIZE;
    int written = 0, last = 0;
    if (text.size > SEAL_PLAIN_MAX || text.aad_size > SEAL_PLAIN_MAX)
        return ca_fail(CA_LIMIT, "%zu octets to seal, at most %d", text.size,
                       SEAL_PLAIN_MAX);
    if (!ctx || EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce) != 1 ||
        EVP_EncryptUpdate(ctx, NULL, &written, text.aad, (int)text.aad_size) != 1 ||
        EVP_EncryptUpdate(ctx, sealed, &written, text.data, (int)text.size) != 1 ||
        EVP_EncryptFinal_ex(ctx, sealed + written, &last) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG_SIZE,
                            sealed + text.size) != 1)
        return ca_fail_openssl(CA_INTERNAL, "cannot seal a secret");
    ret_blob[0] = SEAL_FORM;
    memcpy(ret_blob + 1, nonce, SEAL_NONCE_SIZE);
    return CA_OK;
}

enum ca_status
seal_make(const uint8_t key[SEAL_KEY_SIZE], struct seal_text text, uint8_t *ret_blob)
{
    uint8_t nonce[SEAL_NONCE_SIZE];
    enum ca_status status = random_bytes(nonce, sizeof nonce);
    return status == CA_OK ? seal_make_with(key, text, nonce, ret_blob) : status;
}

/* False: altered, of another key or aad. The tag is checked at the end, so that what
 * came before it is not yet to be believed. */
static bool
gcm_open(EVP_CIPHER_CTX *ctx, const uint8_t *key, struct seal_text blob, uint8_t *text)
{
    const uint8_t *octets = blob.data;
    uint8_t tag[SEAL_TAG_SIZE];
    int size = (int)(blob.size - SEAL_OVERHEAD), written = 0, last = 0;
    memcpy(tag, octets + SEAL_HEAD_SIZE + size, sizeof tag);
    return EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, octets + 1) == 1 &&
           EVP_DecryptUpdate(ctx, NULL, &written, blob.aad, (int)blob.aad_size) == 1 &&
           EVP_DecryptUpdate(ctx, text, &written, octets + SEAL_HEAD_SIZE, size) == 1 &&
           EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, sizeof tag, tag) == 1 &&
           EVP_DecryptFinal_ex(ctx, text + written, &last) == 1;
}

enum ca_status
seal_open(const uint8_t key[SEAL_KEY_SIZE], struct seal_text blob, void *ret_text)
{
    CA_AUTO(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    const uint8_t *octets = blob.data;
    if (blob.size < SEAL_OVERHEAD || blob.size > SEAL_PLAIN_MAX + SEAL_OVERHEAD ||
        octets[0] != SEAL_FORM)
        return ca_fail(CA_FORBIDDEN, "%zu octets are no sealed secret", blob.size);
    size_t size = blob.size - SEAL_OVERHEAD;
    uint8_t *text = malloc(size + 1);
    if (!text || !ctx) {
        free(text);
        return ca_fail(CA_INTERNAL, "no memory for a secret");
    }
    bool is_good = gcm_open(ctx, key, blob, text);
    if (is_good)
        memcpy(ret_text, text, size);
    OPENSSL_cleanse(text, size);
    free(text);
    return is_good ? CA_OK
                   : ca_fail_openssl(CA_FORBIDDEN, "a sealed secret does not open");
}
