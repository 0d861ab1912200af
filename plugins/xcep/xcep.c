/* Certificate enrolment policies ([MS-XCEP]): the device policy service of [MS-MDE2],
 * and CEP for clients of the domain kind. */
#include "xcep.h"
#include "auto.h"
#include <string.h>

#define GET_POLICIES_ACTION                                                            \
    "http://schemas.microsoft.com/windows/pki/2009/01/enrollmentpolicy/IPolicy/"       \
    "GetPolicies"

/* One address of the service: which credentials it takes, where it sends on. */
struct service {
    bool is_device; /* [MS-MDE2]'s own: faults by its rules, the user's own profile */
    bool takes_password, takes_login, takes_certificate;
    struct xcep_uri uri;
};

static const struct service device_service = {
    .is_device = true,
    .takes_password = true,
    .takes_login = true,
    .takes_certificate = true,
    .uri = { WINDOWS_ENROLLMENT_PATH, 4, 1 },
};
static const struct service password_service = {
    .takes_password = true,
    .uri = { WINDOWS_CES_PASSWORD_PATH, 4, 1 },
};
static const struct service certificate_service = {
    .takes_certificate = true,
    .uri = { WINDOWS_CES_CERTIFICATE_PATH, 8, 1 },
};

/* How far a request came decides the word for its refusal. */
enum stage { STAGE_FORM, STAGE_SECURITY, STAGE_WHO };

/* The message's own credential, or the certificate of the connection (MS-WSTEP
 * 3.1.1.1.2), where that is taken. */
static enum ca_status
credential_find(const struct service *service, struct ca_request *req,
                const struct soap_token *token, struct ca_credential *credential)
{
    *credential = (struct ca_credential){ .protocol = "xcep",
                                          .message = "GetPolicies",
                                          .endpoint = "" };
    soap_credential(token, credential);
    if (credential->kind == CA_CREDENTIAL_NONE && req->peer_certificate &&
        service->takes_certificate) {
        credential->kind = CA_CREDENTIAL_CERTIFICATE;
        credential->certificate = req->peer_certificate;
    }
    bool is_taken =
        (service->takes_password && credential->kind == CA_CREDENTIAL_PASSWORD) ||
        (service->takes_login && credential->kind == CA_CREDENTIAL_LOGIN_TOKEN) ||
        (service->takes_certificate && credential->kind == CA_CREDENTIAL_CERTIFICATE);
    if (!is_taken)
        return ca_fail(CA_MALFORMED, "no credential that this address takes");
    return CA_OK;
}

static enum ca_status
authenticate(const struct service *service, struct ca_request *req,
             const struct soap_request *soap, enum stage *stage)
{
    CA_AUTO(soap_token_clear) struct soap_token token = { 0 };
    struct ca_credential credential;
    *stage = STAGE_SECURITY;
    enum ca_status status = soap_token_read(req, soap, &token);
    if (status == CA_OK)
        status = credential_find(service, req, &token, &credential);
    if (status != CA_OK)
        return status;
    *stage = STAGE_WHO;
    return ca_authenticate(req, &credential);
}

static enum ca_status
get_policies(const struct xcep *xcep, const struct service *service,
             struct ca_request *req, struct soap_request *soap, enum stage *stage)
{
    struct xcep_request request;
    *stage = STAGE_FORM;
    enum ca_status status = soap_read(req, soap);
    if (status != CA_OK)
        return status;
    if (strcmp(soap->action, GET_POLICIES_ACTION) != 0)
        return ca_fail(CA_MALFORMED, "'%.96s' was sent to the policy service",
                       soap->action);
    status = xcep_request_read(soap->content, &request);
    if (status == CA_OK)
        status = authenticate(service, req, soap, stage);
    if (status != CA_OK)
        return status;
    struct xcep_set *set = ca_request_alloc(req, sizeof *set);
    if (!set)
        return ca_fail(CA_INTERNAL, "no memory for policies");
    set->xcep = xcep;
    set->own_alone = service->is_device;
    status = xcep_policies(req, set);
    if (status != CA_OK)
        return status;
    return xcep_answer_send(set, soap, &request, &service->uri);
}

static enum soap_code
code_of(enum stage stage, enum ca_status status)
{
    if (status == CA_UNAVAILABLE || status == CA_INTERNAL)
        return soap_code_of(status);
    if (stage == STAGE_FORM)
        return SOAP_MESSAGE_FORMAT;
    if (stage == STAGE_SECURITY && status != CA_UNAUTHENTICATED)
        return SOAP_INVALID_SECURITY;
    return soap_code_of(status);
}

static enum ca_status
serve(const struct xcep *xcep, const struct service *service, struct ca_request *req)
{
    static const char *const reasons[] = { [STAGE_FORM] = "MessageFormat",
                                           [STAGE_SECURITY] = "InvalidSecurity",
                                           [STAGE_WHO] = "Authorization" };
    struct soap_request soap = { 0 };
    enum stage stage;
    enum ca_status status = get_policies(xcep, service, req, &soap, &stage);
    if (status == CA_OK)
        return CA_OK;
    /* Before a verified credential; a refusal of the core is in its audit already. */
    if (status != CA_UNAVAILABLE && status != CA_INTERNAL)
        ca_refused(req, "xcep", "", reasons[stage], stage == STAGE_WHO);
    struct soap_fault fault = {
        .code = code_of(stage, status),
        .action = service->is_device ? SOAP_FAULT_ENROLLMENT : SOAP_FAULT_DISPATCHER,
        .http_status = service->is_device ? xcep->fault_status : 500,
    };
    enum ca_status sent = soap_fault_send(req, &soap, &fault);
    return sent == CA_OK ? status : sent;
}

static enum ca_status
handle_device(void *state, struct ca_request *req)
{
    return serve(state, &device_service, req);
}

static enum ca_status
handle_password(void *state, struct ca_request *req)
{
    return serve(state, &password_service, req);
}

static enum ca_status
handle_certificate(void *state, struct ca_request *req)
{
    return serve(state, &certificate_service, req);
}

/* Clients look whether the address lives, and must not be asked for a password. */
static enum ca_status
handle_probe(void *state, struct ca_request *req)
{
    (void)state;
    return ca_respond(req, 200, "text/html", "", 0);
}

static enum ca_status
names_read(const char *member, json_t *value, json_t **names)
{
    bool is_good = json_is_array(value) && json_array_size(value) <= XCEP_TEXTS_MAX;
    for (size_t i = 0; is_good && i < json_array_size(value); i++)
        is_good = json_is_string(json_array_get(value, i));
    if (!is_good)
        return ca_fail(CA_MALFORMED, "settings/%s: a list of names of profiles",
                       member);
    json_decref(*names);
    *names = json_incref(value);
    return CA_OK;
}

static enum ca_status
member_read(struct xcep *xcep, const char *member, json_t *value)
{
    if (strcmp(member, "auto_enroll") == 0)
        return names_read(member, value, &xcep->auto_enroll);
    if (strcmp(member, "machine") == 0)
        return names_read(member, value, &xcep->machine);
    if (strcmp(member, "fault_status") != 0)
        return ca_fail(CA_MALFORMED, "settings/%s: unknown member", member);
    json_int_t number = json_integer_value(value);
    if (number != 200 && number != 500)
        return ca_fail(CA_MALFORMED, "settings/fault_status: 200 or 500");
    xcep->fault_status = (int)number;
    return CA_OK;
}

static void
fini(void *state)
{
    struct xcep *xcep = state;
    json_decref(xcep->auto_enroll);
    json_decref(xcep->machine);
    free(xcep);
}

static enum ca_status
init(const json_t *settings, void **ret_state)
{
    const char *member;
    json_t *value;
    enum ca_status status = CA_OK;
    struct xcep *xcep = calloc(1, sizeof *xcep);
    if (!xcep)
        return ca_fail(CA_INTERNAL, "no memory");
    xcep->fault_status = 500;
    json_object_foreach ((json_t *)(uintptr_t)settings, member, value) {
        if (status == CA_OK)
            status = member_read(xcep, member, value);
    }
    if (status != CA_OK) {
        fini(xcep);
        return status;
    }
    *ret_state = xcep;
    return CA_OK;
}

#define FLAGS (CA_ROUTE_ANY_CASE | CA_ROUTE_TLS_ONLY)
#define MESSAGE (FLAGS | CA_ROUTE_OVERSIZE) /* HTTP 413 would hide the fault */

static const struct ca_route routes[] = {
    { "GET", WINDOWS_POLICY_PATH, 0, FLAGS, handle_probe },
    { "POST", WINDOWS_POLICY_PATH, SOAP_BODY_MAX, MESSAGE, handle_device },
    { "GET", WINDOWS_CEP_PASSWORD_PATH, 0, FLAGS, handle_probe },
    { "POST", WINDOWS_CEP_PASSWORD_PATH, SOAP_BODY_MAX, MESSAGE, handle_password },
    { "GET", WINDOWS_CEP_CERTIFICATE_PATH, 0, FLAGS, handle_probe },
    { "POST", WINDOWS_CEP_CERTIFICATE_PATH, SOAP_BODY_MAX, MESSAGE,
      handle_certificate },
    { 0 },
};

extern const struct ca_plugin ca_plugin;
CA_EXPORT const struct ca_plugin ca_plugin = {
    .abi = CA_PLUGIN_ABI,
    .name = "xcep",
    .routes = routes,
    .init = init,
    .fini = fini,
};
