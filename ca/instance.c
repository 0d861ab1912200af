/* Instances of the domain: their heartbeats, and devices that stay with one. */
#include "instance.h"
#include "auto.h"
#include "clock.h"
#include "query.h"
#include "rendezvous.h"
#include <string.h>

const struct field instance_fields[] = {
    { FIELD(instance, name), .type = FIELD_TEXT, .flags = FIELD_NAME | FIELD_READ_ONLY,
      .help = "Name of the daemon in its domain, `instance` of its configuration." },
    { FIELD(instance, url), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "Base URL for its devices; null for the organisation's." },
    { FIELD(instance, capacity), .type = FIELD_INTEGER, .flags = FIELD_READ_ONLY,
      .help = "Share of the devices that it gets beside the others; 0 for none." },
    { FIELD(instance, release), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "Version of the program that runs there." },
    { FIELD(instance, heartbeat), .type = FIELD_TIME, .flags = FIELD_READ_ONLY,
      .help = "When it last said that it lives." },
    { FIELD(instance, healthy), .type = FIELD_BOOLEAN, .flags = FIELD_READ_ONLY,
      .help = "Whether that is less than a minute ago; only then it gets devices." },
    RECORD_STAMP_FIELDS(instance),
    FIELD_END,
};

#define INSTANCE_COLUMNS                                                               \
    "name, url, capacity, release, heartbeat, created, updated, version"

static const struct record_column instance_columns[] = {
    RECORD_COLUMN(instance, TEXT, name),
    RECORD_COLUMN(instance, TEXT, url),
    RECORD_COLUMN(instance, INTEGER, capacity),
    RECORD_COLUMN(instance, TEXT, release),
    RECORD_COLUMN(instance, INTEGER, heartbeat),
    RECORD_STAMP_COLUMNS(instance),
    { .type = RECORD_COLUMN_END },
};

static const struct record_select instance_select = {
    instance_columns, sizeof(struct instance),
    "SELECT " INSTANCE_COLUMNS " FROM instance WHERE name = $1"
};

enum ca_status
instance_beat(struct store_tx *tx, const struct instance *instance)
{
    int64_t rows = 0;
    enum ca_status status = store_run(
        tx,
        "INSERT INTO instance (" INSTANCE_COLUMNS ") "
        "SELECT $1, $2, $3, $4, $5, $5, $5, 1 "
        "WHERE (SELECT count(*) FROM instance WHERE name <> $1) < $6 "
        "ON CONFLICT (name) DO UPDATE SET heartbeat = excluded.heartbeat, "
        "url = excluded.url, capacity = excluded.capacity, release = excluded.release, "
        "updated = CASE WHEN coalesce(instance.url, '') <> coalesce(excluded.url, '') "
        "OR instance.capacity <> excluded.capacity "
        "OR instance.release <> excluded.release THEN excluded.updated "
        "ELSE instance.updated END, "
        "version = CASE WHEN coalesce(instance.url, '') <> coalesce(excluded.url, '') "
        "OR instance.capacity <> excluded.capacity "
        "OR instance.release <> excluded.release THEN instance.version + 1 "
        "ELSE instance.version END",
        STORE_VALUES(store_text(instance->name), store_text(instance->url),
                     store_integer(instance->capacity), store_text(instance->release),
                     store_integer(clock_now()), store_integer(INSTANCES_MAX)),
        NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_LIMIT, "the domain has %d instances already", INSTANCES_MAX);
    return status;
}

static void
judge(struct instance *instance)
{
    instance->healthy = instance->heartbeat > clock_now() - INSTANCE_HEALTHY_SECONDS;
}

enum ca_status
instance_load(struct store_tx *tx, const char *name, struct instance *ret_instance)
{
    enum ca_status status =
        record_load(tx, &instance_select, STORE_VALUES(store_text(name)), ret_instance);
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_NOT_FOUND, "no instance '%s'", name);
    if (status == CA_OK)
        judge(ret_instance);
    return status;
}

struct instance_visit {
    record_visit visit;
    void *arg;
};

static enum ca_status
visit_judged(const void *record, void *arg)
{
    const struct instance_visit *list = arg;
    struct instance instance = *(const struct instance *)record;
    judge(&instance);
    return list->visit(&instance, list->arg);
}

enum ca_status
instance_list(struct store_tx *tx, const struct record_page *page, record_visit visit,
              void *arg)
{
    struct query query;
    struct instance_visit list = { visit, arg };
    query_begin(&query, "SELECT " INSTANCE_COLUMNS " FROM instance");
    query_page(&query, "name", page);
    return query_list(&query, tx, &instance_select, visit_judged, &list);
}

enum ca_status
instance_remove(struct store_tx *tx, const char *name)
{
    int64_t rows = 0;
    enum ca_status status = store_run(
        tx, "DELETE FROM instance WHERE name = $1 AND heartbeat <= $2 RETURNING name",
        STORE_VALUES(store_text(name),
                     store_integer(clock_now() - INSTANCE_HEALTHY_SECONDS)),
        NULL, NULL, &rows);
    if (status != CA_OK || rows > 0)
        return status;
    struct instance instance = { 0 };
    status = instance_load(tx, name, &instance);
    instance_clear(&instance);
    return status != CA_OK ? status
                           : ca_fail(CA_CONFLICT, "instance '%s' still runs", name);
}

/* ---- Devices ---- */

struct candidates {
    struct instance items[INSTANCES_MAX];
    struct rendezvous_node nodes[INSTANCES_MAX];
    size_t count;
};

static void
candidates_clear_auto(struct candidates *candidates)
{
    for (size_t i = 0; i < candidates->count; i++)
        instance_clear(&candidates->items[i]);
}

static enum ca_status
candidate_add(const void *record, void *arg)
{
    struct candidates *candidates = arg;
    const struct instance *instance = record;
    if (!instance->healthy || candidates->count == INSTANCES_MAX)
        return CA_OK;
    struct instance *copy = &candidates->items[candidates->count];
    if (!field_copy(instance_fields, instance, copy))
        return ca_fail(CA_INTERNAL, "no memory for an instance");
    candidates->nodes[candidates->count++] =
        (struct rendezvous_node){ copy->name, copy->capacity };
    return CA_OK;
}

static enum ca_status
choose(struct store_tx *tx, const char *device, struct instance *ret_instance)
{
    CA_AUTO(candidates_clear) struct candidates candidates = { 0 };
    size_t chosen = 0;
    enum ca_status status =
        instance_list(tx, &(struct record_page){ .limit = INSTANCES_MAX },
                      candidate_add, &candidates);
    if (status != CA_OK)
        return status;
    if (!rendezvous_pick(device, candidates.nodes, candidates.count, &chosen))
        return ca_fail(CA_UNAVAILABLE, "no healthy instance for device %s", device);
    status = store_run(
        tx, "UPDATE device SET instance = $2 WHERE id = $1",
        STORE_VALUES(store_text(device), store_text(candidates.items[chosen].name)),
        NULL, NULL, NULL);
    if (status != CA_OK)
        return status;
    *ret_instance = candidates.items[chosen];
    candidates.items[chosen] = (struct instance){ 0 };
    return CA_OK;
}

struct device_row {
    char *instance;
    bool is_there;
};

static enum ca_status
device_row_take(const struct store_row *row, void *arg)
{
    struct device_row *device = arg;
    const char *name = store_row_text(row, 0);
    device->is_there = true;
    device->instance = name ? strdup(name) : NULL;
    return !name || device->instance
               ? CA_OK
               : ca_fail(CA_INTERNAL, "no memory for an instance's name");
}

enum ca_status
instance_of_device(struct store_tx *tx, const char *device,
                   struct instance *ret_instance)
{
    struct device_row row = { 0 };
    enum ca_status status =
        store_run(tx, "SELECT instance FROM device WHERE id = $1",
                  STORE_VALUES(store_text(device)), device_row_take, &row, NULL);
    CA_AUTO(free) char *name = row.instance;
    if (status == CA_OK && !row.is_there)
        return ca_fail(CA_NOT_FOUND, "no device '%s'", device);
    if (status != CA_OK || !name)
        return status != CA_OK ? status : choose(tx, device, ret_instance);
    struct instance present = { 0 };
    status = instance_load(tx, name, &present);
    if (status != CA_OK && status != CA_NOT_FOUND)
        return status;
    if (status == CA_OK && present.capacity > 0 &&
        present.heartbeat > clock_now() - INSTANCE_LOST_SECONDS) {
        *ret_instance = present;
        return CA_OK;
    }
    instance_clear(&present);
    return choose(tx, device, ret_instance);
}

void
instance_clear(struct instance *instance)
{
    field_clear(instance_fields, instance);
}
