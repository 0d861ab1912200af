/* /users: who owns devices. */
#include "api.h"
#include "auto.h"
#include "directory_sync.h"
#include "jobs.h"
#include "lifecycle.h"
#include "roster.h"
#include "user.h"
#include <string.h>

static enum ca_status
load(struct store_tx *tx, const char *name, void *ret_user)
{
    return user_load(tx, name, ret_user);
}

static enum ca_status
insert(struct store_tx *tx, void *user)
{
    return user_insert(tx, user);
}

static enum ca_status
update(struct store_tx *tx, void *user)
{
    return user_update(tx, user);
}

/* What the directory says of its users is changed there. */
static enum ca_status
directory_holds(struct store_tx *tx, struct api_call *call, const struct user *old,
                const struct user *new)
{
    const struct config_directory *config = &call->exchange->service->config.directory;
    CA_AUTO(json_decref) json_t *before = field_encode(user_fields, old);
    CA_AUTO(json_decref) json_t *after = field_encode(user_fields, new);
    static const char *const members[] = { "email", "display_name", "work_space" };
    const char *name = NULL, *held = NULL;
    json_t *value;
    if (!before || !after)
        return ca_fail(CA_INTERNAL, "no memory for a user");
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        if (directory_governs(config, members[i]) &&
            !json_equal(json_object_get(before, members[i]),
                        json_object_get(after, members[i])))
            held = members[i];
    const json_t *attributes = json_object_get(after, "attributes");
    CA_AUTO(json_decref) json_t *all = json_copy(json_object_get(before, "attributes"));
    json_object_update(all, (json_t *)(uintptr_t)attributes);
    json_object_foreach (all, name, value) {
        char member[96];
        snprintf(member, sizeof member, "attributes.%s", name);
        if (directory_governs(config, member) &&
            !json_equal(json_object_get(json_object_get(before, "attributes"), name),
                        json_object_get(attributes, name)))
            held = "attributes";
    }
    if (held) {
        field_error_add(&call->errors, *held == 'a' ? "/attributes" : "",
                        "%s of a user of the directory is changed there", held);
        return ca_fail(CA_FORBIDDEN, "%s of a user of the directory is changed there",
                       held);
    }
    if (old->state == new->state || new->state != USER_ACTIVE)
        return CA_OK;
    struct roster_entry entry = { 0 };
    enum ca_status status = roster_of_user(tx, new->name, &entry);
    bool is_disabled = status == CA_OK && entry.disabled;
    roster_entry_clear(&entry);
    if (status == CA_OK && is_disabled)
        return ca_fail(CA_FORBIDDEN, "the directory disabled the user");
    return status == CA_NOT_FOUND ? CA_OK : status;
}

/* SECURITY A5: who is disabled loses certificates and challenges in the same step. */
static enum ca_status
changed(struct store_tx *tx, struct api_call *call, const void *before,
        const void *after)
{
    const struct user *old = before, *new = after;
    if (old && old->source == USER_LDAP) {
        enum ca_status status = directory_holds(tx, call, old, new);
        if (status != CA_OK)
            return status;
    }
    if (!old || old->state == new->state || new->state != USER_DISABLED)
        return CA_OK;
    return lifecycle_disable_user(tx, new->name,
                                  &(struct lifecycle_cause){
                                      .actor = exchange_actor(call->exchange),
                                      .protocol = "api",
                                      .request = call->exchange->request.id,
                                  });
}

/* A disabled user's certificates are in the next CRL, which is due now. */
static enum ca_status
wake(struct api_call *call, enum ca_status status)
{
    if (status == CA_OK && !call->dry_run)
        jobs_wake(call->exchange->service);
    return status;
}

static enum ca_status
put(struct api_call *call)
{
    return wake(call, api_write(call, api_kind_put, NULL));
}

static enum ca_status
patch(struct api_call *call)
{
    return wake(call, api_write(call, api_kind_patch, NULL));
}

static enum ca_status
list_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    struct api_list *list = arg;
    struct user_filter filter = {
        .group = api_query_text(call, "group"),
        .email = api_query_text(call, "email"),
        .state = api_query_text(call, "state"),
        .q = api_query_text(call, "q"),
    };
    return user_list(tx, &filter, &list->page, api_list_visit, list);
}

static const struct field *
fields(void)
{
    return user_fields;
}

static const struct api_query filters[] = {
    { "group", "Members of this group." },
    { "email", "With exactly this address." },
    { "state", "active or disabled." },
    { "q", "Names that begin so." },
    { NULL, NULL },
};

#define WRITERS (API_ADMINISTRATOR | API_OPERATOR)

static const struct api_kind kind = {
    .noun = "user",
    .path = "/users",
    .fields = fields,
    .size = sizeof(struct user),
    .key_offset = offsetof(struct user, name),
    .stamp_offset = offsetof(struct user, stamp),
    .load = load,
    .insert = insert,
    .update = update,
    .remove = user_delete,
    .changed = changed,
};

static const struct api_route routes[] = {
    { "GET", "/users", API_ANY, API_LIST, list_step, "List users", NULL, fields,
      filters, .success = 200, .cursor = "name" },
    { "POST", "/users", WRITERS, API_CHANGE | API_REPEAT, api_kind_create,
      "Create a user", fields, fields, NULL, .success = 201 },
    { "GET", "/users/{name}", API_ANY, 0, api_kind_get, "Read a user", NULL, fields,
      NULL, .success = 200 },
    { "PUT", "/users/{name}", WRITERS, API_CHANGE | API_IF_MATCH, NULL,
      "Replace a user", fields, fields, NULL, .success = 200, .handle = put },
    { "PATCH", "/users/{name}", WRITERS, API_CHANGE | API_IF_MATCH, NULL,
      "Change members of a user", fields, fields, NULL, .success = 200,
      .handle = patch },
    { "DELETE", "/users/{name}", WRITERS, API_CHANGE | API_IF_MATCH, api_kind_delete,
      "Delete a user without active devices; those that have ended become nobody's",
      NULL, NULL, NULL, .success = 204 },
    { .method = NULL },
};
const struct api_resource api_users = { "users", routes, &kind };
