/* The health check of profiles: what gives a device more than it should have. */
#include "health.h"
#include "profile.h"
#include <string.h>

#define LONG_VALIDITY (825 * INT64_C(86400))
#define RSA_BITS_MIN 2048

struct look {
    struct health *health;
    char check[96];
    size_t warnings;
};

static void __attribute__((format(printf, 3, 4)))
warn(struct look *look, enum health_severity severity, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    health_add(look->health, severity, look->check, "%s", text);
    look->warnings++;
}

/* Can its holder log in with it? Then a name of the device's choice is another's. */
static bool
logs_in(const struct certificate_profile *profile)
{
    char *const *items = profile->extended_key_usage.items;
    for (size_t i = 0; i < profile->extended_key_usage.count; i++) {
        if (strcmp(items[i], "client_auth") == 0 || strstr(items[i], "smartcard") ||
            strcmp(items[i], "1.3.6.1.5.5.7.3.2") == 0 ||
            strcmp(items[i], "1.3.6.1.4.1.311.20.2.2") == 0)
            return true;
    }
    return profile->extended_key_usage.count == 0;
}

static void
look_at_names(struct look *look, const struct certificate_profile *profile)
{
    const struct profile_match *matches = profile->from_request.san.items;
    bool is_login = logs_in(profile);
    if (profile->from_request.subject == SUBJECT_TAKE)
        warn(look,
             is_login && profile->approvals == 0 ? HEALTH_CRITICAL : HEALTH_WARNING,
             "the device chooses its subject%s (ESC1)",
             profile->approvals == 0 ? ", and nobody approves" : "");
    for (size_t i = 0; i < profile->from_request.san.count; i++) {
        bool is_open = strcmp(matches[i].match, "*") == 0 ||
                       strncmp(matches[i].match, "*@", 2) == 0 ||
                       matches[i].type == SAN_UPN;
        if (is_open && profile->approvals == 0)
            warn(look, HEALTH_WARNING,
                 "the device chooses names like '%.100s' and nobody approves (ESC1)",
                 matches[i].match);
    }
    if (profile->from_request.extensions.count > 0)
        warn(look, HEALTH_WARNING, "the device chooses extensions");
}

static void
look_at_keys(struct look *look, const struct certificate_profile *profile)
{
    const struct profile_key *keys = profile->keys.items;
    for (size_t i = 0; i < profile->keys.count; i++) {
        if (keys[i].algorithm == KEY_RSA && keys[i].min_bits < RSA_BITS_MIN)
            warn(look, HEALTH_WARNING, "RSA keys of %lld bits are taken",
                 (long long)keys[i].min_bits);
    }
    if (profile->allow_shared_key)
        warn(look, HEALTH_WARNING, "several devices may have one key");
    if (profile->allow_sha1_request)
        warn(look, HEALTH_WARNING, "requests signed with SHA-1 are taken");
}

static enum ca_status
visit_certificate(const void *record, void *arg)
{
    const struct profile *found = record;
    const struct certificate_profile *profile = &found->settings.certificate;
    struct look *look = arg;
    snprintf(look->check, sizeof look->check, "profile:certificate/%.64s", found->name);
    look->warnings = 0;
    look_at_names(look, profile);
    look_at_keys(look, profile);
    if (profile->validity > LONG_VALIDITY)
        warn(look, HEALTH_WARNING, "certificates live for %lld days",
             (long long)(profile->validity / 86400));
    if (!profile->crl && !profile->ocsp)
        warn(look, HEALTH_WARNING, "nothing says where a revocation would be found");
    if (look->warnings == 0)
        health_add(look->health, HEALTH_OK, look->check, "nothing dangerous");
    return CA_OK;
}

static enum ca_status
visit_scep(const void *record, void *arg)
{
    const struct profile *found = record;
    struct look *look = arg;
    snprintf(look->check, sizeof look->check, "profile:scep/%.64s", found->name);
    look->warnings = 0;
    if (found->settings.scep.sha1)
        warn(look, HEALTH_WARNING, "messages with SHA-1 are taken");
    if (found->settings.scep.des3)
        warn(look, HEALTH_WARNING, "messages with triple DES are taken");
    if (look->warnings == 0)
        health_add(look->health, HEALTH_OK, look->check, "nothing dangerous");
    return CA_OK;
}

/* A read that failed half way and ran again would say things twice: findings are the
 * closure's own until it is done. */
static enum ca_status
profiles_step(struct store_tx *tx, void *arg)
{
    struct look *look = arg;
    struct record_page page = { .limit = RECORD_PAGE_MAX };
    enum ca_status status =
        profile_list(tx, PROFILE_CERTIFICATE, &page, visit_certificate, look);
    return status == CA_OK ? profile_list(tx, PROFILE_SCEP, &page, visit_scep, look)
                           : status;
}

void
health_check_profiles(struct health *health)
{
    struct health own = { .findings = json_array() };
    struct look look = { .health = &own };
    if (store_read(health->store, profiles_step, &look) != CA_OK)
        health_add(&own, HEALTH_CRITICAL, "profiles", "%s", status_message());
    json_array_extend(health->findings, own.findings);
    if (own.worst > health->worst)
        health->worst = own.worst;
    json_decref(own.findings);
}
