/* The roster of the directory's users and groups, and of its last sync. */
#include "roster.h"
#include "auto.h"
#include "query.h"

#define ENTRY_COLUMNS "id, user_name, dn, disabled"
#define RUN_COLUMNS "started, finished, outcome, message, counts"

static const struct record_column entry_columns[] = {
    RECORD_COLUMN(roster_entry, TEXT, id),
    RECORD_COLUMN(roster_entry, TEXT, user),
    RECORD_COLUMN(roster_entry, TEXT, dn),
    RECORD_COLUMN(roster_entry, BOOLEAN, disabled),
    { .type = RECORD_COLUMN_END },
};

static const struct record_select by_id = { entry_columns, sizeof(struct roster_entry),
                                            "SELECT " ENTRY_COLUMNS
                                            " FROM directory_entry WHERE id = $1" };

static const struct record_select by_user = {
    entry_columns, sizeof(struct roster_entry),
    "SELECT " ENTRY_COLUMNS " FROM directory_entry WHERE user_name = $1"
};

static const struct record_column run_columns[] = {
    RECORD_COLUMN(roster_run, INTEGER, started),
    RECORD_COLUMN(roster_run, INTEGER, finished),
    RECORD_COLUMN(roster_run, TEXT, outcome),
    RECORD_COLUMN(roster_run, TEXT, message),
    RECORD_COLUMN(roster_run, JSON, counts),
    { .type = RECORD_COLUMN_END },
};

static const struct record_select last_run = { run_columns, sizeof(struct roster_run),
                                               "SELECT " RUN_COLUMNS
                                               " FROM directory_run WHERE id = $1" };

enum ca_status
roster_find(struct store_tx *tx, const char *id, struct roster_entry *ret_entry)
{
    enum ca_status status =
        record_load(tx, &by_id, STORE_VALUES(store_text(id)), ret_entry);
    return status == CA_NOT_FOUND ? ca_fail(CA_NOT_FOUND, "no such entry") : status;
}

enum ca_status
roster_of_user(struct store_tx *tx, const char *user, struct roster_entry *ret_entry)
{
    enum ca_status status =
        record_load(tx, &by_user, STORE_VALUES(store_text(user)), ret_entry);
    return status == CA_NOT_FOUND
               ? ca_fail(CA_NOT_FOUND, "user '%s' is not of the directory", user)
               : status;
}

enum ca_status
roster_put(struct store_tx *tx, const struct roster_entry *entry)
{
    return store_run(
        tx,
        "INSERT INTO directory_entry (" ENTRY_COLUMNS ") VALUES ($1, $2, $3, $4) "
        "ON CONFLICT (id) DO UPDATE SET user_name = excluded.user_name, "
        "dn = excluded.dn, disabled = excluded.disabled",
        STORE_VALUES(store_text(entry->id), store_text(entry->user),
                     store_text(entry->dn), store_integer(entry->disabled)),
        NULL, NULL, NULL);
}

enum ca_status
roster_list(struct store_tx *tx, const struct record_page *page, record_visit visit,
            void *arg)
{
    struct query query;
    query_begin(&query, "SELECT " ENTRY_COLUMNS " FROM directory_entry");
    query_page(&query, "id", page);
    return query_list(&query, tx, &by_id, visit, arg);
}

void
roster_entry_clear(struct roster_entry *entry)
{
    record_clear(entry_columns, entry);
}

enum ca_status
roster_count_active(struct store_tx *tx, int64_t *ret_count)
{
    return store_run(tx,
                     "SELECT count(*) FROM directory_entry e JOIN users u ON "
                     "u.name = e.user_name WHERE u.state = 0",
                     STORE_NO_VALUES, row_take_integer, ret_count, NULL);
}

enum ca_status
roster_put_group(struct store_tx *tx, const char *group)
{
    return store_run(tx,
                     "INSERT INTO directory_group (group_name) VALUES ($1) "
                     "ON CONFLICT (group_name) DO NOTHING",
                     STORE_VALUES(store_text(group)), NULL, NULL, NULL);
}

enum ca_status
roster_has_group(struct store_tx *tx, const char *group, bool *ret_has)
{
    return record_exists(tx, "SELECT 1 FROM directory_group WHERE group_name = $1",
                         STORE_VALUES(store_text(group)), ret_has);
}

enum ca_status
roster_run_save(struct store_tx *tx, const struct roster_run *run)
{
    CA_AUTO(free) char *counts = record_json_format(run->counts);
    if (!counts)
        return ca_fail(CA_INTERNAL, "no memory for the sync's counts");
    return store_run(
        tx,
        "INSERT INTO directory_run (id, " RUN_COLUMNS ") VALUES (1, $1, $2, $3, $4, "
        "$5) ON CONFLICT (id) DO UPDATE SET started = excluded.started, "
        "finished = excluded.finished, outcome = excluded.outcome, "
        "message = excluded.message, counts = excluded.counts",
        STORE_VALUES(store_integer(run->started), store_integer(run->finished),
                     store_text(run->outcome), store_text(run->message),
                     store_text(counts)),
        NULL, NULL, NULL);
}

enum ca_status
roster_run_load(struct store_tx *tx, struct roster_run *ret_run)
{
    enum ca_status status =
        record_load(tx, &last_run, STORE_VALUES(store_integer(1)), ret_run);
    return status == CA_NOT_FOUND ? ca_fail(CA_NOT_FOUND, "no sync took place yet")
                                  : status;
}

void
roster_run_clear(struct roster_run *run)
{
    record_clear(run_columns, run);
}
