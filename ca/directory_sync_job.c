/* The thread of periodic syncs: of all instances one at a time, by a lease. */
#include "clock.h"
#include "directory_sync.h"
#include "jobs.h"
#include "log.h"
#include "metrics.h"
#include "state.h"
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define RETRY_SECONDS 60 /* after a failure, and for who has no lease */

struct sync_job {
    struct service *service;
    pthread_t thread;
};

struct lease {
    struct service *service;
    bool mine;
};

/* Twice the interval, so that who syncs goes on; when it stops another takes over. */
static enum ca_status
lease_write(struct store_tx *tx, void *arg)
{
    struct lease *lease = arg;
    const struct config *config = &lease->service->config;
    int64_t now = clock_now();
    return state_lease(tx, "directory", config->instance, now,
                       now + 2 * config->directory.interval, &lease->mine);
}

static int64_t
sync_once(struct service *service)
{
    static const struct sync_request request = { .actor = "system",
                                                 .protocol = "directory",
                                                 .request = "" };
    struct lease lease = { .service = service };
    json_t *answer = NULL;
    status_forget();
    enum ca_status status = store_write(service->store, lease_write, &lease);
    if (status == CA_OK && !lease.mine)
        return RETRY_SECONDS;
    if (status == CA_OK)
        status = directory_sync(service, &request, &answer);
    if (status == CA_OK) {
        json_t *counts = json_object_get(answer, "counts");
        if (json_integer_value(json_object_get(counts, "disabled")) > 0)
            jobs_wake(service);
        log_write(LOG_LEVEL_INFO, json_pack("{s:O}", "counts", counts),
                  "directory: synced");
    } else {
        metrics_count(service->metrics, "directory_failures", ca_status_name(status));
        log_write(LOG_LEVEL_ERROR, NULL, "directory: no sync: %s", status_message());
    }
    json_decref(answer);
    return status == CA_OK ? service->config.directory.interval : RETRY_SECONDS;
}

/* Waits so many seconds; false when it is time to stop. */
static bool
wait_seconds(struct service *service, int64_t seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += seconds;
    pthread_mutex_lock(&service->wake.lock);
    int waited = 0;
    while (waited == 0 && !service->wake.stop)
        waited =
            pthread_cond_timedwait(&service->wake.cond, &service->wake.lock, &until);
    bool goes_on = !service->wake.stop;
    pthread_mutex_unlock(&service->wake.lock);
    return goes_on;
}

static void *
job_run(void *arg)
{
    struct sync_job *job = arg;
    int64_t seconds = 1; /* what listens comes first */
    while (wait_seconds(job->service, seconds))
        seconds = sync_once(job->service);
    return NULL;
}

enum ca_status
sync_job_start(struct service *service, struct sync_job **ret_job)
{
    const struct config_directory *config = &service->config.directory;
    *ret_job = NULL;
    if (!config->server || config->interval == 0)
        return CA_OK;
    struct sync_job *job = calloc(1, sizeof *job);
    if (!job)
        return ca_fail(CA_INTERNAL, "no memory for the directory's job");
    job->service = service;
    if (pthread_create(&job->thread, NULL, job_run, job) != 0) {
        free(job);
        return ca_fail(CA_UNAVAILABLE, "no thread for the directory's job");
    }
    *ret_job = job;
    return CA_OK;
}

void
sync_job_stop(struct sync_job *job)
{
    if (!job)
        return;
    pthread_join(job->thread, NULL);
    free(job);
}
