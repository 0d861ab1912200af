/* As much HTTPS as devices of the benchmarks speak. */
#include "load.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_SIZE 512
#define TIMEOUT_SECONDS 60

SSL *
load_tls_connect(const struct load_tls *server, X509 *certificate, EVP_PKEY *key)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(server->port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct timeval timeout = { .tv_sec = TIMEOUT_SECONDS };
    int one = 1, connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    load_must(connection >= 0, "no socket");
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    SSL *ssl = SSL_new(server->context);
    load_must(ssl && SSL_set_fd(ssl, connection) == 1, "no memory for TLS");
    if (certificate)
        load_must(SSL_use_certificate(ssl, certificate) == 1 &&
                      SSL_use_PrivateKey(ssl, key) == 1,
                  "a device's certificate is of no use");
    if (load_source_take(connection, server->source) &&
        connect(connection, (struct sockaddr *)&address, sizeof address) == 0 &&
        SSL_connect(ssl) == 1)
        return ssl;
    SSL_free(ssl);
    close(connection);
    return NULL;
}

void
load_tls_close(SSL *ssl)
{
    if (!ssl)
        return;
    int connection = SSL_get_fd(ssl);
    SSL_shutdown(ssl);
    SSL_free(ssl);
    close(connection);
}

/* The status, and where the body starts and how long it is; 0: not complete yet. */
static int
head_parse(const char *answer, size_t *ret_start, size_t *ret_length)
{
    const char *end = strstr(answer, "\r\n\r\n");
    const char *said = end ? strcasestr(answer, "\r\nContent-Length:") : NULL;
    int status = 0;
    if (!said || said > end || sscanf(answer, "HTTP/1.1 %d ", &status) != 1)
        return 0;
    *ret_length = strtoul(said + 17, NULL, 10);
    *ret_start = (size_t)(end + 4 - answer);
    return status;
}

int
load_tls_post(SSL *ssl, const char *path, const char *type, const char *body,
              char ret_answer[LOAD_ANSWER_MAX])
{
    char head[HEAD_SIZE];
    int status = 0;
    size_t size = 0, start = 0, length = 0, body_size = strlen(body);
    int head_size = snprintf(head, sizeof head,
                             "POST %s HTTP/1.1\r\nHost: ca.example.com\r\n"
                             "Content-Type: %s\r\nContent-Length: %zu\r\n\r\n",
                             path, type, body_size);
    if (SSL_write(ssl, head, head_size) <= 0 ||
        SSL_write(ssl, body, (int)body_size) <= 0)
        return 0;
    while (status == 0 || size < start + length) {
        int got = SSL_read(ssl, ret_answer + size, (int)(LOAD_ANSWER_MAX - 1 - size));
        if (got <= 0)
            return 0;
        size += (size_t)got;
        ret_answer[size] = '\0';
        if (status == 0)
            status = head_parse(ret_answer, &start, &length);
    }
    if (size != start + length)
        return 0;
    memmove(ret_answer, ret_answer + start, length);
    ret_answer[length] = '\0';
    return status;
}
