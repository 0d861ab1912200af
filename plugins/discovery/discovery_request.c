/* The Discover request: versions and policies of [MS-MDE] and [MS-MDE2]. */
#include "discovery.h"
#include <string.h>

#define VERSION_DIGITS_MAX 4
#define OFFERS_MAX 16
#define EMAIL_MAX 320

const char *const discovery_policy_words[] = { "OnPremise", "Federated",
                                               "Certificate" };

/* "4.0": any number from 1 on. New systems send new ones ("9.0"), which mean nothing to
 * what we answer. */
static bool
version_read(const char *text, unsigned *ret_major)
{
    size_t digits = strspn(text, "0123456789");
    const char *rest = text + digits;
    if (digits == 0 || digits > VERSION_DIGITS_MAX)
        return false;
    if (*rest == '.') {
        size_t minor = strspn(rest + 1, "0123456789");
        if (minor == 0 || minor > VERSION_DIGITS_MAX)
            return false;
        rest += 1 + minor;
    }
    *ret_major = (unsigned)strtoul(text, NULL, 10);
    return *rest == '\0' && *ret_major >= 1;
}

/* A word that we do not know is not an offer. */
static enum ca_status
policies_read(const struct xml_node *request, struct discovery_request *found)
{
    const struct xml_node *list = NULL;
    size_t count = 0;
    enum ca_status status = xml_only(request, NULL, "AuthPolicies", &list);
    if (status != CA_OK || !list)
        return status;
    found->has_offers = true;
    for (const struct xml_node *node = list->first; node; node = node->next) {
        if (strcmp(node->name, "AuthPolicy") != 0 || ++count > OFFERS_MAX)
            return ca_fail(CA_MALFORMED, "AuthPolicies holds other than AuthPolicy");
        for (int i = 0; i < DISCOVERY_POLICY_COUNT; i++) {
            if (strcmp(node->text, discovery_policy_words[i]) == 0)
                found->offered |= 1u << i;
        }
    }
    return CA_OK;
}

enum ca_status
discovery_read(const struct xml_node *discover, struct discovery_request *ret_request)
{
    const struct xml_node *request = NULL, *version = NULL, *email = NULL;
    struct discovery_request found = { 0 };
    enum ca_status status = xml_must(discover, discover->space, "request", &request);
    if (status == CA_OK)
        status = xml_must(request, NULL, "RequestVersion", &version);
    if (status == CA_OK)
        status = xml_only(request, NULL, "EmailAddress", &email); /* may be empty */
    if (status != CA_OK)
        return status;
    if (email && email->text_size > EMAIL_MAX)
        return ca_fail(CA_MALFORMED, "EmailAddress of %zu octets", email->text_size);
    found.is_first = version->text_size == 0;
    if (!found.is_first && !version_read(version->text, &found.major))
        return ca_fail(CA_MALFORMED, "RequestVersion '%.16s'", version->text);
    status = policies_read(request, &found);
    if (status == CA_OK)
        *ret_request = found;
    return status;
}

bool
discovery_choose(const struct discovery *discovery,
                 const struct discovery_request *request,
                 enum discovery_policy *ret_policy)
{
    unsigned offered = request->offered;
    if (request->is_first) /* [MS-MDE]: always Federated */
        offered = 1u << DISCOVERY_FEDERATED;
    else if (!request->has_offers)
        offered = (1u << DISCOVERY_POLICY_COUNT) - 1;
    for (size_t i = 0; i < discovery->policy_count; i++) {
        if (offered & (1u << discovery->policies[i])) {
            *ret_policy = discovery->policies[i];
            return true;
        }
    }
    return false;
}
