/* Profiles: defaults, what is refused, versions. */
#include "assignment.h"
#include "challenge.h"
#include "clock.h"
#include "leak.h"
#include "omadm.h"
#include "profile.h"
#include "scratch_records.h"

TestSuite(profile, .init = scratch_store_open, .fini = scratch_store_close);

static struct profile
decoded(enum profile_kind kind, const char *body)
{
    struct profile profile = { .kind = (int)kind };
    record_from(profile_fields(kind), body, &profile);
    return profile;
}

static const char *
text_at(const struct field_list *list, size_t index)
{
    return ((char *const *)list->items)[index];
}

Test(profile, a_small_body_is_enough)
{
    struct profile profile = decoded(
        PROFILE_CERTIFICATE, "{\"name\": \"a\", \"settings\": {\"issuer\": \"i\"}}");
    const struct certificate_profile *settings = &profile.settings.certificate;
    CR_OK(profile_check(&profile, NULL));
    cr_assert_eq(profile.kind, PROFILE_CERTIFICATE);
    cr_assert_eq(settings->validity, 365 * 86400);
    cr_assert_eq(settings->backdate, 300);
    cr_assert_eq(settings->renewal_window, 30 * 86400);
    cr_assert_eq(settings->renewal_grace, 0);
    cr_assert_eq(settings->keys.count, 2);
    const struct profile_key *keys = settings->keys.items;
    cr_assert_eq(keys[0].algorithm, KEY_RSA);
    cr_assert_eq(keys[0].min_bits, 2048);
    cr_assert_eq(keys[0].max_bits, 4096);
    cr_assert_eq(keys[1].algorithm, KEY_EC);
    cr_assert_eq(keys[1].curves.count, 2);
    cr_assert_str_eq(text_at(&keys[1].curves, 1), "P-384");
    cr_assert_str_eq(settings->subject, "CN={{user.name}},O={{organisation.name}}");
    cr_assert_eq(settings->key_usage, 5);
    cr_assert_str_eq(text_at(&settings->extended_key_usage, 0), "client_auth");
    cr_assert_eq(settings->protocols, 1u << PROTOCOL_SCEP);
    cr_assert(settings->crl && settings->aia && !settings->ocsp);
    cr_assert(settings->one_active_per_device && settings->revoke_replaced);
    profile_clear(&profile);

    struct profile scep = decoded(
        PROFILE_SCEP, "{\"name\": \"a\", \"settings\": {\"certificate\": \"c\"}}");
    CR_OK(profile_check(&scep, NULL));
    cr_assert_eq(scep.kind, PROFILE_SCEP);
    cr_assert(scep.settings.scep.sha1 && scep.settings.scep.des3);
    cr_assert_eq(scep.settings.scep.challenge, SCEP_CHALLENGE_ONE_TIME);
    profile_clear(&scep);
    LEAK_CHECK();
}

/* The body of the API's documentation. */
static const char documented[] =
    "{ \"name\": \"default\", \"kind\": \"certificate\","
    "  \"settings\": {"
    "    \"issuer\": \"issuing\", \"validity\": \"P1Y\", \"backdate\": \"PT5M\","
    "    \"renewal_window\": \"P30D\","
    "    \"keys\": [ {\"algorithm\": \"rsa\", \"min_bits\": 2048, \"max_bits\": 4096},"
    "      {\"algorithm\": \"ec\", \"curves\": [\"P-256\", \"P-384\"]},"
    "      {\"algorithm\": \"ed25519\"} ],"
    "    \"subject\":"
    "      \"CN={{user.name}},OU={{user.work_space}},O={{organisation.name}}\","
    "    \"san\": [ {\"type\": \"email\", \"value\": \"{{user.email}}\"},"
    "      {\"type\": \"uri\", \"value\": \"urn:uuid:{{device.id}}\"} ],"
    "    \"from_request\": { \"san\": [ {\"type\": \"dns\","
    "      \"match\": \"*.devices.example.com\"} ], \"extensions\": [] },"
    "    \"key_usage\": [\"digital_signature\", \"key_encipherment\"],"
    "    \"extended_key_usage\": [\"client_auth\"],"
    "    \"policies\": [], \"extensions\": [], \"crl\": true, \"ocsp\": true,"
    "    \"protocols\": [\"scep\", \"wstep\", \"activation\"], \"approvals\": 0,"
    "    \"one_active_per_device\": true, \"revoke_replaced\": true } }";

Test(profile, the_documented_body_goes_through_the_store)
{
    clock_set(1000);
    struct store_tx *tx = scratch_begin();
    struct profile profile = decoded(PROFILE_CERTIFICATE, documented), loaded = { 0 };
    CR_OK(profile_check(&profile, NULL));
    CR_OK(profile_insert(tx, &profile));
    cr_assert_eq(profile.stamp.version, 1);
    CR_STATUS(profile_insert(tx, &profile), CA_CONFLICT);
    CR_OK(profile_load(tx, PROFILE_CERTIFICATE, "default", &loaded));
    CA_AUTO(json_decref)
    json_t *before = field_encode(profile_fields(PROFILE_CERTIFICATE), &profile);
    CA_AUTO(json_decref)
    json_t *after = field_encode(profile_fields(PROFILE_CERTIFICATE), &loaded);
    cr_assert_not_null(before);
    cr_assert(json_equal(before, after));
    const struct profile_match *match =
        loaded.settings.certificate.from_request.san.items;
    cr_assert_str_eq(match->match, "*.devices.example.com");
    cr_assert_eq(loaded.settings.certificate.from_request.subject, SUBJECT_MATCH);
    profile_clear(&profile);
    profile_clear(&loaded);
    CR_STATUS(profile_load(tx, PROFILE_SCEP, "default", &loaded), CA_NOT_FOUND);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(profile, kind_of_the_body_must_be_that_of_the_path)
{
    struct profile profile = { 0 };
    struct field_errors errors = { 0 };
    CA_AUTO(json_decref)
    json_t *body = json_loads(
        "{\"name\": \"a\", \"kind\": \"scep\", \"settings\": {\"issuer\": \"i\"}}", 0,
        NULL);
    cr_assert_eq(
        field_decode(profile_fields(PROFILE_CERTIFICATE), body, &profile, &errors),
        CA_MALFORMED);
    cr_assert_str_eq(errors.items[0].pointer, "/kind");
    enum profile_kind kind = PROFILE_KIND_COUNT;
    cr_assert(profile_kind_parse("scep", &kind));
    cr_assert_eq(kind, PROFILE_SCEP);
    cr_assert(profile_kind_parse("policy", &kind));
    cr_assert_eq(kind, PROFILE_POLICY);
    cr_assert(profile_kind_parse("activation", &kind));
    cr_assert_eq(kind, PROFILE_ACTIVATION);
    cr_assert_not(profile_kind_parse("license", &kind));
    LEAK_CHECK();
}

struct check_case {
    const char *name, *settings, *pointer; /* pointer NULL: sound */
};

static void
expect_check(const struct check_case *one)
{
    char body[1024];
    struct field_errors errors = { 0 };
    snprintf(body, sizeof body,
             "{\"name\": \"a\", \"settings\": {\"issuer\": \"i\", %s}}", one->settings);
    struct profile profile = decoded(PROFILE_CERTIFICATE, body);
    enum ca_status status = profile_check(&profile, &errors);
    if (!one->pointer) {
        cr_expect_eq(status, CA_OK, "%s: %s", one->name, status_message());
    } else {
        cr_expect_eq(status, CA_MALFORMED, "%s", one->name);
        cr_expect_eq(errors.count, 1, "%s: %zu errors", one->name, errors.count);
        cr_expect_str_eq(errors.items[0].pointer, one->pointer, "%s: %s", one->name,
                         errors.items[0].pointer);
    }
    profile_clear(&profile);
}

#define TAKE "\"from_request\": {\"subject\": \"take\"}"

Test(profile, A8_requester_supplied_subject_needs_approval_to_log_in)
{
    static const struct check_case cases[] = {
        { "take, client_auth", TAKE, "/settings/approvals" },
        { "take, client_auth by OID",
          TAKE ", \"extended_key_usage\": [\"1.3.6.1.5.5.7.3.2\"]",
          "/settings/approvals" },
        { "take, smart card log-in",
          TAKE ", \"extended_key_usage\": [\"smartcard_logon\"]",
          "/settings/approvals" },
        { "take, PKINIT", TAKE ", \"extended_key_usage\": [\"1.3.6.1.5.2.3.4\"]",
          "/settings/approvals" },
        { "take with an approval", TAKE ", \"approvals\": 1", NULL },
        { "take for a server", TAKE ", \"extended_key_usage\": [\"server_auth\"]",
          NULL },
        { "request variable without take", "\"subject\": \"CN={{request.cn}}\"",
          "/settings/subject" },
        { "request variable in a san",
          "\"san\": [{\"type\": \"dns\", \"value\": \"{{request.cn|a.b}}\"}]",
          "/settings/san/0" },
        { "request variable with take",
          TAKE ", \"approvals\": 2, \"subject\": \"CN={{request.cn}}\"", NULL },
        { "any purpose", "\"extended_key_usage\": [\"any\"]",
          "/settings/extended_key_usage/0" },
        { "any purpose by OID",
          "\"extended_key_usage\": [\"client_auth\", \"2.5.29.37.0\"]",
          "/settings/extended_key_usage/1" },
        { "no purpose is any purpose", "\"extended_key_usage\": []",
          "/settings/extended_key_usage" },
        { "enrolment agent", "\"extended_key_usage\": [\"1.3.6.1.4.1.311.20.2.1\"]",
          "/settings/extended_key_usage/0" },
        { "OCSP responder", "\"extended_key_usage\": [\"1.3.6.1.5.5.7.3.9\"]",
          "/settings/extended_key_usage/0" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_check(&cases[i]);
    LEAK_CHECK();
}

Test(profile, R5_no_profile_makes_a_ca_or_takes_such_extensions)
{
    static const struct check_case cases[] = {
        { "keyCertSign", "\"key_usage\": [\"digital_signature\", \"key_cert_sign\"]",
          "/settings/key_usage" },
        { "cRLSign", "\"key_usage\": [\"crl_sign\"]", "/settings/key_usage" },
        { "basicConstraints from the request",
          "\"from_request\": {\"extensions\": [\"2.5.29.19\"]}",
          "/settings/from_request/extensions/0" },
        { "application policies from the request",
          "\"from_request\": {\"extensions\": [\"1.3.6.1.4.1.311.21.10\"]}",
          "/settings/from_request/extensions/0" },
        { "SID from the request",
          "\"from_request\": {\"extensions\": [\"1.3.6.1.4.1.311.25.2\"]}",
          "/settings/from_request/extensions/0" },
        { "SAN from the request", "\"from_request\": {\"extensions\": [\"2.5.29.17\"]}",
          "/settings/from_request/extensions/0" },
        { "another from the request",
          "\"from_request\": {\"extensions\": [\"1.2.3.4\"]}", NULL },
        { "not an OID", "\"from_request\": {\"extensions\": [\"1.2.3.04\"]}",
          "/settings/from_request/extensions/0" },
        { "repeated", "\"from_request\": {\"extensions\": [\"1.2.3\", \"1.2.3\"]}",
          "/settings/from_request/extensions/1" },
        { "fixed basicConstraints",
          "\"extensions\": [{\"oid\": \"2.5.29.19\", \"value\": \"MAMBAf8=\"}]",
          "/settings/extensions/0" },
        { "UPN from the request",
          "\"from_request\": {\"san\": [{\"type\": \"upn\", \"match\": \"a@b\"}]}",
          "/settings/from_request/san/0" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_check(&cases[i]);
    LEAK_CHECK();
}

#define MATCH(text)                                                                    \
    "\"from_request\": {\"san\": [{\"type\": \"dns\", \"match\": \"" text "\"}]}"
#define MATCH_POINTER "/settings/from_request/san/0"

Test(profile, checks_what_the_table_cannot)
{
    static const struct check_case cases[] = {
        { "no key", "\"keys\": []", "/settings/keys" },
        { "unknown curve",
          "\"keys\": [{\"algorithm\": \"ec\", \"curves\": [\"secp256k1\"]}]",
          "/settings/keys/0" },
        { "no curve", "\"keys\": [{\"algorithm\": \"ec\", \"curves\": []}]",
          "/settings/keys/0" },
        { "curve twice",
          "\"keys\": [{\"algorithm\": \"ec\", \"curves\": [\"P-256\", \"P-256\"]}]",
          "/settings/keys/0" },
        { "bits upside down",
          "\"keys\": [{\"algorithm\": \"rsa\", \"min_bits\": 3072, \"max_bits\": "
          "2048}]",
          "/settings/keys/0" },
        { "algorithm twice",
          "\"keys\": [{\"algorithm\": \"rsa\"}, {\"algorithm\": \"rsa\"}]",
          "/settings/keys/1" },
        { "Ed25519", "\"keys\": [{\"algorithm\": \"ed25519\"}]", NULL },
        { "open braces", "\"subject\": \"CN={{user.name\"", "/settings/subject" },
        { "empty subject", "\"subject\": \"\"", "/settings/subject" },
        { "empty subject beside a san",
          "\"subject\": \"\", \"san\": [{\"type\": \"dns\", \"value\": \"a.b\"}]",
          NULL },
        { "braces in a san",
          "\"san\": [{\"type\": \"dns\", \"value\": \"a.b\"}, {\"type\": \"dns\", "
          "\"value\": \"}}\"}]",
          "/settings/san/1" },
        { "no usage", "\"key_usage\": []", "/settings/key_usage" },
        { "only without agreement", "\"key_usage\": [\"encipher_only\"]",
          "/settings/key_usage" },
        { "unknown purpose", "\"extended_key_usage\": [\"serverAuth\"]",
          "/settings/extended_key_usage/0" },
        { "purpose twice",
          "\"extended_key_usage\": [\"client_auth\", \"1.3.6.1.5.5.7.3.2\"]",
          "/settings/extended_key_usage/1" },
        { "policy", "\"policies\": [\"1.3.6.1.4.1.1.2\"]", NULL },
        { "policy of text", "\"policies\": [\"high\"]", "/settings/policies/0" },
        { "policy twice", "\"policies\": [\"1.2.3\", \"1.2.3\"]",
          "/settings/policies/1" },
        { "extension", "\"extensions\": [{\"oid\": \"1.2.3\", \"value\": \"BQA=\"}]",
          NULL },
        { "extension of no base64",
          "\"extensions\": [{\"oid\": \"1.2.3\", \"value\": \"BQA*\"}]",
          "/settings/extensions/0" },
        { "extension of no DER",
          "\"extensions\": [{\"oid\": \"1.2.3\", \"value\": \"BQAA\"}]",
          "/settings/extensions/0" },
        { "extension twice",
          "\"extensions\": [{\"oid\": \"1.2.3\", \"value\": \"BQA=\"}, {\"oid\": "
          "\"1.2.3\", \"value\": \"BQA=\"}]",
          "/settings/extensions/1" },
        { "no protocol", "\"protocols\": []", "/settings/protocols" },
        { "exact host", MATCH("router"), NULL },
        { "label", MATCH("*.devices.example.com"), NULL },
        { "part of a label", MATCH("r-*.example.com"), NULL },
        { "everything", MATCH("*"), MATCH_POINTER },
        { "top-level domain", MATCH("*.com"), MATCH_POINTER },
        { "star in the domain", MATCH("a.*.com"), MATCH_POINTER },
        { "two stars in a label", MATCH("*a*.example.com"), MATCH_POINTER },
        { "upper case", MATCH("*.Example.com"), MATCH_POINTER },
        { "empty label", MATCH("a..example.com"), MATCH_POINTER },
        { "trailing dot", MATCH("a.example.com."), MATCH_POINTER },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_check(&cases[i]);
    LEAK_CHECK();
}

Test(profile, table_refuses_weak_and_mistyped_settings)
{
    static const struct {
        const char *settings, *pointer;
    } cases[] = {
        { "{}", "/settings/issuer" },
        { "{\"issuer\": \"i\", \"keys\": [{\"algorithm\": \"rsa\", \"min_bits\": "
          "1024}]}",
          "/settings/keys/0/min_bits" },
        { "{\"issuer\": \"i\", \"keys\": [{\"algorithm\": \"dsa\"}]}",
          "/settings/keys/0/algorithm" },
        { "{\"issuer\": \"i\", \"validity\": \"PT0S\"}", "/settings/validity" },
        { "{\"issuer\": \"i\", \"backdate\": \"P8D\"}", "/settings/backdate" },
        { "{\"issuer\": \"i\", \"approvals\": 6}", "/settings/approvals" },
        { "{\"issuer\": \"i\", \"protocols\": [\"ftp\"]}", "/settings/protocols/0" },
        { "{\"issuer\": \"i\", \"colour\": 1}", "/settings/colour" },
        { "{\"issuer\": \"i\", \"from_request\": {\"colour\": 1}}",
          "/settings/from_request/colour" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct profile profile = { 0 };
        struct field_errors errors = { 0 };
        CA_AUTO(json_decref) json_t *settings = json_loads(cases[i].settings, 0, NULL);
        CA_AUTO(json_decref)
        json_t *body = json_pack("{s:s, s:O}", "name", "a", "settings", settings);
        cr_assert_not_null(body, "%s", cases[i].settings);
        cr_expect_eq(
            field_decode(profile_fields(PROFILE_CERTIFICATE), body, &profile, &errors),
            CA_MALFORMED, "%s", cases[i].settings);
        cr_expect_str_eq(errors.items[0].pointer, cases[i].pointer, "%s: %s",
                         cases[i].settings, errors.items[0].pointer);
    }
    LEAK_CHECK();
}

static bool
knows_user(const char *name)
{
    return strncmp(name, "user.", 5) == 0;
}

static bool
subject_has_cn(const char *subject, char *ret_reason, size_t size)
{
    snprintf(ret_reason, size, "must have a CN");
    return strstr(subject, "CN=") != NULL;
}

static bool
san_is_dns(enum san_type type, const char *value, char *ret_reason, size_t size)
{
    snprintf(ret_reason, size, "must be dns");
    return type == SAN_DNS && *value;
}

Test(profile, name_checks_are_asked_once_handed_in)
{
    static const struct profile_name_checks checks = { knows_user, subject_has_cn,
                                                       san_is_dns };
    static const struct check_case cases[] = {
        { "good", "\"subject\": \"CN={{user.name}}\"", NULL },
        { "unknown variable", "\"subject\": \"CN={{device.colour}}\"",
          "/settings/subject" },
        { "no CN", "\"subject\": \"O=a\"", "/settings/subject" },
        { "wrong type",
          "\"subject\": \"CN=a\", \"san\": [{\"type\": \"uri\", \"value\": \"a:b\"}]",
          "/settings/san/0" },
    };
    profile_set_name_checks(&checks);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_check(&cases[i]);
    profile_set_name_checks(NULL);
    static const struct check_case unasked = { "O", "\"subject\": \"O=a\"", NULL };
    expect_check(&unasked);
    LEAK_CHECK();
}

Test(profile, purposes_are_words_or_oids)
{
    cr_assert_str_eq(profile_purpose_oid("client_auth"), "1.3.6.1.5.5.7.3.2");
    cr_assert_str_eq(profile_purpose_oid("1.2.3.4"), "1.2.3.4");
    cr_assert_null(profile_purpose_oid("clientAuth"));
    cr_assert_null(profile_purpose_oid(""));
    cr_assert(profile_oid_is_valid("2.999.1"));
    static const char *const bad[] = {
        "",       "1",    "1.",  ".1.2", "3.1",  "1.40.",
        "1.2.03", "1..2", "a.b", "1.2 ", "0.40", "1.2.-3"
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_expect_not(profile_oid_is_valid(bad[i]), "%s", bad[i]);
}

static enum ca_status
gather_version(const void *record, void *arg)
{
    const struct profile *profile = record;
    char text[64];
    snprintf(text, sizeof text, "%lld:%s", (long long)profile->stamp.version,
             profile->description ? profile->description : "");
    gather(arg, text);
    return CA_OK;
}

Test(profile, A8_every_version_is_kept_even_beyond_a_deletion)
{
    struct store_tx *tx = scratch_begin();
    struct record_page page = { NULL, 100 };
    struct gathered versions = { 0 }, older = { 0 }, after = { 0 };
    struct profile profile = decoded(PROFILE_CERTIFICATE, documented);
    CR_OK(profile_insert(tx, &profile));
    profile.description = strdup("second");
    CR_OK(profile_update(tx, &profile));
    cr_assert_eq(profile.stamp.version, 2);
    profile.stamp.version = 1;
    CR_STATUS(profile_update(tx, &profile), CA_CONFLICT);
    CR_OK(profile_versions(tx, PROFILE_CERTIFICATE, "default", &page, gather_version,
                           &versions));
    cr_assert_str_eq(versions.text, "2:second 1: ");
    page.after = "2";
    CR_OK(profile_versions(tx, PROFILE_CERTIFICATE, "default", &page, gather_version,
                           &older));
    cr_assert_str_eq(older.text, "1: ");
    page.after = "x";
    CR_STATUS(profile_versions(tx, PROFILE_CERTIFICATE, "default", &page,
                               gather_version, &older),
              CA_MALFORMED);
    CR_STATUS(profile_delete(tx, PROFILE_CERTIFICATE, "default", 1), CA_CONFLICT);
    CR_OK(profile_delete(tx, PROFILE_CERTIFICATE, "default", 2));
    CR_STATUS(profile_delete(tx, PROFILE_CERTIFICATE, "default", 2), CA_NOT_FOUND);
    CR_OK(profile_insert(tx, &profile));
    cr_assert_eq(profile.stamp.version, 3);
    page.after = NULL;
    CR_OK(profile_versions(tx, PROFILE_CERTIFICATE, "default", &page, gather_version,
                           &after));
    cr_assert_str_eq(after.text, "3:second 2:second 1: ");
    profile_clear(&profile);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(profile, delete_refuses_what_is_in_use)
{
    clock_set(1000);
    struct store_tx *tx = scratch_begin();
    struct challenge challenge = { 0 };
    char text[CHALLENGE_TEXT_SIZE];
    struct assignment assignment = { false, (char[]){ "alice" }, (char[]){ "scep" },
                                     (char[]){ "default" } };
    user_make(tx, "alice");
    profiles_make(tx, "default");
    CR_STATUS(profile_delete(tx, PROFILE_CERTIFICATE, "default", 1), CA_CONFLICT);
    CR_OK(assignment_put(tx, &assignment));
    CR_STATUS(profile_delete(tx, PROFILE_SCEP, "default", 1), CA_CONFLICT);
    CR_OK(assignment_remove(tx, &assignment));
    record_from(challenge_fields, "{\"user\": \"alice\", \"profile\": \"default\"}",
                &challenge);
    CR_OK(challenge_insert(tx, &challenge, text));
    CR_STATUS(profile_delete(tx, PROFILE_SCEP, "default", 1), CA_CONFLICT);
    CR_OK(challenge_withdraw(tx, challenge.id));
    CR_OK(profile_delete(tx, PROFILE_SCEP, "default", 1));
    CR_OK(profile_delete(tx, PROFILE_CERTIFICATE, "default", 1));
    challenge_clear(&challenge);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(profile, scep_profile_names_an_existing_certificate_profile)
{
    struct store_tx *tx = scratch_begin();
    struct gathered gathered = { 0 };
    struct record_page page = { NULL, 100 };
    struct profile scep = decoded(
        PROFILE_SCEP, "{\"name\": \"s\", \"settings\": {\"certificate\": \"c\"}}");
    CR_STATUS(profile_insert(tx, &scep), CA_CONFLICT);
    profiles_make(tx, "c");
    CR_OK(profile_insert(tx, &scep));
    free(scep.settings.scep.certificate);
    scep.settings.scep.certificate = strdup("d");
    CR_STATUS(profile_update(tx, &scep), CA_CONFLICT);
    profile_clear(&scep);
    CR_OK(profile_list(tx, PROFILE_SCEP, &page, gather_key, &gathered));
    cr_assert_str_eq(gathered.text, "c s ");
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(profile, an_older_row_takes_the_defaults_of_newer_members)
{
    struct profile profile = { 0 };
    cr_assert_eq(
        scratch_run("INSERT INTO profile VALUES ('certificate', 'old', NULL, "
                    "'{\"issuer\": \"i\", \"validity\": \"P2D\"}', NULL, 1, 1, 1)"),
        CA_OK);
    cr_assert_eq(scratch_run("INSERT INTO profile VALUES ('certificate', 'new', NULL, "
                             "'{\"issuer\": \"i\", \"colour\": 1}', NULL, 1, 1, 1)"),
                 CA_OK);
    struct store_tx *tx = scratch_begin();
    CR_OK(profile_load(tx, PROFILE_CERTIFICATE, "old", &profile));
    cr_assert_eq(profile.settings.certificate.validity, 2 * 86400);
    cr_assert_eq(profile.settings.certificate.keys.count, 2);
    profile_clear(&profile);
    /* What a newer version wrote is not guessed at. */
    CR_STATUS(profile_load(tx, PROFILE_CERTIFICATE, "new", &profile), CA_INTERNAL);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(profile, a_policy_is_a_list_of_nodes)
{
    static const struct {
        const char *items, *pointer;
    } cases[] = {
        { "[]", NULL },
        { "[{\"uri\": \"./a\", \"data\": \"1\", \"format\": \"int\"}, {\"uri\": "
          "\"./b\", \"verb\": \"delete\"}, {\"uri\": \"./c\", \"verb\": \"add\", "
          "\"format\": \"node\"}]",
          NULL },
        { "[{\"uri\": \"/a\", \"data\": \"1\"}]", "/settings/items/0/uri" },
        { "[{\"uri\": \"./a\"}]", "/settings/items/0/data" },
        { "[{\"uri\": \"./a\", \"verb\": \"delete\", \"data\": \"1\"}]",
          "/settings/items/0/data" },
        { "[{\"uri\": \"./a\", \"format\": \"null\", \"data\": \"1\"}]",
          "/settings/items/0/data" },
        { "[{\"uri\": \"./a\", \"data\": \"1\"}, {\"uri\": \"./a\", \"data\": "
          "\"2\"}]",
          "/settings/items/1/uri" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char body[512];
        snprintf(body, sizeof body, "{\"name\": \"p\", \"settings\": {\"items\": %s}}",
                 cases[i].items);
        struct profile profile = decoded(PROFILE_POLICY, body);
        struct field_errors errors = { 0 };
        CR_STATUS(profile_check(&profile, &errors),
                  cases[i].pointer ? CA_MALFORMED : CA_OK);
        if (cases[i].pointer)
            cr_assert_str_eq(errors.items[0].pointer, cases[i].pointer, "%s", body);
        profile_clear(&profile);
    }
    LEAK_CHECK();
}

Test(profile, a_policy_comes_back_as_it_was_stored)
{
    struct store_tx *tx = scratch_begin();
    struct profile loaded = { 0 };
    struct profile profile = decoded(
        PROFILE_POLICY, "{\"name\": \"p\", \"settings\": {\"items\": [{\"uri\": "
                        "\"./a\", \"data\": \"a\\nb\", \"format\": \"xml\", "
                        "\"type\": \"text/plain\", \"verb\": \"add\"}]}}");
    CR_OK(profile_insert(tx, &profile));
    CR_OK(profile_load(tx, PROFILE_POLICY, "p", &loaded));
    cr_assert_eq(loaded.kind, PROFILE_POLICY);
    cr_assert_eq(loaded.settings.policy.items.count, 1);
    const struct policy_item *item = loaded.settings.policy.items.items;
    cr_assert_str_eq(item->data, "a\nb");
    cr_assert_eq(item->verb, POLICY_ADD);
    cr_assert_eq(item->format, OMADM_XML);
    profile_clear(&loaded);
    profile_clear(&profile);
    CR_OK(profile_delete(tx, PROFILE_POLICY, "p", 1));
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(profile, an_activation_profile_names_a_certificate_profile_that_exists)
{
    struct store_tx *tx = scratch_begin();
    struct profile loaded = { 0 };
    struct profile profile = decoded(
        PROFILE_ACTIVATION,
        "{\"name\": \"a\", \"settings\": {\"certificate\": \"none\", \"devices\": 3}}");
    CR_STATUS(profile_insert(tx, &profile), CA_CONFLICT);
    struct profile certificate = decoded(
        PROFILE_CERTIFICATE, "{\"name\": \"none\", \"settings\": {\"issuer\": \"i\"}}");
    CR_OK(profile_insert(tx, &certificate));
    CR_OK(profile_insert(tx, &profile));
    CR_OK(profile_load(tx, PROFILE_ACTIVATION, "a", &loaded));
    const struct activation_profile *settings = &loaded.settings.activation;
    cr_assert_str_eq(settings->certificate, "none");
    cr_assert_eq(settings->devices, 3);
    cr_assert_eq(settings->expires_in, 172800);
    cr_assert_eq(settings->symbols, 12);
    cr_assert_eq(settings->protocols,
                 ACTIVATION_PROTOCOL_PASSWORD | ACTIVATION_PROTOCOL_WINDOWS);
    cr_assert(settings->self_service);
    CR_STATUS(profile_delete(tx, PROFILE_CERTIFICATE, "none", 1), CA_CONFLICT);
    profile_clear(&loaded);
    profile_clear(&profile);
    profile_clear(&certificate);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}
