/* The functions of one guarded library (INSTANCE) and its function list. Expanded once
 * an instance by guard.c; no include guard. */

#define CALL(name, parameters, arguments)                                              \
    static CK_RV OWN(INSTANCE, name) parameters                                        \
    {                                                                                  \
        struct guard *guard = &guards[INSTANCE];                                       \
        pthread_rwlock_rdlock(&guard->lock);                                           \
        struct passage passage = passage_begin(guard, CALL_##name);                    \
        CK_RV code = guard->vendor->name arguments;                                    \
        pthread_rwlock_unlock(&guard->lock);                                           \
        return passage_end(guard, passage, code);                                      \
    }
#include "guard_calls.h"
#undef CALL

static CK_RV
OWN(INSTANCE, C_Initialize)(void *arguments)
{
    return forward_initialize(&guards[INSTANCE], arguments);
}

static CK_RV
OWN(INSTANCE, C_Finalize)(void *reserved)
{
    return forward_finalize(&guards[INSTANCE], reserved);
}

static CK_RV
OWN(INSTANCE, C_GetFunctionList)(CK_FUNCTION_LIST **list)
{
    *list = &lists[INSTANCE];
    return CKR_OK;
}

/* Notifications would come from a thread of the library's own: nobody wants them. */
static CK_RV
OWN(INSTANCE, C_OpenSession)(CK_SLOT_ID slot, CK_FLAGS flags, void *application,
                             CK_NOTIFY notify, CK_SESSION_HANDLE *session)
{
    (void)application, (void)notify;
    return forward_open(&guards[INSTANCE], slot, flags, session);
}

static CK_RV
OWN(INSTANCE, C_CloseSession)(CK_SESSION_HANDLE session)
{
    return forward_close(&guards[INSTANCE], session);
}

static CK_RV
OWN(INSTANCE, C_CloseAllSessions)(CK_SLOT_ID slot)
{
    return forward_close_all(&guards[INSTANCE], slot);
}

/* It blocks, and would keep the write lock from everyone. */
static CK_RV
OWN(INSTANCE, C_WaitForSlotEvent)(CK_FLAGS flags, CK_SLOT_ID *slot, void *reserved)
{
    (void)flags, (void)slot, (void)reserved;
    return CKR_FUNCTION_NOT_SUPPORTED;
}

static void
OWN(INSTANCE, list_fill)(CK_FUNCTION_LIST *list)
{
    list->version.major = 2;
    list->version.minor = 40;
#define CALL(name, parameters, arguments) list->name = OWN(INSTANCE, name);
#include "guard_calls.h"
#undef CALL
    list->C_Initialize = OWN(INSTANCE, C_Initialize);
    list->C_Finalize = OWN(INSTANCE, C_Finalize);
    list->C_GetFunctionList = OWN(INSTANCE, C_GetFunctionList);
    list->C_OpenSession = OWN(INSTANCE, C_OpenSession);
    list->C_CloseSession = OWN(INSTANCE, C_CloseSession);
    list->C_CloseAllSessions = OWN(INSTANCE, C_CloseAllSessions);
    list->C_WaitForSlotEvent = OWN(INSTANCE, C_WaitForSlotEvent);
}
