/* Activation passwords and their verifiers: every step is one conditional statement. */
#include "activation.h"
#include "auto.h"
#include "clock.h"
#include "query.h"
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#define LIFETIME_MIN 60
#define LIFETIME_MAX ((int64_t)30 * 86400)
#define DEVICES_MAX 1000
#define REF_MAX 32
#define DELAY_DOUBLINGS_MAX 12 /* a little over an hour */

static const char *const state_words[] = { "open",   "used",    "withdrawn", "refused",
                                           "locked", "expired", NULL };
static const char *const lockout_words[] = { "hard", "soft", NULL };

static bool
check_ref(const void *member, char *ret_reason, size_t size)
{
    const char *ref = *(char *const *)member;
    if (ref[strspn(ref, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                        "0123456789._-")] == '\0')
        return true;
    snprintf(ret_reason, size, "must be letters, digits, dots, lines and hyphens");
    return false;
}

const struct field activation_fields[] = {
    { FIELD(activation, id), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "Names the activation password; not secret." },
    { FIELD(activation, user), .type = FIELD_TEXT, .flags = FIELD_REQUIRED | FIELD_NAME,
      .help = "The user whose devices it activates." },
    { FIELD(activation, ref), .type = FIELD_TEXT, .max = REF_MAX, .initial = "\"\"",
      .check = check_ref,
      .help = "Tells several passwords of one user apart; empty: the only one." },
    { FIELD(activation, profile), .type = FIELD_TEXT, .flags = FIELD_NAME,
      .help = "The activation profile; null: the one that holds for the user." },
    { FIELD(activation, expires), .type = FIELD_TIME, .flags = FIELD_READ_ONLY,
      .help = "From then on it is worth nothing." },
    { FIELD(activation, expires_in), .type = FIELD_DURATION, .flags = FIELD_SECRET,
      .min = LIFETIME_MIN, .max = LIFETIME_MAX, .initial = "\"P2D\"",
      .help = "How long it may be used, from now." },
    { FIELD(activation, devices), .type = FIELD_INTEGER, .min = 1, .max = DEVICES_MAX,
      .initial = "1", .help = "Devices it may still activate." },
    { FIELD(activation, taken), .type = FIELD_INTEGER, .flags = FIELD_READ_ONLY,
      .help = "Devices whose certificates are being made." },
    { FIELD(activation, lockout), .type = FIELD_CHOICE, .words = lockout_words,
      .initial = "\"hard\"",
      .help = "Five wrong tries end it (hard), or each makes the next wait twice as "
              "long (soft)." },
    { FIELD(activation, tries), .type = FIELD_INTEGER, .flags = FIELD_READ_ONLY,
      .help = "Tries left; full again when the password was right." },
    { FIELD(activation, failures), .type = FIELD_INTEGER, .flags = FIELD_READ_ONLY,
      .help = "Tries since the password was last right." },
    { FIELD(activation, refusals), .type = FIELD_INTEGER, .flags = FIELD_READ_ONLY,
      .help = "Requests refused although the password was right; ten end it." },
    { FIELD(activation, next_try), .type = FIELD_TIME, .flags = FIELD_READ_ONLY,
      .help = "No try before (soft lockout)." },
    { FIELD(activation, state), .type = FIELD_CHOICE, .words = state_words,
      .flags = FIELD_READ_ONLY, .help = "Only an open one activates." },
    { FIELD(activation, used), .type = FIELD_TIME, .flags = FIELD_READ_ONLY,
      .help = "When it last activated a device." },
    { FIELD(activation, created_by), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "The administrator who made it; null: the user." },
    RECORD_STAMP_FIELDS(activation),
    FIELD_END,
};

#define ACTIVATION_COLUMNS                                                             \
    "id, user_name, ref, profile, expires, devices, taken, lockout, tries, "           \
    "failures, refusals, next_try, state, used, created_by, created, updated, version"

static const struct record_column activation_columns[] = {
    RECORD_COLUMN(activation, TEXT, id),
    RECORD_COLUMN(activation, TEXT, user),
    RECORD_COLUMN(activation, TEXT, ref),
    RECORD_COLUMN(activation, TEXT, profile),
    RECORD_COLUMN(activation, INTEGER, expires),
    RECORD_COLUMN(activation, INTEGER, devices),
    RECORD_COLUMN(activation, INTEGER, taken),
    RECORD_COLUMN(activation, CHOICE, lockout),
    RECORD_COLUMN(activation, INTEGER, tries),
    RECORD_COLUMN(activation, INTEGER, failures),
    RECORD_COLUMN(activation, INTEGER, refusals),
    RECORD_COLUMN(activation, INTEGER, next_try),
    RECORD_COLUMN(activation, CHOICE, state),
    RECORD_COLUMN(activation, INTEGER, used),
    RECORD_COLUMN(activation, TEXT, created_by),
    RECORD_STAMP_COLUMNS(activation),
    { .type = RECORD_COLUMN_END },
};

static const struct record_select activation_select = {
    activation_columns, sizeof(struct activation),
    "SELECT " ACTIVATION_COLUMNS " FROM activation WHERE id = $1"
};

static const struct record_column verifier_columns[] = {
    RECORD_COLUMN(activation_verifier, TEXT, id),
    RECORD_COLUMN(activation_verifier, TEXT, activation),
    RECORD_COLUMN(activation_verifier, TEXT, login),
    RECORD_COLUMN(activation_verifier, TEXT, ref),
    RECORD_COLUMN(activation_verifier, TEXT, kid),
    RECORD_COLUMN_OCTETS(activation_verifier, blob),
    { .type = RECORD_COLUMN_END },
};

/* Open, not expired, tries and devices left, no delay, and the user enabled; $2 is now.
 */
#define IS_LIVE                                                                        \
    " a.state = 0 AND a.expires > $2 AND a.tries > 0 AND a.devices > 0 "               \
    "AND a.next_try <= $2 AND EXISTS (SELECT 1 FROM users u "                          \
    "WHERE u.name = a.user_name AND u.state = 0) "

static const struct record_select live_select = {
    verifier_columns, sizeof(struct activation_verifier),
    "SELECT v.id, v.activation, v.login, v.ref, v.kid, v.blob "
    "FROM activation_verifier v JOIN activation a ON a.id = v.activation "
    "WHERE v.login = $1 AND v.ref = $3 AND" IS_LIVE
};

static const struct record_column live_columns[] = {
    RECORD_COLUMN(activation_live, TEXT, id),
    RECORD_COLUMN(activation_live, TEXT, profile),
    RECORD_COLUMN(activation_live, INTEGER, failures),
    { .type = RECORD_COLUMN_END },
};

static const struct record_select live_list = {
    live_columns, sizeof(struct activation_live),
    "SELECT a.id, a.profile, a.failures "
    "FROM activation a JOIN activation_verifier v ON v.activation = a.id "
    "WHERE a.user_name = $1 AND v.login = $3 AND" IS_LIVE
    "ORDER BY a.created DESC, a.id LIMIT $4"
};

static const struct record_select live_one = {
    verifier_columns, sizeof(struct activation_verifier),
    "SELECT v.id, v.activation, v.login, v.ref, v.kid, v.blob "
    "FROM activation_verifier v JOIN activation a ON a.id = v.activation "
    "WHERE a.id = $1 AND v.login = $3 AND" IS_LIVE
};

enum ca_status
activation_id_draw(char ret_id[ACTIVATION_ID_SIZE])
{
    uint8_t octets[(ACTIVATION_ID_SIZE - 1) / 2];
    enum ca_status status = random_bytes(octets, sizeof octets);
    if (status == CA_OK)
        hex_format(octets, sizeof octets, ret_id);
    return status;
}

static void
settle(struct activation *activation)
{
    if (activation->state != ACTIVATION_OPEN)
        return;
    if (activation->expires <= clock_now())
        activation->state = ACTIVATION_EXPIRED;
    else if (activation->tries <= 0)
        activation->state = ACTIVATION_LOCKED;
}

/* What of the binding does not hold; all of it was part of the INSERT's condition. */
static enum ca_status
binding_refuse(struct store_tx *tx, const struct activation *activation)
{
    int64_t user_state = -1;
    enum ca_status status = store_run(tx, "SELECT state FROM users WHERE name = $1",
                                      STORE_VALUES(store_text(activation->user)),
                                      row_take_integer, &user_state, NULL);
    if (status != CA_OK)
        return status;
    if (user_state < 0)
        return ca_fail(CA_NOT_FOUND, "no user '%s'", activation->user);
    if (user_state != 0)
        return ca_fail(CA_FORBIDDEN, "user '%s' is disabled", activation->user);
    return ca_fail(CA_NOT_FOUND, "no profile 'activation/%s'",
                   activation->profile ? activation->profile : "");
}

/* The user's own previous password with this ref dies, and verifiers go whose password
 * is dead: their login name is free again. */
static enum ca_status
make_room(struct store_tx *tx, const struct activation *activation, int64_t now)
{
    enum ca_status status = store_run(
        tx,
        "UPDATE activation SET state = 2, updated = $3, version = version + 1 "
        "WHERE user_name = $1 AND ref = $2 AND state = 0",
        STORE_VALUES(store_text(activation->user), store_text(activation->ref),
                     store_integer(now)),
        NULL, NULL, NULL);
    if (status != CA_OK)
        return status;
    return store_run(
        tx,
        "DELETE FROM activation_verifier WHERE activation IN "
        "(SELECT id FROM activation WHERE user_name = $1 AND ref = $2)",
        STORE_VALUES(store_text(activation->user), store_text(activation->ref)), NULL,
        NULL, NULL);
}

static enum ca_status
insert_record(struct store_tx *tx, struct activation *activation, int64_t now)
{
    int64_t rows = 0;
    enum ca_status status = store_run(
        tx,
        "INSERT INTO activation (" ACTIVATION_COLUMNS ") "
        "SELECT $1, u.name, $3, $4, $5, $6, 0, $7, $8, 0, 0, 0, 0, 0, $9, $10, "
        "$10, 1 "
        "FROM users u WHERE u.name = $2 AND u.state = 0 "
        "AND (CAST($4 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM profile "
        "WHERE kind = 'activation' AND name = $4)) "
        "RETURNING created, updated, version",
        STORE_VALUES(
            store_text(activation->id), store_text(activation->user),
            store_text(activation->ref), store_text(activation->profile),
            store_integer(activation->expires), store_integer(activation->devices),
            store_integer(activation->lockout), store_integer(ACTIVATION_TRIES),
            store_text(activation->created_by), store_integer(now)),
        row_take_stamp, &activation->stamp, &rows);
    return status == CA_OK && rows == 0 ? binding_refuse(tx, activation) : status;
}

/* A login name's verifier of a dead password makes room, a live one does not. */
static enum ca_status
insert_verifier(struct store_tx *tx, const struct activation *activation,
                const struct activation_verifier *verifier, int64_t now)
{
    int64_t rows = 0;
    enum ca_status status =
        store_run(tx,
                  "DELETE FROM activation_verifier WHERE login = $1 AND ref = $3 "
                  "AND activation IN (SELECT id FROM activation WHERE state <> 0 "
                  "OR expires <= $2)",
                  STORE_VALUES(store_text(verifier->login), store_integer(now),
                               store_text(activation->ref)),
                  NULL, NULL, NULL);
    if (status == CA_OK)
        status = store_run(
            tx,
            "INSERT INTO activation_verifier (id, activation, login, ref, kid, blob) "
            "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (login, ref) DO NOTHING",
            STORE_VALUES(store_text(verifier->id), store_text(activation->id),
                         store_text(verifier->login), store_text(activation->ref),
                         store_text(verifier->kid),
                         store_blob(verifier->blob, sizeof verifier->blob)),
            NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_CONFLICT,
                       "login name '%s' has a live activation password of another user",
                       verifier->login);
    return status;
}

enum ca_status
activation_insert(struct store_tx *tx, struct activation *activation,
                  const struct activation_verifier *verifiers, size_t count)
{
    int64_t now = clock_now(), expires = activation->expires;
    if (count == 0 || count > ACTIVATION_LOGINS_MAX)
        return ca_fail(CA_LIMIT, "%zu login names, at most %d", count,
                       ACTIVATION_LOGINS_MAX);
    if (activation->expires == 0)
        activation->expires = now + activation->expires_in;
    enum ca_status status = make_room(tx, activation, now);
    if (status == CA_OK)
        status = insert_record(tx, activation, now);
    for (size_t i = 0; i < count && status == CA_OK; i++)
        status = insert_verifier(tx, activation, &verifiers[i], now);
    if (status != CA_OK) {
        activation->expires = expires;
        return status;
    }
    activation->tries = ACTIVATION_TRIES;
    activation->failures = activation->refusals = activation->next_try = 0;
    activation->used = 0;
    activation->state = ACTIVATION_OPEN;
    return CA_OK;
}

enum ca_status
activation_load(struct store_tx *tx, const char *id, struct activation *ret_activation)
{
    enum ca_status status = record_load(tx, &activation_select,
                                        STORE_VALUES(store_text(id)), ret_activation);
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_NOT_FOUND, "no activation password '%s'", id);
    if (status == CA_OK)
        settle(ret_activation);
    return status;
}

struct activation_visit {
    record_visit visit;
    void *arg;
};

static enum ca_status
activation_visit_now(const void *record, void *arg)
{
    const struct activation_visit *list = arg;
    struct activation activation = *(const struct activation *)record;
    settle(&activation);
    return list->visit(&activation, list->arg);
}

static void
where_state(struct query *query, int state)
{
    struct store_value now = store_integer(clock_now());
    if (state == ACTIVATION_EXPIRED) {
        query_where(query, "state = 0 AND expires <= ?", now);
        return;
    }
    bool is_open = state == ACTIVATION_OPEN;
    if (!is_open && state != ACTIVATION_LOCKED) {
        query_where(query, "state = ?", store_integer(state));
        return;
    }
    query_where(query, "state = 0 AND expires > ?", now);
    query_where(query, is_open ? "tries > ?" : "tries <= ?", store_integer(0));
}

enum ca_status
activation_list(struct store_tx *tx, const char *user, const char *state,
                const struct record_page *page, record_visit visit, void *arg)
{
    struct query query;
    struct activation_visit list = { visit, arg };
    int index = 0;
    query_begin(&query, "SELECT " ACTIVATION_COLUMNS " FROM activation");
    query_where_text(&query, "user_name = ?", user);
    if (state) {
        enum ca_status status =
            word_parse(state_words, "state of an activation password", state, &index);
        if (status != CA_OK)
            return status;
        where_state(&query, index);
    }
    query_page(&query, "id", page);
    return query_list(&query, tx, &activation_select, activation_visit_now, &list);
}

/* Runs a change and tells whether it took place. */
static enum ca_status
change(struct store_tx *tx, const char *sql, const char *id, bool *ret_took_place)
{
    int64_t rows = 0;
    enum ca_status status =
        store_run(tx, sql, STORE_VALUES(store_text(id), store_integer(clock_now())),
                  NULL, NULL, &rows);
    if (status == CA_OK)
        *ret_took_place = rows > 0;
    return status;
}

/* A change that must take place. */
static enum ca_status
must_change(struct store_tx *tx, const char *sql, const char *id)
{
    bool took_place = false;
    enum ca_status status = change(tx, sql, id, &took_place);
    if (status == CA_OK && !took_place)
        return ca_fail(CA_CONFLICT, "activation password '%s' has ended", id);
    return status;
}

/* The verifiers of a password that has ended are gone with it. */
static enum ca_status
wipe_ended(struct store_tx *tx, const char *id)
{
    return store_run(tx,
                     "DELETE FROM activation_verifier WHERE activation = $1 AND EXISTS "
                     "(SELECT 1 FROM activation WHERE id = $1 AND state <> 0)",
                     STORE_VALUES(store_text(id)), NULL, NULL, NULL);
}

enum ca_status
activation_withdraw(struct store_tx *tx, const char *id)
{
    struct activation activation = { 0 };
    enum ca_status status = activation_load(tx, id, &activation);
    activation_clear(&activation);
    if (status == CA_OK)
        status = must_change(
            tx,
            "UPDATE activation SET state = 2, updated = $2, version = version + 1 "
            "WHERE id = $1 AND state = 0",
            id);
    return status == CA_OK ? wipe_ended(tx, id) : status;
}

enum ca_status
activation_find(struct store_tx *tx, const char *login, const char *ref,
                struct activation_verifier *ret_verifier)
{
    enum ca_status status = record_load(
        tx, &live_select,
        STORE_VALUES(store_text(login), store_integer(clock_now()), store_text(ref)),
        ret_verifier);
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_NOT_FOUND, "no live activation password for this name");
    return status;
}

enum ca_status
activation_live_list(struct store_tx *tx, const char *user, const char *login,
                     record_visit visit, void *arg)
{
    return record_list(tx, &live_list,
                       STORE_VALUES(store_text(user), store_integer(clock_now()),
                                    store_text(login),
                                    store_integer(ACTIVATION_LIVE_MOST)),
                       visit, arg);
}

enum ca_status
activation_live_load(struct store_tx *tx, const char *id, const char *login,
                     struct activation_verifier *ret_verifier)
{
    enum ca_status status = record_load(
        tx, &live_one,
        STORE_VALUES(store_text(id), store_integer(clock_now()), store_text(login)),
        ret_verifier);
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_NOT_FOUND, "no live activation password for this name");
    return status;
}

/* The delay of soft lockout is 2^failures seconds. */
enum ca_status
activation_attempt(struct store_tx *tx, const char *id, bool *ret_is_live)
{
    int64_t rows = 0;
    enum ca_status status =
        store_run(tx,
                  "UPDATE activation AS a SET failures = a.failures + 1, "
                  "tries = CASE WHEN a.lockout = 0 THEN a.tries - 1 ELSE a.tries END, "
                  "next_try = CASE WHEN a.lockout = 0 THEN a.next_try "
                  "WHEN a.failures >= $3 THEN $2 + $4 "
                  "ELSE $2 + (CAST(2 AS BIGINT) << CAST(a.failures AS INTEGER)) END, "
                  "updated = $2, version = a.version + 1 WHERE a.id = $1 AND" IS_LIVE,
                  STORE_VALUES(store_text(id), store_integer(clock_now()),
                               store_integer(DELAY_DOUBLINGS_MAX),
                               store_integer((int64_t)2 << DELAY_DOUBLINGS_MAX)),
                  NULL, NULL, &rows);
    if (status == CA_OK)
        *ret_is_live = rows > 0;
    return status;
}

enum ca_status
activation_tries(struct store_tx *tx, const char *id, int64_t *ret_tries)
{
    *ret_tries = 0;
    return store_run(tx, "SELECT tries FROM activation WHERE id = $1",
                     STORE_VALUES(store_text(id)), row_take_integer, ret_tries, NULL);
}

enum ca_status
activation_give_back(struct store_tx *tx, const char *id)
{
    bool took_place = false;
    return change(tx,
                  "UPDATE activation SET "
                  "tries = CASE WHEN tries < 5 THEN tries + 1 ELSE tries END, "
                  "failures = CASE WHEN failures > 0 THEN failures - 1 ELSE 0 END, "
                  "next_try = 0, updated = $2, version = version + 1 "
                  "WHERE id = $1 AND state = 0",
                  id, &took_place);
}

#define TRIES_FULL " tries = 5, failures = 0, next_try = 0 "
_Static_assert(ACTIVATION_TRIES == 5, "TRIES_FULL says so");

enum ca_status
activation_prove(struct store_tx *tx, const char *id)
{
    return must_change(tx,
                       "UPDATE activation SET" TRIES_FULL ", updated = $2, "
                       "version = version + 1 WHERE id = $1 AND state = 0",
                       id);
}

enum ca_status
activation_refuse(struct store_tx *tx, const char *id)
{
    enum ca_status status =
        must_change(tx,
                    "UPDATE activation SET" TRIES_FULL ", refusals = refusals + 1, "
                    "state = CASE WHEN refusals + 1 >= 10 THEN 3 ELSE 0 END, "
                    "updated = $2, version = version + 1 WHERE id = $1 AND state = 0",
                    id);
    _Static_assert(ACTIVATION_REFUSALS == 10, "the statement says so");
    return status == CA_OK ? wipe_ended(tx, id) : status;
}

enum ca_status
activation_take(struct store_tx *tx, const char *id)
{
    return must_change(
        tx,
        "UPDATE activation SET devices = devices - 1, taken = taken + 1, "
        "updated = $2, "
        "version = version + 1 "
        "WHERE id = $1 AND state = 0 AND devices > 0",
        id);
}

/* One that was withdrawn while the token signed stays withdrawn; the last of several
 * that were in the making ends it. */
enum ca_status
activation_finish(struct store_tx *tx, const char *id)
{
    enum ca_status status = must_change(
        tx,
        "UPDATE activation SET" TRIES_FULL ", taken = taken - 1, used = $2, "
        "state = CASE WHEN state = 0 AND devices = 0 AND taken = 1 THEN 1 "
        "ELSE state END, "
        "updated = $2, version = version + 1 WHERE id = $1 AND taken > 0",
        id);
    return status == CA_OK ? wipe_ended(tx, id) : status;
}

enum ca_status
activation_release(struct store_tx *tx, const char *id)
{
    return must_change(tx,
                       "UPDATE activation SET devices = devices + 1, "
                       "taken = taken - 1, "
                       "tries = CASE WHEN tries < 5 THEN tries + 1 ELSE tries END, "
                       "failures = CASE WHEN failures > 0 THEN failures - 1 ELSE 0 "
                       "END, next_try = 0, updated = $2, version = version + 1 "
                       "WHERE id = $1 AND taken > 0",
                       id);
}

enum ca_status
activation_purge(struct store_tx *tx, int64_t *ret_count)
{
    return store_run(tx,
                     "DELETE FROM activation_verifier WHERE activation IN "
                     "(SELECT id FROM activation WHERE state <> 0 OR expires <= $1)",
                     STORE_VALUES(store_integer(clock_now())), NULL, NULL, ret_count);
}

void
activation_clear(struct activation *activation)
{
    field_clear(activation_fields, activation);
}

void
activation_verifier_clear(struct activation_verifier *verifier)
{
    OPENSSL_cleanse(verifier->blob, sizeof verifier->blob);
    record_clear(verifier_columns, verifier);
}
