/* The activation URI of mail and QR code: its secret is in the fragment, which no
 * browser sends. */
#pragma once

#include "status.h"

#define ACTIVATE_LINK_MAX 2048

struct activate_link {
    char *base; /* "https://host:port/path", without a slash at its end */
    char *user;
    char *ref;      /* "" when there is none */
    char *server;   /* the server's name; that of `base` when the link names none */
    char *password; /* NULL: not in the link */
};

/* CA_MALFORMED; the message repeats nothing of it. */
enum ca_status activate_link_parse(const char *uri, struct activate_link *ret_link);
void activate_link_clear(struct activate_link *link);

/* The authority of an https address without user or query: "host" or "host:port" in
 * lower case; free() it. NULL: it is no such address. */
char *activate_authority(const char *url);
