/* Certificates of ours as the inventory knows them, and administrators. */
#include "admin.h"
#include "audit.h"
#include "auth.h"
#include "auto.h"
#include "clock.h"
#include "offer.h"
#include "refuse.h"
#include "state.h"
#include "text.h"
#include <string.h>

#define SERIAL_OCTETS_MAX 20
#define SERIAL_OCTETS_OURS 16

bool
auth_serial_format(const ASN1_INTEGER *serial, char ret_hex[AUTH_SERIAL_SIZE])
{
    int length = ASN1_STRING_length(serial);
    if (length < 1 || length > SERIAL_OCTETS_MAX ||
        ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER)
        return false;
    uint8_t octets[SERIAL_OCTETS_MAX] = { 0 };
    size_t size = (size_t)length;
    size_t shift = size < SERIAL_OCTETS_OURS ? SERIAL_OCTETS_OURS - size : 0;
    memcpy(octets + shift, ASN1_STRING_get0_data(serial), size);
    hex_format(octets, size + shift, ret_hex);
    return true;
}

/* The same certificate, but decoded with its key (pubkey.h), as X509_verify wants it.
 */
static X509 *
decode_whole(const X509 *certificate)
{
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    int size = i2d_X509(certificate, &der);
    const uint8_t *at = der;
    return size > 0 ? d2i_X509(NULL, &at, size) : NULL;
}

static enum ca_status
check_signature(const struct issuer *issuer, const X509 *certificate)
{
    EVP_PKEY *key = X509_get0_pubkey(issuer->certificate);
    CA_AUTO(X509_free) X509 *whole = decode_whole(certificate);
    if (!key || !whole || X509_verify(whole, key) != 1)
        return ca_fail_openssl(CA_UNAUTHENTICATED,
                               "certificate is not signed by issuer '%s'",
                               issuer->name);
    return CA_OK;
}

static enum ca_status
check_octets(X509 *certificate, const struct certificate *record)
{
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    int size = i2d_X509(certificate, &der);
    if (size <= 0)
        return ca_fail_openssl(CA_INTERNAL, "cannot write a certificate");
    bool is_same =
        record->state != CERTIFICATE_INTENT && record->state != CERTIFICATE_ABANDONED &&
        record->der_size == (size_t)size && memcmp(record->der, der, (size_t)size) == 0;
    if (!is_same)
        return ca_fail(CA_UNAUTHENTICATED, "certificate %s is not the recorded one",
                       record->serial);
    return CA_OK;
}

enum ca_status
auth_find_certificate(struct store_tx *tx, const struct issuers *issuers,
                      X509 *certificate, struct certificate *ret_certificate)
{
    char serial[AUTH_SERIAL_SIZE];
    const struct issuer *issuer =
        certificate ? issuers_of_certificate(issuers, certificate) : NULL;
    if (!issuer)
        return ca_fail(CA_UNAUTHENTICATED, "certificate is by none of our issuers");
    if (!auth_serial_format(X509_get0_serialNumber(certificate), serial))
        return ca_fail(CA_UNAUTHENTICATED, "certificate has no serial of ours");
    enum ca_status status = check_signature(issuer, certificate);
    if (status != CA_OK)
        return status;
    struct certificate record = { 0 };
    status = certificate_load(tx, issuer->name, serial, &record);
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_UNAUTHENTICATED, "certificate %s is not recorded", serial);
    if (status != CA_OK)
        return status;
    status = check_octets(certificate, &record);
    if (status != CA_OK) {
        certificate_clear(&record);
        return status;
    }
    *ret_certificate = record;
    return CA_OK;
}

enum ca_status
auth_offer_peer(struct store_tx *tx, const struct issuers *issuers, X509 *certificate,
                const struct offer *offer)
{
    struct certificate record = { 0 };
    enum ca_status status = auth_find_certificate(tx, issuers, certificate, &record);
    if (status == CA_OK && record.state != CERTIFICATE_ISSUED)
        status = ca_fail(CA_UNAUTHENTICATED, "certificate %s is revoked or expired",
                         record.serial);
    else if (status == CA_OK &&
             (!record.device || strcmp(record.device, offer->device) != 0))
        status = ca_fail(CA_UNAUTHENTICATED, "certificate %s is not of device %s",
                         record.serial, offer->device);
    certificate_clear(&record);
    return status;
}

struct peer_question {
    const struct issuers *issuers;
    X509 *certificate;
};

static enum ca_status
peer_read(struct store_tx *tx, void *arg)
{
    const struct peer_question *question = arg;
    struct certificate record = { 0 };
    enum ca_status status =
        auth_find_certificate(tx, question->issuers, question->certificate, &record);
    if (status != CA_OK)
        return status;
    int64_t now = clock_now();
    if (record.state != CERTIFICATE_ISSUED)
        status = ca_fail(CA_UNAUTHENTICATED, "certificate %s is %s", record.serial,
                         record.state == CERTIFICATE_EXPIRED ? "expired" : "revoked");
    else if (now < record.not_before || now > record.not_after)
        status = ca_fail(CA_UNAUTHENTICATED, "certificate %s is not valid now",
                         record.serial);
    certificate_clear(&record);
    return status;
}

enum ca_status
auth_check_peer(struct service *service, X509 *certificate)
{
    struct issuers *issuers = service_issuers(service);
    struct peer_question question = { issuers, certificate };
    enum ca_status status = store_read(service->store, peer_read, &question);
    issuers_release(issuers);
    return status;
}

struct admin_question {
    const char *secret; /* bearer token, or NULL */
    uint8_t sha256[32]; /* else of the client certificate */
    struct admin admin;
};

static enum ca_status
admin_read(struct store_tx *tx, void *arg)
{
    struct admin_question *question = arg;
    admin_clear(&question->admin);
    if (question->secret)
        return admin_of_token(tx, question->secret, &question->admin);
    return admin_of_certificate(tx, question->sha256, &question->admin);
}

/* "Bearer TOKEN" (RFC 6750 section 2.1); NULL when it is no such thing. */
static const char *
bearer_token(const char *authorization)
{
    static const char scheme[] = "Bearer ";
    char start[sizeof scheme];
    if (!authorization || strlen(authorization) < sizeof scheme)
        return NULL;
    memcpy(start, authorization, sizeof scheme - 1);
    start[sizeof scheme - 1] = '\0';
    if (!text_equal_ignoring_case(start, scheme))
        return NULL;
    return authorization + sizeof scheme - 1;
}

static enum ca_status
find_admin(struct exchange *exchange, struct admin_question *question)
{
    const struct ca_request *request = &exchange->request;
    bool has_authorization = request->authorization && *request->authorization;
    question->secret = bearer_token(request->authorization);
    if (has_authorization && !question->secret)
        return ca_fail(CA_UNAUTHENTICATED, "Authorization is no bearer token");
    if (!has_authorization && !request->peer_certificate)
        return ca_fail(CA_UNAUTHENTICATED, "neither token nor client certificate");
    if (!has_authorization && X509_digest(request->peer_certificate, EVP_sha256(),
                                          question->sha256, NULL) != 1)
        return ca_fail_openssl(CA_INTERNAL, "cannot hash a certificate");
    return store_read(exchange->service->store, admin_read, question);
}

/* SECURITY I4: a log-in is on record once an hour for each administrator, address and
 * credential, not at every call. */
#define LOGIN_SPACE "admin.login"
#define LOGIN_SECONDS 3600

struct login {
    const char *admin, *peer, *request;
    const char *credential; /* "token" or "certificate" */
    char key[STATE_KEY_MAX + 1];
};

static enum ca_status
login_find(struct store_tx *tx, void *arg)
{
    const struct login *login = arg;
    CA_AUTO(free) void *value = NULL;
    size_t size;
    int64_t version;
    return state_get(tx, LOGIN_SPACE, login->key, &value, &size, &version);
}

static enum ca_status
login_record(struct store_tx *tx, void *arg)
{
    const struct login *login = arg;
    enum ca_status status =
        state_add(tx, LOGIN_SPACE, login->key, "", 0, clock_now() + LOGIN_SECONDS);
    if (status != CA_OK)
        return status;
    char actor[RECORD_NAME_MAX + 8];
    snprintf(actor, sizeof actor, "admin:%s", login->admin);
    CA_AUTO(json_decref)
    json_t *detail =
        json_pack("{s:s, s:s}", "peer", login->peer, "credential", login->credential);
    return audit_append(tx, &(struct audit_entry){ .action = "admin.login",
                                                   .actor = actor,
                                                   .object = actor,
                                                   .protocol = "api",
                                                   .request = login->request,
                                                   .outcome = "ok",
                                                   .detail = detail });
}

static enum ca_status
login_audit(struct exchange *exchange, const char *admin)
{
    const struct ca_request *req = &exchange->request;
    struct store *store = exchange->service->store;
    struct login login = { .admin = admin,
                           .peer = req->local ? "local" : req->peer,
                           .request = req->id,
                           .credential =
                               *req->authorization ? "token" : "certificate" };
    snprintf(login.key, sizeof login.key, "%s %s %s", admin, login.peer,
             login.credential);
    enum ca_status status = store_read(store, login_find, &login);
    if (status != CA_NOT_FOUND)
        return status;
    status = store_write(store, login_record, &login);
    if (status == CA_CONFLICT) /* another thread was first: it is on record */
        return CA_OK;
    /* Who looks why the store takes no writes may look; the next call tries again. */
    bool may_look = status == CA_UNAVAILABLE && strcmp(req->method, "GET") == 0;
    return may_look ? CA_OK : status;
}

enum ca_status
auth_admin(struct exchange *exchange)
{
    identity_clear(&exchange->identity);
    struct admin_question question = { 0 };
    enum ca_status status = find_admin(exchange, &question);
    if (status != CA_OK) {
        admin_clear(&question.admin);
        return refuse(exchange, status,
                      &(struct refusal_place){ .protocol = "api", .endpoint = "" });
    }
    exchange->identity.kind = IDENTITY_ADMIN;
    exchange->identity.protocol = "api";
    exchange->identity.admin = question.admin;
    return login_audit(exchange, question.admin.name);
}
