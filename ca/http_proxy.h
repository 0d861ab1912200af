/* What a trusted reverse proxy says of its client. */
#pragma once

#include "address.h"
#include "http_path.h"
#include <openssl/x509.h>

#define PROXY_HOPS_MAX 32           /* entries of X-Forwarded-For that are read */
#define PROXY_CERTIFICATE_MAX 12288 /* octets of a forwarded certificate's text */

struct forwarded {
    struct address peer;
    bool secure;       /* comes in as what our own connection is */
    X509 *certificate; /* of the client, or NULL; X509_free it */
};

/* Reads X-Forwarded-For (from the right, up to the first address that is no trusted
 * proxy), X-Forwarded-Proto and Client-Cert (RFC 9440, or percent-encoded PEM as nginx
 * writes it). `peer` is the proxy's address. CA_MALFORMED when one of them is not what
 * it should be: a proxy that is not understood is not trusted. */
enum ca_status proxy_read(const struct network_list *trusted,
                          const struct http_field *fields, size_t count,
                          struct forwarded *forwarded);

/* Headers that only this module reads; nobody else may be fooled by them. */
bool proxy_owns_header(const char *name);
