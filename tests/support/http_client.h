/* A raw HTTP client: octets out, octets in, over TCP, TLS or a unix socket. */
#pragma once

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENT_MILLISECONDS 10000

struct client {
    int socket;
    SSL_CTX *context;
    SSL *ssl; /* NULL: plain */
};

/* A loopback port that nobody has just now, below those that the kernel gives to
 * connections (Linux: from 32768), which could take it before it is bound to. */
static inline int
port_free(void)
{
    enum { FIRST = 10240, PORTS = 20000 };
    static int next;
    if (next == 0)
        next = getpid() * 7;
    for (int tried = 0;; tried++) {
        cr_assert(tried < PORTS, "no free port");
        int port = FIRST + next++ % PORTS;
        struct sockaddr_in address = { .sin_family = AF_INET };
        address.sin_port = htons((uint16_t)port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int probe = socket(AF_INET, SOCK_STREAM, 0);
        cr_assert(probe >= 0);
        bool is_free = bind(probe, (struct sockaddr *)&address, sizeof address) == 0;
        close(probe);
        if (is_free)
            return port;
    }
}

static inline struct client
client_open(int port)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct client client = { .socket = socket(AF_INET, SOCK_STREAM, 0) };
    cr_assert_eq(connect(client.socket, (struct sockaddr *)&address, sizeof address), 0,
                 "connect to %d", port);
    return client;
}

static inline struct client
client_open_path(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    struct client client = { .socket = socket(AF_UNIX, SOCK_STREAM, 0) };
    cr_assert_eq(connect(client.socket, (struct sockaddr *)&address, sizeof address), 0,
                 "connect to %s", path);
    return client;
}

/* TLS of one version (0: any), with a client certificate or without; NULL in `ssl` when
 * the handshake failed. */
static inline struct client
client_open_tls(int port, int version, X509 *certificate, EVP_PKEY *key)
{
    struct client client = client_open(port);
    client.context = SSL_CTX_new(TLS_client_method());
    if (version != 0) {
        SSL_CTX_set_min_proto_version(client.context, version);
        SSL_CTX_set_max_proto_version(client.context, version);
        SSL_CTX_set_security_level(client.context, 0); /* TLS 1.1 may be offered */
    }
    if (certificate) {
        SSL_CTX_use_certificate(client.context, certificate);
        SSL_CTX_use_PrivateKey(client.context, key);
    }
    client.ssl = SSL_new(client.context);
    SSL_set_fd(client.ssl, client.socket);
    if (SSL_connect(client.ssl) != 1) {
        SSL_free(client.ssl);
        client.ssl = NULL;
    }
    return client;
}

static inline void
client_close(struct client *client)
{
    SSL_free(client->ssl);
    SSL_CTX_free(client->context);
    close(client->socket);
}

static inline void
client_send(struct client *client, const void *octets, size_t size)
{
    if (client->ssl)
        SSL_write(client->ssl, octets, (int)size);
    else
        (void)!send(client->socket, octets, size, MSG_NOSIGNAL);
}

/* Octets up to `size`; 0 at the end, on reset or after CLIENT_MILLISECONDS. */
static inline size_t
client_receive(struct client *client, char *ret_octets, size_t size)
{
    struct pollfd polled = { client->socket, POLLIN, 0 };
    if (!client->ssl || SSL_pending(client->ssl) == 0) {
        if (poll(&polled, 1, CLIENT_MILLISECONDS) <= 0)
            return 0;
    }
    long got = client->ssl ? SSL_read(client->ssl, ret_octets, (int)size)
                           : recv(client->socket, ret_octets, size, 0);
    return got > 0 ? (size_t)got : 0;
}

/* One whole answer: head, and Content-Length octets unless it answers HEAD. Malloc'd;
 * "" when there was none. */
static inline char *
client_answer(struct client *client, bool is_head)
{
    size_t room = 4u << 20, size = 0;
    char *answer = calloc(1, room);
    cr_assert_not_null(answer);
    for (;;) {
        const char *end = strstr(answer, "\r\n\r\n");
        const char *length = strstr(answer, "Content-Length: ");
        if (end && (is_head || !length || length > end))
            return answer;
        if (end && size >= (size_t)(end + 4 - answer) + strtoul(length + 16, NULL, 10))
            return answer;
        size_t got = client_receive(client, answer + size, room - size - 1);
        if (got == 0)
            return answer;
        size += got;
    }
}

static inline int
answer_code(const char *answer)
{
    return strncmp(answer, "HTTP/1.1 ", 9) == 0 ? atoi(answer + 9) : 0;
}

static inline const char *
answer_body(const char *answer)
{
    const char *end = strstr(answer, "\r\n\r\n");
    return end ? end + 4 : "";
}
