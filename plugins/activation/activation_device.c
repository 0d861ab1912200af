/* After activation (section 12): the device by its certificate reports itself, reads
 * its policy and renews. */
#include "activation.h"
#include "auto.h"
#include "base64.h"
#include <string.h>

#define ENDPOINT_MAX 160
#define DIGEST_SIZE 32

static struct ca_credential
credential_of(const struct ca_request *req, const char *message)
{
    return (struct ca_credential){ .kind = CA_CREDENTIAL_CERTIFICATE,
                                   .protocol = "activation",
                                   .message = message,
                                   .endpoint = "",
                                   .certificate = req->peer_certificate };
}

static enum activation_error
certificate_check(const struct ca_request *req)
{
    if (req->peer_certificate)
        return ACTIVATION_OK;
    ca_fail(CA_UNAUTHENTICATED, "no client certificate of ours");
    return ACTIVATION_WRONG_CERTIFICATE;
}

enum activation_error
activation_authenticate(struct ca_request *req, const char *message)
{
    const struct ca_credential credential = credential_of(req, message);
    enum activation_error error = certificate_check(req);
    if (error != ACTIVATION_OK)
        return error;
    enum ca_status status = ca_authenticate(req, &credential);
    return status == CA_OK ? ACTIVATION_OK
           : status == CA_UNAVAILABLE || status == CA_INTERNAL
               ? ACTIVATION_UNAVAILABLE
               : ACTIVATION_WRONG_CERTIFICATE;
}

/* ---- PUT /activation/v1/device ---- */

/* The members of an object that section 12 names, all of them texts. */
static enum activation_error
facts_read(const json_t *message, const char *name, const char *const *members,
           json_t **ret_facts)
{
    const json_t *object = json_object_get(message, name);
    CA_AUTO(json_decref) json_t *facts = json_object();
    if (!json_is_object(object)) {
        ca_fail(CA_MALFORMED, "member '%s' is not an object", name);
        return ACTIVATION_BAD_REQUEST;
    }
    for (; *members; members++) {
        const char *text = NULL;
        enum activation_error error =
            activation_text(object, *members, 0, ACTIVATION_FACT_MAX, &text);
        if (error != ACTIVATION_OK)
            return error;
        if (json_object_set_new(facts, *members, json_string(text)) != 0) {
            ca_fail(CA_INTERNAL, "no memory for a report");
            return ACTIVATION_UNAVAILABLE;
        }
    }
    *ret_facts = CA_STEAL(facts);
    return ACTIVATION_OK;
}

static enum ca_status
report(struct ca_request *req, const json_t *device, const json_t *software)
{
    struct ca_activation_place place = { .url = NULL };
    enum ca_status status = ca_activation_device(req, device, software, &place);
    if (status == CA_UNAUTHENTICATED || status == CA_FORBIDDEN)
        return activation_refuse_device(req, ACTIVATION_WRONG_CERTIFICATE);
    if (status != CA_OK)
        return activation_refuse_device(req, activation_error_of(status));
    CA_AUTO(json_decref)
    json_t *body = json_pack("{s:i, s:s, s:s}", "v", 1, "instance", place.instance,
                             "url", place.url);
    return activation_send(req, 200, body);
}

enum ca_status
activation_device(void *state, struct ca_request *req)
{
    static const char *const hardware_members[] = { "vendor", "model", "serial", "imei",
                                                    NULL };
    static const char *const software_members[] = { "os", "os_version", "app",
                                                    "app_version", NULL };
    CA_AUTO(json_decref) json_t *message = NULL;
    CA_AUTO(json_decref) json_t *device = NULL;
    CA_AUTO(json_decref) json_t *software = NULL;
    (void)state;
    enum activation_error error = activation_read(req, &message);
    if (error == ACTIVATION_OK)
        error = activation_authenticate(req, "device");
    if (error == ACTIVATION_OK)
        error = facts_read(message, "device", hardware_members, &device);
    if (error == ACTIVATION_OK)
        error = facts_read(message, "software", software_members, &software);
    return error == ACTIVATION_OK ? report(req, device, software)
                                  : activation_refuse_device(req, error);
}

/* ---- GET /activation/v1/policy ---- */

/* `wait=n`, 1 to 60; 0 when absent. */
static enum activation_error
wait_read(struct ca_request *req, int64_t *ret_seconds)
{
    const char *text = NULL;
    enum ca_status status = ca_request_query(req, "wait", &text);
    if (status == CA_INTERNAL)
        return ACTIVATION_UNAVAILABLE;
    *ret_seconds = 0;
    if (status == CA_OK && !text)
        return ACTIVATION_OK;
    size_t length = text ? strlen(text) : 0;
    long seconds = length == 1 || length == 2 ? strtol(text, NULL, 10) : 0;
    if (length == 0 || strspn(text, "0123456789") != length || seconds < 1 ||
        seconds > ACTIVATION_WAIT_MAX) {
        ca_fail(CA_MALFORMED, "wait is not 1 to %d", ACTIVATION_WAIT_MAX);
        return ACTIVATION_BAD_REQUEST;
    }
    *ret_seconds = seconds;
    return ACTIVATION_OK;
}

/* One entry of If-None-Match (RFC 9110 section 13.1.2): weak comparison. Returns what
 * follows the entry. */
static const char *
tag_next(const char *at, const char **ret_tag, size_t *ret_size)
{
    at += strspn(at, " \t,");
    *ret_tag = NULL;
    *ret_size = 0;
    if (strncmp(at, "W/", 2) == 0)
        at += 2;
    if (*at != '"')
        return at + strcspn(at, ",");
    size_t size = strcspn(at + 1, "\"");
    *ret_tag = at + 1;
    *ret_size = size;
    return at + 1 + size + (at[1 + size] == '"');
}

/* Does the client have this policy? `*` stands for any. */
static bool
is_known(const char *header, const char *tag)
{
    if (!header)
        return false;
    if (strcmp(header + strspn(header, " \t"), "*") == 0)
        return true;
    while (*header) {
        const char *one;
        size_t size;
        header = tag_next(header, &one, &size);
        if (one && size == strlen(tag) && memcmp(one, tag, size) == 0)
            return true;
    }
    return false;
}

/* The first tag of the header, which the core compares while it waits. */
static const char *
known_tag(struct ca_request *req, const char *header)
{
    const char *one = NULL;
    size_t size = 0;
    if (!header)
        return NULL;
    tag_next(header, &one, &size);
    char *tag = one ? ca_request_alloc(req, size + 1) : NULL;
    if (tag)
        memcpy(tag, one, size);
    return tag;
}

static enum ca_status
policy_answer(struct ca_request *req, const char *header,
              const struct ca_activation_policy *policy)
{
    char quoted[CA_ACTIVATION_TAG + 3];
    CA_AUTO(json_decref) json_t *body = json_pack("{s:i}", "v", 1);
    snprintf(quoted, sizeof quoted, "\"%s\"", policy->tag);
    enum ca_status status = ca_respond_header(req, "ETag", quoted);
    if (status == CA_OK)
        status = ca_respond_header(req, "Cache-Control", "private, no-cache");
    if (status == CA_OK && is_known(header, policy->tag))
        return ca_respond(req, 304, NULL, "", 0);
    json_t *members = (json_t *)(uintptr_t)policy->policy; /* only read */
    if (status == CA_OK && (!body || json_object_update(body, members) != 0))
        status = ca_fail(CA_INTERNAL, "no memory for a policy");
    CA_AUTO(free) char *text = status == CA_OK ? json_dumps(body, JSON_COMPACT) : NULL;
    return text ? ca_respond(req, 200, "application/json", text, strlen(text)) : status;
}

enum ca_status
activation_policy(void *state, struct ca_request *req)
{
    struct ca_activation_policy policy = { .policy = NULL };
    const char *header = ca_request_header(req, "If-None-Match");
    int64_t seconds = 0;
    (void)state;
    enum activation_error error = wait_read(req, &seconds);
    if (error == ACTIVATION_OK)
        error = activation_authenticate(req, "policy");
    if (error != ACTIVATION_OK)
        return activation_refuse_device(req, error);
    enum ca_status status =
        ca_activation_policy(req, known_tag(req, header), seconds, &policy);
    if (status == CA_UNAUTHENTICATED || status == CA_FORBIDDEN)
        return activation_refuse_device(req, ACTIVATION_WRONG_CERTIFICATE);
    return status == CA_OK ? policy_answer(req, header, &policy)
                           : activation_refuse_device(req, activation_error_of(status));
}

/* ---- POST /activation/v1/renew ---- */

/* Exactly one PKCS#10 whose signature is made with its key. */
static enum activation_error
request_check(struct ca_bytes der)
{
    const uint8_t *at = der.data;
    if (der.size == 0 || der.size > ACTIVATION_CSR_MAX) {
        ca_fail(CA_MALFORMED, "request of %zu octets", der.size);
        return ACTIVATION_BAD_REQUEST;
    }
    CA_AUTO(X509_REQ_free) X509_REQ *request = d2i_X509_REQ(NULL, &at, (long)der.size);
    if (!request || at != der.data + der.size) {
        ca_fail_openssl(CA_MALFORMED, "request that is not one PKCS#10");
        return ACTIVATION_BAD_REQUEST;
    }
    EVP_PKEY *key = X509_REQ_get0_pubkey(request);
    if (!key || X509_REQ_verify(request, key) != 1) {
        ca_fail_openssl(CA_MALFORMED, "request whose signature does not hold");
        return ACTIVATION_BAD_SIGNATURE;
    }
    return ACTIVATION_OK;
}

/* {"v":1,"cert","chain"}: issuer first, root last. */
enum ca_status
activation_send_issued(struct ca_request *req, const struct ca_issued *issued)
{
    char endpoint[ENDPOINT_MAX];
    struct ca_chain chain = { .count = 0 };
    snprintf(endpoint, sizeof endpoint, "certificate/%s", issued->profile);
    enum ca_status status = ca_chain(req, endpoint, false, &chain);
    if (status != CA_OK)
        return activation_refuse_device(req, ACTIVATION_UNAVAILABLE);
    CA_AUTO(json_decref) json_t *list = json_array();
    for (size_t i = 0; i < chain.count; i++) {
        uint8_t *der = NULL;
        int size = i2d_X509(chain.certificates[i], &der);
        if (size > 0)
            json_array_append_new(list,
                                  json_string(base64url_encode(
                                      req, (struct ca_bytes){ der, (size_t)size })));
        OPENSSL_free(der);
    }
    CA_AUTO(json_decref)
    json_t *body = json_pack("{s:i, s:s, s:O}", "v", 1, "cert",
                             base64url_encode(req, issued->der), "chain", list);
    return json_array_size(list) == chain.count ? activation_send(req, 200, body)
                                                : ca_fail(CA_INTERNAL, "no memory");
}

/* Names the request by its octets. */
static bool
transaction_name(struct ca_bytes der, char ret_transaction[2 * DIGEST_SIZE + 1])
{
    uint8_t digest[DIGEST_SIZE];
    if (EVP_Digest(der.data, der.size, digest, NULL, EVP_sha256(), NULL) != 1)
        return false;
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(ret_transaction + 2 * i, 3, "%02x", digest[i]);
    return true;
}

/* What says no before anything is asked of the core's policy. */
static enum activation_error
renewal_check(struct ca_request *req, struct ca_bytes der)
{
    enum activation_error error = activation_authenticate(req, "renew");
    return error == ACTIVATION_OK ? request_check(der) : error;
}

/* The request is its own transaction: sent again with the same certificate, because the
 * answer was lost, it gets the same answer. */
static enum ca_status
renew(struct ca_request *req, struct ca_bytes der)
{
    char transaction[2 * DIGEST_SIZE + 1];
    const struct ca_credential credential = credential_of(req, "renew");
    const struct ca_enrolment enrolment = {
        .pkcs10 = der,
        .transaction = transaction,
        .signer = req->peer_certificate,
        .flags = CA_ENROL_KEY_ALONE | CA_ENROL_AT_ONCE,
    };
    struct ca_issued issued = { .profile = NULL };
    if (!transaction_name(der, transaction)) {
        ca_fail_openssl(CA_INTERNAL, "cannot hash a request");
        return activation_refuse_device(req, ACTIVATION_UNAVAILABLE);
    }
    enum ca_status status =
        der.size > 0 ? ca_poll(req, &credential, &enrolment, &issued) : CA_NOT_FOUND;
    if (status == CA_NOT_FOUND) {
        enum activation_error error = renewal_check(req, der);
        if (error != ACTIVATION_OK)
            return activation_refuse_device(req, error);
        status = ca_enroll(req, &enrolment, &issued);
    }
    if (status == CA_FORBIDDEN)
        return activation_refuse_device(req, ACTIVATION_KEY_REJECTED);
    if (status == CA_UNAUTHENTICATED)
        return activation_refuse_device(req, ACTIVATION_WRONG_CERTIFICATE);
    return status == CA_OK ? activation_send_issued(req, &issued)
                           : activation_refuse_device(req, activation_error_of(status));
}

enum ca_status
activation_renew(void *state, struct ca_request *req)
{
    CA_AUTO(json_decref) json_t *message = NULL;
    struct ca_bytes der = { 0 };
    (void)state;
    enum activation_error error = activation_read(req, &message);
    if (error == ACTIVATION_OK)
        error = certificate_check(req);
    if (error == ACTIVATION_OK)
        error = activation_octets(req, message, "csr", &der);
    return error == ACTIVATION_OK ? renew(req, der)
                                  : activation_refuse_device(req, error);
}
