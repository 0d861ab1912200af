/* What CES answers: RequestSecurityTokenResponse with a CMC response and the
 * certificate, or where to ask again ([MS-WSTEP] 3.1.4.1.3.4). */
#include "auto.h"
#include "base64.h"
#include "wstep.h"
#include <string.h>

#define ACTION_RESPONSE SOAP_SPACE_ENROLLMENT "/RSTRC/wstep"
#define TYPE_PKCS7 SOAP_SPACE_SECURITY "#PKCS7"
#define TYPE_BASE64 SOAP_SPACE_SECURITY "#base64binary"
#define CHAIN_MAX 8 /* certificates of an answer */

/* The issued certificate and its chain, as DER. */
struct bundle {
    struct ca_bytes certificates[CHAIN_MAX + 1];
    size_t count;
};

static enum ca_status
bundle_add(struct ca_request *req, struct bundle *bundle, const X509 *certificate)
{
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    int size = i2d_X509(certificate, &der);
    uint8_t *copy = size > 0 ? ca_request_alloc(req, (size_t)size) : NULL;
    if (!copy)
        return ca_fail_openssl(CA_INTERNAL, "cannot encode a certificate");
    memcpy(copy, der, (size_t)size);
    bundle->certificates[bundle->count++] = (struct ca_bytes){ copy, (size_t)size };
    return CA_OK;
}

static enum ca_status
bundle_make(struct ca_request *req, const struct ca_issued *issued,
            struct bundle *bundle)
{
    struct ca_chain chain;
    char endpoint[160];
    if (issued->der.size == 0) /* it waits */
        return CA_OK;
    if (!issued->profile || snprintf(endpoint, sizeof endpoint, "certificate/%s",
                                     issued->profile) >= (int)sizeof endpoint)
        return ca_fail(CA_INTERNAL, "a certificate without a profile");
    bundle->certificates[bundle->count++] = issued->der;
    enum ca_status status = ca_chain(req, endpoint, false, &chain);
    if (status == CA_OK && chain.count > CHAIN_MAX)
        return ca_fail(CA_INTERNAL, "a chain of %zu certificates", chain.count);
    for (size_t i = 0; status == CA_OK && i < chain.count; i++)
        status = bundle_add(req, bundle, chain.certificates[i]);
    return status;
}

/* The token that a client must have (3.1.4.1.3.4.1): a CMC response, in base64. */
static enum ca_status
response_make(struct ca_request *req, const struct wstep_answer *answer,
              const struct bundle *bundle, const char **ret_text)
{
    CA_AUTO(asn1_writer_clear) struct asn1_writer writer = { 0 };
    char token[16];
    snprintf(token, sizeof token, "%u", answer->id);
    const struct cmc_request *cmc = &answer->content->cmc;
    const struct cmc_response response = {
        .part = cmc->part,
        .transaction = cmc->transaction,
        .nonce = cmc->nonce,
        .certificates = bundle->certificates,
        .count = bundle->count,
        .token = token,
        .ask_at = ca_now(req) + answer->issued->retry_after,
    };
    cmc_put_response(&writer, &response);
    struct ca_bytes der = asn1_written(&writer);
    *ret_text = der.size > 0 ? base64_encode(req, der) : NULL;
    return *ret_text ? CA_OK : ca_fail(CA_INTERNAL, "no memory for a CMC response");
}

static void
put_token(struct xml_writer *writer, const char *type, const char *text)
{
    xml_open(writer, "BinarySecurityToken");
    xml_set(writer, "xmlns", SOAP_SPACE_SECURITY);
    xml_set(writer, "ValueType", type);
    xml_set(writer, "EncodingType", TYPE_BASE64);
    xml_text(writer, text);
    xml_close(writer);
}

/* Where to ask for what waits: this very service. */
static void
put_reference(struct xml_writer *writer, const char *base_url, const char *path)
{
    char uri[512];
    int length = snprintf(uri, sizeof uri, "%s%s", base_url, path);
    if (length < 0 || (size_t)length >= sizeof uri)
        writer->failed = true;
    xml_open(writer, "SecurityTokenReference");
    xml_set(writer, "xmlns", SOAP_SPACE_SECURITY);
    xml_open(writer, "Reference");
    xml_set(writer, "URI", uri);
    xml_close(writer);
    xml_close(writer);
}

static void
put_disposition(struct xml_writer *writer, const char *text)
{
    xml_open(writer, "DispositionMessage");
    xml_set(writer, "xml:lang", "en-US");
    xml_set(writer, "xmlns", SOAP_SPACE_ENROLLMENT);
    xml_text(writer, text);
    xml_close(writer);
}

static void
put_id(struct xml_writer *writer, uint32_t id)
{
    char text[16];
    snprintf(text, sizeof text, "%u", id);
    xml_open(writer, "RequestID");
    xml_set(writer, "xmlns", SOAP_SPACE_ENROLLMENT);
    xml_text(writer, text);
    xml_close(writer);
}

/* In the order of the published answers, which clients rely on. */
enum ca_status
wstep_answer_send(struct ca_request *req, const struct soap_request *soap,
                  const struct wstep_answer *answer)
{
    CA_AUTO(xml_clear) struct xml_writer writer = { 0 };
    struct bundle bundle = { .count = 0 };
    struct ca_organisation organisation;
    const char *response = NULL;
    enum ca_status status = ca_organisation(req, &organisation);
    if (status == CA_OK)
        status = bundle_make(req, answer->issued, &bundle);
    if (status == CA_OK)
        status = response_make(req, answer, &bundle, &response);
    if (status != CA_OK)
        return status;
    bool waits = bundle.count == 0;
    const char *certificate = waits ? NULL : base64_encode(req, bundle.certificates[0]);
    if (!waits && !certificate)
        return ca_fail(CA_INTERNAL, "no memory for an answer");
    soap_answer_begin(&writer, soap, ACTION_RESPONSE);
    xml_open(&writer, "RequestSecurityTokenResponseCollection");
    xml_set(&writer, "xmlns", SOAP_SPACE_TRUST);
    xml_open(&writer, "RequestSecurityTokenResponse");
    xml_leaf(&writer, "TokenType", SOAP_TOKEN_X509);
    put_disposition(&writer, waits ? "Taken Under Submission" : "Issued");
    put_token(&writer, TYPE_PKCS7, response);
    xml_open(&writer, "RequestedSecurityToken");
    if (waits)
        put_reference(&writer, organisation.base_url, answer->path);
    else
        put_token(&writer, SOAP_TOKEN_X509, certificate);
    xml_close(&writer);
    put_id(&writer, answer->id);
    xml_close(&writer);
    xml_close(&writer);
    return soap_answer_send(&writer, req);
}

/* 3.1.4.1.3.1: InvalidRequest is true for what the CA has denied. */
void
wstep_fault_detail(struct xml_writer *writer, const void *refusal)
{
    const struct wstep_refusal *refused = refusal;
    bool is_denied = refused->code == SOAP_CERTIFICATE_REQUEST ||
                     refused->code == SOAP_AUTHORIZATION;
    xml_open(writer, "CertificateEnrollmentWSDetail");
    xml_set(writer, "xmlns", SOAP_SPACE_ENROLLMENT);
    xml_set(writer, "xmlns:xsi", XML_SPACE_XSI);
    xml_nil(writer, "BinaryResponse");
    xml_nil(writer, "ErrorCode");
    xml_leaf(writer, "InvalidRequest", is_denied ? "true" : "false");
    xml_nil(writer, "RequestID");
    xml_close(writer);
}
