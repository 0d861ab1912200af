/* Requests inside their message: PKCS#10, and PKCS#10 that an older certificate signs
 * ([MS-WSTEP] 4.1.5, [MS-MDE2] 3.5 Renew). */
#include "auto.h"
#include "base64.h"
#include "wstep.h"
#include <string.h>

/* RFC 2986 section 4; what it says is the core's to judge. */
enum ca_status
wstep_pkcs10_read(struct ca_bytes der, struct wstep_pkcs10 *ret_pkcs10)
{
    struct ca_bytes at = der, request, info, spki;
    if (!asn1_take(&at, DER_SEQUENCE, &request) || at.size > 0 ||
        !asn1_take(&request, DER_SEQUENCE, &info) || !asn1_take_small(&info, 0) ||
        !asn1_take(&info, DER_SEQUENCE, NULL) ||
        !asn1_take_whole(&info, DER_SEQUENCE, &spki) ||
        !asn1_take(&request, DER_SEQUENCE, NULL) ||
        !asn1_take(&request, DER_BIT_STRING, NULL) || request.size > 0)
        return ca_fail(CA_MALFORMED, "not a PKCS#10");
    struct ca_bytes attributes = { 0 };
    if (info.size > 0 &&
        (!asn1_take(&info, DER_CONTEXT_CONSTRUCTED(0), &attributes) || info.size > 0))
        return ca_fail(CA_MALFORMED, "a PKCS#10 with other than attributes");
    *ret_pkcs10 = (struct wstep_pkcs10){ der, spki, attributes };
    return CA_OK;
}

/* "With automatic renewal, the PKCS#7 message content isn't base64 encoded separately.
 * With manual certificate renewal" it is. */
static enum ca_status
content_read(struct ca_request *req, struct ca_bytes content,
             struct wstep_pkcs10 *ret_pkcs10)
{
    if (asn1_next_is(content, DER_SEQUENCE))
        return wstep_pkcs10_read(content, ret_pkcs10);
    struct ca_bytes der;
    enum ca_status status = base64_decode(req, (const char *)content.data, content.size,
                                          WSTEP_TOKEN_MAX, &der);
    return status == CA_OK ? wstep_pkcs10_read(der, ret_pkcs10) : status;
}

/* The signer's certificate as the message has it, else that of the TLS session. */
static enum ca_status
signer_find(struct ca_request *req, const struct signed_data *data,
            const struct signed_signer *signer, X509 **ret_signer)
{
    const struct cms_certificate *parts = signed_certificate(data, signer);
    if (parts) {
        *ret_signer = ca_certificate_decode(parts->whole);
        return *ret_signer
                   ? CA_OK
                   : ca_fail_openssl(CA_MALFORMED, "the signer's certificate is none");
    }
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    int size = req->peer_certificate ? i2d_X509(req->peer_certificate, &der) : 0;
    struct ca_bytes peer = { der, size > 0 ? (size_t)size : 0 };
    struct cms_certificate shown;
    if (size <= 0 || !cms_take_certificate(&peer, &shown) ||
        !signed_is_by(signer, &shown))
        return ca_fail(CA_UNAUTHENTICATED, "the signer's certificate is not known");
    *ret_signer = ca_certificate_decode(shown.whole);
    return *ret_signer ? CA_OK
                       : ca_fail_openssl(CA_INTERNAL, "cannot decode a certificate");
}

bool
wstep_is_same(const X509 *a, const X509 *b)
{
    CA_AUTO(openssl_free) uint8_t *one = NULL;
    CA_AUTO(openssl_free) uint8_t *two = NULL;
    int one_size = i2d_X509(a, &one), two_size = i2d_X509(b, &two);
    return one_size > 0 && one_size == two_size &&
           memcmp(one, two, (size_t)one_size) == 0;
}

static EVP_PKEY *
key_of(struct ca_request *req, const X509 *certificate)
{
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
    return size > 0 ? ca_public_key(req, (struct ca_bytes){ der, (size_t)size }) : NULL;
}

enum ca_status
wstep_signer_verify(struct ca_request *req, const struct signed_data *data,
                    const struct signed_signer *info, X509 **ret_signer)
{
    CA_AUTO(X509_free) X509 *signer = NULL;
    enum ca_status status = signer_find(req, data, info, &signer);
    if (status != CA_OK)
        return status;
    const X509 *peer = req->peer_certificate;
    bool is_peer = peer && wstep_is_same(peer, signer);
    EVP_PKEY *key = key_of(req, signer);
    if (!key)
        return ca_fail_openssl(CA_MALFORMED, "the signer's key cannot be used");
    /* Who shows a certificate shows the one that signs. */
    if (peer && !is_peer)
        return ca_fail(CA_UNAUTHENTICATED, "signed by another than TLS has shown");
    status = signed_verify(data, info, key, is_peer);
    if (status == CA_OK)
        *ret_signer = CA_STEAL(signer);
    return status;
}

enum ca_status
wstep_renewal_read(struct ca_request *req, struct ca_bytes token,
                   struct wstep_renewal *ret_renewal)
{
    struct ca_bytes der;
    struct signed_data data;
    struct wstep_pkcs10 pkcs10;
    CA_AUTO(X509_free) X509 *signer = NULL;
    enum ca_status status = signed_normalise(req, token, WSTEP_TOKEN_MAX, &der);
    if (status == CA_OK)
        status = signed_decode(der, &data);
    if (status == CA_OK && data.signer_count != 1)
        status =
            ca_fail(CA_MALFORMED, "%zu SignerInfos in a renewal", data.signer_count);
    if (status == CA_OK && !asn1_equal(data.type, cms_data))
        status = ca_fail(CA_MALFORMED, "a renewal of another content than id-data");
    if (status == CA_OK)
        status = wstep_signer_verify(req, &data, &data.signers[0], &signer);
    if (status == CA_OK)
        status = content_read(req, data.content, &pkcs10);
    if (status == CA_OK)
        *ret_renewal = (struct wstep_renewal){ pkcs10, CA_STEAL(signer) };
    return status;
}
