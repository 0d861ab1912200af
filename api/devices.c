/* /devices: what enrolled, whose it is, and whether it may go on. */
#include "api.h"
#include "device.h"
#include "jobs.h"
#include "lifecycle.h"

static enum ca_status
load(struct store_tx *tx, const char *id, void *ret_device)
{
    return device_load(tx, id, ret_device);
}

static enum ca_status
insert(struct store_tx *tx, void *device)
{
    return device_insert(tx, device);
}

static enum ca_status
update(struct store_tx *tx, void *device)
{
    return device_update(tx, device);
}

/* SECURITY A5: a device that ends loses its certificates in the same step. */
static enum ca_status
changed(struct store_tx *tx, struct api_call *call, const void *before,
        const void *after)
{
    const struct device *old = before, *new = after;
    bool has_ended = new->state == DEVICE_DISABLED || new->state == DEVICE_UNENROLLED;
    if (!old || old->state == new->state || !has_ended)
        return CA_OK;
    return lifecycle_disable_device(tx, new->id,
                                    &(struct lifecycle_cause){
                                        .actor = exchange_actor(call->exchange),
                                        .protocol = "api",
                                        .request = call->exchange->request.id,
                                    });
}

static enum ca_status
patch(struct api_call *call)
{
    enum ca_status status = api_write(call, api_kind_patch, NULL);
    if (status == CA_OK && !call->dry_run)
        jobs_wake(call->exchange->service);
    return status;
}

static enum ca_status
list_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    struct api_list *list = arg;
    struct device_filter filter = {
        .owner = api_query_text(call, "owner"),
        .kind = api_query_text(call, "kind"),
        .state = api_query_text(call, "state"),
    };
    return device_list(tx, &filter, &list->page, api_list_visit, list);
}

static const struct field *
fields(void)
{
    return device_fields;
}

static const struct api_query filters[] = {
    { "owner", "Of this user." },
    { "kind", "Of this kind, e.g. scep." },
    { "state", "pending, active, disabled or unenrolled." },
    { NULL, NULL },
};

#define WRITERS (API_ADMINISTRATOR | API_OPERATOR)

static const struct api_kind kind = {
    .noun = "device",
    .path = "/devices",
    .fields = fields,
    .size = sizeof(struct device),
    .key_offset = offsetof(struct device, id),
    .stamp_offset = offsetof(struct device, stamp),
    .load = load,
    .insert = insert,
    .update = update,
    .remove = device_delete,
    .changed = changed,
};

static const struct api_route routes[] = {
    { "GET", "/devices", API_ANY, API_LIST, list_step, "List devices", NULL, fields,
      filters, .success = 200, .cursor = "id" },
    { "POST", "/devices", WRITERS, API_CHANGE | API_REPEAT, api_kind_create,
      "Register a device before it enrols", fields, fields, NULL, .success = 201 },
    { "GET", "/devices/{id}", API_ANY, 0, api_kind_get, "Read a device", NULL, fields,
      NULL, .success = 200 },
    { "PATCH", "/devices/{id}", WRITERS, API_CHANGE, NULL,
      "Change members of a device; disabled or unenrolled revokes its certificates",
      fields, fields, NULL, .success = 200, .handle = patch },
    { "DELETE", "/devices/{id}", WRITERS, API_CHANGE, api_kind_delete,
      "Delete a device without valid certificates", NULL, NULL, NULL, .success = 204 },
    { .method = NULL },
};
const struct api_resource api_devices = { "devices", routes, &kind };
