/* Devices under management: the queue, the report, the policy, the end. */
#include "assignment.h"
#include "auto.h"
#include "calls_manage.h"
#include "device.h"
#include "device_command.h"
#include "management.h"
#include "profile.h"
#include "query.h"
#include <string.h>

#define CLAIM_MAX 100

struct step {
    const char *device, *session, *member;
    const json_t *value;
    int64_t limit;
    json_t *found;
    struct lifecycle_cause cause;
};

static enum ca_status
report_write(struct store_tx *tx, void *arg)
{
    const struct step *step = arg;
    return device_report(tx, step->device, step->member, step->value);
}

enum ca_status
ca_manage_report(struct ca_request *req, const char *member, const json_t *value)
{
    struct exchange *exchange;
    enum ca_status status = manage_begin(req, &exchange);
    if (status != CA_OK)
        return status;
    struct step step = { .device = exchange->identity.device,
                         .member = member,
                         .value = value };
    return store_write(exchange->service->store, report_write, &step);
}

static enum ca_status
audit(struct store_tx *tx, const struct step *step, const char *action, json_t *detail)
{
    CA_AUTO(free) char *object = NULL;
    if (asprintf(&object, "device:%s", step->device) < 0) {
        object = NULL;
        return ca_fail(CA_INTERNAL, "no memory for an audit entry");
    }
    return audit_append(tx, &(struct audit_entry){ .action = action,
                                                   .actor = step->cause.actor,
                                                   .object = object,
                                                   .protocol = step->cause.protocol,
                                                   .request = step->cause.request,
                                                   .outcome = "ok",
                                                   .detail = detail });
}

static enum ca_status
unenrol_write(struct store_tx *tx, void *arg)
{
    const struct step *step = arg;
    int64_t rows = 0;
    enum ca_status status = store_run(
        tx,
        "UPDATE device SET state = $2, version = version + 1 "
        "WHERE id = $1 AND state <> $2 RETURNING id",
        STORE_VALUES(store_text(step->device), store_integer(DEVICE_UNENROLLED)), NULL,
        NULL, &rows);
    if (status != CA_OK || rows == 0)
        return status;
    CA_AUTO(json_decref) json_t *detail = json_pack("{s:s}", "by", "the device's user");
    status = audit(tx, step, "device.unenrol", detail);
    return status == CA_OK ? lifecycle_disable_device(tx, step->device, &step->cause)
                           : status;
}

enum ca_status
ca_manage_unenrolled(struct ca_request *req)
{
    struct exchange *exchange;
    enum ca_status status = manage_begin(req, &exchange);
    if (status != CA_OK)
        return status;
    struct step step = { .device = exchange->identity.device,
                         .cause = manage_cause(exchange) };
    status = store_write(exchange->service->store, unenrol_write, &step);
    if (status == CA_OK)
        service_wake_jobs(exchange->service);
    return status;
}

static enum ca_status
visit_command(const void *record, void *arg)
{
    struct step *step = arg;
    json_t *command = field_encode(device_command_fields, record);
    return command && json_array_append_new(step->found, command) == 0
               ? CA_OK
               : ca_fail(CA_INTERNAL, "no memory for a command");
}

static enum ca_status
claim_write(struct store_tx *tx, void *arg)
{
    struct step *step = arg;
    json_array_clear(step->found);
    return device_command_claim(tx, step->device, step->session, step->limit,
                                visit_command, step);
}

static enum ca_status
waiting_read(struct store_tx *tx, void *arg)
{
    struct step *step = arg;
    bool any = false;
    enum ca_status status = record_exists(
        tx, "SELECT 1 FROM device_command WHERE device_id = $1 AND state < 2 LIMIT 1",
        STORE_VALUES(store_text(step->device)), &any);
    step->limit = any ? step->limit : 0;
    return status;
}

enum ca_status
ca_manage_claim(struct ca_request *req, const char *session, int64_t limit,
                json_t **ret_commands)
{
    struct exchange *exchange;
    enum ca_status status = manage_begin(req, &exchange);
    if (status != CA_OK)
        return status;
    struct step step = { .device = exchange->identity.device,
                         .session = session,
                         .limit = limit < CLAIM_MAX ? limit : CLAIM_MAX,
                         .found = manage_keep_json(exchange, json_array()) };
    if (!step.found)
        return ca_fail(CA_INTERNAL, "no memory for commands");
    /* Most sessions find nothing, which needs no write. */
    status = store_read(exchange->service->store, waiting_read, &step);
    if (status == CA_OK && step.limit > 0)
        status = store_write(exchange->service->store, claim_write, &step);
    if (status == CA_OK)
        *ret_commands = step.found;
    return status;
}

static enum ca_status
finish_write(struct store_tx *tx, void *arg)
{
    const struct step *step = arg;
    size_t i;
    json_t *answer;
    json_array_foreach (step->value, i, answer) {
        const char *id = json_string_value(json_object_get(answer, "id"));
        enum ca_status status =
            device_command_finish(tx, step->device, id ? id : "", step->session,
                                  json_is_true(json_object_get(answer, "failed")),
                                  json_object_get(answer, "result"));
        if (status != CA_OK && status != CA_CONFLICT)
            return status;
    }
    return CA_OK;
}

enum ca_status
ca_manage_finish(struct ca_request *req, const char *session, const json_t *answers)
{
    struct exchange *exchange;
    enum ca_status status = manage_begin(req, &exchange);
    if (status != CA_OK || json_array_size(answers) == 0)
        return status;
    struct step step = { .device = exchange->identity.device,
                         .session = session,
                         .value = answers };
    return store_write(exchange->service->store, finish_write, &step);
}

static enum ca_status
release_write(struct store_tx *tx, void *arg)
{
    const struct step *step = arg;
    return device_command_release(tx, step->device, step->session);
}

enum ca_status
ca_manage_release(struct ca_request *req, const char *session)
{
    struct exchange *exchange;
    enum ca_status status = manage_begin(req, &exchange);
    if (status != CA_OK)
        return status;
    struct step step = { .device = exchange->identity.device, .session = session };
    return store_write(exchange->service->store, release_write, &step);
}

struct policy_question {
    const char *user, *device;
    json_t *policy;
};

static enum ca_status
policy_of_user(struct store_tx *tx, const char *user, json_t **ret_policy)
{
    CA_AUTO(free) char *name = NULL;
    struct profile profile = { .kind = PROFILE_POLICY };
    enum ca_status status =
        assignment_effective(tx, user, profile_kind_words[PROFILE_POLICY], &name, NULL);
    if (status == CA_OK)
        status = profile_load(tx, PROFILE_POLICY, name, &profile);
    if (status != CA_OK)
        return status;
    CA_AUTO(json_decref)
    json_t *record = field_encode(profile_fields(PROFILE_POLICY), &profile);
    *ret_policy =
        json_pack("{s:s, s:I, s:O}", "name", profile.name, "version",
                  (json_int_t)profile.stamp.version, "items",
                  json_object_get(json_object_get(record, "settings"), "items"));
    profile_clear(&profile);
    return *ret_policy ? CA_OK : ca_fail(CA_INTERNAL, "no memory for a policy");
}

static enum ca_status
policy_read(struct store_tx *tx, void *arg)
{
    struct policy_question *question = arg;
    CA_AUTO(json_decref) json_t *policy = NULL;
    CA_AUTO(json_decref) json_t *kept = NULL;
    enum ca_status status = management_kept_nodes(tx, question->device, &kept);
    if (status != CA_OK)
        return status;
    status = question->user ? policy_of_user(tx, question->user, &policy)
                            : ca_fail(CA_NOT_FOUND, "the device has no owner");
    if (status == CA_NOT_FOUND && json_array_size(kept) > 0) {
        policy = json_pack("{s:s, s:i, s:[]}", "name", "", "version", 0, "items");
        status = policy ? CA_OK : ca_fail(CA_INTERNAL, "no memory for a policy");
    }
    if (status != CA_OK)
        return status;
    if (json_object_set(policy, "kept", kept) != 0)
        return ca_fail(CA_INTERNAL, "no memory for a policy");
    json_decref(question->policy);
    question->policy = CA_STEAL(policy);
    return CA_OK;
}

enum ca_status
manage_policy(struct exchange *exchange, json_t **ret_policy)
{
    struct policy_question question = { .user = exchange->identity.user,
                                        .device = exchange->identity.device };
    enum ca_status status =
        store_read(exchange->service->store, policy_read, &question);
    if (status != CA_OK) {
        json_decref(question.policy);
        return status;
    }
    *ret_policy = question.policy;
    return CA_OK;
}

enum ca_status
ca_manage_policy(struct ca_request *req, json_t **ret_policy)
{
    struct exchange *exchange;
    json_t *policy = NULL;
    enum ca_status status = manage_begin(req, &exchange);
    if (status == CA_OK)
        status = manage_policy(exchange, &policy);
    if (status != CA_OK)
        return status;
    *ret_policy = manage_keep_json(exchange, policy);
    return *ret_policy ? CA_OK : ca_fail(CA_INTERNAL, "no memory for a policy");
}

static enum ca_status
kept_write(struct store_tx *tx, void *arg)
{
    const struct step *step = arg;
    return management_keep_nodes(tx, step->device, step->value);
}

enum ca_status
ca_manage_policy_kept(struct ca_request *req, const json_t *nodes)
{
    struct exchange *exchange;
    enum ca_status status = manage_begin(req, &exchange);
    if (status != CA_OK)
        return status;
    struct step step = { .device = exchange->identity.device, .value = nodes };
    return store_write(exchange->service->store, kept_write, &step);
}

static enum ca_status
mended_write(struct store_tx *tx, void *arg)
{
    const struct step *step = arg;
    CA_AUTO(json_decref) json_t *detail = json_deep_copy(step->value);
    return audit(tx, step, "device.policy", detail);
}

enum ca_status
ca_manage_mended(struct ca_request *req, const json_t *detail)
{
    struct exchange *exchange;
    enum ca_status status = manage_begin(req, &exchange);
    if (status != CA_OK)
        return status;
    struct step step = { .device = exchange->identity.device,
                         .value = detail,
                         .cause = manage_cause(exchange) };
    return store_write(exchange->service->store, mended_write, &step);
}
