/* A web server over real sockets with a plugin of its own, for the tests of http.c. */
#pragma once

#include "auth.h"
#include "auto.h"
#include "clock.h"
#include "exchange.h"
#include "http.h"
#include "http_client.h"
#include "leak.h"
#include "log.h"
#include "metrics.h"
#include "text.h"
#include <fcntl.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])
#define BODY_MAX 65536
#define BIG_SIZE 1000000

static char folder[64], socket_path[96], certificate_path[96], key_path[96],
    log_path[96];
static struct config_listener listeners[4];
static struct service *service;
static struct loader loader;
static struct loaded loaded[1];
static struct http *http;
static int plain_port, tls_port, mutual_port;
static atomic_int handled;
static atomic_bool is_slow, may_go_on; /* the slow handler: is in it; is let out */

/* ---- The double of the one call that needs issuers and store ---- */

enum ca_status
auth_check_peer(struct service *of, X509 *certificate)
{
    (void)of;
    char name[64] = "";
    X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name,
                              sizeof name);
    if (strcmp(name, "away") == 0)
        return ca_fail(CA_UNAVAILABLE, "store is away");
    if (strcmp(name, "ours") != 0)
        return ca_fail(CA_UNAUTHENTICATED, "not one of ours");
    return CA_OK;
}

/* ---- The plugin ---- */

static enum ca_status
answer_text(struct ca_request *req, const char *text)
{
    return ca_respond(req, 200, "text/plain", text, strlen(text));
}

static enum ca_status
get_hello(void *state, struct ca_request *req)
{
    (void)state;
    atomic_fetch_add(&handled, 1);
    return answer_text(req, "hello");
}

/* What the handler sees of its request. */
static enum ca_status
get_seen(void *state, struct ca_request *req)
{
    (void)state;
    CA_AUTO(text_buffer_clear) struct text_buffer text = { 0 };
    const char *header = ca_request_header(req, "x-test");
    text_print(&text, "%s|%s|%s|%s|%s|%s|%s|%s|%s|%s", req->method, req->path,
               req->rest, req->query, req->content_type, req->authorization, req->peer,
               req->secure ? "secure" : "plain", req->local ? "local" : "remote",
               req->peer_certificate ? "certificate" : "none");
    text_print(&text, "|%s|%s", header ? header : "-",
               ca_request_header(req, "X-Forwarded-For") ? "forged" : "-");
    return answer_text(req, text.data);
}

static enum ca_status
post_echo(void *state, struct ca_request *req)
{
    (void)state;
    atomic_fetch_add(&handled, 1);
    return ca_respond(req, 200, "application/octet-stream", req->body.data,
                      req->body.size);
}

/* Fails as its path says: "/fail/6". */
static enum ca_status
get_fail(void *state, struct ca_request *req)
{
    (void)state;
    return ca_fail((enum ca_status)atoi(req->rest + 1), "secret reason");
}

static enum ca_status
get_big(void *state, struct ca_request *req)
{
    (void)state;
    CA_AUTO(free) char *text = malloc(BIG_SIZE);
    memset(text, 'x', BIG_SIZE);
    ca_respond_header(req, "X-Big", "yes");
    return ca_respond(req, 200, "text/plain", text, BIG_SIZE);
}

static enum ca_status
get_slow(void *state, struct ca_request *req)
{
    (void)state;
    atomic_store(&is_slow, true);
    for (int64_t end = clock_ticks() + 5000;
         !atomic_load(&may_go_on) && clock_ticks() < end;)
        usleep(5000);
    return answer_text(req, "slow");
}

static enum ca_status
get_known(void *state, struct ca_request *req)
{
    (void)state;
    exchange_of(req)->identity.kind = IDENTITY_CHALLENGE;
    exchange_of(req)->identity.user = strdup("alice");
    exchange_set_operation(exchange_of(req), "PKCSReq");
    return answer_text(req, "known");
}

/* It is known who asks, and it is refused. */
static enum ca_status
get_refused(void *state, struct ca_request *req)
{
    (void)state;
    exchange_of(req)->identity.kind = IDENTITY_CHALLENGE;
    return ca_fail(CA_FORBIDDEN, "not for this one");
}

/* Says itself what it does not take. */
static enum ca_status
post_own(void *state, struct ca_request *req)
{
    (void)state;
    bool is_over = req->body.size > BODY_MAX;
    bool holds = !is_over || !req->body.data;
    return ca_respond(req, is_over ? 413 : 200, "text/plain",
                      holds ? "own words" : "octets", holds ? 9 : 6);
}

static const struct ca_route routes[] = {
    { "GET", "/hello", 0, 0, get_hello },
    { "GET", "/seen", 0, CA_ROUTE_PREFIX, get_seen },
    { "POST", "/echo", BODY_MAX, 0, post_echo },
    { "POST", "/own", BODY_MAX, CA_ROUTE_OVERSIZE, post_own },
    { "GET", "/fail", 0, CA_ROUTE_PREFIX, get_fail },
    { "GET", "/big", 0, 0, get_big },
    { "GET", "/slow", 0, 0, get_slow },
    { "GET", "/known", 0, 0, get_known },
    { "GET", "/refused", 0, 0, get_refused },
    { "GET", "/secret", 0, CA_ROUTE_TLS_ONLY, get_hello },
    { "GET", "/api/v1/users", 0, CA_ROUTE_API, get_hello },
    { "GET", "/health/live", 0, 0, get_hello },
    { NULL, NULL, 0, 0, NULL },
};

static const struct ca_plugin plugin = { CA_PLUGIN_ABI, "test", routes, NULL, NULL };

/* ---- The server ---- */

static inline void
pem_write(const char *path, X509 *certificate, EVP_PKEY *key)
{
    int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    FILE *file = fdopen(descriptor, "w");
    cr_assert_not_null(file);
    if (certificate)
        PEM_write_X509(file, certificate);
    if (key)
        PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
    fclose(file);
}

static inline X509 *
self_signed(const char *name, EVP_PKEY *key, long from, long until)
{
    X509 *certificate = X509_new();
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 7);
    X509_gmtime_adj(X509_getm_notBefore(certificate), from);
    X509_gmtime_adj(X509_getm_notAfter(certificate), until);
    X509_set_pubkey(certificate, key);
    X509_NAME *subject = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const uint8_t *)name, -1,
                               -1, 0);
    X509_set_issuer_name(certificate, subject);
    cr_assert(X509_sign(certificate, key, EVP_sha256()) > 0);
    return certificate;
}

/* Writes a fresh pair for the server, valid from..until seconds from now. */
static inline void
pair_write(const char *name, long from, long until)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_EC_gen("P-256");
    CA_AUTO(X509_free) X509 *certificate = self_signed(name, key, from, until);
    pem_write(certificate_path, certificate, NULL);
    pem_write(key_path, NULL, key);
}

/* Other tests run at the same time: a port that was free may be taken a moment later.
 */
static inline void
ports_choose(void)
{
    plain_port = port_free();
    tls_port = port_free();
    mutual_port = port_free();
    static char loopback[] = "127.0.0.1";
    listeners[0] = (struct config_listener){
        .bind = loopback, .port = plain_port, .metrics = true, .api = true
    };
    listeners[1] = (struct config_listener){
        .bind = loopback, .port = tls_port, .tls = true, .tls_max = 12
    };
    listeners[2] = (struct config_listener){ .bind = loopback,
                                             .port = mutual_port,
                                             .tls = true,
                                             .tls_max = 13,
                                             .client_certificates = true,
                                             .api = true };
    listeners[3] = (struct config_listener){ .path = socket_path, .api = true };
}

static inline void
server_prepare(void)
{
    snprintf(folder, sizeof folder, "/tmp/sealwright-http-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(socket_path, sizeof socket_path, "%s/sock", folder);
    snprintf(certificate_path, sizeof certificate_path, "%s/tls.pem", folder);
    snprintf(key_path, sizeof key_path, "%s/tls.key", folder);
    snprintf(log_path, sizeof log_path, "%s/log", folder);
    cr_assert(log_open(log_path, LOG_LEVEL_INFO));
    pair_write("first", -60, 3600);
    ports_choose();
    service = calloc(1, sizeof *service);
    pthread_rwlock_init(&service->lock, NULL);
    service->config.tls_certificate = certificate_path;
    service->config.tls_key = key_path;
    service->config.listeners = (struct field_list){ listeners, COUNT(listeners) };
    service->config.limits = (struct config_limits){
        .workers = 24,
        .waiting = 14,
        .connections_per_source = 16,
        .body_ms = 1000,
        .requests_per_second = 100000,
        .burst = 100000,
        .header_ms = 1000,
        .idle_ms = 1000,
        .request_ms = 5000,
    };
    loaded[0] = (struct loaded){ &plugin, NULL, NULL };
    loader = (struct loader){ loaded, 1 };
    atomic_store(&handled, 0);
}

static inline void
server_start(void)
{
    enum ca_status status = http_start(service, &loader, &http);
    for (int tries = 5; status == CA_UNAVAILABLE && tries > 0; tries--) {
        ports_choose();
        status = http_start(service, &loader, &http);
    }
    cr_assert_eq(status, CA_OK, "%s", status_message());
}

static inline void
server_remove(void)
{
    http_stop(http);
    http = NULL;
    pthread_rwlock_destroy(&service->lock);
    free(service);
    log_open(NULL, LOG_LEVEL_INFO);
    unlink(log_path);
    unlink(certificate_path);
    unlink(key_path);
    cr_expect_eq(rmdir(folder), 0, "something is left in %s", folder);
}

/* The answer to one request on a connection of its own. */
static inline char *
ask_octets(const void *octets, size_t size)
{
    struct client client = client_open(plain_port);
    client_send(&client, octets, size);
    char *answer = client_answer(&client, size > 4 && memcmp(octets, "HEAD", 4) == 0);
    client_close(&client);
    return answer;
}

static inline char *
ask(const char *request)
{
    return ask_octets(request, strlen(request));
}

static inline char *
ask_with(struct client *client, const char *request)
{
    client_send(client, request, strlen(request));
    return client_answer(client, false);
}

static inline int
code_of(const char *request)
{
    CA_AUTO(free) char *answer = ask(request);
    return answer_code(answer);
}

/* Line `number` (from 1) of the log, which comes a moment after its answer; NULL when
 * it does not come. */
static inline json_t *
log_line(int number)
{
    for (int64_t end = clock_ticks() + 5000; clock_ticks() < end; usleep(5000)) {
        CA_AUTO(fclose) FILE *file = fopen(log_path, "r");
        cr_assert_not_null(file);
        char line[4096];
        int left = number;
        while (left > 0 && fgets(line, sizeof line, file))
            left--;
        if (left == 0 && strchr(line, '\n'))
            return json_loads(line, 0, NULL);
    }
    return NULL;
}

static inline const char *
member(const json_t *line, const char *name)
{
    const char *value = json_string_value(json_object_get(line, name));
    return value ? value : "(none)";
}
