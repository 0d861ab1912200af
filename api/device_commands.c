/* /devices/{id}/commands: what a managed device is told, and what it answered. */
#include "api.h"
#include "device_command.h"
#include <string.h>

static enum ca_status
create_record(struct store_tx *tx, struct api_call *call,
              struct device_command *command)
{
    enum ca_status status = api_decode(call, device_command_fields, command);
    if (status == CA_OK)
        status = device_command_check(command, &call->errors);
    if (status != CA_OK)
        return status;
    command->device = strdup(call->parameters[0]);
    command->created_by = strdup(call->exchange->identity.admin.name);
    if (!command->device || !command->created_by)
        return ca_fail(CA_INTERNAL, "no memory for a command");
    status = device_command_insert(tx, command);
    if (status != CA_OK)
        return status;
    /* Values may be secret (a Wi-Fi key): the record has them, the audit does not. */
    CA_AUTO(json_decref) json_t *shown = field_encode(device_command_fields, command);
    status =
        api_audit(tx, call, "device.command",
                  json_pack("{s:s, s:O*, s:s*, s:I}", "command", command->id, "kind",
                            json_object_get(shown, "kind"), "target", command->target,
                            "number", (json_int_t)command->number),
                  "device:%s", command->device);
    if (status != CA_OK)
        return status;
    api_answer_location(call, "/devices/%s/commands/%s", command->device, command->id);
    return api_answer_record(call, device_command_fields, command, &command->stamp);
}

static enum ca_status
create_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    struct device_command command = { 0 };
    enum ca_status status = create_record(tx, call, &command);
    device_command_clear(&command);
    return status;
}

static enum ca_status
get_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    struct device_command command = { 0 };
    enum ca_status status =
        device_command_load(tx, call->parameters[0], call->parameters[1], &command);
    if (status == CA_OK)
        status =
            api_answer_record(call, device_command_fields, &command, &command.stamp);
    device_command_clear(&command);
    return status;
}

static enum ca_status
withdraw_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    const char *device = call->parameters[0], *id = call->parameters[1];
    enum ca_status status = device_command_withdraw(tx, device, id);
    if (status != CA_OK)
        return status;
    return api_audit(tx, call, "device.command.withdraw",
                     json_pack("{s:s}", "command", id), "device:%s", device);
}

static enum ca_status
list_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    struct api_list *list = arg;
    return device_command_list(tx, call->parameters[0], api_query_text(call, "state"),
                               &list->page, api_list_visit, list);
}

static const struct field *
fields(void)
{
    return device_command_fields;
}

static const struct api_query filters[] = {
    { "state", "queued, sent, done or failed." },
    { NULL, NULL },
};

#define WRITERS (API_ADMINISTRATOR | API_OPERATOR)

static const struct api_route routes[] = {
    { "GET", "/devices/{id}/commands", API_ANY, API_LIST, list_step,
      "List the commands of a device, in order", NULL, fields, filters, .success = 200,
      .cursor = "number" },
    { "POST", "/devices/{id}/commands", WRITERS, API_CHANGE | API_REPEAT, create_step,
      "Queue a command; the device takes it at its next session", fields, fields, NULL,
      .success = 201 },
    { "GET", "/devices/{id}/commands/{command}", API_ANY, 0, get_step,
      "Read a command and its result", NULL, fields, NULL, .success = 200 },
    { "DELETE", "/devices/{id}/commands/{command}", WRITERS, API_CHANGE, withdraw_step,
      "Withdraw a command that was not sent", NULL, NULL, NULL, .success = 204 },
    { .method = NULL },
};
const struct api_resource api_device_commands = { "device_commands", routes, NULL };
