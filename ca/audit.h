/* The audit log: what was done or refused, by whom, over which protocol. An entry is a
 * row of the transaction it describes, so neither exists without the other. */
#pragma once

#include "record.h"

struct audit_entry {
    const char *action; /* "certificate.issue", "enrol.refuse", "user.update", ... */
    const char
        *actor; /* "admin:alice", "user:bob", "device:...", "system", "peer:ADDR" */
    const char *object;   /* "certificate:SERIAL", "profile:scep/default", ... */
    const char *protocol; /* "scep", "api", "command", ... */
    const char *request;  /* request id */
    const char *outcome;  /* "ok" or a status word */
    json_t *detail;       /* object without secrets, or NULL; borrowed */
};

/* Appends the entry as the instance's next leaf: number, time, canonical JSON and its
 * leaf hash SHA-256(0x00 || JSON) (RFC 9162 2.1.1). Within the caller's transaction. */
enum ca_status audit_append(struct store_tx *tx, const struct audit_entry *entry);

/* Refusals before any verified credential are counted, one row a source, reason and
 * minute: cheap, and no flood. */
enum ca_status audit_count_refusal(struct store_tx *tx, const char *protocol,
                                   const char *source, const char *reason);
/* The same for `count` of them at once. */
enum ca_status audit_count_refusals(struct store_tx *tx, const char *protocol,
                                    const char *source, const char *reason,
                                    int64_t count);

/* The action of the leaf that a minute's count becomes. */
#define AUDIT_REFUSALS "request.refuse"
/* Makes leaves of the counts of minutes before `now`'s, at most 64 a call; counting
 * does so too. */
enum ca_status audit_fold_refusals(struct store_tx *tx, int64_t now);

/* audit_append for something that happened `count` times, at another time. */
enum ca_status audit_append_counted(struct store_tx *tx,
                                    const struct audit_entry *entry, int64_t time,
                                    int64_t count);
/* SHA-256(0x00 || octets). */
enum ca_status audit_leaf_hash(const void *octets, size_t size, uint8_t ret_hash[32]);

struct audit_row {
    int64_t number, time, count;
    char *instance, *action, *actor, *object, *protocol, *request, *outcome;
    json_t *detail;
    char *leaf; /* hex */
};
extern const struct field audit_row_fields[];

struct audit_filter {
    const char *action, *actor, *object;
    int64_t since, until; /* from and to below; 0: open */
    const char *instance; /* NULL: this process's */
};
/* Newest first; page.after is a number as text. The first page begins with the counts
 * of minutes that are not leaves yet, whose number is -1. */
enum ca_status audit_list(struct store_tx *tx, const struct audit_filter *filter,
                          const struct record_page *page, record_visit visit,
                          void *arg);

/* Of this process's log, oldest first: at most `limit` entries from number `from`
 * on. */
enum ca_status audit_after(struct store_tx *tx, int64_t from, int64_t limit,
                           record_visit visit, void *arg);
/* The number that its next entry will have. */
enum ca_status audit_size(struct store_tx *tx, int64_t *ret_size);

/* Which instance's log this process appends to; once, at start. */
void audit_set_instance(const char *instance);
const char *audit_instance(void); /* "" before */

/* Every entry of every instance held against its hash, its number and its log's size.
 * An entry that somebody changed together with its hash is found by the checkpoints of
 * the Merkle log alone. */
struct audit_verdict {
    int64_t count, bad, newest; /* entries, of them wrong; time of the newest */
    char first_instance[RECORD_NAME_MAX + 1], first_number[24];
    const char *first_reason; /* why the first of them is wrong */
};
enum ca_status audit_verify(struct store_tx *tx, struct audit_verdict *ret_verdict);
