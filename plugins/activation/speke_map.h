/* From octets to a point of the curve, as RFC 9380 does it, without a branch on them.
 */
#pragma once

#include "speke_field.h"

/* map_to_curve_simple_swu (RFC 9380 sections 6.6.2 and F.2) of the integer in
 * `field->wide_size` octets, mod p: x and y of `field->size` octets each. The cofactor
 * is 1, so the point is the generator. */
void speke_map(const struct speke_field *field, const uint8_t *octets, uint8_t *ret_x,
               uint8_t *ret_y);
