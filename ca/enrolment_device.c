/* The device that a certificate is for: the credential's, the key's, or a new one. */
#include "auto.h"
#include "clock.h"
#include "enrolment.h"
#include "query.h"
#include <string.h>

struct device_question {
    struct enrolment *enrolment;
    struct device found;
};

/* The device that holds the requested key already, if it is this user's. */
static enum ca_status
device_read(struct store_tx *tx, void *arg)
{
    struct device_question *question = arg;
    CA_AUTO(free) char *id = NULL;
    device_clear(&question->found);
    enum ca_status status = device_of_key(tx, question->enrolment->spki, &id);
    return status == CA_OK ? device_load(tx, id, &question->found) : status;
}

static enum ca_status
make_device(struct enrolment *enrolment)
{
    const struct device_facts *facts = enrolment->facts;
    char id[37];
    enum ca_status status = random_uuid(id);
    if (status != CA_OK)
        return status;
    struct device *made = &enrolment->made;
    made->id = strdup(id);
    made->owner = strdup(enrolment->grant->user.name);
    made->kind = strdup(facts ? facts->kind : enrolment->protocol);
    made->hardware = facts ? json_incref(facts->hardware) : json_object();
    made->report = facts ? json_incref(facts->report) : json_object();
    made->state = DEVICE_PENDING;
    if (!made->id || !made->owner || !made->kind || !made->hardware || !made->report)
        return ca_fail(CA_INTERNAL, "no memory for a device");
    return CA_OK;
}

/* A secret that names no device is for a new one, except that who comes with the key of
 * one of the user's devices is that device. */
enum ca_status
enrolment_find_device(struct enrolment *enrolment)
{
    struct grant *grant = enrolment->grant;
    if (grant->device.id)
        return CA_OK;
    if (!endpoint_profile(enrolment->grant->endpoint)->allow_shared_key &&
        !(enrolment->flags & CA_ENROL_NEW_KEY)) {
        struct device_question question = { .enrolment = enrolment };
        enum ca_status status =
            store_read(enrolment->service->store, device_read, &question);
        bool is_own = status == CA_OK && question.found.owner &&
                      strcmp(question.found.owner, grant->user.name) == 0;
        if (is_own) {
            grant->device = question.found;
            return CA_OK;
        }
        device_clear(&question.found);
        if (status != CA_OK && status != CA_NOT_FOUND)
            return status;
    }
    return make_device(enrolment);
}

enum ca_status
enrolment_check_room(struct store_tx *tx, const struct enrolment *enrolment)
{
    int64_t count = 0;
    const char *user = enrolment->grant->user.name;
    if (enrolment->devices_max == 0 || enrolment->grant->device.state == DEVICE_ACTIVE)
        return CA_OK;
    enum ca_status status = store_run(
        tx,
        "SELECT COUNT(*) FROM device d WHERE d.owner = $1 AND d.id <> $2 AND "
        "(d.state = $3 OR (d.state = $4 AND EXISTS (SELECT 1 FROM certificate c "
        "WHERE c.device_id = d.id AND c.state = $5)))",
        STORE_VALUES(store_text(user), store_text(enrolment_device(enrolment)),
                     store_integer(DEVICE_ACTIVE), store_integer(DEVICE_PENDING),
                     store_integer(CERTIFICATE_INTENT)),
        row_take_integer, &count, NULL);
    if (status != CA_OK || count < enrolment->devices_max)
        return status;
    return ca_fail(CA_LIMIT, "user '%s' has %lld devices", user, (long long)count);
}
