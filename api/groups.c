/* /groups: users by what they may use, and their members. */
#include "api.h"
#include "group.h"
#include "roster.h"
#include <string.h>

static enum ca_status
load(struct store_tx *tx, const char *name, void *ret_group)
{
    return group_load(tx, name, ret_group);
}

static enum ca_status
insert(struct store_tx *tx, void *group)
{
    return group_insert(tx, group);
}

static enum ca_status
update(struct store_tx *tx, void *group)
{
    return group_update(tx, group);
}

static enum ca_status
list_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)call;
    struct api_list *list = arg;
    return group_list(tx, &list->page, api_list_visit, list);
}

/* ---- Members ---- */

struct member {
    char *name;
};
static const struct field member_fields[] = {
    { FIELD(member, name), .type = FIELD_TEXT, .flags = FIELD_NAME | FIELD_REQUIRED,
      .help = "The user's name." },
    FIELD_END,
};

static enum ca_status
member_visit(const void *name, void *arg)
{
    CA_AUTO(free) char *copy = strdup(name);
    const struct member member = { .name = copy };
    return copy ? api_list_visit(&member, arg)
                : ca_fail(CA_INTERNAL, "no memory for a member");
}

static enum ca_status
members_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    struct api_list *list = arg;
    return group_members(tx, call->parameters[0], &list->page, member_visit, list);
}

/* Who of the directory's users is in a group of its own is said there. */
static enum ca_status
directory_check_member(struct store_tx *tx, struct api_call *call)
{
    bool is_its = false;
    struct roster_entry entry = { 0 };
    if (call->exchange->service->config.directory.groups.source == GROUPS_NONE)
        return CA_OK;
    enum ca_status status = roster_has_group(tx, call->parameters[0], &is_its);
    if (status != CA_OK || !is_its)
        return status;
    status = roster_of_user(tx, call->parameters[1], &entry);
    roster_entry_clear(&entry);
    if (status == CA_NOT_FOUND)
        return CA_OK;
    return status == CA_OK
               ? ca_fail(CA_FORBIDDEN, "the directory says who is in group '%s'",
                         call->parameters[0])
               : status;
}

static enum ca_status
add_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    const char *group = call->parameters[0], *user = call->parameters[1];
    enum ca_status status = directory_check_member(tx, call);
    if (status == CA_OK)
        status = group_add_member(tx, group, user);
    if (status != CA_OK)
        return status;
    return api_audit(tx, call, "group.add_member", json_pack("{s:s}", "user", user),
                     "group:%s", group);
}

static enum ca_status
remove_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    const char *group = call->parameters[0], *user = call->parameters[1];
    enum ca_status status = directory_check_member(tx, call);
    if (status == CA_OK)
        status = group_remove_member(tx, group, user);
    if (status != CA_OK)
        return status;
    return api_audit(tx, call, "group.remove_member", json_pack("{s:s}", "user", user),
                     "group:%s", group);
}

static const struct field *
fields(void)
{
    return group_fields;
}

static const struct field *
member_table(void)
{
    return member_fields;
}

#define WRITERS (API_ADMINISTRATOR | API_OPERATOR)

static const struct api_kind kind = {
    .noun = "group",
    .path = "/groups",
    .fields = fields,
    .size = sizeof(struct group),
    .key_offset = offsetof(struct group, name),
    .stamp_offset = offsetof(struct group, stamp),
    .load = load,
    .insert = insert,
    .update = update,
    .remove = group_delete,
};

static const struct api_route routes[] = {
    { "GET", "/groups", API_ANY, API_LIST, list_step, "List groups", NULL, fields, NULL,
      .success = 200, .cursor = "name" },
    { "POST", "/groups", WRITERS, API_CHANGE | API_REPEAT, api_kind_create,
      "Create a group", fields, fields, NULL, .success = 201 },
    { "GET", "/groups/{name}", API_ANY, 0, api_kind_get, "Read a group", NULL, fields,
      NULL, .success = 200 },
    { "PUT", "/groups/{name}", WRITERS, API_CHANGE | API_IF_MATCH, api_kind_put,
      "Replace a group", fields, fields, NULL, .success = 200 },
    { "PATCH", "/groups/{name}", WRITERS, API_CHANGE | API_IF_MATCH, api_kind_patch,
      "Change members of a group's record", fields, fields, NULL, .success = 200 },
    { "DELETE", "/groups/{name}", WRITERS, API_CHANGE | API_IF_MATCH, api_kind_delete,
      "Delete a group with its memberships and assignments", NULL, NULL, NULL,
      .success = 204 },
    { "GET", "/groups/{name}/members", API_ANY, API_LIST, members_step,
      "List a group's members", NULL, member_table, NULL, .success = 200,
      .cursor = "name" },
    { "PUT", "/groups/{name}/members/{user}", WRITERS, API_CHANGE, add_step,
      "Make a user a member", NULL, NULL, NULL, .success = 204 },
    { "DELETE", "/groups/{name}/members/{user}", WRITERS, API_CHANGE, remove_step,
      "End a membership", NULL, NULL, NULL, .success = 204 },
    { .method = NULL },
};
const struct api_resource api_groups = { "groups", routes, &kind };
