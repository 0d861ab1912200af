/* `sealwright check`: is the configuration right, what is served, does the token
 * answer? */
#include "api.h"
#include "auto.h"
#include "loader.h"
#include "oidc.h"
#include "self.h"
#include "serve.h"
#include "service.h"
#include "webhook.h"
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const struct ca_plugin *const built_in[] = { &api_plugin, &api_public_plugin,
                                                    &api_self_plugin };

static int
failed(const char *what)
{
    fprintf(stderr, "sealwright check: %s: %s\n", what, status_message());
    return 1;
}

static void
listener_print(const struct config_listener *listener, const char *before,
               const char *after)
{
    if (listener->path)
        printf("%sunix:%s%s", before, listener->path, after);
    else
        printf(strchr(listener->bind, ':') ? "%s%s://[%s]:%lld%s" : "%s%s://%s:%lld%s",
               before, listener->tls ? "https" : "http", listener->bind,
               (long long)listener->port, after);
}

static void
routes_print(const struct loader *loader)
{
    puts("routes");
    for (size_t i = 0; i < loader->count; i++) {
        const struct ca_plugin *plugin = loader->items[i].plugin;
        for (const struct ca_route *route = plugin->routes; route->method; route++)
            printf("  %-7s%-36s%s%s%s\n", route->method, route->path, plugin->name,
                   route->flags & CA_ROUTE_PREFIX ? ", and below" : "",
                   route->flags & CA_ROUTE_TLS_ONLY ? ", TLS only" : "");
    }
}

static int
tokens_print(struct service *service)
{
    static const char *const states[] = { "up", "rebuilding", "latched", "stuck" };
    int bad = 0;
    puts("tokens");
    for (size_t i = 0; i < token_set_count(service->tokens); i++) {
        struct token_health health;
        token_health(service->tokens, i, &health);
        bad += health.state != TOKEN_UP;
        printf("  %-10s %s: %s, %s %s, serial %s%s\n", health.name,
               states[health.state], health.label, health.manufacturer, health.model,
               health.serial, health.is_software ? " (software: for tests only)" : "");
    }
    return bad;
}

static int
issuers_print(struct service *service)
{
    static const char *const states[] = { "active", "standby", "retired" };
    int bad = 0;
    struct issuers *issuers = service_issuers(service);
    puts("issuers");
    for (size_t i = 0; i < issuers_count(issuers); i++) {
        const struct issuer *issuer = issuers_at(issuers, i);
        bad += issuer->state == AUTHORITY_ACTIVE && !issuer->key;
        printf("  %-10s %s, %s\n", issuer->name, states[issuer->state],
               issuer->key ? "key in the token" : "no key here");
    }
    issuers_release(issuers);
    return bad;
}

static int
oidc_print(struct service *service)
{
    const struct config_oidc *oidc = &service->config.oidc;
    if (!oidc->issuer)
        return 0;
    bool is_good = oidc_check(oidc) == CA_OK;
    printf("oidc\n  %s%s%s\n", oidc->issuer, is_good ? "" : ": ",
           is_good ? "" : status_message());
    return !is_good;
}

static int
webhooks_print(struct service *service)
{
    const struct config_webhook *webhooks = service->config.webhooks.items;
    int bad = 0;
    if (service->config.webhooks.count > 0)
        puts("webhooks");
    for (size_t i = 0; i < service->config.webhooks.count; i++) {
        bool is_good = webhook_check(&webhooks[i]) == CA_OK;
        printf("  %-10s %s%s%s\n", webhooks[i].name, webhooks[i].url,
               is_good ? "" : ": ", is_good ? "" : status_message());
        bad += !is_good;
    }
    return bad;
}

/* One value for scripts. */
static int
value_print(struct service *service, const char *name)
{
    const struct config_listener *listeners = service->config.listeners.items;
    if (strcmp(name, "listeners") == 0) {
        for (size_t i = 0; i < service->config.listeners.count; i++)
            listener_print(&listeners[i], "", "\n");
        return 0;
    }
    const struct {
        const char *name, *value;
    } values[] = {
        { "base_url", service->organisation.base_url },
        { "plain_url", service->organisation.plain_url },
        { "store", service->config.store },
        { "log_file", service->config.log_file },
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        if (strcmp(values[i].name, name) == 0) {
            puts(values[i].value ? values[i].value : "");
            return 0;
        }
    }
    fprintf(stderr, "sealwright check: there is no value '%s'\n", name);
    return 2;
}

static int
all_print(struct service *service, const struct loader *loader)
{
    const struct config_listener *listeners = service->config.listeners.items;
    puts("listeners");
    for (size_t i = 0; i < service->config.listeners.count; i++)
        listener_print(&listeners[i], "  ", "\n");
    routes_print(loader);
    int bad = tokens_print(service);
    bad += issuers_print(service);
    bad += webhooks_print(service);
    bad += oidc_print(service);
    if (bad > 0) {
        fprintf(stderr, "sealwright check: %d of these are not as they should be\n",
                bad);
        return 1;
    }
    puts("the configuration holds");
    return 0;
}

static int
check_opened(struct service *service, const char *print)
{
    if (print)
        return value_print(service, print);
    struct loader loader = { 0 };
    if (loader_open(&service->config, built_in, sizeof built_in / sizeof *built_in,
                    &loader) != CA_OK)
        return failed("plugins");
    int result = loader_check_routes(&loader) == CA_OK ? all_print(service, &loader)
                                                       : failed("routes");
    loader_close(&loader);
    return result;
}

static int
check_run(const struct command_context *context, int argc, char **argv)
{
    static const struct option options[] = { { "print", required_argument, NULL, 'p' },
                                             { NULL, 0, NULL, 0 } };
    const char *print = NULL;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c != 'p')
            return 2;
        print = optarg;
    }
    if (optind < argc) {
        fprintf(stderr, "sealwright check: what is '%s'?\n", argv[optind]);
        return 2;
    }
    CA_AUTO(free) char *path = serve_config_path(context);
    struct service *service = NULL;
    if (!path || service_open(path, &service) != CA_OK)
        return failed(path ? path : "no memory");
    int result = check_opened(service, print);
    service_close(service);
    return result;
}

const struct command check_command = {
    .name = "check",
    .summary = "validate the configuration, list routes, try the token",
    .help =
        "Usage: sealwright check [--data DIR | --config FILE] [--print NAME]\n"
        "\n"
        "Reads the configuration as `serve` would, opens plugins, store and tokens,\n"
        "and says what it found. Exit status 1: something is not as it should be.\n"
        "\n"
        "  --print NAME  one value: listeners, base_url, plain_url, store, log_file\n"
        "\n"
        "Examples:\n"
        "  sealwright check --data /var/lib/sealwright\n"
        "  sealwright check --print plain_url\n",
    .run = check_run,
};
