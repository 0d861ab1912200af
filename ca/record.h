/* What every record shares: its stamp, pages of a list, and the field table's offsets. */
#pragma once

#include "field.h"
#include "store.h"

#define RECORD_NAME_MAX 64
#define RECORD_PAGE_MAX 1000

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
