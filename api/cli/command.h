/* The verbs of the command: one struct each, collected in tables. */
#pragma once

#include <stdbool.h>

/* What the options before or behind the verb chose. */
struct command_context {
    const char *data;   /* --data: the data folder; default ./sealwright-data */
    const char *config; /* --config: default DATA/sealwright.json */
    const char *url;    /* --url: https base of a remote API; NULL: the unix socket */
    const char *token_file; /* --token-file; default DATA/admin.token */
    const char *ca_file;    /* --cacert: for --url; default DATA/root.pem */
    bool json;              /* --json: print JSON as the API answered it */
};

struct command {
    const char *name;
    const char *const *actions; /* only with these words behind it; NULL: any */
    const char *summary;        /* one line, without a full stop */
    const char *help; /* usage with examples, ends with a newline; NULL: `run` answers
                         --help itself */
    /* argv[0] is the verb. Returns the exit status: 0 done, 1 refused or failed, 2
     * usage. */
    int (*run)(const struct command_context *context, int argc, char **argv);
};

/* The verbs that talk to a running daemon; ended by a NULL name. */
extern const struct command cli_commands[];
