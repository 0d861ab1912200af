/* `mail` and `mail-template`: what waits for the mail server, and what mails say. */
#include "cli.h"

static const struct cli_option mail_filters[] = {
    { "user", CLI_TEXT, "user", "NAME", "to this user", CLI_QUERY, NULL },
    { "state", CLI_TEXT, "state", "STATE",
      "waiting, sent, failed, expired or withdrawn", CLI_QUERY, NULL },
    { "template", CLI_TEXT, "template", "NAME", "made by this template", CLI_QUERY,
      NULL },
    { .name = NULL },
};
static const struct cli_column mail_columns[] = {
    { "id", "ID" },
    { "state", "STATE" },
    { "template", "TEMPLATE" },
    { "recipient", "RECIPIENT" },
    { "attempts", "ATTEMPTS" },
    { "created", "CREATED" },
    { "failure", "FAILURE" },
    { NULL, NULL },
};

static const struct cli_action mail_actions[] = {
    { .name = "list",
      .summary = "List mails, without what they say",
      .method = "GET",
      .path = "/mail",
      .flags = CLI_LIST,
      .options = mail_filters,
      .columns = mail_columns },
    { .name = "show",
      .arguments = "ID",
      .summary = "Show what became of a mail",
      .method = "GET",
      .path = "/mail/{0}" },
    { .name = "retry",
      .arguments = "ID",
      .summary = "Hand a waiting or failed mail over now",
      .method = "POST",
      .path = "/mail/{0}/retry" },
    { .name = "withdraw",
      .arguments = "ID",
      .summary = "Withdraw a mail that was not sent; wipes what it says",
      .method = "DELETE",
      .path = "/mail/{0}" },
    { .name = "test",
      .arguments = "ADDRESS",
      .summary = "Send a mail that only says that mail works",
      .method = "POST",
      .path = "/mail/test",
      .flags = CLI_BODY,
      .member = "recipient" },
    { .path = NULL },
};

const struct cli_verb cli_mail = {
    .name = "mail",
    .about = "Mails wait in the store until the mail server of the configuration file "
             "takes them\nover; what they say is shown nowhere.\n",
    .actions = mail_actions,
    .examples = "  sealwright mail test admin@example.com\n"
                "  sealwright mail list --state waiting\n"
                "  sealwright mail retry 3d0b8a571f0c4f1e\n",
};

static const struct cli_option preview_options[] = {
    { "subject", CLI_TEXT, "subject", "TEXT", "in place of the template's", 0, NULL },
    { "text", CLI_TEXT, "text", "TEXT", "likewise, the plain text", 0, NULL },
    { "html", CLI_TEXT, "html", "TEXT", "likewise, the HTML", 0, NULL },
    { .name = NULL },
};
static const struct cli_column template_columns[] = {
    { "name", "NAME" },       { "is_built_in", "BUILT IN" },
    { "version", "VERSION" }, { "subject", "SUBJECT" },
    { NULL, NULL },
};
static const struct cli_column version_columns[] = {
    { "version", "VERSION" }, { "is_built_in", "BUILT IN" },
    { "updated", "UPDATED" }, { "subject", "SUBJECT" },
    { NULL, NULL },
};

static const struct cli_action template_actions[] = {
    { .name = "list",
      .summary = "List mail templates",
      .method = "GET",
      .path = "/mail-templates",
      .flags = CLI_LIST,
      .columns = template_columns },
    { .name = "show",
      .arguments = "NAME",
      .summary = "Show a mail template",
      .method = "GET",
      .path = "/mail-templates/{0}" },
    { .name = "replace",
      .arguments = "NAME FILE",
      .summary = "Replace a template; FILE holds {\"subject\", \"text\", \"html\"}",
      .method = "PUT",
      .path = "/mail-templates/{0}",
      .flags = CLI_BODY | CLI_IF_MATCH },
    { .name = "set",
      .arguments = "NAME",
      .summary = "Change what the options name; an empty value clears",
      .method = "PATCH",
      .path = "/mail-templates/{0}",
      .flags = CLI_BODY | CLI_IF_MATCH,
      .options = preview_options },
    { .name = "reset",
      .arguments = "NAME",
      .summary = "Take the program's own text again",
      .method = "POST",
      .path = "/mail-templates/{0}/reset" },
    { .name = "preview",
      .arguments = "NAME",
      .summary = "Show what a mail would be, with sample values",
      .method = "POST",
      .path = "/mail-templates/{0}/preview",
      .flags = CLI_BODY,
      .options = preview_options },
    { .name = "versions",
      .arguments = "NAME",
      .summary = "List the versions of a mail template",
      .method = "GET",
      .path = "/mail-templates/{0}/versions",
      .flags = CLI_LIST,
      .columns = version_columns },
    { .path = NULL },
};

const struct cli_verb cli_mail_template = {
    .name = "mail-template",
    .about = "Subject, plain text and HTML of the mails that users get, with "
             "{{variables}} that\n`show` lists. Every version is kept.\n",
    .actions = template_actions,
    .examples =
        "  sealwright mail-template show activation --json > activation.json\n"
        "  sealwright mail-template replace activation activation.json\n"
        "  sealwright mail-template preview activation --subject 'Your new laptop'\n"
        "  sealwright mail-template reset activation\n",
};
