/* SCEP from the device's side in its three modes. */
#include "activate_modes.h"
#include "activate_exchange.h"
#include "auto.h"
#include "clock.h"
#include "scep_wire.h"
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <string.h>
#include <unistd.h>

#define PATH_SIZE 128
#define TRANSACTION_MAX 128

void
mode_outcome_clear(struct mode_outcome *outcome)
{
    key_issued_clear(&outcome->issued);
    free(outcome->uri);
    *outcome = (struct mode_outcome){ 0 };
}

static void
mode_outcome_clear_auto(struct mode_outcome *outcome)
{
    mode_outcome_clear(outcome);
}

/* The working key, made for this one request and certified by nobody yet. */
static enum ca_status
key_begin(struct activate *activate, const struct wanted *wanted, bool decrypts,
          struct mode_outcome *outcome)
{
    const struct key_kind kind = { "scep", wanted->algorithm, decrypts };
    if (decrypts && !wanted->is_rsa)
        return ca_fail(CA_UNSUPPORTED, "an EC key cannot read SCEP's answers; such a "
                                       "profile is for mode simple");
    return key_make(&activate->place, &kind, &outcome->issued.key, &outcome->uri);
}

/* `digest` NULL: what is to be signed alone. */
static enum ca_status
request_make(const struct wanted *wanted, EVP_PKEY *key, const char *challenge,
             const EVP_MD *digest, struct scep_octets *ret_der)
{
    const struct key_names names = { .subject = wanted->subject,
                                     .san = wanted->san,
                                     .challenge = challenge,
                                     .digest = digest };
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    size_t size = 0;
    enum ca_status status = key_request(key, &names, &der, &size);
    uint8_t *copy = status == CA_OK ? malloc(size) : NULL;
    if (status != CA_OK || !copy)
        return status != CA_OK ? status : ca_fail(CA_INTERNAL, "no memory");
    memcpy(copy, der, size);
    OPENSSL_cleanse(der, size);
    *ret_der = (struct scep_octets){ copy, size };
    return CA_OK;
}

/* POST .../scep/<profile>/<step> */
static enum ca_status
step_call(struct activate *activate, const struct wanted *wanted, const char *step,
          const json_t *body, struct http_answer *answer)
{
    char path[PATH_SIZE];
    const struct http_message message = { "POST", path, body, NULL };
    if (!body)
        return ca_fail(CA_INTERNAL, "no memory");
    snprintf(path, sizeof path, "/activation/v1/scep/%s/%s", wanted->profile, step);
    http_answer_clear(answer);
    return activate_http_call(activate->http, &message, answer);
}

/* ---- Messages of SCEP ---- */

/* One enrolment with the CA. */
struct dialogue {
    struct activate *activate;
    const struct wanted *wanted;
    EVP_PKEY *key;
    X509 *self; /* self-signed: nobody knows the key yet */
    struct scep_wire_authority authority;
    char transaction[TRANSACTION_MAX + 1];
};

static void
dialogue_clear_auto(struct dialogue *dialogue)
{
    X509_free(dialogue->self);
    scep_wire_authority_clear(&dialogue->authority);
}

static enum ca_status
message_exchange(const struct dialogue *dialogue, const char *type,
                 const struct scep_octets *envelope, struct scep_wire_reply *ret_reply)
{
    CA_AUTO(scep_octets_clear) struct scep_octets message = { 0 };
    CA_AUTO(http_answer_clear) struct http_answer answer = { 0 };
    CA_AUTO(free)
    char *url = scep_wire_url(dialogue->wanted->url, "PKIOperation", NULL);
    struct scep_wire wire = { .type = type,
                              .transaction = dialogue->transaction,
                              .key = dialogue->key,
                              .certificate = dialogue->self,
                              .digest = dialogue->wanted->digest };
    if (!url)
        return ca_fail(CA_INTERNAL, "no memory");
    enum ca_status status = random_bytes(wire.nonce, sizeof wire.nonce);
    if (status == CA_OK)
        status = scep_wire_sign(&wire, envelope->data, envelope->size, &message);
    if (status == CA_OK)
        status = activate_http_octets(dialogue->activate->http, url, message.data,
                                      message.size, &answer);
    return status == CA_OK
               ? scep_wire_open(&wire, dialogue->authority.signers, answer.octets.data,
                                answer.octets.size, ret_reply)
               : status;
}

static enum ca_status
poll(const struct dialogue *dialogue, struct scep_wire_reply *ret_reply)
{
    CA_AUTO(scep_octets_clear) struct scep_octets names = { 0 };
    CA_AUTO(scep_octets_clear) struct scep_octets envelope = { 0 };
    enum ca_status status =
        scep_wire_poll(X509_get_subject_name(dialogue->authority.issuer),
                       dialogue->wanted->subject, &names);
    if (status == CA_OK)
        status =
            scep_wire_envelope(dialogue->authority.recipient, dialogue->wanted->cipher,
                               names.data, names.size, &envelope);
    return status == CA_OK ? message_exchange(dialogue, "20", &envelope, ret_reply)
                           : status;
}

/* The certificate of the answer, and the CA's that it rests on. */
static enum ca_status
reply_take(const struct dialogue *dialogue, const struct scep_wire_reply *reply,
           struct key_issued *issued)
{
    X509 *own = scep_wire_own(reply, dialogue->key);
    STACK_OF(X509) *all = dialogue->authority.chain;
    if (!own || X509_up_ref(own) != 1)
        return ca_fail(CA_UNAUTHENTICATED, "the CA sent no certificate for the key");
    issued->certificate = own;
    issued->chain = sk_X509_new_null();
    for (int i = 0; issued->chain && i < sk_X509_num(all); i++) {
        X509 *one = sk_X509_value(all, i);
        if (i == 0 && one != dialogue->authority.issuer)
            continue; /* the RA, which vouches for messages alone */
        if (X509_up_ref(one) != 1 || sk_X509_push(issued->chain, one) <= 0)
            return ca_fail(CA_INTERNAL, "no memory");
    }
    return wanted_check(dialogue->wanted, issued);
}

static enum ca_status
dialogue_run(const struct dialogue *dialogue, const struct scep_octets *envelope,
             struct key_issued *issued)
{
    CA_AUTO(scep_wire_reply_clear) struct scep_wire_reply reply = { 0 };
    enum ca_status status = message_exchange(dialogue, "19", envelope, &reply);
    for (int64_t tries = dialogue->wanted->retries;
         status == CA_OK && reply.status == SCEP_WIRE_PENDING; tries--) {
        if (tries <= 0)
            return ca_fail(CA_UNAVAILABLE, "the certificate is not ready yet");
        sleep(wanted_delay(dialogue->wanted->retry_delay));
        scep_wire_reply_clear(&reply);
        status = poll(dialogue, &reply);
    }
    if (status != CA_OK)
        return status;
    if (reply.status != SCEP_WIRE_SUCCESS)
        return ca_fail(CA_FORBIDDEN, "the CA refuses the request (failInfo %d)",
                       reply.fail);
    return reply_take(dialogue, &reply, issued);
}

/* ---- proxy ---- */

/* Our server says under the pinned root who speaks for the profile's CA, and vouches
 * for an upstream's RA; a device's certificate is none all the same. */
static enum ca_status
authority_trust(struct dialogue *dialogue, STACK_OF(X509) *certificates)
{
    struct scep_wire_pins pins = { .is_from_server = true };
    memcpy(pins.ca, dialogue->wanted->ca_sha256, sizeof pins.ca);
    return scep_wire_trust(certificates, &pins, clock_now(), &dialogue->authority);
}

/* GetCACert: whoever is among them, the profile's CA decides. */
static enum ca_status
authority_fetch(struct dialogue *dialogue)
{
    const struct wanted *wanted = dialogue->wanted;
    CA_AUTO(http_answer_clear) struct http_answer answer = { 0 };
    CA_AUTO(x509_stack_free) STACK_OF(X509) *certificates = NULL;
    CA_AUTO(free)
    char *url = scep_wire_url(wanted->url, "GetCACert", wanted->ca_ident);
    if (!url)
        return ca_fail(CA_INTERNAL, "no memory");
    enum ca_status status =
        activate_http_octets(dialogue->activate->http, url, NULL, 0, &answer);
    if (status == CA_OK)
        status = scep_wire_certificates(answer.octets.data, answer.octets.size,
                                        &certificates);
    return status == CA_OK ? authority_trust(dialogue, certificates) : status;
}

/* RFC 8894 section 3.2.1.1 advises a hash of the public key. */
static enum ca_status
transaction_make(struct dialogue *dialogue)
{
    CA_AUTO(openssl_free) uint8_t *spki = NULL;
    uint8_t sha256[SHA256_DIGEST_LENGTH];
    int size = i2d_PUBKEY(dialogue->key, &spki);
    if (size <= 0)
        return ca_fail_openssl(CA_INTERNAL, "cannot encode the key");
    SHA256(spki, (size_t)size, sha256);
    hex_format(sha256, sizeof sha256, dialogue->transaction);
    return CA_OK;
}

enum ca_status
mode_proxy(struct activate *activate, const struct wanted *wanted,
           struct mode_outcome *ret_outcome)
{
    CA_AUTO(mode_outcome_clear) struct mode_outcome outcome = { 0 };
    CA_AUTO(dialogue_clear)
    struct dialogue dialogue = { .activate = activate, .wanted = wanted };
    CA_AUTO(scep_octets_clear) struct scep_octets request = { 0 };
    CA_AUTO(scep_octets_clear) struct scep_octets envelope = { 0 };
    enum ca_status status = key_begin(activate, wanted, true, &outcome);
    dialogue.key = outcome.issued.key;
    if (status == CA_OK)
        status = authority_fetch(&dialogue);
    if (status == CA_OK)
        status = transaction_make(&dialogue);
    if (status == CA_OK)
        status = scep_wire_self_sign(dialogue.key, wanted->subject, clock_now(),
                                     &dialogue.self);
    if (status == CA_OK)
        status = request_make(wanted, dialogue.key,
                              *wanted->challenge ? wanted->challenge : NULL,
                              wanted->digest, &request);
    if (status == CA_OK)
        status = scep_wire_envelope(dialogue.authority.recipient, wanted->cipher,
                                    request.data, request.size, &envelope);
    if (status == CA_OK)
        status = dialogue_run(&dialogue, &envelope, &outcome.issued);
    if (status != CA_OK)
        return status;
    *ret_outcome = outcome;
    outcome = (struct mode_outcome){ 0 };
    return CA_OK;
}

/* ---- assisted ---- */

/* A digest that the device cannot check: only with a key that nobody has certified, and
 * for the server that the root vouches for (13.5, warning a). */
static enum ca_status
digest_sign(EVP_PKEY *key, const EVP_MD *digest, const struct scep_octets *octets,
            struct scep_octets *ret_signature)
{
    CA_AUTO(EVP_PKEY_CTX_free) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    size_t size = (size_t)EVP_PKEY_get_size(key);
    CA_AUTO(free) uint8_t *signature = malloc(size);
    if (octets->size != (size_t)EVP_MD_get_size(digest))
        return ca_fail(CA_MALFORMED, "the server sent no digest to be signed");
    if (!ctx || !signature || EVP_PKEY_sign_init(ctx) != 1 ||
        EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) != 1 ||
        EVP_PKEY_CTX_set_signature_md(ctx, digest) != 1 ||
        EVP_PKEY_sign(ctx, signature, &size, octets->data, octets->size) != 1)
        return ca_fail_openssl(CA_INTERNAL, "cannot sign the request");
    *ret_signature = (struct scep_octets){ CA_STEAL(signature), size };
    return CA_OK;
}

/* The first half: the signature for `ret_txn`. */
static enum ca_status
prepare(const struct dialogue *dialogue, char **ret_txn,
        struct scep_octets *ret_signature)
{
    const struct wanted *wanted = dialogue->wanted;
    CA_AUTO(http_answer_clear) struct http_answer answer = { 0 };
    CA_AUTO(scep_octets_clear) struct scep_octets info = { 0 };
    CA_AUTO(scep_octets_clear) struct scep_octets digest = { 0 };
    enum ca_status status = request_make(wanted, dialogue->key, NULL, NULL, &info);
    CA_AUTO(free)
    char *text = status == CA_OK ? base64url_format(info.data, info.size) : NULL;
    CA_AUTO(json_decref)
    json_t *body = json_pack("{s:i, s:s, s:s}", "v", 1, "cri", text ? text : "",
                             "digest", wanted->digest_word);
    if (status == CA_OK)
        status = step_call(dialogue->activate, wanted, "prepare", body, &answer);
    if (status == CA_OK && answer.status != 200)
        status = activate_http_refused(&answer);
    if (status == CA_OK)
        status = exchange_octets(answer.body, "tbs_digest", &digest.data, &digest.size);
    const char *txn = json_string_value(json_object_get(answer.body, "txn"));
    if (status == CA_OK && !txn)
        status = ca_fail(CA_MALFORMED, "the server prepared nothing");
    if (status == CA_OK)
        status = digest_sign(dialogue->key, wanted->digest, &digest, ret_signature);
    if (status == CA_OK && !(*ret_txn = strdup(txn)))
        status = ca_fail(CA_INTERNAL, "no memory");
    return status;
}

/* Whom it is enveloped to must be of the profile's CA, as in mode proxy. */
static enum ca_status
authority_read(const json_t *list, struct dialogue *dialogue)
{
    CA_AUTO(x509_stack_free) STACK_OF(X509) *certificates = sk_X509_new_null();
    size_t i;
    json_t *item;
    if (json_array_size(list) > SCEP_WIRE_CERTIFICATES_MAX || !certificates)
        return ca_fail(CA_MALFORMED, "the server sent too many certificates");
    json_array_foreach (list, i, item) {
        X509 *one = NULL;
        enum ca_status status = key_certificate_read(item, &one);
        if (status != CA_OK)
            return status;
        if (sk_X509_push(certificates, one) <= 0) {
            X509_free(one);
            return ca_fail(CA_INTERNAL, "no memory");
        }
    }
    return authority_trust(dialogue, certificates);
}

/* The second half: the request, complete, enveloped, and not for the device to read. */
static enum ca_status
envelope_fetch(struct dialogue *dialogue, const char *txn,
               const struct scep_octets *signature, struct scep_octets *ret_envelope)
{
    const struct wanted *wanted = dialogue->wanted;
    CA_AUTO(http_answer_clear) struct http_answer answer = { 0 };
    CA_AUTO(free) char *text = base64url_format(signature->data, signature->size);
    CA_AUTO(json_decref)
    json_t *body = json_pack("{s:i, s:s, s:s, s:s}", "v", 1, "txn", txn, "sig",
                             text ? text : "", "cipher", wanted->cipher);
    enum ca_status status =
        step_call(dialogue->activate, wanted, "envelope", body, &answer);
    if (status == CA_OK && answer.status != 200)
        status = activate_http_refused(&answer);
    if (status != CA_OK)
        return status;
    const char *transaction =
        json_string_value(json_object_get(answer.body, "transaction_id"));
    size_t length = transaction ? strlen(transaction) : 0;
    if (length == 0 || length > TRANSACTION_MAX)
        return ca_fail(CA_MALFORMED, "the server's envelope has no transaction");
    memcpy(dialogue->transaction, transaction, length + 1);
    status = authority_read(json_object_get(answer.body, "ca"), dialogue);
    return status == CA_OK ? exchange_octets(answer.body, "enveloped",
                                             &ret_envelope->data, &ret_envelope->size)
                           : status;
}

enum ca_status
mode_assisted(struct activate *activate, const struct wanted *wanted,
              struct mode_outcome *ret_outcome)
{
    CA_AUTO(mode_outcome_clear) struct mode_outcome outcome = { 0 };
    CA_AUTO(dialogue_clear)
    struct dialogue dialogue = { .activate = activate, .wanted = wanted };
    CA_AUTO(scep_octets_clear) struct scep_octets signature = { 0 };
    CA_AUTO(scep_octets_clear) struct scep_octets envelope = { 0 };
    CA_AUTO(free) char *txn = NULL;
    enum ca_status status = key_begin(activate, wanted, true, &outcome);
    dialogue.key = outcome.issued.key;
    if (status == CA_OK)
        status = prepare(&dialogue, &txn, &signature);
    if (status == CA_OK)
        status = envelope_fetch(&dialogue, txn, &signature, &envelope);
    if (status == CA_OK)
        status = scep_wire_self_sign(dialogue.key, wanted->subject, clock_now(),
                                     &dialogue.self);
    if (status == CA_OK)
        status = dialogue_run(&dialogue, &envelope, &outcome.issued);
    if (status != CA_OK)
        return status;
    *ret_outcome = outcome;
    outcome = (struct mode_outcome){ 0 };
    return CA_OK;
}

/* ---- simple ---- */

/* The same request again and again while an upstream is pending. */
static enum ca_status
simple_enroll(struct activate *activate, const struct wanted *wanted,
              const struct scep_octets *request, struct http_answer *answer)
{
    int64_t tries = wanted->retries;
    CA_AUTO(free) char *csr = base64url_format(request->data, request->size);
    CA_AUTO(json_decref)
    json_t *body = json_pack("{s:i, s:s}", "v", 1, "csr", csr ? csr : "");
    for (;; tries--) {
        enum ca_status status = step_call(activate, wanted, "enroll", body, answer);
        if (status != CA_OK || answer->status == 200)
            return status;
        if (answer->status != 202)
            return activate_http_refused(answer);
        if (tries <= 0)
            return ca_fail(CA_UNAVAILABLE, "the certificate is not ready yet");
        sleep(wanted_delay(answer->retry_after));
    }
}

enum ca_status
mode_simple(struct activate *activate, const struct wanted *wanted,
            struct mode_outcome *ret_outcome)
{
    CA_AUTO(mode_outcome_clear) struct mode_outcome outcome = { 0 };
    CA_AUTO(scep_octets_clear) struct scep_octets request = { 0 };
    CA_AUTO(http_answer_clear) struct http_answer answer = { 0 };
    struct key_issued issued = { 0 };
    enum ca_status status = key_begin(activate, wanted, false, &outcome);
    if (status == CA_OK)
        status =
            request_make(wanted, outcome.issued.key, NULL, wanted->digest, &request);
    if (status == CA_OK)
        status = simple_enroll(activate, wanted, &request, &answer);
    if (status == CA_OK)
        status = key_issued_read(answer.body, outcome.issued.key, wanted->ca_sha256,
                                 &issued);
    if (status != CA_OK)
        return status;
    key_issued_clear(&outcome.issued);
    outcome.issued = issued;
    status = wanted_check(wanted, &outcome.issued);
    if (status != CA_OK)
        return status;
    *ret_outcome = outcome;
    outcome = (struct mode_outcome){ 0 };
    return CA_OK;
}
