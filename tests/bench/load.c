/* Enrols devices over SCEP from several threads, and judges every answer. Prints one
 * JSON object: rate, latencies, the server's CPU and memory. */
#include "load.h"
#include "scep_client.h"
#include <getopt.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct device {
    char challenge[LOAD_CHALLENGE_SIZE];
    EVP_PKEY *key;
    X509 *certificate; /* self-signed, of the message */
    uint8_t *message, *answer;
    size_t message_size, answer_size;
    double latency; /* seconds; 0: no answer with status 200 */
};

struct load {
    struct load_server server;
    const char *challenges, *primes, *serials;
    long first;
    X509 *ra, *issuer;
    struct device *devices;
    size_t count;
    atomic_size_t next;
    struct load_run run;
};

/* ---- What is ready before the first request ---- */

/* GetCACert: the RA has the RSA key, its issuer signed it and signs the devices. */
static void
certificates_fetch(struct load *load)
{
    static uint8_t answer[LOAD_ANSWER_MAX];
    size_t size = 0;
    load_must(load_get(&load->server, "operation=GetCACert", answer, &size),
              "GetCACert is not answered");
    const uint8_t *at = answer;
    PKCS7 *bundle = d2i_PKCS7(NULL, &at, (long)size);
    load_must(bundle && PKCS7_type_is_signed(bundle),
              "GetCACert brings no certificates");
    STACK_OF(X509) *all = bundle->d.sign->cert;
    for (int i = 0; i < sk_X509_num(all); i++) {
        X509 *one = sk_X509_value(all, i);
        if (EVP_PKEY_get_base_id(X509_get0_pubkey(one)) == EVP_PKEY_RSA && !load->ra)
            load->ra = X509_dup(one);
    }
    for (int i = 0; load->ra && i < sk_X509_num(all); i++) {
        X509 *one = sk_X509_value(all, i);
        if (X509_NAME_cmp(X509_get_subject_name(one), X509_get_issuer_name(load->ra)) ==
                0 &&
            X509_verify(load->ra, X509_get0_pubkey(one)) == 1 && !load->issuer)
            load->issuer = X509_dup(one);
    }
    PKCS7_free(bundle);
    load_must(load->issuer != NULL, "GetCACert brings no RA and its issuer");
}

/* One challenge a line. */
static void
challenges_read(struct load *load)
{
    char line[LOAD_CHALLENGE_SIZE + 2];
    size_t room = 0;
    FILE *file = fopen(load->challenges, "re");
    load_must(file != NULL, "the challenges cannot be read");
    while (fgets(line, sizeof line, file)) {
        if (load->count == room) {
            room = room ? room * 2 : 256;
            load->devices = reallocarray(load->devices, room, sizeof *load->devices);
            load_must(load->devices != NULL, "no memory for devices");
        }
        struct device *device = &load->devices[load->count++];
        *device = (struct device){ 0 };
        line[strcspn(line, "\n")] = '\0';
        load_must(strlen(line) < sizeof device->challenge, "a challenge is too long");
        strcpy(device->challenge, line);
    }
    fclose(file);
    load_must(load->count > 0, "there are no challenges");
}

static void
device_prepare(const struct load *load, const struct load_pool *pool, size_t index)
{
    struct device *device = &load->devices[index];
    char name[40];
    size_t number = (size_t)load->first + index, size = 0;
    snprintf(name, sizeof name, "device-%zu", number);
    device->key = load_key(pool, number);
    device->certificate = scep_self_signed(device->key, name, NULL);
    uint8_t *csr = scep_csr_build(&(struct scep_csr){ .key = device->key,
                                                      .cn = name,
                                                      .challenge = device->challenge },
                                  &size);
    load_must(device->certificate && csr, "a device's CSR is not made");
    device->message = scep_client_build(
        &(struct scep_client_request){ .key = device->key,
                                       .certificate = device->certificate,
                                       .recipient = load->ra,
                                       .transaction = name,
                                       .content = csr,
                                       .content_size = size },
        &device->message_size);
    load_must(device->message != NULL, "a device's message is not made");
    free(csr);
}

static void
devices_prepare(struct load *load)
{
    struct load_pool *pool = malloc(sizeof *pool);
    load_must(pool != NULL, "no memory for primes");
    load_pool_open(load->primes, pool);
    for (size_t i = 0; i < load->count; i++)
        device_prepare(load, pool, i);
    free(pool);
}

/* ---- The requests ---- */

static void *
worker(void *arg)
{
    struct load *load = arg;
    int connection = -1;
    uint8_t *answer = malloc(LOAD_ANSWER_MAX);
    load_must(answer != NULL, "no memory for answers");
    for (size_t i; (i = atomic_fetch_add(&load->next, 1)) < load->count;) {
        struct device *device = &load->devices[i];
        struct load_server server = load->server;
        size_t size = 0;
        double start = load_seconds();
        server.source += server.source ? (uint32_t)(load->first + (long)i) : 0;
        if (!load_post(&server, &connection, device->message, device->message_size,
                       answer, &size))
            continue;
        device->latency = load_seconds() - start;
        device->answer = malloc(size + 1);
        load_must(device->answer != NULL, "no memory for an answer");
        memcpy(device->answer, answer, size);
        device->answer_size = size;
    }
    if (connection >= 0)
        close(connection);
    free(answer);
    return NULL;
}

/* ---- The answers ---- */

/* SUCCESS with a certificate for the device's key that verifies with the issuer's. */
static const char *
answer_judge(const struct load *load, const struct device *device,
             struct scep_reply *reply)
{
    const char *wrong = scep_reply_read(device->answer, device->answer_size, load->ra,
                                        device->key, device->certificate, reply);
    if (wrong)
        return wrong;
    if (strcmp(reply->type, "3") != 0 || strcmp(reply->status, "0") != 0)
        return "not SUCCESS";
    if (!reply->certificate ||
        EVP_PKEY_eq(X509_get0_pubkey(reply->certificate), device->key) != 1)
        return "no certificate for this key";
    if (X509_verify(reply->certificate, X509_get0_pubkey(load->issuer)) != 1)
        return "the certificate does not verify";
    return NULL;
}

static int
text_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct verdict {
    size_t failed, doubled;
    char first[128]; /* what was wrong first */
};

/* Serials within this run; the file has them for a comparison over all runs. */
static void
serials_compare(const struct load *load, char **serials, size_t count,
                struct verdict *verdict)
{
    FILE *file = load->serials ? fopen(load->serials, "ae") : NULL;
    load_must(!load->serials || file, "the serials cannot be written");
    qsort(serials, count, sizeof *serials, text_compare);
    for (size_t i = 0; i < count; i++) {
        verdict->doubled += i > 0 && strcmp(serials[i], serials[i - 1]) == 0;
        if (file)
            fprintf(file, "%s\n", serials[i]);
    }
    load_must(!file || fclose(file) == 0, "the serials cannot be written");
}

static void
answers_judge(const struct load *load, struct verdict *verdict)
{
    char **serials = calloc(load->count, sizeof *serials);
    size_t count = 0;
    load_must(serials != NULL, "no memory for serials");
    for (size_t i = 0; i < load->count; i++) {
        const struct device *device = &load->devices[i];
        struct scep_reply reply = { 0 };
        const char *wrong = "no answer with status 200";
        if (device->latency > 0)
            wrong = answer_judge(load, device, &reply);
        if (wrong && verdict->failed++ == 0)
            snprintf(verdict->first, sizeof verdict->first, "device %zu: %s", i, wrong);
        BIGNUM *serial =
            wrong ? NULL
                  : ASN1_INTEGER_to_BN(X509_get0_serialNumber(reply.certificate), NULL);
        if (serial)
            serials[count++] = BN_bn2hex(serial);
        BN_free(serial);
        scep_reply_clear(&reply);
    }
    serials_compare(load, serials, count, verdict);
    for (size_t i = 0; i < count; i++)
        OPENSSL_free(serials[i]);
    free(serials);
}

static void
print(const struct load *load, const struct verdict *verdict)
{
    double *latencies = calloc(load->count, sizeof *latencies);
    load_must(latencies != NULL, "no memory for latencies");
    for (size_t i = 0; i < load->count; i++)
        latencies[i] = load->devices[i].latency;
    printf("{\"enrolments\": %zu, \"failed\": %zu, \"doubled\": %zu, ", load->count,
           verdict->failed, verdict->doubled);
    load_run_print(&load->run, load->count, latencies);
    printf("}\n");
    free(latencies);
    if (verdict->failed)
        fprintf(stderr, "load: %s\n", verdict->first);
}

static void
load_free(struct load *load)
{
    for (size_t i = 0; i < load->count; i++) {
        struct device *device = &load->devices[i];
        EVP_PKEY_free(device->key);
        X509_free(device->certificate);
        free(device->message);
        free(device->answer);
    }
    free(load->devices);
    X509_free(load->ra);
    X509_free(load->issuer);
}

static bool
options_parse(int argc, char **argv, struct load *load)
{
    static const struct option options[] = {
        { "port", required_argument, NULL, 'p' },
        { "path", required_argument, NULL, 'u' },
        { "challenges", required_argument, NULL, 'c' },
        { "primes", required_argument, NULL, 'q' },
        { "serials", required_argument, NULL, 's' },
        { "first", required_argument, NULL, 'f' },
        { "concurrency", required_argument, NULL, 'n' },
        { "pid", required_argument, NULL, 'i' },
        { "keep-alive", no_argument, NULL, 'k' },
        { "sources", no_argument, NULL, 'a' },
        { NULL, 0, NULL, 0 },
    };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'p': load->server.port = (uint16_t)strtoul(optarg, NULL, 10); break;
        case 'u': load->server.path = optarg; break;
        case 'c': load->challenges = optarg; break;
        case 'q': load->primes = optarg; break;
        case 's': load->serials = optarg; break;
        case 'f': load->first = strtol(optarg, NULL, 10); break;
        case 'n': load->run.concurrency = strtol(optarg, NULL, 10); break;
        case 'i': load->run.pid = strtol(optarg, NULL, 10); break;
        case 'k': load->server.keep_alive = true; break;
        case 'a': load->server.source = LOAD_SOURCES; break;
        default: return false;
        }
    }
    return optind == argc && load->server.port > 0 && load->challenges &&
           load->primes && load->first >= 0 && load_run_is_set(&load->run);
}

int
main(int argc, char **argv)
{
    struct load load = { .server = { .host = "127.0.0.1", .path = "/scep/default" },
                         .run.concurrency = 1 };
    struct verdict verdict = { 0 };
    load_must(options_parse(argc, argv, &load),
              "usage: load --port N --pid N --challenges FILE --primes FILE"
              " [--path /scep/NAME] [--serials FILE] [--first N] [--concurrency N]"
              " [--keep-alive] [--sources]");
    certificates_fetch(&load);
    challenges_read(&load);
    devices_prepare(&load);
    load_run(&load.run, worker, &load);
    answers_judge(&load, &verdict);
    print(&load, &verdict);
    load_free(&load);
    return verdict.failed || verdict.doubled ? 1 : 0;
}
