/* ca_poll: who may ask for the outcome of an earlier request. */
#include "auth.h"
#include "auto.h"
#include "digest.h"
#include "keycheck.h"
#include "outcome.h"
#include "profile.h"
#include "refuse.h"
#include <string.h>

/* Whose transaction it is: the key of the signer's certificate, or where none signed
 * the requested key itself; of an own earlier request what was kept of it. */
static enum ca_status
signer_digest(const struct ca_credential *credential,
              const struct ca_enrolment *enrolment, uint8_t ret_sha256[32])
{
    struct ca_bytes key = enrolment->signer_key;
    bool is_certificates = credential->certificate && !auth_polls_own(credential);
    if (!enrolment->transaction || (!is_certificates && key.size == 0))
        return ca_fail(CA_NOT_FOUND, "no transaction to ask for");
    if (is_certificates)
        return keycheck_digest(X509_get_X509_PUBKEY(credential->certificate),
                               ret_sha256);
    digest_sha256(key.data, key.size, ret_sha256);
    return CA_OK;
}

static enum ca_status
poll_checked(struct exchange *exchange, const struct ca_credential *credential,
             const struct ca_enrolment *enrolment, struct ca_issued *ret_issued)
{
    uint8_t signer[32], request[32];
    bool has_request = enrolment->pkcs10.size > 0;
    if (!auth_may_poll(credential, has_request))
        return ca_fail(CA_FORBIDDEN, "%s message '%.16s' cannot ask for an outcome",
                       credential->protocol ? credential->protocol : "unknown",
                       credential->message ? credential->message : "");
    const struct identity *identity = &exchange->identity;
    bool is_own = auth_polls_own(credential);
    if (is_own && (identity->kind == IDENTITY_NONE || !identity->user))
        return ca_fail(CA_UNAUTHENTICATED, "nobody asks for an outcome");
    enum ca_status status = signer_digest(credential, enrolment, signer);
    if (status != CA_OK)
        return status;
    if (has_request)
        digest_sha256(enrolment->pkcs10.data, enrolment->pkcs10.size, request);
    CA_AUTO(free) char *endpoint = NULL;
    bool is_scep = strcmp(credential->protocol, "scep") == 0;
    if (asprintf(&endpoint, "%s/%s",
                 profile_kind_words[is_scep ? PROFILE_SCEP : PROFILE_CERTIFICATE],
                 is_scep ? credential->endpoint : "") < 0) {
        endpoint = NULL;
        return ca_fail(CA_INTERNAL, "no memory for an endpoint's name");
    }
    struct outcome_key key = { endpoint, enrolment->transaction, signer,
                               has_request ? request : NULL,
                               is_own ? identity->user : NULL };
    return outcome_find(exchange, &key, ret_issued);
}

enum ca_status
ca_poll(struct ca_request *req, const struct ca_credential *credential,
        const struct ca_enrolment *enrolment, struct ca_issued *ret_issued)
{
    struct exchange *exchange = exchange_of(req);
    enum ca_status status = service_wait_begin(exchange->service);
    if (status != CA_OK)
        return status;
    status = poll_checked(exchange, credential, enrolment, ret_issued);
    service_wait_end(exchange->service);
    /* That a first request is no retry is no refusal. */
    if (status == CA_NOT_FOUND && enrolment->pkcs10.size > 0)
        return status;
    return refuse(exchange, status,
                  &(struct refusal_place){ .protocol = credential->protocol,
                                           .endpoint = credential->endpoint,
                                           .verified = exchange->identity.kind !=
                                                       IDENTITY_NONE });
}
