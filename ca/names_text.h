/* Names as text: the attribute types we know, RFC 4514-like subjects and templates,
 * "type:value" of alternative names. Pure. */
#pragma once

#include "profile.h"
#include "text.h"
#include <openssl/x509v3.h>

#define NAMES_ATTRIBUTES_MAX 32
#define NAMES_VALUE_MAX 1024

enum names_syntax {
    NAMES_DIRECTORY, /* PrintableString where it can be, else UTF8String */
    NAMES_PRINTABLE,
    NAMES_IA5
};

/* RFC 5280 appendix A.1: upper bounds in characters. */
struct names_type {
    const char *label; /* as RFC 4514 writes it */
    int nid;
    enum names_syntax syntax;
    long max;
};
const struct names_type *names_type_of(int nid); /* NULL: not one we issue */

/* One attribute of a subject's text; `value` is unescaped. */
struct names_attribute {
    const struct names_type *type;
    char value[NAMES_VALUE_MAX + 1];
    bool joins; /* '+': in the RDN of the attribute before it */
};

/* Takes the next attribute of the text at `cursor` and moves it behind its comma or
 * plus. `is_template`: {{ }} is kept as it is, whatever is inside. False with a reason
 * for what is no subject. Not called at the end of the text. */
bool names_next_attribute(const char **cursor, bool is_template, bool joins,
                          struct names_attribute *ret_attribute, char *ret_reason,
                          size_t size);

/* Appends a checked attribute; false with a reason: empty, not clean, too long, not of
 * its type's alphabet. */
bool names_add_attribute(X509_NAME *name, const struct names_attribute *attribute,
                         char *ret_reason, size_t size);

/* Is `value` a name of this type as we would issue it? */
bool names_san_is_good(enum san_type type, const char *value, char *ret_reason,
                       size_t size);
/* The name itself, in the canonical case; NULL when it is not good or memory ran out.
 */
GENERAL_NAME *names_san_new(enum san_type type, const char *value);

extern const char *const names_san_words[]; /* "dns", "email", ... by enum san_type */
/* "dns:a.example" -> type and value inside the text. */
bool names_san_parse(const char *text, enum san_type *ret_type, const char **ret_value);
