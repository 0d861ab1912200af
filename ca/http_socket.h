/* The sockets beneath civetweb: which listener a connection came in on, how many one
 * source holds, and until when a thread may wait for its peer.
 *
 * civetweb has no hook at any of these places, so its calls of listen, accept, close,
 * poll, recv, SSL_read and SSL_pending come here (the linker's --wrap, see meson.build). One
 * server a process. */
#pragma once

#include "config.h"
#include "http_limit.h"
#include "metrics.h"

struct socket_connection {
    const struct config_listener *listener;
    struct address source; /* :: for a unix socket */
    bool is_local;         /* unix socket */
};

/* Before civetweb starts. What it points to stays the caller's until socket_stop.
 * Connections are refused of a source that has enough of them, and, before a handshake
 * of TLS is made with it, of one that is over its rate. */
struct socket_rules {
    const struct config *config;
    const struct network_list *trusted; /* proxies, which speak for many */
    struct limit *limit;
    struct metrics *metrics; /* of the refused; may be NULL */
};
void socket_start(const struct socket_rules *rules);
void socket_stop(void);
/* This thread is one of the server's: its waits are looked after. */
void socket_enter_thread(void);
/* Cuts all waits short: the server stops. */
void socket_hurry(void);
/* Did civetweb's calls come here? False means a civetweb that was linked otherwise. */
bool socket_is_wrapped(void);

/* Where the heads that this thread of the server reads begin in memory; NULL before its
 * first read. */
const char *socket_head(void);

/* The connection that this thread is serving; NULL: none that is known. */
const struct socket_connection *socket_current(void);
/* The connection of a descriptor, during its TLS handshake. */
const struct socket_connection *socket_of(int descriptor);

/* No wait of this thread goes on beyond `ticks` (clock_ticks); 0: no such limit. */
void socket_set_deadline(int64_t ticks);
