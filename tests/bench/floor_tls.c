/* What TLS costs a server that does nothing else: connections over the loopback, one
 * after another, from a process of its own that is not counted. */
#include "floor_parts.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BACKLOG 16

/* Each connection lives until the server closes it, as with a client that reads. */
static void
client_run(const struct sockaddr_in *server, long rounds)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    must(context != NULL, "no memory for TLS");
    for (long i = 0; i < rounds; i++) {
        char octet;
        SSL *ssl = SSL_new(context);
        int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        must(ssl && connection >= 0 && SSL_set_fd(ssl, connection) == 1 &&
                 connect(connection, (const struct sockaddr *)server, sizeof *server) ==
                     0 &&
                 SSL_connect(ssl) == 1,
             "the server cannot be reached");
        SSL_read(ssl, &octet, 1); /* the end */
        SSL_shutdown(ssl);
        SSL_free(ssl);
        close(connection);
    }
    SSL_CTX_free(context);
}

/* Who issued the certificates of the file: the daemon tells clients its issuers. */
static STACK_OF(X509_NAME) *
issuers_read(const char *path)
{
    STACK_OF(X509_NAME) *names = sk_X509_NAME_new_null();
    FILE *file = fopen(path, "re");
    must(names && file, "the TLS certificate cannot be read");
    for (X509 *one; (one = PEM_read_X509(file, NULL, NULL, NULL));) {
        must(sk_X509_NAME_push(names, X509_NAME_dup(X509_get_issuer_name(one))) > 0,
             "no memory for names");
        X509_free(one);
    }
    fclose(file);
    return names;
}

/* As the daemon has it (ca/http_tls.c), its request for a client's certificate too. */
static SSL_CTX *
server_make(const char *certificate, const char *key)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    must(context && SSL_CTX_use_certificate_chain_file(context, certificate) == 1 &&
             SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1 &&
             SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1,
         "the TLS certificate does not load");
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set0_CA_list(context, issuers_read(certificate));
    return context;
}

static int
listener_open(struct sockaddr_in *ret_address)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(listener >= 0 &&
             bind(listener, (struct sockaddr *)&address, sizeof address) == 0 &&
             listen(listener, BACKLOG) == 0 &&
             getsockname(listener, (struct sockaddr *)&address, &size) == 0,
         "no socket to listen at");
    *ret_address = address;
    return listener;
}

static void
serve(SSL_CTX *context, int listener)
{
    int connection = accept(listener, NULL, NULL);
    SSL *ssl = SSL_new(context);
    must(connection >= 0 && ssl && SSL_set_fd(ssl, connection) == 1 &&
             SSL_accept(ssl) == 1,
         "no handshake");
    SSL_shutdown(ssl);
    SSL_free(ssl);
    close(connection);
}

double
floor_connections(const char *certificate, const char *key, long rounds)
{
    struct sockaddr_in address;
    SSL_CTX *context = server_make(certificate, key);
    int status = 0, listener = listener_open(&address);
    signal(SIGPIPE, SIG_IGN);
    pid_t client = fork();
    must(client >= 0, "no process for the client");
    if (client == 0) {
        close(listener);
        client_run(&address, rounds);
        _exit(0);
    }
    double since = floor_seconds();
    for (long i = 0; i < rounds; i++)
        serve(context, listener);
    double used = floor_seconds() - since;
    must(waitpid(client, &status, 0) == client && status == 0, "the client failed");
    close(listener);
    SSL_CTX_free(context);
    return used / (double)rounds;
}
