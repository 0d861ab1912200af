/* Secret keys of a token: found, made, and one operation with them. */
#include "secret.h"
#include "auto.h"
#include "bringup.h"
#include "clock.h"
#include "object.h"
#include "operation.h"
#include "recovery.h"
#include "secret_inner.h"
#include "token_key.h"
#include <openssl/crypto.h>
#include <string.h>

/* What one kind is and may do; what is not named here must be off. */
struct kind {
    CK_KEY_TYPE type;
    CK_MECHANISM_TYPE generation;
    CK_ATTRIBUTE_TYPE uses[2];
};
static const struct kind kinds[] = {
    [SECRET_SEAL] = { CKK_AES, CKM_AES_KEY_GEN, { CKA_ENCRYPT, CKA_DECRYPT } },
    [SECRET_WRAP] = { CKK_AES, CKM_AES_KEY_GEN, { CKA_WRAP, CKA_UNWRAP } },
    [SECRET_TAG] = { CKK_GENERIC_SECRET,
                     CKM_GENERIC_SECRET_KEY_GEN,
                     { CKA_SIGN, CKA_VERIFY } },
};
static const CK_ATTRIBUTE_TYPE all_uses[] = { CKA_ENCRYPT, CKA_DECRYPT, CKA_WRAP,
                                              CKA_UNWRAP,  CKA_SIGN,    CKA_VERIFY,
                                              CKA_DERIVE };
#define USES (sizeof all_uses / sizeof all_uses[0])

static bool
kind_uses(enum secret_use use, CK_ATTRIBUTE_TYPE type)
{
    return kinds[use].uses[0] == type || kinds[use].uses[1] == type;
}

/* ---- The object ---- */

static enum ca_status
demand(const struct token *token, bool holds, unsigned waiver, const char *departure)
{
    if (holds || (token->waivers & waiver))
        return CA_OK;
    return ca_fail(CA_FORBIDDEN,
                   "token '%s': the secret key departs from the template: refused "
                   "without the waiver '%s'",
                   token->name, departure);
}

static enum ca_status
uses_check(struct token *token, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
           enum secret_use use)
{
    enum ca_status status = CA_OK;
    for (size_t i = 0; status == CA_OK && i < USES; i++) {
        enum flag is = flag_read(token, session, object, all_uses[i]);
        if (kind_uses(use, all_uses[i]) && is == FLAG_FALSE)
            return ca_fail(CA_FORBIDDEN,
                           "token '%s': the secret key lacks a use (attribute 0x%lx)",
                           token->name, all_uses[i]);
        status = demand(token, kind_uses(use, all_uses[i]) || is != FLAG_TRUE,
                        WAIVER_OTHER_USES, "other_uses");
    }
    return status;
}

/* Kind, length, custody and uses, as the token tells them. */
static enum ca_status
secret_check(struct token *token, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
             enum secret_use use)
{
    CK_KEY_TYPE type = 0;
    CK_ULONG size = 0;
    CK_ATTRIBUTE template[] = { { CKA_KEY_TYPE, &type, sizeof type },
                                { CKA_VALUE_LEN, &size, sizeof size } };
    CK_RV code =
        token->module->functions->C_GetAttributeValue(session, object, template, 2);
    if (code != CKR_OK)
        return module_fail(CA_UNAVAILABLE, token->module, "C_GetAttributeValue", code);
    bool is_tag = use == SECRET_TAG && type == CKK_SHA256_HMAC;
    if ((type != kinds[use].type && !is_tag) || size != SECRET_KEY_SIZE)
        return ca_fail(CA_FORBIDDEN,
                       "token '%s': a secret key of type 0x%lx with %lu octets",
                       token->name, type, size);
    enum ca_status status =
        demand(token, flag_read(token, session, object, CKA_SENSITIVE) == FLAG_TRUE,
               WAIVER_NOT_SENSITIVE, "not_sensitive");
    if (status == CA_OK)
        status = demand(
            token, flag_read(token, session, object, CKA_EXTRACTABLE) == FLAG_FALSE,
            WAIVER_EXTRACTABLE, "extractable");
    if (status == CA_OK)
        status =
            demand(token, flag_read(token, session, object, CKA_LOCAL) == FLAG_TRUE,
                   WAIVER_NOT_LOCAL, "not_local");
    return status == CA_OK ? uses_check(token, session, object, use) : status;
}

static enum ca_status
secret_search(struct token *token, CK_SESSION_HANDLE session, const struct uri *uri,
              CK_OBJECT_HANDLE *ret_object)
{
    CK_OBJECT_HANDLE objects[OBJECT_MATCHES_MAX] = { 0 };
    size_t count = 0;
    const char *label = uri->object[0] ? uri->object : "of that id";
    enum ca_status status =
        object_search(token, session, CKO_SECRET_KEY, uri, objects, &count);
    if (status != CA_OK)
        return status;
    if (count == 0)
        return ca_fail(CA_NOT_FOUND, "token '%s' has no secret key '%s'", token->name,
                       label);
    if (count > 1)
        return ca_fail(CA_CONFLICT, "token '%s' has several secret keys '%s'",
                       token->name, label);
    *ret_object = objects[0];
    return CA_OK;
}

/* The handle in this generation of the token; found and checked again after a rebuild.
 */
static enum ca_status
secret_locate(struct token_secret *secret, CK_SESSION_HANDLE session,
              uint64_t generation, CK_OBJECT_HANDLE *ret_object)
{
    struct token *token = secret->token;
    CK_OBJECT_HANDLE object = 0;
    pthread_mutex_lock(&token->lock);
    bool is_known = secret->is_known && secret->generation == generation;
    object = secret->object;
    pthread_mutex_unlock(&token->lock);
    enum ca_status status = CA_OK;
    if (!is_known) {
        status = secret_search(token, session, &secret->uri, &object);
        if (status == CA_OK)
            status = secret_check(token, session, object, secret->use);
        if (status != CA_OK)
            return status;
        pthread_mutex_lock(&token->lock);
        secret->object = object;
        secret->generation = generation;
        secret->is_known = true;
        pthread_mutex_unlock(&token->lock);
    }
    *ret_object = object;
    return CA_OK;
}

static void
secret_forget(struct token_secret *secret)
{
    pthread_mutex_lock(&secret->token->lock);
    secret->is_known = false;
    pthread_mutex_unlock(&secret->token->lock);
}

/* ---- One operation ---- */

/* Codes by which a healthy token declines what is asked of it, whatever the data. */
static bool
code_is_refusal(CK_RV code)
{
    switch (code) {
    case CKR_ARGUMENTS_BAD:
    case CKR_ATTRIBUTE_SENSITIVE:
    case CKR_ATTRIBUTE_TYPE_INVALID:
    case CKR_ATTRIBUTE_VALUE_INVALID:
    case CKR_FUNCTION_NOT_SUPPORTED:
    case CKR_KEY_FUNCTION_NOT_PERMITTED:
    case CKR_KEY_NOT_WRAPPABLE:
    case CKR_KEY_SIZE_RANGE:
    case CKR_KEY_TYPE_INCONSISTENT:
    case CKR_KEY_UNEXTRACTABLE:
    case CKR_MECHANISM_INVALID:
    case CKR_MECHANISM_PARAM_INVALID:
    case CKR_TEMPLATE_INCOMPLETE:
    case CKR_TEMPLATE_INCONSISTENT: return true;
    default: return false;
    }
}

static enum ca_status
code_classify(const struct attempt *attempt, CK_RV code)
{
    if (code == CKR_OK)
        return CA_OK;
    if (code_is_refusal(code))
        return CA_UNSUPPORTED;
    return attempt->saw_input && !code_is_outage(code) ? CA_FORBIDDEN : CA_UNAVAILABLE;
}

/* In one session; a second one when an idle one, or the handle, turns out to be dead.
 */
static enum ca_status
run_once(struct token_secret *secret, uint64_t generation, secret_step step, void *arg)
{
    struct token *token = secret->token;
    enum ca_status status = CA_UNAVAILABLE;
    for (int tries = 0; tries < 2 && status == CA_UNAVAILABLE; tries++) {
        struct attempt attempt = { .functions = token->module->functions };
        status = session_take(token, &attempt.session);
        if (status == CA_OK)
            status = secret_locate(secret, attempt.session, generation, &attempt.key);
        else
            continue;
        if (status == CA_OK) {
            CK_RV code = step(&attempt, arg);
            status = code_classify(&attempt, code);
            if (status != CA_OK)
                module_fail(status, token->module, attempt.function, code);
        }
        if (status != CA_UNAVAILABLE) {
            session_give(token, attempt.session);
            return status;
        }
        session_close(token, attempt.session);
        session_close_all(token); /* as dead as this one, most likely */
        secret_forget(secret);
    }
    return status;
}

enum ca_status
secret_run(struct token_secret *secret, secret_step step, void *arg)
{
    struct token *token = secret->token;
    int64_t deadline = clock_ticks() + token->wait_ms;
    enum ca_status status = CA_UNAVAILABLE;
    for (int tries = 0; tries < OPERATION_TRIES && status == CA_UNAVAILABLE; tries++) {
        struct grip grip;
        status = operation_enter(token, true, deadline, &grip);
        if (status != CA_OK)
            return status;
        status = run_once(secret, grip.generation, step, arg);
        operation_leave(token, true, &grip);
        atomic_fetch_add(&token->operations, 1);
        if (status != CA_OK)
            atomic_fetch_add(&token->failures, 1);
        if (status == CA_UNAVAILABLE)
            recovery_request(token, grip.generation);
    }
    return status;
}

void
token_secret_doubt(struct token_secret *secret)
{
    struct token *token = secret->token;
    pthread_mutex_lock(&token->lock);
    uint64_t generation = secret->generation;
    pthread_mutex_unlock(&token->lock);
    recovery_request(token, generation);
}

/* ---- Finding and making ---- */

static struct token_secret *
known_find(struct token *token, const struct uri *uri)
{
    pthread_mutex_lock(&token->lock);
    struct token_secret *secret = token->secrets;
    while (
        secret &&
        !((!uri->object[0] || strcmp(uri->object, secret->uri.object) == 0) &&
          (uri->id_size == 0 || (uri->id_size == secret->uri.id_size &&
                                 memcmp(uri->id, secret->uri.id, uri->id_size) == 0))))
        secret = secret->next;
    pthread_mutex_unlock(&token->lock);
    return secret;
}

/* With the read lock: the name of the object that fits. */
static enum ca_status
secret_name(struct token *token, const struct uri *uri, enum secret_use use,
            struct uri *ret_uri)
{
    CK_SESSION_HANDLE session = 0;
    CK_OBJECT_HANDLE object = 0;
    enum ca_status status = session_take(token, &session);
    if (status != CA_OK)
        return status;
    status = secret_search(token, session, uri, &object);
    if (status == CA_OK)
        status = secret_check(token, session, object, use);
    if (status == CA_OK)
        status = object_name(token, session, object, ret_uri);
    session_give(token, session);
    return status;
}

static enum ca_status
secret_add(struct token *token, const struct uri *uri, enum secret_use use,
           struct token_secret **ret_secret)
{
    struct grip grip;
    CA_AUTO(free) struct token_secret *secret = calloc(1, sizeof *secret);
    if (!secret)
        return ca_fail(CA_INTERNAL, "out of memory");
    enum token_state state = recovery_state(token);
    if (state == TOKEN_STUCK || state == TOKEN_LATCHED)
        return ca_fail(CA_UNAVAILABLE, "token '%s' is %s", token->name,
                       state == TOKEN_STUCK ? "stuck in a call" : "latched");
    enum ca_status status =
        operation_enter(token, true, clock_ticks() + token->wait_ms, &grip);
    if (status != CA_OK)
        return status;
    secret->token = token;
    secret->use = use;
    status = secret_name(token, uri, use, &secret->uri);
    operation_leave(token, true, &grip);
    if (status != CA_OK)
        return status;
    *ret_secret = secret;
    pthread_mutex_lock(&token->lock);
    secret->next = token->secrets;
    token->secrets = CA_STEAL(secret);
    pthread_mutex_unlock(&token->lock);
    bringup_limit(token);
    return CA_OK;
}

enum ca_status
token_secret_find(struct token_set *set, const char *text, enum secret_use use,
                  struct token_secret **ret_secret)
{
    struct uri uri;
    struct token *token = NULL;
    enum ca_status status = uri_parse(text, &uri);
    if (status == CA_OK && (!uri_names_token(&uri) || !uri_names_key(&uri)))
        status =
            ca_fail(CA_MALFORMED, "a key's URI names its token and 'object' or 'id'");
    if (status == CA_OK)
        status = token_of(set, &uri, &token);
    if (status != CA_OK || !token)
        return status;
    struct token_secret *secret = known_find(token, &uri);
    if (!secret)
        status = secret_add(token, &uri, use, &secret);
    if (status != CA_OK || !secret)
        return status;
    if (secret->use != use)
        return ca_fail(CA_FORBIDDEN,
                       "token '%s': secret key '%s' is in use for another purpose",
                       token->name, secret->uri.object);
    *ret_secret = secret;
    return CA_OK;
}

void
token_secrets_free(struct token *token)
{
    while (token->secrets) {
        struct token_secret *next = token->secrets->next;
        free(token->secrets);
        token->secrets = next;
    }
}

const char *
token_secret_token(const struct token_secret *secret)
{
    return secret->token->name;
}

static CK_RV
secret_generate(struct token *token, CK_SESSION_HANDLE session, const struct uri *uri,
                enum secret_use use, CK_OBJECT_HANDLE *ret_object)
{
    static const CK_ULONG size = SECRET_KEY_SIZE;
    CK_MECHANISM mechanism = { kinds[use].generation, NULL, 0 };
    CK_RV code = CKR_OK;
    /* Some modules do not know CKA_COPYABLE; what came out is read back. */
    for (int extras = 1; extras >= 0; extras--) {
        struct template template = { .count = 0 };
        template_flag(&template, CKA_TOKEN, true);
        template_flag(&template, CKA_PRIVATE, true);
        template_flag(&template, CKA_SENSITIVE, true);
        template_flag(&template, CKA_EXTRACTABLE, false);
        template_flag(&template, CKA_MODIFIABLE, false);
        if (extras > 0)
            template_flag(&template, CKA_COPYABLE, false);
        for (size_t i = 0; i < USES; i++)
            template_flag(&template, all_uses[i], kind_uses(use, all_uses[i]));
        template_add(&template, CKA_VALUE_LEN, &size, sizeof size);
        template_add(&template, CKA_LABEL, uri->object, strlen(uri->object));
        template_add(&template, CKA_ID, uri->id, uri->id_size);
        code = token->module->functions->C_GenerateKey(
            session, &mechanism, template.items, template.count, ret_object);
        if (code != CKR_ATTRIBUTE_TYPE_INVALID && code != CKR_ATTRIBUTE_VALUE_INVALID &&
            code != CKR_TEMPLATE_INCONSISTENT && code != CKR_GENERAL_ERROR)
            break;
    }
    return code;
}

/* With the write lock, as for pairs. */
static enum ca_status
generate_locked(struct token *token, struct uri *uri, enum secret_use use)
{
    CK_SESSION_HANDLE session = 0;
    CK_OBJECT_HANDLE object = 0;
    if (!token->slot[0])
        return ca_fail(CA_UNAVAILABLE, "token '%s' is down", token->name);
    enum ca_status status = session_open(token, true, &session);
    if (status != CA_OK)
        return status;
    status = object_label_check(token, session, uri->object);
    if (status == CA_OK) {
        CK_RV code = secret_generate(token, session, uri, use, &object);
        if (code != CKR_OK)
            status =
                module_fail(code_is_refusal(code) ? CA_UNSUPPORTED : CA_UNAVAILABLE,
                            token->module, "C_GenerateKey", code);
    }
    if (status == CA_OK) {
        status = secret_check(token, session, object, use);
        if (status != CA_OK)
            token->module->functions->C_DestroyObject(session, object);
    }
    session_close(token, session);
    return status;
}

enum ca_status
token_secret_generate(struct token_set *set, const char *name, const char *label,
                      enum secret_use use, char **ret_uri)
{
    struct uri uri = { .id_size = TOKEN_KEY_ID_SIZE };
    size_t length = strlen(label);
    struct token *token = token_named(set, name);
    if (!token)
        return ca_fail(CA_NOT_FOUND, "no token '%s' is configured", name);
    if (length == 0 || length > URI_LABEL_MAX)
        return ca_fail(CA_MALFORMED, "a key's label is 1 to %d octets", URI_LABEL_MAX);
    memcpy(uri.object, label, length);
    enum ca_status status = random_bytes(uri.id, uri.id_size);
    if (status != CA_OK)
        return status;
    pthread_rwlock_wrlock(&token->module->lock);
    status = generate_locked(token, &uri, use);
    pthread_rwlock_unlock(&token->module->lock);
    if (status != CA_OK)
        return status;
    char *text = token_uri(token, &uri);
    if (!text)
        return ca_fail(CA_INTERNAL, "out of memory");
    char *type = strstr(text, ";type=");
    if (type) /* of a private key */
        *type = '\0';
    *ret_uri = text;
    return CA_OK;
}

/* ---- What the token offers ---- */

static const struct {
    CK_MECHANISM_TYPE mechanism;
    CK_FLAGS flags;
    bool has_size; /* the key sizes are octets of an AES key */
} methods[TOKEN_METHOD_COUNT] = {
    [TOKEN_METHOD_GCM] = { CKM_AES_GCM, CKF_ENCRYPT | CKF_DECRYPT, true },
    [TOKEN_METHOD_KW] = { CKM_AES_KEY_WRAP, CKF_WRAP | CKF_UNWRAP, true },
    [TOKEN_METHOD_CBC] = { CKM_AES_CBC_PAD, CKF_ENCRYPT | CKF_DECRYPT, true },
    [TOKEN_METHOD_OAEP] = { CKM_RSA_PKCS_OAEP, CKF_DECRYPT, false },
    [TOKEN_METHOD_HMAC] = { CKM_SHA256_HMAC, CKF_SIGN, false },
};

enum ca_status
token_offers(struct token_set *set, const char *name, enum token_method method,
             bool *ret_offers)
{
    struct token *token = token_named(set, name);
    struct grip grip;
    CK_MECHANISM_INFO info = { 0 };
    if (!token)
        return ca_fail(CA_NOT_FOUND, "no token '%s' is configured", name);
    enum ca_status status =
        operation_enter(token, true, clock_ticks() + token->wait_ms, &grip);
    if (status != CA_OK)
        return status;
    CK_RV code = token->module->functions->C_GetMechanismInfo(
        token->slot_id, methods[method].mechanism, &info);
    operation_leave(token, true, &grip);
    if (code != CKR_OK && code != CKR_MECHANISM_INVALID)
        return module_fail(CA_UNAVAILABLE, token->module, "C_GetMechanismInfo", code);
    bool has_flags =
        code == CKR_OK && (info.flags & methods[method].flags) == methods[method].flags;
    /* 0: the module does not tell. Some count bits. */
    bool has_size = !methods[method].has_size || info.ulMaxKeySize == 0 ||
                    info.ulMaxKeySize >= SECRET_KEY_SIZE;
    *ret_offers = has_flags && has_size;
    return CA_OK;
}
