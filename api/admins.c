/* /admins and /tokens: who may call this API, and how they log in. */
#include "admin.h"
#include "api.h"
#include <string.h>

static enum ca_status
load(struct store_tx *tx, const char *name, void *ret_admin)
{
    return admin_load(tx, name, ret_admin);
}

static enum ca_status
insert(struct store_tx *tx, void *admin)
{
    return admin_insert(tx, admin);
}

static enum ca_status
update(struct store_tx *tx, void *admin)
{
    return admin_update(tx, admin);
}

static enum ca_status
list_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)call;
    struct api_list *list = arg;
    return admin_list(tx, &list->page, api_list_visit, list);
}

/* ---- Tokens ---- */

static enum ca_status
token_record(struct store_tx *tx, struct api_call *call, struct admin_token *token)
{
    CA_AUTO(secret_free) char *secret = NULL;
    enum ca_status status = api_decode(call, admin_token_fields, token);
    if (status == CA_OK)
        status = admin_token_insert(tx, token, &secret);
    if (status == CA_OK)
        status =
            api_audit(tx, call, "token.create",
                      json_pack("{s:s}", "admin", token->admin), "token:%s", token->id);
    if (status != CA_OK)
        return status;
    json_t *body = field_encode(admin_token_fields, token);
    if (body)
        json_object_set_new(body, "token", json_string(secret));
    api_answer_location(call, "/tokens/%s", token->id);
    return api_answer_json(call, body);
}

static enum ca_status
token_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    struct admin_token token = { 0 };
    enum ca_status status = token_record(tx, call, &token);
    admin_token_clear(&token);
    return status;
}

static enum ca_status
token_list_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    struct api_list *list = arg;
    return admin_token_list(tx, api_query_text(call, "admin"), &list->page,
                            api_list_visit, list);
}

static enum ca_status
token_delete_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    enum ca_status status = admin_token_delete(tx, api_key(call));
    if (status != CA_OK)
        return status;
    return api_audit(tx, call, "token.delete", NULL, "token:%s", api_key(call));
}

static const struct field *
fields(void)
{
    return admin_fields;
}

static const struct field *
token_fields_table(void)
{
    return admin_token_fields;
}

static const struct api_query token_filters[] = {
    { "admin", "Of this administrator." },
    { NULL, NULL },
};

#define READERS (API_ADMINISTRATOR | API_AUDITOR)

static const struct api_kind kind = {
    .noun = "admin",
    .path = "/admins",
    .fields = fields,
    .size = sizeof(struct admin),
    .key_offset = offsetof(struct admin, name),
    .stamp_offset = offsetof(struct admin, stamp),
    .load = load,
    .insert = insert,
    .update = update,
    .remove = admin_delete,
};

static const struct api_route routes[] = {
    { "GET", "/admins", READERS, API_LIST, list_step, "List administrators", NULL,
      fields, NULL, .success = 200, .cursor = "name" },
    { "POST", "/admins", API_ADMINISTRATOR, API_CHANGE | API_REPEAT, api_kind_create,
      "Create an administrator", fields, fields, NULL, .success = 201 },
    { "GET", "/admins/{name}", READERS, 0, api_kind_get, "Read an administrator", NULL,
      fields, NULL, .success = 200 },
    { "PUT", "/admins/{name}", API_ADMINISTRATOR, API_CHANGE | API_IF_MATCH,
      api_kind_put, "Replace an administrator", fields, fields, NULL, .success = 200 },
    { "PATCH", "/admins/{name}", API_ADMINISTRATOR, API_CHANGE | API_IF_MATCH,
      api_kind_patch, "Change members of an administrator", fields, fields, NULL,
      .success = 200 },
    { "DELETE", "/admins/{name}", API_ADMINISTRATOR, API_CHANGE | API_IF_MATCH,
      api_kind_delete, "Delete an administrator and the tokens; never the last one",
      NULL, NULL, NULL, .success = 204 },
    { "GET", "/tokens", READERS, API_LIST, token_list_step,
      "List tokens without secrets", NULL, token_fields_table, token_filters,
      .success = 200, .cursor = "id" },
    { "POST", "/tokens", API_ADMINISTRATOR, API_CHANGE | API_REPEAT, token_step,
      "Create a token; the answer alone shows it, as `token`", token_fields_table,
      token_fields_table, NULL, .success = 201 },
    { "DELETE", "/tokens/{id}", API_ADMINISTRATOR, API_CHANGE, token_delete_step,
      "Withdraw a token", NULL, NULL, NULL, .success = 204 },
    { .method = NULL },
};
const struct api_resource api_admins = { "admins", routes, &kind };
