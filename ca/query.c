/* Conditions and pages of a SELECT. */
#include "query.h"
#include "auto.h"
#include "digest.h"
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
append(struct query *query, const char *text)
{
    size_t length = strlen(text);
    if (query->failed || length >= sizeof query->sql - query->size) {
        query->failed = true;
        return;
    }
    memcpy(query->sql + query->size, text, length + 1);
    query->size += length;
}

/* Keeps the value and gives its placeholder ("$3"). */
static void
bind(struct query *query, struct store_value value, char ret_placeholder[16])
{
    if (query->count >= QUERY_VALUES_MAX) {
        query->failed = true;
        return;
    }
    query->values[query->count++] = value;
    snprintf(ret_placeholder, 16, "$%zu", query->count);
}

void
query_begin(struct query *query, const char *select)
{
    *query = (struct query){ 0 };
    append(query, select);
}

void
query_where(struct query *query, const char *condition, struct store_value value)
{
    char placeholder[16] = "";
    bind(query, value, placeholder);
    append(query, query->has_condition ? " AND " : " WHERE ");
    query->has_condition = true;
    for (; *condition; condition++) {
        const char one[] = { *condition, '\0' };
        append(query, *condition == '?' ? placeholder : one);
    }
}

void
query_where_text(struct query *query, const char *condition, const char *text)
{
    if (text)
        query_where(query, condition, store_text(text));
}

void
query_where_prefix(struct query *query, const char *column, const char *prefix,
                   char after[QUERY_PREFIX_MAX])
{
    char condition[64];
    size_t length = prefix ? strlen(prefix) : 0;
    if (length == 0)
        return;
    /* Names are short and ASCII; anything else starts none of them. */
    bool is_plain = length < QUERY_PREFIX_MAX;
    for (size_t i = 0; i < length; i++)
        is_plain = is_plain && prefix[i] > 0x20 && prefix[i] < 0x7f;
    snprintf(condition, sizeof condition, "%s %s ?", column, is_plain ? ">=" : "=");
    query_where(query, condition, store_text(prefix));
    if (!is_plain)
        return;
    memcpy(after, prefix, length + 1);
    after[length - 1]++; /* the range's end */
    snprintf(condition, sizeof condition, "%s < ?", column);
    query_where(query, condition, store_text(after));
}

void
query_page(struct query *query, const char *column, const struct record_page *page)
{
    char text[96], placeholder[16] = "";
    if (page->after) {
        snprintf(text, sizeof text, "%s > ?", column);
        query_where(query, text, store_text(page->after));
    }
    bind(query, store_integer(record_page_limit(page)), placeholder);
    snprintf(text, sizeof text, " ORDER BY %s LIMIT %s", column, placeholder);
    append(query, text);
}

enum ca_status
query_run(const struct query *query, struct store_tx *tx, store_row_fn row, void *arg)
{
    if (query->failed)
        return ca_fail(CA_INTERNAL, "statement with too many conditions: %s",
                       query->sql);
    return store_run(tx, query->sql, query->values, query->count, row, arg, NULL);
}

enum ca_status
query_list(const struct query *query, struct store_tx *tx,
           const struct record_select *select, record_visit visit, void *arg)
{
    if (query->failed)
        return ca_fail(CA_INTERNAL, "statement with too many conditions: %s",
                       query->sql);
    const struct record_select filtered = { select->columns, select->size, query->sql };
    return record_list(tx, &filtered, query->values, query->count, visit, arg);
}

enum ca_status
word_parse(const char *const *words, const char *what, const char *word, int *ret_index)
{
    for (int i = 0; words[i]; i++) {
        if (strcmp(words[i], word) == 0) {
            *ret_index = i;
            return CA_OK;
        }
    }
    return ca_fail(CA_MALFORMED, "'%s' is not a %s", word, what);
}

enum ca_status
row_take_integer(const struct store_row *row, void *ret_integer)
{
    *(int64_t *)ret_integer = store_row_integer(row, 0);
    return CA_OK;
}

enum ca_status
row_take_text(const struct store_row *row, void *ret_text)
{
    char **text = ret_text;
    if (*text)
        return CA_OK;
    const char *value = store_row_text(row, 0);
    *text = value ? strdup(value) : NULL;
    if (value && !*text)
        return ca_fail(CA_INTERNAL, "no memory for a text");
    return CA_OK;
}

enum ca_status
row_take_stamp(const struct store_row *row, void *ret_stamp)
{
    *(struct record_stamp *)ret_stamp = (struct record_stamp){
        .created = store_row_integer(row, 0),
        .updated = store_row_integer(row, 1),
        .version = store_row_integer(row, 2),
    };
    return CA_OK;
}

/* A length before each part, so that two different triples never read alike. */
static void
digest_part(struct text_buffer *buffer, const void *part, size_t size)
{
    text_print(buffer, "%zu:", size);
    text_append(buffer, part, size);
}

/* Protocols that issue by certificate profiles alone give digests of whole messages as
 * transaction ids: which profile it comes to follows from the user, and a retry is to
 * be found before anybody knows who that is. */
static size_t
scope_size(const char *endpoint)
{
    static const char scope[] = "certificate";
    size_t size = sizeof scope - 1;
    bool is_profile = strncmp(endpoint, scope, size) == 0 && endpoint[size] == '/';
    return is_profile ? size : strlen(endpoint);
}

enum ca_status
transaction_digest(const char *endpoint, const char *transaction,
                   const uint8_t *signer_spki_sha256, uint8_t ret_sha256[32])
{
    CA_AUTO(text_buffer_clear) struct text_buffer buffer = { 0 };
    digest_part(&buffer, endpoint, scope_size(endpoint));
    digest_part(&buffer, transaction, strlen(transaction));
    digest_part(&buffer, signer_spki_sha256,
                signer_spki_sha256 ? SHA256_DIGEST_LENGTH : 0);
    if (buffer.failed)
        return ca_fail(CA_INTERNAL, "no memory for a transaction's digest");
    digest_sha256(buffer.data, buffer.size, ret_sha256);
    return CA_OK;
}
