/* The health check: what an operator should know before it hurts, found out from
 * configuration, store, tokens and files alone, with or without a daemon. */
#pragma once

#include "config.h"
#include "issuer.h"
#include "store.h"
#include "token.h"

enum health_severity { HEALTH_OK, HEALTH_WARNING, HEALTH_CRITICAL };
extern const char *const health_severity_words[];

struct health {
    json_t *findings; /* array of {"check", "severity", "detail"} */
    enum health_severity worst;
    /* While it runs; NULL where it could not be opened. */
    const struct config *config;
    struct token_set *tokens;
    struct store *store;
};

/* Looks at everything that the configuration at `path` names. What cannot be opened is
 * a finding, too. health_clear it. */
void health_run(const char *path, struct health *ret_health);
void health_clear(struct health *health);

/* One finding; parts of the check. `check` is "token:main", "crl:issuing", ... */
void health_add(struct health *health, enum health_severity severity, const char *check,
                const char *format, ...) __attribute__((format(printf, 4, 5)));
/* The end of a certificate, ahead of which `warn` seconds are a warning. */
void health_check_end(struct health *health, const char *check, const X509 *certificate,
                      int64_t warn);
void health_check_keys(struct health *health);     /* tokens, keys, waivers, ends */
void health_check_profiles(struct health *health); /* what a profile gives away */
void health_check_files(struct health *health);    /* modes, disk, TLS certificate */
