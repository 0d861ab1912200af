/* Addresses and prefixes of them. */
#include "address.h"
#include <arpa/inet.h>
#include <string.h>

/* The address without brackets and port, NUL-terminated. */
static bool
address_cut(const char *text, size_t length, char ret_text[ADDRESS_TEXT_SIZE])
{
    const char *end = text + length;
    const char *colon = memchr(text, ':', length);
    const char *stop = end;
    if (length > 0 && text[0] == '[') {
        stop = memchr(text, ']', length);
        if (!stop || (stop + 1 < end && stop[1] != ':'))
            return false;
        text++;
    } else if (colon && !memchr(colon + 1, ':', (size_t)(end - colon - 1))) {
        stop = colon; /* one colon: IPv4 with a port */
    }
    size_t size = (size_t)(stop - text);
    if (size == 0 || size >= ADDRESS_TEXT_SIZE || memchr(text, '\0', size))
        return false;
    memcpy(ret_text, text, size);
    ret_text[size] = '\0';
    return true;
}

bool
address_parse(const char *text, size_t length, struct address *ret_address)
{
    char cut[ADDRESS_TEXT_SIZE];
    if (!address_cut(text, length, cut))
        return false;
    struct address address = { { [10] = 0xff, [11] = 0xff } };
    if (inet_pton(AF_INET, cut, address.octets + 12) != 1 &&
        inet_pton(AF_INET6, cut, address.octets) != 1)
        return false;
    *ret_address = address;
    return true;
}

static bool
is_ipv4(const struct address *address)
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    return memcmp(address->octets, mapped, sizeof mapped) == 0;
}

void
address_format(const struct address *address, char ret_text[ADDRESS_TEXT_SIZE])
{
    if (is_ipv4(address))
        inet_ntop(AF_INET, address->octets + 12, ret_text, ADDRESS_TEXT_SIZE);
    else
        inet_ntop(AF_INET6, address->octets, ret_text, ADDRESS_TEXT_SIZE);
}

struct address
address_source(const struct address *address)
{
    struct address source = *address;
    if (!is_ipv4(address))
        memset(source.octets + 8, 0, 8);
    return source;
}

void
address_source_format(const char *text, char ret_text[ADDRESS_SOURCE_SIZE])
{
    struct address address;
    if (!address_parse(text, strlen(text), &address)) {
        snprintf(ret_text, ADDRESS_SOURCE_SIZE, "%s", text);
        return;
    }
    struct address source = address_source(&address);
    address_format(&source, ret_text);
}

static bool
network_parse(const char *text, struct network *ret_network)
{
    size_t length = strcspn(text, "/");
    struct network network = { .bits = 128 };
    if (text[0] == '[' || !address_parse(text, length, &network.base))
        return false;
    unsigned most = is_ipv4(&network.base) ? 32 : 128;
    if (text[length] == '/') {
        const char *digits = text + length + 1;
        size_t count = strspn(digits, "0123456789");
        if (count == 0 || count > 3 || digits[count] != '\0')
            return false;
        unsigned bits = (unsigned)strtoul(digits, NULL, 10);
        if (bits > most)
            return false;
        network.bits = 128 - most + bits;
    }
    *ret_network = network;
    return true;
}

enum ca_status
network_list_parse(const struct field_list *texts, struct network_list *ret_list)
{
    struct network_list list = { calloc(texts->count + 1, sizeof *list.items), 0 };
    if (!list.items)
        return ca_fail(CA_INTERNAL, "no memory");
    char *const *items = texts->items;
    for (; list.count < texts->count; list.count++) {
        if (!network_parse(items[list.count], &list.items[list.count])) {
            free(list.items);
            return ca_fail(CA_MALFORMED,
                           "limits/trusted_proxies/%zu: '%s' is neither an address nor "
                           "a prefix",
                           list.count, items[list.count]);
        }
    }
    *ret_list = list;
    return CA_OK;
}

static bool
network_has(const struct network *network, const struct address *address)
{
    unsigned whole = network->bits / 8, rest = network->bits % 8;
    if (memcmp(network->base.octets, address->octets, whole) != 0)
        return false;
    if (rest == 0)
        return true;
    unsigned mask = 0xff00u >> rest & 0xff;
    return ((network->base.octets[whole] ^ address->octets[whole]) & mask) == 0;
}

bool
network_list_has(const struct network_list *list, const struct address *address)
{
    for (size_t i = 0; i < list->count; i++) {
        if (network_has(&list->items[i], address))
            return true;
    }
    return false;
}

void
network_list_clear(struct network_list *list)
{
    free(list->items);
    *list = (struct network_list){ 0 };
}
