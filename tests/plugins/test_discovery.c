/* Discovery and its login page before a double of the core. */
#include "discovery.h"
#include "plugin_rig.h"
#include "soap_answer.h"
#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <string.h>

#define SPACE "http://schemas.microsoft.com/windows/management/2012/01/enrollment"
#define ACTION SPACE "/IDiscoveryService/Discover"
#define APPRU "ms-app://windows.immersivecontrolpanel"

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
    core.login = "0123456789abcdefTOKEN-_";
    plugin_configure("{}");
}

TestSuite(discovery, .init = begin, .fini = plugin_end);

static enum ca_status
ask(const char *method, const char *path, const char *query, const char *body)
{
    fake_core_request(&core, method, "", query, body, strlen(body));
    return route(method, path)->handle(state, &core.request);
}

#define DISCOVERY "/EnrollmentServer/Discovery.svc"
#define LOGIN "/enrollments/windows/login-agent"

/* The request's members as Windows writes them. */
static enum ca_status
discover(const char *space, const char *members)
{
    char *body = NULL;
    cr_assert(
        asprintf(&body,
                 "<s:Envelope xmlns:a='" SOAP_SPACE_ADDRESSING "' xmlns:s='" SOAP_SPACE
                 "'><s:Header><a:Action s:mustUnderstand='1'>" ACTION
                 "</a:Action><a:MessageID>urn:uuid:748132ec</a:MessageID>"
                 "<a:To s:mustUnderstand='1'>https://EnterpriseEnrollment.other:443"
                 "/EnrollmentServer/Discovery.svc</a:To></s:Header><s:Body>"
                 "<Discover xmlns='%s'><request>%s</request></Discover></s:Body>"
                 "</s:Envelope>",
                 space, members) > 0);
    enum ca_status status = ask("POST", DISCOVERY, "", body);
    free(body);
    return status;
}

static const struct xml_node *
result(void)
{
    const struct xml_node *root = answer_root(&core);
    cr_expect_str_eq(PATH(root, "Header", "Action")->text, ACTION "Response");
    cr_expect_str_eq(PATH(root, "Header", "RelatesTo")->text, "urn:uuid:748132ec");
    const struct xml_node *found =
        PATH(root, "Body", "DiscoverResponse", "DiscoverResult");
    cr_expect_str_eq(found->space, SPACE);
    return found;
}

static const char *
subcode(void)
{
    return PATH(answer_root(&core), "Body", "Fault", "Code", "Subcode", "Value")->text;
}

Test(discovery, the_probe_gets_200_over_plain_http_and_a_message_needs_tls)
{
    cr_assert_eq(ask("GET", DISCOVERY, "", ""), CA_OK);
    cr_expect_eq(core.http_status, 200);
    cr_expect_eq(core.size, 0);
    cr_expect_eq(route("GET", DISCOVERY)->flags, CA_ROUTE_ANY_CASE);
    cr_expect_eq(route("POST", DISCOVERY)->flags,
                 CA_ROUTE_ANY_CASE | CA_ROUTE_TLS_ONLY | CA_ROUTE_OVERSIZE);
    cr_expect_eq(route("GET", LOGIN)->flags, CA_ROUTE_ANY_CASE | CA_ROUTE_TLS_ONLY);
    cr_expect_eq(route("POST", LOGIN)->flags, CA_ROUTE_ANY_CASE | CA_ROUTE_TLS_ONLY);
}

#define VERSION(text) "<RequestVersion>" text "</RequestVersion>"
#define OFFERS(inside) "<AuthPolicies>" inside "</AuthPolicies>"
#define OFFER(word) "<AuthPolicy>" word "</AuthPolicy>"

Test(discovery, every_version_from_1_on_is_answered)
{
    static const struct {
        const char *version, *wanted; /* EnrollmentVersion, NULL: left out */
    } cases[] = {
        { "1.0", NULL },   { "2.0", NULL },    { "3.0", "3.0" }, { "4.0", "4.0" },
        { "5.0", "4.0" },  { "6.0", "4.0" },   { "7.0", "4.0" }, { "9.0", "4.0" },
        { "10.1", "4.0" }, { " 4 \n", "4.0" }, { "3.7", "3.0" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *members = NULL;
        const struct xml_node *version = NULL;
        cr_assert(asprintf(&members,
                           "<EmailAddress/>" VERSION("%s")
                               OFFERS(OFFER("OnPremise") OFFER("Federated")),
                           cases[i].version) > 0);
        cr_expect_eq(discover(SPACE, members), CA_OK, "%s", cases[i].version);
        cr_expect_eq(core.http_status, 200);
        cr_assert_eq(xml_only(result(), SPACE, "EnrollmentVersion", &version), CA_OK);
        if (cases[i].wanted)
            cr_expect_str_eq(version->text, cases[i].wanted, "%s", cases[i].version);
        else
            cr_expect_null(version, "%s", cases[i].version);
        free(members);
    }
}

Test(discovery, names_the_services_by_configuration_never_by_host)
{
    cr_assert_eq(discover(SPACE "/", "<EmailAddress>a@other.example</EmailAddress>"
                                     "<Unknown>x</Unknown>" OFFERS(OFFER("Federated"))
                                         VERSION("4.0")),
                 CA_OK);
    const struct xml_node *found = result();
    cr_expect_str_eq(PATH(found, "AuthPolicy")->text, "Federated");
    cr_expect_str_eq(PATH(found, "AuthenticationServiceUrl")->text,
                     "https://ca.example.com" LOGIN);
    cr_expect_str_eq(PATH(found, "EnrollmentPolicyServiceUrl")->text,
                     "https://ca.example.com/EnrollmentServer/"
                     "PolicyEnrollmentWebservice.svc");
    cr_expect_str_eq(PATH(found, "EnrollmentServiceUrl")->text,
                     "https://ca.example.com/EnrollmentServer/"
                     "DeviceEnrollmentWebservice.svc");
}

Test(discovery, version_1_is_federated_in_its_own_order)
{
    static const char *const order[] = { "AuthPolicy", "AuthenticationServiceUrl",
                                         "EnrollmentPolicyServiceUrl",
                                         "EnrollmentServiceUrl" };
    cr_assert_eq(discover(SPACE, "<EmailAddress>a@example.com</EmailAddress>"
                                 "<RequestVersion/>"),
                 CA_OK);
    const struct xml_node *node = result()->first;
    for (size_t i = 0; i < COUNT(order); i++, node = node->next) {
        cr_assert_not_null(node);
        cr_expect_str_eq(node->name, order[i]);
    }
    cr_expect_null(node);
    plugin_configure("{\"authentication\": [\"OnPremise\"]}");
    cr_expect_eq(discover(SPACE, "<EmailAddress/><RequestVersion/>"), CA_FORBIDDEN);
}

Test(discovery, the_first_configured_policy_that_is_offered_is_chosen)
{
    static const struct {
        const char *settings, *offers, *wanted; /* NULL: a fault */
    } cases[] = {
        { "{}", OFFERS(OFFER("OnPremise") OFFER("Federated")), "Federated" },
        { "{}", OFFERS(OFFER("OnPremise")), "OnPremise" },
        { "{}", OFFERS(OFFER("Certificate")), NULL },
        { "{}", OFFERS(""), NULL },
        { "{}", OFFERS(OFFER("Quantum")), NULL },
        { "{}", "", "Federated" },
        { "{\"authentication\": [\"OnPremise\", \"Federated\"]}",
          OFFERS(OFFER("Federated") OFFER("OnPremise")), "OnPremise" },
        { "{\"authentication\": [\"Federated\", \"Certificate\"]}",
          OFFERS(OFFER("OnPremise") OFFER("Certificate")), "Certificate" },
        { "{\"authentication\": [\"Certificate\"]}",
          OFFERS(OFFER("OnPremise") OFFER("Federated")), NULL },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *members = NULL;
        cr_assert(asprintf(&members, "<EmailAddress/>" VERSION("4.0") "%s",
                           cases[i].offers) > 0);
        plugin_configure(cases[i].settings);
        enum ca_status status = discover(SPACE, members);
        if (cases[i].wanted) {
            cr_expect_eq(status, CA_OK, "%zu", i);
            cr_expect_str_eq(PATH(result(), "AuthPolicy")->text, cases[i].wanted, "%zu",
                             i);
            cr_expect_eq(xml_count(result(), NULL, "AuthenticationServiceUrl"),
                         strcmp(cases[i].wanted, "Federated") == 0, "%zu", i);
        } else {
            cr_expect_eq(status, CA_FORBIDDEN, "%zu", i);
            cr_expect_str_eq(subcode(), "s:Authorization");
            cr_expect_eq(core.refusals, 1);
        }
        free(members);
    }
}

Test(discovery, what_is_no_discover_gets_a_fault_and_never_a_4xx)
{
    static const struct {
        const char *name, *members;
    } cases[] = {
        { "no version", "<EmailAddress/>" },
        { "a version twice", VERSION("4.0") VERSION("4.0") },
        { "no number", VERSION("four") },
        { "version 0", VERSION("0.9") },
        { "a negative version", VERSION("-4.0") },
        { "too many digits", VERSION("44444.0") },
        { "half a version", VERSION("4.") },
        { "mail twice", "<EmailAddress/><EmailAddress/>" VERSION("4.0") },
        { "policies twice", VERSION("4.0") OFFERS("") OFFERS("") },
        { "a stranger among the policies", VERSION("4.0") OFFERS("<x/>") },
    };
    static const char *const bodies[] = {
        "",
        "x",
        "<a/>",
        "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'/>",
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        cr_expect_neq(discover(SPACE, cases[i].members), CA_OK, "%s", cases[i].name);
        cr_expect_eq(core.http_status, 500, "%s", cases[i].name);
        cr_expect_str_eq(subcode(), "s:MessageFormat", "%s", cases[i].name);
        cr_expect_eq(core.refusals, 1, "%s", cases[i].name);
        cr_expect_str_eq(PATH(answer_root(&core), "Header", "RelatesTo")->text,
                         "urn:uuid:748132ec", "%s", cases[i].name);
    }
    for (size_t i = 0; i < COUNT(bodies); i++) {
        cr_expect_neq(ask("POST", DISCOVERY, "", bodies[i]), CA_OK, "%s", bodies[i]);
        cr_expect_eq(core.http_status, 500, "%s", bodies[i]);
        cr_expect_str_eq(subcode(), "s:MessageFormat", "%s", bodies[i]);
    }
    plugin_configure("{\"fault_status\": 200}");
    cr_expect_neq(discover(SPACE, ""), CA_OK);
    cr_expect_eq(core.http_status, 200);
}

Test(discovery, W4_settings_that_mean_nothing_stop_the_start)
{
    static const char *const cases[] = {
        "{\"unknown\": 1}",
        "{\"authentication\": []}",
        "{\"authentication\": \"OnPremise\"}",
        "{\"authentication\": [\"onpremise\"]}",
        "{\"authentication\": [\"Federated\", \"Federated\"]}",
        "{\"fault_status\": 400}",
        "{\"fault_status\": \"500\"}",
        "{\"login_seconds\": 59}",
        "{\"login_seconds\": 3601}",
        "{\"terms\": 1}",
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        json_t *json = json_loads(cases[i], 0, NULL);
        void *made = NULL;
        cr_expect_eq(ca_plugin.init(json, &made), CA_MALFORMED, "%s", cases[i]);
        cr_expect_null(made);
        json_decref(json);
    }
}

/* ---- The login page ---- */

static const char *
page(void)
{
    cr_assert_str_eq(core.content_type, "text/html; charset=UTF-8");
    core.body[core.size] = '\0';
    return (const char *)core.body;
}

static void
expect_in(const char *text)
{
    cr_expect(strstr(page(), text) != NULL, "'%s' is not in the page", text);
}

/* Every inline script and style is allowed by its own hash, and nothing else is. */
static void
expect_hash(const char *tag, const char *directive)
{
    char open[16], hash[64], wanted[96];
    uint8_t digest[32];
    snprintf(open, sizeof open, "<%s>", tag);
    const char *text = strstr(page(), open), *stop = text ? strstr(text, "</") : NULL;
    cr_assert_not_null(stop);
    text += strlen(open);
    EVP_Digest(text, (size_t)(stop - text), digest, NULL, EVP_sha256(), NULL);
    EVP_EncodeBlock((unsigned char *)hash, digest, sizeof digest);
    snprintf(wanted, sizeof wanted, "%s 'sha256-%s';", directive, hash);
    cr_expect(strstr(core.security_policy, wanted) != NULL, "%s in %s", wanted,
              core.security_policy);
}

Test(discovery, the_login_page_loads_nothing_and_escapes_everything)
{
    plugin_configure("{\"terms\": \"Be <good> & \\\"kind\\\"\"}");
    cr_assert_eq(ask("GET", LOGIN, "appru=" APPRU "&login_hint=\"><script>x", ""),
                 CA_OK);
    cr_expect_eq(core.http_status, 200);
    expect_in("value=\"" APPRU "\"");
    expect_in("value=\"&quot;&gt;&lt;script&gt;x\"");
    expect_in("A &amp; &lt;B&gt;");
    expect_in("Be &lt;good&gt; &amp; &quot;kind&quot;");
    expect_in("action=\"login-agent\"");
    cr_expect_null(strstr(page(), "<script"));
    cr_expect_null(strstr(page(), "http"));
    cr_expect_not_null(strstr(core.security_policy, "default-src 'none';"));
    cr_expect_not_null(strstr(core.security_policy, "form-action 'self';"));
    cr_expect_not_null(strstr(core.security_policy, "script-src 'none';"));
    cr_expect_null(strstr(core.security_policy, "unsafe"));
    cr_expect_null(strstr(core.security_policy, "frame-ancestors"));
    expect_hash("style", "style-src");
}

Test(discovery, W2_only_an_app_of_the_client_gets_a_page)
{
    static const char *const queries[] = {
        "",
        "appru=",
        "appru=ms-app://",
        "appru=https://evil.example/",
        "appru=javascript:alert(1)",
        "appru=MS-APP://x",
        "appru= ms-app://x",
        "appru=ms-app://x\"onfocus=",
        "appru=ms-app://x<",
        "appru=ms-app://x y",
        "appru=ms-app://x'",
        "appru=ms-app://x\n",
        "appru=//ms-app://x",
        "appru=" APPRU "&appru=" APPRU,
    };
    for (size_t i = 0; i < COUNT(queries); i++) {
        cr_expect_eq(ask("GET", LOGIN, queries[i], ""), CA_MALFORMED, "%s", queries[i]);
        cr_expect_eq(core.http_status, 400, "%s", queries[i]);
        cr_expect_null(strstr(page(), "app:"), "%s", queries[i]);
        cr_expect_not_null(strstr(core.security_policy, "form-action 'none';"));
        cr_expect_eq(core.refusals, 1);
    }
    char *long_query = calloc(1, 600);
    memset(long_query, 'x', 599);
    memcpy(long_query, "appru=ms-app://", 15);
    cr_expect_eq(ask("GET", LOGIN, long_query, ""), CA_MALFORMED);
    free(long_query);
}

#define FORM(user, password) "appru=ms-app%3A%2F%2Fx&user=" user "&password=" password

Test(discovery, a_right_password_gets_one_token_for_the_client)
{
    cr_assert_eq(ask("POST", LOGIN, "", FORM("alice", "right+one")), CA_OK);
    cr_expect_eq(core.kind, CA_CREDENTIAL_PASSWORD);
    cr_expect_str_eq(core.message, "login");
    cr_expect_str_eq(core.endpoint, "");
    cr_expect_eq(core.logins, 1);
    cr_expect_eq(core.http_status, 200);
    expect_in("<form method=\"post\" action=\"ms-app://x\">");
    expect_in(
        "<input type=\"hidden\" name=\"wresult\" value=\"0123456789abcdefTOKEN-_\"/>");
    expect_in("type=\"submit\"");
    cr_expect_not_null(strstr(core.security_policy, "form-action ms-app:;"));
    cr_expect_str_eq(core.cache_control, "no-store");
    cr_expect_null(strstr(page(), "right"));
    expect_hash("script", "script-src");
    expect_hash("style", "style-src");
}

Test(discovery, unknown_and_wrong_get_the_same_page_again)
{
    static const char *const forms[] = { FORM("alice", "wrong"),
                                         FORM("bobby", "right+one"),
                                         FORM("alice", "") };
    char *first = NULL;
    for (size_t i = 0; i < COUNT(forms); i++) {
        cr_expect_eq(ask("POST", LOGIN, "", forms[i]), CA_UNAUTHENTICATED);
        cr_expect_eq(core.http_status, 200);
        cr_expect_eq(core.logins, 0);
        expect_in("User name or password is wrong.");
        cr_expect_null(strstr(page(), "wresult"));
        char *user = strstr((char *)core.body, "bobby"); /* as long as alice */
        if (user)
            memcpy(user, "alice", 5);
        if (first)
            cr_expect_str_eq(page(), first);
        else
            first = strdup(page());
    }
    free(first);
}

Test(discovery, forms_that_no_browser_sends_are_refused)
{
    static const char *const forms[] = {
        "",
        "appru=ms-app%3A%2F%2Fx",
        "appru=ms-app%3A%2F%2Fx&user=alice",
        "user=alice&password=right+one",
        "appru=https%3A%2F%2Fevil.example&user=alice&password=right+one",
        FORM("alice", "right+one") "&user=bob",
        FORM("alice", "%"),
        FORM("alice", "%zz"),
        FORM("alice", "a%00b"),
        FORM("alice%00", "right+one"),
        "a&b&c&d&e&f&g&h&i&j&k&l&m&n&o&p&q&" FORM("alice", "right+one"),
    };
    for (size_t i = 0; i < COUNT(forms); i++) {
        cr_expect_eq(ask("POST", LOGIN, "", forms[i]), CA_MALFORMED, "%s", forms[i]);
        cr_expect_eq(core.http_status, 400, "%s", forms[i]);
        cr_expect_eq(core.authenticates, 0, "%s", forms[i]);
        cr_expect_eq(core.refusals, 1);
    }
}

Test(discovery, an_outage_is_told_as_one)
{
    core.store = CA_UNAVAILABLE;
    cr_expect_eq(ask("POST", LOGIN, "", FORM("alice", "right+one")), CA_UNAVAILABLE);
    cr_expect_eq(core.http_status, 503);
    cr_expect_str_eq(core.retry_after, "10");
    cr_expect_eq(core.refusals, 0);
}

/* ---- The OpenID provider ---- */

#define PROVIDER_LOGIN "/enrollments/windows/oidc-login"
#define PROVIDER_BACK "/enrollments/windows/oidc"

static void
expect_not_in(const char *text)
{
    cr_expect_null(memmem(core.body, core.size, text, strlen(text)), "%.*s",
                   (int)core.size, (const char *)core.body);
}

Test(discovery, the_login_page_leads_to_the_provider_where_there_is_one)
{
    cr_assert_eq(ask("GET", LOGIN, "appru=" APPRU, ""), CA_OK);
    expect_not_in("oidc");
    core.provider = "A & <B>";
    cr_assert_eq(ask("GET", LOGIN, "appru=" APPRU, ""), CA_OK);
    expect_in("<a href=\"https://ca.example.com" PROVIDER_LOGIN "?appru=" APPRU
              "\">Log in with A &amp; &lt;B&gt;</a>");
    cr_assert_eq(ask("GET", PROVIDER_LOGIN, "appru=" APPRU, ""), CA_OK);
    cr_expect_eq(core.http_status, 303);
    cr_expect_str_eq(core.provider_context, APPRU);
}

Test(discovery, W2_only_an_app_of_the_client_is_sent_to_the_provider)
{
    core.provider = "B";
    static const char *const queries[] = { "", "appru=https://evil.example.com/",
                                           "appru=ms-app://", "appru=ms-app://a\"b" };
    for (size_t i = 0; i < COUNT(queries); i++) {
        cr_expect_eq(ask("GET", PROVIDER_LOGIN, queries[i], ""), CA_MALFORMED, "%s",
                     queries[i]);
        cr_expect_eq(core.http_status, 400);
        cr_expect_str_eq(core.provider_context, "");
    }
}

Test(discovery, who_comes_back_from_the_provider_gets_a_token_for_the_client)
{
    core.provider = "B";
    cr_expect_eq(ask("GET", PROVIDER_BACK, "code=c", ""), CA_UNAUTHENTICATED,
                 "nobody was sent");
    cr_expect_eq(core.http_status, 403);
    cr_assert_eq(ask("GET", PROVIDER_LOGIN, "appru=" APPRU, ""), CA_OK);
    cr_assert_eq(ask("GET", PROVIDER_BACK, "code=c&state=s", ""), CA_OK);
    expect_in("<form method=\"post\" action=\"" APPRU "\">");
    expect_in("name=\"wresult\" value=\"0123456789abcdefTOKEN-_\"");
    cr_expect_eq(core.kind, CA_CREDENTIAL_PROVIDER);
    cr_expect_eq(core.logins, 1);
    static const struct {
        enum ca_status status;
        int http;
    } cases[] = { { CA_UNAUTHENTICATED, 403 },
                  { CA_FORBIDDEN, 403 },
                  { CA_LIMIT, 403 },
                  { CA_UNAVAILABLE, 503 } };
    for (size_t i = 0; i < COUNT(cases); i++) {
        core.provider_status = cases[i].status;
        cr_expect_eq(ask("GET", PROVIDER_BACK, "code=c&state=s", ""), cases[i].status);
        cr_expect_eq(core.http_status, cases[i].http);
        expect_not_in("wresult");
        expect_not_in("the provider's word");
        cr_expect_eq(core.logins, 0);
    }
    snprintf(core.provider_context, sizeof core.provider_context, "https://evil/");
    core.provider_status = CA_OK;
    cr_expect_eq(ask("GET", PROVIDER_BACK, "code=c&state=s", ""), CA_MALFORMED);
    expect_not_in("wresult");
}
