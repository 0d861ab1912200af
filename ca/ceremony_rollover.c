/* From one issuer to the next: standby, cross-certificates, activation, the end. */
#include "audit.h"
#include "ceremony.h"
#include "ceremony_key.h"
#include "certificate.h"
#include "clock.h"
#include "names.h"
#include "profile.h"
#include "text.h"
#include <openssl/pem.h>
#include <string.h>

#define PROFILES_MAX RECORD_PAGE_MAX

/* ---- The standby ---- */

struct next_change {
    const struct ceremony *ceremony;
    const char *name, *standby;
};

static enum ca_status
next_step(struct store_tx *tx, void *arg)
{
    const struct next_change *change = arg;
    struct authority authority = { 0 };
    enum ca_status status = authority_load(tx, change->name, &authority);
    if (status != CA_OK)
        return status;
    free(authority.next);
    authority.next = strdup(change->standby);
    status = authority_update(tx, &authority);
    authority_clear(&authority);
    if (status != CA_OK)
        return status;
    return ceremony_audit(change->ceremony, tx, "issuer.rollover",
                          json_pack("{s:s}", "next", change->standby), "issuer:%s",
                          change->name);
}

enum ca_status
ceremony_set_next(const struct ceremony *ceremony, const char *name,
                  const char *standby)
{
    struct next_change change = { ceremony, name, standby };
    return store_write(ceremony->store, next_step, &change);
}

/* ---- Cross-certificates ---- */

static enum ca_status
authority_certificate(const struct authority *authority, X509 **ret_certificate)
{
    CA_AUTO(BIO_free_all) BIO *bio = BIO_new_mem_buf(authority->chain, -1);
    X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    if (!certificate)
        return ca_fail_openssl(CA_INTERNAL, "issuer '%s' has no certificate",
                               authority->name);
    *ret_certificate = certificate;
    return CA_OK;
}

/* How many CAs may follow below the subject, by its own certificate. */
static enum ca_status
cross_length(const X509 *subject, const X509 *by, int *ret_length)
{
    int own = -1, room = -1;
    enum ca_status status = tbs_check_issuer(subject, &own);
    if (status == CA_OK)
        status = tbs_check_issuer(by, &room);
    if (status != CA_OK)
        return status;
    if (room == 0)
        return ca_fail(CA_FORBIDDEN, "the path length of the one that certifies leaves "
                                     "no room for a CA");
    *ret_length = room < 0 || (own >= 0 && own < room) ? own : room - 1;
    return CA_OK;
}

enum ca_status
ceremony_cross(const struct ceremony *ceremony, const struct ceremony_cross *wanted,
               struct ceremony_made *ret_made)
{
    CA_AUTO(ceremony_signer_clear) struct ceremony_signer signer = { 0 };
    CA_AUTO(X509_free) X509 *subject = NULL;
    CA_AUTO(free) char *name = NULL;
    struct authority authority = { 0 };
    int length = -1;
    if (strcmp(wanted->name, wanted->by) == 0)
        return ca_fail(CA_MALFORMED, "an issuer needs no certificate by itself");
    enum ca_status status = authority_read(ceremony->store, wanted->name, &authority);
    if (status == CA_OK)
        status = authority_certificate(&authority, &subject);
    authority_clear(&authority);
    if (status == CA_OK)
        status = ceremony_signer_load(ceremony, wanted->by, &signer);
    if (status == CA_OK)
        status = cross_length(subject, signer.certificate, &length);
    if (status != CA_OK)
        return status;
    name = names_format_subject(X509_get_subject_name(subject));
    if (!name)
        return ca_fail(CA_INTERNAL, "no memory for a subject");
    return ceremony_hierarchy_make(ceremony, &signer,
                                   &(struct hierarchy){
                                       .kind = TBS_ISSUING,
                                       .subject = name,
                                       .validity = wanted->validity,
                                       .path_length = length,
                                       .key = X509_get_X509_PUBKEY(subject),
                                   },
                                   ret_made);
}

/* ---- Activation ---- */

/* The certificate profiles that an issuer serves. */
struct profile_names {
    const char *issuer;
    char names[PROFILES_MAX][RECORD_NAME_MAX + 1];
    size_t count;
};

static enum ca_status
visit_profile(const void *record, void *arg)
{
    const struct profile *profile = record;
    struct profile_names *names = arg;
    const char *issuer = profile->settings.certificate.issuer;
    if (issuer && strcmp(issuer, names->issuer) == 0 && names->count < PROFILES_MAX)
        snprintf(names->names[names->count++], RECORD_NAME_MAX + 1, "%s",
                 profile->name);
    return CA_OK;
}

static enum ca_status
profiles_find(struct store_tx *tx, const char *issuer, struct profile_names *names)
{
    char after[RECORD_NAME_MAX + 1] = "";
    struct record_page page = { .after = after, .limit = PROFILES_MAX };
    names->issuer = issuer;
    names->count = 0;
    return profile_list(tx, PROFILE_CERTIFICATE, &page, visit_profile, names);
}

static enum ca_status
profile_move(struct store_tx *tx, const char *name, const char *issuer)
{
    struct profile profile = { 0 };
    enum ca_status status = profile_load(tx, PROFILE_CERTIFICATE, name, &profile);
    if (status != CA_OK)
        return status;
    free(profile.settings.certificate.issuer);
    profile.settings.certificate.issuer = strdup(issuer);
    status = profile_update(tx, &profile);
    profile_clear(&profile);
    return status;
}

struct activation {
    const struct ceremony *ceremony;
    const char *name;
    char *standby;
    struct profile_names *profiles;
};

static enum ca_status
activation_record(struct store_tx *tx, const struct activation *activation)
{
    json_t *detail = json_pack("{s:s, s:[]}", "next", activation->standby, "profiles");
    json_t *moved = json_object_get(detail, "profiles");
    for (size_t i = 0; i < activation->profiles->count; i++)
        json_array_append_new(moved, json_string(activation->profiles->names[i]));
    return ceremony_audit(activation->ceremony, tx, "issuer.activate", detail,
                          "issuer:%s", activation->name);
}

/* One is active before and after it, in the same transaction. */
static enum ca_status
states_swap(struct store_tx *tx, struct authority *present, struct authority *standby)
{
    if (present->state != AUTHORITY_ACTIVE || standby->state != AUTHORITY_STANDBY)
        return ca_fail(CA_CONFLICT, "'%s' is not active or '%s' does not stand by",
                       present->name, standby->name);
    if (!standby->key)
        return ca_fail(CA_CONFLICT, "the key of '%s' is not here", standby->name);
    standby->state = AUTHORITY_ACTIVE;
    present->state = AUTHORITY_RETIRED;
    free(CA_STEAL(present->next));
    enum ca_status status = authority_update(tx, standby);
    return status == CA_OK ? authority_update(tx, present) : status;
}

static enum ca_status
activate_step(struct store_tx *tx, void *arg)
{
    struct activation *activation = arg;
    struct authority present = { 0 }, standby = { 0 };
    free(CA_STEAL(activation->standby)); /* of a first run */
    enum ca_status status = authority_load(tx, activation->name, &present);
    if (status == CA_OK && !present.next)
        status = ca_fail(CA_CONFLICT, "issuer '%s' has no standby: roll over first",
                         activation->name);
    if (status == CA_OK) {
        activation->standby = strdup(present.next);
        status = authority_load(tx, present.next, &standby);
    }
    if (status == CA_OK)
        status = states_swap(tx, &present, &standby);
    if (status == CA_OK)
        status = profiles_find(tx, activation->name, activation->profiles);
    for (size_t i = 0; status == CA_OK && i < activation->profiles->count; i++)
        status = profile_move(tx, activation->profiles->names[i], activation->standby);
    authority_clear(&present);
    authority_clear(&standby);
    return status == CA_OK ? activation_record(tx, activation) : status;
}

enum ca_status
ceremony_activate(const struct ceremony *ceremony, const char *name, char **ret_standby)
{
    struct activation activation = { .ceremony = ceremony,
                                     .name = name,
                                     .profiles =
                                         calloc(1, sizeof(struct profile_names)) };
    if (!activation.profiles)
        return ca_fail(CA_INTERNAL, "no memory for profiles");
    enum ca_status status = store_write(ceremony->store, activate_step, &activation);
    free(activation.profiles);
    if (status == CA_OK)
        *ret_standby = activation.standby;
    else
        free(activation.standby);
    return status;
}

/* ---- The end ---- */

struct retirement {
    const struct ceremony *ceremony;
    const char *name;
    struct profile_names *profiles;
    int64_t now;
    size_t valid;   /* certificates that are not over yet */
    int64_t last;   /* and the end of the last of them */
    char after[64]; /* serial, for the next page */
    size_t on_page;
    char own[65]; /* SPKI digests that do not count: its own ... */
    struct {
        char digests[64][65]; /* ... and its helpers' */
        size_t count;
    } helpers;
};

static enum ca_status
spki_hex(const X509 *certificate, char ret_hex[65])
{
    CA_AUTO(openssl_free) unsigned char *der = NULL;
    int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
    return size > 0 ? ceremony_sha256(der, (size_t)size, ret_hex)
                    : ca_fail_openssl(CA_INTERNAL, "a certificate has no key");
}

static enum ca_status
visit_helper(const void *record, void *arg)
{
    const struct helper *helper = record;
    struct retirement *retirement = arg;
    const uint8_t *at = helper->certificate;
    if (!helper->issuer || strcmp(helper->issuer, retirement->name) != 0 || !at)
        return CA_OK;
    if (retirement->helpers.count == 64)
        return CA_OK; /* older ones count: they are over by then */
    CA_AUTO(X509_free)
    X509 *certificate = d2i_X509(NULL, &at, (long)helper->certificate_size);
    return certificate
               ? spki_hex(certificate,
                          retirement->helpers.digests[retirement->helpers.count++])
               : ca_fail_openssl(CA_INTERNAL, "helper '%s' has a broken certificate",
                                 helper->name);
}

static bool
does_count(const struct retirement *retirement, const struct certificate *certificate)
{
    const char *spki = certificate->spki_sha256 ? certificate->spki_sha256 : "";
    if (certificate->not_after <= retirement->now || strcmp(spki, retirement->own) == 0)
        return false;
    for (size_t i = 0; i < retirement->helpers.count; i++) {
        if (strcmp(spki, retirement->helpers.digests[i]) == 0)
            return false;
    }
    return true;
}

static enum ca_status
visit_certificate(const void *record, void *arg)
{
    const struct certificate *certificate = record;
    struct retirement *retirement = arg;
    snprintf(retirement->after, sizeof retirement->after, "%s", certificate->serial);
    retirement->on_page++;
    if (!does_count(retirement, certificate))
        return CA_OK;
    retirement->valid++;
    if (certificate->not_after > retirement->last)
        retirement->last = certificate->not_after;
    return CA_OK;
}

/* Issued and revoked ones alike: a revoked one stays on the CRL until it is over. */
static enum ca_status
certificates_count(struct store_tx *tx, struct retirement *retirement)
{
    static const char *const states[] = { "intent", "issued", "revoked" };
    enum ca_status status = CA_OK;
    for (size_t i = 0; status == CA_OK && i < sizeof states / sizeof states[0]; i++) {
        struct certificate_filter filter = { .issuer = retirement->name,
                                             .state = states[i] };
        retirement->after[0] = '\0';
        do {
            char after[64];
            memcpy(after, retirement->after, sizeof after);
            struct record_page page = { .after = after[0] ? after : NULL,
                                        .limit = RECORD_PAGE_MAX };
            retirement->on_page = 0;
            status =
                certificate_list(tx, &filter, &page, visit_certificate, retirement);
        } while (status == CA_OK && retirement->on_page == RECORD_PAGE_MAX);
    }
    return status;
}

static enum ca_status
retire_check(struct store_tx *tx, struct retirement *retirement,
             const struct authority *authority)
{
    CA_AUTO(X509_free) X509 *certificate = NULL;
    char until[21];
    if (authority->state != AUTHORITY_RETIRED)
        return ca_fail(CA_CONFLICT,
                       "issuer '%s' is not retired: roll over and activate",
                       authority->name);
    enum ca_status status = authority_certificate(authority, &certificate);
    if (status == CA_OK)
        status = spki_hex(certificate, retirement->own);
    if (status == CA_OK)
        status = helper_list(tx, visit_helper, retirement);
    if (status == CA_OK)
        status = profiles_find(tx, authority->name, retirement->profiles);
    if (status == CA_OK && retirement->profiles->count > 0)
        status = ca_fail(CA_CONFLICT, "profile 'certificate/%s' issues by '%s'",
                         retirement->profiles->names[0], authority->name);
    if (status == CA_OK)
        status = certificates_count(tx, retirement);
    if (status != CA_OK || retirement->valid == 0)
        return status;
    time_format(retirement->last, until);
    return ca_fail(CA_CONFLICT,
                   "%zu certificates of '%s' are not over before %s: its CRLs are "
                   "needed until then",
                   retirement->valid, authority->name, until);
}

static enum ca_status
retire_step(struct store_tx *tx, void *arg)
{
    struct retirement *retirement = arg;
    struct authority authority = { 0 };
    retirement->valid = 0;
    retirement->last = 0;
    retirement->helpers.count = 0;
    enum ca_status status = authority_load(tx, retirement->name, &authority);
    if (status == CA_OK)
        status = retire_check(tx, retirement, &authority);
    CA_AUTO(free) char *key = CA_STEAL(authority.key);
    if (status == CA_OK)
        status = authority_update(tx, &authority);
    authority_clear(&authority);
    if (status != CA_OK)
        return status;
    return ceremony_audit(retirement->ceremony, tx, "issuer.retire",
                          json_pack("{s:s?}", "key", key), "issuer:%s",
                          retirement->name);
}

enum ca_status
ceremony_retire(const struct ceremony *ceremony, const char *name)
{
    struct retirement retirement = { .ceremony = ceremony,
                                     .name = name,
                                     .profiles =
                                         calloc(1, sizeof(struct profile_names)),
                                     .now = clock_now() };
    if (!retirement.profiles)
        return ca_fail(CA_INTERNAL, "no memory for profiles");
    enum ca_status status = store_write(ceremony->store, retire_step, &retirement);
    free(retirement.profiles);
    return status;
}
