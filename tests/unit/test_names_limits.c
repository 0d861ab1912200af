/* Names: the last that is taken and the first that is not. The numbers are those of the
 * standards, written out, so that a limit which moves is seen. */
#include "csr.h"
#include "leak.h"
#include "names.h"
#include "names_text.h"
#include "pki.h"

/* `count` times `octet`, then `tail`. */
static const char *
filled(char octet, size_t count, const char *tail)
{
    static char room[64][2048];
    static size_t used;
    char *made = room[used++ % 64];
    memset(made, octet, count);
    cr_assert(count + strlen(tail) < sizeof room[0]);
    memmove(made + count, tail, strlen(tail) + 1);
    return made;
}

/* A DNS name of labels of 63 octets and a last one. */
static const char *
dns_of(size_t size)
{
    char tail[512] = "";
    size_t left = size - 63;
    for (; left > 64; left -= 64)
        strcat(tail, filled('.', 1, filled('c', 63, "")));
    strcat(tail, filled('.', 1, filled('d', left - 1, "")));
    const char *made = filled('a', 63, tail);
    cr_assert_eq(strlen(made), size);
    return made;
}

Test(names_limits, R8_alternative_names_have_their_lengths)
{
    char local64[320], longest[320], one_more[320];
    snprintf(local64, sizeof local64, "%s", filled('l', 64, "@x.example"));
    snprintf(longest, sizeof longest, "%s@%s", filled('l', 64, ""), dns_of(189));
    snprintf(one_more, sizeof one_more, "%s@%s", filled('l', 64, ""), dns_of(190));
    const struct {
        const char *name;
        enum san_type type;
        const char *value;
        bool is_good;
    } cases[] = {
        { "RFC 1035: 253 octets of a name", SAN_DNS, dns_of(253), true },
        { "254", SAN_DNS, dns_of(254), false },
        { "63 of a label", SAN_DNS, filled('a', 63, ".example"), true },
        { "64", SAN_DNS, filled('a', 64, ".example"), false },
        { "63 of the last", SAN_DNS, dns_of(127), true },
        { "RFC 5321: 64 before the @", SAN_EMAIL, local64, true },
        { "65", SAN_EMAIL, filled('l', 65, "@x.example"), false },
        { "none", SAN_EMAIL, "@x.example", false },
        { "254 of a mailbox", SAN_EMAIL, longest, true },
        { "255", SAN_EMAIL, one_more, false },
        { "256 of a UPN", SAN_UPN, filled('u', 254, "@x"), true },
        { "257", SAN_UPN, filled('u', 255, "@x"), false },
    };
    cr_assert_eq(strlen(longest), 254);
    cr_assert_eq(strlen(one_more), 255);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char reason[160] = "";
        cr_expect_eq(
            names_san_is_good(cases[i].type, cases[i].value, reason, sizeof reason),
            cases[i].is_good, "%s: '%.20s...'", cases[i].name, cases[i].value);
    }
    for (size_t size = 1023; size <= 1025; size++) {
        char uri[1100] = "urn:", reason[160];
        memset(uri + 4, 'u', size - 4);
        cr_expect_eq(names_san_is_good(SAN_URI, uri, reason, sizeof reason),
                     size <= 1024, "%zu of a URI", size);
    }
    LEAK_CHECK();
}

/* RFC 5280 appendix A.1 */
Test(names_limits, R8_attributes_have_their_upper_bounds)
{
    static const struct {
        const char *label;
        size_t most;
    } cases[] = {
        { "CN", 64 },    { "O", 64 },          { "OU", 64 }, { "serialNumber", 64 },
        { "title", 64 }, { "pseudonym", 128 }, { "L", 128 }, { "ST", 128 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t size = cases[i].most; size <= cases[i].most + 1; size++) {
            char subject[256];
            snprintf(subject, sizeof subject, "%s=%s", cases[i].label,
                     filled('v', size, ""));
            CA_AUTO(X509_NAME_free) X509_NAME *name = NULL;
            cr_expect_eq(names_parse_subject(subject, &name),
                         size == cases[i].most ? CA_OK : CA_MALFORMED, "%s of %zu",
                         cases[i].label, size);
        }
    }
    LEAK_CHECK();
}

/* All of ASCII that is printed is IA5, which a mailbox is written in. */
Test(names_limits, R7_a_mailbox_in_a_subject_has_any_printed_character)
{
    static const struct {
        const char *subject;
        enum ca_status status;
    } cases[] = {
        { "emailAddress=a~b@x.example", CA_OK },
        { "emailAddress=!a@x.example", CA_OK },
        { "DC=a~b", CA_OK },
        { "DC=a\\7fb", CA_MALFORMED },
        { "DC=a\\c3\\a9", CA_MALFORMED },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CA_AUTO(X509_NAME_free) X509_NAME *name = NULL;
        cr_expect_eq(names_parse_subject(cases[i].subject, &name), cases[i].status,
                     "%s: %s", cases[i].subject, status_message());
    }
    LEAK_CHECK();
}

Test(names_limits, R8_a_type_that_is_too_long_to_be_one_is_none)
{
    for (size_t size = 30; size <= 33; size++) {
        char reason[160], subject[64];
        snprintf(subject, sizeof subject, "%s=x", filled('T', size, ""));
        cr_expect_not(names_check_subject(subject, reason, sizeof reason));
        /* 31 octets are looked up, what is longer never. */
        cr_expect_eq(strstr(reason, "unknown attribute") != NULL, size <= 31, "%zu: %s",
                     size, reason);
    }
}

static const char *
subject_of(size_t count, bool is_template)
{
    static char subject[2048];
    subject[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        char one[64];
        snprintf(one, sizeof one, "%sOU=u%zu%s", i > 0 ? "," : "", i,
                 is_template ? "{{user.name}}" : "");
        strcat(subject, one);
    }
    return subject;
}

Test(names_limits, R8_a_subject_has_32_attributes)
{
    for (size_t count = 31; count <= 33; count++) {
        char reason[160] = "";
        CA_AUTO(X509_NAME_free) X509_NAME *name = NULL;
        bool is_good = count <= 32;
        cr_expect_eq(
            names_check_subject(subject_of(count, true), reason, sizeof reason),
            is_good, "a template of %zu: %s", count, reason);
        cr_expect_eq(
            names_check_subject(subject_of(count, false), reason, sizeof reason),
            is_good, "a text of %zu: %s", count, reason);
        cr_expect_eq(names_parse_subject(subject_of(count, false), &name),
                     is_good ? CA_OK : CA_MALFORMED, "%zu", count);
    }
    LEAK_CHECK();
}

/* A request with so many attributes in its subject and so many names beside. */
static X509_REQ *
request_make(EVP_PKEY *key, size_t attributes, size_t names)
{
    CA_AUTO(x509_extensions_free) STACK_OF(X509_EXTENSION) *list = NULL;
    CA_AUTO(text_buffer_clear) struct text_buffer san = { 0 };
    CA_AUTO(X509_NAME_free) X509_NAME *subject = X509_NAME_new();
    for (size_t i = 0; i < names; i++)
        text_print(&san, "%sDNS:h%zu.devices.example", i > 0 ? "," : "", i);
    if (names > 0)
        pki_request_san(&list, san.data);
    X509_REQ *request = pki_request_start(key, NULL, list);
    for (size_t i = 0; i < attributes; i++) {
        char unit[32];
        int size = snprintf(unit, sizeof unit, "u%zu", i);
        cr_assert(X509_NAME_add_entry_by_NID(subject, NID_organizationalUnitName,
                                             V_ASN1_UTF8STRING, (unsigned char *)unit,
                                             size, -1, 0));
    }
    cr_assert(X509_REQ_set_subject_name(request, subject));
    cr_assert(X509_REQ_sign(request, key, EVP_sha256()) > 0);
    return request;
}

Test(names_limits, R8_a_request_has_32_attributes_and_64_names)
{
    static char devices[] = "*.devices.example", own[] = "own.example", none[] = "";
    static struct profile_match match = { SAN_DNS, devices };
    static struct profile_san extra = { SAN_DNS, own };
    static const struct {
        const char *name;
        size_t attributes, asked, profiles;
        enum ca_status status;
        const char *reason;
    } cases[] = {
        { "32 attributes", 32, 1, 0, CA_OK, NULL },
        { "33 attributes", 33, 1, 0, CA_FORBIDDEN, "subject has 33 attributes" },
        { "64 names", 1, 64, 0, CA_OK, NULL },
        { "65 names", 1, 65, 0, CA_MALFORMED, "more than 64 names" },
        { "63 names beside the profile's", 1, 63, 1, CA_OK, NULL },
        { "64 names beside the profile's", 1, 64, 1, CA_FORBIDDEN,
          "more than 64 alternative names" },
    };
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = pki_ec("P-256");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct certificate_profile profile;
        struct names names = { NULL, NULL };
        pki_profile(&profile);
        profile.subject = none;
        profile.san = (struct field_list){ &extra, cases[i].profiles };
        profile.from_request.san = (struct field_list){ &match, 1 };
        profile.from_request.subject = SUBJECT_TAKE;
        CA_AUTO(X509_REQ_free)
        X509_REQ *request = request_make(key, cases[i].attributes, cases[i].asked);
        struct names_sources sources = { .request = request };
        enum ca_status status = names_build(&profile, &sources, &names);
        cr_expect_eq(status, cases[i].status, "%s: %s", cases[i].name,
                     status_message());
        if (cases[i].reason)
            cr_expect_not_null(strstr(status_message(), cases[i].reason), "%s: %s",
                               cases[i].name, status_message());
        else
            cr_expect_eq((size_t)sk_GENERAL_NAME_num(names.san),
                         cases[i].asked + cases[i].profiles, "%s", cases[i].name);
        names_clear(&names);
    }
    LEAK_CHECK();
}
