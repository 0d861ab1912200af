/* Assignments of profiles to users and groups, and the effective profile. */
#pragma once

#include "record.h"

struct assignment {
    bool to_group;
    char *target; /* user or group name */
    char *kind;   /* profile kind word */
    char *profile;
};

/* CA_NOT_FOUND when target or profile does not exist; assigning twice is CA_OK. */
enum ca_status assignment_put(struct store_tx *tx, const struct assignment *assignment);
enum ca_status assignment_remove(struct store_tx *tx,
                                 const struct assignment *assignment);
/* Visits struct assignment of one user (own and through groups) or of one group. */
enum ca_status assignment_list(struct store_tx *tx, bool of_group, const char *target,
                               record_visit visit, void *arg);

/* The effective profile of a kind for a user: the own assignment (first by name), else
 * the strongest group's (priority, then name), else the profile "default" when there is
 * one, else CA_NOT_FOUND. `ret_from` (may be NULL): "user", "group:<name>",
 * "default". */
enum ca_status assignment_effective(struct store_tx *tx, const char *user,
                                    const char *kind, char **ret_profile,
                                    char **ret_from);
/* May this user use this profile: assigned (own or group), or effective by default. */
enum ca_status assignment_allows(struct store_tx *tx, const char *user,
                                 const char *kind, const char *profile);
void assignment_clear(struct assignment *assignment);
