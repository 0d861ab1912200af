/* The smaller questions of plugins: certificates, settings, chains and CRLs. */
#include "auth.h"
#include "authority.h"
#include "auto.h"
#include "endpoint.h"
#include "outcome.h"
#include "refuse.h"
#include <ctype.h>
#include <string.h>

#define SERIAL_DIGITS 32 /* of the inventory */
#define SERIAL_DIGITS_MAX 40

static void
certificate_clear_auto(struct certificate *certificate)
{
    certificate_clear(certificate);
}

/* Any writing of a serial -> the inventory's. */
static bool
serial_normalise(const char *text, char ret_serial[SERIAL_DIGITS_MAX + 1])
{
    text += strspn(text, "0");
    size_t length = strlen(text);
    if (length > SERIAL_DIGITS_MAX || strspn(text, "0123456789abcdefABCDEF") != length)
        return false;
    size_t shift = length < SERIAL_DIGITS ? SERIAL_DIGITS - length : 0;
    memset(ret_serial, '0', shift);
    for (size_t i = 0; i <= length; i++)
        ret_serial[shift + i] = (char)tolower((unsigned char)text[i]);
    return true;
}

static const struct issuer *
issuer_of_name(const struct issuers *issuers, struct ca_bytes name)
{
    for (size_t i = 0; i < issuers_count(issuers); i++) {
        const struct issuer *issuer = issuers_at(issuers, i);
        const unsigned char *der;
        size_t size;
        if (X509_NAME_get0_der(X509_get_subject_name(issuer->certificate), &der,
                               &size) == 1 &&
            size == name.size && memcmp(der, name.data, size) == 0)
            return issuer;
    }
    return NULL;
}

struct lookup {
    const char *issuer, *serial, *device;
    struct certificate certificate;
};

static enum ca_status
lookup_read(struct store_tx *tx, void *arg)
{
    struct lookup *lookup = arg;
    certificate_clear(&lookup->certificate);
    enum ca_status status =
        certificate_load(tx, lookup->issuer, lookup->serial, &lookup->certificate);
    if (status != CA_OK)
        return status;
    const struct certificate *found = &lookup->certificate;
    if (!found->device || strcmp(found->device, lookup->device) != 0 ||
        found->state == CERTIFICATE_INTENT || found->state == CERTIFICATE_ABANDONED)
        return ca_fail(CA_NOT_FOUND, "device %s has no certificate %s", lookup->device,
                       lookup->serial);
    return CA_OK;
}

static enum ca_status
lookup(struct exchange *exchange, struct ca_bytes issuer_name, const char *serial,
       struct ca_issued *ret_issued)
{
    const struct identity *identity = &exchange->identity;
    char digits[SERIAL_DIGITS_MAX + 1];
    if ((identity->kind != IDENTITY_DEVICE && identity->kind != IDENTITY_RENEWAL) ||
        !identity->device)
        return ca_fail(CA_UNAUTHENTICATED, "no device asks");
    const struct issuer *issuer =
        issuer_of_name(exchange_issuers(exchange), issuer_name);
    if (!issuer || !serial_normalise(serial, digits))
        return ca_fail(CA_NOT_FOUND, "no certificate of ours");
    struct lookup question = { issuer->name, digits, identity->device, { 0 } };
    enum ca_status status =
        store_read(exchange->service->store, lookup_read, &question);
    CA_AUTO(certificate_clear) struct certificate found = question.certificate;
    if (status != CA_OK)
        return status;
    return outcome_give(exchange, &found, found.der, found.der_size, ret_issued);
}

enum ca_status
ca_lookup(struct ca_request *req, struct ca_bytes issuer_name, const char *serial,
          struct ca_issued *ret_issued)
{
    struct exchange *exchange = exchange_of(req);
    struct refusal_place place = {
        .protocol = exchange->identity.protocol ? exchange->identity.protocol
                                                : exchange->plugin,
        .endpoint = exchange->endpoint ? endpoint_short_name(exchange->endpoint) : NULL,
        .verified = exchange->identity.kind != IDENTITY_NONE,
    };
    return refuse(exchange, lookup(exchange, issuer_name, serial, ret_issued), &place);
}

void
ca_refused(struct ca_request *req, const char *protocol, const char *endpoint,
           const char *reason, bool verified)
{
    struct exchange *exchange = exchange_of(req);
    /* Only a credential that the core itself found good makes an entry of its own. */
    bool is_known = verified && exchange->identity.kind != IDENTITY_NONE;
    refuse_reason(exchange, reason,
                  &(struct refusal_place){ .protocol = protocol,
                                           .endpoint = endpoint,
                                           .verified = is_known });
}

enum ca_status
ca_profile_settings(struct ca_request *req, const char *kind, const char *name,
                    json_t **ret_settings)
{
    struct exchange *exchange = exchange_of(req);
    const struct endpoint *endpoint = NULL;
    CA_AUTO(free) char *full = NULL;
    if (asprintf(&full, "%s/%s", kind, name) < 0) {
        full = NULL;
        return ca_fail(CA_INTERNAL, "no memory for an endpoint's name");
    }
    enum ca_status status = endpoint_of(exchange, full, &endpoint);
    if (status == CA_OK)
        *ret_settings = endpoint->protocol->settings;
    return status;
}

enum ca_status
ca_chain(struct ca_request *req, const char *endpoint, bool next,
         struct ca_chain *ret_chain)
{
    const struct issuer *issuer = NULL;
    enum ca_status status = endpoint_issuer(exchange_of(req), endpoint, next, &issuer);
    if (status != CA_OK)
        return status;
    int above = issuer->chain ? sk_X509_num(issuer->chain) : 0;
    size_t count = 1 + (size_t)(above > 0 ? above : 0);
    X509 **certificates = ca_request_alloc(req, count * sizeof(X509 *));
    if (!certificates)
        return ca_fail(CA_INTERNAL, "no memory for a chain");
    certificates[0] = issuer->certificate;
    for (size_t i = 1; i < count; i++)
        certificates[i] = sk_X509_value(issuer->chain, (int)i - 1);
    *ret_chain = (struct ca_chain){ issuer->certificate, certificates, count };
    return CA_OK;
}

struct crl_question {
    const char *issuer;
    struct authority_crl crl;
};

static enum ca_status
crl_read(struct store_tx *tx, void *arg)
{
    struct crl_question *question = arg;
    authority_crl_clear(&question->crl);
    return authority_crl_load(tx, question->issuer, true, &question->crl);
}

enum ca_status
ca_crl(struct ca_request *req, const char *endpoint, struct ca_bytes *ret_der)
{
    struct exchange *exchange = exchange_of(req);
    const struct issuer *issuer = NULL;
    enum ca_status status = endpoint_issuer(exchange, endpoint, false, &issuer);
    if (status != CA_OK)
        return status;
    struct crl_question question = { .issuer = issuer->name };
    status = store_read(exchange->service->store, crl_read, &question);
    uint8_t *der = NULL;
    if (status == CA_OK) {
        der = ca_request_alloc(req, question.crl.der_size);
        if (!der)
            status = ca_fail(CA_INTERNAL, "no memory for a CRL");
    }
    if (status == CA_OK) {
        memcpy(der, question.crl.der, question.crl.der_size);
        *ret_der = (struct ca_bytes){ der, question.crl.der_size };
    }
    authority_crl_clear(&question.crl);
    return status;
}
