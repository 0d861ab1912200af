/* What secret.c and secret_use.c share. Private to this folder. */
#pragma once

#include "secret.h"
#include "token_inner.h"

struct token_secret {
    struct token_secret *next; /* in the token's list */
    struct token *token;
    enum secret_use use;
    struct uri uri; /* object and id, as found first */
    /* Under the token's lock. */
    CK_OBJECT_HANDLE object;
    uint64_t generation; /* that the handle is of */
    bool is_known;
};

/* A step in one session. `saw_input`: the failing function had the data, which may be
 * to blame; else it is the token, or what was asked of it. */
struct attempt {
    CK_FUNCTION_LIST *functions;
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;
    const char *function;
    bool saw_input;
};
typedef CK_RV (*secret_step)(struct attempt *attempt, void *arg);

/* Runs the step under permit and read lock, again after a rebuild. */
enum ca_status secret_run(struct token_secret *secret, secret_step step, void *arg);
