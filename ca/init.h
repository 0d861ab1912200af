/* Inside `sealwright init`: the steps from an empty folder to a data folder. */
#pragma once

#include "ceremony.h"
#include "service.h"

#define INIT_TOKEN_LABEL "sealwright"
#define INIT_SOFTHSM_MODULE "/usr/lib/softhsm/libsofthsm2.so"

/* How activation is set up: where its secrets are sealed, if the token can do it. */
enum init_activation {
    INIT_ACTIVATION_TOKEN,
    INIT_ACTIVATION_MEMORY,
    INIT_ACTIVATION_NONE
};

/* What the command line chose. */
struct init_options {
    const char *data;       /* the folder */
    const char *bind;       /* address of both listeners */
    long http, https;       /* ports */
    const char *module;     /* PKCS#11 library; NULL: SoftHSM with a new token */
    const char *token;      /* label of the token in that module */
    const char *pin_source; /* "file:PATH" */
    const char *name;       /* of the organisation */
    const char *domain;     /* its mail domain, or NULL */
    enum init_activation activation;
};

/* Will name and domain do for the certificates? CA_MALFORMED names the option. */
enum ca_status init_options_check(const struct init_options *options);

/* Makes a SoftHSM token in DATA/token: softhsm2.conf, pin, so-pin and tokens/. */
enum ca_status init_token_create(const struct init_options *options);

/* Keys, issuers, helper keys, organisation, profiles, administrator and CRLs, in the
 * opened service's token and store, and the files root.pem, chain.pem, admin.token,
 * tls.pem and tls.key in the data folder. */
enum ca_status init_data_create(const struct init_options *options,
                                struct service *service);

/* Sealing keys of activation in the token; where it lacks AES-GCM, a data key that it
 * wraps. CA_OK with INIT_ACTIVATION_NONE: it can do neither. */
enum ca_status init_data_seal(struct service *service,
                              enum init_activation *ret_activation);

/* A new key and certificate for the TLS listeners, into the configuration's files. */
enum ca_status init_tls_renew(struct service *service);

/* Writes a file whole or not at all, with this mode. */
enum ca_status init_file_write(const char *path, const void *octets, size_t size,
                               unsigned mode);
