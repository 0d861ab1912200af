/* The command: options that all verbs share, and the verb. */
#include "activate_client.h"
#include "command.h"
#include "serve.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* In the order of --help: this machine's verbs, then those over the API. */
static const struct command *const local_commands[] = {
    &serve_command,          &init_command,           &check_command,
    &health_check_command,   &rollover_command,       &ceremony_verify_command,
    &ceremony_command,       &token_list_command,     &token_info_command,
    &token_test_command,     &token_unlock_command,   &key_list_command,
    &key_attributes_command, &key_generate_command,   &key_destroy_command,
    &key_sealing_command,    &issuer_create_command,  &issuer_csr_command,
    &issuer_import_command,  &issuer_helpers_command, &issuer_retire_command,
    &activate_command,
};
#define LOCAL_COMMANDS (sizeof local_commands / sizeof local_commands[0])

static const char usage[] =
    "Usage: sealwright [OPTION...] VERB [ARGUMENT...]\n"
    "\n"
    "A certificate authority for device fleets whose keys never leave their token.\n";

static const char options_help[] =
    "\nOptions (before or behind the verb):\n"
    "  --data DIR         data folder (default: ./sealwright-data)\n"
    "  --config FILE      configuration (default: DIR/sealwright.json)\n"
    "  --url URL          a remote daemon's https address (default: DIR's socket)\n"
    "  --token-file FILE  the administrator's token (default: DIR/admin.token)\n"
    "  --cacert FILE      whom to trust with --url (default: DIR/root.pem)\n"
    "  --json             print the API's JSON\n"
    "  --help             this text, or that of the verb\n"
    "  --version          the version\n"
    "\n"
    "Examples:\n"
    "  sealwright --data /var/lib/sealwright serve\n"
    "  sealwright user create alice --email alice@example.com\n"
    "  sealwright challenge create --user alice --subject CN=laptop1 --json\n"
    "  sealwright VERB --help\n";

static void
help_print(FILE *to)
{
    fputs(usage, to);
    fputs("\nOn this machine:\n", to);
    for (size_t i = 0; i < LOCAL_COMMANDS; i++)
        fprintf(to, "  %-14s%s\n", local_commands[i]->name, local_commands[i]->summary);
    fputs("\nOver the API of a running daemon:\n", to);
    for (const struct command *command = cli_commands; command->name; command++)
        fprintf(to, "  %-14s%s\n", command->name, command->summary);
    fputs(options_help, to);
}

static bool
has_action(const struct command *command, const char *action)
{
    const char *const *known = command->actions;
    while (known && *known && (!action || strcmp(*known, action) != 0))
        known++;
    return !known || *known;
}

/* A verb of both kinds ("issuer") is told apart by the word behind it. */
static const struct command *
command_find(const char *name, const char *action)
{
    for (size_t i = 0; i < LOCAL_COMMANDS; i++) {
        if (strcmp(local_commands[i]->name, name) == 0 &&
            has_action(local_commands[i], action))
            return local_commands[i];
    }
    for (const struct command *command = cli_commands; command->name; command++) {
        if (strcmp(command->name, name) == 0)
            return command;
    }
    return NULL;
}

/* If argv[i] is `--name VALUE` or `--name=VALUE`: the value, and how many words. */
static const char *
option_value(int argc, char **argv, int i, const char *name, int *ret_words)
{
    size_t length = strlen(name);
    if (strncmp(argv[i], name, length) != 0)
        return NULL;
    if (argv[i][length] == '=') {
        *ret_words = 1;
        return argv[i] + length + 1;
    }
    if (argv[i][length] != '\0' || i + 1 >= argc)
        return NULL;
    *ret_words = 2;
    return argv[i + 1];
}

/* Takes the options that all verbs share out of argv; what stays is the verb's. A word
 * behind "--" is never an option. */
static int
options_take(int argc, char **argv, struct command_context *context)
{
    const struct {
        const char *name;
        const char **value;
    } options[] = {
        { "--data", &context->data },      { "--config", &context->config },
        { "--url", &context->url },        { "--token-file", &context->token_file },
        { "--cacert", &context->ca_file },
    };
    int kept = 1;
    bool is_over = false;
    for (int i = 1; i < argc;) {
        int words = 0;
        if (!is_over && strcmp(argv[i], "--json") == 0) {
            context->json = true;
            words = 1;
        }
        for (size_t o = 0;
             !is_over && words == 0 && o < sizeof options / sizeof *options; o++) {
            const char *value = option_value(argc, argv, i, options[o].name, &words);
            if (value)
                *options[o].value = value;
        }
        if (words == 0) {
            is_over = is_over || strcmp(argv[i], "--") == 0;
            argv[kept++] = argv[i];
            words = 1;
        }
        i += words;
    }
    argv[kept] = NULL;
    return kept;
}

static bool
wants_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    }
    return false;
}

/* A verb that has only actions, named without one of them; or no verb at all. */
static int
unknown_answer(const char *verb, int argc, char **argv)
{
    bool wants = wants_help(argc, argv), is_known = false;
    for (size_t i = 0; i < LOCAL_COMMANDS; i++) {
        if (strcmp(local_commands[i]->name, verb) != 0)
            continue;
        if (!is_known)
            fprintf(wants ? stdout : stderr,
                    "Usage: sealwright %s ACTION ...; each with --help:\n", verb);
        fprintf(wants ? stdout : stderr, "  %s\n", local_commands[i]->summary);
        is_known = true;
    }
    if (!is_known)
        fprintf(stderr, "sealwright: there is no verb '%s'; see sealwright --help\n",
                verb);
    return wants && is_known ? 0 : 2;
}

/* Pieces of each size that a thread keeps for itself; glibc's own number, seven, is
 * less than an enrolment frees. */
#define ALLOCATOR_TUNABLE "glibc.malloc.tcache_count=64"

/* glibc takes this from the environment at the start of a program alone: the daemon
 * starts itself once more with it. Who has set the variable knows better; where that
 * cannot be done, the daemon runs all the same, only slower. */
static void
allocator_tune(char **argv)
{
    char path[4096];
    bool serves = false;
    for (char **word = argv + 1; *argv && *word; word++)
        serves = serves || strcmp(*word, "serve") == 0;
    if (!serves || getenv("GLIBC_TUNABLES"))
        return;
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length <= 0 || setenv("GLIBC_TUNABLES", ALLOCATOR_TUNABLE, 1) != 0)
        return;
    path[length] = '\0';
    execv(path, argv);
}

int
main(int argc, char **argv)
{
    allocator_tune(argv);
    struct command_context context = { .data = "./sealwright-data" };
    int count = options_take(argc, argv, &context);
    if (count < 2) {
        help_print(stderr);
        return 2;
    }
    const char *verb = argv[1];
    if (strcmp(verb, "--version") == 0) {
        puts("sealwright " SEALWRIGHT_VERSION);
        return 0;
    }
    if (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0 ||
        strcmp(verb, "help") == 0) {
        help_print(stdout);
        return 0;
    }
    const struct command *command = command_find(verb, argv[2]);
    if (!command)
        return unknown_answer(verb, count - 2, argv + 2);
    if (command->help && wants_help(count - 2, argv + 2)) {
        fputs(command->help, stdout);
        return 0;
    }
    return command->run(&context, count - 1, argv + 1);
}
