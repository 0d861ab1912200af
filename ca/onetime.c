/* Which kind of one-time secret an id names. */
#include "onetime.h"
#include "activation.h"
#include "challenge.h"
#include "login.h"
#include "offer.h"
#include <string.h>

const char *
onetime_activation(const char *id)
{
    size_t size = strlen(ONETIME_ACTIVATION);
    return strncmp(id, ONETIME_ACTIVATION, size) == 0 ? id + size : NULL;
}

/* The activation password under a login token takes the token's step. */
static enum ca_status
with_under(struct store_tx *tx, enum ca_status status, const char *under,
           enum ca_status (*step)(struct store_tx *tx, const char *activation))
{
    const char *activation = onetime_activation(under);
    return status == CA_OK && activation ? step(tx, activation) : status;
}

/* It may be gone with its user meanwhile. */
static enum ca_status
release(struct store_tx *tx, const char *activation)
{
    enum ca_status status = activation_release(tx, activation);
    return status == CA_CONFLICT ? CA_OK : status;
}

enum ca_status
onetime_claim(struct store_tx *tx, const char *id, const char *serial,
              const uint8_t spki[32], const uint8_t request[32])
{
    char under[LOGIN_UNDER_SIZE];
    if (onetime_activation(id))
        return activation_take(tx, onetime_activation(id));
    if (offer_is_id(id))
        return offer_claim(tx, id, serial, spki, request);
    if (!login_is_id(id))
        return challenge_claim(tx, id, serial);
    return with_under(tx, login_claim(tx, id, serial, under), under, activation_take);
}

enum ca_status
onetime_finish(struct store_tx *tx, const char *id, const char *serial)
{
    char under[LOGIN_UNDER_SIZE];
    if (onetime_activation(id))
        return activation_finish(tx, onetime_activation(id));
    if (offer_is_id(id))
        return offer_finish(tx, id, serial);
    if (!login_is_id(id))
        return challenge_finish(tx, id, serial);
    return with_under(tx, login_finish(tx, id, serial, under), under,
                      activation_finish);
}

enum ca_status
onetime_release(struct store_tx *tx, const char *id, const char *serial)
{
    char under[LOGIN_UNDER_SIZE];
    if (onetime_activation(id))
        return release(tx, onetime_activation(id));
    if (offer_is_id(id))
        return offer_release(tx, id, serial);
    if (!login_is_id(id))
        return challenge_release(tx, id, serial);
    return with_under(tx, login_release(tx, id, serial, under), under, release);
}

/* An activation counts what was taken and does not say for which serial. */
enum ca_status
onetime_hand_over(struct store_tx *tx, const char *id, const char *from, const char *to)
{
    if (onetime_activation(id))
        return CA_OK;
    if (offer_is_id(id))
        return offer_hand_over(tx, id, from, to);
    return login_is_id(id) ? login_hand_over(tx, id, from, to)
                           : challenge_hand_over(tx, id, from, to);
}
