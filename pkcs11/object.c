/* Reads what a token says of its objects. */
#include "object.h"
#include <string.h>

static const struct {
    const char *name;
    unsigned bit;
} waiver_names[] = {
    { "software", WAIVER_SOFTWARE },
    { "not_local", WAIVER_NOT_LOCAL },
    { "not_sensitive", WAIVER_NOT_SENSITIVE },
    { "extractable", WAIVER_EXTRACTABLE },
    { "sign_and_decrypt", WAIVER_SIGN_AND_DECRYPT },
    { "other_uses", WAIVER_OTHER_USES },
};

unsigned
waiver_parse(const char *word)
{
    for (size_t i = 0; i < sizeof waiver_names / sizeof waiver_names[0]; i++) {
        if (strcmp(waiver_names[i].name, word) == 0)
            return waiver_names[i].bit;
    }
    return 0;
}

enum ca_status
session_open(struct token *token, bool writes, CK_SESSION_HANDLE *ret_session)
{
    CK_FLAGS flags = CKF_SERIAL_SESSION | (writes ? CKF_RW_SESSION : 0);
    CK_SESSION_HANDLE session = 0;
    guard_forget();
    token->module->functions->C_OpenSession(token->slot_id, flags, NULL, NULL,
                                            &session);
    if (guard_is_tombstone(session))
        return module_fault(CA_UNAVAILABLE, token->module, "no session");
    *ret_session = session;
    return CA_OK;
}

void
session_close(struct token *token, CK_SESSION_HANDLE session)
{
    token->module->functions->C_CloseSession(session);
}

void
session_close_all(struct token *token)
{
    CK_SESSION_HANDLE idle[TOKEN_PERMITS_MAX];
    pthread_mutex_lock(&token->lock);
    unsigned count = token->idle_count;
    memcpy(idle, token->idle, count * sizeof idle[0]);
    token->idle_count = 0;
    pthread_mutex_unlock(&token->lock);
    while (count > 0)
        session_close(token, idle[--count]);
}

enum ca_status
object_search(struct token *token, CK_SESSION_HANDLE session, CK_OBJECT_CLASS class,
              const struct uri *uri, CK_OBJECT_HANDLE ret_objects[OBJECT_MATCHES_MAX],
              size_t *ret_count)
{
    CK_FUNCTION_LIST *functions = token->module->functions;
    struct uri wanted = *uri;
    CK_ATTRIBUTE template[3] = { { CKA_CLASS, &class, sizeof class } };
    CK_ULONG size = 1, count = 0;
    if (wanted.object[0])
        template[size++] =
            (CK_ATTRIBUTE){ CKA_LABEL, wanted.object, strlen(wanted.object) };
    if (wanted.id_size > 0)
        template[size++] = (CK_ATTRIBUTE){ CKA_ID, wanted.id, wanted.id_size };

    CK_RV code = functions->C_FindObjectsInit(session, template, size);
    if (code != CKR_OK)
        return module_fail(CA_UNAVAILABLE, token->module, "C_FindObjectsInit", code);
    code = functions->C_FindObjects(session, ret_objects, OBJECT_MATCHES_MAX, &count);
    CK_RV final = functions->C_FindObjectsFinal(session);
    if (code != CKR_OK)
        return module_fail(CA_UNAVAILABLE, token->module, "C_FindObjects", code);
    if (final != CKR_OK)
        return module_fail(CA_UNAVAILABLE, token->module, "C_FindObjectsFinal", final);
    *ret_count = count;
    return CA_OK;
}

enum ca_status
object_name(struct token *token, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
            struct uri *ret_uri)
{
    struct uri uri = { 0 };
    CK_ATTRIBUTE template[] = {
        { CKA_LABEL, uri.object, sizeof uri.object - 1 },
        { CKA_ID, uri.id, sizeof uri.id },
    };
    CK_RV code =
        token->module->functions->C_GetAttributeValue(session, object, template, 2);
    if (code != CKR_OK)
        return module_fail(CA_UNAVAILABLE, token->module, "C_GetAttributeValue", code);
    uri.id_size = template[1].ulValueLen;
    if (strlen(uri.object) != template[0].ulValueLen)
        return ca_fail(CA_CONFLICT, "token '%s': a label with a NUL octet",
                       token->name);
    *ret_uri = uri;
    return CA_OK;
}

static CK_RV
rsa_read(struct token *token, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
         struct token_rsa *rsa)
{
    CK_ATTRIBUTE template[] = {
        { CKA_MODULUS, rsa->modulus, sizeof rsa->modulus },
        { CKA_PUBLIC_EXPONENT, rsa->exponent, sizeof rsa->exponent },
    };
    CK_RV code =
        token->module->functions->C_GetAttributeValue(session, object, template, 2);
    if (code == CKR_OK && (template[0].ulValueLen == 0 || template[1].ulValueLen == 0))
        code = CKR_ATTRIBUTE_VALUE_INVALID;
    if (code == CKR_OK) {
        rsa->modulus_size = template[0].ulValueLen;
        rsa->exponent_size = template[1].ulValueLen;
    }
    return code;
}

enum ca_status
object_rsa(struct token *token, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
           struct token_rsa *ret_rsa)
{
    CK_KEY_TYPE kind = CKK_RSA;
    CK_ATTRIBUTE attribute = { CKA_KEY_TYPE, &kind, sizeof kind };
    CK_OBJECT_HANDLE objects[OBJECT_MATCHES_MAX];
    struct uri uri = { 0 };
    size_t count = 0;
    memset(ret_rsa, 0, sizeof *ret_rsa);
    CK_RV code =
        token->module->functions->C_GetAttributeValue(session, object, &attribute, 1);
    if (code != CKR_OK)
        return module_fail(CA_UNAVAILABLE, token->module, "C_GetAttributeValue", code);
    if (kind != CKK_RSA)
        return CA_OK;
    code = rsa_read(token, session, object, ret_rsa);
    if (code == CKR_OK)
        return CA_OK;
    enum ca_status status = object_name(token, session, object, &uri);
    uri.object[0] = '\0';
    if (status == CA_OK)
        status = object_search(token, session, CKO_PUBLIC_KEY, &uri, objects, &count);
    if (status != CA_OK)
        return status;
    if (count == 1)
        code = rsa_read(token, session, objects[0], ret_rsa);
    return code == CKR_OK ? CA_OK
                          : module_fail(CA_UNAVAILABLE, token->module,
                                        "C_GetAttributeValue", code);
}

enum flag
flag_read(struct token *token, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
          CK_ATTRIBUTE_TYPE type)
{
    CK_BBOOL value = CK_FALSE;
    CK_ATTRIBUTE attribute = { type, &value, sizeof value };
    CK_RV code =
        token->module->functions->C_GetAttributeValue(session, object, &attribute, 1);
    if (code != CKR_OK || attribute.ulValueLen != sizeof value)
        return FLAG_UNKNOWN;
    return value ? FLAG_TRUE : FLAG_FALSE;
}

/* What the template demands, whatever the uses. An attribute that the module does not
 * tell departs from it when TRUE is demanded, for then nothing vouches for the key. */
static const struct {
    CK_ATTRIBUTE_TYPE type;
    enum flag demanded;
    unsigned waiver;
    const char *departure;
} demands[] = {
    { CKA_SENSITIVE, FLAG_TRUE, WAIVER_NOT_SENSITIVE, "not_sensitive" },
    { CKA_EXTRACTABLE, FLAG_FALSE, WAIVER_EXTRACTABLE, "extractable" },
    { CKA_LOCAL, FLAG_TRUE, WAIVER_NOT_LOCAL, "not_local" },
    { CKA_NEVER_EXTRACTABLE, FLAG_TRUE, WAIVER_NOT_LOCAL, "not_local" },
    { CKA_ALWAYS_SENSITIVE, FLAG_TRUE, WAIVER_NOT_LOCAL, "not_local" },
    { CKA_UNWRAP, FLAG_FALSE, WAIVER_OTHER_USES, "other_uses" },
    { CKA_DERIVE, FLAG_FALSE, WAIVER_OTHER_USES, "other_uses" },
};

static enum ca_status
uses_check(struct token *token, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
           unsigned uses)
{
    unsigned has = 0;
    if (flag_read(token, session, object, CKA_SIGN) == FLAG_TRUE)
        has |= TOKEN_USE_SIGN;
    if (flag_read(token, session, object, CKA_DECRYPT) == FLAG_TRUE)
        has |= TOKEN_USE_DECRYPT;
    /* Signing by another name; no more than it does already for a key that signs. */
    if (!(uses & TOKEN_USE_SIGN) &&
        flag_read(token, session, object, CKA_SIGN_RECOVER) == FLAG_TRUE)
        has |= TOKEN_USE_SIGN;
    if ((has & uses) != uses)
        return ca_fail(CA_FORBIDDEN, "token '%s': the key cannot %s", token->name,
                       uses & ~has & TOKEN_USE_SIGN ? "sign" : "decrypt");
    if (has != uses && !(token->waivers & WAIVER_SIGN_AND_DECRYPT))
        return ca_fail(CA_FORBIDDEN,
                       "token '%s': the key signs and decrypts: refused without the "
                       "waiver 'sign_and_decrypt'",
                       token->name);
    return CA_OK;
}

enum ca_status
object_check(struct token *token, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
             unsigned uses)
{
    for (size_t i = 0; i < sizeof demands / sizeof demands[0]; i++) {
        enum flag is = flag_read(token, session, object, demands[i].type);
        bool holds =
            demands[i].demanded == FLAG_TRUE ? is == FLAG_TRUE : is != FLAG_TRUE;
        if (demands[i].type == CKA_EXTRACTABLE)
            holds = is == FLAG_FALSE;
        if (!holds && !(token->waivers & demands[i].waiver))
            return ca_fail(CA_FORBIDDEN,
                           "token '%s': the key departs from the template (attribute "
                           "0x%lx): refused without the waiver '%s'",
                           token->name, demands[i].type, demands[i].departure);
    }
    /* Each operation would want a PIN again. */
    if (flag_read(token, session, object, CKA_ALWAYS_AUTHENTICATE) == FLAG_TRUE)
        return ca_fail(CA_FORBIDDEN,
                       "token '%s': the key wants a PIN at each use "
                       "(CKA_ALWAYS_AUTHENTICATE)",
                       token->name);
    return uses_check(token, session, object, uses);
}

void
template_add(struct template *template, CK_ATTRIBUTE_TYPE type, const void *value,
             size_t size)
{
    void *pointer = NULL;
    memcpy(&pointer, &value, sizeof pointer);
    template->items[template->count++] = (CK_ATTRIBUTE){ type, pointer, size };
}

void
template_flag(struct template *template, CK_ATTRIBUTE_TYPE type, bool value)
{
    static const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    template_add(template, type, value ? &yes : &no, sizeof(CK_BBOOL));
}

enum ca_status
object_label_check(struct token *token, CK_SESSION_HANDLE session, const char *label)
{
    static const CK_OBJECT_CLASS classes[] = { CKO_PRIVATE_KEY, CKO_PUBLIC_KEY,
                                               CKO_SECRET_KEY };
    struct uri uri = { 0 };
    snprintf(uri.object, sizeof uri.object, "%s", label);
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        CK_OBJECT_HANDLE objects[OBJECT_MATCHES_MAX];
        size_t count = 0;
        enum ca_status status =
            object_search(token, session, classes[i], &uri, objects, &count);
        if (status != CA_OK)
            return status;
        if (count > 0)
            return ca_fail(CA_CONFLICT, "token '%s' has a key '%s' already",
                           token->name, label);
    }
    return CA_OK;
}
