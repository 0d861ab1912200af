/* An OpenID provider whose users log in (OpenID Connect Core 1.0, authorization code
 * with PKCE): what it says of itself, the exchange of a code, and what its ID token
 * must say. Sessions and users are others' business. */
#pragma once

#include "config.h"
#include "jws.h"

#define OIDC_KEEP_MS ((int64_t)3600 * 1000) /* what the provider says of itself */
#define OIDC_REFETCH_MS                                                                \
    60000                   /* between two looks at its keys for one that is unknown */
#define OIDC_FAILED_MS 5000 /* after a failure nobody asks it again */
#define OIDC_ANSWER_MAX (256 * 1024)
#define OIDC_LEEWAY 60   /* seconds that clocks may differ */
#define OIDC_AGE_MAX 600 /* seconds since the token was issued */
#define OIDC_CONNECT_MS 5000
#define OIDC_EXCHANGES_MOST 4 /* codes that are with the provider at once */

struct oidc;
/* Asks nobody yet; later one thread at a time for what the provider says of itself.
 * NULL in `ret_oidc` without an issuer. */
enum ca_status oidc_new(const struct config_oidc *config, struct oidc **ret_oidc);
void oidc_free(struct oidc *oidc); /* NULL is nothing */
/* Can its files be read, for `sealwright check`? */
enum ca_status oidc_check(const struct config_oidc *config);

/* One log-in, all of it drawn from what the browser keeps. */
struct oidc_login {
    const char *redirect_uri;
    char state[44], nonce[44], verifier[44]; /* base64url of 256 bits */
};
/* Where the browser goes; free() it. CA_UNAVAILABLE: the provider does not say. */
enum ca_status oidc_authorize(struct oidc *oidc, const struct oidc_login *login,
                              char **ret_url);
/* RFC 9207: is the answer this provider's? `iss` NULL: it does not say. */
enum ca_status oidc_check_issuer(struct oidc *oidc, const char *iss);
/* The user by the code that the browser brought: the claim of the configuration, of a
 * token that holds; free() it. CA_UNAUTHENTICATED, CA_UNAVAILABLE. */
enum ca_status oidc_exchange(struct oidc *oidc, const struct oidc_login *login,
                             const char *code, char **ret_user);

/* What an ID token must say, its signature aside (3.1.3.7). CA_UNAUTHENTICATED. */
struct oidc_expected {
    const char *issuer, *client_id, *nonce;
    int64_t now;
};
enum ca_status oidc_check_claims(const json_t *claims,
                                 const struct oidc_expected *expected);
/* The claim that names the user; free() it. CA_UNAUTHENTICATED: none, or an address
 * that the token does not call verified (JSON's true). */
enum ca_status oidc_user_of(const struct config_oidc *config, const json_t *claims,
                            char **ret_user);
/* Is that a mail address? Everything else is a user's name alone, for a provider lets
 * people choose it without a look at the mailbox. */
bool oidc_names_by_mail(const struct config_oidc *config);

/* ---- Requests (oidc_http.c) ---- */

struct oidc_request {
    const struct config_oidc *config;
    const char *url;
    const char *form;            /* POST; NULL: GET */
    const char *user, *password; /* for Basic, or NULL */
};
/* The JSON object of a 200 (new reference). CA_UNAUTHENTICATED: 400 or 401, with the
 * provider's word; else CA_UNAVAILABLE. */
enum ca_status oidc_http(const struct oidc_request *request, json_t **ret_object);
