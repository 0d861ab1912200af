/* What one Windows enrolment costs beside the token: one TLS connection, durable rows,
 * a password's scrypt. Prints CPU microseconds of each as JSON. */
#include "floor_parts.h"
#include <getopt.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#define SCRYPT_ROUNDS 20
#define WARM_ROUNDS 10
#define SCRYPT_N 16384 /* as ca/password.c has it */
#define SCRYPT_R 8
#define SCRYPT_P 5
#define SCRYPT_MEMORY (64 * 1024 * 1024)

/* Rows of each commit of one enrolment. Before the token signs: the login token is
 * claimed; the device, its account, its key, the certificate's intent, audit. After it:
 * the certificate, the login token, the device, audit. */
static const int rows_of_commits[] = { 6, 4, 0 };

static double
scrypt(long rounds)
{
    uint8_t hash[32];
    double since = floor_seconds();
    for (long i = 0; i < rounds; i++)
        must(EVP_PBE_scrypt("k7dp-93mt-qxwe", 14, (const uint8_t *)"0123456789abcdef",
                            16, SCRYPT_N, SCRYPT_R, SCRYPT_P, SCRYPT_MEMORY, hash,
                            sizeof hash) == 1,
             "scrypt");
    return rounds > 0 ? (floor_seconds() - since) / (double)rounds : 0;
}

int
main(int argc, char **argv)
{
    static const struct option options[] = {
        { "certificate", required_argument, NULL, 'c' },
        { "key", required_argument, NULL, 'k' },
        { "folder", required_argument, NULL, 'f' },
        { "rounds", required_argument, NULL, 'r' },
        { "scrypt", required_argument, NULL, 's' },
        { NULL, 0, NULL, 0 },
    };
    const char *certificate = NULL, *key = NULL, *folder = NULL;
    long rounds = 200, passwords = SCRYPT_ROUNDS;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'c': certificate = optarg; break;
        case 'k': key = optarg; break;
        case 'f': folder = optarg; break;
        case 'r': rounds = strtol(optarg, NULL, 10); break;
        case 's': passwords = strtol(optarg, NULL, 10); break;
        default: return 2;
        }
    }
    must(certificate && key && folder && rounds > 0 && optind == argc,
         "usage: windows_floor --certificate FILE --key FILE --folder DIR [--rounds N] "
         "[--scrypt N]");
    struct floor_commits commits;
    floor_connections(certificate, key, WARM_ROUNDS);
    double tls = floor_connections(certificate, key, rounds);
    floor_commits(folder, rows_of_commits, rounds, &commits);
    double password = scrypt(rounds < passwords ? rounds : passwords);
    printf("{\"tls_connection\": %.1f, \"commit\": %.1f, \"rows\": %.1f, "
           "\"scrypt\": %.1f}\n",
           tls * 1e6, commits.commit * 1e6, commits.rows * 1e6, password * 1e6);
    return 0;
}
