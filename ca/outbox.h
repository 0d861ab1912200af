/* The outbox: mails that wait for a mail server, and for some weeks what became of
 * them. A secret in a waiting mail is sealed, and wiped when the mail has been handed
 * over or is worth nothing any more (ECSPEKE-ACT-1 section 11.1). */
#pragma once

#include "record.h"

#define OUTBOX_ID_SIZE 17 /* 16 hex digits and NUL */
#define OUTBOX_RETRY_SECONDS                                                           \
    5 /* after the first failure; each further one doubles it */
#define OUTBOX_RETRY_SECONDS_MAX 3600
#define OUTBOX_LIFETIME                                                                \
    ((int64_t)5 * 86400) /* of a mail without an expiry of its own */
#define OUTBOX_KEEP_SECONDS ((int64_t)30 * 86400) /* of what has ended */

enum outbox_state {
    OUTBOX_WAITING,
    OUTBOX_SENT,
    OUTBOX_FAILED, /* refused for good; may be tried again while it is worth something
                    */
    OUTBOX_EXPIRED,
    OUTBOX_WITHDRAWN
};

struct outbox {
    char *id;
    char *template;  /* "activation" */
    char *user;      /* NULL: nobody's */
    char *ref;       /* of the activation password; "" */
    char *recipient; /* mail address */
    json_t *content; /* object of the variables that are no secrets */
    char *kid;       /* key that `secret` is sealed by; NULL without one */
    void *secret;    /* blob */
    size_t secret_size;
    int state;
    int64_t attempts, next_try, expires;
    int64_t sent;  /* 0: not yet */
    char *failure; /* what the last attempt failed by, or NULL */
    char *created_by;
    struct record_stamp stamp;
};

extern const struct field outbox_fields[];

/* `id` is drawn before, because a secret is bound to it. */
enum ca_status outbox_id_draw(char ret_id[OUTBOX_ID_SIZE]);
/* Waits from now on; `expires` 0: OUTBOX_LIFETIME. Of the stamp nothing counts. */
enum ca_status outbox_insert(struct store_tx *tx, const struct outbox *mail);
enum ca_status outbox_load(struct store_tx *tx, const char *id,
                           struct outbox *ret_mail);

struct outbox_filter {
    const char *user, *state, *template; /* NULL: any */
};
enum ca_status outbox_list(struct store_tx *tx, const struct outbox_filter *filter,
                           const struct record_page *page, record_visit visit,
                           void *arg);

/* Visits up to `limit` waiting mails whose time has come, oldest first, with content
 * and secret. */
enum ca_status outbox_due(struct store_tx *tx, int64_t now, int64_t limit,
                          record_visit visit, void *arg);

/* The end of an attempt at a waiting mail; `failure` says why (NULL: handed over).
 * CA_CONFLICT: it does not wait any more. */
enum ca_status outbox_sent(struct store_tx *tx, const char *id);
enum ca_status outbox_failed(struct store_tx *tx, const char *id, const char *failure,
                             bool for_good);

/* Due at once, also when it had failed for good. CA_CONFLICT: sent, expired, withdrawn.
 */
enum ca_status outbox_retry(struct store_tx *tx, const char *id);
/* Wipes it. CA_CONFLICT: it has ended. */
enum ca_status outbox_withdraw(struct store_tx *tx, const char *id);
/* The same for what waits for the user with this ref (a newer password took its place);
 * `ref` NULL: whatever waits. */
enum ca_status outbox_withdraw_of(struct store_tx *tx, const char *user,
                                  const char *ref);

/* Wipes what has expired and removes what ended long ago; a periodic job's. */
enum ca_status outbox_tidy(struct store_tx *tx, int64_t now, int64_t *ret_expired);

/* Waiting mails and the age of the oldest in seconds, for the metrics. */
enum ca_status outbox_figures(struct store_tx *tx, int64_t now, int64_t *ret_waiting,
                              int64_t *ret_oldest);
/* A deep copy into a zeroed record. False: memory, nothing is copied. */
bool outbox_copy(const struct outbox *mail, struct outbox *ret_mail);
void outbox_clear(struct outbox *mail);
