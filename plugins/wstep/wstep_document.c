/* wap-provisioningdoc ([MS-MDE2] 2.2.9.1): certificates, the management account and how
 * it renews itself. Order, case and datatypes are what Windows reads. */
#include "asn1.h"
#include "auto.h"
#include "base64.h"
#include "wstep.h"
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <string.h>

#define DAY INT64_C(86400)
#define NAME_TEXT_MAX 1024
#define RETRY_DAYS 4 /* "advised 4-5" */
#define SECRET_SIZE 24
#define NONCE_SIZE 16

/* A certificate with what the document says of it. */
struct shown {
    const char *thumbprint, *base64;
};

static enum ca_status
show_der(struct ca_request *req, struct ca_bytes der, struct shown *ret_shown)
{
    uint8_t digest[20];
    char *text = ca_request_alloc(req, 2 * sizeof digest + 1);
    if (EVP_Digest(der.data, der.size, digest, NULL, EVP_sha1(), NULL) != 1)
        return ca_fail_openssl(CA_INTERNAL, "cannot digest a certificate");
    for (size_t i = 0; text && i < sizeof digest; i++)
        snprintf(text + 2 * i, 3, "%02X", digest[i]);
    *ret_shown = (struct shown){ text, base64_encode(req, der) };
    return text && ret_shown->base64 ? CA_OK
                                     : ca_fail(CA_INTERNAL, "no memory for a document");
}

static enum ca_status
show(struct ca_request *req, const X509 *certificate, struct shown *ret_shown)
{
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    int size = i2d_X509(certificate, &der);
    if (size <= 0)
        return ca_fail_openssl(CA_INTERNAL, "cannot encode a certificate");
    return show_der(req, (struct ca_bytes){ der, (size_t)size }, ret_shown);
}

/* What the document says of the device's own certificate besides. */
struct own {
    struct shown shown;
    X509_NAME *subject;
    ASN1_TIME *not_before, *not_after;
};

static void
own_clear_auto(struct own *own)
{
    X509_NAME_free(own->subject);
    ASN1_TIME_free(own->not_before);
    ASN1_TIME_free(own->not_after);
}

/* TBSCertificate's validity and subject (RFC 5280 section 4.1); the rest of it need not
 * be decoded. */
static bool
take_parts(struct ca_bytes der, struct ca_bytes *ret_validity,
           struct ca_bytes *ret_subject)
{
    struct ca_bytes certificate, tbs, skipped;
    return asn1_take(&der, DER_SEQUENCE, &certificate) &&
           asn1_take(&certificate, DER_SEQUENCE, &tbs) &&
           asn1_take(&tbs, DER_CONTEXT_CONSTRUCTED(0), &skipped) && /* version */
           asn1_take(&tbs, DER_INTEGER, &skipped) &&
           asn1_take(&tbs, DER_SEQUENCE, &skipped) && /* signature */
           asn1_take(&tbs, DER_SEQUENCE, &skipped) && /* issuer */
           asn1_take(&tbs, DER_SEQUENCE, ret_validity) &&
           asn1_take_whole(&tbs, DER_SEQUENCE, ret_subject);
}

static enum ca_status
own_read(struct ca_request *req, struct ca_bytes der, struct own *own)
{
    struct ca_bytes validity, subject;
    if (!take_parts(der, &validity, &subject))
        return ca_fail(CA_INTERNAL, "a certificate that is no certificate");
    const uint8_t *at = validity.data, *end = at + validity.size;
    own->not_before = d2i_ASN1_TIME(NULL, &at, end - at);
    own->not_after = own->not_before ? d2i_ASN1_TIME(NULL, &at, end - at) : NULL;
    at = subject.data;
    own->subject = d2i_X509_NAME(NULL, &at, (long)subject.size);
    if (!own->not_after || !own->subject)
        return ca_fail_openssl(CA_INTERNAL, "a certificate without subject or time");
    return show_der(req, der, &own->shown);
}

static void
parm(struct xml_writer *writer, const char *name, const char *value,
     const char *datatype)
{
    xml_open(writer, "parm");
    xml_set(writer, "name", name);
    if (value)
        xml_set(writer, "value", value);
    if (datatype)
        xml_set(writer, "datatype", datatype);
    xml_close(writer);
}

static void
parm_integer(struct xml_writer *writer, const char *name, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    parm(writer, name, text, "integer");
}

static void
open_characteristic(struct xml_writer *writer, const char *type)
{
    xml_open(writer, "characteristic");
    xml_set(writer, "type", type);
}

/* "Root" / "System" / thumbprint, left open inside the thumbprint. */
static void
open_certificate(struct xml_writer *writer, const char *store, const char *place,
                 const struct shown *shown)
{
    open_characteristic(writer, store);
    open_characteristic(writer, place);
    open_characteristic(writer, shown->thumbprint);
    parm(writer, "EncodedCertificate", shown->base64, NULL);
}

static void
close_many(struct xml_writer *writer, int count)
{
    for (int i = 0; i < count; i++)
        xml_close(writer);
}

/* One root and at most one intermediate ([D]: more come later over management). */
static enum ca_status
put_chain(struct ca_request *req, struct xml_writer *writer,
          const struct ca_chain *chain)
{
    struct shown shown;
    enum ca_status status = show(req, chain->certificates[chain->count - 1], &shown);
    if (status != CA_OK)
        return status;
    open_certificate(writer, "Root", "System", &shown);
    close_many(writer, 3);
    if (chain->count < 2)
        return CA_OK;
    status = show(req, chain->certificates[0], &shown);
    if (status != CA_OK)
        return status;
    open_certificate(writer, "CA", "System", &shown);
    close_many(writer, 3);
    return CA_OK;
}

static const char *
place_of(const struct wstep_document *document)
{
    return document->is_device ? "System" : "User";
}

/* Days between now and the window's opening are the device's business; but a period as
 * long as the certificate lives would renew it at once. */
static int64_t
renew_period(const struct wstep_document *document, const struct own *own)
{
    int days = 0, seconds = 0;
    int64_t period = document->renewal_days;
    if (ASN1_TIME_diff(&days, &seconds, own->not_before, own->not_after) == 1 &&
        period > days / 2)
        period = days / 2;
    if (period > WSTEP_DAYS_MAX)
        period = WSTEP_DAYS_MAX;
    return period < 1 ? 1 : period;
}

static void
put_renewal(struct xml_writer *writer, const struct wstep_document *document,
            const struct own *own, const char *url)
{
    int64_t period = renew_period(document, own);
    open_characteristic(writer, "WSTEP");
    open_characteristic(writer, "Renew");
    parm(writer, "ROBOSupport", "true", "boolean");
    parm_integer(writer, "RenewPeriod", period);
    parm_integer(writer, "RetryInterval", period < RETRY_DAYS ? period : RETRY_DAYS);
    parm(writer, "ServerURL", url, "string");
    close_many(writer, 2);
}

/* ---- The subject, as Windows looks for its certificate ---- */

static const char *
attribute_name(const ASN1_OBJECT *object, char ret_oid[80])
{
    switch (OBJ_obj2nid(object)) {
    case NID_commonName: return "CN";
    case NID_organizationName: return "O";
    case NID_organizationalUnitName: return "OU";
    case NID_countryName: return "C";
    case NID_localityName: return "L";
    case NID_stateOrProvinceName: return "S";
    case NID_domainComponent: return "DC";
    case NID_pkcs9_emailAddress: return "E";
    default: break;
    }
    char digits[72];
    OBJ_obj2txt(digits, sizeof digits, object, 1);
    snprintf(ret_oid, 80, "OID.%s", digits);
    return ret_oid;
}

/* A text that grows inside a fixed buffer; once full it is no text any more. */
struct text {
    char *at;
    size_t size, room;
    bool failed;
};

static void
text_octet(struct text *text, char octet)
{
    if (text->size + 1 >= text->room) {
        text->failed = true;
        return;
    }
    text->at[text->size++] = octet;
    text->at[text->size] = '\0';
}

static void
text_add(struct text *text, const char *more)
{
    for (; *more; more++)
        text_octet(text, *more);
}

/* Quoted where X.500 texts must be, quotes doubled. */
static void
text_value(struct text *text, const char *value)
{
    size_t size = strlen(value);
    bool is_quoted = strpbrk(value, ",+=\"\r\n<>#;") || size == 0 || value[0] == ' ' ||
                     value[size - 1] == ' ';
    if (is_quoted)
        text_octet(text, '"');
    for (; *value; value++) {
        if (*value == '"')
            text_octet(text, '"');
        text_octet(text, *value);
    }
    if (is_quoted)
        text_octet(text, '"');
}

/* RDNs in the order of the encoding, as in the published example. */
static enum ca_status
name_format(const X509_NAME *name, struct text *text)
{
    int last = -1;
    for (int i = 0; i < X509_NAME_entry_count(name); i++) {
        const X509_NAME_ENTRY *entry = X509_NAME_get_entry(name, i);
        CA_AUTO(openssl_free) uint8_t *value = NULL;
        char oid[80];
        if (ASN1_STRING_to_UTF8(&value, X509_NAME_ENTRY_get_data(entry)) < 0)
            return ca_fail_openssl(CA_INTERNAL, "a subject without a text form");
        if (i > 0)
            text_add(text, X509_NAME_ENTRY_set(entry) == last ? "+" : ",");
        last = X509_NAME_ENTRY_set(entry);
        text_add(text, attribute_name(X509_NAME_ENTRY_get_object(entry), oid));
        text_add(text, "=");
        text_value(text, (const char *)value);
    }
    return text->failed
               ? ca_fail(CA_LIMIT, "a subject of more than %d octets", NAME_TEXT_MAX)
               : CA_OK;
}

/* "Subject=<percent-encoded name>&Stores=My%5CUser" */
static enum ca_status
search_criteria(struct ca_request *req, const struct wstep_document *document,
                const X509_NAME *subject, const char **ret_text)
{
    char name[NAME_TEXT_MAX + 1];
    struct text plain = { .at = name, .room = sizeof name };
    size_t room = 3 * sizeof name + 64;
    struct text criteria = { .at = ca_request_alloc(req, room), .room = room };
    if (!criteria.at)
        return ca_fail(CA_INTERNAL, "no memory for a document");
    name[0] = '\0';
    enum ca_status status = name_format(subject, &plain);
    if (status != CA_OK)
        return status;
    text_add(&criteria, "Subject=");
    for (const char *c = name; *c; c++) {
        char escape[4];
        bool is_plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                        (*c >= '0' && *c <= '9') || strchr("-._~", *c);
        if (is_plain) {
            text_octet(&criteria, *c);
            continue;
        }
        snprintf(escape, sizeof escape, "%%%02x", (unsigned)(uint8_t)*c);
        text_add(&criteria, escape);
    }
    text_add(&criteria, "&Stores=My%5C");
    text_add(&criteria, place_of(document));
    *ret_text = criteria.at;
    return CA_OK;
}

/* ---- Accounts ---- */

/* A secret and a nonce for one direction, out of one keyed digest. */
static bool
derive(struct ca_request *req, const struct wstep_rst *rst, const char *use,
       const char **ret_secret, const char **ret_nonce)
{
    uint8_t octets[EVP_MAX_MD_SIZE] = { 0 };
    bool is_made = HMAC(EVP_sha512(), rst->digest, sizeof rst->digest,
                        (const uint8_t *)use, strlen(use), octets, NULL) != NULL;
    if (is_made) {
        *ret_secret = base64_encode(req, (struct ca_bytes){ octets, SECRET_SIZE });
        *ret_nonce =
            base64_encode(req, (struct ca_bytes){ octets + SECRET_SIZE, NONCE_SIZE });
    }
    OPENSSL_cleanse(octets, sizeof octets);
    return is_made && *ret_secret && *ret_nonce;
}

enum ca_status
wstep_account_make(struct ca_request *req, const struct wstep_rst *rst,
                   struct wstep_account *ret_account)
{
    struct wstep_account account = { 0 };
    if (!derive(req, rst, "APPSRV", &account.secret, &account.nonce) ||
        !derive(req, rst, "CLIENT", &account.server_secret, &account.server_nonce))
        return ca_fail(CA_INTERNAL, "cannot make an account's secrets");
    *ret_account = account;
    return CA_OK;
}

/* Both must be there ([MS-MDE2] 2.2.9.2), though mutual TLS is what authenticates. */
static void
put_credentials(struct xml_writer *writer, const struct wstep_document *document)
{
    const struct wstep_account *account = document->account;
    open_characteristic(writer, "APPAUTH");
    parm(writer, "AAUTHLEVEL", "CLIENT", NULL);
    parm(writer, "AAUTHTYPE", "DIGEST", NULL);
    parm(writer, "AAUTHSECRET", account->server_secret, NULL);
    parm(writer, "AAUTHDATA", account->server_nonce, NULL);
    xml_close(writer);
    open_characteristic(writer, "APPAUTH");
    parm(writer, "AAUTHLEVEL", "APPSRV", NULL);
    parm(writer, "AAUTHTYPE", "DIGEST", NULL);
    parm(writer, "AAUTHNAME", document->issued->device, NULL);
    parm(writer, "AAUTHSECRET", account->secret, NULL);
    parm(writer, "AAUTHDATA", account->nonce, NULL);
    xml_close(writer);
}

static const char *
url_of(struct ca_request *req, const struct wstep_document *document, const char *path)
{
    size_t size = strlen(document->base_url) + strlen(path) + 1;
    char *url = ca_request_alloc(req, size);
    if (url)
        snprintf(url, size, "%s%s", document->base_url, path);
    return url;
}

/* w7: names and values in upper case, in the order of the examples. */
static enum ca_status
put_application(struct ca_request *req, struct xml_writer *writer,
                const struct wstep_document *document, const X509_NAME *subject)
{
    const char *criteria = NULL;
    const char *address = url_of(req, document, document->settings->management);
    enum ca_status status = search_criteria(req, document, subject, &criteria);
    if (status == CA_OK && !address)
        status = ca_fail(CA_INTERNAL, "no memory for a document");
    if (status != CA_OK)
        return status;
    open_characteristic(writer, "APPLICATION");
    parm(writer, "APPID", "w7", NULL);
    parm(writer, "PROVIDER-ID", document->settings->provider_id, NULL);
    parm(writer, "NAME", document->settings->name, NULL);
    parm(writer, "ADDR", address, NULL);
    parm(writer, "CONNRETRYFREQ", "6", NULL);
    parm(writer, "INITIALBACKOFFTIME", "30000", NULL);
    parm(writer, "MAXBACKOFFTIME", "120000", NULL);
    parm(writer, "BACKCOMPATRETRYDISABLED", NULL, NULL);
    parm(writer, "DEFAULTENCODING", "application/vnd.syncml.dm+xml", NULL);
    parm(writer, "ROLE", "4294967295", NULL);
    parm(writer, "SSLCLIENTCERTSEARCHCRITERIA", criteria, NULL);
    put_credentials(writer, document);
    xml_close(writer);
    return CA_OK;
}

/* The schedule: eight times each quarter of an hour, then each three minutes, then a
 * day and two hours apart for ever, and at log-in. */
static void
put_poll(struct xml_writer *writer)
{
    open_characteristic(writer, "Poll");
    parm_integer(writer, "NumberOfFirstRetries", 8);
    parm_integer(writer, "IntervalForFirstSetOfRetries", 15);
    parm_integer(writer, "NumberOfSecondRetries", 5);
    parm_integer(writer, "IntervalForSecondSetOfRetries", 3);
    parm_integer(writer, "NumberOfRemainingScheduledRetries", 0);
    parm_integer(writer, "IntervalForRemainingScheduledRetries", 1560);
    parm(writer, "PollOnLogin", "true", "boolean");
    xml_close(writer);
}

/* EntDMID must be there before a renewal can succeed. */
static void
put_client(struct xml_writer *writer, const struct wstep_document *document)
{
    const struct ca_issued *issued = document->issued;
    const char *name = document->device_name;
    open_characteristic(writer, "DMClient");
    open_characteristic(writer, "Provider");
    open_characteristic(writer, document->settings->provider_id);
    parm(writer, "EntDeviceName", name && *name ? name : issued->device, "string");
    parm(writer, "EntDMID", issued->device, "string");
    parm(writer, "UPN", issued->user, "string");
    put_poll(writer);
    close_many(writer, 3);
}

static void
begin(struct xml_writer *writer, bool declare)
{
    xml_begin(writer, declare);
    xml_open(writer, "wap-provisioningdoc");
    xml_set(writer, "version", "1.1");
    open_characteristic(writer, "CertificateStore");
}

enum ca_status
wstep_document_write(struct ca_request *req, const struct wstep_document *document,
                     struct ca_bytes *ret_octets)
{
    CA_AUTO(xml_clear) struct xml_writer writer = { 0 };
    CA_AUTO(own_clear) struct own own = { 0 };
    const char *url = url_of(req, document, WSTEP_PATH);
    if (!url)
        return ca_fail(CA_INTERNAL, "no memory for a document");
    begin(&writer, true);
    enum ca_status status = put_chain(req, &writer, document->chain);
    if (status == CA_OK)
        status = own_read(req, document->issued->der, &own);
    if (status != CA_OK)
        return status;
    open_certificate(&writer, "My", place_of(document), &own.shown);
    xml_close(&writer);
    open_characteristic(&writer, "PrivateKeyContainer");
    close_many(&writer, 2);
    put_renewal(&writer, document, &own, url);
    close_many(&writer, 2);
    status = put_application(req, &writer, document, own.subject);
    if (status != CA_OK)
        return status;
    put_client(&writer, document);
    xml_close(&writer);
    return xml_finish(&writer, req, ret_octets);
}

enum ca_status
wstep_document_renew(struct ca_request *req, const struct wstep_document *document,
                     struct ca_bytes *ret_octets)
{
    CA_AUTO(xml_clear) struct xml_writer writer = { 0 };
    struct shown own;
    begin(&writer, true);
    /* The device lacks what has rolled over since; what it has does no harm. */
    enum ca_status status = put_chain(req, &writer, document->chain);
    if (status == CA_OK)
        status = show_der(req, document->issued->der, &own);
    if (status != CA_OK)
        return status;
    open_certificate(&writer, "My", place_of(document), &own);
    open_characteristic(&writer, "PrivateKeyContainer");
    close_many(&writer, 5);
    open_characteristic(&writer, "APPLICATION");
    parm(&writer, "PROVIDER-ID", document->settings->provider_id, NULL);
    close_many(&writer, 2);
    return xml_finish(&writer, req, ret_octets);
}
