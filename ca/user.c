/* Users: who owns devices. */
#include "user.h"
#include "auto.h"
#include "clock.h"
#include "query.h"
#include <stdio.h>
#include <string.h>

#define USER_ATTRIBUTES_MAX 64
#define USER_ATTRIBUTE_SIZE_MAX 256
#define USER_LOGIN_MAX 320 /* octets of what a person types */

static const char *const state_words[] = { "active", "disabled", NULL };
static const char *const source_words[] = { "local", "ldap", NULL };

/* A mailbox of RFC 5321 in its plain form: it goes into certificates and mails. */
static bool
check_email(const void *member, char *ret_reason, size_t size)
{
    const char *email = *(char *const *)member, *at = strchr(email, '@');
    bool is_good = at && at > email && at[1] && !strchr(at + 1, '@');
    for (const char *c = email; *c; c++)
        is_good = is_good && *c > 0x20 && *c < 0x7f && !strchr("<>()[]\\,;:\"", *c);
    if (!is_good)
        snprintf(ret_reason, size, "must be a mailbox such as alice@example.com");
    return is_good;
}

static bool
attribute_is_good(const char *name, const json_t *value)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";
    size_t length = strlen(name), size = json_string_length(value);
    return length > 0 && length <= RECORD_NAME_MAX && strspn(name, letters) == length &&
           json_is_string(value) && size <= USER_ATTRIBUTE_SIZE_MAX &&
           text_is_clean(json_string_value(value), size);
}

static bool
check_attributes(const void *member, char *ret_reason, size_t size)
{
    json_t *attributes = *(json_t *const *)member, *value;
    const char *name;
    bool is_good = json_is_object(attributes) &&
                   json_object_size(attributes) <= USER_ATTRIBUTES_MAX;
    json_object_foreach (attributes, name, value)
        is_good = is_good && attribute_is_good(name, value);
    if (!is_good)
        snprintf(ret_reason, size,
                 "must be an object of at most %d names of a-z 0-9 _ - with texts of "
                 "at most %d octets",
                 USER_ATTRIBUTES_MAX, USER_ATTRIBUTE_SIZE_MAX);
    return is_good;
}

const struct field user_fields[] = {
    { FIELD(user, name), .type = FIELD_TEXT, .flags = FIELD_REQUIRED | FIELD_NAME,
      .help = "The user's name, lower case; {{user.name}} in templates." },
    { FIELD(user, email), .type = FIELD_TEXT, .max = 254, .check = check_email,
      .help = "Mailbox; {{user.email}} in templates." },
    { FIELD(user, display_name), .type = FIELD_TEXT, .max = 128,
      .help = "How people call the user; {{user.display_name}} in templates." },
    { FIELD(user, work_space), .type = FIELD_TEXT, .max = 64,
      .help = "Id of the user's work space; {{user.work_space}} in templates." },
    { FIELD(user, state), .type = FIELD_CHOICE, .words = state_words,
      .initial = "\"active\"",
      .help = "A disabled user gets no certificate, and what he holds is revoked." },
    { FIELD(user, source), .type = FIELD_CHOICE, .words = source_words,
      .flags = FIELD_READ_ONLY, .help = "Where the user comes from." },
    { FIELD(user, groups), .type = FIELD_TEXTS, .flags = FIELD_READ_ONLY,
      .count_max = RECORD_PAGE_MAX, .help = "Groups the user is a member of." },
    { FIELD(user, attributes), .type = FIELD_JSON, .initial = "{}",
      .check = check_attributes,
      .help = "More texts for templates: {{user.attributes.NAME}}." },
    RECORD_STAMP_FIELDS(user),
    FIELD_END,
};

#define USER_COLUMNS                                                                   \
    "name, email, display_name, work_space, state, source, attributes, created, "      \
    "updated, version"

static const struct record_column user_columns[] = {
    RECORD_COLUMN(user, TEXT, name),         RECORD_COLUMN(user, TEXT, email),
    RECORD_COLUMN(user, TEXT, display_name), RECORD_COLUMN(user, TEXT, work_space),
    RECORD_COLUMN(user, CHOICE, state),      RECORD_COLUMN(user, CHOICE, source),
    RECORD_COLUMN(user, JSON, attributes),   RECORD_STAMP_COLUMNS(user),
    { .type = RECORD_COLUMN_END },
};

static const struct record_select user_select = { user_columns, sizeof(struct user),
                                                  "SELECT " USER_COLUMNS
                                                  " FROM users WHERE name = $1" };

static const struct record_column groups_columns[] = {
    RECORD_COLUMN(user, TEXTS, groups),
    { .type = RECORD_COLUMN_END },
};

static enum ca_status
group_row(const struct store_row *row, void *arg)
{
    if (json_array_append_new(arg, json_string(store_row_text(row, 0))) != 0)
        return ca_fail(CA_INTERNAL, "no memory for a user's groups");
    return CA_OK;
}

/* The memberships, which are not columns of the user. */
static enum ca_status
groups_load(struct store_tx *tx, const char *name, struct field_list *ret_groups)
{
    CA_AUTO(json_decref) json_t *groups = json_array();
    enum ca_status status =
        store_run(tx,
                  "SELECT group_name FROM group_member WHERE user_name = $1 "
                  "ORDER BY group_name",
                  STORE_VALUES(store_text(name)), group_row, groups, NULL);
    if (status != CA_OK)
        return status;
    CA_AUTO(free) char *text = record_json_format(groups);
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for a user's groups");
    return record_texts_parse(text, ret_groups);
}

enum ca_status
user_load(struct store_tx *tx, const char *name, struct user *ret_user)
{
    struct user user = { 0 };
    enum ca_status status =
        record_load(tx, &user_select, STORE_VALUES(store_text(name)), &user);
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_NOT_FOUND, "no user '%s'", name);
    if (status != CA_OK)
        return status;
    status = groups_load(tx, name, &user.groups);
    if (status != CA_OK) {
        user_clear(&user);
        return status;
    }
    *ret_user = user;
    return CA_OK;
}

/* "EXAMPLE\\Alice" and " Alice " are "alice". */
static bool
login_normalise(const char *text, char ret_login[USER_LOGIN_MAX + 1])
{
    const char *slash = strrchr(text, '\\');
    text = slash ? slash + 1 : text;
    text += strspn(text, " ");
    size_t length = strlen(text);
    while (length > 0 && text[length - 1] == ' ')
        length--;
    if (length == 0 || length > USER_LOGIN_MAX || !text_is_clean(text, length))
        return false;
    for (size_t i = 0; i < length; i++)
        ret_login[i] =
            (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]);
    ret_login[length] = '\0';
    return true;
}

struct login_names {
    char name[RECORD_NAME_MAX + 1];
    size_t count;
};

static enum ca_status
login_row(const struct store_row *row, void *arg)
{
    struct login_names *names = arg;
    snprintf(names->name, sizeof names->name, "%s", store_row_text(row, 0));
    names->count++;
    return CA_OK;
}

enum ca_status
user_find_name(struct store_tx *tx, const char *text, struct user *ret_user)
{
    char login[USER_LOGIN_MAX + 1];
    if (!login_normalise(text, login))
        return ca_fail(CA_NOT_FOUND, "no user logs in as this");
    return user_load(tx, login, ret_user);
}

enum ca_status
user_find_login(struct store_tx *tx, const char *text, struct user *ret_user)
{
    char login[USER_LOGIN_MAX + 1];
    struct login_names names = { 0 };
    if (!login_normalise(text, login))
        return ca_fail(CA_NOT_FOUND, "no user logs in as this");
    enum ca_status status = user_load(tx, login, ret_user);
    if (status != CA_NOT_FOUND || !strchr(login, '@'))
        return status;
    status = store_run(tx, "SELECT name FROM users WHERE lower(email) = $1 LIMIT 2",
                       STORE_VALUES(store_text(login)), login_row, &names, NULL);
    if (status != CA_OK)
        return status;
    if (names.count != 1)
        return ca_fail(CA_NOT_FOUND, "%s",
                       names.count == 0 ? "no user has this mailbox"
                                        : "several users have this mailbox");
    return user_load(tx, names.name, ret_user);
}

enum ca_status
user_insert(struct store_tx *tx, struct user *user)
{
    int64_t now = clock_now(), rows = 0;
    CA_AUTO(free) char *attributes = record_json_format(user->attributes);
    if (user->attributes && !attributes)
        return ca_fail(CA_INTERNAL, "no memory for user '%s'", user->name);
    enum ca_status status = store_run(
        tx,
        "INSERT INTO users (" USER_COLUMNS ") "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, 1) "
        "ON CONFLICT (name) DO NOTHING RETURNING created, updated, version",
        STORE_VALUES(store_text(user->name), store_text(user->email),
                     store_text(user->display_name), store_text(user->work_space),
                     store_integer(user->state), store_integer(user->source),
                     store_text(attributes ? attributes : "{}"), store_integer(now)),
        row_take_stamp, &user->stamp, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_CONFLICT, "user '%s' exists", user->name);
    return status;
}

enum ca_status
user_update(struct store_tx *tx, struct user *user)
{
    int64_t rows = 0;
    CA_AUTO(free) char *attributes = record_json_format(user->attributes);
    if (user->attributes && !attributes)
        return ca_fail(CA_INTERNAL, "no memory for user '%s'", user->name);
    enum ca_status status = store_run(
        tx,
        "UPDATE users SET email = $2, display_name = $3, work_space = $4, state = $5, "
        "source = $6, attributes = $7, updated = $8, version = version + 1 "
        "WHERE name = $1 AND version = $9 RETURNING created, updated, version",
        STORE_VALUES(store_text(user->name), store_text(user->email),
                     store_text(user->display_name), store_text(user->work_space),
                     store_integer(user->state), store_integer(user->source),
                     store_text(attributes ? attributes : "{}"),
                     store_integer(clock_now()), store_integer(user->stamp.version)),
        row_take_stamp, &user->stamp, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_CONFLICT, "user '%s' has another version than %lld",
                       user->name, (long long)user->stamp.version);
    return status;
}

/* Why the conditional DELETE took nothing away. */
static enum ca_status
user_refuse_delete(struct store_tx *tx, const char *name, int64_t version)
{
    struct user user = { 0 };
    enum ca_status status = user_load(tx, name, &user);
    bool is_stale = user.stamp.version != version;
    user_clear(&user);
    if (status != CA_OK)
        return status;
    if (is_stale)
        return ca_fail(CA_CONFLICT, "user '%s' has another version than %lld", name,
                       (long long)version);
    return ca_fail(CA_CONFLICT, "user '%s' still has active devices", name);
}

/* What would let in whoever gets the name next: secrets that are still open, requests
 * that still wait. */
static enum ca_status
user_end_requests(struct store_tx *tx, const char *name)
{
    enum ca_status status = store_run(
        tx,
        "UPDATE challenge SET state = 3, updated = $2, version = version + 1 "
        "WHERE user_name = $1 AND state = 0",
        STORE_VALUES(store_text(name), store_integer(clock_now())), NULL, NULL, NULL);
    if (status != CA_OK)
        return status;
    return store_run(
        tx,
        "UPDATE pending SET state = 2, reason = 'the user was deleted', updated = $2, "
        "version = version + 1 WHERE user_name = $1 AND state <= 1",
        STORE_VALUES(store_text(name), store_integer(clock_now())), NULL, NULL, NULL);
}

/* Those that were disabled or unenrolled are nobody's: whoever gets the name next did
 * not have them. */
static enum ca_status
user_leave_devices(struct store_tx *tx, const char *name)
{
    return store_run(tx,
                     "UPDATE device SET owner = NULL, updated = $2, "
                     "version = version + 1 WHERE owner = $1",
                     STORE_VALUES(store_text(name), store_integer(clock_now())), NULL,
                     NULL, NULL);
}

enum ca_status
user_delete(struct store_tx *tx, const char *name, int64_t version)
{
    int64_t rows = 0;
    enum ca_status status = store_run(
        tx,
        "DELETE FROM users WHERE name = $1 AND version = $2 AND NOT EXISTS "
        "(SELECT 1 FROM device WHERE owner = $1 AND state <= 1) "
        "RETURNING name",
        STORE_VALUES(store_text(name), store_integer(version)), NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        return user_refuse_delete(tx, name, version);
    if (status == CA_OK)
        status = user_end_requests(tx, name);
    if (status == CA_OK)
        status = user_leave_devices(tx, name);
    if (status == CA_OK)
        status = store_run(tx, "DELETE FROM user_password WHERE user_name = $1",
                           STORE_VALUES(store_text(name)), NULL, NULL, NULL);
    if (status == CA_OK)
        status = store_run(tx, "DELETE FROM directory_entry WHERE user_name = $1",
                           STORE_VALUES(store_text(name)), NULL, NULL, NULL);
    if (status == CA_OK)
        status = store_run(tx, "DELETE FROM activation WHERE user_name = $1",
                           STORE_VALUES(store_text(name)), NULL, NULL, NULL);
    if (status == CA_OK)
        status = store_run(tx, "DELETE FROM group_member WHERE user_name = $1",
                           STORE_VALUES(store_text(name)), NULL, NULL, NULL);
    if (status == CA_OK)
        status =
            store_run(tx, "DELETE FROM assignment WHERE to_group = 0 AND target = $1",
                      STORE_VALUES(store_text(name)), NULL, NULL, NULL);
    return status;
}

struct user_visit {
    struct store_tx *tx;
    record_visit visit;
    void *arg;
};

/* A row of the list, to which its memberships are added. */
static enum ca_status
user_complete(const void *record, void *arg)
{
    const struct user_visit *list = arg;
    struct user user = *(const struct user *)record;
    enum ca_status status = groups_load(list->tx, user.name, &user.groups);
    if (status == CA_OK)
        status = list->visit(&user, list->arg);
    record_clear(groups_columns, &user);
    return status;
}

enum ca_status
user_list(struct store_tx *tx, const struct user_filter *filter,
          const struct record_page *page, record_visit visit, void *arg)
{
    struct query query;
    struct user_visit list = { tx, visit, arg };
    char after[QUERY_PREFIX_MAX];
    int state = 0;
    query_begin(&query, "SELECT " USER_COLUMNS " FROM users");
    if (filter && filter->state) {
        enum ca_status status =
            word_parse(state_words, "state of a user", filter->state, &state);
        if (status != CA_OK)
            return status;
        query_where(&query, "state = ?", store_integer(state));
    }
    if (filter) {
        query_where_text(&query, "email = ?", filter->email);
        query_where_text(&query,
                         "name IN (SELECT user_name FROM group_member WHERE "
                         "group_name = ?)",
                         filter->group);
        query_where_prefix(&query, "name", filter->q, after);
    }
    query_page(&query, "name", page);
    return query_list(&query, tx, &user_select, user_complete, &list);
}

void
user_clear(struct user *user)
{
    field_clear(user_fields, user);
}
