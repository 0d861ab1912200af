/* The daemon: an ordered list of calls, signals, and the same list backwards. */
#include "serve.h"
#include "api.h"
#include "audit.h"
#include "clock.h"
#include "enroll.h"
#include "http.h"
#include "jobs.h"
#include "loader.h"
#include "log.h"
#include "mailer.h"
#include "self.h"
#include "webhook.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Each arena keeps memory of its own: with one a thread, 256 threads would hold on to
 * what they needed once. */
#define MALLOC_ARENAS 4
#define MALLOC_TRIM (256 * 1024)

static const struct ca_plugin *const built_in[] = { &api_plugin, &api_public_plugin,
                                                    &api_self_plugin };

struct daemon {
    struct service *service;
    struct loader loader;
    struct http *http;
    struct jobs *jobs;
    struct mailer *mailer;
    struct webhooks *webhooks;
    int data_lock; /* -1: not held */
};

char *
serve_config_path(const struct command_context *context)
{
    char *path = NULL;
    if (context->config)
        return strdup(context->config);
    return asprintf(&path, "%s/sealwright.json", context->data) < 0 ? NULL : path;
}

/* PINs and keys live in this process: nobody may read its memory or its core. */
static void
process_harden(void)
{
    const struct rlimit none = { 0, 0 };
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    umask(077);
    signal(SIGPIPE, SIG_IGN);
    mallopt(M_ARENA_MAX, MALLOC_ARENAS);
    mallopt(M_TRIM_THRESHOLD, MALLOC_TRIM);
}

/* The signals the main thread waits for; blocked before any thread starts, so that
 * none of them takes one. */
static sigset_t
signals_block(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return set;
}

static enum ca_status
pid_write(const char *path)
{
    if (!path)
        return CA_OK;
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file < 0)
        return ca_fail(CA_UNAVAILABLE, "%s: %s", path, strerror(errno));
    dprintf(file, "%ld\n", (long)getpid());
    close(file);
    return CA_OK;
}

static enum ca_status
reload_append(struct store_tx *tx, void *arg)
{
    const struct config *config = arg;
    char object[96];
    snprintf(object, sizeof object, "instance:%s", config->instance);
    return audit_append(tx, &(struct audit_entry){ .action = "service.reload",
                                                   .actor = "system",
                                                   .object = object,
                                                   .protocol = "",
                                                   .request = "",
                                                   .outcome = "ok" });
}

/* One daemon a data folder: two would be one instance in the audit, each with half of
 * what is in flight. Ends with the process, however that ends. */
static enum ca_status
data_lock(const char *folder, int *ret_lock)
{
    int lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0)
        return ca_fail(CA_UNAVAILABLE, "data_directory %s: %s", folder,
                       strerror(errno));
    if (flock(lock, LOCK_EX | LOCK_NB) == 0) {
        *ret_lock = lock;
        return CA_OK;
    }
    int reason = errno;
    close(lock);
    return reason == EWOULDBLOCK
               ? ca_fail(CA_CONFLICT, "data_directory %s: another daemon runs there",
                         folder)
               : ca_fail(CA_UNAVAILABLE, "data_directory %s: %s", folder,
                         strerror(reason));
}

/* A store that was lost or mistaken is empty: it must not pass for a new beginning. */
static enum ca_status
issuers_check(struct service *service)
{
    struct issuers *issuers = service_issuers(service);
    size_t count = issuers_count(issuers);
    issuers_release(issuers);
    if (count > 0)
        return CA_OK;
    return ca_fail(
        CA_UNAVAILABLE,
        "%s has no issuer: is it the right store? `sealwright init` makes one",
        service->config.store);
}

/* Without keys that seal, activation could only refuse; a token that is away comes
 * back.
 */
static enum ca_status
vault_check(struct service *service)
{
    if (!service_has_plugin(service, "activation"))
        return CA_OK;
    enum ca_status status = service_open_vault(service);
    if (status == CA_UNAVAILABLE)
        log_write(LOG_LEVEL_ERROR, NULL, "activation waits for its sealing key: %s",
                  status_message());
    return status == CA_UNAVAILABLE ? CA_OK : status;
}

static enum ca_status
daemon_start(const char *config_path, struct daemon *daemon)
{
    enum ca_status status = service_open(config_path, &daemon->service);
    if (status != CA_OK)
        return status;
    struct service *service = daemon->service;
    status = data_lock(service->config.data_directory, &daemon->data_lock);
    if (status == CA_OK)
        status = issuers_check(service);
    if (status == CA_OK)
        status = enroll_recover(service);
    if (status == CA_OK)
        status = vault_check(service);
    if (status == CA_OK)
        status = loader_open(&service->config, built_in,
                             sizeof built_in / sizeof *built_in, &daemon->loader);
    if (status == CA_OK)
        status = loader_check_routes(&daemon->loader);
    if (status == CA_OK)
        status = http_start(service, &daemon->loader, &daemon->http);
    if (status == CA_OK)
        status = jobs_start(service, &daemon->jobs);
    if (status == CA_OK)
        status = mailer_start(service, &daemon->mailer);
    if (status == CA_OK)
        status = webhooks_start(service, &daemon->webhooks);
    if (status == CA_OK)
        status = pid_write(service->config.pid_file);
    return status;
}

static void
daemon_stop(struct daemon *daemon)
{
    if (daemon->http)
        http_stop(daemon->http);
    webhooks_stop(daemon->webhooks);
    mailer_stop(daemon->mailer);
    if (daemon->jobs)
        jobs_stop(daemon->jobs);
    if (daemon->service && daemon->service->config.pid_file && daemon->http)
        unlink(daemon->service->config.pid_file);
    loader_close(&daemon->loader);
    if (daemon->service)
        service_close(daemon->service);
    if (daemon->data_lock >= 0)
        close(daemon->data_lock);
}

/* An operator lifted the latch of a token (its file is gone): log in again, once. */
static void
tokens_unlock(struct service *service)
{
    for (size_t i = 0; i < token_set_count(service->tokens); i++) {
        struct token_health health;
        token_health(service->tokens, i, &health);
        CA_AUTO(free)
        char *path = service_latch_path(&service->config, health.name);
        if (health.state != TOKEN_LATCHED || !path || access(path, F_OK) == 0)
            continue;
        if (token_unlock(service->tokens, health.name) != CA_OK)
            log_write(LOG_LEVEL_ERROR, NULL, "token '%s' stays latched: %s",
                      health.name, status_message());
    }
}

/* SIGHUP: the log file after its rotation, TLS certificate, unlocked tokens, issuers,
 * organisation. */
static void
daemon_reload(struct daemon *daemon)
{
    const struct config *config = &daemon->service->config;
    enum log_level level = LOG_LEVEL_INFO;
    log_level_parse(config->log_level, &level);
    if (!log_open(config->log_file, level))
        log_write(LOG_LEVEL_ERROR, NULL, "%s: %s", config->log_file, strerror(errno));
    if (http_reload_tls(daemon->http) != CA_OK)
        log_write(LOG_LEVEL_ERROR, NULL, "reload: %s", status_message());
    tokens_unlock(daemon->service);
    if (service_reload(daemon->service) != CA_OK)
        log_write(LOG_LEVEL_ERROR, NULL, "reload: %s", status_message());
    else if (store_write(daemon->service->store, reload_append,
                         &daemon->service->config) != CA_OK)
        log_write(LOG_LEVEL_ERROR, NULL, "reload: %s", status_message());
    else
        log_write(LOG_LEVEL_INFO, NULL, "reloaded");
}

/* Tells the process that started us, if one waits, how the start went. */
static void
parent_tell(int pipe_end, const char *message)
{
    if (pipe_end < 0)
        return;
    size_t size = strlen(message);
    if (write(pipe_end, message, size) != (ssize_t)size)
        log_write(LOG_LEVEL_WARNING, NULL, "nobody waits for the start");
    close(pipe_end);
}

static int
serve(const char *config_path, int pipe_end)
{
    process_harden();
    sigset_t signals = signals_block();
    struct daemon daemon = { .data_lock = -1 };
    if (daemon_start(config_path, &daemon) != CA_OK) {
        log_write(LOG_LEVEL_ERROR, NULL, "start: %s", status_message());
        /* Who starts it looks here first, whatever the log goes to. */
        fprintf(stderr, "sealwright: %s\n", status_message());
        parent_tell(pipe_end, status_message());
        daemon_stop(&daemon);
        return 1;
    }
    log_write(LOG_LEVEL_INFO, NULL, "sealwright %s serves", SEALWRIGHT_VERSION);
    parent_tell(pipe_end, "");
    for (;;) {
        int signal_number = 0;
        if (sigwait(&signals, &signal_number) != 0)
            continue;
        if (signal_number != SIGHUP)
            break;
        daemon_reload(&daemon);
    }
    log_write(LOG_LEVEL_INFO, NULL, "sealwright stops");
    daemon_stop(&daemon);
    return 0;
}

/* Reads what the child tells until it closes its end: nothing at all is success. */
static int
child_wait(pid_t child, int pipe_end)
{
    char message[1024];
    size_t used = 0;
    ssize_t got;
    while (used < sizeof message - 1 &&
           (got = read(pipe_end, message + used, sizeof message - 1 - used)) > 0)
        used += (size_t)got;
    message[used] = '\0';
    int state = 0;
    bool has_ended = waitpid(child, &state, WNOHANG) == child;
    if (used == 0 && !has_ended)
        return 0;
    fprintf(stderr, "sealwright: %s\n",
            used ? message : "the daemon ended at its start");
    return 1;
}

/* Forks before any library has threads or a token is open; the parent stays until the
 * child serves or has failed. */
static int
serve_in_background(const char *config_path)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        perror("sealwright: pipe");
        return 1;
    }
    pid_t child = fork();
    if (child < 0) {
        perror("sealwright: fork");
        return 1;
    }
    if (child > 0) {
        close(ends[1]);
        return child_wait(child, ends[0]);
    }
    close(ends[0]);
    setsid();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int standard = 0; null >= 0 && standard <= 2; standard++)
        dup2(null, standard);
    exit(serve(config_path, ends[1]));
}

static int
serve_run(const struct command_context *context, int argc, char **argv)
{
    static const struct option options[] = { { "daemon", no_argument, NULL, 'd' },
                                             { NULL, 0, NULL, 0 } };
    bool in_background = false;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c != 'd')
            return 2;
        in_background = true;
    }
    if (optind < argc) {
        fprintf(stderr, "sealwright serve: what is '%s'?\n", argv[optind]);
        return 2;
    }
    CA_AUTO(free) char *path = serve_config_path(context);
    CA_AUTO(free) char *real = path ? realpath(path, NULL) : NULL;
    if (!real) {
        fprintf(stderr, "sealwright: %s: %s\n", path ? path : "", strerror(errno));
        return 1;
    }
    return in_background ? serve_in_background(real) : serve(real, -1);
}

const struct command serve_command = {
    .name = "serve",
    .summary = "run the daemon",
    .help = "Usage: sealwright serve [--data DIR | --config FILE] [--daemon]\n"
            "\n"
            "Runs the daemon in the foreground, as systemd wants it. SIGTERM ends it "
            "after\n"
            "the requests in flight; SIGHUP reopens the log, reads the TLS certificate "
            "and\n"
            "the issuers anew, and tries tokens that were unlocked.\n"
            "\n"
            "  --daemon  go to the background once it serves\n"
            "\n"
            "Examples:\n"
            "  sealwright serve --data /var/lib/sealwright\n"
            "  sealwright serve --config /etc/sealwright/sealwright.json --daemon\n",
    .run = serve_run,
};
