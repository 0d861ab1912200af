/* The key ceremony: issuers, helper keys and the daemon's own TLS certificate. */
#include "ceremony.h"
#include "audit.h"
#include "ceremony_key.h"
#include "clock.h"
#include "issuer.h"
#include "lint.h"
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

const char *
ceremony_actor(const struct ceremony *ceremony)
{
    return ceremony->actor ? ceremony->actor : "system";
}

enum ca_status
ceremony_audit(const struct ceremony *ceremony, struct store_tx *tx, const char *action,
               json_t *detail, const char *object, ...)
{
    CA_AUTO(json_decref) json_t *owned = detail;
    char name[96];
    va_list args;
    va_start(args, object);
    vsnprintf(name, sizeof name, object, args);
    va_end(args);
    return audit_append(tx, &(struct audit_entry){
                                .action = action,
                                .actor = ceremony_actor(ceremony),
                                .object = name,
                                .protocol = "command",
                                .outcome = "ok",
                                .detail = owned,
                            });
}

void
ceremony_made_clear(struct ceremony_made *made)
{
    free(made->key);
    OPENSSL_free(made->der);
    *made = (struct ceremony_made){ 0 };
}

enum ca_status
ceremony_hierarchy_tbs(const struct ceremony *ceremony,
                       const struct ceremony_signer *signer,
                       const struct hierarchy *wanted, struct ceremony_made *ret_tbs,
                       char ret_serial[33])
{
    CA_AUTO(X509_NAME_free) X509_NAME *subject = NULL;
    uint8_t serial[16];
    enum ca_status status = names_parse_subject(wanted->subject, &subject);
    if (status == CA_OK)
        status = tbs_draw_serial(serial, ret_serial);
    if (status != CA_OK)
        return status;
    bool is_root = signer->certificate == NULL;
    CA_AUTO(free)
    char *crl = is_root ? NULL : url_of(ceremony, "crl", signer->name, ".crl");
    CA_AUTO(free)
    char *cer = is_root ? NULL : url_of(ceremony, "issuer", signer->name, ".cer");
    return tbs_build_authority(
        &(struct tbs_authority){
            .kind = wanted->kind,
            .subject = subject,
            .key = wanted->key,
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
        &ret_tbs->der, &ret_tbs->size);
}

enum ca_status
ceremony_hierarchy_make(const struct ceremony *ceremony,
                        const struct ceremony_signer *signer,
                        const struct hierarchy *wanted, struct ceremony_made *ret_made)
{
    CA_AUTO(ceremony_made_clear) struct ceremony_made tbs = { 0 };
    char serial[33];
    enum ca_status status = CA_OK;
    if (wanted->kind == TBS_ISSUING)
        status = ceremony_check_room(signer->chain, wanted->path_length);
    if (status == CA_OK)
        status = ceremony_hierarchy_tbs(ceremony, signer, wanted, &tbs, serial);
    if (status != CA_OK)
        return status;
    return ceremony_sign(ceremony, signer, tbs.der, tbs.size, serial, &ret_made->der,
                         &ret_made->size);
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

struct issuer_note {
    const struct ceremony *ceremony;
    struct authority *authority;
};

static enum ca_status
issuer_step(struct store_tx *tx, void *arg)
{
    const struct issuer_note *note = arg;
    struct authority *authority = note->authority;
    enum ca_status status = authority_insert(tx, authority);
    if (status != CA_OK)
        return status;
    return ceremony_audit(note->ceremony, tx, "issuer.create",
                          json_pack("{s:s?, s:s?, s:s?}", "key", authority->key,
                                    "parent", authority->parent, "subject",
                                    authority->subject),
                          "issuer:%s", authority->name);
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
        .crl = { .lifetime_seconds =
                     wanted->parent ? CEREMONY_CRL_LIFETIME : 90 * 86400,
                 .overlap_seconds =
                     wanted->parent ? CEREMONY_CRL_OVERLAP : 14 * 86400 },
    };
    if (status == CA_OK)
        status = store_write(ceremony->store, issuer_step,
                             &(struct issuer_note){ ceremony, &authority });
    authority_clear(&authority);
    return status;
}

static enum ca_status
name_is_free(const struct ceremony *ceremony, const char *name)
{
    struct authority authority = { 0 };
    enum ca_status status = authority_read(ceremony->store, name, &authority);
    authority_clear(&authority);
    if (status == CA_OK)
        return ca_fail(CA_CONFLICT, "issuer '%s' exists already", name);
    return status == CA_NOT_FOUND ? CA_OK : status;
}

/* The new key, and who signs for it: the parent, or itself. */
static enum ca_status
issuer_prepare(const struct ceremony *ceremony, const struct ceremony_issuer *wanted,
               struct ceremony_signer *ret_signer, char **ret_uri,
               X509_PUBKEY **ret_spki)
{
    struct token_key *key = NULL;
    CA_AUTO(ceremony_signer_clear) struct ceremony_signer signer = { 0 };
    CA_AUTO(X509_NAME_free) X509_NAME *subject = NULL;
    enum ca_status status = name_is_free(ceremony, wanted->name);
    if (status == CA_OK)
        status = names_parse_subject(wanted->subject, &subject);
    if (status == CA_OK && wanted->parent)
        status = ceremony_signer_load(ceremony, wanted->parent, &signer);
    /* Before a key is made that could not be certified. */
    if (status == CA_OK && wanted->parent)
        status = ceremony_check_room(signer.chain, wanted->path_length);
    if (status == CA_OK)
        status = ceremony_key_generate(ceremony, wanted->name, "sign",
                                       wanted->algorithm, TOKEN_USE_SIGN, ret_uri);
    if (status == CA_OK)
        status = token_key_find(ceremony->tokens, *ret_uri, TOKEN_USE_SIGN, NULL, &key);
    if (status == CA_OK)
        status = ceremony_key_public(key, ret_spki);
    if (status != CA_OK)
        return status;
    if (!wanted->parent) {
        signer.key = key;
        signer.name = strdup(wanted->name);
    }
    *ret_signer = signer;
    signer = (struct ceremony_signer){ 0 };
    return CA_OK;
}

enum ca_status
ceremony_make_issuer(const struct ceremony *ceremony,
                     const struct ceremony_issuer *wanted,
                     struct ceremony_made *ret_made)
{
    CA_AUTO(ceremony_made_clear) struct ceremony_made made = { 0 };
    CA_AUTO(ceremony_signer_clear) struct ceremony_signer signer = { 0 };
    CA_AUTO(X509_PUBKEY_free) X509_PUBKEY *spki = NULL;
    enum ca_status status = issuer_prepare(ceremony, wanted, &signer, &made.key, &spki);
    if (status != CA_OK)
        return status;
    status =
        ceremony_hierarchy_make(ceremony, &signer,
                                &(struct hierarchy){
                                    .kind = wanted->parent ? TBS_ISSUING : TBS_ROOT,
                                    .subject = wanted->subject,
                                    .validity = wanted->validity,
                                    .path_length = wanted->path_length,
                                    .key = spki,
                                },
                                &made);
    if (status != CA_OK)
        return status;
    char *chain = chain_format(made.der, made.size, signer.chain);
    if (!chain)
        return ca_fail(CA_INTERNAL, "no memory for a chain");
    status = issuer_record(ceremony, wanted, made.key, chain);
    if (status != CA_OK || !ret_made)
        return status;
    *ret_made = made;
    made = (struct ceremony_made){ 0 };
    return CA_OK;
}

enum ca_status
ceremony_create_issuer(const struct ceremony *ceremony,
                       const struct ceremony_issuer *wanted)
{
    return ceremony_make_issuer(ceremony, wanted, NULL);
}

/* ---- Helpers ---- */

unsigned
ceremony_helper_uses(int role)
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

struct helper_note {
    const struct ceremony *ceremony;
    const struct helper *helper;
};

static enum ca_status
helper_step(struct store_tx *tx, void *arg)
{
    const struct helper_note *note = arg;
    const struct helper *helper = note->helper;
    enum ca_status status = helper_insert(tx, helper);
    if (status != CA_OK)
        return status;
    return ceremony_audit(note->ceremony, tx, "helper.create",
                          json_pack("{s:s, s:s?, s:s?}", "role",
                                    helper_role_words[helper->role], "issuer",
                                    helper->issuer, "key", helper->key),
                          "helper:%s", helper->name);
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
    CA_AUTO(ceremony_made_clear) struct ceremony_made made = { 0 };
    status = ceremony_hierarchy_make(
        ceremony, &signer,
        &(struct hierarchy){
            .kind = wanted->role == HELPER_RA ? TBS_RA : TBS_OCSP,
            .subject = wanted->subject,
            .validity = wanted->validity,
            .key = spki,
        },
        &made);
    if (status != CA_OK)
        return status;
    helper->certificate = malloc(made.size);
    if (!helper->certificate)
        return ca_fail(CA_INTERNAL, "no memory for a helper");
    memcpy(helper->certificate, made.der, made.size);
    helper->certificate_size = made.size;
    return CA_OK;
}

/* The label of a key's URI ("object=...") is the helper's name. */
static char *
label_of(const char *uri)
{
    const char *object = strstr(uri, "object=");
    return object ? strndup(object + 7, strcspn(object + 7, ";?")) : NULL;
}

/* What was made, for who wants to know. */
static enum ca_status
helper_tell(const struct helper *helper, struct ceremony_made *ret_made)
{
    struct ceremony_made made = { .key = strdup(helper->key) };
    if (helper->certificate)
        made.der = OPENSSL_memdup(helper->certificate, helper->certificate_size);
    made.size = helper->certificate_size;
    if (!made.key || (helper->certificate && !made.der)) {
        ceremony_made_clear(&made);
        return ca_fail(CA_INTERNAL, "no memory for a helper");
    }
    *ret_made = made;
    return CA_OK;
}

enum ca_status
ceremony_make_helper(const struct ceremony *ceremony,
                     const struct ceremony_helper *wanted,
                     struct ceremony_made *ret_made)
{
    CA_AUTO(free) char *uri = NULL;
    struct token_key *key = NULL;
    unsigned uses = ceremony_helper_uses(wanted->role);
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
        status = store_write(ceremony->store, helper_step,
                             &(struct helper_note){ ceremony, &helper });
    if (status == CA_OK && ret_made)
        status = helper_tell(&helper, ret_made);
    helper_clear(&helper);
    return status;
}

enum ca_status
ceremony_create_helper(const struct ceremony *ceremony,
                       const struct ceremony_helper *wanted)
{
    return ceremony_make_helper(ceremony, wanted, NULL);
}

/* ---- Leaves ---- */

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
    CA_AUTO(X509_free) X509 *issuer = NULL;
    CA_AUTO(x509_stack_free) STACK_OF(X509) *chain = NULL;
    if (status == CA_OK)
        status = issuer_chain_decode(signer.chain, &issuer, &chain);
    if (status == CA_OK)
        status = lint_chain(tbs, size, issuer, chain);
    if (status != CA_OK)
        return status;
    return ceremony_sign(ceremony, &signer, tbs, size, hex, ret_der, ret_size);
}

enum ca_status
ceremony_chain(const struct ceremony *ceremony, const char *issuer, char **ret_pem)
{
    struct authority authority = { 0 };
    enum ca_status status = authority_read(ceremony->store, issuer, &authority);
    if (status != CA_OK)
        return status;
    *ret_pem = CA_STEAL(authority.chain);
    authority_clear(&authority);
    return CA_OK;
}
