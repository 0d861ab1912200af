/* Opens and closes the tokens of a configuration, and tells how they are. */
#include "token.h"
#include "auto.h"
#include "bringup.h"
#include "clock.h"
#include "log.h"
#include "object.h"
#include "operation.h"
#include "recovery.h"
#include <string.h>
#include <time.h>
#include <unistd.h>

static enum ca_status
environment_set(const struct token_config *config)
{
    for (const char *const *at = config->environment; at && *at; at++) {
        const char *equal = strchr(*at, '=');
        if (!equal || equal == *at)
            return ca_fail(CA_MALFORMED, "token '%s': environment is \"NAME=VALUE\"",
                           config->name);
        CA_AUTO(free) char *name = strndup(*at, (size_t)(equal - *at));
        if (!name || setenv(name, equal + 1, 1) != 0)
            return ca_fail(CA_INTERNAL, "out of memory");
    }
    return CA_OK;
}

static enum ca_status
waivers_parse(const struct token_config *config, unsigned *ret_waivers)
{
    unsigned waivers = 0;
    for (const char *const *at = config->waivers; at && *at; at++) {
        unsigned bit = waiver_parse(*at);
        if (bit == 0)
            return ca_fail(CA_MALFORMED, "token '%s': there is no waiver '%s'",
                           config->name, *at);
        waivers |= bit;
    }
    *ret_waivers = waivers;
    return CA_OK;
}

static enum ca_status
numbers_take(struct token *token, const struct token_config *config)
{
    if (config->permits < 0 || config->permits > TOKEN_PERMITS_MAX)
        return ca_fail(CA_MALFORMED, "token '%s': permits are 1 to %d", config->name,
                       TOKEN_PERMITS_MAX);
    if (config->wait_ms < 0 || config->wait_ms > TOKEN_WAIT_MS_MAX)
        return ca_fail(CA_MALFORMED, "token '%s': wait_ms is 1 to %d", config->name,
                       TOKEN_WAIT_MS_MAX);
    if (config->stuck_ms < 0 || config->stuck_ms > TOKEN_WAIT_MS_MAX)
        return ca_fail(CA_MALFORMED, "token '%s': stuck_ms is 1 to %d", config->name,
                       TOKEN_WAIT_MS_MAX);
    token->permits_wanted =
        config->permits > 0 ? (unsigned)config->permits : TOKEN_PERMITS_DEFAULT;
    token->wait_ms = config->wait_ms > 0 ? config->wait_ms : TOKEN_WAIT_MS_DEFAULT;
    token->may_be_missing = config->may_be_missing;
    return CA_OK;
}

/* A latch of an earlier life: the PIN is not even read before it is lifted. */
static enum ca_status
latch_look(struct token *token)
{
    if (!token->latch_file || access(token->latch_file, F_OK) != 0)
        return CA_OK;
    token->is_latched = true;
    enum ca_status status = ca_fail(CA_FORBIDDEN,
                                    "token '%s' is latched (%s): its PIN was refused, "
                                    "and is not tried again before "
                                    "an operator unlocks it",
                                    token->name, token->latch_file);
    return token->may_be_missing ? CA_OK : status;
}

/* What can be checked without the module. */
static enum ca_status
token_prepare(struct token *token, const struct token_config *config)
{
    token->name = strdup(config->name);
    token->pin_source = strdup(config->pin_source);
    token->latch_file = config->latch_file ? strdup(config->latch_file) : NULL;
    if (!token->name || !token->pin_source ||
        (config->latch_file && !token->latch_file))
        return ca_fail(CA_INTERNAL, "out of memory");
    enum ca_status status = uri_parse(config->uri, &token->uri);
    if (status != CA_OK)
        return status;
    if (!uri_names_token(&token->uri) || uri_names_key(&token->uri))
        return ca_fail(CA_MALFORMED,
                       "token '%s': its URI names 'token' or 'serial' and no key",
                       config->name);
    status = numbers_take(token, config);
    if (status == CA_OK)
        status = waivers_parse(config, &token->waivers);
    if (status == CA_OK)
        status = latch_look(token);
    if (status == CA_OK)
        status = environment_set(config);
    if (status == CA_OK && !token->is_latched)
        status = pin_read(config->pin_source, &token->pin);
    return status;
}

/* The set's module at this path, claimed at its first token. */
static enum ca_status
module_of(struct token_set *set, const struct token_config *config,
          struct module **ret_module)
{
    const char *arguments = config->arguments ? config->arguments : "";
    for (size_t i = 0; i < set->module_count; i++) {
        struct module *module = set->modules[i];
        if (!module_is_at(module, config->module))
            continue;
        if (strcmp(module->arguments ? module->arguments : "", arguments) != 0)
            return ca_fail(CA_MALFORMED, "token '%s': module %s has other arguments",
                           config->name, module->path);
        *ret_module = module;
        return CA_OK;
    }
    enum ca_status status = module_claim(config->module, config->arguments,
                                         &set->modules[set->module_count]);
    if (status != CA_OK)
        return status;
    struct module *module = set->modules[set->module_count++];
    module->stuck_ms = config->stuck_ms > 0 ? config->stuck_ms : TOKEN_STUCK_MS_DEFAULT;
    module->exits_when_stuck = config->exits_when_stuck;
    *ret_module = module;
    return CA_OK;
}

static enum ca_status
names_check(const struct token_config *configs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(configs[i].name, configs[j].name) == 0)
                return ca_fail(CA_MALFORMED, "there are two tokens '%s'",
                               configs[i].name);
        }
    }
    return CA_OK;
}

/* One slot is one token: two entries would log in twice and share permits blindly. */
static enum ca_status
slots_check(const struct token_set *set, const struct token *token)
{
    for (const struct token *other = set->tokens; other < token; other++) {
        if (other->module == token->module && other->slot_id == token->slot_id)
            return ca_fail(CA_CONFLICT, "'%s' and '%s' are the same token", other->name,
                           token->name);
    }
    return CA_OK;
}

static size_t
lanes_wanted(const struct token_set *set, const struct module *module)
{
    unsigned permits = 1;
    for (size_t i = 0; i < set->count; i++) {
        if (set->tokens[i].module == module && set->tokens[i].permits_wanted > permits)
            permits = set->tokens[i].permits_wanted;
    }
    return (permits + MODULE_LANE_SESSIONS - 1) / MODULE_LANE_SESSIONS;
}

/* The first bring-up of a token of a module that answered `listed`. */
static enum ca_status
token_start(struct token *token, enum ca_status listed)
{
    enum ca_status status = listed;
    if (status == CA_OK)
        status = bringup_token(token);
    if (status == CA_OK)
        status = slots_check(token->set, token);
    if (status == CA_OK || !token->may_be_missing ||
        (status != CA_UNAVAILABLE && !token->is_latched))
        return status;
    bringup_undo(token);
    log_write(LOG_LEVEL_ERROR, json_pack("{s:s}", "token", token->name),
              "the start goes on without this token: %s", status_message());
    if (!token->is_latched)
        recovery_expect(token->module);
    return CA_OK;
}

static enum ca_status
module_start(struct token_set *set, struct module *module)
{
    module->lanes_wanted = lanes_wanted(set, module);
    pthread_rwlock_wrlock(&module->lock);
    enum ca_status listed = module_load(module), status = CA_OK;
    if (listed == CA_OK)
        listed = module_enumerate(module, module->lanes_wanted);
    /* A file that is no PKCS#11 library will not become one. */
    if (!module->guard)
        status = listed;
    for (size_t i = 0; i < set->count && status == CA_OK; i++) {
        if (set->tokens[i].module == module)
            status = token_start(&set->tokens[i], listed);
    }
    pthread_rwlock_unlock(&module->lock);
    return status;
}

static enum ca_status
set_open(struct token_set *set, const struct token_config *configs, size_t count)
{
    set->tokens = calloc(count ? count : 1, sizeof *set->tokens);
    set->modules = calloc(count ? count : 1, sizeof(struct module *));
    if (!set->tokens || !set->modules)
        return ca_fail(CA_INTERNAL, "out of memory");
    for (size_t i = 0; i < count; i++) {
        struct token *token = &set->tokens[i];
        token->set = set;
        pthread_mutex_init(&token->lock, NULL);
        pthread_mutex_init(&token->health_lock, NULL);
        pthread_cond_init(&token->freed[0], NULL);
        pthread_cond_init(&token->freed[1], NULL);
        set->count = i + 1;
        enum ca_status status = token_prepare(token, &configs[i]);
        if (status == CA_OK)
            status = module_of(set, &configs[i], &token->module);
        if (status != CA_OK)
            return status;
    }
    for (size_t i = 0; i < set->module_count; i++) {
        enum ca_status status = module_start(set, set->modules[i]);
        if (status != CA_OK)
            return status;
    }
    return recovery_start(set);
}

enum ca_status
token_set_open(const struct token_config *configs, size_t count,
               struct token_set **ret_set)
{
    enum ca_status status = names_check(configs, count);
    if (status != CA_OK)
        return status;
    struct token_set *set = calloc(1, sizeof *set);
    if (!set)
        return ca_fail(CA_INTERNAL, "out of memory");
    atomic_init(&set->references, 1);
    pthread_mutex_init(&set->watch_lock, NULL);
    pthread_cond_init(&set->watch_changed, NULL);
    status = set_open(set, configs, count);
    if (status != CA_OK) {
        token_set_free(set);
        return status;
    }
    *ret_set = set;
    return CA_OK;
}

char *
token_uri(const struct token *token, struct uri *key)
{
    memcpy(key->token, token->label, sizeof key->token);
    memcpy(key->serial, token->serial, sizeof key->serial);
    return uri_format(key);
}

void
token_set_hold(struct token_set *set)
{
    atomic_fetch_add(&set->references, 1);
}

static void
key_free(struct token_key *key)
{
    EVP_PKEY_free(key->public);
    operation_verifier_free(key);
    free(key);
}

static void
token_clear(struct token *token)
{
    while (token->keys) {
        struct token_key *next = token->keys->next;
        key_free(token->keys);
        token->keys = next;
    }
    token_secrets_free(token);
    pthread_mutex_destroy(&token->lock);
    pthread_mutex_destroy(&token->health_lock);
    pthread_cond_destroy(&token->freed[0]);
    pthread_cond_destroy(&token->freed[1]);
    pin_free(token->pin);
    free(token->name);
    free(token->pin_source);
    free(token->latch_file);
}

void
token_set_drop(struct token_set *set)
{
    if (atomic_fetch_sub(&set->references, 1) != 1)
        return;
    for (size_t i = 0; i < set->count; i++)
        token_clear(&set->tokens[i]);
    for (size_t i = 0; i < set->module_count; i++)
        module_free(set->modules[i]);
    pthread_mutex_destroy(&set->watch_lock);
    pthread_cond_destroy(&set->watch_changed);
    free(set->tokens);
    free(set->modules);
    free(set);
}

/* Ends every session and unloads; keys without a live half refuse from now on. With a
 * call that does not return all of it stays: to finalise under it would crash. */
static bool
module_close(struct token_set *set, struct module *module)
{
    int64_t deadline = clock_ticks() + module->stuck_ms;
    struct timespec until = { .tv_sec = deadline / 1000,
                              .tv_nsec = deadline % 1000 * 1000000 };
    if (pthread_rwlock_clockwrlock(&module->lock, CLOCK_MONOTONIC, &until) != 0)
        return false;
    for (size_t i = 0; i < set->count; i++) {
        if (set->tokens[i].module == module)
            bringup_undo(&set->tokens[i]);
    }
    module_release(module);
    module_unload(module);
    pthread_rwlock_unlock(&module->lock);
    return true;
}

void
token_set_free(struct token_set *set)
{
    if (!set)
        return;
    bool is_free = true;
    recovery_stop(set);
    for (size_t i = 0; i < set->module_count; i++)
        is_free &= module_close(set, set->modules[i]);
    /* Each proxy out there holds the set; ours go here. */
    for (size_t i = 0; i < set->count && is_free; i++) {
        for (struct token_key *key = set->tokens[i].keys; key; key = key->next) {
            EVP_PKEY_free(key->proxy);
            key->proxy = NULL;
        }
    }
    if (is_free)
        token_set_drop(set);
}

size_t
token_set_count(const struct token_set *set)
{
    return set->count;
}

void
token_health(struct token_set *set, size_t index, struct token_health *ret_health)
{
    struct token *token = &set->tokens[index];
    struct token_health health = { .name = token->name };
    health.operations = atomic_load(&token->operations);
    health.failures = atomic_load(&token->failures);
    health.rebuilds = atomic_load(&token->rebuilds);
    health.state = recovery_state(token);
    pthread_mutex_lock(&token->lock);
    health.busy = token->busy;
    health.is_software = token->is_software;
    memcpy(health.label, token->label, sizeof health.label);
    memcpy(health.model, token->model, sizeof health.model);
    memcpy(health.manufacturer, token->manufacturer, sizeof health.manufacturer);
    memcpy(health.serial, token->serial, sizeof health.serial);
    pthread_mutex_unlock(&token->lock);
    *ret_health = health;
}
