/* Certificate revocation lists (RFC 5280 section 5): rows of the store become DER one
 * by one, with no object for each. */
#include "crl.h"
#include "certificate.h"
#include "clock.h"
#include "der.h"
#include "tbs.h"
#include "tbs_extension.h"
#include <string.h>

#define CA_BUFFER CA_AUTO(text_buffer_clear) struct text_buffer
#define SERIAL_SIZE_MAX 20

#define OID_CRL_NUMBER "2.5.29.20"
#define OID_REASON_CODE "2.5.29.21"
#define OID_INVALIDITY_DATE "2.5.29.24"
#define OID_ISSUING_DISTRIBUTION_POINT "2.5.29.28"

/* One run: what it is for, and what it has so far. */
struct build {
    const struct issuer *issuer;
    struct authority_crl crl;
    int64_t since; /* rows that expired before it have been on a CRL after their end */
    struct text_buffer entries;
};

static void
build_clear_auto(struct build *build)
{
    text_buffer_clear(&build->entries);
    OPENSSL_free(build->crl.der);
}

/* ---- Rows ---- */

static bool
append_serial(struct text_buffer *buffer, const char *hex)
{
    uint8_t octets[SERIAL_SIZE_MAX];
    size_t size = strlen(hex) / 2;
    if (size == 0 || size > sizeof octets || !hex_parse(hex, octets, size))
        return false;
    der_integer(buffer, octets, size);
    return true;
}

/* reasonCode is left out when it is unspecified (section 5.3.1). */
static void
append_reason(struct text_buffer *list, const char *word)
{
    int code;
    if (!word || !certificate_reason_parse(word, &code) ||
        code == CERTIFICATE_UNSPECIFIED || code == CERTIFICATE_REMOVE_FROM_CRL)
        return;
    CA_BUFFER value = { 0 };
    der_number(&value, DER_ENUMERATED, (uint64_t)code);
    extension_wrap(list, OID_REASON_CODE, false, &value);
}

/* invalidityDate is GeneralizedTime whatever the year (section 5.3.2). */
static void
append_invalidity(struct text_buffer *list, int64_t seconds)
{
    char text[21], compact[16];
    if (seconds <= 0)
        return;
    time_format(seconds, text); /* "2026-11-22T10:00:00Z" */
    snprintf(compact, sizeof compact, "%.4s%.2s%.2s%.2s%.2s%.2sZ", text, text + 5,
             text + 8, text + 11, text + 14, text + 17);
    CA_BUFFER value = { 0 };
    der_append(&value, DER_GENERALIZED_TIME, compact, strlen(compact));
    extension_wrap(list, OID_INVALIDITY_DATE, false, &value);
}

static enum ca_status
visit_revoked(const void *record, void *arg)
{
    const struct certificate *certificate = record;
    struct build *build = arg;
    CA_BUFFER entry = { 0 };
    CA_BUFFER list = { 0 };
    if (!append_serial(&entry, certificate->serial))
        return ca_fail(CA_INTERNAL, "serial '%s' cannot be on a CRL",
                       certificate->serial);
    der_time(&entry, certificate->revoked_at);
    append_reason(&list, certificate->reason);
    append_invalidity(&list, certificate->invalidity_date);
    if (list.size > 0)
        der_wrap(&entry, DER_SEQUENCE, &list);
    der_wrap(&build->entries, DER_SEQUENCE, &entry);
    return build->entries.failed ? ca_fail(CA_INTERNAL, "no memory for a CRL") : CA_OK;
}

static enum ca_status
read_rows(struct store_tx *tx, void *arg)
{
    struct build *build = arg;
    text_buffer_clear(&build->entries);
    return certificate_revoked(tx, build->issuer->name, build->since, visit_revoked,
                               build);
}

/* ---- TBSCertList ---- */

/* distributionPoint { fullName { URI } }, critical (section 5.2.5): a CRL of another
 * place must not stand in for this one. */
static void
append_distribution_point(struct text_buffer *list, const char *url)
{
    CA_BUFFER point = { 0 };
    extension_point(&point, url);
    extension_wrap(list, OID_ISSUING_DISTRIBUTION_POINT, true, &point);
}

static enum ca_status
append_extensions(struct text_buffer *content, const struct build *build,
                  const char *url)
{
    CA_BUFFER list = { 0 };
    CA_BUFFER value = { 0 };
    enum ca_status status =
        extension_authority_key_id(&list, build->issuer->certificate);
    if (status != CA_OK)
        return status;
    der_number(&value, DER_INTEGER, (uint64_t)build->crl.number);
    extension_wrap(&list, OID_CRL_NUMBER, false, &value);
    if (url)
        append_distribution_point(&list, url);
    der_wrap(&value, DER_SEQUENCE, &list);
    der_wrap(content, DER_CONTEXT_SET(0), &value);
    return CA_OK;
}

static enum ca_status
append_issuer(struct text_buffer *content, const X509 *issuer)
{
    const unsigned char *der;
    size_t size;
    if (!X509_NAME_get0_der(X509_get_subject_name(issuer), &der, &size))
        return ca_fail_openssl(CA_INTERNAL, "cannot encode an issuer's name");
    text_append(content, der, size);
    return CA_OK;
}

static enum ca_status
assemble(struct build *build, const char *url, struct text_buffer *ret_tbs)
{
    const X509 *issuer = build->issuer->certificate;
    CA_BUFFER content = { 0 };
    der_number(&content, DER_INTEGER, 1);
    enum ca_status status = tbs_append_algorithm(&content, X509_get0_pubkey(issuer));
    if (status == CA_OK)
        status = append_issuer(&content, issuer);
    der_time(&content, build->crl.this_update);
    der_time(&content, build->crl.next_update);
    if (build->entries.size > 0)
        der_wrap(&content, DER_SEQUENCE, &build->entries);
    if (status == CA_OK)
        status = append_extensions(&content, build, url);
    if (status != CA_OK)
        return status;
    der_wrap(ret_tbs, DER_SEQUENCE, &content);
    return ret_tbs->failed ? ca_fail(CA_INTERNAL, "no memory for a CRL") : CA_OK;
}

/* ---- Store ---- */

/* The number, and since when rows must stay on (SECURITY V2): one that expired after
 * the last CRL was made has not been on any CRL after its end. */
static enum ca_status
draw_number(struct store_tx *tx, void *arg)
{
    struct build *build = arg;
    struct authority_crl last = { 0 };
    enum ca_status status = authority_crl_load(tx, build->issuer->name, false, &last);
    build->since = status == CA_OK ? last.this_update : 0;
    authority_crl_clear(&last);
    if (status != CA_OK && status != CA_NOT_FOUND)
        return status;
    return authority_crl_draw(tx, build->issuer->name, &build->crl.number,
                              &build->crl.built_revision);
}

static enum ca_status
save(struct store_tx *tx, void *arg)
{
    const struct build *build = arg;
    return authority_crl_save(tx, build->issuer->name, &build->crl);
}

static enum ca_status
sign(struct build *build, const char *url)
{
    CA_BUFFER tbs = { 0 };
    enum ca_status status = assemble(build, url, &tbs);
    if (status != CA_OK)
        return status;
    uint8_t *der = NULL;
    status = issuer_sign(build->issuer, (const uint8_t *)tbs.data, tbs.size, &der,
                         &build->crl.der_size);
    build->crl.der = der;
    return status;
}

enum ca_status
crl_build(struct store *store, const struct issuer *issuer, const char *url)
{
    CA_AUTO(build_clear) struct build build = { .issuer = issuer };
    if (issuer->crl_lifetime < 1)
        return ca_fail(CA_INTERNAL, "issuer '%s' has no CRL lifetime", issuer->name);
    enum ca_status status = store_write(store, draw_number, &build);
    if (status == CA_OK) {
        build.crl.this_update = clock_now();
        build.crl.next_update = build.crl.this_update + issuer->crl_lifetime;
        status = store_read(store, read_rows, &build);
    }
    if (status == CA_OK)
        status = sign(&build, url);
    if (status == CA_OK)
        status = store_write(store, save, &build);
    /* Another instance was later and faster: its list is the newer one. */
    return status == CA_CONFLICT ? CA_OK : status;
}

struct question {
    const char *issuer;
    struct authority_crl crl;
};

static enum ca_status
read_crl(struct store_tx *tx, void *arg)
{
    struct question *question = arg;
    return authority_crl_load(tx, question->issuer, false, &question->crl);
}

enum ca_status
crl_is_due(struct store *store, const struct issuer *issuer, bool *ret_due)
{
    struct question question = { .issuer = issuer->name };
    enum ca_status status = store_read(store, read_crl, &question);
    if (status != CA_OK && status != CA_NOT_FOUND)
        return status;
    /* An overlap as long as the lifetime would make every run a build. */
    int64_t overlap = issuer->crl_overlap < issuer->crl_lifetime / 2
                          ? issuer->crl_overlap
                          : issuer->crl_lifetime / 2;
    *ret_due = status == CA_NOT_FOUND ||
               question.crl.built_revision != question.crl.revision ||
               clock_now() >= question.crl.next_update - overlap;
    authority_crl_clear(&question.crl);
    return CA_OK;
}
