/* ca_enroll: by the identity of the request, at once or after approval. */
#include "auto.h"
#include "clock.h"
#include "digest.h"
#include "enrolment.h"
#include "mail.h"
#include "offer_count.h"
#include "onetime.h"
#include "outcome.h"
#include "pending.h"
#include "refuse.h"
#include <string.h>

#define PENDING_MOST 10000 /* requests that wait, in all */

struct waiting {
    struct enrolment *enrolment;
    struct pending *pending;
};

static enum ca_status
audit_waiting(struct store_tx *tx, const struct waiting *waiting)
{
    CA_AUTO(free) char *object = NULL;
    if (asprintf(&object, "request:%s", waiting->pending->id) < 0)
        object = NULL;
    CA_AUTO(json_decref)
    json_t *detail =
        json_pack("{s:s, s:s, s:s}", "endpoint", waiting->pending->endpoint, "user",
                  waiting->pending->user, "subject", waiting->pending->subject);
    if (!object || !detail)
        return ca_fail(CA_INTERNAL, "no memory for an audit entry");
    const struct lifecycle_cause *cause = &waiting->enrolment->cause;
    return audit_append(tx, &(struct audit_entry){ .action = "request.create",
                                                   .actor = cause->actor,
                                                   .object = object,
                                                   .protocol = cause->protocol,
                                                   .request = cause->request,
                                                   .outcome = "pending",
                                                   .detail = detail });
}

/* The secret is claimed under the request's id, so that nobody else uses it meanwhile.
 */
static enum ca_status
waiting_insert(struct store_tx *tx, void *arg)
{
    struct waiting *waiting = arg;
    const struct grant *grant = waiting->enrolment->grant;
    enum ca_status status = CA_OK;
    if (grant->challenge)
        status =
            onetime_claim(tx, grant->challenge, waiting->pending->id,
                          waiting->enrolment->spki, waiting->enrolment->request_sha256);
    if (status == CA_OK)
        status = grant_still_may(tx, grant->user.name, grant->device.id);
    if (status == CA_OK)
        status = pending_insert(tx, waiting->pending, PENDING_MOST);
    return status == CA_OK ? audit_waiting(tx, waiting) : status;
}

static char *
copy(const char *text, bool *failed)
{
    char *copied = text ? strdup(text) : NULL;
    *failed = *failed || (text && !copied);
    return copied;
}

static void
pending_clear_auto(struct pending *pending)
{
    pending_clear(pending);
}

static enum ca_status
pending_fill(const struct enrolment *enrolment, struct pending *pending)
{
    const struct grant *grant = enrolment->grant;
    char id[37];
    bool failed = false;
    enum ca_status status = random_uuid(id);
    if (status != CA_OK)
        return status;
    pending->id = copy(id, &failed);
    pending->protocol = copy(enrolment->protocol, &failed);
    pending->profile = copy(endpoint_profile_name(grant->endpoint), &failed);
    pending->user = copy(grant->user.name, &failed);
    pending->device = copy(grant->device.id, &failed);
    pending->subject = copy(enrolment->record.subject, &failed);
    pending->endpoint = copy(grant->endpoint->name, &failed);
    pending->transaction = copy(enrolment->transaction, &failed);
    pending->challenge = copy(grant->challenge, &failed);
    pending->replaces = copy(grant->replaces, &failed);
    pending->approvals_needed = endpoint_profile(grant->endpoint)->approvals;
    pending->expires = clock_now() + enrolment->service->config.pending_expire_seconds;
    pending->request = malloc(enrolment->pkcs10.size);
    failed = failed || !pending->request;
    if (failed)
        return ca_fail(CA_INTERNAL, "no memory for a request");
    memcpy(pending->request, enrolment->pkcs10.data, enrolment->pkcs10.size);
    pending->request_size = enrolment->pkcs10.size;
    memcpy(pending->signer_spki_sha256, enrolment->signer, 32);
    memcpy(pending->request_sha256, enrolment->request_sha256, 32);
    pending->granted = json_incref(grant->names);
    pending->flags = enrolment->flags;
    return CA_OK;
}

static enum ca_status
enroll_later(struct enrolment *enrolment, struct ca_issued *ret_issued)
{
    if (!enrolment->transaction || !enrolment->signer)
        return ca_fail(CA_FORBIDDEN,
                       "profile certificate/%s needs approvals, which a "
                       "request without a transaction cannot wait for",
                       endpoint_profile_name(enrolment->grant->endpoint));
    CA_AUTO(pending_clear) struct pending pending = { 0 };
    enum ca_status status = pending_fill(enrolment, &pending);
    if (status != CA_OK)
        return status;
    struct waiting waiting = { enrolment, &pending };
    status = store_write(enrolment->service->store, waiting_insert, &waiting);
    if (status != CA_OK)
        return status;
    *ret_issued = (struct ca_issued){ .retry_after = OUTCOME_RETRY_SECONDS };
    return CA_PENDING;
}

static enum ca_status
enroll_now(struct exchange *exchange, struct enrolment *enrolment,
           struct ca_issued *ret_issued)
{
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    size_t size = 0;
    enum ca_status status = enrolment_issue(enrolment, &der, &size);
    if (status != CA_OK)
        return status;
    return outcome_give(exchange, &enrolment->record, der, size, ret_issued);
}

/* The secret or the transaction is taken: by this very request, sent twice, or else by
 * another, which is refused. */
static enum ca_status
enroll_same(struct exchange *exchange, const struct enrolment *enrolment,
            struct ca_issued *ret_issued)
{
    char message[512];
    snprintf(message, sizeof message, "%s", status_message());
    enum ca_status status = CA_NOT_FOUND;
    if (enrolment->transaction && enrolment->signer) {
        struct outcome_key key = { .endpoint = enrolment->grant->endpoint->name,
                                   .transaction = enrolment->transaction,
                                   .signer = enrolment->signer,
                                   .request = enrolment->request_sha256 };
        status = outcome_find(exchange, &key, ret_issued);
    }
    return status == CA_NOT_FOUND ? ca_fail(CA_FORBIDDEN, "%s", message) : status;
}

static enum ca_status
enroll_judged(struct exchange *exchange, struct enrolment *enrolment,
              struct ca_issued *ret_issued)
{
    bool waits = endpoint_profile(enrolment->grant->endpoint)->approvals > 0;
    if (waits && (enrolment->flags & CA_ENROL_AT_ONCE))
        return ca_fail(CA_CONFLICT,
                       "profile certificate/%s needs approvals, which this client "
                       "cannot wait for",
                       endpoint_profile_name(enrolment->grant->endpoint));
    /* Built also for a request that waits: what cannot be issued is refused now. */
    enum ca_status status = enrolment_build(enrolment);
    if (status != CA_OK)
        return status;
    status = waits ? enroll_later(enrolment, ret_issued)
                   : enroll_now(exchange, enrolment, ret_issued);
    return status == CA_CONFLICT ? enroll_same(exchange, enrolment, ret_issued)
                                 : status;
}

static void
enrolment_clear_auto(struct enrolment *enrolment)
{
    enrolment_clear(enrolment);
}

/* The signer's key, which the plugin may have had decoded to verify the message. */
static enum ca_status
signer_read(struct exchange *exchange, const struct ca_enrolment *wanted,
            uint8_t ret_sha256[32], EVP_PKEY **ret_key)
{
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    struct ca_bytes key = wanted->signer_key;
    if (wanted->signer) {
        int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(wanted->signer), &der);
        if (size <= 0)
            return ca_fail_openssl(CA_INTERNAL, "cannot encode a public key");
        key = (struct ca_bytes){ der, (size_t)size };
    }
    digest_sha256(key.data, key.size, ret_sha256);
    *ret_key = exchange_known_key(exchange, key);
    return CA_OK;
}

struct notice {
    const struct exchange *exchange;
    const struct enrolment *enrolment;
};

/* Who enrols by a password or a log-in alone: the user sees a stranger's device that
 * way. Others come with a challenge of the administrator's. */
static enum ca_status
notice_keep(struct store_tx *tx, void *arg)
{
    const struct notice *notice = arg;
    const struct enrolment *enrolment = notice->enrolment;
    if (!enrolment->made.id || !enrolment->record.user ||
        notice->exchange->identity.kind != IDENTITY_USER)
        return CA_OK;
    return mail_notice(tx, enrolment->service,
                       &(struct mail_notice){
                           .template = "device_activated",
                           .user = enrolment->record.user,
                           .device = enrolment->made.id,
                           .device_kind = enrolment->made.kind,
                           .source = notice->exchange->request.peer,
                       });
}

static enum ca_status
enroll(struct exchange *exchange, const struct ca_enrolment *wanted,
       struct ca_issued *ret_issued)
{
    struct identity *identity = &exchange->identity;
    uint8_t signer[32];
    EVP_PKEY *key = NULL;
    enum ca_status status = CA_OK;
    bool is_signed = wanted->signer || wanted->signer_key.size > 0;
    if (is_signed)
        status = signer_read(exchange, wanted, signer, &key);
    if (status != CA_OK)
        return status;
    CA_AUTO(enrolment_clear)
    struct enrolment enrolment = {
        .service = exchange->service,
        .issuers = exchange_issuers(exchange),
        .grant = identity->grant,
        .protocol = identity->protocol,
        .cause = { .actor = exchange_actor(exchange),
                   .protocol = identity->protocol,
                   .request = exchange->request.id },
        .pkcs10 = wanted->pkcs10,
        .transaction = wanted->transaction,
        .signer = is_signed ? signer : NULL,
        .signer_key = key,
        .flags = wanted->flags,
        .facts = exchange->facts,
    };
    struct notice notice = { exchange, &enrolment };
    const struct issue_along along = { .keep = notice_keep, .arg = &notice };
    enrolment.along = &along;
    status = enrolment_judge(&enrolment);
    if (identity->grant->mismatch)
        return offer_count(exchange, identity->grant->offer.id,
                           identity->grant->mismatch, status);
    return status == CA_OK ? enroll_judged(exchange, &enrolment, ret_issued) : status;
}

enum ca_status
ca_enroll(struct ca_request *req, const struct ca_enrolment *enrolment,
          struct ca_issued *ret_issued)
{
    struct exchange *exchange = exchange_of(req);
    struct identity *identity = &exchange->identity;
    bool may =
        (identity->kind == IDENTITY_CHALLENGE || identity->kind == IDENTITY_RENEWAL ||
         identity->kind == IDENTITY_USER) &&
        identity->grant && identity->grant->endpoint && !identity->grant->used;
    if (!may) /* a plugin that forgot to ask who it is, or asks twice */
        return refuse(exchange,
                      ca_fail(CA_UNAUTHENTICATED, "no credential for an enrolment"),
                      &(struct refusal_place){ .protocol = exchange->plugin });
    enum ca_status status = service_wait_begin(exchange->service);
    if (status != CA_OK)
        return status;
    identity->grant->used = true;
    exchange_expect_write(exchange);
    status = enroll(exchange, enrolment, ret_issued);
    exchange_expect_end(exchange);
    service_wait_end(exchange->service);
    struct refusal_place place = {
        .protocol = identity->protocol,
        .endpoint = endpoint_short_name(identity->grant->endpoint),
        .verified = true,
    };
    return refuse(exchange, status, &place);
}
