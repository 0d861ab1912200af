/* Runs a call: reads what it changes, follows lists to their end, prints the answer. */
#include "auto.h"
#include "cli_http.h"
#include "cli_table.h"
#include "field.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_MAX 1000
#define PAGES_MAX 1000000 /* a list that never ends is the daemon's error */

static int
failed(const struct cli_call *call, const char *why)
{
    const char *action = call->action->name;
    fprintf(stderr, "sealwright %s%s%s: %s\n", call->verb->name, action ? " " : "",
            action ? action : "", why);
    return 1;
}

static bool
refused(const struct cli_call *call, const char *why)
{
    failed(call, why);
    return false;
}

/* A full disk or a closed pipe must not look like success. */
static int
output_end(const struct cli_call *call, int result)
{
    if (fflush(stdout) != 0 || ferror(stdout))
        return failed(call, "the output could not be written");
    return result;
}

static json_t *
answer_parse(const struct cli_answer *answer)
{
    return answer->data.data ? json_loadb(answer->data.data, answer->data.size,
                                          JSON_REJECT_DUPLICATES, NULL)
                             : NULL;
}

/* ---- Lists ---- */

struct listing {
    struct cli_table table;
    int64_t left, shown;
    bool is_begun; /* the opening of the JSON is out */
};

static bool
rows_print(const struct cli_call *call, struct listing *listing, const json_t *rows)
{
    if (!call->context->json)
        return cli_table_print(stdout, &listing->table, rows);
    if (!listing->is_begun)
        fputs("{\"items\": [", stdout);
    listing->is_begun = true;
    size_t i;
    const json_t *row;
    json_array_foreach (rows, i, row) {
        fputs(listing->shown + (int64_t)i > 0 ? ",\n" : "\n", stdout);
        if (!cli_json_print(stdout, row, 0))
            return false;
    }
    return true;
}

/* A page as it was asked for: objects, no more than `most`, and where there are more a
 * cursor that leads on. */
static bool
is_page(const json_t *items, const json_t *next, int64_t most, const char *cursor)
{
    size_t i, count = json_array_size(items);
    const json_t *item;
    if (!json_is_array(items) || (int64_t)count > most)
        return false;
    json_array_foreach (items, i, item) {
        if (!json_is_object(item))
            return false;
    }
    const char *text = json_string_value(next);
    return !text || (count > 0 && (!cursor || strcmp(text, cursor) != 0));
}

/* One page; `cursor` becomes that of the next, NULL at the end. */
static bool
page_show(struct cli_call *call, struct cli_client *client, struct listing *listing,
          char **cursor)
{
    int64_t page = listing->left < PAGE_MAX ? listing->left : PAGE_MAX;
    CA_AUTO(free) char *path = cli_path(call, *cursor, page);
    struct cli_answer answer = { 0 };
    if (!path)
        return refused(call, "no memory");
    bool holds = cli_client_call(
        client, &(struct cli_request){ .method = "GET", .path = path }, &answer);
    CA_AUTO(json_decref) json_t *body = holds ? answer_parse(&answer) : NULL;
    cli_answer_clear(&answer);
    if (!holds)
        return false;
    const json_t *items = json_object_get(body, "items");
    const json_t *next = json_object_get(body, "next");
    if (!is_page(items, next, page, *cursor))
        return refused(call, "the answer is no list of this API");
    if (!rows_print(call, listing, items))
        return refused(call, "no memory");
    listing->shown += (int64_t)json_array_size(items);
    listing->left -= (int64_t)json_array_size(items);
    free(*cursor);
    *cursor = NULL;
    if (json_is_string(next) && !(*cursor = strdup(json_string_value(next))))
        return refused(call, "no memory");
    return true;
}

static bool
pages_show(struct cli_call *call, struct cli_client *client, struct listing *listing)
{
    CA_AUTO(free) char *cursor = NULL;
    int pages = 0;
    do {
        if (!page_show(call, client, listing, &cursor))
            return false;
    } while (cursor && listing->left > 0 && ++pages < PAGES_MAX);
    return pages < PAGES_MAX ? true : refused(call, "the list does not end");
}

/* An absent "[KIND]" means a list for each of its words. */
static int
list_show(struct cli_call *call, struct cli_client *client)
{
    struct listing listing = { .table.columns = call->action->columns,
                               .left = call->limit };
    const char *const *each = call->action->every;
    bool is_each = each && call->parameter_count == 0, holds = true;
    if (!is_each)
        holds = pages_show(call, client, &listing);
    for (; is_each && *each && holds && listing.left > 0; each++) {
        call->parameters[0] = *each;
        call->parameter_count = 1;
        holds = pages_show(call, client, &listing);
    }
    if (!holds)
        return output_end(call, 1);
    if (call->context->json)
        puts("\n]}");
    else if (listing.shown == 0)
        fputs("none found\n", stderr);
    return output_end(call, 0);
}

/* ---- Answers that are written as they come ---- */

/* PEM is lines of plain characters, whoever answered (RFC 7468). */
static bool
is_pem(const struct cli_answer *answer)
{
    static const char begin[] = "-----BEGIN ";
    const char *text = answer->data.data;
    if (answer->data.size < sizeof begin || memcmp(text, begin, sizeof begin - 1) != 0)
        return false;
    for (size_t i = 0; i < answer->data.size; i++) {
        if ((text[i] < ' ' || text[i] > '~') && text[i] != '\n' && text[i] != '\r')
            return false;
    }
    return true;
}

static int
raw_write(const struct cli_call *call, const struct cli_answer *answer)
{
    if (answer->data.size == 0 || (!call->is_der && !is_pem(answer)))
        return failed(call, "the answer is no certificate of this API");
    if (!call->out && call->is_der && isatty(STDOUT_FILENO))
        return failed(call, "DER is not for a terminal: use --out FILE");
    if (!call->out) {
        fwrite(answer->data.data, 1, answer->data.size, stdout);
        return output_end(call, 0);
    }
    int fd = open(call->out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    CA_AUTO(fclose) FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!file && fd >= 0)
        close(fd);
    if (!file ||
        fwrite(answer->data.data, 1, answer->data.size, file) != answer->data.size ||
        fflush(file) != 0) {
        fprintf(stderr, "sealwright: %s: %s\n", call->out, strerror(errno));
        return 1;
    }
    return 0;
}

/* ---- Records ---- */

/* The record's lines; what its action says is a table of its own stands below them. */
static bool
lines_show(const struct cli_action *action, json_t *record)
{
    if (!action->rows)
        return cli_record_print(stdout, record);
    CA_AUTO(json_decref)
    json_t *rows = json_incref(json_object_get(record, action->rows));
    struct cli_table table = { .columns = action->columns };
    json_object_del(record, action->rows);
    return cli_record_print(stdout, record) && cli_table_print(stdout, &table, rows);
}

static int
record_show(const struct cli_call *call, const struct cli_answer *answer)
{
    bool is_dry = call->query.data && strstr(call->query.data, "dry_run=true");
    if (answer->data.size == 0) {
        if (!call->context->json)
            puts(is_dry ? "possible; nothing was changed" : "done");
        return output_end(call, 0);
    }
    json_t *record = answer_parse(answer);
    if (!json_is_object(record)) {
        json_decref(record);
        return failed(call, "the answer is no record of this API");
    }
    bool holds = true;
    if (call->context->json)
        holds = cli_json_print(stdout, record, 2) && puts("") >= 0;
    else
        holds = lines_show(call->action, record);
    field_json_wipe(record); /* it may show a secret, once */
    if (holds && is_dry && !call->context->json)
        puts("nothing was changed (--dry-run)");
    return output_end(call, holds ? 0 : failed(call, "the answer was not printed"));
}

/* RFC 7396 over an object; false: memory. */
static bool
merge(json_t *target, const json_t *patch)
{
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)patch, name, value) {
        json_t *present = json_object_get(target, name);
        bool holds = true;
        if (json_is_null(value))
            json_object_del(target, name);
        else if (json_is_object(value) && json_is_object(present))
            holds = merge(present, value);
        else
            holds = json_object_set(target, name, value) == 0;
        if (!holds)
            return false;
    }
    return true;
}

/* The version that a change holds against: the file's own when it has one, so that an
 * edit of an older version is found out; else the one read now. */
static bool
precondition_read(struct cli_call *call, struct cli_client *client, const char *path,
                  char *ret_tag, size_t size)
{
    const json_t *version = json_object_get(call->body, "version");
    if (call->file && json_is_integer(version)) {
        snprintf(ret_tag, size, "\"%lld\"", (long long)json_integer_value(version));
        return true;
    }
    CA_AUTO(free) char *plain = strndup(path, strcspn(path, "?"));
    struct cli_answer answer = { 0 };
    if (!plain)
        return refused(call, "no memory");
    bool holds = cli_client_call(
        client, &(struct cli_request){ .method = "GET", .path = plain }, &answer);
    if (holds)
        snprintf(ret_tag, size, "%s", answer.etag);
    CA_AUTO(json_decref) json_t *present = holds ? answer_parse(&answer) : NULL;
    cli_answer_clear(&answer);
    if (!holds || !(call->action->flags & CLI_WHOLE))
        return holds;
    if (!json_is_object(present) || !merge(present, call->body))
        return refused(call, "the answer is no record of this API");
    json_decref(call->body);
    call->body = CA_STEAL(present);
    return true;
}

static int
record_run(struct cli_call *call, struct cli_client *client)
{
    const struct cli_action *action = call->action;
    CA_AUTO(free) char *path = cli_path(call, NULL, 0);
    char tag[64] = "";
    if (!path)
        return failed(call, "no memory");
    if ((action->flags & (CLI_IF_MATCH | CLI_WHOLE)) &&
        !precondition_read(call, client, path, tag, sizeof tag))
        return 1;
    struct cli_answer answer = { 0 };
    const struct cli_request request = {
        .method = call->method,
        .path = path,
        .body = call->body,
        .accept = call->is_der ? "application/pkix-cert" : action->accept,
        .if_match = *tag ? tag : NULL,
        .is_once = strcmp(call->method, "POST") == 0,
        .takes_unavailable = action->flags & CLI_OUTSIDE,
    };
    int result = 1;
    if (cli_client_call(client, &request, &answer))
        result = action->accept ? raw_write(call, &answer) : record_show(call, &answer);
    if (result == 0 && answer.status == 503)
        result = 1;
    cli_answer_clear(&answer);
    return result;
}

int
cli_execute(struct cli_call *call)
{
    struct cli_client *client = NULL;
    if (!cli_client_open(call->context, !(call->action->flags & CLI_OUTSIDE), &client))
        return 1;
    int result = call->action->flags & CLI_LIST ? list_show(call, client)
                                                : record_run(call, client);
    cli_client_close(client);
    return result;
}
