/* Answers: records, lists, problems; and changes as one durable step. */
#include "api.h"
#include "problem.h"
#include <ctype.h>
#include <stdarg.h>
#include <string.h>

#define PAGE_DEFAULT 100
#define ITEM_KEY_MAX 512

struct store *
api_store(const struct api_call *call)
{
    return call->exchange->service->store;
}

/* ---- Problems (RFC 9457) ---- */

static int
http_of_status(enum ca_status status)
{
    static const int http[CA_STATUS_COUNT] = {
        [CA_OK] = 200,        [CA_PENDING] = 202,
        [CA_MALFORMED] = 400, [CA_UNAUTHENTICATED] = 401,
        [CA_FORBIDDEN] = 403, [CA_NOT_FOUND] = 404,
        [CA_CONFLICT] = 409,  [CA_UNSUPPORTED] = 409,
        [CA_LIMIT] = 429,     [CA_UNAVAILABLE] = 503,
        [CA_INTERNAL] = 500,
    };
    return (unsigned)status < CA_STATUS_COUNT ? http[status] : 500;
}

static json_t *
errors_encode(const struct field_errors *errors)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < errors->count; i++)
        json_array_append_new(list, json_pack("{s:s, s:s}", "pointer",
                                              errors->items[i].pointer, "detail",
                                              errors->items[i].reason));
    return list;
}

enum ca_status
api_problem_http(struct api_call *call, int http_status, const char *detail)
{
    struct ca_request *req = &call->exchange->request;
    const struct problem *problem = problem_find(http_status);
    CA_AUTO(json_decref)
    json_t *body = json_pack("{s:s+, s:s, s:i, s:s, s:s}", "type", PROBLEM_TYPE,
                             problem->word, "title", problem->title, "status",
                             http_status, "detail", detail, "instance", req->id);
    if (body && call->errors.count > 0)
        json_object_set_new(body, "errors", errors_encode(&call->errors));
    CA_AUTO(free) char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for a problem");
    if (http_status == 503)
        ca_respond_header(req, "Retry-After", "2");
    ca_respond_header(req, "Cache-Control", "no-store");
    return ca_respond(req, http_status, "application/problem+json", text, strlen(text));
}

enum ca_status
api_problem(struct api_call *call, enum ca_status status)
{
    int http_status =
        call->answer.status >= 400 ? call->answer.status : http_of_status(status);
    /* Administrators read the operator's words; strangers and our own errors do not. */
    bool may_read = http_status != 401 && http_status < 500;
    const char *message = status_message();
    const char *detail =
        may_read && *message ? message : problem_find(http_status)->title;
    CA_AUTO(free) char *copy = strdup(detail);
    if (!copy)
        return ca_fail(CA_INTERNAL, "no memory for a problem");
    return api_problem_http(call, http_status, copy);
}

/* ---- Records ---- */

enum ca_status
api_answer_json(struct api_call *call, json_t *body)
{
    if (!body)
        return ca_fail(CA_INTERNAL, "no memory for an answer");
    json_decref(call->answer.body);
    call->answer.body = body;
    return CA_OK;
}

enum ca_status
api_answer_record(struct api_call *call, const struct field *fields, const void *record,
                  const struct record_stamp *stamp)
{
    call->answer.version = stamp ? stamp->version : 0;
    return api_answer_json(call, field_encode(fields, record));
}

void
api_answer_location(struct api_call *call, const char *format, ...)
{
    char path[512];
    va_list args;
    va_start(args, format);
    vsnprintf(path, sizeof path, format, args);
    va_end(args);
    free(call->answer.location);
    call->answer.location = NULL;
    if (asprintf(&call->answer.location, API_ROOT "%s", path) < 0)
        call->answer.location = NULL;
}

/* ---- Changes and reads ---- */

struct step_call {
    struct api_call *call;
    api_step step;
    void *arg;
    bool is_conflict_of_key; /* another call with this Idempotency-Key came first */
    bool is_dry;             /* the step went well and was undone on purpose */
};

static void
answer_reset(struct api_call *call)
{
    json_decref(call->answer.body);
    free(call->answer.location);
    memset(&call->answer, 0, sizeof call->answer);
    call->errors.count = 0;
}

static enum ca_status
write_step(struct store_tx *tx, void *arg)
{
    struct step_call *run = arg;
    run->is_conflict_of_key = false;
    run->is_dry = false;
    answer_reset(run->call);
    enum ca_status status =
        run->call->repeat_key ? api_repeat_check(tx, run->call) : CA_OK;
    run->is_conflict_of_key = status == CA_CONFLICT;
    if (status == CA_OK)
        status = run->step(tx, run->call, run->arg);
    if (status != CA_OK)
        return status;
    if (run->call->dry_run) {
        run->is_dry = true;
        return ca_fail(CA_CONFLICT, "dry run"); /* a failing closure is undone */
    }
    if (!run->call->repeat_key)
        return CA_OK;
    status = api_repeat_save(tx, run->call);
    run->is_conflict_of_key = status == CA_CONFLICT;
    return status;
}

enum ca_status
api_write(struct api_call *call, api_step step, void *arg)
{
    struct step_call run = { .call = call, .step = step, .arg = arg };
    enum ca_status status = store_write(api_store(call), write_step, &run);
    if (run.is_dry && status == CA_CONFLICT)
        return CA_OK;
    if (!run.is_conflict_of_key)
        return status;
    bool is_found = false;
    answer_reset(call);
    status = api_repeat_find(call, &is_found);
    if (status == CA_OK && !is_found)
        return ca_fail(CA_UNAVAILABLE,
                       "a request with this Idempotency-Key is under way");
    return status;
}

static enum ca_status
read_step(struct store_tx *tx, void *arg)
{
    struct step_call *run = arg;
    return run->step(tx, run->call, run->arg);
}

enum ca_status
api_read(struct api_call *call, api_step step, void *arg)
{
    struct step_call run = { .call = call, .step = step, .arg = arg };
    return store_read(api_store(call), read_step, &run);
}

enum ca_status
api_audit(struct store_tx *tx, const struct api_call *call, const char *action,
          json_t *detail, const char *object, ...)
{
    CA_AUTO(json_decref) json_t *owned = detail;
    char name[512];
    va_list args;
    va_start(args, object);
    vsnprintf(name, sizeof name, object, args);
    va_end(args);
    return audit_append(tx, &(struct audit_entry){
                                .action = action,
                                .actor = exchange_actor(call->exchange),
                                .object = name,
                                .protocol = "api",
                                .request = call->exchange->request.id,
                                .outcome = "ok",
                                .detail = owned,
                            });
}

/* ---- Lists ---- */

static enum ca_status
list_begin(struct api_call *call, struct api_list *ret_list)
{
    const char *text = api_query_text(call, "limit");
    long limit = PAGE_DEFAULT;
    if (text) {
        char *end = NULL;
        limit = strtol(text, &end, 10);
        if (*text < '0' || *text > '9' || *end || limit < 1 || limit > RECORD_PAGE_MAX)
            return ca_fail(CA_MALFORMED, "limit is 1 to %d", RECORD_PAGE_MAX);
    }
    const char *after = api_query_text(call, "after");
    if (after && (*after == '\0' || strlen(after) > ITEM_KEY_MAX ||
                  !text_is_clean(after, strlen(after))))
        return ca_fail(CA_MALFORMED, "after is not a cursor of this API");
    json_t *items = json_array();
    if (!items)
        return ca_fail(CA_INTERNAL, "no memory for a list");
    *ret_list = (struct api_list){
        .call = call,
        .page = { .after = after, .limit = limit + 1 }, /* one more: is there a next? */
        .items = items,
        .limit = limit,
    };
    return CA_OK;
}

enum ca_status
api_list_visit(const void *record, void *arg)
{
    struct api_list *list = arg;
    if ((int64_t)json_array_size(list->items) == list->limit) {
        list->has_more = true;
        return CA_OK;
    }
    if (json_array_append_new(list->items,
                              field_encode(list->call->route->output(), record)) != 0)
        return ca_fail(CA_INTERNAL, "no memory for a list");
    return CA_OK;
}

static void
escape_append(struct text_buffer *buffer, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (isalnum(c) || strchr("-._~", c))
            text_append(buffer, text, 1);
        else
            text_print(buffer, "%%%02X", c);
    }
}

/* The same call with the next cursor. */
static void
link_respond(const struct api_list *list, const char *next)
{
    struct ca_request *req = &list->call->exchange->request;
    CA_AUTO(text_buffer_clear) struct text_buffer link = { 0 };
    text_print(&link, "<");
    for (const char *at = req->path; *at; at++)
        *at == '/' ? text_append(&link, at, 1)
                   : escape_append(&link, (const char[]){ *at, '\0' });
    text_print(&link, "?after=");
    escape_append(&link, next);
    for (size_t i = 0; i < list->call->query_count; i++) {
        if (strcmp(list->call->query[i].name, "after") == 0)
            continue;
        text_print(&link, "&%s=", list->call->query[i].name);
        escape_append(&link, list->call->query[i].value);
    }
    text_print(&link, ">; rel=\"next\"");
    if (!link.failed)
        ca_respond_header(req, "Link", link.data);
}

static enum ca_status
list_end(struct api_list *list)
{
    json_t *next = json_null();
    size_t count = json_array_size(list->items);
    if (list->has_more && count > 0) {
        const json_t *key = json_object_get(json_array_get(list->items, count - 1),
                                            list->call->route->cursor);
        if (json_is_integer(key))
            next = json_sprintf("%lld", (long long)json_integer_value(key));
        else
            next = json_string(json_string_value(key));
    }
    json_t *body = json_pack("{s:o, s:o}", "items", list->items, "next", next);
    list->items = NULL;
    if (body && json_is_string(next))
        link_respond(list, json_string_value(next));
    return api_answer_json(list->call, body);
}

enum ca_status
api_list_run(struct api_call *call)
{
    struct api_list list;
    enum ca_status status = list_begin(call, &list);
    if (status != CA_OK)
        return status;
    status = api_read(call, call->route->step, &list);
    if (status == CA_OK)
        return list_end(&list);
    json_decref(list.items);
    return status;
}
