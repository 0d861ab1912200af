/* The web server over real sockets: heads, paths, bodies, limits. */
#include "http_server.h"
#include <dirent.h>

TestSuite(http, .init = server_prepare, .fini = server_remove, .timeout = 60);

Test(http, handler_answers_get_and_head_without_body)
{
    server_start();
    CA_AUTO(free) char *got = ask("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    cr_expect_eq(answer_code(got), 200);
    cr_expect_str_eq(answer_body(got), "hello");
    cr_expect_not_null(strstr(got, "Content-Length: 5\r\n"));
    cr_expect_not_null(strstr(got, "Content-Type: text/plain\r\n"));
    cr_expect_not_null(strstr(got, "Connection: keep-alive\r\n"));
    cr_expect_not_null(strstr(got, " GMT\r\n"));
    CA_AUTO(free)
    char *head = ask("HEAD /hello HTTP/1.1\r\nHost: x\r\n"
                     "Connection: close\r\n\r\n");
    cr_expect_eq(answer_code(head), 200);
    cr_expect_not_null(strstr(head, "Content-Length: 5\r\n"));
    cr_expect_str_eq(answer_body(head), "");
}

Test(http, HTTP_1_0_without_host_is_answered_and_closed)
{
    server_start();
    struct client client = client_open(plain_port);
    CA_AUTO(free) char *got = ask_with(&client, "GET /hello HTTP/1.0\r\n\r\n");
    cr_expect_eq(answer_code(got), 200);
    cr_expect_not_null(strstr(got, "Connection: close\r\n"));
    char more[8];
    cr_expect_eq(client_receive(&client, more, sizeof more), 0);
    client_close(&client);
}

Test(http, connection_serves_several_requests_and_pipelines)
{
    server_start();
    struct client client = client_open(plain_port);
    for (int i = 0; i < 3; i++) {
        CA_AUTO(free)
        char *got = ask_with(&client, "POST /echo HTTP/1.1\r\nHost: x\r\n"
                                      "Content-Length: 3\r\n\r\nabc");
        cr_expect_str_eq(answer_body(got), "abc");
    }
    CA_AUTO(free)
    char *first = ask_with(&client, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
                                    "GET /seen HTTP/1.1\r\nHost: x\r\n"
                                    "Connection: close\r\n\r\n");
    cr_expect_eq(answer_code(first), 200);
    CA_AUTO(free) char *second = client_answer(&client, false);
    cr_expect(strstr(first, "|/seen|") || strstr(second, "|/seen|"));
    client_close(&client);
}

Test(http, handler_sees_its_request)
{
    server_start();
    CA_AUTO(free)
    char *got = ask("GET //seen/a%20b/c?x=%31&y HTTP/1.1\r\nHost: x\r\n"
                    "Content-Type: text/x\r\nAuthorization: Bearer t\r\n"
                    "X-TEST: one\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n");
    cr_expect_str_eq(answer_body(got), "GET|/seen/a b/c|/a b/c|x=%31&y|text/x|Bearer t|"
                                       "127.0.0.1|plain|remote|none|one|-");
}

Test(http, unanswered_status_is_told_without_its_message)
{
    static const int wanted[CA_STATUS_COUNT] = { 204, 202, 400, 401, 403, 404,
                                                 409, 415, 429, 503, 500 };
    server_start();
    for (int i = 0; i < CA_STATUS_COUNT; i++) {
        char request[96];
        snprintf(request, sizeof request, "GET /fail/%d HTTP/1.1\r\nHost: x\r\n\r\n",
                 i);
        CA_AUTO(free) char *got = ask(request);
        cr_expect_eq(answer_code(got), wanted[i], "%d: %s", i, got);
        cr_expect_null(strstr(got, "secret"));
        bool is_later = wanted[i] == 429 || wanted[i] == 503;
        cr_expect_eq(strstr(got, "Retry-After: ") != NULL, is_later);
        CA_AUTO(json_decref) json_t *line = log_line(i + 1);
        const char *id = member(line, "request");
        cr_expect_eq(strlen(id), 16);
        cr_expect(wanted[i] == 204 || strstr(answer_body(got), id));
        cr_expect_str_eq(member(line, "status"), ca_status_name((enum ca_status)i));
        cr_expect(i == CA_OK || strcmp(member(line, "message"), "secret reason") == 0);
    }
}

Test(http, one_log_line_says_who_asked_what)
{
    server_start();
    cr_expect_eq(code_of("GET /known?password=x HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    http_stop(http);
    http = NULL;
    CA_AUTO(json_decref) json_t *line = log_line(1);
    cr_expect_str_eq(member(line, "plugin"), "test");
    cr_expect_str_eq(member(line, "operation"), "PKCSReq");
    cr_expect_str_eq(member(line, "actor"), "user:alice");
    cr_expect_str_eq(member(line, "peer"), "127.0.0.1");
    cr_expect_str_eq(member(line, "method"), "GET");
    cr_expect_str_eq(member(line, "path"), "/known", "the query may hold secrets");
    cr_expect_eq(json_integer_value(json_object_get(line, "http")), 200);
    cr_expect(json_is_integer(json_object_get(line, "ms")));
}

Test(http, A1_every_path_and_method_but_the_routes_is_refused)
{
    static const struct {
        const char *line;
        int code;
        const char *allow;
    } cases[] = {
        { "GET /", 404, NULL },
        { "GET /hello/", 404, NULL },
        { "GET /Hello", 404, NULL },
        { "GET /seeing", 404, NULL },
        { "GET /seen/", 200, NULL },
        { "GET /seen//x", 200, NULL },
        { "POST /hello", 405, "Allow: GET, HEAD\r\n" },
        { "PUT /hello", 405, "Allow: GET, HEAD\r\n" },
        { "DELETE /echo", 405, "Allow: POST\r\n" },
        { "HEAD /echo", 405, "Allow: POST\r\n" },
        { "OPTIONS /hello", 405, "Allow: GET, HEAD\r\n" },
        { "TRACE /hello", 400, NULL },
        { "CONNECT /hello", 405, "Allow: GET, HEAD\r\n" },
        { "BREW /hello", 400, NULL },
        { "get /hello", 400, NULL },
        { "GET /api/v1/users", 404, NULL },
        { "DELETE /api/v1/users", 404, NULL },
        { "GET /secret", 403, NULL },
    };
    server_start();
    for (size_t i = 0; i < COUNT(cases); i++) {
        char request[128];
        snprintf(request, sizeof request,
                 "%s HTTP/1.1\r\nHost: x\r\nOrigin: http://y\r\n"
                 "Access-Control-Request-Method: GET\r\nConnection: close\r\n\r\n",
                 cases[i].line);
        CA_AUTO(free) char *got = ask(request);
        cr_expect_eq(answer_code(got), cases[i].code, "%s: %s", cases[i].line, got);
        cr_expect(!cases[i].allow || strstr(got, cases[i].allow), "%s: %s",
                  cases[i].line, got);
        cr_expect_null(strstr(got, "Access-Control"), "%s", cases[i].line);
    }
}

Test(http, W2_path_is_decoded_once)
{
    static const struct {
        const char *path;
        int code;
    } cases[] = {
        { "/seen/%2e%2e/x", 400 },   { "/seen/../x", 400 },  { "/seen/./x", 400 },
        { "/seen/..", 400 },         { "/seen/%00", 400 },   { "/hello%00", 400 },
        { "/seen/%0d%0a", 400 },     { "/seen/%", 400 },     { "/seen/%4", 400 },
        { "/seen/%zz", 400 },        { "/hello%2500", 404 }, { "/%68ello", 200 },
        { "//hello", 200 },          { "/seen/a%2fb", 200 }, { "/seen%2fa", 200 },
        { "/seen/%252e%252e", 200 }, { "/seen/..x", 200 },   { "/../hello", 400 },
        { "http://h/hello", 0 },
    };
    server_start();
    for (size_t i = 0; i < COUNT(cases); i++) {
        char request[128];
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n",
                 cases[i].path);
        int code = code_of(request);
        cr_expect_eq(code, cases[i].code, "%s: %d", cases[i].path, code);
    }
    char absolute[128];
    snprintf(absolute, sizeof absolute,
             "GET http://any.example:%d/hello HTTP/1.1\r\nHost: x\r\n\r\n", plain_port);
    cr_expect_eq(code_of(absolute), 200);
}

Test(http, W2_smuggled_requests_are_refused)
{
    static const struct {
        const char *name, *head;
    } cases[] = {
        { "length and chunks", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" },
        { "chunks and length", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n" },
        { "two lengths", "Content-Length: 5\r\nContent-Length: 5\r\n" },
        { "two lengths, cases", "content-length: 5\r\nContent-Length: 6\r\n" },
        { "list of lengths", "Content-Length: 5, 5\r\n" },
        { "signed length", "Content-Length: +5\r\n" },
        { "negative length", "Content-Length: -5\r\n" },
        { "hexadecimal length", "Content-Length: 0x5\r\n" },
        { "length with a tail", "Content-Length: 5x\r\n" },
        { "empty length", "Content-Length:\r\n" },
        { "endless length", "Content-Length: 99999999999999999999\r\n" },
        { "other coding", "Transfer-Encoding: gzip, chunked\r\n" },
        { "identity", "Transfer-Encoding: identity\r\nContent-Length: 5\r\n" },
        { "chunked twice", "Transfer-Encoding: chunked, chunked\r\n" },
        { "two codings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n" },
        { "space before the colon", "Content-Length : 5\r\n" },
        { "tab before the colon", "Content-Length\t: 5\r\n" },
        { "folded line", "X: a\r\n Content-Length: 5\r\n" },
        { "folded first line", " Content-Length: 5\r\n" },
        { "line without a name", ": x\r\nContent-Length: 5\r\n" },
        { "line without a colon", "Content-Length 5\r\n" },
        { "lone line feed", "X: a\nContent-Length: 5\r\n" },
        { "lone carriage return", "X: a\rContent-Length: 5\r\n" },
        { "name that is no token", "Content(Length: 5\r\n" },
        { "two hosts", "Host: a\r\n" },
        { "two credentials", "Authorization: a\r\nAuthorization: b\r\n" },
    };
    server_start();
    for (size_t i = 0; i < COUNT(cases); i++) {
        char request[512];
        snprintf(request, sizeof request,
                 "POST /echo HTTP/1.1\r\n%s%s\r\nabcdeGET /hello HTTP/1.1\r\n"
                 "Host: x\r\n\r\n",
                 cases[i].head[0] == ' ' || cases[i].head[0] == ':' ? ""
                                                                    : "Host: x\r\n",
                 cases[i].head);
        struct client client = client_open(plain_port);
        client_send(&client, request, strlen(request));
        char answers[4096] = "";
        size_t size = 0, got;
        while ((got = client_receive(&client, answers + size, 4095 - size)) > 0)
            size += got;
        int code = answer_code(answers);
        cr_expect(code == 400 || code == 431, "%s: %s", cases[i].name, answers);
        cr_expect(!strstr(answers + 9, "HTTP/1.1 "), "%s: %s", cases[i].name, answers);
        client_close(&client);
    }
    cr_expect_eq(code_of("POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"
                         "0\r\n\r\n"),
                 400);
    cr_expect_eq(code_of("GET /hello HTTP/1.1\r\n\r\n"), 400, "HTTP/1.1 wants a Host");
    cr_expect_eq(code_of("GET /hello HTTP/1.1\nHost: x\n\n"), 400, "bare line feeds");
    cr_expect_eq(code_of("GET /hello HTTP/2.0\r\nHost: x\r\n\r\n"), 505);
    cr_expect_eq(atomic_load(&handled), 0);
}

Test(http, R8_uri_and_heads_are_bounded)
{
    static char request[80000];
    static const struct {
        size_t uri;
        int code;
    } cases[] = { { 16000, 200 }, { 16384, 200 }, { 16385, 414 },
                  { 30000, 414 }, { 38000, 414 }, { 60000, 400 } };
    server_start();
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t used = (size_t)sprintf(request, "GET /seen?");
        memset(request + used, 'a', cases[i].uri - 5);
        sprintf(request + used + cases[i].uri - 5, " HTTP/1.1\r\nHost: x\r\n\r\n");
        int code = code_of(request);
        cr_expect_eq(code, cases[i].code, "%zu: %d", cases[i].uri, code);
    }
    for (int count = 62; count < 70; count++) {
        int used = sprintf(request, "GET /hello HTTP/1.1\r\nHost: x\r\n");
        for (int i = 1; i < count; i++)
            used += sprintf(request + used, "X-%d: y\r\n", i);
        sprintf(request + used, "\r\n");
        int code = code_of(request);
        cr_expect_eq(code, count <= 64 ? 200 : 431, "%d headers: %d", count, code);
    }
    int used = sprintf(request, "GET /hello HTTP/1.1\r\nHost: x\r\nX: ");
    memset(request + used, 'a', 17000);
    sprintf(request + used + 17000, "\r\n\r\n");
    cr_expect_eq(code_of(request), 431);
}

Test(http, R8_bodies_are_bounded)
{
    static char request[BODY_MAX + 4096];
    server_start();
    for (size_t size = BODY_MAX - 1; size <= BODY_MAX + 1; size++) {
        int used = sprintf(
            request, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
            size);
        memset(request + used, 'b', size);
        CA_AUTO(free) char *got = ask_octets(request, (size_t)used + size);
        cr_expect_eq(answer_code(got), size <= BODY_MAX ? 200 : 413);
        cr_expect(size > BODY_MAX || strlen(answer_body(got)) == size);
    }
    cr_expect_eq(
        code_of("GET /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na"), 413,
        "a route without a body takes none");
    int used = sprintf(request,
                       "POST /echo HTTP/1.1\r\nHost: x\r\n"
                       "Transfer-Encoding: chunked\r\n\r\n%x\r\n",
                       BODY_MAX + 2);
    memset(request + used, 'b', BODY_MAX + 2);
    CA_AUTO(free) char *got = ask_octets(request, (size_t)used + BODY_MAX + 2);
    cr_expect_eq(answer_code(got), 413);
}

Test(http, a_route_may_refuse_a_large_body_in_its_own_words)
{
    static char request[BODY_MAX + 4096];
    server_start();
    for (size_t size = BODY_MAX; size <= BODY_MAX + 1000; size += 1000) {
        int used = sprintf(
            request, "POST /own HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
            size);
        memset(request + used, 'b', size);
        CA_AUTO(free) char *got = ask_octets(request, (size_t)used + size);
        cr_expect_eq(answer_code(got), size <= BODY_MAX ? 200 : 413);
        cr_expect_str_eq(answer_body(got), "own words");
        cr_expect(size <= BODY_MAX || strstr(got, "Connection: close"));
    }
}

Test(http, chunked_bodies)
{
    static const struct {
        const char *name, *body, *echo;
        int code;
    } cases[] = {
        { "two chunks", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde", 200 },
        { "empty", "0\r\n\r\n", "", 200 },
        { "no number", "x\r\nabc\r\n0\r\n\r\n", NULL, 400 },
        { "negative", "-3\r\nabc\r\n0\r\n\r\n", NULL, 400 },
        { "longer than said", "2\r\nabc\r\n0\r\n\r\n", NULL, 400 },
        { "huge", "ffffffffffffffff\r\nabc", NULL, 400 },
        { "huge and positive", "7fffffffffffffff\r\nabc", NULL, 408 },
        { "breaks off", "5\r\nab", NULL, 408 },
    };
    server_start();
    for (size_t i = 0; i < COUNT(cases); i++) {
        char request[256];
        snprintf(
            request, sizeof request,
            "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%s",
            cases[i].body);
        CA_AUTO(free) char *got = ask(request);
        cr_expect_eq(answer_code(got), cases[i].code, "%s: %s", cases[i].name, got);
        if (cases[i].echo)
            cr_expect_str_eq(answer_body(got), cases[i].echo, "%s", cases[i].name);
    }
}

Test(http, expectation_is_met_before_the_body_and_only_for_one_that_fits)
{
    server_start();
    struct client client = client_open(plain_port);
    const char *head = "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                       "Content-Length: 3\r\n\r\n";
    client_send(&client, head, strlen(head));
    char first[64] = "";
    client_receive(&client, first, sizeof first - 1);
    cr_expect_str_eq(first, "HTTP/1.1 100 Continue\r\n\r\n");
    CA_AUTO(free) char *got = ask_with(&client, "abc");
    cr_expect_str_eq(answer_body(got), "abc");
    client_close(&client);
    cr_expect_eq(code_of("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                         "Content-Length: 300000\r\n\r\n"),
                 413);
}

/* Octets one by one, with a pause after each; milliseconds until the peer closed. */
static int64_t
trickle(struct client *client, const char *text, int octets, int pause_ms,
        int *ret_code)
{
    int64_t begin = clock_ticks();
    char answer[512] = "";
    client_send(client, text, strlen(text));
    for (int i = 0; i < octets; i++) {
        struct pollfd polled = { client->socket, POLLIN, 0 };
        if (poll(&polled, 1, pause_ms) > 0)
            break;
        client_send(client, "a", 1);
    }
    client_receive(client, answer, sizeof answer - 1);
    *ret_code = answer_code(answer);
    return clock_ticks() - begin;
}

Test(http, R8_slow_clients_time_out)
{
    int code;
    server_start();
    struct client slow = client_open(plain_port);
    int64_t took = trickle(
        &slow, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n", 100,
        100, &code);
    cr_expect(code == 408 && took < 3000, "body: %d after %lld ms", code,
              (long long)took);
    client_close(&slow);
    slow = client_open(plain_port);
    took = trickle(&slow, "GET /hello HTTP/1.1\r\nX: ", 100, 100, &code);
    cr_expect(took < 3500, "head: %lld ms", (long long)took);
    client_close(&slow);
    slow = client_open(tls_port);
    took = trickle(&slow, "\x16\x03\x01\x02", 100, 100, &code);
    cr_expect(took < 4500, "handshake: %lld ms", (long long)took);
    client_close(&slow);
}

Test(http, large_answer_arrives_whole)
{
    server_start();
    CA_AUTO(free) char *whole = ask("GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
    cr_expect_eq(strlen(answer_body(whole)), BIG_SIZE);
    cr_expect_not_null(strstr(whole, "X-Big: yes\r\n"));
}

Test(http, R8_reader_that_takes_nothing_does_not_hold_its_worker)
{
    const char *request = "GET /big HTTP/1.1\r\nHost: x\r\n\r\n";
    int small = 4096;
    service->config.limits.request_ms = 1000;
    server_start();
    struct client client = client_open(plain_port);
    setsockopt(client.socket, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    for (int i = 0; i < 20; i++) /* more than any socket buffer takes */
        client_send(&client, request, strlen(request));
    usleep(1500000);
    int64_t begin = clock_ticks();
    http_stop(http); /* waits for requests in flight */
    http = NULL;
    cr_expect(clock_ticks() - begin < 1500, "%lld ms",
              (long long)(clock_ticks() - begin));
    client_close(&client);
}

Test(http, A7_connections_of_one_source_are_capped)
{
    CA_AUTO(text_buffer_clear) struct text_buffer figures = { 0 };
    service->metrics = metrics_new();
    server_start();
    struct client silent[24];
    for (size_t i = 0; i < COUNT(silent); i++) {
        silent[i] = client_open(i % 2 ? tls_port : plain_port);
        client_send(&silent[i], i % 2 ? "\x16" : "G", 1);
    }
    usleep(100000);
    size_t closed = 0;
    for (size_t i = 0; i < COUNT(silent); i++) {
        struct pollfd polled = { silent[i].socket, POLLIN, 0 };
        closed += poll(&polled, 1, 0) > 0;
    }
    cr_expect_eq(closed, COUNT(silent) - 16);
    /* The unix socket is for the operator: never starved by others. */
    struct client operator= client_open_path(socket_path);
    CA_AUTO(free)
    char *got = ask_with(&operator, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    cr_expect_eq(answer_code(got), 200);
    client_close(&operator);
    for (size_t i = 0; i < COUNT(silent); i++)
        client_close(&silent[i]);
    usleep(200000);
    for (int i = 0; i < 40; i++)
        cr_expect_eq(code_of("GET /hello HTTP/1.0\r\n\r\n"), 200,
                     "%d: places come back", i);
    http_stop(http);
    http = NULL;
    metrics_format(service->metrics, &figures);
    cr_expect_not_null(
        strstr(figures.data,
               "sealwright_connections_refused_total{kind=\"source\"} 8\n"),
        "%s", figures.data);
    metrics_free(service->metrics);
    service->metrics = NULL;
}

static size_t
count_descriptors(void)
{
    size_t count = 0;
    DIR *descriptors = opendir("/proc/self/fd");
    cr_assert_not_null(descriptors);
    while (readdir(descriptors))
        count++;
    closedir(descriptors);
    return count;
}

/* The kernel keeps it for a second; on a machine that stood still for so long, once
 * more. */
Test(http, A7_a_connection_takes_no_thread_before_it_speaks)
{
    bool is_held = false;
    service->config.limits.header_ms = service->config.limits.idle_ms = 60000;
    server_start();
    for (int tries = 0; tries < 5 && !is_held; tries++) {
        size_t before = count_descriptors();
        struct client silent = client_open(tries % 2 ? tls_port : plain_port);
        usleep(100000);
        is_held = count_descriptors() == before + 1; /* the client's end */
        client_close(&silent);
    }
    cr_expect(is_held);
    struct client late = client_open(plain_port);
    usleep(3500000);
    CA_AUTO(free) char *got = ask_with(&late, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    cr_expect_eq(answer_code(got), 200, "who speaks late is heard");
    client_close(&late);
}

Test(http, A7_requests_of_one_source_are_counted_until_it_proves_who_it_is)
{
    service->config.limits.requests_per_second = 1;
    service->config.limits.burst = 5;
    server_start();
    for (int i = 0; i < 10; i++)
        cr_expect_eq(code_of("GET /known HTTP/1.0\r\n\r\n"), 200, "proved: %d", i);
    int forbidden = 0;
    while (forbidden < 10 && code_of("GET /refused HTTP/1.0\r\n\r\n") == 403)
        forbidden++;
    cr_expect(forbidden >= 4 && forbidden <= 6, "what is refused counts: %d",
              forbidden);
    usleep(5100 * 1000);
    int refused = 0;
    for (int i = 0; i < 10; i++) {
        CA_AUTO(free) char *got = ask("GET /nowhere HTTP/1.0\r\n\r\n");
        refused += answer_code(got) == 429 && strstr(got, "Retry-After: ");
    }
    cr_expect(refused >= 4 && refused <= 5, "%d", refused);
    cr_expect_eq(code_of("GET /health/live HTTP/1.0\r\n\r\n"), 200);
    struct client operator= client_open_path(socket_path);
    CA_AUTO(free)
    char *got = ask_with(&operator, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    cr_expect_eq(answer_code(got), 200);
    client_close(&operator);
}

Test(http, unix_socket_is_the_owners_and_serves_the_api)
{
    server_start();
    struct stat status;
    cr_assert_eq(stat(socket_path, &status), 0);
    cr_expect_eq(status.st_mode & 07777, 0600, "%o", status.st_mode);
    struct client client = client_open_path(socket_path);
    CA_AUTO(free)
    char *api = ask_with(&client, "GET /api/v1/users HTTP/1.1\r\n"
                                  "Host: x\r\n\r\n");
    cr_expect_eq(answer_code(api), 200, "%s", api);
    CA_AUTO(free)
    char *seen = ask_with(&client, "GET /seen HTTP/1.1\r\nHost: x\r\n\r\n");
    cr_expect_str_eq(answer_body(seen), "GET|/seen||||"
                                        "|local|secure|local|none|-|-");
    client_close(&client);
}
