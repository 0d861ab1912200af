/* A rehearsal of a ceremony's acts: what they would make is built with keys that live
 * for the rehearsal alone, so that every refusal comes before the day. */
#pragma once

#include "ceremony_script.h"

#define REHEARSAL_MAX 64

struct rehearsal {
    const struct ceremony *ceremony;
    struct {
        char *name;
        char *chain; /* PEM, with rehearsal keys where the act is one of the script */
    } issuers[REHEARSAL_MAX];
    size_t count;
};

/* Was an issuer of this name made, or asked for, by an act before? */
bool rehearsal_knows(const struct rehearsal *rehearsal, const char *name);
/* Everything that act would be refused for, as far as it can be known; what it would
 * certify goes into `record`. */
enum ca_status rehearsal_act(struct rehearsal *rehearsal,
                             const struct ceremony_act *act, json_t *record);
void rehearsal_clear(struct rehearsal *rehearsal);
