/* Fails PKCS#11 calls on command: see fault.h. */
#include "fault.h"
#include "fault_rule.h"
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_MODULE "/usr/lib/softhsm/libsofthsm2.so"
#define RULES_MAX 32
#define HANG_LOOK_NS 50000000

static CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST list;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct rule rules[RULES_MAX];
static size_t rule_count;
static unsigned long clears; /* a hanging call waits for the next one */
static atomic_bool is_removed;
static CK_FLAGS token_flags;
static unsigned long sessions_max, poison;
static struct timespec control_read;
static off_t control_size;
static atomic_int_fast64_t calls[CALL_COUNT], hits, sessions;
static atomic_int under_way, overlaps, locks;

/* Read: a call under way; write: what happens to the library from beside. SoftHSM does
 * not survive both at once. */
static pthread_rwlock_t passing = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

static void
sessions_close(void)
{
    CK_SLOT_ID slots[64];
    CK_ULONG count = 64;
    if (!real || real->C_GetSlotList(CK_FALSE, slots, &count) != CKR_OK)
        return;
    for (CK_ULONG i = 0; i < count; i++)
        real->C_CloseAllSessions(slots[i]);
    atomic_store(&sessions, 0);
}

/* What strikes the library itself, with no call under way. */
static bool
blow(const char *command)
{
    bool is_known = true;
    pthread_rwlock_wrlock(&passing);
    if (strcmp(command, "removed") == 0) {
        sessions_close();
        is_removed = true;
    } else if (strcmp(command, "present") == 0) {
        is_removed = false;
    } else if (strcmp(command, "closeall") == 0) {
        sessions_close();
    } else if (strcmp(command, "finalize") == 0) {
        if (real)
            real->C_Finalize(NULL);
        atomic_store(&sessions, 0);
    } else {
        is_known = false;
    }
    pthread_rwlock_unlock(&passing);
    return is_known;
}

static void
clear(void)
{
    pthread_mutex_lock(&lock);
    rule_count = 0;
    token_flags = 0;
    sessions_max = 0;
    poison = 0;
    clears++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    blow("present");
}

bool
fault_command(const char *command)
{
    struct rule rule;
    bool is_known = true;
    if (strcmp(command, "clear") == 0) {
        clear();
        return true;
    }
    if (blow(command))
        return true;
    pthread_mutex_lock(&lock);
    if (sscanf(command, "tokflags:%li", (long *)&token_flags) == 1)
        is_known = true;
    else if (sscanf(command, "sessions:%lu", &sessions_max) == 1)
        is_known = true;
    else if (sscanf(command, "poison:%li", (long *)&poison) == 1)
        is_known = true;
    else if (rule_count < RULES_MAX && rule_parse(command, &rule))
        rules[rule_count++] = rule;
    else
        is_known = false;
    pthread_mutex_unlock(&lock);
    return is_known;
}

static void
calls_write(const char *control)
{
    char path[4096];
    snprintf(path, sizeof path, "%s.calls", control);
    FILE *file = fopen(path, "we");
    if (!file)
        return;
    for (int i = 0; i < CALL_COUNT; i++) {
        if (calls[i] > 0)
            fprintf(file, "%s %lld\n", call_names[i], (long long)calls[i]);
    }
    fprintf(file, "hits %lld\n", (long long)hits);
    fclose(file);
}

/* The control file, when it is another one than last time. */
static void
control_look(void)
{
    static pthread_mutex_t control_lock = PTHREAD_MUTEX_INITIALIZER;
    const char *control = getenv("SEALWRIGHT_FAULT_CONTROL");
    struct stat status;
    if (!control || stat(control, &status) != 0)
        return;
    pthread_mutex_lock(&control_lock);
    bool is_new = status.st_mtim.tv_sec != control_read.tv_sec ||
                  status.st_mtim.tv_nsec != control_read.tv_nsec ||
                  status.st_size != control_size;
    control_read = status.st_mtim;
    control_size = status.st_size;
    FILE *file = is_new ? fopen(control, "re") : NULL;
    char line[256];
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] && !fault_command(line))
            fprintf(stderr, "p11fault: '%s' is no command\n", line);
    }
    if (file) {
        fclose(file);
        calls_write(control);
    }
    pthread_mutex_unlock(&control_lock);
}

/* Until `clear`, which the control file may say while no other call comes. */
static void
hang(void)
{
    pthread_mutex_lock(&lock);
    unsigned long seen = clears;
    while (clears == seen) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += (until.tv_nsec + HANG_LOOK_NS) / 1000000000;
        until.tv_nsec = (until.tv_nsec + HANG_LOOK_NS) % 1000000000;
        pthread_cond_timedwait(&changed, &lock, &until);
        pthread_mutex_unlock(&lock);
        control_look();
        pthread_mutex_lock(&lock);
    }
    pthread_mutex_unlock(&lock);
}

static struct fate
fate_find(enum call call)
{
    struct fate fate = { 0 };
    atomic_fetch_add(&under_way, 1);
    control_look();
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < rule_count; i++) {
        if (rules[i].call == call)
            rule_apply(&rules[i], &fate);
    }
    if (is_removed && fate.code == CKR_OK)
        fate.code = removed_code(call);
    pthread_mutex_unlock(&lock);
    if (fate.kills_before)
        kill(getpid(), SIGKILL);
    if (fate.sleep_ms > 0)
        usleep((useconds_t)fate.sleep_ms * 1000);
    if (fate.hangs)
        hang();
    if (fate.code != CKR_OK || fate.flips)
        atomic_fetch_add(&hits, 1);
    return fate;
}

/* Injected failures of these end the operation, as a real one would: the real call is
 * made as well. */
static bool
call_ends_operation(enum call call)
{
    switch ((int)call) {
    case CALL_C_Sign:
    case CALL_C_SignFinal:
    case CALL_C_Decrypt:
    case CALL_C_DecryptFinal:
    case CALL_C_FindObjectsFinal: return true;
    default: return false;
    }
}

/* The call that is not made. */
static CK_RV
fate_refuse(const struct fate *fate)
{
    atomic_fetch_sub(&under_way, 1);
    return fate->code;
}

/* C_CloseAllSessions and C_Finalize with another call under way: the real library would
 * crash. */
static void
overlap_count(void)
{
    if (atomic_load(&under_way) > 1)
        atomic_fetch_add(&overlaps, 1);
}

static CK_RV
fate_end(enum call call, const struct fate *fate, CK_RV code)
{
    atomic_fetch_sub(&under_way, 1);
    atomic_fetch_add(&calls[call], 1);
    if (fate->kills_after)
        kill(getpid(), SIGKILL);
    return fate->code != CKR_OK ? fate->code : code;
}

#define CALL(name, parameters, arguments)                                              \
    static CK_RV forward_##name parameters                                             \
    {                                                                                  \
        struct fate fate = fate_find(CALL_##name);                                     \
        if (fate.code != CKR_OK && (fate.leaves || !call_ends_operation(CALL_##name))) \
            return fate_refuse(&fate);                                                 \
        pthread_rwlock_rdlock(&passing);                                               \
        CK_RV code = real->name arguments;                                             \
        pthread_rwlock_unlock(&passing);                                               \
        return fate_end(CALL_##name, &fate, code);                                     \
    }
#include "guard_calls.inc"
#undef CALL

static CK_RV
fault_sign(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_size, CK_BYTE *out,
           CK_ULONG *out_size)
{
    struct fate fate = fate_find(CALL_C_Sign);
    if (fate.leaves)
        return fate_refuse(&fate);
    pthread_rwlock_rdlock(&passing);
    CK_RV code = real->C_Sign(session, in, in_size, out, out_size);
    pthread_rwlock_unlock(&passing);
    if (code == CKR_OK && fate.flips && out)
        out[*out_size / 2] ^= 1;
    return fate_end(CALL_C_Sign, &fate, code);
}

/* A stranger's ciphertext that makes the device look ill, and no other. */
static CK_RV
fault_decrypt(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_size, CK_BYTE *out,
              CK_ULONG *out_size)
{
    static const CK_BYTE end[4] = { 0xff, 0xff, 0xff, 0xff };
    CK_RV code = forward_C_Decrypt(session, in, in_size, out, out_size);
    pthread_mutex_lock(&lock);
    if (poison != 0 && in_size >= sizeof end &&
        memcmp(in + in_size - sizeof end, end, sizeof end) == 0) {
        code = poison;
        atomic_fetch_add(&hits, 1);
    }
    pthread_mutex_unlock(&lock);
    return code;
}

static CK_RV
fault_slot_list(CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count)
{
    CK_RV code = forward_C_GetSlotList(present, slots, count);
    pthread_mutex_lock(&lock);
    if (code == CKR_OK && is_removed)
        *count = 0;
    pthread_mutex_unlock(&lock);
    return code;
}

static CK_RV
fault_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    CK_RV code = forward_C_GetTokenInfo(slot, info);
    pthread_mutex_lock(&lock);
    if (code == CKR_OK) {
        info->flags |= token_flags;
        info->ulMaxSessionCount = sessions_max ? sessions_max : info->ulMaxSessionCount;
    }
    pthread_mutex_unlock(&lock);
    return code;
}

static CK_RV
fault_initialize(void *arguments)
{
    struct fate fate = fate_find(CALL_C_Initialize);
    if (fate.code != CKR_OK)
        return fate_refuse(&fate);
    const CK_C_INITIALIZE_ARGS *given = arguments;
    atomic_store(&locks, given && (given->flags & CKF_OS_LOCKING_OK) ? 1 : 0);
    pthread_rwlock_wrlock(&passing);
    CK_RV code = real->C_Initialize(arguments);
    pthread_rwlock_unlock(&passing);
    return fate_end(CALL_C_Initialize, &fate, code);
}

static CK_RV
fault_finalize(void *reserved)
{
    struct fate fate = fate_find(CALL_C_Finalize);
    overlap_count();
    pthread_rwlock_wrlock(&passing);
    CK_RV code = real->C_Finalize(reserved);
    atomic_store(&sessions, 0);
    pthread_rwlock_unlock(&passing);
    return fate_end(CALL_C_Finalize, &fate, code);
}

static CK_RV
fault_open(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
           CK_SESSION_HANDLE *session)
{
    struct fate fate = fate_find(CALL_C_OpenSession);
    pthread_mutex_lock(&lock);
    if (fate.code == CKR_OK && sessions_max && (unsigned long)sessions >= sessions_max)
        fate.code = CKR_SESSION_COUNT;
    pthread_mutex_unlock(&lock);
    if (fate.code != CKR_OK)
        return fate_refuse(&fate);
    pthread_rwlock_rdlock(&passing);
    CK_RV code = real->C_OpenSession(slot, flags, application, notify, session);
    atomic_fetch_add(&sessions, code == CKR_OK ? 1 : 0);
    pthread_rwlock_unlock(&passing);
    return fate_end(CALL_C_OpenSession, &fate, code);
}

static CK_RV
fault_close(CK_SESSION_HANDLE session)
{
    struct fate fate = fate_find(CALL_C_CloseSession);
    pthread_rwlock_rdlock(&passing);
    CK_RV code = real->C_CloseSession(session);
    atomic_fetch_sub(&sessions, code == CKR_OK ? 1 : 0);
    pthread_rwlock_unlock(&passing);
    return fate_end(CALL_C_CloseSession, &fate, code);
}

static CK_RV
fault_close_all(CK_SLOT_ID slot)
{
    struct fate fate = fate_find(CALL_C_CloseAllSessions);
    overlap_count();
    pthread_rwlock_wrlock(&passing);
    CK_RV code = real->C_CloseAllSessions(slot);
    atomic_store(&sessions, 0);
    pthread_rwlock_unlock(&passing);
    return fate_end(CALL_C_CloseAllSessions, &fate, code);
}

static CK_RV
fault_wait(CK_FLAGS flags, CK_SLOT_ID *slot, void *reserved)
{
    (void)flags, (void)slot, (void)reserved;
    return CKR_FUNCTION_NOT_SUPPORTED;
}

FAULT_EXPORT CK_RV C_GetFunctionList(CK_FUNCTION_LIST **ret_list);

static void
list_fill(void)
{
    list.version.major = 2;
    list.version.minor = 40;
#define CALL(name, parameters, arguments) list.name = forward_##name;
#include "guard_calls.inc"
#undef CALL
    list.C_Sign = fault_sign;
    list.C_Decrypt = fault_decrypt;
    list.C_GetSlotList = fault_slot_list;
    list.C_GetTokenInfo = fault_token_info;
    list.C_Initialize = fault_initialize;
    list.C_Finalize = fault_finalize;
    list.C_GetFunctionList = C_GetFunctionList;
    list.C_OpenSession = fault_open;
    list.C_CloseSession = fault_close;
    list.C_CloseAllSessions = fault_close_all;
    list.C_WaitForSlotEvent = fault_wait;
}

CK_RV
C_GetFunctionList(CK_FUNCTION_LIST **ret_list)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const char *path = getenv("SEALWRIGHT_FAULT_MODULE");
    if (!real) {
        void *library = dlopen(path ? path : DEFAULT_MODULE, RTLD_NOW | RTLD_LOCAL);
        CK_C_GetFunctionList get = NULL;
        *(void **)&get = library ? dlsym(library, "C_GetFunctionList") : NULL;
        if (!get || get(&real) != CKR_OK)
            return CKR_GENERAL_ERROR;
    }
    pthread_once(&once, list_fill);
    *ret_list = &list;
    return CKR_OK;
}

const char *
fault_path(void)
{
    Dl_info info;
    return dladdr(&lock, &info) != 0 ? info.dli_fname : NULL;
}

int64_t
fault_calls(const char *function)
{
    int call = call_find(function, strlen(function));
    return call < 0 ? -1 : atomic_load(&calls[call]);
}

int64_t
fault_hits(void)
{
    return atomic_load(&hits);
}

int64_t
fault_sessions(void)
{
    return atomic_load(&sessions);
}

int64_t
fault_overlaps(void)
{
    return atomic_load(&overlaps);
}

bool
fault_locks(void)
{
    return atomic_load(&locks) != 0;
}
