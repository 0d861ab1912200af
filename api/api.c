/* The admin API as a built-in plugin: finds the route, asks who calls, runs the
 * handler, answers. */
#include "api.h"
#include "auth.h"
#include <string.h>

const struct api_resource *const api_resources[] = {
    &api_organisation,    &api_issuers,         &api_profiles,     &api_users,
    &api_user_import,     &api_passwords,       &api_invitations,  &api_groups,
    &api_assignments,     &api_challenges,      &api_activations,  &api_devices,
    &api_device_commands, &api_device_sessions, &api_certificates, &api_requests,
    &api_mails,           &api_audits,          &api_admins,       &api_tokens,
    &api_instances,       &api_directory,       &api_description,  NULL,
};

/* Does the path follow the template? Each "{...}" takes one segment, not empty. */
static bool
path_matches(const char *template, const char *path, struct ca_request *req,
             const char *parameters[API_PARAMETERS_MAX])
{
    size_t count = 0;
    while (*template && *path) {
        if (*template != '{') {
            if (*template ++ != *path++)
                return false;
            continue;
        }
        size_t length = strcspn(path, "/");
        if (length == 0 || count == API_PARAMETERS_MAX)
            return false;
        char *value = ca_request_alloc(req, length + 1);
        if (!value)
            return false;
        memcpy(value, path, length);
        parameters[count++] = value;
        path += length;
        template = strchr(template, '}') + 1;
    }
    return *template == '\0' && *path == '\0';
}

/* The route of method and path; without one the status, and in `allow` the methods that
 * the path knows. */
static enum ca_status
route_find(struct api_call *call, struct ca_request *req, char *allow, size_t size)
{
    *allow = '\0';
    for (const struct api_resource *const *resource = api_resources; *resource;
         resource++) {
        for (const struct api_route *route = (*resource)->routes; route->method;
             route++) {
            const char *parameters[API_PARAMETERS_MAX] = { NULL };
            if (!path_matches(route->path, req->rest, req, parameters))
                continue;
            if (strcmp(route->method, req->method) == 0) {
                memcpy(call->parameters, parameters, sizeof parameters);
                call->resource = *resource;
                call->route = route;
                return CA_OK;
            }
            size_t used = strlen(allow);
            snprintf(allow + used, size - used, "%s%s", used ? ", " : "",
                     route->method);
        }
    }
    return *allow ? ca_fail(CA_UNSUPPORTED, "this resource takes %s", allow)
                  : ca_fail(CA_NOT_FOUND, "there is no such resource");
}

/* SECURITY A6: the role decides, by the route's row alone. */
static enum ca_status
role_check(const struct api_call *call)
{
    const struct admin *admin = &call->exchange->identity.admin;
    if (admin->roles & call->route->roles)
        return CA_OK;
    return ca_fail(CA_FORBIDDEN,
                   "the roles of '%s' do not include one that may do this",
                   admin->name);
}

static enum ca_status
answer(struct api_call *call)
{
    struct ca_request *req = &call->exchange->request;
    if (call->answer.is_done)
        return CA_OK;
    if (call->answer.version > 0) {
        char tag[32];
        snprintf(tag, sizeof tag, "\"%lld\"", (long long)call->answer.version);
        ca_respond_header(req, "ETag", tag);
    }
    if (call->answer.location)
        ca_respond_header(req, "Location", call->answer.location);
    ca_respond_header(req, "Cache-Control", "no-store");
    int status = call->answer.status ? call->answer.status : call->route->success;
    if (call->dry_run && status == 201)
        status = 200; /* nothing was made */
    if (!call->answer.body)
        return ca_respond(req, call->dry_run ? status : 204, NULL, NULL, 0);
    CA_AUTO(free) char *text = json_dumps(call->answer.body, JSON_COMPACT);
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for an answer");
    enum ca_status sent =
        ca_respond(req, status, "application/json", text, strlen(text));
    /* What was shown once is not left in freed memory. */
    OPENSSL_cleanse(text, strlen(text));
    return sent;
}

/* Everything up to the handler; each refusal is answered by the caller. */
static enum ca_status
call_run(struct api_call *call)
{
    enum ca_status status = role_check(call);
    if (status == CA_OK)
        status = api_call_parse(call);
    if (status != CA_OK)
        return status;
    bool is_repeated = false;
    if (call->repeat_key) {
        status = api_repeat_find(call, &is_repeated);
        if (status != CA_OK || is_repeated)
            return status;
    }
    const struct api_route *route = call->route;
    if (route->handle)
        return route->handle(call);
    if (route->flags & API_LIST)
        return api_list_run(call);
    return route->flags & API_CHANGE ? api_write(call, route->step, NULL)
                                     : api_read(call, route->step, NULL);
}

static void
call_clear(struct api_call *call)
{
    json_decref(call->body);
    json_decref(call->answer.body);
    free(call->answer.location);
}

static enum ca_status
api_handle(void *state, struct ca_request *req)
{
    (void)state;
    struct api_call call = { .exchange = exchange_of(req) };
    char allow[64];
    enum ca_status status = auth_admin(call.exchange);
    if (status == CA_UNAUTHENTICATED)
        ca_respond_header(req, "WWW-Authenticate", "Bearer realm=\"sealwright\"");
    if (status == CA_OK) {
        status = route_find(&call, req, allow, sizeof allow);
        if (status == CA_UNSUPPORTED) {
            call.answer.status = 405;
            ca_respond_header(req, "Allow", allow);
        }
    }
    if (status == CA_OK) {
        char operation[96];
        snprintf(operation, sizeof operation, "%s %s", req->method, call.route->path);
        exchange_set_operation(call.exchange, operation);
        status = call_run(&call);
    }
    enum ca_status sent = CA_OK;
    if (status == CA_OK)
        sent = answer(&call);
    else if (!call.answer.is_done)
        sent = api_problem(&call, status);
    call_clear(&call);
    return sent == CA_OK ? status : sent;
}

static const struct ca_route routes[] = {
    { "GET", API_ROOT, 0, CA_ROUTE_PREFIX | CA_ROUTE_API, api_handle },
    { "POST", API_ROOT, API_BODY_MAX, CA_ROUTE_PREFIX | CA_ROUTE_API, api_handle },
    { "PUT", API_ROOT, API_BODY_MAX, CA_ROUTE_PREFIX | CA_ROUTE_API, api_handle },
    { "PATCH", API_ROOT, API_BODY_MAX, CA_ROUTE_PREFIX | CA_ROUTE_API, api_handle },
    { "DELETE", API_ROOT, API_BODY_MAX, CA_ROUTE_PREFIX | CA_ROUTE_API, api_handle },
    { NULL, NULL, 0, 0, NULL },
};

const struct ca_plugin api_plugin = {
    .abi = CA_PLUGIN_ABI,
    .name = "api",
    .routes = routes,
};
