/* The audit log as it is listed: entries are read from the very octets that were
 * hashed, not from the columns beside them. */
#include "audit.h"
#include "auto.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define AUDIT_FIELD(member, kind, words)                                               \
    {                                                                                  \
        FIELD(audit_row, member), .type = kind, .flags = FIELD_READ_ONLY,              \
                                  .help = words                                        \
    }

const struct field audit_row_fields[] = {
    AUDIT_FIELD(number, FIELD_INTEGER,
                "Leaf number within the instance's log, from 0; -1 for refusals of a "
                "minute that still counts."),
    AUDIT_FIELD(time, FIELD_TIME, "When it happened."),
    AUDIT_FIELD(count, FIELD_INTEGER, "How many alike the entry stands for."),
    AUDIT_FIELD(instance, FIELD_TEXT, "Whose log it is in."),
    AUDIT_FIELD(action, FIELD_TEXT, "What was done or refused."),
    AUDIT_FIELD(actor, FIELD_TEXT, "Who did it."),
    AUDIT_FIELD(object, FIELD_TEXT, "What it was done to."),
    AUDIT_FIELD(protocol, FIELD_TEXT, "Over which protocol."),
    AUDIT_FIELD(request, FIELD_TEXT, "Request id, as in the log lines."),
    AUDIT_FIELD(outcome, FIELD_TEXT, "ok, or a status word."),
    AUDIT_FIELD(detail, FIELD_JSON, "What else belongs to it, without secrets."),
    AUDIT_FIELD(leaf, FIELD_TEXT, "SHA-256 of the Merkle leaf, hex."),
    FIELD_END,
};

static const struct record_column audit_row_columns[] = {
    RECORD_COLUMN(audit_row, INTEGER, number),
    RECORD_COLUMN(audit_row, INTEGER, time),
    RECORD_COLUMN(audit_row, INTEGER, count),
    RECORD_COLUMN(audit_row, TEXT, instance),
    RECORD_COLUMN(audit_row, TEXT, action),
    RECORD_COLUMN(audit_row, TEXT, actor),
    RECORD_COLUMN(audit_row, TEXT, object),
    RECORD_COLUMN(audit_row, TEXT, protocol),
    RECORD_COLUMN(audit_row, TEXT, request),
    RECORD_COLUMN(audit_row, TEXT, outcome),
    RECORD_COLUMN(audit_row, JSON, detail),
    RECORD_COLUMN(audit_row, TEXT, leaf),
    { .type = RECORD_COLUMN_END },
};

static bool
text_take(const json_t *entry, const char *name, char **ret_text)
{
    const char *text = json_string_value(json_object_get(entry, name));
    *ret_text = text ? strdup(text) : NULL;
    return !text || *ret_text;
}

/* A row of (entry, leaf). */
static enum ca_status
entry_read(const struct store_row *row, struct audit_row *ret_row)
{
    json_error_t error;
    const char *text = store_row_text(row, 0);
    CA_AUTO(json_decref) json_t *entry = text ? json_loads(text, 0, &error) : NULL;
    const char *when = json_string_value(json_object_get(entry, "time"));
    if (!when || !time_parse(when, &ret_row->time))
        return ca_fail(CA_INTERNAL, "the audit log holds an entry that is none");
    const json_t *count = json_object_get(entry, "count");
    ret_row->number = json_integer_value(json_object_get(entry, "number"));
    ret_row->count = count ? json_integer_value(count) : 1;
    ret_row->detail = json_incref(json_object_get(entry, "detail"));
    size_t size = 0;
    const void *hash = store_row_blob(row, 1, &size);
    ret_row->leaf = malloc(2 * size + 1);
    bool is_good = text_take(entry, "instance", &ret_row->instance) &&
                   text_take(entry, "action", &ret_row->action) &&
                   text_take(entry, "actor", &ret_row->actor) &&
                   text_take(entry, "object", &ret_row->object) &&
                   text_take(entry, "protocol", &ret_row->protocol) &&
                   text_take(entry, "request", &ret_row->request) &&
                   text_take(entry, "outcome", &ret_row->outcome);
    if (!is_good || !ret_row->leaf)
        return ca_fail(CA_INTERNAL, "no memory for an audit entry");
    hex_format(hash, size, ret_row->leaf);
    return CA_OK;
}

struct listing {
    record_visit visit;
    void *arg;
    const char *instance;
};

static enum ca_status
entry_visit(const struct store_row *row, void *arg)
{
    const struct listing *listing = arg;
    struct audit_row entry = { 0 };
    enum ca_status status = entry_read(row, &entry);
    if (status == CA_OK)
        status = listing->visit(&entry, listing->arg);
    record_clear(audit_row_columns, &entry);
    return status;
}

struct question {
    const struct audit_filter *filter;
    const char *instance;
    int64_t until, below, limit;
};

#define ENTRIES_BELOW                                                                  \
    "SELECT entry, leaf FROM audit_entry WHERE instance = $1 AND number < $2"          \
    " AND time >= $3 AND time < $4"
#define ENTRIES_OF " AND ($6 IS NULL OR action = $6) AND ($7 IS NULL OR actor = $7)"
#define NEWEST_FIRST " ORDER BY number DESC LIMIT $5"

/* Two texts: an object's entries are found by its index. */
static enum ca_status
entries_visit(struct store_tx *tx, const struct question *question,
              struct listing *listing)
{
    static const char any[] = ENTRIES_BELOW ENTRIES_OF NEWEST_FIRST;
    static const char of_object[] =
        ENTRIES_BELOW " AND object = $8" ENTRIES_OF NEWEST_FIRST;
    const struct audit_filter *filter = question->filter;
    const struct store_value values[] = {
        store_text(question->instance), store_integer(question->below),
        store_integer(filter->since),   store_integer(question->until),
        store_integer(question->limit), store_text(filter->action),
        store_text(filter->actor),      store_text(filter->object),
    };
    size_t n = sizeof values / sizeof values[0];
    return store_run(tx, filter->object ? of_object : any, values,
                     filter->object ? n : n - 1, entry_visit, listing, NULL);
}

/* A row of (time, count, actor, protocol, reason), told as the leaf that it will be. */
static enum ca_status
count_visit(const struct store_row *row, void *arg)
{
    const struct listing *listing = arg;
    struct audit_row entry = { .number = -1,
                               .time = store_row_integer(row, 0),
                               .count = store_row_integer(row, 1) };
    const char *actor = store_row_text(row, 2), *protocol = store_row_text(row, 3);
    entry.instance = strdup(listing->instance);
    entry.action = strdup(AUDIT_REFUSALS);
    entry.actor = actor ? strdup(actor) : NULL;
    entry.protocol = protocol ? strdup(protocol) : NULL;
    entry.outcome = strdup(ca_status_name(CA_UNAUTHENTICATED));
    entry.detail = json_pack("{s:s?}", "reason", store_row_text(row, 4));
    bool is_good = entry.instance && entry.action && entry.actor && entry.protocol &&
                   entry.outcome && entry.detail;
    enum ca_status status = is_good ? listing->visit(&entry, listing->arg)
                                    : ca_fail(CA_INTERNAL, "no memory for a count");
    record_clear(audit_row_columns, &entry);
    return status;
}

/* The counts of minutes that are no leaves yet. */
static enum ca_status
counts_visit(struct store_tx *tx, const struct question *question,
             struct listing *listing, int64_t *ret_count)
{
    const struct audit_filter *filter = question->filter;
    *ret_count = 0;
    if (filter->object ||
        (filter->action && strcmp(filter->action, AUDIT_REFUSALS) != 0))
        return CA_OK;
    return store_run(
        tx,
        "SELECT minute * 60, count, 'peer:' || source, protocol, reason"
        " FROM audit_refusal WHERE instance = $1 AND minute >= $2"
        " AND minute < $3 AND ($4 IS NULL OR 'peer:' || source = $4)"
        " ORDER BY minute DESC, count DESC, protocol, source, reason LIMIT $5",
        STORE_VALUES(store_text(question->instance), store_integer(filter->since / 60),
                     store_integer((question->until - 1) / 60 + 1),
                     store_text(filter->actor), store_integer(question->limit)),
        count_visit, listing, ret_count);
}

/* "number" as the API's cursor has it. */
static bool
number_parse(const char *text, int64_t *ret_number)
{
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < -1)
        return false;
    *ret_number = number;
    return true;
}

enum ca_status
audit_list(struct store_tx *tx, const struct audit_filter *filter,
           const struct record_page *page, record_visit visit, void *arg)
{
    struct question question = {
        .filter = filter,
        .instance = filter->instance ? filter->instance : audit_instance(),
        .until = filter->until ? filter->until : INT64_MAX,
        .below = INT64_MAX,
        .limit = record_page_limit(page),
    };
    if (page->after && !number_parse(page->after, &question.below))
        return ca_fail(CA_MALFORMED, "'%s' is not the number of an audit entry",
                       page->after);
    if (question.below == -1)
        question.below = INT64_MAX;
    struct listing listing = { visit, arg, question.instance };
    int64_t counted = 0;
    enum ca_status status = CA_OK;
    if (!page->after)
        status = counts_visit(tx, &question, &listing, &counted);
    question.limit -= counted;
    if (status != CA_OK || question.limit == 0)
        return status;
    return entries_visit(tx, &question, &listing);
}

enum ca_status
audit_after(struct store_tx *tx, int64_t from, int64_t limit, record_visit visit,
            void *arg)
{
    struct listing listing = { .visit = visit,
                               .arg = arg,
                               .instance = audit_instance() };
    return store_run(tx,
                     "SELECT entry, leaf FROM audit_entry WHERE instance = $1 "
                     "AND number >= $2 ORDER BY number LIMIT $3",
                     STORE_VALUES(store_text(listing.instance), store_integer(from),
                                  store_integer(limit)),
                     entry_visit, &listing, NULL);
}

static enum ca_status
size_read(const struct store_row *row, void *arg)
{
    *(int64_t *)arg = store_row_integer(row, 0);
    return CA_OK;
}

enum ca_status
audit_size(struct store_tx *tx, int64_t *ret_size)
{
    *ret_size = 0;
    return store_run(tx, "SELECT size FROM audit_log WHERE instance = $1",
                     STORE_VALUES(store_text(audit_instance())), size_read, ret_size,
                     NULL);
}
