/* The core as one object: what the daemon opens at start and every request uses. */
#pragma once

#include "config.h"
#include "issuer.h"
#include "organisation.h"
#include "store.h"
#include "token.h"
#include <pthread.h>
#include <stdatomic.h>

struct service {
    struct config config;
    struct store *store;
    struct token_set *tokens;
    char run[37]; /* uuid of this process's life: who signs an intent */
    pthread_rwlock_t lock; /* over the two that reload swaps */
    struct issuers *issuers;
    struct organisation organisation;
    atomic_bool draining; /* new requests get 503 */
    struct metrics *metrics;
};

/* Opens log, tokens, store and issuers by configuration. The message names what failed. */
enum ca_status service_open(const char *config_path, struct service **ret_service);
void service_close(struct service *service);

/* Reads issuers and organisation anew (after the API changed them). */
enum ca_status service_reload(struct service *service);
struct issuers *service_issuers(struct service *service); /* issuers_release it */
/* Copies "http://host:port" links: "<plain_url>/crl/<issuer>.crl"; free() it. */
char *service_url(struct service *service, const char *directory, const char *name,
                  const char *suffix);

/* One reason why this instance is not ready. */
struct readiness {
    bool ready;
    json_t *reasons; /* array of {"check", "ok", "detail"}; json_decref it */
};
void service_readiness(struct service *service, struct readiness *ret_readiness);
