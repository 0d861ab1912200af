/* Names in requests that no honest client encodes: nothing of them is issued. */
#include "leak.h"
#include "names.h"
#include "pki.h"

static EVP_PKEY *key;
static char devices[] = "*.Devices.example", any_ip[] = "192.0.2.*", alice[] = "alice",
            plain[] = "CN=a", by_user[] = "CN={{user.name}}",
            by_request[] = "CN={{request.cn}}";

static void
set_up(void)
{
    key = pki_ec("P-256");
}

static void
tear_down(void)
{
    EVP_PKEY_free(key);
    key = NULL;
}

TestSuite(names_hostile, .init = set_up, .fini = tear_down);

/* subjectAltName whose bytes no library would write. */
static enum ca_status
build_with_raw_san(const void *value, size_t size)
{
    CA_AUTO(x509_extensions_free) STACK_OF(X509_EXTENSION) *list = NULL;
    pki_extension(&list, NID_subject_alt_name, false, value, size);
    CA_AUTO(X509_REQ_free) X509_REQ *request = pki_request_start(key, "a", list);
    cr_assert(X509_REQ_sign(request, key, EVP_sha256()) > 0);
    struct certificate_profile profile;
    pki_profile(&profile);
    struct profile_match matches[] = { { SAN_DNS, devices }, { SAN_IP, any_ip } };
    profile.subject = plain;
    profile.from_request.san = (struct field_list){ matches, 2 };
    struct names_sources sources = { .request = request };
    struct names names = { NULL, NULL };
    enum ca_status status = names_build(&profile, &sources, &names);
    names_clear(&names);
    return status;
}

Test(names_hostile, R6_hostile_encodings_are_refused)
{
#define RAW(octets) octets, sizeof octets - 1
    static const struct {
        const char *name, *octets;
        size_t size;
        enum ca_status expected;
    } cases[] = {
        { "good",
          RAW("\x30\x15\x82\x13"
              "d7x.devices.example"),
          CA_OK },
        { "NUL inside",
          RAW("\x30\x15\x82\x13"
              "d7\0.devices.example"),
          CA_FORBIDDEN },
        { "NUL and a tail",
          RAW("\x30\x17\x82\x15"
              "d7.devices.example\0xy"),
          CA_FORBIDDEN },
        { "NUL at the end",
          RAW("\x30\x15\x82\x13"
              "d7.devices.example\0"),
          CA_FORBIDDEN },
        { "address of 5", RAW("\x30\x07\x87\x05\xc0\x00\x02\x01\x01"), CA_FORBIDDEN },
        { "address of 0", RAW("\x30\x02\x87\x00"), CA_FORBIDDEN },
        { "address and mask", RAW("\x30\x0a\x87\x08\xc0\x00\x02\x01\xff\xff\xff\xff"),
          CA_FORBIDDEN },
        { "empty name", RAW("\x30\x02\x82\x00"), CA_FORBIDDEN },
        { "directoryName", RAW("\x30\x04\xa4\x02\x30\x00"), CA_FORBIDDEN },
        { "empty list", RAW("\x30\x00"), CA_OK },
        { "no list", RAW("\x04\x00"), CA_MALFORMED },
        { "after it", RAW("\x30\x00\x05\x00"), CA_MALFORMED },
        { "nothing", RAW(""), CA_MALFORMED },
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        cr_expect_eq(build_with_raw_san(cases[i].octets, cases[i].size),
                     cases[i].expected, "%s: %s", cases[i].name, status_message());
    CA_AUTO(text_buffer_clear) struct text_buffer many = { 0 };
    CA_AUTO(text_buffer_clear) struct text_buffer list = { 0 };
    for (int i = 0; i <= NAMES_SAN_MAX; i++) {
        char name[32];
        snprintf(name, sizeof name, "d%d.devices.example", i);
        der_append(&many, DER_CONTEXT(2), name, strlen(name));
    }
    der_wrap(&list, DER_SEQUENCE, &many);
    cr_expect_eq(build_with_raw_san(list.data, list.size), CA_MALFORMED);
    tear_down();
    LEAK_CHECK();
}

/* The request's CN as these octets in this string form. */
static enum ca_status
build_with_raw_cn(int form, const char *octets, size_t size, int mode)
{
    CA_AUTO(X509_NAME_free) X509_NAME *subject = X509_NAME_new();
    cr_assert(X509_NAME_add_entry_by_NID(subject, NID_commonName, form,
                                         (const unsigned char *)octets, (int)size, -1,
                                         0));
    CA_AUTO(X509_REQ_free) X509_REQ *request = pki_request_start(key, NULL, NULL);
    cr_assert(X509_REQ_set_subject_name(request, subject));
    struct certificate_profile profile;
    pki_profile(&profile);
    profile.subject = mode == SUBJECT_TAKE ? by_request : by_user;
    profile.from_request.subject = mode;
    struct user user = { .name = alice };
    struct names_sources sources = { .request = request, .user = &user };
    struct names names = { NULL, NULL };
    enum ca_status status = names_build(&profile, &sources, &names);
    names_clear(&names);
    return status;
}

Test(names_hostile, R7_control_characters_and_other_tricks_in_a_subject)
{
    static const struct {
        const char *name;
        int form;
        const char *octets;
        size_t size;
        enum ca_status matched, taken;
    } cases[] = {
        { "good", V_ASN1_UTF8STRING, RAW("alice"), CA_OK, CA_OK },
        { "T61", V_ASN1_T61STRING, RAW("alice"), CA_OK, CA_OK },
        { "BMP", V_ASN1_BMPSTRING, RAW("\0a\0l\0i\0c\0e"), CA_OK, CA_OK },
        { "NUL and a tail", V_ASN1_UTF8STRING, RAW("alice\0.evil"), CA_FORBIDDEN,
          CA_FORBIDDEN },
        { "NUL at the end", V_ASN1_UTF8STRING, RAW("alice\0"), CA_FORBIDDEN,
          CA_FORBIDDEN },
        { "line break", V_ASN1_UTF8STRING, RAW("alice\nCN=x"), CA_FORBIDDEN,
          CA_FORBIDDEN },
        { "tab", V_ASN1_UTF8STRING, RAW("ali\tce"), CA_FORBIDDEN, CA_FORBIDDEN },
        { "right-to-left", V_ASN1_UTF8STRING,
          RAW("\xe2\x80\xae"
              "ecila"),
          CA_FORBIDDEN, CA_FORBIDDEN },
        { "SQL", V_ASN1_UTF8STRING, RAW("'; DROP TABLE user; --"), CA_FORBIDDEN,
          CA_OK },
        { "format", V_ASN1_UTF8STRING, RAW("%s%n%n"), CA_FORBIDDEN, CA_OK },
        { "empty", V_ASN1_UTF8STRING, RAW(""), CA_FORBIDDEN, CA_FORBIDDEN },
        { "65 characters", V_ASN1_UTF8STRING,
          RAW("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
          CA_FORBIDDEN, CA_FORBIDDEN },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        cr_expect_eq(build_with_raw_cn(cases[i].form, cases[i].octets, cases[i].size,
                                       SUBJECT_MATCH),
                     cases[i].matched, "%s matched: %s", cases[i].name,
                     status_message());
        cr_expect_eq(build_with_raw_cn(cases[i].form, cases[i].octets, cases[i].size,
                                       SUBJECT_TAKE),
                     cases[i].taken, "%s taken: %s", cases[i].name, status_message());
    }
    char long_name[3000];
    memset(long_name, 'a', sizeof long_name);
    cr_expect_eq(
        build_with_raw_cn(V_ASN1_UTF8STRING, long_name, sizeof long_name, SUBJECT_TAKE),
        CA_FORBIDDEN);
    tear_down();
    LEAK_CHECK();
}
