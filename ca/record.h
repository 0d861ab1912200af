/* What every record shares: its stamp, pages of a list, and the field table's offsets. */
#pragma once

#include "field.h"
#include "store.h"

#define RECORD_NAME_MAX 64
#define RECORD_PAGE_MAX 1000
#define RECORD_PAGE_DEFAULT 100

struct record_stamp {
    int64_t created, updated, version; /* version counts from 1 and is the ETag */
};

/* The read-only members created, updated, version for a record's field table. */
#define RECORD_STAMP_FIELDS(record)                                                    \
    { .name = "created", .type = FIELD_TIME, .flags = FIELD_READ_ONLY,                 \
      .offset = offsetof(struct record, stamp.created), .help = "When it was made." }, \
    { .name = "updated", .type = FIELD_TIME, .flags = FIELD_READ_ONLY,                 \
      .offset = offsetof(struct record, stamp.updated), .help = "Last change." },      \
    { .name = "version", .type = FIELD_INTEGER, .flags = FIELD_READ_ONLY,              \
      .offset = offsetof(struct record, stamp.version), .help = "Counts changes; the ETag." }

/* One page in key order: records whose key is greater than `after` (NULL: from the
 * start), at most `limit`. */
struct record_page {
    const char *after;
    int64_t limit;
};

/* A list's visitor; the record is the callee's and gone when it returns. */
typedef enum ca_status (*record_visit)(const void *record, void *arg);

/* `limit` within 1..RECORD_PAGE_MAX (0 or less: RECORD_PAGE_DEFAULT), and the key to
 * start behind ("" from the start). */
int64_t record_page_limit(const struct record_page *page);
const char *record_page_after(const struct record_page *page);
/* Of a page of versions, newest first: below which they are. CA_MALFORMED. */
enum ca_status record_page_before(const struct record_page *page, int64_t *ret_version);

/* created = updated = now, version 1: before an insert. */
void record_stamp_first(struct record_stamp *stamp);
/* updated = now, version + 1: after an update over the old version took place. */
void record_stamp_next(struct record_stamp *stamp);

/* How columns become members, in the order of the SELECT: the other half of a record's
 * SQL. A table ends with RECORD_COLUMN_END. */
enum record_type {
    RECORD_COLUMN_END,
    RECORD_TEXT,    /* char *, NULL stays NULL */
    RECORD_INTEGER, /* int64_t */
    RECORD_BOOLEAN, /* bool */
    RECORD_CHOICE,  /* int (enum) */
    RECORD_CHOICES, /* unsigned (bits) */
    RECORD_TEXTS,   /* struct field_list of char *, from JSON text; NULL is empty */
    RECORD_JSON,    /* json_t *, from JSON text; NULL stays NULL */
    RECORD_BLOB,    /* void * and its size_t, a NUL behind it; NULL stays NULL */
    RECORD_OCTETS   /* uint8_t[] of exactly `extra` octets; NULL leaves zeros */
};
struct record_column {
    enum record_type type;
    size_t offset;
    size_t extra; /* BLOB: offset of the size; OCTETS: their number */
};
#define RECORD_COLUMN(record, kind, member)                                            \
    { .type = RECORD_##kind, .offset = offsetof(struct record, member) }
#define RECORD_COLUMN_BLOB(record, member, size_member)                                \
    { .type = RECORD_BLOB, .offset = offsetof(struct record, member),                  \
      .extra = offsetof(struct record, size_member) }
#define RECORD_COLUMN_OCTETS(record, member)                                           \
    { .type = RECORD_OCTETS, .offset = offsetof(struct record, member),                \
      .extra = sizeof(((struct record *)0)->member) }
/* created, updated, version. */
#define RECORD_STAMP_COLUMNS(record)                                                   \
    RECORD_COLUMN(record, INTEGER, stamp.created),                                     \
        RECORD_COLUMN(record, INTEGER, stamp.updated),                                 \
        RECORD_COLUMN(record, INTEGER, stamp.version)

/* A SELECT (or ... RETURNING) and what its rows become. */
struct record_select {
    const struct record_column *columns;
    size_t size; /* sizeof the record */
    const char *sql;
};

/* Fills a zeroed record from the row; on failure it is clear again. CA_INTERNAL. */
enum ca_status record_read(const struct store_row *row,
                           const struct record_column *columns, void *ret_record);
/* Frees and zeroes the members of the columns. */
void record_clear(const struct record_column *columns, void *record);

/* The only or first row as a record; CA_NOT_FOUND, for which the caller has the words. */
enum ca_status record_load(struct store_tx *tx, const struct record_select *select,
                           const struct store_value *values, size_t n,
                           void *ret_record);
/* Visits each row as a record. */
enum ca_status record_list(struct store_tx *tx, const struct record_select *select,
                           const struct store_value *values, size_t n,
                           record_visit visit, void *arg);
/* A conditional change with RETURNING: CA_CONFLICT when it did not take place. */
enum ca_status record_change(struct store_tx *tx, const char *sql,
                             const struct store_value *values, size_t n);
/* Is there a row? */
enum ca_status record_exists(struct store_tx *tx, const char *sql,
                             const struct store_value *values, size_t n,
                             bool *ret_exists);
/* CA_NOT_FOUND when there is none. Asked before a statement that sorts or has RETURNING:
 * these make a temporary table even for nothing. */
enum ca_status record_require(struct store_tx *tx, const char *sql,
                              const struct store_value *values, size_t n);

/* Column texts, free() them: JSON compact with sorted members (NULL and no memory give
 * NULL), and a list as a JSON array. */
char *record_json_format(const json_t *json);
char *record_texts_format(const struct field_list *texts);
/* Back again; CA_INTERNAL when the store does not hold an array of strings. */
enum ca_status record_texts_parse(const char *text, struct field_list *ret_texts);
