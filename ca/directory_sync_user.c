/* One user of a sync: what the directory says held against the store, and done. */
#include "audit.h"
#include "auto.h"
#include "directory_sync.h"
#include "group.h"
#include "lifecycle.h"
#include "password.h"
#include "roster.h"
#include "user.h"
#include <string.h>

static void
user_clear_auto(struct user *user)
{
    user_clear(user);
}

static void
roster_entry_clear_auto(struct roster_entry *entry)
{
    roster_entry_clear(entry);
}

bool
directory_governs(const struct config_directory *config, const char *member)
{
    const struct config_directory_attributes *from = &config->attributes;
    if (!config->server)
        return false;
    if (strcmp(member, "email") == 0)
        return *from->email != '\0';
    if (strcmp(member, "display_name") == 0)
        return *from->display_name != '\0';
    if (strcmp(member, "work_space") == 0)
        return *from->work_space != '\0';
    if (strcmp(member, "attributes.upn") == 0)
        return *from->upn != '\0';
    return strncmp(member, "attributes.", 11) == 0 &&
           json_object_get(from->more, member + 11) != NULL;
}

static enum ca_status __attribute__((format(printf, 2, 3)))
refuse(struct sync_item *item, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(item->reason, sizeof item->reason, format, args);
    va_end(args);
    item->result = SYNC_REFUSED;
    return CA_OK;
}

static enum ca_status
audit(struct store_tx *tx, const struct sync *sync, const char *action,
      const char *user, json_t *detail)
{
    CA_AUTO(free) char *object = NULL;
    CA_AUTO(json_decref) json_t *owned = detail;
    if (asprintf(&object, "user:%s", user) < 0) {
        object = NULL;
        return ca_fail(CA_INTERNAL, "no memory for an audit entry");
    }
    return audit_append(tx, &(struct audit_entry){
                                .action = action,
                                .actor = sync->request->actor,
                                .object = object,
                                .protocol = sync->request->protocol,
                                .request = sync->request->request,
                                .outcome = "ok",
                                .detail = owned,
                            });
}

/* ---- Groups ---- */

static bool
has_text(const json_t *list, const char *text)
{
    size_t i;
    const json_t *value;
    json_array_foreach (list, i, value)
        if (strcmp(json_string_value(value), text) == 0)
            return true;
    return false;
}

static bool
is_member(const struct user *user, const char *group)
{
    char *const *groups = user->groups.items;
    for (size_t i = 0; i < user->groups.count; i++)
        if (strcmp(groups[i], group) == 0)
            return true;
    return false;
}

static void
note_changed(struct sync_item *item, const char *member)
{
    if (!item->changed)
        item->changed = json_array();
    if (!has_text(item->changed, member))
        json_array_append_new(item->changed, json_string(member));
    if (item->result == SYNC_UNCHANGED)
        item->result = SYNC_CHANGED;
}

static enum ca_status
groups_leave(struct store_tx *tx, const struct user *user, struct sync_item *item,
             bool does)
{
    char *const *groups = user->groups.items;
    enum ca_status status = CA_OK;
    for (size_t i = 0; status == CA_OK && i < user->groups.count; i++) {
        bool is_ours = false;
        if (has_text(item->entry.groups, groups[i]))
            continue;
        status = roster_has_group(tx, groups[i], &is_ours);
        if (status != CA_OK || !is_ours)
            continue;
        note_changed(item, "groups");
        if (does)
            status = group_remove_member(tx, groups[i], user->name);
    }
    return status;
}

/* Memberships as the directory has them, in the groups that are its own. */
static enum ca_status
groups_follow(struct store_tx *tx, const struct sync *sync, const struct user *user,
              struct sync_item *item, bool does)
{
    size_t i;
    const json_t *value;
    if (sync->service->config.directory.groups.source == GROUPS_NONE)
        return CA_OK;
    json_array_foreach (item->entry.groups, i, value) {
        const char *group = json_string_value(value);
        if (!json_object_get(sync->groups, group) || is_member(user, group))
            continue;
        note_changed(item, "groups");
        enum ca_status status = does ? group_add_member(tx, group, user->name) : CA_OK;
        if (status != CA_OK)
            return status;
    }
    return groups_leave(tx, user, item, does);
}

/* ---- New users ---- */

static enum ca_status
create(struct store_tx *tx, const struct sync *sync, struct user *wanted,
       struct sync_item *item, bool does)
{
    if (item->entry.disabled) {
        snprintf(item->reason, sizeof item->reason, "disabled in the directory");
        return CA_OK;
    }
    item->result = SYNC_CREATED;
    item->is_written = true;
    wanted->source = USER_LDAP;
    enum ca_status status = CA_OK;
    if (does) {
        const struct roster_entry entry = { .id = item->entry.id,
                                            .user = wanted->name,
                                            .dn = item->entry.dn };
        status = user_insert(tx, wanted);
        if (status == CA_OK)
            status = roster_put(tx, &entry);
        if (status == CA_OK)
            status = password_save(tx, wanted->name, PASSWORD_OF_DIRECTORY);
        if (status == CA_OK)
            status = audit(tx, sync, "user.create", wanted->name, NULL);
    }
    if (status == CA_OK)
        status = groups_follow(tx, sync, wanted, item, does);
    json_decref(item->changed); /* all of it is new */
    item->changed = NULL;
    return status;
}

/* ---- Users that are here ---- */

static bool
text_differs(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") != 0 || !a != !b;
}

/* Takes what the directory governs from `wanted` into `user`. */
static bool
text_follow(const struct sync *sync, struct sync_item *item, const char *member,
            char **present, char *const *wanted)
{
    if (!directory_governs(&sync->service->config.directory, member) ||
        !text_differs(*present, *wanted))
        return true;
    char *copy = *wanted ? strdup(*wanted) : NULL;
    if (*wanted && !copy)
        return false;
    free(*present);
    *present = copy;
    note_changed(item, member);
    return true;
}

static bool
attributes_follow(const struct sync *sync, struct sync_item *item, struct user *user)
{
    const json_t *wanted = json_object_get(item->entry.members, "attributes");
    const char *name;
    json_t *value;
    (void)sync;
    if (!user->attributes)
        user->attributes = json_object();
    json_object_foreach ((json_t *)(uintptr_t)wanted, name, value) {
        const json_t *present = json_object_get(user->attributes, name);
        if (json_is_null(value) ? !present : json_equal(present, value))
            continue;
        note_changed(item, "attributes");
        if (json_is_null(value))
            json_object_del(user->attributes, name);
        else if (json_object_set(user->attributes, name, value) != 0)
            return false;
    }
    return user->attributes != NULL;
}

/* Active, disabled by the directory, or by people here, whom it does not overrule. */
static void
state_follow(struct sync_item *item, struct user *user, struct roster_entry *known)
{
    if (item->entry.disabled && user->state == USER_ACTIVE) {
        user->state = USER_DISABLED;
        known->disabled = true;
        note_changed(item, "state");
        item->result = SYNC_DISABLED;
        snprintf(item->reason, sizeof item->reason, "disabled in the directory");
    } else if (!item->entry.disabled && known->disabled) {
        known->disabled = false;
        if (user->state == USER_DISABLED) {
            user->state = USER_ACTIVE;
            note_changed(item, "state");
        }
    }
}

static enum ca_status
disable(struct store_tx *tx, const struct sync *sync, const char *user)
{
    return lifecycle_disable_user(tx, user,
                                  &(struct lifecycle_cause){
                                      .actor = sync->request->actor,
                                      .protocol = sync->request->protocol,
                                      .request = sync->request->request,
                                  });
}

static enum ca_status
save(struct store_tx *tx, const struct sync *sync, const struct sync_item *item,
     struct user *user, const struct roster_entry *known)
{
    enum ca_status status = user_update(tx, user);
    if (status == CA_OK)
        status = roster_put(tx, known);
    if (status == CA_OK && item->result == SYNC_DISABLED)
        status = disable(tx, sync, user->name);
    if (status == CA_OK)
        status = audit(tx, sync, "user.update", user->name,
                       json_pack("{s:O, s:s*}", "changed", item->changed, "reason",
                                 item->reason[0] ? item->reason : NULL));
    return status;
}

static enum ca_status
follow(struct store_tx *tx, const struct sync *sync, const struct user *wanted,
       struct sync_item *item, bool does)
{
    CA_AUTO(user_clear) struct user user = { 0 };
    CA_AUTO(roster_entry_clear) struct roster_entry known = { 0 };
    enum ca_status status = user_load(tx, wanted->name, &user);
    if (status == CA_OK && user.source != USER_LDAP)
        return refuse(item, "a local user has this name");
    if (status == CA_OK)
        status = roster_of_user(tx, user.name, &known);
    if (status == CA_NOT_FOUND)
        return refuse(item, "the user changed meanwhile");
    if (status != CA_OK)
        return status;
    if (strcmp(known.id, item->entry.id) != 0)
        return refuse(item, "another person of the directory had this name: delete "
                            "that user first");
    bool was_disabled = known.disabled,
         has_moved = text_differs(known.dn, item->entry.dn);
    free(known.dn);
    known.dn = strdup(item->entry.dn);
    if (!known.dn || !text_follow(sync, item, "email", &user.email, &wanted->email) ||
        !text_follow(sync, item, "display_name", &user.display_name,
                     &wanted->display_name) ||
        !text_follow(sync, item, "work_space", &user.work_space, &wanted->work_space) ||
        !attributes_follow(sync, item, &user))
        return ca_fail(CA_INTERNAL, "no memory for a user");
    state_follow(item, &user, &known);
    bool is_edited = item->changed != NULL;
    status = groups_follow(tx, sync, &user, item, does);
    item->is_written = item->changed || has_moved || was_disabled != known.disabled;
    if (status != CA_OK || !does)
        return status;
    if (is_edited)
        return save(tx, sync, item, &user, &known);
    if (item->changed)
        status = audit(tx, sync, "user.update", user.name,
                       json_pack("{s:O}", "changed", item->changed));
    if (status == CA_OK && (has_moved || was_disabled != known.disabled))
        status = roster_put(tx, &known);
    return status;
}

/* ---- Users that the directory has no longer ---- */

static enum ca_status
leave(struct store_tx *tx, const struct sync *sync, struct sync_item *item, bool does)
{
    CA_AUTO(user_clear) struct user user = { 0 };
    CA_AUTO(roster_entry_clear) struct roster_entry known = { 0 };
    enum ca_status status = roster_find(tx, item->id, &known);
    if (status == CA_OK)
        status = user_load(tx, known.user, &user);
    if (status == CA_NOT_FOUND)
        return CA_OK; /* deleted meanwhile */
    if (status != CA_OK || user.state == USER_DISABLED)
        return status;
    item->result = SYNC_DISABLED;
    item->is_written = true;
    snprintf(item->reason, sizeof item->reason, "is no longer in the directory");
    user.state = USER_DISABLED;
    known.disabled = true;
    note_changed(item, "state");
    return does ? save(tx, sync, item, &user, &known) : CA_OK;
}

/* ---- All of it ---- */

/* The entry as a user, judged by the table of users as a body of the API is. */
static enum ca_status
decode(const struct sync *sync, struct sync_item *item, struct user *ret_user)
{
    struct field_errors errors = { 0 };
    CA_AUTO(json_decref) json_t *body = json_deep_copy(item->entry.members);
    json_t *attributes = json_object_get(body, "attributes"), *value;
    const char *name;
    void *next;
    (void)sync;
    if (!body)
        return ca_fail(CA_INTERNAL, "no memory for a user");
    json_object_foreach_safe(attributes, next, name, value)
    {
        if (json_is_null(value))
            json_object_del(attributes, name);
    }
    enum ca_status status = field_decode(user_fields, body, ret_user, &errors);
    if (status == CA_MALFORMED && errors.count > 0) {
        const struct field_error *first = &errors.items[0];
        refuse(item, "%s: %s", *first->pointer ? first->pointer + 1 : "entry",
               first->reason);
    }
    return status;
}

static enum ca_status
entry_run(struct store_tx *tx, const struct sync *sync, struct sync_item *item,
          bool does)
{
    CA_AUTO(user_clear) struct user wanted = { 0 };
    CA_AUTO(roster_entry_clear) struct roster_entry known = { 0 };
    if (item->entry.problem[0])
        return refuse(item, "%s", item->entry.problem);
    enum ca_status status = decode(sync, item, &wanted);
    if (status != CA_OK)
        return status == CA_MALFORMED ? CA_OK : status;
    if (json_integer_value(json_object_get(sync->names, wanted.name)) > 1)
        return refuse(item, "several entries of the directory have this name");
    status = roster_find(tx, item->entry.id, &known);
    if (status != CA_OK && status != CA_NOT_FOUND)
        return status;
    if (status == CA_OK && strcmp(known.user, wanted.name) != 0)
        return refuse(item, "is user '%s' here: names do not change", known.user);
    struct user present = { 0 };
    enum ca_status found = user_load(tx, wanted.name, &present);
    user_clear(&present);
    if (found == CA_NOT_FOUND)
        return create(tx, sync, &wanted, item, does);
    return found == CA_OK ? follow(tx, sync, &wanted, item, does) : found;
}

enum ca_status
sync_item_run(struct store_tx *tx, const struct sync *sync, struct sync_item *item,
              bool does)
{
    item->result = SYNC_UNCHANGED;
    item->reason[0] = '\0';
    item->is_written = false;
    json_decref(item->changed);
    item->changed = NULL;
    return item->entry.dn ? entry_run(tx, sync, item, does)
                          : leave(tx, sync, item, does);
}
