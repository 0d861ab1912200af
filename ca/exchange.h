/* One request from the host's side: what the plugin sees first, then what it cannot see
 * or forge: identity, answer and the memory that lives as long as the request. */
#pragma once

#include "admin.h"
#include "challenge.h"
#include "password.h"
#include "plugin.h"
#include "service.h"

enum identity_kind {
    IDENTITY_NONE,
    IDENTITY_CHALLENGE, /* `challenge` bound to `user` and perhaps `device` */
    IDENTITY_RENEWAL,   /* by certificate `serial` of `device` */
    IDENTITY_ADMIN,
    IDENTITY_DEVICE, /* `device` by its certificate: may ask, not enrol */
    IDENTITY_USER /* `user` by password or login token: may ask, and enrol where `grant`
                     has an endpoint */
};

struct identity {
    enum identity_kind kind;
    const char *protocol;
    char *endpoint; /* "scep/default" */
    char *certificate_profile;
    char *user, *device, *serial;
    char password[PASSWORD_MARK_SIZE]; /* of the one that proved the user, else "" */
    struct challenge challenge;
    struct admin admin;
    struct grant *grant; /* what it rests on (grant.h); kept by the exchange */
};
/* Forgets who asked. */
void identity_clear(struct identity *identity);

struct exchange_header {
    char *name, *value;
};

#define EXCHANGE_KEYS_MAX 4 /* public keys that a request decodes once */

struct exchange {
    struct ca_request request; /* first member: the plugin's view */
    struct service *service;
    struct issuers *issuers; /* held for the request, NULL until asked for */
    int64_t deadline;        /* clock_ticks */
    struct identity identity;
    bool metrics; /* the listener gives /metrics to everybody (config_listener.metrics)
                   */
    const struct endpoint *endpoint;  /* the last one asked for (endpoint.h); kept */
    const struct device_facts *facts; /* what the device said (device_facts.h); kept */
    struct activate_call *activation; /* its session (activate_call.h); kept */
    bool writes;        /* announced to the store: exchange_expect_write */
    bool refused;       /* a refusal of this request is in the audit */
    const char *plugin; /* for the log line */
    struct {
        struct ca_bytes spki;
        EVP_PKEY *key;
    } keys[EXCHANGE_KEYS_MAX]; /* decoded for this request; kept */
    size_t key_count;
    char *operation; /* what the plugin was asked, for the log line; or NULL */
    struct {
        int status; /* 0: not answered */
        char *content_type;
        uint8_t *body;
        size_t size;
        struct exchange_header headers[16];
        size_t header_count;
    } answer;
    struct exchange_memory *memory;
    /* The host's look-up of request headers. */
    const char *(*header)(const struct exchange *exchange, const char *name);
    void *host;
};

/* The exchange behind a plugin's request. */
struct exchange *exchange_of(struct ca_request *req);
/* Registers something to be released with the request. CA_INTERNAL: released at once.
 */
enum ca_status exchange_keep(struct exchange *exchange, void *pointer,
                             void (*release)(void *pointer));
/* The key of these octets where this request has had it decoded already, or NULL. */
EVP_PKEY *exchange_known_key(const struct exchange *exchange, struct ca_bytes spki);
/* The issuers as they are for the whole of this request. */
struct issuers *exchange_issuers(struct exchange *exchange);
/* "admin:alice", "user:bob", "device:...", else "peer:ADDR"; for audit rows. */
const char *exchange_actor(struct exchange *exchange);
void exchange_set_operation(struct exchange *exchange, const char *operation);
/* The request is likely to end in writes (store_expect), until the end or its clear. */
void exchange_expect_write(struct exchange *exchange);
void exchange_expect_end(struct exchange *exchange);
void exchange_clear(struct exchange *exchange);
