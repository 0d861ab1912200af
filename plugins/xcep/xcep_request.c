/* GetPolicies as clients write it. */
#include "xcep.h"
#include <inttypes.h>
#include <string.h>

#define VERSION_DIGITS_MAX 4
#define OID_MAX 256

static enum ca_status
version_read(const struct xml_node *filter, const char *name, int64_t *ret_version)
{
    const struct xml_node *node = NULL;
    enum ca_status status = xml_only(filter, XCEP_SPACE, name, &node);
    if (status != CA_OK || !node || xml_is_nil(node))
        return status;
    size_t digits = strspn(node->text, "0123456789");
    if (digits == 0 || digits > VERSION_DIGITS_MAX || node->text[digits] != '\0')
        return ca_fail(CA_MALFORMED, "%s is no number", name);
    *ret_version = strtoll(node->text, NULL, 10);
    return CA_OK;
}

static enum ca_status
oids_read(const struct xml_node *filter, struct xcep_request *request)
{
    const struct xml_node *list = NULL;
    enum ca_status status = xml_only(filter, XCEP_SPACE, "policyOIDs", &list);
    if (status != CA_OK || !list || xml_is_nil(list))
        return status;
    request->has_filter = true;
    for (const struct xml_node *node = list->first; node; node = node->next) {
        if (!xml_is(node, XCEP_SPACE, "oid") || node->text_size > OID_MAX)
            return ca_fail(CA_MALFORMED, "policyOIDs holds other than OIDs");
        if (request->oid_count == XCEP_FILTER_MAX)
            return ca_fail(CA_LIMIT, "more than %d policyOIDs", XCEP_FILTER_MAX);
        request->oids[request->oid_count++] = node->text;
    }
    return CA_OK;
}

static bool
has_value(const struct xml_node *client)
{
    return !xml_is_nil(client) && client->first;
}

/* lastUpdate is not looked at: what a user may have changes with assignments and groups
 * too, of which no client knows the time, so that the answer is always whole. */
enum ca_status
xcep_request_read(const struct xml_node *content, struct xcep_request *ret_request)
{
    const struct xml_node *client = NULL, *filter = NULL;
    struct xcep_request request = { .client_version = -1, .server_version = -1 };
    if (!xml_is(content, XCEP_SPACE, "GetPolicies"))
        return ca_fail(CA_MALFORMED, "'%.64s' was sent to the policy service",
                       content->name);
    enum ca_status status = xml_must(content, XCEP_SPACE, "client", &client);
    if (status == CA_OK && !has_value(client))
        status = ca_fail(CA_MALFORMED, "client without a value");
    if (status == CA_OK)
        status = xml_only(content, XCEP_SPACE, "requestFilter", &filter);
    if (status == CA_OK && filter && !xml_is_nil(filter)) {
        status = oids_read(filter, &request);
        if (status == CA_OK)
            status = version_read(filter, "clientVersion", &request.client_version);
        if (status == CA_OK)
            status = version_read(filter, "serverVersion", &request.server_version);
    }
    if (status == CA_OK)
        *ret_request = request;
    return status;
}
