/* The inventory as lists: by filters for people, by serial for CRLs. */
#include "auto.h"
#include "certificate.h"
#include "clock.h"
#include "query.h"
#include <string.h>

#define CERTIFICATE_QUERY_MAX 256

static const char *const state_words[] = { "intent",  "issued",    "revoked",
                                           "expired", "abandoned", NULL };

const struct field certificate_fields[] = {
    { FIELD(certificate, serial), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "Serial number, lower-case hex." },
    { FIELD(certificate, issuer), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "Name of the issuer that signed it." },
    { FIELD(certificate, subject), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "Its subject." },
    { FIELD(certificate, san), .type = FIELD_TEXTS, .flags = FIELD_READ_ONLY,
      .help = "Its subject alternative names (\"dns:a.example.com\")." },
    { FIELD(certificate, not_before), .type = FIELD_TIME, .flags = FIELD_READ_ONLY,
      .help = "Valid from." },
    { FIELD(certificate, not_after), .type = FIELD_TIME, .flags = FIELD_READ_ONLY,
      .help = "Valid to, this second included." },
    { FIELD(certificate, state), .type = FIELD_CHOICE, .words = state_words,
      .flags = FIELD_READ_ONLY,
      .help = "An intent is being signed; an abandoned one never was." },
    { FIELD(certificate, profile), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "The certificate profile it was issued by." },
    { FIELD(certificate, user), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "The user it was issued for." },
    { FIELD(certificate, device), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "Id of the device that holds it." },
    { FIELD(certificate, protocol), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "The protocol over which it was issued." },
    { FIELD(certificate, spki_sha256), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "SHA-256 of its SubjectPublicKeyInfo, hex." },
    { FIELD(certificate, reason), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "Why it was revoked; null while it is not." },
    { FIELD(certificate, revoked_at), .type = FIELD_TIME, .flags = FIELD_READ_ONLY,
      .help = "When it was revoked." },
    { FIELD(certificate, invalidity_date), .type = FIELD_TIME, .flags = FIELD_READ_ONLY,
      .help = "Since when its key is not to be trusted, where that is known." },
    RECORD_STAMP_FIELDS(certificate),
    FIELD_END,
};

/* Everything but the DER. */
static const struct record_column list_columns[] = {
    RECORD_COLUMN(certificate, TEXT, serial),
    RECORD_COLUMN(certificate, TEXT, issuer),
    RECORD_COLUMN(certificate, TEXT, subject),
    RECORD_COLUMN(certificate, TEXTS, san),
    RECORD_COLUMN(certificate, INTEGER, not_before),
    RECORD_COLUMN(certificate, INTEGER, not_after),
    RECORD_COLUMN(certificate, CHOICE, state),
    RECORD_COLUMN(certificate, TEXT, profile),
    RECORD_COLUMN(certificate, TEXT, user),
    RECORD_COLUMN(certificate, TEXT, device),
    RECORD_COLUMN(certificate, TEXT, protocol),
    RECORD_COLUMN(certificate, TEXT, spki_sha256),
    RECORD_COLUMN(certificate, TEXT, reason),
    RECORD_COLUMN(certificate, INTEGER, revoked_at),
    RECORD_COLUMN(certificate, INTEGER, invalidity_date),
    RECORD_STAMP_COLUMNS(certificate),
    { .type = RECORD_COLUMN_END },
};

static const struct record_select list_select = {
    list_columns, sizeof(struct certificate),
    "SELECT serial, issuer, subject, san, not_before, not_after, state, profile, "
    "user_name, device_id, protocol, spki_sha256, reason, revoked_at, "
    "invalidity_date, created, updated, version FROM certificate"
};

struct certificate_visit {
    int64_t now;
    record_visit visit;
    void *arg;
};

static enum ca_status
visit_now(const void *record, void *arg)
{
    const struct certificate_visit *list = arg;
    struct certificate certificate = *(const struct certificate *)record;
    if (certificate.state == CERTIFICATE_ISSUED && certificate.not_after < list->now)
        certificate.state = CERTIFICATE_EXPIRED;
    return list->visit(&certificate, list->arg);
}

static enum ca_status
where_state(struct query *query, const char *word, int64_t now)
{
    int state = 0;
    enum ca_status status =
        word_parse(state_words, "state of a certificate", word, &state);
    if (status != CA_OK)
        return status;
    if (state == CERTIFICATE_EXPIRED)
        query_where(query, "state = 1 AND not_after < ?", store_integer(now));
    else if (state == CERTIFICATE_ISSUED)
        query_where(query, "state = 1 AND not_after >= ?", store_integer(now));
    else
        query_where(query, "state = ?", store_integer(state));
    return CA_OK;
}

/* `folded` holds the lower-case text until the query ran. */
static enum ca_status
where_text(struct query *query, const char *q, char folded[CERTIFICATE_QUERY_MAX])
{
    size_t length = strlen(q);
    if (length == 0)
        return CA_OK;
    if (length >= CERTIFICATE_QUERY_MAX)
        return ca_fail(CA_MALFORMED, "search text of %zu octets, at most %d", length,
                       CERTIFICATE_QUERY_MAX - 1);
    for (size_t i = 0; i <= length; i++)
        folded[i] = (char)(q[i] >= 'A' && q[i] <= 'Z' ? q[i] - 'A' + 'a' : q[i]);
    /* Without LIKE nothing in the text is a wild card. */
    query_where(query,
                "(substr(serial, 1, length(?)) = ? OR "
                "replace(lower(subject), ?, '') <> lower(subject))",
                store_text(folded));
    return CA_OK;
}

enum ca_status
certificate_list(struct store_tx *tx, const struct certificate_filter *filter,
                 const struct record_page *page, record_visit visit, void *arg)
{
    struct query query;
    struct certificate_visit list = { clock_now(), visit, arg };
    char folded[CERTIFICATE_QUERY_MAX];
    enum ca_status status = CA_OK;
    query_begin(&query, list_select.sql);
    if (filter) {
        query_where_text(&query, "user_name = ?", filter->user);
        query_where_text(&query, "device_id = ?", filter->device);
        query_where_text(&query, "profile = ?", filter->profile);
        query_where_text(&query, "issuer = ?", filter->issuer);
        query_where_text(&query, "protocol = ?", filter->protocol);
        query_where_text(&query, "spki_sha256 = ?", filter->spki_sha256);
        if (filter->expires_before)
            query_where(&query, "not_after < ?", store_integer(filter->expires_before));
        if (filter->state)
            status = where_state(&query, filter->state, list.now);
        if (status == CA_OK && filter->q)
            status = where_text(&query, filter->q, folded);
    }
    if (status != CA_OK)
        return status;
    query_page(&query, "serial", page);
    return query_list(&query, tx, &list_select, visit_now, &list);
}

enum ca_status
certificate_revoked(struct store_tx *tx, const char *issuer, int64_t since,
                    record_visit visit, void *arg)
{
    static const struct record_column columns[] = {
        RECORD_COLUMN(certificate, TEXT, serial),
        RECORD_COLUMN(certificate, TEXT, reason),
        RECORD_COLUMN(certificate, INTEGER, revoked_at),
        RECORD_COLUMN(certificate, INTEGER, invalidity_date),
        { .type = RECORD_COLUMN_END },
    };
    static const struct record_select select = {
        columns, sizeof(struct certificate),
        "SELECT serial, reason, revoked_at, invalidity_date FROM certificate "
        "WHERE state = 2 AND issuer = $1 AND not_after >= $2 ORDER BY serial"
    };
    return record_list(tx, &select,
                       STORE_VALUES(store_text(issuer), store_integer(since)), visit,
                       arg);
}
