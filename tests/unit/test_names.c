/* Names: what the registry says, what the request asks for, and that nothing else is
 * issued (SECURITY R6, R7). */
#include "csr.h"
#include "leak.h"
#include "names.h"
#include "names_text.h"
#include "pki.h"

static struct organisation organisation;
static struct user user;
static struct device device;
static EVP_PKEY *key;

static char *
text(const char *value)
{
    static char room[64][256];
    static size_t used;
    char *copy = room[used++ % 64];
    snprintf(copy, sizeof room[0], "%s", value);
    return copy;
}

static void
set_up(void)
{
    organisation = (struct organisation){ .name = text("Example"),
                                          .base_url = text("https://ca.example") };
    user = (struct user){ .name = text("alice"), .email = text("alice@example.com") };
    user.attributes = json_pack("{s:s, s:i, s:s}", "upn", "alice@corp.example", "badge",
                                17, "host", "pc-7.corp.example");
    device = (struct device){ .id = text("0d9c3c5e-0000-4000-8000-000000000001"),
                              .kind = text("router") };
    device.hardware = json_pack("{s:s}", "serial", "SN-1");
    key = pki_ec("P-256");
}

static void
tear_down(void)
{
    json_decref(user.attributes);
    json_decref(device.hardware);
    EVP_PKEY_free(key);
    user.attributes = device.hardware = NULL;
    key = NULL;
}

TestSuite(names, .init = set_up, .fini = tear_down);

/* One enrolment: what the profile says, what is granted, what is asked for. */
struct trial {
    const char *name;
    const char *subject;
    struct profile_san san[3];
    struct profile_match match[2];
    int mode;
    bool from_challenge;
    const char *granted_subject;
    const char *granted_san[3];
    const char *asked;     /* the request's subject; NULL: no request */
    const char *asked_san; /* OpenSSL's notation or NULL */
    enum ca_status expected;
    const char *issued;     /* subject */
    const char *issued_san; /* joined with commas */
};

/* Into a request that has the extension as it would come over the wire. */
static X509_REQ *
request_of(const struct trial *trial)
{
    CA_AUTO(x509_extensions_free) STACK_OF(X509_EXTENSION) *list = NULL;
    if (trial->asked_san)
        pki_request_san(&list, trial->asked_san);
    X509_REQ *request = pki_request_start(key, NULL, list);
    CA_AUTO(X509_NAME_free) X509_NAME *subject = NULL;
    cr_assert_eq(names_parse_subject(trial->asked, &subject), CA_OK, "%s: %s",
                 trial->name, status_message());
    cr_assert(X509_REQ_set_subject_name(request, subject));
    cr_assert(X509_REQ_sign(request, key, EVP_sha256()) > 0);
    return request;
}

static void
expect_issued(const struct trial *trial, const struct names *names)
{
    CA_AUTO(free) char *subject = names_format_subject(names->subject);
    CA_AUTO(text_buffer_clear) struct text_buffer san = { 0 };
    for (int i = 0; i < sk_GENERAL_NAME_num(names->san); i++) {
        CA_AUTO(free) char *one = names_format(sk_GENERAL_NAME_value(names->san, i));
        text_print(&san, "%s%s", i > 0 ? "," : "", one);
    }
    cr_expect_str_eq(subject, trial->issued, "%s", trial->name);
    cr_expect_str_eq(san.data ? san.data : "",
                     trial->issued_san ? trial->issued_san : "", "%s", trial->name);
    cr_expect_eq(names->san != NULL, trial->issued_san != NULL, "%s", trial->name);
}

static void
run(const struct trial *trial)
{
    struct certificate_profile profile;
    pki_profile(&profile);
    struct profile_san san[3];
    struct profile_match match[2];
    char *granted[3];
    size_t sans = 0, matches = 0, grants = 0;
    for (; sans < 3 && trial->san[sans].value; sans++)
        san[sans] = trial->san[sans];
    for (; matches < 2 && trial->match[matches].match; matches++)
        match[matches] = trial->match[matches];
    for (; grants < 3 && trial->granted_san[grants]; grants++)
        granted[grants] = text(trial->granted_san[grants]);
    profile.subject = text(trial->subject);
    profile.san = (struct field_list){ san, sans };
    profile.from_request.san = (struct field_list){ match, matches };
    profile.from_request.subject = trial->mode;
    profile.names_from_challenge = trial->from_challenge;
    struct field_list granted_san = { granted, grants };
    CA_AUTO(X509_REQ_free)
    X509_REQ *request = trial->asked ? request_of(trial) : NULL;
    struct names_sources sources = { .organisation = &organisation,
                                     .user = &user,
                                     .device = &device,
                                     .granted_subject = trial->granted_subject,
                                     .granted_san = grants > 0 ? &granted_san : NULL,
                                     .request = request };
    struct names names = { NULL, NULL };
    status_forget();
    cr_expect_eq(names_build(&profile, &sources, &names), trial->expected, "%s: %s",
                 trial->name, status_message());
    if (trial->expected == CA_OK && names.subject)
        expect_issued(trial, &names);
    else
        cr_expect(!names.subject && !names.san, "%s", trial->name);
    names_clear(&names);
}

static char user_email[] = "{{user.email}}", device_uri[] = "urn:uuid:{{device.id}}",
            user_upn[] = "{{user.attributes.upn}}",
            user_host[] = "{{user.attributes.host}}",
            missing[] = "{{user.attributes.none}}",
            missing_empty[] = "{{user.work_space|}}", wildcard[] = "*.apps.example",
            devices[] = "*.Devices.example", any_ip[] = "192.0.2.*",
            exact_ip[] = "192.0.2.1", label[] = "*";

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

Test(names, R6_a_challenge_binds_names)
{
    static const struct trial trials[] = {
        { .name = "a plain client",
          .subject = "CN={{user.name}},O=Example",
          .from_challenge = true,
          .granted_subject = "CN=dev1",
          .granted_san = { "dns:dev1.example" },
          .asked = "CN=dev1",
          .asked_san = "DNS:dev1.example",
          .issued = "CN=dev1",
          .issued_san = "dns:dev1.example" },
        { .name = "a client that asks for less",
          .subject = "CN={{user.name}}",
          .from_challenge = true,
          .granted_subject = "CN=dev1",
          .granted_san = { "dns:dev1.example" },
          .asked = "CN=dev1",
          .issued = "CN=dev1",
          .issued_san = "dns:dev1.example" },
        { .name = "another subject than the challenge's",
          .subject = "CN={{user.name}}",
          .from_challenge = true,
          .granted_subject = "CN=dev1",
          .asked = "CN=admin",
          .expected = CA_FORBIDDEN },
        { .name = "the profile's subject against the challenge's",
          .subject = "CN={{user.name}}",
          .granted_subject = "CN=dev1",
          .asked = "CN=alice",
          .expected = CA_FORBIDDEN },
        { .name = "another subject although taken",
          .subject = "CN={{request.cn}}",
          .mode = SUBJECT_TAKE,
          .granted_subject = "CN=dev1",
          .asked = "CN=admin",
          .expected = CA_FORBIDDEN },
        { .name = "bound, but not issued",
          .subject = "CN={{user.name}}",
          .granted_subject = "CN=dev1",
          .asked = "CN=dev1",
          .issued = "CN=alice" },
        { .name = "renewal with less",
          .subject = "CN={{device.kind}},O=Example",
          .granted_subject = "CN=router,O=Example",
          .asked = "CN=router",
          .issued = "CN=router,O=Example" },
        { .name = "another SAN than the challenge's",
          .subject = "CN=a",
          .from_challenge = true,
          .granted_san = { "dns:dev1.example" },
          .asked = "CN=a",
          .asked_san = "DNS:dev2.example",
          .expected = CA_FORBIDDEN },
        { .name = "one SAN more",
          .subject = "CN=a",
          .from_challenge = true,
          .granted_san = { "dns:dev1.example" },
          .asked = "CN=a",
          .asked_san = "DNS:dev1.example,DNS:dev2.example",
          .expected = CA_FORBIDDEN },
        { .name = "matched, outside the challenge",
          .subject = "CN=a",
          .match = { { SAN_DNS, devices } },
          .granted_san = { "dns:d1.devices.example" },
          .asked = "CN=a",
          .asked_san = "DNS:d2.devices.example",
          .expected = CA_FORBIDDEN },
        { .name = "matched, inside the challenge",
          .subject = "CN=a",
          .match = { { SAN_DNS, devices } },
          .granted_san = { "dns:D1.devices.example" },
          .asked = "CN=a",
          .asked_san = "DNS:d1.devices.EXAMPLE",
          .issued = "CN=a",
          .issued_san = "dns:d1.devices.example" },
        { .name = "granted, but the profile issues none",
          .subject = "CN=a",
          .granted_san = { "dns:dev1.example" },
          .asked = "CN=a",
          .asked_san = "DNS:dev1.example",
          .expected = CA_FORBIDDEN },
        { .name = "the profile's name beside the challenge's",
          .subject = "CN=a",
          .san = { { SAN_EMAIL, user_email } },
          .from_challenge = true,
          .granted_san = { "dns:dev1.example", "ip:2001:DB8::1" },
          .asked = "CN=a",
          .asked_san = "email:alice@EXAMPLE.com,IP:2001:db8::1",
          .issued = "CN=a",
          .issued_san = "email:alice@example.com,dns:dev1.example,ip:2001:db8::1" },
        { .name = "UPN by challenge",
          .subject = "CN=a",
          .from_challenge = true,
          .granted_san = { "upn:admin@corp.example" },
          .expected = CA_FORBIDDEN },
        { .name = "wildcard by challenge",
          .subject = "CN=a",
          .from_challenge = true,
          .granted_san = { "dns:*.example.com" },
          .expected = CA_FORBIDDEN },
        { .name = "nonsense by challenge",
          .subject = "CN=a",
          .from_challenge = true,
          .granted_san = { "dev1.example" },
          .expected = CA_FORBIDDEN },
        { .name = "an address as a DNS name by challenge",
          .subject = "CN=a",
          .from_challenge = true,
          .granted_san = { "dns:10.0.0.1" },
          .expected = CA_FORBIDDEN },
        { .name = "broken subject by challenge",
          .subject = "CN=a",
          .from_challenge = true,
          .granted_subject = "dev1",
          .expected = CA_MALFORMED },
    };
    for (size_t i = 0; i < COUNT(trials); i++)
        run(&trials[i]);
    tear_down();
    LEAK_CHECK();
}

Test(names, grants_that_nobody_could_use_are_found)
{
    static const struct {
        const char *subject, *san;
        enum ca_status expected;
    } cases[] = {
        { NULL, NULL, CA_OK },
        { "CN=dev1,O=Example", "dns:dev1.example", CA_OK },
        { "foo", NULL, CA_MALFORMED },
        { "CN=dev1,", NULL, CA_MALFORMED },
        { "C=xyz", NULL, CA_MALFORMED },
        { NULL, "dns:a..b", CA_MALFORMED },
        { NULL, "dns:*.example", CA_MALFORMED },
        { NULL, "dns:10.0.0.1", CA_MALFORMED },
        { NULL, "ip:10.1", CA_MALFORMED },
        { NULL, "uri:javascript:alert(1)", CA_MALFORMED },
        { NULL, "upn:alice@example.com", CA_MALFORMED },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *items[] = { (char *)(uintptr_t)cases[i].san };
        const struct field_list san = { items, cases[i].san ? 1 : 0 };
        cr_expect_eq(names_check_granted(cases[i].subject, &san), cases[i].expected,
                     "case %zu: %s", i, status_message());
    }
    LEAK_CHECK();
}

Test(names, R6_requested_names_need_a_grant)
{
    static const struct trial trials[] = {
        { .name = "the registry's own",
          .subject = "CN=a",
          .san = { { SAN_EMAIL, user_email } },
          .asked = "CN=a",
          .asked_san = "email:alice@example.com",
          .issued = "CN=a",
          .issued_san = "email:alice@example.com" },
        { .name = "another's mail",
          .subject = "CN=a",
          .san = { { SAN_EMAIL, user_email } },
          .asked = "CN=a",
          .asked_san = "email:bob@example.com",
          .expected = CA_FORBIDDEN },
        { .name = "not granted",
          .subject = "CN=a",
          .asked = "CN=a",
          .asked_san = "DNS:dev1.example",
          .expected = CA_FORBIDDEN },
        { .name = "not granted, subject ignored",
          .subject = "CN=a",
          .mode = SUBJECT_IGNORE,
          .asked = "CN=b",
          .asked_san = "DNS:dev1.example",
          .expected = CA_FORBIDDEN },
        { .name = "by the profile",
          .subject = "CN=a",
          .match = { { SAN_DNS, devices } },
          .asked = "CN=a",
          .asked_san = "DNS:D7.devices.example",
          .issued = "CN=a",
          .issued_san = "dns:d7.devices.example" },
        { .name = "twice",
          .subject = "CN=a",
          .match = { { SAN_DNS, devices } },
          .asked = "CN=a",
          .asked_san = "DNS:d7.devices.example,DNS:D7.devices.example",
          .issued = "CN=a",
          .issued_san = "dns:d7.devices.example" },
        { .name = "two labels",
          .subject = "CN=a",
          .match = { { SAN_DNS, devices } },
          .asked = "CN=a",
          .asked_san = "DNS:x.d7.devices.example",
          .expected = CA_FORBIDDEN },
        { .name = "a wildcard under a match",
          .subject = "CN=a",
          .match = { { SAN_DNS, devices } },
          .asked = "CN=a",
          .asked_san = "DNS:*.devices.example",
          .expected = CA_FORBIDDEN },
        { .name = "of another kind",
          .subject = "CN=a",
          .match = { { SAN_DNS, devices } },
          .asked = "CN=a",
          .asked_san = "URI:urn:d7.devices.example",
          .expected = CA_FORBIDDEN },
        { .name = "suffix behind",
          .subject = "CN=a",
          .match = { { SAN_DNS, devices } },
          .asked = "CN=a",
          .asked_san = "DNS:d7.devices.example.evil.org",
          .expected = CA_FORBIDDEN },
        { .name = "address by pattern",
          .subject = "CN=a",
          .match = { { SAN_IP, any_ip } },
          .asked = "CN=a",
          .asked_san = "IP:192.0.2.77",
          .issued = "CN=a",
          .issued_san = "ip:192.0.2.77" },
        { .name = "another address",
          .subject = "CN=a",
          .match = { { SAN_IP, exact_ip } },
          .asked = "CN=a",
          .asked_san = "IP:192.0.2.2",
          .expected = CA_FORBIDDEN },
        { .name = "one good, one not",
          .subject = "CN=a",
          .match = { { SAN_DNS, devices } },
          .asked = "CN=a",
          .asked_san = "DNS:d7.devices.example,DNS:ca.example",
          .expected = CA_FORBIDDEN },
        { .name = "UPN of an administrator",
          .subject = "CN=a",
          .match = { { SAN_UPN, label } },
          .asked = "CN=a",
          .asked_san = "otherName:1.3.6.1.4.1.311.20.2.3;UTF8:admin@corp",
          .expected = CA_FORBIDDEN },
        { .name = "UPN of the registry",
          .subject = "CN=a",
          .san = { { SAN_UPN, user_upn } },
          .asked = "CN=a",
          .asked_san = "otherName:1.3.6.1.4.1.311.20.2.3;UTF8:alice@corp.example",
          .issued = "CN=a",
          .issued_san = "upn:alice@corp.example" },
        { .name = "another UPN than the registry's",
          .subject = "CN=a",
          .san = { { SAN_UPN, user_upn } },
          .asked = "CN=a",
          .asked_san = "otherName:1.3.6.1.4.1.311.20.2.3;UTF8:admin@corp.example",
          .expected = CA_FORBIDDEN },
        { .name = "another otherName",
          .subject = "CN=a",
          .asked = "CN=a",
          .asked_san = "otherName:1.2.3.4;UTF8:x",
          .expected = CA_FORBIDDEN },
        { .name = "registered ID",
          .subject = "CN=a",
          .asked = "CN=a",
          .asked_san = "RID:1.2.3.4",
          .expected = CA_FORBIDDEN },
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
