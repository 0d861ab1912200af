/* /instance/tokens: how the PKCS#11 tokens of this instance are, and the end of a
 * latch. */
#include "api.h"
#include "token.h"
#include <string.h>

static const char *const state_words[] = { "up", "rebuilding", "latched", "stuck",
                                           NULL };
_Static_assert(TOKEN_STUCK == 3, "a word for each enum token_state");

struct token_view {
    char *name, *label, *model, *manufacturer, *serial;
    int state; /* enum token_state */
    bool software;
    int64_t operations, failures, rebuilds, busy;
};

#define VIEW(member) FIELD(token_view, member), .flags = FIELD_READ_ONLY
static const struct field token_fields[] = {
    { VIEW(name), .type = FIELD_TEXT, .help = "Its name in the configuration." },
    { VIEW(state), .type = FIELD_CHOICE, .words = state_words,
      .help = "up, rebuilding (by itself), latched (its PIN was refused: an operator "
              "must act) or stuck (a call does not return)." },
    { VIEW(label), .type = FIELD_TEXT, .help = "What the token calls itself." },
    { VIEW(model), .type = FIELD_TEXT, .help = "Its model." },
    { VIEW(manufacturer), .type = FIELD_TEXT, .help = "Its maker." },
    { VIEW(serial), .type = FIELD_TEXT, .help = "Its serial number." },
    { VIEW(software), .type = FIELD_BOOLEAN,
      .help = "Known to be software, for tests only." },
    { VIEW(operations), .type = FIELD_INTEGER, .help = "Operations since the start." },
    { VIEW(failures), .type = FIELD_INTEGER, .help = "Of them failed." },
    { VIEW(rebuilds), .type = FIELD_INTEGER,
      .help = "How often its sessions were made anew." },
    { VIEW(busy), .type = FIELD_INTEGER, .help = "Operations under way." },
    FIELD_END,
};

static enum ca_status
view_fill(const struct token_health *health, struct token_view *ret_view)
{
    struct token_view view = {
        .name = strdup(health->name),
        .label = strdup(health->label),
        .model = strdup(health->model),
        .manufacturer = strdup(health->manufacturer),
        .serial = strdup(health->serial),
        .state = (int)health->state,
        .software = health->is_software,
        .operations = health->operations,
        .failures = health->failures,
        .rebuilds = health->rebuilds,
        .busy = health->busy,
    };
    if (view.name && view.label && view.model && view.manufacturer && view.serial) {
        *ret_view = view;
        return CA_OK;
    }
    field_clear(token_fields, &view);
    return ca_fail(CA_INTERNAL, "no memory for a token");
}

static struct token_set *
tokens_of(const struct api_call *call)
{
    return call->exchange->service->tokens;
}

/* The token of this name, or with `after` the first behind that name; false: none. */
static bool
token_find(struct token_set *set, const char *name, bool after,
           struct token_health *ret_health)
{
    bool found = false;
    for (size_t i = 0; i < token_set_count(set); i++) {
        struct token_health health;
        token_health(set, i, &health);
        int order = strcmp(health.name, name);
        if (after ? order <= 0 || (found && strcmp(health.name, ret_health->name) > 0)
                  : order != 0)
            continue;
        *ret_health = health;
        found = true;
    }
    return found;
}

static enum ca_status
list_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)tx;
    struct api_list *list = arg;
    struct token_health health;
    const char *after = record_page_after(&list->page);
    int64_t left = record_page_limit(&list->page);
    for (; left > 0 && token_find(tokens_of(call), after, true, &health); left--) {
        struct token_view view;
        enum ca_status status = view_fill(&health, &view);
        if (status != CA_OK)
            return status;
        status = api_list_visit(&view, list);
        field_clear(token_fields, &view);
        if (status != CA_OK)
            return status;
        after = health.name; /* the set's own text: it stays */
    }
    return CA_OK;
}

static enum ca_status
answer(struct api_call *call)
{
    struct token_health health;
    struct token_view view;
    if (!token_find(tokens_of(call), api_key(call), false, &health))
        return ca_fail(CA_NOT_FOUND, "no token '%s' is configured", api_key(call));
    enum ca_status status = view_fill(&health, &view);
    if (status != CA_OK)
        return status;
    json_t *body = field_encode(token_fields, &view);
    field_clear(token_fields, &view);
    return api_answer_json(call, body);
}

static enum ca_status
unlock_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    const char *outcome = arg;
    return api_audit(tx, call, "token.unlock", json_pack("{s:s}", "outcome", outcome),
                     "token:%s", api_key(call));
}

/* The login is tried outside the store's transaction; what came of it is recorded. */
static enum ca_status
unlock(struct api_call *call)
{
    struct token_health health;
    struct service *service = call->exchange->service;
    if (!token_find(tokens_of(call), api_key(call), false, &health))
        return ca_fail(CA_NOT_FOUND, "no token '%s' is configured", api_key(call));
    if (call->dry_run || health.state != TOKEN_LATCHED)
        return answer(call);
    enum ca_status status = service_wait_begin(service);
    if (status != CA_OK)
        return status;
    enum ca_status tried = token_unlock(service->tokens, api_key(call));
    service_wait_end(service);
    char outcome[] = "refused, latched again";
    if (tried != CA_FORBIDDEN)
        snprintf(outcome, sizeof outcome, "%s", tried == CA_OK ? "ok" : "down");
    CA_AUTO(free) char *reason = strdup(status_message());
    status = api_write(call, unlock_step, outcome);
    if (status != CA_OK)
        return status;
    return tried == CA_OK
               ? answer(call)
               : ca_fail(tried == CA_FORBIDDEN ? CA_CONFLICT : tried,
                         "token '%s' stays locked: %s", api_key(call), reason);
}

static const struct field *
fields(void)
{
    return token_fields;
}

static const struct api_route routes[] = {
    { "GET", "/instance/tokens", API_ANY, API_LIST, list_step,
      "List this instance's tokens", NULL, fields, NULL, .success = 200,
      .cursor = "name" },
    { "GET", "/instance/tokens/{name}", API_ANY, 0, NULL, "Read a token's state", NULL,
      fields, NULL, .success = 200, .handle = answer },
    { "POST", "/instance/tokens/{name}/unlock", API_ADMINISTRATOR, API_CHANGE, NULL,
      "Read the PIN anew, lift the latch and log in once", NULL, fields, NULL,
      .success = 200, .handle = unlock },
    { .method = NULL },
};
const struct api_resource api_tokens = { "tokens", routes, NULL };
