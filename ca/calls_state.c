/* Protocol state of plugins, each in spaces of its own. */
#include "auto.h"
#include "clock.h"
#include "exchange.h"
#include "state.h"
#include <string.h>

#define STATE_SECONDS_MAX (366 * 86400)

struct state_question {
    char space[128];
    const char *key;
    struct ca_bytes value;
    int64_t expires, version;
    void *found;
    size_t found_size;
};

static enum ca_status
state_begin(struct ca_request *req, const char *space, const char *key, int64_t seconds,
            struct state_question *ret_question)
{
    const char *plugin = exchange_of(req)->plugin;
    *ret_question = (struct state_question){ .key = key };
    int length = snprintf(ret_question->space, sizeof ret_question->space, "%s/%s",
                          plugin ? plugin : "core", space);
    if (length < 0 || (size_t)length >= sizeof ret_question->space)
        return ca_fail(CA_LIMIT, "the name of a state's space is too long");
    if (strlen(key) > STATE_KEY_MAX)
        return ca_fail(CA_LIMIT, "key of a state has %zu octets", strlen(key));
    if (seconds < 0 || seconds > STATE_SECONDS_MAX)
        return ca_fail(CA_LIMIT, "a state for %lld seconds", (long long)seconds);
    ret_question->expires = clock_now() + seconds;
    return CA_OK;
}

static enum ca_status
put_write(struct store_tx *tx, void *arg)
{
    const struct state_question *q = arg;
    return state_put(tx, q->space, q->key, q->value.data, q->value.size, q->expires);
}

enum ca_status
ca_state_put(struct ca_request *req, const char *space, const char *key,
             struct ca_bytes value, int64_t seconds)
{
    struct state_question question;
    enum ca_status status = state_begin(req, space, key, seconds, &question);
    if (status != CA_OK)
        return status;
    if (value.size > STATE_VALUE_MAX)
        return ca_fail(CA_LIMIT, "a state of %zu octets", value.size);
    question.value = value;
    return store_write(exchange_of(req)->service->store, put_write, &question);
}

static enum ca_status
get_read(struct store_tx *tx, void *arg)
{
    struct state_question *q = arg;
    free(CA_STEAL(q->found));
    return state_get(tx, q->space, q->key, &q->found, &q->found_size, &q->version);
}

static enum ca_status
take_write(struct store_tx *tx, void *arg)
{
    struct state_question *q = arg;
    free(CA_STEAL(q->found));
    return state_take(tx, q->space, q->key, &q->found, &q->found_size);
}

/* The found value as the request's own memory. */
static enum ca_status
state_give(struct ca_request *req, enum ca_status status,
           struct state_question *question, struct ca_bytes *ret_value)
{
    uint8_t *octets = NULL;
    if (status == CA_OK) {
        octets = ca_request_alloc(req, question->found_size + 1);
        if (!octets)
            status = ca_fail(CA_INTERNAL, "no memory for a state");
    }
    if (status == CA_OK) {
        if (question->found_size > 0)
            memcpy(octets, question->found, question->found_size);
        *ret_value = (struct ca_bytes){ octets, question->found_size };
    }
    if (question->found)
        OPENSSL_cleanse(question->found, question->found_size);
    free(question->found);
    return status;
}

enum ca_status
ca_state_get(struct ca_request *req, const char *space, const char *key,
             struct ca_bytes *ret_value, int64_t *ret_version)
{
    struct state_question question;
    enum ca_status status = state_begin(req, space, key, 0, &question);
    if (status != CA_OK)
        return status;
    status = store_read(exchange_of(req)->service->store, get_read, &question);
    status = state_give(req, status, &question, ret_value);
    if (status == CA_OK && ret_version)
        *ret_version = question.version;
    return status;
}

enum ca_status
ca_state_take(struct ca_request *req, const char *space, const char *key,
              struct ca_bytes *ret_value)
{
    struct state_question question;
    enum ca_status status = state_begin(req, space, key, 0, &question);
    if (status != CA_OK)
        return status;
    status = store_write(exchange_of(req)->service->store, take_write, &question);
    return state_give(req, status, &question, ret_value);
}

static enum ca_status
swap_write(struct store_tx *tx, void *arg)
{
    const struct state_question *q = arg;
    return state_swap(tx, q->space, q->key, q->version, q->value.data, q->value.size,
                      q->expires);
}

enum ca_status
ca_state_swap(struct ca_request *req, const char *space, const char *key,
              int64_t version, struct ca_bytes value, int64_t seconds)
{
    struct state_question question;
    enum ca_status status = state_begin(req, space, key, seconds, &question);
    if (status != CA_OK)
        return status;
    if (value.size > STATE_VALUE_MAX)
        return ca_fail(CA_LIMIT, "a state of %zu octets", value.size);
    question.value = value;
    question.version = version;
    return store_write(exchange_of(req)->service->store, swap_write, &question);
}
