/* Looking at a module without opening a token set: slots, tokens, mechanisms. No PIN is
 * used. For short-lived commands, never for the daemon. */
#pragma once

#include "token.h"

/* One mechanism that Sealwright may want, and whether the token has it for that. */
struct inspect_mechanism {
    const char *name;    /* "CKM_ECDSA" */
    const char *purpose; /* "sign", "decrypt", "generate" */
    const char *why;     /* what it is for, and what is lost without it */
    bool is_needed;      /* for what `sealwright init` makes; else for some set-ups */
    bool is_there;
};
#define INSPECT_MECHANISMS_MAX 16

struct inspect_slot {
    const char *module;
    unsigned long slot;
    bool has_token, is_initialized;
    bool has_pin, pin_is_low, pin_is_at_last_try, pin_is_locked;
    bool is_configured; /* the token_config's URI names it */
    bool is_software;   /* maker known to be a software token */
    char label[33], manufacturer[33], model[17], serial[17];
    char description[65];          /* the slot's own */
    unsigned long sessions_max;    /* 0: no limit, or not told */
    unsigned long mechanism_total; /* all that it lists */
    struct inspect_mechanism mechanisms[INSPECT_MECHANISMS_MAX];
    size_t mechanism_count;
};
typedef void (*inspect_visit)(const struct inspect_slot *slot, void *arg);

/* Loads the module of `config` (its environment set, its arguments handed over), visits
 * every slot, and finalises it again: call it while no token of this process is open.
 * CA_UNAVAILABLE for what is no module or does not initialise. */
enum ca_status inspect_module(const struct token_config *config, inspect_visit visit,
                              void *arg);
