/* People who prove themselves by password, login token or at an OpenID provider. */
#pragma once

#include "exchange.h"
#include "login.h"
#include "onetime.h"
#include "password.h"

struct person {
    char *user;                            /* NULL: nobody */
    char onetime[ONETIME_ACTIVATION_SIZE]; /* id of the login token or the activation
                                              password, else "" */
    char password[PASSWORD_MARK_SIZE];     /* mark of the verifier that held, else "" */
    int64_t made;  /* of a login token: its user's record; 0: whoever has the name */
    bool verified; /* the credential held */
};

/* Verifies the credential (PASSWORD, LOGIN_TOKEN or PROVIDER). CA_UNAUTHENTICATED alike
 * for an unknown user, a wrong, missing or locked password and an unknown, expired or
 * used token, also of an activation password; CA_LIMIT: too many wrong ones before;
 * CA_UNAVAILABLE. person_clear in any case. */
enum ca_status auth_person(struct exchange *exchange,
                           const struct ca_credential *credential,
                           struct person *person);
/* The same for a LOGIN_TOKEN alone, inside a question to the store. */
enum ca_status auth_login_token(struct store_tx *tx,
                                const struct ca_credential *credential,
                                struct person *person);
void person_clear(struct person *person);
