/* A plugin with its state before the double of the core. */
#pragma once

#include "fake_core.h"
#include "leak.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

extern const struct ca_plugin ca_plugin;
static struct fake_core core;
static void *state;

/* With other settings than it has now; NULL: without. */
static inline void
plugin_configure(const char *settings)
{
    json_t *json = settings ? json_loads(settings, 0, NULL) : NULL;
    if (state)
        ca_plugin.fini(state);
    state = NULL;
    cr_assert_eq(ca_plugin.init(json, &state), CA_OK, "%s",
                 settings ? settings : "no settings");
    json_decref(json);
}

/* The last of a test, when its own parts are gone. */
static inline void
plugin_end(void)
{
    ca_plugin.fini(state);
    state = NULL;
    fake_core_close(&core);
    LEAK_CHECK();
}

static inline const struct ca_route *
route(const char *method, const char *path)
{
    for (const struct ca_route *row = ca_plugin.routes; row->method; row++) {
        if (strcmp(row->method, method) == 0 && strcmp(row->path, path) == 0)
            return row;
    }
    cr_assert_fail("no route %s %s", method, path);
    abort();
}
