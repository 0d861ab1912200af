/* Field tables, outwards: record to JSON; copying and clearing records. */
#include "auto.h"
#include "field.h"
#include <openssl/crypto.h>
#include <string.h>

static json_t *
encode_duration(int64_t seconds)
{
    char text[32];
    duration_format(seconds, text);
    return json_string(text);
}

static json_t *
encode_time(int64_t seconds)
{
    char text[21];
    if (seconds == 0)
        return json_null();
    time_format(seconds, text);
    return json_string(text);
}

static json_t *
encode_word(const struct field *field, int index)
{
    if (index < 0)
        return NULL;
    for (int i = 0; field->words[i]; i++)
        if (i == index)
            return json_string(field->words[i]);
    return NULL;
}

static json_t *
encode_words(const struct field *field, unsigned bits)
{
    CA_AUTO(json_decref) json_t *list = json_array();
    for (int i = 0; list && field->words[i]; i++)
        if (bits & 1u << i &&
            json_array_append_new(list, json_string(field->words[i])) != 0)
            return NULL;
    return CA_STEAL(list);
}

static json_t *
encode_list(const struct field *field, const struct field_list *list)
{
    CA_AUTO(json_decref) json_t *array = json_array();
    const char *item = list->items;
    for (size_t i = 0; array && i < list->count; i++) {
        json_t *value = field->type == FIELD_TEXTS
                            ? json_string(((char *const *)list->items)[i])
                            : field_encode(field->fields, item + i * field->item_size);
        if (json_array_append_new(array, value) != 0)
            return NULL;
    }
    return CA_STEAL(array);
}

static json_t *
encode_json(json_t *const *json)
{
    return *json ? json_deep_copy(*json) : json_null();
}

static json_t *
encode_value(const struct field *field, const void *member)
{
    switch (field->type) {
    case FIELD_TEXT: {
        const char *text = *(char *const *)member;
        return text ? json_string(text) : json_null();
    }
    case FIELD_INTEGER: return json_integer(*(const int64_t *)member);
    case FIELD_BOOLEAN: return json_boolean(*(const bool *)member);
    case FIELD_DURATION: return encode_duration(*(const int64_t *)member);
    case FIELD_TIME: return encode_time(*(const int64_t *)member);
    case FIELD_CHOICE: return encode_word(field, *(const int *)member);
    case FIELD_CHOICES: return encode_words(field, *(const unsigned *)member);
    case FIELD_TEXTS:
    case FIELD_OBJECTS: return encode_list(field, member);
    case FIELD_OBJECT: return field_encode(field->fields, member);
    case FIELD_JSON: return encode_json(member);
    }
    return NULL;
}

json_t *
field_encode(const struct field *fields, const void *record)
{
    CA_AUTO(json_decref) json_t *object = json_object();
    if (!object)
        return NULL;
    for (const struct field *field = fields; field->name; field++) {
        if (field->flags & FIELD_SECRET)
            continue;
        json_t *value = encode_value(field, (const char *)record + field->offset);
        if (json_object_set_new(object, field->name, value) != 0)
            return NULL;
    }
    return CA_STEAL(object);
}

static bool
copy_text(char *const *text, char **ret_text)
{
    *ret_text = *text ? strdup(*text) : NULL;
    return !*text || *ret_text;
}

static bool
copy_list(const struct field *field, const struct field_list *list,
          struct field_list *ret_list)
{
    bool is_texts = field->type == FIELD_TEXTS;
    size_t size = is_texts ? sizeof(char *) : field->item_size;
    if (list->count == 0)
        return true;
    ret_list->items = calloc(list->count, size);
    if (!ret_list->items)
        return false;
    ret_list->count = list->count;
    const char *from = list->items;
    char *to = ret_list->items;
    for (size_t i = 0; i < list->count; i++)
        if (is_texts ? !copy_text((char *const *)list->items + i, (char **)to + i)
                     : !field_copy(field->fields, from + i * size, to + i * size))
            return false;
    return true;
}

static bool
copy_value(const struct field *field, const void *member, void *ret_member)
{
    switch (field->type) {
    case FIELD_TEXT: return copy_text(member, ret_member);
    case FIELD_INTEGER:
    case FIELD_DURATION:
    case FIELD_TIME: memcpy(ret_member, member, sizeof(int64_t)); return true;
    case FIELD_BOOLEAN: memcpy(ret_member, member, sizeof(bool)); return true;
    case FIELD_CHOICE: memcpy(ret_member, member, sizeof(int)); return true;
    case FIELD_CHOICES: memcpy(ret_member, member, sizeof(unsigned)); return true;
    case FIELD_TEXTS:
    case FIELD_OBJECTS: return copy_list(field, member, ret_member);
    case FIELD_OBJECT: return field_copy(field->fields, member, ret_member);
    case FIELD_JSON: {
        json_t *json = *(json_t *const *)member;
        json_t *copy = json ? json_deep_copy(json) : NULL;
        *(json_t **)ret_member = copy;
        return !json || copy;
    }
    }
    return false;
}

bool
field_copy(const struct field *fields, const void *record, void *ret_record)
{
    for (const struct field *field = fields; field->name; field++)
        if (!copy_value(field, (const char *)record + field->offset,
                        (char *)ret_record + field->offset)) {
            field_clear(fields, ret_record);
            return false;
        }
    return true;
}

static void
clear_list(const struct field *field, struct field_list *list)
{
    char *item = list->items;
    for (size_t i = 0; i < list->count; i++)
        if (field->type == FIELD_TEXTS)
            secret_free(((char **)list->items)[i]);
        else
            field_clear(field->fields, item + i * field->item_size);
    free(list->items);
    *list = (struct field_list){ 0 };
}

static void
clear_value(const struct field *field, void *member)
{
    switch (field->type) {
    case FIELD_TEXT:
        secret_free(*(char **)member);
        *(char **)member = NULL;
        return;
    case FIELD_INTEGER:
    case FIELD_DURATION:
    case FIELD_TIME: OPENSSL_cleanse(member, sizeof(int64_t)); return;
    case FIELD_BOOLEAN: OPENSSL_cleanse(member, sizeof(bool)); return;
    case FIELD_CHOICE: OPENSSL_cleanse(member, sizeof(int)); return;
    case FIELD_CHOICES: OPENSSL_cleanse(member, sizeof(unsigned)); return;
    case FIELD_TEXTS:
    case FIELD_OBJECTS: clear_list(field, member); return;
    case FIELD_OBJECT: field_clear(field->fields, member); return;
    case FIELD_JSON:
        if (field->flags & FIELD_SECRET)
            field_json_wipe(*(json_t **)member);
        else
            json_decref(*(json_t **)member);
        *(json_t **)member = NULL;
        return;
    }
}

void
field_clear(const struct field *fields, void *record)
{
    for (const struct field *field = fields; field->name; field++)
        clear_value(field, (char *)record + field->offset);
}

bool
field_list_has(const struct field_list *list, const char *text)
{
    char *const *items = list->items;
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(items[i], text) == 0)
            return true;
    }
    return false;
}
