/* The configuration: one table, then defaults that depend on others and paths made
 * absolute. */
#include "config.h"
#include "auto.h"
#include "mime.h"
#include "owned.h"
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MESSAGE_SIZE 480   /* what one operator's message has room for */
#define WAITING_PERCENT 60 /* of the workers: an outage leaves the rest to answer */
#define LISTENERS_MAX 16
#define TOKENS_MAX 16
#define PLUGINS_MAX 32
#define PROXIES_MAX 64
#define ENVIRONMENT_MAX 32
#define PATH_SIZE_MAX 1024

const char config_plugin_directory[] = SEALWRIGHT_PLUGIN_DIRECTORY;

static const char *const log_level_words[] = { "debug", "info", "warning", "error",
                                               NULL };

static bool
is_log_level(const void *member, char *ret_reason, size_t size)
{
    const char *word = *(char *const *)member;
    for (size_t i = 0; log_level_words[i]; i++)
        if (strcmp(word, log_level_words[i]) == 0)
            return true;
    snprintf(ret_reason, size, "must be one of: debug, info, warning, error");
    return false;
}

static bool
is_object(const void *member, char *ret_reason, size_t size)
{
    if (json_is_object(*(json_t *const *)member))
        return true;
    snprintf(ret_reason, size, "must be an object");
    return false;
}

static bool
is_tls_version(const void *member, char *ret_reason, size_t size)
{
    int64_t version = *(const int64_t *)member;
    snprintf(ret_reason, size, "must be 12 or 13");
    return version == 12 || version == 13;
}

static const struct field listener_fields[] = {
    { FIELD(config_listener, bind), .type = FIELD_TEXT, .min = 1, .max = 45,
      .help = "Numeric address to listen on; 127.0.0.1 when neither it nor path is "
              "there." },
    { FIELD(config_listener, port), .type = FIELD_INTEGER, .min = 0, .max = 65535,
      .help = "TCP port, 1 to 65535; needed without path." },
    { FIELD(config_listener, path), .type = FIELD_TEXT, .min = 1, .max = 107,
      .help = "Unix socket (mode 0600) instead of bind and port." },
    { FIELD(config_listener, tls), .type = FIELD_BOOLEAN,
      .help = "Speak TLS with tls_certificate and tls_key." },
    { FIELD(config_listener, client_certificates), .type = FIELD_BOOLEAN,
      .help = "Ask TLS clients for a certificate; never demand one." },
    { FIELD(config_listener, metrics), .type = FIELD_BOOLEAN,
      .help = "Answer /metrics here without a role." },
    { FIELD(config_listener, api), .type = FIELD_BOOLEAN,
      .help = "Serve /api/v1 here; with tls or path only." },
    { FIELD(config_listener, tls_max), .type = FIELD_INTEGER, .initial = "13",
      .check = is_tls_version, .help = "Highest TLS version: 12 or 13." },
    FIELD_END,
};

static const struct field token_fields[] = {
    { FIELD(config_token, name), .type = FIELD_TEXT,
      .flags = FIELD_REQUIRED | FIELD_NAME,
      .help = "How messages and metrics call this token." },
    { FIELD(config_token, module), .type = FIELD_TEXT, .flags = FIELD_REQUIRED,
      .min = 1, .max = PATH_SIZE_MAX, .help = "File of the PKCS#11 library." },
    { FIELD(config_token, uri), .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .min = 8,
      .max = 512,
      .help = "RFC 7512 URI that names exactly one token, without a query." },
    { FIELD(config_token, pin_source), .type = FIELD_TEXT, .flags = FIELD_REQUIRED,
      .min = 6, .max = PATH_SIZE_MAX,
      .help = "\"file:PATH\" of the PIN; nobody but its owner may read the file." },
    { FIELD(config_token, permits), .type = FIELD_INTEGER, .min = 1, .max = 256,
      .initial = "12", .help = "Operations at the same time." },
    { FIELD(config_token, wait_ms), .type = FIELD_INTEGER, .min = 100, .max = 120000,
      .initial = "10000",
      .help = "Longest wait for a permit or for a token that comes back." },
    { FIELD(config_token, stuck_ms), .type = FIELD_INTEGER, .min = 100, .max = 600000,
      .initial = "5000", .help = "A call to the library that takes longer is stuck." },
    { FIELD(config_token, exit_when_stuck), .type = FIELD_BOOLEAN,
      .help = "End the process (status 75) when a call is stuck, for the supervisor to "
              "start it again." },
    { FIELD(config_token, required), .type = FIELD_BOOLEAN,
      .help = "Do not start while the token is latched or not there; else the daemon "
              "starts, is not ready, and takes the token up when it comes." },
    { FIELD(config_token, waive), .type = FIELD_TEXTS, .min = 1, .max = 32,
      .count_max = 16,
      .help = "Demands on keys and token that do not hold here, by name "
              "(\"software\" for SoftHSM)." },
    { FIELD(config_token, environment), .type = FIELD_TEXTS, .min = 2,
      .max = PATH_SIZE_MAX, .count_max = ENVIRONMENT_MAX,
      .help = "\"NAME=VALUE\" set before the library loads, never a secret; a VALUE "
              "that starts with ./ is relative to this file's folder." },
    { FIELD(config_token, arguments), .type = FIELD_TEXT, .min = 1,
      .max = PATH_SIZE_MAX,
      .help = "Text handed to C_Initialize for libraries that want one (NSS)." },
    FIELD_END,
};

static const struct field plugin_fields[] = {
    { FIELD(config_plugin, name), .type = FIELD_TEXT,
      .flags = FIELD_REQUIRED | FIELD_NAME,
      .help = "Loads sealwright_NAME.so from plugin_directory." },
    { FIELD(config_plugin, settings), .type = FIELD_JSON, .initial = "{}",
      .check = is_object, .help = "The plugin's own settings, an object." },
    FIELD_END,
};

static const struct field limits_fields[] = {
    { FIELD(config_limits, workers), .type = FIELD_INTEGER, .min = 4, .max = 4096,
      .initial = "256", .help = "Threads, one for each connection." },
    { FIELD(config_limits, waiting), .type = FIELD_INTEGER, .min = 0, .max = 4095,
      .help = "Workers that may wait for token, store or long poll; fewer than "
              "workers, 0 for 60 % of them." },
    { FIELD(config_limits, connections_per_source), .type = FIELD_INTEGER, .min = 1,
      .max = 4096, .initial = "64",
      .help = "Connections of one address (of one /64 in IPv6) at the same time." },
    { FIELD(config_limits, requests_per_second), .type = FIELD_INTEGER, .min = 0,
      .max = 100000, .initial = "20",
      .help = "Requests of one source that prove nobody or are refused; 0 for no "
              "limit. A source that "
              "is over it gets no TLS handshake." },
    { FIELD(config_limits, burst), .type = FIELD_INTEGER, .min = 1, .max = 100000,
      .initial = "100", .help = "Requests a quiet source may make at once." },
    { FIELD(config_limits, header_ms), .type = FIELD_INTEGER, .min = 100, .max = 120000,
      .initial = "10000", .help = "Time for a request's headers." },
    { FIELD(config_limits, body_ms), .type = FIELD_INTEGER, .min = 100, .max = 600000,
      .initial = "30000", .help = "Time for a request's body." },
    { FIELD(config_limits, idle_ms), .type = FIELD_INTEGER, .min = 0, .max = 120000,
      .initial = "1000", .help = "How long a silent connection is kept." },
    { FIELD(config_limits, request_ms), .type = FIELD_INTEGER, .min = 1000,
      .max = 600000, .initial = "30000", .help = "Time to answer one request." },
    { FIELD(config_limits, trusted_proxies), .type = FIELD_TEXTS, .min = 2, .max = 49,
      .count_max = PROXIES_MAX,
      .help = "Addresses or prefixes whose forwarding headers are believed." },
    FIELD_END,
};

static const char *const kek_words[] = { "token", "memory", NULL };
static const char *const method_words[] = { "any", "gcm", "kw", "cbc", "oaep", NULL };

static const struct field activation_fields[] = {
    { FIELD(config_activation, kek), .type = FIELD_CHOICE, .words = kek_words,
      .initial = "\"token\"",
      .help =
          "Where secrets are sealed: by a key in the token (token), or by a data key "
          "in locked memory that the token wraps (memory)." },
    { FIELD(config_activation, token), .type = FIELD_TEXT, .flags = FIELD_NAME,
      .help = "The token in which sealing keys are made; the first one when absent." },
    { FIELD(config_activation, method), .type = FIELD_CHOICE, .words = method_words,
      .initial = "\"any\"",
      .help =
          "How a new data key is wrapped: gcm, kw, cbc, oaep, or the first that the "
          "token offers (any)." },
    { FIELD(config_activation, hellos_per_source), .type = FIELD_INTEGER, .min = 1,
      .max = 100000, .initial = "10", .help = "Hellos of one address in a minute." },
    { FIELD(config_activation, hellos_per_name), .type = FIELD_INTEGER, .min = 1,
      .max = 100000, .initial = "10",
      .help = "Hellos for one user and reference in a minute, known or not." },
    { FIELD(config_activation, hellos_per_second), .type = FIELD_INTEGER, .min = 1,
      .max = 100000, .initial = "100",
      .help = "Hellos in all that are worked on; ten times as many at once after a "
              "quiet time. When half of those are used up an address gets one a "
              "minute." },
    { FIELD(config_activation, open_per_source), .type = FIELD_INTEGER, .min = 1,
      .max = 100000, .initial = "20",
      .help = "Sessions that one address may have open." },
    { FIELD(config_activation, failures_per_name), .type = FIELD_INTEGER, .min = 1,
      .max = 100000, .initial = "20",
      .help = "Failed enrolments for one user and reference in a day." },
    { FIELD(config_activation, sessions), .type = FIELD_INTEGER, .min = 1,
      .max = 1000000, .initial = "20000", .help = "Sessions in all." },
    { FIELD(config_activation, reveal_unknown), .type = FIELD_BOOLEAN,
      .help =
          "Discovery tells of an unknown user of a served mail domain that there is "
          "none." },
    FIELD_END,
};

static bool
is_mail_address(const void *member, char *ret_reason, size_t size)
{
    snprintf(ret_reason, size, "must be a mail address in ASCII");
    return mime_address_is_good(*(char *const *)member);
}

static bool
is_host(const void *member, char *ret_reason, size_t size)
{
    const char *host = *(char *const *)member;
    snprintf(ret_reason, size, "must be a host name or a numeric address");
    return host[strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                             "0123456789.:-")] == '\0';
}

static const char *const mail_security_words[] = { "starttls", "tls", "none", NULL };

static const struct field mail_fields[] = {
    { FIELD(config_mail, server), .type = FIELD_TEXT, .min = 1, .max = 253,
      .check = is_host, .help = "The mail server (SMTP); no mails are sent without." },
    { FIELD(config_mail, port), .type = FIELD_INTEGER, .min = 1, .max = 65535,
      .initial = "587", .help = "Its port: 587 for starttls, 465 for tls." },
    { FIELD(config_mail, security), .type = FIELD_CHOICE, .words = mail_security_words,
      .initial = "\"starttls\"",
      .help = "starttls (never without), tls from the start, or none: for a mail "
              "server on this machine alone." },
    { FIELD(config_mail, ca_file), .type = FIELD_TEXT, .min = 1, .max = PATH_SIZE_MAX,
      .help = "PEM file of the roots that its certificate is held against; the "
              "system's when absent." },
    { FIELD(config_mail, user), .type = FIELD_TEXT, .min = 1, .max = 254,
      .help = "Login name there; no login when absent." },
    { FIELD(config_mail, password_source), .type = FIELD_TEXT, .min = 6,
      .max = PATH_SIZE_MAX,
      .help = "\"file:PATH\" of its password; nobody but the file's owner may read "
              "it. Read at each delivery." },
    { FIELD(config_mail, from), .type = FIELD_TEXT, .min = 3, .max = MIME_ADDRESS_MAX,
      .check = is_mail_address, .help = "Address that mails come from." },
    { FIELD(config_mail, from_name), .type = FIELD_TEXT, .min = 1, .max = 128,
      .help = "Name beside it; the organisation's when absent." },
    { FIELD(config_mail, hello), .type = FIELD_TEXT, .min = 1, .max = 253,
      .check = is_host, .help = "What this machine calls itself to the mail server." },
    { FIELD(config_mail, connect_ms), .type = FIELD_INTEGER, .min = 100, .max = 120000,
      .initial = "10000", .help = "Longest wait for a connection." },
    { FIELD(config_mail, send_ms), .type = FIELD_INTEGER, .min = 1000, .max = 600000,
      .initial = "60000", .help = "Longest time for handing over one mail." },
    FIELD_END,
};

const struct field config_fields[] = {
    { FIELD(config, instance), .type = FIELD_TEXT, .flags = FIELD_NAME,
      .initial = "\"main\"", .help = "Name of this daemon among those of its store." },
    { FIELD(config, instance_url), .type = FIELD_TEXT, .min = 1, .max = 1024,
      .help = "https base URL under which devices reach this instance; the "
              "organisation's base_url when absent." },
    { FIELD(config, instance_capacity), .type = FIELD_INTEGER, .min = 0, .max = 10000,
      .initial = "100",
      .help = "Share of the devices that this instance gets beside the others of its "
              "store; 0 for none." },
    { FIELD(config, data_directory), .type = FIELD_TEXT, .min = 1, .max = PATH_SIZE_MAX,
      .initial = "\".\"",
      .help = "Folder of what the daemon keeps; the file's own folder." },
    { FIELD(config, store), .type = FIELD_TEXT, .min = 1, .max = PATH_SIZE_MAX,
      .help = "\"sqlite:PATH\"; store.db in data_directory when absent." },
    { FIELD(config, plugin_directory), .type = FIELD_TEXT, .min = 1,
      .max = PATH_SIZE_MAX,
      .help = "Folder of the plugins; where they are installed when absent." },
    { FIELD(config, log_file), .type = FIELD_TEXT, .min = 1, .max = PATH_SIZE_MAX,
      .initial = "\"-\"", .help = "Log lines go there; - for standard error." },
    { FIELD(config, log_level), .type = FIELD_TEXT, .min = 1, .initial = "\"info\"",
      .check = is_log_level, .help = "debug, info, warning or error." },
    { FIELD(config, pid_file), .type = FIELD_TEXT, .min = 1, .max = PATH_SIZE_MAX,
      .help = "Holds the process id while the daemon runs; none when absent." },
    { FIELD(config, tls_certificate), .type = FIELD_TEXT, .min = 1,
      .max = PATH_SIZE_MAX,
      .help = "PEM file of the server's certificate and its chain." },
    { FIELD(config, tls_key), .type = FIELD_TEXT, .min = 1, .max = PATH_SIZE_MAX,
      .help = "PEM file of its private key." },
    { FIELD(config, key_blocklist), .type = FIELD_TEXT, .min = 1, .max = PATH_SIZE_MAX,
      .help = "File of public keys that are never certified: SHA-256 of the "
              "SubjectPublicKeyInfo a line, or openssl-blacklist's form." },
    { FIELD(config, listeners), .type = FIELD_OBJECTS, .fields = listener_fields,
      .item_size = sizeof(struct config_listener), .count_max = LISTENERS_MAX,
      .initial = "[{\"port\": 8080}, {\"path\": \"sealwright.sock\", \"api\": true}]",
      .help = "Where the daemon listens." },
    { FIELD(config, tokens), .type = FIELD_OBJECTS, .fields = token_fields,
      .item_size = sizeof(struct config_token), .count_max = TOKENS_MAX,
      .help = "The PKCS#11 tokens that hold the keys." },
    { FIELD(config, plugins), .type = FIELD_OBJECTS, .fields = plugin_fields,
      .item_size = sizeof(struct config_plugin), .count_max = PLUGINS_MAX,
      .help = "The protocols to speak." },
    { FIELD(config, limits), .type = FIELD_OBJECT, .fields = limits_fields,
      .item_size = sizeof(struct config_limits),
      .help = "Bounds of what clients may take." },
    { FIELD(config, activation), .type = FIELD_OBJECT, .fields = activation_fields,
      .item_size = sizeof(struct config_activation),
      .help = "Activation by password: sealing and throttles." },
    { FIELD(config, mail), .type = FIELD_OBJECT, .fields = mail_fields,
      .item_size = sizeof(struct config_mail),
      .help = "The mail server that mails to users are handed to." },
    { FIELD(config, directory), .type = FIELD_OBJECT, .fields = config_directory_fields,
      .item_size = sizeof(struct config_directory),
      .help = "The LDAP directory that users come from, besides those of the API." },
    { FIELD(config, webhooks), .type = FIELD_OBJECTS, .fields = config_webhook_fields,
      .item_size = sizeof(struct config_webhook), .count_max = CONFIG_WEBHOOKS_MAX,
      .help = "Who is told of changes, by HTTP POST." },
    { FIELD(config, oidc), .type = FIELD_OBJECT, .fields = config_oidc_fields,
      .item_size = sizeof(struct config_oidc),
      .help = "The OpenID provider whose users log in." },
    { FIELD(config, intent_abandon_seconds), .type = FIELD_INTEGER, .min = 60,
      .max = 86400, .initial = "600",
      .help = "A certificate that was never signed is given up after this." },
    { FIELD(config, retry_window_seconds), .type = FIELD_INTEGER, .min = 0,
      .max = 86400, .initial = "600",
      .help = "A repeated message gets the same certificate for so long." },
    { FIELD(config, pending_expire_seconds), .type = FIELD_INTEGER, .min = 60,
      .max = 31536000, .initial = "604800",
      .help = "A request that nobody approves ends after this." },
    { FIELD(config, crl_check_seconds), .type = FIELD_INTEGER, .min = 1, .max = 86400,
      .initial = "60", .help = "How often is looked whether a CRL is due." },
    FIELD_END,
};

/* Puts the folder before a relative path behind `prefix`; an absolute one stays. */
static bool
make_absolute(const char *folder, const char *prefix, char **path)
{
    size_t skip = strlen(prefix);
    CA_AUTO(text_buffer_clear) struct text_buffer buffer = { 0 };
    if (!*path || strncmp(*path, prefix, skip) != 0 || (*path)[skip] == '/')
        return true;
    const char *rest = *path + skip;
    while (strncmp(rest, "./", 2) == 0)
        rest += 2;
    bool is_folder = *rest == '\0' || strcmp(rest, ".") == 0;
    bool is_root = strcmp(folder, "/") == 0;
    text_print(&buffer, "%s%s%s%s", prefix, folder, is_folder || is_root ? "" : "/",
               is_folder ? "" : rest);
    if (buffer.failed)
        return false;
    free(*path);
    *path = CA_STEAL(buffer.data);
    return true;
}

/* "sqlite:PATH" or a bare path; another driver's URL stays as it is. */
static bool
complete_store(const char *folder, struct config *config)
{
    bool has_scheme = config->store && strchr(config->store, ':') &&
                      strcspn(config->store, ":") < strcspn(config->store, "/");
    CA_AUTO(text_buffer_clear) struct text_buffer buffer = { 0 };
    if (has_scheme)
        return make_absolute(folder, "sqlite:", &config->store);
    if (config->store)
        text_print(&buffer, "sqlite:%s", config->store);
    else
        text_print(&buffer, "sqlite:%s/store.db", config->data_directory);
    if (buffer.failed)
        return false;
    free(config->store);
    config->store = CA_STEAL(buffer.data);
    return make_absolute(folder, "sqlite:", &config->store);
}

/* The value of a variable that starts with "./". */
static bool
complete_variable(const char *folder, char **variable)
{
    char name[PATH_SIZE_MAX + 1];
    const char *equal = strchr(*variable, '=');
    size_t size = equal ? (size_t)(equal + 1 - *variable) : 0;
    if (!equal || size > PATH_SIZE_MAX || strncmp(equal + 1, "./", 2) != 0)
        return true;
    memcpy(name, *variable, size);
    name[size] = '\0';
    return make_absolute(folder, name, variable);
}

static bool
complete_webhooks(const char *folder, struct config *config)
{
    struct config_webhook *webhooks = config->webhooks.items;
    for (size_t i = 0; i < config->webhooks.count; i++) {
        if (!make_absolute(folder, "", &webhooks[i].ca_file) ||
            !make_absolute(folder, "file:", &webhooks[i].secret_source))
            return false;
    }
    return true;
}

static bool
complete_token(const char *folder, struct config_token *token)
{
    char **environment = token->environment.items;
    for (size_t i = 0; i < token->environment.count; i++)
        if (!complete_variable(folder, &environment[i]))
            return false;
    return make_absolute(folder, "", &token->module) &&
           make_absolute(folder, "file:", &token->pin_source);
}

static bool
complete_listener(const char *folder, struct config_listener *listener)
{
    if (!listener->path && !listener->bind)
        listener->bind = strdup("127.0.0.1");
    return (listener->path || listener->bind) &&
           make_absolute(folder, "", &listener->path);
}

/* Fills in what depends on other members and makes paths absolute. False: memory. */
static bool
complete(const char *folder, struct config *config)
{
    struct config_listener *listeners = config->listeners.items;
    struct config_token *tokens = config->tokens.items;
    struct config_limits *limits = &config->limits;
    if (limits->waiting == 0)
        limits->waiting = limits->workers * WAITING_PERCENT / 100;
    if (!config->plugin_directory)
        config->plugin_directory = strdup(config_plugin_directory);
    for (size_t i = 0; i < config->listeners.count; i++)
        if (!complete_listener(folder, &listeners[i]))
            return false;
    for (size_t i = 0; i < config->tokens.count; i++)
        if (!complete_token(folder, &tokens[i]))
            return false;
    bool to_file = strcmp(config->log_file, "-") != 0;
    return config->plugin_directory &&
           make_absolute(folder, "", &config->data_directory) &&
           make_absolute(folder, "", &config->plugin_directory) &&
           (!to_file || make_absolute(folder, "", &config->log_file)) &&
           make_absolute(folder, "", &config->pid_file) &&
           make_absolute(folder, "", &config->tls_certificate) &&
           make_absolute(folder, "", &config->tls_key) &&
           make_absolute(folder, "", &config->key_blocklist) &&
           make_absolute(folder, "", &config->mail.ca_file) &&
           make_absolute(folder, "file:", &config->mail.password_source) &&
           make_absolute(folder, "", &config->directory.ca_file) &&
           make_absolute(folder, "file:", &config->directory.password_source) &&
           complete_webhooks(folder, config) &&
           make_absolute(folder, "", &config->oidc.ca_file) &&
           make_absolute(folder, "file:", &config->oidc.secret_source) &&
           complete_store(folder, config);
}

/* One message with as many of the errors as have room. */
static enum ca_status
fail_errors(const struct field_errors *errors)
{
    char text[MESSAGE_SIZE] = "";
    size_t used = 0;
    for (size_t i = 0; i < errors->count && used < sizeof text; i++) {
        const char *pointer = errors->items[i].pointer;
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s%s%s",
                                 i ? "; " : "", *pointer ? pointer + 1 : "",
                                 *pointer ? ": " : "", errors->items[i].reason);
    }
    return ca_fail(CA_MALFORMED, "%s", text);
}

enum ca_status
config_parse(const char *text, size_t size, const char *folder,
             struct config *ret_config)
{
    CA_AUTO(json_decref) json_t *json = NULL;
    struct config config = { 0 };
    struct field_errors errors = { 0 };
    enum ca_status status = field_parse(text, size, CONFIG_SIZE_MAX, &json);
    if (status != CA_OK)
        return status;
    status = field_decode(config_fields, json, &config, &errors);
    if (status == CA_MALFORMED)
        return fail_errors(&errors);
    if (status != CA_OK)
        return status;
    bool is_complete = complete(folder, &config);
    if (is_complete)
        config_check(&config, &errors);
    if (is_complete && errors.count == 0) {
        *ret_config = config;
        return CA_OK;
    }
    config_clear(&config);
    return is_complete ? fail_errors(&errors)
                       : ca_fail(CA_INTERNAL, "out of memory for the configuration");
}

/* Whoever can change the file chooses the libraries that run with our rights. */
static enum ca_status
check_file(const char *path, FILE *file)
{
    struct stat status;
    if (fstat(fileno(file), &status) != 0)
        return ca_fail(CA_UNAVAILABLE, "%s: %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return ca_fail(CA_FORBIDDEN, "%s: not a regular file", path);
    return owned_check(path, &status);
}

static enum ca_status
read_file(const char *path, char **ret_text, size_t *ret_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    CA_AUTO(fclose) FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (!file) {
        int reason = errno;
        if (fd >= 0)
            close(fd);
        return ca_fail(reason == ENOENT ? CA_NOT_FOUND : CA_UNAVAILABLE, "%s: %s", path,
                       strerror(reason));
    }
    enum ca_status status = check_file(path, file);
    if (status != CA_OK)
        return status;
    CA_AUTO(free) char *text = malloc(CONFIG_SIZE_MAX + 1);
    if (!text)
        return ca_fail(CA_INTERNAL, "out of memory for %s", path);
    size_t size = fread(text, 1, CONFIG_SIZE_MAX + 1, file);
    if (ferror(file))
        return ca_fail(CA_UNAVAILABLE, "%s: %s", path, strerror(errno));
    *ret_text = CA_STEAL(text);
    *ret_size = size;
    return CA_OK;
}

enum ca_status
config_load(const char *path, struct config *ret_config)
{
    CA_AUTO(free) char *text = NULL, *copy = strdup(path);
    size_t size = 0;
    if (!copy)
        return ca_fail(CA_INTERNAL, "out of memory for %s", path);
    enum ca_status status = read_file(path, &text, &size);
    if (status != CA_OK)
        return status;
    CA_AUTO(free) char *folder = realpath(dirname(copy), NULL);
    if (!folder)
        return ca_fail(CA_UNAVAILABLE, "folder of %s: %s", path, strerror(errno));
    status = config_parse(text, size, folder, ret_config);
    if (status == CA_OK)
        return CA_OK;
    CA_AUTO(free) char *reason = strdup(status_message());
    return ca_fail(status, "%s: %s", path, reason ? reason : "out of memory");
}

void
config_clear(struct config *config)
{
    field_clear(config_fields, config);
}

json_t *
config_schema(void)
{
    return field_schema(config_fields, true);
}
