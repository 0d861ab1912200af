/* ca_device_report: what a device says of itself before it enrols. */
#include "auto.h"
#include "device_facts.h"
#include "grant.h"
#include "refuse.h"
#include <string.h>

static void
facts_release(void *facts)
{
    device_facts_clear(facts);
    free(facts);
}

static json_t *
object_copy(const json_t *object)
{
    return object ? json_deep_copy(object) : json_object();
}

/* A copy that lives as long as the request. */
static enum ca_status
facts_keep(struct exchange *exchange, const struct ca_device_facts *given,
           struct device_facts **ret_facts)
{
    struct device_facts *facts = calloc(1, sizeof *facts);
    if (!facts)
        return ca_fail(CA_INTERNAL, "no memory for a device's facts");
    facts->kind = strdup(given->kind);
    facts->alias = given->alias ? strdup(given->alias) : NULL;
    facts->hardware = object_copy(given->hardware);
    facts->report = object_copy(given->report);
    bool is_whole = facts->kind && (facts->alias || !given->alias) && facts->hardware &&
                    facts->report;
    enum ca_status status = exchange_keep(exchange, facts, facts_release);
    if (status != CA_OK)
        return status;
    *ret_facts = facts;
    return is_whole ? CA_OK : ca_fail(CA_INTERNAL, "no memory for a device's facts");
}

struct question {
    const char *owner;
    const struct device_facts *facts;
    struct device found;
};

static enum ca_status
device_read(struct store_tx *tx, void *arg)
{
    struct question *question = arg;
    CA_AUTO(free) char *id = NULL;
    device_clear(&question->found);
    enum ca_status status = device_of_alias(tx, question->owner, question->facts->kind,
                                            question->facts->alias, &id);
    return status == CA_OK ? device_load(tx, id, &question->found) : status;
}

/* The user's own device that goes by this alias becomes the identity's. */
static enum ca_status
find_device(struct exchange *exchange, const struct device_facts *facts)
{
    struct identity *identity = &exchange->identity;
    struct grant *grant = identity->grant;
    if (grant->device.id || !facts->alias)
        return CA_OK;
    struct question question = { .owner = grant->user.name, .facts = facts };
    enum ca_status status =
        store_read(exchange->service->store, device_read, &question);
    if (status == CA_OK && question.found.state == DEVICE_DISABLED)
        status = ca_fail(CA_FORBIDDEN, "device %s is disabled", question.found.id);
    char *id = status == CA_OK ? strdup(question.found.id) : NULL;
    if (status == CA_OK && !id)
        status = ca_fail(CA_INTERNAL, "no memory for a device's id");
    if (status != CA_OK) {
        device_clear(&question.found);
        return status == CA_NOT_FOUND ? CA_OK : status;
    }
    free(identity->device);
    identity->device = id;
    grant->device = question.found;
    return CA_OK;
}

enum ca_status
ca_device_report(struct ca_request *req, const struct ca_device_facts *given)
{
    struct exchange *exchange = exchange_of(req);
    const struct identity *identity = &exchange->identity;
    struct device_facts *facts = NULL;
    struct refusal_place place = {
        .protocol = identity->protocol ? identity->protocol : exchange->plugin,
        .endpoint = exchange->endpoint ? endpoint_short_name(exchange->endpoint) : NULL,
        .verified = identity->kind != IDENTITY_NONE,
    };
    if (!identity->grant || identity->kind == IDENTITY_NONE)
        return refuse(exchange, ca_fail(CA_UNAUTHENTICATED, "nobody's device reports"),
                      &place);
    enum ca_status status = facts_keep(exchange, given, &facts);
    if (status == CA_OK)
        status = device_facts_check(facts);
    if (status == CA_OK)
        status = find_device(exchange, facts);
    if (status == CA_OK)
        exchange->facts = facts;
    return refuse(exchange, status, &place);
}
