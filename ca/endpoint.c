/* Endpoints resolved to their profiles, once a request. */
#include "endpoint.h"
#include "auto.h"
#include <string.h>

#define MESSAGE_RETRY_SECONDS 300

void
endpoint_free(struct endpoint *endpoint)
{
    if (!endpoint)
        return;
    if (endpoint->protocol)
        profile_cached_release(endpoint->protocol);
    if (endpoint->certificate)
        profile_cached_release(endpoint->certificate);
    free(endpoint->name);
    free(endpoint);
}

static void
endpoint_release(void *endpoint)
{
    endpoint_free(endpoint);
}

const struct certificate_profile *
endpoint_profile(const struct endpoint *endpoint)
{
    return &endpoint->certificate->profile.settings.certificate;
}

const char *
endpoint_profile_name(const struct endpoint *endpoint)
{
    return endpoint->certificate->profile.name;
}

const char *
endpoint_short_name(const struct endpoint *endpoint)
{
    return endpoint->protocol->profile.name;
}

int64_t
endpoint_retry_seconds(const char *name, const struct config *config)
{
    bool is_profile = strncmp(name, "certificate/", strlen("certificate/")) == 0;
    int64_t seconds = config->retry_window_seconds;
    return is_profile && seconds > MESSAGE_RETRY_SECONDS ? MESSAGE_RETRY_SECONDS
                                                         : seconds;
}

/* "scep/default" -> kind and name. */
static enum ca_status
name_parse(const char *text, enum profile_kind *ret_kind, const char **ret_name)
{
    const char *slash = strchr(text, '/');
    char kind[16];
    if (!slash || slash == text || (size_t)(slash - text) >= sizeof kind ||
        strlen(slash + 1) > RECORD_NAME_MAX)
        return ca_fail(CA_NOT_FOUND, "no endpoint of this name");
    snprintf(kind, sizeof kind, "%.*s", (int)(slash - text), text);
    if (!profile_kind_parse(kind, ret_kind))
        return ca_fail(CA_NOT_FOUND, "no endpoint of this kind");
    *ret_name = slash + 1;
    return CA_OK;
}

static enum ca_status
profiles_load(struct store_tx *tx, struct profile_cache *cache, const char *name,
              struct endpoint *endpoint)
{
    enum ca_status status =
        profile_cache_get(cache, tx, endpoint->kind, name, &endpoint->protocol);
    if (status != CA_OK)
        return status;
    const struct profile *protocol = &endpoint->protocol->profile;
    const char *certificate = name;
    if (endpoint->kind == PROFILE_SCEP)
        certificate = protocol->settings.scep.certificate;
    else if (endpoint->kind == PROFILE_ACTIVATION)
        certificate = protocol->settings.activation.certificate;
    return profile_cache_get(cache, tx, PROFILE_CERTIFICATE, certificate,
                             &endpoint->certificate);
}

enum ca_status
endpoint_load(struct store_tx *tx, struct profile_cache *cache, const char *name,
              struct endpoint **ret_endpoint)
{
    enum profile_kind kind = PROFILE_KIND_COUNT;
    const char *short_name = NULL;
    enum ca_status status = name_parse(name, &kind, &short_name);
    if (status != CA_OK)
        return status;
    struct endpoint *endpoint = calloc(1, sizeof *endpoint);
    if (!endpoint)
        return ca_fail(CA_INTERNAL, "no memory for an endpoint");
    endpoint->kind = kind;
    endpoint->name = strdup(name);
    status = endpoint->name ? profiles_load(tx, cache, short_name, endpoint)
                            : ca_fail(CA_INTERNAL, "no memory for an endpoint");
    if (status != CA_OK) {
        endpoint_free(endpoint);
        return status;
    }
    *ret_endpoint = endpoint;
    return CA_OK;
}

struct endpoint_question {
    struct profile_cache *cache;
    const char *name;
    struct endpoint *endpoint;
};

static enum ca_status
endpoint_read(struct store_tx *tx, void *arg)
{
    struct endpoint_question *question = arg;
    endpoint_free(CA_STEAL(question->endpoint));
    return endpoint_load(tx, question->cache, question->name, &question->endpoint);
}

enum ca_status
endpoint_of(struct exchange *exchange, const char *name,
            const struct endpoint **ret_endpoint)
{
    if (exchange->endpoint && strcmp(exchange->endpoint->name, name) == 0) {
        *ret_endpoint = exchange->endpoint;
        return CA_OK;
    }
    struct endpoint_question question = { exchange->service->profiles, name, NULL };
    enum ca_status status =
        store_read(exchange->service->store, endpoint_read, &question);
    if (status != CA_OK) {
        endpoint_free(question.endpoint);
        return status;
    }
    status = exchange_keep(exchange, question.endpoint, endpoint_release);
    if (status != CA_OK)
        return status;
    exchange->endpoint = question.endpoint;
    *ret_endpoint = question.endpoint;
    return CA_OK;
}

enum ca_status
endpoint_issuer(struct exchange *exchange, const char *name, bool next,
                const struct issuer **ret_issuer)
{
    const struct endpoint *endpoint = NULL;
    enum ca_status status = endpoint_of(exchange, name, &endpoint);
    if (status != CA_OK)
        return status;
    const struct issuers *issuers = exchange_issuers(exchange);
    const char *issuer_name = endpoint_profile(endpoint)->issuer;
    const struct issuer *issuer = issuers_find(issuers, issuer_name);
    if (!issuer)
        return ca_fail(CA_UNAVAILABLE, "issuer '%s' of %s is not loaded", issuer_name,
                       name);
    if (next) {
        issuer = issuer->next ? issuers_find(issuers, issuer->next) : NULL;
        if (!issuer || issuer->state != AUTHORITY_STANDBY)
            return ca_fail(CA_NOT_FOUND, "issuer '%s' has no standby", issuer_name);
    }
    *ret_issuer = issuer;
    return CA_OK;
}
