/* What makes a profile sound beyond the form of its members: SECURITY A8, R5, R6. */
#include "auto.h"
#include "omadm.h"
#include "profile.h"
#include "template.h"
#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define PROFILE_OID_MAX 128
#define PROFILE_EXTENSION_SIZE_MAX 6144 /* octets of DER */
#define REASON_SIZE 160

static _Atomic(const struct profile_name_checks *) name_checks;

void
profile_set_name_checks(const struct profile_name_checks *checks)
{
    atomic_store(&name_checks, checks);
}

/* The purposes by word. Those that `refused` names are not for a profile at all. */
static const struct purpose {
    const char *word, *oid, *refused;
    bool logs_in; /* whoever holds the key is somebody: SECURITY A8 */
} purposes[] = {
    { "server_auth", "1.3.6.1.5.5.7.3.1", NULL, false },
    { "client_auth", "1.3.6.1.5.5.7.3.2", NULL, true },
    { "code_signing", "1.3.6.1.5.5.7.3.3", NULL, false },
    { "email_protection", "1.3.6.1.5.5.7.3.4", NULL, false },
    { "time_stamping", "1.3.6.1.5.5.7.3.8", NULL, false },
    { "ipsec_ike", "1.3.6.1.5.5.7.3.17", NULL, true },
    { "document_signing", "1.3.6.1.5.5.7.3.36", NULL, false },
    { "smartcard_logon", "1.3.6.1.4.1.311.20.2.2", NULL, true },
    { "pkinit_client_auth", "1.3.6.1.5.2.3.4", NULL, true },
    { "ocsp_signing", "1.3.6.1.5.5.7.3.9",
      "is for the issuer's own responder, never for a device", false },
    { "any", "2.5.29.37.0", "is every purpose at once", false },
    { "enrolment_agent", "1.3.6.1.4.1.311.20.2.1",
      "would let its holder enrol in other names", false },
};

/* Extensions that the builder makes, or that only a CA or the registry may say. */
static const char *const own_extensions[] = {
    "2.5.29.9",
    "2.5.29.14",
    "2.5.29.15",
    "2.5.29.17",
    "2.5.29.18",
    "2.5.29.19",
    "2.5.29.30",
    "2.5.29.31",
    "2.5.29.32",
    "2.5.29.33",
    "2.5.29.35",
    "2.5.29.36",
    "2.5.29.37",
    "2.5.29.46",
    "2.5.29.54",
    "1.3.6.1.5.5.7.1.1",       /* authorityInfoAccess */
    "1.3.6.1.5.5.7.1.11",      /* subjectInfoAccess */
    "1.3.6.1.5.5.7.48.1.5",    /* id-pkix-ocsp-nocheck */
    "1.3.6.1.4.1.311.21.10",   /* application policies */
    "1.3.6.1.4.1.311.25.2",    /* the SID of an account */
    "1.3.6.1.4.1.11129.2.4.2", /* signed certificate timestamps */
    "1.3.6.1.4.1.11129.2.4.3", /* poison of a precertificate */
};

bool
profile_oid_is_valid(const char *oid)
{
    char text[PROFILE_OID_MAX + 1];
    size_t length = strnlen(oid, PROFILE_OID_MAX + 1);
    if (length == 0 || length > PROFILE_OID_MAX || strspn(oid, "0123456789.") != length)
        return false;
    CA_AUTO(ASN1_OBJECT_free) ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
    ERR_clear_error();
    /* Only the shortest way to write it, so that two texts are two OIDs. */
    return object && OBJ_obj2txt(text, sizeof text, object, 1) > 0 &&
           strcmp(text, oid) == 0;
}

const char *
profile_purpose_oid(const char *purpose)
{
    for (size_t i = 0; i < sizeof purposes / sizeof purposes[0]; i++) {
        if (strcmp(purposes[i].word, purpose) == 0)
            return purposes[i].oid;
    }
    return profile_oid_is_valid(purpose) ? purpose : NULL;
}

static const struct purpose *
purpose_find(const char *oid)
{
    for (size_t i = 0; i < sizeof purposes / sizeof purposes[0]; i++) {
        if (strcmp(purposes[i].oid, oid) == 0)
            return &purposes[i];
    }
    return NULL;
}

static bool
is_own_extension(const char *oid)
{
    for (size_t i = 0; i < sizeof own_extensions / sizeof own_extensions[0]; i++) {
        if (strcmp(own_extensions[i], oid) == 0)
            return true;
    }
    return false;
}

/* Names a template: a profile may have its own, a request never. */
static bool
is_template(const char *oid)
{
    return strcmp(oid, "1.3.6.1.4.1.311.20.2") == 0 ||
           strcmp(oid, "1.3.6.1.4.1.311.21.7") == 0;
}

/* One check of a whole profile; `at` names the member below /settings. */
struct check {
    const struct certificate_profile *profile;
    struct field_errors *errors;
};

static void __attribute__((format(printf, 4, 5)))
refuse(const struct check *check, const char *member, int index, const char *format,
       ...)
{
    char pointer[96], reason[REASON_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    if (index < 0)
        snprintf(pointer, sizeof pointer, "/settings/%s", member);
    else
        snprintf(pointer, sizeof pointer, "/settings/%s/%d", member, index);
    field_error_add(check->errors, pointer, "%s", reason);
}

/* Every item once. */
static bool
is_repeated(const struct field_list *texts, size_t index)
{
    char *const *items = texts->items;
    for (size_t i = 0; i < index; i++) {
        if (strcmp(items[i], items[index]) == 0)
            return true;
    }
    return false;
}

static void
check_curves(const struct check *check, const struct profile_key *key, int index)
{
    static const char *const curves[] = { "P-256", "P-384", "P-521" };
    char *const *texts = key->curves.items;
    if (key->algorithm == KEY_EC && key->curves.count == 0)
        refuse(check, "keys", index, "must name a curve");
    for (size_t i = 0; i < key->curves.count; i++) {
        bool is_known = false;
        for (size_t k = 0; k < sizeof curves / sizeof curves[0]; k++)
            is_known = is_known || strcmp(curves[k], texts[i]) == 0;
        if (!is_known)
            refuse(check, "keys", index, "must have curves of P-256, P-384, P-521");
        else if (is_repeated(&key->curves, i))
            refuse(check, "keys", index, "names a curve twice");
    }
}

static void
check_keys(const struct check *check)
{
    const struct field_list *list = &check->profile->keys;
    const struct profile_key *keys = list->items;
    unsigned seen = 0;
    if (list->count == 0)
        refuse(check, "keys", -1, "must name a kind of key");
    for (size_t i = 0; i < list->count; i++) {
        if (seen & 1u << keys[i].algorithm)
            refuse(check, "keys", (int)i, "names its algorithm again");
        seen |= 1u << keys[i].algorithm;
        if (keys[i].min_bits > keys[i].max_bits)
            refuse(check, "keys", (int)i, "has min_bits above max_bits");
        check_curves(check, &keys[i], (int)i);
    }
}

/* Braces and variables; the names' own syntax when it was handed in. */
static void
check_template(const struct check *check, const char *member, int index,
               const char *text)
{
    const struct profile_name_checks *checks = atomic_load(&name_checks);
    const struct profile_san *san = check->profile->san.items;
    char reason[REASON_SIZE] = "is not a template";
    bool is_good = template_check(text, checks ? checks->variable_is_known : NULL,
                                  reason, sizeof reason);
    if (is_good && checks && index < 0)
        is_good = checks->subject(text, reason, sizeof reason);
    else if (is_good && checks)
        is_good =
            checks->san((enum san_type)san[index].type, text, reason, sizeof reason);
    if (!is_good)
        refuse(check, member, index, "%s", reason);
    else if (strstr(text, "{{request.") &&
             check->profile->from_request.subject != SUBJECT_TAKE)
        refuse(check, member, index,
               "has a variable of the request, for which from_request.subject must "
               "be take");
}

static void
check_names(const struct check *check)
{
    const struct certificate_profile *profile = check->profile;
    const struct profile_san *san = profile->san.items;
    if (profile->subject && *profile->subject)
        check_template(check, "subject", -1, profile->subject);
    else if (profile->san.count == 0)
        refuse(check, "subject", -1, "must not be empty without a san");
    for (size_t i = 0; i < profile->san.count; i++)
        check_template(check, "san", (int)i, san[i].value);
}

/* A pattern takes whole labels, and at least two labels stay fixed: never a whole
 * top-level domain. */
static bool
dns_match_is_good(const char *match)
{
    size_t fixed = 0;
    for (const char *label = match; label; label = strchr(label, '.')) {
        label += *label == '.';
        size_t size = strcspn(label, ".");
        const char *star = memchr(label, '*', size);
        if (size == 0 || size > 63 ||
            strspn(label, "abcdefghijklmnopqrstuvwxyz0123456789-_*") < size ||
            (star && memchr(star + 1, '*', size - (size_t)(star - label) - 1)))
            return false;
        fixed = star ? 0 : fixed + 1;
    }
    return fixed >= 2 || (fixed == 1 && !strchr(match, '*'));
}

static void
check_from_request(const struct check *check)
{
    const struct field_list *san = &check->profile->from_request.san;
    const struct field_list *extensions = &check->profile->from_request.extensions;
    const struct profile_match *matches = san->items;
    char *const *oids = extensions->items;
    for (size_t i = 0; i < san->count; i++) {
        if (matches[i].type == SAN_UPN)
            refuse(check, "from_request/san", (int)i,
                   "must not be upn, which comes from the registry alone");
        else if (matches[i].type == SAN_DNS && !dns_match_is_good(matches[i].match))
            refuse(check, "from_request/san", (int)i,
                   "must be lower-case labels, at most one * in each, the last two "
                   "without");
    }
    for (size_t i = 0; i < extensions->count; i++) {
        if (!profile_oid_is_valid(oids[i]))
            refuse(check, "from_request/extensions", (int)i, "must be an OID");
        else if (is_own_extension(oids[i]) || is_template(oids[i]))
            refuse(check, "from_request/extensions", (int)i,
                   "is never taken from a request");
        else if (is_repeated(extensions, i))
            refuse(check, "from_request/extensions", (int)i, "is there already");
    }
}

static void
check_usage(const struct check *check)
{
    enum {
        KEY_AGREEMENT = 1u << 4,
        CERT_SIGN = 1u << 5,
        CRL_SIGN = 1u << 6,
        ONLY = 1u << 7 | 1u << 8
    };
    unsigned usage = check->profile->key_usage;
    if (usage == 0)
        refuse(check, "key_usage", -1, "must name a usage");
    if (usage & (CERT_SIGN | CRL_SIGN))
        refuse(check, "key_usage", -1, "must not let a device sign as a CA");
    if (usage & ONLY && !(usage & KEY_AGREEMENT)) /* RFC 5280 section 4.2.1.3 */
        refuse(check, "key_usage", -1,
               "has encipher_only or decipher_only without key_agreement");
}

static void
check_purposes(const struct check *check)
{
    const struct certificate_profile *profile = check->profile;
    const struct field_list *list = &profile->extended_key_usage;
    char *const *texts = list->items;
    bool logs_in = false;
    if (list->count == 0) /* without purposes a certificate is good for all */
        refuse(check, "extended_key_usage", -1, "must name a purpose");
    for (size_t i = 0; i < list->count; i++) {
        const char *oid = profile_purpose_oid(texts[i]);
        const struct purpose *purpose = oid ? purpose_find(oid) : NULL;
        logs_in = logs_in || (purpose && purpose->logs_in);
        if (!oid)
            refuse(check, "extended_key_usage", (int)i, "must be a word or an OID");
        else if (purpose && purpose->refused)
            refuse(check, "extended_key_usage", (int)i, "%s", purpose->refused);
        for (size_t k = 0; oid && k < i; k++) {
            const char *earlier = profile_purpose_oid(texts[k]);
            if (earlier && strcmp(earlier, oid) == 0)
                refuse(check, "extended_key_usage", (int)i, "is there already");
        }
    }
    if (logs_in && profile->from_request.subject == SUBJECT_TAKE &&
        profile->approvals == 0)
        refuse(check, "approvals", -1,
               "must be at least 1 where the request says the subject of a "
               "certificate that logs in");
}

static void
check_policies(const struct check *check)
{
    const struct field_list *list = &check->profile->policies;
    char *const *texts = list->items;
    for (size_t i = 0; i < list->count; i++) {
        if (!profile_oid_is_valid(texts[i]))
            refuse(check, "policies", (int)i, "must be an OID");
        else if (is_repeated(list, i)) /* RFC 5280 section 4.2.1.4 */
            refuse(check, "policies", (int)i, "is there already");
    }
}

/* Is it the base64 of one DER element, nothing behind it? */
static bool
extension_value_is_der(const char *text)
{
    uint8_t der[PROFILE_EXTENSION_SIZE_MAX];
    size_t size = 0;
    if (base64_parse(text, strlen(text), BASE64_STRICT, der, sizeof der, &size) !=
        CA_OK)
        return false;
    const unsigned char *at = der;
    CA_AUTO(ASN1_TYPE_free) ASN1_TYPE *type = d2i_ASN1_TYPE(NULL, &at, (long)size);
    ERR_clear_error();
    return type && at == der + size;
}

static void
check_extensions(const struct check *check)
{
    const struct field_list *list = &check->profile->extensions;
    const struct profile_extension *items = list->items;
    for (size_t i = 0; i < list->count; i++) {
        if (!profile_oid_is_valid(items[i].oid))
            refuse(check, "extensions", (int)i, "must have an OID");
        else if (is_own_extension(items[i].oid))
            refuse(check, "extensions", (int)i, "is not set by a profile's extensions");
        if (!extension_value_is_der(items[i].value))
            refuse(check, "extensions", (int)i, "must have the base64 of DER as value");
        for (size_t k = 0; k < i; k++)
            if (strcmp(items[k].oid, items[i].oid) == 0)
                refuse(check, "extensions", (int)i, "is there already");
    }
}

static void
check_certificate(const struct check *check)
{
    check_keys(check);
    check_names(check);
    check_from_request(check);
    check_usage(check);
    check_purposes(check);
    check_policies(check);
    check_extensions(check);
    if (check->profile->protocols == 0)
        refuse(check, "protocols", -1, "must name a protocol");
}

static void
check_policy_item(struct field_errors *errors, const struct policy_item *item, size_t i)
{
    char at[64];
    bool is_bare = item->format == OMADM_NODE || item->format == OMADM_NULL;
    snprintf(at, sizeof at, "/settings/items/%zu/uri", i);
    if (!omadm_uri_is_valid(item->uri))
        field_error_add(errors, at, "must be a node: ./NAME/NAME, escaped");
    snprintf(at, sizeof at, "/settings/items/%zu/data", i);
    if (item->verb == POLICY_DELETE && item->data)
        field_error_add(errors, at, "is nothing that a deleted node has");
    else if (item->verb != POLICY_DELETE && !is_bare && !item->data)
        field_error_add(errors, at, "must be there, except for format node or null");
    else if (is_bare && item->data && *item->data)
        field_error_add(errors, at, "must be empty with format node or null");
}

static void
check_policy(const struct policy_profile *policy, struct field_errors *errors)
{
    const struct policy_item *items = policy->items.items;
    for (size_t i = 0; i < policy->items.count; i++) {
        check_policy_item(errors, &items[i], i);
        for (size_t k = 0; k < i; k++) {
            char at[64];
            if (strcmp(items[k].uri, items[i].uri) != 0)
                continue;
            snprintf(at, sizeof at, "/settings/items/%zu/uri", i);
            field_error_add(errors, at, "is there already");
            break;
        }
    }
}

static bool
url_is_good(const char *url, bool takes_plain)
{
    bool is_tls = strncmp(url, "https://", 8) == 0;
    const char *host = url + (is_tls ? 8 : 7);
    return (is_tls || (takes_plain && strncmp(url, "http://", 7) == 0)) && *host &&
           !strpbrk(url, " #?@\\\"<>") && *host != '/';
}

static void
check_upstream(const struct scep_upstream *upstream, struct field_errors *errors)
{
    static const char at[] = "/settings/upstream/";
    uint8_t sha256[32];
    char pointer[64];
#define WRONG(member, ...)                                                             \
    (snprintf(pointer, sizeof pointer, "%s%s", at, member),                            \
     field_error_add(errors, pointer, __VA_ARGS__))
    if (!upstream->url) {
        if (upstream->challenge != UPSTREAM_NONE)
            WRONG("url", "is required with a challenge");
        return;
    }
    const struct field_list *ras = &upstream->ra_sha256;
    if (!url_is_good(upstream->url, ras->count > 0))
        WRONG("url", "must be an https:// URL without query, or http:// where "
                     "ra_sha256 says who is enveloped to");
    for (size_t i = 0; i < ras->count; i++) {
        if (!hex_parse(((char *const *)ras->items)[i], sha256, sizeof sha256))
            WRONG("ra_sha256", "must be the SHA-256 of certificates in hex");
    }
    if (!upstream->ca_sha256 || !hex_parse(upstream->ca_sha256, sha256, sizeof sha256))
        WRONG("ca_sha256", "must be the SHA-256 of the CA's certificate in hex");
    if (upstream->challenge != UPSTREAM_NONE && !upstream->challenge_file)
        WRONG("challenge_file", "is required with a challenge");
    if (upstream->challenge == UPSTREAM_DYNAMIC &&
        (!upstream->challenge_url || !url_is_good(upstream->challenge_url, false)))
        WRONG("challenge_url", "must be an https:// URL without query");
#undef WRONG
}

static void
check_scep(const struct scep_profile *scep, struct field_errors *errors)
{
    bool is_ec = scep->key >= SCEP_KEY_P256;
    if (is_ec && scep->modes & ~(1u << SCEP_MODE_SIMPLE))
        field_error_add(errors, "/settings/modes",
                        "must be simple alone with an EC key, which cannot decrypt");
    if (scep->client_certificate && !scep->path_token)
        field_error_add(errors, "/settings/client_certificate",
                        "needs path_token, which names the device");
    if (scep->modes == 1u << SCEP_MODE_SIMPLE && scep->upstream.url &&
        !scep->upstream.ra_file)
        field_error_add(errors, "/settings/upstream/ra_file",
                        "is required with mode simple, the only one");
    check_upstream(&scep->upstream, errors);
}

enum ca_status
profile_check(const struct profile *profile, struct field_errors *errors)
{
    struct field_errors found = { 0 };
    const struct check check = { &profile->settings.certificate, &found };
    if (profile->kind == PROFILE_CERTIFICATE)
        check_certificate(&check);
    if (profile->kind == PROFILE_SCEP)
        check_scep(&profile->settings.scep, &found);
    if (profile->kind == PROFILE_POLICY)
        check_policy(&profile->settings.policy, &found);
    if (found.count == 0)
        return CA_OK;
    for (size_t i = 0; errors && i < found.count; i++)
        field_error_add(errors, found.items[i].pointer, "%s", found.items[i].reason);
    return ca_fail(CA_MALFORMED, "%s: %s", found.items[0].pointer + 1,
                   found.items[0].reason);
}
