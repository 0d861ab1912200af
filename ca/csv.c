/* CSV in place: the copy of the text is cut into fields as it is read. */
#include "csv.h"
#include "auto.h"
#include <string.h>

struct csv {
    char *text, *at, *end;
    size_t line; /* of `at` */
};

enum ca_status
csv_open(const char *text, size_t size, struct csv **ret_csv)
{
    static const char mark[] = "\xef\xbb\xbf";
    struct csv *csv = calloc(1, sizeof *csv);
    char *copy = malloc(size + 1);
    if (!csv || !copy) {
        free(csv);
        free(copy);
        return ca_fail(CA_INTERNAL, "no memory for a CSV file");
    }
    memcpy(copy, text, size);
    copy[size] = '\0';
    *csv = (struct csv){ .text = copy, .at = copy, .end = copy + size, .line = 1 };
    if (size >= 3 && memcmp(copy, mark, 3) == 0)
        csv->at += 3;
    *ret_csv = csv;
    return CA_OK;
}

void
csv_close(struct csv *csv)
{
    if (!csv)
        return;
    free(csv->text);
    free(csv);
}

/* CR LF and LF end a record; a CR alone is text. */
static bool
at_line_end(const struct csv *csv, const char *at)
{
    return at == csv->end || *at == '\n' ||
           (*at == '\r' && at + 1 < csv->end && at[1] == '\n');
}

/* Moves `at` from the opening quote behind the closing one; doubled ones become one. */
static enum ca_status
quoted_read(struct csv *csv, char **ret_field, char **ret_end)
{
    size_t line = csv->line;
    char *to = csv->at + 1, *from = to;
    *ret_field = to;
    for (; from < csv->end; from++) {
        if (*from == '"' && (from + 1 == csv->end || from[1] != '"'))
            break;
        from += *from == '"';
        csv->line += *from == '\n';
        *to++ = *from;
    }
    if (from == csv->end)
        return ca_fail(CA_MALFORMED, "line %zu: a quote is not closed", line);
    csv->at = from + 1;
    *ret_end = to;
    if (!at_line_end(csv, csv->at) && *csv->at != ',')
        return ca_fail(CA_MALFORMED, "line %zu: text behind a closing quote",
                       csv->line);
    return CA_OK;
}

static enum ca_status
plain_read(struct csv *csv, char **ret_field, char **ret_end)
{
    *ret_field = csv->at;
    while (!at_line_end(csv, csv->at) && *csv->at != ',') {
        if (*csv->at == '"')
            return ca_fail(CA_MALFORMED, "line %zu: a quote inside a plain field",
                           csv->line);
        csv->at++;
    }
    *ret_end = csv->at;
    return CA_OK;
}

/* One field and what ends it; `ret_is_last`: the record ends here. */
static enum ca_status
field_read(struct csv *csv, char **ret_field, bool *ret_is_last)
{
    char *field = NULL, *end = NULL;
    bool is_quoted = csv->at < csv->end && *csv->at == '"';
    enum ca_status status =
        is_quoted ? quoted_read(csv, &field, &end) : plain_read(csv, &field, &end);
    if (status != CA_OK)
        return status;
    if (end - field > CSV_FIELD_SIZE_MAX)
        return ca_fail(CA_LIMIT, "line %zu: a field has more than %d octets", csv->line,
                       CSV_FIELD_SIZE_MAX);
    if (memchr(field, '\0', (size_t)(end - field)))
        return ca_fail(CA_MALFORMED, "line %zu: a field has a NUL", csv->line);
    *ret_is_last = at_line_end(csv, csv->at);
    if (csv->at < csv->end && *csv->at == '\r')
        csv->at++;
    if (csv->at < csv->end) {
        csv->line += *csv->at == '\n';
        csv->at++;
    }
    *end = '\0'; /* over a quote, comma or line end that is behind us */
    *ret_field = field;
    return CA_OK;
}

enum ca_status
csv_next(struct csv *csv, struct csv_record *ret_record)
{
    struct csv_record record = { 0 };
    bool is_last = false;
    while (csv->at < csv->end && at_line_end(csv, csv->at)) {
        csv->at += *csv->at == '\r' ? 2 : 1;
        csv->line++;
    }
    if (csv->at == csv->end)
        return ca_fail(CA_NOT_FOUND, "no more records");
    record.line = csv->line;
    while (!is_last) {
        if (record.count == CSV_FIELDS_MAX)
            return ca_fail(CA_LIMIT, "line %zu: more than %d fields", record.line,
                           CSV_FIELDS_MAX);
        enum ca_status status =
            field_read(csv, &record.fields[record.count++], &is_last);
        if (status != CA_OK)
            return status;
    }
    *ret_record = record;
    return CA_OK;
}
