/* Mail templates in the store, over those of the program (letter_text.c). */
#include "letter.h"
#include "auto.h"
#include "clock.h"
#include "query.h"
#include "template.h"
#include <stdio.h>
#include <string.h>

#define BUILT_IN_VERSION 1

const struct field letter_fields[] = {
    { FIELD(letter, name), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "Which mail it is." },
    { FIELD(letter, subject), .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .min = 1,
      .max = LETTER_SUBJECT_MAX, .help = "Subject; without secrets." },
    { FIELD(letter, text), .type = FIELD_TEXT, .flags = FIELD_REQUIRED | FIELD_LINES,
      .min = 1, .max = LETTER_TEXT_MAX, .help = "The mail as plain text." },
    { FIELD(letter, html), .type = FIELD_TEXT, .flags = FIELD_LINES, .min = 1,
      .max = LETTER_TEXT_MAX,
      .help = "The same as HTML; values are escaped. Null: plain text alone." },
    { FIELD(letter, is_built_in), .type = FIELD_BOOLEAN, .flags = FIELD_READ_ONLY,
      .help = "It is the program's own text." },
    { FIELD(letter, about), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "When it is sent." },
    { FIELD(letter, variables), .type = FIELD_TEXTS, .flags = FIELD_READ_ONLY,
      .help = "Variables that it may use." },
    RECORD_STAMP_FIELDS(letter),
    FIELD_END,
};

#define LETTER_COLUMNS "name, subject, content, html, created, updated, version"

static const struct record_column letter_columns[] = {
    RECORD_COLUMN(letter, TEXT, name), RECORD_COLUMN(letter, TEXT, subject),
    RECORD_COLUMN(letter, TEXT, text), RECORD_COLUMN(letter, TEXT, html),
    RECORD_STAMP_COLUMNS(letter),      { .type = RECORD_COLUMN_END },
};

static const struct record_select letter_select = { letter_columns,
                                                    sizeof(struct letter),
                                                    "SELECT " LETTER_COLUMNS
                                                    " FROM letter WHERE name = $1" };

static const struct record_select versions_select = {
    letter_columns, sizeof(struct letter),
    "SELECT " LETTER_COLUMNS " FROM letter_version WHERE name = $1 "
    "AND version < $2 ORDER BY version DESC LIMIT $3"
};

void
letter_clear(struct letter *letter)
{
    field_clear(letter_fields, letter);
}

const struct letter_kind *
letter_kind_find(const char *name)
{
    for (const struct letter_kind *kind = letter_kinds; kind->name; kind++)
        if (strcmp(kind->name, name) == 0)
            return kind;
    return NULL;
}

/* ---- Rules ---- */

static const struct letter_variable *
variable_find(const struct letter_kind *kind, const char *name)
{
    for (const struct letter_variable *variable = kind->variables; variable->name;
         variable++)
        if (strcmp(variable->name, name) == 0)
            return variable;
    return NULL;
}

/* One text of a letter under the rules, and which wanted variable it has. */
struct part {
    const struct letter_kind *kind;
    enum letter_use most; /* PLAIN: a subject; SECRET: a text; PICTURE: HTML */
    bool has_wanted;
    const char *misplaced; /* a variable that may not stand here */
};

static bool
part_knows(const char *name, void *arg)
{
    struct part *part = arg;
    const struct letter_variable *variable = variable_find(part->kind, name);
    if (!variable)
        return false;
    if (variable->use > part->most)
        part->misplaced = variable->name;
    for (const char *const *wanted = part->kind->wants; wanted && *wanted; wanted++)
        part->has_wanted = part->has_wanted || strcmp(*wanted, name) == 0;
    return true;
}

static void
part_check(const struct letter_kind *kind, const char *pointer, const char *text,
           enum letter_use most, struct field_errors *errors)
{
    char reason[160];
    struct part part = { .kind = kind, .most = most };
    if (!template_check_letter(text, part_knows, &part, reason, sizeof reason))
        field_error_add(errors, pointer, "%s", reason);
    else if (part.misplaced)
        field_error_add(errors, pointer, "has {{%s}}, which may not stand there",
                        part.misplaced);
    else if (most != LETTER_PLAIN && kind->wants && !part.has_wanted)
        field_error_add(errors, pointer, "must have {{%s}}%s%s%s", kind->wants[0],
                        kind->wants[1] ? " or {{" : "",
                        kind->wants[1] ? kind->wants[1] : "",
                        kind->wants[1] ? "}}" : "");
}

void
letter_check(const struct letter *letter, struct field_errors *errors)
{
    const struct letter_kind *kind = letter_kind_find(letter->name);
    if (!kind) {
        field_error_add(errors, "/name", "is no mail that there is");
        return;
    }
    part_check(kind, "/subject", letter->subject, LETTER_PLAIN, errors);
    part_check(kind, "/text", letter->text, LETTER_SECRET, errors);
    if (letter->html)
        part_check(kind, "/html", letter->html, LETTER_PICTURE, errors);
}

/* ---- What the program knows of it ---- */

static bool
names_copy(const struct letter_kind *kind, struct field_list *ret_names)
{
    size_t count = 0;
    while (kind->variables[count].name)
        count++;
    char **names = calloc(count + 1, sizeof *names);
    if (!names)
        return false;
    *ret_names = (struct field_list){ names, count };
    for (size_t i = 0; i < count; i++)
        if (!(names[i] = strdup(kind->variables[i].name)))
            return false;
    return true;
}

static bool
built_in_copy(const struct letter_kind *kind, struct letter *letter)
{
    letter->is_built_in = true;
    letter->subject = strdup(kind->subject);
    letter->text = strdup(kind->text);
    letter->html = kind->html ? strdup(kind->html) : NULL;
    return letter->subject && letter->text && (!kind->html || letter->html);
}

/* Fills in what the row does not have; on failure it is clear. */
static enum ca_status
complete(const struct letter_kind *kind, struct letter *letter)
{
    if (!letter->name)
        letter->name = strdup(kind->name);
    letter->about = strdup(kind->about);
    if (letter->name && letter->about && names_copy(kind, &letter->variables) &&
        (letter->text || built_in_copy(kind, letter)))
        return CA_OK;
    letter_clear(letter);
    return ca_fail(CA_INTERNAL, "no memory for a mail template");
}

static enum ca_status
kind_of(const char *name, const struct letter_kind **ret_kind)
{
    *ret_kind = letter_kind_find(name);
    return *ret_kind ? CA_OK : ca_fail(CA_NOT_FOUND, "no mail template '%s'", name);
}

enum ca_status
letter_load(struct store_tx *tx, const char *name, struct letter *ret_letter)
{
    const struct letter_kind *kind = NULL;
    struct letter letter = { 0 };
    enum ca_status status = kind_of(name, &kind);
    if (status == CA_OK)
        status =
            record_load(tx, &letter_select, STORE_VALUES(store_text(name)), &letter);
    if (kind && status == CA_NOT_FOUND) {
        letter.stamp.version = BUILT_IN_VERSION;
        status = CA_OK;
    }
    if (status == CA_OK)
        status = complete(kind, &letter);
    if (status == CA_OK)
        *ret_letter = letter;
    return status;
}

/* ---- Changes ---- */

/* A letter that was never saved has no row, and version 1. */
static enum ca_status
row_save(struct store_tx *tx, const char *name, const struct letter *letter,
         struct record_stamp *stamp)
{
    int64_t rows = 0;
    enum ca_status status = store_run(
        tx,
        "INSERT INTO letter (" LETTER_COLUMNS ") SELECT $1, $2, $3, $4, $5, $5, "
        "CAST($6 AS BIGINT) + 1 WHERE CAST($6 AS BIGINT) = 1 "
        "OR EXISTS (SELECT 1 FROM letter WHERE name = $1) "
        "ON CONFLICT (name) DO UPDATE SET subject = $2, content = $3, html = $4, "
        "updated = $5, version = letter.version + 1 WHERE letter.version = $6 "
        "RETURNING created, updated, version",
        STORE_VALUES(store_text(name), store_text(letter ? letter->subject : NULL),
                     store_text(letter ? letter->text : NULL),
                     store_text(letter ? letter->html : NULL),
                     store_integer(clock_now()), store_integer(stamp->version)),
        row_take_stamp, stamp, &rows);
    if (status != CA_OK)
        return status;
    if (rows == 0)
        return ca_fail(CA_CONFLICT, "mail template '%s' has another version than %lld",
                       name, (long long)stamp->version);
    return store_run(tx,
                     "INSERT INTO letter_version (" LETTER_COLUMNS ") "
                     "SELECT " LETTER_COLUMNS " FROM letter WHERE name = $1",
                     STORE_VALUES(store_text(name)), NULL, NULL, NULL);
}

enum ca_status
letter_save(struct store_tx *tx, struct letter *letter)
{
    const struct letter_kind *kind = NULL;
    enum ca_status status = kind_of(letter->name, &kind);
    if (status == CA_OK)
        status = row_save(tx, letter->name, letter, &letter->stamp);
    if (status == CA_OK)
        letter->is_built_in = false;
    return status;
}

enum ca_status
letter_reset(struct store_tx *tx, const char *name, int64_t version)
{
    const struct letter_kind *kind = NULL;
    struct record_stamp stamp = { .version = version };
    enum ca_status status = kind_of(name, &kind);
    return status == CA_OK ? row_save(tx, name, NULL, &stamp) : status;
}

/* ---- Lists ---- */

enum ca_status
letter_list(struct store_tx *tx, const struct record_page *page, record_visit visit,
            void *arg)
{
    int64_t limit = record_page_limit(page);
    const char *after = record_page_after(page);
    enum ca_status status = CA_OK;
    for (const struct letter_kind *kind = letter_kinds;
         kind->name && limit > 0 && status == CA_OK; kind++) {
        if (strcmp(kind->name, after) <= 0)
            continue;
        struct letter letter = { 0 };
        status = letter_load(tx, kind->name, &letter);
        if (status == CA_OK)
            status = visit(&letter, arg);
        letter_clear(&letter);
        limit--;
    }
    return status;
}

struct versions_visit {
    const struct letter_kind *kind;
    record_visit visit;
    void *arg;
};

static enum ca_status
version_visit(const void *record, void *arg)
{
    const struct versions_visit *versions = arg;
    const struct letter *row = record;
    struct letter copy = { 0 };
    if (!field_copy(letter_fields, row, &copy))
        return ca_fail(CA_INTERNAL, "no memory for a mail template");
    enum ca_status status = complete(versions->kind, &copy);
    if (status == CA_OK)
        status = versions->visit(&copy, versions->arg);
    letter_clear(&copy);
    return status;
}

enum ca_status
letter_versions(struct store_tx *tx, const char *name, const struct record_page *page,
                record_visit visit, void *arg)
{
    struct versions_visit versions = { .visit = visit, .arg = arg };
    int64_t before = 0;
    enum ca_status status = record_page_before(page, &before);
    if (status == CA_OK)
        status = kind_of(name, &versions.kind);
    if (status != CA_OK)
        return status;
    return record_list(tx, &versions_select,
                       STORE_VALUES(store_text(name), store_integer(before),
                                    store_integer(record_page_limit(page))),
                       version_visit, &versions);
}
