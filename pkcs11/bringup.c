/* Finds the token of a configuration, checks what it is, and logs in: once. */
#include "bringup.h"
#include "log.h"
#include "object.h"
#include "token_key.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <string.h>
#include <unistd.h>

static const char *const software_makers[] = {
    "SoftHSM",
    "Mozilla Foundation",
    "NSS",
    "IBM SoftTok",
};

bool
bringup_is_software(const char *manufacturer, const char *model)
{
    for (size_t i = 0; i < sizeof software_makers / sizeof software_makers[0]; i++) {
        if (strstr(manufacturer, software_makers[i]) ||
            strstr(model, software_makers[i]))
            return true;
    }
    return false;
}

static bool
text_is(const char *wanted, const char *value)
{
    return !wanted[0] || strcmp(wanted, value) == 0;
}

static bool
token_matches(const struct uri *uri, const PKCS11_TOKEN *info)
{
    return info && info->initialized && text_is(uri->token, info->label) &&
           text_is(uri->serial, info->serialnr) && text_is(uri->model, info->model) &&
           text_is(uri->manufacturer, info->manufacturer);
}

static enum ca_status
slot_find(struct token *token)
{
    const struct module_lane *lane = &token->module->lanes[0];
    PKCS11_SLOT *found = NULL;
    for (unsigned i = 0; i < lane->count; i++) {
        if (!token_matches(&token->uri, lane->slots[i].token))
            continue;
        if (found)
            return ca_fail(CA_CONFLICT,
                           "token '%s': several tokens fit its URI: add the serial",
                           token->name);
        found = &lane->slots[i];
    }
    if (!found)
        return ca_fail(CA_UNAVAILABLE,
                       "token '%s': module %s has none that fits its URI", token->name,
                       token->module->path);
    token->slot[0] = found;
    token->slot_id = PKCS11_get_slotid_from_slot(found);
    return CA_OK;
}

/* The same slot in each further lane. */
static enum ca_status
lanes_find(struct token *token)
{
    for (size_t i = 1; i < token->module->lane_count; i++) {
        const struct module_lane *lane = &token->module->lanes[i];
        token->slot[i] = NULL;
        for (unsigned j = 0; j < lane->count; j++) {
            if (PKCS11_get_slotid_from_slot(&lane->slots[j]) == token->slot_id &&
                token_matches(&token->uri, lane->slots[j].token))
                token->slot[i] = &lane->slots[j];
        }
        if (!token->slot[i])
            return ca_fail(CA_UNAVAILABLE, "token '%s' went away", token->name);
    }
    return CA_OK;
}

static void
describe(struct token *token)
{
    const PKCS11_TOKEN *info = token->slot[0]->token;
    pthread_mutex_lock(&token->lock);
    snprintf(token->label, sizeof token->label, "%s", info->label);
    snprintf(token->model, sizeof token->model, "%s", info->model);
    snprintf(token->manufacturer, sizeof token->manufacturer, "%s", info->manufacturer);
    snprintf(token->serial, sizeof token->serial, "%s", info->serialnr);
    token->is_software = bringup_is_software(info->manufacturer, info->model);
    pthread_mutex_unlock(&token->lock);
}

/* Remembered on disk, too: each start by a supervisor would spend one more try. */
static void
latch(struct token *token)
{
    pthread_mutex_lock(&token->lock);
    token->is_latched = true;
    pthread_mutex_unlock(&token->lock);
    if (!token->latch_file)
        return;
    int fd = open(token->latch_file, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        log_write(LOG_LEVEL_ERROR, json_pack("{s:s}", "token", token->name),
                  "the latch cannot be written to %s: %s", token->latch_file,
                  strerror(errno));
        return;
    }
    fsync(fd);
    close(fd);
}

/* CKR_PIN_INCORRECT to CKR_PIN_LOCKED: the token saw our PIN and refused it. */
static bool
code_is_pin(CK_RV code)
{
    return code >= CKR_PIN_INCORRECT && code <= CKR_PIN_LOCKED;
}

static CK_RV
pin_code(void)
{
    struct guard_fault fault = guard_fault();
    if (fault.function && code_is_pin(fault.code))
        return fault.code;
    for (unsigned long error = ERR_get_error(); error; error = ERR_get_error()) {
        CK_RV code = (CK_RV)ERR_GET_REASON(error);
        if (ERR_GET_LIB(error) == ERR_get_CKR_code() && code_is_pin(code))
            return code;
    }
    return CKR_OK;
}

static enum ca_status
flags_check(struct token *token)
{
    const PKCS11_TOKEN *info = token->slot[0]->token;
    if (token->is_latched)
        return ca_fail(CA_FORBIDDEN, "token '%s': its PIN was refused: no login again",
                       token->name);
    if (!info->userPinSet)
        return ca_fail(CA_FORBIDDEN, "token '%s' has no user PIN yet", token->name);
    if (info->userPinLocked || (info->userPinFinalTry && !token->takes_last)) {
        latch(token);
        return ca_fail(CA_FORBIDDEN, "token '%s': its PIN is %s: an operator must act",
                       token->name, info->userPinLocked ? "locked" : "at its last try");
    }
    return CA_OK;
}

static enum ca_status
login(struct token *token)
{
    if (!token->slot[0]->token->loginRequired)
        return CA_OK;
    enum ca_status status = flags_check(token);
    if (status != CA_OK)
        return status;
    for (size_t i = 0; i < token->module->lane_count; i++) {
        ERR_clear_error();
        guard_forget();
        if (PKCS11_login(token->slot[i], 0, pin_text(token->pin)) == 0)
            continue;
        CK_RV code = pin_code();
        if (code == CKR_OK)
            return module_fault(CA_UNAVAILABLE, token->module, "no login");
        latch(token);
        return ca_fail(CA_FORBIDDEN,
                       "token '%s': the PIN was refused (%s), not tried again",
                       token->name, module_code_name(code));
    }
    return CA_OK;
}

void
bringup_limit(struct token *token)
{
    CK_TOKEN_INFO info;
    unsigned wanted = token->permits_wanted, signatures = wanted, decryptions = wanted;
    CK_RV code = token->module->functions->C_GetTokenInfo(token->slot_id, &info);
    /* 0 is CK_EFFECTIVELY_INFINITE. */
    if (code == CKR_OK && info.ulMaxSessionCount != 0 &&
        info.ulMaxSessionCount != CK_UNAVAILABLE_INFORMATION) {
        bool decrypts = token->secrets != NULL;
        for (const struct token_key *key = token->keys; key; key = key->next)
            decrypts |= (key->uses & TOKEN_USE_DECRYPT) != 0;
        /* One session is for checks and new keys. Of the rest a third decrypts: an
         * enrolment has one decryption and two signatures. libp11 closes none, so each
         * lane may come to hold an equal part of those that sign. */
        CK_ULONG sessions = info.ulMaxSessionCount > 1 ? info.ulMaxSessionCount - 1 : 1;
        CK_ULONG kept = decrypts ? (sessions + 2) / 3 : 0;
        CK_ULONG left = sessions > kept ? sessions - kept : 1;
        size_t lanes = token->module->lane_count;
        left = left > lanes ? left - left % lanes : 1;
        if (decryptions > kept)
            decryptions = (unsigned)(kept > 0 ? kept : 1);
        if (signatures > left)
            signatures = (unsigned)left;
        if (wanted > signatures + (decrypts ? decryptions : 0))
            wanted = signatures + (decrypts ? decryptions : 0);
    }
    pthread_mutex_lock(&token->lock);
    token->permits = wanted;
    token->signatures = signatures;
    token->decryptions = decryptions;
    pthread_mutex_unlock(&token->lock);
}

enum ca_status
bringup_token(struct token *token)
{
    enum ca_status status = slot_find(token);
    if (status == CA_OK)
        status = lanes_find(token);
    if (status != CA_OK)
        return status;
    describe(token);
    if (token->is_software && !(token->waivers & WAIVER_SOFTWARE))
        return ca_fail(CA_FORBIDDEN,
                       "token '%s' is software (%s), for tests only: the waiver "
                       "'software' takes it nevertheless",
                       token->name, token->manufacturer);
    status = login(token);
    if (status != CA_OK)
        return status;
    token->takes_last = false;
    bringup_limit(token);
    return CA_OK;
}

void
bringup_undo(struct token *token)
{
    token_keys_detach(token);
    session_close_all(token);
    memset(token->slot, 0, sizeof token->slot);
}
