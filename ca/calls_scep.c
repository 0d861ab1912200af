/* SCEP of activated devices: who asks, by which profile, of which CA; and paths. */
#include "calls_scep.h"
#include "auth.h"
#include "auto.h"
#include "endpoint.h"
#include "grant.h"
#include "offer_count.h"
#include "refuse.h"
#include "upstream.h"
#include <string.h>

/* ---- What the calls share ---- */

void
scep_call_clear(struct scep_call *call)
{
    scep_effective_clear(&call->effective);
    offer_clear(&call->offer);
}

enum ca_status
scep_call_begin(struct ca_request *req, struct ca_scep_failure *failure,
                struct scep_call *call)
{
    struct exchange *exchange = exchange_of(req);
    const struct identity *identity = &exchange->identity;
    failure->error = NULL;
    *call = (struct scep_call){ .exchange = exchange,
                                .user = identity->user,
                                .device = identity->device,
                                .failure = failure };
    scep_effective_clear(&call->effective);
    if (identity->kind != IDENTITY_DEVICE || !identity->device || !identity->user)
        return ca_fail(CA_UNAUTHENTICATED, "no activated device asks");
    return CA_OK;
}

enum ca_status
scep_call_fail(struct scep_call *call, enum ca_status status, const char *word)
{
    call->failure->error = word;
    return status;
}

unsigned
scep_call_modes(const struct scep_call *call)
{
    const struct scep_profile *scep = &call->effective.scep.settings.scep;
    bool has_ra = !scep->upstream.url || scep->upstream.ra_file;
    return has_ra ? scep->modes : scep->modes & ~(1u << SCEP_MODE_SIMPLE);
}

struct profile_question {
    struct scep_call *call;
    const uint8_t *request; /* NULL: no offer is asked for */
    const char *profile;
};

static enum ca_status
profile_read(struct store_tx *tx, void *arg)
{
    struct profile_question *question = arg;
    struct scep_call *call = question->call;
    scep_effective_clear(&call->effective);
    offer_clear(&call->offer);
    enum ca_status status = scep_effective_profiles(tx, call->user, &call->effective);
    if (status == CA_OK)
        status = scep_effective_records(tx, call->user, call->device, &call->effective);
    if (status != CA_OK || !question->request)
        return status;
    status = offer_of_device(tx, call->device, call->effective.scep.name,
                             question->request, &call->offer);
    return status == CA_NOT_FOUND ? CA_OK : status;
}

static enum ca_status
profile_find(struct profile_question *question, enum scep_mode mode)
{
    struct scep_call *call = question->call;
    enum ca_status status =
        store_read(call->exchange->service->store, profile_read, question);
    if (status == CA_NOT_FOUND)
        return scep_call_fail(call, status, "no_profile");
    if (status != CA_OK)
        return status;
    const struct profile *scep = &call->effective.scep;
    unsigned modes = scep_call_modes(call);
    if (question->profile && strcmp(scep->name, question->profile) != 0)
        return scep_call_fail(call,
                              ca_fail(CA_NOT_FOUND, "the device's profile is another"),
                              "no_profile");
    if (question->profile && !(modes & 1u << mode))
        return scep_call_fail(
            call,
            ca_fail(CA_NOT_FOUND, "profile scep/%s has not this mode", scep->name),
            "no_profile");
    return CA_OK;
}

enum ca_status
scep_call_profile(struct scep_call *call, const char *profile, enum scep_mode mode)
{
    struct profile_question question = { call, NULL, profile };
    return profile_find(&question, mode);
}

enum ca_status
scep_call_offer(struct scep_call *call, const char *profile, enum scep_mode mode,
                const uint8_t request[32])
{
    struct profile_question question = { call, request, profile };
    enum ca_status status = profile_find(&question, mode);
    if (status != CA_OK)
        return status;
    const struct offer *offer = &call->offer;
    bool is_current =
        offer->id && offer->profile_version == call->effective.scep.stamp.version;
    if (!is_current && (!offer->id || offer->state == OFFER_OPEN))
        return scep_call_fail(
            call, ca_fail(CA_NOT_FOUND, "the device has no offer that is alive"),
            "txn_gone");
    return CA_OK;
}

enum ca_status
scep_call_mismatch(struct scep_call *call, enum ca_status status, const char *word)
{
    struct exchange *exchange = call->exchange;
    status = offer_count(exchange, call->offer.id, word, status);
    if (status != CA_FORBIDDEN)
        return status;
    call->failure->error = word;
    return refuse(exchange, status,
                  &(struct refusal_place){ .protocol = exchange->identity.protocol,
                                           .endpoint = call->effective.scep.name,
                                           .verified = true });
}

bool
scep_call_is_upstream(const struct scep_call *call)
{
    return call->effective.scep.settings.scep.upstream.url != NULL;
}

struct ca_bytes
scep_keep_octets(struct exchange *exchange, const void *data, size_t size)
{
    uint8_t *copy = ca_request_alloc(&exchange->request, size + 1);
    if (!copy)
        return (struct ca_bytes){ NULL, 0 };
    memcpy(copy, data, size);
    return (struct ca_bytes){ copy, size };
}

char *
scep_keep_text(struct exchange *exchange, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = ca_request_alloc(&exchange->request, size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

struct ca_bytes
scep_keep_certificate(struct exchange *exchange, X509 *certificate)
{
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    int size = i2d_X509(certificate, &der);
    if (size <= 0)
        return (struct ca_bytes){ NULL, 0 };
    return scep_keep_octets(exchange, der, (size_t)size);
}

/* Certificates as the request's DER. */
static enum ca_status
keep_chain(struct exchange *exchange, X509 *const *certificates, size_t count,
           struct scep_authority *authority)
{
    struct ca_bytes *chain =
        ca_request_alloc(&exchange->request, count * sizeof *chain);
    if (!chain)
        return ca_fail(CA_INTERNAL, "no memory for a chain");
    for (size_t i = 0; i < count; i++) {
        chain[i] = scep_keep_certificate(exchange, certificates[i]);
        if (!chain[i].data)
            return ca_fail(CA_INTERNAL, "no memory for a chain");
    }
    authority->chain = chain;
    authority->count = count;
    return CA_OK;
}

static void
authority_release(void *pointer)
{
    scep_wire_authority_clear(pointer);
    free(pointer);
}

static enum ca_status
upstream_find(struct scep_call *call, struct scep_authority *ret_authority)
{
    struct exchange *exchange = call->exchange;
    X509 *certificates[SCEP_WIRE_CERTIFICATES_MAX + 1];
    struct scep_wire_authority *found = calloc(1, sizeof *found);
    if (!found)
        return ca_fail(CA_INTERNAL, "no memory for an upstream CA");
    enum ca_status status = exchange_keep(exchange, found, authority_release);
    if (status == CA_OK)
        status = service_upstream_begin(exchange->service);
    if (status == CA_OK) {
        status =
            upstream_authority(&call->effective.scep.settings.scep.upstream, found);
        service_upstream_end(exchange->service);
    }
    if (status != CA_OK)
        return scep_call_fail(call, status, "upstream");
    size_t count = (size_t)sk_X509_num(found->chain);
    for (size_t i = 0; i < count; i++)
        certificates[i] = sk_X509_value(found->chain, (int)i);
    ret_authority->issuer = found->issuer;
    ret_authority->recipient = found->recipient;
    return keep_chain(exchange, certificates, count, ret_authority);
}

/* Our own: the RA that requests are enveloped to, and its issuer's chain. */
static enum ca_status
own_find(struct scep_call *call, struct scep_authority *ret_authority)
{
    struct exchange *exchange = call->exchange;
    X509 *certificates[SCEP_WIRE_CERTIFICATES_MAX + 1];
    char endpoint[sizeof "scep/" + RECORD_NAME_MAX];
    struct ca_key *key = NULL;
    struct ca_chain chain;
    snprintf(endpoint, sizeof endpoint, "scep/%s", call->effective.scep.name);
    enum ca_status status = ca_chain(&exchange->request, endpoint, false, &chain);
    X509 *recipient = NULL;
    for (size_t i = 0; status == CA_OK && !recipient; i++) {
        status = ca_key_get(&exchange->request, endpoint, CA_KEY_RA, false, i, &key);
        X509 *one = status == CA_OK ? ca_key_certificate(key) : NULL;
        if (one && X509_get_key_usage(one) & KU_KEY_ENCIPHERMENT)
            recipient = one;
    }
    if (status != CA_OK)
        return status == CA_NOT_FOUND ? ca_fail(CA_UNAVAILABLE, "no RA key") : status;
    if (chain.count > SCEP_WIRE_CERTIFICATES_MAX)
        return ca_fail(CA_INTERNAL, "a chain of %zu certificates", chain.count);
    certificates[0] = recipient;
    for (size_t i = 0; i < chain.count; i++)
        certificates[i + 1] = chain.certificates[i];
    ret_authority->issuer = chain.issuer;
    ret_authority->recipient = recipient;
    return keep_chain(exchange, certificates, chain.count + 1, ret_authority);
}

enum ca_status
scep_call_challenge(struct scep_call *call, char **ret_challenge)
{
    struct service *service = call->exchange->service;
    enum ca_status status = service_upstream_begin(service);
    if (status != CA_OK)
        return status;
    status =
        upstream_challenge(service->config.data_directory,
                           &call->effective.scep.settings.scep.upstream, ret_challenge);
    service_upstream_end(service);
    return status == CA_NOT_FOUND ? CA_OK : status;
}

enum ca_status
scep_call_authority(struct scep_call *call, struct scep_authority *ret_authority)
{
    return scep_call_is_upstream(call) ? upstream_find(call, ret_authority)
                                       : own_find(call, ret_authority);
}

/* ---- Paths ---- */

struct path_question {
    struct exchange *exchange;
    const char *profile, *token;
    struct scep_profile settings; /* shallow: lent by the request's endpoint */
    struct offer offer;
};

static enum ca_status
path_read(struct store_tx *tx, void *arg)
{
    struct path_question *question = arg;
    X509 *peer = question->exchange->request.peer_certificate;
    offer_clear(&question->offer);
    enum ca_status status =
        offer_of_path(tx, question->profile, question->token, &question->offer);
    if (status != CA_OK)
        return status;
    if (!peer)
        return question->settings.client_certificate
                   ? ca_fail(CA_FORBIDDEN, "no TLS client certificate")
                   : CA_OK;
    status = auth_offer_peer(tx, exchange_issuers(question->exchange), peer,
                             &question->offer);
    return status == CA_UNAUTHENTICATED ? ca_fail(CA_FORBIDDEN, "%s", status_message())
                                        : status;
}

/* The offer behind a path, where it is one. */
static enum ca_status
path_find(struct path_question *question)
{
    char name[sizeof "scep/" + RECORD_NAME_MAX];
    const struct endpoint *endpoint = NULL;
    if (strlen(question->profile) > RECORD_NAME_MAX)
        return ca_fail(CA_NOT_FOUND, "no scep profile of this name");
    snprintf(name, sizeof name, "scep/%s", question->profile);
    enum ca_status status = endpoint_of(question->exchange, name, &endpoint);
    if (status != CA_OK)
        return status;
    question->settings = endpoint->protocol->profile.settings.scep;
    bool is_named = strlen(question->token) == OFFER_PATH_SIZE - 1;
    bool must = question->settings.path_token || question->settings.upstream.url;
    if (!is_named && !must)
        return CA_OK;
    status = store_read(question->exchange->service->store, path_read, question);
    /* Where no token is needed, a name that only looks like one is a client's habit. */
    return status == CA_NOT_FOUND && !must ? CA_OK : status;
}

enum ca_status
ca_scep_path(struct ca_request *req, const char *profile, const char *token,
             bool *ret_is_upstream)
{
    struct path_question question = { .exchange = exchange_of(req),
                                      .profile = profile,
                                      .token = token };
    enum ca_status status = path_find(&question);
    if (status == CA_OK)
        *ret_is_upstream = question.settings.upstream.url != NULL;
    offer_clear(&question.offer);
    return refuse(question.exchange, status,
                  &(struct refusal_place){ .protocol = question.exchange->plugin,
                                           .endpoint = profile });
}

static enum ca_status
forward_count(struct store_tx *tx, void *arg)
{
    const struct path_question *question = arg;
    return offer_forward(tx, question->offer.id);
}

/* Of what the upstream says only those who speak for its CA: the device tells an RA
 * from another device no better than we do. */
static enum ca_status
forward_certificates(struct path_question *question, struct ca_scep_reply *ret_reply)
{
    CA_AUTO(scep_wire_authority_clear) struct scep_wire_authority found = { 0 };
    CA_AUTO(scep_octets_clear) struct scep_octets der = { 0 };
    const char *type = NULL;
    enum ca_status status = upstream_authority(&question->settings.upstream, &found);
    if (status == CA_OK)
        status = scep_wire_authority_encode(&found, &der, &type);
    if (status != CA_OK)
        return status;
    struct ca_bytes body = scep_keep_octets(question->exchange, der.data, der.size);
    if (!body.data)
        return ca_fail(CA_INTERNAL, "no memory for an answer");
    *ret_reply = (struct ca_scep_reply){ type, body };
    return CA_OK;
}

/* RFC 8894 sections 3.5.2, 4.2 and 4.7. What the upstream calls its answer is not
 * passed on: under our name a page would be one of ours. */
static const char *
type_of(const char *operation)
{
    if (strcmp(operation, "PKIOperation") == 0)
        return "application/x-pki-message";
    return strcmp(operation, "GetNextCACert") == 0 ? "application/x-x509-next-ca-cert"
                                                   : "text/plain";
}

/* A message's content is the upstream's affair; its operation, type and size are ours.
 */
static enum ca_status
forward(struct path_question *question, const char *operation, struct ca_bytes message,
        struct ca_scep_reply *ret_reply)
{
    struct exchange *exchange = question->exchange;
    const struct scep_upstream *upstream = &question->settings.upstream;
    bool is_message = strcmp(operation, "PKIOperation") == 0;
    const char *ident = upstream->ca_ident ? upstream->ca_ident : "";
    if (message.size > SCEP_WIRE_MOST)
        return ca_fail(CA_LIMIT, "message of %zu octets", message.size);
    enum ca_status status =
        store_write(exchange->service->store, forward_count, question);
    if (status != CA_OK)
        return status;
    if (strcmp(operation, "GetCACert") == 0)
        return forward_certificates(question, ret_reply);
    CA_AUTO(free)
    char *url = scep_wire_url(upstream->url, operation, is_message ? NULL : ident);
    CA_AUTO(upstream_answer_clear) struct upstream_answer answer = { 0 };
    if (!url)
        return ca_fail(CA_INTERNAL, "no memory for a URL");
    status = upstream_http(
        &(struct upstream_request){ .url = url,
                                    .tls_ca = upstream->tls_ca,
                                    .body = is_message ? message.data : NULL,
                                    .size = message.size },
        &answer);
    if (status != CA_OK)
        return status == CA_LIMIT ? ca_fail(CA_UNAVAILABLE, "%s", status_message())
                                  : status;
    struct ca_bytes body = scep_keep_octets(
        exchange, answer.body.data ? (const void *)answer.body.data : "",
        answer.body.size);
    if (!body.data)
        return ca_fail(CA_INTERNAL, "no memory for an answer");
    *ret_reply = (struct ca_scep_reply){ type_of(operation), body };
    return CA_OK;
}

enum ca_status
ca_scep_forward(struct ca_request *req, const char *profile, const char *token,
                const char *operation, struct ca_bytes message,
                struct ca_scep_reply *ret_reply)
{
    struct path_question question = { .exchange = exchange_of(req),
                                      .profile = profile,
                                      .token = token };
    struct service *service = question.exchange->service;
    enum ca_status status = path_find(&question);
    if (status == CA_OK && (!question.settings.upstream.url || !question.offer.id))
        status = ca_fail(CA_NOT_FOUND, "profile scep/%s has no upstream", profile);
    if (status == CA_OK)
        status = service_wait_begin(service);
    if (status == CA_OK) {
        status = service_upstream_begin(service);
        if (status == CA_OK) {
            status = forward(&question, operation, message, ret_reply);
            service_upstream_end(service);
        }
        service_wait_end(service);
    }
    offer_clear(&question.offer);
    return refuse(question.exchange, status,
                  &(struct refusal_place){ .protocol = question.exchange->plugin,
                                           .endpoint = profile });
}
