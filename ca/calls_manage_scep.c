/* The effective scep profile of a managed device: whether it still needs it, and what
 * it is told. */
#include "auto.h"
#include "calls_manage.h"
#include "clock.h"
#include "query.h"
#include "scep_effective.h"
#include <string.h>

#define OFFER_SECONDS 3600 /* a device takes it up to then; another comes no sooner */

struct offering {
    struct exchange *exchange;
    const char *user, *device;
    struct scep_effective effective;
    char challenge[CHALLENGE_TEXT_SIZE];
    char *id;
};

static void
offering_clear(struct offering *offering)
{
    scep_effective_clear(&offering->effective);
    free(CA_STEAL(offering->id));
    OPENSSL_cleanse(offering->challenge, sizeof offering->challenge);
}

/* Has the device what the profile gives, for longer than its renewal window, or an
 * offer that it may still be taking? Both are questions to our own record alone. */
static enum ca_status
check_need(struct store_tx *tx, struct offering *offering)
{
    const struct certificate_profile *settings =
        &offering->effective.certificate.settings.certificate;
    const char *name = offering->effective.certificate.name;
    int64_t now = clock_now();
    bool has = false, under_way = false, other = false;
    enum ca_status status =
        record_exists(tx,
                      "SELECT 1 FROM certificate WHERE device_id = $1 AND profile = $2 "
                      "AND protocol = 'scep' AND state = 1 AND not_after > $3",
                      STORE_VALUES(store_text(offering->device), store_text(name),
                                   store_integer(now + settings->renewal_window)),
                      &has);
    if (status == CA_OK && has)
        return ca_fail(CA_NOT_FOUND, "the device has its certificate");
    if (status == CA_OK)
        status = record_exists(
            tx,
            "SELECT 1 FROM challenge WHERE user_name = $1 AND profile = $2 "
            "AND device_id = $3 AND created > $4",
            STORE_VALUES(
                store_text(offering->user), store_text(offering->effective.scep.name),
                store_text(offering->device), store_integer(now - OFFER_SECONDS)),
            &under_way);
    if (status == CA_OK && under_way)
        return ca_fail(CA_PENDING, "an offer is under way");
    if (status == CA_OK && settings->one_active_per_device)
        status = record_exists(
            tx,
            "SELECT 1 FROM certificate WHERE device_id = $1 AND profile = $2 "
            "AND protocol <> 'scep' AND state = 1 AND not_after > $3",
            STORE_VALUES(store_text(offering->device), store_text(name),
                         store_integer(now)),
            &other);
    /* What nobody assigned is no wish for a second one. */
    if (status == CA_OK && other && offering->effective.is_default)
        return ca_fail(CA_NOT_FOUND, "the device has its certificate by its enrolment");
    if (status == CA_OK && other)
        return ca_fail(CA_UNSUPPORTED,
                       "certificate profile '%s' keeps one certificate a device: a "
                       "second one would end the one it is managed by",
                       name);
    return status;
}

static enum ca_status
offering_read(struct store_tx *tx, void *arg)
{
    struct offering *offering = arg;
    offering_clear(offering);
    struct scep_effective *effective = &offering->effective;
    enum ca_status status = scep_effective_profiles(tx, offering->user, effective);
    if (status == CA_OK)
        status = check_need(tx, offering);
    return status == CA_OK
               ? scep_effective_records(tx, offering->user, offering->device, effective)
               : status;
}

static enum ca_status
offering_write(struct store_tx *tx, void *arg)
{
    struct offering *offering = arg;
    struct challenge challenge = { .user = (char *)(uintptr_t)offering->user,
                                   .profile = offering->effective.scep.name,
                                   .device = (char *)(uintptr_t)offering->device,
                                   .expires_in = OFFER_SECONDS };
    free(CA_STEAL(offering->id));
    enum ca_status status = check_need(tx, offering);
    if (status == CA_OK)
        status = challenge_insert(tx, &challenge, offering->challenge);
    offering->id = challenge.id;
    if (status != CA_OK)
        return status;
    struct lifecycle_cause cause = manage_cause(offering->exchange);
    CA_AUTO(free) char *object = NULL;
    if (asprintf(&object, "challenge:%s", offering->id) < 0) {
        object = NULL;
        return ca_fail(CA_INTERNAL, "no memory for an audit entry");
    }
    CA_AUTO(json_decref)
    json_t *detail =
        json_pack("{s:s, s:s, s:s}", "user", offering->user, "profile",
                  offering->effective.scep.name, "device", offering->device);
    return audit_append(tx, &(struct audit_entry){ .action = "challenge.create",
                                                   .actor = cause.actor,
                                                   .object = object,
                                                   .protocol = cause.protocol,
                                                   .request = cause.request,
                                                   .outcome = "ok",
                                                   .detail = detail });
}

/* One value as CertStrToName of Windows reads it: quoted, quotes doubled. */
static void
append_value(struct text_buffer *text, const ASN1_STRING *value)
{
    CA_AUTO(openssl_free) uint8_t *utf8 = NULL;
    int size = ASN1_STRING_to_UTF8(&utf8, value);
    bool quote = false;
    for (int i = 0; i < size; i++)
        quote = quote || strchr(",=+<>#;\"\n\\", utf8[i]) != NULL;
    quote = quote || (size > 0 && (utf8[0] == ' ' || utf8[size - 1] == ' '));
    if (quote)
        text_append(text, "\"", 1);
    for (int i = 0; i < size; i++)
        text_append(text, utf8[i] == '"' ? "\"\"" : (const char *)&utf8[i],
                    utf8[i] == '"' ? 2 : 1);
    if (quote)
        text_append(text, "\"", 1);
}

/* The subject in the order it is read. */
static char *
subject_format(const X509_NAME *subject)
{
    struct text_buffer text = { 0 };
    for (int i = X509_NAME_entry_count(subject) - 1; i >= 0; i--) {
        const X509_NAME_ENTRY *entry = X509_NAME_get_entry(subject, i);
        char oid[128];
        int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry));
        const char *word = nid == NID_pkcs9_emailAddress ? "E" : OBJ_nid2sn(nid);
        if (nid == NID_undef) {
            OBJ_obj2txt(oid, sizeof oid, X509_NAME_ENTRY_get_object(entry), 1);
            text_print(&text, "OID.%s=", oid);
        } else {
            text_print(&text, "%s=", word);
        }
        append_value(&text, X509_NAME_ENTRY_get_data(entry));
        if (i > 0)
            text_append(&text, ",", 1);
    }
    if (text.failed)
        text_buffer_clear(&text);
    return text.data;
}

/* The key usage as the octet of the DER BIT STRING, as Windows takes it. */
static int64_t
usage_of(unsigned usage)
{
    int64_t octet = 0;
    for (int bit = 0; bit < 8; bit++)
        if (usage & 1u << bit)
            octet |= 0x80 >> bit;
    return octet;
}

/* The smallest RSA key that both Windows and the profile take; 0: none. */
static int64_t
key_bits_of(const struct certificate_profile *settings)
{
    static const int64_t sizes[] = { 2048, 4096 };
    const struct profile_key *keys = settings->keys.items;
    for (size_t s = 0; s < 2; s++)
        for (size_t i = 0; i < settings->keys.count; i++)
            if (keys[i].algorithm == KEY_RSA && keys[i].min_bits <= sizes[s] &&
                keys[i].max_bits >= sizes[s])
                return sizes[s];
    return 0;
}

static char *
purposes_format(const struct certificate_profile *settings)
{
    struct text_buffer text = { 0 };
    char *const *purposes = settings->extended_key_usage.items;
    for (size_t i = 0; i < settings->extended_key_usage.count; i++)
        text_print(&text, "%s%s", i > 0 ? "+" : "", profile_purpose_oid(purposes[i]));
    if (text.failed)
        text_buffer_clear(&text);
    return text.data;
}

static enum ca_status
offer_root(struct offering *offering, struct ca_scep_offer *offer)
{
    struct exchange *exchange = offering->exchange;
    const char *name = offering->effective.certificate.settings.certificate.issuer;
    const struct issuer *issuer = issuers_find(exchange_issuers(exchange), name);
    if (!issuer)
        return ca_fail(CA_UNAVAILABLE, "issuer '%s' is not loaded", name);
    int count = sk_X509_num(issuer->chain);
    X509 *root =
        count > 0 ? sk_X509_value(issuer->chain, count - 1) : issuer->certificate;
    uint8_t sha1[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    int length = i2d_X509(root, &der);
    char *copy = length > 0 ? malloc((size_t)length) : NULL;
    char *thumbprint = calloc(1, 2 * EVP_MAX_MD_SIZE + 1);
    if (!copy || !thumbprint || X509_digest(root, EVP_sha1(), sha1, &size) != 1) {
        free(copy);
        free(thumbprint);
        return ca_fail_openssl(CA_INTERNAL, "cannot write a root");
    }
    memcpy(copy, der, (size_t)length);
    for (unsigned i = 0; i < size; i++)
        snprintf(thumbprint + 2 * i, 3, "%02X", sha1[i]);
    /* Public octets, so nothing is wiped. */
    enum ca_status kept = exchange_keep(exchange, copy, free);
    offer->thumbprint = manage_keep_text(exchange, thumbprint);
    offer->root = (struct ca_bytes){ (const uint8_t *)copy, (size_t)length };
    return kept == CA_OK && offer->thumbprint
               ? CA_OK
               : ca_fail(CA_INTERNAL, "no memory for a root");
}

/* All but the secret, which is drawn when nothing else can fail any more. */
static enum ca_status
offer_build(struct offering *offering, struct ca_scep_offer *offer)
{
    struct exchange *exchange = offering->exchange;
    const struct certificate_profile *settings =
        &offering->effective.certificate.settings.certificate;
    struct names names = { 0 };
    offer->key_bits = key_bits_of(settings);
    offer->key_usage = usage_of(settings->key_usage);
    if (offer->key_bits == 0 || (offer->key_usage & 0xa0) == 0)
        return ca_fail(CA_UNSUPPORTED,
                       "certificate profile '%s' wants a key that Windows does not "
                       "make for SCEP",
                       offering->effective.certificate.name);
    enum ca_status status = scep_effective_names(&offering->effective, &names);
    if (status != CA_OK)
        return status;
    offer->subject = manage_keep_text(exchange, subject_format(names.subject));
    names_clear(&names);
    offer->purposes = manage_keep_text(exchange, purposes_format(settings));
    offer->url =
        manage_keep_text(exchange, service_url(exchange->service, "scep",
                                               offering->effective.scep.name, ""));
    if (!offer->subject || !offer->purposes || !offer->url)
        return ca_fail(CA_UNSUPPORTED, "no subject, purpose or plain_url for an offer");
    return offer_root(offering, offer);
}

static enum ca_status
offering_make(struct offering *offering, struct ca_scep_offer *offer)
{
    struct exchange *exchange = offering->exchange;
    struct store *store = exchange->service->store;
    enum ca_status status = store_read(store, offering_read, offering);
    if (status == CA_OK)
        status = offer_build(offering, offer);
    if (status == CA_OK)
        status = store_write(store, offering_write, offering);
    if (status != CA_OK)
        return status;
    offer->id = manage_keep_text(exchange, CA_STEAL(offering->id));
    offer->challenge = manage_keep_text(exchange, strdup(offering->challenge));
    return offer->id && offer->challenge
               ? CA_OK
               : ca_fail(CA_INTERNAL, "no memory for an offer");
}

enum ca_status
ca_manage_scep(struct ca_request *req, struct ca_scep_offer *ret_offer)
{
    struct offering offering = { 0 };
    struct ca_scep_offer offer = { 0 };
    enum ca_status status = manage_begin(req, &offering.exchange);
    if (status != CA_OK)
        return status;
    offering.user = offering.exchange->identity.user;
    offering.device = offering.exchange->identity.device;
    if (!offering.user)
        return ca_fail(CA_NOT_FOUND, "the device has no owner");
    status = offering_make(&offering, &offer);
    offering_clear(&offering);
    if (status == CA_OK)
        *ret_offer = offer;
    return status;
}

struct withdrawing {
    const char *id, *device;
};

static enum ca_status
withdraw_write(struct store_tx *tx, void *arg)
{
    const struct withdrawing *withdrawing = arg;
    struct challenge challenge = { 0 };
    enum ca_status status = challenge_load(tx, withdrawing->id, &challenge);
    bool is_own = status == CA_OK && challenge.device &&
                  strcmp(challenge.device, withdrawing->device) == 0;
    bool is_open = is_own && challenge.state == CHALLENGE_OPEN;
    challenge_clear(&challenge);
    if (status == CA_OK && !is_own)
        return ca_fail(CA_NOT_FOUND, "the device has no offer '%s'", withdrawing->id);
    return is_open ? challenge_withdraw(tx, withdrawing->id) : status;
}

enum ca_status
ca_manage_scep_failed(struct ca_request *req, const char *id)
{
    struct exchange *exchange;
    enum ca_status status = manage_begin(req, &exchange);
    if (status != CA_OK)
        return status;
    struct withdrawing withdrawing = { id, exchange->identity.device };
    return store_write(exchange->service->store, withdraw_write, &withdrawing);
}
