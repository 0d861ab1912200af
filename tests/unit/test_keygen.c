/* Generation inside the token: template, names, refusals; and keys that others made. */
#include "auto.h"
#include "keygen.h"
#include "leak.h"
#include "softhsm_rig.h"
#include "token.h"
#include "uri.h"
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <string.h>

TestSuite(keygen, .init = hsm_make, .fini = hsm_remove);

/* SoftHSM itself, as another program would use it. */
static CK_FUNCTION_LIST *
module_functions(void)
{
    CK_FUNCTION_LIST *functions = NULL;
    CK_C_GetFunctionList get = NULL;
    void *library = dlopen(SOFTHSM_MODULE, RTLD_NOW);
    cr_assert_not_null(library);
    *(void **)&get = dlsym(library, "C_GetFunctionList");
    cr_assert_eq(get(&functions), CKR_OK);
    return functions;
}

static CK_SESSION_HANDLE
module_session(CK_FUNCTION_LIST *functions, bool logs_in)
{
    CK_SLOT_ID slots[8], slot = 0;
    CK_ULONG count = 8;
    CK_SESSION_HANDLE session = 0;
    cr_assert_eq(functions->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
    for (CK_ULONG i = 0; i < count; i++) {
        CK_TOKEN_INFO info;
        cr_assert_eq(functions->C_GetTokenInfo(slots[i], &info), CKR_OK);
        if (info.flags & CKF_TOKEN_INITIALIZED)
            slot = slots[i];
    }
    cr_assert_eq(functions->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION,
                                          NULL, NULL, &session),
                 CKR_OK);
    CK_UTF8CHAR pin[] = SOFTHSM_PIN;
    if (logs_in)
        cr_assert_eq(functions->C_Login(session, CKU_USER, pin, strlen(SOFTHSM_PIN)),
                     CKR_OK);
    return session;
}

static CK_OBJECT_HANDLE
object_find(CK_FUNCTION_LIST *functions, CK_SESSION_HANDLE session,
            CK_OBJECT_CLASS class, const char *label)
{
    CK_OBJECT_HANDLE object = 0;
    CK_ULONG count = 0;
    char name[32];
    snprintf(name, sizeof name, "%s", label);
    CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof class },
                                { CKA_LABEL, name, strlen(name) } };
    cr_assert_eq(functions->C_FindObjectsInit(session, template, 2), CKR_OK);
    cr_assert_eq(functions->C_FindObjects(session, &object, 1, &count), CKR_OK);
    cr_assert_eq(functions->C_FindObjectsFinal(session), CKR_OK);
    cr_assert_eq(count, 1, "%s", label);
    return object;
}

static bool
flag(CK_FUNCTION_LIST *functions, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
     CK_ATTRIBUTE_TYPE type)
{
    CK_BBOOL value = 2;
    CK_ATTRIBUTE attribute = { type, &value, sizeof value };
    cr_assert_eq(functions->C_GetAttributeValue(session, object, &attribute, 1), CKR_OK,
                 "attribute 0x%lx", type);
    return value == CK_TRUE;
}

Test(keygen, I6_private_keys_hold_to_the_template)
{
    static const struct {
        CK_ATTRIBUTE_TYPE type;
        bool signs, decrypts; /* its value in a key to sign, to decrypt */
    } expected[] = {
        { CKA_TOKEN, true, true },         { CKA_PRIVATE, true, true },
        { CKA_SENSITIVE, true, true },     { CKA_ALWAYS_SENSITIVE, true, true },
        { CKA_EXTRACTABLE, false, false }, { CKA_NEVER_EXTRACTABLE, true, true },
        { CKA_LOCAL, true, true },         { CKA_MODIFIABLE, false, false },
        { CKA_COPYABLE, false, false },    { CKA_SIGN, true, false },
        { CKA_DECRYPT, false, true },      { CKA_UNWRAP, false, false },
        { CKA_DERIVE, false, false },      { CKA_SIGN_RECOVER, false, false },
    };
    struct token_set *set = softhsm_open(&hsm);
    softhsm_key(set, "signs", "p-256", TOKEN_USE_SIGN);
    softhsm_key(set, "decrypts", "rsa-2048", TOKEN_USE_DECRYPT);
    CK_FUNCTION_LIST *functions = module_functions();
    CK_SESSION_HANDLE session = module_session(functions, false);
    CK_OBJECT_HANDLE signs = object_find(functions, session, CKO_PRIVATE_KEY, "signs");
    CK_OBJECT_HANDLE decrypts =
        object_find(functions, session, CKO_PRIVATE_KEY, "decrypts");
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        cr_expect_eq(flag(functions, session, signs, expected[i].type),
                     expected[i].signs, "attribute 0x%lx", expected[i].type);
        cr_expect_eq(flag(functions, session, decrypts, expected[i].type),
                     expected[i].decrypts, "attribute 0x%lx", expected[i].type);
    }
    uint8_t value[512];
    CK_ATTRIBUTE secret = { CKA_VALUE, value, sizeof value };
    CK_ATTRIBUTE exponent = { CKA_PRIVATE_EXPONENT, value, sizeof value };
    cr_expect_neq(functions->C_GetAttributeValue(session, signs, &secret, 1), CKR_OK);
    cr_expect_neq(functions->C_GetAttributeValue(session, decrypts, &exponent, 1),
                  CKR_OK);
    CK_OBJECT_HANDLE public = object_find(functions, session, CKO_PUBLIC_KEY, "signs");
    cr_expect(flag(functions, session, public, CKA_VERIFY));
    cr_expect(!flag(functions, session, public, CKA_ENCRYPT));
    cr_expect(!flag(functions, session, public, CKA_WRAP));
    cr_expect(!flag(functions, session, public, CKA_PRIVATE));
    functions->C_CloseSession(session);
    token_set_free(set);
    LEAK_CHECK();
}

Test(keygen, URI_names_token_label_and_a_random_id)
{
    struct token_set *set = softhsm_open(&hsm);
    const struct keygen wanted = { "issuing 1", "p-256", TOKEN_USE_SIGN };
    const struct keygen other = { "issuing 2", "p-256", TOKEN_USE_SIGN };
    CA_AUTO(free) char *text = NULL, *other_text = NULL;
    struct uri uri, other_uri;
    cr_assert_eq(keygen_generate(set, "hsm", &wanted, &text), CA_OK);
    cr_assert_eq(keygen_generate(set, "hsm", &other, &other_text), CA_OK);
    cr_assert_eq(uri_parse(text, &uri), CA_OK, "%s", text);
    cr_assert_eq(uri_parse(other_text, &other_uri), CA_OK);
    cr_expect_str_eq(uri.token, "ca");
    cr_expect_str_eq(uri.serial, hsm.serial);
    cr_expect_str_eq(uri.object, "issuing 1");
    cr_expect_eq(uri.id_size, TOKEN_KEY_ID_SIZE);
    cr_expect_neq(memcmp(uri.id, other_uri.id, TOKEN_KEY_ID_SIZE), 0);
    struct token_key *key = NULL;
    cr_expect_eq(token_key_find(set, text, TOKEN_USE_SIGN, NULL, &key), CA_OK);
    token_set_free(set);
    LEAK_CHECK();
}

Test(keygen, what_cannot_be_is_refused)
{
    static const struct {
        const char *name, *token;
        struct keygen wanted;
        enum ca_status status;
    } cases[] = {
        { "RSA-1024", "hsm", { "a", "rsa-1024", TOKEN_USE_SIGN }, CA_UNSUPPORTED },
        { "no curve of ours", "hsm", { "a", "p-192", TOKEN_USE_SIGN }, CA_UNSUPPORTED },
        { "EC decrypts", "hsm", { "a", "p-256", TOKEN_USE_DECRYPT }, CA_UNSUPPORTED },
        { "no use", "hsm", { "a", "p-256", 0 }, CA_MALFORMED },
        { "unknown use", "hsm", { "a", "p-256", 8 }, CA_MALFORMED },
        { "empty label", "hsm", { "", "p-256", TOKEN_USE_SIGN }, CA_MALFORMED },
        { "control character",
          "hsm",
          { "a\n", "p-256", TOKEN_USE_SIGN },
          CA_MALFORMED },
        { "no such token", "other", { "a", "p-256", TOKEN_USE_SIGN }, CA_NOT_FOUND },
        { "label in use", "hsm", { "used", "rsa-2048", TOKEN_USE_SIGN }, CA_CONFLICT },
    };
    struct token_set *set = softhsm_open(&hsm);
    softhsm_key(set, "used", "p-256", TOKEN_USE_SIGN);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *uri = NULL;
        cr_expect_eq(keygen_generate(set, cases[i].token, &cases[i].wanted, &uri),
                     cases[i].status, "%s: %s", cases[i].name, status_message());
        cr_expect_null(uri);
    }
    token_set_free(set);
    LEAK_CHECK();
}

/* An RSA pair as another tool would make it. */
struct foreign {
    const char *name, *label, *id;
    CK_BBOOL sensitive, extractable, unwraps, decrypts, derives, always;
    const char *waiver;
};

static void
foreign_make(CK_FUNCTION_LIST *functions, CK_SESSION_HANDLE session,
             const struct foreign *foreign)
{
    uint8_t exponent[] = { 1, 0, 1 };
    CK_ULONG bits = 2048;
    CK_BBOOL yes = CK_TRUE;
    char label[32], id[32];
    struct foreign copy = *foreign;
    CK_OBJECT_HANDLE public = 0, private = 0;
    CK_MECHANISM mechanism = { CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0 };
    snprintf(label, sizeof label, "%s", foreign->label);
    snprintf(id, sizeof id, "%s", foreign->id);
    CK_ATTRIBUTE public_template[] = {
        { CKA_TOKEN, &yes, 1 },
        { CKA_VERIFY, &yes, 1 },
        { CKA_MODULUS_BITS, &bits, sizeof bits },
        { CKA_PUBLIC_EXPONENT, exponent, 3 },
        { CKA_LABEL, label, strlen(label) },
        { CKA_ID, id, strlen(id) },
    };
    CK_ATTRIBUTE private_template[] = {
        { CKA_TOKEN, &yes, 1 },
        { CKA_PRIVATE, &yes, 1 },
        { CKA_SIGN, &yes, 1 },
        { CKA_SENSITIVE, &copy.sensitive, 1 },
        { CKA_EXTRACTABLE, &copy.extractable, 1 },
        { CKA_UNWRAP, &copy.unwraps, 1 },
        { CKA_DECRYPT, &copy.decrypts, 1 },
        { CKA_DERIVE, &copy.derives, 1 },
        { CKA_ALWAYS_AUTHENTICATE, &copy.always, 1 },
        { CKA_LABEL, label, strlen(label) },
        { CKA_ID, id, strlen(id) },
    };
    cr_assert_eq(functions->C_GenerateKeyPair(session, &mechanism, public_template, 6,
                                              private_template, 11, &public, &private),
                 CKR_OK, "%s", foreign->name);
}

static enum ca_status
find_with(const char *waiver, const char *label)
{
    const char *waivers[] = { "software", waiver, NULL };
    char uri[64];
    struct token_config config = hsm.config;
    struct token_set *set = NULL;
    struct token_key *key = NULL;
    config.waivers = waivers;
    cr_assert_eq(token_set_open(&config, 1, &set), CA_OK, "%s", status_message());
    snprintf(uri, sizeof uri, "pkcs11:token=ca;object=%s", label);
    enum ca_status status = token_key_find(set, uri, TOKEN_USE_SIGN, NULL, &key);
    token_set_free(set);
    return status;
}

Test(keygen, I6_keys_off_the_template_need_their_waiver)
{
    static const struct foreign cases[] = {
        { .name = "as it should be", .label = "good", .sensitive = 1 },
        { .name = "extractable", .label = "e", .sensitive = 1, .extractable = 1 },
        { .name = "signs and decrypts",
          .label = "d",
          .sensitive = 1,
          .decrypts = 1,
          .waiver = "sign_and_decrypt" },
        { .name = "unwraps",
          .label = "u",
          .sensitive = 1,
          .unwraps = 1,
          .waiver = "other_uses" },
        { .name = "derives",
          .label = "v",
          .sensitive = 1,
          .derives = 1,
          .waiver = "other_uses" },
    };
    CK_FUNCTION_LIST *functions = module_functions();
    cr_assert_eq(functions->C_Initialize(NULL), CKR_OK);
    CK_SESSION_HANDLE session = module_session(functions, true);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct foreign foreign = cases[i];
        foreign.id = foreign.label;
        foreign_make(functions, session, &foreign);
    }
    cr_assert_eq(functions->C_Finalize(NULL), CKR_OK);

    cr_expect_eq(find_with(NULL, "good"), CA_OK, "%s", status_message());
    for (size_t i = 1; i < sizeof cases / sizeof cases[0]; i++) {
        cr_expect_eq(find_with(NULL, cases[i].label), CA_FORBIDDEN, "%s",
                     cases[i].name);
        if (cases[i].waiver)
            cr_expect_eq(find_with(cases[i].waiver, cases[i].label), CA_OK, "%s: %s",
                         cases[i].name, status_message());
    }
    /* Extractable, and so never "never extractable": two waivers, not one. */
    cr_expect_eq(find_with("extractable", "e"), CA_FORBIDDEN);
    cr_expect_eq(find_with("not_local", "e"), CA_FORBIDDEN);
}

Test(keygen, pitfall_two_keys_with_one_id_are_refused)
{
    CK_FUNCTION_LIST *functions = module_functions();
    cr_assert_eq(functions->C_Initialize(NULL), CKR_OK);
    CK_SESSION_HANDLE session = module_session(functions, true);
    foreign_make(functions, session,
                 &(struct foreign){ .label = "one", .id = "same", .sensitive = 1 });
    foreign_make(functions, session,
                 &(struct foreign){ .label = "two", .id = "same", .sensitive = 1 });
    foreign_make(functions, session,
                 &(struct foreign){ .label = "twin", .id = "a", .sensitive = 1 });
    foreign_make(functions, session,
                 &(struct foreign){ .label = "twin", .id = "b", .sensitive = 1 });
    cr_assert_eq(functions->C_Finalize(NULL), CKR_OK);
    struct token_set *set = softhsm_open(&hsm);
    struct token_key *key = NULL;
    static const struct {
        const char *uri;
        enum ca_status status;
    } cases[] = {
        { "pkcs11:token=ca;object=one", CA_CONFLICT },
        { "pkcs11:token=ca;id=same", CA_CONFLICT },
        { "pkcs11:token=ca;object=one;id=same", CA_CONFLICT },
        { "pkcs11:token=ca;object=twin", CA_CONFLICT },
        { "pkcs11:token=ca;object=twin;id=b", CA_OK },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_expect_eq(token_key_find(set, cases[i].uri, TOKEN_USE_SIGN, NULL, &key),
                     cases[i].status, "%s: %s", cases[i].uri, status_message());
    token_set_free(set);
    LEAK_CHECK();
}

Test(keygen, pitfall_a_key_that_wants_a_PIN_at_each_use_is_refused)
{
    CK_FUNCTION_LIST *functions = module_functions();
    cr_assert_eq(functions->C_Initialize(NULL), CKR_OK);
    CK_SESSION_HANDLE session = module_session(functions, true);
    foreign_make(
        functions, session,
        &(struct foreign){ .label = "a", .id = "a", .sensitive = 1, .always = 1 });
    cr_assert_eq(functions->C_Finalize(NULL), CKR_OK);
    cr_expect_eq(find_with("other_uses", "a"), CA_FORBIDDEN);
    cr_expect(strstr(status_message(), "ALWAYS_AUTHENTICATE"), "%s", status_message());
}
