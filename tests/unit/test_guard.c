/* The guard by itself, between this test and the module that fails on command. */
#include "clock.h"
#include "fault.h"
#include "guard.h"
#include "softhsm.h"
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

static struct softhsm hsm;
static struct guard *guard;
static CK_FUNCTION_LIST *functions;
static CK_SLOT_ID slot;

static void
guard_make(void)
{
    const char *reason = NULL;
    CK_SLOT_ID slots[8];
    CK_ULONG count = 8;
    softhsm_make(&hsm, "ca");
    guard = guard_open(fault_path(), &reason);
    cr_assert_not_null(guard, "%s", reason);
    functions = guard_functions(guard);
    cr_assert_eq(functions->C_Initialize(NULL), CKR_OK);
    cr_assert_eq(functions->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
    slot = slots[0];
    guard_forget();
}

static void
guard_remove(void)
{
    fault_command("clear");
    functions->C_Finalize(NULL);
    guard_close(guard);
    softhsm_remove(&hsm);
}

TestSuite(guard, .init = guard_make, .fini = guard_remove);

static CK_SESSION_HANDLE
session_open(void)
{
    CK_SESSION_HANDLE session = 0;
    cr_assert_eq(
        functions->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &session),
        CKR_OK);
    return session;
}

Test(guard, pitfall_a_session_that_cannot_be_opened_is_a_tombstone)
{
    CK_SESSION_INFO info;
    cr_assert(fault_command("C_OpenSession:0x31:0:1"));
    CK_SESSION_HANDLE dead = session_open(), alive = session_open();
    cr_expect(guard_is_tombstone(dead));
    cr_expect(!guard_is_tombstone(alive));
    cr_expect_str_eq(guard_fault().function, "C_OpenSession");
    cr_expect_eq(guard_fault().code, CKR_DEVICE_MEMORY);
    cr_expect_eq(functions->C_GetSessionInfo(dead, &info), CKR_SESSION_HANDLE_INVALID);
    cr_expect_eq(guard_fault().code, CKR_DEVICE_MEMORY, "the first failure is kept");
    cr_expect_eq(functions->C_GetSessionInfo(alive, &info), CKR_OK);
    int64_t closed = fault_calls("C_CloseSession");
    cr_expect_eq(functions->C_CloseSession(dead), CKR_OK);
    cr_expect_eq(fault_calls("C_CloseSession"), closed, "no library hears of it");
    cr_expect_eq(functions->C_CloseSession(alive), CKR_OK);
}

Test(guard, pitfall_locking_is_always_asked_for)
{
    CK_C_INITIALIZE_ARGS arguments = { .flags = 0 };
    cr_expect(fault_locks());
    functions->C_Finalize(NULL);
    cr_assert_eq(functions->C_Initialize(&arguments), CKR_OK);
    cr_expect(fault_locks());
}

Test(guard, a_fault_is_this_threads_and_is_forgotten_on_request)
{
    CK_TOKEN_INFO info;
    cr_assert_null(guard_fault().function);
    cr_assert(fault_command("C_GetTokenInfo:0x80000001:0:1"));
    cr_expect_eq(functions->C_GetTokenInfo(slot, &info), 0x80000001);
    cr_expect_str_eq(guard_fault().function, "C_GetTokenInfo");
    cr_expect_eq(guard_fault().code, 0x80000001);
    guard_forget();
    cr_expect_null(guard_fault().function);
}

static void *
info_run(void *argument)
{
    CK_TOKEN_INFO info;
    (void)argument;
    functions->C_GetTokenInfo(slot, &info);
    return NULL;
}

Test(guard, finalising_waits_for_calls_under_way)
{
    pthread_t thread;
    const char *function = NULL;
    cr_assert(fault_command("C_GetTokenInfo:sleep:200"));
    cr_assert_eq(pthread_create(&thread, NULL, info_run, NULL), 0);
    usleep(50000);
    int64_t age = guard_oldest(guard, &function);
    cr_expect_geq(age, 30);
    cr_expect_str_eq(function, "C_GetTokenInfo");
    int64_t start = clock_ticks();
    cr_expect_eq(functions->C_CloseAllSessions(slot), CKR_OK);
    cr_expect_geq(clock_ticks() - start, 50);
    pthread_join(thread, NULL);
    cr_expect_eq(fault_overlaps(), 0);
    cr_expect_eq(guard_oldest(guard, &function), -1);
}

Test(guard, several_libraries_do_not_mix)
{
    const char *reason = NULL;
    struct guard *other = guard_open(SOFTHSM_MODULE, &reason);
    cr_assert_not_null(other);
    cr_assert_neq(guard_functions(other), functions);
    int64_t calls = fault_calls("C_GetInfo");
    CK_INFO info;
    cr_expect_eq(guard_functions(other)->C_GetInfo(&info), CKR_OK);
    cr_expect_eq(fault_calls("C_GetInfo"), calls, "it went to the other library");
    cr_expect_eq(functions->C_GetInfo(&info), CKR_OK);
    cr_expect_eq(fault_calls("C_GetInfo"), calls + 1);
    guard_close(other);
    struct guard *all[GUARD_MODULES_MAX] = { 0 };
    for (size_t i = 0; i < GUARD_MODULES_MAX - 1; i++)
        cr_expect_not_null(all[i] = guard_open(SOFTHSM_MODULE, &reason), "%zu", i);
    cr_expect_null(guard_open(SOFTHSM_MODULE, &reason));
    cr_expect_str_eq(reason, "too many PKCS#11 libraries");
    for (size_t i = 0; i < GUARD_MODULES_MAX - 1; i++)
        guard_close(all[i]);
    cr_expect_null(guard_open("/etc/passwd", &reason));
    cr_expect_null(guard_open("/lib/x86_64-linux-gnu/libm.so.6", &reason));
}

Test(guard, what_is_lent_is_answered_for_one_object_until_taken_back)
{
    uint8_t modulus[] = { 1, 2, 3 }, value[8] = { 0 };
    const CK_ATTRIBUTE lent[] = { { CKA_MODULUS, modulus, sizeof modulus } };
    CK_ATTRIBUTE wanted = { CKA_MODULUS, NULL, 0 };
    guard_lend(77, lent, 1);
    cr_expect_eq(functions->C_GetAttributeValue(0, 77, &wanted, 1), CKR_OK);
    cr_expect_eq(wanted.ulValueLen, 3);
    wanted.pValue = value;
    wanted.ulValueLen = 2;
    cr_expect_eq(functions->C_GetAttributeValue(0, 77, &wanted, 1),
                 CKR_BUFFER_TOO_SMALL);
    wanted.ulValueLen = sizeof value;
    cr_expect_eq(functions->C_GetAttributeValue(0, 77, &wanted, 1), CKR_OK);
    cr_expect_arr_eq(value, modulus, 3);
    cr_expect_neq(functions->C_GetAttributeValue(0, 78, &wanted, 1), CKR_OK);
    guard_lend(0, NULL, 0);
    cr_expect_neq(functions->C_GetAttributeValue(0, 77, &wanted, 1), CKR_OK);
}

Test(guard, is_found_by_its_own_file_and_gives_the_selected_library)
{
    CK_C_GetFunctionList get = NULL;
    CK_FUNCTION_LIST *list = NULL;
    cr_assert_not_null(guard_path());
    void *library = dlopen(guard_path(), RTLD_NOW | RTLD_LOCAL);
    cr_assert_not_null(library);
    *(void **)&get = dlsym(library, "C_GetFunctionList");
    cr_assert_eq(get(&list), CKR_GENERAL_ERROR, "none is selected");
    guard_select(guard);
    cr_assert_eq(get(&list), CKR_OK);
    guard_select(NULL);
    cr_expect_eq(list, functions);
    dlclose(library);
}
