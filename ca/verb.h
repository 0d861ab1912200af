/* What the verbs of this machine share: their options, the opened service, and what
 * they print. */
#pragma once

#include "cli_table.h"
#include "command.h"
#include "service.h"

/* One option; both pointers NULL at the end. */
struct verb_option {
    const char *name;  /* without the dashes */
    const char **text; /* takes the value, or */
    bool *flag;        /* is set */
};

/* Reads options and words behind `skip` words of argv (the verb and its action). The
 * words go to `ret_words` (at most `most`, NULL behind the last). False: what is wrong
 * was said on stderr, a usage error. */
bool verb_parse(const struct command *command, const struct verb_option *options,
                int argc, char **argv, const char **ret_words, size_t least,
                size_t most);

/* "sealwright issuer create: MESSAGE" of this thread's last failure; returns 1. */
int verb_failed(const struct command *command);
/* The same with a sentence of its own; returns 2. */
int verb_misused(const struct command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The process keeps PINs and keys for itself: no core, no debugger, files for nobody
 * else. Before anything is opened. */
void verb_harden(void);
/* Hardens and opens the service, or reads the configuration alone, that the context
 * names. */
enum ca_status verb_open(const struct command_context *context,
                         struct service **ret_service);
enum ca_status verb_config(const struct command_context *context,
                           struct config *ret_config);

/* A running daemon of this data folder reads issuers and TLS certificate anew. */
void verb_signal_daemon(const struct config *config);

/* A duration ("P5Y") of an option, `initial` when it is not given; CA_MALFORMED. */
enum ca_status verb_duration(const char *text, const char *initial,
                             int64_t *ret_seconds);
/* A decimal number from `least` to `most`; CA_MALFORMED names the option. */
enum ca_status verb_number(const char *option, const char *text, long least, long most,
                           long *ret_number);

/* A file of at most VERB_FILE_MAX octets with a NUL behind them; free() it. */
#define VERB_FILE_MAX (1024 * 1024)
enum ca_status verb_file_read(const char *path, char **ret_text, size_t *ret_size);
/* Writes a file anew, mode 0644; CA_CONFLICT when there is one. */
enum ca_status verb_file_write(const char *path, const void *octets, size_t size);

/* Prints rows as a table, or as JSON {"items": rows} where the context asks for it; and
 * one record. Take the reference over. */
void verb_print_rows(const struct command_context *context,
                     const struct cli_column *columns, json_t *rows);
void verb_print_record(const struct command_context *context, json_t *record);

/* What the user types must be `label`: asked on the terminal unless `given` (--yes
 * LABEL). False: it was not, and nothing is done. */
bool verb_confirm(const char *question, const char *label, const char *given);

/* Who runs the command, for the audit: "local:NAME" or "local:UID". */
void verb_actor(char *ret_actor, size_t size);

/* The next CRL of an issuer whose key is here, after reading the issuers anew. */
enum ca_status verb_build_crl(struct service *service, const char *name);
