/* What the policy has put on the device: nodes that it names no longer are taken away.
 */
#include "auto.h"
#include "syncml.h"
#include <string.h>

#define NODES_MAX 1024 /* kept of one device, beside those of its policy */

static const char *
uri_of(const json_t *item)
{
    return json_string_value(json_object_get(item, "uri"));
}

/* Is it the node itself, or one above it? Taking it away would take that, too. */
static bool
is_above(const char *node, const char *uri)
{
    size_t length = strlen(node);
    return strncmp(node, uri, length) == 0 &&
           (uri[length] == '\0' || uri[length] == '/');
}

static bool
is_needed(const json_t *items, const char *node)
{
    size_t i;
    json_t *item;
    json_array_foreach (items, i, item)
        if (is_above(node, uri_of(item)))
            return true;
    return false;
}

json_t *
syncml_policy_whole(const json_t *policy)
{
    size_t i;
    json_t *node;
    const json_t *own = json_object_get(policy, "items");
    CA_AUTO(json_decref) json_t *items = json_copy((json_t *)(uintptr_t)own);
    bool is_good = items != NULL;
    json_array_foreach (json_object_get(policy, "kept"), i, node) {
        const char *uri = json_string_value(node);
        if (uri && is_good && !is_needed(own, uri))
            is_good = json_array_append_new(items, json_pack("{s:s, s:s, s:b}", "uri",
                                                             uri, "verb", "delete",
                                                             "gone", 1)) == 0;
    }
    return is_good ? json_pack("{s:O, s:O, s:O}", "name",
                               json_object_get(policy, "name"), "version",
                               json_object_get(policy, "version"), "items", items)
                   : NULL;
}

/* What failed, or had no user to go to, stays to be taken away again. */
json_t *
syncml_policy_nodes(const struct syncml_session *session, bool done)
{
    size_t i;
    json_t *item;
    const json_t *policy = json_object_get(session->state, "policy");
    const json_t *failed = json_object_get(policy, "failed");
    CA_AUTO(json_decref) json_t *nodes = json_array();
    json_array_foreach (json_object_get(session->policy, "items"), i, item) {
        const char *verb = json_string_value(json_object_get(item, "verb"));
        bool is_gone = json_is_true(json_object_get(item, "gone"));
        bool stays = !done || json_object_get(failed, uri_of(item)) ||
                     syncml_session_lacks_user(session, uri_of(item));
        bool is_had = is_gone ? stays : strcmp(verb, "delete") != 0;
        if (is_had && json_array_size(nodes) < NODES_MAX &&
            json_array_append(nodes, json_object_get(item, "uri")) != 0)
            return NULL;
    }
    return CA_STEAL(nodes);
}
