/* One PKCS#11 library in this process: loaded once, through one libp11 context. Private
 * to this folder, as all that names a type of libp11. */
#pragma once

#include "guard.h"
#include "status.h"
#include <libp11.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* libp11 opens at most 16 sessions a slot object and lets further threads wait without
 * end. A lane is one slot list with its own sessions; more permits need more lanes. */
#define MODULE_LANE_SESSIONS 16
#define MODULE_LANES_MAX 4

struct token_set;

struct module_lane {
    PKCS11_SLOT *slots;
    unsigned count;
};

struct module {
    struct module *next; /* in the process's list: a library is loaded once */
    dev_t device;
    ino_t inode;
    char *path;
    char *arguments; /* pReserved of C_Initialize, or NULL */

    /* Read: one operation with a key. Write: everything that makes, drops or lists
     * libp11's objects. Prefers writers: the default starves them. */
    pthread_rwlock_t lock;

    /* The recovery manager's (recovery.h), under state_lock; the generation changes
     * with the write lock held as well. */
    pthread_mutex_t state_lock;
    pthread_cond_t changed;
    uint64_t generation; /* counts rebuilds */
    bool is_rebuilding;  /* down: asked for, or under way */
    bool is_stuck;       /* a call does not return */
    bool is_closed;      /* the set ends */
    unsigned waiters;    /* requests that wait for a rebuild */
    int64_t retry_at;    /* clock_ticks of the next attempt, 0: all is well */
    char reason[256];    /* why the last rebuild was asked for */
    bool has_manager;
    pthread_t manager;
    int64_t stuck_ms;
    bool exits_when_stuck;
    struct token_set *set; /* whose tokens are here */

    struct guard *guard;         /* the library itself, from the first load on */
    PKCS11_CTX *context;         /* libp11's, on the guard */
    CK_FUNCTION_LIST *functions; /* the guard's: our own calls take its locks too */
    struct module_lane lanes[MODULE_LANES_MAX];
    size_t lane_count, lanes_wanted;
};

/* Claims the library at the absolute `path` for the caller; nothing is loaded yet.
 * CA_CONFLICT when another set of this process has it: a second context's end would
 * finalize it under the first. */
enum ca_status module_claim(const char *path, const char *arguments,
                            struct module **ret_module);
/* Is this the library at `path`? */
bool module_is_at(const struct module *module, const char *path);

/* Loads and initialises; lists the slots once a lane. Call with the write lock. */
enum ca_status module_load(struct module *module);
enum ca_status module_enumerate(struct module *module, size_t lane_count);
/* The way back: sessions closed, then the library finalised. Call with the write lock
 * when no key of the library is left. */
void module_release(struct module *module);
void module_unload(struct module *module);

void module_free(struct module *module);

/* Records a failure of the function named, with CKR code; returns `status`. */
enum ca_status module_fail(enum ca_status status, const struct module *module,
                           const char *function, CK_RV code);

/* The same with the first call of this thread that failed since guard_forget: libp11's
 * own account is cut or lost. `what` says what was tried. */
enum ca_status module_fault(enum ca_status status, const struct module *module,
                            const char *what);

/* The name of a CKR code, or NULL. */
const char *module_code_name(CK_RV code);
