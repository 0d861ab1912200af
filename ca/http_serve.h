/* One request through the server, and what all requests share. */
#pragma once

#include "http.h"
#include "http_limit.h"
#include "http_tls.h"

/* Octets of civetweb's buffer for a head: a URI that is too long is still read, so that
 * it gets its own answer. */
#define HTTP_HEAD_SIZE 40960

struct mg_connection;
struct mg_context;

struct http {
    struct service *service;
    const struct loader *loader;
    struct mg_context *context;
    struct tls *tls; /* NULL: no listener has TLS */
    struct limit *limit;
    struct network_list trusted;
    atomic_int in_flight;
};

/* civetweb's begin_request: answers, and returns the HTTP status. */
int serve_request(struct mg_connection *connection);
/* civetweb's http_error: what it could not even parse. */
int serve_error(struct mg_connection *connection, int status, const char *text);
