/* [MS-WSTEP] for device management through the real core: token, store, users. */
#include "clock.h"
#include "house.h"
#include "leak.h"
#include "password.h"
#include "soap.h"
#include "windows_client.h"
#include "wstep.h"

#define DAY INT64_C(86400)
#define PASSWORD "correct-horse-9"
#define PASSWORD_TYPE                                                                  \
    "http://docs.oasis-open.org/wss/2004/01/"                                          \
    "oasis-200401-wss-username-token-profile-1.0#PasswordText"

extern const struct ca_plugin ca_plugin;

static struct house house;
static void *state;
static int64_t made_before; /* the issuers' and helpers' own certificates */

static enum ca_status
password_step(struct store_tx *tx, void *verifier)
{
    return password_save(tx, "alice", verifier);
}

static enum ca_status
organisation_step(struct store_tx *tx, void *arg)
{
    (void)arg;
    return store_run(tx, "UPDATE organisation SET base_url = 'https://mdm.example.com'",
                     STORE_NO_VALUES, NULL, NULL, NULL);
}

static void
begin(void)
{
    static char verifier[PASSWORD_VERIFIER_SIZE];
    house_build(&house);
    house_set(&house, "protocols", "[\"scep\", \"wstep\"]");
    house_set(&house, "allow_sha1_request", "true");
    house_write(&house, organisation_step, NULL);
    cr_assert_eq(service_reload(house.service), CA_OK);
    cr_assert_eq(password_derive(PASSWORD, strlen(PASSWORD), verifier), CA_OK);
    house_write(&house, password_step, verifier);
    cr_assert_eq(ca_plugin.init(NULL, &state), CA_OK);
    made_before = house_integer(&house, "SELECT count(*) FROM certificate");
}

static void
end(void)
{
    ca_plugin.fini(state);
    house_remove(&house);
    clock_set(-1);
    LEAK_CHECK();
}

TestSuite(wstep, .init = begin, .fini = end, .timeout = 120);

static int64_t
issued_count(void)
{
    return house_integer(&house, "SELECT count(*) FROM certificate") - made_before;
}

/* One message and its answer, read while the request lives. */
struct talk {
    struct exchange exchange;
    enum ca_status status;
    const struct xml_node *envelope, *body;
};

static void
talk_post(struct talk *talk, const char *message, X509 *peer)
{
    const struct ca_route *route = ca_plugin.routes;
    house_exchange(&house, &talk->exchange);
    talk->exchange.plugin = "wstep";
    talk->exchange.request.peer_certificate = peer;
    talk->exchange.request.body =
        (struct ca_bytes){ (const uint8_t *)message, strlen(message) };
    while (strcmp(route->method, "POST") != 0)
        route++;
    talk->status = route->handle(state, &talk->exchange.request);
    struct ca_bytes body = { talk->exchange.answer.body, talk->exchange.answer.size };
    cr_assert_str_eq(talk->exchange.answer.content_type,
                     "application/soap+xml; charset=utf-8");
    cr_assert_eq(
        xml_read(&talk->exchange.request, body, &xml_limits_soap, &talk->envelope),
        CA_OK);
    talk->body = xml_child(talk->envelope, SOAP_SPACE, "Body");
    cr_assert_not_null(talk->body);
}

static void
talk_clear(struct talk *talk)
{
    exchange_clear(&talk->exchange);
}

/* The text at a path of local names below the body; NULL: nothing there. */
static const char *
talk_text(const struct talk *talk, const char *path)
{
    const struct xml_node *node = talk->body;
    while (node && *path) {
        size_t size = strcspn(path, "/");
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)size, path);
        node = xml_child(node, NULL, name);
        path += size + (path[size] == '/');
    }
    return node ? node->text : NULL;
}

static void
assert_fault(const struct talk *talk, const char *subcode, const char *error_type)
{
    const char *type = talk_text(talk, "Fault/Detail/DeviceEnrollmentServiceError/"
                                       "ErrorType");
    cr_assert_neq(talk->status, CA_OK);
    cr_assert_eq(talk->exchange.answer.status, 500);
    cr_assert_str_eq(talk_text(talk, "Fault/Code/Value"), "s:Receiver");
    cr_assert_str_eq(talk_text(talk, "Fault/Code/Subcode/Value"), subcode, "%s",
                     status_message());
    cr_assert_str_eq(
        talk_text(talk, "Fault/Detail/DeviceEnrollmentServiceError/TraceId"),
        talk->exchange.request.id);
    cr_assert(error_type ? type && strcmp(type, error_type) == 0 : !type);
}

/* The document inside the answer, whose shape is held on the way. */
static struct windows_walk
talk_document(struct talk *talk, const char *message_id)
{
    const struct xml_node *header = xml_child(talk->envelope, SOAP_SPACE, "Header");
    const struct xml_node *root = NULL;
    cr_assert_eq(talk->status, CA_OK, "%s", status_message());
    cr_assert_eq(talk->exchange.answer.status, 200);
    cr_assert_str_eq(
        xml_child(header, SOAP_SPACE_ADDRESSING, "Action")->text,
        "http://schemas.microsoft.com/windows/pki/2009/01/enrollment/RSTRC/wstep");
    cr_assert_str_eq(xml_child(header, SOAP_SPACE_ADDRESSING, "RelatesTo")->text,
                     message_id);
    const struct xml_node *all = talk->body->first;
    cr_assert(xml_is(all, SOAP_SPACE_TRUST, "RequestSecurityTokenResponseCollection"));
    cr_assert(all->first && !all->first->next);
    static const char *const order[] = { "TokenType", "DispositionMessage",
                                         "RequestedSecurityToken", "RequestID" };
    const struct xml_node *node = all->first->first;
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++, node = node->next)
        cr_assert(node && strcmp(node->name, order[i]) == 0);
    cr_assert_null(node);
    cr_assert_str_eq(talk_text(talk, "RequestSecurityTokenResponseCollection/"
                                     "RequestSecurityTokenResponse/RequestID"),
                     "0");
    const char *text = talk_text(talk, "RequestSecurityTokenResponseCollection/"
                                       "RequestSecurityTokenResponse/"
                                       "RequestedSecurityToken/BinarySecurityToken");
    uint8_t *octets = ca_request_alloc(&talk->exchange.request, strlen(text));
    size_t size = 0;
    cr_assert_eq(
        base64_parse(text, strlen(text), BASE64_STRICT, octets, strlen(text), &size),
        CA_OK);
    cr_assert_eq(xml_read(&talk->exchange.request, (struct ca_bytes){ octets, size },
                          &xml_limits_soap, &root),
                 CA_OK);
    cr_assert(xml_is(root, "", "wap-provisioningdoc"));
    cr_assert_str_eq(xml_attribute(root, "version"), "1.1");
    return (struct windows_walk){ root->first, "wap-provisioningdoc" };
}

#define MESSAGE_ISSUE "urn:uuid:0d5a1441-5891-453b-becf-a2e5f6ea3749"
#define MESSAGE_RENEW "urn:uuid:7c1f2f0e-52a5-4a35-9a85-2f6d1c8b0e11"

static char *
password_security(const char *user, const char *password)
{
    char *text = NULL;
    cr_assert(asprintf(&text,
                       "<wsse:UsernameToken u:Id=\"uuid-cc1ccc1f-2fba-4bcf-b063-"
                       "ffc0cac77917-4\"><wsse:Username>%s</wsse:Username>"
                       "<wsse:Password wsse:Type=\"" PASSWORD_TYPE "\">%s"
                       "</wsse:Password></wsse:UsernameToken>",
                       user, password) > 0);
    return text;
}

/* A message with this security and request; free() it. */
static char *
message_issue(const char *security, const uint8_t *csr, size_t size, const char *type)
{
    CA_AUTO(free) char *request = base64_format(csr, size);
    char *text = windows_template("rst-windows10.xml");
    text = windows_fill(text, "@SECURITY@", security);
    text = windows_fill(text, "@REQUEST@", request);
    text = windows_fill(text, "@DEVICE@", WINDOWS_DEVICE);
    return windows_fill(text, "@TYPE@", type);
}

static char *
message_password(EVP_PKEY *key, const char *password)
{
    size_t size;
    CA_AUTO(free) char *security = password_security("alice", password);
    CA_AUTO(openssl_free) uint8_t *csr = windows_csr(key, true, &size);
    return message_issue(security, csr, size, "Full");
}

static char *
message_renew(const struct windows_pkcs7 *how, EVP_PKEY *key)
{
    size_t csr_size, size;
    CA_AUTO(openssl_free) uint8_t *csr = windows_csr(key, false, &csr_size);
    CA_AUTO(openssl_free)
    uint8_t *der = windows_renewal(how, csr, csr_size, &size);
    CA_AUTO(free) char *request = base64_format(der, size);
    return windows_fill(windows_template("rst-renew.xml"), "@REQUEST@", request);
}

/* The certificate of the My store; X509_free it. */
static X509 *
own_certificate(struct windows_walk document, const char *place, bool is_renewal)
{
    struct windows_walk store = walk_into(&document, "CertificateStore");
    struct windows_walk inside, part;
    for (const char *name = "Root"; name; name = *name == 'R' ? "CA" : NULL) {
        part = walk_into(&store, name);
        part = walk_into(&part, "System");
        X509_free(walk_certificate(&part, &inside));
        walk_end(&part);
    }
    struct windows_walk my = walk_into(&store, "My");
    part = walk_into(&my, place);
    X509 *certificate = walk_certificate(&part, &inside);
    struct windows_walk *holder = is_renewal ? &inside : &part;
    struct windows_walk container = walk_into(holder, "PrivateKeyContainer");
    walk_end(&container);
    walk_end(&inside);
    walk_end(&part);
    if (is_renewal)
        walk_end(&my);
    walk_end(&store);
    return certificate;
}

/* One enrolment that must succeed. */
static X509 *
enrol(EVP_PKEY *key)
{
    struct talk talk;
    CA_AUTO(free) char *message = message_password(key, PASSWORD);
    talk_post(&talk, message, NULL);
    X509 *certificate =
        own_certificate(talk_document(&talk, MESSAGE_ISSUE), "User", false);
    cr_assert_not_null(certificate);
    talk_clear(&talk);
    return certificate;
}

static void
check_application(struct windows_walk *document)
{
    struct windows_walk part = walk_into(document, "APPLICATION"), inner;
    walk_parm_is(&part, "APPID", NULL, "w7");
    walk_parm_is(&part, "PROVIDER-ID", NULL, "Sealwright");
    walk_parm_is(&part, "NAME", NULL, "Sealwright");
    walk_parm_is(&part, "ADDR", NULL, "https://mdm.example.com/syncml/initialquery");
    walk_parm_is(&part, "CONNRETRYFREQ", NULL, "6");
    walk_parm_is(&part, "INITIALBACKOFFTIME", NULL, "30000");
    walk_parm_is(&part, "MAXBACKOFFTIME", NULL, "120000");
    cr_assert_null(walk_parm(&part, "BACKCOMPATRETRYDISABLED", NULL));
    walk_parm_is(&part, "DEFAULTENCODING", NULL, "application/vnd.syncml.dm+xml");
    walk_parm_is(&part, "ROLE", NULL, "4294967295");
    walk_parm_is(&part, "SSLCLIENTCERTSEARCHCRITERIA", NULL,
                 "Subject=CN%3dalice%2cO%3dExample&Stores=My%5CUser");
    inner = walk_into(&part, "APPAUTH");
    walk_parm_is(&inner, "AAUTHLEVEL", NULL, "CLIENT");
    walk_parm_is(&inner, "AAUTHTYPE", NULL, "DIGEST");
    const char *server = walk_parm(&inner, "AAUTHSECRET", NULL);
    cr_assert_eq(strlen(walk_parm(&inner, "AAUTHDATA", NULL)), 24);
    walk_end(&inner);
    inner = walk_into(&part, "APPAUTH");
    walk_parm_is(&inner, "AAUTHLEVEL", NULL, "APPSRV");
    walk_parm_is(&inner, "AAUTHTYPE", NULL, "DIGEST");
    cr_assert_eq(strlen(walk_parm(&inner, "AAUTHNAME", NULL)), 36);
    cr_assert_str_neq(walk_parm(&inner, "AAUTHSECRET", NULL), server);
    cr_assert_eq(strlen(walk_parm(&inner, "AAUTHDATA", NULL)), 24);
    walk_end(&inner);
    walk_end(&part);
}

static void
check_client(struct windows_walk *document)
{
    struct windows_walk part = walk_into(document, "DMClient");
    part = walk_into(&part, "Provider");
    part = walk_into(&part, "Sealwright");
    walk_parm_is(&part, "EntDeviceName", "string", "LAPTOP-<7>");
    cr_assert_eq(strlen(walk_parm(&part, "EntDMID", "string")), 36);
    walk_parm_is(&part, "UPN", "string", "alice");
    struct windows_walk poll = walk_into(&part, "Poll");
    walk_parm_is(&poll, "NumberOfFirstRetries", "integer", "8");
    walk_parm_is(&poll, "IntervalForFirstSetOfRetries", "integer", "15");
    walk_parm_is(&poll, "NumberOfSecondRetries", "integer", "5");
    walk_parm_is(&poll, "IntervalForSecondSetOfRetries", "integer", "3");
    walk_parm_is(&poll, "NumberOfRemainingScheduledRetries", "integer", "0");
    walk_parm_is(&poll, "IntervalForRemainingScheduledRetries", "integer", "1560");
    walk_parm_is(&poll, "PollOnLogin", "boolean", "true");
    walk_end(&poll);
    walk_end(&part);
}

static void
check_renewal_settings(struct windows_walk document)
{
    struct windows_walk store = walk_into(&document, "CertificateStore");
    walk_into(&store, "Root");
    walk_into(&store, "CA");
    struct windows_walk my = walk_into(&store, "My");
    walk_into(&my, "User");
    struct windows_walk part = walk_into(&my, "WSTEP");
    part = walk_into(&part, "Renew");
    walk_parm_is(&part, "ROBOSupport", "boolean", "true");
    walk_parm_is(&part, "RenewPeriod", "integer", "30");
    walk_parm_is(&part, "RetryInterval", "integer", "4");
    walk_parm_is(&part, "ServerURL", "string", "https://mdm.example.com" WSTEP_PATH);
    walk_end(&part);
    walk_end(&my);
}

Test(wstep, a_pc_enrols_with_a_password_and_is_recorded_with_what_it_says)
{
    struct talk talk;
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_RSA_gen(2048);
    CA_AUTO(free) char *message = message_password(key, PASSWORD);
    talk_post(&talk, message, NULL);
    struct windows_walk document = talk_document(&talk, MESSAGE_ISSUE);
    CA_AUTO(X509_free) X509 *certificate = own_certificate(document, "User", false);
    cr_assert_eq(EVP_PKEY_eq(X509_get0_pubkey(certificate), key), 1);
    check_renewal_settings(document);
    walk_into(&document, "CertificateStore");
    check_application(&document);
    check_client(&document);
    walk_end(&document);
    talk_clear(&talk);
    cr_expect_eq(issued_count(), 1);
    cr_expect_eq(
        house_integer(&house, "SELECT COUNT(*) FROM device WHERE kind = 'windows' AND "
                              "owner = 'alice' AND state = 1 AND hardware LIKE "
                              "'%\"DeviceID\":\"" WINDOWS_DEVICE "\"%' AND report LIKE "
                              "'%[\"02-00-5E-10-00-01\",\"02-00-5E-10-00-02\"]%' AND "
                              "report LIKE '%\"OSVersion\":\"10.0.19045.4170\"%'"),
        1);
}

Test(wstep, the_same_bytes_get_the_same_answer_for_five_minutes)
{
    struct talk first, again;
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_RSA_gen(2048);
    CA_AUTO(free) char *message = message_password(key, PASSWORD);
    talk_post(&first, message, NULL);
    cr_assert_eq(first.status, CA_OK, "%s", status_message());
    clock_set(clock_now() + 290);
    talk_post(&again, message, NULL);
    cr_assert_eq(again.exchange.answer.size, first.exchange.answer.size);
    cr_expect_eq(memcmp(again.exchange.answer.body, first.exchange.answer.body,
                        first.exchange.answer.size),
                 0);
    talk_clear(&again);
    clock_set(clock_now() + 20);
    talk_post(&again, message, NULL);
    assert_fault(&again, "s:CertificateRequest", NULL);
    talk_clear(&again);
    talk_clear(&first);
    cr_expect_eq(issued_count(), 1);
}

Test(wstep, the_same_request_in_other_bytes_is_refused)
{
    struct talk talk;
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_RSA_gen(2048);
    CA_AUTO(free) char *message = message_password(key, PASSWORD);
    talk_post(&talk, message, NULL);
    cr_assert_eq(talk.status, CA_OK);
    talk_clear(&talk);
    message = windows_fill(message, "de-CH", "en-US");
    talk_post(&talk, message, NULL);
    assert_fault(&talk, "s:CertificateRequest", NULL);
    talk_clear(&talk);
    cr_expect_eq(issued_count(), 1);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM device WHERE "
                                       "report LIKE '%en-US%'"),
                 0);
}

/* A token of the login page, as the client sends it. */
static char *
token_security(void)
{
    struct exchange exchange;
    const char *text = NULL;
    char *security = NULL;
    house_exchange(&house, &exchange);
    exchange.plugin = "discovery";
    const struct ca_credential login = { .kind = CA_CREDENTIAL_PASSWORD,
                                         .protocol = "discovery",
                                         .message = "login",
                                         .endpoint = "",
                                         .user = "alice",
                                         .secret = PASSWORD,
                                         .secret_size = strlen(PASSWORD) };
    cr_assert_eq(ca_authenticate(&exchange.request, &login), CA_OK);
    cr_assert_eq(ca_login_token_issue(&exchange.request, 600, &text), CA_OK);
    CA_AUTO(free) char *encoded = base64_format(text, strlen(text));
    cr_assert(asprintf(&security,
                       "<wsse:BinarySecurityToken ValueType=\"" SOAP_TOKEN_USER
                       "\" EncodingType=\"" SOAP_SPACE_SECURITY "#base64binary\">%s"
                       "</wsse:BinarySecurityToken>",
                       encoded) > 0);
    exchange_clear(&exchange);
    return security;
}

Test(wstep, A0_a_login_token_is_one_enrolment)
{
    struct talk talk;
    size_t size;
    CA_AUTO(free) char *security = token_security();
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_RSA_gen(2048);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *other = EVP_RSA_gen(2048);
    CA_AUTO(openssl_free) uint8_t *csr = windows_csr(key, false, &size);
    CA_AUTO(free) char *message = message_issue(security, csr, size, "Device");
    X509 *certificate = NULL;
    for (int i = 0; i < 2; i++) { /* and a retry of it */
        talk_post(&talk, message, NULL);
        X509_free(certificate);
        certificate =
            own_certificate(talk_document(&talk, MESSAGE_ISSUE), "System", false);
        talk_clear(&talk);
    }
    CA_AUTO(openssl_free) uint8_t *second = windows_csr(other, false, &size);
    CA_AUTO(free) char *replay = message_issue(security, second, size, "Device");
    talk_post(&talk, replay, NULL);
    assert_fault(&talk, "s:Authentication", NULL);
    talk_clear(&talk);
    cr_expect_eq(issued_count(), 1);
    /* What it enrolled as it renews as, also in the answer to a retry. */
    clock_set(clock_now() + 340 * DAY);
    const struct windows_pkcs7 how = { .signer = certificate, .key = key };
    CA_AUTO(free) char *renewal = message_renew(&how, other);
    for (int i = 0; i < 2; i++) {
        talk_post(&talk, renewal, i == 0 ? certificate : NULL);
        X509_free(own_certificate(talk_document(&talk, MESSAGE_RENEW), "System", true));
        talk_clear(&talk);
    }
    X509_free(certificate);
    cr_expect_eq(issued_count(), 2);
}

Test(wstep, another_users_device_stays_theirs)
{
    struct talk talk;
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_RSA_gen(2048);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *other = EVP_RSA_gen(2048);
    X509_free(enrol(key));
    house_user(&house, "bob");
    house_run(&house, "UPDATE device SET owner = 'bob'");
    CA_AUTO(free) char *message = message_password(other, PASSWORD);
    talk_post(&talk, message, NULL);
    assert_fault(&talk, "s:Authorization", NULL);
    talk_clear(&talk);
    cr_expect_eq(issued_count(), 1);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM device"), 1);
}

Test(wstep, the_account_of_the_document_is_the_one_the_core_keeps)
{
    struct talk talk;
    struct ca_managed managed = { 0 };
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_RSA_gen(2048);
    CA_AUTO(free) char *message = message_password(key, PASSWORD);
    talk_post(&talk, message, NULL);
    struct windows_walk document = talk_document(&talk, MESSAGE_ISSUE);
    walk_into(&document, "CertificateStore");
    struct windows_walk part = walk_into(&document, "APPLICATION");
    while (!xml_is(part.at, "", "characteristic"))
        part.at = part.at->next;
    walk_into(&part, "APPAUTH");
    part = walk_into(&part, "APPAUTH");
    walk_parm(&part, "AAUTHLEVEL", NULL);
    walk_parm(&part, "AAUTHTYPE", NULL);
    struct ca_management session = { .protocol = "syncml",
                                     .peer_id = WINDOWS_DEVICE,
                                     .session = "1" };
    session.name = walk_parm(&part, "AAUTHNAME", NULL);
    session.secret = walk_parm(&part, "AAUTHSECRET", NULL);
    struct exchange exchange;
    house_exchange(&house, &exchange);
    exchange.plugin = "syncml";
    cr_expect_eq(ca_manage_open(&exchange.request, &session, &managed), CA_OK, "%s",
                 status_message());
    session.secret = "another secret of the same size";
    cr_expect_eq(ca_manage_open(&exchange.request, &session, &managed),
                 CA_UNAUTHENTICATED);
    exchange_clear(&exchange);
    talk_clear(&talk);
}

Test(wstep, A0_whoever_is_unknown_or_wrong_hears_the_same)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_RSA_gen(2048);
    size_t size;
    CA_AUTO(openssl_free) uint8_t *csr = windows_csr(key, true, &size);
    char *first = NULL;
    static const char *const who[][2] = { { "alice", "wrong-horse-9" },
                                          { "nobody", PASSWORD } };
    for (size_t i = 0; i < 2; i++) {
        struct talk talk;
        CA_AUTO(free) char *security = password_security(who[i][0], who[i][1]);
        CA_AUTO(free) char *message = message_issue(security, csr, size, "Full");
        talk_post(&talk, message, NULL);
        assert_fault(&talk, "s:Authentication", NULL);
        char *answer =
            strndup((const char *)talk.exchange.answer.body, talk.exchange.answer.size);
        cr_expect_null(strstr(answer, who[i][1]));
        if (i == 0)
            first = answer;
        else
            cr_expect_str_eq(answer, first);
        if (i > 0)
            free(answer);
        talk_clear(&talk);
    }
    free(first);
    cr_expect_eq(issued_count(), 0);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM device"), 0);
}

/* What is replaced in a good message, and the fault that this makes. */
Test(wstep, W1_each_flaw_has_its_fault_and_changes_nothing)
{
    static const struct {
        const char *mark, *value, *subcode, *error_type;
    } cases[] = {
        { "RST/wstep</a:Action>", "RST/other</a:Action>", "s:MessageFormat", NULL },
        { "200512/Issue", "200512/Nothing", "s:MessageFormat", NULL },
        { "200512/Issue", "200512/KET", "s:MessageFormat", NULL },
        { "200512/Issue", "200512/Recovery", "s:Authorization", "NotSupported" },
        { "wst:RequestType>", "wst:Other>", "s:MessageFormat", NULL },
        { "<s:Envelope", "<!DOCTYPE s><s:Envelope", "s:MessageFormat", NULL },
        { "http://www.w3.org/2003/05/soap-envelope",
          "http://schemas.xmlsoap.org/soap/envelope/", "s:MessageFormat", NULL },
        { "</s:Envelope>", "", "s:MessageFormat", NULL },
        { "wst:RequestSecurityToken>", "wst:Else>", "s:MessageFormat", NULL },
        { "Name=\"Locale\"", "Name=\"\"", "s:MessageFormat", NULL },
        { ">" WINDOWS_DEVICE "<", ">a&#x202e;b<", "s:MessageFormat", NULL },
        { "wsse:UsernameToken", "wsse:Nothing", "a:InvalidSecurity", NULL },
        { "#PasswordText", "#PasswordDigest", "a:InvalidSecurity", NULL },
        { "#base64binary\">MII", "#base64binary\">*II", "s:MessageFormat", NULL },
        { "#base64binary\">MII", "#base64binary\">NII", "s:CertificateRequest", NULL },
    };
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_RSA_gen(2048);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct talk talk;
        CA_AUTO(free) char *message = message_password(key, PASSWORD);
        cr_assert_not_null(strstr(message, cases[i].mark), "case %zu", i);
        message = windows_fill(message, cases[i].mark, cases[i].value);
        talk_post(&talk, message, NULL);
        const char *subcode = talk_text(&talk, "Fault/Code/Subcode/Value");
        cr_assert(subcode && strcmp(subcode, cases[i].subcode) == 0,
                  "case %zu: %s (%s)", i, subcode ? subcode : "no fault",
                  status_message());
        assert_fault(&talk, cases[i].subcode, cases[i].error_type);
        talk_clear(&talk);
    }
    cr_expect_eq(issued_count(), 0);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM device"), 0);
}

Test(wstep, R1_a_request_that_proves_no_possession_is_a_bad_request)
{
    struct talk talk;
    size_t size;
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_RSA_gen(2048);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *small = EVP_RSA_gen(1024);
    CA_AUTO(free) char *security = password_security("alice", PASSWORD);
    CA_AUTO(openssl_free) uint8_t *csr = windows_csr(key, false, &size);
    csr[size - 1] ^= 1;
    CA_AUTO(free) char *forged = message_issue(security, csr, size, "Full");
    talk_post(&talk, forged, NULL);
    assert_fault(&talk, "s:CertificateRequest", NULL);
    talk_clear(&talk);
    CA_AUTO(openssl_free) uint8_t *weak = windows_csr(small, false, &size);
    CA_AUTO(free) char *short_key = message_issue(security, weak, size, "Full");
    talk_post(&talk, short_key, NULL);
    assert_fault(&talk, "s:CertificateRequest", NULL);
    talk_clear(&talk);
    house_set(&house, "allow_sha1_request", "false");
    CA_AUTO(free) char *old = message_password(key, PASSWORD);
    talk_post(&talk, old, NULL);
    assert_fault(&talk, "s:CertificateRequest", NULL);
    talk_clear(&talk);
    cr_expect_eq(issued_count(), 0);
}

Test(wstep, who_may_not_is_told_so)
{
    struct talk talk;
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_RSA_gen(2048);
    CA_AUTO(free) char *message = message_password(key, PASSWORD);
    house_set(&house, "approvals", "1");
    talk_post(&talk, message, NULL);
    assert_fault(&talk, "s:Authorization", NULL);
    talk_clear(&talk);
    house_set(&house, "approvals", "0");
    house_set(&house, "protocols", "[\"scep\"]");
    talk_post(&talk, message, NULL);
    assert_fault(&talk, "s:Authorization", NULL);
    talk_clear(&talk);
    house_set(&house, "protocols", "[\"wstep\"]");
    X509_free(enrol(key));
    house_run(&house, "UPDATE device SET state = 2");
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *other = EVP_RSA_gen(2048);
    CA_AUTO(free) char *again = message_password(other, PASSWORD);
    talk_post(&talk, again, NULL);
    assert_fault(&talk, "s:Authorization", NULL);
    talk_clear(&talk);
    cr_expect_eq(issued_count(), 1);
}

/* ---- ROBO ---- */

Test(wstep, A4_a_renewal_is_signed_by_the_older_key_in_each_published_form)
{
    static const struct {
        bool has_attributes, is_without_certificate, is_base64, is_sha1, has_peer;
    } forms[] = {
        { false, false, false, false, true }, { true, false, true, false, true },
        { true, true, false, false, true },   { false, false, true, true, true },
        { true, false, false, false, false },
    };
    EVP_PKEY *key = EVP_RSA_gen(2048);
    X509 *certificate = enrol(key);
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct talk talk;
        EVP_PKEY *next = EVP_RSA_gen(2048);
        const struct windows_pkcs7 how = {
            .signer = certificate,
            .key = key,
            .digest = forms[i].is_sha1 ? EVP_sha1() : NULL,
            .has_attributes = forms[i].has_attributes,
            .is_without_certificate = forms[i].is_without_certificate,
            .is_base64 = forms[i].is_base64,
        };
        clock_set(clock_now() + 340 * DAY);
        CA_AUTO(free) char *message = message_renew(&how, next);
        talk_post(&talk, message, forms[i].has_peer ? certificate : NULL);
        struct windows_walk document = talk_document(&talk, MESSAGE_RENEW);
        X509 *renewed = own_certificate(document, "User", true);
        walk_into(&document, "CertificateStore");
        struct windows_walk part = walk_into(&document, "APPLICATION");
        walk_parm_is(&part, "PROVIDER-ID", NULL, "Sealwright");
        walk_end(&part);
        walk_end(&document);
        cr_expect_eq(EVP_PKEY_eq(X509_get0_pubkey(renewed), next), 1);
        cr_expect_eq(X509_NAME_cmp(X509_get_subject_name(renewed),
                                   X509_get_subject_name(certificate)),
                     0);
        talk_clear(&talk);
        X509_free(certificate);
        EVP_PKEY_free(key);
        certificate = renewed;
        key = next;
    }
    X509_free(certificate);
    EVP_PKEY_free(key);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM device"), 1);
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM certificate WHERE "
                                       "state = 1 AND protocol = 'wstep'"),
                 1);
}

Test(wstep, A4_a_renewal_too_early_or_too_late_is_not_eligible)
{
    struct talk talk;
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_RSA_gen(2048);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *next = EVP_RSA_gen(2048);
    CA_AUTO(X509_free) X509 *certificate = enrol(key);
    const struct windows_pkcs7 how = { .signer = certificate, .key = key };
    CA_AUTO(free) char *message = message_renew(&how, next);
    talk_post(&talk, message, certificate);
    assert_fault(&talk, "s:Authorization", "NotEligibleToRenew");
    talk_clear(&talk);
    clock_set(clock_now() + 366 * DAY);
    talk_post(&talk, message, NULL);
    assert_fault(&talk, "s:Authorization", "NotEligibleToRenew");
    talk_clear(&talk);
    cr_expect_eq(issued_count(), 1);
}

Test(wstep, A4_a_renewal_by_any_other_key_is_refused)
{
    struct talk talk;
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_RSA_gen(2048);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *next = EVP_RSA_gen(2048);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *thief = EVP_RSA_gen(2048);
    CA_AUTO(X509_free) X509 *certificate = enrol(key);
    CA_AUTO(X509_free) X509 *other = enrol(thief);
    struct house_device stranger;
    house_device_make(&stranger, "alice", NULL);
    clock_set(clock_now() + 340 * DAY);
    /* Signed over SHA-1 by who shows no certificate; by another than TLS has shown; by
     * a certificate that is none of ours; by one that was replaced. */
    const struct {
        struct windows_pkcs7 how;
        X509 *peer;
        const char *subcode, *error_type;
    } cases[] = {
        { { .signer = other, .key = thief, .digest = EVP_sha1() },
          NULL,
          "s:CertificateRequest",
          NULL },
        { { .signer = other, .key = thief }, certificate, "s:Authentication", NULL },
        { { .signer = stranger.self, .key = stranger.key },
          NULL,
          "s:Authentication",
          NULL },
        { { .signer = certificate, .key = key },
          NULL,
          "s:Authorization",
          "NotEligibleToRenew" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CA_AUTO(free) char *message = message_renew(&cases[i].how, next);
        talk_post(&talk, message, cases[i].peer);
        assert_fault(&talk, cases[i].subcode, cases[i].error_type);
        talk_clear(&talk);
    }
    /* One octet of the signature. */
    size_t csr_size, size;
    const struct windows_pkcs7 how = { .signer = other, .key = thief };
    CA_AUTO(openssl_free) uint8_t *csr = windows_csr(next, false, &csr_size);
    CA_AUTO(openssl_free) uint8_t *der = windows_renewal(&how, csr, csr_size, &size);
    der[size - 1] ^= 1;
    CA_AUTO(free) char *request = base64_format(der, size);
    CA_AUTO(free)
    char *message =
        windows_fill(windows_template("rst-renew.xml"), "@REQUEST@", request);
    talk_post(&talk, message, NULL);
    assert_fault(&talk, "s:Authentication", NULL);
    talk_clear(&talk);
    house_device_clear(&stranger);
    cr_expect_eq(issued_count(), 2);
}

Test(wstep, settings_are_held_to_their_form)
{
    static const char *const refused[] = {
        "{\"provider_id\": \"a b\"}",   "{\"provider_id\": \"\"}", "{\"name\": \"\"}",
        "{\"management_path\": \"x\"}", "{\"fault_status\": 404}", "{\"unknown\": 1}",
        "{\"fault_status\": \"500\"}",
    };
    void *made = NULL;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        CA_AUTO(json_decref) json_t *given = json_loads(refused[i], 0, NULL);
        cr_expect_eq(ca_plugin.init(given, &made), CA_MALFORMED, "%s", refused[i]);
    }
    CA_AUTO(json_decref)
    json_t *good =
        json_loads("{\"provider_id\": \"Example\", \"fault_status\": 200}", 0, NULL);
    cr_assert_eq(ca_plugin.init(good, &made), CA_OK);
    ca_plugin.fini(made);
}
