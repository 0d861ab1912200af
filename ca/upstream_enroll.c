/* Requests of devices carried to an upstream SCEP CA under an RA certificate (RFC 8894
 * section 2.3), with the same ledger as for our own. */
#include "upstream_enroll.h"
#include "audit.h"
#include "auto.h"
#include "clock.h"
#include "der.h"
#include "offer_count.h"
#include "offer_judge.h"
#include "state.h"
#include "upstream.h"
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <string.h>

#define SPACE "scep/upstream"
#define RA_FILE_MAX 32768

struct carrying {
    struct scep_call *call;
    X509_REQ *request;
    const uint8_t *sha256; /* of the request */
    uint8_t spki[32];
    struct scep_octets der;
    X509 *ra;
    EVP_PKEY *ra_key;
    struct scep_wire_authority authority;
    char transaction[65];
    struct scep_octets answer; /* the certificate, then its chain, DER each */
    void *kept;
    size_t kept_size;
};

static void
carrying_clear_auto(struct carrying *carrying)
{
    X509_free(carrying->ra);
    EVP_PKEY_free(carrying->ra_key);
    scep_octets_clear(&carrying->der);
    scep_octets_clear(&carrying->answer);
    scep_wire_authority_clear(&carrying->authority);
    free(carrying->kept);
}

static enum ca_status
ra_load(struct carrying *carrying)
{
    const struct scep_upstream *upstream =
        &carrying->call->effective.scep.settings.scep.upstream;
    CA_AUTO(secret_free) char *pem = NULL;
    if (!upstream->ra_file)
        return ca_fail(CA_UNAVAILABLE, "the upstream's profile names no ra_file");
    enum ca_status status =
        upstream_file(carrying->call->exchange->service->config.data_directory,
                      upstream->ra_file, RA_FILE_MAX, &pem);
    if (status != CA_OK)
        return status;
    char no_password[] = "";
    CA_AUTO(BIO_free_all) BIO *first = BIO_new_mem_buf(pem, -1);
    CA_AUTO(BIO_free_all) BIO *second = BIO_new_mem_buf(pem, -1);
    carrying->ra = first ? PEM_read_bio_X509(first, NULL, NULL, no_password) : NULL;
    carrying->ra_key =
        second ? PEM_read_bio_PrivateKey(second, NULL, NULL, no_password) : NULL;
    if (!carrying->ra || !carrying->ra_key ||
        X509_check_private_key(carrying->ra, carrying->ra_key) != 1)
        return ca_fail_openssl(CA_UNAVAILABLE,
                               "upstream/%s holds no certificate with its key",
                               upstream->ra_file);
    return CA_OK;
}

/* Sends one message and reads its answer. */
static enum ca_status
talk(struct carrying *carrying, const char *type, const void *content, size_t size,
     struct scep_wire_reply *ret_reply)
{
    const struct scep_profile *scep = &carrying->call->effective.scep.settings.scep;
    CA_AUTO(scep_octets_clear) struct scep_octets envelope = { 0 };
    CA_AUTO(scep_octets_clear) struct scep_octets message = { 0 };
    CA_AUTO(upstream_answer_clear) struct upstream_answer answer = { 0 };
    CA_AUTO(free) char *url = upstream_url(&scep->upstream, "PKIOperation", NULL);
    struct scep_wire wire = { .type = type,
                              .transaction = carrying->transaction,
                              .key = carrying->ra_key,
                              .certificate = carrying->ra,
                              .digest = EVP_sha256() };
    if (!url)
        return ca_fail(CA_INTERNAL, "no memory for a URL");
    enum ca_status status = random_bytes(wire.nonce, sizeof wire.nonce);
    if (status == CA_OK)
        status = scep_wire_envelope(carrying->authority.recipient,
                                    scep->cipher == SCEP_AES128 ? "aes128" : "aes256",
                                    content, size, &envelope);
    if (status == CA_OK)
        status = scep_wire_sign(&wire, envelope.data, envelope.size, &message);
    if (status == CA_OK)
        status =
            upstream_http(&(struct upstream_request){ .url = url,
                                                      .tls_ca = scep->upstream.tls_ca,
                                                      .body = message.data,
                                                      .size = message.size },
                          &answer);
    return status == CA_OK
               ? scep_wire_open(&wire, carrying->authority.chain, answer.body.data,
                                answer.body.size, ret_reply)
               : status;
}

/* IssuerAndSubject of CertPoll (RFC 8894 section 3.3.3). */
static enum ca_status
poll(struct carrying *carrying, struct scep_wire_reply *ret_reply)
{
    CA_AUTO(openssl_free) uint8_t *issuer = NULL;
    CA_AUTO(openssl_free) uint8_t *subject = NULL;
    CA_AUTO(text_buffer_clear) struct text_buffer both = { 0 };
    struct text_buffer body = { 0 };
    int one = i2d_X509_NAME(X509_get_subject_name(carrying->authority.issuer), &issuer);
    int two = i2d_X509_NAME(X509_REQ_get_subject_name(carrying->request), &subject);
    if (one <= 0 || two <= 0)
        return ca_fail_openssl(CA_INTERNAL, "cannot encode a name");
    text_append(&body, issuer, (size_t)one);
    text_append(&body, subject, (size_t)two);
    der_wrap(&both, DER_SEQUENCE, &body);
    if (both.failed)
        return ca_fail(CA_INTERNAL, "no memory for a poll");
    return talk(carrying, "20", both.data, both.size, ret_reply);
}

static bool
append_der(struct text_buffer *buffer, X509 *certificate)
{
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    int size = i2d_X509(certificate, &der);
    if (size > 0)
        text_append(buffer, der, (size_t)size);
    return size > 0 && !buffer->failed;
}

/* The certificate must be by the pinned CA for the key that was asked for. */
static enum ca_status
answer_take(struct carrying *carrying, const struct scep_wire_reply *reply)
{
    EVP_PKEY *key = X509_REQ_get0_pubkey(carrying->request);
    X509 *issuer = carrying->authority.issuer;
    EVP_PKEY *signer = X509_get0_pubkey(issuer);
    X509 *own = key ? scep_wire_own(reply, key) : NULL;
    CA_AUTO(text_buffer_clear) struct text_buffer all = { 0 };
    if (!own || !signer || X509_verify(own, signer) != 1)
        return ca_fail_openssl(CA_UNAVAILABLE,
                               "the upstream sent no certificate for the request");
    bool is_good = append_der(&all, own);
    STACK_OF(X509) *chain = carrying->authority.chain;
    for (int i = 0; is_good && i < sk_X509_num(chain); i++) {
        X509 *one = sk_X509_value(chain, i);
        if (one != carrying->authority.recipient || one == issuer)
            is_good = append_der(&all, one);
    }
    if (!is_good)
        return ca_fail(CA_INTERNAL, "no memory for a certificate");
    carrying->answer = (struct scep_octets){ (uint8_t *)all.data, all.size };
    all.data = NULL;
    return CA_OK;
}

static enum ca_status
answer_give(struct carrying *carrying, const uint8_t *der, size_t size,
            struct ca_scep_certificate *ret_certificate)
{
    struct exchange *exchange = carrying->call->exchange;
    struct ca_bytes all = scep_keep_octets(exchange, der, size);
    struct ca_bytes *chain = ca_request_alloc(
        &exchange->request, SCEP_WIRE_CERTIFICATES_MAX * sizeof *chain);
    struct der in = { all.data, all.size }, whole;
    struct ca_scep_certificate certificate = { .chain = chain };
    if (!all.data || !chain)
        return ca_fail(CA_INTERNAL, "no memory for a certificate");
    for (bool is_first = true; in.size > 0; is_first = false) {
        uint8_t tag;
        if (!der_take_any(&in, &tag, NULL, &whole) ||
            certificate.count == SCEP_WIRE_CERTIFICATES_MAX)
            return ca_fail(CA_INTERNAL, "a kept certificate does not parse");
        if (is_first)
            certificate.der = (struct ca_bytes){ whole.at, whole.size };
        else
            chain[certificate.count++] = (struct ca_bytes){ whole.at, whole.size };
    }
    *ret_certificate = certificate;
    return CA_OK;
}

/* ---- The ledger ---- */

static enum ca_status
claim_write(struct store_tx *tx, void *arg)
{
    const struct carrying *carrying = arg;
    return offer_claim(tx, carrying->call->offer.id, carrying->transaction,
                       carrying->spki, carrying->sha256);
}

static enum ca_status
release_write(struct store_tx *tx, void *arg)
{
    const struct carrying *carrying = arg;
    return offer_release(tx, carrying->call->offer.id, carrying->transaction);
}

static enum ca_status
finish_write(struct store_tx *tx, void *arg)
{
    const struct carrying *carrying = arg;
    struct scep_call *call = carrying->call;
    struct exchange *exchange = call->exchange;
    enum ca_status status = offer_finish(tx, call->offer.id, carrying->transaction);
    if (status == CA_OK)
        status = state_put(tx, SPACE, call->offer.id, carrying->answer.data,
                           carrying->answer.size, call->offer.expires);
    CA_AUTO(json_decref)
    json_t *detail = json_pack("{s:s, s:s, s:s, s:s}", "user", call->user, "device",
                               call->device, "profile", call->offer.profile, "upstream",
                               call->effective.scep.settings.scep.upstream.url);
    if (status != CA_OK)
        return status;
    return audit_append(tx,
                        &(struct audit_entry){ .action = "offer.use",
                                               .actor = exchange_actor(exchange),
                                               .object = call->offer.id,
                                               .protocol = exchange->identity.protocol,
                                               .request = exchange->request.id,
                                               .outcome = "ok",
                                               .detail = detail });
}

static enum ca_status
kept_read(struct store_tx *tx, void *arg)
{
    struct carrying *carrying = arg;
    free(CA_STEAL(carrying->kept));
    return state_get(tx, SPACE, carrying->call->offer.id, &carrying->kept,
                     &carrying->kept_size, NULL);
}

/* What the upstream said; a refusal opens the offer again for this key. */
static enum ca_status
carry(struct carrying *carrying, bool is_first,
      struct ca_scep_certificate *ret_certificate)
{
    struct scep_call *call = carrying->call;
    struct store *store = call->exchange->service->store;
    CA_AUTO(scep_wire_reply_clear) struct scep_wire_reply reply = { 0 };
    enum ca_status status = upstream_authority(
        &call->effective.scep.settings.scep.upstream, &carrying->authority);
    if (status == CA_OK)
        status = is_first ? talk(carrying, "19", carrying->der.data, carrying->der.size,
                                 &reply)
                          : poll(carrying, &reply);
    if (status == CA_OK && reply.status == SCEP_WIRE_PENDING) {
        *ret_certificate = (struct ca_scep_certificate){
            .retry_after = call->effective.scep.settings.scep.retry_delay
        };
        return CA_PENDING;
    }
    bool is_refused = status == CA_OK && reply.status == SCEP_WIRE_FAILURE;
    if (is_refused)
        status = ca_fail(CA_UNAVAILABLE, "the upstream refuses with failInfo %d",
                         reply.fail);
    if (status == CA_OK)
        status = answer_take(carrying, &reply);
    if (status == CA_OK)
        status = store_write(store, finish_write, carrying);
    if (status == CA_OK)
        return answer_give(carrying, carrying->answer.data, carrying->answer.size,
                           ret_certificate);
    char message[512];
    snprintf(message, sizeof message, "%s", status_message());
    if (is_refused || is_first)
        (void)store_write(store, release_write, carrying);
    return scep_call_fail(call, ca_fail(CA_UNAVAILABLE, "%s", message), "upstream");
}

static enum ca_status
request_encode(struct carrying *carrying)
{
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    CA_AUTO(openssl_free) uint8_t *key = NULL;
    int size = i2d_X509_REQ(carrying->request, &der);
    int key_size = i2d_X509_PUBKEY(X509_REQ_get_X509_PUBKEY(carrying->request), &key);
    uint8_t *copy = size > 0 ? malloc((size_t)size) : NULL;
    if (!copy || key_size <= 0) {
        free(copy);
        return ca_fail(CA_INTERNAL, "no memory for a request");
    }
    memcpy(copy, der, (size_t)size);
    carrying->der = (struct scep_octets){ copy, (size_t)size };
    SHA256(key, (size_t)key_size, carrying->spki);
    hex_format(carrying->sha256, 32, carrying->transaction);
    return CA_OK;
}

static enum ca_status
enroll(struct carrying *carrying, struct ca_scep_certificate *ret_certificate)
{
    struct scep_call *call = carrying->call;
    struct store *store = call->exchange->service->store;
    const char *word = NULL;
    enum ca_status status = request_encode(carrying);
    if (status == CA_OK && call->offer.state == OFFER_USED) {
        status = store_read(store, kept_read, carrying);
        return status == CA_OK ? answer_give(carrying, carrying->kept,
                                             carrying->kept_size, ret_certificate)
                               : scep_call_fail(call, status, "txn_gone");
    }
    if (status == CA_OK) {
        status =
            offer_judge(&call->offer, &call->effective.certificate.settings.certificate,
                        carrying->request, &word);
        if (word)
            return scep_call_mismatch(call, status, word);
    }
    if (status == CA_OK) {
        status = ra_load(carrying);
        if (status == CA_UNAVAILABLE)
            return scep_call_fail(call, status, "upstream");
    }
    bool is_first = call->offer.state == OFFER_OPEN;
    if (status == CA_OK && is_first)
        status = store_write(store, claim_write, carrying);
    if (status == CA_CONFLICT)
        return scep_call_fail(call, ca_fail(CA_NOT_FOUND, "%s", status_message()),
                              "txn_gone");
    return status == CA_OK ? carry(carrying, is_first, ret_certificate) : status;
}

enum ca_status
upstream_enroll(struct scep_call *call, X509_REQ *request, const uint8_t sha256[32],
                struct ca_scep_certificate *ret_certificate)
{
    struct service *service = call->exchange->service;
    CA_AUTO(carrying_clear)
    struct carrying carrying = { .call = call, .request = request, .sha256 = sha256 };
    enum ca_status status = service_wait_begin(service);
    if (status != CA_OK)
        return status;
    status = enroll(&carrying, ret_certificate);
    service_wait_end(service);
    return status;
}
