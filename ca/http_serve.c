/* One request: its head, its peer, its route, its body, the handler, the answer and the
 * log line. Each step may end it with a refusal. */
#include "http_serve.h"
#include "auth.h"
#include "auto.h"
#include "clock.h"
#include "http_answer.h"
#include "http_body.h"
#include "http_proxy.h"
#include "http_socket.h"
#include "log.h"
#include "metrics.h"
#include "text.h"
#include <civetweb.h>
#include <string.h>

#define ALLOW_SIZE 128
#define LOGGED_PATH_SIZE 256
#define CLOSE_MILLISECONDS 1000 /* for the end of a connection */
#define HEALTH_PATH "/health/"

struct visit {
    struct exchange exchange;
    struct http *http;
    struct mg_connection *connection;
    const struct mg_request_info *info;
    const struct socket_connection *socket;
    struct http_field fields[HTTP_HEADER_COUNT_MAX];
    size_t field_count;
    struct http_framing framing;
    struct address source;
    char peer[ADDRESS_TEXT_SIZE];
    const struct loaded *loaded;
    const struct ca_route *route;
    bool is_1_1, is_head;
    bool is_trusted;   /* a reverse proxy speaks for the peer */
    bool is_health;    /* answered whatever the state */
    bool is_counted;   /* took a token of the source's rate */
    bool is_body_read; /* nothing of the request is left on the connection */
    enum ca_status status;
    int64_t started;
    X509 *forwarded; /* certificate of the proxy's client */
};

/* Ends the request: `status` and the thread's message are for the log. */
static bool
refuse(struct visit *visit, int http_status, enum ca_status status)
{
    visit->status = status;
    answer_refuse(&visit->exchange, http_status, NULL);
    return false;
}

static const char *
header_of(const struct exchange *exchange, const char *name)
{
    const struct visit *visit = exchange->host;
    if (proxy_owns_header(name))
        return NULL;
    return head_find(visit->fields, visit->field_count, name);
}

static const char *
text_or_empty(const char *text)
{
    return text ? text : "";
}

/* ---- The head ---- */

/* civetweb stops reading headers in silence at a folded line, at a line without a name
 * and at the 65th, drops white space before a colon, and takes a lone LF for the end of
 * a line. Its strings lie in the buffer as they came, each end overwritten by NULs: the
 * gaps tell (RFC 9112 sections 2.2, 5.1, 5.2). */
static bool
is_head_whole(const struct mg_request_info *info)
{
    const char *end = info->http_version + strlen(info->http_version);
    for (int i = 0; i < info->num_headers; i++) {
        const struct mg_header *header = &info->http_headers[i];
        const char *colon = header->name + strlen(header->name);
        if (header->name != end + 2 || (header->value > colon + 1 && colon[1] == '\0'))
            return false;
        end = header->value + strlen(header->value);
    }
    /* What follows is CR LF CR and civetweb's own NUL; without headers all are NUL. */
    return end[1] == '\0' && end[2] == (info->num_headers > 0 ? '\r' : '\0') &&
           end[3] == '\0';
}

/* civetweb skips white space before a request line and then takes an empty line in it
 * for the end of the head: what it parses is more than it has counted, and perhaps an
 * earlier connection's. One CR LF is nothing (RFC 9112 section 2.2), all else is
 * refused. */
static bool
begins_head(const struct mg_request_info *info)
{
    const char *begin = socket_head(), *line = info->request_method;
    return begin && (line == begin ||
                     (line == begin + 2 && begin[0] == '\r' && begin[1] == '\n'));
}

static bool
read_head(struct visit *visit)
{
    const struct mg_request_info *info = visit->info;
    visit->is_1_1 = strcmp(info->http_version, "1.1") == 0;
    visit->is_head = strcmp(info->request_method, "HEAD") == 0;
    if (!begins_head(info) || !is_head_whole(info)) {
        bool is_full = info->num_headers == HTTP_HEADER_COUNT_MAX;
        ca_fail(is_full ? CA_LIMIT : CA_MALFORMED,
                is_full ? "more than 64 headers"
                        : "header lines that others read otherwise");
        return refuse(visit, is_full ? 431 : 400, is_full ? CA_LIMIT : CA_MALFORMED);
    }
    for (int i = 0; i < info->num_headers; i++)
        visit->fields[visit->field_count++] =
            (struct http_field){ info->http_headers[i].name,
                                 info->http_headers[i].value };
    enum ca_status status =
        head_check(visit->fields, visit->field_count, visit->is_1_1, &visit->framing);
    if (status != CA_OK)
        return refuse(visit, status == CA_LIMIT ? 431 : 400, status);
    visit->is_body_read =
        !visit->framing.is_chunked && visit->framing.content_length <= 0;
    return true;
}

static bool
read_path(struct visit *visit)
{
    struct ca_request *req = &visit->exchange.request;
    const char *raw = visit->info->local_uri_raw;
    size_t length = strlen(raw),
           query = strlen(text_or_empty(visit->info->query_string));
    if (length + query > HTTP_URI_MAX)
        return refuse(visit, 414,
                      ca_fail(CA_LIMIT, "URI of %zu octets", length + query));
    char *path = ca_request_alloc(req, length + 1);
    if (!path)
        return refuse(visit, 500, ca_fail(CA_INTERNAL, "no memory"));
    enum ca_status status = path_normalise(raw, path);
    if (status != CA_OK)
        return refuse(visit, 400, status);
    req->method = visit->is_head ? "GET" : visit->info->request_method;
    req->path = path;
    req->query = text_or_empty(visit->info->query_string);
    req->content_type =
        text_or_empty(head_find(visit->fields, visit->field_count, "Content-Type"));
    req->authorization =
        text_or_empty(head_find(visit->fields, visit->field_count, "Authorization"));
    visit->is_health = strncmp(path, HEALTH_PATH, strlen(HEALTH_PATH)) == 0;
    return true;
}

/* ---- The peer ---- */

static bool
read_peer(struct visit *visit)
{
    struct ca_request *req = &visit->exchange.request;
    const struct config_listener *listener = visit->socket->listener;
    struct forwarded forwarded = { visit->socket->source, listener->tls, NULL };
    req->local = visit->socket->is_local;
    visit->is_trusted =
        !req->local && network_list_has(&visit->http->trusted, &visit->socket->source);
    if (visit->is_trusted) {
        enum ca_status status = proxy_read(&visit->http->trusted, visit->fields,
                                           visit->field_count, &forwarded);
        if (status != CA_OK)
            return refuse(visit, 400, status);
    }
    visit->source = forwarded.peer;
    visit->forwarded = forwarded.certificate;
    req->secure = forwarded.secure || req->local;
    if (!req->local)
        address_format(&visit->source, visit->peer);
    return true;
}

/* Every request asks anew whether the certificate is still one of ours. A proxy's own
 * certificate says nothing about its client. */
static bool
check_certificate(struct visit *visit)
{
    const struct mg_client_cert *own = visit->info->client_cert;
    X509 *certificate = visit->is_trusted ? visit->forwarded : NULL;
    if (!visit->is_trusted && own)
        certificate = own->peer_cert;
    if (!certificate || visit->is_health)
        return true;
    enum ca_status status = auth_check_peer(visit->http->service, certificate);
    if (status == CA_OK)
        visit->exchange.request.peer_certificate = certificate;
    else if (status == CA_UNAVAILABLE)
        return refuse(visit, 503, status);
    else
        ca_log(&visit->exchange.request, "client certificate: %s", status_message());
    status_forget();
    return true;
}

/* Whoever proves an identity gets its token back after the handler. */
static bool
take_token(struct visit *visit)
{
    if (visit->exchange.request.local || visit->is_health)
        return true;
    if (!limit_take(visit->http->limit, &visit->source, visit->started))
        return refuse(visit, 429, ca_fail(CA_LIMIT, "source is over its rate"));
    visit->is_counted = true;
    return true;
}

static bool
check_draining(struct visit *visit)
{
    if (visit->is_health || !atomic_load(&visit->http->service->draining))
        return true;
    return refuse(visit, 503, ca_fail(CA_UNAVAILABLE, "going down"));
}

/* ---- The route ---- */

static bool
serves_api(const struct visit *visit)
{
    const struct config_listener *listener = visit->socket->listener;
    return listener->api && (listener->tls || visit->socket->is_local);
}

/* A path whose methods are all the API's is not there for other listeners. */
static bool
refuse_method(struct visit *visit, const char *allow)
{
    struct ca_request *req = &visit->exchange.request;
    char first[ALLOW_SIZE], again[ALLOW_SIZE];
    snprintf(first, sizeof first, "%.*s", (int)strcspn(allow, ","), allow);
    const struct loaded *loaded;
    const struct ca_route *route = NULL;
    const char *rest;
    loader_route(visit->http->loader, first, req->path, &loaded, &route, &rest, again,
                 sizeof again);
    if (route && (route->flags & CA_ROUTE_API) && !serves_api(visit))
        return refuse(visit, 404, ca_fail(CA_NOT_FOUND, "no such path here"));
    ca_respond_header(req, "Allow", allow);
    return refuse(visit, 405, ca_fail(CA_UNSUPPORTED, "path takes %s", allow));
}

static bool
find_route(struct visit *visit)
{
    struct ca_request *req = &visit->exchange.request;
    char allow[ALLOW_SIZE];
    enum ca_status status =
        loader_route(visit->http->loader, req->method, req->path, &visit->loaded,
                     &visit->route, &req->rest, allow, sizeof allow);
    if (status == CA_UNSUPPORTED)
        return refuse_method(visit, allow);
    if (status != CA_OK)
        return refuse(visit, 404, status);
    visit->exchange.plugin = visit->loaded->plugin->name;
    if ((visit->route->flags & CA_ROUTE_API) && !serves_api(visit))
        return refuse(visit, 404, ca_fail(CA_NOT_FOUND, "listener serves no API"));
    if ((visit->route->flags & CA_ROUTE_TLS_ONLY) && !req->secure) {
        visit->status = ca_fail(CA_FORBIDDEN, "path is for HTTPS only");
        answer_refuse(&visit->exchange, 403, "This address answers over HTTPS only.");
        return false;
    }
    return true;
}

/* ---- Body and handler ---- */

static bool
read_body(struct visit *visit)
{
    const struct config_limits *limits = &visit->http->service->config.limits;
    struct ca_request *req = &visit->exchange.request;
    const char *expect = head_find(visit->fields, visit->field_count, "Expect");
    bool is_small = visit->framing.is_chunked ||
                    (uint64_t)visit->framing.content_length <= visit->route->max_body;
    if (visit->is_body_read)
        return true;
    if (expect && visit->is_1_1 && is_small &&
        text_equal_ignoring_case(expect, "100-continue")) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        mg_write(visit->connection, go_on, sizeof go_on - 1);
    }
    int64_t deadline = clock_ticks() + limits->body_ms;
    int refusal = body_read(visit->connection, &visit->framing, visit->route->max_body,
                            deadline, &req->body);
    if (refusal == 413 && (visit->route->flags & CA_ROUTE_OVERSIZE)) {
        /* The rest is never read: the connection ends with the answer. */
        req->body = (struct ca_bytes){ NULL, visit->route->max_body + 1 };
        return true;
    }
    if (refusal != 0)
        return refuse(visit, refusal,
                      refusal == 413   ? CA_LIMIT
                      : refusal == 500 ? CA_INTERNAL
                                       : CA_MALFORMED);
    visit->is_body_read = true;
    return true;
}

static void
body_release(struct visit *visit)
{
    const struct ca_bytes *body = &visit->exchange.request.body;
    uint8_t *data = (uint8_t *)(uintptr_t)body->data; /* read_body's own */
    if (data)
        OPENSSL_cleanse(data, body->size);
    free(data);
}

static bool
call_handler(struct visit *visit)
{
    struct exchange *exchange = &visit->exchange;
    visit->status = visit->route->handle(visit->loaded->state, &exchange->request);
    if (exchange->answer.status == 0)
        answer_refuse(exchange, answer_status(visit->status), NULL);
    return true;
}

/* ---- The answer ---- */

/* As civetweb sees it: a Connection header of the client decides, else the version. */
static bool
wants_keep_alive(const struct visit *visit)
{
    const char *connection = head_find(visit->fields, visit->field_count, "Connection");
    return connection ? text_equal_ignoring_case(connection, "keep-alive")
                      : visit->is_1_1;
}

static void
write_answer(struct visit *visit)
{
    bool keep_alive = visit->is_body_read && wants_keep_alive(visit) &&
                      !atomic_load(&visit->http->service->draining);
    struct answer_octets octets = { 0 };
    bool is_written = false;
    socket_set_deadline(clock_ticks() + visit->http->service->config.limits.request_ms);
    if (answer_format(&visit->exchange, visit->is_head, keep_alive, &octets))
        is_written =
            mg_write(visit->connection, octets.data, octets.size) == (int)octets.size;
    answer_clear(&octets);
    socket_set_deadline(0);
    if (is_written && keep_alive)
        return;
    mg_disable_connection_keep_alive(visit->connection);
    if (is_written && !visit->is_body_read)
        body_skip(visit->connection);
    socket_set_deadline(clock_ticks() + CLOSE_MILLISECONDS);
}

/* The path without its query, as far as this request got. What local_uri_raw points to
 * is an earlier request's, overwritten and without an end, until local_uri is set. */
static void
path_of(const struct mg_request_info *info, char ret_path[LOGGED_PATH_SIZE])
{
    const char *uri =
        text_or_empty(info->local_uri ? info->local_uri_raw : info->request_uri);
    size_t size = strcspn(uri, "?");
    if (size >= LOGGED_PATH_SIZE)
        size = LOGGED_PATH_SIZE - 1;
    memcpy(ret_path, uri, size);
    ret_path[size] = '\0';
}

static void
log_visit(struct visit *visit, const char *message)
{
    const struct exchange *exchange = &visit->exchange;
    int64_t milliseconds = clock_ticks() - visit->started;
    if (visit->http->service->metrics)
        metrics_request(visit->http->service->metrics, text_or_empty(exchange->plugin),
                        visit->status, (double)milliseconds / 1000);
    enum log_level level = LOG_LEVEL_INFO;
    if (visit->status == CA_INTERNAL)
        level = LOG_LEVEL_ERROR;
    else if (visit->status == CA_UNAVAILABLE)
        level = LOG_LEVEL_WARNING;
    else if (visit->is_health && visit->status == CA_OK)
        level = LOG_LEVEL_DEBUG; /* asked every few seconds */
    if (!log_wants(level))
        return;
    char path[LOGGED_PATH_SIZE];
    path_of(visit->info, path);
    log_write(level,
              json_pack("{s:s, s:s, s:s*, s:s, s:s, s:s, s:s, s:i, s:s, s:I}",
                        "request", exchange->request.id, "plugin",
                        text_or_empty(exchange->plugin), "operation",
                        exchange->operation, "actor", exchange_actor(&visit->exchange),
                        "peer", exchange->request.peer, "method",
                        text_or_empty(visit->info->request_method), "path", path,
                        "http", exchange->answer.status, "status",
                        ca_status_name(visit->status), "ms", (json_int_t)milliseconds),
              "%s", *message ? message : ca_status_name(visit->status));
}

/* ---- */

static bool
start(struct visit *visit)
{
    struct exchange *exchange = &visit->exchange;
    const struct config_limits *limits = &visit->http->service->config.limits;
    uint8_t id[8];
    visit->started = clock_ticks();
    exchange->service = visit->http->service;
    exchange->deadline = visit->started + limits->request_ms;
    exchange->header = header_of;
    exchange->host = visit;
    exchange->request.peer = visit->peer;
    exchange->request.method = exchange->request.path = exchange->request.rest = "";
    exchange->request.query = exchange->request.content_type = "";
    exchange->request.authorization = "";
    strcpy(visit->peer, "local");
    status_forget();
    visit->socket = socket_current();
    if (random_bytes(id, sizeof id) != CA_OK)
        return refuse(visit, 500, CA_INTERNAL);
    hex_format(id, sizeof id, exchange->request.id);
    if (!visit->socket)
        return refuse(visit, 500, ca_fail(CA_INTERNAL, "connection is not known"));
    exchange->metrics = visit->socket->listener->metrics;
    /* Who is connected, until read_peer knows for whom: also for what is refused first.
     */
    visit->source = visit->socket->source;
    if (!visit->socket->is_local)
        address_format(&visit->source, visit->peer);
    return true;
}

/* Whoever proved who it is pays only for what was refused to it; an administrator for
 * nothing. */
static bool
is_free_of_charge(const struct visit *visit)
{
    static const bool is_refusal[CA_STATUS_COUNT] = {
        [CA_MALFORMED] = true, [CA_FORBIDDEN] = true, [CA_UNAUTHENTICATED] = true,
        [CA_NOT_FOUND] = true, [CA_CONFLICT] = true,  [CA_UNSUPPORTED] = true,
        [CA_LIMIT] = true,
    };
    int kind = visit->exchange.identity.kind;
    if (kind == IDENTITY_ADMIN)
        return true;
    bool is_known = kind != IDENTITY_NONE || visit->exchange.request.peer_certificate;
    return is_known && !is_refusal[visit->status];
}

static void
finish(struct visit *visit)
{
    char message[512];
    snprintf(message, sizeof message, "%s",
             visit->status == CA_OK ? "" : status_message());
    if (visit->is_counted && is_free_of_charge(visit))
        limit_return(visit->http->limit, &visit->source, clock_ticks());
    write_answer(visit);
    log_visit(visit, message);
    body_release(visit);
    X509_free(visit->forwarded);
    exchange_clear(&visit->exchange);
}

int
serve_request(struct mg_connection *connection)
{
    static bool (*const steps[])(struct visit *) = {
        start,      read_head,  read_path,         read_peer, check_draining,
        take_token, find_route, check_certificate, read_body, call_handler,
    };
    struct visit visit = { .http = mg_get_user_data(mg_get_context(connection)),
                           .connection = connection,
                           .info = mg_get_request_info(connection),
                           .framing = { .content_length = -1 } };
    atomic_fetch_add(&visit.http->in_flight, 1);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (!steps[i](&visit))
            break;
    }
    int http_status = visit.exchange.answer.status;
    finish(&visit);
    atomic_fetch_sub(&visit.http->in_flight, 1);
    return http_status > 0 ? http_status : 500;
}

int
serve_error(struct mg_connection *connection, int status, const char *text)
{
    struct visit visit = { .http = mg_get_user_data(mg_get_context(connection)),
                           .connection = connection,
                           .info = mg_get_request_info(connection),
                           .is_body_read = true };
    if (start(&visit)) {
        visit.status = ca_fail(status == 413 ? CA_LIMIT : CA_MALFORMED, "%s", text);
        if (!visit.socket->is_local)
            address_format(&visit.socket->source, visit.peer);
        /* civetweb's 413 is about the head, its 411 about Content-Length's text. */
        int answered = status == 413 ? 431 : status == 411 ? 400 : status;
        answer_refuse(&visit.exchange, answered, NULL);
    }
    mg_disable_connection_keep_alive(connection);
    finish(&visit);
    return 0;
}
