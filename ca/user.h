/* Users: who owns devices. */
#pragma once

#include "record.h"

enum user_state { USER_ACTIVE, USER_DISABLED };
enum user_source { USER_LOCAL, USER_LDAP };

struct user {
    char *name; /* lower-case key */
    char *email, *display_name, *work_space;
    int state, source;
    struct field_list groups; /* char *, read-only: by memberships */
    json_t *attributes; /* object of strings, for templates {{user.attributes.x}} */
    struct record_stamp stamp;
};

extern const struct field user_fields[];

enum ca_status user_load(struct store_tx *tx, const char *name, struct user *ret_user);
/* The user whom a person means who types this at a log-in: the name, the mailbox (when
 * it is one user's), either with a Windows domain before it, in any case. */
enum ca_status user_find_login(struct store_tx *tx, const char *text,
                               struct user *ret_user);
/* The name alone, by the same rule. */
enum ca_status user_find_name(struct store_tx *tx, const char *text,
                              struct user *ret_user);
enum ca_status user_insert(struct store_tx *tx, struct user *user);
enum ca_status user_update(struct store_tx *tx,
                           struct user *user); /* over stamp.version */
/* Takes memberships and assignments with it. CA_CONFLICT while active or pending
 * devices remain. */
enum ca_status user_delete(struct store_tx *tx, const char *name, int64_t version);

struct user_filter {
    const char *group, *email, *state; /* NULL: any */
    const char *q;                     /* prefix of name */
};
enum ca_status user_list(struct store_tx *tx, const struct user_filter *filter,
                         const struct record_page *page, record_visit visit, void *arg);
void user_clear(struct user *user);
