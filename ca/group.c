/* Groups of users and their members. */
#include "group.h"
#include "auto.h"
#include "clock.h"
#include "query.h"

#define GROUP_PRIORITY_MAX 1000

const struct field group_fields[] = {
    { FIELD(group, name), .type = FIELD_TEXT, .flags = FIELD_REQUIRED | FIELD_NAME,
      .help = "The group's name, lower case." },
    { FIELD(group, description), .type = FIELD_TEXT, .max = 256,
      .help = "What the group is for." },
    { FIELD(group, priority), .type = FIELD_INTEGER, .min = 0,
      .max = GROUP_PRIORITY_MAX, .initial = "100",
      .help = "Of several groups' profiles the one of the lowest priority holds." },
    RECORD_STAMP_FIELDS(group),
    FIELD_END,
};

#define GROUP_COLUMNS "name, description, priority, created, updated, version"

static const struct record_column group_columns[] = {
    RECORD_COLUMN(group, TEXT, name),        RECORD_COLUMN(group, TEXT, description),
    RECORD_COLUMN(group, INTEGER, priority), RECORD_STAMP_COLUMNS(group),
    { .type = RECORD_COLUMN_END },
};

static const struct record_select group_select = { group_columns, sizeof(struct group),
                                                   "SELECT " GROUP_COLUMNS
                                                   " FROM user_group WHERE name = $1" };

enum ca_status
group_load(struct store_tx *tx, const char *name, struct group *ret_group)
{
    enum ca_status status =
        record_load(tx, &group_select, STORE_VALUES(store_text(name)), ret_group);
    return status == CA_NOT_FOUND ? ca_fail(CA_NOT_FOUND, "no group '%s'", name)
                                  : status;
}

enum ca_status
group_insert(struct store_tx *tx, struct group *group)
{
    int64_t rows = 0;
    enum ca_status status = store_run(
        tx,
        "INSERT INTO user_group (" GROUP_COLUMNS ") "
        "VALUES ($1, $2, $3, $4, $4, 1) ON CONFLICT (name) DO NOTHING "
        "RETURNING created, updated, version",
        STORE_VALUES(store_text(group->name), store_text(group->description),
                     store_integer(group->priority), store_integer(clock_now())),
        row_take_stamp, &group->stamp, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_CONFLICT, "group '%s' exists", group->name);
    return status;
}

enum ca_status
group_update(struct store_tx *tx, struct group *group)
{
    int64_t rows = 0;
    enum ca_status status = store_run(
        tx,
        "UPDATE user_group SET description = $2, priority = $3, updated = $4, "
        "version = version + 1 WHERE name = $1 AND version = $5 "
        "RETURNING created, updated, version",
        STORE_VALUES(store_text(group->name), store_text(group->description),
                     store_integer(group->priority), store_integer(clock_now()),
                     store_integer(group->stamp.version)),
        row_take_stamp, &group->stamp, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_CONFLICT, "group '%s' has another version than %lld",
                       group->name, (long long)group->stamp.version);
    return status;
}

enum ca_status
group_delete(struct store_tx *tx, const char *name, int64_t version)
{
    int64_t rows = 0;
    enum ca_status status = store_run(
        tx,
        "DELETE FROM user_group WHERE name = $1 AND version = $2 "
        "RETURNING name",
        STORE_VALUES(store_text(name), store_integer(version)), NULL, NULL, &rows);
    if (status == CA_OK && rows == 0) {
        struct group group = { 0 };
        status = group_load(tx, name, &group);
        group_clear(&group);
        return status != CA_OK
                   ? status
                   : ca_fail(CA_CONFLICT, "group '%s' has another version than %lld",
                             name, (long long)version);
    }
    if (status == CA_OK)
        status = store_run(tx, "DELETE FROM group_member WHERE group_name = $1",
                           STORE_VALUES(store_text(name)), NULL, NULL, NULL);
    if (status == CA_OK)
        status = store_run(tx, "DELETE FROM directory_group WHERE group_name = $1",
                           STORE_VALUES(store_text(name)), NULL, NULL, NULL);
    if (status == CA_OK)
        status =
            store_run(tx, "DELETE FROM assignment WHERE to_group = 1 AND target = $1",
                      STORE_VALUES(store_text(name)), NULL, NULL, NULL);
    return status;
}

enum ca_status
group_list(struct store_tx *tx, const struct record_page *page, record_visit visit,
           void *arg)
{
    struct query query;
    query_begin(&query, "SELECT " GROUP_COLUMNS " FROM user_group");
    query_page(&query, "name", page);
    return query_list(&query, tx, &group_select, visit, arg);
}

enum ca_status
group_add_member(struct store_tx *tx, const char *group, const char *user)
{
    int64_t rows = 0;
    enum ca_status status = store_run(
        tx,
        "INSERT INTO group_member (group_name, user_name, created) "
        "SELECT g.name, u.name, $3 FROM user_group g, users u "
        "WHERE g.name = $1 AND u.name = $2 "
        "ON CONFLICT (group_name, user_name) DO UPDATE SET created = "
        "group_member.created "
        "RETURNING user_name",
        STORE_VALUES(store_text(group), store_text(user), store_integer(clock_now())),
        NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_NOT_FOUND, "no group '%s' or no user '%s'", group, user);
    return status;
}

enum ca_status
group_remove_member(struct store_tx *tx, const char *group, const char *user)
{
    int64_t rows = 0;
    enum ca_status status =
        store_run(tx,
                  "DELETE FROM group_member WHERE group_name = $1 AND user_name = $2 "
                  "RETURNING user_name",
                  STORE_VALUES(store_text(group), store_text(user)), NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_NOT_FOUND, "'%s' is not a member of group '%s'", user, group);
    return status;
}

struct member_visit {
    record_visit visit;
    void *arg;
};

static enum ca_status
member_row(const struct store_row *row, void *arg)
{
    const struct member_visit *list = arg;
    return list->visit(store_row_text(row, 0), list->arg);
}

enum ca_status
group_members(struct store_tx *tx, const char *group, const struct record_page *page,
              record_visit visit, void *arg)
{
    struct query query;
    struct member_visit list = { visit, arg };
    query_begin(&query, "SELECT user_name FROM group_member");
    query_where(&query, "group_name = ?", store_text(group));
    query_page(&query, "user_name", page);
    return query_run(&query, tx, member_row, &list);
}

void
group_clear(struct group *group)
{
    field_clear(group_fields, group);
}
