/* `instance` and `directory`: the daemons of the domain, and where users come from. */
#include "cli.h"

static const struct cli_column instance_columns[] = {
    { "name", "NAME" },
    { "healthy", "HEALTHY" },
    { "heartbeat", "HEARTBEAT" },
    { "capacity", "CAPACITY" },
    { "url", "URL" },
    { "release", "RELEASE" },
    { NULL, NULL },
};

static const struct cli_action instance_actions[] = {
    { .name = "list",
      .summary = "List the domain's instances",
      .method = "GET",
      .path = "/instances",
      .flags = CLI_LIST,
      .columns = instance_columns },
    { .name = "show",
      .arguments = "NAME",
      .summary = "Show an instance",
      .method = "GET",
      .path = "/instances/{0}" },
    { .name = "remove",
      .arguments = "NAME",
      .summary = "Take away an instance that no longer runs; its devices move",
      .method = "DELETE",
      .path = "/instances/{0}" },
    { .path = NULL },
};

const struct cli_verb cli_instance = {
    .name = "instance",
    .about = "Each daemon of a store registers itself; a device belongs to one of them "
             "and\nstays there while it runs.\n",
    .actions = instance_actions,
    .examples = "  sealwright instance list\n"
                "  sealwright instance show main --json\n"
                "  sealwright instance remove old-host\n",
};

/* ---- Directory ---- */

static const struct cli_option sync_options[] = {
    { "force", CLI_FLAG, "force", NULL, "disable as many users as the directory says",
      0, NULL },
    { .name = NULL },
};
static const struct cli_column sync_columns[] = {
    { "name", "NAME" },     { "result", "RESULT" }, { "changed", "CHANGED" },
    { "reason", "REASON" }, { "dn", "DN" },         { NULL, NULL },
};

static const struct cli_action directory_actions[] = {
    { .name = "show",
      .summary = "Show the directory and how the last sync went",
      .method = "GET",
      .path = "/directory" },
    { .name = "sync",
      .summary = "Sync with the directory now; a result per user",
      .method = "POST",
      .path = "/directory/sync",
      .flags = CLI_BODY,
      .options = sync_options,
      .rows = "items",
      .columns = sync_columns },
    { .path = NULL },
};

const struct cli_verb cli_directory = {
    .name = "directory",
    .about = "Users come from the LDAP directory that the configuration names; who is\n"
             "disabled there, or gone, is disabled here.\n",
    .actions = directory_actions,
    .examples = "  sealwright directory show\n"
                "  sealwright directory sync --dry-run\n"
                "  sealwright directory sync --force --json\n",
};
