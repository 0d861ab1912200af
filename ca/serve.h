/* The verbs of this machine: the daemon itself and what prepares or checks it. */
#pragma once

#include "command.h"
#include "config.h"

extern const struct command serve_command;
extern const struct command check_command;
extern const struct command init_command;
extern const struct command rollover_command;
extern const struct command token_list_command, token_info_command, token_test_command,
    token_unlock_command;
extern const struct command health_check_command;
extern const struct command ceremony_verify_command, ceremony_command;
extern const struct command key_list_command, key_attributes_command,
    key_generate_command, key_destroy_command, key_sealing_command;
extern const struct command issuer_create_command, issuer_csr_command,
    issuer_import_command, issuer_helpers_command, issuer_retire_command;

/* The path of the configuration that --config or --data names; free() it. */
char *serve_config_path(const struct command_context *context);
