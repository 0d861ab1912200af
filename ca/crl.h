/* Certificate revocation lists (RFC 5280 section 5): built from the store's rows in one
 * pass, signed, kept in the store. */
#pragma once

#include "issuer.h"
#include "store.h"

/* Builds, signs and saves the next CRL of an issuer (V1: number drawn first, strictly
 * rising). `url` goes into issuingDistributionPoint (critical). A failure leaves the
 * old one. */
enum ca_status crl_build(struct store *store, const struct issuer *issuer,
                         const char *url);

/* Is a new one due: none yet, revocation since, or inside the overlap before
 * nextUpdate? */
enum ca_status crl_is_due(struct store *store, const struct issuer *issuer,
                          bool *ret_due);
