/* `sealwright health-check`: every finding by name, the worst as the exit status. */
#include "auto.h"
#include "health.h"
#include "serve.h"
#include "verb.h"

static int
health_run_verb(const struct command_context *context, int argc, char **argv)
{
    static const struct cli_column columns[] = {
        { "severity", "SEVERITY" },
        { "check", "CHECK" },
        { "detail", "DETAIL" },
        { NULL, NULL },
    };
    bool is_short = false;
    const struct verb_option options[] = { { "problems", NULL, &is_short },
                                           { NULL, NULL, NULL } };
    struct health health;
    if (!verb_parse(&health_check_command, options, argc, argv, NULL, 0, 0))
        return 2;
    verb_harden();
    CA_AUTO(free) char *path = serve_config_path(context);
    if (!path)
        return 2;
    health_run(path, &health);
    json_t *rows = json_array(), *row;
    size_t i;
    json_array_foreach (health.findings, i, row) {
        const char *severity = json_string_value(json_object_get(row, "severity"));
        if (!is_short || severity[0] != 'o')
            json_array_append(rows, row);
    }
    int result = (int)health.worst;
    health_clear(&health);
    if (context->json)
        verb_print_record(context,
                          json_pack("{s:s, s:o}", "worst",
                                    health_severity_words[result], "findings", rows));
    else
        verb_print_rows(context, columns, rows);
    return result;
}

const struct command health_check_command = {
    .name = "health-check",
    .summary = "look at tokens, keys, certificates, CRLs, profiles, audit, files",
    .help =
        "Usage: sealwright health-check [--problems]\n"
        "\n"
        "Checks by name, over configuration, store, tokens and files, with or without "
        "a running\n"
        "daemon; each PIN is tried once. Exit status 0: all is well, 1: warnings, 2: "
        "something is\n"
        "critical (or the command line is wrong).\n"
        "\n"
        "  --problems  leave out what is well\n"
        "\n"
        "Examples:\n"
        "  sealwright health-check --data /var/lib/sealwright --problems\n"
        "  sealwright health-check --json | jq -r .worst\n",
    .run = health_run_verb,
};
