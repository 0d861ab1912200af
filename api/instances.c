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
list(struct api_call *call)
{
    return api_list_run(call, instance_fields, "name", list_step);
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
get(struct api_call *call)
{
    return api_read(call, get_step, NULL);
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

static enum ca_status delete (struct api_call *call) {
    return api_write(call, delete_step, NULL);
}

static const struct field *
fields(void)
{
    return instance_fields;
}

static const struct api_route routes[] = {
    { "GET", "/instances", API_ANY, API_LIST, list, "List the domain's instances", NULL,
      fields, NULL, 200, 0 },
    { "GET", "/instances/{name}", API_ANY, 0, get, "Read an instance", NULL, fields,
      NULL, 200, 0 },
    { "DELETE", "/instances/{name}", API_ADMINISTRATOR, API_CHANGE, delete,
      "Take away an instance that no longer runs", NULL, NULL, NULL, 204, 0 },
    { NULL, NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, 0, 0 },
};
const struct api_resource api_instances = { "instances", routes, NULL };
