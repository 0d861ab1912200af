/* `profile` and `organisation`: what certificates look like, and for whom. */
#include "cli.h"

static const char *const kinds[] = { "certificate", "scep", "policy", "activation",
                                     NULL };

static const struct cli_column profile_columns[] = {
    { "kind", "KIND" },
    { "name", "NAME" },
    { "version", "VERSION" },
    { "updated", "UPDATED" },
    { "description", "DESCRIPTION" },
    { NULL, NULL },
};

static const struct cli_action profile_actions[] = {
    { .name = "list",
      .arguments = "[KIND]",
      .summary = "List the profiles of a kind, or of all",
      .method = "GET",
      .path = "/profiles/{0}",
      .flags = CLI_LIST,
      .columns = profile_columns,
      .every = kinds },
    { .name = "show",
      .arguments = "KIND/NAME",
      .summary = "Show a profile",
      .method = "GET",
      .path = "/profiles/{0}/{1}" },
    { .name = "create",
      .arguments = "KIND/NAME FILE",
      .summary =
          "Create a profile from a file's JSON; what `show --json` printed will do",
      .method = "POST",
      .path = "/profiles/{0}",
      .flags = CLI_BODY | CLI_NEW,
      .member = "name" },
    { .name = "replace",
      .arguments = "KIND/NAME FILE",
      .summary = "Replace a profile; a `version` in the file must be the present one",
      .method = "PUT",
      .path = "/profiles/{0}/{1}",
      .flags = CLI_BODY | CLI_IF_MATCH },
    { .name = "set",
      .arguments = "KIND/NAME FILE",
      .summary = "Change the members that the file names; null clears (RFC 7396)",
      .method = "PATCH",
      .path = "/profiles/{0}/{1}",
      .flags = CLI_BODY | CLI_IF_MATCH },
    { .name = "delete",
      .arguments = "KIND/NAME",
      .summary = "Delete a profile that nothing uses",
      .method = "DELETE",
      .path = "/profiles/{0}/{1}",
      .flags = CLI_IF_MATCH },
    { .name = "versions",
      .arguments = "KIND/NAME",
      .summary = "List a profile's versions",
      .method = "GET",
      .path = "/profiles/{0}/{1}/versions",
      .flags = CLI_LIST,
      .columns = profile_columns },
    { .path = NULL },
};

const struct cli_verb cli_profile = {
    .name = "profile",
    .about =
        "A certificate profile says how a certificate looks, a scep profile what a\n"
        "device is told at /scep/NAME, a policy profile which settings a managed "
        "device\n"
        "is to have, an activation profile how a user activates a device. FILE holds\n"
        "JSON, - is standard input.\n",
    .actions = profile_actions,
    .examples =
        "  sealwright profile list certificate\n"
        "  sealwright profile show certificate/default --json >default.json\n"
        "  sealwright profile replace certificate/default default.json --dry-run\n"
        "  sealwright profile show scep/default --json |\n"
        "      sealwright profile create scep/tablets -\n"
        "  echo '{\"settings\": {\"validity\": \"P90D\"}}' |\n"
        "      sealwright profile set certificate/default -\n",
};

/* ---- The organisation ---- */

static const struct cli_option organisation_options[] = {
    { "name", CLI_TEXT, "name", "TEXT", "name, as in the subject's O", 0, NULL },
    { "mail-domain", CLI_TEXTS, "mail_domains", "DOMAIN",
      "mail domain of its users; replaces the list", 0, NULL },
    { "base-url", CLI_TEXT, "base_url", "URL", "where devices reach the service", 0,
      NULL },
    { "plain-url", CLI_TEXT, "plain_url", "URL", "where SCEP and CRLs are over http", 0,
      NULL },
    { .name = NULL },
};

static const struct cli_action organisation_actions[] = {
    { .name = "show",
      .summary = "Show the organisation",
      .method = "GET",
      .path = "/organisation" },
    { .name = "set",
      .summary = "Change what the options name",
      .method = "PUT",
      .path = "/organisation",
      .flags = CLI_BODY | CLI_IF_MATCH | CLI_WHOLE,
      .options = organisation_options },
    { .path = NULL },
};

const struct cli_verb cli_organisation = {
    .name = "organisation",
    .about = "The one record of whom this domain of instances serves, and at which\n"
             "addresses; links in certificates and answers come from it.\n",
    .actions = organisation_actions,
    .examples = "  sealwright organisation show\n"
                "  sealwright organisation set --name 'Example Ltd' "
                "--mail-domain example.com\n"
                "  sealwright organisation set --plain-url http://ca.example.com\n",
};
