/* What an activated device is told to enrol by (ECSPEKE-ACT-1 section 13.3). */
#include "audit.h"
#include "auto.h"
#include "calls_scep.h"
#include "clock.h"
#include "names_text.h"
#include "offer_judge.h"
#include "upstream.h"
#include <string.h>

struct offering {
    struct scep_call *call;
    struct offer_secrets secrets;
};

static enum ca_status
audit_offer(struct store_tx *tx, const struct scep_call *call)
{
    struct exchange *exchange = call->exchange;
    CA_AUTO(json_decref)
    json_t *detail =
        json_pack("{s:s, s:s, s:I, s:s}", "user", call->user, "profile",
                  call->offer.profile, "profile_version",
                  (json_int_t)call->offer.profile_version, "device", call->device);
    return audit_append(tx,
                        &(struct audit_entry){ .action = "offer.create",
                                               .actor = exchange_actor(exchange),
                                               .object = call->offer.id,
                                               .protocol = exchange->identity.protocol,
                                               .request = exchange->request.id,
                                               .outcome = "ok",
                                               .detail = detail });
}

static enum ca_status
offer_write(struct store_tx *tx, void *arg)
{
    struct offering *offering = arg;
    enum ca_status status =
        offer_insert(tx, &offering->call->offer, &offering->secrets);
    return status == CA_OK ? audit_offer(tx, offering->call) : status;
}

static char *
copy(const char *text, bool *failed)
{
    char *copied = strdup(text);
    *failed = *failed || !copied;
    return copied;
}

/* RFC 4514 section 2.1: the text begins with the last RDN, DER with the first. */
static char *
subject_format(const X509_NAME *subject)
{
    CA_AUTO(X509_NAME_free) X509_NAME *reversed = X509_NAME_new();
    int set = -1;
    for (int i = X509_NAME_entry_count(subject) - 1; reversed && i >= 0; i--) {
        const X509_NAME_ENTRY *entry = X509_NAME_get_entry(subject, i);
        bool joins = X509_NAME_ENTRY_set(entry) == set;
        set = X509_NAME_ENTRY_set(entry);
        if (X509_NAME_add_entry(reversed, entry, -1, joins ? -1 : 0) != 1)
            return NULL;
    }
    return reversed ? names_format_subject(reversed) : NULL;
}

/* The offer's record, and the subject as text. */
static enum ca_status
offer_fill(struct scep_call *call, char **ret_subject)
{
    const struct profile *scep = &call->effective.scep;
    struct names names = { 0 };
    bool failed = false;
    enum ca_status status = scep_effective_names(&call->effective, &names);
    if (status == CA_OK)
        status = offer_describe(&call->offer, &names,
                                &call->effective.certificate.settings.certificate,
                                scep->settings.scep.key);
    char *subject = status == CA_OK ? subject_format(names.subject) : NULL;
    names_clear(&names);
    if (status != CA_OK)
        return status;
    call->offer.device = copy(call->device, &failed);
    call->offer.user = copy(call->user, &failed);
    call->offer.profile = copy(scep->name, &failed);
    call->offer.profile_version = scep->stamp.version;
    call->offer.expires = clock_now() + scep->settings.scep.offer_lifetime;
    *ret_subject = subject;
    return subject && !failed ? CA_OK : ca_fail(CA_INTERNAL, "no memory for an offer");
}

static json_t *
san_encode(const struct field_list *san)
{
    static const char *const types[] = { [SAN_DNS] = "dns",
                                         [SAN_EMAIL] = "rfc822",
                                         [SAN_IP] = "ip",
                                         [SAN_URI] = "uri",
                                         [SAN_UPN] = "upn" };
    json_t *list = json_array();
    for (size_t i = 0; i < san->count; i++) {
        enum san_type type = SAN_DNS;
        const char *value = "";
        names_san_parse(((char *const *)san->items)[i], &type, &value);
        json_array_append_new(
            list, json_pack("{s:s, s:s}", "type", types[type], "value", value));
    }
    return list;
}

static json_t *
usage_encode(unsigned usage)
{
    /* RFC 5280 section 4.2.1.3. */
    static const char *const words[] = { "digitalSignature", "nonRepudiation",
                                         "keyEncipherment",  "dataEncipherment",
                                         "keyAgreement",     "keyCertSign",
                                         "cRLSign",          "encipherOnly",
                                         "decipherOnly" };
    json_t *list = json_array();
    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (usage & 1u << i)
            json_array_append_new(list, json_string(words[i]));
    }
    return list;
}

static json_t *
purposes_encode(const struct field_list *purposes)
{
    json_t *list = json_array();
    for (size_t i = 0; i < purposes->count; i++)
        json_array_append_new(list, json_string(profile_purpose_oid(
                                        ((char *const *)purposes->items)[i])));
    return list;
}

static json_t *
modes_encode(unsigned modes)
{
    static const char *const words[] = { "proxy", "assisted", "simple" };
    json_t *list = json_array();
    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (modes & 1u << i)
            json_array_append_new(list, json_string(words[i]));
    }
    return list;
}

/* base64url of the CA's thumbprint; NULL without memory. */
static enum ca_status
thumbprint(struct scep_call *call, char **ret_text)
{
    const struct scep_upstream *upstream = &call->effective.scep.settings.scep.upstream;
    uint8_t sha256[EVP_MAX_MD_SIZE];
    if (scep_call_is_upstream(call)) {
        if (!upstream->ca_sha256 || !hex_parse(upstream->ca_sha256, sha256, 32))
            return ca_fail(CA_INTERNAL, "no certificate of the upstream is pinned");
    } else {
        const char *name = call->effective.certificate.settings.certificate.issuer;
        const struct issuer *issuer =
            issuers_find(exchange_issuers(call->exchange), name);
        if (!issuer)
            return ca_fail(CA_UNAVAILABLE, "issuer '%s' is not loaded", name);
        if (X509_digest(issuer->certificate, EVP_sha256(), sha256, NULL) != 1)
            return ca_fail_openssl(CA_INTERNAL, "cannot hash a certificate");
    }
    *ret_text = base64url_format(sha256, 32);
    return *ret_text ? CA_OK : ca_fail(CA_INTERNAL, "no memory for a thumbprint");
}

/* The challenge of mode proxy: ours is drawn with the offer, another's is fetched
 * before. NULL: none. */
static enum ca_status
challenge_find(struct scep_call *call, char **ret_challenge)
{
    const struct scep_profile *scep = &call->effective.scep.settings.scep;
    if (!scep_call_is_upstream(call) || !(scep->modes & 1u << SCEP_MODE_PROXY))
        return CA_OK;
    enum ca_status status = scep_call_challenge(call, ret_challenge);
    return status == CA_UNAVAILABLE ? scep_call_fail(call, status, "upstream") : status;
}

struct told {
    const char *subject, *thumbprint, *challenge, *path;
};

static json_t *
profile_encode(const struct scep_call *call, const struct told *told)
{
    static const char *const digests[] = { "sha256", "sha384", "sha512" };
    const struct profile *scep = &call->effective.scep;
    const struct scep_profile *settings = &scep->settings.scep;
    const struct certificate_profile *certificate =
        &call->effective.certificate.settings.certificate;
    const char *base = call->effective.organisation.base_url;
    CA_AUTO(free) char *url = NULL;
    json_t *object = json_pack(
        "{s:s, s:I, s:o, s:s, s:s, s:o, s:O, s:o, s:o, s:s, s:s, s:I, s:I, s:I}",
        "profile", scep->name, "version", (json_int_t)scep->stamp.version, "modes",
        modes_encode(scep_call_modes(call)), "ca_sha256", told->thumbprint, "subject",
        told->subject, "san", san_encode(&call->offer.san), "key", call->offer.key,
        "key_usage", usage_encode(certificate->key_usage), "eku",
        purposes_encode(&certificate->extended_key_usage), "digest",
        digests[settings->digest], "cipher",
        settings->cipher == SCEP_AES128 ? "aes128" : "aes256", "retries",
        (json_int_t)settings->retries, "retry_delay", (json_int_t)settings->retry_delay,
        "renew_before_days", (json_int_t)settings->renew_before_days);
    bool failed = !object;
    if (settings->modes & (1u << SCEP_MODE_PROXY | 1u << SCEP_MODE_ASSISTED)) {
        failed = asprintf(&url, "%s/scep/%s/%s/pkiclient.exe", base ? base : "",
                          scep->name, told->path) < 0;
        if (failed)
            url = NULL;
        const char *ident = settings->upstream.url && settings->upstream.ca_ident
                                ? settings->upstream.ca_ident
                                : scep->name;
        failed = failed || json_object_set_new(object, "url", json_string(url)) != 0 ||
                 json_object_set_new(object, "ca_ident", json_string(ident)) != 0;
    }
    if (!failed && told->challenge)
        failed = json_object_set_new(object, "challenge",
                                     json_string(told->challenge)) != 0 ||
                 json_object_set_new(object, "challenge_expires_in",
                                     json_integer(settings->offer_lifetime)) != 0;
    if (failed) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static void
json_release(void *json)
{
    field_json_wipe(json);
}

/* A certificate of the same profile as that of the activation would end it. */
static enum ca_status
check_apart(struct store_tx *tx, void *arg)
{
    struct scep_call *call = arg;
    const struct profile *certificate = &call->effective.certificate;
    bool is_same = false;
    if (!certificate->settings.certificate.one_active_per_device)
        return CA_OK;
    enum ca_status status = record_exists(
        tx,
        "SELECT 1 FROM certificate WHERE device_id = $1 AND profile = $2 "
        "AND protocol = 'activation' AND state = 1",
        STORE_VALUES(store_text(call->device), store_text(certificate->name)),
        &is_same);
    if (status == CA_OK && is_same)
        return ca_fail(CA_UNSUPPORTED,
                       "certificate profile '%s' keeps one certificate a device: a "
                       "second one would end that of the activation",
                       certificate->name);
    return status;
}

static enum ca_status
offer_make(struct scep_call *call, struct offering *offering, json_t **ret_profile)
{
    CA_AUTO(free) char *subject = NULL;
    CA_AUTO(free) char *print = NULL;
    CA_AUTO(secret_free) char *challenge = NULL;
    enum ca_status status =
        store_read(call->exchange->service->store, check_apart, call);
    if (status == CA_OK)
        status = offer_fill(call, &subject);
    if (status == CA_UNSUPPORTED || status == CA_FORBIDDEN)
        return scep_call_fail(call, ca_fail(CA_NOT_FOUND, "%s", status_message()),
                              "no_profile");
    if (status == CA_OK)
        status = thumbprint(call, &print);
    if (status == CA_OK)
        status = challenge_find(call, &challenge);
    if (status == CA_OK)
        status = store_write(call->exchange->service->store, offer_write, offering);
    if (status != CA_OK)
        return status;
    const struct scep_profile *settings = &call->effective.scep.settings.scep;
    bool is_own_proxy =
        !scep_call_is_upstream(call) && settings->modes & 1u << SCEP_MODE_PROXY;
    struct told told = { .subject = subject,
                         .thumbprint = print,
                         .challenge =
                             is_own_proxy ? offering->secrets.secret : challenge,
                         .path = offering->secrets.path };
    json_t *object = profile_encode(call, &told);
    if (!object || exchange_keep(call->exchange, object, json_release) != CA_OK)
        return ca_fail(CA_INTERNAL, "no memory for a profile");
    *ret_profile = object;
    return CA_OK;
}

/* Has it said what it is (section 12)? */
static bool
has_reported(const struct device *device)
{
    return json_object_size(json_object_get(device->report, "software")) > 0;
}

enum ca_status
ca_activation_scep(struct ca_request *req, json_t **ret_profile,
                   struct ca_scep_failure *ret_failure)
{
    CA_AUTO(scep_call_clear) struct scep_call call;
    enum ca_status status = scep_call_begin(req, ret_failure, &call);
    if (status == CA_OK)
        status = scep_call_profile(&call, NULL, SCEP_MODE_SIMPLE);
    if (status == CA_OK && scep_call_modes(&call) == 0)
        return scep_call_fail(
            &call, ca_fail(CA_NOT_FOUND, "the scep profile is not for such devices"),
            "no_profile");
    if (status == CA_OK && !has_reported(&call.effective.device))
        return scep_call_fail(
            &call, ca_fail(CA_CONFLICT, "the device has not reported itself"),
            "report_required");
    if (status != CA_OK)
        return status;
    struct offering offering = { .call = &call };
    status = service_wait_begin(call.exchange->service);
    if (status != CA_OK)
        return status;
    status = offer_make(&call, &offering, ret_profile);
    service_wait_end(call.exchange->service);
    OPENSSL_cleanse(&offering.secrets, sizeof offering.secrets);
    return status;
}
