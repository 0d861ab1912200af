/* The command's HTTP: one connection to the daemon, by its unix socket or by https. */
#pragma once

#include "cli.h"

struct cli_client;

struct cli_request {
    const char *method, *path; /* from the root, with the query */
    const json_t *body;        /* NULL: none */
    const char *accept;        /* NULL: application/json */
    const char *if_match;      /* NULL: none */
    bool is_once;              /* sends an Idempotency-Key */
    bool takes_unavailable;    /* 503 is an answer */
};

struct cli_answer {
    long status;
    struct text_buffer data; /* wiped by cli_answer_clear */
    char etag[64];           /* "" without one */
};

/* Opens what the context names. `needs_token`: reads the administrator's token. False:
 * the reason went to stderr. */
bool cli_client_open(const struct command_context *context, bool needs_token,
                     struct cli_client **ret_client);
void cli_client_close(struct cli_client *client);

/* One call into a cleared answer; a POST with Idempotency-Key and a GET are sent once
 * more when the connection breaks. False: no answer, or a refusal; printed to stderr.
 */
bool cli_client_call(struct cli_client *client, const struct cli_request *request,
                     struct cli_answer *ret_answer);
void cli_answer_clear(struct cli_answer *answer);

/* The unix socket that the context's configuration names, else DATA/sealwright.sock;
 * free() it. NULL: the reason went to stderr. */
char *cli_socket_path(const struct command_context *context);
/* Prints an answer that is no success: title, detail and errors of a problem. */
void cli_problem_print(FILE *to, long status, const char *data, size_t size);
