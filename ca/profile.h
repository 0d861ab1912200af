/* Profiles: named settings of one kind. A certificate profile says how a certificate
 * looks; a scep profile says what a SCEP endpoint takes and which certificate profile
 * it issues by; a policy profile says which settings a managed device is to have; an
 * activation profile says how a user activates a device. */
#pragma once

#include "record.h"

enum profile_kind {
    PROFILE_CERTIFICATE,
    PROFILE_SCEP,
    PROFILE_POLICY,
    PROFILE_ACTIVATION,
    PROFILE_KIND_COUNT
};

enum key_algorithm { KEY_RSA, KEY_EC, KEY_ED25519 };

struct profile_key {
    int algorithm;              /* enum key_algorithm */
    int64_t min_bits, max_bits; /* RSA */
    struct field_list curves;   /* EC: "P-256", "P-384", "P-521" */
};

enum san_type { SAN_DNS, SAN_EMAIL, SAN_IP, SAN_URI, SAN_UPN };

struct profile_san {
    int type;    /* enum san_type */
    char *value; /* template over user, device, organisation */
};

struct profile_match {
    int type;    /* enum san_type */
    char *match; /* exact, or '*' for one label */
};

enum subject_mode {
    SUBJECT_MATCH,  /* a requested attribute that is not granted refuses */
    SUBJECT_IGNORE, /* what the request asks for is not looked at, except that it must
                       not name another user of the registry */
    SUBJECT_TAKE    /* {{request.cn}} may be used in templates; needs approvals */
};

struct profile_extension {
    char *oid;
    bool critical;
    char *value; /* base64 of the extension's DER value */
};

enum profile_protocol {
    PROTOCOL_SCEP,
    PROTOCOL_WSTEP,
    PROTOCOL_ACTIVATION,
    PROTOCOL_EST,
    PROTOCOL_CMP,
    PROTOCOL_ACME,
    PROTOCOL_API,
    PROTOCOL_COUNT
};
extern const char *const profile_protocol_words[];

struct certificate_profile {
    char *issuer;
    int64_t validity, backdate, renewal_window, renewal_grace; /* seconds */

    struct field_list keys; /* struct profile_key */
    char *subject;          /* RFC 4514-like: "CN={{user.name}},O=..." */
    struct field_list san;  /* struct profile_san */
    struct {
        int subject;                  /* enum subject_mode */
        struct field_list san;        /* struct profile_match */
        struct field_list extensions; /* OIDs whose requested value is taken */
    } from_request;
    bool names_from_challenge; /* names an operator bound to a challenge are issued */
    unsigned key_usage;        /* bit i = the i-th bit of RFC 5280 4.2.1.3 */
    struct field_list extended_key_usage; /* names ("client_auth") or OIDs */
    struct field_list policies;           /* OIDs */
    struct field_list extensions;         /* struct profile_extension */
    bool crl, aia, ocsp;
    unsigned protocols; /* bits of enum profile_protocol */
    int64_t approvals;  /* 0..5 different approvers before it is issued */
    bool one_active_per_device, revoke_replaced;
    bool allow_sha1_request; /* SHA-1 self-signature of a PKCS#10 */
    bool allow_shared_key;   /* the same key for several devices (R4) */
};

enum scep_challenge { SCEP_CHALLENGE_ONE_TIME };

/* How an activated device may enrol (ECSPEKE-ACT-1 13.5). */
enum scep_mode { SCEP_MODE_PROXY, SCEP_MODE_ASSISTED, SCEP_MODE_SIMPLE };
enum scep_key {
    SCEP_KEY_RSA_2048,
    SCEP_KEY_RSA_3072,
    SCEP_KEY_RSA_4096,
    SCEP_KEY_P256,
    SCEP_KEY_P384,
    SCEP_KEY_P521
};
enum scep_digest { SCEP_SHA256, SCEP_SHA384, SCEP_SHA512 };
enum scep_cipher_choice { SCEP_AES128, SCEP_AES256 };

/* Where a CA that is not ours gives the certificates. Secrets and keys are files of the
 * folder "upstream" in the data directory, by name. */
enum scep_upstream_challenge { UPSTREAM_NONE, UPSTREAM_STATIC, UPSTREAM_DYNAMIC };
struct scep_upstream {
    char *url;                   /* NULL: our own CA */
    char *ca_ident;              /* of GetCACert and GetCACaps, or NULL */
    char *ca_sha256;             /* hex: the issuing CA's certificate */
    struct field_list ra_sha256; /* hex, its RAs'; empty: who has the purpose */
    char *tls_ca;  /* PEM that its TLS certificate must chain to; NULL: the system's */
    int challenge; /* enum scep_upstream_challenge */
    char *challenge_url;  /* dynamic: gives one challenge for each GET */
    char *challenge_file; /* static: the challenge; dynamic: "user:password" */
    char *ra_file;        /* PEM of RA certificate and key, for mode simple; or NULL */
};

struct scep_profile {
    char *certificate;   /* name of the certificate profile */
    int challenge;       /* enum scep_challenge */
    bool sha1, des3;     /* take SHA-1 digests, 3DES content */
    bool get_crl;        /* answer GetCRL */
    bool include_issuer; /* issuer's certificate beside the issued one in CertRep */
    bool include_root;   /* root in GetCACert */
    /* What an activated device is told. */
    unsigned modes; /* bits of enum scep_mode */
    int key;        /* enum scep_key */
    int digest, cipher;
    int64_t offer_lifetime; /* seconds */
    int64_t renew_before_days, retries, retry_delay;
    bool path_token;         /* no answer without a live path token */
    bool client_certificate; /* nor without the device's TLS certificate */
    struct scep_upstream upstream;
};

enum policy_verb {
    POLICY_REPLACE, /* the node has this value */
    POLICY_ADD,     /* likewise, but a missing one is made before it is replaced */
    POLICY_DELETE   /* the node is not there */
};

#define PROFILE_POLICY_ITEMS_MAX 256

struct policy_item {
    char *uri;
    int verb;   /* enum policy_verb */
    int format; /* enum omadm_format */
    char *type; /* media type of the data, or NULL */
    char *data;
};

struct policy_profile {
    struct field_list items; /* struct policy_item */
};

/* How a user activates a device. */
struct activation_profile {
    char *certificate;               /* name of the certificate profile */
    unsigned protocols;              /* bits of activation_protocol_words */
    int64_t expires_in;              /* of a new password, unless it says so itself */
    int64_t devices;                 /* that one password activates, likewise */
    int lockout;                     /* enum activation_lockout: hard, soft */
    int64_t symbols;                 /* of a generated password */
    bool self_service;               /* users may set one themselves */
    int64_t min_length, min_classes; /* of a password that a person sets */
    int64_t devices_per_user;        /* active ones; 0: no bound */
    bool two_messages; /* instructions and password in mails of their own */
    char *notice;      /* of the organisation, for its users; or NULL */
};
#define ACTIVATION_PROTOCOL_PASSWORD 1u /* ECSPEKE-ACT-1 */
#define ACTIVATION_PROTOCOL_WINDOWS 2u  /* typed at the log-in of Windows' enrolment */

struct profile {
    char *name;
    int kind; /* enum profile_kind */
    char *description;
    union {
        struct certificate_profile certificate;
        struct scep_profile scep;
        struct policy_profile policy;
        struct activation_profile activation;
    } settings;
    struct record_stamp stamp;
};

/* The words of enum profile_kind; NULL-terminated. */
extern const char *const profile_kind_words[];
/* The whole record's table for a kind (name, description, settings, stamp). */
const struct field *profile_fields(enum profile_kind kind);
bool profile_kind_parse(const char *word, enum profile_kind *ret_kind);

/* The OID ("1.3.6.1.5.5.7.3.2") of a member of extended_key_usage: a word of ours or a
 * dotted OID, then the text itself; NULL for anything else. */
const char *profile_purpose_oid(const char *purpose);
/* Is it an OID in dotted digits, of at most 128 octets? */
bool profile_oid_is_valid(const char *oid);

/* How names are judged is known one level up (names.h), so it is handed in once at
 * start: profile_set_name_checks(&names_profile_checks). Until then profile_check looks
 * at templates' braces alone; an enrolment refuses a bad template in any case. */
struct profile_name_checks {
    bool (*variable_is_known)(const char *name);
    bool (*subject)(const char *subject, char *ret_reason, size_t size);
    bool (*san)(enum san_type type, const char *value, char *ret_reason, size_t size);
};
void profile_set_name_checks(const struct profile_name_checks *checks);

/* Checks what the table cannot: curves known, OIDs valid, templates parse, no
 * anyExtendedKeyUsage, no empty list of purposes, no enrolment agent or OCSP signing
 * EKU, take-subject with client_auth only with approvals (SECURITY A8), {{request.*}}
 * only with take-subject, no CA extensions; of a policy: nodes, none twice, data
 * where it is wanted. Errors by JSON pointer; CA_MALFORMED. */
enum ca_status profile_check(const struct profile *profile,
                             struct field_errors *errors);

enum ca_status profile_load(struct store_tx *tx, enum profile_kind kind,
                            const char *name, struct profile *ret_profile);
/* Insert: CA_CONFLICT when it exists. Update: only over `stamp.version`, else
 * CA_CONFLICT; both fill the stamp. Also CA_CONFLICT for a scep profile whose
 * certificate profile does not exist. Every version is kept (profile_versions), also
 * beyond a deletion: a profile made anew goes on counting. */
enum ca_status profile_insert(struct store_tx *tx, struct profile *profile);
enum ca_status profile_update(struct store_tx *tx, struct profile *profile);
/* CA_CONFLICT when it is assigned, named by a challenge that is open, or (certificate)
 * by a scep profile. */
enum ca_status profile_delete(struct store_tx *tx, enum profile_kind kind,
                              const char *name, int64_t version);
enum ca_status profile_list(struct store_tx *tx, enum profile_kind kind,
                            const struct record_page *page, record_visit visit,
                            void *arg);
/* The name alone of each (const char *), in order. */
enum ca_status profile_names(struct store_tx *tx, enum profile_kind kind,
                             record_visit visit, void *arg);
/* Older versions of one profile, newest first; page.after is a version number. */
enum ca_status profile_versions(struct store_tx *tx, enum profile_kind kind,
                                const char *name, const struct record_page *page,
                                record_visit visit, void *arg);
void profile_clear(struct profile *profile);
