/* What secret keys do: seal, wrap other keys, make tags. */
#include "object.h"
#include "secret_inner.h"
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

/* ---- GCM and CBC ---- */

/* PKCS#11 takes pointers to what it only reads. */
static void *
readable(const void *pointer)
{
    void *copy = NULL;
    memcpy(&copy, &pointer, sizeof copy);
    return copy;
}

struct cipher {
    CK_MECHANISM mechanism;
    bool encrypts;
    const void *input;
    size_t input_size;
    uint8_t *output; /* wiped room of at least the wanted size and a block */
    size_t room, wanted;
};

static CK_RV
cipher_step(struct attempt *attempt, void *arg)
{
    struct cipher *cipher = arg;
    CK_ULONG size = cipher->room;
    CK_FUNCTION_LIST *functions = attempt->functions;
    CK_MECHANISM mechanism = cipher->mechanism;
    attempt->function = cipher->encrypts ? "C_EncryptInit" : "C_DecryptInit";
    CK_RV code =
        cipher->encrypts
            ? functions->C_EncryptInit(attempt->session, &mechanism, attempt->key)
            : functions->C_DecryptInit(attempt->session, &mechanism, attempt->key);
    if (code != CKR_OK)
        return code;
    attempt->function = cipher->encrypts ? "C_Encrypt" : "C_Decrypt";
    attempt->saw_input = !cipher->encrypts;
    code = cipher->encrypts
               ? functions->C_Encrypt(attempt->session, readable(cipher->input),
                                      cipher->input_size, cipher->output, &size)
               : functions->C_Decrypt(attempt->session, readable(cipher->input),
                                      cipher->input_size, cipher->output, &size);
    if (code == CKR_OK && size != cipher->wanted)
        code = cipher->encrypts ? CKR_DEVICE_ERROR : CKR_ENCRYPTED_DATA_INVALID;
    return code;
}

#define CIPHER_SLACK 16 /* a block: some tokens want the room before they unpad */

/* Into a buffer of its own, so that nothing is written where it fails. */
static enum ca_status
cipher_run(struct token_secret *secret, struct cipher *cipher, uint8_t *ret_output)
{
    cipher->room = cipher->wanted + CIPHER_SLACK + cipher->input_size;
    uint8_t *output = calloc(1, cipher->room);
    if (!output)
        return ca_fail(CA_INTERNAL, "no memory for a token's cipher");
    cipher->output = output;
    enum ca_status status = secret_run(secret, cipher_step, cipher);
    if (status == CA_OK)
        memcpy(ret_output, output, cipher->wanted);
    OPENSSL_cleanse(output, cipher->room);
    free(output);
    return status;
}

static enum ca_status
gcm_run(struct token_secret *secret, const struct secret_gcm *gcm, bool encrypts)
{
    CK_GCM_PARAMS parameters = {
        .iv_ptr = gcm->nonce,
        .iv_len = SECRET_NONCE_SIZE,
        .iv_bits = SECRET_NONCE_SIZE * 8,
        .aad_ptr = readable(gcm->aad),
        .aad_len = gcm->aad_size,
        .tag_bits = SECRET_GCM_TAG_SIZE * 8,
    };
    struct cipher cipher = {
        .mechanism = { CKM_AES_GCM, &parameters, sizeof parameters },
        .encrypts = encrypts,
        .input = gcm->input,
        .input_size = gcm->input_size,
    };
    if (secret->use != SECRET_SEAL)
        return ca_fail(CA_INTERNAL, "this secret key does not seal");
    if (gcm->input_size > SECRET_GCM_MAX + SECRET_GCM_TAG_SIZE ||
        gcm->aad_size > SECRET_GCM_MAX ||
        (!encrypts && gcm->input_size < SECRET_GCM_TAG_SIZE))
        return ca_fail(CA_LIMIT, "%zu octets under %zu of aad", gcm->input_size,
                       gcm->aad_size);
    cipher.wanted = encrypts ? gcm->input_size + SECRET_GCM_TAG_SIZE
                             : gcm->input_size - SECRET_GCM_TAG_SIZE;
    return cipher_run(secret, &cipher, gcm->output);
}

enum ca_status
token_secret_seal(struct token_secret *secret, const struct secret_gcm *gcm)
{
    return gcm_run(secret, gcm, true);
}

enum ca_status
token_secret_open(struct token_secret *secret, const struct secret_gcm *gcm)
{
    return gcm_run(secret, gcm, false);
}

static enum ca_status
cbc_run(struct token_secret *secret, const uint8_t *iv, bool encrypts,
        const uint8_t *input, uint8_t *ret_output)
{
    struct cipher cipher = {
        .mechanism = { CKM_AES_CBC_PAD, readable(iv), SECRET_IV_SIZE },
        .encrypts = encrypts,
        .input = input,
        .input_size = encrypts ? SECRET_KEY_SIZE : SECRET_CBC_SIZE,
        .wanted = encrypts ? SECRET_CBC_SIZE : SECRET_KEY_SIZE,
    };
    return cipher_run(secret, &cipher, ret_output);
}

enum ca_status
token_secret_encrypt(struct token_secret *secret, const uint8_t iv[SECRET_IV_SIZE],
                     const uint8_t key[SECRET_KEY_SIZE],
                     uint8_t ret_encrypted[SECRET_CBC_SIZE])
{
    return cbc_run(secret, iv, true, key, ret_encrypted);
}

enum ca_status
token_secret_decrypt(struct token_secret *secret, const uint8_t iv[SECRET_IV_SIZE],
                     const uint8_t encrypted[SECRET_CBC_SIZE],
                     uint8_t ret_key[SECRET_KEY_SIZE])
{
    return cbc_run(secret, iv, false, encrypted, ret_key);
}

/* ---- Wrapping ---- */

struct wrapping {
    uint8_t key[SECRET_KEY_SIZE];
    uint8_t wrapped[SECRET_WRAPPED_SIZE + CIPHER_SLACK];
};

/* A data key as an object of the session that may be read, or wrapped. */
static void
data_key_template(struct template *template)
{
    static const CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    static const CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    template_add(template, CKA_CLASS, &class, sizeof class);
    template_add(template, CKA_KEY_TYPE, &type, sizeof type);
    template_flag(template, CKA_TOKEN, false);
    template_flag(template, CKA_SENSITIVE, false);
    template_flag(template, CKA_EXTRACTABLE, true);
}

static CK_RV
wrap_step(struct attempt *attempt, void *arg)
{
    struct wrapping *wrapping = arg;
    CK_MECHANISM mechanism = { CKM_AES_KEY_WRAP, NULL, 0 };
    CK_OBJECT_HANDLE object = 0;
    CK_ULONG size = sizeof wrapping->wrapped;
    struct template template = { .count = 0 };
    data_key_template(&template);
    template_add(&template, CKA_VALUE, wrapping->key, sizeof wrapping->key);
    attempt->function = "C_CreateObject";
    CK_RV code = attempt->functions->C_CreateObject(attempt->session, template.items,
                                                    template.count, &object);
    if (code != CKR_OK)
        return code;
    attempt->function = "C_WrapKey";
    code = attempt->functions->C_WrapKey(attempt->session, &mechanism, attempt->key,
                                         object, wrapping->wrapped, &size);
    attempt->functions->C_DestroyObject(attempt->session, object);
    return code == CKR_OK && size != SECRET_WRAPPED_SIZE ? CKR_MECHANISM_INVALID : code;
}

static CK_RV
unwrap_step(struct attempt *attempt, void *arg)
{
    struct wrapping *wrapping = arg;
    CK_MECHANISM mechanism = { CKM_AES_KEY_WRAP, NULL, 0 };
    CK_OBJECT_HANDLE object = 0;
    struct template template = { .count = 0 };
    data_key_template(&template);
    attempt->function = "C_UnwrapKey";
    attempt->saw_input = true;
    CK_RV code = attempt->functions->C_UnwrapKey(
        attempt->session, &mechanism, attempt->key, wrapping->wrapped,
        SECRET_WRAPPED_SIZE, template.items, template.count, &object);
    if (code != CKR_OK)
        return code;
    CK_ATTRIBUTE value = { CKA_VALUE, wrapping->key, sizeof wrapping->key };
    attempt->function = "C_GetAttributeValue";
    code = attempt->functions->C_GetAttributeValue(attempt->session, object, &value, 1);
    attempt->functions->C_DestroyObject(attempt->session, object);
    return code == CKR_OK && value.ulValueLen != sizeof wrapping->key
               ? CKR_ATTRIBUTE_VALUE_INVALID
               : code;
}

enum ca_status
token_secret_wrap(struct token_secret *secret, const uint8_t key[SECRET_KEY_SIZE],
                  uint8_t ret_wrapped[SECRET_WRAPPED_SIZE])
{
    struct wrapping wrapping = { .wrapped = { 0 } };
    memcpy(wrapping.key, key, sizeof wrapping.key);
    enum ca_status status = secret_run(secret, wrap_step, &wrapping);
    if (status == CA_OK)
        memcpy(ret_wrapped, wrapping.wrapped, SECRET_WRAPPED_SIZE);
    OPENSSL_cleanse(&wrapping, sizeof wrapping);
    return status;
}

enum ca_status
token_secret_unwrap(struct token_secret *secret,
                    const uint8_t wrapped[SECRET_WRAPPED_SIZE],
                    uint8_t ret_key[SECRET_KEY_SIZE])
{
    struct wrapping wrapping = { .wrapped = { 0 } };
    memcpy(wrapping.wrapped, wrapped, SECRET_WRAPPED_SIZE);
    enum ca_status status = secret_run(secret, unwrap_step, &wrapping);
    if (status == CA_OK)
        memcpy(ret_key, wrapping.key, SECRET_KEY_SIZE);
    OPENSSL_cleanse(&wrapping, sizeof wrapping);
    return status;
}

/* ---- Tags ---- */

struct tagging {
    const void *data;
    size_t size;
    uint8_t tag[SECRET_TAG_SIZE];
};

static CK_RV
tag_step(struct attempt *attempt, void *arg)
{
    struct tagging *tagging = arg;
    CK_MECHANISM mechanism = { CKM_SHA256_HMAC, NULL, 0 };
    CK_ULONG size = sizeof tagging->tag;
    attempt->function = "C_SignInit";
    CK_RV code =
        attempt->functions->C_SignInit(attempt->session, &mechanism, attempt->key);
    if (code != CKR_OK)
        return code;
    attempt->function = "C_Sign";
    code = attempt->functions->C_Sign(attempt->session, readable(tagging->data),
                                      tagging->size, tagging->tag, &size);
    return code == CKR_OK && size != sizeof tagging->tag ? CKR_DEVICE_ERROR : code;
}

enum ca_status
token_secret_tag(struct token_secret *secret, const void *data, size_t size,
                 uint8_t ret_tag[SECRET_TAG_SIZE])
{
    struct tagging tagging = { .data = data, .size = size };
    enum ca_status status = secret_run(secret, tag_step, &tagging);
    if (status == CA_OK)
        memcpy(ret_tag, tagging.tag, SECRET_TAG_SIZE);
    return status;
}
