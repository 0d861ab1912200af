/* Inside of the xcep plugin. */
#pragma once

#include "soap.h"
#include "windows.h"

#define XCEP_SPACE "http://schemas.microsoft.com/windows/pki/2009/01/enrollmentpolicy"
#define XCEP_POLICIES_MAX 64
#define XCEP_FILTER_MAX 64
#define XCEP_TEXTS_MAX 64 /* members of a list of the configuration */

/* The configuration's object, from start to stop. */
struct xcep {
    int fault_status;    /* of the device policy service; CEP has 500 */
    json_t *auto_enroll; /* names of certificate profiles */
    json_t *machine;     /* names of those for machine contexts */
};

/* GetPolicies ([MS-XCEP] 3.1.4.1.1.1). */
struct xcep_request {
    const char *oids[XCEP_FILTER_MAX]; /* of the filter */
    size_t oid_count;
    bool has_filter;
    int64_t client_version, server_version; /* -1: no filter */
};
/* CA_MALFORMED. */
enum ca_status xcep_request_read(const struct xml_node *content,
                                 struct xcep_request *ret_request);

/* A certificate profile as a policy. Texts belong to the request. */
struct xcep_policy {
    const char *name;
    const char *oid;
    int64_t validity, renewal; /* seconds */
    int64_t key_bits;
    bool is_rsa;
    int64_t changed;
    bool auto_enroll, is_machine;
    size_t authority; /* index in the set */
};

struct xcep_authority {
    struct ca_bytes der;
    const char *text; /* base64 of it */
};

/* Everything of one answer. */
struct xcep_set {
    struct ca_request *req;
    const struct xcep *xcep;
    struct ca_organisation organisation;
    bool own_alone; /* device management enrols by the user's own profile */
    struct xcep_policy policies[XCEP_POLICIES_MAX];
    size_t policy_count;
    struct xcep_authority authorities[XCEP_POLICIES_MAX];
    size_t authority_count;
};

/* The policies of the authenticated identity. CA_FORBIDDEN: none. */
enum ca_status xcep_policies(struct ca_request *req, struct xcep_set *set);

/* One address of the enrolment service. */
struct xcep_uri {
    const char *path;
    int authentication; /* 4 user and password, 8 certificate */
    int priority;
};
enum ca_status xcep_answer_send(const struct xcep_set *set,
                                const struct soap_request *soap,
                                const struct xcep_request *request,
                                const struct xcep_uri *uri);
