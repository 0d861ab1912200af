/* What of the audit log is an event, in identifiers alone. */
#include "auto.h"
#include "text.h"
#include "webhook.h"
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

const char *
webhook_event_word(unsigned type)
{
    unsigned bit = 0;
    while (bit < 31 && !(type & (1u << bit)))
        bit++;
    return config_event_words[bit];
}

static void
id_make(struct webhook_event *event, const char *instance)
{
    char text[RECORD_NAME_MAX + 64];
    uint8_t hash[SHA256_DIGEST_LENGTH];
    int size = snprintf(text, sizeof text, "%s %lld %u", instance,
                        (long long)event->number, event->type);
    SHA256((const uint8_t *)text, (size_t)size, hash);
    hex_format(hash, (WEBHOOK_ID_SIZE - 1) / 2, event->id);
}

struct reading {
    struct webhook_events *events;
    unsigned wanted;
};

/* Takes over `data`, which NULL makes a failure. */
static enum ca_status
event_add(struct reading *reading, const struct audit_row *row, unsigned type,
          json_t *data)
{
    struct webhook_events *events = reading->events;
    if (!data)
        return ca_fail(CA_INTERNAL, "no memory for an event");
    if (!(reading->wanted & type)) {
        json_decref(data);
        return CA_OK;
    }
    struct webhook_event *event = &events->items[events->count++];
    *event = (struct webhook_event){
        .number = row->number, .time = row->time, .type = type, .data = data
    };
    id_make(event, row->instance);
    return CA_OK;
}

static const char *
detail(const struct audit_row *row, const char *member)
{
    return json_string_value(json_object_get(row->detail, member));
}

static const char *
object_name(const struct audit_row *row)
{
    const char *colon = row->object ? strchr(row->object, ':') : NULL;
    return colon ? colon + 1 : "";
}

static enum ca_status
certificate_add(struct reading *reading, const struct audit_row *row, unsigned type)
{
    return event_add(reading, row, type,
                     json_pack("{s:s, s:s*, s:s*, s:s*, s:s*, s:s*}", "certificate",
                               object_name(row), "issuer", detail(row, "issuer"),
                               "profile", detail(row, "profile"), "user",
                               detail(row, "user"), "device", detail(row, "device"),
                               "reason", detail(row, "reason")));
}

/* A device's first certificate over a protocol that activates: nothing is replaced. */
static bool
is_activation(const struct audit_row *row)
{
    return row->protocol && detail(row, "device") && !detail(row, "replaces") &&
           (strcmp(row->protocol, "activation") == 0 ||
            strcmp(row->protocol, "wstep") == 0);
}

static enum ca_status
issued_add(struct reading *reading, const struct audit_row *row)
{
    enum ca_status status = certificate_add(reading, row, EVENT_CERTIFICATE_ISSUED);
    if (status != CA_OK || !is_activation(row))
        return status;
    return event_add(reading, row, EVENT_DEVICE_ACTIVATED,
                     json_pack("{s:s, s:s*, s:s, s:s}", "device", detail(row, "device"),
                               "user", detail(row, "user"), "protocol", row->protocol,
                               "certificate", object_name(row)));
}

/* Whose policy a change concerns: "user:alice", "group:staff", "profile:policy/x";
 * NULL: nobody's. A user's memberships come with directory and import. */
static const char *
policy_scope(const struct audit_row *row, char ret_scope[RECORD_NAME_MAX + 16])
{
    static const char policy[] = "profile:policy/";
    const char *action = row->action, *object = row->object ? row->object : "";
    if (strcmp(action, "profile.assign") == 0 ||
        strcmp(action, "profile.unassign") == 0) {
        const char *kind = detail(row, "kind");
        return kind && strcmp(kind, "policy") == 0 ? object : NULL;
    }
    if (strncmp(action, "profile.", 8) == 0)
        return strncmp(object, policy, sizeof policy - 1) == 0 ? object : NULL;
    if (strcmp(action, "group.update") == 0 || strcmp(action, "group.delete") == 0)
        return object;
    if (strcmp(action, "group.add_member") == 0 ||
        strcmp(action, "group.remove_member") == 0) {
        snprintf(ret_scope, RECORD_NAME_MAX + 16, "user:%s",
                 detail(row, "user") ? detail(row, "user") : "");
        return ret_scope;
    }
    bool is_user =
        strcmp(action, "user.update") == 0 || strcmp(action, "user.create") == 0;
    if (!is_user)
        return NULL;
    const json_t *changed = json_object_get(row->detail, "changed"), *name;
    size_t i;
    if (!changed) /* an import says no more */
        return object;
    json_array_foreach (changed, i, name) {
        if (json_is_string(name) && strcmp(json_string_value(name), "groups") == 0)
            return object;
    }
    return NULL;
}

static enum ca_status
row_visit(const void *record, void *arg)
{
    const struct audit_row *row = record;
    struct reading *reading = arg;
    char text[RECORD_NAME_MAX + 16];
    reading->events->next = row->number + 1;
    if (!row->action || !row->outcome || strcmp(row->outcome, "ok") != 0)
        return CA_OK;
    if (strcmp(row->action, "certificate.issue") == 0)
        return issued_add(reading, row);
    if (strcmp(row->action, "certificate.revoke") == 0)
        return certificate_add(reading, row, EVENT_CERTIFICATE_REVOKED);
    const char *scope = policy_scope(row, text);
    return scope ? event_add(reading, row, EVENT_POLICY_CHANGED,
                             json_pack("{s:s}", "scope", scope))
                 : CA_OK;
}

/* ---- The devices that a policy's change concerns, as they are now ---- */

#define DEVICES "SELECT d.id FROM device d WHERE d.state IN (0, 1) AND d.owner "
#define LIMITED " ORDER BY d.id LIMIT $2"

static const struct {
    const char *prefix, *sql;
} scopes[] = {
    { "user:", DEVICES "= $1" LIMITED },
    { "group:", DEVICES "IN (SELECT user_name FROM group_member "
                        "WHERE group_name = $1)" LIMITED },
    { "profile:policy/",
      DEVICES "IN (SELECT target FROM assignment WHERE to_group = 0 "
              "AND kind = 'policy' AND profile = $1 UNION "
              "SELECT m.user_name FROM group_member m JOIN assignment a "
              "ON a.to_group = 1 AND a.target = m.group_name "
              "WHERE a.kind = 'policy' AND a.profile = $1)" LIMITED },
};

static enum ca_status
device_row(const struct store_row *row, void *devices)
{
    return json_array_append_new(devices, json_string(store_row_text(row, 0))) == 0
               ? CA_OK
               : ca_fail(CA_INTERNAL, "no memory for an event");
}

/* `complete` false: more than are named, and for the profile "default" anybody's. */
static enum ca_status
devices_add(struct store_tx *tx, struct webhook_event *event)
{
    const char *scope = json_string_value(json_object_get(event->data, "scope"));
    bool is_complete = strcmp(scope, "profile:policy/default") != 0;
    CA_AUTO(json_decref) json_t *devices = json_array();
    enum ca_status status = CA_OK;
    for (size_t i = 0; i < sizeof scopes / sizeof scopes[0]; i++) {
        size_t length = strlen(scopes[i].prefix);
        if (strncmp(scope, scopes[i].prefix, length) == 0)
            status = store_run(tx, scopes[i].sql,
                               STORE_VALUES(store_text(scope + length),
                                            store_integer(WEBHOOK_DEVICES_MOST + 1)),
                               device_row, devices, NULL);
    }
    if (status != CA_OK)
        return status;
    if (json_array_size(devices) > WEBHOOK_DEVICES_MOST) {
        json_array_remove(devices, WEBHOOK_DEVICES_MOST);
        is_complete = false;
    }
    if (json_object_set(event->data, "devices", devices) != 0 ||
        json_object_set_new(event->data, "complete", json_boolean(is_complete)) != 0)
        return ca_fail(CA_INTERNAL, "no memory for an event");
    return CA_OK;
}

enum ca_status
webhook_events_read(struct store_tx *tx, int64_t from, unsigned wanted,
                    struct webhook_events *events)
{
    struct reading reading = { events, wanted };
    webhook_events_clear(events);
    events->next = from;
    enum ca_status status = audit_after(tx, from, WEBHOOK_BATCH, row_visit, &reading);
    for (size_t i = 0; i < events->count && status == CA_OK; i++) {
        if (events->items[i].type == EVENT_POLICY_CHANGED)
            status = devices_add(tx, &events->items[i]);
    }
    return status;
}

void
webhook_events_clear(struct webhook_events *events)
{
    for (size_t i = 0; i < events->count; i++)
        json_decref(events->items[i].data);
    events->count = 0;
}
