/* Profiles assigned to users and groups, and the effective ones of a user. */
#include "api.h"
#include "assignment.h"
#include "profile.h"
#include "user.h"
#include <string.h>

enum target { TARGET_USER, TARGET_GROUP };

struct profiles_answer {
    json_t *assigned, *effective;
};
#define ASSIGNED_FIELD                                                                 \
    {                                                                                  \
        FIELD(profiles_answer, assigned),                                              \
            .type = FIELD_JSON,                                                        \
            .help = "List of {kind, profile, from}; from is user or group:NAME."       \
    }
static const struct field user_profiles_fields[] = {
    ASSIGNED_FIELD,
    { FIELD(profiles_answer, effective), .type = FIELD_JSON,
      .help = "For each kind {profile, from} or null; from is also default." },
    FIELD_END,
};
static const struct field group_profiles_fields[] = { ASSIGNED_FIELD, FIELD_END };

/* The path's words borrowed as an assignment. */
static struct assignment
assignment_of(const struct api_call *call)
{
    return (struct assignment){
        .to_group = call->route->tag == TARGET_GROUP,
        .target = (char *)(uintptr_t)call->parameters[0],
        .kind = (char *)(uintptr_t)call->parameters[1],
        .profile = (char *)(uintptr_t)call->parameters[2],
    };
}

static enum ca_status
audit(struct store_tx *tx, struct api_call *call, const char *action,
      const struct assignment *assignment)
{
    return api_audit(tx, call, action,
                     json_pack("{s:s, s:s}", "kind", assignment->kind, "profile",
                               assignment->profile),
                     "%s:%s", assignment->to_group ? "group" : "user",
                     assignment->target);
}

static enum ca_status
put_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    struct assignment assignment = assignment_of(call);
    enum ca_status status = assignment_put(tx, &assignment);
    return status == CA_OK ? audit(tx, call, "profile.assign", &assignment) : status;
}

static enum ca_status
delete_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    struct assignment assignment = assignment_of(call);
    enum ca_status status = assignment_remove(tx, &assignment);
    return status == CA_OK ? audit(tx, call, "profile.unassign", &assignment) : status;
}

static enum ca_status
assigned_visit(const void *record, void *arg)
{
    const struct assignment *assignment = record;
    char from[RECORD_NAME_MAX + 8];
    if (assignment->to_group)
        snprintf(from, sizeof from, "group:%s", assignment->target);
    else
        snprintf(from, sizeof from, "user");
    json_t *item = json_pack("{s:s, s:s, s:s}", "kind", assignment->kind, "profile",
                             assignment->profile, "from", from);
    return json_array_append_new(arg, item) == 0
               ? CA_OK
               : ca_fail(CA_INTERNAL, "no memory for assignments");
}

/* {"certificate": {"profile": "default", "from": "default"}, ...}; null: none. */
static enum ca_status
effective_add(struct store_tx *tx, const char *user, json_t *effective)
{
    for (const char *const *kind = profile_kind_words; *kind; kind++) {
        CA_AUTO(free) char *profile = NULL;
        CA_AUTO(free) char *from = NULL;
        enum ca_status status = assignment_effective(tx, user, *kind, &profile, &from);
        if (status != CA_OK && status != CA_NOT_FOUND)
            return status;
        json_object_set_new(
            effective, *kind,
            status == CA_OK ? json_pack("{s:s, s:s}", "profile", profile, "from", from)
                            : json_null());
    }
    return CA_OK;
}

static enum ca_status
user_profiles_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    struct user user = { 0 };
    enum ca_status status = user_load(tx, call->parameters[0], &user);
    if (status != CA_OK)
        return status;
    user_clear(&user);
    CA_AUTO(json_decref) json_t *assigned = json_array();
    CA_AUTO(json_decref) json_t *effective = json_object();
    status = assignment_list(tx, false, call->parameters[0], assigned_visit, assigned);
    if (status == CA_OK)
        status = effective_add(tx, call->parameters[0], effective);
    if (status != CA_OK)
        return status;
    return api_answer_json(
        call, json_pack("{s:O, s:O}", "assigned", assigned, "effective", effective));
}

static enum ca_status
group_profiles_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    CA_AUTO(json_decref) json_t *assigned = json_array();
    enum ca_status status =
        assignment_list(tx, true, call->parameters[0], assigned_visit, assigned);
    if (status != CA_OK)
        return status;
    struct profiles_answer answer = { assigned, NULL };
    return api_answer_json(call, field_encode(group_profiles_fields, &answer));
}

static const struct field *
user_table(void)
{
    return user_profiles_fields;
}

static const struct field *
group_table(void)
{
    return group_profiles_fields;
}

#define WRITERS (API_ADMINISTRATOR | API_OPERATOR)

static const struct api_route routes[] = {
    { "GET", "/users/{name}/profiles", API_ANY, 0, user_profiles_step,
      "A user's assigned and effective profiles", NULL, user_table, NULL,
      .success = 200, .tag = TARGET_USER },
    { "PUT", "/users/{name}/profiles/{kind}/{profile}", WRITERS, API_CHANGE, put_step,
      "Assign a profile to a user", NULL, NULL, NULL, .success = 204,
      .tag = TARGET_USER },
    { "DELETE", "/users/{name}/profiles/{kind}/{profile}", WRITERS, API_CHANGE,
      delete_step, "End an assignment to a user", NULL, NULL, NULL, .success = 204,
      .tag = TARGET_USER },
    { "GET", "/groups/{name}/profiles", API_ANY, 0, group_profiles_step,
      "A group's assigned profiles", NULL, group_table, NULL, .success = 200,
      .tag = TARGET_GROUP },
    { "PUT", "/groups/{name}/profiles/{kind}/{profile}", WRITERS, API_CHANGE, put_step,
      "Assign a profile to a group", NULL, NULL, NULL, .success = 204,
      .tag = TARGET_GROUP },
    { "DELETE", "/groups/{name}/profiles/{kind}/{profile}", WRITERS, API_CHANGE,
      delete_step, "End an assignment to a group", NULL, NULL, NULL, .success = 204,
      .tag = TARGET_GROUP },
    { .method = NULL },
};
const struct api_resource api_assignments = { "assignments", routes, NULL };
