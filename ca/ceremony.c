/* The key ceremony: issuers, helper keys and the daemon's own TLS certificate. */
#include "ceremony.h"
#include "audit.h"
#include "ceremony_key.h"
#include "clock.h"
#include "names.h"
#include <openssl/pem.h>
#include <string.h>

#define BACKDATE 300

static char *
url_of(const struct ceremony *ceremony, const char *directory, const char *name,
       const char *suffix)
{
    char *url = NULL;
    if (!ceremony->plain_url ||
        asprintf(&url, "%s/%s/%s%s", ceremony->plain_url, directory, name, suffix) < 0)
        return NULL;
    return url;
}

/* The certificate of the hierarchy for a key in the token. */
struct hierarchy {
    int kind; /* enum tbs_authority_kind */
    const char *subject;
    int64_t validity;
    int path_length;
};

static enum ca_status
hierarchy_build(const struct ceremony *ceremony, const struct ceremony_signer *signer,
                const struct hierarchy *wanted, X509_PUBKEY *spki, uint8_t **ret_der,
                size_t *ret_size)
{
    CA_AUTO(X509_NAME_free) X509_NAME *subject = NULL;
    uint8_t serial[16];
    char hex[33];
    enum ca_status status = names_parse_subject(wanted->subject, &subject);
    if (status == CA_OK)
        status = tbs_draw_serial(serial, hex);
    if (status != CA_OK)
        return status;
    bool is_root = signer->certificate == NULL;
    CA_AUTO(free)
    char *crl = is_root ? NULL : url_of(ceremony, "crl", signer->name, ".crl");
    CA_AUTO(free)
    char *cer = is_root ? NULL : url_of(ceremony, "issuer", signer->name, ".cer");
    CA_AUTO(openssl_free) uint8_t *tbs = NULL;
    size_t size = 0;
    status = tbs_build_authority(
        &(struct tbs_authority){
            .kind = wanted->kind,
            .subject = subject,
            .key = spki,
            .issuer = signer->certificate,
            .serial = serial,
            .serial_size = sizeof serial,
            .now = clock_now(),
            .backdate = BACKDATE,
            .validity = wanted->validity,
            .path_length = wanted->path_length,
            .crl_url = crl,
            .issuer_url = cer,
        },
        &tbs, &size);
    if (status != CA_OK)
        return status;
    return ceremony_sign(ceremony, signer, tbs, size, hex, ret_der, ret_size);
}

/* ---- Issuers ---- */

/* The new certificate before its signer's chain, PEM; free() it. */
static char *
chain_format(const uint8_t *der, size_t size, const char *rest)
{
    CA_AUTO(BIO_free_all) BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    if (!bio || PEM_write_bio(bio, "CERTIFICATE", "", der, (long)size) <= 0 ||
        (rest && BIO_puts(bio, rest) < 0))
        return NULL;
    long length = BIO_get_mem_data(bio, &text);
    return strndup(text, (size_t)length);
}

static enum ca_status
issuer_step(struct store_tx *tx, void *arg)
{
    struct authority *authority = arg;
    enum ca_status status = authority_insert(tx, authority);
    if (status != CA_OK)
        return status;
    char object[96];
    snprintf(object, sizeof object, "issuer:%s", authority->name);
    CA_AUTO(json_decref)
    json_t *detail = json_pack("{s:s?, s:s?, s:s?}", "key", authority->key, "parent",
                               authority->parent, "subject", authority->subject);
    return audit_append(tx, &(struct audit_entry){
                                .action = "issuer.create",
                                .actor = "system",
                                .object = object,
                                .protocol = "command",
                                .outcome = "ok",
                                .detail = detail,
                            });
}

static enum ca_status
issuer_record(const struct ceremony *ceremony, const struct ceremony_issuer *wanted,
              const char *uri, char *chain)
{
    CA_AUTO(X509_NAME_free) X509_NAME *subject = NULL;
    enum ca_status status = names_parse_subject(wanted->subject, &subject);
    struct authority authority = {
        .name = strdup(wanted->name),
        .subject = subject ? names_format_subject(subject) : NULL,
        .key = strdup(uri),
        .state = wanted->state,
        .parent = wanted->parent ? strdup(wanted->parent) : NULL,
        .chain = chain,
        /* A root signs rarely: its list may be older. */
        .crl = { .lifetime_seconds = wanted->parent ? 7 * 86400 : 90 * 86400,
                 .overlap_seconds = wanted->parent ? 86400 : 14 * 86400 },
    };
    if (status == CA_OK)
        status = store_write(ceremony->store, issuer_step, &authority);
    authority_clear(&authority);
    return status;
}

static enum ca_status
name_is_free(const struct ceremony *ceremony, const char *name)
{
    struct authority authority = { 0 };
    enum ca_status status = ceremony_authority_read(ceremony, name, &authority);
    authority_clear(&authority);
    if (status == CA_OK)
        return ca_fail(CA_CONFLICT, "issuer '%s' exists already", name);
    return status == CA_NOT_FOUND ? CA_OK : status;
}

enum ca_status
ceremony_create_issuer(const struct ceremony *ceremony,
                       const struct ceremony_issuer *wanted)
{
    CA_AUTO(free) char *uri = NULL;
    CA_AUTO(ceremony_signer_clear) struct ceremony_signer signer = { 0 };
    struct token_key *key = NULL;
    enum ca_status status = name_is_free(ceremony, wanted->name);
    if (status == CA_OK && wanted->parent)
        status = ceremony_signer_load(ceremony, wanted->parent, &signer);
    if (status == CA_OK)
        status = ceremony_key_generate(ceremony, wanted->name, "sign",
                                       wanted->algorithm, TOKEN_USE_SIGN, &uri);
    if (status == CA_OK)
        status = token_key_find(ceremony->tokens, uri, TOKEN_USE_SIGN, NULL, &key);
    CA_AUTO(X509_PUBKEY_free) X509_PUBKEY *spki = NULL;
    if (status == CA_OK)
        status = ceremony_key_public(key, &spki);
    if (status != CA_OK)
        return status;
    if (!wanted->parent) {
        signer.key = key;
        signer.name = strdup(wanted->name);
    }
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    size_t size = 0;
    status = hierarchy_build(ceremony, &signer,
                             &(struct hierarchy){
                                 .kind = wanted->parent ? TBS_ISSUING : TBS_ROOT,
                                 .subject = wanted->subject,
                                 .validity = wanted->validity,
                                 .path_length = wanted->path_length,
                             },
                             spki, &der, &size);
    if (status != CA_OK)
        return status;
    char *chain = chain_format(der, size, signer.chain);
    if (!chain)
        return ca_fail(CA_INTERNAL, "no memory for a chain");
    return issuer_record(ceremony, wanted, uri, chain);
}

/* ---- Helpers ---- */

static unsigned
helper_uses(int role)
{
    static const unsigned uses[HELPER_ROLE_COUNT] = {
        /* One RA certificate both signs and opens: the exception of the key template.
         */
        [HELPER_RA] = TOKEN_USE_SIGN | TOKEN_USE_DECRYPT,
        [HELPER_OCSP] = TOKEN_USE_SIGN,
        [HELPER_AUDIT] = TOKEN_USE_SIGN,
        [HELPER_SEALING] = TOKEN_USE_DECRYPT,
    };
    return uses[role];
}

static enum ca_status
helper_step(struct store_tx *tx, void *arg)
{
    const struct helper *helper = arg;
    enum ca_status status = helper_insert(tx, helper);
    if (status != CA_OK)
        return status;
    char object[96];
    snprintf(object, sizeof object, "helper:%s", helper->name);
    CA_AUTO(json_decref)
    json_t *detail =
        json_pack("{s:s, s:s?, s:s?}", "role", helper_role_words[helper->role],
                  "issuer", helper->issuer, "key", helper->key);
    return audit_append(tx, &(struct audit_entry){
                                .action = "helper.create",
                                .actor = "system",
                                .object = object,
                                .protocol = "command",
                                .outcome = "ok",
                                .detail = detail,
                            });
}

static enum ca_status
helper_certify(const struct ceremony *ceremony, const struct ceremony_helper *wanted,
               struct token_key *key, struct helper *helper)
{
    CA_AUTO(ceremony_signer_clear) struct ceremony_signer signer = { 0 };
    CA_AUTO(X509_PUBKEY_free) X509_PUBKEY *spki = NULL;
    enum ca_status status = ceremony_signer_load(ceremony, wanted->issuer, &signer);
    if (status == CA_OK)
        status = ceremony_key_public(key, &spki);
    if (status != CA_OK)
        return status;
    uint8_t *der = NULL;
    size_t size = 0;
    status = hierarchy_build(ceremony, &signer,
                             &(struct hierarchy){
                                 .kind = wanted->role == HELPER_RA ? TBS_RA : TBS_OCSP,
                                 .subject = wanted->subject,
                                 .validity = wanted->validity,
                             },
                             spki, &der, &size);
    if (status != CA_OK)
        return status;
    helper->certificate = malloc(size);
    if (helper->certificate)
        memcpy(helper->certificate, der, size);
    helper->certificate_size = size;
    OPENSSL_free(der);
    return helper->certificate ? CA_OK : ca_fail(CA_INTERNAL, "no memory for a helper");
}

/* The label of a key's URI ("object=...") is the helper's name. */
static char *
label_of(const char *uri)
{
    const char *object = strstr(uri, "object=");
    return object ? strndup(object + 7, strcspn(object + 7, ";?")) : NULL;
}

enum ca_status
ceremony_create_helper(const struct ceremony *ceremony,
                       const struct ceremony_helper *wanted)
{
    CA_AUTO(free) char *uri = NULL;
    struct token_key *key = NULL;
    unsigned uses = helper_uses(wanted->role);
    enum ca_status status = ceremony_key_generate(
        ceremony, wanted->issuer ? wanted->issuer : "domain",
        helper_role_words[wanted->role], wanted->algorithm, uses, &uri);
    if (status == CA_OK)
        status = token_key_find(ceremony->tokens, uri, uses, NULL, &key);
    if (status != CA_OK)
        return status;
    struct helper helper = {
        .name = label_of(uri),
        .role = wanted->role,
        .issuer = wanted->issuer ? strdup(wanted->issuer) : NULL,
        .key = CA_STEAL(uri),
        .current = true,
    };
    if (!helper.name)
        status = ca_fail(CA_INTERNAL, "a key's URI has no label");
    if (status == CA_OK && wanted->subject)
        status = helper_certify(ceremony, wanted, key, &helper);
    if (status == CA_OK)
        status = store_write(ceremony->store, helper_step, &helper);
    helper_clear(&helper);
    return status;
}

/* ---- Roll-over and leaves ---- */

struct next_change {
    const char *name, *standby;
};

static enum ca_status
next_step(struct store_tx *tx, void *arg)
{
    const struct next_change *change = arg;
    struct authority authority = { 0 };
    enum ca_status status = authority_load(tx, change->name, &authority);
    if (status != CA_OK)
        return status;
    free(authority.next);
    authority.next = strdup(change->standby);
    status = authority_update(tx, &authority);
    authority_clear(&authority);
    if (status != CA_OK)
        return status;
    char object[96];
    snprintf(object, sizeof object, "issuer:%s", change->name);
    CA_AUTO(json_decref) json_t *detail = json_pack("{s:s}", "next", change->standby);
    return audit_append(tx, &(struct audit_entry){
                                .action = "issuer.rollover",
                                .actor = "system",
                                .object = object,
                                .protocol = "command",
                                .outcome = "ok",
                                .detail = detail,
                            });
}

enum ca_status
ceremony_set_next(const struct ceremony *ceremony, const char *name,
                  const char *standby)
{
    struct next_change change = { .name = name, .standby = standby };
    return store_write(ceremony->store, next_step, &change);
}

enum ca_status
ceremony_issue_leaf(const struct ceremony *ceremony, const struct ceremony_leaf *wanted,
                    uint8_t **ret_der, size_t *ret_size)
{
    CA_AUTO(ceremony_signer_clear) struct ceremony_signer signer = { 0 };
    uint8_t serial[16];
    char hex[33];
    enum ca_status status = ceremony_signer_load(ceremony, wanted->issuer, &signer);
    if (status == CA_OK)
        status = tbs_draw_serial(serial, hex);
    if (status != CA_OK)
        return status;
    CA_AUTO(free) char *crl = url_of(ceremony, "crl", signer.name, ".crl");
    CA_AUTO(free) char *cer = url_of(ceremony, "issuer", signer.name, ".cer");
    CA_AUTO(openssl_free) uint8_t *tbs = NULL;
    size_t size = 0;
    int64_t not_before, not_after;
    status = tbs_build(&(struct tbs_input){ .profile = wanted->profile,
                                            .issuer = signer.certificate,
                                            .names = wanted->names,
                                            .key = wanted->key,
                                            .serial = serial,
                                            .serial_size = sizeof serial,
                                            .now = clock_now(),
                                            .crl_url = crl,
                                            .issuer_url = cer },
                       &tbs, &size, &not_before, &not_after);
    if (status != CA_OK)
        return status;
    return ceremony_sign(ceremony, &signer, tbs, size, hex, ret_der, ret_size);
}

enum ca_status
ceremony_chain(const struct ceremony *ceremony, const char *issuer, char **ret_pem)
{
    struct authority authority = { 0 };
    enum ca_status status = ceremony_authority_read(ceremony, issuer, &authority);
    if (status != CA_OK)
        return status;
    *ret_pem = CA_STEAL(authority.chain);
    authority_clear(&authority);
    return CA_OK;
}
