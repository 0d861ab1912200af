/* Discovery of the enrolment services ([MS-MDE2] 3.1, [MS-MDE] 3.1): routes, settings,
 * the Discover exchange. */
#include "discovery.h"
#include "auto.h"
#include "windows.h"
#include <string.h>

#define DISCOVER_ACTION                                                                \
    "http://schemas.microsoft.com/windows/management/2012/01/enrollment/"              \
    "IDiscoveryService/Discover"
#define DISCOVER_SPACE                                                                 \
    "http://schemas.microsoft.com/windows/management/2012/01/enrollment"
#define LOGIN_BODY_MAX 8192
#define LOGIN_SECONDS 600
#define LOGIN_SECONDS_MAX 3600
#define TERMS_MAX 4096

/* The probe of automatic discovery: 200 and nothing, over plain HTTP too. */
static enum ca_status
handle_probe(void *state, struct ca_request *req)
{
    (void)state;
    return ca_respond(req, 200, "text/html", "", 0);
}

static void
leaf_url(struct xml_writer *writer, const char *name,
         const struct ca_organisation *organisation, const char *path)
{
    xml_open(writer, name);
    xml_text(writer, organisation->base_url);
    xml_text(writer, path);
    xml_close(writer);
}

/* Version 1 has an order ([MS-MDE] 3.1.4.1.3.2), which version 2 takes too. */
static enum ca_status
answer(struct ca_request *req, const struct soap_request *soap,
       const struct discovery_request *request, enum discovery_policy policy)
{
    struct ca_organisation organisation;
    enum ca_status status = ca_organisation(req, &organisation);
    if (status != CA_OK)
        return status;
    if (!*organisation.base_url)
        return ca_fail(CA_UNAVAILABLE, "the organisation has no base_url");
    CA_AUTO(xml_clear) struct xml_writer writer = { 0 };
    soap_answer_begin(&writer, soap, DISCOVER_ACTION "Response");
    xml_open(&writer, "DiscoverResponse");
    xml_set(&writer, "xmlns", DISCOVER_SPACE);
    xml_open(&writer, "DiscoverResult");
    xml_leaf(&writer, "AuthPolicy", discovery_policy_words[policy]);
    if (request->major >= 3)
        xml_leaf(&writer, "EnrollmentVersion", request->major > 3 ? "4.0" : "3.0");
    if (policy == DISCOVERY_FEDERATED)
        leaf_url(&writer, "AuthenticationServiceUrl", &organisation,
                 WINDOWS_LOGIN_PATH);
    leaf_url(&writer, "EnrollmentPolicyServiceUrl", &organisation, WINDOWS_POLICY_PATH);
    leaf_url(&writer, "EnrollmentServiceUrl", &organisation, WINDOWS_ENROLLMENT_PATH);
    xml_close(&writer);
    xml_close(&writer);
    return soap_answer_send(&writer, req);
}

static bool
is_discover(const struct xml_node *node)
{
    return xml_is(node, DISCOVER_SPACE, "Discover") ||
           xml_is(node, DISCOVER_SPACE "/", "Discover");
}

static enum ca_status
discover(const struct discovery *discovery, struct ca_request *req,
         struct soap_request *soap)
{
    struct discovery_request request;
    enum discovery_policy policy;
    enum ca_status status = soap_read(req, soap);
    if (status != CA_OK)
        return status;
    /* A client without Renew/ServerURL may send its renewal here. */
    if (strcmp(soap->action, DISCOVER_ACTION) != 0 || !is_discover(soap->content))
        return ca_fail(CA_MALFORMED, "'%.96s' was sent to the discovery service",
                       soap->action);
    status = discovery_read(soap->content, &request);
    if (status != CA_OK)
        return status;
    if (!discovery_choose(discovery, &request, &policy))
        return ca_fail(CA_FORBIDDEN, "the client offers no authentication of ours");
    return answer(req, soap, &request, policy);
}

/* Whatever can be answered in SOAP is: an HTTP 4xx hides the fault from the client. */
static enum ca_status
handle_discover(void *state, struct ca_request *req)
{
    const struct discovery *discovery = state;
    struct soap_request soap = { 0 };
    enum ca_status status = discover(discovery, req, &soap);
    if (status == CA_OK)
        return CA_OK;
    bool is_form =
        status != CA_FORBIDDEN && status != CA_UNAVAILABLE && status != CA_INTERNAL;
    struct soap_fault fault = {
        .code = is_form ? SOAP_MESSAGE_FORMAT : soap_code_of(status),
        .error_type = status == CA_FORBIDDEN ? "NotSupported" : NULL,
        .http_status = discovery->fault_status,
    };
    if (is_form || status == CA_FORBIDDEN)
        ca_refused(req, "discovery", "", is_form ? "MessageFormat" : "NotSupported",
                   false);
    enum ca_status sent = soap_fault_send(req, &soap, &fault);
    return sent == CA_OK ? status : sent;
}

static bool
policy_read(struct discovery *discovery, const char *word)
{
    for (int i = 0; word && i < DISCOVERY_POLICY_COUNT; i++) {
        if (strcmp(word, discovery_policy_words[i]) != 0)
            continue;
        for (size_t j = 0; j < discovery->policy_count; j++) {
            if ((int)discovery->policies[j] == i)
                return false;
        }
        discovery->policies[discovery->policy_count++] = (enum discovery_policy)i;
        return true;
    }
    return false;
}

static enum ca_status
policies_read(struct discovery *discovery, const json_t *list)
{
    size_t count = json_array_size(list);
    bool is_good = count > 0;
    for (size_t i = 0; is_good && i < count; i++)
        is_good = policy_read(discovery, json_string_value(json_array_get(list, i)));
    if (!is_good)
        return ca_fail(CA_MALFORMED, "settings/authentication: a list of OnPremise, "
                                     "Federated, Certificate, each once");
    return CA_OK;
}

static enum ca_status
member_read(struct discovery *discovery, const char *member, const json_t *value)
{
    json_int_t number = json_is_integer(value) ? json_integer_value(value) : -1;
    if (strcmp(member, "authentication") == 0)
        return policies_read(discovery, value);
    if (strcmp(member, "fault_status") == 0) {
        discovery->fault_status = (int)number;
        return number == 200 || number == 500
                   ? CA_OK
                   : ca_fail(CA_MALFORMED, "settings/fault_status: 200 or 500");
    }
    if (strcmp(member, "login_seconds") == 0) {
        discovery->login_seconds = number;
        return number >= 60 && number <= LOGIN_SECONDS_MAX
                   ? CA_OK
                   : ca_fail(CA_MALFORMED, "settings/login_seconds: 60 to %d",
                             LOGIN_SECONDS_MAX);
    }
    if (strcmp(member, "terms") != 0)
        return ca_fail(CA_MALFORMED, "settings/%s: unknown member", member);
    const char *terms = json_string_value(value);
    if (!terms || strlen(terms) > TERMS_MAX)
        return ca_fail(CA_MALFORMED, "settings/terms: text of at most %d octets",
                       TERMS_MAX);
    free(discovery->terms);
    discovery->terms = strdup(terms);
    return discovery->terms ? CA_OK : ca_fail(CA_INTERNAL, "no memory");
}

static void
fini(void *state)
{
    struct discovery *discovery = state;
    free(discovery->terms);
    free(discovery);
}

static enum ca_status
init(const json_t *settings, void **ret_state)
{
    const char *member;
    json_t *value;
    struct discovery *discovery = calloc(1, sizeof *discovery);
    if (!discovery)
        return ca_fail(CA_INTERNAL, "no memory");
    discovery->fault_status = 500;
    discovery->login_seconds = LOGIN_SECONDS;
    discovery->terms = strdup("");
    enum ca_status status =
        discovery->terms ? CA_OK : ca_fail(CA_INTERNAL, "no memory");
    json_object_foreach ((json_t *)(uintptr_t)settings, member, value) {
        if (status == CA_OK)
            status = member_read(discovery, member, value);
    }
    if (status != CA_OK) {
        fini(discovery);
        return status;
    }
    if (discovery->policy_count == 0) {
        policy_read(discovery, "Federated");
        policy_read(discovery, "OnPremise");
    }
    *ret_state = discovery;
    return CA_OK;
}

static const struct ca_route routes[] = {
    { "GET", WINDOWS_DISCOVERY_PATH, 0, CA_ROUTE_ANY_CASE, handle_probe },
    { "POST", WINDOWS_DISCOVERY_PATH, SOAP_BODY_MAX,
      CA_ROUTE_ANY_CASE | CA_ROUTE_TLS_ONLY | CA_ROUTE_OVERSIZE, handle_discover },
    { "GET", WINDOWS_LOGIN_PATH, 0, CA_ROUTE_ANY_CASE | CA_ROUTE_TLS_ONLY,
      discovery_login_get },
    { "POST", WINDOWS_LOGIN_PATH, LOGIN_BODY_MAX, CA_ROUTE_ANY_CASE | CA_ROUTE_TLS_ONLY,
      discovery_login_post },
    { "GET", WINDOWS_PROVIDER_PATH, 0, CA_ROUTE_ANY_CASE | CA_ROUTE_TLS_ONLY,
      discovery_provider_login },
    { "GET", CA_PROVIDER_PATH_DISCOVERY, 0, CA_ROUTE_ANY_CASE | CA_ROUTE_TLS_ONLY,
      discovery_provider_get },
    { 0 },
};

extern const struct ca_plugin ca_plugin;
CA_EXPORT const struct ca_plugin ca_plugin = {
    .abi = CA_PLUGIN_ABI,
    .name = "discovery",
    .routes = routes,
    .init = init,
    .fini = fini,
};
