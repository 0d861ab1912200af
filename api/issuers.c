/* /issuers: the CAs; made by the ceremony, so read and adjusted here. */
#include "api.h"
#include "authority.h"
#include "issuer.h"
#include <openssl/pem.h>
#include <string.h>

static enum ca_status
load(struct store_tx *tx, const char *name, void *ret_authority)
{
    return authority_load(tx, name, ret_authority);
}

static enum ca_status
update(struct store_tx *tx, void *authority)
{
    return authority_update(tx, authority);
}

/* The chain as PEM, or the issuer's own certificate as DER. */
static enum ca_status
certificate_respond(struct store_tx *tx, struct api_call *call, bool is_der)
{
    struct authority authority = { 0 };
    enum ca_status status = authority_load(tx, api_key(call), &authority);
    if (status != CA_OK)
        return status;
    struct ca_request *req = &call->exchange->request;
    call->answer.is_done = true;
    if (!is_der) {
        status = ca_respond(req, 200, "application/x-pem-file", authority.chain,
                            strlen(authority.chain));
    } else {
        CA_AUTO(BIO_free_all) BIO *bio = BIO_new_mem_buf(authority.chain, -1);
        CA_AUTO(X509_free)
        X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
        CA_AUTO(openssl_free) unsigned char *der = NULL;
        int size = certificate ? i2d_X509(certificate, &der) : -1;
        status = size > 0
                     ? ca_respond(req, 200, "application/pkix-cert", der, (size_t)size)
                     : ca_fail_openssl(CA_INTERNAL, "issuer '%s' has no certificate",
                                       authority.name);
    }
    call->answer.is_done = status == CA_OK;
    authority_clear(&authority);
    return status;
}

static enum ca_status
pem_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    return certificate_respond(tx, call, false);
}

static enum ca_status
der_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    return certificate_respond(tx, call, true);
}

static enum ca_status
get(struct api_call *call)
{
    const char *accept = ca_request_header(&call->exchange->request, "Accept");
    if (accept && strstr(accept, "application/pkix-cert"))
        return api_read(call, der_step, NULL);
    if (accept && (strstr(accept, "application/x-pem-file") ||
                   strstr(accept, "application/pem-certificate-chain")))
        return api_read(call, pem_step, NULL);
    return api_read(call, api_kind_get, NULL);
}

static enum ca_status
patch(struct api_call *call)
{
    enum ca_status status = api_write(call, api_kind_patch, NULL);
    if (status != CA_OK || call->dry_run)
        return status;
    return service_reload(call->exchange->service);
}

static enum ca_status
list_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)call;
    struct api_list *list = arg;
    return authority_list(tx, &list->page, api_list_visit, list);
}

static const struct field *
fields(void)
{
    return authority_fields;
}

static const struct api_kind kind = {
    .noun = "issuer",
    .path = "/issuers",
    .fields = fields,
    .size = sizeof(struct authority),
    .key_offset = offsetof(struct authority, name),
    .stamp_offset = offsetof(struct authority, stamp),
    .load = load,
    .update = update,
};

static const struct api_route routes[] = {
    { "GET", "/issuers", API_ANY, API_LIST, list_step, "List issuers", NULL, fields,
      NULL, .success = 200, .cursor = "name" },
    { "GET", "/issuers/{name}", API_ANY, 0, NULL,
      "Read an issuer: JSON, or by Accept application/pkix-cert (its certificate) or "
      "application/x-pem-file (the chain)",
      NULL, fields, NULL, .success = 200, .handle = get },
    { "PATCH", "/issuers/{name}", API_ADMINISTRATOR, API_CHANGE | API_IF_MATCH, NULL,
      "Change state or CRL settings of an issuer", fields, fields, NULL, .success = 200,
      .handle = patch },
    { .method = NULL },
};
const struct api_resource api_issuers = { "issuers", routes, &kind };
