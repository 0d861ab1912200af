/* Enrolment policies before a double of the core. */
#include "auto.h"
#include "plugin_rig.h"
#include "soap_answer.h"
#include "text.h"
#include "xcep.h"
#include <criterion/criterion.h>
#include <string.h>

#define ACTION                                                                         \
    "http://schemas.microsoft.com/windows/pki/2009/01/enrollmentpolicy/IPolicy/"       \
    "GetPolicies"
#define DEVICE "/EnrollmentServer/PolicyEnrollmentWebservice.svc"
#define CEP_PASSWORD "/ADPolicyProvider_CEP_UsernamePassword/service.svc/CEP"
#define CEP_CERTIFICATE "/ADPolicyProvider_CEP_Certificate/service.svc/CEP"
#define CLIENT                                                                         \
    "<client><lastUpdate i:nil='true'/><preferredLanguage i:nil='true'/></client>"
#define NO_FILTER "<requestFilter i:nil='true'/>"
#define PASSWORD                                                                       \
    "<w:Security><w:UsernameToken><w:Username>alice</w:Username><w:Password>right one" \
    "</w:Password></w:UsernameToken></w:Security>"
#define TOKEN                                                                          \
    "<w:Security><w:BinarySecurityToken ValueType='" SOAP_TOKEN_USER                   \
    "'>bG9naW4=</w:BinarySecurityToken></w:Security>" /* login */

static json_t *rsa, *ec;

static void
begin(void)
{
    static const char *const domains[] = { "example.com", NULL };
    fake_core_open(&core);
    core.organisation = (struct ca_organisation){ .name = "A & <B>",
                                                  .base_url = "https://ca.example.com",
                                                  .plain_url = "",
                                                  .mail_domains = domains };
    core.user = "alice";
    core.password = "right one";
    core.login = "login";
    rsa =
        json_loads("{\"validity\": \"P365D\", \"renewal_window\": \"P30D\", \"keys\": "
                   "[{\"algorithm\": \"ec\", \"curves\": [\"P-384\", \"P-256\"]}, "
                   "{\"algorithm\": \"rsa\", \"min_bits\": 3072}]}",
                   0, NULL);
    ec = json_loads(
        "{\"validity\": \"P1DT12H\", \"renewal_window\": \"P30D\", \"keys\": "
        "[{\"algorithm\": \"ec\", \"curves\": [\"P-384\", \"P-256\"]}]}",
        0, NULL);
    core.profiles[0] = (struct ca_profile){ "laptops", "", rsa, 1577836807, true };
    core.profiles[1] = (struct ca_profile){ "a-second", "", ec, 1577836800, false };
    core.profile_count = 2;
    plugin_configure("{}");
}

static void
end(void)
{
    json_decref(rsa);
    json_decref(ec);
    plugin_end();
}

TestSuite(xcep, .init = begin, .fini = end);

static enum ca_status
ask_with(const char *path, const char *security, const char *content, X509 *peer)
{
    char *body = NULL;
    cr_assert(asprintf(&body,
                       "<s:Envelope xmlns:s='" SOAP_SPACE
                       "' xmlns:a='" SOAP_SPACE_ADDRESSING
                       "' xmlns:w='" SOAP_SPACE_SECURITY "' xmlns:i='" XML_SPACE_XSI
                       "'><s:Header><a:Action>" ACTION
                       "</a:Action><a:MessageID>urn:uuid:72048B64</a:MessageID>%s"
                       "</s:Header><s:Body>%s</s:Body></s:Envelope>",
                       security, content) > 0);
    fake_core_request(&core, "POST", "", "", body, strlen(body));
    core.request.peer_certificate = peer;
    enum ca_status status = route("POST", path)->handle(state, &core.request);
    free(body);
    return status;
}

static enum ca_status
ask(const char *path, const char *security, const char *inside)
{
    char *content = NULL;
    cr_assert(asprintf(&content, "<GetPolicies xmlns='" XCEP_SPACE "'>%s</GetPolicies>",
                       inside) > 0);
    enum ca_status status = ask_with(path, security, content, NULL);
    free(content);
    return status;
}

static const struct xml_node *
answer(void)
{
    const struct xml_node *root = answer_root(&core);
    cr_expect_str_eq(
        xml_child(xml_child(root, NULL, "Header"), NULL, "RelatesTo")->text,
        "urn:uuid:72048B64");
    return root;
}

static const struct xml_node *
response(void)
{
    const struct xml_node *root = answer();
    cr_expect_eq(core.http_status, 200);
    cr_expect_str_eq(PATH(root, "Header", "Action")->text, ACTION "Response");
    return PATH(root, "Body", "GetPoliciesResponse");
}

static void
expect_fault(const char *subcode, const char *what)
{
    const struct xml_node *root = answer();
    cr_expect_str_eq(PATH(root, "Body", "Fault", "Code", "Subcode", "Value")->text,
                     subcode, "%s", what);
    cr_expect_eq(core.http_status, 500, "%s", what);
}

/* Children of an element are these, in this order; "?" before one that must be nil. */
static void
expect_order(const struct xml_node *node, const char *const *names)
{
    const struct xml_node *child = node->first;
    for (; *names; names++) {
        bool is_nil = **names == '?';
        cr_assert_not_null(child, "%s is missing in %s", *names, node->name);
        cr_expect_str_eq(child->name, *names + is_nil, "in %s", node->name);
        cr_expect_str_eq(child->space, XCEP_SPACE);
        cr_expect_eq(xml_is_nil(child), is_nil, "%s", child->name);
        cr_expect(!is_nil || (!child->first && child->text_size == 0));
        child = child->next;
    }
    cr_expect_null(child, "%s is one too many in %s", child ? child->name : "",
                   node->name);
}
#define ORDER(node, ...) expect_order(node, (const char *const[]){ __VA_ARGS__, NULL })

/* What Windows chokes on, row 25: order, nil, cAs and their certificates. */
Test(xcep, every_element_is_there_in_the_order_of_the_schema)
{
    cr_assert_eq(ask(CEP_PASSWORD, PASSWORD, CLIENT NO_FILTER), CA_OK);
    const struct xml_node *all = response();
    ORDER(all, "response", "cAs", "oIDs");
    const struct xml_node *inner = PATH(all, "response");
    ORDER(inner, "policyID", "policyFriendlyName", "nextUpdateHours",
          "?policiesNotChanged", "policies");
    const struct xml_node *policies = PATH(inner, "policies");
    ORDER(policies, "policy", "policy");
    for (const struct xml_node *policy = policies->first; policy;
         policy = policy->next) {
        ORDER(policy, "policyOIDReference", "cAs", "attributes");
        ORDER(PATH(policy, "cAs"), "cAReference");
        const struct xml_node *attributes = PATH(policy, "attributes");
        bool is_rsa = policy == policies->first;
        ORDER(attributes, "commonName", "policySchema", "certificateValidity",
              "permission", "privateKeyAttributes", "revision", "?supersededPolicies",
              "privateKeyFlags", "subjectNameFlags", "enrollmentFlags", "generalFlags",
              "hashAlgorithmOIDReference", "?rARequirements", "?keyArchivalAttributes",
              "?extensions");
        ORDER(PATH(attributes, "certificateValidity"), "validityPeriodSeconds",
              "renewalPeriodSeconds");
        ORDER(PATH(attributes, "permission"), "enroll", "autoEnroll");
        ORDER(PATH(attributes, "privateKeyAttributes"), "minimalKeyLength",
              is_rsa ? "keySpec" : "?keySpec", "?keyUsageProperty", "?permissions",
              "?algorithmOIDReference", "cryptoProviders");
        ORDER(PATH(attributes, "privateKeyAttributes", "cryptoProviders"), "provider",
              "provider");
        ORDER(PATH(attributes, "revision"), "majorRevision", "minorRevision");
    }
    ORDER(PATH(all, "cAs"), "cA");
    const struct xml_node *authority = PATH(all, "cAs", "cA");
    ORDER(authority, "uris", "certificate", "enrollPermission", "cAReferenceID");
    ORDER(PATH(authority, "uris", "cAURI"), "clientAuthentication", "uri", "priority",
          "renewalOnly");
    cr_expect_gt(PATH(authority, "certificate")->text_size, 100);
    ORDER(PATH(all, "oIDs"), "oID", "oID", "oID");
    for (const struct xml_node *oid = PATH(all, "oIDs")->first; oid; oid = oid->next) {
        ORDER(oid, "value", "group", "oIDReferenceID", "defaultName");
        cr_expect_gt(PATH(oid, "defaultName")->text_size, 0);
    }
}

Test(xcep, says_of_a_profile_what_it_is)
{
    cr_assert_eq(ask(CEP_PASSWORD, PASSWORD, CLIENT NO_FILTER), CA_OK);
    const struct xml_node *all = response();
    const struct xml_node *policy = PATH(all, "response", "policies")->first;
    const struct xml_node *first = PATH(policy, "attributes");
    const struct xml_node *second = PATH(policy->next, "attributes");
    cr_expect_str_eq(PATH(first, "commonName")->text, "laptops");
    cr_expect_str_eq(PATH(first, "policySchema")->text, "3");
    cr_expect_str_eq(PATH(first, "certificateValidity", "validityPeriodSeconds")->text,
                     "31536000");
    cr_expect_str_eq(PATH(first, "certificateValidity", "renewalPeriodSeconds")->text,
                     "2592000");
    cr_expect_str_eq(PATH(first, "privateKeyAttributes", "minimalKeyLength")->text,
                     "3072");
    cr_expect_str_eq(PATH(first, "privateKeyAttributes", "keySpec")->text, "1");
    cr_expect_str_eq(PATH(first, "revision", "minorRevision")->text, "7");
    cr_expect_str_eq(PATH(first, "permission", "autoEnroll")->text, "false");
    cr_expect_str_eq(PATH(second, "certificateValidity", "validityPeriodSeconds")->text,
                     "129600");
    /* A window as long as the life would mean a renewal at once. */
    cr_expect_str_eq(PATH(second, "certificateValidity", "renewalPeriodSeconds")->text,
                     "64800");
    cr_expect_str_eq(PATH(second, "privateKeyAttributes", "minimalKeyLength")->text,
                     "256");
    const struct xml_node *hash = PATH(all, "oIDs")->first;
    cr_expect_str_eq(PATH(hash, "value")->text, "2.16.840.1.101.3.4.2.1");
    cr_expect_str_eq(PATH(hash, "group")->text, "1");
    cr_expect_str_eq(PATH(hash, "oIDReferenceID")->text,
                     PATH(first, "hashAlgorithmOIDReference")->text);
    cr_expect_str_eq(PATH(hash->next, "group")->text, "9");
    cr_expect_str_eq(PATH(hash->next, "oIDReferenceID")->text,
                     PATH(policy, "policyOIDReference")->text);
    cr_expect_str_eq(PATH(hash->next, "defaultName")->text, "laptops");
    cr_expect_str_eq(PATH(all, "response", "policyFriendlyName")->text, "A & <B>");
}

Test(xcep, the_settings_mark_machines_and_automatic_enrolment)
{
    plugin_configure("{\"machine\": [\"laptops\"], \"auto_enroll\": [\"a-second\"]}");
    cr_assert_eq(ask(CEP_PASSWORD, PASSWORD, CLIENT), CA_OK);
    const struct xml_node *policy = PATH(response(), "response", "policies")->first;
    const struct xml_node *first = PATH(policy, "attributes");
    const struct xml_node *second = PATH(policy->next, "attributes");
    cr_expect_str_eq(PATH(first, "generalFlags")->text, "64");
    cr_expect_str_eq(PATH(first, "subjectNameFlags")->text, "402653184");
    cr_expect_str_eq(PATH(first, "permission", "autoEnroll")->text, "false");
    cr_expect_str_eq(PATH(second, "generalFlags")->text, "0");
    cr_expect_str_eq(PATH(second, "subjectNameFlags")->text, "1073741824");
    cr_expect_str_eq(PATH(second, "permission", "autoEnroll")->text, "true");
}

Test(xcep, durations_are_those_that_settings_show)
{
    static const struct {
        const char *text;
        int64_t seconds;
    } cases[] = {
        { "P30D", 30 * 86400 },
        { "P1DT12H", 86400 + 12 * 3600 },
        { "PT5M", 300 },
        { "PT1H2M3S", 3723 },
        { "P4DT5S", 345605 },
        { "PT0S", 0 },
        { "", 0 },
        { "P", 0 },
        { "30D", 0 },
        { "P1Y", 0 },
        { "P5M", 0 },
        { "PT5D", 0 },
        { "P-1D", 0 },
        { "P1D ", 0 },
        { "P99999999999D", 0 },
        { "P1", 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CA_AUTO(json_decref) json_t *text = json_string(cases[i].text);
        int64_t seconds = 0;
        cr_expect_eq(windows_seconds(text), cases[i].seconds, "%s", cases[i].text);
        if (duration_parse(cases[i].text, &seconds) && cases[i].seconds > 0)
            cr_expect_eq(seconds, cases[i].seconds, "%s", cases[i].text);
    }
    cr_expect_eq(windows_seconds(NULL), 0);
    /* As the core writes them. */
    for (int64_t seconds = 1; seconds < 4000000000; seconds = seconds * 7 + 13) {
        char text[32];
        duration_format(seconds, text);
        CA_AUTO(json_decref) json_t *duration = json_string(text);
        cr_expect_eq(windows_seconds(duration), seconds, "%s", text);
    }
}

/* Windows caches by it; arcs above 32 bits end its list without a word. */
Test(xcep, identifiers_are_stable_and_their_arcs_fit)
{
    char id[WINDOWS_GUID_SIZE], again[WINDOWS_GUID_SIZE];
    char oid[CA_TEMPLATE_OID_SIZE], other[CA_TEMPLATE_OID_SIZE];
    struct ca_organisation moved = { .base_url = "https://other.example.com" };
    windows_policy_id(&core.organisation, id);
    cr_expect_str_eq(id, "{0F2731BE-2503-81FF-A498-D2C1576EA1EF}");
    cr_expect_eq(strlen(id), WINDOWS_GUID_SIZE - 1);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(ask(DEVICE, PASSWORD, CLIENT), CA_OK);
        cr_expect_str_eq(PATH(response(), "response", "policyID")->text, id);
    }
    windows_policy_id(&moved, again);
    cr_expect_str_neq(id, again);
    ca_template_oid(core.organisation.base_url, "laptops", oid);
    ca_template_oid(core.organisation.base_url, "laptop", other);
    cr_expect_str_neq(oid, other);
    for (int i = 0; i < 2000; i++) {
        char name[16];
        snprintf(name, sizeof name, "p%d", i);
        ca_template_oid(core.organisation.base_url, name, oid);
        cr_assert_eq(strncmp(oid, "1.3.6.1.4.1.311.21.8.", 21), 0);
        size_t arcs = 1;
        for (char *at = oid; *at; arcs++) {
            char *stop;
            cr_assert_leq(strtoull(at, &stop, 10), UINT32_MAX, "%s", oid);
            cr_assert_neq(stop, at);
            at = stop + (*stop == '.');
        }
        cr_assert_eq(arcs, 17, "%s", oid);
    }
}

Test(xcep, device_management_gets_the_profile_that_it_will_enrol_by)
{
    cr_assert_eq(ask(DEVICE, TOKEN, CLIENT NO_FILTER), CA_OK);
    cr_expect_eq(core.kind, CA_CREDENTIAL_LOGIN_TOKEN);
    cr_expect_str_eq(core.message, "GetPolicies");
    cr_expect_str_eq(core.endpoint, "");
    const struct xml_node *all = response();
    cr_expect_eq(xml_count(PATH(all, "response", "policies"), NULL, "policy"), 1);
    cr_expect_str_eq(PATH(all, "cAs", "cA", "uris", "cAURI", "uri")->text,
                     "https://ca.example.com/EnrollmentServer/"
                     "DeviceEnrollmentWebservice.svc");
    cr_expect_str_eq(PATH(all, "response", "policies", "policy", "attributes",
                          "privateKeyAttributes", "cryptoProviders")
                         ->first->text,
                     "Microsoft Platform Crypto Provider");
}

Test(xcep, the_connections_certificate_is_a_credential_where_it_is_taken)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *ours = fake_core_certify(&core, key, "device");
    static const char content[] =
        "<GetPolicies xmlns='" XCEP_SPACE "'>" CLIENT NO_FILTER "</GetPolicies>";
    cr_expect_eq(ask_with(CEP_CERTIFICATE, "", content, ours), CA_OK);
    cr_expect_eq(core.kind, CA_CREDENTIAL_CERTIFICATE);
    const struct xml_node *uri = PATH(response(), "cAs", "cA", "uris", "cAURI");
    cr_expect_str_eq(PATH(uri, "clientAuthentication")->text, "8");
    cr_expect_str_eq(PATH(uri, "uri")->text,
                     "https://ca.example.com/CES_Certificate/service.svc/CES");
    cr_expect_eq(ask_with(CEP_CERTIFICATE, "", content, NULL), CA_MALFORMED);
    expect_fault("a:InvalidSecurity", "no certificate");
    cr_expect_eq(ask_with(CEP_CERTIFICATE, PASSWORD, content, ours), CA_MALFORMED);
    expect_fault("a:InvalidSecurity", "a password for the certificate's address");
    cr_expect_eq(ask_with(CEP_PASSWORD, "", content, ours), CA_MALFORMED);
    expect_fault("a:InvalidSecurity", "a certificate for the password's address");
    cr_expect_eq(core.authenticates, 0);
    X509_free(ours);
    EVP_PKEY_free(key);
}

Test(xcep, filters_by_oid_and_takes_every_version)
{
    char oid[CA_TEMPLATE_OID_SIZE], *inside = NULL;
    ca_template_oid(core.organisation.base_url, "a-second", oid);
    cr_assert(asprintf(&inside,
                       CLIENT "<requestFilter><policyOIDs><oid>%s</oid><oid>1.2.3</oid>"
                              "</policyOIDs><clientVersion>0</clientVersion>"
                              "<serverVersion>6</serverVersion></requestFilter>",
                       oid) > 0);
    cr_assert_eq(ask(CEP_PASSWORD, PASSWORD, inside), CA_OK);
    const struct xml_node *policies = PATH(response(), "response", "policies");
    cr_expect_eq(xml_count(policies, NULL, "policy"), 1);
    cr_expect_str_eq(PATH(policies, "policy", "attributes", "commonName")->text,
                     "a-second");
    free(inside);
    cr_assert_eq(ask(CEP_PASSWORD, PASSWORD,
                     CLIENT "<requestFilter><policyOIDs><oid>1.2.3</oid></policyOIDs>"
                            "</requestFilter>"),
                 CA_OK);
    cr_expect(xml_is_nil(PATH(response(), "response", "policies")));
    cr_expect_eq(xml_count(PATH(response(), "cAs"), NULL, "cA"), 1, "cAs is never nil");
}

Test(xcep, clients_of_the_specifications_examples_are_understood)
{
    static const char *const cases[] = {
        "<client><lastUpdate>0001-01-01T00:00:00</lastUpdate>"
        "<preferredLanguage i:nil='1'></preferredLanguage></client>" NO_FILTER,
        "<client><lastUpdate>20090-03-15-T09:38:46</lastUpdate></client>",
        "<client><lastUpdate "
        "i:nil='true'/><TPMManufacturer>x</TPMManufacturer></client>",
        CLIENT "<requestFilter><policyOIDs i:nil='true'/><clientVersion i:nil='true'/>"
               "</requestFilter>",
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        cr_expect_eq(ask(DEVICE, PASSWORD, cases[i]), CA_OK, "%s", cases[i]);
}

Test(xcep, what_is_no_get_policies_gets_a_fault)
{
    static const char *const cases[] = {
        "",
        NO_FILTER,
        "<client/>",
        "<client i:nil='true'/>",
        CLIENT CLIENT,
        CLIENT NO_FILTER NO_FILTER,
        CLIENT "<requestFilter><policyOIDs><x/></policyOIDs></requestFilter>",
        CLIENT "<requestFilter><clientVersion>x</clientVersion></requestFilter>",
        CLIENT "<requestFilter><serverVersion>-1</serverVersion></requestFilter>",
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        cr_expect_eq(ask(DEVICE, PASSWORD, cases[i]), CA_MALFORMED, "%s", cases[i]);
        expect_fault("s:MessageFormat", cases[i]);
        cr_expect_eq(core.authenticates, 0);
        cr_expect_eq(core.refusals, 1);
        cr_expect_str_eq(core.reason, "MessageFormat");
        cr_expect_not(core.refused_verified);
    }
    cr_expect_eq(ask_with(DEVICE, PASSWORD, "<Discover xmlns='urn:x'/>", NULL),
                 CA_MALFORMED);
    expect_fault("s:MessageFormat", "another message");
}

Test(xcep, refusals_have_the_words_of_the_protocol)
{
    static const struct {
        const char *name, *security;
        enum ca_status store, status;
        const char *subcode;
    } cases[] = {
        { "no Security header", "", CA_OK, CA_MALFORMED, "a:InvalidSecurity" },
        { "an unknown token",
          "<w:Security><w:BinarySecurityToken ValueType='urn:x'>YQ=="
          "</w:BinarySecurityToken></w:Security>",
          CA_OK, CA_MALFORMED, "a:InvalidSecurity" },
        { "an unknown user",
          "<w:Security><w:UsernameToken><w:Username>bob</w:Username><w:Password>right "
          "one"
          "</w:Password></w:UsernameToken></w:Security>",
          CA_OK, CA_UNAUTHENTICATED, "s:Authentication" },
        { "a wrong password",
          "<w:Security><w:UsernameToken><w:Username>alice</w:Username><w:Password>x"
          "</w:Password></w:UsernameToken></w:Security>",
          CA_OK, CA_UNAUTHENTICATED, "s:Authentication" },
        { "an outage", PASSWORD, CA_UNAVAILABLE, CA_UNAVAILABLE, "s:EnrollmentServer" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        core.store = cases[i].store;
        cr_expect_eq(ask(DEVICE, cases[i].security, CLIENT), cases[i].status, "%s",
                     cases[i].name);
        expect_fault(cases[i].subcode, cases[i].name);
        cr_expect_null(memmem(core.body, core.size, "right one", 9),
                       "the secret is told");
    }
    core.store = CA_OK;
    core.profile_count = 0;
    cr_expect_eq(ask(DEVICE, PASSWORD, CLIENT), CA_FORBIDDEN);
    expect_fault("s:Authorization", "no profile");
    cr_expect(core.refused_verified);
}

/* CEP's faults are WCF's and always 500; the device service's are by its own setting.
 */
Test(xcep, faults_follow_the_service_they_come_from)
{
    plugin_configure("{\"fault_status\": 200}");
    cr_expect_eq(ask(DEVICE, "", CLIENT), CA_MALFORMED);
    cr_expect_eq(core.http_status, 200);
    cr_expect_str_eq(PATH(answer(), "Header", "Action")->text, SOAP_FAULT_ENROLLMENT);
    cr_expect_eq(ask(CEP_PASSWORD, "", CLIENT), CA_MALFORMED);
    cr_expect_eq(core.http_status, 500);
    cr_expect_str_eq(PATH(answer(), "Header", "Action")->text, SOAP_FAULT_DISPATCHER);
}

Test(xcep, a_probe_gets_200_and_no_challenge)
{
    static const char *const paths[] = { DEVICE, CEP_PASSWORD, CEP_CERTIFICATE };
    for (size_t i = 0; i < COUNT(paths); i++) {
        fake_core_request(&core, "GET", "", "", "", 0);
        cr_expect_eq(route("GET", paths[i])->handle(state, &core.request), CA_OK);
        cr_expect_eq(core.http_status, 200);
        cr_expect_eq(route("POST", paths[i])->flags,
                     CA_ROUTE_ANY_CASE | CA_ROUTE_TLS_ONLY | CA_ROUTE_OVERSIZE);
    }
}

Test(xcep, W4_settings_that_mean_nothing_stop_the_start)
{
    static const char *const cases[] = {
        "{\"unknown\": 1}",     "{\"machine\": \"x\"}",      "{\"machine\": [1]}",
        "{\"auto_enroll\": 1}", "{\"fault_status\": \"1\"}", "{\"fault_status\": 404}",
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        json_t *json = json_loads(cases[i], 0, NULL);
        void *made = NULL;
        cr_expect_eq(ca_plugin.init(json, &made), CA_MALFORMED, "%s", cases[i]);
        cr_expect_null(made);
        json_decref(json);
    }
}
