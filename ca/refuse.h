/* One audit trail for refusals: an entry each after a verified credential, counted
 * before it. */
#pragma once

#include "exchange.h"

struct refusal_place {
    const char *protocol, *endpoint; /* endpoint without its kind: "default" */
    bool verified;                   /* a credential held: list, do not count */
    const char *actor;               /* NULL: exchange_actor */
};

/* Records a refusal and gives `status` back with the thread's message unharmed. A
 * status that is none (ok, pending, unavailable, internal) is given back as it is. */
enum ca_status refuse(struct exchange *exchange, enum ca_status status,
                      const struct refusal_place *place);

/* The same for a reason that a plugin names, unless the core has recorded one of this
 * request already. */
void refuse_reason(struct exchange *exchange, const char *reason,
                   const struct refusal_place *place);
