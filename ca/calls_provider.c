/* Log-in at the OpenID provider as plugins see it: its name, the way there, and what
 * the browser brought back. */
#include "auth_provider.h"
#include "auto.h"
#include <openssl/crypto.h>
#include <string.h>

const char *
ca_provider_name(struct ca_request *req)
{
    const struct service *service = exchange_of(req)->service;
    return service->oidc ? service->config.oidc.name : NULL;
}

/* Nothing that could leave the cookie's value. */
static bool
context_is_good(const char *context)
{
    size_t length = strspn(context, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuv"
                                    "wxyz0123456789-._~/:%");
    return context[length] == '\0' && length < CA_PROVIDER_CONTEXT_MAX;
}

static enum ca_status
way_there(struct exchange *exchange, const char *protocol, const char *cookie)
{
    struct oidc_login login = { .redirect_uri = NULL };
    CA_AUTO(free) char *uri = NULL;
    CA_AUTO(free) char *url = NULL;
    enum ca_status status = provider_login(exchange, protocol, cookie, &login, &uri);
    if (status == CA_OK)
        status = service_wait_begin(exchange->service);
    if (status != CA_OK)
        return status;
    status = oidc_authorize(exchange->service->oidc, &login, &url);
    service_wait_end(exchange->service);
    OPENSSL_cleanse(login.verifier, sizeof login.verifier);
    if (status == CA_OK)
        status = provider_cookie_set(exchange, protocol, cookie);
    if (status == CA_OK)
        status = ca_respond_header(&exchange->request, "Location", url);
    if (status == CA_OK)
        status = ca_respond_header(&exchange->request, "Cache-Control", "no-store");
    if (status == CA_OK)
        status =
            ca_respond_header(&exchange->request, "Referrer-Policy", "no-referrer");
    return status == CA_OK ? ca_respond(&exchange->request, 303, NULL, NULL, 0)
                           : status;
}

enum ca_status
ca_provider_begin(struct ca_request *req, const char *protocol, const char *context)
{
    struct exchange *exchange = exchange_of(req);
    char cookie[PROVIDER_COOKIE_SIZE];
    if (!exchange->service->oidc || !provider_serves(protocol))
        return ca_fail(CA_UNSUPPORTED, "no OpenID provider is configured");
    if (!context_is_good(context))
        return ca_fail(CA_MALFORMED, "a log-in with a context of no form");
    enum ca_status status = provider_cookie_draw(exchange, protocol, context, cookie);
    if (status == CA_OK)
        status = way_there(exchange, protocol, cookie);
    OPENSSL_cleanse(cookie, sizeof cookie);
    return status;
}

enum ca_status
ca_provider_context(struct ca_request *req, const char *protocol,
                    const char **ret_context)
{
    struct exchange *exchange = exchange_of(req);
    char cookie[PROVIDER_COOKIE_SIZE];
    if (!exchange->service->oidc || !provider_serves(protocol) ||
        !provider_cookie(exchange, protocol, cookie))
        return ca_fail(CA_UNAUTHENTICATED, "a browser that was not sent from here");
    const char *context = cookie + PROVIDER_CONTEXT_AT;
    char *copy = ca_request_alloc(req, strlen(context) + 1);
    bool is_good = copy && context_is_good(context);
    if (is_good)
        memcpy(copy, context, strlen(context) + 1);
    OPENSSL_cleanse(cookie, sizeof cookie);
    if (!is_good)
        return ca_fail(CA_UNAUTHENTICATED, "a browser with another context");
    *ret_context = copy;
    return CA_OK;
}
