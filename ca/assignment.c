/* Assignments of profiles to users and groups, and the effective profile. */
#include "assignment.h"
#include "auto.h"
#include "clock.h"
#include "query.h"
#include <stdio.h>
#include <string.h>

#define ASSIGNMENT_DEFAULT "default"

enum ca_status
assignment_put(struct store_tx *tx, const struct assignment *assignment)
{
    int64_t rows = 0;
    /* One statement, so that neither profile nor target can go in between. */
    const char *to_user =
        "INSERT INTO assignment (to_group, target, kind, profile, "
        "created) SELECT 0, t.name, p.kind, p.name, $4 "
        "FROM users t, profile p WHERE t.name = $1 AND p.kind = $2 "
        "AND p.name = $3 ON CONFLICT (to_group, target, kind, profile) "
        "DO UPDATE SET created = assignment.created RETURNING target";
    const char *to_group =
        "INSERT INTO assignment (to_group, target, kind, profile, "
        "created) SELECT 1, t.name, p.kind, p.name, $4 "
        "FROM user_group t, profile p WHERE t.name = $1 AND p.kind = $2 "
        "AND p.name = $3 ON CONFLICT (to_group, target, kind, profile) "
        "DO UPDATE SET created = assignment.created RETURNING target";
    enum ca_status status = store_run(
        tx, assignment->to_group ? to_group : to_user,
        STORE_VALUES(store_text(assignment->target), store_text(assignment->kind),
                     store_text(assignment->profile), store_integer(clock_now())),
        NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_NOT_FOUND, "no %s '%s' or no profile '%s/%s'",
                       assignment->to_group ? "group" : "user", assignment->target,
                       assignment->kind, assignment->profile);
    return status;
}

enum ca_status
assignment_remove(struct store_tx *tx, const struct assignment *assignment)
{
    int64_t rows = 0;
    enum ca_status status = store_run(
        tx,
        "DELETE FROM assignment WHERE to_group = $1 AND target = $2 "
        "AND kind = $3 AND profile = $4 RETURNING target",
        STORE_VALUES(store_integer(assignment->to_group),
                     store_text(assignment->target), store_text(assignment->kind),
                     store_text(assignment->profile)),
        NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_NOT_FOUND, "profile '%s/%s' is not assigned to '%s'",
                       assignment->kind, assignment->profile, assignment->target);
    return status;
}

static const struct record_column assignment_columns[] = {
    RECORD_COLUMN(assignment, BOOLEAN, to_group),
    RECORD_COLUMN(assignment, TEXT, target),
    RECORD_COLUMN(assignment, TEXT, kind),
    RECORD_COLUMN(assignment, TEXT, profile),
    { .type = RECORD_COLUMN_END },
};

enum ca_status
assignment_list(struct store_tx *tx, bool of_group, const char *target,
                record_visit visit, void *arg)
{
    const char *group = "SELECT to_group, target, kind, profile FROM assignment "
                        "WHERE to_group = 1 AND target = $1 ORDER BY kind, profile";
    const char *user = "SELECT to_group, target, kind, profile FROM assignment "
                       "WHERE to_group = 0 AND target = $1 "
                       "UNION ALL SELECT a.to_group, a.target, a.kind, a.profile "
                       "FROM group_member m JOIN assignment a ON a.to_group = 1 "
                       "AND a.target = m.group_name WHERE m.user_name = $1 "
                       "ORDER BY 1, 3, 2, 4";
    const struct record_select select = { assignment_columns, sizeof(struct assignment),
                                          of_group ? group : user };
    return record_list(tx, &select, STORE_VALUES(store_text(target)), visit, arg);
}

/* Where a profile was found. */
struct found {
    char *profile, *from;
};

static void
found_clear(struct found *found)
{
    free(found->profile);
    free(found->from);
}

static enum ca_status
found_row(const struct store_row *row, void *arg)
{
    struct found *found = arg;
    const char *from = store_row_text(row, 1), *profile = store_row_text(row, 0);
    char text[RECORD_NAME_MAX + sizeof "group:"];
    bool is_group = store_row_integer(row, 2) != 0;
    snprintf(text, sizeof text, "%s%s", is_group ? "group:" : "", from);
    found->profile = strdup(profile);
    found->from = strdup(text);
    if (!found->profile || !found->from)
        return ca_fail(CA_INTERNAL, "no memory for an assignment");
    return CA_OK;
}

/* Asks in the order of precedence; the first statement with a row decides. */
static enum ca_status
effective_find(struct store_tx *tx, const char *user, const char *kind,
               struct found *ret_found)
{
    static const char *const statements[] = {
        "SELECT profile, 'user', 0 FROM assignment WHERE to_group = 0 "
        "AND target = $1 AND kind = $2 ORDER BY profile LIMIT 1",
        "SELECT a.profile, g.name, 1 FROM group_member m "
        "JOIN user_group g ON g.name = m.group_name "
        "JOIN assignment a ON a.to_group = 1 AND a.target = g.name AND a.kind = $2 "
        "WHERE m.user_name = $1 ORDER BY g.priority, g.name, a.profile LIMIT 1",
        "SELECT name, 'default', 0 FROM profile WHERE kind = $2 AND name = $1",
    };
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
        const char *subject = i < 2 ? user : ASSIGNMENT_DEFAULT;
        int64_t rows = 0;
        enum ca_status status = store_run(
            tx, statements[i], STORE_VALUES(store_text(subject), store_text(kind)),
            found_row, ret_found, &rows);
        if (status != CA_OK || rows > 0)
            return status;
    }
    return ca_fail(CA_NOT_FOUND, "user '%s' has no %s profile", user, kind);
}

enum ca_status
assignment_effective(struct store_tx *tx, const char *user, const char *kind,
                     char **ret_profile, char **ret_from)
{
    struct found found = { 0 };
    enum ca_status status = effective_find(tx, user, kind, &found);
    if (status == CA_OK) {
        *ret_profile = CA_STEAL(found.profile);
        if (ret_from)
            *ret_from = CA_STEAL(found.from);
    }
    found_clear(&found);
    return status;
}

/* A profile that is assigned, or the default one of a user who has no other. Asked by
 * each enrolment: one statement. */
enum ca_status
assignment_allows(struct store_tx *tx, const char *user, const char *kind,
                  const char *profile)
{
    int64_t rows = 0;
    enum ca_status status = store_run(
        tx,
        "SELECT 1 FROM assignment WHERE to_group = 0 AND target = $1 AND kind = $2 "
        "AND profile = $3 UNION ALL SELECT 1 FROM group_member m "
        "JOIN assignment a ON a.to_group = 1 AND a.target = m.group_name "
        "AND a.kind = $2 AND a.profile = $3 WHERE m.user_name = $1 "
        "UNION ALL SELECT 1 FROM profile WHERE kind = $2 AND name = $3 "
        "AND name = '" ASSIGNMENT_DEFAULT "' AND NOT EXISTS (SELECT 1 FROM assignment "
        "WHERE to_group = 0 AND target = $1 AND kind = $2) AND NOT EXISTS "
        "(SELECT 1 FROM group_member m JOIN user_group g ON g.name = m.group_name "
        "JOIN assignment a ON a.to_group = 1 AND a.target = g.name AND a.kind = $2 "
        "WHERE m.user_name = $1) LIMIT 1",
        STORE_VALUES(store_text(user), store_text(kind), store_text(profile)), NULL,
        NULL, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_FORBIDDEN, "user '%s' may not use profile '%s/%s'", user,
                       kind, profile);
    return status;
}

void
assignment_clear(struct assignment *assignment)
{
    record_clear(assignment_columns, assignment);
}
