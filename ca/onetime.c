/* Which kind of one-time secret an id names. */
#include "onetime.h"
#include "challenge.h"
#include "login.h"

enum ca_status
onetime_claim(struct store_tx *tx, const char *id, const char *serial)
{
    return login_is_id(id) ? login_claim(tx, id, serial)
                           : challenge_claim(tx, id, serial);
}

enum ca_status
onetime_finish(struct store_tx *tx, const char *id, const char *serial)
{
    return login_is_id(id) ? login_finish(tx, id, serial)
                           : challenge_finish(tx, id, serial);
}

enum ca_status
onetime_release(struct store_tx *tx, const char *id, const char *serial)
{
    return login_is_id(id) ? login_release(tx, id, serial)
                           : challenge_release(tx, id, serial);
}

enum ca_status
onetime_hand_over(struct store_tx *tx, const char *id, const char *from, const char *to)
{
    return login_is_id(id) ? login_hand_over(tx, id, from, to)
                           : challenge_hand_over(tx, id, from, to);
}
