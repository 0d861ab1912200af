/* --help of the online verbs, from the tables that run them. */
#include "cli.h"
#include <string.h>

#define INDENT 6
#define OPTION_WIDTH 28
#define LINE_WIDTH 88

/* Words until the line is full, further lines below the first one's start. */
static void
wrapped_print(FILE *to, const char *text, int column)
{
    int used = column;
    for (bool is_first = true; *text; is_first = false) {
        int length = (int)strcspn(text, " ");
        if (!is_first && used + 1 + length > LINE_WIDTH) {
            fprintf(to, "\n%*s", column, "");
            used = column;
        } else if (!is_first) {
            fputc(' ', to);
            used++;
        }
        fprintf(to, "%.*s", length, text);
        used += length;
        text += length;
        text += *text == ' ';
    }
    fputc('\n', to);
}

static void
option_print(FILE *to, const struct cli_option *option)
{
    char word[64], text[512];
    bool repeats = option->type == CLI_TEXTS || option->type == CLI_PAIRS;
    snprintf(word, sizeof word, "--%s%s%s", option->name, option->value ? " " : "",
             option->value ? option->value : "");
    snprintf(text, sizeof text, "%s%s%s%s%s%s", option->help,
             option->flags & CLI_REQUIRED ? " (required)" : "",
             repeats ? " (repeatable)" : "", option->initial ? " (default: " : "",
             option->initial ? option->initial : "", option->initial ? ")" : "");
    fprintf(to, "%*s%-*s ", INDENT, "", OPTION_WIDTH, word);
    wrapped_print(to, text, INDENT + OPTION_WIDTH + 1);
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
