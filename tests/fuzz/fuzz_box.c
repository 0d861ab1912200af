/* Any octets as a box. The first chooses how: as they are; as plaintext, sealed and
 * then altered; as blocks under a tag that holds, so that only the padding decides. */
#include "box.h"
#include "fuzz.h"
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_MAX 4096
#define ROOM (INPUT_MAX + 2 * BOX_SIZE_MIN)

size_t fuzz_deep;

static const struct schedule schedule = {
    .side = { { .encrypt = { 1 }, .mac = { 2 } } }, .hash_size = 64
};
static const uint8_t aad[BOX_TAG_SIZE] = { 3 };
static uint8_t box[ROOM], plain[ROOM];

static enum ca_status
open_box(const uint8_t *octets, size_t size, size_t *ret_size)
{
    return box_open(&schedule, SCHEDULE_C2S, aad, (struct ca_bytes){ octets, size },
                    plain, ret_size);
}

/* What comes out, sealed again with the same IV, is the box itself. */
static void
as_it_is(const uint8_t *data, size_t size)
{
    size_t opened;
    if (size > INPUT_MAX || open_box(data, size, &opened) != CA_OK)
        return;
    fuzz_deep++;
    FUZZ_ASSERT(box_seal_with(&schedule, SCHEDULE_C2S, aad,
                              (struct ca_bytes){ plain, opened }, data, box) == CA_OK);
    FUZZ_ASSERT(box_size(opened) == size && memcmp(box, data, size) == 0);
}

/* The first two octets say which bit is altered. */
static void
sealed(const uint8_t *data, size_t size)
{
    size_t opened;
    if (size < 2 || size > INPUT_MAX)
        return;
    const struct ca_bytes text = { data + 2, size - 2 };
    size_t whole = box_size(text.size), bit = (data[0] * 256u + data[1]) % (8 * whole);
    FUZZ_ASSERT(box_seal(&schedule, SCHEDULE_C2S, aad, text, box) == CA_OK);
    FUZZ_ASSERT(open_box(box, whole, &opened) == CA_OK);
    FUZZ_ASSERT(opened == text.size && memcmp(plain, text.data, opened) == 0);
    box[bit / 8] ^= (uint8_t)(1 << bit % 8);
    FUZZ_ASSERT(open_box(box, whole, &opened) == CA_UNAUTHENTICATED);
    fuzz_deep++;
}

static bool
is_padded(const uint8_t *data, size_t size)
{
    size_t padding = data[size - 1];
    if (padding == 0 || padding > BOX_BLOCK_SIZE)
        return false;
    for (size_t i = 0; i < padding; i++) {
        if (data[size - 1 - i] != padding)
            return false;
    }
    return true;
}

static void
padding(const uint8_t *data, size_t size)
{
    const struct schedule_side *side = &schedule.side[SCHEDULE_C2S];
    struct lv head = { .size = 0 };
    int written = 0;
    size_t opened;
    size -= size % BOX_BLOCK_SIZE;
    if (size == 0 || size > INPUT_MAX)
        return;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    memset(box, 0, BOX_IV_SIZE);
    EVP_EncryptInit_ex(ctx, EVP_aes_256_cbc(), NULL, side->encrypt, box);
    EVP_CIPHER_CTX_set_padding(ctx, 0);
    EVP_EncryptUpdate(ctx, box + BOX_IV_SIZE, &written, data, (int)size);
    EVP_CIPHER_CTX_free(ctx);
    lv_put_label(&head, "");
    lv_put_text(&head, "c2s seal");
    lv_put(&head, schedule.hash, schedule.hash_size);
    lv_put(&head, aad, sizeof aad);
    const struct ca_bytes parts[] = { lv_bytes(&head), { box, BOX_IV_SIZE + size } };
    FUZZ_ASSERT(schedule_hmac("SHA256",
                              (struct ca_bytes){ side->mac, SCHEDULE_KEY_SIZE }, parts,
                              2, box + BOX_IV_SIZE + size, BOX_TAG_SIZE));
    enum ca_status status = open_box(box, BOX_IV_SIZE + size + BOX_TAG_SIZE, &opened);
    FUZZ_ASSERT(status == (is_padded(data, size) ? CA_OK : CA_UNAUTHENTICATED));
    FUZZ_ASSERT(status != CA_OK || opened == size - data[size - 1]);
    fuzz_deep++;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] % 3 == 0)
        as_it_is(data + 1, size - 1);
    else if (data[0] % 3 == 1)
        sealed(data + 1, size - 1);
    else
        padding(data + 1, size - 1);
    return 0;
}
