/* What records share: stamps, pages, rows into structs by column tables. */
#include "record.h"
#include "auto.h"
#include "clock.h"
#include <string.h>

int64_t
record_page_limit(const struct record_page *page)
{
    if (page->limit <= 0)
        return RECORD_PAGE_DEFAULT;
    return page->limit < RECORD_PAGE_MAX ? page->limit : RECORD_PAGE_MAX;
}

const char *
record_page_after(const struct record_page *page)
{
    return page->after ? page->after : "";
}

enum ca_status
record_page_before(const struct record_page *page, int64_t *ret_version)
{
    int64_t version = INT64_MAX;
    if (page->after) {
        char *end;
        version = strtoll(page->after, &end, 10);
        if (*end || end == page->after)
            return ca_fail(CA_MALFORMED, "'%s' is not a version", page->after);
    }
    *ret_version = version;
    return CA_OK;
}

void
record_stamp_first(struct record_stamp *stamp)
{
    stamp->created = stamp->updated = clock_now();
    stamp->version = 1;
}

void
record_stamp_next(struct record_stamp *stamp)
{
    stamp->updated = clock_now();
    stamp->version++;
}

char *
record_json_format(const json_t *json)
{
    return json ? json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY)
                : NULL;
}

char *
record_texts_format(const struct field_list *texts)
{
    CA_AUTO(json_decref) json_t *array = json_array();
    char *const *items = texts->items;
    for (size_t i = 0; array && i < texts->count; i++) {
        if (json_array_append_new(array, json_string(items[i])) != 0)
            return NULL;
    }
    return record_json_format(array);
}

static void
texts_clear(struct field_list *texts)
{
    char **items = texts->items;
    for (size_t i = 0; i < texts->count; i++)
        free(items[i]);
    free(items);
    *texts = (struct field_list){ 0 };
}

CA_AUTO_RELEASE(struct field_list, texts_clear)

static enum ca_status
json_read(const char *text, json_t **ret_json)
{
    json_error_t error;
    json_t *json = text ? json_loads(text, JSON_DECODE_ANY, &error) : NULL;
    if (text && !json)
        return ca_fail(CA_INTERNAL, "the store holds no JSON: %s", error.text);
    *ret_json = json;
    return CA_OK;
}

enum ca_status
record_texts_parse(const char *text, struct field_list *ret_texts)
{
    CA_AUTO(json_decref) json_t *array = NULL;
    enum ca_status status = json_read(text, &array);
    if (status != CA_OK)
        return status;
    if (array && !json_is_array(array))
        return ca_fail(CA_INTERNAL, "the store holds no JSON array");
    size_t count = json_array_size(array);
    struct field_list texts = { 0 };
    CA_AUTO(texts_clear) struct field_list *unfinished = &texts;
    texts.items = count > 0 ? calloc(count, sizeof(char *)) : NULL;
    for (size_t i = 0; i < count; i++) {
        const char *item = json_string_value(json_array_get(array, i));
        char *copy = item && texts.items ? strdup(item) : NULL;
        if (!copy)
            return ca_fail(CA_INTERNAL, "the store's list has no text at %zu", i);
        ((char **)texts.items)[texts.count++] = copy;
    }
    *ret_texts = texts;
    unfinished = NULL;
    return CA_OK;
}

static enum ca_status
text_read(const struct store_row *row, int index, char **ret_text)
{
    const char *text = store_row_text(row, index);
    char *copy = text ? strdup(text) : NULL;
    if (text && !copy)
        return ca_fail(CA_INTERNAL, "no memory for a column");
    *ret_text = copy;
    return CA_OK;
}

static enum ca_status
blob_read(const struct store_row *row, int index, void **ret_blob, size_t *ret_size)
{
    size_t size = 0;
    const void *data = store_row_blob(row, index, &size);
    if (!data)
        return CA_OK;
    char *copy = malloc(size + 1);
    if (!copy)
        return ca_fail(CA_INTERNAL, "no memory for a column of %zu octets", size);
    memcpy(copy, data, size);
    copy[size] = '\0';
    *ret_blob = copy;
    *ret_size = size;
    return CA_OK;
}

static enum ca_status
octets_read(const struct store_row *row, int index, void *ret_octets, size_t wanted)
{
    size_t size = 0;
    const void *data = store_row_blob(row, index, &size);
    if (!data)
        return CA_OK;
    if (size != wanted)
        return ca_fail(CA_INTERNAL, "the store holds %zu octets in place of %zu", size,
                       wanted);
    memcpy(ret_octets, data, size);
    return CA_OK;
}

static enum ca_status
column_read(const struct store_row *row, int index, const struct record_column *column,
            void *record)
{
    void *member = (char *)record + column->offset;
    switch (column->type) {
    case RECORD_TEXT: return text_read(row, index, member);
    case RECORD_INTEGER: *(int64_t *)member = store_row_integer(row, index); break;
    case RECORD_BOOLEAN: *(bool *)member = store_row_integer(row, index) != 0; break;
    case RECORD_CHOICE: *(int *)member = (int)store_row_integer(row, index); break;
    case RECORD_CHOICES:
        *(unsigned *)member = (unsigned)store_row_integer(row, index);
        break;
    case RECORD_TEXTS: return record_texts_parse(store_row_text(row, index), member);
    case RECORD_JSON: return json_read(store_row_text(row, index), member);
    case RECORD_BLOB: {
        size_t *size = (size_t *)(void *)((char *)record + column->extra);
        return blob_read(row, index, member, size);
    }
    case RECORD_OCTETS: return octets_read(row, index, member, column->extra);
    case RECORD_COLUMN_END: break;
    }
    return CA_OK;
}

enum ca_status
record_read(const struct store_row *row, const struct record_column *columns,
            void *ret_record)
{
    for (int i = 0; columns[i].type != RECORD_COLUMN_END; i++) {
        enum ca_status status = column_read(row, i, &columns[i], ret_record);
        if (status != CA_OK) {
            record_clear(columns, ret_record);
            return status;
        }
    }
    return CA_OK;
}

static void
column_clear(const struct record_column *column, void *record)
{
    void *member = (char *)record + column->offset;
    switch (column->type) {
    case RECORD_TEXT:
        free(*(char **)member);
        *(char **)member = NULL;
        break;
    case RECORD_INTEGER: *(int64_t *)member = 0; break;
    case RECORD_BOOLEAN: *(bool *)member = false; break;
    case RECORD_CHOICE: *(int *)member = 0; break;
    case RECORD_CHOICES: *(unsigned *)member = 0; break;
    case RECORD_TEXTS: texts_clear(member); break;
    case RECORD_JSON:
        json_decref(*(json_t **)member);
        *(json_t **)member = NULL;
        break;
    case RECORD_BLOB:
        free(*(void **)member);
        *(void **)member = NULL;
        *(size_t *)(void *)((char *)record + column->extra) = 0;
        break;
    case RECORD_OCTETS: memset(member, 0, column->extra); break;
    case RECORD_COLUMN_END: break;
    }
}

void
record_clear(const struct record_column *columns, void *record)
{
    for (; columns->type != RECORD_COLUMN_END; columns++)
        column_clear(columns, record);
}

struct loading {
    const struct record_select *select;
    void *record;
    bool is_found;
};

static enum ca_status
row_load(const struct store_row *row, void *arg)
{
    struct loading *loading = arg;
    if (loading->is_found)
        return CA_OK;
    loading->is_found = true;
    return record_read(row, loading->select->columns, loading->record);
}

enum ca_status
record_load(struct store_tx *tx, const struct record_select *select,
            const struct store_value *values, size_t n, void *ret_record)
{
    CA_AUTO(free) void *record = calloc(1, select->size);
    if (!record)
        return ca_fail(CA_INTERNAL, "no memory for a record");
    struct loading loading = { .select = select, .record = record };
    enum ca_status status =
        store_run(tx, select->sql, values, n, row_load, &loading, NULL);
    if (status != CA_OK) {
        record_clear(select->columns, record);
        return status;
    }
    if (!loading.is_found)
        return ca_fail(CA_NOT_FOUND, "no such record");
    memcpy(ret_record, record, select->size);
    return CA_OK;
}

struct listing {
    const struct record_select *select;
    record_visit visit;
    void *arg;
};

static enum ca_status
row_list(const struct store_row *row, void *arg)
{
    const struct listing *listing = arg;
    CA_AUTO(free) void *record = calloc(1, listing->select->size);
    if (!record)
        return ca_fail(CA_INTERNAL, "no memory for a record");
    enum ca_status status = record_read(row, listing->select->columns, record);
    if (status != CA_OK)
        return status;
    status = listing->visit(record, listing->arg);
    record_clear(listing->select->columns, record);
    return status;
}

enum ca_status
record_list(struct store_tx *tx, const struct record_select *select,
            const struct store_value *values, size_t n, record_visit visit, void *arg)
{
    struct listing listing = { select, visit, arg };
    return store_run(tx, select->sql, values, n, row_list, &listing, NULL);
}

enum ca_status
record_change(struct store_tx *tx, const char *sql, const struct store_value *values,
              size_t n)
{
    int64_t rows = 0;
    enum ca_status status = store_run(tx, sql, values, n, NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_CONFLICT, "the record is gone, or changed since it was read");
    return status;
}

enum ca_status
record_exists(struct store_tx *tx, const char *sql, const struct store_value *values,
              size_t n, bool *ret_exists)
{
    int64_t rows = 0;
    enum ca_status status = store_run(tx, sql, values, n, NULL, NULL, &rows);
    if (status == CA_OK)
        *ret_exists = rows > 0;
    return status;
}

enum ca_status
record_require(struct store_tx *tx, const char *sql, const struct store_value *values,
               size_t n)
{
    bool exists = false;
    enum ca_status status = record_exists(tx, sql, values, n, &exists);
    if (status != CA_OK || exists)
        return status;
    return ca_fail(CA_NOT_FOUND, "no such record");
}
