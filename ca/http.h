/* The web server: listeners, limits, routing, answers, one log line a request. The only
 * user of civetweb. */
#pragma once

#include "loader.h"
#include "service.h"

struct http;

/* Checks the routes of all plugins for clashes, listens on every listener of the
 * configuration and serves. CA_CONFLICT names two routes that clash; CA_UNAVAILABLE a
 * port that is taken. */
enum ca_status http_start(struct service *service, const struct loader *loader,
                          struct http **ret_http);
/* Drains: new requests 503, waits for those in flight (at most 10 s), then stops. */
void http_stop(struct http *http);
/* Reads certificate and key anew; the old ones stay when the new ones do not hold. */
enum ca_status http_reload_tls(struct http *http);
