/* Mode assisted (ECSPEKE-ACT-1 section 13.5): the server puts the challenge into the
 * device's request, the device signs it unseen. What lies between the two halves is
 * sealed under the identifier that only the device has. */
#include "audit.h"
#include "auto.h"
#include "calls_scep.h"
#include "clock.h"
#include "csr.h"
#include "der.h"
#include "keycheck.h"
#include "offer_count.h"
#include "offer_judge.h"
#include "seal.h"
#include "state.h"
#include "upstream.h"
#include <openssl/sha.h>
#include <string.h>

#define SPACE "scep/assisted"
#define TURNS "scep/turn" /* by offer, of an upstream */
#define PREPARES_MAX 5    /* of one offer: each may cost the upstream a challenge */
#define TXN_SECONDS 600
#define TXN_OCTETS 32
#define TXN_SIZE 43 /* of base64url */
#define INFO_MAX 8192
#define SIGNATURE_MAX 1024
#define SEAL_LABEL "scep assisted seal"

static const struct digest {
    const char *word;
    const EVP_MD *(*evp)(void);
    const char *oid; /* with RSA */
} digests[] = {
    { "sha256", EVP_sha256, "1.2.840.113549.1.1.11" },
    { "sha384", EVP_sha384, "1.2.840.113549.1.1.12" },
    { "sha512", EVP_sha512, "1.2.840.113549.1.1.13" },
};

static const struct digest *
digest_find(const char *word)
{
    for (size_t i = 0; word && i < sizeof digests / sizeof digests[0]; i++) {
        if (strcmp(digests[i].word, word) == 0)
            return &digests[i];
    }
    return NULL;
}

/* CertificationRequest of these parts; free its data. */
static bool
request_build(const struct ca_bytes info, const struct digest *digest,
              struct ca_bytes signature, struct text_buffer *ret_der)
{
    struct text_buffer body = { 0 }, algorithm = { 0 }, bits = { 0 };
    der_oid(&algorithm, digest->oid);
    der_append(&algorithm, DER_NULL, "", 0);
    text_append(&bits, "\0", 1); /* no unused bits */
    text_append(&bits, signature.data, signature.size);
    text_append(&body, info.data, info.size);
    der_wrap(&body, DER_SEQUENCE, &algorithm);
    der_wrap(&body, DER_BIT_STRING, &bits);
    der_wrap(ret_der, DER_SEQUENCE, &body);
    return !ret_der->failed;
}

static enum ca_status
info_decode(struct ca_bytes info, const struct digest *digest, X509_REQ **ret_request)
{
    CA_AUTO(text_buffer_clear) struct text_buffer der = { 0 };
    if (info.size == 0 || info.size > INFO_MAX)
        return ca_fail(CA_MALFORMED, "CertificationRequestInfo of %zu octets",
                       info.size);
    const struct ca_bytes unsigned_yet = { (const uint8_t *)"", 1 };
    if (!request_build(info, digest, unsigned_yet, &der))
        return ca_fail(CA_INTERNAL, "no memory for a request");
    return csr_decode((const uint8_t *)der.data, der.size, ret_request);
}

/* ---- What lies between the halves ---- */

struct txn {
    char text[TXN_SIZE + 1]; /* the device's */
    char key[65];            /* the store's: SHA-256 of the text */
    uint8_t seal[32];
};

static void
txn_derive(struct txn *txn)
{
    uint8_t sha256[32];
    char sealed[sizeof SEAL_LABEL + TXN_SIZE];
    SHA256((const uint8_t *)txn->text, TXN_SIZE, sha256);
    hex_format(sha256, sizeof sha256, txn->key);
    snprintf(sealed, sizeof sealed, "%s%s", SEAL_LABEL, txn->text);
    SHA256((const uint8_t *)sealed, sizeof sealed - 1, txn->seal);
    OPENSSL_cleanse(sealed, sizeof sealed);
}

static enum ca_status
txn_draw(struct txn *ret_txn)
{
    uint8_t drawn[TXN_OCTETS];
    enum ca_status status = random_bytes(drawn, sizeof drawn);
    if (status != CA_OK)
        return status;
    char *text = base64url_format(drawn, sizeof drawn);
    OPENSSL_cleanse(drawn, sizeof drawn);
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for a transaction");
    snprintf(ret_txn->text, sizeof ret_txn->text, "%s", text);
    secret_free(text);
    txn_derive(ret_txn);
    return CA_OK;
}

/* ---- prepare ---- */

struct preparing {
    struct scep_call *call;
    const struct digest *digest;
    X509_REQ *request;
    char *challenge; /* of the upstream; NULL: ours, drawn in the store */
    char secret[OFFER_TOKEN_SIZE];
    uint8_t spki[32];
    struct txn txn;
    struct ca_bytes info; /* with the challenge */
};

static void
preparing_clear_auto(struct preparing *preparing)
{
    X509_REQ_free(preparing->request);
    secret_free(preparing->challenge);
    OPENSSL_cleanse(preparing->secret, sizeof preparing->secret);
    OPENSSL_cleanse(&preparing->txn, sizeof preparing->txn);
}

/* PrintableString where it can be; base64url has '_'. */
static int
challenge_type(const char *text)
{
    size_t size = strlen(text);
    return strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                        "0123456789 '()+,-./:=?") == size
               ? V_ASN1_PRINTABLESTRING
               : V_ASN1_UTF8STRING;
}

static enum ca_status
challenge_add(struct preparing *preparing, const char *challenge)
{
    uint8_t *der = NULL;
    X509_REQ *request = preparing->request;
    if (challenge && X509_REQ_add1_attr_by_NID(request, NID_pkcs9_challengePassword,
                                               challenge_type(challenge),
                                               (const unsigned char *)challenge,
                                               (int)strlen(challenge)) != 1)
        return ca_fail_openssl(CA_INTERNAL, "cannot add a challenge");
    int size = i2d_re_X509_REQ_tbs(request, &der);
    if (size <= 0)
        return ca_fail_openssl(CA_INTERNAL, "cannot encode a request");
    preparing->info = scep_keep_octets(preparing->call->exchange, der, (size_t)size);
    OPENSSL_cleanse(der, (size_t)size);
    OPENSSL_free(der);
    return preparing->info.data ? CA_OK
                                : ca_fail(CA_INTERNAL, "no memory for a request");
}

/* The request as it will be signed, with whose it is, sealed. */
static enum ca_status
txn_save(struct store_tx *tx, const struct preparing *preparing)
{
    const struct scep_call *call = preparing->call;
    CA_AUTO(secret_free)
    char *info = base64_format(preparing->info.data, preparing->info.size);
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:s}", "offer", call->offer.id, "device",
                  call->device, "digest", preparing->digest->word, "info", info);
    CA_AUTO(secret_free) char *text = record_json_format(json);
    if (json)
        field_json_wipe(json);
    size_t size = text ? strlen(text) : 0;
    CA_AUTO(free) uint8_t *blob = text ? malloc(size + SEAL_OVERHEAD) : NULL;
    if (!blob)
        return ca_fail(CA_INTERNAL, "no memory for a transaction");
    const struct txn *txn = &preparing->txn;
    enum ca_status status = seal_make(
        txn->seal,
        (struct seal_text){
            .data = text, .size = size, .aad = txn->key, .aad_size = strlen(txn->key) },
        blob);
    if (status != CA_OK)
        return status;
    return state_put(tx, SPACE, txn->key, blob, size + SEAL_OVERHEAD,
                     clock_now() + TXN_SECONDS);
}

/* How often an offer was prepared, and the one transaction that it has open. */
struct turn {
    uint8_t count;
    char open[65]; /* the store's key */
};

static enum ca_status
turn_read(struct store_tx *tx, const char *offer, struct turn *ret_turn)
{
    CA_AUTO(free) void *kept = NULL;
    size_t size = 0;
    *ret_turn = (struct turn){ 0 };
    enum ca_status status = state_get(tx, TURNS, offer, &kept, &size, NULL);
    if (status == CA_NOT_FOUND)
        return CA_OK;
    if (status == CA_OK && size != sizeof *ret_turn)
        status = ca_fail(CA_INTERNAL, "a turn does not parse");
    if (status == CA_OK)
        memcpy(ret_turn, kept, size);
    return status;
}

/* Before the upstream is asked for a challenge: an upstream has no ledger of ours, so
 * that the offer is bound here, and what was prepared before ends. */
static enum ca_status
turn_begin(struct store_tx *tx, void *arg)
{
    const struct preparing *preparing = arg;
    const struct offer *offer = &preparing->call->offer;
    CA_AUTO(free) void *before = NULL;
    size_t size = 0;
    struct turn turn;
    enum ca_status status = turn_read(tx, offer->id, &turn);
    if (status == CA_OK && turn.count >= PREPARES_MAX)
        status = ca_fail(CA_LIMIT, "%s was prepared %d times", offer->id, PREPARES_MAX);
    if (status == CA_OK)
        status = offer_bind(tx, offer->id, preparing->spki);
    if (status == CA_OK && *turn.open)
        status = state_take(tx, SPACE, turn.open, &before, &size);
    if (status != CA_OK && status != CA_NOT_FOUND)
        return status;
    turn.count++;
    memcpy(turn.open, preparing->txn.key, sizeof turn.open);
    return state_put(tx, TURNS, offer->id, &turn, sizeof turn, offer->expires);
}

/* Has no later one taken its place? */
static enum ca_status
turn_check(struct store_tx *tx, const struct preparing *preparing)
{
    struct turn turn;
    const char *offer = preparing->call->offer.id;
    enum ca_status status = turn_read(tx, offer, &turn);
    if (status == CA_OK && strcmp(turn.open, preparing->txn.key) != 0)
        status = ca_fail(CA_CONFLICT, "%s is prepared anew", offer);
    return status;
}

static enum ca_status
prepare_write(struct store_tx *tx, void *arg)
{
    struct preparing *preparing = arg;
    bool is_own = !scep_call_is_upstream(preparing->call);
    enum ca_status status = is_own ? CA_OK : turn_check(tx, preparing);
    if (status != CA_OK)
        return status;
    /* A run that is repeated starts from the request without a challenge. */
    int at =
        X509_REQ_get_attr_by_NID(preparing->request, NID_pkcs9_challengePassword, -1);
    if (at >= 0)
        X509_ATTRIBUTE_free(X509_REQ_delete_attr(preparing->request, at));
    if (is_own)
        status = offer_renew_secret(tx, preparing->call->offer.id, preparing->secret);
    if (status == CA_OK)
        status =
            challenge_add(preparing, is_own ? preparing->secret : preparing->challenge);
    return status == CA_OK ? txn_save(tx, preparing) : status;
}

static enum ca_status
prepare_judge(struct preparing *preparing, struct ca_bytes info)
{
    struct scep_call *call = preparing->call;
    const struct certificate_profile *profile =
        &call->effective.certificate.settings.certificate;
    const char *word = NULL;
    enum ca_status status = info_decode(info, preparing->digest, &preparing->request);
    if (status != CA_OK)
        return status;
    if (X509_REQ_get_attr_by_NID(preparing->request, NID_pkcs9_challengePassword, -1) >=
        0)
        return ca_fail(CA_MALFORMED, "the request has a challengePassword");
    status = csr_check_extensions(preparing->request);
    if (status == CA_OK)
        status = offer_judge_unsigned(&call->offer, profile, preparing->request, &word);
    else if (status == CA_FORBIDDEN)
        word = "san_mismatch";
    if (status == CA_OK && scep_call_is_upstream(call))
        status = offer_judge_passing(profile, preparing->request, false, &word);
    if (word)
        return scep_call_mismatch(call, status, word);
    X509_PUBKEY *key = X509_REQ_get_X509_PUBKEY(preparing->request);
    return status == CA_OK ? keycheck_digest(key, preparing->spki) : status;
}

/* NULL: it wants none. */
static enum ca_status
challenge_fetch(struct preparing *preparing)
{
    struct scep_call *call = preparing->call;
    struct service *service = call->exchange->service;
    enum ca_status status = store_write(service->store, turn_begin, preparing);
    if (status != CA_OK)
        return status;
    status = scep_call_challenge(call, &preparing->challenge);
    return status == CA_UNAVAILABLE ? scep_call_fail(call, status, "upstream") : status;
}

static enum ca_status
prepare(struct preparing *preparing, const char *profile, struct ca_bytes info,
        struct ca_scep_prepared *ret_prepared)
{
    static const uint8_t nothing[32];
    struct scep_call *call = preparing->call;
    struct service *service = call->exchange->service;
    enum ca_status status = scep_call_offer(call, profile, SCEP_MODE_ASSISTED, nothing);
    if (status == CA_OK)
        status = prepare_judge(preparing, info);
    if (status == CA_OK)
        status = txn_draw(&preparing->txn);
    if (status == CA_OK && scep_call_is_upstream(call))
        status = challenge_fetch(preparing);
    if (status == CA_OK)
        status = store_write(service->store, prepare_write, preparing);
    if (status == CA_CONFLICT)
        return scep_call_fail(call, ca_fail(CA_NOT_FOUND, "%s", status_message()),
                              "txn_gone");
    if (status != CA_OK)
        return status;
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (EVP_Digest(preparing->info.data, preparing->info.size, digest, &size,
                   preparing->digest->evp(), NULL) != 1)
        return ca_fail_openssl(CA_INTERNAL, "cannot hash a request");
    ret_prepared->txn = scep_keep_text(call->exchange, preparing->txn.text);
    ret_prepared->digest = scep_keep_octets(call->exchange, digest, size);
    return ret_prepared->txn && ret_prepared->digest.data
               ? CA_OK
               : ca_fail(CA_INTERNAL, "no memory for a transaction");
}

enum ca_status
ca_activation_scep_prepare(struct ca_request *req, const char *profile,
                           struct ca_bytes info, const char *digest,
                           struct ca_scep_prepared *ret_prepared,
                           struct ca_scep_failure *ret_failure)
{
    CA_AUTO(scep_call_clear) struct scep_call call;
    CA_AUTO(preparing_clear)
    struct preparing preparing = { .call = &call, .digest = digest_find(digest) };
    enum ca_status status = scep_call_begin(req, ret_failure, &call);
    if (status == CA_OK && !preparing.digest)
        return ca_fail(CA_MALFORMED, "no such digest");
    if (status == CA_OK)
        status = service_wait_begin(call.exchange->service);
    if (status != CA_OK)
        return status;
    status = prepare(&preparing, profile, info, ret_prepared);
    service_wait_end(call.exchange->service);
    return status;
}

/* ---- envelope ---- */

struct enveloping {
    struct scep_call *call;
    const struct ca_scep_signature *given;
    struct txn txn;
    void *blob;
    size_t blob_size;
    const struct digest *digest;
    struct ca_bytes info;
    uint8_t spki[32], request[32]; /* SHA-256 */
    char transaction[65];
};

static void
enveloping_clear_auto(struct enveloping *enveloping)
{
    free(enveloping->blob);
    OPENSSL_cleanse(&enveloping->txn, sizeof enveloping->txn);
}

static enum ca_status
txn_take(struct store_tx *tx, void *arg)
{
    struct enveloping *enveloping = arg;
    free(CA_STEAL(enveloping->blob));
    return state_take(tx, SPACE, enveloping->txn.key, &enveloping->blob,
                      &enveloping->blob_size);
}

static enum ca_status
info_read(struct enveloping *enveloping, const json_t *json)
{
    struct exchange *exchange = enveloping->call->exchange;
    const char *info = json_string_value(json_object_get(json, "info"));
    size_t room = info ? strlen(info) : 0, size = 0;
    uint8_t *octets = ca_request_alloc(&exchange->request, room + 1);
    if (!octets)
        return ca_fail(CA_INTERNAL, "no memory for a transaction");
    if (!info || base64_parse(info, room, BASE64_STRICT, octets, room, &size) != CA_OK)
        return ca_fail(CA_INTERNAL, "a transaction does not parse");
    enveloping->info = (struct ca_bytes){ octets, size };
    return CA_OK;
}

/* Spent by this, whatever follows. Another device's transaction is none. */
static enum ca_status
txn_open(struct enveloping *enveloping)
{
    struct scep_call *call = enveloping->call;
    struct txn *txn = &enveloping->txn;
    const char *text = enveloping->given->txn;
    if (strlen(text) != TXN_SIZE)
        return ca_fail(CA_NOT_FOUND, "no transaction");
    memcpy(txn->text, text, TXN_SIZE + 1);
    txn_derive(txn);
    enum ca_status status =
        store_write(call->exchange->service->store, txn_take, enveloping);
    if (status != CA_OK)
        return status;
    if (enveloping->blob_size <= SEAL_OVERHEAD)
        return ca_fail(CA_INTERNAL, "a transaction does not parse");
    size_t size = enveloping->blob_size - SEAL_OVERHEAD;
    CA_AUTO(secret_free) char *plain = calloc(1, size + 1);
    if (!plain)
        return ca_fail(CA_INTERNAL, "no memory for a transaction");
    status = seal_open(txn->seal,
                       (struct seal_text){ .data = enveloping->blob,
                                           .size = enveloping->blob_size,
                                           .aad = txn->key,
                                           .aad_size = strlen(txn->key) },
                       plain);
    json_t *json = NULL;
    if (status == CA_OK)
        status = field_parse(plain, size, SEAL_PLAIN_MAX, &json);
    if (status != CA_OK)
        return ca_fail(CA_INTERNAL, "a transaction does not parse");
    const char *device = json_string_value(json_object_get(json, "device"));
    const char *offer = json_string_value(json_object_get(json, "offer"));
    enveloping->digest =
        digest_find(json_string_value(json_object_get(json, "digest")));
    if (!device || strcmp(device, call->device) != 0 || !offer ||
        strcmp(offer, call->offer.id) != 0 || !enveloping->digest)
        status = ca_fail(CA_NOT_FOUND, "the transaction is of another offer");
    if (status == CA_OK)
        status = info_read(enveloping, json);
    field_json_wipe(json);
    return status;
}

static enum ca_status
signature_judge(struct enveloping *enveloping, struct text_buffer *der)
{
    struct scep_call *call = enveloping->call;
    const struct certificate_profile *profile =
        &call->effective.certificate.settings.certificate;
    CA_AUTO(X509_REQ_free) X509_REQ *request = NULL;
    const char *word = NULL;
    if (!request_build(enveloping->info, enveloping->digest,
                       enveloping->given->signature, der))
        return ca_fail(CA_INTERNAL, "no memory for a request");
    enum ca_status status = csr_decode((const uint8_t *)der->data, der->size, &request);
    if (status != CA_OK)
        return status;
    status = offer_judge(&call->offer, profile, request, &word);
    if (status == CA_OK && scep_call_is_upstream(call))
        status = offer_judge_passing(profile, request, true, &word);
    if (word)
        return scep_call_mismatch(call, status, word);
    X509_PUBKEY *key = X509_REQ_get_X509_PUBKEY(request);
    if (status == CA_OK)
        status = keycheck_digest(key, enveloping->spki);
    hex_format(enveloping->spki, sizeof enveloping->spki, enveloping->transaction);
    SHA256((const uint8_t *)der->data, der->size, enveloping->request);
    return status;
}

/* What an upstream issues is not seen here: the envelope is the offer's one use. */
static enum ca_status
use_write(struct store_tx *tx, void *arg)
{
    const struct enveloping *enveloping = arg;
    const struct scep_call *call = enveloping->call;
    struct exchange *exchange = call->exchange;
    const char *id = call->offer.id, *transaction = enveloping->transaction;
    enum ca_status status =
        offer_claim(tx, id, transaction, enveloping->spki, enveloping->request);
    if (status == CA_OK)
        status = offer_finish(tx, id, transaction);
    if (status != CA_OK)
        return status;
    CA_AUTO(json_decref)
    json_t *detail = json_pack("{s:s, s:s, s:s, s:s}", "user", call->user, "device",
                               call->device, "profile", call->offer.profile, "upstream",
                               call->effective.scep.settings.scep.upstream.url);
    if (!detail)
        return ca_fail(CA_INTERNAL, "no memory for an audit entry");
    return audit_append(tx,
                        &(struct audit_entry){ .action = "offer.use",
                                               .actor = exchange_actor(exchange),
                                               .object = id,
                                               .protocol = exchange->identity.protocol,
                                               .request = exchange->request.id,
                                               .outcome = "ok",
                                               .detail = detail });
}

static enum ca_status
envelope(struct enveloping *enveloping, struct ca_scep_enveloped *ret_enveloped)
{
    static const uint8_t nothing[32];
    struct scep_call *call = enveloping->call;
    struct exchange *exchange = call->exchange;
    CA_AUTO(text_buffer_clear) struct text_buffer der = { 0 };
    CA_AUTO(scep_octets_clear) struct scep_octets enveloped = { 0 };
    struct scep_authority authority = { 0 };
    enum ca_status status =
        scep_call_offer(call, enveloping->given->profile, SCEP_MODE_ASSISTED, nothing);
    if (status == CA_OK) {
        status = txn_open(enveloping);
        if (status == CA_NOT_FOUND)
            return scep_call_fail(call, status, "txn_gone");
    }
    if (status == CA_OK)
        status = signature_judge(enveloping, &der);
    if (status == CA_OK)
        status = scep_call_authority(call, &authority);
    if (status == CA_OK)
        status = scep_wire_envelope(authority.recipient, enveloping->given->cipher,
                                    der.data, der.size, &enveloped);
    if (status == CA_OK && scep_call_is_upstream(call)) {
        status = store_write(exchange->service->store, use_write, enveloping);
        if (status == CA_CONFLICT)
            return scep_call_fail(call, ca_fail(CA_NOT_FOUND, "%s", status_message()),
                                  "txn_gone");
    }
    if (status != CA_OK)
        return status;
    *ret_enveloped = (struct ca_scep_enveloped){
        .envelope = scep_keep_octets(exchange, enveloped.data, enveloped.size),
        .transaction = scep_keep_text(exchange, enveloping->transaction),
        .chain = authority.chain,
        .count = authority.count,
    };
    return ret_enveloped->envelope.data && ret_enveloped->transaction
               ? CA_OK
               : ca_fail(CA_INTERNAL, "no memory for an envelope");
}

enum ca_status
ca_activation_scep_envelope(struct ca_request *req,
                            const struct ca_scep_signature *signature,
                            struct ca_scep_enveloped *ret_enveloped,
                            struct ca_scep_failure *ret_failure)
{
    CA_AUTO(scep_call_clear) struct scep_call call;
    CA_AUTO(enveloping_clear)
    struct enveloping enveloping = { .call = &call, .given = signature };
    enum ca_status status = scep_call_begin(req, ret_failure, &call);
    if (status == CA_OK &&
        (signature->signature.size == 0 || signature->signature.size > SIGNATURE_MAX ||
         (strcmp(signature->cipher, "aes128") != 0 &&
          strcmp(signature->cipher, "aes256") != 0)))
        return ca_fail(CA_MALFORMED, "no such cipher or signature");
    if (status == CA_OK)
        status = service_wait_begin(call.exchange->service);
    if (status != CA_OK)
        return status;
    status = envelope(&enveloping, ret_enveloped);
    service_wait_end(call.exchange->service);
    return status;
}
