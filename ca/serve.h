/* The verbs of this machine: the daemon itself and what prepares or checks it. */
#pragma once

#include "command.h"
#include "config.h"

extern const struct command serve_command;
extern const struct command check_command;
extern const struct command init_command;
extern const struct command rollover_command;

/* The path of the configuration that --config or --data names; free() it. */
char *serve_config_path(const struct command_context *context);
