/* Who may have which certificate: users, devices, assignments, renewals, approvals. */
#include "grant.h"
#include "assignment.h"
#include "auto.h"
#include "pending.h"
#include "text.h"
#include <string.h>

void
grant_clear(struct grant *grant)
{
    user_clear(&grant->user);
    device_clear(&grant->device);
    certificate_clear(&grant->renewed);
    offer_clear(&grant->offer);
    free(grant->challenge);
    free(grant->replaces);
    json_decref(grant->names);
    *grant = (struct grant){ 0 };
}

/* A record that a credential names must exist; its absence refuses. */
static enum ca_status
must_exist(enum ca_status status, const char *kind, const char *name)
{
    if (status != CA_NOT_FOUND)
        return status;
    return ca_fail(CA_FORBIDDEN, "%s '%s' does not exist any more", kind, name);
}

static enum ca_status
load_device(struct store_tx *tx, const char *id, struct device *ret_device)
{
    return must_exist(device_load(tx, id, ret_device), "device", id);
}

/* The names that an operator bound to the secret. */
static enum ca_status
names_of_challenge(const struct challenge *challenge, json_t **ret_names)
{
    if (!challenge->subject && challenge->san.count == 0) {
        *ret_names = NULL;
        return CA_OK;
    }
    CA_AUTO(json_decref) json_t *san = json_array();
    for (size_t i = 0; i < challenge->san.count; i++)
        json_array_append_new(san,
                              json_string(((char *const *)challenge->san.items)[i]));
    json_t *names = json_pack("{s:s*, s:O}", "subject", challenge->subject, "san", san);
    if (!names || json_array_size(san) != challenge->san.count) {
        json_decref(names);
        return ca_fail(CA_INTERNAL, "no memory for granted names");
    }
    *ret_names = names;
    return CA_OK;
}

enum ca_status
grant_of_challenge(struct store_tx *tx, const struct challenge *challenge,
                   struct grant *grant)
{
    enum ca_status status = must_exist(user_load(tx, challenge->user, &grant->user),
                                       "user", challenge->user);
    if (status == CA_OK && challenge->device)
        status = load_device(tx, challenge->device, &grant->device);
    if (status == CA_OK)
        status = names_of_challenge(challenge, &grant->names);
    if (status != CA_OK)
        return status;
    if (!challenge->id) /* of a request that came without one */
        return CA_OK;
    grant->challenge = strdup(challenge->id);
    return grant->challenge ? CA_OK : ca_fail(CA_INTERNAL, "no memory for a grant");
}

enum ca_status
grant_of_offer(struct store_tx *tx, struct offer *offer, struct grant *grant)
{
    grant->offer = *offer;
    *offer = (struct offer){ 0 };
    const struct offer *held = &grant->offer;
    enum ca_status status =
        must_exist(user_load(tx, held->user, &grant->user), "user", held->user);
    if (status == CA_OK)
        status = load_device(tx, held->device, &grant->device);
    if (status != CA_OK)
        return status;
    grant->challenge = strdup(held->id);
    return grant->challenge ? CA_OK : ca_fail(CA_INTERNAL, "no memory for a grant");
}

enum ca_status
grant_of_person(struct store_tx *tx, const char *user, const char *onetime,
                struct grant *grant)
{
    enum ca_status status = must_exist(user_load(tx, user, &grant->user), "user", user);
    if (status != CA_OK || !onetime[0])
        return status;
    grant->challenge = strdup(onetime);
    return grant->challenge ? CA_OK : ca_fail(CA_INTERNAL, "no memory for a grant");
}

enum ca_status
grant_of_certificate(struct store_tx *tx, struct certificate *certificate,
                     struct grant *grant)
{
    grant->renewed = *certificate;
    *certificate = (struct certificate){ 0 };
    const struct certificate *renewed = &grant->renewed;
    if (renewed->state != CERTIFICATE_ISSUED && renewed->state != CERTIFICATE_EXPIRED)
        return ca_fail(CA_FORBIDDEN, "certificate %s is revoked", renewed->serial);
    if (!renewed->user || !renewed->device)
        return ca_fail(CA_FORBIDDEN, "certificate %s belongs to no user's device",
                       renewed->serial);
    enum ca_status status =
        must_exist(user_load(tx, renewed->user, &grant->user), "user", renewed->user);
    if (status == CA_OK)
        status = load_device(tx, renewed->device, &grant->device);
    if (status == CA_OK)
        status = certificate_granted(tx, renewed->serial, &grant->names);
    if (status != CA_OK)
        return status;
    grant->replaces = strdup(renewed->serial);
    return grant->replaces ? CA_OK : ca_fail(CA_INTERNAL, "no memory for a grant");
}

static enum ca_status
check_user(const char *name, int state)
{
    if (state != USER_ACTIVE)
        return ca_fail(CA_FORBIDDEN, "user '%s' is disabled", name);
    return CA_OK;
}

static enum ca_status
check_device(const char *id, int state, const char *owner, const char *user)
{
    if (state == DEVICE_DISABLED || state == DEVICE_UNENROLLED)
        return ca_fail(CA_FORBIDDEN, "device %s is %s", id,
                       state == DEVICE_DISABLED ? "disabled" : "unenrolled");
    if (!owner || strcmp(owner, user) != 0)
        return ca_fail(CA_FORBIDDEN, "device %s is not user '%s' own", id, user);
    return CA_OK;
}

enum ca_status
grant_check_protocol(const struct endpoint *endpoint, const char *protocol)
{
    for (unsigned i = 0; i < PROTOCOL_COUNT; i++) {
        if (strcmp(profile_protocol_words[i], protocol) == 0 &&
            (endpoint_profile(endpoint)->protocols & (1u << i)))
            return CA_OK;
    }
    return ca_fail(CA_FORBIDDEN, "profile certificate/%s is not issued over %s",
                   endpoint_profile_name(endpoint), protocol);
}

enum ca_status
grant_is_active(const struct grant *grant)
{
    enum ca_status status = check_user(grant->user.name, grant->user.state);
    if (status == CA_OK && grant->device.id)
        status = check_device(grant->device.id, grant->device.state,
                              grant->device.owner, grant->user.name);
    return status;
}

enum ca_status
grant_may(struct store_tx *tx, const struct grant *grant, const char *protocol)
{
    const struct endpoint *endpoint = grant->endpoint;
    enum ca_status status = grant_is_active(grant);
    if (status == CA_OK)
        status = grant_check_protocol(endpoint, protocol);
    if (status != CA_OK)
        return status;
    status = assignment_allows(tx, grant->user.name, profile_kind_words[endpoint->kind],
                               endpoint_short_name(endpoint));
    if (status != CA_FORBIDDEN && status != CA_NOT_FOUND)
        return status;
    return ca_fail(CA_FORBIDDEN, "profile %s is not assigned to user '%s'",
                   endpoint->name, grant->user.name);
}

struct standing {
    const char *user, *device;
};

static enum ca_status
standing_check(const struct store_row *row, void *arg)
{
    const struct standing *standing = arg;
    enum ca_status status = check_user(standing->user, (int)store_row_integer(row, 0));
    if (status != CA_OK || !standing->device)
        return status;
    if (!store_row_text(row, 1))
        return must_exist(CA_NOT_FOUND, "device", standing->device);
    return check_device(standing->device, (int)store_row_integer(row, 2),
                        store_row_text(row, 3), standing->user);
}

/* Each enrolment asks twice, on the writer: one statement, and only what counts. */
enum ca_status
grant_still_may(struct store_tx *tx, const char *user, const char *device)
{
    struct standing standing = { user, device };
    int64_t rows = 0;
    enum ca_status status =
        store_run(tx,
                  "SELECT u.state, d.id, d.state, d.owner FROM users u "
                  "LEFT JOIN device d ON d.id = $2 WHERE u.name = $1",
                  STORE_VALUES(store_text(user), store_text(device)), standing_check,
                  &standing, &rows);
    return status == CA_OK && rows == 0 ? must_exist(CA_NOT_FOUND, "user", user)
                                        : status;
}

/* The endpoint's issuer signed it, or one whose standby took over as that issuer. */
static bool
is_of_line(const struct issuers *issuers, const char *signer, const char *wanted)
{
    const struct issuer *issuer = signer ? issuers_find(issuers, signer) : NULL;
    if (!issuer)
        return false;
    return strcmp(signer, wanted) == 0 ||
           (issuer->next && strcmp(issuer->next, wanted) == 0);
}

enum ca_status
grant_check_renewal(const struct grant *grant, const struct issuers *issuers,
                    int64_t now)
{
    const struct certificate *renewed = &grant->renewed;
    const struct certificate_profile *profile = endpoint_profile(grant->endpoint);
    if (!renewed->profile ||
        strcmp(renewed->profile, endpoint_profile_name(grant->endpoint)) != 0)
        return ca_fail(CA_FORBIDDEN, "certificate %s is of another profile than %s",
                       renewed->serial, grant->endpoint->name);
    if (!is_of_line(issuers, renewed->issuer, profile->issuer))
        return ca_fail(CA_FORBIDDEN, "certificate %s is not by issuer '%s'",
                       renewed->serial, profile->issuer);
    if (now < renewed->not_after - profile->renewal_window ||
        now < renewed->not_before) {
        char opens[21];
        time_format(renewed->not_after - profile->renewal_window, opens);
        return ca_fail(CA_FORBIDDEN, "certificate %s may be renewed from %s on",
                       renewed->serial, opens);
    }
    if (now > renewed->not_after + profile->renewal_grace)
        return ca_fail(CA_FORBIDDEN, "certificate %s has expired", renewed->serial);
    return CA_OK;
}

enum ca_status
grant_check_approvals(const struct pending *pending)
{
    int64_t count = 0;
    for (size_t i = 0; i < pending->approvals.count; i++) {
        const char *admin = ((char *const *)pending->approvals.items)[i];
        if (!pending->user || strcmp(admin, pending->user) != 0)
            count++;
    }
    if (count < pending->approvals_needed || count == 0)
        return ca_fail(
            CA_FORBIDDEN, "request %s has %lld of %lld approvals by others than '%s'",
            pending->id, (long long)count, (long long)pending->approvals_needed,
            pending->user ? pending->user : "");
    return CA_OK;
}

const char *
grant_subject(const struct grant *grant)
{
    return json_string_value(json_object_get(grant->names, "subject"));
}

enum ca_status
grant_san(const struct grant *grant, struct field_list *ret_san)
{
    const json_t *san = json_object_get(grant->names, "san");
    size_t count = json_array_size(san);
    const char **items = calloc(count + 1, sizeof *items);
    if (!items)
        return ca_fail(CA_INTERNAL, "no memory for granted names");
    for (size_t i = 0; i < count; i++) {
        items[i] = json_string_value(json_array_get(san, i));
        if (!items[i]) {
            free(items);
            return ca_fail(CA_INTERNAL, "granted names are not texts");
        }
    }
    *ret_san = (struct field_list){ .items = items, .count = count };
    return CA_OK;
}
