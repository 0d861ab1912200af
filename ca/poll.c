/* ca_poll: who may ask for the outcome of an earlier request. */
#include "auth.h"
#include "auto.h"
#include "keycheck.h"
#include "outcome.h"
#include "refuse.h"
#include <openssl/sha.h>

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
    if (!credential->certificate || !enrolment->transaction)
        return ca_fail(CA_NOT_FOUND, "no transaction to ask for");
    enum ca_status status =
        keycheck_digest(X509_get_X509_PUBKEY(credential->certificate), signer);
    if (status != CA_OK)
        return status;
    if (has_request)
        SHA256(enrolment->pkcs10.data, enrolment->pkcs10.size, request);
    CA_AUTO(free) char *endpoint = NULL;
    if (asprintf(&endpoint, "%s/%s", credential->protocol, credential->endpoint) < 0) {
        endpoint = NULL;
        return ca_fail(CA_INTERNAL, "no memory for an endpoint's name");
    }
    struct outcome_key key = { endpoint, enrolment->transaction, signer,
                               has_request ? request : NULL };
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
                                           .endpoint = credential->endpoint });
}
