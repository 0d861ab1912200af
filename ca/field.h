/* Field tables: one table drives JSON in and out, validation and the JSON schema of a
 * record, for configuration, API bodies and console alike. */
#pragma once

#include "status.h"
#include "text.h"
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum field_type {
    FIELD_TEXT,     /* char *            clean UTF-8, min..max octets */
    FIELD_INTEGER,  /* int64_t           min..max */
    FIELD_BOOLEAN,  /* bool */
    FIELD_DURATION, /* int64_t seconds   "P30D"; min..max seconds */
    FIELD_TIME,     /* int64_t seconds   RFC 3339; 0 is null */
    FIELD_CHOICE,   /* int (enum)        one of `words`, index is the value */
    FIELD_CHOICES,  /* unsigned (bits)   list of `words` without repeats, bit = index */
    FIELD_TEXTS,    /* struct field_list of char *   at most `count_max` */
    FIELD_OBJECT,   /* the struct itself, by `fields` */
    FIELD_OBJECTS,  /* struct field_list of structs of `item_size`, by `fields` */
    FIELD_JSON /* json_t *          any value; the record's own check looks inside */
};

#define FIELD_REQUIRED 1u  /* must be present on create; null is absent */
#define FIELD_READ_ONLY 2u /* output only; refused in input unless equal on update */
#define FIELD_SECRET 4u    /* input only; never encoded; wiped by field_clear */
#define FIELD_NAME 8u      /* a resource name: [a-z0-9][a-z0-9._@-]{0,63}, lower case */
#define FIELD_LINES 16u    /* TEXT, TEXTS: line ends (LF, CR LF) are taken too: PEM */

struct field_list {
    void *items; /* malloc'd array of char * or of structs */
    size_t count;
};

/* Is the text one of a list of texts? */
bool field_list_has(const struct field_list *list, const char *text);

/* A record's own rule for one member, asked after the table's when a value is there:
 * `member` points to it in the record (char **, int64_t *, struct field_list * ...).
 * True, or false with a sentence in `ret_reason` ("must be a power of two"). */
typedef bool (*field_check)(const void *member, char *ret_reason, size_t size);

struct field {
    const char *name; /* JSON member, snake_case */
    enum field_type type;
    unsigned flags;
    size_t offset;
    int64_t min, max;           /* 0, 0: TEXT 0..1024, INTEGER and DURATION no bound;
                                   max 0 below min: 1024, no upper bound */
    size_t count_max;           /* lists; 0: 64 */
    const char *const *words;   /* CHOICE, CHOICES: NULL-terminated */
    const struct field *fields; /* OBJECT, OBJECTS: table ended by a NULL name */
    size_t item_size;           /* OBJECT, OBJECTS: sizeof of the struct */
    const char *initial;        /* JSON text of the value when absent; NULL: zero */
    field_check check;
    const char *help; /* one line: OpenAPI description, docs/config.md, man page */
};

#define FIELD(record, member) .name = #member, .offset = offsetof(struct record, member)
#define FIELD_END                                                                      \
    {                                                                                  \
        .name = NULL                                                                   \
    }

/* What is wrong with a body: JSON pointer and sentence each; at most 16 are kept. */
struct field_error {
    char pointer[128];
    char reason[160];
};
struct field_errors {
    struct field_error items[16];
    size_t count;
};
void field_error_add(struct field_errors *errors, const char *pointer,
                     const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Fills a zeroed record from a JSON object. Unknown, missing and mistyped members are
 * all collected in `errors` (may be NULL) with their JSON pointers (RFC 6901). Null is
 * absent, and an absent member takes its `initial`, an absent OBJECT those of its
 * members; then only is REQUIRED asked. Reasons never repeat a value. On any error the
 * record is cleared and CA_MALFORMED returned, its message naming the first one without
 * the leading slash ("keys/0/min_bits: must be ..."); CA_INTERNAL: memory. */
enum ca_status field_decode(const struct field *fields, const json_t *object,
                            void *ret_record, struct field_errors *errors);

/* As field_decode for an update (PUT) of `present`, so that a client may put back what
 * it got: a READ_ONLY member may be there when it equals the present one and always
 * keeps the present value; absent SECRET and REQUIRED members keep it too; every other
 * absent member takes its `initial`. Items of OBJECTS are new ones, never matched with
 * present items. */
enum ca_status field_decode_over(const struct field *fields, const json_t *object,
                                 const void *present, void *ret_record,
                                 struct field_errors *errors);

/* The record as a JSON object (new reference), without secrets, every other member
 * present: NULL texts and JSON and times of 0 are null. NULL: memory, or a record that
 * its table cannot describe (a CHOICE without word, a text that is not UTF-8). */
json_t *field_encode(const struct field *fields, const void *record);

/* A deep copy into a zeroed record, secrets too. False: memory, nothing is copied. */
bool field_copy(const struct field *fields, const void *record, void *ret_record);

/* Frees and zeroes every member the table names; secrets are wiped. */
void field_clear(const struct field *fields, void *record);

/* JSON Schema 2020-12 of the record (new reference; NULL: memory), additionalProperties
 * false. `input` leaves out read-only members, output leaves out secrets and requires
 * all others. */
json_t *field_schema(const struct field *fields, bool input);

#define FIELD_PARSE_DEPTH 32

/* Parses JSON text with the limits of every input: `size` at most `max`, depth 32, no
 * duplicate member, nothing after the value, no NUL in strings; else CA_MALFORMED or
 * CA_LIMIT with position in the message, which repeats nothing of the text. */
enum ca_status field_parse(const char *text, size_t size, size_t max,
                           json_t **ret_json);

/* Wipes every text of a value and drops the reference: input that held secrets. The
 * caller must be its only owner. NULL is nothing. */
void field_json_wipe(json_t *json);
