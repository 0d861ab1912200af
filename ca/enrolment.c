/* From a request to a durable intent and its certificate. */
#include "enrolment.h"
#include "auth.h"
#include "clock.h"
#include "csr.h"
#include "digest.h"
#include "flight.h"
#include "keycheck.h"
#include "lint.h"
#include "management.h"
#include "offer_judge.h"
#include "onetime.h"
#include "pending.h"
#include "tbs.h"
#include "text.h"
#include <string.h>

void
enrolment_clear(struct enrolment *enrolment)
{
    enrolment->record.der = NULL; /* the TBS's */
    certificate_clear(&enrolment->record);
    OPENSSL_free(enrolment->tbs);
    names_clear(&enrolment->names);
    device_clear(&enrolment->made);
    X509_REQ_free(enrolment->request);
    enrolment->tbs = NULL;
    enrolment->request = NULL;
}

static const struct certificate_profile *
profile_of(const struct enrolment *enrolment)
{
    return endpoint_profile(enrolment->grant->endpoint);
}

static const struct device *
device_of(const struct enrolment *enrolment)
{
    return enrolment->grant->device.id ? &enrolment->grant->device : &enrolment->made;
}

const char *
enrolment_device(const struct enrolment *enrolment)
{
    return device_of(enrolment)->id;
}

static enum ca_status
find_issuer(struct enrolment *enrolment)
{
    const char *name = profile_of(enrolment)->issuer;
    const struct issuer *issuer = issuers_find(enrolment->issuers, name);
    if (!issuer || issuer->state != AUTHORITY_ACTIVE)
        return ca_fail(CA_UNAVAILABLE, "issuer '%s' is not active", name);
    if (!issuer->key)
        return ca_fail(CA_UNAVAILABLE, "the key of issuer '%s' is not in a token here",
                       name);
    enrolment->issuer = issuer;
    return CA_OK;
}

/* By the PKCS#10's own signature, or by the plugin's word that the key signed the whole
 * message around it. */
static enum ca_status
judge_possession(const struct enrolment *enrolment, bool is_signers)
{
    const struct certificate_profile *profile = profile_of(enrolment);
    if (!(enrolment->flags & CA_ENROL_KEY_PROVED))
        return csr_verify_by(profile, enrolment->request,
                             is_signers ? enrolment->signer_key : NULL);
    if ((enrolment->flags & CA_ENROL_KEY_SHA1) && !profile->allow_sha1_request)
        return ca_fail(CA_FORBIDDEN,
                       "the request is signed over SHA-1, which profile "
                       "certificate/%s does not take",
                       endpoint_profile_name(enrolment->grant->endpoint));
    return CA_OK;
}

/* Against what the device was told; the names that come out are the offer's own. */
static enum ca_status
judge_offer(struct enrolment *enrolment)
{
    const struct offer *offer = &enrolment->grant->offer;
    if (!offer->id)
        return CA_OK;
    return offer_judge(offer, profile_of(enrolment), enrolment->request,
                       &enrolment->grant->mismatch);
}

static enum ca_status
judge_request(struct enrolment *enrolment)
{
    const struct certificate_profile *profile = profile_of(enrolment);
    struct ca_bytes der = enrolment->pkcs10;
    if (der.size == 0 || der.size > CSR_SIZE_MAX)
        return ca_fail(der.size == 0 ? CA_MALFORMED : CA_LIMIT,
                       "PKCS#10 of %zu octets, at most %d", der.size, CSR_SIZE_MAX);
    enum ca_status status = enrolment->request
                                ? CA_OK
                                : csr_decode(der.data, der.size, &enrolment->request);
    if (status == CA_OK)
        status = judge_offer(enrolment);
    if (status != CA_OK)
        return status;
    X509_REQ *request = enrolment->request;
    X509_PUBKEY *key = X509_REQ_get_X509_PUBKEY(request);
    status = keycheck_digest(key, enrolment->spki);
    if (status == CA_OK)
        status = keycheck_public(profile, key);
    if (status != CA_OK)
        return status;
    bool is_signers =
        enrolment->signer && memcmp(enrolment->spki, enrolment->signer, 32) == 0;
    status = judge_possession(enrolment, is_signers);
    if (status == CA_OK && !(enrolment->flags & CA_ENROL_KEY_ALONE))
        status = csr_check_extensions(request);
    digest_sha256(der.data, der.size, enrolment->request_sha256);
    return status;
}

/* A key that signs messages proves possession of itself alone. It may differ from the
 * requested key where a certificate is the credential, whose key it must be, and for
 * keys that cannot decrypt the answer (protocol SCEP; RFC 8894 section 2.3). Who signed
 * an approved request was judged when it came. */
static enum ca_status
judge_signer(const struct enrolment *enrolment)
{
    if (!enrolment->signer || enrolment->pending)
        return CA_OK;
    const struct grant *grant = enrolment->grant;
    uint8_t held[32];
    if (grant->renewed.serial) {
        if (!grant->renewed.spki_sha256 ||
            !hex_parse(grant->renewed.spki_sha256, held, sizeof held) ||
            memcmp(held, enrolment->signer, sizeof held) != 0)
            return ca_fail(CA_FORBIDDEN, "not signed with the key of certificate %s",
                           grant->renewed.serial);
        return CA_OK;
    }
    ASN1_OBJECT *kind = NULL;
    X509_PUBKEY_get0_param(&kind, NULL, NULL, NULL,
                           X509_REQ_get_X509_PUBKEY(enrolment->request));
    if (OBJ_obj2nid(kind) == NID_rsaEncryption &&
        memcmp(enrolment->spki, enrolment->signer, sizeof enrolment->spki) != 0)
        return ca_fail(CA_FORBIDDEN, "signed with another key than the requested one");
    return CA_OK;
}

/* The request as far as its content counts. */
static X509_REQ *
request_of(const struct enrolment *enrolment)
{
    return enrolment->flags & CA_ENROL_KEY_ALONE ? NULL : enrolment->request;
}

static enum ca_status
judge_names(struct enrolment *enrolment)
{
    struct service *service = enrolment->service;
    struct field_list san = { 0 };
    enum ca_status status = grant_san(enrolment->grant, &san);
    if (status != CA_OK)
        return status;
    pthread_rwlock_rdlock(&service->lock);
    struct names_sources sources = {
        .organisation = &service->organisation,
        .user = &enrolment->grant->user,
        .device = device_of(enrolment),
        .granted_subject = grant_subject(enrolment->grant),
        .granted_san = san.count > 0 ? &san : NULL,
        .request = request_of(enrolment),
    };
    status = names_build(profile_of(enrolment), &sources, &enrolment->names);
    pthread_rwlock_unlock(&service->lock);
    free(san.items);
    return status;
}

static enum ca_status
record_names(struct enrolment *enrolment)
{
    struct certificate *record = &enrolment->record;
    record->subject = names_format_subject(enrolment->names.subject);
    int count = enrolment->names.san ? sk_GENERAL_NAME_num(enrolment->names.san) : 0;
    char **items = calloc((size_t)count + 1, sizeof *items);
    record->san.items = items;
    if (!record->subject || !items)
        return ca_fail(CA_INTERNAL, "no memory for names");
    for (int i = 0; i < count; i++) {
        items[i] = names_format(sk_GENERAL_NAME_value(enrolment->names.san, i));
        if (!items[i])
            return ca_fail(CA_INTERNAL, "a name has no text form");
        record->san.count++;
    }
    return CA_OK;
}

static bool
texts_equal(const struct field_list *a, const struct field_list *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (strcmp(((char *const *)a->items)[i], ((char *const *)b->items)[i]) != 0)
            return false;
    }
    return true;
}

/* Names of a renewal are derived anew from registry and grant; where the profile takes
 * them from the request they must stay what they were (SECURITY A4). */
static enum ca_status
judge_renewed_names(const struct enrolment *enrolment)
{
    const struct grant *grant = enrolment->grant;
    if (!grant->replaces || profile_of(enrolment)->from_request.subject != SUBJECT_TAKE)
        return CA_OK;
    const char *subject = grant->renewed.subject ? grant->renewed.subject : "";
    if (strcmp(subject, enrolment->record.subject) != 0 ||
        !texts_equal(&grant->renewed.san, &enrolment->record.san))
        return ca_fail(CA_FORBIDDEN, "renewal of %s asks for other names",
                       grant->replaces);
    return CA_OK;
}

static enum ca_status
judge_offered_names(const struct enrolment *enrolment)
{
    const struct offer *offer = &enrolment->grant->offer;
    return offer->id ? offer_check_names(offer, &enrolment->names) : CA_OK;
}

enum ca_status
enrolment_judge_request(struct enrolment *enrolment)
{
    enum ca_status status = find_issuer(enrolment);
    if (status == CA_OK)
        status = judge_request(enrolment);
    return status == CA_OK ? judge_signer(enrolment) : status;
}

enum ca_status
enrolment_judge(struct enrolment *enrolment)
{
    enum ca_status status = enrolment_judge_request(enrolment);
    return status == CA_OK ? enrolment_judge_names(enrolment) : status;
}

enum ca_status
enrolment_judge_names(struct enrolment *enrolment)
{
    enum ca_status status = enrolment_find_device(enrolment);
    if (status == CA_OK)
        status = judge_names(enrolment);
    if (status == CA_OK)
        status = judge_offered_names(enrolment);
    if (status == CA_OK)
        status = record_names(enrolment);
    return status == CA_OK ? judge_renewed_names(enrolment) : status;
}

/* A link that the profile wants in the certificate. */
static enum ca_status
link_make(struct enrolment *enrolment, bool wanted, const char *directory,
          const char *suffix, char **ret_url)
{
    if (!wanted)
        return CA_OK;
    *ret_url =
        service_url(enrolment->service, directory, enrolment->issuer->name, suffix);
    if (!*ret_url)
        return ca_fail(
            CA_INTERNAL,
            "profile certificate/%s wants a link to %s, but the organisation "
            "has no plain_url",
            endpoint_profile_name(enrolment->grant->endpoint), directory);
    return CA_OK;
}

static enum ca_status
build_tbs(struct enrolment *enrolment, const uint8_t *serial, size_t serial_size)
{
    const struct certificate_profile *profile = profile_of(enrolment);
    CA_AUTO(free) char *crl = NULL;
    CA_AUTO(free) char *issuer = NULL;
    CA_AUTO(free) char *ocsp = NULL;
    bool is_windows = (enrolment->flags & CA_ENROL_TEMPLATE) != 0;
    char template_oid[CA_TEMPLATE_OID_SIZE] = "";
    enum ca_status status = link_make(enrolment, profile->crl, "crl", ".crl", &crl);
    if (status == CA_OK)
        status = link_make(enrolment, profile->aia, "issuer", ".cer", &issuer);
    if (status == CA_OK)
        status = link_make(enrolment, profile->ocsp, "ocsp", "", &ocsp);
    if (status != CA_OK)
        return status;
    if (is_windows)
        service_template(enrolment->service,
                         endpoint_profile_name(enrolment->grant->endpoint),
                         template_oid);
    struct tbs_input input = {
        .profile = profile,
        .issuer = enrolment->issuer->certificate,
        .names = &enrolment->names,
        .key = X509_REQ_get_X509_PUBKEY(enrolment->request),
        .request = request_of(enrolment),
        .serial = serial,
        .serial_size = serial_size,
        .now = clock_now(),
        .crl_url = crl,
        .issuer_url = issuer,
        .ocsp_url = ocsp,
        .template_oid = is_windows ? template_oid : NULL,
        .sid = is_windows ? json_string_value(json_object_get(
                                enrolment->grant->user.attributes, "sid"))
                          : NULL,
    };
    return tbs_build(&input, &enrolment->tbs, &enrolment->tbs_size,
                     &enrolment->record.not_before, &enrolment->record.not_after);
}

static enum ca_status
record_fill(struct enrolment *enrolment, const char *serial)
{
    struct certificate *record = &enrolment->record;
    char spki[65];
    hex_format(enrolment->spki, sizeof enrolment->spki, spki);
    record->state = CERTIFICATE_INTENT;
    record->serial = strdup(serial);
    record->issuer = strdup(enrolment->issuer->name);
    record->profile = strdup(endpoint_profile_name(enrolment->grant->endpoint));
    record->user = strdup(enrolment->grant->user.name);
    record->device = strdup(enrolment_device(enrolment));
    record->protocol = strdup(enrolment->protocol);
    record->spki_sha256 = strdup(spki);
    record->der = enrolment->tbs;
    record->der_size = enrolment->tbs_size;
    if (!record->serial || !record->issuer || !record->profile || !record->user ||
        !record->device || !record->protocol || !record->spki_sha256)
        return ca_fail(CA_INTERNAL, "no memory for a certificate's record");
    return CA_OK;
}

enum ca_status
enrolment_build(struct enrolment *enrolment)
{
    uint8_t serial[16];
    char hex[33];
    enum ca_status status = tbs_draw_serial(serial, hex);
    if (status == CA_OK)
        status = build_tbs(enrolment, serial, sizeof serial);
    if (status == CA_OK)
        status = lint_chain(enrolment->tbs, enrolment->tbs_size,
                            enrolment->issuer->certificate, enrolment->issuer->chain);
    return status == CA_OK ? record_fill(enrolment, hex) : status;
}

static void
certificate_clear_auto(struct certificate *certificate)
{
    certificate_clear(certificate);
}

/* The renewed certificate is still good in the transaction that takes its place. */
static enum ca_status
check_renewed(struct store_tx *tx, const struct grant *grant)
{
    CA_AUTO(certificate_clear) struct certificate renewed = { 0 };
    enum ca_status status = certificate_load(tx, NULL, grant->replaces, &renewed);
    if (status != CA_OK)
        return status;
    if (renewed.state != CERTIFICATE_ISSUED && renewed.state != CERTIFICATE_EXPIRED)
        return ca_fail(CA_FORBIDDEN, "certificate %s is revoked", grant->replaces);
    return CA_OK;
}

static enum ca_status
claim_secret(struct store_tx *tx, const struct enrolment *enrolment)
{
    const char *serial = enrolment->record.serial;
    const char *challenge = enrolment->grant->challenge;
    enum ca_status status = CA_OK;
    if (enrolment->pending) {
        status = pending_finish(tx, enrolment->pending, serial);
        if (status == CA_OK && challenge)
            status = onetime_hand_over(tx, challenge, enrolment->pending, serial);
    } else if (challenge) {
        status = onetime_claim(tx, challenge, serial, enrolment->spki,
                               enrolment->request_sha256);
    }
    return status;
}

/* The device is managed under what it calls itself, in the transaction that makes it:
 * nobody else's id is taken over. */
static enum ca_status
claim_management(struct store_tx *tx, const char *device,
                 const struct device_facts *facts)
{
    enum ca_status status = management_bind(tx, device, facts->alias);
    if (status == CA_CONFLICT)
        return ca_fail(CA_FORBIDDEN, "'%s' is another device's id", facts->alias);
    if (status == CA_OK && facts->secret && facts->nonce)
        status = management_give(tx, device, facts->secret, facts->nonce);
    return status;
}

static enum ca_status
claim_device(struct store_tx *tx, struct enrolment *enrolment)
{
    const struct device_facts *facts = enrolment->facts;
    const char *device = enrolment_device(enrolment);
    enum ca_status status = CA_OK;
    if (!enrolment->grant->device.id)
        status = device_insert(tx, &enrolment->made);
    else if (facts)
        status = device_note(tx, device, facts);
    if (status == CA_OK && facts && facts->alias)
        status = claim_management(tx, device, facts);
    if (status != CA_OK)
        return status;
    if (enrolment->flags & CA_ENROL_NEW_KEY)
        return device_claim_new_key(tx, device, enrolment->spki);
    return device_claim_key(tx, device, enrolment->spki,
                            profile_of(enrolment)->allow_shared_key);
}

static enum ca_status
reserve_intent(struct store_tx *tx, const struct enrolment *enrolment)
{
    struct certificate_intent intent = {
        .certificate = &enrolment->record,
        .challenge = enrolment->grant->challenge,
        .pending = enrolment->pending,
        .endpoint = enrolment->grant->endpoint->name,
        .transaction = enrolment->transaction,
        .signer_spki_sha256 = enrolment->signer,
        .request_sha256 = enrolment->request_sha256,
        .fresh_since =
            clock_now() - endpoint_retry_seconds(enrolment->grant->endpoint->name,
                                                 &enrolment->service->config),
        .run = enrolment->service->run,
        .replaces = enrolment->grant->replaces,
        .granted = enrolment->grant->names,
        .held_until = enrolment->flags & CA_ENROL_KEY_ONCE
                          ? clock_now() + profile_of(enrolment)->renewal_window
                          : 0,
        .is_first = enrolment->grant->is_first,
    };
    return certificate_reserve(tx, &intent);
}

static enum ca_status
audit_intent(struct store_tx *tx, const struct enrolment *enrolment)
{
    CA_AUTO(free) char *object = NULL;
    if (asprintf(&object, "certificate:%s", enrolment->record.serial) < 0)
        object = NULL;
    CA_AUTO(json_decref)
    json_t *detail = json_pack(
        "{s:s, s:s, s:s}", "endpoint", enrolment->grant->endpoint->name, "device",
        enrolment->record.device, "spki_sha256", enrolment->record.spki_sha256);
    if (!object || !detail)
        return ca_fail(CA_INTERNAL, "no memory for an audit entry");
    return audit_append(tx, &(struct audit_entry){
                                .action = "certificate.intend",
                                .actor = enrolment->cause.actor,
                                .object = object,
                                .protocol = enrolment->cause.protocol,
                                .request = enrolment->cause.request,
                                .outcome = "ok",
                                .detail = detail,
                            });
}

static enum ca_status
reserve(struct store_tx *tx, void *arg)
{
    struct enrolment *enrolment = arg;
    const struct grant *grant = enrolment->grant;
    enum ca_status status = claim_secret(tx, enrolment);
    if (status == CA_OK)
        status = grant_still_may(tx, grant->user.name, grant->device.id);
    if (status == CA_OK && grant->replaces)
        status = check_renewed(tx, grant);
    if (status == CA_OK)
        status = enrolment_check_room(tx, enrolment);
    if (status == CA_OK)
        status = claim_device(tx, enrolment);
    if (status == CA_OK)
        status = reserve_intent(tx, enrolment);
    return status == CA_OK ? audit_intent(tx, enrolment) : status;
}

enum ca_status
enrolment_issue(struct enrolment *enrolment, uint8_t **ret_der, size_t *ret_size)
{
    struct service *service = enrolment->service;
    const char *serial = enrolment->record.serial;
    struct issue issue = {
        .issuer = enrolment->issuer,
        .serial = serial,
        .tbs = enrolment->tbs,
        .tbs_size = enrolment->tbs_size,
        .user = enrolment->record.user,
        .device = enrolment->record.device,
        .profile = enrolment->record.profile,
        .challenge = enrolment->grant->challenge,
        .replaces = enrolment->grant->replaces,
        .subject = enrolment->record.subject,
        .one_active = profile_of(enrolment)->one_active_per_device,
        .revoke_replaced =
            profile_of(enrolment)->revoke_replaced &&
            !auth_keeps_replaced(enrolment->protocol, enrolment->grant->replaces),
        .cause = enrolment->cause,
        .along = enrolment->along,
    };
    /* Before the intent can be seen: who sees it must see its flight too. */
    if (!flight_begin(service->flights, serial))
        return ca_fail(CA_INTERNAL, "no memory for a signature");
    enum ca_status status = store_write(service->store, reserve, enrolment);
    if (status == CA_OK)
        status = issue_sign(service, &issue, ret_der, ret_size);
    flight_end(service->flights, serial);
    return status;
}

struct giving_up {
    struct enrolment *enrolment;
    bool was_there;
};

static enum ca_status
give_up(struct store_tx *tx, void *arg)
{
    struct giving_up *up = arg;
    const struct enrolment *enrolment = up->enrolment;
    const char *serial = enrolment->record.serial;
    enum ca_status status =
        certificate_give_up(tx, serial, enrolment->service->run, &up->was_there);
    if (status != CA_OK || !up->was_there)
        return status;
    if (enrolment->grant->challenge)
        status = onetime_release(tx, enrolment->grant->challenge, serial);
    CA_AUTO(free) char *object = NULL;
    if (asprintf(&object, "certificate:%s", serial) < 0)
        object = NULL;
    if (status == CA_OK && !object)
        status = ca_fail(CA_INTERNAL, "no memory for an audit entry");
    return status == CA_OK ? audit_append(tx,
                                          &(struct audit_entry){
                                              .action = "certificate.abandon",
                                              .actor = enrolment->cause.actor,
                                              .object = object,
                                              .protocol = enrolment->cause.protocol,
                                              .request = enrolment->cause.request,
                                              .outcome = "ok",
                                          })
                           : status;
}

enum ca_status
enrolment_give_up(struct enrolment *enrolment, bool *ret_was_there)
{
    struct giving_up up = { .enrolment = enrolment };
    enum ca_status status = store_write(enrolment->service->store, give_up, &up);
    if (status == CA_OK)
        *ret_was_there = up.was_there;
    return status;
}
