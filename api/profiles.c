/* /profiles/{kind}: named settings, versioned. */
#include "api.h"
#include "authority.h"
#include "profile.h"
#include <string.h>

static enum ca_status
load_certificate(struct store_tx *tx, const char *name, void *ret_profile)
{
    return profile_load(tx, PROFILE_CERTIFICATE, name, ret_profile);
}

static enum ca_status
load_scep(struct store_tx *tx, const char *name, void *ret_profile)
{
    return profile_load(tx, PROFILE_SCEP, name, ret_profile);
}

static enum ca_status
load_policy(struct store_tx *tx, const char *name, void *ret_profile)
{
    return profile_load(tx, PROFILE_POLICY, name, ret_profile);
}

static enum ca_status
load_activation(struct store_tx *tx, const char *name, void *ret_profile)
{
    return profile_load(tx, PROFILE_ACTIVATION, name, ret_profile);
}

static enum ca_status
insert(struct store_tx *tx, void *profile)
{
    return profile_insert(tx, profile);
}

static enum ca_status
update(struct store_tx *tx, void *profile)
{
    return profile_update(tx, profile);
}

static enum ca_status
remove_certificate(struct store_tx *tx, const char *name, int64_t version)
{
    return profile_delete(tx, PROFILE_CERTIFICATE, name, version);
}

static enum ca_status
remove_scep(struct store_tx *tx, const char *name, int64_t version)
{
    return profile_delete(tx, PROFILE_SCEP, name, version);
}

static enum ca_status
remove_policy(struct store_tx *tx, const char *name, int64_t version)
{
    return profile_delete(tx, PROFILE_POLICY, name, version);
}

static enum ca_status
remove_activation(struct store_tx *tx, const char *name, int64_t version)
{
    return profile_delete(tx, PROFILE_ACTIVATION, name, version);
}

/* The kind is the path's; the record's own member is filled before the check. */
static enum ca_status
check(struct api_call *call, const void *profile)
{
    return profile_check(profile, &call->errors);
}

/* A profile that names no issuer of this service could issue nothing, and readiness
 * would turn red at it. */
static enum ca_status
changed(struct store_tx *tx, struct api_call *call, const void *before,
        const void *after)
{
    (void)call, (void)before;
    const struct profile *profile = after;
    const char *name = profile->settings.certificate.issuer;
    if (profile->kind != PROFILE_CERTIFICATE || !name)
        return CA_OK;
    struct authority issuer = { 0 };
    enum ca_status status = authority_load(tx, name, &issuer);
    authority_clear(&issuer);
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_MALFORMED, "settings/issuer: there is no issuer '%s'", name);
    return status;
}

static enum ca_status
list_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    struct api_list *list = arg;
    return profile_list(tx, (enum profile_kind)call->route->tag, &list->page,
                        api_list_visit, list);
}

static enum ca_status
versions_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    struct api_list *list = arg;
    return profile_versions(tx, (enum profile_kind)call->route->tag,
                            call->parameters[0], &list->page, api_list_visit, list);
}

static const struct field *
fields_certificate(void)
{
    return profile_fields(PROFILE_CERTIFICATE);
}

static const struct field *
fields_scep(void)
{
    return profile_fields(PROFILE_SCEP);
}

static const struct field *
fields_policy(void)
{
    return profile_fields(PROFILE_POLICY);
}

static const struct field *
fields_activation(void)
{
    return profile_fields(PROFILE_ACTIVATION);
}

/* One row a kind; the route's tag chooses. */
#define PROFILE_KIND(word)                                                             \
    {                                                                                  \
        .noun = "profile", .of = #word "/", .path = "/profiles/" #word,                \
        .fields = fields_##word, .size = sizeof(struct profile),                       \
        .key_offset = offsetof(struct profile, name),                                  \
        .stamp_offset = offsetof(struct profile, stamp), .load = load_##word,          \
        .insert = insert, .update = update, .remove = remove_##word, .check = check,   \
        .changed = changed,                                                            \
    }

static const struct api_kind kinds[PROFILE_KIND_COUNT] = {
    [PROFILE_CERTIFICATE] = PROFILE_KIND(certificate),
    [PROFILE_SCEP] = PROFILE_KIND(scep),
    [PROFILE_POLICY] = PROFILE_KIND(policy),
    [PROFILE_ACTIVATION] = PROFILE_KIND(activation),
};

/* SECURITY A8: profiles are the administrator's. */
/* clang-format off */
#define PROFILE_ROUTES(word, fields, kind)                                             \
    { "GET", "/profiles/" word, API_ANY, API_LIST, list_step,                          \
      "List " word " profiles", NULL, fields, NULL,                                    \
      .success = 200, .tag = kind, .cursor = "name" },                                 \
    { "POST", "/profiles/" word, API_ADMINISTRATOR, API_CHANGE | API_REPEAT,           \
      api_kind_create, "Create a " word " profile", fields, fields, NULL,              \
      .success = 201, .tag = kind },                                                   \
    { "GET", "/profiles/" word "/{name}", API_ANY, 0, api_kind_get,                    \
      "Read a " word " profile", NULL, fields, NULL, .success = 200, .tag = kind },    \
    { "PUT", "/profiles/" word "/{name}", API_ADMINISTRATOR,                           \
      API_CHANGE | API_IF_MATCH, api_kind_put, "Replace a " word " profile",           \
      fields, fields, NULL, .success = 200, .tag = kind },                             \
    { "PATCH", "/profiles/" word "/{name}", API_ADMINISTRATOR,                         \
      API_CHANGE | API_IF_MATCH, api_kind_patch,                                       \
      "Change members of a " word " profile", fields, fields, NULL,                    \
      .success = 200, .tag = kind },                                                   \
    { "DELETE", "/profiles/" word "/{name}", API_ADMINISTRATOR,                        \
      API_CHANGE | API_IF_MATCH, api_kind_delete,                                      \
      "Delete a " word " profile that nothing uses", NULL, NULL, NULL,                 \
      .success = 204, .tag = kind },                                                   \
    { "GET", "/profiles/" word "/{name}/versions", API_ANY, API_LIST, versions_step,   \
      "List the versions of a " word " profile", NULL, fields, NULL,                   \
      .success = 200, .tag = kind, .cursor = "version" }
/* clang-format on */

static const struct api_route routes[] = {
    PROFILE_ROUTES("certificate", fields_certificate, PROFILE_CERTIFICATE),
    PROFILE_ROUTES("scep", fields_scep, PROFILE_SCEP),
    PROFILE_ROUTES("policy", fields_policy, PROFILE_POLICY),
    PROFILE_ROUTES("activation", fields_activation, PROFILE_ACTIVATION),
    { .method = NULL },
};
const struct api_resource api_profiles = { "profiles", routes, kinds };
