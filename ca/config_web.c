/* Whom we call by HTTP, in the configuration: webhooks, and the OpenID provider. */
#include "config.h"
#include <stdio.h>
#include <string.h>

#define PATH_SIZE_MAX 1024
#define URL_SIZE_MAX 1024

const char *const config_event_words[] = { "policy.changed", "device.activated",
                                           "certificate.issued", "certificate.revoked",
                                           NULL };

/* http only where nothing leaves the machine. */
static bool
host_is_loopback(const char *host, size_t length)
{
    static const char *const names[] = { "localhost", "127.0.0.1", "[::1]" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t size = strlen(names[i]);
        if (length >= size && strncmp(host, names[i], size) == 0 &&
            (length == size || host[size] == ':'))
            return true;
    }
    return false;
}

bool
config_url_is_good(const char *url)
{
    bool is_https = strncmp(url, "https://", 8) == 0;
    const char *host = url + (is_https ? 8 : 7);
    if (!is_https && strncmp(url, "http://", 7) != 0)
        return false;
    for (const char *c = url; *c; c++)
        if (*c <= ' ' || *c >= 0x7f || strchr("\"<>\\^`{|}#", *c))
            return false;
    size_t length = strcspn(host, "/?");
    if (length == 0 || memchr(host, '@', length))
        return false;
    return is_https || host_is_loopback(host, length);
}

static bool
is_url(const void *member, char *ret_reason, size_t size)
{
    snprintf(ret_reason, size,
             "must be an https URL, or http to this machine, without user and "
             "fragment");
    return config_url_is_good(*(char *const *)member);
}

const struct field config_webhook_fields[] = {
    { FIELD(config_webhook, name), .type = FIELD_TEXT,
      .flags = FIELD_REQUIRED | FIELD_NAME,
      .help =
          "Names it in the log and in the store, which knows how far it was told." },
    { FIELD(config_webhook, url), .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .min = 8,
      .max = URL_SIZE_MAX, .check = is_url,
      .help = "Where events are posted: https, or http to this machine." },
    { FIELD(config_webhook, secret_source), .type = FIELD_TEXT, .flags = FIELD_REQUIRED,
      .min = 6, .max = PATH_SIZE_MAX,
      .help = "\"file:PATH\" of the key that signs them, 24 characters or more; nobody "
              "but the file's owner may read it. Read at each delivery." },
    { FIELD(config_webhook, ca_file), .type = FIELD_TEXT, .min = 1,
      .max = PATH_SIZE_MAX,
      .help = "PEM file of the roots that its certificate is held against; the "
              "system's when absent." },
    { FIELD(config_webhook, events), .type = FIELD_CHOICES, .words = config_event_words,
      .initial = "[\"policy.changed\"]", .help = "What it is told." },
    FIELD_END,
};

/* OpenID Connect Discovery 1.0 section 3: no query either. */
static bool
is_issuer(const void *member, char *ret_reason, size_t size)
{
    const char *url = *(char *const *)member;
    snprintf(ret_reason, size,
             "must be an https URL, or http to this machine, without user, query and "
             "fragment");
    return config_url_is_good(url) && !strchr(url, '?');
}

/* RFC 6749 section 3.3, without what a list separates. */
static bool
is_scope(const void *member, char *ret_reason, size_t size)
{
    const struct field_list *scopes = member;
    snprintf(ret_reason, size, "must be scopes of printable characters");
    for (size_t i = 0; i < scopes->count; i++) {
        const char *scope = ((char *const *)scopes->items)[i];
        for (const char *c = scope; *c; c++)
            if (*c <= ' ' || *c >= 0x7f || *c == '"' || *c == '\\')
                return false;
        if (strcmp(scope, "openid") == 0)
            return false;
    }
    return true;
}

const struct field config_oidc_fields[] = {
    { FIELD(config_oidc, issuer), .type = FIELD_TEXT, .min = 8, .max = URL_SIZE_MAX,
      .check = is_issuer,
      .help = "The OpenID provider, as its tokens name it: https, or http to this "
              "machine; nobody logs in there without." },
    { FIELD(config_oidc, name), .type = FIELD_TEXT, .min = 1, .max = 64,
      .initial = "\"single sign-on\"",
      .help = "What people know it by: \"Log in with NAME\"." },
    { FIELD(config_oidc, client_id), .type = FIELD_TEXT, .min = 1, .max = 255,
      .help = "How the provider knows us; needed with issuer." },
    { FIELD(config_oidc, secret_source), .type = FIELD_TEXT, .min = 6,
      .max = PATH_SIZE_MAX,
      .help = "\"file:PATH\" of the client's secret; nobody but the file's owner may "
              "read it. A public client when absent. Read at each log-in." },
    { FIELD(config_oidc, claim), .type = FIELD_TEXT, .min = 1, .max = 64,
      .initial = "\"preferred_username\"",
      .help = "The claim that has the user's name here, or, email alone, the verified "
              "mail address: preferred_username, email, upn, sub." },
    { FIELD(config_oidc, scopes), .type = FIELD_TEXTS, .min = 1, .max = 64,
      .count_max = 8, .initial = "[\"profile\", \"email\"]", .check = is_scope,
      .help = "What is asked for besides openid." },
    { FIELD(config_oidc, ca_file), .type = FIELD_TEXT, .min = 1, .max = PATH_SIZE_MAX,
      .help = "PEM file of the roots that its certificate is held against; the "
              "system's when absent." },
    { FIELD(config_oidc, timeout_ms), .type = FIELD_INTEGER, .min = 1000, .max = 30000,
      .initial = "10000", .help = "Longest wait for one answer of it." },
    FIELD_END,
};

static void
check_oidc(const struct config_oidc *oidc, struct field_errors *errors)
{
    if (oidc->issuer && !oidc->client_id)
        field_error_add(errors, "/oidc/client_id", "is required with an issuer");
    if (!oidc->issuer && oidc->client_id)
        field_error_add(errors, "/oidc/issuer", "is required with a client_id");
    if (oidc->secret_source && strncmp(oidc->secret_source, "file:/", 6) != 0)
        field_error_add(errors, "/oidc/secret_source", "must be \"file:PATH\"");
}

static void
check_webhook(const struct config *config, size_t i, struct field_errors *errors)
{
    const struct config_webhook *webhooks = config->webhooks.items;
    char pointer[64];
    snprintf(pointer, sizeof pointer, "/webhooks/%zu/secret_source", i);
    if (strncmp(webhooks[i].secret_source, "file:/", 6) != 0)
        field_error_add(errors, pointer, "must be \"file:PATH\"");
    snprintf(pointer, sizeof pointer, "/webhooks/%zu/events", i);
    if (webhooks[i].events == 0)
        field_error_add(errors, pointer, "must name one");
    snprintf(pointer, sizeof pointer, "/webhooks/%zu/name", i);
    for (size_t j = 0; j < i; j++)
        if (strcmp(webhooks[j].name, webhooks[i].name) == 0)
            field_error_add(errors, pointer, "is there already");
}

void
config_check_web(const struct config *config, struct field_errors *errors)
{
    for (size_t i = 0; i < config->webhooks.count; i++)
        check_webhook(config, i, errors);
    check_oidc(&config->oidc, errors);
}
