/* Forwards PKCS#11 calls to the vendor's library: see guard.h. */
#include "guard.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

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

static const char *const call_names[CALL_COUNT] = {
#define CALL(name, parameters, arguments) [CALL_##name] = #name,
#include "guard_calls.inc"
#undef CALL
    [CALL_C_Initialize] = "C_Initialize",
    [CALL_C_Finalize] = "C_Finalize",
    [CALL_C_OpenSession] = "C_OpenSession",
    [CALL_C_CloseSession] = "C_CloseSession",
    [CALL_C_CloseAllSessions] = "C_CloseAllSessions",
};

const int64_t guard_bucket_ms[GUARD_BUCKETS] = { 1, 2, 5, 10, 20, 50, 100, 500, 2000 };

#define ACTIVE_MAX 256 /* calls whose start is kept; further ones are only counted */

struct tally {
    atomic_int_fast64_t calls, failures, total_us;
    atomic_int_fast64_t buckets[GUARD_BUCKETS + 1];
};

/* `start_us` 0: free. The rest is read by the watchdog only, a torn pair does no harm.
 */
struct active {
    atomic_int_fast64_t start_us;
    atomic_int call;
};

struct guard {
    atomic_bool is_open;
    /* Read: a call under way. Write: C_CloseAllSessions, C_Finalize, C_Initialize.
     * Prefers writers: under load the default never lets one in. */
    pthread_rwlock_t lock;
    CK_FUNCTION_LIST *vendor;
    struct tally tallies[CALL_COUNT];
    struct active active[ACTIVE_MAX];
};

static struct guard guards[GUARD_MODULES_MAX];
static CK_FUNCTION_LIST lists[GUARD_MODULES_MAX];
static pthread_mutex_t guards_lock = PTHREAD_MUTEX_INITIALIZER;

static _Thread_local struct guard *selected;
static _Thread_local struct guard_fault fault;

/* Session handles from here up are tombstones; libraries count from small numbers. */
#define TOMBSTONE_FIRST (~(CK_SESSION_HANDLE)0 - 0xffff)

bool
guard_is_tombstone(CK_SESSION_HANDLE session)
{
    return session >= TOMBSTONE_FIRST;
}

static int64_t
now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* A place in the list of calls under way; ACTIVE_MAX when all are taken. */
static size_t
active_take(struct guard *guard, enum call call, int64_t start_us)
{
    static _Thread_local size_t last; /* free again, most likely */
    for (size_t i = 0; i < ACTIVE_MAX; i++) {
        size_t at = (last + i) % ACTIVE_MAX;
        int_fast64_t none = 0;
        if (atomic_compare_exchange_strong(&guard->active[at].start_us, &none,
                                           start_us)) {
            atomic_store(&guard->active[at].call, (int)call);
            last = at;
            return at;
        }
    }
    return ACTIVE_MAX;
}

struct passage {
    enum call call;
    size_t place;
    int64_t start_us;
};

static struct passage
passage_begin(struct guard *guard, enum call call)
{
    struct passage passage = { .call = call, .start_us = now_us() };
    passage.place = active_take(guard, call, passage.start_us);
    return passage;
}

static CK_RV
passage_end(struct guard *guard, struct passage passage, CK_RV code)
{
    struct tally *tally = &guard->tallies[passage.call];
    int64_t took_us = now_us() - passage.start_us;
    size_t bucket = 0;
    while (bucket < GUARD_BUCKETS && took_us > guard_bucket_ms[bucket] * 1000)
        bucket++;
    if (passage.place < ACTIVE_MAX)
        atomic_store(&guard->active[passage.place].start_us, 0);
    atomic_fetch_add(&tally->calls, 1);
    atomic_fetch_add(&tally->total_us, took_us);
    atomic_fetch_add(&tally->buckets[bucket], 1);
    if (code != CKR_OK) {
        atomic_fetch_add(&tally->failures, 1);
        if (!fault.function)
            fault = (struct guard_fault){ call_names[passage.call], code };
    }
    return code;
}

static CK_RV
forward_initialize(struct guard *guard, const void *arguments)
{
    CK_C_INITIALIZE_ARGS own = { .flags = CKF_OS_LOCKING_OK };
    struct passage passage = passage_begin(guard, CALL_C_Initialize);
    if (arguments)
        own.pReserved = ((const CK_C_INITIALIZE_ARGS *)arguments)->pReserved;
    pthread_rwlock_wrlock(&guard->lock);
    CK_RV code = guard->vendor->C_Initialize(&own);
    pthread_rwlock_unlock(&guard->lock);
    return passage_end(guard, passage, code);
}

static CK_RV
forward_finalize(struct guard *guard, void *reserved)
{
    pthread_rwlock_wrlock(&guard->lock);
    struct passage passage = passage_begin(guard, CALL_C_Finalize);
    CK_RV code = guard->vendor->C_Finalize(reserved);
    pthread_rwlock_unlock(&guard->lock);
    return passage_end(guard, passage, code);
}

static CK_RV
forward_close_all(struct guard *guard, CK_SLOT_ID slot)
{
    pthread_rwlock_wrlock(&guard->lock);
    struct passage passage = passage_begin(guard, CALL_C_CloseAllSessions);
    CK_RV code = guard->vendor->C_CloseAllSessions(slot);
    pthread_rwlock_unlock(&guard->lock);
    return passage_end(guard, passage, code);
}

static CK_RV
forward_open(struct guard *guard, CK_SLOT_ID slot, CK_FLAGS flags,
             CK_SESSION_HANDLE *session)
{
    static atomic_uint tombstones;
    pthread_rwlock_rdlock(&guard->lock);
    struct passage passage = passage_begin(guard, CALL_C_OpenSession);
    CK_RV code = guard->vendor->C_OpenSession(slot, flags, NULL, NULL, session);
    pthread_rwlock_unlock(&guard->lock);
    passage_end(guard, passage, code);
    if (code != CKR_OK)
        *session = TOMBSTONE_FIRST + atomic_fetch_add(&tombstones, 1) % 0xffff;
    return CKR_OK;
}

static CK_RV
forward_close(struct guard *guard, CK_SESSION_HANDLE session)
{
    if (guard_is_tombstone(session))
        return CKR_OK;
    pthread_rwlock_rdlock(&guard->lock);
    struct passage passage = passage_begin(guard, CALL_C_CloseSession);
    CK_RV code = guard->vendor->C_CloseSession(session);
    pthread_rwlock_unlock(&guard->lock);
    return passage_end(guard, passage, code);
}

static _Thread_local struct {
    CK_OBJECT_HANDLE object;
    const CK_ATTRIBUTE *attributes;
    size_t count;
} lent;

void
guard_lend(CK_OBJECT_HANDLE object, const CK_ATTRIBUTE *attributes, size_t count)
{
    lent.object = object;
    lent.attributes = attributes;
    lent.count = count;
}

/* What was lent for this attribute, or NULL. */
static const CK_ATTRIBUTE *
lent_find(CK_OBJECT_HANDLE object, const CK_ATTRIBUTE *wanted, CK_ULONG count)
{
    if (lent.count == 0 || lent.object != object || count != 1)
        return NULL;
    for (size_t i = 0; i < lent.count; i++) {
        if (lent.attributes[i].type == wanted->type)
            return &lent.attributes[i];
    }
    return NULL;
}

static CK_RV
lent_answer(const CK_ATTRIBUTE *value, CK_ATTRIBUTE *wanted)
{
    if (wanted->pValue && wanted->ulValueLen < value->ulValueLen)
        return CKR_BUFFER_TOO_SMALL;
    if (wanted->pValue)
        memcpy(wanted->pValue, value->pValue, value->ulValueLen);
    wanted->ulValueLen = value->ulValueLen;
    return CKR_OK;
}

/* One set of functions a library: a PKCS#11 function does not say whose it is. */
#define PASTE(prefix, instance, name) prefix##instance##_##name
#define OWN(instance, name) PASTE(guard_, instance, name)

#define INSTANCE 0
#include "guard_list.inc"
#undef INSTANCE
#define INSTANCE 1
#include "guard_list.inc"
#undef INSTANCE
#define INSTANCE 2
#include "guard_list.inc"
#undef INSTANCE
#define INSTANCE 3
#include "guard_list.inc"
#undef INSTANCE
#define INSTANCE 4
#include "guard_list.inc"
#undef INSTANCE
#define INSTANCE 5
#include "guard_list.inc"
#undef INSTANCE
#define INSTANCE 6
#include "guard_list.inc"
#undef INSTANCE
#define INSTANCE 7
#include "guard_list.inc"
#undef INSTANCE

static void
lists_fill(void)
{
    OWN(0, list_fill)(&lists[0]);
    OWN(1, list_fill)(&lists[1]);
    OWN(2, list_fill)(&lists[2]);
    OWN(3, list_fill)(&lists[3]);
    OWN(4, list_fill)(&lists[4]);
    OWN(5, list_fill)(&lists[5]);
    OWN(6, list_fill)(&lists[6]);
    OWN(7, list_fill)(&lists[7]);
}

GUARD_EXPORT CK_RV
C_GetFunctionList(CK_FUNCTION_LIST **list)
{
    if (!selected)
        return CKR_GENERAL_ERROR;
    *list = guard_functions(selected);
    return CKR_OK;
}

void
guard_select(struct guard *guard)
{
    selected = guard;
}

CK_FUNCTION_LIST *
guard_functions(struct guard *guard)
{
    return &lists[guard - guards];
}

const char *
guard_path(void)
{
    Dl_info info;
    return dladdr(&guards_lock, &info) != 0 ? info.dli_fname : NULL;
}

static CK_FUNCTION_LIST *
vendor_load(const char *path, const char **ret_reason)
{
    CK_FUNCTION_LIST *vendor = NULL;
    CK_C_GetFunctionList get = NULL;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        *ret_reason = dlerror();
        return NULL;
    }
    *(void **)&get = dlsym(library, "C_GetFunctionList");
    if (!get || get(&vendor) != CKR_OK || !vendor) {
        *ret_reason = "no PKCS#11 library";
        dlclose(library);
        return NULL;
    }
    return vendor;
}

static void
guard_clear(struct guard *guard)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_rwlockattr_t attributes;
    pthread_once(&once, lists_fill);
    memset(guard->tallies, 0, sizeof guard->tallies);
    memset(guard->active, 0, sizeof guard->active);
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes,
                                  PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&guard->lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
}

struct guard *
guard_open(const char *path, const char **ret_reason)
{
    struct guard *guard = NULL;
    CK_FUNCTION_LIST *vendor = vendor_load(path, ret_reason);
    if (!vendor)
        return NULL;
    pthread_mutex_lock(&guards_lock);
    for (size_t i = 0; i < GUARD_MODULES_MAX && !guard; i++) {
        if (!guards[i].is_open)
            guard = &guards[i];
    }
    if (guard) {
        guard_clear(guard);
        guard->vendor = vendor;
        guard->is_open = true;
    }
    pthread_mutex_unlock(&guards_lock);
    if (!guard)
        *ret_reason = "too many PKCS#11 libraries";
    return guard;
}

void
guard_close(struct guard *guard)
{
    pthread_mutex_lock(&guards_lock);
    pthread_rwlock_destroy(&guard->lock);
    guard->is_open = false;
    pthread_mutex_unlock(&guards_lock);
}

void
guard_forget(void)
{
    fault = (struct guard_fault){ NULL, CKR_OK };
}

struct guard_fault
guard_fault(void)
{
    return fault;
}

int64_t
guard_oldest(struct guard *guard, const char **ret_function)
{
    int64_t oldest = 0;
    for (size_t i = 0; i < ACTIVE_MAX; i++) {
        int64_t start = atomic_load(&guard->active[i].start_us);
        if (start == 0 || (oldest != 0 && start >= oldest))
            continue;
        oldest = start;
        *ret_function = call_names[atomic_load(&guard->active[i].call)];
    }
    return oldest == 0 ? -1 : (now_us() - oldest) / 1000;
}

size_t
guard_count_size(void)
{
    return CALL_COUNT;
}

void
guard_count(const struct guard *guard, size_t index, struct guard_count *ret_count)
{
    const struct tally *tally = &guard->tallies[index];
    ret_count->function = call_names[index];
    ret_count->calls = atomic_load(&tally->calls);
    ret_count->failures = atomic_load(&tally->failures);
    ret_count->total_us = atomic_load(&tally->total_us);
    for (size_t i = 0; i <= GUARD_BUCKETS; i++)
        ret_count->buckets[i] = atomic_load(&tally->buckets[i]);
}
