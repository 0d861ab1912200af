/* People who come back from the OpenID provider. All of a log-in is drawn from one
 * secret in a cookie of this host alone: state, nonce and the verifier of PKCE, so that
 * an answer is worth nothing in another browser, and once in this one. */
#pragma once

#include "auth_person.h"
#include "oidc.h"

#define PROVIDER_SECONDS 600 /* from the way there to the way back */
/* The cookie: secret, time, our MAC over all the rest, each with a dot behind it, and
 * the context. */
#define PROVIDER_TIME_AT 44
#define PROVIDER_MAC_AT (PROVIDER_TIME_AT + 13)
#define PROVIDER_CONTEXT_AT (PROVIDER_MAC_AT + 44)
#define PROVIDER_COOKIE_SIZE (PROVIDER_CONTEXT_AT + 1 + CA_PROVIDER_CONTEXT_MAX)

/* What this cookie's log-in consists of; `redirect_uri` is free()d by the caller.
 * CA_UNAVAILABLE: the organisation has no base_url. */
enum ca_status provider_login(struct exchange *exchange, const char *protocol,
                              const char *cookie, struct oidc_login *ret_login,
                              char **ret_redirect_uri);
/* A new cookie, which every instance knows again. */
enum ca_status provider_cookie_draw(struct exchange *exchange, const char *protocol,
                                    const char *context,
                                    char ret_cookie[PROVIDER_COOKIE_SIZE]);
/* Is there a log-in for this protocol? */
bool provider_serves(const char *protocol);
/* The only cookie of this protocol's log-ins. False: none. */
bool provider_cookie(struct exchange *exchange, const char *protocol,
                     char ret_cookie[PROVIDER_COOKIE_SIZE]);
/* Sets it; "" takes it away. */
enum ca_status provider_cookie_set(struct exchange *exchange, const char *protocol,
                                   const char *cookie);

/* The user of the browser that came back, once. CA_UNAUTHENTICATED alike for an answer
 * that is not this browser's, one that comes again, a token that does not hold and a
 * user who is not here; CA_LIMIT; CA_UNAVAILABLE. */
enum ca_status auth_provider(struct exchange *exchange,
                             const struct ca_credential *credential,
                             struct person *person);
