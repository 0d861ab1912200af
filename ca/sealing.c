/* Sealing keys and server keys in the store. */
#include "sealing.h"
#include "clock.h"
#include <string.h>

const char *const sealing_method_words[] = {
    [SEALING_TOKEN] = "token",
    [SEALING_GCM] = "gcm",
    [SEALING_KW] = "kw",
    [SEALING_CBC] = "cbc",
    [SEALING_OAEP_SHA256] = "oaep-sha256",
    [SEALING_OAEP_SHA1] = "oaep-sha1",
    [SEALING_METHOD_COUNT] = NULL,
};

static const struct record_column sealing_columns[] = {
    RECORD_COLUMN(sealing_key, TEXT, kid),
    RECORD_COLUMN(sealing_key, CHOICE, method),
    RECORD_COLUMN(sealing_key, TEXT, key),
    RECORD_COLUMN(sealing_key, TEXT, tag_key),
    RECORD_COLUMN(sealing_key, BOOLEAN, current),
    RECORD_COLUMN(sealing_key, INTEGER, created),
    RECORD_COLUMN_BLOB(sealing_key, blob, blob_size),
    { .type = RECORD_COLUMN_END },
};

static const struct record_column server_columns[] = {
    RECORD_COLUMN(server_key, TEXT, name),
    RECORD_COLUMN(server_key, TEXT, kid),
    RECORD_COLUMN_OCTETS(server_key, blob),
    { .type = RECORD_COLUMN_END },
};

static bool
kid_is_good(const char *kid)
{
    size_t length = strlen(kid);
    return length > 0 && length <= SEALING_KID_MAX &&
           strspn(kid, "abcdefghijklmnopqrstuvwxyz0123456789-") == length;
}

enum ca_status
sealing_insert(struct store_tx *tx, const struct sealing_key *key)
{
    if (!kid_is_good(key->kid) || key->method < 0 ||
        key->method >= SEALING_METHOD_COUNT)
        return ca_fail(CA_MALFORMED, "a sealing key without name or method");
    enum ca_status status =
        store_run(tx, "UPDATE sealing_key SET is_current = 0 WHERE is_current = 1",
                  STORE_NO_VALUES, NULL, NULL, NULL);
    if (status != CA_OK)
        return status;
    status = record_change(
        tx,
        "INSERT INTO sealing_key (kid, method, key, tag_key, is_current, created, blob)"
        " VALUES ($1, $2, $3, $4, 1, $5, $6) ON CONFLICT (kid) DO NOTHING"
        " RETURNING kid",
        STORE_VALUES(store_text(key->kid), store_integer(key->method),
                     store_text(key->key), store_text(key->tag_key),
                     store_integer(clock_now()),
                     store_blob(key->blob, key->blob_size)));
    return status == CA_CONFLICT
               ? ca_fail(CA_CONFLICT, "sealing key '%s' exists", key->kid)
               : status;
}

enum ca_status
sealing_list(struct store_tx *tx, record_visit visit, void *arg)
{
    static const struct record_select select = {
        sealing_columns, sizeof(struct sealing_key),
        "SELECT kid, method, key, tag_key, is_current, created, blob FROM sealing_key "
        "ORDER BY is_current DESC, created DESC, kid"
    };
    return record_list(tx, &select, STORE_NO_VALUES, visit, arg);
}

enum ca_status
sealing_purge(struct store_tx *tx, int64_t *ret_count)
{
    return store_run(tx,
                     "DELETE FROM sealing_key WHERE is_current = 0 "
                     "AND NOT EXISTS (SELECT 1 FROM activation_verifier v "
                     "WHERE v.kid = sealing_key.kid) "
                     "AND NOT EXISTS (SELECT 1 FROM outbox o "
                     "WHERE o.kid = sealing_key.kid) "
                     "AND NOT EXISTS (SELECT 1 FROM server_key s "
                     "WHERE s.kid = sealing_key.kid)",
                     STORE_NO_VALUES, NULL, NULL, ret_count);
}

void
sealing_clear(struct sealing_key *key)
{
    record_clear(sealing_columns, key);
}

bool
sealing_copy(const struct sealing_key *key, struct sealing_key *ret_key)
{
    struct sealing_key copy = { .method = key->method,
                                .current = key->current,
                                .created = key->created,
                                .kid = strdup(key->kid),
                                .key = strdup(key->key),
                                .tag_key = key->tag_key ? strdup(key->tag_key) : NULL };
    if (key->blob_size > 0)
        copy.blob = malloc(key->blob_size);
    if (copy.blob) {
        memcpy(copy.blob, key->blob, key->blob_size);
        copy.blob_size = key->blob_size;
    }
    bool is_whole = copy.kid && copy.key && (!key->tag_key || copy.tag_key) &&
                    copy.blob_size == key->blob_size;
    if (is_whole)
        *ret_key = copy;
    else
        sealing_clear(&copy);
    return is_whole;
}

enum ca_status
server_key_insert(struct store_tx *tx, const struct server_key *key)
{
    enum ca_status status =
        record_change(tx,
                      "INSERT INTO server_key (name, kid, blob) VALUES ($1, $2, $3) "
                      "ON CONFLICT (name) DO NOTHING RETURNING name",
                      STORE_VALUES(store_text(key->name), store_text(key->kid),
                                   store_blob(key->blob, sizeof key->blob)));
    return status == CA_CONFLICT
               ? ca_fail(CA_CONFLICT, "server key '%s' exists", key->name)
               : status;
}

enum ca_status
server_key_reseal(struct store_tx *tx, const struct server_key *key)
{
    enum ca_status status = record_change(
        tx, "UPDATE server_key SET kid = $2, blob = $3 WHERE name = $1 RETURNING name",
        STORE_VALUES(store_text(key->name), store_text(key->kid),
                     store_blob(key->blob, sizeof key->blob)));
    return status == CA_CONFLICT
               ? ca_fail(CA_NOT_FOUND, "no server key '%s'", key->name)
               : status;
}

enum ca_status
server_key_load(struct store_tx *tx, const char *name, struct server_key *ret_key)
{
    static const struct record_select select = {
        server_columns, sizeof(struct server_key),
        "SELECT name, kid, blob FROM server_key WHERE name = $1"
    };
    enum ca_status status =
        record_load(tx, &select, STORE_VALUES(store_text(name)), ret_key);
    return status == CA_NOT_FOUND ? ca_fail(CA_NOT_FOUND, "no server key '%s'", name)
                                  : status;
}

void
server_key_clear(struct server_key *key)
{
    record_clear(server_columns, key);
}
