/* `cert`, `request` and `issuer`: what was issued, what waits for it, and by whom. */
#include "cli.h"

#define PEM "application/x-pem-file"

static const struct cli_option cert_filters[] = {
    { "user", CLI_TEXT, "user", "NAME", "of this user", CLI_QUERY, NULL },
    { "device", CLI_TEXT, "device", "ID", "of this device", CLI_QUERY, NULL },
    { "profile", CLI_TEXT, "profile", "NAME", "by this certificate profile", CLI_QUERY,
      NULL },
    { "issuer", CLI_TEXT, "issuer", "NAME", "by this issuer", CLI_QUERY, NULL },
    { "state", CLI_TEXT, "state", "STATE",
      "intent, issued, revoked, expired or abandoned", CLI_QUERY, NULL },
    { "protocol", CLI_TEXT, "protocol", "NAME", "over this protocol: scep", CLI_QUERY,
      NULL },
    { "spki-sha256", CLI_TEXT, "spki_sha256", "HEX", "with the key of this SHA-256",
      CLI_QUERY, NULL },
    { "expires-before", CLI_AHEAD, "expires_before", "TIME",
      "that end before a time, or within a duration", CLI_QUERY, NULL },
    { "q", CLI_TEXT, "q", "TEXT", "serials that begin so, subjects that contain it",
      CLI_QUERY, NULL },
    { .name = NULL },
};
static const struct cli_column cert_columns[] = {
    { "serial", "SERIAL" },   { "state", "STATE" }, { "not_after", "NOT AFTER" },
    { "profile", "PROFILE" }, { "user", "USER" },   { "subject", "SUBJECT" },
    { NULL, NULL },
};
static const struct cli_option get_options[] = {
    { "der", CLI_DER, NULL, NULL, "DER in place of PEM", 0, NULL },
    { "out", CLI_OUT, NULL, "FILE", "into a file, not to standard output", 0, NULL },
    { .name = NULL },
};
static const struct cli_option revoke_options[] = {
    { "reason", CLI_TEXT, "reason", "REASON",
      "key_compromise, superseded, cessation_of_operation, affiliation_changed, "
      "privilege_withdrawn, certificate_hold, remove_from_crl, unspecified",
      0, NULL },
    { "invalidity-date", CLI_AGO, "invalidity_date", "TIME",
      "since when the key is not to be trusted; a time, or how long ago", 0, NULL },
    { .name = NULL },
};

static const struct cli_action cert_actions[] = {
    { .name = "list",
      .summary = "Search certificates",
      .method = "GET",
      .path = "/certificates",
      .flags = CLI_LIST,
      .options = cert_filters,
      .columns = cert_columns },
    { .name = "show",
      .arguments = "SERIAL",
      .summary = "Show what is known of a certificate",
      .method = "GET",
      .path = "/certificates/{0}" },
    { .name = "get",
      .arguments = "SERIAL",
      .summary = "Download a certificate",
      .method = "GET",
      .path = "/certificates/{0}",
      .accept = PEM,
      .options = get_options },
    { .name = "revoke",
      .arguments = "SERIAL",
      .summary = "Revoke a certificate, or release it from hold (remove_from_crl)",
      .method = "POST",
      .path = "/certificates/{0}/revoke",
      .flags = CLI_BODY,
      .options = revoke_options },
    { .path = NULL },
};

const struct cli_verb cli_cert = {
    .name = "cert",
    .about = "The inventory of all certificates that were ever to be signed.\n",
    .actions = cert_actions,
    .examples =
        "  sealwright cert list --user alice --state issued\n"
        "  sealwright cert list --expires-before P30D\n"
        "  sealwright cert get 5f0c3a...e1 --der --out laptop1.cer\n"
        "  sealwright cert revoke 5f0c3a...e1 --reason key_compromise --dry-run\n",
};

/* ---- Requests ---- */

static const struct cli_option request_filters[] = {
    { "state", CLI_TEXT, "state", "STATE",
      "waiting, approved, refused, issued or expired", CLI_QUERY, NULL },
    { .name = NULL },
};
static const struct cli_option refuse_options[] = {
    { "reason", CLI_TEXT, "reason", "TEXT", "why; kept with the request and the audit",
      CLI_REQUIRED, NULL },
    { .name = NULL },
};
static const struct cli_column request_columns[] = {
    { "id", "ID" },           { "state", "STATE" },     { "user", "USER" },
    { "profile", "PROFILE" }, { "expires", "EXPIRES" }, { "subject", "SUBJECT" },
    { NULL, NULL },
};

static const struct cli_action request_actions[] = {
    { .name = "list",
      .summary = "List requests",
      .method = "GET",
      .path = "/requests",
      .flags = CLI_LIST,
      .options = request_filters,
      .columns = request_columns },
    { .name = "show",
      .arguments = "ID",
      .summary = "Show a request",
      .method = "GET",
      .path = "/requests/{0}" },
    { .name = "approve",
      .arguments = "ID",
      .summary = "Approve a request; enough approvals issue it",
      .method = "POST",
      .path = "/requests/{0}/approve" },
    { .name = "refuse",
      .arguments = "ID",
      .summary = "Refuse a request",
      .method = "POST",
      .path = "/requests/{0}/refuse",
      .flags = CLI_BODY,
      .options = refuse_options },
    { .path = NULL },
};

const struct cli_verb cli_request = {
    .name = "request",
    .about =
        "Enrolments by profiles with approvals wait here; nobody approves a request\n"
        "of his own.\n",
    .actions = request_actions,
    .examples = "  sealwright request list --state waiting\n"
                "  sealwright request approve 6a3f2b90-55d1-4b7c-8e0e-2f8f3c1d7a42\n"
                "  sealwright request refuse 6a3f2b90-55d1-4b7c-8e0e-2f8f3c1d7a42 "
                "--reason 'unknown device'\n",
};

/* ---- Issuers ---- */

static const struct cli_option issuer_options[] = {
    { "state", CLI_TEXT, "state", "STATE", "active, standby or retired", 0, NULL },
    { "next", CLI_TEXT, "next", "NAME", "the standby issuer that takes over", 0, NULL },
    { "standby-key", CLI_TEXT, "standby_key", "URI",
      "the same key in another token, for when the first is down", 0, NULL },
    { "crl-lifetime", CLI_INTEGER, "crl.lifetime_seconds", "SECONDS",
      "from thisUpdate to nextUpdate of a CRL", 0, NULL },
    { "crl-overlap", CLI_INTEGER, "crl.overlap_seconds", "SECONDS",
      "how long before nextUpdate the next CRL is made", 0, NULL },
    { .name = NULL },
};
static const struct cli_column issuer_columns[] = {
    { "name", "NAME" }, { "state", "STATE" },     { "parent", "PARENT" },
    { "next", "NEXT" }, { "subject", "SUBJECT" }, { NULL, NULL },
};

static const struct cli_action issuer_actions[] = {
    { .name = "list",
      .summary = "List issuers",
      .method = "GET",
      .path = "/issuers",
      .flags = CLI_LIST,
      .columns = issuer_columns },
    { .name = "show",
      .arguments = "NAME",
      .summary = "Show an issuer",
      .method = "GET",
      .path = "/issuers/{0}" },
    { .name = "get",
      .arguments = "NAME",
      .summary = "Download an issuer's chain (PEM), or its own certificate (--der)",
      .method = "GET",
      .path = "/issuers/{0}",
      .accept = PEM,
      .options = get_options },
    { .name = "set",
      .arguments = "NAME",
      .summary = "Change what the options name; an empty value clears",
      .method = "PATCH",
      .path = "/issuers/{0}",
      .flags = CLI_BODY | CLI_IF_MATCH,
      .options = issuer_options },
    { .path = NULL },
};

const struct cli_verb cli_issuer = {
    .name = "issuer",
    .about = "The certificate authorities whose keys are in the tokens. The next one "
             "is made\n"
             "beside its token: `sealwright issuer rollover --help`.\n",
    .actions = issuer_actions,
    .examples = "  sealwright issuer list\n"
                "  sealwright issuer get issuing --out chain.pem\n"
                "  sealwright issuer get issuing --der --out issuing.cer\n"
                "  sealwright issuer set issuing --crl-lifetime 259200\n",
};
