/* /audit: what was done or refused, newest first. */
#include "api.h"

static enum ca_status
list_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    struct api_list *list = arg;
    struct audit_filter filter = {
        .action = api_query_text(call, "action"),
        .actor = api_query_text(call, "actor"),
        .object = api_query_text(call, "object"),
    };
    enum ca_status status = api_query_time(call, "since", &filter.since);
    if (status == CA_OK)
        status = api_query_time(call, "until", &filter.until);
    if (status != CA_OK)
        return status;
    return audit_list(tx, &filter, &list->page, api_list_visit, list);
}

static const struct field *
fields(void)
{
    return audit_row_fields;
}

static const struct api_query filters[] = {
    { "action", "With this action, e.g. certificate.issue." },
    { "actor", "By this actor, e.g. admin:alice." },
    { "object", "On this object, e.g. user:bob." },
    { "since", "At or after this RFC 3339 time." },
    { "until", "Before this RFC 3339 time." },
    { NULL, NULL },
};

static const struct api_route routes[] = {
    { "GET", "/audit", API_ADMINISTRATOR | API_AUDITOR, API_LIST, list_step,
      "List audit entries, newest first", NULL, fields, filters, .success = 200,
      .cursor = "number" },
    { .method = NULL },
};
const struct api_resource api_audits = { "audit", routes, NULL };
