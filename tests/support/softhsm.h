/* A throw-away SoftHSM token of one test: folder, configuration, token, PIN file. */
#pragma once

#include "token.h"

#define SOFTHSM_MODULE "/usr/lib/softhsm/libsofthsm2.so"
#define SOFTHSM_PIN "1234"

struct softhsm {
    char folder[64];     /* removed by softhsm_remove */
    char pin_file[80];   /* 0400, holds SOFTHSM_PIN */
    char pin_source[88]; /* "file:" and pin_file */
    char label[33];
    char uri[64]; /* pkcs11:token=LABEL */
    char serial[17];
    struct token_config config; /* name "hsm", waives "software" */
};

/* Makes the folder, softhsm2.conf, a token with `label`, the PIN file, and sets
 * SOFTHSM2_CONF for this process; the test fails when it cannot. Before any module is
 * loaded. */
void softhsm_make(struct softhsm *softhsm, const char *label);
/* One more token in the same folder; its serial into `ret_serial` unless NULL. */
void softhsm_add(struct softhsm *softhsm, const char *label, char ret_serial[17]);
void softhsm_remove(struct softhsm *softhsm);

/* Opens the token alone as a set, and generates a key and finds it: the test fails when
 * they cannot. `algorithm` and `uses` as in keygen.h. */
struct token_set *softhsm_open(struct softhsm *softhsm);
struct token_key *softhsm_key(struct token_set *set, const char *label,
                              const char *algorithm, unsigned uses);
