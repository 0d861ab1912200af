/* Answers and faults in the shape that Windows reads. */
#include "auto.h"
#include "soap.h"

struct code_row {
    const char *subcode, *reason;
};

/* [MS-MDE2] 2.2.10; "s" is the SOAP namespace, "a" WS-Addressing. */
static const struct code_row codes[SOAP_CODE_COUNT] = {
    [SOAP_MESSAGE_FORMAT] = { "s:MessageFormat",
                              "The message is not what this service understands." },
    [SOAP_AUTHENTICATION] = { "s:Authentication",
                              "The user could not be authenticated." },
    [SOAP_AUTHORIZATION] = { "s:Authorization",
                             "The user or the device may not enrol here." },
    [SOAP_CERTIFICATE_REQUEST] = { "s:CertificateRequest",
                                   "The certificate request was refused." },
    [SOAP_ENROLLMENT_SERVER] = { "s:EnrollmentServer",
                                 "The server cannot answer now; try again later." },
    [SOAP_INTERNAL_SERVICE_FAULT] = { "a:InternalServiceFault",
                                      "The server met an error of its own." },
    [SOAP_INVALID_SECURITY] = { "a:InvalidSecurity",
                                "The message has no credential that is understood." },
};

/* RelatesTo must echo the MessageID, or the client drops the answer. */
void
soap_answer_begin(struct xml_writer *writer, const struct soap_request *soap,
                  const char *action)
{
    xml_begin(writer, false);
    xml_open(writer, "s:Envelope");
    xml_set(writer, "xmlns:s", SOAP_SPACE);
    xml_set(writer, "xmlns:a", SOAP_SPACE_ADDRESSING);
    xml_open(writer, "s:Header");
    xml_open(writer, "a:Action");
    xml_set(writer, "s:mustUnderstand", "1");
    xml_text(writer, action);
    xml_close(writer);
    if (soap->message_id)
        xml_leaf(writer, "a:RelatesTo", soap->message_id);
    xml_close(writer);
    xml_open(writer, "s:Body");
}

static enum ca_status
send(struct xml_writer *writer, struct ca_request *req, int http_status)
{
    struct ca_bytes octets;
    xml_close(writer);
    xml_close(writer);
    enum ca_status status = xml_finish(writer, req, &octets);
    if (status == CA_OK)
        status = ca_respond_header(req, "Cache-Control", "no-store");
    if (status != CA_OK)
        return status;
    return ca_respond(req, http_status, SOAP_CONTENT_TYPE, octets.data, octets.size);
}

enum ca_status
soap_answer_send(struct xml_writer *writer, struct ca_request *req)
{
    return send(writer, req, 200);
}

enum soap_code
soap_code_of(enum ca_status status)
{
    switch (status) {
    case CA_MALFORMED:
    case CA_UNSUPPORTED: return SOAP_MESSAGE_FORMAT;
    case CA_UNAUTHENTICATED:
    case CA_LIMIT: return SOAP_AUTHENTICATION;
    case CA_FORBIDDEN:
    case CA_NOT_FOUND:
    case CA_CONFLICT: return SOAP_AUTHORIZATION;
    case CA_UNAVAILABLE: return SOAP_ENROLLMENT_SERVER;
    case CA_OK:
    case CA_PENDING:
    case CA_INTERNAL:
    case CA_STATUS_COUNT: break;
    }
    return SOAP_INTERNAL_SERVICE_FAULT;
}

static void
detail_write(struct xml_writer *writer, struct ca_request *req,
             const struct soap_fault *fault, const char *reason)
{
    xml_open(writer, "s:Detail");
    if (fault->detail) {
        fault->detail(writer, fault->arg);
    } else {
        xml_open(writer, "DeviceEnrollmentServiceError");
        xml_set(writer, "xmlns", SOAP_SPACE_ENROLLMENT);
        if (fault->error_type)
            xml_leaf(writer, "ErrorType", fault->error_type);
        xml_leaf(writer, "Message", reason);
        xml_leaf(writer, "TraceId", req->id);
        xml_close(writer);
    }
    xml_close(writer);
}

/* SOAP 1.2 part 1 section 5.4: Code, Reason, Detail in this order. */
enum ca_status
soap_fault_send(struct ca_request *req, const struct soap_request *soap,
                const struct soap_fault *fault)
{
    CA_AUTO(xml_clear) struct xml_writer writer = { 0 };
    const struct code_row *code = &codes[fault->code];
    const char *reason = fault->reason ? fault->reason : code->reason;
    soap_answer_begin(&writer, soap,
                      fault->action ? fault->action : SOAP_FAULT_ENROLLMENT);
    xml_open(&writer, "s:Fault");
    xml_open(&writer, "s:Code");
    xml_leaf(&writer, "s:Value", "s:Receiver");
    xml_open(&writer, "s:Subcode");
    xml_leaf(&writer, "s:Value", code->subcode);
    xml_close(&writer);
    xml_close(&writer);
    xml_open(&writer, "s:Reason");
    xml_open(&writer, "s:Text");
    xml_set(&writer, "xml:lang", "en-US");
    xml_text(&writer, reason);
    xml_close(&writer);
    xml_close(&writer);
    detail_write(&writer, req, fault, reason);
    xml_close(&writer);
    return send(&writer, req, fault->http_status ? fault->http_status : 500);
}
