/* Where a request comes from, as throttles count it. */
#pragma once

#define SOURCE_SIZE 64

/* The address as text; one of IPv6 counts with all of its /64, which a single host has
 * to itself. What is no address stays what it is. */
void source_format(const char *address, char ret_source[SOURCE_SIZE]);
