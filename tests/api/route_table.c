/* Prints who may call what, from the tables that route: the table of docs/api.md. */
#include "admin.h"
#include "api.h"
#include <stdio.h>

/* "list (group, state), If-Match": what the call may or must bring besides a body. */
static void
takes_print(const struct api_route *route)
{
    const char *gap = " ";
    if (route->flags & API_LIST) {
        printf(" list");
        for (const struct api_query *query = route->query; query && query->name;
             query++)
            printf("%s%s", query == route->query ? " by " : ", ", query->name);
        gap = ", ";
    }
    if (route->flags & API_IF_MATCH)
        printf("%sIf-Match", gap);
    if (route->flags & API_REPEAT)
        printf("%sIdempotency-Key", gap);
    printf(" |");
}

static void
route_print(const struct api_route *route)
{
    printf("| `%s %s` |", route->method, route->path);
    for (size_t role = 0; admin_role_words[role]; role++)
        printf("%s |", route->roles >> role & 1 ? " yes" : "");
    takes_print(route);
    printf(" %s |\n", route->summary);
}

int
main(void)
{
    printf("| call |");
    for (size_t role = 0; admin_role_words[role]; role++)
        printf(" %s |", admin_role_words[role]);
    printf(" takes | what |\n|---|");
    for (size_t role = 0; admin_role_words[role]; role++)
        printf("---|");
    printf("---|---|\n");
    for (const struct api_resource *const *resource = api_resources; *resource;
         resource++) {
        for (const struct api_route *route = (*resource)->routes; route->method;
             route++)
            route_print(route);
    }
    return 0;
}
