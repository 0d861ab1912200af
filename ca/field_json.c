/* JSON text with the limits of every input, and wiping what it held. */
#include "auto.h"
#include "field.h"
#include <openssl/crypto.h>
#include <string.h>

/* Depth of brackets outside strings, never more than one over the limit: jansson's own
 * limit is 2048 and fixed. */
static int
depth_of(const char *text, size_t size)
{
    int depth = 0, deepest = 0;
    bool in_string = false;
    for (size_t i = 0; i < size && deepest <= FIELD_PARSE_DEPTH; i++) {
        if (in_string && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            in_string = !in_string;
        else if (!in_string && (text[i] == '{' || text[i] == '['))
            depth++;
        else if (!in_string && (text[i] == '}' || text[i] == ']'))
            depth--;
        if (depth > deepest)
            deepest = depth;
    }
    return deepest;
}

/* Jansson's own text quotes the input, which may hold a secret. */
static const char *
error_text(const json_error_t *error)
{
    switch (json_error_code(error)) {
    case json_error_premature_end_of_input: return "ends early";
    case json_error_end_of_input_expected: return "goes on after the value";
    case json_error_duplicate_key: return "has a member twice";
    case json_error_invalid_utf8: return "is not UTF-8";
    case json_error_null_byte_in_key:
    case json_error_null_character:
    case json_error_null_value: return "has a NUL in a string";
    case json_error_numeric_overflow: return "has a number out of range";
    case json_error_unknown:
    case json_error_out_of_memory:
    case json_error_stack_overflow:
    case json_error_cannot_open_file:
    case json_error_invalid_argument:
    case json_error_invalid_syntax:
    case json_error_invalid_format:
    case json_error_wrong_type:
    case json_error_item_not_found:
    case json_error_index_out_of_range: break;
    }
    return "is not valid";
}

enum ca_status
field_parse(const char *text, size_t size, size_t max, json_t **ret_json)
{
    json_error_t error;
    if (size > max)
        return ca_fail(CA_LIMIT, "JSON has %zu octets, at most %zu", size, max);
    if (depth_of(text, size) > FIELD_PARSE_DEPTH)
        return ca_fail(CA_LIMIT, "JSON is deeper than %d", FIELD_PARSE_DEPTH);
    size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY;
    json_t *json = json_loadb(text, size, flags, &error);
    if (!json && json_error_code(&error) == json_error_out_of_memory)
        return ca_fail(CA_INTERNAL, "out of memory for JSON");
    if (!json)
        return ca_fail(CA_MALFORMED, "JSON %s, line %d column %d", error_text(&error),
                       error.line, error.column);
    *ret_json = json;
    return CA_OK;
}

static void
wipe(json_t *json)
{
    const char *name;
    json_t *value;
    size_t i;
    json_object_foreach (json, name, value)
        wipe(value);
    json_array_foreach (json, i, value)
        wipe(value);
    if (json_is_string(json)) {
        /* The text is the value's own; only its accessor is declared const. */
        const char *text = json_string_value(json);
        void *octets;
        memcpy(&octets, &text, sizeof octets);
        OPENSSL_cleanse(octets, json_string_length(json));
    }
}

void
field_json_wipe(json_t *json)
{
    wipe(json);
    json_decref(json);
}
