/* /requests: enrolments that wait for approval. */
#include "api.h"
#include "enroll.h"
#include "log.h"
#include "pending.h"

static enum ca_status
answer_record(struct store_tx *tx, struct api_call *call, const char *id)
{
    struct pending pending = { 0 };
    enum ca_status status = pending_load(tx, id, &pending);
    if (status == CA_OK)
        status = api_answer_record(call, pending_fields, &pending, &pending.stamp);
    pending_clear(&pending);
    return status;
}

static enum ca_status
get_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    return answer_record(tx, call, api_key(call));
}

static enum ca_status
list_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    struct api_list *list = arg;
    return pending_list(tx, api_query_text(call, "state"), &list->page, api_list_visit,
                        list);
}

/* ---- Approve ---- */

static enum ca_status
approve_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    enum pending_state *state = arg;
    const char *admin = call->exchange->identity.admin.name;
    enum ca_status status = pending_approve(tx, api_key(call), admin, state);
    if (status == CA_OK)
        status =
            api_audit(tx, call, "request.approve", NULL, "request:%s", api_key(call));
    return status == CA_OK ? answer_record(tx, call, api_key(call)) : status;
}

static enum ca_status
approve(struct api_call *call)
{
    enum pending_state state = PENDING_WAITING;
    enum ca_status status = api_write(call, approve_step, &state);
    if (status != CA_OK || call->dry_run || state != PENDING_APPROVED)
        return status;
    /* The approval stands even when the token is away: the device's next poll or the
     * job signs then. */
    if (enroll_approved(call->exchange->service, api_key(call)) != CA_OK)
        log_write(LOG_LEVEL_WARNING, NULL, "approved request %s is not signed yet: %s",
                  api_key(call), status_message());
    return CA_OK;
}

/* ---- Refuse ---- */

struct refusal_body {
    char *reason;
};
static const struct field refusal_fields[] = {
    { FIELD(refusal_body, reason), .type = FIELD_TEXT, .flags = FIELD_REQUIRED,
      .min = 1, .max = 512, .help = "Why; kept with the request and in the audit." },
    FIELD_END,
};

static enum ca_status
refuse_record(struct store_tx *tx, struct api_call *call, struct refusal_body *body)
{
    enum ca_status status = api_decode(call, refusal_fields, body);
    if (status == CA_OK)
        status = pending_refuse(tx, api_key(call), call->exchange->identity.admin.name,
                                body->reason);
    if (status == CA_OK)
        status = api_audit(tx, call, "request.refuse",
                           json_pack("{s:s}", "reason", body->reason), "request:%s",
                           api_key(call));
    return status == CA_OK ? answer_record(tx, call, api_key(call)) : status;
}

static enum ca_status
refuse_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    struct refusal_body body = { 0 };
    enum ca_status status = refuse_record(tx, call, &body);
    field_clear(refusal_fields, &body);
    return status;
}

static const struct field *
fields(void)
{
    return pending_fields;
}

static const struct field *
refusal_table(void)
{
    return refusal_fields;
}

static const struct api_query filters[] = {
    { "state", "waiting, approved, refused, issued or expired." },
    { NULL, NULL },
};

#define APPROVERS (API_ADMINISTRATOR | API_APPROVER)

static const struct api_route routes[] = {
    { "GET", "/requests", API_ANY, API_LIST, list_step, "List requests", NULL, fields,
      filters, .success = 200, .cursor = "id" },
    { "GET", "/requests/{id}", API_ANY, 0, get_step, "Read a request", NULL, fields,
      NULL, .success = 200 },
    { "POST", "/requests/{id}/approve", APPROVERS, API_CHANGE | API_REPEAT, NULL,
      "Approve a request; enough approvals issue it", NULL, fields, NULL,
      .success = 200, .handle = approve },
    { "POST", "/requests/{id}/refuse", APPROVERS, API_CHANGE | API_REPEAT, refuse_step,
      "Refuse a request", refusal_table, fields, NULL, .success = 200 },
    { .method = NULL },
};
const struct api_resource api_requests = { "requests", routes, NULL };
