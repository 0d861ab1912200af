/* Outcomes of earlier requests: the same certificate for the same message, the answer
 * for a poll, and what a crash left between intent and signature. */
#include "outcome.h"
#include "auth.h"
#include "auto.h"
#include "certificate.h"
#include "clock.h"
#include "endpoint.h"
#include "enroll.h"
#include "flight.h"
#include "issue.h"
#include "pending.h"
#include <string.h>

#define FLIGHT_WAIT_MS 3000
/* Another process that has not signed its intent after so many seconds is taken to be
 * gone. Were it not, its completion would be refused: the run has changed. */
#define TAKE_OVER_SECONDS 5
#define ROUNDS_MAX 4 /* looks at a transaction that changes under our eyes */

/* What the store says of one transaction. */
struct outcome {
    const struct outcome_key *key;
    int64_t retry_since, poll_since; /* older answers do not count */
    bool has_pending, has_certificate;
    struct pending pending;
    struct certificate_transaction transaction;
    struct certificate certificate;
};

static void
outcome_clear(struct outcome *outcome)
{
    pending_clear(&outcome->pending);
    certificate_transaction_clear(&outcome->transaction);
    certificate_clear(&outcome->certificate);
    outcome->has_pending = outcome->has_certificate = false;
}

static void
outcome_clear_auto(struct outcome *outcome)
{
    outcome_clear(outcome);
}

static enum ca_status
absent_is_fine(enum ca_status status)
{
    return status == CA_NOT_FOUND ? CA_OK : status;
}

/* A request that waits: for a retry the very same one. */
static enum ca_status
read_pending(struct store_tx *tx, struct outcome *outcome)
{
    const struct outcome_key *key = outcome->key;
    enum ca_status status = pending_of_transaction(tx, key->endpoint, key->transaction,
                                                   key->signer, &outcome->pending);
    if (status != CA_OK)
        return absent_is_fine(status);
    outcome->has_pending =
        !key->request || memcmp(key->request, outcome->pending.request_sha256, 32) == 0;
    return CA_OK;
}

static bool
counts(const struct outcome *outcome)
{
    const struct certificate_transaction *found = &outcome->transaction;
    int64_t since = outcome->key->request ? outcome->retry_since : outcome->poll_since;
    if (found->state == CERTIFICATE_ABANDONED)
        return false;
    return found->state == CERTIFICATE_INTENT || found->completed >= since;
}

static enum ca_status
read_certificate(struct store_tx *tx, struct outcome *outcome)
{
    const struct outcome_key *key = outcome->key;
    enum ca_status status =
        certificate_of_transaction(tx, key->endpoint, key->transaction, key->signer,
                                   key->request, &outcome->transaction);
    if (status != CA_OK)
        return absent_is_fine(status);
    if (!counts(outcome))
        return CA_OK;
    status =
        certificate_load(tx, NULL, outcome->transaction.serial, &outcome->certificate);
    outcome->has_certificate = status == CA_OK;
    return status;
}

static enum ca_status
outcome_read(struct store_tx *tx, void *arg)
{
    struct outcome *outcome = arg;
    outcome_clear(outcome);
    enum ca_status status = read_pending(tx, outcome);
    return status == CA_OK ? read_certificate(tx, outcome) : status;
}

static const char *
copy(struct exchange *exchange, const char *text, bool *failed)
{
    size_t size = text ? strlen(text) + 1 : 0;
    char *copied = text ? ca_request_alloc(&exchange->request, size) : NULL;
    if (copied)
        memcpy(copied, text, size);
    *failed = *failed || (text && !copied);
    return copied;
}

enum ca_status
outcome_give(struct exchange *exchange, const struct certificate *record,
             const void *der, size_t size, struct ca_issued *ret_issued)
{
    uint8_t *octets = ca_request_alloc(&exchange->request, size);
    bool failed = !octets;
    const struct ca_issued issued = {
        .der = { octets, size },
        .serial = copy(exchange, record->serial, &failed),
        .profile = copy(exchange, record->profile, &failed),
        .user = copy(exchange, record->user, &failed),
        .device = copy(exchange, record->device, &failed),
    };
    if (failed)
        return ca_fail(CA_INTERNAL, "no memory for a certificate");
    memcpy(octets, der, size);
    *ret_issued = issued;
    return CA_OK;
}

/* The one that the key names; where it names certificate profiles at large, that of the
 * intent. */
static enum ca_status
find_endpoint(struct exchange *exchange, const struct outcome *outcome,
              const struct endpoint **ret_endpoint)
{
    const char *name = outcome->key->endpoint;
    const char *profile = outcome->certificate.profile;
    CA_AUTO(free) char *of_profile = NULL;
    if (strcmp(name, "certificate/") != 0)
        return endpoint_of(exchange, name, ret_endpoint);
    if (asprintf(&of_profile, "%s%s", name, profile ? profile : "") < 0) {
        of_profile = NULL;
        return ca_fail(CA_INTERNAL, "no memory for an endpoint's name");
    }
    return endpoint_of(exchange, of_profile, ret_endpoint);
}

/* The intent's own TBS signed again: it has the serial and the names that were judged,
 * whatever the profile says by now. */
static enum ca_status
sign_intent(struct exchange *exchange, const struct outcome *outcome)
{
    const struct certificate *record = &outcome->certificate;
    const struct endpoint *endpoint = NULL;
    enum ca_status status = find_endpoint(exchange, outcome, &endpoint);
    if (status != CA_OK)
        return status;
    const struct issuer *issuer =
        issuers_find(exchange_issuers(exchange), record->issuer);
    if (!issuer || !issuer->key)
        return ca_fail(CA_UNAVAILABLE, "the key of issuer '%s' is not in a token here",
                       record->issuer);
    struct issue issue = {
        .issuer = issuer,
        .serial = record->serial,
        .tbs = record->der,
        .tbs_size = record->der_size,
        .user = record->user,
        .device = record->device,
        .profile = record->profile,
        .challenge = outcome->transaction.challenge,
        .replaces = outcome->transaction.replaces,
        .subject = record->subject,
        .one_active = endpoint_profile(endpoint)->one_active_per_device,
        .revoke_replaced =
            endpoint_profile(endpoint)->revoke_replaced &&
            !auth_keeps_replaced(record->protocol, outcome->transaction.replaces),
        .cause = { .actor = exchange_actor(exchange),
                   .protocol = record->protocol,
                   .request = exchange->request.id },
    };
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    size_t size = 0;
    return issue_sign(exchange->service, &issue, &der, &size);
}

struct take_over {
    const char *serial, *run;
};

static enum ca_status
take_over(struct store_tx *tx, void *arg)
{
    const struct take_over *wanted = arg;
    return certificate_take_over(tx, wanted->serial, wanted->run,
                                 clock_now() - TAKE_OVER_SECONDS);
}

/* CA_OK: look again. */
static enum ca_status
finish_intent(struct exchange *exchange, const struct outcome *outcome)
{
    struct service *service = exchange->service;
    const char *serial = outcome->certificate.serial;
    if (!flight_begin(service->flights, serial)) {
        if (flight_wait(service->flights, serial, FLIGHT_WAIT_MS))
            return CA_OK;
        return ca_fail(CA_UNAVAILABLE, "certificate %s is being signed", serial);
    }
    enum ca_status status = CA_OK;
    if (strcmp(outcome->transaction.run, service->run) != 0) {
        struct take_over wanted = { serial, service->run };
        status = store_write(service->store, take_over, &wanted);
        if (status == CA_CONFLICT)
            status =
                ca_fail(CA_UNAVAILABLE,
                        "certificate %s is being signed by another instance", serial);
    }
    if (status == CA_OK)
        status = sign_intent(exchange, outcome);
    flight_end(service->flights, serial);
    return status == CA_CONFLICT ? CA_OK : status;
}

static enum ca_status
answer_certificate(struct exchange *exchange, const struct outcome *outcome,
                   struct ca_issued *ret_issued)
{
    const struct certificate *found = &outcome->certificate;
    if (found->state != CERTIFICATE_ISSUED)
        return ca_fail(CA_FORBIDDEN, "certificate %s of this transaction is %s",
                       found->serial,
                       found->state == CERTIFICATE_EXPIRED ? "expired" : "revoked");
    return outcome_give(exchange, found, found->der, found->der_size, ret_issued);
}

/* CA_OK without a certificate: look again. */
static enum ca_status
answer_pending(struct exchange *exchange, const struct outcome *outcome,
               struct ca_issued *ret_issued)
{
    const struct pending *pending = &outcome->pending;
    switch ((enum pending_state)pending->state) {
    case PENDING_WAITING:
        *ret_issued = (struct ca_issued){ .retry_after = OUTCOME_RETRY_SECONDS };
        return CA_PENDING;
    case PENDING_APPROVED: return enroll_approved(exchange->service, pending->id);
    case PENDING_REFUSED:
        return ca_fail(CA_FORBIDDEN, "request %s was refused", pending->id);
    case PENDING_ISSUED:
    case PENDING_EXPIRED: break;
    }
    return ca_fail(CA_NOT_FOUND, "request %s has no answer any more", pending->id);
}

/* To others there is no such request. */
static bool
is_for(const struct outcome *outcome)
{
    const char *user = outcome->key->user;
    const char *of_certificate = outcome->certificate.user;
    const char *of_pending = outcome->pending.user;
    if (!user)
        return true;
    return (!outcome->has_certificate ||
            (of_certificate && strcmp(of_certificate, user) == 0)) &&
           (!outcome->has_pending || (of_pending && strcmp(of_pending, user) == 0));
}

/* One look and what follows from it; CA_OK without a certificate: look again. */
static enum ca_status
outcome_round(struct exchange *exchange, struct outcome *outcome,
              struct ca_issued *ret_issued)
{
    enum ca_status status = store_read(exchange->service->store, outcome_read, outcome);
    if (status != CA_OK)
        return status;
    if (!is_for(outcome))
        return ca_fail(CA_NOT_FOUND, "the transaction is not user '%s' own",
                       outcome->key->user);
    bool waits = outcome->has_pending && outcome->pending.state != PENDING_ISSUED &&
                 outcome->pending.state != PENDING_EXPIRED;
    if (outcome->has_certificate && !waits) {
        if (outcome->certificate.state == CERTIFICATE_INTENT)
            return finish_intent(exchange, outcome);
        return answer_certificate(exchange, outcome, ret_issued);
    }
    if (outcome->has_pending)
        return answer_pending(exchange, outcome, ret_issued);
    return ca_fail(CA_NOT_FOUND, "no request of this transaction and key");
}

enum ca_status
outcome_find(struct exchange *exchange, const struct outcome_key *key,
             struct ca_issued *ret_issued)
{
    const struct config *config = &exchange->service->config;
    int64_t now = clock_now();
    CA_AUTO(outcome_clear)
    struct outcome outcome = { .key = key,
                               .retry_since =
                                   now - endpoint_retry_seconds(key->endpoint, config),
                               .poll_since = now - config->pending_expire_seconds };
    for (int i = 0; i < ROUNDS_MAX; i++) {
        struct ca_issued issued = { 0 };
        enum ca_status status = outcome_round(exchange, &outcome, &issued);
        if (status == CA_OK && !issued.der.data)
            continue;
        if (status == CA_OK || status == CA_PENDING)
            *ret_issued = issued;
        return status;
    }
    return ca_fail(CA_UNAVAILABLE, "the transaction is still in work");
}
