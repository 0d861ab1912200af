/* Rehearses the acts of a ceremony with software keys. */
#include "ceremony_rehearse.h"
#include "auto.h"
#include "ceremony_key.h"
#include "names.h"
#include "text.h"
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <string.h>

bool
rehearsal_knows(const struct rehearsal *rehearsal, const char *name)
{
    for (size_t i = 0; i < rehearsal->count; i++) {
        if (strcmp(rehearsal->issuers[i].name, name) == 0)
            return true;
    }
    return false;
}

void
rehearsal_clear(struct rehearsal *rehearsal)
{
    for (size_t i = 0; i < rehearsal->count; i++) {
        free(rehearsal->issuers[i].name);
        free(rehearsal->issuers[i].chain);
    }
    rehearsal->count = 0;
}

/* A key as the token would make it; NULL for an algorithm that nobody knows. */
static EVP_PKEY *
key_make(const char *algorithm)
{
    static const struct {
        const char *name, *curve;
        unsigned bits;
    } known[] = {
        { "p-256", "P-256", 0 },    { "p-384", "P-384", 0 },
        { "rsa-2048", NULL, 2048 }, { "rsa-3072", NULL, 3072 },
        { "rsa-4096", NULL, 4096 },
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i].name, algorithm) == 0)
            return known[i].curve ? EVP_EC_gen(known[i].curve)
                                  : EVP_RSA_gen(known[i].bits);
    }
    return NULL;
}

/* The chain of an issuer: of the rehearsal, else of the store; free() it. */
static enum ca_status
chain_of(const struct rehearsal *rehearsal, const char *name, char **ret_chain)
{
    for (size_t i = 0; i < rehearsal->count; i++) {
        if (strcmp(rehearsal->issuers[i].name, name) != 0)
            continue;
        if (!rehearsal->issuers[i].chain)
            return ca_fail(CA_CONFLICT, "'%s' has no certificate before it is imported",
                           name);
        *ret_chain = strdup(rehearsal->issuers[i].chain);
        return *ret_chain ? CA_OK : ca_fail(CA_INTERNAL, "no memory for a chain");
    }
    return ceremony_chain(rehearsal->ceremony, name, ret_chain);
}

static enum ca_status
name_is_free(const struct rehearsal *rehearsal, const char *name)
{
    CA_AUTO(free) char *chain = NULL;
    if (rehearsal_knows(rehearsal, name) ||
        ceremony_chain(rehearsal->ceremony, name, &chain) == CA_OK)
        return ca_fail(CA_CONFLICT, "issuer '%s' exists already", name);
    return CA_OK;
}

static enum ca_status
token_exists(const struct rehearsal *rehearsal, const char *token)
{
    struct token_set *set = rehearsal->ceremony->tokens;
    const char *wanted = token ? token : rehearsal->ceremony->token;
    for (size_t i = 0; i < token_set_count(set); i++) {
        struct token_health health;
        token_health(set, i, &health);
        if (strcmp(health.name, wanted) == 0)
            return CA_OK;
    }
    return ca_fail(CA_NOT_FOUND, "no token '%s' is configured", wanted);
}

/* The certificate that would be, with a signature of nothing, before its chain. */
static char *
chain_make(const uint8_t *der, size_t size, const char *above)
{
    CA_AUTO(BIO_free_all) BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    if (!bio || PEM_write_bio(bio, "CERTIFICATE", "", der, (long)size) <= 0 ||
        (above && BIO_puts(bio, above) < 0))
        return NULL;
    long length = BIO_get_mem_data(bio, &text);
    return strndup(text, (size_t)length);
}

static enum ca_status
remember(struct rehearsal *rehearsal, const char *name, char *chain)
{
    char *copy = strdup(name);
    if (rehearsal->count == REHEARSAL_MAX || !copy) {
        free(copy);
        free(chain);
        return ca_fail(CA_LIMIT, "a ceremony has at most %d issuers", REHEARSAL_MAX);
    }
    rehearsal->issuers[rehearsal->count].name = copy;
    rehearsal->issuers[rehearsal->count++].chain = chain;
    return CA_OK;
}

/* Builds what the signer would sign; `ret_chain` (may be NULL) to free(). */
static enum ca_status
build(const struct rehearsal *rehearsal, const char *signer_name,
      const struct hierarchy *wanted, json_t *record, char **ret_chain)
{
    CA_AUTO(ceremony_signer_clear) struct ceremony_signer signer = { 0 };
    CA_AUTO(ceremony_made_clear) struct ceremony_made tbs = { 0 };
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    size_t size = 0;
    char serial[33];
    enum ca_status status = CA_OK;
    if (signer_name) {
        signer.name = strdup(signer_name);
        status = chain_of(rehearsal, signer_name, &signer.chain);
        CA_AUTO(BIO_free_all)
        BIO *bio = status == CA_OK ? BIO_new_mem_buf(signer.chain, -1) : NULL;
        signer.certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
        if (status == CA_OK && !signer.certificate)
            status = ca_fail_openssl(CA_INTERNAL, "a chain has no certificate");
    }
    if (status == CA_OK && wanted->kind == TBS_ISSUING)
        status = ceremony_check_room(signer.chain, wanted->path_length);
    if (status == CA_OK)
        status =
            ceremony_hierarchy_tbs(rehearsal->ceremony, &signer, wanted, &tbs, serial);
    if (status == CA_OK)
        status = tbs_assemble(tbs.der, tbs.size, (const uint8_t *)"", 0, &der, &size);
    if (status != CA_OK)
        return status;
    const uint8_t *at = der;
    CA_AUTO(X509_free) X509 *certificate = d2i_X509(NULL, &at, (long)size);
    int64_t end = 0;
    char text[21];
    if (!certificate)
        return ca_fail_openssl(CA_INTERNAL, "what would be made does not decode");
    status = tbs_time_of(X509_get0_notAfter(certificate), &end);
    time_format(end, text);
    json_object_set_new(record, "would_end", json_string(text));
    if (status == CA_OK && ret_chain)
        *ret_chain = chain_make(der, size, signer.chain);
    return status;
}

static enum ca_status
rehearse_issuer(struct rehearsal *rehearsal, const struct ceremony_act *act,
                const X509_PUBKEY *spki, json_t *record)
{
    char *chain = NULL;
    enum ca_status status = name_is_free(rehearsal, act->name);
    if (status == CA_OK)
        status = build(rehearsal, act->parent,
                       &(struct hierarchy){
                           .kind = act->parent ? TBS_ISSUING : TBS_ROOT,
                           .subject = act->subject,
                           .validity = act->validity,
                           .path_length = (int)act->path_length,
                           .key = spki,
                       },
                       record, &chain);
    return status == CA_OK ? remember(rehearsal, act->name, chain) : status;
}

static enum ca_status
rehearse_helper(const struct rehearsal *rehearsal, const struct ceremony_act *act,
                const X509_PUBKEY *spki, json_t *record)
{
    if (!act->name)
        return CA_OK;
    return build(rehearsal, act->name,
                 &(struct hierarchy){
                     .kind = act->role == HELPER_RA ? TBS_RA : TBS_OCSP,
                     .subject = act->subject,
                     .validity = act->validity,
                     .key = spki,
                 },
                 record, NULL);
}

static enum ca_status
rehearse_csr(struct rehearsal *rehearsal, const struct ceremony_act *act)
{
    CA_AUTO(X509_NAME_free) X509_NAME *subject = NULL;
    CA_AUTO(free) char *chain = NULL;
    enum ca_status status = names_parse_subject(act->subject, &subject);
    /* Of one that exists: its certificate is renewed. */
    if (status != CA_OK ||
        ceremony_chain(rehearsal->ceremony, act->name, &chain) == CA_OK)
        return status;
    return rehearsal_knows(rehearsal, act->name)
               ? ca_fail(CA_CONFLICT, "issuer '%s' exists already", act->name)
               : remember(rehearsal, act->name, NULL);
}

static enum ca_status
rehearse_cross(const struct rehearsal *rehearsal, const struct ceremony_act *act)
{
    CA_AUTO(free) char *subject = NULL;
    CA_AUTO(free) char *by = NULL;
    enum ca_status status = chain_of(rehearsal, act->name, &subject);
    if (status == CA_OK)
        status = chain_of(rehearsal, act->parent, &by);
    if (status == CA_OK && strcmp(act->name, act->parent) == 0)
        status = ca_fail(CA_MALFORMED, "an issuer needs no certificate by itself");
    return status == CA_OK ? ceremony_check_room(by, 0) : status;
}

enum ca_status
rehearsal_act(struct rehearsal *rehearsal, const struct ceremony_act *act,
              json_t *record)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = key_make(act->algorithm);
    CA_AUTO(X509_PUBKEY_free) X509_PUBKEY *spki = NULL;
    CA_AUTO(free) char *chain = NULL;
    enum ca_status status = token_exists(rehearsal, act->token);
    if (status == CA_OK && !key)
        status = ca_fail(CA_UNSUPPORTED, "no key algorithm '%s'", act->algorithm);
    if (status == CA_OK && X509_PUBKEY_set(&spki, key) != 1)
        status = ca_fail_openssl(CA_INTERNAL, "a key without a public half");
    if (status != CA_OK)
        return status;
    bool decrypts =
        act->act == ACT_HELPER && ceremony_helper_uses(act->role) & TOKEN_USE_DECRYPT;
    if (decrypts && EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA)
        return ca_fail(CA_UNSUPPORTED, "a key '%s' cannot decrypt", act->algorithm);
    switch ((enum ceremony_kind)act->act) {
    case ACT_ROOT:
    case ACT_ISSUER: return rehearse_issuer(rehearsal, act, spki, record);
    case ACT_HELPER: return rehearse_helper(rehearsal, act, spki, record);
    case ACT_CSR: return rehearse_csr(rehearsal, act);
    case ACT_CROSS: return rehearse_cross(rehearsal, act);
    case ACT_CRL: return chain_of(rehearsal, act->name, &chain);
    case ACT_IMPORT: /* of a request of this very script: nobody has signed it yet */
    case ACT_KIND_COUNT:
    default:
        return ca_fail(CA_CONFLICT,
                       "'%s' is asked for in the same script: its "
                       "certificate cannot be there yet",
                       act->name);
    }
}
