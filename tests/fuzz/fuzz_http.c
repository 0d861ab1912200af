/* A request's head as lines: the first is the URI, then one header a line. Path and
 * query are decoded, the head is judged, and a proxy's headers are read. */
#include "auto.h"
#include "exchange.h"
#include "fuzz.h"
#include "http_path.h"
#include "http_proxy.h"
#include <string.h>

#define HEAD_MAX 65536

size_t fuzz_deep;

/* Splits "Name: value" lines in place. */
static size_t
split(char *at, struct http_field fields[HTTP_HEADER_COUNT_MAX + 1])
{
    size_t count = 0;
    while (at && count <= HTTP_HEADER_COUNT_MAX) {
        char *line = strsep(&at, "\n");
        char *colon = strchr(line, ':');
        if (!colon)
            continue;
        *colon = '\0';
        colon += colon[1] == ' ' ? 2 : 1;
        fields[count++] = (struct http_field){ line, colon };
    }
    return count;
}

/* What comes out has no dot segment, no control character, and one form. */
static void
check_path(const char *raw)
{
    char *path = malloc(strlen(raw) + 1);
    if (path && path_normalise(raw, path) == CA_OK) {
        size_t length = strlen(path);
        if (path[0] != '/' || path[1] == '/' || length > strlen(raw) ||
            strstr(path, "/../") || strstr(path, "/./") ||
            (length >= 3 && strcmp(path + length - 3, "/..") == 0))
            abort();
        for (const char *at = path; *at; at++) {
            if ((unsigned char)*at < 0x20 || *at == 0x7f)
                abort();
        }
        fuzz_deep++;
    }
    free(path);
}

static void
check_query(const char *query)
{
    struct exchange exchange = { .request.query = query };
    static const char *const names[] = { "operation", "message", "", "a" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = NULL, *raw = NULL;
        size_t size = 0;
        enum ca_status status =
            ca_request_query_raw(&exchange.request, names[i], &raw, &size);
        if (status == CA_OK && raw &&
            (raw < query || raw + size > query + strlen(query)))
            abort();
        if (ca_request_query(&exchange.request, names[i], &value) == CA_OK &&
            (value != NULL) != (raw != NULL))
            abort();
        if (value && strlen(value) > size)
            abort();
    }
    exchange_clear(&exchange);
}

static void
check_head(const struct http_field *fields, size_t count)
{
    struct http_framing framing;
    if (head_check(fields, count, true, &framing) != CA_OK)
        return;
    if (framing.is_chunked && framing.content_length >= 0)
        abort();
    if (!head_find(fields, count, "host") || framing.content_length < -1)
        abort();
    fuzz_deep++;
}

static void
check_proxy(const struct http_field *fields, size_t count)
{
    char own[] = "127.0.0.0/8", more[] = "2001:db8::/32";
    char *texts[] = { own, more };
    const struct field_list list = { texts, 2 };
    struct network_list trusted = { 0 };
    struct forwarded forwarded = { 0 };
    char text[ADDRESS_TEXT_SIZE];
    if (network_list_parse(&list, &trusted) != CA_OK)
        abort();
    if (proxy_read(&trusted, fields, count, &forwarded) == CA_OK) {
        address_format(&forwarded.peer, text);
        struct address again;
        if (!address_parse(text, strlen(text), &again) ||
            memcmp(&again, &forwarded.peer, sizeof again) != 0)
            abort();
        X509_free(forwarded.certificate);
        fuzz_deep++;
    } else if (forwarded.certificate || forwarded.secure) {
        abort();
    }
    network_list_clear(&trusted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_field fields[HTTP_HEADER_COUNT_MAX + 1];
    if (size > HEAD_MAX || memchr(data, '\0', size))
        return 0;
    CA_AUTO(free) char *head = strndup((const char *)data, size);
    if (!head)
        return 0;
    char *rest = head;
    char *uri = strsep(&rest, "\n");
    char *query = strchr(uri, '?');
    if (query)
        *query++ = '\0';
    check_path(uri);
    check_query(query ? query : "");
    size_t count = split(rest, fields);
    check_head(fields, count);
    check_proxy(fields, count);
    return 0;
}
