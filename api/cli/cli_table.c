/* Tables and records for people; control characters never reach the terminal. */
#include "cli_table.h"
#include "auto.h"
#include <string.h>

#define GAP 2
#define INDENT 2
#define DEPTH_MAX 8

/* ---- Text ---- */

/* Octets of the UTF-8 character at `text`, 0: none begins there. */
static size_t
character_size(const char *text, size_t size)
{
    unsigned char c = (unsigned char)*text;
    size_t length = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (length > size)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if (((unsigned char)text[i] & 0xc0) != 0x80)
            return 0;
    }
    return length;
}

static unsigned
character_point(const char *text, size_t length)
{
    static const unsigned char masks[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
    unsigned point = (unsigned char)*text & masks[length];
    for (size_t i = 1; i < length; i++)
        point = point << 6 | ((unsigned char)text[i] & 0x3f);
    return point;
}

void
cli_escape(struct text_buffer *buffer, const char *text, size_t size)
{
    while (size > 0) {
        size_t length = character_size(text, size);
        if (length == 0)
            text_print(buffer, "\\x{%02x}", (unsigned char)*text);
        else if (text_is_clean(text, length))
            text_append(buffer, text, length);
        else
            text_print(buffer, "\\u{%04x}", character_point(text, length));
        length += length == 0;
        text += length;
        size -= length;
    }
}

/* RFC 8259 section 7: beyond the basic plane a pair of surrogates. */
static void
json_escape(struct text_buffer *buffer, unsigned point)
{
    if (point < 0x10000)
        text_print(buffer, "\\u%04x", point);
    else
        text_print(buffer, "\\u%04x\\u%04x", 0xd800 + ((point - 0x10000) >> 10),
                   0xdc00 + ((point - 0x10000) & 0x3ff));
}

bool
cli_json_print(FILE *to, const json_t *value, size_t indent)
{
    CA_AUTO(text_buffer_clear) struct text_buffer buffer = { 0 };
    CA_AUTO(secret_free) char *text = json_dumps(value, JSON_INDENT(indent));
    if (!text)
        return false;
    /* The encoder has seen to what is below 0x20; its own line ends stay. */
    size_t length, size = strlen(text);
    for (size_t at = 0; at < size; at += length) {
        length = character_size(text + at, size - at);
        length += length == 0;
        if (text[at] == '\n' || text_is_clean(text + at, length))
            text_append(&buffer, text + at, length);
        else
            json_escape(&buffer, character_point(text + at, length));
    }
    return !buffer.failed && fwrite(buffer.data, 1, buffer.size, to) == buffer.size;
}

static size_t
width_of(const struct text_buffer *cell)
{
    size_t width = 0;
    for (size_t i = 0; i < cell->size; i++)
        width += ((unsigned char)cell->data[i] & 0xc0) != 0x80;
    return width;
}

/* ---- Values ---- */

static bool
is_scalar(const json_t *value)
{
    return !json_is_object(value) && !json_is_array(value);
}

static void
scalar_print(struct text_buffer *buffer, const json_t *value)
{
    if (json_is_string(value))
        cli_escape(buffer, json_string_value(value), json_string_length(value));
    else if (json_is_integer(value))
        text_print(buffer, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        text_print(buffer, "%g", json_real_value(value));
    else if (json_is_boolean(value))
        text_print(buffer, "%s", json_is_true(value) ? "yes" : "no");
    else
        text_print(buffer, "-");
}

/* One line for any value: "a, b", "kind=scep profile=default". */
static void
line_print(struct text_buffer *buffer, const json_t *value, int depth)
{
    size_t i;
    const char *name;
    json_t *item;
    if (is_scalar(value)) {
        scalar_print(buffer, value);
        return;
    }
    if (depth == DEPTH_MAX) {
        text_print(buffer, "...");
        return;
    }
    if (json_array_size(value) == 0 && json_object_size(value) == 0)
        text_print(buffer, "-");
    json_array_foreach (value, i, item) {
        text_print(buffer, "%s", i > 0 ? ", " : "");
        line_print(buffer, item, depth + 1);
    }
    bool is_first = true;
    json_object_foreach ((json_t *)(uintptr_t)value, name, item) {
        text_print(buffer, "%s", is_first ? "" : " ");
        cli_escape(buffer, name, strlen(name));
        text_print(buffer, "=");
        line_print(buffer, item, depth + 1);
        is_first = false;
    }
}

/* The value of "a.b" in a row; NULL: absent. */
static const json_t *
member_of(const json_t *row, const char *member)
{
    char name[64];
    size_t length = strcspn(member, ".");
    snprintf(name, sizeof name, "%.*s", (int)length, member);
    const json_t *value = json_object_get(row, name);
    return member[length] ? member_of(value, member + length + 1) : value;
}

/* ---- Tables ---- */

static size_t
columns_count(const struct cli_table *table)
{
    size_t count = 0;
    while (count < CLI_COLUMNS_MAX && table->columns[count].member)
        count++;
    return count;
}

static void
cells_fill(const struct cli_table *table, const json_t *row,
           struct text_buffer cells[CLI_COLUMNS_MAX])
{
    for (size_t c = 0; c < columns_count(table); c++)
        line_print(&cells[c], member_of(row, table->columns[c].member), 0);
}

static void
cells_clear(struct text_buffer cells[CLI_COLUMNS_MAX])
{
    for (size_t c = 0; c < CLI_COLUMNS_MAX; c++)
        text_buffer_clear(&cells[c]);
}

static bool
cells_failed(const struct text_buffer cells[CLI_COLUMNS_MAX])
{
    bool failed = false;
    for (size_t c = 0; c < CLI_COLUMNS_MAX; c++)
        failed = failed || cells[c].failed;
    return failed;
}

static void
widths_grow(struct cli_table *table, const json_t *rows)
{
    size_t i;
    const json_t *row;
    json_array_foreach (rows, i, row) {
        struct text_buffer cells[CLI_COLUMNS_MAX] = { 0 };
        cells_fill(table, row, cells);
        for (size_t c = 0; c < columns_count(table); c++) {
            size_t width = width_of(&cells[c]);
            if (width > table->widths[c] && width <= CLI_WIDTH_MAX)
                table->widths[c] = width;
        }
        cells_clear(cells);
    }
}

/* No blanks behind the last cell. */
static void
cell_print(FILE *to, const char *text, size_t width, size_t wanted, bool is_last)
{
    fputs(text ? text : "", to); /* an empty text has no buffer */
    size_t blanks = width < wanted ? wanted - width : 0;
    fprintf(to, "%*s", is_last ? 0 : (int)(blanks + GAP), "");
    if (is_last)
        fputc('\n', to);
}

static void
title_print(FILE *to, struct cli_table *table)
{
    size_t count = columns_count(table);
    for (size_t c = 0; c < count; c++) {
        const char *title = table->columns[c].title;
        cell_print(to, title, strlen(title), table->widths[c], c + 1 == count);
    }
    table->has_title = true;
}

static bool
row_print(FILE *to, const struct cli_table *table, const json_t *row)
{
    struct text_buffer cells[CLI_COLUMNS_MAX] = { 0 };
    size_t count = columns_count(table);
    cells_fill(table, row, cells);
    bool holds = !cells_failed(cells);
    for (size_t c = 0; holds && c < count; c++)
        cell_print(to, cells[c].data, width_of(&cells[c]), table->widths[c],
                   c + 1 == count);
    cells_clear(cells);
    return holds;
}

bool
cli_table_print(FILE *to, struct cli_table *table, const json_t *rows)
{
    if (json_array_size(rows) == 0)
        return true;
    for (size_t c = 0; c < columns_count(table); c++) {
        size_t width = strlen(table->columns[c].title);
        table->widths[c] = table->widths[c] > width ? table->widths[c] : width;
    }
    widths_grow(table, rows);
    if (!table->has_title)
        title_print(to, table);
    size_t i;
    const json_t *row;
    bool holds = true;
    json_array_foreach (rows, i, row)
        holds = holds && row_print(to, table, row);
    return holds;
}

/* ---- Records ---- */

/* A text of several lines (PEM) stands below its name, indented. */
static void
lines_print(struct text_buffer *buffer, const char *text)
{
    while (*text) {
        size_t length = strcspn(text, "\n");
        size_t shown = length - (length > 0 && text[length - 1] == '\r');
        text_print(buffer, "\n%*s", INDENT * 2, "");
        cli_escape(buffer, text, shown);
        text += length;
        text += *text == '\n';
    }
}

static void
member_print(struct text_buffer *buffer, const char *prefix, const json_t *value)
{
    text_print(buffer, "%s:", prefix);
    if (json_is_string(value) && strchr(json_string_value(value), '\n')) {
        lines_print(buffer, json_string_value(value));
    } else {
        text_print(buffer, " ");
        line_print(buffer, value, 0);
    }
    text_print(buffer, "\n");
}

static bool
holds_objects(const json_t *value)
{
    return json_is_array(value) && json_is_object(json_array_get(value, 0));
}

static void
record_print(struct text_buffer *buffer, const char *prefix, const json_t *record,
             int depth)
{
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)record, name, value) {
        CA_AUTO(text_buffer_clear) struct text_buffer path = { 0 };
        text_print(&path, "%s%s", prefix, *prefix ? "." : "");
        cli_escape(&path, name, strlen(name));
        size_t i;
        json_t *item;
        if (path.failed)
            buffer->failed = true;
        else if (json_object_size(value) > 0 && depth < DEPTH_MAX)
            record_print(buffer, path.data, value, depth + 1);
        else if (holds_objects(value))
            json_array_foreach (value, i, item)
                member_print(buffer, path.data, item);
        else
            member_print(buffer, path.data, value);
    }
}

bool
cli_record_print(FILE *to, const json_t *record)
{
    CA_AUTO(text_buffer_clear) struct text_buffer buffer = { 0 };
    record_print(&buffer, "", record, 0);
    if (buffer.failed)
        return false;
    if (buffer.size > 0)
        fwrite(buffer.data, 1, buffer.size, to);
    return true;
}
