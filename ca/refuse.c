/* Refusals on their way into the audit. */
#include "refuse.h"
#include "audit.h"
#include "auto.h"
#include "log.h"
#include "metrics.h"
#include "refusal.h"
#include <string.h>

#define MESSAGE_SIZE 512
#define REASON_SIZE_MAX 64

static bool
is_refusal(enum ca_status status)
{
    switch (status) {
    case CA_MALFORMED:
    case CA_UNAUTHENTICATED:
    case CA_FORBIDDEN:
    case CA_NOT_FOUND:
    case CA_CONFLICT:
    case CA_UNSUPPORTED:
    case CA_LIMIT: return true;
    case CA_OK:
    case CA_PENDING:
    case CA_UNAVAILABLE:
    case CA_INTERNAL:
    case CA_STATUS_COUNT: break;
    }
    return false;
}

static enum ca_status
entry_write(struct store_tx *tx, void *arg)
{
    return audit_append(tx, arg);
}

/* The refusal stands whether or not its entry can be written; that it cannot is an
 * alarm of its own (SECURITY I2). */
static void
write_entry(struct exchange *exchange, const char *outcome, const char *message,
            const struct refusal_place *place)
{
    CA_AUTO(free) char *object = NULL;
    if (asprintf(&object, "profile:%s/%s", place->protocol, place->endpoint) < 0)
        object = NULL;
    const struct identity *identity = &exchange->identity;
    CA_AUTO(json_decref)
    json_t *detail = json_pack("{s:s*, s:s*, s:s*, s:s*}", "reason", message, "peer",
                               exchange->request.peer, "device", identity->device,
                               "serial", identity->serial);
    struct audit_entry entry = {
        .action = "enrol.refuse",
        .actor = place->actor ? place->actor : exchange_actor(exchange),
        .object = object ? object : "",
        .protocol = place->protocol,
        .request = exchange->request.id,
        .outcome = outcome,
        .detail = detail,
    };
    if (store_write(exchange->service->store, entry_write, &entry) != CA_OK)
        log_write(LOG_LEVEL_ERROR, json_pack("{s:s}", "request", exchange->request.id),
                  "refusal not in the audit: %s", status_message());
}

static void
record(struct exchange *exchange, const char *word, const char *message,
       const struct refusal_place *place)
{
    struct refusal_place named = *place;
    named.protocol = place->protocol ? place->protocol : "";
    named.endpoint = place->endpoint ? place->endpoint : "";
    exchange->refused = true;
    metrics_count(exchange->service->metrics, "refusals", word);
    if (place->verified)
        write_entry(exchange, word, message, &named);
    else
        refusals_count(exchange->service->refusals, named.protocol,
                       exchange->request.peer, word);
}

enum ca_status
refuse(struct exchange *exchange, enum ca_status status,
       const struct refusal_place *place)
{
    if (!is_refusal(status))
        return status;
    char message[MESSAGE_SIZE];
    snprintf(message, sizeof message, "%s", status_message());
    record(exchange, ca_status_name(status), message, place);
    return ca_fail(status, "%s", message);
}

void
refuse_reason(struct exchange *exchange, const char *reason,
              const struct refusal_place *place)
{
    char message[MESSAGE_SIZE], word[REASON_SIZE_MAX];
    if (exchange->refused) /* by the core, whose answer the plugin passes on */
        return;
    snprintf(message, sizeof message, "%s", status_message());
    snprintf(word, sizeof word, "%s", reason);
    record(exchange, word, message, place);
    ca_fail(CA_OK, "%s", message);
}
