/* The guard: a PKCS#11 library between libp11 and the vendor's. It forwards every call,
 * and mends what libp11 and some libraries do badly:
 *
 * - A failed C_OpenSession gives a session that no library knows (a tombstone), for
 *   libp11 0.4.12 waits for ever when its pool is empty and none can be opened. The
 * next call in that session fails.
 * - C_Initialize always asks for locking by the operating system.
 * - C_CloseAllSessions and C_Finalize wait until no other call is under way.
 * - This thread's first failure is kept: libp11 cuts codes or loses them.
 * - Calls are counted and timed, and those under way can be seen.
 *
 * It knows nothing of the rest of the program, and stays loaded to the end. */
#pragma once

#include <p11-kit/pkcs11.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUARD_EXPORT __attribute__((visibility("default")))
#define GUARD_MODULES_MAX 8 /* libraries at once */
/* Upper bounds of the time of a call in milliseconds; one more bucket for the rest. */
#define GUARD_BUCKETS 9
extern GUARD_EXPORT const int64_t guard_bucket_ms[GUARD_BUCKETS];

struct guard; /* one library behind the guard */

/* Loads the library at `path`; NULL with the reason in `ret_reason` (a literal, or
 * dlerror's own text, until the thread's next dl call). */
GUARD_EXPORT struct guard *guard_open(const char *path, const char **ret_reason);
/* Forgets the library, which stays loaded: some do not survive dlclose. */
GUARD_EXPORT void guard_close(struct guard *guard);

/* The guard's own file, to be loaded in the library's stead. */
GUARD_EXPORT const char *guard_path(void);
/* The next C_GetFunctionList of this thread speaks of this library. */
GUARD_EXPORT void guard_select(struct guard *guard);
GUARD_EXPORT CK_FUNCTION_LIST *guard_functions(struct guard *guard);

GUARD_EXPORT bool guard_is_tombstone(CK_SESSION_HANDLE session);

/* The first call of this thread that failed since guard_forget. */
struct guard_fault {
    const char *function; /* NULL: none failed */
    CK_RV code;
};
GUARD_EXPORT void guard_forget(void);
GUARD_EXPORT struct guard_fault guard_fault(void);

/* Until the next guard_lend, C_GetAttributeValue of this thread for one attribute of
 * `object` that is among these is answered from here (count 0: none is). libp11 0.4.12
 * crashes when it cannot read an RSA key's modulus and exponent. Borrowed. */
GUARD_EXPORT void guard_lend(CK_OBJECT_HANDLE object, const CK_ATTRIBUTE *attributes,
                             size_t count);

/* Milliseconds since the start of the oldest call under way, and its function; -1 when
 * there is none. */
GUARD_EXPORT int64_t guard_oldest(struct guard *guard, const char **ret_function);

struct guard_count {
    const char *function;
    int64_t calls, failures;
    int64_t total_us;
    int64_t buckets[GUARD_BUCKETS + 1]; /* calls by their time, not cumulated */
};
GUARD_EXPORT size_t guard_count_size(void);
/* The counts of function `index`; calls 0: never called. */
GUARD_EXPORT void guard_count(const struct guard *guard, size_t index,
                              struct guard_count *ret_count);
