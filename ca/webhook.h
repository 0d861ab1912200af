/* Webhooks: who is told of changes. The audit log is what waits to be delivered: each
 * instance goes through its own, in order, at least once, and the store keeps how far
 * each webhook was told. The form is that of Standard Webhooks 1.0. */
#pragma once

#include "audit.h"
#include "service.h"

#define WEBHOOK_SECRET_MIN 24 /* characters of the key, or octets behind "whsec_" */
#define WEBHOOK_SECRET_MAX 255
#define WEBHOOK_LIFETIME ((int64_t)3 * 86400) /* then an event is left out */
#define WEBHOOK_RETRY_SECONDS                                                          \
    5 /* after the first failure; each further one doubles it */
#define WEBHOOK_RETRY_SECONDS_MAX 3600
#define WEBHOOK_BATCH 32         /* entries of the log at once */
#define WEBHOOK_DEVICES_MOST 200 /* that an event names */
#define WEBHOOK_ANSWER_MAX 65536
#define WEBHOOK_CONNECT_MS 5000
#define WEBHOOK_ANSWER_MS 15000
#define WEBHOOK_TURN_MS 20000 /* of one webhook before the next one's turn */

struct webhooks;
/* A thread; none without webhooks. */
enum ca_status webhooks_start(struct service *service, struct webhooks **ret_webhooks);
/* Gives up the delivery in hand, which is tried again. NULL is nothing. */
void webhooks_stop(struct webhooks *webhooks);

/* One look at the log for one webhook, as the thread takes it: the status of the store;
 * a delivery that failed is in the store. `stop` may be NULL. */
struct webhook_place {
    const struct config_webhook *config;
    bool is_loaded;
    int64_t next, saved; /* number in the log; of them, what the store has */
    int64_t attempts, next_try;
    int64_t turn_end; /* clock_ticks */
};
enum ca_status webhook_run(struct service *service, struct webhook_place *place,
                           const atomic_bool *stop);

/* ---- Events (webhook_event.c) ---- */

#define WEBHOOK_ID_SIZE 33

struct webhook_event {
    int64_t number, time;
    unsigned type;            /* enum config_event */
    char id[WEBHOOK_ID_SIZE]; /* the same whenever it is delivered */
    json_t *data;
};
struct webhook_events {
    struct webhook_event items[2 * WEBHOOK_BATCH]; /* two of an entry at most */
    size_t count;
    int64_t next; /* the number behind the last entry that was looked at */
};
/* What happened from the entry `from` on, of the wanted types, with the devices whose
 * policy it changes. */
enum ca_status webhook_events_read(struct store_tx *tx, int64_t from, unsigned wanted,
                                   struct webhook_events *events);
void webhook_events_clear(struct webhook_events *events);
/* Its word in the configuration and on the wire. */
const char *webhook_event_word(unsigned type);

/* ---- Delivery (webhook_send.c) ---- */

/* The key that signs, of a file's text; `ret_key` has WEBHOOK_SECRET_MAX octets. Wipe
 * it. CA_MALFORMED: too short. */
enum ca_status webhook_key(const char *secret, uint8_t *ret_key, size_t *ret_size);
/* "v1,<base64>" over id, time and body; free() it. */
char *webhook_signature(const uint8_t *key, size_t size, const char *id, int64_t time,
                        const char *body);
/* Posts it; any 2xx is an answer. CA_UNAVAILABLE says why not. */
enum ca_status webhook_send(const struct config_webhook *webhook,
                            const struct webhook_event *event, const atomic_bool *stop);
/* Can its files be read, for `sealwright check`? */
enum ca_status webhook_check(const struct config_webhook *webhook);
