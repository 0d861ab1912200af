/* What the device's SCEP profile wants (ECSPEKE-ACT-1 section 13.3): read, asked for,
 * and held against what was issued. */
#pragma once

#include "activate_key.h"
#include <jansson.h>

/* Texts are the profile's. */
struct wanted {
    const char *profile;                    /* its name */
    const char *url, *ca_ident, *challenge; /* "" for none */
    const char *digest_word, *cipher;
    const EVP_MD *digest;
    uint8_t ca_sha256[32];
    char algorithm[16]; /* of key_make */
    bool is_rsa;
    X509_NAME *subject;
    GENERAL_NAMES *san; /* NULL: none */
    int64_t retries, retry_delay;
};
/* wanted_clear it in any case. CA_MALFORMED; CA_UNSUPPORTED: a key, name, digest or
 * cipher that this client does not know. */
enum ca_status wanted_read(const json_t *profile, struct wanted *wanted);
void wanted_clear(struct wanted *wanted);

/* Does it offer this mode? */
bool wanted_offers(const json_t *profile, const char *mode);
/* The seconds to wait before the next try; retries of a hasty server are not hurried.
 */
unsigned wanted_delay(int64_t seconds);

/* What was issued must be of the CA of the profile, for the key, and have the names
 * that were asked for, all and no others. CA_UNAUTHENTICATED. */
enum ca_status wanted_check(const struct wanted *wanted,
                            const struct key_issued *issued);
