/* Addresses, prefixes, and which of them count as one source. */
#pragma once

#include "field.h"

#define ADDRESS_TEXT_SIZE 46   /* INET6_ADDRSTRLEN */
#define ADDRESS_SOURCE_SIZE 64 /* also of what is no address */

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
/* The same of a text, as text; what is no address stays what it is. */
void address_source_format(const char *text, char ret_text[ADDRESS_SOURCE_SIZE]);

/* limits/trusted_proxies: addresses or prefixes ("10.0.0.0/8"). CA_MALFORMED names the
 * member. */
enum ca_status network_list_parse(const struct field_list *texts,
                                  struct network_list *ret_list);
bool network_list_has(const struct network_list *list, const struct address *address);
void network_list_clear(struct network_list *list);
