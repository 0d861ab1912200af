/* Mismatches of offers, each with its audit entry. */
#include "offer_count.h"
#include "audit.h"
#include "auto.h"
#include "offer.h"
#include <string.h>

struct counting {
    struct exchange *exchange;
    const char *id, *word;
    enum ca_status status;
};

static enum ca_status
count(struct store_tx *tx, void *arg)
{
    const struct counting *counting = arg;
    bool is_killed = false;
    enum ca_status status = offer_mismatch(tx, counting->id, &is_killed);
    if (status != CA_OK)
        return status;
    CA_AUTO(json_decref)
    json_t *detail =
        json_pack("{s:s, s:b}", "mismatch", counting->word, "killed", is_killed);
    struct exchange *exchange = counting->exchange;
    return audit_append(
        tx, &(struct audit_entry){ .action = "offer.mismatch",
                                   .actor = exchange_actor(exchange),
                                   .object = counting->id,
                                   .protocol = exchange->plugin,
                                   .request = exchange->request.id,
                                   .outcome = ca_status_name(counting->status),
                                   .detail = detail });
}

enum ca_status
offer_count(struct exchange *exchange, const char *id, const char *word,
            enum ca_status status)
{
    char message[512];
    snprintf(message, sizeof message, "%s", status_message());
    struct counting counting = { exchange, id, word, status };
    enum ca_status counted = store_write(exchange->service->store, count, &counting);
    return counted == CA_OK ? ca_fail(status, "%s", message) : counted;
}
