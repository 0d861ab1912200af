/* What the configuration's table cannot see: members that want or exclude each other,
 * addresses, and the same thing twice. */
#include "auto.h"
#include "config.h"
#include <arpa/inet.h>
#include <string.h>
#include <sys/un.h>

#define POINTER_SIZE 128
#define PLUGIN_NAME_MAX 32

/* An address as 16 octets, IPv4 mapped into IPv6. */
static bool
read_address(const char *text, uint8_t ret_octets[16])
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    if (inet_pton(AF_INET6, text, ret_octets) == 1)
        return true;
    memcpy(ret_octets, mapped, sizeof mapped);
    return inet_pton(AF_INET, text, ret_octets + sizeof mapped) == 1;
}

/* "10.0.0.0/8", "2001:db8::/32" or an address. */
static bool
is_prefix(const char *text)
{
    char address[INET6_ADDRSTRLEN];
    uint8_t octets[16];
    size_t length = strcspn(text, "/");
    if (length >= sizeof address)
        return false;
    memcpy(address, text, length);
    address[length] = '\0';
    if (!read_address(address, octets))
        return false;
    if (text[length] == '\0')
        return true;
    const char *digits = text + length + 1;
    size_t count = strspn(digits, "0123456789");
    unsigned most = strchr(address, ':') ? 128 : 32;
    return count >= 1 && count <= 3 && digits[count] == '\0' &&
           strtoul(digits, NULL, 10) <= most;
}

static void __attribute__((format(printf, 5, 6)))
refuse(struct field_errors *errors, const char *list, size_t index, const char *member,
       const char *format, ...)
{
    char pointer[POINTER_SIZE], reason[160];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    snprintf(pointer, sizeof pointer, "/%s/%zu%s%s", list, index, *member ? "/" : "",
             member);
    field_error_add(errors, pointer, "%s", reason);
}

static void
check_socket(const struct config_listener *listener, size_t i,
             struct field_errors *errors)
{
    size_t room = sizeof((struct sockaddr_un *)0)->sun_path - 1;
    if (listener->bind)
        refuse(errors, "listeners", i, "bind", "is not for a path");
    if (listener->port)
        refuse(errors, "listeners", i, "port", "is not for a path");
    if (listener->tls)
        refuse(errors, "listeners", i, "tls", "is not for a path");
    if (strlen(listener->path) > room)
        refuse(errors, "listeners", i, "path", "has more than %zu octets: %s", room,
               listener->path);
}

static void
check_listener(const struct config *config, size_t i, struct field_errors *errors)
{
    const struct config_listener *listener =
        (const struct config_listener *)config->listeners.items + i;
    uint8_t octets[16];
    if (listener->path)
        check_socket(listener, i, errors);
    else if (!read_address(listener->bind, octets))
        refuse(errors, "listeners", i, "bind", "must be a numeric address");
    if (!listener->path && listener->port == 0)
        refuse(errors, "listeners", i, "port", "is required without a path");
    if (listener->tls && !(config->tls_certificate && config->tls_key))
        refuse(errors, "listeners", i, "tls", "needs tls_certificate and tls_key");
    if (listener->client_certificates && !listener->tls)
        refuse(errors, "listeners", i, "client_certificates", "needs tls");
    if (listener->api && !listener->tls && !listener->path)
        refuse(errors, "listeners", i, "api", "needs tls or a path");
}

static bool
is_same_listener(const struct config_listener *a, const struct config_listener *b)
{
    uint8_t left[16], right[16];
    if (a->path || b->path)
        return a->path && b->path && strcmp(a->path, b->path) == 0;
    return a->port == b->port && read_address(a->bind, left) &&
           read_address(b->bind, right) && memcmp(left, right, sizeof left) == 0;
}

static void
check_listeners(const struct config *config, struct field_errors *errors)
{
    const struct config_listener *listeners = config->listeners.items;
    if (config->listeners.count == 0)
        field_error_add(errors, "/listeners", "must not be empty");
    for (size_t i = 0; i < config->listeners.count; i++) {
        check_listener(config, i, errors);
        for (size_t j = 0; j < i; j++)
            if (is_same_listener(&listeners[i], &listeners[j]))
                refuse(errors, "listeners", i, "", "is where listener %zu listens", j);
    }
    if (!config->tls_certificate != !config->tls_key)
        field_error_add(errors, config->tls_key ? "/tls_certificate" : "/tls_key",
                        "is required with the other of the two");
}

/* The environment is no place for a secret (SECURITY I5): parts of the name between
 * underscores that say it holds one. */
static bool
sounds_secret(const char *name, size_t length)
{
    static const char *const inside[] = { "PASSW", "PASSPHRASE", "SECRET" };
    char copy[128];
    if (length >= sizeof copy)
        return true;
    memcpy(copy, name, length);
    copy[length] = '\0';
    for (size_t i = 0; i < sizeof inside / sizeof inside[0]; i++)
        if (strstr(copy, inside[i]))
            return true;
    char *rest = copy, *part;
    while ((part = strsep(&rest, "_0123456789")) != NULL) {
        size_t size = strlen(part);
        if (size >= 3 && strcmp(part + size - 3, "PIN") == 0)
            return true;
    }
    return false;
}

static bool
variable_is_good(const char *variable, const char **ret_reason)
{
    size_t length = strspn(variable, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    *ret_reason = "must be NAME=VALUE, the name of A-Z 0-9 _ without a digit first";
    if (length == 0 || variable[length] != '=' || strchr("0123456789", variable[0]))
        return false;
    *ret_reason = "sounds like a secret: use pin_source";
    if (sounds_secret(variable, length))
        return false;
    *ret_reason = "steers the dynamic linker";
    return strncmp(variable, "LD_", 3) != 0;
}

/* Does an earlier token (or item) set the variable otherwise? There is one environment
 * for all of them. */
static bool
is_set_otherwise(const struct config *config, size_t token, size_t item)
{
    const struct config_token *tokens = config->tokens.items;
    const char *variable = ((char *const *)tokens[token].environment.items)[item];
    size_t name = strcspn(variable, "=") + 1;
    for (size_t i = 0; i <= token; i++) {
        char *const *others = tokens[i].environment.items;
        size_t count = i == token ? item : tokens[i].environment.count;
        for (size_t j = 0; j < count; j++)
            if (strncmp(others[j], variable, name) == 0 &&
                strcmp(others[j], variable) != 0)
                return true;
    }
    return false;
}

static void
check_token(const struct config *config, size_t i, struct field_errors *errors)
{
    const struct config_token *tokens = config->tokens.items;
    const struct config_token *token = &tokens[i];
    for (size_t j = 0; j < i; j++)
        if (strcmp(tokens[j].name, token->name) == 0)
            refuse(errors, "tokens", i, "name", "is token %zu's", j);
    if (strncmp(token->uri, "pkcs11:", 7) != 0 || strchr(token->uri, '?'))
        refuse(errors, "tokens", i, "uri", "must be a pkcs11: URI without a query");
    if (strncmp(token->pin_source, "file:/", 6) != 0)
        refuse(errors, "tokens", i, "pin_source", "must be \"file:PATH\"");
    for (size_t j = 0; j < token->environment.count; j++) {
        const char *variable = ((char *const *)token->environment.items)[j];
        const char *reason;
        char member[40];
        snprintf(member, sizeof member, "environment/%zu", j);
        if (!variable_is_good(variable, &reason))
            refuse(errors, "tokens", i, member, "%s", reason);
        else if (is_set_otherwise(config, i, j))
            refuse(errors, "tokens", i, member, "is set to another value before");
    }
}

static void
check_plugins(const struct config *config, struct field_errors *errors)
{
    const struct config_plugin *plugins = config->plugins.items;
    for (size_t i = 0; i < config->plugins.count; i++) {
        const char *name = plugins[i].name;
        size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
        if (name[length] != '\0' || length > PLUGIN_NAME_MAX)
            refuse(errors, "plugins", i, "name", "must be 1 to %d of a-z 0-9 _",
                   PLUGIN_NAME_MAX);
        for (size_t j = 0; j < i; j++)
            if (strcmp(plugins[j].name, name) == 0)
                refuse(errors, "plugins", i, "name", "is there already");
    }
}

static void
check_limits(const struct config_limits *limits, struct field_errors *errors)
{
    char *const *proxies = limits->trusted_proxies.items;
    if (limits->waiting >= limits->workers)
        field_error_add(errors, "/limits/waiting", "must be less than workers, %lld",
                        (long long)limits->workers);
    for (size_t i = 0; i < limits->trusted_proxies.count; i++)
        if (!is_prefix(proxies[i]))
            refuse(errors, "limits/trusted_proxies", i, "",
                   "must be an address or a prefix such as 10.0.0.0/8");
}

static void
check_instance(const struct config *config, struct field_errors *errors)
{
    const char *url = config->instance_url;
    size_t length = url ? strlen(url) : 0;
    if (url && (strncmp(url, "https://", 8) != 0 || length < 9 ||
                url[length - 1] == '/' || strpbrk(url, " ?#")))
        field_error_add(errors, "/instance_url",
                        "must be an https URL without query and final slash");
}

/* A password never goes over a line that others read. */
static void
check_mail(const struct config_mail *mail, struct field_errors *errors)
{
    if (!mail->server)
        return;
    if (!mail->from)
        field_error_add(errors, "/mail/from", "is required with a server");
    if (!mail->user != !mail->password_source)
        field_error_add(errors, mail->user ? "/mail/password_source" : "/mail/user",
                        "is required with %s", mail->user ? "user" : "password_source");
    if (mail->user && mail->security == MAIL_NONE)
        field_error_add(errors, "/mail/security", "must be starttls or tls with user");
    if (mail->password_source && strncmp(mail->password_source, "file:/", 6) != 0)
        field_error_add(errors, "/mail/password_source", "must be \"file:PATH\"");
}

void
config_check(const struct config *config, struct field_errors *errors)
{
    check_listeners(config, errors);
    for (size_t i = 0; i < config->tokens.count; i++)
        check_token(config, i, errors);
    check_plugins(config, errors);
    check_limits(&config->limits, errors);
    check_instance(config, errors);
    check_mail(&config->mail, errors);
    config_check_web(config, errors);
    config_check_directory(&config->directory, errors);
}
