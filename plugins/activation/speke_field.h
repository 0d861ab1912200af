/* Constant-time arithmetic in the prime fields of P-521 and P-256: no branch and no
 * address depends on a value. A field is a const table, so that the map to the curve is
 * written once. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SPEKE_LIMBS_MAX 9
#define SPEKE_ELEMENT_MAX 66 /* octets, P-521 */

/* A field element in the field's own representation; how its limbs are used, and how
 * far they are reduced, is the field's business. */
struct speke_element {
    uint64_t limb[SPEKE_LIMBS_MAX];
};

/* All ones or all zeros, for selection without a branch. */
typedef uint64_t speke_mask;

/* Outputs may be inputs. */
struct speke_field {
    size_t size;      /* octets of an encoded element */
    size_t wide_size; /* octets that `reduce` takes: L of RFC 9380 section 5 */
    void (*reduce)(struct speke_element *ret, const uint8_t *octets); /* big-endian */
    /* Big-endian, in [0, p-1]; the octets may be `ret` of nothing else. */
    void (*encode)(uint8_t *ret_octets, const struct speke_element *a);
    void (*add)(struct speke_element *ret, const struct speke_element *a,
                const struct speke_element *b);
    void (*subtract)(struct speke_element *ret, const struct speke_element *a,
                     const struct speke_element *b);
    void (*multiply)(struct speke_element *ret, const struct speke_element *a,
                     const struct speke_element *b);
    void (*square)(struct speke_element *ret, const struct speke_element *a);
    /* a^((p-3)/4); both primes are 3 mod 4. */
    void (*power)(struct speke_element *ret, const struct speke_element *a);
    struct speke_element one;
    struct speke_element b;    /* of the curve y^2 = x^3 - 3x + b */
    struct speke_element z;    /* Z of RFC 9380 section 8 */
    struct speke_element root; /* a square root of -Z */
};

extern const struct speke_field speke_field_p521, speke_field_p256;

/* Is a zero? Is it odd as an integer in [0, p-1] (sgn0 of RFC 9380 section 4.1)? */
speke_mask speke_is_zero(const struct speke_field *field,
                         const struct speke_element *a);
speke_mask speke_is_odd(const struct speke_field *field, const struct speke_element *a);
/* `ret` becomes a where the mask is set, else it stays. */
void speke_select(struct speke_element *ret, const struct speke_element *a,
                  speke_mask mask);

/* Overwrites the stack below the caller, where its calls had their frames: libcrypto
 * leaves octets of secrets in its own. */
void speke_stack_wipe(void);

/* Hides from the compiler that a value is a mask, so that it makes no branch of it. */
static inline uint64_t
speke_opaque(uint64_t value)
{
    __asm__("" : "+r"(value));
    return value;
}

/* All ones when the low bit is set. */
static inline speke_mask
speke_mask_of(uint64_t bit)
{
    return speke_opaque(0 - (bit & 1));
}
