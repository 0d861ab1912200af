/* Invitations: a code by which a user sets the self-service password, once. One live
 * one for each user; kept as its hash (SECURITY A0, A3). */
#pragma once

#include "record.h"

#define INVITATION_CODE_SIZE 60 /* 16 hex digits, 43 of base64url, and NUL */
#define INVITATION_SECONDS_DEFAULT ((int64_t)48 * 3600)
#define INVITATION_SECONDS_MAX ((int64_t)30 * 86400)
#define INVITATION_TRIES 5

/* 16 digits that name it and 256 secret bits. Wipe it. CA_INTERNAL. */
enum ca_status invitation_draw(char ret_code[INVITATION_CODE_SIZE]);
/* Stores it and ends the user's earlier one. CA_NOT_FOUND: no such user; CA_FORBIDDEN:
 * a disabled one, or one whose password is not kept here; CA_LIMIT: too long a time. */
enum ca_status invitation_save(struct store_tx *tx, const char *user, const char *code,
                               int64_t expires);
/* CA_NOT_FOUND: the user has none. */
enum ca_status invitation_withdraw(struct store_tx *tx, const char *user);

/* Whose is it? `ret_user` (free() it) stays NULL for any that is not live: unknown,
 * wrong, used, expired, of a disabled user, or of one who is another by now, has
 * another mailbox or another password than when it was saved. A wrong secret behind a
 * known name is counted, the fifth ends it: so the statuses are those of the store
 * alone. */
enum ca_status invitation_try(struct store_tx *tx, const char *code, char **ret_user);
/* The same, and it is used up. */
enum ca_status invitation_take(struct store_tx *tx, const char *code, char **ret_user);
