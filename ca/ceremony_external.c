/* An issuer whose certificate another CA signs, such as an offline root: the request
 * goes out, the certificate with its chain comes in (SECURITY H2). */
#include "audit.h"
#include "ceremony.h"
#include "ceremony_key.h"
#include "clock.h"
#include "issuer.h"
#include "keycheck.h"
#include "keylist.h"
#include "names.h"
#include "text.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

#define CHAIN_MAX 8

/* ---- The request ---- */

/* What it asks for: a CA that signs certificates and CRLs. */
static bool
request_extend(X509_REQ *request)
{
    static const struct {
        int nid;
        const char *value;
    } wanted[] = {
        { NID_basic_constraints, "critical,CA:TRUE" },
        { NID_key_usage, "critical,keyCertSign,cRLSign" },
    };
    CA_AUTO(x509_extensions_free)
    STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
    for (size_t i = 0; list && i < sizeof wanted / sizeof wanted[0]; i++) {
        X509_EXTENSION *one =
            X509V3_EXT_conf_nid(NULL, NULL, wanted[i].nid, wanted[i].value);
        if (!one || !sk_X509_EXTENSION_push(list, one)) {
            X509_EXTENSION_free(one);
            return false;
        }
    }
    return list && X509_REQ_add_extensions(request, list) == 1;
}

static enum ca_status
request_sign(struct token_key *key, const X509_NAME *subject, uint8_t **ret_der,
             size_t *ret_size)
{
    CA_AUTO(X509_PUBKEY_free) X509_PUBKEY *spki = NULL;
    enum ca_status status = ceremony_key_public(key, &spki);
    if (status != CA_OK)
        return status;
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *proxy = token_key_pkey(key);
    CA_AUTO(X509_REQ_free) X509_REQ *request = X509_REQ_new();
    const EVP_MD *digest = proxy ? tbs_digest(proxy) : NULL;
    if (!digest)
        return ca_fail(CA_UNSUPPORTED, "issuers do not sign with a key of this kind");
    uint8_t *der = NULL;
    int size = -1;
    /* The public half is a copy: the request must not hold the proxy. */
    if (request && X509_REQ_set_subject_name(request, subject) == 1 &&
        X509_REQ_set_pubkey(request, X509_PUBKEY_get0(spki)) == 1 &&
        request_extend(request) && X509_REQ_sign(request, proxy, digest) > 0 &&
        X509_REQ_verify(request, X509_PUBKEY_get0(spki)) == 1)
        size = i2d_X509_REQ(request, &der);
    if (size <= 0)
        return ca_fail_openssl(CA_UNAVAILABLE, "the request was not signed");
    *ret_der = der;
    *ret_size = (size_t)size;
    return CA_OK;
}

struct request_note {
    const struct ceremony *ceremony;
    const struct ceremony_request *wanted;
    const char *uri;
    char sha256[65];
};

static enum ca_status
request_step(struct store_tx *tx, void *arg)
{
    const struct request_note *note = arg;
    return ceremony_audit(note->ceremony, tx, "issuer.request",
                          json_pack("{s:s, s:s, s:s}", "key", note->uri, "subject",
                                    note->wanted->subject, "request_sha256",
                                    note->sha256),
                          "issuer:%s", note->wanted->name);
}

/* The present key when there is such an issuer (its certificate is renewed), else a
 * new one. */
static enum ca_status
request_key(const struct ceremony *ceremony, const struct ceremony_request *wanted,
            char **ret_uri)
{
    struct authority authority = { 0 };
    enum ca_status status = authority_read(ceremony->store, wanted->name, &authority);
    if (status == CA_OK) {
        *ret_uri = CA_STEAL(authority.key);
        authority_clear(&authority);
        return *ret_uri ? CA_OK
                        : ca_fail(CA_UNAVAILABLE, "the key of issuer '%s' is not here",
                                  wanted->name);
    }
    if (status != CA_NOT_FOUND)
        return status;
    return ceremony_key_generate(ceremony, wanted->name, "sign", wanted->algorithm,
                                 TOKEN_USE_SIGN, ret_uri);
}

enum ca_status
ceremony_request(const struct ceremony *ceremony, const struct ceremony_request *wanted,
                 struct ceremony_made *ret_made)
{
    CA_AUTO(X509_NAME_free) X509_NAME *subject = NULL;
    CA_AUTO(free) char *uri = NULL;
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    size_t size = 0;
    struct token_key *key = NULL;
    enum ca_status status = names_parse_subject(wanted->subject, &subject);
    if (status == CA_OK)
        status = request_key(ceremony, wanted, &uri);
    if (status == CA_OK)
        status = token_key_find(ceremony->tokens, uri, TOKEN_USE_SIGN, NULL, &key);
    if (status == CA_OK)
        status = request_sign(key, subject, &der, &size);
    struct request_note note = { .ceremony = ceremony, .wanted = wanted, .uri = uri };
    if (status == CA_OK)
        status = ceremony_sha256(der, size, note.sha256);
    if (status == CA_OK)
        status = store_write(ceremony->store, request_step, &note);
    if (status != CA_OK)
        return status;
    *ret_made = (struct ceremony_made){ .key = CA_STEAL(uri),
                                        .der = CA_STEAL(der),
                                        .size = size };
    return CA_OK;
}

/* ---- The certificate ---- */

static enum ca_status
pem_read(const char *what, const char *text, STACK_OF(X509) *ret_list)
{
    CA_AUTO(BIO_free_all) BIO *bio = BIO_new_mem_buf(text, -1);
    X509 *one;
    while (bio && (one = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        if (sk_X509_num(ret_list) > CHAIN_MAX || !sk_X509_push(ret_list, one)) {
            X509_free(one);
            return ca_fail(CA_LIMIT, "the %s has more than %d certificates", what,
                           CHAIN_MAX);
        }
    }
    if (!bio || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        return ca_fail_openssl(CA_MALFORMED, "the %s is not PEM certificates", what);
    ERR_clear_error();
    return CA_OK;
}

/* The issuer of `of` in the pool, taken out of it; NULL. */
static X509 *
issuer_take(STACK_OF(X509) *pool, X509 *of)
{
    for (int i = 0; i < sk_X509_num(pool); i++) {
        X509 *candidate = sk_X509_value(pool, i);
        EVP_PKEY *key = X509_get0_pubkey(candidate);
        if (X509_NAME_cmp(X509_get_subject_name(candidate), X509_get_issuer_name(of)) ==
                0 &&
            key && X509_verify(of, key) == 1)
            return sk_X509_delete(pool, i);
    }
    ERR_clear_error();
    return NULL;
}

static bool
is_self_issued(X509 *certificate)
{
    return X509_NAME_cmp(X509_get_subject_name(certificate),
                         X509_get_issuer_name(certificate)) == 0;
}

/* From the certificate up to a self-issued one, in order; nothing may be left over but
 * the certificate itself. */
static enum ca_status
chain_order(X509 *certificate, STACK_OF(X509) *pool, STACK_OF(X509) *ret_chain)
{
    for (int i = sk_X509_num(pool) - 1; i >= 0; i--) {
        if (X509_cmp(sk_X509_value(pool, i), certificate) == 0)
            X509_free(sk_X509_delete(pool, i));
    }
    X509 *last = certificate;
    while (!is_self_issued(last)) {
        X509 *next = issuer_take(pool, last);
        if (!next) {
            CA_AUTO(free) char *name = names_format_subject(X509_get_issuer_name(last));
            return ca_fail(CA_FORBIDDEN, "no chain: the certificate of '%s' is missing",
                           name ? name : "");
        }
        if (!sk_X509_push(ret_chain, next)) {
            X509_free(next);
            return ca_fail(CA_INTERNAL, "no memory for a chain");
        }
        last = next;
    }
    if (sk_X509_num(pool) > 0)
        return ca_fail(CA_MALFORMED, "the chain has a certificate that is not part of "
                                     "it");
    return CA_OK;
}

static char *
chain_text(X509 *certificate, STACK_OF(X509) *chain)
{
    CA_AUTO(BIO_free_all) BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    if (!bio || PEM_write_bio_X509(bio, certificate) != 1)
        return NULL;
    for (int i = 0; i < sk_X509_num(chain); i++) {
        if (PEM_write_bio_X509(bio, sk_X509_value(chain, i)) != 1)
            return NULL;
    }
    long length = BIO_get_mem_data(bio, &text);
    return strndup(text, (size_t)length);
}

/* ---- Its key ---- */

struct search {
    const struct ceremony *ceremony;
    const X509 *certificate;
    const char *name; /* of the issuer: keys made for it are looked at first */
    bool only_own;
    char *uri;
};

static enum ca_status
visit_key(const struct keylist_key *found, void *arg)
{
    struct search *search = arg;
    struct token_key *key = NULL;
    size_t length = strlen(search->name);
    bool is_own = strncmp(found->label, search->name, length) == 0 &&
                  strncmp(found->label + length, "-sign-", 6) == 0;
    if (search->uri || found->uses != TOKEN_USE_SIGN || is_own != search->only_own)
        return CA_OK;
    if (token_key_find(search->ceremony->tokens, found->uri, TOKEN_USE_SIGN,
                       search->certificate, &key) != CA_OK)
        return CA_OK; /* another key, or one that may not be used */
    search->uri = strdup(found->uri);
    return search->uri ? CA_OK : ca_fail(CA_INTERNAL, "no memory for a URI");
}

/* The key of the certificate, in whichever token it is. */
static enum ca_status
key_search(const struct ceremony *ceremony, const char *name, const X509 *certificate,
           char **ret_uri)
{
    struct search search = { .ceremony = ceremony,
                             .certificate = certificate,
                             .name = name };
    struct token_set *set = ceremony->tokens;
    enum ca_status status = CA_OK;
    for (int pass = 0; pass < 2 && !search.uri; pass++) {
        search.only_own = pass == 0;
        for (size_t i = 0; status == CA_OK && i < token_set_count(set); i++) {
            struct token_health health;
            token_health(set, i, &health);
            status = keylist_run(set, health.name, visit_key, &search);
        }
    }
    if (status == CA_OK && !search.uri)
        status = ca_fail(CA_NOT_FOUND, "no token here has the key of the certificate");
    if (status == CA_OK)
        *ret_uri = search.uri;
    else
        free(search.uri);
    return status;
}

static enum ca_status
key_find(const struct ceremony *ceremony, const struct ceremony_import *wanted,
         const X509 *certificate, char **ret_uri)
{
    struct token_key *key = NULL;
    if (!wanted->key)
        return key_search(ceremony, wanted->name, certificate, ret_uri);
    enum ca_status status = token_key_find(ceremony->tokens, wanted->key,
                                           TOKEN_USE_SIGN, certificate, &key);
    if (status != CA_OK)
        return status;
    *ret_uri = strdup(wanted->key);
    return *ret_uri ? CA_OK : ca_fail(CA_INTERNAL, "no memory for a URI");
}

/* ---- The record ---- */

struct import_note {
    const struct ceremony *ceremony;
    const struct ceremony_import *wanted;
    const char *uri, *chain;
    X509 *certificate;
    char sha256[65], root_sha256[65];
};

/* A renewed certificate takes the place of the one with the same name and key. */
static enum ca_status
authority_renew(struct store_tx *tx, const struct import_note *note,
                struct authority *authority)
{
    CA_AUTO(BIO_free_all) BIO *bio = BIO_new_mem_buf(authority->chain, -1);
    CA_AUTO(X509_free)
    X509 *present = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    if (!present)
        return ca_fail_openssl(CA_INTERNAL, "issuer '%s' has no certificate",
                               authority->name);
    if (EVP_PKEY_eq(X509_get0_pubkey(present), X509_get0_pubkey(note->certificate)) !=
            1 ||
        X509_NAME_cmp(X509_get_subject_name(present),
                      X509_get_subject_name(note->certificate)) != 0)
        return ca_fail(CA_CONFLICT,
                       "issuer '%s' exists with another key or subject: take another "
                       "name, then roll over",
                       authority->name);
    free(authority->chain);
    authority->chain = strdup(note->chain);
    return authority->chain ? authority_update(tx, authority)
                            : ca_fail(CA_INTERNAL, "no memory for a chain");
}

static enum ca_status
authority_put(struct store_tx *tx, const struct import_note *note)
{
    struct authority authority = { 0 };
    enum ca_status status = authority_load(tx, note->wanted->name, &authority);
    if (status == CA_OK) {
        status = authority_renew(tx, note, &authority);
    } else if (status == CA_NOT_FOUND) {
        authority = (struct authority){
            .name = strdup(note->wanted->name),
            .key = strdup(note->uri),
            .state = note->wanted->state,
            .chain = strdup(note->chain),
            .crl = { .lifetime_seconds = CEREMONY_CRL_LIFETIME,
                     .overlap_seconds = CEREMONY_CRL_OVERLAP },
        };
        status = authority_insert(tx, &authority);
    }
    authority_clear(&authority);
    return status;
}

static enum ca_status
import_step(struct store_tx *tx, void *arg)
{
    const struct import_note *note = arg;
    enum ca_status status = authority_put(tx, note);
    if (status != CA_OK)
        return status;
    return ceremony_audit(note->ceremony, tx, "issuer.import",
                          json_pack("{s:s, s:s, s:s}", "key", note->uri,
                                    "certificate_sha256", note->sha256, "root_sha256",
                                    note->root_sha256),
                          "issuer:%s", note->wanted->name);
}

static enum ca_status
certificate_sha256(const X509 *certificate, char ret_hex[65])
{
    uint8_t hash[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (X509_digest(certificate, EVP_sha256(), hash, &size) != 1)
        return ca_fail_openssl(CA_INTERNAL, "no digest of a certificate");
    hex_format(hash, size, ret_hex);
    return CA_OK;
}

/* H2: everything that can be said against the certificate and its chain. */
static enum ca_status
import_check(const struct ceremony_import *wanted, STACK_OF(X509) *given,
             STACK_OF(X509) *ret_chain)
{
    CA_AUTO(x509_stack_free) STACK_OF(X509) *pool = sk_X509_new_null();
    enum ca_status status = pool ? pem_read("certificate", wanted->certificate, given)
                                 : ca_fail(CA_INTERNAL, "no memory for a chain");
    if (status == CA_OK && sk_X509_num(given) != 1)
        status = ca_fail(CA_MALFORMED, "the certificate's file has %d certificates",
                         sk_X509_num(given));
    if (status == CA_OK && wanted->chain)
        status = pem_read("chain", wanted->chain, pool);
    X509 *certificate = sk_X509_value(given, 0);
    if (status == CA_OK)
        status = chain_order(certificate, pool, ret_chain);
    return status == CA_OK ? issuer_check(certificate, ret_chain, clock_now()) : status;
}

enum ca_status
ceremony_import(const struct ceremony *ceremony, const struct ceremony_import *wanted,
                struct ceremony_made *ret_made)
{
    CA_AUTO(x509_stack_free) STACK_OF(X509) *given = sk_X509_new_null();
    CA_AUTO(x509_stack_free) STACK_OF(X509) *chain = sk_X509_new_null();
    CA_AUTO(free) char *uri = NULL;
    CA_AUTO(free) char *text = NULL;
    if (!given || !chain)
        return ca_fail(CA_INTERNAL, "no memory for a chain");
    enum ca_status status = import_check(wanted, given, chain);
    if (status != CA_OK)
        return status;
    X509 *certificate = sk_X509_value(given, 0);
    status = key_find(ceremony, wanted, certificate, &uri);
    if (status != CA_OK || wanted->only_check)
        return status;
    text = chain_text(certificate, chain);
    struct import_note note = { .ceremony = ceremony,
                                .wanted = wanted,
                                .uri = uri,
                                .chain = text,
                                .certificate = certificate };
    int count = sk_X509_num(chain);
    if (!text)
        status = ca_fail_openssl(CA_INTERNAL, "no text of a chain");
    if (status == CA_OK)
        status = certificate_sha256(certificate, note.sha256);
    if (status == CA_OK)
        status = certificate_sha256(count > 0 ? sk_X509_value(chain, count - 1)
                                              : certificate,
                                    note.root_sha256);
    if (status == CA_OK)
        status = store_write(ceremony->store, import_step, &note);
    if (status != CA_OK)
        return status;
    struct ceremony_made made = { .key = CA_STEAL(uri) };
    int size = i2d_X509(certificate, &made.der);
    made.size = size > 0 ? (size_t)size : 0;
    *ret_made = made;
    return CA_OK;
}
