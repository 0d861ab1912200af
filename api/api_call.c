/* What a call brings: query, conditions, body; everything unknown is refused. */
#include "api.h"
#include <string.h>

#define REPEAT_KEY_MAX 255

static const struct api_query list_query[] = {
    { "limit", "At most so many items: 1..1000, 100 if absent." },
    { "after", "The `next` of the page before." },
    { NULL, NULL },
};
static const struct api_query change_query[] = {
    { "dry_run",
      "true: full validation and the result that would be; nothing stored." },
    { NULL, NULL },
};

const struct api_query *
api_query_list(unsigned flag)
{
    return flag == API_LIST ? list_query : change_query;
}

static bool
query_has(const struct api_query *known, const char *name, size_t length)
{
    for (; known && known->name; known++) {
        if (strlen(known->name) == length && memcmp(known->name, name, length) == 0)
            return true;
    }
    return false;
}

static bool
query_is_known(const struct api_route *route, const char *name, size_t length)
{
    return query_has(route->query, name, length) ||
           ((route->flags & API_LIST) && query_has(list_query, name, length)) ||
           ((route->flags & API_CHANGE) && query_has(change_query, name, length));
}

/* Walks the raw query; names are plain, values are decoded by the request. */
static enum ca_status
query_parse(struct api_call *call)
{
    struct ca_request *req = &call->exchange->request;
    for (const char *at = req->query; *at;) {
        size_t length = strcspn(at, "&"), name_length = strcspn(at, "=&");
        if (length > 0) {
            if (!query_is_known(call->route, at, name_length))
                return ca_fail(CA_MALFORMED, "unknown query parameter '%.*s'",
                               (int)(name_length > 64 ? 64 : name_length), at);
            if (call->query_count == API_QUERY_MAX)
                return ca_fail(CA_LIMIT, "more than %d query parameters",
                               API_QUERY_MAX);
            char *name = ca_request_alloc(req, name_length + 1);
            if (!name)
                return ca_fail(CA_INTERNAL, "no memory for a query");
            memcpy(name, at, name_length);
            const char *value = NULL;
            enum ca_status status = ca_request_query(req, name, &value);
            if (status != CA_OK)
                return status;
            call->query[call->query_count].name = name;
            call->query[call->query_count++].value = value ? value : "";
        }
        at += length;
        at += *at == '&';
    }
    return CA_OK;
}

const char *
api_query_text(const struct api_call *call, const char *name)
{
    for (size_t i = 0; i < call->query_count; i++) {
        if (strcmp(call->query[i].name, name) == 0)
            return call->query[i].value;
    }
    return NULL;
}

enum ca_status
api_query_time(struct api_call *call, const char *name, int64_t *ret_seconds)
{
    const char *text = api_query_text(call, name);
    int64_t seconds = 0;
    if (text && !time_parse(text, &seconds))
        return ca_fail(CA_MALFORMED, "'%s' is not an RFC 3339 time", name);
    *ret_seconds = seconds;
    return CA_OK;
}

/* RFC 9110 13.1.1: our tags are strong and hold the version. */
static enum ca_status
if_match_parse(struct api_call *call)
{
    const char *text = ca_request_header(&call->exchange->request, "If-Match");
    if (!text)
        return CA_OK;
    if (strcmp(text, "*") == 0)
        return CA_OK;
    char tag[32];
    long long version = text[0] == '"' ? strtoll(text + 1, NULL, 10) : 0;
    snprintf(tag, sizeof tag, "\"%lld\"", version);
    if (version < 1 || strcmp(text, tag) != 0)
        return ca_fail(CA_MALFORMED, "If-Match is not an ETag of this API");
    call->if_match = version;
    return CA_OK;
}

static enum ca_status
repeat_key_parse(struct api_call *call)
{
    if (!(call->route->flags & API_REPEAT))
        return CA_OK;
    const char *key = ca_request_header(&call->exchange->request, "Idempotency-Key");
    if (!key)
        return CA_OK;
    size_t length = strlen(key);
    if (length == 0 || length > REPEAT_KEY_MAX)
        return ca_fail(CA_MALFORMED, "Idempotency-Key has %zu characters, not 1 to %d",
                       length, REPEAT_KEY_MAX);
    call->repeat_key = key;
    return CA_OK;
}

static bool
is_json(const char *content_type)
{
    static const char *const types[] = { "application/json",
                                         "application/merge-patch+json" };
    size_t length = strcspn(content_type, "; \t");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (length == strlen(types[i]) &&
            strncasecmp(content_type, types[i], length) == 0)
            return true;
    }
    return false;
}

static enum ca_status
body_parse(struct api_call *call)
{
    const struct ca_request *req = &call->exchange->request;
    if (!call->route->input)
        return req->body.size == 0 ? CA_OK
                                   : ca_fail(CA_MALFORMED, "this call takes no body");
    if (!is_json(req->content_type)) {
        call->answer.status = 415;
        return ca_fail(CA_UNSUPPORTED, "the body must be application/json");
    }
    if (req->body.size == 0)
        return ca_fail(CA_MALFORMED, "the body is empty, not a JSON object");
    enum ca_status status = field_parse((const char *)req->body.data, req->body.size,
                                        API_BODY_MAX, &call->body);
    if (status == CA_LIMIT)
        call->answer.status = 400; /* too deep: no better later, unlike 429 */
    if (status == CA_OK && !json_is_object(call->body))
        return ca_fail(CA_MALFORMED, "the body must be a JSON object");
    return status;
}

enum ca_status
api_call_parse(struct api_call *call)
{
    enum ca_status status = query_parse(call);
    if (status == CA_OK)
        status = if_match_parse(call);
    if (status == CA_OK)
        status = repeat_key_parse(call);
    if (status == CA_OK)
        status = body_parse(call);
    if (status != CA_OK)
        return status;
    const char *dry_run = api_query_text(call, "dry_run");
    if (dry_run && strcmp(dry_run, "true") != 0 && strcmp(dry_run, "false") != 0)
        return ca_fail(CA_MALFORMED, "dry_run is 'true' or 'false'");
    call->dry_run = dry_run && strcmp(dry_run, "true") == 0;
    if ((call->route->flags & API_IF_MATCH) &&
        !ca_request_header(&call->exchange->request, "If-Match")) {
        call->answer.status = 428;
        return ca_fail(CA_CONFLICT, "If-Match with the record's ETag is required");
    }
    return CA_OK;
}

enum ca_status
api_decode(struct api_call *call, const struct field *fields, void *ret_record)
{
    return field_decode(fields, call->body, ret_record, &call->errors);
}

enum ca_status
api_check_version(struct api_call *call, int64_t version)
{
    if (call->if_match == 0 || call->if_match == version)
        return CA_OK;
    call->answer.status = 412;
    return ca_fail(CA_CONFLICT, "version %lld has been replaced by %lld",
                   (long long)call->if_match, (long long)version);
}
