/* The device service: enrolment and renewal of Windows device management
 * ([MS-MDE2] 3.5, 3.6; docs/protocols/wstep.md). */
#include "auto.h"
#include "wstep.h"
#include <string.h>

#define TOKEN_TYPE                                                                     \
    "http://schemas.microsoft.com/5.0.0.0/ConfigurationManager/Enrollment/"            \
    "DeviceEnrollmentToken"
#define DOCUMENT_TYPE                                                                  \
    "http://schemas.microsoft.com/5.0.0.0/ConfigurationManager/Enrollment/"            \
    "DeviceEnrollmentProvisionDoc"
#define ACTION_RESPONSE SOAP_SPACE_ENROLLMENT "/RSTRC/wstep"
#define DAY 86400
#define DEVICE_FLAGS (CA_ENROL_KEY_ALONE | CA_ENROL_NEW_KEY | CA_ENROL_AT_ONCE)

/* One message of the device service. */
struct exchange {
    struct ca_request *req;
    const struct wstep_settings *settings;
    const struct soap_request *soap;
    struct wstep_rst rst;
    struct ca_enrolment enrolment;
    struct ca_issued issued;
    struct wstep_account account; /* empty: of no new enrolment */
    struct wstep_refusal *refusal;
};

static enum ca_status
refuse(struct exchange *exchange, enum ca_status status, enum soap_code code)
{
    *exchange->refusal = (struct wstep_refusal){ .code = code };
    return status;
}

static enum ca_status
document_make(struct exchange *exchange, bool is_renewal, struct ca_bytes *ret_octets)
{
    struct ca_request *req = exchange->req;
    const struct ca_issued *issued = &exchange->issued;
    struct ca_organisation organisation;
    struct ca_chain chain;
    json_t *settings = NULL;
    char endpoint[160];
    if (!issued->profile || !issued->device || !issued->user ||
        snprintf(endpoint, sizeof endpoint, "certificate/%s", issued->profile) >=
            (int)sizeof endpoint)
        return ca_fail(CA_INTERNAL, "a certificate without profile, device or user");
    enum ca_status status = ca_organisation(req, &organisation);
    if (status == CA_OK)
        status = ca_chain(req, endpoint, false, &chain);
    if (status == CA_OK)
        status = ca_profile_settings(req, "certificate", issued->profile, &settings);
    if (status != CA_OK)
        return status;
    if (!*organisation.base_url)
        return ca_fail(CA_UNAVAILABLE, "the organisation has no base_url");
    /* A renewal does not say it again. */
    const char *type = wstep_item(&exchange->rst, "EnrollmentType");
    if (!type)
        status = ca_device_reported(req, issued->device, "EnrollmentType", &type);
    if (status != CA_OK)
        return status;
    const struct wstep_document document = {
        .settings = exchange->settings,
        .issued = issued,
        .chain = &chain,
        .base_url = organisation.base_url,
        .is_device = type && strcmp(type, "Device") == 0,
        .device_name = wstep_item(&exchange->rst, "DeviceName"),
        .renewal_days =
            windows_seconds(json_object_get(settings, "renewal_window")) / DAY,
        .account = &exchange->account,
    };
    return is_renewal ? wstep_document_renew(req, &document, ret_octets)
                      : wstep_document_write(req, &document, ret_octets);
}

/* One RequestSecurityTokenResponse; RequestID is 0, as published. */
static enum ca_status
answer_send(struct exchange *exchange, struct ca_bytes document)
{
    CA_AUTO(xml_clear) struct xml_writer writer = { 0 };
    soap_answer_begin(&writer, exchange->soap, ACTION_RESPONSE);
    xml_open(&writer, "RequestSecurityTokenResponseCollection");
    xml_set(&writer, "xmlns", SOAP_SPACE_TRUST);
    xml_open(&writer, "RequestSecurityTokenResponse");
    xml_leaf(&writer, "TokenType", TOKEN_TYPE);
    xml_open(&writer, "DispositionMessage");
    xml_set(&writer, "xmlns", SOAP_SPACE_ENROLLMENT);
    xml_close(&writer);
    xml_open(&writer, "RequestedSecurityToken");
    xml_open(&writer, "BinarySecurityToken");
    xml_set(&writer, "xmlns", SOAP_SPACE_SECURITY);
    xml_set(&writer, "ValueType", DOCUMENT_TYPE);
    xml_set(&writer, "EncodingType", SOAP_SPACE_SECURITY "#base64binary");
    xml_base64(&writer, document);
    xml_close(&writer);
    xml_close(&writer);
    xml_open(&writer, "RequestID");
    xml_set(&writer, "xmlns", SOAP_SPACE_ENROLLMENT);
    xml_text(&writer, "0");
    xml_close(&writer);
    xml_close(&writer);
    xml_close(&writer);
    return soap_answer_send(&writer, exchange->req);
}

static enum ca_status
answer(struct exchange *exchange, bool is_renewal)
{
    struct ca_bytes document;
    enum ca_status status = document_make(exchange, is_renewal, &document);
    if (status == CA_OK)
        status = answer_send(exchange, document);
    return status == CA_OK
               ? CA_OK
               : refuse(exchange, status,
                        status == CA_UNAVAILABLE ? SOAP_ENROLLMENT_SERVER
                                                 : SOAP_INTERNAL_SERVICE_FAULT);
}

/* A refusal that the plugin finds is recorded here, one of the core's by the core. */
static enum ca_status
refuse_recorded(struct exchange *exchange, enum ca_status status, enum soap_code code,
                const char *reason)
{
    if (status != CA_INTERNAL && status != CA_UNAVAILABLE)
        ca_refused(exchange->req, "wstep", "", reason, false);
    return refuse(exchange, status, code);
}

static enum ca_status
report(struct exchange *exchange)
{
    CA_AUTO(json_decref) json_t *hardware = NULL;
    CA_AUTO(json_decref) json_t *items = NULL;
    const char *alias = wstep_item(&exchange->rst, "DeviceID");
    enum ca_status status = wstep_facts(&exchange->rst, &hardware, &items);
    if (status != CA_OK)
        return refuse_recorded(exchange, status, SOAP_MESSAGE_FORMAT, "malformed");
    const struct ca_device_facts facts = {
        .kind = "windows",
        .alias = alias && *alias ? alias : NULL,
        .secret = exchange->account.secret,
        .nonce = exchange->account.nonce,
        .hardware = hardware,
        .report = items,
    };
    status = ca_device_report(exchange->req, &facts);
    /* CA_LIMIT is of the message here, not of the log-ins. */
    return status == CA_OK ? CA_OK
                           : refuse(exchange, status,
                                    status == CA_LIMIT ? SOAP_MESSAGE_FORMAT
                                                       : soap_code_of(status));
}

/* The message by its sender: found again, or judged anew. */
static enum ca_status
enrol(struct exchange *exchange, const struct ca_credential *credential)
{
    struct ca_request *req = exchange->req;
    enum ca_status status =
        ca_poll(req, credential, &exchange->enrolment, &exchange->issued);
    if (status == CA_OK)
        return CA_OK;
    if (status != CA_NOT_FOUND)
        return refuse(exchange, status, soap_code_of(status));
    status = ca_authenticate(req, credential);
    if (status != CA_OK)
        return refuse(exchange, status, soap_code_of(status));
    status = report(exchange);
    if (status != CA_OK)
        return status;
    status = ca_enroll(req, &exchange->enrolment, &exchange->issued);
    return status == CA_OK ? CA_OK
                           : refuse(exchange, status, wstep_request_code(status));
}

static enum ca_status
issue(struct exchange *exchange)
{
    CA_AUTO(soap_token_clear) struct soap_token token = { 0 };
    struct ca_credential credential = { .protocol = "wstep",
                                        .message = "Issue",
                                        .endpoint = "" };
    struct wstep_pkcs10 pkcs10;
    enum ca_status status = soap_token_read(exchange->req, exchange->soap, &token);
    if (status == CA_OK && token.kind == SOAP_TOKEN_KIND_NONE)
        status = ca_fail(CA_MALFORMED, "no password, login token or signature");
    if (status != CA_OK)
        return refuse_recorded(exchange, status,
                               status == CA_MALFORMED ? SOAP_INVALID_SECURITY
                                                      : soap_code_of(status),
                               "security");
    status = wstep_pkcs10_read(exchange->rst.token, &pkcs10);
    if (status != CA_OK)
        return refuse_recorded(exchange, status, SOAP_CERTIFICATE_REQUEST, "pkcs10");
    soap_credential(&token, &credential);
    status = wstep_account_make(exchange->req, &exchange->rst, &exchange->account);
    if (status != CA_OK)
        return refuse(exchange, status, SOAP_INTERNAL_SERVICE_FAULT);
    exchange->enrolment = (struct ca_enrolment){
        .pkcs10 = pkcs10.der,
        .transaction = exchange->rst.transaction,
        .signer = credential.certificate, /* it signed the message, or NULL */
        .signer_key = pkcs10.spki,
        .flags = DEVICE_FLAGS,
    };
    status = enrol(exchange, &credential);
    return status == CA_OK ? answer(exchange, false) : status;
}

/* ROBO: the signature of the older key is the credential, whatever the header has. */
static enum ca_status
renew(struct exchange *exchange)
{
    struct wstep_renewal renewal;
    enum ca_status status =
        wstep_renewal_read(exchange->req, exchange->rst.token, &renewal);
    if (status != CA_OK)
        return refuse_recorded(exchange, status,
                               status == CA_UNAUTHENTICATED
                                   ? SOAP_AUTHENTICATION
                                   : wstep_request_code(status),
                               "pkcs7");
    CA_AUTO(X509_free) X509 *signer = renewal.signer;
    const struct ca_credential credential = { .kind = CA_CREDENTIAL_CERTIFICATE,
                                              .protocol = "wstep",
                                              .message = "Renew",
                                              .endpoint = "",
                                              .certificate = signer };
    exchange->enrolment = (struct ca_enrolment){
        .pkcs10 = renewal.pkcs10.der,
        .transaction = exchange->rst.transaction,
        .signer = signer,
        .flags = DEVICE_FLAGS,
    };
    status = enrol(exchange, &credential);
    if (status == CA_FORBIDDEN && exchange->refusal->code == SOAP_AUTHORIZATION)
        exchange->refusal->error_type = "NotEligibleToRenew";
    return status == CA_OK ? answer(exchange, true) : status;
}

enum ca_status
wstep_device(struct ca_request *req, const struct wstep_settings *settings,
             const struct soap_request *soap, struct wstep_refusal *refusal)
{
    struct exchange exchange = {
        .req = req, .settings = settings, .soap = soap, .refusal = refusal
    };
    enum ca_status status = wstep_rst_read(req, soap, &exchange.rst);
    if (status != CA_OK)
        return refuse_recorded(&exchange, status,
                               status == CA_INTERNAL ? SOAP_INTERNAL_SERVICE_FAULT
                                                     : SOAP_MESSAGE_FORMAT,
                               "malformed");
    switch (exchange.rst.type) {
    case WSTEP_ISSUE: return issue(&exchange);
    case WSTEP_RENEW: return renew(&exchange);
    case WSTEP_RECOVERY:
        status = ca_fail(CA_UNSUPPORTED, "key recovery is not served");
        refuse_recorded(&exchange, status, SOAP_AUTHORIZATION, "recovery");
        refusal->error_type = "NotSupported";
        return status;
    case WSTEP_QUERY:
    case WSTEP_KET: break;
    }
    return refuse_recorded(&exchange,
                           ca_fail(CA_UNSUPPORTED, "not a device's RequestType"),
                           SOAP_MESSAGE_FORMAT, "request_type");
}
