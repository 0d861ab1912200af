/* `sealwright key ...`: the private keys in the tokens, made, shown and destroyed. */
#include "audit.h"
#include "auto.h"
#include "clock.h"
#include "keygen.h"
#include "keylist.h"
#include "serve.h"
#include "verb.h"
#include <string.h>

/* ---- Who uses a key ---- */

struct usage {
    const struct keylist_key *key;
    char text[160];
    bool is_free; /* nothing that still lives names it */
};

/* Does a record's URI name this key? By id, which a generated key always has. */
static bool
uri_names(const char *uri, const struct keylist_key *key)
{
    return uri && (strcmp(uri, key->uri) == 0 ||
                   (strstr(key->uri, "id=") && strstr(uri, strstr(key->uri, "id="))));
}

static enum ca_status
visit_issuer(const void *record, void *arg)
{
    const struct authority *authority = record;
    struct usage *usage = arg;
    if (!uri_names(authority->key, usage->key))
        return CA_OK;
    snprintf(usage->text, sizeof usage->text, "issuer %s", authority->name);
    usage->is_free = false;
    return CA_OK;
}

static enum ca_status
visit_helper(const void *record, void *arg)
{
    const struct helper *helper = record;
    struct usage *usage = arg;
    if (!uri_names(helper->key, usage->key))
        return CA_OK;
    snprintf(usage->text, sizeof usage->text, "%s%s%s%s",
             helper->current ? "" : "previous ", helper_role_words[helper->role],
             helper->issuer ? " of " : "", helper->issuer ? helper->issuer : "");
    /* A previous sealing or audit key opens and proves what is old. */
    usage->is_free = !helper->current && helper->issuer;
    return CA_OK;
}

static enum ca_status
usage_step(struct store_tx *tx, void *arg)
{
    struct usage *usage = arg;
    usage->text[0] = '\0';
    usage->is_free = true;
    struct record_page page = { .limit = RECORD_PAGE_MAX };
    enum ca_status status = helper_list(tx, visit_helper, usage);
    return status == CA_OK ? authority_list(tx, &page, visit_issuer, usage) : status;
}

static enum ca_status
usage_read(struct service *service, const struct keylist_key *key, struct usage *usage)
{
    *usage = (struct usage){ .key = key };
    return store_read(service->store, usage_step, usage);
}

/* ---- key list and key attributes ---- */

struct listing {
    struct service *service;
    const char *label; /* NULL: all */
    json_t *rows;
    struct keylist_key found; /* the last with the label; its texts are copies */
    size_t count;
};

static const char *
uses_word(unsigned uses)
{
    return uses == (TOKEN_USE_SIGN | TOKEN_USE_DECRYPT) ? "sign, decrypt"
           : uses == TOKEN_USE_SIGN                     ? "sign"
           : uses == TOKEN_USE_DECRYPT                  ? "decrypt"
                                                        : "-";
}

/* The attributes that depart from what is demanded, by name. */
static json_t *
departures(const struct keylist_key *key)
{
    json_t *list = json_array();
    for (size_t i = 0; i < KEYLIST_FLAGS; i++) {
        const char *demanded = keylist_attributes[i].demanded;
        bool wants = demanded && strcmp(demanded, "true") == 0;
        if (demanded &&
            (wants ? key->flags[i] != KEYLIST_YES : key->flags[i] == KEYLIST_YES))
            json_array_append_new(list, json_string(keylist_attributes[i].name));
    }
    return list;
}

static enum ca_status
visit_row(const struct keylist_key *key, void *arg)
{
    struct listing *listing = arg;
    struct usage usage;
    enum ca_status status = usage_read(listing->service, key, &usage);
    if (status != CA_OK)
        return status;
    json_array_append_new(listing->rows,
                          json_pack("{s:s, s:s, s:s, s:i, s:s, s:s, s:o, s:s}", "token",
                                    key->token, "label", key->label, "kind", key->kind,
                                    "bits", key->bits, "uses", uses_word(key->uses),
                                    "used_by", usage.text, "departures",
                                    departures(key), "uri", key->uri));
    return CA_OK;
}

static int
list_run(const struct command_context *context, int argc, char **argv)
{
    static const struct cli_column columns[] = {
        { "token", "TOKEN" },
        { "label", "LABEL" },
        { "kind", "KIND" },
        { "bits", "BITS" },
        { "uses", "USES" },
        { "used_by", "USED BY" },
        { "departures", "DEPARTURES" },
        { NULL, NULL },
    };
    const char *token = NULL;
    const struct verb_option options[] = { { "token", &token, NULL },
                                           { NULL, NULL, NULL } };
    struct service *service = NULL;
    if (!verb_parse(&key_list_command, options, argc, argv, NULL, 0, 0))
        return 2;
    if (verb_open(context, &service) != CA_OK)
        return verb_failed(&key_list_command);
    struct listing listing = { .service = service, .rows = json_array() };
    enum ca_status status = CA_OK;
    for (size_t i = 0; status == CA_OK && i < token_set_count(service->tokens); i++) {
        struct token_health health;
        token_health(service->tokens, i, &health);
        if (!token || strcmp(token, health.name) == 0)
            status = keylist_run(service->tokens, health.name, visit_row, &listing);
    }
    int result = status == CA_OK ? 0 : verb_failed(&key_list_command);
    verb_print_rows(context, columns, listing.rows);
    service_close(service);
    return result;
}

static enum ca_status
visit_label(const struct keylist_key *key, void *arg)
{
    struct listing *listing = arg;
    if (strcmp(key->label, listing->label) != 0)
        return CA_OK;
    free(listing->found.uri);
    free(listing->found.label);
    listing->found = *key;
    listing->found.uri = strdup(key->uri);
    listing->found.label = strdup(key->label);
    listing->count++;
    return listing->found.uri && listing->found.label
               ? CA_OK
               : ca_fail(CA_INTERNAL, "no memory for a key");
}

static void
listing_clear(struct listing *listing)
{
    free(listing->found.uri);
    free(listing->found.label);
}

/* The one key with the label in all tokens, or in that one. */
static enum ca_status
label_find(struct listing *listing, const char *token)
{
    enum ca_status status = CA_OK;
    struct token_set *set = listing->service->tokens;
    for (size_t i = 0; status == CA_OK && i < token_set_count(set); i++) {
        struct token_health health;
        token_health(set, i, &health);
        if (!token || strcmp(token, health.name) == 0)
            status = keylist_run(set, health.name, visit_label, listing);
    }
    if (status == CA_OK && listing->count == 0)
        status =
            ca_fail(CA_NOT_FOUND, "no token has a private key '%s'", listing->label);
    if (status == CA_OK && listing->count > 1)
        status = ca_fail(CA_CONFLICT, "%zu keys have the label '%s': name the --token",
                         listing->count, listing->label);
    return status;
}

static json_t *
attributes_format(const struct keylist_key *key)
{
    static const char *const words[] = { "false", "true", "not told" };
    json_t *rows = json_array();
    for (size_t i = 0; i < KEYLIST_FLAGS; i++) {
        const char *demanded = keylist_attributes[i].demanded;
        bool wants = demanded && strcmp(demanded, "true") == 0;
        bool holds = !demanded || (wants ? key->flags[i] == KEYLIST_YES
                                         : key->flags[i] != KEYLIST_YES);
        json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:s}", "attribute",
                                              keylist_attributes[i].name, "value",
                                              words[key->flags[i]], "demanded",
                                              demanded ? demanded : "as used",
                                              "verdict", holds ? "ok" : "DEPARTS"));
    }
    return rows;
}

static int
attributes_run(const struct command_context *context, int argc, char **argv)
{
    static const struct cli_column columns[] = {
        { "attribute", "ATTRIBUTE" }, { "value", "VALUE" }, { "demanded", "DEMANDED" },
        { "verdict", "VERDICT" },     { NULL, NULL },
    };
    const char *token = NULL, *words[2];
    const struct verb_option options[] = { { "token", &token, NULL },
                                           { NULL, NULL, NULL } };
    struct service *service = NULL;
    if (!verb_parse(&key_attributes_command, options, argc, argv, words, 1, 1))
        return 2;
    if (verb_open(context, &service) != CA_OK)
        return verb_failed(&key_attributes_command);
    struct listing listing = { .service = service, .label = words[0] };
    int result = 0;
    if (label_find(&listing, token) == CA_OK)
        verb_print_rows(context, columns, attributes_format(&listing.found));
    else
        result = verb_failed(&key_attributes_command);
    listing_clear(&listing);
    service_close(service);
    return result;
}

/* ---- key generate and key destroy ---- */

struct note {
    const char *action, *uri;
    char object[160];
};

static enum ca_status
note_step(struct store_tx *tx, void *arg)
{
    const struct note *note = arg;
    char actor[96];
    verb_actor(actor, sizeof actor);
    CA_AUTO(json_decref) json_t *detail = json_pack("{s:s}", "key", note->uri);
    return audit_append(tx, &(struct audit_entry){
                                .action = note->action,
                                .actor = actor,
                                .object = note->object,
                                .protocol = "command",
                                .outcome = "ok",
                                .detail = detail,
                            });
}

static enum ca_status
note_write(struct service *service, const char *action, const char *label,
           const char *uri)
{
    struct note note = { .action = action, .uri = uri };
    snprintf(note.object, sizeof note.object, "key:%s", label);
    return store_write(service->store, note_step, &note);
}

static bool
uses_parse(const char *text, unsigned *ret_uses)
{
    *ret_uses = strcmp(text, "sign") == 0      ? TOKEN_USE_SIGN
                : strcmp(text, "decrypt") == 0 ? TOKEN_USE_DECRYPT
                : strcmp(text, "both") == 0    ? TOKEN_USE_SIGN | TOKEN_USE_DECRYPT
                                               : 0u;
    return *ret_uses != 0;
}

static int
generate_run(const struct command_context *context, int argc, char **argv)
{
    const char *token = NULL, *algorithm = "p-256", *use = "sign", *words[2];
    const struct verb_option options[] = {
        { "token", &token, NULL },
        { "algorithm", &algorithm, NULL },
        { "use", &use, NULL },
        { NULL, NULL, NULL },
    };
    struct service *service = NULL;
    struct keygen wanted = { 0 };
    if (!verb_parse(&key_generate_command, options, argc, argv, words, 1, 1))
        return 2;
    if (!uses_parse(use, &wanted.uses))
        return verb_misused(&key_generate_command, "--use is sign, decrypt or both");
    if (verb_open(context, &service) != CA_OK)
        return verb_failed(&key_generate_command);
    const struct config_token *first = service->config.tokens.items;
    CA_AUTO(free) char *uri = NULL;
    wanted.label = words[0];
    wanted.algorithm = algorithm;
    enum ca_status status =
        token || service->config.tokens.count > 0
            ? keygen_generate(service->tokens, token ? token : first->name, &wanted,
                              &uri)
            : ca_fail(CA_NOT_FOUND, "no token is configured");
    if (status == CA_OK)
        status = note_write(service, "key.generate", words[0], uri);
    if (status == CA_OK)
        puts(uri);
    int result = status == CA_OK ? 0 : verb_failed(&key_generate_command);
    service_close(service);
    return result;
}

static enum ca_status
destroy(struct service *service, struct listing *listing, const char *token,
        const char *given)
{
    struct usage usage;
    enum ca_status status = label_find(listing, token);
    if (status == CA_OK)
        status = usage_read(service, &listing->found, &usage);
    if (status != CA_OK)
        return status;
    if (!usage.is_free)
        return ca_fail(CA_CONFLICT, "the key '%s' is in use: %s", listing->label,
                       usage.text);
    char question[512];
    snprintf(question, sizeof question,
             "The key '%.160s' in token '%.64s'%s%.160s will be gone for ever.",
             listing->label, listing->found.token, usage.text[0] ? ", " : "",
             usage.text);
    if (!verb_confirm(question, listing->label, given))
        return ca_fail(CA_FORBIDDEN, "not confirmed: the key stays");
    /* On record first: a key that is gone without a word would be worse than a word
     * about a key that is still there. */
    status = note_write(service, "key.destroy", listing->label, listing->found.uri);
    return status == CA_OK ? keylist_destroy(service->tokens, listing->found.uri)
                           : status;
}

static int
destroy_run(const struct command_context *context, int argc, char **argv)
{
    const char *token = NULL, *yes = NULL, *words[2];
    const struct verb_option options[] = { { "token", &token, NULL },
                                           { "yes", &yes, NULL },
                                           { NULL, NULL, NULL } };
    struct service *service = NULL;
    if (!verb_parse(&key_destroy_command, options, argc, argv, words, 1, 1))
        return 2;
    if (verb_open(context, &service) != CA_OK)
        return verb_failed(&key_destroy_command);
    struct listing listing = { .service = service, .label = words[0] };
    int result = 0;
    if (destroy(service, &listing, token, yes) == CA_OK)
        printf("the key '%s' is destroyed\n", words[0]);
    else
        result = verb_failed(&key_destroy_command);
    listing_clear(&listing);
    service_close(service);
    return result;
}

/* ---- The verbs ---- */

static const char *const list_actions[] = { "list", NULL };
const struct command key_list_command = {
    .name = "key",
    .actions = list_actions,
    .summary = "key list: the private keys in the tokens and who uses them",
    .help = "Usage: sealwright key list [--token NAME]\n"
            "\n"
            "Lists every private key with its use, the record that names it, and the "
            "attributes\n"
            "that depart from the template of keys made here.\n"
            "\n"
            "  --token NAME  only this token of the configuration\n"
            "\n"
            "Example:\n"
            "  sealwright key list --json\n",
    .run = list_run,
};

static const char *const attributes_actions[] = { "attributes", NULL };
const struct command key_attributes_command = {
    .name = "key",
    .actions = attributes_actions,
    .summary = "key attributes: what a key's attributes are and should be",
    .help = "Usage: sealwright key attributes LABEL [--token NAME]\n"
            "\n"
            "  --token NAME  the configuration's token, when several have the label\n"
            "\n"
            "Example:\n"
            "  sealwright key attributes issuing-sign-202611-1\n",
    .run = attributes_run,
};

static const char *const generate_actions[] = { "generate", NULL };
const struct command key_generate_command = {
    .name = "key",
    .actions = generate_actions,
    .summary = "key generate: make a key pair in a token",
    .help = "Usage: sealwright key generate LABEL [OPTION...]\n"
            "\n"
            "Makes a pair that cannot leave the token, reads its attributes back and "
            "prints its\n"
            "URI. A label that is there already is refused. Issuers and helpers make "
            "their own keys:\n"
            "see `issuer create` and `ceremony`.\n"
            "\n"
            "  --token NAME      the configuration's token (the first)\n"
            "  --algorithm ALG   p-256 (default), p-384, rsa-2048, rsa-3072, rsa-4096\n"
            "  --use USE         sign (default), decrypt, or both\n"
            "\n"
            "Example:\n"
            "  sealwright key generate vpn-sign-202611-1 --token main --algorithm "
            "p-384\n",
    .run = generate_run,
};

static const char *const destroy_actions[] = { "destroy", NULL };
const struct command key_destroy_command = {
    .name = "key",
    .actions = destroy_actions,
    .summary = "key destroy: destroy a key pair for ever",
    .help = "Usage: sealwright key destroy LABEL [--token NAME] [--yes LABEL]\n"
            "\n"
            "Asks for the label to be typed, then destroys both halves. A key that an "
            "issuer or a\n"
            "current helper uses is refused.\n"
            "\n"
            "  --token NAME  the configuration's token, when several have the label\n"
            "  --yes LABEL   the answer, for scripts\n"
            "\n"
            "Example:\n"
            "  sealwright key destroy issuing-ra-202511-1\n",
    .run = destroy_run,
};
