/* Mails as octets for SMTP: headers that nothing can be injected into, plain text
 * beside HTML, and a picture that the HTML shows (RFC 5322, 2045, 2046, 2047, 2387).
 * Pure. */
#pragma once

#include "status.h"
#include "text.h"
#include <stdbool.h>
#include <stdint.h>

#define MIME_ADDRESS_MAX 254
#define MIME_PICTURE_ID "qr" /* HTML shows it as src="cid:qr" */

struct mime_message {
    const char *from, *from_name; /* address; name or NULL */
    const char *to;
    const char *subject; /* UTF-8 */
    const char *id;      /* left of the '@' in Message-ID: letters and digits */
    int64_t date;
    const char *text;    /* UTF-8, lines end with LF or CR LF */
    const char *html;    /* or NULL */
    const void *picture; /* PNG, only with `html`; or NULL */
    size_t picture_size;
};

/* May it be an address of the envelope and of a header? ASCII, one '@', nothing that
 * needs quotes, at most 254 octets. */
bool mime_address_is_good(const char *address);

/* Appends the message with CR LF line ends, none longer than 76 octets. CA_MALFORMED:
 * an address, subject or name with what must not be there; CA_INTERNAL. Clear the
 * buffer.
 */
enum ca_status mime_compose(const struct mime_message *message,
                            struct text_buffer *ret_octets);
