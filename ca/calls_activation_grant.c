/* Activation once the password is proven: the request judged, a device taken, the
 * certificate composed, signed and recorded, all of it from our own records. */
#include "activate_call.h"
#include "assignment.h"
#include "audit.h"
#include "auto.h"
#include "clock.h"
#include "csr.h"
#include "enrolment.h"
#include "keycheck.h"
#include "log.h"
#include "mail.h"
#include "onetime.h"
#include "refuse.h"
#include <openssl/crypto.h>
#include <string.h>

#define PROTOCOL "activation"
#define WORK_SPACE_MEMBER "work_space" /* {{device.hardware.work_space}} */
#define WORK_SPACE_SIZE 65

/* What a refusal says to the person who knows the password. */
static const struct {
    const char *word, *detail;
} refusals[] = {
    { "csr_rejected",
      "The certificate request, its key or its signature is not taken." },
    { "policy", "The profile does not allow this activation." },
    { "quota", "The user has as many devices as the profile allows." },
};
enum refusal { REFUSAL_CSR, REFUSAL_POLICY, REFUSAL_QUOTA };

struct proof {
    struct exchange *exchange;
    struct activate_call *call;
    struct ca_bytes pkcs10;
    X509_REQ *request; /* the enrolment's, once that begins */
    uint8_t spki[32];
    struct activation activation;
    struct grant grant;
    struct endpoint *endpoint; /* "activation/<profile>" */
    bool is_foreign;           /* another user's device holds the key */
    char work_space[WORK_SPACE_SIZE];
    struct device_facts facts;
    enum refusal refusal; /* of what is refused from here on */
    struct enrolment enrolment;
    const struct ca_activation_sealer *sealer;
    struct issue_along along;
    struct ca_activation_answer answer; /* sealed; http_status 0: none yet */
};

static void
proof_reset(struct proof *proof)
{
    activation_clear(&proof->activation);
    grant_clear(&proof->grant);
    endpoint_free(CA_STEAL(proof->endpoint));
    proof->is_foreign = false;
}

static void
proof_clear_auto(struct proof *proof)
{
    enrolment_clear(&proof->enrolment);
    proof_reset(proof);
    device_facts_clear(&proof->facts);
    X509_REQ_free(proof->request);
}

/* ---- What the records say ---- */

static enum ca_status
profile_read(struct store_tx *tx, struct proof *proof)
{
    const struct activation *activation = &proof->activation;
    CA_AUTO(free) char *profile = NULL;
    CA_AUTO(free) char *name = NULL;
    enum ca_status status = CA_OK;
    if (activation->profile)
        profile = strdup(activation->profile);
    else
        status = assignment_effective(tx, activation->user,
                                      profile_kind_words[PROFILE_ACTIVATION], &profile,
                                      NULL);
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_FORBIDDEN, "user '%s' has no activation profile",
                       activation->user);
    if (status != CA_OK)
        return status;
    if (!profile || asprintf(&name, "activation/%s", profile) < 0) {
        name = NULL;
        return ca_fail(CA_INTERNAL, "no memory for an endpoint's name");
    }
    return endpoint_load(tx, proof->exchange->service->profiles, name,
                         &proof->endpoint);
}

/* The device that holds this key already: the user's own is activated anew. */
static enum ca_status
device_read(struct store_tx *tx, struct proof *proof)
{
    CA_AUTO(free) char *id = NULL;
    struct device *device = &proof->grant.device;
    enum ca_status status = device_of_key(tx, proof->spki, &id);
    if (status == CA_NOT_FOUND)
        return CA_OK;
    if (status == CA_OK)
        status = device_load(tx, id, device);
    if (status != CA_OK)
        return status;
    proof->is_foreign =
        !device->owner || strcmp(device->owner, proof->activation.user) != 0;
    return CA_OK;
}

static enum ca_status
proof_read(struct store_tx *tx, void *arg)
{
    struct proof *proof = arg;
    proof_reset(proof);
    enum ca_status status =
        activation_load(tx, proof->call->activation, &proof->activation);
    if (status == CA_OK)
        status = user_load(tx, proof->activation.user, &proof->grant.user);
    if (status == CA_OK)
        status = profile_read(tx, proof);
    return status == CA_OK ? device_read(tx, proof) : status;
}

/* ---- Judgement ---- */

/* The key of the request, before anything is asked about it. */
static enum ca_status
request_read(struct proof *proof)
{
    if (proof->pkcs10.size == 0 || proof->pkcs10.size > ACTIVATE_CSR_MAX)
        return ca_fail(CA_LIMIT, "PKCS#10 of %zu octets, at most %d",
                       proof->pkcs10.size, ACTIVATE_CSR_MAX);
    enum ca_status status =
        csr_decode(proof->pkcs10.data, proof->pkcs10.size, &proof->request);
    return status == CA_OK
               ? keycheck_digest(X509_REQ_get_X509_PUBKEY(proof->request), proof->spki)
               : status;
}

/* An id for this activation: the user's own work space where one is set. */
static enum ca_status
work_space_set(struct proof *proof)
{
    struct device *device = &proof->grant.device;
    const char *known = proof->grant.user.work_space;
    uint8_t octets[4];
    char hex[2 * sizeof octets + 1];
    if (known && *known) {
        snprintf(proof->work_space, sizeof proof->work_space, "%s", known);
    } else {
        enum ca_status status = random_bytes(octets, sizeof octets);
        if (status != CA_OK)
            return status;
        hex_format(octets, sizeof octets, hex);
        snprintf(proof->work_space, sizeof proof->work_space, "ws-%s", hex);
    }
    proof->facts.kind = strdup(device->id ? device->kind : PROTOCOL);
    proof->facts.hardware = json_pack("{s:s}", WORK_SPACE_MEMBER, proof->work_space);
    proof->facts.report = json_object();
    if (!proof->facts.kind || !proof->facts.hardware || !proof->facts.report ||
        (device->id &&
         json_object_update(device->hardware, proof->facts.hardware) != 0))
        return ca_fail(CA_INTERNAL, "no memory for a device's facts");
    return CA_OK;
}

static enum ca_status
policy_judge(struct proof *proof)
{
    const struct activation_profile *profile =
        &proof->endpoint->protocol->profile.settings.activation;
    proof->refusal = REFUSAL_CSR;
    if (proof->is_foreign)
        return ca_fail(CA_FORBIDDEN, "another user's device holds this key");
    proof->refusal = REFUSAL_POLICY;
    if (!(profile->protocols & ACTIVATION_PROTOCOL_PASSWORD))
        return ca_fail(CA_FORBIDDEN, "profile %s allows no password",
                       proof->endpoint->name);
    if (endpoint_profile(proof->endpoint)->approvals > 0)
        return ca_fail(CA_FORBIDDEN,
                       "profile certificate/%s needs approvals, which an activation "
                       "cannot wait for",
                       endpoint_profile_name(proof->endpoint));
    enum ca_status status = grant_check_protocol(proof->endpoint, PROTOCOL);
    return status == CA_OK ? grant_is_active(&proof->grant) : status;
}

/* ---- The grant ---- */

static enum ca_status
certificate_copy(struct ca_request *req, X509 *certificate, struct ca_bytes *ret_octets)
{
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    int size = i2d_X509(certificate, &der);
    if (size <= 0)
        return ca_fail_openssl(CA_INTERNAL, "cannot encode a certificate");
    uint8_t *copy = ca_request_alloc(req, (size_t)size);
    if (!copy)
        return ca_fail(CA_INTERNAL, "no memory for a chain");
    memcpy(copy, der, (size_t)size);
    *ret_octets = (struct ca_bytes){ copy, (size_t)size };
    return CA_OK;
}

static enum ca_status
chain_give(struct ca_request *req, const struct issuer *issuer,
           struct ca_activation_grant *grant)
{
    int above = issuer->chain ? sk_X509_num(issuer->chain) : 0;
    size_t count = 1 + (size_t)(above > 0 ? above : 0);
    struct ca_bytes *chain = ca_request_alloc(req, count * sizeof *chain);
    if (!chain)
        return ca_fail(CA_INTERNAL, "no memory for a chain");
    enum ca_status status = certificate_copy(req, issuer->certificate, &chain[0]);
    for (size_t i = 1; status == CA_OK && i < count; i++)
        status =
            certificate_copy(req, sk_X509_value(issuer->chain, (int)i - 1), &chain[i]);
    grant->chain = chain;
    grant->chain_count = count;
    return status;
}

static enum ca_status
grant_fill(const struct proof *proof, const uint8_t *der, size_t size,
           struct ca_activation_grant *ret_grant)
{
    struct ca_request *req = &proof->exchange->request;
    struct ca_activation_grant grant = { .certificate = { der, size } };
    struct ca_organisation organisation;
    enum ca_status status = ca_organisation(req, &organisation);
    if (status == CA_OK)
        status = chain_give(req, proof->enrolment.issuer, &grant);
    if (status != CA_OK)
        return status;
    grant.device = enrolment_device(&proof->enrolment);
    grant.workspace = proof->work_space;
    grant.organisation = organisation.name;
    grant.url = organisation.base_url;
    *ret_grant = grant;
    return CA_OK;
}

/* ---- The answer ---- */

static enum ca_status
answer_seal(struct proof *proof, int http_status,
            const struct ca_activation_grant *grant)
{
    struct ca_activation_answer *answer = &proof->answer;
    enum ca_status status =
        proof->sealer->seal(proof->sealer->arg, grant, &answer->body);
    answer->http_status = status == CA_OK ? http_status : 0;
    return status;
}

/* A session that expired meanwhile keeps none, which goes out all the same. */
static enum ca_status
answer_keep(struct store_tx *tx, const struct proof *proof)
{
    const struct ca_activation_answer *answer = &proof->answer;
    enum ca_status status = activation_session_answer(
        tx, proof->call->sn, answer->http_status, answer->body.data, answer->body.size);
    return status == CA_OK || status == CA_CONFLICT
               ? activation_failures_forgive(tx, proof->call->name)
               : status;
}

static enum ca_status
grant_make(void *arg, const uint8_t *der, size_t size)
{
    struct proof *proof = arg;
    struct ca_activation_grant grant;
    enum ca_status status = grant_fill(proof, der, size, &grant);
    return status == CA_OK ? answer_seal(proof, 200, &grant) : status;
}

/* With a notice: the user sees a device of a stranger's that way. */
static enum ca_status
grant_keep(struct store_tx *tx, void *arg)
{
    const struct proof *proof = arg;
    const struct exchange *exchange = proof->exchange;
    enum ca_status status = answer_keep(tx, proof);
    if (status != CA_OK)
        return status;
    return mail_notice(tx, exchange->service,
                       &(struct mail_notice){
                           .template = "device_activated",
                           .user = proof->activation.user,
                           .device = enrolment_device(&proof->enrolment),
                           .device_kind = PROTOCOL,
                           .source = exchange->request.peer,
                       });
}

/* ---- The enrolment ---- */

static void
enrolment_fill(struct proof *proof)
{
    struct exchange *exchange = proof->exchange;
    proof->enrolment = (struct enrolment){
        .service = exchange->service,
        .issuers = exchange_issuers(exchange),
        .grant = &proof->grant,
        .protocol = PROTOCOL,
        .cause = { .actor = exchange_actor(exchange),
                   .protocol = PROTOCOL,
                   .request = exchange->request.id },
        .pkcs10 = proof->pkcs10,
        .request = CA_STEAL(proof->request),
        .flags = CA_ENROL_KEY_ALONE | CA_ENROL_AT_ONCE,
        .facts = &proof->facts,
        .along = &proof->along,
        .devices_max =
            proof->endpoint->protocol->profile.settings.activation.devices_per_user,
    };
}

/* Up to the linted certificate; nothing is changed. */
static enum ca_status
proof_judge(struct proof *proof)
{
    struct grant *grant = &proof->grant;
    proof->refusal = REFUSAL_CSR;
    enum ca_status status = request_read(proof);
    if (status == CA_OK) {
        proof->refusal = REFUSAL_POLICY;
        status = store_read(proof->exchange->service->store, proof_read, proof);
    }
    if (status != CA_OK)
        return status;
    grant->endpoint = proof->endpoint;
    if (asprintf(&grant->challenge, ONETIME_ACTIVATION "%s", proof->call->activation) <
        0) {
        grant->challenge = NULL;
        return ca_fail(CA_INTERNAL, "no memory for a grant");
    }
    status = policy_judge(proof);
    if (status == CA_OK)
        status = work_space_set(proof);
    if (status != CA_OK)
        return status;
    enrolment_fill(proof);
    proof->refusal = REFUSAL_CSR;
    status = enrolment_judge_request(&proof->enrolment);
    if (status != CA_OK)
        return status;
    proof->refusal = REFUSAL_POLICY;
    status = enrolment_judge_names(&proof->enrolment);
    return status == CA_OK ? enrolment_build(&proof->enrolment) : status;
}

/* ---- Refusal and failure ---- */

static bool
is_refusal(enum ca_status status)
{
    return status == CA_MALFORMED || status == CA_FORBIDDEN ||
           status == CA_UNSUPPORTED || status == CA_LIMIT || status == CA_NOT_FOUND;
}

/* Tries are full again, and the tenth refusal ends the password. One that ended
 * meanwhile is refused no more, but answered. */
static enum ca_status
refusal_write(struct store_tx *tx, void *arg)
{
    const struct proof *proof = arg;
    enum ca_status status = activation_refuse(tx, proof->call->activation);
    return status == CA_OK || status == CA_CONFLICT ? answer_keep(tx, proof) : status;
}

static enum ca_status
proof_refuse(struct proof *proof, enum ca_status why)
{
    struct exchange *exchange = proof->exchange;
    const struct ca_activation_grant refusal = { .error = refusals[proof->refusal].word,
                                                 .detail =
                                                     refusals[proof->refusal].detail };
    char message[512];
    snprintf(message, sizeof message, "%s", status_message());
    enum ca_status status = answer_seal(proof, 422, &refusal);
    if (status == CA_OK)
        status = store_write(exchange->service->store, refusal_write, proof);
    if (status != CA_OK)
        return status;
    refuse(
        exchange, ca_fail(why, "%s", message),
        &(struct refusal_place){
            .protocol = PROTOCOL,
            .endpoint = proof->endpoint ? endpoint_short_name(proof->endpoint) : NULL,
            .verified = true });
    return ca_fail(CA_FORBIDDEN, "%s", message);
}

static enum ca_status
try_give_back(struct store_tx *tx, void *arg)
{
    const struct proof *proof = arg;
    enum ca_status status = activation_give_back(tx, proof->call->activation);
    return status == CA_OK ? activation_failures_forgive(tx, proof->call->name)
                           : status;
}

/* Token or store failed: device and try come back. What cannot be given back now is
 * given back by a periodic job, when it finds the intent that nobody signs. */
static enum ca_status
proof_fail(struct proof *proof, enum ca_status why, bool is_reserved)
{
    struct service *service = proof->exchange->service;
    char message[512];
    bool was_there = false;
    snprintf(message, sizeof message, "%s", status_message());
    enum ca_status status =
        is_reserved ? enrolment_give_up(&proof->enrolment, &was_there) : CA_OK;
    /* A release gives the try back with the device. */
    if (status == CA_OK && !was_there)
        status = store_write(service->store, try_give_back, proof);
    if (status != CA_OK)
        log_write(LOG_LEVEL_ERROR,
                  json_pack("{s:s}", "activation", proof->call->activation),
                  "a try was not given back: %s", status_message());
    return ca_fail(why == CA_INTERNAL ? CA_INTERNAL : CA_UNAVAILABLE, "%s", message);
}

static enum ca_status
proof_issue(struct proof *proof)
{
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    size_t size = 0;
    enum ca_status status = enrolment_issue(&proof->enrolment, &der, &size);
    if (status == CA_CONFLICT) { /* no device is left, or it was withdrawn */
        proof->call->is_live = false;
        return activate_refuse(
            proof->exchange,
            ca_fail(CA_UNAUTHENTICATED, "no device is left of this password"));
    }
    if (is_refusal(status)) {
        proof->refusal = status == CA_LIMIT ? REFUSAL_QUOTA : REFUSAL_POLICY;
        return proof_refuse(proof, CA_FORBIDDEN);
    }
    return status == CA_OK ? CA_OK : proof_fail(proof, status, true);
}

static enum ca_status
prove(struct exchange *exchange, struct ca_bytes pkcs10,
      const struct ca_activation_sealer *sealer,
      struct ca_activation_answer *ret_answer)
{
    struct activate_call *call = exchange->activation;
    if (!call || call->is_proven)
        return ca_fail(CA_INTERNAL, "no attempt to prove");
    if (!call->is_live) {
        activate_failed(exchange, "auth_failed");
        return ca_fail(CA_UNAUTHENTICATED, "no live password behind this session");
    }
    CA_AUTO(proof_clear)
    struct proof proof = {
        .exchange = exchange, .call = call, .pkcs10 = pkcs10, .sealer = sealer
    };
    proof.along = (struct issue_along){ grant_make, grant_keep, &proof };
    enum ca_status status = proof_judge(&proof);
    if (status == CA_OK)
        status = proof_issue(&proof);
    else
        status = is_refusal(status) ? proof_refuse(&proof, status)
                                    : proof_fail(&proof, status, false);
    call->is_proven = status == CA_OK || status == CA_FORBIDDEN;
    if (call->is_proven)
        *ret_answer = proof.answer;
    return status;
}

enum ca_status
ca_activation_proved(struct ca_request *req, struct ca_bytes pkcs10,
                     const struct ca_activation_sealer *sealer,
                     struct ca_activation_answer *ret_answer)
{
    struct exchange *exchange = exchange_of(req);
    *ret_answer = (struct ca_activation_answer){ .http_status = 0 };
    enum ca_status status = service_wait_begin(exchange->service);
    if (status != CA_OK)
        return status;
    exchange_expect_write(exchange);
    status = prove(exchange, pkcs10, sealer, ret_answer);
    if (ret_answer->http_status == 0) {
        CA_AUTO(free) char *message = strdup(status_message());
        activate_session_over(exchange);
        ca_fail(status, "%s", message ? message : "no memory");
    }
    exchange_expect_end(exchange);
    service_wait_end(exchange->service);
    return status;
}
