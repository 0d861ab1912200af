/* /directory: how the last sync with the LDAP directory went, and a sync now. */
#include "api.h"
#include "auto.h"
#include "directory_sync.h"
#include "jobs.h"
#include "roster.h"
#include <string.h>

struct directory_answer {
    char *server, *outcome, *message;
    int64_t interval_seconds, started, finished;
    json_t *counts;
};

static const struct field directory_fields[] = {
    { FIELD(directory_answer, server), .type = FIELD_TEXT,
      .help = "The LDAP server of the configuration; null without a directory." },
    { FIELD(directory_answer, interval_seconds), .type = FIELD_INTEGER,
      .help = "Between two syncs; 0 for only when asked for." },
    { FIELD(directory_answer, started), .type = FIELD_TIME,
      .help = "When the last sync began." },
    { FIELD(directory_answer, finished), .type = FIELD_TIME, .help = "When it ended." },
    { FIELD(directory_answer, outcome), .type = FIELD_TEXT,
      .help = "ok, forbidden (the brake), unavailable, ...; null before the first." },
    { FIELD(directory_answer, message), .type = FIELD_TEXT,
      .help = "Why it did not go well." },
    { FIELD(directory_answer, counts), .type = FIELD_JSON,
      .help = "Users created, changed, disabled, unchanged and refused." },
    FIELD_END,
};

struct sync_body {
    bool force;
};
static const struct field body_fields[] = {
    { FIELD(sync_body, force), .type = FIELD_BOOLEAN,
      .help = "Disable as many users as the directory says." },
    FIELD_END,
};

struct sync_answer {
    char *outcome, *message;
    bool dry_run, truncated;
    json_t *counts, *items;
};
static const struct field answer_fields[] = {
    { FIELD(sync_answer, outcome), .type = FIELD_TEXT,
      .help = "ok; of a dry run also forbidden, when the brake would hold it." },
    { FIELD(sync_answer, message), .type = FIELD_TEXT, .help = "Why it would." },
    { FIELD(sync_answer, dry_run), .type = FIELD_BOOLEAN,
      .help = "Nothing was changed." },
    { FIELD(sync_answer, counts), .type = FIELD_JSON,
      .help = "Users created, changed, disabled, unchanged and refused." },
    { FIELD(sync_answer, truncated), .type = FIELD_BOOLEAN,
      .help = "There are more items than the answer has." },
    { FIELD(sync_answer, items), .type = FIELD_JSON,
      .help = "List of {name, dn, result, reason, changed}." },
    FIELD_END,
};

static enum ca_status
get_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    const struct config_directory *config = &call->exchange->service->config.directory;
    struct roster_run run = { 0 };
    enum ca_status status = roster_run_load(tx, &run);
    if (status == CA_OK || status == CA_NOT_FOUND) {
        const struct directory_answer answer = {
            .server = config->server,
            .interval_seconds = config->interval,
            .started = run.started,
            .finished = run.finished,
            .outcome = run.outcome,
            .message = run.message,
            .counts = run.counts,
        };
        status = api_answer_record(call, directory_fields, &answer, NULL);
    }
    roster_run_clear(&run);
    return status;
}

static enum ca_status
answer_step(struct store_tx *tx, struct api_call *call, void *answer)
{
    (void)tx;
    return api_answer_json(call, json_incref(answer));
}

/* The changes are durable one by one; what is kept for a repeat is the answer. */
static enum ca_status
sync_now(struct api_call *call)
{
    struct sync_body body = { 0 };
    CA_AUTO(json_decref) json_t *answer = NULL;
    enum ca_status status = api_decode(call, body_fields, &body);
    if (status != CA_OK)
        return status;
    const struct sync_request request = {
        .dry_run = call->dry_run,
        .force = body.force,
        .actor = exchange_actor(call->exchange),
        .protocol = "api",
        .request = call->exchange->request.id,
    };
    status = directory_sync(call->exchange->service, &request, &answer);
    if (status == CA_FORBIDDEN && call->dry_run && answer)
        status = CA_OK;
    if (status != CA_OK)
        return status;
    if (!call->dry_run)
        jobs_wake(call->exchange->service);
    return api_write(call, answer_step, answer);
}

static const struct field *
fields(void)
{
    return directory_fields;
}

static const struct field *
body(void)
{
    return body_fields;
}

static const struct field *
answer(void)
{
    return answer_fields;
}

static const struct api_route routes[] = {
    { "GET", "/directory", API_ANY, 0, get_step,
      "How the last sync with the directory went", NULL, fields, NULL, .success = 200 },
    { "POST", "/directory/sync", API_ADMINISTRATOR, API_CHANGE | API_REPEAT, NULL,
      "Sync with the directory now; a result per user", body, answer, NULL,
      .success = 200, .handle = sync_now },
    { .method = NULL },
};
const struct api_resource api_directory = { "directory", routes, NULL };
