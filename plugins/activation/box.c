/* Seals and opens; nothing is decrypted before its tag holds. */
#include "box.h"
#include "auto.h"
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

size_t
box_size(size_t plain_size)
{
    size_t padding = BOX_BLOCK_SIZE - plain_size % BOX_BLOCK_SIZE;
    return BOX_IV_SIZE + plain_size + padding + BOX_TAG_SIZE;
}

const uint8_t *
box_tag(struct ca_bytes box)
{
    return box.size < BOX_SIZE_MIN ? NULL : box.data + box.size - BOX_TAG_SIZE;
}

/* T = HMAC-SHA-256(key, lv(LABEL, dir || " seal", th, aad) || IV || C) */
static bool
seal_tag(const struct schedule *schedule, enum schedule_direction direction,
         const uint8_t aad[BOX_TAG_SIZE], struct ca_bytes sealed,
         uint8_t ret_tag[BOX_TAG_SIZE])
{
    char name[16];
    struct lv head = { .size = 0 };
    snprintf(name, sizeof name, "%s seal", schedule_direction_name(direction));
    lv_put_label(&head, "");
    lv_put_text(&head, name);
    lv_put(&head, schedule->hash, schedule->hash_size);
    lv_put(&head, aad, BOX_TAG_SIZE);
    const struct ca_bytes key = { schedule->side[direction].mac, SCHEDULE_KEY_SIZE };
    const struct ca_bytes parts[] = { lv_bytes(&head), sealed };
    return schedule_hmac("SHA256", key, parts, 2, ret_tag, BOX_TAG_SIZE);
}

static enum ca_status
encrypt(const uint8_t key[SCHEDULE_KEY_SIZE], struct ca_bytes plain, uint8_t *box)
{
    CA_AUTO(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int written = 0, last = 0;
    if (!ctx || EVP_EncryptInit_ex(ctx, EVP_aes_256_cbc(), NULL, key, box) != 1 ||
        EVP_EncryptUpdate(ctx, box + BOX_IV_SIZE, &written, plain.data,
                          (int)plain.size) != 1 ||
        EVP_EncryptFinal_ex(ctx, box + BOX_IV_SIZE + written, &last) != 1)
        return ca_fail_openssl(CA_INTERNAL, "cannot encrypt a box");
    return CA_OK;
}

enum ca_status
box_seal_with(const struct schedule *schedule, enum schedule_direction direction,
              const uint8_t aad[BOX_TAG_SIZE], struct ca_bytes plain,
              const uint8_t iv[BOX_IV_SIZE], uint8_t *ret_box)
{
    if (plain.size > BOX_PLAIN_MAX)
        return ca_fail(CA_LIMIT, "%zu octets to seal, at most %d", plain.size,
                       BOX_PLAIN_MAX);
    memcpy(ret_box, iv, BOX_IV_SIZE);
    enum ca_status status = encrypt(schedule->side[direction].encrypt, plain, ret_box);
    if (status != CA_OK)
        return status;
    size_t size = box_size(plain.size) - BOX_TAG_SIZE;
    if (!seal_tag(schedule, direction, aad, (struct ca_bytes){ ret_box, size },
                  ret_box + size))
        return ca_fail_openssl(CA_INTERNAL, "cannot authenticate a box");
    speke_stack_wipe();
    return CA_OK;
}

enum ca_status
box_seal(const struct schedule *schedule, enum schedule_direction direction,
         const uint8_t aad[BOX_TAG_SIZE], struct ca_bytes plain, uint8_t *ret_box)
{
    uint8_t iv[BOX_IV_SIZE];
    if (RAND_bytes(iv, sizeof iv) != 1)
        return ca_fail_openssl(CA_INTERNAL, "no random IV");
    return box_seal_with(schedule, direction, aad, plain, iv, ret_box);
}

static bool
decrypt(const uint8_t key[SCHEDULE_KEY_SIZE], struct ca_bytes sealed,
        uint8_t *ret_plain)
{
    CA_AUTO(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int written = 0, last = 0;
    int size = (int)(sealed.size - BOX_IV_SIZE);
    return ctx &&
           EVP_DecryptInit_ex(ctx, EVP_aes_256_cbc(), NULL, key, sealed.data) == 1 &&
           EVP_CIPHER_CTX_set_padding(ctx, 0) == 1 &&
           EVP_DecryptUpdate(ctx, ret_plain, &written, sealed.data + BOX_IV_SIZE,
                             size) == 1 &&
           EVP_DecryptFinal_ex(ctx, ret_plain + written, &last) == 1;
}

/* Octets without their padding; `size` itself when the padding is wrong. */
static size_t
unpadded_size(const uint8_t *plain, size_t size)
{
    size_t padding = plain[size - 1];
    if (padding == 0 || padding > BOX_BLOCK_SIZE)
        return size;
    for (size_t i = 1; i <= padding; i++) {
        if (plain[size - i] != padding)
            return size;
    }
    return size - padding;
}

enum ca_status
box_open(const struct schedule *schedule, enum schedule_direction direction,
         const uint8_t aad[BOX_TAG_SIZE], struct ca_bytes box, uint8_t *ret_plain,
         size_t *ret_size)
{
    uint8_t tag[BOX_TAG_SIZE];
    if (box.size < BOX_SIZE_MIN || box.size % BOX_BLOCK_SIZE != 0 ||
        box.size > box_size(BOX_PLAIN_MAX))
        return ca_fail(CA_UNAUTHENTICATED, "box of %zu octets", box.size);
    const struct ca_bytes sealed = { box.data, box.size - BOX_TAG_SIZE };
    if (!seal_tag(schedule, direction, aad, sealed, tag))
        return ca_fail_openssl(CA_INTERNAL, "cannot authenticate a box");
    bool is_authentic = CRYPTO_memcmp(tag, box.data + sealed.size, sizeof tag) == 0;
    OPENSSL_cleanse(tag, sizeof tag);
    if (!is_authentic)
        return ca_fail(CA_UNAUTHENTICATED, "the box's tag does not hold");
    if (!decrypt(schedule->side[direction].encrypt, sealed, ret_plain)) {
        OPENSSL_cleanse(ret_plain, box.size);
        return ca_fail_openssl(CA_INTERNAL, "cannot decrypt a box");
    }
    speke_stack_wipe();
    size_t padded = sealed.size - BOX_IV_SIZE;
    size_t size = unpadded_size(ret_plain, padded);
    if (size == padded) {
        OPENSSL_cleanse(ret_plain, padded);
        return ca_fail(CA_UNAUTHENTICATED, "the box's padding is wrong");
    }
    *ret_size = size;
    return CA_OK;
}
