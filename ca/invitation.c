/* Invitations in the state table: one space by the code's name, one by user that says
 * which code is the live one. */
#include "invitation.h"
#include "auto.h"
#include "clock.h"
#include "password.h"
#include "state.h"
#include "text.h"
#include "user.h"
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <string.h>

#define SPACE_CODE "core/invitation"
#define SPACE_USER "core/invitation-of"
#define ID_DIGITS 16
#define SECRET_SIZE 32
#define SECRET_DIGITS 43

enum ca_status
invitation_draw(char ret_code[INVITATION_CODE_SIZE])
{
    uint8_t id[ID_DIGITS / 2], secret[SECRET_SIZE];
    char digits[ID_DIGITS + 1];
    enum ca_status status = random_bytes(id, sizeof id);
    if (status == CA_OK)
        status = random_bytes(secret, sizeof secret);
    if (status != CA_OK)
        return status;
    hex_format(id, sizeof id, digits);
    CA_AUTO(secret_free) char *text = base64url_format(secret, sizeof secret);
    OPENSSL_cleanse(secret, sizeof secret);
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for an invitation");
    snprintf(ret_code, INVITATION_CODE_SIZE, "%s%s", digits, text);
    return CA_OK;
}

static bool
code_split(const char *code, char ret_id[ID_DIGITS + 1], char ret_sha256[65])
{
    uint8_t sha256[SHA256_DIGEST_LENGTH];
    if (strnlen(code, INVITATION_CODE_SIZE) != INVITATION_CODE_SIZE - 1)
        return false;
    memcpy(ret_id, code, ID_DIGITS);
    ret_id[ID_DIGITS] = '\0';
    SHA256((const uint8_t *)code + ID_DIGITS, SECRET_DIGITS, sha256);
    hex_format(sha256, sizeof sha256, ret_sha256);
    return ret_id[strspn(ret_id, "0123456789abcdef")] == '\0';
}

static enum ca_status
value_put(struct store_tx *tx, const char *id, const json_t *value, int64_t expires)
{
    CA_AUTO(free) char *text = record_json_format(value);
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for an invitation");
    return state_put(tx, SPACE_CODE, id, text, strlen(text), expires);
}

/* What a code is bound to: this user and not a later one of the name, the mailbox that
 * it went to, and the password that there was. */
static enum ca_status
bond_make(struct store_tx *tx, const struct user *user, char ret_bond[65])
{
    uint8_t sha256[SHA256_DIGEST_LENGTH];
    char mark[PASSWORD_MARK_SIZE], *text = NULL;
    struct password password = { 0 };
    enum ca_status status = password_load(tx, user->name, &password);
    if (status != CA_OK && status != CA_NOT_FOUND)
        return status;
    password_mark(status == CA_OK ? password.verifier : NULL, mark);
    password_clear(&password);
    int size = asprintf(&text, "%lld %s %s", (long long)user->stamp.created, mark,
                        user->email ? user->email : "");
    if (size < 0)
        return ca_fail(CA_INTERNAL, "no memory for an invitation");
    SHA256((const uint8_t *)text, (size_t)size, sha256);
    free(text);
    hex_format(sha256, sizeof sha256, ret_bond);
    return CA_OK;
}

static enum ca_status
check_user(struct store_tx *tx, const char *name, char ret_bond[65])
{
    struct user user = { 0 };
    enum ca_status status = user_load(tx, name, &user);
    if (status == CA_OK && user.state != USER_ACTIVE)
        status = ca_fail(CA_FORBIDDEN, "user '%s' is disabled", name);
    else if (status == CA_OK && user.source != USER_LOCAL)
        status = ca_fail(CA_FORBIDDEN, "the directory keeps the password of user '%s'",
                         name);
    if (status == CA_OK)
        status = bond_make(tx, &user, ret_bond);
    user_clear(&user);
    return status;
}

/* Ends the user's live one; CA_NOT_FOUND without one. */
static enum ca_status
end_live(struct store_tx *tx, const char *user)
{
    void *id = NULL, *value = NULL;
    size_t size = 0;
    enum ca_status status = state_take(tx, SPACE_USER, user, &id, &size);
    if (status != CA_OK)
        return status;
    CA_AUTO(free) char *text = strndup(id, size);
    free(id);
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for an invitation");
    status = state_take(tx, SPACE_CODE, text, &value, &size);
    free(value);
    return status;
}

enum ca_status
invitation_save(struct store_tx *tx, const char *user, const char *code,
                int64_t expires)
{
    char id[ID_DIGITS + 1], sha256[65], bond[65];
    if (expires <= clock_now() || expires > clock_now() + INVITATION_SECONDS_MAX)
        return ca_fail(CA_LIMIT, "an invitation ends within %lld days from now",
                       (long long)INVITATION_SECONDS_MAX / 86400);
    enum ca_status status = check_user(tx, user, bond);
    if (status != CA_OK)
        return status;
    status = end_live(tx, user);
    if (status != CA_OK && status != CA_NOT_FOUND)
        return status;
    if (!code_split(code, id, sha256))
        return ca_fail(CA_INTERNAL, "an invitation's code has another form");
    CA_AUTO(json_decref)
    json_t *value =
        json_pack("{s:s, s:s, s:s, s:i, s:I}", "user", user, "sha256", sha256, "bond",
                  bond, "tries", 0, "expires", (json_int_t)expires);
    status = value_put(tx, id, value, expires);
    if (status == CA_OK)
        status = state_put(tx, SPACE_USER, user, id, strlen(id), expires);
    return status;
}

enum ca_status
invitation_withdraw(struct store_tx *tx, const char *user)
{
    enum ca_status status = end_live(tx, user);
    return status == CA_NOT_FOUND
               ? ca_fail(CA_NOT_FOUND, "user '%s' has no open invitation", user)
               : status;
}

static enum ca_status
value_load(struct store_tx *tx, const char *id, json_t **ret_value)
{
    void *octets = NULL;
    size_t size = 0;
    enum ca_status status = state_get(tx, SPACE_CODE, id, &octets, &size, NULL);
    if (status != CA_OK)
        return status;
    status = field_parse(octets, size, STATE_VALUE_MAX, ret_value);
    free(octets);
    return status == CA_OK ? CA_OK
                           : ca_fail(CA_INTERNAL, "an invitation does not parse");
}

/* A wrong secret behind a name that there is. */
static enum ca_status
count_wrong(struct store_tx *tx, const char *id, json_t *value)
{
    json_int_t tries = json_integer_value(json_object_get(value, "tries")) + 1;
    if (tries >= INVITATION_TRIES)
        return end_live(tx, json_string_value(json_object_get(value, "user")));
    json_object_set_new(value, "tries", json_integer(tries));
    return value_put(tx, id, value,
                     json_integer_value(json_object_get(value, "expires")));
}

static enum ca_status
user_copy(struct store_tx *tx, const json_t *value, char **ret_user)
{
    char bond[65];
    const char *name = json_string_value(json_object_get(value, "user"));
    const char *kept = json_string_value(json_object_get(value, "bond"));
    enum ca_status status = check_user(tx, name, bond);
    if (status == CA_NOT_FOUND || status == CA_FORBIDDEN)
        return CA_OK;
    if (status != CA_OK)
        return status;
    if (!kept || strcmp(kept, bond) != 0)
        return CA_OK;
    *ret_user = strdup(name);
    return *ret_user ? CA_OK : ca_fail(CA_INTERNAL, "no memory for a user's name");
}

enum ca_status
invitation_try(struct store_tx *tx, const char *code, char **ret_user)
{
    char id[ID_DIGITS + 1], sha256[65];
    CA_AUTO(json_decref) json_t *value = NULL;
    if (!code_split(code, id, sha256))
        return CA_OK;
    enum ca_status status = value_load(tx, id, &value);
    if (status != CA_OK)
        return status == CA_NOT_FOUND ? CA_OK : status;
    const char *user = json_string_value(json_object_get(value, "user"));
    json_t *kept = json_object_get(value, "sha256");
    if (!user || json_string_length(kept) != sizeof sha256 - 1)
        return ca_fail(CA_INTERNAL, "an invitation has no user");
    if (CRYPTO_memcmp(json_string_value(kept), sha256, sizeof sha256 - 1) != 0)
        return count_wrong(tx, id, value);
    return user_copy(tx, value, ret_user);
}

enum ca_status
invitation_take(struct store_tx *tx, const char *code, char **ret_user)
{
    char *user = NULL;
    enum ca_status status = invitation_try(tx, code, &user);
    if (status == CA_OK && user)
        status = end_live(tx, user);
    if (status == CA_OK)
        *ret_user = user;
    else
        free(user);
    return status;
}
