/* Addresses, prefixes, and what a trusted reverse proxy says of its client. */
#pragma once

#include "field.h"
#include "http_path.h"
#include <openssl/x509.h>

#define ADDRESS_TEXT_SIZE 46        /* INET6_ADDRSTRLEN */
#define PROXY_HOPS_MAX 32           /* entries of X-Forwarded-For that are read */
#define PROXY_CERTIFICATE_MAX 12288 /* octets of a forwarded certificate's text */

struct address {
    uint8_t octets[16]; /* IPv4 as ::ffff:a.b.c.d */
};

struct network {
    struct address base;
    unsigned bits; /* of 128 */
};

struct network_list {
    struct network *items;
    size_t count;
};

/* "192.0.2.1", "2001:db8::1", also "[2001:db8::1]:443" and "192.0.2.1:443". */
bool address_parse(const char *text, size_t length, struct address *ret_address);
void address_format(const struct address *address, char ret_text[ADDRESS_TEXT_SIZE]);

/* What counts as one source: an IPv4 address, or the /64 that an IPv6 host owns at
 * least (RFC 6177). */
struct address address_source(const struct address *address);

/* limits/trusted_proxies: addresses or prefixes ("10.0.0.0/8"). CA_MALFORMED names the
 * member. */
enum ca_status network_list_parse(const struct field_list *texts,
                                  struct network_list *ret_list);
bool network_list_has(const struct network_list *list, const struct address *address);
void network_list_clear(struct network_list *list);

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
