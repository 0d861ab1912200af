/* Keys and signatures of the ceremony: each signature has its intent on record before
 * the token signs (SECURITY I1), here as at every enrolment. */
#include "ceremony_key.h"
#include "audit.h"
#include "certificate.h"
#include "clock.h"
#include "keycheck.h"
#include "keygen.h"
#include "names.h"
#include "text.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>
#include <time.h>

#define LABEL_TRIES 99

/* ---- The signer ---- */

void
ceremony_signer_clear(struct ceremony_signer *signer)
{
    free(signer->name);
    free(signer->chain);
    X509_free(signer->certificate);
}

static enum ca_status
signer_fill(const struct ceremony *ceremony, struct authority *authority,
            struct ceremony_signer *ret_signer)
{
    if (!authority->key)
        return ca_fail(CA_UNAVAILABLE, "the key of issuer '%s' is not here",
                       authority->name);
    CA_AUTO(BIO_free_all) BIO *bio = BIO_new_mem_buf(authority->chain, -1);
    CA_AUTO(X509_free)
    X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    if (!certificate)
        return ca_fail_openssl(CA_INTERNAL, "issuer '%s' has no certificate",
                               authority->name);
    struct token_key *key = NULL;
    enum ca_status status = token_key_find(ceremony->tokens, authority->key,
                                           TOKEN_USE_SIGN, certificate, &key);
    if (status != CA_OK)
        return status;
    *ret_signer = (struct ceremony_signer){
        .name = CA_STEAL(authority->name),
        .certificate = CA_STEAL(certificate),
        .key = key,
        .chain = CA_STEAL(authority->chain),
    };
    return CA_OK;
}

enum ca_status
ceremony_signer_load(const struct ceremony *ceremony, const char *issuer,
                     struct ceremony_signer *ret_signer)
{
    struct authority authority = { 0 };
    enum ca_status status = authority_read(ceremony->store, issuer, &authority);
    if (status != CA_OK)
        return status;
    status = signer_fill(ceremony, &authority, ret_signer);
    authority_clear(&authority);
    return status;
}

/* ---- One recorded signature ---- */

struct recorded {
    const struct ceremony *ceremony;
    const struct certificate *certificate;
    const void *der;
    size_t der_size;
};

static enum ca_status
reserve_step(struct store_tx *tx, void *arg)
{
    const struct recorded *recorded = arg;
    return certificate_reserve(tx, &(struct certificate_intent){
                                       .certificate = recorded->certificate,
                                       .run = recorded->ceremony->run,
                                   });
}

static enum ca_status
complete_step(struct store_tx *tx, void *arg)
{
    const struct recorded *recorded = arg;
    const struct certificate *certificate = recorded->certificate;
    enum ca_status status =
        certificate_complete(tx, certificate->serial, recorded->ceremony->run,
                             recorded->der, recorded->der_size);
    if (status != CA_OK)
        return status;
    return ceremony_audit(recorded->ceremony, tx, "certificate.issue",
                          json_pack("{s:s, s:s, s:s}", "issuer", certificate->issuer,
                                    "subject", certificate->subject, "spki_sha256",
                                    certificate->spki_sha256),
                          "certificate:%s", certificate->serial);
}

static int64_t
seconds_of(const ASN1_TIME *time)
{
    struct tm tm;
    return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* The TBS's own members as the inventory keeps them. */
static enum ca_status
describe(const struct ceremony_signer *signer, const uint8_t *tbs, size_t size,
         const char *serial, struct certificate *ret_certificate)
{
    static const uint8_t no_signature[64];
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    size_t der_size = 0;
    enum ca_status status =
        tbs_assemble(tbs, size, no_signature, sizeof no_signature, &der, &der_size);
    if (status != CA_OK)
        return status;
    const uint8_t *at = der;
    CA_AUTO(X509_free) X509 *certificate = d2i_X509(NULL, &at, (long)der_size);
    uint8_t digest[32];
    if (!certificate ||
        keycheck_digest(X509_get_X509_PUBKEY(certificate), digest) != CA_OK)
        return ca_fail_openssl(CA_INTERNAL, "a built certificate does not decode");
    char hex[65];
    hex_format(digest, sizeof digest, hex);
    void *copy = malloc(size);
    if (copy)
        memcpy(copy, tbs, size);
    *ret_certificate = (struct certificate){
        .serial = strdup(serial),
        .issuer = strdup(signer->name),
        .subject = names_format_subject(X509_get_subject_name(certificate)),
        .not_before = seconds_of(X509_get0_notBefore(certificate)),
        .not_after = seconds_of(X509_get0_notAfter(certificate)),
        .protocol = strdup("command"),
        .spki_sha256 = strdup(hex),
        .der = copy,
        .der_size = size,
    };
    return CA_OK;
}

/* Signs and verifies with the public half the certificate itself names. */
static enum ca_status
sign(const struct ceremony_signer *signer, const uint8_t *tbs, size_t size,
     uint8_t **ret_der, size_t *ret_size)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = token_key_pkey(signer->key);
    const EVP_MD *digest = key ? tbs_digest(key) : NULL;
    if (!digest)
        return ca_fail(CA_UNSUPPORTED, "issuers do not sign with a key of this kind");
    uint8_t signature[1024];
    size_t signature_size = 0;
    enum ca_status status = token_sign(signer->key, digest, tbs, size, signature,
                                       sizeof signature, &signature_size);
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    size_t der_size = 0;
    if (status == CA_OK)
        status = tbs_assemble(tbs, size, signature, signature_size, &der, &der_size);
    if (status != CA_OK)
        return status;
    const uint8_t *at = der;
    CA_AUTO(X509_free) X509 *certificate = d2i_X509(NULL, &at, (long)der_size);
    EVP_PKEY *public =
        X509_get0_pubkey(signer->certificate ? signer->certificate : certificate);
    if (!certificate || !public || X509_verify(certificate, public) != 1)
        return ca_fail_openssl(CA_INTERNAL, "the token's signature does not verify");
    *ret_der = CA_STEAL(der);
    *ret_size = der_size;
    return CA_OK;
}

/* Intent, signature, record. */
enum ca_status
ceremony_sign(const struct ceremony *ceremony, const struct ceremony_signer *signer,
              const uint8_t *tbs, size_t size, const char *serial, uint8_t **ret_der,
              size_t *ret_size)
{
    struct certificate certificate = { 0 };
    enum ca_status status = describe(signer, tbs, size, serial, &certificate);
    struct recorded recorded = { .ceremony = ceremony, .certificate = &certificate };
    if (status == CA_OK)
        status = store_write(ceremony->store, reserve_step, &recorded);
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    size_t der_size = 0;
    if (status == CA_OK)
        status = sign(signer, tbs, size, &der, &der_size);
    recorded.der = der;
    recorded.der_size = der_size;
    if (status == CA_OK)
        status = store_write(ceremony->store, complete_step, &recorded);
    certificate_clear(&certificate);
    if (status != CA_OK)
        return status;
    *ret_der = CA_STEAL(der);
    *ret_size = der_size;
    return CA_OK;
}

/* ---- Keys ---- */

/* "<issuer>-<role>-<yyyymm>-<n>", a label that no key has had. */
enum ca_status
ceremony_key_generate(const struct ceremony *ceremony, const char *owner,
                      const char *role, const char *algorithm, unsigned uses,
                      char **ret_uri)
{
    time_t now = (time_t)clock_now();
    struct tm tm;
    gmtime_r(&now, &tm);
    enum ca_status status = CA_CONFLICT;
    for (int n = 1; n <= LABEL_TRIES && status == CA_CONFLICT; n++) {
        char label[160];
        snprintf(label, sizeof label, "%s-%s-%04d%02d-%d", owner, role,
                 tm.tm_year + 1900, tm.tm_mon + 1, n);
        status = keygen_generate(ceremony->tokens, ceremony->token,
                                 &(struct keygen){
                                     .label = label,
                                     .algorithm = algorithm,
                                     .uses = uses,
                                 },
                                 ret_uri);
    }
    return status;
}

enum ca_status
ceremony_key_public(struct token_key *key, X509_PUBKEY **ret_spki)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *pkey = token_key_pkey(key);
    CA_AUTO(X509_PUBKEY_free) X509_PUBKEY *spki = NULL;
    CA_AUTO(openssl_free) unsigned char *der = NULL;
    int size = pkey ? i2d_PUBKEY(pkey, &der) : -1;
    const unsigned char *at = der;
    if (size > 0)
        spki =
            d2i_X509_PUBKEY(NULL, &at, size); /* a copy: nothing of the proxy stays */
    if (!spki)
        return ca_fail_openssl(CA_INTERNAL, "a new key has no public half");
    *ret_spki = CA_STEAL(spki);
    return CA_OK;
}

enum ca_status
ceremony_sha256(const void *octets, size_t size, char ret_hex[65])
{
    uint8_t hash[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (EVP_Digest(octets, size, hash, &length, EVP_sha256(), NULL) != 1)
        return ca_fail_openssl(CA_INTERNAL, "no SHA-256");
    hex_format(hash, length, ret_hex);
    return CA_OK;
}

enum ca_status
ceremony_check_room(const char *chain, int path_length)
{
    CA_AUTO(BIO_free_all) BIO *bio = BIO_new_mem_buf(chain ? chain : "", -1);
    enum ca_status status = CA_OK;
    for (int depth = 0; status == CA_OK; depth++) {
        int length = -1;
        CA_AUTO(X509_free)
        X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
        if (!certificate)
            break;
        status = tbs_check_issuer(certificate, &length);
        int room = length - depth; /* CAs that may still follow, the new one included */
        if (status == CA_OK && length >= 0 && (path_length < 0 || path_length >= room))
            status = ca_fail(CA_FORBIDDEN,
                             "a path length of %d %s leaves no room for a CA with %s%d",
                             length, depth == 0 ? "of the issuer" : "above the issuer",
                             path_length < 0 ? "no limit, " : "", path_length);
    }
    ERR_clear_error();
    return status;
}
