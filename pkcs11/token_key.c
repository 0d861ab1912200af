/* Finds key pairs in a token, refuses what departs from the template, and keeps them.
 */
#include "token_key.h"
#include "auto.h"
#include "bringup.h"
#include "clock.h"
#include "object.h"
#include "operation.h"
#include "proxy.h"
#include "recovery.h"
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>
#include <time.h>

static const uint8_t test_text[32] = "sealwright: is the pair a pair?";

/* Exactly one object of the class fits; its handle. */
static enum ca_status
object_one(struct token *token, CK_SESSION_HANDLE session, CK_OBJECT_CLASS class,
           const struct uri *uri, CK_OBJECT_HANDLE *ret_object)
{
    CK_OBJECT_HANDLE objects[OBJECT_MATCHES_MAX] = { 0 };
    size_t count = 0;
    enum ca_status status = object_search(token, session, class, uri, objects, &count);
    if (status != CA_OK)
        return status;
    if (count == 0)
        return ca_fail(CA_NOT_FOUND, "token '%s' has no private key '%s'", token->name,
                       uri->object[0] ? uri->object : "of that id");
    if (count > 1)
        return ca_fail(CA_CONFLICT, "token '%s' has several keys '%s': name one by id",
                       token->name, uri->object[0] ? uri->object : "of one id");
    *ret_object = objects[0];
    return CA_OK;
}

/* libp11 pairs halves by CKA_ID alone: of two keys with one id it takes the wrong
 * public half, and signatures do not verify. */
static enum ca_status
id_check(struct token *token, CK_SESSION_HANDLE session, const struct token_key *key)
{
    CK_OBJECT_HANDLE objects[OBJECT_MATCHES_MAX];
    struct uri by_id = { .id_size = key->id_size };
    size_t private_count = 0, public_count = 0;
    if (key->id_size == 0)
        return ca_fail(CA_CONFLICT, "token '%s': the key '%s' has no CKA_ID",
                       token->name, key->label);
    memcpy(by_id.id, key->id, key->id_size);
    enum ca_status status =
        object_search(token, session, CKO_PRIVATE_KEY, &by_id, objects, &private_count);
    if (status == CA_OK)
        status = object_search(token, session, CKO_PUBLIC_KEY, &by_id, objects,
                               &public_count);
    if (status == CA_OK && (private_count != 1 || public_count > 1))
        status =
            ca_fail(CA_CONFLICT, "token '%s': several keys have the CKA_ID of '%s'",
                    token->name, key->label);
    return status;
}

/* Handle, name and attributes by direct calls. */
static enum ca_status
object_attach(struct token_key *key, CK_SESSION_HANDLE session)
{
    struct token *token = key->token;
    struct uri uri = { .id_size = key->id_size };
    memcpy(uri.id, key->id, key->id_size);
    memcpy(uri.object, key->label, sizeof uri.object);
    CK_OBJECT_HANDLE object = 0;
    enum ca_status status = object_one(token, session, CKO_PRIVATE_KEY, &uri, &object);
    if (status == CA_OK)
        status = object_name(token, session, object, &uri);
    if (status == CA_OK)
        status = object_check(token, session, object, key->uses);
    if (status == CA_OK)
        status = object_rsa(token, session, object, &key->rsa);
    if (status != CA_OK)
        return status;
    key->object = object;
    if (!key->public) { /* else it is known by this name, and others look at it */
        key->id_size = uri.id_size;
        memcpy(key->id, uri.id, uri.id_size);
        memcpy(key->label, uri.object, sizeof key->label);
    }
    return id_check(token, session, key);
}

static bool
is_same_object(const struct token_key *key, const PKCS11_KEY *other)
{
    return other->isPrivate && other->id_len == key->id_size &&
           memcmp(other->id, key->id, key->id_size) == 0 &&
           strcmp(other->label ? other->label : "", key->label) == 0;
}

static void
detach(struct token_key *key)
{
    for (size_t i = 0; i < MODULE_LANES_MAX; i++) {
        EVP_PKEY_free(key->live[i]);
        key->live[i] = NULL;
    }
}

void
token_keys_detach(struct token *token)
{
    for (struct token_key *key = token->keys; key; key = key->next)
        detach(key);
    memset(token->listed, 0, sizeof token->listed);
}

enum ca_status
token_keys_list(struct token *token)
{
    token_keys_detach(token);
    for (size_t i = 0; i < token->module->lane_count; i++) {
        struct token_listed *listed = &token->listed[i];
        ERR_clear_error();
        guard_forget();
        if (PKCS11_enumerate_keys(token->slot[i]->token, &listed->keys,
                                  &listed->count) != 0) {
            memset(token->listed, 0, sizeof token->listed);
            return module_fault(CA_UNAVAILABLE, token->module, "keys cannot be listed");
        }
    }
    return CA_OK;
}

static enum ca_status
live_attach(struct token_key *key, size_t lane)
{
    struct token *token = key->token;
    const struct token_listed *listed = &token->listed[lane];
    PKCS11_KEY *found = NULL;
    for (unsigned i = 0; i < listed->count; i++) {
        if (!is_same_object(key, &listed->keys[i]))
            continue;
        if (found)
            return ca_fail(CA_CONFLICT, "token '%s' has several keys '%s'", token->name,
                           key->label);
        found = &listed->keys[i];
    }
    if (!found)
        return ca_fail(CA_NOT_FOUND, "token '%s' has no private key '%s'", token->name,
                       key->label);
    const CK_ATTRIBUTE lent[] = {
        { CKA_MODULUS, key->rsa.modulus, key->rsa.modulus_size },
        { CKA_PUBLIC_EXPONENT, key->rsa.exponent, key->rsa.exponent_size },
    };
    ERR_clear_error();
    guard_forget();
    EVP_PKEY_free(key->live[lane]);
    guard_lend(key->object, lent, key->rsa.modulus_size > 0 ? 2 : 0);
    key->live[lane] = PKCS11_get_private_key(found);
    guard_lend(0, NULL, 0);
    if (!key->live[lane])
        return module_fault(CA_UNAVAILABLE, token->module, "a key does not load");
    return CA_OK;
}

/* The public half as a key of OpenSSL's own: no reference to libp11's. */
static EVP_PKEY *
public_copy(EVP_PKEY *live)
{
    uint8_t *der = NULL;
    int size = i2d_PUBKEY(live, &der);
    const uint8_t *at = der;
    EVP_PKEY *public = size > 0 ? d2i_PUBKEY(NULL, &at, size) : NULL;
    OPENSSL_free(der);
    return public;
}

static enum ca_status
public_check(struct token_key *key)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *public = public_copy(key->live[0]);
    if (!public)
        return ca_fail_openssl(CA_UNAVAILABLE, "token '%s': no public half of key '%s'",
                               key->token->name, key->label);
    int kind = EVP_PKEY_get_base_id(public);
    if (kind != EVP_PKEY_RSA && kind != EVP_PKEY_EC)
        return ca_fail(CA_UNSUPPORTED, "token '%s': key '%s' is neither RSA nor EC",
                       key->token->name, key->label);
    if (kind == EVP_PKEY_EC && (key->uses & TOKEN_USE_DECRYPT))
        return ca_fail(CA_UNSUPPORTED, "token '%s': EC key '%s' cannot decrypt",
                       key->token->name, key->label);
    if (key->public && EVP_PKEY_eq(key->public, public) != 1)
        return ca_fail(CA_CONFLICT, "token '%s': the key '%s' is another one now",
                       key->token->name, key->label);
    if (!key->public)
        key->public = CA_STEAL(public);
    return CA_OK;
}

static enum ca_status
signature_test(struct token_key *key, unsigned lane)
{
    uint8_t hash[EVP_MAX_MD_SIZE], signature[1024];
    unsigned hash_size = 0;
    size_t size = 0;
    if (EVP_Digest(test_text, sizeof test_text, hash, &hash_size, EVP_sha256(), NULL) !=
        1)
        return ca_fail_openssl(CA_INTERNAL, "digest");
    struct operation operation = { .digest = EVP_sha256(),
                                   .padding = RSA_PKCS1_PADDING,
                                   .input = hash,
                                   .input_size = hash_size };
    return operation_sign_once(key, lane, &operation, signature, sizeof signature,
                               &size);
}

static enum ca_status
attach(struct token_key *key)
{
    struct token *token = key->token;
    CK_SESSION_HANDLE session = 0;
    enum ca_status status = session_open(token, false, &session);
    if (status != CA_OK)
        return status;
    status = object_attach(key, session);
    session_close(token, session);
    for (size_t i = 0; i < token->module->lane_count && status == CA_OK; i++)
        status = live_attach(key, i);
    if (status == CA_OK)
        status = public_check(key);
    for (unsigned i = 0; i < token->module->lane_count && status == CA_OK; i++) {
        if (key->uses & TOKEN_USE_SIGN)
            status = signature_test(key, i);
    }
    if (status == CA_OK && (key->uses & TOKEN_USE_DECRYPT))
        status = operation_decrypt_test(key);
    return status;
}

enum ca_status
token_key_attach(struct token_key *key)
{
    enum ca_status status = attach(key);
    if (status != CA_OK)
        detach(key);
    return status;
}

bool
token_key_is_up(struct token_key *key)
{
    return recovery_state(key->token) == TOKEN_UP && !atomic_load(&key->is_missing);
}

static bool
text_is(const char *wanted, const char *value)
{
    return !wanted[0] || strcmp(wanted, value) == 0;
}

static bool
text_may_be(const char *wanted, const char *known)
{
    return !known[0] || text_is(wanted, known);
}

enum fit { FIT_NOT, FIT_PERHAPS, FIT_SURE };

/* A token that was never there is known by its configuration's URI alone. */
static enum fit
token_fit(struct token *token, const struct uri *uri)
{
    enum fit fit = FIT_NOT;
    pthread_mutex_lock(&token->lock);
    bool was_there = token->label[0] || token->serial[0];
    if (was_there && text_is(uri->token, token->label) &&
        text_is(uri->serial, token->serial) && text_is(uri->model, token->model) &&
        text_is(uri->manufacturer, token->manufacturer))
        fit = FIT_SURE;
    if (!was_there && text_may_be(uri->token, token->uri.token) &&
        text_may_be(uri->serial, token->uri.serial) &&
        text_may_be(uri->model, token->uri.model) &&
        text_may_be(uri->manufacturer, token->uri.manufacturer))
        fit = FIT_PERHAPS;
    pthread_mutex_unlock(&token->lock);
    return fit;
}

enum ca_status
token_of(struct token_set *set, const struct uri *uri, struct token **ret_token)
{
    struct token *found = NULL, *perhaps = NULL;
    for (size_t i = 0; i < set->count; i++) {
        struct token *token = &set->tokens[i];
        enum fit fit = token_fit(token, uri);
        if (fit == FIT_PERHAPS)
            perhaps = token;
        if (fit != FIT_SURE)
            continue;
        if (found)
            return ca_fail(CA_CONFLICT, "tokens '%s' and '%s' both fit the key's URI",
                           found->name, token->name);
        found = token;
    }
    if (!found && perhaps)
        return ca_fail(CA_UNAVAILABLE, "token '%s' was not there yet", perhaps->name);
    if (!found)
        return ca_fail(CA_NOT_FOUND, "no configured token fits the key's URI");
    *ret_token = found;
    return CA_OK;
}

/* A key found before; the token may be down, or stuck with the module's lock held. */
static struct token_key *
known_find(struct token *token, const struct uri *uri)
{
    pthread_mutex_lock(&token->lock);
    struct token_key *key = token->keys;
    while (key &&
           !(text_is(uri->object, key->label) &&
             (uri->id_size == 0 || (uri->id_size == key->id_size &&
                                    memcmp(uri->id, key->id, key->id_size) == 0))))
        key = key->next;
    pthread_mutex_unlock(&token->lock);
    return key;
}

static enum ca_status
key_open(struct token *token, const struct uri *uri, unsigned uses,
         struct token_key **ret_key)
{
    CA_AUTO(free) struct token_key *key = calloc(1, sizeof *key);
    if (!key)
        return ca_fail(CA_INTERNAL, "out of memory");
    key->token = token;
    key->uses = uses;
    key->id_size = uri->id_size;
    memcpy(key->id, uri->id, uri->id_size);
    memcpy(key->label, uri->object, sizeof key->label);
    enum ca_status status = token_key_attach(key);
    if (status == CA_OK)
        status = proxy_new(key, &key->proxy);
    if (status != CA_OK) {
        detach(key);
        EVP_PKEY_free(key->public);
        operation_verifier_free(key);
        return status;
    }
    *ret_key = CA_STEAL(key);
    return CA_OK;
}

/* A new listing drops the live halves of the keys known so far: they come back from it,
 * or the token is rebuilt. */
static enum ca_status
listing_renew(struct token *token)
{
    enum ca_status status = token_keys_list(token);
    for (struct token_key *key = token->keys; key && status == CA_OK; key = key->next) {
        for (size_t i = 0; i < token->module->lane_count && status == CA_OK; i++)
            status = key->is_missing ? CA_OK : live_attach(key, i);
    }
    if (status != CA_OK)
        recovery_request(token, token->module->generation);
    return status;
}

static enum ca_status
key_add(struct token *token, const struct uri *uri, unsigned uses,
        struct token_key **ret_key)
{
    if (!token->slot[0])
        return ca_fail(CA_UNAVAILABLE, "token '%s' is down", token->name);
    enum ca_status status = listing_renew(token);
    if (status == CA_OK)
        status = key_open(token, uri, uses, ret_key);
    if (status != CA_OK)
        return status;
    pthread_mutex_lock(&token->lock);
    struct token_key **end = &token->keys;
    while (*end)
        end = &(*end)->next;
    *end = *ret_key;
    pthread_mutex_unlock(&token->lock);
    bringup_limit(token);
    return CA_OK;
}

static enum ca_status
key_add_locked(struct token *token, const struct uri *uri, unsigned uses,
               struct token_key **ret_key)
{
    enum token_state state = recovery_state(token);
    if (state == TOKEN_STUCK || state == TOKEN_LATCHED)
        return ca_fail(CA_UNAVAILABLE, "token '%s' is %s", token->name,
                       state == TOKEN_STUCK ? "stuck in a call" : "latched");
    int64_t deadline = clock_ticks() + token->wait_ms;
    struct timespec until = { .tv_sec = deadline / 1000,
                              .tv_nsec = deadline % 1000 * 1000000 };
    if (pthread_rwlock_clockwrlock(&token->module->lock, CLOCK_MONOTONIC, &until) != 0)
        return ca_fail(CA_UNAVAILABLE, "token '%s' does not answer", token->name);
    struct token_key *key = known_find(token, uri); /* by another thread, meanwhile */
    enum ca_status status = CA_OK;
    if (!key)
        status = key_add(token, uri, uses, &key);
    pthread_rwlock_unlock(&token->module->lock);
    if (status == CA_OK)
        *ret_key = key;
    return status;
}

static enum ca_status
key_find(struct token *token, const struct uri *uri, unsigned uses,
         struct token_key **ret_key)
{
    struct token_key *key = known_find(token, uri);
    enum ca_status status = CA_OK;
    if (!key)
        status = key_add_locked(token, uri, uses, &key);
    if (status != CA_OK || !key)
        return status;
    if (key->uses != uses)
        return ca_fail(CA_FORBIDDEN,
                       "token '%s': key '%s' is in use for another purpose",
                       token->name, key->label);
    *ret_key = key;
    return CA_OK;
}

enum ca_status
token_key_find(struct token_set *set, const char *text, unsigned uses,
               const X509 *certificate, struct token_key **ret_key)
{
    struct uri uri;
    struct token *token = NULL;
    struct token_key *key = NULL;
    enum ca_status status = uri_parse(text, &uri);
    if (status == CA_OK && (!uri_names_token(&uri) || !uri_names_key(&uri)))
        status =
            ca_fail(CA_MALFORMED, "a key's URI names its token and 'object' or 'id'");
    if (status == CA_OK && (uses == 0 || uses > (TOKEN_USE_SIGN | TOKEN_USE_DECRYPT)))
        status = ca_fail(CA_INTERNAL, "uses %u of a key", uses);
    if (status == CA_OK)
        status = token_of(set, &uri, &token);
    if (status != CA_OK || !token)
        return status;
    status = key_find(token, &uri, uses, &key);
    if (status != CA_OK || !key)
        return status;
    if (certificate && !token_key_is_of(key, certificate)) {
        ERR_clear_error();
        return ca_fail(CA_CONFLICT, "token '%s': key '%s' is not the certificate's",
                       token->name, key->label);
    }
    *ret_key = key;
    return CA_OK;
}

EVP_PKEY *
token_key_pkey(struct token_key *key)
{
    EVP_PKEY_up_ref(key->proxy);
    return key->proxy;
}

bool
token_key_is_of(const struct token_key *key, const X509 *certificate)
{
    EVP_PKEY *public = X509_get0_pubkey(certificate);
    return public && EVP_PKEY_eq(public, key->public) == 1;
}

const char *
token_key_kind(const struct token_key *key, int *ret_bits)
{
    *ret_bits = EVP_PKEY_get_bits(key->public);
    return EVP_PKEY_get_base_id(key->public) == EVP_PKEY_RSA ? "rsa" : "ec";
}

const char *
token_key_token(const struct token_key *key)
{
    return key->token->name;
}

struct token *
token_named(struct token_set *set, const char *name)
{
    for (size_t i = 0; i < set->count; i++) {
        if (strcmp(set->tokens[i].name, name) == 0)
            return &set->tokens[i];
    }
    return NULL;
}
