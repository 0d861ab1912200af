/* Activates devices by password, or says hello for names that nobody has, over TLS from
 * several threads and addresses, and judges every answer. Prints one JSON object. */
#include "activate_exchange.h"
#include "load.h"
#include <getopt.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define JSON_TYPE "application/json"
#define HELLO "/activation/v1/hello"
#define ENROLL "/activation/v1/enroll"
#define HELLOS_OF_A_SOURCE 10  /* of a flood, before it comes from the next address */
#define FIRST_OF_FLOOD 0x80000 /* its addresses are beyond those of devices */
#define STATUS_MAX 600

static volatile sig_atomic_t is_over; /* a flood goes on until SIGTERM */

static const char *const suites[EXCHANGE_SUITES + 1] = { "ecspeke-p521" };

struct person {
    char name[STRETCH_USER_MAX + 1];
    uint8_t prs[STRETCH_PRS_SIZE];
};

struct device {
    const struct person *person;
    EVP_PKEY *key;
    uint8_t *request; /* PKCS#10 */
    size_t request_size;
    struct exchange_client client;
    char *answer;   /* M4, judged when the clock has stopped */
    double latency; /* seconds */
};

struct load {
    const char *kind, *input, *name; /* name: by which the server knows itself */
    long first, count, rate, spread;
    struct load_tls server;
    struct person *people;
    size_t people_count;
    struct device *devices;
    atomic_size_t next, failed;
    atomic_long statuses[STATUS_MAX];
    struct load_run run;
};

/* ---- What is ready before the first request ---- */

/* Lines of a name and, in hexadecimal, its stretched password. */
static void
people_read(struct load *load)
{
    char name[STRETCH_USER_MAX + 1], hex[2 * STRETCH_PRS_SIZE + 1];
    FILE *file = fopen(load->input, "re");
    load_must(file != NULL, "the users cannot be read");
    while (fscanf(file, "%254s %64s", name, hex) == 2) {
        load->people =
            reallocarray(load->people, load->people_count + 1, sizeof *load->people);
        load_must(load->people != NULL, "no memory for users");
        struct person *person = &load->people[load->people_count++];
        size_t size = 0;
        snprintf(person->name, sizeof person->name, "%s", name);
        load_must(OPENSSL_hexstr2buf_ex(person->prs, sizeof person->prs, &size, hex,
                                        '\0') == 1 &&
                      size == sizeof person->prs,
                  "a stretched password has 32 octets");
    }
    fclose(file);
    load_must(load->people_count > 0, "there are no users");
}

static void
device_make(struct device *device, const struct person *person, const char *server)
{
    device->person = person;
    device->key = EVP_EC_gen("P-256");
    X509_REQ *request = X509_REQ_new();
    load_must(device->key && request &&
                  X509_REQ_set_pubkey(request, device->key) == 1 &&
                  X509_REQ_sign(request, device->key, EVP_sha256()) > 0,
              "no request of a device");
    int size = i2d_X509_REQ(request, &device->request);
    load_must(size > 0, "no request of a device");
    device->request_size = (size_t)size;
    X509_REQ_free(request);
    device->client = (struct exchange_client){ .suites = suites,
                                               .client = "bench/1",
                                               .sent = person->name,
                                               .ref = "",
                                               .server = server };
}

static void
devices_make(struct load *load)
{
    load->devices = calloc((size_t)load->count, sizeof *load->devices);
    load_must(load->devices != NULL, "no memory for devices");
    for (long i = 0; i < load->count; i++)
        device_make(&load->devices[i],
                    &load->people[(size_t)(load->first + i) % load->people_count],
                    load->name);
}

/* ---- One activation ---- */

/* Posts a message that it releases. */
static int
send_message(SSL *ssl, const char *path, json_t *message, char *answer)
{
    char *text = json_dumps(message, JSON_COMPACT);
    int status = text ? load_tls_post(ssl, path, JSON_TYPE, text, answer) : 0;
    free(text);
    json_decref(message);
    return status;
}

static bool
hello(SSL *ssl, struct device *device, char *answer)
{
    json_t *message = NULL, *reply = NULL;
    load_must(exchange_hello(&device->client, &message) == CA_OK, "no hello");
    bool done = send_message(ssl, HELLO, message, answer) == 200 &&
                (reply = json_loads(answer, 0, NULL)) != NULL &&
                exchange_reply(&device->client, reply, device->person->prs) == CA_OK;
    json_decref(reply);
    return done;
}

/* Hello and enroll on one connection, as the reference client makes it. */
static bool
activate(const struct load *load, size_t index, char *answer)
{
    struct device *device = &load->devices[index];
    struct load_tls server = load->server;
    json_t *message = NULL;
    server.source = LOAD_SOURCES + (uint32_t)load->first + (uint32_t)index;
    SSL *ssl = load_tls_connect(&server, NULL, NULL);
    bool done =
        ssl && hello(ssl, device, answer) &&
        exchange_enroll(&device->client,
                        (struct ca_bytes){ device->request, device->request_size },
                        &message) == CA_OK &&
        send_message(ssl, ENROLL, message, answer) == 200;
    load_tls_close(ssl);
    if (!done)
        fprintf(stderr, "activation_load: %s: %.200s\n", status_message(), answer);
    device->answer = done ? strdup(answer) : NULL;
    return device->answer != NULL;
}

/* ---- The flood ---- */

/* Waits for the moment at which hello `number` is due. */
static void
wait_due(const struct load *load, size_t number)
{
    double left =
        load->rate > 0
            ? load->run.start + (double)number / (double)load->rate - load_seconds()
            : 0;
    if (left > 0)
        usleep((useconds_t)(left * 1e6));
}

static char *
hello_unknown(size_t number)
{
    char name[64];
    struct exchange_client client = {
        .suites = suites, .client = "bench/1", .sent = name, .ref = "", .server = ""
    };
    json_t *message = NULL;
    snprintf(name, sizeof name, "nobody%zx@%lx", number, (long)getpid());
    load_must(exchange_hello(&client, &message) == CA_OK, "no hello");
    char *text = json_dumps(message, JSON_COMPACT);
    json_decref(message);
    load_must(text != NULL, "no memory for a hello");
    return text;
}

/* A connection of one address says as many hellos as an address may in a minute; with
 * one address for all it says them for as long as the server takes them. */
static void
flood(struct load *load, struct load_tls server, char *answer)
{
    SSL *ssl = NULL;
    for (int said = 0; !is_over; said++) {
        size_t number = atomic_fetch_add(&load->next, 1);
        wait_due(load, number);
        if (load->spread && said % HELLOS_OF_A_SOURCE == 0) {
            load_tls_close(ssl);
            ssl = NULL;
            server.source = LOAD_SOURCES + FIRST_OF_FLOOD + (uint32_t)load->first +
                            (uint32_t)(number / HELLOS_OF_A_SOURCE);
        }
        char *text = hello_unknown(number);
        if (!ssl)
            ssl = load_tls_connect(&server, NULL, NULL);
        int status = ssl ? load_tls_post(ssl, HELLO, JSON_TYPE, text, answer) : 0;
        free(text);
        atomic_fetch_add(&load->statuses[status < STATUS_MAX ? status : 0], 1);
        if (status == 0 || strstr(answer, "source is over")) {
            load_tls_close(ssl);
            ssl = NULL;
        }
    }
    load_tls_close(ssl);
}

/* ---- Threads ---- */

static void
end_note(int signal)
{
    (void)signal;
    is_over = 1;
}

static void *
worker(void *arg)
{
    struct load *load = arg;
    char *answer = calloc(1, LOAD_ANSWER_MAX);
    load_must(answer != NULL, "no memory for answers");
    if (strcmp(load->kind, "flood") == 0) {
        struct load_tls server = load->server;
        server.source = LOAD_SOURCES + FIRST_OF_FLOOD;
        flood(load, server, answer);
        free(answer);
        return NULL;
    }
    for (size_t i; (i = atomic_fetch_add(&load->next, 1)) < (size_t)load->count;) {
        double start = load_seconds();
        if (!activate(load, i, answer))
            atomic_fetch_add(&load->failed, 1);
        load->devices[i].latency = load_seconds() - start;
    }
    free(answer);
    return NULL;
}

/* ---- Afterwards ---- */

/* The server knows the password, and the certificate is for the device's own key. */
static bool
answer_holds(const struct device *device)
{
    json_t *answer = json_loads(device->answer, 0, NULL), *content = NULL;
    uint8_t *der = NULL;
    size_t size = 0;
    bool holds = exchange_answer(&device->client, answer, &content) == CA_OK &&
                 exchange_octets(content, "cert", &der, &size) == CA_OK;
    const uint8_t *at = der;
    X509 *certificate = holds ? d2i_X509(NULL, &at, (long)size) : NULL;
    holds = certificate && at == der + size &&
            EVP_PKEY_eq(X509_get0_pubkey(certificate), device->key) == 1;
    X509_free(certificate);
    free(der);
    json_decref(content);
    json_decref(answer);
    return holds;
}

static void
devices_judge(struct load *load)
{
    for (long i = 0; i < load->count; i++) {
        struct device *device = &load->devices[i];
        if (device->answer && !answer_holds(device))
            atomic_fetch_add(&load->failed, 1);
        exchange_client_clear(&device->client);
        EVP_PKEY_free(device->key);
        OPENSSL_free(device->request);
        free(device->answer);
    }
}

static void
print(struct load *load)
{
    double *latencies = NULL;
    if (load->devices) {
        latencies = calloc((size_t)load->count, sizeof *latencies);
        load_must(latencies != NULL, "no memory for latencies");
        for (long i = 0; i < load->count; i++)
            latencies[i] = load->devices[i].latency;
    }
    printf("{\"failed\": %zu, ", atomic_load(&load->failed));
    load_run_print(&load->run, (size_t)load->count, latencies);
    free(latencies);
    printf(", \"statuses\": {");
    const char *comma = "";
    for (int i = 0; i < STATUS_MAX; i++) {
        long times = atomic_load(&load->statuses[i]);
        if (times > 0)
            printf("%s\"%d\": %ld", comma, i, times);
        if (times > 0)
            comma = ", ";
    }
    printf("}}\n");
}

static bool
options_parse(int argc, char **argv, struct load *load)
{
    static const struct option options[] = {
        { "kind", required_argument, NULL, 't' },
        { "port", required_argument, NULL, 'p' },
        { "pid", required_argument, NULL, 'i' },
        { "users", required_argument, NULL, 'u' },
        { "name", required_argument, NULL, 's' },
        { "first", required_argument, NULL, 'f' },
        { "count", required_argument, NULL, 'a' },
        { "rate", required_argument, NULL, 'r' },
        { "spread", no_argument, NULL, 'd' },
        { "concurrency", required_argument, NULL, 'n' },
        { NULL, 0, NULL, 0 },
    };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 't': load->kind = optarg; break;
        case 'p': load->server.port = (uint16_t)strtoul(optarg, NULL, 10); break;
        case 'i': load->run.pid = strtol(optarg, NULL, 10); break;
        case 'u': load->input = optarg; break;
        case 's': load->name = optarg; break;
        case 'f': load->first = strtol(optarg, NULL, 10); break;
        case 'a': load->count = strtol(optarg, NULL, 10); break;
        case 'r': load->rate = strtol(optarg, NULL, 10); break;
        case 'd': load->spread = 1; break;
        case 'n': load->run.concurrency = strtol(optarg, NULL, 10); break;
        default: return false;
        }
    }
    return optind == argc && load->kind && load->server.port > 0 &&
           load_run_is_set(&load->run) &&
           (strcmp(load->kind, "flood") == 0 ||
            (load->input && load->name && load->count > 0));
}

int
main(int argc, char **argv)
{
    struct load load = { .run.concurrency = 1 };
    load_must(
        options_parse(argc, argv, &load),
        "usage: activation_load --kind activate|flood --port N --pid N"
        " [--count N --users FILE --name SERVER] [--first N] [--rate N] [--spread]"
        " [--concurrency N]");
    load.server.context = SSL_CTX_new(TLS_client_method());
    load_must(load.server.context != NULL, "no TLS");
    if (load.input) {
        people_read(&load);
        devices_make(&load);
    }
    signal(SIGTERM, end_note);
    signal(SIGPIPE, SIG_IGN);
    load_run(&load.run, worker, &load);
    if (strcmp(load.kind, "flood") == 0)
        load.count = (long)atomic_load(&load.next);
    if (load.devices)
        devices_judge(&load);
    print(&load);
    free(load.devices);
    free(load.people);
    SSL_CTX_free(load.server.context);
    return atomic_load(&load.failed) ? 1 : 0;
}
