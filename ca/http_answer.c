/* Answers: one buffer with our own Content-Length and Connection, for one write. */
#include "http_answer.h"
#include "auto.h"
#include "clock.h"
#include "problem.h"
#include "text.h"
#include <string.h>
#include <time.h>

#define HEAD_SIZE 256 /* status line, Date, Content-Length, Connection */

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    { 200, "OK" },
    { 201, "Created" },
    { 202, "Accepted" },
    { 204, "No Content" },
    { 301, "Moved Permanently" },
    { 302, "Found" },
    { 303, "See Other" },
    { 304, "Not Modified" },
    { 307, "Temporary Redirect" },
    { 308, "Permanent Redirect" },
    { 400, "Bad Request" },
    { 401, "Unauthorized" },
    { 403, "Forbidden" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 406, "Not Acceptable" },
    { 408, "Request Timeout" },
    { 409, "Conflict" },
    { 412, "Precondition Failed" },
    { 413, "Content Too Large" },
    { 414, "URI Too Long" },
    { 415, "Unsupported Media Type" },
    { 422, "Unprocessable Content" },
    { 428, "Precondition Required" },
    { 429, "Too Many Requests" },
    { 431, "Request Header Fields Too Large" },
    { 500, "Internal Server Error" },
    { 501, "Not Implemented" },
    { 503, "Service Unavailable" },
    { 505, "HTTP Version Not Supported" },
};

static const char *
reason_of(int status)
{
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (reasons[i].status == status)
            return reasons[i].reason;
    }
    return "Status";
}

int
answer_status(enum ca_status status)
{
    static const int statuses[CA_STATUS_COUNT] = {
        [CA_OK] = 204,          [CA_PENDING] = 202,         [CA_MALFORMED] = 400,
        [CA_FORBIDDEN] = 403,   [CA_UNAUTHENTICATED] = 401, [CA_NOT_FOUND] = 404,
        [CA_CONFLICT] = 409,    [CA_UNSUPPORTED] = 415,     [CA_LIMIT] = 429,
        [CA_UNAVAILABLE] = 503, [CA_INTERNAL] = 500,
    };
    return (unsigned)status < CA_STATUS_COUNT ? statuses[status] : 500;
}

static bool
has_header(const struct exchange *exchange, const char *name)
{
    for (size_t i = 0; i < exchange->answer.header_count; i++) {
        if (text_equal_ignoring_case(exchange->answer.headers[i].name, name))
            return true;
    }
    return false;
}

/* The admin API's clients read problems (RFC 9457); its own are in api/. */
static bool
is_of_api(const struct ca_request *req)
{
    return strncmp(req->path, "/api/", strlen("/api/")) == 0;
}

void
answer_refuse(struct exchange *exchange, int http_status, const char *text)
{
    struct ca_request *req = &exchange->request;
    const char *reason = text ? text : reason_of(http_status);
    const char *type = "text/plain; charset=utf-8";
    char body[384] = "";
    int size = 0;
    if (http_status == 204) {
        type = NULL;
    } else if (is_of_api(req)) {
        const struct problem *problem = problem_find(http_status);
        type = "application/problem+json";
        size = snprintf(body, sizeof body,
                        "{\"type\":\"" PROBLEM_TYPE "%s\",\"title\":\"%s\","
                        "\"status\":%d,\"detail\":\"%s\",\"instance\":\"%s\"}",
                        problem->word, problem->title, http_status, reason, req->id);
    } else {
        size = snprintf(body, sizeof body, "%s\nRequest %s\n", reason, req->id);
    }
    ca_respond(req, http_status, type, body, (size_t)size);
    bool is_later = http_status == 429 || http_status == 503;
    if (is_later && !has_header(exchange, "Retry-After"))
        ca_respond_header(req, "Retry-After", HTTP_RETRY_SECONDS);
    if (http_status == 401 && !has_header(exchange, "WWW-Authenticate"))
        ca_respond_header(req, "WWW-Authenticate", "Bearer");
    if (http_status >= 400 && !has_header(exchange, "Cache-Control"))
        ca_respond_header(req, "Cache-Control", "no-store");
}

/* RFC 9110 section 5.6.7, formatted once a second and thread. */
static const char *
date_text(void)
{
    static _Thread_local int64_t second = -1;
    static _Thread_local char text[32];
    int64_t now = clock_now();
    if (now != second) {
        static const char days[] = "SunMonTueWedThuFriSat";
        static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
        time_t when = (time_t)now;
        struct tm tm;
        gmtime_r(&when, &tm);
        snprintf(text, sizeof text, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT",
                 days + 3 * tm.tm_wday, (unsigned)tm.tm_mday % 100,
                 months + 3 * tm.tm_mon, (unsigned)(tm.tm_year + 1900) % 10000,
                 (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100,
                 (unsigned)tm.tm_sec % 100);
        second = now;
    }
    return text;
}

/* "Name: value", and the end of the line. */
static char *
line_append(char *at, const char *name, const char *value)
{
    at = stpcpy(stpcpy(at, name), ": ");
    return stpcpy(stpcpy(at, value), "\r\n");
}

static size_t
head_room(const struct exchange *exchange)
{
    size_t room = HEAD_SIZE;
    if (exchange->answer.content_type)
        room += strlen("Content-Type") + strlen(exchange->answer.content_type) + 4;
    for (size_t i = 0; i < exchange->answer.header_count; i++)
        room += strlen(exchange->answer.headers[i].name) +
                strlen(exchange->answer.headers[i].value) + 4;
    return room;
}

bool
answer_format(const struct exchange *exchange, bool is_head, bool keep_alive,
              struct answer_octets *ret_octets)
{
    int status = exchange->answer.status;
    bool is_bare = status == 204 || status == 304; /* RFC 9110 section 6.4.1 */
    size_t body = is_head || is_bare ? 0 : exchange->answer.size;
    size_t room = head_room(exchange);
    char *data = body < SIZE_MAX - room ? malloc(room + body) : NULL;
    if (!data)
        return false;
    int used = snprintf(
        data, HEAD_SIZE, "HTTP/1.1 %d %s\r\nDate: %s\r\nConnection: %s\r\n", status,
        reason_of(status), date_text(), keep_alive ? "keep-alive" : "close");
    char *at = data + used;
    if (!is_bare)
        at += sprintf(at, "Content-Length: %zu\r\n", exchange->answer.size);
    if (exchange->answer.content_type)
        at = line_append(at, "Content-Type", exchange->answer.content_type);
    for (size_t i = 0; i < exchange->answer.header_count; i++)
        at = line_append(at, exchange->answer.headers[i].name,
                         exchange->answer.headers[i].value);
    at = stpcpy(at, "\r\n");
    if (body > 0)
        memcpy(at, exchange->answer.body, body);
    *ret_octets = (struct answer_octets){ data, (size_t)(at - data) + body };
    return true;
}

void
answer_clear(struct answer_octets *octets)
{
    if (octets->data)
        OPENSSL_cleanse(octets->data, octets->size);
    free(octets->data);
    *octets = (struct answer_octets){ 0 };
}
