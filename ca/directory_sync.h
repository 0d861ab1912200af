/* The directory's users made users here: planned against the store, held back by a
 * brake, then done one by one, each with its audit entry. */
#pragma once

#include "directory.h"
#include "service.h"

#define SYNC_ITEMS_MAX 10000 /* results in one answer; the rest is counted */
/* Of them in all: an answer with an Idempotency-Key is kept (STATE_VALUE_MAX). */
#define SYNC_ITEMS_OCTETS_MAX (768 * 1024)

enum sync_result {
    SYNC_CREATED,
    SYNC_CHANGED,
    SYNC_DISABLED,
    SYNC_UNCHANGED,
    SYNC_REFUSED,
    SYNC_RESULT_COUNT
};
extern const char *const sync_result_words[];

struct sync_request {
    bool dry_run; /* plan and tell alone */
    bool force;   /* past the brake; never past an empty answer */
    const char *actor, *protocol, *request; /* for the audit */
};

/* Reads all of the directory, plans, and does it. The answer (new reference, also when
 * the sync is refused; NULL when the directory could not be read) is
 * {"outcome", "dry_run", "counts": {...}, "items": [{"name", "dn", "result", "reason",
 * "changed"}], "truncated"}. CA_CONFLICT: one is under way in this process,
 * or no directory is configured; CA_FORBIDDEN: the brake; CA_UNAVAILABLE, CA_LIMIT: the
 * directory. */
enum ca_status directory_sync(struct service *service,
                              const struct sync_request *request, json_t **ret_answer);

/* Does the directory say what this member of its users is? Members as the API names
 * them; an attribute as "attributes.upn". */
bool directory_governs(const struct config_directory *config, const char *member);

/* The thread of periodic syncs; nothing without a directory or interval. */
struct sync_job;
enum ca_status sync_job_start(struct service *service, struct sync_job **ret_job);
void sync_job_stop(struct sync_job *job); /* NULL is nothing */

/* ---- Inside (directory_sync_user.c) ---- */

struct sync_item {
    struct directory_entry entry; /* dn NULL: the directory has it no longer */
    char *id, *user;              /* of the roster, for those */
    enum sync_result result;
    char reason[200];
    bool is_written; /* there is something to do, be it only another DN */
    json_t *changed; /* array of members, or NULL */
};

struct sync {
    struct service *service;
    const struct sync_request *request;
    json_t *ids;    /* object: each id of the directory -> true */
    json_t *names;  /* object: each name -> how often */
    json_t *groups; /* object: groups that the directory may fill -> true */
    struct sync_item *items;
    size_t count, room;
    int64_t active; /* users of the directory before */
};

/* What becomes of one item; `does` writes it too. Fills result, reason and changed
 * afresh. */
enum ca_status sync_item_run(struct store_tx *tx, const struct sync *sync,
                             struct sync_item *item, bool does);
