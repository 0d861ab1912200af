/* /users/import: users with their groups out of a CSV file, all of it or nothing. */
#include "api.h"
#include "auto.h"
#include "csv.h"
#include "group.h"
#include "user.h"
#include <string.h>

#define LINES_MAX 5000
#define GROUPS_SEPARATOR ";"

struct import_body {
    char *csv;
};
static const struct field body_fields[] = {
    { FIELD(import_body, csv), .type = FIELD_TEXT,
      .flags = FIELD_REQUIRED | FIELD_LINES, .min = 1, .max = API_BODY_MAX,
      .help = "CSV (RFC 4180) whose first line names the columns: name, and of email, "
              "display_name, work_space, groups (with ; between) and attributes.NAME "
              "those that the file has." },
    FIELD_END,
};

struct import_answer {
    bool dry_run;
    json_t *counts, *items;
};
static const struct field answer_fields[] = {
    { FIELD(import_answer, dry_run), .type = FIELD_BOOLEAN,
      .help = "Nothing was changed." },
    { FIELD(import_answer, counts), .type = FIELD_JSON,
      .help = "Lines created, changed, unchanged and refused." },
    { FIELD(import_answer, items), .type = FIELD_JSON,
      .help = "List of {line, name, result, reason}." },
    FIELD_END,
};

enum line_result {
    LINE_CREATED,
    LINE_CHANGED,
    LINE_UNCHANGED,
    LINE_REFUSED,
    LINE_RESULTS
};
static const char *const result_words[] = { "created", "changed", "unchanged",
                                            "refused", NULL };

struct import {
    struct store_tx *tx;
    struct api_call *call;
    struct csv_record header;
    char *columns[CSV_FIELDS_MAX]; /* the header's fields, copied */
    size_t count, lines;
    json_t *names; /* object: those of lines before */
    json_t *items;
    int64_t results[LINE_RESULTS];
};

static void
import_clear_auto(struct import *import)
{
    for (size_t i = 0; i < import->count; i++)
        free(import->columns[i]);
    json_decref(import->names);
    json_decref(import->items);
}

static bool
column_is_known(const char *name)
{
    static const char *const known[] = { "name", "email", "display_name", "work_space",
                                         "groups" };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i], name) == 0)
            return true;
    return strncmp(name, "attributes.", 11) == 0 && name[11];
}

static enum ca_status
header_read(struct import *import, struct csv *csv)
{
    struct csv_record header;
    bool has_name = false;
    enum ca_status status = csv_next(csv, &header);
    if (status != CA_OK)
        return status == CA_NOT_FOUND ? ca_fail(CA_MALFORMED, "the file is empty")
                                      : status;
    for (size_t i = 0; i < header.count; i++) {
        if (!column_is_known(header.fields[i]))
            return ca_fail(CA_MALFORMED, "line 1: column %zu is none of ours", i + 1);
        for (size_t j = 0; j < i; j++)
            if (strcmp(header.fields[i], header.fields[j]) == 0)
                return ca_fail(CA_MALFORMED, "line 1: column '%s' is there twice",
                               header.fields[i]);
        has_name = has_name || strcmp(header.fields[i], "name") == 0;
        import->columns[i] = strdup(header.fields[i]);
        if (!import->columns[i])
            return ca_fail(CA_INTERNAL, "no memory for a CSV file");
        import->count++;
    }
    return has_name ? CA_OK
                    : ca_fail(CA_MALFORMED, "line 1: there is no column 'name'");
}

static const char *
value_of(const struct import *import, const struct csv_record *record,
         const char *column)
{
    for (size_t i = 0; i < import->count; i++)
        if (strcmp(import->columns[i], column) == 0)
            return record->fields[i];
    return NULL;
}

/* The line's fields over the members of `body`; an empty one clears. */
static bool
body_fill(const struct import *import, const struct csv_record *record, json_t *body)
{
    bool holds = true;
    json_t *attributes = json_object_get(body, "attributes");
    if (!json_is_object(attributes)) {
        attributes = json_object();
        holds = json_object_set_new(body, "attributes", attributes) == 0;
    }
    for (size_t i = 0; holds && i < import->count; i++) {
        const char *column = import->columns[i], *text = record->fields[i];
        bool is_attribute = strncmp(column, "attributes.", 11) == 0;
        if (strcmp(column, "groups") == 0)
            continue;
        if (is_attribute && !*text)
            json_object_del(attributes, column + 11);
        else
            holds = json_object_set_new(is_attribute ? attributes : body,
                                        is_attribute ? column + 11 : column,
                                        *text ? json_string(text) : json_null()) == 0;
    }
    return holds;
}

/* Adds the memberships of the line; those that it does not name stay. */
static enum ca_status
groups_add(const struct import *import, const struct csv_record *record,
           const struct user *user, bool *ret_any)
{
    const char *text = value_of(import, record, "groups");
    CA_AUTO(free) char *copy = strdup(text ? text : "");
    char *rest = copy, *group;
    if (!copy)
        return ca_fail(CA_INTERNAL, "no memory for groups");
    while ((group = strsep(&rest, GROUPS_SEPARATOR)) != NULL) {
        group += strspn(group, " ");
        for (size_t end = strlen(group); end > 0 && group[end - 1] == ' ';)
            group[--end] = '\0';
        bool is_in = *group == '\0';
        for (size_t i = 0; i < user->groups.count; i++)
            is_in = is_in || strcmp(((char *const *)user->groups.items)[i], group) == 0;
        if (is_in)
            continue;
        enum ca_status status = group_add_member(import->tx, group, user->name);
        if (status == CA_OK)
            status =
                api_audit(import->tx, import->call, "group.add_member",
                          json_pack("{s:s}", "user", user->name), "group:%s", group);
        if (status != CA_OK)
            return status;
        *ret_any = true;
    }
    return CA_OK;
}

static void
user_clear_auto(struct user *user)
{
    user_clear(user);
}

static enum ca_status
decode_fail(const struct field_errors *errors, enum ca_status status)
{
    if (status != CA_MALFORMED || errors->count == 0)
        return status;
    const char *pointer = errors->items[0].pointer;
    return ca_fail(CA_MALFORMED, "%s: %s", *pointer ? pointer + 1 : "line",
                   errors->items[0].reason);
}

static enum ca_status
line_create(const struct import *import, const struct csv_record *record,
            enum line_result *ret_result)
{
    bool any = false;
    struct field_errors errors = { 0 };
    CA_AUTO(user_clear) struct user user = { 0 };
    CA_AUTO(json_decref) json_t *body = json_object();
    if (!body || !body_fill(import, record, body))
        return ca_fail(CA_MALFORMED, "a field is no UTF-8 text");
    enum ca_status status =
        decode_fail(&errors, field_decode(user_fields, body, &user, &errors));
    if (status == CA_OK)
        status = user_insert(import->tx, &user);
    if (status == CA_OK)
        status = groups_add(import, record, &user, &any);
    *ret_result = LINE_CREATED;
    return status == CA_OK ? api_audit(import->tx, import->call, "user.create", NULL,
                                       "user:%s", user.name)
                           : status;
}

static enum ca_status
line_change(const struct import *import, const struct csv_record *record,
            const struct user *present, enum line_result *ret_result)
{
    bool any = false;
    struct field_errors errors = { 0 };
    CA_AUTO(user_clear) struct user user = { 0 };
    CA_AUTO(json_decref) json_t *before = field_encode(user_fields, present);
    CA_AUTO(json_decref) json_t *body = json_deep_copy(before);
    if (present->source != USER_LOCAL)
        return ca_fail(CA_FORBIDDEN, "is a user of the directory");
    if (!body || !body_fill(import, record, body))
        return ca_fail(CA_MALFORMED, "a field is no UTF-8 text");
    enum ca_status status = decode_fail(
        &errors, field_decode_over(user_fields, body, present, &user, &errors));
    if (status != CA_OK)
        return status;
    bool is_same = json_equal(before, body);
    user.stamp.version = present->stamp.version;
    if (!is_same)
        status = user_update(import->tx, &user);
    if (status == CA_OK)
        status = groups_add(import, record, present, &any);
    if (status != CA_OK)
        return status;
    *ret_result = is_same && !any ? LINE_UNCHANGED : LINE_CHANGED;
    return is_same && !any ? CA_OK
                           : api_audit(import->tx, import->call, "user.update", NULL,
                                       "user:%s", user.name);
}

static enum ca_status
line_run(struct import *import, const struct csv_record *record,
         enum line_result *ret_result)
{
    CA_AUTO(user_clear) struct user present = { 0 };
    if (record->count != import->count)
        return ca_fail(CA_MALFORMED, "has %zu fields, the first line has %zu",
                       record->count, import->count);
    const char *name = value_of(import, record, "name");
    if (json_object_get(import->names, name))
        return ca_fail(CA_MALFORMED, "a line before has the same name");
    if (json_object_set_new(import->names, name, json_true()) != 0)
        return ca_fail(CA_MALFORMED, "a field is no UTF-8 text");
    enum ca_status status = user_load(import->tx, name, &present);
    if (status == CA_NOT_FOUND)
        return line_create(import, record, ret_result);
    return status == CA_OK ? line_change(import, record, &present, ret_result) : status;
}

/* A line that is wrong is told, the others are looked at all the same; what the store
 * could not do ends it. */
static enum ca_status
line_judge(struct import *import, const struct csv_record *record)
{
    enum line_result result = LINE_REFUSED;
    status_forget();
    enum ca_status status = line_run(import, record, &result);
    if (status == CA_UNAVAILABLE || status == CA_INTERNAL)
        return status;
    if (status != CA_OK) {
        char pointer[32];
        result = LINE_REFUSED;
        snprintf(pointer, sizeof pointer, "/csv/%zu", record->line);
        field_error_add(&import->call->errors, pointer, "%s", status_message());
    }
    import->results[result]++;
    const char *name =
        record->count == import->count ? value_of(import, record, "name") : NULL;
    json_t *item = json_pack("{s:I, s:s?, s:s, s:s?}", "line", (json_int_t)record->line,
                             "name", name, "result", result_words[result], "reason",
                             result == LINE_REFUSED ? status_message() : NULL);
    if (!item) /* the name is no UTF-8 */
        item =
            json_pack("{s:I, s:n, s:s, s:s}", "line", (json_int_t)record->line, "name",
                      "result", result_words[result], "reason", status_message());
    return json_array_append_new(import->items, item) == 0
               ? CA_OK
               : ca_fail(CA_INTERNAL, "no memory for the lines of a file");
}

static enum ca_status
answer(struct import *import)
{
    struct api_call *call = import->call;
    json_t *counts = json_object();
    for (size_t i = 0; i < LINE_RESULTS; i++)
        json_object_set_new(counts, result_words[i], json_integer(import->results[i]));
    if (import->results[LINE_REFUSED] > 0 && !call->dry_run) {
        json_decref(counts);
        return ca_fail(CA_MALFORMED,
                       "%lld of %zu lines are refused: nothing was changed",
                       (long long)import->results[LINE_REFUSED], import->lines);
    }
    call->errors.count = 0;
    return api_answer_json(call, json_pack("{s:b, s:o, s:O}", "dry_run", call->dry_run,
                                           "counts", counts, "items", import->items));
}

static enum ca_status
import_lines(struct import *import, struct csv *csv)
{
    struct csv_record record;
    enum ca_status status = header_read(import, csv);
    while (status == CA_OK && (status = csv_next(csv, &record)) == CA_OK) {
        status = ++import->lines > LINES_MAX
                     ? ca_fail(CA_LIMIT, "the file has more than %d lines", LINES_MAX)
                     : line_judge(import, &record);
    }
    if (status == CA_LIMIT)
        import->call->answer.status = 413; /* no better later, unlike 429 */
    return status == CA_NOT_FOUND ? answer(import) : status;
}

static enum ca_status
import_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    const struct import_body *body = arg;
    struct csv *csv = NULL;
    CA_AUTO(import_clear)
    struct import import = {
        .tx = tx, .call = call, .names = json_object(), .items = json_array()
    };
    if (!import.names || !import.items)
        return ca_fail(CA_INTERNAL, "no memory for an import");
    enum ca_status status = csv_open(body->csv, strlen(body->csv), &csv);
    if (status == CA_OK)
        status = import_lines(&import, csv);
    csv_close(csv);
    return status;
}

static enum ca_status
import(struct api_call *call)
{
    struct import_body body = { 0 };
    enum ca_status status = api_decode(call, body_fields, &body);
    if (status == CA_OK)
        status = api_write(call, import_step, &body);
    field_clear(body_fields, &body);
    return status;
}

static const struct field *
body_table(void)
{
    return body_fields;
}

static const struct field *
answer_table(void)
{
    return answer_fields;
}

static const struct api_route routes[] = {
    { "POST", "/users/import", API_ADMINISTRATOR | API_OPERATOR,
      API_CHANGE | API_REPEAT, NULL,
      "Import users with groups from CSV, all lines or none; a dry run tells of each",
      body_table, answer_table, NULL, .success = 200, .handle = import },
    { .method = NULL },
};
const struct api_resource api_user_import = { "user_import", routes, NULL };
