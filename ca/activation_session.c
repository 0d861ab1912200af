/* Sessions of activation: a conditional statement spends each once. */
#include "activation_session.h"
#include "auto.h"
#include "clock.h"
#include "query.h"
#include <openssl/crypto.h>
#include <string.h>

static const struct record_column session_columns[] = {
    RECORD_COLUMN(activation_session, TEXT, sn),
    RECORD_COLUMN(activation_session, TEXT, source),
    RECORD_COLUMN(activation_session, TEXT, activation),
    RECORD_COLUMN(activation_session, INTEGER, expires),
    RECORD_COLUMN(activation_session, CHOICE, state),
    RECORD_COLUMN(activation_session, JSON, content),
    RECORD_COLUMN_BLOB(activation_session, scalar, scalar_size),
    RECORD_COLUMN(activation_session, INTEGER, http_status),
    RECORD_COLUMN_BLOB(activation_session, answer, answer_size),
    { .type = RECORD_COLUMN_END },
};

#define SESSION_SELECT                                                                 \
    "SELECT sn, source, activation, expires, state, content, scalar, http_status, "    \
    "answer FROM activation_session "

enum ca_status
activation_session_insert(struct store_tx *tx, const struct activation_session *session)
{
    CA_AUTO(free) char *content = record_json_format(session->content);
    if (!content)
        return ca_fail(CA_INTERNAL, "no memory for a session");
    return store_run(tx,
                     "INSERT INTO activation_session (sn, source, activation, expires, "
                     "state, content, scalar, http_status) "
                     "VALUES ($1, $2, $3, $4, 0, $5, $6, 0)",
                     STORE_VALUES(store_text(session->sn), store_text(session->source),
                                  store_text(session->activation),
                                  store_integer(session->expires), store_text(content),
                                  store_blob(session->scalar, session->scalar_size)),
                     NULL, NULL, NULL);
}

/* It was spent before: by this body, whose answer is there or comes, or by another. */
static enum ca_status
spent_load(struct store_tx *tx, const char *sn, const uint8_t *digest,
           struct activation_session *session)
{
    static const struct record_select select = {
        session_columns, sizeof(struct activation_session),
        SESSION_SELECT "WHERE sn = $1 AND digest = $2 AND expires > $3"
    };
    enum ca_status status =
        record_load(tx, &select,
                    STORE_VALUES(store_text(sn), store_blob(digest, 32),
                                 store_integer(clock_now())),
                    session);
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_NOT_FOUND, "no session, or one that was spent");
    if (status != CA_OK)
        return status;
    if (session->state == SESSION_OVER)
        return ca_fail(CA_NOT_FOUND, "a session that was refused");
    return session->state == SESSION_ANSWERED
               ? ca_fail(CA_CONFLICT, "the session was answered")
               : CA_PENDING;
}

enum ca_status
activation_session_spend(struct store_tx *tx, const char *sn, const uint8_t digest[32],
                         const char *run, struct activation_session *ret_session)
{
    static const struct record_select select = {
        session_columns, sizeof(struct activation_session),
        SESSION_SELECT "WHERE sn = $1 AND state = 0 AND expires > $2"
    };
    struct activation_session session = { 0 };
    int64_t now = clock_now(), rows = 0;
    enum ca_status status = record_load(
        tx, &select, STORE_VALUES(store_text(sn), store_integer(now)), &session);
    if (status == CA_OK) /* wiped at use */
        status = store_run(
            tx,
            "UPDATE activation_session SET state = 1, digest = $2, run = $3, "
            "content = NULL, scalar = NULL WHERE sn = $1 AND state = 0",
            STORE_VALUES(store_text(sn), store_blob(digest, 32), store_text(run)), NULL,
            NULL, &rows);
    if (status == CA_OK && rows == 0)
        status = ca_fail(CA_NOT_FOUND, "no session, or one that was spent");
    if (status == CA_NOT_FOUND) {
        activation_session_clear(&session);
        status = spent_load(tx, sn, digest, &session);
    }
    if (status == CA_OK || status == CA_CONFLICT)
        *ret_session = session;
    else
        activation_session_clear(&session);
    return status;
}

enum ca_status
activation_session_answer(struct store_tx *tx, const char *sn, int64_t http_status,
                          const void *answer, size_t size)
{
    int64_t rows = 0;
    if (size > ACTIVATION_ANSWER_MAX)
        return ca_fail(CA_LIMIT, "an answer of %zu octets, at most %d", size,
                       ACTIVATION_ANSWER_MAX);
    enum ca_status status = store_run(
        tx,
        "UPDATE activation_session SET state = 2, http_status = $2, answer = $3 "
        "WHERE sn = $1 AND state = 1",
        STORE_VALUES(store_text(sn), store_integer(http_status),
                     store_blob(answer, size)),
        NULL, NULL, &rows);
    return status == CA_OK && rows == 0
               ? ca_fail(CA_CONFLICT, "the session waits for no answer")
               : status;
}

enum ca_status
activation_session_end(struct store_tx *tx, const char *sn)
{
    return store_run(tx,
                     "UPDATE activation_session SET state = 3 "
                     "WHERE sn = $1 AND state = 1",
                     STORE_VALUES(store_text(sn)), NULL, NULL, NULL);
}

enum ca_status
activation_session_end_run(struct store_tx *tx, const char *run)
{
    return store_run(tx,
                     "UPDATE activation_session SET state = 3 "
                     "WHERE run = $1 AND state = 1",
                     STORE_VALUES(store_text(run)), NULL, NULL, NULL);
}

enum ca_status
activation_session_count(struct store_tx *tx, int64_t *ret_count)
{
    return store_run(tx, "SELECT COUNT(*) FROM activation_session WHERE expires > $1",
                     STORE_VALUES(store_integer(clock_now())), row_take_integer,
                     ret_count, NULL);
}

enum ca_status
activation_session_purge(struct store_tx *tx, int64_t *ret_count)
{
    enum ca_status status =
        store_run(tx, "DELETE FROM activation_session WHERE expires <= $1",
                  STORE_VALUES(store_integer(clock_now())), NULL, NULL, ret_count);
    if (status != CA_OK)
        return status;
    return store_run(tx, "DELETE FROM activation_failure WHERE expires <= $1",
                     STORE_VALUES(store_integer(clock_now())), NULL, NULL, NULL);
}

void
activation_session_clear(struct activation_session *session)
{
    if (session->scalar)
        OPENSSL_cleanse(session->scalar, session->scalar_size);
    record_clear(session_columns, session);
}

static enum ca_status
take_failures(const struct store_row *row, void *arg)
{
    struct activation_failures *failures = arg;
    failures->count = store_row_integer(row, 0);
    failures->expires = store_row_integer(row, 1);
    return CA_OK;
}

enum ca_status
activation_failures_load(struct store_tx *tx, const char *name,
                         struct activation_failures *ret_failures)
{
    *ret_failures = (struct activation_failures){ 0 };
    return store_run(tx,
                     "SELECT count, expires FROM activation_failure "
                     "WHERE name = $1 AND expires > $2",
                     STORE_VALUES(store_text(name), store_integer(clock_now())),
                     take_failures, ret_failures, NULL);
}

/* The day begins with the first failure after the last day. */
enum ca_status
activation_failures_add(struct store_tx *tx, const char *name, int64_t *ret_count)
{
    int64_t now = clock_now();
    return store_run(
        tx,
        "INSERT INTO activation_failure (name, count, expires) VALUES ($1, 1, $2) "
        "ON CONFLICT (name) DO UPDATE SET "
        "count = CASE WHEN activation_failure.expires <= $3 THEN 1 "
        "ELSE activation_failure.count + 1 END, "
        "expires = CASE WHEN activation_failure.expires <= $3 THEN excluded.expires "
        "ELSE activation_failure.expires END RETURNING count",
        STORE_VALUES(store_text(name), store_integer(now + ACTIVATION_FAILURE_SECONDS),
                     store_integer(now)),
        row_take_integer, ret_count, NULL);
}

enum ca_status
activation_failures_forgive(struct store_tx *tx, const char *name)
{
    return store_run(tx,
                     "UPDATE activation_failure SET count = count - 1 "
                     "WHERE name = $1 AND count > 0",
                     STORE_VALUES(store_text(name)), NULL, NULL, NULL);
}
