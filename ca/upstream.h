/* HTTP to somebody else's CA, bounded in time and size, its TLS certificate verified;
 * and the secrets it is asked with. */
#pragma once

#include "profile.h"
#include "scep_wire.h"

#define UPSTREAM_CHALLENGE_MAX 256
#define UPSTREAM_CHALLENGE_BITS                                                        \
    80 /* a static one can be guessed at (13.5, warning b) */

struct upstream_request {
    const char *url;
    const char *tls_ca;      /* PEM or NULL */
    const char *credentials; /* "user:password" for Basic, or NULL */
    const void *body;        /* NULL: GET */
    size_t size;
};
struct upstream_answer {
    struct scep_octets body; /* whatever the upstream calls it */
};
void upstream_answer_clear(struct upstream_answer *answer);
static inline void __attribute__((unused))
upstream_answer_clear_auto(struct upstream_answer *answer)
{
    upstream_answer_clear(answer);
}
/* One exchange without redirects. CA_UNAVAILABLE: no answer, or not 200; CA_LIMIT: an
 * answer over SCEP_WIRE_MOST. */
enum ca_status upstream_http(const struct upstream_request *request,
                             struct upstream_answer *ret_answer);

/* A file of the folder "upstream" in the data directory, which only its owner may read,
 * without the line's end; secret_free it. CA_UNAVAILABLE says what is wrong. */
enum ca_status upstream_file(const char *data_directory, const char *name, size_t most,
                             char **ret_text);

/* The upstream's challenge for one request; secret_free it. CA_UNAVAILABLE, also for a
 * static one of too few bits; CA_NOT_FOUND: it wants none. */
enum ca_status upstream_challenge(const char *data_directory,
                                  const struct scep_upstream *upstream,
                                  char **ret_challenge);

/* Of what an answer of the challenge's URL holds, the challenge: the text itself, or
 * what NDES puts between <B> and </B>. secret_free it; CA_MALFORMED. */
enum ca_status upstream_challenge_parse(const void *body, size_t size,
                                        char **ret_challenge);
/* An upper bound of a text's bits by its length and the kinds of characters in it. */
int upstream_challenge_bits(const char *challenge);

/* GetCACert, held to the pinned certificate. */
enum ca_status upstream_authority(const struct scep_upstream *upstream,
                                  struct scep_wire_authority *ret_authority);
