/* Certificate profiles as policies: what a client must know of them. */
#include "base64.h"
#include "xcep.h"
#include <string.h>

#define RSA_BITS 2048

static bool
names(const json_t *list, const char *name)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *item = json_string_value(json_array_get(list, i));
        if (item && strcmp(item, name) == 0)
            return true;
    }
    return false;
}

static int64_t
curve_bits(const json_t *curves)
{
    int64_t least = 0;
    for (size_t i = 0; i < json_array_size(curves); i++) {
        const char *curve = json_string_value(json_array_get(curves, i));
        int64_t bits =
            curve && strncmp(curve, "P-", 2) == 0 ? strtoll(curve + 2, NULL, 10) : 0;
        if (bits > 0 && (least == 0 || bits < least))
            least = bits;
    }
    return least;
}

/* RSA where the profile takes it: every Windows can. */
static void
keys_read(const json_t *keys, struct xcep_policy *policy)
{
    policy->is_rsa = true;
    policy->key_bits = RSA_BITS;
    for (size_t i = 0; i < json_array_size(keys); i++) {
        const json_t *key = json_array_get(keys, i);
        const char *algorithm = json_string_value(json_object_get(key, "algorithm"));
        if (algorithm && strcmp(algorithm, "rsa") == 0) {
            policy->is_rsa = true;
            policy->key_bits = json_integer_value(json_object_get(key, "min_bits"));
            return;
        }
        if (algorithm && strcmp(algorithm, "ec") == 0) {
            policy->is_rsa = false;
            policy->key_bits = curve_bits(json_object_get(key, "curves"));
        }
    }
}

/* The issuer's certificate, which must never be empty; each once. */
static enum ca_status
authority_find(struct xcep_set *set, const char *profile, size_t *ret_index)
{
    struct ca_chain chain;
    char endpoint[128];
    snprintf(endpoint, sizeof endpoint, "certificate/%s", profile);
    enum ca_status status = ca_chain(set->req, endpoint, false, &chain);
    if (status != CA_OK)
        return status;
    int size = i2d_X509(chain.issuer, NULL);
    uint8_t *der = size > 0 ? ca_request_alloc(set->req, (size_t)size) : NULL,
            *at = der;
    if (!der || i2d_X509(chain.issuer, &at) != size)
        return ca_fail_openssl(CA_INTERNAL, "cannot write an issuer's certificate");
    for (size_t i = 0; i < set->authority_count; i++) {
        const struct xcep_authority *known = &set->authorities[i];
        if (known->der.size == (size_t)size &&
            memcmp(known->der.data, der, (size_t)size) == 0) {
            *ret_index = i;
            return CA_OK;
        }
    }
    struct xcep_authority *authority = &set->authorities[set->authority_count];
    authority->der = (struct ca_bytes){ der, (size_t)size };
    authority->text = base64_encode(set->req, authority->der);
    if (!authority->text)
        return ca_fail(CA_INTERNAL, "no memory for an issuer's certificate");
    *ret_index = set->authority_count++;
    return CA_OK;
}

static const char *
copy(struct ca_request *req, const char *text)
{
    char *copied = ca_request_alloc(req, strlen(text) + 1);
    return copied ? strcpy(copied, text) : NULL;
}

static enum ca_status
visit(void *arg, const struct ca_profile *profile)
{
    struct xcep_set *set = arg;
    char oid[CA_TEMPLATE_OID_SIZE];
    if (set->own_alone && !profile->is_own)
        return CA_OK;
    if (set->policy_count == XCEP_POLICIES_MAX)
        return ca_fail(CA_LIMIT, "more than %d profiles", XCEP_POLICIES_MAX);
    struct xcep_policy *policy = &set->policies[set->policy_count];
    ca_template_oid(set->organisation.base_url, profile->name, oid);
    *policy = (struct xcep_policy){
        .name = copy(set->req, profile->name),
        .oid = copy(set->req, oid),
        .validity = windows_seconds(json_object_get(profile->settings, "validity")),
        .renewal =
            windows_seconds(json_object_get(profile->settings, "renewal_window")),
        .changed = profile->changed,
        .auto_enroll = names(set->xcep->auto_enroll, profile->name),
        .is_machine = names(set->xcep->machine, profile->name),
    };
    if (!policy->name || !policy->oid)
        return ca_fail(CA_INTERNAL, "no memory for a policy");
    if (policy->validity <= 0)
        return ca_fail(CA_INTERNAL, "settings of profile '%s' have no validity",
                       profile->name);
    /* Both above 0, and a renewal that does not begin at once. */
    if (policy->renewal >= policy->validity)
        policy->renewal = policy->validity / 2;
    if (policy->renewal <= 0)
        policy->renewal = 1;
    keys_read(json_object_get(profile->settings, "keys"), policy);
    enum ca_status status = authority_find(set, profile->name, &policy->authority);
    if (status == CA_OK)
        set->policy_count++;
    return status;
}

enum ca_status
xcep_policies(struct ca_request *req, struct xcep_set *set)
{
    set->req = req;
    enum ca_status status = ca_organisation(req, &set->organisation);
    if (status == CA_OK)
        status = ca_profiles(req, "wstep", visit, set);
    if (status == CA_OK && set->policy_count == 0)
        return ca_fail(CA_FORBIDDEN, "the user has no profile to enrol by");
    return status;
}
