/* What an endpoint's name stands for: "scep/default" is a profile of a protocol's kind,
 * which names the certificate profile it issues by. */
#pragma once

#include "exchange.h"
#include "profile_cache.h"

struct endpoint {
    char *name; /* "scep/default" */
    enum profile_kind kind;
    const struct profile_cached *protocol;    /* of `kind` */
    const struct profile_cached *certificate; /* may be the same */
};

/* By name, as `tx` sees it; endpoint_free it. CA_NOT_FOUND. */
enum ca_status endpoint_load(struct store_tx *tx, struct profile_cache *cache,
                             const char *name, struct endpoint **ret_endpoint);
void endpoint_free(struct endpoint *endpoint);

/* The settings it issues by. */
const struct certificate_profile *endpoint_profile(const struct endpoint *endpoint);
const char *endpoint_profile_name(const struct endpoint *endpoint);
/* The profile of the protocol's kind: "default" of "scep/default". */
const char *endpoint_short_name(const struct endpoint *endpoint);

/* For how long the same message gets the same answer there. [MS-WSTEP] messages, which
 * are found by their digest alone, five minutes at most. */
int64_t endpoint_retry_seconds(const char *name, const struct config *config);

/* The request's view of an endpoint: loaded once, then the same for the whole request.
 */
enum ca_status endpoint_of(struct exchange *exchange, const char *name,
                           const struct endpoint **ret_endpoint);

/* The issuer behind it, or with `next` the standby that takes over: CA_NOT_FOUND when
 * there is none. Lent for the request. */
enum ca_status endpoint_issuer(struct exchange *exchange, const char *name, bool next,
                               const struct issuer **ret_issuer);
