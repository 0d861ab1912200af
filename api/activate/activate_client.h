/* `sealwright activate`: a complete client of ECSPEKE-ACT-1, written to be read by who
 * builds another. The steps of a device's life are activate_flow.c from top to bottom.
 */
#pragma once

#include "activate_http.h"
#include "activate_key.h"
#include "activate_link.h"
#include "command.h"

#define ACTIVATE_PATH_HELLO "/activation/v1/hello"

extern const struct command activate_command;

/* What the command line says. */
struct activate_options {
    const char *server, *user, *ref; /* or the link */
    const char *password_file;       /* NULL: the terminal; or in the link */
    const char *out;                 /* folder of what comes of it */
    const char *out_password_file;   /* of PKCS#12; NULL: the terminal */
    const char *ca_file;             /* NULL: the exchange alone proves the server */
    struct key_place place;
    int64_t wait; /* seconds to wait for another policy than the first; 0: none */
    const char *scep_mode; /* "simple", "assisted", "proxy"; NULL: the first offered */
    bool only_activate;
};

/* One activation under way. */
struct activate {
    const struct activate_options *options;
    struct activate_link link; /* who activates where */
    char *out_password;        /* NULL with a token */
    struct key_place place;
    struct activate_http *http;
    EVP_PKEY *key;
    struct key_issued issued;
    json_t *outcome; /* what is printed: device, workspace, ... */
    bool is_foreign; /* the working certificate is by a CA that the server is not */
};

/* All steps; what came of it is in `outcome`. The message names what failed. */
enum ca_status activate_run(struct activate *activate);
void activate_clear(struct activate *activate);

/* Enrols a working certificate by the device's SCEP profile: SCEP files in the folder,
 * members in the outcome, and from then on the device's identity. CA_NOT_FOUND: the
 * server has no profile for it. */
enum ca_status activate_scep(struct activate *activate);
bool activate_scep_mode_is_known(const char *mode);

/* Adds a text to the outcome. */
enum ca_status activate_tell(struct activate *activate, const char *name,
                             const char *text);
