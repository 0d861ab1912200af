/* What several floors are made of: bare calls of a token, TLS connections, commits
 * to SQLite. */
#pragma once

#include <p11-kit/pkcs11.h>
#include <stdbool.h>

/* Ends the program with what went wrong. */
void must(bool holds, const char *what);
/* CPU time of this thread. */
double floor_seconds(void);

struct floor_token {
    CK_FUNCTION_LIST *module;
    CK_SESSION_HANDLE session; /* logged in */
};
void floor_token_open(struct floor_token *token, const char *module, const char *label,
                      const char *pin_path);

/* Seconds of one connection of TLS 1.3 that a server accepts, shakes hands on and
 * closes, with its system calls. */
double floor_connections(const char *certificate, const char *key, long rounds);

struct floor_commits {
    double commit; /* seconds of one, however many share it */
    double rows;   /* of all rows of one client */
};
/* What it takes to keep `rows` of each commit, ended by 0, in SQLite. */
void floor_commits(const char *folder, const int *rows, long rounds,
                   struct floor_commits *ret_parts);
