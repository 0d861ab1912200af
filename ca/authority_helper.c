/* The helper keys: at most one current for each role and issuer, the others are kept
 * for their overlap. */
#include "authority.h"

const char *const helper_role_words[] = {
    [HELPER_RA] = "ra",           [HELPER_OCSP] = "ocsp",     [HELPER_AUDIT] = "audit",
    [HELPER_SEALING] = "sealing", [HELPER_ROLE_COUNT] = NULL,
};

static const struct record_column helper_columns[] = {
    RECORD_COLUMN(helper, TEXT, name),
    RECORD_COLUMN(helper, CHOICE, role),
    RECORD_COLUMN(helper, TEXT, issuer),
    RECORD_COLUMN(helper, TEXT, key),
    RECORD_COLUMN(helper, BOOLEAN, current),
    RECORD_COLUMN_BLOB(helper, certificate, certificate_size),
    { .type = RECORD_COLUMN_END },
};

/* The column has "" for nobody: NULLs would all differ in the unique index. */
static struct store_value
issuer_value(const struct helper *helper)
{
    return store_text(helper->issuer ? helper->issuer : "");
}

static enum ca_status
helper_check(const struct helper *helper)
{
    if (helper->role < 0 || helper->role >= HELPER_ROLE_COUNT)
        return ca_fail(CA_MALFORMED, "helper '%s' has no role", helper->name);
    bool serves_issuer = helper->role == HELPER_RA || helper->role == HELPER_OCSP;
    if (serves_issuer != (helper->issuer != NULL))
        return ca_fail(CA_MALFORMED, "helper '%s' of role %s %s an issuer",
                       helper->name, helper_role_words[helper->role],
                       serves_issuer ? "needs" : "cannot have");
    return CA_OK;
}

enum ca_status
helper_insert(struct store_tx *tx, const struct helper *helper)
{
    enum ca_status status = helper_check(helper);
    if (status == CA_OK && helper->current)
        status = store_run(tx,
                           "UPDATE helper SET is_current = 0 WHERE role = $1"
                           " AND issuer = $2 AND is_current = 1 AND name <> $3",
                           STORE_VALUES(store_integer(helper->role),
                                        issuer_value(helper), store_text(helper->name)),
                           NULL, NULL, NULL);
    if (status != CA_OK)
        return status;
    status = record_change(
        tx,
        "INSERT INTO helper (name, role, issuer, key, is_current, certificate)"
        " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO NOTHING RETURNING name",
        STORE_VALUES(store_text(helper->name), store_integer(helper->role),
                     issuer_value(helper), store_text(helper->key),
                     store_integer(helper->current),
                     store_blob(helper->certificate, helper->certificate_size)));
    if (status == CA_CONFLICT)
        return ca_fail(CA_CONFLICT, "helper '%s' exists", helper->name);
    return status;
}

enum ca_status
helper_list(struct store_tx *tx, record_visit visit, void *arg)
{
    static const struct record_select select = {
        helper_columns, sizeof(struct helper),
        "SELECT name, role, NULLIF(issuer, ''), key, is_current, certificate FROM "
        "helper"
        " ORDER BY is_current DESC, name DESC"
    };
    return record_list(tx, &select, STORE_NO_VALUES, visit, arg);
}

void
helper_clear(struct helper *helper)
{
    record_clear(helper_columns, helper);
}
