/* Who asks: TLS client certificates and administrators. The exported call
 * (ca_authenticate) is in plugin.h. */
#pragma once

#include "exchange.h"

/* Is this TLS client certificate one of ours: signed by a loaded issuer, in its
 * validity, recorded as issued and not revoked? CA_UNAUTHENTICATED with the reason in
 * the message; CA_UNAVAILABLE when the store is away. */
enum ca_status auth_check_peer(struct service *service, X509 *certificate);

/* The administrator of this request, by bearer token or client certificate, into
 * exchange->identity (IDENTITY_ADMIN). CA_UNAUTHENTICATED. */
enum ca_status auth_admin(struct exchange *exchange);
