/* accept, close, poll and reads of the web server: caps and deadlines that civetweb
 * lacks (SECURITY R8, A7), and where its heads begin. */
#include "http_socket.h"
#include "clock.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DESCRIPTORS_MAX 65536 /* higher ones are refused */
#define CHAINS 1024
#define FIRST_OCTET_SECONDS 1  /* a client is accepted when it speaks, or after that */
#define SLICE_MILLISECONDS 200 /* of a wait; a stop takes that long at most */

int __real_listen(int descriptor, int backlog);
int __wrap_listen(int descriptor, int backlog);
int __real_accept(int listener, struct sockaddr *restrict peer,
                  socklen_t *restrict size);
int __real_close(int descriptor);
int __real_poll(struct pollfd *polled, nfds_t count, int milliseconds);
int __wrap_accept(int listener, struct sockaddr *restrict peer,
                  socklen_t *restrict size);
int __wrap_close(int descriptor);
int __wrap_poll(struct pollfd *polled, nfds_t count, int milliseconds);
ssize_t __real_recv(int descriptor, void *octets, size_t size, int flags);
int __real_SSL_read(SSL *tls, void *octets, int size);
ssize_t __wrap_recv(int descriptor, void *octets, size_t size, int flags);
int __wrap_SSL_read(SSL *tls, void *octets, int size);
int __real_SSL_pending(const SSL *tls);
int __wrap_SSL_pending(const SSL *tls);

/* A connection by its descriptor; those of one hash value form a chain. */
struct slot {
    struct socket_connection connection;
    atomic_bool is_used;
    int next; /* descriptor + 1; 0: end of the chain */
};

static struct slot slots[DESCRIPTORS_MAX];
static int chains[CHAINS]; /* descriptor + 1 of the first */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* over chains and set-up */
static struct socket_rules rules;
static atomic_bool is_wrapped;

static atomic_bool is_hurried;

static _Thread_local bool is_server;
static _Thread_local int current = -1;
static _Thread_local int64_t deadline;
static _Thread_local const char *head; /* where this thread's first read went */

void
socket_start(const struct socket_rules *new_rules)
{
    pthread_mutex_lock(&lock);
    rules = *new_rules;
    atomic_store(&is_wrapped, false);
    atomic_store(&is_hurried, false);
    pthread_mutex_unlock(&lock);
}

void
socket_stop(void)
{
    socket_start(&(struct socket_rules){ .config = NULL });
}

bool
socket_is_wrapped(void)
{
    return atomic_load(&is_wrapped);
}

void
socket_enter_thread(void)
{
    is_server = true;
}

void
socket_hurry(void)
{
    atomic_store(&is_hurried, true);
}

void
socket_set_deadline(int64_t ticks)
{
    deadline = ticks;
}

const char *
socket_head(void)
{
    return head;
}

const struct socket_connection *
socket_of(int descriptor)
{
    if (descriptor < 0 || descriptor >= DESCRIPTORS_MAX ||
        !atomic_load(&slots[descriptor].is_used))
        return NULL;
    return &slots[descriptor].connection;
}

const struct socket_connection *
socket_current(void)
{
    return socket_of(current);
}

static bool
address_of(const struct sockaddr_storage *from, struct address *ret_address)
{
    struct address address = { { [10] = 0xff, [11] = 0xff } };
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)from;
        memcpy(address.octets + 12, &v4->sin_addr, 4);
    } else if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)from;
        memcpy(address.octets, &v6->sin6_addr, 16);
    } else {
        return false;
    }
    *ret_address = address;
    return true;
}

static int
port_of(const struct sockaddr_storage *from)
{
    if (from->ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)(const void *)from)->sin_port);
    return ntohs(((const struct sockaddr_in6 *)(const void *)from)->sin6_port);
}

static bool
listener_is_at(const struct config_listener *listener,
               const struct sockaddr_storage *bound)
{
    if (bound->ss_family == AF_UNIX)
        return listener->path &&
               strcmp(listener->path,
                      ((const struct sockaddr_un *)(const void *)bound)->sun_path) == 0;
    struct address configured, address;
    return !listener->path && listener->port == port_of(bound) &&
           address_of(bound, &address) &&
           address_parse(listener->bind, strlen(listener->bind), &configured) &&
           memcmp(&address, &configured, sizeof address) == 0;
}

/* The configuration's listener behind a listening descriptor. Two may share a port at
 * different addresses, and only one of them may serve the API. */
static const struct config_listener *
listener_of(int descriptor)
{
    struct sockaddr_storage bound = { 0 };
    socklen_t size = sizeof bound;
    if (!rules.config || getsockname(descriptor, (struct sockaddr *)&bound, &size) != 0)
        return NULL;
    const struct config_listener *listeners = rules.config->listeners.items;
    for (size_t i = 0; i < rules.config->listeners.count; i++) {
        if (listener_is_at(&listeners[i], &bound))
            return &listeners[i];
    }
    return NULL;
}

static size_t
chain_of(const struct address *source)
{
    struct address key = address_source(source);
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < sizeof key.octets; i++)
        hash = (hash ^ key.octets[i]) * 16777619u;
    return hash % CHAINS;
}

static int64_t
count_source(const struct address *source)
{
    int64_t found = 0;
    struct address key = address_source(source);
    for (int at = chains[chain_of(source)]; at > 0; at = slots[at - 1].next) {
        const struct socket_connection *other = &slots[at - 1].connection;
        struct address other_key = address_source(&other->source);
        found += !other->is_local && memcmp(&key, &other_key, sizeof key) == 0;
    }
    return found;
}

static void
slot_release(int descriptor)
{
    struct slot *slot = &slots[descriptor];
    pthread_mutex_lock(&lock);
    if (atomic_exchange(&slot->is_used, false)) {
        int *link = &chains[chain_of(&slot->connection.source)];
        while (*link > 0 && *link != descriptor + 1)
            link = &slots[*link - 1].next;
        if (*link > 0)
            *link = slot->next;
    }
    pthread_mutex_unlock(&lock);
}

/* Why a connection is refused; NULL: it is not. Local peers and trusted proxies speak
 * for many. */
static const char *
judge(const struct socket_connection *connection)
{
    const struct address *source = &connection->source;
    if (!connection->listener)
        return "listener";
    if (connection->is_local || network_list_has(rules.trusted, source))
        return NULL;
    if (count_source(source) >= rules.config->limits.connections_per_source)
        return "source";
    bool has_rate = !connection->listener->tls || !rules.limit ||
                    limit_has(rules.limit, source, clock_ticks());
    return has_rate ? NULL : "rate";
}

/* Enters an accepted connection; what it is refused for, or NULL. */
static const char *
slot_take(int listener, int descriptor, const struct sockaddr_storage *peer)
{
    if (descriptor >= DESCRIPTORS_MAX)
        return "descriptor";
    slot_release(descriptor);
    pthread_mutex_lock(&lock);
    struct socket_connection connection = { .listener = listener_of(listener) };
    connection.is_local = !address_of(peer, &connection.source);
    const char *refusal = judge(&connection);
    if (!refusal) {
        struct slot *slot = &slots[descriptor];
        int *chain = &chains[chain_of(&connection.source)];
        slot->connection = connection;
        slot->next = *chain;
        *chain = descriptor + 1;
        atomic_store(&slot->is_used, true);
    }
    pthread_mutex_unlock(&lock);
    return refusal;
}

/* In all our protocols the client speaks first: until then the kernel keeps its
 * connection, and no thread waits for it. Not so on a unix socket, which declines. */
int
__wrap_listen(int descriptor, int backlog)
{
    int seconds = FIRST_OCTET_SECONDS;
    (void)setsockopt(descriptor, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds,
                     sizeof seconds);
    return __real_listen(descriptor, backlog);
}

int
__wrap_accept(int listener, struct sockaddr *restrict peer, socklen_t *restrict size)
{
    struct sockaddr_storage from = { 0 };
    socklen_t from_size = sizeof from;
    int descriptor = __real_accept(listener, (struct sockaddr *)&from, &from_size);
    if (descriptor < 0)
        return descriptor;
    const char *refusal = slot_take(listener, descriptor, &from);
    if (refusal) {
        metrics_count(rules.metrics, "connections_refused", refusal);
        __real_close(descriptor);
        errno = ECONNABORTED;
        return -1;
    }
    if (peer && size) {
        memcpy(peer, &from, from_size < *size ? from_size : *size);
        *size = from_size;
    }
    return descriptor;
}

int
__wrap_close(int descriptor)
{
    if (socket_of(descriptor)) {
        slot_release(descriptor);
        if (descriptor == current) {
            current = -1;
            deadline = 0;
        }
    }
    return __real_close(descriptor);
}

/* In slices, so that a stop need not wait for the longest of all waits. */
static int
poll_sliced(struct pollfd *polled, nfds_t count, int64_t milliseconds)
{
    int64_t end = milliseconds < 0 ? INT64_MAX : clock_ticks() + milliseconds;
    for (;;) {
        int64_t left = end - clock_ticks();
        int slice = left < SLICE_MILLISECONDS ? (int)left : SLICE_MILLISECONDS;
        int result = __real_poll(polled, count, slice > 0 ? slice : 0);
        if (result != 0 || left <= SLICE_MILLISECONDS || atomic_load(&is_hurried))
            return result;
    }
}

static void
note_connection(int descriptor)
{
    if (socket_of(descriptor))
        current = descriptor;
}

int
__wrap_poll(struct pollfd *polled, nfds_t count, int milliseconds)
{
    if (!is_server)
        return __real_poll(polled, count, milliseconds);
    atomic_store_explicit(&is_wrapped, true, memory_order_relaxed);
    if (count == 1)
        note_connection(polled[0].fd);
    if (count != 1 || polled[0].fd != current || deadline == 0)
        return poll_sliced(polled, count, milliseconds);
    int64_t left = deadline - clock_ticks();
    if (left <= 0) {
        errno = ETIMEDOUT;
        return -1;
    }
    bool is_sooner = milliseconds < 0 || left < milliseconds;
    return poll_sliced(polled, count, is_sooner ? left : milliseconds);
}

/* A thread has one buffer for the heads of all its connections, and the first thing
 * that it ever reads is a head. */
static void
note_head(const void *octets)
{
    if (is_server && !head)
        head = octets;
}

ssize_t
__wrap_recv(int descriptor, void *octets, size_t size, int flags)
{
    note_head(octets);
    return __real_recv(descriptor, octets, size, flags);
}

int
__wrap_SSL_read(SSL *tls, void *octets, int size)
{
    note_head(octets);
    return __real_SSL_read(tls, octets, size);
}

/* civetweb polls the socket when nothing is pending. A record that was read together
 * with the one before it would then wait there: OpenSSL counts its octets only once it
 * has been opened. */
int
__wrap_SSL_pending(const SSL *tls)
{
    uint8_t octet;
    int pending = __real_SSL_pending(tls);
    if (is_server)
        note_connection(SSL_get_fd(tls)); /* perhaps nothing is polled for it */
    if (pending > 0 || !SSL_has_pending(tls))
        return pending;
    ERR_clear_error();
    bool is_opened = SSL_peek((SSL *)(uintptr_t)tls, &octet, 1) == 1;
    OPENSSL_cleanse(&octet, 1);
    ERR_clear_error(); /* the rest of a record is still to come */
    return is_opened ? __real_SSL_pending(tls) : 0;
}
