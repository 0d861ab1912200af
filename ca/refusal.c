/* Counting refusals: one bounded table in memory, emptied into the audit. */
#include "refusal.h"
#include "audit.h"
#include "auto.h"
#include <pthread.h>
#include <string.h>

#define REFUSAL_KINDS_MAX 512        /* different (protocol, source, reason) a second */
#define REFUSAL_SOURCE_REST "others" /* whom the full table does not tell apart */
#define REFUSAL_WORD_SIZE 33
#define REFUSAL_SOURCE_SIZE 65

struct refusal {
    char protocol[REFUSAL_WORD_SIZE], reason[REFUSAL_WORD_SIZE];
    char source[REFUSAL_SOURCE_SIZE];
    int64_t count;
};

struct refusal_table {
    struct refusal items[REFUSAL_KINDS_MAX];
    size_t count;
};

struct refusals {
    pthread_mutex_t lock;  /* over `table` */
    pthread_mutex_t flush; /* one writer at a time; `full` is its own */
    struct refusal_table table, full;
};

struct refusals *
refusals_new(void)
{
    struct refusals *refusals = calloc(1, sizeof *refusals);
    if (!refusals)
        return NULL;
    pthread_mutex_init(&refusals->lock, NULL);
    pthread_mutex_init(&refusals->flush, NULL);
    return refusals;
}

void
refusals_free(struct refusals *refusals)
{
    if (!refusals)
        return;
    pthread_mutex_destroy(&refusals->lock);
    pthread_mutex_destroy(&refusals->flush);
    free(refusals);
}

static struct refusal *
table_find(struct refusal_table *table, const struct refusal *wanted)
{
    for (size_t i = 0; i < table->count; i++) {
        struct refusal *item = &table->items[i];
        if (strcmp(item->source, wanted->source) == 0 &&
            strcmp(item->reason, wanted->reason) == 0 &&
            strcmp(item->protocol, wanted->protocol) == 0)
            return item;
    }
    return NULL;
}

/* The last places are kept for the rest, one of each protocol and reason. */
static void
table_add(struct refusal_table *table, struct refusal wanted)
{
    struct refusal *item = table_find(table, &wanted);
    if (!item && table->count >= REFUSAL_KINDS_MAX * 7 / 8) {
        snprintf(wanted.source, sizeof wanted.source, "%s", REFUSAL_SOURCE_REST);
        item = table_find(table, &wanted);
    }
    if (!item && table->count < REFUSAL_KINDS_MAX) {
        item = &table->items[table->count++];
        *item = wanted;
        item->count = 0;
    }
    if (item)
        item->count += wanted.count;
}

void
refusals_count(struct refusals *refusals, const char *protocol, const char *source,
               const char *reason)
{
    struct refusal wanted = { .count = 1 };
    snprintf(wanted.protocol, sizeof wanted.protocol, "%s", protocol ? protocol : "");
    snprintf(wanted.source, sizeof wanted.source, "%s", source ? source : "");
    snprintf(wanted.reason, sizeof wanted.reason, "%s", reason);
    pthread_mutex_lock(&refusals->lock);
    table_add(&refusals->table, wanted);
    pthread_mutex_unlock(&refusals->lock);
}

static enum ca_status
table_write(struct store_tx *tx, void *arg)
{
    const struct refusal_table *table = arg;
    for (size_t i = 0; i < table->count; i++) {
        const struct refusal *item = &table->items[i];
        enum ca_status status = audit_count_refusals(tx, item->protocol, item->source,
                                                     item->reason, item->count);
        if (status != CA_OK)
            return status;
    }
    return CA_OK;
}

enum ca_status
refusals_flush(struct refusals *refusals, struct store *store)
{
    pthread_mutex_lock(&refusals->flush);
    pthread_mutex_lock(&refusals->lock);
    refusals->full = refusals->table;
    refusals->table.count = 0;
    pthread_mutex_unlock(&refusals->lock);
    enum ca_status status = CA_OK;
    if (refusals->full.count > 0)
        status = store_write(store, table_write, &refusals->full);
    if (status != CA_OK) {
        pthread_mutex_lock(&refusals->lock);
        for (size_t i = 0; i < refusals->full.count; i++)
            table_add(&refusals->table, refusals->full.items[i]);
        pthread_mutex_unlock(&refusals->lock);
    }
    pthread_mutex_unlock(&refusals->flush);
    return status;
}
