/* Offers to activated devices: drawn, found, claimed once, killed by mismatches. */
#include "offer.h"
#include "auto.h"
#include "clock.h"
#include "query.h"
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <string.h>

#define ID_PREFIX "offer:"
#define ID_OCTETS 8
#define SECRET_OCTETS 32
#define PATH_OCTETS 16 /* 128 bits */
#define KEEP_SECONDS 86400
#define HOUR_SECONDS 3600

#define OFFER_COLUMNS                                                                  \
    "id, device_id, user_name, profile, profile_version, subject, san, key_rule, "     \
    "spki, request_sha256, serial, state, mismatches, expires"

static const struct record_column offer_columns[] = {
    RECORD_COLUMN(offer, TEXT, id),
    RECORD_COLUMN(offer, TEXT, device),
    RECORD_COLUMN(offer, TEXT, user),
    RECORD_COLUMN(offer, TEXT, profile),
    RECORD_COLUMN(offer, INTEGER, profile_version),
    RECORD_COLUMN_BLOB(offer, subject, subject_size),
    RECORD_COLUMN(offer, TEXTS, san),
    RECORD_COLUMN(offer, JSON, key),
    RECORD_COLUMN_BLOB(offer, spki, spki_size),
    RECORD_COLUMN_BLOB(offer, request, request_size),
    RECORD_COLUMN(offer, TEXT, serial),
    RECORD_COLUMN(offer, CHOICE, state),
    RECORD_COLUMN(offer, INTEGER, mismatches),
    RECORD_COLUMN(offer, INTEGER, expires),
    { .type = RECORD_COLUMN_END },
};

bool
offer_is_id(const char *id)
{
    return strncmp(id, ID_PREFIX, sizeof ID_PREFIX - 1) == 0;
}

/* `octets` random octets as base64url, and SHA-256 of that text. */
static enum ca_status
draw(size_t octets, char *ret_text, size_t size, uint8_t ret_sha256[32])
{
    uint8_t drawn[SECRET_OCTETS];
    enum ca_status status = random_bytes(drawn, octets);
    if (status != CA_OK)
        return status;
    char *text = base64url_format(drawn, octets);
    OPENSSL_cleanse(drawn, sizeof drawn);
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for a secret");
    snprintf(ret_text, size, "%s", text);
    SHA256((const uint8_t *)text, strlen(text), ret_sha256);
    secret_free(text);
    return CA_OK;
}

/* Each leaves a row for a day and an audit entry for good. */
static enum ca_status
check_rate(struct store_tx *tx, const char *device)
{
    int64_t count = 0;
    enum ca_status status = store_run(
        tx, "SELECT COUNT(*) FROM offer WHERE device_id = $1 AND created > $2",
        STORE_VALUES(store_text(device), store_integer(clock_now() - HOUR_SECONDS)),
        row_take_integer, &count, NULL);
    if (status != CA_OK || count < OFFER_HOURLY)
        return status;
    return ca_fail(CA_LIMIT, "device %s had %d offers within the hour", device,
                   OFFER_HOURLY);
}

static enum ca_status
replace_open(struct store_tx *tx, const struct offer *offer)
{
    return store_run(tx,
                     "UPDATE offer SET state = 3, updated = $3, version = version + 1 "
                     "WHERE device_id = $1 AND profile = $2 AND state = 0",
                     STORE_VALUES(store_text(offer->device), store_text(offer->profile),
                                  store_integer(clock_now())),
                     NULL, NULL, NULL);
}

static enum ca_status
insert(struct store_tx *tx, const struct offer *offer, const char *id,
       const uint8_t secret[32], const uint8_t path[32])
{
    int64_t rows = 0;
    CA_AUTO(free) char *san = record_texts_format(&offer->san);
    CA_AUTO(free) char *key = record_json_format(offer->key);
    if (!san || !key)
        return ca_fail(CA_INTERNAL, "no memory for an offer");
    enum ca_status status = store_run(
        tx,
        "INSERT INTO offer (id, device_id, user_name, profile, profile_version, "
        "secret_sha256, path_sha256, subject, san, key_rule, state, mismatches, "
        "minute, forwards, expires, created, updated, version) "
        "SELECT $1, d.id, u.name, $4, $5, $6, $7, $8, $9, $10, 0, 0, 0, 0, $11, $12, "
        "$12, 1 FROM device d JOIN users u ON u.name = d.owner "
        "WHERE d.id = $2 AND u.name = $3 AND d.state <= 1 AND u.state = 0",
        STORE_VALUES(store_text(id), store_text(offer->device), store_text(offer->user),
                     store_text(offer->profile), store_integer(offer->profile_version),
                     store_blob(secret, 32), store_blob(path, 32),
                     store_blob(offer->subject, offer->subject_size), store_text(san),
                     store_text(key), store_integer(offer->expires),
                     store_integer(clock_now())),
        NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_FORBIDDEN, "device %s is not an active one of user '%s'",
                       offer->device, offer->user);
    return status;
}

enum ca_status
offer_insert(struct store_tx *tx, struct offer *offer,
             struct offer_secrets *ret_secrets)
{
    uint8_t drawn[ID_OCTETS], secret[32], path[32];
    char id[OFFER_ID_SIZE] = ID_PREFIX;
    struct offer_secrets secrets;
    enum ca_status status = check_rate(tx, offer->device);
    if (status == CA_OK)
        status = random_bytes(drawn, sizeof drawn);
    if (status == CA_OK)
        status = draw(SECRET_OCTETS, secrets.secret, sizeof secrets.secret, secret);
    if (status == CA_OK)
        status = draw(PATH_OCTETS, secrets.path, sizeof secrets.path, path);
    if (status != CA_OK)
        return status;
    hex_format(drawn, sizeof drawn, id + sizeof ID_PREFIX - 1);
    status = replace_open(tx, offer);
    if (status == CA_OK)
        status = insert(tx, offer, id, secret, path);
    char *copy = status == CA_OK ? strdup(id) : NULL;
    if (status == CA_OK && !copy)
        status = ca_fail(CA_INTERNAL, "no memory for an offer");
    if (status == CA_OK) {
        free(offer->id);
        offer->id = copy;
        offer->state = OFFER_OPEN;
        *ret_secrets = secrets;
    }
    OPENSSL_cleanse(&secrets, sizeof secrets);
    return status;
}

/* One conditional change of state; CA_CONFLICT when the condition did not hold. */
static enum ca_status
change(struct store_tx *tx, const char *sql, const struct store_value *values, size_t n,
       const char *message)
{
    int64_t rows = 0;
    enum ca_status status = store_run(tx, sql, values, n, NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_CONFLICT, "'%s' is not %s", (const char *)values[0].data,
                       message);
    return status;
}

enum ca_status
offer_renew_secret(struct store_tx *tx, const char *id,
                   char ret_secret[OFFER_TOKEN_SIZE])
{
    uint8_t sha256[32];
    char secret[OFFER_TOKEN_SIZE];
    int64_t now = clock_now();
    enum ca_status status = draw(SECRET_OCTETS, secret, sizeof secret, sha256);
    if (status == CA_OK)
        status = change(tx,
                        "UPDATE offer SET secret_sha256 = $2, updated = $3, "
                        "version = version + 1 "
                        "WHERE id = $1 AND state = 0 AND expires > $3",
                        STORE_VALUES(store_text(id), store_blob(sha256, sizeof sha256),
                                     store_integer(now)),
                        "open");
    if (status == CA_OK)
        memcpy(ret_secret, secret, sizeof secret);
    OPENSSL_cleanse(secret, sizeof secret);
    return status;
}

static enum ca_status
load(struct store_tx *tx, const char *sql, const struct store_value *values, size_t n,
     struct offer *ret_offer)
{
    const struct record_select select = { offer_columns, sizeof(struct offer), sql };
    enum ca_status status = record_load(tx, &select, values, n, ret_offer);
    return status == CA_NOT_FOUND ? ca_fail(CA_NOT_FOUND, "no such offer is alive")
                                  : status;
}

enum ca_status
offer_load(struct store_tx *tx, const char *id, struct offer *ret_offer)
{
    return load(tx,
                "SELECT " OFFER_COLUMNS " FROM offer WHERE id = $1 AND expires > $2",
                STORE_VALUES(store_text(id), store_integer(clock_now())), ret_offer);
}

enum ca_status
offer_of_secret(struct store_tx *tx, const char *text, size_t size,
                struct offer *ret_offer)
{
    uint8_t sha256[32];
    if (size != OFFER_TOKEN_SIZE - 1)
        return ca_fail(CA_NOT_FOUND, "not the secret of an offer");
    SHA256((const uint8_t *)text, size, sha256);
    return load(
        tx,
        "SELECT " OFFER_COLUMNS " FROM offer "
        "WHERE secret_sha256 = $1 AND state = 0 AND expires > $2",
        STORE_VALUES(store_blob(sha256, sizeof sha256), store_integer(clock_now())),
        ret_offer);
}

enum ca_status
offer_of_path(struct store_tx *tx, const char *profile, const char *text,
              struct offer *ret_offer)
{
    uint8_t sha256[32];
    if (strlen(text) != OFFER_PATH_SIZE - 1)
        return ca_fail(CA_NOT_FOUND, "not the path of an offer");
    SHA256((const uint8_t *)text, OFFER_PATH_SIZE - 1, sha256);
    return load(tx,
                "SELECT " OFFER_COLUMNS " FROM offer "
                "WHERE path_sha256 = $1 AND profile = $2 AND state <= 2 "
                "AND expires > $3 AND EXISTS (SELECT 1 FROM device d "
                "JOIN users u ON u.name = d.owner WHERE d.id = device_id "
                "AND u.name = user_name AND d.state <= 1 AND u.state = 0)",
                STORE_VALUES(store_blob(sha256, sizeof sha256), store_text(profile),
                             store_integer(clock_now())),
                ret_offer);
}

enum ca_status
offer_of_device(struct store_tx *tx, const char *device, const char *profile,
                const uint8_t request_sha256[32], struct offer *ret_offer)
{
    return load(tx,
                "SELECT " OFFER_COLUMNS " FROM offer "
                "WHERE device_id = $1 AND profile = $2 AND expires > $4 "
                "AND (state = 0 OR (state <= 2 AND request_sha256 = $3)) "
                "ORDER BY CASE WHEN request_sha256 = $3 THEN 0 ELSE 1 END, created "
                "LIMIT 1",
                STORE_VALUES(store_text(device), store_text(profile),
                             store_blob(request_sha256, 32),
                             store_integer(clock_now())),
                ret_offer);
}

enum ca_status
offer_bind(struct store_tx *tx, const char *id, const uint8_t spki[32])
{
    return change(
        tx,
        "UPDATE offer SET spki = $2, updated = $3, version = version + 1 "
        "WHERE id = $1 AND state = 0 AND expires > $3 "
        "AND (spki IS NULL OR spki = $2)",
        STORE_VALUES(store_text(id), store_blob(spki, 32), store_integer(clock_now())),
        "open for this key");
}

enum ca_status
offer_claim(struct store_tx *tx, const char *id, const char *serial,
            const uint8_t spki[32], const uint8_t request[32])
{
    return change(
        tx,
        "UPDATE offer SET state = 1, serial = $2, spki = $3, request_sha256 = $4, "
        "updated = $5, version = version + 1 WHERE id = $1 AND state = 0 "
        "AND expires > $5 AND (spki IS NULL OR spki = $3)",
        STORE_VALUES(store_text(id), store_text(serial), store_blob(spki, 32),
                     store_blob(request, 32), store_integer(clock_now())),
        "open for this key");
}

enum ca_status
offer_finish(struct store_tx *tx, const char *id, const char *serial)
{
    return change(
        tx,
        "UPDATE offer SET state = 2, updated = $3, version = version + 1 "
        "WHERE id = $1 AND state = 1 AND serial = $2",
        STORE_VALUES(store_text(id), store_text(serial), store_integer(clock_now())),
        "claimed for this certificate");
}

/* Open again, unless the device has fetched another one meanwhile. */
enum ca_status
offer_release(struct store_tx *tx, const char *id, const char *serial)
{
    return change(
        tx,
        "UPDATE offer SET state = CASE WHEN EXISTS (SELECT 1 FROM offer o "
        "WHERE o.device_id = offer.device_id AND o.profile = offer.profile "
        "AND o.state = 0) THEN 3 ELSE 0 END, "
        "serial = NULL, request_sha256 = NULL, updated = $3, version = version + 1 "
        "WHERE id = $1 AND state = 1 AND serial = $2",
        STORE_VALUES(store_text(id), store_text(serial), store_integer(clock_now())),
        "claimed for this certificate");
}

enum ca_status
offer_hand_over(struct store_tx *tx, const char *id, const char *from, const char *to)
{
    return change(tx,
                  "UPDATE offer SET serial = $3, updated = $4, version = version + 1 "
                  "WHERE id = $1 AND state = 1 AND serial = $2",
                  STORE_VALUES(store_text(id), store_text(from), store_text(to),
                               store_integer(clock_now())),
                  "claimed for this request");
}

enum ca_status
offer_mismatch(struct store_tx *tx, const char *id, bool *ret_killed)
{
    int64_t state = OFFER_OPEN;
    enum ca_status status =
        store_run(tx,
                  "UPDATE offer SET mismatches = mismatches + 1, "
                  "state = CASE WHEN mismatches + 1 >= $2 THEN 4 ELSE state END, "
                  "updated = $3, version = version + 1 WHERE id = $1 AND state = 0 "
                  "RETURNING state",
                  STORE_VALUES(store_text(id), store_integer(OFFER_MISMATCHES),
                               store_integer(clock_now())),
                  row_take_integer, &state, NULL);
    *ret_killed = status == CA_OK && state == OFFER_KILLED;
    return status;
}

enum ca_status
offer_forward(struct store_tx *tx, const char *id)
{
    int64_t rows = 0;
    enum ca_status status = store_run(
        tx,
        "UPDATE offer SET forwards = CASE WHEN minute = $2 THEN forwards + 1 ELSE 1 "
        "END, minute = $2 WHERE id = $1 AND (minute <> $2 OR forwards < $3)",
        STORE_VALUES(store_text(id), store_integer(clock_now() / 60),
                     store_integer(OFFER_FORWARDS)),
        NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_LIMIT, "more than %d requests a minute under this path",
                       OFFER_FORWARDS);
    return status;
}

enum ca_status
offer_expire(struct store_tx *tx, int64_t limit)
{
    return store_run(
        tx,
        "DELETE FROM offer WHERE id IN (SELECT id FROM offer "
        "WHERE expires < $1 AND state <> 1 ORDER BY expires LIMIT $2)",
        STORE_VALUES(store_integer(clock_now() - KEEP_SECONDS), store_integer(limit)),
        NULL, NULL, NULL);
}

void
offer_clear(struct offer *offer)
{
    record_clear(offer_columns, offer);
}
