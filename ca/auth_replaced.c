/* What a renewal takes the place of where the old certificate is all that a device has
 * when the answer was lost, for a connection with a revoked one proves nothing: over
 * activation's TLS, and of Windows under management. It is revoked when the new
 * certificate is first used, not before. */
#include "auth.h"
#include "auto.h"
#include "lifecycle.h"
#include "profile_cache.h"
#include "query.h"
#include <string.h>

#define REPLACED_MOST 8 /* at a time; the next use takes the rest */

bool
auth_keeps_replaced(const char *protocol, const char *replaces)
{
    return replaces && protocol && strcmp(protocol, "activation") == 0;
}

bool
auth_is_settling(const char *protocol)
{
    return protocol &&
           (strcmp(protocol, "activation") == 0 || strcmp(protocol, "wstep") == 0);
}

struct replaced {
    struct exchange *exchange;
    const char *protocol;
    const struct certificate *used;
    char serials[REPLACED_MOST][AUTH_SERIAL_SIZE];
    size_t count;
    bool wants; /* the profile has them revoked */
};

static enum ca_status
serial_take(const struct store_row *row, void *arg)
{
    struct replaced *replaced = arg;
    if (replaced->count < REPLACED_MOST)
        snprintf(replaced->serials[replaced->count++], AUTH_SERIAL_SIZE, "%s",
                 store_row_text(row, 0));
    return CA_OK;
}

/* The one that it renews, and what else was made in that one's place. */
#define OF_REPLACED                                                                    \
    " FROM certificate n JOIN certificate o ON o.device_id = n.device_id "             \
    "WHERE n.serial = $1 AND n.replaces IS NOT NULL AND o.serial <> n.serial "         \
    "AND o.state = 1 AND (o.serial = n.replaces OR o.replaces = n.replaces) "

enum ca_status
auth_has_replaced(struct store_tx *tx, const char *serial, bool *ret_any)
{
    return record_exists(tx, "SELECT 1" OF_REPLACED "LIMIT 1",
                         STORE_VALUES(store_text(serial)), ret_any);
}

static enum ca_status
replaced_read(struct store_tx *tx, void *arg)
{
    struct replaced *replaced = arg;
    const struct profile_cached *profile = NULL;
    _Static_assert(REPLACED_MOST == 8, "the statement says so");
    replaced->count = 0;
    enum ca_status status = store_run(tx, "SELECT o.serial" OF_REPLACED "LIMIT 8",
                                      STORE_VALUES(store_text(replaced->used->serial)),
                                      serial_take, replaced, NULL);
    if (status != CA_OK || replaced->count == 0)
        return status;
    status = profile_cache_get(replaced->exchange->service->profiles, tx,
                               PROFILE_CERTIFICATE, replaced->used->profile, &profile);
    if (status == CA_NOT_FOUND) /* the profile is gone: nobody says that they stay */
        replaced->wants = true;
    else if (status == CA_OK)
        replaced->wants = profile->profile.settings.certificate.revoke_replaced;
    profile_cached_release(profile);
    return status == CA_NOT_FOUND ? CA_OK : status;
}

static enum ca_status
replaced_write(struct store_tx *tx, void *arg)
{
    const struct replaced *replaced = arg;
    struct exchange *exchange = replaced->exchange;
    CA_AUTO(free) char *actor = NULL;
    enum ca_status status = CA_OK;
    if (asprintf(&actor, "device:%s", replaced->used->device) < 0) {
        actor = NULL;
        return ca_fail(CA_INTERNAL, "no memory for an audit entry");
    }
    const struct lifecycle_cause cause = { actor, replaced->protocol,
                                           exchange->request.id };
    for (size_t i = 0; status == CA_OK && i < replaced->count; i++) {
        status = lifecycle_revoke(tx, replaced->serials[i], CERTIFICATE_SUPERSEDED, 0,
                                  &cause);
        if (status == CA_CONFLICT) /* by somebody else meanwhile */
            status = CA_OK;
    }
    return status;
}

enum ca_status
auth_settle_replaced(struct exchange *exchange, const char *protocol,
                     const struct certificate *used)
{
    struct replaced replaced = { .exchange = exchange,
                                 .protocol = protocol,
                                 .used = used };
    if (!used->serial || !used->device || !used->profile)
        return CA_OK;
    enum ca_status status =
        store_read(exchange->service->store, replaced_read, &replaced);
    if (status != CA_OK || replaced.count == 0 || !replaced.wants)
        return status;
    status = store_write(exchange->service->store, replaced_write, &replaced);
    if (status == CA_OK)
        service_wake_jobs(exchange->service);
    return status;
}
