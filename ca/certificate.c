/* One certificate from its intent to its end: each step a conditional statement. */
#include "certificate.h"
#include "auto.h"
#include "clock.h"
#include "query.h"
#include <string.h>

const char *const certificate_reason_words[11] = {
    "unspecified",      "key_compromise",
    "ca_compromise",    "affiliation_changed",
    "superseded",       "cessation_of_operation",
    "certificate_hold", NULL,
    "remove_from_crl",  "privilege_withdrawn",
    "aa_compromise",
};

bool
certificate_reason_parse(const char *word, int *ret_code)
{
    for (int i = 0; i < 11; i++) {
        if (certificate_reason_words[i] &&
            strcmp(certificate_reason_words[i], word) == 0) {
            *ret_code = i;
            return true;
        }
    }
    return false;
}

static const struct record_column certificate_columns[] = {
    RECORD_COLUMN(certificate, TEXT, serial),
    RECORD_COLUMN(certificate, TEXT, issuer),
    RECORD_COLUMN(certificate, TEXT, subject),
    RECORD_COLUMN(certificate, TEXTS, san),
    RECORD_COLUMN(certificate, INTEGER, not_before),
    RECORD_COLUMN(certificate, INTEGER, not_after),
    RECORD_COLUMN(certificate, CHOICE, state),
    RECORD_COLUMN(certificate, TEXT, profile),
    RECORD_COLUMN(certificate, TEXT, user),
    RECORD_COLUMN(certificate, TEXT, device),
    RECORD_COLUMN(certificate, TEXT, protocol),
    RECORD_COLUMN(certificate, TEXT, spki_sha256),
    RECORD_COLUMN(certificate, TEXT, reason),
    RECORD_COLUMN(certificate, INTEGER, revoked_at),
    RECORD_COLUMN(certificate, INTEGER, invalidity_date),
    RECORD_STAMP_COLUMNS(certificate),
    RECORD_COLUMN_BLOB(certificate, der, der_size),
    { .type = RECORD_COLUMN_END },
};

#define CERTIFICATE_COLUMNS                                                            \
    "serial, issuer, subject, san, not_before, not_after, state, profile, user_name, " \
    "device_id, protocol, spki_sha256, reason, revoked_at, invalidity_date, created, " \
    "updated, version, der"

static const struct record_select certificate_select = {
    certificate_columns, sizeof(struct certificate),
    "SELECT " CERTIFICATE_COLUMNS " FROM certificate WHERE serial = $1"
};

static const struct record_column transaction_columns[] = {
    RECORD_COLUMN(certificate_transaction, TEXT, serial),
    RECORD_COLUMN(certificate_transaction, TEXT, run),
    RECORD_COLUMN(certificate_transaction, TEXT, challenge),
    RECORD_COLUMN(certificate_transaction, TEXT, pending),
    RECORD_COLUMN(certificate_transaction, TEXT, replaces),
    RECORD_COLUMN(certificate_transaction, CHOICE, state),
    RECORD_COLUMN(certificate_transaction, INTEGER, created),
    RECORD_COLUMN(certificate_transaction, INTEGER, completed),
    { .type = RECORD_COLUMN_END },
};

#define TRANSACTION_COLUMNS                                                            \
    "serial, run, challenge, pending, replaces, state, created, completed"

void
certificate_transaction_clear(struct certificate_transaction *transaction)
{
    record_clear(transaction_columns, transaction);
}

/* The generation of a row that is no longer what its transaction gets. */
#define GENERATION_NEXT                                                                \
    "generation = COALESCE((SELECT MAX(c.generation) + 1 FROM certificate c "          \
    "WHERE c.transaction_key = certificate.transaction_key "                           \
    "AND c.request_sha256 = certificate.request_sha256), 0)"

/* An answer that nobody may get any more makes room for a new one. */
static enum ca_status
answer_retire(struct store_tx *tx, const uint8_t key[32], struct store_value request,
              int64_t fresh_since)
{
    return store_run(
        tx,
        "UPDATE certificate SET " GENERATION_NEXT
        " WHERE transaction_key = $1 AND request_sha256 = $2 "
        "AND generation = 0 AND state > 0 AND completed < $3",
        STORE_VALUES(store_blob(key, 32), request, store_integer(fresh_since)), NULL,
        NULL, NULL);
}

static enum ca_status
intent_insert(struct store_tx *tx, const struct certificate_intent *intent,
              struct store_value key, struct store_value request, int64_t *ret_rows)
{
    const struct certificate *new = intent->certificate;
    CA_AUTO(free) char *san = record_texts_format(&new->san);
    CA_AUTO(free) char *granted = record_json_format(intent->granted);
    if (!san || (intent->granted && !granted))
        return ca_fail(CA_INTERNAL, "no memory for certificate %s", new->serial);
    return store_run(
        tx,
        "INSERT INTO certificate (serial, issuer, subject, san, not_before, "
        "not_after, state, profile, user_name, device_id, protocol, spki_sha256, "
        "reason, revoked_at, invalidity_date, der, challenge, pending, "
        "transaction_key, request_sha256, generation, run, completed, replaces, "
        "granted, created, updated, version) "
        "VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, $9, $10, $11, NULL, 0, 0, $12, "
        "$13, $14, $15, $16, 0, $17, 0, $18, $19, $20, $20, 1) "
        "ON CONFLICT DO NOTHING",
        STORE_VALUES(store_text(new->serial), store_text(new->issuer),
                     store_text(new->subject ? new->subject : ""), store_text(san),
                     store_integer(new->not_before), store_integer(new->not_after),
                     store_text(new->profile), store_text(new->user),
                     store_text(new->device), store_text(new->protocol),
                     store_text(new->spki_sha256), store_blob(new->der, new->der_size),
                     store_text(intent->challenge), store_text(intent->pending), key,
                     request, store_text(intent->run), store_text(intent->replaces),
                     store_text(granted), store_integer(clock_now())),
        NULL, NULL, ret_rows);
}

/* After the insertion, which tells the same request sent twice from another one. */
static enum ca_status
check_held(struct store_tx *tx, const struct certificate_intent *intent)
{
    const struct certificate *own = intent->certificate;
    bool holds = false;
    enum ca_status status = record_exists(
        tx,
        "SELECT 1 FROM certificate WHERE device_id = $1 AND profile = $2 AND "
        "spki_sha256 = $3 AND serial <> $4 AND state < 2 AND not_after > $5",
        STORE_VALUES(store_text(own->device), store_text(own->profile),
                     store_text(own->spki_sha256), store_text(own->serial),
                     store_integer(intent->held_until)),
        &holds);
    if (status == CA_OK && holds)
        return ca_fail(CA_FORBIDDEN,
                       "the key has a certificate of profile '%s' already, whose "
                       "renewal is not due",
                       own->profile);
    return status;
}

enum ca_status
certificate_reserve(struct store_tx *tx, const struct certificate_intent *intent)
{
    struct store_value key = store_null(), request = store_null();
    uint8_t digest[32];
    if (intent->transaction) {
        enum ca_status status = transaction_digest(
            intent->endpoint, intent->transaction, intent->signer_spki_sha256, digest);
        if (status != CA_OK)
            return status;
        /* NULL would be unlike every other NULL in the unique index. */
        request = store_blob(intent->request_sha256 ? intent->request_sha256
                                                    : (const uint8_t *)"",
                             intent->request_sha256 ? 32 : 0);
        key = store_blob(digest, sizeof digest);
    }
    int64_t rows = 0;
    enum ca_status status = intent_insert(tx, intent, key, request, &rows);
    if (status == CA_OK && rows == 0 && intent->transaction) {
        status = answer_retire(tx, digest, request, intent->fresh_since);
        if (status == CA_OK)
            status = intent_insert(tx, intent, key, request, &rows);
    }
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_CONFLICT, "serial %s exists, or its transaction is answered",
                       intent->certificate->serial);
    if (status == CA_OK && intent->held_until > 0)
        status = check_held(tx, intent);
    const struct certificate *new = intent->certificate;
    return status == CA_OK && intent->is_first
               ? certificate_check_first(tx, new->device, new->profile, new->serial,
                                         clock_now())
               : status;
}

enum ca_status
certificate_complete(struct store_tx *tx, const char *serial, const char *run,
                     const void *der, size_t size)
{
    int64_t rows = 0;
    enum ca_status status = store_run(
        tx,
        "UPDATE certificate SET state = 1, der = $3, completed = $4, updated = $4, "
        "version = version + 1 WHERE serial = $1 AND run = $2 AND state = 0",
        STORE_VALUES(store_text(serial), store_text(run), store_blob(der, size),
                     store_integer(clock_now())),
        NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_CONFLICT, "certificate %s is no intent of this process",
                       serial);
    return status;
}

enum ca_status
certificate_take_over(struct store_tx *tx, const char *serial, const char *run,
                      int64_t older_than)
{
    int64_t rows = 0;
    enum ca_status status = store_run(
        tx,
        "UPDATE certificate SET run = $2, updated = $3, version = version + 1 "
        "WHERE serial = $1 AND state = 0 AND run <> $2 AND updated < $4 "
        "RETURNING serial",
        STORE_VALUES(store_text(serial), store_text(run), store_integer(clock_now()),
                     store_integer(older_than)),
        NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_CONFLICT, "intent %s is not for this process to sign",
                       serial);
    return status;
}

/* Up to $2 of the intents that a condition on $1 chooses, at $3. */
#define ABANDON_WHERE(condition)                                                       \
    "UPDATE certificate SET state = 4, " GENERATION_NEXT ", updated = $3, "            \
    "version = version + 1 WHERE state = 0 AND serial IN "                             \
    "(SELECT serial FROM certificate WHERE state = 0 AND " condition                   \
    " ORDER BY created LIMIT $2) RETURNING " TRANSACTION_COLUMNS

enum ca_status
certificate_abandon(struct store_tx *tx, int64_t before, int64_t limit,
                    record_visit visit, void *arg)
{
    static const struct record_select select = { transaction_columns,
                                                 sizeof(struct certificate_transaction),
                                                 ABANDON_WHERE("created < $1") };
    return record_list(tx, &select,
                       STORE_VALUES(store_integer(before), store_integer(limit),
                                    store_integer(clock_now())),
                       visit, arg);
}

enum ca_status
certificate_abandon_run(struct store_tx *tx, const char *run, int64_t limit,
                        record_visit visit, void *arg)
{
    static const struct record_select select = {
        transaction_columns, sizeof(struct certificate_transaction),
        ABANDON_WHERE("run = $1 AND transaction_key IS NULL AND pending IS NULL")
    };
    return record_list(
        tx, &select,
        STORE_VALUES(store_text(run), store_integer(limit), store_integer(clock_now())),
        visit, arg);
}

enum ca_status
certificate_give_up(struct store_tx *tx, const char *serial, const char *run,
                    bool *ret_took_place)
{
    int64_t rows = 0;
    enum ca_status status = store_run(
        tx,
        "UPDATE certificate SET state = 4, " GENERATION_NEXT ", updated = $3, "
        "version = version + 1 WHERE serial = $1 AND state = 0 AND run = $2",
        STORE_VALUES(store_text(serial), store_text(run), store_integer(clock_now())),
        NULL, NULL, &rows);
    if (status == CA_OK)
        *ret_took_place = rows > 0;
    return status;
}

enum ca_status
certificate_of_transaction(struct store_tx *tx, const char *endpoint,
                           const char *transaction,
                           const uint8_t signer_spki_sha256[32],
                           const uint8_t *request_sha256,
                           struct certificate_transaction *ret_found)
{
    struct record_select select = {
        transaction_columns, sizeof(struct certificate_transaction),
        "SELECT " TRANSACTION_COLUMNS " FROM certificate WHERE transaction_key = $1 "
        "ORDER BY created DESC, generation, serial LIMIT 1"
    };
    uint8_t digest[32];
    enum ca_status status =
        transaction_digest(endpoint, transaction, signer_spki_sha256, digest);
    if (status != CA_OK)
        return status;
    struct store_value values[] = { store_blob(digest, sizeof digest),
                                    store_blob(request_sha256, 32) };
    if (request_sha256)
        select.sql = "SELECT " TRANSACTION_COLUMNS " FROM certificate "
                     "WHERE transaction_key = $1 AND request_sha256 = $2 "
                     "ORDER BY created DESC, generation, serial LIMIT 1";
    status = record_require(
        tx, "SELECT 1 FROM certificate WHERE transaction_key = $1 LIMIT 1", values, 1);
    if (status == CA_OK)
        status = record_load(tx, &select, values, request_sha256 ? 2 : 1, ret_found);
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_NOT_FOUND, "no certificate of transaction '%s' at '%s'",
                       transaction, endpoint);
    return status;
}

enum ca_status
certificate_load(struct store_tx *tx, const char *issuer, const char *serial,
                 struct certificate *ret_certificate)
{
    struct certificate certificate = { 0 };
    enum ca_status status = record_load(tx, &certificate_select,
                                        STORE_VALUES(store_text(serial)), &certificate);
    bool is_other =
        status == CA_OK && issuer && strcmp(certificate.issuer, issuer) != 0;
    if (status == CA_NOT_FOUND || is_other) {
        certificate_clear(&certificate);
        return ca_fail(CA_NOT_FOUND, "no certificate %s%s%s", serial,
                       issuer ? " of issuer " : "", issuer ? issuer : "");
    }
    if (status != CA_OK)
        return status;
    if (certificate.state == CERTIFICATE_ISSUED && certificate.not_after < clock_now())
        certificate.state = CERTIFICATE_EXPIRED;
    *ret_certificate = certificate;
    return CA_OK;
}

enum ca_status
certificate_check_first(struct store_tx *tx, const char *device, const char *profile,
                        const char *serial, int64_t now)
{
    bool is_held = false;
    enum ca_status status = record_exists(
        tx,
        "SELECT 1 FROM certificate WHERE device_id = $1 AND profile = $2 AND "
        "state < 2 AND not_after >= $3 AND serial <> $4",
        STORE_VALUES(store_text(device), store_text(profile), store_integer(now),
                     store_text(serial)),
        &is_held);
    if (status == CA_OK && is_held)
        return ca_fail(CA_FORBIDDEN,
                       "device %s holds a certificate of profile '%s' already, which "
                       "alone renews it",
                       device, profile);
    return status;
}

enum ca_status
certificate_granted(struct store_tx *tx, const char *serial, json_t **ret_granted)
{
    struct granted {
        json_t *names;
    } granted = { 0 };
    static const struct record_column columns[] = {
        RECORD_COLUMN(granted, JSON, names),
        { .type = RECORD_COLUMN_END },
    };
    static const struct record_select select = {
        columns, sizeof granted, "SELECT granted FROM certificate WHERE serial = $1"
    };
    enum ca_status status =
        record_load(tx, &select, STORE_VALUES(store_text(serial)), &granted);
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_NOT_FOUND, "no certificate %s", serial);
    if (status == CA_OK)
        *ret_granted = granted.names;
    return status;
}

/* Why a conditional revocation did not take place. */
static enum ca_status
revoke_refuse(struct store_tx *tx, const char *serial, const char *wanted)
{
    static const char *const words[] = { "an intent", "issued", "revoked", "expired",
                                         "abandoned" };
    struct certificate certificate = { 0 };
    enum ca_status status = certificate_load(tx, NULL, serial, &certificate);
    if (status == CA_OK)
        status = ca_fail(CA_CONFLICT, "certificate %s is %s, not %s", serial,
                         words[certificate.state % 5], wanted);
    certificate_clear(&certificate);
    return status;
}

static enum ca_status
hold_release(struct store_tx *tx, const char *serial)
{
    int64_t rows = 0;
    enum ca_status status =
        store_run(tx,
                  "UPDATE certificate SET state = 1, reason = NULL, revoked_at = 0, "
                  "invalidity_date = 0, updated = $2, version = version + 1 "
                  "WHERE serial = $1 AND state = 2 AND reason = 'certificate_hold' "
                  "RETURNING serial",
                  STORE_VALUES(store_text(serial), store_integer(clock_now())), NULL,
                  NULL, &rows);
    if (status == CA_OK && rows == 0)
        return revoke_refuse(tx, serial, "on hold");
    return status;
}

enum ca_status
certificate_revoke(struct store_tx *tx, const char *serial, int reason,
                   int64_t invalidity_date)
{
    int64_t rows = 0;
    if (reason < 0 || reason > 10 || !certificate_reason_words[reason])
        return ca_fail(CA_MALFORMED, "%d is not a reason of RFC 5280", reason);
    if (reason == CERTIFICATE_CA_COMPROMISE || reason == CERTIFICATE_AA_COMPROMISE)
        return ca_fail(CA_MALFORMED,
                       "'%s' is not for a device's certificate: say "
                       "'key_compromise'",
                       certificate_reason_words[reason]);
    if (invalidity_date > clock_now())
        return ca_fail(CA_MALFORMED, "invalidity_date lies in the future");
    if (reason == CERTIFICATE_REMOVE_FROM_CRL)
        return hold_release(tx, serial);
    /* What was revoked was not to be trusted from then on: the date stays. That a key
     * is compromised may come to light after its certificate was replaced. */
    enum ca_status status = store_run(
        tx,
        "UPDATE certificate SET revoked_at = CASE WHEN state = 2 THEN revoked_at "
        "ELSE $4 END, state = 2, reason = $2, invalidity_date = $3, updated = $4, "
        "version = version + 1 WHERE serial = $1 AND (state = 1 OR (state = 2 AND "
        "reason <> $2 AND (reason = 'certificate_hold' OR $2 = 'key_compromise'))) "
        "RETURNING serial",
        STORE_VALUES(store_text(serial), store_text(certificate_reason_words[reason]),
                     store_integer(invalidity_date), store_integer(clock_now())),
        NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        return revoke_refuse(tx, serial, "issued");
    return status;
}

struct serial_visit {
    record_visit visit;
    void *arg;
};

static enum ca_status
serial_row(const struct store_row *row, void *arg)
{
    const struct serial_visit *visit = arg;
    return visit->visit(store_row_text(row, 0), visit->arg);
}

static enum ca_status
revoke_many(struct store_tx *tx, const char *sql, const struct store_value *values,
            size_t n, record_visit visit, void *arg)
{
    struct serial_visit serials = { visit, arg };
    return store_run(tx, sql, values, n, serial_row, &serials, NULL);
}

#define REVOKE_MANY                                                                    \
    "UPDATE certificate SET state = 2, reason = $2, revoked_at = $3, "                 \
    "updated = $3, version = version + 1 WHERE state = 1 AND not_after >= $3 "

#define ABANDON_MANY                                                                   \
    "UPDATE certificate SET state = 4, " GENERATION_NEXT ", updated = $2, "            \
    "version = version + 1 WHERE state = 0 "

enum ca_status
certificate_revoke_device(struct store_tx *tx, const char *device, const char *profile,
                          const char *keep, int reason, record_visit visit, void *arg)
{
    if (reason < 0 || reason > 10 || !certificate_reason_words[reason])
        return ca_fail(CA_MALFORMED, "%d is not a reason of RFC 5280", reason);
    int64_t now = clock_now();
    if (!profile && !keep) {
        enum ca_status status = store_run(
            tx, ABANDON_MANY "AND device_id = $1",
            STORE_VALUES(store_text(device), store_integer(now)), NULL, NULL, NULL);
        if (status != CA_OK)
            return status;
    }
    enum ca_status any =
        record_require(tx,
                       "SELECT 1 FROM certificate WHERE device_id = $1 AND state = 1 "
                       "AND serial <> $2 LIMIT 1",
                       STORE_VALUES(store_text(device), store_text(keep ? keep : "")));
    if (any != CA_OK)
        return any == CA_NOT_FOUND ? CA_OK : any;
    return revoke_many(
        tx,
        REVOKE_MANY "AND device_id = $1 AND ($4 = '' OR profile = $4) "
                    "AND serial <> $5 RETURNING serial",
        STORE_VALUES(store_text(device), store_text(certificate_reason_words[reason]),
                     store_integer(now), store_text(profile ? profile : ""),
                     store_text(keep ? keep : "")),
        visit, arg);
}

enum ca_status
certificate_revoke_user(struct store_tx *tx, const char *user, int reason,
                        record_visit visit, void *arg)
{
    if (reason < 0 || reason > 10 || !certificate_reason_words[reason])
        return ca_fail(CA_MALFORMED, "%d is not a reason of RFC 5280", reason);
    int64_t now = clock_now();
    enum ca_status status =
        store_run(tx, ABANDON_MANY "AND user_name = $1",
                  STORE_VALUES(store_text(user), store_integer(now)), NULL, NULL, NULL);
    if (status != CA_OK)
        return status;
    return revoke_many(tx, REVOKE_MANY "AND user_name = $1 RETURNING serial",
                       STORE_VALUES(store_text(user),
                                    store_text(certificate_reason_words[reason]),
                                    store_integer(now)),
                       visit, arg);
}

void
certificate_clear(struct certificate *certificate)
{
    record_clear(certificate_columns, certificate);
}
