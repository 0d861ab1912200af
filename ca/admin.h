/* Administrators, their roles and how they log in. */
#pragma once

#include "record.h"

enum admin_role { ROLE_ADMINISTRATOR, ROLE_OPERATOR, ROLE_APPROVER, ROLE_AUDITOR };

struct admin {
    char *name;
    unsigned roles;           /* bits of enum admin_role */
    char *certificate_sha256; /* hex of a client certificate's SHA-256, or NULL */
    bool disabled;
    struct record_stamp stamp;
};

struct admin_token {
    char *id; /* uuid */
    char *admin, *description;
    int64_t expires; /* 0: never */
    struct record_stamp stamp;
};

extern const struct field admin_fields[];
extern const struct field admin_token_fields[];
extern const char *const admin_role_words[];

enum ca_status admin_load(struct store_tx *tx, const char *name,
                          struct admin *ret_admin);
enum ca_status admin_insert(struct store_tx *tx, struct admin *admin);
enum ca_status admin_update(struct store_tx *tx, struct admin *admin);
/* CA_CONFLICT for the last enabled administrator. */
enum ca_status admin_delete(struct store_tx *tx, const char *name, int64_t version);
enum ca_status admin_list(struct store_tx *tx, const struct record_page *page,
                          record_visit visit, void *arg);
/* 256 random bits as base64url, stored as SHA-256; shown once. secret_free it. */
enum ca_status admin_token_insert(struct store_tx *tx, struct admin_token *token,
                                  char **ret_secret);
enum ca_status admin_token_list(struct store_tx *tx, const char *admin,
                                const struct record_page *page, record_visit visit,
                                void *arg);
enum ca_status admin_token_delete(struct store_tx *tx, const char *id);
/* The enabled admin of a bearer token or of a client certificate;
 * CA_UNAUTHENTICATED. */
enum ca_status admin_of_token(struct store_tx *tx, const char *secret,
                              struct admin *ret_admin);
enum ca_status admin_of_certificate(struct store_tx *tx, const uint8_t sha256[32],
                                    struct admin *ret_admin);
void admin_clear(struct admin *admin);
void admin_token_clear(struct admin_token *token);
