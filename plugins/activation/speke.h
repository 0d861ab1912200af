/* CPace over P-521 and P-256, the core of ECSPEKE-ACT-1 (section 5): a generator from
 * the stretched password, shares, and the secret that both sides come to. */
#pragma once

#include "plugin.h"
#include "speke_field.h"

#define SPEKE_SHARE_MAX 133 /* 04 || x || y */
#define SPEKE_HASH_MAX 64

/* Everything that depends on the suite (section 3). */
struct speke_suite {
    const char *name;   /* as in `suites` of hello */
    const char *dsi;    /* domain separation of CPace */
    const char *digest; /* H */
    int curve;          /* NID */
    size_t block;       /* octets H reads at once */
    size_t hash_size;
    size_t share_size;
    const struct speke_field *field;
};
extern const struct speke_suite speke_p521, speke_p256;

/* The suite with this name; NULL when there is none. */
const struct speke_suite *speke_suite_find(const char *name);

/* A point as it travels. `size` is the suite's. */
struct speke_point {
    uint8_t octets[SPEKE_SHARE_MAX];
    size_t size;
};
struct ca_bytes speke_point_bytes(const struct speke_point *point);

/* A scalar in [1, n-1], big-endian in `field->size` octets; secret. */
struct speke_scalar {
    uint8_t octets[SPEKE_ELEMENT_MAX];
};

/* expand_message_xmd (RFC 9380 section 5.3.1) to the `wide_size` octets of the suite's
 * field, with DST as it is given (at most 255 octets). */
enum ca_status speke_expand(const struct speke_suite *suite, struct ca_bytes message,
                            struct ca_bytes dst, uint8_t *ret_octets);

/* CPace's generator (section 5.1) for PRS, CI and sid. The point is as secret as PRS.
 */
enum ca_status speke_generator(const struct speke_suite *suite, struct ca_bytes prs,
                               struct ca_bytes identities, struct ca_bytes sid,
                               struct speke_point *ret_generator);

enum ca_status speke_scalar_draw(const struct speke_suite *suite,
                                 struct speke_scalar *ret_scalar);

/* scalar * generator. CA_INTERNAL. */
enum ca_status speke_share(const struct speke_suite *suite,
                           const struct speke_point *generator,
                           const struct speke_scalar *scalar,
                           struct speke_point *ret_share);

/* Is the peer's share acceptable, and not the own one sent back (section 5.2)? CA_OK,
 * CA_MALFORMED (`invalid_share`), CA_INTERNAL. */
enum ca_status speke_share_check(const struct speke_suite *suite,
                                 const struct speke_point *own, struct ca_bytes peer);

/* K: x of scalar * peer, in `field->size` octets, after the check above; wipe it.
 * Statuses as there; nothing is written unless CA_OK. */
enum ca_status speke_secret(const struct speke_suite *suite,
                            const struct speke_scalar *scalar,
                            const struct speke_point *own, struct ca_bytes peer,
                            uint8_t ret_secret[SPEKE_ELEMENT_MAX]);
