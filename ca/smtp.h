/* Hands one mail to the configured mail server (RFC 5321), by libcurl. */
#pragma once

#include "config.h"
#include <stdatomic.h>

struct smtp_mail {
    const char *from, *to; /* addresses of the envelope */
    const char *octets;    /* the message with CR LF line ends */
    size_t size;
    const atomic_bool *stop; /* set: give up now */
};

/* CA_OK: the server has taken it over. CA_FORBIDDEN: it refuses this mail for good (a
 * 5xx answer to sender, recipient or content). CA_UNAVAILABLE: everything that may pass
 * later, wrong credentials and certificates too. The message says what failed. */
enum ca_status smtp_send(const struct config_mail *server,
                         const struct smtp_mail *mail);
