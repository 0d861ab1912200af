/* What people read: tables with aligned columns and records as `name: value` lines.
 * Nothing that a terminal would obey leaves here. */
#pragma once

#include "cli.h"

#define CLI_COLUMNS_MAX 12
#define CLI_WIDTH_MAX 48 /* columns: a longer cell pushes its own line only */

/* A table that is printed page by page: widths stay from page to page. */
struct cli_table {
    const struct cli_column *columns;
    size_t widths[CLI_COLUMNS_MAX];
    bool has_title;
};
/* Prints the rows (objects) of one page; false: no memory. */
bool cli_table_print(FILE *to, struct cli_table *table, const json_t *rows);

/* A record: members in their order, objects as "a.b: c", lists of objects a line
 * each. */
bool cli_record_print(FILE *to, const json_t *record);

/* The value as JSON in `indent` steps, 0: one line; a terminal obeys nothing of it:
 * such characters stand as \uHHHH, which means the same. False: no memory. */
bool cli_json_print(FILE *to, const json_t *value, size_t indent);

/* UTF-8 text with its control, bidirectional and line characters shown as \u{HHHH},
 * octets that are no UTF-8 as \x{HH}. */
void cli_escape(struct text_buffer *buffer, const char *text, size_t size);
