/* Signature and record of an intent. */
#include "issue.h"
#include "auth.h"
#include "auto.h"
#include "certificate.h"
#include "device.h"
#include "grant.h"
#include "onetime.h"
#include <string.h>

void (*issue_pause)(enum issue_step step);

static void
pause_at(enum issue_step step)
{
    if (issue_pause)
        issue_pause(step);
}

struct completion {
    const struct issue *issue;
    const char *run;
    const uint8_t *der;
    size_t size;
    bool revoked; /* something became stale on the CRL */
    bool refused; /* who was to get it may not any more */
    char reason[256];
};

static enum ca_status
audit_issue(struct store_tx *tx, const struct issue *issue)
{
    CA_AUTO(free) char *object = NULL;
    if (asprintf(&object, "certificate:%s", issue->serial) < 0)
        object = NULL;
    CA_AUTO(json_decref)
    json_t *detail =
        json_pack("{s:s, s:s*, s:s*, s:s*, s:s*, s:s*, s:s*}", "issuer",
                  issue->issuer->name, "profile", issue->profile, "user", issue->user,
                  "device", issue->device, "subject", issue->subject, "challenge",
                  issue->challenge, "replaces", issue->replaces);
    if (!object || !detail)
        return ca_fail(CA_INTERNAL, "no memory for an audit entry");
    return audit_append(tx, &(struct audit_entry){
                                .action = "certificate.issue",
                                .actor = issue->cause.actor,
                                .object = object,
                                .protocol = issue->cause.protocol,
                                .request = issue->cause.request,
                                .outcome = "ok",
                                .detail = detail,
                            });
}

/* The renewal of Windows under management leaves the old certificate good until a
 * session shows the new one: were the answer lost, the device could neither ask again
 * nor be told anything any more. Clients of CES have their other credentials. */
static enum ca_status
keeps_replaced(struct store_tx *tx, const struct issue *issue, bool *ret_keeps)
{
    *ret_keeps = false;
    if (!issue->replaces || !issue->device || !auth_is_settling(issue->cause.protocol))
        return CA_OK;
    return record_exists(tx,
                         "SELECT 1 FROM device_management WHERE device_id = $1 "
                         "AND name IS NOT NULL",
                         STORE_VALUES(store_text(issue->device)), ret_keeps);
}

/* What the new certificate takes the place of. */
static enum ca_status
supersede(struct store_tx *tx, const struct issue *issue, bool *ret_revoked)
{
    bool keeps = false;
    enum ca_status status =
        issue->revoke_replaced ? keeps_replaced(tx, issue, &keeps) : CA_OK;
    if (status != CA_OK || keeps || !issue->revoke_replaced)
        return status;
    if (issue->one_active && issue->device)
        return lifecycle_supersede(tx, issue->device, issue->profile, issue->serial,
                                   &issue->cause, ret_revoked);
    if (!issue->replaces)
        return CA_OK;
    status =
        lifecycle_revoke(tx, issue->replaces, CERTIFICATE_SUPERSEDED, 0, &issue->cause);
    if (status == CA_CONFLICT) /* revoked already */
        return CA_OK;
    *ret_revoked = status == CA_OK;
    return status;
}

/* Disabled between reserve and now: the signature exists, so it is recorded, and
 * revoked in the same breath (SECURITY A5). */
static enum ca_status
check_who(struct store_tx *tx, struct completion *completion)
{
    const struct issue *issue = completion->issue;
    enum ca_status status = grant_still_may(tx, issue->user, issue->device);
    if (status != CA_FORBIDDEN)
        return status;
    completion->refused = completion->revoked = true;
    snprintf(completion->reason, sizeof completion->reason, "%s", status_message());
    return lifecycle_revoke(tx, issue->serial, CERTIFICATE_CESSATION_OF_OPERATION, 0,
                            &issue->cause);
}

static enum ca_status
complete(struct store_tx *tx, void *arg)
{
    struct completion *completion = arg;
    const struct issue *issue = completion->issue;
    completion->revoked = completion->refused = false;
    enum ca_status status = certificate_complete(tx, issue->serial, completion->run,
                                                 completion->der, completion->size);
    if (status == CA_OK && issue->challenge)
        status = onetime_finish(tx, issue->challenge, issue->serial);
    if (status == CA_OK)
        status = audit_issue(tx, issue);
    if (status == CA_OK && issue->user)
        status = check_who(tx, completion);
    if (status != CA_OK || completion->refused)
        return status;
    if (issue->device)
        status = device_touch(tx, issue->device, true);
    if (status == CA_OK)
        status = supersede(tx, issue, &completion->revoked);
    return status == CA_OK && issue->along ? issue->along->keep(tx, issue->along->arg)
                                           : status;
}

enum ca_status
issue_sign(struct service *service, const struct issue *issue, uint8_t **ret_der,
           size_t *ret_size)
{
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    size_t size = 0;
    pause_at(ISSUE_RESERVED);
    enum ca_status status =
        issuer_sign(issue->issuer, issue->tbs, issue->tbs_size, &der, &size);
    if (status != CA_OK)
        return status;
    if (issue->along && issue->along->make)
        status = issue->along->make(issue->along->arg, der, size);
    if (status != CA_OK)
        return status;
    pause_at(ISSUE_SIGNED);
    struct completion completion = {
        .issue = issue, .run = service->run, .der = der, .size = size
    };
    status = store_write(service->store, complete, &completion);
    if (status != CA_OK)
        return status;
    pause_at(ISSUE_COMPLETED);
    if (completion.revoked)
        service_wake_jobs(service);
    if (completion.refused)
        return ca_fail(CA_FORBIDDEN, "%s", completion.reason);
    *ret_der = CA_STEAL(der);
    *ret_size = size;
    return CA_OK;
}
