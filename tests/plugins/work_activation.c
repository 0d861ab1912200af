/* A program for check_work.py: under callgrind it says hello, and enrols with a wrong
 * password, for names that somebody has and that nobody has, and dumps what each cost.
 * Prints what was answered, one line a call. */
#include "activate.h"
#include "activation.h"
#include "auto.h"
#include "house.h"
#include "plugin.h"
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <openssl/ec.h>
#include <openssl/rand.h>
#include <valgrind/callgrind.h>

#define ROUNDS 8
#define WARM_ROUNDS 3
#define SHARE_SIZE 133
#define CONTROL "control" /* does a little more, and must be reported */
#define CONTROL_LOOPS 20000

static const struct ca_plugin *plugin;
static struct house house;
static void *state;

static const char certificate_profile[] =
    "{\"name\": \"activation\", \"settings\": {\"issuer\": \"issuing\","
    " \"validity\": \"P30D\", \"subject\": \"CN={{user.name}}\","
    " \"extended_key_usage\": [\"client_auth\"], \"protocols\": [\"activation\"],"
    " \"ocsp\": false}}";
static const char activation_profile[] =
    "{\"name\": \"default\", \"settings\": {\"certificate\": \"activation\"}}";

/* Whose names are asked for; all of one length, so that answers can be. */
static const struct {
    const char *label, *name;
    bool has_password;
    const char *change; /* of the store afterwards */
} people[] = {
    { "live", "user-a", true, NULL },
    { "unknown", "nobody", false, NULL },
    { "without", "user-b", false, NULL },
    { "disabled", "user-c", true, "UPDATE users SET state = 1 WHERE name = 'user-c'" },
    { "expired", "user-d", true,
      "UPDATE activation SET expires = 1 WHERE user_name = 'user-d'" },
    { "locked", "user-e", true,
      "UPDATE activation SET tries = 0 WHERE user_name = 'user-e'" },
    { CONTROL, "user-f", false, NULL },
};
#define PEOPLE (sizeof people / sizeof *people)

static void
person_make(size_t index)
{
    struct activate_made made;
    if (strcmp(people[index].label, "unknown") == 0)
        return;
    house_user(&house, people[index].name);
    house_run(&house, "UPDATE users SET email = NULL"); /* it is the same for all */
    if (people[index].has_password) {
        const struct activate_wanted wanted = { .user = people[index].name,
                                                .lockout = -1,
                                                .cause = { "admin:a", "api", "" } };
        cr_assert_eq(activate_make(house.service, &wanted, &made), CA_OK);
        activate_made_clear(&made);
    }
    if (people[index].change)
        house_run(&house, people[index].change);
}

static void
build(void)
{
    house_build(&house);
    cr_assert_eq(
        vault_create(house.service->store, house.service->tokens,
                     &(struct vault_wanted){ "hsm", VAULT_TOKEN, VAULT_METHOD_ANY }),
        CA_OK);
    house_profile(&house, PROFILE_CERTIFICATE, certificate_profile);
    house_profile(&house, PROFILE_ACTIVATION, activation_profile);
    cr_assert_eq(service_open_vault(house.service), CA_OK);
    struct config_activation *limits = &house.service->config.activation;
    limits->hellos_per_source = limits->hellos_per_name = 100000;
    limits->hellos_per_second = limits->open_per_source = 100000;
    limits->failures_per_name = 100000;
    for (size_t i = 0; i < PEOPLE; i++)
        person_make(i);
    json_t *settings = json_object();
    cr_assert_eq(plugin->init(settings, &state), CA_OK);
    json_decref(settings);
}

/* ---- One call ---- */

static ca_handler
handler_of(const char *path)
{
    const struct ca_route *route = plugin->routes;
    while (route->path && strcmp(route->path, path) != 0)
        route++;
    cr_assert_not_null(route->path);
    return route->handle;
}

/* What a careless look at a name might cost. */
static void
loiter(void)
{
    for (volatile int i = 0; i < CONTROL_LOOPS; i++)
        continue;
}

/* Posts a message that it releases; the answer's body, to be freed, and its status. */
static char *
call(const char *path, json_t *message, const char *dump, int *ret_status)
{
    ca_handler handle = handler_of(path);
    struct exchange exchange;
    char *body = json_dumps(message, JSON_COMPACT);
    cr_assert_not_null(body);
    json_decref(message);
    house_exchange(&house, &exchange);
    exchange.plugin = "activation";
    exchange.request.path = path;
    exchange.request.content_type = "application/json";
    exchange.request.body = (struct ca_bytes){ (const uint8_t *)body, strlen(body) };
    if (dump)
        CALLGRIND_ZERO_STATS; /* of all threads: the store's writer is one */
    handle(state, &exchange.request);
    if (dump && strstr(dump, CONTROL))
        loiter();
    if (dump) {
        CALLGRIND_DUMP_STATS_AT(dump);
        printf("%s %d %zu\n", dump, exchange.answer.status, exchange.answer.size);
    }
    *ret_status = exchange.answer.status;
    char *answer = strndup((const char *)exchange.answer.body, exchange.answer.size);
    exchange_clear(&exchange);
    free(body);
    return answer;
}

static json_t *
octets_text(const uint8_t *octets, size_t size)
{
    CA_AUTO(free) char *text = base64url_format(octets, size);
    return json_string(text);
}

static json_t *
say_hello(size_t person, const char *dump)
{
    uint8_t cn[16];
    int status = 0;
    RAND_bytes(cn, sizeof cn);
    char *answer =
        call("/activation/v1/hello",
             json_pack("{s:i, s:[s], s:s, s:s, s:o, s:s}", "v", 1, "suites",
                       "ecspeke-p521", "user", people[person].name, "ref", "", "cn",
                       octets_text(cn, sizeof cn), "client", "work/1"),
             dump, &status);
    cr_assert_eq(status, 200);
    json_t *reply = json_loads(answer, 0, NULL);
    cr_assert_not_null(reply);
    free(answer);
    return reply;
}

/* A share that is good, and a tag that is not: the password is wrong. */
static void
enroll_wrongly(size_t person, const char *dump)
{
    static const uint8_t box[320] = { 1 };
    uint8_t share[SHARE_SIZE], tag[32] = { 2 };
    int status = 0;
    size_t size = 0;
    EVP_PKEY *key = EVP_EC_gen("P-521");
    cr_assert_eq(
        EVP_PKEY_get_octet_string_param(key, "pub", share, sizeof share, &size), 1);
    EVP_PKEY_free(key);
    json_t *reply = say_hello(person, NULL);
    json_t *message = json_pack(
        "{s:i, s:O, s:o, s:o, s:o}", "v", 1, "sn", json_object_get(reply, "sn"), "yc",
        octets_text(share, sizeof share), "tc", octets_text(tag, sizeof tag), "csr",
        octets_text(box, sizeof box));
    json_decref(reply);
    free(call("/activation/v1/enroll", message, dump, &status));
    cr_assert_eq(status, 403);
    /* The next round finds as many tries as this one. */
    house_run(&house, "UPDATE activation SET tries = 5, failures = 0, next_try = 0 "
                      "WHERE user_name = 'user-a'");
}

int
main(int argc, char **argv)
{
    char dump[64];
    void *module = argc == 2 ? dlopen(argv[1], RTLD_NOW) : NULL;
    plugin = module ? dlsym(module, "ca_plugin") : NULL;
    cr_assert_not_null(plugin);
    build();
    for (int round = -WARM_ROUNDS; round < ROUNDS; round++) {
        if (round == 0)
            CALLGRIND_START_INSTRUMENTATION;
        for (size_t i = 0; i < PEOPLE; i++) {
            snprintf(dump, sizeof dump, "hello %s", people[i].label);
            json_decref(say_hello(i, round < 0 ? NULL : dump));
            snprintf(dump, sizeof dump, "enroll %s", people[i].label);
            enroll_wrongly(i, round < 0 ? NULL : dump);
        }
    }
    plugin->fini(state);
    house_remove(&house);
    return 0;
}
