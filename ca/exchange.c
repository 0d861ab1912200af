/* The request's own memory, its query and its answer: the part of plugin.h that needs
 * neither policy nor store. */
#include "exchange.h"
#include "auto.h"
#include "log.h"
#include "text.h"
#include <stdalign.h>
#include <stdarg.h>
#include <string.h>

#define QUERY_SIZE_MAX 32768 /* octets of a decoded parameter */
#define OPERATION_SIZE_MAX 64

/* Something that lives as long as the request: memory behind the node itself, or a
 * pointer with its release. */
struct exchange_memory {
    struct exchange_memory *next;
    void (*release)(void *pointer); /* NULL: the octets behind this node */
    void *pointer;
    size_t size;
};

#define NODE_SIZE                                                                      \
    ((sizeof(struct exchange_memory) + alignof(max_align_t) - 1) /                     \
     alignof(max_align_t) * alignof(max_align_t))

/* The headers that the host alone writes, for they delimit the answer. */
static const char *const host_headers[] = { "Content-Length", "Connection",
                                            "Transfer-Encoding", "Content-Type",
                                            "Date" };

struct exchange *
exchange_of(struct ca_request *req)
{
    return (struct exchange *)(void *)req;
}

enum ca_status
exchange_keep(struct exchange *exchange, void *pointer, void (*release)(void *pointer))
{
    struct exchange_memory *node = calloc(1, sizeof *node);
    if (!node) {
        release(pointer);
        return ca_fail(CA_INTERNAL, "no memory");
    }
    *node = (struct exchange_memory){ exchange->memory, release, pointer, 0 };
    exchange->memory = node;
    return CA_OK;
}

EVP_PKEY *
exchange_known_key(const struct exchange *exchange, struct ca_bytes spki)
{
    for (size_t i = 0; i < exchange->key_count; i++) {
        const struct ca_bytes *known = &exchange->keys[i].spki;
        if (known->size == spki.size && memcmp(known->data, spki.data, spki.size) == 0)
            return exchange->keys[i].key;
    }
    return NULL;
}

void *
ca_request_alloc(struct ca_request *req, size_t size)
{
    struct exchange *exchange = exchange_of(req);
    if (size > SIZE_MAX - NODE_SIZE)
        return NULL;
    struct exchange_memory *node = calloc(1, NODE_SIZE + size);
    if (!node)
        return NULL;
    *node = (struct exchange_memory){ exchange->memory, NULL, NULL, size };
    exchange->memory = node;
    return (char *)node + NODE_SIZE;
}

static void
memory_release(struct exchange_memory *node)
{
    if (node->release)
        node->release(node->pointer);
    else
        OPENSSL_cleanse((char *)node + NODE_SIZE, node->size);
    free(node);
}

struct issuers *
exchange_issuers(struct exchange *exchange)
{
    if (!exchange->issuers)
        exchange->issuers = service_issuers(exchange->service);
    return exchange->issuers;
}

/* "KIND:NAME" in the request's memory; "" without memory. */
static const char *
actor_format(struct exchange *exchange, const char *kind, const char *name)
{
    size_t size = strlen(kind) + strlen(name) + 2;
    char *actor = ca_request_alloc(&exchange->request, size);
    if (!actor)
        return "";
    snprintf(actor, size, "%s:%s", kind, name);
    return actor;
}

const char *
exchange_actor(struct exchange *exchange)
{
    const struct identity *identity = &exchange->identity;
    if (identity->kind == IDENTITY_ADMIN && identity->admin.name)
        return actor_format(exchange, "admin", identity->admin.name);
    bool is_device =
        identity->kind == IDENTITY_RENEWAL || identity->kind == IDENTITY_DEVICE;
    if (is_device && identity->device)
        return actor_format(exchange, "device", identity->device);
    if (identity->kind != IDENTITY_NONE && identity->user)
        return actor_format(exchange, "user", identity->user);
    const char *peer = exchange->request.peer;
    return actor_format(exchange, "peer", peer ? peer : "");
}

void
exchange_set_operation(struct exchange *exchange, const char *operation)
{
    free(exchange->operation);
    exchange->operation = strndup(operation, OPERATION_SIZE_MAX);
}

void
identity_clear(struct identity *identity)
{
    free(identity->endpoint);
    free(identity->certificate_profile);
    free(identity->user);
    free(identity->device);
    free(identity->serial);
    challenge_clear(&identity->challenge);
    admin_clear(&identity->admin);
    *identity = (struct identity){ 0 };
}

static void
body_clear(struct exchange *exchange)
{
    if (exchange->answer.body)
        OPENSSL_cleanse(exchange->answer.body, exchange->answer.size);
    free(exchange->answer.body);
    free(exchange->answer.content_type);
    exchange->answer.body = NULL;
    exchange->answer.content_type = NULL;
    exchange->answer.size = 0;
}

void
exchange_expect_write(struct exchange *exchange)
{
    if (!exchange->writes)
        store_expect(exchange->service->store);
    exchange->writes = true;
}

void
exchange_expect_end(struct exchange *exchange)
{
    if (exchange->writes)
        store_expect_end(exchange->service->store);
    exchange->writes = false;
}

void
exchange_clear(struct exchange *exchange)
{
    exchange_expect_end(exchange);
    identity_clear(&exchange->identity);
    body_clear(exchange);
    for (size_t i = 0; i < exchange->answer.header_count; i++) {
        free(exchange->answer.headers[i].name);
        secret_free(exchange->answer.headers[i].value); /* perhaps a cookie */
    }
    exchange->answer.header_count = 0;
    exchange->answer.status = 0;
    exchange->key_count = 0;
    while (exchange->memory) {
        struct exchange_memory *node = exchange->memory;
        exchange->memory = node->next;
        memory_release(node);
    }
    if (exchange->issuers)
        issuers_release(exchange->issuers);
    exchange->issuers = NULL;
    free(exchange->operation);
    exchange->operation = NULL;
}

const char *
ca_request_header(const struct ca_request *req, const char *name)
{
    const struct exchange *exchange = (const struct exchange *)(const void *)req;
    return exchange->header ? exchange->header(exchange, name) : NULL;
}

/* Decodes one character at *at (application/x-www-form-urlencoded) and moves on; -1 for
 * a bad escape or a NUL. */
static int
character_decode(const char **at, const char *end)
{
    char c = *(*at)++;
    if (c == '+')
        return ' ';
    if (c != '%')
        return c == '\0' ? -1 : (unsigned char)c;
    if (end - *at < 2)
        return -1;
    int high = hex_digit((*at)[0]), low = hex_digit((*at)[1]);
    *at += 2;
    return high < 0 || low < 0 || (high | low) == 0 ? -1 : high << 4 | low;
}

static bool
name_matches(const char *at, const char *end, const char *name)
{
    while (at < end) {
        int c = character_decode(&at, end);
        if (c < 0 || *name == '\0' || c != (unsigned char)*name++)
            return false;
    }
    return *name == '\0';
}

enum ca_status
ca_request_query_raw(struct ca_request *req, const char *name, const char **ret_value,
                     size_t *ret_size)
{
    const char *value = NULL;
    size_t size = 0;
    const char *at = req->query;
    while (*at) {
        const char *end = at + strcspn(at, "&");
        const char *equals = memchr(at, '=', (size_t)(end - at));
        if (name_matches(at, equals ? equals : end, name)) {
            if (value)
                return ca_fail(CA_MALFORMED, "query names '%s' twice", name);
            value = equals ? equals + 1 : end;
            size = (size_t)(end - value);
        }
        at = *end ? end + 1 : end;
    }
    *ret_value = value;
    *ret_size = size;
    return CA_OK;
}

enum ca_status
ca_request_query(struct ca_request *req, const char *name, const char **ret_value)
{
    const char *raw = NULL;
    size_t size = 0;
    enum ca_status status = ca_request_query_raw(req, name, &raw, &size);
    if (status != CA_OK)
        return status;
    if (!raw) {
        *ret_value = NULL;
        return CA_OK;
    }
    if (size > QUERY_SIZE_MAX)
        return ca_fail(CA_LIMIT, "query parameter '%s' has %zu octets", name, size);
    char *value = ca_request_alloc(req, size + 1);
    if (!value)
        return ca_fail(CA_INTERNAL, "no memory");
    size_t used = 0;
    for (const char *at = raw; at < raw + size;) {
        int c = character_decode(&at, raw + size);
        if (c < 0)
            return ca_fail(CA_MALFORMED, "bad escape in query parameter '%s'", name);
        value[used++] = (char)c;
    }
    *ret_value = value;
    return CA_OK;
}

/* No line break nor another control character: nobody splits an answer (CWE-113). */
static bool
is_header_text(const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

/* A token of RFC 9110 section 5.6.2. */
static bool
is_header_name(const char *name)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";
    size_t length = strlen(name);
    for (size_t i = 0; i < length; i++) {
        bool is_letter = (name[i] >= 'a' && name[i] <= 'z') ||
                         (name[i] >= 'A' && name[i] <= 'Z') ||
                         (name[i] >= '0' && name[i] <= '9');
        if (!is_letter && !strchr(marks, name[i]))
            return false;
    }
    return length > 0;
}

enum ca_status
ca_respond(struct ca_request *req, int http_status, const char *content_type,
           const void *body, size_t size)
{
    struct exchange *exchange = exchange_of(req);
    if (http_status < 200 || http_status > 599)
        return ca_fail(CA_INTERNAL, "no HTTP status: %d", http_status);
    if (content_type && !is_header_text(content_type))
        return ca_fail(CA_INTERNAL, "content type with a control character");
    CA_AUTO(free) char *type = content_type ? strdup(content_type) : NULL;
    uint8_t *copy = size < SIZE_MAX ? malloc(size + 1) : NULL;
    if (!copy || (content_type && !type)) {
        free(copy);
        return ca_fail(CA_INTERNAL, "no memory for an answer of %zu octets", size);
    }
    if (size > 0)
        memcpy(copy, body, size);
    body_clear(exchange);
    exchange->answer.status = http_status;
    exchange->answer.content_type = CA_STEAL(type);
    exchange->answer.body = copy;
    exchange->answer.size = size;
    return CA_OK;
}

enum ca_status
ca_respond_header(struct ca_request *req, const char *name, const char *value)
{
    struct exchange *exchange = exchange_of(req);
    size_t room = sizeof exchange->answer.headers / sizeof exchange->answer.headers[0];
    if (!is_header_name(name) || !is_header_text(value))
        return ca_fail(CA_INTERNAL, "header with a character that is none of its own");
    for (size_t i = 0; i < sizeof host_headers / sizeof host_headers[0]; i++) {
        if (text_equal_ignoring_case(name, host_headers[i]))
            return ca_fail(CA_INTERNAL, "header '%s' is the host's", host_headers[i]);
    }
    if (exchange->answer.header_count == room)
        return ca_fail(CA_LIMIT, "more than %zu headers in an answer", room);
    struct exchange_header header = { strdup(name), strdup(value) };
    if (!header.name || !header.value) {
        free(header.name);
        free(header.value);
        return ca_fail(CA_INTERNAL, "no memory");
    }
    exchange->answer.headers[exchange->answer.header_count++] = header;
    return CA_OK;
}

void
ca_log(struct ca_request *req, const char *format, ...)
{
    if (!log_wants(LOG_LEVEL_DEBUG))
        return;
    CA_AUTO(free) char *text = NULL;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0) {
        text = NULL;
        return;
    }
    const char *plugin = exchange_of(req)->plugin;
    log_write(
        LOG_LEVEL_DEBUG,
        json_pack("{s:s, s:s}", "request", req->id, "plugin", plugin ? plugin : ""),
        "%s", text);
}
