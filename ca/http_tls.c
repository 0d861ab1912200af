/* One TLS context for all listeners; what differs between them, and what changes while
 * the daemon runs, is set per handshake. */
#include "http_tls.h"
#include "auto.h"
#include "clock.h"
#include "http_socket.h"
#include "log.h"
#include "service.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#define CHAIN_MAX 8            /* certificates in the file */
#define CLIENT_CHAIN_MAX 16384 /* octets a client may send as its chain */
#define FILE_SIZE_MAX 262144   /* octets of either file */

/* Forward secret and authenticated: all that TLS 1.2 clients of this decade need. */
static const char cipher_list[] = "ECDHE+AESGCM:ECDHE+CHACHA20";

/* The files' content. */
struct bundle {
    X509 *certificate;
    EVP_PKEY *key;
    STACK_OF(X509) *chain;
};

struct tls {
    char *certificate_path, *key_path;
    struct service *service; /* whose issuers clients are told; borrowed */
    pthread_rwlock_t lock;   /* over what follows */
    struct bundle *bundle;
    /* Of the bundle and these issuers, or NULL; whoever shakes hands holds it. */
    SSL_CTX *context;
    struct issuers *issuers;
};

static void
bundle_free(struct bundle *bundle)
{
    if (!bundle)
        return;
    X509_free(bundle->certificate);
    EVP_PKEY_free(bundle->key);
    sk_X509_pop_free(bundle->chain, X509_free);
    free(bundle);
}

CA_AUTO_RELEASE(struct bundle, bundle_free)

/* Opens a regular file; `is_secret`: nobody but its owner may have a right to it. */
static enum ca_status
file_open(const char *path, bool is_secret, FILE **ret_file)
{
    CA_AUTO(fclose) FILE *file = fopen(path, "re");
    struct stat status;
    if (!file || fstat(fileno(file), &status) != 0)
        return ca_fail(CA_NOT_FOUND, "%s: %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode) || status.st_size > FILE_SIZE_MAX)
        return ca_fail(CA_MALFORMED, "%s is no file of reasonable size", path);
    if (is_secret && (status.st_mode & (S_IRWXG | S_IRWXO)))
        return ca_fail(CA_FORBIDDEN, "%s holds a key and is open to %s: chmod 600",
                       path, status.st_mode & S_IRWXO ? "others" : "its group");
    *ret_file = CA_STEAL(file);
    return CA_OK;
}

/* The leaf first, then what leads up from it. */
static enum ca_status
chain_read(const char *path, struct bundle *bundle)
{
    CA_AUTO(fclose) FILE *file = NULL;
    enum ca_status status = file_open(path, false, &file);
    if (status != CA_OK)
        return status;
    ERR_clear_error();
    bundle->certificate = PEM_read_X509(file, NULL, NULL, NULL);
    bundle->chain = sk_X509_new_null();
    if (!bundle->certificate || !bundle->chain)
        return ca_fail_openssl(CA_MALFORMED, "%s: no certificate", path);
    for (;;) {
        X509 *next = PEM_read_X509(file, NULL, NULL, NULL);
        if (!next)
            break;
        if (sk_X509_num(bundle->chain) == CHAIN_MAX ||
            !sk_X509_push(bundle->chain, next)) {
            X509_free(next);
            return ca_fail(CA_LIMIT, "%s: more than %d certificates", path, CHAIN_MAX);
        }
    }
    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        return ca_fail_openssl(CA_MALFORMED, "%s: a certificate of the chain", path);
    ERR_clear_error();
    return CA_OK;
}

/* A key file with a pass phrase would ask the terminal: it is refused. */
static int
no_password(char *buffer, int size, int is_writing, void *arg)
{
    (void)buffer, (void)size, (void)is_writing, (void)arg;
    return -1;
}

static enum ca_status
bundle_load(const char *certificate, const char *key, struct bundle **ret_bundle)
{
    CA_AUTO(bundle_free) struct bundle *bundle = calloc(1, sizeof *bundle);
    if (!bundle)
        return ca_fail(CA_INTERNAL, "no memory");
    enum ca_status status = chain_read(certificate, bundle);
    if (status != CA_OK)
        return status;
    CA_AUTO(fclose) FILE *file = NULL;
    status = file_open(key, true, &file);
    if (status != CA_OK)
        return status;
    bundle->key = PEM_read_PrivateKey(file, NULL, no_password, NULL);
    if (!bundle->key)
        return ca_fail_openssl(CA_MALFORMED, "%s: no private key", key);
    if (X509_check_private_key(bundle->certificate, bundle->key) != 1)
        return ca_fail_openssl(CA_CONFLICT, "%s is not the key of %s", key,
                               certificate);
    *ret_bundle = CA_STEAL(bundle);
    return CA_OK;
}

static void
context_drop(struct tls *tls)
{
    SSL_CTX_free(CA_STEAL(tls->context));
    issuers_release(CA_STEAL(tls->issuers));
}

static bool
is_in_validity(const X509 *certificate)
{
    time_t now = (time_t)clock_now();
    return X509_cmp_time(X509_get0_notBefore(certificate), &now) < 0 &&
           X509_cmp_time(X509_get0_notAfter(certificate), &now) > 0;
}

enum ca_status
tls_open(const char *certificate, const char *key, struct service *service,
         struct tls **ret_tls)
{
    struct bundle *bundle = NULL;
    enum ca_status status = bundle_load(certificate, key, &bundle);
    if (status != CA_OK)
        return status;
    /* Devices that check it will say so; the others and the operator are still served.
     */
    if (!is_in_validity(bundle->certificate))
        log_write(LOG_LEVEL_WARNING, NULL, "%s is not in its validity", certificate);
    struct tls *tls = calloc(1, sizeof *tls);
    if (tls) {
        pthread_rwlock_init(&tls->lock, NULL);
        tls->bundle = bundle;
        tls->service = service;
        tls->certificate_path = strdup(certificate);
        tls->key_path = strdup(key);
    } else {
        bundle_free(bundle);
    }
    if (!tls || !tls->certificate_path || !tls->key_path) {
        tls_close(tls);
        return ca_fail(CA_INTERNAL, "no memory");
    }
    *ret_tls = tls;
    return CA_OK;
}

enum ca_status
tls_reload(struct tls *tls)
{
    CA_AUTO(bundle_free) struct bundle *bundle = NULL;
    enum ca_status status = bundle_load(tls->certificate_path, tls->key_path, &bundle);
    if (status != CA_OK)
        return status;
    if (!is_in_validity(bundle->certificate))
        return ca_fail(CA_FORBIDDEN, "%s is not in its validity; the old one stays",
                       tls->certificate_path);
    pthread_rwlock_wrlock(&tls->lock);
    bundle_free(tls->bundle);
    tls->bundle = CA_STEAL(bundle);
    context_drop(tls);
    pthread_rwlock_unlock(&tls->lock);
    return CA_OK;
}

void
tls_close(struct tls *tls)
{
    if (!tls)
        return;
    bundle_free(tls->bundle);
    context_drop(tls);
    pthread_rwlock_destroy(&tls->lock);
    free(tls->certificate_path);
    free(tls->key_path);
    free(tls);
}

/* Any certificate passes the handshake, where its owner proves the key; whether it is
 * one of ours is decided with the request, so that an expired one gets an answer and no
 * alert. */
static int
accept_any(X509_STORE_CTX *context, void *arg)
{
    (void)arg;
    X509_STORE_CTX_set_error(context, X509_V_OK);
    return 1;
}

static bool
configure(SSL_CTX *context)
{
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(context, cipher_list) != 1)
        return false;
    /* A resumed session would carry the identity of a certificate that is not shown
     * again. */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
                                     SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_max_cert_list(context, CLIENT_CHAIN_MAX);
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_cert_verify_callback(context, accept_any, NULL);
    /* A record's head and octets, and those behind it, by one system call;
     * http_socket.c keeps civetweb from waiting for what is there already. */
    SSL_CTX_set_read_ahead(context, 1);
    /* Release each connection's buffers while it is idle. */
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    return true;
}

static void
names_free_auto(STACK_OF(X509_NAME) **names)
{
    sk_X509_NAME_pop_free(*names, X509_NAME_free);
}

/* Whose certificates are of use here (RFC 8446 section 4.2.4): Windows shows none when
 * it is not told. */
static bool
name_issuers(SSL_CTX *context, struct issuers *issuers)
{
    __attribute__((cleanup(names_free_auto))) STACK_OF(X509_NAME) *names =
        sk_X509_NAME_new_null();
    bool is_whole = names != NULL;
    for (size_t i = 0; is_whole && i < issuers_count(issuers); i++) {
        X509_NAME *name =
            X509_NAME_dup(X509_get_subject_name(issuers_at(issuers, i)->certificate));
        is_whole = name && sk_X509_NAME_push(names, name) > 0;
        if (name && !is_whole)
            X509_NAME_free(name);
    }
    if (is_whole)
        SSL_CTX_set0_CA_list(context, CA_STEAL(names));
    return is_whole;
}

/* Under the lock. */
static void
context_make(struct tls *tls, struct issuers *issuers)
{
    const struct bundle *bundle = tls->bundle;
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    context_drop(tls);
    if (!context || !configure(context) ||
        SSL_CTX_use_cert_and_key(context, bundle->certificate, bundle->key,
                                 bundle->chain, 1) != 1 ||
        (issuers && !name_issuers(context, issuers))) {
        SSL_CTX_free(context);
        return;
    }
    tls->context = context;
    tls->issuers = issuers ? issuers_hold(issuers) : NULL;
}

static bool
has_context(const struct tls *tls, const struct issuers *issuers)
{
    return tls->context && tls->issuers == issuers;
}

/* Has the connection use the certificate and the issuers of now, whose names need not
 * be copied for each. */
static bool
use_context(struct tls *tls, SSL *ssl)
{
    struct issuers *issuers = tls->service ? service_issuers(tls->service) : NULL;
    pthread_rwlock_rdlock(&tls->lock);
    if (!has_context(tls, issuers)) {
        pthread_rwlock_unlock(&tls->lock);
        pthread_rwlock_wrlock(&tls->lock);
        if (!has_context(tls, issuers))
            context_make(tls, issuers);
    }
    bool is_used = tls->context && SSL_set_SSL_CTX(ssl, tls->context);
    pthread_rwlock_unlock(&tls->lock);
    issuers_release(issuers);
    return is_used;
}

/* Before version and certificate are chosen: what this listener is configured for. */
static int
choose_listener(SSL *ssl, int *alert, void *arg)
{
    const struct socket_connection *connection = socket_of(SSL_get_fd(ssl));
    if (!connection || !use_context(arg, ssl)) {
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_CLIENT_HELLO_ERROR;
    }
    if (connection->listener->tls_max == 12)
        SSL_set_max_proto_version(ssl, TLS1_2_VERSION);
    if (connection->listener->client_certificates)
        SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    return SSL_CLIENT_HELLO_SUCCESS;
}

bool
tls_configure(struct tls *tls, SSL_CTX *context)
{
    if (!configure(context))
        return false;
    SSL_CTX_set_client_hello_cb(context, choose_listener, tls);
    /* civetweb's would take its own context back: it chooses by the name in the hello.
     */
    SSL_CTX_set_tlsext_servername_callback(context, NULL);
    return true;
}
