/* The SCEP resources of an activated device: what is asked of the core, and how its
 * words become answers. */
#include "activation.h"
#include "fake_activation.h"
#include "plugin_rig.h"
#include <criterion/criterion.h>
#include <string.h>

static X509 *certificate;

static void
begin(void)
{
    fake_core_open(&core);
    fake_activation_open();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    certificate = fake_core_certify(&core, key, "dev");
    EVP_PKEY_free(key);
    plugin_configure(NULL);
}

static void
end(void)
{
    X509_free(certificate);
    fake_activation_close();
    plugin_end();
}

TestSuite(activation_scep, .init = begin, .fini = end);

static void
ask(const char *method, const char *path, const char *rest, const char *body)
{
    const struct ca_route *row = route(method, path);
    cr_assert(row->flags & CA_ROUTE_TLS_ONLY);
    fake_core_request(&core, method, rest, "", body, strlen(body));
    core.request.content_type = "application/json";
    core.request.peer_certificate = certificate;
    core.http_status = 0;
    (void)row->handle(state, &core.request);
}

static void
step(const char *rest, const char *body)
{
    ask("POST", "/activation/v1/scep/", rest, body);
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

#define PREPARE "{\"v\":1,\"cri\":\"MDA\",\"digest\":\"sha256\"}"
#define ENVELOPE "{\"v\":1,\"txn\":\"T\",\"sig\":\"MDA\",\"cipher\":\"aes256\"}"
#define ENROLL "{\"v\":1,\"csr\":\"MDA\"}"

Test(activation_scep, each_step_is_one_question_to_the_core)
{
    ask("GET", "/activation/v1/scep-profile", "", "");
    answered(200, "{\"v\":1,\"profile\":\"wifi\",\"version\":3}");
    cr_expect_str_eq(core.cache_control, "no-store");
    cr_expect_str_eq(core.message, "scep-profile");
    step("/wifi/prepare", PREPARE);
    answered(200, "{\"v\":1,\"txn\":\"T\",\"tbs_digest\":\"cmE\"}");
    cr_expect_str_eq(fake_activation.scep, "prepare wifi");
    cr_expect_eq(fake_activation.pkcs10.size, 2);
    step("/wifi/envelope", ENVELOPE);
    answered(200, "{\"v\":1,\"enveloped\":\"Y2E\",\"transaction_id\":\"id\","
                  "\"ca\":[\"cmE\",\"Y2E\"]}");
    cr_expect_str_eq(fake_activation.scep, "envelope wifi");
    step("/wifi/enroll", ENROLL);
    answered(200, "{\"v\":1,\"cert\":\"cmE\",\"chain\":[\"cmE\",\"Y2E\"]}");
    cr_expect_str_eq(fake_activation.scep, "enroll wifi");
    cr_expect_eq(core.authenticates, 1);
    fake_activation.scep_status = CA_PENDING;
    step("/wifi/enroll", ENROLL);
    answered(202, "{\"v\":1,\"retry_after\":7}");
}

Test(activation_scep, words_of_the_core_become_the_errors_of_section_12)
{
    static const struct {
        enum ca_status status;
        const char *word, *error;
        int http_status;
    } cases[] = {
        { CA_NOT_FOUND, "no_profile", "no_profile", 404 },
        { CA_CONFLICT, "report_required", "report_required", 409 },
        { CA_NOT_FOUND, "txn_gone", "txn_gone", 410 },
        { CA_FORBIDDEN, "subject_mismatch", "subject_mismatch", 422 },
        { CA_FORBIDDEN, "san_mismatch", "san_mismatch", 422 },
        { CA_FORBIDDEN, "key_rejected", "key_rejected", 422 },
        { CA_FORBIDDEN, "bad_signature", "bad_signature", 422 },
        { CA_UNAVAILABLE, "upstream", "upstream", 502 },
        { CA_UNAVAILABLE, NULL, "unavailable", 503 },
        { CA_INTERNAL, NULL, "unavailable", 503 },
        { CA_LIMIT, NULL, "slow_down", 429 },
        { CA_MALFORMED, NULL, "bad_request", 400 },
        { CA_UNAUTHENTICATED, NULL, "wrong_certificate", 403 },
        { CA_FORBIDDEN, NULL, "wrong_certificate", 403 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char body[96];
        snprintf(body, sizeof body, "{\"v\":1,\"error\":\"%s\"%s}", cases[i].error,
                 cases[i].http_status == 429 ? ",\"retry_after\":60" : "");
        fake_activation.scep_status = cases[i].status;
        fake_activation.scep_error = cases[i].word;
        ask("GET", "/activation/v1/scep-profile", "", "");
        answered(cases[i].http_status, body);
        step("/wifi/prepare", PREPARE);
        answered(cases[i].http_status, body);
        step("/wifi/envelope", ENVELOPE);
        answered(cases[i].http_status, body);
        step("/wifi/enroll", ENROLL);
        answered(cases[i].http_status, body);
    }
}

Test(activation_scep, bad_messages_and_paths_do_not_reach_the_core)
{
    static const struct {
        const char *rest, *body;
    } cases[] = {
        { "/wifi/prepare", "{\"v\":1,\"cri\":\"MDA=\",\"digest\":\"sha256\"}" },
        { "/wifi/prepare", "{\"v\":1,\"digest\":\"sha256\"}" },
        { "/wifi/prepare", "{\"v\":1,\"cri\":\"MDA\"}" },
        { "/wifi/envelope", "{\"v\":1,\"txn\":\"T\",\"sig\":\"MDA\"}" },
        { "/wifi/envelope", "{\"v\":1,\"sig\":\"MDA\",\"cipher\":\"aes256\"}" },
        { "/wifi/envelope",
          "{\"v\":1,\"txn\":7,\"sig\":\"MDA\",\"cipher\":\"aes256\"}" },
        { "/wifi/enroll", "{\"v\":1,\"csr\":\"+/\"}" },
        { "/wifi/enroll", "{\"v\":1,\"csr\":\"MDA\",\"csr\":\"MDA\"}" },
        { "/wifi/enroll", "[]" },
    };
    static const char *const paths[] = { "",         "/",           "/wifi",
                                         "/wifi/",   "/wifi/other", "/wifi/enroll/x",
                                         "//enroll", "/enroll" };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        step(cases[i].rest, cases[i].body);
        answered(400, "{\"v\":1,\"error\":\"bad_request\"}");
        cr_expect_str_eq(fake_activation.scep, "", "%s", cases[i].body);
    }
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        step(paths[i], ENROLL);
        cr_expect_eq(core.http_status, 0, "%s", paths[i]);
        cr_expect_str_eq(fake_activation.scep, "", "%s", paths[i]);
    }
    char longest[80] = "/";
    memset(longest + 1, 'a', 65);
    memcpy(longest + 66, "/enroll", 8);
    step(longest, ENROLL);
    cr_expect_str_eq(fake_activation.scep, "");
    X509_free(certificate);
    certificate = NULL;
    step("/wifi/enroll", ENROLL);
    answered(403, "{\"v\":1,\"error\":\"wrong_certificate\"}");
    cr_expect_str_eq(fake_activation.scep, "");
}
