/* SOAP 1.2 with WS-Addressing and WS-Security, as the Windows protocols use it: read a
 * request, take its credential, write an answer or a fault. */
#pragma once

#include "xml.h"

#define SOAP_CONTENT_TYPE "application/soap+xml; charset=utf-8"
#define SOAP_BODY_MAX (128 * 1024) /* of a route */

#define SOAP_SPACE "http://www.w3.org/2003/05/soap-envelope"
#define SOAP_SPACE_ADDRESSING "http://www.w3.org/2005/08/addressing"
#define SOAP_SPACE_SECURITY                                                            \
    "http://docs.oasis-open.org/wss/2004/01/"                                          \
    "oasis-200401-wss-wssecurity-secext-1.0.xsd"
#define SOAP_SPACE_UTILITY                                                             \
    "http://docs.oasis-open.org/wss/2004/01/"                                          \
    "oasis-200401-wss-wssecurity-utility-1.0.xsd"
#define SOAP_SPACE_TRUST "http://docs.oasis-open.org/ws-sx/ws-trust/200512"
#define SOAP_SPACE_SIGNATURE "http://www.w3.org/2000/09/xmldsig#"
#define SOAP_SPACE_ENROLLMENT                                                          \
    "http://schemas.microsoft.com/windows/pki/2009/01/enrollment"

/* Values of the ValueType of a header token. */
#define SOAP_TOKEN_X509                                                                \
    "http://docs.oasis-open.org/wss/2004/01/"                                          \
    "oasis-200401-wss-x509-token-profile-1.0#X509v3"
#define SOAP_TOKEN_USER                                                                \
    "http://schemas.microsoft.com/5.0.0.0/ConfigurationManager/Enrollment/"            \
    "DeviceEnrollmentUserToken"
#define SOAP_TOKEN_JWT "urn:ietf:params:oauth:token-type:jwt"

/* A request. What was read before a refusal stays, so that the fault can say which
 * message it answers. */
struct soap_request {
    const char *action;
    const char *message_id; /* NULL: none that could be sent back */
    const char *to;         /* or NULL */
    const struct xml_node *envelope;
    const struct xml_node *security; /* or NULL */
    const struct xml_node *content;  /* the one child of the body */
};

/* Reads the request's body. CA_MALFORMED, CA_LIMIT, CA_UNSUPPORTED (SOAP 1.1): all of
 * them a MessageFormat fault. */
enum ca_status soap_read(struct ca_request *req, struct soap_request *soap);

/* ---- Credentials ---- */

enum soap_token_kind {
    SOAP_TOKEN_KIND_NONE,     /* no Security header, or no token in it */
    SOAP_TOKEN_KIND_PASSWORD, /* `user`, `secret`; the secret may be empty */
    SOAP_TOKEN_KIND_LOGIN,    /* `secret`: what our login page gave, decoded once */
    SOAP_TOKEN_KIND_SIGNED    /* `certificate` signed the whole message */
};

struct soap_token {
    enum soap_token_kind kind;
    const char *user;
    const char *secret; /* NUL-terminated, without NUL inside */
    size_t secret_size;
    X509 *certificate; /* X509_free it: soap_token_clear */
};

/* The credential of the Security header. CA_MALFORMED: not understood
 * (InvalidSecurity); CA_UNAUTHENTICATED: a signature that does not hold, or is out of
 * its time. */
enum ca_status soap_token_read(struct ca_request *req, const struct soap_request *soap,
                               struct soap_token *ret_token);
/* As the core takes it: kind NONE, PASSWORD, LOGIN_TOKEN or CERTIFICATE. Borrows. */
void soap_credential(const struct soap_token *token, struct ca_credential *credential);
void soap_token_clear(struct soap_token *token);
static inline void __attribute__((unused))
soap_token_clear_auto(struct soap_token *token)
{
    soap_token_clear(token);
}

/* Did this certificate's key sign the whole message, as [MS-MDE2] 3.3.4.1.1.1 says: one
 * enveloped RSA-SHA256 signature over the document? CA_MALFORMED for any other
 * shape. */
enum ca_status soap_signature_verify(struct ca_request *req,
                                     const struct soap_request *soap,
                                     X509 *certificate);

/* ---- Answers ---- */

/* Envelope, header and the open body; the writer is begun here. */
void soap_answer_begin(struct xml_writer *writer, const struct soap_request *soap,
                       const char *action);
/* Closes body and envelope and sends: one body with its length, never chunked. */
enum ca_status soap_answer_send(struct xml_writer *writer, struct ca_request *req);

/* The subcodes of [MS-MDE2] 2.2.10. */
enum soap_code {
    SOAP_MESSAGE_FORMAT,
    SOAP_AUTHENTICATION,
    SOAP_AUTHORIZATION,
    SOAP_CERTIFICATE_REQUEST,
    SOAP_ENROLLMENT_SERVER,
    SOAP_INTERNAL_SERVICE_FAULT,
    SOAP_INVALID_SECURITY,
    SOAP_CODE_COUNT
};

/* The fault's own actions: of the device services, and WCF's of CEP and CES. */
#define SOAP_FAULT_ENROLLMENT                                                          \
    "http://schemas.microsoft.com/windows/pki/2009/01/enrollment/rstrc/wstep"
#define SOAP_FAULT_DISPATCHER                                                          \
    "http://schemas.microsoft.com/net/2005/12/windowscommunicationfoundation/"         \
    "dispatcher/fault"

struct soap_fault {
    enum soap_code code;
    const char *action;     /* NULL: SOAP_FAULT_ENROLLMENT */
    const char *reason;     /* for a person; NULL: the code's own */
    const char *error_type; /* "NotEligibleToRenew", ... or NULL */
    int http_status;        /* 0: 500 */
    /* Writes the inside of s:Detail instead of DeviceEnrollmentServiceError; or NULL.
     */
    void (*detail)(struct xml_writer *writer, const void *arg);
    const void *arg;
};

/* The code for what the core answered to a credential or an enrolment: whoever is
 * unknown and whoever is wrong get the same. */
enum soap_code soap_code_of(enum ca_status status);
/* Sends the fault; its TraceId is the request's id. */
enum ca_status soap_fault_send(struct ca_request *req, const struct soap_request *soap,
                               const struct soap_fault *fault);
