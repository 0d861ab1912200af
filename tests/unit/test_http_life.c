/* The web server's life: what it starts with, and how it goes down. */
#include "http_server.h"

TestSuite(http_life, .init = server_prepare, .fini = server_remove, .timeout = 60);

Test(http_life, stale_socket_is_replaced_and_nothing_else)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s", socket_path);
    int stale = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(stale, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(stale, 1), 0);
    cr_expect_eq(http_start(service, &loader, &http), CA_UNAVAILABLE);
    cr_expect_not_null(strstr(status_message(), "another daemon"));
    close(stale);
    server_start();
    http_stop(http);
    http = NULL;
    atomic_store(&service->draining, false);
    int file = open(socket_path, O_CREAT | O_WRONLY, 0600);
    cr_expect_eq(http_start(service, &loader, &http), CA_CONFLICT);
    close(file);
    cr_expect_eq(unlink(socket_path), 0, "a file that is no socket stays");
}

static void *
ask_slowly(void *arg)
{
    (void)arg;
    return ask("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
}

static void *
stop(void *arg)
{
    http_stop(arg);
    return NULL;
}

Test(http_life, stopping_answers_what_is_in_flight_and_refuses_the_rest)
{
    pthread_t asking, stopping;
    void *slow;
    server_start();
    struct client waiting = client_open(plain_port);
    struct client health = client_open(plain_port);
    pthread_create(&asking, NULL, ask_slowly, NULL);
    while (!atomic_load(&is_slow))
        usleep(5000);
    pthread_create(&stopping, NULL, stop, http);
    while (!atomic_load(&service->draining))
        usleep(5000);
    CA_AUTO(free)
    char *refused = ask_with(&waiting, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    cr_expect_eq(answer_code(refused), 503, "%s", refused);
    cr_expect_not_null(strstr(refused, "Retry-After: "));
    cr_expect_not_null(strstr(refused, "Connection: close\r\n"));
    CA_AUTO(free)
    char *alive = ask_with(&health, "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n");
    cr_expect_eq(answer_code(alive), 200, "health is always answered");
    atomic_store(&may_go_on, true);
    pthread_join(asking, &slow);
    pthread_join(stopping, NULL);
    http = NULL;
    cr_expect_eq(answer_code(slow), 200, "%s", (char *)slow);
    free(slow);
    client_close(&waiting);
    client_close(&health);
    cr_expect_neq(access(socket_path, F_OK), 0, "the socket file is gone");
}

Test(http_life, request_that_was_sent_before_the_stop_gets_its_answer)
{
    server_start();
    struct client clients[8];
    for (size_t i = 0; i < COUNT(clients); i++) {
        const char *request = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";
        clients[i] = client_open(plain_port);
        client_send(&clients[i], request, strlen(request));
    }
    http_stop(http);
    http = NULL;
    for (size_t i = 0; i < COUNT(clients); i++) {
        CA_AUTO(free) char *got = client_answer(&clients[i], false);
        int code = answer_code(got);
        cr_expect(code == 200 || code == 503, "%zu: %s", i, got);
        client_close(&clients[i]);
    }
}

Test(http_life, W4_start_names_what_is_wrong)
{
    static char name[] = "localhost", text[] = "10.0.0.0/33";
    char *address_before = listeners[0].bind, *proxies[] = { text };
    listeners[0].bind = name;
    cr_expect_eq(http_start(service, &loader, &http), CA_MALFORMED);
    cr_expect_not_null(strstr(status_message(), "listeners/0/bind"));
    listeners[0].bind = address_before;
    service->config.limits.trusted_proxies = (struct field_list){ proxies, 1 };
    cr_expect_eq(http_start(service, &loader, &http), CA_MALFORMED);
    cr_expect_not_null(strstr(status_message(), "limits/trusted_proxies/0"));
    service->config.limits.trusted_proxies.count = 0;
    service->config.tls_key = NULL;
    cr_expect_eq(http_start(service, &loader, &http), CA_MALFORMED);
    cr_expect_not_null(strstr(status_message(), "tls_key"));
    service->config.tls_key = certificate_path;
    cr_expect_eq(http_start(service, &loader, &http), CA_MALFORMED);
    service->config.tls_key = key_path;
    struct loaded twice[] = { loaded[0], { &plugin, NULL, NULL } };
    struct loader clashing = { twice, 2 };
    cr_expect_eq(http_start(service, &clashing, &http), CA_CONFLICT);
    struct client client = { .socket = socket(AF_INET, SOCK_STREAM, 0) };
    struct sockaddr_in address = { .sin_family = AF_INET };
    address.sin_port = htons((uint16_t)plain_port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cr_assert_eq(bind(client.socket, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(client.socket, 1), 0);
    cr_expect_eq(http_start(service, &loader, &http), CA_UNAVAILABLE);
    cr_expect_not_null(strstr(status_message(), "in use"), "%s", status_message());
    client_close(&client);
    cr_expect_null(http);
}

Test(http_life, nothing_leaks)
{
    server_start();
    cr_expect_eq(code_of("GET /seen HTTP/1.0\r\n\r\n"), 200);
    cr_expect_eq(code_of("POST /echo HTTP/1.0\r\nContent-Length: 2\r\n\r\nab"), 200);
    cr_expect_eq(code_of("GET /fail/6 HTTP/1.0\r\n\r\n"), 409);
    cr_expect_eq(code_of("GET /known HTTP/1.0\r\n\r\n"), 200);
    struct client client = client_open_tls(mutual_port, 0, NULL, NULL);
    CA_AUTO(free)
    char *got = ask_with(&client, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    cr_expect_not_null(got);
    client_close(&client);
    http_stop(http);
    http = NULL;
    LEAK_CHECK();
}
