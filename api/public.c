/* What everybody may read: health, CRLs, issuers' certificates; and the metrics. */
#include "api.h"
#include "auth.h"
#include "authority.h"
#include "clock.h"
#include "issuer.h"
#include "metrics.h"
#include "outbox.h"
#include <string.h>
#include <time.h>

/* ---- Health ---- */

static enum ca_status
json_respond(struct ca_request *req, int http_status, const json_t *body)
{
    CA_AUTO(free) char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for an answer");
    ca_respond_header(req, "Cache-Control", "no-store");
    return ca_respond(req, http_status, "application/json", text, strlen(text));
}

/* This process answers: nothing else is asked. */
static enum ca_status
live(void *state, struct ca_request *req)
{
    (void)state;
    CA_AUTO(json_decref) json_t *body = json_pack("{s:s}", "status", "live");
    return json_respond(req, 200, body);
}

static enum ca_status
ready(void *state, struct ca_request *req)
{
    (void)state;
    struct readiness readiness = { 0 };
    service_readiness(exchange_of(req)->service, &readiness);
    CA_AUTO(json_decref)
    json_t *body =
        json_pack("{s:s, s:o}", "status", readiness.ready ? "ready" : "not ready",
                  "checks", readiness.reasons);
    if (!readiness.ready)
        ca_respond_header(req, "Retry-After", "5");
    return json_respond(req, readiness.ready ? 200 : 503, body);
}

/* ---- Metrics ---- */

static void
store_append(struct service *service, struct text_buffer *buffer)
{
    struct store_figures figures;
    store_figures(service->store, &figures);
    const struct {
        const char *name, *type;
        int64_t value;
    } rows[] = {
        { "sealwright_store_commits_total", "counter", figures.commits },
        { "sealwright_store_writes_total", "counter", figures.writes },
        { "sealwright_store_failures_total", "counter", figures.failures },
        { "sealwright_store_waiting", "gauge", figures.waiting },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        text_print(buffer, "# TYPE %s %s\n%s %lld\n", rows[i].name, rows[i].type,
                   rows[i].name, (long long)rows[i].value);
}

struct outbox_question {
    int64_t waiting, oldest;
};

static enum ca_status
outbox_read(struct store_tx *tx, void *arg)
{
    struct outbox_question *question = arg;
    return outbox_figures(tx, clock_now(), &question->waiting, &question->oldest);
}

/* A store that is away leaves them out: it has a figure of its own. */
static void
outbox_append(struct service *service, struct text_buffer *buffer)
{
    struct outbox_question question = { 0 };
    if (store_read(service->store, outbox_read, &question) != CA_OK)
        return;
    text_print(buffer,
               "# TYPE sealwright_mail_waiting gauge\nsealwright_mail_waiting %lld\n"
               "# TYPE sealwright_mail_oldest_seconds gauge\n"
               "sealwright_mail_oldest_seconds %lld\n",
               (long long)question.waiting, (long long)question.oldest);
}

/* Where the listener says so for everybody, else for an administrator of any role. */
static enum ca_status
metrics(void *state, struct ca_request *req)
{
    (void)state;
    struct exchange *exchange = exchange_of(req);
    if (!exchange->metrics) {
        enum ca_status status = auth_admin(exchange);
        if (status == CA_UNAUTHENTICATED)
            ca_respond_header(req, "WWW-Authenticate", "Bearer realm=\"sealwright\"");
        if (status != CA_OK)
            return status;
    }
    CA_AUTO(text_buffer_clear) struct text_buffer buffer = { 0 };
    metrics_format(exchange->service->metrics, &buffer);
    store_append(exchange->service, &buffer);
    outbox_append(exchange->service, &buffer);
    api_tokens_metrics(exchange->service->tokens, &buffer);
    if (buffer.failed)
        return ca_fail(CA_INTERNAL, "no memory for metrics");
    return ca_respond(req, 200, "text/plain; version=0.0.4; charset=utf-8", buffer.data,
                      buffer.size);
}

/* ---- CRLs and issuers ---- */

/* "/issuing.crl" with the suffix -> "issuing"; false for anything else. */
static bool
name_of(const char *rest, const char *suffix, char ret_name[RECORD_NAME_MAX + 1])
{
    size_t length = strlen(rest), end = strlen(suffix);
    if (length < end + 2 || rest[0] != '/' || strchr(rest + 1, '/') ||
        strcmp(rest + length - end, suffix) != 0 || length - end - 1 > RECORD_NAME_MAX)
        return false;
    memcpy(ret_name, rest + 1, length - end - 1);
    ret_name[length - end - 1] = '\0';
    return true;
}

static void
date_header(struct ca_request *req, const char *name, int64_t seconds)
{
    time_t when = (time_t)seconds;
    struct tm tm;
    char text[40];
    gmtime_r(&when, &tm);
    strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    ca_respond_header(req, name, text);
}

struct crl_call {
    struct ca_request *req;
    char name[RECORD_NAME_MAX + 1];
};

/* Number and revision name the bytes for good, so they are the ETag. */
static enum ca_status
crl_step(struct store_tx *tx, void *arg)
{
    const struct crl_call *call = arg;
    struct authority_crl crl = { 0 };
    enum ca_status status = authority_crl_load(tx, call->name, false, &crl);
    if (status != CA_OK)
        return status;
    char tag[32];
    snprintf(tag, sizeof tag, "\"%lld\"", (long long)crl.number);
    const char *known = ca_request_header(call->req, "If-None-Match");
    bool is_known = known && strcmp(known, tag) == 0;
    if (!is_known)
        status = authority_crl_load(tx, call->name, true, &crl);
    if (status != CA_OK)
        return status;
    ca_respond_header(call->req, "ETag", tag);
    date_header(call->req, "Last-Modified", crl.this_update);
    int64_t left = crl.next_update - clock_now();
    char age[48];
    /* A revocation makes a new list before nextUpdate: caches ask again soon. */
    snprintf(age, sizeof age, "max-age=%lld",
             (long long)(left < 0     ? 0
                         : left < 300 ? left
                                      : 300));
    ca_respond_header(call->req, "Cache-Control", age);
    status = is_known ? ca_respond(call->req, 304, NULL, NULL, 0)
                      : ca_respond(call->req, 200, "application/pkix-crl", crl.der,
                                   crl.der_size);
    authority_crl_clear(&crl);
    return status;
}

static enum ca_status
crl(void *state, struct ca_request *req)
{
    (void)state;
    struct crl_call call = { .req = req };
    if (!name_of(req->rest, ".crl", call.name))
        return ca_fail(CA_NOT_FOUND, "no CRL has this name");
    return store_read(exchange_of(req)->service->store, crl_step, &call);
}

static enum ca_status
issuer_certificate(void *state, struct ca_request *req)
{
    (void)state;
    char name[RECORD_NAME_MAX + 1];
    const struct issuer *issuer = NULL;
    struct issuers *issuers = exchange_issuers(exchange_of(req));
    if (issuers && name_of(req->rest, ".cer", name))
        issuer = issuers_find(issuers, name);
    if (!issuer)
        return ca_fail(CA_NOT_FOUND, "no issuer has this name");
    CA_AUTO(openssl_free) unsigned char *der = NULL;
    int size = i2d_X509(issuer->certificate, &der);
    if (size <= 0)
        return ca_fail_openssl(CA_INTERNAL, "no DER of issuer '%s'", name);
    ca_respond_header(req, "Cache-Control", "max-age=3600");
    return ca_respond(req, 200, "application/pkix-cert", der, (size_t)size);
}

static const struct ca_route routes[] = {
    { "GET", "/health/live", 0, 0, live },
    { "GET", "/health/ready", 0, 0, ready },
    { "GET", "/metrics", 0, 0, metrics },
    { "GET", "/crl", 0, CA_ROUTE_PREFIX, crl },
    { "GET", "/issuer", 0, CA_ROUTE_PREFIX, issuer_certificate },
    { NULL, NULL, 0, 0, NULL },
};

const struct ca_plugin api_public_plugin = {
    .abi = CA_PLUGIN_ABI,
    .name = "public",
    .routes = routes,
};
