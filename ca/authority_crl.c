/* The CRL of an issuer: its numbers (SECURITY V1), its revision and its latest DER. */
#include "authority.h"
#include <stdlib.h>

static const struct record_column crl_columns[] = {
    RECORD_COLUMN(authority_crl, INTEGER, number),
    RECORD_COLUMN(authority_crl, INTEGER, this_update),
    RECORD_COLUMN(authority_crl, INTEGER, next_update),
    RECORD_COLUMN(authority_crl, INTEGER, revision),
    RECORD_COLUMN(authority_crl, INTEGER, built_revision),
    RECORD_COLUMN_BLOB(authority_crl, der, der_size),
    { .type = RECORD_COLUMN_END },
};

#define CRL_SELECT "SELECT number, this_update, next_update, revision, built_revision, "
#define CRL_OF " FROM authority_crl WHERE issuer = $1 AND number > 0"

enum ca_status
authority_crl_load(struct store_tx *tx, const char *issuer, bool with_der,
                   struct authority_crl *ret_crl)
{
    static const struct record_select whole = { crl_columns, sizeof *ret_crl,
                                                CRL_SELECT "der" CRL_OF };
    static const struct record_select head = { crl_columns, sizeof *ret_crl,
                                               CRL_SELECT "NULL" CRL_OF };
    enum ca_status status = record_load(tx, with_der ? &whole : &head,
                                        STORE_VALUES(store_text(issuer)), ret_crl);
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_NOT_FOUND, "issuer '%s' has no CRL yet", issuer);
    return status;
}

enum ca_status
authority_crl_touch(struct store_tx *tx, const char *issuer)
{
    return store_run(tx,
                     "INSERT INTO authority_crl (issuer, drawn, revision, number,"
                     " this_update, next_update, built_revision)"
                     " VALUES ($1, 0, 1, 0, 0, 0, 0)"
                     " ON CONFLICT (issuer) DO UPDATE"
                     " SET revision = authority_crl.revision + 1",
                     STORE_VALUES(store_text(issuer)), NULL, NULL, NULL);
}

struct draw {
    int64_t number, revision;
};

static enum ca_status
draw_read(const struct store_row *row, void *arg)
{
    struct draw *draw = arg;
    draw->number = store_row_integer(row, 0);
    draw->revision = store_row_integer(row, 1);
    return CA_OK;
}

enum ca_status
authority_crl_draw(struct store_tx *tx, const char *issuer, int64_t *ret_number,
                   int64_t *ret_revision)
{
    struct draw draw = { 0 };
    enum ca_status status =
        store_run(tx,
                  "INSERT INTO authority_crl (issuer, drawn, revision, number,"
                  " this_update, next_update, built_revision)"
                  " VALUES ($1, 1, 0, 0, 0, 0, 0)"
                  " ON CONFLICT (issuer) DO UPDATE"
                  " SET drawn = authority_crl.drawn + 1 RETURNING drawn, revision",
                  STORE_VALUES(store_text(issuer)), draw_read, &draw, NULL);
    if (status != CA_OK)
        return status;
    *ret_number = draw.number;
    *ret_revision = draw.revision;
    return CA_OK;
}

enum ca_status
authority_crl_save(struct store_tx *tx, const char *issuer,
                   const struct authority_crl *crl)
{
    /* Only a number that was drawn: one of another origin would break the row. */
    enum ca_status status = record_change(
        tx,
        "UPDATE authority_crl SET number = $2, this_update = $3, next_update = $4,"
        " built_revision = $5, der = $6"
        " WHERE issuer = $1 AND number < $2 AND drawn >= $2 RETURNING number",
        STORE_VALUES(store_text(issuer), store_integer(crl->number),
                     store_integer(crl->this_update), store_integer(crl->next_update),
                     store_integer(crl->built_revision),
                     store_blob(crl->der, crl->der_size)));
    if (status == CA_CONFLICT)
        return ca_fail(CA_CONFLICT,
                       "CRL %lld of issuer '%s' is not above the one that is kept, or "
                       "its number was never drawn",
                       (long long)crl->number, issuer);
    return status;
}

void
authority_crl_clear(struct authority_crl *crl)
{
    record_clear(crl_columns, crl);
}
