/* Goes through the audit log for each webhook and keeps its place. */
#include "webhook.h"
#include "auto.h"
#include "clock.h"
#include "log.h"
#include "metrics.h"
#include "ticker.h"
#include <curl/curl.h>
#include <string.h>

#define DOUBLINGS_MAX 10
#define FAILURE_SIZE 200
#define BATCHES_MOST 64   /* of one webhook before the next one's turn */
#define UNSAVED_MOST 4096 /* entries without an event before the place is kept */

struct webhooks {
    struct service *service;
    struct ticker *ticker;
    struct webhook_place places[CONFIG_WEBHOOKS_MAX];
    size_t count;
    bool is_failing;
};

/* ---- The place ---- */

static enum ca_status
place_row(const struct store_row *row, void *arg)
{
    struct webhook_place *place = arg;
    place->next = place->saved = store_row_integer(row, 0);
    place->attempts = store_row_integer(row, 1);
    place->next_try = store_row_integer(row, 2);
    return CA_OK;
}

struct place_saving {
    struct webhook_place place;
    const char *failure;
};

static enum ca_status
place_write(struct store_tx *tx, void *arg)
{
    const struct place_saving *saving = arg;
    const struct webhook_place *place = &saving->place;
    return store_run(
        tx,
        "INSERT INTO webhook (instance, name, number, attempts, next_try, failure, "
        "updated) VALUES ($1, $2, $3, $4, $5, $6, $7) "
        "ON CONFLICT (instance, name) DO UPDATE SET number = excluded.number, "
        "attempts = excluded.attempts, next_try = excluded.next_try, "
        "failure = excluded.failure, updated = excluded.updated",
        STORE_VALUES(store_text(audit_instance()), store_text(place->config->name),
                     store_integer(place->next), store_integer(place->attempts),
                     store_integer(place->next_try), store_text(saving->failure),
                     store_integer(clock_now())),
        NULL, NULL, NULL);
}

static enum ca_status
place_save(struct service *service, struct webhook_place *place, const char *failure)
{
    struct place_saving saving = { *place, failure };
    enum ca_status status = store_write(service->store, place_write, &saving);
    if (status == CA_OK)
        place->saved = place->next;
    return status;
}

/* A webhook that is new here is told what happens from now on. */
static enum ca_status
place_read(struct store_tx *tx, void *arg)
{
    struct webhook_place *place = arg;
    int64_t rows = 0;
    place->saved = -1;
    enum ca_status status = store_run(
        tx,
        "SELECT number, attempts, next_try FROM webhook "
        "WHERE instance = $1 AND name = $2",
        STORE_VALUES(store_text(audit_instance()), store_text(place->config->name)),
        place_row, place, &rows);
    return status == CA_OK && rows == 0 ? audit_size(tx, &place->next) : status;
}

static enum ca_status
place_load(struct service *service, struct webhook_place *place)
{
    enum ca_status status = store_read(service->store, place_read, place);
    if (status == CA_OK && place->saved < 0)
        status = place_save(service, place, NULL);
    place->is_loaded = status == CA_OK;
    return status;
}

/* ---- Deliveries ---- */

static void
events_clear_auto(struct webhook_events *events)
{
    webhook_events_clear(events);
}

static int64_t
wait_after(int64_t attempts)
{
    int64_t doublings = attempts - 1 < DOUBLINGS_MAX ? attempts - 1 : DOUBLINGS_MAX;
    int64_t seconds = (int64_t)WEBHOOK_RETRY_SECONDS << doublings;
    return seconds < WEBHOOK_RETRY_SECONDS_MAX ? seconds : WEBHOOK_RETRY_SECONDS_MAX;
}

static void
tell(struct service *service, const struct webhook_place *place, const char *word,
     const char *why)
{
    metrics_count(service->metrics, "webhooks", word);
    if (why)
        log_write(LOG_LEVEL_WARNING, json_pack("{s:s}", "webhook", place->config->name),
                  "event %s: %s", word, why);
}

static enum ca_status
put_off(struct service *service, struct webhook_place *place)
{
    char failure[FAILURE_SIZE];
    snprintf(failure, sizeof failure, "%s", status_message());
    place->attempts++;
    place->next_try = clock_now() + wait_after(place->attempts);
    tell(service, place, "deferred", failure);
    return place_save(service, place, failure);
}

static bool
turn_is_over(const struct webhook_place *place, const atomic_bool *stop)
{
    return clock_ticks() >= place->turn_end || (stop && atomic_load(stop));
}

/* In order, until one fails or the turn is over; `ret_failed` says so. */
static enum ca_status
deliver(struct service *service, struct webhook_place *place,
        const struct webhook_events *events, const atomic_bool *stop, bool *ret_failed)
{
    for (size_t i = 0; i < events->count; i++) {
        const struct webhook_event *event = &events->items[i];
        place->next = event->number;
        *ret_failed = true;
        if (turn_is_over(place, stop))
            return place_save(service, place, NULL);
        if (event->time + WEBHOOK_LIFETIME < clock_now()) {
            tell(service, place, "dropped", "nobody took it in time");
            continue;
        }
        if (webhook_send(place->config, event, stop) != CA_OK)
            return stop && atomic_load(stop) ? place_save(service, place, NULL)
                                             : put_off(service, place);
        tell(service, place, "delivered", NULL);
        place->attempts = place->next_try = 0;
    }
    *ret_failed = false;
    return CA_OK;
}

struct looking {
    const struct webhook_place *place;
    struct webhook_events *events;
};

static enum ca_status
look(struct store_tx *tx, void *arg)
{
    struct looking *looking = arg;
    return webhook_events_read(tx, looking->place->next, looking->place->config->events,
                               looking->events);
}

/* One batch; `ret_more`: there may be another. */
static enum ca_status
batch_run(struct service *service, struct webhook_place *place, const atomic_bool *stop,
          bool *ret_more)
{
    CA_AUTO(events_clear) struct webhook_events events = { .count = 0 };
    struct looking looking = { place, &events };
    bool has_failed = false;
    int64_t from = place->next;
    *ret_more = false;
    enum ca_status status = store_read(service->store, look, &looking);
    if (status == CA_OK)
        status = deliver(service, place, &events, stop, &has_failed);
    if (status != CA_OK || has_failed)
        return status;
    place->next = events.next;
    *ret_more = events.next - from == WEBHOOK_BATCH;
    if (events.count > 0 || place->next - place->saved > UNSAVED_MOST)
        status = place_save(service, place, NULL);
    return status;
}

enum ca_status
webhook_run(struct service *service, struct webhook_place *place,
            const atomic_bool *stop)
{
    enum ca_status status = CA_OK;
    bool is_more = true;
    if (!place->is_loaded)
        status = place_load(service, place);
    if (status != CA_OK || place->next_try > clock_now())
        return status;
    place->turn_end = clock_ticks() + WEBHOOK_TURN_MS;
    for (int i = 0; i < BATCHES_MOST && is_more && status == CA_OK; i++) {
        if (turn_is_over(place, stop))
            break;
        status = batch_run(service, place, stop, &is_more);
    }
    return status;
}

/* ---- The thread ---- */

static void
tick(void *arg, const atomic_bool *stop)
{
    struct webhooks *webhooks = arg;
    enum ca_status worst = CA_OK;
    for (size_t i = 0; i < webhooks->count; i++) {
        enum ca_status status =
            webhook_run(webhooks->service, &webhooks->places[i], stop);
        if (status != CA_OK)
            worst = status;
    }
    if (worst != CA_OK && !webhooks->is_failing)
        log_write(LOG_LEVEL_ERROR, NULL, "webhooks: %s", status_message());
    webhooks->is_failing = worst != CA_OK;
}

enum ca_status
webhooks_start(struct service *service, struct webhooks **ret_webhooks)
{
    const struct config_webhook *configs = service->config.webhooks.items;
    if (service->config.webhooks.count == 0)
        return CA_OK;
    struct webhooks *webhooks = calloc(1, sizeof *webhooks);
    if (!webhooks)
        return ca_fail(CA_INTERNAL, "no memory for the webhooks");
    webhooks->service = service;
    webhooks->count = service->config.webhooks.count;
    for (size_t i = 0; i < webhooks->count; i++)
        webhooks->places[i].config = &configs[i];
    enum ca_status status = CA_OK;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        status = ca_fail(CA_INTERNAL, "libcurl does not start");
    if (status == CA_OK)
        status = ticker_start("webhooks", tick, webhooks, &webhooks->ticker);
    if (status != CA_OK) {
        free(webhooks);
        return status;
    }
    *ret_webhooks = webhooks;
    return CA_OK;
}

void
webhooks_stop(struct webhooks *webhooks)
{
    if (!webhooks)
        return;
    ticker_stop(webhooks->ticker);
    free(webhooks);
    curl_global_cleanup();
}
