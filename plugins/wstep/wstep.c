/* [MS-WSTEP] for Windows device management and for clients of the domain kind: routes,
 * settings, faults. */
#include "wstep.h"
#include "auto.h"
#include <string.h>

#define ACTION_RST SOAP_SPACE_ENROLLMENT "/RST/wstep"

/* What the fault of a message says that is no request at all. */
static enum ca_status
fault(struct ca_request *req, const struct soap_request *soap,
      const struct wstep_refusal *refusal, enum ca_status outcome, int http_status)
{
    const struct soap_fault sent = {
        .code = refusal->code,
        .reason = refusal->reason,
        .error_type = refusal->error_type,
        .http_status = http_status,
    };
    enum ca_status status = soap_fault_send(req, soap, &sent);
    return status == CA_OK ? outcome : status;
}

enum soap_code
wstep_request_code(enum ca_status status)
{
    switch (status) {
    case CA_MALFORMED:
    case CA_UNSUPPORTED:
    case CA_FORBIDDEN:
    case CA_LIMIT: return SOAP_CERTIFICATE_REQUEST;
    case CA_UNAUTHENTICATED: return SOAP_AUTHENTICATION;
    case CA_CONFLICT:
    case CA_NOT_FOUND:
    case CA_PENDING: return SOAP_AUTHORIZATION;
    case CA_UNAVAILABLE: return SOAP_ENROLLMENT_SERVER;
    case CA_OK:
    case CA_INTERNAL:
    case CA_STATUS_COUNT: break;
    }
    return SOAP_INTERNAL_SERVICE_FAULT;
}

static enum ca_status
read_message(struct ca_request *req, struct soap_request *soap,
             struct wstep_refusal *refusal)
{
    enum ca_status status = soap_read(req, soap);
    if (status == CA_OK && strcmp(soap->action, ACTION_RST) != 0)
        status = ca_fail(CA_MALFORMED, "action '%.100s'", soap->action);
    if (status == CA_OK)
        return CA_OK;
    refusal->code =
        status == CA_INTERNAL ? SOAP_INTERNAL_SERVICE_FAULT : SOAP_MESSAGE_FORMAT;
    if (status != CA_INTERNAL)
        ca_refused(req, "wstep", "", "malformed", false);
    return status;
}

static enum ca_status
handle_device(void *state, struct ca_request *req)
{
    const struct wstep_settings *settings = state;
    struct soap_request soap = { 0 };
    struct wstep_refusal refusal = { .code = SOAP_INTERNAL_SERVICE_FAULT };
    enum ca_status status = read_message(req, &soap, &refusal);
    if (status == CA_OK)
        status = wstep_device(req, settings, &soap, &refusal);
    return status == CA_OK
               ? CA_OK
               : fault(req, &soap, &refusal, status, settings->fault_status);
}

static const struct wstep_service password_service = {
    .path = WINDOWS_CES_PASSWORD_PATH,
    .takes_password = true,
};
static const struct wstep_service certificate_service = {
    .path = WINDOWS_CES_CERTIFICATE_PATH,
    .takes_certificate = true,
};

/* Its faults have WCF's action and 500 always: clients read none with another. */
static enum ca_status
serve_ces(struct ca_request *req, const struct wstep_service *service)
{
    struct soap_request soap = { 0 };
    struct wstep_refusal refusal = { .code = SOAP_INTERNAL_SERVICE_FAULT };
    enum ca_status status = read_message(req, &soap, &refusal);
    if (status == CA_OK)
        status = wstep_ces(req, service, &soap, &refusal);
    if (status == CA_OK)
        return CA_OK;
    const struct soap_fault sent = { .code = refusal.code,
                                     .action = SOAP_FAULT_DISPATCHER,
                                     .detail = wstep_fault_detail,
                                     .arg = &refusal };
    enum ca_status written = soap_fault_send(req, &soap, &sent);
    return written == CA_OK ? status : written;
}

static enum ca_status
handle_password(void *state, struct ca_request *req)
{
    (void)state;
    return serve_ces(req, &password_service);
}

static enum ca_status
handle_certificate(void *state, struct ca_request *req)
{
    (void)state;
    return serve_ces(req, &certificate_service);
}

/* Clients and people look whether there is anything ([MS-MDE2]: any GET is 200). */
static enum ca_status
handle_get(void *state, struct ca_request *req)
{
    (void)state;
    return ca_respond(req, 200, "text/html", "", 0);
}

/* Goes into LocURIs and XML attributes: letters, digits, '-', '_', '.'. */
static bool
is_plain(const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789-_.";
    return *text && strspn(text, plain) == strlen(text);
}

static bool
text_take(char *ret_text, size_t size, const char *text)
{
    int length = snprintf(ret_text, size, "%s", text);
    return length > 0 && (size_t)length < size;
}

static enum ca_status
wstep_init(const json_t *given, void **ret_state)
{
    const char *provider = "Sealwright", *name = "Sealwright";
    const char *management = "/syncml/initialquery";
    int fault_status = 500;
    json_error_t error;
    if (given && json_unpack_ex((json_t *)(uintptr_t)given, &error, JSON_STRICT,
                                "{s?s, s?s, s?s, s?i}", "provider_id", &provider,
                                "name", &name, "management_path", &management,
                                "fault_status", &fault_status) != 0)
        return ca_fail(CA_MALFORMED, "settings of wstep: %s", error.text);
    struct wstep_settings *settings = calloc(1, sizeof *settings);
    if (!settings)
        return ca_fail(CA_INTERNAL, "no memory for settings");
    bool is_good =
        text_take(settings->provider_id, sizeof settings->provider_id, provider) &&
        is_plain(provider) && text_take(settings->name, sizeof settings->name, name) &&
        text_take(settings->management, sizeof settings->management, management) &&
        management[0] == '/' && (fault_status == 500 || fault_status == 200);
    if (!is_good) {
        free(settings);
        return ca_fail(CA_MALFORMED,
                       "settings of wstep: provider_id is 1-64 of A-Z a-z 0-9 - _ ., "
                       "name has 1-64 octets, management_path starts with '/', "
                       "fault_status is 500 or 200");
    }
    settings->fault_status = fault_status;
    *ret_state = settings;
    return CA_OK;
}

#define FLAGS (CA_ROUTE_ANY_CASE | CA_ROUTE_TLS_ONLY)
#define MESSAGE (FLAGS | CA_ROUTE_OVERSIZE) /* HTTP 413 would hide the fault */

static const struct ca_route wstep_routes[] = {
    { "GET", WSTEP_PATH, 0, FLAGS, handle_get },
    { "POST", WSTEP_PATH, SOAP_BODY_MAX, MESSAGE, handle_device },
    { "GET", WINDOWS_CES_PASSWORD_PATH, 0, FLAGS, handle_get },
    { "POST", WINDOWS_CES_PASSWORD_PATH, SOAP_BODY_MAX, MESSAGE, handle_password },
    { "GET", WINDOWS_CES_CERTIFICATE_PATH, 0, FLAGS, handle_get },
    { "POST", WINDOWS_CES_CERTIFICATE_PATH, SOAP_BODY_MAX, MESSAGE,
      handle_certificate },
    { NULL, NULL, 0, 0, NULL },
};

CA_EXPORT const struct ca_plugin ca_plugin = {
    .abi = CA_PLUGIN_ABI,
    .name = "wstep",
    .routes = wstep_routes,
    .init = wstep_init,
    .fini = free,
};
