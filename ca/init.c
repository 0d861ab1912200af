/* `sealwright init`: from an empty folder to a data folder that `serve` can use. */
#include "init.h"
#include "auto.h"
#include "config.h"
#include "serve.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONFIG_NAME "sealwright.json"

static int
failed(const char *what)
{
    fprintf(stderr, "sealwright init: %s: %s\n", what, status_message());
    return 1;
}

static json_t *
token_format(const struct init_options *options)
{
    CA_AUTO(free) char *uri = NULL;
    const char *label = options->module ? options->token : INIT_TOKEN_LABEL;
    if (asprintf(&uri, "pkcs11:token=%s", label) < 0)
        return NULL;
    if (options->module)
        return json_pack("{s:s, s:s, s:s, s:s}", "name", "main", "module",
                         options->module, "uri", uri, "pin_source",
                         options->pin_source);
    return json_pack("{s:s, s:s, s:s, s:s, s:[s], s:[s]}", "name", "main", "module",
                     INIT_SOFTHSM_MODULE, "uri", uri, "pin_source", "file:token/pin",
                     "environment", "SOFTHSM2_CONF=./token/softhsm2.conf", "waive",
                     "software");
}

static json_t *
listeners_format(const struct init_options *options)
{
    return json_pack("[{s:s, s:I}, {s:s, s:I, s:b, s:b, s:b}, {s:s, s:b}]", "bind",
                     options->bind, "port", (json_int_t)options->http, "bind",
                     options->bind, "port", (json_int_t)options->https, "tls", 1,
                     "client_certificates", 1, "api", 1, "path", "sealwright.sock",
                     "api", 1);
}

/* The protocols; NULL: no memory. */
static json_t *
plugins_format(const struct init_options *options)
{
    static const char *const names[] = { "scep",  "discovery", "xcep",
                                         "wstep", "syncml",    "activation" };
    json_t *plugins = json_array();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], "activation") == 0 &&
            options->activation == INIT_ACTIVATION_NONE)
            continue;
        json_array_append_new(plugins, json_pack("{s:s}", "name", names[i]));
    }
    return plugins;
}

/* The text of the configuration; free() it. */
static char *
config_format(const struct init_options *options)
{
    CA_AUTO(json_decref)
    json_t *config =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:[o], s:o}", "instance", "main",
                  "store", "sqlite:store.db", "log_file", "sealwright.log", "pid_file",
                  "sealwright.pid", "tls_certificate", "tls.pem", "tls_key", "tls.key",
                  "listeners", listeners_format(options), "tokens",
                  token_format(options), "plugins", plugins_format(options));
    if (config && options->activation == INIT_ACTIVATION_MEMORY &&
        json_object_set_new(config, "activation",
                            json_pack("{s:s}", "kek", "memory")) != 0)
        return NULL;
    return config ? json_dumps(config, JSON_INDENT(2)) : NULL;
}

CA_AUTO_RELEASE(DIR, closedir)

/* Nothing in it but what the file system itself made. */
static bool
folder_is_empty(const char *folder)
{
    CA_AUTO(closedir) DIR *opened = opendir(folder);
    bool is_empty = opened;
    for (const struct dirent *entry; is_empty && (entry = readdir(opened));)
        is_empty = strcmp(entry->d_name, ".") == 0 ||
                   strcmp(entry->d_name, "..") == 0 ||
                   strcmp(entry->d_name, "lost+found") == 0;
    return is_empty;
}

/* No earlier set-up, whole or not, is in it. */
static enum ca_status
folder_check(const char *folder)
{
    static const char *const ours[] = { CONFIG_NAME, "store.db", "token",
                                        "admin.token" };
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        CA_AUTO(free) char *path = NULL;
        if (asprintf(&path, "%s/%s", folder, ours[i]) < 0)
            return ca_fail(CA_INTERNAL, "no memory for a path");
        if (access(path, F_OK) == 0)
            return ca_fail(CA_CONFLICT, "%s exists: %s", path,
                           i == 0
                               ? "this folder is set up already"
                               : "an earlier set-up did not finish; remove the folder");
    }
    return CA_OK;
}

/* An own folder that nobody else reads, ours alone until this process ends. One that
 * others use is not taken from them. */
static enum ca_status
folder_prepare(const char *folder)
{
    struct stat found;
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return ca_fail(CA_UNAVAILABLE, "%s: %s", folder, strerror(errno));
    int lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0 && errno == ENOTDIR)
        return ca_fail(CA_CONFLICT, "%s is no folder", folder);
    if (lock < 0 || fstat(lock, &found) != 0)
        return ca_fail(CA_UNAVAILABLE, "%s: %s", folder, strerror(errno));
    if (flock(lock, LOCK_EX | LOCK_NB) != 0)
        return ca_fail(CA_CONFLICT, "another set-up of %s is under way", folder);
    enum ca_status status = folder_check(folder);
    if (status != CA_OK)
        return status;
    if ((found.st_mode & 077) != 0 && !folder_is_empty(folder))
        return ca_fail(CA_CONFLICT,
                       "%s holds other files and is open to others: name a folder of "
                       "its own, or close it (chmod 700)",
                       folder);
    if (fchmod(lock, 0700) != 0)
        return ca_fail(CA_UNAVAILABLE, "%s: %s", folder, strerror(errno));
    return CA_OK;
}

/* What the token can do for activation is known only now. */
static enum ca_status
config_settle(const struct init_options *options, const char *fresh)
{
    if (options->activation == INIT_ACTIVATION_TOKEN)
        return CA_OK;
    printf("    activation: %s\n",
           options->activation == INIT_ACTIVATION_MEMORY
               ? "the token lacks AES-GCM, sealing keys are kept in memory"
               : "the token cannot keep its sealing keys, left out");
    CA_AUTO(free) char *text = config_format(options);
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for the configuration");
    unlink(fresh);
    return init_file_write(fresh, text, strlen(text), 0600);
}

/* Writes what is to be the configuration and reads it as `serve` would, before anything
 * is made that would be lost with it. */
static enum ca_status
config_write(const char *path, const char *text)
{
    struct config config = { 0 };
    enum ca_status status = init_file_write(path, text, strlen(text), 0600);
    if (status == CA_OK)
        status = config_load(path, &config);
    config_clear(&config);
    if (status != CA_OK)
        unlink(path);
    return status;
}

/* The configuration is there under its name only when everything else is. */
static int
create(struct init_options *options)
{
    CA_AUTO(free) char *path = NULL;
    CA_AUTO(free) char *fresh = NULL;
    CA_AUTO(free) char *text = config_format(options);
    if (!text || asprintf(&path, "%s/" CONFIG_NAME, options->data) < 0 ||
        asprintf(&fresh, "%s.setup", path) < 0)
        return failed("no memory");
    if (config_write(fresh, text) != CA_OK) {
        rmdir(options->data); /* unless it holds anything */
        return failed("the configuration was not written");
    }
    printf("    token: %s\n",
           options->module ? options->module : "a new SoftHSM token");
    if (!options->module && init_token_create(options) != CA_OK)
        return failed("the token was not made");
    struct service *service = NULL;
    if (service_open(fresh, &service) != CA_OK)
        return failed("the token or the store does not open");
    printf("    keys (made in the token), issuers, profiles, administrator ...\n");
    fflush(stdout);
    enum ca_status status = init_data_create(options, service);
    if (status == CA_OK)
        status = init_data_seal(service, &options->activation);
    if (status == CA_OK)
        status = config_settle(options, fresh);
    service_close(service);
    if (status != CA_OK)
        return failed("the set-up did not finish");
    if (rename(fresh, path) != 0) {
        perror("sealwright init: the configuration");
        return 1;
    }
    printf("    root CA (P-384), issuing CA (P-256), SCEP RA (RSA-2048)\n"
           "    administrator 'admin', token in %s/admin.token\n",
           options->data);
    return 0;
}

static int
renew_tls(const struct command_context *context)
{
    CA_AUTO(free) char *path = serve_config_path(context);
    struct service *service = NULL;
    if (!path || service_open(path, &service) != CA_OK)
        return failed("the data folder does not open");
    enum ca_status status = init_tls_renew(service);
    service_close(service);
    if (status != CA_OK)
        return failed("the TLS certificate was not renewed");
    puts("TLS certificate renewed; a running daemon takes it with SIGHUP");
    return 0;
}

static bool
port_parse(const char *text, long *ret_port)
{
    char *end = NULL;
    long port = strtol(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || port < 1 || port > 65535)
        return false;
    *ret_port = port;
    return true;
}

enum { OPTION_RENEW = 256 };
static const struct option option_table[] = {
    { "http", required_argument, NULL, 'h' },
    { "https", required_argument, NULL, 's' },
    { "bind", required_argument, NULL, 'b' },
    { "module", required_argument, NULL, 'm' },
    { "token", required_argument, NULL, 't' },
    { "pin-source", required_argument, NULL, 'p' },
    { "name", required_argument, NULL, 'n' },
    { "domain", required_argument, NULL, 'd' },
    { "renew-tls", no_argument, NULL, OPTION_RENEW },
    { NULL, 0, NULL, 0 },
};

/* False: what is wrong has been said. */
static bool
options_parse(int argc, char **argv, struct init_options *options, bool *ret_renew)
{
    for (int c; (c = getopt_long(argc, argv, "", option_table, NULL)) != -1;) {
        bool holds = true;
        switch (c) {
        case 'h': holds = port_parse(optarg, &options->http); break;
        case 's': holds = port_parse(optarg, &options->https); break;
        case 'b': options->bind = optarg; break;
        case 'm': options->module = optarg; break;
        case 't': options->token = optarg; break;
        case 'p': options->pin_source = optarg; break;
        case 'n': options->name = optarg; break;
        case 'd': options->domain = optarg; break;
        case OPTION_RENEW: *ret_renew = true; break;
        default: return false;
        }
        if (!holds) {
            fprintf(stderr, "sealwright init: '%s' is no port\n", optarg);
            return false;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "sealwright init: what is '%s'?\n", argv[optind]);
        return false;
    }
    if (options->http == options->https) {
        fputs("sealwright init: --http and --https are the same port\n", stderr);
        return false;
    }
    if (options->module && (!options->token || !options->pin_source)) {
        fputs("sealwright init: --module wants --token and --pin-source\n", stderr);
        return false;
    }
    if (!options->module && (options->token || options->pin_source)) {
        fputs("sealwright init: --token and --pin-source want --module\n", stderr);
        return false;
    }
    return true;
}

static int
init_run(const struct command_context *context, int argc, char **argv)
{
    const struct rlimit none = { 0, 0 };
    setrlimit(RLIMIT_CORE, &none); /* PINs and keys pass through this process */
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    umask(077);
    setvbuf(stdout, NULL, _IOLBF, 0); /* progress, in its place among the errors */
    struct init_options options = {
        .bind = "127.0.0.1", .http = 8080, .https = 8443, .name = "Sealwright"
    };
    bool is_renewal = false;
    if (!options_parse(argc, argv, &options, &is_renewal))
        return 2;
    if (is_renewal)
        return renew_tls(context);
    if (init_options_check(&options) != CA_OK)
        return failed("nothing was made");
    if (folder_prepare(context->data) != CA_OK)
        return failed("no data folder");
    CA_AUTO(free) char *real = realpath(context->data, NULL);
    if (!real) {
        fprintf(stderr, "sealwright init: %s: %s\n", context->data, strerror(errno));
        return 1;
    }
    options.data = real;
    return create(&options);
}

const struct command init_command = {
    .name = "init",
    .summary = "make a data folder: token, keys, issuers, administrator",
    .help =
        "Usage: sealwright init [--data DIR] [OPTION...]\n"
        "\n"
        "Makes DIR with configuration, store, a root and an issuing CA, the helper "
        "and\n"
        "sealing keys, the profiles certificate/default, certificate/activation,\n"
        "scep/default and activation/default, an administrator and a TLS certificate.\n"
        "All keys but the TLS key are made in the token and stay there.\n"
        "\n"
        "  --http PORT         plain listener (8080)\n"
        "  --https PORT        TLS listener (8443)\n"
        "  --bind ADDR         their address (127.0.0.1)\n"
        "  --name NAME         of the organisation (Sealwright)\n"
        "  --domain DOMAIN     its mail domain\n"
        "  --module FILE       PKCS#11 library of a real HSM (default: a SoftHSM "
        "token)\n"
        "  --token LABEL       its token, already initialised\n"
        "  --pin-source SRC    where its PIN is: file:PATH, mode 0400\n"
        "  --renew-tls         only renew the TLS listeners' certificate of DIR\n"
        "\n"
        "Examples:\n"
        "  sealwright init --data /var/lib/sealwright --name 'Example Corp'\n"
        "  sealwright init --data /var/lib/sealwright --module "
        "/usr/lib/libCryptoki2.so \\\n"
        "      --token ca --pin-source file:/etc/sealwright/pin\n",
    .run = init_run,
};
