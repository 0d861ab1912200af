/* What one Windows enrolment costs beside the token: a TLS handshake, durable rows, a
 * password's scrypt. Prints CPU microseconds of each as JSON. */
#include <getopt.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BIO_ROOM 65536
#define ROW_SIZE 700       /* octets of a certificate, an intent, an audit entry */
#define COMMITS 2          /* the intent, then the certificate */
#define ROWS_OF_A_COMMIT 4 /* serial, record, device and audit, about */
#define SCRYPT_N 16384     /* as ca/password.c has it */
#define SCRYPT_R 8
#define SCRYPT_P 5
#define SCRYPT_MEMORY (64 * 1024 * 1024)

static void
must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "floor: %s\n", what);
    exit(1);
}

static double
thread_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* One handshake of TLS 1.3 in memory; seconds of the server's half. */
static double
handshake(SSL_CTX *server_context, SSL_CTX *client_context)
{
    BIO *server_bio = NULL, *client_bio = NULL;
    double used = 0;
    SSL *server = SSL_new(server_context), *client = SSL_new(client_context);
    must(server && client &&
             BIO_new_bio_pair(&server_bio, BIO_ROOM, &client_bio, BIO_ROOM) == 1,
         "no memory for TLS");
    SSL_set_bio(server, server_bio, server_bio);
    SSL_set_bio(client, client_bio, client_bio);
    for (int i = 0; i < 8 && !(SSL_is_init_finished(server) && i > 3); i++) {
        SSL_connect(client);
        double since = thread_seconds();
        SSL_accept(server);
        used += thread_seconds() - since;
    }
    must(SSL_is_init_finished(server), "no handshake");
    SSL_free(server);
    SSL_free(client);
    return used;
}

static double
handshakes(const char *certificate, const char *key, long rounds)
{
    SSL_CTX *server = SSL_CTX_new(TLS_server_method());
    SSL_CTX *client = SSL_CTX_new(TLS_client_method());
    double used = 0;
    must(server && client &&
             SSL_CTX_use_certificate_chain_file(server, certificate) == 1 &&
             SSL_CTX_use_PrivateKey_file(server, key, SSL_FILETYPE_PEM) == 1,
         "the TLS certificate does not load");
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(server, 0);
    for (long i = 0; i < rounds; i++)
        used += handshake(server, client);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
    return used / (double)rounds;
}

static void
run(sqlite3 *db, const char *sql)
{
    must(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, sql);
}

/* The commits of one enrolment, as one client alone makes them. */
static double
commits(const char *folder, long rounds)
{
    static const uint8_t row[ROW_SIZE] = { 1 };
    char path[512];
    sqlite3 *db = NULL;
    sqlite3_stmt *insert = NULL;
    snprintf(path, sizeof path, "%s/floor.db", folder);
    must(sqlite3_open(path, &db) == SQLITE_OK, "the floor's store does not open");
    run(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
            "CREATE TABLE t (k INTEGER PRIMARY KEY, a TEXT UNIQUE, v BLOB)");
    must(sqlite3_prepare_v2(db, "INSERT INTO t (a, v) VALUES (?, ?)", -1, &insert,
                            NULL) == SQLITE_OK,
         "no statement");
    double since = thread_seconds();
    for (long i = 0; i < rounds * COMMITS; i++) {
        run(db, "BEGIN IMMEDIATE");
        for (int k = 0; k < ROWS_OF_A_COMMIT; k++) {
            char key[48];
            int size =
                snprintf(key, sizeof key, "%08lx-%d", (long)(i * 2654435761u), k);
            sqlite3_bind_text(insert, 1, key, size, SQLITE_TRANSIENT);
            sqlite3_bind_blob(insert, 2, row, sizeof row, SQLITE_STATIC);
            must(sqlite3_step(insert) == SQLITE_DONE, "no row");
            sqlite3_reset(insert);
        }
        run(db, "COMMIT");
    }
    double used = thread_seconds() - since;
    sqlite3_finalize(insert);
    sqlite3_close(db);
    unlink(path);
    return used / (double)rounds;
}

static double
scrypt(long rounds)
{
    uint8_t hash[32];
    double since = thread_seconds();
    for (long i = 0; i < rounds; i++)
        must(EVP_PBE_scrypt("k7dp-93mt-qxwe", 14, (const uint8_t *)"0123456789abcdef",
                            16, SCRYPT_N, SCRYPT_R, SCRYPT_P, SCRYPT_MEMORY, hash,
                            sizeof hash) == 1,
             "scrypt");
    return (thread_seconds() - since) / (double)rounds;
}

int
main(int argc, char **argv)
{
    static const struct option options[] = {
        { "certificate", required_argument, NULL, 'c' },
        { "key", required_argument, NULL, 'k' },
        { "folder", required_argument, NULL, 'f' },
        { "rounds", required_argument, NULL, 'r' },
        { NULL, 0, NULL, 0 },
    };
    const char *certificate = NULL, *key = NULL, *folder = NULL;
    long rounds = 200;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'c': certificate = optarg; break;
        case 'k': key = optarg; break;
        case 'f': folder = optarg; break;
        case 'r': rounds = strtol(optarg, NULL, 10); break;
        default: return 2;
        }
    }
    must(
        certificate && key && folder && rounds > 0 && optind == argc,
        "usage: windows_floor --certificate FILE --key FILE --folder DIR [--rounds N]");
    handshakes(certificate, key, 10);
    double tls = handshakes(certificate, key, rounds);
    double rows = commits(folder, rounds);
    double password = scrypt(rounds < 20 ? rounds : 20);
    printf("{\"tls_handshake\": %.1f, \"durable_rows\": %.1f, \"scrypt\": %.1f}\n",
           tls * 1e6, rows * 1e6, password * 1e6);
    return 0;
}
