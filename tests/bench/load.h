/* The load generator's parts: devices made ready beforehand, requests by threads, and
 * the server's figures from /proc. */
#pragma once

#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOAD_CHALLENGE_SIZE 65
#define LOAD_PRIME_SIZE 128 /* of RSA-2048 */
#define LOAD_PRIMES 192     /* pairs of them make 18,336 distinct moduli */
#define LOAD_KEYS_MAX (LOAD_PRIMES * (LOAD_PRIMES - 1) / 2)
#define LOAD_ANSWER_MAX (64 * 1024)

/* ---- load_key.c: RSA-2048 keys of a pool of primes ---- */

struct load_pool {
    uint8_t primes[LOAD_PRIMES][LOAD_PRIME_SIZE];
};

/* The pool in the file at `path`; made and stored there when there is none. */
void load_pool_open(const char *path, struct load_pool *ret_pool);
/* Key `index` (below LOAD_KEYS_MAX): no two share a modulus. EVP_PKEY_free it. */
EVP_PKEY *load_key(const struct load_pool *pool, size_t index);

/* ---- load_http.c ---- */

struct load_server {
    const char *host; /* an IPv4 address */
    uint16_t port;
    const char *path; /* of the SCEP endpoint */
    bool keep_alive;
    uint32_t source; /* as in load_tls */
};

/* Sends one request and reads its answer of at most LOAD_ANSWER_MAX octets; false when
 * there is none with status 200. `connection` is -1 or, with keep_alive, the one to use
 * and keep. */
bool load_get(const struct load_server *server, const char *query, uint8_t *ret_answer,
              size_t *ret_size);
bool load_post(const struct load_server *server, int *connection,
               const uint8_t *message, size_t size, uint8_t *ret_answer,
               size_t *ret_size);

/* ---- load_tls.c: HTTP over TLS on a connection that is kept ---- */

struct load_tls {
    SSL_CTX *context;
    uint16_t port;
    uint32_t source; /* an address of 127.0.0.0/8 to come from; 0: any */
};
/* NULL: there is no connection. Certificate and key: of the client, or NULL. */
SSL *load_tls_connect(const struct load_tls *server, X509 *certificate, EVP_PKEY *key);
void load_tls_close(SSL *ssl); /* NULL is nothing */
/* Posts a text; the status, 0 without an answer, and its body, NUL-terminated. */
int load_tls_post(SSL *ssl, const char *path, const char *type, const char *body,
                  char ret_answer[LOAD_ANSWER_MAX]);

/* ---- load_process.c ---- */

/* Ends the program with what went wrong. */
void load_must(bool holds, const char *what);
/* Of a clock that only runs forward. */
double load_seconds(void);

/* Addresses of 127.0.0.0/8 from which devices come, one each. */
#define LOAD_SOURCES 0x7f100000u
/* Has the socket connect from this address; 0: from any. */
bool load_source_take(int socket, uint32_t source);

struct load_usage {
    double cpu;         /* seconds, user and system, of all threads */
    long rss, rss_peak; /* KiB */
};
/* Of the process `pid`. */
void load_usage_read(long pid, struct load_usage *ret_usage);

/* ---- load_run.c ---- */

#define LOAD_CONCURRENCY_MAX 1024

struct load_run {
    long pid, concurrency; /* of the server; threads */
    double start, seconds; /* load_seconds at the begin, and from there to the end */
    struct load_usage before, after;
};
/* Are the server and a number of threads named? */
bool load_run_is_set(const struct load_run *run);
/* Calls the function in each thread and waits for all of them. */
void load_run(struct load_run *run, void *(*worker)(void *), void *arg);
/* Prints the members that every result has: rate, the server's CPU and memory, and with
 * `latencies` (seconds, one each of `count`; they are sorted) two of their quantiles.
 */
void load_run_print(const struct load_run *run, size_t count, double *latencies);
