/* The issuers as the store keeps them. */
#include "authority.h"
#include "auto.h"
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#define KEY_URI_MAX 1024
#define CHAIN_MAX 65536
#define CRL_LIFETIME_MIN 600
#define CRL_LIFETIME_MAX (400LL * 86400)

static const char *const state_words[] = { "active", "standby", "retired", NULL };

/* A PKCS#11 URI (RFC 7512) that carries no PIN (SECURITY I5). */
static bool
key_check(const void *member, char *ret_reason, size_t size)
{
    const char *key = *(char *const *)member;
    if (!key)
        return true;
    if (strncmp(key, "pkcs11:", 7) != 0)
        snprintf(ret_reason, size, "must be a pkcs11: URI");
    else if (strchr(key, '?') || strcasestr(key, ";pin-") || strcasestr(key, ":pin-"))
        snprintf(ret_reason, size, "must have no query and no PIN");
    else
        return true;
    return false;
}

static const struct field crl_fields[] = {
    { .name = "lifetime_seconds",
      .type = FIELD_INTEGER,
      .min = CRL_LIFETIME_MIN,
      .max = CRL_LIFETIME_MAX,
      .initial = "604800",
      .offset = offsetof(struct authority, crl.lifetime_seconds) -
                offsetof(struct authority, crl),
      .help = "From thisUpdate to nextUpdate of a CRL." },
    { .name = "overlap_seconds",
      .type = FIELD_INTEGER,
      .min = 60,
      .max = CRL_LIFETIME_MAX,
      .initial = "86400",
      .offset = offsetof(struct authority, crl.overlap_seconds) -
                offsetof(struct authority, crl),
      .help = "How long before nextUpdate the next CRL is made." },
    FIELD_END,
};

const struct field authority_fields[] = {
    { FIELD(authority, name), .type = FIELD_TEXT, .flags = FIELD_REQUIRED | FIELD_NAME,
      .help = "Name of the issuer." },
    { FIELD(authority, subject), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "Subject of its certificate (RFC 4514)." },
    { FIELD(authority, key), .type = FIELD_TEXT, .max = KEY_URI_MAX, .check = key_check,
      .help = "PKCS#11 URI of its key, without PIN; null when the key is elsewhere." },
    { FIELD(authority, standby_key), .type = FIELD_TEXT, .max = KEY_URI_MAX,
      .check = key_check,
      .help =
          "PKCS#11 URI of the same key in another token, which signs while the first "
          "is down." },
    { FIELD(authority, state), .type = FIELD_CHOICE, .words = state_words,
      .help = "active signs, standby takes over, retired only answers for what it "
              "signed." },
    { FIELD(authority, parent), .type = FIELD_TEXT, .flags = FIELD_NAME,
      .help = "Issuer that certified it; null: itself or one outside." },
    { FIELD(authority, next), .type = FIELD_TEXT, .flags = FIELD_NAME,
      .help = "Standby that takes over." },
    { FIELD(authority, chain), .type = FIELD_TEXT, .flags = FIELD_LINES,
      .max = CHAIN_MAX, .help = "PEM: its certificate first, up to the root." },
    { .name = "crl",
      .type = FIELD_OBJECT,
      .fields = crl_fields,
      .offset = offsetof(struct authority, crl),
      .item_size = sizeof((struct authority *)0)->crl,
      .help = "Its CRL." },
    RECORD_STAMP_FIELDS(authority),
    FIELD_END,
};

static const struct record_column authority_columns[] = {
    RECORD_COLUMN(authority, TEXT, name),
    RECORD_COLUMN(authority, TEXT, subject),
    RECORD_COLUMN(authority, TEXT, key),
    RECORD_COLUMN(authority, CHOICE, state),
    RECORD_COLUMN(authority, TEXT, parent),
    RECORD_COLUMN(authority, TEXT, next),
    RECORD_COLUMN(authority, TEXT, chain),
    RECORD_COLUMN(authority, INTEGER, crl.lifetime_seconds),
    RECORD_COLUMN(authority, INTEGER, crl.overlap_seconds),
    RECORD_COLUMN(authority, TEXT, standby_key),
    RECORD_STAMP_COLUMNS(authority),
    { .type = RECORD_COLUMN_END },
};

#define AUTHORITY_SELECT                                                               \
    "SELECT name, subject, key, state, parent, next, chain, crl_lifetime, "            \
    "crl_overlap,"                                                                     \
    " standby_key, created, updated, version FROM authority"

enum ca_status
authority_load(struct store_tx *tx, const char *name, struct authority *ret_authority)
{
    static const struct record_select select = { authority_columns,
                                                 sizeof(struct authority),
                                                 AUTHORITY_SELECT " WHERE name = $1" };
    enum ca_status status =
        record_load(tx, &select, STORE_VALUES(store_text(name)), ret_authority);
    return status == CA_NOT_FOUND ? ca_fail(status, "no issuer '%s'", name) : status;
}

enum ca_status
authority_list(struct store_tx *tx, const struct record_page *page, record_visit visit,
               void *arg)
{
    static const struct record_select select = {
        authority_columns, sizeof(struct authority),
        AUTHORITY_SELECT " WHERE name > $1 ORDER BY name LIMIT $2"
    };
    return record_list(tx, &select,
                       STORE_VALUES(store_text(record_page_after(page)),
                                    store_integer(record_page_limit(page))),
                       visit, arg);
}

/* The subject of the chain's first certificate; NULL without a chain. */
static enum ca_status
subject_of_chain(const char *chain, char **ret_subject)
{
    *ret_subject = NULL;
    if (!chain || !*chain)
        return CA_OK;
    CA_AUTO(BIO_free_all) BIO *text = BIO_new_mem_buf(chain, -1);
    CA_AUTO(X509_free)
    X509 *certificate = text ? PEM_read_bio_X509(text, NULL, NULL, NULL) : NULL;
    if (!certificate)
        return ca_fail_openssl(CA_MALFORMED, "the issuer's chain has no certificate");
    CA_AUTO(BIO_free_all) BIO *name = BIO_new(BIO_s_mem());
    /* RFC 4514 escapes, UTF-8 as it is. */
    unsigned long flags = XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB;
    if (!name ||
        X509_NAME_print_ex(name, X509_get_subject_name(certificate), 0, flags) < 0)
        return ca_fail_openssl(CA_INTERNAL, "the issuer's subject has no text");
    char *data = NULL;
    long size = BIO_get_mem_data(name, &data);
    *ret_subject = strndup(size > 0 ? data : "", (size_t)size);
    return *ret_subject ? CA_OK : ca_fail(CA_INTERNAL, "no memory for a subject");
}

static enum ca_status
authority_check(const struct authority *authority)
{
    if (authority->crl.overlap_seconds >= authority->crl.lifetime_seconds)
        return ca_fail(CA_MALFORMED,
                       "the CRL overlap of issuer '%s' is not below its lifetime",
                       authority->name);
    if (authority->standby_key && !authority->key)
        return ca_fail(CA_MALFORMED, "issuer '%s' has a standby key alone",
                       authority->name);
    if (authority->next && strcmp(authority->next, authority->name) == 0)
        return ca_fail(CA_MALFORMED, "issuer '%s' cannot take over from itself",
                       authority->name);
    return CA_OK;
}

/* Insert and update have the same values. On success
 * the record has the new stamp and its subject. */
static enum ca_status
authority_write(struct store_tx *tx, const char *sql, struct authority *authority,
                const struct record_stamp *stamp)
{
    CA_AUTO(free) char *subject = NULL;
    enum ca_status status = authority_check(authority);
    if (status == CA_OK)
        status = subject_of_chain(authority->chain, &subject);
    if (status != CA_OK)
        return status;
    status = record_change(
        tx, sql,
        STORE_VALUES(store_text(authority->name), store_text(subject),
                     store_text(authority->key), store_integer(authority->state),
                     store_text(authority->parent), store_text(authority->next),
                     store_text(authority->chain),
                     store_integer(authority->crl.lifetime_seconds),
                     store_integer(authority->crl.overlap_seconds),
                     store_integer(stamp->created), store_integer(stamp->updated),
                     store_integer(stamp->version),
                     store_text(authority->standby_key)));
    if (status != CA_OK)
        return status;
    free(authority->subject);
    authority->subject = CA_STEAL(subject);
    authority->stamp = *stamp;
    return CA_OK;
}

struct reading {
    const char *name;
    struct authority authority;
};

static enum ca_status
read_step(struct store_tx *tx, void *arg)
{
    struct reading *reading = arg;
    authority_clear(&reading->authority);
    return authority_load(tx, reading->name, &reading->authority);
}

enum ca_status
authority_read(struct store *store, const char *name, struct authority *ret_authority)
{
    struct reading reading = { .name = name };
    enum ca_status status = store_read(store, read_step, &reading);
    if (status == CA_OK)
        *ret_authority = reading.authority;
    else
        authority_clear(&reading.authority);
    return status;
}

enum ca_status
authority_insert(struct store_tx *tx, struct authority *authority)
{
    struct record_stamp stamp = { 0 };
    record_stamp_first(&stamp);
    enum ca_status status = authority_write(
        tx,
        "INSERT INTO authority (name, subject, key, state, parent, next, chain,"
        " crl_lifetime, crl_overlap, created, updated, version, standby_key)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
        " ON CONFLICT (name) DO NOTHING RETURNING name",
        authority, &stamp);
    if (status == CA_CONFLICT)
        return ca_fail(CA_CONFLICT, "issuer '%s' exists", authority->name);
    return status;
}

enum ca_status
authority_update(struct store_tx *tx, struct authority *authority)
{
    struct record_stamp stamp = authority->stamp;
    record_stamp_next(&stamp);
    enum ca_status status = authority_write(
        tx,
        "UPDATE authority SET subject = $2, key = $3, state = $4, parent = $5,"
        " next = $6, chain = $7, crl_lifetime = $8, crl_overlap = $9, created = $10,"
        " updated = $11, version = $12, standby_key = $13 WHERE name = $1 AND version "
        "= $12 - 1"
        " RETURNING name",
        authority, &stamp);
    if (status == CA_CONFLICT)
        return ca_fail(CA_CONFLICT, "issuer '%s' is gone, or changed since it was read",
                       authority->name);
    return status;
}

void
authority_clear(struct authority *authority)
{
    record_clear(authority_columns, authority);
}
