/* Refusals before any verified credential: counted by the minute in one row each kind,
 * and one leaf each once the minute is over. */
#include "audit.h"
#include "auto.h"
#include "clock.h"
#include <stdio.h>
#include <string.h>

#define WORD_MAX 255             /* octets of protocol, source and reason */
#define REFUSALS_PER_MINUTE 1000 /* kinds counted apart; all others are one */
#define FOLD_MAX 64              /* counts that one call makes leaves of */

static char others[] = "*";

/* The counts of one minute, source and reason, on their way to a leaf. */
struct refusal {
    int64_t minute, count;
    char *protocol, *source, *reason;
};

static const struct record_column refusal_columns[] = {
    RECORD_COLUMN(refusal, INTEGER, minute), RECORD_COLUMN(refusal, TEXT, protocol),
    RECORD_COLUMN(refusal, TEXT, source),    RECORD_COLUMN(refusal, TEXT, reason),
    RECORD_COLUMN(refusal, INTEGER, count),  { .type = RECORD_COLUMN_END },
};

struct refusals {
    struct refusal items[FOLD_MAX];
    size_t count;
};

static enum ca_status
refusal_collect(const struct store_row *row, void *arg)
{
    struct refusals *refusals = arg;
    if (refusals->count == FOLD_MAX)
        return ca_fail(CA_INTERNAL, "more refusals than were asked for");
    return record_read(row, refusal_columns, &refusals->items[refusals->count++]);
}

static enum ca_status
refusal_fold(struct store_tx *tx, const struct refusal *refusal)
{
    CA_AUTO(json_decref)
    json_t *detail = json_pack("{s:s}", "reason", refusal->reason);
    CA_AUTO(free) char *actor = NULL;
    if (!detail || asprintf(&actor, "peer:%s", refusal->source) < 0)
        return ca_fail(CA_INTERNAL, "no memory for an audit entry");
    const struct audit_entry entry = { .action = AUDIT_REFUSALS,
                                       .actor = actor,
                                       .protocol = refusal->protocol,
                                       .outcome = ca_status_name(CA_UNAUTHENTICATED),
                                       .detail = detail };
    return audit_append_counted(tx, &entry, refusal->minute * 60, refusal->count);
}

enum ca_status
audit_fold_refusals(struct store_tx *tx, int64_t now)
{
    struct refusals refusals = { 0 };
    enum ca_status status = store_run(
        tx,
        "DELETE FROM audit_refusal WHERE (instance, minute, protocol, source, reason)"
        " IN (SELECT instance, minute, protocol, source, reason FROM audit_refusal"
        " WHERE instance = $1 AND minute < $2 ORDER BY minute LIMIT $3)"
        " RETURNING minute, protocol, source, reason, count",
        STORE_VALUES(store_text(audit_instance()), store_integer(now / 60),
                     store_integer(FOLD_MAX)),
        refusal_collect, &refusals, NULL);
    for (size_t i = 0; i < refusals.count; i++) {
        if (status == CA_OK)
            status = refusal_fold(tx, &refusals.items[i]);
        record_clear(refusal_columns, &refusals.items[i]);
    }
    return status;
}

static enum ca_status
number_read(const struct store_row *row, void *arg)
{
    *(int64_t *)arg = store_row_integer(row, 0);
    return CA_OK;
}

/* Is there no room for another kind of refusal in this minute? */
static enum ca_status
minute_is_full(struct store_tx *tx, int64_t minute, bool *ret_is_full)
{
    int64_t count = 0;
    enum ca_status status =
        store_run(tx,
                  "SELECT COUNT(*) FROM audit_refusal"
                  " WHERE instance = $1 AND minute = $2",
                  STORE_VALUES(store_text(audit_instance()), store_integer(minute)),
                  number_read, &count, NULL);
    if (status == CA_OK)
        *ret_is_full = count >= REFUSALS_PER_MINUTE;
    return status;
}

/* Clean text of at most WORD_MAX octets; what a peer sent may be anything. */
static void
word_copy(const char *text, char ret_word[WORD_MAX + 1])
{
    size_t length = strnlen(text, WORD_MAX);
    memcpy(ret_word, text, length);
    ret_word[length] = '\0';
    if (text_is_clean(ret_word, length))
        return;
    for (char *at = ret_word; *at; at++) {
        if (*at < 0x20 || *at > 0x7e)
            *at = '?';
    }
}

/* Adds to a count that there is. */
static enum ca_status
refusal_add(struct store_tx *tx, const struct refusal *refusal, bool *ret_is_there)
{
    int64_t rows = 0;
    enum ca_status status = store_run(
        tx,
        "UPDATE audit_refusal SET count = count + $6"
        " WHERE instance = $1 AND minute = $2 AND protocol = $3"
        " AND source = $4 AND reason = $5 RETURNING count",
        STORE_VALUES(store_text(audit_instance()), store_integer(refusal->minute),
                     store_text(refusal->protocol), store_text(refusal->source),
                     store_text(refusal->reason), store_integer(refusal->count)),
        NULL, NULL, &rows);
    if (status == CA_OK)
        *ret_is_there = rows > 0;
    return status;
}

static enum ca_status
refusal_insert(struct store_tx *tx, const struct refusal *refusal)
{
    return store_run(
        tx,
        "INSERT INTO audit_refusal"
        " (instance, minute, protocol, source, reason, count)"
        " VALUES ($1, $2, $3, $4, $5, $6)"
        " ON CONFLICT (instance, minute, protocol, source, reason)"
        " DO UPDATE SET count = audit_refusal.count + excluded.count",
        STORE_VALUES(store_text(audit_instance()), store_integer(refusal->minute),
                     store_text(refusal->protocol), store_text(refusal->source),
                     store_text(refusal->reason), store_integer(refusal->count)),
        NULL, NULL, NULL);
}

enum ca_status
audit_count_refusals(struct store_tx *tx, const char *protocol, const char *source,
                     const char *reason, int64_t count)
{
    if (!audit_instance()[0])
        return ca_fail(CA_INTERNAL, "the audit log has no instance");
    char which[WORD_MAX + 1], from[WORD_MAX + 1], why[WORD_MAX + 1];
    word_copy(protocol, which);
    word_copy(source, from);
    word_copy(reason, why);
    int64_t now = clock_now();
    struct refusal refusal = { now / 60, count, which, from, why };
    enum ca_status status = audit_fold_refusals(tx, now);
    bool is_there = false, is_full = false;
    if (status == CA_OK)
        status = refusal_add(tx, &refusal, &is_there);
    if (status != CA_OK || is_there)
        return status;
    status = minute_is_full(tx, now / 60, &is_full);
    if (is_full)
        refusal.protocol = refusal.source = refusal.reason = others;
    return status == CA_OK ? refusal_insert(tx, &refusal) : status;
}

enum ca_status
audit_count_refusal(struct store_tx *tx, const char *protocol, const char *source,
                    const char *reason)
{
    return audit_count_refusals(tx, protocol, source, reason, 1);
}
