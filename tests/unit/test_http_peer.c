/* Who the web server's peer is: TLS, client certificates, trusted proxies. */
#include "http_server.h"

TestSuite(http_peer, .init = server_prepare, .fini = server_remove, .timeout = 60);

Test(http_peer, tls_versions_are_those_of_the_listener)
{
    static const struct {
        bool is_mutual;
        int version;
        const char *spoken;
    } cases[] = {
        { false, 0, "TLSv1.2" },
        { false, TLS1_2_VERSION, "TLSv1.2" },
        { false, TLS1_3_VERSION, NULL },
        { false, TLS1_1_VERSION, NULL },
        { true, 0, "TLSv1.3" },
        { true, TLS1_2_VERSION, "TLSv1.2" },
        { true, TLS1_3_VERSION, "TLSv1.3" },
        { true, TLS1_VERSION, NULL },
    };
    server_start();
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct client client = client_open_tls(
            cases[i].is_mutual ? mutual_port : tls_port, cases[i].version, NULL, NULL);
        cr_expect_eq(client.ssl != NULL, cases[i].spoken != NULL, "case %zu", i);
        if (client.ssl) {
            cr_expect_str_eq(SSL_get_version(client.ssl), cases[i].spoken, "case %zu",
                             i);
            CA_AUTO(free)
            char *got = ask_with(&client, "GET /secret HTTP/1.1\r\nHost: x\r\n\r\n");
            cr_expect_eq(answer_code(got), 200);
            cr_expect(!SSL_SESSION_is_resumable(SSL_get_session(client.ssl)));
        }
        client_close(&client);
    }
}

/* A request in two records, as they go over the wire: its head, and its body. */
static size_t
records_make(struct client *client, uint8_t *ret_octets, size_t room)
{
    static const char head[] = "POST /echo HTTP/1.1\r\nHost: x\r\n"
                               "Content-Length: 3\r\n\r\n";
    BIO *wire = BIO_new(BIO_s_mem());
    SSL_set0_wbio(client->ssl, wire);
    cr_assert_eq(SSL_write(client->ssl, head, sizeof head - 1), sizeof head - 1);
    cr_assert_eq(SSL_write(client->ssl, "abc", 3), 3);
    int size = BIO_read(wire, ret_octets, (int)room);
    cr_assert(size > 0 && (size_t)size < room);
    SSL_set0_wbio(client->ssl, BIO_new_socket(client->socket, BIO_NOCLOSE));
    return (size_t)size;
}

static void
octets_send(struct client *client, const uint8_t *octets, size_t size)
{
    cr_assert_eq(send(client->socket, octets, size, MSG_NOSIGNAL), (ssize_t)size);
}

Test(http_peer, records_are_one_request_however_they_are_cut)
{
    static const struct {
        const char *name;
        int from_end; /* where the second piece begins; 0: all at once */
    } cases[] = {
        { "at once", 0 },
        { "in the body's record", 7 },
        { "in its head", 22 },
        { "in the head's record", 60 },
    };
    uint8_t octets[1024];
    server_start();
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct client client = client_open_tls(mutual_port, version, NULL, NULL);
        for (size_t i = 0; i < COUNT(cases); i++) {
            size_t size = records_make(&client, octets, sizeof octets);
            size_t first = size - (size_t)cases[i].from_end;
            octets_send(&client, octets, first);
            if (first < size) {
                usleep(20000);
                octets_send(&client, octets + first, size - first);
            }
            CA_AUTO(free) char *got = client_answer(&client, false);
            cr_expect_str_eq(answer_body(got), "abc", "%s: %s", cases[i].name, got);
        }
        client_close(&client);
    }
}

Test(http_peer, R8_half_a_record_is_not_waited_for_without_end)
{
    uint8_t octets[1024];
    server_start();
    struct client client = client_open_tls(mutual_port, 0, NULL, NULL);
    size_t size = records_make(&client, octets, sizeof octets);
    octets_send(&client, octets, size - 7);
    CA_AUTO(free) char *got = client_answer(&client, false);
    cr_expect_eq(answer_code(got), 408, "%s", got);
    client_close(&client);
}

Test(http_peer, api_is_served_over_tls_where_the_listener_says_so)
{
    server_start();
    struct client yes = client_open_tls(mutual_port, 0, NULL, NULL);
    struct client no = client_open_tls(tls_port, 0, NULL, NULL);
    const char *request = "GET /api/v1/users HTTP/1.1\r\nHost: x\r\n\r\n";
    CA_AUTO(free)
    char *taken = ask_with(&yes, request), *refused = ask_with(&no, request);
    cr_expect_eq(answer_code(taken), 200);
    cr_expect_eq(answer_code(refused), 404);
    client_close(&yes);
    client_close(&no);
}

Test(http_peer, client_certificate_that_is_not_ours_gets_an_answer_and_no_identity)
{
    static const struct {
        const char *name;
        long until;
        const char *seen;
        int code;
    } cases[] = {
        { "ours", 3600, "|certificate|", 200 },
        { "other", 3600, "|none|", 200 },
        { "expired", -30, "|none|", 200 },
        { "away", 3600, NULL, 503 },
    };
    server_start();
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
            CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_EC_gen("P-256");
            CA_AUTO(X509_free)
            X509 *certificate = self_signed(cases[i].name, key, -60, cases[i].until);
            struct client client =
                client_open_tls(mutual_port, version, certificate, key);
            CA_AUTO(free)
            char *got = ask_with(&client, "GET /seen HTTP/1.1\r\nHost: x\r\n\r\n");
            cr_expect_eq(answer_code(got), cases[i].code, "%s: %s", cases[i].name, got);
            cr_expect(!cases[i].seen || strstr(got, cases[i].seen), "%s: %s",
                      cases[i].name, got);
            CA_AUTO(free)
            char *health =
                ask_with(&client, "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n");
            cr_expect_eq(answer_code(health), 200, "%s", cases[i].name);
            client_close(&client);
        }
    }
}

Test(http_peer, listener_without_client_certificates_asks_for_none)
{
    server_start();
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_EC_gen("P-256");
    CA_AUTO(X509_free) X509 *certificate = self_signed("ours", key, -60, 3600);
    struct client client = client_open_tls(tls_port, 0, certificate, key);
    CA_AUTO(free)
    char *got = ask_with(&client, "GET /seen HTTP/1.1\r\nHost: x\r\n\r\n");
    cr_expect_not_null(strstr(got, "|secure|remote|none|"), "%s", got);
    client_close(&client);
}

/* "Client-Cert: :BASE64:" or percent-encoded PEM. */
static char *
certificate_header(X509 *certificate, bool is_pem)
{
    CA_AUTO(text_buffer_clear) struct text_buffer text = { 0 };
    if (is_pem) {
        CA_AUTO(BIO_free_all) BIO *bio = BIO_new(BIO_s_mem());
        PEM_write_bio_X509(bio, certificate);
        char *pem;
        long size = BIO_get_mem_data(bio, &pem);
        for (long i = 0; i < size; i++)
            text_print(&text, pem[i] == '\n' || pem[i] == ' ' ? "%%%02X" : "%c",
                       pem[i]);
    } else {
        uint8_t *der = NULL;
        int size = i2d_X509(certificate, &der);
        CA_AUTO(free) char *base64 = base64_format(der, (size_t)size);
        text_print(&text, ":%s:", base64);
        OPENSSL_free(der);
    }
    return CA_STEAL(text.data);
}

static char *
ask_through(const char *headers)
{
    CA_AUTO(text_buffer_clear) struct text_buffer request = { 0 };
    text_print(&request, "GET /seen HTTP/1.1\r\nHost: x\r\n%s\r\n", headers);
    return ask(request.data);
}

Test(http_peer, W2_forwarded_headers_count_only_from_configured_proxies)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_EC_gen("P-256");
    CA_AUTO(X509_free) X509 *ours = self_signed("ours", key, -60, 3600);
    static char trusted[] = "127.0.0.0/8", other[] = "10.0.0.0/8";
    char *proxies[] = { other };
    service->config.limits.trusted_proxies = (struct field_list){ proxies, 1 };
    for (int is_trusted = 0; is_trusted < 2; is_trusted++) {
        proxies[0] = is_trusted ? trusted : other;
        server_start();
        for (int is_pem = 0; is_pem < 2; is_pem++) {
            CA_AUTO(free) char *value = certificate_header(ours, is_pem);
            CA_AUTO(text_buffer_clear) struct text_buffer headers = { 0 };
            text_print(&headers,
                       "X-Forwarded-For: 198.51.100.9, 192.0.2.7\r\n"
                       "X-Forwarded-Proto: https\r\nClient-Cert: %s\r\n",
                       value);
            CA_AUTO(free) char *got = ask_through(headers.data);
            cr_expect(strstr(got, is_trusted
                                      ? "|192.0.2.7|secure|remote|certificate|-|-"
                                      : "|127.0.0.1|plain|remote|none|-|-"),
                      "%d: %s", is_trusted, got);
        }
        http_stop(http);
        http = NULL;
        atomic_store(&service->draining, false);
    }
}

Test(http_peer, W2_proxy_that_is_not_understood_is_refused)
{
    static const struct {
        const char *headers;
        int code;
        const char *seen;
    } cases[] = {
        { "", 200, "|127.0.0.1|plain|" },
        { "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\n", 200,
          "|192.0.2.2|" },
        { "X-Forwarded-For: 192.0.2.1, 127.0.0.5\r\n", 200, "|192.0.2.1|" },
        { "X-Forwarded-For: 2001:db8::1\r\n", 200, "|2001:db8::1|" },
        { "X-Forwarded-For: [2001:db8::1]:99\r\n", 200, "|2001:db8::1|" },
        { "X-Forwarded-For: 192.0.2.1:99\r\n", 200, "|192.0.2.1|" },
        { "X-Forwarded-For: evil, 192.0.2.1\r\n", 200, "|192.0.2.1|" },
        { "X-Forwarded-For: 192.0.2.1, evil\r\n", 400, NULL },
        { "X-Forwarded-For: \r\n", 400, NULL },
        { "X-Forwarded-For: 192.0.2.1,\r\n", 400, NULL },
        { "X-Forwarded-Proto: http\r\n", 200, "|plain|" },
        { "X-Forwarded-Proto: https\r\n", 200, "|secure|" },
        { "X-Forwarded-Proto: https, http\r\n", 400, NULL },
        { "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n", 400, NULL },
        { "Client-Cert: ::\r\n", 200, "|none|" },
        { "Client-Cert: :AAAA:\r\n", 400, NULL },
        { "Client-Cert: nonsense\r\n", 400, NULL },
        { "Client-Cert: %\r\n", 400, NULL },
        { "Client-Cert: ::\r\nClient-Cert: ::\r\n", 400, NULL },
    };
    static char trusted[] = "127.0.0.1/8";
    char *proxies[] = { trusted };
    service->config.limits.trusted_proxies = (struct field_list){ proxies, 1 };
    server_start();
    for (size_t i = 0; i < COUNT(cases); i++) {
        CA_AUTO(free) char *got = ask_through(cases[i].headers);
        cr_expect_eq(answer_code(got), cases[i].code, "%s: %s", cases[i].headers, got);
        cr_expect(!cases[i].seen || strstr(got, cases[i].seen), "%s: %s",
                  cases[i].headers, got);
    }
}

Test(http_peer, trusted_proxy_is_exempt_from_the_cap_and_its_clients_are_counted_apart)
{
    static char trusted[] = "127.0.0.1";
    char *proxies[] = { trusted };
    service->config.limits.trusted_proxies = (struct field_list){ proxies, 1 };
    service->config.limits.connections_per_source = 2;
    service->config.limits.requests_per_second = 1;
    service->config.limits.burst = 2;
    server_start();
    struct client held[8];
    for (size_t i = 0; i < COUNT(held); i++)
        held[i] = client_open(plain_port);
    for (int client = 1; client <= 6; client++) {
        char headers[64];
        snprintf(headers, sizeof headers, "X-Forwarded-For: 192.0.2.%d\r\n", client);
        for (int i = 0; i < 3; i++) {
            CA_AUTO(free) char *got = ask_through(headers);
            cr_expect_eq(answer_code(got), i < 2 ? 200 : 429, "%d, %d: %s", client, i,
                         got);
        }
    }
    for (size_t i = 0; i < COUNT(held); i++)
        client_close(&held[i]);
}

/* A handshake costs more than what is refused after it. Over HTTP there is an answer.
 */
Test(http_peer, A7_a_source_over_its_rate_gets_no_handshake)
{
    service->config.limits.requests_per_second = 1;
    service->config.limits.burst = 4;
    service->metrics = metrics_new();
    server_start();
    int shaken = 0;
    for (int i = 0; i < 12; i++) {
        struct client client = client_open_tls(tls_port, 0, NULL, NULL);
        shaken += client.ssl != NULL;
        if (client.ssl) {
            CA_AUTO(free)
            char *got = ask_with(&client, "GET /nowhere HTTP/1.0\r\n\r\n");
            cr_expect_eq(answer_code(got), 404, "%s", got);
        }
        client_close(&client);
    }
    cr_expect(shaken >= 4 && shaken <= 6, "%d", shaken);
    cr_expect_eq(code_of("GET /nowhere HTTP/1.0\r\n\r\n"), 429);
    CA_AUTO(text_buffer_clear) struct text_buffer figures = { 0 };
    metrics_format(service->metrics, &figures);
    cr_expect(strstr(figures.data, "connections_refused_total{kind=\"rate\"}"), "%s",
              figures.data);
    usleep(1100000);
    struct client client = client_open_tls(tls_port, 0, NULL, NULL);
    cr_expect_not_null(client.ssl);
    client_close(&client);
    metrics_free(service->metrics);
    service->metrics = NULL;
}

/* The subject that the server shows now. */
static void
shown_name(char ret_name[64])
{
    struct client client = client_open_tls(tls_port, 0, NULL, NULL);
    cr_assert_not_null(client.ssl);
    X509_NAME_get_text_by_NID(
        X509_get_subject_name(SSL_get0_peer_certificate(client.ssl)), NID_commonName,
        ret_name, 64);
    client_close(&client);
}

Test(http_peer, W4_tls_pair_is_exchanged_whole_or_not_at_all)
{
    char name[64];
    server_start();
    shown_name(name);
    cr_expect_str_eq(name, "first");
    pair_write("second", -60, 3600);
    cr_expect_eq(http_reload_tls(http), CA_OK);
    shown_name(name);
    cr_expect_str_eq(name, "second");
    pair_write("expired", -60, -30);
    cr_expect_eq(http_reload_tls(http), CA_FORBIDDEN);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *other = EVP_EC_gen("P-256");
    pair_write("third", -60, 3600);
    pem_write(key_path, NULL, other);
    cr_expect_eq(http_reload_tls(http), CA_CONFLICT);
    pair_write("third", -60, 3600);
    chmod(key_path, 0640);
    cr_expect_eq(http_reload_tls(http), CA_FORBIDDEN);
    cr_expect_not_null(strstr(status_message(), key_path));
    unlink(key_path);
    cr_expect_eq(http_reload_tls(http), CA_NOT_FOUND);
    shown_name(name);
    cr_expect_str_eq(name, "second");
}
