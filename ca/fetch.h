/* What every request by libcurl has alike. */
#pragma once

#include <curl/curl.h>
#include <stdbool.h>

/* The roots of this PEM file and no others: libcurl's own folder of the system's roots
 * is looked into besides unless it is taken away. NULL: the system's. */
bool fetch_trust(CURL *curl, const char *ca_file);
