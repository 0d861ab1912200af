/* The online verbs: their list, and how a command line finds its action. */
#include "cli.h"
#include <string.h>

#define REASON_SIZE 256

const struct cli_option cli_dry_run = {
    "dry-run", CLI_FLAG, "dry_run", NULL, "check in full and show, but change nothing",
    CLI_QUERY, NULL,
};
const struct cli_option cli_limit = {
    "limit", CLI_COUNT, NULL, "N", "at most so many (default: all)", 0, NULL,
};

const struct cli_verb *const cli_verbs[] = {
    &cli_user,      &cli_group,      &cli_profile,       &cli_assign,
    &cli_challenge, &cli_activation, &cli_device,        &cli_cert,
    &cli_request,   &cli_issuer,     &cli_admin,         &cli_admin_token,
    &cli_audit,     &cli_mail,       &cli_mail_template, &cli_organisation,
    &cli_instance,  &cli_directory,  &cli_status,        NULL,
};

const struct cli_verb *
cli_verb_find(const char *name)
{
    for (const struct cli_verb *const *verb = cli_verbs; *verb; verb++) {
        if (strcmp((*verb)->name, name) == 0)
            return *verb;
    }
    return NULL;
}

const struct cli_action *
cli_action_find(const struct cli_verb *verb, const char *name)
{
    for (const struct cli_action *action = verb->actions; action->path; action++) {
        if (action->name && strcmp(action->name, name) == 0)
            return action;
    }
    return NULL;
}

static bool
asks_for_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    }
    return false;
}

static int
usage_error(const struct cli_verb *verb, const struct cli_action *action,
            const char *reason)
{
    const char *gap = action && action->name ? " " : "";
    const char *name = action && action->name ? action->name : "";
    fprintf(stderr, "sealwright %s%s%s: %s; see sealwright %s%s%s --help\n", verb->name,
            gap, name, reason, verb->name, gap, name);
    return 2;
}

static int
action_run(const struct command_context *context, const struct cli_verb *verb,
           const struct cli_action *action, int argc, char **argv)
{
    char reason[REASON_SIZE] = "";
    struct cli_call call = { .context = context, .verb = verb, .action = action };
    int result = cli_parse(&call, argc, argv, reason, sizeof reason)
                     ? cli_execute(&call)
                     : usage_error(verb, action, reason);
    cli_call_clear(&call);
    return result;
}

/* argv[0] is the verb; the first word behind it that is no option is the action. */
static int
cli_run(const struct command_context *context, int argc, char **argv)
{
    const struct cli_verb *verb = cli_verb_find(argv[0]);
    if (!verb)
        return 2;
    const struct cli_action *action = verb->actions->name ? NULL : verb->actions;
    int words = 1;
    if (!action && argc > 1) {
        action = cli_action_find(verb, argv[1]);
        words = 2;
    }
    if (asks_for_help(argc - 1, argv + 1)) {
        cli_help(stdout, verb, verb->actions->name ? action : NULL);
        return 0;
    }
    if (!action && argc > 1) {
        char reason[REASON_SIZE];
        snprintf(reason, sizeof reason, "there is no action '%s'", argv[1]);
        return usage_error(verb, NULL, reason);
    }
    if (!action) {
        cli_help(stderr, verb, NULL);
        return 2;
    }
    return action_run(context, verb, action, argc - words, argv + words);
}

const struct command cli_commands[] = {
    { .name = "user", .summary = "users: who owns devices", .run = cli_run },
    { .name = "group",
      .summary = "groups of users, and their members",
      .run = cli_run },
    { .name = "profile",
      .summary = "certificate and scep profiles, versioned",
      .run = cli_run },
    { .name = "assign",
      .summary = "give users and groups their profiles",
      .run = cli_run },
    { .name = "challenge", .summary = "one-time SCEP challenges", .run = cli_run },
    { .name = "activation",
      .summary = "passwords by which users activate devices",
      .run = cli_run },
    { .name = "device",
      .summary = "devices: register, disable, unenrol",
      .run = cli_run },
    { .name = "cert",
      .summary = "certificates: search, download, revoke",
      .run = cli_run },
    { .name = "request",
      .summary = "enrolments that wait for approval",
      .run = cli_run },
    { .name = "issuer", .summary = "issuers and their CRL settings", .run = cli_run },
    { .name = "admin", .summary = "administrators and their roles", .run = cli_run },
    { .name = "admin-token",
      .summary = "how administrators log in to the API",
      .run = cli_run },
    { .name = "audit", .summary = "what was done or refused", .run = cli_run },
    { .name = "mail", .summary = "mails that wait or were sent", .run = cli_run },
    { .name = "mail-template", .summary = "what mails to users say", .run = cli_run },
    { .name = "organisation",
      .summary = "whom this service serves, and its addresses",
      .run = cli_run },
    { .name = "instance", .summary = "the daemons of the domain", .run = cli_run },
    { .name = "directory",
      .summary = "users of the LDAP directory, and syncs with it",
      .run = cli_run },
    { .name = "status", .summary = "is the daemon alive and ready?", .run = cli_run },
    { .name = NULL },
};
