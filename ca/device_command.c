/* The queue of management commands: claimed by one session, finished once. */
#include "device_command.h"
#include "auto.h"
#include "clock.h"
#include "query.h"
#include <stdlib.h>
#include <string.h>

static const char *const kind_words[] = { "get",  "add",    "replace",  "delete",
                                          "exec", "atomic", "sequence", NULL };
static const char *const state_words[] = { "queued", "sent", "done", "failed", NULL };

static const struct field member_fields[] = {
    { FIELD(command_member, kind), .type = FIELD_CHOICE, .flags = FIELD_REQUIRED,
      .words = kind_words, .help = "What to do; neither atomic nor sequence." },
    { FIELD(command_member, target), .type = FIELD_TEXT, .flags = FIELD_REQUIRED,
      .min = 1, .max = OMADM_URI_MAX, .help = "The node: ./Vendor/MSFT/..." },
    { FIELD(command_member, data), .type = FIELD_TEXT, .flags = FIELD_LINES,
      .max = OMADM_DATA_MAX, .help = "The value." },
    { FIELD(command_member, type), .type = FIELD_TEXT, .max = 128,
      .help = "Media type of the value." },
    { FIELD(command_member, format), .type = FIELD_CHOICE, .words = omadm_format_words,
      .initial = "\"chr\"", .help = "Format of the value." },
    FIELD_END,
};

const struct field device_command_fields[] = {
    { FIELD(device_command, id), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .max = 36, .help = "UUID." },
    { FIELD(device_command, device), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .max = 36, .help = "The device it is for." },
    { FIELD(device_command, number), .type = FIELD_INTEGER, .flags = FIELD_READ_ONLY,
      .help = "Its place in the device's queue, from 1." },
    { FIELD(device_command, kind), .type = FIELD_CHOICE, .flags = FIELD_REQUIRED,
      .words = kind_words,
      .help = "What to do. An atomic succeeds or fails as a whole, a sequence goes in "
              "order; both have members in place of a target." },
    { FIELD(device_command, target), .type = FIELD_TEXT, .max = OMADM_URI_MAX,
      .help = "The node: ./Vendor/MSFT/..., ./Device/... or ./User/..." },
    { FIELD(device_command, data), .type = FIELD_TEXT, .flags = FIELD_LINES,
      .max = OMADM_DATA_MAX, .help = "The value to add, replace or execute with." },
    { FIELD(device_command, type), .type = FIELD_TEXT, .max = 128,
      .help = "Media type of the value." },
    { FIELD(device_command, format), .type = FIELD_CHOICE, .words = omadm_format_words,
      .initial = "\"chr\"", .help = "Format of the value." },
    { FIELD(device_command, members), .type = FIELD_OBJECTS,
      .count_max = COMMAND_MEMBERS_MAX, .fields = member_fields,
      .item_size = sizeof(struct command_member), .initial = "[]",
      .help = "The commands of an atomic or sequence." },
    { FIELD(device_command, state), .type = FIELD_CHOICE, .flags = FIELD_READ_ONLY,
      .words = state_words, .help = "Sent while the device has not answered." },
    { FIELD(device_command, result), .type = FIELD_JSON, .flags = FIELD_READ_ONLY,
      .help = "The device's answer: its status, the items of a get, and the statuses "
              "of members." },
    { FIELD(device_command, attempts), .type = FIELD_INTEGER, .flags = FIELD_READ_ONLY,
      .help = "How often it was sent; three times unanswered is a failure." },
    { FIELD(device_command, sent), .type = FIELD_TIME, .flags = FIELD_READ_ONLY,
      .help = "When it was sent last." },
    { FIELD(device_command, finished), .type = FIELD_TIME, .flags = FIELD_READ_ONLY,
      .help = "When the device answered." },
    { FIELD(device_command, created_by), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "The administrator who queued it." },
    RECORD_STAMP_FIELDS(device_command),
    FIELD_END,
};

/* A row holds what to do as JSON text, so that a new member needs no migration. */
struct command_row {
    char *id, *device;
    int64_t number;
    json_t *content;
    int state;
    json_t *result;
    int64_t attempts, sent, finished;
    char *created_by;
    struct record_stamp stamp;
};

#define COMMAND_COLUMNS                                                                \
    "id, device_id, number, content, state, result, attempts, sent, finished, "        \
    "created_by, created, updated, version"

static const struct record_column row_columns[] = {
    RECORD_COLUMN(command_row, TEXT, id),
    RECORD_COLUMN(command_row, TEXT, device),
    RECORD_COLUMN(command_row, INTEGER, number),
    RECORD_COLUMN(command_row, JSON, content),
    RECORD_COLUMN(command_row, CHOICE, state),
    RECORD_COLUMN(command_row, JSON, result),
    RECORD_COLUMN(command_row, INTEGER, attempts),
    RECORD_COLUMN(command_row, INTEGER, sent),
    RECORD_COLUMN(command_row, INTEGER, finished),
    RECORD_COLUMN(command_row, TEXT, created_by),
    RECORD_STAMP_COLUMNS(command_row),
    { .type = RECORD_COLUMN_END },
};

static const struct record_select row_select = {
    row_columns, sizeof(struct command_row),
    "SELECT " COMMAND_COLUMNS " FROM device_command WHERE device_id = $1 AND id = $2"
};

static bool
is_group(int kind)
{
    return kind == COMMAND_ATOMIC || kind == COMMAND_SEQUENCE;
}

/* What a value needs or must not have; NULL: nothing to say. */
static const char *
data_reason(int kind, int format, const char *data)
{
    bool is_bare = format == OMADM_NODE || format == OMADM_NULL;
    if ((kind == COMMAND_GET || kind == COMMAND_DELETE) && data)
        return "is nothing that a get or delete has";
    if ((kind == COMMAND_ADD || kind == COMMAND_REPLACE) && !data && !is_bare)
        return "must be there, except for format node or null";
    if (is_bare && data && *data)
        return "must be empty with format node or null";
    return NULL;
}

static void
check_members(const struct device_command *command, struct field_errors *errors)
{
    const struct command_member *items = command->members.items;
    char at[64];
    size_t size = 0;
    for (size_t i = 0; i < command->members.count; i++) {
        size += strlen(items[i].target) + (items[i].data ? strlen(items[i].data) : 0);
        snprintf(at, sizeof at, "/members/%zu/kind", i);
        if (is_group(items[i].kind))
            field_error_add(errors, at, "must not be a group within a group");
        if (command->kind == COMMAND_ATOMIC && items[i].kind == COMMAND_GET)
            field_error_add(errors, at, "must not be get within an atomic");
        snprintf(at, sizeof at, "/members/%zu/target", i);
        if (!omadm_uri_is_valid(items[i].target))
            field_error_add(errors, at, "must be a node: ./NAME/NAME, escaped");
        for (size_t k = 0; command->kind == COMMAND_ATOMIC && k < i; k++)
            if (items[k].kind == COMMAND_ADD && items[i].kind == COMMAND_REPLACE &&
                strcmp(items[k].target, items[i].target) == 0)
                field_error_add(errors, at, "is added by this atomic already");
        snprintf(at, sizeof at, "/members/%zu/data", i);
        const char *reason = data_reason(items[i].kind, items[i].format, items[i].data);
        if (reason)
            field_error_add(errors, at, "%s", reason);
    }
    if (size > OMADM_DATA_MAX)
        field_error_add(errors, "/members", "must fit into one message: %d octets",
                        OMADM_DATA_MAX);
}

enum ca_status
device_command_check(const struct device_command *command, struct field_errors *errors)
{
    struct field_errors found = { 0 };
    if (is_group(command->kind)) {
        if (command->members.count == 0)
            field_error_add(&found, "/members", "must not be empty");
        if (command->target)
            field_error_add(&found, "/target", "is nothing that a group has");
        if (command->data)
            field_error_add(&found, "/data", "is nothing that a group has");
        check_members(command, &found);
    } else {
        if (!command->target || !omadm_uri_is_valid(command->target))
            field_error_add(&found, "/target", "must be a node: ./NAME/NAME, escaped");
        if (command->members.count > 0)
            field_error_add(&found, "/members", "is for an atomic or a sequence alone");
        const char *reason = data_reason(command->kind, command->format, command->data);
        if (reason)
            field_error_add(&found, "/data", "%s", reason);
    }
    if (found.count == 0)
        return CA_OK;
    for (size_t i = 0; errors && i < found.count; i++)
        field_error_add(errors, found.items[i].pointer, "%s", found.items[i].reason);
    return ca_fail(CA_MALFORMED, "%s: %s", found.items[0].pointer + 1,
                   found.items[0].reason);
}

/* The members that a client gives, as the row's JSON text; free() it. */
static char *
content_format(const struct device_command *command)
{
    static const char *const names[] = { "kind", "target", "data",
                                         "type", "format", "members" };
    CA_AUTO(json_decref) json_t *all = field_encode(device_command_fields, command);
    CA_AUTO(json_decref) json_t *content = json_object();
    if (!all || !content)
        return NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        json_t *value = json_object_get(all, names[i]);
        if (!json_is_null(value) && json_object_set(content, names[i], value) != 0)
            return NULL;
    }
    return record_json_format(content);
}

static enum ca_status
row_decode(const struct command_row *row, struct device_command *ret_command)
{
    struct device_command command = { 0 };
    enum ca_status status =
        field_decode(device_command_fields, row->content, &command, NULL);
    if (status != CA_OK)
        return ca_fail(CA_INTERNAL, "command '%s' of the store: %s", row->id,
                       status_message());
    command.id = strdup(row->id);
    command.device = strdup(row->device);
    command.created_by = row->created_by ? strdup(row->created_by) : NULL;
    command.number = row->number;
    command.state = row->state;
    command.result = json_incref(row->result);
    command.attempts = row->attempts;
    command.sent = row->sent;
    command.finished = row->finished;
    command.stamp = row->stamp;
    if (!command.id || !command.device || (row->created_by && !command.created_by)) {
        device_command_clear(&command);
        return ca_fail(CA_INTERNAL, "no memory for a command");
    }
    *ret_command = command;
    return CA_OK;
}

/* Why the conditional INSERT added nothing. */
static enum ca_status
refuse_insert(struct store_tx *tx, const char *device)
{
    int64_t state = 0, rows = 0;
    enum ca_status status =
        store_run(tx, "SELECT state FROM device WHERE id = $1",
                  STORE_VALUES(store_text(device)), row_take_integer, &state, &rows);
    if (status != CA_OK)
        return status;
    if (rows == 0)
        return ca_fail(CA_NOT_FOUND, "no device '%s'", device);
    if (state > 1)
        return ca_fail(CA_FORBIDDEN, "device '%s' is disabled or unenrolled", device);
    return ca_fail(CA_LIMIT, "%d commands wait for device '%s'", COMMAND_QUEUE_MAX,
                   device);
}

struct inserted {
    int64_t number;
    struct record_stamp stamp;
};

static enum ca_status
row_take_inserted(const struct store_row *row, void *arg)
{
    struct inserted *inserted = arg;
    inserted->number = store_row_integer(row, 0);
    inserted->stamp.created = inserted->stamp.updated = store_row_integer(row, 1);
    inserted->stamp.version = 1;
    return CA_OK;
}

enum ca_status
device_command_insert(struct store_tx *tx, struct device_command *command)
{
    char id[37];
    int64_t rows = 0;
    struct inserted inserted = { 0 };
    enum ca_status status = random_uuid(id);
    if (status != CA_OK)
        return status;
    CA_AUTO(free) char *content = content_format(command);
    CA_AUTO(free) char *copy = strdup(id);
    if (!content || !copy)
        return ca_fail(CA_INTERNAL, "no memory for a command");
    status = store_run(
        tx,
        "INSERT INTO device_command (" COMMAND_COLUMNS ", session, lease) "
        "SELECT $1, d.id, COALESCE((SELECT MAX(number) FROM device_command "
        "WHERE device_id = $2), 0) + 1, $3, 0, NULL, 0, 0, 0, $4, $5, $5, 1, NULL, 0 "
        "FROM device d WHERE d.id = $2 AND d.state <= 1 AND "
        "(SELECT COUNT(*) FROM device_command WHERE device_id = $2 AND state < 2) < $6 "
        "RETURNING number, created",
        STORE_VALUES(store_text(id), store_text(command->device), store_text(content),
                     store_text(command->created_by), store_integer(clock_now()),
                     store_integer(COMMAND_QUEUE_MAX)),
        row_take_inserted, &inserted, &rows);
    if (status != CA_OK)
        return status;
    if (rows == 0)
        return refuse_insert(tx, command->device);
    free(command->id);
    command->id = CA_STEAL(copy);
    command->number = inserted.number;
    command->stamp = inserted.stamp;
    command->state = COMMAND_QUEUED;
    return CA_OK;
}

enum ca_status
device_command_load(struct store_tx *tx, const char *device, const char *id,
                    struct device_command *ret_command)
{
    struct command_row row = { 0 };
    enum ca_status status = record_load(
        tx, &row_select, STORE_VALUES(store_text(device), store_text(id)), &row);
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_NOT_FOUND, "device '%s' has no command '%s'", device, id);
    if (status != CA_OK)
        return status;
    status = row_decode(&row, ret_command);
    record_clear(row_columns, &row);
    return status;
}

struct command_visit {
    record_visit visit;
    void *arg;
};

static enum ca_status
row_visit(const void *record, void *arg)
{
    const struct command_visit *list = arg;
    struct device_command command = { 0 };
    enum ca_status status = row_decode(record, &command);
    if (status != CA_OK)
        return status;
    status = list->visit(&command, list->arg);
    device_command_clear(&command);
    return status;
}

enum ca_status
device_command_list(struct store_tx *tx, const char *device, const char *state,
                    const struct record_page *page, record_visit visit, void *arg)
{
    static const struct record_select select = {
        row_columns, sizeof(struct command_row),
        "SELECT " COMMAND_COLUMNS " FROM device_command WHERE device_id = $1 "
        "AND number > $2 AND ($3 < 0 OR state = $3) ORDER BY number LIMIT $4"
    };
    struct command_visit list = { visit, arg };
    int64_t after = 0;
    int wanted = -1;
    if (page->after) {
        char *end;
        after = strtoll(page->after, &end, 10);
        if (*end || end == page->after)
            return ca_fail(CA_MALFORMED, "'%s' is not a number", page->after);
    }
    enum ca_status status =
        state ? word_parse(state_words, "state of a command", state, &wanted) : CA_OK;
    if (status != CA_OK)
        return status;
    return record_list(tx, &select,
                       STORE_VALUES(store_text(device), store_integer(after),
                                    store_integer(wanted),
                                    store_integer(record_page_limit(page))),
                       row_visit, &list);
}

enum ca_status
device_command_withdraw(struct store_tx *tx, const char *device, const char *id)
{
    int64_t rows = 0;
    enum ca_status status =
        store_run(tx,
                  "DELETE FROM device_command WHERE device_id = $1 AND id = $2 "
                  "AND state = 0 RETURNING id",
                  STORE_VALUES(store_text(device), store_text(id)), NULL, NULL, &rows);
    if (status != CA_OK || rows > 0)
        return status;
    struct device_command command = { 0 };
    status = device_command_load(tx, device, id, &command);
    device_command_clear(&command);
    return status != CA_OK ? status
                           : ca_fail(CA_CONFLICT, "command '%s' was sent already", id);
}

enum ca_status
device_command_claim(struct store_tx *tx, const char *device, const char *session,
                     int64_t limit, record_visit visit, void *arg)
{
    static const struct record_select select = {
        row_columns, sizeof(struct command_row),
        "SELECT " COMMAND_COLUMNS " FROM device_command WHERE device_id = $1 "
        "AND session = $2 AND claim = $3 AND state = 1 ORDER BY number"
    };
    char claim[37];
    int64_t now = clock_now();
    struct command_visit list = { visit, arg };
    enum ca_status status = random_uuid(claim);
    if (status != CA_OK)
        return status;
    status = store_run(
        tx,
        "UPDATE device_command SET state = 3, finished = $2, updated = $2, "
        "version = version + 1, session = NULL, result = $4 "
        "WHERE device_id = $1 AND state IN (0, 1) AND lease <= $2 AND attempts >= $3",
        STORE_VALUES(store_text(device), store_integer(now),
                     store_integer(COMMAND_ATTEMPTS_MAX),
                     store_text("{\"reason\":\"the device never answered\"}")),
        NULL, NULL, NULL);
    if (status == CA_OK)
        status = store_run(
            tx,
            "UPDATE device_command SET state = 1, session = $2, claim = $3, "
            "lease = $4, sent = $5, attempts = attempts + 1, updated = $5, "
            "version = version + 1 WHERE state IN (0, 1) AND lease <= $5 AND id IN "
            "(SELECT id FROM (SELECT id, number, SUM(LENGTH(content)) OVER "
            "(ORDER BY number) - LENGTH(content) AS before FROM device_command "
            "WHERE device_id = $1 AND state IN (0, 1) AND lease <= $5) AS waiting "
            "WHERE before < $7 ORDER BY number LIMIT $6)",
            STORE_VALUES(store_text(device), store_text(session), store_text(claim),
                         store_integer(now + COMMAND_LEASE_SECONDS), store_integer(now),
                         store_integer(limit), store_integer(COMMAND_CLAIM_MAX)),
            NULL, NULL, NULL);
    if (status != CA_OK)
        return status;
    return record_list(
        tx, &select,
        STORE_VALUES(store_text(device), store_text(session), store_text(claim)),
        row_visit, &list);
}

enum ca_status
device_command_finish(struct store_tx *tx, const char *device, const char *id,
                      const char *session, bool failed, const json_t *result)
{
    CA_AUTO(free) char *text = record_json_format(result);
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for a command's result");
    enum ca_status status = record_change(
        tx,
        "UPDATE device_command SET state = $4, result = $5, finished = $6, "
        "updated = $6, version = version + 1, session = NULL, claim = NULL, lease = 0 "
        "WHERE device_id = $1 AND id = $2 AND session = $3 AND state = 1 RETURNING id",
        STORE_VALUES(store_text(device), store_text(id), store_text(session),
                     store_integer(failed ? COMMAND_FAILED : COMMAND_DONE),
                     store_text(text), store_integer(clock_now())));
    return status == CA_CONFLICT
               ? ca_fail(CA_CONFLICT, "command '%s' is not this session's", id)
               : status;
}

enum ca_status
device_command_release(struct store_tx *tx, const char *device, const char *session)
{
    return store_run(tx,
                     "UPDATE device_command SET state = 0, session = NULL, "
                     "claim = NULL, lease = 0, updated = $3, version = version + 1 "
                     "WHERE device_id = $1 AND session = $2 AND state = 1",
                     STORE_VALUES(store_text(device), store_text(session),
                                  store_integer(clock_now())),
                     NULL, NULL, NULL);
}

enum ca_status
device_command_expire(struct store_tx *tx, int64_t before, int64_t limit)
{
    return store_run(tx,
                     "DELETE FROM device_command WHERE id IN (SELECT id FROM "
                     "device_command WHERE state >= 2 AND finished < $1 LIMIT $2)",
                     STORE_VALUES(store_integer(before), store_integer(limit)), NULL,
                     NULL, NULL);
}

void
device_command_clear(struct device_command *command)
{
    field_clear(device_command_fields, command);
}
