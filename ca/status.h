/* What a call came to, in terms of what the peer can do about it, and the operator's
 * message that goes with a failure. */
#pragma once
/* Plugins see a copy: one of the two counts. */
#ifndef SEALWRIGHT_STATUS_H
#define SEALWRIGHT_STATUS_H

/* Visible to plugins: the binary exports what carries it and nothing else. */
#define CA_EXPORT __attribute__((visibility("default")))

enum ca_status {
    CA_OK = 0,
    CA_PENDING,         /* accepted, waits for approval: an answer, not an error */
    CA_MALFORMED,       /* the bytes are not what the protocol says */
    CA_UNAUTHENTICATED, /* no credential, or one that does not hold */
    CA_FORBIDDEN,       /* known peer, not allowed; or policy refuses the content */
    CA_NOT_FOUND,
    CA_CONFLICT,    /* exists, used up, or changed since it was read */
    CA_UNSUPPORTED, /* well-formed, but an algorithm, type or method we do not take */
    CA_LIMIT,       /* too large, too many, too fast */
    CA_UNAVAILABLE, /* token, store or capacity: the same request may pass later */
    CA_INTERNAL,
    CA_STATUS_COUNT
};

/* The status as a lower-case word for logs and metrics ("ok", "malformed", ...). */
CA_EXPORT const char *ca_status_name(enum ca_status status);

/* Records this thread's message for the operator (never shown to a peer, cut at 511
 * octets, control characters escaped) and returns `status`. */
CA_EXPORT enum ca_status ca_fail(enum ca_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3), cold));

/* As ca_fail, with the reason of OpenSSL's error queue appended; empties the queue. */
CA_EXPORT enum ca_status ca_fail_openssl(enum ca_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3), cold));

/* The message of this thread's last ca_fail; "" when there is none. Valid until the
 * thread's next ca_fail or status_forget. */
const char *status_message(void);

/* Forgets the message: at the start of each request and job. */
void status_forget(void);

#endif
