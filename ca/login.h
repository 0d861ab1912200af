/* Login tokens: what a person who has logged in hands to the enrolment client of a
 * device. 16 hex digits name the token, 256 bits are secret; the state table keeps the
 * secret's SHA-256 with the user, for one enrolment. */
#pragma once

#include "record.h"

#define LOGIN_TEXT_SIZE 60 /* 59 characters of base64url's alphabet and NUL */
#define LOGIN_ID_SIZE                                                                  \
    23 /* "login:" and the 16 digits: the secret's name in records                     \
        */
#define LOGIN_SECONDS_MAX 3600

/* Another one-time secret by whose id a record names it ("activation:<id>"): the
 * password by which the person logged in, used up with the token. */
#define LOGIN_UNDER_SIZE 48

/* Who holds a token. */
struct login {
    char id[LOGIN_ID_SIZE];
    char *user;
    int64_t made; /* the user's record: a later one of this name is somebody else */
    char under[LOGIN_UNDER_SIZE]; /* "": a password of the user's own */
};

/* Draws a token for this user; `under` may be "". CA_LIMIT above LOGIN_SECONDS_MAX. */
enum ca_status login_issue(struct store_tx *tx, const struct login *login,
                           int64_t seconds, char ret_text[LOGIN_TEXT_SIZE]);
/* Is this text an unused, unexpired token? Gives its holder (free() the user), else
 * CA_UNAUTHENTICATED with the true reason in the message only. */
enum ca_status login_verify(struct store_tx *tx, const char *text, size_t size,
                            struct login *ret_login);

/* Does a record's one-time secret name a login token? */
bool login_is_id(const char *id);
/* As challenge_claim, challenge_finish, challenge_release and challenge_hand_over. A
 * token that is released after its time is worth nothing. The first three also tell the
 * secret under it, which takes the same step. */
enum ca_status login_claim(struct store_tx *tx, const char *id, const char *serial,
                           char ret_under[LOGIN_UNDER_SIZE]);
enum ca_status login_finish(struct store_tx *tx, const char *id, const char *serial,
                            char ret_under[LOGIN_UNDER_SIZE]);
enum ca_status login_release(struct store_tx *tx, const char *id, const char *serial,
                             char ret_under[LOGIN_UNDER_SIZE]);
enum ca_status login_hand_over(struct store_tx *tx, const char *id, const char *from,
                               const char *to);
