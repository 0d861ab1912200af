/* From a verified message to one answer: what each messageType asks of the core
 * (RFC 8894 3.3, 4.3 to 4.6). */
#include "auto.h"
#include "scep.h"
#include <string.h>

#define SERIAL_OCTETS_MAX 20 /* RFC 5280 4.1.2.2 */

/* Issued by the endpoint's CA, as far as a name can say: the core verifies it. */
static bool
signer_is_ours(const struct scep_operation *operation)
{
    return cms_name_is(operation->message.signer_parts.issuer,
                       X509_get_subject_name(operation->chain.issuer));
}

static bool
signer_is_self_issued(const struct scep_operation *operation)
{
    const struct cms_certificate *parts = &operation->message.signer_parts;
    return cms_names_equal(parts->issuer, parts->subject);
}

static enum ca_status
credential_make(struct scep_operation *operation, enum ca_credential_kind kind,
                struct ca_credential *ret_credential)
{
    enum ca_status status = CA_OK;
    if (kind == CA_CREDENTIAL_CERTIFICATE)
        status = scep_message_certificate(&operation->message);
    *ret_credential = (struct ca_credential){
        .kind = kind,
        .protocol = "scep",
        .message = operation->message.type,
        .endpoint = operation->name,
        .certificate = operation->message.signer,
        .path_token = operation->token,
    };
    return status;
}

/* By what the signer asks for an earlier outcome. A RenewalReq is signed by a
 * certificate of ours or is nothing. */
static enum ca_credential_kind
signer_kind(const struct scep_operation *operation)
{
    return strcmp(operation->message.type, "17") == 0 || operation->is_signer_ours
               ? CA_CREDENTIAL_CERTIFICATE
               : CA_CREDENTIAL_KEY;
}

static const struct ca_bytes ec_public_key =
    DER_OID_BYTES(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01);
static const struct ca_bytes ed25519 = DER_OID_BYTES(0x2b, 0x65, 0x70);

/* A key that no content key can be encrypted to: the only reason for a request to be
 * signed with another one (a throw-away RSA key). */
static bool
key_cannot_encrypt(struct ca_bytes spki)
{
    struct ca_bytes oid;
    return cms_spki_algorithm(spki, &oid) &&
           (asn1_equal(oid, ec_public_key) || asn1_equal(oid, ed25519));
}

/* The token's one private operation for the request; both flaws of the content are
 * told only together with what the caller finds in it. */
static enum ca_status
content_decrypt(struct scep_operation *operation, struct ca_bytes *ret_content,
                bool *ret_is_padded)
{
    return scep_envelope_decrypt(operation->req, operation->decrypting,
                                 &operation->envelope, ret_content, ret_is_padded);
}

static void
answer_issued(struct scep_answer *answer, const struct ca_issued *issued)
{
    answer->certificate = issued->der;
}

/* An enrolment is a challenge of somebody who holds the certified key, a renewal is a
 * certificate of ours; 17 is never anything but a renewal. */
static enum ca_status
enrolment_authenticate(struct scep_operation *operation,
                       const struct scep_pkcs10 *pkcs10, struct scep_answer *answer)
{
    bool is_renewal =
        strcmp(operation->message.type, "17") == 0 || operation->is_signer_ours ||
        (!signer_is_self_issued(operation) && pkcs10->challenge.size == 0);
    struct ca_credential credential;
    enum ca_status status = credential_make(
        operation, is_renewal ? CA_CREDENTIAL_CERTIFICATE : CA_CREDENTIAL_CHALLENGE,
        &credential);
    if (status != CA_OK)
        return status;
    if (!is_renewal) {
        answer->is_audited = false;
        if (!asn1_equal(pkcs10->spki, operation->message.signer_parts.spki) &&
            !key_cannot_encrypt(pkcs10->spki))
            return ca_fail(CA_FORBIDDEN, "the request's key is not the signer's");
        char *secret = ca_request_alloc(operation->req, pkcs10->challenge.size + 1);
        if (!secret)
            return ca_fail(CA_INTERNAL, "no memory for the challenge");
        if (pkcs10->challenge.size > 0)
            memcpy(secret, pkcs10->challenge.data, pkcs10->challenge.size);
        credential.secret = secret;
        credential.secret_size = pkcs10->challenge.size;
        credential.certificate = NULL;
    }
    answer->is_audited = true;
    return ca_authenticate(operation->req, &credential);
}

/* PKCSReq and RenewalReq (4.3): steps 7 to 12. */
static enum ca_status
enrol(struct scep_operation *operation, struct scep_answer *answer)
{
    struct ca_bytes content;
    struct scep_pkcs10 pkcs10;
    bool is_padded;
    enum ca_status status = content_decrypt(operation, &content, &is_padded);
    if (status != CA_OK)
        return status;
    status = scep_pkcs10_decode(operation->req, content, &pkcs10);
    if (status == CA_OK && !is_padded)
        status = ca_fail(CA_MALFORMED, "the content's padding does not hold");
    if (status != CA_OK)
        return status;
    const struct ca_enrolment enrolment = {
        .pkcs10 = content,
        .transaction = operation->message.transaction,
        .signer_key = operation->message.signer_parts.spki,
    };
    struct ca_credential retry;
    status = credential_make(operation, signer_kind(operation), &retry);
    if (status != CA_OK)
        return status;
    struct ca_issued issued = { 0 };
    answer->is_audited = true;
    status = ca_poll(operation->req, &retry, &enrolment, &issued);
    if (status == CA_NOT_FOUND) {
        status = enrolment_authenticate(operation, &pkcs10, answer);
        /* The same message, sent twice at once: the other one has claimed the secret
         * since we asked, and its answer is ours too, even where it is none yet. */
        if (status == CA_UNAUTHENTICATED) {
            enum ca_status other = ca_poll(operation->req, &retry, &enrolment, &issued);
            if (other == CA_OK || other == CA_PENDING || other == CA_UNAVAILABLE)
                status = other;
        } else if (status == CA_OK)
            status = ca_enroll(operation->req, &enrolment, &issued);
    }
    if (status == CA_OK)
        answer_issued(answer, &issued);
    return status;
}

/* CertPoll (4.4): by recipient, transaction and signer key, without decryption. */
static enum ca_status
poll(struct scep_operation *operation, struct scep_answer *answer)
{
    const struct ca_enrolment enrolment = {
        .transaction = operation->message.transaction,
        .signer_key = operation->message.signer_parts.spki,
    };
    struct ca_credential credential;
    enum ca_status status =
        credential_make(operation, signer_kind(operation), &credential);
    if (status != CA_OK)
        return status;
    struct ca_issued issued = { 0 };
    answer->is_audited = true;
    status = ca_poll(operation->req, &credential, &enrolment, &issued);
    if (status == CA_OK)
        answer_issued(answer, &issued);
    return status;
}

/* Decrypted IssuerAndSerialNumber of GetCert and GetCRL (3.3.4, 3.3.5). */
static enum ca_status
query_decrypt(struct scep_operation *operation, struct ca_bytes *ret_issuer,
              struct ca_bytes *ret_serial)
{
    struct ca_bytes content, query;
    bool is_padded;
    enum ca_status status = content_decrypt(operation, &content, &is_padded);
    if (status != CA_OK)
        return status;
    if (!asn1_take(&content, DER_SEQUENCE, &query) || content.size > 0 ||
        !asn1_take_whole(&query, DER_SEQUENCE, ret_issuer) ||
        !asn1_take_unsigned(&query, ret_serial) || query.size > 0 || !is_padded)
        return ca_fail(CA_MALFORMED, "the content is no IssuerAndSerialNumber");
    if (ret_serial->size > SERIAL_OCTETS_MAX)
        return ca_fail(CA_MALFORMED, "serial number of %zu octets", ret_serial->size);
    return CA_OK;
}

static void
serial_format(struct ca_bytes serial, char ret_text[2 * SERIAL_OCTETS_MAX + 1])
{
    for (size_t i = 0; i < serial.size; i++)
        snprintf(ret_text + 2 * i, 3, "%02x", serial.data[i]);
}

static enum ca_status
get_certificate(struct scep_operation *operation, struct scep_answer *answer)
{
    struct ca_bytes issuer, serial;
    enum ca_status status = query_decrypt(operation, &issuer, &serial);
    if (status != CA_OK)
        return status;
    struct ca_credential credential;
    status = credential_make(operation, signer_kind(operation), &credential);
    if (status != CA_OK)
        return status;
    answer->is_audited = true;
    status = ca_authenticate(operation->req, &credential);
    if (status != CA_OK)
        return status;
    char text[2 * SERIAL_OCTETS_MAX + 1];
    struct ca_issued issued = { 0 };
    serial_format(serial, text);
    status = ca_lookup(operation->req, issuer, text, &issued);
    if (status == CA_OK)
        answer_issued(answer, &issued);
    return status;
}

/* A CRL is public: the profile alone says whether it comes this way. */
static enum ca_status
get_crl(struct scep_operation *operation, struct scep_answer *answer)
{
    struct ca_bytes issuer, serial;
    if (!operation->settings.get_crl)
        return ca_fail(CA_FORBIDDEN, "profile '%s' answers no GetCRL", operation->name);
    enum ca_status status = query_decrypt(operation, &issuer, &serial);
    if (status != CA_OK)
        return status;
    if (!cms_name_is(issuer, X509_get_subject_name(operation->chain.issuer)))
        return ca_fail(CA_NOT_FOUND, "GetCRL for another issuer");
    return ca_crl(operation->req, operation->endpoint, &answer->crl);
}

/* 3.2.1.2. What is not here is refused: 18 is a relic of the drafts, 3 an answer. */
static const struct {
    const char *type;
    enum scep_fail fail;
    enum ca_status (*run)(struct scep_operation *operation, struct scep_answer *answer);
} operations[] = {
    { "17", SCEP_BAD_REQUEST, enrol },   { "19", SCEP_BAD_REQUEST, enrol },
    { "20", SCEP_BAD_CERT_ID, poll },    { "21", SCEP_BAD_CERT_ID, get_certificate },
    { "22", SCEP_BAD_CERT_ID, get_crl },
};

/* Step 6: all that is visible without the key. */
static enum ca_status
envelope_open(struct scep_operation *operation, struct scep_answer *answer)
{
    struct scep_envelope *envelope = &operation->envelope;
    enum ca_status status =
        scep_envelope_decode(operation->req, operation->message.envelope, envelope);
    if (status == CA_OK)
        status = scep_envelope_find_key(operation->req, operation->endpoint, envelope,
                                        &operation->decrypting);
    if (status != CA_OK)
        return status;
    if (scep_key_may(operation->decrypting, KU_DIGITAL_SIGNATURE))
        operation->signing = operation->decrypting;
    status = scep_envelope_check_algorithms(envelope, &operation->settings);
    if (status != CA_OK)
        answer->fail = SCEP_BAD_ALG;
    return status;
}

enum ca_status
scep_request_decide(struct scep_operation *operation, struct scep_answer *ret_answer)
{
    const struct scep_message *message = &operation->message;
    *ret_answer = (struct scep_answer){ .fail = SCEP_BAD_REQUEST };
    if (message->digest->use == SCEP_DIGEST_REFUSED ||
        (message->digest->use == SCEP_DIGEST_SHA1 && !operation->settings.sha1)) {
        ret_answer->fail = SCEP_BAD_ALG;
        return ca_fail(CA_UNSUPPORTED, "the request's digest is not allowed");
    }
    size_t i = 0, count = sizeof operations / sizeof operations[0];
    while (i < count && strcmp(operations[i].type, message->type) != 0)
        i++;
    if (i == count)
        return ca_fail(CA_UNSUPPORTED, "messageType '%.20s'", message->type);
    if (message->signer_bits < SCEP_SIGNER_BITS_MIN)
        return ca_fail(CA_FORBIDDEN, "the signer's RSA key has %zu bits",
                       message->signer_bits);
    enum ca_status status = envelope_open(operation, ret_answer);
    if (status != CA_OK)
        return status;
    ret_answer->fail = operations[i].fail;
    operation->is_signer_ours = signer_is_ours(operation);
    return operations[i].run(operation, ret_answer);
}
