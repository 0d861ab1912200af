/* TLS of the listeners: certificate and key that can be exchanged while running. */
#pragma once

#include "status.h"
#include <openssl/ssl.h>
#include <stdbool.h>

struct tls;
struct service;

/* Reads chain and key (PEM; the key's file without any right for group and others).
 * CA_NOT_FOUND, CA_FORBIDDEN, CA_MALFORMED, CA_CONFLICT (not one pair) name the file.
 * Clients are told the names of `service`'s issuers; borrowed, or NULL. */
enum ca_status tls_open(const char *certificate, const char *key,
                        struct service *service, struct tls **ret_tls);
/* Reads both anew. They must hold and be in their validity, or the old ones stay. */
enum ca_status tls_reload(struct tls *tls);
void tls_close(struct tls *tls);
/* Sets up civetweb's context; `tls` must outlive it. False: OpenSSL refused. */
bool tls_configure(struct tls *tls, SSL_CTX *context);
