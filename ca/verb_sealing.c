/* `sealwright key sealing`: a new key that seals secrets at rest, in the token or
 * wrapped by it. */
#include "audit.h"
#include "auto.h"
#include "serve.h"
#include "vault.h"
#include "verb.h"
#include <string.h>

static enum ca_status
note_step(struct store_tx *tx, void *arg)
{
    const struct vault_wanted *wanted = arg;
    char actor[96];
    verb_actor(actor, sizeof actor);
    CA_AUTO(json_decref)
    json_t *detail = json_pack("{s:s, s:s}", "token", wanted->token, "kek",
                               wanted->mode == VAULT_TOKEN ? "token" : "memory");
    return audit_append(tx, &(struct audit_entry){ .action = "key.sealing",
                                                   .actor = actor,
                                                   .object = "key:sealing",
                                                   .protocol = "command",
                                                   .outcome = "ok",
                                                   .detail = detail });
}

/* The mode is the configuration's: what is made is what the daemon takes up. */
static enum ca_status
sealing_make(struct service *service)
{
    const struct config_activation *config = &service->config.activation;
    const struct config_token *first = service->config.tokens.items;
    if (!config->token && service->config.tokens.count == 0)
        return ca_fail(CA_NOT_FOUND, "no token is configured");
    struct vault_wanted wanted = {
        .token = config->token ? config->token : first->name,
        .mode = (enum vault_mode)config->kek,
        .method = (enum vault_method)config->method,
    };
    enum ca_status status = vault_create(service->store, service->tokens, &wanted);
    return status == CA_OK ? store_write(service->store, note_step, &wanted) : status;
}

static int
sealing_run(const struct command_context *context, int argc, char **argv)
{
    const struct verb_option options[] = { { NULL, NULL, NULL } };
    const char *words[1] = { NULL };
    struct service *service = NULL;
    if (!verb_parse(&key_sealing_command, options, argc, argv, words, 0, 0))
        return 2;
    if (verb_open(context, &service) != CA_OK)
        return verb_failed(&key_sealing_command);
    int result = 0;
    if (sealing_make(service) == CA_OK) {
        verb_signal_daemon(&service->config);
        puts("a new sealing key is in use; what older ones sealed stays readable");
    } else {
        result = verb_failed(&key_sealing_command);
    }
    service_close(service);
    return result;
}

static const char *const sealing_actions[] = { "sealing", NULL };
const struct command key_sealing_command = {
    .name = "key",
    .actions = sealing_actions,
    .summary = "key sealing: make a new key that seals secrets at rest",
    .help =
        "Usage: sealwright key sealing\n"
        "\n"
        "Makes the keys that activation needs, or new ones in their place, as the\n"
        "configuration's activation.kek says: an AES key in the token (token), or a "
        "data key\n"
        "that keys of the token wrap (memory). What older keys sealed stays "
        "readable. A\n"
        "running daemon takes the new key up; a change of activation.kek needs a "
        "restart.\n"
        "\n"
        "Example:\n"
        "  sealwright key sealing --data /var/lib/sealwright\n",
    .run = sealing_run,
};
