/* Where a user activates, and where an activated device belongs. */
#include "activate.h"
#include "auto.h"
#include "device.h"
#include "device_facts.h"
#include "instance.h"
#include "plugin_activation.h"
#include "refuse.h"
#include "text.h"
#include "user.h"
#include <string.h>

#define PROTOCOL "activation"

static enum ca_status
text_copy(struct ca_request *req, const char *text, const char **ret_text)
{
    char *copy = ca_request_alloc(req, strlen(text) + 1);
    if (!copy)
        return ca_fail(CA_INTERNAL, "no memory for a name");
    memcpy(copy, text, strlen(text) + 1);
    *ret_text = copy;
    return CA_OK;
}

/* ---- Discovery ---- */

/* Is the mail domain served? A name without one is of the default domain. */
static bool
domain_is_served(struct service *service, const char *user)
{
    const char *at = strrchr(user, '@');
    bool is_served = !at;
    pthread_rwlock_rdlock(&service->lock);
    char *const *domains = service->organisation.mail_domains.items;
    for (size_t i = 0; at && i < service->organisation.mail_domains.count; i++)
        is_served |= strcasecmp(domains[i], at + 1) == 0;
    pthread_rwlock_unlock(&service->lock);
    return is_served;
}

struct lookup {
    const char *user;
    bool is_known;
};

static enum ca_status
lookup_read(struct store_tx *tx, void *arg)
{
    struct lookup *lookup = arg;
    struct user user = { 0 };
    enum ca_status status = user_find_login(tx, lookup->user, &user);
    user_clear(&user);
    lookup->is_known = status == CA_OK;
    return status == CA_NOT_FOUND ? CA_OK : status;
}

/* The same look at the store whatever comes of it. */
static enum ca_status
place_find(struct exchange *exchange, const char *sent, size_t size,
           struct ca_activation_place *ret_place)
{
    struct service *service = exchange->service;
    char user[STRETCH_USER_MAX + 1], name[ACTIVATE_NAME_SIZE];
    struct ca_organisation organisation;
    CA_AUTO(free) char *server = NULL;
    if (!sent || !stretch_user(sent, size, user))
        return ca_fail(CA_MALFORMED, "no login name");
    activate_name((struct stretch_name){ user, "lookup/" }, name);
    enum ca_status status =
        activate_guard_hello(service->activations, &service->config.activation,
                             &(struct activate_hello){ exchange->request.peer, name },
                             &ret_place->retry_after);
    struct lookup lookup = { .user = user };
    if (status == CA_OK)
        status = store_read(service->store, lookup_read, &lookup);
    if (status != CA_OK)
        return status;
    if (!domain_is_served(service, user))
        return ca_fail(CA_NOT_FOUND, "a mail domain that is not served here");
    if (!lookup.is_known && service->config.activation.reveal_unknown)
        return ca_fail(CA_NOT_FOUND, "no such user");
    status = activate_server(service, &server);
    struct ca_activation_place place = { .instance = NULL };
    if (status == CA_OK)
        status = ca_organisation(&exchange->request, &organisation);
    if (status == CA_OK)
        status = text_copy(&exchange->request, server, &place.server);
    if (status == CA_OK)
        status = text_copy(&exchange->request, organisation.base_url, &place.url);
    if (status == CA_OK)
        *ret_place = place;
    return status;
}

enum ca_status
ca_activation_lookup(struct ca_request *req, const char *user, size_t user_size,
                     struct ca_activation_place *ret_place)
{
    struct exchange *exchange = exchange_of(req);
    return refuse(exchange, place_find(exchange, user, user_size, ret_place),
                  &(struct refusal_place){ .protocol = PROTOCOL });
}

/* ---- The device ---- */

struct placing {
    const char *device;
    const struct device_facts *facts;
    struct instance instance;
};

static enum ca_status
device_write(struct store_tx *tx, void *arg)
{
    struct placing *placing = arg;
    instance_clear(&placing->instance);
    enum ca_status status = device_note(tx, placing->device, placing->facts);
    if (status == CA_OK)
        status = device_touch(tx, placing->device, false);
    return status == CA_OK ? instance_of_device(tx, placing->device, &placing->instance)
                           : status;
}

static void
instance_clear_auto(struct instance *instance)
{
    instance_clear(instance);
}

static void
device_facts_clear_auto(struct device_facts *facts)
{
    device_facts_clear(facts);
}

static enum ca_status
software_check(const json_t *software)
{
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)software, name, value) {
        if (!text_is_clean(json_string_value(value), json_string_length(value)))
            return ca_fail(CA_MALFORMED, "software '%.64s' is no clean text", name);
    }
    return CA_OK;
}

/* The kind of a device is what it says of its system, when it says something, as far as
 * a name goes; the report has all of it. */
static enum ca_status
facts_fill(const json_t *device, const json_t *software, struct device_facts *facts)
{
    const char *system = json_string_value(json_object_get(software, "os"));
    facts->kind = system && *system
                      ? strndup(system, text_whole_length(system, RECORD_NAME_MAX))
                      : strdup(PROTOCOL);
    facts->hardware = json_deep_copy(device);
    facts->report = json_pack("{s:o}", "software", json_deep_copy(software));
    if (!facts->kind || !facts->hardware || !facts->report)
        return ca_fail(CA_INTERNAL, "no memory for a device's facts");
    /* The core's own member, of the activation. */
    json_object_del(facts->hardware, "work_space");
    for (char *c = facts->kind; *c; c++)
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c);
    enum ca_status status = software_check(software);
    return status == CA_OK ? device_facts_check(facts) : status;
}

static enum ca_status
device_place(struct exchange *exchange, const json_t *device, const json_t *software,
             struct ca_activation_place *ret_place)
{
    struct service *service = exchange->service;
    const struct identity *identity = &exchange->identity;
    CA_AUTO(device_facts_clear) struct device_facts facts = { .kind = NULL };
    struct ca_activation_place place = { .server = NULL };
    struct ca_organisation organisation;
    if (identity->kind != IDENTITY_DEVICE || !identity->device ||
        strcmp(identity->protocol, PROTOCOL) != 0)
        return ca_fail(CA_UNAUTHENTICATED, "no device reports itself");
    enum ca_status status = facts_fill(device, software, &facts);
    struct placing placing = { .device = identity->device, .facts = &facts };
    if (status == CA_OK)
        status = store_write(service->store, device_write, &placing);
    CA_AUTO(instance_clear) struct instance instance = placing.instance;
    if (status == CA_OK)
        status = ca_organisation(&exchange->request, &organisation);
    if (status == CA_OK)
        status = text_copy(&exchange->request, instance.name, &place.instance);
    if (status == CA_OK)
        status =
            text_copy(&exchange->request,
                      instance.url ? instance.url : organisation.base_url, &place.url);
    if (status == CA_OK)
        *ret_place = place;
    return status;
}

enum ca_status
ca_activation_device(struct ca_request *req, const json_t *device,
                     const json_t *software, struct ca_activation_place *ret_place)
{
    struct exchange *exchange = exchange_of(req);
    enum ca_status status = service_wait_begin(exchange->service);
    if (status != CA_OK)
        return status;
    status = device_place(exchange, device, software, ret_place);
    service_wait_end(exchange->service);
    return refuse(exchange, status,
                  &(struct refusal_place){ .protocol = PROTOCOL, .verified = true });
}
