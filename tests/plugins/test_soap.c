/* SOAP requests, their credentials and signatures, answers and faults. */
#include "fake_core.h"
#include "leak.h"
#include "soap.h"
#include "soap_answer.h"
#include <criterion/criterion.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define ENVELOPE                                                                       \
    "<s:Envelope xmlns:s='" SOAP_SPACE "' xmlns:a='" SOAP_SPACE_ADDRESSING             \
    "' xmlns:w='" SOAP_SPACE_SECURITY "' xmlns:u='" SOAP_SPACE_UTILITY "'>"
#define ACTION "<a:Action s:mustUnderstand='1'>\n urn:do \n</a:Action>"
#define MESSAGE "<a:MessageID>urn:uuid:1</a:MessageID>"
#define BODY "<s:Body><Do xmlns='urn:x'/></s:Body>"

static struct fake_core core;

static void
begin(void)
{
    fake_core_open(&core);
}

static void
end(void)
{
    fake_core_close(&core);
    LEAK_CHECK();
}

TestSuite(soap, .init = begin, .fini = end);

static enum ca_status
read_text(const char *text, struct soap_request *soap)
{
    fake_core_request(&core, "POST", "", "", text, strlen(text));
    return soap_read(&core.request, soap);
}

static char *
message(const char *headers)
{
    char *text = NULL;
    cr_assert(asprintf(&text,
                       ENVELOPE "<s:Header>" ACTION MESSAGE "%s</s:Header>" BODY
                                "</s:Envelope>",
                       headers) > 0);
    return text;
}

Test(soap, reads_action_message_and_body)
{
    struct soap_request soap;
    cr_assert_eq(read_text(ENVELOPE "<s:Header>" ACTION MESSAGE
                                    "<a:To>https://x/</a:To></s:Header>" BODY
                                    "</s:Envelope>",
                           &soap),
                 CA_OK);
    cr_assert_str_eq(soap.action, "urn:do");
    cr_assert_str_eq(soap.message_id, "urn:uuid:1");
    cr_assert_str_eq(soap.to, "https://x/");
    cr_assert_null(soap.security);
    cr_assert(xml_is(soap.content, "urn:x", "Do"));
}

Test(soap, refuses_what_is_no_request)
{
    static const struct {
        const char *name, *text;
        enum ca_status status;
        const char *message_id; /* that a fault would relate to */
    } cases[] = {
        { "no envelope", "<a/>", CA_MALFORMED, NULL },
        { "SOAP 1.1",
          "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Body/>"
          "</s:Envelope>",
          CA_UNSUPPORTED, NULL },
        { "no header", ENVELOPE BODY "</s:Envelope>", CA_MALFORMED, NULL },
        { "no action", ENVELOPE "<s:Header>" MESSAGE "</s:Header>" BODY "</s:Envelope>",
          CA_MALFORMED, "urn:uuid:1" },
        { "two actions",
          ENVELOPE "<s:Header>" MESSAGE ACTION ACTION "</s:Header>" BODY
                   "</s:Envelope>",
          CA_MALFORMED, "urn:uuid:1" },
        { "an action with an element inside",
          ENVELOPE "<s:Header><a:Action>urn:do<x/></a:Action>" MESSAGE
                   "</s:Header>" BODY "</s:Envelope>",
          CA_MALFORMED, "urn:uuid:1" },
        { "an id of two lines",
          ENVELOPE "<s:Header>" ACTION "<a:MessageID>a\nb</a:MessageID></s:Header>" BODY
                   "</s:Envelope>",
          CA_MALFORMED, NULL },
        { "two bodies",
          ENVELOPE "<s:Header>" ACTION MESSAGE "</s:Header>" BODY BODY "</s:Envelope>",
          CA_MALFORMED, NULL },
        { "a body in the header",
          ENVELOPE "<s:Header>" ACTION MESSAGE "<x>" BODY "</x></s:Header>" BODY
                   "</s:Envelope>",
          CA_MALFORMED, NULL },
        { "no body", ENVELOPE "<s:Header>" ACTION MESSAGE "</s:Header></s:Envelope>",
          CA_MALFORMED, NULL },
        { "an empty body",
          ENVELOPE "<s:Header>" ACTION MESSAGE "</s:Header><s:Body/></s:Envelope>",
          CA_MALFORMED, "urn:uuid:1" },
        { "two elements in the body",
          ENVELOPE "<s:Header>" ACTION MESSAGE
                   "</s:Header><s:Body><a/><a/></s:Body></s:Envelope>",
          CA_MALFORMED, "urn:uuid:1" },
        { "an element beside the body",
          ENVELOPE "<s:Header>" ACTION MESSAGE "</s:Header>" BODY "<x/></s:Envelope>",
          CA_MALFORMED, NULL },
        { "a header that must be understood",
          ENVELOPE "<s:Header>" ACTION MESSAGE
                   "<x s:mustUnderstand='true'/></s:Header>" BODY "</s:Envelope>",
          CA_MALFORMED, "urn:uuid:1" },
        { "two Security headers",
          ENVELOPE "<s:Header>" ACTION MESSAGE
                   "<w:Security/><w:Security/></s:Header>" BODY "</s:Envelope>",
          CA_MALFORMED, "urn:uuid:1" },
        { "a DOCTYPE", "<!DOCTYPE s>" ENVELOPE "</s:Envelope>", CA_MALFORMED, NULL },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct soap_request soap;
        cr_expect_eq(read_text(cases[i].text, &soap), cases[i].status, "%s",
                     cases[i].name);
        if (cases[i].message_id)
            cr_expect_str_eq(soap.message_id, cases[i].message_id, "%s", cases[i].name);
        else
            cr_expect_null(soap.message_id, "%s", cases[i].name);
    }
    struct soap_request soap;
    char *long_id = malloc(400), *text = NULL;
    memset(long_id, 'x', 399);
    long_id[399] = '\0';
    cr_assert(asprintf(&text,
                       ENVELOPE "<s:Header>" ACTION
                                "<a:MessageID>%s</a:MessageID></s:Header>" BODY
                                "</s:Envelope>",
                       long_id) > 0);
    cr_expect_eq(read_text(text, &soap), CA_MALFORMED);
    cr_expect_null(soap.message_id);
    free(text);
    free(long_id);
}

/* ---- Credentials ---- */

static enum ca_status
read_token(const char *headers, struct soap_token *token)
{
    struct soap_request soap;
    char *text = message(headers);
    *token = (struct soap_token){ 0 };
    fake_core_request(&core, "POST", "", "", text, strlen(text));
    cr_assert_eq(soap_read(&core.request, &soap), CA_OK, "%s", headers);
    enum ca_status status = soap_token_read(&core.request, &soap, token);
    free(text);
    return status;
}

Test(soap, reads_passwords_with_both_forms_of_type)
{
    static const char *const types[] = {
        "",
        " Type='http://docs.oasis-open.org/wss/2004/01/"
        "oasis-200401-wss-username-token-profile-1.0#PasswordText'",
        " w:Type='http://docs.oasis-open.org/wss/2004/01/"
        "oasis-200401-wss-username-token-profile-1.0#PasswordText'",
    };
    for (size_t i = 0; i < COUNT(types); i++) {
        char *headers = NULL;
        struct soap_token token;
        struct ca_credential credential = { 0 };
        cr_assert(asprintf(&headers,
                           "<w:Security><w:UsernameToken><w:Username>alice</w:Username>"
                           "<w:Password%s>p&amp;w</w:Password><w:Nonce>eA==</w:Nonce>"
                           "</w:UsernameToken></w:Security>",
                           types[i]) > 0);
        cr_assert_eq(read_token(headers, &token), CA_OK);
        soap_credential(&token, &credential);
        cr_expect_eq(credential.kind, CA_CREDENTIAL_PASSWORD);
        cr_expect_str_eq(credential.user, "alice");
        cr_expect_str_eq(credential.secret, "p&w");
        cr_expect_eq(credential.secret_size, 3);
        soap_token_clear(&token);
        free(headers);
    }
}

/* The web view's client encodes what the page gave it, once. */
Test(soap, decodes_a_login_token_once)
{
    struct soap_token token;
    struct ca_credential credential = { 0 };
    cr_assert_eq(
        read_token("<w:Security><w:BinarySecurityToken w:ValueType='\n" SOAP_TOKEN_USER
                   "' EncodingType='x'>\nZXlK\r\nZUE9PQ==\n"
                   "</w:BinarySecurityToken></w:Security>",
                   &token),
        CA_OK);
    soap_credential(&token, &credential);
    cr_expect_eq(credential.kind, CA_CREDENTIAL_LOGIN_TOKEN);
    cr_expect_str_eq(credential.secret, "eyJeA==");
    cr_expect_eq(credential.secret_size, 7);
    soap_token_clear(&token);
}

Test(soap, without_a_token_there_is_no_credential)
{
    static const char *const cases[] = { "", "<w:Security/>",
                                         "<w:Security><u:Timestamp/></w:Security>" };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct soap_token token;
        cr_expect_eq(read_token(cases[i], &token), CA_OK);
        cr_expect_eq(token.kind, SOAP_TOKEN_KIND_NONE);
    }
}

Test(soap, refuses_credentials_that_are_not_understood)
{
#define USER(inside)                                                                   \
    "<w:Security><w:UsernameToken>" inside "</w:UsernameToken></w:Security>"
#define BINARY(type, inside)                                                           \
    "<w:Security><w:BinarySecurityToken" type ">" inside                               \
    "</w:BinarySecurityToken></w:Security>"
    static const char *const cases[] = {
        USER(""),
        USER("<w:Username>a</w:Username>"),
        USER("<w:Password>a</w:Password>"),
        USER("<w:Username/><w:Password>a</w:Password>"),
        USER("<w:Username>a</w:Username><w:Username>b</w:Username><w:Password/>"),
        USER("<w:Username>a</w:Username><w:Password>a</w:Password><w:Password/>"),
        USER("<w:Username>a</w:Username><w:Password Type='x#PasswordDigest'>a"
             "</w:Password>"),
        BINARY("", "YQ=="),
        BINARY(" ValueType='urn:unknown'", "YQ=="),
        BINARY(" ValueType='" SOAP_TOKEN_USER "'", ""),
        BINARY(" ValueType='" SOAP_TOKEN_USER "'", "Y!=="),
        BINARY(" ValueType='" SOAP_TOKEN_USER "'", "YQ=Q"),
        BINARY(" ValueType='" SOAP_TOKEN_USER "'", "YQBh"),
        BINARY(" ValueType='" SOAP_TOKEN_X509 "'", "YQ=="),
        "<w:Security><w:UsernameToken><w:Username>a</w:Username><w:Password>a"
        "</w:Password></w:UsernameToken><w:BinarySecurityToken "
        "ValueType='" SOAP_TOKEN_USER "'>YQ==</w:BinarySecurityToken></w:Security>",
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct soap_token token;
        cr_expect_eq(read_token(cases[i], &token), CA_MALFORMED, "%s", cases[i]);
        cr_expect_eq(token.kind, SOAP_TOKEN_KIND_NONE);
    }
}

/* ---- Signatures: made with xmlsec1 by tests/data/windows/sign ---- */

static char *
file_read(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, TEST_SOURCE "/tests/data/windows/%s", name);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file, "%s", path);
    char *text = calloc(1, 65536);
    cr_assert(fread(text, 1, 65535, file) > 0);
    fclose(file);
    return text;
}

static enum ca_status
read_signed(const char *text, struct soap_token *token)
{
    struct soap_request soap;
    *token = (struct soap_token){ 0 };
    fake_core_request(&core, "POST", "", "", text, strlen(text));
    enum ca_status status = soap_read(&core.request, &soap);
    return status == CA_OK ? soap_token_read(&core.request, &soap, token) : status;
}

/* The message was signed for this minute. */
#define SIGNED_AT INT64_C(1795600800) /* 2026-11-25T10:00:00Z */
#define CREATED "2026-11-25T10:00:00Z"
#define EXPIRES "2026-11-25T10:05:00Z"
#define BEFORE "2026-11-25T09:59:59Z"
#define NEXT_DAY "2026-11-26T10:00:00Z"
#define NEXT_SECOND "2026-11-26T10:00:01Z"

Test(soap, takes_a_message_that_its_certificate_signed)
{
    struct soap_token token;
    struct ca_credential credential = { 0 };
    char *text = file_read("getpolicies-certificate.xml");
    core.now = SIGNED_AT;
    cr_assert_eq(read_signed(text, &token), CA_OK);
    soap_credential(&token, &credential);
    cr_expect_eq(credential.kind, CA_CREDENTIAL_CERTIFICATE);
    cr_expect_not_null(credential.certificate);
    soap_token_clear(&token);
    for (int late = 0; late < 2; late++) {
        core.now = SIGNED_AT + (late ? 601 : -301);
        cr_expect_eq(read_signed(text, &token), CA_UNAUTHENTICATED);
    }
    free(text);
}

/* Replaces the first `from`, which must be there. */
static char *
replace(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    char *made = NULL;
    cr_assert_not_null(at, "%s", from);
    cr_assert(
        asprintf(&made, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)) > 0);
    return made;
}

/* The time is looked at first: which of the two it was, only the message says. */
Test(soap, R8_a_signed_message_lives_a_day_at_most)
{
    static const struct {
        const char *expires;
        int64_t at; /* behind Created */
        bool is_timely;
    } cases[] = {
        { EXPIRES, 0, true },      { EXPIRES, -300, true }, { EXPIRES, -301, false },
        { EXPIRES, 600, true },    { EXPIRES, 601, false }, { NEXT_DAY, 0, true },
        { NEXT_SECOND, 0, false }, { CREATED, 0, true },    { CREATED, 300, true },
        { CREATED, 301, false },   { BEFORE, 0, false },
    };
    char *text = file_read("getpolicies-certificate.xml");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct soap_token token;
        char *made = replace(text, "<u:Expires>" EXPIRES, "<u:Expires>");
        char *whole = NULL;
        char element[64];
        snprintf(element, sizeof element, "<u:Expires>%s", cases[i].expires);
        whole = replace(made, "<u:Expires>", element);
        core.now = SIGNED_AT + cases[i].at;
        enum ca_status status = read_signed(whole, &token);
        bool is_late = strstr(status_message(), "out of its time") != NULL;
        cr_expect_eq(status == CA_OK || !is_late, cases[i].is_timely, "%s at %lld: %s",
                     cases[i].expires, (long long)cases[i].at, status_message());
        if (status == CA_OK)
            soap_token_clear(&token);
        free(made);
        free(whole);
    }
    free(text);
}

Test(soap, W1_refuses_every_message_that_is_not_the_signed_one)
{
    static const struct {
        const char *name, *from, *to;
        enum ca_status status;
    } cases[] = {
        { "white space in a tag, which is no change", "<client>", "<client >", CA_OK },
        { "a changed value", "urn:uuid:72048B64", "urn:uuid:72048B65",
          CA_UNAUTHENTICATED },
        { "one space more", "</s:Body>", " </s:Body>", CA_UNAUTHENTICATED },
        { "another element", "<requestFilter", "<x/><requestFilter",
          CA_UNAUTHENTICATED },
        { "a fragment", "URI=\"\"", "URI=\"#body\"", CA_MALFORMED },
        { "no URI", "URI=\"\"", "", CA_MALFORMED },
        { "SHA-1", "xmlenc#sha256", "xmldsig#sha1", CA_MALFORMED },
        { "RSA over SHA-1", "xmldsig-more#rsa-sha256", "xmldsig#rsa-sha1",
          CA_MALFORMED },
        { "HMAC", "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
          "http://www.w3.org/2000/09/xmldsig#hmac-sha1", CA_MALFORMED },
        { "inclusive SignedInfo", "http://www.w3.org/2001/10/xml-exc-c14n#",
          "http://www.w3.org/TR/2001/REC-xml-c14n-20010315", CA_MALFORMED },
        { "an XSLT", "http://www.w3.org/2000/09/xmldsig#enveloped-signature",
          "http://www.w3.org/TR/1999/REC-xslt-19991116", CA_MALFORMED },
        { "one more transform", "</ds:Transforms>",
          "<ds:Transform Algorithm=\"http://www.w3.org/2000/09/xmldsig#base64\"/>"
          "</ds:Transforms>",
          CA_MALFORMED },
        { "a second signature", "</s:Header>",
          "<ds:Signature xmlns:ds=\"" SOAP_SPACE_SIGNATURE "\"/></s:Header>",
          CA_MALFORMED },
        { "a second reference", "</ds:SignedInfo>",
          "<ds:Reference URI=\"\"/></ds:SignedInfo>", CA_MALFORMED },
        { "a second token", "<wsse:BinarySecurityToken",
          "<wsse:BinarySecurityToken>YQ==</wsse:BinarySecurityToken>"
          "<wsse:BinarySecurityToken",
          CA_MALFORMED },
        { "no time", "u:Expires>", "u:Expired>", CA_MALFORMED },
    };
    char *text = file_read("getpolicies-certificate.xml");
    core.now = SIGNED_AT;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct soap_token token;
        char *changed = replace(text, cases[i].from, cases[i].to);
        if (strcmp(cases[i].name, "no time") == 0) {
            char *both = replace(changed, "</u:Expires>", "</u:Expired>");
            free(changed);
            changed = both;
        }
        cr_expect_eq(read_signed(changed, &token), cases[i].status, "%s",
                     cases[i].name);
        soap_token_clear(&token);
        free(changed);
    }
    free(text);
}

/* A signed copy of the message cannot stand in for another one around it. */
Test(soap, W1_signature_wrapping_is_refused)
{
    struct soap_token token;
    char *text = file_read("getpolicies-certificate.xml"), *wrapped = NULL;
    core.now = SIGNED_AT;
    cr_assert(asprintf(&wrapped,
                       ENVELOPE "<s:Header>" ACTION MESSAGE "<x>%s</x></s:Header>" BODY
                                "</s:Envelope>",
                       text) > 0);
    cr_expect_eq(read_signed(wrapped, &token), CA_MALFORMED);
    free(wrapped);
    wrapped = replace(text, "</s:Header>", "<x><s:Body/></x></s:Header>");
    cr_expect_eq(read_signed(wrapped, &token), CA_MALFORMED);
    free(wrapped);
    free(text);
}

/* ---- Answers ---- */

Test(soap, answers_relate_to_their_request)
{
    struct soap_request soap;
    struct xml_writer writer;
    char *text = message("");
    cr_assert_eq(read_text(text, &soap), CA_OK);
    soap_answer_begin(&writer, &soap, "urn:done");
    xml_leaf(&writer, "x", "y");
    cr_assert_eq(soap_answer_send(&writer, &core.request), CA_OK);
    cr_expect_eq(core.http_status, 200);
    const struct xml_node *root = answer_root(&core);
    cr_expect(xml_is(root, SOAP_SPACE, "Envelope"));
    const struct xml_node *action = PATH(root, "Header", "Action");
    cr_expect_str_eq(action->text, "urn:done");
    cr_expect_str_eq(xml_attribute(action, "mustUnderstand"), "1");
    cr_expect_str_eq(PATH(root, "Header", "RelatesTo")->text, "urn:uuid:1");
    cr_expect_str_eq(PATH(root, "Body", "x")->text, "y");
    free(text);
}

Test(soap, faults_have_the_published_shape)
{
    static const struct {
        enum soap_code code;
        const char *subcode;
    } cases[] = {
        { SOAP_MESSAGE_FORMAT, "s:MessageFormat" },
        { SOAP_AUTHENTICATION, "s:Authentication" },
        { SOAP_AUTHORIZATION, "s:Authorization" },
        { SOAP_CERTIFICATE_REQUEST, "s:CertificateRequest" },
        { SOAP_ENROLLMENT_SERVER, "s:EnrollmentServer" },
        { SOAP_INTERNAL_SERVICE_FAULT, "a:InternalServiceFault" },
        { SOAP_INVALID_SECURITY, "a:InvalidSecurity" },
    };
    char *text = message("");
    cr_assert_eq(COUNT(cases), SOAP_CODE_COUNT);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct soap_request soap;
        cr_assert_eq(read_text(text, &soap), CA_OK);
        cr_assert_eq(
            soap_fault_send(&core.request, &soap,
                            &(struct soap_fault){ .code = cases[i].code,
                                                  .error_type = "NotSupported",
                                                  .http_status = i == 0 ? 200 : 0 }),
            CA_OK);
        cr_expect_eq(core.http_status, i == 0 ? 200 : 500);
        const struct xml_node *root = answer_root(&core);
        const struct xml_node *fault = PATH(root, "Body", "Fault");
        cr_expect_str_eq(PATH(root, "Header", "Action")->text, SOAP_FAULT_ENROLLMENT);
        cr_expect_str_eq(PATH(root, "Header", "RelatesTo")->text, "urn:uuid:1");
        cr_expect(xml_is(fault, SOAP_SPACE, "Fault"));
        cr_expect_str_eq(fault->first->name, "Code");
        cr_expect_str_eq(fault->first->next->name, "Reason");
        cr_expect_str_eq(fault->first->next->next->name, "Detail");
        cr_expect_str_eq(PATH(fault, "Code", "Value")->text, "s:Receiver");
        cr_expect_str_eq(PATH(fault, "Code", "Subcode", "Value")->text,
                         cases[i].subcode);
        cr_expect_str_eq(xml_attribute(PATH(fault, "Reason", "Text"), "lang"), "en-US");
        const struct xml_node *error =
            PATH(fault, "Detail", "DeviceEnrollmentServiceError");
        cr_expect_str_eq(error->space, SOAP_SPACE_ENROLLMENT);
        cr_expect_str_eq(PATH(error, "ErrorType")->text, "NotSupported");
        cr_expect_str_eq(PATH(error, "TraceId")->text, core.request.id);
    }
    free(text);
}

Test(soap, unknown_and_wrong_credentials_get_the_same_code)
{
    cr_expect_eq(soap_code_of(CA_UNAUTHENTICATED), SOAP_AUTHENTICATION);
    cr_expect_eq(soap_code_of(CA_LIMIT), SOAP_AUTHENTICATION);
    cr_expect_eq(soap_code_of(CA_FORBIDDEN), SOAP_AUTHORIZATION);
    cr_expect_eq(soap_code_of(CA_UNAVAILABLE), SOAP_ENROLLMENT_SERVER);
    cr_expect_eq(soap_code_of(CA_MALFORMED), SOAP_MESSAGE_FORMAT);
    cr_expect_eq(soap_code_of(CA_INTERNAL), SOAP_INTERNAL_SERVICE_FAULT);
}
