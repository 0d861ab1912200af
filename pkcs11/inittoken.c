/* A new token: its label, the security officer's PIN and the user's (PKCS#11 2.40
 * section 5.5). */
#include "inittoken.h"
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define LABEL_SIZE 32
#define SLOTS_MAX 64

static enum ca_status
failed(const char *call, CK_RV rv)
{
    return ca_fail(CA_INTERNAL, "%s: CKR 0x%lx", call, rv);
}

static enum ca_status
slot_find(CK_FUNCTION_LIST *module, CK_SLOT_ID *ret_slot)
{
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG count = SLOTS_MAX;
    CK_RV rv = module->C_GetSlotList(CK_TRUE, slots, &count);
    if (rv != CKR_OK)
        return failed("C_GetSlotList", rv);
    for (CK_ULONG i = 0; i < count; i++) {
        CK_TOKEN_INFO info;
        if (module->C_GetTokenInfo(slots[i], &info) == CKR_OK &&
            !(info.flags & CKF_TOKEN_INITIALIZED)) {
            *ret_slot = slots[i];
            return CA_OK;
        }
    }
    return ca_fail(CA_UNAVAILABLE, "no slot has a token that is not initialised");
}

/* The user's PIN is set by the officer in a session of his. */
static enum ca_status
pin_set(CK_FUNCTION_LIST *module, CK_SESSION_HANDLE session, const char *so_pin,
        const char *pin)
{
    CK_RV rv = module->C_Login(session, CKU_SO, (CK_UTF8CHAR *)(uintptr_t)so_pin,
                               strlen(so_pin));
    if (rv != CKR_OK)
        return failed("C_Login of the security officer", rv);
    rv = module->C_InitPIN(session, (CK_UTF8CHAR *)(uintptr_t)pin, strlen(pin));
    module->C_Logout(session);
    return rv == CKR_OK ? CA_OK : failed("C_InitPIN", rv);
}

static enum ca_status
token_init(CK_FUNCTION_LIST *module, const struct inittoken *wanted)
{
    CK_SLOT_ID slot;
    enum ca_status status = slot_find(module, &slot);
    if (status != CA_OK)
        return status;
    CK_UTF8CHAR label[LABEL_SIZE];
    memset(label, ' ', sizeof label);
    memcpy(label, wanted->label, strlen(wanted->label));
    CK_RV rv = module->C_InitToken(slot, (CK_UTF8CHAR *)(uintptr_t)wanted->so_pin,
                                   strlen(wanted->so_pin), label);
    if (rv != CKR_OK)
        return failed("C_InitToken", rv);
    CK_SESSION_HANDLE session;
    rv = module->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                               &session);
    if (rv != CKR_OK)
        return failed("C_OpenSession", rv);
    status = pin_set(module, session, wanted->so_pin, wanted->pin);
    module->C_CloseSession(session);
    return status;
}

static enum ca_status
module_run(CK_C_GetFunctionList get_list, const struct inittoken *wanted)
{
    CK_FUNCTION_LIST *module = NULL;
    CK_RV rv = get_list(&module);
    if (rv != CKR_OK)
        return failed("C_GetFunctionList", rv);
    CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK };
    rv = module->C_Initialize(&args);
    if (rv != CKR_OK)
        return failed("C_Initialize", rv);
    enum ca_status status = token_init(module, wanted);
    module->C_Finalize(NULL);
    return status;
}

enum ca_status
inittoken_run(const struct inittoken *wanted)
{
    size_t length = strlen(wanted->label);
    if (length == 0 || length > LABEL_SIZE)
        return ca_fail(CA_MALFORMED, "a token's label has 1 to %d octets", LABEL_SIZE);
    void *library = dlopen(wanted->module, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return ca_fail(CA_UNAVAILABLE, "%s", dlerror());
    CK_C_GetFunctionList get_list;
    void *symbol = dlsym(library, "C_GetFunctionList");
    memcpy(&get_list, &symbol, sizeof get_list);
    enum ca_status status =
        symbol ? module_run(get_list, wanted)
               : ca_fail(CA_UNAVAILABLE, "%s is no PKCS#11 module", wanted->module);
    dlclose(library);
    return status;
}
