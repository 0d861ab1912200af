/* The tokens of a configuration, opened as one set. */
#include "auto.h"
#include "service.h"
#include <string.h>

#define TOKENS_MAX 64

/* A list of texts as an array with NULL at the end, the texts borrowed; free() it. */
static const char **
texts_borrow(const struct field_list *list)
{
    const char **texts = calloc(list->count + 1, sizeof *texts);
    for (size_t i = 0; texts && i < list->count; i++)
        texts[i] = ((char *const *)list->items)[i];
    return texts;
}

char *
service_latch_path(const struct config *config, const char *token)
{
    char *path = NULL;
    if (asprintf(&path, "%s/token-%s.latched", config->data_directory, token) < 0)
        return NULL;
    return path;
}

void
service_token_clear(struct token_config *token)
{
    /* Ours, whatever the struct calls them: it borrows for its other users. */
    free((void *)(uintptr_t)token->waivers);
    free((void *)(uintptr_t)token->environment);
    free((void *)(uintptr_t)token->latch_file);
    *token = (struct token_config){ 0 };
}

enum ca_status
service_token_config(const struct config *config, const struct config_token *from,
                     struct token_config *ret_token)
{
    struct token_config token = {
        .name = from->name,
        .module = from->module,
        .uri = from->uri,
        .pin_source = from->pin_source,
        .permits = from->permits,
        .wait_ms = from->wait_ms,
        .waivers = texts_borrow(&from->waive),
        .environment = texts_borrow(&from->environment),
        .arguments = from->arguments,
        .latch_file = service_latch_path(config, from->name),
        .stuck_ms = from->stuck_ms,
        .exits_when_stuck = from->exit_when_stuck,
    };
    if (!token.waivers || !token.environment || !token.latch_file) {
        service_token_clear(&token);
        return ca_fail(CA_INTERNAL, "no memory for the tokens");
    }
    *ret_token = token;
    return CA_OK;
}

enum ca_status
service_open_tokens(const struct config *config, const char *only,
                    struct token_set **ret_tokens)
{
    const struct config_token *from = config->tokens.items;
    struct token_config tokens[TOKENS_MAX] = { 0 };
    size_t count = 0;
    enum ca_status status = CA_OK;
    if (config->tokens.count > TOKENS_MAX)
        return ca_fail(CA_LIMIT, "tokens: %zu of them, at most %d",
                       config->tokens.count, TOKENS_MAX);
    for (size_t i = 0; status == CA_OK && i < config->tokens.count; i++) {
        if (only && strcmp(only, from[i].name) != 0)
            continue;
        status = service_token_config(config, &from[i], &tokens[count]);
        if (status != CA_OK)
            break;
        /* The whole goes on without one that is latched or not there (yet). */
        tokens[count++].may_be_missing = !only && !from[i].required;
    }
    if (status == CA_OK && only && count == 0)
        status = ca_fail(CA_NOT_FOUND, "no token '%s' is configured", only);
    if (status == CA_OK)
        status = token_set_open(tokens, count, ret_tokens);
    for (size_t i = 0; i < count; i++)
        service_token_clear(&tokens[i]);
    return status;
}
