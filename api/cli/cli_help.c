/* --help of the online verbs, from the tables that run them. */
#include "cli.h"
#include <string.h>

#define OPTION_WIDTH 30

static void
option_print(FILE *to, const struct cli_option *option)
{
    char word[64];
    snprintf(word, sizeof word, "--%s%s%s", option->name, option->value ? " " : "",
             option->value ? option->value : "");
    fprintf(to, "      %-*s %s", OPTION_WIDTH, word, option->help);
    if (option->flags & CLI_REQUIRED)
        fputs(" (required)", to);
    if (option->type == CLI_TEXTS || option->type == CLI_PAIRS)
        fputs(" (repeatable)", to);
    if (option->initial)
        fprintf(to, " (default: %s)", option->initial);
    fputc('\n', to);
}

static void
action_print(FILE *to, const struct cli_verb *verb, const struct cli_action *action)
{
    fprintf(to, "  %s%s%s%s%s%s\n", verb->name, action->name ? " " : "",
            action->name ? action->name : "", action->arguments ? " " : "",
            action->arguments ? action->arguments : "",
            cli_option_at(action, 0) ? " [OPTION...]" : "");
    fprintf(to, "      %s\n", action->summary);
    const struct cli_option *option;
    for (size_t i = 0; (option = cli_option_at(action, i)); i++)
        option_print(to, option);
}

void
cli_help(FILE *to, const struct cli_verb *verb, const struct cli_action *action)
{
    bool has_actions = verb->actions->name;
    fprintf(to, "Usage: sealwright %s%s [ARGUMENT...] [OPTION...]\n\n%s\n%s:\n",
            verb->name, has_actions ? " ACTION" : "", verb->about,
            has_actions ? "Actions" : "Call");
    for (const struct cli_action *each = verb->actions; each->path; each++) {
        if (!action || each == action)
            action_print(to, verb, each);
    }
    fputs(
        "\nThe options of `sealwright --help` (--data, --url, --json, ...) hold too.\n"
        "\nExamples:\n",
        to);
    fputs(verb->examples, to);
}
