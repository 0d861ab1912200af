/* The tables of profiles: members, limits, defaults and help of each kind. */
#include "omadm.h"
#include "profile.h"
#include <stdio.h>
#include <string.h>

#define PROFILE_DAY ((int64_t)86400)
#define PROFILE_TEMPLATE_MAX 1024
#define PROFILE_LIST_MAX 32
#define PROFILE_OID_MAX 128
#define PROFILE_EXTENSION_MAX 8192 /* characters of base64 */

const char *const profile_kind_words[] = { "certificate", "scep", "policy",
                                           "activation", NULL };

const char *const profile_protocol_words[] = { "scep", "wstep", "activation", "est",
                                               "cmp",  "acme",  "api",        NULL };

static const char *const key_words[] = { "rsa", "ec", "ed25519", NULL };
static const char *const san_words[] = { "dns", "email", "ip", "uri", "upn", NULL };
static const char *const subject_words[] = { "match", "ignore", "take", NULL };
static const char *const challenge_words[] = { "one_time", NULL };
static const char *const mode_words[] = { "proxy", "assisted", "simple", NULL };
static const char *const scep_key_words[] = { "rsa_2048", "rsa_3072", "rsa_4096",
                                              "p256",     "p384",     "p521",
                                              NULL };
static const char *const digest_words[] = { "sha256", "sha384", "sha512", NULL };
static const char *const cipher_words[] = { "aes128", "aes256", NULL };
static const char *const upstream_words[] = { "none", "static", "dynamic", NULL };

/* In the order of the bits of RFC 5280 section 4.2.1.3. */
static const char *const usage_words[] = { "digital_signature", "content_commitment",
                                           "key_encipherment",  "data_encipherment",
                                           "key_agreement",     "key_cert_sign",
                                           "crl_sign",          "encipher_only",
                                           "decipher_only",     NULL };

static bool
check_kind_certificate(const void *member, char *ret_reason, size_t size)
{
    bool is_good = *(const int *)member == PROFILE_CERTIFICATE;
    if (!is_good)
        snprintf(ret_reason, size, "must be certificate here");
    return is_good;
}

static bool
check_kind_scep(const void *member, char *ret_reason, size_t size)
{
    bool is_good = *(const int *)member == PROFILE_SCEP;
    if (!is_good)
        snprintf(ret_reason, size, "must be scep here");
    return is_good;
}

static bool
check_kind_policy(const void *member, char *ret_reason, size_t size)
{
    bool is_good = *(const int *)member == PROFILE_POLICY;
    if (!is_good)
        snprintf(ret_reason, size, "must be policy here");
    return is_good;
}

static bool
check_kind_activation(const void *member, char *ret_reason, size_t size)
{
    bool is_good = *(const int *)member == PROFILE_ACTIVATION;
    if (!is_good)
        snprintf(ret_reason, size, "must be activation here");
    return is_good;
}

static const struct field key_fields[] = {
    { FIELD(profile_key, algorithm), .type = FIELD_CHOICE, .flags = FIELD_REQUIRED,
      .words = key_words, .help = "Kind of key." },
    { FIELD(profile_key, min_bits), .type = FIELD_INTEGER, .min = 2048, .max = 8192,
      .initial = "2048", .help = "RSA: smallest modulus." },
    { FIELD(profile_key, max_bits), .type = FIELD_INTEGER, .min = 2048, .max = 8192,
      .initial = "4096", .help = "RSA: largest modulus." },
    { FIELD(profile_key, curves), .type = FIELD_TEXTS, .max = 16, .count_max = 3,
      .initial = "[\"P-256\", \"P-384\"]", .help = "EC: P-256, P-384, P-521." },
    FIELD_END,
};

static const struct field san_fields[] = {
    { FIELD(profile_san, type), .type = FIELD_CHOICE, .flags = FIELD_REQUIRED,
      .words = san_words, .help = "Kind of name." },
    { FIELD(profile_san, value), .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .min = 1,
      .max = PROFILE_TEMPLATE_MAX,
      .help = "The name, with variables such as {{user.email}} or "
              "{{device.id|none}}." },
    FIELD_END,
};

static const struct field match_fields[] = {
    { FIELD(profile_match, type), .type = FIELD_CHOICE, .flags = FIELD_REQUIRED,
      .words = san_words, .help = "Kind of name." },
    { FIELD(profile_match, match), .type = FIELD_TEXT, .flags = FIELD_REQUIRED,
      .min = 1, .max = 255,
      .help = "The name that is taken, '*' for one label: *.devices.example.com." },
    FIELD_END,
};

static const struct field extension_fields[] = {
    { FIELD(profile_extension, oid), .type = FIELD_TEXT, .flags = FIELD_REQUIRED,
      .min = 3, .max = PROFILE_OID_MAX, .help = "Its OID in dotted digits." },
    { FIELD(profile_extension, critical), .type = FIELD_BOOLEAN,
      .help = "Who does not know it must refuse the certificate." },
    { FIELD(profile_extension, value), .type = FIELD_TEXT, .flags = FIELD_REQUIRED,
      .min = 4, .max = PROFILE_EXTENSION_MAX,
      .help = "Base64 of the DER of its value." },
    FIELD_END,
};

#define FROM_REQUEST(member)                                                           \
    .name = #member,                                                                   \
    .offset = offsetof(struct certificate_profile, from_request.member) -              \
              offsetof(struct certificate_profile, from_request)

static const struct field from_request_fields[] = {
    { FROM_REQUEST(subject), .type = FIELD_CHOICE, .words = subject_words,
      .initial = "\"match\"",
      .help = "match: a requested attribute that is not granted refuses; ignore: it is "
              "not looked at; take: {{request.cn}} may be used in templates." },
    { FROM_REQUEST(san), .type = FIELD_OBJECTS, .count_max = PROFILE_LIST_MAX,
      .fields = match_fields, .item_size = sizeof(struct profile_match),
      .initial = "[]", .help = "Names of the request that are taken." },
    { FROM_REQUEST(extensions), .type = FIELD_TEXTS, .count_max = PROFILE_LIST_MAX,
      .max = PROFILE_OID_MAX, .initial = "[]",
      .help = "OIDs of the request's extensions that are taken as they are." },
    FIELD_END,
};

static const struct field certificate_settings[] = {
    { FIELD(certificate_profile, issuer), .type = FIELD_TEXT,
      .flags = FIELD_REQUIRED | FIELD_NAME, .help = "Name of the issuer that signs." },
    { FIELD(certificate_profile, validity), .type = FIELD_DURATION, .min = 1,
      .max = 50 * 365 * PROFILE_DAY, .initial = "\"P1Y\"",
      .help = "How long a certificate is valid; never longer than its issuer." },
    { FIELD(certificate_profile, backdate), .type = FIELD_DURATION, .min = 0,
      .max = 7 * PROFILE_DAY, .initial = "\"PT5M\"",
      .help = "How far notBefore lies in the past, for devices whose clock is slow." },
    { FIELD(certificate_profile, renewal_window), .type = FIELD_DURATION, .min = 0,
      .max = 50 * 365 * PROFILE_DAY, .initial = "\"P30D\"",
      .help = "How long before its end a certificate may be renewed with itself." },
    { FIELD(certificate_profile, renewal_grace), .type = FIELD_DURATION, .min = 0,
      .max = 366 * PROFILE_DAY, .initial = "\"PT0S\"",
      .help = "How long after its end it may still be." },
    { FIELD(certificate_profile, keys), .type = FIELD_OBJECTS, .count_max = 3,
      .fields = key_fields, .item_size = sizeof(struct profile_key),
      .initial = "[{\"algorithm\": \"rsa\"}, {\"algorithm\": \"ec\"}]",
      .help = "The keys that are certified." },
    { FIELD(certificate_profile, subject), .type = FIELD_TEXT,
      .max = PROFILE_TEMPLATE_MAX,
      .initial = "\"CN={{user.name}},O={{organisation.name}}\"",
      .help = "The subject as it is read, most specific first, with variables; empty "
              "only beside a san." },
    { FIELD(certificate_profile, san), .type = FIELD_OBJECTS,
      .count_max = PROFILE_LIST_MAX, .fields = san_fields,
      .item_size = sizeof(struct profile_san), .initial = "[]",
      .help = "The subject alternative names of every certificate." },
    { FIELD(certificate_profile, from_request), .type = FIELD_OBJECT,
      .fields = from_request_fields,
      .item_size = sizeof(((struct certificate_profile *)NULL)->from_request),
      .initial = "{}", .help = "What of the request's own content is taken." },
    { FIELD(certificate_profile, names_from_challenge), .type = FIELD_BOOLEAN,
      .help = "Names that an operator bound to a challenge are issued; else they only "
              "bound what the request may ask for." },
    { FIELD(certificate_profile, key_usage), .type = FIELD_CHOICES,
      .words = usage_words, .initial = "[\"digital_signature\", \"key_encipherment\"]",
      .help = "Key usage; neither key_cert_sign nor crl_sign." },
    { FIELD(certificate_profile, extended_key_usage), .type = FIELD_TEXTS,
      .count_max = PROFILE_LIST_MAX, .max = PROFILE_OID_MAX,
      .initial = "[\"client_auth\"]",
      .help = "Purposes: client_auth, server_auth, email_protection, code_signing, "
              "time_stamping, ipsec_ike, smartcard_logon, document_signing, or OIDs." },
    { FIELD(certificate_profile, policies), .type = FIELD_TEXTS,
      .count_max = PROFILE_LIST_MAX, .max = PROFILE_OID_MAX, .initial = "[]",
      .help = "OIDs of certificate policies." },
    { FIELD(certificate_profile, extensions), .type = FIELD_OBJECTS,
      .count_max = PROFILE_LIST_MAX, .fields = extension_fields,
      .item_size = sizeof(struct profile_extension), .initial = "[]",
      .help = "More extensions with fixed values." },
    { FIELD(certificate_profile, crl), .type = FIELD_BOOLEAN, .initial = "true",
      .help = "Say where the CRL is." },
    { FIELD(certificate_profile, aia), .type = FIELD_BOOLEAN, .initial = "true",
      .help = "Say where the issuer's certificate is." },
    { FIELD(certificate_profile, ocsp), .type = FIELD_BOOLEAN,
      .help = "Say where the OCSP responder is." },
    { FIELD(certificate_profile, protocols), .type = FIELD_CHOICES,
      .words = profile_protocol_words, .initial = "[\"scep\"]",
      .help = "Protocols over which it is issued." },
    { FIELD(certificate_profile, approvals), .type = FIELD_INTEGER, .min = 0, .max = 5,
      .initial = "0", .help = "How many approvers must agree before it is issued." },
    { FIELD(certificate_profile, one_active_per_device), .type = FIELD_BOOLEAN,
      .initial = "true",
      .help = "A new certificate takes the place of the device's others of this "
              "profile." },
    { FIELD(certificate_profile, revoke_replaced), .type = FIELD_BOOLEAN,
      .initial = "true", .help = "Those it takes the place of are revoked." },
    { FIELD(certificate_profile, allow_sha1_request), .type = FIELD_BOOLEAN,
      .help = "Take requests signed over SHA-1 (Windows 10 MDM sends them)." },
    { FIELD(certificate_profile, allow_shared_key), .type = FIELD_BOOLEAN,
      .help = "Several devices may hold the same key." },
    FIELD_END,
};

static const struct field upstream_fields[] = {
    { FIELD(scep_upstream, url), .type = FIELD_TEXT, .min = 8, .max = 1024,
      .help = "Its SCEP URL, https://, or http:// with ra_sha256; none: our own CA." },
    { FIELD(scep_upstream, ca_ident), .type = FIELD_TEXT, .min = 1, .max = 64,
      .help = "What its GetCACert and GetCACaps are asked for." },
    { FIELD(scep_upstream, ca_sha256), .type = FIELD_TEXT, .min = 64, .max = 64,
      .help = "SHA-256 of its issuing CA's certificate, in hex; needed with url." },
    { FIELD(scep_upstream, ra_sha256), .type = FIELD_TEXTS, .count_max = 8, .max = 64,
      .initial = "[]",
      .help = "SHA-256 of the certificates of its RAs, in hex; needed with http://. "
              "None: an RA has the purpose Certificate Request Agent." },
    { FIELD(scep_upstream, tls_ca), .type = FIELD_TEXT, .flags = FIELD_LINES,
      .max = 16384,
      .help = "PEM that its TLS certificate must chain to; else what the system "
              "trusts." },
    { FIELD(scep_upstream, challenge), .type = FIELD_CHOICE, .words = upstream_words,
      .initial = "\"none\"",
      .help = "static: the same for all, of at least 80 bits; dynamic: one for each "
              "device, from challenge_url." },
    { FIELD(scep_upstream, challenge_url), .type = FIELD_TEXT, .min = 9, .max = 1024,
      .help = "https:// URL that gives a challenge, as NDES does." },
    { FIELD(scep_upstream, challenge_file), .type = FIELD_TEXT, .flags = FIELD_NAME,
      .help =
          "File of the folder upstream in the data directory: the static challenge, "
          "or user:password for challenge_url." },
    { FIELD(scep_upstream, ra_file), .type = FIELD_TEXT, .flags = FIELD_NAME,
      .help = "File there with our RA certificate and its key in PEM, for mode "
              "simple." },
    FIELD_END,
};

static const struct field scep_settings[] = {
    { FIELD(scep_profile, certificate), .type = FIELD_TEXT,
      .flags = FIELD_REQUIRED | FIELD_NAME,
      .help = "Name of the certificate profile it issues by." },
    { FIELD(scep_profile, challenge), .type = FIELD_CHOICE, .words = challenge_words,
      .initial = "\"one_time\"",
      .help = "one_time: a secret for one enrolment, made over the API." },
    { FIELD(scep_profile, sha1), .type = FIELD_BOOLEAN, .initial = "true",
      .help = "Take SHA-1 digests in messages, which older clients send." },
    { FIELD(scep_profile, des3), .type = FIELD_BOOLEAN, .initial = "true",
      .help = "Take 3DES content, which older clients send." },
    { FIELD(scep_profile, get_crl), .type = FIELD_BOOLEAN, .initial = "false",
      .help = "Answer GetCRL." },
    { FIELD(scep_profile, include_issuer), .type = FIELD_BOOLEAN,
      .help = "Send the issuer's certificate beside the issued one." },
    { FIELD(scep_profile, include_root), .type = FIELD_BOOLEAN, .initial = "true",
      .help = "Send the root in GetCACert." },
    { FIELD(scep_profile, modes), .type = FIELD_CHOICES, .words = mode_words,
      .initial = "[\"proxy\", \"assisted\", \"simple\"]",
      .help =
          "How an activated device may enrol; proxy: SCEP of its own; assisted: the "
          "server adds the challenge; simple: the server does it all." },
    { FIELD(scep_profile, key), .type = FIELD_CHOICE, .words = scep_key_words,
      .initial = "\"rsa_2048\"", .help = "The key that an activated device makes." },
    { FIELD(scep_profile, digest), .type = FIELD_CHOICE, .words = digest_words,
      .initial = "\"sha256\"", .help = "Digest that it uses." },
    { FIELD(scep_profile, cipher), .type = FIELD_CHOICE, .words = cipher_words,
      .initial = "\"aes256\"", .help = "Cipher that it uses." },
    { FIELD(scep_profile, offer_lifetime), .type = FIELD_DURATION, .min = 60,
      .max = 7 * PROFILE_DAY, .initial = "\"PT1H\"",
      .help = "How long what it was told holds: challenge and path." },
    { FIELD(scep_profile, renew_before_days), .type = FIELD_INTEGER, .min = 1,
      .max = 365, .initial = "30",
      .help = "Days before its certificate's end that it enrols again." },
    { FIELD(scep_profile, retries), .type = FIELD_INTEGER, .min = 0, .max = 100,
      .initial = "3", .help = "How often it asks again." },
    { FIELD(scep_profile, retry_delay), .type = FIELD_INTEGER, .min = 1, .max = 3600,
      .initial = "10", .help = "Seconds that it waits before." },
    { FIELD(scep_profile, path_token), .type = FIELD_BOOLEAN,
      .help = "Answer SCEP only under the path that an activated device was told." },
    { FIELD(scep_profile, client_certificate), .type = FIELD_BOOLEAN,
      .help = "And there only with the device's TLS client certificate." },
    { FIELD(scep_profile, upstream), .type = FIELD_OBJECT, .fields = upstream_fields,
      .item_size = sizeof(struct scep_upstream),
      .help = "The CA that gives the certificates, where it is not ours." },
    FIELD_END,
};

static const char *const policy_words[] = { "replace", "add", "delete", NULL };

static const struct field policy_item_fields[] = {
    { FIELD(policy_item, uri), .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .min = 1,
      .max = OMADM_URI_MAX,
      .help = "The node, escaped: ./Device/Vendor/MSFT/Policy/Config/AREA/NAME." },
    { FIELD(policy_item, verb), .type = FIELD_CHOICE, .words = policy_words,
      .initial = "\"replace\"",
      .help = "replace: the node has the value; add: likewise, where it has to be made "
              "first; delete: it is not there." },
    { FIELD(policy_item, format), .type = FIELD_CHOICE, .words = omadm_format_words,
      .initial = "\"chr\"", .help = "Format of the value." },
    { FIELD(policy_item, type), .type = FIELD_TEXT, .max = 128,
      .help = "Media type of the value." },
    { FIELD(policy_item, data), .type = FIELD_TEXT, .flags = FIELD_LINES,
      .max = OMADM_DATA_MAX, .help = "The value." },
    FIELD_END,
};

static const struct field policy_settings[] = {
    { FIELD(policy_profile, items), .type = FIELD_OBJECTS, .flags = FIELD_REQUIRED,
      .count_max = PROFILE_POLICY_ITEMS_MAX, .fields = policy_item_fields,
      .item_size = sizeof(struct policy_item),
      .help = "The settings, in the order in which a device gets them." },
    FIELD_END,
};

static const char *const activation_protocol_words[] = { "password", "windows", NULL };
static const char *const lockout_words[] = { "hard", "soft", NULL };

static const struct field activation_settings[] = {
    { FIELD(activation_profile, certificate), .type = FIELD_TEXT,
      .flags = FIELD_REQUIRED | FIELD_NAME,
      .help = "Name of the certificate profile of the activation certificate." },
    { FIELD(activation_profile, protocols), .type = FIELD_CHOICES,
      .words = activation_protocol_words, .initial = "[\"password\", \"windows\"]",
      .help = "How: password (ECSPEKE-ACT-1); empty for not at all." },
    { FIELD(activation_profile, expires_in), .type = FIELD_DURATION, .min = 60,
      .max = (int64_t)30 * 86400, .initial = "\"P2D\"",
      .help = "How long a new password may be used." },
    { FIELD(activation_profile, devices), .type = FIELD_INTEGER, .min = 1, .max = 1000,
      .initial = "1", .help = "Devices that a new password activates." },
    { FIELD(activation_profile, lockout), .type = FIELD_CHOICE, .words = lockout_words,
      .initial = "\"hard\"",
      .help = "Five wrong tries end a password (hard), or each makes the next wait "
              "twice as long (soft)." },
    { FIELD(activation_profile, symbols), .type = FIELD_INTEGER, .min = 8, .max = 64,
      .initial = "12", .help = "Letters and digits of a generated password." },
    { FIELD(activation_profile, self_service), .type = FIELD_BOOLEAN, .initial = "true",
      .help = "Users may set a password themselves." },
    { FIELD(activation_profile, min_length), .type = FIELD_INTEGER, .min = 8,
      .max = 128, .initial = "10",
      .help = "Characters that a password set by a person has at least." },
    { FIELD(activation_profile, min_classes), .type = FIELD_INTEGER, .min = 1, .max = 4,
      .initial = "3",
      .help = "Of lower-case and upper-case letters, digits and others, how many kinds "
              "it has at least." },
    { FIELD(activation_profile, devices_per_user), .type = FIELD_INTEGER, .min = 0,
      .max = 100000, .initial = "0",
      .help = "Active devices that a user may have; 0 for no bound." },
    { FIELD(activation_profile, two_messages), .type = FIELD_BOOLEAN,
      .help = "Mail instructions and password separately." },
    { FIELD(activation_profile, notice), .type = FIELD_TEXT, .flags = FIELD_LINES,
      .max = 4096, .help = "Notice of the organisation to who activates a device." },
    FIELD_END,
};

/* A profile, with the settings of its kind. */
#define PROFILE_FIELDS(word)                                                           \
    {                                                                                  \
        { FIELD(profile, name), .type = FIELD_TEXT,                                    \
          .flags = FIELD_REQUIRED | FIELD_NAME,                                        \
          .help = "The profile's name within its kind." },                             \
            { FIELD(profile, kind),        .type = FIELD_CHOICE,                       \
              .words = profile_kind_words, .initial = "\"" #word "\"",                 \
              .check = check_kind_##word,  .help = "The profile's kind." },            \
            { FIELD(profile, description), .type = FIELD_TEXT, .max = 256,             \
              .help = "What the profile is for." },                                    \
            { .name = "settings",                                                      \
              .type = FIELD_OBJECT,                                                    \
              .flags = FIELD_REQUIRED,                                                 \
              .offset = offsetof(struct profile, settings.word),                       \
              .fields = word##_settings,                                               \
              .item_size = sizeof(struct word##_profile),                              \
              .help = "The settings of its kind." },                                   \
            RECORD_STAMP_FIELDS(profile), FIELD_END,                                   \
    }

static const struct field certificate_fields[] = PROFILE_FIELDS(certificate);
static const struct field scep_fields[] = PROFILE_FIELDS(scep);
static const struct field policy_fields[] = PROFILE_FIELDS(policy);
static const struct field activation_fields[] = PROFILE_FIELDS(activation);

const struct field *
profile_fields(enum profile_kind kind)
{
    switch (kind) {
    case PROFILE_SCEP: return scep_fields;
    case PROFILE_POLICY: return policy_fields;
    case PROFILE_ACTIVATION: return activation_fields;
    case PROFILE_CERTIFICATE:
    case PROFILE_KIND_COUNT: break;
    }
    return certificate_fields;
}

bool
profile_kind_parse(const char *word, enum profile_kind *ret_kind)
{
    for (int i = 0; i < PROFILE_KIND_COUNT; i++) {
        if (strcmp(word, profile_kind_words[i]) == 0) {
            *ret_kind = (enum profile_kind)i;
            return true;
        }
    }
    return false;
}
