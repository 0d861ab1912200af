/* Login tokens in the state table: open ones in one space, claimed ones in another, so
 * that claiming is one deletion that only one request can make. */
#include "login.h"
#include "auto.h"
#include "clock.h"
#include "state.h"
#include "text.h"
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <string.h>

#define SPACE_OPEN "core/login"
#define SPACE_CLAIMED "core/login-claimed"
#define CLAIMED_SECONDS ((int64_t)366 * 86400) /* longer than any request waits */
#define ID_PREFIX "login:"
#define ID_DIGITS 16
#define SECRET_SIZE 32 /* SECURITY A3 */
#define SECRET_DIGITS 43

bool
login_is_id(const char *id)
{
    return strncmp(id, ID_PREFIX, sizeof ID_PREFIX - 1) == 0;
}

static void
digest(const char *secret, char ret_hex[65])
{
    uint8_t sha256[SHA256_DIGEST_LENGTH];
    SHA256((const uint8_t *)secret, SECRET_DIGITS, sha256);
    hex_format(sha256, sizeof sha256, ret_hex);
}

static enum ca_status
save(struct store_tx *tx, const char *space, const char *id, json_t *value,
     int64_t expires)
{
    CA_AUTO(free) char *text = record_json_format(value);
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for a login token");
    return state_put(tx, space, id, text, strlen(text), expires);
}

enum ca_status
login_issue(struct store_tx *tx, const struct login *login, int64_t seconds,
            char ret_text[LOGIN_TEXT_SIZE])
{
    uint8_t id[ID_DIGITS / 2], secret[SECRET_SIZE];
    char id_text[LOGIN_ID_SIZE] = ID_PREFIX, hash[65];
    if (seconds < 1 || seconds > LOGIN_SECONDS_MAX)
        return ca_fail(CA_LIMIT, "a login token for %lld seconds, at most %d",
                       (long long)seconds, LOGIN_SECONDS_MAX);
    enum ca_status status = random_bytes(id, sizeof id);
    if (status == CA_OK)
        status = random_bytes(secret, sizeof secret);
    if (status != CA_OK)
        return status;
    char *digits = base64url_format(secret, sizeof secret);
    OPENSSL_cleanse(secret, sizeof secret);
    if (!digits)
        return ca_fail(CA_INTERNAL, "no memory for a login token");
    hex_format(id, sizeof id, id_text + sizeof ID_PREFIX - 1);
    digest(digits, hash);
    int64_t expires = clock_now() + seconds;
    CA_AUTO(json_decref)
    json_t *value = json_pack("{s:s, s:I, s:s*, s:s, s:I}", "user", login->user, "made",
                              (json_int_t)login->made, "under",
                              login->under[0] ? login->under : NULL, "sha256", hash,
                              "expires", (json_int_t)expires);
    status = save(tx, SPACE_OPEN, id_text, value, expires);
    if (status == CA_OK)
        snprintf(ret_text, LOGIN_TEXT_SIZE, "%s%s", id_text + sizeof ID_PREFIX - 1,
                 digits);
    secret_free(digits);
    return status;
}

/* What the state table keeps, parsed (new reference). */
static enum ca_status
value_parse(void *octets, size_t size, json_t **ret_value)
{
    CA_AUTO(free) char *text = octets;
    enum ca_status status = field_parse(text, size, STATE_VALUE_MAX, ret_value);
    if (status != CA_OK)
        return ca_fail(CA_INTERNAL, "a login token's record does not parse");
    return CA_OK;
}

static enum ca_status
load(struct store_tx *tx, const char *space, const char *id, json_t **ret_value)
{
    void *octets = NULL;
    size_t size = 0;
    enum ca_status status = state_get(tx, space, id, &octets, &size, NULL);
    return status == CA_OK ? value_parse(octets, size, ret_value) : status;
}

static enum ca_status
take(struct store_tx *tx, const char *space, const char *id, json_t **ret_value)
{
    void *octets = NULL;
    size_t size = 0;
    enum ca_status status = state_take(tx, space, id, &octets, &size);
    return status == CA_OK ? value_parse(octets, size, ret_value) : status;
}

static void
under_of(const json_t *value, char ret_under[LOGIN_UNDER_SIZE])
{
    const char *under = json_string_value(json_object_get(value, "under"));
    snprintf(ret_under, LOGIN_UNDER_SIZE, "%s", under ? under : "");
}

enum ca_status
login_verify(struct store_tx *tx, const char *text, size_t size,
             struct login *ret_login)
{
    char id[LOGIN_ID_SIZE], hash[65];
    if (size != LOGIN_TEXT_SIZE - 1 || memchr(text, '\0', size))
        return ca_fail(CA_UNAUTHENTICATED, "no login token of ours");
    snprintf(id, sizeof id, ID_PREFIX "%.*s", ID_DIGITS, text);
    digest(text + ID_DIGITS, hash);
    CA_AUTO(json_decref) json_t *value = NULL;
    enum ca_status status = load(tx, SPACE_OPEN, id, &value);
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_UNAUTHENTICATED, "login token is unknown, expired or used");
    if (status != CA_OK)
        return status;
    const char *user = json_string_value(json_object_get(value, "user"));
    json_t *sha256 = json_object_get(value, "sha256");
    if (!user || json_string_length(sha256) != sizeof hash - 1)
        return ca_fail(CA_INTERNAL, "a login token's record has no user");
    if (CRYPTO_memcmp(json_string_value(sha256), hash, sizeof hash - 1) != 0)
        return ca_fail(CA_UNAUTHENTICATED, "login token has another secret");
    char *copy = strdup(user);
    if (!copy)
        return ca_fail(CA_INTERNAL, "no memory for a user's name");
    *ret_login =
        (struct login){ .user = copy,
                        .made = json_integer_value(json_object_get(value, "made")) };
    snprintf(ret_login->id, sizeof ret_login->id, "%s", id);
    under_of(value, ret_login->under);
    return CA_OK;
}

static enum ca_status
save_claimed(struct store_tx *tx, const char *id, json_t *value, const char *serial)
{
    if (json_object_set_new(value, "serial", json_string(serial)) != 0)
        return ca_fail(CA_INTERNAL, "no memory for a login token");
    return save(tx, SPACE_CLAIMED, id, value, clock_now() + CLAIMED_SECONDS);
}

enum ca_status
login_claim(struct store_tx *tx, const char *id, const char *serial,
            char ret_under[LOGIN_UNDER_SIZE])
{
    CA_AUTO(json_decref) json_t *value = NULL;
    enum ca_status status = take(tx, SPACE_OPEN, id, &value);
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_CONFLICT, "login token is used or expired");
    under_of(value, ret_under);
    return status == CA_OK ? save_claimed(tx, id, value, serial) : status;
}

/* Takes the claimed record, which must be this serial's. */
static enum ca_status
take_claimed(struct store_tx *tx, const char *id, const char *serial,
             json_t **ret_value)
{
    CA_AUTO(json_decref) json_t *value = NULL;
    enum ca_status status = load(tx, SPACE_CLAIMED, id, &value);
    if (status != CA_OK && status != CA_NOT_FOUND)
        return status;
    const char *held = json_string_value(json_object_get(value, "serial"));
    if (!held || strcmp(held, serial) != 0)
        return ca_fail(CA_CONFLICT, "login token is not claimed by %s", serial);
    status = state_remove(tx, SPACE_CLAIMED, id);
    if (status == CA_OK)
        *ret_value = CA_STEAL(value);
    return status;
}

enum ca_status
login_finish(struct store_tx *tx, const char *id, const char *serial,
             char ret_under[LOGIN_UNDER_SIZE])
{
    CA_AUTO(json_decref) json_t *value = NULL;
    enum ca_status status = take_claimed(tx, id, serial, &value);
    under_of(value, ret_under);
    return status;
}

enum ca_status
login_release(struct store_tx *tx, const char *id, const char *serial,
              char ret_under[LOGIN_UNDER_SIZE])
{
    CA_AUTO(json_decref) json_t *value = NULL;
    enum ca_status status = take_claimed(tx, id, serial, &value);
    under_of(value, ret_under);
    int64_t expires = json_integer_value(json_object_get(value, "expires"));
    if (status != CA_OK || expires <= clock_now())
        return status;
    json_object_del(value, "serial");
    return save(tx, SPACE_OPEN, id, value, expires);
}

enum ca_status
login_hand_over(struct store_tx *tx, const char *id, const char *from, const char *to)
{
    CA_AUTO(json_decref) json_t *value = NULL;
    enum ca_status status = take_claimed(tx, id, from, &value);
    return status == CA_OK ? save_claimed(tx, id, value, to) : status;
}
