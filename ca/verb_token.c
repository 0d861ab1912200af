/* `sealwright token ...`: which modules, slots and tokens there are, what they can do,
 * whether their keys work, and the end of a latch. */
#include "auto.h"
#include "cli_http.h"
#include "inspect.h"
#include "keylist.h"
#include "serve.h"
#include "verb.h"
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

static const struct config_token *
token_find(const struct config *config, const char *name)
{
    const struct config_token *tokens = config->tokens.items;
    for (size_t i = 0; i < config->tokens.count; i++) {
        if (strcmp(tokens[i].name, name) == 0)
            return &tokens[i];
    }
    return NULL;
}

static bool
is_latched(const struct config *config, const char *token)
{
    CA_AUTO(free) char *path = service_latch_path(config, token);
    return path && access(path, F_OK) == 0;
}

static const char *
slot_state(const struct inspect_slot *slot)
{
    return !slot->has_token           ? "empty"
           : !slot->is_initialized    ? "not initialised"
           : !slot->has_pin           ? "no user PIN"
           : slot->pin_is_locked      ? "PIN locked"
           : slot->pin_is_at_last_try ? "PIN at its last try"
           : slot->pin_is_low         ? "a PIN was wrong"
                                      : "present";
}

/* ---- token list ---- */

struct listing {
    const struct config *config;
    const struct config_token *token; /* whose module is looked at */
    json_t *rows;
    size_t found; /* slots that are this token's */
};

/* The configuration's name of a slot: the first of its tokens that the slot fits. */
static void
visit_configured(const struct inspect_slot *slot, void *arg)
{
    struct listing *listing = arg;
    const struct config_token *token = listing->token;
    if (!slot->is_configured)
        return;
    listing->found++;
    json_array_append_new(
        listing->rows,
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:b, s:b}", "name",
                  token->name, "label", slot->label, "serial", slot->serial, "model",
                  slot->model, "manufacturer", slot->manufacturer, "module",
                  slot->module, "slot", (json_int_t)slot->slot, "state",
                  is_latched(listing->config, token->name) ? "latched"
                                                           : slot_state(slot),
                  "software", slot->is_software, "configured", true));
}

/* The other slots, each module once. */
static void
visit_other(const struct inspect_slot *slot, void *arg)
{
    struct listing *listing = arg;
    size_t i;
    const json_t *row;
    json_array_foreach (listing->rows, i, row) {
        const char *module = json_string_value(json_object_get(row, "module"));
        json_int_t id = json_integer_value(json_object_get(row, "slot"));
        if (module && strcmp(module, slot->module) == 0 && id == (json_int_t)slot->slot)
            return;
    }
    json_array_append_new(
        listing->rows,
        json_pack("{s:n, s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:b, s:b}", "name", "label",
                  slot->label, "serial", slot->serial, "model", slot->model,
                  "manufacturer", slot->manufacturer, "module", slot->module, "slot",
                  (json_int_t)slot->slot, "state", slot_state(slot), "software",
                  slot->is_software, "configured", false));
}

static enum ca_status
module_visit(const struct listing *listing, inspect_visit visit)
{
    struct token_config token;
    enum ca_status status =
        service_token_config(listing->config, listing->token, &token);
    if (status != CA_OK)
        return status;
    status = inspect_module(&token, visit, (void *)(uintptr_t)listing);
    service_token_clear(&token);
    return status;
}

static void
missing_add(struct listing *listing, const char *state)
{
    json_array_append_new(
        listing->rows,
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:b, s:b}", "name",
                  listing->token->name, "label", "", "serial", "", "model", "",
                  "manufacturer", "", "module", listing->token->module, "slot",
                  (json_int_t)-1, "state", state, "software", false, "configured",
                  true));
}

/* Every configured token; the number of those that are not as they should be. */
static int
tokens_list(struct listing *listing)
{
    const struct config_token *tokens = listing->config->tokens.items;
    int bad = 0;
    for (size_t i = 0; i < listing->config->tokens.count; i++) {
        listing->token = &tokens[i];
        listing->found = 0;
        enum ca_status status = module_visit(listing, visit_configured);
        if (status != CA_OK)
            missing_add(listing, status_message());
        else if (listing->found != 1)
            missing_add(listing, listing->found == 0 ? "not in any slot"
                                                     : "several slots fit its URI");
        bad += listing->found != 1;
    }
    for (size_t i = 0; i < listing->config->tokens.count; i++) {
        listing->token = &tokens[i];
        (void)module_visit(listing, visit_other); /* said above */
    }
    return bad;
}

static int
list_run(const struct command_context *context, int argc, char **argv)
{
    static const struct cli_column columns[] = {
        { "name", "NAME" },     { "label", "LABEL" }, { "serial", "SERIAL" },
        { "model", "MODEL" },   { "slot", "SLOT" },   { "state", "STATE" },
        { "module", "MODULE" }, { NULL, NULL },
    };
    struct config config = { 0 };
    if (!verb_parse(&token_list_command, NULL, argc, argv, NULL, 0, 0))
        return 2;
    if (verb_config(context, &config) != CA_OK)
        return verb_failed(&token_list_command);
    struct listing listing = { .config = &config, .rows = json_array() };
    int bad = tokens_list(&listing);
    verb_print_rows(context, columns, listing.rows);
    config_clear(&config);
    return bad > 0;
}

/* ---- token info ---- */

struct info {
    const struct config *config;
    const struct config_token *token;
    json_t *record;
    size_t missing; /* mechanisms that are needed */
};

static void
mechanisms_add(struct info *info, const struct inspect_slot *slot)
{
    json_t *list = json_array();
    for (size_t i = 0; i < slot->mechanism_count; i++) {
        const struct inspect_mechanism *mechanism = &slot->mechanisms[i];
        info->missing += mechanism->is_needed && !mechanism->is_there;
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:s}", "mechanism", mechanism->name, "to",
                            mechanism->purpose, "state",
                            mechanism->is_there    ? "present"
                            : mechanism->is_needed ? "MISSING"
                                                   : "absent (optional)",
                            "for", mechanism->why));
    }
    json_object_set_new(info->record, "mechanisms", list);
}

static void
visit_info(const struct inspect_slot *slot, void *arg)
{
    struct info *info = arg;
    if (!slot->is_configured || info->record)
        return;
    json_t *waivers = json_array();
    char *const *items = info->token->waive.items;
    for (size_t i = 0; i < info->token->waive.count; i++)
        json_array_append_new(waivers, json_string(items[i]));
    info->record = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:b, s:o, s:I, s:I}", "name",
        info->token->name, "label", slot->label, "serial", slot->serial, "model",
        slot->model, "manufacturer", slot->manufacturer, "module", slot->module, "slot",
        (json_int_t)slot->slot, "slot_description", slot->description, "state",
        is_latched(info->config, info->token->name) ? "latched" : slot_state(slot),
        "software", slot->is_software, "waivers", waivers, "sessions_max",
        (json_int_t)slot->sessions_max, "mechanisms_all",
        (json_int_t)slot->mechanism_total);
    if (info->record)
        mechanisms_add(info, slot);
}

static enum ca_status
info_read(struct info *info, const char *name)
{
    struct token_config token;
    info->token = token_find(info->config, name);
    if (!info->token)
        return ca_fail(CA_NOT_FOUND, "no token '%s' is configured", name);
    enum ca_status status = service_token_config(info->config, info->token, &token);
    if (status != CA_OK)
        return status;
    status = inspect_module(&token, visit_info, info);
    service_token_clear(&token);
    if (status == CA_OK && !info->record)
        status = ca_fail(CA_UNAVAILABLE, "no slot of %s fits the URI of token '%s'",
                         info->token->module, name);
    return status;
}

static void
info_print(const struct command_context *context, struct info *info)
{
    static const struct cli_column columns[] = {
        { "mechanism", "MECHANISM" },
        { "to", "TO" },
        { "state", "STATE" },
        { "for", "FOR" },
        { NULL, NULL },
    };
    if (context->json) {
        verb_print_record(context, CA_STEAL(info->record));
        return;
    }
    json_t *rows = json_incref(json_object_get(info->record, "mechanisms"));
    json_object_del(info->record, "mechanisms");
    verb_print_record(context, CA_STEAL(info->record));
    putchar('\n');
    verb_print_rows(context, columns, rows);
}

static int
info_run(const struct command_context *context, int argc, char **argv)
{
    const char *words[2];
    struct config config = { 0 };
    if (!verb_parse(&token_info_command, NULL, argc, argv, words, 1, 1))
        return 2;
    if (verb_config(context, &config) != CA_OK)
        return verb_failed(&token_info_command);
    struct info info = { .config = &config };
    int result = info_read(&info, words[0]) == CA_OK ? info.missing > 0
                                                     : verb_failed(&token_info_command);
    if (info.record)
        info_print(context, &info);
    config_clear(&config);
    return result;
}

/* ---- token test ---- */

struct test {
    struct token_set *set;
    json_t *rows;
    size_t bad;
};

static void
test_add(struct test *test, const char *label, const char *what, enum ca_status status)
{
    test->bad += status != CA_OK;
    json_array_append_new(
        test->rows, json_pack("{s:s, s:s, s:s}", "key", label, "test", what, "result",
                              status == CA_OK ? "ok" : status_message()));
}

/* Finding a key signs and verifies, or decrypts, once: here it is done again on its
 * own, so that what is printed is what was tried. */
static enum ca_status
visit_test(const struct keylist_key *found, void *arg)
{
    static const char text[] = "sealwright token test";
    struct test *test = arg;
    struct token_key *key = NULL;
    uint8_t signature[1024];
    size_t size = 0;
    status_forget();
    enum ca_status status =
        found->uses == 0
            ? ca_fail(CA_FORBIDDEN, "neither signs nor decrypts")
            : token_key_find(test->set, found->uri, found->uses, NULL, &key);
    if (status != CA_OK || found->uses & TOKEN_USE_DECRYPT)
        test_add(test, found->label, status != CA_OK ? "find, attributes" : "decrypt",
                 status);
    if (status != CA_OK)
        return CA_OK;
    if (found->uses & TOKEN_USE_SIGN)
        test_add(test, found->label, "sign, verify",
                 token_sign(key, EVP_sha256(), text, sizeof text, signature,
                            sizeof signature, &size));
    return CA_OK;
}

static enum ca_status
test_token(struct test *test, const struct config *config, const char *name)
{
    enum ca_status status = service_open_tokens(config, name, &test->set);
    if (status != CA_OK)
        return status;
    test_add(test, "-", "log in", token_check(test->set, 0));
    status = keylist_run(test->set, name, visit_test, test);
    token_set_free(test->set);
    return status;
}

static int
test_run(const struct command_context *context, int argc, char **argv)
{
    static const struct cli_column columns[] = {
        { "key", "KEY" }, { "test", "TEST" }, { "result", "RESULT" }, { NULL, NULL }
    };
    const char *words[2];
    struct config config = { 0 };
    if (!verb_parse(&token_test_command, NULL, argc, argv, words, 1, 1))
        return 2;
    if (verb_config(context, &config) != CA_OK)
        return verb_failed(&token_test_command);
    struct test test = { .rows = json_array() };
    int result = test_token(&test, &config, words[0]) == CA_OK
                     ? test.bad > 0
                     : verb_failed(&token_test_command);
    verb_print_rows(context, columns, test.rows);
    config_clear(&config);
    return result;
}

/* ---- token unlock ---- */

/* The PIN is tried here, once; a running daemon logs in only when it was right. */
static enum ca_status
unlock(const struct config *config, const char *name)
{
    struct token_set *set = NULL;
    CA_AUTO(free) char *path = service_latch_path(config, name);
    if (!path)
        return ca_fail(CA_INTERNAL, "no memory for a path");
    if (!token_find(config, name))
        return ca_fail(CA_NOT_FOUND, "no token '%s' is configured", name);
    if (unlink(path) != 0 && errno != ENOENT)
        return ca_fail(CA_UNAVAILABLE, "%s: %s", path, strerror(errno));
    enum ca_status status = service_open_tokens(config, name, &set);
    token_set_free(set);
    return status;
}

/* A daemon elsewhere, by its API. */
static int
unlock_remote(const struct command_context *context, const char *name)
{
    struct cli_client *client = NULL;
    struct cli_answer answer = { 0 };
    struct text_buffer path = { 0 };
    text_print(&path, "/api/v1/instance/tokens/");
    for (const char *at = name; *at; at++)
        text_print(&path,
                   strchr("-._~", *at) || isalnum((unsigned char)*at) ? "%c" : "%%%02X",
                   (unsigned char)*at);
    text_print(&path, "/unlock");
    bool holds =
        !path.failed && cli_client_open(context, true, &client) &&
        cli_client_call(client,
                        &(struct cli_request){ .method = "POST", .path = path.data },
                        &answer);
    if (holds)
        printf("token '%s' takes its PIN\n", name);
    cli_answer_clear(&answer);
    if (client)
        cli_client_close(client);
    text_buffer_clear(&path);
    return holds ? 0 : 1;
}

static int
unlock_run(const struct command_context *context, int argc, char **argv)
{
    const char *words[2];
    struct config config = { 0 };
    if (!verb_parse(&token_unlock_command, NULL, argc, argv, words, 1, 1))
        return 2;
    if (context->url)
        return unlock_remote(context, words[0]);
    if (verb_config(context, &config) != CA_OK)
        return verb_failed(&token_unlock_command);
    int result = 0;
    if (unlock(&config, words[0]) == CA_OK) {
        printf("token '%s' takes its PIN\n", words[0]);
        verb_signal_daemon(&config);
    } else {
        result = verb_failed(&token_unlock_command);
    }
    config_clear(&config);
    return result;
}

/* ---- The verbs ---- */

static const char *const list_actions[] = { "list", NULL };
const struct command token_list_command = {
    .name = "token",
    .actions = list_actions,
    .summary = "token list: modules, slots and tokens, without a PIN",
    .help = "Usage: sealwright token list\n"
            "\n"
            "Shows each configured token with its slot and the state of its PIN, then "
            "the other\n"
            "slots of their modules. No PIN is used. Exit status 1: one is missing.\n"
            "\n"
            "Example:\n"
            "  sealwright token list --data /var/lib/sealwright --json\n",
    .run = list_run,
};

static const char *const info_actions[] = { "info", NULL };
const struct command token_info_command = {
    .name = "token",
    .actions = info_actions,
    .summary = "token info: a token and the mechanisms it has or lacks",
    .help = "Usage: sealwright token info NAME\n"
            "\n"
            "Shows what the token NAME of the configuration says of itself, its "
            "waivers, and a\n"
            "table of the mechanisms that Sealwright uses. Exit status 1: a needed one "
            "is missing.\n"
            "\n"
            "Example:\n"
            "  sealwright token info main\n",
    .run = info_run,
};

static const char *const test_actions[] = { "test", NULL };
const struct command token_test_command = {
    .name = "token",
    .actions = test_actions,
    .summary = "token test: log in, sign and verify, decrypt with each key",
    .help = "Usage: sealwright token test NAME\n"
            "\n"
            "Logs in to the token NAME once and tries every key in it: its attributes, "
            "a signature\n"
            "that is verified, a decryption. Exit status 1: something failed.\n"
            "\n"
            "Example:\n"
            "  sealwright token test main\n",
    .run = test_run,
};

static const char *const unlock_actions[] = { "unlock", NULL };
const struct command token_unlock_command = {
    .name = "token",
    .actions = unlock_actions,
    .summary = "token unlock: try the PIN again after it was refused",
    .help =
        "Usage: sealwright token unlock NAME\n"
        "\n"
        "A refused PIN is never tried again by itself, also not by a restart. Once "
        "its file\n"
        "holds the right PIN: this lifts the latch, logs in once, and lets a "
        "running daemon do\n"
        "the same. With the PIN refused again the latch is back. With --url a daemon "
        "elsewhere\n"
        "does it, by its API.\n"
        "\n"
        "Examples:\n"
        "  sealwright token unlock main\n"
        "  sealwright --url https://ca.example.com:8443 token unlock main\n",
    .run = unlock_run,
};
