/* Activation passwords at a log-in: chosen, tried, stretched, compared. */
#include "auth_activation.h"
#include "activation_session.h"
#include "assignment.h"
#include "auto.h"
#include "log.h"
#include "profile_cache.h"
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

/* ---- Which one it would be ---- */

struct live {
    char id[ACTIVATION_ID_SIZE];
    char profile[RECORD_NAME_MAX + 1]; /* "": the user's effective one */
    int64_t failures;
};

struct lives {
    struct live items[ACTIVATION_LIVE_MOST];
    size_t count;
};

static enum ca_status
live_visit(const void *record, void *arg)
{
    const struct activation_live *found = record;
    struct lives *lives = arg;
    struct live *live = &lives->items[lives->count++];
    snprintf(live->id, sizeof live->id, "%s", found->id);
    snprintf(live->profile, sizeof live->profile, "%s",
             found->profile ? found->profile : "");
    live->failures = found->failures;
    return CA_OK;
}

/* Does the profile let its passwords in here? One that is gone does not. */
static enum ca_status
profile_permits(struct store_tx *tx, struct service *service, const char *profile,
                bool *ret_permits)
{
    const struct profile_cached *cached = NULL;
    *ret_permits = false;
    enum ca_status status =
        profile_cache_get(service->profiles, tx, PROFILE_ACTIVATION, profile, &cached);
    if (status != CA_OK)
        return status == CA_NOT_FOUND ? CA_OK : status;
    *ret_permits = (cached->profile.settings.activation.protocols &
                    ACTIVATION_PROTOCOL_WINDOWS) != 0;
    profile_cached_release(cached);
    return CA_OK;
}

static enum ca_status
live_choose(struct store_tx *tx, struct service *service, const char *user,
            const struct lives *lives, struct auth_activation *activation)
{
    CA_AUTO(free) char *effective = NULL;
    enum ca_status status = assignment_effective(
        tx, user, profile_kind_words[PROFILE_ACTIVATION], &effective, NULL);
    bool permits = false;
    if (status == CA_NOT_FOUND)
        status = CA_OK;
    for (size_t i = 0; i < lives->count && status == CA_OK && !permits; i++) {
        const struct live *live = &lives->items[i];
        const char *profile = live->profile[0] ? live->profile : effective;
        if (!profile)
            continue;
        status = profile_permits(tx, service, profile, &permits);
        if (status == CA_OK && permits) {
            memcpy(activation->id, live->id, sizeof activation->id);
            activation->failures = live->failures;
        }
    }
    return status;
}

enum ca_status
auth_activation_read(struct store_tx *tx, struct service *service, const char *user,
                     const char *typed, struct auth_activation *activation)
{
    struct lives lives = { .count = 0 };
    auth_activation_clear(activation);
    if (!activation->serves)
        return CA_OK;
    const char *name = user ? user : typed;
    if (!stretch_user(name, strlen(name), activation->login))
        activation->login[0] = '\0';
    const char *owner = user ? user : "";
    enum ca_status status =
        activation_live_list(tx, owner, activation->login, live_visit, &lives);
    if (status == CA_OK)
        status = live_choose(tx, service, owner, &lives, activation);
    if (status != CA_OK)
        return status;
    status = activation_live_load(tx, activation->id, activation->login,
                                  &activation->verifier);
    if (status == CA_OK)
        snprintf(activation->onetime, sizeof activation->onetime,
                 ONETIME_ACTIVATION "%s", activation->id);
    return status == CA_NOT_FOUND ? CA_OK : status;
}

/* ---- Tries ---- */

struct attempt {
    const struct auth_activation *activation;
    char name[ACTIVATE_NAME_SIZE]; /* whose failures of a day are counted */
    int64_t failures_max;
    bool is_live, is_last;
};

static struct stretch_name
name_of(const struct auth_activation *activation)
{
    const char *ref = activation->verifier.ref;
    return (struct stretch_name){ activation->login, ref ? ref : "" };
}

/* The same statements for a name with and without a password. Beyond the day's failures
 * every password is as good as none. */
static enum ca_status
attempt_write(struct store_tx *tx, void *arg)
{
    struct attempt *attempt = arg;
    int64_t failures = 0, tries = 0;
    enum ca_status status = activation_failures_add(tx, attempt->name, &failures);
    if (status != CA_OK)
        return status;
    const char *id = failures > attempt->failures_max ? "" : attempt->activation->id;
    status = activation_attempt(tx, id, &attempt->is_live);
    if (status == CA_OK)
        status = activation_tries(tx, id, &tries);
    attempt->is_last = attempt->is_live && tries == 0;
    return status;
}

/* Ended meanwhile: then it is worth nothing, whatever was typed. */
static enum ca_status
right_write(struct store_tx *tx, void *arg)
{
    const struct attempt *attempt = arg;
    enum ca_status status = activation_prove(tx, attempt->activation->id);
    if (status == CA_CONFLICT)
        return ca_fail(CA_UNAUTHENTICATED, "%s", status_message());
    return status == CA_OK ? activation_failures_forgive(tx, attempt->name) : status;
}

static enum ca_status
give_back_write(struct store_tx *tx, void *arg)
{
    const struct attempt *attempt = arg;
    enum ca_status status = activation_failures_forgive(tx, attempt->name);
    if (status == CA_OK && attempt->is_live)
        status = activation_give_back(tx, attempt->activation->id);
    return status;
}

static struct attempt
attempt_of(struct service *service, const struct auth_activation *activation)
{
    struct attempt attempt = {
        .activation = activation,
        .failures_max = service->config.activation.failures_per_name,
    };
    activate_name(name_of(activation), attempt.name);
    return attempt;
}

/* What was typed against what is sealed; nothing is live, nothing matches. */
static enum ca_status
compare(struct exchange *exchange, const struct auth_activation *activation,
        const char *password, bool is_live, bool *ret_matches)
{
    struct vault *vault = atomic_load(&exchange->service->vault);
    const struct stretch_name name = name_of(activation);
    uint8_t salt[STRETCH_SALT_SIZE], typed[STRETCH_PRS_SIZE], sealed[STRETCH_PRS_SIZE];
    if (!vault)
        return ca_fail(CA_UNAVAILABLE, "no sealing key is in use");
    enum ca_status status = stretch_salt(vault_salt_key(vault), name, salt);
    if (status == CA_OK)
        status =
            activate_unseal(exchange, name, &activation->verifier, &is_live, sealed);
    if (status == CA_OK)
        status = stretch_make(password, salt, stretch_cost_default, typed);
    if (status == CA_OK)
        *ret_matches = CRYPTO_memcmp(typed, sealed, sizeof typed) == 0 && is_live;
    OPENSSL_cleanse(typed, sizeof typed);
    OPENSSL_cleanse(sealed, sizeof sealed);
    return status;
}

/* A fault of our own costs nobody a try. */
static enum ca_status
give_back(struct service *service, struct attempt *attempt, enum ca_status status)
{
    char message[256];
    snprintf(message, sizeof message, "%s", status_message());
    if (store_write(service->store, give_back_write, attempt) != CA_OK)
        log_write(LOG_LEVEL_ERROR,
                  json_pack("{s:s}", "activation", attempt->activation->id),
                  "a try was not given back: %s", status_message());
    return ca_fail(status, "%s", message);
}

enum ca_status
auth_activation_verify(struct exchange *exchange,
                       const struct auth_activation *activation, const char *secret,
                       bool *ret_is_right)
{
    struct service *service = exchange->service;
    struct attempt attempt = attempt_of(service, activation);
    char password[STRETCH_PASSWORD_MAX + 1];
    *ret_is_right = false;
    if (stretch_password(secret, strlen(secret), password) != CA_OK)
        return CA_OK; /* nobody's could be */
    enum ca_status status = store_write(service->store, attempt_write, &attempt);
    if (status == CA_OK) {
        status = compare(exchange, activation, password, attempt.is_live, ret_is_right);
        if (status != CA_OK)
            status = give_back(service, &attempt, status);
    }
    OPENSSL_cleanse(password, sizeof password);
    if (status == CA_OK && *ret_is_right)
        status = store_write(service->store, right_write, &attempt);
    else if (status == CA_OK && attempt.is_last)
        log_write(LOG_LEVEL_WARNING,
                  json_pack("{s:s, s:s*}", "activation", activation->id, "peer",
                            exchange->request.peer),
                  "the last try at an activation password failed");
    if (status != CA_OK)
        *ret_is_right = false;
    return status;
}

enum ca_status
auth_activation_right(struct service *service, const struct auth_activation *activation)
{
    if (activation->failures == 0)
        return CA_OK;
    struct attempt attempt = attempt_of(service, activation);
    return store_write(service->store, right_write, &attempt);
}

enum ca_status
auth_activation_check(struct store_tx *tx, const char *onetime)
{
    const char *id = onetime_activation(onetime);
    struct activation activation = { 0 };
    if (!id)
        return CA_OK;
    enum ca_status status = activation_load(tx, id, &activation);
    bool is_good = activation.state == ACTIVATION_OPEN && activation.devices > 0;
    activation_clear(&activation);
    if (status != CA_OK && status != CA_NOT_FOUND)
        return status;
    if (status == CA_NOT_FOUND || !is_good)
        return ca_fail(CA_UNAUTHENTICATED,
                       "the activation password under a login token has ended");
    return CA_OK;
}

void
auth_activation_clear(struct auth_activation *activation)
{
    bool serves = activation->serves;
    activation_verifier_clear(&activation->verifier);
    *activation = (struct auth_activation){ .serves = serves };
}
