/* Administrators: at least one enabled administrator remains (SECURITY A6). */
#include "admin.h"
#include <stdio.h>
#include <string.h>

#define SHA256_TEXT 64

const char *const admin_role_words[] = {
    [ROLE_ADMINISTRATOR] = "administrator",
    [ROLE_OPERATOR] = "operator",
    [ROLE_APPROVER] = "approver",
    [ROLE_AUDITOR] = "auditor",
    [ROLE_AUDITOR + 1] = NULL,
};

static bool
roles_check(const void *member, char *ret_reason, size_t size)
{
    if (*(const unsigned *)member != 0)
        return true;
    snprintf(ret_reason, size, "must have one role at least");
    return false;
}

static bool
sha256_check(const void *member, char *ret_reason, size_t size)
{
    const char *text = *(char *const *)member;
    if (!text || (strlen(text) == SHA256_TEXT &&
                  strspn(text, "0123456789abcdef") == SHA256_TEXT))
        return true;
    snprintf(ret_reason, size, "must be 64 lower-case hex digits");
    return false;
}

const struct field admin_fields[] = {
    { FIELD(admin, name), .type = FIELD_TEXT, .flags = FIELD_REQUIRED | FIELD_NAME,
      .help = "Name of the administrator." },
    { FIELD(admin, roles), .type = FIELD_CHOICES, .flags = FIELD_REQUIRED,
      .words = admin_role_words, .check = roles_check, .help = "What it may do." },
    { FIELD(admin, certificate_sha256), .type = FIELD_TEXT, .max = SHA256_TEXT,
      .check = sha256_check,
      .help = "SHA-256 of the client certificate that logs it in, hex." },
    { FIELD(admin, disabled), .type = FIELD_BOOLEAN,
      .help = "May it not log in at present?" },
    RECORD_STAMP_FIELDS(admin),
    FIELD_END,
};

static const struct record_column admin_columns[] = {
    RECORD_COLUMN(admin, TEXT, name),
    RECORD_COLUMN(admin, CHOICES, roles),
    RECORD_COLUMN(admin, TEXT, certificate_sha256),
    RECORD_COLUMN(admin, BOOLEAN, disabled),
    RECORD_STAMP_COLUMNS(admin),
    { .type = RECORD_COLUMN_END },
};

#define ADMIN_SELECT                                                                   \
    "SELECT name, roles, certificate_sha256, disabled, created, updated, version"      \
    " FROM admin"

/* Does another enabled administrator remain beside $1? */
#define ANOTHER_REMAINS                                                                \
    "EXISTS (SELECT 1 FROM admin AS other WHERE other.name <> $1"                      \
    " AND other.disabled = 0 AND (other.roles & 1) = 1)"

enum ca_status
admin_load(struct store_tx *tx, const char *name, struct admin *ret_admin)
{
    static const struct record_select select = { admin_columns, sizeof(struct admin),
                                                 ADMIN_SELECT " WHERE name = $1" };
    enum ca_status status =
        record_load(tx, &select, STORE_VALUES(store_text(name)), ret_admin);
    return status == CA_NOT_FOUND ? ca_fail(status, "no admin '%s'", name) : status;
}

enum ca_status
admin_list(struct store_tx *tx, const struct record_page *page, record_visit visit,
           void *arg)
{
    static const struct record_select select = {
        admin_columns, sizeof(struct admin),
        ADMIN_SELECT " WHERE name > $1 ORDER BY name LIMIT $2"
    };
    return record_list(tx, &select,
                       STORE_VALUES(store_text(record_page_after(page)),
                                    store_integer(record_page_limit(page))),
                       visit, arg);
}

enum ca_status
admin_insert(struct store_tx *tx, struct admin *admin)
{
    struct record_stamp stamp = { 0 };
    record_stamp_first(&stamp);
    enum ca_status status = record_change(
        tx,
        "INSERT INTO admin"
        " (name, roles, certificate_sha256, disabled, created, updated, version)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING name",
        STORE_VALUES(store_text(admin->name), store_integer(admin->roles),
                     store_text(admin->certificate_sha256),
                     store_integer(admin->disabled), store_integer(stamp.created),
                     store_integer(stamp.updated), store_integer(stamp.version)));
    if (status == CA_CONFLICT)
        return ca_fail(CA_CONFLICT,
                       "admin '%s' exists, or its certificate is another's",
                       admin->name);
    if (status == CA_OK)
        admin->stamp = stamp;
    return status;
}

/* Why a change of the admin did not take place. */
static enum ca_status
admin_refusal(struct store_tx *tx, const char *name, int64_t version)
{
    struct admin found = { 0 };
    enum ca_status status = admin_load(tx, name, &found);
    if (status != CA_OK)
        return status;
    int64_t found_version = found.stamp.version;
    admin_clear(&found);
    if (found_version != version)
        return ca_fail(CA_CONFLICT, "admin '%s' changed since it was read", name);
    return ca_fail(CA_CONFLICT, "admin '%s' is the last enabled administrator", name);
}

enum ca_status
admin_update(struct store_tx *tx, struct admin *admin)
{
    struct record_stamp stamp = admin->stamp;
    record_stamp_next(&stamp);
    int64_t rows = 0;
    enum ca_status status = store_run(
        tx,
        "UPDATE admin SET roles = $2, certificate_sha256 = $3, disabled = $4,"
        " updated = $5, version = $6 WHERE name = $1 AND version = $7"
        " AND (disabled = 1 OR (roles & 1) = 0 OR $8 = 1 OR " ANOTHER_REMAINS ")"
        " RETURNING name",
        STORE_VALUES(store_text(admin->name), store_integer(admin->roles),
                     store_text(admin->certificate_sha256),
                     store_integer(admin->disabled), store_integer(stamp.updated),
                     store_integer(stamp.version), store_integer(admin->stamp.version),
                     store_integer(!admin->disabled &&
                                   (admin->roles & 1u << ROLE_ADMINISTRATOR))),
        NULL, NULL, &rows);
    if (status != CA_OK)
        return status;
    if (rows == 0)
        return admin_refusal(tx, admin->name, admin->stamp.version);
    admin->stamp = stamp;
    return CA_OK;
}

enum ca_status
admin_delete(struct store_tx *tx, const char *name, int64_t version)
{
    int64_t rows = 0;
    enum ca_status status = store_run(
        tx,
        "DELETE FROM admin WHERE name = $1 AND version = $2"
        " AND (disabled = 1 OR (roles & 1) = 0 OR " ANOTHER_REMAINS ") RETURNING name",
        STORE_VALUES(store_text(name), store_integer(version)), NULL, NULL, &rows);
    return status == CA_OK && rows == 0 ? admin_refusal(tx, name, version) : status;
}

enum ca_status
admin_of_certificate(struct store_tx *tx, const uint8_t sha256[32],
                     struct admin *ret_admin)
{
    static const struct record_select select = {
        admin_columns, sizeof(struct admin),
        ADMIN_SELECT " WHERE certificate_sha256 = $1 AND disabled = 0"
    };
    char text[SHA256_TEXT + 1];
    hex_format(sha256, 32, text);
    enum ca_status status =
        record_load(tx, &select, STORE_VALUES(store_text(text)), ret_admin);
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_UNAUTHENTICATED, "no enabled admin has the certificate %s",
                       text);
    return status;
}

void
admin_clear(struct admin *admin)
{
    record_clear(admin_columns, admin);
}
