/* RFC 7512 URIs of tokens and keys, taken strictly. */
#pragma once

#include "status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define URI_TEXT_MAX 1024
#define URI_LABEL_MAX 255 /* octets of a CKA_LABEL */
#define URI_ID_MAX 64     /* octets of a CKA_ID */

/* What a URI names; an empty string or id_size 0: not named. */
struct uri {
    char token[33], manufacturer[33], model[17], serial[17];
    char object[URI_LABEL_MAX + 1];
    uint8_t id[URI_ID_MAX];
    size_t id_size;
};

/* Parses "pkcs11:" URIs of a token or of a private key. CA_MALFORMED for what RFC 7512
 * section 2.3 does not allow, for an attribute that is repeated, empty, unknown or that
 * this program cannot honour (pin-value, pin-source, module-path, slot-id, ...): a URI
 * that names less than its writer thought finds another key. */
enum ca_status uri_parse(const char *text, struct uri *ret_uri);

/* Does it name a token (label or serial)? A key (object or id)? */
bool uri_names_token(const struct uri *uri);
bool uri_names_key(const struct uri *uri);

/* The URI as text, "type=private" when it names a key; free() it. NULL: memory. */
char *uri_format(const struct uri *uri);
