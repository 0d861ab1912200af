/* `activation`: passwords by which users activate devices. */
#include "cli.h"

static const struct cli_option make_options[] = {
    { "ref", CLI_TEXT, "ref", "REF", "tells several passwords of a user apart", 0,
      NULL },
    { "profile", CLI_TEXT, "profile", "NAME", "activation profile; else the user's", 0,
      NULL },
    { "expires-in", CLI_TEXT, "expires_in", "DURATION",
      "how long it may be used: PT10M, P1D", 0, NULL },
    { "devices", CLI_INTEGER, "devices", "N", "devices that it activates", 0, NULL },
    { "lockout", CLI_TEXT, "lockout", "KIND",
      "profile, hard or soft: end or delay after wrong tries", 0, NULL },
    { "mail", CLI_FLAG, "mail", NULL, "mail it to the user, do not show it", 0, NULL },
    { .name = NULL },
};
static const struct cli_option activation_filters[] = {
    { "user", CLI_TEXT, "user", "NAME", "of this user", CLI_QUERY, NULL },
    { "state", CLI_TEXT, "state", "STATE",
      "open, used, withdrawn, refused, locked or expired", CLI_QUERY, NULL },
    { .name = NULL },
};
static const struct cli_column activation_columns[] = {
    { "id", "ID" },           { "state", "STATE" }, { "user", "USER" },
    { "ref", "REF" },         { "tries", "TRIES" }, { "devices", "DEVICES" },
    { "expires", "EXPIRES" }, { NULL, NULL },
};

static const struct cli_action activation_actions[] = {
    { .name = "create",
      .arguments = "USER",
      .summary = "Make a generated password; it is shown this once, or mailed",
      .method = "POST",
      .path = "/activations",
      .flags = CLI_BODY,
      .member = "user",
      .options = make_options },
    { .name = "set",
      .arguments = "USER FILE",
      .summary = "Make one that you choose; FILE holds {\"password\": ...}, - is stdin",
      .method = "POST",
      .path = "/activations",
      .flags = CLI_BODY,
      .member = "user" },
    { .name = "list",
      .summary = "List activation passwords, without the passwords",
      .method = "GET",
      .path = "/activations",
      .flags = CLI_LIST,
      .options = activation_filters,
      .columns = activation_columns },
    { .name = "show",
      .arguments = "ID",
      .summary = "Show state, tries and devices of one",
      .method = "GET",
      .path = "/activations/{0}" },
    { .name = "withdraw",
      .arguments = "ID",
      .summary = "Withdraw an open one",
      .method = "DELETE",
      .path = "/activations/{0}" },
    { .path = NULL },
};

const struct cli_verb cli_activation = {
    .name = "activation",
    .about = "An activation password lets its user activate a device: short-lived, "
             "counted,\n"
             "and for as many devices as it says. A new one ends the one before it.\n",
    .actions = activation_actions,
    .examples = "  sealwright activation create alice --mail\n"
                "  sealwright activation create alice --expires-in PT1H --devices 2\n"
                "  sealwright activation list --state locked\n"
                "  sealwright activation withdraw 4f1d0a9be2c85317\n",
};
