/* The field of P-256: four limbs of 64 bits in Montgomery form, fully reduced. */
#include "speke_field.h"
#include <openssl/crypto.h>

#define LIMBS 4
#define SIZE 32
#define WIDE_SIZE 48

typedef unsigned __int128 wide;

/* p = 2^256 - 2^224 + 2^192 + 2^96 - 1, so -1/p = 1 (mod 2^64). */
static const uint64_t prime[LIMBS] = { 0xffffffffffffffff, 0x00000000ffffffff, 0,
                                       0xffffffff00000001 };
/* 2^512 mod p: a Montgomery product with it brings into Montgomery form. */
static const struct speke_element into_form = {
    { 0x0000000000000003, 0xfffffffbffffffff, 0xfffffffffffffffe, 0x00000004fffffffd }
};

/* `value` with a fifth limb, less than 2p, becomes less than p. */
static void
reduce_once(struct speke_element *ret, const uint64_t value[LIMBS], uint64_t fifth)
{
    struct speke_element less = { { 0 } };
    uint64_t borrow = 0;
    for (size_t i = 0; i < LIMBS; i++) {
        wide difference = (wide)value[i] - prime[i] - borrow;
        less.limb[i] = (uint64_t)difference;
        borrow = (uint64_t)(difference >> 64) & 1;
    }
    speke_mask is_small = speke_mask_of(borrow & ~fifth);
    for (size_t i = 0; i < LIMBS; i++)
        ret->limb[i] = less.limb[i] ^ (is_small & (less.limb[i] ^ value[i]));
    for (size_t i = LIMBS; i < SPEKE_LIMBS_MAX; i++)
        ret->limb[i] = 0;
}

static void
p256_add(struct speke_element *ret, const struct speke_element *a,
         const struct speke_element *b)
{
    uint64_t sum[LIMBS];
    wide over = 0;
    for (size_t i = 0; i < LIMBS; i++) {
        over += (wide)a->limb[i] + b->limb[i];
        sum[i] = (uint64_t)over;
        over >>= 64;
    }
    reduce_once(ret, sum, (uint64_t)over);
}

static void
p256_subtract(struct speke_element *ret, const struct speke_element *a,
              const struct speke_element *b)
{
    uint64_t borrow = 0;
    for (size_t i = 0; i < LIMBS; i++) {
        wide difference = (wide)a->limb[i] - b->limb[i] - borrow;
        ret->limb[i] = (uint64_t)difference;
        borrow = (uint64_t)(difference >> 64) & 1;
    }
    speke_mask is_negative = speke_mask_of(borrow);
    wide over = 0;
    for (size_t i = 0; i < LIMBS; i++) {
        over += (wide)ret->limb[i] + (is_negative & prime[i]);
        ret->limb[i] = (uint64_t)over;
        over >>= 64;
    }
    for (size_t i = LIMBS; i < SPEKE_LIMBS_MAX; i++)
        ret->limb[i] = 0;
}

/* a * b / 2^256 (mod p), for a below 2^256 and b below p: after each limb of a, a
 * multiple of p clears the lowest limb. */
static void
p256_multiply(struct speke_element *ret, const struct speke_element *a,
              const struct speke_element *b)
{
    uint64_t sum[LIMBS + 1] = { 0 };
    for (size_t i = 0; i < LIMBS; i++) {
        wide over = 0;
        for (size_t j = 0; j < LIMBS; j++) {
            over += (wide)a->limb[i] * b->limb[j] + sum[j];
            sum[j] = (uint64_t)over;
            over >>= 64;
        }
        over += sum[LIMBS];
        sum[LIMBS] = (uint64_t)over;
        uint64_t sixth = (uint64_t)(over >> 64), factor = sum[0];
        over = ((wide)factor * prime[0] + sum[0]) >> 64;
        for (size_t j = 1; j < LIMBS; j++) {
            over += (wide)factor * prime[j] + sum[j];
            sum[j - 1] = (uint64_t)over;
            over >>= 64;
        }
        over += sum[LIMBS];
        sum[LIMBS - 1] = (uint64_t)over;
        sum[LIMBS] = sixth + (uint64_t)(over >> 64);
    }
    reduce_once(ret, sum, sum[LIMBS]);
}

static void
p256_square(struct speke_element *ret, const struct speke_element *a)
{
    p256_multiply(ret, a, a);
}

/* a^(2^count) * b */
static void
square_times(struct speke_element *ret, const struct speke_element *a, size_t count,
             const struct speke_element *b)
{
    struct speke_element power = *a;
    for (size_t i = 0; i < count; i++)
        p256_square(&power, &power);
    p256_multiply(ret, &power, b);
}

/* The exponent is 2^254 - 2^222 + 2^190 + 2^94 - 1: 32 ones, 31 zeros, a one, 96 zeros,
 * 94 ones. */
static void
p256_power(struct speke_element *ret, const struct speke_element *a)
{
    struct speke_element two, fifteen, row, ones_32, ones_94;
    square_times(&two, a, 1, a);
    square_times(&row, &two, 1, a);                /* 3 */
    square_times(&fifteen, &row, 3, &row);         /* 6 */
    square_times(&fifteen, &fifteen, 6, &fifteen); /* 12 */
    square_times(&fifteen, &fifteen, 3, &row);     /* 15 */
    square_times(&row, &fifteen, 15, &fifteen);    /* 30 */
    square_times(&ones_32, &row, 2, &two);
    square_times(&row, &ones_32, 15, &fifteen); /* 47 */
    square_times(&ones_94, &row, 47, &row);
    square_times(&row, &ones_32, 32, a);
    square_times(ret, &row, 190, &ones_94);
    OPENSSL_cleanse(&two, sizeof two);
    OPENSSL_cleanse(&fifteen, sizeof fifteen);
    OPENSSL_cleanse(&row, sizeof row);
    OPENSSL_cleanse(&ones_32, sizeof ones_32);
    OPENSSL_cleanse(&ones_94, sizeof ones_94);
}

static void
limbs_load(struct speke_element *ret, const uint8_t *octets, size_t size)
{
    *ret = (struct speke_element){ { 0 } };
    for (size_t k = 0; k < size; k++)
        ret->limb[k / 8] |= (uint64_t)octets[size - 1 - k] << (8 * (k % 8));
}

/* high * 2^256 + low: two products with 2^512 bring `high` both into form and up. */
static void
p256_reduce(struct speke_element *ret, const uint8_t *octets)
{
    struct speke_element high, low;
    limbs_load(&high, octets, WIDE_SIZE - SIZE);
    limbs_load(&low, octets + WIDE_SIZE - SIZE, SIZE);
    p256_multiply(&high, &high, &into_form);
    p256_multiply(&high, &high, &into_form);
    p256_multiply(&low, &low, &into_form);
    p256_add(ret, &high, &low);
    OPENSSL_cleanse(&high, sizeof high);
    OPENSSL_cleanse(&low, sizeof low);
}

static void
p256_encode(uint8_t *ret_octets, const struct speke_element *a)
{
    static const struct speke_element plain_one = { { 1 } };
    struct speke_element value;
    p256_multiply(&value, a, &plain_one);
    for (size_t k = 0; k < SIZE; k++)
        ret_octets[SIZE - 1 - k] = (uint8_t)(value.limb[k / 8] >> (8 * (k % 8)));
    OPENSSL_cleanse(&value, sizeof value);
}

/* b of FIPS 186-4 D.1.2.3 and Z = -10 (RFC 9380 section 8.2), in Montgomery form. */
const struct speke_field speke_field_p256 = {
    .size = SIZE,
    .wide_size = WIDE_SIZE,
    .reduce = p256_reduce,
    .encode = p256_encode,
    .add = p256_add,
    .subtract = p256_subtract,
    .multiply = p256_multiply,
    .square = p256_square,
    .power = p256_power,
    .one = { { 0x0000000000000001, 0xffffffff00000000, 0xffffffffffffffff,
               0x00000000fffffffe } },
    .b = { { 0xd89cdf6229c4bddf, 0xacf005cd78843090, 0xe5a220abf7212ed6,
             0xdc30061d04874834 } },
    .z = { { 0xfffffffffffffff5, 0x0000000affffffff, 0, 0xfffffff50000000b } },
    .root = { { 0xa1fd38ee98a195fd, 0x78400ad7423dcf70, 0x6913c88f9ea8dfee,
                0x9051d26e12a8f304 } },
};
