/* The ways from a SCEP profile to a certificate (ECSPEKE-ACT-1 section 13.5). */
#pragma once

#include "activate_client.h"
#include "activate_wanted.h"

/* Each makes a key, asks for its certificate, and checks what comes (wanted_check);
 * key_issued_clear it. `ret_uri` is the key's in a token, or NULL; free() it. */
struct mode_outcome {
    struct key_issued issued;
    char *uri;
};
void mode_outcome_clear(struct mode_outcome *outcome);

/* Stock SCEP with the challenge of the profile. */
enum ca_status mode_proxy(struct activate *activate, const struct wanted *wanted,
                          struct mode_outcome *ret_outcome);
/* The server adds the challenge, the device signs what it cannot read. */
enum ca_status mode_assisted(struct activate *activate, const struct wanted *wanted,
                             struct mode_outcome *ret_outcome);
/* A request and an answer of JSON. */
enum ca_status mode_simple(struct activate *activate, const struct wanted *wanted,
                           struct mode_outcome *ret_outcome);
