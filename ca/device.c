/* Devices and which keys they hold. */
#include "device.h"
#include "auto.h"
#include "clock.h"
#include "query.h"
#include <stdio.h>
#include <string.h>

static const char *const state_words[] = { "pending", "active", "disabled",
                                           "unenrolled", NULL };

static bool
check_object(const void *member, char *ret_reason, size_t size)
{
    const json_t *object = *(json_t *const *)member;
    bool is_good =
        json_is_object(object) && json_object_size(object) <= DEVICE_MEMBERS_MAX;
    if (!is_good)
        snprintf(ret_reason, size, "must be an object of at most %d members",
                 DEVICE_MEMBERS_MAX);
    return is_good;
}

/* Hardware values go into certificates by {{device.hardware.NAME}}: clean texts. */
static bool
check_hardware(const void *member, char *ret_reason, size_t size)
{
    json_t *object = *(json_t *const *)member, *value;
    const char *name;
    if (!check_object(member, ret_reason, size))
        return false;
    json_object_foreach (object, name, value) {
        if (json_is_string(value) &&
            text_is_clean(json_string_value(value), json_string_length(value)))
            continue;
        snprintf(ret_reason, size, "must have texts without control characters alone");
        return false;
    }
    return true;
}

const struct field device_fields[] = {
    { FIELD(device, id), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY, .max = 36,
      .help = "UUID; {{device.id}} in templates." },
    { FIELD(device, owner), .type = FIELD_TEXT, .flags = FIELD_NAME,
      .help = "Name of the user who owns it; null for none." },
    { FIELD(device, kind), .type = FIELD_TEXT, .max = 64,
      .help = "What it is (windows, android, router); {{device.kind}} in templates." },
    { FIELD(device, hardware), .type = FIELD_JSON, .initial = "{}",
      .check = check_hardware,
      .help = "Serial number, IMEI and so on; {{device.hardware.NAME}} in templates." },
    { FIELD(device, report), .type = FIELD_JSON, .initial = "{}", .check = check_object,
      .help = "What the device last said about itself." },
    { FIELD(device, state), .type = FIELD_CHOICE, .words = state_words,
      .initial = "\"pending\"",
      .help = "A disabled or unenrolled device gets no certificate, and those it holds "
              "are revoked." },
    { FIELD(device, instance), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "The instance that manages it." },
    { FIELD(device, last_seen), .type = FIELD_TIME, .flags = FIELD_READ_ONLY,
      .help = "When it last enrolled or reported." },
    RECORD_STAMP_FIELDS(device),
    FIELD_END,
};

#define DEVICE_COLUMNS                                                                 \
    "id, owner, kind, hardware, report, state, instance, last_seen, created, "         \
    "updated, "                                                                        \
    "version"

static const struct record_column device_columns[] = {
    RECORD_COLUMN(device, TEXT, id),       RECORD_COLUMN(device, TEXT, owner),
    RECORD_COLUMN(device, TEXT, kind),     RECORD_COLUMN(device, JSON, hardware),
    RECORD_COLUMN(device, JSON, report),   RECORD_COLUMN(device, CHOICE, state),
    RECORD_COLUMN(device, TEXT, instance), RECORD_COLUMN(device, INTEGER, last_seen),
    RECORD_STAMP_COLUMNS(device),          { .type = RECORD_COLUMN_END },
};

static const struct record_select device_select = { device_columns,
                                                    sizeof(struct device),
                                                    "SELECT " DEVICE_COLUMNS
                                                    " FROM device WHERE id = $1" };

enum ca_status
device_load(struct store_tx *tx, const char *id, struct device *ret_device)
{
    enum ca_status status =
        record_load(tx, &device_select, STORE_VALUES(store_text(id)), ret_device);
    return status == CA_NOT_FOUND ? ca_fail(CA_NOT_FOUND, "no device '%s'", id)
                                  : status;
}

enum ca_status
device_insert(struct store_tx *tx, struct device *device)
{
    int64_t rows = 0;
    struct record_stamp stamp;
    char id[37];
    enum ca_status status = device->id ? CA_OK : random_uuid(id);
    if (status != CA_OK)
        return status;
    record_stamp_first(&stamp);
    if (!device->id)
        device->id = strdup(id);
    CA_AUTO(free) char *hardware = record_json_format(device->hardware);
    CA_AUTO(free) char *report = record_json_format(device->report);
    if (!device->id || (device->hardware && !hardware) || (device->report && !report))
        return ca_fail(CA_INTERNAL, "no memory for a device");
    status = store_run(
        tx,
        "INSERT INTO device (" DEVICE_COLUMNS ") "
        "SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $9, 1 WHERE CAST($2 AS TEXT) "
        "IS NULL OR EXISTS (SELECT 1 FROM users WHERE name = $2) "
        "ON CONFLICT (id) DO NOTHING",
        STORE_VALUES(store_text(device->id), store_text(device->owner),
                     store_text(device->kind), store_text(hardware ? hardware : "{}"),
                     store_text(report ? report : "{}"), store_integer(device->state),
                     store_text(device->instance), store_integer(device->last_seen),
                     store_integer(stamp.created)),
        NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_CONFLICT, "device '%s' exists, or there is no user '%s'",
                       device->id, device->owner ? device->owner : "");
    if (status == CA_OK)
        device->stamp = stamp;
    return status;
}

enum ca_status
device_update(struct store_tx *tx, struct device *device)
{
    int64_t rows = 0;
    CA_AUTO(free) char *hardware = record_json_format(device->hardware);
    CA_AUTO(free) char *report = record_json_format(device->report);
    if ((device->hardware && !hardware) || (device->report && !report))
        return ca_fail(CA_INTERNAL, "no memory for device '%s'", device->id);
    enum ca_status status = store_run(
        tx,
        "UPDATE device SET owner = $2, kind = $3, hardware = $4, report = $5, "
        "state = $6, instance = $7, last_seen = $8, updated = $9, "
        "version = version + 1 WHERE id = $1 AND version = $10 AND "
        "(CAST($2 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM users WHERE name = $2)) "
        "RETURNING created, updated, version",
        STORE_VALUES(store_text(device->id), store_text(device->owner),
                     store_text(device->kind), store_text(hardware ? hardware : "{}"),
                     store_text(report ? report : "{}"), store_integer(device->state),
                     store_text(device->instance), store_integer(device->last_seen),
                     store_integer(clock_now()), store_integer(device->stamp.version)),
        row_take_stamp, &device->stamp, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_CONFLICT,
                       "device '%s' has another version than %lld, or there is no "
                       "user '%s'",
                       device->id, (long long)device->stamp.version,
                       device->owner ? device->owner : "");
    return status;
}

enum ca_status
device_delete(struct store_tx *tx, const char *id, int64_t version)
{
    int64_t rows = 0;
    enum ca_status status = store_run(
        tx, "DELETE FROM device WHERE id = $1 AND version = $2 RETURNING id",
        STORE_VALUES(store_text(id), store_integer(version)), NULL, NULL, &rows);
    if (status == CA_OK && rows == 0) {
        struct device device = { 0 };
        status = device_load(tx, id, &device);
        device_clear(&device);
        return status != CA_OK
                   ? status
                   : ca_fail(CA_CONFLICT, "device '%s' has another version than %lld",
                             id, (long long)version);
    }
    if (status == CA_OK)
        status = store_run(tx, "DELETE FROM device_key WHERE device_id = $1",
                           STORE_VALUES(store_text(id)), NULL, NULL, NULL);
    return status;
}

enum ca_status
device_list(struct store_tx *tx, const struct device_filter *filter,
            const struct record_page *page, record_visit visit, void *arg)
{
    struct query query;
    int state = 0;
    query_begin(&query, "SELECT " DEVICE_COLUMNS " FROM device");
    if (filter && filter->state) {
        enum ca_status status =
            word_parse(state_words, "state of a device", filter->state, &state);
        if (status != CA_OK)
            return status;
        query_where(&query, "state = ?", store_integer(state));
    }
    if (filter && filter->is_enrolled)
        query_where(&query, "state <> ?", store_integer(DEVICE_UNENROLLED));
    if (filter) {
        query_where_text(&query, "owner = ?", filter->owner);
        query_where_text(&query, "kind = ?", filter->kind);
    }
    query_page(&query, "id", page);
    return query_list(&query, tx, &device_select, visit, arg);
}

enum ca_status
device_touch(struct store_tx *tx, const char *id, bool activate)
{
    int64_t rows = 0;
    /* Being seen is not an edit: only a new state counts as a version. */
    enum ca_status status =
        store_run(tx,
                  "UPDATE device SET last_seen = $2, "
                  "version = version + CASE WHEN state = 0 THEN $3 ELSE 0 END, "
                  "updated = CASE WHEN state = 0 AND $3 = 1 THEN $2 ELSE updated END, "
                  "state = CASE WHEN state = 0 THEN $3 ELSE state END "
                  "WHERE id = $1 AND state <= 1",
                  STORE_VALUES(store_text(id), store_integer(clock_now()),
                               store_integer(activate ? 1 : 0)),
                  NULL, NULL, &rows);
    if (status != CA_OK || rows > 0)
        return status;
    struct device device = { 0 };
    status = device_load(tx, id, &device);
    if (status == CA_OK)
        status = ca_fail(CA_FORBIDDEN, "device '%s' is %s", id,
                         state_words[device.state & 3]);
    device_clear(&device);
    return status;
}

/* Why the conditional INSERT claimed nothing. */
static enum ca_status
key_refuse(struct store_tx *tx, const char *device, const uint8_t spki_sha256[32])
{
    CA_AUTO(free) char *reason = NULL;
    char digest[65];
    hex_format(spki_sha256, 32, digest);
    enum ca_status status = store_run(
        tx, "SELECT reason FROM blocked_key WHERE spki_sha256 = $1",
        STORE_VALUES(store_blob(spki_sha256, 32)), row_take_text, &reason, NULL);
    if (status != CA_OK)
        return status;
    if (reason)
        return ca_fail(CA_FORBIDDEN, "key %s is blocked: %s", digest, reason);
    return ca_fail(CA_FORBIDDEN, "key %s of device '%s' is held already", digest,
                   device);
}

/* Two parallel claims of one key: the primary key lets one of them in. */
static enum ca_status
key_insert(struct store_tx *tx, const char *device, const uint8_t spki_sha256[32],
           const char *shared_device, int64_t *ret_rows)
{
    return store_run(
        tx,
        "INSERT INTO device_key (spki_sha256, device_id, shared_device, created) "
        "SELECT $1, $2, $3, $4 WHERE NOT EXISTS "
        "(SELECT 1 FROM blocked_key WHERE spki_sha256 = $1) AND ($3 <> '' OR "
        "NOT EXISTS (SELECT 1 FROM device_key WHERE spki_sha256 = $1 "
        "AND device_id <> $2)) ON CONFLICT DO NOTHING",
        STORE_VALUES(store_blob(spki_sha256, 32), store_text(device),
                     store_text(shared_device), store_integer(clock_now())),
        NULL, NULL, ret_rows);
}

enum ca_status
device_claim_new_key(struct store_tx *tx, const char *device,
                     const uint8_t spki_sha256[32])
{
    int64_t rows = 0;
    bool is_held = false;
    enum ca_status status =
        record_exists(tx, "SELECT 1 FROM device_key WHERE spki_sha256 = $1",
                      STORE_VALUES(store_blob(spki_sha256, 32)), &is_held);
    if (status == CA_OK && !is_held)
        status = key_insert(tx, device, spki_sha256, "", &rows);
    if (status != CA_OK || rows > 0)
        return status;
    return key_refuse(tx, device, spki_sha256);
}

enum ca_status
device_claim_key(struct store_tx *tx, const char *device, const uint8_t spki_sha256[32],
                 bool shared)
{
    int64_t rows = 0;
    const char *shared_device = shared ? device : "";
    enum ca_status status = key_insert(tx, device, spki_sha256, shared_device, &rows);
    if (status != CA_OK || rows > 0)
        return status;
    /* It may hold the key already, which a renewal with the same key does. */
    status =
        store_run(tx,
                  "SELECT 1 FROM device_key WHERE spki_sha256 = $1 AND device_id = $2 "
                  "AND NOT EXISTS (SELECT 1 FROM blocked_key WHERE spki_sha256 = $1) "
                  "AND ($3 <> '' OR NOT EXISTS (SELECT 1 FROM device_key "
                  "WHERE spki_sha256 = $1 AND device_id <> $2))",
                  STORE_VALUES(store_blob(spki_sha256, 32), store_text(device),
                               store_text(shared_device)),
                  NULL, NULL, &rows);
    if (status != CA_OK || rows > 0)
        return status;
    return key_refuse(tx, device, spki_sha256);
}

enum ca_status
device_block_key(struct store_tx *tx, const uint8_t spki_sha256[32], const char *reason)
{
    return store_run(tx,
                     "INSERT INTO blocked_key (spki_sha256, reason, created) "
                     "VALUES ($1, $2, $3) ON CONFLICT (spki_sha256) DO NOTHING",
                     STORE_VALUES(store_blob(spki_sha256, 32), store_text(reason),
                                  store_integer(clock_now())),
                     NULL, NULL, NULL);
}

enum ca_status
device_of_key(struct store_tx *tx, const uint8_t spki_sha256[32], char **ret_device)
{
    CA_AUTO(free) char *device = NULL;
    enum ca_status status =
        record_require(tx, "SELECT 1 FROM device_key WHERE spki_sha256 = $1 LIMIT 1",
                       STORE_VALUES(store_blob(spki_sha256, 32)));
    if (status == CA_OK)
        status = store_run(tx,
                           "SELECT device_id FROM device_key WHERE spki_sha256 = $1 "
                           "ORDER BY created, device_id LIMIT 1",
                           STORE_VALUES(store_blob(spki_sha256, 32)), row_take_text,
                           &device, NULL);
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_NOT_FOUND, "no device holds this key");
    if (status == CA_OK)
        *ret_device = CA_STEAL(device);
    return status;
}

void
device_clear(struct device *device)
{
    field_clear(device_fields, device);
}
