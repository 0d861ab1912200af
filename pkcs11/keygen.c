/* Generates key pairs inside a token by C_GenerateKeyPair, with the one template. */
#include "keygen.h"
#include "auto.h"
#include "clock.h"
#include "object.h"
#include "text.h"
#include "token_key.h"
#include <stdlib.h>
#include <string.h>

/* DER of the curves' object identifiers. */
static const uint8_t curve_p256[] = { 0x06, 0x08, 0x2a, 0x86, 0x48,
                                      0xce, 0x3d, 0x03, 0x01, 0x07 };
static const uint8_t curve_p384[] = { 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22 };

struct algorithm {
    const char *name;
    CK_MECHANISM_TYPE mechanism;
    CK_ULONG bits; /* RSA */
    const uint8_t *curve;
    size_t curve_size;
};

static const struct algorithm algorithms[] = {
    { "rsa-2048", CKM_RSA_PKCS_KEY_PAIR_GEN, 2048, NULL, 0 },
    { "rsa-3072", CKM_RSA_PKCS_KEY_PAIR_GEN, 3072, NULL, 0 },
    { "rsa-4096", CKM_RSA_PKCS_KEY_PAIR_GEN, 4096, NULL, 0 },
    { "p-256", CKM_EC_KEY_PAIR_GEN, 0, curve_p256, sizeof curve_p256 },
    { "p-384", CKM_EC_KEY_PAIR_GEN, 0, curve_p384, sizeof curve_p384 },
};

static const struct algorithm *
algorithm_find(const char *name)
{
    for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++) {
        if (strcmp(algorithms[i].name, name) == 0)
            return &algorithms[i];
    }
    return NULL;
}

static void
private_template(struct template *template, const struct keygen *wanted, int extras)
{
    template_flag(template, CKA_TOKEN, true);
    template_flag(template, CKA_PRIVATE, true);
    template_flag(template, CKA_SENSITIVE, true);
    template_flag(template, CKA_EXTRACTABLE, false);
    template_flag(template, CKA_UNWRAP, false);
    template_flag(template, CKA_DERIVE, false);
    template_flag(template, CKA_MODIFIABLE, false);
    if (extras >= 1)
        template_flag(template, CKA_SIGN_RECOVER, false);
    if (extras >= 2)
        template_flag(template, CKA_COPYABLE, false);
    template_flag(template, CKA_SIGN, wanted->uses & TOKEN_USE_SIGN);
    template_flag(template, CKA_DECRYPT, wanted->uses & TOKEN_USE_DECRYPT);
}

static void
public_template(struct template *template, const struct keygen *wanted,
                const struct algorithm *algorithm)
{
    static const uint8_t exponent[] = { 0x01, 0x00, 0x01 };
    template_flag(template, CKA_TOKEN, true);
    template_flag(template, CKA_PRIVATE, false);
    template_flag(template, CKA_WRAP, false);
    template_flag(template, CKA_VERIFY, wanted->uses & TOKEN_USE_SIGN);
    template_flag(template, CKA_ENCRYPT, wanted->uses & TOKEN_USE_DECRYPT);
    if (algorithm->curve) {
        template_add(template, CKA_EC_PARAMS, algorithm->curve, algorithm->curve_size);
    } else {
        template_add(template, CKA_MODULUS_BITS, &algorithm->bits,
                     sizeof algorithm->bits);
        template_add(template, CKA_PUBLIC_EXPONENT, exponent, sizeof exponent);
    }
}

struct pair {
    CK_OBJECT_HANDLE public, private;
};

static CK_RV
pair_generate(struct token *token, CK_SESSION_HANDLE session,
              const struct keygen *wanted, const uint8_t id[TOKEN_KEY_ID_SIZE],
              struct pair *ret_pair)
{
    const struct algorithm *algorithm = algorithm_find(wanted->algorithm);
    if (!algorithm)
        return CKR_MECHANISM_INVALID;
    CK_MECHANISM mechanism = { algorithm->mechanism, NULL, 0 };
    CK_RV code = CKR_OK;
    /* Some modules do not know CKA_COPYABLE, and say so (opencryptoki) or something
     * else (NSS: CKR_GENERAL_ERROR); what came out is read back in any case. */
    for (int extras = 2; extras >= 0; extras--) {
        struct template public = { .count = 0 }, private = { .count = 0 };
        public_template(&public, wanted, algorithm);
        private_template(&private, wanted, extras);
        template_add(&public, CKA_LABEL, wanted->label, strlen(wanted->label));
        template_add(&private, CKA_LABEL, wanted->label, strlen(wanted->label));
        template_add(&public, CKA_ID, id, TOKEN_KEY_ID_SIZE);
        template_add(&private, CKA_ID, id, TOKEN_KEY_ID_SIZE);
        code = token->module->functions->C_GenerateKeyPair(
            session, &mechanism, public.items, public.count, private.items,
            private.count, &ret_pair->public, &ret_pair->private);
        if (code != CKR_ATTRIBUTE_TYPE_INVALID && code != CKR_ATTRIBUTE_VALUE_INVALID &&
            code != CKR_TEMPLATE_INCONSISTENT && code != CKR_GENERAL_ERROR)
            break;
    }
    return code;
}

static enum ca_status
generate(struct token *token, CK_SESSION_HANDLE session, const struct keygen *wanted,
         struct uri *ret_uri)
{
    uint8_t id[TOKEN_KEY_ID_SIZE];
    struct pair pair = { 0, 0 };
    struct uri uri = { 0 };
    enum ca_status status = object_label_check(token, session, wanted->label);
    if (status == CA_OK)
        status = random_bytes(id, sizeof id);
    if (status != CA_OK)
        return status;
    CK_RV code = pair_generate(token, session, wanted, id, &pair);
    if (code != CKR_OK)
        return module_fail(CA_UNAVAILABLE, token->module, "C_GenerateKeyPair", code);
    status = object_check(token, session, pair.private, wanted->uses);
    if (status == CA_OK)
        status = object_name(token, session, pair.private, &uri);
    if (status == CA_OK && (uri.id_size != sizeof id || memcmp(uri.id, id, sizeof id) ||
                            strcmp(uri.object, wanted->label) != 0))
        status = ca_fail(CA_FORBIDDEN, "token '%s' gave the key another id or label",
                         token->name);
    if (status != CA_OK) {
        token->module->functions->C_DestroyObject(session, pair.private);
        token->module->functions->C_DestroyObject(session, pair.public);
        return status;
    }
    *ret_uri = uri;
    return CA_OK;
}

static enum ca_status
wanted_check(const struct keygen *wanted)
{
    size_t length = wanted->label ? strlen(wanted->label) : 0;
    const struct algorithm *algorithm = algorithm_find(wanted->algorithm);
    if (length == 0 || length > URI_LABEL_MAX || !text_is_clean(wanted->label, length))
        return ca_fail(CA_MALFORMED, "a key's label is 1 to %d clean octets",
                       URI_LABEL_MAX);
    if (!algorithm)
        return ca_fail(CA_UNSUPPORTED, "no key algorithm '%s'", wanted->algorithm);
    if (wanted->uses == 0 || wanted->uses > (TOKEN_USE_SIGN | TOKEN_USE_DECRYPT))
        return ca_fail(CA_MALFORMED, "a key signs, decrypts or both");
    if (algorithm->curve && (wanted->uses & TOKEN_USE_DECRYPT))
        return ca_fail(CA_UNSUPPORTED, "a key '%s' cannot decrypt", wanted->algorithm);
    return CA_OK;
}

/* With the write lock: generation shares no session with signers, and a new object in
 * libp11's lists would move the old ones. */
static enum ca_status
token_generate(struct token *token, const struct keygen *wanted, struct uri *ret_uri)
{
    CK_SESSION_HANDLE session = 0;
    if (!token->slot[0])
        return ca_fail(CA_UNAVAILABLE, "token '%s' is down", token->name);
    enum ca_status status = session_open(token, true, &session);
    if (status != CA_OK)
        return status;
    status = generate(token, session, wanted, ret_uri);
    session_close(token, session);
    return status;
}

enum ca_status
keygen_generate(struct token_set *set, const char *name, const struct keygen *wanted,
                char **ret_uri)
{
    struct uri uri = { 0 };
    enum ca_status status = wanted_check(wanted);
    if (status != CA_OK)
        return status;
    struct token *token = token_named(set, name);
    if (!token)
        return ca_fail(CA_NOT_FOUND, "no token '%s' is configured", name);
    pthread_rwlock_wrlock(&token->module->lock);
    status = token_generate(token, wanted, &uri);
    pthread_rwlock_unlock(&token->module->lock);
    if (status != CA_OK)
        return status;
    char *text = token_uri(token, &uri);
    if (!text)
        return ca_fail(CA_INTERNAL, "out of memory");
    *ret_uri = text;
    return CA_OK;
}
