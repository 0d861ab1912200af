/* The web server's life: listeners, start, drain, stop. */
#include "http.h"
#include "auto.h"
#include "clock.h"
#include "http_serve.h"
#include "http_socket.h"
#include "log.h"
#include "text.h"
#include <civetweb.h>
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define DRAIN_MILLISECONDS 10000
#define GRACE_MILLISECONDS 250 /* for requests that were sent and are not read yet */
#define WRAP_MILLISECONDS 2000 /* until the server's thread has polled once */
#define OPTIONS_MAX 32
#define NUMBER_SIZE 24
#define DESCRIPTORS_ELSE 512 /* of store, token, helpers, and connections that wait */

/* civetweb's first complaint in this thread: the reason why it did not start. */
static _Thread_local char complaint[256];

static int
note_complaint(const struct mg_connection *connection, const char *message)
{
    (void)connection;
    if (!complaint[0])
        snprintf(complaint, sizeof complaint, "%s", message);
    log_write(LOG_LEVEL_DEBUG, NULL, "web server: %s", message);
    return 1;
}

static void *
enter_thread(const struct mg_context *context, int kind)
{
    (void)context, (void)kind;
    socket_enter_thread();
    return NULL;
}

static int
init_ssl(void *context, void *user_data)
{
    struct http *http = user_data;
    return http->tls && tls_configure(http->tls, context) ? 1 : -1;
}

/* ---- Listeners ---- */

static bool
has_tls(const struct config *config)
{
    const struct config_listener *listeners = config->listeners.items;
    for (size_t i = 0; i < config->listeners.count; i++) {
        if (listeners[i].tls)
            return true;
    }
    return false;
}

/* A socket file that nobody answers at is left over from a crash. */
static enum ca_status
path_clear(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct stat status;
    if (lstat(path, &status) != 0)
        return errno == ENOENT
                   ? CA_OK
                   : ca_fail(CA_UNAVAILABLE, "%s: %s", path, strerror(errno));
    if (!S_ISSOCK(status.st_mode))
        return ca_fail(CA_CONFLICT, "%s exists and is no socket", path);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (probe < 0)
        return ca_fail(CA_INTERNAL, "socket: %s", strerror(errno));
    bool is_alive = connect(probe, (struct sockaddr *)&address, sizeof address) == 0;
    close(probe);
    if (is_alive)
        return ca_fail(CA_UNAVAILABLE, "%s: another daemon answers there", path);
    if (unlink(path) != 0)
        return ca_fail(CA_UNAVAILABLE, "%s: %s", path, strerror(errno));
    return CA_OK;
}

static enum ca_status
check_listener(const struct config_listener *listener, size_t index)
{
    struct sockaddr_un address;
    struct address parsed;
    if (!listener->path) {
        if (listener->bind[0] == '[' ||
            !address_parse(listener->bind, strlen(listener->bind), &parsed))
            return ca_fail(CA_MALFORMED, "listeners/%zu/bind: '%s' is no address",
                           index, listener->bind);
        return CA_OK;
    }
    /* civetweb's list of ports has no other way to write them. */
    if (strpbrk(listener->path, ",:") || listener->path[0] != '/')
        return ca_fail(CA_MALFORMED,
                       "listeners/%zu/path: not absolute, or ',' or ':' in it", index);
    if (strlen(listener->path) + 1 >= sizeof address.sun_path)
        return ca_fail(CA_LIMIT, "listeners/%zu/path: more than %zu octets", index,
                       sizeof address.sun_path - 2);
    return path_clear(listener->path);
}

/* civetweb's list of ports. Its reader takes a unix socket before any address for a
 * host name, so these come last. */
static enum ca_status
listeners_format(const struct config *config, struct text_buffer *buffer)
{
    const struct config_listener *listeners = config->listeners.items;
    for (size_t pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < config->listeners.count; i++) {
            const struct config_listener *listener = &listeners[i];
            if ((listener->path != NULL) != (pass == 1))
                continue;
            enum ca_status status = check_listener(listener, i);
            if (status != CA_OK)
                return status;
            const char *comma = buffer->size > 0 ? "," : "";
            bool is_v6 = !listener->path && strchr(listener->bind, ':');
            if (listener->path)
                text_print(buffer, "%sx%s", comma, listener->path);
            else
                text_print(buffer, is_v6 ? "%s[%s]:%lld%s" : "%s%s:%lld%s", comma,
                           listener->bind, (long long)listener->port,
                           listener->tls ? "s" : "");
        }
    }
    if (buffer->failed || buffer->size == 0)
        return ca_fail(buffer->failed ? CA_INTERNAL : CA_MALFORMED, "no listeners");
    return CA_OK;
}

static void
paths_remove(const struct config *config)
{
    const struct config_listener *listeners = config->listeners.items;
    for (size_t i = 0; i < config->listeners.count; i++) {
        if (listeners[i].path)
            unlink(listeners[i].path);
    }
}

/* ---- Start and stop ---- */

static const char *
number_format(int64_t number, char text[NUMBER_SIZE])
{
    snprintf(text, NUMBER_SIZE, "%lld", (long long)number);
    return text;
}

/* A worker needs two descriptors: its connection, and an event that wakes it. The usual
 * limit of 1024 is for programs that call select, which we do not. */
static void
descriptors_allow(int64_t workers)
{
    struct rlimit limit;
    rlim_t wanted = 2 * (rlim_t)workers + DESCRIPTORS_ELSE;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_write(LOG_LEVEL_WARNING, NULL, "%lld workers want %lld descriptors: %s",
                  (long long)workers, (long long)wanted, strerror(errno));
}

static struct mg_context *
context_start(struct http *http, const char *listeners)
{
    const struct config_limits *limits = &http->service->config.limits;
    char workers[NUMBER_SIZE], header_ms[NUMBER_SIZE], idle_ms[NUMBER_SIZE],
        head_size[NUMBER_SIZE];
    const char *options[OPTIONS_MAX] = { "listening_ports",
                                         listeners,
                                         "num_threads",
                                         number_format(limits->workers, workers),
                                         "request_timeout_ms",
                                         number_format(limits->header_ms, header_ms),
                                         "keep_alive_timeout_ms",
                                         number_format(limits->idle_ms, idle_ms),
                                         "max_request_size",
                                         number_format(HTTP_HEAD_SIZE, head_size),
                                         "enable_keep_alive",
                                         "yes",
                                         "tcp_nodelay",
                                         "1",
                                         "connection_queue",
                                         "128",
                                         "listen_backlog",
                                         "4096", /* the kernel's limit is less */
                                         "decode_url",
                                         "no",
                                         "enable_auth_domain_check",
                                         "no",
                                         "access_control_allow_origin",
                                         "",
                                         NULL };
    struct mg_callbacks callbacks = { .begin_request = serve_request,
                                      .http_error = serve_error,
                                      .log_message = note_complaint,
                                      .init_thread = enter_thread,
                                      .init_ssl = init_ssl };
    descriptors_allow(limits->workers);
    /* Unix sockets come up for their owner alone. */
    mode_t mask = umask(0177);
    struct mg_context *context = mg_start(&callbacks, http, options);
    umask(mask);
    return context;
}

/* A server without our accept and poll would have neither caps nor deadlines. */
static enum ca_status
check_wrapped(void)
{
    const struct timespec pause = { .tv_nsec = 1000000 };
    for (int64_t end = clock_ticks() + WRAP_MILLISECONDS; clock_ticks() < end;) {
        if (socket_is_wrapped())
            return CA_OK;
        nanosleep(&pause, NULL);
    }
    return ca_fail(CA_UNSUPPORTED,
                   "civetweb is not linked statically with this program");
}

static void
http_free(struct http *http)
{
    if (http->context) {
        socket_hurry();
        mg_stop(http->context);
        paths_remove(&http->service->config);
        mg_exit_library();
    }
    socket_stop();
    tls_close(http->tls);
    limit_free(http->limit);
    network_list_clear(&http->trusted);
    free(http);
}

CA_AUTO_RELEASE(struct http, http_free)

static enum ca_status
http_listen(struct http *http)
{
    CA_AUTO(text_buffer_clear) struct text_buffer listeners = { 0 };
    enum ca_status status = listeners_format(&http->service->config, &listeners);
    if (status != CA_OK)
        return status;
    if (!(mg_init_library(MG_FEATURES_TLS) & MG_FEATURES_TLS)) {
        mg_exit_library();
        return ca_fail(CA_UNSUPPORTED, "civetweb was built without TLS");
    }
    socket_start(&(struct socket_rules){ &http->service->config, &http->trusted,
                                         http->limit, http->service->metrics });
    complaint[0] = '\0';
    http->context = context_start(http, listeners.data);
    if (!http->context) {
        paths_remove(&http->service->config);
        mg_exit_library();
        return ca_fail(CA_UNAVAILABLE, "cannot listen: %s",
                       complaint[0] ? complaint : "no reason given");
    }
    return check_wrapped();
}

enum ca_status
http_start(struct service *service, const struct loader *loader, struct http **ret_http)
{
    const struct config *config = &service->config;
    CA_AUTO(http_free) struct http *http = calloc(1, sizeof *http);
    if (!http)
        return ca_fail(CA_INTERNAL, "no memory");
    http->service = service;
    http->loader = loader;
    enum ca_status status = loader_check_routes(loader);
    if (status == CA_OK)
        status = network_list_parse(&config->limits.trusted_proxies, &http->trusted);
    if (status != CA_OK)
        return status;
    http->limit = limit_new(config->limits.requests_per_second, config->limits.burst);
    if (!http->limit)
        return ca_fail(CA_INTERNAL, "no memory");
    if (has_tls(config)) {
        if (!config->tls_certificate || !config->tls_key)
            return ca_fail(CA_MALFORMED, "%s: missing, and a listener wants TLS",
                           config->tls_certificate ? "tls_key" : "tls_certificate");
        status = tls_open(config->tls_certificate, config->tls_key, http->service,
                          &http->tls);
    }
    if (status == CA_OK)
        status = http_listen(http);
    if (status == CA_OK)
        *ret_http = CA_STEAL(http);
    return status;
}

void
http_stop(struct http *http)
{
    if (!http)
        return;
    const struct timespec pause = { .tv_nsec = 5000000 };
    atomic_store(&http->service->draining, true);
    int64_t begin = clock_ticks();
    while (clock_ticks() < begin + GRACE_MILLISECONDS ||
           (atomic_load(&http->in_flight) > 0 &&
            clock_ticks() < begin + DRAIN_MILLISECONDS))
        nanosleep(&pause, NULL);
    http_free(http);
}

enum ca_status
http_reload_tls(struct http *http)
{
    return http->tls ? tls_reload(http->tls) : CA_OK;
}
