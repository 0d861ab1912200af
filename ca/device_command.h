/* Management commands queued for a device, each with its fate and result. */
#pragma once

#include "omadm.h"
#include "record.h"

enum command_kind {
    COMMAND_GET,
    COMMAND_ADD,
    COMMAND_REPLACE,
    COMMAND_DELETE,
    COMMAND_EXEC,
    COMMAND_ATOMIC,
    COMMAND_SEQUENCE
};

enum command_state { COMMAND_QUEUED, COMMAND_SENT, COMMAND_DONE, COMMAND_FAILED };

#define COMMAND_QUEUE_MAX 10000   /* queued and sent, of one device */
#define COMMAND_CLAIM_MAX 24576   /* octets that one claim takes, but for the last */
#define COMMAND_MEMBERS_MAX 64    /* of an atomic or sequence */
#define COMMAND_LEASE_SECONDS 300 /* how long a session has what it took */
#define COMMAND_KEPT_SECONDS (90 * 86400) /* after it finished */
#define COMMAND_ATTEMPTS_MAX 3            /* then it failed, unanswered */

/* A command inside an atomic or sequence. */
struct command_member {
    int kind;
    char *target, *data, *type;
    int format;
};

struct device_command {
    char *id, *device;
    int64_t number; /* order within the device, from 1 */
    int kind;       /* enum command_kind */
    char *target, *data, *type;
    int format;                /* enum omadm_format */
    struct field_list members; /* struct command_member: of atomic and sequence */
    int state;                 /* enum command_state */
    json_t *result;            /* {"status", "items", "members"}, or NULL */
    int64_t attempts, sent, finished;
    char *created_by; /* administrator */
    struct record_stamp stamp;
};

extern const struct field device_command_fields[];

/* What the table cannot say: a target that is a node of the tree, data where the kind
 * wants it, no Get and no group inside an atomic, no node added and replaced in one.
 * Errors by JSON pointer; CA_MALFORMED. */
enum ca_status device_command_check(const struct device_command *command,
                                    struct field_errors *errors);

/* Appends to the device's queue; fills id, number, stamp. CA_NOT_FOUND: no such device;
 * CA_FORBIDDEN: it is disabled or unenrolled; CA_LIMIT: COMMAND_QUEUE_MAX wait. */
enum ca_status device_command_insert(struct store_tx *tx,
                                     struct device_command *command);
/* CA_NOT_FOUND also for another device's. */
enum ca_status device_command_load(struct store_tx *tx, const char *device,
                                   const char *id, struct device_command *ret_command);
/* In order of number; page.after is a number. `state` NULL: any. */
enum ca_status device_command_list(struct store_tx *tx, const char *device,
                                   const char *state, const struct record_page *page,
                                   record_visit visit, void *arg);
/* Removes a QUEUED one; CA_CONFLICT when it was sent already. */
enum ca_status device_command_withdraw(struct store_tx *tx, const char *device,
                                       const char *id);

/* A session takes the first `limit` of what waits, QUEUED or left SENT by a session
 * whose lease is over: SENT by `session`, visited in order. What was sent
 * COMMAND_ATTEMPTS_MAX times without an answer becomes FAILED instead. */
enum ca_status device_command_claim(struct store_tx *tx, const char *device,
                                    const char *session, int64_t limit,
                                    record_visit visit, void *arg);
/* SENT by this session -> DONE or FAILED with its result; CA_CONFLICT otherwise, also
 * for an answer that comes twice. */
enum ca_status device_command_finish(struct store_tx *tx, const char *device,
                                     const char *id, const char *session, bool failed,
                                     const json_t *result);
/* What the session has without an answer is QUEUED again: the session is over. */
enum ca_status device_command_release(struct store_tx *tx, const char *device,
                                      const char *session);
/* Forgets what finished before `before`, at most `limit`. */
enum ca_status device_command_expire(struct store_tx *tx, int64_t before,
                                     int64_t limit);
void device_command_clear(struct device_command *command);
