/* What a token of CES holds. Its ASN.1 says it, for published messages label a PKCS#10
 * as PKCS#7 ([MS-WSTEP] 4.1.1.1). */
#include "auto.h"
#include "wstep.h"

/* The requested key's own signature over the message: signers by key identifier, which
 * is not looked at, for there is one request only. */
static enum ca_status
key_verify(struct ca_request *req, const struct signed_data *data,
           const struct signed_signer *signer, struct wstep_content *content)
{
    EVP_PKEY *key = ca_public_key(req, content->pkcs10.spki);
    if (!key)
        return ca_fail_openssl(CA_MALFORMED, "the requested key cannot be used");
    if (content->flags)
        return ca_fail(CA_MALFORMED, "the requested key signed twice");
    enum ca_status status = signed_verify(data, signer, key, true);
    if (status == CA_UNAUTHENTICATED) /* nobody's credential: the request is bad */
        return ca_fail(CA_FORBIDDEN, "the message is not signed by the requested key");
    content->flags =
        CA_ENROL_KEY_PROVED | (signed_is_sha1(signer) ? CA_ENROL_KEY_SHA1 : 0);
    return status;
}

/* RFC 5272 3.2.2: every signature counts, that of the new key and that of the older
 * certificate which it renews. */
static enum ca_status
cmc_read(struct ca_request *req, const struct signed_data *data,
         struct wstep_content *content)
{
    enum ca_status status = cmc_decode(data->content, &content->cmc);
    if (status == CA_OK)
        status = wstep_pkcs10_read(content->cmc.pkcs10, &content->pkcs10);
    for (size_t i = 0; status == CA_OK && i < data->signer_count; i++) {
        const struct signed_signer *signer = &data->signers[i];
        if (signer->key_id.size > 0)
            status = key_verify(req, data, signer, content);
        else if (content->signer)
            status = ca_fail(CA_MALFORMED, "two certificates signed");
        else
            status = wstep_signer_verify(req, data, signer, &content->signer);
    }
    return status;
}

static enum ca_status
signed_read(struct ca_request *req, struct ca_bytes der, struct wstep_content *content)
{
    struct signed_data data;
    struct wstep_renewal renewal = { 0 };
    enum ca_status status = signed_decode(der, &data);
    if (status != CA_OK)
        return status;
    if (asn1_equal(data.type, cmc_pki_data))
        return cmc_read(req, &data, content);
    status = wstep_renewal_read(req, der, &renewal);
    content->pkcs10 = renewal.pkcs10;
    content->signer = renewal.signer;
    return status;
}

enum ca_status
wstep_content_read(struct ca_request *req, struct ca_bytes token,
                   struct wstep_content *ret_content)
{
    struct ca_bytes der;
    CA_AUTO(wstep_content_clear)
    struct wstep_content content = { .cmc = { .part = 1 } };
    enum ca_status status = signed_normalise(req, token, WSTEP_TOKEN_MAX, &der);
    if (status == CA_OK)
        status = signed_is(der) ? signed_read(req, der, &content)
                                : wstep_pkcs10_read(token, &content.pkcs10);
    if (status != CA_OK)
        return status;
    *ret_content = content;
    content.signer = NULL;
    return CA_OK;
}
