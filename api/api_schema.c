/* OpenAPI 3.1: the same tables that route and validate, as the contract. */
#include "api.h"
#include <string.h>

/* A path's parameters, those of the query, and the headers of the flags. */
static json_t *
parameter_make(const char *place, const char *name, bool is_required, const char *help)
{
    return json_pack("{s:s, s:s, s:b, s:{s:s}, s:s*}", "in", place, "name", name,
                     "required", is_required, "schema", "type", "string", "description",
                     help);
}

static void
query_add(json_t *list, const struct api_query *query)
{
    for (; query && query->name; query++)
        json_array_append_new(list,
                              parameter_make("query", query->name, false, query->help));
}

static json_t *
parameters_make(const struct api_route *route)
{
    json_t *list = json_array();
    for (const char *at = strchr(route->path, '{'); at; at = strchr(at + 1, '{')) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(at + 1, "}"), at + 1);
        json_array_append_new(list, parameter_make("path", name, true, NULL));
    }
    query_add(list, route->query);
    if (route->flags & API_LIST)
        query_add(list, api_query_list(API_LIST));
    if (route->flags & API_CHANGE)
        query_add(list, api_query_list(API_CHANGE));
    if (route->flags & API_IF_MATCH)
        json_array_append_new(list, parameter_make("header", "If-Match", true,
                                                   "The ETag of the version read."));
    if (route->flags & API_REPEAT)
        json_array_append_new(
            list,
            parameter_make("header", "Idempotency-Key", false,
                           "The same key and body get the same answer for 24 h."));
    return list;
}

static json_t *
content_make(const char *type, json_t *schema)
{
    return json_pack("{s:{s:o}}", type, "schema", schema);
}

static json_t *
list_schema(json_t *item)
{
    return json_pack("{s:s, s:[s,s], s:{s:{s:s, s:o}, s:{s:[s,s], s:s}}}", "type",
                     "object", "required", "items", "next", "properties", "items",
                     "type", "array", "items", item, "next", "type", "string", "null",
                     "description", "Cursor of the next page.");
}

/* What only the answer that makes it shows, beside the record. */
static const struct {
    const char *path, *name, *help;
} shown_once[] = {
    { "/challenges", "challenge", "The secret; never shown again." },
    { "/challenges", "url", "The SCEP endpoint to use it at." },
    { "/tokens", "token", "The bearer token; never shown again." },
};

static void
shown_once_add(const struct api_route *route, json_t *schema)
{
    for (size_t i = 0; i < sizeof shown_once / sizeof *shown_once; i++) {
        if (strcmp(route->method, "POST") == 0 &&
            strcmp(route->path, shown_once[i].path) == 0)
            json_object_set_new(
                json_object_get(schema, "properties"), shown_once[i].name,
                json_pack("{s:s, s:s, s:b}", "type", "string", "description",
                          shown_once[i].help, "readOnly", 1));
    }
}

static json_t *
success_make(const struct api_route *route)
{
    json_t *answer = json_pack("{s:s}", "description", "Done.");
    if (!route->output)
        return answer;
    json_t *schema = field_schema(route->output(), false);
    shown_once_add(route, schema);
    if (route->flags & API_LIST)
        schema = list_schema(schema);
    json_object_set_new(answer, "content", content_make("application/json", schema));
    return answer;
}

/* The roles' words, for people; the check is role_check's. */
static json_t *
roles_make(unsigned roles)
{
    json_t *list = json_array();
    for (size_t i = 0; admin_role_words[i]; i++) {
        if (roles & (1u << i))
            json_array_append_new(list, json_string(admin_role_words[i]));
    }
    return list;
}

static json_t *
operation_make(const struct api_resource *resource, const struct api_route *route)
{
    char code[8];
    snprintf(code, sizeof code, "%d", route->success);
    json_t *operation = json_pack(
        "{s:s, s:[s], s:o, s:o, s:{s:o, s:{s:s}}}", "summary", route->summary, "tags",
        resource->name, "x-roles", roles_make(route->roles), "parameters",
        parameters_make(route), "responses", code, success_make(route), "default",
        "$ref", "#/components/responses/problem");
    if (operation && route->input)
        json_object_set_new(
            operation, "requestBody",
            json_pack(
                "{s:b, s:o}", "required", 1, "content",
                content_make("application/json", field_schema(route->input(), true))));
    return operation;
}

static json_t *
components_make(void)
{
    json_t *problem = json_pack(
        "{s:s, s:[s,s,s], s:{s:{s:s,s:s}, s:{s:s}, s:{s:s}, s:{s:s}, s:{s:s},"
        " s:{s:s, s:{s:s, s:{s:{s:s}, s:{s:s}}}}}}",
        "type", "object", "required", "type", "title", "status", "properties", "type",
        "type", "string", "format", "uri", "title", "type", "string", "status", "type",
        "integer", "detail", "type", "string", "instance", "type", "string", "errors",
        "type", "array", "items", "type", "object", "properties", "pointer", "type",
        "string", "detail", "type", "string");
    return json_pack(
        "{s:{s:o}, s:{s:{s:s, s:{s:{s:{s:s}}}}}, s:{s:{s:s, s:s}, s:{s:s}}}", "schemas",
        "problem", problem, "responses", "problem", "description",
        "A refusal or failure (RFC 9457).", "content", "application/problem+json",
        "schema", "$ref", "#/components/schemas/problem", "securitySchemes", "token",
        "type", "http", "scheme", "bearer", "certificate", "type", "mutualTLS");
}

json_t *
api_openapi(void)
{
    CA_AUTO(json_decref) json_t *paths = json_object();
    for (const struct api_resource *const *resource = api_resources; paths && *resource;
         resource++) {
        for (const struct api_route *route = (*resource)->routes; route->method;
             route++) {
            json_t *path = json_object_get(paths, route->path);
            if (!path) {
                path = json_object();
                json_object_set_new(paths, route->path, path);
            }
            char method[16];
            size_t i = 0;
            for (; route->method[i] && i < sizeof method - 1; i++)
                method[i] = (char)(route->method[i] | 0x20);
            method[i] = '\0';
            json_object_set_new(path, method, operation_make(*resource, route));
        }
    }
    return json_pack("{s:s, s:{s:s, s:s, s:{s:s, s:s}}, s:[{s:s}], s:[{s:[]}, {s:[]}],"
                     " s:O, s:o}",
                     "openapi", "3.1.0", "info", "title", "Sealwright admin API",
                     "version", SEALWRIGHT_VERSION, "license", "name", "Apache-2.0",
                     "identifier", "Apache-2.0", "servers", "url", API_ROOT, "security",
                     "token", "certificate", "paths", paths, "components",
                     components_make());
}

static enum ca_status
description_get(struct api_call *call)
{
    return api_answer_json(call, api_openapi());
}

static const struct api_route routes[] = {
    { "GET", "/openapi.json", API_ANY, 0, NULL, "This description, OpenAPI 3.1", NULL,
      NULL, NULL, .success = 200, .handle = description_get },
    { .method = NULL },
};
const struct api_resource api_description = { "description", routes, NULL };
