/* Loads a PKCS#11 library through libp11 and lists its slots. */
#include "module.h"
#include "auto.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ui.h>
#include <string.h>
#include <sys/stat.h>

#define SLOTS_MAX 256 /* more than any library offers */

static pthread_mutex_t claimed_lock = PTHREAD_MUTEX_INITIALIZER;
static struct module *claimed;

static const struct {
    CK_RV code;
    const char *name;
} code_names[] = {
    { CKR_HOST_MEMORY, "CKR_HOST_MEMORY" },
    { CKR_GENERAL_ERROR, "CKR_GENERAL_ERROR" },
    { CKR_FUNCTION_FAILED, "CKR_FUNCTION_FAILED" },
    { CKR_ARGUMENTS_BAD, "CKR_ARGUMENTS_BAD" },
    { CKR_ATTRIBUTE_SENSITIVE, "CKR_ATTRIBUTE_SENSITIVE" },
    { CKR_ATTRIBUTE_TYPE_INVALID, "CKR_ATTRIBUTE_TYPE_INVALID" },
    { CKR_ATTRIBUTE_VALUE_INVALID, "CKR_ATTRIBUTE_VALUE_INVALID" },
    { CKR_DEVICE_ERROR, "CKR_DEVICE_ERROR" },
    { CKR_DEVICE_MEMORY, "CKR_DEVICE_MEMORY" },
    { CKR_DEVICE_REMOVED, "CKR_DEVICE_REMOVED" },
    { CKR_FUNCTION_NOT_SUPPORTED, "CKR_FUNCTION_NOT_SUPPORTED" },
    { CKR_KEY_HANDLE_INVALID, "CKR_KEY_HANDLE_INVALID" },
    { CKR_KEY_FUNCTION_NOT_PERMITTED, "CKR_KEY_FUNCTION_NOT_PERMITTED" },
    { CKR_MECHANISM_INVALID, "CKR_MECHANISM_INVALID" },
    { CKR_OBJECT_HANDLE_INVALID, "CKR_OBJECT_HANDLE_INVALID" },
    { CKR_OPERATION_ACTIVE, "CKR_OPERATION_ACTIVE" },
    { CKR_OPERATION_NOT_INITIALIZED, "CKR_OPERATION_NOT_INITIALIZED" },
    { CKR_PIN_INCORRECT, "CKR_PIN_INCORRECT" },
    { CKR_PIN_INVALID, "CKR_PIN_INVALID" },
    { CKR_PIN_LEN_RANGE, "CKR_PIN_LEN_RANGE" },
    { CKR_PIN_EXPIRED, "CKR_PIN_EXPIRED" },
    { CKR_PIN_LOCKED, "CKR_PIN_LOCKED" },
    { CKR_SESSION_CLOSED, "CKR_SESSION_CLOSED" },
    { CKR_SESSION_COUNT, "CKR_SESSION_COUNT" },
    { CKR_SESSION_HANDLE_INVALID, "CKR_SESSION_HANDLE_INVALID" },
    { CKR_TEMPLATE_INCONSISTENT, "CKR_TEMPLATE_INCONSISTENT" },
    { CKR_TOKEN_NOT_PRESENT, "CKR_TOKEN_NOT_PRESENT" },
    { CKR_TOKEN_NOT_RECOGNIZED, "CKR_TOKEN_NOT_RECOGNIZED" },
    { CKR_TOKEN_WRITE_PROTECTED, "CKR_TOKEN_WRITE_PROTECTED" },
    { CKR_USER_NOT_LOGGED_IN, "CKR_USER_NOT_LOGGED_IN" },
    { CKR_USER_PIN_NOT_INITIALIZED, "CKR_USER_PIN_NOT_INITIALIZED" },
    { CKR_CRYPTOKI_NOT_INITIALIZED, "CKR_CRYPTOKI_NOT_INITIALIZED" },
};

const char *
module_code_name(CK_RV code)
{
    for (size_t i = 0; i < sizeof code_names / sizeof code_names[0]; i++) {
        if (code_names[i].code == code)
            return code_names[i].name;
    }
    return NULL;
}

enum ca_status
module_fail(enum ca_status status, const struct module *module, const char *function,
            CK_RV code)
{
    const char *name = module_code_name(code);
    return ca_fail(status, "%s: %s gave 0x%lx%s%s", module->path, function, code,
                   name ? " " : "", name ? name : "");
}

enum ca_status
module_fault(enum ca_status status, const struct module *module, const char *what)
{
    struct guard_fault fault = guard_fault();
    if (!fault.function)
        return ca_fail_openssl(status, "%s: %s", module->path, what);
    ERR_clear_error();
    const char *name = module_code_name(fault.code);
    return ca_fail(status, "%s: %s: %s gave 0x%lx%s%s", module->path, what,
                   fault.function, fault.code, name ? " " : "", name ? name : "");
}

bool
module_is_at(const struct module *module, const char *path)
{
    struct stat file;
    return stat(path, &file) == 0 && file.st_dev == module->device &&
           file.st_ino == module->inode;
}

static void
lock_init(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes,
                                  PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
}

/* Enters the module in the process's list unless its library is there already. */
static bool
module_enter(struct module *module)
{
    bool is_new = true;
    pthread_mutex_lock(&claimed_lock);
    for (struct module *other = claimed; other; other = other->next) {
        if (other->device == module->device && other->inode == module->inode)
            is_new = false;
    }
    if (is_new) {
        module->next = claimed;
        claimed = module;
    }
    pthread_mutex_unlock(&claimed_lock);
    return is_new;
}

static void
module_leave(struct module *module)
{
    pthread_mutex_lock(&claimed_lock);
    for (struct module **at = &claimed; *at; at = &(*at)->next) {
        if (*at == module) {
            *at = module->next;
            break;
        }
    }
    pthread_mutex_unlock(&claimed_lock);
}

static void
module_destroy(struct module *module)
{
    pthread_rwlock_destroy(&module->lock);
    pthread_mutex_destroy(&module->state_lock);
    pthread_cond_destroy(&module->changed);
    free(module->path);
    free(module->arguments);
    free(module);
}

enum ca_status
module_claim(const char *path, const char *arguments, struct module **ret_module)
{
    struct stat file;
    if (path[0] != '/')
        return ca_fail(CA_MALFORMED, "module '%s': an absolute path is needed", path);
    if (stat(path, &file) != 0)
        return ca_fail(CA_UNAVAILABLE, "module %s: %s", path, strerror(errno));
    struct module *module = calloc(1, sizeof *module);
    if (!module)
        return ca_fail(CA_INTERNAL, "out of memory");
    lock_init(&module->lock);
    pthread_mutex_init(&module->state_lock, NULL);
    pthread_cond_init(&module->changed, NULL);
    module->device = file.st_dev;
    module->inode = file.st_ino;
    module->path = strdup(path);
    module->arguments = arguments ? strdup(arguments) : NULL;
    if (!module->path || (arguments && !module->arguments)) {
        module_destroy(module);
        return ca_fail(CA_INTERNAL, "out of memory");
    }
    if (!module_enter(module)) {
        module_destroy(module);
        return ca_fail(CA_CONFLICT, "module %s is in use by this process already",
                       path);
    }
    *ret_module = module;
    return CA_OK;
}

/* libp11 asks for a PIN at each signature with a key that demands it: by a method that
 * never opens, so that nothing reads from a terminal. */
static int
prompt_refuse(UI *ui)
{
    (void)ui;
    return 0;
}

static UI_METHOD *
silent_method(void)
{
    static UI_METHOD *method;
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    if (!method) {
        method = UI_create_method("sealwright: no prompts");
        if (method)
            UI_method_set_opener(method, prompt_refuse);
    }
    pthread_mutex_unlock(&lock);
    return method;
}

enum ca_status
module_load(struct module *module)
{
    const char *reason = NULL;
    if (!module->guard)
        module->guard = guard_open(module->path, &reason);
    if (!module->guard)
        return ca_fail(CA_UNAVAILABLE, "module %s does not load: %s", module->path,
                       reason);
    module->context = PKCS11_CTX_new();
    if (!module->context || !silent_method() || !guard_path())
        return ca_fail(CA_INTERNAL, "out of memory");
    if (module->arguments)
        PKCS11_CTX_init_args(module->context, module->arguments);
    ERR_clear_error();
    guard_forget();
    guard_select(module->guard);
    int loaded = PKCS11_CTX_load(module->context, guard_path());
    guard_select(NULL);
    if (loaded != 0) {
        PKCS11_CTX_free(module->context);
        module->context = NULL;
        return module_fault(CA_UNAVAILABLE, module, "does not initialise");
    }
    PKCS11_set_ui_method(module->context, silent_method(), NULL);
    module->functions = guard_functions(module->guard);
    return CA_OK;
}

/* Does each slot answer? libp11 loses memory with every slot that does not. */
static enum ca_status
slots_probe(const struct module *module)
{
    CK_FUNCTION_LIST *functions = module->functions;
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG count = SLOTS_MAX;
    CK_RV code = functions->C_GetSlotList(CK_FALSE, slots, &count);
    if (code != CKR_OK)
        return module_fail(CA_UNAVAILABLE, module, "C_GetSlotList", code);
    for (CK_ULONG i = 0; i < count; i++) {
        CK_SLOT_INFO slot;
        CK_TOKEN_INFO token;
        code = functions->C_GetSlotInfo(slots[i], &slot);
        if (code != CKR_OK)
            return module_fail(CA_UNAVAILABLE, module, "C_GetSlotInfo", code);
        if (slot.flags & CKF_TOKEN_PRESENT)
            code = functions->C_GetTokenInfo(slots[i], &token);
        if (code != CKR_OK)
            return module_fail(CA_UNAVAILABLE, module, "C_GetTokenInfo", code);
    }
    return count > 0 ? CA_OK
                     : ca_fail(CA_UNAVAILABLE, "%s: there is no slot", module->path);
}

enum ca_status
module_enumerate(struct module *module, size_t lane_count)
{
    enum ca_status status = slots_probe(module);
    if (status != CA_OK)
        return status;
    for (; module->lane_count < lane_count; module->lane_count++) {
        struct module_lane *lane = &module->lanes[module->lane_count];
        ERR_clear_error();
        guard_forget();
        if (PKCS11_enumerate_slots(module->context, &lane->slots, &lane->count) != 0) {
            *lane = (struct module_lane){ 0 };
            return module_fault(CA_UNAVAILABLE, module, "slots cannot be listed");
        }
    }
    return CA_OK;
}

void
module_release(struct module *module)
{
    while (module->lane_count > 0) {
        struct module_lane *lane = &module->lanes[--module->lane_count];
        PKCS11_release_all_slots(module->context, lane->slots, lane->count);
        *lane = (struct module_lane){ 0 };
    }
}

void
module_unload(struct module *module)
{
    if (!module->context)
        return;
    PKCS11_CTX_unload(module->context);
    PKCS11_CTX_free(module->context);
    module->context = NULL;
    module->functions = NULL;
}

void
module_free(struct module *module)
{
    if (!module)
        return;
    module_release(module);
    module_unload(module);
    module_leave(module);
    if (module->guard)
        guard_close(module->guard);
    module_destroy(module);
}
