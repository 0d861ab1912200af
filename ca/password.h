/* Passwords of local users: the rules they keep, their scrypt verifiers, and the count
 * of wrong tries that locks them (SECURITY A0). */
#pragma once

#include "record.h"

#define PASSWORD_SIZE_MIN                                                              \
    8 /* octets of printable ASCII, as activation passwords have */
#define PASSWORD_SIZE_MAX 128
#define PASSWORD_TRIES 5 /* wrong ones in a row before the first lock */
#define PASSWORD_LOCK_SECONDS                                                          \
    300 /* the first lock; each further wrong try doubles it */
#define PASSWORD_LOCK_SECONDS_MAX 86400
#define PASSWORD_VERIFIER_SIZE 128 /* octets of its text, with NUL */
#define PASSWORD_MARK_SIZE 17      /* 16 hex digits and NUL */

/* In place of a verifier: the directory knows the password. The row counts the wrong
 * tries and locks alike. */
#define PASSWORD_OF_DIRECTORY "directory"

struct password {
    char *user;
    char *verifier;       /* "scrypt$14$8$5$<salt>$<hash>" */
    int64_t tries;        /* wrong ones since the last right one */
    int64_t locked_until; /* 0: not locked */
    struct record_stamp stamp;
};

/* May it be this user's password? False with a sentence in `ret_reason`: length,
 * characters, the known-bad list, the user's own name. */
bool password_is_good(const char *user, const char *secret, char *ret_reason,
                      size_t size);

/* The verifier of a new password: a fresh salt, some tenths of a second of work and
 * 16 MiB. Never inside a store closure. */
enum ca_status password_derive(const char *secret, size_t size,
                               char ret_verifier[PASSWORD_VERIFIER_SIZE]);
/* Is it the password behind this verifier? The same work. `verifier` NULL: nobody's,
 * which takes as long and matches nothing. */
enum ca_status password_verify(const char *verifier, const char *secret, size_t size,
                               bool *ret_matches);

/* Tells a verifier from every other without saying anything of it; "" for NULL. */
void password_mark(const char *verifier, char ret_mark[PASSWORD_MARK_SIZE]);

/* Sets or replaces the user's password, without tries and lock. CA_NOT_FOUND: no such
 * user; CA_FORBIDDEN: one of the directory, whose password is there. */
enum ca_status password_save(struct store_tx *tx, const char *user,
                             const char *verifier);
enum ca_status password_load(struct store_tx *tx, const char *user,
                             struct password *ret_password);
/* CA_NOT_FOUND when there is none. */
enum ca_status password_remove(struct store_tx *tx, const char *user);
/* A wrong try: counted, and from PASSWORD_TRIES on it locks. */
enum ca_status password_count_try(struct store_tx *tx, const char *user);
/* A right one: the count starts anew. */
enum ca_status password_count_right(struct store_tx *tx, const char *user);
void password_clear(struct password *password);
