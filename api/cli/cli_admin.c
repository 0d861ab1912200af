/* `admin`, `admin-token`, `audit` and `status`: who runs the service, what they did,
 * and how it is. */
#include "cli.h"

#define ADMIN_OPTIONS(required, more)                                                  \
    { "role",                                                                          \
      CLI_TEXTS,                                                                       \
      "roles",                                                                         \
      "ROLE",                                                                          \
      "administrator, operator, approver or auditor" more,                             \
      required,                                                                        \
      NULL },                                                                          \
    {                                                                                  \
        "certificate-sha256", CLI_TEXT, "certificate_sha256", "HEX",                   \
            "SHA-256 of the client certificate that logs in", 0, NULL                  \
    }

static const struct cli_option admin_create_options[] = {
    ADMIN_OPTIONS(CLI_REQUIRED, ""),
    { .name = NULL },
};
static const struct cli_option admin_set_options[] = {
    ADMIN_OPTIONS(0, "; replaces the list"),
    { .name = NULL },
};
static const struct cli_column admin_columns[] = {
    { "name", "NAME" },
    { "roles", "ROLES" },
    { "disabled", "DISABLED" },
    { "certificate_sha256", "CERTIFICATE" },
    { NULL, NULL },
};

static const struct cli_action admin_actions[] = {
    { .name = "create",
      .arguments = "NAME",
      .summary = "Create an administrator",
      .method = "POST",
      .path = "/admins",
      .flags = CLI_BODY,
      .member = "name",
      .options = admin_create_options },
    { .name = "list",
      .summary = "List administrators",
      .method = "GET",
      .path = "/admins",
      .flags = CLI_LIST,
      .columns = admin_columns },
    { .name = "show",
      .arguments = "NAME",
      .summary = "Show an administrator",
      .method = "GET",
      .path = "/admins/{0}" },
    { .name = "set",
      .arguments = "NAME",
      .summary = "Change what the options name; an empty value clears",
      .method = "PATCH",
      .path = "/admins/{0}",
      .flags = CLI_BODY | CLI_IF_MATCH,
      .options = admin_set_options },
    { .name = "enable",
      .arguments = "NAME",
      .summary = "Let an administrator log in again",
      .method = "PATCH",
      .path = "/admins/{0}",
      .flags = CLI_BODY | CLI_IF_MATCH,
      .fixed = "{\"disabled\": false}" },
    { .name = "disable",
      .arguments = "NAME",
      .summary = "Stop an administrator from logging in",
      .method = "PATCH",
      .path = "/admins/{0}",
      .flags = CLI_BODY | CLI_IF_MATCH,
      .fixed = "{\"disabled\": true}" },
    { .name = "delete",
      .arguments = "NAME",
      .summary = "Delete an administrator and the tokens; never the last one",
      .method = "DELETE",
      .path = "/admins/{0}",
      .flags = CLI_IF_MATCH },
    { .path = NULL },
};

const struct cli_verb cli_admin = {
    .name = "admin",
    .about =
        "Administrators call the API by a token (`sealwright admin-token`) or by a\n"
        "client certificate.\n",
    .actions = admin_actions,
    .examples =
        "  sealwright admin create helpdesk --role operator\n"
        "  sealwright admin set helpdesk --role operator --role approver\n"
        "  sealwright admin create watcher --role auditor --certificate-sha256 \\\n"
        "      $(openssl x509 -in watcher.pem -outform DER | sha256sum | cut -c "
        "1-64)\n",
};

/* ---- Tokens of administrators ---- */

static const struct cli_option token_options[] = {
    { "description", CLI_TEXT, "description", "TEXT", "what it is for", 0, NULL },
    { "expires", CLI_AHEAD, "expires", "TIME",
      "when it ends: a time or a duration from now; else never", 0, NULL },
    { .name = NULL },
};
static const struct cli_option token_filters[] = {
    { "admin", CLI_TEXT, "admin", "NAME", "of this administrator", CLI_QUERY, NULL },
    { .name = NULL },
};
static const struct cli_column token_columns[] = {
    { "id", "ID" },
    { "admin", "ADMIN" },
    { "created", "CREATED" },
    { "expires", "EXPIRES" },
    { "description", "DESCRIPTION" },
    { NULL, NULL },
};

static const struct cli_action token_actions[] = {
    { .name = "create",
      .arguments = "ADMIN",
      .summary = "Create a token; it is shown this once",
      .method = "POST",
      .path = "/tokens",
      .flags = CLI_BODY,
      .member = "admin",
      .options = token_options },
    { .name = "list",
      .summary = "List tokens, without secrets",
      .method = "GET",
      .path = "/tokens",
      .flags = CLI_LIST,
      .options = token_filters,
      .columns = token_columns },
    { .name = "delete",
      .arguments = "ID",
      .summary = "Withdraw a token",
      .method = "DELETE",
      .path = "/tokens/{0}" },
    { .path = NULL },
};

const struct cli_verb cli_admin_token = {
    .name = "admin-token",
    .about = "Bearer tokens of administrators; they have nothing to do with PKCS#11.\n",
    .actions = token_actions,
    .examples =
        "  sealwright admin-token create helpdesk --description 'ticket system' "
        "--expires P90D\n"
        "  sealwright admin-token list --admin helpdesk\n"
        "  sealwright admin-token delete 3d0b8a57-1f0c-4f1e-b6a5-0c9e7d2f4b18\n",
};

/* ---- Audit ---- */

static const struct cli_option audit_filters[] = {
    { "action", CLI_TEXT, "action", "WORD", "with this action: certificate.issue",
      CLI_QUERY, NULL },
    { "actor", CLI_TEXT, "actor", "WHO", "by this actor: admin:alice", CLI_QUERY,
      NULL },
    { "object", CLI_TEXT, "object", "WHAT", "on this object: user:bob", CLI_QUERY,
      NULL },
    { "since", CLI_AGO, "since", "TIME", "at or after a time, or this long ago",
      CLI_QUERY, NULL },
    { "until", CLI_AGO, "until", "TIME", "before a time, or this long ago", CLI_QUERY,
      NULL },
    { .name = NULL },
};
static const struct cli_column audit_columns[] = {
    { "time", "TIME" },   { "action", "ACTION" }, { "outcome", "OUTCOME" },
    { "count", "COUNT" }, { "actor", "ACTOR" },   { "object", "OBJECT" },
    { NULL, NULL },
};

static const struct cli_action audit_actions[] = {
    { .name = "list",
      .summary = "List audit entries, newest first",
      .method = "GET",
      .path = "/audit",
      .flags = CLI_LIST,
      .options = audit_filters,
      .columns = audit_columns },
    { .path = NULL },
};

const struct cli_verb cli_audit = {
    .name = "audit",
    .about = "What was done or refused, by whom, over which protocol.\n",
    .actions = audit_actions,
    .examples = "  sealwright audit list --since P1D\n"
                "  sealwright audit list --actor admin:alice --limit 20\n"
                "  sealwright audit list --action certificate.issue --json\n",
};

/* ---- Status ---- */

static const struct cli_column status_columns[] = {
    { "check", "CHECK" },
    { "ok", "OK" },
    { "detail", "DETAIL" },
    { NULL, NULL },
};

static const struct cli_action status_actions[] = {
    { .summary = "Exit status 0: ready; 1: not ready, or nobody answers",
      .method = "GET",
      .path = "/health/ready",
      .flags = CLI_OUTSIDE,
      .rows = "checks",
      .columns = status_columns },
    { .path = NULL },
};

const struct cli_verb cli_status = {
    .name = "status",
    .about = "Asks the daemon whether its token, its store and all else that it needs\n"
             "answer; needs no administrator's token.\n",
    .actions = status_actions,
    .examples =
        "  sealwright status\n"
        "  sealwright status --json\n"
        "  sealwright --data /var/lib/sealwright status >/dev/null || echo down\n",
};
