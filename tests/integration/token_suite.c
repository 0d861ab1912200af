/* The same questions to any PKCS#11 token: does it find, sign, decrypt, refuse and come
 * back as the token layer promises? A plain program over the fault module, which stands
 * before the library that SEALWRIGHT_FAULT_MODULE names.
 *
 *   token_suite --uri URI --pin-source file:PATH [--arguments TEXT] [--waive NAME]...
 *       [--keys ec,rsa,decrypt] [--sign URI] [--decrypt URI]
 *       [--soak SECONDS] [--permits N] [--outside] [--exit-when-stuck]
 *
 * Generates the keys of --keys, or takes those that --sign and --decrypt name. With
 * --outside the soak leaves faults to whoever started it: it says "soaking", and what
 * came of it at the end. One line "ok STEP" for each step that holds; the first that
 * does not ends the program with 1. */
#include "auto.h"
#include "clock.h"
#include "fault.h"
#include "keygen.h"
#include "log.h"
#include "token.h"
#include <dirent.h>
#include <getopt.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define SIGNERS 8
#define WAIVERS_MAX 8
#define KEYS_MAX 4
#define FAULT_PAUSE_MS 150

/* libp11 0.4.12 itself loses a slot's description when the slot fails while it is
 * listed. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *
__lsan_default_suppressions(void)
{
    return "leak:libp11.so\nleak:libsoftokn3.so\nleak:libnss\nleak:libtpm2\n"
           "leak:p11-kit\nleak:libtss2\nleak:libglib\n";
}

struct suite {
    struct token_config config;
    const char *waivers[WAIVERS_MAX + 1];
    size_t waiver_count;
    const char *kinds, *sign_uri, *decrypt_uri;
    int64_t soak;
    bool is_outside;
    struct token_set *set;
    struct token_key *sign[KEYS_MAX], *decrypt;
    size_t sign_count;
};

static const uint8_t message[] = "to be signed";
static const uint8_t content[16] = "a content key..";

static void
must(bool holds, const char *step)
{
    if (holds)
        return;
    printf("NOT ok %s: %s\n", step, status_message());
    fflush(stdout);
    _exit(1);
}

static void
passed(const char *step)
{
    printf("ok %s\n", step);
    fflush(stdout);
}

static struct token_health
health(const struct suite *suite)
{
    struct token_health health;
    token_health(suite->set, 0, &health);
    return health;
}

static bool
verifies(struct token_key *key, const EVP_MD *digest, const uint8_t *data, size_t size,
         const uint8_t *signature, size_t signature_size)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *pkey = token_key_pkey(key);
    CA_AUTO(EVP_MD_CTX_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
    return EVP_DigestVerifyInit(context, NULL, digest, NULL, pkey) == 1 &&
           EVP_DigestVerify(context, signature, signature_size, data, size) == 1;
}

static bool
signs(struct token_key *key, const EVP_MD *digest)
{
    uint8_t signature[1024];
    size_t size = 0;
    return token_sign(key, digest, message, sizeof message, signature, sizeof signature,
                      &size) == CA_OK &&
           verifies(key, digest, message, sizeof message, signature, size);
}

/* ---- The steps ---- */

static struct token_key *
key_made(struct suite *suite, const char *label, const char *algorithm, unsigned uses,
         char **ret_uri)
{
    struct keygen wanted = { .label = label, .algorithm = algorithm, .uses = uses };
    struct token_key *key = NULL, *again = NULL;
    must(keygen_generate(suite->set, "hsm", &wanted, ret_uri) == CA_OK, "generate");
    must(token_key_find(suite->set, *ret_uri, uses, NULL, &key) == CA_OK, "find");
    must(token_key_find(suite->set, *ret_uri, uses, NULL, &again) == CA_OK &&
             again == key,
         "find twice");
    return key;
}

static void
keys_find(struct suite *suite)
{
    CA_AUTO(free) char *uri = NULL;
    if (suite->sign_uri)
        must(token_key_find(suite->set, suite->sign_uri,
                            suite->decrypt_uri &&
                                    strcmp(suite->sign_uri, suite->decrypt_uri) == 0
                                ? TOKEN_USE_SIGN | TOKEN_USE_DECRYPT
                                : TOKEN_USE_SIGN,
                            NULL, &suite->sign[suite->sign_count++]) == CA_OK,
             "find the signing key");
    if (suite->decrypt_uri)
        must(token_key_find(suite->set, suite->decrypt_uri,
                            suite->sign_uri &&
                                    strcmp(suite->sign_uri, suite->decrypt_uri) == 0
                                ? TOKEN_USE_SIGN | TOKEN_USE_DECRYPT
                                : TOKEN_USE_DECRYPT,
                            NULL, &suite->decrypt) == CA_OK,
             "find the decryption key");
    if (strstr(suite->kinds, "ec"))
        suite->sign[suite->sign_count++] =
            key_made(suite, "suite-ec", "p-256", TOKEN_USE_SIGN, &uri);
    free(uri);
    uri = NULL;
    if (strstr(suite->kinds, "rsa"))
        suite->sign[suite->sign_count++] =
            key_made(suite, "suite-rsa", "rsa-2048", TOKEN_USE_SIGN, &uri);
    free(uri);
    uri = NULL;
    if (strstr(suite->kinds, "decrypt"))
        suite->decrypt =
            key_made(suite, "suite-decrypt", "rsa-2048", TOKEN_USE_DECRYPT, &uri);
    passed("find");
}

static void
keys_refuse(struct suite *suite)
{
    struct token_key *key = NULL;
    char uri[640];
    snprintf(uri, sizeof uri, "%s;object=not-there", suite->config.uri);
    must(token_key_find(suite->set, uri, TOKEN_USE_SIGN, NULL, &key) == CA_NOT_FOUND,
         "a key that is not there");
    if (!strstr(suite->kinds, "ec"))
        return;
    snprintf(uri, sizeof uri, "%s;object=suite-ec", suite->config.uri);
    must(token_key_find(suite->set, uri, TOKEN_USE_DECRYPT, NULL, &key) == CA_FORBIDDEN,
         "a signing key does not decrypt");
    passed("refuse");
}

static void
keys_sign(struct suite *suite)
{
    for (size_t i = 0; i < suite->sign_count; i++) {
        struct token_key *key = suite->sign[i];
        must(signs(key, EVP_sha256()), "sign SHA-256");
        must(signs(key, EVP_sha384()), "sign SHA-384");
        CA_AUTO(EVP_PKEY_free) EVP_PKEY *pkey = token_key_pkey(key);
        CA_AUTO(EVP_MD_CTX_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
        uint8_t signature[1024];
        size_t size = sizeof signature;
        must(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, pkey) == 1 &&
                 EVP_DigestSign(context, signature, &size, message, sizeof message) ==
                     1 &&
                 verifies(key, EVP_sha256(), message, sizeof message, signature, size),
             "sign by the proxy");
    }
    passed("sign");
}

static size_t
encrypt(struct token_key *key, int padding, uint8_t ret_text[1024])
{
    size_t size = 1024;
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *pkey = token_key_pkey(key);
    CA_AUTO(EVP_PKEY_CTX_free) EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(pkey, NULL);
    must(EVP_PKEY_encrypt_init(context) == 1 &&
             EVP_PKEY_CTX_set_rsa_padding(context, padding) > 0 &&
             EVP_PKEY_encrypt(context, ret_text, &size, content, sizeof content) == 1,
         "encrypt");
    return size;
}

static bool
decrypts(struct token_key *key, bool oaep, const uint8_t *encrypted, size_t size)
{
    uint8_t text[sizeof content];
    return token_decrypt_key(key, oaep, encrypted, size, text, sizeof text) == CA_OK &&
           memcmp(text, content, sizeof text) == 0;
}

static void
keys_decrypt(struct suite *suite)
{
    uint8_t encrypted[1024];
    if (!suite->decrypt)
        return;
    size_t size = encrypt(suite->decrypt, RSA_PKCS1_PADDING, encrypted);
    must(decrypts(suite->decrypt, false, encrypted, size), "decrypt");
    int64_t rebuilds = health(suite).rebuilds;
    for (int i = 0; i < 10; i++) {
        uint8_t text[16];
        encrypted[100] ^= (uint8_t)(i + 1);
        must(token_decrypt_key(suite->decrypt, false, encrypted, size, text,
                               sizeof text) == CA_OK &&
                 memcmp(text, content, sizeof text) != 0,
             "a bad ciphertext is answered like a good one");
        encrypted[100] ^= (uint8_t)(i + 1);
    }
    must(health(suite).rebuilds == rebuilds, "a bad ciphertext rebuilds nothing");
    must(decrypts(suite->decrypt, false, encrypted, size), "decrypt after bad ones");
    passed("decrypt");
    size = encrypt(suite->decrypt, RSA_PKCS1_OAEP_PADDING, encrypted);
    printf("%s oaep\n", decrypts(suite->decrypt, true, encrypted, size) ? "ok" : "no");
}

static void
token_recovers(struct suite *suite)
{
    static const char *const faults[] = { "closeall", "finalize", "C_Sign:0x30:0:1",
                                          "C_Sign:0xb3:0:1", "C_SignInit:0x101:0:3" };
    uint8_t encrypted[1024];
    size_t size =
        suite->decrypt ? encrypt(suite->decrypt, RSA_PKCS1_PADDING, encrypted) : 0;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        for (size_t j = 0; j < suite->sign_count; j++) {
            must(fault_command(faults[i]), faults[i]);
            must(signs(suite->sign[j], EVP_sha256()), faults[i]);
        }
        if (suite->decrypt)
            must(decrypts(suite->decrypt, false, encrypted, size), faults[i]);
        fault_command("clear");
    }
    must(token_check(suite->set, 0) == CA_OK, "the periodic check");
    must(health(suite).rebuilds > 0, "something was rebuilt");
    passed("recover");
}

/* ---- The soak ---- */

static atomic_bool ends;
static atomic_int_fast64_t good, failed, wrong, longest;

struct worker {
    pthread_t thread;
    struct token_key *key;
    unsigned number;
};

static void *
worker_run(void *argument)
{
    struct worker *worker = argument;
    for (unsigned i = 0; !atomic_load(&ends); i++) {
        uint8_t tbs[64] = { 0 }, signature[1024];
        size_t size = 0;
        int64_t start = clock_ticks();
        snprintf((char *)tbs, sizeof tbs, "certificate %u of thread %u", i,
                 worker->number);
        enum ca_status status = token_sign(worker->key, EVP_sha256(), tbs, sizeof tbs,
                                           signature, sizeof signature, &size);
        int64_t took = clock_ticks() - start, seen = atomic_load(&longest);
        while (took > seen && !atomic_compare_exchange_weak(&longest, &seen, took))
            continue;
        if (status != CA_OK) {
            atomic_fetch_add(&failed, 1);
            printf("failed after %lld ms: %s\n", (long long)took, status_message());
            usleep(20000);
        } else {
            bool is_good =
                verifies(worker->key, EVP_sha256(), tbs, sizeof tbs, signature, size);
            atomic_fetch_add(is_good ? &good : &wrong, 1);
        }
    }
    return NULL;
}

static unsigned
faults_inject(int64_t until)
{
    static const char *const faults[] = { "closeall", "C_Sign:0x30:0:1",
                                          "C_SignInit:0x101:0:3", "finalize",
                                          "C_Sign:flip:0:1" };
    unsigned injected = 0;
    while (clock_ticks() < until) {
        fault_command(faults[injected++ % (sizeof faults / sizeof faults[0])]);
        usleep(FAULT_PAUSE_MS * 1000);
        fault_command("clear");
        int64_t wanted = atomic_load(&good) + SIGNERS;
        while (atomic_load(&good) < wanted && clock_ticks() < until)
            usleep(2000);
    }
    return injected;
}

static size_t
descriptors(void)
{
    size_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (folder && readdir(folder))
        count++;
    if (folder)
        closedir(folder);
    return count;
}

static void
soak(struct suite *suite)
{
    struct worker workers[SIGNERS];
    size_t before = descriptors();
    printf("soaking\n");
    fflush(stdout);
    for (unsigned i = 0; i < SIGNERS; i++) {
        workers[i] =
            (struct worker){ .number = i, .key = suite->sign[i % suite->sign_count] };
        must(pthread_create(&workers[i].thread, NULL, worker_run, &workers[i]) == 0,
             "threads");
    }
    int64_t until = clock_ticks() + suite->soak * 1000;
    unsigned injected = suite->is_outside ? 0 : faults_inject(until);
    while (clock_ticks() < until)
        usleep(10000);
    atomic_store(&ends, true);
    for (unsigned i = 0; i < SIGNERS; i++)
        pthread_join(workers[i].thread, NULL);
    printf("soaked: %lld verified, %lld failed, %lld wrong, %u faults, %lld rebuilds, "
           "longest %lld ms, descriptors %zu -> %zu\n",
           (long long)good, (long long)failed, (long long)wrong, injected,
           (long long)health(suite).rebuilds, (long long)longest, before,
           descriptors());
    must(good > 0 && failed == 0 && wrong == 0, "no request fails");
    must(fault_overlaps() == 0, "nothing is finalised under a call");
    must(descriptors() <= before + 4, "descriptors do not grow");
    passed("soak");
}

/* ---- The program ---- */

static void
options_read(struct suite *suite, int argc, char **argv)
{
    static const struct option options[] = {
        { "uri", required_argument, NULL, 'u' },
        { "pin-source", required_argument, NULL, 'p' },
        { "arguments", required_argument, NULL, 'a' },
        { "waive", required_argument, NULL, 'w' },
        { "keys", required_argument, NULL, 'k' },
        { "sign", required_argument, NULL, 's' },
        { "decrypt", required_argument, NULL, 'd' },
        { "soak", required_argument, NULL, 'S' },
        { "wait", required_argument, NULL, 'W' },
        { "permits", required_argument, NULL, 'P' },
        { "outside", no_argument, NULL, 'o' },
        { "exit-when-stuck", no_argument, NULL, 'x' },
        { NULL, 0, NULL, 0 },
    };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'u': suite->config.uri = optarg; break;
        case 'p': suite->config.pin_source = optarg; break;
        case 'a': suite->config.arguments = optarg; break;
        case 'w':
            must(suite->waiver_count < WAIVERS_MAX, "waivers");
            suite->waivers[suite->waiver_count++] = optarg;
            break;
        case 'k': suite->kinds = optarg; break;
        case 's': suite->sign_uri = optarg; break;
        case 'd': suite->decrypt_uri = optarg; break;
        case 'S': suite->soak = atoi(optarg); break;
        case 'W': suite->config.wait_ms = atoi(optarg); break;
        case 'P': suite->config.permits = atoi(optarg); break;
        case 'o': suite->is_outside = true; break;
        case 'x':
            suite->config.exits_when_stuck = true;
            suite->config.stuck_ms = 2000;
            break;
        default: exit(2);
        }
    }
    if (!suite->config.uri || !suite->config.pin_source)
        exit(2);
}

int
main(int argc, char **argv)
{
    static struct suite suite = { .kinds = "", .soak = 5 };
    suite.config = (struct token_config){
        .name = "hsm", .module = fault_path(), .wait_ms = 20000, .stuck_ms = 15000
    };
    options_read(&suite, argc, argv);
    suite.config.waivers = suite.waivers;
    log_open(NULL, LOG_LEVEL_ERROR);
    signal(SIGPIPE, SIG_IGN); /* a server that goes away is no end */
    must(token_set_open(&suite.config, 1, &suite.set) == CA_OK, "open");
    passed("open");
    keys_find(&suite);
    keys_refuse(&suite);
    keys_sign(&suite);
    keys_decrypt(&suite);
    if (!suite.is_outside)
        token_recovers(&suite);
    if (suite.soak > 0 && suite.sign_count > 0)
        soak(&suite);
    token_set_free(suite.set);
    must(fault_sessions() == 0, "no session is left");
    passed("close");
    return 0;
}
