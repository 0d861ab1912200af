/* RequestSecurityToken ([MS-WSTEP] 3.1.4.1.3.3, [MS-MDE2] 3.5): its elements in any
 * order, and what the device says of itself. */
#include "auto.h"
#include "base64.h"
#include "wstep.h"
#include <openssl/evp.h>
#include <string.h>

#define SPACE_CONTEXT "http://schemas.xmlsoap.org/ws/2006/12/authorization"
#define QUERY_TYPE SOAP_SPACE_ENROLLMENT "/QueryTokenStatus"

static const struct {
    const char *uri;
    enum wstep_request_type type;
} request_types[] = {
    { SOAP_SPACE_TRUST "/Issue", WSTEP_ISSUE },
    { SOAP_SPACE_TRUST "/Renew", WSTEP_RENEW },
    { SOAP_SPACE_TRUST "/Recovery", WSTEP_RECOVERY },
    { SOAP_SPACE_TRUST "/KET", WSTEP_KET },
    { QUERY_TYPE, WSTEP_QUERY },
};

static enum ca_status
read_type(const struct xml_node *rst, enum wstep_request_type *ret_type)
{
    const struct xml_node *node = NULL;
    enum ca_status status = xml_must(rst, SOAP_SPACE_TRUST, "RequestType", &node);
    if (status != CA_OK)
        return status;
    for (size_t i = 0; i < sizeof request_types / sizeof request_types[0]; i++) {
        if (strcmp(request_types[i].uri, node->text) == 0) {
            *ret_type = request_types[i].type;
            return CA_OK;
        }
    }
    return ca_fail(CA_MALFORMED, "RequestType '%.100s'", node->text);
}

static enum ca_status
read_token(struct ca_request *req, const struct xml_node *rst, struct ca_bytes *ret)
{
    const struct xml_node *node = NULL;
    enum ca_status status =
        xml_only(rst, SOAP_SPACE_SECURITY, "BinarySecurityToken", &node);
    if (status != CA_OK || !node || xml_is_nil(node) || node->text_size == 0)
        return status;
    return base64_decode(req, node->text, node->text_size, WSTEP_TOKEN_MAX, ret);
}

static enum ca_status
read_request_id(const struct xml_node *rst, const char **ret_id)
{
    const struct xml_node *node = NULL;
    enum ca_status status = xml_only(rst, SOAP_SPACE_ENROLLMENT, "RequestID", &node);
    if (status == CA_OK && node && !xml_is_nil(node) && node->text_size > 0)
        *ret_id = node->text;
    return status;
}

static enum ca_status
read_item(const struct xml_node *node, struct wstep_item *item)
{
    const struct xml_node *value = NULL;
    const char *name = xml_attribute(node, "Name");
    enum ca_status status = xml_only(node, SPACE_CONTEXT, "Value", &value);
    if (status != CA_OK)
        return status;
    if (!name || !*name || strlen(name) > WSTEP_ITEM_NAME_MAX)
        return ca_fail(CA_MALFORMED, "a ContextItem has no name of up to %d octets",
                       WSTEP_ITEM_NAME_MAX);
    *item = (struct wstep_item){ name, value ? value->text : "" };
    return CA_OK;
}

static enum ca_status
read_items(struct ca_request *req, const struct xml_node *rst, struct wstep_rst *ret)
{
    const struct xml_node *context = NULL;
    enum ca_status status = xml_only(rst, SPACE_CONTEXT, "AdditionalContext", &context);
    if (status != CA_OK || !context)
        return status;
    size_t count = xml_count(context, SPACE_CONTEXT, "ContextItem");
    if (count > WSTEP_ITEMS_MAX)
        return ca_fail(CA_LIMIT, "%zu ContextItems", count);
    ret->items = ca_request_alloc(req, (count + 1) * sizeof *ret->items);
    if (!ret->items)
        return ca_fail(CA_INTERNAL, "no memory for ContextItems");
    for (const struct xml_node *node = xml_child(context, SPACE_CONTEXT, "ContextItem");
         status == CA_OK && node; node = xml_next(node, SPACE_CONTEXT, "ContextItem"))
        status = read_item(node, &ret->items[ret->item_count++]);
    return status;
}

/* What makes two messages the same one: all of their octets, the credential's too. */
static enum ca_status
read_transaction(const struct ca_request *req, struct wstep_rst *rst)
{
    if (EVP_Digest(req->body.data, req->body.size, rst->digest, NULL, EVP_sha256(),
                   NULL) != 1)
        return ca_fail_openssl(CA_INTERNAL, "cannot digest a message");
    for (size_t i = 0; i < sizeof rst->digest; i++)
        snprintf(rst->transaction + 2 * i, 3, "%02x", rst->digest[i]);
    return CA_OK;
}

enum ca_status
wstep_rst_read(struct ca_request *req, const struct soap_request *soap,
               struct wstep_rst *ret_rst)
{
    const struct xml_node *node = soap->content;
    struct wstep_rst rst = { 0 };
    if (!xml_is(node, SOAP_SPACE_TRUST, "RequestSecurityToken"))
        return ca_fail(CA_MALFORMED, "the body has '%.64s'", node->name);
    enum ca_status status = read_type(node, &rst.type);
    if (status == CA_OK)
        status = read_token(req, node, &rst.token);
    if (status == CA_OK)
        status = read_request_id(node, &rst.request_id);
    if (status == CA_OK)
        status = read_items(req, node, &rst);
    if (status == CA_OK)
        status = read_transaction(req, &rst);
    if (status == CA_OK)
        *ret_rst = rst;
    return status;
}

const char *
wstep_item(const struct wstep_rst *rst, const char *name)
{
    for (size_t i = 0; i < rst->item_count; i++) {
        if (strcmp(rst->items[i].name, name) == 0)
            return rst->items[i].value;
    }
    return NULL;
}

/* One value stays a text; several distinct ones become a list (MAC, IMEI). */
static bool
add_value(json_t *report, const struct wstep_item *item)
{
    json_t *value = json_string(item->value);
    json_t *held = json_object_get(report, item->name);
    size_t index;
    json_t *one;
    if (!held)
        return value && json_object_set_new(report, item->name, value) == 0;
    if (!value || json_equal(held, value)) {
        json_decref(value);
        return value != NULL;
    }
    json_array_foreach (held, index, one) {
        if (json_equal(one, value)) {
            json_decref(value);
            return true;
        }
    }
    if (json_is_array(held))
        return json_array_append_new(held, value) == 0;
    json_t *list = json_pack("[O, o]", held, value);
    return list && json_object_set_new(report, item->name, list) == 0;
}

enum ca_status
wstep_facts(const struct wstep_rst *rst, json_t **ret_hardware, json_t **ret_report)
{
    static const char *const identifying[] = { "DeviceID", "HWDevID", "MAC", "IMEI",
                                               "DeviceName" };
    CA_AUTO(json_decref) json_t *hardware = json_object();
    CA_AUTO(json_decref) json_t *report = json_object();
    bool is_whole = hardware && report;
    for (size_t i = 0; is_whole && i < rst->item_count; i++)
        is_whole = add_value(report, &rst->items[i]);
    for (size_t i = 0; is_whole && i < sizeof identifying / sizeof identifying[0];
         i++) {
        const char *value = wstep_item(rst, identifying[i]);
        if (value && *value)
            is_whole =
                json_object_set_new(hardware, identifying[i], json_string(value)) == 0;
    }
    if (!is_whole)
        return ca_fail(CA_MALFORMED, "ContextItems that are no UTF-8");
    *ret_hardware = CA_STEAL(hardware);
    *ret_report = CA_STEAL(report);
    return CA_OK;
}
