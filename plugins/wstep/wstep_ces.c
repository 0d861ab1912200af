/* The enrolment service for clients of the domain kind (CES, [MS-WSTEP]): requests and
 * renewals by any profile that the sender may enrol by, and what became of those that
 * wait. */
#include "auto.h"
#include "wstep.h"
#include <ctype.h>
#include <openssl/sha.h>
#include <string.h>

#define ID_SPACE "request"
#define ID_SECONDS (366 * 86400) /* longer than any request may wait */
#define ID_DIGITS_MAX 10
#define ID_TRIES 8 /* numbers that one message may have */
#define TRANSACTION_SIZE 64
#define CES_FLAGS (CA_ENROL_TEMPLATE | CA_ENROL_KEY_ONCE)

/* One message. */
struct exchange {
    struct ca_request *req;
    const struct wstep_service *service;
    const struct soap_request *soap;
    struct wstep_refusal *refusal;
    struct wstep_rst rst;
    struct wstep_content content;
    struct soap_token token;
    struct ca_credential credential;
    const char *endpoint;
    struct ca_enrolment enrolment;
    struct ca_bytes key; /* that the transaction goes by: whole SubjectPublicKeyInfo */
    struct ca_issued issued;
};

static void
exchange_clear_auto(struct exchange *exchange)
{
    wstep_content_clear_auto(&exchange->content);
    soap_token_clear(&exchange->token);
}

static enum ca_status
refuse(struct exchange *exchange, enum ca_status status, enum soap_code code)
{
    *exchange->refusal = (struct wstep_refusal){ .code = code };
    return status;
}

/* A refusal that the plugin finds is recorded here, one of the core's by the core:
 * listed once somebody is known, counted before. */
static enum ca_status
refuse_recorded(struct exchange *exchange, enum ca_status status, enum soap_code code,
                const char *reason)
{
    if (status == CA_INTERNAL)
        code = SOAP_INTERNAL_SERVICE_FAULT;
    else if (status == CA_UNAVAILABLE)
        code = SOAP_ENROLLMENT_SERVER;
    else
        ca_refused(exchange->req, "wstep", "", reason, true);
    return refuse(exchange, status, code);
}

/* ---- Who asks ---- */

/* The certificate that signed the message in its header, or that of the connection; who
 * has both shows one and the same. */
static enum ca_status
certificate_find(struct exchange *exchange)
{
    X509 *signer = exchange->token.certificate;
    X509 *peer = exchange->req->peer_certificate;
    if (signer && peer && !wstep_is_same(signer, peer))
        return ca_fail(CA_UNAUTHENTICATED, "signed by another than TLS has shown");
    exchange->credential.kind = CA_CREDENTIAL_CERTIFICATE;
    exchange->credential.certificate = signer ? signer : peer;
    return CA_OK;
}

static enum ca_status
credential_find(struct exchange *exchange)
{
    const struct wstep_service *service = exchange->service;
    struct soap_token *token = &exchange->token;
    enum ca_status status = soap_token_read(exchange->req, exchange->soap, token);
    if (status != CA_OK)
        return status;
    soap_credential(token, &exchange->credential);
    bool shows =
        token->kind == SOAP_TOKEN_KIND_SIGNED ||
        (token->kind == SOAP_TOKEN_KIND_NONE && exchange->req->peer_certificate);
    if (service->takes_certificate && shows)
        return certificate_find(exchange);
    if (service->takes_password && token->kind == SOAP_TOKEN_KIND_PASSWORD)
        return CA_OK;
    return ca_fail(CA_MALFORMED, "no credential that this address takes");
}

static enum ca_status
authenticate_by(struct exchange *exchange)
{
    enum ca_status status = credential_find(exchange);
    if (status == CA_OK)
        return CA_OK;
    return refuse_recorded(exchange, status,
                           status == CA_UNAUTHENTICATED ? SOAP_AUTHENTICATION
                                                        : SOAP_INVALID_SECURITY,
                           "security");
}

/* ---- RequestID: a number that finds the transaction again, for its sender alone ----
 */

/* The transaction, the part of the request in its CMC message, the key. */
static enum ca_status
id_value(struct exchange *exchange, struct ca_bytes *ret_value)
{
    uint32_t part = exchange->content.cmc.part;
    size_t size = TRANSACTION_SIZE + 4 + exchange->key.size;
    uint8_t *octets = ca_request_alloc(exchange->req, size);
    if (!octets)
        return ca_fail(CA_INTERNAL, "no memory for a RequestID");
    memcpy(octets, exchange->rst.transaction, TRANSACTION_SIZE);
    for (int i = 0; i < 4; i++)
        octets[TRANSACTION_SIZE + i] = (uint8_t)(part >> 8 * (3 - i));
    memcpy(octets + TRANSACTION_SIZE + 4, exchange->key.data, exchange->key.size);
    *ret_value = (struct ca_bytes){ octets, size };
    return CA_OK;
}

/* Positive, below 2^31. */
static uint32_t
id_candidate(const struct exchange *exchange, int try)
{
    const uint8_t *octets = exchange->rst.digest + 4 * try;
    uint32_t id = (uint32_t)octets[0] << 24 | (uint32_t)octets[1] << 16 |
                  (uint32_t)octets[2] << 8 | octets[3];
    id &= 0x7fffffff;
    return id > 0 ? id : 1;
}

/* The same message has the same number. One that waits keeps it, the next candidate
 * where another's request has the first. */
static enum ca_status
id_find(struct exchange *exchange, uint32_t *ret_id)
{
    struct ca_bytes value, found;
    enum ca_status status = id_value(exchange, &value);
    for (int try = 0; status == CA_OK && try < ID_TRIES; try++) {
        char key[ID_DIGITS_MAX + 1];
        uint32_t id = id_candidate(exchange, try);
        snprintf(key, sizeof key, "%u", id);
        status = ca_state_get(exchange->req, ID_SPACE, key, &found, NULL);
        if (status == CA_NOT_FOUND)
            status = ca_state_put(exchange->req, ID_SPACE, key, value, ID_SECONDS);
        else if (status == CA_OK && !asn1_equal(found, value))
            continue;
        if (status == CA_OK)
            *ret_id = id;
        return status;
    }
    return status == CA_OK ? ca_fail(CA_UNAVAILABLE, "no number is free") : status;
}

/* What the number of a QueryTokenStatus stands for, into transaction, part and key. */
static enum ca_status
id_resolve(struct exchange *exchange, const char *id)
{
    struct ca_bytes found;
    enum ca_status status = ca_state_get(exchange->req, ID_SPACE, id, &found, NULL);
    if (status != CA_OK)
        return status;
    if (found.size <= TRANSACTION_SIZE + 4)
        return ca_fail(CA_INTERNAL, "RequestID %s stands for nothing", id);
    memcpy(exchange->rst.transaction, found.data, TRANSACTION_SIZE);
    exchange->rst.transaction[TRANSACTION_SIZE] = '\0';
    const uint8_t *part = found.data + TRANSACTION_SIZE;
    exchange->content.cmc.part = (uint32_t)part[0] << 24 | (uint32_t)part[1] << 16 |
                                 (uint32_t)part[2] << 8 | part[3];
    exchange->key = (struct ca_bytes){ part + 4, found.size - TRANSACTION_SIZE - 4 };
    return CA_OK;
}

/* ---- Answers ---- */

static enum ca_status
answer(struct exchange *exchange, uint32_t id)
{
    const struct wstep_answer sent = {
        .issued = &exchange->issued,
        .content = &exchange->content,
        .path = exchange->service->path,
        .id = id,
    };
    enum ca_status status = wstep_answer_send(exchange->req, exchange->soap, &sent);
    return status == CA_OK ? CA_OK
                           : refuse(exchange, status, SOAP_INTERNAL_SERVICE_FAULT);
}

/* After ca_poll or ca_enroll. */
static enum ca_status
answer_outcome(struct exchange *exchange, bool waits)
{
    uint32_t id = id_candidate(exchange, 0);
    enum ca_status status = waits ? id_find(exchange, &id) : CA_OK;
    if (status != CA_OK)
        return refuse(exchange, status,
                      status == CA_UNAVAILABLE ? SOAP_ENROLLMENT_SERVER
                                               : SOAP_INTERNAL_SERVICE_FAULT);
    return answer(exchange, id);
}

/* ---- Issue ---- */

/* The certificate profile by its template; one that is nobody's stays a name that no
 * profile has, and is refused with the others. */
static enum ca_status
endpoint_find(struct exchange *exchange)
{
    struct wstep_template template;
    const char *name = NULL;
    enum ca_status status = wstep_template_read(&exchange->content, &template);
    if (status == CA_OK && template.oid[0])
        status = ca_template_profile(exchange->req, template.oid, &name);
    if (status == CA_NOT_FOUND) {
        name = template.oid;
        status = CA_OK;
    }
    if (status != CA_OK)
        return status;
    const char *from = name ? name : template.name;
    char *endpoint = ca_request_alloc(exchange->req, strlen(from) + 1);
    if (!endpoint)
        return ca_fail(CA_INTERNAL, "no memory for a template");
    /* Names of profiles are lower-case, people type what they like. */
    for (size_t i = 0; from[i]; i++)
        endpoint[i] = (char)tolower((unsigned char)from[i]);
    exchange->endpoint = endpoint;
    return CA_OK;
}

static enum ca_status
key_take(struct exchange *exchange, const X509 *certificate)
{
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
    uint8_t *copy = size > 0 ? ca_request_alloc(exchange->req, (size_t)size) : NULL;
    if (!copy)
        return ca_fail_openssl(CA_INTERNAL, "cannot encode a public key");
    memcpy(copy, der, (size_t)size);
    exchange->key = (struct ca_bytes){ copy, (size_t)size };
    return CA_OK;
}

/* A message that has no credential in it is the same one only from the same sender. */
static enum ca_status
transaction_bind(struct exchange *exchange, const X509 *certificate)
{
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    uint8_t digest[SHA256_DIGEST_LENGTH];
    int size = i2d_X509(certificate, &der);
    if (size <= 0)
        return ca_fail_openssl(CA_INTERNAL, "cannot encode a certificate");
    struct wstep_rst *rst = &exchange->rst;
    CA_AUTO(EVP_MD_CTX_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1 ||
        EVP_DigestUpdate(context, rst->digest, sizeof rst->digest) != 1 ||
        EVP_DigestUpdate(context, der, (size_t)size) != 1 ||
        EVP_DigestFinal_ex(context, digest, NULL) != 1)
        return ca_fail_openssl(CA_INTERNAL, "cannot digest a message");
    memcpy(rst->digest, digest, sizeof digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(rst->transaction + 2 * i, 3, "%02x", digest[i]);
    return CA_OK;
}

/* A renewal is its own credential, whatever the header has. */
static enum ca_status
issue_prepare(struct exchange *exchange)
{
    struct ca_credential *credential = &exchange->credential;
    X509 *renewed = exchange->content.signer;
    credential->message = renewed ? "Renew" : "Issue";
    if (renewed) {
        credential->kind = CA_CREDENTIAL_CERTIFICATE;
        credential->certificate = renewed;
    } else {
        enum ca_status status = authenticate_by(exchange);
        if (status != CA_OK)
            return status;
    }
    enum ca_status status = endpoint_find(exchange);
    if (status != CA_OK)
        return refuse_recorded(exchange, status, SOAP_CERTIFICATE_REQUEST, "template");
    credential->endpoint = exchange->endpoint;
    exchange->enrolment = (struct ca_enrolment){
        .pkcs10 = exchange->content.pkcs10.der,
        .transaction = exchange->rst.transaction,
        .signer = credential->certificate,
        .flags = CES_FLAGS | exchange->content.flags,
    };
    exchange->key = exchange->content.pkcs10.spki;
    if (!credential->certificate)
        exchange->enrolment.signer_key = exchange->key;
    else
        status = key_take(exchange, credential->certificate);
    if (status == CA_OK && credential->certificate)
        status = transaction_bind(exchange, credential->certificate);
    return status == CA_OK ? CA_OK
                           : refuse(exchange, status, SOAP_INTERNAL_SERVICE_FAULT);
}

/* The message by its sender: found again, or judged anew. */
static enum ca_status
issue(struct exchange *exchange)
{
    struct ca_request *req = exchange->req;
    const struct ca_credential *credential = &exchange->credential;
    enum ca_status status =
        wstep_content_read(req, exchange->rst.token, &exchange->content);
    if (status != CA_OK)
        return refuse_recorded(exchange, status,
                               status == CA_UNAUTHENTICATED ? SOAP_AUTHENTICATION
                                                            : SOAP_CERTIFICATE_REQUEST,
                               "request");
    status = issue_prepare(exchange);
    if (status != CA_OK)
        return status;
    status = ca_poll(req, credential, &exchange->enrolment, &exchange->issued);
    if (status == CA_OK || status == CA_PENDING)
        return answer_outcome(exchange, status == CA_PENDING);
    if (status != CA_NOT_FOUND)
        return refuse(exchange, status, soap_code_of(status));
    status = ca_authenticate(req, credential);
    if (status != CA_OK)
        return refuse(exchange, status, soap_code_of(status));
    status = ca_enroll(req, &exchange->enrolment, &exchange->issued);
    if (status == CA_OK || status == CA_PENDING)
        return answer_outcome(exchange, status == CA_PENDING);
    return refuse(exchange, status, wstep_request_code(status));
}

/* ---- QueryTokenStatus ---- */

static bool
id_read(const char *text, uint32_t *ret_id)
{
    size_t size = text ? strlen(text) : 0;
    if (size == 0 || size > ID_DIGITS_MAX || *text == '0' ||
        strspn(text, "0123456789") != size)
        return false;
    unsigned long long id = strtoull(text, NULL, 10);
    *ret_id = (uint32_t)id;
    return id <= INT32_MAX;
}

/* Whoever it is not for, and whoever made the number up, get one answer. */
static enum ca_status
query(struct exchange *exchange)
{
    struct ca_request *req = exchange->req;
    struct ca_credential *credential = &exchange->credential;
    uint32_t id;
    if (!id_read(exchange->rst.request_id, &id))
        return refuse_recorded(exchange, ca_fail(CA_MALFORMED, "no RequestID"),
                               SOAP_MESSAGE_FORMAT, "request_id");
    credential->message = "QueryTokenStatus";
    enum ca_status status = authenticate_by(exchange);
    if (status != CA_OK)
        return status;
    status = ca_authenticate(req, credential);
    if (status != CA_OK)
        return refuse(exchange, status, soap_code_of(status));
    exchange->content.cmc.part = 1;
    status = id_resolve(exchange, exchange->rst.request_id);
    if (status != CA_OK)
        return refuse_recorded(exchange, status, SOAP_AUTHORIZATION, "request_id");
    exchange->enrolment = (struct ca_enrolment){
        .transaction = exchange->rst.transaction,
        .signer_key = exchange->key,
    };
    status = ca_poll(req, credential, &exchange->enrolment, &exchange->issued);
    if (status == CA_OK || status == CA_PENDING)
        return answer(exchange, id);
    return refuse(exchange, status, soap_code_of(status));
}

enum ca_status
wstep_ces(struct ca_request *req, const struct wstep_service *service,
          const struct soap_request *soap, struct wstep_refusal *refusal)
{
    CA_AUTO(exchange_clear)
    struct exchange exchange = {
        .req = req,
        .service = service,
        .soap = soap,
        .refusal = refusal,
        .credential = { .protocol = "wstep", .endpoint = "" },
    };
    enum ca_status status = wstep_rst_read(req, soap, &exchange.rst);
    if (status != CA_OK)
        return refuse_recorded(&exchange, status, SOAP_MESSAGE_FORMAT, "malformed");
    switch (exchange.rst.type) {
    case WSTEP_ISSUE:
    case WSTEP_RENEW:
        if (exchange.rst.token.size == 0)
            return refuse_recorded(&exchange, ca_fail(CA_MALFORMED, "no request"),
                                   SOAP_MESSAGE_FORMAT, "malformed");
        return issue(&exchange);
    case WSTEP_QUERY: return query(&exchange);
    case WSTEP_RECOVERY:
    case WSTEP_KET: break;
    }
    return refuse_recorded(&exchange,
                           ca_fail(CA_UNSUPPORTED, "a RequestType that is not served"),
                           SOAP_MESSAGE_FORMAT, "request_type");
}
