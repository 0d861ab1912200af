/* Mode simple (ECSPEKE-ACT-1 section 13.5): one certificate for each offer, without a
 * SCEP message from the device. */
#include "auto.h"
#include "calls_scep.h"
#include "certificate.h"
#include "csr.h"
#include "endpoint.h"
#include "grant.h"
#include "offer_judge.h"
#include "outcome.h"
#include "upstream_enroll.h"
#include <openssl/sha.h>
#include <string.h>

struct simple {
    struct scep_call *call;
    const char *profile;
    struct ca_bytes pkcs10;
    uint8_t request[32], spki[32];
    struct ca_bytes key; /* SubjectPublicKeyInfo */
    struct certificate found;
    struct grant *grant;
};

static void
grant_release(void *grant)
{
    grant_clear(grant);
    free(grant);
}

static enum ca_status
grant_read(struct store_tx *tx, void *arg)
{
    struct simple *simple = arg;
    struct grant *grant = simple->grant;
    const struct endpoint *endpoint = grant->endpoint;
    struct offer offer = { 0 };
    grant_clear(grant);
    grant->endpoint = endpoint;
    enum ca_status status = offer_load(tx, simple->call->offer.id, &offer);
    if (status == CA_OK)
        status = grant_of_offer(tx, &offer, grant);
    offer_clear(&offer);
    return status == CA_OK ? grant_may(tx, grant, "scep") : status;
}

/* The device comes with its offer from now on, as if by the offer's secret. */
static enum ca_status
take_offer(struct simple *simple)
{
    struct exchange *exchange = simple->call->exchange;
    struct identity *identity = &exchange->identity;
    const struct endpoint *endpoint = NULL;
    char name[sizeof "scep/" + RECORD_NAME_MAX];
    snprintf(name, sizeof name, "scep/%s", simple->call->effective.scep.name);
    enum ca_status status = endpoint_of(exchange, name, &endpoint);
    if (status != CA_OK)
        return status;
    simple->grant = calloc(1, sizeof *simple->grant);
    if (!simple->grant)
        return ca_fail(CA_INTERNAL, "no memory for an identity");
    simple->grant->endpoint = endpoint;
    status = exchange_keep(exchange, simple->grant, grant_release);
    if (status == CA_OK)
        status = store_read(exchange->service->store, grant_read, simple);
    if (status != CA_OK)
        return status;
    identity->grant = simple->grant;
    identity->protocol = "scep";
    identity->kind = IDENTITY_CHALLENGE;
    return CA_OK;
}

static enum ca_status
found_read(struct store_tx *tx, void *arg)
{
    struct simple *simple = arg;
    certificate_clear(&simple->found);
    return certificate_load(tx, NULL, simple->call->offer.serial, &simple->found);
}

/* The certificate that this very request got, as long as the offer lives. */
static enum ca_status
give_again(struct simple *simple, struct ca_issued *ret_issued)
{
    struct exchange *exchange = simple->call->exchange;
    const struct offer *offer = &simple->call->offer;
    char endpoint[sizeof "scep/" + RECORD_NAME_MAX];
    enum ca_status status;
    if (offer->state == OFFER_CLAIMED) {
        snprintf(endpoint, sizeof endpoint, "scep/%s", offer->profile);
        struct outcome_key key = { .endpoint = endpoint,
                                   .transaction = offer->id,
                                   .signer = simple->spki,
                                   .request = simple->request };
        status = outcome_find(exchange, &key, ret_issued);
    } else {
        status = store_read(exchange->service->store, found_read, simple);
        if (status == CA_OK && simple->found.state != CERTIFICATE_ISSUED)
            status = ca_fail(CA_NOT_FOUND, "certificate %s has ended", offer->serial);
        if (status == CA_OK)
            status = outcome_give(exchange, &simple->found, simple->found.der,
                                  simple->found.der_size, ret_issued);
        certificate_clear(&simple->found);
    }
    if (status == CA_NOT_FOUND || status == CA_FORBIDDEN)
        return scep_call_fail(
            simple->call, ca_fail(CA_NOT_FOUND, "%s", status_message()), "txn_gone");
    return status;
}

/* Our own CA: the same steps and the same records as over SCEP. */
static enum ca_status
enroll_own(struct simple *simple, struct ca_issued *ret_issued)
{
    struct scep_call *call = simple->call;
    if (call->offer.state != OFFER_OPEN)
        return give_again(simple, ret_issued);
    enum ca_status status = take_offer(simple);
    if (status == CA_OK) {
        const struct ca_enrolment enrolment = { .pkcs10 = simple->pkcs10,
                                                .transaction = call->offer.id,
                                                .signer_key = simple->key };
        status = ca_enroll(&call->exchange->request, &enrolment, ret_issued);
    }
    if (status == CA_FORBIDDEN && simple->grant && simple->grant->mismatch)
        return scep_call_fail(call, status, simple->grant->mismatch);
    /* What the device was told is no longer so, or another request has taken it. */
    if (status == CA_FORBIDDEN || status == CA_CONFLICT || status == CA_NOT_FOUND)
        return scep_call_fail(call, ca_fail(CA_NOT_FOUND, "%s", status_message()),
                              "txn_gone");
    return status;
}

static enum ca_status
answer_own(struct simple *simple, const struct ca_issued *issued,
           struct ca_scep_certificate *ret_certificate)
{
    struct exchange *exchange = simple->call->exchange;
    const char *name = simple->call->effective.certificate.settings.certificate.issuer;
    const struct issuer *issuer = issuers_find(exchange_issuers(exchange), name);
    if (!issuer)
        return ca_fail(CA_UNAVAILABLE, "issuer '%s' is not loaded", name);
    int above = issuer->chain ? sk_X509_num(issuer->chain) : 0;
    size_t count = 1 + (size_t)(above > 0 ? above : 0);
    struct ca_bytes *chain =
        ca_request_alloc(&exchange->request, count * sizeof *chain);
    if (!chain)
        return ca_fail(CA_INTERNAL, "no memory for a chain");
    for (size_t i = 0; i < count; i++) {
        chain[i] = scep_keep_certificate(
            exchange,
            i == 0 ? issuer->certificate : sk_X509_value(issuer->chain, (int)i - 1));
        if (!chain[i].data)
            return ca_fail(CA_INTERNAL, "no memory for a chain");
    }
    *ret_certificate = (struct ca_scep_certificate){ issued->der, chain, count, 0 };
    return CA_OK;
}

/* Form first: what is no request has no names to compare. */
static enum ca_status
request_read(struct simple *simple, X509_REQ **ret_request)
{
    struct exchange *exchange = simple->call->exchange;
    CA_AUTO(X509_REQ_free) X509_REQ *request = NULL;
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    if (simple->pkcs10.size == 0 || simple->pkcs10.size > CSR_SIZE_MAX)
        return ca_fail(CA_MALFORMED, "PKCS#10 of %zu octets", simple->pkcs10.size);
    enum ca_status status =
        csr_decode(simple->pkcs10.data, simple->pkcs10.size, &request);
    if (status != CA_OK)
        return status;
    int size = i2d_X509_PUBKEY(X509_REQ_get_X509_PUBKEY(request), &der);
    if (size <= 0)
        return ca_fail_openssl(CA_INTERNAL, "cannot encode a public key");
    simple->key = scep_keep_octets(exchange, der, (size_t)size);
    if (!simple->key.data)
        return ca_fail(CA_INTERNAL, "no memory for a public key");
    SHA256(simple->key.data, simple->key.size, simple->spki);
    SHA256(simple->pkcs10.data, simple->pkcs10.size, simple->request);
    *ret_request = CA_STEAL(request);
    return CA_OK;
}

static enum ca_status
enroll(struct simple *simple, struct ca_scep_certificate *ret_certificate)
{
    struct scep_call *call = simple->call;
    CA_AUTO(X509_REQ_free) X509_REQ *request = NULL;
    struct ca_issued issued = { 0 };
    enum ca_status status = request_read(simple, &request);
    if (status == CA_OK)
        status =
            scep_call_offer(call, simple->profile, SCEP_MODE_SIMPLE, simple->request);
    if (status != CA_OK)
        return status;
    if (scep_call_is_upstream(call))
        return upstream_enroll(call, request, simple->request, ret_certificate);
    status = enroll_own(simple, &issued);
    if (status == CA_PENDING)
        *ret_certificate = (struct ca_scep_certificate){
            .retry_after = call->effective.scep.settings.scep.retry_delay
        };
    return status == CA_OK ? answer_own(simple, &issued, ret_certificate) : status;
}

enum ca_status
ca_activation_scep_enroll(struct ca_request *req, const char *profile,
                          struct ca_bytes pkcs10,
                          struct ca_scep_certificate *ret_certificate,
                          struct ca_scep_failure *ret_failure)
{
    CA_AUTO(scep_call_clear) struct scep_call call;
    struct simple simple = { .call = &call, .profile = profile, .pkcs10 = pkcs10 };
    enum ca_status status = scep_call_begin(req, ret_failure, &call);
    return status == CA_OK ? enroll(&simple, ret_certificate) : status;
}
