/* Passwords and login tokens: found, throttled, verified, counted, in this order. */
#include "auth_person.h"
#include "auth.h"
#include "auth_activation.h"
#include "auth_provider.h"
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
    struct service *service;
    const char *typed;
    char *user;               /* NULL: nobody */
    struct password password; /* user NULL: there is none */
    struct auth_activation activation;
    struct roster_entry entry; /* of the directory; id NULL: not of it */
};

static void
whose_clear_auto(struct whose *whose)
{
    free(CA_STEAL(whose->user));
    auth_activation_clear(&whose->activation);
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
        whose->user = CA_STEAL(user.name);
    user_clear(&user);
    if (status == CA_OK)
        status = password_load(tx, whose->user, &whose->password);
    if (status == CA_OK && is_of_directory(whose))
        status = roster_of_user(tx, whose->user, &whose->entry);
    if (status != CA_OK && status != CA_NOT_FOUND)
        return status;
    return auth_activation_read(tx, whose->service, whose->user, whose->typed,
                                &whose->activation);
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
 * try on. The statement runs for nobody, too. */
static enum ca_status
count_wrong(struct store *store, const struct password *password)
{
    char nobody[] = "";
    enum ca_status status =
        store_write(store, try_count, password->user ? password->user : nobody);
    if (status == CA_UNAVAILABLE || status == CA_INTERNAL)
        return status;
    if (!password->user)
        return ca_fail(CA_UNAUTHENTICATED, "no user with this password logs in so");
    return ca_fail(CA_UNAUTHENTICATED, "wrong password of user '%s'", password->user);
}

static enum ca_status
count_right(struct store *store, const struct password *password)
{
    return password->tries > 0 ? store_write(store, right_count, password->user)
                               : CA_OK;
}

/* The name under which tries are throttled: the user's, else what was typed, so that
 * unknown users are throttled alike. */
static const char *
throttle_name(const struct whose *whose, char ret_name[RECORD_NAME_MAX + 1])
{
    if (whose->user)
        return whose->user;
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

/* What verifying came to. */
struct verdict {
    bool is_right;      /* the user's own password */
    bool is_activation; /* else the activation password */
};

static enum ca_status
verify_activation(struct exchange *exchange, const struct whose *whose,
                  struct login_attempt *attempt, struct verdict *verdict)
{
    if (verdict->is_right || !whose->activation.serves)
        return CA_OK;
    enum ca_status status = login_guard_return(exchange->service->logins, attempt);
    if (status != CA_OK)
        return status;
    return auth_activation_verify(exchange, &whose->activation, attempt->secret,
                                  &verdict->is_activation);
}

/* Within a turn: the user's own password, then the activation password, both whoever
 * asks. */
static enum ca_status
verify_anew(struct exchange *exchange, const struct whose *whose,
            struct login_attempt *attempt, bool is_locked, struct verdict *verdict)
{
    struct login_guard *guard = exchange->service->logins;
    const char *onetime = whose->activation.onetime;
    enum ca_status status = login_guard_enter(guard, attempt);
    if (status != CA_OK)
        return status;
    status = verify_secret(exchange, whose, attempt, is_locked, &verdict->is_right);
    if (status != CA_OK && attempt->is_elsewhere) {
        login_guard_leave_untried(guard, attempt);
        return ca_fail(CA_UNAVAILABLE, "the directory cannot verify a password: %s",
                       status_message());
    }
    if (status == CA_OK)
        status = verify_activation(exchange, whose, attempt, verdict);
    bool is_right = verdict->is_right || verdict->is_activation;
    if (verdict->is_activation)
        attempt->verifier = onetime;
    login_guard_leave(guard, attempt, status == CA_OK && is_right);
    return status;
}

/* A password that is locked is not looked at, so that the lock tells nothing. */
static enum ca_status
verify(struct exchange *exchange, const struct whose *whose,
       struct login_attempt *attempt, bool *ret_is_activation)
{
    struct service *service = exchange->service;
    const struct auth_activation *activation = &whose->activation;
    bool is_locked = whose->password.locked_until > clock_now();
    struct verdict verdict = { .is_right = false };
    struct login_attempt by_activation = *attempt;
    by_activation.verifier = activation->onetime[0] ? activation->onetime : NULL;
    attempt->is_elsewhere = asks_directory(exchange, whose, is_locked);
    *ret_is_activation = false;
    if (!is_locked && login_guard_knows(service->logins, attempt))
        return count_right(service->store, &whose->password);
    if (login_guard_knows(service->logins, &by_activation)) {
        *ret_is_activation = true;
        return auth_activation_right(service, activation);
    }
    enum ca_status status = verify_anew(exchange, whose, attempt, is_locked, &verdict);
    if (status != CA_OK)
        return status;
    *ret_is_activation = verdict.is_activation;
    if (verdict.is_activation)
        return CA_OK;
    if (is_locked)
        return ca_fail(CA_UNAUTHENTICATED, "the password of user '%s' is locked",
                       whose->user);
    if (!verdict.is_right)
        return count_wrong(service->store, &whose->password);
    return count_right(service->store, &whose->password);
}

static enum ca_status
by_password(struct exchange *exchange, const struct ca_credential *credential,
            struct person *person)
{
    char name[RECORD_NAME_MAX + 1];
    struct service *service = exchange->service;
    bool is_activation = false;
    /* Without a sealing key there are none. */
    CA_AUTO(whose_clear)
    struct whose whose = {
        .service = service,
        .typed = credential->user,
        .activation.serves =
            auth_takes_activation(credential) && atomic_load(&service->vault),
    };
    if (!credential->user || !credential->secret || credential->secret_size == 0 ||
        credential->secret_size > PASSWORD_SIZE_MAX ||
        memchr(credential->secret, '\0', credential->secret_size))
        return ca_fail(CA_UNAUTHENTICATED, "no user or no password");
    enum ca_status status = store_read(service->store, whose_read, &whose);
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
    status = verify(exchange, &whose, &attempt, &is_activation);
    if (status != CA_OK)
        return status;
    person->user = CA_STEAL(whose.user);
    if (is_activation)
        memcpy(person->onetime, whose.activation.onetime, sizeof person->onetime);
    else
        password_mark(whose.password.verifier, person->password);
    return CA_OK;
}

enum ca_status
auth_login_token(struct store_tx *tx, const struct ca_credential *credential,
                 struct person *person)
{
    struct login login = { .user = NULL };
    person_clear(person);
    if (!credential->secret)
        return ca_fail(CA_UNAUTHENTICATED, "no login token");
    enum ca_status status =
        login_verify(tx, credential->secret, credential->secret_size, &login);
    if (status != CA_OK)
        return status;
    person->user = login.user;
    person->made = login.made;
    memcpy(person->onetime, login.id, sizeof login.id);
    status = auth_activation_check(tx, login.under);
    person->verified = status == CA_OK;
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
    return auth_login_token(tx, question->credential, question->person);
}

enum ca_status
auth_person(struct exchange *exchange, const struct ca_credential *credential,
            struct person *person)
{
    enum ca_status status = service_wait_begin(exchange->service);
    if (status != CA_OK)
        return status;
    if (credential->kind == CA_CREDENTIAL_PROVIDER) {
        status = auth_provider(exchange, credential, person);
    } else if (credential->kind == CA_CREDENTIAL_PASSWORD) {
        status = by_password(exchange, credential, person);
    } else {
        struct token_question question = { credential, person };
        status = store_read(exchange->service->store, token_read, &question);
    }
    service_wait_end(exchange->service);
    person->verified = status == CA_OK;
    return status;
}
