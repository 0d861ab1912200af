/* Passwords and login tokens: found, throttled, verified, counted, in this order. */
#include "auth_person.h"
#include "auto.h"
#include "clock.h"
#include "directory.h"
#include "login_guard.h"
#include "password.h"
#include "roster.h"
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
    struct password password;  /* user NULL: nobody's */
    struct roster_entry entry; /* of the directory; id NULL: not of it */
};

static void
whose_clear_auto(struct whose *whose)
{
    password_clear(&whose->password);
    roster_entry_clear(&whose->entry);
}

static bool
is_of_directory(const struct whose *whose)
{
    const char *verifier = whose->password.verifier;
    return verifier && strcmp(verifier, PASSWORD_OF_DIRECTORY) == 0;
}

static enum ca_status
whose_read(struct store_tx *tx, void *arg)
{
    struct whose *whose = arg;
    struct user user = { 0 };
    whose_clear_auto(whose);
    enum ca_status status = user_find_login(tx, whose->typed, &user);
    if (status == CA_OK)
        status = password_load(tx, user.name, &whose->password);
    if (status == CA_OK && is_of_directory(whose))
        status = roster_of_user(tx, user.name, &whose->entry);
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

/* The directory is asked for its users, and for those that nobody knows, so that both
 * take as long. A password that is locked is not asked for: the directory would lock it
 * too. */
static bool
asks_directory(const struct exchange *exchange, const struct whose *whose,
               bool is_locked)
{
    const struct config_directory *config = &exchange->service->config.directory;
    if (!config->server || !config->login || is_locked)
        return false;
    return !whose->password.user || is_of_directory(whose);
}

static enum ca_status
verify_secret(struct exchange *exchange, const struct whose *whose,
              const struct login_attempt *attempt, bool is_locked, bool *ret_is_right)
{
    if (attempt->is_elsewhere)
        return directory_verify(&exchange->service->config.directory, attempt->user,
                                whose->entry.id, attempt->secret, ret_is_right);
    bool has_verifier = !is_locked && !is_of_directory(whose);
    return password_verify(has_verifier ? attempt->verifier : NULL, attempt->secret,
                           attempt->secret_size, ret_is_right);
}

/* A password that is locked is not looked at, so that the lock tells nothing. */
static enum ca_status
verify(struct exchange *exchange, const struct whose *whose,
       struct login_attempt *attempt)
{
    struct login_guard *guard = exchange->service->logins;
    bool is_locked = whose->password.locked_until > clock_now(), is_right = false;
    attempt->is_elsewhere = asks_directory(exchange, whose, is_locked);
    if (!is_locked && login_guard_knows(guard, attempt))
        return CA_OK;
    enum ca_status status = login_guard_enter(guard, attempt);
    if (status != CA_OK)
        return status;
    status = verify_secret(exchange, whose, attempt, is_locked, &is_right);
    if (status != CA_OK && attempt->is_elsewhere) {
        login_guard_leave_untried(guard, attempt);
        return ca_fail(CA_UNAVAILABLE, "the directory cannot verify a password: %s",
                       status_message());
    }
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
    struct login_attempt attempt = {
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
