/* Opens plugins from files that only their owner can change, and finds the route that
 * answers a request. */
#include "loader.h"
#include "auto.h"
#include "owned.h"
#include "text.h"
#include <dlfcn.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROUTE_BODY_MAX                                                                 \
    ((size_t)64 << 20)      /* octets; what a route may ask for at most                \
                             */
#define ROUTE_COUNT_MAX 256 /* of one plugin */
#define PLUGIN_NAME_MAX 32

/* A FIFO would hold dlopen up for ever. */
static enum ca_status
check_is_file(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return ca_fail(CA_NOT_FOUND, "%s: %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return ca_fail(CA_MALFORMED, "%s is no regular file", path);
    return CA_OK;
}

/* Checks the file behind all links and its folder; `ret_path` is that file's own. */
static enum ca_status
check_file(const char *path, char **ret_path)
{
    CA_AUTO(free) char *real = realpath(path, NULL);
    if (!real)
        return ca_fail(CA_NOT_FOUND, "plugin %s: %s", path, strerror(errno));
    CA_AUTO(free) char *copy = strdup(real);
    if (!copy)
        return ca_fail(CA_INTERNAL, "no memory");
    enum ca_status status = check_is_file(real);
    if (status == CA_OK)
        status = owned_check_path(real);
    if (status == CA_OK)
        status = owned_check_path(dirname(copy));
    if (status != CA_OK)
        return status;
    *ret_path = CA_STEAL(real);
    return CA_OK;
}

static bool
is_plugin_name(const char *name)
{
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return length > 0 && length <= PLUGIN_NAME_MAX && name[length] == '\0';
}

static enum ca_status
check_routes(const struct ca_plugin *plugin)
{
    size_t count = 0;
    for (const struct ca_route *route = plugin->routes; route->method; route++) {
        if (++count > ROUTE_COUNT_MAX)
            return ca_fail(CA_LIMIT, "plugin '%s' has more than %d routes",
                           plugin->name, ROUTE_COUNT_MAX);
        if (!route->path || route->path[0] != '/' || !route->handle)
            return ca_fail(CA_MALFORMED, "route %zu of plugin '%s' has no %s", count,
                           plugin->name, route->handle ? "path" : "handler");
        if (strcmp(route->method, "HEAD") == 0)
            return ca_fail(CA_MALFORMED, "%s of plugin '%s': HEAD is answered by GET",
                           route->path, plugin->name);
        if (route->max_body > ROUTE_BODY_MAX)
            return ca_fail(CA_LIMIT, "%s of plugin '%s' wants bodies of %zu octets",
                           route->path, plugin->name, route->max_body);
    }
    return CA_OK;
}

/* What a plugin says of itself, the ABI first: nothing else of the struct may be read
 * before it is known to be the same. */
static enum ca_status
check_plugin(const struct ca_plugin *plugin, const char *name, const char *from)
{
    if (plugin->abi != CA_PLUGIN_ABI)
        return ca_fail(CA_UNSUPPORTED, "%s was built for ABI %d, this daemon has %d",
                       from, plugin->abi, CA_PLUGIN_ABI);
    if (!plugin->name || !is_plugin_name(plugin->name) || !plugin->routes)
        return ca_fail(CA_MALFORMED, "%s has no name or no routes", from);
    if (name && strcmp(plugin->name, name) != 0)
        return ca_fail(CA_MALFORMED, "%s calls itself '%s', not '%s'", from,
                       plugin->name, name);
    return check_routes(plugin);
}

static enum ca_status
plugin_init(struct loaded *loaded, const json_t *settings)
{
    if (!loaded->plugin->init)
        return CA_OK;
    CA_AUTO(json_decref) json_t *empty = json_object();
    if (!empty)
        return ca_fail(CA_INTERNAL, "no memory");
    status_forget();
    enum ca_status status =
        loaded->plugin->init(settings ? settings : empty, &loaded->state);
    if (status == CA_OK)
        return CA_OK;
    const char *message = status_message();
    return ca_fail(status, "plugin '%s': %s", loaded->plugin->name,
                   *message ? message : ca_status_name(status));
}

static enum ca_status
file_open(const char *directory, const char *name, struct loaded *ret_loaded)
{
    char path[PATH_MAX];
    if (!is_plugin_name(name))
        return ca_fail(CA_MALFORMED, "'%s' cannot be a plugin's name", name);
    int length = snprintf(path, sizeof path, "%s/sealwright_%s.so", directory, name);
    if (length < 0 || (size_t)length >= sizeof path)
        return ca_fail(CA_MALFORMED, "plugin_directory is too long");
    CA_AUTO(free) char *real = NULL;
    enum ca_status status = check_file(path, &real);
    if (status != CA_OK)
        return status;
    void *handle = dlopen(real, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return ca_fail(CA_UNSUPPORTED, "plugin '%s': %s", name, dlerror());
    const struct ca_plugin *plugin = dlsym(handle, "ca_plugin");
    if (plugin)
        status = check_plugin(plugin, name, real);
    else
        status = ca_fail(CA_UNSUPPORTED, "%s has no symbol ca_plugin", real);
    if (status != CA_OK) {
        dlclose(handle);
        return status;
    }
    *ret_loaded = (struct loaded){ plugin, NULL, handle };
    return CA_OK;
}

/* Takes `loaded` over: closed here when it cannot be added. */
static enum ca_status
loader_add(struct loader *loader, struct loaded loaded, const json_t *settings)
{
    enum ca_status status = CA_OK;
    for (size_t i = 0; i < loader->count && status == CA_OK; i++) {
        if (strcmp(loader->items[i].plugin->name, loaded.plugin->name) == 0)
            status = ca_fail(CA_CONFLICT, "two plugins are called '%s'",
                             loaded.plugin->name);
    }
    if (status == CA_OK)
        status = plugin_init(&loaded, settings);
    if (status == CA_OK) {
        loader->items[loader->count++] = loaded;
        return CA_OK;
    }
    if (loaded.handle)
        dlclose(loaded.handle);
    return status;
}

static enum ca_status
open_all(const struct config *config, const struct ca_plugin *const *built_in,
         size_t built_in_count, struct loader *loader)
{
    for (size_t i = 0; i < built_in_count; i++) {
        struct loaded loaded = { built_in[i], NULL, NULL };
        enum ca_status status = check_plugin(built_in[i], NULL, "a built-in plugin");
        if (status == CA_OK)
            status = loader_add(loader, loaded, NULL);
        if (status != CA_OK)
            return status;
    }
    const struct config_plugin *plugins = config->plugins.items;
    for (size_t i = 0; i < config->plugins.count; i++) {
        struct loaded loaded = { 0 };
        enum ca_status status =
            file_open(config->plugin_directory, plugins[i].name, &loaded);
        if (status == CA_OK)
            status = loader_add(loader, loaded, plugins[i].settings);
        if (status != CA_OK)
            return status;
    }
    return CA_OK;
}

enum ca_status
loader_open(const struct config *config, const struct ca_plugin *const *built_in,
            size_t built_in_count, struct loader *ret_loader)
{
    size_t room = built_in_count + config->plugins.count;
    struct loader loader = { calloc(room + 1, sizeof *loader.items), 0 };
    if (!loader.items)
        return ca_fail(CA_INTERNAL, "no memory");
    enum ca_status status = open_all(config, built_in, built_in_count, &loader);
    if (status != CA_OK) {
        loader_close(&loader);
        return status;
    }
    *ret_loader = loader;
    return CA_OK;
}

void
loader_close(struct loader *loader)
{
    while (loader->count > 0) {
        struct loaded *loaded = &loader->items[--loader->count];
        if (loaded->plugin->fini)
            loaded->plugin->fini(loaded->state);
        if (loaded->handle)
            dlclose(loaded->handle);
    }
    free(loader->items);
    loader->items = NULL;
}

/* ---- Routes ---- */

static bool
equal(const char *a, const char *b, size_t size, bool any_case)
{
    return any_case ? strncasecmp(a, b, size) == 0 : strncmp(a, b, size) == 0;
}

/* Length of a prefix without the slash that it may end in. */
static size_t
prefix_length(const char *path)
{
    size_t length = strlen(path);
    return path[length - 1] == '/' ? length - 1 : length;
}

/* Where `path` goes on behind the route; NULL: the route does not match. */
static const char *
route_match(const struct ca_route *route, const char *path, bool any_case)
{
    if (!(route->flags & CA_ROUTE_PREFIX)) {
        size_t length = strlen(route->path);
        bool is_it = equal(route->path, path, length + 1, any_case);
        return is_it ? path + length : NULL;
    }
    size_t length = prefix_length(route->path);
    bool is_below = equal(route->path, path, length, any_case) &&
                    (path[length] == '\0' || path[length] == '/');
    return is_below ? path + length : NULL;
}

static bool
routes_clash(const struct ca_route *a, const struct ca_route *b)
{
    bool any_case = (a->flags | b->flags) & CA_ROUTE_ANY_CASE;
    return strcmp(a->method, b->method) == 0 &&
           (route_match(a, b->path, any_case) || route_match(b, a->path, any_case));
}

/* Within one plugin the longer route wins; only the same one twice is a mistake. */
static bool
routes_repeat(const struct ca_route *a, const struct ca_route *b)
{
    return ((a->flags ^ b->flags) & CA_ROUTE_PREFIX) == 0 &&
           strlen(a->path) == strlen(b->path) && routes_clash(a, b);
}

static enum ca_status
check_pair(const struct ca_plugin *a, const struct ca_plugin *b, bool is_one)
{
    for (const struct ca_route *first = a->routes; first->method; first++) {
        const struct ca_route *second = is_one ? first + 1 : b->routes;
        for (; second->method; second++) {
            if (is_one ? routes_repeat(first, second) : routes_clash(first, second))
                return ca_fail(
                    CA_CONFLICT, "%s %s of plugin '%s' clashes with %s of plugin '%s'",
                    first->method, first->path, a->name, second->path, b->name);
        }
    }
    return CA_OK;
}

enum ca_status
loader_check_routes(const struct loader *loader)
{
    for (size_t i = 0; i < loader->count; i++) {
        for (size_t j = i; j < loader->count; j++) {
            enum ca_status status =
                check_pair(loader->items[i].plugin, loader->items[j].plugin, i == j);
            if (status != CA_OK)
                return status;
        }
    }
    return CA_OK;
}

struct match {
    const struct loaded *loaded;
    const struct ca_route *route;
    const char *rest;
    bool is_exact;
};

/* An exact route before a prefix, a longer prefix before a shorter one. */
static bool
match_is_better(const struct match *candidate, const struct match *best)
{
    if (!best->route || candidate->is_exact != best->is_exact)
        return !best->route || candidate->is_exact;
    return candidate->rest > best->rest;
}

/* Adds a method to an Allow list (RFC 9110 section 10.2.1) unless it is in it. */
static void
allow_add(char *allow, size_t size, const char *method)
{
    size_t length = strlen(method);
    for (const char *at = strstr(allow, method); at; at = strstr(at + 1, method)) {
        if ((at == allow || at[-1] == ' ') && (at[length] == ',' || at[length] == '\0'))
            return;
    }
    size_t used = strlen(allow);
    if (used + length + 3 <= size)
        snprintf(allow + used, size - used, "%s%s", used > 0 ? ", " : "", method);
    if (strcmp(method, "GET") == 0)
        allow_add(allow, size, "HEAD");
}

enum ca_status
loader_route(const struct loader *loader, const char *method, const char *path,
             const struct loaded **ret_loaded, const struct ca_route **ret_route,
             const char **ret_rest, char *ret_allow, size_t allow_size)
{
    struct match best = { 0 };
    ret_allow[0] = '\0';
    bool is_known = false;
    for (size_t i = 0; i < loader->count; i++) {
        const struct loaded *loaded = &loader->items[i];
        const struct ca_route *route = loaded->plugin->routes;
        for (; route->method; route++) {
            const char *rest =
                route_match(route, path, route->flags & CA_ROUTE_ANY_CASE);
            if (!rest)
                continue;
            struct match match = { loaded, route, rest,
                                   !(route->flags & CA_ROUTE_PREFIX) };
            is_known = true;
            if (strcmp(route->method, method) != 0)
                allow_add(ret_allow, allow_size, route->method);
            else if (match_is_better(&match, &best))
                best = match;
        }
    }
    if (!best.route)
        return is_known ? ca_fail(CA_UNSUPPORTED, "method is not one of the path's")
                        : ca_fail(CA_NOT_FOUND, "no such path");
    *ret_loaded = best.loaded;
    *ret_route = best.route;
    *ret_rest = best.rest;
    return CA_OK;
}
