/* Looks at a module by direct calls: dlopen, C_Initialize, C_Finalize, no libp11. */
#include "inspect.h"
#include "auto.h"
#include "bringup.h"
#include "uri.h"
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <string.h>

#define SLOTS_MAX 64
#define MECHANISMS_MAX 1024

static const struct wanted {
    CK_MECHANISM_TYPE type;
    CK_FLAGS flag;
    struct inspect_mechanism told;
} wanted[] = {
    { CKM_ECDSA,
      CKF_SIGN,
      { "CKM_ECDSA", "sign", "issuers, OCSP and audit with an EC key", true, false } },
    { CKM_EC_KEY_PAIR_GEN,
      CKF_GENERATE_KEY_PAIR,
      { "CKM_EC_KEY_PAIR_GEN", "generate", "EC keys made in the token", true, false } },
    { CKM_RSA_PKCS,
      CKF_SIGN,
      { "CKM_RSA_PKCS", "sign", "issuers with an RSA key, SCEP answers", true,
        false } },
    { CKM_RSA_PKCS,
      CKF_DECRYPT,
      { "CKM_RSA_PKCS", "decrypt",
        "SCEP requests; without it use another token for "
        "the RA key",
        true, false } },
    { CKM_RSA_PKCS_KEY_PAIR_GEN,
      CKF_GENERATE_KEY_PAIR,
      { "CKM_RSA_PKCS_KEY_PAIR_GEN", "generate", "RSA keys made in the token", true,
        false } },
    { CKM_RSA_PKCS_OAEP,
      CKF_DECRYPT,
      { "CKM_RSA_PKCS_OAEP", "decrypt", "sealed secrets, clients that use OAEP", false,
        false } },
    { CKM_RSA_X_509,
      CKF_SIGN,
      { "CKM_RSA_X_509", "sign", "RSA-PSS with libp11 before 0.4.18", false, false } },
    { CKM_RSA_PKCS_PSS,
      CKF_SIGN,
      { "CKM_RSA_PKCS_PSS", "sign", "RSA-PSS with libp11 from 0.4.18", false, false } },
};
#define WANTED_COUNT (sizeof wanted / sizeof wanted[0])
_Static_assert(WANTED_COUNT <= INSPECT_MECHANISMS_MAX, "a slot has room for all");

/* PKCS#11 pads with spaces and ends with none. */
static void
text_take(const CK_UTF8CHAR *padded, size_t size, char *ret_text)
{
    while (size > 0 && (padded[size - 1] == ' ' || padded[size - 1] == '\0'))
        size--;
    memcpy(ret_text, padded, size);
    ret_text[size] = '\0';
}

static bool
text_is(const char *want, const char *value)
{
    return !want[0] || strcmp(want, value) == 0;
}

static bool
uri_fits(const struct uri *uri, const struct inspect_slot *slot)
{
    return text_is(uri->token, slot->label) && text_is(uri->serial, slot->serial) &&
           text_is(uri->model, slot->model) &&
           text_is(uri->manufacturer, slot->manufacturer);
}

static void
mechanisms_read(CK_FUNCTION_LIST *functions, struct inspect_slot *slot)
{
    CK_ULONG count = 0;
    if (functions->C_GetMechanismList(slot->slot, NULL, &count) == CKR_OK)
        slot->mechanism_total = count;
    for (size_t i = 0; i < WANTED_COUNT; i++) {
        CK_MECHANISM_INFO info;
        struct inspect_mechanism *mechanism = &slot->mechanisms[i];
        *mechanism = wanted[i].told;
        mechanism->is_there = functions->C_GetMechanismInfo(slot->slot, wanted[i].type,
                                                            &info) == CKR_OK &&
                              (info.flags & wanted[i].flag);
    }
    slot->mechanism_count = WANTED_COUNT;
}

static void
token_read(CK_FUNCTION_LIST *functions, const struct uri *uri,
           struct inspect_slot *slot)
{
    CK_TOKEN_INFO info;
    slot->has_token = functions->C_GetTokenInfo(slot->slot, &info) == CKR_OK;
    if (!slot->has_token)
        return;
    text_take(info.label, sizeof info.label, slot->label);
    text_take(info.manufacturerID, sizeof info.manufacturerID, slot->manufacturer);
    text_take(info.model, sizeof info.model, slot->model);
    text_take(info.serialNumber, sizeof info.serialNumber, slot->serial);
    slot->is_initialized = info.flags & CKF_TOKEN_INITIALIZED;
    slot->has_pin = info.flags & CKF_USER_PIN_INITIALIZED;
    slot->pin_is_low = info.flags & CKF_USER_PIN_COUNT_LOW;
    slot->pin_is_at_last_try = info.flags & CKF_USER_PIN_FINAL_TRY;
    slot->pin_is_locked = info.flags & CKF_USER_PIN_LOCKED;
    slot->is_software = bringup_is_software(slot->manufacturer, slot->model);
    slot->is_configured = slot->is_initialized && uri_fits(uri, slot);
    if (info.ulMaxSessionCount != CK_UNAVAILABLE_INFORMATION)
        slot->sessions_max = info.ulMaxSessionCount;
    if (slot->is_initialized)
        mechanisms_read(functions, slot);
}

static enum ca_status
slots_visit(CK_FUNCTION_LIST *functions, const struct token_config *config,
            inspect_visit visit, void *arg)
{
    CK_SLOT_ID ids[SLOTS_MAX];
    CK_ULONG count = SLOTS_MAX;
    struct uri uri;
    enum ca_status status = uri_parse(config->uri, &uri);
    if (status != CA_OK)
        return status;
    CK_RV code = functions->C_GetSlotList(CK_FALSE, ids, &count);
    if (code != CKR_OK)
        return ca_fail(CA_UNAVAILABLE, "%s: C_GetSlotList: CKR 0x%lx", config->module,
                       code);
    for (CK_ULONG i = 0; i < count; i++) {
        struct inspect_slot slot = { .module = config->module, .slot = ids[i] };
        CK_SLOT_INFO info;
        if (functions->C_GetSlotInfo(ids[i], &info) == CKR_OK)
            text_take(info.slotDescription, sizeof info.slotDescription,
                      slot.description);
        token_read(functions, &uri, &slot);
        visit(&slot, arg);
    }
    return CA_OK;
}

static enum ca_status
functions_run(CK_FUNCTION_LIST *functions, const struct token_config *config,
              inspect_visit visit, void *arg)
{
    CK_C_INITIALIZE_ARGS arguments = { .flags = CKF_OS_LOCKING_OK };
    if (config->arguments) {
        char *text =
            (char *)(uintptr_t)config->arguments; /* the module only reads it */
        arguments.pReserved = text;
    }
    CK_RV code = functions->C_Initialize(&arguments);
    if (code != CKR_OK)
        return ca_fail(CA_UNAVAILABLE, "%s: C_Initialize: CKR 0x%lx", config->module,
                       code);
    enum ca_status status = slots_visit(functions, config, visit, arg);
    functions->C_Finalize(NULL);
    return status;
}

enum ca_status
inspect_module(const struct token_config *config, inspect_visit visit, void *arg)
{
    for (const char *const *at = config->environment; at && *at; at++) {
        const char *equal = strchr(*at, '=');
        CA_AUTO(free) char *name = equal ? strndup(*at, (size_t)(equal - *at)) : NULL;
        if (!name || setenv(name, equal + 1, 1) != 0)
            return ca_fail(CA_MALFORMED, "token '%s': environment is \"NAME=VALUE\"",
                           config->name);
    }
    void *library = dlopen(config->module, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return ca_fail(CA_UNAVAILABLE, "%s", dlerror());
    CK_C_GetFunctionList get_list;
    CK_FUNCTION_LIST *functions = NULL;
    void *symbol = dlsym(library, "C_GetFunctionList");
    memcpy(&get_list, &symbol, sizeof get_list);
    enum ca_status status;
    if (!symbol || get_list(&functions) != CKR_OK || !functions)
        status = ca_fail(CA_UNAVAILABLE, "%s is no PKCS#11 module", config->module);
    else
        status = functions_run(functions, config, visit, arg);
    dlclose(library);
    return status;
}
