/* GetPoliciesResponse ([MS-XCEP] 3.1.4.1.3): every element in the schema's order, nil
 * where there is nothing to say, for a missing one makes a client refuse the whole. */
#include "auto.h"
#include "xcep.h"
#include <string.h>

#define RESPONSE_ACTION                                                                \
    "http://schemas.microsoft.com/windows/pki/2009/01/enrollmentpolicy/IPolicy/"       \
    "GetPoliciesResponse"
#define UPDATE_HOURS 8
#define SCHEMA_VERSION 3 /* of a policy; 3 alone may name a hash algorithm */
#define REVISION_EPOCH INT64_C(1577836800) /* 2020-01-01: minor revisions count on */
#define HASH_OID "2.16.840.1.101.3.4.2.1"
#define HASH_REFERENCE 1
#define POLICY_REFERENCE 100 /* and up */
#define GROUP_HASH 1
#define GROUP_POLICY 9                /* enrolment object */
#define KEY_EXCHANGE 1                /* AT_KEYEXCHANGE */
#define SUBJECT_OF_USER 0x40000000    /* common name from the directory */
#define SUBJECT_OF_MACHINE 0x18000000 /* DNS names from the directory */
#define GENERAL_MACHINE 0x40
#define VERSION_MASKED 0 /* privateKeyFlags asks for no version of client or server */

static void
leaf_boolean(struct xml_writer *writer, const char *name, bool value)
{
    xml_leaf(writer, name, value ? "true" : "false");
}

static void
providers_write(struct xml_writer *writer, bool is_device)
{
    static const char tpm[] = "Microsoft Platform Crypto Provider";
    static const char software[] = "Microsoft Software Key Storage Provider";
    xml_open(writer, "cryptoProviders");
    xml_leaf(writer, "provider", is_device ? tpm : software);
    xml_leaf(writer, "provider", is_device ? software : tpm);
    xml_close(writer);
}

static void
key_write(struct xml_writer *writer, const struct xcep_policy *policy, bool is_device)
{
    xml_open(writer, "privateKeyAttributes");
    xml_leaf_integer(writer, "minimalKeyLength", policy->key_bits);
    if (policy->is_rsa)
        xml_leaf_integer(writer, "keySpec", KEY_EXCHANGE);
    else
        xml_nil(writer, "keySpec");
    xml_nil(writer, "keyUsageProperty");
    xml_nil(writer, "permissions");
    xml_nil(writer, "algorithmOIDReference");
    providers_write(writer, is_device);
    xml_close(writer);
}

static void
attributes_write(struct xml_writer *writer, const struct xcep_policy *policy,
                 bool is_device)
{
    int64_t minor = policy->changed - REVISION_EPOCH;
    xml_open(writer, "attributes");
    xml_leaf(writer, "commonName", policy->name);
    xml_leaf_integer(writer, "policySchema", SCHEMA_VERSION);
    xml_open(writer, "certificateValidity");
    xml_leaf_integer(writer, "validityPeriodSeconds", policy->validity);
    xml_leaf_integer(writer, "renewalPeriodSeconds", policy->renewal);
    xml_close(writer);
    xml_open(writer, "permission");
    leaf_boolean(writer, "enroll", true);
    leaf_boolean(writer, "autoEnroll", policy->auto_enroll);
    xml_close(writer);
    key_write(writer, policy, is_device);
    xml_open(writer, "revision");
    xml_leaf_integer(writer, "majorRevision", CA_TEMPLATE_REVISION);
    xml_leaf_integer(writer, "minorRevision", minor > 0 ? minor : 0);
    xml_close(writer);
    xml_nil(writer, "supersededPolicies");
    xml_leaf_integer(writer, "privateKeyFlags", VERSION_MASKED);
    xml_leaf_integer(writer, "subjectNameFlags",
                     policy->is_machine ? SUBJECT_OF_MACHINE : SUBJECT_OF_USER);
    xml_leaf_integer(writer, "enrollmentFlags", 0);
    xml_leaf_integer(writer, "generalFlags", policy->is_machine ? GENERAL_MACHINE : 0);
    xml_leaf_integer(writer, "hashAlgorithmOIDReference", HASH_REFERENCE);
    xml_nil(writer, "rARequirements");
    xml_nil(writer, "keyArchivalAttributes");
    xml_nil(writer, "extensions");
    xml_close(writer);
}

/* The filter asks by OID; by version everything passes that asks for none. */
static bool
is_wanted(const struct xcep_request *request, const struct xcep_policy *policy)
{
    if (!request->has_filter)
        return true;
    for (size_t i = 0; i < request->oid_count; i++) {
        if (strcmp(request->oids[i], policy->oid) == 0)
            return true;
    }
    return false;
}

static void
policy_write(struct xml_writer *writer, const struct xcep_set *set, size_t index)
{
    const struct xcep_policy *policy = &set->policies[index];
    xml_open(writer, "policy");
    xml_leaf_integer(writer, "policyOIDReference", POLICY_REFERENCE + (int64_t)index);
    xml_open(writer, "cAs");
    xml_leaf_integer(writer, "cAReference", (int64_t)policy->authority);
    xml_close(writer);
    attributes_write(writer, policy, set->own_alone);
    xml_close(writer);
}

static void
policies_write(struct xml_writer *writer, const struct xcep_set *set,
               const struct xcep_request *request)
{
    size_t count = 0;
    for (size_t i = 0; i < set->policy_count; i++) {
        if (!is_wanted(request, &set->policies[i]))
            continue;
        if (count++ == 0)
            xml_open(writer, "policies");
        policy_write(writer, set, i);
    }
    if (count > 0)
        xml_close(writer);
    else
        xml_nil(writer, "policies");
}

static void
authorities_write(struct xml_writer *writer, const struct xcep_set *set,
                  const struct xcep_uri *uri)
{
    xml_open(writer, "cAs");
    for (size_t i = 0; i < set->authority_count; i++) {
        xml_open(writer, "cA");
        xml_open(writer, "uris");
        xml_open(writer, "cAURI");
        xml_leaf_integer(writer, "clientAuthentication", uri->authentication);
        xml_open(writer, "uri");
        xml_text(writer, set->organisation.base_url);
        xml_text(writer, uri->path);
        xml_close(writer);
        xml_leaf_integer(writer, "priority", uri->priority);
        leaf_boolean(writer, "renewalOnly", false);
        xml_close(writer);
        xml_close(writer);
        xml_leaf(writer, "certificate", set->authorities[i].text);
        leaf_boolean(writer, "enrollPermission", true);
        xml_leaf_integer(writer, "cAReferenceID", (int64_t)i);
        xml_close(writer);
    }
    xml_close(writer);
}

static void
oid_write(struct xml_writer *writer, const char *oid, int group, int64_t reference,
          const char *name)
{
    xml_open(writer, "oID");
    xml_leaf(writer, "value", oid);
    xml_leaf_integer(writer, "group", group);
    xml_leaf_integer(writer, "oIDReferenceID", reference);
    xml_leaf(writer, "defaultName", name);
    xml_close(writer);
}

static void
oids_write(struct xml_writer *writer, const struct xcep_set *set)
{
    xml_open(writer, "oIDs");
    oid_write(writer, HASH_OID, GROUP_HASH, HASH_REFERENCE, "szOID_NIST_sha256");
    for (size_t i = 0; i < set->policy_count; i++)
        oid_write(writer, set->policies[i].oid, GROUP_POLICY,
                  POLICY_REFERENCE + (int64_t)i, set->policies[i].name);
    xml_close(writer);
}

enum ca_status
xcep_answer_send(const struct xcep_set *set, const struct soap_request *soap,
                 const struct xcep_request *request, const struct xcep_uri *uri)
{
    CA_AUTO(xml_clear) struct xml_writer writer = { 0 };
    char id[WINDOWS_GUID_SIZE];
    windows_policy_id(&set->organisation, id);
    soap_answer_begin(&writer, soap, RESPONSE_ACTION);
    xml_open(&writer, "GetPoliciesResponse");
    xml_set(&writer, "xmlns", XCEP_SPACE);
    xml_set(&writer, "xmlns:xsi", XML_SPACE_XSI);
    xml_open(&writer, "response");
    xml_leaf(&writer, "policyID", id);
    xml_leaf(&writer, "policyFriendlyName", set->organisation.name);
    xml_leaf_integer(&writer, "nextUpdateHours", UPDATE_HOURS);
    xml_nil(&writer, "policiesNotChanged");
    policies_write(&writer, set, request);
    xml_close(&writer);
    authorities_write(&writer, set, uri);
    oids_write(&writer, set);
    xml_close(&writer);
    return soap_answer_send(&writer, set->req);
}
