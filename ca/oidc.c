/* The provider as one object: its metadata and keys, kept for an hour, and the exchange
 * of a code for a token that is believed. */
#include "oidc.h"
#include "auto.h"
#include "clock.h"
#include "pin.h"
#include "text.h"
#include <ctype.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

CA_AUTO_RELEASE(struct pin, pin_free)

/* Something that the provider says. What is in it does not change: who has a reference
 * reads it without the lock. */
struct known {
    json_t *value;
    int64_t at;      /* clock_ticks */
    bool is_fetched; /* by one thread, without the lock */
};

struct oidc {
    const struct config_oidc *config;
    pthread_mutex_t lock;   /* over all below, and never while the provider is asked */
    pthread_cond_t fetched; /* the provider has said something, or failed to */
    struct known metadata, keys;
    int64_t failed_at; /* clock_ticks; 0: never */
    int exchanges;     /* that are with the provider */
};

enum ca_status
oidc_new(const struct config_oidc *config, struct oidc **ret_oidc)
{
    *ret_oidc = NULL;
    if (!config->issuer)
        return CA_OK;
    struct oidc *oidc = calloc(1, sizeof *oidc);
    if (!oidc)
        return ca_fail(CA_INTERNAL, "no memory for the OpenID provider");
    oidc->config = config;
    pthread_mutex_init(&oidc->lock, NULL);
    pthread_cond_init(&oidc->fetched, NULL);
    *ret_oidc = oidc;
    return CA_OK;
}

void
oidc_free(struct oidc *oidc)
{
    if (!oidc)
        return;
    json_decref(oidc->metadata.value);
    json_decref(oidc->keys.value);
    pthread_cond_destroy(&oidc->fetched);
    pthread_mutex_destroy(&oidc->lock);
    free(oidc);
}

enum ca_status
oidc_check(const struct config_oidc *config)
{
    CA_AUTO(pin_free) struct pin *secret = NULL;
    enum ca_status status = CA_OK;
    if (config->secret_source)
        status = pin_read(config->secret_source, &secret);
    if (status == CA_OK && config->ca_file && access(config->ca_file, R_OK) != 0)
        return ca_fail(CA_UNAVAILABLE, "%s cannot be read", config->ca_file);
    return status;
}

/* ---- What the provider says of itself ---- */

/* Discovery 1.0 section 4.3: it must be the issuer that was asked for, and its places
 * ones that may be called. */
static enum ca_status
metadata_check(const struct config_oidc *config, const json_t *metadata)
{
    static const char *const places[] = { "authorization_endpoint", "token_endpoint",
                                          "jwks_uri" };
    const char *issuer = json_string_value(json_object_get(metadata, "issuer"));
    if (!issuer || strcmp(issuer, config->issuer) != 0)
        return ca_fail(CA_UNAVAILABLE, "the provider calls itself '%.200s'",
                       issuer ? issuer : "");
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        const char *url = json_string_value(json_object_get(metadata, places[i]));
        if (!url || !config_url_is_good(url))
            return ca_fail(CA_UNAVAILABLE, "the provider's %s is no https URL",
                           places[i]);
    }
    return CA_OK;
}

static enum ca_status
metadata_fetch(const struct oidc *oidc, json_t **ret_value)
{
    CA_AUTO(free) char *url = NULL;
    CA_AUTO(json_decref) json_t *metadata = NULL;
    const char *issuer = oidc->config->issuer;
    size_t length = strlen(issuer);
    while (length > 0 && issuer[length - 1] == '/')
        length--;
    if (asprintf(&url, "%.*s/.well-known/openid-configuration", (int)length, issuer) <
        0) {
        url = NULL;
        return ca_fail(CA_INTERNAL, "no memory for a URL");
    }
    struct oidc_request request = { .config = oidc->config, .url = url };
    enum ca_status status = oidc_http(&request, &metadata);
    if (status == CA_OK)
        status = metadata_check(oidc->config, metadata);
    if (status == CA_OK)
        *ret_value = CA_STEAL(metadata);
    return status;
}

static const char *
place(const json_t *metadata, const char *name)
{
    return json_string_value(json_object_get(metadata, name));
}

static enum ca_status
keys_fetch(const struct oidc *oidc, const char *url, json_t **ret_value)
{
    CA_AUTO(json_decref) json_t *keys = NULL;
    struct oidc_request request = { .config = oidc->config, .url = url };
    enum ca_status status = oidc_http(&request, &keys);
    if (status == CA_OK && !json_is_array(json_object_get(keys, "keys")))
        status = ca_fail(CA_UNAVAILABLE, "the provider's keys are none");
    if (status == CA_OK)
        *ret_value = CA_STEAL(keys);
    return status;
}

/* May this thread ask the provider? One does at a time, and nobody for a moment after a
 * failure. With the lock held. */
static enum ca_status
turn_begin(struct oidc *oidc, struct known *known)
{
    if (known->is_fetched)
        return ca_fail(CA_UNAVAILABLE, "the provider is being asked already");
    if (oidc->failed_at && clock_ticks() - oidc->failed_at < OIDC_FAILED_MS)
        return ca_fail(CA_UNAVAILABLE, "the provider did not answer a moment ago");
    known->is_fetched = true;
    return CA_OK;
}

/* Takes `value` over. With the lock held. */
static enum ca_status
turn_end(struct oidc *oidc, struct known *known, enum ca_status status, json_t *value)
{
    known->is_fetched = false;
    pthread_cond_broadcast(&oidc->fetched);
    oidc->failed_at = status == CA_OK ? 0 : clock_ticks();
    if (status == CA_UNAUTHENTICATED)
        return ca_fail(CA_UNAVAILABLE, "the provider refuses to be asked");
    if (status != CA_OK)
        return status;
    json_decref(known->value);
    known->value = value;
    known->at = clock_ticks();
    return CA_OK;
}

struct freshness {
    int64_t keep_ms;
    bool takes_old; /* what was known an hour ago is better than nothing */
    bool waits;     /* for the thread that asks already; else it is refused */
};

static bool
is_fresh(const struct known *known, const struct freshness *wanted)
{
    return known->value && clock_ticks() - known->at < wanted->keep_ms;
}

/* What is known, or what the provider says now: its keys at `keys_url`, or its
 * metadata. New reference. */
static enum ca_status
known_get(struct oidc *oidc, struct known *known, const char *keys_url,
          const struct freshness *wanted, json_t **ret_value)
{
    pthread_mutex_lock(&oidc->lock);
    enum ca_status status = CA_OK;
    while (wanted->waits && known->is_fetched && !is_fresh(known, wanted))
        pthread_cond_wait(&oidc->fetched, &oidc->lock);
    if (!is_fresh(known, wanted)) {
        status = turn_begin(oidc, known);
        if (status == CA_OK) {
            json_t *value = NULL;
            pthread_mutex_unlock(&oidc->lock);
            status = keys_url ? keys_fetch(oidc, keys_url, &value)
                              : metadata_fetch(oidc, &value);
            pthread_mutex_lock(&oidc->lock);
            status = turn_end(oidc, known, status, value);
        }
    }
    if (known->value && wanted->takes_old)
        status = CA_OK;
    if (status == CA_OK)
        *ret_value = json_incref(known->value);
    pthread_mutex_unlock(&oidc->lock);
    return status;
}

static enum ca_status
metadata_get(struct oidc *oidc, json_t **ret_metadata)
{
    static const struct freshness hour = { OIDC_KEEP_MS, true, false };
    return known_get(oidc, &oidc->metadata, NULL, &hour, ret_metadata);
}

static enum ca_status
key_find(struct oidc *oidc, const struct jws *jws, const struct freshness *wanted,
         json_t **ret_key)
{
    CA_AUTO(json_decref) json_t *metadata = NULL;
    CA_AUTO(json_decref) json_t *keys = NULL;
    const json_t *key = NULL;
    enum ca_status status = metadata_get(oidc, &metadata);
    if (status == CA_OK)
        status =
            known_get(oidc, &oidc->keys, place(metadata, "jwks_uri"), wanted, &keys);
    if (status == CA_OK)
        status = jws_find_key(jws, keys, &key);
    if (status == CA_OK)
        *ret_key = json_incref((json_t *)(uintptr_t)key);
    return status;
}

/* The key of a token; one that is unknown may be new, which is looked up once a minute.
 * Who waits for the keys is one of the few of oidc_exchange. New reference. */
static enum ca_status
key_get(struct oidc *oidc, const struct jws *jws, json_t **ret_key)
{
    static const struct freshness hour = { OIDC_KEEP_MS, true, true },
                                  minute = { OIDC_REFETCH_MS, false, true };
    enum ca_status status = key_find(oidc, jws, &hour, ret_key);
    if (status == CA_NOT_FOUND)
        status = key_find(oidc, jws, &minute, ret_key);
    return status == CA_NOT_FOUND ? ca_fail(CA_UNAUTHENTICATED, "%s", status_message())
                                  : status;
}

/* ---- Where the browser goes ---- */

static void
parameter_put(struct text_buffer *text, const char *name, const char *value)
{
    bool is_first = text->size == 0 || text->data[text->size - 1] == '?';
    text_print(text, "%s%s=", is_first ? "" : "&", name);
    for (; *value; value++) {
        if (isalnum((unsigned char)*value) || strchr("-._~", *value))
            text_append(text, value, 1);
        else
            text_print(text, "%%%02X", (unsigned char)*value);
    }
}

static enum ca_status
scope_put(const struct config_oidc *config, struct text_buffer *text)
{
    CA_AUTO(text_buffer_clear) struct text_buffer scope = { 0 };
    text_print(&scope, "openid");
    for (size_t i = 0; i < config->scopes.count; i++)
        text_print(&scope, " %s", ((char *const *)config->scopes.items)[i]);
    if (scope.failed)
        return ca_fail(CA_INTERNAL, "no memory for a scope");
    parameter_put(text, "scope", scope.data);
    return CA_OK;
}

enum ca_status
oidc_authorize(struct oidc *oidc, const struct oidc_login *login, char **ret_url)
{
    CA_AUTO(text_buffer_clear) struct text_buffer url = { 0 };
    uint8_t hash[SHA256_DIGEST_LENGTH];
    CA_AUTO(json_decref) json_t *metadata = NULL;
    enum ca_status status = metadata_get(oidc, &metadata);
    if (status != CA_OK)
        return status;
    const char *to = place(metadata, "authorization_endpoint");
    text_print(&url, "%s%c", to, strchr(to, '?') ? '&' : '?');
    SHA256((const uint8_t *)login->verifier, strlen(login->verifier), hash);
    CA_AUTO(free) char *challenge = base64url_format(hash, sizeof hash);
    if (url.size > 0 && url.data[url.size - 1] == '&')
        url.size--; /* parameter_put writes it */
    if (!challenge)
        return ca_fail(CA_INTERNAL, "no memory for a URL");
    parameter_put(&url, "response_type", "code");
    parameter_put(&url, "client_id", oidc->config->client_id);
    parameter_put(&url, "redirect_uri", login->redirect_uri);
    status = scope_put(oidc->config, &url);
    parameter_put(&url, "state", login->state);
    parameter_put(&url, "nonce", login->nonce);
    parameter_put(&url, "code_challenge", challenge);
    parameter_put(&url, "code_challenge_method", "S256");
    if (status == CA_OK && url.failed)
        return ca_fail(CA_INTERNAL, "no memory for a URL");
    if (status == CA_OK)
        *ret_url = CA_STEAL(url.data);
    return status;
}

enum ca_status
oidc_check_issuer(struct oidc *oidc, const char *iss)
{
    CA_AUTO(json_decref) json_t *metadata = NULL;
    enum ca_status status = metadata_get(oidc, &metadata);
    if (status != CA_OK)
        return status;
    bool says_so = json_is_true(
        json_object_get(metadata, "authorization_response_iss_parameter_supported"));
    if (iss ? strcmp(iss, oidc->config->issuer) != 0 : says_so)
        return ca_fail(CA_UNAUTHENTICATED, "the answer is another provider's");
    return CA_OK;
}

/* ---- The token ---- */

static bool
text_is(const json_t *claims, const char *name, const char *wanted)
{
    const char *text = json_string_value(json_object_get(claims, name));
    return text && strcmp(text, wanted) == 0;
}

static bool
audience_holds(const json_t *claims, const char *client_id)
{
    const json_t *aud = json_object_get(claims, "aud"),
                 *azp = json_object_get(claims, "azp");
    const json_t *one;
    size_t i;
    bool is_ours = text_is(claims, "aud", client_id);
    json_array_foreach (aud, i, one) {
        const char *text = json_string_value(one);
        is_ours = is_ours || (text && strcmp(text, client_id) == 0);
    }
    if (json_array_size(aud) > 1 && !azp)
        return false;
    return is_ours && (!azp || text_is(claims, "azp", client_id));
}

static enum ca_status
times_check(const json_t *claims, int64_t now)
{
    const json_t *exp = json_object_get(claims, "exp");
    const json_t *iat = json_object_get(claims, "iat");
    const json_t *nbf = json_object_get(claims, "nbf");
    if (!json_is_number(exp) || !json_is_number(iat) || (nbf && !json_is_number(nbf)))
        return ca_fail(CA_UNAUTHENTICATED, "an ID token without its times");
    double at = (double)now, leeway = OIDC_LEEWAY;
    if (json_number_value(exp) + leeway <= at)
        return ca_fail(CA_UNAUTHENTICATED, "an ID token that has expired");
    if (json_number_value(iat) > at + leeway ||
        json_number_value(iat) < at - leeway - OIDC_AGE_MAX ||
        (nbf && json_number_value(nbf) > at + leeway))
        return ca_fail(CA_UNAUTHENTICATED, "an ID token that was not issued just now");
    return CA_OK;
}

enum ca_status
oidc_check_claims(const json_t *claims, const struct oidc_expected *expected)
{
    const char *subject = json_string_value(json_object_get(claims, "sub"));
    if (!text_is(claims, "iss", expected->issuer))
        return ca_fail(CA_UNAUTHENTICATED, "an ID token of another issuer");
    if (!audience_holds(claims, expected->client_id))
        return ca_fail(CA_UNAUTHENTICATED, "an ID token for another client");
    if (!text_is(claims, "nonce", expected->nonce))
        return ca_fail(CA_UNAUTHENTICATED, "an ID token of another log-in");
    if (!subject || !*subject)
        return ca_fail(CA_UNAUTHENTICATED, "an ID token about nobody");
    return times_check(claims, expected->now);
}

bool
oidc_names_by_mail(const struct config_oidc *config)
{
    return strcmp(config->claim, "email") == 0;
}

/* An address that the provider does not call verified is anybody's. */
enum ca_status
oidc_user_of(const struct config_oidc *config, const json_t *claims, char **ret_user)
{
    const char *value = json_string_value(json_object_get(claims, config->claim));
    size_t size = value ? strlen(value) : 0;
    /* People's logins lose blanks around them; another's name is not made so. */
    if (size == 0 || strchr(value, '\\') || isspace((unsigned char)value[0]) ||
        isspace((unsigned char)value[size - 1]))
        return ca_fail(CA_UNAUTHENTICATED, "an ID token without '%s'", config->claim);
    if (oidc_names_by_mail(config) &&
        !json_is_true(json_object_get(claims, "email_verified")))
        return ca_fail(CA_UNAUTHENTICATED, "an ID token whose email is not verified");
    *ret_user = strdup(value);
    return *ret_user ? CA_OK : ca_fail(CA_INTERNAL, "no memory for a user's name");
}

static enum ca_status
token_believe(struct oidc *oidc, const char *token, const char *nonce, char **ret_user)
{
    struct jws jws = { .header = NULL };
    CA_AUTO(json_decref) json_t *key = NULL;
    enum ca_status status = jws_parse(token, &jws);
    if (status != CA_OK)
        return status;
    status = key_get(oidc, &jws, &key);
    if (status == CA_OK)
        status = jws_verify(&jws, key);
    if (status == CA_OK)
        status = oidc_check_claims(jws.claims,
                                   &(struct oidc_expected){ oidc->config->issuer,
                                                            oidc->config->client_id,
                                                            nonce, clock_now() });
    if (status == CA_OK)
        status = oidc_user_of(oidc->config, jws.claims, ret_user);
    jws_clear(&jws);
    return status;
}

/* ---- The code ---- */

/* RFC 6749 section 2.3.1: Basic unless the provider takes the other form alone. */
static bool
wants_post(const json_t *metadata)
{
    const json_t *methods =
        json_object_get(metadata, "token_endpoint_auth_methods_supported");
    const json_t *method;
    size_t i;
    bool takes_basic = !methods, takes_post = false;
    json_array_foreach (methods, i, method) {
        const char *name = json_string_value(method);
        takes_basic = takes_basic || (name && strcmp(name, "client_secret_basic") == 0);
        takes_post = takes_post || (name && strcmp(name, "client_secret_post") == 0);
    }
    return takes_post && !takes_basic;
}

static enum ca_status
code_send(const struct oidc *oidc, const char *url, bool by_post,
          struct text_buffer *form, json_t **ret_answer)
{
    const struct config_oidc *config = oidc->config;
    CA_AUTO(pin_free) struct pin *secret = NULL;
    CA_AUTO(text_buffer_clear) struct text_buffer user = { 0 };
    CA_AUTO(text_buffer_clear) struct text_buffer password = { 0 };
    struct oidc_request request = { .config = config, .url = url };
    if (config->secret_source && pin_read(config->secret_source, &secret) != CA_OK)
        return ca_fail(CA_UNAVAILABLE, "oidc/secret_source: %s", status_message());
    if (secret && !by_post) {
        /* Both as a form would have them; "=" is what parameter_put begins with. */
        parameter_put(&user, "", config->client_id);
        parameter_put(&password, "", pin_text(secret));
        if (user.failed || password.failed)
            return ca_fail(CA_INTERNAL, "no memory for a client's secret");
        request.user = user.data + 1;
        request.password = password.data + 1;
    } else {
        parameter_put(form, "client_id", config->client_id);
        if (secret)
            parameter_put(form, "client_secret", pin_text(secret));
    }
    if (form->failed)
        return ca_fail(CA_INTERNAL, "no memory for a code");
    request.form = form->data;
    enum ca_status status = oidc_http(&request, ret_answer);
    if (password.data)
        OPENSSL_cleanse(password.data, password.size);
    OPENSSL_cleanse(form->data, form->size);
    return status;
}

static enum ca_status
exchange(struct oidc *oidc, const struct oidc_login *login, const char *code,
         char **ret_user)
{
    CA_AUTO(text_buffer_clear) struct text_buffer form = { 0 };
    CA_AUTO(json_decref) json_t *metadata = NULL;
    CA_AUTO(json_decref) json_t *answer = NULL;
    enum ca_status status = metadata_get(oidc, &metadata);
    if (status != CA_OK)
        return status;
    parameter_put(&form, "grant_type", "authorization_code");
    parameter_put(&form, "code", code);
    parameter_put(&form, "redirect_uri", login->redirect_uri);
    parameter_put(&form, "code_verifier", login->verifier);
    status = code_send(oidc, place(metadata, "token_endpoint"), wants_post(metadata),
                       &form, &answer);
    if (status != CA_OK)
        return status;
    const char *token = json_string_value(json_object_get(answer, "id_token"));
    if (!token)
        return ca_fail(CA_UNAUTHENTICATED, "the provider gives no ID token");
    return token_believe(oidc, token, login->nonce, ret_user);
}

/* Few at a time, so that a silent provider holds few of the threads. */
enum ca_status
oidc_exchange(struct oidc *oidc, const struct oidc_login *login, const char *code,
              char **ret_user)
{
    pthread_mutex_lock(&oidc->lock);
    bool is_free = oidc->exchanges < OIDC_EXCHANGES_MOST;
    oidc->exchanges += is_free;
    pthread_mutex_unlock(&oidc->lock);
    if (!is_free)
        return ca_fail(CA_UNAVAILABLE, "%d log-ins are with the provider already",
                       OIDC_EXCHANGES_MOST);
    enum ca_status status = exchange(oidc, login, code, ret_user);
    pthread_mutex_lock(&oidc->lock);
    oidc->exchanges--;
    pthread_mutex_unlock(&oidc->lock);
    return status;
}
