/* Templates: a text is split into literal pieces and variables, one after the other. */
#include "template.h"
#include "auto.h"
#include <string.h>

#define REASON_SIZE 160

struct piece {
    const char *text; /* literal text; NULL: a variable */
    size_t size;
    char name[TEMPLATE_NAME_MAX + 1];
    const char *initial; /* default behind '|', or NULL */
    size_t initial_size;
};

/* "name" or "name|default", between the braces. */
static bool
read_variable(const char *text, size_t size, struct piece *ret_piece, char *ret_reason,
              size_t reason_size)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_.-";
    const char *bar = memchr(text, '|', size);
    size_t length = bar ? (size_t)(bar - text) : size;
    struct piece piece = { .text = NULL };
    if (length == 0 || length > TEMPLATE_NAME_MAX) {
        snprintf(ret_reason, reason_size,
                 "has a variable name of %zu octets, not 1..%d", length,
                 TEMPLATE_NAME_MAX);
        return false;
    }
    memcpy(piece.name, text, length);
    if (strspn(piece.name, letters) != length) {
        snprintf(ret_reason, reason_size,
                 "has a variable with other characters than a-z 0-9 _ . -");
        return false;
    }
    if (bar) {
        piece.initial = bar + 1;
        piece.initial_size = size - length - 1;
    }
    *ret_piece = piece;
    return true;
}

/* The next piece, moving `cursor` behind it; false with a reason for stray braces. Not
 * called at the end of the text. */
static bool
next_piece(const char **cursor, struct piece *ret_piece, char *ret_reason,
           size_t reason_size)
{
    const char *text = *cursor;
    size_t literal = strcspn(text, "{}");
    if (literal > 0) {
        *ret_piece = (struct piece){ .text = text, .size = literal };
        *cursor = text + literal;
        return true;
    }
    size_t inside = strncmp(text, "{{", 2) == 0 ? strcspn(text + 2, "{}") : 0;
    if (strncmp(text, "{{", 2) != 0 || strncmp(text + 2 + inside, "}}", 2) != 0) {
        snprintf(ret_reason, reason_size, "has a brace that is not of a {{variable}}");
        return false;
    }
    *cursor = text + 2 + inside + 2;
    return read_variable(text + 2, inside, ret_piece, ret_reason, reason_size);
}

struct bounds {
    size_t octets;
    int variables;
};
static const struct bounds of_names = { TEMPLATE_SIZE_MAX, TEMPLATE_VARIABLES_MAX };
static const struct bounds of_letters = { TEMPLATE_LETTER_MAX,
                                          TEMPLATE_LETTER_VARIABLES_MAX };

static bool
check(const char *text, const struct bounds *bounds,
      bool (*known)(const char *name, void *arg), void *arg, char *ret_reason,
      size_t size)
{
    int variables = 0;
    struct piece piece;
    if (strnlen(text, bounds->octets + 1) > bounds->octets) {
        snprintf(ret_reason, size, "has more than %zu octets", bounds->octets);
        return false;
    }
    while (*text) {
        if (!next_piece(&text, &piece, ret_reason, size))
            return false;
        if (piece.text)
            continue;
        if (++variables > bounds->variables) {
            snprintf(ret_reason, size, "has more than %d variables", bounds->variables);
            return false;
        }
        if (known && !known(piece.name, arg)) {
            snprintf(ret_reason, size, "has an unknown variable '%s'", piece.name);
            return false;
        }
    }
    return true;
}

/* A predicate without an argument of its own, as one with it. */
struct predicate {
    bool (*known)(const char *name);
};

static bool
ask_predicate(const char *name, void *arg)
{
    const struct predicate *predicate = arg;
    return predicate->known(name);
}

bool
template_check(const char *text, bool (*known)(const char *name), char *ret_reason,
               size_t size)
{
    struct predicate predicate = { known };
    return check(text, &of_names, known ? ask_predicate : NULL, &predicate, ret_reason,
                 size);
}

bool
template_check_letter(const char *text, template_known known, void *arg,
                      char *ret_reason, size_t size)
{
    return check(text, &of_letters, known, arg, ret_reason, size);
}

static enum ca_status
expand(const char *text, const struct bounds *bounds, template_lookup lookup, void *arg,
       size_t max, char **ret_text)
{
    CA_AUTO(text_buffer_clear) struct text_buffer buffer = { 0 };
    char reason[REASON_SIZE];
    struct piece piece;
    if (!check(text, bounds, NULL, NULL, reason, sizeof reason))
        return ca_fail(CA_MALFORMED, "template %s", reason);
    while (*text && next_piece(&text, &piece, reason, sizeof reason)) {
        const char *value = piece.text ? NULL : lookup(piece.name, arg);
        if (piece.text)
            text_append(&buffer, piece.text, piece.size);
        else if (value)
            text_append(&buffer, value, strnlen(value, max + 1));
        else if (piece.initial)
            text_append(&buffer, piece.initial, piece.initial_size);
        else
            return ca_fail(CA_FORBIDDEN, "variable '%s' has no value", piece.name);
        if (buffer.size > max)
            return ca_fail(CA_LIMIT, "expanded template has more than %zu octets", max);
    }
    text_append(&buffer, "", 1); /* an allocated "" too */
    if (buffer.failed)
        return ca_fail(CA_INTERNAL, "out of memory for a template");
    *ret_text = CA_STEAL(buffer.data);
    return CA_OK;
}

enum ca_status
template_expand(const char *text, template_lookup lookup, void *arg, size_t max,
                char **ret_text)
{
    return expand(text, &of_names, lookup, arg, max, ret_text);
}

enum ca_status
template_expand_letter(const char *text, template_lookup lookup, void *arg, size_t max,
                       char **ret_text)
{
    return expand(text, &of_letters, lookup, arg, max, ret_text);
}
