/* `device` and `challenge`: what enrols, and the secret that lets it. */
#include "cli.h"

#define DEVICE_STATES "pending, active, disabled or unenrolled"

static const struct cli_option device_options[] = {
    { "owner", CLI_TEXT, "owner", "USER", "the user it belongs to", 0, NULL },
    { "kind", CLI_TEXT, "kind", "KIND", "what it is: windows, android, router", 0,
      NULL },
    { "hardware", CLI_PAIRS, "hardware", "NAME=VALUE", "serial number, IMEI and so on",
      0, NULL },
    { .name = NULL },
};
static const struct cli_option device_filters[] = {
    { "owner", CLI_TEXT, "owner", "USER", "of this user", CLI_QUERY, NULL },
    { "kind", CLI_TEXT, "kind", "KIND", "of this kind", CLI_QUERY, NULL },
    { "state", CLI_TEXT, "state", "STATE", DEVICE_STATES, CLI_QUERY, NULL },
    { .name = NULL },
};
static const struct cli_column device_columns[] = {
    { "id", "ID" },     { "state", "STATE" },         { "owner", "OWNER" },
    { "kind", "KIND" }, { "last_seen", "LAST SEEN" }, { NULL, NULL },
};

static const struct cli_option command_options[] = {
    { "kind", CLI_TEXT, "kind", "KIND",
      "get, add, replace, delete or exec; atomic and sequence by run", CLI_REQUIRED,
      NULL },
    { "target", CLI_TEXT, "target", "NODE", "the node: ./Vendor/MSFT/...", CLI_REQUIRED,
      NULL },
    { "value", CLI_TEXT, "data", "TEXT", "the value", 0, NULL },
    { "format", CLI_TEXT, "format", "FORMAT",
      "chr, int, bool, b64, xml, node, null, float, date, time or bin", 0, NULL },
    { "type", CLI_TEXT, "type", "TYPE", "its media type", 0, NULL },
    { .name = NULL },
};
static const struct cli_option command_filters[] = {
    { "state", CLI_TEXT, "state", "STATE", "queued, sent, done or failed", CLI_QUERY,
      NULL },
    { .name = NULL },
};
static const struct cli_column command_columns[] = {
    { "number", "NUMBER" }, { "id", "ID" },         { "kind", "KIND" },
    { "state", "STATE" },   { "target", "TARGET" }, { "finished", "FINISHED" },
    { NULL, NULL },
};

static const struct cli_column session_columns[] = {
    { "id", "ID" },           { "state", "STATE" },       { "started", "STARTED" },
    { "updated", "UPDATED" }, { "messages", "MESSAGES" }, { "waiting", "WAITING" },
    { NULL, NULL },
};

static const struct cli_action device_actions[] = {
    { .name = "list",
      .summary = "List devices",
      .method = "GET",
      .path = "/devices",
      .flags = CLI_LIST,
      .options = device_filters,
      .columns = device_columns },
    { .name = "show",
      .arguments = "ID",
      .summary = "Show a device",
      .method = "GET",
      .path = "/devices/{0}" },
    { .name = "create",
      .summary = "Register a device before it enrols",
      .method = "POST",
      .path = "/devices",
      .flags = CLI_BODY,
      .options = device_options },
    { .name = "set",
      .arguments = "ID",
      .summary = "Change what the options name; an empty value clears",
      .method = "PATCH",
      .path = "/devices/{0}",
      .flags = CLI_BODY,
      .options = device_options },
    { .name = "enable",
      .arguments = "ID",
      .summary = "Let a device enrol again",
      .method = "PATCH",
      .path = "/devices/{0}",
      .flags = CLI_BODY,
      .fixed = "{\"state\": \"active\"}" },
    { .name = "disable",
      .arguments = "ID",
      .summary = "Disable a device: revokes its certificates",
      .method = "PATCH",
      .path = "/devices/{0}",
      .flags = CLI_BODY,
      .fixed = "{\"state\": \"disabled\"}" },
    { .name = "unenrol",
      .arguments = "ID",
      .summary = "End a device's enrolment: revokes its certificates",
      .method = "PATCH",
      .path = "/devices/{0}",
      .flags = CLI_BODY,
      .fixed = "{\"state\": \"unenrolled\"}" },
    { .name = "delete",
      .arguments = "ID",
      .summary = "Delete a device without valid certificates",
      .method = "DELETE",
      .path = "/devices/{0}" },
    { .name = "command",
      .arguments = "ID",
      .summary = "Queue a command for a managed device",
      .method = "POST",
      .path = "/devices/{0}/commands",
      .flags = CLI_BODY,
      .options = command_options },
    { .name = "run",
      .arguments = "ID FILE",
      .summary = "Queue the command of a file's JSON: an atomic or sequence too",
      .method = "POST",
      .path = "/devices/{0}/commands",
      .flags = CLI_BODY },
    { .name = "commands",
      .arguments = "ID",
      .summary = "List the commands of a device",
      .method = "GET",
      .path = "/devices/{0}/commands",
      .flags = CLI_LIST,
      .options = command_filters,
      .columns = command_columns },
    { .name = "result",
      .arguments = "ID COMMAND",
      .summary = "Show a command and what the device answered",
      .method = "GET",
      .path = "/devices/{0}/commands/{1}" },
    { .name = "withdraw",
      .arguments = "ID COMMAND",
      .summary = "Withdraw a command that was not sent",
      .method = "DELETE",
      .path = "/devices/{0}/commands/{1}" },
    { .name = "sessions",
      .arguments = "ID",
      .summary = "List the management sessions of the last ten minutes",
      .method = "GET",
      .path = "/devices/{0}/sessions",
      .flags = CLI_LIST,
      .columns = session_columns },
    { .name = "wipe",
      .arguments = "ID",
      .summary = "Tell a Windows device to reset itself; everything on it is lost",
      .method = "POST",
      .path = "/devices/{0}/commands",
      .flags = CLI_BODY,
      .fixed = "{\"kind\": \"exec\", \"target\": "
               "\"./Device/Vendor/MSFT/RemoteWipe/doWipe\"}" },
    { .path = NULL },
};

const struct cli_verb cli_device = {
    .name = "device",
    .about =
        "A device appears when it enrols, or is registered before; it has at most\n"
        "one owner.\n",
    .actions = device_actions,
    .examples = "  sealwright device list --owner alice --state active\n"
                "  sealwright device create --owner alice --kind router "
                "--hardware serial=7F3A\n"
                "  sealwright device command 0b9b6c1e-8d4f-4e0c-9a53-6f1f0a4f2c11 "
                "--kind get --target ./DevDetail/SwV\n"
                "  sealwright device commands 0b9b6c1e-8d4f-4e0c-9a53-6f1f0a4f2c11 "
                "--state failed\n"
                "  sealwright device disable 0b9b6c1e-8d4f-4e0c-9a53-6f1f0a4f2c11\n",
};

/* ---- Challenges ---- */

static const struct cli_option challenge_options[] = {
    { "user", CLI_TEXT, "user", "NAME", "whose device it enrols", CLI_REQUIRED, NULL },
    { "profile", CLI_TEXT, "profile", "NAME", "the scep profile it holds for", 0,
      "default" },
    { "device", CLI_TEXT, "device", "ID", "the device it enrols; else a new one", 0,
      NULL },
    { "subject", CLI_TEXT, "subject", "NAME", "subject that the request must carry", 0,
      NULL },
    { "san", CLI_TEXTS, "san", "TYPE:VALUE", "a name it may carry: dns:a.example.com",
      0, NULL },
    { "expires-in", CLI_TEXT, "expires_in", "DURATION", "how long: PT10M, P1D", 0,
      NULL },
    { .name = NULL },
};
static const struct cli_option challenge_filters[] = {
    { "user", CLI_TEXT, "user", "NAME", "of this user", CLI_QUERY, NULL },
    { "state", CLI_TEXT, "state", "STATE",
      "open, claimed, used, withdrawn, locked or expired", CLI_QUERY, NULL },
    { .name = NULL },
};
static const struct cli_column challenge_columns[] = {
    { "id", "ID" },           { "state", "STATE" },     { "user", "USER" },
    { "profile", "PROFILE" }, { "expires", "EXPIRES" }, { "subject", "SUBJECT" },
    { NULL, NULL },
};

static const struct cli_action challenge_actions[] = {
    { .name = "create",
      .summary = "Make a challenge; its secret is shown this once",
      .method = "POST",
      .path = "/challenges",
      .flags = CLI_BODY,
      .options = challenge_options },
    { .name = "list",
      .summary = "List challenges, without secrets",
      .method = "GET",
      .path = "/challenges",
      .flags = CLI_LIST,
      .options = challenge_filters,
      .columns = challenge_columns },
    { .name = "show",
      .arguments = "ID",
      .summary = "Show a challenge, without its secret",
      .method = "GET",
      .path = "/challenges/{0}" },
    { .name = "withdraw",
      .arguments = "ID",
      .summary = "Withdraw an open challenge",
      .method = "DELETE",
      .path = "/challenges/{0}" },
    { .path = NULL },
};

const struct cli_verb cli_challenge = {
    .name = "challenge",
    .about =
        "A challenge is a secret for one SCEP enrolment, bound to user, profile and,\n"
        "as the options say, device and names.\n",
    .actions = challenge_actions,
    .examples = "  sealwright challenge create --user alice --subject CN=laptop1 "
                "--expires-in PT10M\n"
                "  sealwright challenge create --user alice --san dns:r7.example.com "
                "--json\n"
                "  sealwright challenge list --state open\n"
                "  sealwright challenge withdraw 4f1d0a9be2c85317\n",
};
