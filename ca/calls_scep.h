/* What the calls for SCEP of activated devices share (ECSPEKE-ACT-1 section 13). */
#pragma once

#include "exchange.h"
#include "offer.h"
#include "plugin_activation.h"
#include "scep_effective.h"

/* One call of an activated device. */
struct scep_call {
    struct exchange *exchange;
    const char *user, *device; /* the identity's */
    struct scep_effective effective;
    struct offer offer;
    struct ca_scep_failure *failure;
};
/* CA_UNAUTHENTICATED without a device that has an owner. scep_call_clear it in any
 * case. */
enum ca_status scep_call_begin(struct ca_request *req, struct ca_scep_failure *failure,
                               struct scep_call *call);
void scep_call_clear(struct scep_call *call);
static inline void __attribute__((unused)) scep_call_clear_auto(struct scep_call *call)
{
    scep_call_clear(call);
}
/* Fails with the word that the device is told; the message is the thread's. */
enum ca_status scep_call_fail(struct scep_call *call, enum ca_status status,
                              const char *word);

/* Loads the device's effective profile, which must be `profile` (NULL: any) and take
 * this mode. "no_profile". */
enum ca_status scep_call_profile(struct scep_call *call, const char *profile,
                                 enum scep_mode mode);
/* And the device's offer for a request of this digest. "txn_gone". */
enum ca_status scep_call_offer(struct scep_call *call, const char *profile,
                               enum scep_mode mode, const uint8_t request[32]);
/* A request does not fit the offer (offer_judge.h): counted. */
enum ca_status scep_call_mismatch(struct scep_call *call, enum ca_status status,
                                  const char *word);

/* The CA behind the profile: what is enveloped to, and its chain as the request's DER.
 * "upstream" for another's that does not answer. */
struct scep_authority {
    X509 *issuer, *recipient;     /* lent for the request */
    const struct ca_bytes *chain; /* recipient first if it is not the issuer; issuer */
    size_t count;
};
enum ca_status scep_call_authority(struct scep_call *call,
                                   struct scep_authority *ret_authority);
/* The upstream's challenge for one request; secret_free it. NULL: it wants none.
 * CA_UNAVAILABLE. */
enum ca_status scep_call_challenge(struct scep_call *call, char **ret_challenge);
bool scep_call_is_upstream(const struct scep_call *call);
/* Bits of enum scep_mode: the profile's, but for `simple` at an upstream that has given
 * us no RA certificate. */
unsigned scep_call_modes(const struct scep_call *call);

/* Copies into the request's memory; false data on no memory. */
struct ca_bytes scep_keep_octets(struct exchange *exchange, const void *data,
                                 size_t size);
struct ca_bytes scep_keep_certificate(struct exchange *exchange, X509 *certificate);
char *scep_keep_text(struct exchange *exchange, const char *text);
