/* `{{name}}` and `{{name|default}}` in text: certificate names, mails. */
#pragma once

#include "text.h"

#define TEMPLATE_SIZE_MAX 1024
#define TEMPLATE_VARIABLES_MAX 32
#define TEMPLATE_NAME_MAX 128

/* The value of a variable, or NULL when it has none. Borrowed until the next call. */
typedef const char *(*template_lookup)(const char *name, void *arg);

/* Are all braces those of variables, names of [a-z0-9_.-], at most 32 variables and
 * 1024 octets? A default is any text without braces, also none (`{{name|}}`). `known`
 * (may be NULL) says which names exist. Reason in `ret_reason`. */
bool template_check(const char *text, bool (*known)(const char *name), char *ret_reason,
                    size_t size);

/* Expands into a new string (free() it); values are never expanded again. CA_MALFORMED:
 * a text that template_check refuses; CA_FORBIDDEN: a variable without value and
 * default, its name in the message; CA_LIMIT: over `max` octets. */
enum ca_status template_expand(const char *text, template_lookup lookup, void *arg,
                               size_t max, char **ret_text);

/* The same for the texts of mails, which are longer: at most 128 variables and 64 KiB.
 */
#define TEMPLATE_LETTER_MAX 65536
#define TEMPLATE_LETTER_VARIABLES_MAX 128
typedef bool (*template_known)(const char *name, void *arg);
bool template_check_letter(const char *text, template_known known, void *arg,
                           char *ret_reason, size_t size);
enum ca_status template_expand_letter(const char *text, template_lookup lookup,
                                      void *arg, size_t max, char **ret_text);
