/* Sealed boxes (section 5.3): AES-256-CBC, then HMAC-SHA-256 over all of it. */
#pragma once

#include "schedule.h"

#define BOX_IV_SIZE 16
#define BOX_BLOCK_SIZE 16
#define BOX_TAG_SIZE 32
#define BOX_SIZE_MIN (BOX_IV_SIZE + BOX_BLOCK_SIZE + BOX_TAG_SIZE)
#define BOX_PLAIN_MAX (64 << 10)

/* Octets of the box of so many octets. */
size_t box_size(size_t plain_size);

/* Writes box_size(plain.size) octets with a fresh IV. `aad` is tc for the CSR, the
 * request box's own tag for the answer. A direction's keys seal one message only.
 * CA_LIMIT, CA_INTERNAL. */
enum ca_status box_seal(const struct schedule *schedule,
                        enum schedule_direction direction,
                        const uint8_t aad[BOX_TAG_SIZE], struct ca_bytes plain,
                        uint8_t *ret_box);
/* The same with an IV of the caller's: what the test vectors need. */
enum ca_status box_seal_with(const struct schedule *schedule,
                             enum schedule_direction direction,
                             const uint8_t aad[BOX_TAG_SIZE], struct ca_bytes plain,
                             const uint8_t iv[BOX_IV_SIZE], uint8_t *ret_box);

/* Opens into `ret_plain`, which has room for box.size octets and holds the plaintext
 * only after CA_OK. CA_UNAUTHENTICATED for whatever is wrong (`auth_failed`). */
enum ca_status box_open(const struct schedule *schedule,
                        enum schedule_direction direction,
                        const uint8_t aad[BOX_TAG_SIZE], struct ca_bytes box,
                        uint8_t *ret_plain, size_t *ret_size);

/* The tag of a box, which binds the answer to it; NULL when it is too short. */
const uint8_t *box_tag(struct ca_bytes box);
