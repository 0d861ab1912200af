/* The rules of the fault module: which call they are about, how a command writes one,
 * and what they do to a call. Without state. */
#pragma once

#include <p11-kit/pkcs11.h>
#include <stdbool.h>
#include <stddef.h>

enum call {
#define CALL(name, parameters, arguments) CALL_##name,
#include "guard_calls.inc"
#undef CALL
    CALL_C_Initialize,
    CALL_C_Finalize,
    CALL_C_OpenSession,
    CALL_C_CloseSession,
    CALL_C_CloseAllSessions,
    CALL_COUNT
};

extern const char *const call_names[CALL_COUNT];

enum kind {
    KIND_FAIL,
    KIND_SLEEP,
    KIND_HANG,
    KIND_FLIP,
    KIND_LEAVE,
    KIND_KILL_BEFORE,
    KIND_KILL_AFTER
};

struct rule {
    enum call call;
    enum kind kind;
    unsigned long value; /* return code, milliseconds */
    long after, count;   /* count < 0: without end; 0: spent */
};

/* What is to happen to one call. */
struct fate {
    CK_RV code; /* CKR_OK: nothing */
    unsigned long sleep_ms;
    bool hangs, flips, leaves, kills_before, kills_after;
};

/* A call's number by its name, or -1. */
int call_find(const char *name, size_t length);

/* `command` as docs in fault.h write it; false: it is no rule. */
bool rule_parse(const char *command, struct rule *rule);

/* Adds to a call's fate what the rule does to it, and counts the rule on. */
void rule_apply(struct rule *rule, struct fate *fate);

/* What a token that was pulled answers. */
CK_RV removed_code(enum call call);
