/* /certificates: the inventory; search, download, revoke. */
#include "api.h"
#include "certificate.h"
#include "jobs.h"
#include "lifecycle.h"
#include <openssl/pem.h>
#include <string.h>

/* ---- Read, as JSON, DER or PEM ---- */

enum form { FORM_JSON, FORM_DER, FORM_PEM };

static enum form
form_wanted(const struct api_call *call)
{
    const char *accept = ca_request_header(&call->exchange->request, "Accept");
    if (accept && strstr(accept, "application/pkix-cert"))
        return FORM_DER;
    if (accept && (strstr(accept, "application/x-pem-file") ||
                   strstr(accept, "application/pem-certificate-chain")))
        return FORM_PEM;
    return FORM_JSON;
}

static enum ca_status
pem_respond(struct api_call *call, const struct certificate *certificate)
{
    CA_AUTO(BIO_free_all) BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    if (!bio || PEM_write_bio(bio, "CERTIFICATE", "", certificate->der,
                              (long)certificate->der_size) <= 0)
        return ca_fail_openssl(CA_INTERNAL, "no PEM of certificate %s",
                               certificate->serial);
    long size = BIO_get_mem_data(bio, &text);
    return ca_respond(&call->exchange->request, 200, "application/x-pem-file", text,
                      (size_t)size);
}

static enum ca_status
respond(struct api_call *call, const struct certificate *certificate)
{
    enum form form = form_wanted(call);
    if (form == FORM_JSON)
        return api_answer_record(call, certificate_fields, certificate,
                                 &certificate->stamp);
    if (certificate->state == CERTIFICATE_INTENT ||
        certificate->state == CERTIFICATE_ABANDONED)
        return ca_fail(CA_NOT_FOUND, "no certificate was issued for serial %s",
                       certificate->serial);
    call->answer.is_done = true;
    if (form == FORM_PEM)
        return pem_respond(call, certificate);
    return ca_respond(&call->exchange->request, 200, "application/pkix-cert",
                      certificate->der, certificate->der_size);
}

static enum ca_status
get_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    struct certificate certificate = { 0 };
    enum ca_status status = certificate_load(tx, NULL, api_key(call), &certificate);
    if (status == CA_OK)
        status = respond(call, &certificate);
    certificate_clear(&certificate);
    return status;
}

/* ---- Search ---- */

static enum ca_status
list_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    struct api_list *list = arg;
    struct certificate_filter filter = {
        .user = api_query_text(call, "user"),
        .device = api_query_text(call, "device"),
        .profile = api_query_text(call, "profile"),
        .issuer = api_query_text(call, "issuer"),
        .state = api_query_text(call, "state"),
        .protocol = api_query_text(call, "protocol"),
        .spki_sha256 = api_query_text(call, "spki_sha256"),
        .q = api_query_text(call, "q"),
    };
    enum ca_status status =
        api_query_time(call, "expires_before", &filter.expires_before);
    if (status != CA_OK)
        return status;
    return certificate_list(tx, &filter, &list->page, api_list_visit, list);
}

/* ---- Revoke ---- */

struct revocation {
    char *reason;
    int64_t invalidity_date;
};

static bool
reason_is_known(const void *member, char *ret_reason, size_t size)
{
    int code;
    if (certificate_reason_parse(*(char *const *)member, &code))
        return true;
    snprintf(ret_reason, size, "is no revocation reason of RFC 5280");
    return false;
}

static const struct field revocation_fields[] = {
    { FIELD(revocation, reason), .type = FIELD_TEXT, .initial = "\"unspecified\"",
      .check = reason_is_known,
      .help = "A reason of RFC 5280 5.3.1 in snake_case: key_compromise, superseded, "
              "cessation_of_operation, certificate_hold, remove_from_crl, ..." },
    { FIELD(revocation, invalidity_date), .type = FIELD_TIME,
      .help = "Since when the key is not to be trusted." },
    FIELD_END,
};

static enum ca_status
revoke_record(struct store_tx *tx, struct api_call *call, struct revocation *revocation)
{
    int code = 0;
    enum ca_status status = api_decode(call, revocation_fields, revocation);
    if (status != CA_OK)
        return status;
    if (!certificate_reason_parse(revocation->reason, &code))
        return ca_fail(CA_MALFORMED, "unknown reason");
    status = lifecycle_revoke(tx, api_key(call), code, revocation->invalidity_date,
                              &(struct lifecycle_cause){
                                  .actor = exchange_actor(call->exchange),
                                  .protocol = "api",
                                  .request = call->exchange->request.id,
                              });
    if (status != CA_OK)
        return status;
    struct certificate certificate = { 0 };
    status = certificate_load(tx, NULL, api_key(call), &certificate);
    if (status == CA_OK)
        status = api_answer_record(call, certificate_fields, &certificate,
                                   &certificate.stamp);
    certificate_clear(&certificate);
    return status;
}

static enum ca_status
revoke_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    struct revocation revocation = { 0 };
    enum ca_status status = revoke_record(tx, call, &revocation);
    field_clear(revocation_fields, &revocation);
    return status;
}

static enum ca_status
revoke(struct api_call *call)
{
    enum ca_status status = api_write(call, revoke_step, NULL);
    if (status == CA_OK && !call->dry_run)
        jobs_wake(call->exchange->service);
    return status;
}

static const struct field *
fields(void)
{
    return certificate_fields;
}

static const struct field *
revocation_table(void)
{
    return revocation_fields;
}

static const struct api_query filters[] = {
    { "user", "Of this user." },
    { "device", "Of this device." },
    { "profile", "By this certificate profile." },
    { "issuer", "By this issuer." },
    { "state", "intent, issued, revoked, expired or abandoned." },
    { "protocol", "Over this protocol, e.g. scep." },
    { "spki_sha256", "With this key: SHA-256 of its SubjectPublicKeyInfo, hex." },
    { "expires_before", "That end before this RFC 3339 time." },
    { "q", "Serial that begins so, or subject that contains it." },
    { NULL, NULL },
};

static const struct api_route routes[] = {
    { "GET", "/certificates", API_ANY, API_LIST, list_step, "Search certificates", NULL,
      fields, filters, .success = 200, .cursor = "serial" },
    { "GET", "/certificates/{serial}", API_ANY, 0, get_step,
      "Read a certificate: JSON, or by Accept application/pkix-cert or "
      "application/x-pem-file",
      NULL, fields, NULL, .success = 200 },
    { "POST", "/certificates/{serial}/revoke", API_ADMINISTRATOR | API_OPERATOR,
      API_CHANGE | API_REPEAT, NULL, "Revoke a certificate, or release it from hold",
      revocation_table, fields, NULL, .success = 200, .handle = revoke },
    { .method = NULL },
};
const struct api_resource api_certificates = { "certificates", routes, NULL };
