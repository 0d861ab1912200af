/* A whole sync: the directory read, planned against one snapshot, held back when it
 * would disable too many, then done item by item. */
#include "directory_sync.h"
#include "audit.h"
#include "auto.h"
#include "clock.h"
#include "group.h"
#include "roster.h"
#include <pthread.h>
#include <string.h>

#define ROSTER_PAGE 500

const char *const sync_result_words[] = { "created",   "changed", "disabled",
                                          "unchanged", "refused", NULL };

static pthread_mutex_t under_way = PTHREAD_MUTEX_INITIALIZER;

static void
sync_clear_auto(struct sync *sync)
{
    for (size_t i = 0; i < sync->count; i++) {
        directory_entry_clear(&sync->items[i].entry);
        free(sync->items[i].id);
        free(sync->items[i].user);
        json_decref(sync->items[i].changed);
    }
    free(sync->items);
    json_decref(sync->ids);
    json_decref(sync->names);
    json_decref(sync->groups);
}

static struct sync_item *
item_add(struct sync *sync)
{
    if (sync->count == sync->room) {
        size_t room = sync->room > 0 ? sync->room * 2 : 64;
        struct sync_item *items = realloc(sync->items, room * sizeof *items);
        if (!items)
            return NULL;
        sync->items = items;
        sync->room = room;
    }
    struct sync_item *item = &sync->items[sync->count++];
    *item = (struct sync_item){ .result = SYNC_UNCHANGED };
    return item;
}

/* ---- What the directory has ---- */

static bool
names_count(struct sync *sync, const struct directory_entry *entry)
{
    const char *name = json_string_value(json_object_get(entry->members, "name"));
    if (!name)
        return true;
    json_int_t count = json_integer_value(json_object_get(sync->names, name));
    return json_object_set_new(sync->names, name, json_integer(count + 1)) == 0;
}

static enum ca_status
entry_take(const struct directory_entry *entry, void *arg)
{
    struct sync *sync = arg;
    struct sync_item *item = item_add(sync);
    if (!item)
        return ca_fail(CA_INTERNAL, "no memory for the directory's users");
    item->entry = *entry;
    item->entry.dn = strdup(entry->dn);
    item->entry.id = entry->id ? strdup(entry->id) : NULL;
    json_incref(entry->members);
    json_incref(entry->groups);
    if (!item->entry.dn || !item->entry.id != !entry->id || !names_count(sync, entry))
        return ca_fail(CA_INTERNAL, "no memory for the directory's users");
    if (entry->id && json_object_get(sync->ids, entry->id))
        snprintf(item->entry.problem, sizeof item->entry.problem,
                 "another entry has the same id");
    else if (entry->id && json_object_set_new(sync->ids, entry->id, json_true()) != 0)
        return ca_fail(CA_INTERNAL, "no memory for the directory's users");
    return CA_OK;
}

static enum ca_status
directory_read(struct sync *sync)
{
    struct directory *directory = NULL;
    enum ca_status status =
        directory_open(&sync->service->config.directory, &directory);
    if (status == CA_OK)
        status = directory_users(directory, entry_take, sync);
    directory_close(directory);
    return status;
}

/* ---- The plan ---- */

struct absent {
    struct sync *sync;
    char last[256];
    int64_t seen;
};

static enum ca_status
roster_visit(const void *record, void *arg)
{
    const struct roster_entry *entry = record;
    struct absent *absent = arg;
    snprintf(absent->last, sizeof absent->last, "%s", entry->id);
    absent->seen++;
    if (entry->disabled || json_object_get(absent->sync->ids, entry->id))
        return CA_OK;
    struct sync_item *item = item_add(absent->sync);
    if (!item)
        return ca_fail(CA_INTERNAL, "no memory for the roster");
    item->id = strdup(entry->id);
    item->user = strdup(entry->user);
    return item->id && item->user ? CA_OK
                                  : ca_fail(CA_INTERNAL, "no memory for the roster");
}

static enum ca_status
absent_find(struct store_tx *tx, struct sync *sync)
{
    struct absent absent = { .sync = sync };
    enum ca_status status;
    char after[sizeof absent.last] = "";
    do {
        absent.seen = 0;
        status =
            roster_list(tx, &(struct record_page){ *after ? after : NULL, ROSTER_PAGE },
                        roster_visit, &absent);
        snprintf(after, sizeof after, "%s", absent.last);
    } while (status == CA_OK && absent.seen == ROSTER_PAGE);
    return status;
}

/* May the directory fill this group? One that people made here only when the map of the
 * configuration names it: else whoever names a group there would choose profiles here.
 */
static enum ca_status
group_judge(struct store_tx *tx, struct sync *sync, const char *name)
{
    struct group group = { 0 };
    bool is_ours = false;
    enum ca_status status = roster_has_group(tx, name, &is_ours);
    if (status != CA_OK)
        return status;
    if (!is_ours && json_object_size(sync->service->config.directory.groups.map) == 0) {
        status = group_load(tx, name, &group);
        group_clear(&group);
        if (status != CA_NOT_FOUND)
            return status;
    }
    return json_object_set_new(sync->groups, name, json_true()) == 0
               ? CA_OK
               : ca_fail(CA_INTERNAL, "no memory for the directory's groups");
}

static enum ca_status
groups_judge(struct store_tx *tx, struct sync *sync)
{
    json_object_clear(sync->groups);
    for (size_t i = 0; i < sync->count; i++) {
        size_t j;
        const json_t *name;
        json_array_foreach (sync->items[i].entry.groups, j, name) {
            if (json_object_get(sync->groups, json_string_value(name)))
                continue;
            enum ca_status status = group_judge(tx, sync, json_string_value(name));
            if (status != CA_OK)
                return status;
        }
    }
    return CA_OK;
}

static enum ca_status
plan_read(struct store_tx *tx, void *arg)
{
    struct sync *sync = arg;
    enum ca_status status = roster_count_active(tx, &sync->active);
    if (status == CA_OK)
        status = groups_judge(tx, sync);
    if (status == CA_OK)
        status = absent_find(tx, sync);
    for (size_t i = 0; status == CA_OK && i < sync->count; i++)
        status = sync_item_run(tx, sync, &sync->items[i], false);
    return status;
}

static void
count_results(const struct sync *sync, int64_t counts[SYNC_RESULT_COUNT])
{
    memset(counts, 0, SYNC_RESULT_COUNT * sizeof *counts);
    for (size_t i = 0; i < sync->count; i++)
        counts[sync->items[i].result]++;
}

/* A directory that answers little is broken, moved or searched wrongly more often than
 * it is empty. */
static enum ca_status
brake(const struct sync *sync)
{
    int64_t counts[SYNC_RESULT_COUNT];
    const struct config_directory *config = &sync->service->config.directory;
    int64_t most = (sync->active * config->disable_max_percent + 99) / 100;
    count_results(sync, counts);
    if (json_object_size(sync->ids) == 0)
        return ca_fail(CA_FORBIDDEN, "the directory gave no user at all");
    if (counts[SYNC_DISABLED] > (most > 1 ? most : 1) && !sync->request->force)
        return ca_fail(CA_FORBIDDEN,
                       "%lld of %lld users would be disabled, at most %lld are "
                       "without force",
                       (long long)counts[SYNC_DISABLED], (long long)sync->active,
                       (long long)(most > 1 ? most : 1));
    return CA_OK;
}

/* ---- The doing ---- */

static enum ca_status
groups_write(struct store_tx *tx, void *arg)
{
    const struct sync *sync = arg;
    const char *name;
    json_t *value;
    json_object_foreach (sync->groups, name, value) {
        struct group group = { .name = (char *)(uintptr_t)name, .priority = 100 };
        struct group present = { 0 };
        enum ca_status status = group_load(tx, name, &present);
        group_clear(&present);
        if (status == CA_NOT_FOUND)
            status = group_insert(tx, &group);
        if (status == CA_OK)
            status = roster_put_group(tx, name);
        if (status != CA_OK)
            return status;
    }
    return CA_OK;
}

struct step {
    const struct sync *sync;
    struct sync_item *item;
};

static enum ca_status
item_write(struct store_tx *tx, void *arg)
{
    const struct step *step = arg;
    return sync_item_run(tx, step->sync, step->item, true);
}

static bool
is_stopping(struct service *service)
{
    pthread_mutex_lock(&service->wake.lock);
    bool stops = service->wake.stop;
    pthread_mutex_unlock(&service->wake.lock);
    return stops;
}

/* An item that a change of somebody else came before is refused; the next sync sees it
 * anew. */
static enum ca_status
items_do(struct sync *sync)
{
    enum ca_status status = store_write(sync->service->store, groups_write, sync);
    for (size_t i = 0; status == CA_OK && i < sync->count; i++) {
        struct sync_item *item = &sync->items[i];
        struct step step = { sync, item };
        if (item->result == SYNC_REFUSED || !item->is_written)
            continue;
        if (is_stopping(sync->service))
            return ca_fail(CA_UNAVAILABLE, "the daemon stops: the rest waits");
        status = store_write(sync->service->store, item_write, &step);
        if (status != CA_CONFLICT)
            continue;
        item->result = SYNC_REFUSED;
        snprintf(item->reason, sizeof item->reason, "changed meanwhile");
        status = CA_OK;
    }
    return status;
}

/* ---- The answer ---- */

static json_t *
counts_json(const struct sync *sync)
{
    int64_t counts[SYNC_RESULT_COUNT];
    json_t *object = json_object();
    count_results(sync, counts);
    for (size_t i = 0; i < SYNC_RESULT_COUNT; i++)
        json_object_set_new(object, sync_result_words[i], json_integer(counts[i]));
    return object;
}

static json_t *
item_json(const struct sync_item *item)
{
    const char *name = json_string_value(json_object_get(item->entry.members, "name"));
    return json_pack("{s:s?, s:s?, s:s, s:s?, s:O?}", "name",
                     item->entry.dn ? name : item->user, "dn", item->entry.dn, "result",
                     sync_result_words[item->result], "reason",
                     item->reason[0] ? item->reason : NULL, "changed", item->changed);
}

/* False: the item has no place any more within the answer's octets. */
static bool
item_append(json_t *items, const struct sync_item *item, size_t *left)
{
    json_t *made = item_json(item);
    size_t size = made ? json_dumpb(made, NULL, 0, JSON_COMPACT) + 1 : SIZE_MAX;
    if (size > *left) {
        json_decref(made);
        return false;
    }
    *left -= size;
    return json_array_append_new(items, made) == 0;
}

/* What did not change comes last, so that the limits cut that off first. */
static json_t *
items_json(const struct sync *sync)
{
    json_t *items = json_array();
    size_t left = SYNC_ITEMS_OCTETS_MAX;
    bool has_room = true;
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sync->count && has_room; i++) {
            bool is_quiet = sync->items[i].result == SYNC_UNCHANGED;
            if (is_quiet == (round == 1))
                has_room = json_array_size(items) < SYNC_ITEMS_MAX &&
                           item_append(items, &sync->items[i], &left);
        }
    }
    return items;
}

static json_t *
answer_json(const struct sync *sync, enum ca_status outcome)
{
    json_t *items = items_json(sync);
    bool is_cut = json_array_size(items) < sync->count;
    return json_pack("{s:s, s:s?, s:b, s:o, s:b, s:o}", "outcome",
                     ca_status_name(outcome), "message",
                     outcome == CA_OK ? NULL : status_message(), "dry_run",
                     sync->request->dry_run, "counts", counts_json(sync), "truncated",
                     is_cut, "items", items);
}

struct record {
    const struct sync *sync;
    struct roster_run run;
    bool is_audited;
};

static enum ca_status
record_write(struct store_tx *tx, void *arg)
{
    const struct record *record = arg;
    const struct sync_request *request = record->sync->request;
    enum ca_status status = roster_run_save(tx, &record->run);
    if (status != CA_OK || !record->is_audited)
        return status;
    CA_AUTO(json_decref)
    json_t *detail = json_pack("{s:O, s:s?}", "counts", record->run.counts, "message",
                               record->run.message);
    return audit_append(tx, &(struct audit_entry){ .action = "directory.sync",
                                                   .actor = request->actor,
                                                   .object = "directory",
                                                   .protocol = request->protocol,
                                                   .request = request->request,
                                                   .outcome = record->run.outcome,
                                                   .detail = detail });
}

/* Every run is remembered, the last one; in the audit are those that changed something,
 * were refused or forced, or failed after the one before went well. */
static enum ca_status
record_run(const struct sync *sync, int64_t started, enum ca_status outcome)
{
    int64_t counts[SYNC_RESULT_COUNT];
    count_results(sync, counts);
    CA_AUTO(json_decref) json_t *counted = counts_json(sync);
    CA_AUTO(free) char *message = outcome == CA_OK ? NULL : strdup(status_message());
    struct record record = {
        .sync = sync,
        .run = { .started = started,
                 .finished = clock_now(),
                 .outcome = (char *)(uintptr_t)ca_status_name(outcome),
                 .message = message,
                 .counts = counted },
        .is_audited =
            outcome == CA_FORBIDDEN || sync->request->force ||
            counts[SYNC_CREATED] + counts[SYNC_CHANGED] + counts[SYNC_DISABLED] > 0,
    };
    return store_write(sync->service->store, record_write, &record);
}

static enum ca_status
run(struct sync *sync)
{
    sync->ids = json_object();
    sync->names = json_object();
    sync->groups = json_object();
    if (!sync->ids || !sync->names || !sync->groups)
        return ca_fail(CA_INTERNAL, "no memory for a sync");
    enum ca_status status = directory_read(sync);
    if (status != CA_OK)
        return status;
    status = store_read(sync->service->store, plan_read, sync);
    if (status == CA_OK)
        status = brake(sync);
    if (status == CA_OK && !sync->request->dry_run)
        status = items_do(sync);
    return status;
}

enum ca_status
directory_sync(struct service *service, const struct sync_request *request,
               json_t **ret_answer)
{
    CA_AUTO(sync_clear) struct sync sync = { .service = service, .request = request };
    int64_t started = clock_now();
    if (!service->config.directory.server)
        return ca_fail(CA_CONFLICT, "no directory is configured");
    if (pthread_mutex_trylock(&under_way) != 0)
        return ca_fail(CA_CONFLICT, "a sync of the directory is under way");
    enum ca_status status = run(&sync);
    json_t *answer =
        status == CA_OK || status == CA_FORBIDDEN ? answer_json(&sync, status) : NULL;
    if (!request->dry_run) {
        CA_AUTO(free) char *message = strdup(status_message());
        enum ca_status recorded = record_run(&sync, started, status);
        if (status == CA_OK)
            status = recorded;
        else
            ca_fail(status, "%s", message ? message : "");
    }
    pthread_mutex_unlock(&under_way);
    *ret_answer = answer;
    return status;
}
