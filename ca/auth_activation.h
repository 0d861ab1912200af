/* The activation password that a person types at a log-in where it serves: the newest
 * live one that its profile lets in there. Tries are those of the activation protocol,
 * and a name without one costs the same (SECURITY A3, ECSPEKE-ACT-1 section 7). */
#pragma once

#include "activate.h"
#include "onetime.h"

struct auth_activation {
    bool serves;                           /* at this log-in; else nothing is done */
    char login[STRETCH_USER_MAX + 1];      /* canonical, perhaps nobody's */
    char id[ACTIVATION_ID_SIZE];           /* "": none is live */
    char onetime[ONETIME_ACTIVATION_SIZE]; /* the same as records name it, or "" */
    int64_t failures;                      /* tries since it was last right */
    struct activation_verifier verifier;
};

/* What the store has for this user (NULL: nobody, who `typed` this). Before it `serves`
 * is set, and all else zero or of an earlier call. */
enum ca_status auth_activation_read(struct store_tx *tx, struct service *service,
                                    const char *user, const char *typed,
                                    struct auth_activation *activation);

/* Takes a try, then a stretching and an unsealing: within a turn of the login guard,
 * never inside a store closure. A right one has its tries back. CA_UNAVAILABLE,
 * CA_INTERNAL: it could not be told, and the try is given back. */
enum ca_status auth_activation_verify(struct exchange *exchange,
                                      const struct auth_activation *activation,
                                      const char *secret, bool *ret_is_right);
/* It is the right one, as the guard remembers: no wrong try counts any more. */
enum ca_status auth_activation_right(struct service *service,
                                     const struct auth_activation *activation);

/* CA_UNAUTHENTICATED unless a password may still activate a device: for a token that it
 * begot. */
enum ca_status auth_activation_check(struct store_tx *tx, const char *onetime);

void auth_activation_clear(struct auth_activation *activation);
