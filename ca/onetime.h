/* One-time secrets as intents and pending requests name them: a challenge by its id, a
 * login token by "login:" and its id, an activation password by "activation:" and its
 * id, of which a claim takes one device; also through a login token that such a
 * password begot. The same four steps for each (challenge.h). */
#pragma once

#include "record.h"

#define ONETIME_ACTIVATION "activation:"
#define ONETIME_ACTIVATION_SIZE 28 /* with 16 digits and NUL */

/* The activation password that an id names, or NULL. */
const char *onetime_activation(const char *id);

enum ca_status onetime_claim(struct store_tx *tx, const char *id, const char *serial,
                             const uint8_t spki[32], const uint8_t request[32]);
enum ca_status onetime_finish(struct store_tx *tx, const char *id, const char *serial);
enum ca_status onetime_release(struct store_tx *tx, const char *id, const char *serial);
enum ca_status onetime_hand_over(struct store_tx *tx, const char *id, const char *from,
                                 const char *to);
