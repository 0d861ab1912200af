/* Who has logged in: a random cookie whose hash names a row of the state table, and the
 * tokens that make forms ours. Nothing a client brings becomes a session. */
#include "audit.h"
#include "auto.h"
#include "clock.h"
#include "form.h"
#include "mail.h"
#include "mail_render.h"
#include "password.h"
#include "self.h"
#include "state.h"
#include "user.h"
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <string.h>

#define SPACE_SESSION "core/self"
#define SPACE_LAST "core/self-last"
#define LAST_SECONDS ((int64_t)400 * 86400)
#define COOKIE_SESSION "__Host-sealwright"
#define COOKIE_FORM "__Host-sealwright-form"
/* RFC 6265bis section 4.1.3.2: __Host- holds it to this host, TLS and all paths. */
#define COOKIE_RULES "; Path=/; Secure; HttpOnly; SameSite=Strict"
#define TOKEN_OCTETS 32

void
self_session_clear(struct self_session *session)
{
    free(session->user);
    free(session->last_time);
    free(session->last_source);
    OPENSSL_cleanse(session, sizeof *session);
}

static enum ca_status
token_draw(char ret_token[SELF_TOKEN_SIZE])
{
    uint8_t octets[TOKEN_OCTETS];
    enum ca_status status = random_bytes(octets, sizeof octets);
    if (status != CA_OK)
        return status;
    CA_AUTO(secret_free) char *text = base64url_format(octets, sizeof octets);
    OPENSSL_cleanse(octets, sizeof octets);
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for a session");
    snprintf(ret_token, SELF_TOKEN_SIZE, "%s", text);
    return CA_OK;
}

/* ---- Cookies ---- */

static enum ca_status
cookie_set(struct exchange *exchange, const char *name, const char *value)
{
    char header[160];
    snprintf(header, sizeof header, "%s=%s" COOKIE_RULES "%s", name, value,
             *value ? "" : "; Max-Age=0");
    enum ca_status status = ca_respond_header(&exchange->request, "Set-Cookie", header);
    OPENSSL_cleanse(header, sizeof header);
    return status;
}

/* A cookie of this form that is there exactly once. */
static bool
cookie_find(const struct exchange *exchange, const char *name,
            char ret_value[SELF_TOKEN_SIZE])
{
    const char *at = ca_request_header(&exchange->request, "Cookie");
    size_t length = strlen(name);
    int found = 0;
    while (at && *at) {
        at += strspn(at, "; ");
        size_t pair = strcspn(at, ";");
        bool is_ours = strncmp(at, name, length) == 0 && at[length] == '=';
        if (is_ours && pair == length + 1 + SELF_TOKEN_SIZE - 1) {
            memcpy(ret_value, at + length + 1, SELF_TOKEN_SIZE - 1);
            ret_value[SELF_TOKEN_SIZE - 1] = '\0';
        }
        found += is_ours ? (pair == length + SELF_TOKEN_SIZE ? 1 : 2) : 0;
        at += pair;
    }
    return found == 1;
}

static void
digest_hex(const char *label, const char *text, char ret_hex[65])
{
    uint8_t sha256[SHA256_DIGEST_LENGTH];
    char input[32 + SELF_TOKEN_SIZE];
    int size = snprintf(input, sizeof input, "%s%s", label, text);
    SHA256((const uint8_t *)input, (size_t)size, sha256);
    OPENSSL_cleanse(input, sizeof input);
    hex_format(sha256, sizeof sha256, ret_hex);
}

/* ---- Forms ---- */

/* The token of a cookie: who cannot read the cookie cannot make it. */
static void
form_token_of(const char *cookie, char ret_token[SELF_TOKEN_SIZE])
{
    char hex[65];
    digest_hex("form:", cookie, hex);
    snprintf(ret_token, SELF_TOKEN_SIZE, "%.*s", SELF_TOKEN_SIZE - 1, hex);
}

enum ca_status
self_form_token(struct exchange *exchange, char ret_token[SELF_TOKEN_SIZE])
{
    char cookie[SELF_TOKEN_SIZE];
    enum ca_status status = CA_OK;
    if (!cookie_find(exchange, COOKIE_FORM, cookie)) {
        status = token_draw(cookie);
        if (status == CA_OK)
            status = cookie_set(exchange, COOKIE_FORM, cookie);
    }
    if (status == CA_OK)
        form_token_of(cookie, ret_token);
    OPENSSL_cleanse(cookie, sizeof cookie);
    return status;
}

enum ca_status
self_form_check(struct exchange *exchange, const struct self_session *session)
{
    struct ca_request *req = &exchange->request;
    char wanted[SELF_TOKEN_SIZE] = "", cookie[SELF_TOKEN_SIZE];
    const char *token = NULL;
    const char *site = ca_request_header(req, "Sec-Fetch-Site");
    if (site && strcmp(site, "same-origin") != 0)
        return ca_fail(CA_FORBIDDEN, "a form sent by another site");
    if (session)
        snprintf(wanted, sizeof wanted, "%s", session->csrf);
    else if (cookie_find(exchange, COOKIE_FORM, cookie))
        form_token_of(cookie, wanted);
    enum ca_status status = form_value(req, "token", &token);
    if (status != CA_OK)
        return ca_fail(CA_FORBIDDEN, "a form that does not parse");
    bool is_ours = token && *wanted && strlen(token) == SELF_TOKEN_SIZE - 1 &&
                   CRYPTO_memcmp(token, wanted, SELF_TOKEN_SIZE - 1) == 0;
    return is_ours ? CA_OK : ca_fail(CA_FORBIDDEN, "a form without its token");
}

/* ---- Sessions ---- */

/* What changes with the user's password; "" where it is not kept here. */
static enum ca_status
mark_load(struct store_tx *tx, const char *user, char ret_mark[PASSWORD_MARK_SIZE])
{
    struct password password = { 0 };
    enum ca_status status = password_load(tx, user, &password);
    if (status != CA_OK && status != CA_NOT_FOUND)
        return status;
    password_mark(status == CA_OK ? password.verifier : NULL, ret_mark);
    password_clear(&password);
    return CA_OK;
}

/* The user's record: a change of it ends sessions, so that none comes back with a user
 * who was disabled meanwhile, or with a later one of the name. */
struct born {
    int64_t created, version;
};

static enum ca_status
born_load(struct store_tx *tx, const char *name, struct born *ret_born)
{
    struct user user = { 0 };
    enum ca_status status = user_load(tx, name, &user);
    if (status == CA_OK && user.state != USER_ACTIVE)
        status = ca_fail(CA_UNAUTHENTICATED, "the session's user is disabled");
    else if (status == CA_OK)
        *ret_born = (struct born){ user.stamp.created, user.stamp.version };
    else if (status == CA_NOT_FOUND)
        status = ca_fail(CA_UNAUTHENTICATED, "the session's user is gone");
    user_clear(&user);
    return status;
}

struct opening {
    struct exchange *exchange;
    const char *user;
    const char *key, *csrf;
    const char *former; /* key of the session whose cookie the browser sent; or NULL */
    const char *password; /* its mark; NULL: the user's present one */
    bool is_login;
};

static enum ca_status
json_state_put(struct store_tx *tx, const char *space, const char *key, json_t *value,
               int64_t expires)
{
    CA_AUTO(json_decref) json_t *owned = value;
    CA_AUTO(free) char *text = owned ? record_json_format(owned) : NULL;
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for a session");
    return state_put(tx, space, key, text, strlen(text), expires);
}

static enum ca_status
json_state_get(struct store_tx *tx, const char *space, const char *key,
               json_t **ret_value)
{
    void *octets = NULL;
    size_t size = 0;
    enum ca_status status = state_get(tx, space, key, &octets, &size, NULL);
    if (status != CA_OK)
        return status;
    status = field_parse(octets, size, STATE_VALUE_MAX, ret_value);
    free(octets);
    return status == CA_OK ? CA_OK : ca_fail(CA_INTERNAL, "a session does not parse");
}

/* The login before this one goes into the session, this one takes its place. That of a
 * former user of the name is nobody's business. */
static enum ca_status
login_note(struct store_tx *tx, const struct opening *opening, int64_t born,
           json_t **ret_last)
{
    char time[MAIL_TIME_SIZE];
    const char *peer = opening->exchange->request.peer;
    enum ca_status status = json_state_get(tx, SPACE_LAST, opening->user, ret_last);
    if (status == CA_OK &&
        json_integer_value(json_object_get(*ret_last, "born")) != born)
        json_decref(CA_STEAL(*ret_last));
    if ((status != CA_OK && status != CA_NOT_FOUND) || !opening->is_login)
        return status == CA_NOT_FOUND ? CA_OK : status;
    mail_time_format(clock_now(), time);
    status = json_state_put(tx, SPACE_LAST, opening->user,
                            json_pack("{s:s, s:s, s:I}", "time", time, "source",
                                      peer ? peer : "", "born", (json_int_t)born),
                            clock_now() + LAST_SECONDS);
    if (status == CA_OK)
        status =
            self_audit(tx, opening->exchange, opening->user, "self.login", NULL, NULL);
    if (status == CA_OK)
        status = mail_notice(tx, opening->exchange->service,
                             &(struct mail_notice){ .template = "login",
                                                    .user = opening->user,
                                                    .source = peer });
    return status;
}

static enum ca_status
session_end(struct store_tx *tx, const char *key)
{
    enum ca_status status = state_remove(tx, SPACE_SESSION, key);
    return status == CA_NOT_FOUND ? CA_OK : status;
}

static enum ca_status
open_write(struct store_tx *tx, void *arg)
{
    const struct opening *opening = arg;
    char present[PASSWORD_MARK_SIZE];
    struct born born;
    CA_AUTO(json_decref) json_t *last = NULL;
    enum ca_status status = mark_load(tx, opening->user, present);
    if (status == CA_OK)
        status = born_load(tx, opening->user, &born);
    if (status == CA_OK)
        status = login_note(tx, opening, born.created, &last);
    if (status == CA_OK && opening->former)
        status = session_end(tx, opening->former);
    if (status != CA_OK)
        return status;
    json_t *value = json_pack(
        "{s:s, s:s, s:s, s:I, s:I, s:O?}", "user", opening->user, "csrf", opening->csrf,
        "verifier", opening->password ? opening->password : present, "born",
        (json_int_t)born.created, "edit", (json_int_t)born.version, "last", last);
    return json_state_put(tx, SPACE_SESSION, opening->key, value,
                          clock_now() + SELF_SESSION_SECONDS);
}

enum ca_status
self_session_open(struct exchange *exchange, const char *password)
{
    const struct identity *identity = &exchange->identity;
    char cookie[SELF_TOKEN_SIZE], csrf[SELF_TOKEN_SIZE], key[65], former[65] = "";
    if (cookie_find(exchange, COOKIE_SESSION, cookie))
        digest_hex("session:", cookie, former);
    enum ca_status status = token_draw(cookie);
    if (status == CA_OK)
        status = token_draw(csrf);
    if (status != CA_OK)
        return status;
    digest_hex("session:", cookie, key);
    /* The OpenID provider proves a user whatever the password is. */
    const char *proof = *identity->password ? identity->password : NULL;
    struct opening opening = { .exchange = exchange,
                               .user = identity->user,
                               .key = key,
                               .csrf = csrf,
                               .former = *former ? former : NULL,
                               .password = password ? password : proof,
                               .is_login = !password };
    status = store_write(exchange->service->store, open_write, &opening);
    if (status == CA_OK)
        status = cookie_set(exchange, COOKIE_SESSION, cookie);
    if (status == CA_OK)
        status = cookie_set(exchange, COOKIE_FORM, "");
    OPENSSL_cleanse(cookie, sizeof cookie);
    OPENSSL_cleanse(csrf, sizeof csrf);
    return status;
}

static char *
member_copy(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? strdup(text) : NULL;
}

static enum ca_status
session_read(const json_t *value, struct self_session *session)
{
    const char *csrf = json_string_value(json_object_get(value, "csrf"));
    const char *password = json_string_value(json_object_get(value, "verifier"));
    const json_t *last = json_object_get(value, "last");
    session->user = member_copy(value, "user");
    session->born = json_integer_value(json_object_get(value, "born"));
    session->edit = json_integer_value(json_object_get(value, "edit"));
    if (!session->user || !csrf || !password)
        return ca_fail(CA_INTERNAL, "a session lacks members");
    snprintf(session->csrf, sizeof session->csrf, "%s", csrf);
    snprintf(session->password, sizeof session->password, "%s", password);
    session->last_time = member_copy(last, "time");
    session->last_source = member_copy(last, "source");
    return CA_OK;
}

/* A change of the user and a password that is another one now end every session. */
static enum ca_status
session_check(struct store_tx *tx, const struct self_session *session)
{
    struct born born;
    char present[PASSWORD_MARK_SIZE];
    enum ca_status status = born_load(tx, session->user, &born);
    if (status == CA_OK)
        status = mark_load(tx, session->user, present);
    if (status != CA_OK)
        return status;
    if (born.created != session->born || born.version != session->edit ||
        strcmp(present, session->password) != 0)
        return ca_fail(CA_UNAUTHENTICATED,
                       "the session's user was changed or has another password");
    return CA_OK;
}

static enum ca_status
find_read(struct store_tx *tx, void *arg)
{
    struct self_session *session = arg;
    CA_AUTO(json_decref) json_t *value = NULL;
    char key[65];
    memcpy(key, session->key, sizeof key);
    self_session_clear(session);
    memcpy(session->key, key, sizeof key);
    enum ca_status status = json_state_get(tx, SPACE_SESSION, key, &value);
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_UNAUTHENTICATED, "no such session, or it is over");
    if (status == CA_OK)
        status = session_read(value, session);
    return status == CA_OK ? session_check(tx, session) : status;
}

enum ca_status
self_session_find(struct exchange *exchange, struct self_session *ret_session)
{
    char cookie[SELF_TOKEN_SIZE];
    struct self_session session = { 0 };
    if (!cookie_find(exchange, COOKIE_SESSION, cookie))
        return ca_fail(CA_UNAUTHENTICATED, "no session");
    digest_hex("session:", cookie, session.key);
    OPENSSL_cleanse(cookie, sizeof cookie);
    enum ca_status status = store_read(exchange->service->store, find_read, &session);
    if (status == CA_OK)
        *ret_session = session;
    else
        self_session_clear(&session);
    return status;
}

static enum ca_status
close_write(struct store_tx *tx, void *arg)
{
    return session_end(tx, arg);
}

enum ca_status
self_session_close(struct exchange *exchange, const struct self_session *session)
{
    char key[65];
    memcpy(key, session->key, sizeof key);
    enum ca_status status = store_write(exchange->service->store, close_write, key);
    return status == CA_OK ? cookie_set(exchange, COOKIE_SESSION, "") : status;
}
