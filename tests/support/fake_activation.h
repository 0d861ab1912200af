/* A double of the activation calls in plugin.h beside fake_core: one user, one session
 * at a time, answers by script, and a record of what was asked. */
#pragma once

#include "fake_core.h"
#include "plugin_activation.h"

#define FAKE_OCTETS_MAX 16384

struct fake_octets {
    uint8_t data[FAKE_OCTETS_MAX];
    size_t size;
};

struct fake_activation {
    /* Script */
    const char *server;
    uint8_t salt[16], prs[32];
    int ln, r, p;
    int64_t retry_after;
    enum ca_status begin, keep, attempt, proved, lookup, device, policy, scep_status;
    const char *scep_error;           /* the word of a failure, or NULL */
    struct ca_activation_grant grant; /* of `proved`, also its error and detail */
    const char *policy_text, *policy_tag;

    /* The session */
    uint8_t sn[16], cn[16], digest[32];
    char user[256], ref[64], suite[33];
    struct fake_octets scalar, share, server_data, client_data;
    bool is_kept, is_spent;
    int answered; /* HTTP status kept; 0: none */
    struct fake_octets answer;

    /* Record */
    int begins, attempts, proofs, refusals, looks;
    char refused[32], looked[256], known[64];
    int64_t waited;
    struct fake_octets pkcs10;
    char scep[128];              /* what was asked over SCEP: "enroll wifi" */
    json_t *hardware, *software; /* what the device said */
};
extern struct fake_activation fake_activation;

/* Forgets everything and takes the defaults: live session of the server
 * "uem1.example.com", all calls CA_OK. */
void fake_activation_open(void);
void fake_activation_close(void);
