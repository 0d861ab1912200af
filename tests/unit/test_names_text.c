/* Names as text: subjects and alternative names read, written and checked. */
#include "leak.h"
#include "names.h"
#include "names_text.h"
#include "pki.h"

Test(names_text, string_forms_follow_the_standard)
{
    static const struct {
        const char *text;
        int form;
    } cases[] = {
        { "CN=dev1", V_ASN1_PRINTABLESTRING },
        { "CN=dev_1", V_ASN1_UTF8STRING },
        { "O=M\xc3\xbcller", V_ASN1_UTF8STRING },
        { "C=DE", V_ASN1_PRINTABLESTRING },
        { "DC=example", V_ASN1_IA5STRING },
        { "emailAddress=a@b.example", V_ASN1_IA5STRING },
        { "E=a@b.example", V_ASN1_IA5STRING },
        { "serialNumber=17", V_ASN1_PRINTABLESTRING },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CA_AUTO(X509_NAME_free) X509_NAME *name = NULL;
        cr_assert_eq(names_parse_subject(cases[i].text, &name), CA_OK, "%s: %s",
                     cases[i].text, status_message());
        cr_expect_eq(
            ASN1_STRING_type(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, 0))),
            cases[i].form, "%s", cases[i].text);
    }
    LEAK_CHECK();
}

Test(names_text, subjects_are_read_and_written)
{
    static const struct {
        const char *text, *again; /* NULL: refused */
    } cases[] = {
        { "", "" },
        { "CN=a", "CN=a" },
        { " cn = a , o = b ", "CN=a,O=b" },
        { "CN=a+serialNumber=1,O=b", "CN=a+serialNumber=1,O=b" },
        { "CN=a\\,b", "CN=a\\,b" },
        { "CN=\\ a\\ ", "CN=\\ a\\ " },
        { "CN=\\23a", "CN=\\#a" },
        { "CN=M\\C3\\BCller", "CN=M\xc3\xbcller" },
        { "GN=A,SN=B,UID=c,L=d,ST=e,STREET=f,T=g",
          "GN=A,SN=B,UID=c,L=d,ST=e,STREET=f,title=g" },
        { "CN=a b  c", "CN=a b  c" },
        { "CN", NULL },
        { "=a", NULL },
        { "CN=", NULL },
        { "CN= ", NULL },
        { "CN=a,", NULL },
        { "CN=a, ", NULL },
        { "CN=a+", NULL },
        { ",CN=a", NULL },
        { "CN=a,,O=b", NULL },
        { "XX=a", NULL },
        { "2.5.4.3=a", NULL },
        { "CN=a;O=b", NULL },
        { "CN=\"a\"", NULL },
        { "CN=a\\", NULL },
        { "CN=a\\x", NULL },
        { "CN=a\\0", NULL },
        { "CN=a\\00b", NULL },
        { "CN=a\\0Ab", NULL },
        { "CN=\\FF", NULL },
        { "C=DEU", NULL },
        { "C=D", NULL },
        { "DC=m\xc3\xbc", NULL },
        { "serialNumber=a_b", NULL },
        { "emailAddress=a", NULL },
        { "/CN=a", NULL },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CA_AUTO(X509_NAME_free) X509_NAME *name = NULL;
        enum ca_status status = names_parse_subject(cases[i].text, &name);
        cr_expect_eq(status, cases[i].again ? CA_OK : CA_MALFORMED, "'%s': %s",
                     cases[i].text, status_message());
        if (!name || !cases[i].again)
            continue;
        CA_AUTO(free) char *again = names_format_subject(name);
        cr_expect_str_eq(again, cases[i].again);
    }
    CA_AUTO(text_buffer_clear) struct text_buffer many = { 0 };
    for (int i = 0; i <= NAMES_ATTRIBUTES_MAX; i++)
        text_print(&many, "%sOU=a%d", i > 0 ? "," : "", i);
    X509_NAME *none = NULL;
    cr_expect_eq(names_parse_subject(many.data, &none), CA_MALFORMED);
    LEAK_CHECK();
}

Test(names_text, profiles_are_checked)
{
    static const struct {
        const char *text;
        bool is_good;
    } subjects[] = {
        { "CN={{user.name}},OU={{user.work_space|none}},O={{organisation.name}}",
          true },
        { "CN={{user.attributes.x}}+serialNumber={{device.hardware.serial}}", true },
        { "CN={{request.cn}}", true },
        { "CN={{user.work_space|a,b+c}},O=x", true },
        { "", true },
        { "O=Example", true },
        { "CN={{user.password}}", false },
        { "CN={{user.attributes.}}", false },
        { "CN={{device.report.name}}", false },
        { "CN={{name}}", false },
        { "CN={{user.name}", false },
        { "CN={{user.name", false },
        { "CN=}}", false },
        { "CN={user.name}", false },
        { "CN=\\7b\\7buser.name}}", false },
        { "{{user.name}}=a", false },
        { "{{user.name}}", false },
        { "XX={{user.name}}", false },
        { "C=Germany", false },
        { "CN=", false },
        { "CN={{user.name}},", false },
    };
    static const struct {
        int type;
        const char *value;
        bool is_good;
    } sans[] = {
        { SAN_EMAIL, "{{user.email}}", true },
        { SAN_DNS, "{{device.id}}.devices.example", true },
        { SAN_DNS, "*.apps.example", true },
        { SAN_DNS, "*.example", false },
        { SAN_DNS, "*", false },
        { SAN_DNS, "a.*.example", false },
        { SAN_DNS, "a*.example.com", false },
        { SAN_IP, "192.0.2.1", true },
        { SAN_IP, "2001:db8::1", true },
        { SAN_IP, "192.0.2", false },
        { SAN_IP, "192.0.2.1/24", false },
        { SAN_URI, "urn:uuid:{{device.id}}", true },
        { SAN_URI, "https://a.example/x?y=%20", true },
        { SAN_URI, "https://a.example/x%2", false },
        { SAN_URI, "https:///x", false },
        { SAN_URI, "https://", false },
        { SAN_URI, "javascript:x", false },
        { SAN_URI, "file:///etc/passwd", false },
        { SAN_URI, "urn:a b", false },
        { SAN_EMAIL, "a@b.example", true },
        { SAN_EMAIL, "a.b+c@b.example", true },
        { SAN_EMAIL, "\"a b\"@b.example", false },
        { SAN_EMAIL, "a..b@b.example", false },
        { SAN_EMAIL, ".a@b.example", false },
        { SAN_EMAIL, "a@b@c.example", false },
        { SAN_EMAIL, "a@", false },
        { SAN_EMAIL, "m\xc3\xbc@b.example", false },
        { SAN_UPN, "{{user.name}}@corp.example", true },
        { SAN_UPN, "m\xc3\xbc@corp", true },
        { SAN_UPN, "a@b@c", false },
        { SAN_UPN, "@c", false },
        { SAN_UPN, "{{user.nam}}", false },
        { 17, "a", false },
    };
    char reason[160];
    for (size_t i = 0; i < COUNT(subjects); i++) {
        reason[0] = '\0';
        cr_expect_eq(names_check_subject(subjects[i].text, reason, sizeof reason),
                     subjects[i].is_good, "%s: %s", subjects[i].text, reason);
        cr_expect(subjects[i].is_good || reason[0], "%s", subjects[i].text);
    }
    for (size_t i = 0; i < COUNT(sans); i++)
        cr_expect_eq(names_check_san((enum san_type)sans[i].type, sans[i].value, reason,
                                     sizeof reason),
                     sans[i].is_good, "%s: %s", sans[i].value, reason);
    LEAK_CHECK();
}

Test(names_text, hostile_subjects_are_written_for_the_log)
{
    CA_AUTO(X509_NAME_free) X509_NAME *name = X509_NAME_new();
    X509_NAME_add_entry_by_NID(name, NID_commonName, V_ASN1_UTF8STRING,
                               (const unsigned char *)"a\0\n\x7f", 4, -1, 0);
    X509_NAME_add_entry_by_txt(name, "1.2.3.4", V_ASN1_UTF8STRING,
                               (const unsigned char *)"x", 1, -1, 0);
    CA_AUTO(free) char *written = names_format_subject(name);
    cr_expect_str_eq(written, "CN=a\\00\\0A\\7F,1.2.3.4=x");
    LEAK_CHECK();
}
