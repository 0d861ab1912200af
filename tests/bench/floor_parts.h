/* What several floors are made of: bare calls of a token, TLS handshakes in memory,
 * commits to SQLite. */
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

/* Seconds of the server's half of one TLS 1.3 handshake. */
double floor_handshakes(const char *certificate, const char *key, long rounds);
/* Seconds for the commits of one of `rounds` clients: `rows` of each commit, ended by
 * 0; `together` clients share each. */
double floor_commits(const char *folder, const int *rows, int together, long rounds);
