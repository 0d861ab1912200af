/* JSON over HTTPS for an activating device: before the activation the exchange itself
 * proves the server, afterwards only the pinned root does. */
#pragma once

#include "text.h"
#include <jansson.h>
#include <openssl/x509.h>

#define HTTP_ETAG_MAX 80
#define HTTP_TRIES 3 /* of a message that may be repeated, when its answer is lost */

struct activate_http;

struct http_answer {
    long status;
    json_t *body;        /* NULL: no JSON */
    int64_t retry_after; /* seconds; 0: none */
    char etag[HTTP_ETAG_MAX];
    struct text_buffer octets; /* what no JSON is wanted of */
};

/* `ca_file` NULL: any server certificate, before the activation. */
enum ca_status activate_http_open(const char *base, const char *ca_file,
                                  struct activate_http **ret_http);
void activate_http_close(struct activate_http *http);
static inline void __attribute__((unused))
activate_http_close_auto(struct activate_http **http)
{
    activate_http_close(*http);
}

/* From now on the root alone vouches for the server at `base`, and the device proves
 * itself with key and certificate. References are taken. */
enum ca_status activate_http_pin(struct activate_http *http, const char *base,
                                 X509 *root, X509 *certificate, EVP_PKEY *key);

/* One call of `path` below the base: `body` NULL for none, `known` an ETag or NULL. A
 * lost answer is asked for again with the same octets; 421 moves to the instance that
 * it names. CA_UNAVAILABLE: no answer. http_answer_clear it in any case. */
struct http_message {
    const char *method, *path;
    const json_t *body;
    const char *known;
};
enum ca_status activate_http_call(struct activate_http *http,
                                  const struct http_message *message,
                                  struct http_answer *ret_answer);
/* One exchange of octets with `url`: a POST of a SCEP message, or a GET without one. A
 * lost answer is asked for again. CA_UNAVAILABLE: no answer, or none of status 200. */
enum ca_status activate_http_octets(struct activate_http *http, const char *url,
                                    const void *message, size_t size,
                                    struct http_answer *ret_answer);
void http_answer_clear(struct http_answer *answer);
static inline void __attribute__((unused))
http_answer_clear_auto(struct http_answer *answer)
{
    http_answer_clear(answer);
}

/* The message for an answer that is no success: its code in words. CA_FORBIDDEN, or
 * CA_UNAVAILABLE where the same may pass later. */
enum ca_status activate_http_refused(const struct http_answer *answer);
