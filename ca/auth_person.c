/* Passwords and login tokens: found, throttled, verified, counted, in this order. */
#include "auth_person.h"
#include "auto.h"
#include "clock.h"
#include "login_guard.h"
#include "password.h"
#include "text.h"
#include "user.h"
#include <ctype.h>
#include <string.h>

void
person_clear(struct person *person)
{
    free(person->user);
    *person = (struct person){ 0 };
}

/* Whose password it would be. */
struct whose {
    const char *typed;
    struct password password; /* user NULL: nobody's */
};

static void
whose_clear_auto(struct whose *whose)
{
    password_clear(&whose->password);
}

static enum ca_status
whose_read(struct store_tx *tx, void *arg)
{
    struct whose *whose = arg;
    struct user user = { 0 };
    password_clear(&whose->password);
    enum ca_status status = user_find_login(tx, whose->typed, &user);
    if (status == CA_OK)
        status = password_load(tx, user.name, &whose->password);
    user_clear(&user);
    return status == CA_NOT_FOUND ? CA_OK : status;
}

static enum ca_status
try_count(struct store_tx *tx, void *user)
{
    return password_count_try(tx, user);
}

static enum ca_status
right_count(struct store_tx *tx, void *user)
{
    return password_count_right(tx, user);
}

/* That a wrong try cannot be counted must not tell anything, but neither may the peer
 * try on. */
static enum ca_status
count_wrong(struct store *store, const struct password *password)
{
    if (!password->user)
        return ca_fail(CA_UNAUTHENTICATED, "no user with a password logs in so");
    enum ca_status status = store_write(store, try_count, password->user);
    if (status == CA_UNAVAILABLE || status == CA_INTERNAL)
        return status;
    return ca_fail(CA_UNAUTHENTICATED, "wrong password of user '%s'", password->user);
}

/* The name under which tries are throttled: the user's, else what was typed, so that
 * unknown users are throttled alike. */
static const char *
throttle_name(const struct whose *whose, char ret_name[RECORD_NAME_MAX + 1])
{
    if (whose->password.user)
        return whose->password.user;
    size_t i = 0;
    for (; whose->typed[i] && i < RECORD_NAME_MAX; i++)
        ret_name[i] = (char)tolower((unsigned char)whose->typed[i]);
    ret_name[i] = '\0';
    return ret_name;
}

/* A password that is locked is not looked at, so that the lock tells nothing. */
static enum ca_status
verify(struct exchange *exchange, const struct whose *whose,
       const struct login_attempt *attempt)
{
    struct login_guard *guard = exchange->service->logins;
    bool is_locked = whose->password.locked_until > clock_now(), is_right = false;
    if (!is_locked && login_guard_knows(guard, attempt))
        return CA_OK;
    enum ca_status status = login_guard_enter(guard, attempt);
    if (status != CA_OK)
        return status;
    status = password_verify(is_locked ? NULL : attempt->verifier, attempt->secret,
                             attempt->secret_size, &is_right);
    login_guard_leave(guard, attempt, status == CA_OK && is_right);
    if (status != CA_OK)
        return status;
    if (is_locked)
        return ca_fail(CA_UNAUTHENTICATED, "the password of user '%s' is locked",
                       whose->password.user);
    if (!is_right)
        return count_wrong(exchange->service->store, &whose->password);
    if (whose->password.tries > 0)
        status =
            store_write(exchange->service->store, right_count, whose->password.user);
    return status;
}

static enum ca_status
by_password(struct exchange *exchange, const struct ca_credential *credential,
            struct person *person)
{
    char name[RECORD_NAME_MAX + 1];
    CA_AUTO(whose_clear) struct whose whose = { .typed = credential->user };
    if (!credential->user || !credential->secret || credential->secret_size == 0 ||
        credential->secret_size > PASSWORD_SIZE_MAX ||
        memchr(credential->secret, '\0', credential->secret_size))
        return ca_fail(CA_UNAUTHENTICATED, "no user or no password");
    enum ca_status status = store_read(exchange->service->store, whose_read, &whose);
    if (status != CA_OK)
        return status;
    CA_AUTO(secret_free)
    char *secret = strndup(credential->secret, credential->secret_size);
    if (!secret)
        return ca_fail(CA_INTERNAL, "no memory for a password");
    const struct login_attempt attempt = {
        .source = exchange->request.peer ? exchange->request.peer : "",
        .user = throttle_name(&whose, name),
        .verifier = whose.password.verifier,
        .secret = secret,
        .secret_size = credential->secret_size,
    };
    status = verify(exchange, &whose, &attempt);
    if (status == CA_OK)
        person->user = CA_STEAL(whose.password.user);
    return status;
}

struct token_question {
    const struct ca_credential *credential;
    struct person *person;
};

static enum ca_status
token_read(struct store_tx *tx, void *arg)
{
    const struct token_question *question = arg;
    const struct ca_credential *credential = question->credential;
    person_clear(question->person);
    return login_verify(tx, credential->secret, credential->secret_size,
                        question->person->login, &question->person->user);
}

enum ca_status
auth_person(struct exchange *exchange, const struct ca_credential *credential,
            struct person *person)
{
    enum ca_status status = service_wait_begin(exchange->service);
    if (status != CA_OK)
        return status;
    if (credential->kind == CA_CREDENTIAL_PASSWORD) {
        status = by_password(exchange, credential, person);
    } else if (credential->secret) {
        struct token_question question = { credential, person };
        status = store_read(exchange->service->store, token_read, &question);
    } else {
        status = ca_fail(CA_UNAUTHENTICATED, "no login token");
    }
    service_wait_end(exchange->service);
    person->verified = status == CA_OK;
    return status;
}
