/* The ends of certificates, users and devices, each with audit entries and stale CRLs.
 */
#include "lifecycle.h"
#include "authority.h"
#include "auto.h"
#include "certificate.h"
#include "challenge.h"
#include "device.h"
#include "pending.h"
#include "text.h"
#include <string.h>

#define CHALLENGES_PAGE 100

static void
certificate_clear_auto(struct certificate *certificate)
{
    certificate_clear(certificate);
}

/* Names gathered by a visitor, so that statements run after the one that found them. */
struct name_list {
    char **items;
    size_t count, room;
};

static void
name_list_clear_auto(struct name_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
}

static enum ca_status
name_add(struct name_list *list, const char *name)
{
    if (list->count == list->room) {
        size_t room = list->room > 0 ? list->room * 2 : 16;
        char **items = realloc(list->items, room * sizeof *items);
        if (!items)
            return ca_fail(CA_INTERNAL, "no memory for a list of names");
        list->items = items;
        list->room = room;
    }
    char *copy = strdup(name);
    if (!copy)
        return ca_fail(CA_INTERNAL, "no memory for a list of names");
    list->items[list->count++] = copy;
    return CA_OK;
}

static enum ca_status
visit_serial(const void *record, void *arg)
{
    return name_add(arg, record);
}

static enum ca_status
audit_revocation(struct store_tx *tx, const struct certificate *certificate, int reason,
                 const struct lifecycle_cause *cause)
{
    CA_AUTO(free) char *object = NULL;
    if (asprintf(&object, "certificate:%s", certificate->serial) < 0)
        object = NULL;
    const char *word =
        reason >= 0 && reason < 11 ? certificate_reason_words[reason] : NULL;
    CA_AUTO(json_decref)
    json_t *detail = json_pack("{s:s*, s:s*, s:s*, s:s*}", "reason", word, "issuer",
                               certificate->issuer, "user", certificate->user, "device",
                               certificate->device);
    if (!object || !detail)
        return ca_fail(CA_INTERNAL, "no memory for an audit entry");
    return audit_append(tx, &(struct audit_entry){
                                .action = reason == CERTIFICATE_REMOVE_FROM_CRL
                                              ? "certificate.release"
                                              : "certificate.revoke",
                                .actor = cause->actor,
                                .object = object,
                                .protocol = cause->protocol,
                                .request = cause->request,
                                .outcome = "ok",
                                .detail = detail,
                            });
}

static enum ca_status
block_key(struct store_tx *tx, const struct certificate *certificate)
{
    uint8_t sha256[32];
    if (!certificate->spki_sha256 ||
        !hex_parse(certificate->spki_sha256, sha256, sizeof sha256))
        return ca_fail(CA_INTERNAL, "certificate %s has no digest of its key",
                       certificate->serial);
    return device_block_key(tx, sha256, "key_compromise");
}

/* What follows from a revocation that is in the inventory already. */
static enum ca_status
revocation_follow(struct store_tx *tx, const char *serial, int reason,
                  const struct lifecycle_cause *cause)
{
    CA_AUTO(certificate_clear) struct certificate certificate = { 0 };
    enum ca_status status = certificate_load(tx, NULL, serial, &certificate);
    if (status == CA_OK && reason == CERTIFICATE_KEY_COMPROMISE)
        status = block_key(tx, &certificate);
    if (status == CA_OK)
        status = authority_crl_touch(tx, certificate.issuer);
    if (status == CA_OK)
        status = audit_revocation(tx, &certificate, reason, cause);
    return status;
}

static enum ca_status
revocations_follow(struct store_tx *tx, const struct name_list *serials, int reason,
                   const struct lifecycle_cause *cause)
{
    for (size_t i = 0; i < serials->count; i++) {
        enum ca_status status = revocation_follow(tx, serials->items[i], reason, cause);
        if (status != CA_OK)
            return status;
    }
    return CA_OK;
}

struct withdrawal {
    const char *device; /* NULL: of any */
    struct name_list ids;
    char last[64]; /* id that the page ended with */
    int64_t seen;  /* records of the page */
};

static enum ca_status
visit_challenge(const void *record, void *arg)
{
    const struct challenge *challenge = record;
    struct withdrawal *withdrawal = arg;
    snprintf(withdrawal->last, sizeof withdrawal->last, "%s", challenge->id);
    withdrawal->seen++;
    if (withdrawal->device &&
        (!challenge->device || strcmp(challenge->device, withdrawal->device) != 0))
        return CA_OK;
    return name_add(&withdrawal->ids, challenge->id);
}

/* Every open challenge of the user (for the device). */
static enum ca_status
find_challenges(struct store_tx *tx, const char *user, struct withdrawal *withdrawal)
{
    enum ca_status status;
    char after[sizeof withdrawal->last] = "";
    do {
        struct record_page page = { .after = after[0] ? after : NULL,
                                    .limit = CHALLENGES_PAGE };
        withdrawal->seen = 0;
        status = challenge_list(tx, user, "open", &page, visit_challenge, withdrawal);
        snprintf(after, sizeof after, "%s", withdrawal->last);
    } while (status == CA_OK && withdrawal->seen == CHALLENGES_PAGE);
    return status;
}

static enum ca_status
withdraw_challenges(struct store_tx *tx, const char *user, const char *device)
{
    struct withdrawal withdrawal = { .device = device };
    enum ca_status status = find_challenges(tx, user, &withdrawal);
    for (size_t i = 0; status == CA_OK && i < withdrawal.ids.count; i++)
        status = challenge_withdraw(tx, withdrawal.ids.items[i]);
    name_list_clear_auto(&withdrawal.ids);
    return status;
}

enum ca_status
lifecycle_revoke(struct store_tx *tx, const char *serial, int reason,
                 int64_t invalidity_date, const struct lifecycle_cause *cause)
{
    enum ca_status status = certificate_revoke(tx, serial, reason, invalidity_date);
    return status == CA_OK ? revocation_follow(tx, serial, reason, cause) : status;
}

enum ca_status
lifecycle_disable_user(struct store_tx *tx, const char *user,
                       const struct lifecycle_cause *cause)
{
    CA_AUTO(name_list_clear) struct name_list serials = { 0 };
    enum ca_status status = certificate_revoke_user(
        tx, user, CERTIFICATE_CESSATION_OF_OPERATION, visit_serial, &serials);
    if (status == CA_OK)
        status =
            revocations_follow(tx, &serials, CERTIFICATE_CESSATION_OF_OPERATION, cause);
    if (status == CA_OK)
        status = pending_refuse_all(tx, user, NULL, "the user was disabled");
    return status == CA_OK ? withdraw_challenges(tx, user, NULL) : status;
}

static void
device_clear_auto(struct device *device)
{
    device_clear(device);
}

enum ca_status
lifecycle_disable_device(struct store_tx *tx, const char *device,
                         const struct lifecycle_cause *cause)
{
    CA_AUTO(device_clear) struct device record = { 0 };
    CA_AUTO(name_list_clear) struct name_list serials = { 0 };
    enum ca_status status = device_load(tx, device, &record);
    if (status == CA_OK)
        status = certificate_revoke_device(tx, device, NULL, NULL,
                                           CERTIFICATE_CESSATION_OF_OPERATION,
                                           visit_serial, &serials);
    if (status == CA_OK)
        status =
            revocations_follow(tx, &serials, CERTIFICATE_CESSATION_OF_OPERATION, cause);
    if (status == CA_OK)
        status = pending_refuse_all(tx, NULL, device, "the device was disabled");
    return status == CA_OK ? withdraw_challenges(tx, record.owner, device) : status;
}

enum ca_status
lifecycle_supersede(struct store_tx *tx, const char *device, const char *profile,
                    const char *keep, const struct lifecycle_cause *cause,
                    bool *ret_any)
{
    CA_AUTO(name_list_clear) struct name_list serials = { 0 };
    enum ca_status status = certificate_revoke_device(
        tx, device, profile, keep, CERTIFICATE_SUPERSEDED, visit_serial, &serials);
    if (status == CA_OK)
        status = revocations_follow(tx, &serials, CERTIFICATE_SUPERSEDED, cause);
    if (status == CA_OK)
        *ret_any = serials.count > 0;
    return status;
}
