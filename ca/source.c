/* Addresses as throttles count them. */
#include "source.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

void
source_format(const char *address, char ret_source[SOURCE_SIZE])
{
    struct in6_addr octets;
    if (inet_pton(AF_INET6, address, &octets) == 1 && !IN6_IS_ADDR_V4MAPPED(&octets)) {
        memset(octets.s6_addr + 8, 0, 8);
        inet_ntop(AF_INET6, &octets, ret_source, SOURCE_SIZE);
    } else {
        snprintf(ret_source, SOURCE_SIZE, "%s", address);
    }
}
