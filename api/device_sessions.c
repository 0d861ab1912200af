/* /devices/{id}/sessions: what a managed device and we have to say to each other now.
 */
#include "api.h"
#include "device_session.h"

static enum ca_status
list_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    struct api_list *list = arg;
    return device_session_list(tx, call->parameters[0], &list->page, api_list_visit,
                               list);
}

static const struct field *
fields(void)
{
    return device_session_fields;
}

static const struct api_route routes[] = {
    { "GET", "/devices/{id}/sessions", API_ANY, API_LIST, list_step,
      "List the management sessions of a device's last ten minutes", NULL, fields, NULL,
      .success = 200, .cursor = "id" },
    { .method = NULL },
};
const struct api_resource api_device_sessions = { "device_sessions", routes, NULL };
