/* `user`, `group` and `assign`: who owns devices, and which profiles they get. */
#include "cli.h"

#define USER_OPTIONS                                                                    \
    { "email", CLI_TEXT, "email", "ADDRESS", "mailbox", 0, NULL },                      \
        { "display-name",                                                               \
          CLI_TEXT,                                                                     \
          "display_name",                                                               \
          "TEXT",                                                                       \
          "how people call the user",                                                   \
          0,                                                                            \
          NULL },                                                                       \
        { "work-space", CLI_TEXT, "work_space", "ID", "id of the user's work space", 0, \
          NULL },                                                                       \
    {                                                                                   \
        "attribute", CLI_PAIRS, "attributes", "NAME=VALUE", "a text for templates", 0,  \
            NULL                                                                        \
    }

static const struct cli_option user_create_options[] = {
    USER_OPTIONS,
    { "state", CLI_TEXT, "state", "STATE", "active or disabled", 0, NULL },
    { .name = NULL },
};
static const struct cli_option user_set_options[] = { USER_OPTIONS, { .name = NULL } };
static const struct cli_option user_filters[] = {
    { "group", CLI_TEXT, "group", "NAME", "members of this group", CLI_QUERY, NULL },
    { "email", CLI_TEXT, "email", "ADDRESS", "with exactly this address", CLI_QUERY,
      NULL },
    { "state", CLI_TEXT, "state", "STATE", "active or disabled", CLI_QUERY, NULL },
    { "q", CLI_TEXT, "q", "TEXT", "names that begin so", CLI_QUERY, NULL },
    { .name = NULL },
};
static const struct cli_option user_invite_options[] = {
    { "expires-in", CLI_TEXT, "expires_in", "DURATION",
      "how long the link may be used (P2D)", 0, NULL },
    { .name = NULL },
};
static const struct cli_column user_columns[] = {
    { "name", "NAME" },     { "state", "STATE" },
    { "email", "EMAIL" },   { "display_name", "DISPLAY NAME" },
    { "groups", "GROUPS" }, { NULL, NULL },
};

static const struct cli_column import_columns[] = {
    { "line", "LINE" },     { "name", "NAME" }, { "result", "RESULT" },
    { "reason", "REASON" }, { NULL, NULL },
};

static const struct cli_column assigned_columns[] = {
    { "kind", "KIND" },
    { "profile", "ASSIGNED" },
    { "from", "FROM" },
    { NULL, NULL },
};

static const struct cli_action user_actions[] = {
    { .name = "create",
      .arguments = "NAME",
      .summary = "Create a user",
      .method = "POST",
      .path = "/users",
      .flags = CLI_BODY,
      .member = "name",
      .options = user_create_options },
    { .name = "list",
      .summary = "List users",
      .method = "GET",
      .path = "/users",
      .flags = CLI_LIST,
      .options = user_filters,
      .columns = user_columns },
    { .name = "show",
      .arguments = "NAME",
      .summary = "Show a user",
      .method = "GET",
      .path = "/users/{0}" },
    { .name = "set",
      .arguments = "NAME",
      .summary = "Change what the options name; an empty value clears",
      .method = "PATCH",
      .path = "/users/{0}",
      .flags = CLI_BODY | CLI_IF_MATCH,
      .options = user_set_options },
    { .name = "enable",
      .arguments = "NAME",
      .summary = "Let a disabled user's devices enrol again",
      .method = "PATCH",
      .path = "/users/{0}",
      .flags = CLI_BODY | CLI_IF_MATCH,
      .fixed = "{\"state\": \"active\"}" },
    { .name = "disable",
      .arguments = "NAME",
      .summary = "Disable a user: revokes the certificates, ends the challenges",
      .method = "PATCH",
      .path = "/users/{0}",
      .flags = CLI_BODY | CLI_IF_MATCH,
      .fixed = "{\"state\": \"disabled\"}" },
    { .name = "delete",
      .arguments = "NAME",
      .summary = "Delete a user without active devices; ended ones become nobody's",
      .method = "DELETE",
      .path = "/users/{0}",
      .flags = CLI_IF_MATCH },
    { .name = "import",
      .arguments = "FILE",
      .summary = "Create and change users by a CSV file, all lines or none",
      .method = "POST",
      .path = "/users/import",
      .flags = CLI_BODY | CLI_TEXT_BODY,
      .member = "csv",
      .rows = "items",
      .columns = import_columns },
    { .name = "password",
      .arguments = "NAME FILE",
      .summary = "Set a user's password; FILE holds {\"password\": ...}, - is stdin",
      .method = "PUT",
      .path = "/users/{0}/password",
      .flags = CLI_BODY },
    { .name = "remove-password",
      .arguments = "NAME",
      .summary = "Remove a user's password",
      .method = "DELETE",
      .path = "/users/{0}/password" },
    { .name = "invite",
      .arguments = "NAME",
      .summary = "Mail a link by which the user sets the self-service password",
      .method = "POST",
      .path = "/users/{0}/invitation",
      .flags = CLI_BODY,
      .options = user_invite_options },
    { .name = "withdraw-invitation",
      .arguments = "NAME",
      .summary = "Withdraw a user's open invitation",
      .method = "DELETE",
      .path = "/users/{0}/invitation" },
    { .name = "profiles",
      .arguments = "NAME",
      .summary = "Show a user's assigned and effective profiles",
      .method = "GET",
      .path = "/users/{0}/profiles",
      .rows = "assigned",
      .columns = assigned_columns },
    { .path = NULL },
};

const struct cli_verb cli_user = {
    .name = "user",
    .about = "Users own devices; templates of profiles take names from them.\n",
    .actions = user_actions,
    .examples =
        "  sealwright user create alice --email alice@example.com "
        "--display-name \"Alice Doe\"\n"
        "  sealwright user set alice --attribute cost_centre=4711 --work-space ''\n"
        "  sealwright user import users.csv --dry-run\n"
        "  sealwright user list --state disabled\n"
        "  sealwright user profiles alice\n"
        "  sealwright user disable alice --dry-run\n",
};

/* ---- Groups ---- */

static const struct cli_option group_options[] = {
    { "description", CLI_TEXT, "description", "TEXT", "what the group is for", 0,
      NULL },
    { "priority", CLI_INTEGER, "priority", "N",
      "of several groups' profiles the one of the lowest holds", 0, NULL },
    { .name = NULL },
};
static const struct cli_column group_columns[] = {
    { "name", "NAME" },
    { "priority", "PRIORITY" },
    { "description", "DESCRIPTION" },
    { NULL, NULL },
};
static const struct cli_column member_columns[] = { { "name", "NAME" },
                                                    { NULL, NULL } };

static const struct cli_action group_actions[] = {
    { .name = "create",
      .arguments = "NAME",
      .summary = "Create a group",
      .method = "POST",
      .path = "/groups",
      .flags = CLI_BODY,
      .member = "name",
      .options = group_options },
    { .name = "list",
      .summary = "List groups",
      .method = "GET",
      .path = "/groups",
      .flags = CLI_LIST,
      .columns = group_columns },
    { .name = "show",
      .arguments = "NAME",
      .summary = "Show a group",
      .method = "GET",
      .path = "/groups/{0}" },
    { .name = "set",
      .arguments = "NAME",
      .summary = "Change what the options name; an empty value clears",
      .method = "PATCH",
      .path = "/groups/{0}",
      .flags = CLI_BODY | CLI_IF_MATCH,
      .options = group_options },
    { .name = "delete",
      .arguments = "NAME",
      .summary = "Delete a group with its memberships and assignments",
      .method = "DELETE",
      .path = "/groups/{0}",
      .flags = CLI_IF_MATCH },
    { .name = "members",
      .arguments = "NAME",
      .summary = "List a group's members",
      .method = "GET",
      .path = "/groups/{0}/members",
      .flags = CLI_LIST,
      .columns = member_columns },
    { .name = "add",
      .arguments = "NAME USER",
      .summary = "Make a user a member",
      .method = "PUT",
      .path = "/groups/{0}/members/{1}" },
    { .name = "remove",
      .arguments = "NAME USER",
      .summary = "End a membership",
      .method = "DELETE",
      .path = "/groups/{0}/members/{1}" },
    { .name = "profiles",
      .arguments = "NAME",
      .summary = "Show a group's assigned profiles",
      .method = "GET",
      .path = "/groups/{0}/profiles",
      .rows = "assigned",
      .columns = assigned_columns },
    { .path = NULL },
};

const struct cli_verb cli_group = {
    .name = "group",
    .about = "Groups give their members profiles; where several do, the group of the\n"
             "lowest priority holds.\n",
    .actions = group_actions,
    .examples = "  sealwright group create field-staff --priority 50\n"
                "  sealwright group add field-staff alice\n"
                "  sealwright group members field-staff\n"
                "  sealwright group set field-staff --description 'Tablets outdoors'\n",
};

/* ---- Assignments ---- */

static const struct cli_option assign_options[] = {
    { "remove", CLI_DELETE, NULL, NULL, "end the assignment", 0, NULL },
    { .name = NULL },
};

static const struct cli_action assign_actions[] = {
    { .name = "user",
      .arguments = "NAME KIND/PROFILE",
      .summary = "Assign a profile to a user",
      .method = "PUT",
      .path = "/users/{0}/profiles/{1}/{2}",
      .options = assign_options },
    { .name = "group",
      .arguments = "NAME KIND/PROFILE",
      .summary = "Assign a profile to a group",
      .method = "PUT",
      .path = "/groups/{0}/profiles/{1}/{2}",
      .options = assign_options },
    { .path = NULL },
};

const struct cli_verb cli_assign = {
    .name = "assign",
    .about =
        "Of each kind a user gets the profile assigned to himself, else that of a\n"
        "group, else `default`. `sealwright user profiles NAME` shows the outcome.\n",
    .actions = assign_actions,
    .examples = "  sealwright assign user alice scep/tablets\n"
                "  sealwright assign group field-staff certificate/short-lived\n"
                "  sealwright assign user alice scep/tablets --remove\n",
};
