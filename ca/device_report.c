/* What a device says about itself, member by member. */
#include "auto.h"
#include "clock.h"
#include "device.h"
#include "query.h"
#include <string.h>

/* The report with one member changed, as the column's text (free() it). NULL: it is
 * that already. */
static enum ca_status
report_change(const char *text, const char *member, const json_t *value,
              char **ret_text)
{
    CA_AUTO(json_decref)
    json_t *report = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(report))
        return ca_fail(CA_INTERNAL, "a device's report in the store is no object");
    *ret_text = NULL;
    if (json_equal(json_object_get(report, member), value))
        return CA_OK;
    CA_AUTO(json_decref) json_t *copy = json_deep_copy(value);
    if (!copy || json_object_set(report, member, copy) != 0)
        return ca_fail(CA_INTERNAL, "no memory for a device's report");
    CA_AUTO(free) char *changed = record_json_format(report);
    if (!changed)
        return ca_fail(CA_INTERNAL, "no memory for a device's report");
    if (strlen(changed) > DEVICE_REPORT_MAX)
        return ca_fail(CA_LIMIT, "a device's report of %zu octets", strlen(changed));
    *ret_text = CA_STEAL(changed);
    return CA_OK;
}

enum ca_status
device_report(struct store_tx *tx, const char *id, const char *member,
              const json_t *value)
{
    CA_AUTO(free) char *present = NULL;
    CA_AUTO(free) char *changed = NULL;
    enum ca_status status =
        store_run(tx, "SELECT report FROM device WHERE id = $1",
                  STORE_VALUES(store_text(id)), row_take_text, &present, NULL);
    if (status != CA_OK)
        return status;
    if (!present)
        return ca_fail(CA_NOT_FOUND, "no device '%s'", id);
    status = report_change(present, member, value, &changed);
    if (status != CA_OK || !changed)
        return status;
    status =
        record_change(tx,
                      "UPDATE device SET report = $2, last_seen = $3 "
                      "WHERE id = $1 AND report = $4 RETURNING id",
                      STORE_VALUES(store_text(id), store_text(changed),
                                   store_integer(clock_now()), store_text(present)));
    return status == CA_CONFLICT
               ? ca_fail(CA_CONFLICT, "device '%s' reports elsewhere too", id)
               : status;
}
