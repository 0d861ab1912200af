/* Which kind of one-time secret an id names. */
#include "onetime.h"
#include "activation.h"
#include "challenge.h"
#include "login.h"
#include "offer.h"
#include <string.h>

/* The activation password behind an id, or NULL. */
static const char *
activation_of(const char *id)
{
    size_t size = strlen(ONETIME_ACTIVATION);
    return strncmp(id, ONETIME_ACTIVATION, size) == 0 ? id + size : NULL;
}

enum ca_status
onetime_claim(struct store_tx *tx, const char *id, const char *serial,
              const uint8_t spki[32], const uint8_t request[32])
{
    if (activation_of(id))
        return activation_take(tx, activation_of(id));
    if (offer_is_id(id))
        return offer_claim(tx, id, serial, spki, request);
    return login_is_id(id) ? login_claim(tx, id, serial)
                           : challenge_claim(tx, id, serial);
}

enum ca_status
onetime_finish(struct store_tx *tx, const char *id, const char *serial)
{
    if (activation_of(id))
        return activation_finish(tx, activation_of(id));
    if (offer_is_id(id))
        return offer_finish(tx, id, serial);
    return login_is_id(id) ? login_finish(tx, id, serial)
                           : challenge_finish(tx, id, serial);
}

/* An activation password may be gone with its user meanwhile. */
enum ca_status
onetime_release(struct store_tx *tx, const char *id, const char *serial)
{
    if (activation_of(id)) {
        enum ca_status status = activation_release(tx, activation_of(id));
        return status == CA_CONFLICT ? CA_OK : status;
    }
    if (offer_is_id(id))
        return offer_release(tx, id, serial);
    return login_is_id(id) ? login_release(tx, id, serial)
                           : challenge_release(tx, id, serial);
}

enum ca_status
onetime_hand_over(struct store_tx *tx, const char *id, const char *from, const char *to)
{
    if (activation_of(id))
        return ca_fail(CA_INTERNAL, "an activation waits for no approval");
    if (offer_is_id(id))
        return offer_hand_over(tx, id, from, to);
    return login_is_id(id) ? login_hand_over(tx, id, from, to)
                           : challenge_hand_over(tx, id, from, to);
}
