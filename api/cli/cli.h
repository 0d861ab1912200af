/* The online verbs as data: a verb is a table of actions, an action one call of the API
 * with its arguments, options and columns; one executor runs them all. */
#pragma once

#include "command.h"
#include "text.h"
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#define CLI_ARGUMENTS_MAX 3  /* words behind the action */
#define CLI_PARAMETERS_MAX 4 /* of a path: an argument KIND/NAME is two */
#define CLI_FILE_MAX (1024 * 1024)
#define CLI_LIST_MAX INT64_MAX

enum cli_type {
    CLI_TEXT,    /* a string; empty: null */
    CLI_INTEGER, /* a decimal number */
    CLI_TEXTS,   /* repeatable: a list of strings; one empty value: an empty list */
    CLI_PAIRS,   /* repeatable NAME=VALUE: an object; empty VALUE: null */
    CLI_AHEAD,   /* an RFC 3339 time, or a duration from now ("P30D") */
    CLI_AGO,     /* an RFC 3339 time, or a duration before now */
    CLI_FLAG,    /* no value: true */
    CLI_DELETE,  /* no value: the call is a DELETE */
    CLI_DER,     /* no value: ask for DER in place of PEM */
    CLI_OUT,     /* a file that takes what stdout would */
    CLI_COUNT,   /* --limit: at most so many items */
};

struct cli_option {
    const char *name; /* without the dashes */
    enum cli_type type;
    const char *member; /* of the body, "crl.lifetime_seconds" is one inside another, or
                           a query parameter; NULL: not sent */
    const char *value;  /* what help calls the value; NULL for flags */
    const char *help;   /* one line, without a full stop */
    unsigned flags;
    const char *initial; /* the value when absent, or NULL */
};
#define CLI_QUERY 1u    /* goes into the query, not into the body */
#define CLI_REQUIRED 2u /* without it the call is a usage error */

struct cli_column {
    const char *member, *title; /* ended by a NULL member */
};

struct cli_action {
    const char *name;      /* NULL: the verb has this one action only, without a word */
    const char *arguments; /* "NAME", "KIND/NAME FILE", "[KIND]"; NULL: none. FILE gives
                              the body, "-" is standard input */
    const char *summary;   /* one line, without a full stop */
    const char *method, *path; /* "/users/{0}" below /api/v1: {0} is the first
                                  parameter */
    unsigned flags;
    const char *member; /* the last parameter is this member of the body */
    const char *fixed;  /* JSON object: members that the action itself sets */
    const char *accept; /* the answer is this type and is written as it comes */
    const struct cli_option *options; /* ended by a NULL name; or NULL */
    const char
        *rows; /* member of a record that is a list of objects: a table of its own */
    const struct cli_column *columns; /* of a list, or of `rows` */
    const char *const *every;         /* what an absent "[ARGUMENT]" stands for */
};
#define CLI_BODY 1u     /* sends a JSON object */
#define CLI_IF_MATCH 2u /* reads first, sends the ETag */
#define CLI_WHOLE 4u    /* PUT of what was read with the options' members changed */
#define CLI_LIST 8u     /* follows `next`; prints a table */
#define CLI_OUTSIDE 16u /* path is not below /api/v1; needs no token */
#define CLI_NEW 32u     /* FILE may be what `show --json` printed of another record */

#define CLI_TEXT_BODY 64u /* FILE is text, not JSON: the body's `member` */

struct cli_verb {
    const char *name;
    const char *about;                /* a paragraph, ends with a newline */
    const char *examples;             /* lines, each ends with a newline */
    const struct cli_action *actions; /* ended by a NULL path */
};

extern const struct cli_verb cli_user, cli_group, cli_profile, cli_assign,
    cli_challenge, cli_activation, cli_device, cli_cert, cli_request, cli_issuer,
    cli_admin, cli_admin_token, cli_audit, cli_mail, cli_mail_template,
    cli_organisation, cli_instance, cli_directory, cli_status;
extern const struct cli_verb *const cli_verbs[]; /* ended by NULL */

/* The values that options of the schema take, for completion and help. */
extern const struct cli_option cli_dry_run, cli_limit;

const struct cli_verb *cli_verb_find(const char *name);
/* NULL when the verb has none of this name. */
const struct cli_action *cli_action_find(const struct cli_verb *verb, const char *name);
/* The action's own options, then those that its kind brings (--limit, --dry-run). NULL
 * past the last. */
const struct cli_option *cli_option_at(const struct cli_action *action, size_t index);

/* Usage, actions, options and examples of a verb; of one action unless NULL. */
void cli_help(FILE *to, const struct cli_verb *verb, const struct cli_action *action);

/* ---- What was asked for on the command line ---- */

struct cli_call {
    const struct command_context *context;
    const struct cli_verb *verb;
    const struct cli_action *action;
    const char *parameters[CLI_PARAMETERS_MAX];
    size_t parameter_count;
    char *split[CLI_ARGUMENTS_MAX]; /* copies that parameters point into */
    const char *file;               /* the FILE argument or NULL */
    const char *method;
    json_t *body;             /* NULL: none */
    struct text_buffer query; /* "a=b&c=d" */
    int64_t limit;            /* CLI_LIST_MAX: all */
    bool is_der;
    const char *out;
};

/* Reads the words behind the action into a zeroed call whose context, verb and action
 * are set; cli_call_clear it either way. False: a usage error, its sentence in
 * `ret_reason`. */
bool cli_parse(struct cli_call *call, int argc, char **argv, char *ret_reason,
               size_t size);
void cli_call_clear(struct cli_call *call);

/* Adds `name=value` to a query, escaped. */
void cli_query_add(struct text_buffer *query, const char *name, const char *value);
/* The action's path with its parameters, escaped (RFC 3986), and the call's query with
 * `cursor` (NULL: none) and `page` (0: none); free() it. NULL: memory, or a path that
 * names a parameter that is not there. */
char *cli_path(const struct cli_call *call, const char *cursor, int64_t page);

/* Runs the call and prints its answer. The exit status. */
int cli_execute(struct cli_call *call);
