/* Activation by password (ECSPEKE-ACT-1, docs/protocols/activation.md): routes,
 * settings, discovery. */
#include "activation.h"
#include "auto.h"
#include <string.h>

static enum activation_error
place_find(struct ca_request *req, const char *user,
           struct ca_activation_place *ret_place)
{
    enum ca_status status = ca_activation_lookup(req, user, strlen(user), ret_place);
    return status == CA_NOT_FOUND ? ACTIVATION_NOT_REGISTERED
                                  : activation_error_of(status);
}

/* M0. */
enum ca_status
activation_lookup(void *state, struct ca_request *req)
{
    CA_AUTO(json_decref) json_t *message = NULL;
    struct ca_activation_place place = { .url = NULL };
    const char *user = NULL;
    (void)state;
    enum activation_error error = activation_read(req, &message);
    if (error == ACTIVATION_OK)
        error = activation_user(message, &user);
    if (error == ACTIVATION_OK)
        error = place_find(req, user, &place);
    if (error != ACTIVATION_OK)
        return activation_refuse(req, error, place.retry_after);
    CA_AUTO(json_decref)
    json_t *body =
        json_pack("{s:i, s:s, s:s}", "v", 1, "server", place.server, "url", place.url);
    return activation_send(req, 200, body);
}

/* ---- Settings ---- */

static bool
suite_add(struct activation *activation, const char *name)
{
    const struct speke_suite *suite = name ? speke_suite_find(name) : NULL;
    for (size_t i = 0; i < activation->suite_count; i++) {
        if (activation->suites[i] == suite)
            return false;
    }
    if (suite)
        activation->suites[activation->suite_count++] = suite;
    return suite;
}

static enum ca_status
member_read(struct activation *activation, const char *member, const json_t *value)
{
    if (strcmp(member, "suites") != 0)
        return ca_fail(CA_MALFORMED, "settings/%s: unknown member", member);
    size_t count = json_array_size(value);
    bool is_good = count > 0;
    for (size_t i = 0; is_good && i < count; i++)
        is_good = suite_add(activation, json_string_value(json_array_get(value, i)));
    return is_good ? CA_OK
                   : ca_fail(CA_MALFORMED, "settings/suites: a list of ecspeke-p521, "
                                           "ecspeke-p256, each once");
}

static void
fini(void *state)
{
    free(state);
}

static enum ca_status
init(const json_t *settings, void **ret_state)
{
    const char *member;
    json_t *value;
    enum ca_status status = CA_OK;
    CA_AUTO(free) struct activation *activation = calloc(1, sizeof *activation);
    if (!activation)
        return ca_fail(CA_INTERNAL, "no memory");
    json_object_foreach ((json_t *)(uintptr_t)settings, member, value) {
        if (status == CA_OK)
            status = member_read(activation, member, value);
    }
    if (status == CA_OK && activation->suite_count == 0)
        suite_add(activation, speke_p521.name);
    if (status == CA_OK)
        *ret_state = CA_STEAL(activation);
    return status;
}

#define MESSAGE CA_ROUTE_TLS_ONLY | CA_ROUTE_OVERSIZE

static const struct ca_route routes[] = {
    { "POST", "/discovery/v1/lookup", ACTIVATION_BODY_MAX, MESSAGE, activation_lookup },
    { "POST", "/activation/v1/hello", ACTIVATION_BODY_MAX, MESSAGE, activation_hello },
    { "POST", "/activation/v1/enroll", ACTIVATION_BODY_MAX, MESSAGE,
      activation_enroll },
    { "PUT", "/activation/v1/device", ACTIVATION_BODY_MAX, MESSAGE, activation_device },
    { "GET", "/activation/v1/policy", 0, CA_ROUTE_TLS_ONLY, activation_policy },
    { "POST", "/activation/v1/renew", ACTIVATION_BODY_MAX, MESSAGE, activation_renew },
    { "GET", "/activation/v1/scep-profile", 0, CA_ROUTE_TLS_ONLY,
      activation_scep_profile },
    { "POST", "/activation/v1/scep/", ACTIVATION_BODY_MAX, MESSAGE | CA_ROUTE_PREFIX,
      activation_scep },
    { NULL, NULL, 0, 0, NULL },
};

extern const struct ca_plugin ca_plugin;
CA_EXPORT const struct ca_plugin ca_plugin = {
    .abi = CA_PLUGIN_ABI,
    .name = "activation",
    .routes = routes,
    .init = init,
    .fini = fini,
};
