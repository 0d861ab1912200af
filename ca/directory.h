/* The LDAP directory: a connection that is never in the clear, its users and groups as
 * records here, and whether a password is one of its users' (read-only, RFC 4511). */
#pragma once

#include "config.h"

#define DIRECTORY_SECONDS_MAX 600 /* for reading all of it */

/* One user of the directory. */
struct directory_entry {
    char *dn;        /* normalised, ASCII in lower case */
    char *id;        /* that the person keeps; octets that are no text in hex */
    json_t *members; /* object: name, email ... as the API takes a user */
    json_t *groups;  /* array of names of groups here */
    bool disabled;
    char problem[160]; /* why it cannot be a user here; "" */
};
typedef enum ca_status (*directory_visit)(const struct directory_entry *entry,
                                          void *arg);

struct directory;

/* Refuses, with the member's name, what the table of the configuration cannot see: DNs
 * that are none. Once, at start. CA_MALFORMED. */
enum ca_status directory_check(const struct config_directory *config);

/* Connects, protects the connection (server's certificate and name checked) and binds
 * as the service account. `config` must outlive it. CA_UNAVAILABLE. */
enum ca_status directory_open(const struct config_directory *config,
                              struct directory **ret_directory);
void directory_close(struct directory *directory); /* NULL is nothing */

/* Visits every user, page by page. Anything that is missing in the answer is a failure:
 * CA_UNAVAILABLE; CA_LIMIT: the server's size limit, users_max or
 * DIRECTORY_SECONDS_MAX; CA_UNSUPPORTED: a group's members in ranges. */
enum ca_status directory_users(struct directory *directory, directory_visit visit,
                               void *arg);

/* Is it the password of the user of this name (and this id) who is not disabled? An
 * empty one never is. An unknown user takes as many round trips. Never inside a store
 * closure. CA_UNAVAILABLE: the directory did not say. */
enum ca_status directory_verify(const struct config_directory *config, const char *name,
                                const char *id, const char *secret, bool *ret_is_right);

/* ---- Inside (directory_entry.c) ---- */

struct ldap;
struct ldapmsg;
struct text_buffer;
/* A value in a filter (RFC 4515 section 3): every octet that is no letter or digit as
 * \HH. */
void directory_filter_escape(struct text_buffer *buffer, const char *value);
/* A DN in one writing; free() it. CA_MALFORMED: it is none. */
enum ca_status directory_dn_normalise(const char *dn, char **ret_dn);
/* What the group of this (normalised) DN is called here; free() it. CA_NOT_FOUND: it is
 * none of ours. */
enum ca_status directory_group_name(const struct config_directory_groups *config,
                                    const char *dn, char **ret_name);
/* The names of attributes to ask for, NULL-terminated. */
#define DIRECTORY_ATTRIBUTES_MAX 48
void directory_attributes(const struct config_directory *config,
                          char *ret_names[DIRECTORY_ATTRIBUTES_MAX]);
enum ca_status directory_entry_read(const struct config_directory *config,
                                    struct ldap *ldap, struct ldapmsg *message,
                                    struct directory_entry *ret_entry);
void directory_entry_clear(struct directory_entry *entry);
