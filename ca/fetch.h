/* What every request by libcurl has alike. */
#pragma once

#include "auto.h"
#include "text.h"
#include <curl/curl.h>
#include <stdatomic.h>

CA_AUTO_RELEASE(CURL, curl_easy_cleanup)
CA_AUTO_RELEASE(struct curl_slist, curl_slist_free_all)

struct fetch_bounds {
    const char *protocols; /* as CURLOPT_PROTOCOLS_STR has them */
    long connect_ms, answer_ms;
};
/* Where to, within which time: directly, whatever proxy the environment names, by TLS
 * 1.2 at least where it is TLS, without redirects and signals, and to no link-local
 * address whatever the name says. */
bool fetch_begin(CURL *curl, const char *url, const struct fetch_bounds *bounds);

/* The roots of this PEM file and no others: libcurl's own folder of the system's roots
 * is looked into besides unless it is taken away. NULL: the system's. */
bool fetch_trust(CURL *curl, const char *ca_file);

/* Where an answer's body goes; one of more than `most` octets ends the transfer with
 * CURLE_WRITE_ERROR. */
struct fetch_body {
    struct text_buffer *text;
    size_t most;
};
/* `body` is the caller's for as long as the handle asks. */
bool fetch_body_into(CURL *curl, struct fetch_body *body);

/* Ends the transfer once the flag is set; NULL: nobody stops it. */
bool fetch_stop_by(CURL *curl, const atomic_bool *stop);

/* Adds a copy of the text; without memory the list stays as it was. */
bool fetch_header_add(struct curl_slist **headers, const char *text);
