/* Inside of the discovery plugin. */
#pragma once

#include "soap.h"

/* Words of AuthPolicy. */
enum discovery_policy {
    DISCOVERY_ON_PREMISE,
    DISCOVERY_FEDERATED,
    DISCOVERY_CERTIFICATE,
    DISCOVERY_POLICY_COUNT
};
extern const char *const discovery_policy_words[DISCOVERY_POLICY_COUNT];

/* The configuration's object, from start to stop. */
struct discovery {
    enum discovery_policy policies[DISCOVERY_POLICY_COUNT]; /* the best one first */
    size_t policy_count;
    int fault_status;
    int64_t login_seconds;
    char *terms; /* shown on the login page; "" for none */
};

/* A Discover request ([MS-MDE2] 3.1.4.1.1.1). */
struct discovery_request {
    bool is_first; /* MDE version 1: empty RequestVersion */
    unsigned major;
    bool has_offers;
    unsigned offered; /* bits of enum discovery_policy */
};

/* Reads Discover; children in any order, unknown ones are left alone. CA_MALFORMED. */
enum ca_status discovery_read(const struct xml_node *discover,
                              struct discovery_request *ret_request);
/* The policy that both sides take, the configuration's best first. False: none. */
bool discovery_choose(const struct discovery *discovery,
                      const struct discovery_request *request,
                      enum discovery_policy *ret_policy);

/* The login page and what it posts. */
enum ca_status discovery_login_get(void *state, struct ca_request *req);
enum ca_status discovery_login_post(void *state, struct ca_request *req);
/* The way to the OpenID provider, and the way back. */
enum ca_status discovery_provider_login(void *state, struct ca_request *req);
enum ca_status discovery_provider_get(void *state, struct ca_request *req);

/* ---- Pieces of the page (discovery_login.c) ---- */

/* CA_MALFORMED: no place of a client's. */
enum ca_status discovery_check_appru(const char *appru);
/* The last page, which hands the token to the client. */
enum ca_status discovery_token_send(struct ca_request *req, const char *appru,
                                    const char *token);
/* What cannot be answered by a form; `text` NULL: by what the status says. */
enum ca_status discovery_refuse_send(struct ca_request *req, enum ca_status status,
                                     const char *text);
