/* Watches the tokens of one library, and rebuilds them when something failed. */
#include "recovery.h"
#include "bringup.h"
#include "clock.h"
#include "log.h"
#include "operation.h"
#include "token_key.h"
#include <string.h>
#include <unistd.h>

#define BACKOFF_FIRST_MS 20
#define BACKOFF_LAST_MS 1000     /* while nothing of the library is up */
#define BACKOFF_PARTIAL_MS 5000  /* another token is up, and drained by each attempt */
#define BACKOFF_MISSING_MS 10000 /* all is up, but a key is gone */
#define DRAIN_MS 1000            /* one wait for the operations under way */
#define WATCH_MS 100             /* between two looks at the calls under way */
#define STORM_QUIET_MS 100       /* rebuilds closer than this are a storm ... */
#define STORM_FREE 5             /* ... of which so many are not slowed down */
#define STUCK_EXIT 75            /* EX_TEMPFAIL: start me again */

static bool
token_is_latched(struct token *token)
{
    pthread_mutex_lock(&token->lock);
    bool is_latched = token->is_latched;
    pthread_mutex_unlock(&token->lock);
    return is_latched;
}

void
recovery_request(struct token *token, uint64_t generation)
{
    struct module *module = token->module;
    pthread_mutex_lock(&module->state_lock);
    if (module->generation == generation && !module->is_rebuilding) {
        /* Down before anything is dropped, or others would spend their tries on it. */
        module->is_rebuilding = true;
        snprintf(module->reason, sizeof module->reason, "%s", status_message());
        pthread_cond_broadcast(&module->changed);
    }
    pthread_mutex_unlock(&module->state_lock);
}

void
recovery_expect(struct module *module)
{
    pthread_mutex_lock(&module->state_lock);
    module->retry_at = clock_ticks() + BACKOFF_FIRST_MS;
    snprintf(module->reason, sizeof module->reason, "%s", status_message());
    pthread_cond_broadcast(&module->changed);
    pthread_mutex_unlock(&module->state_lock);
}

/* What makes waiting useless, with the state lock held; CA_OK: nothing. */
static enum ca_status
refusal(struct token *token)
{
    const struct module *module = token->module;
    if (module->is_closed)
        return ca_fail(CA_UNAVAILABLE, "token '%s' is closed", token->name);
    if (module->is_stuck)
        return ca_fail(CA_UNAVAILABLE, "token '%s' is stuck in a call", token->name);
    if (token_is_latched(token))
        return ca_fail(CA_UNAVAILABLE, "token '%s' is latched: its PIN was refused",
                       token->name);
    return CA_OK;
}

static enum ca_status
wait_for_up(struct token *token, int64_t deadline)
{
    struct module *module = token->module;
    struct timespec until = { .tv_sec = deadline / 1000,
                              .tv_nsec = deadline % 1000 * 1000000 };
    enum ca_status status = CA_OK;
    while ((status = refusal(token)) == CA_OK &&
           (module->is_rebuilding || !token->is_up)) {
        if (pthread_cond_clockwait(&module->changed, &module->state_lock,
                                   CLOCK_MONOTONIC, &until) != 0)
            return ca_fail(CA_UNAVAILABLE, "token '%s' is down: %s", token->name,
                           module->reason);
    }
    return status;
}

enum ca_status
recovery_wait(struct token *token, int64_t deadline)
{
    struct module *module = token->module;
    enum ca_status status = CA_OK;
    pthread_mutex_lock(&module->state_lock);
    if (module->waiters >= TOKEN_WAITERS_MAX) {
        status = ca_fail(CA_UNAVAILABLE, "token '%s': %u requests wait for it already",
                         token->name, module->waiters);
    } else {
        module->waiters++;
        status = wait_for_up(token, deadline);
        module->waiters--;
    }
    pthread_mutex_unlock(&module->state_lock);
    return status;
}

enum token_state
recovery_state(struct token *token)
{
    struct module *module = token->module;
    enum token_state state = TOKEN_UP;
    pthread_mutex_lock(&module->state_lock);
    if (module->is_rebuilding || !token->is_up)
        state = TOKEN_REBUILDING;
    if (token_is_latched(token))
        state = TOKEN_LATCHED;
    if (module->is_stuck)
        state = TOKEN_STUCK;
    pthread_mutex_unlock(&module->state_lock);
    return state;
}

/* Keys back in place. One that is not there any more, or is not what it was, makes the
 * first level fail: the library may have lost sight of it. After the second it is
 * missing, and the token is up without it. */
static enum ca_status
keys_attach(struct token *token, int level, bool *ret_missing)
{
    if (token_keys_list(token) != CA_OK)
        return CA_UNAVAILABLE;
    for (struct token_key *key = token->keys; key; key = key->next) {
        enum ca_status status = token_key_attach(key);
        if (status != CA_OK && (status == CA_UNAVAILABLE || level == 1))
            return CA_UNAVAILABLE;
        if (status != CA_OK && !key->is_missing)
            log_write(LOG_LEVEL_ERROR, json_pack("{s:s}", "token", token->name),
                      "key '%s' cannot be used any more: %s", key->label,
                      status_message());
        key->is_missing = status != CA_OK;
        *ret_missing |= key->is_missing;
    }
    return CA_OK;
}

enum outcome { OUTCOME_UP, OUTCOME_MISSING, OUTCOME_PARTIAL, OUTCOME_DOWN };

static enum outcome
token_bringup(struct token *token, int level)
{
    bool misses = false;
    enum ca_status status = bringup_token(token);
    if (status == CA_OK)
        status = keys_attach(token, level, &misses);
    if (status == CA_OK)
        return misses ? OUTCOME_MISSING : OUTCOME_UP;
    bringup_undo(token);
    /* Nothing to try again: an operator must act. */
    return token_is_latched(token) ? OUTCOME_UP : OUTCOME_DOWN;
}

/* One level for all tokens of the library, with the write lock held. */
static enum outcome
level_try(struct module *module, int level)
{
    struct token_set *set = module->set;
    enum outcome worst = OUTCOME_UP;
    bool has_one = false;
    for (size_t i = 0; i < set->count; i++) {
        if (set->tokens[i].module == module)
            bringup_undo(&set->tokens[i]);
    }
    module_release(module);
    if (level == 2)
        module_unload(module);
    if ((!module->context && module_load(module) != CA_OK) ||
        module_enumerate(module, module->lanes_wanted) != CA_OK)
        return OUTCOME_DOWN;
    for (size_t i = 0; i < set->count; i++) {
        struct token *token = &set->tokens[i];
        if (token->module != module)
            continue;
        enum outcome outcome = token_bringup(token, level);
        has_one |= token->slot[0] != NULL;
        worst = outcome > worst ? outcome : worst;
    }
    return worst == OUTCOME_DOWN && has_one ? OUTCOME_PARTIAL : worst;
}

static int64_t
backoff_next(enum outcome outcome, int64_t *backoff)
{
    switch (outcome) {
    case OUTCOME_DOWN:
        *backoff = *backoff == 0 ? BACKOFF_FIRST_MS : *backoff + *backoff / 2;
        *backoff = *backoff > BACKOFF_LAST_MS ? BACKOFF_LAST_MS : *backoff;
        return *backoff;
    case OUTCOME_PARTIAL: return BACKOFF_PARTIAL_MS;
    case OUTCOME_MISSING: return BACKOFF_MISSING_MS;
    case OUTCOME_UP:
    default: *backoff = 0; return 0;
    }
}

/* With the write lock held: what was found is what is used from now on. */
static void
outcome_publish(struct module *module, int64_t pause)
{
    struct token_set *set = module->set;
    uint8_t jitter = 0;
    (void)random_bytes(&jitter, sizeof jitter);
    pthread_mutex_lock(&module->state_lock);
    for (size_t i = 0; i < set->count; i++) {
        struct token *token = &set->tokens[i];
        if (token->module != module)
            continue;
        token->is_up = token->slot[0] != NULL;
        atomic_fetch_add(&token->rebuilds, token->is_up ? 1 : 0);
    }
    module->generation++;
    module->is_rebuilding = false;
    /* Up to a quarter more, so that instances do not come all at once. */
    module->retry_at = pause == 0 ? 0 : clock_ticks() + pause + pause * jitter / 1024;
    pthread_cond_broadcast(&module->changed);
    pthread_mutex_unlock(&module->state_lock);
}

/* The write lock: every operation is over. */
static bool
operations_drain(struct module *module)
{
    int64_t deadline = clock_ticks() + DRAIN_MS;
    struct timespec until = { .tv_sec = deadline / 1000,
                              .tv_nsec = deadline % 1000 * 1000000 };
    return pthread_rwlock_clockwrlock(&module->lock, CLOCK_MONOTONIC, &until) == 0;
}

/* `before`: how the attempt before this one ended. */
static enum outcome
attempt(struct module *module, enum outcome before, int64_t *backoff)
{
    int level = 1;
    enum outcome outcome = level_try(module, 1);
    if (outcome != OUTCOME_UP) {
        level = 2;
        outcome = level_try(module, 2);
    }
    outcome_publish(module, backoff_next(outcome, backoff));
    if (outcome == OUTCOME_UP)
        log_write(LOG_LEVEL_WARNING,
                  json_pack("{s:s, s:i}", "module", module->path, "level", level),
                  "token sessions rebuilt after: %s", module->reason);
    else if (outcome != before)
        log_write(LOG_LEVEL_ERROR, json_pack("{s:s}", "module", module->path),
                  outcome == OUTCOME_MISSING ? "a token is up without all its keys: %s"
                                             : "token is down: %s",
                  status_message());
    return outcome;
}

/* With the state lock held, waits until `ticks` or a change; 0: until a change. */
static void
change_await(struct module *module, int64_t ticks)
{
    struct timespec until = { .tv_sec = ticks / 1000,
                              .tv_nsec = ticks % 1000 * 1000000 };
    if (ticks == 0)
        pthread_cond_wait(&module->changed, &module->state_lock);
    else
        pthread_cond_clockwait(&module->changed, &module->state_lock, CLOCK_MONOTONIC,
                               &until);
}

/* Until there is something to rebuild; false at the end. */
static bool
work_await(struct module *module)
{
    pthread_mutex_lock(&module->state_lock);
    while (!module->is_closed && !module->is_rebuilding) {
        if (module->retry_at != 0 && clock_ticks() >= module->retry_at)
            module->is_rebuilding = true;
        else
            change_await(module, module->retry_at);
    }
    bool is_closed = module->is_closed;
    pthread_mutex_unlock(&module->state_lock);
    return !is_closed;
}

/* Whoever finds a request that fails on a healthy token must not keep it draining. */
static void
storm_pause(struct module *module, int64_t last_up, unsigned *storm)
{
    *storm = clock_ticks() - last_up < STORM_QUIET_MS ? *storm + 1 : 0;
    if (*storm <= STORM_FREE)
        return;
    unsigned doublings = *storm - STORM_FREE > 5 ? 5 : *storm - STORM_FREE;
    int64_t until = clock_ticks() + (BACKOFF_FIRST_MS << doublings);
    pthread_mutex_lock(&module->state_lock);
    while (!module->is_closed && clock_ticks() < until)
        change_await(module, until);
    pthread_mutex_unlock(&module->state_lock);
}

static void *
manager_run(void *argument)
{
    struct module *module = argument;
    int64_t backoff = 0, last_up = 0;
    enum outcome outcome = OUTCOME_UP;
    unsigned storm = 0;
    while (work_await(module)) {
        storm_pause(module, last_up, &storm);
        if (!operations_drain(module))
            continue; /* the watchdog says what holds it up */
        outcome = attempt(module, outcome, &backoff);
        pthread_rwlock_unlock(&module->lock);
        last_up = outcome == OUTCOME_UP ? clock_ticks() : 0;
    }
    return NULL;
}

/* The longest call under way that is not expected to take its time. */
static void
module_watch(struct module *module)
{
    const char *function = NULL;
    int64_t age = guard_oldest(module->guard, &function);
    bool is_stuck =
        age > module->stuck_ms && strcmp(function, "C_GenerateKeyPair") != 0;
    pthread_mutex_lock(&module->state_lock);
    bool is_new = is_stuck && !module->is_stuck;
    bool is_over = !is_stuck && module->is_stuck;
    module->is_stuck = is_stuck;
    if (is_new || is_over)
        pthread_cond_broadcast(&module->changed);
    pthread_mutex_unlock(&module->state_lock);
    if (is_new)
        log_write(LOG_LEVEL_ERROR, json_pack("{s:s}", "module", module->path),
                  "the token is stuck: %s has not returned for %lld ms%s", function,
                  (long long)age, module->exits_when_stuck ? ": ending" : "");
    if (is_new && module->exits_when_stuck)
        _exit(STUCK_EXIT);
    if (is_over)
        log_write(LOG_LEVEL_WARNING, json_pack("{s:s}", "module", module->path),
                  "the token is not stuck any more");
}

/* A thread of its own: the manager's may be the one that is stuck. */
static void *
watch_run(void *argument)
{
    struct token_set *set = argument;
    pthread_mutex_lock(&set->watch_lock);
    while (!set->watch_ends) {
        int64_t ticks = clock_ticks() + WATCH_MS;
        struct timespec until = { .tv_sec = ticks / 1000,
                                  .tv_nsec = ticks % 1000 * 1000000 };
        pthread_cond_clockwait(&set->watch_changed, &set->watch_lock, CLOCK_MONOTONIC,
                               &until);
        for (size_t i = 0; i < set->module_count && !set->watch_ends; i++)
            module_watch(set->modules[i]);
    }
    pthread_mutex_unlock(&set->watch_lock);
    return NULL;
}

enum ca_status
recovery_start(struct token_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        set->tokens[i].is_up = set->tokens[i].slot[0] != NULL;
    for (size_t i = 0; i < set->module_count; i++) {
        struct module *module = set->modules[i];
        module->set = set;
        module->has_manager =
            pthread_create(&module->manager, NULL, manager_run, module) == 0;
        if (!module->has_manager)
            return ca_fail(CA_INTERNAL, "no thread for the token's manager");
    }
    set->has_watch = pthread_create(&set->watch, NULL, watch_run, set) == 0;
    return set->has_watch ? CA_OK
                          : ca_fail(CA_INTERNAL, "no thread for the token's watchdog");
}

void
token_set_quit(struct token_set *set)
{
    for (size_t i = 0; i < set->module_count; i++) {
        struct module *module = set->modules[i];
        pthread_mutex_lock(&module->state_lock);
        module->is_closed = true;
        pthread_cond_broadcast(&module->changed);
        pthread_mutex_unlock(&module->state_lock);
    }
}

void
recovery_stop(struct token_set *set)
{
    token_set_quit(set);
    for (size_t i = 0; i < set->module_count; i++) {
        struct module *module = set->modules[i];
        if (module->has_manager)
            pthread_join(module->manager, NULL);
        module->has_manager = false;
    }
    pthread_mutex_lock(&set->watch_lock);
    set->watch_ends = true;
    pthread_cond_signal(&set->watch_changed);
    pthread_mutex_unlock(&set->watch_lock);
    if (set->has_watch)
        pthread_join(set->watch, NULL);
    set->has_watch = false;
}
