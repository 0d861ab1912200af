/* What clients ask before they enrol: GetCACaps, GetCACert, GetNextCACert (RFC 8894
 * 3.5, 4.2, 4.7). */
#include "auto.h"
#include "scep.h"
#include <string.h>

#define CERTIFICATES_MAX 16

bool
scep_key_may(struct ca_key *key, uint32_t usage)
{
    return X509_get_key_usage(ca_key_certificate(key)) & usage;
}

enum ca_status
scep_key_find(struct ca_request *req, const char *endpoint, bool next, uint32_t usage,
              struct ca_key **ret_key)
{
    for (size_t index = 0; index < SCEP_KEYS_MAX; index++) {
        struct ca_key *key;
        enum ca_status status = ca_key_get(req, endpoint, CA_KEY_RA, next, index, &key);
        if (status == CA_NOT_FOUND)
            break;
        if (status != CA_OK)
            return status;
        if (scep_key_may(key, usage)) {
            *ret_key = key;
            return CA_OK;
        }
    }
    return ca_fail(CA_NOT_FOUND, "endpoint '%s' has no RA key for %s", endpoint,
                   usage == KU_DIGITAL_SIGNATURE ? "signatures" : "decryption");
}

enum ca_status
scep_certificate_encode(struct ca_request *req, X509 *certificate,
                        struct ca_bytes *ret_der)
{
    int size = i2d_X509(certificate, NULL);
    uint8_t *der = size > 0 ? ca_request_alloc(req, (size_t)size) : NULL;
    uint8_t *at = der;
    if (!der || i2d_X509(certificate, &at) != size)
        return ca_fail_openssl(CA_INTERNAL, "cannot encode a certificate");
    *ret_der = (struct ca_bytes){ der, (size_t)size };
    return CA_OK;
}

enum ca_status
scep_caps_answer(struct ca_request *req, const char *endpoint,
                 const struct scep_settings *settings)
{
    struct ca_chain next;
    enum ca_status status = ca_chain(req, endpoint, true, &next);
    if (status != CA_OK && status != CA_NOT_FOUND)
        return status;
    char text[256];
    int size = snprintf(text, sizeof text,
                        "AES\n%s%sPOSTPKIOperation\nRenewal\nSCEPStandard\n"
                        "%sSHA-256\nSHA-512\n",
                        settings->des3 ? "DES3\n" : "",
                        status == CA_OK ? "GetNextCACert\n" : "",
                        settings->sha1 ? "SHA-1\n" : "");
    return ca_respond(req, 200, "text/plain", text, (size_t)size);
}

/* Certificates collected as DER, each once. */
struct certificates {
    struct ca_bytes items[CERTIFICATES_MAX];
    size_t count;
};

static enum ca_status
certificates_add(struct ca_request *req, struct certificates *all, X509 *certificate)
{
    struct ca_bytes der;
    enum ca_status status = scep_certificate_encode(req, certificate, &der);
    if (status != CA_OK)
        return status;
    for (size_t i = 0; i < all->count; i++) {
        if (asn1_equal(all->items[i], der))
            return CA_OK;
    }
    if (all->count == CERTIFICATES_MAX)
        return ca_fail(CA_LIMIT, "more than %d certificates", CERTIFICATES_MAX);
    all->items[all->count++] = der;
    return CA_OK;
}

/* RA certificates (signing, then encryption where it is another), then the issuer and
 * what is between it and the root; the root itself on demand. */
static enum ca_status
certificates_collect(struct ca_request *req, const char *endpoint, bool next,
                     bool include_root, struct certificates *all)
{
    static const uint32_t usages[] = { KU_DIGITAL_SIGNATURE, KU_KEY_ENCIPHERMENT };
    struct ca_chain chain;
    enum ca_status status = ca_chain(req, endpoint, next, &chain);
    for (size_t i = 0; status == CA_OK && i < 2; i++) {
        struct ca_key *key;
        status = scep_key_find(req, endpoint, next, usages[i], &key);
        if (status == CA_OK)
            status = certificates_add(req, all, ca_key_certificate(key));
        else if (status == CA_NOT_FOUND)
            status = CA_OK;
    }
    for (size_t i = 0; status == CA_OK && i < chain.count; i++) {
        X509 *certificate = chain.certificates[i];
        bool is_root = i > 0 && X509_NAME_cmp(X509_get_subject_name(certificate),
                                              X509_get_issuer_name(certificate)) == 0;
        if (!is_root || include_root)
            status = certificates_add(req, all, certificate);
    }
    return status;
}

enum ca_status
scep_certificates_answer(struct ca_request *req, const char *endpoint,
                         const struct scep_settings *settings)
{
    struct certificates all = { 0 };
    enum ca_status status =
        certificates_collect(req, endpoint, false, settings->include_root, &all);
    if (status != CA_OK)
        return status;
    if (all.count == 1)
        return ca_respond(req, 200, "application/x-x509-ca-cert", all.items[0].data,
                          all.items[0].size);
    CA_AUTO(asn1_writer_clear) struct asn1_writer writer = { 0 };
    cms_put_certs_only(&writer, all.items, all.count, (struct ca_bytes){ 0 });
    if (writer.failed)
        return ca_fail(CA_INTERNAL, "no memory for the certificates");
    return ca_respond(req, 200, "application/x-x509-ca-ra-cert", writer.data,
                      writer.size);
}

enum ca_status
scep_next_answer(struct ca_request *req, const char *endpoint)
{
    struct certificates all = { 0 };
    struct ca_key *key;
    enum ca_status status = certificates_collect(req, endpoint, true, true, &all);
    if (status != CA_OK)
        return status;
    status = scep_key_find(req, endpoint, false, KU_DIGITAL_SIGNATURE, &key);
    if (status != CA_OK)
        return status;
    CA_AUTO(asn1_writer_clear) struct asn1_writer inner = { 0 }, writer = { 0 };
    cms_put_certs_only(&inner, all.items, all.count, (struct ca_bytes){ 0 });
    if (inner.failed)
        return ca_fail(CA_INTERNAL, "no memory for the certificates");
    status = scep_answer_sign_plain(&writer, key, asn1_written(&inner));
    if (status != CA_OK)
        return status;
    return ca_respond(req, 200, "application/x-x509-next-ca-cert", writer.data,
                      writer.size);
}
