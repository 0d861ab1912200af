/* Every action of the online verbs is a call that the API takes, as the API takes it.
 */
#include "api.h"
#include "auto.h"
#include "cli.h"
#include "leak.h"
#include <criterion/criterion.h>
#include <string.h>

/* Does the action's "/users/{0}" stand for the route's "/users/{name}"? A placeholder
 * may stand for a literal segment of the route: "/profiles/{0}" for "/profiles/scep".
 */
static bool
path_matches(const char *path, const char *route)
{
    while (*path && *route) {
        if (*path == '{') {
            path += 3;
            route += strcspn(route, "/");
        } else if (*path++ != *route++) {
            return false;
        }
    }
    return *path == '\0' && *route == '\0';
}

/* The next route of the action behind `from`; NULL when there is no more. */
static const struct api_route *
route_next(const char *method, const char *path, const struct api_route *from)
{
    bool is_behind = !from;
    for (const struct api_resource *const *resource = api_resources; *resource;
         resource++) {
        for (const struct api_route *route = (*resource)->routes; route->method;
             route++) {
            if (is_behind && strcmp(route->method, method) == 0 &&
                path_matches(path, route->path))
                return route;
            is_behind = is_behind || route == from;
        }
    }
    return NULL;
}

static const struct field *
field_find(const struct field *fields, const char *name, size_t length)
{
    for (; fields && fields->name; fields++) {
        if (strlen(fields->name) == length && memcmp(fields->name, name, length) == 0)
            return fields;
    }
    return NULL;
}

static const struct field *
field_of(const struct field *fields, const char *member)
{
    size_t length = strcspn(member, ".");
    const struct field *field = field_find(fields, member, length);
    if (!field || member[length] == '\0')
        return field;
    return field_of(field->fields, member + length + 1);
}

static bool
query_knows(const struct api_query *query, const char *name)
{
    while (query && query->name && strcmp(query->name, name) != 0)
        query++;
    return query && query->name;
}

/* What the option makes is what the field takes. */
static bool
type_fits(const struct cli_option *option, const struct field *field)
{
    switch (option->type) {
    case CLI_TEXT:
        return field->type == FIELD_TEXT || field->type == FIELD_CHOICE ||
               field->type == FIELD_DURATION;
    case CLI_INTEGER: return field->type == FIELD_INTEGER;
    case CLI_TEXTS: return field->type == FIELD_TEXTS || field->type == FIELD_CHOICES;
    case CLI_PAIRS: return field->type == FIELD_JSON;
    case CLI_AHEAD:
    case CLI_AGO: return field->type == FIELD_TIME;
    case CLI_FLAG: return field->type == FIELD_BOOLEAN;
    case CLI_DELETE:
    case CLI_DER:
    case CLI_OUT:
    case CLI_COUNT: break;
    }
    return false;
}

static void
option_check(const struct api_route *route, const struct cli_option *option,
             const char *what)
{
    if (!option->member || option == &cli_dry_run)
        return;
    if (option->flags & CLI_QUERY) {
        cr_expect(query_knows(route->query, option->member), "%s --%s: %s", what,
                  option->name, option->member);
        return;
    }
    const struct field *fields = route->input ? route->input() : NULL;
    const struct field *field = field_of(fields, option->member);
    cr_expect(field && !(field->flags & FIELD_READ_ONLY) && type_fits(option, field),
              "%s --%s: %s", what, option->name, option->member);
    if (field && field->type == FIELD_CHOICE) {
        for (size_t i = 0; field->words[i]; i++)
            cr_expect_not_null(strstr(option->help, field->words[i]),
                               "%s --%s does not say '%s'", what, option->name,
                               field->words[i]);
    }
}

static void
fixed_check(const struct api_route *route, const struct cli_action *action,
            const char *what)
{
    CA_AUTO(json_decref)
    json_t *fixed = action->fixed ? json_loads(action->fixed, 0, NULL) : NULL;
    const struct field *fields = route->input ? route->input() : NULL;
    const char *name;
    json_t *value;
    json_object_foreach (fixed, name, value) {
        const struct field *field = field_of(fields, name);
        cr_assert(field && !(field->flags & FIELD_READ_ONLY), "%s: %s", what, name);
        if (field->type == FIELD_BOOLEAN) {
            cr_expect(json_is_boolean(value), "%s: %s", what, name);
            continue;
        }
        if (field->type == FIELD_TEXT) {
            cr_expect(json_is_string(value), "%s: %s", what, name);
            continue;
        }
        bool is_known = false;
        for (size_t i = 0; field->type == FIELD_CHOICE && field->words[i]; i++)
            is_known =
                is_known || strcmp(field->words[i], json_string_value(value)) == 0;
        cr_expect(is_known, "%s: %s", what, name);
    }
    if (action->member)
        cr_expect_not_null(field_of(fields, action->member), "%s: %s", what,
                           action->member);
}

/* Every filter of the list has its option, every column its member. */
static void
list_check(const struct api_route *route, const struct cli_action *action,
           const char *what)
{
    const struct cli_column *columns = action->rows ? NULL : action->columns;
    for (const struct cli_column *column = columns; column && column->member; column++)
        cr_expect_not_null(field_of(route->output(), column->member), "%s: column %s",
                           what, column->member);
    for (const struct api_query *query = route->query; query && query->name; query++) {
        bool is_there = false;
        const struct cli_option *option;
        for (size_t i = 0; (option = cli_option_at(action, i)); i++)
            is_there = is_there ||
                       (option->member && strcmp(option->member, query->name) == 0);
        cr_expect(is_there, "%s has no option for '%s'", what, query->name);
    }
}

static void
route_check(const struct api_route *route, const struct cli_action *action,
            const char *what)
{
    cr_expect_eq((route->flags & API_IF_MATCH) != 0,
                 (action->flags & CLI_IF_MATCH) != 0, "%s: If-Match", what);
    cr_expect_eq((route->flags & API_LIST) != 0, (action->flags & CLI_LIST) != 0,
                 "%s: list", what);
    cr_expect_eq((route->flags & API_CHANGE) != 0, strcmp(action->method, "GET") != 0,
                 "%s: change", what);
    cr_expect_eq(route->input != NULL, (action->flags & CLI_BODY) != 0, "%s: body",
                 what);
    /* Sending a POST again is safe because of this. An activation password sent for
     * again takes the place of the first one, and no answer that holds it may be kept.
     */
    bool is_kept = strcmp(route->path, "/activations") != 0;
    cr_expect(strcmp(action->method, "POST") != 0 || !is_kept ||
                  (route->flags & API_REPEAT),
              "%s: Idempotency-Key", what);
    const struct cli_option *option;
    for (size_t i = 0; (option = cli_option_at(action, i)); i++)
        option_check(route, option, what);
    fixed_check(route, action, what);
    list_check(route, action, what);
}

static size_t
action_check(const struct cli_verb *verb, const struct cli_action *action)
{
    char what[64];
    size_t found = 0;
    const struct api_route *route = NULL;
    snprintf(what, sizeof what, "%s %s", verb->name, action->name ? action->name : "");
    while ((route = route_next(action->method, action->path, route))) {
        route_check(route, action, what);
        found++;
    }
    for (size_t i = 0; action->options && action->options[i].name; i++) {
        /* The folder's option, which main takes before any verb sees its own. */
        cr_expect_str_neq(action->options[i].name, "data", "%s", what);
        if (action->options[i].type == CLI_DELETE)
            cr_expect_not_null(route_next("DELETE", action->path, NULL), "%s --%s",
                               what, action->options[i].name);
    }
    return found;
}

Test(cli_routes, every_action_is_a_call_of_the_api)
{
    for (size_t v = 0; cli_verbs[v]; v++) {
        for (const struct cli_action *action = cli_verbs[v]->actions; action->path;
             action++) {
            bool is_outside = action->flags & CLI_OUTSIDE;
            size_t found = is_outside ? 1 : action_check(cli_verbs[v], action);
            cr_expect(found > 0, "%s %s: no route %s %s", cli_verbs[v]->name,
                      action->name ? action->name : "", action->method, action->path);
        }
    }
    LEAK_CHECK();
}

/* A new resource asks for its verb: only these calls have none. PUT of a record is what
 * `set` does by PATCH; `sealwright token` is a verb of this machine. */
Test(cli_routes, every_call_of_the_api_has_an_action)
{
    static const char *const without[] = { "GET /openapi.json",
                                           "PUT /users/{name}",
                                           "PUT /groups/{name}",
                                           "PUT /admins/{name}",
                                           "GET /instance/tokens",
                                           "GET /instance/tokens/{name}",
                                           "POST /instance/tokens/{name}/unlock" };
    for (const struct api_resource *const *resource = api_resources; *resource;
         resource++) {
        for (const struct api_route *route = (*resource)->routes; route->method;
             route++) {
            char call[128];
            bool is_there = false;
            snprintf(call, sizeof call, "%s %s", route->method, route->path);
            for (size_t i = 0; i < sizeof without / sizeof *without; i++)
                is_there = is_there || strcmp(call, without[i]) == 0;
            for (size_t v = 0; cli_verbs[v] && !is_there; v++) {
                for (const struct cli_action *action = cli_verbs[v]->actions;
                     action->path; action++)
                    is_there =
                        is_there ||
                        (path_matches(action->path, route->path) &&
                         (strcmp(action->method, route->method) == 0 ||
                          (strcmp(route->method, "DELETE") == 0 && action->options &&
                           action->options->type == CLI_DELETE)));
            }
            cr_expect(is_there, "no action for %s", call);
        }
    }
}

/* Two routes that one request could take: the second would never be called. */
/* A step or a handler, and of a list the member of its items that is the cursor. */
Test(cli_routes, every_call_of_the_api_can_be_run)
{
    for (const struct api_resource *const *resource = api_resources; *resource;
         resource++) {
        for (const struct api_route *route = (*resource)->routes; route->method;
             route++) {
            bool is_list = route->flags & API_LIST;
            cr_expect((route->step != NULL) != (route->handle != NULL), "%s %s",
                      route->method, route->path);
            cr_expect_eq(route->cursor != NULL, is_list, "%s", route->path);
            cr_expect(route->success >= 200 && route->success < 300, "%s", route->path);
            if (is_list)
                cr_expect(
                    field_find(route->output(), route->cursor, strlen(route->cursor)),
                    "%s: %s", route->path, route->cursor);
        }
    }
}

Test(cli_routes, no_route_hides_another)
{
    for (const struct api_resource *const *a = api_resources; *a; a++) {
        for (const struct api_route *one = (*a)->routes; one->method; one++) {
            int same = 0;
            for (const struct api_resource *const *b = api_resources; *b; b++) {
                for (const struct api_route *other = (*b)->routes; other->method;
                     other++)
                    same += strcmp(one->method, other->method) == 0 &&
                            strcmp(one->path, other->path) == 0;
            }
            cr_expect_eq(same, 1, "%s %s stands %d times", one->method, one->path,
                         same);
        }
    }
}
