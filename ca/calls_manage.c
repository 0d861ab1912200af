/* Devices under management: who asks, the queue, the report, the policy. */
#include "calls_manage.h"
#include "auth.h"
#include "auto.h"
#include "clock.h"
#include "device.h"
#include "device_session.h"
#include "management.h"
#include "query.h"
#include "refuse.h"
#include "state.h"
#include <openssl/hmac.h>
#include <string.h>

#define SESSION_SPACE "manage.session"
#define SESSION_SECONDS 600

static void
json_release(void *json)
{
    json_decref(json);
}

static void
text_release(void *text)
{
    secret_free(text);
}

json_t *
manage_keep_json(struct exchange *exchange, json_t *json)
{
    return json && exchange_keep(exchange, json, json_release) == CA_OK ? json : NULL;
}

char *
manage_keep_text(struct exchange *exchange, char *text)
{
    return text && exchange_keep(exchange, text, text_release) == CA_OK ? text : NULL;
}

enum ca_status
manage_begin(struct ca_request *req, struct exchange **ret_exchange)
{
    struct exchange *exchange = exchange_of(req);
    if (exchange->identity.kind != IDENTITY_DEVICE || !exchange->identity.device)
        return ca_fail(CA_UNAUTHENTICATED, "no managed device");
    *ret_exchange = exchange;
    return CA_OK;
}

struct lifecycle_cause
manage_cause(struct exchange *exchange)
{
    return (struct lifecycle_cause){ .actor = exchange_actor(exchange),
                                     .protocol = exchange->identity.protocol,
                                     .request = exchange->request.id };
}

/* ---- Who asks ---- */

struct opening {
    const struct ca_management *asked;
    const struct issuers *issuers;
    const char *peer; /* address */
    bool verified;    /* a credential held */
    bool by_secret, by_digest, spare;
    char nonce[MANAGEMENT_NONCE_SIZE];
    char session[STATE_KEY_MAX + 1];
    struct management management;
    struct device device;
    struct certificate used; /* where it replaces one that is good yet */
};

static void
opening_clear(struct opening *opening)
{
    management_clear(&opening->management);
    device_clear(&opening->device);
    certificate_clear(&opening->used);
    opening->verified = opening->by_secret = opening->by_digest = false;
}

/* Is this id the certificate's device? What was bound once counts (by the enrolment,
 * mostly); a device that never gave an id takes the one it gives now. */
static enum ca_status
check_peer_id(struct store_tx *tx, struct opening *opening, const char *device)
{
    bool other = false;
    const char *id = opening->asked->peer_id;
    enum ca_status status = management_of_peer(tx, id, &opening->management);
    if (status == CA_OK) {
        if (strcmp(opening->management.device, device) == 0)
            return CA_OK;
        return ca_fail(CA_FORBIDDEN, "certificate is of device %s, the session of %s",
                       device, opening->management.device);
    }
    if (status != CA_NOT_FOUND)
        return status;
    status = record_exists(tx, "SELECT 1 FROM device_management WHERE device_id = $1",
                           STORE_VALUES(store_text(device)), &other);
    if (status == CA_OK && other)
        return ca_fail(CA_FORBIDDEN, "device %s goes by another id", device);
    return status;
}

static enum ca_status
ask_certificate(struct store_tx *tx, struct opening *opening, char **ret_device)
{
    struct certificate record = { 0 };
    enum ca_status status = auth_find_certificate(tx, opening->issuers,
                                                  opening->asked->certificate, &record);
    if (status != CA_OK)
        return status;
    int64_t now = clock_now();
    opening->verified = true;
    if (record.state != CERTIFICATE_ISSUED || now < record.not_before ||
        now > record.not_after || !record.device)
        status = ca_fail(CA_FORBIDDEN, "certificate %s is not one in use by a device",
                         record.serial);
    if (status == CA_OK)
        status = check_peer_id(tx, opening, record.device);
    bool replaces = false;
    if (status == CA_OK && !opening->asked->resume)
        status = auth_has_replaced(tx, record.serial, &replaces);
    if (status == CA_OK && !(*ret_device = strdup(record.device)))
        status = ca_fail(CA_INTERNAL, "no memory for a device");
    if (status == CA_OK && replaces)
        opening->used = record;
    else
        certificate_clear(&record);
    return status;
}

static enum ca_status
ask_resumed(struct store_tx *tx, struct opening *opening)
{
    CA_AUTO(free) void *peer = NULL;
    size_t size = 0;
    int64_t version;
    enum ca_status status =
        state_get(tx, SESSION_SPACE, opening->session, &peer, &size, &version);
    bool is_same = status == CA_OK && size == strlen(opening->peer) &&
                   memcmp(peer, opening->peer, size) == 0;
    if (status != CA_OK && status != CA_NOT_FOUND)
        return status;
    return is_same ? CA_OK
                   : ca_fail(CA_UNAUTHENTICATED, "no credential in this session");
}

/* By the secret, or a session that has brought it. */
static enum ca_status
ask_secret(struct store_tx *tx, struct opening *opening, char **ret_device)
{
    const struct ca_management *asked = opening->asked;
    struct management *management = &opening->management;
    enum ca_status status = management_of_peer(tx, asked->peer_id, management);
    if (status != CA_OK)
        return status == CA_UNAVAILABLE
                   ? status
                   : ca_fail(CA_UNAUTHENTICATED, "no managed device of this id");
    snprintf(opening->session, sizeof opening->session, "%s %s", management->device,
             asked->session);
    if (asked->digest)
        opening->by_digest = opening->by_secret =
            management_has_digest(management, asked->digest, &opening->spare);
    else if (asked->name && asked->secret)
        opening->by_secret =
            management_has_secret(management, asked->name, asked->secret);
    else if (asked->resume)
        status = ask_resumed(tx, opening);
    else
        status = ca_fail(CA_UNAUTHENTICATED, "no credential");
    if (status == CA_OK && !opening->by_secret && (asked->digest || asked->secret))
        status = ca_fail(CA_UNAUTHENTICATED, "the device's secret is wrong");
    if (status != CA_OK)
        return status;
    opening->verified = true;
    *ret_device = strdup(management->device);
    return *ret_device ? CA_OK : ca_fail(CA_INTERNAL, "no memory for a device");
}

static enum ca_status
opening_read(struct store_tx *tx, void *arg)
{
    struct opening *opening = arg;
    CA_AUTO(free) char *device = NULL;
    int64_t user_state = 0;
    opening_clear(opening);
    enum ca_status status = opening->asked->certificate
                                ? ask_certificate(tx, opening, &device)
                                : ask_secret(tx, opening, &device);
    if (status == CA_OK)
        status = device_load(tx, device, &opening->device);
    if (status == CA_OK && opening->device.owner)
        status = store_run(tx, "SELECT state FROM users WHERE name = $1",
                           STORE_VALUES(store_text(opening->device.owner)),
                           row_take_integer, &user_state, NULL);
    if (status != CA_OK)
        return status;
    if (opening->device.state > DEVICE_ACTIVE)
        return ca_fail(CA_FORBIDDEN, "device %s is disabled or unenrolled", device);
    if (user_state != 0)
        return ca_fail(CA_FORBIDDEN, "user '%s' is disabled", opening->device.owner);
    return CA_OK;
}

/* What the first message of a session leaves behind. */
static enum ca_status
opening_write(struct store_tx *tx, void *arg)
{
    struct opening *opening = arg;
    const char *device = opening->device.id;
    enum ca_status status = device_touch(tx, device, false);
    if (status == CA_OK)
        status = device_session_trim(tx, device);
    if (status == CA_OK && !opening->management.device)
        status = management_bind(tx, device, opening->asked->peer_id);
    if (status == CA_OK && opening->by_digest)
        status = management_use_nonce(tx, &opening->management, opening->spare,
                                      opening->nonce);
    if (status == CA_OK && opening->by_secret)
        status = state_put(tx, SESSION_SPACE, opening->session, opening->peer,
                           strlen(opening->peer), clock_now() + SESSION_SECONDS);
    return status;
}

static enum ca_status
identity_set(struct exchange *exchange, const struct opening *opening,
             struct ca_managed *ret_managed)
{
    struct identity *identity = &exchange->identity;
    const struct device *device = &opening->device;
    identity->protocol = "syncml";
    identity->device = strdup(device->id);
    identity->user = device->owner ? strdup(device->owner) : NULL;
    char *nonce =
        opening->by_digest ? manage_keep_text(exchange, strdup(opening->nonce)) : NULL;
    json_t *report = manage_keep_json(exchange, json_incref(device->report));
    if (!identity->device || (device->owner && !identity->user) || !report ||
        (opening->by_digest && !nonce))
        return ca_fail(CA_INTERNAL, "no memory for an identity");
    identity->kind = IDENTITY_DEVICE;
    *ret_managed = (struct ca_managed){ .device = identity->device,
                                        .user = identity->user,
                                        .by_secret = opening->by_secret,
                                        .nonce = nonce,
                                        .report = report };
    return CA_OK;
}

enum ca_status
ca_manage_open(struct ca_request *req, const struct ca_management *management,
               struct ca_managed *ret_managed)
{
    struct exchange *exchange = exchange_of(req);
    struct store *store = exchange->service->store;
    struct opening opening = { .asked = management,
                               .issuers = exchange_issuers(exchange),
                               .peer = req->peer };
    identity_clear(&exchange->identity);
    enum ca_status status = store_read(store, opening_read, &opening);
    bool is_first = !management->resume || opening.by_secret ||
                    (status == CA_OK && !opening.management.device);
    if (status == CA_OK && is_first)
        status = store_write(store, opening_write, &opening);
    if (status == CA_OK && opening.used.serial)
        status = auth_settle_replaced(exchange, "syncml", &opening.used);
    /* Two messages with one digest: the second is too late. */
    if (status == CA_CONFLICT)
        status = ca_fail(CA_UNAUTHENTICATED, "this digest has been used");
    if (status == CA_OK)
        status = identity_set(exchange, &opening, ret_managed);
    CA_AUTO(free) char *actor = NULL;
    if (opening.device.id && asprintf(&actor, "device:%s", opening.device.id) < 0)
        actor = NULL;
    bool verified = opening.verified;
    opening_clear(&opening);
    if (status == CA_OK)
        return CA_OK;
    identity_clear(&exchange->identity);
    return refuse(exchange, status,
                  &(struct refusal_place){ .protocol = "syncml",
                                           .endpoint = "",
                                           .verified = verified,
                                           .actor = actor });
}

struct nonce_question {
    const char *peer_id;
    struct management management;
};

static enum ca_status
nonce_read(struct store_tx *tx, void *arg)
{
    struct nonce_question *question = arg;
    management_clear(&question->management);
    return management_of_peer(tx, question->peer_id, &question->management);
}

/* Of an id that has none: the same each time, as that of a device in rest, or asking
 * twice would tell who is here. */
static char *
nonce_made_up(const struct service *service, const char *peer_id)
{
    uint8_t octets[EVP_MAX_MD_SIZE];
    return HMAC(EVP_sha256(), service->run, (int)strlen(service->run),
                (const uint8_t *)peer_id, strlen(peer_id), octets, NULL)
               ? base64_format(octets, MANAGEMENT_NONCE_OCTETS)
               : NULL;
}

enum ca_status
ca_manage_nonce(struct ca_request *req, const char *peer_id, const char **ret_nonce)
{
    struct exchange *exchange = exchange_of(req);
    struct nonce_question question = { .peer_id = peer_id };
    CA_AUTO(free) char *nonce = NULL;
    enum ca_status status = store_read(exchange->service->store, nonce_read, &question);
    if (status == CA_OK && question.management.nonce)
        nonce = strdup(question.management.nonce);
    management_clear(&question.management);
    if (status == CA_UNAVAILABLE)
        return status;
    if (!nonce)
        nonce = nonce_made_up(exchange->service, peer_id);
    const char *kept = manage_keep_text(exchange, CA_STEAL(nonce));
    if (!kept)
        return ca_fail(CA_INTERNAL, "no memory for a nonce");
    *ret_nonce = kept;
    return CA_OK;
}
