/* The activation client's side of the exchange, by the vectors. */
#include "activate_client.h"
#include "activate_exchange.h"
#include "activate_secret.h"
#include "activate_wanted.h"
#include "auto.h"
#include "fake_random.h"
#include "field.h"
#include "leak.h"
#include "names.h"
#include "vectors.h"
#include <openssl/pkcs12.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define VECTORS TEST_SOURCE "/tests/data/activation-vectors.json"

static struct octets octets;

struct trial {
    json_t *vectors;
    const json_t *inputs, *values, *wire;
    const char *suites[4];
    struct exchange_client client;
};

static void
trial_open(struct trial *trial, const char *name)
{
    *trial = (struct trial){ .vectors = vectors_load(VECTORS) };
    const json_t *one = vector_named(json_object_get(trial->vectors, "cases"), name);
    trial->inputs = json_object_get(one, "inputs");
    trial->values = json_object_get(one, "values");
    trial->wire = json_object_get(one, "wire");
    const json_t *offered = json_object_get(trial->inputs, "suites_offered");
    for (size_t i = 0; i < json_array_size(offered); i++)
        trial->suites[i] = json_string_value(json_array_get(offered, i));
    trial->client =
        (struct exchange_client){ .suites = trial->suites,
                                  .client = vector_text(trial->inputs, "client"),
                                  .sent = vector_text(trial->inputs, "user_sent"),
                                  .ref = vector_text(trial->inputs, "ref"),
                                  .server = vector_text(trial->inputs, "server") };
    static const char *const drawn[] = { "cn", "scalar_client", "iv_c2s" };
    fake_random_end();
    for (size_t i = 0; i < COUNT(drawn); i++) {
        vector_get(trial->inputs, drawn[i], &octets);
        fake_random_add(octets.data, octets.size);
    }
}

static void
trial_close(struct trial *trial)
{
    exchange_client_clear(&trial->client);
    json_decref(trial->vectors);
    fake_random_end();
    LEAK_CHECK();
}

/* The message as it would go out, and as the vectors have it. */
static void
expect_message(const json_t *message, const char *wanted)
{
    char *text = json_dumps(message, JSON_COMPACT);
    json_t *other = json_loads(wanted, 0, NULL);
    char *again = json_dumps(other, JSON_COMPACT);
    cr_expect_str_eq(text, again);
    json_decref(other);
    free(again);
    free(text);
}

static void
trial_hello(struct trial *trial)
{
    json_t *hello = NULL;
    cr_assert_eq(exchange_hello(&trial->client, &hello), CA_OK);
    expect_message(hello, vector_text(trial->wire, "hello"));
    json_decref(hello);
}

static enum ca_status
trial_reply(struct trial *trial, const char *text)
{
    uint8_t prs[STRETCH_PRS_SIZE];
    json_t *reply = json_loads(text, 0, NULL);
    enum ca_status status = exchange_stretch(
        &trial->client, reply, vector_text(trial->inputs, "password"), prs);
    if (status == CA_OK)
        status = exchange_reply(&trial->client, reply, prs);
    json_decref(reply);
    return status;
}

static void
trial_enroll(struct trial *trial)
{
    json_t *enroll = NULL;
    vector_get(trial->inputs, "csr", &octets);
    cr_assert_eq(exchange_enroll(&trial->client, octets_bytes(&octets), &enroll),
                 CA_OK);
    expect_message(enroll, vector_text(trial->wire, "enroll"));
    json_decref(enroll);
}

static enum ca_status
trial_answer(struct trial *trial, const json_t *answer)
{
    json_t *content = NULL;
    enum ca_status status = exchange_answer(&trial->client, answer, &content);
    if (status == CA_OK) {
        char *text = json_dumps(content, JSON_COMPACT);
        cr_expect_str_eq(text, vector_text(trial->inputs, "grant"));
        free(text);
    }
    field_json_wipe(content);
    return status;
}

Test(activate_exchange, honest_runs_give_the_vectors_messages)
{
    static const char *const names[] = { "p521-basic", "p521-ref-and-case",
                                         "p521-utf8-user", "p256-basic" };
    for (size_t i = 0; i < COUNT(names); i++) {
        struct trial trial;
        trial_open(&trial, names[i]);
        trial_hello(&trial);
        cr_assert_eq(trial_reply(&trial, vector_text(trial.wire, "hello_reply")),
                     CA_OK);
        trial_enroll(&trial);
        json_t *answer = json_loads(vector_text(trial.wire, "enroll_reply"), 0, NULL);
        cr_expect_eq(trial_answer(&trial, answer), CA_OK);
        json_decref(answer);
        trial_close(&trial);
    }
}

/* The base case's message with one member exchanged. */
static json_t *
message_bend(const char *text, const char *name, json_t *value)
{
    json_t *message = json_loads(text, 0, NULL);
    cr_assert(json_object_set_new(message, name, value) == 0);
    return message;
}

Test(activate_exchange, negative_vectors_end_the_clients_side)
{
    size_t i, seen = 0;
    json_t *negative, *all = vectors_load(VECTORS);
    json_array_foreach (json_object_get(all, "negative"), i, negative) {
        const char *kind = vector_text(negative, "kind");
        bool is_share = strcmp(kind, "share_s") == 0, is_tag = strcmp(kind, "ts") == 0;
        if (!is_share && !is_tag && strcmp(kind, "box_s2c") != 0)
            continue;
        struct trial trial;
        trial_open(&trial, vector_text(negative, "base"));
        trial_hello(&trial);
        vector_get(negative, is_share ? "ys" : is_tag ? "ts" : "box", &octets);
        char *encoded = base64url_format(octets.data, octets.size);
        json_t *bent = message_bend(
            vector_text(trial.wire, is_share ? "hello_reply" : "enroll_reply"),
            is_share ? "ys"
            : is_tag ? "ts"
                     : "grant",
            json_string(encoded));
        char *text = json_dumps(bent, 0);
        if (is_share) {
            cr_expect_eq(trial_reply(&trial, text), CA_MALFORMED);
        } else {
            cr_assert_eq(trial_reply(&trial, vector_text(trial.wire, "hello_reply")),
                         CA_OK);
            trial_enroll(&trial);
            cr_expect_eq(trial_answer(&trial, bent), CA_UNAUTHENTICATED, "%s",
                         vector_text(negative, "name"));
        }
        free(text);
        free(encoded);
        json_decref(bent);
        trial_close(&trial);
        seen++;
    }
    cr_assert_eq(seen, 4);
    json_decref(all);
}

Test(activate_exchange, a_reply_that_is_not_what_was_offered_ends_it)
{
    static const struct {
        const char *name, *json;
    } cases[] = {
        { "suite", "\"ecspeke-p256\"" },
        { "suite", "\"x\"" },
        { "suite", "null" },
        { "server", "\"uem2.example.com\"" },
        { "server", "\"UEM1.example.com\"" },
        { "v", "2" },
        { "kdf", "\"pbkdf2\"" },
        { "ln", "9" },
        { "ln", "18" },
        { "ln", "\"14\"" },
        { "ln", "4294967310" },
        { "r", "16" },
        { "p", "0" },
        { "p", "9" },
        { "salt", "\"AAAA\"" },
        { "salt", "\"D0ebBVZnPiIw4LQ-GBVyAQ==\"" },
        { "sn", "\"AAAA\"" },
        { "ys", "\"\"" },
        { "ttl", "0" },
        { "ttl", "\"120\"" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct trial trial;
        trial_open(&trial, "p521-basic");
        trial_hello(&trial);
        json_t *value = json_loads(cases[i].json, JSON_DECODE_ANY, NULL);
        json_t *bent =
            message_bend(vector_text(trial.wire, "hello_reply"), cases[i].name, value);
        char *text = json_dumps(bent, 0);
        cr_expect_eq(trial_reply(&trial, text), CA_MALFORMED, "%s %s", cases[i].name,
                     cases[i].json);
        free(text);
        json_decref(bent);
        trial_close(&trial);
    }
}
