/* `{{name}}` and `{{name|default}}` in text: certificate names, later mails. */
#pragma once

#include "text.h"

#define TEMPLATE_DEPTH_NONE 0 /* values are never expanded again */

/* The value of a variable, or NULL when it has none. Borrowed until the next call. */
typedef const char *(*template_lookup)(const char *name, void *arg);

/* Are all braces paired, names of [a-z0-9_.-], at most 32 variables and 1024 octets?
 * `known` (may be NULL) says which names exist. Reason in `ret_reason`. */
bool template_check(const char *text, bool (*known)(const char *name), char *ret_reason,
                    size_t size);

/* Expands into a new string (free() it). A variable without value and default is
 * CA_FORBIDDEN, its name in the message; an expansion over `max` octets CA_LIMIT. */
enum ca_status template_expand(const char *text, template_lookup lookup, void *arg,
                               size_t max, char **ret_text);
