/* The rules of the fault module. */
#include "fault_rule.h"
#include <stdio.h>
#include <string.h>

const char *const call_names[CALL_COUNT] = {
#define CALL(name, parameters, arguments) [CALL_##name] = #name,
#include "guard_calls.inc"
#undef CALL
    [CALL_C_Initialize] = "C_Initialize",
    [CALL_C_Finalize] = "C_Finalize",
    [CALL_C_OpenSession] = "C_OpenSession",
    [CALL_C_CloseSession] = "C_CloseSession",
    [CALL_C_CloseAllSessions] = "C_CloseAllSessions",
};

int
call_find(const char *name, size_t length)
{
    for (int i = 0; i < CALL_COUNT; i++) {
        if (strlen(call_names[i]) == length && memcmp(call_names[i], name, length) == 0)
            return i;
    }
    return -1;
}

bool
rule_parse(const char *command, struct rule *rule)
{
    static const struct {
        const char *word;
        enum kind kind;
    } kinds[] = {
        { "hang", KIND_HANG },
        { "flip:", KIND_FLIP },
        { "leave:", KIND_LEAVE },
        { "kill-before:", KIND_KILL_BEFORE },
        { "kill-after:", KIND_KILL_AFTER },
    };
    const char *colon = strchr(command, ':');
    int call = colon ? call_find(command, (size_t)(colon - command)) : -1;
    if (call < 0)
        return false;
    const char *rest = colon + 1;
    *rule = (struct rule){ .call = (enum call)call, .count = -1 };
    if (sscanf(rest, "sleep:%lu", &rule->value) == 1) {
        rule->kind = KIND_SLEEP;
        return true;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        size_t length = strlen(kinds[i].word);
        if (strncmp(rest, kinds[i].word, length) != 0)
            continue;
        rule->kind = kinds[i].kind;
        return rule->kind == KIND_HANG ||
               sscanf(rest + length, "%ld:%ld", &rule->after, &rule->count) == 2;
    }
    rule->kind = KIND_FAIL;
    return sscanf(rest, "%li:%ld:%ld", (long *)&rule->value, &rule->after,
                  &rule->count) == 3;
}

void
rule_apply(struct rule *rule, struct fate *fate)
{
    if (rule->count == 0)
        return;
    if (rule->after > 0) {
        rule->after--;
        return;
    }
    rule->count -= rule->count > 0 ? 1 : 0;
    switch (rule->kind) {
    case KIND_FAIL: fate->code = fate->code ? fate->code : rule->value; break;
    case KIND_SLEEP: fate->sleep_ms += rule->value; break;
    case KIND_HANG: fate->hangs = true; break;
    case KIND_FLIP: fate->flips = true; break;
    case KIND_LEAVE:
        fate->leaves = true;
        fate->code = CKR_DEVICE_ERROR;
        break;
    case KIND_KILL_BEFORE: fate->kills_before = true; break;
    case KIND_KILL_AFTER:
    default: fate->kills_after = true; break;
    }
}

CK_RV
removed_code(enum call call)
{
    switch ((int)call) {
    case CALL_C_Initialize:
    case CALL_C_Finalize:
    case CALL_C_GetInfo:
    case CALL_C_GetSlotInfo:
    case CALL_C_GetSlotList:
    case CALL_C_CloseSession:
    case CALL_C_CloseAllSessions: return CKR_OK;
    case CALL_C_GetTokenInfo:
    case CALL_C_OpenSession: return CKR_TOKEN_NOT_PRESENT;
    default: return CKR_DEVICE_REMOVED;
    }
}
