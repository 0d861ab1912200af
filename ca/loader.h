/* Plugins: found, checked, opened, initialised; built-in ones beside them. */
#pragma once

#include "config.h"
#include "plugin.h"

struct loaded {
    const struct ca_plugin *plugin;
    void *state;
    void *handle; /* dlopen; NULL for a built-in one */
};

struct loader {
    struct loaded *items;
    size_t count;
};

/* Opens the configuration's plugins and the built-ins. Refuses (CA_FORBIDDEN) a file or
 * folder that group or others can write, (CA_UNSUPPORTED) another ABI number, both
 * named. */
enum ca_status loader_open(const struct config *config,
                           const struct ca_plugin *const *built_in,
                           size_t built_in_count, struct loader *ret_loader);
void loader_close(struct loader *loader);

/* Routes of two plugins that could answer the same request: CA_CONFLICT names them. */
enum ca_status loader_check_routes(const struct loader *loader);
/* The route for method and path, its plugin's state, and what follows a prefix.
 * CA_NOT_FOUND: no such path; CA_UNSUPPORTED: path known, method not (ret_allow
 * filled). */
enum ca_status loader_route(const struct loader *loader, const char *method,
                            const char *path, const struct loaded **ret_loaded,
                            const struct ca_route **ret_route, const char **ret_rest,
                            char *ret_allow, size_t allow_size);
