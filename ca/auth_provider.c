/* The way back from the OpenID provider: ours, once, exchanged, somebody. */
#include "auth_provider.h"
#include "auto.h"
#include "clock.h"
#include "login_guard.h"
#include "state.h"
#include "text.h"
#include "user.h"
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SPACE_USED "core/provider-used"
#define SPACE_KEY "core/provider-key"
#define COOKIE_KEY_SIZE 32
#define COOKIE_KEY_SECONDS ((int64_t)86400) /* for cookies of one day */
#define CODE_MAX 2048

/* The page of Windows may stand in a frame of another site (windows.md 1.3), the way
 * back to the self-service is a link from one. __Host-: this host alone, by TLS. */
static const struct {
    const char *protocol, *path, *cookie, *rules;
} places[] = {
    { "discovery", CA_PROVIDER_PATH_DISCOVERY, "__Host-sealwright-windows",
      "; Path=/; Secure; HttpOnly; SameSite=None" },
    { "self", CA_PROVIDER_PATH_SELF, "__Host-sealwright-provider",
      "; Path=/; Secure; HttpOnly; SameSite=Lax" },
};
#define PLACES (sizeof places / sizeof places[0])

static size_t
place_of(const char *protocol)
{
    size_t i = 0;
    while (i < PLACES && strcmp(places[i].protocol, protocol) != 0)
        i++;
    return i;
}

bool
provider_serves(const char *protocol)
{
    return place_of(protocol) < PLACES;
}

/* ---- The cookie ---- */

bool
provider_cookie(struct exchange *exchange, const char *protocol,
                char ret_cookie[PROVIDER_COOKIE_SIZE])
{
    const char *at = ca_request_header(&exchange->request, "Cookie");
    const char *name = places[place_of(protocol)].cookie;
    size_t length = strlen(name);
    int found = 0;
    while (at && *at) {
        at += strspn(at, "; ");
        size_t pair = strcspn(at, ";");
        if (strncmp(at, name, length) == 0 && at[length] == '=') {
            size_t size = pair - length - 1;
            found++;
            if (size < PROVIDER_CONTEXT_AT || size >= PROVIDER_COOKIE_SIZE)
                return false;
            memcpy(ret_cookie, at + length + 1, size);
            ret_cookie[size] = '\0';
            if (ret_cookie[PROVIDER_TIME_AT - 1] != '.' ||
                ret_cookie[PROVIDER_MAC_AT - 1] != '.' ||
                ret_cookie[PROVIDER_CONTEXT_AT - 1] != '.')
                return false;
        }
        at += pair;
    }
    return found == 1;
}

enum ca_status
provider_cookie_set(struct exchange *exchange, const char *protocol, const char *cookie)
{
    size_t place = place_of(protocol);
    CA_AUTO(secret_free) char *header = NULL;
    char age[24];
    snprintf(age, sizeof age, "; Max-Age=%d", *cookie ? PROVIDER_SECONDS : 0);
    if (asprintf(&header, "%s=%s%s%s", places[place].cookie, cookie,
                 places[place].rules, age) < 0) {
        header = NULL;
        return ca_fail(CA_INTERNAL, "no memory for a cookie");
    }
    return ca_respond_header(&exchange->request, "Set-Cookie", header);
}

/* ---- Whose cookie it is ---- */

/* The key of the MAC is in the store, so that the answer may come to any instance. Each
 * day has its own, which is gone when no cookie of that day counts any more. */
struct cookie_key {
    int64_t day;
    uint8_t octets[COOKIE_KEY_SIZE];
};

static void
key_name(const struct cookie_key *key, char ret_name[24])
{
    snprintf(ret_name, 24, "%lld", (long long)key->day);
}

static enum ca_status
key_read(struct store_tx *tx, void *arg)
{
    struct cookie_key *key = arg;
    CA_AUTO(free) void *value = NULL;
    size_t size = 0;
    char name[24];
    key_name(key, name);
    enum ca_status status = state_get(tx, SPACE_KEY, name, &value, &size, NULL);
    if (status != CA_OK)
        return status;
    if (size != sizeof key->octets)
        return ca_fail(CA_INTERNAL, "the key of the log-ins' cookies has %zu octets",
                       size);
    memcpy(key->octets, value, size);
    OPENSSL_cleanse(value, size);
    return CA_OK;
}

static enum ca_status
key_write(struct store_tx *tx, void *arg)
{
    const struct cookie_key *key = arg;
    char name[24];
    key_name(key, name);
    return state_add(tx, SPACE_KEY, name, key->octets, sizeof key->octets,
                     (key->day + 1) * COOKIE_KEY_SECONDS + PROVIDER_SECONDS +
                         OIDC_LEEWAY);
}

/* Whichever instance is first draws it. */
static enum ca_status
key_get(struct store *store, struct cookie_key *key)
{
    enum ca_status status = store_read(store, key_read, key);
    if (status != CA_NOT_FOUND)
        return status;
    status = random_bytes(key->octets, sizeof key->octets);
    if (status == CA_OK)
        status = store_write(store, key_write, key);
    return status == CA_CONFLICT ? store_read(store, key_read, key) : status;
}

static enum ca_status
cookie_mac(const struct cookie_key *key, const char *protocol, const char *cookie,
           char ret_mac[44])
{
    char input[32 + PROVIDER_COOKIE_SIZE];
    uint8_t mac[SHA256_DIGEST_LENGTH];
    int size = snprintf(input, sizeof input, "%s:%.*s%s", protocol, PROVIDER_MAC_AT,
                        cookie, cookie + PROVIDER_CONTEXT_AT);
    bool is_made = HMAC(EVP_sha256(), key->octets, sizeof key->octets,
                        (const uint8_t *)input, (size_t)size, mac, NULL) != NULL;
    OPENSSL_cleanse(input, sizeof input);
    CA_AUTO(secret_free)
    char *text = is_made ? base64url_format(mac, sizeof mac) : NULL;
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for a log-in");
    snprintf(ret_mac, 44, "%s", text);
    return CA_OK;
}

enum ca_status
provider_cookie_draw(struct exchange *exchange, const char *protocol,
                     const char *context, char ret_cookie[PROVIDER_COOKIE_SIZE])
{
    uint8_t octets[32];
    char mac[44];
    int64_t now = clock_now();
    struct cookie_key key = { .day = now / COOKIE_KEY_SECONDS };
    enum ca_status status = key_get(exchange->service->store, &key);
    if (status == CA_OK)
        status = random_bytes(octets, sizeof octets);
    if (status != CA_OK)
        return status;
    CA_AUTO(secret_free) char *secret = base64url_format(octets, sizeof octets);
    OPENSSL_cleanse(octets, sizeof octets);
    if (!secret)
        return ca_fail(CA_INTERNAL, "no memory for a log-in");
    snprintf(ret_cookie, PROVIDER_COOKIE_SIZE, "%s.%012lld.%43s.%s", secret,
             (long long)now, "", context);
    status = cookie_mac(&key, protocol, ret_cookie, mac);
    OPENSSL_cleanse(&key, sizeof key);
    if (status == CA_OK)
        memcpy(ret_cookie + PROVIDER_MAC_AT, mac, sizeof mac - 1);
    return status;
}

/* A cookie that was not set by us within the time of a log-in costs nobody anything. */
static enum ca_status
cookie_check(struct exchange *exchange, const char *protocol, const char *cookie)
{
    int64_t sent = strtoll(cookie + PROVIDER_TIME_AT, NULL, 10);
    int64_t age = clock_now() - sent;
    if (age < -OIDC_LEEWAY || age > PROVIDER_SECONDS)
        return ca_fail(CA_UNAUTHENTICATED, "a log-in's cookie that is too old");
    struct cookie_key key = { .day = sent / COOKIE_KEY_SECONDS };
    char mac[44];
    enum ca_status status = store_read(exchange->service->store, key_read, &key);
    if (status == CA_OK)
        status = cookie_mac(&key, protocol, cookie, mac);
    OPENSSL_cleanse(&key, sizeof key);
    if (status != CA_OK && status != CA_NOT_FOUND)
        return status;
    if (status == CA_NOT_FOUND ||
        CRYPTO_memcmp(cookie + PROVIDER_MAC_AT, mac, sizeof mac - 1) != 0)
        return ca_fail(CA_UNAUTHENTICATED, "a log-in's cookie that is not ours");
    return CA_OK;
}

/* ---- What a log-in consists of ---- */

static enum ca_status
draw(const char *label, const char *cookie, char ret_text[44])
{
    char input[16 + PROVIDER_COOKIE_SIZE];
    uint8_t hash[SHA256_DIGEST_LENGTH];
    int size = snprintf(input, sizeof input, "%s:%s", label, cookie);
    SHA256((const uint8_t *)input, (size_t)size, hash);
    OPENSSL_cleanse(input, sizeof input);
    CA_AUTO(secret_free) char *text = base64url_format(hash, sizeof hash);
    OPENSSL_cleanse(hash, sizeof hash);
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for a log-in");
    snprintf(ret_text, 44, "%s", text);
    return CA_OK;
}

enum ca_status
provider_login(struct exchange *exchange, const char *protocol, const char *cookie,
               struct oidc_login *ret_login, char **ret_redirect_uri)
{
    struct ca_organisation organisation;
    char *uri = NULL;
    enum ca_status status = draw("state", cookie, ret_login->state);
    if (status == CA_OK)
        status = draw("nonce", cookie, ret_login->nonce);
    if (status == CA_OK)
        status = draw("verifier", cookie, ret_login->verifier);
    if (status == CA_OK)
        status = ca_organisation(&exchange->request, &organisation);
    if (status != CA_OK)
        return status;
    if (!organisation.base_url || !*organisation.base_url)
        return ca_fail(CA_UNAVAILABLE, "the organisation has no base_url");
    if (asprintf(&uri, "%s%s", organisation.base_url, places[place_of(protocol)].path) <
        0)
        return ca_fail(CA_INTERNAL, "no memory for a URL");
    *ret_redirect_uri = uri;
    ret_login->redirect_uri = uri;
    return CA_OK;
}

/* ---- The way back ---- */

struct answer {
    const char *state, *code, *error, *iss;
};

static enum ca_status
answer_read(struct ca_request *req, struct answer *answer)
{
    enum ca_status status = ca_request_query(req, "state", &answer->state);
    if (status == CA_OK)
        status = ca_request_query(req, "code", &answer->code);
    if (status == CA_OK)
        status = ca_request_query(req, "error", &answer->error);
    if (status == CA_OK)
        status = ca_request_query(req, "iss", &answer->iss);
    return status == CA_OK ? CA_OK
                           : ca_fail(CA_UNAUTHENTICATED, "an answer of no form");
}

static enum ca_status
used_write(struct store_tx *tx, void *arg)
{
    return state_add(tx, SPACE_USED, arg, "1", 1,
                     clock_now() + PROVIDER_SECONDS + OIDC_AGE_MAX);
}

/* The same answer does not come twice, whatever the provider thinks of its code. */
static enum ca_status
use_once(struct store *store, const char *state)
{
    char key[65];
    uint8_t hash[SHA256_DIGEST_LENGTH];
    SHA256((const uint8_t *)state, strlen(state), hash);
    hex_format(hash, sizeof hash, key);
    enum ca_status status = store_write(store, used_write, key);
    if (status == CA_CONFLICT)
        return ca_fail(CA_UNAUTHENTICATED, "an answer that has come before");
    return status;
}

/* All that can be held against an answer before anything is written or asked. */
static enum ca_status
answer_check(struct exchange *exchange, const struct answer *answer)
{
    if (answer->error)
        return ca_fail(CA_UNAUTHENTICATED, "the provider refuses the log-in");
    if (!answer->code || !*answer->code || strlen(answer->code) > CODE_MAX)
        return ca_fail(CA_UNAUTHENTICATED, "an answer without a code");
    return oidc_check_issuer(exchange->service->oidc, answer->iss);
}

struct finding {
    const char *claim;
    bool by_mail;
    char *user;
};

/* By mailbox: a user who has another one is not meant, whatever his name is. */
static bool
is_mailbox_of(const struct user *user, const char *claim)
{
    bool has_other = user->email && *user->email && strcasecmp(user->email, claim) != 0;
    return strchr(claim, '@') && !has_other;
}

static enum ca_status
user_read(struct store_tx *tx, void *arg)
{
    struct finding *finding = arg;
    struct user user = { 0 };
    free(CA_STEAL(finding->user));
    enum ca_status status = finding->by_mail
                                ? user_find_login(tx, finding->claim, &user)
                                : user_find_name(tx, finding->claim, &user);
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_UNAUTHENTICATED, "no user here is '%.100s'", finding->claim);
    if (status == CA_OK && finding->by_mail && !is_mailbox_of(&user, finding->claim))
        status = ca_fail(CA_UNAUTHENTICATED, "'%.100s' is not the mailbox of user '%s'",
                         finding->claim, user.name);
    if (status == CA_OK)
        finding->user = CA_STEAL(user.name);
    user_clear(&user);
    return status;
}

static enum ca_status
user_find(struct exchange *exchange, const char *claim, struct person *person)
{
    struct finding finding = {
        .claim = claim,
        .by_mail = oidc_names_by_mail(&exchange->service->config.oidc),
    };
    enum ca_status status = store_read(exchange->service->store, user_read, &finding);
    if (status == CA_OK)
        person->user = finding.user;
    return status;
}

/* From the provider's hand; `ret_is_asked`: it has got a code of this answer. */
static enum ca_status
judge(struct exchange *exchange, const struct answer *answer,
      const struct oidc_login *login, bool *ret_is_asked, struct person *person)
{
    CA_AUTO(free) char *claim = NULL;
    enum ca_status status = answer_check(exchange, answer);
    if (status == CA_OK)
        status = use_once(exchange->service->store, answer->state);
    if (status != CA_OK)
        return status;
    *ret_is_asked = true;
    status = oidc_exchange(exchange->service->oidc, login, answer->code, &claim);
    return status == CA_OK ? user_find(exchange, claim, person) : status;
}

/* Wrong answers are throttled by source like wrong passwords, and few are with the
 * provider at once. Once it was asked an answer counts, whatever is the matter: who
 * makes codes up is not told from who finds the provider broken. */
static enum ca_status
come_back(struct exchange *exchange, const struct answer *answer,
          const struct oidc_login *login, struct person *person)
{
    struct login_guard *guard = exchange->service->logins;
    struct login_attempt attempt = {
        .source = exchange->request.peer ? exchange->request.peer : "",
        .user = login->state,
        .secret = "",
        .is_elsewhere = true,
    };
    bool is_asked = false;
    enum ca_status status = login_guard_enter(guard, &attempt);
    if (status != CA_OK)
        return status;
    status = judge(exchange, answer, login, &is_asked, person);
    if (status == CA_UNAVAILABLE && !is_asked)
        login_guard_leave_untried(guard, &attempt);
    else
        login_guard_leave(guard, &attempt, status == CA_OK);
    return status;
}

enum ca_status
auth_provider(struct exchange *exchange, const struct ca_credential *credential,
              struct person *person)
{
    const char *protocol = credential->protocol;
    char cookie[PROVIDER_COOKIE_SIZE];
    struct answer answer = { .state = NULL };
    struct oidc_login login = { .redirect_uri = NULL };
    CA_AUTO(free) char *uri = NULL;
    if (!exchange->service->oidc || !provider_serves(protocol))
        return ca_fail(CA_UNAUTHENTICATED, "no OpenID provider is configured");
    if (!provider_cookie(exchange, protocol, cookie))
        return ca_fail(CA_UNAUTHENTICATED, "an answer without the log-in's cookie");
    enum ca_status status = answer_read(&exchange->request, &answer);
    if (status == CA_OK)
        status = cookie_check(exchange, protocol, cookie);
    if (status == CA_OK)
        status = provider_login(exchange, protocol, cookie, &login, &uri);
    OPENSSL_cleanse(cookie, sizeof cookie);
    if (status == CA_OK &&
        (!answer.state || strlen(answer.state) != strlen(login.state) ||
         CRYPTO_memcmp(answer.state, login.state, strlen(login.state)) != 0))
        status = ca_fail(CA_UNAUTHENTICATED, "an answer to another browser's log-in");
    /* From here on it is this browser's log-in, which ends. */
    if (status == CA_OK)
        status = provider_cookie_set(exchange, protocol, "");
    if (status == CA_OK)
        status = come_back(exchange, &answer, &login, person);
    OPENSSL_cleanse(login.verifier, sizeof login.verifier);
    return status;
}
