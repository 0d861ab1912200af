/* Bearer tokens of administrators: 256 random bits, of which the store has the hash. */
#include "admin.h"
#include "auto.h"
#include "clock.h"
#include <string.h>

#define SECRET_SIZE 32
#define SECRET_TEXT 43 /* base64url without padding */
#define HASH_SIZE 32

const struct field admin_token_fields[] = {
    { FIELD(admin_token, id), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "uuid of the token." },
    { FIELD(admin_token, admin), .type = FIELD_TEXT,
      .flags = FIELD_REQUIRED | FIELD_NAME, .help = "Whom it logs in." },
    { FIELD(admin_token, description), .type = FIELD_TEXT, .max = 256,
      .help = "What it is for." },
    { FIELD(admin_token, expires), .type = FIELD_TIME,
      .help = "When it ends; null: never." },
    RECORD_STAMP_FIELDS(admin_token),
    FIELD_END,
};

static const struct record_column token_columns[] = {
    RECORD_COLUMN(admin_token, TEXT, id),
    RECORD_COLUMN(admin_token, TEXT, admin),
    RECORD_COLUMN(admin_token, TEXT, description),
    RECORD_COLUMN(admin_token, INTEGER, expires),
    RECORD_STAMP_COLUMNS(admin_token),
    { .type = RECORD_COLUMN_END },
};

static enum ca_status
secret_hash(const char *secret, uint8_t ret_hash[HASH_SIZE])
{
    if (EVP_Digest(secret, strlen(secret), ret_hash, NULL, EVP_sha256(), NULL) != 1)
        return ca_fail_openssl(CA_INTERNAL, "no SHA-256 of a token");
    return CA_OK;
}

static enum ca_status
secret_draw(char **ret_secret)
{
    uint8_t octets[SECRET_SIZE];
    enum ca_status status = random_bytes(octets, sizeof octets);
    if (status != CA_OK)
        return status;
    char *secret = base64url_format(octets, sizeof octets);
    OPENSSL_cleanse(octets, sizeof octets);
    if (!secret)
        return ca_fail(CA_INTERNAL, "no memory for a token");
    *ret_secret = secret;
    return CA_OK;
}

static enum ca_status
token_check(struct store_tx *tx, const struct admin_token *token, int64_t now)
{
    if (token->expires != 0 && token->expires <= now)
        return ca_fail(CA_MALFORMED, "the token would have expired already");
    bool is_there = false;
    enum ca_status status =
        record_exists(tx, "SELECT name FROM admin WHERE name = $1",
                      STORE_VALUES(store_text(token->admin)), &is_there);
    if (status == CA_OK && !is_there)
        return ca_fail(CA_NOT_FOUND, "no admin '%s'", token->admin);
    return status;
}

static enum ca_status
token_write(struct store_tx *tx, const struct admin_token *token, const char *secret)
{
    uint8_t hash[HASH_SIZE];
    enum ca_status status = secret_hash(secret, hash);
    if (status != CA_OK)
        return status;
    return store_run(
        tx,
        "INSERT INTO admin_token (id, admin, description, secret_sha256,"
        " expires, created, updated, version)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        STORE_VALUES(store_text(token->id), store_text(token->admin),
                     store_text(token->description), store_blob(hash, sizeof hash),
                     store_integer(token->expires), store_integer(token->stamp.created),
                     store_integer(token->stamp.updated),
                     store_integer(token->stamp.version)),
        NULL, NULL, NULL);
}

enum ca_status
admin_token_insert(struct store_tx *tx, struct admin_token *token, char **ret_secret)
{
    struct admin_token drawn = *token;
    record_stamp_first(&drawn.stamp);
    char uuid[37];
    CA_AUTO(secret_free) char *secret = NULL;
    enum ca_status status = token_check(tx, token, drawn.stamp.created);
    if (status == CA_OK)
        status = random_uuid(uuid);
    if (status == CA_OK)
        status = secret_draw(&secret);
    if (status != CA_OK)
        return status;
    CA_AUTO(free) char *id = strdup(uuid);
    if (!id)
        return ca_fail(CA_INTERNAL, "no memory for a token");
    drawn.id = id;
    status = token_write(tx, &drawn, secret);
    if (status != CA_OK)
        return status;
    free(token->id);
    token->id = CA_STEAL(id);
    token->stamp = drawn.stamp;
    *ret_secret = CA_STEAL(secret);
    return CA_OK;
}

enum ca_status
admin_token_list(struct store_tx *tx, const char *admin, const struct record_page *page,
                 record_visit visit, void *arg)
{
    static const struct record_select select = {
        token_columns, sizeof(struct admin_token),
        "SELECT id, admin, description, expires, created, updated, version"
        " FROM admin_token WHERE id > $1 AND ($3 IS NULL OR admin = $3)"
        " ORDER BY id LIMIT $2"
    };
    return record_list(tx, &select,
                       STORE_VALUES(store_text(record_page_after(page)),
                                    store_integer(record_page_limit(page)),
                                    store_text(admin)),
                       visit, arg);
}

enum ca_status
admin_token_delete(struct store_tx *tx, const char *id)
{
    int64_t rows = 0;
    enum ca_status status =
        store_run(tx, "DELETE FROM admin_token WHERE id = $1 RETURNING id",
                  STORE_VALUES(store_text(id)), NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_NOT_FOUND, "no token '%s'", id);
    return status;
}

static enum ca_status
name_read(const struct store_row *row, void *arg)
{
    char **name = arg;
    *name = strdup(store_row_text(row, 0));
    return *name ? CA_OK : ca_fail(CA_INTERNAL, "no memory for a name");
}

/* One message for unknown and expired: nobody learns which from a log either. The look
 * up is by a hash of 256 random bits, so its time tells nothing of the secret. */
enum ca_status
admin_of_token(struct store_tx *tx, const char *secret, struct admin *ret_admin)
{
    if (strnlen(secret, SECRET_TEXT + 1) != SECRET_TEXT)
        return ca_fail(CA_UNAUTHENTICATED, "the bearer token is none of ours");
    uint8_t hash[HASH_SIZE];
    enum ca_status status = secret_hash(secret, hash);
    if (status != CA_OK)
        return status;
    CA_AUTO(free) char *name = NULL;
    status = store_run(
        tx,
        "SELECT admin.name FROM admin_token"
        " JOIN admin ON admin.name = admin_token.admin"
        " WHERE secret_sha256 = $1 AND admin.disabled = 0"
        " AND (expires = 0 OR expires > $2)",
        STORE_VALUES(store_blob(hash, sizeof hash), store_integer(clock_now())),
        name_read, &name, NULL);
    if (status != CA_OK)
        return status;
    if (!name)
        return ca_fail(CA_UNAUTHENTICATED,
                       "the bearer token is unknown, expired or of a disabled admin");
    return admin_load(tx, name, ret_admin);
}

void
admin_token_clear(struct admin_token *token)
{
    record_clear(token_columns, token);
}
