/* A double of the calls in plugin.h for a plugin's codec tests: one endpoint with an EC
 * CA and RA keys in software, answers by script, and a record of what was asked. */
#pragma once

#include "plugin_activation.h"

#define FAKE_RA_MAX 4
#define FAKE_PROFILES_MAX 4
#define FAKE_KEYS_MAX 8 /* public keys of one request */

struct ca_key {
    X509 *certificate;
    EVP_PKEY *pkey;
};

struct fake_core {
    struct ca_request request; /* first member: found from it */
    json_t *settings;          /* of profile scep/default */
    EVP_PKEY *issuer_key;
    X509 *issuer, *root;
    X509 *chain[2];
    struct ca_key ra[FAKE_RA_MAX];
    size_t ra_count;
    X509 *next; /* standby issuer, or NULL */
    X509 *next_chain[1];
    struct ca_key next_ra;
    struct ca_bytes crl;

    struct ca_organisation organisation;
    struct ca_profile profiles[FAKE_PROFILES_MAX]; /* of whoever authenticated */
    size_t profile_count;

    /* Script */
    const char *user, *password, *login; /* the right ones, and the login token */
    const char *provider;                /* name of the OpenID provider, or NULL */
    enum ca_status provider_status;      /* what comes of it */
    char provider_context[CA_PROVIDER_CONTEXT_MAX]; /* what a browser was sent with */
    const char *challenge;                          /* the right one */
    int64_t now;                                    /* 0: real time */
    const char *if_none_match;                      /* of the request; NULL: absent */
    enum ca_status token, store;                    /* CA_UNAVAILABLE: away */
    enum ca_status path;                            /* of ca_scep_path */
    const char *upstream;  /* what another's CA says, or NULL: ours */
    enum ca_status enroll; /* CA_OK issues */
    enum ca_status poll;   /* CA_OK only with `issued` */
    int poll_late;         /* so many polls come before that: CA_NOT_FOUND */
    X509 *issued;          /* given by poll and lookup; else CA_NOT_FOUND */

    /* Record */
    int polls, authenticates, enrolls, lookups, decrypts, refusals;
    enum ca_credential_kind kind;
    char message[16], endpoint[64], secret[256], reason[32], serial[48];
    size_t secret_size;
    bool refused_verified, poll_had_request;
    char path_token[64];
    int forwards;
    size_t forwarded;  /* octets */
    int logins;        /* login tokens issued */
    X509 *certificate; /* what enroll issued */
    struct ca_bytes pkcs10;

    /* Answer */
    int http_status;
    char content_type[64], retry_after[16], cache_control[32], etag[64];
    char security_policy[512];
    uint8_t *body;
    size_t size;

    struct fake_memory *memory;
    json_t *json; /* of one request */
    EVP_PKEY *keys[FAKE_KEYS_MAX];
    size_t key_count;
};

/* Makes keys and certificates: RSA-2048 RA (current), EC P-256 CA. */
void fake_core_open(struct fake_core *core);
/* One more RA key, a previous one. */
void fake_core_add_ra(struct fake_core *core, const char *cn, uint32_t usage);
void fake_core_add_next(struct fake_core *core);
/* A new request; forgets the answer and the record. */
void fake_core_request(struct fake_core *core, const char *method, const char *rest,
                       const char *query, const void *body, size_t size);
/* Frees what the last request left behind. */
void fake_core_forget(struct fake_core *core);
/* The request gets this value for its own. */
void fake_core_keep_json(struct ca_request *req, json_t *json);
/* A certificate of this CA. X509_free it. */
X509 *fake_core_certify(struct fake_core *core, EVP_PKEY *key, const char *cn);
void fake_core_close(struct fake_core *core);
