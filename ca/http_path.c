/* Paths decoded once and heads that can be read in one way only (SECURITY W2). */
#include "http_path.h"
#include "text.h"
#include <string.h>

#define LENGTH_DIGITS_MAX 15 /* of Content-Length */

static bool
is_dots(const char *segment, size_t size)
{
    return (size == 1 && segment[0] == '.') ||
           (size == 2 && segment[0] == '.' && segment[1] == '.');
}

static bool
has_dot_segment(const char *path)
{
    while (*path) {
        size_t size = strcspn(path, "/");
        if (is_dots(path, size))
            return true;
        path += size + (path[size] == '/');
    }
    return false;
}

enum ca_status
path_normalise(const char *raw, char *ret_path)
{
    if (raw[0] != '/')
        return ca_fail(CA_MALFORMED, "path does not start with a slash");
    size_t used = 0;
    while (*raw) {
        int c = (unsigned char)*raw++;
        if (c == '%') {
            int high = hex_digit(raw[0]);
            int low = high < 0 ? -1 : hex_digit(raw[1]);
            if (low < 0)
                return ca_fail(CA_MALFORMED, "bad escape in the path");
            c = high << 4 | low;
            raw += 2;
        }
        if (c < 0x20 || c == 0x7f)
            return ca_fail(CA_MALFORMED, "control character %02x in the path",
                           (unsigned)c);
        /* "//scep": a base URL with a slash at its end. Further in the slashes stay,
         * for base64 has them too. */
        if (c != '/' || used != 1)
            ret_path[used++] = (char)c;
    }
    ret_path[used] = '\0';
    if (has_dot_segment(ret_path))
        return ca_fail(CA_MALFORMED, "dot segment in the path");
    return CA_OK;
}

const char *
head_find(const struct http_field *fields, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (text_equal_ignoring_case(fields[i].name, name))
            return fields[i].value;
    }
    return NULL;
}

static size_t
head_count(const struct http_field *fields, size_t count, const char *name)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++)
        found += text_equal_ignoring_case(fields[i].name, name);
    return found;
}

/* RFC 9110 section 5.6.2. */
static bool
is_token(const char *name)
{
    for (const char *at = name; *at; at++) {
        bool is_letter = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                         (*at >= '0' && *at <= '9');
        if (!is_letter && !strchr("!#$%&'*+-.^_`|~", *at))
            return false;
    }
    return *name != '\0';
}

static enum ca_status
check_fields(const struct http_field *fields, size_t count)
{
    if (count > HTTP_HEADER_COUNT_MAX)
        return ca_fail(CA_LIMIT, "more than %d headers", HTTP_HEADER_COUNT_MAX);
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_token(fields[i].name))
            return ca_fail(CA_MALFORMED, "header %zu has no proper name", i);
        for (const char *at = fields[i].value; *at; at++) {
            unsigned char c = (unsigned char)*at;
            if ((c < 0x20 && c != '\t') || c == 0x7f)
                return ca_fail(CA_MALFORMED, "control character in header %s",
                               fields[i].name);
        }
        size += strlen(fields[i].name) + strlen(fields[i].value);
    }
    if (size > HTTP_HEADERS_MAX)
        return ca_fail(CA_LIMIT, "headers of %zu octets", size);
    return CA_OK;
}

/* Of these a second one could only confuse. */
static enum ca_status
check_singletons(const struct http_field *fields, size_t count)
{
    static const char *const names[] = {
        "Content-Length", "Transfer-Encoding", "Host",
        "Content-Type",   "Authorization",     "Cookie",
        "If-Match",       "Idempotency-Key",   "Sec-Fetch-Site",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (head_count(fields, count, names[i]) > 1)
            return ca_fail(CA_MALFORMED, "two headers %s", names[i]);
    }
    return CA_OK;
}

/* Digits alone: no sign, no list, no hexadecimal; white space may follow. */
static enum ca_status
length_parse(const char *text, int64_t *ret_length)
{
    size_t digits = strspn(text, "0123456789");
    const char *rest = text + digits;
    if (digits == 0 || rest[strspn(rest, " \t")] != '\0')
        return ca_fail(CA_MALFORMED, "Content-Length is no number");
    if (digits > LENGTH_DIGITS_MAX)
        return ca_fail(CA_LIMIT, "Content-Length has %zu digits", digits);
    int64_t length = 0;
    for (size_t i = 0; i < digits; i++)
        length = length * 10 + (text[i] - '0');
    *ret_length = length;
    return CA_OK;
}

enum ca_status
head_check(const struct http_field *fields, size_t count, bool is_1_1,
           struct http_framing *ret_framing)
{
    enum ca_status status = check_fields(fields, count);
    if (status == CA_OK)
        status = check_singletons(fields, count);
    if (status != CA_OK)
        return status;
    const char *length = head_find(fields, count, "Content-Length");
    const char *coding = head_find(fields, count, "Transfer-Encoding");
    if (is_1_1 && !head_find(fields, count, "Host"))
        return ca_fail(CA_MALFORMED, "HTTP/1.1 without Host");
    if (coding && (length || !is_1_1))
        return ca_fail(CA_MALFORMED, "Transfer-Encoding %s",
                       length ? "beside Content-Length" : "in HTTP/1.0");
    if (coding && !text_equal_ignoring_case(coding, "chunked"))
        return ca_fail(CA_MALFORMED, "Transfer-Encoding other than chunked");
    struct http_framing framing = { -1, coding != NULL };
    if (length)
        status = length_parse(length, &framing.content_length);
    if (status == CA_OK)
        *ret_framing = framing;
    return status;
}
