/* Profiles in the store: settings as one JSON column, every version kept. */
#include "profile.h"
#include "auto.h"
#include "clock.h"
#include "query.h"
#include <string.h>

#define PROFILE_COLUMNS "kind, name, description, settings, created, updated, version"

/* A profile as its row has it. */
struct profile_row {
    char *kind, *name, *description;
    json_t *settings;
    struct record_stamp stamp;
};

static const struct record_column row_columns[] = {
    RECORD_COLUMN(profile_row, TEXT, kind),
    RECORD_COLUMN(profile_row, TEXT, name),
    RECORD_COLUMN(profile_row, TEXT, description),
    RECORD_COLUMN(profile_row, JSON, settings),
    RECORD_STAMP_COLUMNS(profile_row),
    { .type = RECORD_COLUMN_END },
};

static const struct record_select row_select = {
    row_columns, sizeof(struct profile_row),
    "SELECT " PROFILE_COLUMNS " FROM profile WHERE kind = $1 AND name = $2"
};

/* Where a kind's settings are in the record's table. */
static const struct field *
settings_field(enum profile_kind kind)
{
    const struct field *field = profile_fields(kind);
    while (strcmp(field->name, "settings") != 0)
        field++;
    return field;
}

/* The row's settings by the kind's table: what a newer member lacks takes its default,
 * so that a new field needs no migration. */
static enum ca_status
row_decode(const struct profile_row *row, struct profile *ret_profile)
{
    enum profile_kind kind;
    if (!profile_kind_parse(row->kind, &kind))
        return ca_fail(CA_INTERNAL, "profile '%s' is of an unknown kind", row->name);
    struct profile profile = { .kind = (int)kind, .stamp = row->stamp };
    const struct field *settings = settings_field(kind);
    enum ca_status status = field_decode(settings->fields, row->settings,
                                         (char *)&profile + settings->offset, NULL);
    if (status != CA_OK)
        return ca_fail(CA_INTERNAL, "profile '%s/%s' of the store: %s", row->kind,
                       row->name, status_message());
    profile.name = strdup(row->name);
    profile.description = row->description ? strdup(row->description) : NULL;
    if (!profile.name || (row->description && !profile.description)) {
        profile_clear(&profile);
        return ca_fail(CA_INTERNAL, "no memory for profile '%s'", row->name);
    }
    *ret_profile = profile;
    return CA_OK;
}

enum ca_status
profile_load(struct store_tx *tx, enum profile_kind kind, const char *name,
             struct profile *ret_profile)
{
    struct profile_row row = { 0 };
    const char *word = profile_kind_words[kind];
    enum ca_status status = record_load(
        tx, &row_select, STORE_VALUES(store_text(word), store_text(name)), &row);
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_NOT_FOUND, "no profile '%s/%s'", word, name);
    if (status != CA_OK)
        return status;
    status = row_decode(&row, ret_profile);
    record_clear(row_columns, &row);
    return status;
}

static char *
settings_format(const struct profile *profile)
{
    const struct field *settings = settings_field((enum profile_kind)profile->kind);
    CA_AUTO(json_decref)
    json_t *json =
        field_encode(settings->fields, (const char *)profile + settings->offset);
    return record_json_format(json);
}

/* The certificate profile that another profile names; NULL where none is named. */
static const char *
certificate_of(const struct profile *profile)
{
    if (profile->kind == PROFILE_ACTIVATION)
        return profile->settings.activation.certificate;
    return profile->kind == PROFILE_SCEP ? profile->settings.scep.certificate : NULL;
}

/* Keeps what the row now is as a version of its own. */
static enum ca_status
version_keep(struct store_tx *tx, const struct profile *profile)
{
    return store_run(tx,
                     "INSERT INTO profile_version (" PROFILE_COLUMNS ") "
                     "SELECT " PROFILE_COLUMNS " FROM profile "
                     "WHERE kind = $1 AND name = $2",
                     STORE_VALUES(store_text(profile_kind_words[profile->kind]),
                                  store_text(profile->name)),
                     NULL, NULL, NULL);
}

/* The condition on such a profile: what it issues by exists. */
#define CERTIFICATE_EXISTS                                                             \
    "(CAST($5 AS TEXT) IS NULL OR EXISTS "                                             \
    "(SELECT 1 FROM profile WHERE kind = 'certificate' AND name = $5))"

enum ca_status
profile_insert(struct store_tx *tx, struct profile *profile)
{
    const char *word = profile_kind_words[profile->kind];
    const char *certificate = certificate_of(profile);
    int64_t rows = 0;
    CA_AUTO(free) char *settings = settings_format(profile);
    if (!settings)
        return ca_fail(CA_INTERNAL, "profile '%s/%s' has no JSON form", word,
                       profile->name);
    enum ca_status status = store_run(
        tx,
        "INSERT INTO profile (kind, name, description, settings, certificate, "
        "created, updated, version) SELECT $1, $2, $3, $4, $5, $6, $6, "
        "COALESCE((SELECT MAX(version) FROM profile_version "
        "WHERE kind = $1 AND name = $2), 0) + 1 WHERE " CERTIFICATE_EXISTS
        " ON CONFLICT (kind, name) DO NOTHING RETURNING created, updated, version",
        STORE_VALUES(store_text(word), store_text(profile->name),
                     store_text(profile->description), store_text(settings),
                     store_text(certificate), store_integer(clock_now())),
        row_take_stamp, &profile->stamp, &rows);
    if (status == CA_OK && rows == 0 && !certificate)
        return ca_fail(CA_CONFLICT, "profile '%s/%s' exists", word, profile->name);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_CONFLICT,
                       "profile '%s/%s' exists, or the certificate profile '%s' that "
                       "it names does not",
                       word, profile->name, certificate);
    return status == CA_OK ? version_keep(tx, profile) : status;
}

enum ca_status
profile_update(struct store_tx *tx, struct profile *profile)
{
    const char *word = profile_kind_words[profile->kind];
    const char *certificate = certificate_of(profile);
    int64_t rows = 0;
    CA_AUTO(free) char *settings = settings_format(profile);
    if (!settings)
        return ca_fail(CA_INTERNAL, "profile '%s/%s' has no JSON form", word,
                       profile->name);
    enum ca_status status = store_run(
        tx,
        "UPDATE profile SET description = $3, settings = $4, certificate = $5, "
        "updated = $6, version = version + 1 "
        "WHERE kind = $1 AND name = $2 AND version = $7 AND " CERTIFICATE_EXISTS
        " RETURNING created, updated, version",
        STORE_VALUES(store_text(word), store_text(profile->name),
                     store_text(profile->description), store_text(settings),
                     store_text(certificate), store_integer(clock_now()),
                     store_integer(profile->stamp.version)),
        row_take_stamp, &profile->stamp, &rows);
    if (status == CA_OK && rows == 0 && !certificate)
        return ca_fail(CA_CONFLICT, "profile '%s/%s' has another version than %lld",
                       word, profile->name, (long long)profile->stamp.version);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_CONFLICT,
                       "profile '%s/%s' has another version than %lld, or the "
                       "certificate profile '%s' that it names does not exist",
                       word, profile->name, (long long)profile->stamp.version,
                       certificate);
    return status == CA_OK ? version_keep(tx, profile) : status;
}

/* Why the conditional DELETE took nothing away. */
static enum ca_status
refuse_delete(struct store_tx *tx, const char *word, const char *name, int64_t version)
{
    int64_t stored = 0, rows = 0;
    enum ca_status status =
        store_run(tx, "SELECT version FROM profile WHERE kind = $1 AND name = $2",
                  STORE_VALUES(store_text(word), store_text(name)), row_take_integer,
                  &stored, &rows);
    if (status != CA_OK)
        return status;
    if (rows == 0)
        return ca_fail(CA_NOT_FOUND, "no profile '%s/%s'", word, name);
    if (stored != version)
        return ca_fail(CA_CONFLICT, "profile '%s/%s' has another version than %lld",
                       word, name, (long long)version);
    return ca_fail(CA_CONFLICT,
                   "profile '%s/%s' is assigned, named by another profile, by an "
                   "open challenge or activation password",
                   word, name);
}

enum ca_status
profile_delete(struct store_tx *tx, enum profile_kind kind, const char *name,
               int64_t version)
{
    const char *word = profile_kind_words[kind];
    int64_t rows = 0;
    enum ca_status status = store_run(
        tx,
        "DELETE FROM profile WHERE kind = $1 AND name = $2 AND version = $3 "
        "AND NOT EXISTS (SELECT 1 FROM assignment WHERE kind = $1 AND profile = $2) "
        "AND NOT ($1 = 'certificate' AND EXISTS "
        "(SELECT 1 FROM profile WHERE certificate = $2)) "
        "AND NOT ($1 = 'scep' AND EXISTS (SELECT 1 FROM challenge "
        "WHERE profile = $2 AND state = 0 AND expires > $4)) "
        "AND NOT ($1 = 'activation' AND EXISTS (SELECT 1 FROM activation "
        "WHERE profile = $2 AND state = 0 AND expires > $4)) RETURNING name",
        STORE_VALUES(store_text(word), store_text(name), store_integer(version),
                     store_integer(clock_now())),
        NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        return refuse_delete(tx, word, name, version);
    return status;
}

struct profile_visit {
    record_visit visit;
    void *arg;
};

static enum ca_status
row_visit(const void *record, void *arg)
{
    const struct profile_visit *list = arg;
    struct profile profile = { 0 };
    enum ca_status status = row_decode(record, &profile);
    if (status != CA_OK)
        return status;
    status = list->visit(&profile, list->arg);
    profile_clear(&profile);
    return status;
}

enum ca_status
profile_list(struct store_tx *tx, enum profile_kind kind,
             const struct record_page *page, record_visit visit, void *arg)
{
    struct query query;
    struct profile_visit list = { visit, arg };
    query_begin(&query, "SELECT " PROFILE_COLUMNS " FROM profile");
    query_where(&query, "kind = ?", store_text(profile_kind_words[kind]));
    query_page(&query, "name", page);
    return query_list(&query, tx, &row_select, row_visit, &list);
}

static enum ca_status
name_visit(const struct store_row *row, void *arg)
{
    const struct profile_visit *list = arg;
    return list->visit(store_row_text(row, 0), list->arg);
}

enum ca_status
profile_names(struct store_tx *tx, enum profile_kind kind, record_visit visit,
              void *arg)
{
    struct profile_visit list = { visit, arg };
    return store_run(tx, "SELECT name FROM profile WHERE kind = $1 ORDER BY name",
                     STORE_VALUES(store_text(profile_kind_words[kind])), name_visit,
                     &list, NULL);
}

enum ca_status
profile_versions(struct store_tx *tx, enum profile_kind kind, const char *name,
                 const struct record_page *page, record_visit visit, void *arg)
{
    static const struct record_select select = {
        row_columns, sizeof(struct profile_row),
        "SELECT " PROFILE_COLUMNS " FROM profile_version "
        "WHERE kind = $1 AND name = $2 AND version < $3 ORDER BY version DESC LIMIT $4"
    };
    struct profile_visit list = { visit, arg };
    int64_t before = 0;
    enum ca_status status = record_page_before(page, &before);
    if (status != CA_OK)
        return status;
    return record_list(tx, &select,
                       STORE_VALUES(store_text(profile_kind_words[kind]),
                                    store_text(name), store_integer(before),
                                    store_integer(record_page_limit(page))),
                       row_visit, &list);
}

void
profile_clear(struct profile *profile)
{
    field_clear(profile_fields((enum profile_kind)profile->kind), profile);
}
