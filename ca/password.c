/* Verifiers and tries of local users' passwords. */
#include "password.h"
#include "auto.h"
#include "clock.h"
#include "query.h"
#include "text.h"
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <string.h>

/* As activation passwords are stretched: 16 MiB, some 0.2 s. */
#define SCRYPT_LN 14
#define SCRYPT_R 8
#define SCRYPT_P 5
#define SCRYPT_LN_MAX 20
#define SCRYPT_FACTOR_MAX 32
#define SCRYPT_MEMORY_MAX (64 * 1024 * 1024)
#define SALT_SIZE 16
#define HASH_SIZE 32

struct stretch {
    unsigned ln, r, p;
    uint8_t salt[SALT_SIZE], hash[HASH_SIZE];
};

static enum ca_status
stretch_run(const struct stretch *stretch, const char *secret, size_t size,
            uint8_t ret_hash[HASH_SIZE])
{
    if (EVP_PBE_scrypt(secret, size, stretch->salt, SALT_SIZE,
                       (uint64_t)1 << stretch->ln, stretch->r, stretch->p,
                       SCRYPT_MEMORY_MAX, ret_hash, HASH_SIZE) != 1)
        return ca_fail_openssl(CA_INTERNAL, "scrypt failed");
    return CA_OK;
}

static bool
part_parse(const char *text, size_t length, void *ret_octets, size_t size)
{
    size_t got = 0;
    return base64_parse(text, length, BASE64_STRICT, ret_octets, size, &got) == CA_OK &&
           got == size;
}

static bool
verifier_parse(const char *text, struct stretch *ret_stretch)
{
    struct stretch stretch = { 0 };
    int at = 0;
    if (sscanf(text, "scrypt$%2u$%2u$%2u$%n", &stretch.ln, &stretch.r, &stretch.p,
               &at) != 3 ||
        at == 0)
        return false;
    const char *salt = text + at, *dollar = strchr(salt, '$');
    if (stretch.ln < 1 || stretch.ln > SCRYPT_LN_MAX || stretch.r < 1 ||
        stretch.r > SCRYPT_FACTOR_MAX || stretch.p < 1 ||
        stretch.p > SCRYPT_FACTOR_MAX || !dollar)
        return false;
    bool is_good = part_parse(salt, (size_t)(dollar - salt), stretch.salt, SALT_SIZE) &&
                   part_parse(dollar + 1, strlen(dollar + 1), stretch.hash, HASH_SIZE);
    if (is_good)
        *ret_stretch = stretch;
    return is_good;
}

enum ca_status
password_derive(const char *secret, size_t size,
                char ret_verifier[PASSWORD_VERIFIER_SIZE])
{
    struct stretch stretch = { .ln = SCRYPT_LN, .r = SCRYPT_R, .p = SCRYPT_P };
    enum ca_status status = random_bytes(stretch.salt, SALT_SIZE);
    if (status == CA_OK)
        status = stretch_run(&stretch, secret, size, stretch.hash);
    if (status != CA_OK)
        return status;
    CA_AUTO(free) char *salt = base64_format(stretch.salt, SALT_SIZE);
    CA_AUTO(free) char *hash = base64_format(stretch.hash, HASH_SIZE);
    if (!salt || !hash)
        return ca_fail(CA_INTERNAL, "no memory for a password's verifier");
    snprintf(ret_verifier, PASSWORD_VERIFIER_SIZE, "scrypt$%u$%u$%u$%s$%s", stretch.ln,
             stretch.r, stretch.p, salt, hash);
    return CA_OK;
}

enum ca_status
password_verify(const char *verifier, const char *secret, size_t size,
                bool *ret_matches)
{
    struct stretch stretch = { .ln = SCRYPT_LN, .r = SCRYPT_R, .p = SCRYPT_P };
    uint8_t hash[HASH_SIZE];
    if (verifier && !verifier_parse(verifier, &stretch))
        return ca_fail(CA_INTERNAL, "a password's verifier does not parse");
    enum ca_status status = stretch_run(&stretch, secret, size, hash);
    if (status == CA_OK)
        *ret_matches = verifier && CRYPTO_memcmp(hash, stretch.hash, HASH_SIZE) == 0;
    OPENSSL_cleanse(hash, sizeof hash);
    return status;
}

void
password_mark(const char *verifier, char ret_mark[PASSWORD_MARK_SIZE])
{
    uint8_t sha256[SHA256_DIGEST_LENGTH];
    *ret_mark = '\0';
    if (!verifier)
        return;
    SHA256((const uint8_t *)verifier, strlen(verifier), sha256);
    hex_format(sha256, (PASSWORD_MARK_SIZE - 1) / 2, ret_mark);
}

#define PASSWORD_COLUMNS                                                               \
    "user_name, verifier, tries, locked_until, created, updated, version"

static const struct record_column password_columns[] = {
    RECORD_COLUMN(password, TEXT, user),
    RECORD_COLUMN(password, TEXT, verifier),
    RECORD_COLUMN(password, INTEGER, tries),
    RECORD_COLUMN(password, INTEGER, locked_until),
    RECORD_STAMP_COLUMNS(password),
    { .type = RECORD_COLUMN_END },
};

static const struct record_select password_select = {
    password_columns, sizeof(struct password),
    "SELECT " PASSWORD_COLUMNS " FROM user_password WHERE user_name = $1"
};

enum ca_status
password_save(struct store_tx *tx, const char *user, const char *verifier)
{
    int64_t rows = 0, source = 0;
    enum ca_status status =
        store_run(tx, "SELECT source FROM users WHERE name = $1",
                  STORE_VALUES(store_text(user)), row_take_integer, &source, NULL);
    if (status != CA_OK)
        return status;
    if (source != 0 && strcmp(verifier, PASSWORD_OF_DIRECTORY) != 0)
        return ca_fail(CA_FORBIDDEN, "the directory has the password of user '%s'",
                       user);
    status =
        store_run(tx,
                  "INSERT INTO user_password (" PASSWORD_COLUMNS ") "
                  "SELECT name, $2, 0, 0, $3, $3, 1 FROM users WHERE name = $1 "
                  "ON CONFLICT (user_name) DO UPDATE SET verifier = excluded.verifier, "
                  "tries = 0, locked_until = 0, updated = excluded.updated, "
                  "version = user_password.version + 1 RETURNING user_name",
                  STORE_VALUES(store_text(user), store_text(verifier),
                               store_integer(clock_now())),
                  NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_NOT_FOUND, "no user '%s'", user);
    return status;
}

enum ca_status
password_load(struct store_tx *tx, const char *user, struct password *ret_password)
{
    enum ca_status status =
        record_load(tx, &password_select, STORE_VALUES(store_text(user)), ret_password);
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_NOT_FOUND, "user '%s' has no password", user);
    return status;
}

enum ca_status
password_remove(struct store_tx *tx, const char *user)
{
    int64_t rows = 0;
    enum ca_status status =
        store_run(tx,
                  "DELETE FROM user_password WHERE user_name = $1 AND verifier <> $2 "
                  "RETURNING user_name",
                  STORE_VALUES(store_text(user), store_text(PASSWORD_OF_DIRECTORY)),
                  NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_NOT_FOUND, "user '%s' has no password", user);
    return status;
}

/* The lock that so many wrong tries bring. */
static int64_t
lock_seconds(int64_t tries)
{
    int64_t seconds = PASSWORD_LOCK_SECONDS;
    if (tries < PASSWORD_TRIES)
        return 0;
    for (; tries > PASSWORD_TRIES && seconds < PASSWORD_LOCK_SECONDS_MAX; tries--)
        seconds *= 2;
    return seconds < PASSWORD_LOCK_SECONDS_MAX ? seconds : PASSWORD_LOCK_SECONDS_MAX;
}

enum ca_status
password_count_try(struct store_tx *tx, const char *user)
{
    int64_t tries = 0;
    enum ca_status status =
        store_run(tx,
                  "UPDATE user_password SET tries = tries + 1 WHERE user_name = $1 "
                  "RETURNING tries",
                  STORE_VALUES(store_text(user)), row_take_integer, &tries, NULL);
    if (status != CA_OK || lock_seconds(tries) == 0)
        return status;
    return store_run(tx,
                     "UPDATE user_password SET locked_until = $2 WHERE user_name = $1",
                     STORE_VALUES(store_text(user),
                                  store_integer(clock_now() + lock_seconds(tries))),
                     NULL, NULL, NULL);
}

enum ca_status
password_count_right(struct store_tx *tx, const char *user)
{
    return store_run(tx,
                     "UPDATE user_password SET tries = 0, locked_until = 0 "
                     "WHERE user_name = $1 AND tries > 0",
                     STORE_VALUES(store_text(user)), NULL, NULL, NULL);
}

void
password_clear(struct password *password)
{
    record_clear(password_columns, password);
}
