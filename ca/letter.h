/* Mail templates: subject, plain text and HTML of the mails that users get, with
 * {{variables}}. Those in the program hold until an administrator saves others; every
 * version is kept. */
#pragma once

#include "record.h"

#define LETTER_SUBJECT_MAX 200
#define LETTER_TEXT_MAX 32768

/* What a variable is, which decides where it may stand. */
enum letter_use {
    LETTER_PLAIN,
    LETTER_SECRET, /* never in a subject */
    LETTER_PICTURE /* in HTML alone */
};
struct letter_variable {
    const char *name; /* ended by a NULL name */
    enum letter_use use;
    const char *sample; /* for a preview */
    const char *help;
};

/* One of the mails there are. */
struct letter_kind {
    const char *name; /* ended by a NULL name */
    const char *about;
    const char *subject, *text, *html;
    const struct letter_variable *variables;
    /* One of these must be in the text, and in the HTML if there is one; ended by NULL;
     * or NULL */
    const char *const *wants;
};
extern const struct letter_kind letter_kinds[];
const struct letter_kind *letter_kind_find(const char *name); /* NULL: none */

struct letter {
    char *name;
    char *subject, *text;
    char *html; /* NULL: plain text alone */
    bool is_built_in;
    char *about;
    struct field_list variables; /* char *, read-only */
    struct record_stamp stamp;   /* version 1 is the program's own */
};
extern const struct field letter_fields[];

/* The rules beyond the table's, by the mail that it is for: variables it knows, none
 * missing, secrets outside the subject. `letter->name` names the mail. */
void letter_check(const struct letter *letter, struct field_errors *errors);

/* What holds now. CA_NOT_FOUND: no mail has this name. */
enum ca_status letter_load(struct store_tx *tx, const char *name,
                           struct letter *ret_letter);
/* Over stamp.version, CA_CONFLICT when it is another. */
enum ca_status letter_save(struct store_tx *tx, struct letter *letter);
/* The program's own again, as a new version. */
enum ca_status letter_reset(struct store_tx *tx, const char *name, int64_t version);
/* All mails by name; every saved version of one, newest first. */
enum ca_status letter_list(struct store_tx *tx, const struct record_page *page,
                           record_visit visit, void *arg);
enum ca_status letter_versions(struct store_tx *tx, const char *name,
                               const struct record_page *page, record_visit visit,
                               void *arg);
void letter_clear(struct letter *letter);
