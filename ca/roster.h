/* The roster: which users come from the directory, by the id that a person keeps there,
 * which groups it fills, and how its last sync went. */
#pragma once

#include "record.h"

struct roster_entry {
    char *id;   /* of the directory */
    char *user; /* name here */
    char *dn;
    bool disabled; /* the directory disabled the user, or has him no longer */
};

/* CA_NOT_FOUND. */
enum ca_status roster_find(struct store_tx *tx, const char *id,
                           struct roster_entry *ret_entry);
enum ca_status roster_of_user(struct store_tx *tx, const char *user,
                              struct roster_entry *ret_entry);
/* Inserts or replaces by id. CA_CONFLICT: the user is another id's. */
enum ca_status roster_put(struct store_tx *tx, const struct roster_entry *entry);
/* In order of the id; page.after is one. */
enum ca_status roster_list(struct store_tx *tx, const struct record_page *page,
                           record_visit visit, void *arg);
void roster_entry_clear(struct roster_entry *entry);

/* Users of the directory that are active. */
enum ca_status roster_count_active(struct store_tx *tx, int64_t *ret_count);

/* A group whose members the directory knows. */
enum ca_status roster_put_group(struct store_tx *tx, const char *group);
enum ca_status roster_has_group(struct store_tx *tx, const char *group, bool *ret_has);

/* How the last sync went; one row. */
struct roster_run {
    int64_t started, finished;
    char *outcome;  /* "ok" or a status word */
    char *message;  /* why not, for the operator; or NULL */
    json_t *counts; /* object */
};
enum ca_status roster_run_save(struct store_tx *tx, const struct roster_run *run);
enum ca_status roster_run_load(struct store_tx *tx, struct roster_run *ret_run);
void roster_run_clear(struct roster_run *run);
