/* /organisation: the one record of whom this domain of instances serves. */
#include "organisation.h"
#include "api.h"

static enum ca_status
load(struct store_tx *tx, const char *key, void *ret_organisation)
{
    (void)key;
    return organisation_load(tx, ret_organisation);
}

static enum ca_status
get_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    struct organisation organisation = { 0 };
    enum ca_status status = load(tx, NULL, &organisation);
    if (status == CA_OK)
        status = api_answer_record(call, organisation_fields, &organisation,
                                   &organisation.stamp);
    organisation_clear(&organisation);
    return status;
}

static enum ca_status
put_record(struct store_tx *tx, struct api_call *call,
           const struct organisation *before, struct organisation *after)
{
    enum ca_status status = api_check_version(call, before->stamp.version);
    if (status == CA_OK)
        status = field_decode_over(organisation_fields, call->body, before, after,
                                   &call->errors);
    if (status != CA_OK)
        return status;
    after->stamp.version = before->stamp.version;
    status = organisation_save(tx, after);
    if (status == CA_OK)
        status = api_audit(tx, call, "organisation.update", NULL, "organisation");
    return status == CA_OK
               ? api_answer_record(call, organisation_fields, after, &after->stamp)
               : status;
}

static enum ca_status
put_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    struct organisation before = { 0 }, after = { 0 };
    enum ca_status status = load(tx, NULL, &before);
    if (status == CA_OK)
        status = put_record(tx, call, &before, &after);
    organisation_clear(&before);
    organisation_clear(&after);
    return status;
}

static enum ca_status
put(struct api_call *call)
{
    enum ca_status status = api_write(call, put_step, NULL);
    if (status != CA_OK || call->dry_run)
        return status;
    return service_reload(call->exchange->service);
}

static const struct field *
fields(void)
{
    return organisation_fields;
}

static const struct api_route routes[] = {
    { "GET", "/organisation", API_ANY, 0, get_step, "Read the organisation", NULL,
      fields, NULL, .success = 200 },
    { "PUT", "/organisation", API_ADMINISTRATOR, API_CHANGE | API_IF_MATCH, NULL,
      "Replace the organisation", fields, fields, NULL, .success = 200, .handle = put },
    { .method = NULL },
};
const struct api_resource api_organisation = { "organisation", routes, NULL };
