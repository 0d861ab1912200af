/* As much HTTP as a SCEP client speaks. */
#include "load.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define HEAD_SIZE 1024
#define TIMEOUT_SECONDS 60

static int
connect_to(const struct load_server *server)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(server->port) };
    int one = 1, connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval timeout = { .tv_sec = TIMEOUT_SECONDS };
    if (connection >= 0 && load_source_take(connection, server->source) &&
        inet_pton(AF_INET, server->host, &address.sin_addr) == 1 &&
        setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0 &&
        setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) ==
            0 &&
        connect(connection, (struct sockaddr *)&address, sizeof address) == 0)
        return connection;
    if (connection >= 0)
        close(connection);
    return -1;
}

static bool
send_all(int connection, const char *head, size_t head_size, const uint8_t *body,
         size_t size)
{
    struct iovec parts[2] = { { (void *)(uintptr_t)head, head_size },
                              { (void *)(uintptr_t)body, size } };
    for (struct iovec *at = parts; at < parts + 2;) {
        struct msghdr message = { .msg_iov = at,
                                  .msg_iovlen = (size_t)(parts + 2 - at) };
        ssize_t sent = sendmsg(connection, &message, MSG_NOSIGNAL);
        if (sent < 0)
            return false;
        size_t left = (size_t)sent;
        while (at < parts + 2 && left >= at->iov_len)
            left -= (at++)->iov_len;
        if (at < parts + 2) {
            at->iov_base = (char *)at->iov_base + left;
            at->iov_len -= left;
        }
    }
    return true;
}

/* Octets of the head with its empty line; 0 while it is not complete. */
static size_t
head_size(const char *data, size_t size)
{
    const char *end = memmem(data, size, "\r\n\r\n", 4);
    return end ? (size_t)(end + 4 - data) : 0;
}

/* Status 200 and its Content-Length. */
static bool
head_parse(const char *head, size_t *ret_length)
{
    const char *at = strncmp(head, "HTTP/1.1 200 ", 13) == 0
                         ? strcasestr(head, "\r\nContent-Length:")
                         : NULL;
    if (!at)
        return false;
    *ret_length = strtoul(at + 17, NULL, 10);
    return *ret_length <= LOAD_ANSWER_MAX;
}

static bool
answer_read(int connection, uint8_t *ret_answer, size_t *ret_size)
{
    char buffer[HEAD_SIZE + LOAD_ANSWER_MAX + 1];
    size_t size = 0, head = 0, length = 0;
    while (head == 0 || size < head + length) {
        ssize_t got = recv(connection, buffer + size, sizeof buffer - 1 - size, 0);
        if (got <= 0)
            return false;
        size += (size_t)got;
        if (head > 0 || (head = head_size(buffer, size)) == 0)
            continue;
        char text[HEAD_SIZE];
        if (head >= sizeof text)
            return false;
        memcpy(text, buffer, head);
        text[head] = '\0';
        if (!head_parse(text, &length))
            return false;
    }
    memcpy(ret_answer, buffer + head, length);
    *ret_size = length;
    return size == head + length;
}

static bool
exchange(const struct load_server *server, int *connection, const char *head,
         const uint8_t *body, size_t size, uint8_t *ret_answer, size_t *ret_size)
{
    if (*connection < 0)
        *connection = connect_to(server);
    bool done = *connection >= 0 &&
                send_all(*connection, head, strlen(head), body, size) &&
                answer_read(*connection, ret_answer, ret_size);
    if (*connection >= 0 && (!done || !server->keep_alive)) {
        close(*connection);
        *connection = -1;
    }
    return done;
}

bool
load_get(const struct load_server *server, const char *query, uint8_t *ret_answer,
         size_t *ret_size)
{
    char head[HEAD_SIZE];
    int connection = -1;
    struct load_server once = *server;
    once.keep_alive = false;
    snprintf(head, sizeof head,
             "GET %s?%s HTTP/1.1\r\nHost: %s:%u\r\nConnection: close\r\n\r\n",
             server->path, query, server->host, server->port);
    return exchange(&once, &connection, head, NULL, 0, ret_answer, ret_size);
}

bool
load_post(const struct load_server *server, int *connection, const uint8_t *message,
          size_t size, uint8_t *ret_answer, size_t *ret_size)
{
    char head[HEAD_SIZE];
    snprintf(head, sizeof head,
             "POST %s?operation=PKIOperation HTTP/1.1\r\nHost: %s:%u\r\n"
             "Content-Type: application/x-pki-message\r\nContent-Length: %zu\r\n"
             "Connection: %s\r\n\r\n",
             server->path, server->host, server->port, size,
             server->keep_alive ? "keep-alive" : "close");
    return exchange(server, connection, head, message, size, ret_answer, ret_size);
}
