/* Private operations of 32 threads with a slow token: by bare PKCS#11 calls, and
 * through the token layer. Prints one JSON object.
 *
 *   latency --uri URI --pin FILE --ms N [--layer] [--enrol] [--threads N] [--seconds N]
 *
 * The fault module adds N ms to each private operation and allows 32 sessions. --enrol:
 * an enrolment's three operations (RSA decryption, P-256 and RSA signature) instead of
 * one P-256 signature. Uses the issuing and RA keys of a data folder's token. */
#include "auto.h"
#include "clock.h"
#include "fault.h"
#include "log.h"
#include "token.h"
#include <dlfcn.h>
#include <getopt.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 256
#define SESSIONS 32
#define RSA_SIZE 256
#define PIN_MAX 256

struct bench {
    const char *uri, *pin_file;
    int ms, threads;
    int64_t seconds;
    bool is_layer, is_enrol;

    /* bare calls */
    CK_FUNCTION_LIST *functions;
    CK_SLOT_ID slot;
    CK_OBJECT_HANDLE ec, rsa;
    /* the token layer */
    struct token_set *set;
    struct token_key *issuing, *ra;
};

static struct bench bench = { .ms = 5, .threads = 32, .seconds = 4 };
static atomic_bool ends;
static atomic_int_fast64_t rounds;

static void
must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "latency: %s: %s\n", what, status_message());
    _exit(1);
}

/* ---- Bare calls ---- */

static CK_OBJECT_HANDLE
object_find(CK_SESSION_HANDLE session, CK_KEY_TYPE type, CK_ATTRIBUTE_TYPE use)
{
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof class },
                                { CKA_KEY_TYPE, &type, sizeof type },
                                { CKA_SIGN, &yes, sizeof yes },
                                { use, &yes, sizeof yes } };
    CK_OBJECT_HANDLE object = 0;
    CK_ULONG count = 0;
    must(bench.functions->C_FindObjectsInit(session, template, 4) == CKR_OK &&
             bench.functions->C_FindObjects(session, &object, 1, &count) == CKR_OK &&
             bench.functions->C_FindObjectsFinal(session) == CKR_OK && count == 1,
         "no key");
    return object;
}

static void
bare_open(void)
{
    CK_C_INITIALIZE_ARGS arguments = { .flags = CKF_OS_LOCKING_OK };
    CK_C_GetFunctionList get = NULL;
    CK_SLOT_ID slots[8];
    CK_ULONG count = 8;
    CK_SESSION_HANDLE session = 0;
    CK_UTF8CHAR pin[PIN_MAX];
    CA_AUTO(fclose) FILE *file = fopen(bench.pin_file, "re");
    size_t size = file ? fread(pin, 1, sizeof pin, file) : 0;
    while (size > 0 && pin[size - 1] == '\n')
        size--;
    *(void **)&get = dlsym(dlopen(fault_path(), RTLD_NOW), "C_GetFunctionList");
    must(size > 0 && get && get(&bench.functions) == CKR_OK, "the module");
    must(bench.functions->C_Initialize(&arguments) == CKR_OK &&
             bench.functions->C_GetSlotList(CK_TRUE, slots, &count) == CKR_OK,
         "the slots");
    bench.slot = slots[0];
    must(bench.functions->C_OpenSession(bench.slot, CKF_SERIAL_SESSION, NULL, NULL,
                                        &session) == CKR_OK &&
             bench.functions->C_Login(session, CKU_USER, pin, size) == CKR_OK,
         "the login");
    bench.ec = object_find(session, CKK_EC, CKA_SIGN);
    if (bench.is_enrol)
        bench.rsa = object_find(session, CKK_RSA, CKA_DECRYPT);
}

static void
bare_sign(CK_SESSION_HANDLE session, CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE key,
          CK_ULONG size)
{
    CK_MECHANISM mechanism = { type, NULL, 0 };
    CK_BYTE block[51] = { 1 }, signature[RSA_SIZE];
    CK_ULONG signature_size = sizeof signature;
    must(bench.functions->C_SignInit(session, &mechanism, key) == CKR_OK &&
             bench.functions->C_Sign(session, block, size, signature,
                                     &signature_size) == CKR_OK,
         "C_Sign");
}

/* A block that is no ciphertext costs the same as one that is. */
static void
bare_decrypt(CK_SESSION_HANDLE session)
{
    CK_MECHANISM mechanism = { CKM_RSA_PKCS, NULL, 0 };
    CK_BYTE block[RSA_SIZE] = { 0, 3, 7 }, text[RSA_SIZE];
    CK_ULONG size = sizeof text;
    must(bench.functions->C_DecryptInit(session, &mechanism, bench.rsa) == CKR_OK,
         "C_DecryptInit");
    (void)bench.functions->C_Decrypt(session, block, sizeof block, text, &size);
}

static void *
bare_run(void *argument)
{
    CK_SESSION_HANDLE session = 0;
    (void)argument;
    must(bench.functions->C_OpenSession(bench.slot, CKF_SERIAL_SESSION, NULL, NULL,
                                        &session) == CKR_OK,
         "a session");
    while (!atomic_load(&ends)) {
        if (bench.is_enrol)
            bare_decrypt(session);
        bare_sign(session, CKM_ECDSA, bench.ec, 32);
        if (bench.is_enrol)
            bare_sign(session, CKM_RSA_PKCS, bench.rsa, 51);
        atomic_fetch_add(&rounds, 1);
    }
    return NULL;
}

/* ---- The token layer ---- */

static void
layer_open(void)
{
    static const char *const waivers[] = { "software", "sign_and_decrypt", NULL };
    char source[512], uri[512];
    snprintf(source, sizeof source, "file:%s", bench.pin_file);
    const struct token_config config = { .name = "hsm",
                                         .module = fault_path(),
                                         .uri = bench.uri,
                                         .pin_source = source,
                                         .permits = SESSIONS,
                                         .waivers = waivers };
    must(token_set_open(&config, 1, &bench.set) == CA_OK, "the token");
    snprintf(uri, sizeof uri, "%s;object=%s", bench.uri, getenv("LATENCY_ISSUING"));
    must(token_key_find(bench.set, uri, TOKEN_USE_SIGN, NULL, &bench.issuing) == CA_OK,
         "the issuing key");
    snprintf(uri, sizeof uri, "%s;object=%s", bench.uri, getenv("LATENCY_RA"));
    if (bench.is_enrol)
        must(token_key_find(bench.set, uri, TOKEN_USE_SIGN | TOKEN_USE_DECRYPT, NULL,
                            &bench.ra) == CA_OK,
             "the RA key");
}

static void
layer_sign(struct token_key *key)
{
    static const uint8_t tbs[64] = "a certificate";
    uint8_t signature[1024];
    size_t size = 0;
    must(token_sign(key, EVP_sha256(), tbs, sizeof tbs, signature, sizeof signature,
                    &size) == CA_OK,
         "token_sign");
}

static void *
layer_run(void *argument)
{
    static const uint8_t block[RSA_SIZE] = { 0, 3, 7 };
    uint8_t text[16];
    (void)argument;
    while (!atomic_load(&ends)) {
        if (bench.is_enrol)
            must(token_decrypt_key(bench.ra, false, block, sizeof block, text,
                                   sizeof text) == CA_OK,
                 "token_decrypt_key");
        layer_sign(bench.issuing);
        if (bench.is_enrol)
            layer_sign(bench.ra);
        atomic_fetch_add(&rounds, 1);
    }
    return NULL;
}

/* ---- The program ---- */

static double
cpu_seconds(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

static void
faults_set(void)
{
    static const char *const functions[] = { "C_Sign", "C_Decrypt" };
    char command[64];
    for (size_t i = 0; i < 2 && bench.ms > 0; i++) {
        snprintf(command, sizeof command, "%s:sleep:%d", functions[i], bench.ms);
        must(fault_command(command), command);
    }
}

static void
options_read(int argc, char **argv)
{
    static const struct option options[] = {
        { "uri", required_argument, NULL, 'u' },
        { "pin", required_argument, NULL, 'p' },
        { "ms", required_argument, NULL, 'm' },
        { "threads", required_argument, NULL, 't' },
        { "seconds", required_argument, NULL, 's' },
        { "layer", no_argument, NULL, 'l' },
        { "enrol", no_argument, NULL, 'e' },
        { NULL, 0, NULL, 0 },
    };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'u': bench.uri = optarg; break;
        case 'p': bench.pin_file = optarg; break;
        case 'm': bench.ms = atoi(optarg); break;
        case 't': bench.threads = atoi(optarg); break;
        case 's': bench.seconds = atoi(optarg); break;
        case 'l': bench.is_layer = true; break;
        case 'e': bench.is_enrol = true; break;
        default: exit(2);
        }
    }
    must(bench.uri && bench.pin_file && bench.threads > 0 &&
             bench.threads <= THREADS_MAX,
         "usage: latency --uri URI --pin FILE --ms N ...");
}

int
main(int argc, char **argv)
{
    static pthread_t threads[THREADS_MAX];
    log_open(NULL, LOG_LEVEL_ERROR);
    options_read(argc, argv);
    if (bench.is_layer) {
        fault_command("sessions:32");
        layer_open();
    } else {
        bare_open();
    }
    faults_set();
    for (int i = 0; i < bench.threads; i++)
        must(pthread_create(&threads[i], NULL, bench.is_layer ? layer_run : bare_run,
                            NULL) == 0,
             "threads");
    usleep(500000);
    int64_t before = atomic_load(&rounds), start = clock_ticks();
    double cpu = cpu_seconds();
    usleep((useconds_t)bench.seconds * 1000000);
    int64_t done = atomic_load(&rounds) - before, took = clock_ticks() - start;
    cpu = cpu_seconds() - cpu;
    atomic_store(&ends, true);
    for (int i = 0; i < bench.threads; i++)
        pthread_join(threads[i], NULL);
    printf("{\"per_second\": %.1f, \"cpu_us\": %.1f}\n",
           (double)done * 1000 / (double)took, cpu * 1e6 / (double)(done ? done : 1));
    if (bench.set)
        token_set_free(bench.set);
    return 0;
}
