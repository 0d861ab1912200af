/* What a device says of itself when it enrols. */
#include "device_facts.h"
#include "auto.h"
#include <openssl/crypto.h>
#include <string.h>

#define KIND_MAX 64

static void
device_clear_auto(struct device *device)
{
    device_clear(device);
}

void
device_facts_clear(struct device_facts *facts)
{
    free(facts->kind);
    free(facts->alias);
    if (facts->secret)
        OPENSSL_cleanse(facts->secret, strlen(facts->secret));
    free(facts->secret);
    free(facts->nonce);
    json_decref(facts->hardware);
    json_decref(facts->report);
    *facts = (struct device_facts){ 0 };
}

static enum ca_status
check_text(const char *what, const char *text, size_t max)
{
    size_t size = strlen(text);
    if (size == 0 || size > max)
        return ca_fail(CA_LIMIT, "a device's %s has %zu octets", what, size);
    if (!text_is_clean(text, size))
        return ca_fail(CA_MALFORMED, "a device's %s has control characters", what);
    return CA_OK;
}

static enum ca_status
check_hardware(const json_t *hardware)
{
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)hardware, name, value) {
        if (!json_is_string(value) ||
            !text_is_clean(json_string_value(value), json_string_length(value)))
            return ca_fail(CA_MALFORMED, "hardware '%.64s' is no clean text", name);
    }
    return CA_OK;
}

static enum ca_status
check_object(const char *what, const json_t *object)
{
    if (!json_is_object(object))
        return ca_fail(CA_MALFORMED, "a device's %s is no object", what);
    if (json_object_size(object) > DEVICE_MEMBERS_MAX)
        return ca_fail(CA_LIMIT, "a device's %s has %zu members", what,
                       json_object_size(object));
    return CA_OK;
}

enum ca_status
device_facts_check(const struct device_facts *facts)
{
    enum ca_status status = check_text("kind", facts->kind, KIND_MAX);
    if (status == CA_OK && facts->alias)
        status = check_text("alias", facts->alias, DEVICE_ALIAS_MAX);
    if (status == CA_OK)
        status = check_object("hardware", facts->hardware);
    if (status == CA_OK)
        status = check_object("report", facts->report);
    return status == CA_OK ? check_hardware(facts->hardware) : status;
}

/* The old object with the new members; what a record cannot hold refuses. */
static enum ca_status
merge(json_t **object, const json_t *news)
{
    CA_AUTO(json_decref) json_t *merged = json_copy(*object);
    if (!merged || json_object_update(merged, (json_t *)(uintptr_t)news) != 0)
        return ca_fail(CA_INTERNAL, "no memory for a device's facts");
    if (json_object_size(merged) > DEVICE_MEMBERS_MAX)
        return ca_fail(CA_LIMIT, "a device with %zu facts", json_object_size(merged));
    json_decref(*object);
    *object = CA_STEAL(merged);
    return CA_OK;
}

static enum ca_status
merge_all(struct device *device, const struct device_facts *facts)
{
    enum ca_status status = merge(&device->hardware, facts->hardware);
    if (status == CA_OK)
        status = merge(&device->report, facts->report);
    if (status != CA_OK || (device->kind && strcmp(device->kind, facts->kind) == 0))
        return status;
    free(device->kind);
    device->kind = strdup(facts->kind);
    return device->kind ? CA_OK : ca_fail(CA_INTERNAL, "no memory for a device's kind");
}

enum ca_status
device_note(struct store_tx *tx, const char *id, const struct device_facts *facts)
{
    CA_AUTO(device_clear) struct device device = { 0 };
    enum ca_status status = device_load(tx, id, &device);
    if (status == CA_OK)
        status = merge_all(&device, facts);
    if (status == CA_OK)
        status = device_update(tx, &device);
    return status;
}
