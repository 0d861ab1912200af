/* The audit log: each entry a leaf in the transaction of what it describes. */
#include "audit.h"
#include "auto.h"
#include "clock.h"
#include "digest.h"
#include <stdio.h>
#include <string.h>

#define ENTRY_MAX (64 * 1024) /* octets of a leaf's JSON */

static char instance_name[RECORD_NAME_MAX + 1];

void
audit_set_instance(const char *instance)
{
    snprintf(instance_name, sizeof instance_name, "%s", instance);
}

const char *
audit_instance(void)
{
    return instance_name;
}

static void
json_put(struct text_buffer *buffer, const json_t *json)
{
    CA_AUTO(free) char *text = record_json_format(json);
    if (text)
        text_append(buffer, text, strlen(text));
    buffer->failed = buffer->failed || !text;
}

static void
text_put(struct text_buffer *buffer, const char *text)
{
    if (text_append_json(buffer, text))
        return;
    CA_AUTO(json_decref) json_t *string = text_to_json(text);
    json_put(buffer, string);
}

static void
name_put(struct text_buffer *buffer, const char *name)
{
    text_append(buffer, buffer->size == 0 ? "{" : ",", 1);
    text_put(buffer, name);
    text_append(buffer, ":", 1);
}

/* Absent members are left out. */
static void
member_put(struct text_buffer *buffer, const char *name, const char *text)
{
    if (!text)
        return;
    name_put(buffer, name);
    text_put(buffer, text);
}

static void
number_put(struct text_buffer *buffer, const char *name, int64_t number)
{
    name_put(buffer, name);
    text_print(buffer, "%lld", (long long)number);
}

struct leaf {
    const struct audit_entry *entry;
    int64_t number, time, count;
};

/* The leaf's octets: members sorted, no white space, as Jansson would write them. By
 * hand, for the writer's thread is where the others wait. */
static char *
leaf_format(const struct leaf *leaf)
{
    const struct audit_entry *entry = leaf->entry;
    CA_AUTO(text_buffer_clear) struct text_buffer buffer = { 0 };
    char when[21];
    time_format(leaf->time, when);
    member_put(&buffer, "action", entry->action);
    member_put(&buffer, "actor", entry->actor);
    if (leaf->count != 1)
        number_put(&buffer, "count", leaf->count);
    if (entry->detail) {
        name_put(&buffer, "detail");
        json_put(&buffer, entry->detail);
    }
    member_put(&buffer, "instance", instance_name);
    number_put(&buffer, "number", leaf->number);
    member_put(&buffer, "object", entry->object);
    member_put(&buffer, "outcome", entry->outcome);
    member_put(&buffer, "protocol", entry->protocol);
    member_put(&buffer, "request", entry->request);
    member_put(&buffer, "time", when);
    text_append(&buffer, "}", 1);
    return buffer.failed ? NULL : CA_STEAL(buffer.data);
}

enum ca_status
audit_leaf_hash(const void *octets, size_t size, uint8_t ret_hash[32])
{
    CA_AUTO(EVP_MD_CTX_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
    uint8_t hash[EVP_MAX_MD_SIZE];
    if (!context || EVP_DigestInit_ex(context, digest_sha256_method(), NULL) != 1 ||
        EVP_DigestUpdate(context, "\0", 1) != 1 ||
        EVP_DigestUpdate(context, octets, size) != 1 ||
        EVP_DigestFinal_ex(context, hash, NULL) != 1)
        return ca_fail_openssl(CA_INTERNAL, "no SHA-256 of an audit entry");
    memcpy(ret_hash, hash, 32);
    return CA_OK;
}

static enum ca_status
number_read(const struct store_row *row, void *arg)
{
    *(int64_t *)arg = store_row_integer(row, 0);
    return CA_OK;
}

/* The next number of the log, drawn with the transaction: no gap when it is undone. The
 * row is this transaction's from the first statement on, which says so without
 * RETURNING: that costs a temporary table. */
static enum ca_status
number_draw(struct store_tx *tx, int64_t *ret_number)
{
    int64_t size = 0;
    enum ca_status status =
        store_run(tx,
                  "INSERT INTO audit_log (instance, size) VALUES ($1, 1)"
                  " ON CONFLICT (instance) DO UPDATE SET size = audit_log.size + 1",
                  STORE_VALUES(store_text(instance_name)), NULL, NULL, NULL);
    if (status == CA_OK)
        status = store_run(tx, "SELECT size FROM audit_log WHERE instance = $1",
                           STORE_VALUES(store_text(instance_name)), number_read, &size,
                           NULL);
    if (status == CA_OK)
        *ret_number = size - 1;
    return status;
}

static enum ca_status
leaf_insert(struct store_tx *tx, const struct leaf *leaf)
{
    CA_AUTO(free) char *text = leaf_format(leaf);
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for an audit entry");
    const struct audit_entry *entry = leaf->entry;
    size_t size = strlen(text);
    if (size > ENTRY_MAX)
        return ca_fail(CA_LIMIT, "the audit entry of '%s' has %zu octets",
                       entry->action, size);
    uint8_t hash[32];
    enum ca_status status = audit_leaf_hash(text, size, hash);
    if (status != CA_OK)
        return status;
    return store_run(tx,
                     "INSERT INTO audit_entry"
                     " (instance, number, time, action, actor, object, entry, leaf)"
                     " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                     STORE_VALUES(store_text(instance_name),
                                  store_integer(leaf->number),
                                  store_integer(leaf->time), store_text(entry->action),
                                  store_text(entry->actor), store_text(entry->object),
                                  store_text(text), store_blob(hash, sizeof hash)),
                     NULL, NULL, NULL);
}

enum ca_status
audit_append_counted(struct store_tx *tx, const struct audit_entry *entry, int64_t time,
                     int64_t count)
{
    if (!instance_name[0])
        return ca_fail(CA_INTERNAL, "the audit log has no instance");
    struct leaf leaf = { .entry = entry, .time = time, .count = count };
    enum ca_status status = number_draw(tx, &leaf.number);
    return status == CA_OK ? leaf_insert(tx, &leaf) : status;
}

enum ca_status
audit_append(struct store_tx *tx, const struct audit_entry *entry)
{
    return audit_append_counted(tx, entry, clock_now(), 1);
}
