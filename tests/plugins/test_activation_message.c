/* What the activation plugin takes and refuses before anything is computed, and the
 * resources of an activated device. */
#include "activation.h"
#include "auto.h"
#include "base64.h"
#include "fake_activation.h"
#include "plugin_rig.h"
#include <criterion/criterion.h>
#include <string.h>

#define NONCE "AAAAAAAAAAAAAAAAAAAAAA"
#define TEXT_32 "0123456789012345678901234567890x"
#define TEXT_64 TEXT_32 TEXT_32

static void
begin(void)
{
    fake_core_open(&core);
    fake_activation_open();
    plugin_configure(NULL);
}

static void
end(void)
{
    fake_activation_close();
    plugin_end();
}

TestSuite(activation_message, .init = begin, .fini = end);

static enum ca_status
ask(const char *method, const char *path, const char *query, const char *body,
    X509 *certificate)
{
    fake_core_request(&core, method, "", query, body, strlen(body));
    core.request.content_type = "application/json; charset=utf-8";
    core.request.peer_certificate = certificate;
    return route(method, path)->handle(state, &core.request);
}

static bool
answered(int http_status, const char *body)
{
    bool holds = core.http_status == http_status && core.size == strlen(body) &&
                 memcmp(core.body, body, core.size) == 0;
    cr_expect(holds, "%d %.*s, not %d %s", core.http_status, (int)core.size, core.body,
              http_status, body);
    return holds;
}

static bool
failed(int http_status, const char *code)
{
    char body[128];
    snprintf(body, sizeof body, "{\"v\":1,\"error\":\"%s\"}", code);
    cr_expect_str_eq(core.cache_control, "no-store");
    return answered(http_status, body);
}

#define HELLO(v, suites, user, ref, cn, client)                                        \
    "{\"v\":" v ",\"suites\":" suites ",\"user\":" user ",\"ref\":" ref ",\"cn\":" cn  \
    ",\"client\":" client "}"
#define SUITE "[\"ecspeke-p521\"]"
#define GOOD "\"" NONCE "\""

Test(activation_message, every_member_of_hello_has_its_type_and_its_limits)
{
    static const struct {
        const char *body, *code; /* NULL: taken */
    } cases[] = {
        { HELLO("1", SUITE, "\"a\"", "\"\"", GOOD, "\"\""), NULL },
        { HELLO("1", SUITE, "\" A \"", "\"" TEXT_32 "\"", GOOD, "\"" TEXT_64 "\""),
          NULL },
        { HELLO("1", "[\"x\",\"ecspeke-p521\"]", "\"a\"", "\"\"", GOOD, "\"\""), NULL },
        { "{\"new\":{\"x\":[null]},"
          "\"v\":1,\"suites\":" SUITE ",\"user\":\"a\",\"ref\":\"\",\"cn\":" GOOD
          ",\"client\":\"\\u0001\"}",
          NULL },
        { "", "bad_request" },
        { "[]", "bad_request" },
        { "1", "bad_request" },
        { "{\"v\":1} ", "bad_request" },
        { HELLO("1", SUITE, "\"a\"", "\"\"", GOOD, "\"\"") "x", "bad_request" },
        { HELLO("\"1\"", SUITE, "\"a\"", "\"\"", GOOD, "\"\""), "bad_request" },
        { HELLO("1.0", SUITE, "\"a\"", "\"\"", GOOD, "\"\""), "bad_request" },
        { HELLO("null", SUITE, "\"a\"", "\"\"", GOOD, "\"\""), "bad_request" },
        { HELLO("99999999999999999999", SUITE, "\"a\"", "\"\"", GOOD, "\"\""),
          "bad_request" },
        { HELLO("0", SUITE, "\"a\"", "\"\"", GOOD, "\"\""), "unsupported_version" },
        { "{\"v\":2}", "unsupported_version" },
        { "{\"v\":2,\"v\":1}", "bad_request" },
        { HELLO("1", SUITE, "\"a\",\"user\":\"b\"", "\"\"", GOOD, "\"\""),
          "bad_request" },
        { HELLO("1", SUITE, "\"a\",\"x\":[{\"y\":1,\"y\":2}]", "\"\"", GOOD, "\"\""),
          "bad_request" },
        { HELLO("1", SUITE, "\"\xc3\x28\"", "\"\"", GOOD, "\"\""), "bad_request" },
        { HELLO("1", SUITE, "\"\xed\xa0\x80\"", "\"\"", GOOD, "\"\""), "bad_request" },
        { HELLO("1", SUITE, "\"\\ud800\"", "\"\"", GOOD, "\"\""), "bad_request" },
        { HELLO("1", SUITE, "\"\\ud800\\u0041\"", "\"\"", GOOD, "\"\""),
          "bad_request" },
        { HELLO("1", SUITE, "\"a\\u0000\"", "\"\"", GOOD, "\"\""), "bad_request" },
        { HELLO("1", SUITE, "\"a\\u001f\"", "\"\"", GOOD, "\"\""), "bad_request" },
        { HELLO("1", SUITE, "\"a\\u007f\"", "\"\"", GOOD, "\"\""), "bad_request" },
        { HELLO("1", SUITE, "\"\"", "\"\"", GOOD, "\"\""), "bad_request" },
        { HELLO("1", SUITE, "\"   \"", "\"\"", GOOD, "\"\""), "bad_request" },
        { HELLO("1", SUITE, "\"" TEXT_64 TEXT_64 TEXT_64 TEXT_64 "\"", "\"\"", GOOD,
                "\"\""),
          "bad_request" },
        { HELLO("1", SUITE, "7", "\"\"", GOOD, "\"\""), "bad_request" },
        { HELLO("1", SUITE, "\"a\"", "null", GOOD, "\"\""), "bad_request" },
        { HELLO("1", SUITE, "\"a\"", "\"a b\"", GOOD, "\"\""), "bad_request" },
        { HELLO("1", SUITE, "\"a\"", "\"" TEXT_32 "x\"", GOOD, "\"\""), "bad_request" },
        { HELLO("1", SUITE, "\"a\"", "\"\"", "\"\"", "\"\""), "bad_request" },
        { HELLO("1", SUITE, "\"a\"", "\"\"", "\"" NONCE "==\"", "\"\""),
          "bad_request" },
        { HELLO("1", SUITE, "\"a\"", "\"\"", "\"AAAAAAAAAAAAAAAAAAAAAB\"", "\"\""),
          "bad_request" },
        { HELLO("1", SUITE, "\"a\"", "\"\"", "\"AAAAAAAAAA+AAAAAAAAAAA\"", "\"\""),
          "bad_request" },
        { HELLO("1", SUITE, "\"a\"", "\"\"", "\" AAAAAAAAAAAAAAAAAAAAA\"", "\"\""),
          "bad_request" },
        { HELLO("1", SUITE, "\"a\"", "\"\"", "\"" NONCE "A\"", "\"\""), "bad_request" },
        { HELLO("1", SUITE, "\"a\"", "\"\"", GOOD, "\"" TEXT_64 "x\""), "bad_request" },
        { HELLO("1", SUITE, "\"a\"", "\"\"", GOOD, "null"), "bad_request" },
        { HELLO("1", "\"ecspeke-p521\"", "\"a\"", "\"\"", GOOD, "\"\""),
          "bad_request" },
        { HELLO("1", "[\"\"]", "\"a\"", "\"\"", GOOD, "\"\""), "bad_request" },
        { HELLO("1", "[\"ECSPEKE-P521\"]", "\"a\"", "\"\"", GOOD, "\"\""),
          "bad_request" },
        { HELLO("1", "[\"ecspeke-p521\",1]", "\"a\"", "\"\"", GOOD, "\"\""),
          "bad_request" },
        { HELLO("1", "[\"" TEXT_32 "x\"]", "\"a\"", "\"\"", GOOD, "\"\""),
          "bad_request" },
        { HELLO("1", "[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\"]", "\"a\"",
                "\"\"", GOOD, "\"\""),
          "bad_request" },
        { HELLO("1", "[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\"]", "\"a\"",
                "\"\"", GOOD, "\"\""),
          "unsupported_suite" },
        /* The members come before the choice of a suite (7.1 step 1). */
        { HELLO("1", "[\"x\"]", "\"\"", "\"\"", GOOD, "\"\""), "bad_request" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int before = fake_activation.begins;
        enum ca_status status =
            ask("POST", "/activation/v1/hello", "", cases[i].body, NULL);
        if (!cases[i].code) {
            cr_expect_eq(status, CA_OK, "%s", cases[i].body);
            cr_expect_eq(core.http_status, 200, "%s", cases[i].body);
            continue;
        }
        cr_expect_neq(status, CA_OK, "%s", cases[i].body);
        cr_expect(failed(400, cases[i].code), "%s", cases[i].body);
        cr_expect_eq(fake_activation.begins, before, "%s", cases[i].body);
    }
}

Test(activation_message, enroll_uses_nothing_up_before_it_is_well_formed)
{
    static const struct {
        const char *body, *code;
    } cases[] = {
        { "{\"v\":1,\"sn\":\"AAAA\",\"yc\":\"\",\"tc\":\"\",\"csr\":\"\"}",
          "bad_request" },
        { "{\"v\":1,\"sn\":" GOOD ",\"yc\":\"A\",\"tc\":\"\",\"csr\":\"\"}",
          "bad_request" },
        { "{\"v\":1,\"sn\":" GOOD ",\"yc\":\"\",\"tc\":\"AAB\",\"csr\":\"\"}",
          "bad_request" },
        { "{\"v\":1,\"sn\":" GOOD ",\"yc\":\"\",\"tc\":\"\",\"csr\":\"AA==\"}",
          "bad_request" },
        { "{\"v\":1,\"sn\":" GOOD ",\"yc\":\"\",\"tc\":\"\"}", "bad_request" },
        { "{\"v\":3,\"sn\":1}", "unsupported_version" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        cr_expect_neq(ask("POST", "/activation/v1/enroll", "", cases[i].body, NULL),
                      CA_OK);
        cr_expect(failed(400, cases[i].code), "%s", cases[i].body);
    }
    cr_expect_eq(fake_activation.attempts, 0);
    /* Empty values are well-formed: they cost the session. */
    ask("POST", "/activation/v1/enroll", "",
        "{\"v\":1,\"sn\":" GOOD ",\"yc\":\"\",\"tc\":\"\",\"csr\":\"\"}", NULL);
    failed(410, "session_gone");
    cr_expect_eq(fake_activation.attempts, 1);
}

Test(activation_message, bodies_above_the_limit_and_other_types_are_refused)
{
    static char body[ACTIVATION_BODY_MAX + 2];
    static const char *const types[] = { "", "text/plain", "application/jsonx",
                                         "application/x-www-form-urlencoded" };
    for (const struct ca_route *row = ca_plugin.routes; row->method; row++) {
        cr_expect(row->flags & CA_ROUTE_TLS_ONLY, "%s", row->path);
        if (row->max_body == 0)
            continue;
        cr_expect_eq(row->max_body, ACTIVATION_BODY_MAX);
        cr_expect(row->flags & CA_ROUTE_OVERSIZE, "%s", row->path);
        fake_core_request(&core, row->method, "", "", NULL, row->max_body + 1);
        core.request.content_type = "application/json";
        cr_expect_eq(row->handle(state, &core.request), CA_LIMIT);
        failed(413, "too_large");
    }
    memset(body, ' ', sizeof body - 1);
    memcpy(body, "{\"v\":2}", 7);
    body[ACTIVATION_BODY_MAX] = '\0';
    ask("POST", "/activation/v1/hello", "", body, NULL);
    failed(400, "unsupported_version");
    for (size_t i = 0; i < COUNT(types); i++) {
        fake_core_request(&core, "POST", "", "", "{\"v\":2}", 7);
        core.request.content_type = types[i];
        route("POST", "/activation/v1/hello")->handle(state, &core.request);
        cr_expect(failed(400, "bad_request"), "%s", types[i]);
    }
}

Test(activation_message, lookup_names_the_server_of_a_user)
{
    const char *path = "/discovery/v1/lookup";
    cr_assert_eq(
        ask("POST", path, "", "{\"v\":1,\"user\":\" Alice@Example.COM\"}", NULL),
        CA_OK);
    answered(200, "{\"v\":1,\"server\":\"uem1.example.com\","
                  "\"url\":\"https://uem1.example.com/base\"}");
    cr_expect_str_eq(core.cache_control, "no-store");
    cr_expect_str_eq(fake_activation.looked, " Alice@Example.COM");
    fake_activation.lookup = CA_NOT_FOUND;
    ask("POST", path, "", "{\"v\":1,\"user\":\"bob\"}", NULL);
    failed(404, "not_registered");
    fake_activation.lookup = CA_LIMIT;
    fake_activation.retry_after = 21;
    ask("POST", path, "", "{\"v\":1,\"user\":\"bob\"}", NULL);
    answered(429, "{\"v\":1,\"error\":\"slow_down\",\"retry_after\":21}");
    cr_expect_str_eq(core.retry_after, "21");
    ask("POST", path, "", "{\"v\":1}", NULL);
    failed(400, "bad_request");
    cr_expect_eq(fake_activation.looks, 3);
}

/* ---- With a certificate ---- */

#define REPORT                                                                         \
    "{\"v\":1,\"device\":{\"vendor\":\"V\",\"model\":\"\",\"serial\":\"s\","           \
    "\"imei\":\"\",\"more\":1},\"software\":{\"os\":\"o\",\"os_version\":\"1\","       \
    "\"app\":\"a\",\"app_version\":\"2\"}}"

static X509 *
device_certificate(bool is_ours)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = fake_core_certify(&core, key, "device");
    if (!is_ours)
        cr_assert(X509_sign(certificate, key, EVP_sha256()) > 0);
    EVP_PKEY_free(key);
    return certificate;
}

Test(activation_message, resources_of_a_device_want_its_certificate)
{
    static const struct {
        const char *method, *path, *body, *message;
    } cases[] = {
        { "PUT", "/activation/v1/device", REPORT, "device" },
        { "GET", "/activation/v1/policy", "", "policy" },
        { "POST", "/activation/v1/renew", "{\"v\":1,\"csr\":\"AAAA\"}", "renew" },
    };
    X509 *other = device_certificate(false), *ours = device_certificate(true);
    for (size_t i = 0; i < COUNT(cases); i++) {
        cr_expect_neq(ask(cases[i].method, cases[i].path, "", cases[i].body, NULL),
                      CA_OK);
        failed(403, "wrong_certificate");
        cr_expect_eq(core.authenticates, 0);
        cr_expect_neq(ask(cases[i].method, cases[i].path, "", cases[i].body, other),
                      CA_OK);
        failed(403, "wrong_certificate");
        cr_expect_eq(core.authenticates, 1);
        cr_expect_str_eq(core.message, cases[i].message);
        cr_expect_str_eq(core.endpoint, "");
        cr_expect_eq(core.kind, CA_CREDENTIAL_CERTIFICATE);
        core.store = CA_UNAVAILABLE;
        cr_expect_neq(ask(cases[i].method, cases[i].path, "", cases[i].body, ours),
                      CA_OK);
        failed(503, "unavailable");
        core.store = CA_OK;
    }
    X509_free(other);
    X509_free(ours);
}

Test(activation_message, a_report_has_every_member_and_nothing_else)
{
    static const char *const wrong[] = {
        "{\"v\":1,\"device\":{},\"software\":{\"os\":\"\",\"os_version\":\"\",\"app\":"
        "\"\",\"app_version\":\"\"}}",
        "{\"v\":1,\"device\":\"x\",\"software\":{}}",
        "{\"v\":1,\"device\":{\"vendor\":\"\",\"model\":\"\",\"serial\":\"\",\"imei\":"
        "\"\"}}",
        "{\"v\":1,\"device\":{\"vendor\":\"" TEXT_64 TEXT_64 "x\",\"model\":\"\","
        "\"serial\":\"\",\"imei\":\"\"},\"software\":{\"os\":\"\",\"os_version\":\"\","
        "\"app\":\"\",\"app_version\":\"\"}}",
        "{\"v\":1,\"device\":{\"vendor\":1,\"model\":\"\",\"serial\":\"\",\"imei\":"
        "\"\"},\"software\":{\"os\":\"\",\"os_version\":\"\",\"app\":\"\","
        "\"app_version\":\"\"}}",
    };
    X509 *ours = device_certificate(true);
    const char *path = "/activation/v1/device";
    for (size_t i = 0; i < COUNT(wrong); i++) {
        cr_expect_neq(ask("PUT", path, "", wrong[i], ours), CA_OK);
        cr_expect(failed(400, "bad_request"), "%s", wrong[i]);
        cr_expect_null(fake_activation.hardware);
    }
    cr_assert_eq(ask("PUT", path, "", REPORT, ours), CA_OK);
    answered(200,
             "{\"v\":1,\"instance\":\"main\",\"url\":\"https://uem1.example.com\"}");
    char *hardware = json_dumps(fake_activation.hardware, JSON_COMPACT);
    cr_expect_str_eq(hardware, "{\"vendor\":\"V\",\"model\":\"\",\"serial\":\"s\","
                               "\"imei\":\"\"}");
    free(hardware);
    fake_activation.device = CA_FORBIDDEN;
    ask("PUT", path, "", REPORT, ours);
    failed(403, "wrong_certificate");
    fake_activation.device = CA_UNAVAILABLE;
    ask("PUT", path, "", REPORT, ours);
    failed(503, "unavailable");
    X509_free(ours);
}

#define TAG "00112233445566778899aabbccddeeff"

Test(activation_message, a_policy_has_a_tag_and_304_goes_to_who_knows_it)
{
    static const struct {
        const char *header, *query;
        int http_status;
        const char *known;
        int64_t waited;
    } cases[] = {
        { NULL, "", 200, "none", 0 },
        { NULL, "wait=1", 200, "none", 1 },
        { "\"" TAG "\"", "", 304, TAG, 0 },
        { "W/\"" TAG "\"", "wait=60", 304, TAG, 60 },
        { "\"x\", \"" TAG "\"", "", 304, "x", 0 },
        { "*", "", 304, "none", 0 },
        { "\"x\"", "wait=7", 200, "x", 7 },
        { "\"" TAG, "", 304, TAG, 0 },
        { TAG, "", 200, "none", 0 },
        { "", "", 200, "none", 0 },
        { "\"\"", "", 200, "", 0 },
    };
    X509 *ours = device_certificate(true);
    fake_activation.policy_text = "{\"name\":\"p\",\"version\":3,\"items\":[]}";
    for (size_t i = 0; i < COUNT(cases); i++) {
        core.if_none_match = cases[i].header;
        cr_assert_eq(ask("GET", "/activation/v1/policy", cases[i].query, "", ours),
                     CA_OK);
        answered(cases[i].http_status,
                 cases[i].http_status == 304
                     ? ""
                     : "{\"v\":1,\"name\":\"p\",\"version\":3,\"items\":[]}");
        cr_expect_str_eq(core.etag, "\"" TAG "\"");
        cr_expect_str_eq(core.cache_control, "private, no-cache");
        cr_expect_str_eq(fake_activation.known, cases[i].known, "%zu", i);
        cr_expect_eq(fake_activation.waited, cases[i].waited);
    }
    core.if_none_match = NULL;
    fake_activation.policy = CA_FORBIDDEN;
    ask("GET", "/activation/v1/policy", "", "", ours);
    failed(403, "wrong_certificate");
    X509_free(ours);
}

Test(activation_message, wait_is_1_to_60)
{
    static const char *const wrong[] = { "wait=",        "wait=0",  "wait=61",
                                         "wait=-1",      "wait=1x", "wait=001",
                                         "wait=1&wait=2" };
    X509 *ours = device_certificate(true);
    for (size_t i = 0; i < COUNT(wrong); i++) {
        ask("GET", "/activation/v1/policy", wrong[i], "", ours);
        cr_expect(failed(400, "bad_request"), "%s", wrong[i]);
    }
    X509_free(ours);
}

/* ---- Renewal ---- */

static char *
renewal_make(EVP_PKEY *key, bool is_broken)
{
    X509_REQ *request = X509_REQ_new();
    uint8_t *der = NULL;
    cr_assert(X509_REQ_set_pubkey(request, key) == 1 &&
              X509_REQ_sign(request, key, EVP_sha256()) > 0);
    int size = i2d_X509_REQ(request, &der);
    der[size - 1] ^= (uint8_t)is_broken;
    char *body = NULL;
    const char *text =
        base64url_encode(&core.request, (struct ca_bytes){ der, (size_t)size });
    cr_assert(asprintf(&body, "{\"v\":1,\"csr\":\"%s\"}", text) > 0);
    OPENSSL_free(der);
    X509_REQ_free(request);
    return body;
}

Test(activation_message, a_renewal_gives_certificate_and_chain)
{
    X509 *ours = device_certificate(true);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    char *body = renewal_make(key, false);
    cr_assert_eq(ask("POST", "/activation/v1/renew", "", body, ours), CA_OK);
    cr_expect_eq(core.http_status, 200);
    json_t *answer = json_loadb((char *)core.body, core.size, 0, NULL);
    struct ca_bytes der = { 0 };
    cr_assert_eq(activation_octets(&core.request, answer, "cert", &der), ACTIVATION_OK);
    X509 *certificate = ca_certificate_decode(der);
    cr_assert(certificate);
    cr_expect_eq(X509_cmp(certificate, core.certificate), 0);
    const json_t *chain = json_object_get(answer, "chain");
    cr_assert_eq(json_array_size(chain), 2);
    json_t *last = json_pack("{s:O}", "x", json_array_get(chain, 1));
    cr_assert_eq(activation_octets(&core.request, last, "x", &der), ACTIVATION_OK);
    X509 *root = ca_certificate_decode(der);
    cr_expect(root && X509_cmp(root, core.root) == 0);
    json_decref(last);
    json_decref(answer);
    X509_free(root);
    X509_free(certificate);
    X509_free(ours);
    EVP_PKEY_free(key);
    free(body);
}

/* The core knows the outcome by signer and request: nothing is asked for anew. */
Test(activation_message, a_renewal_sent_again_gets_what_the_first_got)
{
    X509 *ours = device_certificate(true);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    char *body = renewal_make(key, false);
    core.issued = fake_core_certify(&core, key, "renewed");
    core.poll = CA_OK;
    cr_assert_eq(ask("POST", "/activation/v1/renew", "", body, ours), CA_OK);
    cr_expect_eq(core.http_status, 200);
    cr_expect_eq(core.polls, 1);
    cr_expect(core.poll_had_request);
    cr_expect_eq(core.authenticates, 0);
    cr_expect_eq(core.enrolls, 0);
    json_t *answer = json_loadb((char *)core.body, core.size, 0, NULL);
    struct ca_bytes der = { 0 };
    cr_assert_eq(activation_octets(&core.request, answer, "cert", &der), ACTIVATION_OK);
    X509 *certificate = ca_certificate_decode(der);
    cr_expect(certificate && X509_cmp(certificate, core.issued) == 0);
    X509_free(certificate);
    json_decref(answer);
    X509_free(core.issued);
    core.issued = NULL;
    core.poll = CA_NOT_FOUND;
    ask("POST", "/activation/v1/renew", "", body, ours);
    cr_expect_eq(core.polls, 1);
    cr_expect_eq(core.enrolls, 1, "nothing is known of it");
    core.poll = CA_UNAVAILABLE;
    ask("POST", "/activation/v1/renew", "", body, ours);
    cr_expect(failed(503, "unavailable"));
    cr_expect_eq(core.enrolls, 0);
    core.poll = CA_NOT_FOUND;
    X509_free(ours);
    EVP_PKEY_free(key);
    free(body);
}

Test(activation_message, a_renewal_that_is_refused_says_why)
{
    static const struct {
        enum ca_status enroll;
        bool is_broken;
        int http_status;
        const char *code;
    } cases[] = {
        { CA_OK, true, 422, "bad_signature" },
        { CA_FORBIDDEN, false, 422, "key_rejected" },
        { CA_UNAUTHENTICATED, false, 403, "wrong_certificate" },
        { CA_UNAVAILABLE, false, 503, "unavailable" },
        { CA_CONFLICT, false, 503, "unavailable" },
    };
    X509 *ours = device_certificate(true);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *body = renewal_make(key, cases[i].is_broken);
        core.enroll = cases[i].enroll;
        ask("POST", "/activation/v1/renew", "", body, ours);
        failed(cases[i].http_status, cases[i].code);
        cr_expect_eq(core.enrolls, !cases[i].is_broken);
        free(body);
    }
    core.enroll = CA_OK;
    static const char *const wrong[] = { "{\"v\":1,\"csr\":\"\"}",
                                         "{\"v\":1,\"csr\":\"MAA\"}",
                                         "{\"v\":1,\"csr\":7}", "{\"v\":1}" };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        ask("POST", "/activation/v1/renew", "", wrong[i], ours);
        cr_expect(failed(400, "bad_request"), "%s", wrong[i]);
        cr_expect_eq(core.enrolls, 0);
    }
    EVP_PKEY_free(key);
    X509_free(ours);
}
