/* Records with a key: create, read, replace, patch and delete, the same for each kind.
 */
#include "api.h"
#include <string.h>

#define MERGE_DEPTH 32

const char *
api_key(const struct api_call *call)
{
    const char *key = NULL;
    for (size_t i = 0; i < API_PARAMETERS_MAX && call->parameters[i]; i++)
        key = call->parameters[i];
    return key;
}

/* The kind of the route's records. */
static const struct api_kind *
kind_of(const struct api_call *call)
{
    return &call->resource->kinds[call->route->tag];
}

static const char *
key_of(const struct api_kind *kind, const void *record)
{
    return *(char *const *)((const char *)record + kind->key_offset);
}

static struct record_stamp *
stamp_of(const struct api_kind *kind, void *record)
{
    return (struct record_stamp *)((char *)record + kind->stamp_offset);
}

/* A zeroed record; record_free it. */
static void *
record_new(const struct api_kind *kind)
{
    return calloc(1, kind->size);
}

static void
record_free(const struct api_kind *kind, void *record)
{
    if (record)
        field_clear(kind->fields(), record);
    free(record);
}

static enum ca_status
record_answer(struct api_call *call, const struct api_kind *kind, void *record)
{
    return api_answer_record(call, kind->fields(), record, stamp_of(kind, record));
}

/* Which members a change touched, for the audit: names alone, values may be private. */
static json_t *
changed_members(const struct api_kind *kind, const void *before, const void *after)
{
    CA_AUTO(json_decref) json_t *old = field_encode(kind->fields(), before);
    CA_AUTO(json_decref) json_t *new = field_encode(kind->fields(), after);
    json_t *names = json_array();
    const char *name;
    json_t *value;
    json_object_foreach (new, name, value) {
        if (strcmp(name, "updated") != 0 && strcmp(name, "version") != 0 &&
            !json_equal(value, json_object_get(old, name)))
            json_array_append_new(names, json_string(name));
    }
    return json_pack("{s:o}", "changed", names);
}

/* "user.create" on "user:alice", "profile.update" on "profile:scep/default". */
static enum ca_status
audit(struct store_tx *tx, struct api_call *call, const char *verb, json_t *detail,
      const char *key)
{
    const struct api_kind *kind = kind_of(call);
    char action[64];
    snprintf(action, sizeof action, "%s.%s", kind->noun, verb);
    return api_audit(tx, call, action, detail, "%s:%s%s", kind->noun,
                     kind->of ? kind->of : "", key);
}

static enum ca_status
check(struct api_call *call, const struct api_kind *kind, const void *record)
{
    return kind->check ? kind->check(call, record) : CA_OK;
}

static enum ca_status
changed(struct store_tx *tx, struct api_call *call, const struct api_kind *kind,
        const void *before, const void *after)
{
    return kind->changed ? kind->changed(tx, call, before, after) : CA_OK;
}

/* ---- Create ---- */

static enum ca_status
create_record(struct store_tx *tx, struct api_call *call, const struct api_kind *kind,
              void *record)
{
    enum ca_status status = api_decode(call, kind->fields(), record);
    if (status == CA_OK)
        status = check(call, kind, record);
    if (status == CA_OK)
        status = kind->insert(tx, record);
    if (status == CA_OK)
        status = changed(tx, call, kind, NULL, record);
    if (status != CA_OK)
        return status;
    status = audit(tx, call, "create", NULL, key_of(kind, record));
    if (status != CA_OK)
        return status;
    api_answer_location(call, "%s/%s", kind->path, key_of(kind, record));
    return record_answer(call, kind, record);
}

enum ca_status
api_kind_create(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    const struct api_kind *kind = kind_of(call);
    void *record = record_new(kind);
    if (!record)
        return ca_fail(CA_INTERNAL, "no memory for a %s", kind->noun);
    enum ca_status status = create_record(tx, call, kind, record);
    record_free(kind, record);
    return status;
}

/* ---- Read ---- */

enum ca_status
api_kind_get(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    const struct api_kind *kind = kind_of(call);
    void *record = record_new(kind);
    if (!record)
        return ca_fail(CA_INTERNAL, "no memory for a %s", kind->noun);
    enum ca_status status = kind->load(tx, api_key(call), record);
    if (status == CA_OK)
        status = record_answer(call, kind, record);
    record_free(kind, record);
    return status;
}

/* ---- Replace and patch ---- */

/* RFC 7396 section 2: null removes, objects merge, everything else replaces. */
static json_t *
merge(const json_t *target, json_t *patch, int depth)
{
    if (!json_is_object(patch) || depth == 0)
        return json_incref(patch);
    json_t *result =
        json_is_object(target) ? json_copy((json_t *)(uintptr_t)target) : json_object();
    const char *name;
    json_t *value;
    json_object_foreach (patch, name, value) {
        if (json_is_null(value))
            json_object_del(result, name);
        else
            json_object_set_new(result, name,
                                merge(json_object_get(result, name), value, depth - 1));
    }
    return result;
}

static enum ca_status
replace_decode(struct api_call *call, bool is_patch, const void *before,
               void *ret_after)
{
    const struct field *fields = kind_of(call)->fields();
    if (!is_patch)
        return field_decode_over(fields, call->body, before, ret_after, &call->errors);
    CA_AUTO(json_decref) json_t *present = field_encode(fields, before);
    CA_AUTO(json_decref) json_t *merged = merge(present, call->body, MERGE_DEPTH);
    if (!merged)
        return ca_fail(CA_INTERNAL, "no memory for a patch");
    return field_decode_over(fields, merged, before, ret_after, &call->errors);
}

/* The key is the path's: a body may repeat it, not change it. */
static enum ca_status
key_check(struct api_call *call, const struct api_kind *kind, const void *after)
{
    if (key_of(kind, after) && strcmp(key_of(kind, after), api_key(call)) == 0)
        return CA_OK;
    field_error_add(&call->errors, "/name", "is not the one of the path");
    return ca_fail(CA_MALFORMED, "the name is the path's and cannot be changed");
}

static enum ca_status
replace_record(struct store_tx *tx, struct api_call *call, bool is_patch, void *before,
               void *after)
{
    const struct api_kind *kind = kind_of(call);
    enum ca_status status = kind->load(tx, api_key(call), before);
    if (status == CA_OK)
        status = api_check_version(call, stamp_of(kind, before)->version);
    if (status == CA_OK)
        status = replace_decode(call, is_patch, before, after);
    if (status == CA_OK)
        status = key_check(call, kind, after);
    if (status == CA_OK)
        status = check(call, kind, after);
    if (status != CA_OK)
        return status;
    stamp_of(kind, after)->version = stamp_of(kind, before)->version;
    status = kind->update(tx, after);
    if (status == CA_OK)
        status = changed(tx, call, kind, before, after);
    if (status != CA_OK)
        return status;
    status = audit(tx, call, "update", changed_members(kind, before, after),
                   key_of(kind, after));
    return status == CA_OK ? record_answer(call, kind, after) : status;
}

static enum ca_status
replace(struct store_tx *tx, struct api_call *call, bool is_patch)
{
    const struct api_kind *kind = kind_of(call);
    void *before = record_new(kind), *after = record_new(kind);
    enum ca_status status =
        before && after ? replace_record(tx, call, is_patch, before, after)
                        : ca_fail(CA_INTERNAL, "no memory for a %s", kind->noun);
    record_free(kind, before);
    record_free(kind, after);
    return status;
}

enum ca_status
api_kind_put(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    return replace(tx, call, false);
}

enum ca_status
api_kind_patch(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    return replace(tx, call, true);
}

/* ---- Delete ---- */

static enum ca_status
delete_record(struct store_tx *tx, struct api_call *call, const struct api_kind *kind,
              void *record)
{
    enum ca_status status = kind->load(tx, api_key(call), record);
    if (status == CA_OK)
        status = api_check_version(call, stamp_of(kind, record)->version);
    if (status == CA_OK)
        status = kind->remove(tx, api_key(call), stamp_of(kind, record)->version);
    if (status != CA_OK)
        return status;
    return audit(tx, call, "delete", NULL, api_key(call));
}

enum ca_status
api_kind_delete(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    const struct api_kind *kind = kind_of(call);
    void *record = record_new(kind);
    if (!record)
        return ca_fail(CA_INTERNAL, "no memory for a %s", kind->noun);
    enum ca_status status = delete_record(tx, call, kind, record);
    record_free(kind, record);
    return status;
}
