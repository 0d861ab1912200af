/* Field tables, inwards: JSON to record, with every error by JSON pointer. */
#include "field.h"
#include "auto.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FIELD_TEXT_MAX 1024
#define FIELD_COUNT_MAX 64
#define FIELD_NAME_MAX 64

/* One decoding: where it is, and what was wrong so far. */
struct decoder {
    struct field_errors *errors;
    char pointer[sizeof((struct field_error *)0)->pointer];
    size_t count; /* errors, kept or not */
    struct field_error first;
    bool no_memory;
};

static void decode_record(struct decoder *decoder, const struct field *fields,
                          const json_t *object, const void *present, void *record);

/* Length of `text` cut to at most `room` octets between two characters. */
static size_t
whole_characters(const char *text, size_t length, size_t room)
{
    if (length <= room)
        return length;
    while (room > 0 && ((unsigned char)text[room] & 0xc0) == 0x80)
        room--;
    return room;
}

/* Appends to the pointer one reference token of RFC 6901 section 3; a pointer without
 * room for all of it ends early, between two characters. Returns the size to cut back
 * to. */
static size_t
pointer_push(struct decoder *decoder, const char *name)
{
    size_t before = strlen(decoder->pointer);
    char token[2 * sizeof decoder->pointer] = "/";
    size_t used = 1;
    for (; *name && used + 3 < sizeof token; name++) {
        bool is_escaped = *name == '~' || *name == '/';
        token[used++] = is_escaped ? '~' : *name;
        if (is_escaped)
            token[used++] = *name == '~' ? '0' : '1';
    }
    size_t room = sizeof decoder->pointer - 1 - before;
    size_t size = whole_characters(token, used, room);
    memcpy(decoder->pointer + before, token, size);
    decoder->pointer[before + size] = '\0';
    return before;
}

static size_t
pointer_push_index(struct decoder *decoder, size_t index)
{
    char text[24];
    snprintf(text, sizeof text, "%zu", index);
    return pointer_push(decoder, text);
}

static void
pointer_pop(struct decoder *decoder, size_t before)
{
    decoder->pointer[before] = '\0';
}

static void __attribute__((format(printf, 3, 0)))
error_put(struct field_errors *errors, const char *pointer, const char *format,
          va_list args)
{
    if (errors->count >= sizeof errors->items / sizeof errors->items[0])
        return;
    struct field_error *error = &errors->items[errors->count++];
    size_t length = strlen(pointer);
    length = whole_characters(pointer, length, sizeof error->pointer - 1);
    memcpy(error->pointer, pointer, length);
    error->pointer[length] = '\0';
    char reason[2 * sizeof error->reason];
    vsnprintf(reason, sizeof reason, format, args);
    length = whole_characters(reason, strlen(reason), sizeof error->reason - 1);
    memcpy(error->reason, reason, length);
    error->reason[length] = '\0';
}

void
field_error_add(struct field_errors *errors, const char *pointer, const char *format,
                ...)
{
    va_list args;
    va_start(args, format);
    error_put(errors, pointer, format, args);
    va_end(args);
}

static void __attribute__((format(printf, 2, 3)))
refuse(struct decoder *decoder, const char *format, ...)
{
    struct field_errors one = { 0 };
    va_list args;
    va_start(args, format);
    error_put(&one, decoder->pointer, format, args);
    va_end(args);
    const struct field_error *error = &one.items[0];
    if (decoder->errors)
        field_error_add(decoder->errors, error->pointer, "%s", error->reason);
    if (decoder->count++ == 0)
        decoder->first = *error;
}

static bool
name_is_good(const char *name, size_t length)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    static const char others[] = "abcdefghijklmnopqrstuvwxyz0123456789._@-";
    return length > 0 && length <= FIELD_NAME_MAX && strchr(first, name[0]) &&
           strspn(name, others) == length;
}

/* Clean text, where FIELD_LINES lets LF and CR LF pass between clean lines. */
static bool
content_is_clean(const char *text, size_t length, bool has_lines)
{
    if (!has_lines)
        return text_is_clean(text, length);
    const char *end = text + length;
    while (text < end) {
        const char *feed = memchr(text, '\n', (size_t)(end - text));
        size_t line = (size_t)((feed ? feed : end) - text);
        if (feed && line > 0 && text[line - 1] == '\r')
            line--;
        if (!text_is_clean(text, line))
            return false;
        text = feed ? feed + 1 : end;
    }
    return true;
}

static bool
decode_text(struct decoder *decoder, const struct field *field, const json_t *value,
            char **ret_text)
{
    if (!json_is_string(value)) {
        refuse(decoder, "must be a string");
        return false;
    }
    const char *text = json_string_value(value);
    size_t length = json_string_length(value);
    int64_t max = field->max ? field->max : FIELD_TEXT_MAX;
    if ((int64_t)length > max || (int64_t)length < field->min) {
        refuse(decoder, "must have %lld to %lld octets", (long long)field->min,
               (long long)max);
        return false;
    }
    if (field->flags & FIELD_NAME && !name_is_good(text, length)) {
        refuse(decoder,
               "must be a name: 1 to %d of a-z 0-9 . _ @ -, first a letter "
               "or digit",
               FIELD_NAME_MAX);
        return false;
    }
    if (!content_is_clean(text, length, field->flags & FIELD_LINES)) {
        refuse(decoder, "must be text without control characters");
        return false;
    }
    *ret_text = strndup(text, length);
    decoder->no_memory |= !*ret_text;
    return *ret_text != NULL;
}

static void
decode_integer(struct decoder *decoder, const struct field *field, const json_t *value,
               int64_t *ret_integer)
{
    bool is_bounded = field->max > field->min;
    if (!json_is_integer(value)) {
        refuse(decoder, "must be an integer");
        return;
    }
    int64_t integer = json_integer_value(value);
    if (is_bounded && (integer < field->min || integer > field->max))
        refuse(decoder, "must be %lld to %lld", (long long)field->min,
               (long long)field->max);
    else if (field->min && integer < field->min)
        refuse(decoder, "must be at least %lld", (long long)field->min);
    else
        *ret_integer = integer;
}

static void
decode_duration(struct decoder *decoder, const struct field *field, const json_t *value,
                int64_t *ret_seconds)
{
    int64_t seconds;
    char min[32], max[32];
    duration_format(field->min, min);
    duration_format(field->max, max);
    if (!json_is_string(value) || !duration_parse(json_string_value(value), &seconds))
        refuse(decoder, "must be a duration such as \"P30D\" or \"PT5M\"");
    else if (field->max > field->min && (seconds < field->min || seconds > field->max))
        refuse(decoder, "must be %s to %s", min, max);
    else if (seconds < field->min)
        refuse(decoder, "must be at least %s", min);
    else
        *ret_seconds = seconds;
}

static void
decode_time(struct decoder *decoder, const json_t *value, int64_t *ret_seconds)
{
    int64_t seconds;
    if (!json_is_string(value) || !time_parse(json_string_value(value), &seconds))
        refuse(decoder, "must be a time such as \"2026-11-22T10:00:00Z\"");
    else
        *ret_seconds = seconds;
}

/* The index of a word; -1 after an error that lists them. */
static int
decode_word(struct decoder *decoder, const struct field *field, const json_t *value)
{
    const char *text = json_string_value(value); /* NULL: another type */
    char list[sizeof((struct field_error *)0)->reason] = "";
    size_t used = 0;
    for (int i = 0; field->words[i]; i++) {
        if (text && strcmp(text, field->words[i]) == 0)
            return i;
        if (used < sizeof list)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s",
                                     i ? ", " : "", field->words[i]);
    }
    refuse(decoder, "must be one of: %s", list);
    return -1;
}

/* Is it a list of at most the field's count? */
static bool
list_is_good(struct decoder *decoder, const struct field *field, const json_t *value)
{
    size_t max = field->count_max ? field->count_max : FIELD_COUNT_MAX;
    if (!json_is_array(value))
        refuse(decoder, "must be a list");
    else if (json_array_size(value) > max)
        refuse(decoder, "must have at most %zu items", max);
    else
        return true;
    return false;
}

static void
decode_words(struct decoder *decoder, const struct field *field, const json_t *value,
             unsigned *ret_bits)
{
    unsigned bits = 0;
    if (!list_is_good(decoder, field, value))
        return;
    for (size_t i = 0; i < json_array_size(value); i++) {
        size_t before = pointer_push_index(decoder, i);
        int word = decode_word(decoder, field, json_array_get(value, i));
        if (word >= 0 && bits & 1u << word)
            refuse(decoder, "is there already");
        if (word >= 0)
            bits |= 1u << word;
        pointer_pop(decoder, before);
    }
    *ret_bits = bits;
}

/* Room for the items, counted at once so that field_clear finds what was decoded. */
static bool
list_make(struct decoder *decoder, const json_t *value, size_t item_size,
          struct field_list *ret_list)
{
    size_t count = json_array_size(value);
    if (count == 0)
        return false;
    ret_list->items = calloc(count, item_size);
    if (ret_list->items)
        ret_list->count = count;
    decoder->no_memory |= !ret_list->items;
    return ret_list->items != NULL;
}

static void
decode_texts(struct decoder *decoder, const struct field *field, const json_t *value,
             struct field_list *ret_list)
{
    if (!list_is_good(decoder, field, value) ||
        !list_make(decoder, value, sizeof(char *), ret_list))
        return;
    char **texts = ret_list->items;
    for (size_t i = 0; i < ret_list->count; i++) {
        size_t before = pointer_push_index(decoder, i);
        decode_text(decoder, field, json_array_get(value, i), &texts[i]);
        pointer_pop(decoder, before);
    }
}

static void
decode_objects(struct decoder *decoder, const struct field *field, const json_t *value,
               struct field_list *ret_list)
{
    if (!list_is_good(decoder, field, value) ||
        !list_make(decoder, value, field->item_size, ret_list))
        return;
    char *item = ret_list->items;
    for (size_t i = 0; i < ret_list->count; i++, item += field->item_size) {
        size_t before = pointer_push_index(decoder, i);
        decode_record(decoder, field->fields, json_array_get(value, i), NULL, item);
        pointer_pop(decoder, before);
    }
}

static void
decode_value(struct decoder *decoder, const struct field *field, const json_t *value,
             const void *present, void *member)
{
    switch (field->type) {
    case FIELD_TEXT: decode_text(decoder, field, value, member); return;
    case FIELD_INTEGER: decode_integer(decoder, field, value, member); return;
    case FIELD_BOOLEAN:
        if (!json_is_boolean(value))
            refuse(decoder, "must be true or false");
        else
            *(bool *)member = json_is_true(value);
        return;
    case FIELD_DURATION: decode_duration(decoder, field, value, member); return;
    case FIELD_TIME: decode_time(decoder, value, member); return;
    case FIELD_CHOICE: {
        int word = decode_word(decoder, field, value);
        *(int *)member = word < 0 ? 0 : word;
        return;
    }
    case FIELD_CHOICES: decode_words(decoder, field, value, member); return;
    case FIELD_TEXTS: decode_texts(decoder, field, value, member); return;
    case FIELD_OBJECT:
        decode_record(decoder, field->fields, value, present, member);
        return;
    case FIELD_OBJECTS: decode_objects(decoder, field, value, member); return;
    case FIELD_JSON:
        *(json_t **)member = json_deep_copy(value);
        decoder->no_memory |= !*(json_t **)member;
        return;
    }
}

/* A value that is there: the table's rule, then the record's own. */
static void
decode_given(struct decoder *decoder, const struct field *field, const json_t *value,
             const void *present, void *member)
{
    size_t before = decoder->count;
    char reason[sizeof((struct field_error *)0)->reason] = "is refused";
    decode_value(decoder, field, value, present, member);
    bool is_good = decoder->count == before && !decoder->no_memory;
    if (is_good && field->check && !field->check(member, reason, sizeof reason))
        refuse(decoder, "%s", reason);
}

static void
decode_absent(struct decoder *decoder, const struct field *field, const void *present,
              void *member)
{
    bool is_kept = field->flags & (FIELD_SECRET | FIELD_REQUIRED | FIELD_READ_ONLY);
    const struct field one[] = { *field, FIELD_END };
    if (present && is_kept) {
        size_t back = field->offset;
        bool copied =
            field_copy(one, (const char *)present - back, (char *)member - back);
        decoder->no_memory |= !copied;
        return;
    }
    CA_AUTO(json_decref) json_t *initial = NULL;
    if (field->initial)
        initial = json_loads(field->initial, JSON_DECODE_ANY, NULL);
    else if (field->type == FIELD_OBJECT)
        initial = json_object();
    if (!initial && (field->initial || field->type == FIELD_OBJECT))
        refuse(decoder, "has no initial value that can be read");
    else if (initial)
        decode_given(decoder, field, initial, present, member);
    else if (field->flags & FIELD_REQUIRED)
        refuse(decoder, "is required");
}

/* A read-only member: nothing, or what is there already. */
static void
decode_read_only(struct decoder *decoder, const struct field *field,
                 const json_t *value, const void *present, void *member)
{
    const struct field one[] = { *field, FIELD_END };
    if (value && !present) {
        refuse(decoder, "is read-only");
        return;
    }
    if (value) {
        CA_AUTO(json_decref)
        json_t *record = field_encode(one, (const char *)present - field->offset);
        if (!json_equal(json_object_get(record, field->name), value))
            refuse(decoder, "is read-only and has another value");
    }
    decode_absent(decoder, field, present, member);
}

static const struct field *
field_find(const struct field *fields, const char *name)
{
    for (; fields->name; fields++)
        if (strcmp(fields->name, name) == 0)
            return fields;
    return NULL;
}

static void
refuse_unknown(struct decoder *decoder, const struct field *fields,
               const json_t *object)
{
    const char *name;
    json_t *value, *iterated;
    /* Jansson's iterator only reads, but is not declared so. */
    memcpy(&iterated, &object, sizeof iterated);
    json_object_foreach (iterated, name, value) {
        if (field_find(fields, name))
            continue;
        size_t before = pointer_push(decoder, name);
        refuse(decoder, "unknown member");
        pointer_pop(decoder, before);
    }
}

static void
decode_record(struct decoder *decoder, const struct field *fields, const json_t *object,
              const void *present, void *record)
{
    if (!json_is_object(object)) {
        refuse(decoder, "must be an object");
        return;
    }
    refuse_unknown(decoder, fields, object);
    for (const struct field *field = fields; field->name; field++) {
        const json_t *value = json_object_get(object, field->name);
        const void *old = present ? (const char *)present + field->offset : NULL;
        void *member = (char *)record + field->offset;
        size_t before = pointer_push(decoder, field->name);
        if (json_is_null(value))
            value = NULL;
        if (field->flags & FIELD_READ_ONLY)
            decode_read_only(decoder, field, value, old, member);
        else if (value)
            decode_given(decoder, field, value, old, member);
        else
            decode_absent(decoder, field, old, member);
        pointer_pop(decoder, before);
    }
}

enum ca_status
field_decode_over(const struct field *fields, const json_t *object, const void *present,
                  void *ret_record, struct field_errors *errors)
{
    struct decoder decoder = { .errors = errors };
    decode_record(&decoder, fields, object, present, ret_record);
    if (decoder.count == 0 && !decoder.no_memory)
        return CA_OK;
    field_clear(fields, ret_record);
    if (decoder.count == 0)
        return ca_fail(CA_INTERNAL, "out of memory for a record");
    bool has_pointer = *decoder.first.pointer;
    return ca_fail(CA_MALFORMED, "%s%s%s", decoder.first.pointer + has_pointer,
                   has_pointer ? ": " : "", decoder.first.reason);
}

enum ca_status
field_decode(const struct field *fields, const json_t *object, void *ret_record,
             struct field_errors *errors)
{
    return field_decode_over(fields, object, NULL, ret_record, errors);
}
