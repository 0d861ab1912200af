/* Are the audit's entries as they were written? Numbers without a gap from 0 to the
 * log's size, each entry's hash that of its octets, its number inside them. */
#include "audit.h"
#include "auto.h"
#include <string.h>

static void
blame(struct audit_verdict *verdict, const char *instance, int64_t number,
      const char *reason)
{
    if (verdict->bad++ > 0)
        return;
    snprintf(verdict->first_instance, sizeof verdict->first_instance, "%s", instance);
    snprintf(verdict->first_number, sizeof verdict->first_number, "%lld",
             (long long)number);
    verdict->first_reason = reason;
}

struct walk {
    struct audit_verdict *verdict;
    char instance[RECORD_NAME_MAX + 1];
    int64_t next;
};

/* The octets name the same place in the same log as the row does. */
static bool
is_placed(const char *entry, const char *instance, int64_t number)
{
    CA_AUTO(json_decref) json_t *json = json_loads(entry, JSON_REJECT_DUPLICATES, NULL);
    const char *named = json_string_value(json_object_get(json, "instance"));
    const json_t *counted = json_object_get(json, "number");
    return named && strcmp(named, instance) == 0 && json_is_integer(counted) &&
           json_integer_value(counted) == number;
}

static enum ca_status
visit_entry(const struct store_row *row, void *arg)
{
    struct walk *walk = arg;
    struct audit_verdict *verdict = walk->verdict;
    const char *instance = store_row_text(row, 0), *entry = store_row_text(row, 2);
    int64_t number = store_row_integer(row, 1), time = store_row_integer(row, 4);
    size_t size = 0;
    const void *leaf = store_row_blob(row, 3, &size);
    uint8_t hash[32];
    if (!instance || !entry)
        return ca_fail(CA_INTERNAL, "an audit entry without octets");
    if (strcmp(instance, walk->instance) != 0) {
        snprintf(walk->instance, sizeof walk->instance, "%s", instance);
        walk->next = 0;
    }
    enum ca_status status = audit_leaf_hash(entry, strlen(entry), hash);
    if (status != CA_OK)
        return status;
    verdict->count++;
    if (time > verdict->newest)
        verdict->newest = time;
    if (number != walk->next)
        blame(verdict, instance, number, "a number is missing before it");
    else if (size != sizeof hash || memcmp(leaf, hash, size) != 0)
        blame(verdict, instance, number, "its hash is another");
    else if (!is_placed(entry, instance, number))
        blame(verdict, instance, number, "its octets name another place");
    walk->next = number + 1;
    return CA_OK;
}

static enum ca_status
visit_log(const struct store_row *row, void *arg)
{
    struct audit_verdict *verdict = arg;
    const char *instance = store_row_text(row, 0);
    if (store_row_integer(row, 1) != store_row_integer(row, 2))
        blame(verdict, instance ? instance : "", store_row_integer(row, 2),
              "its log is longer than that");
    return CA_OK;
}

enum ca_status
audit_verify(struct store_tx *tx, struct audit_verdict *ret_verdict)
{
    struct audit_verdict verdict = { .first_reason = "" };
    struct walk walk = { .verdict = &verdict };
    enum ca_status status = store_run(tx,
                                      "SELECT instance, number, entry, leaf, time"
                                      " FROM audit_entry ORDER BY instance, number",
                                      STORE_NO_VALUES, visit_entry, &walk, NULL);
    /* The end of the log, which no gap would show. */
    if (status == CA_OK)
        status = store_run(tx,
                           "SELECT log.instance, log.size,"
                           " (SELECT COUNT(*) FROM audit_entry AS entry"
                           "  WHERE entry.instance = log.instance)"
                           " FROM audit_log AS log ORDER BY log.instance",
                           STORE_NO_VALUES, visit_log, &verdict, NULL);
    if (status == CA_OK)
        *ret_verdict = verdict;
    return status;
}
