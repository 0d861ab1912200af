/* The certificate of the TLS listeners, from our own issuer: key in a file, 0600. */
#include "init.h"
#include "text.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TLS_VALIDITY (398 * INT64_C(86400)) /* what browsers accept at most */
#define NAMES_MAX 32

enum ca_status
init_file_write(const char *path, const void *octets, size_t size, unsigned mode)
{
    CA_AUTO(free) char *fresh = NULL;
    if (asprintf(&fresh, "%s.new", path) < 0)
        return ca_fail(CA_INTERNAL, "no memory for a path");
    int file = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (file < 0)
        return ca_fail(CA_UNAVAILABLE, "%s: %s", fresh, strerror(errno));
    bool holds = fchmod(file, mode) == 0 &&
                 write(file, octets, size) == (ssize_t)size && fsync(file) == 0;
    int reason = errno;
    close(file);
    if (holds && rename(fresh, path) == 0)
        return CA_OK;
    if (holds)
        reason = errno;
    unlink(fresh);
    return ca_fail(CA_UNAVAILABLE, "%s: %s", path, strerror(reason));
}

/* Names the daemon is reached by: this host, and where the listeners listen. */
struct tls_names {
    struct profile_san items[NAMES_MAX];
    size_t count;
};

static void
name_add(struct tls_names *names, enum san_type type, const char *value)
{
    for (size_t i = 0; i < names->count; i++) {
        if (names->items[i].type == (int)type &&
            strcmp(names->items[i].value, value) == 0)
            return;
    }
    if (names->count < NAMES_MAX)
        names->items[names->count++] =
            (struct profile_san){ .type = (int)type, .value = strdup(value) };
}

/* Where Windows looks for an organisation's enrolment ([MS-MDE2] 3.1). */
static void
names_of_enrolment(const struct organisation *organisation, struct tls_names *names)
{
    char *const *domains = organisation->mail_domains.items;
    char host[280];
    for (size_t i = 0; i < organisation->mail_domains.count; i++) {
        snprintf(host, sizeof host, "enterpriseenrollment.%s", domains[i]);
        name_add(names, SAN_DNS, host);
    }
}

static void
names_collect(const struct config *config, struct tls_names *names)
{
    char host[256];
    name_add(names, SAN_DNS, "localhost");
    name_add(names, SAN_IP, "127.0.0.1");
    name_add(names, SAN_IP, "::1");
    if (gethostname(host, sizeof host - 1) == 0) {
        host[sizeof host - 1] = '\0';
        if (strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                         "0123456789.-") == strlen(host))
            name_add(names, SAN_DNS, host);
    }
    const struct config_listener *listeners = config->listeners.items;
    for (size_t i = 0; i < config->listeners.count; i++) {
        uint8_t address[16];
        const char *bind = listeners[i].bind;
        if (listeners[i].tls && bind && strcmp(bind, "0.0.0.0") != 0 &&
            strcmp(bind, "::") != 0 &&
            (inet_pton(AF_INET, bind, address) == 1 ||
             inet_pton(AF_INET6, bind, address) == 1))
            name_add(names, SAN_IP, bind);
    }
}

/* The first issuer that issues, no root where there is another; free() it. */
static char *
issuer_choose(struct service *service)
{
    struct issuers *issuers = service_issuers(service);
    const struct issuer *chosen = NULL;
    for (size_t i = 0; i < issuers_count(issuers); i++) {
        const struct issuer *issuer = issuers_at(issuers, i);
        if (issuer->state == AUTHORITY_ACTIVE && issuer->key &&
            (!chosen ||
             (sk_X509_num(chosen->chain) == 0 && sk_X509_num(issuer->chain) > 0)))
            chosen = issuer;
    }
    char *name = chosen ? strdup(chosen->name) : NULL;
    issuers_release(issuers);
    if (!name)
        (void)ca_fail(CA_CONFLICT, "no issuer is active");
    return name;
}

/* What the certificate is made of. */
struct tls_make {
    struct service *service;
    char *issuer;
    EVP_PKEY *key;
};

static enum ca_status
certificate_make(const struct tls_make *make, uint8_t **ret_der, size_t *ret_size)
{
    struct service *service = make->service;
    const struct config *config = &service->config;
    EVP_PKEY *key = make->key;
    struct tls_names wanted = { 0 };
    names_collect(config, &wanted);
    names_of_enrolment(&service->organisation, &wanted);
    char *purposes[] = { (char[]){ "server_auth" } };
    const struct certificate_profile profile = {
        .issuer = make->issuer,
        .validity = TLS_VALIDITY,
        .backdate = 300,
        .subject = (char[]){ "CN=localhost" },
        .san = { wanted.items, wanted.count },
        .key_usage = 1, /* digitalSignature */
        .extended_key_usage = { purposes, 1 },
        .crl = true,
        .aia = true,
    };
    struct names names = { 0 };
    CA_AUTO(X509_PUBKEY_free) X509_PUBKEY *spki = NULL;
    enum ca_status status = names_build(&profile, &(struct names_sources){ 0 }, &names);
    if (status == CA_OK && X509_PUBKEY_set(&spki, key) != 1)
        status = ca_fail_openssl(CA_INTERNAL, "a new TLS key has no public half");
    const struct config_token *token = config->tokens.items;
    if (status == CA_OK)
        status = ceremony_issue_leaf(
            &(struct ceremony){
                .store = service->store,
                .tokens = service->tokens,
                .token = token->name,
                .plain_url = service->organisation.plain_url,
                .run = service->run,
            },
            &(struct ceremony_leaf){ .issuer = make->issuer,
                                     .profile = &profile,
                                     .names = &names,
                                     .key = spki },
            ret_der, ret_size);
    names_clear(&names);
    for (size_t i = 0; i < wanted.count; i++)
        free(wanted.items[i].value);
    return status;
}

/* The leaf and its issuers without the root, as servers send them. */
static enum ca_status
chain_write(const struct tls_make *make, const uint8_t *der, size_t size)
{
    struct issuers *issuers = service_issuers(make->service);
    const struct issuer *issuer = issuers_find(issuers, make->issuer);
    CA_AUTO(BIO_free_all) BIO *bio = BIO_new(BIO_s_mem());
    bool holds = issuer && bio &&
                 PEM_write_bio(bio, "CERTIFICATE", "", der, (long)size) > 0 &&
                 PEM_write_bio_X509(bio, issuer->certificate) == 1;
    issuers_release(issuers);
    if (!holds)
        return ca_fail_openssl(CA_INTERNAL, "no chain for the TLS listeners");
    char *text = NULL;
    long length = BIO_get_mem_data(bio, &text);
    return init_file_write(make->service->config.tls_certificate, text, (size_t)length,
                           0644);
}

static enum ca_status
key_write(const char *path, EVP_PKEY *key)
{
    CA_AUTO(BIO_free_all) BIO *bio = BIO_new(BIO_s_secmem());
    if (!bio || PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
        return ca_fail_openssl(CA_INTERNAL, "no PEM of the TLS key");
    char *text = NULL;
    long length = BIO_get_mem_data(bio, &text);
    return init_file_write(path, text, (size_t)length, 0600);
}

enum ca_status
init_tls_renew(struct service *service)
{
    const struct config *config = &service->config;
    if (!config->tls_certificate || !config->tls_key)
        return ca_fail(CA_CONFLICT, "the configuration names no TLS certificate");
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_EC_gen("P-256");
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    size_t size = 0;
    if (!key)
        return ca_fail_openssl(CA_INTERNAL, "no TLS key");
    CA_AUTO(free) char *issuer = issuer_choose(service);
    if (!issuer)
        return CA_CONFLICT;
    const struct tls_make make = { service, issuer, key };
    enum ca_status status = certificate_make(&make, &der, &size);
    if (status == CA_OK)
        status = key_write(config->tls_key, key);
    if (status == CA_OK)
        status = chain_write(&make, der, size);
    return status;
}
