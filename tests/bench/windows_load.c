/* Enrols Windows devices and lets them poll, over TLS from several threads, and judges
 * every answer. Prints one JSON object like load. */
#include "windows_load.h"
#include "load.h"
#include <getopt.h>
#include <openssl/pem.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS_MAX 16 /* messages of a session */

struct load {
    const char *kind, *input, *messages, *primes, *keep;
    long first, count, rows;
    struct load_tls server;
    struct windows_device *devices;
    size_t device_count;
    atomic_size_t next, failed;
    double *latencies;
    struct load_run run;
};

/* Status 200 and its body. */
static bool
post(SSL *ssl, const char *path, const char *type, const char *body,
     char ret_answer[LOAD_ANSWER_MAX])
{
    return load_tls_post(ssl, path, type, body, ret_answer) == 200;
}

/* ---- One of each kind ---- */

/* Two connections, as they cannot be one: Discover goes to the mail domain's name
 * before the user logs in, policies and request to the enrolment server after that. */
static bool
enrol(const struct load *load, struct windows_device *device, char *answer)
{
    SSL *ssl = load_tls_connect(&load->server, NULL, NULL);
    bool done = ssl &&
                post(ssl, WINDOWS_DISCOVERY, WINDOWS_SOAP, device->discover, answer) &&
                strstr(answer, "EnrollmentServiceUrl");
    load_tls_close(ssl);
    ssl = done ? load_tls_connect(&load->server, NULL, NULL) : NULL;
    done = ssl && post(ssl, WINDOWS_POLICY, WINDOWS_SOAP, device->policies, answer) &&
           strstr(answer, "minimalKeyLength") &&
           post(ssl, WINDOWS_ENROLMENT, WINDOWS_SOAP, device->request, answer);
    load_tls_close(ssl);
    if (done)
        device->answer = strdup(answer); /* judged when the clock has stopped */
    return done && device->answer;
}

/* Package 1, then 404 to whatever the server asks for, to the session's end. */
static bool
session(const struct load *load, const struct windows_device *device, size_t number,
        char *answer)
{
    SSL *ssl = load_tls_connect(&load->server, device->certificate, device->key);
    bool is_over = false, is_good = ssl != NULL;
    char *said = is_good ? windows_package_1(device, number) : NULL;
    for (int i = 0; is_good && !is_over && i < ROUNDS_MAX; i++) {
        is_good = post(ssl, WINDOWS_MANAGEMENT, WINDOWS_SYNCML, said, answer) &&
                  windows_is_accepted(answer);
        free(said);
        said = is_good ? windows_package_3(device, number, i + 2, answer) : NULL;
        is_over = is_good && !said;
    }
    free(said);
    load_tls_close(ssl);
    return is_good && is_over;
}

static bool
fixed(const struct load *load, const struct windows_device *device, size_t number,
      char *answer)
{
    char path[32];
    SSL *ssl = load_tls_connect(&load->server, device->certificate, device->key);
    char *said = windows_package_1(device, number);
    snprintf(path, sizeof path, "/fixed?rows=%ld", load->rows);
    bool done = ssl && post(ssl, path, WINDOWS_SYNCML, said, answer);
    free(said);
    load_tls_close(ssl);
    return done;
}

static void *
worker(void *arg)
{
    struct load *load = arg;
    char *answer = malloc(LOAD_ANSWER_MAX);
    load_must(answer != NULL, "no memory for answers");
    for (size_t i; (i = atomic_fetch_add(&load->next, 1)) < (size_t)load->count;) {
        struct windows_device *device = &load->devices[i % load->device_count];
        size_t number = (size_t)load->first + i;
        double start = load_seconds();
        bool done = strcmp(load->kind, "enrol") == 0 ? enrol(load, device, answer)
                    : strcmp(load->kind, "fixed") == 0
                        ? fixed(load, device, number, answer)
                        : session(load, device, number, answer);
        load->latencies[i] = load_seconds() - start;
        if (!done)
            atomic_fetch_add(&load->failed, 1);
    }
    free(answer);
    return NULL;
}

/* ---- Before and after ---- */

static void
devices_open(struct load *load)
{
    if (strcmp(load->kind, "enrol") == 0) {
        struct load_pool *pool = malloc(sizeof *pool);
        load_must(pool != NULL, "no memory for primes");
        load_pool_open(load->primes, pool);
        load->devices = windows_prepare(load->input, load->messages, pool,
                                        (size_t)load->first, &load->device_count);
        load->count = (long)load->device_count;
        free(pool);
    } else if (strcmp(load->kind, "accounts") == 0) {
        load->devices = windows_accounts(load->input, &load->device_count);
    } else {
        load->devices = windows_load(load->input, &load->device_count);
    }
    if (load->count == 0)
        load->count = (long)load->device_count;
    load_must(load->count > 0, "there are no devices");
    load->latencies = calloc((size_t)load->count, sizeof *load->latencies);
    load_must(load->latencies != NULL, "no memory for latencies");
}

/* Each with a certificate of its own key, or it has failed. */
static void
enrolments_judge(struct load *load)
{
    FILE *file = load->keep ? fopen(load->keep, "ae") : NULL;
    for (size_t i = 0; i < load->device_count; i++) {
        struct windows_device *device = &load->devices[i];
        if (!device->answer)
            continue;
        if (!windows_apply(device))
            atomic_fetch_add(&load->failed, 1);
        else if (file)
            windows_keep(device, file);
    }
    load_must(!load->keep || (file && fclose(file) == 0), "devices cannot be kept");
}

static void
print(const struct load *load)
{
    printf("{\"failed\": %zu, ", atomic_load(&load->failed));
    load_run_print(&load->run, (size_t)load->count, load->latencies);
    printf("}\n");
}

static bool
options_parse(int argc, char **argv, struct load *load)
{
    static const struct option options[] = {
        { "kind", required_argument, NULL, 't' },
        { "port", required_argument, NULL, 'p' },
        { "pid", required_argument, NULL, 'i' },
        { "input", required_argument, NULL, 'c' },
        { "messages", required_argument, NULL, 'm' },
        { "primes", required_argument, NULL, 'q' },
        { "keep", required_argument, NULL, 'k' },
        { "first", required_argument, NULL, 'f' },
        { "count", required_argument, NULL, 'a' },
        { "rows", required_argument, NULL, 'r' },
        { "concurrency", required_argument, NULL, 'n' },
        { NULL, 0, NULL, 0 },
    };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 't': load->kind = optarg; break;
        case 'p': load->server.port = (uint16_t)strtoul(optarg, NULL, 10); break;
        case 'i': load->run.pid = strtol(optarg, NULL, 10); break;
        case 'c': load->input = optarg; break;
        case 'm': load->messages = optarg; break;
        case 'q': load->primes = optarg; break;
        case 'k': load->keep = optarg; break;
        case 'f': load->first = strtol(optarg, NULL, 10); break;
        case 'a': load->count = strtol(optarg, NULL, 10); break;
        case 'r': load->rows = strtol(optarg, NULL, 10); break;
        case 'n': load->run.concurrency = strtol(optarg, NULL, 10); break;
        default: return false;
        }
    }
    return optind == argc && load->kind && load->server.port > 0 && load->input &&
           load_run_is_set(&load->run);
}

int
main(int argc, char **argv)
{
    struct load load = { .run.concurrency = 1 };
    load_must(
        options_parse(argc, argv, &load),
        "usage: windows_load --kind enrol|sessions|accounts|fixed --port N --pid N"
        " --input FILE [--messages DIR --primes FILE] [--keep FILE] [--first N]"
        " [--count N] [--rows N] [--concurrency N]");
    load.server.context = SSL_CTX_new(TLS_client_method());
    load_must(load.server.context != NULL, "no TLS");
    devices_open(&load);
    load_run(&load.run, worker, &load);
    if (strcmp(load.kind, "enrol") == 0)
        enrolments_judge(&load);
    print(&load);
    windows_free(load.devices, load.device_count);
    free(load.latencies);
    SSL_CTX_free(load.server.context);
    return atomic_load(&load.failed) ? 1 : 0;
}
