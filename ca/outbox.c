/* The outbox: every step is one conditional statement, and every end of a mail wipes
 * its secret in the same statement. */
#include "outbox.h"
#include "auto.h"
#include "clock.h"
#include "query.h"
#include <openssl/crypto.h>
#include <string.h>

#define DOUBLINGS_MAX 10 /* 5 s * 2^10 is above the longest wait */
#define FAILURE_MAX 200  /* octets kept of a mail server's words */

static const char *const state_words[] = { "waiting", "sent",      "failed",
                                           "expired", "withdrawn", NULL };

const struct field outbox_fields[] = {
    { FIELD(outbox, id), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "Names the mail; also in its Message-ID." },
    { FIELD(outbox, template), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "The mail template it is made by." },
    { FIELD(outbox, user), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "The user it goes to; null: nobody's (a test)." },
    { FIELD(outbox, ref), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "Reference of the activation password in it." },
    { FIELD(outbox, recipient), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "The mail address." },
    { FIELD(outbox, state), .type = FIELD_CHOICE, .words = state_words,
      .flags = FIELD_READ_ONLY,
      .help = "Sent: the mail server took it over. Failed: it refused for good. "
              "Expired: what it says was worth nothing any more." },
    { FIELD(outbox, attempts), .type = FIELD_INTEGER, .flags = FIELD_READ_ONLY,
      .help = "Attempts at handing it over." },
    { FIELD(outbox, next_try), .type = FIELD_TIME, .flags = FIELD_READ_ONLY,
      .help = "Not before." },
    { FIELD(outbox, expires), .type = FIELD_TIME, .flags = FIELD_READ_ONLY,
      .help = "From then on it is not sent any more." },
    { FIELD(outbox, sent), .type = FIELD_TIME, .flags = FIELD_READ_ONLY,
      .help = "When the mail server took it over; null: it has not." },
    { FIELD(outbox, failure), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "What the last attempt failed by; null: it did not." },
    { FIELD(outbox, created_by), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "Who asked for it; null: nobody." },
    RECORD_STAMP_FIELDS(outbox),
    FIELD_END,
};

#define OUTBOX_COLUMNS                                                                 \
    "id, template, user_name, ref, recipient, content, kid, secret, state, attempts, " \
    "next_try, expires, sent, failure, created_by, created, updated, version"

static const struct record_column outbox_columns[] = {
    RECORD_COLUMN(outbox, TEXT, id),
    RECORD_COLUMN(outbox, TEXT, template),
    RECORD_COLUMN(outbox, TEXT, user),
    RECORD_COLUMN(outbox, TEXT, ref),
    RECORD_COLUMN(outbox, TEXT, recipient),
    RECORD_COLUMN(outbox, JSON, content),
    RECORD_COLUMN(outbox, TEXT, kid),
    RECORD_COLUMN_BLOB(outbox, secret, secret_size),
    RECORD_COLUMN(outbox, CHOICE, state),
    RECORD_COLUMN(outbox, INTEGER, attempts),
    RECORD_COLUMN(outbox, INTEGER, next_try),
    RECORD_COLUMN(outbox, INTEGER, expires),
    RECORD_COLUMN(outbox, INTEGER, sent),
    RECORD_COLUMN(outbox, TEXT, failure),
    RECORD_COLUMN(outbox, TEXT, created_by),
    RECORD_STAMP_COLUMNS(outbox),
    { .type = RECORD_COLUMN_END },
};

static const struct record_select outbox_select = { outbox_columns,
                                                    sizeof(struct outbox),
                                                    "SELECT " OUTBOX_COLUMNS
                                                    " FROM outbox WHERE id = $1" };

static const struct record_select due_select = {
    outbox_columns, sizeof(struct outbox),
    "SELECT " OUTBOX_COLUMNS " FROM outbox WHERE state = 0 AND next_try <= $1 "
    "AND expires > $1 ORDER BY next_try, id LIMIT $2"
};

/* What ends a mail: nothing secret stays, nor what was said. */
#define WIPED "content = '{}', secret = NULL, kid = NULL"

enum ca_status
outbox_id_draw(char ret_id[OUTBOX_ID_SIZE])
{
    uint8_t octets[(OUTBOX_ID_SIZE - 1) / 2];
    enum ca_status status = random_bytes(octets, sizeof octets);
    if (status == CA_OK)
        hex_format(octets, sizeof octets, ret_id);
    return status;
}

enum ca_status
outbox_insert(struct store_tx *tx, const struct outbox *mail)
{
    int64_t now = clock_now();
    CA_AUTO(free)
    char *content = mail->content ? record_json_format(mail->content) : strdup("{}");
    if (!content)
        return ca_fail(CA_INTERNAL, "no memory for a mail");
    return store_run(
        tx,
        "INSERT INTO outbox (" OUTBOX_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, "
        "$8, 0, 0, $9, $10, 0, NULL, $11, $9, $9, 1)",
        STORE_VALUES(
            store_text(mail->id), store_text(mail->template), store_text(mail->user),
            store_text(mail->ref ? mail->ref : ""), store_text(mail->recipient),
            store_text(content), store_text(mail->kid),
            store_blob(mail->secret, mail->secret_size), store_integer(now),
            store_integer(mail->expires ? mail->expires : now + OUTBOX_LIFETIME),
            store_text(mail->created_by)),
        NULL, NULL, NULL);
}

enum ca_status
outbox_load(struct store_tx *tx, const char *id, struct outbox *ret_mail)
{
    enum ca_status status =
        record_load(tx, &outbox_select, STORE_VALUES(store_text(id)), ret_mail);
    return status == CA_NOT_FOUND ? ca_fail(CA_NOT_FOUND, "no mail '%s'", id) : status;
}

enum ca_status
outbox_list(struct store_tx *tx, const struct outbox_filter *filter,
            const struct record_page *page, record_visit visit, void *arg)
{
    struct query query = { 0 };
    query_begin(&query, "SELECT " OUTBOX_COLUMNS " FROM outbox");
    query_where_text(&query, "user_name = ?", filter->user);
    query_where_text(&query, "template = ?", filter->template);
    if (filter->state) {
        int state = 0;
        enum ca_status status =
            word_parse(state_words, "mail state", filter->state, &state);
        if (status != CA_OK)
            return status;
        query_where(&query, "state = ?", store_integer(state));
    }
    query_page(&query, "id", page);
    return query_list(&query, tx, &outbox_select, visit, arg);
}

enum ca_status
outbox_due(struct store_tx *tx, int64_t now, int64_t limit, record_visit visit,
           void *arg)
{
    return record_list(tx, &due_select,
                       STORE_VALUES(store_integer(now), store_integer(limit)), visit,
                       arg);
}

static enum ca_status
not_waiting(enum ca_status status, const char *id)
{
    return status == CA_CONFLICT ? ca_fail(CA_CONFLICT, "mail '%s' does not wait", id)
                                 : status;
}

enum ca_status
outbox_sent(struct store_tx *tx, const char *id)
{
    return not_waiting(
        record_change(
            tx,
            "UPDATE outbox SET state = 1, sent = $2, failure = NULL, "
            "attempts = attempts + 1, updated = $2, version = version + 1, " WIPED
            " WHERE id = $1 AND state = 0 RETURNING id",
            STORE_VALUES(store_text(id), store_integer(clock_now()))),
        id);
}

/* What a mail server says, cut and without characters that a log or a terminal minds.
 */
static void
failure_copy(const char *failure, char ret_text[FAILURE_MAX + 1])
{
    size_t size = strnlen(failure, FAILURE_MAX);
    for (size_t i = 0; i < size; i++)
        ret_text[i] = failure[i] < 0x20 || failure[i] > 0x7e ? '?' : failure[i];
    ret_text[size] = '\0';
}

enum ca_status
outbox_failed(struct store_tx *tx, const char *id, const char *failure, bool for_good)
{
    char text[FAILURE_MAX + 1];
    int64_t attempts = 0, now = clock_now(), wait = OUTBOX_RETRY_SECONDS;
    failure_copy(failure, text);
    enum ca_status status =
        store_run(tx, "SELECT attempts FROM outbox WHERE id = $1",
                  STORE_VALUES(store_text(id)), row_take_integer, &attempts, NULL);
    if (status != CA_OK)
        return status;
    for (int64_t i = 0; i < attempts && i < DOUBLINGS_MAX; i++)
        wait *= 2;
    if (wait > OUTBOX_RETRY_SECONDS_MAX)
        wait = OUTBOX_RETRY_SECONDS_MAX;
    return not_waiting(
        record_change(
            tx,
            "UPDATE outbox SET state = $3, failure = $4, next_try = $5, "
            "attempts = attempts + 1, updated = $2, version = version + 1 "
            "WHERE id = $1 AND state = 0 RETURNING id",
            STORE_VALUES(store_text(id), store_integer(now),
                         store_integer(for_good ? OUTBOX_FAILED : OUTBOX_WAITING),
                         store_text(text), store_integer(now + wait))),
        id);
}

/* Why no row was changed: there is no such mail, or it is past that. */
static enum ca_status
refuse(struct store_tx *tx, const char *id, const char *reason)
{
    struct outbox mail = { 0 };
    enum ca_status status = outbox_load(tx, id, &mail);
    outbox_clear(&mail);
    return status == CA_OK ? ca_fail(CA_CONFLICT, "mail '%s' %s", id, reason) : status;
}

enum ca_status
outbox_retry(struct store_tx *tx, const char *id)
{
    int64_t rows = 0;
    enum ca_status status = store_run(
        tx,
        "UPDATE outbox SET state = 0, next_try = $2, updated = $2, "
        "version = version + 1 WHERE id = $1 AND state IN (0, 2) AND expires > $2",
        STORE_VALUES(store_text(id), store_integer(clock_now())), NULL, NULL, &rows);
    return status == CA_OK && rows == 0
               ? refuse(tx, id, "was sent, withdrawn or has expired")
               : status;
}

enum ca_status
outbox_withdraw(struct store_tx *tx, const char *id)
{
    int64_t rows = 0;
    enum ca_status status = store_run(
        tx,
        "UPDATE outbox SET state = 4, updated = $2, version = version + 1, " WIPED
        " WHERE id = $1 AND state IN (0, 2)",
        STORE_VALUES(store_text(id), store_integer(clock_now())), NULL, NULL, &rows);
    return status == CA_OK && rows == 0 ? refuse(tx, id, "has ended already") : status;
}

enum ca_status
outbox_withdraw_of(struct store_tx *tx, const char *user, const char *ref)
{
    return store_run(
        tx,
        "UPDATE outbox SET state = 4, updated = $3, "
        "version = version + 1, " WIPED
        " WHERE user_name = $1 AND state IN (0, 2) AND secret IS NOT NULL "
        "AND (CAST($2 AS TEXT) IS NULL OR "
        "(ref = $2 AND template LIKE 'activation%'))",
        STORE_VALUES(store_text(user), store_text(ref), store_integer(clock_now())),
        NULL, NULL, NULL);
}

enum ca_status
outbox_tidy(struct store_tx *tx, int64_t now, int64_t *ret_expired)
{
    enum ca_status status = store_run(
        tx,
        "UPDATE outbox SET state = 3, updated = $1, version = version + 1, " WIPED
        " WHERE state IN (0, 2) AND expires <= $1",
        STORE_VALUES(store_integer(now)), NULL, NULL, ret_expired);
    if (status != CA_OK)
        return status;
    return store_run(tx, "DELETE FROM outbox WHERE state <> 0 AND updated < $1",
                     STORE_VALUES(store_integer(now - OUTBOX_KEEP_SECONDS)), NULL, NULL,
                     NULL);
}

struct figures {
    int64_t waiting, oldest;
};

static enum ca_status
figures_row(const struct store_row *row, void *arg)
{
    struct figures *figures = arg;
    figures->waiting = store_row_integer(row, 0);
    figures->oldest = store_row_integer(row, 1);
    return CA_OK;
}

enum ca_status
outbox_figures(struct store_tx *tx, int64_t now, int64_t *ret_waiting,
               int64_t *ret_oldest)
{
    struct figures figures = { 0 };
    enum ca_status status =
        store_run(tx, "SELECT COUNT(*), MIN(created) FROM outbox WHERE state = 0",
                  STORE_NO_VALUES, figures_row, &figures, NULL);
    if (status != CA_OK)
        return status;
    *ret_waiting = figures.waiting;
    *ret_oldest =
        figures.waiting > 0 && figures.oldest < now ? now - figures.oldest : 0;
    return CA_OK;
}

bool
outbox_copy(const struct outbox *mail, struct outbox *ret_mail)
{
    struct outbox copy = { 0 };
    if (!field_copy(outbox_fields, mail, &copy))
        return false;
    bool is_whole = true;
    if (mail->content)
        is_whole = (copy.content = json_deep_copy(mail->content)) != NULL;
    if (mail->kid)
        is_whole = is_whole && (copy.kid = strdup(mail->kid)) != NULL;
    if (mail->secret && is_whole && (copy.secret = malloc(mail->secret_size)) != NULL) {
        memcpy(copy.secret, mail->secret, mail->secret_size);
        copy.secret_size = mail->secret_size;
    }
    if (!is_whole || (mail->secret && !copy.secret)) {
        outbox_clear(&copy);
        return false;
    }
    *ret_mail = copy;
    return true;
}

void
outbox_clear(struct outbox *mail)
{
    record_clear(outbox_columns, mail);
}
