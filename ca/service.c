/* The core as one object: opened in the order of its levels, closed the other way. */
#include "service.h"
#include "activate.h"
#include "audit.h"
#include "auto.h"
#include "clock.h"
#include "device.h"
#include "directory.h"
#include "flight.h"
#include "keycheck.h"
#include "log.h"
#include "login_guard.h"
#include "metrics.h"
#include "names.h"
#include "oidc.h"
#include "owned.h"
#include "profile_cache.h"
#include "refusal.h"
#include <errno.h>
#include <string.h>
#include <time.h>

static enum ca_status
open_log(const struct config *config)
{
    enum log_level level = LOG_LEVEL_INFO;
    if (config->log_level && !log_level_parse(config->log_level, &level))
        return ca_fail(CA_MALFORMED, "log_level: no such level '%s'",
                       config->log_level);
    if (!log_open(config->log_file, level))
        return ca_fail(CA_UNAVAILABLE, "log_file '%s': %s", config->log_file,
                       strerror(errno));
    return CA_OK;
}

static enum ca_status
organisation_read(struct store_tx *tx, void *arg)
{
    struct organisation *organisation = arg;
    organisation_clear(organisation);
    enum ca_status status = organisation_load(tx, organisation);
    return status == CA_NOT_FOUND ? CA_OK : status; /* before `init` named it */
}

/* Keys of issuers and helpers, which no device may bring (SECURITY R4). */
static enum ca_status
block_key(struct store_tx *tx, const X509 *certificate)
{
    uint8_t sha256[32];
    if (!certificate)
        return CA_OK;
    enum ca_status status = keycheck_digest(X509_get_X509_PUBKEY(certificate), sha256);
    if (status != CA_OK)
        return status;
    return device_block_key(tx, sha256, "ca_key");
}

static enum ca_status
block_keys(struct store_tx *tx, void *arg)
{
    const struct issuers *issuers = arg;
    enum ca_status status = CA_OK;
    for (size_t i = 0; status == CA_OK && i < issuers_count(issuers); i++) {
        const struct issuer *issuer = issuers_at(issuers, i);
        status = block_key(tx, issuer->certificate);
        for (int j = 0; status == CA_OK && j < sk_X509_num(issuer->chain); j++)
            status = block_key(tx, sk_X509_value(issuer->chain, j));
    }
    for (int role = 0; status == CA_OK && role < HELPER_ROLE_COUNT; role++) {
        const struct issuer_helper *helper;
        for (size_t i = 0; status == CA_OK &&
                           (helper = issuers_helper(issuers, role, NULL, i)) != NULL;
             i++)
            status = block_key(tx, helper->certificate);
    }
    return status;
}

static void
organisation_clear_auto(struct organisation *organisation)
{
    organisation_clear(organisation);
}

static uint64_t
tokens_up(struct service *service)
{
    uint64_t up = 0;
    size_t count = service->tokens ? token_set_count(service->tokens) : 0;
    for (size_t i = 0; i < count; i++) {
        struct token_health health;
        token_health(service->tokens, i, &health);
        up |= health.state == TOKEN_UP ? UINT64_C(1) << i : 0;
    }
    return up;
}

bool
service_wants_reload(struct service *service)
{
    return (tokens_up(service) & ~atomic_load(&service->tokens_seen)) != 0;
}

enum ca_status
service_reload(struct service *service)
{
    /* Before the keys are looked for: one that comes in between is looked for again. */
    uint64_t up = tokens_up(service);
    struct issuers *issuers = NULL;
    CA_AUTO(organisation_clear) struct organisation organisation = { 0 };
    enum ca_status status =
        store_read(service->store, organisation_read, &organisation);
    if (status != CA_OK)
        return status;
    status = issuers_load(service->store, service->tokens, &issuers);
    if (status != CA_OK)
        return status;
    status = store_write(service->store, block_keys, issuers);
    if (status != CA_OK) {
        issuers_release(issuers);
        return status;
    }
    atomic_store(&service->tokens_seen, up);
    pthread_rwlock_wrlock(&service->lock);
    struct issuers *old_issuers = service->issuers;
    struct organisation old_organisation = service->organisation;
    service->issuers = issuers;
    service->organisation = organisation;
    pthread_rwlock_unlock(&service->lock);
    organisation = old_organisation; /* cleared on the way out */
    if (old_issuers)
        issuers_release(old_issuers);
    status = service_open_vault(service);
    if (status != CA_OK && status != CA_NOT_FOUND)
        log_write(LOG_LEVEL_ERROR, NULL, "sealing keys are not in use: %s",
                  status_message());
    return CA_OK;
}

static enum ca_status
open_parts(struct service *service)
{
    service->metrics = metrics_new();
    service->profiles = profile_cache_new();
    service->refusals = refusals_new();
    service->flights = flights_new();
    service->logins = login_guard_new();
    service->activations = activate_guard_new();
    if (!service->metrics || !service->profiles || !service->refusals ||
        !service->flights || !service->logins || !service->activations)
        return ca_fail(CA_INTERNAL, "no memory for the service");
    enum ca_status status = random_uuid(service->run);
    if (status != CA_OK)
        return status;
    audit_set_instance(service->config.instance);
    profile_set_name_checks(&names_profile_checks);
    if (service->config.key_blocklist)
        status = keycheck_load_blocklist(service->config.key_blocklist);
    if (status != CA_OK)
        return status;
    status = oidc_new(&service->config.oidc, &service->oidc);
    if (status == CA_OK)
        status = directory_check(&service->config.directory);
    if (status != CA_OK)
        return status;
    status = service_open_tokens(&service->config, NULL, &service->tokens);
    if (status != CA_OK)
        return status;
    status = store_open(service->config.store, &service->store);
    return status == CA_OK ? service_reload(service) : status;
}

static void
open_locks(struct service *service)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&service->wake.cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_rwlock_init(&service->lock, NULL);
    pthread_mutex_init(&service->wake.lock, NULL);
    pthread_mutex_init(&service->probe.running, NULL);
    pthread_mutex_init(&service->probe.lock, NULL);
}

static void
close_locks(struct service *service)
{
    pthread_mutex_destroy(&service->probe.lock);
    pthread_mutex_destroy(&service->probe.running);
    pthread_mutex_destroy(&service->wake.lock);
    pthread_rwlock_destroy(&service->lock);
    pthread_cond_destroy(&service->wake.cond);
}

enum ca_status
service_open(const char *config_path, struct service **ret_service)
{
    struct service *service = calloc(1, sizeof *service);
    if (!service)
        return ca_fail(CA_INTERNAL, "no memory for the service");
    open_locks(service);
    enum ca_status status = config_load(config_path, &service->config);
    if (status == CA_OK)
        status = owned_check_path(service->config.data_directory);
    if (status == CA_OK)
        status = open_log(&service->config);
    if (status == CA_OK)
        status = open_parts(service);
    if (status != CA_OK) {
        service_close(service);
        return status;
    }
    *ret_service = service;
    return CA_OK;
}

void
service_close(struct service *service)
{
    if (!service)
        return;
    if (service->refusals && service->store &&
        refusals_flush(service->refusals, service->store) != CA_OK)
        log_write(LOG_LEVEL_ERROR, NULL, "refusals not written at stop: %s",
                  status_message());
    if (service->issuers)
        issuers_release(service->issuers);
    organisation_clear(&service->organisation);
    store_close(service->store);
    vault_free(atomic_load(&service->vault));
    if (service->tokens)
        token_set_free(service->tokens);
    flights_free(service->flights);
    login_guard_free(service->logins);
    oidc_free(service->oidc);
    activate_guard_free(service->activations);
    refusals_free(service->refusals);
    profile_cache_free(service->profiles);
    if (service->metrics)
        metrics_free(service->metrics);
    config_clear(&service->config);
    close_locks(service);
    free(service);
}

struct issuers *
service_issuers(struct service *service)
{
    pthread_rwlock_rdlock(&service->lock);
    struct issuers *issuers = issuers_hold(service->issuers);
    pthread_rwlock_unlock(&service->lock);
    return issuers;
}

char *
service_url(struct service *service, const char *directory, const char *name,
            const char *suffix)
{
    char *url = NULL;
    pthread_rwlock_rdlock(&service->lock);
    const char *base = service->organisation.plain_url;
    if (base && *base &&
        asprintf(&url, "%s/%s/%s%s", base, directory, name, suffix) < 0)
        url = NULL;
    pthread_rwlock_unlock(&service->lock);
    return url;
}

void
service_template(struct service *service, const char *profile,
                 char ret_oid[CA_TEMPLATE_OID_SIZE])
{
    pthread_rwlock_rdlock(&service->lock);
    const char *base = service->organisation.base_url;
    ca_template_oid(base ? base : "", profile, ret_oid);
    pthread_rwlock_unlock(&service->lock);
}

void
service_wake_jobs(struct service *service)
{
    pthread_mutex_lock(&service->wake.lock);
    service->wake.crl = true;
    pthread_cond_broadcast(&service->wake.cond);
    pthread_mutex_unlock(&service->wake.lock);
}

enum ca_status
service_wait_begin(struct service *service)
{
    int64_t waiting = atomic_fetch_add(&service->waiting, 1) + 1;
    if (waiting <= service->config.limits.waiting)
        return CA_OK;
    atomic_fetch_sub(&service->waiting, 1);
    return ca_fail(CA_UNAVAILABLE, "%lld requests wait for token or store already",
                   (long long)service->config.limits.waiting);
}

void
service_wait_end(struct service *service)
{
    atomic_fetch_sub(&service->waiting, 1);
}

enum ca_status
service_upstream_begin(struct service *service)
{
    int64_t most = service->config.limits.waiting / SERVICE_UPSTREAM_PART;
    int64_t waiting = atomic_fetch_add(&service->upstreams, 1) + 1;
    if (waiting <= (most > 0 ? most : 1))
        return CA_OK;
    atomic_fetch_sub(&service->upstreams, 1);
    return ca_fail(CA_UNAVAILABLE, "%lld requests wait for upstream CAs already",
                   (long long)waiting - 1);
}

void
service_upstream_end(struct service *service)
{
    atomic_fetch_sub(&service->upstreams, 1);
}
