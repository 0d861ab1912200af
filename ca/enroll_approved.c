/* Certificates after approval, and the end of what nobody finishes. */
#include "activation.h"
#include "activation_session.h"
#include "auto.h"
#include "challenge.h"
#include "clock.h"
#include "device_command.h"
#include "enroll.h"
#include "enrolment.h"
#include "log.h"
#include "onetime.h"
#include "pending.h"
#include "sealing.h"
#include "state.h"
#include <string.h>

#define TIDY_MOST 200        /* rows of a kind in one transaction */
#define STATE_STEPS_MOST 500 /* transactions of state that expired, at one time */
#define SPACE_RUN "core/run" /* instance -> its last run */
#define RUN_SECONDS ((int64_t)400 * 86400)

static void
grant_clear_auto(struct grant *grant)
{
    grant_clear(grant);
}

static void
pending_clear_auto(struct pending *pending)
{
    pending_clear(pending);
}

static void
enrolment_clear_auto(struct enrolment *enrolment)
{
    enrolment_clear(enrolment);
}

static void
endpoint_free_auto(struct endpoint **endpoint)
{
    endpoint_free(*endpoint);
}

/* An approved request with the records it rests on, as they are by now. */
struct approval {
    struct profile_cache *profiles;
    const char *id;
    struct pending pending;
    struct endpoint *endpoint;
    struct grant grant;
};

static enum ca_status
approval_grant(struct store_tx *tx, struct approval *approval)
{
    struct grant *grant = &approval->grant;
    const struct pending *pending = &approval->pending;
    if (pending->replaces) {
        struct certificate renewed = { 0 };
        enum ca_status status = certificate_load(tx, NULL, pending->replaces, &renewed);
        return status == CA_OK ? grant_of_certificate(tx, &renewed, grant) : status;
    }
    struct challenge bound = { .id = pending->challenge,
                               .user = pending->user,
                               .device = pending->device };
    enum ca_status status = grant_of_challenge(tx, &bound, grant);
    if (status == CA_OK) {
        json_decref(grant->names);
        grant->names = json_incref(pending->granted);
    }
    return status;
}

static enum ca_status
approval_read(struct store_tx *tx, void *arg)
{
    struct approval *approval = arg;
    pending_clear(&approval->pending);
    grant_clear(&approval->grant);
    endpoint_free(CA_STEAL(approval->endpoint));
    enum ca_status status = pending_load(tx, approval->id, &approval->pending);
    if (status != CA_OK || approval->pending.state != PENDING_APPROVED)
        return status;
    status = endpoint_load(tx, approval->profiles, approval->pending.endpoint,
                           &approval->endpoint);
    if (status != CA_OK)
        return status;
    status = grant_check_approvals(&approval->pending);
    if (status == CA_OK)
        status = approval_grant(tx, approval);
    approval->grant.endpoint = approval->endpoint;
    return status == CA_OK ? grant_may(tx, &approval->grant, approval->pending.protocol)
                           : status;
}

static enum ca_status
approval_issue(struct service *service, struct approval *approval,
               const struct issuers *issuers)
{
    struct pending *pending = &approval->pending;
    CA_AUTO(enrolment_clear)
    struct enrolment enrolment = {
        .service = service,
        .issuers = issuers,
        .grant = &approval->grant,
        .protocol = pending->protocol,
        .cause = { .actor = "system", .protocol = pending->protocol, .request = "" },
        .pkcs10 = { pending->request, pending->request_size },
        .transaction = pending->transaction,
        .signer = pending->signer_spki_sha256,
        .pending = pending->id,
        .flags = (unsigned)pending->flags,
    };
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    size_t size = 0;
    enum ca_status status = enrolment_judge(&enrolment);
    if (status == CA_OK)
        status = enrolment_build(&enrolment);
    if (status == CA_OK)
        status = enrolment_issue(&enrolment, &der, &size);
    return status;
}

enum ca_status
enroll_approved(struct service *service, const char *pending_id)
{
    CA_AUTO(endpoint_free) struct endpoint *endpoint = NULL;
    struct approval approval = { .profiles = service->profiles, .id = pending_id };
    enum ca_status status = store_read(service->store, approval_read, &approval);
    endpoint = approval.endpoint;
    CA_AUTO(grant_clear) struct grant grant = approval.grant;
    CA_AUTO(pending_clear) struct pending pending = approval.pending;
    if (status != CA_OK || pending.state != PENDING_APPROVED)
        return status;
    struct issuers *issuers = service_issuers(service);
    approval.grant = grant;
    status = approval_issue(service, &approval, issuers);
    grant = approval.grant; /* with the device that it found */
    issuers_release(issuers);
    /* Finished by another thread or instance meanwhile: nothing to do. */
    return status == CA_CONFLICT ? CA_OK : status;
}

/* Gathered by the visitors, undone after their statements. */
struct claim {
    char serial[48], challenge[48], pending[48];
};

struct claims {
    struct claim *items;
    size_t count, room;
};

static void
claims_clear_auto(struct claims *claims)
{
    free(claims->items);
}

/* A zeroed claim at the end of the list; NULL: no memory. */
static struct claim *
claim_add(struct claims *claims)
{
    if (claims->count == claims->room) {
        size_t room = claims->room > 0 ? claims->room * 2 : 32;
        struct claim *items = realloc(claims->items, room * sizeof *items);
        if (!items)
            return NULL;
        claims->items = items;
        claims->room = room;
    }
    struct claim *claim = &claims->items[claims->count++];
    *claim = (struct claim){ 0 };
    return claim;
}

static void
text_set(char ret_text[48], const char *text)
{
    snprintf(ret_text, 48, "%s", text ? text : "");
}

static enum ca_status
visit_abandoned(const void *record, void *arg)
{
    const struct certificate_transaction *transaction = record;
    struct claim *claim = claim_add(arg);
    if (!claim)
        return ca_fail(CA_INTERNAL, "no memory for abandoned intents");
    text_set(claim->serial, transaction->serial);
    text_set(claim->challenge, transaction->challenge);
    text_set(claim->pending, transaction->pending);
    return CA_OK;
}

static enum ca_status
audit_end(struct store_tx *tx, const char *action, const char *kind, const char *id)
{
    CA_AUTO(free) char *object = NULL;
    if (asprintf(&object, "%s:%s", kind, id) < 0) {
        object = NULL;
        return ca_fail(CA_INTERNAL, "no memory for an audit entry");
    }
    return audit_append(tx, &(struct audit_entry){ .action = action,
                                                   .actor = "system",
                                                   .object = object,
                                                   .protocol = "",
                                                   .request = "",
                                                   .outcome = "ok" });
}

/* The secret is open again, or waits again with its approved request. */
static enum ca_status
undo_claim(struct store_tx *tx, const struct claim *claim)
{
    enum ca_status status = CA_OK;
    if (claim->pending[0])
        status = pending_reopen(tx, claim->pending, claim->serial);
    if (status != CA_OK || !claim->challenge[0])
        return status;
    return claim->pending[0]
               ? onetime_hand_over(tx, claim->challenge, claim->serial, claim->pending)
               : onetime_release(tx, claim->challenge, claim->serial);
}

static enum ca_status
undo_claims(struct store_tx *tx, const struct claims *claims)
{
    enum ca_status status = CA_OK;
    for (size_t i = 0; status == CA_OK && i < claims->count; i++) {
        status = undo_claim(tx, &claims->items[i]);
        if (status == CA_OK)
            status = audit_end(tx, "certificate.abandon", "certificate",
                               claims->items[i].serial);
    }
    return status;
}

static enum ca_status
abandon_intents(struct store_tx *tx, void *arg)
{
    const struct service *service = arg;
    CA_AUTO(claims_clear) struct claims claims = { 0 };
    int64_t before = clock_now() - service->config.intent_abandon_seconds;
    enum ca_status status =
        certificate_abandon(tx, before, TIDY_MOST, visit_abandoned, &claims);
    return status == CA_OK ? undo_claims(tx, &claims) : status;
}

/* A run that is not over after all, because two daemons call themselves alike, loses
 * only the answer: nobody completes an intent that was abandoned. */
static enum ca_status
recover_write(struct store_tx *tx, void *arg)
{
    const struct service *service = arg;
    const char *instance = service->config.instance;
    CA_AUTO(claims_clear) struct claims claims = { 0 };
    void *last = NULL;
    size_t size = 0;
    enum ca_status status = state_get(tx, SPACE_RUN, instance, &last, &size, NULL);
    CA_AUTO(free) char *run = status == CA_OK ? strndup(last, size) : NULL;
    free(last);
    if (status == CA_OK && !run)
        return ca_fail(CA_INTERNAL, "no memory for a run");
    if (status == CA_OK)
        status = certificate_abandon_run(tx, run, TIDY_MOST, visit_abandoned, &claims);
    if (status == CA_OK)
        status = undo_claims(tx, &claims);
    if (status == CA_OK)
        status = activation_session_end_run(tx, run);
    if (status != CA_OK && status != CA_NOT_FOUND)
        return status;
    return state_put(tx, SPACE_RUN, instance, service->run, strlen(service->run),
                     clock_now() + RUN_SECONDS);
}

static enum ca_status
visit_expired(const void *record, void *arg)
{
    const struct pending *pending = record;
    struct claim *claim = claim_add(arg);
    if (!claim)
        return ca_fail(CA_INTERNAL, "no memory for expired requests");
    text_set(claim->pending, pending->id);
    text_set(claim->challenge, pending->challenge);
    return CA_OK;
}

static enum ca_status
expire_requests(struct store_tx *tx, void *arg)
{
    (void)arg;
    CA_AUTO(claims_clear) struct claims claims = { 0 };
    enum ca_status status = pending_expire(tx, clock_now(), visit_expired, &claims);
    for (size_t i = 0; status == CA_OK && i < claims.count; i++) {
        const struct claim *claim = &claims.items[i];
        if (claim->challenge[0])
            status = onetime_release(tx, claim->challenge, claim->pending);
        if (status == CA_OK)
            status = audit_end(tx, "request.expire", "request", claim->pending);
    }
    return status;
}

static enum ca_status
expire_activations(struct store_tx *tx, void *arg)
{
    (void)arg;
    enum ca_status status = activation_session_purge(tx, NULL);
    if (status == CA_OK)
        status = activation_purge(tx, NULL);
    return status == CA_OK ? sealing_purge(tx, NULL) : status;
}

static enum ca_status
expire_state(struct store_tx *tx, void *arg)
{
    return state_expire(tx, clock_now(), TIDY_MOST, arg);
}

/* Faster than anybody makes it: other writers come between two steps. */
static enum ca_status
expire_all_state(struct store *store)
{
    int64_t count = TIDY_MOST;
    enum ca_status status = CA_OK;
    for (int i = 0; i < STATE_STEPS_MOST && status == CA_OK && count == TIDY_MOST; i++)
        status = store_write(store, expire_state, &count);
    return status;
}

static enum ca_status
expire_commands(struct store_tx *tx, void *arg)
{
    (void)arg;
    return device_command_expire(tx, clock_now() - COMMAND_KEPT_SECONDS, TIDY_MOST);
}

struct approved {
    char ids[TIDY_MOST][48];
    size_t count;
};

static enum ca_status
visit_approved(const void *record, void *arg)
{
    const struct pending *pending = record;
    struct approved *approved = arg;
    if (approved->count < TIDY_MOST)
        text_set(approved->ids[approved->count++], pending->id);
    return CA_OK;
}

static enum ca_status
approved_read(struct store_tx *tx, void *arg)
{
    struct approved *approved = arg;
    approved->count = 0;
    struct record_page page = { .limit = TIDY_MOST };
    return pending_list(tx, "approved", &page, visit_approved, approved);
}

/* What was approved while token or store were away. */
static enum ca_status
sign_approved(struct service *service)
{
    struct approved *approved = calloc(1, sizeof *approved);
    if (!approved)
        return ca_fail(CA_INTERNAL, "no memory for approved requests");
    enum ca_status status = store_read(service->store, approved_read, approved);
    for (size_t i = 0; status == CA_OK && i < approved->count; i++) {
        enum ca_status signed_one = enroll_approved(service, approved->ids[i]);
        if (signed_one != CA_OK)
            log_write(LOG_LEVEL_WARNING,
                      json_pack("{s:s}", "request", approved->ids[i]),
                      "approved request not issued: %s", status_message());
    }
    free(approved);
    return status;
}

static enum ca_status
expire_offers(struct store_tx *tx, void *arg)
{
    (void)arg;
    return offer_expire(tx, TIDY_MOST);
}

enum ca_status
enroll_recover(struct service *service)
{
    return store_write(service->store, recover_write, service);
}

enum ca_status
enroll_tidy(struct service *service)
{
    enum ca_status status = store_write(service->store, abandon_intents, service);
    if (status == CA_OK)
        status = store_write(service->store, expire_requests, NULL);
    if (status == CA_OK)
        status = expire_all_state(service->store);
    if (status == CA_OK)
        status = store_write(service->store, expire_commands, NULL);
    if (status == CA_OK)
        status = store_write(service->store, expire_activations, NULL);
    if (status == CA_OK)
        status = store_write(service->store, expire_offers, NULL);
    return status == CA_OK ? sign_approved(service) : status;
}
