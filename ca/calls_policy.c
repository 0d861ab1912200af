/* A device reads its policy, and waits for the next one (long poll). */
#include "auto.h"
#include "calls_manage.h"
#include "clock.h"
#include "grant.h"
#include "plugin_activation.h"
#include "text.h"
#include <openssl/evp.h>
#include <string.h>
#include <time.h>

#define LOOK_MILLISECONDS 1000 /* between two looks at the store */
#define STEP_MILLISECONDS 100  /* between two looks at the clock and the drain */
#define SPARE_MILLISECONDS 500 /* what is left of the request for its answer */
#define HELD_SHARE 4           /* at most a fourth of the threads that may wait */

static bool
tag_make(const json_t *policy, char ret_tag[CA_ACTIVATION_TAG + 1])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    CA_AUTO(free) char *text = json_dumps(policy, JSON_COMPACT | JSON_SORT_KEYS);
    if (!text || EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL) != 1)
        return false;
    hex_format(digest, CA_ACTIVATION_TAG / 2, ret_tag);
    return true;
}

/* The policy as it is now. An owner without one has an empty one, so that waiting for
 * the first is like waiting for any. */
static enum ca_status
policy_look(struct exchange *exchange, json_t **ret_policy,
            char ret_tag[CA_ACTIVATION_TAG + 1])
{
    CA_AUTO(json_decref) json_t *policy = NULL;
    enum ca_status status = manage_policy(exchange, &policy);
    if (status == CA_NOT_FOUND)
        policy = json_pack("{s:s, s:i, s:[]}", "name", "", "version", 0, "items");
    else if (status != CA_OK)
        return status;
    json_object_del(policy, "kept"); /* OMA-DM's own */
    if (!policy || !tag_make(policy, ret_tag))
        return ca_fail(CA_INTERNAL, "no memory for a policy");
    *ret_policy = CA_STEAL(policy);
    return CA_OK;
}

/* Each held request keeps a thread: some may, the others are answered at once. */
static bool
hold_begin(struct service *service)
{
    int most = (int)(service->config.limits.waiting / HELD_SHARE);
    if (atomic_fetch_add(&service->held, 1) < (most > 0 ? most : 1) &&
        service_wait_begin(service) == CA_OK)
        return true;
    atomic_fetch_sub(&service->held, 1);
    return false;
}

static void
hold_end(struct service *service)
{
    service_wait_end(service);
    atomic_fetch_sub(&service->held, 1);
}

/* False: it is over, whatever the policy. */
static bool
pause_take(const struct service *service, int64_t until)
{
    const struct timespec step = { .tv_nsec = STEP_MILLISECONDS * 1000000L };
    int64_t look = clock_ticks() + LOOK_MILLISECONDS;
    while (clock_ticks() < look) {
        if (clock_ticks() >= until || atomic_load(&service->draining))
            return false;
        nanosleep(&step, NULL);
    }
    return true;
}

static enum ca_status
standing_read(struct store_tx *tx, void *arg)
{
    const struct identity *identity = arg;
    return grant_still_may(tx, identity->user ? identity->user : "", identity->device);
}

/* A device that is disabled while it waits hears so, not of the next policy. */
static enum ca_status
look_again(struct exchange *exchange, json_t **ret_policy,
           char ret_tag[CA_ACTIVATION_TAG + 1])
{
    enum ca_status status =
        store_read(exchange->service->store, standing_read, &exchange->identity);
    return status == CA_OK ? policy_look(exchange, ret_policy, ret_tag) : status;
}

/* Looks again and again until the tag is another one. */
static enum ca_status
policy_wait(struct exchange *exchange, int64_t until, json_t **policy,
            char tag[CA_ACTIVATION_TAG + 1])
{
    char known[CA_ACTIVATION_TAG + 1];
    struct service *service = exchange->service;
    enum ca_status status = CA_OK;
    memcpy(known, tag, sizeof known);
    if (!hold_begin(service))
        return CA_OK;
    while (status == CA_OK && strcmp(known, tag) == 0 && pause_take(service, until)) {
        json_t *now = NULL;
        status = look_again(exchange, &now, tag);
        if (status != CA_OK)
            continue;
        json_decref(*policy);
        *policy = now;
    }
    hold_end(service);
    return status;
}

enum ca_status
ca_activation_policy(struct ca_request *req, const char *known, int64_t seconds,
                     struct ca_activation_policy *ret_policy)
{
    struct exchange *exchange = exchange_of(req);
    json_t *policy = NULL;
    char *tag = ca_request_alloc(req, CA_ACTIVATION_TAG + 1);
    if (exchange->identity.kind != IDENTITY_DEVICE)
        return ca_fail(CA_UNAUTHENTICATED, "no device is known by its certificate");
    if (!tag)
        return ca_fail(CA_INTERNAL, "no memory for a policy");
    enum ca_status status = policy_look(exchange, &policy, tag);
    if (status == CA_OK && known && seconds > 0 && strcmp(known, tag) == 0) {
        int64_t until = clock_ticks() + seconds * 1000;
        int64_t latest = exchange->deadline - SPARE_MILLISECONDS;
        status = policy_wait(exchange, until < latest ? until : latest, &policy, tag);
    }
    if (status == CA_OK && !manage_keep_json(exchange, policy))
        return ca_fail(CA_INTERNAL, "no memory for a policy");
    if (status != CA_OK) {
        json_decref(policy);
        return status;
    }
    *ret_policy = (struct ca_activation_policy){ .policy = policy, .tag = tag };
    return CA_OK;
}
