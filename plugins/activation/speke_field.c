/* What the fields share: questions about an element, selection by mask, wiping. */
#include "speke_field.h"
#include <openssl/crypto.h>

/* More than the deepest call into libcrypto uses. */
#define STACK_USED_MAX (16 << 10)

speke_mask
speke_is_zero(const struct speke_field *field, const struct speke_element *a)
{
    uint8_t octets[SPEKE_ELEMENT_MAX];
    uint64_t any = 0;
    field->encode(octets, a);
    for (size_t i = 0; i < field->size; i++)
        any |= octets[i];
    OPENSSL_cleanse(octets, sizeof octets);
    return speke_mask_of((any - 1) >> 63);
}

speke_mask
speke_is_odd(const struct speke_field *field, const struct speke_element *a)
{
    uint8_t octets[SPEKE_ELEMENT_MAX];
    field->encode(octets, a);
    speke_mask is_odd = speke_mask_of(octets[field->size - 1]);
    OPENSSL_cleanse(octets, sizeof octets);
    return is_odd;
}

void
speke_select(struct speke_element *ret, const struct speke_element *a, speke_mask mask)
{
    for (size_t i = 0; i < SPEKE_LIMBS_MAX; i++)
        ret->limb[i] ^= mask & (ret->limb[i] ^ a->limb[i]);
}

void __attribute__((noinline)) speke_stack_wipe(void)
{
    /* Without the compiler's own zeros, which would write it all once more. */
    uint8_t room[STACK_USED_MAX] __attribute__((uninitialized));
    OPENSSL_cleanse(room, sizeof room);
}
