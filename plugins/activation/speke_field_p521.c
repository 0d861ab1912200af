/* The field of P-521, p = 2^521 - 1: nine limbs of 58 bits, 2^522 = 2 (mod p). */
#include "speke_field.h"
#include <openssl/crypto.h>

#define LIMBS 9
#define LIMB_BITS 58
#define LIMB_MASK ((UINT64_C(1) << LIMB_BITS) - 1)
#define TOP_BITS 57 /* of the last limb: 521 - 8 * 58 */
#define TOP_MASK ((UINT64_C(1) << TOP_BITS) - 1)
#define WIDE_SIZE 98
#define SIZE 66

/* The rest of an element between calls: every limb is below 2^58 + 2^12, so that a
 * product's columns (9 * 2 * 2^117) and their carries fit into 128 bits. */
typedef unsigned __int128 wide;

/* Limbs below 2^62 become limbs of the invariant. */
static void
carry(struct speke_element *a)
{
    uint64_t over = 0;
    for (size_t i = 0; i < LIMBS; i++) {
        a->limb[i] += over;
        over = a->limb[i] >> LIMB_BITS;
        a->limb[i] &= LIMB_MASK;
    }
    a->limb[0] += 2 * over;
}

/* The same for the columns of a product. */
static void
carry_wide(struct speke_element *ret, const wide column[LIMBS])
{
    wide over = 0;
    for (size_t i = 0; i < LIMBS; i++) {
        over += column[i];
        ret->limb[i] = (uint64_t)over & LIMB_MASK;
        over >>= LIMB_BITS;
    }
    over = 2 * over + ret->limb[0];
    ret->limb[0] = (uint64_t)over & LIMB_MASK;
    over = (over >> LIMB_BITS) + ret->limb[1];
    ret->limb[1] = (uint64_t)over & LIMB_MASK;
    ret->limb[2] += (uint64_t)(over >> LIMB_BITS);
}

static void
p521_add(struct speke_element *ret, const struct speke_element *a,
         const struct speke_element *b)
{
    for (size_t i = 0; i < LIMBS; i++)
        ret->limb[i] = a->limb[i] + b->limb[i];
    carry(ret);
}

/* Adds 4p = 2^523 - 4 in limbs that exceed every limb of b. */
static void
p521_subtract(struct speke_element *ret, const struct speke_element *a,
              const struct speke_element *b)
{
    for (size_t i = 0; i < LIMBS; i++) {
        uint64_t four_p = 4 * (i < LIMBS - 1 ? LIMB_MASK : TOP_MASK);
        ret->limb[i] = a->limb[i] + four_p - b->limb[i];
    }
    carry(ret);
}

#if defined __GNUC__ && !defined __clang__
#define UNROLL _Pragma("GCC unroll 9")
#else
#define UNROLL
#endif

/* Column k is the sum of a[i] * b[k - i], where an index below zero wraps around to the
 * limb nine higher and counts twice: `round` holds 2b before b. */
static void
p521_multiply(struct speke_element *ret, const struct speke_element *a,
              const struct speke_element *b)
{
    uint64_t round[2 * LIMBS];
    wide column[LIMBS];
    for (size_t i = 0; i < LIMBS; i++) {
        round[i] = 2 * b->limb[i];
        round[i + LIMBS] = b->limb[i];
    }
    UNROLL
    for (size_t k = 0; k < LIMBS; k++) {
        wide sum = 0;
        UNROLL
        for (size_t i = 0; i < LIMBS; i++)
            sum += (wide)a->limb[i] * round[LIMBS + k - i];
        column[k] = sum;
    }
    carry_wide(ret, column);
}

/* As multiply, each pair of limbs once: d is 2a, q is 4a. */
static void
p521_square(struct speke_element *ret, const struct speke_element *value)
{
    const uint64_t *a = value->limb;
    uint64_t d[LIMBS], q[LIMBS];
    for (size_t i = 0; i < LIMBS; i++) {
        d[i] = 2 * a[i];
        q[i] = 4 * a[i];
    }
    const wide column[LIMBS] = {
        (wide)a[0] * a[0] + (wide)q[1] * a[8] + (wide)q[2] * a[7] + (wide)q[3] * a[6] +
            (wide)q[4] * a[5],
        (wide)d[0] * a[1] + (wide)q[2] * a[8] + (wide)q[3] * a[7] + (wide)q[4] * a[6] +
            (wide)d[5] * a[5],
        (wide)d[0] * a[2] + (wide)a[1] * a[1] + (wide)q[3] * a[8] + (wide)q[4] * a[7] +
            (wide)q[5] * a[6],
        (wide)d[0] * a[3] + (wide)d[1] * a[2] + (wide)q[4] * a[8] + (wide)q[5] * a[7] +
            (wide)d[6] * a[6],
        (wide)d[0] * a[4] + (wide)d[1] * a[3] + (wide)a[2] * a[2] + (wide)q[5] * a[8] +
            (wide)q[6] * a[7],
        (wide)d[0] * a[5] + (wide)d[1] * a[4] + (wide)d[2] * a[3] + (wide)q[6] * a[8] +
            (wide)d[7] * a[7],
        (wide)d[0] * a[6] + (wide)d[1] * a[5] + (wide)d[2] * a[4] + (wide)a[3] * a[3] +
            (wide)q[7] * a[8],
        (wide)d[0] * a[7] + (wide)d[1] * a[6] + (wide)d[2] * a[5] + (wide)d[3] * a[4] +
            (wide)d[8] * a[8],
        (wide)d[0] * a[8] + (wide)d[1] * a[7] + (wide)d[2] * a[6] + (wide)d[3] * a[5] +
            (wide)a[4] * a[4],
    };
    carry_wide(ret, column);
}

/* a^(2^count) * b */
static void
square_times(struct speke_element *ret, const struct speke_element *a, size_t count,
             const struct speke_element *b)
{
    struct speke_element power = *a;
    for (size_t i = 0; i < count; i++)
        p521_square(&power, &power);
    p521_multiply(ret, &power, b);
}

/* The exponent is 2^519 - 1: ones in rows of 1, 2, 3, 4, 7, 8, 16, ... 512, 519. */
static void
p521_power(struct speke_element *ret, const struct speke_element *a)
{
    struct speke_element row, three, seven;
    square_times(&row, a, 1, a);
    square_times(&three, &row, 1, a);
    square_times(&row, &row, 2, &row);
    square_times(&seven, &row, 3, &three);
    for (size_t ones = 4; ones < 512; ones *= 2)
        square_times(&row, &row, ones, &row);
    square_times(ret, &row, 7, &seven);
    OPENSSL_cleanse(&row, sizeof row);
    OPENSSL_cleanse(&three, sizeof three);
    OPENSSL_cleanse(&seven, sizeof seven);
}

/* Carries and folds what reaches 2^521; the places of the fold are 2^521 = 1 (mod p).
 */
static void
fold(struct speke_element *a)
{
    uint64_t over = 0;
    for (size_t i = 0; i < LIMBS - 1; i++) {
        a->limb[i] += over;
        over = a->limb[i] >> LIMB_BITS;
        a->limb[i] &= LIMB_MASK;
    }
    a->limb[LIMBS - 1] += over;
    a->limb[0] += a->limb[LIMBS - 1] >> TOP_BITS;
    a->limb[LIMBS - 1] &= TOP_MASK;
}

/* The first fold leaves less than p plus a few, the second at most p with every limb in
 * its place: a carry out of the second leaves so little that it goes no further. */
static void
canonical(struct speke_element *ret, const struct speke_element *a)
{
    *ret = *a;
    fold(ret);
    fold(ret);
    uint64_t over = 1; /* of value + 1: only p itself reaches 2^521 */
    for (size_t i = 0; i < LIMBS - 1; i++)
        over = (ret->limb[i] + over) >> LIMB_BITS;
    over = (ret->limb[LIMBS - 1] + over) >> TOP_BITS;
    speke_mask is_p = speke_mask_of(over);
    for (size_t i = 0; i < LIMBS; i++)
        ret->limb[i] &= ~is_p;
}

/* Limbs of a big-endian integer: octet k from the end has the bits from 8k on. */
static void
p521_reduce(struct speke_element *ret, const uint8_t *octets)
{
    uint64_t limb[2 * LIMBS] = { 0 };
    for (size_t k = 0; k < WIDE_SIZE; k++) {
        size_t place = 8 * k / LIMB_BITS, shift = 8 * k % LIMB_BITS;
        uint64_t octet = octets[WIDE_SIZE - 1 - k];
        limb[place] |= octet << shift & LIMB_MASK;
        if (shift > LIMB_BITS - 8)
            limb[place + 1] |= octet >> (LIMB_BITS - shift);
    }
    for (size_t i = 0; i < LIMBS; i++)
        ret->limb[i] = limb[i] + 2 * limb[i + LIMBS];
    carry(ret);
    OPENSSL_cleanse(limb, sizeof limb);
}

static void
p521_encode(uint8_t *ret_octets, const struct speke_element *a)
{
    struct speke_element value;
    canonical(&value, a);
    for (size_t k = 0; k < SIZE; k++) {
        size_t place = 8 * k / LIMB_BITS, shift = 8 * k % LIMB_BITS;
        uint64_t octet = value.limb[place] >> shift;
        if (shift > LIMB_BITS - 8 && place + 1 < LIMBS)
            octet |= value.limb[place + 1] << (LIMB_BITS - shift);
        ret_octets[SIZE - 1 - k] = (uint8_t)octet;
    }
    OPENSSL_cleanse(&value, sizeof value);
}

/* b of FIPS 186-4 D.1.2.5; Z = -4 (RFC 9380 section 8.4), and 2 * 2 = -Z. */
const struct speke_field speke_field_p521 = {
    .size = SIZE,
    .wide_size = WIDE_SIZE,
    .reduce = p521_reduce,
    .encode = p521_encode,
    .add = p521_add,
    .subtract = p521_subtract,
    .multiply = p521_multiply,
    .square = p521_square,
    .power = p521_power,
    .one = { { 1 } },
    .b = { { 0x3451fd46b503f00, 0x0f7e20f4b0d3c7b, 0x00bd3bb1bf07357, 0x147b1fa4dec594b,
             0x18ef109e1561939, 0x26cc57cee2d2264, 0x0540eea2da725b9, 0x2687e4a688682da,
             0x051953eb9618e1c } },
    .z = { { LIMB_MASK - 4, LIMB_MASK, LIMB_MASK, LIMB_MASK, LIMB_MASK, LIMB_MASK,
             LIMB_MASK, LIMB_MASK, TOP_MASK } },
    .root = { { 2 } },
};
