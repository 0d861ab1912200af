/* Names: what the registry says is what is issued, by the profile's templates and
 * subject modes (SECURITY R6, R7). */
#include "leak.h"
#include "names_rig.h"

TestSuite(names, .init = set_up, .fini = tear_down);

static char user_email[] = "{{user.email}}", device_uri[] = "urn:uuid:{{device.id}}",
            user_upn[] = "{{user.attributes.upn}}",
            user_host[] = "{{user.attributes.host}}",
            missing[] = "{{user.attributes.none}}",
            missing_empty[] = "{{user.work_space|}}", wildcard[] = "*.apps.example";

Test(names, templates_name_the_registry)
{
    static const struct trial trials[] = {
        { .name = "all of it",
          .subject =
              "CN={{user.name}},OU={{user.work_space|none}},O={{organisation.name}}",
          .san = { { SAN_EMAIL, user_email },
                   { SAN_URI, device_uri },
                   { SAN_UPN, user_upn } },
          .issued = "CN=alice,OU=none,O=Example",
          .issued_san = "email:alice@example.com,"
                        "uri:urn:uuid:0d9c3c5e-0000-4000-8000-000000000001,"
                        "upn:alice@corp.example" },
        { .name = "attributes and hardware",
          .subject =
              "CN={{device.hardware.serial}},serialNumber={{user.attributes.badge}}",
          .issued = "CN=SN-1,serialNumber=17" },
        { .name = "literal and value",
          .subject = "CN=dev-{{device.kind}}-x",
          .issued = "CN=dev-router-x" },
        { .name = "missing",
          .subject = "CN={{user.work_space}}",
          .expected = CA_FORBIDDEN },
        { .name = "missing in a SAN",
          .subject = "CN=a",
          .san = { { SAN_DNS, missing } },
          .expected = CA_FORBIDDEN },
        { .name = "empty default leaves out",
          .subject = "CN=a,OU={{user.work_space|}},O=b",
          .san = { { SAN_DNS, missing_empty } },
          .issued = "CN=a,O=b" },
        { .name = "no name at all",
          .subject = "OU={{user.work_space|}}",
          .expected = CA_FORBIDDEN },
        { .name = "only a SAN",
          .subject = "",
          .san = { { SAN_DNS, user_host } },
          .issued = "",
          .issued_san = "dns:pc-7.corp.example" },
        { .name = "default with a comma",
          .subject = "CN={{user.work_space|a,b=c}},O=x",
          .issued = "CN=a\\,b\\=c,O=x" },
        { .name = "wildcard of the profile",
          .subject = "CN=a",
          .san = { { SAN_DNS, wildcard } },
          .issued = "CN=a",
          .issued_san = "dns:*.apps.example" },
        { .name = "request.cn without take",
          .subject = "CN={{request.cn}}",
          .asked = "CN=dev1",
          .expected = CA_FORBIDDEN },
    };
    for (size_t i = 0; i < COUNT(trials); i++)
        run(&trials[i]);
    tear_down();
    LEAK_CHECK();
}

Test(names, R6_subject_modes)
{
    static const struct trial trials[] = {
        { .name = "match",
          .subject = "CN={{user.name}},O=Example",
          .asked = "CN=alice",
          .issued = "CN=alice,O=Example" },
        { .name = "match, all",
          .subject = "CN={{user.name}},O=Example",
          .asked = "O=example,CN=ALICE",
          .issued = "CN=alice,O=Example" },
        { .name = "match, nothing asked",
          .subject = "CN={{user.name}}",
          .asked = "",
          .issued = "CN=alice" },
        { .name = "match, another user",
          .subject = "CN={{user.name}}",
          .asked = "CN=bob",
          .expected = CA_FORBIDDEN },
        { .name = "match, one more attribute",
          .subject = "CN={{user.name}}",
          .asked = "CN=alice,O=Admins",
          .expected = CA_FORBIDDEN },
        { .name = "match, second CN",
          .subject = "CN={{user.name}}",
          .asked = "CN=alice,CN=root",
          .expected = CA_FORBIDDEN },
        { .name = "match, value of another type",
          .subject = "CN={{user.name}}",
          .asked = "OU=alice",
          .expected = CA_FORBIDDEN },
        { .name = "match, prefix",
          .subject = "CN={{user.name}}",
          .asked = "CN=alic",
          .expected = CA_FORBIDDEN },
        { .name = "ignore",
          .subject = "CN={{user.name}}",
          .mode = SUBJECT_IGNORE,
          .asked = "CN=bob,O=Admins",
          .issued = "CN=alice" },
        { .name = "take",
          .subject = "CN={{request.cn}},O={{organisation.name}}",
          .mode = SUBJECT_TAKE,
          .asked = "CN=printer-3,OU=Floor 2",
          .issued = "CN=printer-3,O=Example" },
        { .name = "take, none asked",
          .subject = "CN={{request.cn}}",
          .mode = SUBJECT_TAKE,
          .asked = "O=x",
          .expected = CA_FORBIDDEN },
        { .name = "take, two asked",
          .subject = "CN={{request.cn}}",
          .mode = SUBJECT_TAKE,
          .asked = "CN=a,CN=b",
          .expected = CA_FORBIDDEN },
        { .name = "take, looks like a template",
          .subject = "CN={{request.cn}}",
          .mode = SUBJECT_TAKE,
          .asked = "CN={{user.email}}",
          .issued = "CN={{user.email}}" },
        { .name = "take, path",
          .subject = "CN={{request.cn}}",
          .mode = SUBJECT_TAKE,
          .asked = "CN=../../x",
          .issued = "CN=../../x" },
    };
    for (size_t i = 0; i < COUNT(trials); i++)
        run(&trials[i]);
    tear_down();
    LEAK_CHECK();
}

Test(names, R6_values_of_the_registry_are_judged_too)
{
    static const struct {
        const char *name, *host;
    } cases[] = {
        { "wildcard", "*.example.com" },  { "blank", "pc 7.example" },
        { "control", "pc\n.example" },    { "underscore", "pc_7.example" },
        { "empty label", "pc..example" }, { "trailing dot", "pc.example." },
        { "hyphen", "-pc.example" },      { "umlaut", "m\xc3\xbc.example" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        json_object_set_new(user.attributes, "host", json_string(cases[i].host));
        struct trial trial = { .name = cases[i].name,
                               .subject = "CN=a",
                               .san = { { SAN_DNS, user_host } },
                               .expected = CA_FORBIDDEN };
        run(&trial);
    }
    tear_down();
    LEAK_CHECK();
}

Test(names, R7_values_of_the_registry_stay_in_their_attribute)
{
    static const struct {
        const char *name, *value, *issued; /* NULL: refused */
    } cases[] = {
        { "comma", "alice,O=Admins", "CN=alice\\,O\\=Admins" },
        { "plus", "alice+OU=x", "CN=alice\\+OU\\=x" },
        { "backslash", "a\\2Cb", "CN=a\\\\2Cb" },
        { "hash", "#0500", "CN=\\#0500" },
        { "template", "{{user.email}}", "CN={{user.email}}" },
        { "markup", "<b>\"x\"</b>", "CN=\\<b\\>\\\"x\\\"\\</b\\>" },
        { "umlaut", "M\xc3\xbcller", "CN=M\xc3\xbcller" },
        { "line break", "a\nb", NULL },
        { "no UTF-8", "\xc3", NULL },
        { "65 octets",
          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        user.name = text(cases[i].value);
        struct trial trial = { .name = cases[i].name,
                               .subject = "CN={{user.name}}",
                               .expected = cases[i].issued ? CA_OK : CA_FORBIDDEN,
                               .issued = cases[i].issued };
        run(&trial);
        CA_AUTO(X509_NAME_free) X509_NAME *again = NULL;
        if (cases[i].issued) {
            cr_expect_eq(names_parse_subject(cases[i].issued, &again), CA_OK);
            CA_AUTO(free) char *text_again = names_format_subject(again);
            cr_expect_str_eq(text_again, cases[i].issued);
        }
    }
    tear_down();
    LEAK_CHECK();
}
