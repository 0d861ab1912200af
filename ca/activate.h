/* Activation around its records: throttles of this process, and new passwords. */
#pragma once

#include "activation.h"
#include "exchange.h"
#include "lifecycle.h"
#include "stretch.h"

#define ACTIVATE_TTL 120        /* seconds that a session lives */
#define ACTIVATE_SELF_HOURLY 10 /* passwords that a user sets or has mailed */
#define ACTIVATE_CSR_MAX 8192   /* octets of DER */
#define ACTIVATE_NAME_SIZE 65   /* digest of a name, in hex */

/* ---- Throttles. In memory: what must hold across restarts is in the store. ---- */

struct activate_guard;
struct activate_guard *activate_guard_new(void); /* NULL: no memory */
void activate_guard_free(struct activate_guard *guard);

struct activate_hello {
    const char *source; /* the peer's address */
    const char *name;   /* digest of user and reference */
};
/* Counts one hello. CA_LIMIT with the seconds to wait: too many of the source or the
 * name in a minute, too many open sessions of the source, or too many of all. */
enum ca_status activate_guard_hello(struct activate_guard *guard,
                                    const struct config_activation *limits,
                                    const struct activate_hello *hello,
                                    int64_t *ret_retry_after);
/* A session of the source was opened, or spent. */
void activate_guard_opened(struct activate_guard *guard, const char *source);
void activate_guard_spent(struct activate_guard *guard, const char *source);
/* Is there room for one more session? Asks the store once a second at most. */
enum ca_status activate_guard_room(struct activate_guard *guard, struct store *store,
                                   int64_t sessions);

/* The digest under which a name is throttled. */
void activate_name(struct stretch_name name, char ret_name[ACTIVATE_NAME_SIZE]);
/* The server's name in CI: the authority of base_url, lower-case; free() it. */
enum ca_status activate_server(struct service *service, char **ret_server);

/* The stretched password behind a verifier of this name: one unsealing, also where
 * nothing is live (then `ret_prs` is of no use). A row that does not open is reported
 * to the audit and not live any more. CA_UNAVAILABLE. */
enum ca_status activate_unseal(struct exchange *exchange, struct stretch_name name,
                               const struct activation_verifier *verifier,
                               bool *is_live, uint8_t ret_prs[STRETCH_PRS_SIZE]);

/* ---- New passwords ---- */

struct activate_wanted {
    const char *user, *ref;
    const char *profile;  /* NULL: the user's effective one */
    const char *password; /* as it was typed; NULL: generate one */
    bool self_service;    /* the user sets it: the profile's rules hold */
    int64_t expires_in;   /* 0: as the profile says, like the next two */
    int64_t devices;
    int lockout;            /* -1 */
    const char *created_by; /* administrator, or NULL */
    struct lifecycle_cause cause;
};
struct activate_made {
    struct activation activation;
    char password[STRETCH_PASSWORD_MAX + 1]; /* in the clear; activate_made_clear */
    bool two_messages;                       /* as the profile wants it */
};
void activate_made_clear(struct activate_made *made);

/* A password that is not stored yet. */
struct activate_draft;
/* Draws or checks the password, stretches it for each login name of the user and seals:
 * never inside a store closure. CA_NOT_FOUND (user, profile), CA_FORBIDDEN (disabled
 * user, a profile that allows no password, rules), CA_MALFORMED, CA_UNAVAILABLE.
 * `wanted` and what it points to stay the caller's until the draft is freed. */
enum ca_status activate_prepare(struct service *service,
                                const struct activate_wanted *wanted,
                                struct activate_draft **ret_draft);
/* Stores and audits it; may run twice. CA_CONFLICT: a login name has another user's
 * live password with this reference. */
enum ca_status activate_insert(struct store_tx *tx, struct activate_draft *draft);
/* Password and record, as they will be or are stored. */
const struct activate_made *activate_draft_made(const struct activate_draft *draft);
void activate_draft_free(struct activate_draft *draft); /* wipes; NULL is nothing */

/* Both at once. */
enum ca_status activate_make(struct service *service,
                             const struct activate_wanted *wanted,
                             struct activate_made *ret_made);
