/* The core as one object: what the daemon opens at start and every request uses. */
#pragma once

#include "config.h"
#include "issuer.h"
#include "organisation.h"
#include "plugin.h"
#include "store.h"
#include "token.h"
#include "vault.h"
#include <pthread.h>
#include <stdatomic.h>

struct service {
    struct config config;
    struct store *store;
    struct token_set *tokens;
    char run[37];          /* uuid of this process's life: who signs an intent */
    pthread_rwlock_t lock; /* over the two that reload swaps */
    struct issuers *issuers;
    struct organisation organisation;
    atomic_bool draining; /* new requests get 503 */
    struct metrics *metrics;
    struct profile_cache *profiles;
    struct refusals *refusals;  /* counted, not yet written */
    struct oidc *oidc;          /* NULL: no OpenID provider */
    struct login_guard *logins; /* throttle and memory of passwords */
    _Atomic(struct vault *)
        vault; /* NULL: no sealing key, or its token is not there yet */
    struct activate_guard *activations; /* throttle of hellos */
    struct flights *flights; /* serials that a thread of this process is signing */
    atomic_uint_fast64_t tokens_seen; /* bit i: token i was up at the last reload */
    struct {
        pthread_mutex_t running; /* one thread asks the store, the others read */
        pthread_mutex_t lock;    /* over the rest */
        int64_t asked, answered; /* clock_ticks; 0: never */
        bool ok;
        char detail[160];
    } probe;            /* readiness's last look at the store */
    atomic_int waiting;   /* threads in service_wait_begin .. service_wait_end */
    atomic_int upstreams; /* of them, in service_upstream_begin .. _end */
    atomic_int held;    /* of them, long polls of a policy */
    struct {
        pthread_mutex_t lock;
        pthread_cond_t cond; /* on the monotonic clock */
        bool crl, stop;      /* a CRL is stale; no more work */
    } wake;                  /* what the periodic jobs wait for */
};

/* Opens log, tokens, store and issuers by configuration. The message names what
 * failed. */
enum ca_status service_open(const char *config_path, struct service **ret_service);
void service_close(struct service *service);

/* The tokens of a configuration as one set: all, where some may be missing or latched,
 * or the one named `only`, which must be there (CA_NOT_FOUND when there is none of that
 * name). What token_set_open says else. */
enum ca_status service_open_tokens(const struct config *config, const char *only,
                                   struct token_set **ret_tokens);
/* One of them as pkcs11/ takes it, borrowing from `from`; service_token_clear it. */
enum ca_status service_token_config(const struct config *config,
                                    const struct config_token *from,
                                    struct token_config *ret_token);
void service_token_clear(struct token_config *token);
/* Where a refused PIN of a token is remembered, DATA/token-NAME.latched; free() it. */
char *service_latch_path(const struct config *config, const char *token);

/* Reads issuers and organisation anew (after the API changed them). */
enum ca_status service_reload(struct service *service);
/* Did a token come up whose keys the last reload could not find? */
bool service_wants_reload(struct service *service);
/* Opens the sealing keys, or takes up what was made meanwhile. CA_NOT_FOUND: none were
 * made; else as vault_open. A reload does it, too, and only logs what goes wrong. */
enum ca_status service_open_vault(struct service *service);
/* Does the configuration name this plugin? */
bool service_has_plugin(const struct service *service, const char *name);
struct issuers *service_issuers(struct service *service); /* issuers_release it */
/* Links under the organisation's plain_url: "<plain_url>/crl/<issuer>.crl"; free() it.
 * NULL without a plain_url or memory. */
char *service_url(struct service *service, const char *directory, const char *name,
                  const char *suffix);
/* The OID of a certificate profile as a template of Windows (ca_template_oid). */
void service_template(struct service *service, const char *profile,
                      char ret_oid[CA_TEMPLATE_OID_SIZE]);

/* A certificate was revoked: the jobs look at the CRLs now. */
void service_wake_jobs(struct service *service);

/* The cap on threads that wait for token or store (config limits.waiting), so that the
 * others still answer: CA_UNAVAILABLE at once when it is reached, else end it. */
enum ca_status service_wait_begin(struct service *service);
void service_wait_end(struct service *service);
/* Of these threads a quarter, one at least, may wait for CAs of somebody else, so that
 * an upstream that is silent keeps nobody else's enrolment waiting. Likewise. */
#define SERVICE_UPSTREAM_PART 4
enum ca_status service_upstream_begin(struct service *service);
void service_upstream_end(struct service *service);

/* One reason why this instance is not ready. */
struct readiness {
    bool ready;
    json_t *reasons; /* array of {"check", "ok", "detail"}; json_decref it */
};
void service_readiness(struct service *service, struct readiness *ret_readiness);
