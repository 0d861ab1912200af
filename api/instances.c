/* /instances: the daemons of the domain. */
#include "api.h"
#include "instance.h"

static enum ca_status
list_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)call;
    struct api_list *list = arg;
    return instance_list(tx, &list->page, api_list_visit, list);
}

static enum ca_status
get_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    struct instance instance = { 0 };
    enum ca_status status = instance_load(tx, api_key(call), &instance);
    if (status == CA_OK)
        status = api_answer_record(call, instance_fields, &instance, &instance.stamp);
    instance_clear(&instance);
    return status;
}

static enum ca_status
delete_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    enum ca_status status = instance_remove(tx, api_key(call));
    if (status != CA_OK)
        return status;
    return api_audit(tx, call, "instance.delete", NULL, "instance:%s", api_key(call));
}

static const struct field *
fields(void)
{
    return instance_fields;
}

static const struct api_route routes[] = {
    { "GET", "/instances", API_ANY, API_LIST, list_step, "List the domain's instances",
      NULL, fields, NULL, .success = 200, .cursor = "name" },
    { "GET", "/instances/{name}", API_ANY, 0, get_step, "Read an instance", NULL,
      fields, NULL, .success = 200 },
    { "DELETE", "/instances/{name}", API_ADMINISTRATOR, API_CHANGE, delete_step,
      "Take away an instance that no longer runs", NULL, NULL, NULL, .success = 204 },
    { .method = NULL },
};
const struct api_resource api_instances = { "instances", routes, NULL };
