/* ca_device_report: what a device says of itself before it enrols. */
#include "auto.h"
#include "device_facts.h"
#include "grant.h"
#include "management.h"
#include "refuse.h"
#include <string.h>

static void
facts_release(void *facts)
{
    device_facts_clear(facts);
    free(facts);
}

static char *
copy(const char *text, bool *failed)
{
    char *copied = text ? strdup(text) : NULL;
    *failed = *failed || (text && !copied);
    return copied;
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
    bool failed = false;
    facts->alias = copy(given->alias, &failed);
    facts->secret = copy(given->alias ? given->secret : NULL, &failed);
    facts->nonce = copy(facts->secret ? given->nonce : NULL, &failed);
    facts->hardware = object_copy(given->hardware);
    facts->report = object_copy(given->report);
    bool is_whole = !failed && facts->kind && facts->hardware && facts->report;
    enum ca_status status = exchange_keep(exchange, facts, facts_release);
    if (status != CA_OK)
        return status;
    *ret_facts = facts;
    return is_whole ? CA_OK : ca_fail(CA_INTERNAL, "no memory for a device's facts");
}

struct question {
    const char *alias;
    struct device found; /* that goes by it; id NULL: none */
};

static enum ca_status
device_read(struct store_tx *tx, void *arg)
{
    struct question *question = arg;
    struct management management = { 0 };
    device_clear(&question->found);
    enum ca_status status = management_of_peer(tx, question->alias, &management);
    if (status == CA_OK)
        status = device_load(tx, management.device, &question->found);
    management_clear(&management);
    return status == CA_NOT_FOUND ? CA_OK : status;
}

/* Whose id it is: the user's own device comes back, a live one of somebody else stays
 * theirs, and one that is over has left the id free. */
static enum ca_status
judge_device(const struct device *found, const char *user, bool *ret_is_own)
{
    bool is_own = found->owner && strcmp(found->owner, user) == 0;
    *ret_is_own = is_own && found->state != DEVICE_UNENROLLED;
    if (is_own && found->state == DEVICE_DISABLED)
        return ca_fail(CA_FORBIDDEN, "device %s is disabled", found->id);
    if (!is_own && (found->state == DEVICE_PENDING || found->state == DEVICE_ACTIVE))
        return ca_fail(CA_FORBIDDEN, "device %s is not user '%s' own", found->id, user);
    return CA_OK;
}

static enum ca_status
find_device(struct exchange *exchange, const struct device_facts *facts)
{
    struct identity *identity = &exchange->identity;
    struct grant *grant = identity->grant;
    bool is_own = false;
    if (grant->device.id || !facts->alias)
        return CA_OK;
    struct question question = { .alias = facts->alias };
    enum ca_status status =
        store_read(exchange->service->store, device_read, &question);
    if (status == CA_OK && question.found.id)
        status = judge_device(&question.found, grant->user.name, &is_own);
    char *id = status == CA_OK && is_own ? strdup(question.found.id) : NULL;
    if (status == CA_OK && is_own && !id)
        status = ca_fail(CA_INTERNAL, "no memory for a device's id");
    if (!id) {
        device_clear(&question.found);
        return status;
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

struct report_question {
    const char *device, *member;
    char *text;
};

static enum ca_status
report_read(struct store_tx *tx, void *arg)
{
    struct report_question *question = arg;
    struct device device = { 0 };
    bool failed = false;
    free(CA_STEAL(question->text));
    enum ca_status status = device_load(tx, question->device, &device);
    if (status == CA_OK)
        question->text =
            copy(json_string_value(json_object_get(device.report, question->member)),
                 &failed);
    device_clear(&device);
    return failed ? ca_fail(CA_INTERNAL, "no memory for a device's report") : status;
}

enum ca_status
ca_device_reported(struct ca_request *req, const char *device, const char *member,
                   const char **ret_text)
{
    struct exchange *exchange = exchange_of(req);
    struct report_question question = { device, member, NULL };
    enum ca_status status =
        store_read(exchange->service->store, report_read, &question);
    if (status == CA_OK && question.text)
        status = exchange_keep(exchange, question.text, free);
    else
        free(question.text);
    if (status == CA_OK)
        *ret_text = question.text;
    return status;
}
