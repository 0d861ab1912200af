/* `instance`: the daemons of the domain. */
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
