/* The activation plugin before a double of the core: the vectors' messages octet for
 * octet, and every input that must be refused. */
#include "activation.h"
#include "base64.h"
#include "box.h"
#include "fake_activation.h"
#include "fake_random.h"
#include "plugin_rig.h"
#include "vectors.h"

#define VECTORS TEST_SOURCE "/tests/data/activation-vectors.json"
#define HELLO "/activation/v1/hello"
#define ENROLL "/activation/v1/enroll"

static json_t *vectors;
static struct octets octets;

static void
begin(void)
{
    fake_core_open(&core);
    fake_activation_open();
    vectors = vectors_load(VECTORS);
    plugin_configure("{\"suites\": [\"ecspeke-p521\", \"ecspeke-p256\"]}");
}

static void
end(void)
{
    json_decref(vectors);
    fake_random_end();
    fake_activation_close();
    plugin_end();
}

TestSuite(activation_wire, .init = begin, .fini = end);

static enum ca_status
post(const char *path, const char *body)
{
    fake_core_request(&core, "POST", "", "", body, strlen(body));
    core.request.content_type = "application/json";
    return route("POST", path)->handle(state, &core.request);
}

static void
expect_answer(int http_status, const char *body)
{
    cr_expect_eq(core.http_status, http_status, "%d: %.*s", core.http_status,
                 (int)core.size, core.body);
    cr_expect_str_eq(core.content_type, "application/json");
    cr_expect_str_eq(core.cache_control, "no-store");
    cr_expect(core.size == strlen(body) && memcmp(core.body, body, core.size) == 0,
              "%.*s\nnot\n%s", (int)core.size, core.body, body);
}

static void
expect_error(int http_status, const char *code)
{
    char body[128];
    snprintf(body, sizeof body, "{\"v\":1,\"error\":\"%s\"}", code);
    expect_answer(http_status, body);
}

static const struct {
    const char *code;
    int http_status;
} codes[] = {
    { "bad_request", 400 },   { "unsupported_version", 400 },
    { "invalid_share", 400 }, { "unsupported_suite", 400 },
    { "auth_failed", 403 },
};

static void
expect_code(const char *code)
{
    for (size_t i = 0; i < COUNT(codes); i++) {
        if (strcmp(codes[i].code, code) == 0) {
            expect_error(codes[i].http_status, code);
            return;
        }
    }
    cr_assert_fail("no code %s", code);
}

/* What the core knows of a case, and what is drawn in it. */
static void
case_set(const json_t *one)
{
    const json_t *inputs = json_object_get(one, "inputs");
    const json_t *values = json_object_get(one, "values");
    struct fake_activation *fake = &fake_activation;
    fake->server = vector_text(inputs, "server");
    fake->ln = (int)json_integer_value(json_object_get(inputs, "ln"));
    fake->r = (int)json_integer_value(json_object_get(inputs, "r"));
    fake->p = (int)json_integer_value(json_object_get(inputs, "p"));
    vector_get(values, "salt", &octets);
    memcpy(fake->salt, octets.data, sizeof fake->salt);
    vector_get(values, "prs", &octets);
    memcpy(fake->prs, octets.data, sizeof fake->prs);
    fake_random_end();
    vector_get(inputs, "sn", &octets);
    fake_random_add(octets.data, octets.size);
    vector_get(inputs, "scalar_server", &octets);
    fake_random_add(octets.data, octets.size);
    vector_get(inputs, "iv_s2c", &octets);
    fake_random_add(octets.data, octets.size);
}

/* M1 to M2; then the session is kept. */
static void
case_begin(const json_t *one)
{
    const json_t *wire = json_object_get(one, "wire");
    case_set(one);
    cr_assert_eq(post(HELLO, vector_text(wire, "hello")), CA_OK);
    expect_answer(200, vector_text(wire, "hello_reply"));
    cr_expect_eq(fake_activation.begins, 1);
    cr_assert(fake_activation.is_kept);
    fake_activation.begins = 0;
}

static const char *
text_of(json_t *grant, const char *name)
{
    return json_string_value(json_object_get(grant, name));
}

static struct ca_bytes
der_of(const json_t *text)
{
    struct ca_bytes der = { 0 };
    json_t *object = json_pack("{s:O}", "x", text);
    cr_assert_eq(activation_octets(&core.request, object, "x", &der), ACTIVATION_OK);
    json_decref(object);
    return der;
}

static void
grant_set(json_t *grant, struct ca_bytes chain[1])
{
    static uint8_t der[2][1024];
    struct ca_bytes certificate = der_of(json_object_get(grant, "cert"));
    chain[0] = der_of(json_array_get(json_object_get(grant, "chain"), 0));
    memcpy(der[0], certificate.data, certificate.size);
    memcpy(der[1], chain[0].data, chain[0].size);
    chain[0].data = der[1];
    fake_activation.grant = (struct ca_activation_grant){
        .device = text_of(grant, "device"),
        .workspace = text_of(grant, "workspace"),
        .organisation = text_of(grant, "org"),
        .url = text_of(grant, "url"),
        .certificate = { der[0], certificate.size },
        .chain = chain,
        .chain_count = 1,
    };
}

Test(activation_wire, honest_runs_give_the_vectors_messages_and_repeat_them)
{
    size_t i;
    json_t *one;
    json_array_foreach (json_object_get(vectors, "cases"), i, one) {
        const json_t *wire = json_object_get(one, "wire");
        struct ca_bytes chain[1];
        fake_activation_open();
        case_begin(one);
        json_t *grant =
            json_loads(vector_text(json_object_get(one, "inputs"), "grant"), 0, NULL);
        grant_set(grant, chain);
        cr_assert_eq(post(ENROLL, vector_text(wire, "enroll")), CA_OK);
        expect_answer(200, vector_text(wire, "enroll_reply"));
        vector_get(json_object_get(one, "inputs"), "csr", &octets);
        cr_expect(fake_activation.pkcs10.size == octets.size &&
                  memcmp(fake_activation.pkcs10.data, octets.data, octets.size) == 0);
        cr_expect_eq(fake_activation.answered, 200);
        /* A lost reply costs nothing. */
        cr_assert_eq(post(ENROLL, vector_text(wire, "enroll")), CA_OK);
        expect_answer(200, vector_text(wire, "enroll_reply"));
        cr_expect_eq(fake_activation.proofs, 1);
        cr_expect_eq(fake_activation.refusals, 0);
        json_decref(grant);
    }
    cr_assert_eq(i, 4);
}

/* An M3 of the case with some of its members put in place of the honest ones. */
static char *
enroll_bend(const json_t *one, const char *name, const json_t *from)
{
    json_t *message =
        json_loads(vector_text(json_object_get(one, "wire"), "enroll"), 0, NULL);
    static const char *const members[][2] = { { "yc", "yc" },
                                              { "tc", "tc" },
                                              { "box", "csr" } };
    for (size_t i = 0; i < COUNT(members); i++) {
        if (!json_object_get(from, members[i][0]))
            continue;
        vector_get(from, members[i][0], &octets);
        const char *text = base64url_encode(&core.request, octets_bytes(&octets));
        json_object_set_new(message, members[i][1], json_string(text));
    }
    char *text = json_dumps(message, JSON_COMPACT);
    json_decref(message);
    cr_assert(text, "%s", name);
    return text;
}

Test(activation_wire, negative_vectors_get_their_code_and_spend_the_session)
{
    size_t i, seen = 0;
    json_t *negative;
    json_array_foreach (json_object_get(vectors, "negative"), i, negative) {
        const char *kind = vector_text(negative, "kind");
        const char *name = vector_text(negative, "name");
        const char *code = vector_text(negative, "code");
        fake_activation_open();
        if (strcmp(kind, "hello") == 0) {
            cr_assert_neq(post(HELLO, vector_text(negative, "body")), CA_OK);
            expect_code(code);
            cr_expect_eq(fake_activation.begins, 0, "%s", name);
            seen++;
        }
        if (strcmp(kind, "share_c") != 0 && strcmp(kind, "tc") != 0 &&
            strcmp(kind, "box_c2s") != 0)
            continue;
        const json_t *base = vector_named(json_object_get(vectors, "cases"),
                                          vector_text(negative, "base"));
        case_begin(base);
        char *body = enroll_bend(base, name, negative);
        cr_assert_neq(post(ENROLL, body), CA_OK, "%s", name);
        expect_code(code);
        cr_expect_str_eq(fake_activation.refused, code, "%s", name);
        cr_expect_eq(fake_activation.proofs, 0, "%s", name);
        /* The same again does not get a second try. */
        cr_assert_neq(post(ENROLL, body), CA_OK);
        expect_error(410, "session_gone");
        cr_expect_eq(fake_activation.refusals, 1);
        free(body);
        seen++;
    }
    cr_assert_geq(seen, 27);
}

/* What the client of p521-basic opens of the answer. */
static json_t *
answer_open(const json_t *one)
{
    static struct schedule schedule;
    struct transcript transcript = { .sid = { 0 } };
    const json_t *values = json_object_get(one, "values");
    struct ca_bytes box = { 0 }, tag = { 0 };
    static struct octets ys, yc, k, request;
    uint8_t plain[4096];
    size_t size = 0;
    vector_get(values, "ci", &octets);
    lv_append(&transcript.identities, octets.data, octets.size);
    vector_get(values, "sid", &octets);
    memcpy(transcript.sid, octets.data, sizeof transcript.sid);
    vector_get(values, "ad_s", &octets);
    lv_append(&transcript.server_data, octets.data, octets.size);
    vector_get(values, "ad_c", &octets);
    lv_append(&transcript.client_data, octets.data, octets.size);
    vector_get(values, "ys", &ys);
    vector_get(values, "yc", &yc);
    vector_get(values, "k", &k);
    vector_get(values, "box_c2s", &request);
    cr_assert_eq(schedule_derive(&speke_p521, &transcript, octets_bytes(&ys),
                                 octets_bytes(&yc), k.data, &schedule),
                 CA_OK);
    json_t *body = json_loadb((char *)core.body, core.size, 0, NULL);
    cr_assert_eq(activation_octets(&core.request, body, "ts", &tag), ACTIVATION_OK);
    cr_assert(schedule_tag_holds(&schedule, SCHEDULE_S2C, tag));
    cr_assert_eq(activation_octets(&core.request, body, "grant", &box), ACTIVATION_OK);
    cr_assert_eq(box_open(&schedule, SCHEDULE_S2C, box_tag(octets_bytes(&request)), box,
                          plain, &size),
                 CA_OK);
    json_decref(body);
    schedule_clear(&schedule);
    return json_loadb((char *)plain, size, 0, NULL);
}

Test(activation_wire, refusals_behind_the_password_are_sealed_and_repeated)
{
    static const char *const reasons[] = { "csr_rejected", "policy", "quota" };
    const json_t *one = vector_named(json_object_get(vectors, "cases"), "p521-basic");
    const char *body = vector_text(json_object_get(one, "wire"), "enroll");
    for (size_t i = 0; i < COUNT(reasons); i++) {
        fake_activation_open();
        case_begin(one);
        fake_activation.proved = CA_FORBIDDEN;
        fake_activation.grant.error = reasons[i];
        fake_activation.grant.detail = "the key of 1024 bits is too short";
        cr_assert_eq(post(ENROLL, body), CA_FORBIDDEN);
        cr_expect_eq(core.http_status, 422);
        json_t *refusal = answer_open(one);
        cr_expect_str_eq(text_of(refusal, "error"), reasons[i]);
        cr_expect_str_eq(text_of(refusal, "detail"), fake_activation.grant.detail);
        cr_expect_eq(json_object_size(refusal), 2);
        json_decref(refusal);
        cr_expect_eq(fake_activation.answered, 422);
        struct fake_octets first = fake_activation.answer;
        cr_assert_eq(post(ENROLL, body), CA_OK); /* a repetition, and no refusal anew */
        cr_expect_eq(core.http_status, 422);
        cr_expect(core.size == first.size &&
                  memcmp(core.body, first.data, first.size) == 0);
    }
}

Test(activation_wire, what_the_core_says_of_an_attempt_is_answered_in_its_words)
{
    static const struct {
        enum ca_status attempt, proved;
        int http_status;
        const char *body, *retry_after;
    } cases[] = {
        { CA_NOT_FOUND, CA_OK, 410, "{\"v\":1,\"error\":\"session_gone\"}", "" },
        { CA_PENDING, CA_OK, 503,
          "{\"v\":1,\"error\":\"unavailable\",\"retry_after\":1}", "1" },
        { CA_UNAVAILABLE, CA_OK, 503, "{\"v\":1,\"error\":\"unavailable\"}", "" },
        { CA_INTERNAL, CA_OK, 503, "{\"v\":1,\"error\":\"unavailable\"}", "" },
        { CA_OK, CA_UNAUTHENTICATED, 403, "{\"v\":1,\"error\":\"auth_failed\"}", "" },
        { CA_OK, CA_UNAVAILABLE, 503, "{\"v\":1,\"error\":\"unavailable\"}", "" },
        { CA_OK, CA_INTERNAL, 503, "{\"v\":1,\"error\":\"unavailable\"}", "" },
    };
    const json_t *one = vector_named(json_object_get(vectors, "cases"), "p521-basic");
    for (size_t i = 0; i < COUNT(cases); i++) {
        fake_activation_open();
        case_begin(one);
        fake_activation.attempt = cases[i].attempt;
        fake_activation.proved = cases[i].proved;
        cr_assert_neq(post(ENROLL, vector_text(json_object_get(one, "wire"), "enroll")),
                      CA_OK);
        expect_answer(cases[i].http_status, cases[i].body);
        cr_expect_str_eq(core.retry_after, cases[i].retry_after);
        cr_expect_eq(fake_activation.answered, 0);
    }
}

Test(activation_wire, hello_says_when_to_come_back)
{
    static const struct {
        enum ca_status begin, keep;
        int64_t retry_after;
        int http_status;
        const char *body, *header;
    } cases[] = {
        { CA_LIMIT, CA_OK, 37, 429,
          "{\"v\":1,\"error\":\"slow_down\",\"retry_after\":37}", "37" },
        { CA_UNAVAILABLE, CA_OK, 0, 503, "{\"v\":1,\"error\":\"unavailable\"}", "" },
        { CA_MALFORMED, CA_OK, 0, 400, "{\"v\":1,\"error\":\"bad_request\"}", "" },
        { CA_OK, CA_UNAVAILABLE, 0, 503, "{\"v\":1,\"error\":\"unavailable\"}", "" },
    };
    const json_t *one = vector_named(json_object_get(vectors, "cases"), "p521-basic");
    for (size_t i = 0; i < COUNT(cases); i++) {
        fake_activation.begin = cases[i].begin;
        fake_activation.keep = cases[i].keep;
        fake_activation.retry_after = cases[i].retry_after;
        cr_assert_neq(post(HELLO, vector_text(json_object_get(one, "wire"), "hello")),
                      CA_OK);
        expect_answer(cases[i].http_status, cases[i].body);
        cr_expect_str_eq(core.retry_after, cases[i].header);
        cr_expect_not(fake_activation.is_kept);
    }
}

Test(activation_wire, p256_is_off_by_default)
{
    const json_t *one = vector_named(json_object_get(vectors, "cases"), "p256-basic");
    const char *hello = vector_text(json_object_get(one, "wire"), "hello");
    plugin_configure("{}");
    cr_assert_eq(post(HELLO, hello), CA_UNSUPPORTED);
    expect_error(400, "unsupported_suite");
    plugin_configure("{\"suites\": [\"ecspeke-p256\"]}");
    case_set(one);
    cr_assert_eq(post(HELLO, hello), CA_OK);
}

Test(activation_wire, settings_are_strict)
{
    static const char *const wrong[] = {
        "{\"suites\": []}",
        "{\"suites\": \"ecspeke-p521\"}",
        "{\"suites\": [\"ecspeke-p521\", \"ecspeke-p521\"]}",
        "{\"suites\": [\"spake2plus-p521\"]}",
        "{\"suites\": [1]}",
        "{\"tries\": 5}",
    };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        json_t *json = json_loads(wrong[i], 0, NULL);
        void *other = NULL;
        cr_expect_eq(ca_plugin.init(json, &other), CA_MALFORMED, "%s", wrong[i]);
        cr_expect_null(other);
        json_decref(json);
    }
}
