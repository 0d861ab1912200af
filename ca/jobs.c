/* The one thread of periodic work. Each kind of work that only one instance may do at a
 * time holds a lease in the store. */
#include "jobs.h"
#include "audit.h"
#include "auto.h"
#include "clock.h"
#include "crl.h"
#include "directory_sync.h"
#include "enroll.h"
#include "instance.h"
#include "keeper.h"
#include "log.h"
#include "metrics.h"
#include "refusal.h"
#include "state.h"
#include <string.h>
#include <time.h>

#define JOBS_TICK_MS 1000
#define TIDY_SECONDS 30
#define LEASE_SECONDS 60
#define CRL_RETRY_SECONDS 10 /* after a failed build */

struct jobs {
    struct service *service;
    struct keeper *keeper;
    struct sync_job *sync;
    pthread_t thread;
    int64_t crl_next, tidy_next, beat_next; /* clock_ticks */
};

struct lease {
    const char *job, *instance;
    bool mine;
};

static enum ca_status
lease_write(struct store_tx *tx, void *arg)
{
    struct lease *lease = arg;
    int64_t now = clock_now();
    return state_lease(tx, lease->job, lease->instance, now, now + LEASE_SECONDS,
                       &lease->mine);
}

static enum ca_status
lease_take(struct service *service, const char *job, bool *ret_mine)
{
    struct lease lease = { job, service->config.instance, false };
    enum ca_status status = store_write(service->store, lease_write, &lease);
    if (status == CA_OK)
        *ret_mine = lease.mine;
    return status;
}

static enum ca_status
audit_write(struct store_tx *tx, void *arg)
{
    return audit_append(tx, arg);
}

static enum ca_status
audit_crl(struct service *service, const struct issuer *issuer)
{
    CA_AUTO(free) char *object = NULL;
    if (asprintf(&object, "issuer:%s", issuer->name) < 0) {
        object = NULL;
        return ca_fail(CA_INTERNAL, "no memory for an audit entry");
    }
    struct audit_entry entry = { .action = "crl.issue",
                                 .actor = "system",
                                 .object = object,
                                 .protocol = "",
                                 .request = "",
                                 .outcome = "ok" };
    return store_write(service->store, audit_write, &entry);
}

static enum ca_status
build_crl(struct service *service, const struct issuer *issuer)
{
    bool due = false, mine = false;
    enum ca_status status = crl_is_due(service->store, issuer, &due);
    if (status != CA_OK || !due)
        return status;
    CA_AUTO(free) char *job = NULL;
    if (asprintf(&job, "crl/%s", issuer->name) < 0) {
        job = NULL;
        return ca_fail(CA_INTERNAL, "no memory for a lease");
    }
    status = lease_take(service, job, &mine);
    if (status != CA_OK || !mine)
        return status;
    CA_AUTO(free) char *url = service_url(service, "crl", issuer->name, ".crl");
    status = crl_build(service->store, issuer, url);
    return status == CA_OK ? audit_crl(service, issuer) : status;
}

enum ca_status
jobs_build_crls(struct service *service)
{
    struct issuers *issuers = service_issuers(service);
    enum ca_status first = CA_OK;
    for (size_t i = 0; i < issuers_count(issuers); i++) {
        const struct issuer *issuer = issuers_at(issuers, i);
        if (!issuer->key) /* offline, or readiness says so */
            continue;
        status_forget();
        enum ca_status status = build_crl(service, issuer);
        if (status == CA_OK)
            continue;
        metrics_count(service->metrics, "crl_failures", issuer->name);
        log_write(LOG_LEVEL_ERROR, json_pack("{s:s}", "issuer", issuer->name),
                  "no new CRL, the old one stays: %s", status_message());
        first = first == CA_OK ? status : first;
    }
    issuers_release(issuers);
    return first;
}

static void
tidy(struct service *service)
{
    bool mine = false;
    enum ca_status status = lease_take(service, "tidy", &mine);
    if (status == CA_OK && mine)
        status = enroll_tidy(service);
    /* A sealing key that was away, or was made meanwhile. */
    if (status == CA_OK && service_has_plugin(service, "activation"))
        status = service_open_vault(service);
    if (status != CA_OK)
        log_write(LOG_LEVEL_ERROR, NULL, "periodic clean-up: %s", status_message());
}

/* Waits a tick, or until a CRL is stale; false when it is time to stop. */
static bool
wait_for_work(struct service *service, bool *ret_stale)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += JOBS_TICK_MS / 1000;
    until.tv_nsec += JOBS_TICK_MS % 1000 * 1000000;
    pthread_mutex_lock(&service->wake.lock);
    int waited = 0;
    while (waited == 0 && !service->wake.crl && !service->wake.stop)
        waited =
            pthread_cond_timedwait(&service->wake.cond, &service->wake.lock, &until);
    *ret_stale = service->wake.crl;
    service->wake.crl = false;
    bool goes_on = !service->wake.stop;
    pthread_mutex_unlock(&service->wake.lock);
    return goes_on;
}

/* A token came that was not there at the start: its keys are found now. */
static void
find_keys(struct service *service, bool *failing)
{
    if (!service_wants_reload(service))
        return;
    enum ca_status status = service_reload(service);
    if (status == CA_OK)
        log_write(LOG_LEVEL_INFO, NULL, "a token came up: its keys are in use");
    else if (!*failing)
        log_write(LOG_LEVEL_ERROR, NULL, "a token came up, its keys are not in use: %s",
                  status_message());
    *failing = status != CA_OK;
}

static void
flush(struct service *service, bool *failing)
{
    enum ca_status status = refusals_flush(service->refusals, service->store);
    if (status != CA_OK && !*failing)
        log_write(LOG_LEVEL_ERROR, NULL, "refusals not in the audit yet: %s",
                  status_message());
    *failing = status != CA_OK;
}

static enum ca_status
beat_write(struct store_tx *tx, void *arg)
{
    const struct config *config = arg;
    const struct instance instance = {
        .name = config->instance,
        .url = config->instance_url,
        .capacity = config->instance_capacity,
        .release = (char *)(uintptr_t)SEALWRIGHT_VERSION,
    };
    return instance_beat(tx, &instance);
}

/* Tells the other instances that this one lives. */
static void
beat(struct service *service, bool *failing)
{
    enum ca_status status = store_write(service->store, beat_write, &service->config);
    if (status != CA_OK && !*failing)
        log_write(LOG_LEVEL_ERROR, NULL, "no heartbeat of this instance: %s",
                  status_message());
    *failing = status != CA_OK;
}

static void *
jobs_run(void *arg)
{
    struct jobs *jobs = arg;
    struct service *service = jobs->service;
    bool stale = true, flush_failing = false, find_failing = false,
         beat_failing = false;
    do {
        int64_t ticks = clock_ticks();
        status_forget();
        find_keys(service, &find_failing);
        if (stale || ticks >= jobs->crl_next) {
            bool failed = jobs_build_crls(service) != CA_OK;
            int64_t seconds = service->config.crl_check_seconds;
            if (failed && seconds > CRL_RETRY_SECONDS)
                seconds = CRL_RETRY_SECONDS;
            jobs->crl_next = clock_ticks() + seconds * 1000;
        }
        if (ticks >= jobs->tidy_next) {
            tidy(service);
            jobs->tidy_next = clock_ticks() + TIDY_SECONDS * 1000;
        }
        if (ticks >= jobs->beat_next) {
            beat(service, &beat_failing);
            jobs->beat_next = clock_ticks() + INSTANCE_BEAT_SECONDS * 1000;
        }
        flush(service, &flush_failing);
    } while (wait_for_work(service, &stale));
    return NULL;
}

static enum ca_status
audit_life(struct service *service, const char *action)
{
    CA_AUTO(free) char *object = NULL;
    const char *instance = service->config.instance ? service->config.instance : "";
    if (asprintf(&object, "instance:%s", instance) < 0) {
        object = NULL;
        return ca_fail(CA_INTERNAL, "no memory for an audit entry");
    }
    CA_AUTO(json_decref)
    json_t *detail =
        json_pack("{s:s, s:s}", "run", service->run, "version", SEALWRIGHT_VERSION);
    struct audit_entry entry = { .action = action,
                                 .actor = "system",
                                 .object = object,
                                 .protocol = "",
                                 .request = "",
                                 .outcome = "ok",
                                 .detail = detail };
    return store_write(service->store, audit_write, &entry);
}

enum ca_status
jobs_start(struct service *service, struct jobs **ret_jobs)
{
    enum ca_status status = audit_life(service, "service.start");
    if (status != CA_OK)
        return status;
    struct jobs *jobs = calloc(1, sizeof *jobs);
    if (!jobs)
        return ca_fail(CA_INTERNAL, "no memory for the periodic work");
    jobs->service = service;
    service->wake.stop = false;
    status = keeper_start(service->tokens, &jobs->keeper);
    if (status != CA_OK) {
        free(jobs);
        return status;
    }
    if (pthread_create(&jobs->thread, NULL, jobs_run, jobs) != 0) {
        keeper_stop(jobs->keeper);
        free(jobs);
        return ca_fail(CA_UNAVAILABLE, "no thread for the periodic work");
    }
    status = sync_job_start(service, &jobs->sync);
    *ret_jobs = jobs; /* stopped by the caller in any case */
    return status;
}

void
jobs_stop(struct jobs *jobs)
{
    if (!jobs)
        return;
    struct service *service = jobs->service;
    pthread_mutex_lock(&service->wake.lock);
    service->wake.stop = true;
    pthread_cond_broadcast(&service->wake.cond);
    pthread_mutex_unlock(&service->wake.lock);
    pthread_join(jobs->thread, NULL);
    sync_job_stop(jobs->sync);
    keeper_stop(jobs->keeper);
    bool flush_failing = false;
    flush(service, &flush_failing);
    if (audit_life(service, "service.stop") != CA_OK)
        log_write(LOG_LEVEL_ERROR, NULL, "the stop is not in the audit: %s",
                  status_message());
    free(jobs);
}

void
jobs_wake(struct service *service)
{
    service_wake_jobs(service);
}
