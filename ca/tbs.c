/* The to-be-signed certificate, put together from profile, names and key as DER
 * (RFC 5280 section 4.1). */
#include "tbs.h"
#include "auto.h"
#include "clock.h"
#include "der.h"
#include "tbs_extension.h"
#include <string.h>

#define CA_BUFFER CA_AUTO(text_buffer_clear) struct text_buffer
#define SERIAL_SIZE_MAX 20
#define SERIAL_SIZE 16
#define SERIAL_DRAWS 8
#define DIGITAL_SIGNATURE (1u << 0)
#define KEY_ENCIPHERMENT (1u << 2)
#define KEY_CERT_SIGN (1u << 5)
#define CRL_SIGN (1u << 6)

#define OID_EXTENDED_KEY_USAGE "2.5.29.37"
#define OID_OCSP_SIGNING "1.3.6.1.5.5.7.3.9"
#define OID_OCSP_NOCHECK "1.3.6.1.5.5.7.48.1.5"

const EVP_MD *
tbs_digest(const EVP_PKEY *issuer_key)
{
    int bits = EVP_PKEY_get_bits(issuer_key);
    switch (EVP_PKEY_get_base_id(issuer_key)) {
    case EVP_PKEY_RSA: return bits >= 2048 ? EVP_sha256() : NULL;
    case EVP_PKEY_EC:
        return bits == 256   ? EVP_sha256()
               : bits == 384 ? EVP_sha384()
               : bits == 521 ? EVP_sha512()
                             : NULL;
    default: return NULL;
    }
}

enum ca_status
tbs_append_algorithm(struct text_buffer *buffer, const EVP_PKEY *issuer_key)
{
    const EVP_MD *digest = issuer_key ? tbs_digest(issuer_key) : NULL;
    if (!digest)
        return ca_fail(CA_UNSUPPORTED, "the issuer's key is of a kind that does not "
                                       "sign here");
    CA_BUFFER content = { 0 };
    if (EVP_PKEY_get_base_id(issuer_key) == EVP_PKEY_RSA) {
        der_oid(&content, "1.2.840.113549.1.1.11"); /* sha256WithRSAEncryption */
        der_append(&content, DER_NULL, NULL, 0);
    } else {
        int nid = EVP_MD_get_type(digest);
        der_oid(&content, nid == NID_sha256   ? "1.2.840.10045.4.3.2"
                          : nid == NID_sha384 ? "1.2.840.10045.4.3.3"
                                              : "1.2.840.10045.4.3.4");
    }
    der_wrap(buffer, DER_SEQUENCE, &content);
    return CA_OK;
}

enum ca_status
tbs_time_of(const ASN1_TIME *time, int64_t *ret_seconds)
{
    struct tm tm;
    if (!ASN1_TIME_to_tm(time, &tm))
        return ca_fail_openssl(CA_INTERNAL, "a certificate's time cannot be read");
    *ret_seconds = timegm(&tm);
    return CA_OK;
}

enum ca_status
tbs_check_issuer(const X509 *issuer, int *ret_path_length)
{
    int critical = 0;
    BASIC_CONSTRAINTS *constraints =
        X509_get_ext_d2i(issuer, NID_basic_constraints, &critical, NULL);
    bool is_ca = constraints && constraints->ca;
    long length = constraints && constraints->pathlen
                      ? ASN1_INTEGER_get(constraints->pathlen)
                      : -1;
    bool has_length = constraints && constraints->pathlen;
    BASIC_CONSTRAINTS_free(constraints);
    if (!is_ca || (has_length && length < 0))
        return ca_fail(CA_FORBIDDEN, "the issuer's certificate is not a CA's");
    ASN1_BIT_STRING *usage = X509_get_ext_d2i(issuer, NID_key_usage, &critical, NULL);
    bool may_sign = usage && ASN1_BIT_STRING_get_bit(usage, 5);
    ASN1_BIT_STRING_free(usage);
    if (!may_sign)
        return ca_fail(CA_FORBIDDEN, "the issuer's certificate has no keyCertSign");
    if (ret_path_length)
        *ret_path_length = length > INT16_MAX ? INT16_MAX : (int)length;
    return CA_OK;
}

/* What every TBSCertificate is made of. */
struct parts {
    const uint8_t *serial;
    size_t serial_size;
    const EVP_PKEY *issuer_key;
    const X509_NAME *issuer, *subject;
    int64_t not_before, not_after;
    const X509_PUBKEY *key;
    struct text_buffer extensions;
};

static void
parts_clear_auto(struct parts *parts)
{
    text_buffer_clear(&parts->extensions);
}

static enum ca_status
append_name(struct text_buffer *buffer, const X509_NAME *name)
{
    const unsigned char *der;
    size_t size;
    if (!X509_NAME_get0_der(name, &der, &size))
        return ca_fail_openssl(CA_INTERNAL, "cannot encode a name");
    text_append(buffer, der, size);
    return CA_OK;
}

static enum ca_status
append_key(struct text_buffer *buffer, const X509_PUBKEY *key)
{
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    int size = i2d_X509_PUBKEY(key, &der);
    if (size <= 0)
        return ca_fail_openssl(CA_INTERNAL, "cannot encode a public key");
    text_append(buffer, der, (size_t)size);
    return CA_OK;
}

/* The buffer's octets in OpenSSL's memory. */
static enum ca_status
hand_out(const struct text_buffer *buffer, uint8_t **ret_der, size_t *ret_size)
{
    uint8_t *copy = buffer->failed ? NULL : OPENSSL_memdup(buffer->data, buffer->size);
    if (!copy)
        return ca_fail(CA_INTERNAL, "cannot encode a certificate");
    *ret_der = copy;
    *ret_size = buffer->size;
    return CA_OK;
}

static bool
is_serial(const uint8_t *serial, size_t size)
{
    if (size < 1 || size > SERIAL_SIZE_MAX)
        return false;
    bool is_zero = true;
    for (size_t i = 0; i < size; i++)
        is_zero = is_zero && serial[i] == 0;
    /* A leading bit would make a 21st octet. */
    return !is_zero && (size < SERIAL_SIZE_MAX || !(serial[0] & 0x80));
}

static enum ca_status
assemble_parts(struct parts *parts, uint8_t **ret_tbs, size_t *ret_size)
{
    CA_BUFFER content = { 0 };
    CA_BUFFER inner = { 0 };
    CA_BUFFER whole = { 0 };
    if (!is_serial(parts->serial, parts->serial_size))
        return ca_fail(CA_INTERNAL, "serial is not positive or above 20 octets");
    der_number(&inner, DER_INTEGER, 2);
    der_wrap(&content, DER_CONTEXT_SET(0), &inner);
    der_integer(&content, parts->serial, parts->serial_size);
    enum ca_status status = tbs_append_algorithm(&content, parts->issuer_key);
    if (status == CA_OK)
        status = append_name(&content, parts->issuer);
    der_time(&inner, parts->not_before);
    der_time(&inner, parts->not_after);
    der_wrap(&content, DER_SEQUENCE, &inner);
    if (status == CA_OK)
        status = append_name(&content, parts->subject);
    if (status == CA_OK)
        status = append_key(&content, parts->key);
    if (status != CA_OK)
        return status;
    der_wrap(&inner, DER_SEQUENCE, &parts->extensions);
    der_wrap(&content, DER_CONTEXT_SET(3), &inner);
    der_wrap(&whole, DER_SEQUENCE, &content);
    return hand_out(&whole, ret_tbs, ret_size);
}

/* S2: from now - backdate, never before the issuer's own start, to the profile's length
 * (the last second belongs to it), never beyond the issuer's end. */
static enum ca_status
bound_validity(const X509 *issuer, int64_t now, int64_t backdate, int64_t validity,
               struct parts *parts)
{
    int64_t start, end;
    enum ca_status status = tbs_time_of(X509_get0_notBefore(issuer), &start);
    if (status == CA_OK)
        status = tbs_time_of(X509_get0_notAfter(issuer), &end);
    if (status != CA_OK)
        return status;
    if (now < start || now > end)
        return ca_fail(CA_FORBIDDEN, "the issuer's certificate is not valid now");
    if (validity < 1 || backdate < 0)
        return ca_fail(CA_FORBIDDEN, "the profile has no validity");
    int64_t from = now - backdate, to = now + validity - 1;
    parts->not_before = from > start ? from : start;
    parts->not_after = to < end ? to : end;
    return CA_OK;
}

enum ca_status
tbs_build(const struct tbs_input *input, uint8_t **ret_tbs, size_t *ret_size,
          int64_t *ret_not_before, int64_t *ret_not_after)
{
    CA_AUTO(parts_clear)
    struct parts parts = { .serial = input->serial,
                           .serial_size = input->serial_size,
                           .issuer_key = X509_get0_pubkey(input->issuer),
                           .issuer = X509_get_subject_name(input->issuer),
                           .subject = input->names->subject,
                           .key = input->key };
    if (X509_NAME_entry_count(parts.subject) == 0 && !input->names->san)
        return ca_fail(CA_FORBIDDEN, "the certificate would have no name at all");
    enum ca_status status = tbs_check_issuer(input->issuer, NULL);
    if (status == CA_OK)
        status = bound_validity(input->issuer, input->now, input->profile->backdate,
                                input->profile->validity, &parts);
    if (status == CA_OK)
        status = tbs_profile_extensions(input, &parts.extensions);
    if (status == CA_OK)
        status = assemble_parts(&parts, ret_tbs, ret_size);
    if (status != CA_OK)
        return status;
    *ret_not_before = parts.not_before;
    *ret_not_after = parts.not_after;
    return CA_OK;
}

/* CAs: keyCertSign and cRLSign; helpers: what their protocol needs, and never a CA. */
static void
append_role(struct text_buffer *list, const struct tbs_authority *authority)
{
    bool is_ca = authority->kind == TBS_ROOT || authority->kind == TBS_ISSUING;
    extension_key_usage(list, is_ca ? KEY_CERT_SIGN | CRL_SIGN
                              : authority->kind == TBS_RA
                                  ? DIGITAL_SIGNATURE | KEY_ENCIPHERMENT
                                  : DIGITAL_SIGNATURE);
    extension_basic_constraints(list, is_ca, authority->path_length);
    if (authority->kind != TBS_OCSP)
        return;
    CA_BUFFER oids = { 0 };
    CA_BUFFER value = { 0 };
    der_oid(&oids, OID_OCSP_SIGNING);
    der_wrap(&value, DER_SEQUENCE, &oids);
    extension_wrap(list, OID_EXTENDED_KEY_USAGE, false, &value);
    der_append(&value, DER_NULL, NULL, 0);
    extension_wrap(list, OID_OCSP_NOCHECK, false, &value);
}

static enum ca_status
append_authority_extensions(struct text_buffer *list,
                            const struct tbs_authority *authority)
{
    uint8_t id[TBS_KEY_ID_SIZE];
    enum ca_status status = extension_key_id(authority->key, id);
    if (status == CA_OK && authority->issuer)
        status = extension_authority_key_id(list, authority->issuer);
    else
        extension_authority_key_id_of(list, id, sizeof id);
    if (status != CA_OK)
        return status;
    extension_subject_key_id(list, id);
    append_role(list, authority);
    if (authority->kind == TBS_ROOT)
        return CA_OK;
    if (authority->crl_url)
        extension_crl(list, authority->crl_url);
    extension_access(list, authority->issuer_url, authority->ocsp_url);
    return CA_OK;
}

/* H1: a CA below needs room in the issuer's pathLenConstraint, and takes one less. */
static enum ca_status
check_authority(const struct tbs_authority *authority)
{
    int room = -1;
    if ((authority->kind == TBS_ROOT) != !authority->issuer)
        return ca_fail(CA_INTERNAL, "a root has no issuer, everything else has one");
    if (X509_NAME_entry_count(authority->subject) == 0)
        return ca_fail(CA_INTERNAL, "a CA or helper certificate needs a subject");
    if (!authority->issuer)
        return CA_OK;
    enum ca_status status = tbs_check_issuer(authority->issuer, &room);
    if (status != CA_OK || authority->kind != TBS_ISSUING || room < 0)
        return status;
    if (authority->path_length < 0 || authority->path_length >= room)
        return ca_fail(CA_FORBIDDEN,
                       "the issuer's pathLenConstraint %d leaves no room for a CA "
                       "with %d",
                       room, authority->path_length);
    return CA_OK;
}

enum ca_status
tbs_build_authority(const struct tbs_authority *authority, uint8_t **ret_tbs,
                    size_t *ret_size)
{
    enum ca_status status = check_authority(authority);
    if (status != CA_OK)
        return status;
    const X509 *issuer = authority->issuer;
    CA_AUTO(parts_clear)
    struct parts parts = {
        .serial = authority->serial,
        .serial_size = authority->serial_size,
        .issuer_key =
            issuer ? X509_get0_pubkey(issuer) : X509_PUBKEY_get0(authority->key),
        .issuer = issuer ? X509_get_subject_name(issuer) : authority->subject,
        .subject = authority->subject,
        .not_before = authority->now - authority->backdate,
        .not_after = authority->now + authority->validity - 1,
        .key = authority->key,
    };
    if (issuer)
        status = bound_validity(issuer, authority->now, authority->backdate,
                                authority->validity, &parts);
    if (status == CA_OK)
        status = append_authority_extensions(&parts.extensions, authority);
    return status == CA_OK ? assemble_parts(&parts, ret_tbs, ret_size) : status;
}

enum ca_status
tbs_assemble(const uint8_t *tbs, size_t tbs_size, const uint8_t *signature,
             size_t signature_size, uint8_t **ret_der, size_t *ret_size)
{
    struct der in = { tbs, tbs_size }, content, item, algorithm;
    uint8_t tag;
    /* The algorithm is the first SEQUENCE of the TBS, in certificates and CRLs alike.
     */
    if (!der_take(&in, DER_SEQUENCE, &content) || in.size > 0)
        return ca_fail(CA_INTERNAL, "what is to be signed is no SEQUENCE");
    do {
        if (!der_take_any(&content, &tag, &item, &algorithm))
            return ca_fail(CA_INTERNAL, "what is to be signed has no algorithm");
    } while (tag != DER_SEQUENCE);
    CA_BUFFER bits = { 0 };
    CA_BUFFER whole = { 0 };
    CA_BUFFER object = { 0 };
    text_append(&whole, tbs, tbs_size);
    text_append(&whole, algorithm.at, algorithm.size);
    text_append(&bits, "", 1); /* no unused bits */
    text_append(&bits, signature, signature_size);
    der_wrap(&whole, DER_BIT_STRING, &bits);
    der_wrap(&object, DER_SEQUENCE, &whole);
    return hand_out(&object, ret_der, ret_size);
}

/* A first octet of zero is drawn again: every serial then has the same length in DER
 * and in hex, and no form of it needs padding. */
enum ca_status
tbs_draw_serial(uint8_t ret_serial[16], char ret_hex[33])
{
    uint8_t serial[SERIAL_SIZE] = { 0 };
    for (int draw = 0; draw < SERIAL_DRAWS && serial[0] == 0; draw++) {
        enum ca_status status = random_bytes(serial, sizeof serial);
        if (status != CA_OK)
            return status;
        serial[0] &= 0x7f;
    }
    if (serial[0] == 0)
        return ca_fail(CA_INTERNAL, "the random source gives zeros");
    memcpy(ret_serial, serial, sizeof serial);
    hex_format(serial, sizeof serial, ret_hex);
    return CA_OK;
}
