/* Whom requests trust: with a file of roots those alone, and not the system's besides.
 */
#include "auto.h"
#include "clock.h"
#include "oidc.h"
#include "pki.h"
#include "smtp.h"
#include "text.h"
#include "upstream.h"
#include "webhook.h"
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

/* In the place of OpenSSL's own, by which libcurl takes up a folder of roots. */
static int folders;

__attribute__((visibility("default"))) int
X509_STORE_load_path(X509_STORE *store, const char *folder)
{
    (void)store, (void)folder;
    folders++;
    return 1;
}

static char url[64], roots[] = "/tmp/test_fetch_rootsXXXXXX",
                     secret[] = "file:/tmp/test_fetch_keyXXXXXX";
static char *pem;
static int listener, port;
static pthread_t server;

/* Hangs up at once: by then the roots are chosen. */
static void *
hang_up(void *arg)
{
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;)
        close(fd);
    return arg;
}

static void
listen_start(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof at;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(listen(listener, 8), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&at, &size), 0);
    port = ntohs(at.sin_port);
    snprintf(url, sizeof url, "https://127.0.0.1:%d/", port);
    cr_assert_eq(pthread_create(&server, NULL, hang_up, NULL), 0);
}

static void
file_write(char *path, const char *text)
{
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static char *
root_make(void)
{
    char *text = NULL;
    EVP_PKEY *key = pki_ec("P-256");
    X509 *root = X509_new();
    BIO *bio = BIO_new(BIO_s_mem());
    X509_NAME *name = pki_name("Root");
    X509_set_version(root, X509_VERSION_3);
    X509_set_subject_name(root, name);
    X509_set_issuer_name(root, name);
    X509_gmtime_adj(X509_getm_notBefore(root), 0);
    X509_gmtime_adj(X509_getm_notAfter(root), 3600);
    X509_set_pubkey(root, key);
    cr_assert_gt(X509_sign(root, key, EVP_sha256()), 0);
    cr_assert_eq(PEM_write_bio_X509(bio, root), 1);
    char *data = NULL;
    long size = BIO_get_mem_data(bio, &data);
    text = strndup(data, (size_t)size);
    BIO_free(bio);
    X509_NAME_free(name);
    X509_free(root);
    EVP_PKEY_free(key);
    return text;
}

static void
set_up(void)
{
    pem = root_make();
    file_write(roots, pem);
    file_write(secret + sizeof "file:" - 1, "thirty-two octets of a secret key\n");
    listen_start();
}

static void
leave(void)
{
    shutdown(listener, SHUT_RDWR);
    pthread_join(server, NULL);
    close(listener);
    unlink(roots);
    unlink(secret + sizeof "file:" - 1);
    free(pem);
}

TestSuite(fetch, .init = set_up, .fini = leave);

static void
ask_provider(char *ca_file)
{
    struct config_oidc config = { .ca_file = ca_file, .timeout_ms = 5000 };
    struct oidc_request request = { .config = &config, .url = url };
    json_t *object = NULL;
    cr_expect_eq(oidc_http(&request, &object), CA_UNAVAILABLE);
}

static void
send_mail(char *ca_file)
{
    char host[] = "127.0.0.1";
    struct config_mail config = { .server = host,
                                  .port = port,
                                  .security = MAIL_TLS,
                                  .ca_file = ca_file,
                                  .connect_ms = 5000,
                                  .send_ms = 5000 };
    struct smtp_mail mail = { "a@example.com", "b@example.com", "\r\n", 2, NULL };
    cr_expect_eq(smtp_send(&config, &mail), CA_UNAVAILABLE);
}

static void
tell_webhook(char *ca_file)
{
    char name[] = "mdm";
    struct config_webhook config = {
        .name = name, .url = url, .secret_source = secret, .ca_file = ca_file
    };
    struct webhook_event event = { .id = "1",
                                   .type = EVENT_DEVICE_ACTIVATED,
                                   .data = json_object() };
    cr_expect_eq(webhook_send(&config, &event, NULL), CA_UNAVAILABLE);
    json_decref(event.data);
}

static void
ask_upstream(char *ca_file)
{
    struct upstream_request request = { .url = url, .tls_ca = ca_file ? pem : NULL };
    struct upstream_answer answer = { .body = { NULL, 0 } };
    cr_expect_eq(upstream_http(&request, &answer), CA_UNAVAILABLE);
}

Test(fetch, a_file_of_roots_is_all_that_is_trusted)
{
    static const struct {
        const char *who;
        void (*ask)(char *ca_file);
    } cases[] = {
        { "oidc", ask_provider },
        { "smtp", send_mail },
        { "webhook", tell_webhook },
        { "upstream", ask_upstream },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        folders = 0;
        cases[i].ask(NULL);
        cr_expect_gt(folders, 0, "%s: the system's without a file", cases[i].who);
        folders = 0;
        cases[i].ask(roots);
        cr_expect_eq(folders, 0, "%s: the system's besides the file", cases[i].who);
    }
}

/* ---- Where nothing is asked for ---- */

static enum ca_status
ask_plainly(const char *address)
{
    struct upstream_answer answer = { 0 };
    int64_t before = clock_ticks();
    enum ca_status status =
        upstream_http(&(struct upstream_request){ .url = address }, &answer);
    upstream_answer_clear(&answer);
    cr_expect_lt(clock_ticks() - before, 2000, "%s: nothing was sent", address);
    return status;
}

/* A cloud's metadata. Loopback serves: there a proxy or another CA of the machine is.
 */
Test(fetch, link_local_addresses_are_not_asked)
{
    static const char *const addresses[] = {
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://0xa9fea9fe/",
        "http://[febf::1]/",
    };
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        cr_expect_eq(ask_plainly(addresses[i]), CA_UNAVAILABLE, "%s", addresses[i]);
        cr_expect(strstr(status_message(), "connect"), "%s: %s", addresses[i],
                  status_message());
    }
    memcpy(url, "http:", 5);
    memmove(url + 4, url + 5, strlen(url + 5) + 1);
    cr_expect_eq(ask_plainly(url), CA_UNAVAILABLE);
    cr_expect_null(strstr(status_message(), "connect"), "it hangs up itself: %s",
                   status_message());
}
