/* Groups of users and their members. */
#pragma once

#include "record.h"

struct group {
    char *name, *description;
    int64_t priority; /* 0..1000, the lower the stronger */
    struct record_stamp stamp;
};

extern const struct field group_fields[];

enum ca_status group_load(struct store_tx *tx, const char *name,
                          struct group *ret_group);
enum ca_status group_insert(struct store_tx *tx, struct group *group);
enum ca_status group_update(struct store_tx *tx, struct group *group);
enum ca_status group_delete(struct store_tx *tx, const char *name, int64_t version);
enum ca_status group_list(struct store_tx *tx, const struct record_page *page,
                          record_visit visit, void *arg);
/* CA_NOT_FOUND when group or user does not exist; adding twice is CA_OK. */
enum ca_status group_add_member(struct store_tx *tx, const char *group,
                                const char *user);
enum ca_status group_remove_member(struct store_tx *tx, const char *group,
                                   const char *user);
/* Visits member names (const char *). */
enum ca_status group_members(struct store_tx *tx, const char *group,
                             const struct record_page *page, record_visit visit,
                             void *arg);
void group_clear(struct group *group);
