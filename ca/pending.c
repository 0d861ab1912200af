/* Requests that wait for approval. */
#include "pending.h"
#include "auto.h"
#include "clock.h"
#include "query.h"
#include <string.h>

static const char *const state_words[] = { "waiting", "approved", "refused",
                                           "issued",  "expired",  NULL };

const struct field pending_fields[] = {
    { FIELD(pending, id), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "UUID of the request." },
    { FIELD(pending, protocol), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "The protocol it came over." },
    { FIELD(pending, profile), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "The certificate profile it asks for." },
    { FIELD(pending, user), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "The user it is for." },
    { FIELD(pending, device), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "Id of the device that asks." },
    { FIELD(pending, subject), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "The subject it would get." },
    { FIELD(pending, endpoint), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "Where it came in (\"scep/default\")." },
    { FIELD(pending, transaction), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "The protocol's transaction id." },
    { FIELD(pending, state), .type = FIELD_CHOICE, .words = state_words,
      .flags = FIELD_READ_ONLY, .help = "What became of it." },
    { FIELD(pending, approvals_needed), .type = FIELD_INTEGER, .flags = FIELD_READ_ONLY,
      .help = "How many approvers must agree." },
    { FIELD(pending, approvals), .type = FIELD_TEXTS, .flags = FIELD_READ_ONLY,
      .help = "Who agreed so far." },
    { FIELD(pending, refused_by), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "Who refused it." },
    { FIELD(pending, reason), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "Why it was refused." },
    { FIELD(pending, serial), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "Serial of the certificate it got." },
    { FIELD(pending, expires), .type = FIELD_TIME, .flags = FIELD_READ_ONLY,
      .help = "From then on nobody can approve it." },
    RECORD_STAMP_FIELDS(pending),
    FIELD_END,
};

static const struct record_column pending_columns[] = {
    RECORD_COLUMN(pending, TEXT, id),
    RECORD_COLUMN(pending, TEXT, protocol),
    RECORD_COLUMN(pending, TEXT, profile),
    RECORD_COLUMN(pending, TEXT, user),
    RECORD_COLUMN(pending, TEXT, device),
    RECORD_COLUMN(pending, TEXT, subject),
    RECORD_COLUMN(pending, TEXT, endpoint),
    RECORD_COLUMN(pending, TEXT, transaction),
    RECORD_COLUMN(pending, CHOICE, state),
    RECORD_COLUMN(pending, INTEGER, approvals_needed),
    RECORD_COLUMN(pending, TEXTS, approvals),
    RECORD_COLUMN(pending, TEXT, refused_by),
    RECORD_COLUMN(pending, TEXT, reason),
    RECORD_COLUMN(pending, TEXT, serial),
    RECORD_COLUMN(pending, INTEGER, expires),
    RECORD_COLUMN_BLOB(pending, request, request_size),
    RECORD_COLUMN_OCTETS(pending, signer_spki_sha256),
    RECORD_COLUMN_OCTETS(pending, request_sha256),
    RECORD_COLUMN(pending, TEXT, challenge),
    RECORD_COLUMN(pending, TEXT, replaces),
    RECORD_COLUMN(pending, JSON, granted),
    RECORD_COLUMN(pending, INTEGER, flags),
    RECORD_STAMP_COLUMNS(pending),
    { .type = RECORD_COLUMN_END },
};

/* Approvers are kept as the inside of a JSON list ('"alice","bob"'), to which one
 * statement can append; a name has neither quote nor backslash. */
#define PENDING_COLUMNS                                                                \
    "id, protocol, profile, user_name, device_id, subject, endpoint, transaction_id, " \
    "state, approvals_needed, '[' || approvals || ']', refused_by, reason, serial, "   \
    "expires, request, signer_spki_sha256, request_sha256, challenge, replaces, "      \
    "granted, flags, created, updated, version"

static const struct record_select load_select = { pending_columns,
                                                  sizeof(struct pending),
                                                  "SELECT " PENDING_COLUMNS
                                                  " FROM pending WHERE id = $1" };

/* Why the conditional INSERT took nothing in. */
static enum ca_status
refuse_insert(struct store_tx *tx, struct store_value key, int64_t most)
{
    bool exists = false;
    enum ca_status status = record_exists(
        tx, "SELECT 1 FROM pending WHERE transaction_key = $1 AND state < 2",
        STORE_VALUES(key), &exists);
    if (status != CA_OK)
        return status;
    if (exists)
        return ca_fail(CA_CONFLICT, "the transaction waits for approval already");
    return ca_fail(CA_LIMIT, "%lld requests wait for approval already",
                   (long long)most);
}

static enum ca_status
pending_store(struct store_tx *tx, struct pending *pending, struct store_value key,
              int64_t most)
{
    int64_t rows = 0;
    CA_AUTO(free) char *granted = record_json_format(pending->granted);
    if (pending->granted && !granted)
        return ca_fail(CA_INTERNAL, "no memory for a pending request");
    enum ca_status status = store_run(
        tx,
        "INSERT INTO pending (id, protocol, profile, user_name, device_id, subject, "
        "endpoint, transaction_id, state, approvals_needed, approval_count, approvals, "
        "expires, request, signer_spki_sha256, request_sha256, transaction_key, "
        "challenge, replaces, granted, flags, created, updated, version) "
        "SELECT $1, $2, $3, $4, $5, $6, $7, $8, 0, $9, 0, '', $10, $11, $12, $13, $14, "
        "$15, $16, $17, $18, $19, $19, 1 "
        "WHERE (SELECT COUNT(*) FROM pending WHERE state = 0) < $20 "
        "ON CONFLICT DO NOTHING RETURNING created, updated, version",
        STORE_VALUES(store_text(pending->id), store_text(pending->protocol),
                     store_text(pending->profile), store_text(pending->user),
                     store_text(pending->device), store_text(pending->subject),
                     store_text(pending->endpoint), store_text(pending->transaction),
                     store_integer(pending->approvals_needed),
                     store_integer(pending->expires),
                     store_blob(pending->request, pending->request_size),
                     store_blob(pending->signer_spki_sha256, 32),
                     store_blob(pending->request_sha256, 32), key,
                     store_text(pending->challenge), store_text(pending->replaces),
                     store_text(granted), store_integer(pending->flags),
                     store_integer(clock_now()), store_integer(most)),
        row_take_stamp, &pending->stamp, &rows);
    if (status == CA_OK && rows == 0)
        return refuse_insert(tx, key, most);
    return status;
}

enum ca_status
pending_insert(struct store_tx *tx, struct pending *pending, int64_t most)
{
    char id[37];
    uint8_t digest[32];
    enum ca_status status = CA_OK;
    if (!pending->id) {
        status = random_uuid(id);
        if (status != CA_OK)
            return status;
        pending->id = strdup(id);
        if (!pending->id)
            return ca_fail(CA_INTERNAL, "no memory for a pending request");
    }
    pending->state = PENDING_WAITING;
    if (!pending->transaction || !pending->endpoint)
        return pending_store(tx, pending, store_null(), most);
    status = transaction_digest(pending->endpoint, pending->transaction,
                                pending->signer_spki_sha256, digest);
    if (status != CA_OK)
        return status;
    return pending_store(tx, pending, store_blob(digest, sizeof digest), most);
}

enum ca_status
pending_load(struct store_tx *tx, const char *id, struct pending *ret_pending)
{
    enum ca_status status =
        record_load(tx, &load_select, STORE_VALUES(store_text(id)), ret_pending);
    return status == CA_NOT_FOUND ? ca_fail(CA_NOT_FOUND, "no pending request '%s'", id)
                                  : status;
}

enum ca_status
pending_of_transaction(struct store_tx *tx, const char *endpoint,
                       const char *transaction, const uint8_t signer_spki_sha256[32],
                       struct pending *ret_pending)
{
    static const struct record_select select = {
        pending_columns, sizeof(struct pending),
        "SELECT " PENDING_COLUMNS " FROM pending WHERE transaction_key = $1 "
        "ORDER BY created DESC, state, id LIMIT 1"
    };
    uint8_t digest[32];
    enum ca_status status =
        transaction_digest(endpoint, transaction, signer_spki_sha256, digest);
    if (status == CA_OK)
        status = record_require(
            tx, "SELECT 1 FROM pending WHERE transaction_key = $1 LIMIT 1",
            STORE_VALUES(store_blob(digest, 32)));
    if (status == CA_OK)
        status =
            record_load(tx, &select, STORE_VALUES(store_blob(digest, 32)), ret_pending);
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_NOT_FOUND, "no pending request of transaction '%s' at '%s'",
                       transaction, endpoint);
    return status;
}

enum ca_status
pending_list(struct store_tx *tx, const char *state, const struct record_page *page,
             record_visit visit, void *arg)
{
    struct query query;
    int index = 0;
    query_begin(&query, "SELECT " PENDING_COLUMNS " FROM pending");
    if (state) {
        enum ca_status status =
            word_parse(state_words, "state of a request", state, &index);
        if (status != CA_OK)
            return status;
        query_where(&query, "state = ?", store_integer(index));
    }
    query_page(&query, "id", page);
    return query_list(&query, tx, &load_select, visit, arg);
}

/* Has administrator $2 made the secret that the request came with: a challenge, or an
 * activation password, which it names as onetime.h has it? */
#define IS_MADE_BY_2                                                                   \
    "(EXISTS (SELECT 1 FROM challenge c WHERE c.id = pending.challenge "               \
    "AND c.created_by = $2) OR EXISTS (SELECT 1 FROM activation a "                    \
    "WHERE 'activation:' || a.id = pending.challenge AND a.created_by = $2))"

/* Why a request is not for this administrator to decide. */
static enum ca_status
refuse_decision(struct store_tx *tx, const char *id, const char *admin)
{
    struct pending pending = { 0 };
    int64_t own_secrets = 0;
    enum ca_status status = pending_load(tx, id, &pending);
    if (status == CA_OK)
        status = store_run(tx, "SELECT 1 FROM pending WHERE id = $1 AND " IS_MADE_BY_2,
                           STORE_VALUES(store_text(id), store_text(admin)), NULL, NULL,
                           &own_secrets);
    if (status != CA_OK) {
        pending_clear(&pending);
        return status;
    }
    bool is_own = (pending.user && strcmp(pending.user, admin) == 0) || own_secrets;
    if (is_own)
        status = ca_fail(CA_FORBIDDEN, "'%s' may not decide on an own request", admin);
    else if (pending.state != PENDING_WAITING)
        status = ca_fail(CA_CONFLICT, "request '%s' is %s", id,
                         state_words[pending.state % 5]);
    else if (pending.expires <= clock_now())
        status = ca_fail(CA_CONFLICT, "request '%s' is expired", id);
    else
        status =
            ca_fail(CA_CONFLICT, "'%s' has approved request '%s' already", admin, id);
    pending_clear(&pending);
    return status;
}

enum ca_status
pending_approve(struct store_tx *tx, const char *id, const char *admin,
                enum pending_state *ret_state)
{
    int64_t rows = 0, state = 0;
    if (strpbrk(admin, "\"\\") || !text_is_clean(admin, strlen(admin)))
        return ca_fail(CA_MALFORMED, "the approver's name has a quote");
    /* One statement: two approvals at once are both counted, each person's once. */
    enum ca_status status = store_run(
        tx,
        "UPDATE pending SET approvals = approvals || CASE WHEN approvals = '' THEN '' "
        "ELSE ',' END || '\"' || $2 || '\"', approval_count = approval_count + 1, "
        "state = CASE WHEN approval_count + 1 >= approvals_needed THEN 1 ELSE 0 END, "
        "updated = $3, version = version + 1 WHERE id = $1 AND state = 0 "
        "AND expires > $3 AND COALESCE(user_name, '') <> $2 "
        "AND NOT " IS_MADE_BY_2 " "
        "AND replace(approvals, '\"' || $2 || '\"', '') = approvals RETURNING state",
        STORE_VALUES(store_text(id), store_text(admin), store_integer(clock_now())),
        row_take_integer, &state, &rows);
    if (status == CA_OK && rows == 0)
        return refuse_decision(tx, id, admin);
    if (status == CA_OK)
        *ret_state = (enum pending_state)state;
    return status;
}

enum ca_status
pending_refuse(struct store_tx *tx, const char *id, const char *admin,
               const char *reason)
{
    int64_t rows = 0;
    enum ca_status status = store_run(
        tx,
        "UPDATE pending SET state = 2, refused_by = $2, reason = $3, updated = $4, "
        "version = version + 1 WHERE id = $1 AND state <= 1 RETURNING id",
        STORE_VALUES(store_text(id), store_text(admin), store_text(reason),
                     store_integer(clock_now())),
        NULL, NULL, &rows);
    if (status != CA_OK || rows > 0)
        return status;
    struct pending pending = { 0 };
    status = pending_load(tx, id, &pending);
    if (status == CA_OK)
        status = ca_fail(CA_CONFLICT, "request '%s' is %s", id,
                         state_words[pending.state % 5]);
    pending_clear(&pending);
    return status;
}

enum ca_status
pending_refuse_all(struct store_tx *tx, const char *user, const char *device,
                   const char *reason)
{
    return store_run(
        tx,
        "UPDATE pending SET state = 2, reason = $3, updated = $4, "
        "version = version + 1 WHERE (user_name = $1 OR device_id = $2) AND state <= 1",
        STORE_VALUES(store_text(user), store_text(device), store_text(reason),
                     store_integer(clock_now())),
        NULL, NULL, NULL);
}

enum ca_status
pending_finish(struct store_tx *tx, const char *id, const char *serial)
{
    int64_t rows = 0;
    enum ca_status status = store_run(
        tx,
        "UPDATE pending SET state = 3, serial = $2, updated = $3, "
        "version = version + 1 WHERE id = $1 AND state = 1 RETURNING id",
        STORE_VALUES(store_text(id), store_text(serial), store_integer(clock_now())),
        NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_CONFLICT, "request '%s' is not approved", id);
    return status;
}

enum ca_status
pending_reopen(struct store_tx *tx, const char *id, const char *serial)
{
    int64_t rows = 0;
    enum ca_status status = store_run(
        tx,
        "UPDATE pending SET state = 1, serial = NULL, updated = $3, "
        "version = version + 1 WHERE id = $1 AND state = 3 AND serial = $2 "
        "RETURNING id",
        STORE_VALUES(store_text(id), store_text(serial), store_integer(clock_now())),
        NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_CONFLICT, "request '%s' was not issued %s", id, serial);
    return status;
}

enum ca_status
pending_expire(struct store_tx *tx, int64_t now, record_visit visit, void *arg)
{
    static const struct record_select select = {
        pending_columns, sizeof(struct pending),
        "UPDATE pending SET state = 4, updated = $1, version = version + 1 "
        "WHERE state < 2 AND expires <= $1 RETURNING " PENDING_COLUMNS
    };
    return record_list(tx, &select, STORE_VALUES(store_integer(now)), visit, arg);
}

void
pending_clear(struct pending *pending)
{
    record_clear(pending_columns, pending);
}
