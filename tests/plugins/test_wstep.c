/* [MS-WSTEP] for device management through the real core: token, store, users. */
#include "clock.h"
#include "soap.h"
#include "talk.h"

extern const struct ca_plugin ca_plugin;

TestSuite(wstep, .init = talk_setup, .fini = talk_teardown, .timeout = 120);

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
    CA_AUTO(free) char *message = talk_message_password(key, TALK_PASSWORD);
    talk_post(&talk, message, NULL);
    struct windows_walk document = talk_document(&talk, TALK_MESSAGE_ISSUE);
    CA_AUTO(X509_free) X509 *certificate = talk_certificate(document, "User", false);
    cr_assert_eq(EVP_PKEY_eq(X509_get0_pubkey(certificate), key), 1);
    check_renewal_settings(document);
    walk_into(&document, "CertificateStore");
    check_application(&document);
    check_client(&document);
    walk_end(&document);
    talk_clear(&talk);
    cr_expect_eq(talk_issued(), 1);
    cr_expect_eq(house_integer(&talk_house,
                               "SELECT COUNT(*) FROM device WHERE kind = 'windows' AND "
                               "owner = 'alice' AND state = 1 AND hardware LIKE "
                               "'%\"DeviceID\":\"" WINDOWS_DEVICE
                               "\"%' AND report LIKE "
                               "'%[\"02-00-5E-10-00-01\",\"02-00-5E-10-00-02\"]%' AND "
                               "report LIKE '%\"OSVersion\":\"10.0.19045.4170\"%'"),
                 1);
}

Test(wstep, the_same_bytes_get_the_same_answer_for_five_minutes)
{
    struct talk first, again;
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_RSA_gen(2048);
    CA_AUTO(free) char *message = talk_message_password(key, TALK_PASSWORD);
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
    talk_assert_fault(&again, "s:CertificateRequest", NULL);
    talk_clear(&again);
    talk_clear(&first);
    cr_expect_eq(talk_issued(), 1);
}

Test(wstep, the_same_request_in_other_bytes_is_refused)
{
    struct talk talk;
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_RSA_gen(2048);
    CA_AUTO(free) char *message = talk_message_password(key, TALK_PASSWORD);
    talk_post(&talk, message, NULL);
    cr_assert_eq(talk.status, CA_OK);
    talk_clear(&talk);
    message = windows_fill(message, "de-CH", "en-US");
    talk_post(&talk, message, NULL);
    talk_assert_fault(&talk, "s:CertificateRequest", NULL);
    talk_clear(&talk);
    cr_expect_eq(talk_issued(), 1);
    cr_expect_eq(house_integer(&talk_house, "SELECT COUNT(*) FROM device WHERE "
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
    house_exchange(&talk_house, &exchange);
    exchange.plugin = "discovery";
    const struct ca_credential login = { .kind = CA_CREDENTIAL_PASSWORD,
                                         .protocol = "discovery",
                                         .message = "login",
                                         .endpoint = "",
                                         .user = "alice",
                                         .secret = TALK_PASSWORD,
                                         .secret_size = strlen(TALK_PASSWORD) };
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
    CA_AUTO(free) char *message = talk_message_issue(security, csr, size, "Device");
    X509 *certificate = NULL;
    for (int i = 0; i < 2; i++) { /* and a retry of it */
        talk_post(&talk, message, NULL);
        X509_free(certificate);
        certificate =
            talk_certificate(talk_document(&talk, TALK_MESSAGE_ISSUE), "System", false);
        talk_clear(&talk);
    }
    CA_AUTO(openssl_free) uint8_t *second = windows_csr(other, false, &size);
    CA_AUTO(free) char *replay = talk_message_issue(security, second, size, "Device");
    talk_post(&talk, replay, NULL);
    talk_assert_fault(&talk, "s:Authentication", NULL);
    talk_clear(&talk);
    cr_expect_eq(talk_issued(), 1);
    /* What it enrolled as it renews as, also in the answer to a retry. */
    clock_set(clock_now() + 340 * TALK_DAY);
    const struct windows_pkcs7 how = { .signer = certificate, .key = key };
    CA_AUTO(free) char *renewal = talk_message_renew(&how, other);
    for (int i = 0; i < 2; i++) {
        talk_post(&talk, renewal, i == 0 ? certificate : NULL);
        X509_free(
            talk_certificate(talk_document(&talk, TALK_MESSAGE_RENEW), "System", true));
        talk_clear(&talk);
    }
    X509_free(certificate);
    cr_expect_eq(talk_issued(), 2);
}

Test(wstep, another_users_device_stays_theirs)
{
    struct talk talk;
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_RSA_gen(2048);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *other = EVP_RSA_gen(2048);
    X509_free(talk_enrol(key));
    house_user(&talk_house, "bob");
    house_run(&talk_house, "UPDATE device SET owner = 'bob'");
    CA_AUTO(free) char *message = talk_message_password(other, TALK_PASSWORD);
    talk_post(&talk, message, NULL);
    talk_assert_fault(&talk, "s:Authorization", NULL);
    talk_clear(&talk);
    cr_expect_eq(talk_issued(), 1);
    cr_expect_eq(house_integer(&talk_house, "SELECT COUNT(*) FROM device"), 1);
}

Test(wstep, the_account_of_the_document_is_the_one_the_core_keeps)
{
    struct talk talk;
    struct ca_managed managed = { 0 };
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_RSA_gen(2048);
    CA_AUTO(free) char *message = talk_message_password(key, TALK_PASSWORD);
    talk_post(&talk, message, NULL);
    struct windows_walk document = talk_document(&talk, TALK_MESSAGE_ISSUE);
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
    house_exchange(&talk_house, &exchange);
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
                                          { "nobody", TALK_PASSWORD } };
    for (size_t i = 0; i < 2; i++) {
        struct talk talk;
        CA_AUTO(free) char *security = talk_password(who[i][0], who[i][1]);
        CA_AUTO(free) char *message = talk_message_issue(security, csr, size, "Full");
        talk_post(&talk, message, NULL);
        talk_assert_fault(&talk, "s:Authentication", NULL);
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
    cr_expect_eq(talk_issued(), 0);
    cr_expect_eq(house_integer(&talk_house, "SELECT COUNT(*) FROM device"), 0);
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
        CA_AUTO(free) char *message = talk_message_password(key, TALK_PASSWORD);
        cr_assert_not_null(strstr(message, cases[i].mark), "case %zu", i);
        message = windows_fill(message, cases[i].mark, cases[i].value);
        talk_post(&talk, message, NULL);
        const char *subcode = talk_text(&talk, "Fault/Code/Subcode/Value");
        cr_assert(subcode && strcmp(subcode, cases[i].subcode) == 0,
                  "case %zu: %s (%s)", i, subcode ? subcode : "no fault",
                  status_message());
        talk_assert_fault(&talk, cases[i].subcode, cases[i].error_type);
        talk_clear(&talk);
    }
    cr_expect_eq(talk_issued(), 0);
    cr_expect_eq(house_integer(&talk_house, "SELECT COUNT(*) FROM device"), 0);
}

Test(wstep, R1_a_request_that_proves_no_possession_is_a_bad_request)
{
    struct talk talk;
    size_t size;
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_RSA_gen(2048);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *small = EVP_RSA_gen(1024);
    CA_AUTO(free) char *security = talk_password("alice", TALK_PASSWORD);
    CA_AUTO(openssl_free) uint8_t *csr = windows_csr(key, false, &size);
    csr[size - 1] ^= 1;
    CA_AUTO(free) char *forged = talk_message_issue(security, csr, size, "Full");
    talk_post(&talk, forged, NULL);
    talk_assert_fault(&talk, "s:CertificateRequest", NULL);
    talk_clear(&talk);
    CA_AUTO(openssl_free) uint8_t *weak = windows_csr(small, false, &size);
    CA_AUTO(free) char *short_key = talk_message_issue(security, weak, size, "Full");
    talk_post(&talk, short_key, NULL);
    talk_assert_fault(&talk, "s:CertificateRequest", NULL);
    talk_clear(&talk);
    house_set(&talk_house, "allow_sha1_request", "false");
    CA_AUTO(free) char *old = talk_message_password(key, TALK_PASSWORD);
    talk_post(&talk, old, NULL);
    talk_assert_fault(&talk, "s:CertificateRequest", NULL);
    talk_clear(&talk);
    cr_expect_eq(talk_issued(), 0);
}

Test(wstep, who_may_not_is_told_so)
{
    struct talk talk;
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_RSA_gen(2048);
    CA_AUTO(free) char *message = talk_message_password(key, TALK_PASSWORD);
    house_set(&talk_house, "approvals", "1");
    talk_post(&talk, message, NULL);
    talk_assert_fault(&talk, "s:Authorization", NULL);
    talk_clear(&talk);
    house_set(&talk_house, "approvals", "0");
    house_set(&talk_house, "protocols", "[\"scep\"]");
    talk_post(&talk, message, NULL);
    talk_assert_fault(&talk, "s:Authorization", NULL);
    talk_clear(&talk);
    house_set(&talk_house, "protocols", "[\"wstep\"]");
    X509_free(talk_enrol(key));
    house_run(&talk_house, "UPDATE device SET state = 2");
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *other = EVP_RSA_gen(2048);
    CA_AUTO(free) char *again = talk_message_password(other, TALK_PASSWORD);
    talk_post(&talk, again, NULL);
    talk_assert_fault(&talk, "s:Authorization", NULL);
    talk_clear(&talk);
    cr_expect_eq(talk_issued(), 1);
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
