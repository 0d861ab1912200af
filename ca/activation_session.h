/* Sessions between hello and enroll: each is spent once, and keeps its answer until it
 * expires. And the count of failed enrolments of a name, known or not (ECSPEKE-ACT-1
 * sections 7.2, 9 and 10). */
#pragma once

#include "record.h"

#define ACTIVATION_SN_SIZE 33 /* hex digits of 16 octets, and NUL */
#define ACTIVATION_SCALAR_MAX 66
#define ACTIVATION_ANSWER_MAX (64 * 1024)
#define ACTIVATION_FAILURE_SECONDS 86400 /* counted together */

enum activation_session_state {
    SESSION_OPEN,
    SESSION_SPENT,    /* being worked on */
    SESSION_ANSWERED, /* with an answer that is repeated */
    SESSION_OVER      /* with one that is not */
};

struct activation_session {
    char *sn;
    char *source;     /* the peer's address */
    char *activation; /* id, or "" for a name without a live password */
    int64_t expires;
    int state;
    json_t *content; /* what the exchange needs again */
    void *scalar;    /* sealed under the state key */
    size_t scalar_size;
    int64_t http_status; /* of the answer */
    void *answer;
    size_t answer_size;
};

enum ca_status activation_session_insert(struct store_tx *tx,
                                         const struct activation_session *session);
/* enroll, step 2. CA_OK: the session, which is spent and wiped by this, the work of a
 * process whose life is `run`. CA_CONFLICT:
 * the same body (its SHA-256) was answered; http_status and answer are filled.
 * CA_PENDING: it is being worked on. CA_NOT_FOUND: unknown, expired, spent by another
 * body, or over. */
enum ca_status activation_session_spend(struct store_tx *tx, const char *sn,
                                        const uint8_t digest[32], const char *run,
                                        struct activation_session *ret_session);
/* Keeps the answer of a spent session. CA_LIMIT, CA_CONFLICT. */
enum ca_status activation_session_answer(struct store_tx *tx, const char *sn,
                                         int64_t http_status, const void *answer,
                                         size_t size);
/* A spent session that comes to no answer to keep: a repetition finds it gone. */
enum ca_status activation_session_end(struct store_tx *tx, const char *sn);
/* The same of all that a process was at work on whose life is over. */
enum ca_status activation_session_end_run(struct store_tx *tx, const char *run);
/* Those that have not expired. */
enum ca_status activation_session_count(struct store_tx *tx, int64_t *ret_count);
/* Removes what has expired, sessions and counts of failures. */
enum ca_status activation_session_purge(struct store_tx *tx, int64_t *ret_count);
void activation_session_clear(struct activation_session *session);

/* Failed enrolments of a name (a digest of user and reference) within a day: how many,
 * and when they are forgotten. */
struct activation_failures {
    int64_t count, expires;
};
enum ca_status activation_failures_load(struct store_tx *tx, const char *name,
                                        struct activation_failures *ret_failures);
/* One more, until it turns out to be none. */
enum ca_status activation_failures_add(struct store_tx *tx, const char *name,
                                       int64_t *ret_count);
enum ca_status activation_failures_forgive(struct store_tx *tx, const char *name);
