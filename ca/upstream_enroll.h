/* Mode simple towards an upstream CA: the server is its SCEP client, by an RA
 * certificate that the upstream trusts. */
#pragma once

#include "calls_scep.h"

/* For the offer of `call`, whose request is not judged yet: one certificate, kept for
 * repetitions while the offer lives. CA_PENDING; failures with their words. */
enum ca_status upstream_enroll(struct scep_call *call, X509_REQ *request,
                               const uint8_t sha256[32],
                               struct ca_scep_certificate *ret_certificate);
