/* Statements with a varying condition, put together from fixed text and bound values.
 */
#pragma once

#include "record.h"

#define QUERY_VALUES_MAX 16
#define QUERY_SIZE_MAX 2048

/* A SELECT in the making; zero-initialised and begun with query_begin. */
struct query {
    char sql[QUERY_SIZE_MAX];
    size_t size;
    struct store_value values[QUERY_VALUES_MAX];
    size_t count;
    bool has_condition;
    bool failed; /* too long, too many: query_run says so */
};

/* `select` up to its conditions: fixed text, never a value. */
void query_begin(struct query *query, const char *select);
/* One more condition, all of which must hold: fixed text whose '?' becomes the value's
 * placeholder, once or more often. Borrows the value until query_run. */
void query_where(struct query *query, const char *condition, struct store_value value);
/* The same when there is a text to compare with; NULL is no condition. */
void query_where_text(struct query *query, const char *condition, const char *text);
/* The same for all names that start with `prefix`, an index's range; NULL or "" is no
 * condition. `after` has QUERY_PREFIX_MAX octets and lives until query_run. */
#define QUERY_PREFIX_MAX 128
void query_where_prefix(struct query *query, const char *column, const char *prefix,
                        char after[QUERY_PREFIX_MAX]);
/* The page's cursor, order by `column` and limit (record_page_limit). */
void query_page(struct query *query, const char *column,
                const struct record_page *page);
/* Visits each row as a record of `size` octets by its columns. */
enum ca_status query_list(const struct query *query, struct store_tx *tx,
                          const struct record_select *select, record_visit visit,
                          void *arg);
/* Runs it with a row callback. */
enum ca_status query_run(const struct query *query, struct store_tx *tx,
                         store_row_fn row, void *arg);

/* The index of a word in a NULL-terminated list (a state filter); CA_MALFORMED. */
enum ca_status word_parse(const char *const *words, const char *what, const char *word,
                          int *ret_index);

/* Row callbacks for single values: int64_t; char * (free() it, the first row counts);
 * struct record_stamp. */
enum ca_status row_take_integer(const struct store_row *row, void *ret_integer);
enum ca_status row_take_text(const struct store_row *row, void *ret_text);
enum ca_status row_take_stamp(const struct store_row *row, void *ret_stamp);

/* One short key for what names a protocol's transaction: SHA-256 over endpoint, id and
 * the signer's key (32 octets or NULL), each with its length. CA_INTERNAL: memory. */
enum ca_status transaction_digest(const char *endpoint, const char *transaction,
                                  const uint8_t *signer_spki_sha256,
                                  uint8_t ret_sha256[32]);
