/* Plugins with one thing wrong each, chosen at compile time, for the loader's test. */
#include "plugin.h"

#ifndef FIXTURE_ABI
#define FIXTURE_ABI CA_PLUGIN_ABI
#endif
#ifndef FIXTURE_NAME
#define FIXTURE_NAME "fixture"
#endif
#ifndef FIXTURE_SYMBOL
#define FIXTURE_SYMBOL ca_plugin
#endif
#ifndef FIXTURE_METHOD
#define FIXTURE_METHOD "GET"
#endif

#ifdef FIXTURE_UNDEFINED
void symbol_that_nobody_has(void);
#endif

static enum ca_status
fixture_get(void *state, struct ca_request *req)
{
    (void)state, (void)req;
#ifdef FIXTURE_UNDEFINED
    symbol_that_nobody_has();
#endif
    return ca_fail(CA_NOT_FOUND, "nothing here");
}

/* Refuses when its settings say so, counts its life in them otherwise. */
static enum ca_status
fixture_init(const json_t *settings, void **ret_state)
{
    json_t *life = json_object_get(settings, "life");
    if (json_object_get(settings, "refuse"))
        return ca_fail(CA_MALFORMED, "settings/refuse: it is so");
    if (life)
        json_object_set_new(life, "opened", json_true());
    *ret_state = life;
    return CA_OK;
}

static void
fixture_fini(void *state)
{
    if (state)
        json_object_set_new(state, "closed", json_true());
}

static const struct ca_route fixture_routes[] = {
    { FIXTURE_METHOD, "/fixture", 0, 0, fixture_get },
    { NULL, NULL, 0, 0, NULL },
};

extern const struct ca_plugin FIXTURE_SYMBOL;
CA_EXPORT const struct ca_plugin FIXTURE_SYMBOL = {
    .abi = FIXTURE_ABI,
    .name = FIXTURE_NAME,
    .routes = fixture_routes,
    .init = fixture_init,
    .fini = fixture_fini,
};
