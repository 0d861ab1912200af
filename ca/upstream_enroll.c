/* Requests of devices carried to an upstream SCEP CA under an RA certificate (RFC 8894
 * section 2.3), with the same ledger as for our own. */
#include "upstream_enroll.h"
#include "audit.h"
#include "auto.h"
#include "clock.h"
#include "der.h"
#include "offer_count.h"
#include "offer_judge.h"
#include "pubkey.h"
#include "state.h"
#include "upstream.h"
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <string.h>

#define SPACE "scep/upstream"
#define RA_FILE_MAX 32768
#define PENDING "pending"  /* kept while the upstream lets wait */
#define FLIGHT "flight"    /* kept while one copy of the request is on its way */
#define FLIGHT_SECONDS 120 /* more than an upstream is waited for */

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
    void *kept;                /* the like of `answer`, or PENDING */
    size_t kept_size;
    bool is_over;       /* the upstream keeps nothing of the request */
    const char *reason; /* why it failed */
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
    CA_AUTO(free) char *url = scep_wire_url(scep->upstream.url, "PKIOperation", NULL);
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
               ? scep_wire_open(&wire, carrying->authority.signers, answer.body.data,
                                answer.body.size, ret_reply)
               : status;
}

static enum ca_status
poll(struct carrying *carrying, struct scep_wire_reply *ret_reply)
{
    CA_AUTO(scep_octets_clear) struct scep_octets body = { 0 };
    enum ca_status status =
        scep_wire_poll(X509_get_subject_name(carrying->authority.issuer),
                       X509_REQ_get_subject_name(carrying->request), &body);
    return status == CA_OK ? talk(carrying, "20", body.data, body.size, ret_reply)
                           : status;
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

/* What no device can use: another CA's name on it, over, or signed over MD5; and what
 * none may have: a CA of its own. */
static enum ca_status
check_use(X509 *own, X509 *issuer)
{
    if (X509_NAME_cmp(X509_get_issuer_name(own), X509_get_subject_name(issuer)) != 0)
        return ca_fail(CA_UNAVAILABLE, "the upstream's certificate has another issuer");
    time_t now = (time_t)clock_now();
    if (X509_cmp_time(X509_get0_notAfter(own), &now) != 1)
        return ca_fail(CA_UNAVAILABLE, "the upstream's certificate has ended");
    if (X509_get_signature_nid(own) == NID_md5WithRSAEncryption)
        return ca_fail(CA_UNAVAILABLE, "the upstream's certificate is signed over MD5");
    if (X509_check_ca(own) != 0)
        return ca_fail(CA_UNAVAILABLE, "the upstream's certificate is one of a CA");
    return CA_OK;
}

/* The certificate must be by the pinned CA for the key that was asked for. */
static enum ca_status
answer_take(struct carrying *carrying, const struct scep_wire_reply *reply)
{
    CA_AUTO(EVP_PKEY_free)
    EVP_PKEY *key = pubkey_of(X509_REQ_get_X509_PUBKEY(carrying->request));
    X509 *issuer = carrying->authority.issuer;
    EVP_PKEY *signer = X509_get0_pubkey(issuer);
    X509 *own = key ? scep_wire_own(reply, key) : NULL;
    CA_AUTO(text_buffer_clear) struct text_buffer all = { 0 };
    if (!own || !signer || X509_verify(own, signer) != 1)
        return ca_fail_openssl(CA_UNAVAILABLE,
                               "the upstream sent no certificate for the request");
    enum ca_status status = check_use(own, issuer);
    if (status != CA_OK)
        return status;
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

/* The request's turn: with nothing in `kept` this copy sends it, else what is kept says
 * what has become of it. */
static enum ca_status
claim_write(struct store_tx *tx, void *arg)
{
    struct carrying *carrying = arg;
    const char *id = carrying->call->offer.id;
    CA_AUTO(offer_clear) struct offer now = { 0 };
    free(CA_STEAL(carrying->kept));
    enum ca_status status =
        offer_claim(tx, id, carrying->transaction, carrying->spki, carrying->sha256);
    if (status == CA_CONFLICT) { /* by a copy of this request, or by another one */
        status = offer_load(tx, id, &now);
        if (status == CA_OK &&
            (now.state > OFFER_USED || !now.request || now.request_size != 32 ||
             memcmp(now.request, carrying->sha256, 32) != 0))
            return ca_fail(CA_CONFLICT, "%s is another request's", id);
        if (status == CA_OK)
            status =
                state_get(tx, SPACE, id, &carrying->kept, &carrying->kept_size, NULL);
        if (status != CA_NOT_FOUND)
            return status;
        if (now.state != OFFER_CLAIMED)
            return ca_fail(CA_CONFLICT, "%s is used", id);
        status = CA_OK; /* what was on its way has been lost */
    }
    return status == CA_OK ? state_put(tx, SPACE, id, FLIGHT, sizeof FLIGHT,
                                       clock_now() + FLIGHT_SECONDS)
                           : status;
}

/* What the offer's request has come to; an entry of the log. */
static enum ca_status
audit_carry(struct store_tx *tx, const struct carrying *carrying, const char *action,
            const char *outcome, const char *reason)
{
    const struct scep_call *call = carrying->call;
    struct exchange *exchange = call->exchange;
    CA_AUTO(json_decref)
    json_t *detail =
        json_pack("{s:s, s:s, s:s, s:s, s:s*}", "user", call->user, "device",
                  call->device, "profile", call->offer.profile, "upstream",
                  call->effective.scep.settings.scep.upstream.url, "reason", reason);
    if (!detail)
        return ca_fail(CA_INTERNAL, "no memory for an audit entry");
    return audit_append(tx,
                        &(struct audit_entry){ .action = action,
                                               .actor = exchange_actor(exchange),
                                               .object = call->offer.id,
                                               .protocol = exchange->identity.protocol,
                                               .request = exchange->request.id,
                                               .outcome = outcome,
                                               .detail = detail });
}

static enum ca_status
failure_write(struct store_tx *tx, void *arg)
{
    const struct carrying *carrying = arg;
    const char *id = carrying->call->offer.id;
    enum ca_status status = CA_OK;
    if (carrying->is_over) {
        CA_AUTO(free) void *marker = NULL;
        size_t size = 0;
        status = state_take(tx, SPACE, id, &marker, &size);
        if (status == CA_OK || status == CA_NOT_FOUND)
            status = offer_release(tx, id, carrying->transaction);
        /* Another copy of the request has been quicker. */
        if (status == CA_CONFLICT)
            status = CA_OK;
    }
    return status == CA_OK ? audit_carry(tx, carrying, "offer.upstream", "unavailable",
                                         carrying->reason)
                           : status;
}

/* From now on one asks for the answer and does not send the request again. */
static enum ca_status
pending_write(struct store_tx *tx, void *arg)
{
    const struct carrying *carrying = arg;
    return state_put(tx, SPACE, carrying->call->offer.id, PENDING, sizeof PENDING,
                     carrying->call->offer.expires);
}

static enum ca_status
finish_write(struct store_tx *tx, void *arg)
{
    const struct carrying *carrying = arg;
    const struct offer *offer = &carrying->call->offer;
    enum ca_status status = offer_finish(tx, offer->id, carrying->transaction);
    if (status == CA_OK)
        status = state_put(tx, SPACE, offer->id, carrying->answer.data,
                           carrying->answer.size, offer->expires);
    return status == CA_OK ? audit_carry(tx, carrying, "offer.use", "ok", NULL)
                           : status;
}

static enum ca_status
kept_read(struct store_tx *tx, void *arg)
{
    struct carrying *carrying = arg;
    free(CA_STEAL(carrying->kept));
    return state_get(tx, SPACE, carrying->call->offer.id, &carrying->kept,
                     &carrying->kept_size, NULL);
}

static bool
keeps(const struct carrying *carrying, const char *word)
{
    size_t size = strlen(word) + 1;
    return carrying->kept && carrying->kept_size == size &&
           memcmp(carrying->kept, word, size) == 0;
}

static bool
is_pending(const struct carrying *carrying)
{
    return keeps(carrying, PENDING);
}

/* The answer that is kept: this request's, or that of a copy which was quicker. */
static enum ca_status
kept_give(struct carrying *carrying, struct ca_scep_certificate *ret_certificate)
{
    enum ca_status status =
        store_read(carrying->call->exchange->service->store, kept_read, carrying);
    if (status == CA_OK && (is_pending(carrying) || keeps(carrying, FLIGHT)))
        status = ca_fail(CA_NOT_FOUND, "the upstream's answer is not kept");
    return status == CA_OK ? answer_give(carrying, carrying->kept, carrying->kept_size,
                                         ret_certificate)
                           : status;
}

static enum ca_status
finish(struct carrying *carrying, struct ca_scep_certificate *ret_certificate)
{
    enum ca_status status =
        store_write(carrying->call->exchange->service->store, finish_write, carrying);
    if (status == CA_CONFLICT || status == CA_NOT_FOUND)
        return kept_give(carrying, ret_certificate);
    return status == CA_OK ? answer_give(carrying, carrying->answer.data,
                                         carrying->answer.size, ret_certificate)
                           : status;
}

/* Asks the upstream: by the request, or for the answer to one that it keeps waiting. */
static enum ca_status
ask(struct carrying *carrying, struct scep_wire_reply *ret_reply)
{
    const struct scep_profile *scep = &carrying->call->effective.scep.settings.scep;
    struct service *service = carrying->call->exchange->service;
    enum ca_status status = service_upstream_begin(service);
    if (status != CA_OK)
        return status;
    status = upstream_authority(&scep->upstream, &carrying->authority);
    if (status == CA_OK)
        status = is_pending(carrying) ? poll(carrying, ret_reply)
                                      : talk(carrying, "19", carrying->der.data,
                                             carrying->der.size, ret_reply);
    service_upstream_end(service);
    if (status == CA_OK && ret_reply->status == SCEP_WIRE_FAILURE) {
        carrying->is_over = true;
        status = ca_fail(CA_UNAVAILABLE, "the upstream refuses with failInfo %d",
                         ret_reply->fail);
    }
    return status;
}

static enum ca_status
wait_say(const struct scep_call *call, struct ca_scep_certificate *ret_certificate)
{
    *ret_certificate = (struct ca_scep_certificate){
        .retry_after = call->effective.scep.settings.scep.retry_delay
    };
    return CA_PENDING;
}

/* A refusal, or a first message that was not understood, opens the offer again for
 * this key; a poll that fails is asked again. */
static enum ca_status
carry(struct carrying *carrying, struct ca_scep_certificate *ret_certificate)
{
    struct scep_call *call = carrying->call;
    struct store *store = call->exchange->service->store;
    bool was_pending = is_pending(carrying);
    CA_AUTO(scep_wire_reply_clear) struct scep_wire_reply reply = { 0 };
    carrying->is_over = !was_pending;
    enum ca_status status = ask(carrying, &reply);
    if (status == CA_OK && reply.status == SCEP_WIRE_PENDING) {
        if (!was_pending)
            status = store_write(store, pending_write, carrying);
        return status == CA_OK ? wait_say(call, ret_certificate) : status;
    }
    if (status == CA_OK)
        status = answer_take(carrying, &reply);
    if (status == CA_OK)
        return finish(carrying, ret_certificate);
    char reason[512];
    snprintf(reason, sizeof reason, "%s", status_message());
    carrying->reason = reason;
    status = store_write(store, failure_write, carrying);
    carrying->reason = NULL;
    return status == CA_OK
               ? scep_call_fail(call, ca_fail(CA_UNAVAILABLE, "%s", reason), "upstream")
               : status;
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
        status = kept_give(carrying, ret_certificate);
        return status == CA_NOT_FOUND ? scep_call_fail(call, status, "txn_gone")
                                      : status;
    }
    if (status == CA_OK) {
        const struct certificate_profile *profile =
            &call->effective.certificate.settings.certificate;
        status = offer_judge(&call->offer, profile, carrying->request, &word);
        if (status == CA_OK)
            status = offer_judge_passing(profile, carrying->request, false, &word);
        if (word)
            return scep_call_mismatch(call, status, word);
    }
    if (status == CA_OK) {
        status = ra_load(carrying);
        if (status == CA_UNAVAILABLE)
            return scep_call_fail(call, status, "upstream");
    }
    if (status == CA_OK)
        status = store_write(store, claim_write, carrying);
    if (status == CA_CONFLICT || status == CA_NOT_FOUND)
        return scep_call_fail(call, ca_fail(CA_NOT_FOUND, "%s", status_message()),
                              "txn_gone");
    if (status != CA_OK)
        return status;
    if (keeps(carrying, FLIGHT))
        return wait_say(call, ret_certificate);
    if (carrying->kept && !is_pending(carrying))
        return answer_give(carrying, carrying->kept, carrying->kept_size,
                           ret_certificate);
    return carry(carrying, ret_certificate);
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
