/* Lists a token's private keys with their attributes, and destroys a pair. */
#include "keylist.h"
#include "auto.h"
#include "object.h"
#include "text.h"
#include <string.h>

#define BATCH 64

const struct keylist_attribute keylist_attributes[KEYLIST_FLAGS] = {
    { "CKA_TOKEN", "true" },        { "CKA_PRIVATE", "true" },
    { "CKA_SENSITIVE", "true" },    { "CKA_ALWAYS_SENSITIVE", "true" },
    { "CKA_EXTRACTABLE", "false" }, { "CKA_NEVER_EXTRACTABLE", "true" },
    { "CKA_LOCAL", "true" },        { "CKA_SIGN", NULL },
    { "CKA_DECRYPT", NULL },        { "CKA_UNWRAP", "false" },
    { "CKA_DERIVE", "false" },      { "CKA_MODIFIABLE", "false" },
    { "CKA_COPYABLE", "false" },    { "CKA_ALWAYS_AUTHENTICATE", "false" },
};
static const CK_ATTRIBUTE_TYPE types[KEYLIST_FLAGS] = {
    CKA_TOKEN,       CKA_PRIVATE,
    CKA_SENSITIVE,   CKA_ALWAYS_SENSITIVE,
    CKA_EXTRACTABLE, CKA_NEVER_EXTRACTABLE,
    CKA_LOCAL,       CKA_SIGN,
    CKA_DECRYPT,     CKA_UNWRAP,
    CKA_DERIVE,      CKA_MODIFIABLE,
    CKA_COPYABLE,    CKA_ALWAYS_AUTHENTICATE,
};
enum { FLAG_SIGN = 7, FLAG_DECRYPT = 8 };

struct keys {
    struct keylist_key *items;
    size_t count;
};

static void
keys_clear(struct keys *keys)
{
    for (size_t i = 0; i < keys->count; i++) {
        free(keys->items[i].uri);
        free(keys->items[i].label);
    }
    free(keys->items);
}

static struct token *
token_named(struct token_set *set, const char *name)
{
    for (size_t i = 0; i < set->count; i++) {
        if (strcmp(set->tokens[i].name, name) == 0)
            return &set->tokens[i];
    }
    return NULL;
}

/* ---- One key ---- */

static void
flags_read(struct token *token, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
           struct keylist_key *key)
{
    for (size_t i = 0; i < KEYLIST_FLAGS; i++) {
        CK_BBOOL value = CK_FALSE;
        CK_ATTRIBUTE attribute = { types[i], &value, sizeof value };
        CK_RV code = token->module->functions->C_GetAttributeValue(session, object,
                                                                   &attribute, 1);
        if (code != CKR_OK || attribute.ulValueLen != sizeof value)
            key->flags[i] = KEYLIST_UNKNOWN;
        else
            key->flags[i] = value ? KEYLIST_YES : KEYLIST_NO;
    }
    key->uses = (key->flags[FLAG_SIGN] == KEYLIST_YES ? TOKEN_USE_SIGN : 0u) |
                (key->flags[FLAG_DECRYPT] == KEYLIST_YES ? TOKEN_USE_DECRYPT : 0u);
}

/* The size of a named curve by its OID's DER. */
static int
curve_bits(const uint8_t *der, size_t size)
{
    static const struct {
        const char *der;
        size_t size;
        int bits;
    } curves[] = {
        { "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", 10, 256 },
        { "\x06\x05\x2b\x81\x04\x00\x22", 7, 384 },
        { "\x06\x05\x2b\x81\x04\x00\x23", 7, 521 },
    };
    for (size_t i = 0; i < sizeof curves / sizeof curves[0]; i++) {
        if (size == curves[i].size && memcmp(der, curves[i].der, size) == 0)
            return curves[i].bits;
    }
    return 0;
}

static void
kind_read(struct token *token, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
          struct keylist_key *key)
{
    CK_KEY_TYPE type = CKK_VENDOR_DEFINED;
    uint8_t value[1024];
    CK_ATTRIBUTE kind = { CKA_KEY_TYPE, &type, sizeof type };
    CK_FUNCTION_LIST *functions = token->module->functions;
    key->kind = "other";
    if (functions->C_GetAttributeValue(session, object, &kind, 1) != CKR_OK)
        return;
    if (type == CKK_RSA) {
        CK_ATTRIBUTE modulus = { CKA_MODULUS, value, sizeof value };
        key->kind = "rsa";
        if (functions->C_GetAttributeValue(session, object, &modulus, 1) == CKR_OK &&
            modulus.ulValueLen <= sizeof value)
            key->bits = (int)modulus.ulValueLen * 8;
    } else if (type == CKK_EC) {
        CK_ATTRIBUTE curve = { CKA_EC_PARAMS, value, sizeof value };
        key->kind = "ec";
        if (functions->C_GetAttributeValue(session, object, &curve, 1) == CKR_OK &&
            curve.ulValueLen <= sizeof value)
            key->bits = curve_bits(value, curve.ulValueLen);
    }
}

static enum ca_status
key_read(struct token *token, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
         struct keylist_key *ret_key)
{
    struct uri uri = { 0 };
    CK_OBJECT_HANDLE publics[OBJECT_MATCHES_MAX];
    size_t public_count = 0;
    enum ca_status status = object_name(token, session, object, &uri);
    if (status == CA_OK)
        status =
            object_search(token, session, CKO_PUBLIC_KEY, &uri, publics, &public_count);
    if (status != CA_OK)
        return status;
    flags_read(token, session, object, ret_key);
    kind_read(token, session, object, ret_key);
    hex_format(uri.id, uri.id_size, ret_key->id);
    ret_key->token = token->name;
    ret_key->has_public = public_count > 0;
    ret_key->label = strdup(uri.object);
    ret_key->uri = token_uri(token, &uri);
    return ret_key->label && ret_key->uri ? CA_OK : ca_fail(CA_INTERNAL, "no memory");
}

/* ---- All of them ---- */

/* The handles first: a module may have one search a session. */
static enum ca_status
handles_find(struct token *token, CK_SESSION_HANDLE session,
             CK_OBJECT_HANDLE ret_handles[KEYLIST_MAX], size_t *ret_count)
{
    CK_FUNCTION_LIST *functions = token->module->functions;
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_ATTRIBUTE template = { CKA_CLASS, &class, sizeof class };
    CK_ULONG found = 0;
    size_t count = 0;
    CK_RV code = functions->C_FindObjectsInit(session, &template, 1);
    if (code != CKR_OK)
        return module_fail(CA_UNAVAILABLE, token->module, "C_FindObjectsInit", code);
    do {
        CK_ULONG room = KEYLIST_MAX - count < BATCH ? KEYLIST_MAX - count : BATCH;
        code = functions->C_FindObjects(session, ret_handles + count, room, &found);
        count += code == CKR_OK ? found : 0;
    } while (code == CKR_OK && found > 0 && count < KEYLIST_MAX);
    functions->C_FindObjectsFinal(session);
    if (code != CKR_OK)
        return module_fail(CA_UNAVAILABLE, token->module, "C_FindObjects", code);
    *ret_count = count;
    return CA_OK;
}

static enum ca_status
keys_read(struct token *token, CK_SESSION_HANDLE session, struct keys *keys)
{
    CA_AUTO(free) CK_OBJECT_HANDLE *handles = calloc(KEYLIST_MAX, sizeof *handles);
    size_t count = 0;
    if (!handles)
        return ca_fail(CA_INTERNAL, "no memory for a list of keys");
    enum ca_status status = handles_find(token, session, handles, &count);
    if (status != CA_OK)
        return status;
    keys->items = calloc(count ? count : 1, sizeof *keys->items);
    if (!keys->items)
        return ca_fail(CA_INTERNAL, "no memory for a list of keys");
    for (size_t i = 0; i < count && status == CA_OK; i++)
        status = key_read(token, session, handles[i], &keys->items[keys->count++]);
    return status;
}

static enum ca_status
token_list(struct token *token, struct keys *keys)
{
    CK_SESSION_HANDLE session = 0;
    if (!token->slot[0])
        return ca_fail(CA_UNAVAILABLE, "token '%s' is down", token->name);
    enum ca_status status = session_open(token, false, &session);
    if (status != CA_OK)
        return status;
    status = keys_read(token, session, keys);
    session_close(token, session);
    return status;
}

enum ca_status
keylist_run(struct token_set *set, const char *name, keylist_visit visit, void *arg)
{
    struct keys keys = { 0 };
    struct token *token = token_named(set, name);
    if (!token)
        return ca_fail(CA_NOT_FOUND, "no token '%s' is configured", name);
    pthread_rwlock_rdlock(&token->module->lock);
    enum ca_status status = token_list(token, &keys);
    pthread_rwlock_unlock(&token->module->lock);
    for (size_t i = 0; i < keys.count && status == CA_OK; i++)
        status = visit(&keys.items[i], arg);
    keys_clear(&keys);
    return status;
}

/* ---- Their end ---- */

static bool
text_is(const char *wanted, const char *value)
{
    return !wanted[0] || strcmp(wanted, value) == 0;
}

static struct token *
token_of(struct token_set *set, const struct uri *uri)
{
    struct token *found = NULL;
    for (size_t i = 0; i < set->count; i++) {
        struct token *token = &set->tokens[i];
        if (!text_is(uri->token, token->label) || !text_is(uri->serial, token->serial))
            continue;
        if (found)
            return NULL;
        found = token;
    }
    return found;
}

/* At most one object of the class; 0: none. */
static enum ca_status
object_only(struct token *token, CK_SESSION_HANDLE session, CK_OBJECT_CLASS class,
            const struct uri *uri, CK_OBJECT_HANDLE *ret_object)
{
    CK_OBJECT_HANDLE objects[OBJECT_MATCHES_MAX];
    size_t count = 0;
    enum ca_status status = object_search(token, session, class, uri, objects, &count);
    if (status != CA_OK)
        return status;
    if (count > 1)
        return ca_fail(CA_CONFLICT, "token '%s': the URI names several keys",
                       token->name);
    *ret_object = count == 1 ? objects[0] : 0;
    return CA_OK;
}

static enum ca_status
pair_destroy(struct token *token, CK_SESSION_HANDLE session, const struct uri *uri)
{
    CK_OBJECT_HANDLE private = 0, public = 0;
    CK_FUNCTION_LIST *functions = token->module->functions;
    enum ca_status status = object_only(token, session, CKO_PRIVATE_KEY, uri, &private);
    if (status == CA_OK && private == 0)
        status = ca_fail(CA_NOT_FOUND, "token '%s' has no such key", token->name);
    if (status == CA_OK)
        status = object_only(token, session, CKO_PUBLIC_KEY, uri, &public);
    if (status != CA_OK)
        return status;
    CK_RV code = functions->C_DestroyObject(session, private);
    if (code == CKR_OK && public != 0)
        code = functions->C_DestroyObject(session, public);
    return code == CKR_OK
               ? CA_OK
               : module_fail(CA_UNAVAILABLE, token->module, "C_DestroyObject", code);
}

enum ca_status
keylist_destroy(struct token_set *set, const char *text)
{
    struct uri uri;
    CK_SESSION_HANDLE session = 0;
    enum ca_status status = uri_parse(text, &uri);
    if (status != CA_OK)
        return status;
    struct token *token = token_of(set, &uri);
    if (!token || !uri_names_key(&uri) || !uri_names_token(&uri))
        return ca_fail(CA_NOT_FOUND, "the URI names no key of exactly one token");
    pthread_rwlock_wrlock(&token->module->lock);
    status = token->slot[0]
                 ? session_open(token, true, &session)
                 : ca_fail(CA_UNAVAILABLE, "token '%s' is down", token->name);
    if (status == CA_OK) {
        status = pair_destroy(token, session, &uri);
        session_close(token, session);
    }
    pthread_rwlock_unlock(&token->module->lock);
    return status;
}
