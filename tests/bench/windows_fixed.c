/* The floor of a management session, as a plugin: the same requests through the same
 * server, as many durable rows, and an answer of fixed bytes. Never installed. */
#include "plugin.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MAX 16
#define ROW_SIZE 600 /* octets of a session's state */
#define SECONDS 600

/* POST /fixed?rows=2 */
static enum ca_status
fixed_answer(void *state, struct ca_request *req)
{
    static const uint8_t row[ROW_SIZE] = { 1 };
    static char answer[700];
    const char *text = NULL;
    (void)state;
    enum ca_status status = ca_request_query(req, "rows", &text);
    long rows = text ? strtol(text, NULL, 10) : 0;
    if (status == CA_OK && (rows < 0 || rows > ROWS_MAX))
        status = ca_fail(CA_MALFORMED, "0 to %d rows", ROWS_MAX);
    for (long i = 0; status == CA_OK && i < rows; i++) {
        char key[40];
        snprintf(key, sizeof key, "%s %ld", req->id, i);
        status = ca_state_put(req, "fixed", key, (struct ca_bytes){ row, sizeof row },
                              SECONDS);
    }
    if (status != CA_OK)
        return status;
    return ca_respond(req, 200, "application/vnd.syncml.dm+xml", answer, sizeof answer);
}

static const struct ca_route routes[] = {
    { "POST", "/fixed", 65536, CA_ROUTE_TLS_ONLY, fixed_answer },
    { 0 },
};

extern const struct ca_plugin ca_plugin;
CA_EXPORT const struct ca_plugin ca_plugin = {
    .abi = CA_PLUGIN_ABI,
    .name = "fixed",
    .routes = routes,
};
