/* Sealed boxes: every size, every altered octet, every mistake in the padding. */
#include "box.h"
#include "leak.h"
#include <openssl/evp.h>
#include <string.h>

#define SIZE_MAX_TRIED 70

static struct schedule schedule = { .hash_size = 64 };
static const uint8_t aad[BOX_TAG_SIZE] = { 7 };

static void
setup(void)
{
    memset(schedule.side, 0x5a, sizeof schedule.side);
    schedule.side[SCHEDULE_S2C].encrypt[0] = 1;
    schedule.side[SCHEDULE_S2C].mac[0] = 2;
}

TestSuite(speke_box, .init = setup);

static enum ca_status
open_box(const uint8_t *box, size_t size, uint8_t *plain, size_t *ret_size)
{
    return box_open(&schedule, SCHEDULE_C2S, aad, (struct ca_bytes){ box, size }, plain,
                    ret_size);
}

Test(speke_box, every_size_comes_back)
{
    uint8_t plain[SIZE_MAX_TRIED], box[SIZE_MAX_TRIED + BOX_SIZE_MIN];
    uint8_t opened[sizeof box];
    for (size_t size = 0; size <= sizeof plain; size++) {
        size_t opened_size = 999;
        memset(plain, (int)size, sizeof plain);
        cr_assert_eq(box_seal(&schedule, SCHEDULE_C2S, aad,
                              (struct ca_bytes){ plain, size }, box),
                     CA_OK);
        cr_assert_eq(open_box(box, box_size(size), opened, &opened_size), CA_OK);
        cr_assert(opened_size == size && memcmp(opened, plain, size) == 0);
    }
    LEAK_CHECK();
}

Test(speke_box, the_same_text_is_sealed_with_another_iv)
{
    uint8_t first[80], second[80];
    const struct ca_bytes plain = { (const uint8_t *)"text", 4 };
    cr_assert_eq(box_seal(&schedule, SCHEDULE_C2S, aad, plain, first), CA_OK);
    cr_assert_eq(box_seal(&schedule, SCHEDULE_C2S, aad, plain, second), CA_OK);
    cr_assert_neq(memcmp(first, second, BOX_IV_SIZE), 0);
    cr_assert_neq(memcmp(first + BOX_IV_SIZE, second + BOX_IV_SIZE, BOX_BLOCK_SIZE), 0);
}

Test(speke_box, any_altered_bit_is_refused)
{
    uint8_t plain[100] = { 1, 2, 3 }, box[200], opened[200];
    size_t size = box_size(sizeof plain), opened_size = 999;
    cr_assert_eq(box_seal(&schedule, SCHEDULE_C2S, aad,
                          (struct ca_bytes){ plain, sizeof plain }, box),
                 CA_OK);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        box[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_eq(open_box(box, size, opened, &opened_size), CA_UNAUTHENTICATED,
                     "bit %zu", bit);
        box[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    cr_assert_eq(opened_size, 999);
    cr_assert_eq(open_box(box, size, opened, &opened_size), CA_OK);
    LEAK_CHECK();
}

Test(speke_box, any_other_length_is_refused)
{
    static uint8_t box[BOX_PLAIN_MAX + 2 * BOX_SIZE_MIN], opened[sizeof box];
    size_t size = box_size(100), opened_size;
    cr_assert_eq(box_seal(&schedule, SCHEDULE_C2S, aad, (struct ca_bytes){ box, 100 },
                          box + 1000),
                 CA_OK);
    for (size_t i = 0; i <= size + 64; i++) {
        enum ca_status status = open_box(box + 1000, i, opened, &opened_size);
        cr_assert_eq(status, i == size ? CA_OK : CA_UNAUTHENTICATED, "%zu octets", i);
    }
    cr_assert_eq(open_box(box, sizeof box, opened, &opened_size), CA_UNAUTHENTICATED);
}

Test(speke_box, another_direction_aad_key_or_transcript_is_refused)
{
    uint8_t box[80], opened[80], other_aad[BOX_TAG_SIZE] = { 8 };
    size_t size;
    const struct ca_bytes whole = { box, 64 };
    struct schedule other = schedule;
    cr_assert_eq(box_seal(&schedule, SCHEDULE_C2S, aad,
                          (struct ca_bytes){ (const uint8_t *)"text", 4 }, box),
                 CA_OK);
    cr_assert_eq(box_open(&schedule, SCHEDULE_S2C, aad, whole, opened, &size),
                 CA_UNAUTHENTICATED);
    cr_assert_eq(box_open(&schedule, SCHEDULE_C2S, other_aad, whole, opened, &size),
                 CA_UNAUTHENTICATED);
    other.side[SCHEDULE_S2C] = other.side[SCHEDULE_C2S];
    cr_assert_eq(box_open(&other, SCHEDULE_S2C, aad, whole, opened, &size),
                 CA_UNAUTHENTICATED,
                 "the direction is in the tag, not only in the key");
    other.hash[0] ^= 1;
    cr_assert_eq(box_open(&other, SCHEDULE_C2S, aad, whole, opened, &size),
                 CA_UNAUTHENTICATED);
}

/* Seals a last block as it is, with a tag that holds. */
static void
seal_block(const uint8_t block[2 * BOX_BLOCK_SIZE], uint8_t box[96])
{
    struct lv head = { .size = 0 };
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    const struct schedule_side *side = &schedule.side[SCHEDULE_C2S];
    int written;
    memset(box, 9, BOX_IV_SIZE);
    EVP_EncryptInit_ex(ctx, EVP_aes_256_cbc(), NULL, side->encrypt, box);
    EVP_CIPHER_CTX_set_padding(ctx, 0);
    EVP_EncryptUpdate(ctx, box + BOX_IV_SIZE, &written, block, 2 * BOX_BLOCK_SIZE);
    EVP_CIPHER_CTX_free(ctx);
    lv_put_label(&head, "");
    lv_put_text(&head, "c2s seal");
    lv_put(&head, schedule.hash, schedule.hash_size);
    lv_put(&head, aad, sizeof aad);
    const struct ca_bytes parts[] = { lv_bytes(&head), { box, 48 } };
    cr_assert(schedule_hmac("SHA256", (struct ca_bytes){ side->mac, SCHEDULE_KEY_SIZE },
                            parts, 2, box + 48, BOX_TAG_SIZE));
}

Test(speke_box, every_wrong_padding_under_a_right_tag_is_refused)
{
    for (unsigned last = 0; last < 256; last++) {
        uint8_t block[2 * BOX_BLOCK_SIZE], box[96], opened[96];
        size_t size = 999;
        memset(block, (int)last, sizeof block);
        seal_block(block, box);
        bool is_good = last >= 1 && last <= BOX_BLOCK_SIZE;
        cr_assert_eq(open_box(box, 80, opened, &size),
                     is_good ? CA_OK : CA_UNAUTHENTICATED, "padding %u", last);
        cr_assert_eq(size, is_good ? sizeof block - last : 999);
        /* One octet of the padding is another. */
        for (unsigned i = 2; is_good && i <= last; i++) {
            block[sizeof block - i] ^= 0x20;
            seal_block(block, box);
            cr_assert_eq(open_box(box, 80, opened, &size), CA_UNAUTHENTICATED);
            static const uint8_t zeros[32];
            cr_assert_arr_eq(opened, zeros, sizeof zeros, "what was refused is wiped");
            block[sizeof block - i] ^= 0x20;
        }
    }
    LEAK_CHECK();
}

Test(speke_box, what_is_too_long_is_not_sealed)
{
    static uint8_t plain[BOX_PLAIN_MAX + 1], box[BOX_PLAIN_MAX + BOX_SIZE_MIN];
    cr_assert_eq(box_seal(&schedule, SCHEDULE_C2S, aad,
                          (struct ca_bytes){ plain, sizeof plain }, box),
                 CA_LIMIT);
    cr_assert_eq(box_seal(&schedule, SCHEDULE_C2S, aad,
                          (struct ca_bytes){ plain, BOX_PLAIN_MAX }, box),
                 CA_OK);
    size_t size;
    static uint8_t opened[sizeof box];
    cr_assert_eq(open_box(box, box_size(BOX_PLAIN_MAX), opened, &size), CA_OK);
}
