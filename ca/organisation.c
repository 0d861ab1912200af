/* The organisation: one row. */
#include "organisation.h"
#include "auto.h"
#include <stdio.h>
#include <string.h>

#define ONLY_ID 1
#define URL_MAX 512
#define DOMAIN_MAX 253 /* RFC 1035 section 2.3.4, as text */

/* Lower-case host name of two labels or more (RFC 1123 section 2.1). */
static bool
domain_is_good(const char *domain)
{
    size_t length = strlen(domain), label = 0;
    bool has_dot = false;
    if (length == 0 || length > DOMAIN_MAX)
        return false;
    for (const char *at = domain; *at; at++) {
        bool is_inner = at[1] != '\0' && at[1] != '.';
        if (*at == '.') {
            if (label == 0)
                return false;
            has_dot = true;
            label = 0;
            continue;
        }
        bool is_word = (*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9');
        if (!is_word && !(*at == '-' && label > 0 && is_inner))
            return false;
        if (++label > 63)
            return false;
    }
    return has_dot && label > 0;
}

static bool
domains_check(const void *member, char *ret_reason, size_t size)
{
    const struct field_list *list = member;
    char *const *domains = list->items;
    for (size_t i = 0; i < list->count; i++) {
        if (domain_is_good(domains[i]))
            continue;
        snprintf(ret_reason, size, "must be lower-case domains like example.com");
        return false;
    }
    return true;
}

/* Scheme, an authority that is not empty, no user, query, fragment or slash at the end:
 * links are made by appending a path (SECURITY W2). */
static bool
url_is_good(const char *url, const char *scheme)
{
    size_t length = strlen(scheme);
    if (strncmp(url, scheme, length) != 0)
        return false;
    const char *rest = url + length;
    size_t size = strlen(rest);
    for (const char *at = rest; *at; at++) {
        if (*at <= 0x20 || *at >= 0x7f || strchr("?#@\\\"<>", *at))
            return false;
    }
    return size > 0 && rest[0] != '/' && rest[0] != ':' && rest[size - 1] != '/';
}

static bool
base_url_check(const void *member, char *ret_reason, size_t size)
{
    if (url_is_good(*(char *const *)member, "https://"))
        return true;
    snprintf(ret_reason, size,
             "must be https://host[:port][/path] without a slash at "
             "the end");
    return false;
}

static bool
plain_url_check(const void *member, char *ret_reason, size_t size)
{
    if (url_is_good(*(char *const *)member, "http://"))
        return true;
    snprintf(ret_reason, size,
             "must be http://host[:port][/path] without a slash at "
             "the end");
    return false;
}

const struct field organisation_fields[] = {
    { FIELD(organisation, name), .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .min = 1,
      .max = 64, .help = "Name, as in the subject's O." },
    { FIELD(organisation, mail_domains), .type = FIELD_TEXTS, .check = domains_check,
      .help = "Mail domains of its users." },
    { FIELD(organisation, base_url), .type = FIELD_TEXT, .flags = FIELD_REQUIRED,
      .max = URL_MAX, .check = base_url_check,
      .help = "Where devices reach the service over TLS; all links begin with it." },
    { FIELD(organisation, plain_url), .type = FIELD_TEXT, .flags = FIELD_REQUIRED,
      .max = URL_MAX, .check = plain_url_check,
      .help = "Where SCEP, CRL and OCSP are reached over plain HTTP." },
    RECORD_STAMP_FIELDS(organisation),
    FIELD_END,
};

static const struct record_column organisation_columns[] = {
    RECORD_COLUMN(organisation, TEXT, name),
    RECORD_COLUMN(organisation, TEXTS, mail_domains),
    RECORD_COLUMN(organisation, TEXT, base_url),
    RECORD_COLUMN(organisation, TEXT, plain_url),
    RECORD_STAMP_COLUMNS(organisation),
    { .type = RECORD_COLUMN_END },
};

static const struct record_select organisation_select = {
    organisation_columns, sizeof(struct organisation),
    "SELECT name, mail_domains, base_url, plain_url, created, updated, version"
    " FROM organisation"
};

enum ca_status
organisation_load(struct store_tx *tx, struct organisation *ret_organisation)
{
    enum ca_status status =
        record_load(tx, &organisation_select, STORE_NO_VALUES, ret_organisation);
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_NOT_FOUND, "the organisation is not set up yet");
    return status;
}

/* First time and later differ in the statement and in its last value, `which`: the id
 * of the row, or its version. */
static enum ca_status
organisation_write(struct store_tx *tx, const char *sql,
                   const struct organisation *organisation, int64_t which)
{
    CA_AUTO(free) char *domains = record_texts_format(&organisation->mail_domains);
    if (!domains)
        return ca_fail(CA_INTERNAL, "no memory for the organisation");
    return record_change(
        tx, sql,
        STORE_VALUES(store_text(organisation->name), store_text(domains),
                     store_text(organisation->base_url),
                     store_text(organisation->plain_url),
                     store_integer(organisation->stamp.created),
                     store_integer(organisation->stamp.updated),
                     store_integer(organisation->stamp.version), store_integer(which)));
}

enum ca_status
organisation_save(struct store_tx *tx, struct organisation *organisation)
{
    struct organisation next = *organisation;
    bool is_first = next.stamp.version == 0;
    if (is_first)
        record_stamp_first(&next.stamp);
    else
        record_stamp_next(&next.stamp);
    enum ca_status status = organisation_write(
        tx,
        is_first
            ? "INSERT INTO organisation (id, name, mail_domains, base_url, plain_url,"
              " created, updated, version)"
              " VALUES ($8, $1, $2, $3, $4, $5, $6, $7)"
              " ON CONFLICT (id) DO NOTHING RETURNING id"
            : "UPDATE organisation SET name = $1, mail_domains = $2, base_url = $3,"
              " plain_url = $4, created = $5, updated = $6, version = $7"
              " WHERE version = $8 RETURNING id",
        &next, is_first ? ONLY_ID : organisation->stamp.version);
    if (status == CA_OK)
        organisation->stamp = next.stamp;
    return status;
}

void
organisation_clear(struct organisation *organisation)
{
    record_clear(organisation_columns, organisation);
}
