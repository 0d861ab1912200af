/* One enrolment's names as tests see them: a registry, a profile, a request, and what
 * is issued. Included by test programs; the registry is static. */
#pragma once

#include "csr.h"
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
