/* What stands before the work of verifying a password: a throttle by source and user,
 * two at once, and the memory of those that were right (SECURITY A0, A7). */
#pragma once

#include "status.h"
#include <stdbool.h>
#include <stddef.h>

#define LOGIN_VERIFY_MOST 2        /* verifications at once: 16 MiB each */
#define LOGIN_WAIT_MOST 16         /* requests that wait for one */
#define LOGIN_WAIT_MS 5000         /* and how long */
#define LOGIN_SOURCE_PER_MINUTE 30 /* wrong ones of a source */
#define LOGIN_USER_PER_MINUTE 10   /* wrong ones for a user */
#define LOGIN_ELSEWHERE_MOST 16    /* verifications at once that others make for us */
#define LOGIN_REMEMBER_SECONDS 300

struct login_guard;

/* What is verified; borrowed. */
struct login_attempt {
    const char *source, *user; /* an address of IPv6 counts with its /64 */
    const char *verifier;      /* of the user's password, or NULL */
    const char *secret;
    size_t secret_size;
    bool is_elsewhere; /* by the directory: no turn of ours, never remembered */
};

struct login_guard *login_guard_new(void); /* NULL: no memory or no randomness */
void login_guard_free(struct login_guard *guard);

/* Was this very password found right with this very verifier within five minutes? Keeps
 * a keyed digest, never the password. */
bool login_guard_knows(struct login_guard *guard, const struct login_attempt *attempt);

/* One try is counted as wrong until it is found right; then a turn is waited for.
 * CA_LIMIT: too many wrong ones; CA_UNAVAILABLE: no turn in time. After CA_OK comes
 * login_guard_leave. */
enum ca_status login_guard_enter(struct login_guard *guard,
                                 const struct login_attempt *attempt);
/* The directory found it wrong, and we go on to verify: the attempt waits for a turn of
 * ours and is not elsewhere any more. CA_UNAVAILABLE: no turn in time, and it still is.
 */
enum ca_status login_guard_return(struct login_guard *guard,
                                  struct login_attempt *attempt);
/* It could not be verified: as if it had not been tried. */
void login_guard_leave_untried(struct login_guard *guard,
                               const struct login_attempt *attempt);
/* `is_right`: remembered, and not counted. */
void login_guard_leave(struct login_guard *guard, const struct login_attempt *attempt,
                       bool is_right);
