/* The extensions of a certificate as its profile has them. */
#include "auto.h"
#include "csr.h"
#include "der.h"
#include "tbs.h"
#include "tbs_extension.h"
#include <string.h>

#define CA_BUFFER CA_AUTO(text_buffer_clear) struct text_buffer
#define EXTENSION_VALUE_MAX 8192
#define EXTENSION_OID_MAX 128

/* Bits of KeyUsage (RFC 5280 section 4.2.1.3). */
#define DIGITAL_SIGNATURE (1u << 0)
#define NON_REPUDIATION (1u << 1)
#define KEY_ENCIPHERMENT (1u << 2)
#define DATA_ENCIPHERMENT (1u << 3)
#define KEY_AGREEMENT (1u << 4)
#define KEY_CERT_SIGN (1u << 5)
#define CRL_SIGN (1u << 6)
#define ENCIPHER_ONLY (1u << 7)
#define DECIPHER_ONLY (1u << 8)

#define OID_SUBJECT_ALT_NAME "2.5.29.17"
#define OID_POLICIES "2.5.29.32"
#define OID_EXTENDED_KEY_USAGE "2.5.29.37"
#define OID_TEMPLATE "1.3.6.1.4.1.311.21.7"
#define OID_TIME_STAMPING "1.3.6.1.5.5.7.3.8"

/* What a key of this kind can do at all: RFC 3279 section 2.3.1, RFC 8813 section 3,
 * RFC 8410 section 5. */
static unsigned
usable_key_usage(const X509_PUBKEY *key, unsigned wanted)
{
    ASN1_OBJECT *algorithm = NULL;
    X509_PUBKEY_get0_param(&algorithm, NULL, NULL, NULL, key);
    switch (OBJ_obj2nid(algorithm)) {
    case NID_rsaEncryption:
        return wanted & ~(KEY_AGREEMENT | ENCIPHER_ONLY | DECIPHER_ONLY);
    case NID_X9_62_id_ecPublicKey:
        return wanted & ~(KEY_ENCIPHERMENT | DATA_ENCIPHERMENT);
    default: return wanted & (DIGITAL_SIGNATURE | NON_REPUDIATION);
    }
}

static enum ca_status
append_key_usage(struct text_buffer *list, const struct tbs_input *input)
{
    unsigned wanted = input->profile->key_usage;
    if (wanted & (KEY_CERT_SIGN | CRL_SIGN))
        return ca_fail(CA_FORBIDDEN, "the profile asks for a CA's key usage");
    unsigned usable = usable_key_usage(input->key, wanted);
    if (!(usable & KEY_AGREEMENT))
        usable &= ~(ENCIPHER_ONLY | DECIPHER_ONLY);
    if (wanted && !usable)
        return ca_fail(CA_FORBIDDEN,
                       "the key can do nothing of what the profile's key usage says");
    if (usable)
        extension_key_usage(list, usable);
    return CA_OK;
}

static enum ca_status
append_extended_key_usage(struct text_buffer *list, const struct field_list *words)
{
    CA_BUFFER content = { 0 };
    CA_BUFFER value = { 0 };
    char *const *items = words->items;
    bool is_critical = false;
    for (size_t i = 0; i < words->count; i++) {
        const char *oid = profile_purpose_oid(items[i]);
        if (!oid || extension_eku_is_refused(oid) || !der_oid(&content, oid))
            return ca_fail(CA_FORBIDDEN,
                           "the profile's extended key usage '%.64s' is "
                           "not issued",
                           items[i]);
        /* A time stamper's only and critical purpose (RFC 3161 section 2.3). */
        is_critical = words->count == 1 && strcmp(oid, OID_TIME_STAMPING) == 0;
    }
    if (words->count == 0)
        return CA_OK;
    der_wrap(&value, DER_SEQUENCE, &content);
    extension_wrap(list, OID_EXTENDED_KEY_USAGE, is_critical, &value);
    return CA_OK;
}

/* Critical when it is the only name (RFC 5280 section 4.2.1.6). */
static enum ca_status
append_san(struct text_buffer *list, const struct names *names)
{
    if (!names->san)
        return CA_OK;
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    int size = i2d_GENERAL_NAMES(names->san, &der);
    if (size <= 0)
        return ca_fail_openssl(CA_INTERNAL, "cannot encode a subjectAltName");
    CA_BUFFER value = { 0 };
    text_append(&value, der, (size_t)size);
    extension_wrap(list, OID_SUBJECT_ALT_NAME,
                   X509_NAME_entry_count(names->subject) == 0, &value);
    return CA_OK;
}

static enum ca_status
append_policies(struct text_buffer *list, const struct field_list *oids)
{
    CA_BUFFER content = { 0 };
    CA_BUFFER value = { 0 };
    char *const *items = oids->items;
    for (size_t i = 0; i < oids->count; i++) {
        CA_BUFFER one = { 0 };
        if (!der_oid(&one, items[i]))
            return ca_fail(CA_FORBIDDEN, "the profile's policy '%.64s' is no OID",
                           items[i]);
        der_wrap(&content, DER_SEQUENCE, &one);
    }
    if (oids->count == 0)
        return CA_OK;
    der_wrap(&value, DER_SEQUENCE, &content);
    extension_wrap(list, OID_POLICIES, false, &value);
    return CA_OK;
}

static enum ca_status
append_own_extension(struct text_buffer *list,
                     const struct profile_extension *extension)
{
    uint8_t octets[EXTENSION_VALUE_MAX];
    size_t size;
    if (extension_is_reserved(extension->oid))
        return ca_fail(CA_FORBIDDEN, "the profile may not set extension %.64s",
                       extension->oid);
    enum ca_status status = base64_parse(extension->value, strlen(extension->value),
                                         BASE64_STRICT, octets, sizeof octets, &size);
    if (status != CA_OK || !der_is_strict(octets, size))
        return ca_fail(CA_FORBIDDEN, "the profile's extension %.64s is not DER",
                       extension->oid);
    CA_BUFFER value = { 0 };
    text_append(&value, octets, size);
    extension_wrap(list, extension->oid, extension->critical, &value);
    return CA_OK;
}

static bool
is_own_extension(const struct certificate_profile *profile, const char *oid)
{
    const struct profile_extension *own = profile->extensions.items;
    for (size_t i = 0; i < profile->extensions.count; i++) {
        if (strcmp(own[i].oid, oid) == 0)
            return true;
    }
    return false;
}

static bool
takes_extension(const struct certificate_profile *profile, const char *oid)
{
    char *const *taken = profile->from_request.extensions.items;
    for (size_t i = 0; i < profile->from_request.extensions.count; i++) {
        if (strcmp(taken[i], oid) == 0)
            return !extension_is_reserved(oid) && !extension_is_template(oid) &&
                   !is_own_extension(profile, oid);
    }
    return false;
}

/* R5: of the request's extensions those that the profile takes by OID; the criticality
 * is dropped, a stranger's critical extension could make the certificate useless. */
static enum ca_status
append_requested(struct text_buffer *list, const struct tbs_input *input)
{
    if (!input->request || input->profile->from_request.extensions.count == 0)
        return CA_OK;
    CA_AUTO(x509_extensions_free) STACK_OF(X509_EXTENSION) *extensions = NULL;
    enum ca_status status = csr_extensions(input->request, &extensions);
    for (int i = 0; status == CA_OK && i < sk_X509_EXTENSION_num(extensions); i++) {
        X509_EXTENSION *one = sk_X509_EXTENSION_value(extensions, i);
        char oid[EXTENSION_OID_MAX];
        int length = OBJ_obj2txt(oid, sizeof oid, X509_EXTENSION_get_object(one), 1);
        if (length <= 0 || length >= (int)sizeof oid ||
            !takes_extension(input->profile, oid))
            continue;
        const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(one);
        const uint8_t *octets = ASN1_STRING_get0_data(value);
        size_t size = (size_t)ASN1_STRING_length(value);
        if (size > EXTENSION_VALUE_MAX || !der_is_strict(octets, size))
            return ca_fail(CA_FORBIDDEN, "the requested extension %s is not DER", oid);
        CA_BUFFER copy = { 0 };
        text_append(&copy, octets, size);
        extension_wrap(list, oid, false, &copy);
    }
    return status;
}

/* A profile that has a template extension of its own keeps that one. */
static enum ca_status
append_windows(struct text_buffer *list, const struct tbs_input *input)
{
    enum ca_status status = CA_OK;
    if (input->template_oid && !is_own_extension(input->profile, OID_TEMPLATE))
        status = extension_template(list, input->template_oid);
    if (status == CA_OK && input->sid)
        status = extension_sid(list, input->sid);
    return status;
}

enum ca_status
tbs_profile_extensions(const struct tbs_input *input, struct text_buffer *list)
{
    const struct certificate_profile *profile = input->profile;
    uint8_t id[TBS_KEY_ID_SIZE];
    enum ca_status status = extension_authority_key_id(list, input->issuer);
    if (status == CA_OK)
        status = extension_key_id(input->key, id);
    if (status != CA_OK)
        return status;
    extension_subject_key_id(list, id);
    status = append_key_usage(list, input);
    if (status == CA_OK)
        status = append_policies(list, &profile->policies);
    if (status == CA_OK)
        status = append_san(list, input->names);
    extension_basic_constraints(list, false, -1);
    if (status == CA_OK)
        status = append_extended_key_usage(list, &profile->extended_key_usage);
    if (input->crl_url)
        extension_crl(list, input->crl_url);
    extension_access(list, input->issuer_url, input->ocsp_url);
    const struct profile_extension *own = profile->extensions.items;
    for (size_t i = 0; status == CA_OK && i < profile->extensions.count; i++)
        status = append_own_extension(list, &own[i]);
    if (status == CA_OK)
        status = append_windows(list, input);
    return status == CA_OK ? append_requested(list, input) : status;
}
