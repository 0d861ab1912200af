/* The issuers in memory: read from the store, their keys found in the tokens, held by
 * reference while a reload puts others in their place. */
#include "issuer.h"
#include "log.h"
#include "tbs.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdatomic.h>
#include <string.h>

#define CHAIN_MAX 8
#define SIGNATURE_MAX 1024

struct issuer_entry {
    struct issuer issuer;
    char *uri, *standby_uri;
};

/* What is to be signed. */
struct sign_input {
    const EVP_MD *digest;
    const void *data;
    size_t size;
};

struct helper_entry {
    struct issuer_helper helper;
    char *uri;
};

struct issuers {
    atomic_uint references;
    struct issuer_entry *entries;
    size_t count;
    struct helper_entry *helpers;
    size_t helper_count;
};

static void
issuers_clear(struct issuers *issuers)
{
    for (size_t i = 0; i < issuers->count; i++) {
        struct issuer *issuer = &issuers->entries[i].issuer;
        free(issuer->name);
        free(issuer->next);
        free(issuers->entries[i].uri);
        free(issuers->entries[i].standby_uri);
        X509_free(issuer->certificate);
        sk_X509_pop_free(issuer->chain, X509_free);
    }
    for (size_t i = 0; i < issuers->helper_count; i++) {
        struct issuer_helper *helper = &issuers->helpers[i].helper;
        free(helper->name);
        free(helper->issuer);
        free(issuers->helpers[i].uri);
        X509_free(helper->certificate);
    }
    free(issuers->entries);
    free(issuers->helpers);
    issuers->entries = NULL;
    issuers->helpers = NULL;
    issuers->count = issuers->helper_count = 0;
}

/* ---- Reading the records ---- */

/* PEM, own certificate first: the first one and the rest. */
enum ca_status
issuer_chain_decode(const char *pem, X509 **ret_certificate, STACK_OF(X509) **ret_chain)
{
    CA_AUTO(BIO_free_all) BIO *bio = BIO_new_mem_buf(pem, -1);
    CA_AUTO(x509_stack_free) STACK_OF(X509) *chain = sk_X509_new_null();
    X509 *one;
    if (!bio || !chain)
        return ca_fail(CA_INTERNAL, "no memory for a chain");
    while ((one = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        if (sk_X509_num(chain) > CHAIN_MAX || !sk_X509_push(chain, one)) {
            X509_free(one);
            return ca_fail(CA_MALFORMED, "chain has more than %d certificates",
                           CHAIN_MAX);
        }
    }
    bool is_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (!is_end || sk_X509_num(chain) == 0)
        return ca_fail_openssl(CA_MALFORMED, "chain is not PEM certificates");
    ERR_clear_error();
    *ret_certificate = sk_X509_shift(chain);
    *ret_chain = CA_STEAL(chain);
    return CA_OK;
}

static bool
copy_text(const char *text, char **ret_copy)
{
    *ret_copy = text ? strdup(text) : NULL;
    return !text || *ret_copy;
}

/* Room for one more at the end, zeroed; NULL: memory. */
static void *
list_grow(void *items, size_t count, size_t size)
{
    char *grown = reallocarray(items, count + 1, size);
    if (grown)
        memset(grown + count * size, 0, size);
    return grown;
}

static enum ca_status
visit_authority(const void *record, void *arg)
{
    const struct authority *authority = record;
    struct issuers *issuers = arg;
    struct issuer_entry *entries =
        list_grow(issuers->entries, issuers->count, sizeof *entries);
    if (!entries)
        return ca_fail(CA_INTERNAL, "no memory for issuers");
    issuers->entries = entries;
    struct issuer_entry *entry = &entries[issuers->count++];
    struct issuer *issuer = &entry->issuer;
    issuer->state = authority->state;
    issuer->crl_lifetime = authority->crl.lifetime_seconds;
    issuer->crl_overlap = authority->crl.overlap_seconds;
    if (!copy_text(authority->name, &issuer->name) ||
        !copy_text(authority->next, &issuer->next) ||
        !copy_text(authority->key, &entry->uri) ||
        !copy_text(authority->standby_key, &entry->standby_uri))
        return ca_fail(CA_INTERNAL, "no memory for issuers");
    enum ca_status status = issuer_chain_decode(
        authority->chain ? authority->chain : "", &issuer->certificate, &issuer->chain);
    if (status != CA_OK)
        return ca_fail(status, "issuer '%s': %s", authority->name, status_message());
    return CA_OK;
}

static enum ca_status
visit_helper(const void *record, void *arg)
{
    const struct helper *found = record;
    struct issuers *issuers = arg;
    struct helper_entry *helpers =
        list_grow(issuers->helpers, issuers->helper_count, sizeof *helpers);
    if (!helpers)
        return ca_fail(CA_INTERNAL, "no memory for helpers");
    issuers->helpers = helpers;
    struct helper_entry *entry = &helpers[issuers->helper_count++];
    struct issuer_helper *helper = &entry->helper;
    helper->role = found->role;
    helper->current = found->current;
    if (!copy_text(found->name, &helper->name) ||
        !copy_text(found->issuer, &helper->issuer) ||
        !copy_text(found->key, &entry->uri))
        return ca_fail(CA_INTERNAL, "no memory for helpers");
    if (!found->certificate)
        return CA_OK;
    const uint8_t *at = found->certificate;
    helper->certificate = d2i_X509(NULL, &at, (long)found->certificate_size);
    if (!helper->certificate ||
        at != (const uint8_t *)found->certificate + found->certificate_size)
        return ca_fail_openssl(CA_INTERNAL, "helper '%s' has a broken certificate",
                               found->name);
    return CA_OK;
}

static enum ca_status
read_records(struct store_tx *tx, void *arg)
{
    struct issuers *issuers = arg;
    issuers_clear(issuers);
    size_t before;
    enum ca_status status;
    do {
        before = issuers->count;
        char *after = before > 0 ? issuers->entries[before - 1].issuer.name : NULL;
        struct record_page page = { .after = after, .limit = RECORD_PAGE_MAX };
        status = authority_list(tx, &page, visit_authority, issuers);
    } while (status == CA_OK && issuers->count == before + RECORD_PAGE_MAX);
    return status == CA_OK ? helper_list(tx, visit_helper, issuers) : status;
}

/* ---- What may sign (SECURITY H2) ---- */

/* Digests of signatures that count for nothing any more. */
static bool
has_weak_signature(X509 *certificate)
{
    int digest = NID_undef;
    return !X509_get_signature_info(certificate, &digest, NULL, NULL, NULL) ||
           digest == NID_sha1 || digest == NID_md5 || digest == NID_md5_sha1;
}

/* From the certificate to the self-signed end of its own chain, strictly. */
static enum ca_status
check_path(X509 *certificate, STACK_OF(X509) *chain, int64_t now)
{
    int count = sk_X509_num(chain);
    X509 *root = count > 0 ? sk_X509_value(chain, count - 1) : certificate;
    CA_AUTO(X509_STORE_free) X509_STORE *trust = X509_STORE_new();
    CA_AUTO(X509_STORE_CTX_free) X509_STORE_CTX *context = X509_STORE_CTX_new();
    if (!trust || !context || !X509_STORE_add_cert(trust, root) ||
        !X509_STORE_CTX_init(context, trust, certificate, chain))
        return ca_fail_openssl(CA_INTERNAL, "cannot verify a chain");
    X509_STORE_CTX_set_flags(context,
                             X509_V_FLAG_X509_STRICT | X509_V_FLAG_CHECK_SS_SIGNATURE);
    if (now < 0)
        X509_STORE_CTX_set_flags(context, X509_V_FLAG_NO_CHECK_TIME);
    else
        X509_STORE_CTX_set_time(context, 0, (time_t)now);
    if (X509_verify_cert(context) != 1) {
        int error = X509_STORE_CTX_get_error(context);
        ERR_clear_error();
        return ca_fail(CA_FORBIDDEN, "issuer's chain: %s",
                       X509_verify_cert_error_string(error));
    }
    return CA_OK;
}

/* H1: OpenSSL does not count the last certificate, but this one will have leaves. */
static enum ca_status
check_path_lengths(STACK_OF(X509) *chain)
{
    for (int i = 0; i < sk_X509_num(chain); i++) {
        int length;
        enum ca_status status = tbs_check_issuer(sk_X509_value(chain, i), &length);
        if (status != CA_OK)
            return status;
        if (length >= 0 && length < i + 1)
            return ca_fail(CA_FORBIDDEN,
                           "issuer's chain: a path length of %d leaves no room",
                           length);
    }
    return CA_OK;
}

enum ca_status
issuer_check(X509 *certificate, STACK_OF(X509) *chain, int64_t now)
{
    enum ca_status status = tbs_check_issuer(certificate, NULL);
    if (status != CA_OK)
        return status;
    ASN1_BIT_STRING *usage = X509_get_ext_d2i(certificate, NID_key_usage, NULL, NULL);
    bool may_sign_crl = usage && ASN1_BIT_STRING_get_bit(usage, 6);
    ASN1_BIT_STRING_free(usage);
    if (!may_sign_crl)
        return ca_fail(CA_FORBIDDEN, "the issuer's certificate has no cRLSign");
    if (has_weak_signature(certificate))
        return ca_fail_openssl(CA_FORBIDDEN,
                               "the issuer's certificate has a weak signature");
    /* The root's own signature proves nothing and may be old. */
    for (int i = 0; i + 1 < sk_X509_num(chain); i++) {
        if (has_weak_signature(sk_X509_value(chain, i)))
            return ca_fail_openssl(CA_FORBIDDEN, "the chain has a weak signature");
    }
    EVP_PKEY *key = X509_get0_pubkey(certificate);
    if (!key || !tbs_digest(key))
        return ca_fail(CA_UNSUPPORTED, "the issuer's key is of a kind that does not "
                                       "sign here");
    status = check_path_lengths(chain);
    return status == CA_OK ? check_path(certificate, chain, now) : status;
}

/* ---- Their keys ---- */

static void
find_issuer_key(struct issuer_entry *entry, struct token_set *tokens)
{
    struct issuer *issuer = &entry->issuer;
    if (!entry->uri)
        return;
    /* Without the time: an issuer that has expired still signs its last CRL. */
    enum ca_status status = issuer_check(issuer->certificate, issuer->chain, -1);
    if (status == CA_OK)
        status = token_key_find(tokens, entry->uri, TOKEN_USE_SIGN, issuer->certificate,
                                &issuer->key);
    if (status != CA_OK)
        log_write(LOG_LEVEL_ERROR, json_pack("{s:s}", "issuer", issuer->name),
                  "issuer cannot sign: %s", status_message());
}

/* The certificate vouches that it is the same key; the first need not be there. */
static void
find_standby_key(struct issuer_entry *entry, struct token_set *tokens)
{
    struct issuer *issuer = &entry->issuer;
    struct token_key *standby = NULL;
    if (!entry->standby_uri)
        return;
    enum ca_status status = issuer_check(issuer->certificate, issuer->chain, -1);
    if (status == CA_OK)
        status = token_key_find(tokens, entry->standby_uri, TOKEN_USE_SIGN,
                                issuer->certificate, &standby);
    if (status == CA_OK && standby == issuer->key)
        status = ca_fail(CA_CONFLICT, "it is the first key itself");
    if (status != CA_OK)
        log_write(LOG_LEVEL_ERROR, json_pack("{s:s}", "issuer", issuer->name),
                  "the standby key cannot be used: %s", status_message());
    else if (issuer->key)
        issuer->standby = standby;
    else
        issuer->key = standby;
}

static void
find_helper_key(struct helper_entry *entry, struct token_set *tokens)
{
    static const unsigned uses[HELPER_ROLE_COUNT] = {
        [HELPER_RA] = TOKEN_USE_SIGN | TOKEN_USE_DECRYPT,
        [HELPER_OCSP] = TOKEN_USE_SIGN,
        [HELPER_AUDIT] = TOKEN_USE_SIGN,
        [HELPER_SEALING] = TOKEN_USE_DECRYPT,
    };
    struct issuer_helper *helper = &entry->helper;
    if (!entry->uri || (unsigned)helper->role >= HELPER_ROLE_COUNT)
        return;
    enum ca_status status = token_key_find(tokens, entry->uri, uses[helper->role],
                                           helper->certificate, &helper->key);
    if (status != CA_OK)
        log_write(LOG_LEVEL_ERROR, json_pack("{s:s}", "helper", helper->name),
                  "helper key cannot be used: %s", status_message());
}

static void
issuers_release_auto(struct issuers **issuers)
{
    issuers_release(*issuers);
}

enum ca_status
issuers_load(struct store *store, struct token_set *tokens,
             struct issuers **ret_issuers)
{
    CA_AUTO(issuers_release) struct issuers *issuers = calloc(1, sizeof *issuers);
    if (!issuers)
        return ca_fail(CA_INTERNAL, "no memory for issuers");
    atomic_init(&issuers->references, 1);
    enum ca_status status = store_read(store, read_records, issuers);
    if (status != CA_OK)
        return status;
    for (size_t i = 0; tokens && i < issuers->count; i++) {
        find_issuer_key(&issuers->entries[i], tokens);
        find_standby_key(&issuers->entries[i], tokens);
    }
    for (size_t i = 0; tokens && i < issuers->helper_count; i++)
        find_helper_key(&issuers->helpers[i], tokens);
    *ret_issuers = CA_STEAL(issuers);
    return CA_OK;
}

struct issuers *
issuers_hold(struct issuers *issuers)
{
    if (issuers)
        atomic_fetch_add(&issuers->references, 1);
    return issuers;
}

void
issuers_release(struct issuers *issuers)
{
    if (!issuers || atomic_fetch_sub(&issuers->references, 1) != 1)
        return;
    issuers_clear(issuers);
    free(issuers);
}

/* ---- Look-ups ---- */

size_t
issuers_count(const struct issuers *issuers)
{
    return issuers ? issuers->count : 0;
}

const struct issuer *
issuers_at(const struct issuers *issuers, size_t index)
{
    return index < issuers->count ? &issuers->entries[index].issuer : NULL;
}

const struct issuer *
issuers_find(const struct issuers *issuers, const char *name)
{
    for (size_t i = 0; i < issuers->count; i++) {
        if (strcmp(issuers->entries[i].issuer.name, name) == 0)
            return &issuers->entries[i].issuer;
    }
    return NULL;
}

/* Byte for byte: we wrote the issuer's name and the key id (SECURITY S3). */
static bool
names_are_equal(const X509_NAME *a, const X509_NAME *b)
{
    const unsigned char *a_der, *b_der;
    size_t a_size, b_size;
    return X509_NAME_get0_der(a, &a_der, &a_size) &&
           X509_NAME_get0_der(b, &b_der, &b_size) && a_size == b_size &&
           memcmp(a_der, b_der, a_size) == 0;
}

static bool
has_key_id(const X509 *certificate, const ASN1_OCTET_STRING *wanted)
{
    CA_AUTO(ASN1_OCTET_STRING_free)
    ASN1_OCTET_STRING *id =
        X509_get_ext_d2i(certificate, NID_subject_key_identifier, NULL, NULL);
    return id && ASN1_OCTET_STRING_cmp(id, wanted) == 0;
}

const struct issuer *
issuers_of_certificate(const struct issuers *issuers, const X509 *certificate)
{
    AUTHORITY_KEYID *authority =
        X509_get_ext_d2i(certificate, NID_authority_key_identifier, NULL, NULL);
    const struct issuer *found = NULL;
    for (size_t i = 0; !found && authority && authority->keyid && i < issuers->count;
         i++) {
        const struct issuer *issuer = &issuers->entries[i].issuer;
        if (names_are_equal(X509_get_subject_name(issuer->certificate),
                            X509_get_issuer_name(certificate)) &&
            has_key_id(issuer->certificate, authority->keyid))
            found = issuer;
    }
    AUTHORITY_KEYID_free(authority);
    ERR_clear_error();
    return found;
}

const struct issuer_helper *
issuers_helper(const struct issuers *issuers, int role, const char *issuer,
               size_t index)
{
    /* helper_list gives the current ones first. */
    for (size_t i = 0; i < issuers->helper_count; i++) {
        const struct issuer_helper *helper = &issuers->helpers[i].helper;
        bool serves =
            !issuer || (helper->issuer && strcmp(helper->issuer, issuer) == 0);
        if (helper->role == role && serves && index-- == 0)
            return helper;
    }
    return NULL;
}

/* ---- Signing ---- */

/* A signature is good by the key of the certificate that relying parties have, whatever
 * the token says (SECURITY I1): token_sign verifies each one with the key's public
 * half, and that must be the certificate's. */
bool
issuer_is_up(const struct issuer *issuer)
{
    return issuer->key && (token_key_is_up(issuer->key) ||
                           (issuer->standby && token_key_is_up(issuer->standby)));
}

/* With the first key, unless its token is down or does not answer and there is another:
 * then nobody waits for its return. */
static enum ca_status
sign_with_any(const struct issuer *issuer, const struct sign_input *input,
              uint8_t *ret_signature, size_t room, size_t *ret_size)
{
    bool goes_first = !issuer->standby || token_key_is_up(issuer->key) ||
                      !token_key_is_up(issuer->standby);
    enum ca_status status = CA_UNAVAILABLE;
    if (goes_first)
        status = token_sign(issuer->key, input->digest, input->data, input->size,
                            ret_signature, room, ret_size);
    if (status != CA_UNAVAILABLE || !issuer->standby)
        return status;
    log_write(LOG_LEVEL_WARNING, json_pack("{s:s}", "issuer", issuer->name),
              "the standby key signs: %s",
              goes_first ? status_message() : "the first token is down");
    return token_sign(issuer->standby, input->digest, input->data, input->size,
                      ret_signature, room, ret_size);
}

enum ca_status
issuer_sign(const struct issuer *issuer, const uint8_t *tbs, size_t size,
            uint8_t **ret_der, size_t *ret_size)
{
    uint8_t signature[SIGNATURE_MAX];
    size_t signature_size;
    EVP_PKEY *key = X509_get0_pubkey(issuer->certificate);
    const EVP_MD *digest = key ? tbs_digest(key) : NULL;
    if (!issuer->key)
        return ca_fail(CA_UNAVAILABLE, "the key of issuer '%s' is not in a token here",
                       issuer->name);
    if (!digest)
        return ca_fail(CA_UNSUPPORTED, "issuer '%s' has a key that does not sign here",
                       issuer->name);
    if (!token_key_is_of(issuer->key, issuer->certificate))
        return ca_fail(CA_INTERNAL, "the key of issuer '%s' is not its certificate's",
                       issuer->name);
    if (issuer->standby && !token_key_is_of(issuer->standby, issuer->certificate))
        return ca_fail(CA_INTERNAL,
                       "the standby key of issuer '%s' is not its "
                       "certificate's",
                       issuer->name);
    const struct sign_input input = { digest, tbs, size };
    enum ca_status status =
        sign_with_any(issuer, &input, signature, sizeof signature, &signature_size);
    if (status != CA_OK)
        return status;
    return tbs_assemble(tbs, size, signature, signature_size, ret_der, ret_size);
}
