/* Makes keys and requests, judges what was issued. */
#include "activate_key.h"
#include "activate_exchange.h"
#include "auto.h"
#include "clock.h"
#include "keygen.h"
#include "text.h"
#include <openssl/rand.h>
#include <string.h>

#define LABEL_OCTETS 4
#define CHAIN_MAX 8

/* ---- Keys ---- */

static enum ca_status
place_open(struct key_place *place)
{
    static const char *const waivers[] = { "software", NULL };
    char source[4096];
    if (place->tokens)
        return CA_OK;
    snprintf(source, sizeof source, "file:%s", place->pin);
    const struct token_config config = { .name = "device",
                                         .module = place->module,
                                         .uri = place->uri,
                                         .pin_source = source,
                                         .waivers = waivers };
    return token_set_open(&config, 1, &place->tokens);
}

static enum ca_status
token_key_make(struct key_place *place, const struct key_kind *kind, EVP_PKEY **ret_key,
               char **ret_uri)
{
    uint8_t octets[LABEL_OCTETS];
    char digits[2 * LABEL_OCTETS + 1], fresh[128];
    struct token_key *made = NULL;
    CA_AUTO(free) char *uri = NULL;
    if (RAND_bytes(octets, sizeof octets) != 1)
        return ca_fail_openssl(CA_INTERNAL, "cannot draw a label");
    hex_format(octets, sizeof octets, digits);
    snprintf(fresh, sizeof fresh, "%.64s-%s", kind->label, digits);
    unsigned uses =
        kind->decrypts ? TOKEN_USE_SIGN | TOKEN_USE_DECRYPT : TOKEN_USE_SIGN;
    const struct keygen wanted = { fresh, kind->algorithm, uses };
    enum ca_status status = place_open(place);
    if (status == CA_OK)
        status = keygen_generate(place->tokens, "device", &wanted, &uri);
    if (status == CA_OK)
        status = token_key_find(place->tokens, uri, uses, NULL, &made);
    if (status != CA_OK)
        return status;
    *ret_key = token_key_pkey(made);
    *ret_uri = CA_STEAL(uri);
    return *ret_key ? CA_OK : ca_fail(CA_INTERNAL, "no memory");
}

enum ca_status
key_make(struct key_place *place, const struct key_kind *kind, EVP_PKEY **ret_key,
         char **ret_uri)
{
    static const struct {
        const char *algorithm, *curve; /* NULL: RSA */
        unsigned bits;
    } kinds[] = {
        { "p-256", "P-256", 0 },    { "p-384", "P-384", 0 },
        { "p-521", "P-521", 0 },    { "rsa-2048", NULL, 2048 },
        { "rsa-3072", NULL, 3072 }, { "rsa-4096", NULL, 4096 },
    };
    if (place->uri)
        return token_key_make(place, kind, ret_key, ret_uri);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].algorithm, kind->algorithm) != 0)
            continue;
        *ret_uri = NULL;
        *ret_key =
            kinds[i].curve ? EVP_EC_gen(kinds[i].curve) : EVP_RSA_gen(kinds[i].bits);
        return *ret_key ? CA_OK : ca_fail_openssl(CA_INTERNAL, "cannot make a key");
    }
    return ca_fail(CA_UNSUPPORTED, "there is no way to make a key '%s'",
                   kind->algorithm);
}

void
key_place_close(struct key_place *place)
{
    if (place->tokens) {
        token_set_quit(place->tokens);
        token_set_free(place->tokens);
    }
    place->tokens = NULL;
}

static bool
names_set(X509_REQ *request, const struct key_names *names)
{
    STACK_OF(X509_EXTENSION) *extensions = NULL;
    bool holds =
        !names->subject || X509_REQ_set_subject_name(request, names->subject) == 1;
    if (holds && names->san)
        holds = X509V3_add1_i2d(&extensions, NID_subject_alt_name, names->san, 0,
                                X509V3_ADD_DEFAULT) == 1 &&
                X509_REQ_add_extensions(request, extensions) == 1;
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    if (holds && names->challenge)
        holds = X509_REQ_add1_attr_by_NID(
                    request, NID_pkcs9_challengePassword, MBSTRING_UTF8,
                    (const unsigned char *)names->challenge, -1) == 1;
    return holds;
}

enum ca_status
key_request(EVP_PKEY *key, const struct key_names *names, uint8_t **ret_der,
            size_t *ret_size)
{
    CA_AUTO(X509_REQ_free) X509_REQ *request = X509_REQ_new();
    uint8_t *der = NULL;
    int size = 0;
    bool holds = request && X509_REQ_set_version(request, X509_REQ_VERSION_1) == 1 &&
                 X509_REQ_set_pubkey(request, key) == 1 && names_set(request, names);
    if (holds && !names->digest)
        size = i2d_re_X509_REQ_tbs(request, &der);
    else if (holds && X509_REQ_sign(request, key, names->digest) > 0)
        size = i2d_X509_REQ(request, &der);
    if (size <= 0)
        return ca_fail_openssl(CA_INTERNAL, "cannot make a certificate request");
    *ret_der = der;
    *ret_size = (size_t)size;
    return CA_OK;
}

/* ---- What was issued ---- */

void
key_issued_clear(struct key_issued *issued)
{
    EVP_PKEY_free(issued->key);
    X509_free(issued->certificate);
    sk_X509_pop_free(issued->chain, X509_free);
    *issued = (struct key_issued){ 0 };
}

X509 *
key_issued_root(const struct key_issued *issued)
{
    return sk_X509_value(issued->chain, sk_X509_num(issued->chain) - 1);
}

enum ca_status
key_certificate_read(const json_t *text, X509 **ret_certificate)
{
    CA_AUTO(json_decref) json_t *object = json_object();
    CA_AUTO(free) uint8_t *der = NULL;
    size_t size = 0;
    json_object_set(object, "cert", (json_t *)(uintptr_t)text);
    enum ca_status status = exchange_octets(object, "cert", &der, &size);
    if (status != CA_OK)
        return status;
    const uint8_t *at = der;
    CA_AUTO(X509_free) X509 *certificate = d2i_X509(NULL, &at, (long)size);
    if (!certificate || at != der + size)
        return ca_fail_openssl(CA_MALFORMED, "the server sent no certificate");
    *ret_certificate = CA_STEAL(certificate);
    return CA_OK;
}

static enum ca_status
chain_read(const json_t *list, struct key_issued *issued)
{
    size_t count = json_array_size(list);
    issued->chain = sk_X509_new_null();
    if (count == 0 || count > CHAIN_MAX)
        return ca_fail(CA_MALFORMED, "the server sent a chain of %zu certificates",
                       count);
    for (size_t i = 0; i < count; i++) {
        X509 *certificate = NULL;
        enum ca_status status =
            key_certificate_read(json_array_get(list, i), &certificate);
        if (status != CA_OK)
            return status;
        if (!issued->chain || sk_X509_push(issued->chain, certificate) <= 0) {
            X509_free(certificate);
            return ca_fail(CA_INTERNAL, "no memory");
        }
    }
    return CA_OK;
}

static enum ca_status
verify(const struct key_issued *issued, X509 *trusted, STACK_OF(X509) *others)
{
    CA_AUTO(X509_STORE_free) X509_STORE *store = X509_STORE_new();
    CA_AUTO(X509_STORE_CTX_free) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    if (!store || !ctx || X509_STORE_add_cert(store, trusted) != 1 ||
        X509_STORE_CTX_init(ctx, store, issued->certificate, others) != 1)
        return ca_fail_openssl(CA_INTERNAL, "no memory");
    X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(ctx), clock_now());
    X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_PARTIAL_CHAIN);
    if (X509_verify_cert(ctx) != 1)
        return ca_fail(CA_UNAUTHENTICATED, "the certificate does not verify: %s",
                       X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
    return CA_OK;
}

/* What is kept beside the certificate are the certificates above it, in this order. */
static enum ca_status
chain_check(STACK_OF(X509) *chain)
{
    for (int i = 0; i + 1 < sk_X509_num(chain); i++) {
        X509 *above = sk_X509_value(chain, i + 1);
        EVP_PKEY *key = X509_get0_pubkey(above);
        if (!key || X509_check_issued(above, sk_X509_value(chain, i)) != X509_V_OK ||
            X509_verify(sk_X509_value(chain, i), key) != 1)
            return ca_fail_openssl(CA_UNAUTHENTICATED,
                                   "the chain's certificates do not follow each other");
    }
    return CA_OK;
}

enum ca_status
key_issued_check(const struct key_issued *issued, const uint8_t *anchor)
{
    X509 *first = sk_X509_value(issued->chain, 0), *root = key_issued_root(issued);
    uint8_t sha256[EVP_MAX_MD_SIZE];
    if (!first)
        return ca_fail(CA_MALFORMED, "the server sent no chain");
    if (EVP_PKEY_eq(X509_get0_pubkey(issued->certificate), issued->key) != 1)
        return ca_fail_openssl(CA_UNAUTHENTICATED,
                               "the certificate is for another key");
    if (anchor && (X509_digest(first, EVP_sha256(), sha256, NULL) != 1 ||
                   memcmp(sha256, anchor, 32) != 0))
        return ca_fail(CA_UNAUTHENTICATED, "the certificate is another CA's");
    if (!anchor && X509_self_signed(root, 1) != 1)
        return ca_fail_openssl(CA_UNAUTHENTICATED,
                               "the last certificate of the chain is no root");
    enum ca_status status = verify(issued, anchor ? first : root, issued->chain);
    return status == CA_OK ? chain_check(issued->chain) : status;
}

bool
key_issued_is_under(const struct key_issued *issued, const struct key_issued *grant)
{
    CA_AUTO(x509_stack_free) STACK_OF(X509) *both = X509_chain_up_ref(issued->chain);
    for (int i = 0; both && i < sk_X509_num(grant->chain); i++) {
        X509 *one = sk_X509_value(grant->chain, i);
        if (X509_up_ref(one) == 1 && sk_X509_push(both, one) <= 0)
            X509_free(one);
    }
    return both && verify(issued, key_issued_root(grant), both) == CA_OK;
}

enum ca_status
key_issued_read(const json_t *answer, EVP_PKEY *key, const uint8_t *anchor,
                struct key_issued *ret_issued)
{
    struct key_issued issued = { 0 };
    if (EVP_PKEY_up_ref(key) != 1)
        return ca_fail(CA_INTERNAL, "no memory");
    issued.key = key;
    enum ca_status status =
        key_certificate_read(json_object_get(answer, "cert"), &issued.certificate);
    if (status == CA_OK)
        status = chain_read(json_object_get(answer, "chain"), &issued);
    if (status == CA_OK)
        status = key_issued_check(&issued, anchor);
    if (status != CA_OK) {
        key_issued_clear(&issued);
        return status;
    }
    *ret_issued = issued;
    return CA_OK;
}
