/* Field tables described: JSON Schema 2020-12 for OpenAPI, console and documents. */
#include "auto.h"
#include "field.h"
#include <stdio.h>
#include <string.h>

#define FIELD_TEXT_MAX 1024
#define FIELD_COUNT_MAX 64

/* Sets a member; false for a value that could not be made. */
static bool
put(json_t *schema, const char *name, json_t *value)
{
    return json_object_set_new(schema, name, value) == 0;
}

static json_t *
words_schema(const struct field *field)
{
    CA_AUTO(json_decref) json_t *list = json_array();
    for (size_t i = 0; list && field->words[i]; i++)
        if (json_array_append_new(list, json_string(field->words[i])) != 0)
            return NULL;
    return list ? json_pack("{s:s, s:O}", "type", "string", "enum", list) : NULL;
}

/* JSON Schema counts characters, the table octets: an octet limit is as many characters
 * at most, and a quarter as many at least. */
static json_t *
text_schema(const struct field *field)
{
    int64_t max = field->max ? field->max : FIELD_TEXT_MAX;
    CA_AUTO(json_decref) json_t *schema = json_pack("{s:s}", "type", "string");
    if (!schema)
        return NULL;
    if (field->flags & FIELD_NAME)
        return put(schema, "pattern", json_string("^[a-z0-9][a-z0-9._@-]{0,63}$"))
                   ? CA_STEAL(schema)
                   : NULL;
    if (field->min && !put(schema, "minLength", json_integer((field->min + 3) / 4)))
        return NULL;
    return put(schema, "maxLength", json_integer(max)) ? CA_STEAL(schema) : NULL;
}

static json_t *
integer_schema(const struct field *field)
{
    CA_AUTO(json_decref) json_t *schema = json_pack("{s:s}", "type", "integer");
    bool has_max = field->max > field->min;
    if (!schema ||
        ((has_max || field->min) &&
         !put(schema, "minimum", json_integer(field->min))) ||
        (has_max && !put(schema, "maximum", json_integer(field->max))))
        return NULL;
    return CA_STEAL(schema);
}

static json_t *
list_schema(const struct field *field, json_t *items, bool is_set)
{
    size_t max = field->count_max ? field->count_max : FIELD_COUNT_MAX;
    json_t *list = json_pack("{s:s, s:o}", "type", "array", "items", items);
    if (!list)
        return NULL;
    bool is_good = is_set ? put(list, "uniqueItems", json_true())
                          : put(list, "maxItems", json_integer((json_int_t)max));
    if (is_good)
        return list;
    json_decref(list);
    return NULL;
}

static json_t *
value_schema(const struct field *field, bool input)
{
    switch (field->type) {
    case FIELD_TEXT: return text_schema(field);
    case FIELD_INTEGER: return integer_schema(field);
    case FIELD_BOOLEAN: return json_pack("{s:s}", "type", "boolean");
    case FIELD_DURATION:
        return json_pack("{s:s, s:s}", "type", "string", "format", "duration");
    case FIELD_TIME:
        return json_pack("{s:s, s:s}", "type", "string", "format", "date-time");
    case FIELD_CHOICE: return words_schema(field);
    case FIELD_CHOICES: return list_schema(field, words_schema(field), true);
    case FIELD_TEXTS: return list_schema(field, text_schema(field), false);
    case FIELD_OBJECT: return field_schema(field->fields, input);
    case FIELD_OBJECTS:
        return list_schema(field, field_schema(field->fields, input), false);
    case FIELD_JSON: return json_object();
    }
    return NULL;
}

/* Null is absent in input; in output it is what has no value. */
static bool
allow_null(const struct field *field, bool input, json_t *schema)
{
    bool has_no_value = field->type == FIELD_TEXT || field->type == FIELD_TIME;
    json_t *type = json_object_get(schema, "type");
    json_t *words = json_object_get(schema, "enum");
    if (!type || field->flags & FIELD_REQUIRED || (!input && !has_no_value))
        return true;
    if (words && json_array_append_new(words, json_null()) != 0)
        return false;
    return put(schema, "type", json_pack("[O, s]", type, "null"));
}

/* The help, with bounds that JSON Schema has no word for. */
static json_t *
description(const struct field *field)
{
    char min[32], max[32];
    const char *help = field->help ? field->help : "";
    if (field->type != FIELD_DURATION || (field->min == 0 && field->max <= 0))
        return json_string(help);
    duration_format(field->min, min);
    duration_format(field->max, max);
    const char *space = *help ? " " : "";
    if (field->max > field->min)
        return json_sprintf("%s%sFrom %s to %s.", help, space, min, max);
    return json_sprintf("%s%sAt least %s.", help, space, min);
}

static json_t *
member_schema(const struct field *field, bool input)
{
    CA_AUTO(json_decref) json_t *schema = value_schema(field, input);
    if (!schema || !allow_null(field, input, schema) ||
        !put(schema, "description", description(field)))
        return NULL;
    if (input && field->initial &&
        !put(schema, "default", json_loads(field->initial, JSON_DECODE_ANY, NULL)))
        return NULL;
    if (field->flags & FIELD_READ_ONLY && !put(schema, "readOnly", json_true()))
        return NULL;
    if (field->flags & FIELD_SECRET && !put(schema, "writeOnly", json_true()))
        return NULL;
    return CA_STEAL(schema);
}

json_t *
field_schema(const struct field *fields, bool input)
{
    CA_AUTO(json_decref) json_t *properties = json_object();
    CA_AUTO(json_decref) json_t *required = json_array();
    unsigned left_out = input ? FIELD_READ_ONLY : FIELD_SECRET;
    if (!properties || !required)
        return NULL;
    for (; fields->name; fields++) {
        if (fields->flags & left_out)
            continue;
        if (!put(properties, fields->name, member_schema(fields, input)))
            return NULL;
        bool is_required = !input || fields->flags & FIELD_REQUIRED;
        if (is_required &&
            json_array_append_new(required, json_string(fields->name)) != 0)
            return NULL;
    }
    return json_pack("{s:s, s:b, s:O, s:O}", "type", "object", "additionalProperties",
                     false, "properties", properties, "required", required);
}
